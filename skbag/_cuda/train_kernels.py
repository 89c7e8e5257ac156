"""Training on a GPU: a mini-batch from its bags to the updated rows, in a fixed sequence of kernels.

Members of a mini-batch are copied together in the order of its bags (`expand_kernel`) and sorted by row: a stable
radix sort, digit by digit, with the number of the member as the value. Each run of equal rows is a segment, and one
group of threads owns it: it sums the gradients of its bags in the order of the bags and changes the row once. No
floating-point number is ever added by two threads at once, so that two runs give the same bytes.

A sort or a search for runs works in tiles of ``threads * items`` neighbours: count in every tile, `scan_kernel` over
the counts, then write every tile to its place.
"""

import math
from functools import cache

import numpy as np
from numba import cuda

from skbag._cuda.jit import device, kernel
from skbag._cuda.pooling import FILTER, UNIT, find, group_total, norm_of, power, reduce_segment
from skbag._cuda.tile import add_scaled, divided, filled, full, gather, is_finite, item, scatter, squares

SOFTMAX, SIGMOID = range(2)
SGD, ADAGRAD = range(2)
_EPSILON = 1e-10  # torch.optim.Adagrad's


@cache
def expand_kernel(weighting, threads):
    """Make the kernel that copies the members of a mini-batch together, one thread per member."""

    @kernel
    def expand(
        order, batch_indptr, n_bags, n_members, indices, weights, indptr, padding, nobody,
        batch_rows, batch_weights, batch_bags,
    ):  # fmt: skip
        """Write row, weight and bag of every member; the row ``nobody`` for one that padding or a weight of 0 drops.

        order : (>= n_bags,) int64, in: the bags. batch_indptr : (> n_bags,) int64, in: sums of their lengths.
        indices, weights, indptr : all bags, in, checked. batch_rows, batch_weights, batch_bags : (>= n_members,), out;
            bags int32.
        """
        i = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        if i < n_members:
            position = i + item(batch_indptr, 0)
            bag = find(batch_indptr, n_bags, position)
            source = np.int64(item(indptr, item(order, bag))) + position - item(batch_indptr, bag)
            row = item(indices, source)
            weight = weights.dtype.type(1)
            if weighting != UNIT:
                weight = item(weights, source)
            batch_rows[i] = nobody if row == padding or weight == 0 else row
            batch_weights[i] = weights.dtype.type(1) if weighting == FILTER else weight
            batch_bags[i] = bag

    return expand


@device
def add_up(sums, thread, threads):
    """Replace sums (threads,) in shared memory by the sums up to each thread; every thread of the block calls it."""
    cuda.syncthreads()
    distance = 1
    while distance < threads:
        other = sums[thread - distance] if thread >= distance else 0
        cuda.syncthreads()
        sums[thread] += other
        cuda.syncthreads()
        distance *= 2


@cache
def scan_kernel(threads):
    """Make the kernel of prefix sums; it runs in one block."""

    @kernel
    def scan(values, n):
        """values[i] = sum of values[:i], for i <= n. values : (> n,) int32, in-out."""
        sums = cuda.shared.array(threads, np.int32)
        thread = cuda.threadIdx.x
        each = (n + threads - 1) // threads
        begin, end = min(n, thread * each), min(n, (thread + 1) * each)
        total = np.int32(0)
        for i in range(begin, end):
            total += values[i]
        sums[thread] = total
        add_up(sums, thread, threads)
        before = sums[thread] - total
        for i in range(begin, end):
            value = values[i]
            values[i] = before
            before += value
        if thread == threads - 1:
            values[n] = sums[thread]

    return scan


@cache
def count_digits_kernel(threads, items, bits):
    """Make the kernel that counts the digits of ``bits`` bits in every tile, one block per tile."""
    n_digits = 1 << bits

    @kernel
    def count_digits(keys, n, shift, n_tiles, counts):
        """counts[digit * n_tiles + tile] = how many keys of the tile have the digit at ``shift``.

        keys : (>= n,), in, not negative. counts : (> n_digits * n_tiles,) int32, out.
        """
        of_digit = cuda.shared.array(n_digits, np.int32)
        thread, tile = cuda.threadIdx.x, cuda.blockIdx.x
        for digit in range(thread, n_digits, threads):
            of_digit[digit] = 0
        cuda.syncthreads()
        for k in range(items):
            i = np.int64(tile) * (threads * items) + k * threads + thread
            if i < n:
                cuda.atomic.add(of_digit, (item(keys, i) >> shift) & (n_digits - 1), 1)
        cuda.syncthreads()
        for digit in range(thread, n_digits, threads):
            counts[digit * n_tiles + tile] = of_digit[digit]

    return count_digits


