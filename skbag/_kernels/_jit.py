"""How the CPU kernels are compiled, and how their compiled code is found again in the next process."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numba

_OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False, "_nrt": False}


@cache
def _digest() -> str:
    """Digest of every file of this folder: Numba itself only looks at the file that defines a kernel."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def cached(dispatcher: Any) -> Any:
    """Keep the machine code of a kernel on disk where a directory can be written."""
    try:
        dispatcher.enable_caching()
    except RuntimeError:  # a read-only install, and no cache directory of the user's: compiled once per process
        return dispatcher
    dispatcher._cache._cache_file._source_stamp = _digest()
    return dispatcher


def kernel(function: Any) -> Any:
    """Compile a loop that releases the GIL, once per machine if it can be kept."""
    return cached(numba.njit(**_OPTIONS)(function))


def inlined(function: Any) -> Any:
    """Compile a helper that becomes part of the kernel that calls it."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)
