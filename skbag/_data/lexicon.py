"""A vocabulary as fastText keeps it."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

REST = 10  # bytes of an entry after the word: a zero, the count as int64, the type


@dataclass(frozen=True, eq=False, repr=False)
class Lexicon:
    """What turns texts into the ids of a fastText model: rows of its input matrix, words and then buckets of n-grams.

    Attributes
    ----------
    entries : ndarray of uint8
        The entries as the file has them, one after the other.
    begins : ndarray of shape (n_entries + 1,), int64
        Where each begins.
    slots : ndarray of int32
        The hash table of entries.
    n_words : int
        The entries before it are words, the others labels.
    minn, maxn : int
        Lengths of the character n-grams; none if ``maxn`` is 0.
    word_ngrams : int
        The longest n of word n-grams.
    bucket : int
        Number of buckets that n-grams are hashed into.
    pruned : ndarray of shape (n,), int64, or None
        The buckets that are left, increasing: in the upper half the bucket, in the lower which of the rows after the
        words it has; None if all are.
    label_prefix : str
        What begins with it is a label.
    """

    entries: Array
    begins: Array
    slots: Array
    n_words: int
    minn: int
    maxn: int
    word_ngrams: int
    bucket: int
    pruned: Array | None
    label_prefix: str = "__label__"

    @property
    def n_rows(self) -> int:
        """Return the number of ids."""
        return self.n_words + (self.bucket if self.pruned is None else len(self.pruned))

    def names(self, first: int, stop: int) -> list[str]:
        """Return the entries from first to stop as strings; bytes that are no UTF-8 with backslashes."""
        places = self.begins[first : stop + 1].tolist()
        memory: Any = self.entries.data
        return [str(memory[begin : end - REST], "utf-8", "backslashreplace") for begin, end in pairwise(places)]

    def counts(self, first: int, stop: int) -> Array:
        """Return how often the entries from first to stop were in the training data, as int64."""
        at = self.begins[first + 1 : stop + 1, None] - (REST - 1) + np.arange(8)
        counts: Array = self.entries[at].view("<i8").ravel()
        return counts

    def __deepcopy__(self, memo: Any) -> "Lexicon":
        return self  # nothing in it changes: a clone need not copy it

    def __repr__(self) -> str:
        return f"<Lexicon of {self.n_words} words and {self.n_rows - self.n_words} buckets>"
