"""Copies from one array on the host to another one, in several threads: one does not get what the memory can give.

What is copied lies in pages that were never touched, or left the cache long ago. NumPy does not hold the GIL meanwhile.
"""

import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_MOST_THREADS = 8
_PIECE = 1 << 20  # bytes: below that, to wake a thread takes as long


@cache
def _pool(process: int) -> tuple[ThreadPoolExecutor, int]:
    """Return the threads of a process, and how many there are."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_threads = min(_MOST_THREADS, usable)
    return ThreadPoolExecutor(n_threads, thread_name_prefix="skbag-copy"), n_threads


def _copy_all(pairs: list[tuple[Array, Array]]) -> None:
    for target, source in pairs:
        np.copyto(target, source)


def begin(pairs: list[tuple[Array, Array]]) -> list[Future[None]]:
    """Begin to copy arrays: of each pair the second one to the first one, of its shape and dtype, both C-contiguous.

    Every thread has a share of each. What is short is copied at once.
    """
    n_bytes = sum(source.nbytes for _, source in pairs)
    if n_bytes < 2 * _PIECE:
        _copy_all(pairs)
        return []
    pool, n_threads = _pool(os.getpid())
    n = min(n_threads, n_bytes // _PIECE)
    flat = [(target.reshape(-1), source.reshape(-1)) for target, source in pairs]
    edges = [np.linspace(0, source.size, n + 1).astype(np.int64).tolist() for _, source in flat]
    return [
        pool.submit(_copy_all, [
            (target[some[k] : some[k + 1]], source[some[k] : some[k + 1]])
            for (target, source), some in zip(flat, edges, strict=True)
        ])
        for k in range(n)
    ]  # fmt: skip


def end(copies: list[Future[Any]]) -> None:
    """Wait for copies that were begun, and take them off the list."""
    wait(copies)
    ended, copies[:] = copies[:], []
    for each in ended:
        each.result()


def taken(values: Array, indices: Array) -> Array:
    """Return values[indices] of arrays of one dimension; indices are there."""
    if indices.nbytes < 2 * _PIECE:
        return values[indices]
    out = np.empty(len(indices), values.dtype)
    pool, n_threads = _pool(os.getpid())
    n = min(n_threads, indices.nbytes // _PIECE)
    edges = np.linspace(0, len(indices), n + 1).astype(np.int64).tolist()
    parts = [slice(*edge) for edge in pairwise(edges)]
    others = [pool.submit(np.take, values, indices[part], None, out[part], "clip") for part in parts[1:]]
    np.take(values, indices[parts[0]], out=out[parts[0]], mode="clip")
    end(others)
    return out


def copy(target: Array, source: Array) -> None:
    """Copy an array to another one of its shape, both C-contiguous."""
    end(begin([(target, source)]))
