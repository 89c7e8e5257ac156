"""Pooling on a GPU: reductions of rows of a table over bags of members, in Numba CUDA.

Everything is one reduction: the rows that the members start <= i < stop of a segment name, taken in one after the
other. In the forward pass the segments are bags and the rows are the table's; in the gradient the segments are rows of
the table and the rows are gradients of bags.

The ``lanes`` threads of a group own one segment: each has some columns of the row, so that no thread waits for another.
A segment with WINDOW or more members is cut into windows of WINDOW members, counted from its own start, so that the
result does not depend on what stands before it. A first kernel reduces every whole window to a row of ``partials``, a
second one takes the partials and then the remaining members. The window that contains position k * WINDOW of the
members is row k of the partials: the windows of one segment have consecutive rows, and no two windows the same.

Every array is C-contiguous. What comes from the user was checked on the host before the launch, or by `check`. Kernels
do not allocate and do not raise. (in) arrays are only read. Offsets have 64 bits throughout.
"""

import math
from functools import cache

import numpy as np
from numba import cuda

from skbag._cuda.calls import completed
from skbag._cuda.jit import device, kernel
from skbag._cuda.reducing import LARGEST, SIZE, SIZES, SQUARES, TOTAL, WINNER, reduce, reduce_few, reduce_many
from skbag._cuda.structs import Source
from skbag._cuda.tile import add_scaled, divided, filled, full, gather, item, larger, larger_at, scatter, tail
from skbag._cuda.vector import as_rule
from skbag._rules.pooling import MAX, MEAN, SQRTN, SUM
from skbag._rules.pooling import size as size_of

as_rule(size_of)

WINDOW = 512  # members
PLAIN, FEW, MANY = range(3)  # ways to reduce: see `reduce_segment`
ALONE = 1, 0, -1  # a pooled row is the block of one mode, see `pool_of`


def way_of(kind):
    """Return how training reduces: sums leave registers for many rows."""
    return MANY if kind[0] == TOTAL else PLAIN


@device
def find(starts, n, position):
    """Return the last k < n with starts[k] <= position; starts[:n] does not decrease, starts[0] <= position."""
    low, high = np.int64(0), np.int64(n)
    while high - low > 1:
        middle = (low + high) // 2
        if item(starts, middle) <= position:
            low = middle
        else:
            high = middle
    return low


@device
def combined(reduction, one, state, other):
    """Return (acc, at, size) of two runs of members, of which ``other`` is the later one; ``one`` is 1."""
    acc, at, size = state
    values, candidates, more = other
    if reduction != LARGEST and reduction != WINNER:
        return add_scaled(acc, values, one, True), at, size + more
    if reduction == WINNER:
        at = larger_at(at, acc, values, one, True, candidates)
    return larger(acc, values, one, True), at, size + more


@device
def window_row(reduction, windows, state, window, slot, lanes):
    """Return (acc, at, size) of a window, from what it was reduced to."""
    at = state[1]
    if reduction == WINNER:
        at = gather(at, windows.at, window, slot, lanes)
    return gather(state[0], windows.partials, window, slot, lanes), at, item(windows.sizes, window)


@device
def reduce_segment(how, kind, source, windows, state, padding, origin, start, stop, slot, lanes):
    """Take a whole segment into (acc, at, size): its windows first, then the members after the last one.

    how : PLAIN, by `reduce`, FEW, by `reduce_few`, or MANY, by `reduce_many`; a compile-time integer. windows :
    structs.Windows, what `windows_kernel` has made of the windows.
    """
    reduction, _, _, _, _, _ = kind
    _, _, members, ids, factors, _ = source
    partials, partial_at, partial_sizes, folded = windows
    rest = start
    if stop - start >= WINDOW:
        n_windows, first = (stop - start) // WINDOW, (start + WINDOW - 1) // WINDOW
        rest += n_windows * WINDOW
        largest = reduction == LARGEST or reduction == WINNER
        merged = reduction if largest else TOTAL, MEAN, SIZES, 0, 0, 1
        parts = Source(partials, partial_at, members, ids, factors, partial_sizes)
        last, empty = first + n_windows, state
        while first < last:  # windows of windows: else a sum of many would be rounded as often
            upto = min(last, first + WINDOW)
            if folded != 0 and upto - first == WINDOW:
                some = window_row(reduction, windows, empty, first, slot, lanes)
            elif how == FEW:
                some = reduce_few(merged, parts, empty, 0, first, upto, slot, lanes)
            else:
                some = reduce(merged, parts, empty, padding, 0, first, upto, slot, lanes)
            state = combined(reduction, partial_sizes.dtype.type(1), state, some)
            first = upto
    if how == FEW:
        if kind[5]:  # counted from the origin on: all together there may be more than 32 bits number
            source = Source(source.rows, source.winners, members, ids, factors, tail(source.weights, origin))
            return reduce_few(kind, source, state, np.int64(0), rest - origin, stop - origin, slot, lanes)
        return reduce_few(kind, source, state, origin, rest, stop, slot, lanes)
    if how == MANY:
        return reduce_many(kind, source, state, padding, origin, rest, stop, slot, lanes)
    return reduce(kind, source, state, padding, origin, rest, stop, slot, lanes)


