"""Rows of a table in vector registers: the LLVM vector types that Numba lacks.

A tile is a run of columns of one table row, held as ``vectors`` LLVM vectors of ``lanes`` scalars. Vector v covers
the columns [v * lanes, (v + 1) * lanes) from an address on; the last vector begins at column ``tail`` instead, so a
width that is no multiple of ``lanes`` ends in a vector that overlaps the one before it: no scalar remainder.
``copies`` tiles stand side by side: consecutive rows go to different registers and do not wait for one another.

Addresses are plain integers and nothing is checked: the bags are validated before a kernel sees them.
"""

import os

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

_BYTES = ir.IntType(8).as_pointer()
_WINDOW = 256  # rows whose sum is rounded at every step; the sums of windows lose nothing


class Tile(types.Type):
    """Numba type of ``copies`` tiles of ``vectors`` vectors of ``lanes`` scalars, that take in rows by + or max."""

    def __init__(self, scalar, lanes, vectors, copies, maximum):
        self.scalar, self.lanes, self.vectors, self.copies, self.maximum = scalar, lanes, vectors, copies, maximum
        super().__init__(name=f"Tile({scalar}, {lanes}, {vectors}, {copies}, {maximum})")

    @property
    def itemsize(self):
        return self.scalar.bitwidth // 8


@register_model(Tile)
class TileModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        vector = ir.VectorType(ir_scalar(fe_type.scalar), fe_type.lanes)
        super().__init__(dmm, fe_type, ir.ArrayType(vector, fe_type.vectors * fe_type.copies))


def ir_scalar(scalar):
    return ir.FloatType() if scalar.bitwidth == 32 else ir.DoubleType()


def splat(builder, value, lanes):
    vector = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    one = builder.insert_element(vector, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, vector, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))


def _vector_pointers(builder, tile, address, tail):
    """Pointers to the vectors of one tile whose first column lies at ``address``."""
    pointer_type = ir.VectorType(ir_scalar(tile.scalar), tile.lanes).as_pointer()
    for v in range(tile.vectors):
        if v and v == tile.vectors - 1:
            offset = builder.mul(tail, ir.Constant(tail.type, tile.itemsize))
        else:
            offset = ir.Constant(address.type, v * tile.lanes * tile.itemsize)
        yield builder.inttoptr(builder.add(address, offset), pointer_type)


def _suffix(vector):
    """The name of a vector type inside the name of an LLVM intrinsic: v16f32."""
    element = vector.element
    width = {ir.FloatType: 32, ir.DoubleType: 64}.get(type(element)) or element.width
    return f"v{vector.count}{'i' if isinstance(element, ir.IntType) else 'f'}{width}"


def call_llvm(builder, name, result, args, suffix=None):
    function_type = ir.FunctionType(result, [arg.type for arg in args])
    name = f"{name}.{suffix or _suffix(result)}"
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), args)


def _prefetch(builder, pointer):
    int32 = ir.IntType(32)
    function_type = ir.FunctionType(ir.VoidType(), [_BYTES, int32, int32, int32])
    function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0i8")
    builder.call(function, [builder.bitcast(pointer, _BYTES), *(ir.Constant(int32, hint) for hint in (0, 3, 1))])


def _sum_of_lanes(builder, vector):
    """Sum of the lanes of a vector, by halves."""
    width = vector.type.count
    while width > 1:
        width //= 2
        halves = (ir.Constant(ir.VectorType(ir.IntType(32), width), list(range(k, k + width))) for k in (0, width))
        low, high = (builder.shuffle_vector(vector, vector, half) for half in halves)
        vector = builder.fadd(low, high)
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


def _add(builder, acc, row, weight=None):
    if weight is None:
        return builder.fadd(acc, row)
    return call_llvm(builder, "llvm.fmuladd", acc.type, [row, weight, acc])


def _larger(builder, acc, row):
    return builder.select(builder.fcmp_ordered(">", row, acc), row, acc)  # a tie, or NaN, stays with the earlier member


