"""Ordinary threads for kernels that release the GIL; safe to use from many threads and after a fork."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="skbag")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)  # a child has none of its parent's threads


def run(work: Callable[[], None], n_threads: int, finished: Callable[[], bool]) -> None:
    """Call ``work`` in up to n_threads threads at once, of which the caller's is one.

    Every call of ``work`` takes blocks until none is left, so that a worker that never gets to run is not needed:
    callers in many threads cannot block one another. ``finished`` says whether all blocks are done; only if one is
    still under way is its worker waited for.
    """
    futures = [_workers().submit(work) for _ in range(n_threads - 1)]
    work()
    if not finished():
        for future in futures:
            if not future.cancel():
                future.result()
