"""Forward: the members of a mini-batch, copied together in the order of its bags, on a GPU.

`skbag._cuda.pooling` then pools them as it pools bags.
"""

from functools import cache

import numpy as np
from numba import cuda

from skbag._cuda.jit import kernel
from skbag._cuda.pooling import FILTER, UNIT, find
from skbag._cuda.tile import item


@cache
def expand_kernel(weighting, threads):
    """Make the kernel that copies the members of a mini-batch together, one thread per member."""

    @kernel
    def expand(
        order, batch_indptr, n_bags, n_members, indices, weights, indptr, padding, no_row,
        batch_rows, batch_weights, batch_bags,
    ):  # fmt: skip
        """Write row, weight and bag of every member; the row ``no_row`` for one that padding or a weight of 0 drops.

        order : (>= n_bags,) int64, in: the bags. batch_indptr : (> n_bags,) int64, in: sums of their lengths.
        indices, weights, indptr : all bags, in, checked. batch_rows, batch_weights, batch_bags : (>= n_members,), out;
            bags int32.
        """
        i = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        if i < n_members:
            position = i + item(batch_indptr, 0)
            bag = find(batch_indptr, n_bags, position)
            source = np.int64(item(indptr, item(order, bag))) + position - item(batch_indptr, bag)
            row = item(indices, source)
            weight = weights.dtype.type(1)
            if weighting != UNIT:
                weight = item(weights, source)
            batch_rows[i] = no_row if row == padding or weight == 0 else row
            batch_weights[i] = weights.dtype.type(1) if weighting == FILTER else weight
            batch_bags[i] = bag

    return expand
