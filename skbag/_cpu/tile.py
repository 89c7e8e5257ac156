"""Rows of a table in vector registers: the LLVM vector types that Numba lacks.

A tile is a run of columns of one table row, held as ``vectors`` LLVM vectors of ``lanes`` scalars. Vector v covers
the columns [v * lanes, (v + 1) * lanes) from an address on; the last vector begins at column ``tail`` instead, so a
width that is no multiple of ``lanes`` ends in a vector that overlaps the one before it: no scalar remainder.
``copies`` tiles stand side by side: consecutive rows go to different registers and do not wait for one another.
The rows that a tile takes in may be stored in fewer bytes than it computes in, see ``storage``: `of_table`.

Addresses are plain integers and nothing is checked: the bags are validated before a kernel sees them.

A tile may be open: how many lanes, vectors and copies it has is not known yet, see ``operations``.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from skbag._cpu.memory import ask_for
from skbag._cpu.operations import operation, waiting
from skbag._cpu.storage import ir_of, widened
from skbag._cpu.tiling import SQUARES, TOTAL, Tile, Tiling, vectors_of

_BYTES = ir.IntType(8).as_pointer()
_WINDOW = 256  # rows whose sum is rounded at every step; the sums of windows lose nothing


def splat(builder, value, lanes):
    vector = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    one = builder.insert_element(vector, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, vector, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))


def vector_pointers(builder, tile, address, tail, kind):
    """Pointers to the vectors of one tile whose first column, of a row of ``kind``, lies at ``address``."""
    pointer_type, itemsize = ir.VectorType(ir_of(kind), tile.lanes).as_pointer(), kind.bitwidth // 8
    for v in range(tile.vectors):
        if v and v == tile.vectors - 1:
            offset = builder.mul(tail, ir.Constant(tail.type, itemsize))
        else:
            offset = ir.Constant(address.type, v * tile.lanes * itemsize)
        yield builder.inttoptr(builder.add(address, offset), pointer_type)


def _vectors_at(builder, tile, address, tail):
    """The vectors of one tile of a row whose first column lies at ``address``."""
    for pointer in vector_pointers(builder, tile, address, tail, tile.stored):
        yield widened(builder, builder.load(pointer, align=tile.stored.bitwidth // 8), tile.stored)


def suffix_of(vector):
    """The name of a vector type inside the name of an LLVM intrinsic: v16f32."""
    element = vector.element
    width = {ir.FloatType: 32, ir.DoubleType: 64}.get(type(element)) or element.width
    return f"v{vector.count}{'i' if isinstance(element, ir.IntType) else 'f'}{width}"


def call_llvm(builder, name, result, args, suffix=None):
    function_type = ir.FunctionType(result, [arg.type for arg in args])
    name = f"{name}.{suffix or suffix_of(result)}"
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), args)


def sum_of_lanes(builder, vector):
    """Sum of the lanes of a vector, by halves."""
    width = vector.type.count
    while width > 1:
        width //= 2
        halves = (ir.Constant(ir.VectorType(ir.IntType(32), width), list(range(k, k + width))) for k in (0, width))
        low, high = (builder.shuffle_vector(vector, vector, half) for half in halves)
        vector = builder.fadd(low, high)
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


def add(builder, acc, row, weight=None):
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
    return (_max if tile.maximum else add)(builder, acc, row, weight)


def _filled(context, builder, signature, args):
    tile = signature.return_type
    vector = splat(builder, args[0], tile.lanes)
    acc = ir.Constant(context.get_value_type(tile), ir.Undefined)
    for v in range(tile.vectors * tile.copies):
        acc = builder.insert_value(acc, vector, v)
    return acc


@intrinsic(prefer_literal=True)
def full(typingctx, value, lanes, vectors):
    """A tile of one copy that adds up rows, filled with ``value``; all but the value must be compile-time integers."""
    if not all(isinstance(number, types.IntegerLiteral) for number in (lanes, vectors)):
        return None
    tile = Tile(value, Tiling(lanes.literal_value, vectors.literal_value), TOTAL)
    return tile(value, lanes, vectors), _filled


_fill = waiting("fill", lambda signature: _filled)


@intrinsic(prefer_literal=True)
def open_tile(typingctx, value, kind):
    """An open tile filled with ``value``; ``kind`` must be a compile-time integer."""
    if not isinstance(kind, types.IntegerLiteral):
        return None
    return Tile(value, None, kind.literal_value)(value, kind), _fill


@intrinsic
def one_copy(typingctx, tile):
    """A tile of the same shape with one copy, of undefined content: what ``fold_members`` takes one row by."""
    single = Tile(tile.scalar, tile.tiling, tile.kind, tile.stored, one=True)
    return single(tile), lambda context, builder, signature, args: ir.Constant(
        context.get_value_type(single), ir.Undefined
    )


@intrinsic
def of_table(typingctx, tile, table):
    """The tile as one that reads rows of a table."""
    reading = tile.reading(table.dtype)
    return reading(tile, table), lambda context, builder, signature, args: args[0]


def fold(builder, tile, acc, addresses, weights, tail):
    """Code that takes one row per address into a tile; ``weights`` are scalars that multiply the rows, or None."""
    before = {}  # of a maximum the rows of the member before: NaN of two is looked for at once
    for member, address in enumerate(addresses):
        weight = None if weights is None else splat(builder, weights[member], tile.lanes)
        first = member % tile.copies * tile.vectors
        for v, row in enumerate(_vectors_at(builder, tile, address, tail), first):
            if tile.maximum and len(addresses) % 2 == 0:
                row = row if weight is None else builder.fmul(row, weight)
                value = _larger(builder, builder.extract_value(acc, v), row)
                if member % 2:
                    value = _with_nan(builder, value, before[v - tile.vectors], row)
                before[v] = row
            elif tile.kind == SQUARES:
                row = row if weight is None else builder.fmul(row, weight)
                value = add(builder, builder.extract_value(acc, v), row, row)
            else:
                value = _combine(tile, builder, builder.extract_value(acc, v), row, weight)
            acc = builder.insert_value(acc, value, v)
    return acc


@operation
def fold_row(typingctx, tile, address, weight, tail):
    """The tile with the row at an address taken in, multiplied by a scalar."""

    def codegen(context, builder, signature, args):
        acc, address_, weight_, tail_ = args
        return fold(builder, tile, acc, [address_], [weight_], tail_)

    return tile(tile, address, weight, types.intp), codegen


@operation
def fold_copies(typingctx, tile):
    """The tile with its copies combined into the first one; from here on it is one of scalars."""

    def codegen(context, builder, signature, args):
        acc = args[0]
        for v in range(tile.vectors, tile.vectors * tile.copies):
            into = v % tile.vectors
            both = builder.extract_value(acc, into), builder.extract_value(acc, v)
            acc = builder.insert_value(acc, _combine(tile, builder, *both), into)
        return acc

    return tile.reading()(tile), codegen


@intrinsic
def window(typingctx, tile):
    """How many rows a tile takes in before `add_window`, as a compile-time constant: no end for a maximum."""
    rows = 1 << 62 if tile.maximum else _WINDOW
    return types.intp(tile), lambda context, builder, signature, args: ir.Constant(ir.IntType(64), rows)


@intrinsic
def window_memory(typingctx, tile):
    """The address of memory on the stack for `add_window`. Registers are for the rows of one window."""

    def codegen(context, builder, signature, args):
        memory = cgutils.alloca_once(builder, ir.ArrayType(vectors_of(tile, ir_of(tile.scalar), one=True), 2))
        return builder.ptrtoint(memory, ir.IntType(64))

    return types.uintp(tile), codegen


@operation
def add_window(typingctx, tile, memory, first):
    """Add the first copy to the sum in ``memory``, or begin one where ``first``; return the tile with the sum.

    What the rounding of the sum loses is added up beside it (Knuth's two-sum).
    """

    def codegen(context, builder, signature, args):
        acc, memory_, first_ = args
        vector = ir.VectorType(ir_of(tile.scalar), tile.lanes)
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


def _by_scalar(operation):
    def codegen(context, builder, signature, args):
        acc, value = args
        tile = signature.args[0]
        vector = splat(builder, value, tile.lanes)
        for v in range(tile.vectors):
            acc = builder.insert_value(acc, getattr(builder, operation)(builder.extract_value(acc, v), vector), v)
        return acc

    return codegen


@operation
def divide(typingctx, tile, divisor):
    """The first copy of the tile divided by a scalar."""
    return tile(tile, tile.scalar), _by_scalar("fdiv")


@operation
def scaled(typingctx, tile, factor):
    """The first copy of the tile multiplied by a scalar."""
    return tile(tile, tile.scalar), _by_scalar("fmul")


@operation
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


@operation
def load(typingctx, tile, address, tail):
    """A tile of scalars like this one with its first copy read from ``address``."""

    def codegen(context, builder, signature, args):
        acc, address_, tail_ = args
        for v, vector in enumerate(_vectors_at(builder, tile, address_, tail_)):
            acc = builder.insert_value(acc, vector, v)
        return acc

    return tile.reading()(tile, address, types.intp), codegen


@operation
def store(typingctx, tile, address, tail):
    """Write the first copy of the tile to ``address``."""

    def codegen(context, builder, signature, args):
        acc, address_, tail_ = args
        for v, pointer in enumerate(vector_pointers(builder, tile, address_, tail_, tile.scalar)):
            builder.store(builder.extract_value(acc, v), pointer, align=tile.itemsize)
        return context.get_dummy_value()

    return types.none(tile, address, types.intp), codegen


def _prefetch(builder, tile, address, tail, every, whole):
    pointers = list(vector_pointers(builder, tile, address, tail, tile.stored))
    for pointer in pointers[::every]:
        ask_for(builder, pointer)
    if not whole:
        last = builder.bitcast(pointers[-1], _BYTES)
        ask_for(builder, builder.gep(last, [ir.Constant(ir.IntType(32), tile.lanes * tile.stored.bitwidth // 8 - 1)]))


@operation
def prefetch(typingctx, tile, address, tail):
    """Ask for the cache lines of one row: as many as the tiling says, see `Tiling`."""

    def codegen(context, builder, signature, args):
        _prefetch(builder, tile, *args[1:], tile.tiling.every, tile.tiling.whole)
        return context.get_dummy_value()

    return types.none(tile, address, types.intp), codegen


@operation(prefer_literal=True)
def prefetch_all(typingctx, tile, address, tail, whole):
    """Ask for all cache lines of one row. With ``whole`` = 1, at compile time, no line is at a row's end alone."""

    def codegen(context, builder, signature, args):
        _prefetch(builder, tile, *args[1:3], 1, whole.literal_value)
        return context.get_dummy_value()

    return types.none(tile, address, types.intp, whole), codegen
