"""Training on the CPU: mini-batches of bags, from the forward pass to the updated rows, in compiled code.

A mini-batch has two phases of ``n_parts`` parts each. FORWARD: each part takes some of the bags, copies their members
together, lists them by the part that owns their row, pools them and leaves the gradient of the loss with respect to
logits and pooled features. UPDATE: each part changes the rows of the table and of ``coef`` that it owns. So every row
has one writer, which goes through the members in the order of the bags, and the result does not depend on who runs
which part.

Where a step is linear in the gradient, plain SGD, a row takes the gradient of each of its members as it comes. Other
steps need the whole gradient of a row: its members are brought together by sorting, and the row changes once.

Parts are handed out by tickets: ticket t is part t % n_parts of phase t // n_parts; it begins when all tickets of
earlier phases are done. A thread may join or leave at any time; one thread alone can do everything.
"""

from functools import cache

import numpy as np

from skbag._cpu.jit import inlined, kernel
from skbag._cpu.pooling import MAX, MEAN, SQRTN, reduce_bag, row_norm
from skbag._cpu.tile import (
    add_scaled,
    add_window,
    dot,
    fetch_add,
    fold_rows,
    from_column,
    full,
    is_finite,
    item,
    item_bytes,
    load,
    load_acquire,
    prefetch,
    prefetch_item,
    put,
    store,
    window,
    window_memory,
    yield_thread,
)

SOFTMAX, SIGMOID = range(2)
SGD, ADAGRAD = range(2)
NEXT, DONE, STOP = range(3)
_EPSILON = 1e-10  # torch.optim.Adagrad's
_SPINS = 2000
_ROWS_AHEAD = 16  # members whose rows are prefetched in the update
_MEMBERS_BETWEEN_LOOKS = 1024  # at whether training was stopped
_ROWS_TOGETHER = 4  # as a power of two: neighbours, which may share a cache line, have one owner


@inlined
def _address(array, row):
    """Where row ``row`` of a C-contiguous 2-D array begins."""
    return np.uintp(array.ctypes.data) + np.uintp(row) * (np.uintp(array.shape[1]) * item_bytes(array))


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
    """pooled[p] = elementwise maximum of the rows, winners[p] = the first member that has it; zeros, -1 if none.

    NaN is larger than any number, as for torch.
    """
    for d in range(table.shape[1]):
        pooled[p, d] = 0
        winners[p, d] = -1
    for i in range(start, stop):
        row = batch_indices[i]
        for d in range(table.shape[1]):
            value, largest = table[row, d], pooled[p, d]
            if winners[p, d] < 0 or value > largest or (np.isnan(value) and not np.isnan(largest)):
                pooled[p, d] = value
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
def _penalty(solver, rate, alpha):
    """Return the alpha of a step; for SGD at most 1 / rate: the penalty makes a row max(0, 1 - rate * alpha) * row."""
    return min(alpha, 1 / rate) if solver == SGD else alpha


