"""Forward: from the bags of a mini-batch to pooled rows, on the CPU; and back from the gradients of those.

A row of X is one bag for each field, and a pooled row has some blocks for each of them: the sum, with the divisor of
each mode, the maximum, the interaction. What is behind a pooled row knows its width alone.
"""

import numpy as np

from skbag._cpu.calls import call
from skbag._cpu.jit import as_rule, inlined, part
from skbag._cpu.memory import item, put
from skbag._cpu.storage import number_at
from skbag._cpu.structs import Reduction
from skbag._rules.pooling import MAX, MEAN, SQRTN, share_of_size, size

as_rule(share_of_size)
as_rule(size)


@inlined
def sums_of(forward, batch, layout, progress):
    """Return the bags of a mini-batch, whose weights are those of ``collect``, as something to be reduced to blocks."""
    return Reduction(
        forward.table, batch.weights, forward.scales, batch.ids, None, forward.spare, batch.starts, batch.stops,
        batch.sizes, progress, batch.blocks, layout.places,
    )  # fmt: skip


@inlined
def squares_of(forward, batch, layout, progress):
    """Return the same, to be reduced to ``batch.squares``."""
    return Reduction(
        forward.table, batch.weights, forward.scales, batch.ids, None, forward.spare, batch.starts, batch.stops,
        batch.weights[:0], progress, batch.squares, layout.origin,
    )  # fmt: skip


@inlined
def maxima_of(forward, batch, layout, progress):
    """Return the same without weights, to be reduced to blocks of maxima."""
    return Reduction(
        forward.table, None, forward.scales, batch.ids, None, forward.spare, batch.starts, batch.stops,
        batch.weights[:0], progress, batch.blocks, layout.maxima,
    )  # fmt: skip


@inlined
def main_mode(layout):
    """Return the mode that the members' weights are made for."""
    return layout.modes[0] if len(layout.modes) > 0 else MAX


@inlined
def collect(mode, bags, bag, p, start, ids, weights, owners):
    """Copy the members of a bag to ``start`` and on, with the weight that the gradient has for them; return the end.

    Members that padding_idx or a weight of 0 takes out do not stay, but there has to be room for them. ``weights``
    becomes w, for MEAN w / sum |w|, for SQRTN w / sqrt(sum w ** 2).

    bags : structs.Bags, in. ids, weights : (n_members,), out. owners : (n_members,), out: p for each member.
    """
    end = start
    given, indices, padding_idx = bags.weights, bags.indices, bags.padding_idx
    for i in range(item(bags.indptr, bag), item(bags.indptr, bag + 1)):
        index = np.int64(item(indices, i))
        weight = item(given, i) if len(given) > 0 else weights.dtype.type(1)
        put(ids, end, index)
        put(weights, end, weight)
        put(owners, end, p)
        end += (index != padding_idx) & (weight != 0)  # or the next one takes its place
    if mode in (MEAN, SQRTN):
        total = 0.0
        for i in range(start, end):
            total += share_of_size(mode, np.float64(item(weights, i)))
        scale = weights.dtype.type(1 / size(mode, total)) if end > start else 0
        for i in range(start, end):
            put(weights, i, item(weights, i) * scale)
    return end


@inlined
def collect_row(layout, bags, row, p, start, batch):
    """Copy the members of the fields of a row, see `collect`, as row p of a mini-batch; return the end."""
    mode, n_fields, n_sums = main_mode(layout), layout.n_fields, len(layout.modes)
    n_bags = len(batch.starts)
    for f in range(n_fields):
        q = p * n_fields + f
        batch.starts[q] = start
        stop = collect(mode, bags, row * n_fields + f, q, start, batch.ids, batch.weights, batch.bags)
        batch.stops[q] = stop
        if len(batch.sizes) > 0:
            put(batch.sizes, q, stop > start)
            for k in range(1, n_sums):  # "sum" comes first: the sizes of the others do not change with the weights
                total = 0.0
                for i in range(start, stop):
                    total += share_of_size(layout.modes[k], np.float64(item(batch.weights, i)))
                put(batch.sizes, k * n_bags + q, size(layout.modes[k], total))
        start = stop
    return start


@inlined
def pool_sums(layout, addresses, sums, squares, batch, first, last, dim):
    """Make the blocks of sums and of the interaction, for the rows first <= p < last of a mini-batch.

    addresses : of ``pooling.reduce_kernel``'s kernels for sums and for squares, and of `interact`.
    """
    n_fields = layout.n_fields
    reduce, reduce_squares, interaction = addresses
    if len(layout.places) > 0:
        call(reduce, (sums, first * n_fields, last * n_fields, 0, dim, 0))
    if layout.interaction >= 0:
        call(reduce_squares, (squares, first * n_fields, last * n_fields, 0, dim, 0))
        call(interaction, (layout, batch, first, last, dim))