@device
def window_at(segments, window):
    """Return where the segment of position window * WINDOW and its window begin; -1 if that is not whole."""
    starts, base, position = segments.starts, segments.base, window * WINDOW
    start = begin = np.int64(-1)
    if segments.n > 0 and position < starts[segments.n] - base:
        segment = find(starts, segments.n, position + base)
        start, stop = np.int64(starts[segment] - base), np.int64(starts[segment + 1] - base)
        first = start + (position - start) // WINDOW * WINDOW
        if first + WINDOW <= stop:
            begin = first
    return start, begin


@cache
def window_of(how, kind, lanes, width, vectors):
    """Make the reduction of a whole window of a long segment, by a group of ``lanes`` threads.

    how : PLAIN or MANY, see `reduce_segment`.
    """
    reduction, _, _, _, _, dense = kind
    lowest = -math.inf if reduction in (LARGEST, WINNER) else 0.0

    @device
    def reduce_window(source, padding, out, window, start, begin, lane):
        """Row ``window`` of ``out`` = a reduction of the window at ``begin``, of a segment that begins at ``start``."""
        rows, origin, slot, scalar = source.rows, start if dense else np.int64(0), lane, out.partials.dtype.type
        while slot * width < rows.shape[1]:
            state = full(scalar(lowest), width, vectors), full(np.int32(-1), width, vectors), scalar(0)
            if how == MANY:
                state = reduce_many(kind, source, state, padding, origin, begin, begin + WINDOW, slot, lanes)
            else:
                state = reduce(kind, source, state, padding, origin, begin, begin + WINDOW, slot, lanes)
            acc, at, size = state
            scatter(out.partials, window, slot, lanes, acc)
            if reduction == WINNER:
                scatter(out.at, window, slot, lanes, at)
            out.sizes[window] = size
            slot += lanes * vectors

    return reduce_window


