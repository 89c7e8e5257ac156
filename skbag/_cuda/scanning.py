"""Prefix sums on a GPU: in a block, and in two phases of a grid, of which the second begins when the first is done."""

from functools import cache

import numpy as np
from numba import cuda

from skbag._cuda.jit import device


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


@device
def share(n, k, parts):
    """Return where the k-th of so many parts of n things begins."""
    return np.int64(n) * k // parts


@cache
def sum_of(threads):
    """Make the phase that sums what every block is to scan."""

    @device
    def sum_counts(sorting, n):
        """sums[block] = sum of the block's share of counts[:n]."""
        sums = cuda.shared.array(threads, np.int32)
        thread, block, n_blocks = cuda.threadIdx.x, cuda.blockIdx.x, cuda.gridDim.x
        total = np.int32(0)
        for i in range(share(n, block, n_blocks) + thread, share(n, block + 1, n_blocks), threads):
            total += sorting.counts[i]
        sums[thread] = total
        add_up(sums, thread, threads)
        if thread == threads - 1:
            sorting.sums[block] = sums[thread]
        cuda.syncthreads()

    return sum_counts


@cache
def scan_of(threads):
    """Make the phase of prefix sums, after that of `sum_of` in a grid of the same size."""

    @device
    def scan(sorting, n):
        """counts[i] = sum of counts[:i], for i <= n."""
        sums = cuda.shared.array(threads, np.int32)
        thread, block, n_blocks = cuda.threadIdx.x, np.int64(cuda.blockIdx.x), np.int64(cuda.gridDim.x)
        total = np.int32(0)
        for k in range(thread, block, threads):
            total += sorting.sums[k]
        sums[thread] = total
        add_up(sums, thread, threads)
        before = sums[threads - 1]
        cuda.syncthreads()
        first, last = share(n, block, n_blocks), share(n, block + 1, n_blocks)
        begin, end = first + share(last - first, thread, threads), first + share(last - first, thread + 1, threads)
        total = np.int32(0)
        for i in range(begin, end):
            total += sorting.counts[i]
        sums[thread] = total
        add_up(sums, thread, threads)
        before += sums[thread] - total
        for i in range(begin, end):
            value = sorting.counts[i]
            sorting.counts[i] = before
            before += value
        if block == n_blocks - 1 and thread == threads - 1:
            sorting.counts[n] = before
        cuda.syncthreads()

    return scan
