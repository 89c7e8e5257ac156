"""The CPU backend: output memory, blocks of bags, threads, and the choice of a kernel's tile."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from skbag._cpu import calls, checking, structs
from skbag._cpu import pooling as kernels
from skbag._cpu.memory import LINE
from skbag._cpu.sharing import EXTREME, INVALID, NEXT, UNSORTED, wait
from skbag._cpu.tiling import LARGEST, TOTAL, Tiling
from skbag._data.bags import Bags, frozen, is_relative
from skbag._data.found import Found
from skbag._data.quantized import arrays_of
from skbag._data.resident import Resident
from skbag._rules.pooling import MODES, Mode, modes_of, passes_of
from skbag._threads import effective_threads, run

Array = NDArray[Any]
Work = Callable[[], None]  # named: an annotation of an inner function is made in every call

_L2_BYTES = 1 << 20  # in tables up to this size narrow rows need no prefetch
_L3_BYTES = 1 << 24  # beyond this size rows come from memory, and are asked for earlier
_BAGS_IN_CACHE = 8  # whose rows of few bytes, wider than a tile, are still there for the next tile
_SERIAL_WORK = 1 << 22  # scalars read: below this a second thread costs more than it brings
_LONG_WORK = 1 << 26  # scalars read: from some 20 milliseconds on the main thread only waits, and can be interrupted
_BLOCKS_PER_JOB = 8  # a thread that starts late or is interrupted leaves its later blocks to the others
ALONE = 1, 1, 1  # one block, which the caller takes
_SPINS = 10_000  # looks at whether the last blocks are done, some 100 microseconds, before a thread is waited for


@cache
def _registers() -> tuple[int, int]:
    """Bytes of a vector register of this machine, and how many of them hold a tile of the output row."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 24
    return (32, 12) if features.get("avx") else (16, 12)


