"""The CUDA backend: what goes to the GPU and back, block by block, and the choice of a kernel's shape."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._cpu import backend as cpu
from skbag._cuda import device as _opening  # first: it says what to install if Numba's CUDA is missing
from skbag._cuda.device import THREADS, Device, DeviceArray
from skbag._data.bags import Bags, DeviceBags
from skbag._data.resident import Resident

# isort: split
from skbag._cuda import pooling as kernels

Array = NDArray[Any]

MODES = {"sum": kernels.SUM, "mean": kernels.MEAN, "sqrtn": kernels.SQRTN, "max": kernels.MAX}

_BLOCK_BYTES = 1 << 26  # of a block of bags: members in, features out
_VECTOR_BYTES = 16  # the widest load of a thread
_VECTORS = 4  # most of them that a thread has of a row


@cache
def backend(index: int) -> "Backend":
    """Return the backend of a GPU."""
    return Backend(index)


def shape_of(dim: int, itemsize: int) -> tuple[int, int, int]:
    """Return the threads of a group that shares a row, the columns of one load and the loads of a thread."""
    width = _VECTOR_BYTES // itemsize
    while dim % width:
        width //= 2
    slots = dim // width
    lanes = min(32, THREADS, 1 << (slots - 1).bit_length())
    while lanes < THREADS and slots > lanes * _VECTORS:
        lanes *= 2
    return lanes, width, min(_VECTORS, -(-slots // lanes))


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


class Backend:
    """The functions that estimators call, on one GPU."""

    MODES = MODES

    def __init__(self, index: int) -> None:
        self.index = index
        self._slots = _Slot(), _Slot()
        self._nothing: dict[Any, DeviceArray] = {}
        self.device  # noqa: B018  (opened now: a GPU that is not there is found before anything is read)

    @property
    def device(self) -> Device:
        """The GPU; RuntimeError in a process that was forked after it was used."""
        return _opening.open_device(self.index)

    @staticmethod
    def hold(table: Array) -> Resident:
        """Keep a table on the GPU from its first use on."""
        return table if isinstance(table, Resident) else Resident(table)

    def check(self, bags: Bags, mode: str, n_jobs: int | None = 1) -> Bags:
        """Raise and return as the CPU backend does; bags from the host are checked there, before any launch.

        Bags on the GPU with extreme weights, or whose ids do not increase, are checked on the host, too, and come back
        as bags of the host if they were not fit for the mode.
        """
        if not isinstance(bags, DeviceBags):
            return cpu.check(bags, mode, n_jobs)
        device = self.device
        for name, array in (("data", bags.values), ("indices", bags.indices), ("indptr", bags.indptr)):
            index = getattr(getattr(array, "device", None), "id", None)  # CuPy's; others do not say
            if index not in (None, device.index):
                raise ValueError(f"X.{name} is on the GPU 'cuda:{index}', and device={device.name!r}.")
        with device.active():
            findings = device.full(5, 0, np.int64)
            n_members, indptr = self._length(bags), _opening.as_device_array(bags.indptr)
            ids = _opening.as_device_array(bags.indices)
            if n_members >= 0:
                n_threads, values = min(1 << 20, max(n_members, bags.n_bags)), _opening.as_device_array(bags.values)
                limits = np.finfo(bags.dtype if bags.weighted else np.float64)
                device.launch(
                    kernels.check_kernel(THREADS), n_threads, ids, values, indptr, bags.num_embeddings, n_members,
                    float(limits.tiny), float(limits.max), findings,
                )  # fmt: skip
            found = findings.copy_to_host()
        if n_members < 0 or found[: kernels.EXTREME].any():
            bags.raise_bad_member()
        if not found.any():
            return bags
        given = bags.on_host()
        fit = cpu.check(given, mode, n_jobs)
        return bags if fit is given else fit

    @staticmethod
    def _length(bags: DeviceBags) -> int:
        """Return the number of members, or -1 if indptr cannot be right."""
        ends = _opening.as_device_array(bags.indptr)
        first, last = int(ends[0]), int(ends[bags.n_bags])
        return last if first == 0 and 0 <= last <= bags.n_stored else -1

    def pool(
        self,
        bags: Bags,
        table: Array | Resident,
        mode: str,
        n_jobs: int | None,
        norm: tuple[float, float] | None = None,
    ) -> Any:
        """Pool the rows of a table that the members of every bag name; parameters and errors as in the CPU backend.

        Bags from the host come in blocks through pinned buffers, in two streams: while one block is pooled, the next
        is copied. Neither the bags nor the features need to fit into the GPU's memory; the table does.

        Returns
        -------
        ndarray of shape (n_bags, dim), of the table's dtype; an array on the GPU for bags that are there
        """
        given, bags, device = bags, self.check(bags, mode, n_jobs), self.device
        if isinstance(given, DeviceBags) and bags is not given:
            pooled = self.pool(bags, table, mode, n_jobs, norm)
            with device.active():
                return _opening.like_library_of(device.put(pooled)[: bags.n_bags], given.indices)
        with device.active():
            rows = table.on(device) if isinstance(table, Resident) else device.put(table)
            dim = table.shape[1]
            if isinstance(bags, DeviceBags):
                out = device.empty((bags.n_bags, dim), table.dtype)
                members = self.members_of(bags, table.dtype)
                self.pool_members(rows, members, mode, bags.padding_idx, out, norm=norm)
                device.synchronize()
                return _opening.like_library_of(out[: bags.n_bags], bags.indices)
            out = np.empty((bags.n_bags, dim), table.dtype)
            lengths = np.diff(bags.indptr)
            try:
                for k, (first, last) in enumerate(_blocks(bags, dim * table.dtype.itemsize)):
                    slot, stream = self._slots[k % 2], device.streams()[k % 2]
                    slot.finish()
                    longest = int(lengths[first:last].max(initial=0))
                    members = slot.stage(device, stream, bags, first, last, longest)
                    pooled = slot.on_device("out", device, (last - first, dim), table.dtype)
                    self.pool_members(rows, members, mode, bags.padding_idx, pooled, norm=norm, stream=stream)
                    slot.unstage(pooled, out[first:last], stream)
            finally:
                for slot in self._slots:
                    slot.finish()
            return out

    def members_of(self, bags: DeviceBags, dtype: np.dtype[Any]) -> Members:
        """Return bags that came as device arrays, checked, with weights in the dtype of the table."""
        weights = _opening.as_device_array(bags.values)
        if weights.dtype != dtype:
            converted = self.device.empty(bags.n_stored, dtype)
            n_threads = min(1 << 20, bags.n_stored)
            self.device.launch(kernels.convert_kernel(THREADS), n_threads, weights, converted)
            weights = converted
        n = self._length(bags)
        ids, indptr = _opening.as_device_array(bags.indices), _opening.as_device_array(bags.indptr)
        return Members(ids, weights, indptr, 0, bags.n_bags, n, n, not bags.weighted)

    def pool_members(
        self, rows: DeviceArray, members: Members, mode: str, padding_idx: int | None, out: DeviceArray, *,
        norm: tuple[float, float] | None = None, training: tuple[DeviceArray, DeviceArray] | None = None,
        windows: Any = None, stream: Any = 0,
    ) -> None:  # fmt: skip
        """Launch the pooling kernels; ``training`` takes who won the maximum, and the sizes of the bags."""
        if not members.n_bags:
            return
        dtype, dim = rows.dtype, rows.shape[1]
        ids, weights, factors = members.ids, members.weights, None
        if norm is not None and members.n_members:
            factors = self.norm_factors_of(rows, ids, members.n_members, norm, stream)
        weighting = kernels.UNIT if weights is None else kernels.FILTER if members.filtered else kernels.WEIGHTS
        maximum = kernels.WINNER if training is not None else kernels.LARGEST
        reduction = maximum if mode == "max" else kernels.TOTAL
        kind = (reduction, MODES[mode], weighting, int(factors is not None), int(padding_idx is not None), 0)
        source = (
            rows, self.nothing(np.int32, 2), self.nothing(np.int32), ids,
            self.nothing(dtype) if factors is None else factors, self.nothing(dtype) if weights is None else weights,
        )  # fmt: skip
        padding = -1 if padding_idx is None else padding_idx
        windows = self.reduce_windows(
            kind,
            source,
            members.indptr,
            members.n_bags,
            members.base,
            members.n_members,
            members.longest,
            padding,
            windows=windows,
            stream=stream,
        )
        shape = shape_of(dim, dtype.itemsize)
        kernel = kernels.pool_kernel(kind, int(training is not None), THREADS, *shape)
        out_at, sizes = training or (self.nothing(np.int32, 2), self.nothing(dtype))
        self.device.launch(
            kernel, members.n_bags * shape[0], *source, members.indptr, members.base, padding, *windows,
            members.n_bags, out, out_at, sizes, stream=stream,
        )  # fmt: skip

    def reduce_windows(
        self, kind: Any, source: Any, starts: DeviceArray, n_segments: int, base: int, n_members: int, longest: int,
        padding: int, limit: DeviceArray | None = None, windows: Any = None, stream: Any = 0,
    ) -> tuple[DeviceArray, DeviceArray, DeviceArray]:  # fmt: skip
        """Reduce the windows of long segments, into ``windows`` if given; return (partials, at, sizes) of them."""
        dtype, dim = source[0].dtype, source[0].shape[1]
        if longest < kernels.WINDOW:
            return self.nothing(dtype, 2), self.nothing(np.int32, 2), self.nothing(dtype)
        n_windows, shape = n_members // kernels.WINDOW + 1, shape_of(dim, dtype.itemsize)
        if windows is None:
            windows = (
                self.device.empty((n_windows, dim), dtype),
                self.device.empty((n_windows, dim) if kind[0] == kernels.WINNER else (1, 1), np.int32),
                self.device.empty(n_windows, dtype),
            )
        kernel = kernels.windows_kernel(kind, THREADS, *shape)
        limit = self.nothing(np.int64) if limit is None else limit
        self.device.launch(
            kernel, n_windows * shape[0], *source, starts, n_segments, base, limit, padding, *windows, stream=stream
        )
        return windows

    def norm_factors_of(
        self, rows: DeviceArray, ids: DeviceArray, n: int, norm: tuple[float, float], stream: Any = 0
    ) -> DeviceArray:
        """Return the factors that bring the rows that ids name down to max_norm."""
        out, lanes = self.device.empty(n, rows.dtype), min(32, THREADS)
        self.device.launch(kernels.norm_factors_kernel(THREADS, lanes), n * lanes, rows, ids, *norm, out, stream=stream)
        return out

    def nothing(self, dtype: Any, ndim: int = 1) -> DeviceArray:
        """Return an array that stands for one that a kernel does not look at; of int64, a limit that limits nothing."""
        key = np.dtype(dtype), ndim
        if key not in self._nothing:
            self._nothing[key] = self.device.full(
                (1,) * ndim, np.iinfo(np.int64).max if key[0] == np.int64 else 0, dtype
            )
        return self._nothing[key]

    def lookup(self, bags: Bags, table: Array | Resident, n_jobs: int | None) -> Array:
        """Return one row of the table per member: (n_members, dim); ValueError if an id is out of range."""
        self.check(bags, "sum", n_jobs)
        device, n = self.device, bags.n_members
        with device.active():
            rows = table.on(device) if isinstance(table, Resident) else device.put(table)
            found = self.rows_at(rows, device.put(bags.indices[:n]), n)
            return device.copy_out(found[:n], np.empty((n, table.shape[1]), table.dtype))

    def rows_at(self, rows: DeviceArray, ids: DeviceArray, n: int) -> DeviceArray:
        """Return the first n rows that ids name."""
        out = self.device.empty((n, rows.shape[1]), rows.dtype)
        shape = shape_of(rows.shape[1], rows.dtype.itemsize)
        self.device.launch(kernels.lookup_kernel(THREADS, *shape), n * shape[0], rows, ids, False, n, out)
        return out

    def put_rows_at(self, rows: DeviceArray, ids: DeviceArray, n: int, values: DeviceArray) -> None:
        """Put n rows back where `rows_at` has taken them from."""
        shape = shape_of(rows.shape[1], rows.dtype.itemsize)
        self.device.launch(kernels.lookup_kernel(THREADS, *shape), n * shape[0], values, ids, True, n, rows)

    norm_factors = staticmethod(cpu.norm_factors)  # of tables and rows that are on the host


class _Slot:
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
            self._pinned[name] = _opening.pinned(n_bytes)
        return self._pinned[name][:n_bytes]

    def on_device(self, name: str, device: Device, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """Return memory on the GPU for the first ``shape[0]`` rows of an array."""
        key = f"{name} {np.dtype(dtype)} {shape[1:]}"
        if key not in self._on_device or len(self._on_device[key]) < shape[0]:
            self._on_device.pop(key, None)
            self._on_device[key] = device.empty(shape, dtype)
        return self._on_device[key]


def _blocks(bags: Bags, bytes_per_bag: int) -> list[tuple[int, int]]:
    """Cut bags into blocks of about _BLOCK_BYTES."""
    bytes_per_member = bags.indices.itemsize + (0 if bags.weights is None else bags.weights.itemsize)
    total = bags.n_members * bytes_per_member + bags.n_bags * bytes_per_bag
    if total <= _BLOCK_BYTES:
        return [(0, bags.n_bags)]
    costs = bags.indptr.astype(np.float64) * bytes_per_member + np.arange(bags.n_bags + 1.0) * bytes_per_bag
    edges = [0]
    while edges[-1] < bags.n_bags:
        last = int(np.searchsorted(costs, costs[edges[-1]] + _BLOCK_BYTES, side="right")) - 1
        edges.append(min(bags.n_bags, max(edges[-1] + 1, last)))
    return list(pairwise(edges))
