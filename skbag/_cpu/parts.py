"""The parts of kernels that are compiled for a table, a loss and a solver, and the types of what they are given."""

from functools import lru_cache
from types import NoneType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skbag._cpu import backend as cpu
from skbag._cpu import calls, chosen, forward, head, hidden, pooling, predict, rows, step, structs, update
from skbag._cpu.scratch import (
    Shape,
    batch_memory,
    block_of,
    chosen_memory,
    forward_of,
    layout_of,
    nothing,
    parts_memory,
    step_of,
)
from skbag._cpu.tiling import LARGEST, SQUARES, TOTAL, Tiling
from skbag._cpu.undo import take
from skbag._data.bags import frozen
from skbag._data.blocks import Blocks
from skbag._data.model import Layer
from skbag._data.quantized import BITS
from skbag._data.some_outputs import Tree
from skbag._rules.activations import Activation
from skbag._rules.losses import Loss
from skbag._rules.pooling import modes_of, sums_in
from skbag._rules.solvers import SOLVERS, Solver

Array = NDArray[Any]


def layers_of(
    model_layers: tuple[Layer, ...], activation: Activation, shape: Shape, batch: structs.Batch,
    solver: Solver | None = None,
) -> tuple[tuple[Any, ...], ...]:  # fmt: skip
    """Return what structs.Layer has of each layer, with scratch memory; ``solver`` for training."""
    layers = []
    inputs, outputs, gradients = (_rows(array) for array in (batch.pooled, batch.outputs, batch.gradients))
    n, update, kind = len(inputs), 0, (shape.dtype, shape.dtype, shape.many)
    for layer, n_inputs, columns in zip(model_layers, shape.widths, shape.columns[1:], strict=False):
        arrays = frozen(layer.weights.values), frozen(layer.intercepts.values), inputs
        if solver is not None:
            update = update_addresses(n_inputs, kind, solver)[0]
        if layer is model_layers[-1]:
            layers.append((*arrays, outputs, outputs, gradients, 0, 0, update))
            break
        activated = np.empty((n, columns), shape.dtype)
        deltas = np.empty((0 if solver is None else n, columns), shape.dtype)
        kernels = hidden_addresses(n_inputs, kind, activation)
        layers.append((*arrays, activated, deltas, gradients, *kernels, update))
        inputs, gradients = activated, deltas
    return tuple(layers)


def _rows(scratch: Array) -> Array:
    """Return scratch memory of rows with one dimension for all that comes before."""
    return scratch.reshape(-1, scratch.shape[-1])


@lru_cache(maxsize=16)
def _kinds(dtype: np.dtype[Any], stored: np.dtype[Any], many: bool) -> SimpleNamespace:
    """Return the Numba types of what parts of kernels are given; ``many`` is for tables of 2 ** 31 rows."""
    shape = Shape(1 << 31 if many else 1, 1, (1, 1), dtype, stored)
    rows, numbers, n = np.empty((1, 1), dtype), np.empty(1, dtype), np.empty(1, np.int64)
    table, bias = (structs.Parameters(values, np.empty(1), values, values) for values in (rows, numbers))
    table = table._replace(values=np.empty((1, 1), stored))
    batch, parts = batch_memory(shape, 1, 1), parts_memory(shape, 1, 1, 1)
    forward, coef = forward_of(table.values), frozen(rows)
    if stored == BITS["int8"]:
        forward = forward._replace(scales=nothing(dtype))
    layer = structs.Layer(coef, nothing(dtype), rows, rows, rows, rows, 0, 0, 0)
    reduction = structs.Reduction(
        forward.table, batch.weights, forward.scales, batch.ids, None, forward.spare, n, n, numbers, n, batch.pooled,
        layout_of(shape.blocks, 1).places,
    )  # fmt: skip
    examples = {
        "plan": structs.Plan(*(1,) * len(structs.Plan._fields)), "layout": layout_of(shape.blocks, 1),
        "forward": forward, "undo": take(None, table, 0, SOLVERS["sgd"], ""), "terms": n, "weights": numbers,
        "ids": batch.ids, "rows": rows, "table": table, "bias": bias, "batch": batch, "parts": parts,
        "chosen": chosen_memory(shape, None, 1, 1, 1),
        "targets": structs.Targets(n, n, n, numbers, np.empty(1), n), "step": step_of(), "tickets": n,
        "count": 0, "rate": 0.0, "layer": layer, "reduction": reduction,
        "unweighted": reduction._replace(multipliers=None), "progress": structs.Progress(n, np.empty(1), 1, 0),
        "leaves": structs.Leaves(np.empty(1, np.int32), rows, np.empty((1, 1), np.int32), np.empty((1, 1, 1), dtype)),
        "predictions": structs.Predictions(1, 1, n, rows, rows, n, np.empty((1, 1), np.int64), rows, numbers),
    }  # fmt: skip
    return SimpleNamespace(**{name: calls.kind_of(example) for name, example in examples.items()})