def tile_of(dim: int, itemsize: int) -> tuple[int, int]:
    """Lanes and number of the vectors that hold one tile of a row of this width."""
    register, most = _registers()
    lanes = min(register // itemsize, 1 << (dim.bit_length() - 1))
    vectors = -(-dim // lanes)
    tiles = -(-vectors // most)
    return lanes, -(-vectors // tiles)


def _copies(vectors: int) -> int:
    """Members in flight: an addition takes four cycles, so few vectors would wait for one another."""
    return 4 if vectors == 1 else 2 if vectors == 2 else 1


def _prefetching(n_bytes: int, row_bytes: int, vectors: int) -> tuple[int, int]:
    """How many members ahead rows are asked for, 0 for not at all, and of every how many-th vector the cache line.

    A line that is asked for in vain costs a third of a cycle. In the last level of cache every second line is enough:
    the processor brings lines in pairs.
    """
    if n_bytes <= _L2_BYTES:
        return (16, 2) if vectors >= 4 else (0, 1)
    if vectors > 8 and n_bytes <= 2 * _L3_BYTES:
        return 8, 1
    if n_bytes <= _L3_BYTES:
        return 24 if vectors <= 2 else 12, 2
    return 1 << max(4, (8192 // row_bytes).bit_length() - 1), 1  # a power of two: few kernels


def layout(table: Array) -> Tiling:
    """Return what a kernel that reduces bags of rows of a table is made for."""
    dim, itemsize = table.shape[1], table.itemsize
    aligned = dim * itemsize > LINE or table.__array_interface__["data"][0] % LINE == 0
    return _layout(dim, itemsize, table.nbytes, aligned)


@lru_cache(maxsize=64)
def _layout(dim: int, itemsize: int, n_bytes: int, aligned: bool) -> Tiling:
    row_bytes = dim * itemsize
    lanes, vectors = tile_of(dim, max(itemsize, 4))
    single, whole = dim <= lanes * vectors, False
    if dim == lanes * vectors and (row_bytes % LINE == 0 or LINE % row_bytes == 0):
        # where a table begins matters to rows of less than a line, of which half would lie in two; it differs between
        # processes, and each kind has a kernel of its own to compile
        whole = n_bytes <= _L2_BYTES or aligned
    ahead, every = _prefetching(n_bytes, row_bytes, vectors)
    if itemsize < 4:  # vectors of floats are read from less than half a line
        every = max(1, LINE // (lanes * itemsize))
    return Tiling(lanes, vectors, _copies(vectors), ahead, every, int(single), int(whole))


@lru_cache(maxsize=256)
def _reduce_address(
    tiling: Tiling, stored: np.dtype[Any], dtype: np.dtype[Any], ids: np.dtype[Any], kind: int, weighted: bool,
    scaled: bool, padded: bool,
) -> int:  # fmt: skip
    """Return the address of ``pooling.reduce_kernel``'s kernel for bags as they are given: its code depends on that."""
    numbers, places = frozen(np.empty(1, dtype)), frozen(np.empty(1, ids))
    example = structs.Reduction(
        frozen(np.empty((1, 1), stored)), numbers if weighted else None, numbers if scaled else None, places,
        0 if padded else None, frozen(np.empty(1, stored)), places, places, np.empty(1, dtype), np.empty(1, np.int64),
        np.empty((1, 1), dtype), frozen(np.zeros(1, np.int64)),
    )  # fmt: skip
    return kernels.reduce_kernel(kind).address(tiling, *map(calls.kind_of, (example, *(0,) * 5)))


def _blocks(work: int, n_jobs: int | None) -> tuple[int, int, int]:
    """Return into how many blocks some work is cut, for how many equal shares, and how many threads take them.

    No block is longer than _LONG_WORK: no thread can be told to end before it is done with its block. ValueError for 0
    threads.
    """
    if work < _SERIAL_WORK and n_jobs != 0:
        return ALONE  # without a look at joblib's context, which takes as long as a small call
    n_threads = effective_threads(n_jobs)
    shares = max(n_threads, work // _LONG_WORK)
    n_blocks = min(shares * _BLOCKS_PER_JOB, 2 * work // _SERIAL_WORK) if shares > 1 else 1
    return n_blocks, shares, min(n_blocks, n_threads)


@lru_cache(maxsize=16)
def _spare(dim: int, maximum: bool, dtype: np.dtype[Any]) -> Array:
    """Return the row that stands for a member that is none; see ``pooling.pool``."""
    lowest = {"u2": 0xFC00, "i2": -0x80, "i1": -1}.get(dtype.str[1:], -np.inf)  # bits of float16 and bfloat16
    return frozen(np.full(dim, lowest if maximum else 0, dtype))


def _run(
    kernel: Any, args: tuple[Any, ...], blocks: tuple[int, int, int], out: tuple[Array, ...], n_tiles: int = 1,
    ordered: bool = False,
) -> Array:  # fmt: skip
    """Run a kernel over all blocks of each tile, in threads if asked for, and return its ``progress``.

    Whether ids increase is only looked at if ``ordered``.
    """
    if blocks == ALONE:
        progress = new_progress(ordered)
        kernel(*args, ALONE[:2], progress, *out)
        return progress

    def work_of(some: tuple[int, int], progress: Array) -> Work:
        return partial(kernel, *args, some, progress, *out)

    return share(work_of, blocks, n_tiles, ordered)


def new_progress(ordered: bool) -> Array:
    """Return what threads share, see ``sharing``; whether ids increase is only looked at if ``ordered``."""
    progress = np.zeros(6, np.int64)
    if not ordered:
        progress[UNSORTED] = 1
    return progress


def share(
    work_of: Callable[[tuple[int, int], Array], Work], blocks: tuple[int, int, int], n_tiles: int = 1,
    ordered: bool = False,
) -> Array:  # fmt: skip
    """Run what ``work_of(blocks, progress)`` returns, see `_run` and ``sharing``, and return ``progress``."""
    n_blocks, shares, n_threads = blocks
    progress = new_progress(ordered)
    work = work_of((n_blocks, shares), progress)
    apart = shares > n_threads
    if n_threads == 1 and not apart:
        work()
    else:

        def stop() -> None:
            progress[NEXT] = 1 << 62  # no block is left

        run(work, n_threads, lambda: wait(progress, n_tiles * n_blocks, _SPINS), stop, apart=apart)
    return progress


def hold(table: Any) -> Any:
    """Return a table as an estimator keeps it between calls: here the array that it is."""
    return table.host() if isinstance(table, Resident) else table


def check(bags: Bags, mode: Mode, n_jobs: int | None = 1) -> Bags:
    """Return bags that are wholly checked and made for a mode: no id twice in one, and rescaled where it needs that.

    Raises
    ------
    ValueError
        If indptr decreases, an id is out of range or a weight is not finite.
    """
    members = bags.weights, bags.indices, bags.indptr
    blocks = _blocks(bags.n_members + bags.n_bags, n_jobs)
    progress = _run(checking.check, (*members, bags.num_embeddings), blocks, (), ordered=bags.stored is not None)
    if not (progress[INVALID] or progress[EXTREME] or progress[UNSORTED]):
        bags.stored = None  # members as they are are what the matrix means
        return bags
    found = Found(*(bool(progress[k]) for k in (INVALID, EXTREME, UNSORTED)))
    if found.unsorted and not found.invalid and bags.stored is not None and "max" not in modes_of(mode):
        found = found._replace(unsorted=_repeats(bags, n_jobs))  # rows in any order are what they mean
    fit = bags.made_for(mode, found)
    return fit if fit is bags or fit.is_rescaled else check(fit, mode, n_jobs)


def _repeats(bags: Bags, n_jobs: int | None) -> bool:
    """Whether a bag, whose ids were checked, names one twice."""
    blocks = _blocks(8 * bags.n_members + bags.n_bags, n_jobs)
    n = 2 << int(np.diff(bags.indptr).max(initial=0)).bit_length()
    seen = np.zeros((blocks[2], 2, n), np.int64)
    return bool(_run(checking.repeat, (bags.indices, bags.indptr, seen), blocks, (), ordered=True)[UNSORTED])


def split(bags: Bags, edges: Array, n_jobs: int | None = 1) -> Bags:
    """Return the bags of each field in the place of each bag: the same members, canonical, with more edges.

    Parameters
    ----------
    bags : Bags
        Of a matrix.
    edges : ndarray of shape (n_fields + 1,), int64
        The columns [edges[f], edges[f + 1]) are field f.
    n_jobs : int or None

    Raises
    ------
    ValueError
        If indptr decreases or an id is out of range.
    """
    n_fields, ordered = len(edges) - 1, bags.stored is not None
    indptr = np.empty(bags.n_bags * n_fields + 1, bags.indptr.dtype)
    indptr[-1] = bags.n_members
    blocks = _blocks(bags.n_members + bags.n_bags * n_fields * 16, n_jobs)
    arguments = bags.indices, bags.indptr, bags.num_embeddings, frozen(edges)
    progress = _run(checking.split, arguments, blocks, (indptr,), ordered=ordered)
    if progress[INVALID]:
        bags.raise_bad_member()
    if progress[UNSORTED] and ordered:
        return split(bags.canonical(whole=True), edges, n_jobs)
    return replace(bags, indptr=frozen(indptr), n_fields=n_fields, stored=None)


def pool(bags: Bags, table: Any, mode: Mode, n_jobs: int | None, norm: tuple[float, float] | None = None) -> Array:
    """Pool the rows of a table that the members of every bag name.

    Parameters
    ----------
    bags : Bags
        With weights of the table's dtype, or none.
    table : ndarray of shape (num_embeddings, dim), frozen, or QuantizedTable
    mode : {"sum", "mean", "sqrtn", "max"} or a tuple of some of them
        All but "max" are one pass over the members.
    n_jobs : int or None
        As in joblib.
    norm : (max_norm, norm_type) or None
        Rows with a larger norm count as rescaled to it.

    Returns
    -------
    ndarray of shape (n_bags / n_fields, n_fields * n_modes * dim), of the table's dtype
        The modes side by side, in their order, and those of the fields.

    Raises
    ------
    ValueError
        If indptr decreases, an id is out of range or a weight is not finite.
    """
    bags = bags if norm is None else check(bags, mode, n_jobs)
    factors = None if norm is None else norm_factors(table, norm, n_jobs, bags.indices[: bags.n_members])
    modes = modes_of(mode)
    out = np.empty((bags.n_bags, len(modes) * table.shape[1]), table.dtype)
    progress = np.zeros(6, np.int64)
    for some in passes_of(modes):
        progress |= _pass(bags, table, some, tuple(map(modes.index, some)), n_jobs, factors, out)
    if progress[INVALID]:
        bags.raise_bad_member()
    if (progress[EXTREME] and not bags.is_rescaled) or (progress[UNSORTED] and bags.stored is not None):
        fit = check(bags, mode, n_jobs)  # what rows or an overflow make not finite is the result
        if fit is not bags:
            return pool(fit, table, mode, n_jobs, norm)
        if progress[EXTREME] and len(modes) > 1 and not is_relative(mode):  # some must be rescaled, others not
            return bags.beside([pool(bags, table, each, n_jobs, norm) for each in modes])
    return bags.rows_of(out)


def _pass(
    bags: Bags, table: Any, modes: tuple[str, ...], places: tuple[int, ...], n_jobs: int | None,
    factors: Array | None, out: Array,
) -> Array:  # fmt: skip
    """Pool bags in modes that share a pass, of which each has its place in a row; return the ``progress``."""
    values, scales = arrays_of(table)
    dim, dtype, maximum, kind = table.shape[1], table.dtype, modes == ("max",), layout(values)
    weights = None if maximum else bags.weights  # a weight of 0 leaves no member out of a maximum
    span, together, multipliers = kind.span, kernels.BAGS_TOGETHER, weights
    if values.itemsize < 4:
        span, together = dim, _BAGS_IN_CACHE
    if factors is not None:
        multipliers = frozen(factors if multipliers is None else factors * multipliers[: bags.n_members])
    spare = _spare(dim, maximum, values.dtype)
    blocks = _blocks(bags.n_members * (dim + 16), n_jobs)
    address = _reduce_address(
        kind, values.dtype, dtype, bags.indices.dtype, LARGEST if maximum else TOTAL, multipliers is not None,
        scales is not None, bags.padding_idx is not None,
    )  # fmt: skip
    n_sizes = 0 if modes == ("sum",) else len(modes) * kernels.BAGS_TOGETHER
    members = multipliers, scales, weights, bags.indices, bags.indptr, bags.indptr[:-1], bags.indptr[1:]
    arguments = (
        *numbers_of(modes, places, dim), address, span, together, values, *members, bags.padding_idx, spare,
        np.empty((blocks[2], n_sizes), dtype),
    )  # fmt: skip
    return _run(kernels.pool, arguments, blocks, (out,), -(-dim // span), bags.stored is not None)


@lru_cache(maxsize=64)
def numbers_of(modes: tuple[str, ...], places: tuple[int, ...], dim: int) -> tuple[Array, Array]:
    """Return modes as kernels number them, and the columns at which what they make begins."""
    return frozen(np.array([MODES[mode] for mode in modes], np.int64)), frozen(np.array(places, np.int64) * dim)


def lookup(bags: Bags, table: Any, n_jobs: int | None) -> Array:
    """Return one row of the table per member: (n_members, dim); ValueError if an id is out of range."""
    n, dim = bags.n_members, table.shape[1]
    out = np.empty((n, dim), table.dtype)
    values, scales = arrays_of(table)
    lanes, vectors, _, ahead, _, single, whole = layout(values)
    kernel = kernels.lookup_kernel(lanes, vectors, 4 * ahead, single, whole)
    progress = _run(kernel, (values, scales, bags.indices), _blocks(n * (dim + 16), n_jobs), (out,))
    if progress[INVALID]:
        bags.raise_bad_member()
    return out


def norm_factors(table: Any, norm: tuple[float, float], n_jobs: int | None, indices: Array | None = None) -> Array:
    """Return the factors that bring rows down to max_norm: of the rows that indices name, else of every row."""
    n = len(table if indices is None else indices)
    out = np.empty(n, table.dtype)
    cost = 4 if norm[1] in (1.0, 2.0, np.inf) else 32  # a power for each value
    values, scales = arrays_of(table)
    arguments = frozen(values), scales, indices, *norm
    _run(kernels.norm_factors, arguments, _blocks(cost * n * table.shape[1], n_jobs), (out,))
    return out
