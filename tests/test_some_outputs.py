"""Very many outputs: steps that touch some of them, negatives that are drawn, or the nodes of a tree."""

import pickle
import tracemalloc

import numpy as np
import pytest
import reference
import training_reference
from helpers import FLOATS, LEARNT, learnt, random_csr, random_table
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skbag import EmbeddingBagClassifier
from skbag._data.some_outputs import Negatives, Tree

N_ROWS, N_COLUMNS, DIM, BATCH, N_OUTPUTS, N_NEGATIVES = 26, 11, 5, 8, 13, 6
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
SOLVERS = ("sgd", "rowwise_adagrad", "adagrad", "adam")
KINDS = {"classes": "softmax", "shares": "softmax", "labels": "sigmoid"}


@pytest.fixture(autouse=True, scope="module")
def many_processors():
    """No more threads are used than there are processors: here 3 are 3 everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skbag._threads.processors", lambda: 9)
        yield


def targets(kind, n_rows=N_ROWS):
    """Return y and its label matrix; common outputs and rare ones, and one that no row has."""
    rng = np.random.default_rng(3)
    odds = np.arange(N_OUTPUTS - 1, 0.0, -1)
    more = rng.choice(N_OUTPUTS - 1, n_rows - N_OUTPUTS + 1, p=odds / odds.sum())
    y = np.concatenate((np.arange(N_OUTPUTS - 1), more))
    labels = np.eye(N_OUTPUTS)[y]
    if kind == "classes":
        return y, labels
    labels += np.eye(N_OUTPUTS)[rng.permutation(y)]
    if kind == "shares":
        return labels / 2, labels / 2
    labels = np.minimum(labels, 1)
    labels[1] = 0
    return csr_array(labels.astype(np.int64)), labels


def start(X, y, table, *, alpha=0.0, **params):
    """An estimator before its first step, with table, layer and intercepts that are not zero."""
    params = {"init": table, "shuffle": False, "batch_size": BATCH, "dtype": table.dtype, "random_state": 0, **params}
    model = EmbeddingBagClassifier(alpha=0.0, n_negatives=N_NEGATIVES, **params)
    model.partial_fit(X, y, np.arange(N_OUTPUTS) if np.ndim(y) == 1 else None, np.full(X.shape[0], 1e-300))
    rng = np.random.default_rng(7)
    model.coefs_[0][:] = rng.normal(0, 0.7, model.coefs_[0].T.shape).T
    model.intercepts_[0][:] = rng.normal(0, 0.7, model.intercepts_[0].shape)
    return model.set_params(alpha=alpha, learning_rate_init=0.1)


def choice_of(model, labels):
    if model.output == "sampled":
        return training_reference.negatives(labels.sum(axis=0), N_NEGATIVES, model._some_outputs.seed)
    return training_reference.nodes(model._some_outputs.children)


@pytest.mark.usefixtures("free_layer")
@pytest.mark.parametrize(
    "params",
    [{}, {"max_norm": 1.2, "alpha": 0.05, "scale_grad_by_freq": True, "padding_idx": 3}, {"batch_size": 1}],
    ids=["plain", "all", "one row a step"],
)
@pytest.mark.parametrize(
    ("output", "kind"),
    [("sampled", "classes"), ("sampled", "shares"), ("sampled", "labels"), ("hierarchical", "classes"),
     ("hierarchical", "shares")],
)  # fmt: skip
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_two_epochs_are_those_of_the_oracle(dtype, solver, output, kind, params):
    if dtype == "float32" and solver == "adam":
        pytest.skip("it divides by gradients close to 0")
    X, (y, labels) = random_csr(N_ROWS, N_COLUMNS, dtype=dtype, longest=4), targets(kind)
    model = start(X, y, random_table(N_COLUMNS, DIM, dtype=dtype), output=output, solver=solver, **params)
    state = 0.1 / model.batch_size**2
    oracle = training_reference.Model(*learnt(model), state, n_steps=model._solver_state[-1])
    loss = "sigmoid" if output == "hierarchical" else KINDS[kind]
    names = set(vars(training_reference.Options())) - {"loss", "choice"}
    options = {name: getattr(model, name) for name in names}
    options = training_reference.Options(loss=loss, choice=choice_of(model, labels), **options)
    weights = np.random.default_rng(5).uniform(0.2, 3, N_ROWS)
    weights[2::5] = 0
    for sample_weight in (weights, np.ones(N_ROWS)):
        model._output_counts, model._counted = np.zeros(N_OUTPUTS), 1e9  # as they were drawn from at first
        model.partial_fit(X, y, sample_weight=sample_weight)
        rates = [0.1] * -(-N_ROWS // model.batch_size)
        arguments = reference.bags_of_csr(X), labels, sample_weight, options, rates, model.batch_size
        expected = training_reference.epoch(oracle, *arguments)
        assert model.loss_curve_[-1] == pytest.approx(expected, rel=TOLERANCE[dtype])
        for name, one, other in zip(LEARNT, learnt(model), (oracle.table, oracle.coef, oracle.intercept), strict=True):
            np.testing.assert_allclose(one, other, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], err_msg=name)


# --- what is drawn, and the tree


def leaves(tree, z):
    """Return the logarithm of the probability of each class: the sum over the way to it."""
    starts, nodes, sides = tree.paths
    logarithms = -np.logaddexp(0, -(2 * sides - 1) * z.astype(np.float64)[:, nodes])
    return np.add.reduceat(logarithms, starts[:-1], axis=1)


@pytest.mark.parametrize("n_negatives", [1, 3, 8, 40])
def test_outputs_are_drawn_as_often_as_it_says(n_negatives):
    counts = np.array([40, 0, 1, 7, 7, 300, 2, 90, 1])
    made = Negatives.of(counts.astype(float), n_negatives, 5)
    choice = training_reference.negatives(counts, n_negatives, 5)
    n, label = 3000, np.zeros(len(counts))
    times = np.bincount(np.concatenate([choice(k, label)[0] for k in range(n)]), minlength=len(counts))
    probability = np.exp(-made.offsets)
    np.testing.assert_allclose(times / n, probability, atol=4 * 0.5 / n**0.5)
    shares = np.maximum(counts, 1) ** 0.75
    whole = n_negatives * shares / shares.sum()
    assert (probability <= np.minimum(whole, 1) + 1e-12).all()
    assert (probability >= 1 - np.exp(-whole) - 1e-12).all()


def test_the_tree_has_a_way_to_each_class_and_says_the_shares():
    counts = np.random.default_rng(0).permutation(np.arange(1.0, 41) ** 2)
    tree = Tree.of(counts)
    depths = np.diff(tree.paths[0])
    assert depths[counts.argmax()] == depths.min()
    assert depths[counts.argmin()] == depths.max()
    assert 2.0**-depths @ np.ones(40) == 1  # Kraft's sum of a full tree
    z = np.random.default_rng(1).normal(size=(3, 39))
    np.testing.assert_allclose(tree.log_probabilities(z), leaves(tree, z))
    np.testing.assert_allclose(np.exp(tree.log_probabilities(tree.start(counts)[None]))[0], counts / counts.sum())


# --- the estimator


def topics(n=400, n_classes=30, seed=0):
    """Rows of words of which some speak for a class; frequent classes and rare ones."""
    rng = np.random.default_rng(seed)
    y = np.minimum(rng.geometric(0.12, n) - 1, n_classes - 1)
    X = rng.random((n, 3 * n_classes)) < 0.03
    for k in range(3):
        X[np.arange(n), 3 * y + k] |= rng.random(n) < 0.6
    return csr_array(X.astype(np.float32)), y


@pytest.fixture
def made():
    X, y = topics()
    return X, y, {"random_state": 0, "max_iter": 12, "n_negatives": 12}


@pytest.mark.parametrize("output", ["sampled", "hierarchical"])
def test_a_fit_learns_what_a_full_one_learns(made, output):
    X, y, params = made
    new, y_new = topics(seed=1)
    full = EmbeddingBagClassifier(**params).fit(X, y)
    model = EmbeddingBagClassifier(output=output, **params).fit(X, y)
    assert model.score(new, y_new) > full.score(new, y_new) - 0.1 > 0.5
    p = model.predict_proba(new)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(model.classes_[p.argmax(axis=1)], model.predict(new))
    np.testing.assert_allclose(np.log(p), model.predict_log_proba(new), atol=1e-4)
    best, scores = model.predict_top_k(new, 3)
    np.testing.assert_array_equal(best[:, 0], model.predict(new))
    np.testing.assert_allclose(scores, -np.sort(-p, axis=1)[:, :3], rtol=1e-5)
    none = np.exp(model.decision_function(csr_array((1, X.shape[1])))[0])
    start = EmbeddingBagClassifier(output=output, **params).partial_fit(X, y, np.unique(y), np.full(len(y), 1e-300))
    shares = start.predict_proba(csr_array((1, X.shape[1])))[0]
    counts = np.unique(y, return_counts=True)[1] + 0.5
    np.testing.assert_allclose(shares, counts / counts.sum(), rtol=1e-4)
    assert np.isfinite(none).all()


def test_sampled_labels_have_probabilities_like_those_of_all():
    X, y = topics(1500)
    Y = np.eye(30, dtype=np.int64)[y]
    Y[::7] = 0
    Y = csr_array(Y)
    params = {"random_state": 0, "max_iter": 10}
    full = EmbeddingBagClassifier(**params).fit(X, Y).predict_proba(X).sum(axis=0)
    some = EmbeddingBagClassifier(output="sampled", n_negatives=10, **params).fit(X, Y).predict_proba(X).sum(axis=0)
    np.testing.assert_allclose(some.sum(), full.sum(), rtol=0.1)  # without the correction it would be far more
    assert np.corrcoef(some, full)[0, 1] > 0.99


@pytest.mark.parametrize("output", ["sampled", "hierarchical"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_number_of_threads_changes_no_bit(made, output, solver):
    X, y, params = made
    params = {**params, "max_iter": 2, "batch_size": 100, "learning_rate_init": 0.01}
    fits = [EmbeddingBagClassifier(32, output=output, solver=solver, n_jobs=k, **params).fit(X, y) for k in (1, 2, 3)]
    for other in fits[1:]:
        for one, another in zip(learnt(fits[0]), learnt(other), strict=True):
            np.testing.assert_array_equal(one, another)


@pytest.mark.parametrize("output", ["sampled", "hierarchical"])
def test_epochs_are_calls_of_partial_fit(made, output):
    X, y, params = made
    params = {**params, "output": output, "shuffle": False, "learning_rate": "constant", "max_iter": 3}
    whole = EmbeddingBagClassifier(**params).fit(X, y)
    stream = EmbeddingBagClassifier(**params)
    for _ in range(3):
        stream.partial_fit(X, y, np.unique(y))
    again = pickle.loads(pickle.dumps(stream)).partial_fit(X, y)
    stream.partial_fit(X, y)
    for one, another, third in zip(learnt(whole.set_params(warm_start=True, max_iter=1).fit(X, y)), learnt(stream),
                                   learnt(again), strict=True):  # fmt: skip
        np.testing.assert_array_equal(one, another)
        np.testing.assert_array_equal(third, another)


@pytest.mark.parametrize("output", ["sampled", "hierarchical"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_call_that_fails_takes_back_what_it_touched(made, output, solver, monkeypatch):
    X, y, params = made
    model = EmbeddingBagClassifier(output=output, solver=solver, **params, learning_rate_init=0.01)
    model.partial_fit(X, y, np.unique(y))
    before = pickle.dumps(model)
    other = pickle.loads(before).partial_fit(X[:40], y[:40])
    assert not np.array_equal(other.coefs_[0], model.coefs_[0])
    monkeypatch.setattr(EmbeddingBagClassifier, "_keep_scores", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.partial_fit(X[:40], y[:40])
    assert pickle.dumps(model) == before
    monkeypatch.undo()
    for one, another in zip(learnt(model.partial_fit(X[:40], y[:40])), learnt(other), strict=True):
        np.testing.assert_array_equal(one, another)


def test_a_step_touches_no_output_that_was_not_drawn(made):
    X, y, params = made
    model = EmbeddingBagClassifier(output="sampled", **{**params, "n_negatives": 3}).partial_fit(X, y, np.unique(y))
    before = model.coefs_[0].copy()
    model.partial_fit(X[:2], y[:2])
    changed = np.flatnonzero((model.coefs_[0] != before).any(axis=0))
    assert set(np.unique(y[:2])) <= set(model.classes_[changed])
    assert len(changed) <= 5


def test_early_stopping_looks_at_all_classes(made):
    X, y, params = made
    y = np.minimum(y, 20)
    for output in ("sampled", "hierarchical"):
        model = EmbeddingBagClassifier(output=output, early_stopping=True, **params)
        model.fit(X, y, X_val=X[:50], y_val=y[:50])
        p = model.predict_log_proba(X[:50])
        expected = p[np.arange(50), np.searchsorted(model.classes_, y[:50])].mean()
        assert model.best_validation_score_ == pytest.approx(expected, rel=1e-5)


def test_class_weights_and_a_search(made):
    X, y, params = made
    y = np.minimum(y, 12)
    model = EmbeddingBagClassifier(output="hierarchical", class_weight={0: 1e-4}, **params).fit(X, y)
    assert (model.predict(X) == 0).mean() < (EmbeddingBagClassifier(**params).fit(X, y).predict(X) == 0).mean() / 4
    search = GridSearchCV(EmbeddingBagClassifier(**params), {"output": ["full", "sampled", "hierarchical"]}, cv=2)
    assert (search.fit(X, y).cv_results_["mean_test_score"] > 0.4).all()
    assert clone(search.best_estimator_).get_params()["n_negatives"] == 12


def test_two_classes_have_nothing_to_choose():
    X, y = topics()
    full, *others = (
        EmbeddingBagClassifier(output=output, random_state=0).fit(X, y > 2)
        for output in ("full", "sampled", "hierarchical")
    )
    for other in others:
        np.testing.assert_array_equal(full.coefs_[0], other.coefs_[0])
    many = EmbeddingBagClassifier(output="sampled", n_negatives=10**6, random_state=0).fit(X, y)
    np.testing.assert_array_equal(many.coefs_[0], EmbeddingBagClassifier(random_state=0).fit(X, y).coefs_[0])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"loss": "hinge"}, "output='sampled' needs loss='log_loss', got loss='hinge'"),
        ({"freeze": True}, "output='sampled' needs freeze=False, got freeze=True"),
        ({"device": "cuda"}, "output='sampled' needs device='cpu', got device='cuda'"),
        ({"output": "some"}, "'output' parameter of EmbeddingBagClassifier must be a str among"),
        ({"n_negatives": 0}, "'n_negatives' parameter of EmbeddingBagClassifier must be an int in the range"),
    ],
)
def test_what_it_refuses(made, params, message):
    X, y, _ = made
    model = EmbeddingBagClassifier(**{"output": "sampled", **params})
    for call in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=message):
            call(X, y)
    assert not hasattr(model, "coefs_")


def test_a_tree_has_no_labels_and_stays_what_it_is(made):
    X, y, params = made
    model = EmbeddingBagClassifier(output="hierarchical", **params)
    with pytest.raises(ValueError, match="needs classes, or probabilities of classes, as y, got a label indicator"):
        model.fit(X, np.eye(30, dtype=int)[y] | np.eye(30, dtype=int)[y[::-1]])
    model.fit(X, y)
    for call in (model.to_linear, model.to_state_dict, model.top_features, lambda: model.contributions(X)):
        with pytest.raises(ValueError, match="needs an output for each class, which output='hierarchical' does not"):
            call()
    assert model.feature_importances_.shape == (X.shape[1],)
    assert model.compact()[0].predict(X[:, model.compact()[1]]).shape == y.shape
    before = pickle.dumps(model.set_params(output="sampled"))
    with pytest.raises(ValueError, match="output must be 'hierarchical' as before, got 'sampled'"):
        model.partial_fit(X, y)
    assert pickle.dumps(model) == before
    model = EmbeddingBagClassifier(**params).fit(X, y).set_params(output="sampled")
    model.partial_fit(X, y).set_params(output="full").partial_fit(X, y)
    with pytest.raises(ValueError, match="output must be other than 'hierarchical' as before, got 'hierarchical'"):
        model.set_params(output="hierarchical").partial_fit(X, y)
    with pytest.raises(ValueError, match="output must be 'full' or 'sampled' for arrays of a Linear"):
        EmbeddingBagClassifier.from_state_dict(model.to_state_dict(), mode="sqrtn", output="hierarchical")


# --- the leaves of a tree, all and the best


def grown(dtype, n_classes=170, sizes=(), scale=1.0):
    """A model with a tree whose nodes are drawn, and rows."""
    rng = np.random.default_rng(0)
    X = random_csr(90, 23, dtype=dtype, longest=5)
    y = np.concatenate((np.arange(n_classes), np.minimum(rng.geometric(0.1, 500) - 1, n_classes - 1)))
    params = {"hidden_layer_sizes": sizes, "dtype": dtype, "random_state": 0}
    model = EmbeddingBagClassifier(9, output="hierarchical", **params)
    model.partial_fit(random_csr(len(y), 23, dtype=dtype), y, np.arange(n_classes))
    model.coefs_[-1][:] = rng.normal(0, scale, model.coefs_[-1].T.shape).T
    model.intercepts_[-1][:] = rng.normal(0, scale, n_classes - 1)
    return model, X


@pytest.mark.parametrize("sizes", [(), (7,)])
@pytest.mark.parametrize("scale", [0.3, 30])
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_leaves_are_those_of_the_oracle(dtype, scale, sizes):
    model, X = grown(dtype, sizes=sizes, scale=scale)
    h = model.transform(X).astype(np.float64)
    if sizes:
        h = np.maximum(h @ model.coefs_[0] + model.intercepts_[0], 0)
    expected = leaves(model._some_outputs, h @ model.coefs_[-1] + model.intercepts_[-1])
    tolerance = {"float32": 2e-5, "float64": 1e-12}[dtype]
    found = model.decision_function(X)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)
    np.testing.assert_array_equal(model.predict_proba(X), np.exp(found))
    np.testing.assert_array_equal(model.predict_log_proba(X), found)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=tolerance * scale)
    for n_jobs in (1, 3):
        model.set_params(n_jobs=n_jobs)
        np.testing.assert_array_equal(model.decision_function(X), found)
        np.testing.assert_array_equal(model.predict(X), model.classes_[found.argmax(axis=1)])
        for k in (1, 2, 17, 170):
            best, scores = model.predict_top_k(X, k)
            order = np.argsort(-found, axis=1, kind="stable")[:, :k]
            np.testing.assert_array_equal(best, model.classes_[order])
            np.testing.assert_array_equal(scores, np.exp(np.take_along_axis(found, order, axis=1)))


def test_of_equal_leaves_the_first_is_best():
    model, X = grown("float32", n_classes=21)
    model.coefs_[-1][:], model.intercepts_[-1][:] = 0, 0
    found = model.decision_function(X)
    assert len(np.unique(found[0])) < 6
    order = np.argsort(-found, axis=1, kind="stable")
    for k in (1, 3, 4, 9, 21):
        np.testing.assert_array_equal(model.predict_top_k(X, k)[0], model.classes_[order[:, :k]])
    np.testing.assert_array_equal(model.predict(X), model.classes_[order[:, 0]])


def test_leaves_that_are_no_numbers():
    model, X = grown("float32", n_classes=21)
    before = model.decision_function(X[:1])[0]
    model.intercepts_[-1][-3] = np.nan
    found = model.decision_function(X[:1])[0]
    lost = np.isnan(found)
    assert 1 < lost.sum() < 21
    np.testing.assert_array_equal(found[~lost], before[~lost])
    n = int((~lost).sum())
    best, scores = model.predict_top_k(X[:1], n)
    np.testing.assert_array_equal(best[0], np.argsort(np.where(lost, np.inf, -before), kind="stable")[:n])
    assert np.isfinite(scores).all()
    for call in (lambda: model.predict_top_k(X[:1], n + 1), lambda: model.predict_proba(X[:1])):
        with pytest.raises(ValueError, match="outputs of row 0 of X are NaN"):
            call()
    assert model.predict(X[:1])[0] == np.where(lost, -np.inf, before).argmax()
    model.intercepts_[-1][:] = np.nan
    assert model.predict(X[:1]).tolist() == [0]


# --- the best of many


@pytest.mark.parametrize("loss", ["log_loss", "hinge", "modified_huber"])
@pytest.mark.parametrize("kind", ["classes", "labels"])
@pytest.mark.parametrize("k", [1, 5, 40, 150])
def test_the_best_are_those_of_all_outputs(kind, loss, k):
    rng = np.random.default_rng(0)
    X = csr_array((rng.random((450, 60)) < 0.05).astype(np.float32))
    y = np.arange(450) % 150 if kind == "classes" else (rng.random((450, 150)) < 0.05).astype(int)
    model = EmbeddingBagClassifier(loss=loss, random_state=0, max_iter=2).fit(X, y)
    model.coefs_[0][:, 7] = model.coefs_[0][:, 3]  # ties, of which the first comes first
    model.intercepts_[0][7] = model.intercepts_[0][3]
    z = model.decision_function(X)
    expected = np.argsort(-z, axis=1, kind="stable")[:, :k]
    for n_jobs in (1, 2):
        best, scores = model.set_params(n_jobs=n_jobs).predict_top_k(X, k)
        np.testing.assert_array_equal(best, model.classes_[expected])
        values = z if loss == "hinge" else model.predict_proba(X)
        np.testing.assert_allclose(scores, np.take_along_axis(values, expected, axis=1), rtol=1e-5)
        assert scores.dtype == np.float32


def test_the_best_where_an_output_is_no_number():
    X = csr_array(np.eye(4, dtype=np.float32))
    model = EmbeddingBagClassifier(random_state=0, loss="hinge").fit(X, np.arange(4))
    model.intercepts_[0][:] = [1, np.nan, 9, 5]
    best, scores = model.predict_top_k(X[[0]], 4)
    assert best[0].tolist() == [2, 3, 0, 1]
    assert np.isnan(scores[0, 3])
    assert model.predict_top_k(csr_array((0, 4)), 2)[0].shape == (0, 2)


def test_the_outputs_of_all_rows_are_never_in_memory_at_once():
    model = EmbeddingBagClassifier(8, output="sampled", n_negatives=50, max_iter=1, random_state=0)
    model.partial_fit(csr_array(np.eye(3, dtype=np.float32)), [0, 1, 2], np.arange(20_000))
    X = csr_array(np.ones((3000, 3), np.float32))
    model.predict_top_k(X[:1], 5)
    tracemalloc.start()
    try:
        model.predict_top_k(X, 5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3000 * 20_000 * 4 / 10
