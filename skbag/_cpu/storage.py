"""How the numbers of a table are stored, and what a kernel reads and writes: vectors of floats, and single ones.

The dtype of the array says it: uint16 are the bits of float16, int16 those of bfloat16, int8 are whole numbers that the
scale of their row multiplies; float32 and float64 are read as they are. NumPy and Numba lack bfloat16, and Numba's CPU
float16.
"""

from functools import cache

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

HALF, BRAIN, WHOLE = types.uint16, types.int16, types.int8
_MANTISSA = {HALF: 10, BRAIN: 7}  # bits
_SMALLEST = {HALF: -14, BRAIN: -126}  # exponents of normal numbers


@cache
def _knows_half():
    """Whether the processor converts float16 by itself: LLVM would call a library that need not be there."""
    return bool(llvm.get_host_cpu_features().get("f16c")) or llvm.get_process_triple().startswith(("aarch64", "arm64"))


def _like(vector, element):
    """Return the type of vectors, or of a number, with other elements."""
    return ir.VectorType(element, vector.count) if isinstance(vector, ir.VectorType) else element


def _constant(kind, value):
    return ir.Constant(kind, [value] * kind.count if isinstance(kind, ir.VectorType) else value)


def float_of(kind):
    """Return the Numba type of what is read of an array of this kind."""
    return types.float32 if kind in (HALF, BRAIN, WHOLE) else kind


def ir_of(kind):
    if isinstance(kind, types.Integer):
        return ir.IntType(kind.bitwidth)
    return ir.FloatType() if kind.bitwidth == 32 else ir.DoubleType()


def _of_half_bits(builder, bits, floats):
    """Floats of the bits of float16, by whole numbers: 2 ** 112 is the difference of the two formats' exponents."""
    ints = _like(bits.type, ir.IntType(32))
    bits = builder.zext(bits, ints)
    size = builder.shl(builder.and_(bits, _constant(ints, 0x7FFF)), _constant(ints, 13))
    sign = builder.shl(builder.and_(bits, _constant(ints, 0x8000)), _constant(ints, 16))
    number = builder.bitcast(builder.fmul(builder.bitcast(size, floats), _constant(floats, 2.0**112)), ints)
    special = builder.icmp_unsigned(">=", size, _constant(ints, 0x7C00 << 13))  # infinity, or NaN
    number = builder.select(special, builder.or_(size, _constant(ints, 0x7F800000)), number)
    return builder.bitcast(builder.or_(number, sign), floats)


def widened(builder, value, kind):
    """Code for the floats of a vector, or of one number, of an array of a kind; without the scales of int8."""
    floats = _like(value.type, ir.FloatType())
    if kind == HALF:
        if not _knows_half():
            return _of_half_bits(builder, value, floats)
        return builder.fpext(builder.bitcast(value, _like(value.type, ir.HalfType())), floats)
    if kind == BRAIN:  # the upper half of a float32
        ints = _like(value.type, ir.IntType(32))
        return builder.bitcast(builder.shl(builder.zext(value, ints), _constant(ints, 16)), floats)
    if kind == WHOLE:
        return builder.sitofp(builder.sext(value, _like(value.type, ir.IntType(32))), floats)
    return value


def _rounded(builder, numbers, kind, noise):
    """Floats that float16 or bfloat16 has, next to some: below with the probability that keeps the mean.

    noise : floats in [0, 1); None for the nearest, of two the even one.
    """
    floats = numbers.type
    ints = _like(floats, ir.IntType(32))
    exponent = builder.and_(builder.bitcast(numbers, ints), _constant(ints, 0x7F800000))
    lowest = _constant(ints, 127 + _SMALLEST[kind] << 23)
    exponent = builder.select(builder.icmp_unsigned("<", exponent, lowest), lowest, exponent)
    power = builder.bitcast(exponent, floats)  # of two, not above the number
    parts = builder.fmul(builder.fdiv(numbers, power), _constant(floats, 2.0 ** _MANTISSA[kind]))
    if noise is None:
        whole = _call(builder, "llvm.rint", [parts])
    else:
        whole = _call(builder, "llvm.floor", [builder.fadd(parts, noise)])
    return builder.fmul(builder.fmul(whole, _constant(floats, 2.0 ** -_MANTISSA[kind])), power)


