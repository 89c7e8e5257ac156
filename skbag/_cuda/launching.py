"""Launches of compiled kernels.

Numba takes some hundred microseconds of the host to find what a kernel was compiled to for arguments that are tuples of
arrays, and to bring these into the form of a launch. Here that is looked up by what the types depend on, and numbers
and arrays are written down as they are passed: an array as two pointers that are not used, its size, the bytes of an
element, its address, its shape and its strides.
"""

from functools import lru_cache
from typing import Any

from numba.cuda import dispatcher
from numba.cuda.cudadrv import driver

_COOPERATIVE = "is_cooperative" if getattr(dispatcher, "CUDA_CORE_GE_1_0", False) else "cooperative_launch"


def form_of(value: Any) -> Any:
    """Return what the Numba type of an argument depends on: arrays are C-contiguous."""
    if isinstance(value, tuple):
        return type(value), *map(form_of, value)
    form = getattr(value, "form", None)  # of `calls.Packed`
    if form is not None:
        return form
    shape = getattr(value, "shape", None)
    return (value.dtype, len(shape)) if shape else type(value)


def _flatten(value: Any, flat: list[Any]) -> None:
    """Append the numbers and addresses that stand for an argument."""
    if isinstance(value, int):
        flat.append(value)
    elif isinstance(value, float):
        flat.append(float(value))  # NumPy's is one, too
    elif isinstance(value, tuple):
        for field in value:
            _flatten(field, flat)
    elif hasattr(value, "form"):
        flat.append(value.address)
    else:
        flat += (0, 0, value.size, value.dtype.itemsize, value.device_ctypes_pointer.value, *value.shape)
        flat += value.strides


class Compiled:
    """A kernel that was compiled for some kind of arguments, on one GPU.

    Parameters
    ----------
    made : numba.cuda's compiled kernel
    arguments : tuple
        Some of that kind. Where Numba passes them otherwise than `_flatten` does, it launches the kernel itself.
    """

    def __init__(self, made: Any, arguments: tuple[Any, ...]) -> None:
        self.made, self._kernel = made, None
        self._configs: dict[tuple[int, int], Any] = {}
        try:
            expected: list[Any] = []
            for kind, argument in zip(made.argument_types, arguments, strict=True):
                made._prepare_args(kind, argument, 0, [], expected)
            flat: list[Any] = []
            _flatten(arguments, flat)
            if flat == [getattr(value, "value", value) for value in expected] and not made.debug:
                self._kernel = made._codelibrary.get_cufunc().kernel
                self._configs[1, 1] = self._config(1, 1)
                _core_stream(0)
        except (AttributeError, TypeError, ValueError):  # another version of numba-cuda
            self._kernel = None

    def _config(self, n_blocks: int, threads: int) -> Any:
        return dispatcher.LaunchConfig(
            grid=(n_blocks, 1, 1), block=(threads, 1, 1), **{_COOPERATIVE: self.made.cooperative}
        )  # fmt: skip

    def launch(self, n_blocks: int, threads: int, stream: Any, arguments: tuple[Any, ...]) -> None:
        """Launch n_blocks blocks of so many threads."""
        if self._kernel is None:
            self.made.launch(arguments, (n_blocks, 1, 1), (threads, 1, 1), driver._to_core_stream(stream))
            return
        config = self._configs.get((n_blocks, threads))
        if config is None:
            if len(self._configs) > 100:
                self._configs.clear()
            config = self._configs[n_blocks, threads] = self._config(n_blocks, threads)
        flat: list[Any] = []
        _flatten(arguments, flat)
        dispatcher.launch(_core_stream(stream), config, self._kernel, *flat)


@lru_cache(maxsize=32)
def _core_stream(stream: Any) -> Any:
    return driver._to_core_stream(stream)