def _with_nan(builder, acc, row, other):
    """NaN where one of two rows is NaN, acc elsewhere."""
    bits = ir.VectorType(ir.IntType(64 if isinstance(acc.type.element, ir.DoubleType) else 32), acc.type.count)
    nan = builder.sext(builder.fcmp_unordered("uno", row, other), bits)  # all bits set, which is NaN
    return builder.bitcast(builder.or_(builder.bitcast(acc, bits), nan), acc.type)


def _max(builder, acc, row, weight=None):
    if weight is not None:
        row = builder.fmul(row, weight)
    return _with_nan(builder, _larger(builder, acc, row), row, row)


def _combine(tile, builder, acc, row, weight=None):
    return (_max if tile.maximum else _add)(builder, acc, row, weight)


@intrinsic(prefer_literal=True)
def full(typingctx, value, maximum, lanes, vectors, copies):
    """A tile filled with ``value``; all but the value must be compile-time integers, 1 for ``maximum``."""
    shape = lanes, vectors, copies, maximum
    if not all(isinstance(number, types.IntegerLiteral) for number in shape):
        return None
    tile = Tile(value, *(number.literal_value for number in shape))

    def codegen(context, builder, signature, args):
        vector = splat(builder, args[0], tile.lanes)
        acc = ir.Constant(context.get_value_type(tile), ir.Undefined)
        for v in range(tile.vectors * tile.copies):
            acc = builder.insert_value(acc, vector, v)
        return acc

    return tile(value, maximum, lanes, vectors, copies), codegen


@intrinsic
def one_copy(typingctx, tile):
    """A tile of the same shape with one copy, of undefined content: what ``row_addresses`` takes one row by."""
    single = Tile(tile.scalar, tile.lanes, tile.vectors, 1, tile.maximum)

    def codegen(context, builder, signature, args):
        return ir.Constant(context.get_value_type(single), ir.Undefined)

    return single(tile), codegen


@intrinsic
def n_copies(typingctx, tile):
    """How many rows a tile takes in at once, as a compile-time constant."""
    return types.intp(tile), lambda context, builder, signature, args: ir.Constant(ir.IntType(64), tile.copies)


@intrinsic
def fold_rows(typingctx, tile, addresses, weights, tail):
    """The tile with one row per address taken in.

    ``addresses`` is a tuple of integers, ``weights`` a tuple of as many scalars that multiply the rows, or None.
    """

    def codegen(context, builder, signature, args):
        acc, addresses_, weights_, tail_ = args
        before = {}  # of a maximum the rows of the member before: NaN of two is looked for at once
        for member in range(len(addresses)):
            address = builder.extract_value(addresses_, member)
            weight = None
            if not isinstance(weights, types.NoneType):
                weight = splat(builder, builder.extract_value(weights_, member), tile.lanes)
            first = member % tile.copies * tile.vectors
            for v, pointer in enumerate(_vector_pointers(builder, tile, address, tail_), first):
                row = builder.load(pointer, align=tile.itemsize)
                if tile.maximum and len(addresses) % 2 == 0:
                    row = row if weight is None else builder.fmul(row, weight)
                    value = _larger(builder, builder.extract_value(acc, v), row)
                    if member % 2:
                        value = _with_nan(builder, value, before[v - tile.vectors], row)
                    before[v] = row
                else:
                    value = _combine(tile, builder, builder.extract_value(acc, v), row, weight)
                acc = builder.insert_value(acc, value, v)
        return acc

    return tile(tile, addresses, weights, types.intp), codegen


@intrinsic
def fold_copies(typingctx, tile):
    """The tile with its copies combined into the first one."""

    def codegen(context, builder, signature, args):
        acc = args[0]
        for v in range(tile.vectors, tile.vectors * tile.copies):
            into = v % tile.vectors
            both = builder.extract_value(acc, into), builder.extract_value(acc, v)
            acc = builder.insert_value(acc, _combine(tile, builder, *both), into)
        return acc

    return tile(tile), codegen


