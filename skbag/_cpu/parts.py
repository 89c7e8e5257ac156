"""Scratch memory of mini-batches, and the parts of kernels that are compiled for a table, a loss and a solver."""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from skbag._cpu import backend as cpu
from skbag._cpu import calls, head, structs, update
from skbag._data.bags import frozen
from skbag._rules.losses import Loss
from skbag._rules.solvers import Solver

Array = NDArray[Any]

_ROWS = 32  # that are updated together


def _block(dtype: np.dtype[Any]) -> int:
    """Return how many outputs the rule of a loss takes at once."""
    return cpu._registers()[0] // dtype.itemsize


class Shape(NamedTuple):
    """The sizes of a model."""

    n_rows: int
    dim: int
    n_outputs: int
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, table: Array, coef: Array) -> Self:
        """Return the sizes of a table and a layer."""
        n_rows, dim = table.shape
        return cls(n_rows, dim, len(coef), table.dtype)

    @property
    def many(self) -> bool:
        """Return whether an int32 cannot number the rows."""
        return self.n_rows >= 1 << 31

    @property
    def ids(self) -> Any:
        """Return the dtype of ids in scratch memory."""
        return np.int64 if self.many else np.int32

    @property
    def columns(self) -> int:
        """Return how many outputs there are in whole blocks."""
        block = _block(self.dtype)
        return -(-self.n_outputs // block) * block


def batch_memory(
    shape: Shape, n_bags: int, n_members: int, *, won: bool = False, back: bool = False, times: tuple[int, ...] = ()
) -> structs.Batch:
    """Return scratch memory of a mini-batch.

    ``won`` says whether members are kept that win a maximum, ``back`` whether gradients go back to the table. ``times``
    is a dimension before all others.
    """
    dim, dtype, ids = shape.dim, shape.dtype, shape.ids
    return structs.Batch(
        np.empty((*times, n_members), ids), np.empty((*times, n_members), dtype), np.empty((*times, n_members), ids),
        np.empty((*times, n_bags), np.int64), np.empty((*times, n_bags), np.int64),
        np.empty((*times, n_bags, dim), dtype),
        np.empty((*times, n_bags if won else 0, dim), np.int64), np.empty((*times, n_bags, shape.columns), dtype),
        np.empty((*times, n_bags if back else 0, dim), dtype), np.empty((*times, n_bags)),
    )  # fmt: skip


def parts_memory(shape: Shape, n_bags: int, own_members: int, n_parts: int) -> structs.Parts:
    """Return scratch memory of the parts of a mini-batch, of whose members each may own so many."""
    dim, dtype, ints = shape.dim, shape.dtype, np.int64
    n = max(n_bags * min(_ROWS, shape.n_outputs, max(1, 1024 // n_bags)), _ROWS)
    ranks = np.arange(max(n_bags, _ROWS))
    return structs.Parts(
        np.empty(n_parts, ints), np.empty((n_parts, n_parts), ints), np.empty((n_parts, own_members), np.int32),
        np.empty((n_parts, 2, own_members), ints), np.empty((n_parts, 2, 2048), np.int32),
        np.empty((n_parts, _ROWS), ints), np.empty((n_parts, _ROWS), ints), np.empty((n_parts, _ROWS), ints),
        np.empty((n_parts, _ROWS), ints),
        np.empty((n_parts, n), dtype), ranks, ranks.astype(shape.ids),
        np.empty((n_parts, _ROWS, dim), dtype), np.empty((n_parts, _ROWS, dim), dtype), np.empty((n_parts, _ROWS)),
        np.zeros((n_parts, shape.columns), dtype),
    )  # fmt: skip


def forward_of(table: Array, coef: Array, intercept: Array) -> structs.Forward:
    """Return what a forward pass reads."""
    return structs.Forward(frozen(table), frozen(coef), frozen(intercept))


@lru_cache(maxsize=16)
def _kinds(dtype: np.dtype[Any], many: bool) -> SimpleNamespace:
    """Return the Numba types of what parts of kernels are given; ``many`` is for tables of 2 ** 31 rows."""
    shape = Shape(1 << 31 if many else 1, 1, 1, dtype)
    rows, numbers, n = np.empty((1, 1), dtype), np.empty(1, dtype), np.empty(1, np.int64)
    table, bias = (structs.Parameters(values, np.empty(1), values, values) for values in (rows, numbers))
    batch, parts = batch_memory(shape, 1, 1), parts_memory(shape, 1, 1, 1)
    forward = forward_of(rows, rows, numbers)
    reduction = structs.Reduction(
        forward.table, batch.weights, batch.ids, None, forward.intercept, n, n, numbers, n, batch.pooled
    )
    examples = {
        "terms": n, "weights": numbers, "ids": batch.ids, "rows": rows, "table": table, "bias": bias, "batch": batch,
        "parts": parts, "targets": structs.Targets(n, n, n, numbers, np.empty(1)), "step": step_of(), "tickets": n,
        "count": 0, "rate": 0.0, "forward": forward, "reduction": reduction,
    }  # fmt: skip
    return SimpleNamespace(**{name: calls.kind_of(example) for name, example in examples.items()})


def step_of(
    rate: float = 1.0, slope: float = 0.0, alpha: float = 0.0, norm: Any = None, exactly: bool = False,
    bias: float = 1.0, by_freq: bool = False,
) -> structs.Step:  # fmt: skip
    """Return what a step is made with."""
    max_norm, norm_type = norm or (np.inf, 2.0)
    return structs.Step(float(rate), float(slope), float(alpha), max_norm, norm_type, exactly, float(bias), by_freq)


@lru_cache(maxsize=64)
def reduce_address(layout: tuple[int, ...], dtype: np.dtype[Any], many: bool, *, maximum: bool) -> int:
    """Return the address of ``pooling.reduce_kernel``'s kernel for a mini-batch; for layouts see ``backend.layout``."""
    kinds = _kinds(dtype, many)
    return calls.address_of(cpu.reduce_of(layout, maximum=maximum), kinds.reduction, *(kinds.count,) * 4)


@lru_cache(maxsize=64)
def step_addresses(
    lanes: int, dim: int, dtype: np.dtype[Any], many: bool, loss: Loss, solver: Solver
) -> tuple[int, int, int]:
    """Return the addresses of ``head.head_kernel``'s, ``update.update_kernel``'s and ``update.add_kernel``'s kernels.

    0 where there is none.
    """
    kinds = _kinds(dtype, many)
    count, tickets = kinds.count, kinds.tickets
    heading = calls.address_of(
        head.head_kernel(lanes, _block(dtype), loss),
        kinds.targets, kinds.forward, kinds.batch, kinds.parts, *(count,) * 5,
    )  # fmt: skip
    n_vectors = -(-dim // lanes)
    tile = lanes, min(n_vectors, update.MOST_VECTORS), n_vectors <= update.MOST_VECTORS
    updating = calls.address_of(
        update.update_kernel(*tile, solver),
        kinds.terms, count, kinds.weights, count, kinds.ids, kinds.rows, kinds.parts, count, count, kinds.table,
        kinds.bias, kinds.step, count, kinds.rate, tickets,
    )  # fmt: skip
    adding = 0
    if solver.linear:
        arguments = kinds.batch, kinds.parts, count, count, count, kinds.rate, kinds.table, tickets
        adding = calls.address_of(update.add_kernel(*tile), *arguments)
    return heading, updating, adding
