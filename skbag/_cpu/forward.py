"""Forward: from the bags of a mini-batch to pooled rows, on the CPU."""

from functools import cache

import numpy as np

from skbag._cpu.jit import as_rule, inlined, part
from skbag._cpu.pooling import reduce_bag
from skbag._cpu.tile import full, item, item_bytes, put, store
from skbag._rules.pooling import MEAN, SQRTN, share_of_size, size

as_rule(share_of_size)
as_rule(size)


@cache
def reduce_kernel(lanes, vectors, copies, every, whole, maximum):
    """Make the kernel of weighted sums of rows, for tiles as in ``pooling.pool_kernel``, called by its address.

    With ``maximum`` = 1 of maxima, if all weights are 1.
    """
    span = lanes * vectors

    @part
    def reduce(forward, batch, first, last, ahead):
        """pooled[p] = sum of weights[i] * table[ids[i]] over starts[p] <= i < stops[p], for first <= p < last.

        forward : structs.Forward, in. batch : structs.Batch, in; pooled, out. ahead : how many members ahead rows
        are prefetched, 0 for not at all.
        """
        rows, out, weights, ids = forward.table, batch.pooled, batch.weights, batch.ids
        starts, stops = batch.starts, batch.stops
        dim = span if whole else rows.shape[1]
        itemsize = item_bytes(rows)
        row_bytes = np.uintp(dim) * itemsize
        tail = span - lanes if whole else min(span, dim) - lanes
        neutral = rows.dtype.type(-np.inf if maximum else 0)
        tile, zero = full(neutral, maximum, lanes, vectors, copies), full(rows.dtype.type(0), 0, lanes, vectors, 1)
        for p in range(first, last):
            target = np.uintp(out.ctypes.data) + np.uintp(p) * row_bytes
            for column in range(0, dim, span):
                offset = np.uintp(max(0, min(column, dim - span))) * itemsize
                acc, _ = reduce_bag(
                    tile, np.uintp(rows.ctypes.data) + offset, np.uintp(len(rows)), row_bytes, np.uintp(0), tail,
                    weights, ids, None, item(starts, p), item(stops, p), ahead, every, whole,
                )  # fmt: skip
                store(acc, target + offset, tail)
                if maximum and item(starts, p) == item(stops, p):
                    store(zero, target + offset, tail)

    return reduce


@inlined
def collect(mode, bags, bag, p, start, ids, weights, owners):
    """Copy the members of a bag to ``start`` and on, with the weight that the gradient has for them; return the end.

    Members that padding_idx or a weight of 0 takes out are not copied. ``weights`` becomes w, for MEAN w / sum |w|, for
    SQRTN w / sqrt(sum w ** 2).

    bags : structs.Bags, in. ids, weights : (n_members,), out. owners : (n_members,), out: p for each member.
    """
    total = 0.0
    end = start
    given, indices, padding_idx = bags.weights, bags.indices, bags.padding_idx
    for i in range(item(bags.indptr, bag), item(bags.indptr, bag + 1)):
        index = np.int64(item(indices, i))
        weight = item(given, i) if len(given) > 0 else weights.dtype.type(1)
        if index != padding_idx and weight != 0:
            put(ids, end, index)
            put(weights, end, weight)
            put(owners, end, p)
            total += share_of_size(mode, np.float64(weight))
            end += 1
    if mode in (MEAN, SQRTN):
        scale = weights.dtype.type(1 / size(mode, total)) if end > start else 0
        for i in range(start, end):
            weights[i] *= scale
    return end


@inlined
def pool_max(table, ids, start, stop, pooled, winners, p):
    """pooled[p] = elementwise maximum of the rows, winners[p] = the first member that has it; zeros, -1 if none.

    NaN is larger than any number, as for torch.

    table : (n_rows, dim), in. ids : (n_members,), in. pooled : (n_bags, dim), out. winners : (n_bags, dim) int64, out.
    """
    for d in range(table.shape[1]):
        pooled[p, d] = 0
        winners[p, d] = -1
    for i in range(start, stop):
        row = ids[i]
        for d in range(table.shape[1]):
            value, largest = table[row, d], pooled[p, d]
            if winners[p, d] < 0 or value > largest or (np.isnan(value) and not np.isnan(largest)):
                pooled[p, d] = value
                winners[p, d] = i
