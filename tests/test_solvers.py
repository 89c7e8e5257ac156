"""Solvers against torch's, and what a row keeps that no member names."""

import numpy as np
import pytest
import reference
from helpers import FLOATS, MODES, csr, learnt, random_csr, random_table
from scipy.sparse import csr_array

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor

N_ROWS, N_COLUMNS, DIM, BATCH = 26, 11, 5, 8
UNNAMED = 10  # a column that no row has
SOLVERS = ("sgd", "rowwise_adagrad", "adagrad", "adam")
STATES = {"sgd": 0, "rowwise_adagrad": 0, "adagrad": 1, "adam": 2}  # of each number


def bags(dtype="float32"):
    X = reference.canonical(random_csr(N_ROWS, N_COLUMNS - 1, dtype=dtype))  # for torch every listed id is a member
    X.data[X.data == 0] = 0.25
    X.data *= 0.2  # or some probabilities are so near 0 that float32 does not know their distance
    return csr(X.data, X.indices, X.indptr, N_COLUMNS)


def made(X, y, *, solver, rate, **params):
    """Return an estimator before training and after an epoch."""
    table = random_table(N_COLUMNS, DIM, dtype=X.dtype)
    params = {"init": table, "solver": solver, "mode": "sum", "shuffle": False, "batch_size": BATCH, "max_iter": 1,
              "learning_rate": "constant", "alpha": 0.0, "dtype": X.dtype, "random_state": 0, **params}  # fmt: skip
    return [EmbeddingBagClassifier(learning_rate_init=some, **params).fit(X, y) for some in (1e-30, rate)]


def optimizers(torch, solver, rate, table, layer):
    if solver == "adagrad":
        start = 0.1 / BATCH**2
        return [torch.optim.Adagrad([table, *layer], lr=rate, eps=1e-10, initial_accumulator_value=start)]
    return [torch.optim.SparseAdam([table], lr=rate, eps=1e-8), torch.optim.Adam(layer, lr=rate, eps=1e-8)]


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize(("solver", "rate"), [("adagrad", 0.1), ("adam", 0.01)])
@pytest.mark.parametrize("dtype", FLOATS)
def test_an_epoch_is_that_of_torch(dtype, solver, rate, n_classes):
    torch = pytest.importorskip("torch", reason="the comparison with torch needs torch")
    functional = torch.nn.functional
    X, y = bags(dtype), np.random.default_rng(3).permutation(np.arange(N_ROWS) % n_classes)
    start, model = made(X, y, solver=solver, rate=rate)
    bag = torch.nn.EmbeddingBag.from_pretrained(
        torch.tensor(np.array(start.embeddings_)), mode="sum", sparse=True, freeze=False
    )
    layer = [torch.tensor(np.array(array), requires_grad=True) for array in learnt(start)[1:]]
    steps = optimizers(torch, solver, rate, bag.weight, layer)
    for first in range(0, N_ROWS, BATCH):
        some, labels = csr_array(X[first : first + BATCH]), torch.tensor(y[first : first + BATCH])
        for step in steps:
            step.zero_grad()
        h = bag(torch.tensor(some.indices), torch.tensor(some.indptr[:-1]), torch.tensor(some.data))
        z = h @ layer[0].T + layer[1]
        if n_classes == 2:
            loss = functional.binary_cross_entropy_with_logits(z[:, 0], labels.to(z.dtype))
        else:
            loss = functional.cross_entropy(z, labels)
        loss.backward()
        assert bag.weight.grad.is_sparse
        for step in steps:
            step.step()
    tolerance = 1e-10 if (dtype, solver) == ("float64", "adagrad") else 1e-5  # Adam adds 1e-8 where SparseAdam does not
    for actual, expected, before in zip(learnt(model), [bag.weight, *layer], learnt(start), strict=True):
        np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=tolerance, atol=tolerance)
        assert np.abs(actual - before).max() > rate / 10


@pytest.mark.parametrize("params", [{}, {"alpha": 0.1}, {"max_norm": 0.5}, {"n_jobs": 2}], ids=str)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("mode", MODES)
def test_a_row_that_no_member_names_keeps_its_bits_and_its_states(mode, solver, params):
    X, y = bags(), np.arange(N_ROWS) % 4
    rows = np.arange(N_ROWS) % 2 == 0
    start, _ = made(X, y, solver=solver, rate=0.1, mode=mode)
    model = start.set_params(learning_rate_init=0.1, **params)
    model.partial_fit(X, y)  # the states are not what they were at first
    without = X[rows]
    without = csr(without.data, np.where(without.indices == 3, 4, without.indices), without.indptr, N_COLUMNS)
    before = [model.embeddings_.copy(), *(array.copy() for array in model._solver_state[0])]
    model.partial_fit(without, y[rows])
    after = [model.embeddings_, *model._solver_state[0]]
    assert [array.shape for array in after[1:]] == [
        (N_COLUMNS,), *((N_COLUMNS, DIM) if STATES[solver] > k else (0, DIM) for k in (0, 1))
    ]  # fmt: skip
    for old, new in zip(before, after, strict=True):
        if len(old):
            assert new[[3, UNNAMED]].tobytes() == old[[3, UNNAMED]].tobytes()
    assert not np.array_equal(before[0][4], after[0][4])
    named = np.unique(without.indices)
    kept = [k for k in range(3) if len(after[1 + k]) and (k > 0 or solver == "rowwise_adagrad")]
    assert len(kept) == (1 if solver == "rowwise_adagrad" else STATES[solver])
    for k in kept:
        changed = np.flatnonzero((before[1 + k] != after[1 + k]).reshape(N_COLUMNS, -1).any(axis=1))
        assert set(changed) <= set(named)
        assert len(changed) == len(named) or mode == "max"  # where a row may win nowhere


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_call_that_fails_leaves_the_states_as_they_were(solver, monkeypatch):
    from skbag._cpu import training

    X, y = bags(), np.arange(N_ROWS) % 4
    model = made(X, y, solver=solver, rate=0.05)[1]
    before = [array.tobytes() for some in model._solver_state[:-1] for array in some], model._solver_state[-1]
    epoch = training.Trainer.epoch

    def interrupted(self, *arguments):
        epoch(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training.Trainer, "epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(X, y)
    assert ([array.tobytes() for some in model._solver_state[:-1] for array in some], model._solver_state[-1]) == before


@pytest.mark.parametrize("solver", SOLVERS)
def test_each_solver_learns_with_its_defaults(solver):
    rng = np.random.default_rng(0)
    X = rng.poisson(0.5, (1000, 20)).astype(np.float32)
    t = X @ rng.normal(size=20)
    y = (t > np.median(t)).astype(int)
    assert EmbeddingBagClassifier(8, solver=solver, random_state=0).fit(X, y).score(X, y) > 0.85
    assert EmbeddingBagRegressor(8, solver=solver, mode="sum", random_state=0).fit(X, t).score(X, t) > 0.7
