"""How the CPU kernels are compiled."""

from typing import Any, ClassVar

import numba
from numba.core import ir, types
from numba.core.caching import CompileResultCacheImpl
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import FunctionPass, PassManager, register_pass
from numba.core.typed_passes import NopythonTypeInference
from numba.core.types.misc import unliteral
from numba.core.untyped_passes import IRProcessing
from numba.extending import intrinsic

from skbag._compiled.cache import KernelCache
from skbag._compiled.dispatch import compiled, enabled, kept

OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False, "_nrt": False}


class _Ingredient(JITCodeLibrary):
    """Code that is only ever linked into a kernel, which is optimized as a whole: nothing is made of it alone."""

    def _optimize_functions(self, ll_module: Any) -> None:
        pass

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True  # not added to the engine, which makes machine code of all that it has


_LEFT_OUT = {  # passes of Numba over what kernels have none of, as counters of references: a tenth of the time
    "AnnotateTypes", "DumpParforDiagnostics", "FindLiterallyCalls", "InlineClosureLikes", "InlineInlinables",
    "InlineOverloads", "IRLegalization", "LiteralPropagationSubPipelinePass", "LiteralUnroll",
    "MakeFunctionToJitFunction", "NoPythonSupportedFeatureValidation", "NopythonRewrites", "RewriteDynamicRaises",
    "WithLifting",
}  # fmt: skip


def _extremum(symbol: str) -> Any:
    """Return Python's `max` or `min` of two numbers, of which Numba would compile a function for each pair of types."""

    def typed(typingctx: Any, x: Any, y: Any) -> Any:
        kind = typingctx.unify_types(x, y)
        floats = isinstance(kind, types.Float)
        if not floats and kind not in types.signed_domain:
            return None

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            first, second = args
            later = (builder.fcmp_ordered if floats else builder.icmp_signed)(symbol, second, first)
            return builder.select(later, second, first)

        return kind(kind, kind), codegen

    return intrinsic(typed)


_SHORT = {max: _extremum(">"), min: _extremum("<")}


@register_pass(mutates_CFG=False, analysis_only=False)
class _Shorten(FunctionPass):
    """Puts what is compiled sooner in the place of functions of Python."""

    _name = "skbag_shorten"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        for block in state.func_ir.blocks.values():
            for assign in block.find_insts(ir.Assign):
                value = assign.value
                if isinstance(value, ir.Global) and value.value in (max, min):
                    assign.value = ir.Global(value.name, _SHORT[value.value], value.loc)
        return True


class _Known:
    """A typing context of Numba that remembers the types of calls: inference asks for each again and again."""

    _signatures: ClassVar[dict[Any, Any]] = {}

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def resolve_function_type(self, function: Any, args: Any, kws: Any) -> Any:
        if isinstance(function, types.Dispatcher):  # of which each constant would get a copy, that LLVM makes anyway
            args = tuple(map(unliteral, args))
        if not isinstance(function, types.Function):
            return self._context.resolve_function_type(function, args, kws)
        key = function, args, tuple(kws.items())
        signature = self._signatures.get(key)
        if signature is None:
            signature = self._context.resolve_function_type(function, args, kws)
            if signature is not None:
                self._signatures[key] = signature
        return signature


@register_pass(mutates_CFG=True, analysis_only=False)
class _Infer(NopythonTypeInference):
    """Infers types as Numba does, in less time."""

    _name = "skbag_infer"

    def run_pass(self, state: Any) -> bool:
        context = state.typingctx
        state.typingctx = _Known(context)
        try:
            return super().run_pass(state)
        finally:
            state.typingctx = context


class _KernelCompiler(Compiler):
    """Compiles as Numba does, with fewer passes."""

    def define_pipelines(self) -> list[PassManager]:
        pipelines = []
        for whole in super().define_pipelines():
            pipeline = PassManager(whole.pipeline_name)
            for some, description in whole.passes:
                if some is NopythonTypeInference:
                    pipeline.add_pass(_Infer, description)
                elif some.__name__ not in _LEFT_OUT:
                    pipeline.add_pass(some, description)
                if some is IRProcessing:
                    pipeline.add_pass(_Shorten, "larger and smaller numbers")
            pipeline.finalize()
            pipelines.append(pipeline)
        return pipelines


class IngredientCompiler(_KernelCompiler):
    """Compiles without what would make the code callable from Python, too."""

    without: tuple[str, ...] = "no_compile", "no_cpython_wrapper", "no_cfunc_wrapper"

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, args: Any, *more: Any) -> None:
        if library is None:
            library = _Ingredient(targetctx.codegen(), "skbag")
        super().__init__(typingctx, targetctx, library, args, *more)
        for name in self.without:
            setattr(self.state.flags, name, True)


def _kept(function: Any, **wrappers: bool) -> Any:
    with enabled():
        dispatcher = numba.njit(pipeline_class=_KernelCompiler, **OPTIONS, **wrappers)(function)
    return kept(dispatcher, KernelCache(dispatcher, CompileResultCacheImpl))


def kernel(function: Any) -> Any:
    """Compile a loop that releases the GIL, once per machine if it can be kept."""
    return _kept(function, no_cfunc_wrapper=True)


def part(function: Any) -> Any:
    """Compile a part of kernels that they call by its address; see ``calls.call``."""
    return _kept(function, no_cpython_wrapper=True)


def inlined(function: Any) -> Any:
    """Compile a helper that becomes part of the kernel that calls it."""
    with enabled():
        dispatcher = numba.njit(forceinline=True, pipeline_class=IngredientCompiler, **OPTIONS)(function)
    add_overload = dispatcher.add_overload

    def add(compiled: Any) -> None:
        entry_point: Any = [].append  # never called: Numba wants a built-in function of its own for each
        dispatcher.targetctx.insert_user_function(entry_point, compiled.fndesc, [compiled.library])
        add_overload(compiled._replace(entry_point=entry_point))

    dispatcher.add_overload = add
    return dispatcher


_rules: dict[Any, Any] = {}


def _registered(function: Any) -> Any:
    if function not in _rules:
        dispatcher = inlined(function)
        dispatcher.typingctx.insert_global(function, types.Dispatcher(dispatcher))  # no other target's
        _rules[function] = dispatcher
    return _rules[function]


def as_rule(function: Any) -> Any:
    """Let kernels call a function of ``skbag._rules``, or one like it, by its name or by what this returns."""
    if function in _rules:
        return _rules[function]
    return compiled(_registered, function)  # where nothing else compiles: Numba must hear of each once, and wholly
