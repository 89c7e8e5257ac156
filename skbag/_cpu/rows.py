"""How the rows that a part owns are changed: each once, or by the gradient of each member as it comes.

Compiled once for all widths and solvers, and only where it is asked for; see ``skbag._cpu.step``.
"""

import numpy as np

from skbag._compiled.once import once
from skbag._cpu.calls import call
from skbag._cpu.head import prefetch_parameters, prefetch_row, row_address, rows_ahead
from skbag._cpu.jit import inlined, part
from skbag._cpu.memory import (
    LINE,
    copy_bytes,
    fetch_add,
    item,
    item_bytes,
    load_acquire,
    prefetch_item,
    put,
    stream_line,
)
from skbag._cpu.sharing import STOP
from skbag._cpu.sorting import sorted_pairs

_CACHED = 1 << 22  # bytes: with more of them, what is kept of rows would drive out what is read again


@inlined
def _copy_row(rows, row, to, to_row):
    """to[to_row] = rows[row]; past the caches if ``to``, which begins with a cache line, is larger than they are."""
    n_bytes = np.uintp(rows.shape[1]) * item_bytes(rows)
    target, source = row_address(to, to_row), row_address(rows, row)
    if n_bytes % LINE == 0 and np.uintp(len(to)) * n_bytes > _CACHED:
        for at in range(np.uintp(0), n_bytes, np.uintp(LINE)):
            stream_line(target + at, source + at)
    else:
        copy_bytes(target, source, n_bytes)


@inlined
def _copy_rows(rows, which, n, to, first):
    """to[first + k] = rows[which[k]] for k < n."""
    ahead = rows_ahead(rows)
    for k in range(n):
        if k + ahead < n:
            prefetch_row(rows, item(which, k + ahead))
        _copy_row(rows, item(which, k), to, first + k)


@inlined
def _keep(plan, table, rows, n_rows, fresh, undo):
    """Keep rows as they are before the first step that changes them; a row may come twice."""
    n, touched, call = 0, undo.touched, item(undo.n_rows, 1)
    for r in range(n_rows):
        row = item(rows, r)
        put(fresh, n, row)
        if item(touched, row) != call:
            put(touched, row, call)
            n += 1
    if n == 0:
        return
    first = fetch_add(undo.n_rows, 0, n)
    kept = undo.rows
    for k in range(n):
        put(kept, first + k, item(fresh, k))
    _copy_rows(table.values, fresh, n, undo.values, first)
    if plan.row_state:
        state, old_state = table.state, undo.state
        for k in range(n):
            put(old_state, first + k, item(state, item(fresh, k)))
    if plan.element_states > 0:
        _copy_rows(table.first, fresh, n, undo.first, first)
    if plan.element_states > 1:
        _copy_rows(table.second, fresh, n, undo.second, first)


@inlined
def _add_max_gradient(row, pairs, mask, start, stop, place, batch, row_gradients, to):
    """Add to row_gradients[to] the gradients of the maxima of the bags, in the columns in which the row won."""
    gradients, winners = batch.of_blocks, batch.winners
    before = -1
    for j in range(start, stop):
        q = batch.bags[pairs[j] & mask]
        if q != before:  # a bag that names the row twice has one first winner
            for d in range(winners.shape[1]):
                if winners[q, d] >= 0 and batch.ids[winners[q, d]] == row:
                    row_gradients[to, d] += gradients[q, place + d]
        before = q


@inlined
def _gather(plan, layout, part, n_rows, pairs, mask, table, batch, parts):
    """parts.sums = the gradients of rows that are no sum over members of what ``batch`` has: block by block."""
    rows, starts, stops, sums = parts.rows[part], parts.starts[part], parts.stops[part], parts.sums[part]
    dim = sums.shape[1]
    if len(layout.places) > 0:
        call(plan.gather, (pairs, mask, table, batch, parts, part, n_rows))
    else:
        for r in range(n_rows):
            for d in range(dim):
                sums[r, d] = 0
    for r in range(n_rows):
        if layout.maximum >= 0:
            _add_max_gradient(rows[r], pairs, mask, starts[r], stops[r], layout.maximum, batch, sums, r)
        if plan.by_freq:
            for d in range(dim):
                sums[r, d] /= stops[r] - starts[r]


