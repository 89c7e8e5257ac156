"""Backends: memory, threads and launches. Each one offers the same functions on checked bags."""

import re
from functools import cache
from importlib import import_module
from typing import Any


def get_backend(device: str) -> Any:
    """Import and return the backend of a device; ValueError if there is none of that name."""
    name, index = _parsed(device)
    module = _module(name)
    return module if name == "cpu" else module.backend(index)


def get_trainer(device: str) -> Any:
    """Import and return the training module of a device's backend; ValueError if there is none of that name."""
    name, index = _parsed(device)
    module = _module(f"{name}_training")
    return module if name == "cpu" else module.trainer(index)


@cache  # an import statement costs microseconds even where there is nothing left to import
def _module(name: str) -> Any:
    return import_module(f"skbag._backends.{name}")


def _parsed(device: str) -> tuple[str, int]:
    """Return the name of the backend, and the number of the GPU."""
    if isinstance(device, str) and device == "cpu":
        return "cpu", 0
    match = re.fullmatch(r"cuda(?::(\d+))?", device) if isinstance(device, str) else None
    if match is None:
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N' with the number N of a GPU, got {device!r}.")
    return "cuda", int(match[1] or 0)
