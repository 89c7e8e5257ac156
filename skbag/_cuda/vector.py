"""Arithmetic of rules, see ``skbag._rules.elementwise``, in CUDA kernels: on rows in registers, and on numbers.

`as_tile` makes a row of ``skbag._cuda.tile`` something that can be calculated with, column by column, and `as_row`
takes it back. All is done in the dtype of the row: Numba would make float64 of a float32 and a literal.

In Numba's CUDA simulator a tile is a NumPy array, and rules are the Python functions that they are.
"""

import math
import operator
from functools import cache

import numpy as np

from skbag._cuda.jit import SIMULATED
from skbag._rules import elementwise

if SIMULATED:

    def as_rule(function):
        return function

    def as_tile(row):
        return np.array(row)

    def as_row(like, tile):
        shape, dtype = (len(like), len(like[0])), type(like[0][0])
        return tuple(map(tuple, np.broadcast_to(np.asarray(tile, dtype), shape)))

else:
    from numba.cuda import types
    from numba.cuda.datamodel import models
    from numba.cuda.extending import intrinsic, lower_builtin, register_jitable, register_model
    from numba.cuda.typing import signature
    from numba.cuda.typing.templates import AbstractTemplate, infer_global

    from skbag._cuda.tile import elements, packed

    class Tile(types.Type):
        """Numba type of a row that can be calculated with."""

        def __init__(self, row):
            self.row, self.count, self.dtype, self.scalar = row, row.count, row.dtype, row.dtype.dtype
            super().__init__(name=f"Tile({row})")

        def __len__(self):
            return self.count

    class Mask(types.Type):
        """Numba type of the answers to a comparison of tiles, column by column."""

        def __init__(self, tile):
            self.tile, self.count = tile, tile.count
            self.dtype = types.UniTuple(types.boolean, tile.dtype.count)
            super().__init__(name=f"Mask({tile})")

        def __len__(self):
            return self.count

    register_model(Tile)(models.UniTupleModel)  # what it has in common with a row
    register_model(Mask)(models.UniTupleModel)

    def _is_number(kind):
        return isinstance(kind, types.Number | types.Boolean)

    def _register(symbol, compute, compares=False):
        """Let kernels call a function of tiles and numbers; of numbers alone unless it is an operator.

        ``compute(context, builder, kind, *values)`` makes the code for numbers of one kind, or for bits.
        """
        is_operator = symbol.__module__ == "_operator"

        @infer_global(symbol)
        class Typed(AbstractTemplate):
            def generic(self, args, kws):
                shape = next((kind for kind in args if isinstance(kind, Tile)), None)
                shape = shape or next((kind.tile for kind in args if isinstance(kind, Mask)), None)
                if shape is None:
                    if is_operator or not all(map(_is_number, args)):
                        return None
                    floats = [kind for kind in args if isinstance(kind, types.Float)]
                    shape = max(floats, key=lambda kind: kind.bitwidth, default=types.float64)
                    return signature(shape, *(kind if isinstance(kind, types.Boolean) else shape for kind in args))
                if not all(isinstance(kind, Tile | Mask) or _is_number(kind) for kind in args):
                    return None
                kinds = (kind if isinstance(kind, Tile | Mask | types.Boolean) else shape.scalar for kind in args)
                return signature(Mask(shape) if compares else shape, *kinds)

        def codegen(context, builder, sig, args):
            shape = sig.return_type
            if not isinstance(shape, Tile | Mask):
                return compute(context, builder, shape, *args)
            scalar, width = shape.tile.scalar if compares else shape.scalar, shape.dtype.count
            columns = (
                elements(builder, kind, value) if isinstance(kind, Tile | Mask) else [value] * (shape.count * width)
                for kind, value in zip(sig.args, args, strict=True)
            )
            values = (compute(context, builder, scalar, *column) for column in zip(*columns, strict=True))
            return packed(builder, shape, values)

        n_arguments = compute.__code__.co_argcount - 3
        if not is_operator:
            lower_builtin(symbol, *(types.Any,) * n_arguments)(codegen)
            return
        for first in (Tile, types.Float):
            for second in (Tile, types.Float) if n_arguments == 2 else (None,):
                if Tile in (first, second):
                    lower_builtin(symbol, *(first, second)[:n_arguments])(codegen)

    def _libdevice(function):
        """Call what Numba calls for a function of the module math."""

        def compute(context, builder, kind, x):
            return context.get_function(function, signature(kind, kind))(builder, (x,))

        return compute

    def _comparison(symbol):
        return lambda context, builder, kind, x, y: builder.fcmp_ordered(symbol, x, y)

    def _either(symbol):
        """Return x where it compares so with y, or is NaN, else y."""
        return lambda context, builder, kind, x, y: builder.select(builder.fcmp_unordered(symbol, x, y), x, y)

    for _symbol, _compute in (
        (operator.add, lambda context, builder, kind, x, y: builder.fadd(x, y)),
        (operator.sub, lambda context, builder, kind, x, y: builder.fsub(x, y)),
        (operator.mul, lambda context, builder, kind, x, y: builder.fmul(x, y)),
        (operator.truediv, lambda context, builder, kind, x, y: builder.fdiv(x, y)),
        (operator.neg, lambda context, builder, kind, x: builder.fsub(x.type(-0.0), x)),  # NVVM knows no fneg
        (elementwise.exp, _libdevice(math.exp)),
        (elementwise.log, _libdevice(math.log)),
        (elementwise.log1p, _libdevice(math.log1p)),
        (elementwise.sqrt, _libdevice(math.sqrt)),
        (elementwise.absolute, _libdevice(math.fabs)),
        (elementwise.maximum, _either(">")),
        (elementwise.minimum, _either("<")),
        (elementwise.where, lambda context, builder, kind, condition, x, y: builder.select(condition, x, y)),
    ):
        _register(_symbol, _compute)
    for _symbol, _text in ((operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">=")):
        _register(_symbol, _comparison(_text), compares=True)

    @cache
    def as_rule(function):
        """Let kernels call a function of ``skbag._rules``, or one like it, as part of their code."""
        return register_jitable(forceinline=True, device=True)(function)

    @intrinsic
    def as_tile(typingctx, row):
        """Return a row as a tile."""
        return Tile(row)(row), lambda context, builder, signature, args: args[0]

    @intrinsic
    def as_row(typingctx, like, value):
        """Return a tile as a row, a number as a row like another one: what a rule returns may be either."""
        if isinstance(value, Tile):
            return like(like, value), lambda context, builder, signature, args: args[1]

        def codegen(context, builder, signature, args):
            return packed(builder, like, [args[1]] * (like.count * like.dtype.count))

        return like(like, like.dtype.dtype), codegen
