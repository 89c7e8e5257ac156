"""EmbeddingBagRegressor: its losses, its scale of the targets, and what it must refuse."""

import inspect
import pickle

import numpy as np
import pytest
import reference
import training_reference
from helpers import MODES, learnt, random_csr, random_table
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import mean_poisson_deviance
from sklearn.model_selection import GridSearchCV
from test_classifier import fitted_state, same_model
from test_classifier_bad_input import assert_unchanged, refuses, snapshot

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor
from skbag._cpu import training as cpu_training

pytestmark = pytest.mark.usefixtures("free_layer")
N_ROWS, N_COLUMNS, DIM, BATCH = 26, 11, 5, 8
LOSSES = ("squared_error", "absolute_error", "huber", "poisson")
METHODS = ("fit", "partial_fit")


def regressor(embedding_dim=DIM, **params):
    return EmbeddingBagRegressor(embedding_dim, **{"random_state": 0, **params})


@pytest.fixture(scope="module")
def data():
    """Counts, and a target that is linear in them but for noise."""
    rng = np.random.default_rng(0)
    X = rng.poisson(0.4, (200, N_COLUMNS)).astype(np.float32)
    y = X @ np.linspace(-2, 2, N_COLUMNS) + 0.1 * rng.normal(size=200)
    return csr_array(X), y


@pytest.fixture
def X():  # noqa: N802
    return random_csr(N_ROWS, N_COLUMNS, dtype="float32")


@pytest.fixture
def y():
    return np.random.default_rng(1).normal(3, 2, N_ROWS)


def quick(**params):
    """A regressor that learns ``data`` well in the modes that keep the numbers of members apart."""
    return regressor(**{"mode": "sum", "learning_rate_init": 0.1, "max_iter": 20, **params})


def test_the_parameters_are_those_of_the_classifier():
    names = [list(inspect.signature(kind).parameters) for kind in (EmbeddingBagRegressor, EmbeddingBagClassifier)]
    assert names[0] == [name for name in names[1] if name not in ("class_weight", "threshold", "output", "n_negatives")]


# --- against the oracle


