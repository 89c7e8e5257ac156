"""Loops over bags on the CPU: no allocation, no exception, no check.

Every array is C-contiguous and was checked by ``skbag._bags``; a kernel that is given anything else reads or writes
anywhere. Arrays marked (in) are passed as read-only views, so that one compilation serves every caller.
"""

from functools import cache

import numpy as np

from ._jit import inlined, kernel
from ._simd import (
    add_copies,
    add_rows,
    add_sizes,
    divide,
    full,
    item,
    items,
    lane_sum,
    load,
    max_copies,
    max_rows,
    prefetch,
    store,
)

SUM, MEAN, SQRTN, MAX = range(4)


@inlined
def _address(base, row_bytes, neutral, indices, padding_idx, i):
    """Where the row of member i lies; the neutral row for a member that padding_idx takes out."""
    index = item(indices, i)
    return base + np.uintp(index) * row_bytes if index != padding_idx else neutral


@inlined
def _bag_size(mode, sizes, lanes, weights, indices, start, stop, padding_idx):
    """What the bag's sum is divided by: sum |w|, or the root of sum w * w; for max the number of members."""
    for i in range(start, stop, lanes):
        sizes = add_sizes(sizes, weights, indices, i, stop, padding_idx, mode == SQRTN)
    size = lane_sum(sizes)
    return np.sqrt(size) if mode == SQRTN else size


@cache
def pool_kernel(lanes, vectors, copies):
    """The pooling kernel for tiles of ``vectors`` vectors of ``lanes`` scalars, in ``copies`` copies.

    Its inner loop keeps one tile of the output row in registers for the whole bag. Rows wider than a tile are
    pooled tile by tile, the last one overlapping the one before.
    """
    span = lanes * vectors

    @kernel
    def pool(mode, table, multipliers, weights, indices, indptr, padding_idx, neutral, ahead, first, last, out):
        """out[b] = reduction of multipliers[i] * table[indices[i]] over the members i of bag b, first <= b < last.

        mode : SUM: the sum; MEAN: divided by sum |weights|; SQRTN: by sqrt(sum weights ** 2); MAX: the maximum.
        table : (n_rows, dim), float32 or float64, in.
        multipliers, weights : (n_members,) of the table's dtype, in; or None for ones.
        indices : (n_members,), int32 or int64, in. indptr : (n_bags + 1,) of the same dtype, in.
        padding_idx : members with this index are left out; -1 for none.
        neutral : (dim,), in: the row that stands for them, filled with 0, or with -inf for MAX.
        ahead : how many members ahead rows are prefetched; 0 for not at all.
        out : (n_bags, dim), out.
        """
        zero = table.dtype.type(0)
        dim = table.shape[1]
        itemsize = np.uintp(table.itemsize)
        row_bytes = np.uintp(dim) * itemsize
        tail = min(span, dim) - lanes
        prefetch_until = len(indices) - ahead - 3 if ahead > 0 else 0
        for bag in range(first, last):
            start = np.intp(item(indptr, bag))
            stop = np.intp(item(indptr, bag + 1))
            whole = start + (stop - start) // 4 * 4
            for column in range(0, dim, span):
                offset = np.uintp(max(0, min(column, dim - span))) * itemsize
                base = np.uintp(table.ctypes.data) + offset
                spare = np.uintp(neutral.ctypes.data) + offset
                acc = full(neutral[0], lanes, vectors, copies)
                for i in range(start, whole, 4):
                    if i < prefetch_until:
                        for j in range(i + ahead, i + ahead + 4):
                            prefetch(acc, base + np.uintp(item(indices, j)) * row_bytes, tail)
                    rows = (
                        _address(base, row_bytes, spare, indices, padding_idx, i),
                        _address(base, row_bytes, spare, indices, padding_idx, i + 1),
                        _address(base, row_bytes, spare, indices, padding_idx, i + 2),
                        _address(base, row_bytes, spare, indices, padding_idx, i + 3),
                    )
                    if mode == MAX:
                        acc = max_rows(acc, rows, items(multipliers, i, rows), tail)
                    else:
                        acc = add_rows(acc, rows, items(multipliers, i, rows), tail)
                for i in range(whole, stop):
                    row = (_address(base, row_bytes, spare, indices, padding_idx, i),)
                    if mode == MAX:
                        acc = max_rows(acc, row, items(multipliers, i, row), tail)
                    else:
                        acc = add_rows(acc, row, items(multipliers, i, row), tail)
                acc = max_copies(acc) if mode == MAX else add_copies(acc)
                if mode != SUM:
                    sizes = full(zero, lanes, 1, 1)
                    size = _bag_size(mode, sizes, lanes, weights, indices, start, stop, padding_idx)
                    if size == 0:
                        acc = full(zero, lanes, vectors, copies)
                    elif mode != MAX:
                        acc = divide(acc, size)
                store(acc, np.uintp(out.ctypes.data) + np.uintp(bag) * row_bytes + offset, tail)

    return pool


