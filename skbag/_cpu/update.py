"""Update: from gradients to rows, on the CPU; those of float16 and bfloat16 are rounded by ``tile.rounded_to``.

The kernels are made for rows of one tile of up to 8 vectors, or of any number of tiles of 8 of which the last one
overlaps the one before.
"""

import numpy as np

from skbag._compiled.once import once
from skbag._cpu.columns import add_scaled, dot, from_column, offset_of, skip_of
from skbag._cpu.head import prefetch_parameters, prefetch_row, row_address, rows_ahead
from skbag._cpu.jit import as_rule, inlined
from skbag._cpu.memory import item, item_bytes, load_acquire, put
from skbag._cpu.pooling import row_norm
from skbag._cpu.shaped import shaped
from skbag._cpu.sharing import STOP
from skbag._cpu.solving import change_back_of, change_bias_of, change_of, length_of
from skbag._cpu.storage import number_at, put_number
from skbag._cpu.tile import (
    add_window,
    fold_row,
    is_finite,
    load,
    of_table,
    open_tile,
    prefetch_all,
    store,
    window,
    window_memory,
)
from skbag._cpu.tiling import TOTAL

MOST_VECTORS = 8
_ROWS_AHEAD = 16  # members whose rows are prefetched in `add_kernel`
_MEMBERS_BETWEEN_LOOKS = 1024  # at whether training was stopped


@inlined
def _sum_of_window(tile, terms, mask, start, stop, weights, ahead, ids, source, offset, tail):
    """Return the sum of a few terms, see `_sum_of_terms`."""
    acc = tile
    for j in range(start, stop):
        i = item(terms, j) & mask
        address = row_address(source, item(ids, i)) + offset
        acc = fold_row(acc, address, item(weights, ahead + i), tail)
    return acc


@inlined
def _sum_of_terms(tile, memory, terms, mask, start, stop, weights, ahead, ids, source, offset, tail):
    """Return sum of weights[ahead + i] * source[ids[i]] over i = terms[j] & mask, start <= j < stop, for a tile."""
    most = window(tile)
    if stop - start == 1:  # as in most rows of a mini-batch
        return _sum_of_window(tile, terms, mask, start, start + 1, weights, ahead, ids, source, offset, tail)
    acc = _sum_of_window(tile, terms, mask, start, min(stop, start + most), weights, ahead, ids, source, offset, tail)
    if stop - start > most:
        acc = add_window(acc, memory, True)
        for first in range(start + most, stop, most):
            last = min(stop, first + most)
            acc = _sum_of_window(tile, terms, mask, first, last, weights, ahead, ids, source, offset, tail)
            acc = add_window(acc, memory, False)
    return acc


@inlined
def _sum_of_weights(terms, mask, start, stop, weights, ahead):
    """Return sum of weights[ahead + i] over i = terms[j] & mask, start <= j < stop."""
    total = 0.0
    for j in range(start, stop):
        total += item(weights, ahead + (item(terms, j) & mask))
    return total


@inlined
def _whole(tile, g, values, row, column, tail, n_members, step, decay, like):
    """Return the gradient for a tile of a row: per member with ``by_freq``, and with decay * row."""
    if step.by_freq:
        g = g / like.dtype.type(n_members)
    if decay != 0:
        at = row_address(values, row) + offset_of(values.shape[1], column, tile.span, item_bytes(values))
        g = add_scaled(g, decay, load(of_table(tile, values), at, tail))
    return g


@inlined
def _rescale(parameters, rows, n_rows, step, like):
    """Multiply rows that are longer than max_norm, or with ``exactly`` any, by max_norm / (norm + 1e-7), torch's.

    The arithmetic is that of the dtype of the array ``like``.
    """
    for r in range(n_rows):
        row = item(rows, r)
        length = row_norm(parameters, row, step.norm_type)
        if length > step.max_norm or (step.exactly and length > 0):
            factor = like.dtype.type(step.max_norm / (length + 1e-7))
            for d in range(parameters.shape[1]):
                number = number_at(parameters, row, d)
                put_number(parameters, row, d, number * factor)


