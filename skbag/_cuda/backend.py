"""The CUDA backend: what goes to the GPU and back, block by block, and which kernels are launched."""

import weakref
from dataclasses import replace
from functools import cache, cached_property, partial
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._compiled.shield import shielded
from skbag._cuda import device as _opening  # first: it says what to install if Numba's CUDA is missing
from skbag._cuda.device import THREADS, Device, DeviceArray
from skbag._data.bags import Bags, is_relative
from skbag._data.blocks import Blocks
from skbag._data.found import Found, look
from skbag._data.model import Model
from skbag._data.on_device import CSR, DeviceBags
from skbag._data.quantized import QuantizedTable
from skbag._data.resident import Resident
from skbag._data.table import check_weight
from skbag._rules.pooling import MODES, Mode

# isort: split
from skbag._cuda import checking, lending, norms, reducing
from skbag._cuda import pooling as kernels
from skbag._cuda.shapes import shape_of
from skbag._cuda.staging import Members, Slot, through
from skbag._cuda.structs import Segments, Source, Windows
from skbag._cuda.work import Head, Memory, Work, float_of
from skbag._cuda.workspace import Workspace

Array = NDArray[Any]

_FEW = 1 << 14  # members: so many are checked on the host in less time than a launch takes
_BLOCKS_AT_ONCE = 3  # one on its way to the GPU, one on the GPU, one on its way back
_KEPT = 16  # a part of the GPU's memory up to which that of a trainer is kept for the next one


@cache
def backend(index: int) -> "Backend":
    """Return the backend of a GPU."""
    return Backend(index)


