"""The blocks that stand side by side in a pooled row: modes, and fields of columns."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skbag._rules.pooling import MODES, Mode, modes_of

Array = NDArray[Any]

_REFITTED = (
    "X has other columns than those that fields are of, as when an encoder in front is fitted again on rows without "
    "some category: give it all of them, as in OneHotEncoder(categories=...)."
)


def check_mode(mode: Any) -> Mode:
    """Return one mode as a str, several as a tuple; ValueError if they are not different ones of those there are."""
    if type(mode) is str and mode in MODES:
        return mode
    several = isinstance(mode, Sequence) and not isinstance(mode, str)
    modes = tuple(mode) if several else (mode,)
    if not modes or not all(isinstance(each, str) and each in MODES for each in modes):
        raise ValueError(f"mode must be one of {tuple(MODES)}, or a list of some of them, got {mode!r}.")
    if len(set(modes)) < len(modes):
        raise ValueError(f"mode must be a list of different modes, got {mode!r}.")
    return modes if len(modes) > 1 else modes[0]


class Fields(NamedTuple):
    """Groups of consecutive columns, each of which is pooled by itself."""

    edges: Array  # (n_fields + 1,) int64: 0, ..., the number of columns
    names: tuple[str, ...]

    @classmethod
    def of(cls, fields: Any, n_columns: int) -> "Fields":
        """Return the fields that a parameter names; None is one of all columns.

        Parameters
        ----------
        fields : sequence of int, mapping of str to slice, or None
            How many columns each has, or which.
        n_columns : int

        Raises
        ------
        TypeError
            If they are neither.
        ValueError
            If a field overlaps another, or a column is in none.
        """
        if fields is None:
            return cls(np.array([0, n_columns], np.int64), ("",))
        named = isinstance(fields, Mapping)
        parts = _parts_of_slices(fields, n_columns) if named else _parts_of_counts(fields, n_columns)
        ends, names = [stop for _, _, stop in parts], tuple(str(name) for name, _, _ in parts)
        return cls(np.array([0, *ends], np.int64), names)

    @property
    def n_fields(self) -> int:
        """Return how many there are."""
        return len(self.names)

    def field_of(self, columns: Array) -> Array:
        """Return the number of the field of each of some columns."""
        return np.searchsorted(self.edges[1:], columns, side="right")


def _parts_of_counts(fields: Any, n_columns: int) -> list[tuple[str, int, int]]:
    counts = list(fields) if isinstance(fields, (Sequence, np.ndarray)) and not isinstance(fields, str) else None
    if counts is None or not all(isinstance(n, Integral) and not isinstance(n, bool) for n in counts):
        raise TypeError(
            f"fields must be numbers of columns, or slices of columns by name as in output_indices_ of a "
            f"ColumnTransformer, got {fields!r}."
        )
    if not counts or min(counts) < 0:
        raise ValueError(f"fields must be at least one number of columns, none of them negative, got {fields!r}.")
    if sum(counts) != n_columns:
        raise ValueError(
            f"fields must add up to the number of columns of X, {n_columns}, got {fields!r}, which is {sum(counts)}. "
            + _REFITTED
        )
    stops = np.cumsum(counts).tolist()
    return [(f"field{k}", stop - n, stop) for k, (n, stop) in enumerate(zip(counts, stops, strict=True))]


def _parts_of_slices(fields: Mapping[Any, Any], n_columns: int) -> list[tuple[str, int, int]]:
    parts: list[tuple[str, int, int]] = []
    for name, some in fields.items():
        bounds: Any = (some.start, some.stop) if isinstance(some, slice) and some.step in (None, 1) else (-1, -1)
        if not all(isinstance(bound, Integral) and int(bound) >= 0 for bound in bounds):
            raise TypeError(f"fields[{name!r}] must be a slice of columns with a start and a stop, got {some!r}.")
        if bounds[0] < bounds[1]:  # a transformer that was dropped has none
            parts.append((name, int(bounds[0]), int(bounds[1])))
    parts.sort(key=lambda part: part[1])
    end, before = 0, None
    for name, start, stop in parts:
        if start < end:
            raise ValueError(f"fields[{name!r}] begins at column {start}, and overlaps fields[{before!r}].")
        if start > end:
            raise ValueError(f"fields must leave no column out: {end} to {start - 1} are in none.")
        end, before = stop, name
    if end != n_columns:
        raise ValueError(f"fields must end where the columns of X do, at {n_columns}, got {end}. {_REFITTED}")
    return parts


class Blocks(NamedTuple):
    """How a pooled row is made: for each field, what each mode makes of it, and then the interaction."""

    mode: Mode
    n_fields: int = 1
    interaction: bool = False  # half of the product of a field's sum and that of all, less the sum of squares

    @property
    def per_field(self) -> int:
        """Return how many blocks a field has."""
        return len(modes_of(self.mode)) + self.interaction

    @property
    def n_blocks(self) -> int:
        """Return how many times as wide as the table a pooled row is."""
        return self.n_fields * self.per_field
