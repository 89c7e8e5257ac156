"""The trainer of the CUDA backend against a float64 reference with formulas of its own: losses, solvers, modes.

Without a GPU the kernels run in Numba's CUDA simulator: NUMBA_ENABLE_CUDASIM=1 pytest tests/test_cuda_training.py.
"""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import reference
from helpers import MODES, csr, random_csr, random_table
from scipy.special import expit, log_softmax
from simulator import SIMULATED

from skbag import EmbeddingBagClassifier
from skbag._backends import get_backend, get_trainer
from skbag._data.bags import bags_from_csr
from skbag._data.blocks import Blocks, Fields
from skbag._data.model import Model, Objective, Parameters, Rates
from skbag._data.targets import Targets
from skbag._rules.activations import ACTIVATIONS
from skbag._rules.elementwise import absolute, exp, maximum, sqrt, where
from skbag._rules.losses import CLASSIFICATION, CROSS_ENTROPY, REGRESSION, Loss
from skbag._rules.solvers import SOLVERS, Solver

TOLERANCE = {"float32": 2e-5, "float64": 1e-11}

# --- a loss and a solver that the package does not have


def log_cosh(z, t):
    """log(cosh(z - t)), without cosh."""
    error = z - t
    size = absolute(error)
    small = exp(-2 * size)
    slope = (1 - small) / (1 + small)
    return size + where(small > 0, small, 0) - 0.25 * small * small, where(error >= 0, slope, -slope)


def momentum(p, g, first, second, step):
    """A velocity, that keeps nine tenths of itself."""
    first = 0.9 * first + g
    return p - step * first, first, second


def careful(state, mean_square, t, rate):
    """Steps that become shorter as the largest gradient grows."""
    state = maximum(state, mean_square)
    return state, rate / sqrt(1 + state + t)


LOG_COSH = Loss("log_cosh", log_cosh)
MOMENTUM = Solver("momentum", careful, momentum, row_state=True, element_states=1, mean_square=True)
LOSSES = [CROSS_ENTROPY, *CLASSIFICATION.values(), *REGRESSION.values(), LOG_COSH]
ALL_SOLVERS = [*SOLVERS.values(), MOMENTUM]

# --- the reference: NumPy's functions, and derivatives of losses by the formulas of textbooks


def derivative(name, z, t):
    s = 2 * t - 1
    return {
        "cross_entropy": lambda: np.exp(log_softmax(z)) - t,
        "log_loss": lambda: expit(z) - t,
        "hinge": lambda: np.where(s * z < 1, -s, 0),
        "squared_hinge": lambda: np.where(s * z < 1, -2 * s * (1 - s * z), 0),
        "modified_huber": lambda: np.where(s * z < -1, -4 * s, np.where(s * z < 1, -2 * s * (1 - s * z), 0)),
        "squared_error": lambda: z - t,
        "absolute_error": lambda: np.sign(z - t),
        "huber": lambda: np.clip(z - t, -1.35, 1.35),
        "poisson": lambda: np.exp(z) - t,
        "log_cosh": lambda: np.tanh(z - t),
    }[name]()


def value(name, z, t):
    s = 2 * t - 1
    size = np.abs(z - t)
    small = np.exp(-2 * size)
    return {
        "cross_entropy": lambda: -t * log_softmax(z),
        "log_loss": lambda: np.logaddexp(0, z) - t * z,
        "hinge": lambda: np.maximum(0, 1 - s * z),
        "squared_hinge": lambda: np.maximum(0, 1 - s * z) ** 2,
        "modified_huber": lambda: np.where(s * z >= -1, np.maximum(0, 1 - s * z) ** 2, -4 * s * z),
        "squared_error": lambda: size**2 / 2,
        "absolute_error": lambda: size,
        "huber": lambda: np.where(size <= 1.35, size**2 / 2, 1.35 * size - 1.35**2 / 2),
        "poisson": lambda: np.exp(z) - t * z,
        "log_cosh": lambda: size + small - small**2 / 4,
    }[name]().sum()


ACTIVATED = {
    "identity": (lambda z: z, lambda z: np.ones_like(z)),
    "logistic": (expit, lambda z: expit(z) * expit(-z)),
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
}


