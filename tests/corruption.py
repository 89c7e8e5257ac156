"""Sparse matrices with corrupted arrays, and what may come of them: features or an error, and never more."""

import sys
import warnings

import numpy as np
from helpers import MODES, random_table
from scipy.sparse import csr_array

from skbag import EmbeddingBagVectorizer

N_ROWS, N_COLUMNS = 6, 8
FORMATS = ("csr", "csc", "coo", "bsr")
MORE_FORMATS = ("lil", "dia")  # what SciPy converts by loops of its own
ARRAYS = {"coo": ("data", "row", "col"), "lil": ("data", "rows"), "dia": ("data", "offsets")}
DTYPES = ("int8", "uint8", "int16", "int32", "int64", "uint64", ">i4", "float16", "float32", "float64", "bool", "O",
          "complex64", "U4", "M8[s]")  # fmt: skip
HUGE = 1e15  # finite values above it may overflow float32 on their way to a sum


def valid(rng, form):
    dense = rng.normal(size=(N_ROWS, N_COLUMNS)) * (rng.random((N_ROWS, N_COLUMNS)) < 0.4)
    return csr_array(dense.astype("float32")).tobsr((2, 2)).asformat(form)


def set_coordinates(X, row, column):
    """Give a COO array these index arrays; the setters of row and col of newer SciPy would convert them."""
    if hasattr(X, "coords"):
        X.coords = (row, column)
    else:
        X.row, X.col = row, column


def corrupted(rng, formats=FORMATS):
    """A small matrix in one of the formats, one to three of whose arrays are not what they should be."""
    X = valid(rng, rng.choice(formats))
    for _ in range(rng.integers(1, 4)):
        name = rng.choice(ARRAYS.get(X.format, ("data", "indices", "indptr")))
        if X.format == "lil":
            getattr(X, name)[rng.integers(N_ROWS)] = _a_list(rng)
            continue
        array = np.array(getattr(X, name))
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            array = _ways[rng.integers(len(_ways))](rng, array)
        if name in ("row", "col"):
            set_coordinates(X, *((array, X.col) if name == "row" else (X.row, array)))
        else:
            setattr(X, name, array)
    return X


def _a_list(rng):
    lists = [[], [1], [0, -1], [3, N_COLUMNS], [2, 2], [1] * 1000, [1] * 10**6, [2**31], [2**63], [-(2**70)], [1.5],
             ["1"], [None], None, 3, [[0]]]  # fmt: skip
    return lists[rng.integers(len(lists))]


def _anything(rng, n, dtype):
    return np.frombuffer(rng.bytes(n * dtype.itemsize), dtype).copy()


def _random_bytes(rng, array):
    if array.dtype.kind not in "iuf":
        return array
    return _anything(rng, array.size, array.dtype).reshape(array.shape)


def _some_values(rng, array):
    if array.size and array.dtype.kind in "iuf":
        values = [-1, -2, 0, 1, N_ROWS, N_COLUMNS, N_ROWS + 1, array.size, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)]
        if array.dtype.kind == "f":
            values += [np.nan, np.inf, -np.inf, 1e300]
        bad = np.array(rng.choice(values, 2)).astype(array.dtype)
        array.flat[rng.integers(0, array.size, 2)] = bad
    return array


def _another_length(rng, array):
    return np.resize(array, (rng.integers(0, 2 * len(array) + 2), *array.shape[1:])) if array.ndim else array


def _another_dtype(rng, array):
    try:
        return array.astype(rng.choice(DTYPES))
    except (TypeError, ValueError):
        return array


def _emptied(rng, array):
    return np.empty((0,) * max(1, array.ndim), array.dtype)


def _another_shape(rng, array):
    shapes = [(1, -1), (-1, 1), (-1,), (*array.shape, 1)]
    return array.reshape(shapes[rng.integers(len(shapes))]) if array.size else array


def _a_scalar(rng, array):
    return array.flat[0:1].reshape(()) if array.size else array


def _shuffled(rng, array):
    return rng.permutation(array) if array.ndim else array


def _strided(rng, array):
    return np.repeat(array, 2, axis=0)[::2] if array.ndim else array


_ways = (_random_bytes, _some_values, _some_values, _another_length, _another_dtype, _another_shape, _emptied,
         _a_scalar, _shuffled, _strided)  # fmt: skip


def check(vectorizer, X):
    """Transform a corrupted matrix; return whether it was accepted, and then assert that the features are in order."""
    try:
        with warnings.catch_warnings(action="error"):
            features = vectorizer.transform(X)
    except (ValueError, TypeError):
        return False
    assert features.shape == (N_ROWS, vectorizer.embeddings_.shape[1])
    assert features.dtype == vectorizer.embeddings_.dtype
    with np.errstate(all="ignore"):  # NaN in another float dtype
        ordinary = X.format == "lil" or np.abs(np.asarray(X.data, np.float64)).max(initial=0) < HUGE
    assert not ordinary or np.isfinite(features).all()
    return True


def main(n, formats):
    """Check n corrupted matrices, and print how many were refused and how many accepted."""
    table = random_table(N_COLUMNS, 5, dtype="float32")
    vectorizers = [
        EmbeddingBagVectorizer.from_pretrained(table, mode=mode, per_sample_weights=weighted, padding_idx=padding_idx)
        for mode in MODES
        for weighted in (True, False)
        for padding_idx in (None, 2)
    ]
    accepted = 0
    for seed in range(n):
        X = corrupted(np.random.default_rng(seed), formats)
        try:
            accepted += check(vectorizers[seed % len(vectorizers)], X)
        except BaseException:
            print(f"seed {seed}: {X.format}, {vars(X)}", file=sys.stderr)
            raise
    print(n - accepted, accepted)
