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

NORM: dict[str, Any] = {"max_norm": [POSITIVE, INFINITY, None], "norm_type": [POSITIVE, INFINITY]}
