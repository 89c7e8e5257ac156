"""What every dispatcher of the package does around compiling."""

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from numba.core import config
from numba.core.compiler_lock import global_compiler_lock

from skbag._compiled.cache import KernelCache
from skbag._compiled.shield import lock, shielded


@contextmanager
def enabled() -> Iterator[None]:
    """Let Numba compile although NUMBA_DISABLE_JIT=1 asks it not to: these kernels are not Python that could run."""
    with lock:
        config.reload_config()  # now, or it would be done in the middle of compiling
        disabled, config.DISABLE_JIT = config.DISABLE_JIT, 0
        try:
            yield
        finally:
            config.DISABLE_JIT = disabled


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let Python look for no garbage meanwhile: of Numba's many objects nearly all are in use to the end."""
    collects = gc.isenabled()
    try:
        gc.disable()
        yield
    finally:
        if collects:
            gc.enable()


def _compiled(where: AbstractContextManager[Any], compile_for_args: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    with enabled(), _uncollected(), where:
        return compile_for_args(*args)


def compiled(
    compile_for: Callable[..., Any], *args: Any, here: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> Any:
    """Call something that compiles, in the shield.

    ``here`` is called by the thread that asks for code, and returns the context that it has to be compiled in.
    """
    if global_compiler_lock.is_locked():  # by something that Numba compiles in this thread
        return _compiled(here(), compile_for, args)
    return shielded(_compiled, here(), compile_for, args)


def kept(dispatcher: Any, cache: KernelCache, here: Callable[[], AbstractContextManager[Any]] = nullcontext) -> Any:
    """Let a dispatcher look for its code on disk, and compile in the shield; for ``here`` see `compiled`."""
    # what it calls for kinds of arguments that are new
    dispatcher._cache, dispatcher._compile_for_args = cache, partial(compiled, dispatcher._compile_for_args, here=here)
    return dispatcher
