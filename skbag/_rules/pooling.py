"""Pooling: what the members of a bag weigh in its features."""

from skbag._rules.elementwise import Value, absolute, sqrt

SUM, MEAN, SQRTN, MAX = range(4)
MODES = {"sum": SUM, "mean": MEAN, "sqrtn": SQRTN, "max": MAX}


def share_of_size(mode: int, weight: Value) -> Value:
    """What a member adds to the size of its bag: its square for "sqrtn", else its absolute value."""
    return weight * weight if mode == SQRTN else absolute(weight)


def size(mode: int, total: Value) -> Value:
    """What the sum of the weighted rows of a bag is divided by, from the sum of what its members add."""
    return sqrt(total) if mode == SQRTN else total
