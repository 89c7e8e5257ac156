"""Models that leave: for scikit-learn and ONNX, for torch, as vectors."""

import pickle

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.utils.validation import check_is_fitted

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor

LINEAR = ("sum", "mean", "sqrtn")
N, COLUMNS = 60, 14
RNG = np.random.default_rng(0)
X = csr_array(np.where(RNG.random((N, COLUMNS)) < 0.4, RNG.normal(size=(N, COLUMNS)), 0).round(2))
X_NEW = csr_array(np.vstack([X.toarray()[::-1] * 2, np.zeros((1, COLUMNS))]))
COUNTS = csr_array(np.ceil(np.abs(X_NEW.toarray())))
TWO, THREE = np.arange(N) % 2 == 0, np.array(["a", "b", "c"])[np.arange(N) % 3]
LABELS = RNG.integers(0, 2, (N, 4))
SHARES = RNG.dirichlet(np.ones(3), N)
NUMBERS = RNG.normal(100, 20, (N, 2))
CLASSIFIERS = {
    "two": (TWO, "log_loss", LogisticRegression),
    "three": (THREE, "log_loss", LogisticRegression),
    "shares": (SHARES, "log_loss", LogisticRegression),
    "labels": (LABELS, "log_loss", OneVsRestClassifier),
    "two huber": (TWO, "modified_huber", SGDClassifier),
    "three huber": (THREE, "modified_huber", SGDClassifier),
    "labels huber": (LABELS, "modified_huber", OneVsRestClassifier),
    "two hinge": (TWO, "hinge", SGDClassifier),
    "three hinge": (THREE, "squared_hinge", SGDClassifier),
    "labels hinge": (LABELS, "hinge", OneVsRestClassifier),
}


def classifier(y, loss="log_loss", **params):
    return EmbeddingBagClassifier(5, loss=loss, dtype="float64", max_iter=8, random_state=0, **params).fit(X, y)


def regressor(y, **params):
    return EmbeddingBagRegressor(5, dtype="float64", max_iter=8, random_state=0, **params).fit(X, y)


def assert_same(model, linear, rows, **tolerance):
    tolerance = {"rtol": 1e-9, "atol": 1e-12, **tolerance}
    np.testing.assert_allclose(linear.decision_function(rows), model.decision_function(rows), **tolerance)
    assert np.array_equal(linear.predict(rows), model.predict(rows))
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(linear.predict_proba(rows), model.predict_proba(rows), **tolerance)
    else:
        assert not hasattr(linear, "predict_proba")


# --- scikit-learn


@pytest.mark.parametrize("mode", LINEAR)
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_classifier_becomes_a_linear_one(kind, mode):
    y, loss, expected = CLASSIFIERS[kind]
    model = classifier(y, loss, mode=mode)
    linear = model.to_linear()
    assert isinstance(linear[-1], expected)
    assert len(linear) == 1 + (mode != "sum")
    assert_same(model, linear, X_NEW)
    assert_same(model, linear, X_NEW.toarray())
    assert np.array_equal(linear.classes_, model.classes_)
    check_is_fitted(linear[-1])


@pytest.mark.parametrize("mode", LINEAR)
@pytest.mark.parametrize(("per_sample_weights", "padding_idx"), [(False, None), (True, 2), (False, -1)])
def test_what_counts_as_a_member_is_the_same(mode, per_sample_weights, padding_idx):
    model = classifier(THREE, mode=mode, per_sample_weights=per_sample_weights, padding_idx=padding_idx)
    linear = model.to_linear()
    assert_same(model, linear, COUNTS)
    if per_sample_weights:
        assert_same(model, linear, X_NEW)
    changed = COUNTS.toarray()
    changed[:, 2 if padding_idx is None else padding_idx] += 5
    same = np.allclose(linear.decision_function(changed), linear.decision_function(COUNTS))
    assert same == (padding_idx is not None)


