"""Losses and solvers: their formulas, and that the kernels of every device train with rules that come from outside."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
import training_reference
from helpers import FLOATS, csr, random_csr, random_table, run_python
from scipy.optimize import approx_fprime

from skbag._backends import get_backend, get_trainer
from skbag._compiled import cache
from skbag._cpu.head import head_kernel
from skbag._cpu.jit import as_rule, kernel
from skbag._cpu.memory import item_bytes
from skbag._cpu.tile import full, load, store
from skbag._cpu.update import update_kernel
from skbag._cpu.vector import as_tile
from skbag._data.bags import bags_from_csr
from skbag._data.model import Model, Objective, Parameters, Rates
from skbag._data.targets import Targets
from skbag._rules.elementwise import absolute, exp, log, log1p, maximum, minimum, sqrt, where
from skbag._rules.losses import CLASSIFICATION, CROSS_ENTROPY, REGRESSION, Loss
from skbag._rules.solvers import SOLVERS, Solver

LOSSES = {**CLASSIFICATION, **REGRESSION}
NAMES = {"log_loss": "sigmoid"}  # of the oracle
POINTS = np.random.default_rng(0).normal(0, 1.5, 200)
KINKS = {"hinge": [1], "absolute_error": [0]}  # of s * z, or of z - t: no derivative there


def targets_of(name, n):
    if name in CLASSIFICATION:
        return np.arange(n) % 2.0
    t = np.random.default_rng(1).normal(0, 1, n)
    return np.abs(t) if name == "poisson" else t


# --- losses


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_its_formula(name):
    t = targets_of(name, len(POINTS))
    value, derivative = LOSSES[name].rule(POINTS, t)
    for i, z in enumerate(POINTS):
        arguments = np.array([z]), t[i : i + 1], NAMES.get(name, name)
        assert value[i] == pytest.approx(training_reference.loss_of(*arguments), rel=1e-13)
        assert derivative[i] == pytest.approx(training_reference.loss_gradient(*arguments)[0], rel=1e-12)
        assert LOSSES[name].rule(z, t[i]) == pytest.approx((value[i], derivative[i]), rel=1e-15)  # of numbers


@pytest.mark.parametrize("name", LOSSES)
def test_a_derivative_is_the_finite_difference_of_its_loss(name):
    h, t = 1e-5, targets_of(name, len(POINTS))
    place = (2 * t - 1) * POINTS if name in CLASSIFICATION else POINTS - t
    smooth = np.all([np.abs(place - kink) > 2 * h for kink in KINKS.get(name, [])], axis=0)
    rule = LOSSES[name].rule
    expected = (rule(POINTS + h, t)[0] - rule(POINTS - h, t)[0]) / (2 * h)
    actual = rule(POINTS, t)[1]
    np.testing.assert_allclose(actual[smooth], expected[smooth], rtol=0, atol=1e-4 if name == "poisson" else 3e-5)
    assert np.abs(actual).max() > 0.5


@pytest.mark.parametrize("name", ["hinge", "squared_hinge", "modified_huber"])
def test_a_margin_that_is_large_enough_costs_nothing(name):
    for t, sign in ((1.0, 1), (0.0, -1)):
        value, derivative = LOSSES[name].rule(sign * np.array([1.0, 1.5, 40]), np.full(3, t))
        assert not value.any()
        assert not derivative.any()


def test_cross_entropy_is_that_of_a_softmax():
    rng = np.random.default_rng(2)
    logits, t = rng.normal(0, 2, 5), rng.dirichlet(np.ones(5))
    t[1] = 0
    t /= t.sum()

    def value(logits):
        return CROSS_ENTROPY.rule(logits - np.logaddexp.reduce(logits), t)[0].sum()

    derivative = CROSS_ENTROPY.rule(logits - np.logaddexp.reduce(logits), t)[1]
    assert value(logits) == pytest.approx(training_reference.loss_of(logits, t, "softmax"), rel=1e-13)
    np.testing.assert_allclose(derivative, approx_fprime(logits, value, 1e-6), atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"poisson"}))
def test_extreme_outputs_cost_no_nan(name):
    z = np.array([-1e4, 1e4, -700, 700])
    for t in (0.0, 1.0):
        value, derivative = LOSSES[name].rule(z, t)
        assert np.isfinite(value).all()
        assert np.isfinite(derivative).all()
        assert (value >= 0).all()


# --- solvers


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_is_its_formula(name):
    rng, solver = np.random.default_rng(3), SOLVERS[name]
    p, state, first, second = rng.normal(size=5), 0.01, np.full(5, 0.01), np.zeros(5)
    if name == "adam":
        first = np.zeros(5)
    oracle = training_reference.Model(p[None], np.zeros((1, 5)), np.zeros(1), 0.01)
    for t in range(1, 6):
        g = rng.normal(size=5)
        state, step = solver.row(state, np.mean(g**2), t, 0.3)
        p, first, second = solver.element(p, g, first, second, step)
        oracle.n_steps = t
        training_reference.update(oracle, 0, 0, g, 0.3, name)
        np.testing.assert_allclose(p, oracle.table[0], rtol=1e-13)
    if solver.row_state:
        assert state == pytest.approx(oracle.sums[0][0, 0], rel=1e-13)
    assert solver.linear == (name == "sgd")


@pytest.mark.parametrize("name", SOLVERS)
def test_no_gradient_is_no_step_of_a_fresh_row(name):
    solver, p = SOLVERS[name], np.array([0.3, -2.0])
    _, step = solver.row(0.1, 0.0, 1, 0.5)
    assert (solver.element(p, np.zeros(2), np.zeros(2), np.zeros(2), step)[0] == p).all()


def test_the_penalty_of_sgd_shrinks_a_row_to_zero_at_most():
    for rate, alpha, kept in ((0.1, 1.0, 0.9), (0.1, 10.0, 0.0), (0.1, 1e300, 0.0)):
        assert 1 - rate * SOLVERS["sgd"].penalty(rate, alpha) == pytest.approx(kept, abs=1e-15)
    assert SOLVERS["adam"].penalty(0.1, 30.0) == 30


# --- rules that the package does not have


def log_cosh(z, t):
    size = absolute(z - t)
    small = exp(-2 * size)
    slope = (1 - small) / (1 + small)
    return size + log1p(small) - 0.6931471805599453, where(z > t, slope, -slope)


def same_step(state, mean_square, t, rate):
    return state, rate


def with_momentum(p, g, first, second, step):
    first = 0.9 * first + g
    return p - step * first, first, second


def centred_rms(p, g, first, second, step):
    first = 0.9 * first + 0.1 * g
    second = 0.9 * second + 0.1 * g * g
    return p - step * g / sqrt(second - first * first + 1e-3), first, second


def forgetting(state, mean_square, t, rate):
    state = 0.5 * state + mean_square + 0.01 * t
    return state, rate / sqrt(state)


def along(p, g, first, second, step):
    return p - step * g, first, second


OUTSIDE = [
    Solver("momentum", same_step, with_momentum, element_states=1),
    Solver("centred_rmsprop", same_step, centred_rms, element_states=2),
    Solver("forgetting", forgetting, along, row_state=True, mean_square=True),
]
N_ROWS, N_COLUMNS, DIM, N_OUTPUTS, BATCH = 26, 11, 5, 3, 8


class Plain:
    """Parameters of the reference: NumPy's log(cosh), and the solvers written down again, in float64."""

    def __init__(self, values):
        self.values = np.array(values, np.float64)
        self.state = np.zeros(len(values))
        self.first, self.second = np.zeros_like(self.values), np.zeros_like(self.values)

    def step(self, name, row, g, t, rate):
        if name == "forgetting":
            self.state[row] = self.state[row] / 2 + np.mean(g**2) + t / 100
            self.values[row] -= rate / np.sqrt(self.state[row]) * g
        elif name == "momentum":
            self.first[row] = 0.9 * self.first[row] + g
            self.values[row] -= rate * self.first[row]
        else:
            self.first[row] += (g - self.first[row]) / 10
            self.second[row] += (g**2 - self.second[row]) / 10
            self.values[row] -= rate * g / np.sqrt(self.second[row] - self.first[row] ** 2 + 1e-3)


