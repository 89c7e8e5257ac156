"""Sorting on a GPU: a stable radix sort of the rows that members name, and the runs of equal rows in it.

Both work in tiles of ``threads * items`` neighbours: count in every tile, `scan_kernel` over the counts, then write
every tile to its place. No two threads add to a number that decides about an order, so that two runs agree.
"""

from functools import cache

import numpy as np
from numba import cuda

from skbag._cuda.jit import device, kernel
from skbag._cuda.tile import item


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
    def write_heads(keys, n, no_row, n_tiles, counts, starts, rows, n_segments):
        """starts[s], rows[s] = where run s begins and its key; n_segments[0] = how many runs, without that of no_row.

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
            n_segments[0] = counts[n_tiles] - (1 if item(keys, n - 1) == no_row else 0)

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
