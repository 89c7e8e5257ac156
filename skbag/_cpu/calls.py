"""Kernels in parts: what depends on a width, a loss or a solver is compiled apart, and called by its address.

The arrays that parts work on are kept in the memory of the caller, as `Stored` NamedTuples: in registers, or passed one
by one, so many would cost more than the work, in compiling as in running.
"""

from functools import cache
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic, lower_getattr_generic, register_model

from skbag._compiled.dispatch import compiled


class Stored(types.Type):
    """Numba type of a NamedTuple in memory: its fields are read where they are asked for."""

    def __init__(self, fields):
        self.fields = fields
        super().__init__(name=f"Stored({fields})")


@register_model(Stored)
class StoredModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, dmm.lookup(fe_type.fields).get_value_type().as_pointer())


@infer_getattr
class StoredFields(AttributeTemplate):
    key = Stored

    def generic_resolve(self, stored, name):
        fields = stored.fields
        return fields.types[fields.fields.index(name)] if name in fields.fields else None


@lower_getattr_generic(Stored)
def read_field(context, builder, kind, value, name):
    return builder.load(cgutils.gep_inbounds(builder, value, 0, kind.fields.fields.index(name)))


@intrinsic
def stored(typingctx, fields):
    """Keep a NamedTuple in memory, until the function returns that calls this."""

    def codegen(context, builder, signature, args):
        memory = cgutils.alloca_once(builder, args[0].type)
        builder.store(args[0], memory)
        return memory

    return Stored(fields)(fields), codegen


class Several(types.Type):
    """Numba type of NamedTuples of one kind in memory, one after the other, however many: see `nth`."""

    def __init__(self, fields):
        self.fields = fields
        super().__init__(name=f"Several({fields})")


@register_model(Several)
class SeveralModel(StoredModel):
    """The same as of one: the address of the first."""


@cache
def several(fields):
    """Make the function that keeps tuples of one kind in memory as NamedTuples of a class, as `stored` does one."""

    @intrinsic
    def keep(typingctx, tuples):
        kind = types.BaseTuple.from_types(tuples.dtype.types, fields)

        def codegen(context, builder, signature, args):
            memory = cgutils.alloca_once(builder, args[0].type)
            builder.store(args[0], memory)
            return cgutils.gep_inbounds(builder, memory, 0, 0)

        return Several(kind)(tuples), codegen

    return keep


@intrinsic
def nth(typingctx, several_, k):
    """Return the k-th of several NamedTuples in memory, as `stored` has one; k is not checked."""

    def codegen(context, builder, signature, args):
        return builder.gep(args[0], [args[1]], inbounds=True)

    return Stored(several_.fields)(several_, types.intp), codegen


@intrinsic
def call(typingctx, address, arguments):
    """Call the compiled kernel at an address with a tuple of arguments of exactly the types it was compiled for."""

    def codegen(context, builder, signature, args):
        values = [builder.extract_value(args[1], k) for k in range(len(arguments))]
        function = ir.FunctionType(context.get_value_type(types.none), [value.type for value in values])
        builder.call(builder.inttoptr(args[0], function.as_pointer()), values)
        return context.get_dummy_value()

    return types.none(address, arguments), codegen


def kind_of(argument: Any) -> Any:
    """Return the Numba type that an argument of a part has: a NamedTuple is stored."""
    kind = numba.typeof(argument)
    return Stored(kind) if isinstance(argument, tuple) else kind


@cache
def address_of(kernel: Any, *kinds: Any) -> int:
    """Compile a part for arguments of some types, or find it, and return where its code is."""
    compiled(kernel.compile, kinds)
    code = kernel.overloads[kinds]
    return int(code.library.get_pointer_to_function(code.fndesc.llvm_cfunc_wrapper_name))


_entries: dict[Any, Any] = {}


def call_as(key: Any, kernel: Any, *arguments: Any) -> None:
    """Call a kernel with arguments whose types are the same whenever it is called with this key.

    Looking at some dozens of arrays takes as long as a small call, and Numba 0.60 now and then takes code for others
    where arrays are in tuples.
    """
    entry = _entries.get((kernel, key))
    if entry is None:
        kinds = tuple(map(numba.typeof, arguments))
        compiled(kernel.compile, kinds)
        entry = _entries[kernel, key] = kernel.overloads[kinds].entry_point
    entry(*arguments)
