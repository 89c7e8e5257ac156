"""Sorting members on a GPU: memory, and the launches of ``skbag._cuda.sorting``."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._cuda import checking, pooling, structs
from skbag._cuda import sorting as kernels
from skbag._cuda.device import THREADS, Device, DeviceArray
from skbag._cuda.workspace import Workspace

_ITEMS = 15  # keys of a thread in a tile: odd, so that threads use different banks
_MOST_BITS = 8  # of a digit
_BLOCKS_AT_ONCE = 6  # that a multiprocessor has registers for: sorting waits for memory most of the time
MOST_BLOCKS = 2048  # of a launch whose blocks go through everything together


def number_type(largest: int) -> np.dtype[np.int32] | np.dtype[np.int64]:
    """Return the dtype for numbers up to ``largest``."""
    return np.dtype(np.int32) if largest < 1 << 31 else np.dtype(np.int64)


def check_size(n_members: int) -> None:
    """Raise ValueError if members cannot be numbered by int32."""
    if n_members >= 1 << 31:
        raise ValueError(
            f"On a GPU at most 2**31 - 1 members are trained on at once, got {n_members}: use a smaller batch_size, "
            "and smaller batches in partial_fit."
        )


def tiles_of(batches: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where the tiles of mini-batches begin whose members begin there."""
    n_tiles = -(-np.diff(batches) // (THREADS * _ITEMS))
    return np.concatenate(([0], np.cumsum(n_tiles)))


def sorting_of(
    workspace: Workspace, keys: DeviceArray, batches: Any, tiles: Any, n: tuple[int, int, int], n_rows: int
) -> structs.Sorting:
    """Allocate what sorting needs for n = (members, mini-batches, tiles); keys are at most n_rows."""
    array, (n_members, n_batches, n_tiles), of_rows = workspace.array, n, number_type(n_rows)
    n_bits = max(1, n_rows.bit_length())
    n_passes = -(-n_bits // _MOST_BITS)
    bits = -(-n_bits // n_passes)
    return structs.Sorting(
        keys, batches, tiles, n_batches, n_passes, bits,
        array("even keys", n_members, of_rows), array("even places", n_members, np.int32),
        array("odd keys", n_members, of_rows), array("odd places", n_members, np.int32),
        array("counts", (n_tiles << bits) + 1, np.int32), array("sums", MOST_BLOCKS, np.int32),
        array("starts", n_members + 1, np.int32), array("segment rows", n_members, of_rows),
        array("firsts", n_batches + 1, np.int64), array("long", n_batches, np.int32),
    )  # fmt: skip


def sort(device: Device, given: Any, sorting: structs.Sorting, n_tiles: int) -> None:
    """Launch sorting; ``given`` : Packed, with ``sorting`` in it."""
    wide, n_blocks = int(np.dtype(sorting.even_keys.dtype).itemsize == 8), min(MOST_BLOCKS, max(1, n_tiles))
    kind = wide, (THREADS, _BLOCKS_AT_ONCE), _ITEMS, _MOST_BITS, pooling.WINDOW
    if device.cooperates:
        device.launch_together(kernels.sort_kernel(1, *kind), n_blocks, given, 0, 0)
        return
    kernel = kernels.sort_kernel(0, *kind)
    phases = [(which, digit) for digit in range(sorting.n_passes) for which in range(kernels.COUNT_HEADS)]
    for which, digit in phases + [(which, 0) for which in range(kernels.COUNT_HEADS, kernels.WRITE_HEADS + 1)]:
        device.launch_blocks(kernel, n_blocks, given, which, digit)


def unique(device: Device, rows: DeviceArray, n: int, n_rows: int) -> tuple[DeviceArray, int]:
    """Return the first n rows, numbers below n_rows, without repetition, and how many there are."""
    check_size(n)
    workspace = Workspace(device)
    ends = np.array([0, n], np.int64)
    tiles = tiles_of(ends)
    keys = rows
    if np.dtype(rows.dtype) != number_type(n_rows):
        keys = workspace.array("keys", n, number_type(n_rows))
        device.launch(checking.convert_kernel(THREADS), min(1 << 20, n), rows, keys)
    ends_there, tiles_there = workspace.put("ends", ends, tiles)
    sorting = sorting_of(workspace, keys, ends_there, tiles_there, (n, 1, int(tiles[-1])), n_rows)
    sort(device, workspace.packed("sort", structs.Sort(sorting)), sorting, int(tiles[-1]))
    return sorting.rows, int(device.copy_out(sorting.firsts, np.empty(2, np.int64))[1])
