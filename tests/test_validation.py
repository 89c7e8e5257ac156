"""Early stopping: what it looks at, what it keeps, and what it must refuse."""

import numpy as np
import pytest
from helpers import learnt, random_csr
from scipy.sparse import csr_array
from sklearn.metrics import log_loss
from test_classifier_bad_input import assert_unchanged, refuses, snapshot

from skbag import EmbeddingBagClassifier
from skbag._data.targets import Targets
from skbag._rules.losses import CLASSIFICATION
from skbag._training.validation import Validation

N_ROWS, N_COLUMNS, N_VAL = 120, 30, 40
ATTRIBUTES = "validation_scores_", "best_validation_score_", "best_loss_", "best_n_iter_"


def classifier(**params):
    params = {
        "early_stopping": True,
        "random_state": 0,
        "learning_rate_init": 0.3,
        "learning_rate": "constant",
        **params,
    }
    return EmbeddingBagClassifier(5, **params)


@pytest.fixture
def noise():
    """Rows and classes that say nothing of one another, and others to look at: training makes the loss there worse."""
    rng = np.random.default_rng(0)
    X, X_val = (random_csr(n, N_COLUMNS, seed=n, dtype="float32", longest=12) for n in (N_ROWS, N_VAL))
    return X, rng.integers(0, 3, N_ROWS), X_val, np.arange(N_VAL) % 3


@pytest.fixture
def topics():
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(N_ROWS + N_VAL) % 3)
    X = rng.poisson(0.3, (len(y), 6)) + rng.poisson(1, (len(y), 6)) * (np.arange(6) // 2 == y[:, None])
    X = csr_array(X.astype(np.float32))
    return X[:N_ROWS], y[:N_ROWS], X[N_ROWS:], y[N_ROWS:]


def arrays(model):
    *states, n_steps = model._solver_state
    return [array.tobytes() for array in learnt(model)], [array.tobytes() for some in states for array in some], n_steps


# --- the best epoch


@pytest.mark.parametrize("solver", ["sgd", "rowwise_adagrad", "adam"])
def test_the_model_of_the_best_epoch_is_kept(noise, solver):
    X, y, X_val, y_val = noise
    rate = {"sgd": 1.0, "rowwise_adagrad": 0.3, "adam": 0.01}[solver]
    params = {"solver": solver, "learning_rate_init": rate, "max_iter": 12, "n_iter_no_change": np.inf}
    model = classifier(**params).fit(X, y, X_val=X_val, y_val=y_val)
    scores = model.validation_scores_
    assert model.n_iter_ == len(scores) == len(model.loss_curve_) == 12
    assert model.best_n_iter_ == 1 + np.argmax(scores) < 12
    assert model.best_validation_score_ == max(scores) > scores[-1]
    assert model.best_loss_ is None
    best = classifier(**{**params, "max_iter": model.best_n_iter_, "early_stopping": False}).fit(X, y)
    assert arrays(model) == arrays(best)  # the states of the solver, and the number of its steps, too
    assert -log_loss(y_val, model.predict_proba(X_val)) == pytest.approx(model.best_validation_score_, rel=1e-5)


def test_what_is_held_out_is_kept_for_the_best_epoch_too(noise):
    X, y, _, _ = noise
    params = {"max_iter": 12, "n_iter_no_change": np.inf, "validation_fraction": 0.3}
    model = classifier(**params).fit(X, y)
    assert model.best_n_iter_ < 12
    best = classifier(**{**params, "max_iter": model.best_n_iter_}).fit(X, y)
    assert arrays(model) == arrays(best)


def test_stream_goes_on_from_the_best_epoch(noise):
    X, y, X_val, y_val = noise
    model = classifier(max_iter=12, n_iter_no_change=np.inf).fit(X, y, X_val=X_val, y_val=y_val)
    best = classifier(max_iter=model.best_n_iter_, early_stopping=False).fit(X, y)
    best._rng = model._rng
    for one in (model, best):
        one.set_params(early_stopping=False, shuffle=False).partial_fit(X, y)
    assert arrays(model) == arrays(best)
    assert (model.validation_scores_, model.best_validation_score_, model.best_n_iter_) == (None, None, 1)
    assert model.best_loss_ == min(model.loss_curve_)


def test_without_early_stopping_there_are_no_scores(topics):
    X, y, _, _ = topics
    model = classifier(early_stopping=False, max_iter=3).fit(X, y)
    assert (model.validation_scores_, model.best_validation_score_, model.best_n_iter_) == (None, None, 3)
    assert model.best_loss_ == min(model.loss_curve_)


def test_a_stop_after_so_many_epochs_without_an_improvement(noise):
    X, y, X_val, y_val = noise
    scores = classifier(max_iter=30, n_iter_no_change=np.inf).fit(X, y, X_val=X_val, y_val=y_val).validation_scores_
    for patience, tol in ((1, None), (3, None), (2, 0.01)):
        best, stale, n = -np.inf, 0, 0
        while stale < patience:
            stale = 0 if scores[n] > best + (tol or 0) else stale + 1
            best = max(best, scores[n])
            n += 1
        model = classifier(max_iter=30, n_iter_no_change=patience, tol=tol).fit(X, y, X_val=X_val, y_val=y_val)
        assert model.validation_scores_ == scores[:n]


# --- what it looks at


def test_the_default_is_the_loss(topics):
    X, y, X_val, y_val = topics
    weights = 1.0 + np.arange(N_VAL) % 3
    model = classifier(max_iter=3, n_iter_no_change=np.inf, learning_rate_init=0.1)
    model.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weights)
    assert model.best_n_iter_ == 3
    expected = log_loss(y_val, model.predict_proba(X_val), sample_weight=weights)
    assert model.validation_scores_[-1] == pytest.approx(-expected, rel=1e-5)


