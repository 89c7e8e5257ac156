"""Bags on their way to a GPU and features on their way back, block by block, through pinned memory."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._cuda.device import Device, DeviceArray, pinned
from skbag._data.bags import Bags

Array = NDArray[Any]

BLOCK_BYTES = 1 << 26  # of a block of bags: members in, features out


@dataclass
class Members:
    """Members of bags on the GPU."""

    ids: DeviceArray
    weights: DeviceArray | None  # in the dtype of the table
    indptr: DeviceArray
    base: int  # indptr counts from it
    n_bags: int
    n_members: int
    longest: int  # members of the longest bag, or more
    filtered: bool = False  # the weights only say who is a member: those that are not 0


class Slot:
    """Pinned and device memory for one block of bags, kept from call to call; two of them take turns."""

    def __init__(self) -> None:
        self._pinned: dict[str, Array] = {}
        self._on_device: dict[str, DeviceArray] = {}
        self._pending: tuple[Array, Array, Any] | None = None

    def stage(self, device: Device, stream: Any, bags: Bags, first: int, last: int, longest: int) -> Members:
        """Begin to copy a block to the GPU."""
        begin, end = int(bags.indptr[first]), int(bags.indptr[last])
        ids = self._copy("ids", device, stream, bags.indices[begin:end])
        indptr = self._copy("indptr", device, stream, bags.indptr[first : last + 1])
        weights = None if bags.weights is None else self._copy("weights", device, stream, bags.weights[begin:end])
        return Members(ids, weights, indptr, begin, last - first, end - begin, longest)

    def _copy(self, name: str, device: Device, stream: Any, array: Array) -> DeviceArray:
        target = self.on_device(name, device, array.shape, array.dtype)
        if array.size:
            staged = self._stage(name, array.nbytes).view(array.dtype)
            staged[:] = array
            target[: len(array)].copy_to_device(staged, stream=stream)
        return target

    def unstage(self, source: DeviceArray, out: Array, stream: Any) -> None:
        """Begin to copy features from the GPU; `finish` brings them to their place."""
        if out.size:
            staged = self._stage("out", out.nbytes).view(out.dtype).reshape(out.shape)
            source[: len(out)].copy_to_host(staged, stream=stream)
            self._pending = staged, out, stream

    def finish(self) -> None:
        """Wait for the block under way."""
        if self._pending is not None:
            staged, out, stream = self._pending
            self._pending = None
            stream.synchronize()
            out[:] = staged

    def _stage(self, name: str, n_bytes: int) -> Array:
        if name not in self._pinned or self._pinned[name].size < n_bytes:
            self._pinned[name] = pinned(n_bytes)
        return self._pinned[name][:n_bytes]

    def on_device(self, name: str, device: Device, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """Return memory on the GPU for the first ``shape[0]`` rows of an array."""
        key = f"{name} {np.dtype(dtype)} {shape[1:]}"
        if key not in self._on_device or len(self._on_device[key]) < shape[0]:
            self._on_device.pop(key, None)
            self._on_device[key] = device.empty(shape, dtype)
        return self._on_device[key]


def blocks(bags: Bags, bytes_per_bag: int) -> list[tuple[int, int]]:
    """Cut bags into blocks of about BLOCK_BYTES."""
    bytes_per_member = bags.indices.itemsize + (0 if bags.weights is None else bags.weights.itemsize)
    total = bags.n_members * bytes_per_member + bags.n_bags * bytes_per_bag
    if total <= BLOCK_BYTES:
        return [(0, bags.n_bags)]
    costs = bags.indptr.astype(np.float64) * bytes_per_member + np.arange(bags.n_bags + 1.0) * bytes_per_bag
    edges = [0]
    while edges[-1] < bags.n_bags:
        last = int(np.searchsorted(costs, costs[edges[-1]] + BLOCK_BYTES, side="right")) - 1
        edges.append(min(bags.n_bags, max(edges[-1] + 1, last)))
    return list(pairwise(edges))
