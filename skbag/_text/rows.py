"""Texts as the kernels read them: UTF-8 in one piece, some megabytes at a time; and the rows that they make of it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Array = NDArray[Any]

_TOGETHER = 1 << 22  # bytes
_LARGEST = np.iinfo(np.int32).max


def sparse_rows(
    texts: Any,
    name: str,
    prepare: Callable[[str], str] | None,
    make: Callable[[Array, Array], Any],
    n_columns: int,
    dtype: Any,
) -> csr_array:
    """Return what ``make`` makes of some texts at a time as a canonical CSR matrix.

    Parameters
    ----------
    texts : iterable of str or bytes
    name : str
        What the user calls them.
    prepare : callable
        What is done with each str first; None for nothing, then bytes are not looked at either.
    make : callable
        Takes UTF-8 and where each text begins, returns ids, data and indptr.
    n_columns : int
    dtype : dtype

    Raises
    ------
    TypeError, ValueError
        As `encoded`.
    """
    parts = [make(*some) for some in encoded(texts, name, prepare)]
    if not parts:
        return csr_array((0, n_columns), dtype=dtype)
    ids, data = (np.concatenate([part[k] for part in parts]) if len(parts) > 1 else parts[0][k] for k in (0, 1))
    sizes = np.concatenate([np.diff(part[2]) for part in parts])
    kind = np.int64 if len(ids) > _LARGEST else np.int32
    indptr = np.zeros(len(sizes) + 1, kind)
    np.cumsum(sizes, out=indptr[1:])
    X = csr_array((data, ids.astype(kind, copy=False), indptr), shape=(len(sizes), n_columns))
    X.has_canonical_format = True
    return X


def encoded(texts: Any, name: str, prepare: Callable[[str], str] | None) -> Iterator[tuple[Array, Array]]:
    """Yield UTF-8 and where each text begins in it, some megabytes at a time.

    Raises
    ------
    TypeError
        If something is neither str nor bytes; the message says where.
    ValueError
        If texts are a single string or have two dimensions; if bytes are no UTF-8, or a string has half of a surrogate
        pair.
    """
    pieces: list[bytes] = []
    n_bytes = 0
    for row, text in enumerate(checked_texts(texts, name)):
        piece = _encoded(text, row, name, prepare)
        pieces.append(piece)
        n_bytes += len(piece)
        if n_bytes >= _TOGETHER:
            yield _joined(pieces)
            pieces, n_bytes = [], 0
    if pieces:
        yield _joined(pieces)


def checked_texts(texts: Any, name: str) -> Iterable[Any]:
    """Return texts; TypeError or ValueError if they are one string, have several dimensions or are no iterable."""
    if isinstance(texts, (str, bytes)):
        raise ValueError("Iterable over raw text documents expected, string object received.")
    shape = getattr(texts, "shape", None)
    if shape is not None and len(shape) != 1:
        raise ValueError(f"{name} must be texts in one dimension, got the shape {tuple(shape)}: pass one column.")
    try:
        iter(texts)
    except TypeError:
        raise TypeError(f"{name} must be an iterable over texts, got {type(texts).__name__}.") from None
    return texts


def _encoded(text: Any, row: int, name: str, prepare: Callable[[str], str] | None) -> bytes:
    if isinstance(text, bytes):
        if prepare is None:
            return text
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = text[error.start]
            raise ValueError(f"{name}[{row}] is no UTF-8: byte {byte:#04x} at position {error.start}.") from None
    elif not isinstance(text, str):
        raise TypeError(f"{name}[{row}] must be str or bytes, got {text!r}.")
    try:
        return (text if prepare is None else prepare(text)).encode("utf-8")
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise ValueError(
            f"{name}[{row}] has half of a surrogate pair, {half!r} at position {error.start}, which is no character: "
            "read the file again with its encoding, or replace it, with .encode('utf-8', 'replace')."
        ) from None


def _joined(pieces: list[bytes]) -> tuple[Array, Array]:
    starts = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)), out=starts[1:])
    return np.frombuffer(b"".join(pieces), np.uint8), starts