@intrinsic
def window(typingctx, tile):
    """How many rows a tile takes in before `add_window`, as a compile-time constant: no end for a maximum."""
    rows = 1 << 62 if tile.maximum else _WINDOW
    return types.intp(tile), lambda context, builder, signature, args: ir.Constant(ir.IntType(64), rows)


@intrinsic
def window_memory(typingctx, tile):
    """The address of memory on the stack for `add_window`. Registers are for the rows of one window."""

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(ir_scalar(tile.scalar), tile.lanes)
        memory = cgutils.alloca_once(builder, ir.ArrayType(vector, 2 * tile.vectors))
        return builder.ptrtoint(memory, ir.IntType(64))

    return types.uintp(tile), codegen


@intrinsic
def add_window(typingctx, tile, memory, first):
    """Add the first copy to the sum in ``memory``, or begin one where ``first``; return the tile with the sum.

    What the rounding of the sum loses is added up beside it (Knuth's two-sum).
    """

    def codegen(context, builder, signature, args):
        acc, memory_, first_ = args
        vector = ir.VectorType(ir_scalar(tile.scalar), tile.lanes)
        zero = ir.Constant(vector, [0.0] * tile.lanes)
        for v in range(tile.vectors):
            places = []
            for k in (v, tile.vectors + v):
                offset = ir.Constant(memory_.type, k * tile.lanes * tile.itemsize)
                places.append(builder.inttoptr(builder.add(memory_, offset), vector.as_pointer()))
            before = (builder.load(place, align=tile.itemsize) for place in places)
            total, lost = (builder.select(first_, zero, value) for value in before)
            part = builder.extract_value(acc, v)
            new = builder.fadd(total, part)
            come = builder.fsub(new, total)
            of_total, of_part = builder.fsub(total, builder.fsub(new, come)), builder.fsub(part, come)
            lost = builder.fadd(lost, builder.fadd(of_total, of_part))
            for value, place in zip((new, lost), places, strict=True):
                builder.store(value, place, align=tile.itemsize)
            known = builder.fcmp_ordered("ord", lost, lost)  # it is not where the sum is infinite
            acc = builder.insert_value(acc, builder.select(known, builder.fadd(new, lost), new), v)
        return acc

    return tile(tile, memory, types.boolean), codegen


@intrinsic
def divide(typingctx, tile, divisor):
    """The first copy of the tile divided by a scalar."""

    def codegen(context, builder, signature, args):
        acc, value = args
        vector = splat(builder, value, tile.lanes)
        for v in range(tile.vectors):
            acc = builder.insert_value(acc, builder.fdiv(builder.extract_value(acc, v), vector), v)
        return acc

    return tile(tile, tile.scalar), codegen


@intrinsic
def is_finite(typingctx, tile):
    """Whether the first copy of the tile has neither NaN nor infinity."""

    def codegen(context, builder, signature, args):
        vectors = [builder.extract_value(args[0], v) for v in range(tile.vectors)]
        differences = [builder.fsub(vector, vector) for vector in vectors]  # 0, or NaN for what is not finite
        total = differences[0]
        for difference in differences[1:]:
            total = builder.fadd(total, difference)
        unordered = builder.fcmp_unordered("uno", total, total)
        bits = builder.bitcast(unordered, ir.IntType(tile.lanes))
        return builder.icmp_unsigned("==", bits, ir.Constant(bits.type, 0))

    return types.boolean(tile), codegen


@intrinsic
def load(typingctx, tile, address, tail):
    """The tile with its first copy read from ``address``."""

    def codegen(context, builder, signature, args):
        acc, address_, tail_ = args
        for v, pointer in enumerate(_vector_pointers(builder, tile, address_, tail_)):
            acc = builder.insert_value(acc, builder.load(pointer, align=tile.itemsize), v)
        return acc

    return tile(tile, address, types.intp), codegen


