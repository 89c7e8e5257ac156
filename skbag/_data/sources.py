"""What is looked at in sparse matrices of other formats before SciPy converts them."""

from typing import Any

from numpy.typing import NDArray

from skbag._data.bags import as_ids, check_indptr, check_order, index_pair

Array = NDArray[Any]


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