@cache
def lookup_kernel(lanes, vectors):
    """The row copying kernel for tiles of ``vectors`` vectors of ``lanes`` scalars."""
    span = lanes * vectors

    @kernel
    def lookup(table, indices, ahead, first, last, out):
        """out[i] = table[indices[i]], first <= i < last.

        table : (n_rows, dim), in. indices : (n,), int32 or int64, in. out : (n, dim), out.
        ahead : how many rows ahead are prefetched; 0 for not at all.
        """
        dim = table.shape[1]
        itemsize = np.uintp(table.itemsize)
        row_bytes = np.uintp(dim) * itemsize
        tail = min(span, dim) - lanes
        prefetch_until = len(indices) - ahead if ahead > 0 else 0
        tile = full(table.dtype.type(0), lanes, vectors, 1)
        for i in range(first, last):
            source = np.uintp(table.ctypes.data) + np.uintp(item(indices, i)) * row_bytes
            target = np.uintp(out.ctypes.data) + np.uintp(i) * row_bytes
            soon = source
            if i < prefetch_until:
                soon = np.uintp(table.ctypes.data) + np.uintp(item(indices, i + ahead)) * row_bytes
            for column in range(0, dim, span):
                offset = np.uintp(max(0, min(column, dim - span))) * itemsize
                if ahead > 0:
                    prefetch(tile, soon + offset, tail)
                tile = load(tile, source + offset, tail)
                store(tile, target + offset, tail)

    return lookup


@kernel
def highest(bits, magnitude, first, last):
    """Return the largest of bits[first:last], uint32 or uint64 (in); without their top bit if ``magnitude``."""
    mask = ~bits.dtype.type(0)
    if magnitude:
        mask = mask >> bits.dtype.type(1)
    top = bits.dtype.type(0)
    for i in range(first, last):
        top = max(top, item(bits, i) & mask)
    return top


@kernel
def norm_factors(table, indices, max_norm, norm_type, first, last, out):
    """out[i] = max_norm / (norm + 1e-7) where the norm of table[indices[i]] exceeds max_norm, else 1, for first <= i < last.

    norm : the norm_type-norm, accumulated in float64. The 1e-7 is torch's (torch.embedding_renorm_).
    table : (n_rows, dim), in. indices : (n,), int32 or int64, in; or None for out[i] of table[i]. out : (n,), out.
    """
    dim = table.shape[1]
    for i in range(first, last):
        row = np.intp(i) if indices is None else np.intp(item(indices, i))
        norm = 0.0
        for column in range(dim):
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
            norm = np.sqrt(norm)
        elif norm_type != 1.0 and norm_type != np.inf:
            norm = norm ** (1.0 / norm_type)
        out[i] = max_norm / (norm + 1e-7) if norm > max_norm else 1.0