class Backend:
    """The functions that estimators call, on one GPU."""

    def __init__(self, index: int) -> None:
        self.index = index
        self._nothing: dict[Any, DeviceArray] = {}
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
        """Return memory for a trainer; when that is gone, the next one has it, if it is no large part of all.

        Only to be called while the GPU is active.
        """
        spare, most = self.device.spare, self.device.total_bytes() / _KEPT
        workspace = spare.pop() if spare else Workspace(self.device)
        weakref.finalize(borrower, _give_back, spare, workspace, most).atexit = False
        return workspace

    def check(self, bags: Bags, mode: Mode, n_jobs: int | None = 1) -> Bags:
        """Raise and return as the CPU backend does; more than a few bags of the host are looked at on the GPU.

        Bags on the GPU with extreme weights, or whose ids do not increase, come back as bags of the host if they were
        not fit for the mode.
        """
        if isinstance(bags, DeviceBags):
            return self._check_there(bags, mode, n_jobs)
        found = look(bags) if bags.n_members <= _FEW else self._in_blocks(bags, mode)
        fit = bags.made_for(mode, found)
        return fit if fit is bags or fit.is_rescaled else self.check(fit, mode, n_jobs)

    def _check_there(self, bags: DeviceBags, mode: Mode, n_jobs: int | None) -> Bags:
        """Check bags that came as device arrays, after what their library does with these."""
        device = self.device
        for name, array in zip(CSR, bags.arrays, strict=True):
            if array.index not in (None, device.index):
                raise ValueError(f"X.{name} is on the GPU 'cuda:{array.index}', and device={device.name!r}.")
        with device.active():
            stream, _ = lending.stream_of(device, *bags.arrays)
            values, ids, indptr = (array.there() for array in bags.arrays)
            members = Members(ids, values, indptr, 0, bags.n_bags, bags.n_stored, 0)
            dtype = np.dtype(bags.dtype if bags.weighted else np.float64)
            self._look_at(members, bags.num_embeddings, dtype, self._findings, stream, mend=False)
            stream.synchronize()
            found = self._findings.found
            bags.length, bags.longest = found.n_members, found.longest
            if found.invalid:
                bags.raise_bad_member()
            if not found.unsorted and not (found.extreme and bags.weighted and is_relative(mode)):
                return bags
            given = bags.on_host()
        return self.check(given.made_for(mode, found), mode, n_jobs)

    def _look_at(
        self, members: Members, n_rows: int, dtype: np.dtype[Any], findings: checking.Findings, stream: Any, *,
        mend: bool,
    ) -> None:  # fmt: skip
        """Begin to check members whose weights are to be of a dtype; with ``mend`` their ids become harmless."""
        findings.clear(stream)
        weights = self.nothing(dtype) if members.weights is None else members.weights
        self.device.launch(
            checking.check_kernel(int(members.weights is not None), int(mend), THREADS),
            min(1 << 20, max(1, members.n_members, members.n_bags)), members.ids, weights, members.indptr, members.base,
            members.n_bags, members.n_members, n_rows, self.nothing(dtype), findings.there, stream=stream,
        )  # fmt: skip
        findings.fetch(stream)

    @cached_property
    def _findings(self) -> checking.Findings:
        return checking.Findings(self.device)

    @cached_property
    def _slots(self) -> tuple[Slot, ...]:
        return tuple(Slot(self.device) for _ in range(_BLOCKS_AT_ONCE))

    @staticmethod
    def split(bags: Bags, edges: Array, n_jobs: int | None = 1) -> Bags:
        """Return the bags of each field in the place of each bag, which the CPU backend does."""
        split: Bags = _cpu().split(bags, edges, n_jobs)
        return split

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
        """Pool bags and take them through the layers; parameters, result and errors as in the CPU backend."""
        head = None if pooled else Head(model, choose=choose and model.tree is None)
        found: Array = self._forward(bags, model.table.values, blocks.mode, n_jobs, None, head, blocks)
        if pooled or model.tree is None:
            return found
        leaves = model.tree.log_probabilities(found)
        return leaves.argmax(axis=1) if choose else leaves

    def _forward(
        self, bags: Bags, table: Array | Resident, mode: Any, n_jobs: int | None, norm: tuple[float, float] | None,
        layer: Head | None = None, blocks: Blocks | None = None,
    ) -> Any:  # fmt: skip
        """Check and pool bags, and take them through layers if there are some; see `pool` and `predict`.

        With ``blocks`` the result is one of rows of X, else of bags.
        """
        if isinstance(bags, DeviceBags):
            return self._forward_there(bags, table, mode, n_jobs, norm, layer, blocks)
        few, device = bags.n_members <= _FEW, self.device
        fit = bags.made_for(mode, look(bags)) if few else bags
        if fit is bags:
            with device.active():
                work = Work(self, *self._on_device(table), bags.padding_idx, mode, norm, layer, blocks)
                out = np.empty((bags.n_bags if blocks is None else bags.n_rows, *work.shape), work.dtype)
                found = self._in_blocks(bags, mode, work, out, checked=few)
            if few:
                return out
            fit = bags.made_for(mode, found)
        return out if fit is bags else self._forward(fit, table, mode, n_jobs, norm, layer, blocks)

    def _in_blocks(
        self, bags: Bags, mode: Mode, work: Work | None = None, out: Array | None = None, *, checked: bool = False
    ) -> Found:
        """Check bags from the host on the GPU, unless they are ``checked``, and work on them."""
        dtype = np.dtype(np.float64) if bags.weights is None else bags.weights.dtype

        def look_at(slot: Slot, members: Members) -> None:
            self._look_at(members, bags.num_embeddings, dtype, slot.findings, slot.stream, mend=True)

        with self.device.active():
            return through(
                self._slots, bags, 0 if work is None else work.bytes_per_bag, look=None if checked else look_at,
                work=work, suits=partial(bags.suits, mode), out=out,
            )  # fmt: skip

    def _forward_there(
        self, bags: DeviceBags, table: Array | Resident, mode: Any, n_jobs: int | None,
        norm: tuple[float, float] | None, layer: Head | None, blocks: Blocks | None,
    ) -> Any:  # fmt: skip
        """Run `_forward` for bags that are on the GPU, in the stream of their library."""
        device, owner = self.device, bags.arrays[1].owner
        fit = self._check_there(bags, mode, n_jobs)
        if fit is not bags:  # they had to be made again, on the host
            found = self._forward(fit, table, mode, n_jobs, norm, layer, blocks)
            if layer is not None:
                return found
            with device.active():
                there = device.put(found)
                device.synchronize()
                return lending.given_back(there[: bags.n_bags], 0, owner)
        with device.active():
            stream, goes_on = lending.stream_of(device, *bags.arrays)
            work = Work(self, *self._on_device(table), bags.padding_idx, mode, norm, layer, blocks)
            device.stream_at(lending.DEFAULT).synchronize()  # the table is there
            out = work.run(self.members_of(bags, work.dtype_of_rows, mode, stream), device.scratch, stream)
            if layer is not None or not goes_on:
                stream.synchronize()
            else:
                device.follow(stream)  # who changes the table next waits for those that still read it
            if layer is not None:
                return device.copy_out(out[: bags.n_bags], np.empty((bags.n_bags, *work.shape), work.dtype))
            return lending.given_back(out[: bags.n_bags], stream if goes_on else 0, owner)

    def members_of(self, bags: DeviceBags, dtype: np.dtype[Any], mode: Mode, stream: Any = 0) -> Members:
        """Return bags that came as device arrays, checked, with weights in the dtype of the table.

        Weights that only say who is a member, as those of a maximum do, say so before they are rounded.
        """
        weights, ids, indptr = (array.there() for array in bags.arrays)
        if weights.dtype != dtype:
            converted, n_threads = self.device.empty(bags.n_stored, dtype), min(1 << 20, bags.n_stored)
            kernel = checking.convert_kernel(THREADS, int(mode == "max" or not bags.weighted))
            self.device.launch(kernel, n_threads, weights, converted, stream=stream)
            weights = converted
        n = bags.n_members
        return Members(ids, weights, indptr, 0, bags.n_bags, n, bags.longest, not bags.weighted)

    def pool_members(
        self, rows: DeviceArray, members: Members, mode: str, padding_idx: int | None, out: DeviceArray, *,
        norm: tuple[float, float] | None = None, scales: DeviceArray | None = None, stream: Any = 0,
        memory: Memory | None = None, reduction: int = reducing.TOTAL, blocks: tuple[int, int, int] = kernels.ALONE,
    ) -> None:  # fmt: skip
        """Launch the pooling kernels; ``scales`` are what multiplies the rows, or None.

        ``memory(name, shape, dtype)`` gives scratch memory. ``reduction`` : of sums; for ``blocks`` see
        `pooling.pool_of`.
        """
        memory = memory or self.device.scratch
        if not members.n_bags:
            return
        dtype, dim = float_of(rows.dtype), rows.shape[1]
        ids, weights, factors = members.ids, members.weights, None
        if norm is not None and members.n_members:
            factors = memory("factors", (members.n_members,), dtype)
            self.norm_factors_of(rows, ids, members.n_members, norm, factors, stream, scales)
        elif scales is not None and members.n_members:
            factors = memory("factors", (members.n_members,), dtype)
            n_threads = min(1 << 20, members.n_members)
            kernel = norms.scales_kernel(THREADS)
            self.device.launch(kernel, n_threads, scales, ids, members.n_members, factors, stream=stream)
        only_names = members.filtered or mode == "max"
        weighting = reducing.UNIT if weights is None else reducing.FILTER if only_names else reducing.WEIGHTS
        reduction = reducing.LARGEST if mode == "max" else reduction
        kind = (reduction, MODES[mode], weighting, int(factors is not None), int(padding_idx is not None), 0)
        source = Source(rows, (), (), ids, *(() if array is None else array for array in (factors, weights)))
        padding = -1 if padding_idx is None else padding_idx
        segments = Segments(members.indptr, members.base, members.n_bags)
        windows = self.reduce_windows(
            kind, source, segments, members.n_members, members.longest, padding, stream, memory
        )  # fmt: skip
        shape = shape_of(dim, rows.dtype.itemsize)
        kernel = kernels.pool_kernel(kind, int(members.longest >= kernels.WINDOW), blocks, THREADS, *shape)
        self.device.launch(
            kernel, members.n_bags * shape[0], source, segments, padding, windows, out, stream=stream
        )  # fmt: skip

    def reduce_windows(
        self, kind: Any, source: Source, segments: Segments, n_members: int, longest: int, padding: int, stream: Any,
        memory: Memory,
    ) -> Windows:  # fmt: skip
        """Reduce the windows of long segments."""
        dtype, dim = float_of(source.rows.dtype), source.rows.shape[1]
        if longest < kernels.WINDOW:
            return Windows((), (), (), 0)
        n_windows = n_members // kernels.WINDOW + 1
        shape = shape_of(dim, source.rows.dtype.itemsize)
        partials, sizes = memory("partials", (n_windows, dim), dtype), memory("partial sizes", (n_windows,), dtype)
        windows = Windows(partials, (), sizes, 0)
        kernel = kernels.windows_kernel(kind, THREADS, *shape)
        self.device.launch(kernel, n_windows * shape[0], source, segments, padding, windows, stream=stream)
        if longest < kernels.WINDOW**2:
            return windows
        n_folds = n_members // kernels.WINDOW**2 + 1
        kernel = kernels.fold_kernel(kind[0], THREADS, *shape)
        self.device.launch(kernel, n_folds * shape[0], source, segments, windows, stream=stream)
        return windows._replace(folded=1)

    def norm_factors_of(
        self, rows: DeviceArray, ids: DeviceArray, n: int, norm: tuple[float, float], out: DeviceArray,
        stream: Any = 0, scales: DeviceArray | None = None,
    ) -> None:  # fmt: skip
        """Write the factors that bring the rows that n ids name down to max_norm, times their scales."""
        lanes, given = min(32, THREADS), self.nothing(out.dtype) if scales is None else scales
        kernel = norms.norm_factors_kernel(THREADS, lanes, int(scales is not None))
        self.device.launch(kernel, n * lanes, rows, given, ids, n, *norm, out, stream=stream)

    def nothing(self, dtype: Any) -> DeviceArray:
        """Return an array that stands for one that a kernel does not look at."""
        key = np.dtype(dtype)
        if key not in self._nothing:
            self._nothing[key] = self.device.full(1, 0, dtype)
        return self._nothing[key]

    def lookup(self, bags: Bags, table: Array | Resident, n_jobs: int | None) -> Array:
        """Return one row of the table per member: (n_members, dim); ValueError if an id is out of range."""
        if isinstance(table, QuantizedTable):  # to copy it there would take longer
            rows: Array = _cpu().lookup(bags, table, n_jobs)
            return rows
        device, n = self.device, bags.n_members
        if n <= _FEW:
            bags.made_for("sum", look(bags))
        with device.active():
            there = table.on(device) if isinstance(table, Resident) else device.put(table)
            ids = device.put(bags.indices[:n])
            if n > _FEW:
                members = Members(ids, None, device.put(bags.indptr), 0, bags.n_bags, n, 0)
                self._look_at(members, len(table), table.dtype, self._findings, 0, mend=True)
                device.synchronize()
                bags.made_for("sum", self._findings.found)
            found, shape = (
                device.empty((n, table.shape[1]), table.dtype),
                shape_of(table.shape[1], table.dtype.itemsize),
            )
            device.launch(kernels.lookup_kernel(THREADS, *shape), n * shape[0], there, ids, n, found)
            return device.copy_out(found[:n], np.empty((n, table.shape[1]), table.dtype))

    @staticmethod
    def norm_factors(table: Any, norm: tuple[float, float], n_jobs: int | None, indices: Array | None = None) -> Array:
        """Return the factors of a table or rows that are on the host, which the CPU backend does."""
        factors: Array = _cpu().norm_factors(table, norm, n_jobs, indices)
        return factors


def _cpu() -> Any:
    """Return the CPU backend, for what it does better: it is imported when it is needed, as its compiler takes time."""
    return shielded(import_module, "skbag._cpu.backend")


def _give_back(spare: list[Any], workspace: Workspace, most: float) -> None:
    if not spare and workspace.n_bytes <= most:
        spare.append(workspace)
