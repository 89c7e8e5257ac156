"""What EmbeddingBagClassifier must refuse, and that a call that fails leaves it as it was."""

import pickle
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from helpers import csr, learnt, random_csr, random_table, run_python
from scipy.sparse import csr_array, lil_array
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils._param_validation import InvalidParameterError

from skbag import EmbeddingBagClassifier
from skbag._cpu import training as cpu_training

N_ROWS, N_COLUMNS = 40, 12
METHODS = ("fit", "partial_fit")


def refuses(error, *words):
    """Expect an error whose text has all these words, in any order."""
    pattern = "".join(f"(?=.*{re.escape(str(word))})" for word in words)
    return pytest.raises(error, match=re.compile(pattern, re.DOTALL))


@pytest.fixture
def X():  # noqa: N802
    return random_csr(N_ROWS, N_COLUMNS, dtype="float32")


@pytest.fixture
def y():
    return np.random.default_rng(0).permutation(np.arange(N_ROWS) % 3)


def classifier(**params):
    return EmbeddingBagClassifier(**{"embedding_dim": 5, "random_state": 0, **params})


def snapshot(estimator):
    """Every attribute: the object itself, and its content."""
    return dict(vars(estimator)), {name: pickle.dumps(value) for name, value in vars(estimator).items()}


def assert_unchanged(estimator, before):
    attributes, contents = before
    assert list(vars(estimator)) == list(attributes)
    for name, value in vars(estimator).items():
        assert value is attributes[name], name
        assert pickle.dumps(value) == contents[name], name


def assert_usable(estimator, X, y):
    estimator.set_params(learning_rate_init=0.05).partial_fit(X, y, classes=range(3))
    assert np.isfinite(estimator.predict_proba(X)).all()
    assert np.isfinite(estimator.fit(X, y).predict_proba(X)).all()


# --- y, weights, classes


def replaced(X, at, value):
    X = csr(X.data.copy(), X.indices.copy(), X.indptr.copy(), X.shape[1])
    X.data[at] = value
    return X


