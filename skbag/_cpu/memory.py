"""Single items of arrays in compiled code: without checks, atomically, or asked for ahead; and threads that wait."""

import os

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LINE = 64  # bytes of a cache line
_BYTES = ir.IntType(8).as_pointer()


def ask_for(builder, pointer):
    int32 = ir.IntType(32)
    function_type = ir.FunctionType(ir.VoidType(), [_BYTES, int32, int32, int32])
    function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0i8")
    builder.call(function, [builder.bitcast(pointer, _BYTES), *(ir.Constant(int32, hint) for hint in (0, 3, 1))])


@intrinsic
def prefetch_item(typingctx, array, index):
    """Ask for the cache line of array[index] of a C-contiguous 1-D array."""

    def codegen(context, builder, signature, args):
        view = context.make_helper(builder, array, args[0])
        ask_for(builder, builder.gep(view.data, [args[1]]))
        return context.get_dummy_value()

    return types.none(array, types.intp), codegen


@intrinsic
def prefetch_address(typingctx, address):
    """Ask for the cache line of an address."""

    def codegen(context, builder, signature, args):
        ask_for(builder, builder.inttoptr(args[0], _BYTES))
        return context.get_dummy_value()

    return types.none(types.uintp), codegen


@intrinsic
def word_at(typingctx, address):
    """Return the int64 at an address."""

    def codegen(context, builder, signature, args):
        return builder.load(builder.inttoptr(args[0], ir.IntType(64).as_pointer()))

    return types.int64(types.intp), codegen


@intrinsic
def put_word(typingctx, address, value):
    """Write an int64 to an address."""

    def codegen(context, builder, signature, args):
        builder.store(args[1], builder.inttoptr(args[0], ir.IntType(64).as_pointer()))
        return context.get_dummy_value()

    return types.none(types.intp, types.int64), codegen


@intrinsic
def copy_bytes(typingctx, target, source, n_bytes):
    """Copy n_bytes from one address to another; the two do not overlap."""

    def codegen(context, builder, signature, args):
        to, of = (builder.inttoptr(address, _BYTES) for address in args[:2])
        cgutils.raw_memcpy(builder, to, of, args[2], 1)
        return context.get_dummy_value()

    return types.none(types.uintp, types.uintp, types.uintp), codegen


@intrinsic
def stream_line(typingctx, target, source):
    """Copy a cache line to an address where one begins, past the caches: nobody reads it soon.

    Others see it after the next atomic step of this thread.
    """

    def codegen(context, builder, signature, args):
        line = ir.VectorType(ir.IntType(64), LINE // 8)
        to, of = (builder.inttoptr(address, line.as_pointer()) for address in args)
        store = builder.store(builder.load(of, align=1), to, align=LINE)
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.none(types.uintp, types.uintp), codegen


@intrinsic
def item_bytes(typingctx, array):
    """Return the bytes of one item as a compile-time constant, which ``array.itemsize`` is not."""
    n_bytes = array.dtype.bitwidth // 8
    return types.uintp(array), lambda context, builder, signature, args: ir.Constant(ir.IntType(64), n_bytes)


@intrinsic
def item(typingctx, array, index):
    """array[index] of a C-contiguous 1-D array, without Numba's handling of negative indices."""

    def codegen(context, builder, signature, args):
        view = context.make_helper(builder, array, args[0])
        return builder.load(builder.gep(view.data, [args[1]]))

    return array.dtype(array, types.intp), codegen


@intrinsic
def put(typingctx, array, index, value):
    """array[index] = value for a C-contiguous 1-D array, without Numba's handling of negative indices."""

    def codegen(context, builder, signature, args):
        view = context.make_helper(builder, array, args[0])
        item_ = context.cast(builder, args[2], value, array.dtype)
        builder.store(item_, builder.gep(view.data, [args[1]]))
        return context.get_dummy_value()

    return types.none(array, types.intp, value), codegen


@intrinsic
def fetch_add(typingctx, array, index, value):
    """Add to array[index] (int64) as one atomic step, and return what stood there before."""

    def codegen(context, builder, signature, args):
        view = context.make_helper(builder, array, args[0])
        return builder.atomic_rmw("add", builder.gep(view.data, [args[1]]), args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), codegen


@intrinsic
def load_acquire(typingctx, array, index):
    """Return array[index] (int64), with all that was written before it was written there."""

    def codegen(context, builder, signature, args):
        view = context.make_helper(builder, array, args[0])
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
