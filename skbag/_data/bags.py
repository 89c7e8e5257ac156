"""The validated bags: the one place that checks ids, offsets and weights, and that raises about them."""

import reprlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from scipy.sparse import csr_array, issparse

from skbag._rules.pooling import Mode, modes_of, sums_in

if TYPE_CHECKING:
    from skbag._data.found import Found

Array = NDArray[Any]

RELATIVE = "mean", "sqrtn"  # modes in which a bag times a positive number is the same features
_AS_IT_IS = 0x101  # flags: C-contiguous and aligned, asked for one by one they take three times as long
_PIECE = 1 << 16  # members that are looked at, or summed, at once: some milliseconds, after which a call may be stopped
_ID_DTYPES = np.dtype("int32"), np.dtype("int64")


def is_relative(mode: Mode) -> bool:
    """Whether a bag times a positive number is the same features, and its weights matter."""
    return bool(sums_in(mode)) and all(name in RELATIVE for name in sums_in(mode))


@dataclass(slots=True)
class Bags:
    """Members of bags in CSR layout, read-only and C-contiguous; the shapes were checked, the contents were not.

    A backend tests with its own fast loop that indptr does not decrease, before it follows it, every id, before it
    looks a row up, and the weights. It calls `raise_bad_member` when a test fails.
    """

    indices: Array  # (>= n_members,) int32 or int64
    indptr: Array  # (n_bags + 1,) of the same dtype: indptr[0] = 0, 0 <= indptr[-1] <= len(indices)
    weights: Array | None  # like indices, in the dtype of the table; None stands for weights of 1
    num_embeddings: int
    padding_idx: int | None = None  # members with this index are left out; of the range of indices' dtype
    name: str = "X"  # what the user calls the ids, for the texts of errors
    weights_name: str = "X"
    indptr_name: str = "X.indptr"
    shape: tuple[int, ...] | None = None  # of the user's ids, where they are no bags
    is_rescaled: bool = False
    stored: tuple[Array, Array, Array] | None = None  # data, indices, indptr of a matrix that may not be canonical yet
    n_fields: int = 1  # a row of X is so many bags, one after the other
    without_zeros: bool = False  # whether a weight of 0 names no member
    column_names: Array | None = None  # of a data frame, for the texts of errors

    def __post_init__(self) -> None:
        if self.padding_idx is not None and self.padding_idx > np.iinfo(self.indices.dtype).max:
            self.padding_idx = None  # no id can be as large as that

    @property
    def n_bags(self) -> int:
        """Number of bags."""
        return len(self.indptr) - 1

    @property
    def n_rows(self) -> int:
        """Number of rows of X."""
        return self.n_bags // self.n_fields

    def rows_of(self, pooled: Any) -> Any:
        """Return what was made of bags as rows, (n_rows, n_fields * columns): no copy."""
        if self.n_fields == 1:
            return pooled
        return pooled.reshape(self.n_rows, self.n_fields * pooled.shape[1])

    def of_rows(self, rows: Array) -> "Bags":
        """Return the bags, which were checked, of some rows of X, copied together."""
        bags = rows
        if self.n_fields > 1:
            bags = (rows[:, None] * self.n_fields + np.arange(self.n_fields)).ravel()
        return self._some(bags, self.n_fields)

    def of_field(self, field: int) -> "Bags":
        """Return the bags, which were checked, of one field of each row, copied together."""
        return self._some(np.arange(field, self.n_bags, self.n_fields), 1)

    def _some(self, bags: Array, n_fields: int) -> "Bags":
        lengths = np.diff(self.indptr)[bags]
        indptr = np.concatenate(([0], np.cumsum(lengths))).astype(self.indptr.dtype)
        members = np.repeat(self.indptr[bags] - indptr[:-1], lengths) + np.arange(indptr[-1])
        weights = None if self.weights is None else frozen(self.weights[members])
        return Bags(
            frozen(self.indices[members]), frozen(indptr), weights, self.num_embeddings, self.padding_idx,
            n_fields=n_fields,
        )  # fmt: skip

    def beside(self, features: list[Any]) -> Any:
        """Return features of several modes, as rows, in one array: the modes of a field side by side."""
        several = [some.reshape(self.n_bags, -1) for some in features]
        return self.rows_of(np.hstack(several))

    @property
    def n_members(self) -> int:
        """Number of members of all bags together."""
        return int(self.indptr[-1])

    def rescaled(self) -> "Bags":
        """Return the bags, which were checked, with weights whose sums and squares stay in the range of the dtype.

        The weights of a bag are multiplied by a power of two, so that the sum of their absolute values is from about
        1 / (2 * members) to 1. The modes in `RELATIVE` do not see that.
        """
        n, weights = self.n_members, self.weights
        assert weights is not None
        weights, indptr = weights[:n].copy(), self.indptr
        if self.padding_idx is not None:
            weights[self.indices[:n] == self.padding_idx] = 0
        lengths = np.diff(indptr)
        filled = lengths > 0
        largest = np.zeros(self.n_bags, weights.dtype)
        if n:
            largest[filled] = np.maximum.reduceat(np.abs(weights), indptr[:-1][filled])
        exponents = np.frexp(largest)[1] + np.frexp(lengths.astype(np.float64))[1]
        scaled = np.ldexp(weights, np.repeat(-exponents, lengths))
        lost = (scaled == 0) & (weights != 0)  # beside a weight that is so much larger; but it still names a member
        scaled[lost] = np.copysign(np.finfo(weights.dtype).smallest_subnormal, weights[lost])
        return replace(self, weights=frozen(scaled), is_rescaled=True)

    def canonical(self, *, whole: bool = False) -> "Bags":
        """Return the bags of the same matrix, with what a row stores twice summed; such a row is sorted.

        Others stay as they are, unless ``whole`` asks for them, too: so a row is the same alone and beside any other.
        That is done in a copy, and in the dtype that the matrix stores, as its ``toarray`` and ``sum_duplicates`` do
        it. That indptr does not decrease was checked.
        """
        assert self.stored is not None
        weighted, dtype = self.weights is not None, None if self.weights is None else self.weights.dtype
        shape, name = (self.n_bags, self.num_embeddings), f"{self.name} (its duplicates summed)"
        summed = _summed(*self.stored, shape[1], whole=whole)
        bags = bags_of(summed, shape, dtype, weighted, self.padding_idx, name, self.without_zeros)
        bags.stored = None
        return bags

    def suits(self, mode: Mode, found: "Found") -> bool:
        """Whether what was found in the bags leaves them as they are for a mode."""
        anew = found.unsorted and self.stored is not None
        rescaled = found.extreme and is_relative(mode) and not self.is_rescaled
        return not (found.invalid or anew or rescaled)

    def made_for(self, mode: Mode, found: "Found") -> "Bags":
        """Return bags for a mode, by what a check of all of them has found: these, rescaled, or not looked at yet.

        Raises
        ------
        ValueError
            If an id is out of range, indptr falls or a weight is not finite.
        """
        if found.invalid or (found.extreme and not np.isfinite(self.weights[: self.n_members]).all()):  # type: ignore[index]
            self.raise_bad_member()
        if self.stored is not None:
            if found.unsorted:
                return self.canonical(whole="max" in modes_of(mode))  # a tie goes to the first column
            self.stored = None  # members as they are are what the matrix means
        return self if self.suits(mode, found) else self.rescaled()

    def raise_bad_member(self) -> NoReturn:
        """Find the first fall of indptr, or member that may not be there, and raise the ValueError that names it."""
        n_members = self.n_members
        check_order(self.indptr, n_members, self.indptr_name)
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
                column = indices[bad[0]]
                name = "" if self.column_names is None else f", which is column {str(self.column_names[column])!r}"
                raise ValueError(
                    f"Input {self.weights_name} contains {what} in {self._place(bad[0])}, at id {column}{name}."
                )
        raise ValueError(f"{self.name} was changed by another thread while it was read.")

    def _place(self, member: int) -> str:
        if self.shape is not None:
            return f"position {tuple(int(i) for i in np.unravel_index(member, self.shape))}"
        row = int(np.searchsorted(self.indptr, member, side="right")) - 1
        return f"row {row // self.n_fields} (position {member})"


