"""Real text, where the project's folder of data sets is at hand."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from skbag import EmbeddingBagVectorizer

FILE = Path(__file__).parents[2] / "shared" / "data" / "sms_spam" / "spam.csv.gz"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"no {FILE}")


@pytest.fixture(scope="module")
def messages():
    with gzip.open(FILE, "rt", encoding="latin-1", newline="") as file:
        labels, texts, *_ = zip(*list(csv.reader(file))[1:], strict=True)
    return train_test_split(texts, labels, test_size=0.2, random_state=0, stratify=labels)


@pytest.mark.parametrize(
    ("mode", "dim", "least"), [("sum", 300, 0.93), ("mean", 300, 0.9), ("sqrtn", 300, 0.93), ("max", 100, 0.91)]
)
def test_a_drawn_table_finds_spam(messages, mode, dim, least):
    texts, new_texts, labels, new_labels = messages
    model = make_pipeline(
        TfidfVectorizer(sublinear_tf=True),
        EmbeddingBagVectorizer(dim, mode=mode, random_state=0),
        LogisticRegression(C=1000, max_iter=3000),
    )
    always_ham = new_labels.count("ham") / len(new_labels)
    assert model.fit(texts, labels).score(new_texts, new_labels) > least > always_ham


def test_a_table_from_a_decomposition_gives_its_features_and_finds_spam(messages, tmp_path):
    texts, new_texts, labels, new_labels = messages
    tfidf = TfidfVectorizer(sublinear_tf=True).fit(texts)
    svd = TruncatedSVD(50, random_state=0).fit(tfidf.transform(texts))
    np.save(tmp_path / "svd.npy", np.ascontiguousarray(svd.components_.T))
    bags = EmbeddingBagVectorizer.from_pretrained(tmp_path / "svd.npy", mode="sum")
    new = tfidf.transform(new_texts)
    np.testing.assert_allclose(bags.transform(new), svd.transform(new), rtol=1e-10, atol=1e-13)
    head = LogisticRegression(C=1000).fit(bags.transform(tfidf.transform(texts)), labels)
    assert head.score(bags.transform(new), new_labels) > 0.96
