"""Loops over bags on the CPU: no allocation, no exception, no check.

Every array is C-contiguous and was checked by ``skbag._data``; a kernel that is given anything else reads or writes
anywhere. Arrays marked (in) are passed as read-only views, so that one compilation serves every caller.

Work comes in blocks: ``blocks`` = (how many, shares). Each takes half of a share of what is left: the last ones are
small, so that threads, if they are no more than the shares, end together although they did not begin together. Every
thread of a call runs the same kernel with the same ``progress`` (6,) int64 (in-out): [NEXT] is the next block that
nobody has taken, [DONE] counts the finished ones, [INVALID] becomes 1 if an id is out of range or indptr decreases,
[EXTREME] if something is not finite, or a weight or the size of a bag is so large or small that its cube leaves the
dtype, [UNSORTED] if the ids of a bag do not increase strictly; where it is 1 before, the order is not looked at.
"""

from functools import cache

import numpy as np

from skbag._cpu.jit import inlined, kernel
from skbag._cpu.tile import (
    add_sizes,
    add_window,
    all_below,
    divide,
    fetch_add,
    fold_copies,
    fold_rows,
    full,
    is_finite,
    item,
    item_bytes,
    items,
    lane_sum,
    load,
    n_copies,
    one_copy,
    prefetch,
    rises,
    row_addresses,
    store,
    window,
    window_memory,
)

SUM, MEAN, SQRTN, MAX = range(4)
NEXT, DONE, INVALID, EXTREME, UNSORTED = range(5)
_SIZE_LANES = 16  # members whose weights are added up together
_SIZE_WINDOW = 256 * _SIZE_LANES  # members whose weights are added up in the dtype of the table, the rest in float64


@inlined
def _begin(blocks, block, n):
    """Return where a block of n things begins; block blocks[0] is the end."""
    n_blocks, shares = blocks
    if block == n_blocks:
        return n
    left = 1 - 0.5 / shares
    return np.intp(n * ((1 - left**block) / (1 - left**n_blocks)))


@inlined
def first_bag(blocks, block, indptr):
    """Return the first bag of a block; blocks share the members, not the bags."""
    low, high = 0, len(indptr) - 1
    if block == 0 or block == blocks[0]:  # every bag is in a block, even if indptr decreases
        return high if block else low
    target = _begin(blocks, block, np.intp(item(indptr, high)))
    while low < high:
        middle = (low + high) // 2
        if item(indptr, middle) < target:
            low = middle + 1
        else:
            high = middle
    return low


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
def in_range(indices, n_rows, begin, end):
    """Whether 0 <= indices[i] < n_rows for begin <= i < end."""
    lowest = highest = indices.dtype.type(0)
    for i in range(begin, end):
        index = item(indices, i)
        lowest = min(lowest, index)
        highest = max(highest, index)
    return lowest >= 0 and (highest < n_rows or begin >= end)


@inlined
def rising(indptr, begin, end):
    """Whether indptr[i] <= indptr[i + 1] for begin <= i < end."""
    falls = 0
    for i in range(begin, end):
        falls += item(indptr, i) > item(indptr, i + 1)
    return falls == 0


@inlined
def increases(indices, start, stop):
    """Whether indices[i] < indices[i + 1] for start <= i < stop - 1: in runs of 32 or 8, of which the last overlap."""
    last, i, bits = stop - 1, start, 255
    if last - start >= 32:
        bits = rises(indices, last - 32, stop, 4)
        while i < last - 32:
            bits &= rises(indices, i, i + 33, 4)
            i += 32
    elif last - start >= 8:
        bits = rises(indices, last - 8, stop, 1)
        while i < last - 8:
            bits &= rises(indices, i, i + 9, 1)
            i += 8
    else:
        bits = rises(indices, start, stop, 1)
    return bits == 255


@inlined
def _is_extreme(value):
    """Whether the cube of a value, and so the sum of some squares, is not finite or vanishes."""
    cube = value * value * value
    return (not abs(cube) < np.inf) | ((cube == 0) & (value != 0))


