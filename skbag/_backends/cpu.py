"""The CPU backend: output memory, blocks of bags, threads, and the choice of a kernel's tile."""

from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from .._bags import Bags, frozen
from .._kernels import cpu as kernels
from ._threads import run

Array = NDArray[Any]

MODES = {"sum": kernels.SUM, "mean": kernels.MEAN, "sqrtn": kernels.SQRTN, "max": kernels.MAX}

_L2_BYTES = 1 << 20  # tables up to this size need no prefetch
_L3_BYTES = 1 << 25  # beyond this size rows come from memory, and are asked for earlier
_SERIAL_WORK = 1 << 22  # scalars read: below this a second thread costs more than it brings
_BLOCKS_PER_JOB = 4  # a thread that is interrupted leaves its later blocks to the others


@cache
def _registers() -> tuple[int, int]:
    """Bytes of a vector register of this machine, and how many of them hold a tile of the output row."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 24
    return (32, 12) if features.get("avx") else (16, 12)


def _tile(dim: int, itemsize: int) -> tuple[int, int]:
    """Lanes and number of the vectors that hold one tile of a row of this width."""
    register, most = _registers()
    lanes = min(register // itemsize, 1 << (dim.bit_length() - 1))
    vectors = -(-dim // lanes)
    tiles = -(-vectors // most)
    return lanes, -(-vectors // tiles)


def _copies(vectors: int) -> int:
    """Members in flight: an addition takes four cycles, so few vectors would wait for one another."""
    return 4 if vectors <= 2 else 2 if vectors <= 4 else 1


def _ahead(table: Array) -> int:
    row_bytes = table.shape[1] * table.itemsize
    if table.nbytes <= _L2_BYTES:
        return 0
    return max(16, 8192 // row_bytes) if table.nbytes > _L3_BYTES else 16


def _blocks(indptr: Array, work_per_member: int, n_jobs: int) -> list[tuple[int, int]]:
    """Split the bags into blocks of about equally many members."""
    n_bags, n_members = len(indptr) - 1, int(indptr[-1])
    n_blocks = min(n_jobs * _BLOCKS_PER_JOB, n_members * work_per_member // (_SERIAL_WORK // 2))
    if n_jobs == 1 or n_blocks < 2:
        return [(0, n_bags)]
    targets = np.linspace(0, n_members, n_blocks + 1)[1:-1].astype(indptr.dtype)
    edges = [0, *np.unique(np.searchsorted(indptr, targets)).tolist(), n_bags]
    return [(first, last) for first, last in zip(edges, edges[1:], strict=False) if first < last]


def _valid(bags: Bags, begin: int, end: int) -> bool:
    """Whether the members begin <= i < end have ids in range and finite weights."""
    ids = bags.indices.view(f"u{bags.indices.itemsize}")  # a negative id is a huge unsigned one
    if kernels.highest(ids, False, begin, end) >= bags.num_embeddings and begin < end:
        return False
    if bags.weights is None:
        return True
    bits = bags.weights.view(f"u{bags.weights.itemsize}")
    infinity = 0x7F800000 if bits.itemsize == 4 else 0x7FF0000000000000
    return kernels.highest(bits, True, begin, end) < infinity


def check(bags: Bags) -> None:
    """Raise ValueError if an id is out of range or a weight is not finite."""
    if not _valid(bags, 0, bags.n_members):
        bags.raise_bad_member()


def pool(bags: Bags, table: Array, mode: str, n_jobs: int, norm: tuple[float, float] | None = None) -> Array:
    """Pool every bag of a table's rows.

    Parameters
    ----------
    bags : Bags
        With weights of the table's dtype, or none.
    table : ndarray of shape (num_embeddings, dim), frozen
    mode : {"sum", "mean", "sqrtn", "max"}
    n_jobs : int, at least 1
    norm : (max_norm, norm_type) or None
        Rows with a larger norm count as rescaled to it.

    Returns
    -------
    ndarray of shape (n_bags, dim), of the table's dtype

    Raises
    ------
    ValueError
        If an id is out of range or a weight is not finite.
    """
    code = MODES[mode]
    dim = table.shape[1]
    lanes, vectors = _tile(dim, table.itemsize)
    kernel = kernels.pool_kernel(lanes, vectors, _copies(vectors))
    neutral = frozen(np.full(dim, -np.inf if mode == "max" else 0.0, table.dtype))
    out = np.empty((bags.n_bags, dim), table.dtype)
    ahead = _ahead(table)
    invalid = []

    def task(first: int, last: int) -> None:
        if not _valid(bags, int(bags.indptr[first]), int(bags.indptr[last])):
            invalid.append(first)
        elif not invalid:
            kernel(code, table, multipliers, bags.weights, bags.indices, bags.indptr, bags.padding_idx, neutral, ahead,
                   first, last, out)  # fmt: skip

    multipliers = None if mode == "max" else bags.weights
    if norm is not None:
        check(bags)
        factors = norm_factors(table, *norm, n_jobs, bags.indices)
        multipliers = frozen(factors if multipliers is None else factors * multipliers)
    run(task, _blocks(bags.indptr, dim + 16, n_jobs), n_jobs)
    if invalid:
        bags.raise_bad_member()
    return out


def lookup(bags: Bags, table: Array, n_jobs: int) -> Array:
    """Return one row of the table per member: (n_members, dim); ValueError if an id is out of range."""
    out = np.empty((bags.n_members, table.shape[1]), table.dtype)
    kernel = kernels.lookup_kernel(*_tile(table.shape[1], table.itemsize))
    invalid = []

    def task(first: int, last: int) -> None:
        if not _valid(bags, first, last):
            invalid.append(first)
        elif not invalid:
            kernel(table, bags.indices, 4 * _ahead(table), first, last, out)

    run(task, _even_blocks(bags.n_members, table.shape[1] + 16, n_jobs), n_jobs)
    if invalid:
        bags.raise_bad_member()
    return out


def norm_factors(
    table: Array, max_norm: float, norm_type: float, n_jobs: int, indices: Array | None = None
) -> Array:
    """Return the factors that bring rows down to max_norm: of the rows that indices name, else of every row."""
    n = len(table if indices is None else indices)
    factors = np.empty(n, table.dtype)

    def task(first: int, last: int) -> None:
        kernels.norm_factors(table, indices, float(max_norm), float(norm_type), first, last, factors)

    run(task, _even_blocks(n, 4 * table.shape[1], n_jobs), n_jobs)
    return factors


def _even_blocks(n: int, work: int, n_jobs: int) -> list[tuple[int, int]]:
    n_blocks = max(1, min(n_jobs * _BLOCKS_PER_JOB, n * work // (_SERIAL_WORK // 2)))
    edges = np.linspace(0, n, n_blocks + 1).astype(np.int64).tolist()
    return list(zip(edges, edges[1:], strict=False))
