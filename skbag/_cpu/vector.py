"""Arithmetic of rules, see ``skbag._rules.elementwise``, in CPU kernels: on tiles, lane by lane, and on numbers.

The exponential and the logarithm are vector code of their own, as LLVM has none: it would call libm for each lane.
"""

import itertools
import math
import operator

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.core.registry import cpu_target
from numba.core.typing.templates import AbstractTemplate, Registry, signature
from numba.extending import register_model

from skbag._cpu.operations import is_open, operation, waiting
from skbag._cpu.tile import call_llvm, splat
from skbag._cpu.tiling import Tile, vectors_of
from skbag._rules import elementwise

# not in Numba's own lists, from which other targets take what they find
_functions, _implementations = Registry(), []  # the second: for a function and types of arguments


class Mask(types.Type):
    """Numba type of the answers to a comparison of tiles, lane by lane."""

    def __init__(self, tile):
        self.tile = tile
        super().__init__(name=f"Mask({tile})")

    @property
    def open(self):
        return self.tile.open

    @property
    def lanes(self):
        return self.tile.lanes

    @property
    def vectors(self):
        return self.tile.vectors

    def at(self, tiling):
        """Return the type of masks of tiles of a tiling."""
        return Mask(self.tile.at(tiling))


@register_model(Mask)
class MaskModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, vectors_of(fe_type.tile, ir.IntType(1), one=True))


def _is_number(kind):
    return isinstance(kind, types.Number | types.Boolean)


def _register(symbol, compute, compares=False):
    """Let kernels call a function of tiles and numbers, at least one of them a tile or, unless an operator, a float.

    ``compute(builder, *vectors)`` makes the code for vectors of one length, of numbers or of bits.
    """

    @_functions.register_global(symbol)
    class Typed(AbstractTemplate):
        def generic(self, args, kws):
            shape = next((kind for kind in args if isinstance(kind, Tile)), None)
            shape = shape or next((kind.tile for kind in args if isinstance(kind, Mask)), None)
            if shape is None:
                if symbol.__module__ == "_operator" or not all(map(_is_number, args)):
                    return None
                floats = [kind for kind in args if isinstance(kind, types.Float)]
                shape = max(floats, key=lambda kind: kind.bitwidth, default=types.float64)
                return signature(shape, *(kind if isinstance(kind, types.Boolean) else shape for kind in args))
            kinds = (kind if isinstance(kind, Tile | Mask | types.Boolean) else shape.scalar for kind in args)
            return signature(Mask(shape) if compares else shape, *kinds)

    def codegen(context, builder, sig, args):
        shape = sig.return_type
        if is_open(shape):
            return later(context, builder, sig, args)
        if not isinstance(shape, Tile | Mask):
            result = compute(builder, *(splat(builder, value, 1) for value in args))
            return builder.extract_element(result, ir.Constant(ir.IntType(32), 0))
        result = ir.Constant(context.get_value_type(shape), ir.Undefined)
        for v in range(shape.vectors):
            operands = (
                builder.extract_value(value, v) if isinstance(kind, Tile | Mask) else splat(builder, value, shape.lanes)
                for kind, value in zip(sig.args, args, strict=True)
            )
            result = builder.insert_value(result, compute(builder, *operands), v)
        return result

    later = waiting(symbol.__name__, lambda sig: codegen)
    n_arguments = compute.__code__.co_argcount - 1
    kinds = [(types.Any,) * n_arguments]
    if symbol.__module__ == "_operator":
        pairs = itertools.product((Tile, types.Float), (Tile, types.Float) if n_arguments == 2 else (None,))
        kinds = [pair[:n_arguments] for pair in pairs if Tile in pair]
    _implementations.extend((codegen, symbol, some) for some in kinds)


def _constant(vector, value):
    return ir.Constant(vector, [value] * vector.count)