def reference_epoch(parameters, bags, t, weights, name, alpha, rates, number):
    """Train for an epoch of mini-batches of summed bags; return the mean loss."""
    table, layer, intercept = parameters
    total = 0.0
    for k, first in enumerate(range(0, len(bags), BATCH)):
        some, rate = bags[first : first + BATCH], rates.initial - rates.slope * k
        named = sorted({int(i) for ids, w in some for i in ids[w != 0]})
        pooled = np.array([w @ table.values[ids] if len(ids) else np.zeros(DIM) for ids, w in some])
        z = pooled @ layer.values.T + intercept.values
        error, share = z - t[first : first + BATCH], weights[first : first + BATCH, None] / len(some)
        total += (np.log(np.cosh(error)) * share).sum() * len(some)
        g = np.tanh(error) * share
        of_pooled, of_table = g @ layer.values, np.zeros_like(table.values)
        for (ids, w), gradient in zip(some, of_pooled, strict=True):
            for i, weight in zip(ids, w, strict=True):
                of_table[i] += weight * gradient
        of_layer, of_intercept = g.T @ pooled + alpha * layer.values, g.sum(axis=0)
        for i in named:
            table.step(name, i, of_table[i] + alpha * table.values[i], number + k, rate)
        for j in range(N_OUTPUTS):
            layer.step(name, j, of_layer[j], number + k, rate * rates.layer)
            intercept.step(name, j, of_intercept[j], number + k, rate * rates.layer * rates.intercept)
    return total / len(bags)