def indicator(value=2):
    Y = np.tile([[0, 1], [1, 0]], (N_ROWS // 2, 1))
    Y[2], Y[3, 0] = 1, value
    return Y


def labels_of(y):
    """An indicator with a column for each of three classes; the first sample has all."""
    Y = np.eye(3, dtype=int)[y]
    Y[0] = 1
    return Y


Y_CASES = [
    ("too long", ["inconsistent numbers of samples", N_ROWS, N_ROWS + 1], lambda y: np.append(y, 0)),
    ("too short", ["inconsistent numbers of samples", N_ROWS, N_ROWS - 1], lambda y: y[1:]),
    ("NaN", ["NaN"], lambda y: np.where(y == 1, np.nan, y)),
    ("inf", ["infinity"], lambda y: np.where(y == 1, np.inf, y)),
    ("continuous", ["Unknown label type", "continuous"], lambda y: y + 0.5),
    ("None", ["y"], lambda y: None),
    ("many outputs", ["y"], lambda y: indicator()),
    ("continuous outputs", ["probabilities", "1.5 in row 0"], lambda y: indicator() + 0.5),
    ("a missing label", ["uniformly", "None in row 3"], lambda y: np.where(np.arange(N_ROWS) == 3, None, y)),
    ("two kinds", ["uniformly", "'b' in row 3"], lambda y: np.where(np.arange(N_ROWS) == 3, "b", y.astype(object))),
    ("0-D", ["y"], lambda y: np.array(1)),
    ("3-D", ["y"], lambda y: np.zeros((N_ROWS, 2, 2))),
    ("an indicator of another length", ["inconsistent numbers"], lambda y: indicator(1)[1:]),
    ("NaN in lists", ["Input y contains NaN"], lambda y: lil_array(np.where(indicator() > 0, np.nan, 0.0))),
    ("a sparse indicator of another length", ["inconsistent numbers"], lambda y: csr_array(indicator(1)[1:])),
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("words", "change"), [case[1:] for case in Y_CASES], ids=[case[0] for case in Y_CASES])
def test_y(X, y, words, change, method):
    for model in (classifier(), classifier().fit(X, y)):
        before = snapshot(model)
        arguments = {} if method == "fit" or hasattr(model, "coefs_") else {"classes": range(3)}
        known = method == "partial_fit" and not set(words) & {"NaN", "infinity"}  # or it is told that classes differ
        with refuses((ValueError, TypeError), *(["" if "inconsistent" in words[0] else "y"] if known else words)):
            getattr(model, method)(X, change(y), **arguments)
        assert_unchanged(model, before)
    assert_usable(model, X, y)


@pytest.mark.parametrize("kind", [int, float, str, bool])
def test_dates_are_no_other_classes(X, y, kind):
    labels, dates = (y % 2).astype(kind), np.full(N_ROWS, "2020-01-01", "M8[D]")
    model = classifier().fit(X, labels)
    before = snapshot(model)
    with refuses(ValueError, "classes not in `self.classes_`", "2020-01-01"):
        model.partial_fit(X, dates)
    assert_unchanged(model, before)
    with refuses((TypeError, ValueError), "classes not in `self.classes_`", "2020-01-01"):
        classifier(early_stopping=True).fit(X, labels, X_val=X, y_val=dates)


@pytest.mark.parametrize("label", [1, "a", 2.0])
def test_one_class(X, label):
    with refuses(ValueError, "only one class", repr(label).strip("'")):
        classifier().fit(X, [label] * N_ROWS)
    with refuses(ValueError, "class"):
        classifier().partial_fit(X, [label] * N_ROWS, classes=[label])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("value", [-1, 2, 0.25])
def test_a_label_indicator_of_other_values(X, value, sparse, method):
    Y = np.tile([[1, 0, 1]], (N_ROWS, 1)).astype(float)
    fitted = classifier().fit(X, Y)
    Y *= value
    before = snapshot(fitted)
    with refuses(
        ValueError,
        "y",
        *((value, "row 0, column 0") if value != 0.25 or method == "partial_fit" else ("sum 0.5 in row 0",)),
    ):
        getattr(fitted, method)(X, csr_array(Y) if sparse else Y)
    assert_unchanged(fitted, before)


@pytest.mark.parametrize("method", METHODS)
def test_no_y(X, method):
    for y, words in ((None, ["y", "None"]), ([], ["inconsistent", N_ROWS])):
        with refuses(ValueError, *words):
            getattr(classifier(), method)(X, y, **({} if method == "fit" else {"classes": range(3)}))


@pytest.mark.parametrize("classes", [[0, 1, 2, np.nan], [[0, 1], [2, 2]], [0], 1])
def test_classes_of_a_stream(X, y, classes):
    with refuses(ValueError, "classes must be", classes):
        classifier().partial_fit(X, y, classes=classes)


def test_early_stopping_with_too_few_rows(X, y):
    model = classifier(early_stopping=True)
    before = snapshot(model)
    with refuses(ValueError, "early_stopping", "validation_fraction=0.1 holds out 1 of 9 samples", "3 classes"):
        model.fit(X[:9], np.arange(9) % 3)
    with refuses(ValueError, "the rarest has 1"):
        model.fit(X, np.where(np.arange(N_ROWS) == 4, 9, y))
    with refuses(ValueError, "validation_fraction=0.99", "a sample on each side"):
        classifier(early_stopping=True, validation_fraction=0.99).fit(X[:20], labels_of(np.arange(20) % 3))
    assert_unchanged(model, before)


def test_what_is_validated_on_has_the_classes_of_y(X, y):
    y_val = np.where(y == 0, 7, y)
    model = classifier(early_stopping=True)
    with refuses(ValueError, "In X_val, y_val", "'y' has [7]", "Validate on samples of classes that y has.") as caught:
        model.fit(X, y, X_val=X, y_val=y_val)
    assert "classes=" not in str(caught.value)  # which is for partial_fit
    with refuses(ValueError, "each of the 15 classes on each side", "as X_val and y_val"):
        model.fit(X[:15], np.arange(15))


def test_weights_whose_sum_is_too_large(X, y):
    model = classifier(random_state=0).fit(X, y, sample_weight=np.full(N_ROWS, 1e308))
    np.testing.assert_array_equal(model.embeddings_, classifier(random_state=0).fit(X, y).embeddings_)
    with refuses(ValueError, "sample_weight times class_weight"):
        classifier(class_weight=dict.fromkeys(range(3), 0)).fit(X, y)


def test_others_predict_while_a_batch_is_refused(X, y):
    """A refused call takes no attribute away for a moment, which another thread would find missing."""
    model = classifier().fit(X, y)
    expected, before = model.predict_proba(X), sys.getswitchinterval()

    def refuse():
        for _ in range(700):
            with pytest.raises(ValueError, match="not in"):
                model.partial_fit(X, y + 1)

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(1) as pool:
            refused = pool.submit(refuse)
            while not refused.done():
                model.per_sample_weights, model.coefs_[0].T
            refused.result()
    finally:
        sys.setswitchinterval(before)
    np.testing.assert_array_equal(model.predict_proba(X), expected)


WEIGHTS = [
    ("negative", ["sample_weight", "Negative"], lambda w: np.where(np.arange(N_ROWS) == 7, -1, w)),
    ("NaN", ["sample_weight", "NaN"], lambda w: np.where(np.arange(N_ROWS) == 7, np.nan, w)),
    ("inf", ["sample_weight", "infinity"], lambda w: np.where(np.arange(N_ROWS) == 7, np.inf, w)),
    ("too long", ["sample_weight", N_ROWS], lambda w: np.append(w, 1)),
    ("too short", ["sample_weight", N_ROWS], lambda w: w[1:]),
    ("2-D", ["1D"], lambda w: w[:, None]),
    ("strings", ["could not convert"], lambda w: ["a"] * N_ROWS),
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("words", "change"), [case[1:] for case in WEIGHTS], ids=[case[0] for case in WEIGHTS])
def test_sample_weight(X, y, words, change, method):
    model = classifier().fit(X, y)
    before = snapshot(model)
    with refuses(ValueError, *words):
        getattr(model, method)(X, y, sample_weight=change(np.ones(N_ROWS)))
    assert_unchanged(model, before)


def test_weights_that_are_all_zero(X, y):
    with refuses(ValueError, "weight"):
        classifier().fit(X, y, sample_weight=np.zeros(N_ROWS))


def test_a_huge_weight_is_no_divergence(X, y):
    weights = np.ones(N_ROWS)
    weights[3] = 1e300
    model = classifier(dtype="float64").fit(X, y, sample_weight=weights)
    assert np.isfinite(model.coefs_[0].T).all()


def test_classes_are_needed_in_the_first_call(X, y):
    model = classifier()
    before = snapshot(model)
    with refuses(ValueError, "classes must be passed on the first call to partial_fit."):
        model.partial_fit(X, y)
    assert_unchanged(model, before)
    model.partial_fit(X, indicator(1))  # the columns of an indicator are the classes


@pytest.mark.parametrize("classes", [[0, 1], [0, 1, 2, 3], [0, 1, 3], ["a", "b", "c"]])
def test_classes_that_change_between_calls(X, y, classes):
    for model in (classifier().partial_fit(X, y, classes=range(3)), classifier().fit(X, y)):
        before = snapshot(model)
        with refuses(ValueError, "is not the same as on last call to partial_fit", "init=model.embeddings_"):
            model.partial_fit(X, y, classes=classes)
        assert_unchanged(model, before)
        model.partial_fit(X, y, classes=[2, 1, 0])
        more = classifier(init=model.embeddings_).partial_fit(X, y, classes=range(4))  # the way out
        assert more.predict_proba(X).shape == (N_ROWS, 4)


@pytest.mark.parametrize("unseen", [-1, 3, 1.5])
def test_unseen_classes(X, y, unseen):
    bad = np.where(np.arange(N_ROWS) == 5, unseen, y)
    if unseen == 1.5:
        bad = np.array(["0", "1", "1.5"])[np.arange(N_ROWS) % 3]
        y = y.astype(str)
    model = classifier()
    before = snapshot(model)
    with refuses(ValueError, "y has classes that are not in classes", unseen):
        model.partial_fit(X, bad, classes=np.unique(y))
    assert_unchanged(model, before)
    model.partial_fit(X, y, classes=np.unique(y))
    before = snapshot(model)
    with refuses(ValueError, "`y` has classes not in `self.classes_`", unseen, "classes=", "init=model.embeddings_"):
        model.partial_fit(X, bad)
    assert_unchanged(model, before)


def test_labels_and_an_indicator_do_not_mix_in_a_stream(X, y):
    for first, second in ((y, labels_of(y)), (labels_of(y), y)):
        model = classifier().partial_fit(X, first, classes=range(3))
        before = snapshot(model)
        with refuses(ValueError, "y"):
            model.partial_fit(X, second)
        assert_unchanged(model, before)


def test_an_indicator_of_another_width(X):
    model = classifier().partial_fit(X, indicator(1))
    before = snapshot(model)
    with refuses(ValueError, "2", "3"):
        model.partial_fit(X, np.tile([[0, 1, 1], [1, 0, 0]], (N_ROWS // 2, 1)))
    assert_unchanged(model, before)


def test_class_weights_that_cannot_be(X, y):
    model = classifier(class_weight="balanced")
    with refuses(ValueError, "class_weight 'balanced' is not supported for partial_fit"):
        model.partial_fit(X, y, classes=range(3))
    with refuses(ValueError, "class_weight", "indicator"):
        model.fit(X, indicator(1))
    with refuses(ValueError, "class_weight"):
        classifier(class_weight="heavy").fit(X, y)
    with refuses(ValueError, "class_weight must be numbers by their classes"):
        classifier(class_weight={0: "a"}).fit(X, y)
    for weight in (np.nan, np.inf):
        with refuses(ValueError, "weight"):
            classifier(class_weight={1: weight}).fit(X, y)
    assert_usable(classifier(), X, y)


def test_warm_start_with_other_classes_or_columns(X, y):
    model = classifier(warm_start=True).fit(X, y)
    before = snapshot(model)
    with refuses(ValueError, "warm_start", "classes"):
        model.fit(X, y + 1)
    with refuses(ValueError, "features"):
        model.fit(csr_array((N_ROWS, N_COLUMNS + 1)), y)
    assert_unchanged(model, before)


def test_warm_start_with_a_label_indicator_after_classes(X, y):
    model = classifier(warm_start=True).fit(X, y)
    before = snapshot(model)
    with pytest.raises(ValueError):  # noqa: PT011
        model.fit(X, labels_of(y))
    assert_unchanged(model, before)


# --- X


def with_index(X, at, value):
    X = csr(X.data.copy(), X.indices.astype(np.int64), X.indptr.astype(np.int64), X.shape[1])
    X.indices[at] = value
    return X


X_CASES = [
    ("NaN", ["NaN"], lambda X: replaced(X, 60, np.nan)),
    ("inf", ["inf"], lambda X: replaced(X, 60, np.inf)),
    ("an id that is too large", ["12", "row"], lambda X: with_index(X, 60, N_COLUMNS)),
    ("a negative id", ["-1", "row"], lambda X: with_index(X, 60, -1)),
    ("a huge id", [2**40], lambda X: with_index(X, 60, 2**40)),
    ("more columns", ["13 features", "12 features"], lambda X: csr_array((N_ROWS, 13))),
    ("fewer rows", ["inconsistent"], lambda X: csr_array(X[1:])),
    ("no rows", ["sample"], lambda X: csr_array((0, N_COLUMNS))),
    ("complex", ["omplex"], lambda X: csr_array(X.toarray() * 1j)),
    ("1-D", ["2D"], lambda X: np.ones(N_COLUMNS)),
    ("strings", [""], lambda X: np.full((N_ROWS, N_COLUMNS), "a")),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["sqrtn", "max"])
@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("words", "change"), [case[1:] for case in X_CASES], ids=[case[0] for case in X_CASES])
def test_x(X, y, words, change, method, n_jobs, mode):
    model = classifier(mode=mode, n_jobs=n_jobs).fit(X, y)
    before = snapshot(model)
    bad = change(X)
    if method == "fit" and bad.shape == (N_ROWS, 13):
        return  # fit takes any number of columns
    with refuses((ValueError, TypeError), *words):
        getattr(model, method)(bad, y)
    assert_unchanged(model, before)
    first = classifier(mode=mode, n_jobs=n_jobs)
    if bad.shape != (N_ROWS, 13):
        with pytest.raises((ValueError, TypeError)):
            first.partial_fit(bad, y, classes=range(3))
        assert not hasattr(first, "coefs_")
        assert not hasattr(first, "n_features_in_")


def test_a_bad_batch_in_the_middle_of_a_stream_changes_nothing(X, y):
    bad = replaced(X, -1, np.nan)
    one, other = classifier(), classifier()
    for step in range(3):
        one.partial_fit(X, y, classes=range(3))
        other.partial_fit(X, y, classes=range(3))
        for batch, labels in ((bad, y), (X, y + 1), (X, y[1:])):
            with pytest.raises(ValueError):  # noqa: PT011
                other.partial_fit(batch, labels)
        assert len(other.loss_curve_) == step + 1
    assert all(a.tobytes() == b.tobytes() for a, b in zip(learnt(one), learnt(other), strict=True))


def test_partial_fit_has_no_rows_to_hold_out(X, y):
    new, fitted = classifier(early_stopping=True), classifier().partial_fit(X, y, classes=range(3))
    before = snapshot(fitted)
    for model in (new, fitted.set_params(early_stopping=True)):
        with refuses(ValueError, "partial_fit does not support early_stopping=True"):
            model.partial_fit(X, y, classes=range(3))
    assert_unchanged(fitted.set_params(early_stopping=False), before)
    assert not hasattr(new, "coefs_")


# --- parameters


PARAMETERS = [
    ("embedding_dim", 0), ("embedding_dim", 2.5), ("mode", "median"), ("mode", None), ("init", "zeros"),
    ("init", np.ones((N_COLUMNS - 1, 5))), ("init", np.full((N_COLUMNS, 5), np.nan)), ("freeze", "no"),
    ("padding_idx", N_COLUMNS), ("padding_idx", -N_COLUMNS - 1), ("padding_idx", 1.5), ("max_norm", 0),
    ("max_norm", -1.0), ("norm_type", 0), ("norm_type", -2.0), ("scale_grad_by_freq", 2.5), ("solver", "adamw"),
    ("solver", None), ("learning_rate", "adaptive"), ("learning_rate_init", 0), ("learning_rate_init", -0.1),
    ("learning_rate_init", np.nan), ("alpha", -1e-9), ("alpha", np.nan), ("alpha", "none"), ("batch_size", 0),
    ("batch_size", 1.5),
    ("max_iter", 0), ("shuffle", "yes"), ("tol", -1.0), ("validation_fraction", 0.0), ("validation_fraction", 1.0),
    ("n_iter_no_change", 0), ("class_weight", 3), ("dtype", "int8"), ("dtype", None), ("device", "tpu"),
    ("class_weight", {0: 10**400}), ("n_jobs", 1.5), ("random_state", "seed"), ("verbose", -1),
    ("early_stopping", "maybe"), ("warm_start", None),
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("name", "value"), PARAMETERS)
def test_parameters(X, y, name, value, method):
    model = classifier(**{name: value})
    before = snapshot(model)
    with refuses((ValueError, TypeError), name):
        getattr(model, method)(X, y, **({} if method == "fit" else {"classes": range(3)}))
    assert_unchanged(model, before)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("name", "limit"), [
    *((name, 2**31 - 1) for name in ("embedding_dim", "batch_size", "max_iter", "n_iter_no_change")),
    *((name, 1.7976931348623157e308) for name in ("alpha", "learning_rate_init", "tol", "max_norm", "norm_type")),
    ("validation_fraction", 1.0),
])  # fmt: skip
def test_numbers_that_no_float64_or_int32_can_hold(X, y, name, limit, method):
    for value in (10**400, -(10**400), *([2**62, 2**31] if isinstance(limit, int) else [])):
        model = classifier(**{name: value})
        before = snapshot(model)
        with refuses(InvalidParameterError, name, f"{limit}"):
            getattr(model, method)(X, y, **({} if method == "fit" else {"classes": range(3)}))
        assert_unchanged(model, before)


@pytest.mark.parametrize("method", METHODS)
def test_sample_weights_that_no_float_can_hold(X, y, method):
    with refuses(ValueError, "sample_weight", "finite"):
        getattr(classifier(), method)(
            X, y, sample_weight=[10**400] * N_ROWS, **({"classes": range(3)} if "_" in method else {})
        )


@pytest.mark.parametrize(("name", "value"), [("learning_rate_init", np.inf), ("alpha", np.inf)])
def test_infinite_rates(X, y, name, value):
    model = classifier(**{name: value})
    with pytest.raises(ValueError, match=name):
        model.fit(X, y)
    assert not hasattr(model, "coefs_")


def test_early_stopping_of_a_stream(X, y):
    """As MLPClassifier has it; what a stream has learnt until then stays."""
    first = classifier(early_stopping=True)
    with refuses(ValueError, "partial_fit does not support early_stopping=True"):
        first.partial_fit(X, y, classes=range(3))
    assert not hasattr(first, "classes_")
    model = classifier().partial_fit(X, y, classes=range(3)).set_params(early_stopping=True)
    before = snapshot(model)
    with refuses(ValueError, "early_stopping"):
        model.partial_fit(X, y)
    assert_unchanged(model, before)


def test_too_few_rows_to_hold_out(X):
    few = csr_array(X[:4])
    with refuses(ValueError, ""):
        classifier(early_stopping=True).fit(few, [0, 1, 2, 0])


REPLACED = """
from copy import copy
import numpy as np
from helpers import random_csr
from skbag import EmbeddingBagClassifier

X, y = random_csr(40, 12, dtype="float32"), np.arange(40) % 3
fitted = EmbeddingBagClassifier(5, random_state=0).fit(X, y)
for name, value in (
    ("embeddings_", np.zeros((10, 5), "float32")), ("embeddings_", np.zeros((12, 4), "float32")),
    ("embeddings_", np.zeros((12, 5), "int64")), ("coefs_", [np.zeros((2, 5), "float32")]),
    ("coefs_", [np.zeros((4, 3), "float32")]), ("intercepts_", [np.zeros(2, "float32")]),
):
    model = copy(fitted)
    setattr(model, name, value)
    try:
        model.partial_fit(X, y)
    except (ValueError, TypeError) as error:
        assert name.strip("_") in str(error), error
    else:
        raise AssertionError(f"trained with {name} that do not fit")
"""


def test_fitted_arrays_that_were_replaced_by_others_that_do_not_fit():
    """Kernels trust shapes, and would write beyond the end of an array: so in a process of its own."""
    run_python(REPLACED, timeout=120)


def test_a_batch_without_rows(X, y):
    model = classifier().fit(X, y)
    before = snapshot(model)
    with refuses(ValueError, "0 sample"):
        model.partial_fit(csr_array((0, N_COLUMNS)), y[:0])
    assert_unchanged(model, before)


def test_not_fitted(X):
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform"):
        with pytest.raises(NotFittedError):
            getattr(classifier(), method)(X)
    with pytest.raises(NotFittedError):
        classifier().get_feature_names_out()


# --- divergence


def large(X):
    return replaced(X, slice(None), X.data * np.float32(1e6))


DIVERGING = [{"solver": "sgd", "learning_rate_init": 1e39}, {"learning_rate_init": 1e30},
             {"solver": "sgd", "learning_rate_init": 1e38}, {"solver": "sgd", "learning_rate_init": 1e39, "n_jobs": 2},
             {"solver": "sgd", "learning_rate_init": 1e308, "dtype": "float64"}]  # fmt: skip


@pytest.mark.filterwarnings("ignore:The values of X make sums that are above")
@pytest.mark.parametrize("params", DIVERGING, ids=str)
def test_divergence_is_an_error_that_names_the_parameter_and_changes_nothing(X, y, params):
    model = classifier(mode="sum", batch_size=4, learning_rate="constant", max_iter=50, **params)
    before = snapshot(model)
    with refuses(ValueError, "learning_rate_init", params["learning_rate_init"], "diverge"):
        model.fit(large(X), y)
    assert_unchanged(model, before)
    model.set_params(learning_rate_init=0.05).fit(X, y)
    model.set_params(**params)
    before = snapshot(model)
    with refuses(ValueError, "learning_rate_init", "diverge"):
        model.fit(large(X), y)
    assert_unchanged(model, before)
    with refuses(ValueError, "learning_rate_init", "diverge"):
        model.set_params(warm_start=True).fit(large(X), y)
    model.set_params(warm_start=False)
    assert_unchanged(model, before)


@pytest.mark.parametrize("padding_idx", [None, 3])
@pytest.mark.parametrize("params", DIVERGING[:2] + DIVERGING[3:], ids=str)
@pytest.mark.parametrize("mode", ["sum", "max"])
def test_divergence_in_partial_fit_changes_nothing(X, y, mode, params, padding_idx):
    model = classifier(mode=mode, batch_size=4, padding_idx=padding_idx).partial_fit(X, y, classes=range(3))
    model.set_params(**{"dtype": "float32", **params})
    if params.get("dtype") == "float64":
        model = classifier(mode=mode, batch_size=4, dtype="float64").partial_fit(X, y, classes=range(3))
        model.set_params(**params)
    before = snapshot(model)
    with refuses(ValueError, "learning_rate_init", "diverge"):
        for _ in range(20):
            model.partial_fit(large(X), y)
            before = snapshot(model)
    assert_unchanged(model, before)


@pytest.mark.filterwarnings("ignore:The values of X make sums that are above")
def test_a_model_that_diverges_in_its_last_step_is_not_kept(X, y):
    """The loss is looked at before a step: the last step of all may be the first that gives infinite numbers."""
    for params in ({"solver": "sgd", "learning_rate_init": 1e30}, {"learning_rate_init": 1e45}):
        model = classifier(mode="sum", batch_size=N_ROWS, max_iter=1, **params)
        try:
            model.fit(large(X), y)
        except ValueError as error:
            assert "learning_rate_init" in str(error)  # noqa: PT017
        else:
            assert all(np.isfinite(array).all() for array in learnt(model))


def test_a_search_goes_on_after_a_divergence(X, y):
    grid = {"learning_rate_init": [1e30, 0.05]}
    model = classifier(solver="sgd", mode="sum", batch_size=4)
    search = GridSearchCV(model, grid, cv=2, error_score=np.nan)
    with pytest.warns((FitFailedWarning, UserWarning)):
        search.fit(X, y)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [True, False]
    assert search.best_params_ == {"learning_rate_init": 0.05}


# --- interruption


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("params", [{}, {"warm_start": True}, {"init": random_table(N_COLUMNS, 5, dtype="float32")}])
def test_an_interrupted_fit_leaves_an_estimator_that_can_be_used(X, y, params, error, monkeypatch):
    epoch, calls = cpu_training.Trainer.epoch, []

    def interrupted(self, *arguments):
        calls.append(None)
        if len(calls) == 2:
            raise error
        return epoch(self, *arguments)

    for model in (classifier(**params), classifier(**params).fit(X, y)):
        fitted = hasattr(model, "coefs_")
        before = model.predict_proba(X) if fitted else None
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(cpu_training.Trainer, "epoch", interrupted)
            with pytest.raises(error):
                model.fit(X, y)
        assert hasattr(model, "coefs_") == fitted
        if fitted:
            assert np.isfinite(model.predict_proba(X)).all()
            assert len(model.loss_curve_) == model.n_iter_
            if not model.warm_start:
                np.testing.assert_array_equal(model.predict_proba(X), before)
        assert_usable(model, X, y)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_partial_fit_leaves_an_estimator_that_can_be_used(X, y, error, monkeypatch):
    model = classifier().partial_fit(X, y, classes=range(3))
    before = snapshot(model)
    epoch = cpu_training.Trainer.epoch

    def interrupted(self, *arguments):
        epoch(self, *arguments)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(cpu_training.Trainer, "epoch", interrupted)
        with pytest.raises(error):
            model.partial_fit(X, y)
    assert_unchanged(model, before)
    assert_usable(model, X, y)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_the_warning_of_rows_with_a_single_label_points_to_the_call(method):
    Y = np.eye(3, dtype=int)[np.arange(12) % 3]
    with pytest.warns(UserWarning, match="Every row of y has a single 1") as record:
        getattr(EmbeddingBagClassifier(2, max_iter=1), method)(np.ones((12, 2)), Y)
    assert [warning.filename for warning in record] == [__file__]


# --- what a stranger tried


@pytest.mark.parametrize("threshold", [7, 0, 1, -1, np.nan, "x", None, True, [0.3], np.array([0.3, 0.4])])
def test_a_threshold_that_is_set_after_fit_is_checked(X, threshold):
    Y = np.random.default_rng(0).integers(0, 2, (N_ROWS, 3))
    model = classifier().fit(X, Y).set_params(threshold=threshold)
    with refuses(ValueError, "threshold must be a number between 0 and 1, or 'expected_f1'", repr(threshold)):
        model.predict(X)


def test_classes_of_several_kinds_and_sets_are_refused(X, y):
    with refuses(TypeError, "classes must be uniformly strings or numbers, got None at place 1 beside 'a'"):
        classifier().partial_fit(X, y, classes=["a", None])
    with refuses(TypeError, "classes must be a list or an array, got set: pass sorted(classes)"):
        classifier().partial_fit(X, y, classes={0, 1, 2})


def test_classes_name_columns_in_their_order(X):
    Y = np.random.default_rng(0).integers(0, 2, (N_ROWS, 3))
    assert classifier().partial_fit(X, Y, classes=list("abc")).classes_.tolist() == list("abc")
    for wrong in (list("bac"), list("aab")):
        with refuses(ValueError, "classes must be sorted and different, like the columns of y"):
            classifier().partial_fit(X, Y, classes=wrong)
    for order in ([0, 1, 2], [2, 1, 0]):  # what is wrong is y
        model = classifier().partial_fit(X, np.arange(N_ROWS) % 3, classes=order)
        with refuses(ValueError, "y must be class labels as before, got a label indicator"):
            model.partial_fit(X, Y, classes=order)


def test_lists_of_labels_are_told_of_the_binarizer_with_classes(X):
    for classes in (list("abc"), list("cba")):
        with refuses(ValueError, "got a list of labels per sample, like ['a']", "MultiLabelBinarizer"):
            classifier().partial_fit(X, [["a"], ["b", "c"]] * (N_ROWS // 2), classes=classes)


def test_warnings_point_to_the_user_through_scikit_learn(X, tmp_path):
    Y = np.eye(3, dtype=int)[np.arange(N_ROWS) % 3]
    for call in (
        lambda: make_pipeline(classifier(), LogisticRegression(), memory=str(tmp_path)).fit(X, Y),
        lambda: make_pipeline(classifier()).fit(X, Y),
        lambda: cross_val_score(classifier(), X, Y, cv=2),
    ):
        with pytest.warns(UserWarning, match="Every row of y has a single 1") as caught, suppress(ValueError):
            call()
        assert caught[0].filename == __file__


def test_an_indicator_is_called_that_after_classes(X, y):
    model = classifier().fit(X, y)
    before = snapshot(model)
    Y = np.random.default_rng(0).integers(0, 2, (N_ROWS, 3))
    with refuses(ValueError, "y must be class labels as before, got a label indicator"):
        model.partial_fit(X, Y)
    with refuses(ValueError, "y must be class labels as before, got probabilities of classes"):
        model.partial_fit(X, np.full((N_ROWS, 3), 1 / 3))
    assert_unchanged(model, before)


def test_weights_that_are_no_numbers_are_named(X, y):
    for weight in ("x", "a sample"):
        with refuses(ValueError, "sample_weight must be real numbers", repr(weight)):
            classifier().fit(X, y, sample_weight=[weight] * N_ROWS)


def test_a_table_that_no_memory_holds_is_an_error_that_says_so():
    X = csr_array((np.ones(2), np.array([0, 1]), np.array([0, 1, 2])), shape=(2, 2**41))
    with refuses(MemoryError, "embedding_dim=", f"makes a table of {2**41} rows", "fewer columns of X"):
        EmbeddingBagClassifier(8).fit(X, [0, 1])


def test_dense_arrays_of_either_order_of_bytes_are_the_same(X, y):
    one, other = (classifier().fit(X.toarray().astype(dtype), y) for dtype in (">f8", "<f8"))
    np.testing.assert_array_equal(one.embeddings_, other.embeddings_)
    for dtype in (">f2", ">f4", ">i4"):
        values = X.toarray().round().astype(dtype)
        np.testing.assert_array_equal(one.predict(values), other.predict(csr_array(values.astype(float))))