@intrinsic
def store(typingctx, tile, address, tail):
    """Write the first copy of the tile to ``address``."""

    def codegen(context, builder, signature, args):
        acc, address_, tail_ = args
        for v, pointer in enumerate(_vector_pointers(builder, tile, address_, tail_)):
            builder.store(builder.extract_value(acc, v), pointer, align=tile.itemsize)
        return context.get_dummy_value()

    return types.none(tile, address, types.intp), codegen


@intrinsic
def prefetch_item(typingctx, array, index):
    """Ask for the cache line of array[index] of a C-contiguous 1-D array."""

    def codegen(context, builder, signature, args):
        view = context.make_array(array)(context, builder, args[0])
        _prefetch(builder, builder.gep(view.data, [args[1]]))
        return context.get_dummy_value()

    return types.none(array, types.intp), codegen


@intrinsic
def prefetch_address(typingctx, address):
    """Ask for the cache line of an address."""

    def codegen(context, builder, signature, args):
        _prefetch(builder, builder.inttoptr(args[0], _BYTES))
        return context.get_dummy_value()

    return types.none(types.uintp), codegen


@intrinsic(prefer_literal=True)
def prefetch(typingctx, tile, address, tail, every, whole):
    """Ask for the cache lines of one row, where every ``every``-th vector begins and where the row ends.

    ``every`` and ``whole`` must be compile-time integers. With ``whole`` = 1 rows are whole cache lines or lie in one,
    so that no line is at a row's end alone.
    """

    def codegen(context, builder, signature, args):
        _, address_, tail_, _, _ = args
        pointers = list(_vector_pointers(builder, tile, address_, tail_))
        for pointer in pointers[:: every.literal_value]:
            _prefetch(builder, pointer)
        if not whole.literal_value:
            last = builder.bitcast(pointers[-1], _BYTES)
            _prefetch(builder, builder.gep(last, [ir.Constant(ir.IntType(32), tile.lanes * tile.itemsize - 1)]))
        return context.get_dummy_value()

    return types.none(tile, address, types.intp, every, whole), codegen


@intrinsic
def item_bytes(typingctx, array):
    """Return the bytes of one item as a compile-time constant, which ``array.itemsize`` is not."""
    n_bytes = array.dtype.bitwidth // 8
    return types.uintp(array), lambda context, builder, signature, args: ir.Constant(ir.IntType(64), n_bytes)


@intrinsic
def item(typingctx, array, index):
    """array[index] of a C-contiguous 1-D array, without Numba's handling of negative indices."""

    def codegen(context, builder, signature, args):
        view = context.make_array(array)(context, builder, args[0])
        return builder.load(builder.gep(view.data, [args[1]]))

    return array.dtype(array, types.intp), codegen


@intrinsic
def row_addresses(typingctx, tile, base, row_bytes, spare, indices, padding_idx, member):
    """Where the rows of the members from ``member`` on lie, a tuple of as many as the tile has copies.

    ``spare`` stands for the row of a member that ``padding_idx``, if it is not None, takes out.
    """
    result = types.UniTuple(base, tile.copies)

    def codegen(context, builder, signature, args):
        _, base_, row_bytes_, spare_, indices_, padding_, member_ = args
        view = context.make_array(indices)(context, builder, indices_)
        if not isinstance(padding_idx, types.NoneType):
            padding_ = context.cast(builder, padding_, padding_idx, indices.dtype)
        addresses = []
        for k in range(len(result)):
            index = builder.load(builder.gep(view.data, [builder.add(member_, ir.Constant(member_.type, k))]))
            row = builder.mul(context.cast(builder, index, indices.dtype, types.intp), row_bytes_)
            address = builder.add(base_, row)
            if not isinstance(padding_idx, types.NoneType):
                address = builder.select(builder.icmp_signed("!=", index, padding_), address, spare_)
            addresses.append(address)
        return context.make_tuple(builder, result, addresses)

    return result(tile, base, row_bytes, spare, indices, padding_idx, types.intp), codegen