@pytest.mark.parametrize(("dtype", "solver"), [  # every pair is compiled, every time
    ("float64", OUTSIDE[0]), ("float64", OUTSIDE[1]), ("float32", OUTSIDE[2]),
], ids=lambda value: getattr(value, "name", value))  # fmt: skip
def test_a_loss_and_a_solver_from_outside(device, dtype, solver):
    rng = np.random.default_rng(5)
    X = random_csr(N_ROWS, N_COLUMNS - 1, dtype=dtype)  # its last column has no member
    X = csr(X.data, X.indices, X.indptr, N_COLUMNS)
    t, weights = rng.normal(0, 2, (N_ROWS, N_OUTPUTS)), rng.uniform(0.2, 3, N_ROWS)
    values = random_table(N_COLUMNS, DIM), rng.normal(size=(N_OUTPUTS, DIM)), rng.normal(size=N_OUTPUTS)
    trainer = get_trainer(device)
    model = Model.of(Parameters.new(np.ascontiguousarray(v, dtype), solver) for v in values)
    model = trainer.keep(model, np.dtype(dtype))
    targets = Targets(np.tile(np.arange(N_OUTPUTS), N_ROWS), np.arange(N_ROWS + 1) * N_OUTPUTS, t.ravel(), N_OUTPUTS)
    bags = get_backend(device).check(bags_from_csr(X, dtype=np.dtype(dtype), weighted=True, padding_idx=None), "sum", 1)
    objective = Objective("sum", Loss("log_cosh", log_cosh), solver, alpha=0.01, layer_alpha=0.01)
    training = trainer.Trainer(bags, targets, weights, model, objective, BATCH, 1)
    plain = [Plain(v.astype(dtype)) for v in values]
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    for epoch, rates in enumerate([Rates(0.1), Rates(0.1, 0.1 / 4, layer=0.5, intercept=3.0)]):
        loss = training.epoch(np.arange(N_ROWS), rates)
        members = reference.bags_of_csr(X)
        expected = reference_epoch(plain, members, t, weights, solver.name, 0.01, rates, 1 + 4 * epoch)
        assert loss == pytest.approx(expected, rel=tolerance)
    for actual, expected in zip(model.parameters(), plain, strict=True):
        np.testing.assert_allclose(np.asarray(actual.values), expected.values, rtol=tolerance, atol=tolerance)
        if solver.row_state:
            np.testing.assert_allclose(np.asarray(actual.state), expected.state, rtol=tolerance, atol=tolerance)
        states = expected.first, expected.second
        for k in range(solver.element_states):
            np.testing.assert_allclose(np.asarray(actual.arrays()[2 + k]), states[k], rtol=tolerance, atol=tolerance)
    assert np.asarray(model.table.values)[-1].tobytes() == values[0][-1].astype(dtype).tobytes()


# --- on disk

