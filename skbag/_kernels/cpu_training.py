"""Training on the CPU: mini-batches of bags, from the forward pass to the updated rows, in compiled code.

A mini-batch has two phases of ``n_parts`` parts each. FORWARD: each part takes some of the bags, copies their members
together, pools them and leaves the gradient of the loss with respect to logits and pooled features. UPDATE: each part
owns some rows of the table and of ``coef``: it sorts their members by row, sums what the mini-batch has for a row in
the order of the bags, and changes the row once. So every row has one writer, and the result does not depend on who
runs which part.

Parts are handed out by tickets: ticket t is part t % n_parts of phase t // n_parts; it begins when all tickets of
earlier phases are done. A thread may join or leave at any time; one thread alone can do everything.
"""

from functools import cache

import numpy as np

from ._jit import inlined, kernel
from ._simd import (
    add_scaled,
    dot,
    fetch_add,
    fold_rows,
    from_column,
    full,
    is_finite,
    item,
    load,
    load_acquire,
    prefetch,
    prefetch_item,
    put,
    store,
    yield_thread,
)
from .cpu import MAX, MEAN, SQRTN, reduce_bag, row_norm

SOFTMAX, SIGMOID = range(2)
SGD, ADAGRAD = range(2)
NEXT, DONE, STOP = range(3)
_EPSILON = 1e-10  # torch.optim.Adagrad's
_SPINS = 2000
_AHEAD = 16  # members whose rows are prefetched in the forward pass
_ROWS_AHEAD = 8  # members whose rows are prefetched in the update


@inlined
def _address(array, row):
    """Where row ``row`` of a C-contiguous 2-D array begins."""
    return np.uintp(array.ctypes.data) + np.uintp(row) * np.uintp(array.shape[1] * array.itemsize)


@inlined
def _wait(tickets, n_done):
    """Wait until n_done tickets are done, or training stops: then some never will be."""
    spins = 0
    while load_acquire(tickets, DONE) < n_done and not load_acquire(tickets, STOP):
        spins += 1
        if spins > _SPINS:
            yield_thread()


@inlined
def _collect(mode, weights, indices, start, stop, padding_idx, to, p, batch_indices, batch_weights, batch_bags):
    """Copy the members of bag p to ``to`` and on, with the weight that the gradient has for them; return the end.

    Members that padding_idx or a weight of 0 takes out are not copied. ``batch_weights`` becomes w, for MEAN
    w / sum |w|, for SQRTN w / sqrt(sum w ** 2).
    """
    size = 0.0
    end = to
    for i in range(start, stop):
        index = item(indices, i)
        weight = batch_weights.dtype.type(1) if weights is None else item(weights, i)
        if index != padding_idx and weight != 0:
            put(batch_indices, end, index)
            put(batch_weights, end, weight)
            put(batch_bags, end, p)
            size += np.float64(weight) ** 2 if mode == SQRTN else abs(np.float64(weight))
            end += 1
    if mode in (MEAN, SQRTN):
        scale = batch_weights.dtype.type(1.0 / (np.sqrt(size) if mode == SQRTN else size)) if end > to else 0
        for i in range(to, end):
            batch_weights[i] *= scale
    return end


@inlined
def _pool_max(table, batch_indices, start, stop, pooled, winners, p):
    """pooled[p] = elementwise maximum of the rows, winners[p] = the first member that has it; zeros, -1 if none."""
    for d in range(table.shape[1]):
        pooled[p, d] = 0
        winners[p, d] = -1
    for i in range(start, stop):
        row = batch_indices[i]
        for d in range(table.shape[1]):
            if winners[p, d] < 0 or table[row, d] > pooled[p, d]:
                pooled[p, d] = table[row, d]
                winners[p, d] = i


