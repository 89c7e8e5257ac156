"""Hidden layers between the bag and the outputs, against NumPy, torch and scikit-learn's MLPClassifier."""

import pickle
import re

import numpy as np
import pytest
from helpers import random_csr
from scipy.sparse import csr_array
from scipy.special import expit, log_softmax, softmax
from sklearn.base import clone
from sklearn.feature_selection import SelectFromModel
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor
from skbag._rules.activations import ACTIVATIONS
from skbag.inspection import EmbeddingMapDisplay

N_ROWS, N_COLUMNS, N_CLASSES, BATCH = 60, 30, 3, 16
PLAIN = {
    "identity": (lambda z: z, lambda z: np.ones_like(z)),
    "logistic": (expit, lambda z: expit(z) * expit(-z)),
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
}


@pytest.fixture(scope="module")
def data():
    X = random_csr(N_ROWS, N_COLUMNS, seed=3, longest=12)
    X.sum_duplicates()
    return X, np.random.default_rng(4).integers(0, N_CLASSES, N_ROWS)


def classifier(sizes=(7,), **params):
    params = {
        "random_state": 0,
        "shuffle": False,
        "batch_size": BATCH,
        "learning_rate_init": 0.1,
        "alpha": 0.0,
    } | params
    return EmbeddingBagClassifier(params.pop("embedding_dim", 5), hidden_layer_sizes=sizes, **params)


def arrays_of(model):
    return [model.embeddings_, *model.coefs_, *model.intercepts_]


def weights_of_pooling(X, mode):
    """Return the matrix by which the table is multiplied to be pooled."""
    dense = X.toarray()
    size = {"sum": 1, "mean": np.abs(dense).sum(1, keepdims=True), "sqrtn": np.linalg.norm(dense, axis=1)[:, None]}
    return dense / np.where(size[mode] == 0, 1, size[mode])


def forward(pooled, coefs, intercepts, activation):
    """Return what each layer reads, its sums, and so last the outputs."""
    read, sums = [pooled], []
    for coef, intercept in zip(coefs, intercepts, strict=True):
        sums.append(read[-1] @ coef + intercept)
        read.append(PLAIN[activation][0](sums[-1]))
    return read[:-1], sums


def change(solver, rows, gradients, states, rate, number):
    """Change rows of parameters in place, each by its gradient, as ``training_reference.update`` does it."""
    squares, first, second = states
    if solver == "sgd":
        rows -= rate * gradients
    elif solver == "adam":
        first += 0.1 * (gradients - first)
        second += 0.001 * (gradients**2 - second)
        rows -= rate * np.sqrt(1 - 0.999**number) / (1 - 0.9**number) * first / (np.sqrt(second) + 1e-8)
    elif solver == "adagrad":
        first += gradients**2
        rows -= rate * gradients / (np.sqrt(first) + 1e-10)
    else:
        squares += (gradients**2).mean(axis=1)
        rows -= rate * gradients / (np.sqrt(squares)[:, None] + 1e-10)


