"""What numbers a parameter may be: those that a float64 or an int32 can hold."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options

_LARGEST = float(np.finfo(np.float64).max)


class _Floats(Interval):
    """An interval of numbers that a float64 can hold, whatever their type."""

    def __contains__(self, value: Any) -> bool:
        try:
            return super().__contains__(float(value))  # a float32 cannot be compared with the largest float64
        except OverflowError:
            return False


COUNT = Interval(Integral, 1, 2**31 - 1, closed="both")
COLUMNS = Interval(Integral, 1, 2**63 - 1, closed="both")
POSITIVE = _Floats(Real, 0, _LARGEST, closed="right")
NOT_NEGATIVE = _Floats(Real, 0, _LARGEST, closed="both")
INFINITY = Options(Real, {np.inf})


def check_sizes(sizes: Any, name: str) -> tuple[int, ...]:
    """Return sizes of layers, one or several, as a tuple; ValueError if one is no positive integer."""
    if type(sizes) is tuple and not sizes:
        return ()
    if isinstance(sizes, Integral) and not isinstance(sizes, bool):
        sizes = (sizes,)
    if isinstance(sizes, str) or not np.iterable(sizes):
        raise ValueError(f"{name} must be a positive integer, or several of them, got {sizes!r}.")
    for k, size in enumerate(sizes):
        if isinstance(size, bool) or not isinstance(size, Integral) or size not in COUNT:
            raise ValueError(f"{name} must be integers from 1 to 2147483647, got {size!r} at position {k}.")
    return tuple(map(int, sizes))


NORM: dict[str, Any] = {"max_norm": [POSITIVE, INFINITY, None], "norm_type": [POSITIVE, INFINITY]}
