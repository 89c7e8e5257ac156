"""Prediction on the CPU: bags are checked, pooled and taken through the layers in one call of compiled code.

A row goes through the same operations alone and among others, so its outputs are the same to the last bit.
"""

import numpy as np

from skbag._compiled.once import once
from skbag._cpu.best import arrange, keep
from skbag._cpu.calls import call, nth, stored
from skbag._cpu.checking import in_range, increases, moderate, rising
from skbag._cpu.forward import collect_row, maxima_of, pool_sums, squares_of, sums_of
from skbag._cpu.head import WIDE, linear_part, log_sum_exp
from skbag._cpu.jit import inlined, part
from skbag._cpu.leaves import all_leaves, best_leaves
from skbag._cpu.memory import fetch_add, item
from skbag._cpu.pooling import BAGS_TOGETHER
from skbag._cpu.sharing import DONE, EXTREME, INVALID, NEXT, THREAD, UNSORTED, first_bag
from skbag._cpu.tile import full

_OUTPUTS_TOGETHER = 64


@inlined
def _valid(bags, n_rows, first, last, n_members, progress):
    """Whether the bags first <= b < last can be read; tells ``progress`` what is wrong with them."""
    start, stop = np.intp(item(bags.indptr, first)), np.intp(item(bags.indptr, last))
    valid = rising(bags.indptr, first, last) and start >= 0 and stop - start <= n_members
    if not (valid and stop <= len(bags.indices) and in_range(bags.indices, n_rows, start, stop)):
        progress[INVALID] = 1
        return False
    if len(bags.weights) > 0 and not moderate(bags.weights, start, stop):
        progress[EXTREME] = 1
    for bag in range(first, last):
        if progress[UNSORTED] == 0 and not increases(bags.indices, item(bags.indptr, bag), item(bags.indptr, bag + 1)):
            progress[UNSORTED] = 1
    return True


@inlined
def _largest(outputs, p, n):
    """Return the number of the largest of n outputs, the first in a tie; of a single one whether it is above 0."""
    if n == 1:
        return np.int64(outputs[p, 0] > 0)
    best = 0
    for k in range(1, n):
        if outputs[p, k] > outputs[p, best] or (np.isnan(outputs[p, k]) and not np.isnan(outputs[p, best])):
            best = k
    return best


@inlined
def _best(outputs, p, n, best, scores):
    """Find the largest of n outputs: ``best`` gets their numbers, ``scores`` them, the first of equal ones first.

    Where NaN leaves fewer, -1 stands for the rest.
    """
    found = 0
    for j in range(n):
        value = outputs[p, j]
        if (found < len(best) or value > item(scores, 0)) and not np.isnan(value):
            found = keep(best, scores, found, j, value)
    arrange(best, scores, found)


@inlined
def _pool(layout, addresses, largest, sums, squares, maxima, bags, batch, first, last, dim):
    """Pool the rows first <= r < last: batch.pooled[r - first]."""
    to = 0
    for row in range(first, last):
        to = collect_row(layout, bags, row, row - first, to, batch)
    pool_sums(layout, addresses, sums, squares, batch, 0, last - first, dim)
    if layout.maximum >= 0:
        call(largest, (maxima, 0, (last - first) * layout.n_fields, 0, dim, 0))


@once
def predict_kernel(lanes, vector):
    """Make the prediction kernel for a last layer of at least ``lanes`` inputs, and vectors of so many outputs."""

    @inlined
    def answer(layer, predictions, leaves, t, place, first, last):
        """Write what is asked of the rows first <= r < last, whose inputs of the last layer are place + r - first."""
        outputs, choices, best = predictions.outputs, predictions.choices, predictions.best
        scores, rows_out, n_outputs = predictions.scores, layer.outputs, len(layer.coef)
        zero = layer.coef.dtype.type(0)
        tile, wide, outer = full(zero, lanes, 1), full(zero, lanes, WIDE), full(zero, vector, 1)
        if leaves is not None and len(best) > 0:
            for row in range(first, last):
                best_leaves(tile, wide, lanes, layer, place + row - first, leaves, t, best[row], scores[row])
            return
        for k in range(0, n_outputs, _OUTPUTS_TOGETHER):  # whose weights stay in the cache from row to row
            stop = min(n_outputs, k + _OUTPUTS_TOGETHER)
            for p in range(place, place + last - first):
                linear_part(tile, wide, lanes, layer.inputs, p, layer.coef, layer.intercept, rows_out, k, stop)
        for row in range(first, last):
            p = place + row - first
            if leaves is not None:
                all_leaves(outer, vector, leaves, t, rows_out, p, outputs, row)
                continue
            if len(best) > 0:
                _best(rows_out, p, n_outputs, best[row], scores[row])
                predictions.totals[row] = log_sum_exp(outer, vector, rows_out, p, n_outputs)
            if len(choices) > 0:
                choices[row] = _largest(rows_out, p, n_outputs)
            if len(outputs) > 0:
                for k in range(n_outputs):
                    outputs[row, k] = rows_out[p, k]

    @part
    def predict(
        layout, forward, n_layers, layers, batches, largest, reduce, reduce_squares, interact, bags, predictions, leaves
    ):
        """outputs[r] = what the last of the layers makes of pooled[r], choices[r] = number of the largest of these.

        One output is chosen, 1, if it is above 0; of equal ones the first. Or features[r] = pooled[r]. With a tree
        outputs are the logarithms of the probabilities of its leaves.

        Stored tuples of ``skbag._cpu.structs``: layout, forward, in. layers : Layer of each, with scratch for the rows
        of all threads. batches : Batch of each thread, scratch. largest, reduce, reduce_squares, interact : addresses
        of ``pooling.reduce_kernel`` for maxima, sums and squares, and of ``forward.interact``. bags : without an order,
        in; ids, offsets and weights are checked here. predictions : out. leaves : Leaves, without choices; or None.
        """
        features, progress = predictions.features, predictions.progress
        blocks, addresses = (predictions.n_blocks, predictions.shares), (reduce, reduce_squares, interact)
        indptr, n_rows, n_fields = bags.indptr, len(forward.table), layout.n_fields
        t = fetch_add(progress, THREAD, 1)
        batch = nth(batches, t)
        place = t * len(batch.pooled)
        sums = stored(sums_of(forward, batch, layout, progress))
        squares = stored(squares_of(forward, batch, layout, progress))
        maxima = stored(maxima_of(forward, batch, layout, progress))
        block = fetch_add(progress, NEXT, 1)
        while block < blocks[0]:
            begin = first_bag(blocks, block, indptr) // n_fields
            end = first_bag(blocks, block + 1, indptr) // n_fields
            for first in range(begin, end, BAGS_TOGETHER):
                last = min(end, first + BAGS_TOGETHER)
                if not _valid(bags, n_rows, first * n_fields, last * n_fields, len(batch.ids), progress):
                    break
                _pool(
                    layout, addresses, largest, sums, squares, maxima, bags, batch, first, last, forward.table.shape[1]
                )  # fmt: skip
                if len(features) > 0:
                    for row in range(first, last):
                        for d in range(features.shape[1]):
                            features[row, d] = batch.pooled[row - first, d]
                    continue
                for j in range(n_layers - 1):
                    call(nth(layers, j).forward, (nth(layers, j), place, place + last - first))
                answer(nth(layers, n_layers - 1), predictions, leaves, t, place, first, last)
            fetch_add(progress, DONE, 1)
            block = fetch_add(progress, NEXT, 1)

    return predict
