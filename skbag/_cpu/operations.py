"""Code for tiles: at once, or once the tiling is known that a kernel is made for.

What Numba does to compile a kernel, all but making machine code, takes most of the time, and is the same for every
tiling. So it is done once, for `tile.Tile` types that are open: then an operation on them becomes the call of a
function that is only declared, and `define` makes that function for a tiling; see ``shaped``.
"""

import hashlib
from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import Any

from llvmlite import ir
from numba.core import cgutils, typing
from numba.core.registry import cpu_target
from numba.extending import intrinsic

PREFIX = "skbag."  # of the functions that are only declared
_MAKERS: dict[str, Callable[..., Any]] = {}  # operation -> function of a signature that returns code for it
_WAITING: dict[str, tuple[str, Any, tuple[Any, ...]]] = {}  # function -> operation, and the types of result, arguments


def _closed(kind: Any, tiling: Any) -> Any:
    """Return a type with the tiling of a tile that is open."""
    return kind.at(tiling) if is_open(kind) else kind


def is_open(kind: Any) -> bool:
    """Whether a type is that of a tile without a tiling, or of what is made of one."""
    return getattr(kind, "open", False)


def waiting(name: str, make: Callable[..., Any]) -> Callable[..., Any]:
    """Return code that calls the function of an operation; ``make(signature)`` will return the code for it."""
    _MAKERS[name] = make

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        kinds = signature.return_type, tuple(signature.args)
        symbol = f"{PREFIX}{name}.{hashlib.sha256(repr(kinds).encode()).hexdigest()[:16]}"
        _WAITING[symbol] = name, *kinds
        function_type = ir.FunctionType(context.get_value_type(kinds[0]), [arg.type for arg in args])
        return builder.call(cgutils.get_or_insert_function(builder.module, function_type, symbol), args)

    return call


def operation(function: Any = None, **options: bool) -> Any:
    """Make an operation on tiles, as Numba's `intrinsic` does; the code of one on open tiles waits for a tiling."""
    if function is None:
        return partial(operation, **options)
    later = waiting(function.__name__, lambda signature: function(None, *signature.args)[1])

    @wraps(function)
    def definition(typingctx, *args):  # type: ignore[no-untyped-def]
        found = function(typingctx, *args)
        if found is None or not any(map(is_open, (found[0].return_type, *found[0].args))):
            return found
        return found[0], later

    return intrinsic(**options)(definition) if options else intrinsic(definition)


def waiting_in(symbols: Iterable[str]) -> dict[str, tuple[str, Any, tuple[Any, ...]]]:
    """Return what `define` has to know of some functions."""
    return {symbol: _WAITING[symbol] for symbol in symbols}


def define(module: Any, functions: dict[str, tuple[str, Any, tuple[Any, ...]]], tiling: Any) -> None:
    """Define functions in an LLVM module, for a tiling."""
    context = cpu_target.target_context
    for symbol, (name, result, args) in functions.items():
        signature = typing.signature(_closed(result, tiling), *(_closed(arg, tiling) for arg in args))
        kinds = (context.get_value_type(kind) for kind in (signature.return_type, *signature.args))
        function_type = ir.FunctionType(next(kinds), list(kinds))
        function = ir.Function(module, function_type, symbol)
        function.attributes.add("alwaysinline")
        function.linkage = "linkonce_odr"
        builder = ir.IRBuilder(function.append_basic_block())
        builder.ret(_MAKERS[name](signature)(context, builder, signature, list(function.args)))
