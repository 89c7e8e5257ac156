"""The validated bags: the one place that checks ids, offsets and weights, and that raises about them."""

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[Any]


@dataclass(slots=True)
class Bags:
    """Members of bags in CSR layout, read-only and C-contiguous; the structure was checked, the members were not.

    A backend tests the members with its own fast loop, block by block and each block before any row is looked up,
    and calls `raise_bad_member` when a test fails.
    """

    indices: Array  # (>= n_members,) int32 or int64
    indptr: Array  # (n_bags + 1,) of the same dtype: 0 <= indptr[0] <= ... <= indptr[-1] <= len(indices)
    weights: Array | None  # like indices, in the dtype of the table; None stands for weights of 1
    num_embeddings: int
    padding_idx: int | None = None  # members with this index are left out
    name: str = "X"  # what the user calls the ids, for the texts of errors
    weights_name: str = "X"
    shape: tuple[int, ...] | None = None  # of the user's ids, where they are no bags

    @property
    def n_bags(self) -> int:
        """Number of bags."""
        return len(self.indptr) - 1

    @property
    def n_members(self) -> int:
        """Number of members of all bags together."""
        return int(self.indptr[-1])

    def raise_bad_member(self) -> NoReturn:
        """Find the first member that may not be there and raise the ValueError that names it."""
        n_members = self.n_members
        indices = self.indices[:n_members]
        bad = np.flatnonzero((indices < 0) | (indices >= self.num_embeddings))
        if bad.size:
            raise ValueError(
                f"{self.name} contains the id {indices[bad[0]]} in {self._place(bad[0])}; "
                f"ids must be at least 0 and less than the number of embeddings, {self.num_embeddings}."
            )
        if self.weights is not None:
            bad = np.flatnonzero(~np.isfinite(self.weights[:n_members]))
            if bad.size:
                value = self.weights[bad[0]]
                what = "NaN" if np.isnan(value) else f"infinity or a value too large for {self.weights.dtype!r}"
                raise ValueError(
                    f"Input {self.weights_name} contains {what} in {self._place(bad[0])}, at id {indices[bad[0]]}."
                )
        raise ValueError(f"{self.name} was changed by another thread while it was read.")

    def _place(self, member: int) -> str:
        if self.shape is not None:
            return f"position {tuple(int(i) for i in np.unravel_index(member, self.shape))}"
        row = int(np.searchsorted(self.indptr, member, side="right")) - 1
        return f"row {row} (position {member})"


def frozen(array: Array, dtype: DTypeLike | None = None) -> Array:
    """Return a read-only, aligned, C-contiguous view of an array; a copy where the layout or dtype asks for one."""
    if dtype is not None and array.dtype != dtype:
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes inf, which the finite check reports
            array = array.astype(dtype)
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned and array.dtype.isnative):
        array = np.require(array, array.dtype.newbyteorder("="), ["C", "A"])
    array = array.view(np.ndarray)
    array.flags.writeable = False
    return array


def bags_from_csr(
    X: Any,
    *,
    dtype: DTypeLike,
    weighted: bool = True,
    padding_idx: int | None = None,
) -> Bags:
    """Take the rows of a CSR matrix as bags.

    Parameters
    ----------
    X : sparse matrix or array in CSR format
        Never modified. Duplicate columns are separate members, stored zeros are none.
    dtype : dtype
        The table's; weights of another dtype are converted.
    weighted : bool, default=True
        Whether the stored values weigh the members; otherwise they count as 1.
    padding_idx : int or None, default=None
        Members with this index are left out.

    Returns
    -------
    Bags

    Raises
    ------
    ValueError
        If indptr or the lengths of the arrays are not those of a CSR matrix.
    """
    indices, indptr = _index_pair(X.indices, X.indptr, "X")
    data = np.asarray(X.data)
    if data.ndim != 1 or data.dtype.kind not in "biuf":
        raise ValueError(f"X.data must be a 1-D array of real numbers, got {data.ndim}-D of {data.dtype!r}.")
    _check_indptr(indptr, X.shape[0], min(len(indices), len(data)), "X.indptr")
    if weighted:
        return Bags(indices, indptr, frozen(data, dtype), X.shape[1], padding_idx)
    data = data[: indptr[-1]]
    member = data != 0
    if not (member.all() and np.isfinite(np.sum(data))):
        indices, indptr = _without_stored_zeros(Bags(indices, indptr, frozen(data), X.shape[1]), member)
    return Bags(indices, indptr, None, X.shape[1], padding_idx)