@inlined
def _update_rows(
    shape, tiling, solver, rate, alpha, norm, rows, n_rows, row_gradients, steps, parameters, state, tickets
):  # fmt: skip
    """Change some rows of ``parameters`` by their gradients g: the one place where solvers differ.

    SGD: row -= rate * g. ADAGRAD (row-wise): state += mean(g ** 2); row -= rate / (sqrt(state) + 1e-10) * g.
    ``alpha`` * row, see `_penalty`, is part of g. A row whose norm then exceeds norm = (max_norm, norm_type) is
    rescaled to it. tickets[STOP] becomes 1 if a row, or its state, is not finite any more.

    rows : (>= n_rows,) int64, in: which ones, each once. row_gradients : (>= n_rows, dim), in. steps : (>= n_rows,)
    float64, scratch. parameters : (n, dim), in-out. state : (n,) float64, in-out.
    """
    dim = parameters.shape[1]
    itemsize = parameters.itemsize
    decay = parameters.dtype.type(alpha)
    # One loop after the other: so the long chain from a gradient to its step is under way for many rows at once.
    for r in range(n_rows):
        squares = 0.0
        if solver == ADAGRAD:
            source, target = _address(row_gradients, r), _address(parameters, rows[r])
            for column in range(0, tiling[2], tiling[0]):
                offset = _offset(tiling, dim, column, itemsize)
                skip = _skip(tiling, dim, column)
                g = load(shape, source + offset, tiling[1])
                if alpha != 0:
                    g = add_scaled(g, decay, load(shape, target + offset, tiling[1]))
                if column > 0:
                    g = from_column(g, tiling[1], skip)
                squares += dot(g, g, tiling[1])
        steps[r] = squares / dim
    for r in range(n_rows):
        if solver == ADAGRAD:
            total = state[rows[r]] + steps[r]
            state[rows[r]] = total
            if not total < np.inf:  # the row would never change again
                tickets[STOP] = 1
            steps[r] = -rate / (np.sqrt(total) + _EPSILON)
        else:
            steps[r] = -rate
    for r in range(n_rows):
        source, target = _address(row_gradients, r), _address(parameters, rows[r])
        step = parameters.dtype.type(steps[r])
        for column in range(0, tiling[2], tiling[0]):
            offset = _offset(tiling, dim, column, itemsize)
            old = load(shape, target + offset, tiling[1])
            g = load(shape, source + offset, tiling[1])
            if alpha != 0:
                g = add_scaled(g, decay, old)
            if column > 0:
                g = from_column(g, tiling[1], _skip(tiling, dim, column))
            new = add_scaled(old, step, g)
            if not is_finite(new):
                tickets[STOP] = 1
            store(new, target + offset, tiling[1])
        if norm[0] < np.inf:
            length = row_norm(parameters, rows[r], norm[1])
            if length > norm[0]:
                factor = parameters.dtype.type(norm[0] / (length + 1e-7))
                for d in range(dim):
                    parameters[rows[r], d] *= factor


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
        for i in range(n):
            pair = item(pairs, i)
            d = pair >> place & mask
            to = np.intp(item(these, d))
            put(these, d, to + 1)
            put(spare, to, pair)
            d = pair >> place + digit_bits & mask
            put(others, d, item(others, d) + 1)
        pairs, spare = spare, pairs
        these, others = others, these


@inlined
def _skip(tiling, dim, column):
    """How many columns the tile for ``column`` shares with the one before."""
    return column - max(0, min(column, dim - tiling[0]))


@inlined
def _offset(tiling, dim, column, itemsize):
    """Bytes from the first column of a row to the tile for ``column``: the last tile ends where the row ends."""
    return np.uintp((column - _skip(tiling, dim, column)) * itemsize)


@inlined
def _pool(tile, tiling, prefetching, table, batch_indices, batch_weights, start, stop, pooled, p):
    """pooled[p] = sum of the weighted rows of the members start <= i < stop."""
    dim = table.shape[1]
    row_bytes = np.uintp(dim) * item_bytes(table)
    for column in range(0, tiling[2], tiling[0]):
        offset = _offset(tiling, dim, column, table.itemsize)
        acc, _ = reduce_bag(
            tile, np.uintp(table.ctypes.data) + offset, np.uintp(len(table)), row_bytes, np.uintp(0), tiling[1],
            batch_weights, batch_indices, None, start, stop, prefetching[0], prefetching[1], prefetching[2],
        )  # fmt: skip
        store(acc, _address(pooled, p) + offset, tiling[1])


@inlined
def _logits(tile, tiling, pooled, p, coef, intercept, logits):
    """logits[p] = coef @ pooled[p] + intercept."""
    dim = coef.shape[1]
    for k in range(len(coef)):
        z = intercept[0, k]
        for column in range(0, tiling[2], tiling[0]):
            offset = _offset(tiling, dim, column, coef.itemsize)
            skip = _skip(tiling, dim, column)
            h = from_column(load(tile, _address(pooled, p) + offset, tiling[1]), tiling[1], skip)
            z += dot(h, load(tile, _address(coef, k) + offset, tiling[1]), tiling[1])
        logits[p, k] = z


@inlined
def _weighted_rows(tile, tiling, rows, weights, p, n, by_column, out, to):
    """out[to] = sum of weights[p, k] * rows[k], or if ``by_column`` weights[k, p] * rows[k], over k < n."""
    dim = rows.shape[1]
    memory, most = window_memory(tile), window(tile)
    for column in range(0, tiling[2], tiling[0]):
        offset = _offset(tiling, dim, column, rows.itemsize)
        acc = tile
        for first in range(0, n, most):
            acc = tile
            for k in range(first, min(n, first + most)):
                weight = weights[k, p] if by_column else weights[p, k]
                acc = fold_rows(acc, (_address(rows, k) + offset,), (weight,), tiling[1])
            if n > most:
                acc = add_window(acc, memory, first == 0)
        store(acc, _address(out, to) + offset, tiling[1])