@part
def interact(layout, batch, first, last, dim):
    """Make the interaction of the rows first <= p < last of a mini-batch, see `_interact`."""
    for p in range(first, last):
        _interact(layout, p, dim, batch.blocks, batch.squares)


@inlined
def _interact(layout, p, dim, blocks, squares):
    """Make the interaction of each field f of a row: (sum_f * (sum_1 + sum_2 + ...) - squares_f) / 2.

    Over all fields they add up to half of the square of the sum minus the sum of the squares (Rendle, 2010).

    blocks : (n_bags, columns), in-out. squares : (n_bags, dim), in.
    """
    n_fields, columns = layout.n_fields, blocks.shape[1]
    first, half = p * n_fields, blocks.dtype.type(0.5)
    total, place = first * columns + layout.interaction, layout.places[0]  # the first takes the sum of all until then
    for d in range(dim):
        put(blocks, total + d, item(blocks, first * columns + place + d))
    for q in range(first + 1, first + n_fields):
        for d in range(dim):
            put(blocks, total + d, item(blocks, total + d) + item(blocks, q * columns + place + d))
    for q in range(first + n_fields - 1, first - 1, -1):
        at, to = q * columns + place, q * columns + layout.interaction
        for d in range(dim):
            value = item(blocks, at + d) * item(blocks, total + d) - item(squares, q * dim + d)
            put(blocks, to + d, half * value)


@part
def fold_gradients(layout, batch, first, last, dim):
    """From the gradients of blocks to those of sums and squares, for the rows first <= p < last of a mini-batch.

    of_sums = sum over the blocks of sums of gradient / size, and what the interaction adds: for the gradients g_f of
    its blocks (g_f * (sum_1 + sum_2 + ...) + g_1 * sum_1 + g_2 * sum_2 + ...) / 2. of_squares = g_f: the gradient of
    squares is -g_f / 2, and that of a member's row, w * row, times 2 w.
    """
    n_fields, columns, n_bags = layout.n_fields, batch.blocks.shape[1], len(batch.starts)
    gradients, blocks, of_sums = batch.of_blocks, batch.blocks, batch.of_sums
    for q in range(first * n_fields, last * n_fields):
        at = q * columns + layout.places[0]
        for d in range(dim):
            put(of_sums, q * dim + d, item(gradients, at + d))
        for k in range(1, len(layout.modes)):
            at, divisor = q * columns + layout.places[k], item(batch.sizes, k * n_bags + q)
            if divisor != 0:
                for d in range(dim):
                    put(of_sums, q * dim + d, item(of_sums, q * dim + d) + item(gradients, at + d) / divisor)
    if layout.interaction < 0:
        return
    place, interaction, half = layout.places[0], layout.interaction, blocks.dtype.type(0.5)
    for p in range(first, last):
        for d in range(dim):
            total = product = blocks.dtype.type(0)
            for q in range(p * n_fields, (p + 1) * n_fields):
                value, g = item(blocks, q * columns + place + d), item(gradients, q * columns + interaction + d)
                total += value
                product += value * g
                put(batch.of_squares, q * dim + d, g)
            for q in range(p * n_fields, (p + 1) * n_fields):
                g = item(batch.of_squares, q * dim + d)
                put(of_sums, q * dim + d, item(of_sums, q * dim + d) + half * (g * total + product))


@part
def pool_maxima(layout, forward, batch, first, last):
    """Make the blocks of maxima, and their winners, for the rows first <= p < last of a mini-batch."""
    for q in range(first * layout.n_fields, last * layout.n_fields):
        start, stop = batch.starts[q], batch.stops[q]
        _pool_max(forward.table, batch.ids, start, stop, batch.blocks, layout.maximum, batch.winners, q)


@inlined
def _pool_max(table, ids, start, stop, blocks, place, winners, q):
    """blocks[q, place:] = elementwise maximum of the rows, winners[q] = the first that has it; zeros, -1 if none.

    NaN is larger than any number, as for torch.

    table : (n_rows, dim), in. ids : (n_members,), in. blocks : (n_bags, columns), out. winners : (n_bags, dim) int64,
    out.
    """
    for d in range(table.shape[1]):
        blocks[q, place + d] = 0
        winners[q, d] = -1
    for i in range(start, stop):
        row = ids[i]
        for d in range(table.shape[1]):
            value, largest = number_at(table, row, d), blocks[q, place + d]
            if winners[q, d] < 0 or value > largest or (np.isnan(value) and not np.isnan(largest)):
                blocks[q, place + d] = value
                winners[q, d] = i