def frozen(array: Array, dtype: DTypeLike | None = None) -> Array:
    """Return a read-only, aligned, C-contiguous view of an array; a copy where the layout or dtype asks for one."""
    if dtype is not None and array.dtype != dtype:
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes inf, which the finite check reports
            array = array.astype(dtype)
    if array.flags.num & _AS_IT_IS != _AS_IT_IS or not array.dtype.isnative:
        array = np.require(array, array.dtype.newbyteorder("="), ["C", "A"])
    array = array.view(np.ndarray)
    array.setflags(write=False)
    return array


def bags_from_csr(
    X: Any,
    *,
    dtype: DTypeLike,
    weighted: bool = True,
    padding_idx: int | None = None,
    without_zeros: bool = False,
) -> Bags:
    """Take the rows of a CSR matrix as bags.

    Parameters
    ----------
    X : sparse matrix or array in CSR format
        Never modified. Stored zeros are no members; what is stored twice is summed by `Bags.canonical`, if the backend
        finds that there is any.
    dtype : dtype
        The table's; weights of another dtype are converted.
    weighted : bool, default=True
        Whether the stored values weigh the members; otherwise they count as 1.
    padding_idx : int or None, default=None
        Members with this index are left out.
    without_zeros : bool, default=False
        Whether stored zeros are taken out beforehand: a sum does not see them, a maximum would.

    Returns
    -------
    Bags

    Raises
    ------
    ValueError
        If indptr or the lengths of the arrays are not those of a CSR matrix.
    """
    return bags_of((X.data, X.indices, X.indptr), X.shape, dtype, weighted, padding_idx, without_zeros=without_zeros)


