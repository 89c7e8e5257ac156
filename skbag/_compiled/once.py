"""Making each kernel once."""

from collections.abc import Callable
from functools import wraps
from typing import Any


def once(make: Callable[..., Any]) -> Callable[..., Any]:
    """Keep what a maker of kernels returns, as `functools.cache` does; threads that ask at once get the same, too.

    Several may make a kernel then, and the first one stays: making is cheap, and nothing is compiled by it.
    """
    made: dict[tuple[Any, ...], Any] = {}

    @wraps(make)
    def kept(*key: Any) -> Any:
        found = made.get(key)
        return made.setdefault(key, make(*key)) if found is None else found

    return kept
