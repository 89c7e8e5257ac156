"""Columns by number or by name."""

from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def names_of(estimator: Any, feature_names: Any) -> Array | None:
    """Return one name per column as strings: those given, else those of `fit`; None if there are none.

    Raises
    ------
    ValueError
        If there is not one name per column of X.
    """
    if feature_names is None:
        known: Array | None = getattr(estimator, "feature_names_in_", None)
        return known
    names = np.asarray(feature_names, dtype=object)
    n = estimator.n_features_in_
    if names.shape != (n,):
        raise ValueError(f"feature_names must be one name per column of X, {n}, got an array of shape {names.shape}.")
    return names


def column_of(feature: Any, names: Array | None, n_features: int) -> int:
    """Return the number of a column that is given by number or by name.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If there is no such column, more than one, or a name without names.
    """
    if isinstance(feature, str):
        if names is None:
            raise ValueError(f"feature={feature!r} is a name: pass feature_names, or the number of a column.")
        found = np.flatnonzero(names == feature)
        if not len(found):
            raise ValueError(f"feature={feature!r} must be one of feature_names, and is not.")
        if len(found) > 1:
            raise ValueError(
                f"feature={feature!r} must be in feature_names once, and {len(found)} columns have this name: pass the "
                "number of one."
            )
        return int(found[0])
    if not isinstance(feature, Integral) or isinstance(feature, bool):
        raise TypeError(f"feature must be the number or the name of a column, got {feature!r}.")
    if not 0 <= int(feature) < n_features:
        raise ValueError(
            f"feature must be at least 0 and less than the number of columns, {n_features}, got {feature}."
        )
    return int(feature)


def named(columns: Array, values: Array, names: Array | None) -> list[tuple[Any, float]]:
    """Return pairs of a column, by name if there are names, and a value."""
    return [(int(j) if names is None else names[j], float(value)) for j, value in zip(columns, values, strict=True)]


def check_count(value: Any, name: str) -> int:
    """Return a positive integer; TypeError or ValueError if it is none."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}.")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}.")
    return int(value)


def strongest(values: Array, k: int) -> Array:
    """Return where the k largest of some values are, the largest first, of equal ones the first."""
    if k < len(values):
        least = np.partition(values, len(values) - k)[len(values) - k]
        above = np.flatnonzero(values > least)
        some = np.concatenate([above, np.flatnonzero(values == least)[: k - len(above)]])
        some.sort()
    else:
        some = np.arange(len(values))
    return some[np.argsort(-values[some], kind="stable")]


def duplicate_of(words: Iterable[Any]) -> Any:
    """Return the first word that was there before; None if there is none."""
    seen: set[Any] = set()
    return next((word for word in words if word in seen or seen.add(word)), None)  # type: ignore[func-returns-value]
