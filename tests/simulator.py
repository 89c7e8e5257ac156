"""Numba's CUDA simulator, made fit to run the kernels in: for the tests and for the smoke run of bench_cuda.py.

A thread is one of Python's there, so blocks are made small; SKBAG_FULL_BLOCKS=1 leaves them as they are on a GPU.
"""

import os
import random
import sys
import threading
from contextlib import ExitStack
from importlib.util import find_spec

import numpy as np

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
FULL_BLOCKS = not SIMULATED or os.environ.get("SKBAG_FULL_BLOCKS") == "1"


def _shared_array(self, shape, dtype):
    frame = sys._getframe(1)
    return self._allocations.setdefault((frame.f_code, frame.f_lineno), np.empty(shape, dtype))


def _make_blocks_small():
    from skbag._cuda import device as _device

    _device.THREADS = 4  # before others import it
    from skbag._cuda import sorter

    sorter._ITEMS = sorter._MOST_BITS = 3


class _StoppedError(RuntimeError):
    """Raised in a thread that waits for one that failed."""


_random = random.Random(0)


class _Barrier:
    """Where the threads of a block wait for one another; those that are done are not waited for.

    From there they go on one by one, in any order, or all at once, so that a kernel that lacks a barrier is found out.
    """

    def __init__(self, n_threads):
        self.lock, self.n_threads, self.waiting, self.next = threading.Lock(), n_threads, [], []

    def wait(self, thread):
        gate = threading.Lock()
        gate.acquire()
        with self.lock:
            self.waiting.append(gate)
            self._go_on()
        gate.acquire()
        if thread.abort:
            raise _StoppedError

    def leave(self):
        with self.lock:
            self.n_threads -= 1
            self._go_on()

    def _go_on(self):
        if not self.next and len(self.waiting) == self.n_threads:
            self.next, self.waiting = self.waiting, []
            _random.shuffle(self.next)
            if _random.random() < 0.3:
                while len(self.next) > 1:
                    self.next.pop().release()
        if self.next:
            self.next.pop().release()


def _run_block(self, grid_point, *args):
    """Run the threads of a block; Numba's own asks each all the time whether it waits, which is most of the work."""
    from numba.cuda.simulator.kernel import BlockThread

    def work():
        try:
            barrier.wait(threading.current_thread())
            self._f(*args)
        except BaseException:
            for thread in threads:
                thread.abort = True
            raise
        finally:
            barrier.leave()

    points = list(np.ndindex(*self._block_dim))
    barrier, threads = _Barrier(len(points)), []
    threads += [BlockThread(work, self, grid_point, point, self._debug) for point in points]
    for thread in threads:
        thread.barrier = barrier
        thread.start()
    for thread in threads:
        thread.join()
    for error, traceback in (thread.exception for thread in threads if thread.exception):
        if not isinstance(error, _StoppedError):
            raise error.with_traceback(traceback)


_launch = None  # Numba's own way to call a kernel
_modules = None  # of the launch under way: those whose name "cuda" means that of its threads, and how to end it


def _call(self, *args):
    """Launch a kernel, or call a helper in one; Numba's own looks at every name of the helper's module each time."""
    global _modules
    from numba.cuda.simulator import kernel

    context = kernel._get_kernel_context()
    if context is None:
        with ExitStack() as stack:
            _modules = set(), stack, threading.Lock()
            return _launch(self, *args)
    known, stack, lock = _modules
    names = self.fn.__globals__
    if id(names) not in known:
        with lock:
            if id(names) not in known:
                stack.enter_context(kernel.swapped_cuda_module(self.fn, context))
                known.add(id(names))
    return self.fn(*args)


def _repair():
    from numba.cuda.simulator.kernel import BlockManager, BlockThread, FakeCUDAKernel
    from numba.cuda.simulator.kernelapi import FakeCUDAShared

    global _launch
    _launch, FakeCUDAKernel.__call__ = FakeCUDAKernel.__call__, _call
    BlockManager.run = _run_block
    BlockThread.syncthreads = lambda self: self.barrier.wait(self)
    FakeCUDAShared.array = _shared_array  # Numba's: two threads that ask at once get an array each


if SIMULATED:
    sys.setswitchinterval(1e-3 if FULL_BLOCKS else 2e-5)  # a thread is stopped anywhere; of many, not all the time
    if find_spec("numba_cuda"):
        _repair()
        if not FULL_BLOCKS:
            _make_blocks_small()