@inlined
def _loss_gradient(loss, logits, p, y_indices, first, last):
    """Replace logits[p] by the gradient of the loss with respect to it, and return the loss.

    SOFTMAX: cross-entropy of the one class y_indices[first]. SIGMOID: sum over the columns of the binary
    cross-entropies; y_indices[first:last] are the columns whose label is 1.
    """
    n = logits.shape[1]
    value = 0.0
    if loss == SOFTMAX:
        highest = logits[p, 0]
        for k in range(1, n):
            highest = max(highest, logits[p, k])
        total = 0.0
        value = highest - logits[p, y_indices[first]]
        for k in range(n):
            logits[p, k] = np.exp(logits[p, k] - highest)
            total += logits[p, k]
        value += np.log(total)
        for k in range(n):
            logits[p, k] /= total
        logits[p, y_indices[first]] -= 1
        return value
    for i in range(first, last):
        value -= logits[p, y_indices[i]]
    for k in range(n):
        z = logits[p, k]
        small = np.exp(-abs(z))
        value += max(z, 0) + np.log1p(small)
        logits[p, k] = 1 / (1 + small) if z >= 0 else small / (1 + small)
    for i in range(first, last):
        logits[p, y_indices[i]] -= 1
    return value


@inlined
def _update_row(shape, span, tail, solver, rate, alpha, gradient, part, parameters, state, row, norm, tickets):
    """Change one row of ``parameters`` by its gradient g: the one place where solvers differ.

    SGD: row -= rate * g. ADAGRAD (row-wise): state += mean(g ** 2); row -= rate / (sqrt(state) + 1e-10) * g.
    ``alpha`` * row is part of g. A row whose norm then exceeds norm = (max_norm, norm_type) is rescaled to it.
    tickets[STOP] becomes 1 if the row is not finite any more.

    gradient : (n_parts, dim), in: row ``part`` of it. parameters : (n, dim), in-out. state : (n,), in-out.
    """
    dim = parameters.shape[1]
    source, target = _address(gradient, part), _address(parameters, row)
    itemsize = np.uintp(parameters.itemsize)
    step = parameters.dtype.type(-rate)
    decay = parameters.dtype.type(alpha)
    if solver == ADAGRAD:
        squares = 0.0
        for column in range(0, dim, span):
            at = max(0, min(column, dim - span))
            offset = np.uintp(at) * itemsize
            g = load(shape, source + offset, tail)
            if alpha != 0:
                g = add_scaled(g, decay, load(shape, target + offset, tail))
            g = from_column(g, tail, column - at)
            squares += dot(g, g, tail)
        state[row] += squares / dim
        root = np.sqrt(parameters.dtype.type(state[row]))
        step /= root + parameters.dtype.type(_EPSILON)
    for column in range(0, dim, span):
        at = max(0, min(column, dim - span))
        offset = np.uintp(at) * itemsize
        old = load(shape, target + offset, tail)
        g = load(shape, source + offset, tail)
        if alpha != 0:
            g = add_scaled(g, decay, old)
        new = add_scaled(old, step, from_column(g, tail, column - at))
        if not is_finite(new):
            tickets[STOP] = 1
        store(new, target + offset, tail)
    if norm[0] < np.inf:
        length = row_norm(parameters, row, norm[1])
        if length > norm[0]:
            factor = parameters.dtype.type(norm[0] / (length + 1e-7))
            for d in range(dim):
                parameters[row, d] *= factor


@inlined
def _sort(n, n_bits, keys, values, other_keys, other_values, counts):
    """Sort pairs by their keys below 2 ** n_bits, equal keys in their order (least significant digit first).

    keys, values : (>= n,), in-out. other_keys, other_values : scratch. counts : (2048,), scratch.
    Returns the keys and values: the arrays given or the scratch.
    """
    digit_bits = 11 if n > 1024 else 8
    mask = (1 << digit_bits) - 1
    shift = 0
    while shift < n_bits:
        for d in range(mask + 1):
            put(counts, d, 0)
        for i in range(n):
            d = np.intp(item(keys, i) >> shift) & mask
            put(counts, d, item(counts, d) + 1)
        total = 0
        for d in range(mask + 1):
            count = item(counts, d)
            put(counts, d, total)
            total += count
        for i in range(n):
            key = item(keys, i)
            d = np.intp(key >> shift) & mask
            to = np.intp(item(counts, d))
            put(counts, d, to + 1)
            put(other_keys, to, key)
            put(other_values, to, item(values, i))
        keys, other_keys = other_keys, keys
        values, other_values = other_values, values
        shift += digit_bits
    return keys, values


