"""Memory for what rows of the table were before a call of partial_fit, kept from call to call."""

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


def take(table: Parameters, n_members: int, solver: Solver, name: str = "table") -> structs.Undo:
    """Return memory for all rows that so many members can name; what is not used of it is never touched."""
    n_rows = min(len(table.values), n_members)
    arrays = table.values, table.state if solver.row_state else table.state[:0], table.first, table.second
    kinds: list[tuple[tuple[int, ...], np.dtype[Any]]]
    kinds = [((len(table.values) if n_rows else 0,), np.dtype(np.uint8)), ((n_rows,), np.dtype(np.int64))]
    kinds += [((min(n_rows, len(array)), *array.shape[1:]), array.dtype) for array in arrays]
    sizes = [prod(shape) * dtype.itemsize for shape, dtype in kinds]
    spare: list[Array] = []
    if n_rows:
        spare = _spare.pop(name, spare)  # another thread may have it
    if not all(len(old) >= size for old, size in zip(spare, sizes, strict=False)) or not spare:
        spare = [np.zeros(sizes[0], np.uint8), *(np.empty(size, np.uint8) for size in sizes[1:])]
    touched, *others = (
        memory[:size].view(dtype).reshape(shape)
        for memory, size, (shape, dtype) in zip(spare, sizes, kinds, strict=True)
    )
    return structs.Undo(touched, np.zeros(1, np.int64), *others)


def give_back(undo: structs.Undo, name: str = "table") -> None:
    """Keep the memory for the next call; ``undo`` must not be used any more."""
    undo.touched[undo.rows[: undo.n_rows[0]]] = 0
    memory = [array.base for array in (undo.touched, *undo[2:])]
    if len(undo.rows) and sum(array.nbytes for array in memory) <= _MOST_BYTES:
        _spare[name] = memory
