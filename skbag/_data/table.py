"""The table: drawn, taken from an array or mapped from a file, and always checked."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Integral
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from skbag._data.bags import for_numpy, frozen
from skbag._data.quantized import BITS, QuantizedTable, copy_into, empty_table, name_of, rounded
from skbag._data.resident import Resident
from skbag._data.tensors import map_tensor, names_tensors
from skbag._threads import effective_threads, run_each

Array = NDArray[Any]

_DTYPES = np.dtype("float32"), np.dtype("float64")
_OF_NAMES = {dtype.name: dtype for dtype in _DTYPES}  # a small call would spend its time on looking at dtypes
_SMALL = "float16", "bfloat16", "void16"  # the last is what an .npy file has of bfloat16
_DRAWN = 1 << 16  # numbers at once: they stay in the cache, and calls of NumPy cost nothing to speak of
_SHARE = 4 * _DRAWN  # numbers of a thread at once
_ADDRESSABLE = 2**63 - 1 - 64  # bytes


def check_dtype(dtype: Any, stored: tuple[str, ...] = ()) -> np.dtype[Any]:
    """Return the dtype in which a table is computed with; ValueError for a dtype that it cannot have.

    Parameters
    ----------
    dtype : dtype
        float32, float64 or, if it is among ``stored``, one of `QuantizedTable`, which is computed with in float32.
    stored : tuple of str
    """
    if isinstance(dtype, str) and dtype in _OF_NAMES:
        return _OF_NAMES[dtype]
    try:
        name = name_of(dtype)
    except TypeError:
        name = ""
    if name in stored:
        return _DTYPES[0]
    if name not in ("float32", "float64"):
        *most, last = map(repr, ("float32", "float64", *stored))
        raise ValueError(f"dtype must be {', '.join(most)} or {last}, got {dtype!r}.")
    return np.dtype(name)


def storage_of(dtype: Any) -> str | None:
    """Return the name of a checked dtype if it is one of `QuantizedTable`."""
    name = name_of(dtype)
    return name if name in BITS else None


def check_padding_idx(padding_idx: int | None, num_embeddings: int) -> int | None:
    """Return the index as one from the front; ValueError if the table has no such row."""
    if padding_idx is None:
        return None
    if not isinstance(padding_idx, Integral):
        raise TypeError(f"padding_idx must be an integer or None, got {padding_idx!r}.")
    if not -num_embeddings <= padding_idx < num_embeddings:
        raise ValueError(
            f"padding_idx must be at least {-num_embeddings} and less than the number of embeddings, "
            f"{num_embeddings}, got {padding_idx}."
        )
    return int(padding_idx) % num_embeddings


def _as_array(table: Any, name: str) -> Array:
    """Return what was given as a table as an array."""
    table = for_numpy(table, name)
    try:
        return np.asarray(table)
    except TypeError as error:  # torch's, of a dtype that NumPy lacks
        raise TypeError(
            f"{name} must be an array that NumPy knows: {error}. Convert it, with .float() in torch; bfloat16 can stay "
            "what it is as skbag.QuantizedTable(tensor.view(torch.uint16).numpy())."
        ) from error


def check_weight(weight: Any, name: str = "weight") -> Array:
    """Return a table as a frozen array (num_embeddings, dim) of float32 or float64.

    Its values are not looked at: that would cost more than most calls. What a backend holds was checked then.
    """
    if isinstance(weight, Resident):
        return weight  # type: ignore[return-value]
    if isinstance(weight, QuantizedTable):
        return weight  # type: ignore[return-value]
    table = _as_array(weight, name)
    if table.dtype not in _DTYPES and table.dtype.name in _SMALL and table.ndim == 2 and table.shape[1]:
        return QuantizedTable(table)  # type: ignore[return-value]
    if not table.dtype.isnative and table.dtype.newbyteorder("=") in _DTYPES:
        table = table.astype(table.dtype.newbyteorder("="))
    if table.dtype not in _DTYPES:
        raise TypeError(
            f"{name} must be float32, float64, float16 or bfloat16, or a skbag.QuantizedTable, got {table.dtype!r}: "
            "convert it, with .astype(np.float32)."
        )
    if table.ndim != 2 or table.shape[1] == 0:
        raise ValueError(f"{name} must be of shape (num_embeddings, embedding_dim >= 1), got {table.shape}.")
    return frozen(table)


def copied(table: Any) -> Any:
    """Return a copy that begins on a cache line."""
    if isinstance(table, QuantizedTable):
        return table.take(slice(None))
    copy = empty_table(table.shape, table.dtype)
    copy_into(copy, table)
    return copy


class Drawn(NamedTuple):
    """How a table is drawn: "normal" is N(0, 1) (torch.nn.Embedding), "uniform" is U(-1/dim, 1/dim) (fastText)."""

    init: str
    seed: Array  # (4,) uint32
    factor: float = 1.0  # times the numbers

    @classmethod
    def by(cls, rng: np.random.RandomState, init: str, factor: float = 1.0) -> Self:
        """Return how to draw with a seed that a generator gives."""
        return cls(init, rng.randint(0, 2**32, size=4, dtype=np.uint32), factor)


def _drawing(drawn: Drawn, dim: int, first: int = 0) -> Callable[[Array], None]:
    """Return a function that fills one piece of a table after the other, each but the last of _DRAWN numbers.

    first : int, a multiple of _DRAWN
        Where the first piece begins; only for "uniform", where each number has its place among the bits.
    """
    bits, factor = np.random.PCG64(drawn.seed), drawn.factor
    if first:
        bits.advance(first // 2)
    generator = np.random.Generator(bits)

    def fill(some: Array) -> None:
        if drawn.init == "normal":
            some[:] = generator.standard_normal(len(some))
        else:  # whole numbers, two of each 64 bits: a third of the time of `Generator.random`
            whole = bits.random_raw((len(some) + 1) // 2).astype("<u8", copy=False).view("<i4")[: len(some)]
            if dim & (dim - 1):
                np.multiply(whole, 2.0**-31 / dim, out=some, casting="same_kind")
            else:  # the same numbers: a power of two rounds nothing, and there is no need for float64
                some[:] = whole
                some *= some.dtype.type(2.0**-31 / dim)
        if factor != 1:
            some *= some.dtype.type(factor)

    def fill_bits(some: Array) -> None:
        if some.dtype.kind == "f":
            fill(some)
        else:
            single = np.empty(len(some), np.float32)
            fill(single)
            some[:] = rounded(single, some.dtype)

    return fill_bits


def draw_table(drawn: Drawn, shape: tuple[int, int], dtype: np.dtype[Any], n_jobs: int | None = 1) -> Array:
    """Draw a table.

    All dtypes get the same numbers, but for rounding; float16 and bfloat16 are those of ``QuantizedTable.bits``. How
    many threads draw changes nothing.
    """
    n_rows, dim = map(int, shape)
    n_bytes = n_rows * dim * dtype.itemsize
    if n_bytes > _ADDRESSABLE:
        raise ValueError(
            f"embedding_dim={dim} makes a table of {n_rows} rows of {dim} {dtype.name}, {n_bytes} bytes: more than any "
            f"memory has addresses for. Use a smaller embedding_dim, or fewer columns of X."
        )
    try:
        table = empty_table((n_rows, dim), dtype)
    except MemoryError:
        raise MemoryError(
            f"embedding_dim={dim} makes a table of {n_rows} rows of {dim} {dtype.name}, {n_bytes} bytes: there is less "
            "memory. Use a smaller embedding_dim, or fewer columns of X."
        ) from None
    flat, n_threads = table.reshape(-1), effective_threads(n_jobs)
    size = _SHARE if drawn.init == "uniform" and n_threads > 1 else max(1, len(flat))

    def draw(begin: int) -> None:
        fill, end = _drawing(drawn, dim, begin), min(len(flat), begin + size)
        for first in range(begin, end, _DRAWN):
            fill(flat[first : min(end, first + _DRAWN)])

    run_each((partial(draw, begin) for begin in range(0, len(flat), size)), n_threads)
    return table


def rows_unlike_drawn(table: Array, drawn: Drawn, most: int) -> Array | None:
    """Return which rows of a table are not those of `draw_table`, to the bit; None for more than ``most``."""
    bits = np.dtype(f"u{table.itemsize}")
    flat, numbers, dim = table.reshape(-1), np.empty(_DRAWN, table.dtype), table.shape[1]
    fill, found, n_found, last = _drawing(drawn, dim), [], 0, -1
    for first in range(0, len(flat), _DRAWN):
        some = numbers[: len(flat) - first]
        fill(some)
        rows = (np.flatnonzero(flat[first : first + _DRAWN].view(bits) != some.view(bits)) + first) // dim
        if len(rows):
            rows = rows[np.diff(rows, prepend=last) > 0]
            n_found += len(rows)
            found.append(rows)
            last = int(rows[-1]) if len(rows) else last
        if n_found > most:
            return None
    return np.concatenate([np.empty(0, np.int64), *found])


def _check_no_words(init: Any, name: str) -> None:
    """Raise ValueError if a table is given with a word for each row, in an order of its own."""
    if isinstance(init, Mapping) or hasattr(init, "key_to_index"):  # as gensim's KeyedVectors
        raise ValueError(
            f"{name} must be a table whose rows follow the columns of X, got {type(init).__name__} of words and "
            "vectors: skbag.text.align(vectors, vectorizer) makes that table."
        )


def take_table(init: Any, dtype: Any, name: str = "init") -> Any:
    """Take a table from an array, or map it from an .npy or a .safetensors file.

    What already has the dtype and is C-contiguous is not copied; an .npy file never is.

    Parameters
    ----------
    init : array-like of shape (num_embeddings, dim), QuantizedTable, or path of an .npy or .safetensors file with one
    dtype : dtype, name of one that `QuantizedTable` has, or None
        What arrays and tensors are converted to, and what an .npy file must have; None for their own if that is
        float32, float64 or one of `QuantizedTable`, else float32. An array of int8 has no scales: it is of numbers.
    name : str
        What the user calls it, for the texts of errors.

    Returns
    -------
    ndarray of shape (num_embeddings, dim), or QuantizedTable

    Raises
    ------
    ImportError
        If it is a .safetensors file, and the package safetensors is not installed.
    ValueError
        If it is no 2-D array of finite real numbers with at least one column, or has numbers that the dtype cannot
        hold; if there is no such file, an .npy file has another dtype, or a .safetensors file has several tables and
        none is named.
    """
    _check_no_words(init, name)
    path = os.fspath(init) if isinstance(init, (str, os.PathLike)) else None
    from_file = path is not None and not names_tensors(path)  # and not converted
    table: Any = init
    if not isinstance(init, QuantizedTable):
        table = _as_array(init, name) if path is None else (_map_file if from_file else map_tensor)(path, name)
    small = isinstance(table, QuantizedTable) or table.dtype.name in _SMALL
    if not small and table.dtype.kind not in ("f" if from_file else "iuf"):
        file = f" in {path!r}, which is memory-mapped as it is: save floats" if from_file else ""
        raise ValueError(f"{name} must be a table of real numbers, got {table.dtype!r}{file}.")
    if table.ndim != 2 or table.shape[0] == 0 or table.shape[1] == 0:
        raise ValueError(
            f"{name} must be of shape (num_embeddings, embedding_dim), both at least 1, got {table.shape}."
        )
    in_order = isinstance(table, QuantizedTable) or table.flags.c_contiguous
    if small and not isinstance(table, QuantizedTable):
        table = QuantizedTable(table)
    own = table.storage if small else table.dtype.name
    kept = small or own in ("float32", "float64")
    wanted = (own if kept else "float32") if dtype is None else name_of(dtype)
    if from_file and (own != wanted or not in_order):
        order = "C" if in_order else "Fortran"
        raise ValueError(
            f"{name} is memory-mapped as it is, so the file must hold {wanted} in C order, got {own} in "
            f"{order} order: {path!r}. Set dtype to that of the file, or convert the file."
        )
    if small and own == wanted:
        check_finite(table, name)
        return table
    if wanted in BITS:
        try:
            return QuantizedTable.of(table, wanted)
        except ValueError as error:
            raise ValueError(f"{name} has numbers that dtype={wanted!r} cannot hold. {error}") from None
    with np.errstate(over="ignore"):
        table = np.require(np.asarray(table), np.dtype(wanted), ["C", "A"])
    check_finite(table, name)
    return table


def check_finite(table: Any, name: str) -> None:
    """Raise ValueError if the table has a value that is not finite, naming the first one; needs little memory."""
    step = max(1, (1 << 20) // table.shape[1])
    for first in range(0, len(table), step):
        finite = np.isfinite(table[first : first + step])
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise ValueError(
                f"{name} contains {table[first + row, column]} at row {first + row}, column {column}; "
                f"every value must be finite in {table.dtype!r}."
            )


def _map_file(path: str, name: str) -> Array:
    if not path.endswith(".npy"):
        names = "'normal', 'uniform', " if name == "init" else ""
        hint = " Vectors by their words become a table by skbag.text.align(path, vectorizer)." if "." in path else ""
        raise ValueError(
            f"{name} must be {names}an array or the path of an .npy or .safetensors file, got {path!r}.{hint}"
        )
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError:
        raise ValueError(f"{name} names a file that does not exist: {path!r}.") from None
    except (ValueError, OSError, EOFError) as error:
        why = "" if "pickle" in str(error) else f" ({error})"  # NumPy takes any other file for one
        raise ValueError(f"{name} names a file that is no .npy file of numbers: {path!r}{why}.") from error
