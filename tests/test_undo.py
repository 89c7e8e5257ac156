"""What partial_fit takes back on the CPU: its memory is kept from call to call."""

from itertools import product

import numpy as np
import pytest
from helpers import random_csr
from scipy.sparse import csr_array

from skbag import EmbeddingBagClassifier
from skbag._backends import get_backend, get_trainer
from skbag._data.bags import bags_from_csr
from skbag._data.model import Model, Objective, Parameters, Rates
from skbag._data.targets import Targets
from skbag._rules.losses import CLASSIFICATION
from skbag._rules.solvers import SOLVERS


def make_trainer(n_rows, dim, dtype, solver, alpha, n_jobs):
    rng = np.random.default_rng(n_rows + dim)
    bags = get_backend("cpu").check(bags_from_csr(random_csr(90, n_rows, dtype=dtype), dtype=np.dtype(dtype)), "mean")
    arrays = (rng.standard_normal(shape).astype(dtype) for shape in ((n_rows, dim), (3, dim), 3))
    model = Model.of(Parameters.new(array, SOLVERS[solver], 0.5) for array in arrays)
    targets = Targets(np.arange(90) % 3, np.arange(91), None, 3)
    objective = Objective("mean", CLASSIFICATION["log_loss"], SOLVERS[solver], alpha)
    return get_trainer("cpu").Trainer(bags, targets, np.ones(90), model, objective, 40, n_jobs, undo=True), model


def bits(model):
    return [array.tobytes() for parameters in model.parameters() for array in parameters.arrays()]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_call_is_taken_back_whatever_was_trained_before(n_jobs):
    """Tables of other widths, dtypes, solvers and numbers of rows get the memory that the one before had."""
    kinds = list(product((3, 400), (5, 16), ("float32", "float64"), ("sgd", "adam"), (0, 1e-3)))
    for k in np.random.default_rng(0).permutation(len(kinds)):
        trainer, model = make_trainer(*kinds[k], n_jobs)
        before = bits(model)
        trainer.epoch(np.arange(90), Rates(0.1))
        assert bits(model) != before
        trainer.take_back()
        assert bits(model) == before
        trainer, model = make_trainer(*kinds[k], n_jobs)
        trainer.epoch(np.arange(90), Rates(0.1))
        trainer.forget()


def test_what_calls_long_ago_kept_is_kept_again():
    """Calls have numbers from 1 to 255: a row that call 1 kept, and none after it, is kept by the next call 1."""
    model = EmbeddingBagClassifier(4, batch_size=1, shuffle=False, random_state=0)
    one, other, both = (csr_array(np.eye(2)[rows]) for rows in ([0, 0], [1, 1], [0, 1]))
    model.partial_fit(both, [0, 1], classes=[0, 1])  # no call that could be taken back
    for X in (one, *[other] * 254):
        model.partial_fit(X, [0, 1])
    before = model.embeddings_.tobytes()
    with pytest.raises(ValueError, match="diverges"):
        model.partial_fit(both, [0, 1], sample_weight=[1, 1e300])
    assert model.embeddings_.tobytes() == before


@pytest.mark.parametrize("dim", [16, 24])  # rows that are a cache line, and others
def test_many_rows_are_taken_back(dim):
    """More than the caches hold go past them."""
    n_rows, n_members = 1100, 64
    n = n_rows * n_members
    X = csr_array((np.ones(n), np.random.default_rng(0).permutation(n), np.arange(0, n + 1, n_members)))
    y = np.arange(n_rows) % 2
    model = EmbeddingBagClassifier(dim, batch_size=550, shuffle=False, random_state=0).partial_fit(X, y, classes=[0, 1])
    before = model.embeddings_.tobytes()
    with pytest.raises(ValueError, match="diverges"):
        model.partial_fit(X, y, sample_weight=np.r_[np.ones(n_rows - 1), 1e300])
    assert model.embeddings_.tobytes() == before
