"""The CPU backend's prediction: what is made for a model once, memory, and one call of compiled code."""

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skbag._cpu import backend as cpu
from skbag._cpu import calls, pooling, structs
from skbag._cpu.parts import block_addresses, layers_of, predict_entry, reduce_address, reduce_addresses
from skbag._cpu.scratch import Shape, batch_memory, forward_of, layout_of, leaves_memory, members_of, nothing
from skbag._cpu.sharing import EXTREME, INVALID, UNSORTED
from skbag._cpu.tiling import LARGEST
from skbag._data.bags import Bags
from skbag._data.blocks import Blocks
from skbag._data.model import Model
from skbag._rules.pooling import modes_of

Array = NDArray[Any]

_MOST_KEPT = 1 << 20  # bytes of scratch memory that are kept for the next call: small calls spend their time on it
_NO_ORDER = (nothing(np.dtype(np.int64)),) * 2


def predict(
    bags: Bags, model: Model, blocks: Blocks, n_jobs: int | None, *, choose: bool = False, pooled: bool = False
) -> Array:
    """Pool bags and take them through the layers.

    Parameters
    ----------
    bags : Bags
        Checked here.
    model : Model
        With arrays of one dtype, of which only the values are read; those of the table may be a QuantizedTable.
    blocks : Blocks
        Of the fields of the bags.
    n_jobs : int or None
    choose, pooled : bool

    Returns
    -------
    ndarray of shape (n_rows, n_outputs), (n_rows, n_pooled), or (n_rows,) int64
        The outputs, or with ``choose`` the number of the largest; of a single one whether it is above 0. With
        ``pooled`` what the layer reads. Outputs of a model with a tree are the logarithms of the probabilities of its
        leaves, of which there are as many as classes.

    Raises
    ------
    ValueError
        If indptr decreases, an id is out of range or a weight is not finite.
    """
    if choose and model.tree is not None:
        chosen: Array = np.maximum(best_of(bags, model, blocks, n_jobs, 1)[0][:, 0], 0)  # -1 where all are NaN
        return chosen
    predictor, n = _predictor_of(model, blocks), bags.n_rows
    shape = predictor.shape
    features, outputs, choices, best = predictor.nothing
    if pooled:
        out = features = np.empty((n, shape.n_pooled), shape.dtype)
    elif choose:
        out = choices = np.empty(n, np.int64)
    else:
        out = outputs = np.empty((n, shape.n_outputs + (model.tree is not None)), shape.dtype)
    predictor.run(bags, n_jobs, (features, outputs, choices, *best))
    return out


def best_of(bags: Bags, model: Model, blocks: Blocks, n_jobs: int | None, k: int) -> tuple[Array, Array, Array]:
    """Return the k largest outputs of each row, without all of them in memory; otherwise as `predict`.

    Returns
    -------
    numbers : ndarray of shape (n_rows, k), int64
        The largest first, of equal ones the first; -1 where NaN leaves fewer than k.
    outputs : ndarray of shape (n_rows, k)
    totals : ndarray of shape (n_rows,)
        The logarithm of the sum of the exponentials of all outputs: 0 for a model with a tree.
    """
    predictor, n = _predictor_of(model, blocks), bags.n_rows
    dtype = predictor.shape.dtype
    best = np.empty((n, k), np.int64), np.empty((n, k), dtype), np.zeros(n, dtype)
    predictor.run(bags, n_jobs, (*predictor.nothing[:3], *best))
    return best


def _predictor_of(model: Model, blocks: Blocks) -> "_Predictor":
    """Return the predictor of a model, which is made once."""
    found = model.made.get(blocks)
    if found is None:
        found = model.made[blocks] = _Predictor(model, blocks)
    return found


class _Way(NamedTuple):
    """How rows are predicted with a model of some shape."""

    layout: structs.Layout
    addresses: tuple[int, ...]  # of kernels for maxima, sums, squares and the interaction
    work_of_member: int  # multiplications
    work_of_row: int


@lru_cache(maxsize=64)
def _way_of(shape: Shape, layout: tuple[int, ...]) -> _Way:
    largest = reduce_address(layout, shape.kind, LARGEST) if "max" in modes_of(shape.blocks.mode) else 0
    of_layers = sum((width + 16) * outputs for width, outputs in pairwise(shape.widths))
    addresses = largest, *reduce_addresses(layout, shape), block_addresses(shape).interact
    return _Way(layout_of(shape.blocks, shape.dim), addresses, shape.dim + 16, shape.n_pooled + 16 + of_layers)


