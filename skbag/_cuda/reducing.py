"""Members of a segment, taken into a reduction one after the other, by a thread that has some columns of the rows."""

import numpy as np

from skbag._cuda.jit import device
from skbag._cuda.tile import add_scaled, add_where, filled, gather, item, larger, larger_at
from skbag._cuda.vector import as_row, as_rule, as_tile
from skbag._rules.pooling import share_of_size

as_rule(share_of_size)

# reductions: sum; maximum; maximum and who has it; sum of what a member won; sum of squares; that of squared weights;
# the size of a bag alone, without a look at its rows
TOTAL, LARGEST, WINNER, WON, SQUARES, OWN, SIZE = range(7)
UNIT, WEIGHTS, FILTER, SIZES = range(4)  # a member's weight: 1; weights[i]; 1 where weights[i] is not 0; see `member`


@device
def member(kind, source, padding, origin, i):
    """Return i, the row that member i names, what multiplies it, its weight, and whether it counts.

    kind : (reduction, mode, weighting, factored, padded, dense), compile-time integers; with ``dense`` member i names
        the row i - origin, with ``padded`` a member that names the row ``padding`` does not count.
    source : structs.Source, the arrays that `reduce` reads.
    With SIZES the members are windows: weights[i] is the size of one, and nothing multiplies it.
    """
    reduction, _, weighting, factored, padded, dense = kind
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
    if reduction == SQUARES or reduction == OWN:
        factor *= factor
    return i, row if keep else np.int64(0), factor, weight, keep


@device
def take(kind, source, state, one, values, slot, lanes):
    """Take the row ``values`` of a member, as `member` describes it, into (acc, at, size)."""
    reduction, mode, _, _, _, dense = kind
    _, winners, members, _, _, _ = source
    acc, at, size = state
    i, row, factor, weight, keep = one
    if reduction == SQUARES:
        values = as_row(values, as_tile(values) * as_tile(values))
    if reduction == TOTAL or reduction == SQUARES or reduction == OWN:
        acc = add_scaled(acc, values, factor, keep)
    elif reduction == WON:
        acc = add_where(acc, values, gather(at, winners, row, slot, lanes), item(members, i), keep)
    elif reduction != SIZE:
        if reduction == WINNER:
            candidates = gather(at, winners, row, slot, lanes) if dense else filled(at, np.int32(i))
            at = larger_at(at, acc, values, factor, keep, candidates)
        acc = larger(acc, values, factor, keep)
    if keep:
        size += share_of_size(mode, weight)
    return acc, at, size


@device
def values_of(kind, acc, rows, row, slot, lanes):
    """Return a thread's columns of a row, if the reduction asks for them."""
    if kind[0] == SIZE:
        return acc
    return gather(acc, rows, row, slot, lanes)


@device
def rows_of_four(kind, source, state, ones, slot, lanes):
    """Load the rows of four members before the first is used: loads in flight are what keeps the memory busy."""
    rows, acc = source[0], state[0]
    return (
        values_of(kind, acc, rows, ones[0][1], slot, lanes), values_of(kind, acc, rows, ones[1][1], slot, lanes),
        values_of(kind, acc, rows, ones[2][1], slot, lanes), values_of(kind, acc, rows, ones[3][1], slot, lanes),
    )  # fmt: skip


@device
def take_rows(kind, source, state, ones, values, slot, lanes):
    """Take the rows of four members, as `member` describes them, into (acc, at, size), in order."""
    state = take(kind, source, state, ones[0], values[0], slot, lanes)
    state = take(kind, source, state, ones[1], values[1], slot, lanes)
    state = take(kind, source, state, ones[2], values[2], slot, lanes)
    return take(kind, source, state, ones[3], values[3], slot, lanes)


@device
def take_four(kind, source, state, ones, slot, lanes):
    """Load and take the rows of four members."""
    values = rows_of_four(kind, source, state, ones, slot, lanes)
    return take_rows(kind, source, state, ones, values, slot, lanes)


@device
def four(kind, source, padding, origin, i):
    """Return what `member` says of i and the next three."""
    return (
        member(kind, source, padding, origin, i), member(kind, source, padding, origin, i + 1),
        member(kind, source, padding, origin, i + 2), member(kind, source, padding, origin, i + 3),
    )  # fmt: skip


@device
def reduce(kind, source, state, padding, origin, start, stop, slot, lanes):
    """Take the members start <= i < stop into (acc, at, size), in order.

    acc : columns of the sum or maximum. at : of these, which member has the maximum. size : of the bag, see `take`.
    WINNER : ``at`` becomes the first member that has the maximum; of windows, what ``winners`` says of the window.
    WON : only those columns are added in which winners[row] is members[i].
    """
    rows = source[0]
    i = start
    while i + 3 < stop:
        state = take_four(kind, source, state, four(kind, source, padding, origin, i), slot, lanes)
        i += 4
    while i < stop:
        one = member(kind, source, padding, origin, i)
        values = values_of(kind, state[0], rows, one[1], slot, lanes)
        state = take(kind, source, state, one, values, slot, lanes)
        i += 1
    return state


@device
def reduce_many(kind, source, state, padding, origin, start, stop, slot, lanes):
    """As `reduce`, with eight rows under way: where there are registers for them, but few warps to wait.

    What is left of eight is taken four by four; of the last ones what is missing is loaded and not taken.
    """
    i, last = start, stop - 1
    while i + 7 < stop:
        ones, more = four(kind, source, padding, origin, i), four(kind, source, padding, origin, i + 4)
        values = rows_of_four(kind, source, state, ones, slot, lanes)
        later = rows_of_four(kind, source, state, more, slot, lanes)
        state = take_rows(kind, source, state, ones, values, slot, lanes)
        state = take_rows(kind, source, state, more, later, slot, lanes)
        i += 8
    while i < stop:
        ones = (
            one_or_last(kind, source, padding, origin, i, last),
            one_or_last(kind, source, padding, origin, i + 1, last),
            one_or_last(kind, source, padding, origin, i + 2, last),
            one_or_last(kind, source, padding, origin, i + 3, last),
        )  # fmt: skip
        state = take_four(kind, source, state, ones, slot, lanes)
        i += 4
    return state


@device
def one_or_last(kind, source, padding, origin, i, last):
    """Return what `member` says of i, or of the last one, which then does not count once more."""
    at, row, factor, weight, keep = member(kind, source, padding, origin, min(i, last))
    return at, row, factor, weight, keep and i <= last


@device
def reduce_few(kind, source, state, origin, start, stop, slot, lanes):
    """As `reduce`, where most segments have few members: one loop, which never waits for them one by one.

    Every member counts. What is missing of four is the last member once more, which is loaded and not taken. Members
    and rows are below 2**31.
    """
    i, last = np.int32(start), np.int32(stop - 1)
    while i <= last:
        i1, i2, i3 = np.int32(i + 1), np.int32(i + 2), np.int32(i + 3)
        ones = (
            one_of_few(kind, source, origin, i, last), one_of_few(kind, source, origin, i1, last),
            one_of_few(kind, source, origin, i2, last), one_of_few(kind, source, origin, i3, last),
        )  # fmt: skip
        state = take_four(kind, source, state, ones, slot, lanes)
        i = np.int32(i + 4)
    return state


@device
def one_of_few(kind, source, origin, i, last):
    """Return what `member` says of i, or of the last one, which then does not count once more; rows are int32."""
    keep = i <= last
    i, row, factor, weight, _ = member(kind, source, np.int64(-1), origin, min(i, last))
    return i, np.int32(row), factor, weight, keep
