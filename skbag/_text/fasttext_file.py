"""The files of fastText: every length is compared with the bytes that are left before memory is asked for."""

import os
import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._backends import get_texts
from skbag._data.lexicon import REST, Lexicon
from skbag._data.quantized import empty_table, sealed
from skbag._text.product import CODES, QuantizedMatrix

Array = NDArray[Any]
Matrix = Array | QuantizedMatrix

_MAGIC, _NEWEST = 793712314, 12
_NAMES = (
    "dim", "ws", "epoch", "min_count", "neg", "word_ngrams", "loss", "model", "bucket", "minn", "maxn",
    "lr_update_rate", "t",
)  # fmt: skip
LOSSES = {1: "hs", 2: "ns", 3: "softmax", 4: "ova"}
MODELS = {1: "cbow", 2: "skipgram", 3: "supervised"}
_TOGETHER = 1 << 12  # numbers that are looked at in one go


@dataclass(frozen=True)
class Contents:
    """What a file holds."""

    args: dict[str, Any]
    version: int  # 0 for files that do not say
    lexicon: Lexicon
    input: Matrix
    output: Matrix


class _File:
    """The bytes of a file, mapped into memory, and how far they have been read."""

    def __init__(self, path: str) -> None:
        self.path, self.at = path, 0
        self.size = os.stat(path).st_size
        if os.path.isdir(path):
            raise IsADirectoryError(f"{path!r} is a folder, not a file of fastText.")
        if self.size == 0:
            raise self.error("it is empty")
        self.data = np.memmap(path, np.uint8, "r")

    @property
    def left(self) -> int:
        return self.size - self.at

    def error(self, what: str) -> ValueError:
        return ValueError(f"{self.path!r} is no whole file of fastText: {what}.")

    def need(self, n_bytes: int, what: str) -> None:
        """Raise ValueError if fewer bytes are left."""
        if n_bytes > self.left:
            raise self.error(f"{n_bytes} bytes are needed for {what} from byte {self.at} on, and {self.left} are left")

    def values(self, layout: str, what: str) -> tuple[Any, ...]:
        layout = f"<{layout}"
        self.need(struct.calcsize(layout), what)
        values = struct.unpack_from(layout, self.data.data, self.at)
        self.at += struct.calcsize(layout)
        return values

    def flag(self, what: str) -> bool:
        (value,) = self.values("B", what)
        if value > 1:
            raise self.error(f"{what} must be 0 or 1, got {value} at byte {self.at - 1}")
        return bool(value)

    def array(self, dtype: str, n: int, what: str) -> Array:
        """Return a copy of the next n numbers, which must be finite."""
        n_bytes = n * np.dtype(dtype).itemsize
        if n < 0:
            raise self.error(f"{n} numbers are said to be {what}")
        self.need(n_bytes, what)
        array = empty_table((n,), np.dtype(dtype))
        with open(self.path, "rb") as file:  # not by way of the map, which would be memory twice
            file.seek(self.at)
            if file.readinto(array.view(np.uint8)) < n_bytes:  # type: ignore[arg-type]
                raise self.error("it became shorter while it was read")
        for first in range(0, n if array.dtype.kind == "f" else 0, _TOGETHER):
            finite = np.isfinite(array[first : first + _TOGETHER])
            if not finite.all():
                k = first + int(finite.argmin())
                raise self.error(f"{array[k]} stands in {what}, at byte {self.at + k * array.itemsize}")
        self.at += n_bytes
        if not array.dtype.isnative:
            array.byteswap(inplace=True)
        return sealed(array.view(array.dtype.newbyteorder("=")))