@once
def update_kernel(solver):
    """Make the kernel that changes rows by their gradients with a solver, called by its address.

    Parameters
    ----------
    solver : skbag._rules.solvers.Solver
    """
    penalty, states, looks_back = as_rule(solver.penalty), solver.element_states, solver.mean_square
    change, change_back, length_of_step = change_of(solver), change_back_of(solver), length_of(solver)
    change_bias = change_bias_of(solver)

    @shaped
    def update(
        terms, mask, weights, stride, ids, source, parts, part_, n_rows, parameters, bias, step, number, rate, tickets
    ):  # fmt: skip
        """Change rows[r] of ``parameters`` by a gradient, for r < n_rows.

        The gradient is sum of weights[r * stride + i] * source[ids[i]] over i = terms[j] & mask for
        starts[r] <= j < stops[r].

        If there are ``bias``, bias[rows[r]] changes by the sum of the weights, at its own rate. ``alpha`` times the
        row, see `Solver.penalty`, is part of the gradient of a row, not of a bias. A row whose norm then exceeds
        max_norm is rescaled to it. tickets[STOP] becomes 1 if a row, or its state, is not finite any more.

        terms : (n,) int64, in. weights : (m,), ids : (m,), in. source : (k, dim), in. parts : structs.Parts; of part_
        rows, each once, starts and stops, in; row_gradients, not the source, and steps, scratch. parameters :
        structs.Parameters, in-out. bias : structs.Parameters of numbers, in-out; or without any. step : structs.Step,
        in. number, rate : of this step. tickets : int64, in-out.
        """
        rows, starts, stops, steps = parts.rows[part_], parts.starts[part_], parts.stops[part_], parts.steps[part_]
        gradients, values = parts.row_gradients[part_], parameters.values
        zero, dim, itemsize = gradients.dtype.type(0), values.shape[1], item_bytes(gradients)
        tile = open_tile(zero, TOTAL)
        check, memory, span = tile, window_memory(tile), tile.span
        tail, columns, decay = min(span, dim) - tile.lanes, 1 if tile.single else dim, zero + penalty(rate, step.alpha)
        ahead = rows_ahead(values)
        for r in range(n_rows):
            row, squares = item(rows, r), 0.0
            if r + ahead < n_rows:
                prefetch_parameters(states, parameters, item(rows, r + ahead))
            if not looks_back:
                put(steps, r, length_of_step(parameters, row, number, rate))
            for column in range(0, columns, span):
                offset = offset_of(dim, column, span, itemsize)
                g = _sum_of_terms(
                    tile, memory, terms, mask, item(starts, r), item(stops, r), weights, r * stride, ids, source,
                    offset, tail,
                )  # fmt: skip
                g = _whole(tile, g, values, row, column, tail, item(stops, r) - item(starts, r), step, decay, gradients)
                if looks_back:
                    store(g, row_address(gradients, r) + offset, tail)
                    if not tile.single and column > 0:
                        g = from_column(g, tail, skip_of(dim, column, span))
                    squares += dot(g, g, tail)
                else:
                    length = zero + item(steps, r)
                    check = change(tile, zero, check, g, row, column, offset, tail, length, number, parameters)
            if looks_back:
                put(steps, r, squares)
        if looks_back:
            check = change_back(tile, zero, check, part_, n_rows, columns, number, rate, parts, parameters, tickets)
        if not is_finite(check):
            tickets[STOP] = 1
        if step.max_norm < np.inf:
            _rescale(values, rows, n_rows, step, gradients)
        if len(bias.values) > 0:
            for r in range(n_rows):
                g = _sum_of_weights(terms, mask, item(starts, r), item(stops, r), weights, r * stride)
                change_bias(bias, item(rows, r), g, number, rate * step.bias, tickets)

    return update


