"""EmbeddingBagClassifier as an estimator: parameters, fitted state, predictions and what scikit-learn does with it."""

import inspect
import pickle
import re
import warnings
from dataclasses import is_dataclass

import joblib
import numpy as np
import pytest
import sklearn
from helpers import MODES, frames, learnt, random_csr, random_table
from scipy.sparse import coo_array, csc_array, csr_array, csr_matrix, hstack, lil_array, vstack
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight

from skbag import EmbeddingBagClassifier, EmbeddingBagVectorizer
from skbag._cpu import training as cpu_training

N_ROWS, N_COLUMNS = 120, 30
NO_WEIGHT = 1e-300  # its square is 0


@pytest.fixture
def untrained(monkeypatch):
    """Let training do nothing, for tests of shapes: the kernels of each width would be compiled."""
    monkeypatch.setattr(cpu_training, "_plan_of", lambda *args, **kwargs: None)
    monkeypatch.setattr(cpu_training.Trainer, "epoch", lambda self, order, rates: 0.0)


@pytest.fixture
def X():  # noqa: N802
    return random_csr(N_ROWS, N_COLUMNS, dtype="float32", longest=12)


@pytest.fixture
def y():
    return np.random.default_rng(0).permutation(np.arange(N_ROWS) % 3)


@pytest.fixture
def topics():
    """Counts with 2 of 6 columns for each of 3 classes, and the classes."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(N_ROWS) % 3)
    X = rng.poisson(0.2, (N_ROWS, 6)) + rng.poisson(2, (N_ROWS, 6)) * (np.arange(6) // 2 == y[:, None])
    return csr_array(X.astype(np.float32)), y


def classifier(embedding_dim=5, **params):
    return EmbeddingBagClassifier(embedding_dim, **{"random_state": 0, **params})


def fitted_state(model):
    """Everything that a fitted estimator holds, in bytes where it is an array."""

    def plain(value):
        if isinstance(value, np.ndarray):
            return value.dtype, value.shape, value.tobytes()
        if isinstance(value, (tuple, list)):
            return [plain(item) for item in value]
        if is_dataclass(value):
            return plain(list(vars(value).values()))
        if isinstance(value, np.random.RandomState):
            return plain(value.get_state(legacy=False))
        return repr(value)

    return {name: plain(value) for name, value in vars(model).items()}


def same_model(one, other):
    return all(a.tobytes() == b.tobytes() for a, b in zip(learnt(one), learnt(other), strict=True))


# --- parameters and fitted attributes


def test_the_parameters_are_the_documented_ones():
    names = list(inspect.signature(EmbeddingBagClassifier).parameters)
    expected = (
        "embedding_dim mode fields interaction init freeze hidden_layer_sizes activation per_sample_weights "
        "padding_idx max_norm norm_type scale_grad_by_freq loss "
        "solver learning_rate learning_rate_init alpha batch_size max_iter shuffle tol early_stopping scoring "
        "validation_fraction n_iter_no_change class_weight threshold output n_negatives warm_start dtype device n_jobs "
        "random_state "
        "verbose"
    )
    assert " ".join(names) == expected
    documented = re.findall(r"^    (\w+) : ", EmbeddingBagClassifier.__doc__.split("Attributes\n")[0], re.MULTILINE)
    assert documented == names


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", [2, 3, 40])
def test_fitted_attributes(X, n_classes, dtype):
    y = np.arange(N_ROWS) % n_classes
    model = classifier(dtype=dtype, max_iter=4)
    assert model.fit(X, y) is model
    n_outputs = 1 if n_classes == 2 else n_classes
    assert model.classes_.tolist() == list(range(n_classes))
    assert (model.embeddings_.shape, model.coefs_[0].T.shape) == ((N_COLUMNS, 5), (n_outputs, 5))
    assert model.intercepts_[0].shape == (n_outputs,)
    assert model.embeddings_.dtype == model.coefs_[0].T.dtype == model.intercepts_[0].dtype == dtype
    assert (model.n_iter_, len(model.loss_curve_), model.n_features_in_) == (4, 4, N_COLUMNS)
    assert all(type(loss) is float for loss in model.loss_curve_)
    logits = model.decision_function(X)
    assert logits.shape == ((N_ROWS,) if n_classes == 2 else (N_ROWS, n_classes))
    assert logits.dtype == model.predict_proba(X).dtype == model.predict_log_proba(X).dtype == dtype
    assert model.predict_proba(X).shape == model.predict_log_proba(X).shape == (N_ROWS, n_classes)
    assert model.predict(X).shape == (N_ROWS,)
    assert model.transform(X).shape == (N_ROWS, 5)


@pytest.mark.parametrize("params", [{}, {"solver": "sgd", "learning_rate_init": 0.3}, {"mode": "sum"}, {"mode": "mean"},
                                    {"mode": "max", "learning_rate_init": 0.5, "embedding_dim": 24},
                                    {"dtype": "float64"}, {"per_sample_weights": False},
                                    {"learning_rate": "constant"}, {"max_norm": 2.0}, {"init": "normal"},
                                    {"scale_grad_by_freq": True}, {"alpha": 1e-4}])  # fmt: skip
def test_it_learns(topics, params):
    X, y = topics
    model = classifier(**{"max_iter": 60, "learning_rate_init": 0.2, **params}).fit(X, y)
    assert model.score(X, y) > 0.9
    assert model.loss_curve_[-1] < model.loss_curve_[0]


@pytest.mark.parametrize(("multilabel", "n_outputs", "dim", "length"), [
    (False, 1, 9, 2**0.5), (False, 6, 9, 1), (True, 6, 9, 1), (True, 22, 24, 1), (False, 40, 9, None),
])  # fmt: skip
def test_where_the_linear_layer_begins(X, multilabel, n_outputs, dim, length):
    """Layer: orthogonal rows, of length 1. Intercepts: the shares of classes, or odds."""
    rng = np.random.default_rng(0)
    y = np.arange(N_ROWS) % (2 if n_outputs == 1 else n_outputs)
    if multilabel:
        y = rng.integers(0, 2, (N_ROWS, n_outputs)) * rng.integers(0, 2, (N_ROWS, n_outputs))
    model = classifier(dim, learning_rate_init=1e-14, max_iter=1, dtype="float64", alpha=0).fit(X, y)
    products = model.coefs_[0].T @ model.coefs_[0]
    if length is None:  # more rows than can be orthogonal: the columns are
        np.testing.assert_allclose(model.coefs_[0] @ model.coefs_[0].T, n_outputs / dim * np.eye(dim), atol=1e-6)
    else:
        np.testing.assert_allclose(products, length**2 * np.eye(n_outputs), atol=1e-6)
    count = 0.5 + (y.sum(axis=0) if multilabel else np.bincount(y)[-n_outputs:])
    expected = count / (count.sum() if n_outputs > 1 and not multilabel else N_ROWS + 1 - count)
    np.testing.assert_allclose(model.intercepts_[0], np.log(expected), atol=1e-6)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("counts", [[95, 5], [90, 5, 5]])
def test_a_row_without_members_has_the_shares_of_the_classes(counts, method):
    X, y = np.ones((100, 1)), np.repeat(np.arange(len(counts)), counts)
    options = {} if method == "fit" else {"classes": range(len(counts))}
    model = getattr(EmbeddingBagClassifier(8, random_state=0), method)(X, y, **options)
    np.testing.assert_allclose(model.predict_proba(0 * X[:1])[0], np.array(counts) / 100, atol=0.015)
    slow = getattr(EmbeddingBagClassifier(8, learning_rate_init=0.022, random_state=0), method)(X, y, **options)
    np.testing.assert_allclose(slow.predict_proba(X[:1])[0], np.array(counts) / 100, atol=0.02)


def test_shares_are_those_of_the_weights():
    X, y, weights = np.zeros((4, 1)), [0, 0, 0, 1], np.array([1.0, 1, 1, 97]) * 1e-9
    params = {"learning_rate_init": 1e-12, "max_iter": 1, "dtype": "float64"}
    expected = np.log((97 / 25 + 0.5) / (3 / 25 + 0.5))
    fitted = classifier(**params).fit(X, y, sample_weight=weights)
    streamed = classifier(**params).partial_fit(X, y, [0, 1], weights)
    np.testing.assert_allclose([fitted.intercepts_[0][0], streamed.intercepts_[0][0]], expected, rtol=1e-9)


@pytest.mark.parametrize(("n_classes", "dim"), [(2, 16), (17, 32), (77, 128), (300, 256)])
@pytest.mark.usefixtures("untrained")
def test_the_table_is_as_wide_as_there_are_outputs(n_classes, dim):
    X, y = csr_array(np.tile(np.eye(n_classes), (3, 1))), np.tile(np.arange(n_classes), 3)
    assert EmbeddingBagClassifier(max_iter=1).fit(X, y).embeddings_.shape == (n_classes, dim)
    assert EmbeddingBagClassifier().partial_fit(X, y, range(n_classes)).embeddings_.shape == (n_classes, dim)


@pytest.mark.usefixtures("untrained")
def test_what_does_not_learn_or_is_no_sum_is_wider():
    X, y = csr_array(np.tile(np.eye(3), (3, 1))), np.tile(np.arange(3), 3)
    for params in ({"freeze": True}, {"mode": "max"}):
        assert EmbeddingBagClassifier(max_iter=1, **params).fit(X, y).embeddings_.shape == (3, 64)
    X, y = csr_array(np.tile(np.eye(3), (100, 1))), np.arange(300) % 100
    for output in ("sampled", "hierarchical"):
        model = EmbeddingBagClassifier(max_iter=1, output=output, n_negatives=10)  # of 100 or more it would be "full"
        assert model.fit(X, y).embeddings_.shape == (3, 64)
    assert EmbeddingBagClassifier(init=np.ones((3, 5)), max_iter=1).fit(X, y).embeddings_.shape == (3, 5)
    assert EmbeddingBagClassifier(7, max_iter=1).fit(X, y).embeddings_.shape == (3, 7)


def test_defaults_learn_text():
    texts = ["the cat sat", "a cat and a dog", "dogs sat on the mat", "stocks fell", "markets and stocks rose",
             "the market fell"] * 20  # fmt: skip
    labels = np.array(["pets", "pets", "pets", "money", "money", "money"] * 20)
    for vectorizer in (CountVectorizer(), TfidfVectorizer(), HashingVectorizer(n_features=2**12)):
        model = make_pipeline(vectorizer, EmbeddingBagClassifier(random_state=0)).fit(texts, labels)
        assert model.score(texts, labels) == 1
        assert model.predict(["a dog on a mat", "markets rose"]).tolist() == ["pets", "money"]


@pytest.mark.parametrize("hidden_layer_sizes", [(), (16,)])
@pytest.mark.parametrize("factor", [1e-5, 1e-2, 1e2, 1e5])
def test_defaults_learn_sums_of_any_scale(factor, hidden_layer_sizes):
    X, y = make_classification(200, n_features=5, random_state=0)
    params = {"mode": "sum", "hidden_layer_sizes": hidden_layer_sizes, "dtype": "float64", "random_state": 0}
    one, other = (EmbeddingBagClassifier(4, **params).fit(Z, y) for Z in (X, X * factor))
    assert one.score(X, y) > 0.9
    np.testing.assert_allclose(other.predict_proba(X * factor), one.predict_proba(X), atol=0.1)


@pytest.mark.parametrize("mode", ["sum", ["mean", "sum"]])
def test_defaults_learn_sums_beside_a_column_of_another_scale(mode):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 2000)
    words = np.where(rng.random((2000, 40)) < 0.3, y[:, None] * 20 + rng.integers(0, 20, (2000, 40)),
                     rng.integers(80, 1000, (2000, 40)))  # fmt: skip
    texts = csr_array((np.full(words.size, 0.15), (np.repeat(np.arange(2000), 40), words.ravel())))
    X = csr_array(hstack([texts, csr_array(1000 * rng.random((2000, 1)))]))
    model = EmbeddingBagClassifier(mode=mode, random_state=0).fit(X[:1500], y[:1500])
    assert model.score(X[1500:], y[1500:]) > 0.7


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_the_length_of_bags_is_that_of_the_rows_to_train_on(mode, partial):
    rng = np.random.default_rng(0)
    X, y = csr_array((rng.random((60, 8)) < 0.5) * 1.0), rng.integers(0, 2, 60)
    more = vstack([X, csr_array(1000.0 * np.ones((40, 8)))], format="csr")
    params = {"mode": mode, "shuffle": False, "random_state": 0, "max_iter": 1, "batch_size": 100}
    models = EmbeddingBagClassifier(4, **params), EmbeddingBagClassifier(4, **params)
    weights = np.repeat([1.0, 0.0], [60, 40])
    fit = [(X, y, np.ones(60)), (more, np.append(y, np.zeros(40, int)), weights)]
    for model, (Z, target, weight) in zip(models, fit, strict=True):
        if partial:
            model.partial_fit(Z, target, sample_weight=weight, classes=[0, 1])
        else:
            model.fit(Z, target, sample_weight=weight)
    assert models[0]._bag_length == models[1]._bag_length != 1


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_padding_does_not_make_bags_longer(X, y, mode):
    padded = csr_array(hstack([csr_array(np.full((X.shape[0], 1), 30.0)), X]))
    model = EmbeddingBagClassifier(4, mode=mode, random_state=0).fit(X, y)
    other = EmbeddingBagClassifier(4, mode=mode, padding_idx=0, random_state=0).fit(padded, y)
    assert other._bag_length == pytest.approx(model._bag_length, rel=1e-6) != 1


def test_defaults_learn_means_as_well_as_sums_of_the_same_rows():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 1200)
    words = np.where(rng.random((1200, 30)) < 0.1, y[:, None] * 20 + rng.integers(0, 20, (1200, 30)),
                     rng.integers(80, 2000, (1200, 30)))  # fmt: skip
    X = csr_array((np.ones(words.size), (np.repeat(np.arange(1200), 30), words.ravel())), shape=(1200, 2000))
    train, test = slice(800), slice(800, None)
    of_modes = {m: EmbeddingBagClassifier(mode=m, random_state=0).fit(X[train], y[train]) for m in ("sqrtn", "mean")}
    scores = {mode: model.score(X[test], y[test]) for mode, model in of_modes.items()}
    assert scores["sqrtn"] > 0.8
    assert scores["mean"] > scores["sqrtn"] - 0.03
    losses = [model.loss_curve_[-1] for model in of_modes.values()]
    assert losses[1] == pytest.approx(losses[0], abs=0.02)  # at the rates of "sqrtn" 40 times as large


@pytest.mark.parametrize("labels", [["b", "a"], ["b", "c", "a"], [3, -1], [2.0, 5.0], [False, True]])
@pytest.mark.parametrize("kind", [np.array, list, lambda y: frames("pandas").Series(y)])
def test_labels_of_any_kind(X, labels, kind):
    y = kind([labels[i % len(labels)] for i in range(N_ROWS)])
    model = classifier().fit(X, y)
    assert model.classes_.tolist() == sorted(labels)
    predicted = model.predict(X)
    assert set(predicted.tolist()) <= set(labels)
    assert predicted.dtype == model.classes_.dtype
    codes = classifier().fit(X, np.searchsorted(sorted(labels), np.asarray(y)))
    assert same_model(model, codes)


def test_a_column_vector_y_warns_and_works(X, y):
    with pytest.warns(sklearn.exceptions.DataConversionWarning):
        model = classifier().fit(X, y[:, None])
    assert same_model(model, classifier().fit(X, y))


# --- predictions


def targets(kind):
    rng = np.random.default_rng(1)
    if kind == "labels":
        return rng.integers(0, 2, (N_ROWS, 4))
    return rng.permutation(np.arange(N_ROWS) % kind)


@pytest.mark.parametrize("kind", [2, 3, 40, "labels"])
@pytest.mark.parametrize("mode", MODES)
def test_predictions_belong_together(X, kind, mode):
    model = classifier(mode=mode, dtype="float64", max_iter=20).fit(X, targets(kind))
    logits, probabilities = model.decision_function(X), model.predict_proba(X)
    expected = model.transform(X) @ model.coefs_[0] + model.intercepts_[0]
    np.testing.assert_allclose(logits, expected.ravel() if kind == 2 else expected, rtol=1e-9, atol=1e-12)
    for row in range(0, len(expected), 7):  # the same bytes alone and among others
        assert model.decision_function(X[row : row + 1]).tobytes() == logits[row : row + 1].tobytes()
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), probabilities, rtol=1e-12)
    if kind == "labels":
        np.testing.assert_array_equal(model.predict(X), probabilities > 0.5)
        np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-logits)), rtol=1e-12)
        return
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(X), probabilities.argmax(axis=1))
    if kind == 2:
        np.testing.assert_array_equal(model.predict(X), logits > 0)
        np.testing.assert_allclose(np.log(probabilities[:, 1] / probabilities[:, 0]), logits, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [2, 3, "labels"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_of_extreme_logits_are_finite(X, kind, dtype):
    model = classifier(dtype=dtype).fit(X, targets(kind))
    model.coefs_[0] *= 1e6
    model.embeddings_[:] = random_table(N_COLUMNS, 5, dtype=dtype) * 1e6
    probabilities, logarithms = model.predict_proba(X), model.predict_log_proba(X)
    assert np.isfinite(probabilities).all()
    assert np.isfinite(logarithms).all()
    assert (logarithms <= 0).all()
    assert logarithms.min() < -1e6
    if kind != "labels":
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("kind", [2, 3, "labels"])
@pytest.mark.parametrize("mode", MODES)
def test_an_empty_row_predicts_the_intercept(X, kind, mode):
    model = classifier(mode=mode).fit(X, targets(kind))
    logits = model.decision_function(csr_array((2, N_COLUMNS)))
    np.testing.assert_array_equal(logits.reshape(2, -1), np.tile(model.intercepts_[0], (2, 1)))
    assert np.abs(model.intercepts_[0]).max() > 0


@pytest.mark.parametrize("kind", [2, 3, "labels"])
def test_no_rows_give_no_predictions(X, kind):
    model = classifier().fit(X, targets(kind))
    none = csr_array((0, N_COLUMNS))
    width = (4,) if kind == "labels" else ()
    assert model.predict(none).shape == (0, *width)
    assert model.predict(none).dtype == model.predict(X).dtype
    assert model.predict_proba(none).shape == (0, 4 if kind == "labels" else kind)
    assert model.transform(none).shape == (0, 5)


def test_a_tie_goes_to_the_first_class(X):
    for kind in (2, 3):
        model = classifier().fit(X, targets(kind))
        model.coefs_[0][:] = model.intercepts_[0][:] = 0
        assert (model.predict(X) == 0).all()


def test_writing_into_the_fitted_arrays_takes_effect(X, y):
    model = classifier(shuffle=False, solver="sgd", learning_rate_init=0.022, dtype="float64").fit(X, y)
    before = model.predict_proba(X)
    other = pickle.loads(pickle.dumps(model))
    for array in learnt(other):
        array *= -2
    expected = other.transform(X) @ other.coefs_[0] + other.intercepts_[0]
    np.testing.assert_allclose(other.decision_function(X), expected, rtol=1e-6)
    assert not np.allclose(other.predict_proba(X), before)
    other.embeddings_ = np.zeros_like(model.embeddings_)
    other.intercepts_[0] = np.zeros_like(model.intercepts_[0])
    np.testing.assert_allclose(other.predict_proba(X), 1 / 3, rtol=1e-6)
    other.coefs_[0] = np.zeros_like(model.coefs_[0])
    other.partial_fit(X, y)  # from zeros the table has no gradient
    assert not other.embeddings_.any()
    assert np.abs(other.intercepts_[0]).max() < 0.1


def test_transform_is_the_vectorizer_s(X, y):
    model = classifier(mode="mean").fit(X, y)
    vectorizer = EmbeddingBagVectorizer.from_pretrained(model.embeddings_, mode="mean")
    np.testing.assert_array_equal(model.transform(X), vectorizer.transform(X))


# --- multi-label


@pytest.mark.parametrize("make", [csr_array, csc_array, coo_array, lil_array, csr_matrix, lambda y: y.astype(bool),
                                  lambda y: y.astype(float), lambda y: csr_array(y.astype(np.int8)),
                                  np.ndarray.tolist])  # fmt: skip
def test_an_indicator_may_be_dense_or_sparse(X, make):
    Y = targets("labels")
    given = make(Y)
    expected = classifier().fit(X, Y)
    model = classifier().fit(X, given)
    assert same_model(model, expected)
    assert model.classes_.tolist() == [0, 1, 2, 3]
    predicted = model.predict(X)
    assert isinstance(predicted, np.ndarray)
    assert predicted.shape == Y.shape
    assert set(np.unique(predicted)) <= {0, 1}
    assert 0 <= model.score(X, Y) <= 1


def test_stored_zeros_of_an_indicator_are_no_labels(X):
    Y = targets("labels")
    stored = csr_array(np.ones_like(Y))
    stored.data = Y.ravel().copy()
    assert same_model(classifier().fit(X, stored), classifier().fit(X, Y))


@pytest.mark.parametrize("dtype", ["int64", "float64", "float32", "bool"])
def test_an_indicator_is_not_modified(X, dtype):
    Y = targets("labels")
    stored = csr_array(np.ones_like(Y).astype(dtype))
    stored.data = Y.ravel().astype(dtype)
    arrays = stored.data, stored.indices, stored.indptr
    before = [array.tobytes() for array in arrays]
    classifier().fit(X, stored).partial_fit(X, stored)
    assert stored.data is arrays[0]
    assert [array.tobytes() for array in arrays] == before
    for array in arrays:
        array.flags.writeable = False
    assert same_model(classifier().fit(X, stored), classifier().fit(X, Y))


def test_labels_that_no_row_or_every_row_has(X):
    Y = targets("labels")
    Y[:, 1], Y[:, 2] = 0, 1
    model = classifier(max_iter=30).fit(X, Y)
    assert (model.predict(X)[:, 1:3] == [0, 1]).mean() > 0.95


def test_multi_label_learns(topics):
    X, y = topics
    Y = np.stack([y == 0, y != 2, y == 1], axis=1).astype(int)
    assert classifier(max_iter=80).fit(X, Y).score(X, Y) > 0.9
    streamed = classifier()
    for _ in range(80):
        streamed.partial_fit(X, csr_array(Y))
    assert streamed.score(X, Y) > 0.9


# --- what goes in stays as it was


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("params", [{}, {"mode": "max"}, {"padding_idx": 2}, {"per_sample_weights": False},
                                    {"dtype": "float64"}, {"early_stopping": True}, {"n_jobs": 2}])  # fmt: skip
def test_no_argument_is_modified(X, y, params, read_only):
    X.data[3] = 0
    weights = np.linspace(0.1, 2, N_ROWS)
    arrays = X.data, X.indices, X.indptr, y, weights
    for array in arrays:
        array.flags.writeable = not read_only
    before = [array.tobytes() for array in arrays]
    model = classifier(**params).fit(X, y, sample_weight=weights)
    model.set_params(early_stopping=False).partial_fit(X, y, sample_weight=weights)
    model.predict(X)
    assert X.data is arrays[0]
    assert [array.tobytes() for array in arrays] == before


@pytest.mark.parametrize("form", ["csc", "coo", "lil", "bsr"])
def test_sparse_formats_all_give_the_same(y, form):
    X = csr_array(np.random.default_rng(0).poisson(0.3, (N_ROWS, N_COLUMNS)).astype(np.float32))
    expected = classifier().fit(X, y)
    assert same_model(classifier().fit(X.asformat(form), y), expected)
    assert same_model(classifier().fit(X.toarray(), y), expected)


@pytest.mark.parametrize("kind", ["array", "path"])
@pytest.mark.parametrize("params", [{}, {"max_norm": 1.0}, {"freeze": True}, {"warm_start": True}, {"padding_idx": 2}])
def test_a_given_table_is_where_training_starts_and_is_not_written_to(X, y, kind, params, tmp_path):
    table = random_table(N_COLUMNS, 5, dtype="float32")
    before = table.tobytes()
    path = tmp_path / "table.npy"
    np.save(path, table)
    content = path.read_bytes()
    model = classifier(16, init=table if kind == "array" else path, **params)
    model.fit(X, y).fit(X, y).partial_fit(X, y)
    assert model.embeddings_.shape == table.shape
    assert (table.tobytes(), path.read_bytes()) == (before, content)
    assert (model.embeddings_.tobytes() == before) == bool(params.get("freeze"))
    if params.get("padding_idx"):
        np.testing.assert_array_equal(model.embeddings_[2], table[2])
    model.embeddings_[:] = 0
    model.partial_fit(X, y)
    assert (table.tobytes(), path.read_bytes()) == (before, content)


def test_freeze_trains_the_linear_layer_alone(X, y):
    table = random_table(N_COLUMNS, 5, dtype="float32")
    model = classifier(init=table, freeze=True, alpha=0.1, max_norm=100.0, max_iter=3)
    one = clone(model).set_params(max_iter=1).fit(X, y)
    model.fit(X, y)
    assert model.embeddings_.tobytes() == one.embeddings_.tobytes() == table.tobytes()
    assert not np.allclose(model.coefs_[0].T, one.coefs_[0].T)
    model.partial_fit(X, y)
    assert model.embeddings_.tobytes() == table.tobytes()


def test_freeze_is_logistic_regression_on_the_features(topics):
    X, y = topics
    table = np.random.default_rng(3).normal(size=(6, 5))
    model = classifier(init=table, mode="mean", dtype="float64", freeze=True, alpha=0.01).fit(X, y)
    scaled = StandardScaler().fit_transform(model.transform(X))  # the penalty is that of scaled features
    expected = LogisticRegression(C=1 / (0.01 * N_ROWS), tol=1e-10, max_iter=1000).fit(scaled, y)
    np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(scaled), atol=1e-4)


def test_the_padding_row_of_a_drawn_table_stays_zero(X, y):
    for padding_idx in (2, -28):
        model = classifier(padding_idx=padding_idx).fit(X, y)
        assert not model.embeddings_[2].any()
        assert model.embeddings_.any(axis=1).sum() == N_COLUMNS - 1


# --- partial_fit, warm_start, pickles


def test_partial_fit_counts_and_keeps_the_losses(X, y):
    model = classifier()
    for i in range(3):
        assert model.partial_fit(X[40 * i : 40 * i + 40], y[40 * i : 40 * i + 40], classes=[2, 0, 1]) is model
    assert (model.n_iter_, len(model.loss_curve_)) == (1, 3)
    model.set_params(max_iter=5).fit(X, y)
    assert model.n_iter_ == len(model.loss_curve_) == 5
    model.partial_fit(X, y)
    assert (model.n_iter_, len(model.loss_curve_)) == (1, 6)


@pytest.mark.parametrize(
    "calls", [["fit", "fit"], ["partial_fit", "partial_fit"], ["partial_fit", "fit", "partial_fit"]]
)
def test_epochs_are_counted_as_by_MLPClassifier(X, y, calls):  # noqa: N802
    counts = []
    for model in (classifier(max_iter=3, warm_start=True), MLPClassifier(3, max_iter=3, warm_start=True)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            for method in calls:
                getattr(model, method)(X, y, **({"classes": range(3)} if method == "partial_fit" else {}))
        counts.append((model.n_iter_, len(model.loss_curve_)))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(("n_samples", "n_epochs"), [(100, 10), (1000, 5), (10_000, 3), (100_000, 2)])
def test_more_rows_need_fewer_epochs(n_samples, n_epochs):
    X, y = csr_array(np.ones((n_samples, 1))), np.arange(n_samples) % 2
    model = EmbeddingBagClassifier(1, batch_size=1000)
    assert model.fit(X, y).n_iter_ == n_epochs
    weights = np.arange(n_samples) < 100
    assert model.fit(X, y, sample_weight=weights).n_iter_ == 10, "rows of weight 0 do not count"
    assert model.set_params(early_stopping=True, n_iter_no_change=99).fit(X[:100], y[:100]).n_iter_ == 10, "90 rows"
    labels = np.column_stack([y, np.ones_like(y)])[:100]
    assert EmbeddingBagClassifier(1).fit(X[:100], labels).n_iter_ == 14
    assert EmbeddingBagClassifier(1, solver="adagrad").fit(X[:100], y[:100]).n_iter_ == 14


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_a_stream_has_random_numbers_of_its_own(X, y, random_state):
    model = classifier(random_state=random_state, batch_size=4).partial_fit(X, y, classes=[0, 1, 2])
    saved = pickle.loads(pickle.dumps(model))
    (random_state or np.random).rand(7)
    np.testing.assert_array_equal(model.partial_fit(X, y).embeddings_, saved.partial_fit(X, y).embeddings_)


def test_classes_that_a_stream_has_not_shown_yet(X):
    model = classifier().partial_fit(X, np.zeros(N_ROWS, int), classes=[0, 4, 9])
    assert model.predict_proba(X).shape == (N_ROWS, 3)
    strings = classifier(learning_rate_init=0.2).partial_fit(X, ["b"] * N_ROWS, classes=["b", "a"])
    assert strings.classes_.tolist() == ["a", "b"]
    assert (strings.predict(X) == "b").mean() > 0.9


def test_the_same_random_state_gives_the_same_model_and_another_one_does_not(X, y):
    one, other = classifier().fit(X, y), classifier(random_state=1).fit(X, y)
    assert same_model(one, classifier().fit(X, y))
    assert same_model(one, clone(one).fit(X, y))
    assert not same_model(one, other)
    assert same_model(classifier(random_state=np.random.RandomState(0)).fit(X, y), one)
    unshuffled = classifier(shuffle=False).fit(X, y)
    assert not same_model(one, unshuffled)


def test_fit_after_fit_starts_anew(X, y):
    model = classifier().fit(X, y)
    before = fitted_state(model)
    assert fitted_state(model.fit(X, y)) == before
    model.partial_fit(X, y)
    assert fitted_state(model.fit(X, y)) == before


def test_warm_start_goes_on(X, y):
    params = {"shuffle": False, "learning_rate": "constant"}
    model = classifier(max_iter=2, warm_start=True, **params).fit(X, y)
    model.fit(X, y)
    assert same_model(model, classifier(max_iter=4, **params).fit(X, y))
    assert (model.n_iter_, len(model.loss_curve_)) == (2, 4)
    model.set_params(warm_start=False).fit(X, y)
    assert model.n_iter_ == 2


def test_parameters_set_between_calls_are_those_of_the_next(X, y):
    """As in SGDClassifier; what says how training begins is not read again."""
    first = {"embedding_dim": 7, "dtype": "float64", "random_state": 1, "init": "uniform"}
    then = {"loss": "squared_hinge", "learning_rate_init": 0.01, "alpha": 0.1, "solver": "sgd"}
    one, other = (EmbeddingBagClassifier(5, random_state=0).partial_fit(X, y, classes=np.unique(y)) for _ in range(2))
    one.set_params(**first, **then).partial_fit(X, y)
    other.set_params(**then).partial_fit(X, y)
    assert one.embeddings_.shape[1] == 5
    assert one.embeddings_.dtype == np.float32
    for array, same in zip(learnt(one), learnt(other), strict=True):
        np.testing.assert_array_equal(array, same)
    plain = EmbeddingBagClassifier(5, random_state=0).partial_fit(X, y, np.unique(y)).partial_fit(X, y)
    assert (plain.embeddings_ != one.embeddings_).any()


def test_probabilities_of_a_tree_near_the_end_of_the_range():
    model = EmbeddingBagClassifier(4, mode="sum", output="hierarchical", random_state=0).fit(np.eye(5), range(5))
    model.embeddings_[:], model.coefs_[0][:] = 1, 1
    rows = np.array([[np.finfo("float32").max, 0, 0, 0, 0]], "float32")
    assert np.isfinite(model.predict_log_proba(rows)).all()
    np.testing.assert_allclose(model.predict_proba(rows).sum(axis=1), 1)
    _, probabilities = model.predict_top_k(rows, 5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    model.embeddings_[:], model.coefs_[0][::2] = 2, -1
    for call in (model.predict_proba, model.predict_log_proba, lambda some: model.predict_top_k(some, 2)):
        with pytest.raises(ValueError, match="outputs of row 0 of X are NaN"):
            call(rows)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_of_values_near_the_end_of_the_range(n_classes):
    """Outputs that are infinite in float32 have probabilities, or an error says that nothing is known."""
    rng = np.random.default_rng(0)
    X, y = rng.random((60, 8)), np.arange(60) % n_classes
    model = EmbeddingBagClassifier(8, mode="sum", random_state=0).fit(X, y)
    model.coefs_ = [np.abs(model.coefs_[0])]
    model.embeddings_ = np.abs(model.embeddings_)
    large = X.astype(np.float32) * np.float32(3e38)
    outputs = model.decision_function(large)
    assert np.isinf(outputs).any()
    assert not np.isnan(outputs).any()
    np.testing.assert_allclose(model.predict_proba(large).sum(axis=1), 1, rtol=1e-6)
    _, probabilities = model.predict_top_k(large, n_classes)
    assert np.isfinite(probabilities).all()
    model.embeddings_ = model.embeddings_ * np.float32(1e3)  # pooled rows are infinite, and infinite ones cancel
    model.coefs_ = [model.coefs_[0] * np.tile(np.float32([1, -1]), 4)[:, None]]
    bad = np.isnan(np.atleast_2d(model.decision_function(large).T).T).any(axis=1)
    assert bad.any()
    for call in model.predict_proba, model.predict_log_proba, lambda some: model.predict_top_k(some, n_classes):
        with pytest.raises(ValueError, match=f"outputs of row {bad.argmax()} of X are NaN: .* dtype='float64'"):
            call(large)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_of_logits_that_are_finite_are_theirs(dtype):
    model = EmbeddingBagClassifier(4, mode="sum", dtype=dtype, random_state=0).fit(np.eye(3), [0, 1, 2])
    model.embeddings_[:], model.coefs_[0][:] = 1, [[0.2, -0.2, 0.1]] * 4
    rows = np.array([[0.9 * np.finfo(dtype).max, 0, 0]], dtype)
    assert np.isfinite(model.decision_function(rows)).all()
    np.testing.assert_array_equal(model.predict_proba(rows), [[1, 0, 0]])
    logarithms = model.predict_log_proba(rows)
    assert logarithms[0, 0] == 0
    assert np.isfinite(logarithms).all()
    assert logarithms.argsort().tolist() == [[1, 2, 0]]
    classes, probabilities = model.predict_top_k(rows, 3)
    assert (classes.tolist(), probabilities.tolist()) == ([[0, 2, 1]], [[1, 0, 0]])
    np.testing.assert_array_equal(model.predict_proba(np.array([[np.finfo(dtype).max * 1.0, 0, 0]])).sum(axis=1), 1)


@pytest.mark.parametrize("of_y", ["int64", "uint64", "float64"])
@pytest.mark.parametrize("of_classes", ["int64", "uint64", "float64"])
def test_labels_beyond_what_a_float_has_are_told_apart(of_classes, of_y):
    ids, rows, numbers = np.array([5, 2**60, 2**60 + 2**20]), np.repeat(np.eye(3), 20, 0), np.repeat(np.arange(3), 20)
    model = EmbeddingBagClassifier(4, random_state=0)
    for _ in range(20):
        model.partial_fit(rows, ids.astype(of_y)[numbers], classes=ids.astype(of_classes))
    np.testing.assert_array_equal(model.predict(np.eye(3)), ids)
    before, wrong = pickle.dumps(model), ids.astype(of_y)[numbers]
    wrong[7] = 5.5 if of_y == "float64" else 2**60 + 1
    for some in (model, EmbeddingBagClassifier(4)):
        with pytest.raises(ValueError, match=rf"classes .*not in .*\[{wrong[7]}\]"):
            some.partial_fit(rows, wrong, classes=ids.astype(of_classes))
    assert pickle.dumps(model) == before


@pytest.mark.parametrize("of_y", ["int64", "uint64"])
def test_labels_of_validation_may_be_of_another_kind(of_y):
    ids, rows, numbers = np.array([5, 2**60, 2**60 + 1]), np.repeat(np.eye(3), 20, 0), np.repeat(np.arange(3), 20)
    scores = []
    for kind in ("int64", of_y):
        model = EmbeddingBagClassifier(4, early_stopping=True, random_state=0)
        model.fit(rows, ids[numbers], X_val=rows, y_val=ids.astype(kind)[numbers])
        scores.append(model.validation_scores_)
    assert scores[0] == scores[1]


@pytest.mark.parametrize("negative", [-1, -(2**63)])
def test_a_negative_label_is_none_of_unsigned_ones(negative):
    classes = np.array([2**64 + negative, 3] if negative == -1 else [2**63, 3], np.uint64)
    with pytest.raises(ValueError, match=rf"classes that are not in classes.*\[{negative}\]"):
        EmbeddingBagClassifier(4).partial_fit(np.eye(2), np.array([3, negative]), classes=classes)


@pytest.mark.filterwarnings("ignore:Constructing a DIA matrix")
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "dia", "bsr"])
@pytest.mark.parametrize("scoring", ["loss", "f1_micro"])
def test_early_stopping_of_all_sparse_formats(X, form, scoring):
    X, y = csr_array(csr_array(X).toarray()), targets("labels")
    params = {"early_stopping": True, "max_iter": 2, "scoring": scoring, "validation_fraction": 0.3}
    expected = classifier(**params).fit(X, y)
    given, labels = X.asformat(form), csr_array(y).asformat(form)
    assert same_model(classifier(**params).fit(given, labels), expected)
    expected = classifier(**params).fit(X, y, X_val=X, y_val=y)
    assert same_model(classifier(**params).fit(given, labels, X_val=given, y_val=labels), expected)


def test_warm_start_after_partial_fit(X, y):
    params = {"shuffle": False, "learning_rate": "constant"}
    model = classifier(max_iter=2, warm_start=True, **params).partial_fit(X, y, classes=range(3)).fit(X, y)
    assert same_model(model, classifier(max_iter=3, **params).fit(X, y))


@pytest.mark.parametrize("reload", [lambda m, _: pickle.loads(pickle.dumps(m)), lambda m, p: _joblib(m, p, None),
                                    lambda m, p: _joblib(m, p, "r"), lambda m, p: _joblib(m, p, "c")],
                         ids=["pickle", "joblib", "mmap r", "mmap c"])  # fmt: skip
@pytest.mark.parametrize("params", [{}, {"solver": "sgd"}, {"freeze": True}])
def test_a_loaded_model_goes_on(X, y, reload, params, tmp_path):
    model = classifier(**params).fit(X, y)
    other = reload(model, tmp_path / "model.joblib")
    content = (tmp_path / "model.joblib").read_bytes() if (tmp_path / "model.joblib").exists() else None
    np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
    for _ in range(2):
        model.partial_fit(X, y)
        other.partial_fit(X, y)
    assert fitted_state(other) == fitted_state(model)
    assert content is None or (tmp_path / "model.joblib").read_bytes() == content


def _joblib(model, path, mmap_mode):
    joblib.dump(model, path)
    return joblib.load(path, mmap_mode=mmap_mode)


def test_a_memory_mapped_model_is_copied_once(X, y, tmp_path):
    model = _joblib(classifier().fit(X, y), tmp_path / "model.joblib", "r")
    assert not model.embeddings_.flags.writeable
    model.partial_fit(X, y)
    arrays = [model.embeddings_, model.coefs_[0].T, model.intercepts_[0]]
    assert all(array.flags.writeable for array in arrays)
    model.partial_fit(X, y)
    for array, again in zip(arrays, learnt(model), strict=True):
        assert np.shares_memory(array, again)


# --- weights of rows and of classes


def test_integer_class_weights_are_sample_weights(X, y):
    weights = np.where(y == 1, 3.0, 1.0)
    expected = classifier().fit(X, y, sample_weight=weights)
    assert same_model(classifier(class_weight={1: 3}).fit(X, y), expected)
    both = classifier(class_weight={1: 3}).fit(X, y, sample_weight=np.where(y == 2, 0.5, 1))
    assert same_model(both, classifier().fit(X, y, sample_weight=weights * np.where(y == 2, 0.5, 1)))
    assert not same_model(expected, classifier().fit(X, y))


@pytest.mark.parametrize("labels", [[0, 1, 2], ["c", "a", "b"], [5, -3, 7]])
def test_class_weights_belong_to_the_labels(X, y, labels):
    labels = np.array(labels)
    named = labels[y]
    expected = classifier().fit(X, named, sample_weight=np.where(named == labels[0], 4.0, 1.0))
    model = classifier(class_weight={labels[0]: 4.0}).fit(X, named)
    assert same_model(model, expected)


def test_balanced_class_weights(X):
    y = np.array(["a", "b", "b", "c", "c", "c"])[np.arange(N_ROWS) % 6]
    balanced = compute_class_weight("balanced", classes=np.unique(y), y=y)
    expected = classifier().fit(X, y, sample_weight=balanced[np.searchsorted(["a", "b", "c"], y)])
    assert same_model(classifier(class_weight="balanced").fit(X, y), expected)


def test_class_weights_in_partial_fit(X, y):
    kinds = np.array(["a", "b", "c"])
    model = classifier(class_weight={"b": 3.0}).partial_fit(X, kinds[y], classes=kinds)
    expected = classifier().partial_fit(X, kinds[y], classes=kinds, sample_weight=np.where(y == 1, 3.0, 1.0))
    assert same_model(model, expected)


def test_class_weights_where_a_batch_lacks_classes(X, y):
    kept = y != 0
    model = classifier(class_weight={2: 3.0, 0: 5.0}).partial_fit(csr_array(X[kept]), y[kept], classes=range(3))
    weights = np.where(y[kept] == 2, 3.0, 1.0)
    expected = classifier().partial_fit(csr_array(X[kept]), y[kept], classes=range(3), sample_weight=weights)
    assert same_model(model, expected)


def test_fit_does_not_depend_on_the_scale_of_the_weights(X, y):
    weights = np.random.default_rng(1).integers(1, 9, N_ROWS).astype(float)
    one, other = (classifier().fit(X, y, sample_weight=weights * factor) for factor in (1, 1024))
    assert same_model(one, other)
    assert same_model(classifier().fit(X, y, sample_weight=np.full(N_ROWS, 2)), classifier().fit(X, y))


def test_the_scale_of_the_weights_is_a_rate_in_partial_fit(X, y):
    params = {"solver": "sgd", "dtype": "float64", "alpha": 0.0}
    one = classifier(learning_rate_init=0.1, **params).partial_fit(X, y, range(3), np.full(N_ROWS, 4.0))
    other = classifier(learning_rate_init=0.4, **params).partial_fit(X, y, range(3))
    np.testing.assert_allclose(one.embeddings_, other.embeddings_, rtol=1e-12)


def test_rows_of_weight_zero_teach_nothing(topics):
    X, y = topics
    wrong = np.arange(N_ROWS) % 2 == 0
    labels = np.where(wrong, (y + 1) % 3, y)
    model = classifier(max_iter=60).fit(X, labels, sample_weight=~wrong)
    assert model.score(X, y) > 0.9


# --- stopping


def test_tol_stops_when_the_loss_stays(topics):
    X, y = topics
    model = classifier(tol=1e-3, max_iter=500, learning_rate="constant", n_iter_no_change=3).fit(X, y)
    assert 3 < model.n_iter_ < 500
    losses = np.array(model.loss_curve_)
    best = np.minimum.accumulate(losses)[:-1]
    stale = np.append(False, losses[1:] >= best - 1e-3)
    assert stale[-3:].all()
    assert not any(stale[i : i + 3].all() for i in range(len(stale) - 3))


def test_max_iter_without_convergence_warns(X, y):
    model = classifier(tol=0.0, max_iter=2, learning_rate="constant")
    with pytest.warns(ConvergenceWarning, match=r"Maximum number of iterations \(2\)") as records:
        model.fit(X, y)
    assert records[0].filename == __file__
    assert model.n_iter_ == 2
    model.set_params(tol=None).fit(X, y)


def test_early_stopping_keeps_the_best_epoch(X):
    y = np.array(["a", "b", "c"])[targets(3)]
    params = {"early_stopping": True, "max_iter": 60, "validation_fraction": 0.25, "learning_rate_init": 0.3}
    model = classifier(**params).fit(X, y)
    assert model.n_iter_ == len(model.loss_curve_)
    assert 2 < model.n_iter_ < 60  # labels are random
    patient = classifier(**{**params, "n_iter_no_change": 5}).fit(X, y)
    assert patient.n_iter_ >= model.n_iter_
    assert not hasattr(model, "coef_best_")


def test_early_stopping_scores_the_rows_held_out(topics, capsys):
    X, y = topics
    y = np.where(np.arange(N_ROWS) % 3 == 0, (y + 1) % 3, y)
    params = {"validation_fraction": 0.3, "learning_rate_init": 0.3, "n_iter_no_change": 3, "verbose": 1}
    model = classifier(early_stopping=True, scoring="accuracy", max_iter=100, **params).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == model.n_iter_
    scores = [float(re.search(r"validation score (-?\d\.\d+)", line)[1]) for line in lines]
    np.testing.assert_allclose(model.validation_scores_, scores, atol=1e-6)
    assert len({*scores}) > 1
    first_best = int(np.argmax(scores))
    assert model.n_iter_ == min(100, first_best + 1 + 3)


def test_scores_of_early_stopping_are_those_of_cross_val_score(topics):
    """The weights of classes are those of the loss, and a metric gets weights of samples if it takes them."""
    X, y = topics
    params = {"early_stopping": True, "max_iter": 3, "tol": None, "class_weight": {0: 50.0, 1: 1.0, 2: 1.0}}
    model = classifier(scoring="accuracy", **params).fit(X, y, X_val=X, y_val=y)
    assert model.validation_scores_[-1] == pytest.approx(model.score(X, y)) or model.best_n_iter_ < 3
    assert model.best_validation_score_ == pytest.approx(model.score(X, y))
    weights = np.where(y == 1, 3.0, 0.5)
    weighted = classifier(scoring="accuracy", **params).fit(X, y, X_val=X, y_val=y, sample_weight_val=weights)
    assert weighted.best_validation_score_ == pytest.approx(weighted.score(X, y, weights))
    for scoring in (lambda model, X, y: model.score(X, y), make_scorer(lambda y, predicted: np.mean(y == predicted))):
        other = classifier(scoring=scoring, **params).fit(X, y, X_val=X, y_val=y, sample_weight_val=weights)
        assert other.best_validation_score_ == pytest.approx(other.score(X, y))
        classifier(scoring=scoring, **params).fit(X, y, weights)


@pytest.mark.parametrize("kind", [2, "labels"])
def test_early_stopping_of_any_target(X, kind):
    model = classifier(early_stopping=True, max_iter=20).fit(X, targets(kind))
    assert np.isfinite(model.predict_proba(X)).all()


def test_early_stopping_splits_by_class(topics, monkeypatch):
    from skbag._training import validation

    X, y = topics
    splits = []
    split = validation.train_test_split

    def spy(*args, **kwargs):
        splits.append(split(*args, **kwargs))
        return splits[-1]

    monkeypatch.setattr(validation, "train_test_split", spy)
    classifier(early_stopping=True, validation_fraction=0.2).fit(X, y)
    (used, held_out), = splits  # fmt: skip
    assert np.bincount(y[held_out]).tolist() == [8, 8, 8]
    assert sorted([*used, *held_out]) == list(range(N_ROWS))


def test_verbose_prints_the_losses(X, y, capsys):
    model = classifier(verbose=True, max_iter=3).fit(X, y)
    out = capsys.readouterr().out
    assert [f"{loss:.6f}" for loss in model.loss_curve_] == re.findall(r"loss (\d+\.\d+)", out)
    model.partial_fit(X, y)
    assert capsys.readouterr().out == f"Epoch 4, loss {model.loss_curve_[-1]:.6f}\n"
    classifier(verbose=1).partial_fit(X, y, classes=range(3))
    assert capsys.readouterr().out.startswith("Epoch 1, loss ")
    classifier(max_iter=3).fit(X, y).partial_fit(X, y)
    assert capsys.readouterr().out == ""


def test_an_infinite_n_iter_no_change_never_stops(X):
    y = targets(3)  # random labels
    for params in ({"tol": 1e9}, {"early_stopping": True, "validation_fraction": 0.25}):
        assert classifier(max_iter=12, n_iter_no_change=np.inf, **params).fit(X, y).n_iter_ == 12
        assert classifier(max_iter=12, n_iter_no_change=1, **params).fit(X, y).n_iter_ < 12


def test_the_loss_curve_is_the_log_loss_before_each_step(X, y):
    params = {"learning_rate": "constant", "alpha": 0.0, "dtype": "float64", "batch_size": N_ROWS}
    model = classifier(max_iter=2, shuffle=False, **params)
    start = clone(model).partial_fit(X, y, classes=range(3), sample_weight=np.full(N_ROWS, NO_WEIGHT))
    once = clone(model).set_params(max_iter=1).fit(X, y)
    model.fit(X, y)
    expected = [log_loss(y, one.predict_proba(X)) for one in (start, once)]
    np.testing.assert_allclose(model.loss_curve_, expected, rtol=1e-9)


# --- scikit-learn around it


def test_pipelines_of_text_end_in_it():
    texts = ["the cat sat on the mat", "dogs and cats", "stocks fell sharply", "markets and stocks"]
    topics = ["pets", "pets", "money", "money"]
    model = make_pipeline(TfidfVectorizer(), classifier(max_iter=50)).fit(texts, topics)
    assert model.predict(["a cat on a mat", "stocks and markets fell"]).tolist() == ["pets", "money"]


def test_transform_in_the_middle_of_a_pipeline(topics):
    X, y = topics
    bag = classifier(max_iter=50)
    model = make_pipeline(bag, LogisticRegression()).fit(X, y)
    assert model.score(X, y) > 0.9
    assert model[:-1].get_feature_names_out().tolist() == [f"embeddingbagclassifier{i}" for i in range(5)]
    np.testing.assert_array_equal(model[0].transform(X), clone(bag).fit(X, y).transform(X))
    np.testing.assert_array_equal(clone(bag).fit_transform(X, y), model[0].transform(X))


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_grid_search_over_mode_and_embedding_dim(topics, n_jobs):
    X, y = topics
    grid = {"mode": MODES, "embedding_dim": [5, 16]}
    search = GridSearchCV(classifier(max_iter=30), grid, cv=2, n_jobs=n_jobs, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.8
    dim = search.best_params_["embedding_dim"]
    assert search.best_estimator_.embeddings_.shape == (6, dim)
    assert search.predict(X).shape == (N_ROWS,)


def test_cross_validation_of_multi_label(topics):
    X, y = topics
    Y = np.stack([y == 0, y != 2], axis=1).astype(int)
    assert cross_val_score(classifier(max_iter=80), X, Y, cv=2, scoring="f1_micro").mean() > 0.8


def test_metadata_routing(topics):
    X, y = topics
    weights = np.where(y == 1, 5.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = classifier().set_fit_request(sample_weight=True).set_partial_fit_request(
            sample_weight=True, classes=True
        )  # fmt: skip
        pipeline = make_pipeline(model).fit(X, y, sample_weight=weights)
        search = GridSearchCV(model.set_score_request(sample_weight=True), {"mode": ["sum"]}, cv=2)
        search.fit(X, y, sample_weight=weights)
    assert same_model(pipeline[0], classifier().fit(X, y, sample_weight=weights))
    assert same_model(search.best_estimator_, classifier(mode="sum").fit(X, y, sample_weight=weights))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output(X, y, library):
    pytest.importorskip(library)
    model = classifier().set_output(transform=library).fit(X, y)
    frame = model.transform(X)
    assert list(frame.columns) == [f"embeddingbagclassifier{i}" for i in range(5)]
    np.testing.assert_array_equal(frame.to_numpy(), model.set_output(transform="default").transform(X))
    assert isinstance(model.predict_proba(X), np.ndarray)


def test_feature_names(topics):
    X, y = topics
    frame = frames("pandas").DataFrame(X.toarray(), columns=list("abcdef"))
    model = classifier().fit(frame, y)
    assert model.feature_names_in_.tolist() == list("abcdef")
    assert model.get_feature_names_out().tolist() == [f"embeddingbagclassifier{i}" for i in range(5)]
    assert same_model(model, classifier().fit(X, y))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.rename(columns={"a": "z"}))


def test_clone_keeps_parameters_and_drops_the_state(X, y):
    model = classifier(mode="max", alpha=0.5, class_weight={0: 2}).fit(X, y)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not [name for name in vars(copy) if name.endswith("_") or name.startswith("_solver")]


def test_representations(X, y):
    assert repr(EmbeddingBagClassifier(8, mode="max")) == "EmbeddingBagClassifier(embedding_dim=8, mode='max')"
    assert "EmbeddingBagClassifier" in classifier().fit(X, y)._repr_html_()


def test_n_jobs_none_follows_the_joblib_context(X, y, monkeypatch):
    seen = []
    monkeypatch.setattr("skbag._threads.processors", lambda: 2)
    monkeypatch.setattr(cpu_training, "_WORK_OF_A_THREAD", 1)
    trainer = cpu_training.Trainer.__init__
    monkeypatch.setattr(
        cpu_training.Trainer, "__init__", lambda self, *a, **k: trainer(self, *a, **k) or seen.append(self.n_jobs)
    )
    classifier().fit(X, y)
    with joblib.parallel_config(n_jobs=2):
        classifier().fit(X, y)
    assert seen == [1, 2]


@pytest.mark.parametrize("n_jobs", [10**6, 10**400, -(10**400)])
def test_no_more_threads_than_processors_or_rows(X, y, n_jobs, monkeypatch):
    """Scratch memory grows with the square of their number."""
    seen = []
    trainer = cpu_training.Trainer.__init__
    monkeypatch.setattr(
        cpu_training.Trainer, "__init__", lambda self, *a, **k: trainer(self, *a, **k) or seen.append(self.n_jobs)
    )
    monkeypatch.setattr("skbag._threads.processors", lambda: 3)
    monkeypatch.setattr(cpu_training, "_WORK_OF_A_THREAD", 1)
    monkeypatch.setattr("skbag._cpu.backend._SERIAL_WORK", 2)
    models = [classifier(n_jobs=n, batch_size=b).fit(X, y) for n in (None, n_jobs) for b in (2, 64)]
    assert seen == [1, 1, *((2, 3) if n_jobs > 0 else (1, 1))]
    assert same_model(models[0], models[2])
    assert same_model(models[1], models[3])
    features = [EmbeddingBagVectorizer(4, random_state=0, n_jobs=n).fit_transform(X) for n in (None, n_jobs)]
    np.testing.assert_array_equal(*features)


@pytest.mark.parametrize(("n_classes", "params", "alpha"), [
    (2, {}, 1e-4), (3, {}, 3e-5), (3, {"loss": "squared_hinge"}, 1e-4), (3, {"solver": "adagrad"}, 1e-4),
    (3, {"freeze": True}, 1e-4),
])  # fmt: skip
def test_alpha_auto_is_the_documented_number(n_classes, params, alpha):
    X, y = np.eye(30, 6) + 1, np.arange(30) % n_classes
    one, other = (classifier(alpha=a, max_iter=3, **params).fit(X, y) for a in ("auto", alpha))
    assert same_model(one, other)
    assert not same_model(one, classifier(alpha=10 * alpha, max_iter=3, **params).fit(X, y))


@pytest.mark.parametrize(("name", "value"), [
    ("batch_size", np.int8(16)), ("max_iter", np.int8(120)), ("embedding_dim", np.int8(5)), ("n_jobs", np.int8(2)),
    *((name, kind(0.5)) for name in ("alpha", "learning_rate_init", "tol", "max_norm")
      for kind in (np.float16, np.float32, np.longdouble)),
    ("learning_rate_init", 1), ("alpha", 1),
])  # fmt: skip
def test_parameters_of_any_numeric_type(X, y, name, value):
    params = {"learning_rate": "linear" if name == "max_iter" else "constant", "max_iter": 9}
    plain = value.item() if isinstance(value, np.int8) else float(value)
    one, other = (classifier(**{**params, name: number}) for number in (value, plain))
    assert same_model(one.fit(X, y), other.fit(X, y))


# --- callbacks of scikit-learn 1.9


@pytest.fixture
def callbacks():
    return pytest.importorskip("sklearn.callback", reason="callbacks need scikit-learn 1.9")


def test_a_progress_bar(callbacks, topics, capsys):
    pytest.importorskip("rich", reason="the progress bar needs rich")
    X, y = topics
    model = classifier(max_iter=4).set_callbacks(callbacks.ProgressBar()).fit(X, y)
    assert same_model(model, classifier(max_iter=4).fit(X, y))


def epoch_scores(monitor):
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    return [row["accuracy"] for row in sorted(rows, key=lambda row: row["task_id"])]


def test_a_scoring_monitor_sees_every_epoch(callbacks, topics):
    X, y = topics
    monitor = callbacks.ScoringMonitor(scoring="accuracy")
    params = {"max_iter": 6, "learning_rate": "constant", "learning_rate_init": 0.3}
    model = classifier(**params).set_callbacks(monitor).fit(X, y)
    expected = [classifier(**{**params, "max_iter": n}).fit(X, y).score(X, y) for n in range(1, 7)]
    np.testing.assert_allclose(epoch_scores(monitor), expected)
    assert len(set(expected)) > 1
    assert same_model(model, classifier(**params).fit(X, y))


def test_a_scoring_monitor_sees_an_early_end(callbacks, topics):
    X, y = topics
    monitor = callbacks.ScoringMonitor(scoring="accuracy")
    model = classifier(max_iter=100, early_stopping=True, scoring="accuracy").set_callbacks(monitor).fit(X, y)
    assert len(epoch_scores(monitor)) == model.n_iter_ < 100


def test_a_scoring_monitor_of_labels_and_of_weights(callbacks, topics):
    X, y = topics
    for target in (y, y == 0, np.stack([y == 0, y == 1], axis=1)):
        monitor = callbacks.ScoringMonitor(scoring="accuracy")
        classifier(max_iter=5).set_callbacks(monitor).fit(X, target)
        assert len(epoch_scores(monitor)) == 5


def test_callbacks_in_a_search(callbacks, topics):
    X, y = topics
    monitor = callbacks.ScoringMonitor(scoring="accuracy")
    model = classifier(max_iter=3).set_callbacks(monitor)
    GridSearchCV(model, {"mode": ["sum", "mean"]}, cv=2, error_score="raise").fit(X, y)
    assert len(monitor.get_logs("all")) > 0


def test_a_callback_that_asks_to_stop(callbacks, topics):
    X, y = topics

    class Stop:
        def setup(self, estimator, context): ...
        def teardown(self, estimator, context): ...
        def on_fit_task_begin(self, estimator, context, **_): ...
        def on_fit_task_end(self, estimator, context, **_):
            return context.task_name == "epoch" and context.task_id == 1

    model = classifier(max_iter=5).set_callbacks(Stop()).fit(X, y)
    assert model.n_iter_ == 2


def test_without_callbacks_of_scikit_learn_fit_is_the_same(topics, monkeypatch, callbacks):
    X, y = topics
    model = classifier().fit(X, y)
    base = next(kind for kind in EmbeddingBagClassifier.__mro__ if kind.__name__ == "CallbackSupportMixin")
    for name in [name for name in vars(base) if not name.startswith("__")]:
        monkeypatch.delattr(base, name)
    assert same_model(classifier().fit(X, y), model)


def test_float32_probabilities_of_many_classes_are_what_log_loss_expects():
    X, y = random_csr(1600, 300), np.arange(1600) % 736
    model = EmbeddingBagClassifier(8, max_iter=3, random_state=0).fit(X, y)
    probabilities = model.predict_proba(X)
    assert probabilities.dtype == np.float32
    assert np.isfinite(log_loss(y, probabilities, labels=model.classes_))  # a warning would be an error
    np.testing.assert_allclose(probabilities.sum(axis=1, dtype=np.float64), 1, rtol=8 * np.finfo("float32").eps)