@cache
def scatter_digits_kernel(first, wide, threads, items, bits):
    """Make the kernel of one pass of the radix sort, one block per tile.

    ``first`` : values are not read; they are 0, 1, 2, ... ``wide`` : keys are int64, not int32.
    """
    n_digits, tile_size = 1 << bits, threads * items
    n_ranks = (n_digits + 2) * threads
    key_type = np.int64 if wide else np.int32

    @kernel
    def scatter_digits(keys, values, n, shift, n_tiles, counts, out_keys, out_values):
        """Put keys and values in the order of one digit of the keys; equal digits keep their order.

        keys : (>= n,), in. values : (>= n,) int32, in. counts : in, of `count_digits`, after `scan`.
        out_keys, out_values : (>= n,), out.
        """
        tile_keys = cuda.shared.array(tile_size, key_type)
        tile_order = cuda.shared.array(tile_size, np.uint16)
        ranks = cuda.shared.array(n_ranks, np.uint16)
        starts = cuda.shared.array(n_digits, np.int32)
        sums = cuda.shared.array(threads, np.int32)
        thread, tile = cuda.threadIdx.x, cuda.blockIdx.x
        begin = np.int64(tile) * tile_size
        size = min(tile_size, n - begin)
        for i in range(thread, size, threads):
            tile_keys[i] = item(keys, begin + i)
        for digit in range(n_digits):
            ranks[rank_of(digit * threads + thread, n_digits)] = 0
        cuda.syncthreads()
        for i in range(thread * items, min(size, (thread + 1) * items)):
            digit = (tile_keys[i] >> shift) & (n_digits - 1)
            ranks[rank_of(digit * threads + thread, n_digits)] += 1
        cuda.syncthreads()
        total = np.int32(0)  # of the counters thread * n_digits and on: those of all threads for a digit are neighbours
        for k in range(n_digits):
            total += ranks[rank_of(thread * n_digits + k, n_digits)]
        sums[thread] = total
        add_up(sums, thread, threads)
        before = sums[thread] - total
        for k in range(n_digits):
            at = rank_of(thread * n_digits + k, n_digits)
            count = ranks[at]
            ranks[at] = before
            before += count
        cuda.syncthreads()
        for digit in range(thread, n_digits, threads):
            starts[digit] = ranks[rank_of(digit * threads, n_digits)]
        cuda.syncthreads()
        for i in range(thread * items, min(size, (thread + 1) * items)):
            at = rank_of(((tile_keys[i] >> shift) & (n_digits - 1)) * threads + thread, n_digits)
            tile_order[ranks[at]] = i
            ranks[at] += 1
        cuda.syncthreads()
        for i in range(thread, size, threads):
            local = np.int64(tile_order[i])
            key = tile_keys[local]
            digit = (key >> shift) & (n_digits - 1)
            to = counts[digit * n_tiles + tile] + i - starts[digit]
            out_keys[to] = key
            out_values[to] = begin + local if first else item(values, begin + local)

    return scatter_digits


@device
def rank_of(counter, n_digits):
    """Where a counter lies: n_digits neighbours of 16 bits and a gap of 2, so that threads use different banks."""
    return counter + counter // n_digits * 2


@device
def is_head(keys, i):
    """Whether a run of equal keys begins at i."""
    return i == 0 or item(keys, i) != item(keys, i - 1)


@cache
def count_heads_kernel(threads, items):
    """Make the kernel that counts the runs of equal keys which begin in every tile, one block per tile."""

    @kernel
    def count_heads(keys, n, counts):
        """counts[tile] = how many runs begin in the tile. keys : (>= n,), in. counts : (> n_tiles,) int32, out."""
        count = cuda.shared.array(1, np.int32)
        thread = cuda.threadIdx.x
        if thread == 0:
            count[0] = 0
        cuda.syncthreads()
        for k in range(items):
            i = np.int64(cuda.blockIdx.x) * (threads * items) + k * threads + thread
            if i < n and is_head(keys, i):
                cuda.atomic.add(count, 0, 1)
        cuda.syncthreads()
        if thread == 0:
            counts[cuda.blockIdx.x] = count[0]

    return count_heads