@inlined
def _segments(plan, pairs, n, start, member_bits, table, undo, parts, part, most):
    """List the next rows, at most so many, with where their members begin and end in ``pairs``; ask for the first.

    Returns how many they are, and where the next one begins.
    """
    starts, stops, rows = parts.starts[part], parts.stops[part], parts.rows[part]
    state, ahead, keeps = table.state, rows_ahead(table.values), len(undo.touched) > 0
    row_state, element_states = plan.row_state, plan.element_states
    n_rows, stop = 0, start
    while stop < n and n_rows < most:
        row = item(pairs, stop) >> member_bits
        if n_rows < ahead:
            prefetch_parameters(element_states, table, row)
        if row_state:
            prefetch_item(state, row)
        if keeps:
            prefetch_item(undo.touched, row)
        put(rows, n_rows, row)
        put(starts, n_rows, stop)
        while stop < n and item(pairs, stop) >> member_bits == row:
            stop += 1
        put(stops, n_rows, stop)
        n_rows += 1
    return n_rows, stop


@once
def rows_kernel(gathers):
    """Make the kernel that changes rows, called by its address; ``gathers`` as ``structs.Plan`` has it."""

    @part
    def update_rows(
        plan, layout, lists, members, source, batch, table, bias, step, parts, undo, update, number, rate, part, n_bits,
        member_bits, tickets,
    ):  # fmt: skip
        """Change each row of a table, or of a layer, that the members of a part name, once.

        Its gradient is the sum of members.weights[i] * source[members.bags[i]] over the members i that name it; or, of
        a table, what `_gather` says.

        lists : structs.Parts, or structs.Chosen for a layer; members : structs.Batch, or structs.Chosen. source :
        (n_bags, dim), in. table, bias : structs.Parameters, in-out. update : address of ``update.update_kernel``'s.
        n_bits, member_bits : of the number of a row, and of a member. All others as in ``step.train``.
        """
        starts, stops, rows = parts.starts[part], parts.stops[part], parts.rows[part]
        n, where = sorted_pairs(len(parts.firsts), part, n_bits, member_bits, members.ids, lists, parts.counts[part])
        pairs, mask = lists.pairs[part, where], (1 << member_bits) - 1
        start, most = 0, len(rows)
        while start < n and not load_acquire(tickets, STOP):
            n_rows, start = _segments(plan, pairs, n, start, member_bits, table, undo, parts, part, most)
            if len(undo.touched) > 0:
                _keep(plan, table, rows, n_rows, parts.fresh[part], undo)
            if gathers:
                sums, weights = parts.sums[part], parts.weights[part]
                _gather(plan, layout, part, n_rows, pairs, mask, table, batch, parts)
                for r in range(n_rows):  # each is a term of its own
                    starts[r], stops[r], weights[r] = r, r + 1, 1
                terms = parts.terms, -1, weights, 0, parts.ranks, sums
                call(update, (*terms, parts, part, n_rows, table, bias, step, number, rate, tickets))
            else:
                terms = pairs, mask, members.weights, 0, members.bags, source
                call(update, (*terms, parts, part, n_rows, table, bias, step, number, rate, tickets))

    return update_rows


@part
def add_rows(plan, rate, part, table, batch, parts, undo, tickets):
    """Take from each row the gradients of its members, one by one; arguments as in ``step.train``."""
    rows, owned, ahead = parts.rows[part], parts.owned[part], rows_ahead(table.values)
    for p in range(len(parts.firsts)):
        first = parts.firsts[p]
        last = first + parts.n_owned[p, part]
        if len(undo.touched) == 0:
            call(plan.add, (batch, parts, part, first, last, -rate, table, tickets))
            continue
        while first < last and not load_acquire(tickets, STOP):  # what is kept is at hand when it changes
            n_rows = min(len(rows), last - first)
            for r in range(n_rows):
                row = np.int64(item(batch.ids, item(owned, first + r)))
                put(rows, r, row)
                prefetch_item(undo.touched, row)
                if r < ahead:
                    prefetch_row(table.values, row)
            _keep(plan, table, rows, n_rows, parts.fresh[part], undo)
            call(plan.add, (batch, parts, part, first, first + n_rows, -rate, table, tickets))
            first += n_rows
