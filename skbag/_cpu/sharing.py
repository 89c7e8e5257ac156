"""How threads share the work of a call.

Work comes in blocks: ``blocks`` = (how many, shares). Each takes half of a share of what is left: the last ones are
small, so that threads, if they are no more than the shares, end together although they did not begin together. Every
thread of a call runs the same kernel with the same ``progress`` (6,) int64 (in-out): [NEXT] is the next block that
nobody has taken, [DONE] counts the finished ones, [INVALID] becomes 1 if an id is out of range or indptr decreases,
[EXTREME] if something is not finite, or a weight or the size of a bag is so large or small that its cube leaves the
dtype, [UNSORTED] if the ids of a bag do not increase strictly; where it is 1 before, the order is not looked at.
[THREAD] says how many threads have begun, if they have scratch memory.
"""

import numpy as np

from skbag._cpu.jit import inlined, kernel
from skbag._cpu.memory import fetch_add, item

NEXT, DONE, INVALID, EXTREME, UNSORTED, THREAD = range(6)
STOP = INVALID  # what the tickets of training, which kernels for both take for progress, have in its place


@inlined
def begin_of(blocks, block, n):
    """Return where a block of n things begins; block blocks[0] is the end."""
    n_blocks, shares = blocks
    if block == n_blocks:
        return n
    left = 1 - 0.5 / shares  # to the power of a whole number is a function that Numba would have to compile
    return np.intp(n * ((1 - left ** np.float64(block)) / (1 - left ** np.float64(n_blocks))))


@inlined
def first_bag(blocks, block, indptr):
    """Return the first bag of a block; blocks share the members, not the bags."""
    low, high = 0, len(indptr) - 1
    if block == 0 or block == blocks[0]:  # every bag is in a block, even if indptr decreases
        return high if block else low
    target = begin_of(blocks, block, np.intp(item(indptr, high)))
    while low < high:
        middle = (low + high) // 2
        if item(indptr, middle) < target:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def wait(progress, n_blocks, spins):
    """Whether all blocks are done, after looking at most ``spins`` times."""
    for _ in range(spins):  # noqa: SIM110
        if fetch_add(progress, DONE, 0) >= n_blocks:
            return True
    return False
