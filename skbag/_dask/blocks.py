"""What comes in as blocks of rows, and the cluster that holds them."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse, vstack

from skbag._data.optional import missing

Array = NDArray[Any]


def dask_module(name: str, what: str) -> Any:
    """Import a module of Dask; ImportError that says what to install."""
    try:
        return import_module(name)
    except ImportError as error:
        raise missing(name.partition(".")[0], what) from error


def blocks_of(given: Any, name: str) -> list[Any]:
    """Return blocks of rows, each as Dask's Delayed or Future.

    Parameters
    ----------
    given : dask.array of shape (n, m) or (n,), or list or tuple of blocks
        Blocks are Delayed, Future, sparse matrices or arrays.
    name : str
        What the user calls it.
    """
    dask, collections = dask_module("dask", "skbag.dask"), dask_module("dask.array", "skbag.dask")
    if isinstance(given, collections.Array):
        if given.ndim not in (1, 2):
            raise ValueError(f"{name} must have one or two dimensions, got the shape {given.shape}.")
        if given.ndim == 2 and given.numblocks[1] != 1:
            raise ValueError(
                f"{name} must be cut in blocks of whole rows, got {given.numblocks[1]} blocks side by side: "
                f"{name}.rechunk({{1: -1}})."
            )
        return list(given.to_delayed().ravel())
    if not isinstance(given, list | tuple):
        raise TypeError(
            f"{name} must be an array of dask.array, or a list of blocks of rows, got {type(given).__name__}. What "
            "is in one memory needs no Dask: call the method of the estimator."
        )
    if not given:
        raise ValueError(f"{name} must have at least one block, got none.")
    for k, block in enumerate(given):
        if not (is_lazy(block) or len(getattr(block, "shape", ())) in (1, 2)):
            raise TypeError(f"block {k} of {name} must be a matrix, an array, Delayed or Future, got {block!r}.")
    return [block if is_lazy(block) else dask.delayed(block, traverse=False) for block in given]


def is_lazy(block: Any) -> bool:
    """Whether a block is computed by Dask."""
    return hasattr(block, "__dask_graph__") or (hasattr(block, "key") and hasattr(block, "client"))


def facts_of(block: Any) -> tuple[str, tuple[int, ...]]:
    """Return what kind of thing a block is, and its shape; run by a worker."""
    return type(block).__name__, tuple(map(int, getattr(block, "shape", ())))


def rows_of(block: Any, rows: Array) -> Any:
    """Return some rows of a block, as CSR or an array; run by a worker."""
    return csr_matrix(block)[rows] if issparse(block) else np.asarray(block)[rows]


def check_shapes(facts: Sequence[tuple[str, tuple[int, ...]]], name: str = "X") -> list[int]:
    """Return how many rows each block has.

    Raises
    ------
    ValueError
        If a block has no rows, or another number of columns than the first one.
    """
    for k, (kind, shape) in enumerate(facts):
        if len(shape) != 2:
            raise ValueError(f"block {k} of {name} must be a matrix, got {kind} of the shape {shape}.")
        if shape[0] == 0:
            raise ValueError(f"block {k} of {name} has no rows: leave empty blocks out.")
        if shape[1] != facts[0][1][1]:
            raise ValueError(f"block {k} of {name} has {shape[1]} columns, and block 0 has {facts[0][1][1]}.")
    return [shape[0] for _, shape in facts]


def cut_in_shards(n_rows: Sequence[int], n_shards: int) -> list[range]:
    """Return the numbers of the consecutive blocks of each shard, which all have about as many rows."""
    ends = np.cumsum(n_rows)
    wanted = ends[-1] * np.arange(1, n_shards) / n_shards
    edges = [0]
    for k, cut in enumerate(wanted):  # at least one block for each shard, and for those to come
        nearest = int(np.abs(ends - cut).argmin()) + 1
        edges.append(min(max(nearest, edges[-1] + 1), len(ends) - (n_shards - 1 - k)))
    return [range(first, end) for first, end in zip(edges, [*edges[1:], len(ends)], strict=True)]


def joined(blocks: Sequence[Any]) -> Any:
    """Return blocks as one: CSR for matrices, else an array."""
    if len(blocks) == 1:
        return blocks[0]
    if any(issparse(block) for block in blocks):
        return vstack([block if issparse(block) else csr_matrix(block) for block in blocks], format="csr")
    return np.concatenate([np.asarray(block) for block in blocks])


def get_client(client: Any) -> Any:
    """Return the given client of Dask's scheduler, or the one that is there, if it has workers.

    Raises
    ------
    ValueError
        If there is no client, or no worker.
    """
    distributed = dask_module("distributed", "skbag.dask.fit")
    if client is None:
        try:
            client = distributed.get_client()
        except ValueError as error:
            raise ValueError(
                "client must be given where none is active: make one with dask.distributed.Client()."
            ) from error
    if not isinstance(client, distributed.Client) or client.asynchronous:
        raise TypeError(f"client must be a dask.distributed.Client that is not asynchronous, got {client!r}.")
    if client.status != "running":
        raise ValueError(f"client must be connected to a scheduler, and its status is {client.status!r}.")
    if not client_workers(client):
        raise ValueError("client has no workers: start some, or wait for them with client.wait_for_workers(1).")
    return client


def client_workers(client: Any) -> list[str]:
    """Return the addresses of all workers, sorted."""
    return sorted(client.nthreads())