class Reference:
    """A model in float64 whose rows are changed one by one."""

    def __init__(self, arrays, solver, alpha, initial):
        self.arrays = [np.array(array, np.float64) for array in arrays]  # table, weights, intercepts, weights, ...
        self.state = [np.full(len(array), initial) for array in arrays]
        self.first = [np.full(array.shape, initial if solver.name == "adagrad" else 0.0) for array in arrays]
        self.second = [np.zeros(array.shape) for array in arrays]
        self.solver, self.alpha, self.t = solver.name, alpha, 0

    def change(self, where, row, g, rate):
        values, first, second = self.arrays[where], self.first[where], self.second[where]
        alpha = 0.0 if where and where % 2 == 0 else self.alpha
        if self.solver == "sgd":
            values[row] = values[row] - rate * (g + min(alpha, 1 / rate) * values[row])
            return
        g = g + alpha * values[row]
        if self.solver == "rowwise_adagrad":
            self.state[where][row] += np.mean(g**2)
            values[row] -= rate * g / (np.sqrt(self.state[where][row]) + 1e-10)
        elif self.solver == "adagrad":
            first[row] += g**2
            values[row] -= rate * g / (np.sqrt(first[row]) + 1e-10)
        elif self.solver == "adam":
            first[row] = 0.9 * first[row] + 0.1 * g
            second[row] = 0.999 * second[row] + 0.001 * g**2
            size = rate * np.sqrt(1 - 0.999**self.t) / (1 - 0.9**self.t)
            values[row] -= size * first[row] / (np.sqrt(second[row]) + 1e-8)
        else:
            first[row] = 0.9 * first[row] + g
            self.state[where][row] = max(self.state[where][row], np.mean(g**2))
            values[row] -= rate / np.sqrt(1 + self.state[where][row] + self.t) * first[row]

    def epoch(self, case, order, rates):
        """Train on the mini-batches of an order; return the mean loss."""
        total = 0.0
        for k, begin in enumerate(range(0, len(order), case.batch_size)):
            some = order[begin : begin + case.batch_size]
            self.t += 1
            total += self.step(
                case, some, rates.initial - rates.slope * k, [*rates.hidden, (rates.layer, rates.intercept)]
            )
        return total / len(order)

    def step(self, case, some, rate, factors):
        table, *layers = (array.copy() for array in self.arrays)
        gradients, members = np.zeros_like(table), np.zeros(len(table), int)
        of_layers, total, activated = [np.zeros_like(array) for array in layers], 0.0, ACTIVATED[case.activation]
        for b in some:
            ids, weights = case.members[b]
            h, shares = pooled_row(table, ids, weights, case)
            read, sums = forward(h, layers, activated[0])
            scale = case.sample_weight[b] / len(some)
            total += value(case.loss.name, sums[-1], case.dense[b]) * case.sample_weight[b]
            g = derivative(case.loss.name, sums[-1], case.dense[b]) * scale
            for k in range(len(sums) - 1, -1, -1):
                of_layers[2 * k] += np.outer(g, read[k])
                of_layers[2 * k + 1] += g
                g = g @ layers[2 * k] * (activated[1](sums[k - 1]) if k else 1)
            for row, share in zip(ids, shares, strict=True):
                gradients[row] += (share * g.reshape(share.shape)).sum(axis=0)
                members[row] += 1
        for row in [] if case.freeze else np.flatnonzero(members):
            self.change(0, row, gradients[row] / (members[row] if case.by_freq else 1), rate)
            if case.norm is not None:
                self.arrays[0][row] = reference.rescaled(self.arrays[0][[row]], *case.norm)[0]
        norms = [*case.hidden_norms, case.layer_norm]
        for j, ((of_weights, of_intercepts), norm) in enumerate(zip(factors, norms, strict=True)):
            for k in range(len(layers[2 * j])):
                self.change(2 * j + 1, k, of_layers[2 * j][k], rate * of_weights)
                if norm is not None:
                    length, exactly = norm
                    row = self.arrays[2 * j + 1][k]
                    if exactly or np.linalg.norm(row) > length:
                        row *= length / (np.linalg.norm(row) + 1e-7)
                self.change(2 * j + 2, k, of_layers[2 * j + 1][k], rate * of_weights * of_intercepts)
        return total


def forward(h, layers, rule):
    """Return what each layer reads, and its sums."""
    read, sums = [h], []
    for coef, intercept in zip(layers[::2], layers[1::2], strict=True):
        sums.append(coef @ read[-1] + intercept)
        read.append(rule(sums[-1]))
    return read[:-1], sums


def pooled(table, ids, weights, mode):
    """Return the features of a bag, and their derivatives with respect to each member."""
    dim = table.shape[1]
    if not len(ids):
        return np.zeros(dim), np.zeros((0, dim))
    if mode == "max":
        won = np.zeros((len(ids), dim))
        won[table[ids].argmax(axis=0), np.arange(dim)] = 1
        return table[ids].max(axis=0), won
    size = {"sum": 1, "mean": np.abs(weights).sum(), "sqrtn": np.sqrt((weights**2).sum())}[mode]
    return weights @ table[ids] / size, np.repeat(weights[:, None] / size, dim, axis=1)


def pooled_row(table, ids, weights, case):
    """Return a row of features, and their derivatives with respect to each member, (n_members, n_blocks, dim)."""
    modes, edges = [case.mode] if isinstance(case.mode, str) else case.mode, np.cumsum(case.fields or [len(table)])
    field, dim, per_field = np.searchsorted(edges, ids, side="right"), table.shape[1], len(modes) + case.interaction
    blocks = np.zeros((len(edges), per_field, dim))
    derivatives = np.zeros((len(ids), *blocks.shape))
    for f in range(len(edges)):
        own = field == f
        for k, mode in enumerate(modes):
            blocks[f, k], derivatives[own, f, k] = pooled(table, ids[own], weights[own], mode)
    if case.interaction:
        factors, total = derivatives[np.arange(len(ids)), field, 0], blocks[:, 0].sum(axis=0)
        for f in range(len(edges)):
            own, rows = (field == f)[:, None], factors * table[ids]
            blocks[f, 1] = (blocks[f, 0] * total - (own * rows**2).sum(axis=0)) / 2
            derivatives[:, f, 1] = factors * (own * total + blocks[f, 0]) / 2 - own * factors * rows
    return blocks.ravel(), derivatives.reshape(len(ids), len(edges) * per_field, dim)


