"""Rows of a table in the registers of CUDA threads: wide loads and stores, which Numba lacks.

A row is cut into slots of ``width`` columns, 16 bytes where the width of the row allows it, so that a slot is one load
instruction. The ``lanes`` threads of a group share a row: a thread has the slots s, s + lanes, s + 2 * lanes, ... of
its own, ``vectors`` of them, as a tuple of ``vectors`` tuples of ``width`` scalars. Only compile-time indices are used
on it, so it stays in registers. A slot past the end of the row loads the last slot instead, and is never stored.

In Numba's CUDA simulator there are no intrinsics; the same functions are then plain Python.
"""

import math
import operator

import numpy as np

from skbag._cuda.jit import SIMULATED
from skbag._cuda.storage import SMALL, narrowed, number_at, rounded

_ODD = 0x9E3779B1  # of a hash, with the steps of MurmurHash3's end
_STEPS = (16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, None)


def halved(totals, add):
    """Return the sum of some numbers, as ``norms.group_total`` adds those of as many threads."""
    while len(totals) > 1:
        half = (len(totals) + 1) // 2
        totals = [add(*totals[k::half]) if k + half < len(totals) else totals[k] for k in range(half)]
    return totals[0]


if SIMULATED:

    def item(array, i):
        return array[i]

    def tail(array, n):
        return array[n:]

    def full(value, width, vectors):
        return ((value,) * width,) * vectors

    def filled(like, value):
        return full(value, len(like[0]), len(like))

    def gather(like, array, row, slot, lanes):
        n_slots = array.shape[1] // len(like[0])
        slots = (min(slot + v * lanes, n_slots - 1) * len(like[0]) for v in range(len(like)))
        return tuple(tuple(number_at(array, row, c + j) for j in range(len(like[0]))) for c in slots)

    def prefetch(array, row, slot, width):
        pass

    def rounded_to(row, array, seed, slot, lanes):
        if str(array.dtype) not in SMALL:
            return row
        out, width = [], len(row[0])
        for v, vector in enumerate(row):
            for j, value in enumerate(vector):
                bits = int((slot + v * lanes) * width + j) * _ODD & 0xFFFFFFFF ^ int(seed)
                for shift, factor in _STEPS:
                    bits ^= bits >> shift
                    bits = bits * (factor or 1) & 0xFFFFFFFF
                value = rounded(array, value, np.float32((bits >> 8) * 2.0**-24))
                out.append(np.float32(np.float16(value)) if str(array.dtype) == "uint16" else value)
        return tuple(tuple(out[k : k + width]) for k in range(0, len(out), width))

    def scatter(array, row, slot, lanes, values):
        width = len(values[0])
        for v, vector in enumerate(values):
            for j, value in enumerate(vector):
                if (slot + v * lanes + 1) * width <= array.shape[1]:
                    small = str(array.dtype) in SMALL
                    array[row, (slot + v * lanes) * width + j] = narrowed(array, value) if small else value

    def _each(function, *rows):
        return tuple(tuple(function(*values) for values in zip(*vectors, strict=True)) for vectors in zip(*rows))  # noqa: B905

    def add_scaled(acc, row, weight, keep):
        return _each(lambda a, r: a + weight * r if keep else a, acc, row)

    def add_where(acc, row, winners, member, keep):
        return _each(lambda a, r, w: a + r if keep and w == member else a, acc, row, winners)

    def _wins(value, a):
        return a == a and not value <= a

    def larger(acc, row, weight, keep):
        return _each(lambda a, r: weight * r if keep and _wins(weight * r, a) else a, acc, row)

    def larger_at(at, acc, row, weight, keep, candidates):
        return _each(lambda i, a, r, c: c if keep and _wins(weight * r, a) else i, at, acc, row, candidates)

    def divided(row, size):
        return _each(lambda r: r / size, row)

    def squares(row, slot, lanes, dim):
        totals = []
        for v, vector in enumerate(row):
            total = vector[0] * 0
            for r in vector:
                total += r * r if (slot + v * lanes + 1) * len(vector) <= dim else 0
            totals.append(np.float64(total))
        return halved(totals, operator.add)

    def is_finite(row):
        return all(math.isfinite(r) for vector in row for r in vector)

