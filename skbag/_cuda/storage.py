"""How the numbers of a table are stored on a GPU, as ``skbag._cpu.storage`` has it: what is read and written.

The dtype of the array says it: uint16 are the bits of float16, int16 those of bfloat16, int8 are whole numbers that the
scale of their row multiplies. Small numbers are loaded and stored in words of four bytes, as many as one load can have.
"""

import numpy as np

from skbag._cuda.jit import SIMULATED

SMALL = {"uint16": (10, -14), "int16": (7, -126)}  # bits of float16 and bfloat16: of a mantissa; smallest exponents

if SIMULATED:

    def number_at(array, row, column):
        value = array[row, column]
        if array.dtype == np.uint16:
            return np.float32(np.uint16(value).view(np.float16))
        if array.dtype == np.int16:
            return (np.uint32(np.int16(value).view(np.uint16)) << np.uint32(16)).view(np.float32)
        return np.float32(value) if array.dtype == np.int8 else value

    def narrowed(array, value):
        if str(array.dtype) == "uint16":
            return np.float16(value).view(np.uint16)
        return (np.float32(value).view(np.uint32) >> 16).astype(np.uint16).view(np.int16)

    def rounded(array, value, noise):
        """As ``skbag._cpu.storage._rounded`` has it; ``noise`` is None for the nearest."""
        mantissa, smallest = SMALL[str(array.dtype)]
        exponent = max(np.float32(value).view(np.uint32) & np.uint32(0x7F800000), np.uint32(127 + smallest << 23))
        power = np.uint32(exponent).view(np.float32)
        parts = np.float32(value) / power * np.float32(2.0**mantissa)
        whole = np.rint(parts) if noise is None else np.floor(parts + noise)
        return whole * np.float32(2.0**-mantissa) * power

    def put_number(array, row, column, value):
        if str(array.dtype) in SMALL:
            value = narrowed(array, rounded(array, value, None))
        array[row, column] = value

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    _I32, _I64 = ir.IntType(32), ir.IntType(64)

    def float_of(kind):
        """Return the type of what is read of an array: the numbers of ``skbag._cpu.storage`` are widened."""
        return types.float32 if kind in (types.uint16, types.int16, types.int8) else kind

    def widened(builder, value, kind):
        """Code for the float of a number of an array of a kind."""
        if kind == types.uint16:
            return builder.fpext(builder.bitcast(value, ir.HalfType()), ir.FloatType())
        if kind == types.int16:  # the upper half of a float32
            return builder.bitcast(builder.shl(builder.zext(value, _I32), _I32(16)), ir.FloatType())
        return builder.sitofp(value, ir.FloatType()) if kind == types.int8 else value

    def narrowed(builder, value, kind):
        """Code for the bits that an array of a kind stores of a float that it has; other numbers are what they are."""
        if value.type != ir.FloatType() or kind not in (types.uint16, types.int16):
            return value
        if kind == types.uint16:
            return builder.bitcast(builder.fptrunc(value, ir.HalfType()), ir.IntType(16))
        return builder.trunc(builder.lshr(builder.bitcast(value, _I32), _I32(16)), ir.IntType(16))

    def _whole(builder, value, how):
        """Code for a float as a whole number: ``how`` is "rmi" for the one below, "rni" for the nearest."""
        convert = ir.InlineAsm(ir.FunctionType(value.type, [value.type]), f"cvt.{how}.f32.f32 $0, $1;", "=f,f")
        return builder.call(convert, [value])

    def rounded(builder, value, kind, noise=None):
        """Code for the float that an array of a kind has in the place of another one.

        As ``skbag._cpu.storage`` has it, to the bit; ``noise`` is None for the nearest.
        """
        (mantissa, smallest), scalar = SMALL[str(kind)], ir.FloatType()
        exponent, lowest = builder.and_(builder.bitcast(value, _I32), _I32(0x7F800000)), _I32(127 + smallest << 23)
        exponent = builder.select(builder.icmp_unsigned("<", exponent, lowest), lowest, exponent)
        power = builder.bitcast(exponent, scalar)
        parts = builder.fmul(builder.fdiv(value, power), scalar(2.0**mantissa))
        how, parts = ("rni", parts) if noise is None else ("rmi", builder.fadd(parts, noise))
        whole = _whole(builder, parts, how)
        found = builder.fmul(builder.fmul(whole, scalar(2.0**-mantissa)), power)
        return widened(builder, narrowed(builder, found, kind), kind)

    def loaded(builder, pointer, n_bytes):
        """Code for the numbers at a wide pointer, as a list."""
        kind = pointer.type.pointee
        if not isinstance(kind, ir.VectorType):
            return [builder.load(pointer, align=n_bytes)]
        if isinstance(kind.element, ir.IntType) and kind.element.width < 32 and n_bytes >= 4:
            return _of_words(builder, _words_at(builder, pointer, n_bytes // 4), kind.element)
        vector = builder.load(pointer, align=n_bytes)
        return [builder.extract_element(vector, _I32(k)) for k in range(kind.count)]

    def _words_at(builder, pointer, n):
        """Code for n words of four bytes in one load. In PTX: NVVM makes several of one that is of small numbers."""
        names = ", ".join(f"${k}" for k in range(n))
        size, to = (f"v{n}.", f"{{{names}}}") if n > 1 else ("", names)
        result = ir.LiteralStructType([_I32] * n) if n > 1 else _I32
        load = ir.InlineAsm(
            ir.FunctionType(result, [_I64]), f"ld.global.{size}u32 {to}, [${n}];", "=r," * n + "l", side_effect=True
        )
        words = builder.call(load, [builder.ptrtoint(pointer, _I64)])
        return [builder.extract_value(words, k) for k in range(n)] if n > 1 else [words]

    def store(builder, values, pointer, n_bytes):
        """Store numbers at a wide pointer; small ones as words, see `_words_at`."""
        small = values[0].type
        if isinstance(small, ir.IntType) and small.width < 32 and n_bytes >= 4:
            words, per_word = [], 32 // small.width
            for k in range(0, len(values), per_word):
                word = builder.zext(values[k], _I32)
                for j in range(1, per_word):
                    shifted = builder.shl(builder.zext(values[k + j], _I32), _I32(j * small.width))
                    word = builder.or_(word, shifted)
                words.append(word)
            values = words
        wide = values[0]
        if len(values) > 1:
            wide = ir.Constant(ir.VectorType(wide.type, len(values)), ir.Undefined)
            for j, value in enumerate(values):
                wide = builder.insert_element(wide, value, _I32(j))
        builder.store(wide, builder.bitcast(pointer, wide.type.as_pointer(1)), align=n_bytes)

    def _of_words(builder, words, element):
        """Code for the small numbers that lie in words."""
        per_word = 32 // element.width
        return [
            builder.trunc(builder.lshr(word, _I32(k * element.width)), element)
            for word in words
            for k in range(per_word)
        ]

    @intrinsic
    def number_at(typingctx, array, row, column):
        """array[row, column] as a float, for row and column >= 0."""

        def codegen(context, builder, signature, args):
            array_type = signature.args[0]
            array = context.make_array(array_type)(context, builder, value=args[0])
            row, column = (
                context.cast(builder, number, kind, types.int64)
                for number, kind in zip(args[1:], signature.args[1:], strict=True)
            )  # fmt: skip
            at = builder.add(builder.mul(row, builder.extract_value(array.shape, 1)), column)
            pointer = builder.gep(array.data, [at])
            value = builder.load(builder.addrspacecast(pointer, pointer.type.pointee.as_pointer(1)))
            return widened(builder, value, array_type.dtype)

        return float_of(array.dtype)(array, row, column), codegen

    @intrinsic
    def put_number(typingctx, array, row, column, value):
        """array[row, column] = value, a float, rounded to the nearest that is stored; row and column >= 0."""

        def codegen(context, builder, signature, args):
            view = context.make_array(array)(context, builder, value=args[0])
            row, column = (
                context.cast(builder, number, kind, types.int64)
                for number, kind in zip(args[1:3], signature.args[1:3], strict=True)
            )  # fmt: skip
            pointer = builder.gep(
                view.data, [builder.add(builder.mul(row, builder.extract_value(view.shape, 1)), column)]
            )
            value = args[3]
            if str(array.dtype) in SMALL:
                value = narrowed(builder, rounded(builder, value, array.dtype), array.dtype)
            builder.store(value, builder.addrspacecast(pointer, pointer.type.pointee.as_pointer(1)))
            return context.get_dummy_value()

        return types.none(array, row, column, float_of(array.dtype)), codegen
