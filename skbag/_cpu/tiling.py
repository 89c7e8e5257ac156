"""The types of tiles, see ``tile``: of a tiling, or open, with numbers that are not known yet, see ``operations``."""

import re
from typing import NamedTuple

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import lower_getattr_generic, register_model

from skbag._cpu.operations import waiting
from skbag._cpu.storage import ir_of

TOTAL, LARGEST, SQUARES = range(3)  # what a tile takes in rows by: their sum, maximum or the sum of their squares


class Tiling(NamedTuple):
    """What code is made for: the numbers of a tile, and of how it goes over rows.

    Rows are prefetched ``ahead`` members ahead, 0 for not at all: the cache line of every ``every``-th vector.
    ``single`` says that a row fits in one tile, ``whole`` that it fills it and is whole cache lines or in one.
    """

    lanes: int
    vectors: int
    copies: int = 1
    ahead: int = 0
    every: int = 1
    single: int = 1
    whole: int = 0

    @property
    def span(self) -> int:
        """Columns of a tile."""
        return self.lanes * self.vectors


class Tile(types.Type):
    """Numba type of ``copies`` tiles of ``vectors`` vectors of ``lanes`` scalars, that take in rows by a kind.

    ``stored`` is the dtype of the arrays whose rows are read. Without a ``tiling`` the tile is open; ``one`` says that
    it has one copy whatever the tiling.
    """

    def __init__(self, scalar, tiling, kind, stored=None, one=False):
        self.scalar, self.tiling, self.kind, self.one = scalar, tiling, kind, one
        self.stored = stored or scalar
        super().__init__(name=f"Tile({scalar}, {tiling and tuple(tiling)}, {kind}, {self.stored}, {one})")

    @property
    def open(self):
        return self.tiling is None

    @property
    def lanes(self):
        return self.tiling.lanes

    @property
    def vectors(self):
        return self.tiling.vectors

    @property
    def copies(self):
        return 1 if self.one else self.tiling.copies

    @property
    def maximum(self):
        return self.kind == LARGEST

    @property
    def itemsize(self):
        return self.scalar.bitwidth // 8

    def at(self, tiling):
        """The type of tiles like this one of a tiling."""
        return Tile(self.scalar, tiling, self.kind, self.stored, self.one)

    def reading(self, stored=None):
        """The type of tiles like this one that read rows of another dtype; of scalars by default."""
        return Tile(self.scalar, self.tiling, self.kind, stored, self.one)


_OPEN_LANES, _OPEN, _OPEN_ONE = 3, 97, 89  # numbers of no tile: in the LLVM types of open ones, and of one copy of them
_OPEN_TYPE = re.compile(rf"\[({_OPEN}|{_OPEN_ONE}) x <{_OPEN_LANES} x (\w+)>\]")
_ALIGNED = re.compile(rf"^(.* x <{_OPEN_LANES} x .*), align \d+$", re.MULTILINE)


def vectors_of(kind, element, one):
    """The LLVM type of what a tile has: one copy of it or all."""
    if kind.open:
        return ir.ArrayType(ir.VectorType(element, _OPEN_LANES), _OPEN_ONE if one else _OPEN)
    return ir.ArrayType(ir.VectorType(element, kind.lanes), kind.vectors * (1 if one else kind.copies))


def close(text: str, tiling: Tiling) -> str:
    """LLVM code with the types of a tiling in the place of those of open tiles."""
    text = _ALIGNED.sub(r"\1", text)  # memory that vectors lie in is aligned as they are
    number = {str(_OPEN): tiling.vectors * tiling.copies, str(_OPEN_ONE): tiling.vectors}
    return _OPEN_TYPE.sub(lambda found: f"[{number[found[1]]} x <{tiling.lanes} x {found[2]}>]", text)


@register_model(Tile)
class TileModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, vectors_of(fe_type, ir_of(fe_type.scalar), fe_type.one))


@infer_getattr
class TilingFields(AttributeTemplate):
    key = Tile

    def generic_resolve(self, tile, name):
        return types.intp if hasattr(Tiling, name) else None


def _number(name):
    """Return what makes code for a number of the tiling of a tile."""

    def make(signature):
        (tile,) = signature.args
        number = getattr(tile if name == "copies" else tile.tiling, name)
        return lambda context, builder, signature, args: ir.Constant(ir.IntType(64), number)

    return make


_NUMBERS = {name: _number(name) for name in (*Tiling._fields, "span")}
_LATER = {name: waiting(name, make) for name, make in _NUMBERS.items()}


@lower_getattr_generic(Tile)
def read_number(context, builder, kind, value, name):
    signature = types.intp(kind)
    make = _LATER[name] if kind.open else _NUMBERS[name](signature)
    return make(context, builder, signature, [value])
