"""Loops over texts on the CPU that find the ids of fastText: those of ``Dictionary::getLine`` in its dictionary.cc.

A vocabulary is kept as the file has it: entries of the bytes of a word, a zero, and 9 bytes more.
"""

import numpy as np

from skbag._cpu.jit import inlined, kernel
from skbag._cpu.memory import fetch_add, item, put
from skbag._cpu.ngrams import bounded, is_inside, summed
from skbag._cpu.sharing import DONE, NEXT, THREAD, first_bag
from skbag._data.lexicon import REST

_BASIS, _PRIME = np.uint32(2166136261), np.uint32(16777619)  # 32-bit FNV-1a
_STEP = np.uint64(116049371)  # from the words so far to one more


@inlined
def _hashed(value, byte):
    """Return a hash with one byte more; as fastText has it, a byte from 128 on counts as a negative number."""
    return np.uint32((value ^ np.uint32(np.int32(np.int8(byte)))) * _PRIME)


@inlined
def _hash_of(text, begin, end):
    value = _BASIS
    for i in range(begin, end):
        value = _hashed(value, item(text, i))
    return value


@inlined
def _same(text, begin, end, entries, at, stop):
    """Whether text[begin:end] is entries[at:stop]."""
    if end - begin != stop - at:
        return False
    for i in range(end - begin):  # noqa: SIM110
        if item(text, begin + i) != item(entries, at + i):
            return False
    return True


@inlined
def _entry_of(text, begin, end, value, entries, begins, slots):
    """Return the slot of a word with this hash, and the entry there; -1 if there is none."""
    mask = len(slots) - 1
    slot = np.intp(value) & mask
    while True:
        entry = np.intp(item(slots, slot))
        if entry < 0 or _same(text, begin, end, entries, item(begins, entry), item(begins, entry + 1) - REST):
            return slot, entry
        slot = (slot + 1) & mask


@kernel
def find_entries(section, n_words, begins, found):
    """begins[k] = where entry k begins, for the entries that are whole, and where the last one ends.

    Stops at the first entry that is not whole, or not of the type that it should have: 0 before n_words, then 1.

    section : (n_bytes,) uint8, in. begins : (n_entries + 1,) int64, out. found : (2,) int64, in-out: how many entries
    are whole, from 0 on; and which one is of the wrong type, -1 before.
    """
    at, n = 0, len(section)
    begins[0] = 0
    for k in range(len(begins) - 1):
        while at < n and item(section, at) != 0:
            at += 1
        if at + REST > n:
            return
        at += REST
        begins[k + 1] = at
        found[0] = k + 1
        if item(section, at - 1) != (k >= n_words):
            found[1] = k
            return


@kernel
def fill_slots(entries, begins, slots, twice):
    """Put every entry into the hash table ``slots``, which is -1 throughout; twice[0] = the first that is there."""
    for k in range(len(begins) - 1):
        begin, end = item(begins, k), item(begins, k + 1) - REST
        slot, entry = _entry_of(entries, begin, end, _hash_of(entries, begin, end), entries, begins, slots)
        if entry >= 0:
            twice[0] = k
            return
        put(slots, slot, k)


@inlined
def _add_bucket(bucket, n_words, is_pruned, pruned, ids, at):
    """Write the id of a bucket, if the model has kept it; return where that ended."""
    row = bucket
    if is_pruned:
        low, high = 0, len(pruned)
        while low < high:
            middle = (low + high) // 2
            if item(pruned, middle) >> 32 < bucket:
                low = middle + 1
            else:
                high = middle
        if low == len(pruned) or item(pruned, low) >> 32 != bucket:
            return at
        row = item(pruned, low) & 0xFFFFFFFF
    if ids is not None:
        put(ids, at, n_words + row)
    return at + 1


@inlined
def _add_subwords(text, begin, end, characters, n_words, bucket, is_pruned, pruned, ids, at):
    """Write the ids of the character n-grams of <word>, ``Dictionary::computeSubwords``; return where it ended."""
    i = begin - 1
    while i <= end:
        value, j, n = _BASIS, i, 1
        while j <= end and n <= characters[1]:
            value = _hashed(value, bounded(text, j, begin, end))
            j += 1
            while begin <= j < end and is_inside(item(text, j)):
                value = _hashed(value, item(text, j))
                j += 1
            if n >= characters[0] and not (n == 1 and (i < begin or j > end)):
                at = _add_bucket(np.intp(value % np.uint32(bucket)), n_words, is_pruned, pruned, ids, at)
            n += 1
        i += 1
        while begin <= i < end and is_inside(item(text, i)):
            i += 1
    return at


@inlined
def _is_space(byte):
    r"""Whether a byte ends a word: a space, or one of \t \n \v \f \r \0."""
    return byte == 32 or byte == 0 or 9 <= byte <= 13