# --- a case: data and model, for both


def case_of(loss, solver, mode="sum", dtype="float64", *, n=11, dim=6, seed=0, **more):
    """Bags, targets, and a model whose every array is drawn."""
    rng = np.random.default_rng(seed)
    n_columns, n_outputs = 7, 3
    X = random_csr(n, n_columns - 1, dtype=dtype, longest=5, seed=seed)
    X = csr(np.clip(X.data / 3, -1, 1), X.indices, X.indptr, n_columns)  # the last column is in no bag
    if loss.normalized:
        dense = rng.dirichlet(np.ones(n_outputs), n)
        dense[::2] = np.eye(n_outputs)[rng.integers(0, n_outputs, len(dense[::2]))]
    elif loss.name in CLASSIFICATION:
        dense = rng.integers(0, 2, (n, n_outputs)).astype(float)
    else:
        dense = np.where(rng.random((n, n_outputs)) < 0.3, 0, rng.normal(0, 2, (n, n_outputs)))
        dense = np.abs(dense) if loss.name == "poisson" else dense
    options = {"alpha": 0.0, "norm": None, "by_freq": False, "freeze": False, "batch_size": 4, "padding_idx": None}
    options |= {"layer_norm": None, "sizes": (), "activation": "identity", "interaction": False, "fields": None}
    options |= more
    options.setdefault("hidden_norms", (None,) * len(options["sizes"]))
    sample_weight = rng.uniform(0.2, 2, n)
    sample_weight[3::5] = 0
    members = [
        (ids[ids != options["padding_idx"]], weights[ids != options["padding_idx"]])
        for ids, weights in reference.bags_of_csr(X)
    ]
    arrays = [random_table(n_columns, dim, dtype=dtype, seed=seed + 1)]
    n_blocks = Blocks(mode, len(options["fields"] or [0]), options["interaction"]).n_blocks
    for k, (n_inputs, width) in enumerate(pairwise((n_blocks * dim, *options["sizes"], n_outputs))):
        arrays.append(random_table(width, n_inputs, dtype=dtype, seed=5 + 2 * k) / 2)
        arrays.append(random_table(1, width, dtype=dtype, seed=6 + 2 * k)[0] / 2)
    return SimpleNamespace(
        loss=loss, solver=solver, mode=mode, dtype=np.dtype(dtype), X=X, dense=dense, sample_weight=sample_weight,
        members=members, arrays=arrays, **options,
    )  # fmt: skip


def targets_of(dense):
    """Targets as CSR, the columns of a row backwards; without values where they would all be 1."""
    rows, columns = np.nonzero(dense)
    order = np.lexsort((-columns, rows))
    values = dense[rows, columns][order]
    indptr = np.append(0, np.cumsum(np.bincount(rows, minlength=len(dense))))
    return Targets(columns[order], indptr, None if (values == 1).all() else values, dense.shape[1])


def model_of(case, initial=0.25):
    parameters = (Parameters.new(array.copy(), case.solver, initial) for array in case.arrays)
    model = Model.of(parameters, 0, ACTIVATIONS[case.activation])
    return get_trainer("cuda").keep(model, case.dtype)


def bags_of(case):
    bags, fields = bags_from_csr(case.X, dtype=case.dtype, padding_idx=case.padding_idx), case.fields
    return get_backend("cuda").split(bags, Fields.of(fields, case.X.shape[1]).edges) if fields else bags


def trainer_of(case, model, *, undo=False):
    bags = get_backend("cuda").check(bags_of(case), case.mode)
    objective = Objective(
        case.mode, case.loss, case.solver, case.alpha, case.norm, case.by_freq, case.freeze, case.alpha,
        case.layer_norm, interaction=case.interaction, hidden_alpha=case.alpha,
        hidden_norms=case.hidden_norms,
    )  # fmt: skip
    return get_trainer("cuda").Trainer(
        bags, targets_of(case.dense), case.sample_weight, model, objective, case.batch_size, 1, undo=undo
    )


def bits(model):
    return [np.asarray(array).tobytes() for parameters in model.parameters() for array in parameters.arrays()]


def assert_an_epoch_is_right(case, rates, n_epochs=1):
    model = model_of(case)
    trainer = trainer_of(case, model)
    initial = 0.25 if case.solver.accumulates else 0.0
    oracle = Reference(case.arrays, case.solver, case.alpha, initial)
    tolerance = TOLERANCE[str(case.dtype)]
    for epoch in range(n_epochs):
        order = np.random.default_rng(epoch).permutation(case.X.shape[0])
        expected = oracle.epoch(case, order, rates)
        assert trainer.epoch(order, rates) == pytest.approx(expected, rel=tolerance)
    assert model.n_steps == oracle.t
    kinds = zip(model.parameters(), oracle.arrays, oracle.state, oracle.first, oracle.second, strict=True)
    for parameters, values, state, first, second in kinds:
        close = {"rtol": 10 * tolerance, "atol": tolerance}
        np.testing.assert_allclose(np.asarray(parameters.values), values, **close)
        if case.solver.row_state:
            np.testing.assert_allclose(np.asarray(parameters.state), state, **close)
        if case.solver.element_states > 0:
            np.testing.assert_allclose(np.asarray(parameters.first), first, **close)
        if case.solver.element_states > 1:
            np.testing.assert_allclose(np.asarray(parameters.second), second, **close)
    np.testing.assert_array_equal(np.asarray(model.table.values)[-1], case.arrays[0][-1])
    return model


