"""Backends: memory, threads and launches. Each one offers the same functions on checked bags."""

from importlib import import_module
from typing import Any


def get_backend(device: str) -> Any:
    """Import and return the backend of a device; ValueError if there is none of that name."""
    if device != "cpu":
        raise ValueError(f"device must be 'cpu', got {device!r}.")
    return import_module("skbag._backends.cpu")
