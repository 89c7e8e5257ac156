"""What is printed of parameters that are large: what they are, and of which size."""

import sys
from math import prod
from typing import Any

_MOST = 30  # elements that are printed: scikit-learn prints as many of a list
_PRINTERS = {"_changed_params", "_safe_repr", "_pprint_estimator", "_get_params_html"}  # scikit-learn's functions


class PrintedMixin:
    """Estimators whose parameters may be tables, which printing would convert to text whole, element by element."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of this estimator.

        Parameters
        ----------
        deep : bool, default=True
            Whether those of estimators among them are returned as well.

        Returns
        -------
        dict of str to object
            Values by name.
        """
        params: dict[str, Any] = super().get_params(deep=deep)  # type: ignore[misc]
        # what prints an estimator, also inside of a Pipeline, has no other door for what is to be printed
        if sys._getframe(1).f_code.co_name in _PRINTERS:
            return {name: Summary(value) if _is_large(value) else value for name, value in params.items()}
        return params


class Summary:
    """What is printed in place of a large value."""

    def __init__(self, value: Any) -> None:
        name, shape = type(value).__name__, getattr(value, "shape", None)
        if isinstance(shape, tuple):
            dtype = getattr(value, "dtype", "")
            self._text = f"<{name} {shape}{f' {dtype}' if str(dtype) else ''}>"
        else:
            self._text = f"<{name} of {len(value)} items>"

    def __repr__(self) -> str:
        return self._text


def _is_large(value: Any) -> bool:
    """Whether a parameter has more elements than are printed, or a part of it."""
    if value is None or isinstance(value, (str, bytes, type)) or hasattr(value, "get_params"):
        return False
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and all(isinstance(n, int) for n in shape):
        return type(value).__module__.split(".")[0] != "skbag" and prod(shape) > _MOST
    try:
        n = len(value)
    except TypeError:
        return False
    if n > _MOST:
        return True
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return any(_is_large(part) for part in parts)