TRAIN = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from my_loss import rule
from skbag._cpu.training import Trainer
from skbag._data.bags import bags_from_csr
from skbag._data.model import Model, Objective, Parameters, Rates
from skbag._data.targets import Targets
from skbag._rules.losses import Loss
from skbag._rules.solvers import SOLVERS
from scipy.sparse import csr_array
solver, dtype = SOLVERS["sgd"], np.dtype("float64")
model = Model.of(Parameters.new(a, solver) for a in (np.ones((2, 5)), np.ones((1, 5)), np.zeros(1)))
bags = bags_from_csr(csr_array(np.eye(2)), dtype=dtype, weighted=True, padding_idx=None)
targets = Targets(np.zeros(2, np.int64), np.arange(3), np.zeros(2), 1)
trainer = Trainer(bags, targets, np.ones(2), model, Objective("sum", Loss("mine", rule), solver), 2, 1)
print(trainer.epoch(np.arange(2), Rates(0.0)))
"""


def test_a_rule_that_was_edited_is_compiled_again_even_with_numba_switched_off(tmp_path):
    for factor, off in ((2, "0"), (3, "1")):  # the outputs are 5, the targets 0
        (tmp_path / "my_loss.py").write_text(f"def rule(z, t):\n    return {factor} * (z - t), z - t\n")
        environment = {"PYTHONDONTWRITEBYTECODE": "1", "NUMBA_DISABLE_JIT": off}
        assert float(run_python(TRAIN, tmp_path, env=environment)) == 5 * factor


def own(x, y):
    return x + y


@pytest.mark.parametrize(("rule", "hits"), [(own, [0, 0]), (SOLVERS["sgd"].penalty, [0, 1])])
def test_only_rules_of_the_package_are_on_disk(tmp_path, monkeypatch, rule, hits):
    monkeypatch.setattr(cache.config, "CACHE_DIR", str(tmp_path))
    cache._folder.cache_clear()
    compiled = as_rule(rule)

    def ruled():  # a new dispatcher knows nothing of the one before: as in another process
        @kernel
        def of_a_rule(x):
            return compiled(x, x)

        return of_a_rule

    found = []
    for _ in hits:
        kernel_ = ruled()
        assert kernel_(0.5) == rule(0.5, 0.5)
        found.append(sum(kernel_.stats.cache_hits.values()))
    cache._folder.cache_clear()
    assert found == hits
    assert len(list(tmp_path.glob("skbag/*"))) == max(hits)


@pytest.mark.parametrize("make", [
    lambda solver: update_kernel.__wrapped__(solver),
    lambda solver: head_kernel.__wrapped__(4, 4, Loss("", solver.element)),
])  # fmt: skip
def test_kernels_of_a_rule_are_the_same_in_every_process(make):
    one, other = (cache._identity(make(SOLVERS["adam"])) for _ in range(2))
    assert one == other
    assert one != cache._identity(make(SOLVERS["adagrad"]))
    with pytest.raises(ValueError, match=r"test_rules\.with_momentum is not of this package"):
        cache._identity(make(OUTSIDE[0]))


def test_max_and_min_in_kernels_are_those_of_python():
    """Which of two equal ones, or of NaN and a number, comes back goes by their order."""

    @kernel
    def both(x, y):
        return max(x, y), min(x, y)

    numbers = [0.0, -0.0, 1.5, -np.inf, np.nan, 0, 2, -3]
    for x in numbers:
        for y in numbers:
            expected = [str(float(number)) for number in (max(x, y), min(x, y))]
            assert [str(float(number)) for number in both(x, y)] == expected, (x, y)
    assert both(np.int32(-5), np.int64(1 << 40)) == (1 << 40, -5)


@pytest.mark.parametrize("dtype", FLOATS)
def test_words_of_rules_mean_in_kernels_what_they_mean_in_numpy(dtype):
    """At the ends of the dtype, too, and of NaN, which a loss must not hide."""

    @kernel
    def compute(x, y, out):
        tile, size = full(x.dtype.type(0), 4, 1), item_bytes(x)
        for i in range(0, len(x), 4):
            at = np.uintp(i) * size
            one = load(tile, np.uintp(x.ctypes.data) + at, 0)
            other = load(tile, np.uintp(y.ctypes.data) + at, 0)
            place = np.uintp(out.ctypes.data) + at
            for found in (
                maximum(one, other), minimum(one, other), where(one < other, one, 2), exp(one), absolute(one),
                sqrt(absolute(one)), log(absolute(one)), log1p(1 / (1 + absolute(one))),
            ):  # fmt: skip
                store(as_tile(tile, found), place, 0)
                place += np.uintp(len(x)) * size

    numbers = [0, -0.0, 1, -1, 0.3, -20, 60, -60, 1e30, -1e30, np.inf, -np.inf, np.nan, 1e-30, -1e-30, 2.5]
    x, y = (array.ravel().astype(dtype) for array in np.meshgrid(numbers, numbers))
    out = np.empty((8, len(x)), dtype)
    compute(x, y, out)
    with np.errstate(all="ignore"):
        size = np.abs(x)
        expected = [
            np.maximum(x, y), np.minimum(x, y), np.where(x < y, x, 2), np.exp(x), size, np.sqrt(size), np.log(size),
            np.log1p(1 / (1 + size)),
        ]  # fmt: skip
        for found, right in zip(out, expected, strict=True):
            np.testing.assert_allclose(found, right, rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)


def test_threads_that_ask_at_once_get_one_rule():
    """Numba refuses to know a function twice, and then compiles nothing any more in this process."""
    rules = [lambda x, k=k: x + k for k in range(20)]
    barrier, interval = threading.Barrier(8), sys.getswitchinterval()

    def ask(_):
        found = []
        for rule in rules:
            barrier.wait()
            found.append(id(as_rule(rule)))
        return found

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(ask, range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert found == [found[0]] * 8