def balanced(estimator, X, y, sample_weight=None):
    assert estimator.n_features_in_ == X.shape[1]
    assert sample_weight is None or len(sample_weight) == X.shape[0]
    return np.mean([(estimator.predict(X) == y)[y == c].mean() for c in range(3)])


@pytest.mark.parametrize("scoring", ["accuracy", "neg_log_loss", "roc_auc_ovr", None, balanced])
def test_scoring(topics, scoring):
    X, y, X_val, y_val = topics
    params = {"scoring": scoring, "max_iter": 4, "n_iter_no_change": np.inf}
    given = classifier(**params).fit(X, y, X_val=X_val, y_val=y_val)
    expected = {
        "accuracy": lambda: given.score(X_val, y_val), None: lambda: given.score(X_val, y_val),
        "neg_log_loss": lambda: -log_loss(y_val, given.predict_proba(X_val)),
        balanced: lambda: balanced(given, X_val, y_val),
    }  # fmt: skip
    if scoring in expected:
        assert given.best_validation_score_ == pytest.approx(expected[scoring](), rel=1e-5)
    assert len(classifier(**params).fit(X, y).validation_scores_) == 4
    assert given.scoring is scoring


def test_scoring_with_weights(topics):
    X, y, X_val, y_val = topics
    weights = np.where(np.arange(N_VAL) < 10, 0.0, 1.0 + np.arange(N_VAL) % 2)
    model = classifier(scoring="accuracy", max_iter=4, n_iter_no_change=np.inf)
    model.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weights)
    assert model.best_validation_score_ == pytest.approx(model.score(X_val, y_val, weights))


def test_class_weights_count_in_the_loss(topics):
    X, y, X_val, y_val = topics
    class_weight = {0: 5, 2: 0}
    model = classifier(class_weight=class_weight, max_iter=3, n_iter_no_change=np.inf)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    weights = np.array([5, 1, 0])[y_val]
    expected = log_loss(y_val, model.predict_proba(X_val), sample_weight=weights)
    assert model.best_validation_score_ == pytest.approx(-expected, rel=1e-4)


@pytest.mark.parametrize("loss", ["log_loss", "hinge", "squared_hinge", "modified_huber"])
def test_labels_that_are_seldom_all_right_improve(loss):
    rng = np.random.default_rng(1)
    Y = (rng.random((N_ROWS + N_VAL, 12)) < 0.3).astype(int)
    X = csr_array((Y[:, rng.integers(0, 12, 40)] * (rng.random((len(Y), 40)) < 0.5)).astype(np.float32))
    model = classifier(loss=loss, max_iter=15, learning_rate_init=0.1)
    model.fit(X[:N_ROWS], Y[:N_ROWS], X_val=X[N_ROWS:], y_val=csr_array(Y[N_ROWS:]))
    assert model.best_n_iter_ > 3
    assert model.best_validation_score_ > 1.2 * model.validation_scores_[0]  # they are negative: losses
    held_out = classifier(loss=loss, max_iter=15, learning_rate_init=0.1).fit(X, Y)
    assert held_out.best_n_iter_ > 3


def test_a_frozen_table_has_one_score(topics):
    X, y, X_val, y_val = topics
    table = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    model = classifier(init=table, freeze=True).fit(X, y, X_val=X_val, y_val=y_val)
    assert model.validation_scores_ == [model.best_validation_score_]
    assert model.best_n_iter_ == model.n_iter_ > 1
    assert -log_loss(y_val, model.predict_proba(X_val)) == pytest.approx(model.best_validation_score_, rel=1e-5)


def test_all_of_x_is_trained_on_where_samples_to_look_at_are_given(topics):
    X, y, X_val, y_val = topics
    params = {"max_iter": 2, "n_iter_no_change": np.inf}
    given = classifier(**params).fit(X, y, X_val=X_val, y_val=y_val)
    assert given.best_n_iter_ == 2
    assert arrays(given) == arrays(classifier(**{**params, "early_stopping": False}).fit(X, y))


# --- going on


def test_warm_start_with_an_integer_random_state_does_not_repeat_one_order(topics):
    X, y, _, _ = topics
    params = {"max_iter": 1, "early_stopping": False}
    warm, once = classifier(warm_start=True, **params), classifier(**{**params, "max_iter": 3})
    for _ in range(3):
        warm.fit(X, y)
    once.fit(X, y)
    assert arrays(warm) == arrays(once)  # the orders of the second and the third epoch are others
    again = classifier(warm_start=True, **params).fit(X, y)
    again._rng = np.random.RandomState(0)
    assert arrays(again.fit(X, y)) != arrays(classifier(**{**params, "max_iter": 2}).fit(X, y))


