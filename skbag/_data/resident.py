"""Arrays that stay on a GPU between calls, and are NumPy arrays to the outside."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Resident:
    """An array with a copy on the host, on a GPU, or both; each is made when it is first asked for.

    It is what the fitted attribute of an estimator holds while ``device="cuda"``. To the outside it is a NumPy array:
    pickle, copy and ``numpy.asarray`` see the copy on the host, which is read-only, because writing into it could not
    reach the GPU.

    Parameters
    ----------
    host : ndarray or None
    device, on_device : the GPU, and the array on it; None if there is only the host's.
    """

    def __init__(self, host: Array | None = None, device: Any = None, on_device: Any = None) -> None:
        self._plain, self._host = host, None if host is None else _read_only(host)
        self._device, self._on_device = device, on_device
        array = on_device if host is None else host
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def host(self) -> Array:
        """Return the array on the host, read-only; copied from the GPU if it was changed there."""
        if self._host is None:
            self._device.check_process()
            with self._device.active():
                if self._host is None:
                    self._host = _read_only(self._device.copy_out(self._on_device, np.empty(self.shape, self.dtype)))
        return self._host

    def plain(self) -> Array:
        """Return the array that was given at first, if it still has the values; else as `host` does."""
        return self.host() if self._plain is None else self._plain

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.host()
        return np.array(array, dtype) if copy or (dtype is not None and dtype != array.dtype) else array

    def __reduce__(self) -> tuple[Any, ...]:
        return np.asarray, (self.host(),)

    def on(self, device: Any) -> Any:
        """Return the array on a GPU; only to be called, and used, while that is active."""
        if self._device is not device:
            host = self._host
            on_device = device.put(self._device.fetched(self._on_device) if host is None else host)
            self._device, self._on_device = device, on_device
        return self._on_device

    def changed(self) -> None:
        """Forget the copy on the host: the one on the GPU is being written to."""
        self._plain = self._host = None

    def copy(self) -> "Resident":
        """Return a copy, made on the GPU if the array is there."""
        if self._device is None:
            return Resident(self.host())
        with self._device.active():
            on_device = self._device.empty(self.shape, self.dtype)
            on_device.copy_to_device(self._on_device)
        return Resident(None, self._device, on_device)

    def __setitem__(self, where: slice, other: "Resident") -> None:
        """Take the values of another one: ``array[:] = other``."""
        if self._device is None:
            self._plain, self._host = None, other.host()
            return
        with self._device.active():
            self._on_device.copy_to_device(other.on(self._device))
            self.changed()


def plain(value: Any) -> Any:
    """Return what an attribute is in a pickle: a `Resident` is an array there."""
    return value.plain() if isinstance(value, Resident) else value


class TableAttribute:
    """A fitted table, as a backend holds it: reading it gives a NumPy array, writing replaces it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        try:
            value = vars(instance)[self.name]
        except KeyError:
            raise AttributeError(f"{type(instance).__name__!r} object has no attribute {self.name!r}") from None
        return value.host() if isinstance(value, Resident) else value

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[self.name] = value

    def __delete__(self, instance: Any) -> None:
        try:
            del vars(instance)[self.name]
        except KeyError:
            raise AttributeError(self.name) from None


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view
