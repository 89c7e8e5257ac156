"""Loops over texts on the CPU: words, word n-grams and character n-grams become hashed columns.

A text is UTF-8 that Python made, so it is well-formed. Rows are cut into blocks as everywhere (``_cpu/sharing.py``), by
their bytes. A kernel runs over the rows twice: once to count what a row will have, with ``ids`` None, once to write it.
"""

import numpy as np

from skbag._cpu.jit import inlined, kernel
from skbag._cpu.memory import fetch_add, item, put
from skbag._cpu.sharing import DONE, NEXT, THREAD, first_bag
from skbag._cpu.sorting import _digits, _sort

MOST_DIGITS = 1 << 11  # values of a digit that rows are sorted by
NO_NORM, L1, L2 = range(3)
OPEN, CLOSE = np.uint8(60), np.uint8(62)  # < and >: where a word begins and ends, in its character n-grams

# 64-bit FNV-1a of the bytes of a word (http://www.isthe.com/chongo/tech/comp/fnv/)
_BASIS = np.uint64(14695981039346656037)
_PRIME = np.uint64(1099511628211)
_OTHER_BASIS = np.uint64(0x9E3779B97F4A7C15)  # character n-grams are no words
_STEP = np.uint64(116049371)  # from the words so far to one more, as in fastText
_MIX_1, _MIX_2, _HALF = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53), np.uint64(33)
_UPPER = np.uint64(32)


@inlined
def _column(value, n_features):
    """Return the column of a hash: its bits mixed by the last step of MurmurHash3, then its upper half, scaled."""
    value = (value ^ (value >> _HALF)) * _MIX_1
    value = (value ^ (value >> _HALF)) * _MIX_2
    value = value ^ (value >> _HALF)
    return np.intp((value >> _UPPER) * np.uint64(n_features) >> _UPPER)


@inlined
def is_inside(byte):
    """Whether a byte is one of a character of UTF-8, but not its first."""
    return (byte & np.uint8(0xC0)) == np.uint8(0x80)


@inlined
def bounded(text, i, begin, end):
    """Return byte i of a word with its marks: < stands before its first byte, > after its last."""
    if i < begin:
        return OPEN
    return CLOSE if i >= end else item(text, i)


@inlined
def _character_ngrams(text, begin, end, least, most, n_features, ids, at):
    """Write the columns of the character n-grams of <word>; return where it ended."""
    i = begin - 1
    while i <= end:
        value, j, n = _OTHER_BASIS, i, 1
        while j <= end and n <= most:
            value = (value ^ np.uint64(bounded(text, j, begin, end))) * _PRIME
            j += 1
            while begin < j < end and is_inside(item(text, j)):
                value = (value ^ np.uint64(item(text, j))) * _PRIME
                j += 1
            if n >= least and not (n == 1 and (i < begin or i == end)):
                put(ids, at, _column(value, n_features))
                at += 1
            n += 1
        i += 1
        while begin < i < end and is_inside(item(text, i)):
            i += 1
    return at


@inlined
def _word_ngrams(value, n_words, least, most, n_features, window, ids, at):
    """Write the columns of the n-grams that end with a word; return where it ended.

    window[k] is the hash of the last k + 1 words; it is moved on.
    """
    for k in range(min(n_words, most - 1) - 1, -1, -1):
        longer = item(window, k) * _STEP + value
        if k + 2 >= least:
            put(ids, at, _column(longer, n_features))
            at += 1
        if k + 2 < most:
            put(window, k + 1, longer)
    if least == 1:
        put(ids, at, _column(value, n_features))
        at += 1
    put(window, 0, value)
    return at


@inlined
def _n_ngrams(n, least, most):
    """Return how many runs of least to most things there are among n."""
    total = 0
    for size in range(least, min(n, most) + 1):
        total += n - size + 1
    return total


@inlined
def _code_point(text, i):
    """Return the code point of the character that begins at byte i, and how many bytes it has."""
    byte = np.intp(item(text, i))
    if byte < 0x80:
        return byte, 1
    second = np.intp(item(text, i + 1)) & 0x3F
    if byte < 0xE0:
        return (byte & 0x1F) << 6 | second, 2
    third = np.intp(item(text, i + 2)) & 0x3F
    if byte < 0xF0:
        return (byte & 0x0F) << 12 | second << 6 | third, 3
    return (byte & 0x07) << 18 | second << 12 | third << 6 | (np.intp(item(text, i + 3)) & 0x3F), 4


@inlined
def _hashed(text, start, stop, letters, words, characters, n_features, window, ids, at):
    """Write the columns of a row from ids[at] on; return where it ended. For the arguments see `hash_rows`."""
    i, n_words = start, 0
    while i < stop:
        value, begin, length, size = _BASIS, i, 0, 1
        while i < stop:
            code, size = _code_point(text, i)
            if item(letters, code) == 0:
                break
            for j in range(i, i + size):
                value = (value ^ np.uint64(item(text, j))) * _PRIME
            i += size
            length += 1
        if length >= 2:
            if words[1] > 0 and ids is not None:
                at = _word_ngrams(value, n_words, words[0], words[1], n_features, window, ids, at)
            if characters[1] > 0:
                if ids is None:
                    at += _n_ngrams(length + 2, characters[0], characters[1]) - 2 * (characters[0] == 1)
                else:
                    at = _character_ngrams(text, begin, i, characters[0], characters[1], n_features, ids, at)
            n_words += 1
        i += size  # what ended the word
    if words[1] > 0 and ids is None:
        at += _n_ngrams(n_words, words[0], words[1])
    return at