class Plain:
    """A model in float64, as an estimator has it, and its solver."""

    def __init__(self, model):
        self.solver, self.activation, self.rate = model.solver, model.activation, model.learning_rate_init
        self.n_layers = len(model.coefs_)
        layers = zip(model.coefs_, model.intercepts_, strict=True)
        arrays = [model.embeddings_, *(array for layer in layers for array in layer)]
        self.arrays = [np.array(array, np.float64) for array in arrays]
        *states, self.number = model._solver_state
        self.states = [[np.array(array, np.float64) for array in some] for some in states]
        manner = model._manner(model._learnt)
        self.factors = manner.factors(self.n_layers - 1)
        self.norms = [*manner.hidden_norms(self.n_layers - 1), manner.norm]
        self.alpha = model.alpha

    @property
    def coefs(self):
        return self.arrays[1::2]

    @property
    def intercepts(self):
        return self.arrays[2::2]

    def outputs(self, P):
        return forward(P @ self.arrays[0], self.coefs, self.intercepts, self.activation)[1][-1]

    def step(self, P, t):
        """Make a step with the cross-entropy of a softmax; return the loss."""
        self.number += 1
        table, coefs = self.arrays[0], self.coefs
        read, sums = forward(P @ table, coefs, self.intercepts, self.activation)
        delta = (softmax(sums[-1], axis=1) - t) / len(P)
        loss = -(log_softmax(sums[-1], axis=1) * t).sum() / len(P)
        gradients = []
        for k in range(self.n_layers - 1, -1, -1):
            alpha = self.alpha if self.norms[k] is None else 0
            gradients[:0] = [(read[k].T @ delta + alpha * coefs[k]).T, delta.sum(0)]
            delta = delta @ coefs[k].T * (PLAIN[self.activation][1](sums[k - 1]) if k else 1)
        for k, (factor, of_intercept) in enumerate(self.factors):
            rate, rows = self.rate * factor, coefs[k].T
            change(self.solver, rows, gradients[2 * k], self.states[2 * k + 1], rate, self.number)
            if self.norms[k] is not None:
                lengths = np.linalg.norm(rows, axis=1, keepdims=True)
                most, exactly = self.norms[k]
                rows *= np.where(exactly | (lengths > most), most / (lengths + 1e-7), 1)
            entries, states = self.intercepts[k][:, None], self.states[2 * k + 2]
            states = [states[0], *(state[:, None] for state in states[1:])]
            change(self.solver, entries, gradients[2 * k + 1][:, None], states, rate * of_intercept, self.number)
        named = np.flatnonzero(np.abs(P).sum(0))
        rows, states = table[named], [state[named] if len(state) else state for state in self.states[0]]
        change(self.solver, rows, (P.T @ delta)[named] + self.alpha * rows, states, self.rate, self.number)
        table[named] = rows
        for state, new in zip(self.states[0], states, strict=True):
            if len(state):
                state[named] = new
        return loss


# --- rules


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_rules_are_the_functions_and_their_derivatives(name):
    z = np.concatenate([np.linspace(-30, 30, 601), [-0.5, 0.5, 1e-12, -1e-12, 0.4999999, 1e3, -1e3]])
    rule, derivative = ACTIVATIONS[name].rule, ACTIVATIONS[name].derivative
    plain, of_plain = PLAIN[name]
    np.testing.assert_allclose(rule(z), plain(z), rtol=1e-14)
    z = z[np.abs(z) <= 30]
    np.testing.assert_allclose(derivative(rule(z)) * np.ones_like(z), of_plain(z), rtol=1e-12, atol=1e-15)


# --- steps


@pytest.mark.parametrize(("dtype", "activation", "sizes", "mode", "dim"), [
    *[("float64", *case) for case in (
        ("relu", (7,), "sqrtn", 5), ("tanh", (3, 20), "mean", 16), ("logistic", [1], "sum", 1),
        ("identity", (9, 2, 33), "sum", 3), ("relu", 300, "sqrtn", 100), ("tanh", (8,), "sum", 9),
    )],
    ("float32", "relu", (7,), "sqrtn", 5), ("float32", "tanh", (3, 20), "mean", 16),
])  # fmt: skip
def test_an_epoch_is_what_numpy_says(data, activation, sizes, mode, dim, dtype):
    X, y = data
    model = classifier(
        sizes, activation=activation, mode=mode, embedding_dim=dim, dtype=dtype, solver="sgd", alpha=0.01
    )
    model.set_params(learning_rate_init=0.05).partial_fit(X, y, classes=[0, 1, 2])
    plain = Plain(model)
    model.partial_fit(X, y)
    P, t = weights_of_pooling(X, mode), np.eye(N_CLASSES)[y]
    losses = [
        plain.step(P[rows], t[rows]) * len(rows) for rows in np.split(np.arange(N_ROWS), range(BATCH, N_ROWS, BATCH))
    ]
    tolerance = {"rtol": 1e-9, "atol": 1e-11} if dtype == "float64" else {"rtol": 3e-4, "atol": 2e-5}
    assert model.loss_curve_[-1] == pytest.approx(sum(losses) / N_ROWS, rel=1e-11 if dtype == "float64" else 2e-5)
    for actual, expected in zip(arrays_of(model), [plain.arrays[0], *plain.coefs, *plain.intercepts], strict=True):
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, expected, **tolerance)
    np.testing.assert_allclose(model.decision_function(X), plain.outputs(P), **tolerance)


