"""Vectors by their words, from wherever they are."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._estimators.names import duplicate_of
from skbag._text.fasttext import read_fasttext
from skbag._text.reading import is_fasttext, read_vectors

Array = NDArray[Any]

BLOCK = 1 << 12  # rows that are copied at once: no second table is made


@dataclass(frozen=True)
class WordVectors:
    """Words with a vector each; nothing is copied before it is asked for."""

    rows: Mapping[Any, Any]  # word to row of the table, or to a vector, or to anything where `make` makes them
    table: Array | None
    dim: int
    make: Callable[[Sequence[Any]], Array] | None = None  # where there is no table: vectors of words
    from_subwords: Callable[[Sequence[Any]], Array] | None = None  # of words without a row; zeros where there are none

    def find(self, words: Sequence[Any]) -> NDArray[np.int64]:
        """Return the rows of words; -1 for those without a vector, and 0 for others where there is no table."""
        if self.table is None:
            return np.fromiter((0 if word in self.rows else -1 for word in words), np.int64, len(words))
        get = self.rows.get
        return np.fromiter((get(word, -1) for word in words), np.int64, len(words))

    def take(self, words: Sequence[Any], rows: NDArray[np.int64]) -> Array:
        """Return the vectors of words that were all found, at these rows: (n_words, dim)."""
        if self.table is not None:
            return self.table[rows]
        if self.make is not None:
            return self.make(words)
        vectors = [np.asarray(self.rows[word]) for word in words]
        for word, vector in zip(words, vectors, strict=True):
            if vector.dtype.kind not in "iuf" or vector.shape != (self.dim,):
                raise ValueError(
                    f"vectors must have {self.dim} real numbers for each word, as it has for its first one; for "
                    f"{word!r} it has an array of shape {vector.shape} and {vector.dtype!r}."
                )
        return np.stack(vectors)


def open_vectors(vectors: Any, dtype: np.dtype[Any]) -> WordVectors:
    """Take vectors in any of the forms that `skbag.text.align` lists; TypeError or ValueError if they are in none.

    Numbers that a file has as text are read in the dtype.
    """
    if isinstance(vectors, WordVectors):
        return vectors
    if isinstance(vectors, (str, os.PathLike)):
        path = os.fspath(vectors)
        if not is_fasttext(path):
            return _checked(*read_vectors(path, dtype))
        try:
            vectors = read_fasttext(path)
        except ValueError as error:
            raise ValueError(f"vectors names a file that cannot be read: {error}") from error
    vectors = getattr(vectors, "wv", vectors)  # a whole model of gensim's
    if hasattr(vectors, "key_to_index") and hasattr(vectors, "vectors"):
        return _checked(vectors.key_to_index, vectors.vectors, _subwords_of(vectors))
    if hasattr(vectors, "word_vectors") and hasattr(vectors, "words"):  # what read_fasttext returns
        words, make = vectors.words, vectors.word_vectors
        return WordVectors(dict.fromkeys(words), None, make(words[:1]).shape[1], make, make)
    if isinstance(vectors, Mapping):
        return _from_mapping(vectors)
    if hasattr(vectors, "columns") and hasattr(vectors, "to_numpy"):
        return _checked(*_from_frame(vectors))
    raise TypeError(
        "vectors must be gensim's KeyedVectors, a dict or a data frame of words and their vectors, or the path of a "
        f"file of them, got {type(vectors).__name__}."
    )


def _checked(rows: Mapping[str, int], table: Any, from_subwords: Any = None) -> WordVectors:
    table = np.asarray(table)
    if table.dtype.kind not in "iuf" or table.ndim != 2 or 0 in table.shape:
        raise ValueError(
            f"vectors must hold real numbers, at least one for at least one word, got {table.dtype!r} of shape "
            f"{table.shape}."
        )
    return WordVectors(rows, table, table.shape[1], from_subwords=from_subwords)


def _subwords_of(vectors: Any) -> Callable[[Sequence[Any]], Array] | None:
    """Return what makes vectors of subwords, if gensim's vectors have these."""
    if not getattr(vectors, "bucket", 0) or getattr(vectors, "vectors_ngrams", None) is None:
        return None
    return lambda words: np.stack([vectors.get_vector(word) for word in words])


def _from_mapping(vectors: Mapping[Any, Any]) -> WordVectors:
    first = next(iter(vectors.values()), None)
    if first is None or np.ndim(first) != 1 or not len(first):
        raise ValueError(
            f"vectors must have a vector of at least one number for each word, got {first!r} for its first one."
            if vectors
            else "vectors is empty: it must have at least one word."
        )
    return WordVectors(vectors, None, len(first))


def _from_frame(frame: Any) -> tuple[dict[str, int], Array]:
    """Take words from the index, if that holds strings, or from the first column."""
    index: Any = getattr(frame, "index", [])  # polars has none
    if len(index) and isinstance(index[0], str):
        words, numbers = list(index), frame
    elif frame.shape[0] and frame.shape[1] > 1:
        words, numbers = list(frame.iloc[:, 0] if hasattr(frame, "iloc") else frame[:, 0]), frame[frame.columns[1:]]
    else:
        raise ValueError(
            f"vectors must have words in its index or in its first column, and numbers beside them, got a data frame "
            f"of shape {frame.shape}."
        )
    bad = next((i for i, word in enumerate(words) if not isinstance(word, str)), None)
    if bad is not None:
        raise ValueError(
            "vectors must have words, which are strings, in its index or in its first column, got "
            f"{words[bad]!r} at row {bad}."
        )
    rows = {word: i for i, word in enumerate(words)}
    if len(rows) < len(words):
        raise ValueError(f"vectors must have each word once, got {duplicate_of(words)!r} twice.")
    return rows, numbers.to_numpy()