@inlined
def _offset(dim, span, column, itemsize):
    """Bytes from the first column of a row to the tile for ``column``: the last tile ends where the row ends."""
    return np.uintp(max(0, min(column, dim - span)) * itemsize)


@inlined
def _pool(tile, span, tail, table, batch_indices, batch_weights, start, stop, pooled, p):
    """pooled[p] = sum of the weighted rows of the members start <= i < stop."""
    dim = table.shape[1]
    row_bytes = np.uintp(dim * table.itemsize)
    for column in range(0, dim, span):
        offset = _offset(dim, span, column, table.itemsize)
        acc = reduce_bag(
            tile, np.uintp(table.ctypes.data) + offset, row_bytes, np.uintp(0), tail, batch_weights, batch_indices,
            None, start, stop, _AHEAD, 1, 1,
        )  # fmt: skip
        store(acc, _address(pooled, p) + offset, tail)


@inlined
def _logits(tile, span, tail, pooled, p, coef, intercept, logits):
    """logits[p] = coef @ pooled[p] + intercept."""
    dim = coef.shape[1]
    for k in range(len(coef)):
        z = intercept[0, k]
        for column in range(0, dim, span):
            offset = _offset(dim, span, column, coef.itemsize)
            skip = column - max(0, min(column, dim - span))
            h = from_column(load(tile, _address(pooled, p) + offset, tail), tail, skip)
            z += dot(h, load(tile, _address(coef, k) + offset, tail), tail)
        logits[p, k] = z


@inlined
def _weighted_rows(tile, span, tail, rows, weights, p, first, last, by_column, out, to):
    """out[to] = sum of weights[p, k] * rows[k], or if ``by_column`` weights[k, p] * rows[k], over first <= k < last."""
    dim = rows.shape[1]
    for column in range(0, dim, span):
        offset = _offset(dim, span, column, rows.itemsize)
        acc = tile
        for k in range(first, last):
            weight = weights[k, p] if by_column else weights[p, k]
            acc = fold_rows(acc, (_address(rows, k) + offset,), (weight,), tail)
        store(acc, _address(out, to) + offset, tail)


@inlined
def _update_outputs(
    tile, span, tail, solver, rate, alpha, part, n_parts, n_bags, pooled, logits, row_gradient,
    coef, coef_state, intercept, intercept_state, tickets,
):  # fmt: skip
    """Change the rows of coef, and the entries of intercept, that belong to a part."""
    for k in range(part, len(coef), n_parts):
        _weighted_rows(tile, span, tail, pooled, logits, k, 0, n_bags, True, row_gradient, part)
        _update_row(
            tile, span, tail, solver, rate, alpha, row_gradient, part, coef, coef_state, k, (np.inf, 2.0), tickets
        )
        g = 0.0
        for p in range(n_bags):
            g += logits[p, k]
        if solver == ADAGRAD:
            intercept_state[k] += g * g
            g /= np.sqrt(intercept_state[k]) + _EPSILON
        intercept[0, k] -= rate * g
        if not np.isfinite(intercept[0, k]):
            tickets[STOP] = 1


@inlined
def _members_of_part(part, n_parts, n_bags, starts, stops, batch_indices, keys, members):
    """List the rows and positions of the members whose rows belong to a part; return how many they are."""
    n = 0
    for p in range(n_bags):
        for i in range(starts[p], stops[p]):
            row = item(batch_indices, i)
            if n_parts == 1 or row % n_parts == part:
                put(keys, n, row)
                put(members, n, i)
                n += 1
    return n


