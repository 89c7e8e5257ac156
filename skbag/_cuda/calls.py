"""Arguments of kernels in the memory of the GPU: a launch passes one address, not some dozens of arrays.

A launch costs the host about 15 microseconds, and 4 for each array that is passed. So what a kernel of training gets
(``skbag._cuda.structs``) is written to the GPU as words of eight bytes, field by field: of an array where it lies and
its shape, of a number the number. In a kernel a `Packed` has the fields of the NamedTuple that it was made from, which
are read where they are asked for.

Kernels that pool get tuples of arrays without those that they do not look at: `completed` stands something in for them.

In Numba's CUDA simulator a `Packed` is the NamedTuple.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from struct import Struct
from typing import Any

import numpy as np

from skbag._cuda.device import DeviceArray
from skbag._cuda.jit import SIMULATED


@dataclass(frozen=True)
class Piece:
    """An array that lies somewhere in another one."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Several:
    """NamedTuples of one kind: the last field of another one."""

    def __init__(self, items: Iterable[Any]) -> None:
        self.items = tuple(items)


# of a dtype, or of that of other numbers, and of how many dimensions an array is that is not given
_MISSING = {
    "winners": ("int32", 2), "members": ("int32", 1), "factors": (None, 1), "weights": (None, 1),
    "partials": (None, 2), "at": ("int32", 2), "sizes": (None, 1),
}  # fmt: skip