@inlined
def moderate(weights, begin, end):
    """Whether weights[i] is not extreme for begin <= i < end."""
    extreme = 0  # counted, not tested one by one: that becomes vector code
    for i in range(begin, end):
        extreme += _is_extreme(item(weights, i))
    return extreme == 0


@inlined
def _is_weighed(weights, indices, start, stop, padding_idx):
    """Whether a member has a weight that is not 0."""
    for i in range(start, stop):
        if item(weights, i) != 0 and (padding_idx is None or item(indices, i) != padding_idx):
            return True
    return False


@inlined
def _reduce_window(
    acc, base, n_rows, row_bytes, spare, tail, multipliers, indices, padding_idx, start, stop, ahead, every, whole
):  # fmt: skip
    """Return what `reduce_bag` does for some members; the tile stays in registers throughout."""
    copies = n_copies(acc)
    single = one_copy(acc)
    i = start
    last = stop - copies
    furthest = len(indices) - copies - ahead
    upto = i - 1
    while i > upto and i <= last:  # twice at most: near the end of all members there are none so far ahead
        step, upto = (ahead, min(last, furthest)) if i <= furthest else (0, last)
        while i <= upto and all_below(acc, indices, i, n_rows):
            if ahead > 0:
                for j in range(copies):
                    prefetch(acc, base + np.uintp(item(indices, i + step + j)) * row_bytes, tail, every, whole)
            rows = row_addresses(acc, base, row_bytes, spare, indices, padding_idx, i)
            acc = fold_rows(acc, rows, items(multipliers, i, rows), tail)
            i += copies
    for _ in range(copies - 1):  # unrolled: at most so many are left
        if i < stop and all_below(single, indices, i, n_rows):
            row = row_addresses(single, base, row_bytes, spare, indices, padding_idx, i)
            acc = fold_rows(acc, row, items(multipliers, i, row), tail)
            i += 1
    return fold_copies(acc), i


@inlined
def reduce_bag(
    acc, base, n_rows, row_bytes, spare, tail, multipliers, indices, padding_idx, start, stop, ahead, every, whole
):  # fmt: skip
    """Return the tile with the rows of the members start <= i < stop taken in, window by window.

    Also return where it ended: at ``stop``, or at the first of some members of which one is not in range(n_rows).
    ``base`` and ``spare`` are addresses: of the tile's first column in row 0, and in the row that stands for a member
    that padding_idx takes out. ``ahead``, ``every`` and ``whole`` are those of ``pool_kernel``.
    """
    memory, most = window_memory(acc), window(acc)
    i = start
    while True:
        upto = min(stop, i + most)
        tile, end = _reduce_window(
            acc, base, n_rows, row_bytes, spare, tail, multipliers, indices, padding_idx, i, upto, ahead, every, whole
        )  # fmt: skip
        if stop - start > most:
            tile = add_window(tile, memory, i == start)
        if end < upto or upto == stop:
            return tile, end
        i = upto


