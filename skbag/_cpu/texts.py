"""Texts on the CPU: memory, blocks and threads for the kernels that turn them into rows of ids."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._cpu import fasttext, ngrams
from skbag._cpu.backend import _blocks, _run
from skbag._data.bags import frozen
from skbag._data.lexicon import Lexicon

Array = NDArray[Any]
Rows = tuple[Array, Array, Array]  # ids int32, data, indptr int64; the ids of a row increase

_BYTE = 8  # scalars that a byte of text is as much work as
_NORMS = {None: ngrams.NO_NORM, "l1": ngrams.L1, "l2": ngrams.L2}


def hash_texts(
    text: Array, starts: Array, letters: Array, words: tuple[int, int], characters: tuple[int, int], n_features: int,
    *, binary: bool, norm: str | None, dtype: np.dtype[Any], n_jobs: int | None,
) -> Rows:  # fmt: skip
    """Return a row of hashed n-grams for each text; for the parameters see ``ngrams.hash_rows``."""
    most = min(words[1], _longest(starts))
    args = frozen(text), frozen(starts), frozen(letters), (words[0], most), characters
    more = n_features, _n_bits(n_features), binary, _NORMS[norm]
    return _rows((ngrams.count_rows, ngrams.hash_rows), args, more, most, dtype, n_jobs)


def fasttext_rows(text: Array, starts: Array, lexicon: Lexicon, *, whole: bool, n_jobs: int | None) -> Rows:
    """Return how often each id of fastText stands in each text, as float32; ``whole`` says that a text is one word."""
    pruned = np.zeros(0, np.int64) if lexicon.pruned is None else lexicon.pruned
    most = min(lexicon.word_ngrams, _longest(starts))
    args = (
        frozen(text), frozen(starts), frozen(lexicon.entries), frozen(lexicon.begins), frozen(lexicon.slots),
        lexicon.n_words, (lexicon.minn, lexicon.maxn), most, lexicon.bucket, lexicon.pruned is not None,
        frozen(pruned), _bytes_of(lexicon.label_prefix), whole,
    )  # fmt: skip
    kernels = fasttext.count_rows, fasttext.read_rows
    return _rows(kernels, args, (_n_bits(lexicon.n_rows),), most, np.dtype(np.float32), n_jobs)


def find_entries(section: Array, n_entries: int, n_words: int) -> tuple[Array, int, int]:
    """Return where each of so many entries of a vocabulary begins, how many are whole, and which is of a wrong type.

    The last one is -1 if all are words first, and labels from n_words on.
    """
    begins, found = np.empty(n_entries + 1, np.int64), np.array([0, -1], np.int64)
    fasttext.find_entries(frozen(section), n_words, begins, found)
    return begins, int(found[0]), int(found[1])


def fill_slots(entries: Array, begins: Array) -> tuple[Array, int]:
    """Return the hash table of a vocabulary, and the first entry that is there already; -1 for none."""
    n = len(begins) - 1
    slots = np.full(1 << max(1, (n + n // 2).bit_length()), -1, np.int32)
    twice = np.full(1, -1, np.int64)
    fasttext.fill_slots(frozen(entries), frozen(begins), slots, twice)
    return slots, int(twice[0])


def _rows(
    kernels: tuple[Any, Any], args: tuple[Any, ...], more: tuple[Any, ...], most: int, dtype: np.dtype[Any],
    n_jobs: int | None,
) -> Rows:  # fmt: skip
    """Run both kernels, that which counts and that which writes, and make the rows contiguous."""
    text, starts, *_ = args
    blocks = _blocks(_BYTE * len(text), n_jobs)
    n_threads, sizes = blocks[2], np.empty(len(starts) - 1, np.int64)
    args = *args, np.empty((n_threads, max(1, most)), np.uint64)
    _run(kernels[0], args, blocks, (sizes,))
    offsets = _starts(sizes)
    ids, data = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], dtype)
    scratch = (
        np.empty((n_threads, int(sizes.max(initial=0))), np.int32),
        np.empty((n_threads, 2, ngrams.MOST_DIGITS), np.int64),
    )
    _run(kernels[1], (*args, *more, frozen(offsets[:-1]), *scratch), blocks, (ids, data, sizes))
    indptr = _starts(sizes)
    if indptr[-1] < len(ids):
        wide = offsets[:-1], indptr, ids, data
        ids, data = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], dtype)
        _run(ngrams.gather_rows, tuple(map(frozen, wide)), _blocks(len(ids), n_jobs), (ids, data))
    return ids, data, indptr


def _bytes_of(text: str) -> Array:
    return frozen(np.frombuffer(text.encode(), np.uint8))


def _longest(starts: Array) -> int:
    """Return how many words no text has more of."""
    return int(np.diff(starts).max(initial=0))


def _n_bits(n_columns: int) -> int:
    return max(1, (n_columns - 1).bit_length())


def _starts(sizes: Array) -> Array:
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    return starts