@cache
def windows_kernel(kind, threads, lanes, width, vectors):
    """Make the kernel that reduces whole windows of long segments, one group of ``lanes`` threads per window."""
    reduce_window = window_of(PLAIN, kind, lanes, width, vectors)

    @kernel
    def windows(source, segments, padding, out):
        """Row k of ``out`` = the reduction of the window that contains position k * WINDOW, if there is one.

        source : structs.Source, segments : structs.Segments, in. out : structs.Windows, out.
        Checked by: starts by the host or made on the device, ids by the host or by `check`.
        """
        thread = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        source, out = completed(source, out.partials), completed(out, out.partials)
        start, begin = window_at(segments, thread // lanes)
        if begin >= 0:
            reduce_window(source, padding, out, thread // lanes, start, begin, thread % lanes)

    return windows


@cache
def fold_kernel(reduction, threads, lanes, width, vectors):
    """Make the kernel that reduces WINDOW windows in a row to the first of them, one group of threads for each.

    So the windows of a segment of millions of members are added up by many groups, in the order of `reduce_segment`.
    """
    lowest = -math.inf if reduction in (LARGEST, WINNER) else 0.0
    kind = reduction if reduction in (LARGEST, WINNER) else TOTAL, MEAN, SIZES, 0, 0, 1

    @kernel
    def fold(source, segments, windows):
        """Change row k of ``windows`` where k, k + 1, ... are whole windows of a segment, as many of them before k.

        source : structs.Source, segments : structs.Segments, in. windows : structs.Windows, in-out.
        """
        thread = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        lane, position = thread % lanes, thread // lanes * WINDOW * WINDOW
        source, windows = completed(source, windows.partials), completed(windows, windows.partials)
        starts, base, partials = segments.starts, segments.base, windows.partials
        first, total = np.int64(-1), partials.dtype.type(0)
        if position < starts[segments.n] - base:
            segment = find(starts, segments.n, position + base)
            start, stop = np.int64(starts[segment] - base), np.int64(starts[segment + 1] - base)
            before = (position - start) // (WINDOW * WINDOW)
            if start + (before + 1) * WINDOW * WINDOW <= stop:
                first = (start + WINDOW - 1) // WINDOW + before * WINDOW
        if first >= 0:
            parts = Source(partials, windows.at, source.members, source.ids, source.factors, windows.sizes)
            slot = lane
            while slot * width < partials.shape[1]:
                state = (
                    full(partials.dtype.type(lowest), width, vectors), full(np.int32(-1), width, vectors),
                    partials.dtype.type(0),
                )  # fmt: skip
                acc, at, total = reduce(kind, parts, state, np.int64(-1), 0, first, first + WINDOW, slot, lanes)
                scatter(partials, first, slot, lanes, acc)
                if reduction == WINNER:
                    scatter(windows.at, first, slot, lanes, at)
                slot += lanes * vectors
        cuda.syncthreads()  # all have read the sizes
        if first >= 0 and lane == 0:
            windows.sizes[first] = total

    return fold


@cache
def pool_of(kind, training, long, blocks, lanes, width, vectors):
    """Make the pooling of a bag, by a group of ``lanes`` threads.

    long : whether a bag may have whole windows: code that is not there takes no registers.
    blocks : (n, place, total), how many blocks a bag has, each a row of what is written, and where that of the mode is;
    total : that of the same sum without a divisor, or -1. With SIZE it is read, and was written by another pass.
    """
    reduction, mode, _, _, _, _ = kind
    per_bag, place, total = blocks
    lowest, has_size = -math.inf if mode == MAX else 0.0, int(mode in (MEAN, SQRTN))
    how = way_of(kind) if training else PLAIN

    @device
    def pool_bag(source, segments, padding, windows, out, out_at, sizes, bag, lane):
        """Write the reduction of the rows that the members of a bag name, divided by its size; see `pool_kernel`.

        Squares are divided by the square of the size.
        """
        rows, indptr, base, slot, scalar = source.rows, segments.starts, segments.base, lane, out.dtype.type
        start, stop = np.int64(indptr[bag] - base), np.int64(indptr[bag + 1] - base)
        while slot * width < rows.shape[1]:
            acc = full(scalar(lowest), width, vectors)
            at = full(np.int32(-1), width, vectors)
            state = acc, at, scalar(0)
            if long:
                state = reduce_segment(
                    how, kind, source, windows, state, padding, np.int64(0), start, stop, slot, lanes
                )  # fmt: skip
            elif how == MANY:
                state = reduce_many(kind, source, state, padding, np.int64(0), start, stop, slot, lanes)
            else:
                state = reduce(kind, source, state, padding, np.int64(0), start, stop, slot, lanes)
            acc, at, size = state
            if reduction == SIZE:
                acc = gather(acc, out, bag * per_bag + total, slot, lanes)
            elif total >= 0:
                scatter(out, bag * per_bag + total, slot, lanes, acc)
            if mode != SUM:
                size = size_of(mode, size)
                if size == 0:
                    acc = filled(acc, scalar(0))
                elif mode != MAX:
                    acc = divided(acc, size * size if reduction == SQUARES else size)
            scatter(out, bag * per_bag + place, slot, lanes, acc)
            if training:
                if reduction == WINNER:
                    scatter(out_at, bag, slot, lanes, at)
                if lane == 0:
                    sizes[bag] = size if has_size and size != 0 else scalar(1)
            slot += lanes * vectors

    return pool_bag


@cache
def pool_kernel(kind, long, blocks, threads, lanes, width, vectors):
    """Make the pooling kernel: one group of ``lanes`` threads per bag; for ``long`` and ``blocks`` see `pool_of`."""
    pool_bag = pool_of(kind, 0, long, blocks, lanes, width, vectors)

    @kernel
    def pool(source, segments, padding, windows, out):
        """out[b] = reduction of the rows that the members of bag b name, divided by its size; zeros without members.

        source : structs.Source, segments : structs.Segments, the bags, windows : structs.Windows, in. out : (>= n_bags,
        dim), out; of several blocks a row for each. In training also out_at : (n_bags, dim) int32, out, -1 without
        members, for WINNER: the member that has the maximum; and sizes : (n_bags,), out: what a bag's sum was divided
        by.
        """
        thread = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        source, windows = completed(source, out), completed(windows, out)
        if thread // lanes < segments.n:
            pool_bag(source, segments, padding, windows, out, source.winners, out, thread // lanes, thread % lanes)

    return pool


@cache
def lookup_kernel(threads, lanes, width, vectors):
    """Make the row copying kernel: one group of ``lanes`` threads per row."""

    @kernel
    def lookup(rows, ids, n, out):
        """out[i] = rows[ids[i]] for i < n. rows : (n_rows, dim), ids : (>= n,), in, checked. out : (>= n, dim), out."""
        thread = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        i, slot = thread // lanes, thread % lanes
        if i < n:
            row = np.int64(item(ids, i))
            values = full(rows.dtype.type(0), width, vectors)
            while slot * width < rows.shape[1]:
                values = gather(values, rows, row, slot, lanes)
                scatter(out, i, slot, lanes, values)
                slot += lanes * vectors

    return lookup
