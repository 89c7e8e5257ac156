"""Tables of float32 numbers that are stored in fewer bytes."""

from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from skbag._data.bags import for_numpy, frozen
from skbag._data.resident import Resident

Array = NDArray[Any]

# What numbers are kept as: NumPy has no bfloat16, and kernels tell dtypes apart by these; see ``_cpu.storage``.
_BITS = {"float16": np.uint16, "bfloat16": np.int16, "int8": np.int8}
BITS: dict[str, np.dtype[Any]] = {name: np.dtype(kind) for name, kind in _BITS.items()}
_LARGEST = {"float16": 65504.0, "bfloat16": (2 - 2**-7) * 2.0**127}
_FLOAT32 = np.dtype(np.float32)
_ROWS = 1 << 14  # at once
_ALIGNMENT = 64  # bytes of a cache line: a row of 16 float32 then lies in one line, not in two
_NAMED = 10  # rows that an error names
_PIECE = 1 << 24  # bytes that are copied at once


def empty_table(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return memory that begins on a cache line."""
    n_bytes = prod(shape) * dtype.itemsize
    buffer = np.empty(n_bytes + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + n_bytes].view(dtype).reshape(shape)


def copy_into(target: Array, source: Any) -> None:
    """Copy an array to another one of its shape in pieces, between which a call can be interrupted."""
    step = max(1, _PIECE // max(1, target[:1].nbytes))
    for first in range(0, len(target), step):
        target[first : first + step] = source[first : first + step]


def sealed(array: Array) -> Array:
    """Return an array of `empty_table` that nobody writes to any more."""
    array.flags.writeable = array.base.flags.writeable = False  # type: ignore[union-attr]
    return array


def is_sealed(array: Any) -> bool:
    """Whether an array is all of one that `sealed` has returned: it need not be copied to stay what it is."""
    memory = getattr(array, "base", None)
    if not isinstance(memory, np.ndarray) or memory.dtype != np.uint8 or memory.ndim != 1:
        return False
    ours = memory.flags.owndata and memory.nbytes == array.nbytes + _ALIGNMENT  # as `empty_table` makes it
    return bool(ours and not memory.flags.writeable and not array.flags.writeable and array.flags.c_contiguous)


def name_of(dtype: Any) -> str:
    """Return the name of a dtype, which may be one that NumPy lacks; TypeError if it is none."""
    if isinstance(dtype, str) and dtype == "bfloat16":
        return dtype
    return np.dtype(object if dtype is None else dtype).name  # NumPy takes None for float64


class QuantizedTable:
    """A table of vectors in half, or a quarter, of the memory of float32.

    It goes wherever a table goes: to :func:`~skbag.embedding_bag`, to ``init`` and ``from_pretrained``. Kernels read
    the small numbers from memory and compute with them in float32, and the results are float32. Pooling is bound by
    memory, so it is faster, too.

    ========== ===== ================================ ==============================================
    dtype      bytes largest error of a number x      what is stored
    ========== ===== ================================ ==============================================
    "float16"  2     ``abs(x) / 2048``, ``3e-8``      x, up to 65504
    "bfloat16" 2     ``abs(x) / 256``                 the upper half of the float32 x, rounded
    "int8"     1     ``max(abs(row)) / 254``          ``round(x / scale)``, ``scale = max(abs(row)) / 127``
    ========== ===== ================================ ==============================================

    To the outside it is a read-only array of float32: ``numpy.asarray(table)`` makes that, ``table[rows]`` makes some
    rows of it.

    Parameters
    ----------
    values : array-like of shape (num_embeddings, embedding_dim)
        What is stored, without a copy if it is C-contiguous: float16; bfloat16 as the package ml_dtypes has it, or as
        its bits in uint16; or int8.
    scales : array-like of shape (num_embeddings,) or (num_embeddings, 1), default=None
        What multiplies the rows of int8, finite and not negative; None for the others.

    Attributes
    ----------
    storage : {"float16", "bfloat16", "int8"}
        How the numbers are stored.
    bits : ndarray of shape (num_embeddings, embedding_dim)
        Their bits: uint16 for float16, int16 for bfloat16, int8.
    scales : ndarray of shape (num_embeddings,) or None
        float32.
    shape : tuple of int
    dtype : dtype
        float32: what is read, and what the results are.
    nbytes : int
        Bytes of memory.

    Raises
    ------
    TypeError
        If ``values`` have another dtype.
    ValueError
        If they are not 2-D with a column at least, or if ``scales`` do not fit them.

    See Also
    --------
    EmbeddingBagVectorizer.quantize : The same for fitted estimators.

    Examples
    --------
    >>> import numpy as np
    >>> from skbag import QuantizedTable, embedding_bag
    >>> weight = np.array([[1.0, -2.0], [0.5, 0.25], [3.0, 1.0]], dtype=np.float32)
    >>> small = QuantizedTable.of(weight, "int8")
    >>> small
    QuantizedTable(shape=(3, 2), storage='int8')
    >>> embedding_bag([[0, 2]], small).round(2)
    array([[ 2. , -0.5]], dtype=float32)
    >>> weight.nbytes, small.nbytes
    (24, 18)
    """

    ndim = 2
    dtype = _FLOAT32

    def __init__(self, values: ArrayLike, scales: ArrayLike | None = None) -> None:
        array = np.asarray(for_numpy(values, "values"))
        storage = array.dtype.name
        if storage in ("uint16", "void16"):  # what NumPy calls bfloat16 that comes from an .npy file
            storage = "bfloat16"
        if storage not in BITS:
            raise TypeError(f"values must be float16, bfloat16 (or its bits in uint16) or int8, got {array.dtype!r}.")
        if array.ndim != 2 or array.shape[1] == 0:
            raise ValueError(f"values must be of shape (num_embeddings, embedding_dim >= 1), got {array.shape}.")
        if (scales is not None) != (storage == "int8"):
            raise ValueError(f"scales must be given for int8 and for nothing else, got values of {storage}.")
        if array.itemsize > 1 and not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        self.storage, self._stored = storage, frozen(np.ascontiguousarray(array).view(BITS[storage]))
        self.scales: Array | None = None
        if scales is not None:
            given = np.asarray(scales)
            if given.dtype.kind not in "fiu" or given.shape not in ((len(array),), (len(array), 1)):
                raise ValueError(
                    f"scales must be one number per row of values, {len(array)}, got {given.dtype!r} of {given.shape}."
                )
            with np.errstate(over="ignore"):
                self.scales = frozen(given.reshape(-1), np.float32)
            if not (np.isfinite(self.scales).all() and (self.scales >= 0).all()):
                row = int(np.flatnonzero(~(np.isfinite(self.scales) & (self.scales >= 0)))[0])
                raise ValueError(f"scales must be finite and not negative, got {given.reshape(-1)[row]} at row {row}.")

    @classmethod
    def of(cls, table: ArrayLike, dtype: DTypeLike = "int8") -> Self:
        """Round a table to numbers of fewer bytes.

        Parameters
        ----------
        table : array-like of shape (num_embeddings, embedding_dim)
            Finite.
        dtype : {"int8", "float16", "bfloat16"} or dtype, default="int8"

        Returns
        -------
        QuantizedTable
            Of a copy. Numbers are rounded to the nearest, of two to the even one.

        Raises
        ------
        TypeError
            If the table has no real numbers.
        ValueError
            If ``dtype`` is another one; if a number is not finite, or larger than the dtype has: the message names the
            rows.
        """
        storage = check_storage(dtype)
        array = table if isinstance(table, QuantizedTable) else np.asarray(for_numpy(table, "table"))
        if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[1] == 0:
            raise TypeError(
                f"table must be of real numbers and of shape (num_embeddings, embedding_dim >= 1), got {array.dtype!r} "
                f"of {array.shape}."
            )
        bits = empty_table(array.shape, BITS[storage])
        scales = np.empty(len(array), np.float32) if storage == "int8" else None
        bad: list[int] = []
        for first in range(0, len(array), _ROWS):
            rows = np.asarray(array[first : first + _ROWS])
            some = None if scales is None else scales[first : first + _ROWS]
            bad += (np.flatnonzero(~_round(rows, storage, bits[first : first + _ROWS], some)) + first).tolist()
        if bad:
            raise ValueError(_cannot_hold(array, bad, storage))
        return cls._of_bits(bits, scales)

    @classmethod
    def _of_bits(cls, bits: Any, scales: Array | None = None) -> Self:
        """Make a table of bits as ``bits``, which may be `Resident`, has them, without a look at them."""
        table = object.__new__(cls)
        table.storage = next(name for name, dtype in BITS.items() if dtype == bits.dtype)
        table._stored, table.scales = bits, scales
        return table

    @property
    def stored(self) -> Any:
        """What has the bits: an array, or a `Resident` if they were trained on a GPU."""
        return self._stored

    @property
    def bits(self) -> Array:
        return self._stored.host() if isinstance(self._stored, Resident) else self._stored

    @property
    def shape(self) -> tuple[int, int]:
        n_rows, dim = self._stored.shape
        return n_rows, dim

    @property
    def nbytes(self) -> int:
        n_bytes = prod(self.shape) * self._stored.dtype.itemsize
        return n_bytes + (0 if self.scales is None else self.scales.nbytes)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        """Return rows in float32."""
        if isinstance(rows, tuple):
            return self[rows[0]][(..., *rows[1:])] if len(rows) > 1 else self[rows[0]]
        bits = self.bits[rows]
        if self.storage == "float16":
            return bits.view(np.float16).astype(np.float32)
        if self.storage == "bfloat16":
            return np.left_shift(bits.view(np.uint16), 16, dtype=np.uint32).view(np.float32)
        return bits * np.asarray(self.scales)[rows][..., None]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError(f"An array of a QuantizedTable of {self.storage} is always a copy.")
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def kept_on(self, device: Any, put: Any) -> tuple[Any, Any]:
        """Return what kernels read on a GPU; it stays there for the next call.

        Parameters
        ----------
        device : object
            The GPU.
        put : callable
            What copies an array there.

        Returns
        -------
        bits : array
            Copied by ``put``, or what it made before.
        scales : array or None
            Likewise.
        """
        if isinstance(self._stored, Resident):
            return self._stored.on(device), None
        kept = vars(self).get("_kept")
        if kept is None or kept[0] is not device:
            kept = self._kept = device, put(self.bits), None if self.scales is None else put(self.scales)
        return kept[1:]

    def __getstate__(self) -> dict[str, Any]:
        return {"storage": self.storage, "bits": self.bits, "scales": self.scales}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.storage, self._stored, self.scales = state["storage"], state["bits"], state["scales"]

    def take(self, rows: Any) -> Self:
        """Return a table of some rows, stored in the same way.

        Parameters
        ----------
        rows : array-like of int, array-like of bool, or slice
            Which, as NumPy takes them.

        Returns
        -------
        QuantizedTable
            Of a copy.
        """
        some = self.bits[rows]
        bits = empty_table(some.shape, some.dtype)
        bits[:] = some
        return self._of_bits(bits, None if self.scales is None else self.scales[rows].copy())

    def scaled(self, factors: Array) -> Self:
        """Return the table with its rows multiplied, stored in the same way.

        Parameters
        ----------
        factors : ndarray of shape (num_embeddings,)
            Of at most 1.

        Returns
        -------
        QuantizedTable
            Of a copy, but for the bits of int8.
        """
        if self.scales is not None:
            return self._of_bits(self.bits, self.scales * factors)
        bits = empty_table(self.shape, self.bits.dtype)
        for first in range(0, len(self), _ROWS):
            some = slice(first, first + _ROWS)
            bits[some] = rounded(self[some] * factors[some, None].astype(np.float32), bits.dtype)
        return self._of_bits(bits)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, storage={self.storage!r})"


def check_storage(dtype: Any) -> str:
    """Return the name of a dtype of a `QuantizedTable`; ValueError if it is another one."""
    try:
        storage = name_of(dtype)
    except TypeError:
        storage = ""
    if storage not in BITS:
        raise ValueError(f"dtype must be 'float16', 'bfloat16' or 'int8', got {dtype!r}.")
    return storage


def arrays_of(table: Any) -> tuple[Array, Array | None]:
    """Return what kernels read of a table: an array, and what multiplies its rows, or None."""
    if not isinstance(table, QuantizedTable):
        return table, None
    return frozen(table.bits), None if table.scales is None else frozen(table.scales)


def table_of(values: Any) -> Any:
    """Return what a model has of a table, the bits of a `QuantizedTable` or an array, as a table."""
    return QuantizedTable._of_bits(values) if values.dtype in BITS.values() else values


def dtype_of(table: Any) -> str:
    """Return the name of what a table is stored as, as ``dtype`` of an estimator has it."""
    return table.storage if isinstance(table, QuantizedTable) else table.dtype.name


def values_of(table: Any) -> Array:
    """Return what a model has of a table: the bits of a `QuantizedTable`, or an array; the inverse of `table_of`."""
    return table.bits if isinstance(table, QuantizedTable) else table


def numbers_of(values: Array) -> Array:
    """Return rows of what a model has of a table as floats."""
    numbers: Array = table_of(values)[:]
    return numbers


def rounded_by_chance(numbers: Array, bits: np.dtype[Any], rng: np.random.Generator) -> Array:
    """Return floats as the bits of float16 or bfloat16: up or down, with the probabilities that keep the mean.

    As steps of training store rows, see ``_cpu.tile.rounded_to``: what can be stored stays as it is, and what is too
    large becomes infinite.
    """
    mantissa, lowest = (10, -14) if bits == BITS["float16"] else (7, -126)
    exponent = np.maximum(np.frexp(numbers)[1] - 1, lowest) - mantissa
    parts = np.ldexp(numbers.astype(np.float64), -exponent)
    whole = np.ldexp(np.floor(parts + rng.random(parts.shape)), exponent)
    with np.errstate(over="ignore"):
        return rounded(whole.astype(np.float32), bits)


def rounded(numbers: Array, bits: np.dtype[Any]) -> Array:
    """Return float32 numbers as the bits of float16 or bfloat16, rounded to the nearest."""
    if bits == BITS["float16"]:
        return numbers.astype(np.float16).view(bits)
    whole = np.ascontiguousarray(numbers).view(np.uint32)
    return ((whole + 0x7FFF + (whole >> 16 & 1)) >> 16).astype(np.uint16).view(bits)


def _round(rows: Array, storage: str, bits: Array, scales: Array | None) -> Array:
    """Write rows to ``bits`` and ``scales``; return for each whether all of its numbers can be had."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        single = rows.astype(np.float32)
        if storage != "int8":
            bits[:] = rounded(single, bits.dtype)
            exponent = 0x7C00 if storage == "float16" else 0x7F80
            return np.isfinite(single).all(axis=1) & ((bits & exponent) != exponent).all(axis=1)
        assert scales is not None
        largest = np.abs(single).max(axis=1)
        scales[:] = largest / np.float32(127)
        factors = np.where(scales > 0, largest, 1).astype(np.float64)
        bits[:] = np.rint(np.clip(single.astype(np.float64) * (127 / factors)[:, None], -127, 127))
        bits[scales == 0] = 0
        good: Array = np.isfinite(largest)
        return good


def _cannot_hold(table: Any, bad: list[int], storage: str) -> str:
    """Return the text of an error that names rows."""
    told = ", ".join(map(str, bad[:_NAMED])) + (f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else "")
    rows = np.asarray(table[bad[0]])
    first = rows[np.abs(np.nan_to_num(rows.astype(np.float64), nan=np.inf)).argmax()]
    most = f"of {storage}, at most {_LARGEST[storage]:.5g}" if storage in _LARGEST else "that float32 has"
    return (
        f"Rows of the table cannot be stored as {storage}: {told}. Every number must be finite and {most} in size, and "
        f"row {bad[0]} has {first}. Use another dtype, or divide the table by its largest number."
    )