@pytest.mark.parametrize("solver", ALL_SOLVERS, ids=lambda solver: solver.name)
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_every_loss_solver_and_mode(cuda, loss, solver):
    """Every two of them together: of each pair, one of the modes."""
    mode = MODES[(LOSSES.index(loss) + ALL_SOLVERS.index(solver)) % len(MODES)]
    assert_an_epoch_is_right(case_of(loss, solver, mode, n=6), Rates(0.1, 0.02, 0.5, 3.0))


CASES = [
    ("float32", "sum", "sgd", {}),
    ("float32", "mean", "rowwise_adagrad", {"alpha": 0.05}),
    ("float32", "sqrtn", "adagrad", {"padding_idx": 2}),
    ("float32", "max", "adam", {}),
    ("float64", "sum", "rowwise_adagrad", {"norm": (1.3, 2.0), "by_freq": True, "alpha": 0.05, "padding_idx": 0}),
    ("float64", "mean", "sgd", {"norm": (1.7, 1.0), "alpha": 25.0}),
    ("float64", "max", "adagrad", {"norm": (1.9, 2.5), "by_freq": True}),
    ("float64", "sqrtn", "adam", {"norm": (0.6, np.inf), "alpha": 0.1}),
    ("float64", "sum", "momentum", {"norm": (1.3, 2.0), "by_freq": True, "alpha": 0.05}),
    ("float64", "mean", "adam", {"freeze": True, "alpha": 0.1}),
    ("float32", "sqrtn", "rowwise_adagrad", {"layer_norm": (0.7, False)}),
    ("float64", "sum", "rowwise_adagrad", {"layer_norm": (1.1, True), "norm": (1.3, 2.0)}),
]


@pytest.mark.parametrize(("dtype", "mode", "solver", "params"), CASES)
def test_options(cuda, short_windows, dtype, mode, solver, params):
    solver = next(each for each in ALL_SOLVERS if each.name == solver)
    case = case_of(CROSS_ENTROPY, solver, mode, dtype, **params)
    model = assert_an_epoch_is_right(case, Rates(0.1, 0.01, 2.0), n_epochs=2)
    if case.freeze:
        np.testing.assert_array_equal(np.asarray(model.table.values), case.arrays[0])


