"""Backends: memory, threads and launches. Each one offers the same functions on checked bags."""

from importlib import import_module
from typing import Any


def get_backend(device: str) -> Any:
    """Import and return the backend of a device; ValueError if there is none of that name."""
    return import_module(f"skbag._backends.{_checked(device)}")


def get_trainer(device: str) -> Any:
    """Import and return the training module of a device's backend; ValueError if there is none of that name."""
    return import_module(f"skbag._backends.{_checked(device)}_training")


def _checked(device: str) -> str:
    if device != "cpu":
        raise ValueError(f"device must be 'cpu', got {device!r}.")
    return device
