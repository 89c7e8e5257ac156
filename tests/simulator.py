"""Numba's CUDA simulator, made fit to run the kernels in: for the tests and for the smoke run of bench_cuda.py."""

import os
import sys
from importlib.util import find_spec

import numpy as np

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


def _shared_array(self, shape, dtype):
    frame = sys._getframe(1)
    return self._allocations.setdefault((frame.f_code, frame.f_lineno), np.empty(shape, dtype))


if SIMULATED:
    sys.setswitchinterval(2e-5)  # its threads wait for one another all the time
    if find_spec("numba_cuda"):
        from numba.cuda.simulator.kernelapi import FakeCUDAShared

        FakeCUDAShared.array = _shared_array  # Numba's: two threads that ask at once get an array each
