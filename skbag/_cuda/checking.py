"""Looking at bags that came as device arrays, and converting their weights, on a GPU."""

from functools import cache

import numpy as np
from numba import cuda

from skbag._cuda.jit import kernel

INVALID, INFINITE, FALLING, EXTREME, UNSORTED = range(5)  # findings of `check_kernel`'s kernel


@cache
def check_kernel(threads):
    """Make the kernel that looks at bags which came as device arrays."""

    @kernel
    def check(indices, weights, indptr, n_rows, n_members, smallest, largest, findings):
        """findings[INVALID] = 1 if an id is out of range, [INFINITE] a weight not finite, [FALLING] indptr falls.

        A weight beyond ``largest``, that of the dtype it will be converted to, is not finite either; where the cube of
        one is not from ``smallest`` to ``largest``, findings[EXTREME] = 1. findings[UNSORTED] becomes the number of
        members whose id is not larger than that of the member before in the same bag.

        indices, weights : (>= n_members,), in. indptr : (n_bags + 1,), in. findings : (5,) int64, in-out.
        """
        first = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        step = np.int64(cuda.gridDim.x) * threads
        unsorted = np.int64(0)
        for i in range(first, n_members, step):
            if i > 0 and indices[i] <= indices[i - 1]:
                unsorted += 1
            if indices[i] < 0 or indices[i] >= n_rows:
                findings[INVALID] = 1
            weight = abs(np.float64(weights[i]))
            if not weight <= largest:
                findings[INFINITE] = 1
            if weight != 0 and not smallest <= weight * weight * weight <= largest:
                findings[EXTREME] = 1
        for bag in range(first, len(indptr) - 1, step):
            start, stop = indptr[bag], indptr[bag + 1]
            if stop < start:
                findings[FALLING] = 1
            if 0 < start < stop <= n_members and indices[start] <= indices[start - 1]:
                unsorted -= 1  # the members of two bags
        if unsorted != 0:
            cuda.atomic.add(findings, UNSORTED, unsorted)

    return check


@cache
def convert_kernel(threads):
    """Make the kernel that converts one array to the dtype of another."""

    @kernel
    def convert(values, out):
        """out[i] = values[i]. values : (n,), in. out : (n,) of another dtype, out."""
        first = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        for i in range(first, len(out), np.int64(cuda.gridDim.x) * threads):
            out[i] = values[i]

    return convert
