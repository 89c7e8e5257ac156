"""Sums over a group of threads, and norms of rows, on a GPU."""

import math
from functools import cache

import numpy as np
from numba import cuda

from skbag._cuda.jit import SIMULATED, device, kernel
from skbag._cuda.storage import number_at
from skbag._cuda.tile import item


@device
def group_total(scratch, value, lanes, maximum):
    """Return the sum, or the maximum, of the values of the threads of a group; every thread of the block must call it.

    scratch : (threads,) float64 in shared memory. Groups within a warp pass the values on in the same order without it.
    """
    if not SIMULATED and lanes <= 32:
        half = lanes // 2
        while half > 0:  # each has the sum, as that of a pair is the same for both
            other = cuda.shfl_xor_sync(0xFFFFFFFF, value, half)
            value = max(value, other) if maximum else value + other
            half //= 2
        return value
    thread = cuda.threadIdx.x
    lane = thread % lanes
    scratch[thread] = value
    cuda.syncthreads()
    half = lanes // 2
    while half > 0:
        if lane < half:
            other = scratch[thread + half]
            scratch[thread] = max(scratch[thread], other) if maximum else scratch[thread] + other
        cuda.syncthreads()
        half //= 2
    total = scratch[thread - lane]
    cuda.syncthreads()
    return total


@device
def power(value, norm_type):
    """Return what a value brings to the norm of its row, in float64."""
    size = abs(np.float64(value))
    if norm_type == 2.0:
        return size * size
    return size if norm_type == 1.0 or norm_type == math.inf else math.pow(size, norm_type)


@device
def norm_of(total, norm_type):
    """Return the norm from the sum of the powers, or from their maximum."""
    if norm_type == 2.0:
        return math.sqrt(total)
    return total if norm_type == 1.0 or norm_type == math.inf else math.pow(total, 1.0 / norm_type)


@cache
def norm_factors_kernel(threads, lanes, scaled):
    """Make the kernel of the factors for max_norm: one group of ``lanes`` threads per row, which may have a scale."""

    @kernel
    def norm_factors(rows, scales, ids, n, max_norm, norm_type, out):
        """out[i] = max_norm / (norm + 1e-7) where the norm of row ids[i] exceeds max_norm, else 1; times its scale.

        The 1e-7 is torch's (torch.embedding_renorm_). rows : (n_rows, dim), in. scales : (n_rows,), what multiplies
        them if they are ``scaled``, in. ids : (>= n,), in, checked. out : (>= n,), out.
        """
        scratch = cuda.shared.array(threads, np.float64)
        thread = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        i, lane = thread // lanes, thread % lanes
        total = 0.0
        if i < n:
            row = np.int64(item(ids, i))
            for column in range(lane, rows.shape[1], lanes):
                part = power(number_at(rows, row, column), norm_type)
                total = max(total, part) if norm_type == math.inf else total + part
        norm = norm_of(group_total(scratch, total, lanes, norm_type == math.inf), norm_type)
        if i < n and lane == 0:
            scale = 1.0
            if scaled:
                scale = np.float64(item(scales, np.int64(item(ids, i))))
                norm *= scale
            out[i] = scale * (max_norm / (norm + 1e-7) if norm > max_norm else 1.0)

    return norm_factors


@cache
def scales_kernel(threads):
    """Make the kernel that looks up what multiplies the rows of members."""

    @kernel
    def scales_of(scales, ids, n, out):
        """out[i] = scales[ids[i]] for i < n. scales : (n_rows,), ids : (>= n,), in, checked. out : (>= n,), out."""
        first = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        for i in range(first, n, np.int64(cuda.gridDim.x) * threads):
            out[i] = item(scales, np.int64(item(ids, i)))

    return scales_of
