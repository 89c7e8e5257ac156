"""How the CUDA kernels are compiled, and how their compiled code is found again in the next process."""

from typing import Any

from numba import cuda
from numba.core import config

from ._jit import _digest

SIMULATED = bool(config.ENABLE_CUDASIM)


def device(function: Any) -> Any:
    """Compile a helper that becomes part of the kernel that calls it."""
    if SIMULATED:
        return cuda.jit(device=True)(function)
    return cuda.jit(device=True, forceinline=True)(function)


def kernel(function: Any) -> Any:
    """Compile a kernel at its first launch, and keep its machine code on disk where a directory can be written."""
    dispatcher = cuda.jit(function)
    if SIMULATED:
        return dispatcher
    try:
        dispatcher.enable_caching()
    except RuntimeError:  # a read-only install, and no cache directory of the user's: compiled once per process
        return dispatcher
    dispatcher._cache._cache_file._source_stamp = _digest()
    return dispatcher
