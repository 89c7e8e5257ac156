"""How the CUDA kernels are compiled, and how their compiled code is found again in the next process."""

from typing import Any

from numba import cuda
from numba.core import config

from ._jit import cached

SIMULATED = bool(config.ENABLE_CUDASIM)


def device(function: Any) -> Any:
    """Compile a helper that becomes part of the kernel that calls it."""
    if SIMULATED:
        return cuda.jit(device=True)(function)
    return cuda.jit(device=True, forceinline=True)(function)


def kernel(function: Any) -> Any:
    """Compile a kernel at its first launch, once per machine if it can be kept."""
    dispatcher = cuda.jit(function)
    return dispatcher if SIMULATED else cached(dispatcher)
