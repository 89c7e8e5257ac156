"""Loops over bags on the CPU: no allocation, no exception, no check.

Every array is C-contiguous and was checked by ``skbag._data``; a kernel that is given anything else reads or writes
anywhere. Arrays marked (in) are passed as read-only views, so that one compilation serves every caller.
"""

import numpy as np

from skbag._compiled.once import once
from skbag._cpu.calls import call, stored
from skbag._cpu.checking import increases, is_extreme, rising
from skbag._cpu.columns import first_column, lane_sum
from skbag._cpu.jit import inlined, kernel
from skbag._cpu.members import add_sizes, all_below, fold_members
from skbag._cpu.memory import fetch_add, item, item_bytes, prefetch_item, put
from skbag._cpu.shaped import shaped
from skbag._cpu.sharing import DONE, EXTREME, INVALID, NEXT, THREAD, UNSORTED, begin_of, first_bag
from skbag._cpu.storage import number_at
from skbag._cpu.structs import Reduction
from skbag._cpu.tile import (
    add_window,
    divide,
    fold_copies,
    full,
    is_finite,
    load,
    of_table,
    one_copy,
    open_tile,
    prefetch,
    prefetch_all,
    scaled,
    store,
    window,
    window_memory,
)
from skbag._cpu.tiling import LARGEST
from skbag._rules.pooling import MAX, SQRTN, SUM

BAGS_TOGETHER = 64  # bags that a part of a kernel is called for
_SIZE_LANES = 16  # members whose weights are added up together
_SIZE_WINDOW = 256 * _SIZE_LANES  # members whose weights are added up in the dtype of the table, the rest in float64


@inlined
def _bag_size(mode, sizes, weights, indices, start, stop, padding_idx):
    """Return what the bag's sum is divided by: sum |w|, or the root of sum w * w; for max the number of members."""
    size = 0.0
    if weights is None and padding_idx is None:
        size += stop - start
    else:
        i = start
        while i < stop:
            some, upto = sizes, min(stop, i + _SIZE_WINDOW)
            while i + _SIZE_LANES <= upto:  # without a mask
                some = add_sizes(some, weights, indices, i, i + _SIZE_LANES, padding_idx, mode == SQRTN)
                i += _SIZE_LANES
            if i < upto:
                some = add_sizes(some, weights, indices, i, upto, padding_idx, mode == SQRTN)
            i = upto
            size += lane_sum(some)
    return np.sqrt(size) if mode == SQRTN else size


@inlined
def _is_weighed(weights, indices, start, stop, padding_idx):
    """Whether a member has a weight that is not 0."""
    for i in range(start, stop):
        if item(weights, i) != 0 and (padding_idx is None or item(indices, i) != padding_idx):
            return True
    return False


@inlined
def _reduce_window(acc, rows, n_rows, tail, multipliers, scales, indices, padding_idx, start, stop):
    """Return what `reduce_bag` does for some members; the tile stays in registers throughout."""
    copies, ahead, single = acc.copies, acc.ahead, one_copy(acc)
    base, row_bytes, _ = rows
    i = start
    last = stop - copies
    furthest = len(indices) - copies - ahead
    upto = i - 1
    while i > upto and i <= last:  # twice at most: near the end of all members there are none so far ahead
        step, upto = (ahead, min(last, furthest)) if i <= furthest else (0, last)
        while i <= upto and all_below(acc, indices, i, n_rows):
            if ahead > 0:
                for j in range(copies):
                    soon = np.intp(item(indices, i + step + j))
                    prefetch(acc, base + np.uintp(soon) * row_bytes, tail)
                    if scales is not None:
                        prefetch_item(scales, soon)
            acc = fold_members(acc, acc, rows, multipliers, scales, indices, padding_idx, i, tail)
            i += copies
    for _ in range(copies - 1):  # unrolled: at most so many are left
        if i < stop and all_below(single, indices, i, n_rows):
            acc = fold_members(acc, single, rows, multipliers, scales, indices, padding_idx, i, tail)
            i += 1
    return fold_copies(acc), i


