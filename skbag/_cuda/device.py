"""One GPU: opening it, its memory, copies to and from it, and launches. Importing this imports numba.cuda."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
DeviceArray = Any  # numba.cuda's, which has no types

_INSTALL = "in a clone of skbag: pip install '.[cu13]' for a driver of CUDA 13, or '.[cu12]' for one of CUDA 12."

if find_spec("numba_cuda") is None:
    raise ImportError(f"device='cuda' needs the package numba-cuda. Install it with its compilers, {_INSTALL}")

try:
    from numba import cuda
    from numba.cuda.core import config

    if not config.ENABLE_CUDASIM:
        import numba.cuda.np.arrayobj  # noqa: F401  (what kernels are made with)
        from numba.cuda.cudadrv import driver
except Exception as error:  # of any kind: a name that NumPy no longer has, a library of another version
    found = ", ".join(f"{name} {version(name)}" for name in ("numba-cuda", "numba", "numpy"))
    raise ImportError(
        f"device='cuda' cannot be used: numba-cuda cannot be imported beside what is installed here ({found}), as "
        f"{error}. Install what works together, {_INSTALL}"
    ) from error

from skbag._cuda import copying  # noqa: E402
from skbag._threads import to_the_end  # noqa: E402

SIMULATED = bool(config.ENABLE_CUDASIM)
if not SIMULATED:
    from skbag._cuda.launching import Compiled, form_of
THREADS = 128  # of a block
_STAGED = 1 << 16  # bytes from which on a copy goes through pinned memory
_STAGE = 1 << 24  # bytes of a pinned buffer

_devices: dict[int, "Device"] = {}
_lock = threading.Lock()


def open_device(index: int) -> "Device":
    """Return a GPU of this process; opened at the first call, and afresh in a process that was not forked.

    Raises
    ------
    RuntimeError
        If there is no driver or no GPU, or this process was forked from one that has used a GPU.
    ImportError
        If the compilers of numba-cuda are missing.
    ValueError
        If there are not so many GPUs.
    """
    with _lock:
        if _devices:
            next(iter(_devices.values())).check_process()
        if index not in _devices:
            _check_available()
            n_devices = len(cuda.gpus)
            if index >= n_devices:
                raise ValueError(f"device must name one of the {n_devices} GPUs here, 'cuda:0' on, got 'cuda:{index}'.")
            _devices[index] = Device(index)
        return _devices[index]


def _check_available() -> None:
    if cuda.is_available():
        return
    error = cuda.cuda_error()
    if error is None:
        raise ImportError(f"device='cuda' needs the compilers of numba-cuda, which are not installed: {_INSTALL}")
    reason = " ".join(str(error).split())
    raise RuntimeError(f"device='cuda' needs an NVIDIA GPU and its driver; use device='cpu' here. CUDA says: {reason}")


class Device:
    """One GPU and what this process keeps on it.

    Everything that touches the GPU runs inside `active`, in one thread at a time.
    """

    def __init__(self, index: int) -> None:
        self.index, self.name = index, f"cuda:{index}"
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._stages: list[Array] = []
        self._streams: list[Any] = []
        self._limits: dict[Any, int] = {}
        self._made: dict[Any, Any] = {}
        self.spare: list[Any] = []  # holds memory that nobody uses, and is given up where it runs out

    @property
    def cooperates(self) -> bool:
        """Whether all blocks of a launch can run at once, and wait for one another."""
        return SIMULATED or bool(cuda.current_context().device.COOPERATIVE_LAUNCH)

    @property
    def capability(self) -> tuple[int, int]:
        """The compute capability."""
        found: tuple[int, int] = (9, 0) if SIMULATED else cuda.current_context().device.compute_capability
        return found

    def check_process(self) -> None:
        """Raise RuntimeError in a process that was forked after its parent had used the GPU: CUDA does not allow it."""
        if os.getpid() != self._process:
            raise RuntimeError(
                "device='cuda' cannot be used in this process: it was forked from one that has used the GPU. Start "
                "workers with joblib's loky backend or multiprocessing's 'spawn', or use device='cpu' in them."
            )

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this the GPU of the calling thread, for a block that no other thread is in."""
        self.check_process()
        with self._lock, cuda.gpus[self.index]:
            try:
                yield
            except BaseException as error:
                with suppress(Exception):  # nothing may go on reading what the caller, or the next call, writes to
                    to_the_end(cuda.synchronize)
                if _is_out_of_memory(error):
                    self.spare.clear()
                    raise MemoryError(
                        f"The GPU '{self.name}' has not enough free memory. The estimator is unchanged; set_params("
                        "device='cpu') uses it on the CPU."
                    ) from error
                raise

    def empty(self, shape: Any, dtype: DTypeLike, stream: Any = 0) -> DeviceArray:
        """Allocate an array; MemoryError with the number of bytes if there is no room."""
        shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        shape = tuple(max(1, int(n)) for n in shape)  # CUDA has no pointer to nothing
        try:
            return cuda.device_array(shape, dtype, stream=stream)
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            if self.spare:
                self.spare.clear()
                return self.empty(shape, dtype, stream)
            n_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            raise MemoryError(
                f"The GPU '{self.name}' has no room for {n_bytes} bytes: an array of shape {shape} of "
                f"{np.dtype(dtype)}. The estimator is unchanged; set_params(device='cpu') uses it on the CPU."
            ) from error

    def scratch(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        """Allocate an array that nobody asks for again by its name."""
        return self.empty(shape, dtype)

    def full(self, shape: Any, value: Any, dtype: DTypeLike) -> DeviceArray:
        """Allocate a small array and fill it."""
        return self.put(np.full(shape, value, dtype))

    def put(self, array: Array) -> DeviceArray:
        """Copy an array to the GPU."""
        out = self.empty(array.shape, array.dtype)
        if array.size:
            self.copy_in(array, out)
        return out

    def copy_in(self, array: Array, out: DeviceArray) -> None:
        """Copy a host array to the beginning of a device array, large ones through two pinned buffers in turn."""
        if array.nbytes < _STAGED:
            if array.size:
                send(np.ascontiguousarray(array), out)
            return
        source = array.reshape(-1)
        for slot, begin, end in self._pieces(source):
            stage = self._stage(slot, source.dtype)[: end - begin]
            self.streams()[slot].synchronize()
            copying.copy(stage, source[begin:end])
            send(stage, out, begin, self.streams()[slot])
        self.synchronize()

    def copy_out(self, array: DeviceArray, out: Array) -> Array:
        """Copy the beginning of a device array to a host array, large ones through two pinned buffers in turn."""
        if out.nbytes < _STAGED:
            if out.size:
                fetch(array, out)
            return out
        self.synchronize()
        target = out.reshape(-1)
        waiting: list[tuple[int, int, int]] = []
        for slot, begin, end in self._pieces(target):
            if len(waiting) == 2:
                self._unstage(target, *waiting.pop(0))
            stage = self._stage(slot, target.dtype)[: end - begin]
            fetch(array, stage, begin, self.streams()[slot])
            waiting.append((slot, begin, end))
        for piece in waiting:
            self._unstage(target, *piece)
        return out

    def fetched(self, array: DeviceArray) -> Array:
        """Return a copy of an array on the host, for a thread that has another GPU active: it need not wait for this.

        Two threads that each have a GPU, and wait for that of the other, would wait for ever.
        """
        self.check_process()
        with cuda.gpus[self.index]:
            found: Array = array.copy_to_host()
        return found

    def _unstage(self, target: Array, slot: int, begin: int, end: int) -> None:
        self.streams()[slot].synchronize()
        copying.copy(target[begin:end], self._stage(slot, target.dtype)[: end - begin])

    @staticmethod
    def _pieces(array: Array) -> Iterator[tuple[int, int, int]]:
        step = _STAGE // array.itemsize
        return ((k % 2, first, min(array.size, first + step)) for k, first in enumerate(range(0, array.size, step)))

    def _stage(self, slot: int, dtype: np.dtype[Any]) -> Array:
        if not self._stages:
            self._stages = [pinned(_STAGE) for _ in range(2)]
        return self._stages[slot].view(dtype)

    def streams(self) -> list[Any]:
        """Return two streams, for work that overlaps."""
        if not self._streams:
            self._streams = [self.new_stream(), self.new_stream()]
        return self._streams

    @staticmethod
    def new_stream() -> Any:
        """Return a stream."""
        return cuda.stream()

    def stream_at(self, handle: int) -> Any:
        """Return a stream that another library has made, or 1 for the default stream, 2 for that of the thread."""
        if SIMULATED:
            return cuda.stream()
        own = {1: cuda.legacy_default_stream, 2: cuda.per_thread_default_stream}
        return own[handle]() if handle in own else cuda.external_stream(handle)

    @staticmethod
    def follow(stream: Any) -> None:
        """Let the default stream, in which tables change, wait for what a stream has to do by now."""
        if not SIMULATED:
            begun = cuda.event(timing=False)
            begun.record(stream)
            begun.wait(0)

    def synchronize(self) -> None:
        """Wait until everything is done."""
        cuda.synchronize()

    def total_bytes(self) -> float:
        """Return how much memory there is."""
        return float(cuda.current_context().get_memory_info()[1])

    def launch(self, kernel: Any, n_threads: int, *arguments: Any, stream: Any = 0) -> None:
        """Launch a kernel with at least n_threads threads, in blocks of THREADS."""
        if n_threads > 0:
            self.launch_blocks(kernel, -(-n_threads // THREADS), *arguments, stream=stream)

    def launch_together(self, kernel: Any, n_blocks: int, *arguments: Any) -> None:
        """Launch a cooperative kernel with n_blocks blocks, or with as many as the GPU runs at once."""
        made = kernel.overloads[None] if SIMULATED else self._compiled(kernel, arguments).made
        if made not in self._limits:
            self._limits[made] = max(1, made.max_cooperative_grid_blocks(THREADS))
        self.launch_blocks(kernel, min(n_blocks, self._limits[made]), *arguments)

    def launch_blocks(
        self, kernel: Any, n_blocks: int, *arguments: Any, stream: Any = 0, threads: int | None = None
    ) -> None:
        """Launch a kernel with n_blocks blocks of THREADS threads, unless another number is given."""
        if SIMULATED:
            kernel[n_blocks, threads or THREADS, stream](*arguments)
        else:
            self._compiled(kernel, arguments).launch(int(n_blocks), threads or THREADS, stream, arguments)

    def _compiled(self, kernel: Any, arguments: tuple[Any, ...]) -> Any:
        key = kernel, form_of(arguments)
        if key not in self._made:
            self._made[key] = Compiled(kernel._compile_for_args(*arguments), arguments)
        return self._made[key]


def _part(array: DeviceArray, begin: int, n: int) -> Any:
    """Return n elements of a device array from one on, or what begins there: Numba's slices take long."""
    if SIMULATED:
        return array.reshape(array.size)[begin : begin + n]
    return array if begin == 0 else array.gpu_data.view(begin * array.dtype.itemsize)


def send(source: Array, target: DeviceArray, begin: int = 0, stream: Any = 0) -> None:
    """Begin to copy a host array to elements of a device array from one on, in a stream; without one it is copied."""
    to = _part(target, begin, source.size)
    if SIMULATED:
        to.copy_to_device(source.reshape(-1))
    else:
        driver.host_to_device(to, source.__array_interface__["data"][0], source.nbytes, stream)


def fetch(source: DeviceArray, target: Array, begin: int = 0, stream: Any = 0) -> None:
    """Begin to copy elements of a device array, from one on, to a host array; see `send`."""
    there = _part(source, begin, target.size)
    if SIMULATED:
        there.copy_to_host(target.reshape(-1))
    else:
        driver.device_to_host(target.__array_interface__["data"][0], there, target.nbytes, stream)


def pinned(n_bytes: int) -> Array:
    """Allocate host memory that the GPU copies from and to directly; MemoryError if the host has no more."""
    try:
        return np.asarray(cuda.pinned_array(n_bytes, np.uint8))
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        raise MemoryError(f"The host has no room for {n_bytes} bytes of pinned memory.") from error


def gpu_of(address: int) -> int | None:
    """Return the number of the GPU that memory lies on; None for no memory, or where CUDA does not know."""
    if SIMULATED or not address:
        return None
    bindings = driver.binding
    which = bindings.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    with suppress(driver.CudaAPIError):
        return int(driver.driver.cuPointerGetAttribute(which, bindings.CUdeviceptr(address)))
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    of_cuda = type(error).__name__ in ("CudaAPIError", "CUDAError")  # Numba's, and cuda-core's, which launches
    return of_cuda and "OUT_OF_MEMORY" in str(error)