def _call(builder, name, args):
    kind = args[0].type
    suffix = f"v{kind.count}f32" if isinstance(kind, ir.VectorType) else "f32"
    function_type = ir.FunctionType(kind, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, f"{name}.{suffix}"), args)


def _to_half_bits(builder, numbers):
    """Return the bits of float16 for floats that it has; infinity for larger ones."""
    floats = numbers.type
    ints = _like(floats, ir.IntType(32))
    bits = builder.bitcast(numbers, ints)
    size = builder.and_(bits, _constant(ints, 0x7FFFFFFF))
    sign = builder.and_(builder.lshr(bits, _constant(ints, 16)), _constant(ints, 0x8000))
    normal = builder.lshr(builder.sub(size, _constant(ints, 112 << 23)), _constant(ints, 13))
    large = builder.icmp_unsigned(">=", size, _constant(ints, 143 << 23))
    nan = builder.icmp_unsigned(">", size, _constant(ints, 0x7F800000))
    special = builder.select(nan, _constant(ints, 0x7E00), _constant(ints, 0x7C00))
    small = builder.icmp_unsigned("<", size, _constant(ints, 113 << 23))
    few = builder.select(small, builder.bitcast(size, floats), _constant(floats, 0.0))
    subnormal = builder.fptosi(builder.fmul(few, _constant(floats, 2.0**24)), ints)
    result = builder.select(large, special, builder.select(small, subnormal, normal))
    return builder.trunc(builder.or_(result, sign), _like(floats, ir.IntType(16)))


def narrowed(builder, numbers, kind):
    """Code for what an array of a kind stores of floats that it has, which `rounded_for` makes."""
    shorts = _like(numbers.type, ir.IntType(16))
    if kind == HALF:
        if not _knows_half():
            return _to_half_bits(builder, numbers)
        return builder.bitcast(builder.fptrunc(numbers, _like(numbers.type, ir.HalfType())), shorts)
    if kind == BRAIN:
        ints = _like(numbers.type, ir.IntType(32))
        return builder.trunc(builder.lshr(builder.bitcast(numbers, ints), _constant(ints, 16)), shorts)
    return numbers


def rounded_for(builder, numbers, kind, noise=None):
    """Code for the floats that an array of a kind stores in place of others; infinite where there is none so large."""
    if kind not in (HALF, BRAIN):
        return numbers
    return widened(builder, narrowed(builder, _rounded(builder, numbers, kind, noise), kind), kind)


@intrinsic
def put_number(typingctx, array, row, column, value):
    """array[row, column] = value of a C-contiguous 2-D array, rounded to the nearest that it can store."""
    number = float_of(array.dtype)

    def codegen(context, builder, signature, args):
        view = context.make_helper(builder, array, args[0])
        width = builder.extract_value(view.shape, 1)
        place = builder.gep(view.data, [builder.add(builder.mul(args[1], width), args[2])])
        rounded = rounded_for(builder, args[3], array.dtype)
        builder.store(narrowed(builder, rounded, array.dtype), place)
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp, number), codegen


@intrinsic
def number_at(typingctx, array, row, column):
    """array[row, column] of a C-contiguous 2-D array, as a float."""
    result = float_of(array.dtype)

    def codegen(context, builder, signature, args):
        view = context.make_helper(builder, array, args[0])
        width = builder.extract_value(view.shape, 1)
        place = builder.add(builder.mul(args[1], width), args[2])
        return widened(builder, builder.load(builder.gep(view.data, [place])), array.dtype)

    return result(array, types.intp, types.intp), codegen