def bags_of(
    arrays: tuple[Array, Array, Array],
    shape: tuple[int, int],
    dtype: DTypeLike | None,
    weighted: bool,
    padding_idx: int | None,
    name: str = "X",
    without_zeros: bool = False,
) -> Bags:
    """Take data, indices and indptr of a CSR matrix as bags; see `bags_from_csr`."""
    indices, indptr = index_pair(*arrays[1:], "X")
    data = np.asarray(arrays[0])
    if data.ndim != 1 or data.dtype.kind not in "biuf":
        raise ValueError(f"X.data must be a 1-D array of real numbers, got {data.ndim}-D of {data.dtype!r}.")
    check_indptr(indptr, shape[0], min(len(indices), len(data)), "X.indptr")
    bags = Bags(indices, indptr, None, shape[1], padding_idx, name, name, stored=(data, indices, indptr))
    bags.without_zeros = without_zeros = without_zeros or not weighted
    if without_zeros and not _all_finite_nonzero(data[: indptr[-1]]):
        data = data[: indptr[-1]]
        bags.indices, bags.indptr = _without_stored_zeros(replace(bags, weights=data), data)
        data = data[data != 0] if weighted else data
    if weighted:
        bags.weights = frozen(data, dtype)
    return bags


def for_numpy(values: Any, name: str) -> Any:
    """Return what NumPy is to make an array of: without the gradient of a tensor of torch, which NumPy is refused.

    ValueError if some entries are masked: NumPy would take what is behind the mask.
    """
    if type(values) is np.ndarray:
        return values
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(f"{name} must not have masked entries.")
    return values.detach() if getattr(values, "requires_grad", False) else values


def as_ids(ids: ArrayLike, name: str) -> Array:
    """Return ids as an array of int32 or int64, of any shape; TypeError if they are no integers."""
    ids = for_numpy(ids, name)
    try:
        array = np.asarray(ids)
    except ValueError as error:
        raise ValueError(
            f"{name} must be a rectangular array ({error}). Bags of different lengths are 1-D ids and offsets."
        ) from None
    if array.dtype == object and array.size:
        array = _integers_of(array, name)
    if array.dtype.kind not in "iu":
        if array.size:
            raise TypeError(f"{name} must contain integers, got {array.dtype!r}.")
        return np.empty(array.shape, np.int64)
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} contains {array.max()}, which is beyond the range of int64.")
    return array if array.dtype in _ID_DTYPES else array.astype(np.int64)


def _integers_of(objects: Array, name: str) -> Array:
    """Return integers that an array of objects holds, as nullable columns of pandas become one; TypeError if others."""
    other = next((v for v in objects.ravel() if not isinstance(v, Integral) or isinstance(v, bool)), None)
    if other is None:
        return np.array(objects.tolist())
    what = f"{type(other).__name__}, {reprlib.repr(other)}"
    if issparse(other):
        what = "a sparse matrix, whose rows are bags for EmbeddingBagVectorizer(init=weight).fit_transform"
    raise TypeError(f"{name} must contain integers, in an array or in a list for each bag, got {what}.")


def index_pair(indices: Array, indptr: Array, name: str) -> tuple[Array, Array]:
    """Both index arrays frozen, and of one dtype: int64 as soon as one of them is."""
    if not (type(indices) is type(indptr) is np.ndarray and indices.dtype in _ID_DTYPES and indptr.dtype in _ID_DTYPES):
        indices, indptr = as_ids(indices, f"{name}.indices"), as_ids(indptr, f"{name}.indptr")
    if indices.ndim != 1 or indptr.ndim != 1:
        raise ValueError(f"{name}.indices and indptr must be 1-D, got {indices.ndim}-D and {indptr.ndim}-D.")
    dtype = indices.dtype if indices.dtype == indptr.dtype else np.dtype(np.int64)
    return frozen(indices, dtype), frozen(indptr, dtype)