def scaled(model):
    """Return table, layer and intercepts as training sees them."""
    table, coef, intercept = learnt(model)
    scale = model._learnt
    factor = np.ones(scale.n_outputs) if scale.logarithmic else scale.scale
    return table, coef / factor[:, None], (intercept - scale.offset) / factor


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_epochs_are_those_of_the_oracle(dtype, loss, n_outputs):
    rng, X = np.random.default_rng(2), random_csr(N_ROWS, N_COLUMNS, dtype=dtype)
    y = np.abs(rng.normal(70, 20, (N_ROWS, n_outputs))) * 10.0 ** np.arange(n_outputs)
    weights = rng.uniform(0.2, 3, N_ROWS)
    table = random_table(N_COLUMNS, DIM, dtype=dtype)
    params = {"init": table, "dtype": dtype, "shuffle": False, "batch_size": BATCH, "loss": loss, "alpha": 0}
    model = regressor(learning_rate_init=0.1, **params).partial_fit(X, y, np.full(N_ROWS, 1e-300))  # changes nothing
    model.set_params(alpha=0.01)
    model.coefs_[0][:] = rng.normal(0, 0.3, (DIM, n_outputs)) * (1 if loss == "poisson" else model._learnt.scale)
    oracle = training_reference.Model(*scaled(model), 0.1 / BATCH**2, n_steps=model._solver_state[-1])
    scale = model._learnt
    t = (y - (0 if loss == "poisson" else scale.offset)) / scale.scale
    assert 0.1 < np.abs(t).mean() < 10
    options, tolerance = training_reference.Options("sqrtn", loss, "rowwise_adagrad", alpha=0.01), 1e-12
    if dtype == "float32":
        tolerance = 2e-5
    for _ in range(2):
        model.partial_fit(X, y, weights)
        bags = reference.bags_of_csr(X)
        expected = training_reference.epoch(oracle, bags, t, weights, options, [0.1] * 4, BATCH)
        assert model.loss_curve_[-1] == pytest.approx(expected, rel=tolerance)
    for actual, expected in zip(scaled(model), (oracle.table, oracle.coef, oracle.intercept), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("n_outputs", [None, 1, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_predictions_are_the_layer_on_the_features(X, y, loss, n_outputs):
    y = np.abs(y) if n_outputs is None else np.abs(y)[:, None] * 10.0 ** np.arange(n_outputs)
    model = regressor(loss=loss, dtype="float64").fit(X, y)
    expected = model.transform(X) @ model.coefs_[0] + model.intercepts_[0]
    expected = np.exp(expected) if loss == "poisson" else expected
    actual = model.predict(X)
    assert actual.shape == y.shape
    assert actual.dtype == np.float64
    np.testing.assert_allclose(actual, expected.reshape(y.shape), rtol=1e-12)
    assert (model.predict(X[:1]) == actual[:1]).all()
    assert model.predict(X[:0]).shape == (0, *y.shape[1:])


# --- the scale of the targets


@pytest.mark.parametrize("loss", LOSSES[:3])
@pytest.mark.parametrize("factor", [1e-30, 1e-3, 1e6, 1e25])
def test_the_scale_of_the_target_does_not_matter(data, loss, factor):
    X, y = data
    expected = quick(loss=loss).fit(X, y).score(X, y)
    assert expected > 0.95
    assert quick(loss=loss).fit(X, factor * y).score(X, factor * y) == pytest.approx(expected, abs=0.01)
    power = 2.0 ** np.round(np.log2(factor))  # and nothing at all is rounded
    model, other = quick(loss=loss).fit(X, y), quick(loss=loss).fit(X, power * y)
    np.testing.assert_array_equal(other.predict(X) / power, model.predict(X))


def test_defaults_learn_whatever_the_scale(data):
    X, y = data
    for factor in (1e-3, 1, 1e6):
        assert regressor().fit(X, factor * y + 5 * factor).score(X, factor * y + 5 * factor) > 0.8


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mean", [1e12, -1e15])
def test_a_huge_mean_costs_no_digits(data, loss, mean, dtype):
    X, y = data
    y = mean + np.round(8 * y / y.std())
    model = regressor(loss=loss, max_iter=50, dtype=dtype).fit(X, y)
    assert 1 <= model._learnt.scale[0] <= 32
    assert ((model.predict(X) - y) ** 2).mean() < 0.2 * ((y - mean) ** 2).mean()


def test_sums_of_rows_of_very_different_length():
    rng = np.random.default_rng(0)
    lengths = np.where(rng.random(2000) < 0.1, 1000, 5)
    ids = rng.integers(0, 1000, lengths.sum())
    X = csr_array((np.ones(len(ids)), (np.repeat(np.arange(2000), lengths), ids)), shape=(2000, 1000))
    y = X @ rng.standard_normal(1000)
    model = EmbeddingBagRegressor(mode="sum", random_state=0).fit(X[:1500], y[:1500])
    assert model.score(X[1500:], y[1500:]) > 0


def test_outputs_of_different_scales(data):
    X, y = data
    factors = np.array([1e-3, 1, 1e6])
    model = quick().fit(X, y[:, None] * factors)
    for k, factor in enumerate(factors):
        residual = model.predict(X)[:, k] / factor - y
        assert np.mean(residual**2) < 0.05 * y.var()


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
def test_the_targets_of_rows_of_weight_0_have_no_part_in_the_scale(data, loss):
    X, y = data[:2]
    weights, other = np.ones(len(y)), np.array(y)
    weights[5] = 0
    other[5] = 1e200
    model = EmbeddingBagRegressor(4, loss=loss, dtype="float64", random_state=0)
    kept = weights > 0
    expected = clone(model).fit(X[kept], y[kept])
    actual = model.fit(X, other, sample_weight=weights)
    assert (actual._learnt.scale, actual._learnt.offset) == (expected._learnt.scale, expected._learnt.offset)


@pytest.mark.parametrize("offset", [1e3, -1e6])
def test_an_offset_of_the_target_does_not_matter(data, offset):
    X, y = data
    for dtype in ("float32", "float64"):
        assert quick(dtype=dtype).fit(X, y + offset).score(X, y + offset) > 0.95


@pytest.mark.parametrize("factor", [1e-3, 1, 1e6])
def test_counts_of_any_scale(data, factor):
    X, y = data
    y = factor * np.random.default_rng(3).poisson(np.exp(y / 3))
    model = quick(loss="poisson", learning_rate_init=0.05).fit(X, y)
    constant = mean_poisson_deviance(y, np.full(len(y), y.mean()))
    assert mean_poisson_deviance(y, model.predict(X)) < 0.6 * constant


@pytest.mark.parametrize("value", [0, 3.5, 0.1, -1e6, 1e-300])
@pytest.mark.parametrize("loss", LOSSES[:3])
@pytest.mark.parametrize(
    "params", [{}, {"hidden_layer_sizes": 4}, {"solver": "adam"}, {"early_stopping": True}], ids=str
)
def test_a_constant_target_is_learnt_to_the_last_bit(X, loss, value, params):
    model = regressor(loss=loss, **params).fit(X, np.full(N_ROWS, value))
    np.testing.assert_array_equal(model.predict(X), value)
    y = np.where(np.arange(N_ROWS) == 3, 2 * value if value else 9.0, value)
    if "early_stopping" not in params:  # a row without a weight has no say
        model.fit(X, y, sample_weight=y == value)
        np.testing.assert_array_equal(model.predict(X), value)


def test_a_constant_output_beside_others(X, y):
    constant = np.full(N_ROWS, 1e6)
    model = regressor(max_iter=5).fit(X, np.column_stack([y, constant]))
    np.testing.assert_array_equal(model.predict(X)[:, 1], 1e6)
    assert np.ptp(model.predict(X)[:, 0]) > 0
    model = regressor(warm_start=True).fit(X, constant)  # learns other targets all the same
    assert np.ptp(model.fit(X, constant + y).predict(X)) > 0
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("loss", LOSSES)
def test_intercepts_begin_at_the_best_constant(X, y, loss, method):
    """The weighted mean, or for losses that do not mind outliers the median."""
    y = np.abs(y)
    weights = np.arange(N_ROWS) % 3 + 0.0
    best = np.average(y, weights=weights)
    if loss in ("absolute_error", "huber"):
        best = np.quantile(np.repeat(y, np.arange(N_ROWS) % 3), 0.5, method="inverted_cdf")
    params = {"learning_rate_init": 1e-14, "max_iter": 1, "loss": loss, "dtype": "float64"}
    model = getattr(regressor(**params), method)(X, y, weights)
    assert model.predict(csr_array((1, N_COLUMNS)))[0] == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["absolute_error", "huber"])
def test_an_outlier_does_not_move_the_others(data, loss, dtype):
    X, y = data
    params = {"loss": loss, "dtype": dtype}
    expected, wild = quick(**params).fit(X, y).predict(X)[1:], y.copy()
    wild[0] = 1e20
    assert np.abs(quick(**params).fit(X, wild).predict(X)[1:] - expected).max() < y.std()


def test_counts_that_are_all_zero(X):
    model = regressor(loss="poisson").fit(X, np.zeros(N_ROWS))
    assert (model.predict(X) < 0.5).all()
    assert (model.predict(X) > 0).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("factor", [1e-310, 1e300])
def test_targets_at_the_ends_of_float64(data, loss, factor):
    X, y = data
    y = np.abs(y)
    model = quick(loss=loss, dtype="float64").fit(X, factor * y)
    assert (
        np.corrcoef(model.predict(X) / factor, y)[0, 1]
        > 0.9 * np.corrcoef(quick(loss=loss).fit(X, y).predict(X), y)[0, 1]
    )


def test_weights_whose_sum_is_too_large(X, y):
    weights = np.full(N_ROWS, 1e308)
    weights[::2] = 5e307
    model = regressor(dtype="float64", solver="sgd", learning_rate_init=1e-300, max_iter=1).fit(X, y, weights)
    empty = csr_array((1, N_COLUMNS))
    assert model.predict(empty)[0] == pytest.approx(np.average(y, weights=weights / 1e308))


# --- weights, stopping, going on


def test_rows_of_weight_zero_teach_nothing(data):
    X, y = data
    weights = np.where(np.arange(200) % 2, 1.0, 0.0)
    wrong = np.where(weights > 0, y, 1e6)
    model, other = quick(shuffle=False).fit(X, wrong, weights), quick(shuffle=False).fit(X[1::2], y[1::2])
    np.testing.assert_allclose(model.predict(X), other.predict(X), rtol=1e-4, atol=1e-4)


def test_a_validation_row_of_weight_zero_does_not_count(data):
    X, y = data
    wrong = y + 1000 * (np.arange(200) >= 100)
    weights = np.where(np.arange(200) < 100, 1.0, 0.0)
    params = {"early_stopping": True, "n_iter_no_change": np.inf, "max_iter": 4}
    model = quick(**params).fit(X, y, X_val=X, y_val=wrong, sample_weight_val=weights)
    other = quick(**params).fit(X, y, X_val=X[:100], y_val=y[:100])
    np.testing.assert_allclose(model.validation_scores_, other.validation_scores_, rtol=1e-6)


def test_fit_does_not_depend_on_the_scale_of_the_weights(data):
    X, y = data
    weights = 1.0 + np.arange(200) % 3
    assert same_model(quick().fit(X, y, weights), quick().fit(X, y, 8 * weights))
    assert not same_model(quick().fit(X, y, weights), quick().fit(X, y))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("scoring", ["loss", None, "neg_mean_absolute_error"])
def test_early_stopping(data, loss, scoring):
    X, y = data
    y = np.abs(y)
    model = quick(loss=loss, early_stopping=True, scoring=scoring, max_iter=200, validation_fraction=0.3).fit(X, y)
    scores = model.validation_scores_
    assert model.n_iter_ == len(scores) == len(model.loss_curve_)
    assert max(scores) == scores[model.best_n_iter_ - 1] == model.best_validation_score_ > scores[0]
    assert model.best_loss_ is None
    given = quick(loss=loss, early_stopping=True, scoring=scoring, max_iter=5, n_iter_no_change=np.inf)
    given.fit(X[:150], y[:150], X_val=X[150:], y_val=y[150:])
    assert len(given.validation_scores_) == 5
    if scoring is None:
        assert given.best_validation_score_ == pytest.approx(given.score(X[150:], y[150:]), rel=1e-9)


def test_warm_start_keeps_the_scale(data):
    X, y = data
    model = quick(warm_start=True, max_iter=3, learning_rate="constant").fit(X, y)
    learnt_before, table = model._learnt, model.embeddings_.copy()
    model.fit(X, 2 * y)
    assert model._learnt == learnt_before
    assert len(model.loss_curve_) == 6
    assert not np.array_equal(model.embeddings_, table)
    for _ in range(4):
        model.fit(X, y)
    assert model.score(X, y) > 0.95


def test_a_stream(data):
    X, y = data
    model = quick()
    for _ in range(20):
        for first in range(0, 200, 50):
            model.partial_fit(X[first : first + 50], y[first : first + 50])
    assert model.score(X, y) > 0.95
    assert len(model.loss_curve_) == 80


@pytest.mark.parametrize("mode", MODES)
def test_fit_of_k_epochs_is_k_calls_of_partial_fit(X, y, mode):
    params = {"mode": mode, "shuffle": False, "learning_rate": "constant"}
    fitted, streamed = regressor(max_iter=3, **params).fit(X, y), regressor(**params)
    for _ in range(3):
        streamed.partial_fit(X, y)
    np.testing.assert_allclose(fitted.predict(X), streamed.predict(X), rtol=1e-5)
    assert fitted.loss_curve_ == pytest.approx(streamed.loss_curve_, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_pickled_model_goes_on_as_if_it_had_not_been(X, y, loss):
    model = regressor(loss=loss).partial_fit(X, np.abs(y))
    other = pickle.loads(pickle.dumps(model))
    assert other.predict(X).tobytes() == model.predict(X).tobytes()
    assert same_model(model.partial_fit(X, np.abs(y)), other.partial_fit(X, np.abs(y)))


def test_clone_keeps_parameters_and_drops_the_state(X, y):
    model = regressor(loss="huber", alpha=0.1).fit(X, y)
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(clone(model), "coefs_")
    assert same_model(clone(model).fit(X, y), model)


def test_a_search_over_losses(data):
    X, y = data
    search = GridSearchCV(quick(), {"loss": LOSSES[:3], "alpha": [1e-4, 10.0]}, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_["alpha"] == 1e-4
    assert search.best_score_ > 0.8


def test_a_scoring_monitor_sees_every_epoch(data):
    callbacks = pytest.importorskip("sklearn.callback", reason="callbacks need scikit-learn 1.9")
    X, y = data
    monitor = callbacks.ScoringMonitor(scoring="r2")
    model = quick(max_iter=4).set_callbacks(monitor).fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    scores = [row["r2"] for row in sorted(rows, key=lambda row: row["task_id"])]
    assert len(set(scores)) == 4
    assert scores[-1] == pytest.approx(model.score(X, y), rel=1e-9)


def test_freeze_is_ridge_on_the_features(data):
    X, y = data
    table = random_table(N_COLUMNS, DIM, dtype="float64")
    for factor in (0.1, 10.0):
        params = {"init": factor * table + 3, "freeze": True, "dtype": "float64", "mode": "sum", "alpha": 0}
        model = regressor(**params).fit(X, y)
        h = np.column_stack([model.transform(X), np.ones(200)])
        expected = h @ np.linalg.lstsq(h, y, rcond=None)[0]
        np.testing.assert_allclose(model.predict(X), expected, atol=1e-3)
        assert model.embeddings_.tobytes() == params["init"].tobytes()


# --- what it must refuse


def with_value(value):
    def change(y):
        y = y.astype(object if isinstance(value, str) else np.float64)
        y[3] = value
        return y

    return change


BAD_Y = {
    "NaN": (ValueError, ["y", "NaN"], with_value(np.nan)),
    "inf": (ValueError, ["y", "infinity"], with_value(-np.inf)),
    "words": (ValueError, ["y must be real numbers", "object"], with_value("many")),
    "an integer that no float can hold": (ValueError, ["y must be real numbers"], lambda y: [10**400] * N_ROWS),
    "complex": (ValueError, ["y must be real numbers", "complex"], lambda y: y + 1j),
    "dates": (ValueError, ["y must be real numbers", "datetime64"], lambda y: np.full(N_ROWS, "NaT", "M8[D]")),
    "differences of dates": (ValueError, ["y must be real numbers", "timedelta64"], lambda y: y.astype("m8[s]")),
    "too large for float32": (ValueError, ["y must be at most", "float32", "1e+38", "row 3"], with_value(1e38)),
    "too long": (ValueError, ["inconsistent numbers of samples", N_ROWS, N_ROWS + 1], lambda y: np.append(y, 0)),
    "too short": (ValueError, ["inconsistent numbers of samples"], lambda y: y[1:]),
    "0-D": (TypeError, [], lambda y: np.array(1.0)),
    "3-D": (ValueError, ["y", "3 dimensions"], lambda y: np.zeros((N_ROWS, 2, 2))),
    "no outputs": (ValueError, ["y must have", "output"], lambda y: np.zeros((N_ROWS, 0))),
    "sparse": (TypeError, ["y must be a dense array", "sparse"], lambda y: csr_array(y[:, None])),
    "None": (ValueError, ["requires y", "None"], lambda y: None),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", BAD_Y.values(), ids=BAD_Y)
def test_y(X, y, case, method):
    error, words, change = case
    for model in (regressor(), regressor().fit(X, y)):
        before = snapshot(model)
        with refuses(error, *words):
            getattr(model, method)(X, change(y))
        assert_unchanged(model, before)


@pytest.mark.parametrize("method", METHODS)
def test_targets_too_small_for_float32(X, y, method):
    model = regressor()
    with refuses(ValueError, "y must vary by at least 1.43e-42", "float32", "column 1"):
        getattr(model, method)(X, np.column_stack([y, y * 1e-46]))
    assert not hasattr(model, "coefs_")
    getattr(model, method)(X, y * 1e-40)


@pytest.mark.parametrize("method", METHODS)
def test_negative_targets_of_poisson(X, y, method):
    model = regressor(loss="poisson")
    with refuses(ValueError, "y must not be negative", "poisson", "-0.5", "row 3"):
        getattr(model, method)(X, with_value(-0.5)(np.abs(y)))
    assert not hasattr(model, "coefs_")


def test_another_number_of_outputs(X, y):
    two = np.column_stack([y, y])
    for method in METHODS:
        for first, second in ((y, two), (two, y), (two, np.column_stack([two, y]))):
            model = regressor(warm_start=True).fit(X, first)
            before = snapshot(model)
            with refuses(ValueError, "y must have", "outputs as before"):
                getattr(model, method)(X, second)
            assert_unchanged(model, before)


def test_a_loss_with_another_scale(X, y):
    y = np.abs(y)
    for one, other in (("poisson", "huber"), ("huber", "poisson")):
        model = regressor(loss=one).fit(X, y).set_params(loss=other)
        before = snapshot(model)
        with refuses(ValueError, "loss must be", "poisson", "as before"):
            model.partial_fit(X, y)
        assert_unchanged(model, before)
        model.fit(X, y)


def test_a_batch_that_would_be_infinite_in_training(X, y):
    """A stream keeps the scale of its first batch: what float32 cannot hold in that scale is divergence."""
    model = regressor().partial_fit(X, y)
    before = snapshot(model)
    with (
        refuses(ValueError, "diverges"),
        pytest.warns(UserWarning, match="as what the first call found"),
    ):
        model.partial_fit(X, 1e37 * y)
    assert_unchanged(model, before)


VALIDATION = {
    "X_val alone": (["X_val is passed without y_val"], lambda X, y: {"X_val": X}),
    "y_val alone": (["y_val is passed without X_val"], lambda X, y: {"y_val": y}),
    "weights alone": (["sample_weight_val is passed without"], lambda X, y: {"sample_weight_val": y}),
    "columns": (["features"], lambda X, y: {"X_val": csr_array((N_ROWS, 3)), "y_val": y}),
    "outputs": (["outputs"], lambda X, y: {"X_val": X, "y_val": np.column_stack([y, y])}),
    "NaN": (["NaN"], lambda X, y: {"X_val": X, "y_val": np.full(N_ROWS, np.nan)}),
}


@pytest.mark.parametrize("case", VALIDATION.values(), ids=VALIDATION)
def test_validation_data(X, y, case):
    words, make = case
    for model in (regressor(early_stopping=True), regressor().fit(X, y).set_params(early_stopping=True)):
        before = snapshot(model)
        with refuses(ValueError, *words):
            model.fit(X, y, **make(X, y))
        assert_unchanged(model, before)


def test_not_fitted(X):
    for method in ("predict", "transform"):
        with pytest.raises(NotFittedError):
            getattr(regressor(), method)(X)
    with pytest.raises(NotFittedError):
        _ = regressor().feature_importances_


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_call_changes_nothing(X, y, method, error, monkeypatch):
    model = regressor().fit(X, y)
    before = snapshot(model)
    epoch = cpu_training.Trainer.epoch

    def interrupted(self, *arguments):
        epoch(self, *arguments)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(cpu_training.Trainer, "epoch", interrupted)
        with pytest.raises(error):
            getattr(model, method)(X, 2 * y)
    assert_unchanged(model, before)
    expected = pickle.loads(pickle.dumps(model)).partial_fit(X, y)
    assert fitted_state(model.partial_fit(X, y)) == fitted_state(expected)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_a_stream_that_begins_with_other_targets_warns(loss):
    """What a stranger met: the first batch was all zeros, the next ones were around two millions."""
    X, y = random_csr(60, 12, dtype="float32"), 2e6 + 1e6 * np.random.default_rng(0).random(60)
    model = EmbeddingBagRegressor(4, loss=loss, random_state=0).partial_fit(X, np.zeros(60))
    with pytest.warns(UserWarning, match="y has numbers that are .* times as large") as caught:
        model.partial_fit(X, y)
    assert caught[0].filename == __file__
    EmbeddingBagRegressor(4, loss=loss, random_state=0).partial_fit(X[:5], y[:5]).partial_fit(X, y)


@pytest.mark.parametrize("loss", ["squared_error", "huber", "absolute_error", "poisson"])
def test_outliers_and_rows_without_weight_are_no_other_targets(loss):
    X, y = random_csr(60, 12, dtype="float32"), np.abs(np.random.default_rng(0).standard_normal(60))
    y[3] = 1e6
    model = EmbeddingBagRegressor(4, loss=loss, random_state=0, early_stopping=True, warm_start=True, max_iter=2)
    model.fit(X, y, X_val=X, y_val=y).fit(X, y, X_val=X, y_val=y)
    model.set_params(early_stopping=False).partial_fit(X, y)
    model.partial_fit(X, np.where(np.arange(60) % 2, 1e9, y), np.arange(60) % 2 == 0)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("solver", ["rowwise_adagrad", "adagrad"])
def test_rows_without_weight_are_left_out_of_a_first_batch(solver, loss):
    X, y = random_csr(60, 12, dtype="float32"), np.random.default_rng(0).random((60, 2))
    y[:, 1] = 0
    used, models = np.arange(0, 60, 2), []
    for rows in (np.arange(60), used):
        model = EmbeddingBagRegressor(4, loss=loss, solver=solver, batch_size=1024, shuffle=False, random_state=0)
        models.append(model.partial_fit(X[rows], y[rows], sample_weight=np.isin(rows, used).astype(float)))
    np.testing.assert_array_equal(models[0].embeddings_, models[1].embeddings_)
    assert models[0].loss_curve_ == models[1].loss_curve_