@inlined
def _max_gradient(row, members, start, stop, batch_indices, batch_bags, winners, gradients, row_gradient, part):
    """row_gradient[part] = sum of the gradients of the bags, in the columns in which the row won."""
    dim = gradients.shape[1]
    for d in range(dim):
        row_gradient[part, d] = 0
    before = -1
    for i in range(start, stop):
        p = batch_bags[members[i]]
        if p != before:  # a bag that names the row twice has one first winner
            for d in range(dim):
                if winners[p, d] >= 0 and batch_indices[winners[p, d]] == row:
                    row_gradient[part, d] += gradients[p, d]
        before = p


@inlined
def _sum_gradient(tile, span, tail, members, start, stop, batch_weights, batch_bags, gradients, row_gradient, part):
    """row_gradient[part] = sum of the weighted gradients of the bags of the members[start:stop] of one row."""
    dim = gradients.shape[1]
    for column in range(0, dim, span):
        offset = _offset(dim, span, column, gradients.itemsize)
        acc = tile
        for i in range(start, stop):
            member = np.intp(item(members, i))
            source = _address(gradients, item(batch_bags, member)) + offset
            acc = fold_rows(acc, (source,), (item(batch_weights, member),), tail)
        store(acc, _address(row_gradient, part) + offset, tail)


@inlined
def _update_table(
    tile, span, tail, mode, solver, rate, alpha, norm, by_freq, keys, members, n, batch_indices, batch_weights,
    batch_bags, winners, gradients, row_gradient, part, table, table_state, tickets,
):  # fmt: skip
    """Change each row that the sorted members name, once."""
    start = stop = 0
    while start < n:
        row = np.intp(item(keys, start))
        while stop < n and item(keys, stop) == row:
            stop += 1
        if stop + _ROWS_AHEAD < n:
            soon = np.intp(item(keys, stop + _ROWS_AHEAD))
            prefetch(tile, _address(table, soon), tail, 1, 1)
            prefetch_item(table_state, soon)
        if mode == MAX:
            _max_gradient(row, members, start, stop, batch_indices, batch_bags, winners, gradients, row_gradient, part)
        else:
            _sum_gradient(
                tile, span, tail, members, start, stop, batch_weights, batch_bags, gradients, row_gradient, part
            )
        if by_freq:
            for d in range(table.shape[1]):
                row_gradient[part, d] /= stop - start
        _update_row(tile, span, tail, solver, rate, alpha, row_gradient, part, table, table_state, row, norm, tickets)
        start = stop