@cache
def write_heads_kernel(threads, items):
    """Make the kernel that lists the runs of equal keys, one block per tile."""

    @kernel
    def write_heads(keys, n, nobody, n_tiles, counts, starts, rows, n_segments):
        """starts[s], rows[s] = where run s begins and its key; n_segments[0] = how many runs, without ``nobody``'s.

        keys : (>= n,), in, sorted. counts : in, of `count_heads`, after `scan`. starts : (> n,) int32, out, with n
        after the last run. rows : (>= n,), out. n_segments : (1,) int64, out.
        """
        sums = cuda.shared.array(threads, np.int32)
        thread = cuda.threadIdx.x
        begin = (np.int64(cuda.blockIdx.x) * threads + thread) * items
        end = min(np.int64(n), begin + items)
        total = np.int32(0)
        for i in range(begin, end):
            total += 1 if is_head(keys, i) else 0
        sums[thread] = total
        add_up(sums, thread, threads)
        to = counts[cuda.blockIdx.x] + sums[thread] - total
        for i in range(begin, end):
            if is_head(keys, i):
                starts[to] = i
                rows[to] = item(keys, i)
                to += 1
        if cuda.blockIdx.x == 0 and thread == 0:
            starts[counts[n_tiles]] = n
            n_segments[0] = counts[n_tiles] - (1 if item(keys, n - 1) == nobody else 0)

    return write_heads


@cache
def arrange_kernel(threads):
    """Make the kernel that brings bags and weights of the members into the order of their rows."""

    @kernel
    def arrange(members, n, batch_bags, batch_weights, bags, weights):
        """bags[i], weights[i] = those of member members[i]. All (>= n,); bags int32, out; weights, out; the rest in."""
        i = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        if i < n:
            member = item(members, i)
            bags[i] = item(batch_bags, member)
            weights[i] = item(batch_weights, member)

    return arrange


@cache
def logits_kernel(threads):
    """Make the kernel of the linear layer, one thread per logit."""

    @kernel
    def logits(pooled, coef, intercept, n_bags, out):
        """out[k * n_bags + p] = coef[k] @ pooled[p] + intercept[k].

        pooled : (>= n_bags, dim), coef : (n_outputs, dim), intercept : (n_outputs,), in. out : (n_outputs * n_bags,).
        """
        i = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        if i < n_bags * len(intercept):
            k, p = i // n_bags, i % n_bags
            even = odd = coef.dtype.type(0)
            dim = coef.shape[1]
            for d in range(0, dim - 1, 2):
                even += coef[k, d] * pooled[p, d]
                odd += coef[k, d + 1] * pooled[p, d + 1]
            if dim % 2:
                even += coef[k, dim - 1] * pooled[p, dim - 1]
            out[i] = even + odd + intercept[k]

    return logits


@cache
def loss_kernel(loss, threads):
    """Make the kernel of the loss and its gradient, one thread per bag."""

    @kernel
    def gradient_of_loss(logits, n_bags, n_outputs, order, y_indices, y_indptr, sample_weight, losses):
        """Replace the logits by the gradient of the mean weighted loss with respect to them.

        SOFTMAX: cross-entropy of the one class of a bag. SIGMOID: sum over the outputs of the binary cross-entropies.

        logits : (n_outputs * n_bags,), in-out: output k of bag p is at k * n_bags + p. order : (>= n_bags,) int64, in.
        y_indices, y_indptr : int64, in: of each bag the outputs whose label is 1, as in CSR. sample_weight : float64,
            in. losses : (>= n_bags,) float64, out: what each bag adds to the mean loss.
        """
        p = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        if p < n_bags:
            bag = item(order, p)
            first, last = y_indptr[bag], y_indptr[bag + 1]
            scale = logits.dtype.type(sample_weight[bag] / n_bags)
            value = 0.0
            if loss == SOFTMAX:
                highest = logits[p]
                for k in range(1, n_outputs):
                    highest = max(highest, logits[k * n_bags + p])
                label = y_indices[first] * n_bags + p
                value = np.float64(highest - logits[label])
                total = 0.0
                for k in range(n_outputs):
                    total += math.exp(logits[k * n_bags + p] - highest)
                value += math.log(total)
                for k in range(n_outputs):
                    i = k * n_bags + p
                    share = logits.dtype.type(math.exp(logits[i] - highest) / total)
                    logits[i] = (share - (1 if i == label else 0)) * scale
            else:
                for j in range(first, last):
                    value -= logits[y_indices[j] * n_bags + p]
                j = first
                for k in range(n_outputs):
                    i = k * n_bags + p
                    z = logits[i]
                    small = math.exp(-abs(z))
                    value += max(z, z * 0) + math.log1p(small)
                    share = logits.dtype.type((1 if z >= 0 else small) / (1 + small))
                    one = j < last and y_indices[j] == k
                    j += 1 if one else 0
                    logits[i] = (share - (1 if one else 0)) * scale
            losses[p] = value * scale

    return gradient_of_loss


