"""What estimators print of large parameters, and that it is printed only."""

import pickle
import time

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor, EmbeddingBagVectorizer
from skbag.text import TextEmbeddingVectorizer

TABLE = np.linspace(0, 1, 40_000, dtype=np.float32).reshape(4_000, 10)
VECTORS = {f"word{k}": row for k, row in enumerate(TABLE)}


class OnlyItself:
    """Vectors that must not be read to be printed."""

    def __len__(self):
        return 3_000_000

    def __getitem__(self, key):
        raise AssertionError("was read")


def large_estimators():
    yield TextEmbeddingVectorizer(VECTORS), "vectors=<dict of 4000 items>"
    yield TextEmbeddingVectorizer(OnlyItself()), "vectors=<OnlyItself of 3000000 items>"
    yield EmbeddingBagVectorizer(init=TABLE), "init=<ndarray (4000, 10) float32>"
    yield EmbeddingBagVectorizer.from_pretrained(TABLE), "init=<ndarray (4000, 10) float32>"
    yield EmbeddingBagClassifier(init=TABLE.tolist()), "init=<list of 4000 items>"
    yield EmbeddingBagRegressor(init=[[0.0] * 50]), "init=<list of 1 items>"
    yield EmbeddingBagClassifier(fields=[1] * 31), "fields=<list of 31 items>"


@pytest.mark.parametrize(
    "wrap", [lambda e: e, make_pipeline, lambda e: GridSearchCV(e, {})], ids=["", "pipeline", "search"]
)
@pytest.mark.parametrize("changed_only", [True, False])
@pytest.mark.parametrize(("estimator", "text"), list(large_estimators()), ids=lambda value: type(value).__name__)
def test_large_parameters_are_summed_up(estimator, text, changed_only, wrap):
    start = time.process_time()
    with config_context(print_changed_only=changed_only):
        printed = "".join(repr(wrap(estimator)).split())
        page = wrap(estimator)._repr_html_()
    assert text.replace(" ", "") in printed
    assert len(printed) < 1200
    assert len(page) < 300_000
    assert time.process_time() - start < 5  # element by element it was a quarter of a minute for the dict


def test_small_parameters_are_printed_as_they_are():
    assert repr(TextEmbeddingVectorizer({"cats": [1, 0]})) == "TextEmbeddingVectorizer(vectors={'cats': [1, 0]})"
    assert repr(EmbeddingBagVectorizer(init=np.eye(2))) == (
        "EmbeddingBagVectorizer(init=array([[1., 0.],\n       [0., 1.]]))"
    )
    assert repr(EmbeddingBagVectorizer(mode=["mean", "max"])) == "EmbeddingBagVectorizer(mode=['mean', 'max'])"
    assert repr(EmbeddingBagClassifier(hidden_layer_sizes=(8,), random_state=0)) == (
        "EmbeddingBagClassifier(hidden_layer_sizes=(8,), random_state=0)"
    )


def test_data_frame():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(TABLE, index=list(VECTORS))
    assert repr(TextEmbeddingVectorizer(frame)) == "TextEmbeddingVectorizer(vectors=<DataFrame (4000, 10)>)"


def test_parameters_themselves_stay():
    pooled = TextEmbeddingVectorizer(VECTORS, CountVectorizer())
    repr(pooled), pooled._repr_html_()
    assert pooled.get_params()["vectors"] is VECTORS
    assert pooled.get_params(deep=False)["vectors"] is VECTORS
    assert make_pipeline(pooled).get_params()["textembeddingvectorizer__vectors"] is VECTORS
    vectorizer = EmbeddingBagVectorizer(init=TABLE)
    for copy in (clone(vectorizer), pickle.loads(pickle.dumps(vectorizer))):
        np.testing.assert_array_equal(copy.get_params()["init"], TABLE)
