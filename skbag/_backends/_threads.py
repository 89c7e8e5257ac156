"""Ordinary threads for kernels that release the GIL; safe to use from many threads and after a fork."""

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

from joblib import effective_n_jobs


def effective_threads(n_jobs: int | None) -> int:
    """Return how many threads n_jobs means here, no more than processors; ValueError for 0.

    Only None and negative numbers ask joblib.
    """
    n_threads = n_jobs if n_jobs is not None and n_jobs > 0 else effective_n_jobs(n_jobs)
    return min(int(n_threads), os.cpu_count() or 1)


class _Job:
    """Work that one worker may begin, unless it is taken back before."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work: Callable[[], None] | None = work
        self.error: BaseException | None = None
        self.taken, self.ended = threading.Lock(), threading.Lock()
        self.ended.acquire()

    def run(self) -> None:
        if self.taken.acquire(blocking=False):
            try:
                self.work()  # type: ignore[misc]
            except BaseException as error:  # the caller's to raise: the worker goes on
                self.error = error
            self.work = None  # and with it the arrays, before anybody is told
            self.ended.release()

    def cancel(self) -> bool:
        """Take the work back; return whether it had not begun."""
        cancelled = self.taken.acquire(blocking=False)
        if cancelled:
            self.work = None
        return cancelled

    def wait(self) -> None:
        """Wait for the end of work that has begun, and raise its error."""
        self.ended.acquire()
        if self.error is not None:
            raise self.error


class _Workers:
    """Threads that sleep until there is a job; as many as were ever wanted at once, and no more than processors."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.n_threads = 0
        self.lock = threading.Lock()

    def start(self, n_threads: int) -> None:
        with self.lock:
            while self.n_threads < min(n_threads, os.cpu_count() or 1):
                self.n_threads += 1
                threading.Thread(target=self._work, name=f"skbag-{self.n_threads}", daemon=True).start()

    def _work(self) -> None:
        while True:
            self.jobs.get().run()


_workers = _Workers()


def _forget() -> None:
    global _workers
    _workers = _Workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # a child has none of its parent's threads


def run(work: Callable[[], None], n_threads: int, finished: Callable[[], bool]) -> None:
    """Call ``work`` in up to n_threads threads at once, of which the caller's is one.

    Every call of ``work`` takes blocks until none is left, so that a worker that never gets to run is not needed:
    callers in many threads cannot block one another. ``finished`` says whether all blocks are done; only if one is
    still under way is its worker waited for.
    """
    if n_threads - 1 > _workers.n_threads:
        _workers.start(n_threads - 1)
    jobs = [_Job(work) for _ in range(n_threads - 1)]
    for job in jobs:
        _workers.jobs.put(job)
    try:
        work()
    finally:
        begun = [job for job in jobs if not job.cancel()]
    if not finished():
        for job in begun:
            job.wait()