@inlined
def summed(ids, data, start, stop, n_bits, spare, counts, binary, norm):
    """Sort ids[start:stop], sum equal ones into data, and return how many are left: a canonical row.

    spare : (>= stop - start,) int32, counts : (2, MOST_DIGITS) int64, scratch.
    """
    n = stop - start
    row, n_digits = ids[start:stop], _digits(n, n_bits)
    digit_bits = max(1, -(-n_bits // max(1, n_digits)))
    mask = (1 << digit_bits) - 1
    for d in range(mask + 1):
        put(counts[0], d, 0)
    for i in range(n):
        d = np.intp(item(row, i)) & mask
        put(counts[0], d, item(counts[0], d) + 1)
    _sort(n, 0, n_bits, digit_bits, row, spare, counts)
    source = spare if n_digits & 1 else row
    to, last, squares, one = start - 1, np.intp(-1), 0.0, data.dtype.type(1)
    for i in range(n):
        column = np.intp(item(source, i))
        if column != last:
            to, last = to + 1, column
            put(ids, to, column)
            put(data, to, one)
        elif not binary:
            put(data, to, item(data, to) + one)
    to += 1
    if norm != NO_NORM:
        for i in range(start, to):
            value = np.float64(item(data, i))
            squares += value if norm == L1 else value * value
        length = squares if norm == L1 else np.sqrt(squares)
        for i in range(start, to):
            put(data, i, np.float64(item(data, i)) / length)
    return to - start


@kernel
def count_rows(text, starts, letters, words, characters, windows, blocks, progress, sizes):
    """sizes[r] = how many entries `hash_rows` writes for row r before it sums them."""
    window = windows[fetch_add(progress, THREAD, 1)]
    block = fetch_add(progress, NEXT, 1)
    while block < blocks[0]:
        for row in range(first_bag(blocks, block, starts), first_bag(blocks, block + 1, starts)):
            start, stop = item(starts, row), item(starts, row + 1)
            put(sizes, row, _hashed(text, start, stop, letters, words, characters, 1, window, None, 0))
        fetch_add(progress, DONE, 1)
        block = fetch_add(progress, NEXT, 1)


@kernel
def hash_rows(
    text, starts, letters, words, characters, windows, n_features, n_bits, binary, norm, offsets, spare, counts,
    blocks, progress, ids, data, sizes,
):  # fmt: skip
    """Write a canonical row of each text: ids and data from offsets[r] on, sizes[r] of them.

    A word is the longest run of characters with letters[code point] != 0, if it has two or more.

    text : (n_bytes,) uint8, in. starts : (n_rows + 1,) int64, in: from 0 to n_bytes. letters : (0x110000,) uint8, in.
    words, characters : (least, most) n of the n-grams; (0, 0) for none. n_bits : as many as a column has.
    windows : (n_threads, >= most) uint64, spare : (n_threads, most entries of a row) int32, counts : (n_threads, 2,
    MOST_DIGITS) int64, scratch. offsets : (n_rows,) int64, in: from what `count_rows` says.
    binary : whether data are ones. norm : NO_NORM, L1 or L2, the length that rows are then divided by.
    """
    thread = fetch_add(progress, THREAD, 1)
    window, free, some = windows[thread], spare[thread], counts[thread]
    block = fetch_add(progress, NEXT, 1)
    while block < blocks[0]:
        for row in range(first_bag(blocks, block, starts), first_bag(blocks, block + 1, starts)):
            at = item(offsets, row)
            end = _hashed(
                text, item(starts, row), item(starts, row + 1), letters, words, characters, n_features, window, ids, at
            )  # fmt: skip
            put(sizes, row, summed(ids, data, at, end, n_bits, free, some, binary, norm))
        fetch_add(progress, DONE, 1)
        block = fetch_add(progress, NEXT, 1)


@kernel
def gather_rows(offsets, indptr, ids, data, blocks, progress, out_ids, out_data):
    """Copy the rows that begin at offsets to where indptr says; indptr is (n_rows + 1,), in."""
    block = fetch_add(progress, NEXT, 1)
    while block < blocks[0]:
        for row in range(first_bag(blocks, block, indptr), first_bag(blocks, block + 1, indptr)):
            first, shift = item(indptr, row), item(offsets, row) - item(indptr, row)
            for i in range(first, item(indptr, row + 1)):
                put(out_ids, i, item(ids, i + shift))
                put(out_data, i, item(data, i + shift))
        fetch_add(progress, DONE, 1)
        block = fetch_add(progress, NEXT, 1)
