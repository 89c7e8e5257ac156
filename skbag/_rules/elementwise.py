"""The functions that rules are written with: of numbers in Python, of NumPy arrays, and of what a device compiles.

Each backend teaches its compiler these functions, of a number and of a vector of them: ``skbag._cpu.vector`` and
``skbag._cuda.vector``. So a rule is written once, without a branch, and works in every kernel and in a test.
"""

from typing import Any

import numpy as np

Value = Any  # a number, an array or a vector of numbers


def exp(x: Value) -> Value:
    """E ** x."""
    return np.exp(x)


def log(x: Value) -> Value:
    """Natural logarithm of x > 0."""
    return np.log(x)


def log1p(x: Value) -> Value:
    """log(1 + x) for 0 <= x <= 1."""
    return np.log1p(x)


def sqrt(x: Value) -> Value:
    """Square root."""
    return np.sqrt(x)


def absolute(x: Value) -> Value:
    """|x|."""
    return np.abs(x)


def maximum(x: Value, y: Value) -> Value:
    """The larger of two."""
    return np.maximum(x, y)


def minimum(x: Value, y: Value) -> Value:
    """The smaller of two."""
    return np.minimum(x, y)


def where(condition: Value, x: Value, y: Value) -> Value:
    """X where the condition holds, else y; both are computed."""
    return np.where(condition, x, y)
