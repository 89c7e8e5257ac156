"""Pooling: what the members of a bag weigh in its features."""

from skbag._rules.elementwise import Value, absolute, sqrt

SUM, MEAN, SQRTN, MAX = range(4)
MODES = {"sum": SUM, "mean": MEAN, "sqrtn": SQRTN, "max": MAX}

Mode = str | tuple[str, ...]  # one of MODES, or two or more different ones


def modes_of(mode: Mode) -> tuple[str, ...]:
    """Return the modes that stand side by side."""
    return (mode,) if isinstance(mode, str) else mode


def sums_in(mode: Mode) -> tuple[str, ...]:
    """Return the modes that are one sum with different divisors: "sum" first, which has none."""
    return tuple(sorted((name for name in modes_of(mode) if name != "max"), key=MODES.__getitem__))


def passes_of(mode: Mode) -> tuple[tuple[str, ...], ...]:
    """Return the modes by passes over the members: those of `sums_in` in one, "max" in one of its own."""
    return tuple(some for some in (sums_in(mode), tuple({"max"} & set(modes_of(mode)))) if some)


def share_of_size(mode: int, weight: Value) -> Value:
    """What a member adds to the size of its bag: its square for "sqrtn", else its absolute value."""
    return weight * weight if mode == SQRTN else absolute(weight)


def size(mode: int, total: Value) -> Value:
    """What the sum of the weighted rows of a bag is divided by, from the sum of what its members add."""
    return sqrt(total) if mode == SQRTN else total
