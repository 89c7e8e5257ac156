"""What a pickle of an estimator holds, and how an estimator comes back from it.

A drawn table can be drawn again from its seed: where training has changed few of its rows, they alone are stored. Which
ones is found by drawing it and comparing, bit by bit, so that nothing has to be kept up to date while rows change.
"""

import inspect
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._data.quantized import BITS, QuantizedTable, arrays_of, table_of
from skbag._data.resident import plain
from skbag._data.some_outputs import Negatives, Tree
from skbag._data.table import Drawn, draw_table, rows_unlike_drawn
from skbag._data.targets import Classes, Scale
from skbag._estimators.models import Models
from skbag._version import __version__

Array = NDArray[Any]

FORMAT = 2  # of the state; 1 is that of the first days, without a number and with all rows
_MOST = 1 / 4  # of the rows: a table with more changed ones is stored whole, and can be mapped from its file


class VersionedStateMixin:
    """Pickles that know the version of skbag, and what that version stores."""

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        return {**state, "_skbag_version": __version__, "_skbag_format": FORMAT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        name, saved = type(self).__name__, state.pop("_skbag_version", None)
        if state.pop("_skbag_format", 1) > FORMAT:
            raise ValueError(
                f"This {name} was saved by skbag {saved}, which stores models in a way that skbag {__version__} does "
                f"not know: load it with skbag {saved} or newer."
            )
        if saved != __version__:
            warnings.warn(
                f"This {name} was saved by skbag {saved} and is loaded by skbag {__version__}. "
                "It may not work, or give other results.",
                UserWarning,
                stacklevel=2,
            )
        for parameter in inspect.signature(type(self)).parameters.values():
            state.setdefault(parameter.name, parameter.default)  # those that came later
        super().__setstate__(state)  # type: ignore[misc]


class SavedMixin(VersionedStateMixin):
    """Pickles that hold what was learnt."""

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = {name: plain(value) for name, value in super().__getstate__().items()}
        if isinstance(state.get("_rng"), np.random.RandomState):
            state["_rng"] = state["_rng"].get_state(legacy=False)  # skops knows no generator but one
        state.pop("_models", None)
        if "embeddings_" in state:
            if state["embeddings_"] is state["init"]:
                state["embeddings_"] = None  # the same array: joblib would write it twice
            else:
                state = _with_changed_rows(state)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if isinstance(state.get("_rng"), dict):
            state["_rng"] = _stream_from(state["_rng"])
        if "coefs_" in state:
            state["_models"] = Models()
        if "_changed_rows" in state and state.get("_skbag_format", 1) <= FORMAT:
            state = _with_all_rows(state)
        elif "embeddings_" in state and state["embeddings_"] is None:
            state["embeddings_"] = state["init"]
            init = arrays_of(state["init"])[0]
            if "coefs_" in state and isinstance(init, np.ndarray):
                init.flags.writeable = False  # training then copies it, and leaves the parameter alone
        super().__setstate__(state)

    @classmethod
    def skops_types(cls) -> list[str]:
        """Return the names of the types that skops has to trust to load an estimator of this class.

        They are what ``trusted`` of ``skops.io.load`` needs for it, beside those of other steps of a pipeline. All are
        classes of skbag, whose ``__setstate__`` runs no code that a file could bring.

        Returns
        -------
        list of str

        Examples
        --------
        >>> from skbag import EmbeddingBagClassifier
        >>> EmbeddingBagClassifier.skops_types()[0]
        'skbag._estimators.classifier.EmbeddingBagClassifier'
        """
        kinds = cls, Classes, Scale, QuantizedTable, Negatives, Tree
        return [f"{kind.__module__}.{kind.__qualname__}" for kind in kinds]


def _stream_from(state: dict[str, Any]) -> np.random.RandomState:
    stream = np.random.RandomState(np.random.PCG64())
    stream.set_state(state)
    return stream


def _with_changed_rows(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an estimator without rows that can be drawn again; as it is where there are few of them.

    Only for "uniform": what NumPy draws as N(0, 1) may differ from version to version.
    """
    drawn, table = state.get("_drawn"), state["embeddings_"]
    if isinstance(table, QuantizedTable) and table.scales is None:
        table = table.bits
    if not drawn or drawn[0] != "uniform" or not isinstance(table, np.ndarray) or table.ndim != 2:
        return state
    if table.dtype not in (np.float32, np.float64, *BITS.values()) or not (
        table.flags.c_contiguous and table.dtype.isnative
    ):
        return state
    n_rows, most = len(table), int(_MOST * len(table))
    rows = rows_unlike_drawn(table, Drawn(*drawn), most)
    if rows is None:
        return state
    kept, fills, solver_state = np.zeros(n_rows, np.bool_), [], state.get("_solver_state")
    kept[rows] = True
    if kept.all():
        return state
    arrays = [table] if solver_state is None else [table, *(np.asarray(array) for array in solver_state[0])]
    first = int(kept.argmin())  # a row that no step touched: what the solver has of it is what it begins with
    for array in arrays[1:]:
        fill = array[first].reshape(-1)[:1] if len(array) == n_rows else None
        if fill is not None:
            differs = _bits(array) != _bits(fill)
            kept |= differs.reshape(n_rows, -1).any(axis=1)
        fills.append(fill)
    rows = np.flatnonzero(kept)
    if len(rows) > most:
        return state
    table, *others = (array[rows] if len(array) == n_rows else array for array in arrays)
    changed = {"rows": rows, "n_rows": n_rows, "values": table, "fills": fills}
    state = {key: value for key, value in state.items() if key != "embeddings_"}
    if solver_state is not None:
        state["_solver_state"] = (tuple(others), *solver_state[1:])
    return {**state, "_changed_rows": changed}


def _with_all_rows(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an estimator with the rows that `_with_changed_rows` has left out."""
    changed, solver_state = state.pop("_changed_rows"), state.get("_solver_state")
    rows, n_rows, values = changed["rows"], changed["n_rows"], changed["values"]
    table = draw_table(Drawn(*state["_drawn"]), (n_rows, values.shape[1]), values.dtype)
    table[rows] = values
    state["embeddings_"] = table_of(table)
    if solver_state is not None:
        states = []
        for array, fill in zip(solver_state[0], changed["fills"], strict=True):
            if fill is not None:
                whole = np.empty((n_rows, *array.shape[1:]), array.dtype)
                whole[:] = fill[0]
                whole[rows] = array
                array = whole
            states.append(array)
        state["_solver_state"] = (tuple(states), *solver_state[1:])
    return state


def _bits(array: Array) -> Array:
    return np.ascontiguousarray(array).view(f"u{array.itemsize}")
