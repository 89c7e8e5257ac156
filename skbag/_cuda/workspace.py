"""Memory on a GPU that is kept from call to call, and small arrays that go there together."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._cuda import calls
from skbag._cuda.device import Device, DeviceArray

Array = NDArray[Any]

_ALIGNED = 16  # bytes: of the widest load
_LARGE = 1 << 20  # bytes from which on an array goes to the GPU alone
_ROOMY = 1 << 26  # bytes up to which an array has room for an eighth more: mini-batches differ a little


def _places(arrays: tuple[Array, ...]) -> tuple[list[int | None], int]:
    """Return where small arrays begin that lie together, None for large ones, and where the last one ends."""
    places: list[int | None] = []
    end = 0
    for array in arrays:
        large = array.nbytes > _LARGE
        places.append(None if large else end)
        end += 0 if large else -(-array.nbytes // _ALIGNED) * _ALIGNED
    return places, max(end, _ALIGNED)


class Workspace:
    """Arrays on a GPU by their names: allocated when they are asked for at first, or more of one is."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._arrays: dict[Any, DeviceArray] = {}

    @property
    def n_bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.size * array.dtype.itemsize for array in self._arrays.values())

    def array(self, name: str, shape: Any, dtype: Any) -> DeviceArray:
        """Return an array with at least ``shape[0]`` rows; what was asked for by the same name is overwritten."""
        n, *others = (shape,) if isinstance(shape, int | np.integer) else shape
        key = name, np.dtype(dtype), tuple(others)
        found = self._arrays.get(key)
        if found is None or len(found) < n:
            self._arrays.pop(key, None)
            n_bytes = int(n) * math.prod(others) * np.dtype(dtype).itemsize
            room = n + n // 8 if n_bytes <= _ROOMY else n
            found = self._arrays[key] = self.device.empty((room, *others), dtype)
        return found

    def put_alone(self, name: str, array: Array) -> DeviceArray:
        """Copy an array to the GPU, to the beginning of one there that is at least as long."""
        there = self.array(name, array.shape, array.dtype)
        self.device.copy_in(array, there)
        return there

    def put(self, name: str, *arrays: Array) -> list[Any]:
        """Copy arrays to the GPU, small ones in one copy; return them there."""
        places, end = _places(arrays)
        staged, there = np.zeros(end, np.uint8), self.array(name, end, np.uint8)
        found: list[Any] = []
        for k, (array, begin) in enumerate(zip(arrays, places, strict=True)):
            if begin is None:
                found.append(self.put_alone(f"{name} {k}", array))
            else:
                staged[begin : begin + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
                found.append(calls.piece(there, begin, array.shape, array.dtype))
        self.device.copy_in(staged, there)
        return found

    def get(self, name: str, *arrays: Array) -> None:
        """Copy what `put` was given by this name back into the same arrays."""
        places, end = _places(arrays)
        there = self.array(name, end, np.uint8)
        staged = self.device.copy_out(there, np.empty(end, np.uint8))
        for k, (array, begin) in enumerate(zip(arrays, places, strict=True)):
            if begin is None:
                alone = self.array(f"{name} {k}", array.shape, array.dtype)
                self.device.copy_out(alone, array)
            else:
                array[...] = staged[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)

    def packed(self, name: str, value: Any) -> Any:
        """Return a NamedTuple of arrays and numbers as a kernel is given it."""
        words, form = calls.words_of(value)
        array = np.array([*words, 0], np.int64)
        there = self.array(name, len(array), np.int64)
        self.device.copy_in(array, there)
        return calls.packed(form, there)