def read_contents(path: str, label_prefix: str) -> Contents:
    """Read a file of fastText, ``.bin`` or ``.ftz``; ValueError, which says what is wrong, if it is none."""
    file = _File(path)
    version, args = _read_args(file)
    if version <= 11 and args["model"] == "supervised":
        args["maxn"] = 0  # models of then had no character n-grams, whatever the file says
    lexicon, n_labels = _read_lexicon(file, version, args, label_prefix)
    shape = lexicon.n_rows, args["dim"]
    quantized = version > 0 and file.flag("whether the input matrix is quantised")
    inner = _read_matrix(file, version, quantized, shape, "the input matrix")
    shape = (n_labels if args["model"] == "supervised" else lexicon.n_words), args["dim"]
    also = version > 0 and file.flag("whether the output matrix is quantised")
    outer = _read_matrix(file, version, quantized and also, shape, "the output matrix")
    if file.left:
        raise file.error(f"{file.left} bytes follow after its end, byte {file.at}")
    return Contents(args, version, _hashed(file, lexicon), inner, outer)


# --- arguments


def has_arguments(path: str) -> bool:
    """Return whether a file begins as the first models of fastText do, which had no number that told what they are."""
    try:
        return _read_args(_File(path))[0] == 0
    except ValueError:
        return False


def _read_args(file: _File) -> tuple[int, dict[str, Any]]:
    """Return the version and the arguments; the first files of fastText have no number of a version."""
    first, second = file.values("2i", "the beginning")
    version = 0
    if first == _MAGIC:
        version = second
        if not 11 <= version <= _NEWEST:
            raise file.error(f"its version is {version}, and 11 and {_NEWEST} are known")
    else:
        file.at = 0
    args = dict(zip(_NAMES, file.values("12id", "the arguments"), strict=True))
    wrong = _wrong_argument(args)
    if wrong and version == 0:
        beginning = file.data[:8].tobytes()
        hint = " It is compressed: decompress it first." if beginning.startswith(b"\x1f\x8b") else ""
        raise ValueError(f"{file.path!r} is no file of fastText: it begins with {beginning!r}.{hint}")
    if wrong:
        raise file.error(f"{wrong} must not be {args[wrong]}")
    return version, {**args, "loss": LOSSES[args["loss"]], "model": MODELS[args["model"]]}


def _wrong_argument(args: dict[str, Any]) -> str | None:
    """Return the name of an argument with a value that it cannot have."""
    if args["loss"] not in LOSSES:
        return "loss"
    if args["model"] not in MODELS:
        return "model"
    if args["dim"] < 1:
        return "dim"
    return next((name for name in ("word_ngrams", "bucket", "minn", "maxn") if args[name] < 0), None)


# --- words and labels


def _read_lexicon(file: _File, version: int, args: dict[str, Any], label_prefix: str) -> tuple[Lexicon, int]:
    """Return the vocabulary, without its hash table, and the number of labels."""
    n, n_words, n_labels, _ = file.values("3iq", "the head of the vocabulary")
    (n_pruned,) = file.values("q", "the number of kept buckets") if version else (-1,)
    if min(n, n_words, n_labels) < 0 or n != n_words + n_labels:
        raise file.error(f"{n} entries cannot be {n_words} words and {n_labels} labels")
    file.need(REST * n, f"a vocabulary of {n} entries, at least")
    begins, n_found, wrong = get_texts().find_entries(file.data[file.at :], n, n_words)
    if wrong >= 0:
        kind = file.data[file.at + begins[wrong + 1] - 1]
        expected = "word" if wrong < n_words else "label"
        raise file.error(f"entry {wrong} of the vocabulary should be a {expected}, and has the type {kind}")
    if n_found < n:
        raise file.error(f"it ends in entry {n_found} of {n} of the vocabulary")
    entries = file.data[file.at : file.at + int(begins[-1])].view(np.ndarray).copy()
    file.at += len(entries)
    pruned = None
    if n_pruned >= 0:
        pruned = _sorted_buckets(file, file.array("<i8", n_pruned, "the list of kept buckets"), args["bucket"])
    if args["bucket"] == 0 and (args["maxn"] > 0 or args["word_ngrams"] > 1):
        raise file.error("n-grams need buckets, and bucket is 0")
    numbers = {name: args[name] for name in ("minn", "maxn", "word_ngrams", "bucket")}
    no_slots = np.empty(0, np.int32)  # until all else is read
    return Lexicon(entries, begins, no_slots, n_words, pruned=pruned, label_prefix=label_prefix, **numbers), n_labels


