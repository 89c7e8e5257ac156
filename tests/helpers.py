"""Bags to test with, and how close to the reference a result must be."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference
from scipy.sparse import csr_array

MODES = ("sum", "mean", "sqrtn", "max")
FLOATS = ("float32", "float64")


def csr(data, indices, indptr, n_columns):
    """A CSR array that holds exactly these arrays: SciPy's constructor would change their dtypes."""
    X = csr_array((len(indptr) - 1, n_columns), dtype=data.dtype)
    X.data, X.indices, X.indptr = data, indices, indptr
    return X


def random_csr(n_rows=12, n_columns=9, *, seed=0, dtype="float64", index_dtype="int32", longest=9):
    """Rows with unsorted and duplicate columns, negative values, stored zeros, and some rows empty."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, n_rows)
    lengths[::4] = 0
    n = lengths.sum()
    data = np.round(rng.normal(0, 3, n), 2)
    data[::5] = 0
    indices = rng.integers(0, n_columns, n).astype(index_dtype)
    return csr(data.astype(dtype), indices, np.append(0, lengths.cumsum()).astype(index_dtype), n_columns)


def random_table(n_rows=9, dim=5, *, dtype="float64", seed=1):
    return np.random.default_rng(seed).standard_normal((n_rows, dim)).astype(dtype)


def assert_pooled(actual, bags, table, mode, **options):
    """Assert that a result is the reference's, within the rounding errors of its dtype.

    An error is measured against the sum of the absolute values that were added: cancellation is not ours to mend.
    """
    expected = reference.pool(bags, table, mode, **options)
    absolute = [(ids, np.abs(weights)) for ids, weights in bags]
    scale = reference.pool(absolute, np.abs(table), mode, **options)
    longest = max((len(ids) for ids, _ in bags), default=0)
    exact = mode == "max" and options.get("max_norm") is None
    bound = 0 if exact else np.finfo(table.dtype).eps * (4 + 2 * longest**0.5) * scale
    assert actual.dtype == table.dtype
    assert actual.shape == expected.shape
    excess = np.abs(actual - expected) - bound
    assert (excess <= 0).all(), f"off by up to {excess.max()} more than the bound, in mode {mode}"


def run_python(code, *args, env=None, cwd=None, timeout=300):
    """Run code in a new interpreter and return what it prints; fail with its traceback if it fails."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        env={**os.environ, **(env or {})},
        cwd=cwd or Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"return code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def frames(library):
    return pytest.importorskip(library, reason=f"needs {library}")


LEARNT = "embeddings_", "coefs_", "intercepts_"


def learnt(model):
    """Return the fitted arrays: the table, the layer as (n_outputs, dim) and the intercepts."""
    return model.embeddings_, model.coefs_[0].T, model.intercepts_[0]