@inlined
def _is_end(text, begin, end):
    """Whether a word is the mark </s>."""
    return (
        end - begin == 4
        and item(text, begin) == 60
        and item(text, begin + 1) == 47
        and item(text, begin + 2) == 115
        and item(text, begin + 3) == 62
    )


@inlined
def _read(
    text, start, stop, entries, begins, slots, n_words, characters, most, bucket, is_pruned, pruned, label_prefix,
    whole, window, ids, at,
):  # fmt: skip
    """Write the ids of a row from ids[at] on; return where it ended. For the arguments see `read_rows`."""
    i, n_hashes, goes_on = start, 0, whole or start < stop
    while goes_on:
        while i < stop and not whole and _is_space(item(text, i)):
            i += 1
        begin, value = i, _BASIS
        while i < stop and (whole or not _is_space(item(text, i))):
            value = _hashed(value, item(text, i))
            i += 1
        if i == begin and not whole:
            break
        _, entry = _entry_of(text, begin, i, value, entries, begins, slots)
        is_last = _is_end(text, begin, i)
        goes_on = i < stop and not is_last
        n = len(label_prefix)
        if entry >= n_words or (
            entry < 0 and not whole and i - begin >= n and _same(text, begin, begin + n, label_prefix, 0, n)
        ):
            continue  # a label
        if entry >= 0:
            if ids is not None:
                put(ids, at, entry)
            at += 1
        if characters[1] > 0 and not is_last:
            at = _add_subwords(text, begin, i, characters, n_words, bucket, is_pruned, pruned, ids, at)
        if most > 1 and not whole:
            signed = np.uint64(np.int64(np.int32(value)))
            for k in range(min(n_hashes, most - 1) - 1, -1, -1):
                longer = item(window, k) * _STEP + signed
                at = _add_bucket(np.intp(longer % np.uint64(bucket)), n_words, is_pruned, pruned, ids, at)
                if k + 2 < most:
                    put(window, k + 1, longer)
            put(window, 0, signed)
            n_hashes += 1
    return at


@kernel
def count_rows(
    text, starts, entries, begins, slots, n_words, characters, most, bucket, is_pruned, pruned, label_prefix, whole,
    windows, blocks, progress, sizes,
):  # fmt: skip
    """sizes[r] = how many ids `read_rows` writes for row r before it sums them."""
    window = windows[fetch_add(progress, THREAD, 1)]
    block = fetch_add(progress, NEXT, 1)
    while block < blocks[0]:
        for row in range(first_bag(blocks, block, starts), first_bag(blocks, block + 1, starts)):
            n = _read(
                text, item(starts, row), item(starts, row + 1), entries, begins, slots, n_words, characters, most,
                bucket, is_pruned, pruned, label_prefix, whole, window, None, 0,
            )  # fmt: skip
            put(sizes, row, n)
        fetch_add(progress, DONE, 1)
        block = fetch_add(progress, NEXT, 1)


@kernel
def read_rows(
    text, starts, entries, begins, slots, n_words, characters, most, bucket, is_pruned, pruned, label_prefix, whole,
    windows, n_bits, offsets, spare, counts, blocks, progress, ids, data, sizes,
):  # fmt: skip
    """Write a canonical row of each text: ids, and as data how often they occur, from offsets[r] on, sizes[r] of them.

    Ids are words, then buckets; what stands in the vocabulary from n_words on are labels, and left out.

    text : (n_bytes,) uint8, in. starts : (n_rows + 1,) int64, in: from 0 to n_bytes.
    entries, begins, slots : the vocabulary, in, from `find_entries` and `fill_slots`.
    characters : (minn, maxn). most : words of the longest word n-gram. bucket : number of buckets, at least 1 if there
        are n-grams. is_pruned, pruned : whether only some buckets are left, and (n, 2) int32, in: they and their rows.
    label_prefix : (n,) uint8, in: words that begin with it are labels. whole : whether a text is a word.
    windows, spare, counts, offsets : as in ``ngrams.hash_rows``.
    """
    thread = fetch_add(progress, THREAD, 1)
    window, free, some = windows[thread], spare[thread], counts[thread]
    block = fetch_add(progress, NEXT, 1)
    while block < blocks[0]:
        for row in range(first_bag(blocks, block, starts), first_bag(blocks, block + 1, starts)):
            at = item(offsets, row)
            end = _read(
                text, item(starts, row), item(starts, row + 1), entries, begins, slots, n_words, characters, most,
                bucket, is_pruned, pruned, label_prefix, whole, window, ids, at,
            )  # fmt: skip
            put(sizes, row, summed(ids, data, at, end, n_bits, free, some, False, 0))
        fetch_add(progress, DONE, 1)
        block = fetch_add(progress, NEXT, 1)