@intrinsic
def all_below(typingctx, tile, indices, member, limit):
    """Whether 0 <= index < limit for the next members, as many as the tile has copies."""

    def codegen(context, builder, signature, args):
        _, indices_, member_, limit_ = args
        view = context.make_array(indices)(context, builder, indices_)
        result = ir.Constant(ir.IntType(1), 1)
        for k in range(tile.copies):
            index = builder.load(builder.gep(view.data, [builder.add(member_, ir.Constant(member_.type, k))]))
            index = context.cast(builder, index, indices.dtype, types.intp)  # as unsigned, a negative one is huge
            result = builder.and_(result, builder.icmp_unsigned("<", index, limit_))
        return result

    return types.boolean(tile, indices, types.intp, types.uintp), codegen


@intrinsic
def put(typingctx, array, index, value):
    """array[index] = value for a C-contiguous 1-D array, without Numba's handling of negative indices."""

    def codegen(context, builder, signature, args):
        view = context.make_array(array)(context, builder, args[0])
        item_ = context.cast(builder, args[2], value, array.dtype)
        builder.store(item_, builder.gep(view.data, [args[1]]))
        return context.get_dummy_value()

    return types.none(array, types.intp, value), codegen


@intrinsic
def items(typingctx, array, index, like):
    """The tuple (array[index], array[index + 1], ...), as long as the tuple ``like``; None for an array of None."""
    if isinstance(array, types.NoneType):
        return types.none(array, index, like), lambda context, builder, signature, args: context.get_dummy_value()
    result = types.UniTuple(array.dtype, len(like))

    def codegen(context, builder, signature, args):
        view = context.make_array(array)(context, builder, args[0])
        offsets = (builder.add(args[1], ir.Constant(args[1].type, k)) for k in range(len(result)))
        values = [builder.load(builder.gep(view.data, [offset])) for offset in offsets]
        return context.make_tuple(builder, result, values)

    return result(array, types.intp, like), codegen


def _first_lanes(builder, n, lanes):
    """A mask with the first n of some lanes set."""
    n = splat(builder, n, lanes)
    return builder.icmp_signed("<", ir.Constant(n.type, list(range(lanes))), n)


