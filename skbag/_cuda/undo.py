"""What training on a GPU may have to take back: rows of the table, and the small arrays, as they were before."""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from skbag._cuda import structs
from skbag._cuda.device import THREADS, Device, DeviceArray
from skbag._cuda.jit import device, kernel
from skbag._cuda.tile import item
from skbag._cuda.workspace import Workspace
from skbag._data.model import Model


@device
def copy_row(source, row, target, to, lane, lanes):
    """Copy a row of one array to a row of another one, by a group of threads: its bits, whatever they stand for."""
    for column in range(lane, source.shape[1], lanes):
        target[to, column] = source[row, column]


@cache
def keep_kernel(row_state, states, threads, lanes):
    """Make the kernel that keeps rows and their states, and puts them back; see ``skbag._rules.solvers.Solver``."""

    @device
    def copy_parameters(source, row, target, to, lane):
        """Copy a row of parameters, and what the solver keeps of it, to a row of others."""
        copy_row(source.values, row, target.values, to, lane, lanes)
        if states > 0:
            copy_row(source.first, row, target.first, to, lane, lanes)
        if states > 1:
            copy_row(source.second, row, target.second, to, lane, lanes)
        if row_state and lane == 0:
            target.state[to] = source.state[row]

    @kernel
    def keep(given, n, back):
        """given.kept[i] = given.table[given.rows[i]] for i < n; or with ``back`` the other way. given : Packed Kept."""
        thread = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        i, lane = thread // lanes, thread % lanes
        if i < n:
            row = np.int64(item(given.kept_rows, i) if back else item(given.rows, i))
            if lane == 0 and not back:
                given.kept_rows[i] = row
            if row < given.table.values.shape[0]:  # else members that do not count
                if back:
                    copy_parameters(given.kept, i, given.table, row, lane)
                else:
                    copy_parameters(given.table, row, given.kept, i, lane)

    return keep


class Undo:
    """What a model was when this was made: its small arrays, and the rows of its table that are saved.

    Parameters
    ----------
    device, workspace : Device, Workspace
        Rows are kept in memory of the workspace.
    model : Model
        With its table on the GPU.
    names : tuple of str
        The arrays of the table that may change.
    """

    def __init__(self, device: Device, workspace: Workspace, model: Model, names: tuple[str, ...]) -> None:
        self._device, self._workspace, self._model, self._names = device, workspace, model, names
        self._n_steps, self._small = model.n_steps, [parameters.copy() for parameters in model.parameters()[1:]]
        self._given: Any = None
        self._n = -1

    @property
    def is_saved(self) -> bool:
        """Whether `save` was called."""
        return self._n >= 0

    def save(self, rows: DeviceArray, n: int) -> None:
        """Keep the first n rows of the table that are named; numbers beyond the table name none."""
        if n:
            self.reserve(rows, n)
            self._launch(n, back=0)
        self._n = n

    def reserve(self, rows: DeviceArray, n: int) -> None:
        """Have memory for n rows, and for a few more the next time."""
        table: Any = self._model.table
        there = {name: getattr(table, name).on(self._device) for name in self._names}
        room = min(1 << (n + n // 8 - 1).bit_length(), len(table.values) + 1)
        kept = {
            name: self._workspace.array(f"kept {name}", (room, *array.shape[1:]), array.dtype)
            for name, array in there.items()
        }
        missing = dict.fromkeys(structs.Parameters._fields, ())
        self._given = self._workspace.packed("kept", structs.Kept(
            rows, self._workspace.array("kept rows", room, rows.dtype),
            structs.Parameters(**(missing | kept)), structs.Parameters(**(missing | there)),
        ))  # fmt: skip

    def _launch(self, n: int, *, back: int) -> None:
        lanes, states = min(32, THREADS), sum(name in self._names for name in ("first", "second"))
        kernel = keep_kernel(int("state" in self._names), states, THREADS, lanes)
        self._device.launch(kernel, n * lanes, self._given, n, back)

    def take_back(self) -> None:
        """Put everything back."""
        if self._n > 0:
            self._launch(self._n, back=1)
        for name in self._names if self.is_saved else ():
            getattr(self._model.table, name).changed()
        for parameters, before in zip(self._model.parameters()[1:], self._small, strict=True):
            for small, old in zip(parameters.arrays(), before.arrays(), strict=True):
                small[:] = old
        self._model.n_steps = self._n_steps