# --- what it must refuse


def weighted(X, y, weights):
    return {"X_val": X, "y_val": y, "sample_weight_val": weights}


CASES = {
    "X_val alone": (["X_val", "without y_val"], lambda X, y: {"X_val": X}),
    "y_val alone": (["y_val", "without X_val"], lambda X, y: {"y_val": y}),
    "weights alone": (["sample_weight_val", "without"], lambda X, y: {"sample_weight_val": np.ones(len(y))}),
    "columns": (["In X_val, y_val", "features"], lambda X, y: {"X_val": csr_array((len(y), 3)), "y_val": y}),
    "an unknown class": (["In X_val, y_val", "y", "9"], lambda X, y: {"X_val": X, "y_val": np.where(y == 1, 9, y)}),
    "labels": (["In X_val, y_val", "y must be class labels"], lambda X, y: {"X_val": X, "y_val": np.eye(3)[y]}),
    "NaN in y": (["In X_val, y_val", "NaN"], lambda X, y: {"X_val": X, "y_val": np.where(y == 1, np.nan, y)}),
    "lengths": (["In X_val, y_val", "inconsistent"], lambda X, y: {"X_val": X, "y_val": y[1:]}),
    "negative weights": (["sample_weight_val", "Negative"], lambda X, y: weighted(X, y, -np.ones(N_VAL))),
    "weights of zero": (["sample_weight_val"], lambda X, y: weighted(X, y, np.zeros(N_VAL))),
    "weights too many": (["sample_weight"], lambda X, y: weighted(X, y, np.ones(9))),
    "no rows": (["In X_val, y_val", "minimum of 1"], lambda X, y: {"X_val": X[:0], "y_val": y[:0]}),
    "NaN in X": (["In X_val, y_val", "NaN"], lambda X, y: {"X_val": X * np.nan, "y_val": y}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_validation_data(topics, case):
    X, y, X_val, y_val = topics
    words, make = case
    for model in (classifier(), classifier(max_iter=2).fit(X, y)):
        before = snapshot(model)
        with refuses(ValueError, *words):
            model.fit(X, y, **make(X_val, y_val))
        assert_unchanged(model, before)


def test_validation_data_without_early_stopping(topics):
    X, y, X_val, y_val = topics
    model = classifier(early_stopping=False)
    with refuses(ValueError, "X_val", "early_stopping=True"):
        model.fit(X, y, X_val=X_val, y_val=y_val)
    assert not hasattr(model, "coefs_")


@pytest.mark.parametrize("scoring", ["precise", 3, "r2_of_nothing"])
def test_scoring_that_there_is_not(topics, scoring):
    X, y, _, _ = topics
    model = classifier(scoring=scoring)
    with refuses(ValueError, "scor", scoring):
        model.fit(X, y)
    assert not hasattr(model, "coefs_")


def test_a_score_that_needs_probabilities_of_a_loss_without(topics):
    X, y, _, _ = topics
    model = classifier(scoring="neg_log_loss", loss="hinge")
    with refuses(AttributeError, "predict_proba"):
        model.fit(X, y)
    assert not hasattr(model, "coefs_")


def raising(estimator, X, y):
    raise KeyboardInterrupt


def test_a_scorer_that_raises_changes_nothing(topics):
    X, y, _, _ = topics
    model = classifier(max_iter=2).fit(X, y).set_params(scoring=raising)
    before = snapshot(model)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert_unchanged(model, before)


def test_a_score_of_nan_is_never_the_best(topics):
    X, y, _, _ = topics
    scores = iter([0.2, np.nan, 0.7, np.nan, 0.3])
    model = classifier(scoring=lambda estimator, X, y: next(scores), max_iter=5, n_iter_no_change=np.inf).fit(X, y)
    assert (model.best_n_iter_, model.best_validation_score_) == (3, 0.7)


def no_score(estimator, X, y):
    return np.nan


@pytest.mark.parametrize(("patience", "n_epochs"), [(2, 2), (np.inf, 5)])
def test_scores_of_nan_alone_are_refused(topics, patience, n_epochs):
    X, y, _, _ = topics
    model = classifier(scoring=no_score, max_iter=5, n_iter_no_change=patience)
    model.set_params(scoring="accuracy").fit(X, y).set_params(scoring=no_score)
    before = snapshot(model)
    with refuses(ValueError, f"scoring must return numbers, got nan in all of {n_epochs} epochs"):
        model.fit(X, y)
    assert_unchanged(model, before)


def test_validation_is_in_float64():
    outputs = np.array([[90.0], [90.0]], np.float32)
    targets = Targets(np.array([0]), np.array([0, 1, 1]), None, 1)
    rows, weights = np.arange(2), np.array([3.0, 1.0])
    made = Validation(lambda some: outputs[some], targets, rows, weights, CLASSIFICATION["log_loss"], None)
    assert made.score() == pytest.approx(-90 / 4, rel=1e-15)