@cache
def bag_gradients_kernel(sized, threads, lanes, width, vectors):
    """Make the kernel of the gradient with respect to pooled features: one group of ``lanes`` threads per bag."""

    @kernel
    def bag_gradients(coef, gradients, n_bags, sizes, out):
        """out[p] = sum over k of gradients[k * n_bags + p] * coef[k], divided by sizes[p] if ``sized``.

        coef : (n_outputs, dim), gradients : (n_outputs * n_bags,), sizes : (>= n_bags,), in. out : (>= n_bags, dim).
        """
        thread = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        p, slot = thread // lanes, thread % lanes
        if p < n_bags:
            acc = full(coef.dtype.type(0), width, vectors)
            while slot * width < coef.shape[1]:
                acc = filled(acc, coef.dtype.type(0))
                for k in range(coef.shape[0]):
                    acc = add_scaled(acc, gather(acc, coef, k, slot, lanes), item(gradients, k * n_bags + p), True)
                if sized:
                    acc = divided(acc, item(sizes, p))
                scatter(out, p, slot, lanes, acc)
                slot += lanes * vectors

    return bag_gradients


@device
def row_gradient(kind, source, windows, zeros, at, start, stop, slot, lanes, by_freq, alpha, parameters, row):
    """Return a thread's columns of the gradient of a row, with the L2 penalty."""
    zero = parameters.dtype.type(0)
    origin = start if kind[5] else np.int64(0)
    g, _, _ = reduce_segment(
        kind, source, windows, (zeros, at, zero), np.int64(-1), origin, start, stop, slot, lanes
    )  # fmt: skip
    if by_freq:
        g = divided(g, parameters.dtype.type(stop - start))
    if alpha != 0:
        g = add_scaled(g, gather(g, parameters, row, slot, lanes), parameters.dtype.type(alpha), True)
    return g


