"""Head: from pooled rows to outputs, losses and gradients, on the CPU: linear layers.

The kernels serve all widths of at least ``lanes`` columns. A row is gone through in tiles of `WIDE` vectors, then of
one; the last one overlaps the one before.
"""

import numpy as np

from skbag._compiled.once import once
from skbag._cpu.columns import before_column, from_column, lane_sum, multiply_add, total_sum
from skbag._cpu.jit import as_rule, inlined, part
from skbag._cpu.memory import LINE, item, item_bytes, prefetch_address, put
from skbag._cpu.tile import add_window, fold_row, full, load, store, window, window_memory
from skbag._cpu.vector import as_tile
from skbag._rules.elementwise import exp

WIDE = 4
_LINES_AHEAD = 32  # that a core waits for at once: asked for more, it waits before it can go on


@inlined
def row_address(array, row):
    """Where row ``row`` of a C-contiguous 2-D array begins."""
    return np.uintp(array.ctypes.data) + np.uintp(row) * (np.uintp(array.shape[1]) * item_bytes(array))


@inlined
def prefetch_row(array, row):
    """Ask for the cache lines of a row."""
    address = row_address(array, row)
    end = address + np.uintp(array.shape[1]) * item_bytes(array)
    while address < end:
        prefetch_address(address)
        address += np.uintp(LINE)
    prefetch_address(end - np.uintp(1))