@inlined
def reduce_bag(acc, rows, n_rows, tail, multipliers, scales, indices, padding_idx, start, stop):
    """Return the tile with the rows of the members start <= i < stop taken in, window by window.

    Also return where it ended: at ``stop``, or at the first of some members of which one is not in range(n_rows).
    For ``rows``, of which a tile's first column is meant, see ``members.fold_members``.
    """
    memory, most = window_memory(acc), window(acc)
    i = start
    while True:
        upto = min(stop, i + most)
        tile, end = _reduce_window(acc, rows, n_rows, tail, multipliers, scales, indices, padding_idx, i, upto)
        if stop - start > most:
            tile = add_window(tile, memory, i == start)
        if end < upto or upto == stop:
            return tile, end
        i = upto


@once
def reduce_kernel(kind):
    """Make the kernel that reduces bags; ``kind`` is what is sought.

    `TOTAL`, the sum; `LARGEST`, the maximum; `SQUARES`, the sum of squares.

    Its inner loop keeps one tile of the output row in registers for the whole bag. The last tile of a row overlaps the
    one before.
    """
    neutral = -np.inf if kind == LARGEST else 0.0

    @shaped
    def reduce(reduction, first, last, begin, end, sized):
        """out[b] = sum or maximum of multipliers[i] * row i over starts[b] <= i < stops[b]; or zeros.

        Row i is table[indices[i]], times scales[indices[i]] if there are scales.

        For the bags first <= b < last, and the tiles that start at the columns begin, begin + span, ... of those before
        ``end``. It is written at each of the places k of the row. If there are sizes, n for each place, sums are
        divided by sizes[k * n + b - sized]; where that is 0 a row is zeros.

        reduction : structs.Reduction, in; out, out. progress : [INVALID] becomes 1 if an id is out of range; it is
        looked at before its row is read. [EXTREME] if a sum with multipliers is not finite.
        """
        table, multipliers, scales = reduction.table, reduction.multipliers, reduction.scales
        indices, out, padding_idx = reduction.indices, reduction.out, reduction.padding_idx
        sizes, progress, places = reduction.sizes, reduction.progress, reduction.places
        n_places, n_sizes = len(places), len(sizes) // len(places)
        zero = out.dtype.type(0)
        zeros, tile = open_tile(zero, kind), of_table(open_tile(out.dtype.type(neutral), kind), table)
        span, whole = tile.span, tile.whole
        n_rows, dim = np.uintp(len(table)), span if whole else table.shape[1]
        itemsize, out_itemsize = item_bytes(table), item_bytes(out)
        row_bytes, out_bytes = np.uintp(dim) * itemsize, np.uintp(out.shape[1]) * out_itemsize
        tail = (span if whole else min(span, dim)) - tile.lanes
        for column in range(begin, end, span):
            begins = np.uintp(first_column(dim, column, span))
            offset = begins * itemsize
            base, spare = np.uintp(table.ctypes.data) + offset, np.uintp(reduction.spare.ctypes.data) + offset
            target = np.uintp(out.ctypes.data) + begins * out_itemsize
            for bag in range(first, last):
                start, stop = np.intp(item(reduction.starts, bag)), np.intp(item(reduction.stops, bag))
                rows = base, row_bytes, spare
                acc, until = reduce_bag(
                    tile, rows, n_rows, tail, multipliers, scales, indices, padding_idx, start, stop
                )  # fmt: skip
                if until < stop:
                    progress[INVALID] = 1
                if multipliers is not None and not is_finite(acc):
                    progress[EXTREME] = 1
                row = target + np.uintp(bag) * out_bytes
                for k in range(n_places):
                    result, size = acc, zero + (start < stop)
                    if n_sizes > 0:
                        size = item(sizes, k * n_sizes + bag - sized)
                        if size != 0 and kind != LARGEST:
                            result = divide(acc, size)
                    if size == 0:
                        result = zeros
                    store(result, row + np.uintp(item(places, k)) * out_itemsize, tail)

    return reduce


