"""What the columns of X say about classes or labels before training: those that say more learn faster.

The residual of a row is its targets less the shares of the classes, or of the labels. It is minus the derivative of the
loss with respect to the logits before training, and its sum over the rows that name a column is the way in which the
vector of the column goes first. Where rows agree the sum is long; where they do not, or there is one row only, what a
step learns is noise. Linear models of texts profit from columns that are scaled in such a way (Wang, Manning,
"Baselines and Bigrams: Simple, Good Sentiment and Topic Classification", 2012).
"""

from collections.abc import Iterator
from functools import partial, reduce
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skbag._data.bags import Bags
from skbag._data.targets import Targets
from skbag._threads import effective_threads, run_each

Array = NDArray[Any]

_DIRECTIONS = 16  # that residuals of more outputs are projected to, which keeps lengths about as they are
_PRIOR = 5.0  # rows with the shares of all, that every column has beside its own
_LEAST = 0.3  # what a column that says nothing has, of the mean
_WIDE = 8  # times as many columns as members: only those that are named are gone through
_PIECES, _AT_ONCE = 8, 1 << 20  # of X that are summed one after the other; members in each, at least
_APART, _DENSE = 1 << 14, 2  # members for each sum, and for each column of X: then a product for each sum is faster
_FOR_THREADS = 1 << 17  # members: with fewer, waiting for other threads costs more than they save
_NOISE = 1e-3  # columns that all rows name differ by rounding alone


def residuals_of(targets: Targets, weights: Array) -> Array:
    """Return residuals of rows with a mean square of 1, times weights, and in the last column weights with a mean of 1.

    Parameters
    ----------
    targets : Targets
        Of classes or their probabilities, one output stands for two classes; or of labels.
    weights : ndarray of shape (n_rows,)
        Rows of weight 0 do not count.

    Returns
    -------
    ndarray of shape (n_rows, n_directions + 1), float32
    """
    n = targets.n_outputs
    weights = weights / weights[weights > 0].mean() if weights.any() else weights
    values = np.ones(len(targets.indices)) if targets.values is None else targets.values
    given = csr_array((values, targets.indices, targets.indptr), shape=(targets.n_rows, n))
    directions = _directions(n)
    total = max(weights.sum(), 1.0)
    residuals = given @ directions - np.einsum("k,kd->d", targets.totals(weights) / total, directions)
    square = np.einsum("i,ij,ij->", weights, residuals, residuals) / total
    residuals /= np.sqrt(square) if square else 1.0
    return np.column_stack([residuals * weights[:, None], weights]).astype(np.float32)


def _directions(n_outputs: int) -> Array:
    if n_outputs == 1:
        return np.full((1, 1), np.sqrt(2))  # as long as the difference of two classes
    if n_outputs <= _DIRECTIONS:
        return np.eye(n_outputs)
    drawn = np.linalg.qr(np.random.RandomState(0).standard_normal((n_outputs, _DIRECTIONS)))[0]
    return drawn * np.sqrt(n_outputs / _DIRECTIONS)


def sums_of(bags: Bags, residuals: Array, n_jobs: int | None = 1) -> Array:
    """Return for each column of X the sum of what the rows that name it have in `residuals_of`."""
    return _sums(bags, bags.indices[: bags.n_members], bags.num_embeddings, residuals, n_jobs)


def _sums(bags: Bags, ids: Array, n_columns: int, residuals: Array, n_jobs: int | None) -> Array:
    """Sum in pieces, which need little memory, and are the same whatever the number of columns and of threads.

    Where rows name many columns, and often, what they have is summed one by one: one fits in the caches.
    """
    n, pieces = residuals.shape[1], _pieces(bags, ids, n_columns)
    if 0 < len(ids) < max(n * _APART, n_columns * _DENSE):
        rows, matrix = next(pieces)
        sums = matrix @ residuals[rows]
        for rows, matrix in pieces:
            _add_product(matrix, residuals[rows], sums)
        return sums
    sums = np.zeros((n_columns, n), np.float32, order="F")
    n_threads = effective_threads(n_jobs) if len(ids) >= _FOR_THREADS else 1
    for rows, matrix in pieces:
        each = zip(residuals[rows].T, sums.T, strict=True)
        run_each((partial(_add_product, matrix, column, to) for column, to in each), n_threads)
    return sums


def _pieces(bags: Bags, ids: Array, n_columns: int) -> Iterator[tuple[slice, Any]]:
    """Yield some rows after the others, and the transposed matrix of what they name."""
    indptr = bags.indptr[:: bags.n_fields]
    cuts = np.searchsorted(indptr, np.arange(0, len(ids), max(len(ids) // _PIECES, _AT_ONCE)))
    for first, last in pairwise(np.unique([0, *cuts, bags.n_rows])):
        begin, end = indptr[first], indptr[last]
        named = np.ones(end - begin, np.float32)
        if bags.weights is not None:
            named[bags.weights[begin:end] == 0] = 0
        if bags.padding_idx is not None:
            named[bags.indices[begin:end] == bags.padding_idx] = 0
        members = named, ids[begin:end], indptr[first : last + 1] - begin
        yield slice(first, last), csr_array(members, shape=(last - first, n_columns)).T


def _add_product(matrix: Any, other: Array, to: Array) -> None:
    to += matrix @ other


def evidence_of(sums: Array) -> Array:
    """Return how much each column says, in units of the mean over members; 1 for a column that no row names."""
    named = sums[:, -1] > 0
    if not named.any():
        return np.ones(len(sums), np.float32)
    if not named.all():
        evidence = np.ones(len(sums), np.float32)
        evidence[named] = evidence_of(sums[named])
        return evidence
    *residuals, counts = sums.T
    said = reduce(np.add, map(np.square, residuals))  # in this order, however they lie in memory
    said /= (counts + np.float32(_PRIOR)) ** 2
    said += np.float32(_NOISE)
    # no product of BLAS, which would wake its threads and add up in any order
    exact = counts.astype(np.float64)
    mean = (exact * said).sum() / exact.sum()
    said *= np.float32((1 - _LEAST) / mean)
    said += np.float32(_LEAST)
    return said


def evidence(bags: Bags, targets: Targets, weights: Array, n_jobs: int | None = 1) -> tuple[Any, Array]:
    """Return columns of X, all or those that are named, and their `evidence_of`.

    Rows of weight 0 say nothing.
    """
    bags = bags.on_host() if hasattr(bags, "on_host") else bags  # from a GPU
    residuals, ids = residuals_of(targets, weights), bags.indices[: bags.n_members]
    if bags.num_embeddings > _WIDE * len(ids):  # a batch of a stream of hashed columns
        columns, ids = np.unique(ids, return_inverse=True)
        return columns, evidence_of(_sums(bags, ids, len(columns), residuals, n_jobs))
    return slice(None), evidence_of(_sums(bags, ids, bags.num_embeddings, residuals, n_jobs))
