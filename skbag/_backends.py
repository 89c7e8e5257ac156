"""Backends: memory, threads and launches. Each one offers the same functions on checked bags."""

import re
import sys
from functools import cache
from importlib import import_module
from typing import Any

from skbag._compiled.shield import drop_orphans, shielded

_COMPILERS = "numba", "llvmlite", "numba_cuda"


def get_backend(device: str) -> Any:
    """Import and return the backend of a device; ValueError if there is none of that name."""
    name, index = _parsed(device)
    module = _module(f"_{name}.backend")
    return module if name == "cpu" else module.backend(index)


def get_trainer(device: str) -> Any:
    """Import and return the training module of a device's backend; ValueError if there is none of that name."""
    name, index = _parsed(device)
    module = _module(f"_{name}.training")
    return module if name == "cpu" else module.trainer(index)


@cache  # an import statement costs microseconds even where there is nothing left to import
def _module(name: str) -> Any:
    return shielded(_imported, f"skbag.{name}")


def _imported(name: str) -> Any:
    """Import a backend; an import that fails, here or in the user's code before, leaves nothing behind."""
    drop_orphans(*_COMPILERS)
    before = set(sys.modules)
    try:
        return import_module(name)
    except BaseException as error:
        halves = {"skbag._cpu", "skbag._cuda", "skbag._compiled"}  # what did not fail itself may hold on to what did
        if not isinstance(error, ImportError):
            halves |= set(_COMPILERS) - before
        for other in set(sys.modules) - before:
            if any(other.startswith(f"{half}.") or other == half for half in halves):
                del sys.modules[other]
        drop_orphans(*_COMPILERS)
        raise


def _parsed(device: str) -> tuple[str, int]:
    """Return the name of the backend, and the number of the GPU."""
    if isinstance(device, str) and device == "cpu":
        return "cpu", 0
    match = re.fullmatch(r"cuda(?::(\d+))?", device) if isinstance(device, str) else None
    if match is None:
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N' with the number N of a GPU, got {device!r}.")
    return "cuda", int(match[1] or 0)