def _bags_kind(dtype: np.dtype[Any], ids: np.dtype[Any]) -> Any:
    places, order = frozen(np.empty(1, ids)), np.empty(1, np.int64)
    return calls.kind_of(structs.Bags(frozen(np.empty(1, dtype)), places, places, -1, order, order))


class Entry(NamedTuple):
    """A kernel that Python calls, and how what it is given is stored.

    What lasts, what holds for many calls, and what a call brings.
    """

    address: int
    lasting: calls.Recipe
    settings: calls.Recipe
    passing: calls.Recipe


@lru_cache(maxsize=64)
def train_entry(kind: tuple[Any, ...], ids: np.dtype[Any], n_layers: int) -> Entry:
    """Return ``step.train`` for bags with such ids; its code is the same for any number of layers."""
    kinds, layer = _kinds(*kind), _kinds(kind[0], kind[0], kind[2])
    lasting = kinds.layout, kinds.forward, kinds.table, layer.bias, kinds.batch, kinds.parts
    of_layers = layer.layer, layer.table, layer.bias
    settings = kinds.plan, kinds.step, kinds.chosen, kinds.undo, layer.undo
    passing = _bags_kind(kind[0], ids), kinds.targets, kinds.progress
    address = calls.address_of(
        step.train, *lasting, kinds.count, *map(calls.several, of_layers), *settings, calls.several(kinds.step),
        *passing,
    )  # fmt: skip
    repeated = (each for each in of_layers for _ in range(n_layers))
    return Entry(
        address, calls.Recipe(*lasting, *repeated), calls.Recipe(*settings, *(kinds.step,) * n_layers),
        calls.Recipe(*passing),
    )  # fmt: skip


@lru_cache(maxsize=64)
def predict_entry(shape: Shape, ids: np.dtype[Any], n_layers: int, n_threads: int, *, tree: bool) -> Entry:
    """Return ``predict.predict_kernel``'s kernel for a model of some shape."""
    kinds, dtype = _kinds(*shape.kind), shape.dtype
    lasting, passing = (kinds.layout, kinds.forward), (_bags_kind(dtype, ids), kinds.predictions)
    of_layers, of_threads, count = calls.several(kinds.layer), calls.several(kinds.batch), kinds.count
    address = calls.address_of(
        predict.predict_kernel(lanes_of(shape.widths[-2], dtype), block_of(dtype)), *lasting, count, of_layers,
        of_threads, *(count,) * 4, *passing, kinds.leaves if tree else calls.kind_of(None),
    )  # fmt: skip
    repeated = *(kinds.layer,) * n_layers, *(kinds.batch,) * n_threads, *(kinds.leaves,) * tree
    return Entry(address, calls.Recipe(*lasting, *repeated), calls.Recipe(), calls.Recipe(*passing))


@lru_cache(maxsize=64)
def reduce_address(layout: tuple[int, ...], kind: tuple[Any, ...], by: int) -> int:
    """Return the address of ``pooling.reduce_kernel``'s kernel for a mini-batch.

    For layouts see ``backend.layout``, for ``kind`` `Shape.kind`; ``by`` is what a tile takes in rows by.
    """
    kinds = _kinds(*kind)
    reduction = kinds.unweighted if by == LARGEST else kinds.reduction
    return pooling.reduce_kernel(by).address(Tiling(*layout), reduction, *(kinds.count,) * 5)


def reduce_addresses(layout: tuple[int, ...], shape: Shape) -> tuple[int, int]:
    """Return the addresses of the kernels for sums of a mini-batch and for sums of squares, 0 where there are none."""
    kinds = (TOTAL, SQUARES) if shape.blocks.interaction else (TOTAL,) if sums_in(shape.blocks.mode) else ()
    sums, squares, *_ = *(reduce_address(layout, shape.kind, kind) for kind in kinds), 0, 0
    return sums, squares


def lanes_of(width: int, dtype: np.dtype[Any]) -> int:
    """Return how many columns of rows of a width are taken at once."""
    return cpu.tile_of(width, dtype.itemsize)[0]


@lru_cache(maxsize=64)
def head_address(n_inputs: int, kind: tuple[Any, ...], loss: Loss, outputs: type) -> int:
    """Return the address of ``head.head_kernel``'s kernel for a layer, or of the one for such a choice of outputs."""
    kinds, dtype = _kinds(*kind), kind[0]
    tile = lanes_of(n_inputs, dtype), block_of(dtype), loss
    heading = head.head_kernel(*tile) if outputs is NoneType else chosen.chosen_head_kernel(*tile, outputs is Tree)
    return calls.address_of(
        heading, kinds.targets, kinds.chosen, kinds.layer, kinds.batch, kinds.parts, *(kinds.count,) * 6
    )


