"""
Pool word vectors that were learnt before
=========================================

A document as the TF-IDF-weighted mean of its word vectors: the vectors come from an
``.npy`` file, and the vectorizer maps the file into memory instead of copying it.

To stay without downloads, the vectors are learnt here, from docstrings of NumPy, SciPy
and scikit-learn: positive pointwise mutual information of the words that stand close to
one another, factorised by TruncatedSVD. Vectors from anywhere else are used in the same
way, as long as row i of the file belongs to column i of the matrix.
"""

# %%
# Word vectors
# ------------
# Only the training texts are read for them. Two words meet when at most four words
# stand between them.

import inspect
import re
import tempfile
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse import coo_array, csr_array
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbag import EmbeddingBagVectorizer

PACKAGES = (
    "numpy.linalg", "numpy.ma", "numpy.random", "scipy.integrate", "scipy.interpolate",
    "scipy.linalg", "scipy.ndimage", "scipy.optimize", "scipy.signal", "scipy.sparse",
    "scipy.spatial", "scipy.special", "scipy.stats", "sklearn.cluster",
    "sklearn.ensemble", "sklearn.linear_model", "sklearn.metrics",
    "sklearn.preprocessing",
)  # fmt: skip


def docstrings():
    """Return the docstrings that the packages export, each once, and whose they are."""
    found = {}
    for package in PACKAGES:
        module = import_module(package)
        for name in sorted(module.__all__):
            text = inspect.getdoc(getattr(module, name)) or ""
            # code and dotted names tell the package
            text = re.sub(r"(?m)^(>>>|\.\.\.).*$|\w+(\.\w+)+", " ", text)
            if len(text.split()) >= 15:
                found.setdefault(text, package)
    return list(found), list(found.values())


texts, labels = docstrings()
train, test, y_train, y_test = train_test_split(
    texts, labels, test_size=0.25, stratify=labels, random_state=0
)
tfidf = TfidfVectorizer(min_df=3, sublinear_tf=True).fit(train)
words = tfidf.get_feature_names_out()


def meetings(documents, window=5):
    """Return how often word i stands near word j: (n_words, n_words)."""
    tokenize, vocabulary = tfidf.build_analyzer(), tfidf.vocabulary_
    gap = [-1] * window  # no word meets one of the next document
    ids = np.array(
        [
            i
            for text in documents
            for i in [*(vocabulary.get(w, -1) for w in tokenize(text)), *gap]
        ]
    )
    total = csr_array((len(words), len(words)))
    for distance in range(1, window + 1):
        left, right = ids[:-distance], ids[distance:]
        both = (left >= 0) & (right >= 0)
        total += coo_array(
            (np.ones(both.sum()), (left[both], right[both])), shape=total.shape
        ).tocsr()
    return total + total.T


def ppmi(counts):
    """Return positive pointwise mutual information from a symmetric matrix."""
    counts = counts.tocoo()
    sums = np.bincount(counts.row, counts.data, minlength=counts.shape[0])
    information = np.log(
        counts.data * sums.sum() / (sums[counts.row] * sums[counts.col])
    )
    return coo_array(
        (np.maximum(information, 0), (counts.row, counts.col)), shape=counts.shape
    ).tocsr()


svd = TruncatedSVD(100, random_state=0)
vectors = (
    svd.fit_transform(ppmi(meetings(train))) / np.sqrt(svd.singular_values_)
).astype("float32")
directory = tempfile.TemporaryDirectory()
path = Path(directory.name) / "vectors.npy"
np.save(path, vectors)
n_vectors, dim = vectors.shape
print(f"{n_vectors} vectors of {dim} numbers learnt from {len(train)} docstrings")

directions = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
for word in ["eigenvalues", "spline", "distance", "filter"]:
    if word in tfidf.vocabulary_:
        nearest = np.argsort(directions @ directions[tfidf.vocabulary_[word]])[::-1][
            1:6
        ]
        print(f"  nearest to {word}: {', '.join(words[nearest])}")

# %%
# Documents
# ---------
# ``init`` is the path of the file. The vocabulary is handed on, so that the columns of
# TF-IDF are the rows of the file.


def accuracy(**parameters):
    """Return the test accuracy with an EmbeddingBagVectorizer of these parameters."""
    pipeline = make_pipeline(
        TfidfVectorizer(vocabulary=tfidf.vocabulary_, sublinear_tf=True),
        EmbeddingBagVectorizer(**parameters),
        StandardScaler(),
        LogisticRegression(C=0.1, max_iter=1000),
    )
    return pipeline.fit(train, y_train).score(test, y_test)


cases = {
    "learnt vectors, TF-IDF-weighted mean": {"init": path},
    "learnt vectors, every word counts the same": {
        "init": path,
        "per_sample_weights": False,
    },
    "learnt vectors, maximum": {"init": path, "mode": "max"},
    "random vectors, TF-IDF-weighted mean": {
        "embedding_dim": vectors.shape[1],
        "random_state": 0,
    },
}
scores = {name: accuracy(**parameters) for name, parameters in cases.items()}
figure, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
ax.bar_label(
    ax.barh(list(scores)[::-1], list(scores.values())[::-1], height=0.55),
    fmt="%.3f",
    padding=3,
)
ax.set(
    xlabel=f"accuracy on {len(test)} other docstrings, {vectors.shape[1]} columns",
    xlim=(0, 1),
)

# %%
# Where the vectors come from
# ---------------------------
# ``from_pretrained`` gives the same vectorizer without a fit. It is ready to transform.

X = tfidf.transform(test)
fitted = EmbeddingBagVectorizer(init=path).fit(X).transform(X)
ready = EmbeddingBagVectorizer.from_pretrained(path).transform(X)
print(
    f"from_pretrained gives the same features as fit: {np.array_equal(fitted, ready)}"
)
directory.cleanup()
