"""How the CUDA kernels are compiled, and how their compiled code is found again in the next process."""

import threading
from collections.abc import Callable
from typing import Any

from numba import cuda
from numba.core import config
from numba.core.target_extension import target_override

from skbag._compiled.cache import KernelCache
from skbag._compiled.dispatch import enabled, kept

SIMULATED = bool(config.ENABLE_CUDASIM)

if not SIMULATED:
    from numba.cuda.cudadrv.devices import _runtime

    if _runtime._mainthread is threading.current_thread():  # it takes whoever imports it, here the shield, for the main
        _runtime._mainthread = threading.main_thread()  # thread, which alone may close a GPU


class _CudaKernelCache(KernelCache):
    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with target_override("cuda"):  # as Numba's does
            return super().load_overload(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        if not data.launch_config_sensitive:  # a key does not say how a kernel is launched
            super().save_overload(sig, data)


def device(function: Any) -> Any:
    """Compile a helper that becomes part of the kernel that calls it."""
    if SIMULATED:
        return cuda.jit(device=True)(function)
    with enabled():
        return cuda.jit(device=True, forceinline=True)(function)


def kernel(function: Any, bounds: tuple[int, int] | None = None) -> Any:
    """Compile a kernel at its first launch, once per machine if it can be kept.

    ``bounds`` : threads of a block, and how many blocks a multiprocessor must have registers for.
    """
    if SIMULATED:
        return cuda.jit(function)
    from numba.cuda.dispatcher import CUDACacheImpl
    from numba_cuda import __version__

    from skbag._cuda.calls import EXTENSIONS

    with enabled():
        dispatcher = cuda.jit(extensions=EXTENSIONS, launch_bounds=bounds)(function)

    return kept(
        dispatcher,
        _CudaKernelCache(dispatcher, CUDACacheImpl, __version__),
        lambda: cuda.gpus[cuda.get_current_device().id],
    )


def kernel_of(*rules: Any, bounds: tuple[int, int] | None = None) -> Callable[[Any], Any]:
    """Return `kernel` for one that is made with rules; of those from elsewhere nothing is kept, as they may change."""

    def compiled(function: Any) -> Any:
        dispatcher = kernel(function, bounds)
        if not SIMULATED and not all(str(getattr(rule, "__module__", "")).startswith("skbag.") for rule in rules):
            dispatcher._cache.disable()
        return dispatcher

    return compiled