@lru_cache(maxsize=64)
def hidden_addresses(n_inputs: int, kind: tuple[Any, ...], activation: Activation) -> tuple[int, int]:
    """Return the addresses of ``hidden.forward_kernel``'s and ``hidden.back_kernel``'s kernels for a layer."""
    kinds, dtype = _kinds(*kind), kind[0]
    forward, back = (
        calls.address_of(make(lanes_of(n_inputs, dtype), block_of(dtype), activation), kinds.layer, *(kinds.count,) * 2)
        for make in (hidden.forward_kernel, hidden.back_kernel)
    )
    return forward, back


@lru_cache(maxsize=64)
def update_addresses(dim: int, kind: tuple[Any, ...], solver: Solver) -> tuple[int, int]:
    """Return the addresses of ``update.update_kernel``'s kernel and of ``update.add``; 0 if there is none.

    For the table; with a ``kind`` whose ``stored`` is its dtype, for a layer.
    """
    kinds, dtype, stored = _kinds(*kind), *kind[:2]
    count, tickets, tile = kinds.count, kinds.tickets, _tile_of(dim, dtype)
    updating = update.update_kernel(solver).address(
        tile, kinds.terms, count, kinds.weights, count, kinds.ids, kinds.rows, kinds.parts, count, count, kinds.table,
        kinds.bias, kinds.step, count, kinds.rate, tickets,
    )  # fmt: skip
    adding = 0
    if solver.linear and stored == dtype:
        adding = update.add.address(
            tile, kinds.batch, kinds.parts, count, count, count, kinds.rate, kinds.table, tickets
        )  # fmt: skip
    return updating, adding


class BlockAddresses(NamedTuple):
    """Addresses of ``forward``'s kernels, 0 where none is needed."""

    maxima: int
    interact: int
    fold: int


@lru_cache(maxsize=64)
def block_addresses(shape: Shape, *, back: bool = False) -> BlockAddresses:
    """Return the kernels for blocks that are no sums, and for gradients of several; ``back`` says for training."""
    kinds, blocks = _kinds(*shape.kind), shape.blocks
    count, maxima, fold = kinds.count, 0, 0
    of_rows = kinds.layout, kinds.batch, count, count, count
    if back and "max" in modes_of(blocks.mode):
        maxima = calls.address_of(forward.pool_maxima, kinds.layout, kinds.forward, kinds.batch, count, count)
    if back and sums_in(blocks.mode) and blocks.per_field > 1:
        fold = calls.address_of(forward.fold_gradients, *of_rows)
    return BlockAddresses(maxima, calls.address_of(forward.interact, *of_rows) if blocks.interaction else 0, fold)


@lru_cache(maxsize=64)
def rows_address(kind: tuple[Any, ...], *, linear: bool, gathers: bool) -> int:
    """Return the address of ``rows.rows_kernel``'s kernel for a table, or if ``linear`` that of ``rows.add_rows``."""
    kinds = _kinds(*kind)
    if linear:
        return calls.address_of(
            rows.add_rows, kinds.plan, kinds.rate, kinds.count, kinds.table, kinds.batch, kinds.parts, kinds.undo,
            kinds.tickets,
        )  # fmt: skip
    return _rows_address(kinds, kinds.parts, kinds.batch, gathers)


@lru_cache(maxsize=64)
def outputs_address(kind: tuple[Any, ...], outputs: type) -> int:
    """Return the address of ``rows.rows_kernel``'s kernel for a layer; 0 if bags have to do with all its outputs."""
    if outputs is NoneType:
        return 0
    kinds = _kinds(kind[0], kind[0], kind[2])
    return _rows_address(kinds, kinds.chosen, kinds.chosen, gathers=False)


def _rows_address(kinds: SimpleNamespace, lists: Any, members: Any, gathers: bool) -> int:
    counts = (kinds.count,) * 3
    return calls.address_of(
        rows.rows_kernel(gathers), kinds.plan, kinds.layout, lists, members, kinds.rows, kinds.batch, kinds.table,
        kinds.bias, kinds.step, kinds.parts, kinds.undo, kinds.count, kinds.count, kinds.rate, *counts, kinds.tickets,
    )  # fmt: skip


@lru_cache(maxsize=64)
def gather_address(dim: int, kind: tuple[Any, ...], blocks: Blocks) -> int:
    """Return the address of ``update.gather_kernel``'s kernel; 0 if none is needed."""
    if not (sums_in(blocks.mode) and (blocks.interaction or "max" in modes_of(blocks.mode))):
        return 0
    kinds = _kinds(*kind)
    count = kinds.count
    return update.gather_kernel(bool(blocks.interaction)).address(
        _tile_of(dim, kind[0]), kinds.terms, count, kinds.table, kinds.batch, kinds.parts, count, count
    )


def _tile_of(dim: int, dtype: np.dtype[Any]) -> Tiling:
    """Return the tile by which rows of a width are changed."""
    lanes = lanes_of(dim, dtype)
    n_vectors = -(-dim // lanes)
    return Tiling(lanes, min(n_vectors, update.MOST_VECTORS), single=int(n_vectors <= update.MOST_VECTORS))
