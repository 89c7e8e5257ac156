"""What runs on a worker: making a shard, and a round with the copy of the model that each process keeps.

The copy is only there to save traffic. Which version of the model it is, it knows; a task that needs another one than
there is and than its update can make says so, and is sent the whole model.
"""

from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._dask.blocks import joined
from skbag._dask.rounds import Change, Shard, train
from skbag._data.model import Model, Parameters
from skbag._data.quantized import numbers_of, table_of, values_of
from skbag._data.table import Drawn, copied, draw_table
from skbag._data.targets import Targets
from skbag._training.evidence import sums_of

Array = NDArray[Any]


@dataclass
class Part:
    """What one task of a round is told."""

    job: str
    version: int  # of the model that it starts from
    estimator: Any  # without fitted arrays, and without init
    learnt: Any
    seed: tuple[int, ...] | None  # of the order
    n_epochs: int
    epoch: int
    n_parts: int
    part: int

    def run(self, model: Model, shard: Shard) -> Change:
        """Train on a part of an epoch of a shard; the model is afterwards as it was before."""
        estimator = self.estimator
        batch_size = int(estimator.batch_size)
        order = shard.order(self.seed, batch_size, self.part, self.n_parts)
        trainer = estimator._trainer(shard.bags, self.learnt, shard.targets, shard.weights, model)
        n_steps = -(-len(order) // min(batch_size, shard.bags.n_rows))
        name, n = estimator.learning_rate, self.n_epochs * self.n_parts
        rates = estimator._schedule(self.learnt, name, n, n_steps).rates(self.epoch * self.n_parts + self.part)
        return train(model, trainer, shard, order, rates)


@dataclass
class Update:
    """What makes the model of a version from the one before, or from nothing."""

    version: int
    change: Change
    whole: Model | None = None  # another model, and the change is of that one; its table has no rows if it is drawn
    drawn: Any = None  # Drawn, shape, dtype, padding_idx, what the states of a row begin at, and of which else

    @property
    def n_bytes(self) -> int:
        """How many bytes of numbers it has."""
        whole = () if self.whole is None else (some.arrays() for some in self.whole.parameters())
        others = () if self.drawn is None or self.drawn[-1] is None else self.drawn[-1]
        arrays = [*(array for arrays in whole for array in arrays), *others]
        return self.change.n_bytes + sum(array.nbytes for array in arrays)

    def model(self, estimator: Any) -> Model:
        """Return a new model."""
        assert self.whole is not None
        table, *others = self.whole.parameters()
        if self.drawn is None:
            table = Parameters(copied(table.values), *(array.copy() for array in table.arrays()[1:]))
        else:
            drawn, shape, dtype, padding_idx, fills, divided = self.drawn
            values = draw_table(Drawn(*drawn), shape, dtype)
            if padding_idx is not None:
                values[padding_idx] = 0
            values = values_of(estimator._rescaled(table_of(values)))
            numbers = numbers_of(values[:0]).dtype
            sizes = (shape[0], np.dtype(np.float64)), (shape, numbers), (shape, numbers)
            states = (
                np.empty((0, shape[1]), kind) if fill is None else np.full(size, fill, kind)
                for fill, (size, kind) in zip(fills, sizes, strict=True)
            )
            table = Parameters(values, *states)
            if divided is not None:
                rows, state = divided
                table.state[rows] = state
        model = self.whole.like((table, *(some.copy() for some in others)))
        self.change.put_into(model)
        return model


class Copy:
    """The model that a process has, one at a time: a job that begins takes the place of one that is over."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.forget()

    def forget(self) -> None:
        """Give up the model."""
        self.job, self.version = "", -1
        self.model: Model | None = None

    def bring(self, part: Part, update: Update) -> Model | None:
        """Return the model that a task starts from; None if it cannot be made from what is there."""
        known = self.job == part.job
        if known and self.version == part.version:
            return self.model
        if update.whole is not None:
            model = update.model(part.estimator)
        elif known and self.version == part.version - 1 and self.model is not None:
            self.version = -1  # in between it is neither
            model = self.model
            update.change.put_into(model)
        else:
            return None
        self.job, self.version, self.model = part.job, part.version, model
        return model


_copy = Copy()


def forget(job: str) -> None:
    """Give up the model of a job."""
    with _copy.lock:
        if _copy.job == job:
            _copy.forget()


def run_part(shard: Shard, part: Part, update: Update) -> Change | None:
    """Run a part of a round; None if the whole model is needed for that."""
    with _copy.lock:
        model = _copy.bring(part, update)
        if model is None:
            return None
        try:
            return part.run(model, shard)
        except BaseException:
            _copy.forget()
            raise


def sums_of_shard(shard: Shard, residuals: Array) -> Array:
    """Return what the rows of a shard say of columns, see ``evidence.sums_of``."""
    return sums_of(shard.bags, residuals)


def make_shard(estimator: Any, blocks: list[Any], first: int, targets: Targets, weights: Array | None) -> Shard:
    """Check blocks of X and join them; rows without weight are left out.

    Parameters
    ----------
    estimator : estimator
        That knows the number of columns.
    blocks : list of matrices
    first : int
        The number of the first block, for the texts of errors.
    targets : Targets
        Of the rows that have a weight.
    weights : ndarray of shape (n_rows,) or None
    """
    for k, block in enumerate(blocks, first):
        try:
            estimator._check_bags(block, reset=False)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"In block {k} of X: {error}") from error
    X = joined(blocks)
    if weights is None:
        weights = np.ones(X.shape[0])
    elif not weights.all():
        used = np.flatnonzero(weights)
        X, weights = X[used], weights[used]
    return Shard(estimator._check_bags(X, reset=False), targets, weights)
