"""Which part of a mini-batch owns which members, and its members in the order of their rows."""

import numpy as np

from skbag._cpu.jit import inlined
from skbag._cpu.memory import item, put

_MOST_BITS = 11  # of a digit: so many counts there is memory for
_MOVE = 4  # as much as so many counts
_ROWS_TOGETHER = 4  # as a power of two: neighbours, which may share a cache line, have one owner


@inlined
def assign(n_parts, start, stop, ids, first, owned, n_owned):
    """List the members start <= i < stop with the owners of their rows: owned[owner, first + n_owned[owner]] = i.

    ids : (n_members,), in. owned : (n_parts, n_members) int32, out. n_owned : (n_parts,) int64, in-out.
    """
    if n_parts == 1:
        n = n_owned[0]
        for i in range(start, stop):
            put(owned[0], first + n, i)
            n += 1
        n_owned[0] = n
    else:
        for i in range(start, stop):
            mixed = (np.uint64(item(ids, i)) >> np.uint64(_ROWS_TOGETHER)) * np.uint64(0x9E3779B1)
            owner = np.intp((mixed & np.uint64(0xFFFFFFFF)) * np.uint64(n_parts) >> np.uint64(32))
            put(owned[owner], first + n_owned[owner], i)
            n_owned[owner] += 1


@inlined
def _sort(n, first_bit, last_bit, digit_bits, pairs, spare, counts):
    """Sort integers by the bits from first_bit to last_bit, the least significant digit first.

    pairs : (>= n,), in-out. spare : (>= n,), in-out. counts : (2, >= 2 ** digit_bits), in-out: row 0 says how many
    integers have each value of the first digit. The result is in ``pairs`` if the number of digits is even, else in
    ``spare``.
    """
    mask = (1 << digit_bits) - 1
    these, others = counts[0], counts[1]
    for place in range(first_bit, last_bit, digit_bits):
        total = 0
        for d in range(mask + 1):
            count = item(these, d)
            put(these, d, total)
            put(others, d, 0)
            total += count
        if place + digit_bits < last_bit:
            for i in range(n):
                pair = item(pairs, i)
                d = pair >> place & mask
                to = np.intp(item(these, d))
                put(these, d, to + 1)
                put(spare, to, pair)
                d = pair >> place + digit_bits & mask
                put(others, d, item(others, d) + 1)
        else:  # counting on would wait for the one counter of 0 each time
            for i in range(n):
                pair = item(pairs, i)
                d = pair >> place & mask
                to = np.intp(item(these, d))
                put(these, d, to + 1)
                put(spare, to, pair)
        pairs, spare = spare, pairs
        these, others = others, these


@inlined
def _digits(n, n_bits):
    """Return how many digits of at most 11 bits n numbers are best sorted by: each costs n moves and its counts."""
    best, least = 0, np.inf
    for n_digits in range(-(-n_bits // _MOST_BITS), n_bits + 1):
        cost = n_digits * (_MOVE * n + (1 << -(-n_bits // max(1, n_digits))))
        if cost < least:
            best, least = n_digits, cost
    return best


@inlined
def sorted_pairs(n_parts, part, n_bits, member_bits, ids, lists, counts):
    """Sort the integers row << member_bits | member of the members whose rows belong to a part.

    ids : (n_members,), in. lists : structs.Parts or structs.Chosen; firsts, n_owned, owned, in; pairs, out. counts : as
    in `_sort`. Returns how many they are, and in which row of ``lists.pairs[part]``.
    """
    pairs, owned = lists.pairs[part], lists.owned[part]
    n = 0
    for p in range(n_parts):
        n += lists.n_owned[p, part]
    n_digits = _digits(n, n_bits)
    digit_bits = -(-n_bits // max(1, n_digits))
    mask = (1 << digit_bits) - 1
    for d in range(mask + 1):
        put(counts[0], d, 0)
    n = 0
    for p in range(n_parts):
        for j in range(lists.firsts[p], lists.firsts[p] + lists.n_owned[p, part]):
            i = np.intp(item(owned, j))
            row = np.intp(item(ids, i))
            put(pairs[0], n, row << member_bits | i)
            put(counts[0], row & mask, item(counts[0], row & mask) + 1)
            n += 1
    _sort(n, member_bits, member_bits + n_bits, max(1, digit_bits), pairs[0], pairs[1], counts)
    return n, n_digits & 1