@inlined
def _update_outputs(
    tile, tiling, solver, rate, alpha, part, n_parts, n_bags, pooled, logits, rows, row_gradients, steps,
    coef, coef_state, intercept, intercept_state, tickets,
):  # fmt: skip
    """Change the rows of coef, and the entries of intercept, that belong to a part."""
    for first in range(part, len(coef), n_parts * len(rows)):
        n_rows = 0
        for k in range(first, min(len(coef), first + n_parts * len(rows)), n_parts):
            if load_acquire(tickets, STOP):
                break
            _weighted_rows(tile, tiling, pooled, logits, k, n_bags, True, row_gradients, n_rows)
            rows[n_rows] = k
            n_rows += 1
            g = 0.0
            for p in range(n_bags):
                g += logits[p, k]
            if solver == ADAGRAD:
                intercept_state[k] += g * g
                g /= np.sqrt(intercept_state[k]) + _EPSILON
            intercept[0, k] -= rate * g
            if not (np.isfinite(intercept[0, k]) and np.isfinite(intercept_state[k])):
                tickets[STOP] = 1
        _update_rows(
            tile, tiling, solver, rate, alpha, (np.inf, 2.0), rows, n_rows, row_gradients, steps,
            coef, coef_state, tickets,
        )  # fmt: skip


@inlined
def _assign(n_parts, start, stop, batch_indices, first, owned, n_owned):
    """List the members start <= i < stop with the owners of their rows: owned[owner, first + n_owned[owner]] = i."""
    if n_parts == 1:
        n = n_owned[0]
        for i in range(start, stop):
            put(owned[0], first + n, i)
            n += 1
        n_owned[0] = n
    else:
        for i in range(start, stop):
            mixed = (np.uint64(item(batch_indices, i)) >> np.uint64(_ROWS_TOGETHER)) * np.uint64(0x9E3779B1)
            owner = np.intp((mixed & np.uint64(0xFFFFFFFF)) * np.uint64(n_parts) >> np.uint64(32))
            put(owned[owner], first + n_owned[owner], i)
            n_owned[owner] += 1


