"""Parts of kernels with open tiles: Numba compiles one once, and LLVM what comes of that for each tiling.

The code of Numba's calls functions that are only declared, see ``operations``, and has types of LLVM that stand for
those of tiles. For a tiling these are replaced, the functions are defined, and all of it is optimized as a whole: it is
what it would be if the tiling had been known from the start.
"""

import pickle
import re
import zlib
from os import urandom
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numba
from numba.core.caching import CompileResultCacheImpl
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.serialize import dumps

from skbag._compiled.cache import KernelCache
from skbag._compiled.dispatch import compiled, enabled
from skbag._cpu.jit import OPTIONS, IngredientCompiler
from skbag._cpu.operations import PREFIX, define, waiting_in
from skbag._cpu.tiling import Tiling, close

_DECLARED = re.compile(rf"^declare .*@({re.escape(PREFIX)}[\w.]+)\(", re.MULTILINE)


class _OpenCompiler(IngredientCompiler):
    """Compiles code of which nothing is made as long as its tiles are open, but that can be called by its address."""

    without = "no_compile", "no_cpython_wrapper"


class _OpenCode(NamedTuple):
    """The code of a part for all tilings: LLVM's, the name of its function, and what ``operations.define`` needs."""

    text: bytes  # compressed
    name: str
    functions: dict[str, Any]


class Shaped:
    """A part of kernels that is compiled for each tiling; see `shaped`."""

    def __init__(self, function: Any) -> None:
        with enabled():
            dispatcher = numba.njit(pipeline_class=_OpenCompiler, **OPTIONS)(function)
        self.py_func, self.cache_hits, self.cache_misses = function, 0, 0
        self._compiler, self._cache = dispatcher._compiler, KernelCache(dispatcher, CompileResultCacheImpl)
        self._codes: dict[tuple[Any, ...], _OpenCode] = {}
        self._libraries: dict[tuple[Any, ...], tuple[Any, str]] = {}

    def address(self, tiling: Tiling, *kinds: Any) -> int:
        """Compile for a tiling and arguments of some types, or find the code, and return where it is."""
        key = tiling, kinds
        if key not in self._libraries:
            compiled(self._load, *key)
        library, name = self._libraries[key]
        return int(library.get_pointer_to_function(name))

    def _load(self, tiling: Tiling, kinds: tuple[Any, ...]) -> None:
        with global_compiler_lock:
            if (tiling, kinds) in self._libraries:
                return
            cpu_target.target_context.refresh()  # as Numba's dispatchers do
            codegen, key = cpu_target.target_context.codegen(), (tuple(tiling), kinds)

            def rebuild(payload: bytes) -> tuple[Any, str]:
                name, state = pickle.loads(payload)
                return codegen.unserialize_library(state), name

            found = self._cache.load(key, codegen, rebuild)
            if found:
                self.cache_hits += 1
            else:
                self.cache_misses += 1
                found = library, name = _closed(self.py_func.__name__, self._open(kinds, codegen), tiling, codegen)
                self._cache.save(key, codegen, lambda: pickle.dumps((name, library.serialize_using_object_code())))
            self._libraries[tiling, kinds] = found

    def _open(self, kinds: tuple[Any, ...], codegen: Any) -> _OpenCode:
        code = self._codes.get(kinds)
        if code is None:
            key = "open", kinds
            code = self._cache.load(key, codegen, lambda payload: _OpenCode(*pickle.loads(payload)))
            if code is None:
                code = _opened(self._compiler.compile(kinds, None))
                self._cache.save(key, codegen, lambda: dumps(tuple(code)))
            self._codes[kinds] = code
        return code


def _opened(compiled: Any) -> _OpenCode:
    """Return the code of what Numba has compiled with open tiles."""
    compiled.library.finalize()
    text = compiled.library.get_llvm_str()
    name, functions = compiled.fndesc.llvm_cfunc_wrapper_name, waiting_in(_DECLARED.findall(text))
    return _OpenCode(zlib.compress(text.encode()), name, functions)


def _closed(name: str, code: _OpenCode, tiling: Tiling, codegen: Any) -> tuple[Any, str]:
    """Return a library with the code for a tiling, and the name of the function in it: all else is for it alone."""
    module = llvm.parse_assembly(close(zlib.decompress(code.text).decode(), tiling))
    operations = codegen._create_empty_module("operations")
    define(operations, code.functions, tiling)
    module.link_in(llvm.parse_assembly(str(operations)))
    name = f"{name}.{urandom(8).hex()}"  # none is twice in a process, whoever has compiled it
    module.get_function(code.name).name = name
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name != name:
            value.linkage = "internal"
    library = codegen.create_library(name)
    library.enable_object_caching()
    library._final_module.link_in(module)
    library.finalize()
    return library, name


def shaped(function: Any) -> Shaped:
    """Compile a part of kernels, that they call by its address, for each tiling; see ``tile.open_tile``."""
    return Shaped(function)
