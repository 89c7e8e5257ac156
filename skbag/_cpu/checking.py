"""What is looked at before the members of bags are used, on the CPU."""

import numpy as np

from skbag._cpu.jit import inlined, kernel
from skbag._cpu.members import rises
from skbag._cpu.memory import fetch_add, item, put
from skbag._cpu.sharing import DONE, EXTREME, INVALID, NEXT, THREAD, UNSORTED, begin_of, first_bag

_SPREAD = np.int64(0x9E3779B97F4A7C15 - (1 << 64))  # Knuth's multiplicative hashing: 2 ** 64 over the golden ratio


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
def is_extreme(value):
    """Whether the cube of a value, and so the sum of some squares, is not finite or vanishes."""
    cube = value * value * value
    return (not abs(cube) < np.inf) | ((cube == 0) & (value != 0))


@inlined
def moderate(weights, begin, end):
    """Whether weights[i] is not extreme for begin <= i < end."""
    extreme = 0  # counted, not tested one by one: that becomes vector code
    for i in range(begin, end):
        extreme += is_extreme(item(weights, i))
    return extreme == 0


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
        first, last = begin_of(blocks, block, n_members), begin_of(blocks, block + 1, n_members)
        begin, end = begin_of(blocks, block, n_bags), begin_of(blocks, block + 1, n_bags)
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
def repeat(indices, indptr, seen, blocks, progress):
    """progress[UNSORTED] = 1 if a bag names an id twice; ids and offsets were checked.

    Ids of a bag that do not increase go into a table with open addresses, which the next bag need not clear: what lies
    there says of which bag it is.

    indices, indptr : as in ``pool``. seen : (n_threads, 2, n) int64, scratch: n is a power of two and at least twice as
    large as the longest bag; zeros before. blocks, progress : see above.
    """
    mine = seen[fetch_add(progress, THREAD, 1)]
    bags, ids, mask = mine[0], mine[1], np.intp(mine.shape[1] - 1)
    block = fetch_add(progress, NEXT, 1)
    while block < blocks[0]:
        for bag in range(first_bag(blocks, block, indptr), first_bag(blocks, block + 1, indptr)):
            start, stop = np.intp(item(indptr, bag)), np.intp(item(indptr, bag + 1))
            if progress[UNSORTED] != 0:
                break
            if increases(indices, start, stop):
                continue
            for i in range(start, stop):
                index = np.int64(item(indices, i))
                place = np.intp((index * _SPREAD) >> 20) & mask
                while item(bags, place) == bag + 1 and item(ids, place) != index:
                    place = (place + 1) & mask
                if item(bags, place) == bag + 1:
                    progress[UNSORTED] = 1
                    break
                put(bags, place, bag + 1)
                put(ids, place, index)
        fetch_add(progress, DONE, 1)
        block = fetch_add(progress, NEXT, 1)


@kernel
def split(indices, indptr, n_rows, edges, blocks, progress, out):
    """out[b * n_fields + f] = where field f of bag b begins: at its first member that is at least edges[f].

    progress[INVALID] = 1 if an id is out of range or indptr decreases, [UNSORTED] = 1 if the ids of a bag do not
    increase strictly; what is written then means nothing.

    indices, indptr : as in ``pool``. n_rows : of the table. edges : (n_fields + 1,) int64, in: 0, ..., n_rows.
    blocks, progress : see above. out : (n_bags * n_fields + 1,), out, but for the last.
    """
    n_bags, n_fields = len(indptr) - 1, len(edges) - 1
    n_members = np.intp(item(indptr, n_bags))
    block = fetch_add(progress, NEXT, 1)
    while block < blocks[0]:
        first, last = first_bag(blocks, block, indptr), first_bag(blocks, block + 1, indptr)
        for bag in range(first, last):
            start, stop = np.intp(item(indptr, bag)), np.intp(item(indptr, bag + 1))
            if not (0 <= start <= stop <= n_members and in_range(indices, n_rows, start, stop)):
                progress[INVALID] = 1
                break
            if progress[UNSORTED] == 0 and not increases(indices, start, stop):
                progress[UNSORTED] = 1
            out[bag * n_fields] = start
            for f in range(1, n_fields):
                low, high = np.intp(out[bag * n_fields + f - 1]), stop
                while low < high:
                    middle = (low + high) // 2
                    if item(indices, middle) < edges[f]:
                        low = middle + 1
                    else:
                        high = middle
                out[bag * n_fields + f] = low
        fetch_add(progress, DONE, 1)
        block = fetch_add(progress, NEXT, 1)