def check_indptr(indptr: Array, n_bags: int, n_members: int, name: str) -> None:
    """Check where indptr begins and ends; see `check_order`."""
    if len(indptr) != n_bags + 1:
        raise ValueError(f"{name} must have one entry per row and one more, {n_bags + 1}, got {len(indptr)}.")
    if indptr[0] != 0:
        raise ValueError(f"{name} must start at 0, got {indptr[0]}.")
    if not 0 <= indptr[-1] <= n_members:
        check_order(indptr, n_members, name)
        raise ValueError(f"{name} ends at {indptr[-1]}, past the {n_members} members that there are.")


def check_order(indptr: Array, n_members: int, name: str) -> None:
    falls = indptr[1:] < indptr[:-1]
    if falls.any():
        row = int(np.argmax(falls))
        if row == len(indptr) - 2 and name == "offsets":
            raise ValueError(f"offsets overruns input: bag {row} starts at {indptr[row]}, input has {n_members} ids.")
        raise ValueError(f"{name} must not decrease, got {indptr[row]} and then {indptr[row + 1]} at row {row}.")


def _pieces(n: int, step: int = 4096) -> Iterator[slice]:
    """Slices of n members, short enough that what is made of one takes no memory to speak of."""
    return (slice(first, min(n, first + step)) for first in range(0, n, step))


def _all_finite_nonzero(data: Array) -> bool:
    return all(np.isfinite(data[piece]).all() and data[piece].all() for piece in _pieces(len(data), 1 << 16))


def _without_stored_zeros(bags: Bags, data: Array) -> tuple[Array, Array]:
    """Return indices and indptr of the members alone, after a check of all that is stored."""
    check_order(bags.indptr, bags.n_members, bags.indptr_name)
    kept = np.empty(np.count_nonzero(data), bags.indices.dtype)
    indptr = np.zeros_like(bags.indptr)
    n_kept = 0
    for piece in _pieces(len(data)):
        ids, member = bags.indices[piece], data[piece] != 0
        if not (ids.min() >= 0 and ids.max() < bags.num_embeddings and np.isfinite(data[piece]).all()):
            bags.raise_bad_member()
        counts = np.concatenate(([0], np.cumsum(member))) + n_kept
        first, last = np.searchsorted(bags.indptr, (piece.start, piece.stop), side="right")
        indptr[first:last] = counts[bags.indptr[first:last] - piece.start]
        kept[n_kept : counts[-1]] = ids[member]
        n_kept = counts[-1]
    return frozen(kept), frozen(indptr)


def _row_pieces(indptr: Array) -> Iterator[tuple[int, int]]:
    """Cut the rows of CSR arrays into runs (first, last) of at most _PIECE entries, or one row."""
    first = 0
    while first < len(indptr) - 1:
        edge = indptr.dtype.type(
            min(int(indptr[first]) + _PIECE, int(indptr[-1]))
        )  # of another type it would cost a copy
        last = max(first + 1, int(np.searchsorted(indptr, edge, side="right")) - 1)
        yield first, last
        first = last


def _summed(
    data: Array, indices: Array, indptr: Array, n_columns: int, *, whole: bool
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return CSR arrays with what is stored twice summed, and such rows, or all of them, sorted.

    In pieces, since SciPy is not interrupted.
    """
    n = int(indptr[-1])
    data = frozen(data[:n], np.float32 if data.dtype == np.float16 else None)  # SciPy knows no float16
    summed, columns, starts = np.empty_like(data), np.empty(n, indices.dtype), np.zeros_like(indptr)
    end = 0
    for first, last in _row_pieces(indptr):
        X, begin, stop = csr_array((last - first, n_columns), dtype=data.dtype), indptr[first], indptr[last]
        X.data, X.indices = data[begin:stop].copy(), indices[begin:stop].copy()
        X.indptr = indptr[first : last + 1] - begin
        X.sum_duplicates()
        if not whole:
            lengths, left = np.diff(indptr[first : last + 1]), np.diff(X.indptr)
            was, now = np.repeat(lengths == left, lengths), np.repeat(lengths == left, left)
            X.data[now], X.indices[now] = data[begin:stop][was], indices[begin:stop][was]
        summed[end : end + X.nnz], columns[end : end + X.nnz] = X.data, X.indices
        starts[first + 1 : last + 1] = X.indptr[1:] + end
        end += X.nnz
    return summed[:end], columns[:end], starts
