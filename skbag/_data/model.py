"""What is trained and what a step does, on every device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class Model:
    """The arrays that training changes, of one dtype but for the states, which are float64."""

    table: Array  # (num_embeddings, dim)
    coef: Array  # (n_outputs, dim)
    intercept: Array  # (n_outputs,)
    table_state: Array  # (num_embeddings,), (n_outputs,), (n_outputs,): the solver's
    coef_state: Array
    intercept_state: Array

    def arrays(self) -> tuple[Array, ...]:
        """Return all arrays."""
        return self.table, self.table_state, *self.small_arrays()

    @classmethod
    def from_fitted(cls, arrays: tuple[Any, ...], dtype: np.dtype[Any]) -> Self:
        """Take fitted arrays to train on, in the order of the fields; writable copies where they are not."""
        dtypes = (dtype,) * 3 + (np.dtype(np.float64),) * 3
        return cls(*(np.require(array, kind, ["C", "A", "W"]) for array, kind in zip(arrays, dtypes, strict=True)))

    def copy(self) -> Self:
        """Return a copy of all arrays."""
        arrays = self.table, self.coef, self.intercept, self.table_state, self.coef_state, self.intercept_state
        return type(self)(*(array.copy() for array in arrays))

    def small_arrays(self) -> tuple[Array, ...]:
        """Return all but the table and its state."""
        return self.coef, self.intercept, self.coef_state, self.intercept_state

    def undo_of(self, ids: Array) -> Callable[[], None]:
        """Return a function that takes back what changes from now on in the rows that ids name and the small arrays."""
        rows = np.sort(ids)  # not np.unique: its hash table takes ten times as long
        rows = rows[np.diff(rows, prepend=-1) != 0]
        saved = self.table[rows], self.table_state[rows], *(array.copy() for array in self.small_arrays())

        def undo() -> None:
            self.table[rows], self.table_state[rows] = saved[:2]
            for array, old in zip(self.small_arrays(), saved[2:], strict=True):
                array[:] = old

        return undo


@dataclass(frozen=True)
class Objective:
    """What a step does."""

    mode: str
    loss: str
    solver: str
    alpha: float = 0.0
    norm: tuple[float, float] | None = None
    scale_grad_by_freq: bool = False
    freeze: bool = False
