"""Arrays on a GPU that belong to other libraries: how they are taken, and how results are given to these.

A library says where an array lies by ``__cuda_array_interface__`` or, where it has none, by ``__dlpack__``, which
cuda-core reads. Nothing is copied, and nothing is written to.

What a library has begun may not have ended. It is waited for by the GPU alone: work on arrays goes into the stream of
their library, which makes what comes out ready there in its turn. A library that names none has waited itself (so say
version 2 of the interface, and JAX), or made the default stream wait (so says DLPack); what comes out is waited for.
"""

import ctypes
import sys
from importlib import import_module
from typing import Any

import numpy as np
from cuda.core.utils import StridedMemoryView
from numba import cuda
from numpy.typing import NDArray

from skbag._cuda.device import SIMULATED, Device, DeviceArray, gpu_of
from skbag._data.on_device import CSR

Array = NDArray[Any]

DEFAULT, PER_THREAD = 1, 2  # what both protocols call CUDA's default streams
_MAKERS = {"cupy": ("cupy", "asarray"), "torch": ("torch", "as_tensor"), "jax": ("jax.numpy", "asarray")}
_MAKERS["jaxlib"] = _MAKERS["jax"]


class Lent:
    """An array on a GPU as its library describes it; only read.

    Parameters
    ----------
    owner : array of any library
    name : str
        What the user calls it, for the texts of errors.

    Attributes
    ----------
    address : int
    shape : tuple of int
    dtype : dtype
    strides : tuple of int or None
        Bytes; None for C order.
    index : int or None
        The number of its GPU; None for libraries that do not say.
    stream : int or None
        The stream in which it is ready; None for one that is ready when it is taken.
    goes_on : bool
        Whether its library goes on in that stream.

    Raises
    ------
    TypeError
        If it is of a dtype that NumPy lacks, or its library does not hand it out.
    ValueError
        If it has a mask.
    """

    def __init__(self, owner: Any, name: str) -> None:
        self.owner, self.index, self.stream = owner, _index_of(owner), _stream_of(owner)
        self._memory: Any = owner  # what keeps the memory
        self.goes_on = True
        interface = getattr(owner, "__cuda_array_interface__", None)
        try:
            if interface is None:
                self._take_dlpack()
                return
            self.dtype, self.shape = np.dtype(interface["typestr"]), tuple(map(int, interface["shape"]))
        except (BufferError, NotImplementedError, TypeError) as error:
            raise TypeError(f"{name} cannot be taken from {type(owner).__name__}: {error}") from error
        if interface.get("mask") is not None:
            raise ValueError(f"{name} must not have a mask.")
        self.address, strides = int(interface["data"][0] or 0), interface.get("strides")
        self.strides = None if strides is None else tuple(map(int, strides))
        if interface.get("stream") is not None:
            self.stream = int(interface["stream"]) or DEFAULT
        if self.index is None:
            self.index = gpu_of(self.address)

    def _take_dlpack(self) -> None:
        view = self._memory = StridedMemoryView.from_dlpack(self.owner, stream_ptr=DEFAULT)
        self.stream, self.goes_on = DEFAULT, False
        self.address, self.shape, self.dtype = int(view.ptr), tuple(view.shape), np.dtype(view.dtype)
        self.strides = None if view.strides is None else tuple(n * self.dtype.itemsize for n in view.strides)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """What Numba makes an array of; it does not wait for a stream."""
        return {
            "shape": self.shape, "typestr": self.dtype.str, "data": (self.address, True), "strides": self.strides,
            "stream": None, "version": 3,
        }  # fmt: skip

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def is_contiguous(self) -> bool:
        """Whether it is in C order."""
        strides, step = self.strides, self.dtype.itemsize
        for n, stride in reversed(list(zip(self.shape, strides or (), strict=False))):
            if n != 1 and stride != step:
                return 0 in self.shape
            step *= n
        return True

    def there(self) -> DeviceArray:
        """View it as an array of Numba's."""
        if not SIMULATED:
            return cuda.as_cuda_array(self, sync=False)
        from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

        n_bytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        memory = (ctypes.c_char * n_bytes).from_address(self.address) if n_bytes else b""
        return FakeCUDAArray(np.ndarray(self.shape, self.dtype, memory, strides=self.strides))

    def host(self) -> Array:
        """Copy it to the host; what its library has begun must have ended."""
        with cuda.gpus[self.index or 0]:
            copied: Array = self.there().copy_to_host()
        return copied


def lend(X: Any) -> tuple[Lent, Lent, Lent]:
    """Return the arrays of a CSR matrix that lies on a GPU: data, indices and indptr."""
    data, indices, indptr = (Lent(getattr(X, name), f"X.{name}") for name in CSR)
    return data, indices, indptr


def stream_of(device: Device, *arrays: Lent) -> tuple[Any, bool]:
    """Return the stream in which work on arrays may begin, and whether all of them are of this one.

    If they are, their library goes on in it: there is nothing to wait for. Otherwise the host must wait for the end.
    """
    handles = list(dict.fromkeys(array.stream for array in arrays if array.stream is not None))
    for other in handles[1:]:
        device.stream_at(other).synchronize()
    return device.stream_at(handles[0] if handles else DEFAULT), len(handles) == 1 and all(x.goes_on for x in arrays)


def given_back(array: DeviceArray, stream: Any, owner: Any) -> Any:
    """Return an array that was made in a stream as one of the library of another array, without a copy.

    It is of CuPy, torch or JAX if the other is; else it is Numba's, which has ``__cuda_array_interface__``.
    """
    module, name = _MAKERS.get(_library_of(owner), (None, ""))
    if module is None:
        return array.bind(stream)
    return getattr(import_module(module), name)(array.bind(0))  # which goes on in the stream, or it was waited for


def _library_of(array: Any) -> str:
    return type(array).__module__.partition(".")[0]


def _index_of(array: Any) -> int | None:
    """Return the number of the GPU that an array is on; None for those that do not say."""
    if hasattr(array, "__dlpack_device__"):
        return int(array.__dlpack_device__()[1])
    device = getattr(array, "device", None)
    numbers = (getattr(device, name, None) for name in ("id", "index"))
    return next((number for number in numbers if isinstance(number, int)), None)


def _stream_of(array: Any) -> int | None:
    """Return the stream of a library whose arrays do not name theirs."""
    if _library_of(array) != "torch":
        return None
    return int(sys.modules["torch"].cuda.current_stream(array.device).cuda_stream) or DEFAULT