@cache
def update_kernel(kind, solver, threads, lanes, width, vectors):
    """Make the kernel that changes rows by their gradients: the one place where solvers differ.

    One group of ``lanes`` threads per row.
    """

    @kernel
    def update(
        sources, winners, members, ids, factors, weights, starts, n_segments, limit, rows,
        partials, partial_at, partial_sizes, rate, alpha, by_freq, max_norm, norm_type, parameters, state, stop,
    ):  # fmt: skip
        """Change parameters[rows[s]] once, by its gradient g: the reduction of segment s of the members.

        SGD: row -= rate * g. ADAGRAD (row-wise): state += mean(g ** 2); row -= rate / (sqrt(state) + 1e-10) * g.
        With ``by_freq`` g is first divided by the members of the segment; then alpha * row is added to it. A row whose
        norm then exceeds max_norm is rescaled to it. stop[0] becomes 1 if the row or its state is not finite any more.

        sources : (n_bags, dim), in. winners to limit, partials to partial_sizes : as in ``cuda.windows_kernel``, in.
        rows : (>= n_segments,), in, no two the same. parameters : (n, dim), in-out. state : (n,) float64, in-out.
        stop : (1,) int32, in-out.
        """
        scratch = cuda.shared.array(threads, np.float64)
        thread = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        segment, lane = thread // lanes, thread % lanes
        n = min(np.int64(n_segments), limit[0])
        if np.int64(cuda.blockIdx.x) * (threads // lanes) >= n:
            return  # the whole block does: nobody waits for it
        active = segment < n
        begin = end = row = np.int64(0)
        before = 0.0
        dim = parameters.shape[1]
        first_slot = np.int64(dim)
        if active:
            begin, end, row = np.int64(starts[segment]), np.int64(starts[segment + 1]), np.int64(rows[segment])
            before = state[row]
            first_slot = lane
        source = sources, winners, members, ids, factors, weights
        windows = partials, partial_at, partial_sizes
        stride = lanes * vectors
        zeros, at = full(parameters.dtype.type(0), width, vectors), full(np.int32(-1), width, vectors)
        g = zeros
        step = parameters.dtype.type(-rate)
        if solver == ADAGRAD:
            total = 0.0
            slot = first_slot
            while slot * width < dim:
                g = row_gradient(
                    kind, source, windows, zeros, at, begin, end, slot, lanes, by_freq, alpha, parameters, row
                )  # fmt: skip
                total += np.float64(squares(g, slot, lanes, dim))
                slot += stride
            total = before + group_total(scratch, total, lanes, False) / dim
            if active and lane == 0:
                state[row] = total
            root = parameters.dtype.type(math.sqrt(parameters.dtype.type(total)))
            if not math.isfinite(root):  # the row would never change again
                stop[0] = 1
            step /= root + parameters.dtype.type(_EPSILON)
        slot = first_slot
        while slot * width < dim:
            if solver == SGD or dim > stride * width:  # else g is still there
                g = row_gradient(
                    kind, source, windows, zeros, at, begin, end, slot, lanes, by_freq, alpha, parameters, row
                )  # fmt: skip
            new = add_scaled(gather(g, parameters, row, slot, lanes), g, step, True)
            if not is_finite(new):
                stop[0] = 1
            scatter(parameters, row, slot, lanes, new)
            slot += stride
        if max_norm < math.inf:
            total = 0.0
            slot = first_slot
            while slot * width < dim:  # the columns that this thread has just written
                for column in range(slot * width, (slot + 1) * width):
                    part = power(parameters[row, column], norm_type)
                    total = max(total, part) if norm_type == math.inf else total + part
                slot += lanes
            length = norm_of(group_total(scratch, total, lanes, norm_type == math.inf), norm_type)
            if length > max_norm:
                factor = parameters.dtype.type(max_norm / (length + 1e-7))
                slot = first_slot
                while slot * width < dim:
                    for column in range(slot * width, (slot + 1) * width):
                        parameters[row, column] *= factor
                    slot += lanes

    return update


@cache
def finish_kernel(solver, threads):
    """Make the kernel that ends a step, one block per output and one for the loss."""

    @kernel
    def finish(gradients, n_bags, losses, rate, intercept, intercept_state, batch, batch_losses, stop):
        """Change intercept[k] by the sum of gradients[k * n_bags + p], and set batch_losses[batch] = sum of losses[p].

        gradients : (n_outputs * n_bags,), in. losses : (>= n_bags,) float64, in. intercept : (n_outputs,), in-out.
        intercept_state : float64, in-out. batch_losses : (> batch,) float64, out. stop : (1,) int32, in-out, becomes 1
        if the loss, an entry of intercept or its state is not finite.
        """
        scratch = cuda.shared.array(threads, np.float64)
        k, thread = np.int64(cuda.blockIdx.x), cuda.threadIdx.x
        n_outputs = len(intercept)
        total = 0.0
        for p in range(thread, n_bags, threads):
            total += np.float64(gradients[k * n_bags + p]) if k < n_outputs else losses[p]
        total = group_total(scratch, total, threads, False)
        if thread == 0:
            if k == n_outputs:
                batch_losses[batch] = total
            else:
                if solver == ADAGRAD:
                    intercept_state[k] += total * total
                    total /= math.sqrt(intercept_state[k]) + _EPSILON
                intercept[k] -= rate * total
                total = np.float64(intercept[k])  # as it is stored: float32 may be infinite where float64 is not
                if not math.isfinite(intercept_state[k]):
                    stop[0] = 1
            if not math.isfinite(total):
                stop[0] = 1

    return finish