def _sorted_buckets(file: _File, pairs: Array, bucket: int) -> Array:
    """Return pairs of a bucket and its row, of which the file has the bucket in the lower half, as `Lexicon` has them.

    In place, some at a time: they are much of a quantised model.
    """
    pairs.base.flags.writeable = pairs.flags.writeable = True  # type: ignore[union-attr]
    parts = [pairs[first : first + _TOGETHER] for first in range(0, len(pairs), _TOGETHER)]
    for some in parts:
        rows = some >> 32
        if rows.min() < 0 or rows.max() >= len(pairs):
            raise file.error(f"the row of a kept bucket is not below {len(pairs)}")
        some <<= 32
        some |= rows
    pairs.sort()
    if len(pairs) and not (pairs[0] >= 0 and pairs[-1] >> 32 < bucket):
        raise file.error(f"a kept bucket is not below {bucket}")
    for first in range(0, len(pairs), _TOGETHER):
        some = pairs[first : first + _TOGETHER + 1] >> 32
        twice = np.flatnonzero(some[1:] == some[:-1])
        if len(twice):
            raise file.error(f"bucket {some[twice[0]]} is kept twice")
    return sealed(pairs)


def _hashed(file: _File, lexicon: Lexicon) -> Lexicon:
    """Return the vocabulary with its hash table."""
    slots, twice = get_texts().fill_slots(lexicon.entries, lexicon.begins)
    if twice >= 0:
        raise file.error(
            f"{lexicon.names(twice, twice + 1)[0]!r} stands in the vocabulary twice, again as entry {twice}"
        )
    for array in (lexicon.entries, lexicon.begins, slots):
        array.flags.writeable = False
    return replace(lexicon, slots=slots)


# --- matrices


def _read_matrix(file: _File, version: int, quantized: bool, shape: tuple[int, int], what: str) -> Matrix:
    if quantized:
        return _read_quantized(file, shape, what)
    _check_shape(file, file.values("2q", f"the shape of {what}"), shape, what)
    return file.array("<f4", shape[0] * shape[1], what).reshape(shape)


def _check_shape(file: _File, found: tuple[int, ...], shape: tuple[int, int], what: str) -> None:
    if found != shape:
        raise file.error(f"{what} must have the shape {shape}, by what stands before it, and has {found}")


def _read_quantized(file: _File, shape: tuple[int, int], what: str) -> QuantizedMatrix:
    """Return a QMatrix of fastText: codes, their vectors, and the lengths of the rows if they are apart."""
    has_norms = file.flag(f"whether lengths of rows are apart in {what}")
    *found, n_codes = file.values("2qi", f"the shape of {what}")
    _check_shape(file, tuple(found), shape, what)
    codes = file.array("<u1", n_codes, f"the codes of {what}")
    width, centroids = _read_quantizer(file, shape[1], what)
    n_parts = -(-shape[1] // width)
    if n_codes != shape[0] * n_parts:
        raise file.error(f"{what} has {n_codes} codes, not {shape[0]} x {n_parts}")
    lengths = norms = None
    if has_norms:
        lengths = file.array("<u1", shape[0], f"the codes of the lengths of {what}")
        _, norms = _read_quantizer(file, 1, f"the lengths of {what}")
    return QuantizedMatrix(shape, codes.reshape(shape[0], n_parts), width, centroids, lengths, norms)


def _read_quantizer(file: _File, dim: int, what: str) -> tuple[int, Array]:
    """Return how many columns a code stands for, and the vectors that codes stand for."""
    found, n_parts, width, last = file.values("4i", f"the head of the quantiser of {what}")
    if found != dim or width < 1 or n_parts != -(-dim // width) or last != dim - (n_parts - 1) * width:
        raise file.error(f"the quantiser of {what} cannot cut {dim} columns into {n_parts} of {width}, the last {last}")
    return width, file.array("<f4", dim * CODES, f"the vectors of the quantiser of {what}")
