"""What an embedding bag means: plain loops in float64, without Numba. The oracle of every kernel."""

from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array


def canonical(X):
    """Return what SciPy makes of a CSR matrix with duplicates and unsorted rows, whatever its flags say."""
    Y = csr_array(X.shape, dtype=X.dtype)
    Y.data, Y.indices, Y.indptr = X.data.copy(), X.indices.copy(), X.indptr.copy()
    Y.sum_duplicates()
    return Y


def bags_of_csr(X, per_sample_weights=True):
    """Return the members of every row of a CSR matrix: (columns, weights). A sum of zero is no member."""
    bags, X = [], canonical(X)
    for begin, end in pairwise(X.indptr):
        columns, values = X.indices[begin:end], X.data[begin:end]
        columns, values = columns[values != 0], values[values != 0].astype(np.float64)
        bags.append((columns, values if per_sample_weights else np.ones(len(columns))))
    return bags


def bags_of_ids(ids, offsets=None, weights=None, include_last_offset=False):
    """Return the members of every bag in one of torch's layouts: every listed id is one, whatever its weight."""
    ids = np.asarray(ids)
    weights = np.ones(ids.shape) if weights is None else np.asarray(weights, np.float64)
    if ids.ndim == 2:
        return list(zip(ids, weights, strict=True))
    edges = list(offsets) if include_last_offset else [*offsets, len(ids)]
    return [(ids[begin:end], weights[begin:end]) for begin, end in pairwise(edges)]


def rescaled(table, max_norm, norm_type=2.0):
    """Return the table with the rows that are longer than max_norm brought down to it; the 1e-7 is torch's."""
    table = np.array(table, np.float64)
    for row in table:
        norm = np.linalg.norm(row, norm_type)
        if norm > max_norm:
            row *= max_norm / (norm + 1e-7)
    return table


def pool(bags, table, mode, padding_idx=None, max_norm=None, norm_type=2.0):
    """Pool rows of the table: one output row per bag."""
    table = np.asarray(table, np.float64) if max_norm is None else rescaled(table, max_norm, norm_type)
    out = np.zeros((len(bags), table.shape[1]))
    for bag, (ids, weights) in enumerate(bags):
        if padding_idx is not None:
            kept = ids != padding_idx % len(table)
            ids, weights = ids[kept], weights[kept]
        if len(ids):
            out[bag] = _reduce(table[ids], weights, mode)
    return out


def _reduce(rows, weights, mode):
    if mode == "max":
        return rows.max(axis=0)
    total = weights @ rows
    if mode == "sum" or not weights.any():
        return total
    return total / (np.abs(weights).sum() if mode == "mean" else np.sqrt((weights**2).sum()))
