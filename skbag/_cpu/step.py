"""Training on the CPU: mini-batches of bags, from the forward pass to the updated rows, in compiled code.

A mini-batch has two phases of ``n_parts`` parts each. FORWARD: each part takes some of the bags, copies their members
together, lists them by the part that owns their row, pools them and leaves the gradients of the loss with respect to
outputs and pooled rows. UPDATE: each part changes the rows of the table and of the layers that it owns. So every
row has one writer, which goes through the members in the order of the bags, and the result does not depend on who runs
which part.

Where a step is linear in the gradient, a row takes the gradient of each of its members as it comes. Other steps need
the whole gradient of a row: its members are brought together by sorting, and the row changes once.

Parts are handed out by tickets: ticket t is part t % n_parts of phase t // n_parts; it begins when all tickets of
earlier phases are done. A thread may join or leave at any time; one thread alone can do everything.

The kernel here is compiled once. What depends on the width, the loss or the solver are kernels of their own, which it
calls by their addresses, once for some dozens of bags or rows.
"""

import numpy as np

from skbag._cpu.calls import call, nth, stored
from skbag._cpu.forward import collect_row, pool_sums, squares_of, sums_of
from skbag._cpu.jit import inlined, part
from skbag._cpu.memory import fetch_add, item, load_acquire, prefetch_item, put, yield_thread
from skbag._cpu.pooling import BAGS_TOGETHER
from skbag._cpu.sharing import DONE, NEXT, STOP
from skbag._cpu.sorting import assign

_ITEMS_OF_A_LINE = 16  # of four bytes
_BAGS_AHEAD = 4  # whose members are asked for
_MEMBERS_AHEAD = 128  # of a bag: the processor sees by itself where a longer one goes on
_SPINS = 2000


@inlined
def _wait(tickets, n_done):
    """Wait until n_done tickets are done, or training stops: then some never will be."""
    spins = 0
    while load_acquire(tickets, DONE) < n_done and not load_acquire(tickets, STOP):
        spins += 1
        if spins > _SPINS:
            yield_thread()


@inlined
def _prefetch_row_of_members(bags, n_fields, p):
    """Ask for the members of row order[p], and for where those of a later one begin; rows come in any order."""
    last = len(bags.order) - 1
    prefetch_item(bags.indptr, bags.order[min(last, p + _BAGS_AHEAD)] * n_fields)
    row = bags.order[min(last, p)]
    start, stop = np.intp(item(bags.indptr, row * n_fields)), np.intp(item(bags.indptr, (row + 1) * n_fields))
    for i in range(start, min(stop, start + _MEMBERS_AHEAD), _ITEMS_OF_A_LINE):
        prefetch_item(bags.indices, i)
        if len(bags.weights) > 0:
            prefetch_item(bags.weights, i)


@inlined
def _forward(
    plan, layout, begin, end, first, n_bags, number, part, bags, targets, chosen, forward, layers, n_layers, batch,
    sums, squares,
    parts, tickets,
):  # fmt: skip
    """Run FORWARD for the rows begin <= p < end of a mini-batch of n_bags rows."""
    n_parts, n_fields, dim = len(parts.firsts), layout.n_fields, forward.table.shape[1]
    start = stop = bags.order_indptr[first + begin] - bags.order_indptr[first]
    parts.firsts[part] = start
    for owner in range(n_parts):
        parts.n_owned[part, owner] = 0
    if len(targets.starts) > 0:
        chosen.firsts[part] = targets.starts[first + begin] - targets.starts[first]
        for owner in range(n_parts):
            chosen.n_owned[part, owner] = 0
    for p in range(begin, end):
        _prefetch_row_of_members(bags, n_fields, first + p + _BAGS_AHEAD)
        stop = collect_row(layout, bags, bags.order[first + p], p, stop, batch)
    if not plan.freeze:
        assign(n_parts, start, stop, batch.ids, start, parts.owned, parts.n_owned[part])
    for first_bag in range(begin, end, BAGS_TOGETHER):
        if load_acquire(tickets, STOP):
            break
        last_bag = min(end, first_bag + BAGS_TOGETHER)
        addresses = plan.reduce, plan.reduce_squares, plan.interact
        pool_sums(layout, addresses, sums, squares, batch, first_bag, last_bag, dim)
        if layout.maximum >= 0:
            call(plan.maxima, (layout, forward, batch, first_bag, last_bag))
        for j in range(n_layers - 1):
            call(nth(layers, j).forward, (nth(layers, j), first_bag, last_bag))
        last = nth(layers, n_layers - 1)
        call(plan.head, (targets, chosen, last, batch, parts, part, first_bag, last_bag, first, n_bags, number))
        for j in range(n_layers - 2, -1, -1):
            call(nth(layers, j).back, (nth(layers, j), first_bag, last_bag))
        if not plan.freeze and len(layout.places) > 0 and batch.blocks.shape[1] > dim:
            call(plan.fold, (layout, batch, first_bag, last_bag, dim))


