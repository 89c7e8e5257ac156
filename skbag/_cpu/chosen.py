"""Head of a layer of very many outputs, of which a bag has to do with some: sampled ones, or those of a tree."""

import numpy as np

from skbag._compiled.once import once
from skbag._cpu.head import WIDE, loss_loop, prefetch_row, product, row_address, weighted_rows
from skbag._cpu.jit import inlined, part
from skbag._cpu.memory import item, item_bytes, put
from skbag._cpu.sorting import assign
from skbag._cpu.tile import full

_ROWS_AHEAD = 8


@inlined
def _mixed(bits):
    """Return 64 bits that look random: the finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@inlined
def _draw(chosen, number, drawn):
    """Draw the negatives of mini-batch ``number``: drawn[0] < drawn[1] < ...; return how many.

    The i-th comes from a point in [i, i + 1) of the line that ``skbag._data.some_outputs.Negatives`` describes. Which
    one depends on the seed, the mini-batch and i alone, so that every part of a mini-batch draws the same.
    """
    step = np.uint64(0x9E3779B97F4A7C15)
    seed = _mixed(np.uint64(chosen.seed) + np.uint64(number) * step)
    cumulative, firsts, n = chosen.cumulative, chosen.begins, 0
    for i in range(len(firsts) - 1):
        bits = _mixed(seed + np.uint64(i) * step)
        point = i + np.float64(np.int64(bits >> np.uint64(11))) * 2.0**-53
        low, high = item(firsts, i), item(firsts, i + 1)
        while low < high:
            middle = (low + high) // 2
            if item(cumulative, middle) > point:
                high = middle
            else:
                low = middle + 1
        if n == 0 or item(drawn, n - 1) != low:
            put(drawn, n, low)
            n += 1
    return n


@inlined
def _candidates(targets, chosen, bag, start, drawn, n_drawn, target, goals):
    """List the outputs of a bag in chosen.ids from ``start`` on: its own, then what is drawn besides; return how many.

    goals[k] = the target of the k-th. target : (n_outputs,), zeros before and after.
    """
    indices, indptr, values, ids, n = targets.indices, targets.indptr, targets.values, chosen.ids, 0
    for i in range(indptr[bag], indptr[bag + 1]):
        value = item(values, i) if len(values) > 0 else goals.dtype.type(1)
        if value != 0:
            put(target, item(indices, i), value)
            put(ids, start + n, item(indices, i))
            put(goals, n, value)
            n += 1
    for j in range(n_drawn):
        if item(target, item(drawn, j)) == 0:
            put(ids, start + n, item(drawn, j))
            put(goals, n, 0)
            n += 1
    for i in range(indptr[bag], indptr[bag + 1]):
        put(target, item(indices, i), 0)
    return n


@inlined
def _nodes(targets, chosen, bag, start, goals, factors):
    """List the nodes on the ways to the classes of a bag in chosen.ids from ``start`` on; return how many.

    goals[k] = 1 where the k-th way goes right, factors[k] = the probability of the class it leads to.
    """
    indices, indptr, values, ids, n = targets.indices, targets.indptr, targets.values, chosen.ids, 0
    for i in range(indptr[bag], indptr[bag + 1]):
        leaf, value = item(indices, i), item(values, i) if len(values) > 0 else goals.dtype.type(1)
        if value != 0:
            for j in range(item(chosen.path_starts, leaf), item(chosen.path_starts, leaf + 1)):
                put(ids, start + n, item(chosen.path_nodes, j))
                put(goals, n, item(chosen.path_sides, j))
                put(factors, n, value)
                n += 1
    return n


@once
def chosen_head_kernel(lanes, block, loss, tree):
    """Make the kernel of a last layer of which each bag has some outputs, and a loss; see ``head.head_kernel``.

    ``tree`` says whether the outputs are nodes of a tree: `_nodes`, or else `_candidates`.
    """
    derive = loss_loop(block, loss)

    @inlined
    def outputs_of(layer, p, ids, start, n, offsets, z):
        """z[0, k] = what the layer makes of inputs[p] for output ids[start + k], k < n, and candidates' offset."""
        coef, intercept, source = layer.coef, layer.intercept, row_address(layer.inputs, p)
        zero, dim, itemsize = coef.dtype.type(0), coef.shape[1], item_bytes(coef)
        tile, wide = full(zero, lanes, 1), full(zero, lanes, WIDE)
        for k in range(min(n, _ROWS_AHEAD)):
            prefetch_row(coef, item(ids, start + k))
        for k in range(n):
            prefetch_row(coef, item(ids, start + min(n - 1, k + _ROWS_AHEAD)))
            row = np.intp(item(ids, start + k))
            value = intercept[row] + product(tile, wide, lanes, source, row_address(coef, row), dim, itemsize)
            if not tree:
                value += item(offsets, row)
            z[0, k] = value

    @part
    def head(targets, chosen, layer, batch, parts, part_, begin, end, first, n_bags, number):
        """Go through the bags begin <= p < end of a mini-batch of n_bags bags, which begins at order[first].

        losses[p] and gradients[p] as in ``head.head_kernel``. The outputs of bag p stand in chosen.ids from
        starts[first + p] - starts[first] on, their derivatives in chosen.weights, p in chosen.bags; each is listed with
        the part that owns it.

        targets : structs.Targets, in. chosen : structs.Chosen. layer : structs.Layer; gradients, out. batch :
        structs.Batch; losses, out. parts : structs.Parts; targets[part_], scratch, zeros before and after. number : of
        the mini-batch, 1, 2, ...
        """
        order, sample_weight = targets.order, targets.sample_weight
        target, drawn, ids, weights = parts.targets[part_], chosen.drawn[part_], chosen.ids, chosen.weights
        coef, gradients, zero = layer.coef, layer.gradients, layer.coef.dtype.type(0)
        z, goals, factors = chosen.outputs[part_], chosen.outputs[part_, 1], chosen.outputs[part_, 2]
        tile, wide, outer = full(zero, lanes, 1), full(zero, lanes, WIDE), full(zero, block, 1)
        n_parts, n_drawn = len(parts.firsts), 0
        if not tree:
            n_drawn = _draw(chosen, number, drawn)
        for p in range(begin, end):
            bag = order[first + p]
            start = targets.starts[first + p] - targets.starts[first]
            if tree:
                n = _nodes(targets, chosen, bag, start, goals, factors)
            else:
                n = _candidates(targets, chosen, bag, start, drawn, n_drawn, target, goals)
            outputs_of(layer, p, ids, start, n, chosen.offsets, z)
            scale = zero + sample_weight[bag] / n_bags
            loss_ = zero
            if n > 0:
                if tree:
                    loss_ = derive(outer, z, 0, n, np.uintp(goals.ctypes.data), np.uintp(factors.ctypes.data), scale)
                else:
                    loss_ = derive(outer, z, 0, n, np.uintp(goals.ctypes.data), None, scale)
            batch.losses[p] = np.float64(loss_) * scale
            for k in range(n):
                put(weights, start + k, z[0, k])
                put(chosen.bags, start + k, p)
            assign(n_parts, start, start + n, ids, chosen.firsts[part_], chosen.owned, chosen.n_owned[part_])
            if len(gradients) > 0:
                weighted_rows(tile, wide, lanes, coef, ids, start, n, z, 0, gradients, p)

    return head