def _exp(builder, x):
    """Return the exponential to the last bit or two; 0 below the range.

    x is k log(2) + r with a whole k, and e ** r a polynomial (Cody and Waite, "Software Manual for the Elementary
    Functions", 1980).
    """
    vector = x.type
    single = isinstance(vector.element, ir.FloatType)
    bits = ir.VectorType(ir.IntType(32 if single else 64), vector.count)
    low, high = (_constant(vector, value) for value in ((-87.0, 88.7) if single else (-708.0, 709.7)))
    small, large = builder.fcmp_ordered("<", x, low), builder.fcmp_ordered(">", x, high)
    power = call_llvm(builder, "llvm.rint", vector, [builder.fmul(x, _constant(vector, 1 / math.log(2)))])
    power = builder.select(builder.or_(small, builder.fcmp_unordered("uno", x, x)), _constant(vector, 0.0), power)
    power = builder.select(large, _constant(vector, 127.0 if single else 1023.0), power)
    # log(2) in two parts, of which the first has bits to spare
    first, second = (
        (0.693359375, -2.12194440e-4) if single else (6.93147180369123816490e-01, 1.90821492927058770002e-10)
    )
    r = call_llvm(builder, "llvm.fmuladd", vector, [power, _constant(vector, -first), x])
    r = call_llvm(builder, "llvm.fmuladd", vector, [power, _constant(vector, -second), r])
    result = _constant(vector, 0.0)
    for k in range(7 if single else 13, -1, -1):
        result = call_llvm(builder, "llvm.fmuladd", vector, [result, r, _constant(vector, 1 / math.factorial(k))])
    mantissa, bias = (23, 127) if single else (52, 1023)
    exponent = builder.add(builder.fptosi(power, bits), _constant(bits, bias))
    result = builder.fmul(result, builder.bitcast(builder.shl(exponent, _constant(bits, mantissa)), vector))
    result = builder.select(large, _constant(vector, math.inf), result)
    return builder.select(small, _constant(vector, 0.0), result)


def _log1p(builder, t):
    """log(1 + t) for 0 <= t <= 1: twice the series of the inverse hyperbolic tangent of t / (2 + t)."""
    vector = t.type
    single = isinstance(vector.element, ir.FloatType)
    s = builder.fdiv(t, builder.fadd(t, _constant(vector, 2.0)))
    square = builder.fmul(s, s)
    result = _constant(vector, 0.0)
    for k in range(8 if single else 17, -1, -1):
        result = call_llvm(builder, "llvm.fmuladd", vector, [result, square, _constant(vector, 2 / (2 * k + 1))])
    return builder.fmul(result, s)


def _extremum(symbol):
    """Return code for the larger or smaller of two, and NaN if one is, as NumPy has it: a loss must not hide it."""

    def compute(builder, x, y):
        chosen = builder.select(builder.fcmp_ordered(symbol, x, y), x, y)  # y if that is NaN
        return builder.select(builder.fcmp_unordered("uno", x, x), x, chosen)

    return compute


def _unary(name):
    return lambda builder, x: call_llvm(builder, name, x.type, [x])


def _comparison(symbol):
    return lambda builder, x, y: builder.fcmp_ordered(symbol, x, y)


for _symbol, _compute in (
    (operator.add, lambda builder, x, y: builder.fadd(x, y)),
    (operator.sub, lambda builder, x, y: builder.fsub(x, y)),
    (operator.mul, lambda builder, x, y: builder.fmul(x, y)),
    (operator.truediv, lambda builder, x, y: builder.fdiv(x, y)),
    (operator.neg, lambda builder, x: builder.fneg(x)),
    (elementwise.exp, _exp),
    (elementwise.log, _unary("llvm.log")),
    (elementwise.log1p, _log1p),
    (elementwise.sqrt, _unary("llvm.sqrt")),
    (elementwise.absolute, _unary("llvm.fabs")),
    (elementwise.maximum, _extremum(">")),
    (elementwise.minimum, _extremum("<")),
    (elementwise.where, lambda builder, condition, x, y: builder.select(condition, x, y)),
):
    _register(_symbol, _compute)
for _symbol, _text in ((operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">=")):
    _register(_symbol, _comparison(_text), compares=True)
cpu_target.typing_context.install_registry(_functions)
cpu_target.target_context.insert_func_defn(_implementations)


@operation
def as_tile(typingctx, tile, value):
    """Return a tile as it is, a number in every lane of a tile of the same shape: a rule may return either."""
    if isinstance(value, Tile):
        return tile(tile, value), lambda context, builder, sig, args: args[1]

    def codegen(context, builder, sig, args):
        vector = splat(builder, args[1], tile.lanes)
        result = ir.Constant(context.get_value_type(tile), ir.Undefined)
        for v in range(tile.vectors * tile.copies):
            result = builder.insert_value(result, vector, v)
        return result

    return tile(tile, tile.scalar), codegen