def _masked(context, builder, array, value, start, inside, otherwise):
    """The items of a 1-D array from ``start`` on in the lanes ``inside``, ``otherwise`` in the others."""
    view = context.make_array(array)(context, builder, value)
    pointer = builder.bitcast(builder.gep(view.data, [start]), otherwise.type.as_pointer())
    suffix = f"{_suffix(otherwise.type)}.p0{_suffix(otherwise.type)}"
    align = ir.Constant(ir.IntType(32), array.dtype.bitwidth // 8)
    return call_llvm(builder, "llvm.masked.load", otherwise.type, [pointer, align, inside, otherwise], suffix)


@intrinsic
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
        vector = ir.VectorType(ir_scalar(tile.scalar), lanes)
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


@intrinsic
def lane_sum(typingctx, tile):
    """Sum of the lanes of the first vector."""

    def codegen(context, builder, signature, args):
        return _sum_of_lanes(builder, builder.extract_value(args[0], 0))

    return tile.scalar(tile), codegen


@intrinsic
def fetch_add(typingctx, array, index, value):
    """Add to array[index] (int64) as one atomic step, and return what stood there before."""

    def codegen(context, builder, signature, args):
        view = context.make_array(array)(context, builder, args[0])
        return builder.atomic_rmw("add", builder.gep(view.data, [args[1]]), args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), codegen


@intrinsic
def add_scaled(typingctx, tile, scale, other):
    """The first copy of ``tile + scale * other``."""

    def codegen(context, builder, signature, args):
        acc, scale_, other_ = args
        factor = splat(builder, scale_, tile.lanes)
        for v in range(tile.vectors):
            value = _add(builder, builder.extract_value(acc, v), builder.extract_value(other_, v), factor)
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


@intrinsic
def from_column(typingctx, tile, tail, first):
    """The first copy of the tile with 0 in the columns before ``first``."""

    def codegen(context, builder, signature, args):
        acc, tail_, first_ = args
        zero = ir.Constant(ir.VectorType(ir_scalar(tile.scalar), tile.lanes), [0.0] * tile.lanes)
        for v, columns in enumerate(_columns(builder, tile, tail_)):
            kept = builder.icmp_signed(">=", columns, splat(builder, first_, tile.lanes))
            acc = builder.insert_value(acc, builder.select(kept, builder.extract_value(acc, v), zero), v)
        return acc

    return tile(tile, types.intp, types.intp), codegen


@intrinsic
def dot(typingctx, tile, other, tail):
    """The sum over the columns of the products of two tiles' first copies."""

    def codegen(context, builder, signature, args):
        one, other_, tail_ = args
        zero = ir.Constant(ir.VectorType(ir_scalar(tile.scalar), tile.lanes), [0.0] * tile.lanes)
        total = zero
        for v, columns in enumerate(_columns(builder, tile, tail_)):
            left, right = builder.extract_value(one, v), builder.extract_value(other_, v)
            if v and v == tile.vectors - 1:  # its first lanes may repeat columns of the vector before
                seen = ir.Constant(columns.type, [v * tile.lanes] * tile.lanes)
                left = builder.select(builder.icmp_signed(">=", columns, seen), left, zero)
            total = _add(builder, total, left, right)
        return _sum_of_lanes(builder, total)

    return tile.scalar(tile, other, types.intp), codegen


@intrinsic
def load_acquire(typingctx, array, index):
    """Return array[index] (int64), with all that was written before it was written there."""

    def codegen(context, builder, signature, args):
        view = context.make_array(array)(context, builder, args[0])
        return builder.load_atomic(builder.gep(view.data, [args[1]]), "acquire", 8)

    return types.int64(array, types.intp), codegen


@intrinsic
def yield_thread(typingctx):
    """Let another thread run, where the system has a call for that."""

    def codegen(context, builder, signature, args):
        if os.name == "posix":
            function_type = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, function_type, "sched_yield"), [])
        return context.get_dummy_value()

    return types.none(), codegen


@intrinsic
def multiply_add(typingctx, acc, one, other):
    """The first copy of ``acc + one * other``, lane by lane."""

    def codegen(context, builder, signature, args):
        result = args[0]
        for v in range(acc.vectors):
            factors = builder.extract_value(args[1], v), builder.extract_value(args[2], v)
            result = builder.insert_value(result, _add(builder, builder.extract_value(args[0], v), *factors), v)
        return result

    return acc(acc, one, other), codegen


@intrinsic
def total_sum(typingctx, tile):
    """Sum of the lanes of all vectors of the first copy."""

    def codegen(context, builder, signature, args):
        total = builder.extract_value(args[0], 0)
        for v in range(1, tile.vectors):
            total = builder.fadd(total, builder.extract_value(args[0], v))
        return _sum_of_lanes(builder, total)

    return tile.scalar(tile), codegen


@intrinsic
def before_column(typingctx, tile, last):
    """The first vector of the tile with 0 in the lanes from ``last`` on."""

    def codegen(context, builder, signature, args):
        acc, last_ = args
        zero = ir.Constant(ir.VectorType(ir_scalar(tile.scalar), tile.lanes), [0.0] * tile.lanes)
        columns = ir.Constant(ir.VectorType(last_.type, tile.lanes), list(range(tile.lanes)))
        kept = builder.icmp_signed("<", columns, splat(builder, last_, tile.lanes))
        return builder.insert_value(acc, builder.select(kept, builder.extract_value(acc, 0), zero), 0)

    return tile(tile, types.intp), codegen


@intrinsic
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
