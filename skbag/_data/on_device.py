"""Bags whose arrays lie on a GPU, and belong to another library."""

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from skbag._data.bags import Bags, bags_of

Array = NDArray[Any]

CSR = "data", "indices", "indptr"
_CUDA = 2, 13  # what DLPack calls memory of an NVIDIA GPU, and memory that it shares with the host


@dataclass(slots=True)
class DeviceBags(Bags):
    """Bags whose arrays lie on a GPU, as CuPy's do; nothing but their shapes and dtypes was checked.

    The arrays are ``skbag._cuda.lending.Lent``, and only read. Unlike in `Bags`, ``weights`` is None; ``values`` are
    the stored ones, in any dtype. They weigh the members if ``weighted``, otherwise they only say who is one: a stored
    zero is none.
    """

    values: Any = None
    weighted: bool = True
    n_stored: int = 0
    dtype: DTypeLike = np.float64  # what weights are converted to
    length: int = 0  # members of all bags, once they were checked
    longest: int = 0  # members of the longest bag, too

    @property
    def n_members(self) -> int:
        """Number of members of all bags together, once they were checked."""
        return self.length

    @property
    def arrays(self) -> tuple[Any, Any, Any]:
        """Return the values, the ids and where each bag begins."""
        return self.values, self.indices, self.indptr

    def on_host(self) -> Bags:
        """Copy the arrays to the host."""
        arrays = tuple(array.host() for array in self.arrays)
        return bags_of(arrays, (self.n_bags, self.num_embeddings), self.dtype, self.weighted, self.padding_idx)

    def of_rows(self, rows: Array) -> Bags:
        """Return the bags of some rows of X, on the host."""
        return self.on_host().of_rows(rows)

    def raise_bad_member(self) -> NoReturn:
        """Find what is wrong with the arrays, and raise the ValueError that says so."""
        self.on_host().raise_bad_member()


def is_lent(array: Any) -> bool:
    """Whether an array says that it lies on an NVIDIA GPU, by ``__cuda_array_interface__`` or ``__dlpack_device__``."""
    if type(array) is np.ndarray:
        return False
    if hasattr(array, "__cuda_array_interface__"):
        return True
    return hasattr(array, "__dlpack__") and array.__dlpack_device__()[0] in _CUDA


_ON_HOST = (np.ndarray,) * 3


def is_on_device(X: Any) -> bool:
    """Whether X is a CSR matrix of arrays on a GPU; TypeError if only some are, or X is no CSR matrix."""
    if type(X) is np.ndarray:  # of which one of dates has no buffer to ask for
        return False
    kinds = type(getattr(X, "data", None)), type(getattr(X, "indices", None)), type(getattr(X, "indptr", None))
    if kinds == _ON_HOST:  # a small call would spend its time on looking closer
        return False
    there = [name for name in CSR if is_lent(getattr(X, name, None))]
    if is_lent(X) or (there and getattr(X, "format", "csr") != "csr"):
        raise TypeError(f"X must be a CSR matrix if it is on a GPU, got {type(X).__name__}.")
    if there and len(there) < len(CSR):
        raise TypeError(
            f"X must be on the host or on a GPU as a whole, got {' and '.join(there)} on a GPU and the rest "
            "on the host."
        )
    return bool(there)


def bags_from_device(
    arrays: tuple[Any, Any, Any], shape: tuple[int, int], *, dtype: DTypeLike, weighted: bool = True,
    padding_idx: int | None = None,
) -> DeviceBags:  # fmt: skip
    """Take the rows of a CSR matrix that lies on a GPU as bags, without a copy; see `bags_from_csr`.

    Parameters
    ----------
    arrays : data, indices and indptr of the matrix
        ``skbag._cuda.lending.Lent``, read-only ones or not.
    shape, dtype, weighted, padding_idx
        As in `bags_from_csr`.

    Raises
    ------
    TypeError
        If the index arrays are not int32 or int64, or the values are no real numbers.
    ValueError
        If the arrays have other shapes than those of a CSR matrix, or are not contiguous and aligned.
    """
    for name, array, kinds in zip(CSR, arrays, ("biuf", "i", "i"), strict=True):
        found = array.dtype
        if found.kind not in kinds or (kinds == "i" and found.itemsize < 4) or found == np.float16:
            allowed = "int32 or int64" if kinds == "i" else "real numbers, and not of float16"
            raise TypeError(f"X.{name} must be an array of {allowed}, got {found!r}.")
        if len(array.shape) != 1 or not array.is_contiguous or array.address % found.itemsize:
            raise ValueError(
                f"X.{name} must be 1-D, contiguous and aligned, got the shape {array.shape} with the strides "
                f"{array.strides} at the address {array.address}."
            )
    data, indices, indptr = arrays
    if indptr.shape[0] != shape[0] + 1:
        raise ValueError(f"X.indptr must have one entry per row and one more, {shape[0] + 1}, got {indptr.shape[0]}.")
    n_stored = min(indices.shape[0], data.shape[0])
    return DeviceBags(
        indices, indptr, None, int(shape[1]), padding_idx,
        values=data, weighted=weighted, n_stored=n_stored, dtype=dtype,
    )  # fmt: skip


def on_host(array: Any) -> Array:
    """Return an array of any library as a NumPy array, copied from the GPU if it is there."""
    if hasattr(array, "get"):  # of CuPy
        return np.asarray(array.get())
    return np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)  # of torch
