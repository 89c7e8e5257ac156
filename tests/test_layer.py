"""The linear layer: how much a column matters, and a frozen table as a convex problem."""

import numpy as np
import pytest
from helpers import random_csr, random_table
from scipy.sparse import csr_array
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor

pytestmark = pytest.mark.usefixtures("free_layer")
N_ROWS, N_COLUMNS, DIM = 300, 30, 5
INFORMATIVE = [4, 11, 23]
LOSSES = ("log_loss", "hinge", "squared_hinge", "modified_huber")


@pytest.fixture(scope="module")
def selected():
    """Counts of 30 columns of which three say what y is: a class each."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(N_ROWS) % 3)
    X = rng.poisson(0.5, (N_ROWS, N_COLUMNS))
    X[np.arange(N_ROWS), np.array(INFORMATIVE)[y]] += 3
    return csr_array(X.astype(np.float32)), y


def classifier(**params):
    return EmbeddingBagClassifier(DIM, **{"random_state": 0, "max_iter": 20, **params})


# --- how much a column matters


@pytest.mark.filterwarnings("ignore:Every row of y has a single 1")
@pytest.mark.parametrize("kind", ["classes", "two classes", "labels", "hinge", "numbers"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_importances_are_lengths_of_the_weights_of_columns(selected, kind, dtype):
    X, y = selected
    model = classifier(dtype=dtype, loss="hinge" if kind == "hinge" else "log_loss")
    if kind == "numbers":
        model = EmbeddingBagRegressor(DIM, random_state=0, dtype=dtype)
    y = {"two classes": y == 1, "labels": np.eye(3, dtype=int)[y]}.get(kind, y)
    model.fit(X, y)
    weights = model.embeddings_.astype(np.float64) @ model.coefs_[0]
    if kind == "classes":
        weights = weights - weights.mean(axis=1, keepdims=True)
    actual = model.feature_importances_
    assert (actual.shape, actual.dtype) == ((N_COLUMNS,), dtype)
    np.testing.assert_allclose(actual, np.linalg.norm(weights, axis=1), rtol=1e-4 if dtype == "float32" else 1e-9)


def test_what_changes_no_probability_changes_no_importance(selected):
    X, y = selected
    model = classifier(dtype="float64").fit(X, y)
    before, probabilities = model.feature_importances_, model.predict_proba(X)
    model.coefs_[0] += np.random.default_rng(0).normal(0, 3, (DIM, 1))
    np.testing.assert_allclose(model.predict_proba(X), probabilities, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.feature_importances_, before, rtol=1e-9)
    margins = classifier(dtype="float64", loss="hinge").fit(X, y)
    before = margins.feature_importances_
    margins.coefs_[0] += 1
    assert not np.allclose(margins.feature_importances_, before, rtol=0.01)


@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge"])
def test_the_columns_that_matter_are_selected(selected, loss):
    X, y = selected
    rfe = RFE(classifier(loss=loss), n_features_to_select=3, step=9).fit(X, y)
    assert np.flatnonzero(rfe.support_).tolist() == INFORMATIVE
    assert rfe.score(X, y) > 0.9
    chosen = SelectFromModel(classifier(loss=loss), max_features=3, threshold=-np.inf).fit(X, y)
    assert np.flatnonzero(chosen.get_support()).tolist() == INFORMATIVE
    by_default = SelectFromModel(classifier(loss=loss)).fit(X, y)  # above the mean
    assert set(INFORMATIVE) <= set(np.flatnonzero(by_default.get_support())) < set(range(N_COLUMNS))


def test_the_columns_that_matter_for_numbers_are_selected(selected):
    X, _ = selected
    y = X[:, INFORMATIVE] @ [3, -2, 4] + 100
    model = EmbeddingBagRegressor(DIM, mode="sum", random_state=0, max_iter=20)
    assert np.flatnonzero(RFE(model, n_features_to_select=3, step=9).fit(X, y).support_).tolist() == INFORMATIVE
    assert sorted(np.argsort(model.fit(X, y).feature_importances_)[-3:]) == INFORMATIVE


def test_no_one_takes_the_layer_for_weights_of_columns(selected):
    X, y = selected
    for model in (classifier().fit(X, y), EmbeddingBagRegressor(DIM).fit(X, y)):
        assert not hasattr(model, "coef_")
        assert not hasattr(model, "intercept_")
        assert not isinstance(model.coefs_, np.ndarray)


def test_shap_s_linear_explainer_refuses(selected):
    shap = pytest.importorskip("shap", reason="needs shap")
    X, y = selected
    model = classifier(mode="sum").fit(X, y == 1)
    dense = X.toarray()
    with pytest.raises(Exception, match=r"EmbeddingBagClassifier|coef_"):
        shap.LinearExplainer(model, dense).shap_values(dense)


# --- a frozen table


TABLES = {
    "times .1": lambda table: 0.1 * table,
    "as it is": lambda table: table,
    "times 10": lambda table: 10 * table,
    "a common part": lambda table: table + 20 * np.abs(table).mean() * np.linspace(1, 2, table.shape[1]),
    "a common part, small": lambda table: 0.1 * table + 3,
    "columns of many scales": lambda table: table * 10.0 ** np.linspace(-3, 2, table.shape[1]),
}


@pytest.fixture(scope="module")
def worded():
    """Bags of words of which each is near the direction of one of four classes, and all their vectors."""
    rng = np.random.default_rng(0)
    directions, topic = rng.normal(size=(4, 16)), rng.integers(0, 4, 200)
    table = 0.7 * directions[topic] + rng.normal(size=(200, 16))
    y = rng.permutation(np.arange(800) % 4)
    words = [np.concatenate([rng.choice(np.flatnonzero(topic == k), 5), rng.integers(0, 200, 9)]) for k in y]
    X = np.zeros((800, 200))
    np.add.at(X, (np.repeat(np.arange(800), 14), np.concatenate(words)), 1)
    return csr_array(X), y, table


@pytest.mark.parametrize("change", TABLES.values(), ids=TABLES)
def test_a_frozen_table_is_as_good_as_logistic_regression(worded, change):
    X, y, table = worded
    table = change(table).astype(np.float32)
    train, test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=0)
    model = EmbeddingBagClassifier(init=table, freeze=True, mode="mean").fit(train, y_train)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    best = theirs.fit(model.transform(train), y_train).score(model.transform(test), y_test)
    assert best > 0.75
    assert model.score(test, y_test) >= best - 0.01
    assert model.embeddings_.tobytes() == table.tobytes()
    assert model.n_iter_ == len(model.loss_curve_) > 3
    assert model.best_loss_ == min(model.loss_curve_)


@pytest.mark.parametrize("kind", ["two classes", "classes", "labels"])
@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_is_at_its_smallest(worded, loss, kind):
    X, y, table = worded
    Y = {"two classes": y % 2, "classes": y, "labels": np.column_stack([y == 0, y > 1]).astype(int)}[kind]
    params = {"init": table, "freeze": True, "loss": loss, "dtype": "float64", "alpha": 1e-3}
    model = EmbeddingBagClassifier(random_state=0, **params).fit(X, Y)
    other = EmbeddingBagClassifier(random_state=5, **params).fit(X, Y)  # another start, the same end
    np.testing.assert_allclose(other.loss_curve_[-1], model.loss_curve_[-1], rtol=0.02 if loss == "hinge" else 1e-3)
    assert model.score(X, Y) > (0.65 if kind == "two classes" else 0.75)
    smaller = EmbeddingBagClassifier(random_state=0, **{**params, "alpha": 10.0}).fit(X, Y)
    assert np.abs(smaller.coefs_[0]).mean() < np.abs(model.coefs_[0]).mean() / 2


def test_the_penalty_is_that_of_logistic_regression(worded):
    X, y, table = worded
    y = y % 2
    weights = 1.0 + np.arange(800) % 3
    model = EmbeddingBagClassifier(init=table, freeze=True, dtype="float64", alpha=0.01).fit(X, y, weights)
    h = model.transform(X)
    scaled = StandardScaler().fit(h, sample_weight=weights)
    theirs = LogisticRegression(C=1 / (0.01 * weights.sum()), tol=1e-8, max_iter=5000)
    theirs.fit(scaled.transform(h), y, weights)
    coef = model.coefs_[0][:, 0] * scaled.scale_
    np.testing.assert_allclose(coef, theirs.coef_[0], rtol=1e-3, atol=1e-4)
    intercept = model.intercepts_[0] + model.coefs_[0][:, 0] @ scaled.mean_
    np.testing.assert_allclose(intercept, theirs.intercept_, rtol=1e-3, atol=1e-4)


def test_numbers_are_those_of_ridge(worded):
    X, _, table = worded
    t = X @ table[:, 0] + np.random.default_rng(0).normal(size=800) + 1000
    model = EmbeddingBagRegressor(init=table, freeze=True, mode="sum", dtype="float64", alpha=0.1).fit(X, t)
    h = model.transform(X)
    theirs = make_pipeline(StandardScaler(), Ridge(alpha=0.1 * 800)).fit(h, t)
    np.testing.assert_allclose(model.predict(X), theirs.predict(h), rtol=1e-4)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "poisson"])
def test_each_loss_of_numbers_is_solved(worded, loss):
    X, _, table = worded
    t = X @ (table[:, 0] - table[:, 0].min())
    model = EmbeddingBagRegressor(init=table, freeze=True, mode="sum", loss=loss).fit(X, t)
    assert model.score(X, t) > 0.95
    assert model.embeddings_.tobytes() == table.astype(np.float32).tobytes()


def test_rows_of_weight_zero_do_not_count(worded):
    X, y, table = worded
    weights = np.where(np.arange(800) < 400, 1.0, 0.0)
    params = {"init": table, "freeze": True, "dtype": "float64", "random_state": 0}
    model = EmbeddingBagClassifier(**params).fit(X, np.where(weights > 0, y, 0), weights)
    other = EmbeddingBagClassifier(**params).fit(X[:400], y[:400])
    np.testing.assert_allclose(model.predict_proba(X), other.predict_proba(X), rtol=1e-3, atol=1e-4)


def test_max_iter_bounds_the_iterations(worded):
    X, y, table = worded
    model = EmbeddingBagClassifier(init=table, freeze=True, max_iter=3, random_state=0).fit(X, y)
    assert model.n_iter_ == len(model.loss_curve_) == 3
    further = EmbeddingBagClassifier(init=table, freeze=True, max_iter=3, random_state=0, warm_start=True).fit(X, y)
    further.fit(X, y)
    assert len(further.loss_curve_) == 6
    assert further.loss_curve_[-1] < model.loss_curve_[-1]


@pytest.mark.parametrize("loss", LOSSES)
def test_partial_fit_steps(worded, loss):
    X, y, table = worded
    model = EmbeddingBagClassifier(init=table.astype(np.float32), freeze=True, loss=loss, random_state=0)
    losses = [model.partial_fit(X, y, range(4)).loss_curve_[-1] for _ in range(10)]
    assert losses[-1] < 0.9 * losses[0]
    assert model.n_iter_ == 1
    assert model._solver_state[-1] == 10 * 50
    assert model.embeddings_.tobytes() == table.astype(np.float32).tobytes()
    before = model.coefs_[0].copy()
    model.fit(X, y).partial_fit(X, y)
    assert np.abs(model.coefs_[0] - before).max() > 0


def test_a_drawn_table_and_columns_that_are_all_the_same():
    X, y = random_csr(60, 9, dtype="float32"), np.arange(60) % 3
    assert np.isfinite(EmbeddingBagClassifier(DIM, freeze=True).fit(X, y).predict_proba(X)).all()
    table = random_table(9, DIM, dtype="float32")
    table[:, 2] = 0
    model = EmbeddingBagClassifier(init=table, freeze=True).fit(X, y)
    assert (model.coefs_[0][2] == 0).all()
    constant = EmbeddingBagClassifier(init=np.zeros((9, DIM), "float32"), freeze=True).fit(X, y)
    np.testing.assert_allclose(constant.predict_proba(X), 1 / 3, atol=1e-3)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e4, 1e10])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_a_frozen_table_of_any_scale(n_classes, scale):
    rng = np.random.default_rng(0)
    table, X = rng.standard_normal((30, 5)), (rng.random((200, 30)) < 0.2).astype(float)
    y = (X @ table[:, :4]).argmax(axis=1) % n_classes
    one = EmbeddingBagClassifier(init=table, freeze=True, dtype="float64").fit(X, y)
    other = EmbeddingBagClassifier(init=table * scale, freeze=True, dtype="float64").fit(X, y)
    assert other.score(X, y) == pytest.approx(one.score(X, y), abs=0.01)
    assert other.best_loss_ == pytest.approx(one.best_loss_, rel=1e-3)


def test_a_frozen_table_beyond_its_dtype():
    model = EmbeddingBagClassifier(init=np.full((6, 4), 3e38, np.float32), freeze=True, mode="sum")
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="training diverges"):
        model.fit(np.eye(6) * 2 + 1, [0, 1] * 3)
    assert not hasattr(model, "coefs_")


def test_a_model_goes_on_in_its_own_dtype():
    X, y = np.eye(6), [0, 1] * 3
    for method in ("fit", "partial_fit"):
        model = EmbeddingBagClassifier(warm_start=True, random_state=0).fit(X, y).set_params(dtype="float64")
        assert getattr(model, method)(X, y).embeddings_.dtype == np.float32