@cache
def pool_kernel(mode, lanes, vectors, copies, ahead, every, single, whole):
    """Make the pooling kernel of a mode for tiles of ``vectors`` vectors of ``lanes`` scalars, in ``copies`` copies.

    Rows are prefetched ``ahead`` members ahead, 0 for not at all: the cache line of every ``every``-th vector.
    ``single`` says that a row fits in one tile; ``whole``, that it fills the tile, and is whole cache lines or in one.

    Its inner loop keeps one tile of the output row in registers for the whole bag. Of rows wider than a tile all bags
    are pooled tile by tile, so that less of the table has to stay in the cache; the last tile overlaps the one before.
    """
    span = lanes * vectors
    maximum = int(mode == MAX)
    neutral = -np.inf if mode == MAX else 0.0

    @kernel
    def pool(table, multipliers, weights, indices, indptr, padding_idx, spare, blocks, progress, out):
        """out[b] = reduction of multipliers[i] * table[indices[i]] over the members i of bag b.

        SUM: the sum; MEAN: divided by sum |weights|; SQRTN: by sqrt(sum weights ** 2); MAX: the maximum.
        table : (n_rows, dim), float32 or float64, in.
        multipliers, weights : (n_members,) of the table's dtype, in; or None for ones.
        indices : (>= n_members,), int32 or int64, in. indptr : (n_bags + 1,) of the same dtype, in: from 0 to
            n_members; that it does not decrease is checked here.
        padding_idx : members with this index are left out; or None.
        spare : (dim,), in: the row that stands for them, filled with 0, or with -inf for MAX.
        blocks, progress : see above, but there are blocks[0] blocks for each tile; every id is checked before its row
            is read, which may set progress[INVALID]. Weights are not: one that is not finite makes the sum of its bag
            so, which sets progress[EXTREME], as does a bag whose size cannot be told precisely. Nor does an order of
            ids that sets progress[UNSORTED] change the result.
        out : (n_bags, dim), out.
        """
        zero = table.dtype.type(0)
        n_rows, dim = np.uintp(len(table)), span if whole else table.shape[1]
        n_members = np.uintp(item(indptr, len(indptr) - 1))
        itemsize = item_bytes(table)
        row_bytes = np.uintp(dim) * itemsize
        tail = span - lanes if whole else min(span, dim) - lanes
        n_tiles = 1 if single else -(-dim // span)
        block = fetch_add(progress, NEXT, 1)
        while block < n_tiles * blocks[0]:
            column, block = block // blocks[0] * span, block % blocks[0]
            offset = np.uintp(max(0, min(column, dim - span))) * itemsize
            base, spare_base = np.uintp(table.ctypes.data) + offset, np.uintp(spare.ctypes.data) + offset
            for bag in range(first_bag(blocks, block, indptr), first_bag(blocks, block + 1, indptr)):
                start = np.intp(item(indptr, bag))
                stop = np.intp(item(indptr, bag + 1))
                if not np.uintp(start) <= np.uintp(stop) <= n_members:
                    progress[INVALID] = 1
                    break
                acc, end = reduce_bag(
                    full(table.dtype.type(neutral), maximum, lanes, vectors, copies), base, n_rows, row_bytes,
                    spare_base, tail, multipliers, indices, padding_idx, start, stop, ahead, every, whole,
                )  # fmt: skip
                if end < stop:
                    progress[INVALID] = 1
                if weights is not None and not is_finite(acc):
                    progress[EXTREME] = 1
                if mode != SUM:  # after the members: their weights are in the cache by now
                    sizes = full(zero, 0, _SIZE_LANES, 1, 1)
                    size = table.dtype.type(_bag_size(mode, sizes, weights, indices, start, stop, padding_idx))
                    if weights is not None and mode in (MEAN, SQRTN):
                        if _is_extreme(size):
                            progress[EXTREME] = 1
                        if mode == SQRTN and size == 0 and _is_weighed(weights, indices, start, stop, padding_idx):
                            progress[EXTREME] = 1
                    if size == 0:
                        acc = full(zero, maximum, lanes, vectors, copies)
                    elif mode != MAX:
                        acc = divide(acc, size)
                store(acc, np.uintp(out.ctypes.data) + np.uintp(bag) * row_bytes + offset, tail)
                if (single or column == 0) and progress[UNSORTED] == 0 and not increases(indices, start, stop):
                    progress[UNSORTED] = 1
            fetch_add(progress, DONE, 1)
            block = fetch_add(progress, NEXT, 1)

    return pool


@cache
def lookup_kernel(lanes, vectors, ahead, single, whole):
    """Make the row copying kernel for tiles of ``vectors`` vectors of ``lanes`` scalars; see ``pool_kernel``."""
    span = lanes * vectors

    @kernel
    def lookup(table, indices, blocks, progress, out):
        """out[i] = table[indices[i]].

        table : (n_rows, dim), in. indices : (n,), int32 or int64, in. out : (n, dim), out.
        blocks, progress : see above; the ids of a block are checked before any row is looked up.
        """
        n_rows, dim = len(table), span if whole else table.shape[1]
        itemsize = item_bytes(table)
        row_bytes = np.uintp(dim) * itemsize
        tail = span - lanes if whole else min(span, dim) - lanes
        prefetch_until = len(indices) - ahead
        tile = full(table.dtype.type(0), 0, lanes, vectors, 1)
        block = fetch_add(progress, NEXT, 1)
        while block < blocks[0]:
            first, last = _begin(blocks, block, len(indices)), _begin(blocks, block + 1, len(indices))
            if not in_range(indices, n_rows, first, last):
                progress[INVALID] = 1
                last = first
            for i in range(first, last):
                source = np.uintp(table.ctypes.data) + np.uintp(item(indices, i)) * row_bytes
                target = np.uintp(out.ctypes.data) + np.uintp(i) * row_bytes
                soon = source
                if i < prefetch_until:
                    soon = np.uintp(table.ctypes.data) + np.uintp(item(indices, i + ahead)) * row_bytes
                for column in range(0, 1 if single else dim, span):
                    offset = np.uintp(max(0, min(column, dim - span))) * itemsize
                    if ahead > 0:
                        prefetch(tile, soon + offset, tail, 1, whole)
                    tile = load(tile, source + offset, tail)
                    store(tile, target + offset, tail)
            fetch_add(progress, DONE, 1)
            block = fetch_add(progress, NEXT, 1)

    return lookup


@inlined
def row_norm(table, row, norm_type):
    """Return the norm_type-norm of table[row], accumulated in float64."""
    norm = 0.0
    for column in range(table.shape[1]):
        size = abs(np.float64(table[row, column]))
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
def norm_factors(table, indices, max_norm, norm_type, blocks, progress, out):
    """out[i] = max_norm / (norm + 1e-7) where the norm of table[indices[i]] exceeds max_norm, else 1.

    The 1e-7 is torch's (torch.embedding_renorm_).
    table : (n_rows, dim), in. indices : (n,), int32 or int64, in; or None for out[i] of table[i]. out : (n,), out.
    blocks, progress : see above.
    """
    block = fetch_add(progress, NEXT, 1)
    while block < blocks[0]:
        for i in range(_begin(blocks, block, len(out)), _begin(blocks, block + 1, len(out))):
            norm = row_norm(table, np.intp(i) if indices is None else np.intp(item(indices, i)), norm_type)
            out[i] = max_norm / (norm + 1e-7) if norm > max_norm else 1.0
        fetch_add(progress, DONE, 1)
        block = fetch_add(progress, NEXT, 1)


@kernel
def check(weights, indices, indptr, n_rows, blocks, progress):
    """progress[INVALID] = 1 if an id is out of range or indptr decreases, [EXTREME] = 1 if a weight is extreme.

    [UNSORTED] = 1 if the ids of a bag do not increase strictly.

    weights, indices, indptr : as in ``pool``. blocks, progress : see above.
    """
    n_bags = len(indptr) - 1
    n_members = np.intp(item(indptr, n_bags))
    block = fetch_add(progress, NEXT, 1)
    while block < blocks[0]:
        first, last = _begin(blocks, block, n_members), _begin(blocks, block + 1, n_members)
        begin, end = _begin(blocks, block, n_bags), _begin(blocks, block + 1, n_bags)
        if not (in_range(indices, n_rows, first, last) and rising(indptr, begin, end)):
            progress[INVALID] = 1
        if weights is not None and not moderate(weights, first, last):
            progress[EXTREME] = 1
        for bag in range(first_bag(blocks, block, indptr), first_bag(blocks, block + 1, indptr)):
            start, stop = np.intp(item(indptr, bag)), np.intp(item(indptr, bag + 1))
            if progress[UNSORTED] != 0 or not 0 <= start <= stop <= n_members:
                break
            if not increases(indices, start, stop):
                progress[UNSORTED] = 1
        fetch_add(progress, DONE, 1)
        block = fetch_add(progress, NEXT, 1)


@kernel
def wait(progress, n_blocks, spins):
    """Whether all blocks are done, after looking at most ``spins`` times."""
    for _ in range(spins):  # noqa: SIM110
        if fetch_add(progress, DONE, 0) >= n_blocks:
            return True
    return False