@pytest.mark.parametrize("n", [60, 300] if SIMULATED else [3000, 9000])
def test_bags_without_members_between_others(cuda, n):
    """A block finds the bags of its members among those of its tile, unless they are more than it has members."""
    case = case_of(CROSS_ENTROPY, SOLVERS["adagrad"], "sqrtn", n=n, batch_size=n - 7)
    full = np.isin(np.arange(n), [1, 2, 3, n // 2 + 1, n - 9, n - 2, n - 1])
    lengths = np.diff(case.X.indptr)
    some, indptr = np.repeat(full, lengths), np.append(0, np.cumsum(lengths * full)).astype(np.int32)
    case.X = csr(case.X.data[some], case.X.indices[some], indptr, case.X.shape[1])
    case.members = [members if kept else (members[0][:0], members[1][:0]) for members, kept in zip(
        case.members, full, strict=True
    )]  # fmt: skip
    assert_an_epoch_is_right(case, Rates(0.1))


HIDDEN = [
    ("float64", "sqrtn", "rowwise_adagrad", (5,), "relu", {"hidden_norms": ((1.4, True),), "layer_norm": (2.0, False)}),
    ("float64", "mean", "adagrad", (3, 9, 4), "tanh", {"alpha": 0.05}),
    ("float32", "mean", "sgd", (12,), "tanh", {}),
    ("float64", "max", "adam", (8,), "logistic", {"hidden_norms": ((0.8, False),)}),
    ("float64", "sum", "sgd", (1, 2), "identity", {"norm": (1.3, 2.0), "by_freq": True, "alpha": 25.0}),
    ("float64", "sqrtn", "momentum", (6, 6), "relu", {"freeze": True}),
]


@pytest.mark.parametrize("case", HIDDEN, ids=lambda case: "-".join(map(str, case[:5])))
def test_hidden_layers(cuda, short_windows, case):
    dtype, mode, solver, sizes, activation, params = case
    solver = next(each for each in ALL_SOLVERS if each.name == solver)
    case = case_of(CROSS_ENTROPY, solver, mode, dtype, sizes=sizes, activation=activation, **params)
    hidden = ((0.5, 2.0), (1.5, 1.0), (3.0, 0.5))[: len(sizes)]
    model = assert_an_epoch_is_right(case, Rates(0.1, 0.01, 2.0, 3.0, hidden), n_epochs=2)
    if case.freeze:
        np.testing.assert_array_equal(np.asarray(model.table.values), case.arrays[0])
    before, trainer = bits(model), trainer_of(case, model, undo=True)
    once, outputs = trainer.epoch(np.arange(11), Rates(0.1, hidden=hidden)), trainer.outputs(np.arange(11))
    found = get_backend("cuda").predict(bags_from_csr(case.X, dtype=case.dtype), model, Blocks(mode), 1)
    layers = [np.asarray(parameters.values, np.float64) for parameters in model.parameters()]
    for b, (ids, weights) in enumerate(case.members):
        h = pooled(layers[0], ids, weights, mode)[0]
        expected = forward(h, layers[1:], ACTIVATED[activation][0])[1][-1]
        np.testing.assert_allclose(outputs[b], expected, rtol=10 * TOLERANCE[dtype], atol=TOLERANCE[dtype])
        np.testing.assert_allclose(found[b], expected, rtol=10 * TOLERANCE[dtype], atol=TOLERANCE[dtype])
    again = bits(model)
    trainer.take_back()
    assert bits(model) == before
    assert trainer.epoch(np.arange(11), Rates(0.1, hidden=hidden)) == once
    assert bits(model) == again


BLOCKS = [
    ("float64", ("mean", "max"), "adam", {}),
    ("float64", ("max", "sqrtn", "sum", "mean"), "rowwise_adagrad", {"padding_idx": 1, "alpha": 0.05}),
    ("float64", ("mean", "sqrtn"), "adagrad", {"by_freq": True}),
    ("float64", "mean", "sgd", {"fields": [3, 0, 4], "norm": (1.3, 2.0)}),
    ("float64", "max", "adagrad", {"fields": [2, 5]}),
    ("float64", ("sqrtn", "max"), "momentum", {"fields": [3, 4], "alpha": 0.05}),
    ("float64", "sum", "rowwise_adagrad", {"interaction": True}),
    ("float64", "mean", "sgd", {"interaction": True, "by_freq": True, "alpha": 0.05}),
    ("float64", "sqrtn", "adam", {"interaction": True, "fields": [3, 0, 2, 2], "padding_idx": 2}),
    ("float32", "sum", "rowwise_adagrad", {"interaction": True, "fields": [3, 4]}),
    ("float64", "mean", "adagrad", {"interaction": True, "fields": [3, 4], "sizes": (4,), "activation": "tanh"}),
    ("float64", "sqrtn", "sgd", {"interaction": True, "freeze": True}),
]


@pytest.mark.parametrize("case", BLOCKS, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}-{'-'.join(case[3])}")
def test_several_modes_fields_and_interactions(cuda, short_windows, case):
    dtype, mode, solver, params = case
    solver = next(each for each in ALL_SOLVERS if each.name == solver)
    case = case_of(CROSS_ENTROPY, solver, mode, dtype, **params)
    rates = Rates(0.1, 0.01, 2.0, 1.0, ((0.5, 2.0),) * len(case.sizes))
    model = assert_an_epoch_is_right(case, rates, n_epochs=2)
    layers, rule = [np.asarray(some.values, np.float64) for some in model.parameters()], ACTIVATED[case.activation][0]
    blocks = Blocks(mode, len(case.fields or [0]), case.interaction)
    found = get_backend("cuda").predict(bags_of(case), model, blocks, 1)
    outputs = trainer_of(case, model).outputs(np.arange(11))
    for b, (ids, weights) in enumerate(case.members):
        expected = forward(pooled_row(layers[0], ids, weights, case)[0], layers[1:], rule)[1][-1]
        for actual in (found[b], outputs[b]):
            np.testing.assert_allclose(actual, expected, rtol=10 * TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dim", [1, 3, 33])
@pytest.mark.parametrize("solver", ALL_SOLVERS, ids=lambda solver: solver.name)
def test_widths(cuda, solver, dim):
    assert_an_epoch_is_right(case_of(REGRESSION["huber"], solver, "sum", n=6, dim=dim), Rates(0.1))


@pytest.mark.parametrize("solver", ALL_SOLVERS, ids=lambda solver: solver.name)
@pytest.mark.parametrize(
    "params", [{}, {"freeze": True}, {"batch_size": 11, "padding_idx": 1}], ids=["trained", "frozen", "one mini-batch"]
)
def test_take_back_is_exact(cuda, solver, params):
    case = case_of(CLASSIFICATION["log_loss"], solver, **params)
    model = model_of(case)
    trainer_of(case, model).epoch(np.arange(11), Rates(0.1))
    before, n_steps = bits(model), model.n_steps
    trainer = trainer_of(case, model, undo=True)
    trainer.epoch(np.arange(11), Rates(0.1))
    trainer.epoch(np.arange(11), Rates(0.1))
    assert bits(model) != before
    assert model.n_steps == n_steps + 2 * -(-11 // case.batch_size)
    trainer.take_back()
    assert bits(model) == before
    assert model.n_steps == n_steps
    once, again = trainer.epoch(np.arange(11), Rates(0.1)), bits(model)
    trainer.take_back()
    assert trainer.epoch(np.arange(11), Rates(0.1)) == once
    assert bits(model) == again


@pytest.mark.parametrize("sizes", [(), (4,)], ids=["", "hidden"])
@pytest.mark.parametrize("solver", ALL_SOLVERS, ids=lambda solver: solver.name)
def test_divergence_is_noticed_and_taken_back(cuda, solver, sizes):
    case = case_of(REGRESSION["squared_error"], solver, sizes=sizes)
    model = model_of(case)
    before = bits(model)
    trainer = trainer_of(case, model, undo=True)
    assert np.isnan(trainer.epoch(np.arange(11), Rates(1e300, hidden=((1.0, 1.0),) * len(sizes))))
    assert model.n_steps == 0
    trainer.take_back()
    assert bits(model) == before


def test_a_state_that_becomes_infinite_is_divergence(cuda):
    for solver in (SOLVERS["rowwise_adagrad"], SOLVERS["adagrad"], SOLVERS["adam"]):
        case = case_of(REGRESSION["squared_error"], solver)
        case.dense = case.dense * 1e160
        assert np.isnan(trainer_of(case, model_of(case)).epoch(np.arange(11), Rates(1e-3)))


def test_a_restored_copy_is_the_model(cuda):
    case = case_of(CROSS_ENTROPY, SOLVERS["adam"])
    model = model_of(case)
    trainer = trainer_of(case, model)
    trainer.epoch(np.arange(11), Rates(0.1))
    best, kept = model.copy(), bits(model)
    outputs = trainer.outputs(np.arange(11))
    trainer.epoch(np.arange(11), Rates(0.1))
    assert bits(model) != kept
    for parameters, old in zip(model.parameters(), best.parameters(), strict=True):
        for array, value in zip(parameters.arrays(), old.arrays(), strict=True):
            array[:] = value
    assert bits(model) == kept
    assert trainer.outputs(np.arange(11)).tobytes() == outputs.tobytes()


def test_two_epochs_are_the_same_bytes(cuda):
    case = case_of(CROSS_ENTROPY, SOLVERS["adam"], "max", "float32")
    models = [model_of(case) for _ in range(2)]
    for model in models:
        trainer_of(case, model).epoch(np.arange(11), Rates(0.1))
    assert bits(models[0]) == bits(models[1])


@pytest.mark.parametrize("solver", ALL_SOLVERS, ids=lambda solver: solver.name)
def test_half_as_many_threads_change_a_row_to_the_same_bytes(cuda, monkeypatch, solver):
    from skbag._cuda import step, update

    case, found = case_of(CROSS_ENTROPY, solver, "mean", "float32", norm=(1.3, 2.0)), []
    for halved in (update.halved, lambda shape: shape):
        monkeypatch.setattr(update, "halved", halved)
        for factory in (step.train_kernel, update.update_of):
            factory.cache_clear()
        model = model_of(case)
        trainer_of(case, model).epoch(np.arange(11), Rates(0.1))
        found.append(bits(model))
    for factory in (step.train_kernel, update.update_of):
        factory.cache_clear()
    assert found[0] == found[1]


# --- outputs and predictions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
def test_outputs_and_predictions(cuda, mode, dtype):
    case = case_of(CROSS_ENTROPY, SOLVERS["sgd"], mode, dtype, padding_idx=1)
    model, backend = model_of(case), get_backend("cuda")
    table, coef, intercept = (array.astype(np.float64) for array in case.arrays)
    expected = np.array([coef @ pooled(table, *bag, mode)[0] + intercept for bag in case.members])
    bags = bags_from_csr(case.X, dtype=case.dtype, padding_idx=1)
    found = backend.predict(bags, model, Blocks(mode), 1)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    chosen = backend.predict(bags, model, Blocks(mode), 1, choose=True)
    assert chosen.dtype == np.int64
    np.testing.assert_array_equal(chosen, expected.argmax(axis=1))
    rows = np.array([7, 2, 2, 0])
    some = trainer_of(case, model).outputs(rows)
    np.testing.assert_allclose(some, expected[rows], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    for b in range(len(expected)):  # a row is the same alone
        alone = bags_from_csr(case.X[[b]], dtype=case.dtype, padding_idx=1)
        assert backend.predict(alone, model, Blocks(mode), 1).tobytes() == found[b].tobytes()


def test_predictions_in_blocks_and_from_other_tables(cuda, monkeypatch):
    from skbag._cuda import staging

    case = case_of(CROSS_ENTROPY, SOLVERS["sgd"])
    model, backend = model_of(case), get_backend("cuda")
    bags = bags_from_csr(case.X, dtype=case.dtype)
    expected = [backend.predict(bags, model, Blocks("sum"), 1, choose=choose) for choose in (False, True)]
    monkeypatch.setattr(staging, "BLOCK_BYTES", 200)
    plain = Model.of(Parameters.new(array, case.solver) for array in case.arrays)
    for choose in (False, True):
        np.testing.assert_array_equal(backend.predict(bags, model, Blocks("sum"), 1, choose=choose), expected[choose])
        np.testing.assert_array_equal(backend.predict(bags, plain, Blocks("sum"), 1, choose=choose), expected[choose])
    nothing = bags_from_csr(case.X[:0], dtype=case.dtype)
    assert backend.predict(nothing, model, Blocks("sum"), 1).shape == (0, 3)
    assert backend.predict(nothing, model, Blocks("sum"), 1, choose=True).shape == (0,)


def test_one_output_and_ties(cuda):
    X = csr(np.ones(3), np.array([0, 1, 2]), np.array([0, 1, 2, 3]), 3)
    bags, backend, solver = bags_from_csr(X, dtype="float64"), get_backend("cuda"), SOLVERS["sgd"]

    def predict(coef, intercept):
        table = np.array([[1.0], [0.0], [-1.0]])
        model = Model.of(Parameters.new(np.array(array), solver) for array in (table, coef, intercept))
        return backend.predict(bags, model, Blocks("sum"), 1, choose=True).tolist()

    assert predict([[2.0]], [0.0]) == [1, 0, 0]
    assert predict([[1.0], [1.0], [-1.0]], [0.0, 0.0, 0.0]) == [0, 0, 2]


def test_extreme_weights_and_bad_members(cuda):
    case = case_of(CROSS_ENTROPY, SOLVERS["sgd"], "sqrtn")
    model, backend, X = model_of(case), get_backend("cuda"), case.X
    expected = backend.predict(bags_from_csr(X, dtype="float64"), model, Blocks("sqrtn"), 1)
    large = csr(X.data * 2.0**1000, X.indices, X.indptr, X.shape[1])
    np.testing.assert_allclose(
        backend.predict(bags_from_csr(large, dtype="float64"), model, Blocks("sqrtn"), 1), expected
    )
    broken = csr(X.data, X.indices.copy(), X.indptr, X.shape[1])
    broken.indices[3] = 7
    with pytest.raises(ValueError, match="contains the id 7 in row"):
        backend.predict(bags_from_csr(broken, dtype="float64"), model, Blocks("sqrtn"), 1)


# --- launches


@pytest.fixture
def launches(cuda, monkeypatch):
    """The names of the kernels that are launched."""
    from skbag._cuda import training
    from skbag._cuda.device import Device

    made, original = [], Device.launch_blocks
    monkeypatch.setattr(
        Device, "launch_blocks",
        lambda self, kernel, *args, **kwargs: made.append(kernel.__name__) or original(self, kernel, *args, **kwargs),
    )  # fmt: skip
    monkeypatch.setattr(training, "_TURN", 1e6)
    return made


@pytest.fixture
def separate(cuda, monkeypatch):
    """A GPU without cooperative launches."""
    from skbag._cuda.device import Device

    monkeypatch.setattr(Device, "cooperates", False)


@pytest.mark.parametrize("solver", ALL_SOLVERS, ids=lambda solver: solver.name)
def test_an_epoch_is_four_launches(cuda, launches, solver):
    case = case_of(CROSS_ENTROPY, solver, n=11)
    trainer = trainer_of(case, model_of(case))
    launches.clear()
    trainer.epoch(np.arange(11), Rates(0.1))
    assert launches == ["expand", "sort", "arrange", "train"]


def test_a_frozen_table_is_not_sorted(cuda, launches):
    case = case_of(CROSS_ENTROPY, SOLVERS["sgd"], freeze=True)
    trainer = trainer_of(case, model_of(case))
    launches.clear()
    trainer.epoch(np.arange(11), Rates(0.1))
    assert launches == ["expand", "train"]


def test_long_epochs_come_back_in_between(cuda, launches, monkeypatch):
    from skbag._cuda import parts, training

    monkeypatch.setattr(training, "_TURN", 0.0)
    monkeypatch.setattr(training, "_FIRST_TURN", 1)
    case = case_of(CROSS_ENTROPY, SOLVERS["adam"], batch_size=2)
    models = [model_of(case) for _ in range(2)]
    trainer = trainer_of(case, models[0])
    launches.clear()
    losses = [trainer.epoch(np.arange(11), Rates(0.1, 0.01))]
    assert launches == ["expand", "sort", "arrange"] + ["train"] * 6
    monkeypatch.setattr(parts, "MOST_MEMBERS", 9)  # of mini-batches that are prepared together
    trainer = trainer_of(case, models[1])
    launches.clear()
    losses.append(trainer.epoch(np.arange(11), Rates(0.1, 0.01)))
    assert launches.count("sort") > 1
    assert launches.count("train") == 6
    assert losses[0] == losses[1]
    assert bits(models[0]) == bits(models[1])


@pytest.mark.usefixtures("separate")
def test_without_cooperative_launches_a_step_is_four(cuda, launches):
    case = case_of(CROSS_ENTROPY, SOLVERS["rowwise_adagrad"], n=11, batch_size=4)
    trainer = trainer_of(case, model_of(case))
    launches.clear()
    trainer.epoch(np.arange(11), Rates(0.1))
    assert launches.count("train") == 3 * 4
    digits = 1 if SIMULATED else -(-(7).bit_length() // 6)
    assert len(launches) == 3 * 4 + 2 + 4 * digits + 4


@pytest.mark.usefixtures("separate")
@pytest.mark.parametrize("mode", MODES)
def test_phases_one_by_one_are_the_same_bytes(cuda, monkeypatch, mode):
    from skbag._cuda.device import Device

    if SIMULATED:
        from skbag._cuda import pooling

        monkeypatch.setattr(pooling, "WINDOW", 4)
    case = case_of(CROSS_ENTROPY, SOLVERS["rowwise_adagrad"], mode, "float32", padding_idx=1)
    models = [model_of(case) for _ in range(2)]
    for cooperates, model in zip((False, True), models, strict=True):
        monkeypatch.setattr(Device, "cooperates", cooperates)
        trainer_of(case, model).epoch(np.arange(11), Rates(0.1))
    assert bits(models[0]) == bits(models[1])


def test_a_mini_batch_after_the_first_allocates_nothing(cuda, launches, monkeypatch):
    import gc

    from skbag._cuda.device import Device

    case = case_of(CROSS_ENTROPY, SOLVERS["adagrad"])
    case.batch_size = 11
    model, allocated = model_of(case), []
    trainer_of(case, model).epoch(np.arange(11), Rates(0.1))
    gc.collect()
    original = Device.empty
    monkeypatch.setattr(
        Device, "empty", lambda self, shape, *args: allocated.append(shape) or original(self, shape, *args)
    )
    launches.clear()
    trainer_of(case, model).epoch(np.arange(11), Rates(0.1))
    assert not allocated
    assert len(launches) == 4


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_partial_fit_is_five_launches_and_allocates_nothing(cuda, launches, monkeypatch, solver, dtype):
    """Four, and one that keeps the rows for the case that the call fails; all memory is that of the first call."""
    from skbag._cuda.device import Device

    X, y, allocated, original = random_csr(), np.arange(12) % 2, [], Device.empty
    model = EmbeddingBagClassifier(4, batch_size=12, solver=solver, dtype=dtype, device=cuda, random_state=0)
    lengths = np.diff(X.indptr)
    some = np.arange(12) != np.where(lengths, lengths, 99).argmin()  # a few members less: then more have room
    model.partial_fit(X[some], y[some], classes=[0, 1])
    monkeypatch.setattr(
        Device, "empty", lambda self, shape, *args: allocated.append(shape) or original(self, shape, *args)
    )
    launches.clear()
    model.partial_fit(X, y)
    assert launches == ["expand", "sort", "arrange", "keep", "train"]
    assert not allocated


def test_an_order_of_some_bags_is_taken_back(cuda):
    case = case_of(CROSS_ENTROPY, SOLVERS["adam"], batch_size=11)
    model = model_of(case)
    before, trainer = bits(model), trainer_of(case, model, undo=True)
    trainer.epoch(np.arange(4), Rates(0.1))
    trainer.epoch(np.arange(11), Rates(0.1))
    assert bits(model) != before
    trainer.take_back()
    assert bits(model) == before


def test_trainers_side_by_side_have_memory_of_their_own(cuda):
    case = case_of(CROSS_ENTROPY, SOLVERS["adam"])
    models = [model_of(case) for _ in range(2)]
    trainers = [trainer_of(case, model) for model in models]
    for trainer in trainers:
        trainer.epoch(np.arange(11), Rates(0.1))
    for trainer in trainers[::-1]:
        trainer.epoch(np.arange(11)[::-1], Rates(0.1))
    assert bits(models[0]) == bits(models[1])


# --- sizes that no test has the memory for


@pytest.mark.skipif(not SIMULATED, reason="an array that only says what is read of it")
@pytest.mark.parametrize("start", [0, 2**31 - 3, 2**31, 2**40])
def test_outputs_of_a_mini_batch_may_be_more_than_32_bits_number(cuda, start):
    """65,536 rows with 32,768 classes are 2**31: the members of the gradient of a layer."""
    from skbag._cuda import pooling, structs, update
    from skbag._cuda.tile import full

    rng = np.random.default_rng(0)
    inputs, weights = rng.random((7, 4)), rng.random(7)

    class Outputs:
        dtype = weights.dtype

        def __getitem__(self, where):
            if isinstance(where, slice):
                return weights[where.start - start :]
            assert start <= where < start + len(weights)
            return weights[where - start]

    source = structs.Source(inputs, None, None, None, None, Outputs())
    state = full(0.0, 4, 1), full(np.int32(-1), 4, 1), 0.0
    ((found,), _, _) = pooling.reduce_segment(
        pooling.FEW, update.LAYER_KIND, source, structs.Windows(None, None, weights, 0), state, np.int64(-1),
        np.int64(start), np.int64(start), np.int64(start + 7), 0, 1,
    )  # fmt: skip
    np.testing.assert_allclose(found, weights @ inputs)


@pytest.mark.parametrize("n_members", [0, 1, 100, 5000])
def test_mini_batches_are_prepared_in_memory_that_does_not_depend_on_how_many_they_are(cuda, n_members):
    from skbag._cuda import parts

    n_batches = 10**7 // max(1, n_members // 20)
    edges, most = np.arange(n_batches + 1) * n_members, 50 * parts.MOST_MEMBERS * 1.1
    cuts = list(parts.cuts_of(edges))
    assert [cut.first for cut in cuts[1:]] == [cut.last for cut in cuts[:-1]]
    assert (cuts[0].first, cuts[-1].last) == (0, n_batches)
    for cut in cuts:
        n_tiles = int(-(-np.diff(cut.batches) // 1920).sum())  # as on a GPU, where a digit has 8 bits
        assert 50 * cut.n_members + 4 * (n_tiles << 8) + 16 * len(cut.batches) <= most