@pytest.mark.parametrize(("n_classes", "activation"), [(2, "relu"), (4, "tanh"), (4, "logistic")])
def test_a_frozen_table_of_unit_vectors_is_an_mlp(n_classes, activation):
    X = random_csr(N_ROWS, N_COLUMNS, seed=1)
    X.sum_duplicates()
    y = np.arange(N_ROWS) % n_classes
    theirs = MLPClassifier((6, 5), activation=activation, solver="sgd", momentum=0, alpha=0, learning_rate_init=0.1,
                           batch_size=N_ROWS, shuffle=False, random_state=0)  # fmt: skip
    ours = classifier((6, 5), activation=activation, solver="sgd", freeze=True, mode="sum", init=np.eye(N_COLUMNS),
                      dtype="float64", batch_size=N_ROWS)  # fmt: skip
    for model in (theirs, ours):
        model.partial_fit(X, y, classes=np.arange(n_classes))
    assert [array.shape for array in ours.coefs_] == [array.shape for array in theirs.coefs_]
    assert [array.shape for array in ours.intercepts_] == [array.shape for array in theirs.intercepts_]
    for name in ("coefs_", "intercepts_"):
        for mine, other in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            mine[:] = other
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-12)
    for _ in range(5):
        theirs.partial_fit(X, y)
        ours.partial_fit(X, y)
    for name in ("coefs_", "intercepts_"):
        for mine, other in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_is_what_torch_says(data, dtype):
    torch = pytest.importorskip("torch", reason="the comparison with torch needs torch")
    X, y = data
    model = classifier((12,), mode="sum", solver="sgd", dtype=dtype, batch_size=N_ROWS)
    model.partial_fit(X, y, classes=[0, 1, 2])
    module = torch.nn.Module()
    module.embedding_bag = torch.nn.EmbeddingBag(N_COLUMNS, 5, mode="sum", sparse=True)
    module.linear = torch.nn.Sequential(torch.nn.Linear(5, 12), torch.nn.ReLU(), torch.nn.Linear(12, 3))
    module.to(getattr(torch, dtype))
    module.load_state_dict({name: torch.from_numpy(array) for name, array in model.to_state_dict().items()})
    ids, offsets = torch.tensor(X.indices.astype(np.int64)), torch.tensor(X.indptr[:-1].astype(np.int64))
    weights = torch.tensor(X.data.astype(dtype))
    outputs = module.linear(module.embedding_bag(ids, offsets, per_sample_weights=weights))
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(model.decision_function(X), outputs.detach().numpy(), rtol=tolerance, atol=tolerance)
    torch.nn.functional.cross_entropy(outputs, torch.tensor(y)).backward()
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    model.partial_fit(X, y)
    for name, array in model.to_state_dict().items():
        np.testing.assert_allclose(array, module.state_dict()[name].numpy(), rtol=tolerance, atol=tolerance)


# --- the same whatever the threads, rows beside, and ways to go on


