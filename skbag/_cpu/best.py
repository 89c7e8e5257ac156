"""The k largest of many numbers, while they come: a heap in two rows, of numbers and of their values.

On top of the heap is the one that leaves first. One comes before another if it is larger, or if it is equal and has a
smaller number.
"""

from skbag._cpu.jit import inlined
from skbag._cpu.memory import item, put


@inlined
def _before(value, number, other, its_number):
    return value > other or (value == other and number < its_number)


@inlined
def _sink(best, scores, n, number, value):
    """Put one in the place of the top of a heap of n."""
    i, below = 0, 1
    while below < n:
        if below + 1 < n:
            other = below + 1
            if _before(item(scores, below), item(best, below), item(scores, other), item(best, other)):
                below = other  # the later of two
        if not _before(value, number, item(scores, below), item(best, below)):
            break
        put(best, i, item(best, below))
        put(scores, i, item(scores, below))
        i, below = below, 2 * below + 1
    put(best, i, number)
    put(scores, i, value)


@inlined
def keep(best, scores, found, number, value):
    """Take one in among the best of those so far, of which ``found`` are kept; return how many are now.

    best : (k,) int64, scores : (k,), in-out. value : not NaN.
    """
    if found == len(best):
        if _before(value, number, item(scores, 0), item(best, 0)):
            _sink(best, scores, found, number, value)
        return found
    i = found
    while i > 0 and _before(item(scores, (i - 1) // 2), item(best, (i - 1) // 2), value, number):
        put(best, i, item(best, (i - 1) // 2))
        put(scores, i, item(scores, (i - 1) // 2))
        i = (i - 1) // 2
    put(best, i, number)
    put(scores, i, value)
    return found + 1


@inlined
def arrange(best, scores, found):
    """Bring the kept ones into their order, the largest first, and -1 into the rest of ``best``."""
    for end in range(found - 1, 0, -1):
        number, value = item(best, end), item(scores, end)
        put(best, end, item(best, 0))
        put(scores, end, item(scores, 0))
        _sink(best, scores, end, number, value)
    for i in range(found, len(best)):
        put(best, i, -1)
