"""Losses of EmbeddingBagClassifier: what each offers, probabilities, and probabilities as y."""

import numpy as np
import pytest
import reference
import training_reference
from helpers import csr, learnt, random_csr, random_table
from scipy.sparse import coo_array, csr_array, csr_matrix
from scipy.special import softmax
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.svm import LinearSVC
from test_classifier import same_model
from test_classifier_bad_input import assert_unchanged, refuses, snapshot

from skbag import EmbeddingBagClassifier

pytestmark = pytest.mark.usefixtures("free_layer")
N_ROWS, N_COLUMNS, DIM, BATCH = 26, 11, 5, 8
LOSSES = ("log_loss", "hinge", "squared_hinge", "modified_huber")
MARGINS = LOSSES[1:]
KINDS = {"two classes": 1, "four classes": 4, "labels": 3}  # and how many outputs


def classifier(embedding_dim=DIM, **params):
    return EmbeddingBagClassifier(embedding_dim, **{"random_state": 0, **params})


@pytest.fixture
def X():  # noqa: N802
    return random_csr(N_ROWS, N_COLUMNS, dtype="float32")


@pytest.fixture(scope="module")
def topics():
    """Counts with 2 of 8 columns for each of 4 classes, and the classes."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(120) % 4)
    X = rng.poisson(0.2, (120, 8)) + rng.poisson(2, (120, 8)) * (np.arange(8) // 2 == y[:, None])
    return csr_array(X.astype(np.float32)), y


def target(kind, n_rows=N_ROWS):
    """Return y, and what each output has as its target."""
    rng = np.random.default_rng(3)
    if kind == "labels":
        y = rng.integers(0, 2, (n_rows, 3))
        return y, y
    y = rng.permutation(np.arange(n_rows) % (2 if kind == "two classes" else 4))
    return y, y[:, None] if kind == "two classes" else np.eye(4)[y]


# --- training


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", MARGINS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_epochs_are_those_of_the_oracle(dtype, loss, kind):
    rng, (y, labels) = np.random.default_rng(2), target(kind)
    X, table = random_csr(N_ROWS, N_COLUMNS, dtype=dtype), random_table(N_COLUMNS, DIM, dtype=dtype)
    weights = rng.uniform(0.2, 3, N_ROWS)
    params = {"init": table, "dtype": dtype, "shuffle": False, "batch_size": BATCH, "loss": loss, "alpha": 0}
    model = classifier(learning_rate_init=0.1, **params)
    model.partial_fit(X, y, None if kind == "labels" else np.unique(y), np.full(N_ROWS, 1e-300))  # changes nothing
    model.coefs_[0][:] = rng.normal(0, 0.7, model.coefs_[0].shape)
    table, coef, intercept = learnt(model)
    oracle = training_reference.Model(table, coef, intercept, 0.1 / BATCH**2, n_steps=model._solver_state[-1])
    options, tolerance = training_reference.Options("sqrtn", loss, "rowwise_adagrad"), 1e-12
    if dtype == "float32":
        tolerance = 2e-5
    for _ in range(2):
        model.partial_fit(X, y, sample_weight=weights)
        bags = reference.bags_of_csr(X)
        expected = training_reference.epoch(oracle, bags, labels, weights, options, [0.1] * 4, BATCH)
        assert model.loss_curve_[-1] == pytest.approx(expected, rel=tolerance)
    for actual, expected in zip(learnt(model), (oracle.table, oracle.coef, oracle.intercept), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", KINDS)
def test_each_loss_learns_each_kind_of_y(topics, loss, kind):
    X, y = topics
    Y = {"two classes": y % 2, "four classes": y, "labels": np.column_stack([y == 0, y > 1, y != 2]).astype(int)}[kind]
    model = classifier(8, loss=loss, max_iter=40).fit(X, Y)
    assert model.coefs_[0].shape == (8, KINDS[kind])
    assert model.score(X, Y) > 0.85
    decision = model.decision_function(X)
    if kind == "four classes":
        np.testing.assert_array_equal(model.predict(X), decision.argmax(axis=1))
    else:
        np.testing.assert_array_equal(model.predict(X), decision > 0)
    streamed = classifier(8, loss=loss)
    for _ in range(20):
        streamed.partial_fit(X, Y, None if kind == "labels" else np.unique(Y))
    assert streamed.score(X, Y) > 0.8


@pytest.mark.parametrize("loss", MARGINS)
def test_rows_without_members_have_the_margins_of_the_shares(loss):
    model = classifier(8, loss=loss).fit(np.ones((100, 1)), np.repeat([0, 1], [95, 5]))
    assert -1.5 < model.decision_function(np.zeros((1, 1)))[0] < -0.5
    start = classifier(8, loss=loss, learning_rate_init=1e-14, max_iter=1).fit(np.ones((9, 1)), np.repeat([0, 1, 2], 3))
    np.testing.assert_allclose(start.intercepts_[0], np.tanh(np.log(3.5 / 6.5) / 2), rtol=1e-5)


# --- probabilities


@pytest.mark.parametrize("loss", LOSSES)
def test_who_has_probabilities(topics, loss):
    X, y = topics
    for model in (classifier(loss=loss), classifier(loss=loss, max_iter=2).fit(X, y)):
        for method in ("predict_proba", "predict_log_proba"):
            assert hasattr(model, method) == (loss in ("log_loss", "modified_huber"))
            if loss in ("hinge", "squared_hinge"):
                with pytest.raises(AttributeError, match=f"has no attribute '{method}'") as caught:
                    getattr(model, method)
                words = f"probability estimates are not available for loss='{loss}'"
                assert str(caught.value.__cause__) == words
                with pytest.raises(AttributeError) as theirs:
                    _ = SGDClassifier(loss=loss).predict_proba
                assert str(theirs.value.__cause__) == words


@pytest.mark.parametrize("n_classes", [2, 4])
def test_probabilities_of_modified_huber_are_those_of_sgd_classifier(topics, n_classes):
    X, y = topics
    y = y % n_classes
    model = classifier(8, loss="modified_huber", dtype="float64", max_iter=3, learning_rate_init=0.3).fit(X, y)
    theirs = SGDClassifier(loss="modified_huber", max_iter=1, tol=None).fit(model.transform(X), y)
    theirs.coef_, theirs.intercept_ = model.coefs_[0].T, model.intercepts_[0]
    empty = csr_array((1, 8))
    for Z in (X, empty):
        expected = theirs.predict_proba(model.transform(Z))
        np.testing.assert_allclose(model.predict_proba(Z), expected, rtol=1e-12, atol=1e-15)
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(model.predict_log_proba(Z), np.log(expected), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(model.predict(X), theirs.predict(model.transform(X)))
    model.intercepts_[0][:] = -1e3  # no class has any
    np.testing.assert_allclose(model.predict_proba(X)[:, 0], 1.0 if n_classes == 2 else 0.25)


def test_probabilities_of_modified_huber_for_labels(topics):
    X, y = topics
    Y = np.column_stack([y == 0, y > 1]).astype(int)
    model = classifier(8, loss="modified_huber", max_iter=20).fit(X, Y)
    expected = (np.clip(model.decision_function(X), -1, 1) + 1) / 2
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-6)
    np.testing.assert_array_equal(model.predict(X), expected > 0.5)


def test_scikit_learn_takes_margins_for_scores(topics):
    X, y = topics
    model = classifier(8, loss="squared_hinge", max_iter=20)
    ours = cross_val_score(model, X, y % 2, scoring="roc_auc", cv=3).mean()
    assert ours > cross_val_score(LinearSVC(), X, y % 2, scoring="roc_auc", cv=3).mean() - 0.03
    assert cross_val_predict(model, X, y, cv=3, method="decision_function").shape == (120, 4)


# --- probabilities as y


SHAPES = [np.asarray, csr_array, csr_matrix, coo_array]


def shares(y, amount=0.1):
    """Probabilities of the classes y: all others have a part of ``amount``."""
    n_classes = y.max() + 1
    return (1 - amount) * np.eye(n_classes)[y] + amount / n_classes


@pytest.mark.parametrize("make", SHAPES)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_probabilities_that_are_nearly_certain_are_class_labels(topics, n_classes, make):
    X, y = topics
    y = y % n_classes
    P = shares(y, 1e-9)
    soft = classifier(8, max_iter=5, dtype="float64").fit(X, make(P))
    streamed = classifier(8, dtype="float64").partial_fit(X, make(P))
    assert soft.classes_.tolist() == list(range(n_classes))
    assert soft.coefs_[0].shape == (8, n_classes)  # two classes have two outputs: y may be of any two probabilities
    if n_classes == 4:
        hard = classifier(8, max_iter=5, dtype="float64").fit(X, y)
        np.testing.assert_allclose(soft.predict_proba(X), hard.predict_proba(X), rtol=1e-6)
        assert soft.loss_curve_ == pytest.approx(hard.loss_curve_, rel=1e-6)
        hard = classifier(8, dtype="float64").partial_fit(X, y, range(4))
        np.testing.assert_allclose(streamed.predict_proba(X), hard.predict_proba(X), rtol=1e-6)
    np.testing.assert_allclose(soft.predict_proba(X).sum(axis=1), 1)
    np.testing.assert_array_equal(soft.predict(X), soft.predict_proba(X).argmax(axis=1))


def test_dense_and_sparse_probabilities_are_the_same_and_not_changed(topics):
    X, y = topics
    P = shares(y, 0.3)
    P[::3] = np.eye(4)[y[::3]]
    model = classifier(8, max_iter=3).fit(X, P)
    for make in SHAPES[1:]:
        given = make(P)
        before = given.toarray()
        assert same_model(classifier(8, max_iter=3).fit(X, given), model)
        np.testing.assert_array_equal(given.toarray(), before)
    duplicates = csr(np.repeat(P[P > 0] / 2, 2), np.repeat(np.nonzero(P)[1], 2).astype(np.int32),
                     np.append(0, np.cumsum(2 * (P > 0).sum(axis=1))).astype(np.int32), 4)  # fmt: skip
    assert same_model(classifier(8, max_iter=3).fit(X, duplicates), model)


def test_an_epoch_of_probabilities_is_that_of_the_oracle(X):
    P = np.random.default_rng(1).dirichlet(np.ones(4), N_ROWS)
    P[::3] = np.eye(4)[np.arange(N_ROWS)[::3] % 4]
    X = X.astype(np.float64)
    table = random_table(N_COLUMNS, DIM)
    params = {"init": table, "dtype": "float64", "shuffle": False, "batch_size": BATCH, "alpha": 0}
    model = classifier(learning_rate_init=0.1, **params).partial_fit(X, P, sample_weight=np.full(N_ROWS, 1e-300))
    np.testing.assert_allclose(model.intercepts_[0], np.log((P.sum(axis=0) + 0.5) / (N_ROWS + 2)), rtol=1e-12)
    table, coef, intercept = learnt(model)
    oracle = training_reference.Model(table, coef, intercept, 0.1 / BATCH**2, n_steps=model._solver_state[-1])
    model.partial_fit(X, P)
    options = training_reference.Options("sqrtn", "softmax", "rowwise_adagrad")
    bags = reference.bags_of_csr(X)
    expected = training_reference.epoch(oracle, bags, P, np.ones(N_ROWS), options, [0.1] * 4, BATCH)
    assert model.loss_curve_[-1] == pytest.approx(expected, rel=1e-12)
    for actual, expected in zip(learnt(model), (oracle.table, oracle.coef, oracle.intercept), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def test_probabilities_are_learnt_as_such(topics):
    X, y = topics
    P = shares(y, 0.6)
    model = classifier(8, max_iter=60).fit(X, P)
    np.testing.assert_allclose(model.predict_proba(X).mean(axis=0), P.mean(axis=0), atol=0.03)
    certain = classifier(8, max_iter=60).fit(X, y)
    assert np.abs(model.predict_proba(X) - P).mean() < np.abs(certain.predict_proba(X) - P).mean() - 0.02


def test_early_stopping_on_probabilities(topics):
    X, y = topics
    P = shares(y, 0.2)
    model = classifier(8, early_stopping=True, max_iter=5, n_iter_no_change=np.inf, dtype="float64")
    model.fit(X, P, X_val=X[:30], y_val=csr_array(P[:30]))
    expected = (P[:30] * model.predict_log_proba(X[:30])).sum(axis=1).mean()
    assert model.best_validation_score_ == pytest.approx(expected, rel=1e-9)
    assert classifier(8, early_stopping=True, max_iter=5).fit(X, P).validation_scores_


def test_rows_of_ones_and_zeros_in_a_stream_of_probabilities(topics):
    X, y = topics
    model = classifier(8).partial_fit(X, shares(y))
    model.partial_fit(X, np.eye(4)[y]).partial_fit(X, csr_array(np.eye(4)[y]))
    np.testing.assert_allclose(model.predict_proba(X), softmax(model.decision_function(X), axis=1), rtol=1e-5)


BAD = {
    "negative": (["probabilities", "-0.2 in row 3, column 1"], [0.7, -0.2, 0.5, 0]),
    "more than 1": (["probabilities", "1.5 in row 3, column 0"], [1.5, 0, 0, 0]),
    "a sum below 1": (["probabilities that sum to 1", "0.75", "row 3"], [0.5, 0.25, 0, 0]),
    "a sum of 0": (["probabilities that sum to 1", "row 3"], [0, 0, 0, 0]),
    "a sum above 1": (["probabilities that sum to 1", "1.5", "row 3"], [0.5, 0.5, 0.5, 0]),
    "NaN": (["NaN"], [np.nan, 1, 0, 0]),
    "inf": (["infinity"], [np.inf, 0, 0, 0]),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
@pytest.mark.parametrize("make", SHAPES[:2])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_y_that_is_no_probabilities(topics, method, make, case):
    X, y = topics
    words, row = case
    P = shares(y)
    for model in (classifier(), classifier(max_iter=2).fit(X, P)):
        before, bad = snapshot(model), P.copy()
        bad[3] = row
        with refuses(ValueError, *words):
            getattr(model, method)(X, make(bad))
        assert_unchanged(model, before)


@pytest.mark.parametrize("loss", MARGINS)
def test_probabilities_with_a_loss_of_margins(topics, loss):
    X, y = topics
    for method in ("fit", "partial_fit"):
        model = classifier(loss=loss)
        with refuses(ValueError, "probabilities of classes", "log_loss", loss):
            getattr(model, method)(X, shares(y))
        assert not hasattr(model, "coefs_")


def test_kinds_of_y_do_not_mix(topics):
    X, y = topics
    ways = {"probabilities of classes": shares(y), "a label indicator": np.eye(4)[y] + np.eye(4)[(y + 1) % 4],
            "class labels": y}  # fmt: skip
    for known, first in ways.items():
        for other, second in ways.items():
            if other == known:
                continue
            model = classifier(max_iter=2, warm_start=True).fit(X, first)
            for method in ("fit", "partial_fit"):
                before = snapshot(model)
                with refuses(ValueError, "y must be"):
                    getattr(model, method)(X, second)
                assert_unchanged(model, before)


def test_probabilities_take_no_class_weights(topics):
    X, y = topics
    with refuses(ValueError, "class_weight", "probabilities"):
        classifier(class_weight={0: 2}).fit(X, shares(y))


def test_another_number_of_classes(topics):
    X, y = topics
    model = classifier(max_iter=2).fit(X, shares(y))
    with refuses(ValueError, "y must have one column per", "4", "2"):
        model.partial_fit(X, shares(y % 2))
