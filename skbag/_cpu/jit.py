"""How the CPU kernels are compiled."""

from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl

from skbag._compiled.cache import KernelCache
from skbag._compiled.dispatch import enabled, kept

_OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False, "_nrt": False}


def kernel(function: Any) -> Any:
    """Compile a loop that releases the GIL, once per machine if it can be kept."""
    with enabled():
        dispatcher = numba.njit(**_OPTIONS)(function)
    return kept(dispatcher, KernelCache(dispatcher, CompileResultCacheImpl))


def inlined(function: Any) -> Any:
    """Compile a helper that becomes part of the kernel that calls it."""
    with enabled():
        return numba.njit(forceinline=True, **_OPTIONS)(function)