@pytest.mark.parametrize("solver", ["sgd", "rowwise_adagrad"])
def test_bytes_do_not_depend_on_threads_or_rows_beside(data, solver, monkeypatch):
    monkeypatch.setattr("skbag._threads.processors", lambda: 9)
    monkeypatch.setattr("skbag._cpu.training._WORK_OF_A_THREAD", 1)
    X, y = data
    fitted = [
        classifier((33, 7), embedding_dim=16, solver=solver, n_jobs=n_jobs, max_iter=4, shuffle=True).fit(X, y)
        for n_jobs in (1, 2, 5)
    ]
    for other in fitted[1:]:
        assert all((a == b).all() for a, b in zip(arrays_of(fitted[0]), arrays_of(other), strict=True))
    monkeypatch.setattr("skbag._cpu.backend._SERIAL_WORK", 2)
    outputs = fitted[1].decision_function(X)
    alone = np.vstack([fitted[0].decision_function(X[[k]]) for k in range(N_ROWS)])
    assert outputs.tobytes() == alone.tobytes()
    assert (fitted[0].predict(X) == outputs.argmax(axis=1)).all()
    assert fitted[0].decision_function(X[:0]).shape == (0, 3)


def test_it_goes_on_where_it_is(data):
    X, y = data
    whole = classifier((6, 4), learning_rate="constant", max_iter=3).fit(X, y)
    parts = classifier((6, 4))
    for _ in range(3):
        parts.partial_fit(X, y, classes=[0, 1, 2])
    assert all((a == b).all() for a, b in zip(arrays_of(whole), arrays_of(parts), strict=True))
    copy = pickle.loads(pickle.dumps(parts))
    before = parts.decision_function(X)
    for model in (copy, parts):
        model.partial_fit(X, y)
    assert all((a == b).all() for a, b in zip(arrays_of(copy), arrays_of(parts), strict=True))
    assert (parts.decision_function(X) != before).any()
    warm = classifier((6, 4), learning_rate="constant", max_iter=1, warm_start=True)
    for _ in range(3):
        warm.fit(X, y)
    assert all((a == b).all() for a, b in zip(arrays_of(whole), arrays_of(warm), strict=True))
    warm.set_params(solver="adam").fit(X, y)  # with states of its own
    assert len(warm._solver_state) == 1 + 2 * 3 + 1


def test_a_call_that_fails_leaves_the_model(data):
    X, y = data
    model = classifier((6,), solver="sgd").partial_fit(X, y, classes=[0, 1, 2])
    before = pickle.dumps(arrays_of(model))
    with pytest.raises(ValueError, match="diverges"):
        model.set_params(learning_rate_init=1e30).partial_fit(X, y)
    assert pickle.dumps(arrays_of(model)) == before


def test_early_stopping_keeps_the_best(data):
    X, y = data
    model = classifier((6,), early_stopping=True, max_iter=20, learning_rate="constant", n_iter_no_change=3)
    model.fit(X, y, X_val=X, y_val=(y + 1) % 3)
    assert model.best_n_iter_ < model.n_iter_
    again = classifier((6,), max_iter=model.best_n_iter_, learning_rate="constant").fit(X, y)
    assert all((a == b).all() for a, b in zip(arrays_of(model), arrays_of(again), strict=True))


# --- what it can do that a linear layer cannot, and everything around


def test_it_learns_what_is_not_linear():
    """Whether one of two columns is there, and not both."""
    X = np.array([[0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]] * 50, float)
    y = np.array([0, 1, 1, 0] * 50)
    for activation in ("relu", "tanh", "logistic"):
        model = EmbeddingBagClassifier(hidden_layer_sizes=16, activation=activation, max_iter=60, random_state=0)
        assert model.fit(X, y).score(X, y) == 1, activation
    assert EmbeddingBagClassifier(max_iter=60, random_state=0).fit(X, y).score(X, y) < 0.8
    numbers = 1000 + 30.0 * y
    model = EmbeddingBagRegressor(hidden_layer_sizes=(16,), max_iter=60, random_state=0).fit(X, numbers)
    assert model.score(X, numbers) > 0.95
    assert model.coefs_[1].shape == (16, 1)


