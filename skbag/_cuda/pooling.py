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

from skbag._cuda.jit import device, kernel
from skbag._cuda.structs import Source
from skbag._cuda.tile import add_scaled, add_where, divided, filled, full, gather, item, larger, larger_at, scatter
from skbag._cuda.vector import as_rule
from skbag._rules.pooling import MAX, MEAN, SQRTN, SUM, share_of_size
from skbag._rules.pooling import size as size_of

as_rule(share_of_size)
as_rule(size_of)

TOTAL, LARGEST, WINNER, WON = range(4)  # reductions: sum; maximum; maximum and who has it; sum of what a member won
UNIT, WEIGHTS, FILTER, SIZES = range(4)  # a member's weight: 1; weights[i]; 1 where weights[i] is not 0; see `member`
INVALID, INFINITE, FALLING, EXTREME, UNSORTED = range(5)  # findings of `check`
WINDOW = 512  # members


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
def member(kind, source, padding, origin, i):
    """Return i, the row that member i names, what multiplies it, its weight, and whether it counts.

    kind : (reduction, mode, weighting, factored, padded, dense), compile-time integers; with ``dense`` member i names
        the row i - origin, with ``padded`` a member that names the row ``padding`` does not count.
    source : structs.Source, the arrays that `reduce` reads.
    With SIZES the members are windows: weights[i] is the size of one, and nothing multiplies it.
    """
    _, _, weighting, factored, padded, dense = kind
    _, _, _, ids, factors, weights = source
    row = i - origin if dense else np.int64(item(ids, i))
    factor = weight = weights.dtype.type(1)
    keep = True
    if padded:
        keep = row != padding
    if weighting == WEIGHTS:
        factor = weight = item(weights, i)
    elif weighting == SIZES:
        weight = item(weights, i)
    elif weighting == FILTER:
        keep = keep and item(weights, i) != 0
    if factored:
        factor *= item(factors, i)
    return i, row if keep else np.int64(0), factor, weight, keep


@device
def take(kind, source, state, one, values, slot, lanes):
    """Take the row ``values`` of a member, as `member` describes it, into (acc, at, size)."""
    reduction, mode, _, _, _, dense = kind
    _, winners, members, _, _, _ = source
    acc, at, size = state
    i, row, factor, weight, keep = one
    if reduction == TOTAL:
        acc = add_scaled(acc, values, factor, keep)
    elif reduction == WON:
        acc = add_where(acc, values, gather(at, winners, row, slot, lanes), item(members, i))
    else:
        if reduction == WINNER:
            candidates = gather(at, winners, row, slot, lanes) if dense else filled(at, np.int32(i))
            at = larger_at(at, acc, values, factor, keep, candidates)
        acc = larger(acc, values, factor, keep)
    if keep:
        size += share_of_size(mode, weight)
    return acc, at, size


@device
def reduce(kind, source, state, padding, origin, start, stop, slot, lanes):
    """Take the members start <= i < stop into (acc, at, size), in order.

    Four rows are loaded before the first is used: loads in flight are what keeps the memory busy.

    acc : columns of the sum or maximum. at : of these, which member has the maximum. size : of the bag, see `take`.
    WINNER : ``at`` becomes the first member that has the maximum; of windows, what ``winners`` says of the window.
    WON : only those columns are added in which winners[row] is members[i].
    """
    rows = source[0]
    i = start
    while i + 3 < stop:
        one0 = member(kind, source, padding, origin, i)
        one1 = member(kind, source, padding, origin, i + 1)
        one2 = member(kind, source, padding, origin, i + 2)
        one3 = member(kind, source, padding, origin, i + 3)
        values0 = gather(state[0], rows, one0[1], slot, lanes)
        values1 = gather(state[0], rows, one1[1], slot, lanes)
        values2 = gather(state[0], rows, one2[1], slot, lanes)
        values3 = gather(state[0], rows, one3[1], slot, lanes)
        state = take(kind, source, state, one0, values0, slot, lanes)
        state = take(kind, source, state, one1, values1, slot, lanes)
        state = take(kind, source, state, one2, values2, slot, lanes)
        state = take(kind, source, state, one3, values3, slot, lanes)
        i += 4
    while i < stop:
        one = member(kind, source, padding, origin, i)
        state = take(kind, source, state, one, gather(state[0], rows, one[1], slot, lanes), slot, lanes)
        i += 1
    return state


@device
def combined(reduction, one, state, other):
    """Return (acc, at, size) of two runs of members, of which ``other`` is the later one; ``one`` is 1."""
    acc, at, size = state
    values, candidates, more = other
    if reduction in (TOTAL, WON):
        return add_scaled(acc, values, one, True), at, size + more
    if reduction == WINNER:
        at = larger_at(at, acc, values, one, True, candidates)
    return larger(acc, values, one, True), at, size + more


