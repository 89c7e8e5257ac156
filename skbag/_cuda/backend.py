"""The CUDA backend: what goes to the GPU and back, block by block, and the choice of a kernel's shape."""

import weakref
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._cpu import backend as cpu
from skbag._cuda import device as _opening  # first: it says what to install if Numba's CUDA is missing
from skbag._cuda.device import THREADS, Device, DeviceArray
from skbag._data.bags import Bags, DeviceBags
from skbag._data.blocks import Blocks
from skbag._data.model import Model
from skbag._data.quantized import BITS, QuantizedTable
from skbag._data.resident import Resident
from skbag._data.table import check_weight
from skbag._rules.pooling import MODES, Mode

# isort: split
from skbag._cuda import checking, head, norms
from skbag._cuda import pooling as kernels
from skbag._cuda.staging import Members, Slot, blocks
from skbag._cuda.structs import Segments, Source, Windows
from skbag._cuda.workspace import Workspace

Array = NDArray[Any]

_VECTOR_BYTES = 16  # the widest load of a thread
_VECTORS = 4  # most of them that a thread has of a row
_KEPT = 1 << 28  # bytes that are kept for the next trainer
_NUMBERS = 16  # and most numbers: four rows of them are in registers at once


@cache
def backend(index: int) -> "Backend":
    """Return the backend of a GPU."""
    return Backend(index)


