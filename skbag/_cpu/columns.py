"""Columns of tiles of one copy: where they are, products of two, parts of them, and rows that are written back."""

import numpy as np
from llvmlite import ir
from numba.core import types

from skbag._cpu.jit import inlined
from skbag._cpu.operations import operation
from skbag._cpu.storage import ir_of, narrowed, rounded_for
from skbag._cpu.tile import add, splat, sum_of_lanes, vector_pointers


@inlined
def first_column(dim, column, span):
    """Return the first column of the tile for ``column``: the last tile ends where the row ends."""
    return max(0, min(column, dim - span))


@inlined
def offset_of(dim, column, span, itemsize):
    """Bytes from the first column of a row to the tile for ``column``."""
    return np.uintp(first_column(dim, column, span)) * itemsize


@inlined
def skip_of(dim, column, span):
    """How many columns the tile for ``column`` shares with the one before."""
    return column - first_column(dim, column, span)


@operation
def lane_sum(typingctx, tile):
    """Sum of the lanes of the first vector."""

    def codegen(context, builder, signature, args):
        return sum_of_lanes(builder, builder.extract_value(args[0], 0))

    return tile.scalar(tile), codegen


@operation
def add_scaled(typingctx, tile, scale, other):
    """The first copy of ``tile + scale * other``."""

    def codegen(context, builder, signature, args):
        acc, scale_, other_ = args
        factor = splat(builder, scale_, tile.lanes)
        for v in range(tile.vectors):
            value = add(builder, builder.extract_value(acc, v), builder.extract_value(other_, v), factor)
            acc = builder.insert_value(acc, value, v)
        return acc

    return tile(tile, tile.scalar, other), codegen


def _columns(builder, tile, tail):
    """For each vector of a tile the columns that its lanes hold, counted from the first column of the tile."""
    for v in range(tile.vectors):
        columns = ir.Constant(ir.VectorType(tail.type, tile.lanes), [v * tile.lanes + k for k in range(tile.lanes)])
        if v and v == tile.vectors - 1:
            shift = builder.sub(tail, ir.Constant(tail.type, v * tile.lanes))
            columns = builder.add(columns, splat(builder, shift, tile.lanes))
        yield columns


@operation
def from_column(typingctx, tile, tail, first):
    """The first copy of the tile with 0 in the columns before ``first``."""

    def codegen(context, builder, signature, args):
        acc, tail_, first_ = args
        zero = ir.Constant(ir.VectorType(ir_of(tile.scalar), tile.lanes), [0.0] * tile.lanes)
        for v, columns in enumerate(_columns(builder, tile, tail_)):
            kept = builder.icmp_signed(">=", columns, splat(builder, first_, tile.lanes))
            acc = builder.insert_value(acc, builder.select(kept, builder.extract_value(acc, v), zero), v)
        return acc

    return tile(tile, types.intp, types.intp), codegen


@operation
def dot(typingctx, tile, other, tail):
    """The sum over the columns of the products of two tiles' first copies."""

    def codegen(context, builder, signature, args):
        one, other_, tail_ = args
        zero = ir.Constant(ir.VectorType(ir_of(tile.scalar), tile.lanes), [0.0] * tile.lanes)
        total = zero
        for v, columns in enumerate(_columns(builder, tile, tail_)):
            left, right = builder.extract_value(one, v), builder.extract_value(other_, v)
            if v and v == tile.vectors - 1:  # its first lanes may repeat columns of the vector before
                seen = ir.Constant(columns.type, [v * tile.lanes] * tile.lanes)
                left = builder.select(builder.icmp_signed(">=", columns, seen), left, zero)
            total = add(builder, total, left, right)
        return sum_of_lanes(builder, total)

    return tile.scalar(tile, other, types.intp), codegen


@operation
def multiply_add(typingctx, acc, one, other):
    """The first copy of ``acc + one * other``, lane by lane."""

    def codegen(context, builder, signature, args):
        result = args[0]
        for v in range(acc.vectors):
            factors = builder.extract_value(args[1], v), builder.extract_value(args[2], v)
            result = builder.insert_value(result, add(builder, builder.extract_value(args[0], v), *factors), v)
        return result

    return acc(acc, one, other), codegen


