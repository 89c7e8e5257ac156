"""The sizes of a model, and memory for mini-batches of it: what ``structs`` has."""

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from skbag._cpu import backend as cpu
from skbag._cpu import structs
from skbag._cpu.leaves import NODES_TOGETHER
from skbag._data.bags import Bags, frozen
from skbag._data.blocks import Blocks
from skbag._data.model import Model
from skbag._data.quantized import arrays_of
from skbag._data.some_outputs import Negatives, Tree
from skbag._rules.pooling import modes_of, sums_in

Array = NDArray[Any]

_ROWS = 32  # that are updated together


def block_of(dtype: np.dtype[Any]) -> int:
    """Return how many outputs the rule of a loss takes at once."""
    return cpu._registers()[0] // dtype.itemsize


class Shape(NamedTuple):
    """The sizes of a model."""

    n_rows: int
    dim: int
    widths: tuple[int, ...]  # how many numbers each layer reads, and last the number of outputs
    dtype: np.dtype[Any]
    stored: np.dtype[Any]  # of the array that has the table: ``dtype``, or one of ``storage``
    blocks: Blocks = Blocks("sum")

    @classmethod
    def of(cls, model: Model, blocks: Blocks) -> Self:
        """Return the sizes of a model of pooled rows that are made so."""
        n_rows, dim = model.table.values.shape
        stored = arrays_of(model.table.values)[0].dtype
        return cls(n_rows, dim, model.widths, model.layers[0].weights.values.dtype, stored, blocks)

    @property
    def kind(self) -> tuple[Any, ...]:
        """Return what the types of the arrays depend on."""
        return self.dtype, self.stored, self.many

    @property
    def n_pooled(self) -> int:
        """Return the width of a pooled row."""
        return self.widths[0]

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
    def columns(self) -> tuple[int, ...]:
        """Return how many numbers there are in whole blocks, for each of the widths."""
        return _in_blocks(self.widths, block_of(self.dtype))


