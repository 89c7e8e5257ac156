"""Prediction on the CPU: bags are checked, pooled and taken through the layers in one call of compiled code.

A row goes through the same operations alone and among others, so its outputs are the same to the last bit.
"""

from functools import cache

import numpy as np

from skbag._cpu.calls import call, nth, several, stored
from skbag._cpu.checking import in_range, increases, moderate, rising
from skbag._cpu.forward import collect, reduction_of
from skbag._cpu.head import WIDE, linear
from skbag._cpu.jit import inlined, kernel
from skbag._cpu.memory import fetch_add, item
from skbag._cpu.pooling import BAGS_TOGETHER
from skbag._cpu.sharing import DONE, EXTREME, INVALID, NEXT, THREAD, UNSORTED, first_bag
from skbag._cpu.structs import Bags, Batch, Forward, Layer
from skbag._cpu.tile import full

_layers = several(Layer)


@inlined
def _valid(bags, n_rows, first, last, n_members, progress):
    """Whether some bags can be read; tells ``progress`` what is wrong with them."""
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


@cache
def predict_kernel(lanes):
    """Make the prediction kernel for a last layer of at least ``lanes`` inputs."""

    @kernel
    def predict(mode, reduce, bags, forward, layers, scratch, blocks, progress, outputs, choices):
        """outputs[b] = what the last of the layers makes of pooled[b], choices[b] = number of the largest of these.

        One output is chosen, 1, if it is above 0; of equal ones the first.

        mode, reduce : as in structs.Plan; for MAX the kernel for maxima. bags : structs.Bags, without an order.
        forward : structs.Forward. layers : structs.Layer of each, with scratch for the bags of all threads. scratch :
        the arrays of structs.Batch, for each thread. blocks, progress : see ``pooling``; ids, offsets and weights are
        checked here. outputs : (n_bags, n_outputs), out, or without rows; choices : (n_bags,) int64, out, or empty.
        """
        bags, forward, n_layers = stored(Bags(*bags)), stored(Forward(*forward)), len(layers)
        last_layer = nth(_layers(layers), n_layers - 1)
        coef, intercept, inputs, rows_out = last_layer.coef, last_layer.intercept, last_layer.inputs, last_layer.outputs
        table, indptr = forward.table, bags.indptr
        ids, weights, owners, starts, stops, pooled, winners, rows, gradients, losses = scratch
        t = fetch_add(progress, THREAD, 1)
        batch = stored(
            Batch(
                ids[t], weights[t], owners[t], starts[t], stops[t], pooled[t], winners[t], rows[t], gradients[t],
                losses[t],
            )
        )  # fmt: skip
        reduction = stored(reduction_of(forward, batch, progress))
        zero, n_outputs, place = coef.dtype.type(0), len(coef), t * starts.shape[1]
        tile, wide = full(zero, 0, lanes, 1, 1), full(zero, 0, lanes, WIDE, 1)
        block = fetch_add(progress, NEXT, 1)
        while block < blocks[0]:
            end = first_bag(blocks, block + 1, indptr)
            for first in range(first_bag(blocks, block, indptr), end, BAGS_TOGETHER):
                last = min(end, first + BAGS_TOGETHER)
                if not _valid(bags, len(table), first, last, ids.shape[1], progress):
                    break
                to = 0
                for bag in range(first, last):
                    batch.starts[bag - first] = to
                    to = collect(mode, bags, bag, bag - first, to, batch.ids, batch.weights, batch.bags)
                    batch.stops[bag - first] = to
                call(reduce, (reduction, 0, last - first, 0, table.shape[1]))
                for p in range(place, place + last - first):
                    bag = first + p - place
                    linear(tile, wide, lanes, inputs, p, coef, intercept, rows_out)
                    if len(choices) > 0:
                        choices[bag] = _largest(rows_out, p, n_outputs)
                    if len(outputs) > 0:
                        for k in range(n_outputs):
                            outputs[bag, k] = rows_out[p, k]
            fetch_add(progress, DONE, 1)
            block = fetch_add(progress, NEXT, 1)

    return predict
