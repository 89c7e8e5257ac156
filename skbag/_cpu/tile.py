"""Rows of a table in vector registers: the LLVM vector types that Numba lacks.

A tile is a run of columns of one table row, held as ``vectors`` LLVM vectors of ``lanes`` scalars. Vector v covers
the columns [v * lanes, (v + 1) * lanes) from an address on; the last vector begins at column ``tail`` instead, so a
width that is no multiple of ``lanes`` ends in a vector that overlaps the one before it: no scalar remainder.
``copies`` tiles stand side by side: consecutive rows go to different registers and do not wait for one another.
The rows that a tile takes in may be stored in fewer bytes than it computes in, see ``storage``: `of_table`.

Addresses are plain integers and nothing is checked: the bags are validated before a kernel sees them.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

from skbag._cpu.memory import ask_for
from skbag._cpu.storage import ir_of, widened

_BYTES = ir.IntType(8).as_pointer()
TOTAL, LARGEST, SQUARES = range(3)  # what a tile takes in rows by: their sum, maximum or the sum of their squares
_WINDOW = 256  # rows whose sum is rounded at every step; the sums of windows lose nothing


class Tile(types.Type):
    """Numba type of ``copies`` tiles of ``vectors`` vectors of ``lanes`` scalars, that take in rows by a kind.

    ``stored`` is the dtype of the arrays whose rows are read.
    """

    def __init__(self, scalar, lanes, vectors, copies, kind, stored=None):
        self.scalar, self.lanes, self.vectors, self.copies, self.kind = scalar, lanes, vectors, copies, kind
        self.stored = stored or scalar
        super().__init__(name=f"Tile({scalar}, {lanes}, {vectors}, {copies}, {kind}, {self.stored})")

    @property
    def maximum(self):
        return self.kind == LARGEST

    @property
    def itemsize(self):
        return self.scalar.bitwidth // 8

    def reading(self, stored=None):
        """The type of tiles like this one that read rows of another dtype; of scalars by default."""
        return Tile(self.scalar, self.lanes, self.vectors, self.copies, self.kind, stored)


@register_model(Tile)
class TileModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        vector = ir.VectorType(ir_of(fe_type.scalar), fe_type.lanes)
        super().__init__(dmm, fe_type, ir.ArrayType(vector, fe_type.vectors * fe_type.copies))


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


@intrinsic(prefer_literal=True)
def full(typingctx, value, kind, lanes, vectors, copies):
    """A tile filled with ``value``; all but the value must be compile-time integers."""
    shape = lanes, vectors, copies, kind
    if not all(isinstance(number, types.IntegerLiteral) for number in shape):
        return None
    tile = Tile(value, *(number.literal_value for number in shape))

    def codegen(context, builder, signature, args):
        vector = splat(builder, args[0], tile.lanes)
        acc = ir.Constant(context.get_value_type(tile), ir.Undefined)
        for v in range(tile.vectors * tile.copies):
            acc = builder.insert_value(acc, vector, v)
        return acc

    return tile(value, kind, lanes, vectors, copies), codegen


@intrinsic
def one_copy(typingctx, tile):
    """A tile of the same shape with one copy, of undefined content: what ``row_addresses`` takes one row by."""
    single = Tile(tile.scalar, tile.lanes, tile.vectors, 1, tile.kind, tile.stored)

    def codegen(context, builder, signature, args):
        return ir.Constant(context.get_value_type(single), ir.Undefined)

    return single(tile), codegen


@intrinsic
def of_table(typingctx, tile, table):
    """The tile as one that reads rows of a table."""
    reading = tile.reading(table.dtype)
    return reading(tile, table), lambda context, builder, signature, args: args[0]


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
            for v, row in enumerate(_vectors_at(builder, tile, address, tail_), first):
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

    return tile(tile, addresses, weights, types.intp), codegen


@intrinsic
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
        vector = ir.VectorType(ir_of(tile.scalar), tile.lanes)
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


@intrinsic
def divide(typingctx, tile, divisor):
    """The first copy of the tile divided by a scalar."""
    return tile(tile, tile.scalar), _by_scalar("fdiv")


@intrinsic
def scaled(typingctx, tile, factor):
    """The first copy of the tile multiplied by a scalar."""
    return tile(tile, tile.scalar), _by_scalar("fmul")


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
    """A tile of scalars like this one with its first copy read from ``address``."""

    def codegen(context, builder, signature, args):
        acc, address_, tail_ = args
        for v, vector in enumerate(_vectors_at(builder, tile, address_, tail_)):
            acc = builder.insert_value(acc, vector, v)
        return acc

    return tile.reading()(tile, address, types.intp), codegen


@intrinsic
def store(typingctx, tile, address, tail):
    """Write the first copy of the tile to ``address``."""

    def codegen(context, builder, signature, args):
        acc, address_, tail_ = args
        for v, pointer in enumerate(vector_pointers(builder, tile, address_, tail_, tile.scalar)):
            builder.store(builder.extract_value(acc, v), pointer, align=tile.itemsize)
        return context.get_dummy_value()

    return types.none(tile, address, types.intp), codegen


@intrinsic(prefer_literal=True)
def prefetch(typingctx, tile, address, tail, every, whole):
    """Ask for the cache lines of one row, where every ``every``-th vector begins and where the row ends.

    ``every`` and ``whole`` must be compile-time integers. With ``whole`` = 1 rows are whole cache lines or lie in one,
    so that no line is at a row's end alone.
    """

    def codegen(context, builder, signature, args):
        _, address_, tail_, _, _ = args
        pointers = list(vector_pointers(builder, tile, address_, tail_, tile.stored))
        for pointer in pointers[:: every.literal_value]:
            ask_for(builder, pointer)
        if not whole.literal_value:
            last = builder.bitcast(pointers[-1], _BYTES)
            ask_for(
                builder, builder.gep(last, [ir.Constant(ir.IntType(32), tile.lanes * tile.stored.bitwidth // 8 - 1)])
            )
        return context.get_dummy_value()

    return types.none(tile, address, types.intp, every, whole), codegen
