"""Rounds of training: what a worker learns from its shard, and what all of them learnt together.

A round is a pure function: of a model, of a shard and of the numbers in `Step` it makes a `Change`, and it leaves the
model as it was. So it may be run twice, or on another worker, and the result is the same to the bit. Only rows of the
table that the shard names are in a `Change`. Nothing here knows Dask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._data.bags import Bags
from skbag._data.model import Model, Objective, Parameters
from skbag._data.quantized import numbers_of, rounded_by_chance
from skbag._data.targets import Targets

Array = NDArray[Any]


@dataclass
class Shard:
    """The rows that one task trains on, checked."""

    bags: Bags
    targets: Targets
    weights: Array  # (n_rows,) float64

    def order(self, seed: tuple[int, ...] | None, batch_size: int, part: int, n_parts: int) -> Array:
        """Return one of ``n_parts`` parts, of whole mini-batches, of the order of an epoch, which a seed shuffles."""
        n, steps = self.bags.n_rows, self.n_steps(batch_size)
        order = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)
        return order[part * steps // n_parts * batch_size : (part + 1) * steps // n_parts * batch_size]

    def n_steps(self, batch_size: int) -> int:
        """Return how many mini-batches there are in an epoch."""
        return -(-self.bags.n_rows // batch_size)

    def members(self, order: Array) -> tuple[Array, Array]:
        """Return the sorted ids that some rows name, without padding_idx, and how often they do."""
        indptr = self.bags.indptr[:: self.bags.n_fields]
        starts, lengths = indptr[order], np.diff(indptr)[order]
        before = np.concatenate(([0], np.cumsum(lengths)))
        ids = self.bags.indices[np.repeat(starts - before[:-1], lengths) + np.arange(before[-1])]
        rows, counts = np.unique(ids, return_counts=True)
        kept = rows != (-1 if self.bags.padding_idx is None else self.bags.padding_idx)
        return rows[kept], counts[kept]


@dataclass
class Change:
    """Some rows of the table, and everything else of a model, after a round; what is empty in the model is empty."""

    rows: Array  # sorted
    table: tuple[Array, ...]  # of these rows: values, and what the solver keeps of them
    others: tuple[tuple[Array, ...], ...]  # the same of the layers and intercepts, whole
    n_steps: int
    counts: Array  # how often each row was named
    n_rows: int = 0
    loss: float = 0.0  # mean of the round

    @classmethod
    def of(cls, model: Model, rows: Array, counts: Array, n_rows: int = 0, loss: float = 0.0) -> "Change":
        """Return what a model has in some rows, copied."""
        table, *others = model.parameters()
        return cls(
            rows, rows_of(table, rows), tuple(parameters.copy().arrays() for parameters in others), model.n_steps,
            counts, n_rows, loss,
        )  # fmt: skip

    def put_into(self, model: Model) -> None:
        """Write the change into a model."""
        table, *others = model.parameters()
        for array, new in zip(table.arrays(), self.table, strict=True):
            if len(array):
                array[self.rows] = new
        for parameters, arrays in zip(others, self.others, strict=True):
            for array, new in zip(parameters.arrays(), arrays, strict=True):
                array[:] = new
        model.n_steps = self.n_steps

    @property
    def n_bytes(self) -> int:
        """How many bytes of numbers it has."""
        arrays = [self.rows, self.counts, *self.table, *(array for some in self.others for array in some)]
        return sum(array.nbytes for array in arrays)


def rows_of(parameters: Parameters, rows: Array) -> tuple[Array, ...]:
    """Return copies of some rows of all arrays."""
    return tuple(array[rows] if len(array) else array for array in parameters.arrays())


def train(model: Model, trainer: Any, shard: Shard, order: Array, rates: Any) -> Change:
    """Go once through some rows of a shard; the model is afterwards as it was before."""
    rows, counts = shard.members(order)
    before = Change.of(model, rows, counts)
    try:
        loss = trainer.epoch(order, rates) if len(order) else 0.0
        return Change.of(model, rows, counts, len(order), loss)
    finally:
        before.put_into(model)


def combine(model: Model, changes: Sequence[Change], objective: Objective) -> Change:
    """Return what all changes of one model make together; the model stays as it is.

    Parameters
    ----------
    model : Model
        From which the changes were made.
    changes : sequence of Change
        In an order that does not depend on which of them was ready first: sums of floats do.
    objective : Objective

    Notes
    -----
    A row of the table moves by ``sum(c[k] * moved[k]) / sqrt(sum(c[k] ** 2))``, where c[k] is how often shard k names
    it: a row that one shard names alone is as that shard left it, and one that K shards name alike moves by the mean
    times the root of K. That is between federated averaging (McMahan et al., 2017), where a row moves no further than
    with one shard, and the sum, which overshoots. Sums of squares of gradients are added up, so that Adagrad's rate is
    what it is after as many steps one after the other: they would go the root of K as far, too. Layers and intercepts,
    which every step of every shard changes, are means by the numbers of rows of X: times the root of 8 they made IMDB
    diverge. Moments of Adam are means. Rows of float16 and bfloat16 are put together in float32, and rounded by chance.
    """
    n_rows = np.array([change.n_rows for change in changes], np.float64)
    rows = np.unique(np.concatenate([change.rows for change in changes]))
    places = [np.searchsorted(rows, change.rows) for change in changes]
    counts = np.zeros((len(changes), len(rows)))
    for k, change in enumerate(changes):
        counts[k, places[k]] = change.counts
    accumulates = objective.solver.accumulates

    def moved(number: int, olds: Sequence[Array], news: Sequence[Sequence[Array]], times: Array) -> tuple[Array, ...]:
        """Return values and states after all changes; ``times`` says how often each shard has named each row."""
        total = times.sum(axis=0)
        summed, mean = np.ones(times.shape), times / np.where(total > 0, total, 1)
        root = times / np.where(total > 0, np.sqrt(np.square(times).sum(axis=0)), 1)
        apart, state = mean if number else root, summed if accumulates else mean
        alone = np.count_nonzero(times, axis=0) == 1  # of them the sums below would lose bits
        result = []
        for old, shares, new in zip(olds, (apart, state, state, mean), news, strict=True):
            old, *new = map(numbers_of, (old, *new))
            exact = old.astype(np.float64)
            for k in range(len(changes)) if len(old) else ():
                at = places[k] if number == 0 else np.arange(len(old))
                exact[at] += ((new[k] - old[at].astype(np.float64)).T * shares[k, at]).T
            exact = exact.astype(old.dtype)
            for k in range(len(changes)) if len(old) else ():
                at = places[k] if number == 0 else np.arange(len(old))
                exact[at[alone[at]]] = new[k][alone[at]]
            result.append(exact)
        return tuple(result)

    def of_other(number: int) -> tuple[Array, ...]:
        olds = model.parameters()[number].arrays()
        news = [[change.others[number - 1][k] for change in changes] for k in range(len(olds))]
        return moved(number, olds, news, np.broadcast_to(n_rows[:, None], (len(changes), len(olds[0]))))

    olds = rows_of(model.parameters()[0], rows)
    table = moved(0, olds, [[change.table[k] for change in changes] for k in range(len(olds))], counts)
    others = [of_other(number) for number in range(1, len(model.parameters()))]
    if objective.norm is not None and len(changes) > 1:
        table = _held(table[0], *objective.norm), *table[1:]
    n_steps, stored = max(change.n_steps for change in changes), olds[0].dtype
    if stored != table[0].dtype:
        table = rounded_by_chance(table[0], stored, np.random.default_rng(n_steps)), *table[1:]
    norms = *objective.hidden_norms, objective.layer_norm
    for k, norm in enumerate(norms if len(changes) > 1 else ()):
        if norm is not None:
            length, exactly = norm
            others[2 * k] = _held(others[2 * k][0], float(length), 2.0, exactly=bool(exactly)), *others[2 * k][1:]
    return Change(
        rows, table, tuple(others), n_steps, np.empty(0), int(n_rows.sum()),
        float(n_rows / n_rows.sum() @ [change.loss for change in changes]),
    )  # fmt: skip


def _held(values: Array, length: float, kind: float, *, exactly: bool = False) -> Array:
    """Return rows with this norm at most, or exactly, as steps leave them."""
    norms = np.linalg.norm(values.astype(np.float64), kind, axis=1)
    longer = (norms > 0) if exactly else norms > length
    factors = np.ones(len(norms))
    factors[longer] = length / norms[longer]
    return (values * factors[:, None]).astype(values.dtype)
