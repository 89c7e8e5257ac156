"""Memory for what rows of the table were before a call of partial_fit, kept from call to call."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._cpu import structs
from skbag._data.model import Parameters
from skbag._data.quantized import empty_table
from skbag._rules.solvers import Solver

Array = NDArray[Any]

_MOST_BYTES = 1 << 29  # that are kept; new memory costs a step of many rows a third of its time
_FEW_BYTES = 1 << 20  # that every trainer may keep; of more one has all
_LAST = 255  # call that a uint8 can number
_spare: dict[str, tuple[Any, structs.Undo]] = {}  # by name, with what it is for


def take(
    before: structs.Undo | None, table: Parameters | structs.Parameters, n_members: int, solver: Solver, name: str
) -> structs.Undo:
    """Return memory for all rows that so many members can name; what is not used of it is never touched.

    ``before`` is what the trainer had for the call before, see `give_back`.
    """
    values, n_rows = table.values, min(len(table.values), n_members)
    if not n_rows:
        return _nothing(values.ndim, values.dtype, table.state.dtype, table.first.dtype)
    undo = before
    if undo is None or len(undo.rows) < n_rows:
        kind, undo = _spare.pop(name, (None, None))  # another thread may have it
        if undo is None or kind != _kind(table, solver) or len(undo.rows) < n_rows:
            arrays = values, table.state if solver.row_state else table.state[:0], table.first, table.second
            undo = structs.Undo(
                np.zeros(len(values), np.uint8), np.zeros(2, np.int64), np.empty(n_rows, np.int64),
                *(empty_table((min(n_rows, len(array)), *array.shape[1:]), array.dtype) for array in arrays),
            )  # fmt: skip
    call = int(undo.n_rows[1]) + 1  # so that rows of the calls before need no look
    if call > _LAST:
        undo.touched[:] = 0
        call = 1
    undo.n_rows[:] = 0, call
    return undo


@lru_cache(maxsize=16)
def _nothing(ndim: int, values: np.dtype[Any], state: np.dtype[Any], elements: np.dtype[Any]) -> structs.Undo:
    """Return what keeps no rows; nothing is written to it."""
    none = (0,) * ndim
    return structs.Undo(
        np.zeros(0, np.uint8), np.zeros(2, np.int64), np.empty(0, np.int64),
        np.empty(none, values), np.empty(0, state), np.empty(none, elements), np.empty(none, elements),
    )  # fmt: skip


def give_back(undo: structs.Undo | None, table: Parameters, solver: Solver, name: str) -> structs.Undo | None:
    """Keep the memory for the next call; return it if it is little, and the trainer's for its next call."""
    if undo is None or not len(undo.rows):
        return undo
    n_bytes = sum(array.nbytes for array in undo)
    if n_bytes <= _FEW_BYTES:
        return undo
    if n_bytes <= _MOST_BYTES:
        _spare[name] = _kind(table, solver), undo
    return None


def _kind(table: Parameters | structs.Parameters, solver: Solver) -> tuple[Any, ...]:
    values = table.values
    return values.shape, values.dtype, table.first.dtype, solver.row_state, solver.element_states