@operation
def total_sum(typingctx, tile):
    """Sum of the lanes of all vectors of the first copy."""

    def codegen(context, builder, signature, args):
        total = builder.extract_value(args[0], 0)
        for v in range(1, tile.vectors):
            total = builder.fadd(total, builder.extract_value(args[0], v))
        return sum_of_lanes(builder, total)

    return tile.scalar(tile), codegen


@operation
def before_column(typingctx, tile, last):
    """The first vector of the tile with 0 in the lanes from ``last`` on."""

    def codegen(context, builder, signature, args):
        acc, last_ = args
        zero = ir.Constant(ir.VectorType(ir_of(tile.scalar), tile.lanes), [0.0] * tile.lanes)
        columns = ir.Constant(ir.VectorType(last_.type, tile.lanes), list(range(tile.lanes)))
        kept = builder.icmp_signed("<", columns, splat(builder, last_, tile.lanes))
        return builder.insert_value(acc, builder.select(kept, builder.extract_value(acc, 0), zero), 0)

    return tile(tile, types.intp), codegen


@operation
def join_at(typingctx, old, new, tail, first):
    """The first copy of ``old`` in the columns before ``first``, of ``new`` from there on."""

    def codegen(context, builder, signature, args):
        before, after, tail_, first_ = args
        for v, columns in enumerate(_columns(builder, old, tail_)):
            later = builder.icmp_signed(">=", columns, splat(builder, first_, old.lanes))
            value = builder.select(later, builder.extract_value(after, v), builder.extract_value(before, v))
            after = builder.insert_value(after, value, v)
        return after

    return old(old, old, types.intp, types.intp), codegen


@operation
def rounded_to(typingctx, tile, table, seed, begin, tail):
    """The first copy of the tile, the columns of a row of a table from ``begin`` on, as that stores them.

    A float16 or bfloat16 is one of the two next to a number, by chance, so that many small steps are not lost: the
    larger one with the probability by which the number is closer to it. Chance is a hash of ``seed``, a uint32, and of
    the column, by MurmurHash3's last step.
    """

    def codegen(context, builder, signature, args):
        acc, _, seed_, begin_, tail_ = args
        if table.dtype == tile.scalar:
            return acc
        ints = ir.VectorType(ir.IntType(32), tile.lanes)
        for v, columns in enumerate(_columns(builder, tile, tail_)):
            columns = builder.trunc(builder.add(columns, splat(builder, begin_, tile.lanes)), ints)
            bits = builder.mul(columns, ir.Constant(ints, [0x9E3779B1] * tile.lanes))
            bits = builder.xor(bits, splat(builder, seed_, tile.lanes))
            for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, None)):
                bits = builder.xor(bits, builder.lshr(bits, ir.Constant(ints, [shift] * tile.lanes)))
                if factor:
                    bits = builder.mul(bits, ir.Constant(ints, [factor] * tile.lanes))
            vector = builder.extract_value(acc, v)
            noise = builder.uitofp(builder.lshr(bits, ir.Constant(ints, [8] * tile.lanes)), vector.type)
            noise = builder.fmul(noise, ir.Constant(vector.type, [2.0**-24] * tile.lanes))
            acc = builder.insert_value(acc, rounded_for(builder, vector, table.dtype, noise), v)
        return acc

    return tile(tile, table, types.uint32, types.intp, types.intp), codegen


@operation
def store_in(typingctx, tile, table, address, tail):
    """Write the first copy of the tile, which `rounded_to` has made, to a row of a table."""

    def codegen(context, builder, signature, args):
        acc, _, address_, tail_ = args
        for v, pointer in enumerate(vector_pointers(builder, tile, address_, tail_, table.dtype)):
            vector = narrowed(builder, builder.extract_value(acc, v), table.dtype)
            builder.store(vector, pointer, align=table.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(tile, table, address, types.intp), codegen
