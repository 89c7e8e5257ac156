"""Outputs that are those of the inner nodes of a tree: from them to its leaves, to all or to the best, on the CPU.

Nodes come after their children, the root last. A leaf has the sum of what the branches on its way have; see
``skbag._rules.losses.branches``. Both functions add up the same numbers in the same order, and agree to the last bit.
"""

import numpy as np

from skbag._cpu.best import arrange, keep
from skbag._cpu.head import prefetch_row, product, row_address
from skbag._cpu.jit import as_rule, inlined
from skbag._cpu.memory import item, item_bytes, put
from skbag._cpu.tile import load, store
from skbag._cpu.vector import as_tile
from skbag._rules.losses import branches

NODES_TOGETHER = 64  # whose branches are made at once
_branches = as_rule(branches)


@inlined
def all_leaves(outer, block, leaves, t, nodes, p, outputs, row):
    """outputs[row] = the logarithms of the probabilities of the leaves, for the outputs nodes[p]; each node once.

    outer : a tile of ``block`` lanes. leaves : structs.Leaves, of which row t is scratch. nodes : (m, >= n - 1, whole
    vectors), in. outputs : (n_rows, n), out.
    """
    children, reached, lefts, rights = leaves.children, leaves.reached[t], leaves.steps[t, 0], leaves.steps[t, 1]
    n_nodes, itemsize = len(children) // 2, item_bytes(nodes)
    n, end, base = n_nodes + 1, n_nodes, row_address(nodes, p)
    to_left, to_right = np.uintp(lefts.ctypes.data), np.uintp(rights.ctypes.data)
    put(reached, n + n_nodes - 1, 0)
    while end > 0:
        first = (end - 1) // len(lefts) * len(lefts)
        for k in range(first, end, block):
            left, right = _branches(load(outer, base + np.uintp(k) * itemsize, 0))
            at = np.uintp(k - first) * itemsize
            store(as_tile(outer, left), to_left + at, 0)
            store(as_tile(outer, right), to_right + at, 0)
        for k in range(end - 1, first - 1, -1):
            so_far = item(reached, n + k)
            put(reached, item(children, 2 * k), so_far + item(lefts, k - first))
            put(reached, item(children, 2 * k + 1), so_far + item(rights, k - first))
        end = first
    for k in range(n):
        outputs[row, k] = item(reached, k)


@inlined
def best_leaves(tile, wide, lanes, layer, p, leaves, t, best, scores):
    """Find the most probable leaves for inputs[p]: ``best`` gets their numbers, ``scores`` the logarithms.

    The best comes first, of equal ones the first; -1 stands where NaN leaves fewer. The search goes down the more
    probable branch before the other, and not where what is reached is less than the last of the best: no leaf below can
    be more, as logarithms are not above 0 and rounding keeps the order of sums.

    layer : structs.Layer, of the nodes. best : (k,) int64, scores : (k,), out.
    """
    coef, intercept = layer.coef, layer.intercept
    children, reached, waiting = leaves.children, leaves.reached[t], leaves.waiting[t]
    n_nodes, dim, itemsize, source = len(coef), coef.shape[1], item_bytes(coef), row_address(layer.inputs, p)
    n, found, n_waiting = n_nodes + 1, 0, 1
    put(waiting, 0, n + n_nodes - 1)
    put(reached, 0, 0)
    while n_waiting > 0:
        n_waiting -= 1
        at, so_far = np.intp(item(waiting, n_waiting)), item(reached, n_waiting)
        while at >= 0 and (found < len(best) or so_far >= item(scores, 0)):
            if at < n:
                found = keep(best, scores, found, at, so_far)
                break
            k = at - n
            z = intercept[k] + product(tile, wide, lanes, source, row_address(coef, k), dim, itemsize)
            if np.isnan(z):
                break
            left, right = _branches(z)
            at, other = np.intp(item(children, 2 * k)), np.intp(item(children, 2 * k + 1))
            if right > left:
                at, other, left, right = other, at, right, left
            put(waiting, n_waiting, other)
            put(reached, n_waiting, so_far + right)
            n_waiting += 1
            so_far += left
            if at >= n:
                prefetch_row(coef, at - n)
    arrange(best, scores, found)