def bags_from_ids(
    input: ArrayLike,  # noqa: A002
    offsets: ArrayLike | None,
    *,
    num_embeddings: int,
    dtype: DTypeLike,
    per_sample_weights: ArrayLike | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Bags:
    """Take ids in one of torch's layouts as bags: (B, N) ids, or 1-D ids and the offset of each bag.

    Every listed id is a member, whatever its weight. The weights are converted to ``dtype``.

    Raises
    ------
    TypeError
        If the ids, the offsets or the weights are of another kind than integer, integer and real.
    ValueError
        If the shapes do not fit, or the offsets decrease, do not start at 0 or overrun the ids.
    """
    ids = as_ids(input, "input")
    weights = None
    if per_sample_weights is not None:
        weights = np.asarray(per_sample_weights)
        if weights.dtype.kind not in "biuf":
            raise TypeError(f"per_sample_weights must be real numbers, got {weights.dtype!r}.")
        if weights.shape != ids.shape:
            raise ValueError(f"per_sample_weights must have the shape of input, {ids.shape}, got {weights.shape}.")
        weights = frozen(weights.reshape(-1), dtype)
    if ids.ndim == 2:
        if offsets is not None:
            raise ValueError("offsets must be None for a 2-D input: each row is a bag.")
        starts = np.arange(ids.shape[0] + 1, dtype=np.int64) * ids.shape[1]
    elif ids.ndim != 1:
        raise ValueError(f"input must be 1-D (with offsets) or 2-D, got {ids.ndim}-D of shape {ids.shape}.")
    elif offsets is None:
        raise ValueError("offsets must be given for a 1-D input: where each bag starts.")
    else:
        starts = as_ids(offsets, "offsets")
        if starts.ndim != 1:
            raise ValueError(f"offsets must be 1-D, got {starts.ndim}-D of shape {starts.shape}.")
        if not include_last_offset:
            if not len(starts) and len(ids):
                raise ValueError(f"offsets must not be empty: input has {len(ids)} ids, which are in no bag.")
            starts = np.append(starts, starts.dtype.type(len(ids)))
        elif not len(starts) or starts[-1] != len(ids):
            last = starts[-1] if len(starts) else "nothing"
            raise ValueError(
                f"With include_last_offset=True offsets must end with len(input) = {len(ids)}, got {last}."
            )
    indices, indptr = _index_pair(ids.reshape(-1), starts, "input")
    _check_indptr(indptr, len(indptr) - 1, len(indices), "offsets")
    return Bags(indices, indptr, weights, num_embeddings, padding_idx, "input", "per_sample_weights")


def as_ids(ids: ArrayLike, name: str) -> Array:
    """Return ids as an array of int32 or int64, of any shape; TypeError if they are no integers."""
    try:
        array = np.asarray(ids)
    except ValueError as error:
        raise ValueError(
            f"{name} must be a rectangular array ({error}). Bags of different lengths are 1-D ids and offsets."
        ) from None
    if array.dtype.kind not in "iu":
        if array.size:
            raise TypeError(f"{name} must contain integers, got {array.dtype!r}.")
        return array.astype(np.int64)
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} contains {array.max()}, which is beyond the range of int64.")
    return array if array.dtype in (np.int32, np.int64) else array.astype(np.int64)


def check_csr_source(X: Any) -> None:
    """Check the index arrays of a sparse matrix that SciPy will convert: its C++ reads what they say unchecked."""
    n_rows, n_columns = X.shape
    if X.format == "coo":
        for axis, (coords, limit) in enumerate(zip((X.row, X.col), X.shape, strict=True)):
            coords = as_ids(coords, f"X.{'row' if axis == 0 else 'col'}")
            if coords.shape != X.data.shape:
                raise ValueError(f"X.row, X.col and X.data must have one length, got {coords.shape}, {X.data.shape}.")
            if coords.size and (coords.min() < 0 or coords.max() >= limit):
                bad = coords[(coords < 0) | (coords >= limit)][0]
                raise ValueError(f"X contains the {'row' if axis == 0 else 'column'} {bad}; X has {limit}.")
    elif X.format in ("csc", "bsr"):
        block_rows, block_columns = X.blocksize if X.format == "bsr" else (1, 1)
        major, minor = (n_columns, n_rows) if X.format == "csc" else (n_rows // block_rows, n_columns // block_columns)
        indices, indptr = _index_pair(X.indices, X.indptr, "X")
        _check_indptr(indptr, major, min(len(indices), len(X.data)), "X.indptr")
        bad_indices = indices[: indptr[-1]]
        bad_indices = bad_indices[(bad_indices < 0) | (bad_indices >= minor)]
        if bad_indices.size:
            raise ValueError(f"X.indices contains {bad_indices[0]}; it must be at least 0 and less than {minor}.")


def _index_pair(indices: Array, indptr: Array, name: str) -> tuple[Array, Array]:
    """Both index arrays frozen, and of one dtype: int64 as soon as one of them is."""
    indices, indptr = as_ids(indices, f"{name}.indices"), as_ids(indptr, f"{name}.indptr")
    if indices.ndim != 1 or indptr.ndim != 1:
        raise ValueError(f"{name}.indices and indptr must be 1-D, got {indices.ndim}-D and {indptr.ndim}-D.")
    dtype = indices.dtype if indices.dtype == indptr.dtype else np.dtype(np.int64)
    return frozen(indices, dtype), frozen(indptr, dtype)


def _check_indptr(indptr: Array, n_bags: int, n_members: int, name: str) -> None:
    if len(indptr) != n_bags + 1:
        raise ValueError(f"{name} must have one entry per row and one more, {n_bags + 1}, got {len(indptr)}.")
    if indptr[0] != 0:
        raise ValueError(f"{name} must start at 0, got {indptr[0]}.")
    falls = indptr[1:] < indptr[:-1]
    if falls.any():
        row = int(np.argmax(falls))
        if row == n_bags - 1 and name == "offsets":
            raise ValueError(f"offsets overruns input: bag {row} starts at {indptr[row]}, input has {n_members} ids.")
        raise ValueError(f"{name} must not decrease, got {indptr[row]} and then {indptr[row + 1]} at row {row}.")
    if indptr[-1] > n_members:
        raise ValueError(f"{name} ends at {indptr[-1]}, past the {n_members} members that there are.")


def _without_stored_zeros(bags: Bags, member: Array) -> tuple[Array, Array]:
    """Return indices and indptr of the members alone, after a check of all that is stored."""
    indices = bags.indices[: bags.n_members]
    in_range = (indices >= 0) & (indices < bags.num_embeddings)
    if not (in_range.all() and (bags.weights is None or np.isfinite(bags.weights).all())):
        bags.raise_bad_member()
    kept = np.flatnonzero(member)
    indptr = np.searchsorted(kept, bags.indptr).astype(bags.indptr.dtype)
    return frozen(indices[kept]), frozen(indptr)