@pytest.mark.parametrize("params", [
    {"mode": ["mean", "max"]}, {"fields": [10, 20]}, {"interaction": "fm"}, {"output": "sampled", "n_negatives": 2},
    {"output": "hierarchical"},
], ids=lambda params: next(iter(params)))  # fmt: skip
def test_beside_other_poolings_and_outputs(data, params):
    X, y = data
    model = EmbeddingBagClassifier(4, hidden_layer_sizes=6, random_state=0, max_iter=30, n_jobs=1, **params).fit(X, y)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert model.score(X, y) > 0.6
    if params.get("output") != "hierarchical":
        outputs = forward(model.transform(X), model.coefs_, model.intercepts_, "relu")[1][-1]
        np.testing.assert_allclose(model.decision_function(X), outputs, rtol=1e-4, atol=1e-4)
    other = clone(model).set_params(n_jobs=2).fit(X, y)
    assert all((a == b).all() for a, b in zip(arrays_of(model), arrays_of(other), strict=True))


def test_labels_margins_and_counts(data):
    X, y = data
    labels = np.column_stack([y == 0, y == 1, y > 0]).astype(int)
    for loss in ("log_loss", "hinge"):
        model = EmbeddingBagClassifier(hidden_layer_sizes=8, loss=loss, random_state=0, max_iter=30).fit(X, labels)
        assert model.predict(X).shape == labels.shape
        assert model.score(X, labels) > 0.5
    counts = EmbeddingBagRegressor(hidden_layer_sizes=8, loss="poisson", random_state=0).fit(X, y)
    assert (counts.predict(X) > 0).all()


