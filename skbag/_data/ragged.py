"""Bags of different lengths as people have them: lists, object arrays, and columns of lists of data frames."""

import sys
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_MISSING = "nan", "NaT", "<NA>"
Ragged = tuple[Array, Array]  # what all bags list, one after the other, and where each begins, with the end of the last


def flattened(values: Any, name: str) -> Ragged | None:
    """Return what the bags list one after the other and where each begins; None if values are no column of lists.

    Parameters
    ----------
    values : object
        A list or tuple of lists of different lengths, a 1-D array of dtype object, a pandas or polars Series of lists,
        a ListArray of Arrow, or an array of Awkward.
    name : str
        For errors.

    Raises
    ------
    ValueError
        If a bag is missing, or has another dimension than one.
    """
    library = type(values).__module__.partition(".")[0]
    if len(getattr(values, "shape", ())) == 2:  # a matrix, a data frame or a table, which may be one column of lists
        return _of_one_column(values, name)
    if library == "polars":
        values, library = values.to_arrow(), "pyarrow"
    if library == "pandas" and values.ndim == 1:
        is_arrow = hasattr(values.dtype, "pyarrow_dtype")
        values, library = (values.array.__arrow_array__(), "pyarrow") if is_arrow else (values.to_numpy(), "numpy")
    if library == "pyarrow":
        return _of_arrow(values, name)
    if library == "awkward":
        return _of_awkward(values, name)
    if isinstance(values, np.ndarray):
        return _of_rows(values, name) if values.dtype == object and values.ndim == 1 else None
    if isinstance(values, list | tuple) and _is_ragged(values):
        return _of_rows(values, name)
    return None


def _of_one_column(values: Any, name: str) -> Ragged | None:
    if values.shape[1] != 1 or not len(values):
        return None
    column = np.asarray(values, object)[:, 0]
    return _of_rows(column, name) if isinstance(column[0], list | tuple | np.ndarray) else None


def _is_ragged(rows: Sequence[Any]) -> bool:
    """Whether rows are lists of numbers of different lengths."""
    try:
        lengths = {len(row) for row in rows}
    except TypeError:  # numbers, or some are missing
        return any(row is None for row in rows) and any(hasattr(row, "__len__") for row in rows)
    differ = len(lengths) > 1 or isinstance(next(iter(rows), None), set | frozenset)  # which are no rows of an array
    return differ and not any(isinstance(row, str | bytes) for row in rows)


def _of_rows(rows: Any, name: str) -> Ragged:
    for k, row in enumerate(rows):
        if not hasattr(row, "__len__") or isinstance(row, str | bytes | dict):
            hint = " A bag without ids is []." if row is None or str(row) in _MISSING else ""
            raise ValueError(f"{name} must be a list of ids for every bag, got {row!r} for bag {k}.{hint}")
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    try:
        if any(isinstance(row, np.ndarray) for row in rows):
            flat = np.concatenate([np.asarray(row) for row in rows if len(row)] or [np.empty(0, np.int64)])
        else:
            flat = np.asarray(list(chain.from_iterable(rows)))
    except ValueError:
        flat = np.empty((0, 0))
    if flat.ndim != 1 or len(flat) != indptr[-1] or flat.dtype.kind not in "biuf":
        _raise_bad_row(rows, name)
    return flat, indptr


def _raise_bad_row(rows: Any, name: str) -> None:
    for k, row in enumerate(rows):
        try:
            array = np.asarray(row)
            bad = len(row) and (array.ndim != 1 or array.dtype.kind not in "biuf")
        except ValueError:
            bad = True
        if bad:
            words = any(isinstance(value, str | bytes) for value in row)
            hint = " For names, CountVectorizer(analyzer=list) makes the matrix, in a Pipeline, too." if words else ""
            raise ValueError(
                f"{name} must be a one-dimensional list of numbers for every bag, got {row!r} for bag {k}.{hint}"
            )
    raise ValueError(f"{name} must be numbers, got some that no array can hold together.")


def _of_arrow(column: Any, name: str) -> Ragged | None:
    if hasattr(column, "combine_chunks"):  # one column in several pieces
        column = column.combine_chunks()
    if "list" not in str(getattr(column, "type", "")).partition("<")[0]:
        return None
    if column.null_count:
        k = column.is_null().to_pylist().index(True)
        raise ValueError(f"{name} must be a list of ids for every bag, got null for bag {k}. A bag without ids is [].")
    values = column.flatten()  # of a sliced column what it shows
    if values.null_count:
        raise ValueError(f"{name} contains null at position {values.is_null().to_pylist().index(True)}.")
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    return values.to_numpy(zero_copy_only=False), np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)


def _of_awkward(values: Any, name: str) -> Ragged | None:
    awkward = sys.modules["awkward"]  # it made the array
    if values.ndim == 1:
        return None
    if values.ndim != 2:
        raise ValueError(f"{name} must have two dimensions, got {values.ndim}.")
    lengths = awkward.to_numpy(awkward.num(values, axis=1), allow_missing=False)
    flat = awkward.to_numpy(awkward.flatten(values, axis=1), allow_missing=False)
    return flat, np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
