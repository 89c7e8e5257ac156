"""What the members of bags say, several at once: where their rows lie, whether they are valid, what they weigh."""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from skbag._cpu.operations import operation
from skbag._cpu.storage import ir_of
from skbag._cpu.tile import call_llvm, fold, splat, suffix_of


def _item(context, builder, array, value, place):
    """Code for an item of a 1-D array."""
    return builder.load(builder.gep(context.make_helper(builder, array, value).data, [place]))


@operation
def all_below(typingctx, tile, indices, member, limit):
    """Whether 0 <= index < limit for the next members, as many as the tile has copies."""

    def codegen(context, builder, signature, args):
        _, indices_, member_, limit_ = args
        result = ir.Constant(ir.IntType(1), 1)
        for k in range(tile.copies):
            index = _item(context, builder, indices, indices_, builder.add(member_, ir.Constant(member_.type, k)))
            index = context.cast(builder, index, indices.dtype, types.intp)  # as unsigned, a negative one is huge
            result = builder.and_(result, builder.icmp_unsigned("<", index, limit_))
        return result

    return types.boolean(tile, indices, types.intp, types.uintp), codegen


@operation
def fold_members(typingctx, tile, like, rows, multipliers, scales, indices, padding_idx, member, tail):
    """The tile with the rows of the members from ``member`` on taken in, as many as the tile ``like`` has copies.

    Row i of ``rows``, (where the first begins, how many bytes each has, where the row lies that stands for a member
    that ``padding_idx``, if it is not None, takes out), times multipliers[member] * scales[i]; None stands for ones. In
    a maximum the scale of a row that stands for a member that was taken out is infinite.
    """
    padded, weighted, scaled = (not isinstance(kind, types.NoneType) for kind in (padding_idx, multipliers, scales))

    def codegen(context, builder, signature, args):
        acc, _, rows_, multipliers_, scales_, indices_, padding_, member_, tail_ = args
        base, row_bytes, spare = (builder.extract_value(rows_, k) for k in range(3))
        if padded:
            padding_ = context.cast(builder, padding_, padding_idx, indices.dtype)
        addresses, weights = [], []
        for k in range(like.copies):
            place = builder.add(member_, ir.Constant(member_.type, k))
            index = _item(context, builder, indices, indices_, place)
            row = context.cast(builder, index, indices.dtype, types.intp)
            address = builder.add(base, builder.mul(row, row_bytes))
            factors = [_item(context, builder, multipliers, multipliers_, place)] if weighted else []
            if scaled:
                scale = _item(context, builder, scales, scales_, row)
                if padded and tile.maximum:
                    infinite = ir.Constant(scale.type, float("inf"))
                    scale = builder.select(builder.icmp_signed("!=", index, padding_), scale, infinite)
                factors.append(scale)
            if padded:
                address = builder.select(builder.icmp_signed("!=", index, padding_), address, spare)
            addresses.append(address)
            weights.append(builder.fmul(*factors) if len(factors) == 2 else factors[0] if factors else None)
        return fold(builder, tile, acc, addresses, weights if weighted or scaled else None, tail_)

    return tile(tile, like, rows, multipliers, scales, indices, padding_idx, types.intp, types.intp), codegen


def _first_lanes(builder, n, lanes):
    """Return a mask with the first n of some lanes set."""
    n = splat(builder, n, lanes)
    return builder.icmp_signed("<", ir.Constant(n.type, list(range(lanes))), n)


def _masked(context, builder, array, value, start, inside, otherwise):
    """Return the items of a 1-D array from ``start`` on in the lanes ``inside``, ``otherwise`` in the others."""
    view = context.make_helper(builder, array, value)
    pointer = builder.bitcast(builder.gep(view.data, [start]), otherwise.type.as_pointer())
    suffix = f"{suffix_of(otherwise.type)}.p0{suffix_of(otherwise.type)}"
    align = ir.Constant(ir.IntType(32), array.dtype.bitwidth // 8)
    return call_llvm(builder, "llvm.masked.load", otherwise.type, [pointer, align, inside, otherwise], suffix)


@operation
def add_sizes(typingctx, tile, weights, indices, start, stop, padding_idx, squared):
    """Add |w|, or w * w where ``squared``, of the members start, start + 1, ... to the lanes of the tile.

    As many members as the tile has lanes, but none from ``stop`` on and none that ``padding_idx`` names. ``weights``
    None stands for weights of 1.
    """

    def codegen(context, builder, signature, args):
        acc, weights_, indices_, start_, stop_, padding_, squared_ = args
        lanes = tile.lanes
        inside = _first_lanes(builder, builder.sub(stop_, start_), lanes)

        def load(array, value, otherwise):
            return _masked(context, builder, array, value, start_, inside, otherwise)

        member = inside
        if not isinstance(padding_idx, types.NoneType):
            padding = splat(builder, context.cast(builder, padding_, padding_idx, indices.dtype), lanes)
            member = builder.icmp_signed("!=", load(indices, indices_, padding), padding)
        vector = ir.VectorType(ir_of(tile.scalar), lanes)
        size = ir.Constant(vector, [1.0] * lanes)
        if not isinstance(weights, types.NoneType):
            weight = load(weights, weights_, ir.Constant(vector, [0.0] * lanes))
            absolute = call_llvm(builder, "llvm.fabs", vector, [weight])
            size = builder.fmul(absolute, builder.select(squared_, absolute, size))
        size = builder.select(member, size, ir.Constant(vector, [0.0] * lanes))
        return builder.insert_value(acc, builder.fadd(builder.extract_value(acc, 0), size), 0)

    return tile(tile, weights, indices, types.intp, types.intp, padding_idx, types.boolean), codegen


@intrinsic(prefer_literal=True)
def rises(typingctx, indices, start, stop, vectors):
    """Return 255 if indices[i] < indices[i + 1] for start <= i < stop - 1, else a number with fewer bits.

    The first 8 * ``vectors`` of them are looked at; ``vectors`` must be a compile-time integer.
    """
    if not isinstance(vectors, types.IntegerLiteral):
        return None

    def codegen(context, builder, signature, args):
        indices_, start_, stop_, _ = args
        lanes = 8
        result = ir.Constant(ir.VectorType(ir.IntType(1), lanes), [1] * lanes)
        for v in range(vectors.literal_value):
            at = builder.add(start_, ir.Constant(start_.type, v * lanes))
            next_ = builder.add(at, ir.Constant(at.type, 1))
            inside = _first_lanes(builder, builder.sub(stop_, next_), lanes)
            none = ir.Constant(ir.VectorType(ir.IntType(indices.dtype.bitwidth), lanes), [0] * lanes)
            one, other = (_masked(context, builder, indices, indices_, place, inside, none) for place in (at, next_))
            rise = builder.or_(builder.icmp_signed("<", one, other), builder.not_(inside))
            result = builder.and_(result, rise)
        return builder.zext(builder.bitcast(result, ir.IntType(lanes)), ir.IntType(64))

    return types.int64(indices, types.intp, types.intp, vectors), codegen
