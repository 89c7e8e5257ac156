"""Kernels in parts: what depends on a width, a loss or a solver is compiled apart, and called by its address.

The arrays that parts work on are kept in memory, as `Stored` NamedTuples: in registers, or passed one by one, so many
would cost more than the work, in compiling as in running. A kernel may make such tuples itself, see `stored`; what
Python gives it is laid down for it, see `Recipe`.
"""

import struct
from array import array
from collections.abc import Callable
from functools import cache, partial
from itertools import chain
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.registry import cpu_target
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic, lower_getattr_generic, register_model

from skbag._compiled.dispatch import compiled
from skbag._cpu.jit import kernel
from skbag._cpu.memory import put_word, word_at


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


def several(kind: Stored) -> Several:
    """Return the type of several of what is stored."""
    return Several(kind.fields)


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


@kernel
def _call(address, arguments):
    """Call a part."""
    call(address, arguments)


def _compiled(function: Any, *kinds: Any) -> Any:
    """Return compiled code without the look at the types of arguments that a dispatcher takes."""
    compiled(function.compile, kinds)
    return function.overloads[kinds].entry_point


@cache
def _caller(n: int) -> Any:
    return _compiled(_call, types.intp, types.UniTuple(types.intp, n))


def calling(records: "tuple[Record, ...]", address: int, *arguments: int) -> Callable[[], None]:
    """Return a function that calls a part with addresses of what is stored, or integers, without the GIL.

    It holds the records: a worker may begin when all work is done, and its caller gone.
    """
    return partial(_call_holding, records, _caller(len(arguments)), address, arguments)


def _call_holding(records: Any, caller: Any, address: int, arguments: tuple[int, ...]) -> None:
    caller(address, arguments)


# --- tuples of Python in memory


@kernel
def _describe(memory, arrays, n):
    """Put what Numba has of an array, its size, address, shape and strides, where the address of the object stands.

    NumPy's C API says where an object has them: address, number of dimensions, shape, strides.

    memory : address of int64, in-out. arrays : address of (n, 3) int64, in: where in memory, dimensions, bytes of an
    item.
    """
    for k in range(n):
        at, n_dims = memory + 8 * word_at(arrays + 24 * k), word_at(arrays + 24 * k + 8)
        fields = word_at(at) + _HEAD
        data, shape, strides = word_at(fields), word_at(fields + 16), word_at(fields + 24)
        size = 1
        for d in range(n_dims):
            length = word_at(shape + 8 * d)
            size *= length
            put_word(at + 8 * (_WORDS + d), length)
            put_word(at + 8 * (_WORDS + n_dims + d), word_at(strides + 8 * d))
        put_word(at, 0)  # neither a counter of references nor an owner
        put_word(at + 16, size)
        put_word(at + 24, word_at(arrays + 24 * k + 16))
        put_word(at + 32, data)


_HEAD = object.__basicsize__  # bytes of an object before what is NumPy's
_WORDS = 5  # that Numba has of an array before its shape


class Recipe:
    """How NamedTuples of some kinds, see `kind_of`, lie in memory one after the other, every field in words of 8 bytes.

    Those of one kind that come one after the other are `Several` of it.
    """

    def __init__(self, *kinds: Stored) -> None:
        form, offsets, arrays, n_words, fields = "=", [], [], 0, []
        for kind in kinds:
            offsets.append(8 * n_words)
            fields += kind.fields.types
            for field in kind.fields.types:
                if isinstance(field, types.Array):
                    arrays.append((n_words, field.ndim, field.dtype.bitwidth // 8))
                    n_words += _WORDS + 2 * field.ndim
                    form += f"q{8 * (_WORDS - 1 + 2 * field.ndim)}x"
                else:
                    n_words += 1
                    form += "d" if isinstance(field, types.Float) else "q"
            size = cpu_target.target_context.get_abi_sizeof(cpu_target.target_context.get_value_type(kind.fields))
            assert offsets[-1] + size == 8 * n_words, f"{kind} is not made of words"
        self.kinds, self.offsets, self.n_bytes, self._form = kinds, offsets, 8 * n_words, struct.Struct(form)
        self._scalars = [k for k, field in enumerate(fields) if not isinstance(field, types.Array)]
        self._arrays = np.array(arrays, np.int64).reshape(-1, 3)
        self._where, self._n = self._arrays.ctypes.data, len(arrays)
        self._describe = _compiled(_describe, *(types.intp,) * 3)

    def store(self, *tuples: tuple[Any, ...]) -> "Record":
        """Store tuples of the kinds that this was made for, which is not checked."""
        record = Record(self)
        record.fill(*tuples)
        return record

    def lay(self, memory: Any, begin: int, values: list[Any]) -> None:
        """Put the fields of tuples into memory that begins at an address."""
        words: list[Any] = [*map(id, values)]
        for k in self._scalars:
            words[k] = values[k] or 0  # None is 0
        self._form.pack_into(memory, 0, *words)
        self._describe(begin, self._where, self._n)


class Record:
    """Tuples in memory: where each lies, as long as this lives, and until it is filled with others."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self._memory = recipe, array("q", bytes(recipe.n_bytes))
        self._begin = self._memory.buffer_info()[0]
        self.addresses = [self._begin + offset for offset in recipe.offsets]

    def fill(self, *tuples: tuple[Any, ...]) -> None:
        """Store tuples of the kinds of the recipe; nobody may use what was stored before."""
        self._values = [*chain(*tuples)]  # the arrays live as long as this
        self.recipe.lay(self._memory, self._begin, self._values)

    def forget(self) -> None:
        """Let go of the arrays, which nobody may use any more."""
        self._values = []
