"""Ordinary threads for kernels that release the GIL; safe to use from many threads and after a fork."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from numbers import Integral
from queue import SimpleQueue
from typing import Any

from joblib import effective_n_jobs

_TRIES = 9  # of something that raises errors and has to be done
_LOOK = 0.05  # seconds between two looks at pending signals


@cache
def processors() -> int:
    """Return how many processors there are: a question to the system that takes as long as a small call."""
    return os.cpu_count() or 1


def check_jobs(n_jobs: Any) -> Any:
    """Return n_jobs; TypeError if it is neither an integer nor None, as parameters may be set after fit."""
    if not (n_jobs is None or isinstance(n_jobs, (int, Integral))):  # numbers of Python at once: ABCs are slow
        raise TypeError(f"n_jobs must be an integer or None, got {n_jobs!r}.")
    return n_jobs


def effective_threads(n_jobs: int | None) -> int:
    """Return how many threads n_jobs means here, no more than processors; ValueError for 0.

    Only None and negative numbers ask joblib.
    """
    if n_jobs == 0:
        raise ValueError("n_jobs must be None or an integer other than 0, got 0.")
    n_threads = n_jobs if n_jobs is not None and n_jobs > 0 else effective_n_jobs(n_jobs)
    if n_threads == 1:
        return 1
    return min(int(n_threads), processors())


class _Job:
    """Work that one worker may begin, unless it is taken back before.

    Every method may be interrupted at any place and called again.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self.work: Callable[[], None] | None = work
        self.error: BaseException | None = None
        self.claims: list[str] = []  # the first one counts: an append is atomic, and can be repeated
        self.has_ended, self.end = False, threading.Lock()
        self.end.acquire()

    def run(self) -> None:
        self.claims.append("worker")
        if self.claims[0] == "worker":
            try:
                self.work()  # type: ignore[misc]
            except BaseException as error:  # the caller's to raise: the worker goes on
                self.error = error
            self.work = None  # and with it the arrays, before the caller goes on
            self.has_ended = True
            self.end.release()

    def cancel(self) -> bool:
        """Take the work back; return whether it had not begun."""
        self.claims.append("caller")
        return self.claims[0] == "caller"

    def wait(self) -> None:
        """Wait for the end of work that has begun, or will."""
        while not self.has_ended:
            self.end.acquire(timeout=_LOOK)  # CPython misses a signal that comes just before a thread begins to wait


class _Workers:
    """Threads that sleep until there is a job; as many as were ever wanted at once, and no more than processors."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.n_threads = 0
        self.lock = threading.Lock()

    def have(self, n_threads: int) -> int:
        """Start threads until there are n_threads; return how many of them there are: fewer if there is no memory."""
        n_threads = min(n_threads, processors())
        if self.n_threads < n_threads:
            with self.lock, suppress(RuntimeError):  # "can't start new thread"
                while self.n_threads < n_threads:
                    name = f"skbag-{self.n_threads + 1}"
                    threading.Thread(target=self._work, name=name, daemon=True).start()
                    self.n_threads += 1
        return min(n_threads, self.n_threads)

    def _work(self) -> None:
        while True:
            self.jobs.get().run()


_workers = _Workers()


def _forget() -> None:
    global _workers
    _workers = _Workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # a child has none of its parent's threads


def run(
    work: Callable[[], None],
    n_threads: int,
    finished: Callable[[], bool],
    stop: Callable[[], None],
    *,
    apart: bool = False,
) -> None:
    """Call ``work`` in up to n_threads threads at once, of which the caller's is one.

    Every call of ``work`` takes blocks until none is left, so that a worker that never gets to run is not needed:
    callers in many threads cannot block one another. When this returns or raises, all work has ended.

    Parameters
    ----------
    work : callable
    n_threads : int
    finished : callable
        Whether all blocks are done; only if one is still under way is its worker waited for.
    stop : callable
        Makes every call of ``work`` return soon. Called if something is raised.
    apart : bool
        Whether the work is long. The main thread then only waits: handlers of signals run in it alone, and not while
        it is inside of a kernel.
    """
    apart = apart and threading.current_thread() is threading.main_thread()
    jobs = [_Job(work) for _ in range(_workers.have(n_threads if apart else n_threads - 1))]
    try:
        for job in jobs:
            _workers.jobs.put(job)
        if apart and jobs:
            jobs[0].wait()
        else:
            work()
        if not finished():
            for job in jobs:
                if not job.cancel():
                    job.wait()
        for job in jobs:
            job.cancel()
            if job.error is not None:
                raise job.error
    except BaseException:
        _end(jobs, stop)
        raise
    finally:
        for job in jobs:
            job.error = None  # it holds frames, with all arrays, and these hold it


def run_each(tasks: Iterable[Callable[[], None]], n_threads: int) -> None:
    """Call each of some functions once, in up to n_threads threads at once, of which the caller's is one.

    What one raises is raised here; others may have run then, or not.
    """
    waiting = deque(tasks)

    def work() -> None:
        while waiting:
            try:
                task = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            task()

    run(work, min(n_threads, len(waiting)), lambda: False, waiting.clear)


def _end(jobs: list[_Job], stop: Callable[[], None]) -> None:
    """Wait until no job is under way, even if a second interrupt comes."""

    def end() -> None:
        stop()
        for job in jobs:
            if not job.cancel():
                job.wait()

    to_the_end(end)


def to_the_end(function: Callable[[], None]) -> None:
    """Call a function, again and again if interrupts come meanwhile, until it has come to its end.

    For what has to be done when something was raised, which is raised then: later interrupts are dropped. Calls that
    did not come to their end must not matter. An error is raised if it comes again.
    """
    n_errors = 0
    while True:
        try:
            function()
            return
        except Exception:  # the function's own, or that of the handler of a signal
            n_errors += 1
            if n_errors > _TRIES:
                raise
        except BaseException:  # an interrupt
            continue
