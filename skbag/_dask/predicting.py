"""Predictions block by block."""

import os
from functools import lru_cache
from typing import Any

import joblib
import numpy as np
from scipy.sparse import csr_matrix
from sklearn.utils.validation import check_is_fitted

from skbag._dask.blocks import blocks_of, dask_module, is_lazy


def _of_blocks(method: str, estimator: Any, X: Any) -> Any:
    """Return the dask.array of what a method returns for each block."""
    dask, collections = dask_module("dask", f"skbag.dask.{method}"), dask_module("dask.array", f"skbag.dask.{method}")
    path = os.fspath(estimator) if isinstance(estimator, str | os.PathLike) else None
    fitted = estimator if path is None else _mapped(path)
    check_is_fitted(fitted)
    n_columns = fitted.n_features_in_
    example = _apply(csr_matrix((1, n_columns), dtype=np.float32), fitted, method)  # dtype and width of all blocks
    if not isinstance(X, collections.Array):
        lazy = [dask.delayed(block) for block in blocks_of(X, "X")]
        empty = csr_matrix((0, n_columns), dtype=np.float32)
        n_rows = [np.nan if is_lazy(block) else block.shape[0] for block in X]
        some = [
            collections.from_delayed(block, (n, n_columns), meta=empty) for block, n in zip(lazy, n_rows, strict=True)
        ]
        X = collections.concatenate(some, allow_unknown_chunksizes=True)
    else:
        blocks_of(X, "X")
        if X.ndim != 2 or X.shape[1] != n_columns:
            raise ValueError(f"X must have two dimensions and {n_columns} columns, as in fit, got the shape {X.shape}.")
    given = dask.delayed(fitted, traverse=False) if path is None else os.path.abspath(path)
    shape = example.shape[1:]
    return X.map_blocks(
        _apply, given, method, dtype=example.dtype, chunks=(X.chunks[0], *((n,) for n in shape)),
        drop_axis=[] if shape else [1], meta=np.empty((0, *shape), example.dtype), name=None,
    )  # fmt: skip


def _apply(block: Any, estimator: Any, method: str) -> Any:
    """Return the result of one block, an array; run by a worker."""
    fitted = _mapped(estimator) if isinstance(estimator, str) else estimator
    return np.asarray(getattr(fitted, method)(block))  # where set_output asks for data frames, too


def _mapped(path: str) -> Any:
    """Return the estimator of a file, mapped once in a process; anew if the file was written since."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise ValueError(
            f"estimator must be the path of a file that joblib.dump wrote, on every machine with a worker, got "
            f"{path!r}: {error.strerror}."
        ) from error
    return _load(path, (status.st_mtime_ns, status.st_size, status.st_ino))


@lru_cache(maxsize=4)
def _load(path: str, version: tuple[int, ...]) -> Any:
    return joblib.load(path, mmap_mode="r")


def transform(estimator: Any, X: Any) -> Any:
    """Transform a dask.array, block by block.

    Nothing is computed before the result is asked for. A block in memory is its rows, its result, and no more.

    Parameters
    ----------
    estimator : fitted estimator, or path
        `skbag.EmbeddingBagVectorizer`, `skbag.EmbeddingBagClassifier`, a pipeline with one of them, or anything with
        the method and ``n_features_in_``. An estimator is sent to each worker, which keeps a copy. The path of a file
        that ``joblib.dump`` wrote without compression, and that each machine can read, is mapped into memory: all
        workers of a machine share the pages of its table.
    X : dask.array of shape (n_samples, n_features), or list of blocks
        Blocks of whole rows, CSR or dense. Those of a list are Delayed, Future, matrices or arrays. Blocks without rows
        are fine.

    Returns
    -------
    dask.array of shape (n_samples, n_components)
        With the blocks of X; in the dtype of the table. Numbers of rows that Dask does not know are NaN.

    Raises
    ------
    ImportError
        If Dask is not installed.
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If X is no array of dask.array and no list.
    ValueError
        If X has another number of columns than in fit, or is not cut in whole rows; if there is no such file. What is
        found in a block, an estimator raises when it is computed.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from skbag import EmbeddingBagVectorizer
    >>> import skbag.dask
    >>> X = csr_array(np.eye(4, dtype=np.float32))
    >>> model = EmbeddingBagVectorizer(2, init=[[1, 0], [0, 1], [2, 0], [0, 2]], mode="sum").fit(X)
    >>> skbag.dask.transform(model, [X[:3], X[3:]]).compute().tolist()
    [[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 2.0]]
    """
    return _of_blocks("transform", estimator, X)


def predict(estimator: Any, X: Any) -> Any:
    """Predict a dask.array, block by block.

    Parameters
    ----------
    estimator, X : object
        As in `transform`.

    Returns
    -------
    dask.array of shape (n_samples,) or (n_samples, n_outputs)
        What ``estimator.predict`` returns, in blocks. Errors are those of `transform`.
    """
    return _of_blocks("predict", estimator, X)


def predict_proba(estimator: Any, X: Any) -> Any:
    """Return the probabilities of classes or labels for a dask.array, block by block.

    Parameters
    ----------
    estimator, X : object
        As in `transform`.

    Returns
    -------
    dask.array of shape (n_samples, n_classes)
        What ``estimator.predict_proba`` returns, in blocks. Errors are those of `transform`.
    """
    return _of_blocks("predict_proba", estimator, X)


def decision_function(estimator: Any, X: Any) -> Any:
    """Return the logits for a dask.array, block by block.

    Parameters
    ----------
    estimator, X : object
        As in `transform`.

    Returns
    -------
    dask.array of shape (n_samples,) or (n_samples, n_classes)
        What ``estimator.decision_function`` returns, in blocks. Errors are those of `transform`.
    """
    return _of_blocks("decision_function", estimator, X)