def test_clone_search_and_selection(data):
    X, y = data
    model = EmbeddingBagClassifier(hidden_layer_sizes=[8], random_state=0, max_iter=2)
    assert clone(model).get_params()["hidden_layer_sizes"] == [8]
    search = GridSearchCV(model, {"hidden_layer_sizes": [(), (4,), (4, 3)], "activation": ["tanh"]}, cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 3
    chosen = SelectFromModel(model, max_features=3, threshold=-np.inf).fit(X, y)
    assert chosen.get_support().sum() == 3
    lengths = np.linalg.norm(chosen.estimator_.embeddings_ @ chosen.estimator_.coefs_[0], axis=1)
    np.testing.assert_allclose(chosen.estimator_.feature_importances_, lengths, rtol=1e-5)


def test_compact_and_maps(data):
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    X, y = data
    model = classifier((6,), max_iter=2).fit(X, y)
    small, columns = model.compact()
    np.testing.assert_allclose(small.decision_function(X[:, columns]), model.decision_function(X), atol=1e-6)
    small.partial_fit(X[:, columns], y)
    assert (small.coefs_[0] != model.coefs_[0]).any()
    assert len(set(EmbeddingMapDisplay.from_estimator(model).groups)) > 1


@pytest.mark.parametrize("cls", [EmbeddingBagClassifier, EmbeddingBagRegressor])
def test_arrays_there_and_back(data, cls):
    X, y = data
    model = cls(5, hidden_layer_sizes=(6, 4), activation="tanh", mode="mean", random_state=0, max_iter=2).fit(X, y)
    arrays = model.to_state_dict(linear="mlp")
    names = [f"mlp.{k}.{of}" for k in (0, 2, 4) for of in ("weight", "bias")]
    assert list(arrays) == ["embedding_bag.weight", *names]
    other = cls.from_state_dict(arrays, linear="mlp", mode="mean", activation="tanh")
    assert other.hidden_layer_sizes == (6, 4)
    np.testing.assert_allclose(other.predict(X), model.predict(X), rtol=1e-5)
    other.partial_fit(X, y)
    del arrays["mlp.2.bias"]
    arrays["mlp.2.weight"] = arrays["mlp.2.weight"][:, :5]
    with pytest.raises(ValueError, match=r"mlp\.2\.weight must have one column per row of mlp\.0\.weight, 6, and"):
        cls.from_state_dict(arrays, linear="mlp", mode="mean")


def test_a_frozen_table_is_trained_by_steps(data):
    X, y = data
    table = np.random.default_rng(0).normal(size=(N_COLUMNS, 6)).astype("float32")
    options = {"hidden_layer_sizes": 20, "max_iter": 120, "random_state": 0}
    model = EmbeddingBagClassifier(init=table, freeze=True, **options).fit(X, y)
    assert (model.embeddings_ == table).all()
    assert model.n_iter_ == 120
    assert model.loss_curve_[-1] < 0.6 * model.loss_curve_[0]


def test_a_table_of_any_scale_learns_the_same(data):
    X, y = data
    table = np.random.default_rng(0).normal(size=(N_COLUMNS, 6))
    models = [
        EmbeddingBagClassifier(init=table * s, hidden_layer_sizes=(8, 5), dtype="float64", max_iter=2, random_state=0)
        .fit(X, y).predict_proba(X) for s in (1, 16)
    ]  # fmt: skip
    np.testing.assert_allclose(*models, rtol=1e-4)


# --- bad input


@pytest.mark.parametrize("sizes", [0, -1, (10, 0), (5, -2), 2.5, (3.0,), ("a",), "10", (True,), None, (2**31,)])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_sizes_that_are_none(data, sizes, method):
    X, y = data
    model = EmbeddingBagRegressor(hidden_layer_sizes=sizes)
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        getattr(model, method)(X, y)
    assert not hasattr(model, "coefs_")


def test_activations_that_are_none(data):
    with pytest.raises(ValueError, match="The 'activation' parameter of EmbeddingBagClassifier must be a str among"):
        classifier(activation="gelu").fit(*data)


def test_what_needs_one_layer(data):
    X, y = data
    model = classifier().fit(X, y)
    for call in (lambda: model.contributions(X), model.top_features, model.to_linear):
        with pytest.raises(ValueError, match=r"needs a model without hidden layers, got hidden_layer_sizes=\(7,\)"):
            call()


def test_other_layers_than_before(data):
    X, y = data
    model = classifier(warm_start=True).fit(X, y)
    before = pickle.dumps(arrays_of(model))
    model.set_params(hidden_layer_sizes=(7, 7))
    for call in (model.fit, model.partial_fit):
        message = re.escape("needs the hidden_layer_sizes of the first fit, (7,), got (7, 7)")
        with pytest.raises(ValueError, match=message):
            call(X, y)
    model.set_params(hidden_layer_sizes=())
    with pytest.raises(ValueError, match="needs the hidden_layer_sizes of the first fit"):
        model.partial_fit(X, y)
    assert pickle.dumps(arrays_of(model)) == before
    model.coefs_ = model.coefs_[:1]
    with pytest.raises(ValueError, match="coefs_ must be 2 arrays, got 1"):
        model.predict(X)


def test_layers_on_a_frozen_table_have_the_epochs_that_they_need():
    """They begin with directions that mean nothing, so that the few epochs of a table that learns leave them there."""
    rng = np.random.default_rng(0)
    centres, y = rng.normal(size=(30, 64)), np.arange(3000) % 30
    table = (centres[y] + 1.5 * rng.normal(size=(3000, 64))).astype(np.float32)
    train, test = np.arange(2000), np.arange(2000, 3000)
    X = csr_array(np.eye(3000, dtype=np.float32))
    options = {"init": table, "hidden_layer_sizes": (32,), "random_state": 0}
    frozen = EmbeddingBagClassifier(freeze=True, **options).fit(X[train], y[train])
    linear = EmbeddingBagClassifier(init=table, freeze=True, random_state=0).fit(X[train], y[train])
    assert frozen.score(X[test], y[test]) > linear.score(X[test], y[test]) - 0.03
    assert frozen.n_iter_ == round(5 * 55 / 2000**0.3)
    assert EmbeddingBagClassifier(**options).fit(X[train], y[train]).n_iter_ == np.ceil(38 / 2000**0.3)
    assert EmbeddingBagClassifier(freeze=True, max_iter=2, **options).fit(X[train], y[train]).n_iter_ == 2
