"""Ordinary threads for kernels that release the GIL; safe to use from many threads and after a fork."""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="skbag")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)  # a child has none of its parent's threads


def run(task: Callable[[int, int], None], blocks: list[tuple[int, int]], n_jobs: int) -> None:
    """Call task(first, last) for every block, in up to n_jobs threads of which the caller's is one.

    Blocks are handed out one by one. A worker that never got to run is not waited for, so callers in many threads
    cannot block one another.
    """
    if n_jobs == 1 or len(blocks) == 1:
        for block in blocks:
            task(*block)
        return
    left = deque(blocks)

    def drain() -> None:
        while left:
            try:
                block = left.popleft()
            except IndexError:  # another thread took the last one in between
                return
            task(*block)

    futures = [_workers().submit(drain) for _ in range(min(n_jobs, len(blocks)) - 1)]
    try:
        drain()
    finally:
        left.clear()
        for future in futures:
            if not future.cancel():
                future.result()
