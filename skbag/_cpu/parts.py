"""Scratch memory of mini-batches, and the parts of kernels that are compiled for a table, a loss and a solver."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from skbag._cpu import backend as cpu
from skbag._cpu import calls, head, structs, update
from skbag._data.bags import frozen
from skbag._data.model import Model
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
    widths: tuple[int, ...]  # how many numbers each layer reads, and last the number of outputs
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, model: Model) -> Self:
        """Return the sizes of a model."""
        n_rows, dim = model.table.values.shape
        return cls(n_rows, dim, model.widths, model.layers[0].weights.values.dtype)

    @property
    def n_outputs(self) -> int:
        """Return the number of outputs of the last layer."""
        return self.widths[-1]

    @property
    def work(self) -> int:
        """Return how many multiplications the layers make of a bag."""
        return sum(n * m for n, m in pairwise(self.widths))

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
    n = max(n_bags * min(_ROWS, max(shape.widths[1:]), max(1, 1024 // n_bags)), _ROWS)
    widest = max(dim, *shape.widths[:-1])
    ranks = np.arange(max(n_bags, _ROWS))
    return structs.Parts(
        np.empty(n_parts, ints), np.empty((n_parts, n_parts), ints), np.empty((n_parts, own_members), np.int32),
        np.empty((n_parts, 2, own_members), ints), np.empty((n_parts, 2, 2048), np.int32),
        np.empty((n_parts, _ROWS), ints), np.empty((n_parts, _ROWS), ints), np.empty((n_parts, _ROWS), ints),
        np.empty((n_parts, _ROWS), ints),
        np.empty((n_parts, n), dtype), ranks, ranks.astype(shape.ids),
        np.empty((n_parts, _ROWS, widest), dtype), np.empty((n_parts, _ROWS, dim), dtype), np.empty((n_parts, _ROWS)),
        np.zeros((n_parts, shape.columns), dtype),
    )  # fmt: skip


def forward_of(table: Array, dtype: np.dtype[Any]) -> structs.Forward:
    """Return what is pooled."""
    return structs.Forward(frozen(table), nothing(dtype))


@lru_cache(maxsize=2)
def nothing(dtype: np.dtype[Any]) -> Array:
    return frozen(np.empty(0, dtype))


def layers_of(model: Model, batch: structs.Batch, update: Sequence[int] = (0,)) -> tuple[structs.Layer, ...]:
    """Return the layers as kernels go through them, with scratch memory, and addresses of what changes their rows."""
    pooled, outputs, gradients = (_rows(array) for array in (batch.pooled, batch.outputs, batch.gradients))
    ((layer,), (address,)) = model.layers, update
    coef, intercept = (frozen(each.values) for each in (layer.weights, layer.intercepts))
    return (structs.Layer(coef, intercept, pooled, outputs, outputs, gradients, address),)


def _rows(scratch: Array) -> Array:
    """Return scratch memory of rows with one dimension for all that comes before."""
    return scratch.reshape(-1, scratch.shape[-1])


@lru_cache(maxsize=16)
def _kinds(dtype: np.dtype[Any], many: bool) -> SimpleNamespace:
    """Return the Numba types of what parts of kernels are given; ``many`` is for tables of 2 ** 31 rows."""
    shape = Shape(1 << 31 if many else 1, 1, (1, 1), dtype)
    rows, numbers, n = np.empty((1, 1), dtype), np.empty(1, dtype), np.empty(1, np.int64)
    table, bias = (structs.Parameters(values, np.empty(1), values, values) for values in (rows, numbers))
    batch, parts = batch_memory(shape, 1, 1), parts_memory(shape, 1, 1, 1)
    forward, spare = forward_of(rows, dtype), nothing(dtype)
    layer = structs.Layer(forward.table, spare, rows, rows, rows, rows, 0)
    reduction = structs.Reduction(forward.table, batch.weights, batch.ids, None, spare, n, n, numbers, n, batch.pooled)
    examples = {
        "terms": n, "weights": numbers, "ids": batch.ids, "rows": rows, "table": table, "bias": bias, "batch": batch,
        "parts": parts, "targets": structs.Targets(n, n, n, numbers, np.empty(1)), "step": step_of(), "tickets": n,
        "count": 0, "rate": 0.0, "layer": layer, "reduction": reduction,
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


def lanes_of(width: int, dtype: np.dtype[Any]) -> int:
    """Return how many columns of rows of a width are taken at once."""
    return cpu._tile(width, dtype.itemsize)[0]


@lru_cache(maxsize=64)
def head_address(n_inputs: int, dtype: np.dtype[Any], many: bool, loss: Loss) -> int:
    """Return the address of ``head.head_kernel``'s kernel for a layer."""
    kinds = _kinds(dtype, many)
    return calls.address_of(
        head.head_kernel(lanes_of(n_inputs, dtype), _block(dtype), loss),
        kinds.targets, kinds.layer, kinds.batch, kinds.parts, *(kinds.count,) * 5,
    )  # fmt: skip


@lru_cache(maxsize=64)
def update_addresses(dim: int, dtype: np.dtype[Any], many: bool, solver: Solver) -> tuple[int, int]:
    """Return the addresses of ``update.update_kernel``'s and ``update.add_kernel``'s kernels; 0 if there is none."""
    kinds, lanes = _kinds(dtype, many), lanes_of(dim, dtype)
    count, tickets, n_vectors = kinds.count, kinds.tickets, -(-dim // lanes)
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
    return updating, adding