@device
def reduce_segment(kind, source, windows, state, padding, origin, start, stop, slot, lanes):
    """Take a whole segment into (acc, at, size): its windows first, then the members after the last one.

    windows : structs.Windows, what `windows_kernel` has made of the windows.
    """
    reduction, _, _, _, _, _ = kind
    _, _, members, ids, factors, _ = source
    partials, partial_at, partial_sizes = windows
    n_windows = (stop - start) // WINDOW
    if n_windows > 0:
        first = (start + WINDOW - 1) // WINDOW
        merged = TOTAL if reduction == WON else reduction, MEAN, SIZES, 0, 0, 1
        parts = Source(partials, partial_at, members, ids, factors, partial_sizes)
        last, empty = first + n_windows, state
        while first < last:  # windows of windows: else a sum of many would be rounded as often
            upto = min(last, first + WINDOW)
            some = reduce(merged, parts, empty, padding, 0, first, upto, slot, lanes)
            state = combined(reduction, partial_sizes.dtype.type(1), state, some)
            first = upto
    return reduce(kind, source, state, padding, origin, start + n_windows * WINDOW, stop, slot, lanes)


@cache
def windows_kernel(kind, threads, lanes, width, vectors):
    """Make the kernel that reduces whole windows of long segments, one group of ``lanes`` threads per window."""
    reduction, _, _, _, _, dense = kind
    lowest = -math.inf if reduction in (LARGEST, WINNER) else 0.0

    @kernel
    def windows(source, segments, padding, out):
        """Row k of ``out`` = the reduction of the window that contains position k * WINDOW, if there is one.

        source : structs.Source, segments : structs.Segments, in. out : structs.Windows, out.
        Checked by: starts by the host or made on the device, ids by the host or by `check`.
        """
        rows, starts, base = source.rows, segments.starts, segments.base
        thread = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        window, lane = thread // lanes, thread % lanes
        position = window * WINDOW
        n_segments = min(np.int64(segments.n), segments.limit[0])
        if n_segments > 0 and position < starts[n_segments] - base:
            segment = find(starts, n_segments, position + base)
            start, stop = np.int64(starts[segment] - base), np.int64(starts[segment + 1] - base)
            begin = start + (position - start) // WINDOW * WINDOW
            if begin + WINDOW <= stop:
                origin = start if dense else np.int64(0)
                slot = lane
                while slot * width < rows.shape[1]:
                    acc = full(rows.dtype.type(lowest), width, vectors)
                    at = full(np.int32(-1), width, vectors)
                    state = acc, at, rows.dtype.type(0)
                    acc, at, size = reduce(
                        kind, source, state, padding, origin, begin, begin + WINDOW, slot, lanes
                    )  # fmt: skip
                    scatter(out.partials, window, slot, lanes, acc)
                    if reduction == WINNER:
                        scatter(out.at, window, slot, lanes, at)
                    out.sizes[window] = size
                    slot += lanes * vectors

    return windows


@cache
def pool_kernel(kind, training, threads, lanes, width, vectors):
    """Make the pooling kernel: one group of ``lanes`` threads per bag."""
    reduction, mode, _, _, _, _ = kind
    lowest = -math.inf if mode == MAX else 0.0

    @kernel
    def pool(source, segments, padding, windows, out, out_at, sizes):
        """out[b] = reduction of the rows that the members of bag b name, divided by its size; zeros without members.

        source : structs.Source, segments : structs.Segments, the bags, windows : structs.Windows, in. out : (>= n_bags,
        dim), out. For ``training`` also out_at : (n_bags, dim) int32, out, -1 without members, for WINNER: the member
        that has the maximum; and sizes : (n_bags,), out: what a bag's sum was divided by.
        """
        rows, indptr, base = source.rows, segments.starts, segments.base
        thread = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        bag, lane = thread // lanes, thread % lanes
        if bag < segments.n:
            start, stop = np.int64(indptr[bag] - base), np.int64(indptr[bag + 1] - base)
            slot = lane
            while slot * width < rows.shape[1]:
                acc = full(rows.dtype.type(lowest), width, vectors)
                at = full(np.int32(-1), width, vectors)
                state = acc, at, rows.dtype.type(0)
                acc, at, size = reduce_segment(
                    kind, source, windows, state, padding, np.int64(0), start, stop, slot, lanes
                )  # fmt: skip
                if mode != SUM:
                    size = size_of(mode, size)
                    if size == 0:
                        acc = filled(acc, rows.dtype.type(0))
                    elif mode != MAX:
                        acc = divided(acc, size)
                scatter(out, bag, slot, lanes, acc)
                if training:
                    if reduction == WINNER:
                        scatter(out_at, bag, slot, lanes, at)
                    if lane == 0:
                        sizes[bag] = size if mode in (MEAN, SQRTN) and size != 0 else rows.dtype.type(1)
                slot += lanes * vectors

    return pool


