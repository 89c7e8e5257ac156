"""How the threads of a GPU share rows: the shapes that kernels are made for."""

import math

from skbag._cuda.device import THREADS

_VECTOR_BYTES = 16  # the widest load of a thread
_VECTORS = 4  # most of them that a thread has of a row
_NUMBERS = 16  # and most numbers: four rows of them are in registers at once
_LAYER_VECTORS = 2

Shape = tuple[int, int, int]  # threads of a group that shares a row, columns of a load, loads of a thread


def shape_of(dim: int, itemsize: int) -> Shape:
    """Return the shape for rows of a table: a group is a warp before it is more, so that many rows are under way."""
    width, slots, most = _loads((dim,), itemsize)
    lanes = min(32, _power(slots))
    while lanes < THREADS and slots > lanes * most:
        lanes *= 2
    return lanes, width, min(most, -(-slots // lanes))


def halved(shape: Shape) -> Shape:
    """Return the shape for rows that change, from that for rows that are read: a warp has twice as many of narrow ones.

    What a group does once for a row, finding it and the length of its step, is most of its work, and it waits in
    between; a thread adds two loads of a row as two threads do.
    """
    lanes, width, vectors = shape
    return (lanes // 2, width, 2) if vectors == 1 and lanes > 1 else shape


def layer_shape_of(widths: tuple[int, ...], itemsize: int) -> Shape:
    """Return the shape for the rows of layers with inputs of several widths.

    They are few, and their phases share one number of registers with those of the table: a group is a block before a
    thread has two loads.
    """
    width, slots, most = _loads(widths, itemsize)
    lanes = min(THREADS, _power(slots))
    return lanes, width, min(most, _LAYER_VECTORS, -(-slots // lanes))


def _loads(widths: tuple[int, ...], itemsize: int) -> tuple[int, int, int]:
    """Return the columns of one load, the loads of a row, and how many of them a thread may have."""
    width = _VECTOR_BYTES // itemsize
    while math.gcd(*widths) % width:
        width //= 2
    return width, max(widths) // width, min(_VECTORS, max(1, _NUMBERS // width))


def _power(n: int) -> int:
    return min(THREADS, 1 << (n - 1).bit_length())