@once
def gather_kernel(squares):
    """Make the kernel that gathers gradients of rows, called by its address; ``squares``: of an interaction, too."""

    @shaped
    def gather(pairs, mask, parameters, batch, parts, part_, n_rows):
        """sums[r] = sum of w * of_sums[b] - values[rows[r]] * sum of w * w * of_squares[b], for r < n_rows.

        Over the members i = pairs[j] & mask with starts[r] <= j < stops[r], their weights w and bags b.

        pairs : (n,) int64, in. parameters : structs.Parameters, in. batch : structs.Batch, in. parts : structs.Parts;
        of part_ rows, starts and stops, in; sums, out.
        """
        rows, starts, stops, sums = parts.rows[part_], parts.starts[part_], parts.stops[part_], parts.sums[part_]
        values, weights, bags = parameters.values, batch.weights, batch.bags
        zero, dim, itemsize = sums.dtype.type(0), values.shape[1], item_bytes(sums)
        tile = open_tile(zero, TOTAL)
        memory, span = window_memory(tile), tile.span
        tail, columns, ahead = min(span, dim) - tile.lanes, 1 if tile.single else dim, rows_ahead(values)
        for r in range(n_rows):
            start, stop = item(starts, r), item(stops, r)
            if squares and r + ahead < n_rows:
                prefetch_row(values, item(rows, r + ahead))
            for column in range(0, columns, span):
                offset = offset_of(dim, column, span, itemsize)
                g = _sum_of_terms(
                    tile, memory, pairs, mask, start, stop, weights, 0, bags, batch.of_sums, offset, tail
                )  # fmt: skip
                if squares:
                    at = row_address(values, item(rows, r)) + offset_of(dim, column, span, item_bytes(values))
                    row, own = load(of_table(tile, values), at, tail), tile
                    for j in range(start, stop):
                        i = item(pairs, j) & mask
                        weight = item(weights, i)
                        source = row_address(batch.of_squares, item(bags, i)) + offset
                        own = add_scaled(own, weight * weight, load(tile, source, tail))
                    g = g - own * row
                store(g, row_address(sums, r) + offset, tail)

    return gather


@shaped
def add(batch, parts, part_, first, last, step, parameters, tickets):
    """Take a step that is linear in the gradient; called by its address, see `update_kernel`.

    values[ids[i]] += step * weights[i] * of_sums[bags[i]] for the members i = owned[first], ...

    batch : structs.Batch, in. parts : structs.Parts; owned[part_] to owned[part_, last - 1], in. parameters :
    structs.Parameters; values, in-out. tickets : int64, tickets[STOP] becomes 1 if a row is not finite any more.
    """
    members, ids, weights, bags = parts.owned[part_], batch.ids, batch.weights, batch.bags
    gradients, table = batch.of_sums, parameters.values
    zero, dim, itemsize = table.dtype.type(0), table.shape[1], item_bytes(table)
    tile = open_tile(zero, TOTAL)
    span = tile.span
    tail, columns = min(span, dim) - tile.lanes, 1 if tile.single else dim
    check = tile
    for j in range(first, last):
        if j % _MEMBERS_BETWEEN_LOOKS == 0 and load_acquire(tickets, STOP):
            break
        soon = np.intp(item(members, min(j + _ROWS_AHEAD, last - 1)))
        for column in range(0, columns, span):
            offset = offset_of(dim, column, span, itemsize)
            prefetch_all(tile, row_address(table, item(ids, soon)) + offset, tail, 0)
        i = np.intp(item(members, j))
        source, target = row_address(gradients, item(bags, i)), row_address(table, item(ids, i))
        factor = table.dtype.type(step) * item(weights, i)
        for column in range(0, columns, span):
            offset = offset_of(dim, column, span, itemsize)
            g = load(tile, source + offset, tail)
            if not tile.single and column > 0:
                g = from_column(g, tail, skip_of(dim, column, span))
            new = add_scaled(load(tile, target + offset, tail), factor, g)
            check = add_scaled(check, zero, new)
            store(new, target + offset, tail)
    if not is_finite(check):
        tickets[STOP] = 1
