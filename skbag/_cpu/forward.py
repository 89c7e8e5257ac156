"""Forward: from the bags of a mini-batch to pooled rows, on the CPU."""

import numpy as np

from skbag._cpu.jit import as_rule, inlined
from skbag._cpu.memory import item, put
from skbag._cpu.structs import Reduction
from skbag._rules.pooling import MEAN, SQRTN, share_of_size, size

as_rule(share_of_size)
as_rule(size)


@inlined
def reduction_of(forward, batch, progress):
    """Return the rows of a mini-batch, whose weights are those of ``collect``, as something to be reduced."""
    return Reduction(
        forward.table, batch.weights, batch.ids, None, forward.spare, batch.starts, batch.stops, batch.weights[:0],
        progress, batch.pooled,
    )  # fmt: skip


@inlined
def collect(mode, bags, bag, p, start, ids, weights, owners):
    """Copy the members of a bag to ``start`` and on, with the weight that the gradient has for them; return the end.

    Members that padding_idx or a weight of 0 takes out are not copied. ``weights`` becomes w, for MEAN w / sum |w|, for
    SQRTN w / sqrt(sum w ** 2).

    bags : structs.Bags, in. ids, weights : (n_members,), out. owners : (n_members,), out: p for each member.
    """
    total = 0.0
    end = start
    given, indices, padding_idx = bags.weights, bags.indices, bags.padding_idx
    for i in range(item(bags.indptr, bag), item(bags.indptr, bag + 1)):
        index = np.int64(item(indices, i))
        weight = item(given, i) if len(given) > 0 else weights.dtype.type(1)
        if index != padding_idx and weight != 0:
            put(ids, end, index)
            put(weights, end, weight)
            put(owners, end, p)
            total += share_of_size(mode, np.float64(weight))
            end += 1
    if mode in (MEAN, SQRTN):
        scale = weights.dtype.type(1 / size(mode, total)) if end > start else 0
        for i in range(start, end):
            weights[i] *= scale
    return end


@inlined
def pool_max(table, ids, start, stop, pooled, winners, p):
    """pooled[p] = elementwise maximum of the rows, winners[p] = the first member that has it; zeros, -1 if none.

    NaN is larger than any number, as for torch.

    table : (n_rows, dim), in. ids : (n_members,), in. pooled : (n_bags, dim), out. winners : (n_bags, dim) int64, out.
    """
    for d in range(table.shape[1]):
        pooled[p, d] = 0
        winners[p, d] = -1
    for i in range(start, stop):
        row = ids[i]
        for d in range(table.shape[1]):
            value, largest = table[row, d], pooled[p, d]
            if winners[p, d] < 0 or value > largest or (np.isnan(value) and not np.isnan(largest)):
                pooled[p, d] = value
                winners[p, d] = i