@inlined
def _sorted_pairs(n_parts, firsts, n_owned, part, owned, batch_indices, n_bits, member_bits, pairs, counts):
    """Sort the integers row << member_bits | member of the members whose rows belong to a part.

    pairs : (2, >= number of them) int64, out. counts : (2, 2048), scratch.
    Returns how many they are, and in which row of ``pairs``.
    """
    n = 0
    for p in range(n_parts):
        n += n_owned[p, part]
    n_digits = -(-n_bits // (11 if n > 1024 else 8))
    digit_bits = -(-n_bits // max(1, n_digits))
    mask = (1 << digit_bits) - 1
    for d in range(mask + 1):
        put(counts[0], d, 0)
    n = 0
    for p in range(n_parts):
        for j in range(firsts[p], firsts[p] + n_owned[p, part]):
            i = np.intp(item(owned, j))
            row = np.intp(item(batch_indices, i))
            put(pairs[0], n, row << member_bits | i)
            put(counts[0], row & mask, item(counts[0], row & mask) + 1)
            n += 1
    _sort(n, member_bits, member_bits + n_bits, max(1, digit_bits), pairs[0], pairs[1], counts)
    return n, n_digits & 1


@inlined
def _add_gradients(
    tile, tiling, whole, step, n_parts, firsts, n_owned, part, owned, batch_indices, batch_weights, batch_bags,
    gradients, table, tickets,
):  # fmt: skip
    """table[row] += step * weight * gradients[bag] for each member whose row belongs to a part."""
    dim = table.shape[1]
    for p in range(n_parts):
        first = firsts[p]
        last = first + n_owned[p, part] - 1
        for j in range(first, last + 1):
            if j % _MEMBERS_BETWEEN_LOOKS == 0 and load_acquire(tickets, STOP):
                break
            soon = np.intp(item(owned, min(j + _ROWS_AHEAD, last)))
            prefetch(tile, _address(table, item(batch_indices, soon)), tiling[1], 1, whole)
            i = np.intp(item(owned, j))
            source, target = _address(gradients, item(batch_bags, i)), _address(table, item(batch_indices, i))
            factor = step * item(batch_weights, i)
            for column in range(0, tiling[2], tiling[0]):
                offset = _offset(tiling, dim, column, table.itemsize)
                g = load(tile, source + offset, tiling[1])
                if column > 0:
                    g = from_column(g, tiling[1], _skip(tiling, dim, column))
                new = add_scaled(load(tile, target + offset, tiling[1]), factor, g)
                if not is_finite(new):
                    tickets[STOP] = 1
                store(new, target + offset, tiling[1])


@inlined
def _max_gradient(row, pairs, mask, start, stop, batch_indices, batch_bags, winners, gradients, row_gradients, to):
    """row_gradients[to] = sum of the gradients of the bags, in the columns in which the row won."""
    dim = gradients.shape[1]
    for d in range(dim):
        row_gradients[to, d] = 0
    before = -1
    for j in range(start, stop):
        p = batch_bags[pairs[j] & mask]
        if p != before:  # a bag that names the row twice has one first winner
            for d in range(dim):
                if winners[p, d] >= 0 and batch_indices[winners[p, d]] == row:
                    row_gradients[to, d] += gradients[p, d]
        before = p


@inlined
def _sum_gradient(
    tile, tiling, pairs, mask, start, stop, batch_weights, batch_bags, gradients, row_gradients, to
):  # fmt: skip
    """row_gradients[to] = sum of the weighted gradients of the bags of the members of one row."""
    dim = gradients.shape[1]
    memory, most = window_memory(tile), window(tile)
    for column in range(0, tiling[2], tiling[0]):
        offset = _offset(tiling, dim, column, gradients.itemsize)
        acc = tile
        for first in range(start, stop, most):
            acc = tile
            for j in range(first, min(stop, first + most)):
                i = item(pairs, j) & mask
                acc = fold_rows(
                    acc, (_address(gradients, item(batch_bags, i)) + offset,), (item(batch_weights, i),), tiling[1]
                )
            if stop - start > most:
                acc = add_window(acc, memory, first == start)
        store(acc, _address(row_gradients, to) + offset, tiling[1])


@inlined
def _update_table(
    tile, tiling, whole, mode, solver, rate, alpha, norm, by_freq, pairs, n, member_bits, batch_indices,
    batch_weights, batch_bags, winners, gradients, rows, row_gradients, steps, table, table_state, tickets,
):  # fmt: skip
    """Change each row that the sorted pairs name, once."""
    mask = (1 << member_bits) - 1
    start = stop = 0
    while start < n and not load_acquire(tickets, STOP):
        n_rows = 0
        while start < n and n_rows < len(rows):
            row = item(pairs, start) >> member_bits
            while stop < n and item(pairs, stop) >> member_bits == row:
                stop += 1
            soon = item(pairs, min(stop + _ROWS_AHEAD, n - 1)) >> member_bits
            prefetch(tile, _address(table, soon), tiling[1], 1, whole)
            prefetch_item(table_state, soon)
            if mode == MAX:
                _max_gradient(
                    row, pairs, mask, start, stop, batch_indices, batch_bags, winners, gradients, row_gradients, n_rows
                )
            else:
                _sum_gradient(
                    tile, tiling, pairs, mask, start, stop, batch_weights, batch_bags, gradients, row_gradients,
                    n_rows,
                )  # fmt: skip
            if by_freq:
                for d in range(table.shape[1]):
                    row_gradients[n_rows, d] /= stop - start
            rows[n_rows] = row
            n_rows += 1
            start = stop
        _update_rows(
            tile, tiling, solver, rate, alpha, norm, rows, n_rows, row_gradients, steps, table, table_state, tickets
        )  # fmt: skip


@cache
def train_kernel(lanes, vectors, copies, ahead, every, single, whole):
    """Make the training kernel for tiles of ``vectors`` vectors of ``lanes`` scalars; see ``cpu.pool_kernel``."""
    span = lanes * vectors

    @kernel
    def train(
        mode, loss, solver, batch_size, rates, alpha, norm, by_freq, freeze,
        table, table_state, coef, coef_state, intercept, intercept_state,
        weights, indices, indptr, padding_idx, order, order_indptr, y_indices, y_indptr, sample_weight,
        starts, stops, batch_indices, batch_weights, batch_bags, pooled, winners, logits, gradients, losses,
        firsts, n_owned, owned, pairs, counts, rows, row_gradients, steps,
        tickets, batch_losses,
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
        from starts to steps : scratch; the first dimension of firsts ... steps is n_parts.
        batch_losses : (n_batches,), out: mean loss per bag.
        tickets : (3,) int64, in-out. tickets[STOP] becomes 1, and training ends, if a loss, a changed row or its state
            is not finite; another thread may also set it, and the model is then between two moments.
        """
        zero = table.dtype.type(0)
        tail = span - lanes if whole else min(span, table.shape[1]) - lanes
        tiling = span, tail, 1 if single else table.shape[1]
        tile, wide = full(zero, 0, lanes, vectors, 1), full(zero, 0, lanes, vectors, copies)
        n_parts = len(firsts)
        linear = solver == SGD and alpha == 0 and norm[0] == np.inf and not by_freq and mode != MAX
        n_bits = 0
        while len(table) - 1 >> n_bits:
            n_bits += 1
        member_bits = 0
        while len(batch_indices) >> member_bits:
            member_bits += 1
        n_tickets = 2 * n_parts * len(batch_losses)
        ticket = fetch_add(tickets, NEXT, 1)
        while ticket < n_tickets:
            phase, part = ticket // n_parts, ticket % n_parts
            batch = phase // 2
            _wait(tickets, phase * n_parts)
            if tickets[STOP]:
                break
            first = batch * batch_size
            n_bags = min(batch_size, len(order) - first)
            if phase % 2 == 0:
                begin, end = part * n_bags // n_parts, (part + 1) * n_bags // n_parts
                firsts[part] = order_indptr[first + begin] - order_indptr[first]
                n_owned[part, :] = 0
                for p in range(begin, end):
                    bag = order[first + p]
                    starts[p] = order_indptr[first + p] - order_indptr[first]
                    stops[p] = _collect(
                        mode, weights, indices, indptr[bag], indptr[bag + 1], padding_idx, starts[p],
                        p, batch_indices, batch_weights, batch_bags,
                    )  # fmt: skip
                    if not freeze:
                        _assign(n_parts, starts[p], stops[p], batch_indices, firsts[part], owned, n_owned[part])
                for p in range(begin, end):
                    if load_acquire(tickets, STOP):
                        break
                    bag = order[first + p]
                    if mode == MAX:
                        _pool_max(table, batch_indices, starts[p], stops[p], pooled, winners, p)
                    else:
                        _pool(
                            wide,
                            tiling,
                            (ahead, every, whole),
                            table,
                            batch_indices,
                            batch_weights,
                            starts[p],
                            stops[p],
                            pooled,
                            p,
                        )
                    _logits(tile, tiling, pooled, p, coef, intercept, logits)
                    scale = zero + sample_weight[bag] / n_bags
                    value = _loss_gradient(loss, logits, p, y_indices, y_indptr[bag], y_indptr[bag + 1])
                    losses[p] = value * scale
                    for k in range(len(coef)):
                        logits[p, k] *= scale
                    if not freeze:
                        _weighted_rows(tile, tiling, coef, logits, p, len(coef), False, gradients, p)
            else:
                rate = rates[0] - rates[1] * batch
                penalty = _penalty(solver, rate, alpha)
                if part == 0:
                    total = 0.0
                    for p in range(n_bags):
                        total += losses[p]
                    batch_losses[batch] = total
                    if not np.isfinite(total):
                        tickets[STOP] = 1
                _update_outputs(
                    tile, tiling, solver, rate, penalty, part, n_parts, n_bags, pooled, logits,
                    rows[part], row_gradients[part], steps[part], coef, coef_state, intercept, intercept_state, tickets,
                )  # fmt: skip
                if linear and not freeze:
                    _add_gradients(
                        tile, tiling, whole, table.dtype.type(-rate), n_parts, firsts, n_owned, part, owned[part],
                        batch_indices, batch_weights, batch_bags, gradients, table, tickets,
                    )  # fmt: skip
                elif not freeze:
                    n, where = _sorted_pairs(
                        n_parts, firsts, n_owned, part, owned[part], batch_indices, n_bits, member_bits, pairs[part],
                        counts[part],
                    )  # fmt: skip
                    _update_table(
                        tile, tiling, whole, mode, solver, rate, penalty, norm, by_freq, pairs[part, where], n,
                        member_bits, batch_indices, batch_weights, batch_bags, winners, gradients,
                        rows[part], row_gradients[part], steps[part], table, table_state, tickets,
                    )  # fmt: skip
            fetch_add(tickets, DONE, 1)
            ticket = fetch_add(tickets, NEXT, 1)

    return train