@inlined
def _update_layer(step, number, place, part, n_bags, layer, coef, intercept, parts, tickets):
    """Change the weights and intercepts of the outputs of a layer that belong to a part."""
    n_parts, n_outputs, rate = len(parts.firsts), len(coef.values), step.rate - step.rate_step * place
    weights, starts, stops, rows = parts.weights[part], parts.starts[part], parts.stops[part], parts.rows[part]
    most = max(1, min(len(rows), len(weights) // n_bags))
    begin, end = part * n_outputs // n_parts, (part + 1) * n_outputs // n_parts
    for first in range(begin, end, most):
        if load_acquire(tickets, STOP):
            break
        n_rows = min(most, end - first)
        for r in range(n_rows):
            rows[r], starts[r], stops[r] = first + r, 0, n_bags
        deltas = layer.deltas
        for p in range(n_bags):
            for r in range(n_rows):
                put(weights, r * n_bags + p, deltas[p, first + r])
        terms = parts.terms, -1, weights, n_bags, parts.ranks, layer.inputs
        call(layer.update, (*terms, parts, part, n_rows, coef, intercept, step, number, rate, tickets))


@inlined
def _bits(number):
    """Return how many bits a number has."""
    n = 0
    while number >> n:
        n += 1
    return n


@inlined
def _update(
    plan, layout, part, n_bags, number, place, some, table, nothing, batch, parts, n_layers, layers, coefs, intercepts,
    step, steps, chosen, undo, layer_undo, tickets,
):  # fmt: skip
    """Run UPDATE for a part. ``some``: of the last layer, too, each bag has rows of its own."""
    for j in range(n_layers - some):
        _update_layer(
            nth(steps, j), number, place, part, n_bags, nth(layers, j), nth(coefs, j), nth(intercepts, j), parts,
            tickets,
        )  # fmt: skip
    if some:
        last = n_layers - 1
        of_last, layer, coef = nth(steps, last), nth(layers, last), nth(coefs, last)
        rate = of_last.rate - of_last.rate_step * place
        bits, entry_bits = _bits(len(coef.values) - 1), _bits(len(chosen.ids))
        entries = (
            plan, layout, chosen, chosen, layer.inputs, batch, coef, nth(intercepts, last), of_last, parts, layer_undo,
            layer.update, number, rate, part, bits, entry_bits, tickets,
        )  # fmt: skip
        call(plan.outputs, entries)
    rate = step.rate - step.rate_step * place  # the rates do not have it: bytes must not depend on where a call begins
    if plan.linear and not plan.freeze:
        call(plan.rows, (plan, rate, part, table, batch, parts, undo, tickets))
    elif not plan.freeze:
        members = (
            plan, layout, parts, batch, batch.of_sums, batch, table, nothing, step, parts, undo, plan.update, number,
            rate, part, _bits(len(table.values) - 1), _bits(len(batch.ids)), tickets,
        )  # fmt: skip
        call(plan.rows, members)


@inlined
def _sum_losses(batch, n_bags, losses, k, tickets):
    """losses[k] = the sum of those of the bags of a mini-batch, which has to be finite."""
    total = 0.0
    for p in range(n_bags):
        total += batch.losses[p]
    losses[k] = total
    if not np.isfinite(total):
        tickets[STOP] = 1


@part
def train(
    layout, forward, table, nothing, batch, parts, n_layers, layers, coefs, intercepts,
    plan, step, chosen, undo, layer_undo, steps, bags, targets, progress,
):  # fmt: skip
    """Train on mini-batches of the bags order[0], order[1], ...

    Stored tuples of ``skbag._cpu.structs``: layout, forward, in; table, Parameters, in-out; nothing, Parameters of no
    numbers; batch, parts, scratch; plan, step (of the table), chosen, in; undo, layer_undo (of the last layer), in-out;
    bags, targets, in. Several of one for each layer, from the first to the last: layers (each Layer), scratch; coefs
    and intercepts (each Parameters) of (n_outputs, n_inputs) and (n_outputs,), in-out; steps (each Step), in.
    progress : structs.Progress. losses : (n_batches,), out: mean loss per bag. tickets : (5,) int64, in-out.
        tickets[STOP] becomes 1, and training ends, if a loss or a changed row is not finite; another thread may also
        set it, and the model is then between two moments.
    """
    tickets, n_parts = progress.tickets, len(parts.firsts)
    sums = stored(sums_of(forward, batch, layout, tickets))
    squares = stored(squares_of(forward, batch, layout, tickets))
    n_tickets = 2 * n_parts * len(progress.losses)
    ticket = fetch_add(tickets, NEXT, 1)
    while ticket < n_tickets:
        phase, part = ticket // n_parts, ticket % n_parts
        k = phase // 2
        _wait(tickets, phase * n_parts)
        if tickets[STOP]:
            break
        first = k * plan.batch_size
        n_bags = min(plan.batch_size, len(bags.order) - first)
        if phase % 2 == 0:
            begin, end = part * n_bags // n_parts, (part + 1) * n_bags // n_parts
            _forward(
                plan, layout, begin, end, first, n_bags, progress.number + k, part, bags, targets, chosen, forward,
                layers, n_layers, batch, sums, squares, parts, tickets,
            )  # fmt: skip
        else:
            if part == 0:
                _sum_losses(batch, n_bags, progress.losses, k, tickets)
            _update(
                plan, layout, part, n_bags, progress.number + k, progress.first + k, len(targets.starts) > 0, table,
                nothing, batch, parts, n_layers, layers, coefs, intercepts, step, steps, chosen, undo, layer_undo,
                tickets,
            )  # fmt: skip
        fetch_add(tickets, DONE, 1)
        ticket = fetch_add(tickets, NEXT, 1)