@inlined
def _find_sizes(mode, first, last, weights, indices, indptr, padding_idx, sizes, to, progress):
    """sizes[to + b - first] = what the sum of bag b is divided by; tells ``progress`` if that is not precise."""
    lanes = full(sizes.dtype.type(0), _SIZE_LANES, 1)
    for bag in range(first, last):
        start, stop = np.intp(item(indptr, bag)), np.intp(item(indptr, bag + 1))
        if mode == SUM:
            put(sizes, to + bag - first, start < stop)
            continue
        size = sizes.dtype.type(_bag_size(mode, lanes, weights, indices, start, stop, padding_idx))
        put(sizes, to + bag - first, size)
        if weights is not None and mode != MAX:
            if is_extreme(size):
                progress[EXTREME] = 1
            if mode == SQRTN and size == 0 and _is_weighed(weights, indices, start, stop, padding_idx):
                progress[EXTREME] = 1


@kernel
def pool(
    modes, places, reduce, span, together, table, multipliers, scales, weights, indices, indptr, starts, stops,
    padding_idx, spare, sizes, blocks, progress, out,
):  # fmt: skip
    """out[b] = reduction of multipliers[i] * scales[indices[i]] * table[indices[i]] over the members i of bag b.

    SUM: the sum; MEAN: divided by sum |weights|; SQRTN: by sqrt(sum weights ** 2); MAX: the maximum.

    modes, places : (n_modes,) int64, in: sums are written with the divisor of each mode, MAX stands alone; and the
        columns of ``out`` at which each begins.
    reduce : the address of a kernel of ``reduce_kernel``. It is called for ``span`` columns of ``together`` bags: all
        bags are pooled for some columns before the next ones, so that less of the table has to stay in the cache.
    table : (n_rows, dim), float32 or float64, or of a dtype of ``storage``, in.
    multipliers, weights : (n_members,) of out's dtype, in; or None for ones.
    scales : (n_rows,), in: what the rows of the table are multiplied by; or None.
    indices : (>= n_members,), int32 or int64, in. indptr : (n_bags + 1,) of the same dtype, in: from 0 to n_members;
        that it does not decrease is checked here. starts, stops : indptr[:-1], indptr[1:].
    padding_idx : members with this index are left out; or None.
    spare : (dim,) of the table's dtype, in: the row that stands for them, filled with 0; for MAX with -inf, or with -1
        if there are scales.
    sizes : (n_threads, n_modes * BAGS_TOGETHER) of out's dtype, scratch; (n_threads, 0) for SUM alone.
    blocks, progress : see above, but there are blocks[0] blocks for each tile; every id is checked before its row is
        read, which may set progress[INVALID]. Weights are not: one that is not finite makes the sum of its bag so,
        which sets progress[EXTREME], as does a bag whose size cannot be told precisely. Nor does an order of ids that
        sets progress[UNSORTED] change the result.
    out : (n_bags, columns), out.
    """
    some = sizes[fetch_add(progress, THREAD, 1)]
    reduction = stored(
        Reduction(table, multipliers, scales, indices, padding_idx, spare, starts, stops, some, progress, out, places)
    )
    n_members, dim = np.intp(item(indptr, len(indptr) - 1)), table.shape[1]
    n_tiles = -(-dim // span)
    block = fetch_add(progress, NEXT, 1)
    while block < n_tiles * blocks[0]:
        column, block = block // blocks[0] * span, block % blocks[0]
        end = first_bag(blocks, block + 1, indptr)
        for first in range(first_bag(blocks, block, indptr), end, together):
            last = min(end, first + together)
            start, stop = np.intp(item(indptr, first)), np.intp(item(indptr, last))
            if not (rising(indptr, first, last) and start >= 0 and stop <= n_members):
                progress[INVALID] = 1
                break
            for k in range(len(some) // BAGS_TOGETHER):
                to = k * BAGS_TOGETHER
                _find_sizes(modes[k], first, last, weights, indices, indptr, padding_idx, some, to, progress)
            call(reduce, (reduction, first, last, column, min(dim, column + span), first))
            if column == 0 and progress[UNSORTED] == 0:
                for bag in range(first, last):
                    if not increases(indices, np.intp(item(starts, bag)), np.intp(item(stops, bag))):
                        progress[UNSORTED] = 1
        fetch_add(progress, DONE, 1)
        block = fetch_add(progress, NEXT, 1)


@once
def lookup_kernel(lanes, vectors, ahead, single, whole):
    """Make the row copying kernel for tiles; see ``tile.Tiling``."""
    span = lanes * vectors

    @kernel
    def lookup(table, scales, indices, blocks, progress, out):
        """out[i] = table[indices[i]], times scales[indices[i]] if there are scales.

        table : (n_rows, dim), scales : (n_rows,) or None, in. indices : (n,), int32 or int64, in. out : (n, dim), out.
        blocks, progress : see above; an id is checked before its row is looked up.
        """
        n_rows, dim = len(table), span if whole else table.shape[1]
        itemsize, out_itemsize = item_bytes(table), item_bytes(out)
        row_bytes = np.uintp(dim) * itemsize
        tail = span - lanes if whole else min(span, dim) - lanes
        prefetch_until = len(indices) - ahead
        tile = of_table(full(out.dtype.type(0), lanes, vectors), table)
        block = fetch_add(progress, NEXT, 1)
        while block < blocks[0]:
            first, last = begin_of(blocks, block, len(indices)), begin_of(blocks, block + 1, len(indices))
            for i in range(first, last):
                index = np.intp(item(indices, i))
                if np.uintp(index) >= np.uintp(n_rows):
                    progress[INVALID] = 1
                    break
                source = np.uintp(table.ctypes.data) + np.uintp(index) * row_bytes
                target = np.uintp(out.ctypes.data) + np.uintp(i) * (np.uintp(dim) * out_itemsize)
                soon = source
                if i < prefetch_until:
                    soon = np.uintp(table.ctypes.data) + np.uintp(item(indices, i + ahead)) * row_bytes
                for column in range(0, 1 if single else dim, span):
                    begins = np.uintp(first_column(dim, column, span))
                    if ahead > 0:
                        prefetch_all(tile, soon + begins * itemsize, tail, whole)
                    row = load(tile, source + begins * itemsize, tail)
                    if scales is not None:
                        row = scaled(row, item(scales, index))
                    store(row, target + begins * out_itemsize, tail)
            fetch_add(progress, DONE, 1)
            block = fetch_add(progress, NEXT, 1)

    return lookup


@inlined
def row_norm(table, row, norm_type):
    """Return the norm_type-norm of table[row], without a scale, accumulated in float64."""
    norm = 0.0
    for column in range(table.shape[1]):
        size = abs(np.float64(number_at(table, row, column)))
        if norm_type == 2.0:
            norm += size * size
        elif norm_type == 1.0:
            norm += size
        elif norm_type == np.inf:
            norm = max(norm, size)
        else:
            norm += size**norm_type
    if norm_type == 2.0:
        return np.sqrt(norm)
    return norm if norm_type == 1.0 or norm_type == np.inf else norm ** (1.0 / norm_type)


@kernel
def norm_factors(table, scales, indices, max_norm, norm_type, blocks, progress, out):
    """out[i] = max_norm / (norm + 1e-7) where the norm of table[indices[i]] exceeds max_norm, else 1.

    The 1e-7 is torch's (torch.embedding_renorm_).
    table, scales : as in `pool`, in. indices : (n,), int32 or int64, in; or None for out[i] of table[i].
    out : (n,), out.
    blocks, progress : see above.
    """
    block = fetch_add(progress, NEXT, 1)
    while block < blocks[0]:
        for i in range(begin_of(blocks, block, len(out)), begin_of(blocks, block + 1, len(out))):
            row = np.intp(i) if indices is None else np.intp(item(indices, i))
            norm = row_norm(table, row, norm_type)
            if scales is not None:
                norm *= item(scales, row)
            out[i] = max_norm / (norm + 1e-7) if norm > max_norm else 1.0
        fetch_add(progress, DONE, 1)
        block = fetch_add(progress, NEXT, 1)