class _Scratch(NamedTuple):
    """Memory for rows that are predicted together, and the call of the kernel with it."""

    ids: np.dtype[Any]
    n_rows: int
    n_members: int
    keeps: bool  # for the next call: it is small
    call: calls.Record  # of what a call brings
    work: cpu.Work


class _Predictor:
    """Predicts with one model: what does not depend on the bags."""

    def __init__(self, model: Model, blocks: Blocks) -> None:
        self.shape = shape = Shape.of(model, blocks)
        forward = forward_of(model.table.values)
        self._layers, self._activation, self._tree = model.layers, model.activation, model.tree  # the model keeps this
        self._forward, self._way = forward, _way_of(shape, cpu.layout(forward.table))
        none = np.empty(0, shape.dtype)
        self.nothing = (
            none.reshape(0, shape.n_pooled), none.reshape(0, shape.n_outputs), np.empty(0, np.int64),
            (np.empty((0, 0), np.int64), none.reshape(0, 0), none),
        )  # fmt: skip
        self._spare: list[_Scratch] = []  # that no call uses

    def _scratch_for(self, n_rows: int, n_members: int, ids: np.dtype[Any], n_threads: int) -> _Scratch:
        """Return memory for so many rows, and members of them, in each thread."""
        if n_threads == 1 and self._spare:
            try:
                found = self._spare.pop()
            except IndexError:  # another thread has taken it
                found = None
            if found is not None and found.ids == ids and found.n_rows >= n_rows and found.n_members >= n_members:
                return found
        if n_threads == 1:
            n_members = 1 << max(6, (n_members - 1).bit_length())
        batch = batch_memory(self.shape, n_rows, n_members, times=(n_threads,))
        keeps = n_threads == 1 and sum(array.nbytes for array in batch) <= _MOST_KEPT
        layers = layers_of(self._layers, self._activation, self.shape, batch)
        leaves = () if self._tree is None else (leaves_memory(self.shape, self._tree, n_threads),)
        batches = (structs.Batch(*(array[t] for array in batch)) for t in range(n_threads))
        n_layers, way = len(layers), self._way
        entry = predict_entry(self.shape, ids, n_layers, n_threads, tree=bool(leaves))
        record = entry.lasting.store(way.layout, self._forward, *layers, *batches, *leaves)
        call = calls.Record(entry.passing)
        layout, forward, first_layer, *others = record.addresses
        work = calls.calling(
            (record, call),
            entry.address, layout, forward, n_layers, first_layer, others[n_layers - 1], *way.addresses,
            *call.addresses, others[-1] if leaves else 0,
        )  # fmt: skip
        return _Scratch(ids, n_rows, n_members, keeps, call, work)

    def run(self, bags: Bags, n_jobs: int | None, out: tuple[Array, ...]) -> None:
        """Fill the arrays that have rows; see `predict`."""
        way, n, n_members = self._way, bags.n_rows, bags.n_members
        shares = cpu._blocks(n_members * way.work_of_member + n * way.work_of_row, n_jobs)
        n_rows = min(n, pooling.BAGS_TOGETHER)
        most = n_members if n == n_rows else _most_members(bags)
        scratch = self._scratch_for(n_rows, most, bags.indices.dtype, shares[2])
        members = members_of(bags, self.shape.dtype, *_NO_ORDER)

        def work_of(blocks: tuple[int, int], progress: Array) -> cpu.Work:
            scratch.call.fill(members, (*blocks, progress, *out))
            return scratch.work

        progress = cpu.share(work_of, shares, ordered=bags.stored is not None)
        if scratch.keeps:  # there was one thread, which is done
            scratch.call.forget()
        if scratch.keeps and not self._spare:
            self._spare.append(scratch)
        if progress[INVALID]:
            bags.raise_bad_member()
        if (progress[EXTREME] and not bags.is_rescaled) or (progress[UNSORTED] and bags.stored is not None):
            fit = cpu.check(bags, self.shape.blocks.mode, n_jobs)
            if fit is not bags:
                self.run(fit, n_jobs, out)


def _most_members(bags: Bags) -> int:
    """Return how many members some of many bags may have that are predicted together, if indptr does not decrease."""
    indptr = bags.indptr[:: bags.n_fields]
    most = int((indptr[pooling.BAGS_TOGETHER :] - indptr[: -pooling.BAGS_TOGETHER]).max())
    return max(0, min(most, bags.n_members))