@inlined
def rows_ahead(array):
    """How many rows are asked for before they are needed: at least one, and else not many lines.

    Who lists rows asks for as many, and who goes through them for one more with each.
    """
    row_bytes = np.uintp(array.shape[1]) * item_bytes(array)
    return max(1, min(_LINES_AHEAD, np.intp(np.uintp(_LINES_AHEAD * LINE) // row_bytes)))


@inlined
def prefetch_parameters(element_states, parameters, row):
    """Ask for a row of structs.Parameters, and for the states of its elements."""
    prefetch_row(parameters.values, row)
    if element_states > 0:
        prefetch_row(parameters.first, row)
    if element_states > 1:
        prefetch_row(parameters.second, row)


@inlined
def linear(tile, wide, lanes, inputs, p, coef, intercept, outputs):
    """outputs[p] = coef @ inputs[p] + intercept.

    inputs : (n, >= dim), coef : (n_outputs, dim), intercept : (n_outputs,), in. outputs : (m, >= n_outputs), out.
    """
    linear_part(tile, wide, lanes, inputs, p, coef, intercept, outputs, 0, len(coef))


@inlined
def product(tile, wide, lanes, source, target, dim, itemsize):
    """Return the product of two rows of ``dim`` columns at some addresses."""
    wide_end, full_end = dim - dim % (WIDE * lanes), dim - dim % lanes
    total, wide_total = tile, wide
    column = 0
    while column < wide_end:
        at = np.uintp(column) * itemsize
        wide_total = multiply_add(
            wide_total, load(wide, source + at, (WIDE - 1) * lanes), load(wide, target + at, (WIDE - 1) * lanes)
        )
        column += WIDE * lanes
    while column < full_end:
        at = np.uintp(column) * itemsize
        total = multiply_add(total, load(tile, source + at, 0), load(tile, target + at, 0))
        column += lanes
    if column < dim:
        at = np.uintp(dim - lanes) * itemsize
        h = from_column(load(tile, source + at, 0), 0, column - (dim - lanes))
        total = multiply_add(total, h, load(tile, target + at, 0))
    value = lane_sum(total)
    if wide_end > 0:
        value += total_sum(wide_total)
    return value


@inlined
def linear_part(tile, wide, lanes, inputs, p, coef, intercept, outputs, first, last):
    """Make the outputs of `linear` from the number ``first`` to before ``last``."""
    dim = coef.shape[1]
    itemsize = item_bytes(coef)
    source = row_address(inputs, p)
    for k in range(first, last):
        outputs[p, k] = intercept[k] + product(tile, wide, lanes, source, row_address(coef, k), dim, itemsize)


@inlined
def _nth(ids, k):
    """Return ids[k]; k without ids."""
    if ids is None:
        return np.intp(k)
    return np.intp(item(ids, k))


@inlined
def weighted_rows(tile, wide, lanes, rows, ids, start, n, weights, q, out, p):
    """out[p] = sum of weights[q, k] * rows[k] over k < n, or with ids * rows[ids[start + k]].

    rows : (m, dim), weights : (m, >= n), in. ids : (m,) or None, in. out : (m, >= dim), out.
    """
    dim = rows.shape[1]
    itemsize = item_bytes(rows)
    memory, most = window_memory(wide), window(wide)
    wide_end, column = dim - dim % (WIDE * lanes), 0
    while column < wide_end:
        offset = np.uintp(column) * itemsize
        total = wide
        for first in range(0, n, most):
            total = wide
            for k in range(first, min(n, first + most)):
                address = row_address(rows, _nth(ids, start + k)) + offset
                total = fold_row(total, address, weights[q, k], (WIDE - 1) * lanes)
            if n > most:
                total = add_window(total, memory, first == 0)
        store(total, row_address(out, p) + offset, (WIDE - 1) * lanes)
        column += WIDE * lanes
    while column < dim:
        offset = np.uintp(min(column, dim - lanes)) * itemsize
        acc = tile
        for first in range(0, n, most):
            acc = tile
            for k in range(first, min(n, first + most)):
                address = row_address(rows, _nth(ids, start + k)) + offset
                acc = fold_row(acc, address, weights[q, k], 0)
            if n > most:
                acc = add_window(acc, memory, first == 0)
        store(acc, row_address(out, p) + offset, 0)
        column += lanes


@inlined
def log_sum_exp(tile, block, outputs, p, n):
    """Return log(sum(exp(outputs[p, k]))) over k < n, for whole vectors of ``block`` outputs."""
    base, itemsize = row_address(outputs, p), item_bytes(outputs)
    highest = outputs[p, 0]
    for k in range(1, n):
        highest = max(highest, outputs[p, k])
    total = tile
    for k in range(0, n, block):
        terms = exp(load(tile, base + np.uintp(k) * itemsize, 0) - highest)
        if k + block > n:
            terms = before_column(terms, n - k)
        total = total + terms
    return highest + np.log(lane_sum(total))


@once
def loss_loop(block, loss):
    """Make the loop of a loss (``skbag._rules.losses.Loss``) over outputs, a vector of ``block`` of them at once."""
    rule, normalized = as_rule(loss.rule), loss.normalized

    @inlined
    def derive(outer, outputs, q, n, targets, factors, scale):
        """Return the sum of the losses of outputs[q, k], k < n; outputs[q] becomes their derivatives times scale.

        outputs : (m, >= n, whole vectors), in-out. targets, factors : addresses of as many numbers, or factors None for
        ones.
        """
        base, itemsize = row_address(outputs, q), item_bytes(outputs)
        shift = outputs.dtype.type(0)
        if normalized:
            shift = log_sum_exp(outer, block, outputs, q, n)
        total = outer
        for k in range(0, n, block):
            at = np.uintp(k) * itemsize
            z = load(outer, base + at, 0)
            if normalized:
                z = z - shift
            value, derivative = rule(z, load(outer, targets + at, 0))
            value, derivative = as_tile(outer, value), as_tile(outer, derivative)
            if factors is not None:
                factor = load(outer, factors + at, 0)
                value, derivative = value * factor, derivative * factor
            if k + block > n:
                value = before_column(value, n - k)
            total = total + value
            store(derivative * scale, base + at, 0)
        return lane_sum(total)

    return derive


@once
def head_kernel(lanes, block, loss):
    """Make the kernel of the last layer and a loss (``skbag._rules.losses.Loss``), called by its address.

    ``block`` is how many outputs, a vector of them, the rule of the loss takes at once.
    """
    derive = loss_loop(block, loss)

    @part
    def head(targets, chosen, layer, batch, parts, part_, begin, end, first, n_bags, number):
        """Go through the bags begin <= p < end of a mini-batch of n_bags bags, which begins at order[first].

        outputs[p] = derivatives of loss * weight / n_bags with respect to coef @ inputs[p] + intercept, losses[p] =
        loss * weight / n_bags, gradients[p] = derivatives with respect to inputs[p], unless gradients has no rows.

        targets : structs.Targets, in. layer : structs.Layer; inputs, in; outputs, which are its deltas, gradients, out.
        batch : structs.Batch; losses, out. parts : structs.Parts; targets[part_], scratch, zeros before and after.
        chosen, number : see ``chosen.chosen_head_kernel``; not looked at.
        """
        order, indices, indptr, values = targets.order, targets.indices, targets.indptr, targets.values
        sample_weight, target = targets.sample_weight, parts.targets[part_]
        coef, intercept, inputs, outputs = layer.coef, layer.intercept, layer.inputs, layer.outputs
        losses, gradients = batch.losses, layer.gradients
        zero = coef.dtype.type(0)
        tile, wide = full(zero, lanes, 1), full(zero, lanes, WIDE)
        outer = full(zero, block, 1)
        n = len(coef)
        for p in range(begin, end):  # one loop after the other: what follows waits for no row alone
            linear(tile, wide, lanes, inputs, p, coef, intercept, outputs)
        for p in range(begin, end):
            bag = order[first + p]
            for i in range(indptr[bag], indptr[bag + 1]):
                put(target, item(indices, i), item(values, i) if len(values) > 0 else coef.dtype.type(1))
            scale = zero + sample_weight[bag] / n_bags
            losses[p] = np.float64(derive(outer, outputs, p, n, np.uintp(target.ctypes.data), None, scale)) * scale
            for i in range(indptr[bag], indptr[bag + 1]):
                put(target, item(indices, i), zero)
        if len(gradients) > 0:
            for p in range(begin, end):
                weighted_rows(tile, wide, lanes, coef, None, 0, n, outputs, p, gradients, p)

    return head
