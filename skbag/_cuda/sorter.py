"""Sorting members on a GPU: memory, and the sequence of kernels of ``skbag._cuda.sorting``."""

import numpy as np

from skbag._cuda import sorting as kernels
from skbag._cuda.device import THREADS, Device, DeviceArray

_ITEMS = 15  # keys of a thread in a tile: odd, so that threads use different banks
_BITS = 6  # of a digit
_SCAN_THREADS = 1024


def row_type(largest: int) -> np.dtype[np.int32] | np.dtype[np.int64]:
    """Return the dtype for numbers of rows up to ``largest``."""
    return np.dtype(np.int32) if largest < 1 << 31 else np.dtype(np.int64)


def check_size(n_members: int) -> None:
    """Raise ValueError if members cannot be numbered by int32."""
    if n_members >= 1 << 31:
        raise ValueError(
            f"On a GPU at most 2**31 - 1 members are trained on at once, got {n_members}: use a smaller batch_size, "
            "and smaller batches in partial_fit."
        )


class Sorter:
    """Sorts members by their rows and finds the runs of equal rows; holds the memory for up to n_members of them.

    The row ``num_embeddings`` stands for none: its members come last, and their run does not count.
    """

    def __init__(self, device: Device, n_members: int, num_embeddings: int) -> None:
        check_size(n_members)
        self.device = device
        self.no_row = num_embeddings
        self.row_type = row_type(num_embeddings)
        self._buffers = [(device.empty(n_members, self.row_type), device.empty(n_members, np.int32)) for _ in range(2)]
        self._counts = device.empty((1 << _BITS) * self._n_tiles(n_members) + 1, np.int32)
        self.starts = device.empty(n_members + 1, np.int32)
        self.rows = device.empty(n_members, self.row_type)
        self.n_segments = device.empty(1, np.int64)

    @staticmethod
    def _n_tiles(n: int) -> int:
        return -(-n // (THREADS * _ITEMS))

    def _scan(self, n: int) -> None:
        self.device.launch_blocks(kernels.scan_kernel(_SCAN_THREADS), 1, self._counts, n, threads=_SCAN_THREADS)

    def sort(self, rows: DeviceArray, n: int) -> DeviceArray:
        """Find the runs (starts, rows, n_segments) of the first n rows; return the members in the order of the rows."""
        n_tiles, keys, members = self._n_tiles(n), rows, self._buffers[0][1]
        for k, shift in enumerate(range(0, self.no_row.bit_length(), _BITS)):
            sorted_keys, sorted_members = self._buffers[k % 2]
            count = kernels.count_digits_kernel(THREADS, _ITEMS, _BITS)
            self.device.launch_blocks(count, n_tiles, keys, n, shift, n_tiles, self._counts)
            self._scan((1 << _BITS) * n_tiles)
            scatter = kernels.scatter_digits_kernel(int(k == 0), self.row_type.itemsize // 8, THREADS, _ITEMS, _BITS)
            self.device.launch_blocks(
                scatter, n_tiles, keys, members, n, shift, n_tiles, self._counts, sorted_keys, sorted_members
            )  # fmt: skip
            keys, members = sorted_keys, sorted_members
        self.device.launch_blocks(kernels.count_heads_kernel(THREADS, _ITEMS), n_tiles, keys, n, self._counts)
        self._scan(n_tiles)
        self.device.launch_blocks(
            kernels.write_heads_kernel(THREADS, _ITEMS), n_tiles, keys, n, self.no_row, n_tiles, self._counts,
            self.starts, self.rows, self.n_segments,
        )  # fmt: skip
        return members

    def unique(self, rows: DeviceArray, n: int) -> tuple[DeviceArray, int]:
        """Return the first n rows without repetition, and how many there are."""
        if not n:
            return self.rows, 0
        self.sort(rows, n)
        return self.rows, int(self.n_segments.copy_to_host()[0])
