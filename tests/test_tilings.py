"""Parts of kernels with open tiles are compiled by Numba once, whatever the tiling, and for all processes."""

import ctypes

import numpy as np
import pytest
from numba.core import event, types

from skbag._compiled import cache
from skbag._cpu.backend import tile_of
from skbag._cpu.shaped import shaped
from skbag._cpu.tile import load, open_tile, store
from skbag._cpu.tiling import TOTAL, Tiling, close
from skbag._cpu.vector import as_tile

KINDS = (types.intp,) * 3
CALL = ctypes.CFUNCTYPE(None, *(ctypes.c_int64,) * 3)


def halving():
    """A part that writes half of a row of float64 to another; as another process would have it."""

    @shaped
    def halve(source, target, dim):
        tile = open_tile(0.0, TOTAL)
        tail = min(tile.span, dim) - tile.lanes
        for column in range(0, 1 if tile.single else dim, tile.span):
            at = np.uintp(max(0, min(column, dim - tile.span))) * np.uintp(8)
            values = load(tile, np.uintp(source) + at, tail)
            store(as_tile(tile, values * 0.5), np.uintp(target) + at, tail)

    return halve


def is_right(part, tiling, dim):
    source, target = np.arange(dim * 1.0), np.full(dim + 1, np.nan)
    CALL(part.address(tiling, *KINDS))(source.ctypes.data, target.ctypes.data, dim)
    return np.array_equal(target[:dim], source / 2) and np.isnan(target[dim])


def test_numba_compiles_once_for_all_tilings_and_processes(folder):
    part = halving()
    with event.install_recorder("numba:run_pass") as passes:
        assert is_right(part, Tiling(4, 2), 8)
        n_passes = len(passes.buffer)
        assert n_passes > 0
        assert is_right(part, Tiling(4, 3), 11)
        assert is_right(part, Tiling(2, 1, single=0), 7)
        assert (part.cache_hits, part.cache_misses) == (0, 3)
        assert len(list(folder.iterdir())) == 4
        part = halving()
        assert is_right(part, Tiling(4, 3), 10)
        assert is_right(part, Tiling(8, 2), 16)
        assert (part.cache_hits, part.cache_misses) == (1, 1)
        assert len(passes.buffer) == n_passes


def test_a_tiling_is_looked_for_once(folder):
    part = halving()
    assert part.address(Tiling(4, 2), *KINDS) == part.address(Tiling(4, 2), *KINDS)
    assert (part.cache_hits, part.cache_misses) == (0, 1)


@pytest.mark.parametrize("payload", [b"", b"no pickle", b"\x80\x04N."])  # the last is None
def test_what_cannot_be_made_code_again_is_compiled(folder, payload):
    assert is_right(halving(), Tiling(4, 2), 8)
    for path in folder.iterdir():
        _, _, length = cache._HEADER.unpack_from(path.read_bytes())
        key = path.read_bytes()[cache._HEADER.size :][:length]
        cache.write(str(path), key, payload)
    part = halving()
    assert is_right(part, Tiling(4, 2), 8)
    assert (part.cache_hits, part.cache_misses) == (0, 1)


def test_every_width_has_a_tile(folder):
    part = halving()
    for dim in (*range(1, 34), 191, 192, 193, 385):
        lanes, vectors = tile_of(dim, 8)
        assert is_right(part, Tiling(lanes, vectors, single=int(dim <= lanes * vectors)), dim), dim


def test_memory_for_vectors_is_aligned_as_they_are():
    """What LLVM writes down is the alignment of the types that stand for theirs."""
    open_code = "  %a = alloca [97 x <3 x float>], align 16\n  %b = load { [97 x <3 x float>], i64 }, ptr %c"
    code = "  %a = alloca [4 x <16 x float>]\n  %b = load { [4 x <16 x float>], i64 }, ptr %c\n"
    other = "  %d = load i64, ptr %e, align 8\n"
    assert close(f"{open_code}, align 16\n{other}", Tiling(16, 2, copies=2)) == code + other