if SIMULATED:

    def completed(given, like):
        absent = {
            name: _MISSING[name] for name, field in zip(given._fields, given, strict=True) if isinstance(field, tuple)
        }
        return given._replace(**{n: np.zeros((1,) * k, dtype or like.dtype) for n, (dtype, k) in absent.items()})

    def nth(several, j):
        return several.items[j]

    class Packed:
        """Tuples of arrays and numbers as a kernel is given them."""

        def __init__(self, fields):
            self.fields = fields

        def __getattr__(self, name):
            return getattr(self.fields, name)

    def words_of(value: Any) -> tuple[list[int], Any]:
        return [], value

    def packed(form: Any, words: Any) -> Any:
        return Packed(form)

    def piece(array: Any, begin: int, shape: Any, dtype: Any) -> Any:
        dtype = np.dtype(dtype)
        n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        return array[begin : begin + n_bytes].view(dtype).reshape(shape)

    EXTENSIONS: list[Any] = []

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.datamodel import models
    from numba.cuda.extending import infer_getattr, intrinsic, lower_getattr_generic, register_model
    from numba.cuda.np.arrayobj import populate_array
    from numba.cuda.np.numpy_support import from_dtype
    from numba.cuda.typing.templates import AttributeTemplate

    _WORD = ir.IntType(64)
    _FLOAT, _BITS = Struct("=d"), Struct("=q")

    @intrinsic
    def completed(typingctx, given, like):
        """Return a NamedTuple with arrays for ``()``, which may not be looked at; ``like`` has the dtype of floats."""
        kinds = []
        for name, kind in zip(given.fields, given.types, strict=True):
            if kind == types.Tuple(()):
                dtype, ndim = _MISSING[name]
                kind = types.Array(getattr(types, dtype) if dtype else like.dtype, ndim, "C")
            kinds.append(kind)
        result = types.NamedTuple(kinds, given.instance_class)

        def codegen(context, builder, signature, args):
            fields = []
            for k, (old, new) in enumerate(zip(given.types, kinds, strict=True)):
                there = builder.extract_value(args[0], k)
                fields.append(there if old == new else context.get_constant_null(new))
            return context.make_tuple(builder, result, fields)

        return result(given, like), codegen

    class PackedType(types.Type):
        """Numba type of a NamedTuple in the memory of the GPU: its fields are read where they are asked for."""

        def __init__(self, fields):
            self.fields = fields
            super().__init__(name=f"Packed({fields})")

    class SeveralType(types.Type):
        """Numba type of NamedTuples of one kind in the memory of the GPU."""

        def __init__(self, element):
            self.element = element
            super().__init__(name=f"Several({element})")

    @register_model(SeveralType)
    @register_model(PackedType)
    class PackedModel(models.PrimitiveModel):
        def __init__(self, dmm, fe_type):
            super().__init__(dmm, fe_type, _WORD.as_pointer())

    def _n_words(kind):
        if isinstance(kind, types.BaseTuple):
            return sum(map(_n_words, kind))
        return 1 + kind.ndim if isinstance(kind, types.Array) else 1

    @infer_getattr
    class PackedFields(AttributeTemplate):
        key = PackedType

        def generic_resolve(self, packed, name):
            fields = packed.fields
            return fields.types[fields.fields.index(name)] if name in fields.fields else None

    def _read(context, builder, kind, words, at):
        """Return the value of a type that begins at a word."""
        if isinstance(kind, types.BaseTuple):
            values = []
            for field in kind:
                values.append(_read(context, builder, field, words, at))
                at += _n_words(field)
            return context.make_tuple(builder, kind, values)
        read = [builder.load(builder.gep(words, [_WORD(at + k)])) for k in range(_n_words(kind))]
        if not isinstance(kind, types.Array):
            return builder.bitcast(read[0], context.get_value_type(kind))
        array, size = context.make_array(kind)(context, builder), kind.dtype.bitwidth // 8
        data = builder.inttoptr(read[0], context.get_data_type(kind.dtype).as_pointer())
        strides, step = [], _WORD(size)
        for length in reversed(read[1:]):
            strides.insert(0, step)
            step = builder.mul(step, length)
        populate_array(array, data, read[1:], strides, size, None)
        return array._getvalue()

    @lower_getattr_generic(PackedType)
    def read_field(context, builder, kind, value, name):
        index = kind.fields.fields.index(name)
        begin = sum(map(_n_words, kind.fields.types[:index]))
        if isinstance(kind.fields.types[index], SeveralType):
            return builder.gep(value, [_WORD(begin)])
        words = builder.addrspacecast(value, _WORD.as_pointer(1))
        return _read(context, builder, kind.fields.types[index], words, begin)

    @intrinsic
    def nth(typingctx, several, j):
        """Tuple number j of a `Several`, whose fields are read where they are asked for."""
        size = _n_words(several.element)

        def codegen(context, builder, signature, args):
            j = context.cast(builder, args[1], signature.args[1], types.int64)
            return builder.gep(args[0], [builder.mul(j, _WORD(size))])

        return PackedType(several.element)(several, j), codegen

    class Packed:
        """Tuples of arrays and numbers as a kernel is given them."""

        def __init__(self, kind, words):
            self._numba_type_, self._words = kind, words
            self.address, self.form = _address(words), id(kind)  # of types there is one for each form

    class Extension:
        """Tells Numba how a `Packed` is passed."""

        def __repr__(self):
            return "Extension()"  # part of the keys of kernels that are kept

        def prepare_args(self, kind, value, stream, retr):
            if isinstance(kind, PackedType):
                return types.CPointer(types.int64), value.address
            return kind, value

    EXTENSIONS = [Extension()]

    def _address(array):
        return array.address if isinstance(array, Piece) else array.device_ctypes_pointer.value

    def _describe(value, words):
        """Append what of a value is written to the GPU, as int64, and return what its type depends on."""
        if isinstance(value, tuple):
            return type(value), *[_describe(field, words) for field in value]
        if isinstance(value, Several):
            forms = [_describe(item, words) for item in value.items]
            return Several, forms[0]
        shape = getattr(value, "shape", None)
        if shape:
            words += (_address(value), *shape)
            return value.dtype, len(shape)
        if isinstance(value, float | np.floating):
            words.append(_BITS.unpack(_FLOAT.pack(value))[0])
            return float
        words.append(int(value))
        return int

    @cache
    def _kind(form):
        """Return the Numba type that a kernel sees."""
        if not isinstance(form, tuple):
            return types.float64 if form is float else types.int64
        if form[0] is Several:
            return SeveralType(_kind(form[1]))
        if form[0] is tuple:
            return types.Tuple(list(map(_kind, form[1:])))
        if isinstance(form[0], np.dtype):
            return types.Array(from_dtype(form[0]), form[1], "C")
        return types.NamedTuple([_kind(field) for field in form[1:]], form[0]) if form[1:] else types.Tuple(())

    @cache
    def _packed_type(form):
        return PackedType(_kind(form))

    def words_of(value):
        """Return what of a value is written to the GPU, as a list of int64, and what its type depends on."""
        words = []
        form = _describe(value, words)
        return words, form

    def packed(form, words):
        """Return a value of which ``words``, on the GPU, and ``form`` are what `words_of` says."""
        return Packed(_packed_type(form), words)

    def piece(array: DeviceArray, begin: int, shape: Any, dtype: Any) -> Piece:
        """Return the array of a shape that begins at a byte of another one."""
        return Piece(_address(array) + begin, tuple(shape), np.dtype(dtype))
