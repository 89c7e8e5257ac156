"""Files of word vectors, read by gensim."""

import codecs
import gzip
import os
import warnings
import zlib
from contextlib import suppress
from itertools import chain
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from skbag._data.optional import missing
from skbag._text.fasttext_file import has_arguments

Array = NDArray[Any]

_LINE = 1 << 20  # bytes: no line of a file of vectors is longer
_FASTTEXT = (793712314).to_bytes(4, "little")  # what fastText's .bin and .ftz begin with
_GZIP, _PICKLE = b"\x1f\x8b", b"\x80"  # what compressed files begin with, and what gensim's `save` writes
_LONG = 1 << 10  # bytes of numbers that all look like text: never
_INFLATED = 1100  # no compressed byte becomes more


def is_fasttext(path: str) -> bool:
    """Return whether a file is a model of fastText; ValueError if there is none, or it has to be unpacked first."""
    if not os.path.isfile(path):
        _refuse("names a file that does not exist", path)
    with open(path, "rb") as opened:
        begins = opened.read(4)
    if begins == _FASTTEXT or has_arguments(path):
        return True
    if begins[:2] == _GZIP:
        with suppress(OSError, EOFError, zlib.error), gzip.open(path) as unpacked:
            if unpacked.read(4) == _FASTTEXT:
                _refuse("names a model of fastText that is compressed: decompress it first", path)
    return False


def read_vectors(path: str, dtype: np.dtype[Any]) -> tuple[dict[str, int], Array]:
    """Read word2vec's text or binary format, or GloVe's, which has no header; each may be compressed, as ``.gz``.

    Returns
    -------
    rows : dict of word to row
    table : ndarray of shape (n_words, dim), of the dtype; binary files have float32

    Raises
    ------
    ImportError
        If gensim is not installed.
    ValueError
        If the file is in none of these formats, is cut short, has vectors of unequal length or a
        word twice.
    """
    try:
        from gensim import utils
        from gensim.models import KeyedVectors
    except ImportError as error:
        raise missing("gensim", "vectors, the path of a file of word vectors,") from error

    class Strict(KeyedVectors):
        """gensim's, which would keep the first of two and stretch a vector of one number."""

        def has_index_for(self, key: str) -> bool:
            if super().has_index_for(key):
                raise ValueError(f"it has the word {key!r} twice")
            return False

        def add_vector(self, key: str, vector: Any) -> Any:
            if len(vector) != self.vector_size:
                raise ValueError(f"it has {len(vector)} numbers for {key!r} and {self.vector_size} for others")
            return super().add_vector(key, vector)

    vectors, why = None, ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # gensim does not close a file without a header
        try:
            with utils.open(path, "rb") as file:
                form = _form_of(file, path)
            vectors = Strict.load_word2vec_format(path, datatype=dtype.type, **form)
        except (ValueError, EOFError, OSError, AssertionError, zlib.error, MemoryError) as error:
            why = _reason(error)
    if vectors is None:
        _refuse(f"names a file that gensim cannot read ({why})", path)
    return vectors.key_to_index, vectors.vectors


def _reason(error: BaseException) -> str:
    """Return why gensim could not read a file, in words that say what to do."""
    if isinstance(error, UnicodeDecodeError):
        return "it has words that are not UTF-8: give KeyedVectors, for which unicode_errors says what to do"
    if "could not convert string to float" in str(error):
        return f"{error}: a line has more than one word before its numbers, or something else than numbers behind it"
    return str(error)


def _form_of(file: Any, path: str) -> dict[str, bool]:
    """Return how gensim is to read a file, by its first two lines; ValueError if in no way."""
    first = file.readline(_LINE)
    if first.startswith(codecs.BOM_UTF8):
        raise ValueError("it begins with a byte order mark, which would be part of its first word: save it without")
    header = first.split()
    if len(header) != 2 or not all(number.isdigit() for number in header):
        if first.startswith(_PICKLE):
            raise ValueError("it is a pickle: if gensim saved it, give KeyedVectors.load(path)")
        if not _numbers(first):
            raise ValueError(
                "it begins neither with two numbers, as word2vec's do, nor with a word and numbers, each after a space"
            )
        return {"no_header": True}
    n_words, dim = map(int, header)
    if not n_words or not dim:
        raise ValueError("it says that it is empty")
    packed = os.path.splitext(path)[1] in (".gz", ".bz2", ".xz", ".zst")
    if n_words * dim * 2 > os.path.getsize(path) * (_INFLATED if packed else 1):  # a number takes two bytes or more
        raise ValueError(f"it says that it holds {n_words} vectors of {dim} numbers, and is too short for them")
    line = file.readline(_LINE)
    if _numbers(line) != dim:
        if _is_text(line + file.read(_LINE)):
            raise ValueError(
                f"it says that it has vectors of {dim} numbers, and its second line is no word with as many behind it, "
                f"each after one space: {line[:60].decode(errors='replace')!r}"
            )
        return {"binary": True}
    n_lines = sum(1 for line in chain([line], file) if line.strip())
    if n_lines > n_words:
        raise ValueError(f"it says that it holds {n_words} vectors, and has {n_lines}")
    return {"binary": False}


def _numbers(line: bytes) -> int:
    """Return how many numbers follow a word in a line; 0 if anything else follows."""
    try:
        return len(np.array(line.rstrip().split(b" ")[1:], dtype="S").astype(float))
    except ValueError:
        return 0


def _is_text(block: bytes) -> bool:
    """Return whether bytes are lines of text, of which numbers in binary have none for long: no control characters."""
    if any(byte < 32 and byte not in b"\t\n\r" for byte in set(block)):
        return False
    with suppress(UnicodeDecodeError):
        codecs.getincrementaldecoder("utf-8")().decode(block)  # it may end within a character
        return True
    return len(block) > _LONG


def _refuse(what: str, path: str) -> NoReturn:
    raise ValueError(f"vectors {what}: {path!r}.")
