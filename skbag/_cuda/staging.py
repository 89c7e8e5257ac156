"""Bags on their way to a GPU and features on their way back, block by block, through pinned memory."""

import math
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._cuda import copying
from skbag._cuda.checking import Findings
from skbag._cuda.device import Device, DeviceArray, fetch, pinned, send
from skbag._data.bags import Bags
from skbag._data.found import Found

Array = NDArray[Any]

BLOCK_BYTES = 1 << 25  # of a block of bags, members in and features out: less than a millisecond of the bus


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
    """Pinned and device memory for one block of bags, and the stream that it goes through; kept from call to call."""

    def __init__(self, device: Device) -> None:
        self.device, self.stream = device, device.new_stream()
        self.findings = Findings(device)
        self._pinned: dict[str, Array] = {}
        self._on_device: dict[str, DeviceArray] = {}  # bytes
        self._views: dict[Any, DeviceArray] = {}  # of these, by name, dtype and shape of a row
        self._copies: list[Future[None]] = []  # on the host, under way
        self._pending: tuple[Array, Array] | None = None  # features on their way to the host, and their place
        self._busy = False  # whether the stream may have something to do

    def stage(self, bags: Bags, first: int, last: int, longest: int) -> Members:
        """Begin to copy a block to the GPU; it is checked there if ``findings`` are fetched."""
        begin, end = int(bags.indptr[first]), int(bags.indptr[last])
        arrays = {"ids": bags.indices[begin:end], "indptr": bags.indptr[first : last + 1]}
        if bags.weights is not None:
            arrays["weights"] = bags.weights[begin:end]
        staged = {name: self._stage(name, array.nbytes).view(array.dtype) for name, array in arrays.items()}
        self._copies += copying.begin([(staged[name], array) for name, array in arrays.items()])
        copying.end(self._copies)
        self._busy = True
        there = {name: self._send(name, here) for name, here in staged.items()}
        return Members(there["ids"], there.get("weights"), there["indptr"], begin, last - first, end - begin, longest)

    def _send(self, name: str, staged: Array) -> DeviceArray:
        target = self.on_device(name, staged.shape, staged.dtype)
        if staged.size:
            send(staged, target, stream=self.stream)
        return target

    def unstage(self, source: DeviceArray, out: Array) -> None:
        """Begin to copy features from the GPU; `bring` takes them on to their place."""
        if out.size:
            staged = self._stage("out", out.nbytes).view(out.dtype).reshape(out.shape)
            fetch(source, staged, stream=self.stream)
            self._pending = staged, out

    def settle(self) -> None:
        """Wait for the GPU to be done with the block."""
        if self._busy:
            self.stream.synchronize()
            self._busy = False

    def bring(self) -> None:
        """Wait for the features of the block, and begin to copy them to their place."""
        self.settle()
        if self._pending is not None:
            (staged, out), self._pending = self._pending, None
            self._copies += copying.begin([(out, staged)])

    def finish(self) -> None:
        """Wait for all that is under way; features that were not brought are dropped."""
        self.settle()
        self._pending = None
        copying.end(self._copies)

    def _stage(self, name: str, n_bytes: int) -> Array:
        if name not in self._pinned or self._pinned[name].size < n_bytes:
            self._pinned[name] = pinned(n_bytes)
        return self._pinned[name][:n_bytes]

    def on_device(self, name: str, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """Return memory on the GPU for ``shape[0]`` rows of an array, or more; arrays of other shapes share it."""
        dtype, others = np.dtype(dtype), shape[1:]
        row_bytes = dtype.itemsize * math.prod(others)
        n_bytes = max(1, shape[0]) * row_bytes  # CUDA has no pointer to nothing
        if name not in self._on_device or len(self._on_device[name]) < n_bytes:
            self._on_device.pop(name, None)
            self._views = {key: view for key, view in self._views.items() if key[0] != name}
            self._on_device[name] = self.device.empty(n_bytes, np.uint8)
        key = name, dtype, others
        if key not in self._views:
            memory = self._on_device[name]
            n = len(memory) // row_bytes
            self._views[key] = memory[: n * row_bytes].view(dtype).reshape((n, *others))
        return self._views[key]


def through(
    slots: tuple[Slot, ...], bags: Bags, bytes_per_bag: int, *,
    look: Callable[[Slot, Members], None] | None, work: Callable[[Slot, Members], DeviceArray] | None,
    suits: Callable[[Found], bool], out: Array | None = None,
) -> Found:  # fmt: skip
    """Take bags through a GPU block by block, so that the ways of a block there, over it and back overlap.

    While the GPU has one block, the host fills pinned memory with the next one, and takes the features of the one
    before out of it. Blocks are looked at there before anything reads by them. When what was found does not suit,
    features are of no use: then the other blocks are only looked at, and with an invalid one all ends.

    Parameters
    ----------
    slots : tuple of Slot
        Three or more, so that all of that is under way at once.
    bags : Bags
    bytes_per_bag : int
        Of features.
    look : callable(slot, members) or None
        Launches a check of staged members, which makes them harmless, and begins to fetch ``slot.findings``.
    work : callable(slot, members) or None
        Launches the work, and returns the features on the GPU.
    suits : callable(Found)
        Whether features are of use after that.
    out : ndarray of shape (n_bags, ...) or (n_rows, ...)

    Returns
    -------
    Found
        What ``look`` has found; invalid bags where indptr falls.
    """
    found, waiting, lengths = Found(), None, np.diff(bags.indptr)
    per_row = 1 if out is None or not len(out) else bags.n_bags // len(out)
    if lengths.min(initial=0) < 0:
        return Found(invalid=True)
    try:
        for k, (first, last) in enumerate(blocks(bags, bytes_per_bag)):
            slot = slots[k % len(slots)]
            slot.finish()
            members = slot.stage(bags, first, last, int(lengths[first:last].max(initial=0)))
            if look is not None:
                look(slot, members)
            if work is not None and out is not None and suits(found):
                slot.unstage(work(slot, members), out[first // per_row : last // per_row])
            if waiting is not None:
                found = _brought(waiting, found, look is not None)
            waiting = slot
            if found.invalid:
                break
        if waiting is not None:
            found = _brought(waiting, found, look is not None)
    finally:
        for slot in slots:
            slot.finish()
    return found


def _brought(slot: Slot, found: Found, looked: bool) -> Found:
    slot.bring()
    return found.beside(slot.findings.found) if looked else found


def blocks(bags: Bags, bytes_per_bag: int) -> list[tuple[int, int]]:
    """Cut bags into blocks of about BLOCK_BYTES, of whole rows of X."""
    bytes_per_member = bags.indices.itemsize + (0 if bags.weights is None else bags.weights.itemsize)
    total = bags.n_members * bytes_per_member + bags.n_bags * bytes_per_bag
    if total <= BLOCK_BYTES:
        return [(0, bags.n_bags)]
    n_fields, n_rows = bags.n_fields, bags.n_rows
    members = bags.indptr[::n_fields].astype(np.float64)
    costs = members * bytes_per_member + np.arange(n_rows + 1.0) * (bytes_per_bag * n_fields)
    edges = [0]
    while edges[-1] < n_rows:
        last = int(np.searchsorted(costs, costs[edges[-1]] + BLOCK_BYTES, side="right")) - 1
        edges.append(min(n_rows, max(edges[-1] + 1, last)))
    return [(first * n_fields, last * n_fields) for first, last in pairwise(edges)]
