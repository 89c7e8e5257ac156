"""Copies from one array on the host to another one, in several threads: one does not get what the memory can give.

What is copied lies in pages that were never touched, or left the cache long ago. NumPy does not hold the GIL meanwhile.
"""

import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_MOST_THREADS = 4
_PIECE = 1 << 20  # bytes: below that, to wake a thread takes as long


@cache
def _pool(process: int) -> tuple[ThreadPoolExecutor, int]:
    """Return the threads of a process, and how many there are."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_threads = min(_MOST_THREADS, usable)
    return ThreadPoolExecutor(n_threads, thread_name_prefix="skbag-copy"), n_threads


def begin(target: Array, source: Array) -> list[Future[None]]:
    """Begin to copy an array to another one of its shape, both C-contiguous; what is short is copied at once."""
    if source.nbytes < 2 * _PIECE:
        target[...] = source
        return []
    pool, n_threads = _pool(os.getpid())
    to, given = target.reshape(-1), source.reshape(-1)
    edges = np.linspace(0, given.size, min(n_threads, source.nbytes // _PIECE) + 1).astype(np.int64)
    return [
        pool.submit(np.copyto, to[first:last], given[first:last])
        for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]


def end(copies: list[Future[None]]) -> None:
    """Wait for copies that were begun, and take them off the list."""
    wait(copies)
    ended, copies[:] = copies[:], []
    for each in ended:
        each.result()


def copy(target: Array, source: Array) -> None:
    """Copy an array to another one of its shape, both C-contiguous."""
    end(begin(target, source))