def float_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of what kernels read of rows: the bits of a `QuantizedTable` are widened to float32."""
    return np.dtype(np.float32) if dtype in BITS.values() else dtype


def shape_of(dim: int, itemsize: int) -> tuple[int, int, int]:
    """Return the threads of a group that shares a row, the columns of one load and the loads of a thread."""
    width = _VECTOR_BYTES // itemsize
    while dim % width:
        width //= 2
    slots = dim // width
    most = min(_VECTORS, max(1, _NUMBERS // width))
    lanes = min(32, THREADS, 1 << (slots - 1).bit_length())
    while lanes < THREADS and slots > lanes * most:
        lanes *= 2
    return lanes, width, min(most, -(-slots // lanes))


class Backend:
    """The functions that estimators call, on one GPU."""

    def __init__(self, index: int) -> None:
        self.index = index
        self._slots = Slot(), Slot()
        self._nothing: dict[Any, DeviceArray] = {}
        self._workspaces: list[Workspace] = []  # that no trainer has
        self.device  # noqa: B018  (opened now: a GPU that is not there is found before anything is read)

    @property
    def device(self) -> Device:
        """The GPU; RuntimeError in a process that was forked after it was used."""
        return _opening.open_device(self.index)

    @staticmethod
    def hold(table: Any) -> Any:
        """Return a checked table that stays on the GPU from its first use on."""
        if isinstance(table, Resident | QuantizedTable):
            return table
        checked = check_weight(table, "embeddings_")
        return checked if isinstance(checked, QuantizedTable) else Resident(table)

    def _on_device(self, table: Any) -> tuple[DeviceArray, DeviceArray | None]:
        """Return rows on the GPU, and what multiplies them; only to be called, and used, while that is active."""
        if isinstance(table, Resident):
            return table.on(self.device), None
        if isinstance(table, QuantizedTable):
            found: tuple[DeviceArray, DeviceArray | None] = table.kept_on(self.device, self.device.put)
            return found
        return self.device.put(table), None

    def borrow(self, borrower: Any) -> Workspace:
        """Return memory for a trainer; when that is gone, the next one has it, if it is not large."""
        workspace = self._workspaces.pop() if self._workspaces else Workspace(self.device)
        if workspace.device is not self.device:
            workspace = Workspace(self.device)
        weakref.finalize(borrower, _give_back, self._workspaces, workspace).atexit = False
        return workspace

    def check(self, bags: Bags, mode: Mode, n_jobs: int | None = 1) -> Bags:
        """Raise and return as the CPU backend does; bags from the host are checked there, before any launch.

        Bags on the GPU with extreme weights, or whose ids do not increase, are checked on the host, too, and come back
        as bags of the host if they were not fit for the mode.
        """
        if not isinstance(bags, DeviceBags):
            return cpu.check(bags, mode, n_jobs)
        device = self.device
        for name, array in (("data", bags.values), ("indices", bags.indices), ("indptr", bags.indptr)):
            index = _opening.index_of(array)
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
                    checking.check_kernel(THREADS), n_threads, ids, values, indptr, bags.num_embeddings, n_members,
                    float(limits.tiny), float(limits.max), findings,
                )  # fmt: skip
            found = findings.copy_to_host()
        if n_members < 0 or found[: checking.EXTREME].any():
            bags.raise_bad_member()
        if not found.any():
            return bags
        given = bags.on_host()
        fit = cpu.check(given, mode, n_jobs)
        return bags if fit is given else fit

    @staticmethod
    def split(bags: Bags, edges: Array, n_jobs: int | None = 1) -> Bags:
        """Return the bags of each field in the place of each bag, which the CPU backend does."""
        return cpu.split(bags, edges, n_jobs)

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
        mode: Mode,
        n_jobs: int | None,
        norm: tuple[float, float] | None = None,
    ) -> Any:
        """Pool the rows of a table that the members of every bag name; parameters and errors as in the CPU backend.

        Bags from the host come in blocks through pinned buffers, in two streams: while one block is pooled, the next
        is copied. Neither the bags nor the features need to fit into the GPU's memory; the table does.

        Returns
        -------
        ndarray of the shape and dtype that the CPU backend has; an array on the GPU for bags that are there
        """
        if isinstance(mode, str):
            return bags.rows_of(self._forward(bags, table, mode, n_jobs, norm))
        bags, found = self.check(bags, mode, n_jobs), []  # of the host
        for each in mode:  # a maximum has no weights
            some = replace(bags, weights=None) if each == "max" else bags
            found.append(self._forward(some, table, each, n_jobs, norm))
        return bags.beside(found)

    def predict(
        self, bags: Bags, model: Model, blocks: Blocks, n_jobs: int | None, *, choose: bool = False,
        pooled: bool = False,
    ) -> Array:  # fmt: skip
        """Pool bags and take them through the linear layer; parameters, result and errors as in the CPU backend.

        There is one block, and ``pooled`` is False.
        """
        (layer,) = model.layers
        head = _Head(layer.weights.values, layer.intercepts.values, choose and model.tree is None)
        found: Array = self._forward(bags, model.table.values, blocks.mode, n_jobs, None, head)
        if model.tree is None:
            return found
        leaves = model.tree.log_probabilities(found)
        return leaves.argmax(axis=1) if choose else leaves

    def _forward(
        self, bags: Bags, table: Array | Resident, mode: Any, n_jobs: int | None, norm: tuple[float, float] | None,
        layer: "_Head | None" = None,
    ) -> Any:  # fmt: skip
        """Check and pool bags, and take them through a layer if there is one; see `pool` and `predict`."""
        given, bags, device = bags, self.check(bags, mode, n_jobs), self.device
        if isinstance(given, DeviceBags) and bags is not given:  # they had to be made again, on the host
            found = self._forward(bags, table, mode, n_jobs, norm, layer)
            if layer is not None:
                return found
            with device.active():
                return _opening.like_library_of(device.put(found)[: bags.n_bags], given.indices)
        with device.active():
            rows, scales = self._on_device(table)
            if layer is not None:
                layer.put(device)
            if not isinstance(bags, DeviceBags):
                return self._in_blocks(bags, rows, scales, mode, norm, layer)
            out = device.empty((bags.n_bags, table.shape[1]), table.dtype)
            members = self.members_of(bags, table.dtype)
            self.pool_members(rows, members, mode, bags.padding_idx, out, norm=norm, scales=scales)
            if layer is not None:
                found = layer.run(self, out, bags.n_bags, lambda name, shape, dtype: device.empty(shape, dtype))
                return device.copy_out(found[: bags.n_bags], layer.result(bags.n_bags))
            device.synchronize()
            return _opening.like_library_of(out[: bags.n_bags], bags.indices)

    def _in_blocks(
        self, bags: Bags, rows: DeviceArray, scales: DeviceArray | None, mode: str, norm: tuple[float, float] | None,
        layer: "_Head | None",
    ) -> Array:  # fmt: skip
        """Run `_forward` for bags from the host."""
        device, dim, lengths, dtype = self.device, rows.shape[1], np.diff(bags.indptr), float_of(rows.dtype)
        out = np.empty((bags.n_bags, dim), dtype) if layer is None else layer.result(bags.n_bags)
        bytes_per_bag = dim * dtype.itemsize + (0 if layer is None else layer.bytes_per_bag)
        try:
            for k, (first, last) in enumerate(blocks(bags, bytes_per_bag)):
                slot, stream = self._slots[k % 2], device.streams()[k % 2]
                slot.finish()
                longest = int(lengths[first:last].max(initial=0))
                members = slot.stage(device, stream, bags, first, last, longest)
                found = slot.on_device("out", device, (last - first, dim), dtype)
                self.pool_members(
                    rows, members, mode, bags.padding_idx, found, norm=norm, scales=scales, stream=stream
                )  # fmt: skip
                if layer is not None:
                    found = layer.run(self, found, last - first, partial(slot.on_device, device=device), stream)
                slot.unstage(found, out[first:last], stream)
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
            self.device.launch(checking.convert_kernel(THREADS), n_threads, weights, converted)
            weights = converted
        n = self._length(bags)
        ids, indptr = _opening.as_device_array(bags.indices), _opening.as_device_array(bags.indptr)
        return Members(ids, weights, indptr, 0, bags.n_bags, n, n, not bags.weighted)

    def pool_members(
        self, rows: DeviceArray, members: Members, mode: str, padding_idx: int | None, out: DeviceArray, *,
        norm: tuple[float, float] | None = None, scales: DeviceArray | None = None, stream: Any = 0,
    ) -> None:  # fmt: skip
        """Launch the pooling kernels; ``scales`` are what multiplies the rows, or None."""
        if not members.n_bags:
            return
        dtype, dim = float_of(rows.dtype), rows.shape[1]
        ids, weights, factors = members.ids, members.weights, None
        if norm is not None and members.n_members:
            factors = self.norm_factors_of(rows, ids, members.n_members, norm, stream, scales)
        elif scales is not None and members.n_members:
            factors = self.device.empty(members.n_members, dtype)
            n_threads = min(1 << 20, members.n_members)
            kernel = norms.scales_kernel(THREADS)
            self.device.launch(kernel, n_threads, scales, ids, members.n_members, factors, stream=stream)
        only_names = members.filtered or mode == "max"
        weighting = kernels.UNIT if weights is None else kernels.FILTER if only_names else kernels.WEIGHTS
        reduction = kernels.LARGEST if mode == "max" else kernels.TOTAL
        kind = (reduction, MODES[mode], weighting, int(factors is not None), int(padding_idx is not None), 0)
        source = self.source(rows, members.ids, factors=factors, weights=weights)
        padding = -1 if padding_idx is None else padding_idx
        segments = self.segments(members.indptr, members.n_bags, members.base)
        windows = self.reduce_windows(
            kind, source, segments, members.n_members, members.longest, padding, stream
        )  # fmt: skip
        shape = shape_of(dim, rows.dtype.itemsize)
        kernel = kernels.pool_kernel(kind, THREADS, *shape)
        self.device.launch(
            kernel, members.n_bags * shape[0], source, segments, padding, windows, out, stream=stream
        )  # fmt: skip

    def source(self, rows: DeviceArray, ids: DeviceArray | None = None, **arrays: DeviceArray | None) -> Source:
        """Return rows and members, with arrays that stand for those which are not given."""
        dtype = float_of(rows.dtype)
        kinds = {"winners": (np.int32, 2), "members": (np.int32, 1), "factors": (dtype, 1)}
        kinds |= {"ids": (np.int32, 1), "weights": (dtype, 1)}
        arrays["ids"] = ids
        missing = {name: self.nothing(*kind) for name, kind in kinds.items() if arrays.get(name) is None}
        return Source(rows, **(arrays | missing))

    @staticmethod
    def segments(starts: DeviceArray, n: int, base: int = 0) -> Segments:
        """Return n segments of members."""
        return Segments(starts, base, n)

    def reduce_windows(
        self, kind: Any, source: Source, segments: Segments, n_members: int, longest: int, padding: int, stream: Any
    ) -> Windows:
        """Reduce the windows of long segments."""
        dtype, dim = float_of(source.rows.dtype), source.rows.shape[1]
        if longest < kernels.WINDOW:
            return Windows(self.nothing(dtype, 2), self.nothing(np.int32, 2), self.nothing(dtype), 0)
        n_windows, empty = n_members // kernels.WINDOW + 1, self.device.empty
        shape = shape_of(dim, source.rows.dtype.itemsize)
        windows = Windows(empty((n_windows, dim), dtype), self.nothing(np.int32, 2), empty(n_windows, dtype), 0)
        kernel = kernels.windows_kernel(kind, THREADS, *shape)
        self.device.launch(kernel, n_windows * shape[0], source, segments, padding, windows, stream=stream)
        if longest < kernels.WINDOW**2:
            return windows
        n_folds = n_members // kernels.WINDOW**2 + 1
        kernel = kernels.fold_kernel(kind[0], THREADS, *shape)
        self.device.launch(kernel, n_folds * shape[0], source, segments, windows, stream=stream)
        return windows._replace(folded=1)

    def norm_factors_of(
        self, rows: DeviceArray, ids: DeviceArray, n: int, norm: tuple[float, float], stream: Any = 0,
        scales: DeviceArray | None = None,
    ) -> DeviceArray:  # fmt: skip
        """Return the factors that bring the rows that ids name down to max_norm, times their scales."""
        dtype, lanes = float_of(rows.dtype), min(32, THREADS)
        out, given = self.device.empty(n, dtype), self.nothing(dtype) if scales is None else scales
        kernel = norms.norm_factors_kernel(THREADS, lanes, int(scales is not None))
        self.device.launch(kernel, n * lanes, rows, given, ids, *norm, out, stream=stream)
        return out

    def nothing(self, dtype: Any, ndim: int = 1) -> DeviceArray:
        """Return an array that stands for one that a kernel does not look at."""
        key = np.dtype(dtype), ndim
        if key not in self._nothing:
            self._nothing[key] = self.device.full((1,) * ndim, 0, dtype)
        return self._nothing[key]

    def lookup(self, bags: Bags, table: Array | Resident, n_jobs: int | None) -> Array:
        """Return one row of the table per member: (n_members, dim); ValueError if an id is out of range."""
        if isinstance(table, QuantizedTable):  # to copy it there would take longer
            return cpu.lookup(bags, table, n_jobs)
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


def _give_back(workspaces: list[Workspace], workspace: Workspace) -> None:
    if not workspaces and workspace.n_bytes <= _KEPT:
        workspaces.append(workspace)


class _Head:
    """A linear layer of rows that are pooled on the GPU, and whether the largest output is chosen."""

    def __init__(self, coef: Array, intercept: Array, choose: bool) -> None:
        self._layer = np.ascontiguousarray(coef), np.ascontiguousarray(intercept)
        self._on_device: list[DeviceArray] = []
        self.choose, self.n_outputs = choose, len(intercept)
        self.bytes_per_bag = self.n_outputs * coef.dtype.itemsize

    def put(self, device: Device) -> None:
        """Copy the layer to the GPU."""
        self._on_device = [device.put(array) for array in self._layer]

    def result(self, n_bags: int) -> Array:
        """Return memory on the host for the result."""
        return np.empty(n_bags, np.int64) if self.choose else np.empty((n_bags, self.n_outputs), self._layer[0].dtype)

    def run(self, backend: Backend, pooled: DeviceArray, n_bags: int, memory: Any, stream: Any = 0) -> DeviceArray:
        """Launch the kernels, with what ``memory(name, shape=, dtype=)`` allocates, and return the result."""
        out = memory("outputs", shape=(n_bags, self.n_outputs), dtype=pooled.dtype)
        flat, launch = out.reshape(out.size), backend.device.launch
        kernel = head.outputs_kernel(THREADS)
        launch(kernel, n_bags * self.n_outputs, pooled, *self._on_device, n_bags, flat, stream=stream)
        if not self.choose:
            return out
        choices = memory("choices", shape=(n_bags,), dtype=np.int64)
        launch(head.choose_kernel(THREADS), n_bags, flat, n_bags, self.n_outputs, choices, stream=stream)
        return choices
