"""What is looked at in X before scikit-learn and SciPy convert it."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._data.bags import RELATIVE, Bags, as_ids, check_indptr, check_order, index_pair
from skbag._data.ragged import flattened
from skbag._data.warned import level_of_user
from skbag._rules.pooling import Mode

Array = NDArray[Any]

_WIDE = 4  # times as many columns as members: not one number for each
_LOOKED_AT = 10_000  # of the members, for columns of another scale: a look should cost nothing
_COLUMNS = 4  # of which a few can stand out
_SHOWN = 40  # letters of a text or a list
_ENCODER = (
    "put an encoder in front, as in make_pipeline(OneHotEncoder(handle_unknown='ignore'), ...) or a ColumnTransformer"
)
_SOME_ROWS = 30  # with fewer, numbers may happen to be whole, or of another size
_BINARY = 2  # classes or counts so small may be anything
_TIMES, _SHARE = 10.0, 1 / 3  # so many times as large are values that hold this share of X


def check_no_column(X: Any) -> None:
    """Check that X is a matrix, and not a column of what has to become one first.

    Raises
    ------
    ValueError
        If X has texts, dates, or lists of ids or tokens.
    """
    kind = getattr(getattr(X, "dtype", None), "kind", "O")
    if kind in "biufc":
        return
    if kind in "mM":
        raise ValueError(f"X must be a matrix of numbers, got the dtype {X.dtype}.")
    column_of = None
    if len(getattr(X, "shape", ())) == 2:
        if X.shape[1] != 1 or isinstance(X, np.ndarray):
            return
        X, column_of = _column(X, 0), X.columns[0] if hasattr(X, "columns") else None  # of a data frame
    if str(getattr(X, "dtype", "")).lower().startswith("categor"):  # of pandas and polars
        raise ValueError(f"X must be a matrix of numbers, got a column of categories: {_ENCODER}.")
    column = X if np.iterable(X) and not isinstance(X, str | bytes) else ()
    for name in ("to_pylist", "to_list"):  # of Arrow, of pandas and polars
        column = getattr(X, name)() if hasattr(X, name) else column
    first = next((row for row in column if row is not None), None)
    tokens = isinstance(first, list | tuple | np.ndarray) and len(first) > 0 and isinstance(first[0], str | bytes)
    if isinstance(first, str | bytes) or tokens:
        what, vectorizer = ("lists of tokens", "analyzer=list") if tokens else ("texts", "")
        may_be_rows = tokens and len({len(row) for row in column if row is not None}) == 1
        rows = f" If they are rows of categories, {_ENCODER}." if may_be_rows else ""
        example = repr(str(first)) if len(str(first)) <= _SHOWN else f"{str(first)[:_SHOWN]!r}..."
        alone = "" if column_of is None else f" It takes the column alone, X[{column_of!r}]."
        raise ValueError(
            f"X must be a matrix, got {what}, like {example}: put a vectorizer in front, as in "
            f"make_pipeline(TfidfVectorizer({vectorizer}), ...).{alone}{rows}"
        )
    if isinstance(first, list | tuple | np.ndarray) and flattened(X, "X") is not None:
        raise ValueError(
            "X must be a matrix with a column for every id, got lists of ids: make one with "
            "skbag.bags_to_csr(X, num_embeddings=...)."
        )


def place_of_string(X: Any) -> str:
    """Return which value of a table is a string that is no number, and what to put in front; empty if there is none."""
    if len(getattr(X, "shape", ())) != 2:
        return ""
    names = list(X.columns) if hasattr(X, "dtypes") else range(X.shape[1])
    for k, name in enumerate(names):
        for row, value in enumerate(np.asarray(_column(X, k), object)):
            if isinstance(value, str | bytes) and not _is_number(value):
                return f"X must be a matrix of numbers, got {value!r} in row {row}, column {name!r}: {_ENCODER}."
    return ""


def _column(X: Any, k: int) -> Any:
    """Return a column of a data frame, as it is, or of what an array can be made of."""
    if hasattr(X, "iloc"):
        return X.iloc[:, k]
    return X[X.columns[k]] if hasattr(X, "dtypes") else np.asarray(X, object)[:, k]


def _is_number(text: str | bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_source(X: Any) -> None:
    """Check the arrays of a sparse matrix that SciPy may convert: its C++ reads what they say unchecked.

    Raises
    ------
    ValueError
        If the values are no real numbers, or an index or the length of an array is not what the shape allows.
    """
    if X.format not in ("lil", "dok") and X.data.dtype.kind not in "biuf":
        what = "Complex data not supported" if X.data.dtype.kind == "c" else "X must contain real numbers"
        raise ValueError(f"{what}: X.data has {X.data.dtype!r}.")
    check = {"coo": _check_coo, "csc": _check_blocks, "bsr": _check_blocks, "lil": _check_lil, "dia": _check_dia}
    if X.format in check:
        check[X.format](X)


def _check_coo(X: Any) -> None:
    for name, coords, limit in (("row", X.row, X.shape[0]), ("column", X.col, X.shape[1])):
        coords = as_ids(coords, f"the {name} indices of X")
        if coords.shape != X.data.shape:
            raise ValueError(
                f"The {name} indices and the data of X must be as many, got {coords.shape}, {X.data.shape}."
            )
        _check_limit(coords, limit, name)


def _check_blocks(X: Any) -> None:
    block = (1, 1)
    if X.format == "bsr":
        if X.data.ndim != 3 or 0 in X.data.shape[1:]:
            raise ValueError(f"X.data must be of shape (n_blocks, rows, columns), got {X.data.shape}.")
        block = X.data.shape[1:]
    n_rows, n_columns = X.shape[0] // block[0], X.shape[1] // block[1]
    major, minor, name = (n_columns, n_rows, "row") if X.format == "csc" else (n_rows, n_columns, "column")
    indices, indptr = index_pair(X.indices, X.indptr, "X")
    check_indptr(indptr, major, min(len(indices), len(X.data)), "X.indptr")
    check_order(indptr, len(indices), "X.indptr")
    _check_limit(indices[: indptr[-1]], minor, name)


def _check_lil(X: Any) -> None:
    if len(X.rows) != X.shape[0] or len(X.data) != X.shape[0]:
        raise ValueError(f"X.rows and X.data must have one list per row, {X.shape[0]}.")
    for row, (ids, values) in enumerate(zip(X.rows, X.data, strict=True)):
        if len(ids) != len(values):
            raise ValueError(f"X has {len(ids)} columns and {len(values)} values in row {row}.")
        if len(ids) and not (min(ids) >= 0 and max(ids) < X.shape[1]):
            raise ValueError(f"X contains a column in row {row} that is not at least 0 and less than {X.shape[1]}.")


def _check_dia(X: Any) -> None:
    if X.data.ndim != 2 or as_ids(X.offsets, "X.offsets").shape != (len(X.data),):
        raise ValueError(f"X.offsets must have one entry per row of X.data, got {X.offsets.shape}, {X.data.shape}.")


def _check_limit(ids: Array, limit: int, name: str) -> None:
    if ids.size and (ids.min() < 0 or ids.max() >= limit):
        bad = ids[(ids < 0) | (ids >= limit)][0]
        raise ValueError(f"X contains the {name} index {bad}; it must be at least 0 and less than {limit}.")


def warn_of_ids(X: Array) -> None:
    """Warn of a dense matrix that may be one of ids: whole numbers that are larger than there are columns."""
    if len(X) < _SOME_ROWS:
        return
    largest = X.max(initial=0)
    if largest > max(_BINARY, X.shape[1]) and X.min(initial=0) >= 0 and largest < np.inf and (np.rint(X) == X).all():
        warnings.warn(
            f"X is a dense matrix of whole numbers up to {largest:.6g} in {X.shape[1]} columns: each is taken as the "
            "weight of its column. If they are ids, make a matrix with a column for every id: "
            "skbag.bags_to_csr(X, num_embeddings=...) for lists of ids, OneHotEncoder for a column of each category. "
            "If they are amounts, scale them first, for example with StandardScaler.",
            UserWarning,
            stacklevel=level_of_user(),
        )


def warn_of_scales(bags: Bags, mode: Mode) -> None:
    """Warn if a few columns are of another scale than all others, in modes that divide by what a bag weighs."""
    if mode not in RELATIVE or bags.weights is None or bags.n_fields > 1 or bags.n_rows < _SOME_ROWS:
        return
    n = min(_LOOKED_AT, bags.n_members)
    columns, members, sizes = None, bags.indices[:n], np.abs(bags.weights[:n])
    if bags.padding_idx is not None:
        members, sizes = (array[bags.indices[:n] != bags.padding_idx] for array in (members, sizes))
    if bags.num_embeddings > _WIDE * n:
        columns, members = np.unique(members, return_inverse=True)
    count = np.bincount(members)
    named = np.flatnonzero(count)
    if len(named) < _COLUMNS:
        return
    total = np.bincount(members, sizes)[named]
    columns, size, whole = named if columns is None else columns, total / count[named], total.sum()
    large = size > _TIMES * np.median(size)
    if total[large].sum() > _SHARE * whole:
        first, others = columns[np.where(large, total, 0).argmax()], np.median(size[~large])
        warnings.warn(
            f"{large.sum()} of the columns of X, like column {first}, hold {total[large].sum() / whole:.0%} of the sum "
            f"of its absolute values: theirs are around {np.median(size[large]):.3g}, those of the others around "
            f"{others:.3g}. mode={mode!r} divides a row by what all of it weighs, so little is left of the others. "
            "Scale them first, for example with StandardScaler or MaxAbsScaler in a ColumnTransformer, counts with "
            "TfidfTransformer(sublinear_tf=True), or use mode='sum'.",
            UserWarning,
            stacklevel=level_of_user(),
        )