@cache
def train_kernel(lanes, vectors, copies):
    """Make the training kernel for tiles of ``vectors`` vectors of ``lanes`` scalars, in ``copies`` copies."""
    span = lanes * vectors

    @kernel
    def train(
        mode, loss, solver, batch_size, rates, alpha, norm, by_freq, freeze,
        table, table_state, coef, coef_state, intercept, intercept_state,
        weights, indices, indptr, padding_idx, order, order_indptr, y_indices, y_indptr, sample_weight,
        starts, stops, batch_indices, batch_weights, batch_bags, pooled, winners, logits, gradients, losses,
        keys, members, counts, row_gradient,
        first_batch, tickets, batch_losses,
    ):  # fmt: skip
        """Train on some mini-batches of the bags order[0], order[1], ...

        mode, loss, solver : codes. batch_size : bags. rates : (rate of step 0, what each step takes off it).
        alpha : L2 penalty, of the rows that a step changes. norm : (max_norm, norm_type), (inf, 2) for none.
        by_freq : divide a table row's gradient by its members in the mini-batch. freeze : leave the table alone.
        table (n_rows, dim), coef (n_outputs, dim), intercept (1, n_outputs) : in-out, of one dtype.
        *_state : (n_rows,), (n_outputs,), (n_outputs,) float64, in-out: the solver's.
        weights, indices, indptr, padding_idx : the bags, as in ``cpu.pool``. sample_weight : (n_bags,), in.
        order : (n,) int64, in: the bags of the epoch; order_indptr : (n + 1,) int64, in: sums of their lengths.
        y_indices, y_indptr : in: of each bag the outputs whose label is 1, as in CSR.
        from starts to row_gradient : scratch; the first dimension of keys ... row_gradient is n_parts.
        first_batch : the number of the first mini-batch. batch_losses : (n_batches,), out: mean loss per bag.
        tickets : (3,) int64, in-out. tickets[STOP] becomes 1, and training ends, if a loss or a changed row is not
            finite.
        """
        zero = table.dtype.type(0)
        tail = min(span, table.shape[1]) - lanes
        tile, wide = full(zero, 0, lanes, vectors, 1), full(zero, 0, lanes, vectors, copies)
        n_parts = len(keys)
        n_bits = 0
        while len(table) - 1 >> n_bits:
            n_bits += 1
        n_tickets = 2 * n_parts * len(batch_losses)
        ticket = fetch_add(tickets, NEXT, 1)
        while ticket < n_tickets:
            phase, part = ticket // n_parts, ticket % n_parts
            batch = first_batch + phase // 2
            _wait(tickets, phase * n_parts)
            if tickets[STOP]:
                break
            first = batch * batch_size
            n_bags = min(batch_size, len(order) - first)
            if phase % 2 == 0:
                begin, end = part * n_bags // n_parts, (part + 1) * n_bags // n_parts
                for p in range(begin, end):
                    bag = order[first + p]
                    starts[p] = order_indptr[first + p] - order_indptr[first]
                    stops[p] = _collect(
                        mode, weights, indices, indptr[bag], indptr[bag + 1], padding_idx, starts[p],
                        p, batch_indices, batch_weights, batch_bags,
                    )  # fmt: skip
                for p in range(begin, end):
                    bag = order[first + p]
                    if mode == MAX:
                        _pool_max(table, batch_indices, starts[p], stops[p], pooled, winners, p)
                    else:
                        _pool(wide, span, tail, table, batch_indices, batch_weights, starts[p], stops[p], pooled, p)
                    _logits(tile, span, tail, pooled, p, coef, intercept, logits)
                    scale = zero + sample_weight[bag] / n_bags
                    value = _loss_gradient(loss, logits, p, y_indices, y_indptr[bag], y_indptr[bag + 1])
                    losses[p] = value * scale
                    for k in range(len(coef)):
                        logits[p, k] *= scale
                    if not freeze:
                        _weighted_rows(tile, span, tail, coef, logits, p, 0, len(coef), False, gradients, p)
            else:
                rate = rates[0] - rates[1] * batch
                if part == 0:
                    total = 0.0
                    for p in range(n_bags):
                        total += losses[p]
                    batch_losses[phase // 2] = total
                    if not np.isfinite(total):
                        tickets[STOP] = 1
                _update_outputs(
                    tile, span, tail, solver, rate, alpha, part, n_parts, n_bags, pooled, logits, row_gradient,
                    coef, coef_state, intercept, intercept_state, tickets,
                )  # fmt: skip
                if not freeze:
                    own_keys, own_members = keys[part, 0], members[part, 0]
                    n = _members_of_part(part, n_parts, n_bags, starts, stops, batch_indices, own_keys, own_members)
                    own_keys, own_members = _sort(
                        n, n_bits, own_keys, own_members, keys[part, 1], members[part, 1], counts[part]
                    )
                    _update_table(
                        tile, span, tail, mode, solver, rate, alpha, norm, by_freq, own_keys, own_members, n,
                        batch_indices, batch_weights, batch_bags, winners, gradients, row_gradient, part,
                        table, table_state, tickets,
                    )  # fmt: skip
            fetch_add(tickets, DONE, 1)
            ticket = fetch_add(tickets, NEXT, 1)

    return train