@lru_cache(maxsize=64)
def _in_blocks(widths: tuple[int, ...], block: int) -> tuple[int, ...]:
    return tuple(-(-n // block) * block for n in widths)


@lru_cache(maxsize=64)
def layout_of(blocks: Blocks, dim: int) -> structs.Layout:
    """Return how a pooled row is made of blocks of rows of so many columns."""
    modes, sums = modes_of(blocks.mode), sums_in(blocks.mode)
    maximum = modes.index("max") * dim if "max" in modes else -1
    return structs.Layout(
        blocks.n_fields, *cpu.numbers_of(sums, tuple(map(modes.index, sums)), dim),
        maximum, frozen(np.array([maximum], np.int64)), len(modes) * dim if blocks.interaction else -1,
        frozen(np.zeros(1, np.int64)),
    )  # fmt: skip


def batch_memory(
    shape: Shape, n_rows: int, n_members: int, *, won: bool = False, back: bool = False, some: bool = False,
    times: tuple[int, ...] = (),
) -> structs.Batch:  # fmt: skip
    """Return scratch memory of a mini-batch.

    ``won`` says whether members are kept that win a maximum, ``back`` whether gradients go back to the table, ``some``
    whether bags have outputs of their own, see `chosen_memory`. ``times`` is a dimension before all others,
    for threads that predict: there are no losses then.
    """
    dim, dtype, ids, blocks = shape.dim, shape.dtype, shape.ids, shape.blocks
    n_bags, alone, n_sums = n_rows * blocks.n_fields, blocks.per_field == 1, len(sums_in(blocks.mode))

    def empty(*size: int, kind: Any = dtype) -> Array:
        return np.empty((*times, *size), kind)

    def wide() -> tuple[Array, Array]:
        rows = empty(n_rows, shape.n_pooled)
        return rows, rows if blocks.n_blocks == 1 else rows.reshape(*times, n_bags, blocks.per_field * dim)

    pooled, in_blocks = wide()
    used = {
        "ids": empty(n_members, kind=ids), "weights": empty(n_members), "bags": empty(n_members, kind=ids),
        "starts": empty(n_bags, kind=np.int64), "stops": empty(n_bags, kind=np.int64), "pooled": pooled,
        "blocks": in_blocks,
    }  # fmt: skip
    if not some:
        used["outputs"] = empty(n_rows, shape.columns[-1])
    if n_sums > 1:
        used["sizes"] = empty(n_sums * n_bags)
    if blocks.interaction:
        used["squares"] = empty(n_bags, dim)
    if won:
        used["winners"] = empty(n_bags, dim, kind=np.int64)
    if back:
        used["gradients"], used["of_blocks"] = wide()
        used["of_sums"] = used["of_blocks"] if alone else empty(n_bags if n_sums else 0, dim)
        if blocks.interaction:
            used["of_squares"] = empty(n_bags, dim)
    if not times:
        used["losses"] = empty(n_rows, kind=np.float64)
    return _unused(dtype, ids, times)._replace(**used)


@lru_cache(maxsize=64)
def _unused(dtype: np.dtype[Any], ids: Any, times: tuple[int, ...]) -> structs.Batch:
    """Return the scratch memory of no rows; nothing is written to it."""
    numbers, rows = np.empty((*times, 0), dtype), np.empty((*times, 0, 1), dtype)
    some, ends = np.empty((*times, 0), ids), np.empty((*times, 0), np.int64)
    winners, losses = np.empty((*times, 0, 1), np.int64), np.empty((*times, 0))
    return structs.Batch(
        some, numbers, some, ends, ends, rows, rows, numbers, rows, winners, rows, rows, rows, rows, rows, losses
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
        np.empty((n_parts, _ROWS)),
        np.zeros((n_parts, shape.columns[-1]), dtype),
    )  # fmt: skip


@lru_cache(maxsize=16)
def _nothing_chosen(dtype: np.dtype[Any], ids: Any) -> structs.Chosen:
    """Return `chosen_memory` where bags have to do with all outputs: nothing is written to it."""
    none, ints = np.empty(0, np.int64), np.int64
    return structs.Chosen(
        0, np.empty(0), none, np.empty(0, dtype), none, none, none, np.empty(0, ids), np.empty(0, dtype),
        np.empty(0, ids), none, np.empty((0, 0), ints), np.empty((0, 0), np.int32), np.empty((0, 2, 0), ints),
        np.empty((0, 0), ints), np.empty((0, 3, 0), dtype),
    )  # fmt: skip


def chosen_memory(
    shape: Shape, outputs: Negatives | Tree | None, n_entries: int, longest: int, n_parts: int
) -> structs.Chosen:
    """Return what says which outputs bags have to do with, and scratch memory for the entries of a mini-batch.

    No bag has more than ``longest``.
    """
    if outputs is None:
        return _nothing_chosen(shape.dtype, shape.ids)
    ints, dtype, ids = np.int64, shape.dtype, shape.ids
    none, longest = np.empty(0, ints), -(-longest // block_of(dtype)) * block_of(dtype)
    seed, cumulative, begins, offsets, paths, n_drawn = 0, np.empty(0), none, np.empty(0), (none,) * 3, 0
    if isinstance(outputs, Negatives):
        seed, cumulative, begins, offsets = outputs.seed, outputs.cumulative, outputs.firsts, outputs.offsets
        n_drawn = outputs.n_negatives
    else:
        paths = outputs.paths
    return structs.Chosen(
        seed, cumulative, begins, offsets.astype(dtype), *paths,
        np.empty(n_entries, ids), np.empty(n_entries, dtype), np.empty(n_entries, ids),
        np.empty(n_parts, ints), np.empty((n_parts, n_parts), ints), np.empty((n_parts, n_entries), np.int32),
        np.empty((n_parts, 2, n_entries), ints), np.empty((n_parts, n_drawn), ints),
        np.empty((n_parts, 3, longest), dtype),
    )  # fmt: skip


def leaves_memory(shape: Shape, tree: Tree, n_threads: int) -> structs.Leaves:
    """Return a tree, and scratch memory to go through it."""
    n = shape.n_outputs
    return structs.Leaves(
        tree.links, np.empty((n_threads, 2 * n + 1), shape.dtype), np.empty((n_threads, n), np.int32),
        np.empty((n_threads, 2, NODES_TOGETHER), shape.dtype),
    )  # fmt: skip


def members_of(bags: Bags, dtype: np.dtype[Any], order: Array, order_indptr: Array) -> tuple[Any, ...]:
    """Return bags as structs.Bags has them."""
    weights = nothing(dtype) if bags.weights is None else bags.weights
    padding_idx = -1 if bags.padding_idx is None else int(bags.padding_idx)
    return weights, bags.indices, bags.indptr, padding_idx, order, order_indptr


def forward_of(table: Any) -> structs.Forward:
    """Return what is pooled."""
    values, scales = arrays_of(table)
    return structs.Forward(frozen(values), nothing(values.dtype), scales)


@lru_cache(maxsize=8)
def nothing(dtype: np.dtype[Any]) -> Array:
    return frozen(np.empty(0, dtype))


def step_of(
    rate: float = 1.0, slope: float = 0.0, alpha: float = 0.0, norm: Any = None, exactly: bool = False,
    bias: float = 1.0, by_freq: bool = False,
) -> structs.Step:  # fmt: skip
    """Return what a step is made with."""
    max_norm, norm_type = norm or (np.inf, 2.0)
    return structs.Step(
        float(rate), float(slope), float(alpha), max_norm, norm_type, int(exactly), float(bias), int(by_freq)
    )