else:
    from llvmlite import ir
    from numba.cuda import cgutils, types
    from numba.cuda.extending import intrinsic

    from skbag._cuda.storage import float_of, loaded, store, widened

    _I32, _I64 = ir.IntType(32), ir.IntType(64)

    def elements(builder, row_type, row):
        """All scalars of a row, in order."""
        for v in range(row_type.count):
            vector = builder.extract_value(row, v)
            for j in range(row_type.dtype.count):
                yield builder.extract_value(vector, j)

    def packed(builder, row_type, values):
        """Scalars in order as a row."""
        values, width = list(values), row_type.dtype.count
        vectors = [cgutils.pack_array(builder, values[k : k + width]) for k in range(0, len(values), width)]
        return cgutils.pack_array(builder, vectors)

    def _row_type(dtype, width, vectors):
        return types.UniTuple(types.UniTuple(dtype, width), vectors)

    def _slots(context, builder, signature, args, row_type, array_type):
        """For each vector: a wide pointer to its slot of the array's row, and whether the slot exists.

        ``args`` are (array, row, slot, lanes). All offsets have 64 bits. Of a row that is an int32 one instruction
        makes the address: bytes of a row have 32 bits then.
        """
        array, *numbers = args
        row, slot, lanes = (
            context.cast(builder, number, kind, types.int64)
            for number, kind in zip(numbers, signature, strict=True)
        )  # fmt: skip
        array = context.make_array(array_type)(context, builder, value=array)
        width, scalar = row_type.dtype.count, context.get_value_type(array_type.dtype)
        dim = builder.extract_value(array.shape, 1)
        n_slots = builder.udiv(dim, _I64(width))
        small = signature[0] == types.int32
        first = _I64(0) if small else builder.mul(row, dim)
        wide = ir.VectorType(scalar, width) if width > 1 else scalar
        for v in range(row_type.count):
            at = builder.add(slot, builder.mul(lanes, _I64(v))) if v else slot
            exists = builder.icmp_signed("<", at, n_slots)
            at = builder.select(exists, at, builder.sub(n_slots, _I64(1)))
            pointer = builder.gep(array.data, [builder.add(first, builder.mul(at, _I64(width)))])
            pointer = builder.addrspacecast(builder.bitcast(pointer, wide.as_pointer()), wide.as_pointer(1))
            if small:
                n_bytes = builder.mul(builder.trunc(dim, _I32), _I32(array_type.dtype.bitwidth // 8))
                address = builder.add(builder.ptrtoint(pointer, _I64), _wide_product(builder, numbers[0], n_bytes))
                pointer = builder.inttoptr(address, pointer.type)
            yield pointer, exists

    def _wide_product(builder, a, b):
        """Code for the product of two int32 in 64 bits, which the compiler would calculate with numbers of 64."""
        product = ir.InlineAsm(ir.FunctionType(_I64, [_I32, _I32]), "mul.wide.s32 $0, $1, $2;", "=l,r,r")
        return builder.call(product, [a, b])

    def _alignment(row_type, array_type):
        return row_type.dtype.count * array_type.dtype.bitwidth // 8

    def _each(builder, compute, *rows):
        """Pack what ``compute`` makes of the scalars of rows, given as (type, value), one column at a time."""
        columns = zip(*(elements(builder, kind, row) for kind, row in rows), strict=True)
        return packed(builder, rows[0][0], (compute(*column) for column in columns))

    @intrinsic
    def rounded_to(typingctx, row, array, seed, slot, lanes):
        """A row as an array stores it: of float16 and bfloat16, one of the two next to a number, by chance.

        Chance is a hash of ``seed`` and the column. ``slot`` and ``lanes`` as in `gather`. See the CPU's.
        """
        if str(array.dtype) not in SMALL:
            return row(row, array, seed, slot, lanes), lambda context, builder, signature, args: args[0]
        width = row.dtype.count

        def codegen(context, builder, signature, args):
            seed, slot, lanes = (
                context.cast(builder, number, kind, to)
                for number, kind, to in zip(
                    args[2:], signature.args[2:], (types.uint32, types.int64, types.int64), strict=True
                )
            )
            found = []
            for k, value in enumerate(elements(builder, row, args[0])):
                v, j = divmod(k, width)
                at = builder.add(slot, builder.mul(lanes, _I64(v)))
                column = builder.trunc(builder.add(builder.mul(at, _I64(width)), _I64(j)), _I32)
                bits = builder.xor(builder.mul(column, _I32(_ODD)), seed)
                for shift, factor in _STEPS:
                    bits = builder.xor(bits, builder.lshr(bits, _I32(shift)))
                    if factor:
                        bits = builder.mul(bits, _I32(factor))
                noise = builder.uitofp(builder.lshr(bits, _I32(8)), ir.FloatType())
                found.append(
                    rounded(builder, value, array.dtype, builder.fmul(noise, ir.FloatType()(2.0**-24)))
                )  # fmt: skip
            return packed(builder, row, found)

        return row(row, array, seed, slot, lanes), codegen

    @intrinsic
    def item(typingctx, array, i):
        """array[i] of a 1-D array, for i >= 0: Numba's own look-up also handles negative ones."""

        def codegen(context, builder, signature, args):
            array_type = signature.args[0]
            array = context.make_array(array_type)(context, builder, value=args[0])
            i = context.cast(builder, args[1], signature.args[1], types.int64)
            pointer = builder.gep(array.data, [i])
            return builder.load(builder.addrspacecast(pointer, pointer.type.pointee.as_pointer(1)))

        return array.dtype(array, i), codegen

    @intrinsic
    def tail(typingctx, array, n):
        """array[n:] of a 1-D array, with the shape of the whole."""

        def codegen(context, builder, signature, args):
            array_type = signature.args[0]
            given = context.make_array(array_type)(context, builder, value=args[0])
            n = context.cast(builder, args[1], signature.args[1], types.int64)
            begin = builder.ptrtoint(builder.gep(given.data, [n]), _I64)  # added once, not to every index
            begin = builder.call(ir.InlineAsm(ir.FunctionType(_I64, [_I64]), "mov.b64 $0, $1;", "=l,l"), [begin])
            given.data = builder.inttoptr(begin, given.data.type)
            return given._getvalue()

        return array(array, n), codegen

    @intrinsic
    def full(typingctx, value, width, vectors):
        """A row filled with ``value``; ``width`` and ``vectors`` are compile-time integers."""
        if not (isinstance(width, types.IntegerLiteral) and isinstance(vectors, types.IntegerLiteral)):
            return None
        row_type = _row_type(value, width.literal_value, vectors.literal_value)

        def codegen(context, builder, signature, args):
            return packed(builder, row_type, [args[0]] * (width.literal_value * vectors.literal_value))

        return row_type(value, width, vectors), codegen

    @intrinsic
    def filled(typingctx, like, value):
        """A row like another one, filled with ``value``."""

        def codegen(context, builder, signature, args):
            return packed(builder, like, [args[1]] * (like.count * like.dtype.count))

        return like(like, like.dtype.dtype), codegen

    @intrinsic
    def gather(typingctx, like, array, row, slot, lanes):
        """The slots slot, slot + lanes, ... of array[row], as many as ``like`` has, as floats."""
        result = _row_type(float_of(array.dtype), like.dtype.count, like.count)

        def codegen(context, builder, signature, args):
            slots = _slots(context, builder, signature.args[2:], args[1:], result, array)
            found = [loaded(builder, pointer, _alignment(result, array)) for pointer, _ in slots]
            values = (widened(builder, value, array.dtype) for some in found for value in some)
            return packed(builder, result, values)

        return result(like, array, row, slot, lanes), codegen

    @intrinsic
    def prefetch(typingctx, array, row, slot, width):
        """Ask for a slot of ``width`` columns of array[row]; of a 1-D array for array[row]: nothing waits for it."""

        def codegen(context, builder, signature, args):
            array_type = signature.args[0]
            array = context.make_array(array_type)(context, builder, value=args[0])
            row, slot, width = (
                context.cast(builder, number, kind, types.int64)
                for number, kind in zip(args[1:], signature.args[1:], strict=True)
            )  # fmt: skip
            at = row
            if array_type.ndim == 2:
                at = builder.add(builder.mul(row, builder.extract_value(array.shape, 1)), builder.mul(slot, width))
            pointer = builder.gep(array.data, [at])
            address = builder.ptrtoint(builder.addrspacecast(pointer, pointer.type.pointee.as_pointer(1)), _I64)
            kind = ir.FunctionType(ir.VoidType(), [_I64])
            builder.call(ir.InlineAsm(kind, "prefetch.global.L2 [$0];", "l", side_effect=True), [address])
            return context.get_dummy_value()

        return types.none(array, row, slot, width), codegen

    @intrinsic
    def scatter(typingctx, array, row, slot, lanes, values):
        """Store what `gather` with the same numbers would load, where the slots exist; see `rounded_to`."""

        def codegen(context, builder, signature, args):
            row_type = signature.args[4]
            slots = _slots(context, builder, signature.args[1:4], args[:4], row_type, array)
            for v, (pointer, exists) in enumerate(slots):
                vector = builder.extract_value(args[4], v)
                scalars = [builder.extract_value(vector, j) for j in range(row_type.dtype.count)]
                scalars = [narrowed(builder, scalar, array.dtype) for scalar in scalars]
                with builder.if_then(exists):
                    store(builder, scalars, pointer, _alignment(row_type, array))
            return context.get_dummy_value()

        return types.none(array, row, slot, lanes, values), codegen

    @intrinsic
    def add_scaled(typingctx, acc, row, weight, keep):
        """acc + weight * row, or acc if not ``keep``; fused, one rounding."""

        def codegen(context, builder, signature, args):
            acc_, row_, weight_, keep_ = args

            def compute(a, r):
                return builder.select(keep_, builder.fma(weight_, r, a), a)

            return _each(builder, compute, (acc, acc_), (row, row_))

        return acc(acc, row, acc.dtype.dtype, types.boolean), codegen

    @intrinsic
    def add_where(typingctx, acc, row, winners, member, keep):
        """acc + row in the columns where winners is ``member``, acc in the others, or in all if not ``keep``."""

        def codegen(context, builder, signature, args):
            def compute(a, r, w):
                wins = builder.and_(args[4], builder.icmp_signed("==", w, args[3]))
                return builder.select(wins, builder.fadd(a, r), a)

            return _each(builder, compute, (acc, args[0]), (row, args[1]), (winners, args[2]))

        return acc(acc, row, winners, winners.dtype.dtype, types.boolean), codegen

    def _wins(builder, a, r, weight, keep):
        """Return weight * r, and whether it takes the place of a: a tie stays, and NaN is larger than any number."""
        value = builder.fmul(weight, r)
        wins = builder.and_(builder.fcmp_ordered("ord", a, a), builder.fcmp_unordered(">", value, a))
        return value, builder.and_(keep, wins)

    @intrinsic
    def larger(typingctx, acc, row, weight, keep):
        """weight * row in the columns where that `_wins` against acc and ``keep`` is true, acc in the others."""

        def codegen(context, builder, signature, args):
            def compute(a, r):
                value, wins = _wins(builder, a, r, *args[2:])
                return builder.select(wins, value, a)

            return _each(builder, compute, (acc, args[0]), (row, args[1]))

        return acc(acc, row, acc.dtype.dtype, types.boolean), codegen

    @intrinsic
    def larger_at(typingctx, at, acc, row, weight, keep, candidates):
        """candidates in the columns where `larger` takes the row, ``at`` in the others."""

        def codegen(context, builder, signature, args):
            def compute(i, a, r, c):
                return builder.select(_wins(builder, a, r, *args[3:5])[1], c, i)

            kinds = at, acc, row, candidates
            return _each(builder, compute, *zip(kinds, (*args[:3], args[5]), strict=True))

        return at(at, acc, row, acc.dtype.dtype, types.boolean, candidates), codegen

    @intrinsic
    def divided(typingctx, row, size):
        """row / size."""

        def codegen(context, builder, signature, args):
            return _each(builder, lambda r: builder.fdiv(r, args[1]), (row, args[0]))

        return row(row, row.dtype.dtype), codegen

    @intrinsic
    def squares(typingctx, row, slot, lanes, dim):
        """Sum of the squares of the columns that exist, in float64 but for those of a slot; see `gather`."""
        scalar, width = row.dtype.dtype, row.dtype.count

        def codegen(context, builder, signature, args):
            values, totals = list(elements(builder, row, args[0])), []
            for v in range(row.count):
                total = zero = context.get_constant(scalar, 0)
                slot_ = builder.add(args[1], builder.mul(args[2], _I64(v)))
                exists = builder.icmp_signed("<", builder.mul(slot_, _I64(width)), args[3])
                for value in values[v * width : (v + 1) * width]:
                    value = builder.select(exists, value, zero)
                    total = builder.fma(value, value, total)
                totals.append(context.cast(builder, total, scalar, types.float64))
            return halved(totals, builder.fadd)

        return types.float64(row, types.int64, types.int64, types.int64), codegen

    @intrinsic
    def is_finite(typingctx, row):
        """Whether every scalar is finite; the slots that do not exist hold copies of one that does."""

        def codegen(context, builder, signature, args):
            result, zero = ir.IntType(1)(1), context.get_constant(row.dtype.dtype, 0)
            for value in elements(builder, row, args[0]):
                result = builder.and_(result, builder.fcmp_ordered("==", builder.fmul(value, zero), zero))
            return result

        return types.boolean(row), codegen