@cache
def lookup_kernel(threads, lanes, width, vectors):
    """Make the row copying kernel: one group of ``lanes`` threads per row."""

    @kernel
    def lookup(rows, ids, to_ids, n, out):
        """out[i] = rows[ids[i]] for i < n; or with ``to_ids``, out[ids[i]] = rows[i].

        rows : (n_rows, dim), in. ids : (>= n,), in, checked. out : (>= n, dim), out; with ``to_ids`` of any length.
        """
        thread = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        i, slot = thread // lanes, thread % lanes
        if i < n:
            row = np.int64(item(ids, i))
            values = full(rows.dtype.type(0), width, vectors)
            while slot * width < rows.shape[1]:
                values = gather(values, rows, i if to_ids else row, slot, lanes)
                scatter(out, row if to_ids else i, slot, lanes, values)
                slot += lanes * vectors

    return lookup


@device
def group_total(scratch, value, lanes, maximum):
    """Return the sum, or the maximum, of the values of the threads of a group; every thread of the block must call it.

    scratch : (threads,) float64 in shared memory.
    """
    thread = cuda.threadIdx.x
    lane = thread % lanes
    scratch[thread] = value
    cuda.syncthreads()
    half = lanes // 2
    while half > 0:
        if lane < half:
            other = scratch[thread + half]
            scratch[thread] = max(scratch[thread], other) if maximum else scratch[thread] + other
        cuda.syncthreads()
        half //= 2
    total = scratch[thread - lane]
    cuda.syncthreads()
    return total


@device
def power(value, norm_type):
    """Return what a value brings to the norm of its row, in float64."""
    size = abs(np.float64(value))
    if norm_type == 2.0:
        return size * size
    return size if norm_type == 1.0 or norm_type == math.inf else math.pow(size, norm_type)


@device
def norm_of(total, norm_type):
    """Return the norm from the sum of the powers, or from their maximum."""
    if norm_type == 2.0:
        return math.sqrt(total)
    return total if norm_type == 1.0 or norm_type == math.inf else math.pow(total, 1.0 / norm_type)


@cache
def norm_factors_kernel(threads, lanes):
    """Make the kernel of the factors for max_norm: one group of ``lanes`` threads per row."""

    @kernel
    def norm_factors(rows, ids, max_norm, norm_type, out):
        """out[i] = max_norm / (norm + 1e-7) where the norm of rows[ids[i]] exceeds max_norm, else 1.

        The 1e-7 is torch's (torch.embedding_renorm_). rows : (n_rows, dim), in. ids : (>= n,), in, checked.
        out : (n,), out.
        """
        scratch = cuda.shared.array(threads, np.float64)
        thread = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        i, lane = thread // lanes, thread % lanes
        total = 0.0
        if i < len(out):
            row = np.int64(item(ids, i))
            for column in range(lane, rows.shape[1], lanes):
                part = power(rows[row, column], norm_type)
                total = max(total, part) if norm_type == math.inf else total + part
        norm = norm_of(group_total(scratch, total, lanes, norm_type == math.inf), norm_type)
        if i < len(out) and lane == 0:
            out[i] = max_norm / (norm + 1e-7) if norm > max_norm else 1.0

    return norm_factors


@cache
def check_kernel(threads):
    """Make the kernel that looks at bags which came as device arrays."""

    @kernel
    def check(indices, weights, indptr, n_rows, n_members, smallest, largest, findings):
        """findings[INVALID] = 1 if an id is out of range, [INFINITE] a weight not finite, [FALLING] indptr falls.

        A weight beyond ``largest``, that of the dtype it will be converted to, is not finite either; where the cube of
        one is not from ``smallest`` to ``largest``, findings[EXTREME] = 1. findings[UNSORTED] becomes the number of
        members whose id is not larger than that of the member before in the same bag.

        indices, weights : (>= n_members,), in. indptr : (n_bags + 1,), in. findings : (5,) int64, in-out.
        """
        first = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        step = np.int64(cuda.gridDim.x) * threads
        unsorted = np.int64(0)
        for i in range(first, n_members, step):
            if i > 0 and indices[i] <= indices[i - 1]:
                unsorted += 1
            if indices[i] < 0 or indices[i] >= n_rows:
                findings[INVALID] = 1
            weight = abs(np.float64(weights[i]))
            if not weight <= largest:
                findings[INFINITE] = 1
            if weight != 0 and not smallest <= weight * weight * weight <= largest:
                findings[EXTREME] = 1
        for bag in range(first, len(indptr) - 1, step):
            start, stop = indptr[bag], indptr[bag + 1]
            if stop < start:
                findings[FALLING] = 1
            if 0 < start < stop <= n_members and indices[start] <= indices[start - 1]:
                unsorted -= 1  # the members of two bags
        if unsorted != 0:
            cuda.atomic.add(findings, UNSORTED, unsorted)

    return check


@cache
def convert_kernel(threads):
    """Make the kernel that converts one array to the dtype of another."""

    @kernel
    def convert(values, out):
        """out[i] = values[i]. values : (n,), in. out : (n,) of another dtype, out."""
        first = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        for i in range(first, len(out), np.int64(cuda.gridDim.x) * threads):
            out[i] = values[i]

    return convert
