"""Looking at the members of bags before their rows are read, and converting their weights, on a GPU."""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from skbag._cuda.device import Device, DeviceArray, fetch, pinned, send
from skbag._cuda.jit import kernel
from skbag._data.found import Found

INVALID, INFINITE, EXTREME, UNSORTED, LENGTH, LONGEST = range(6)  # findings of `check_kernel`'s kernel


class Findings:
    """What kernels have found, on the GPU and on the way to the host."""

    def __init__(self, device: Device) -> None:
        n_bytes = 8 * (LONGEST + 1)
        self.there: DeviceArray = device.empty(LONGEST + 1, np.int64)
        self._zeros, self._here = (pinned(n_bytes).view(np.int64) for _ in range(2))
        self._zeros[:] = 0

    def clear(self, stream: Any) -> None:
        """Begin to forget."""
        send(self._zeros, self.there, stream=stream)

    def fetch(self, stream: Any) -> None:
        """Begin to copy what there is to the host; it is there when the stream has come to this."""
        fetch(self.there, self._here, stream=stream)

    @property
    def found(self) -> Found:
        """What was found when it was fetched."""
        invalid, infinite, extreme, unsorted, length, longest = map(int, self._here)
        return Found(bool(invalid or infinite), bool(extreme), bool(unsorted), length, longest)


@cache
def check_kernel(weighted, mend, threads):
    """Make the kernel that looks at bags: ``weighted`` if members have weights; for ``mend`` see it."""

    @kernel
    def check(indices, weights, indptr, base, n_bags, n_stored, n_rows, like, findings):
        """findings[INVALID] = 1 if an id is out of range or indptr is none, [INFINITE] if a weight is not finite.

        indptr is none if it does not begin at ``base``, falls, or ends past n_stored; [LENGTH] becomes what it ends
        at, and is 0 if that cannot be, and [LONGEST] the number of members of the longest bag. [EXTREME] = 1 if the
        cube of a weight is not finite or vanishes, as ``skbag._cpu.checking.is_extreme`` has it; weights are
        converted to the dtype of ``like`` before. [UNSORTED] becomes the number of members whose id is not larger
        than that of the member before in the same bag. With ``mend`` ids that are out of range become 0: what reads
        rows by them then reads one that there is.

        indices, weights : (>= n_stored,), in; indices in-out with ``mend``. indptr : (> n_bags,), in. like : of any
        length. findings : (6,) int64, in-out.
        """
        first = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        step = np.int64(cuda.gridDim.x) * threads
        n_members = np.int64(indptr[n_bags]) - base
        if indptr[0] != base or n_members < 0 or n_members > n_stored:
            n_members = np.int64(0)
            findings[INVALID] = 1
        if first == 0:
            findings[LENGTH] = n_members
        unsorted = np.int64(0)
        for bag in range(first, n_bags, step):  # before an id is mended
            start, stop = np.int64(indptr[bag]) - base, np.int64(indptr[bag + 1]) - base
            if stop < start:
                findings[INVALID] = 1
            elif stop - start > findings[LONGEST]:
                cuda.atomic.max(findings, LONGEST, stop - start)
            if 0 < start < stop <= n_members and indices[start] <= indices[start - 1]:
                unsorted -= 1  # the members of two bags
        for i in range(first, n_members, step):
            index = indices[i]
            if i > 0 and index <= indices[i - 1]:
                unsorted += 1
            if index < 0 or index >= n_rows:
                findings[INVALID] = 1
                if mend:
                    indices[i] = 0
            if weighted:
                weight = like.dtype.type(weights[i])
                cube = weight * weight * weight
                if not abs(weight) < np.inf:
                    findings[INFINITE] = 1
                if not abs(cube) < np.inf or (cube == 0 and weight != 0):
                    findings[EXTREME] = 1
        if unsorted != 0:
            cuda.atomic.add(findings, UNSORTED, unsorted)

    return check


@cache
def convert_kernel(threads, names=0):
    """Make the kernel that converts one array to the dtype of another; with ``names`` what is not 0 becomes 1."""

    @kernel
    def convert(values, out):
        """out[i] = values[i]. values : (n,), in. out : (n,) of another dtype, out."""
        first = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        for i in range(first, len(out), np.int64(cuda.gridDim.x) * threads):
            out[i] = values[i] != 0 if names else values[i]

    return convert
