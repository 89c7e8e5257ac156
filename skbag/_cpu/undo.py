"""Memory for what rows of the table were before a call of partial_fit, kept from call to call."""

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._cpu import structs
from skbag._data.model import Parameters
from skbag._rules.solvers import Solver

Array = NDArray[Any]

_MOST_BYTES = 1 << 28  # that are kept; new memory costs a step of many rows a third of its time
_spare: dict[str, list[Array]] = {}  # bytes of each name: for touched, which is all 0, and for the other arrays


def take(table: Parameters | structs.Parameters, n_members: int, solver: Solver, name: str = "table") -> structs.Undo:
    """Return memory for all rows that so many members can name; what is not used of it is never touched."""
    n_rows = min(len(table.values), n_members)
    if not n_rows:
        return _nothing(table.values.ndim, table.values.dtype, table.state.dtype, table.first.dtype)
    arrays = table.values, table.state if solver.row_state else table.state[:0], table.first, table.second
    kinds: list[tuple[tuple[int, ...], np.dtype[Any]]]
    kinds = [((len(table.values),), np.dtype(np.uint8)), ((n_rows,), np.dtype(np.int64))]
    kinds += [((min(n_rows, len(array)), *array.shape[1:]), array.dtype) for array in arrays]
    sizes = [prod(shape) * dtype.itemsize for shape, dtype in kinds]
    spare: list[Array] = _spare.pop(name, [])  # another thread may have it
    if not all(len(old) >= size for old, size in zip(spare, sizes, strict=False)) or not spare:
        spare = [np.zeros(sizes[0], np.uint8), *(np.empty(size, np.uint8) for size in sizes[1:])]
    touched, *others = (
        memory[:size].view(dtype).reshape(shape)
        for memory, size, (shape, dtype) in zip(spare, sizes, kinds, strict=True)
    )
    return structs.Undo(touched, np.zeros(1, np.int64), *others)


@lru_cache(maxsize=16)
def _nothing(ndim: int, values: np.dtype[Any], state: np.dtype[Any], elements: np.dtype[Any]) -> structs.Undo:
    """Return what keeps no rows; nothing is written to it."""
    none = (0,) * ndim
    return structs.Undo(
        np.zeros(0, np.uint8), np.zeros(1, np.int64), np.empty(0, np.int64),
        np.empty(none, values), np.empty(0, state), np.empty(none, elements), np.empty(none, elements),
    )  # fmt: skip


def give_back(undo: structs.Undo, name: str = "table") -> None:
    """Keep the memory for the next call; ``undo`` must not be used any more."""
    if not len(undo.rows):
        return
    undo.touched[undo.rows[: undo.n_rows[0]]] = 0
    memory = [array.base for array in (undo.touched, *undo[2:])]
    if sum(array.nbytes for array in memory) <= _MOST_BYTES:
        _spare[name] = memory