@pytest.mark.parametrize("mode", LINEAR)
@pytest.mark.parametrize("loss", ["squared_error", "huber", "poisson"])
@pytest.mark.parametrize("y", [NUMBERS, NUMBERS[:, 0], NUMBERS[:, :1]], ids=["two", "one", "one column"])
def test_a_regressor_becomes_a_linear_one(mode, loss, y):
    model = regressor(y, mode=mode, loss=loss)
    linear = model.to_linear()
    assert isinstance(linear[-1], PoissonRegressor if loss == "poisson" and y.ndim == 1 else object)
    assert isinstance(linear[-1], LinearRegression) == (loss != "poisson")
    result = linear.predict(X_NEW)
    assert result.shape == model.predict(X_NEW).shape
    np.testing.assert_allclose(result, model.predict(X_NEW), rtol=1e-9)


def test_probabilities_of_two_classes_become_one_output():
    model = classifier(SHARES[:, :2] / SHARES[:, :2].sum(axis=1, keepdims=True))
    linear = model.to_linear()
    np.testing.assert_allclose(linear.predict_proba(X_NEW), model.predict_proba(X_NEW), rtol=1e-9)
    z = model.decision_function(X_NEW)
    np.testing.assert_allclose(linear.decision_function(X_NEW), z[:, 1] - z[:, 0], rtol=1e-9, atol=1e-12)


def test_single_precision_is_as_exact_as_it_can_be():
    model = EmbeddingBagClassifier(5, max_iter=8, random_state=0).fit(X, THREE)
    assert_same(model, model.to_linear(), X_NEW, rtol=1e-4, atol=1e-6)


def test_a_linear_model_can_be_pickled_and_knows_the_names_of_columns():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X.toarray(), columns=[f"c{i}" for i in range(COLUMNS)])
    model = EmbeddingBagClassifier(5, random_state=0).fit(frame, THREE)
    linear = pickle.loads(pickle.dumps(model.to_linear()))
    assert np.array_equal(linear.predict(frame), model.predict(frame))
    assert list(linear.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        linear.predict(frame[frame.columns[::-1]])


def test_a_maximum_is_not_linear():
    model = classifier(TWO, mode="max")
    with pytest.raises(ValueError, match=r"mode='max': a maximum is not linear"):
        model.to_linear()
    with pytest.raises(NotFittedError):
        EmbeddingBagRegressor().to_linear()


@pytest.mark.parametrize("mode", LINEAR)
@pytest.mark.parametrize("kind", ["two", "three", "labels", "three huber", "two hinge"])
def test_onnx_computes_the_same(kind, mode):
    skl2onnx, onnxruntime = pytest.importorskip("skl2onnx"), pytest.importorskip("onnxruntime")
    y, loss, _ = CLASSIFIERS[kind]
    model = classifier(y, loss, mode=mode)
    run = onnx_of(skl2onnx, onnxruntime, model.to_linear(), {"zipmap": False})
    (labels, scores), rows = run(X_NEW)[:2], X_NEW
    if hasattr(model, "predict_proba"):
        expected = model.predict_proba(X_NEW)
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        alone = (
            np.sort(expected)[:, -1] > np.sort(expected)[:, -2]
        )  # skl2onnx goes by the probabilities, which may be 0
        labels, rows = labels[alone | (kind == "labels")], X_NEW[alone | (kind == "labels")]
    assert np.array_equal(labels, model.predict(rows))


@pytest.mark.parametrize("padding_idx", [None, 2])
def test_onnx_of_a_regressor_computes_the_same(padding_idx):
    skl2onnx, onnxruntime = pytest.importorskip("skl2onnx"), pytest.importorskip("onnxruntime")
    model = regressor(NUMBERS, padding_idx=padding_idx, per_sample_weights=padding_idx is None)
    rows = X_NEW if padding_idx is None else COUNTS
    result = onnx_of(skl2onnx, onnxruntime, model.to_linear(), None)(rows)[0]
    np.testing.assert_allclose(result, model.predict(rows), rtol=1e-5)


def onnx_of(skl2onnx, onnxruntime, linear, options):
    inputs = [("X", skl2onnx.common.data_types.FloatTensorType([None, COLUMNS]))]
    options = None if options is None else {id(linear): options}
    model = skl2onnx.to_onnx(linear, initial_types=inputs, options=options)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda rows: session.run(None, {"X": rows.toarray().astype(np.float32)})
