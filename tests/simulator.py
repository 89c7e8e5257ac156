"""Numba's CUDA simulator, made fit to run the kernels in: for the tests and for the smoke run of bench_cuda.py.

A thread is one of Python's there, so blocks are made small; SKBAG_FULL_BLOCKS=1 leaves them as they are on a GPU.
"""

import os
import sys
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

    sorter._ITEMS = sorter._BITS = 3


if SIMULATED:
    sys.setswitchinterval(2e-5)  # its threads wait for one another all the time
    if find_spec("numba_cuda"):
        from numba.cuda.simulator.kernelapi import FakeCUDAShared

        FakeCUDAShared.array = _shared_array  # Numba's: two threads that ask at once get an array each
        if not FULL_BLOCKS:
            _make_blocks_small()
