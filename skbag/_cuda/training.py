"""The CUDA backend's training: what lies on the GPU during an epoch, and the sequence of kernels of a step."""

from collections.abc import Callable
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skbag._cuda import backend as cuda  # first: it says what to install if Numba's CUDA is missing
from skbag._cuda.device import THREADS, Device, DeviceArray, as_device_array
from skbag._data.bags import Bags, DeviceBags
from skbag._data.model import Model, Objective
from skbag._data.resident import Resident

# isort: split
from skbag._cuda import pooling
from skbag._cuda import train_kernels as kernels

Array = NDArray[Any]

LOSSES = {"softmax": kernels.SOFTMAX, "sigmoid": kernels.SIGMOID}
SOLVERS = {"sgd": kernels.SGD, "adagrad": kernels.ADAGRAD}
_ITEMS = 15  # keys of a thread in a tile: odd, so that threads use different banks
_BITS = 6  # of a digit
_SCAN_THREADS = 1024
_STEPS_AT_ONCE = 64  # between two looks at whether training has diverged


@cache
def trainer(index: int) -> SimpleNamespace:
    """Return Model, Objective and Trainer for a GPU."""
    backend = cuda.backend(index)
    bound = type("DeviceModel", (DeviceModel,), {"backend": backend})
    return SimpleNamespace(Model=bound, Objective=Objective, Trainer=partial(Trainer, backend))


class DeviceModel(Model):
    """A model whose table, with its state, stays on the GPU; the small arrays are on the host between epochs."""

    backend: cuda.Backend
    table: Any  # Resident, like table_state
    table_state: Any

    def __init__(self, *arrays: Any) -> None:
        super().__init__(*arrays)
        self.table, self.table_state = self.backend.hold(self.table), self.backend.hold(self.table_state)

    @classmethod
    def from_fitted(cls, arrays: tuple[Any, ...], dtype: np.dtype[Any]) -> Self:
        """Take fitted arrays to train on; a table that is on the GPU stays there."""
        dtypes = (dtype,) * 3 + (np.dtype(np.float64),) * 3
        return cls(*(
            array if isinstance(array, Resident) else np.array(array, kind, order="C")
            for array, kind in zip(arrays, dtypes, strict=True)
        ))  # fmt: skip

    def undo_of(self, ids: Any) -> Callable[[], None]:
        """Return a function that takes back what changes from now on in the rows that ids name and the small arrays."""
        backend, small = self.backend, [array.copy() for array in self.small_arrays()]
        with backend.device.active():
            table, state = self.table.on(backend.device), self.table_state.on(backend.device)
            rows, n = Sorter(backend, len(ids), len(table)).unique(ids)
            saved_rows = backend.rows_at(table, rows, n)
            saved_state = backend.rows_at(state.reshape(len(state), 1), rows, n)

        def undo() -> None:
            with backend.device.active():
                backend.put_rows_at(table, rows, n, saved_rows)
                backend.put_rows_at(state.reshape(len(state), 1), rows, n, saved_state)
                self.table.changed()
                self.table_state.changed()
            for array, old in zip(self.small_arrays(), small, strict=True):
                array[:] = old

        return undo


def row_type(nobody: int) -> np.dtype[Any]:
    """Return the dtype for numbers of rows up to ``nobody``."""
    return np.dtype(np.int32 if nobody < 1 << 31 else np.int64)


def check_size(n_members: int) -> None:
    """Raise ValueError if members cannot be numbered by int32."""
    if n_members >= 1 << 31:
        raise ValueError(
            f"On a GPU at most 2**31 - 1 members are trained on at once, got {n_members}: use a smaller batch_size, "
            "and smaller batches in partial_fit."
        )


class Sorter:
    """Sorts members by their rows and finds the runs of equal rows; holds the memory for up to n_members of them."""

    def __init__(self, backend: cuda.Backend, n_members: int, num_embeddings: int) -> None:
        check_size(n_members)
        self.device = device = backend.device
        self.nobody = num_embeddings  # the row of members that do not count: sorted behind all others
        self.row_type = row_type(num_embeddings)
        self._buffers = [(device.empty(n_members, self.row_type), device.empty(n_members, np.int32)) for _ in range(2)]
        self._counts = device.empty((1 << _BITS) * self._n_tiles(n_members) + 1, np.int32)
        self.starts = device.empty(n_members + 1, np.int32)
        self.rows = device.empty(n_members, self.row_type)
        self.n_segments = device.empty(1, np.int64)

    @staticmethod
    def _n_tiles(n: int) -> int:
        return -(-n // (THREADS * _ITEMS))

    def _scan(self, n: int) -> None:
        self.device.launch_blocks(kernels.scan_kernel(_SCAN_THREADS), 1, self._counts, n, threads=_SCAN_THREADS)

    def sort(self, rows: DeviceArray, n: int) -> DeviceArray:
        """Find the runs (starts, rows, n_segments) of the first n rows; return the members in the order of the rows."""
        n_tiles, keys, members = self._n_tiles(n), rows, self._buffers[0][1]
        for k, shift in enumerate(range(0, self.nobody.bit_length(), _BITS)):
            sorted_keys, sorted_members = self._buffers[k % 2]
            count = kernels.count_digits_kernel(THREADS, _ITEMS, _BITS)
            self.device.launch_blocks(count, n_tiles, keys, n, shift, n_tiles, self._counts)
            self._scan((1 << _BITS) * n_tiles)
            scatter = kernels.scatter_digits_kernel(int(k == 0), self.row_type.itemsize // 8, THREADS, _ITEMS, _BITS)
            self.device.launch_blocks(
                scatter, n_tiles, keys, members, n, shift, n_tiles, self._counts, sorted_keys, sorted_members
            )  # fmt: skip
            keys, members = sorted_keys, sorted_members
        self.device.launch_blocks(kernels.count_heads_kernel(THREADS, _ITEMS), n_tiles, keys, n, self._counts)
        self._scan(n_tiles)
        self.device.launch_blocks(
            kernels.write_heads_kernel(THREADS, _ITEMS), n_tiles, keys, n, self.nobody, n_tiles, self._counts,
            self.starts, self.rows, self.n_segments,
        )  # fmt: skip
        return members

    def unique(self, ids: Any) -> tuple[DeviceArray, int]:
        """Return the ids without repetition, and how many there are."""
        if not len(ids):
            return self.rows, 0
        host = not hasattr(ids, "__cuda_array_interface__")
        self.sort(self.device.put(ids.astype(self.row_type)) if host else as_device_array(ids), len(ids))
        return self.rows, int(self.n_segments.copy_to_host()[0])


class Trainer:
    """Trains a model on one set of checked bags; parameters and methods as those of the CPU backend's.

    The bags are copied to the GPU when it is made and must fit there, with the table and with one mini-batch.
    """

    def __init__(
        self,
        backend: cuda.Backend,
        bags: Bags,
        y_indices: Array,
        y_indptr: Array,
        sample_weight: Array,
        model: Any,
        objective: Objective,
        batch_size: int,
        n_jobs: int | None,
    ) -> None:
        self.backend, self.device = backend, backend.device
        self.bags, self.model, self.objective = bags, model, objective
        self.batch_size, self.n_jobs = min(batch_size, bags.n_bags), n_jobs
        self._scratch: _Scratch | None = None
        with self.device.active():
            if isinstance(bags, DeviceBags):
                self._members = backend.members_of(bags, model.table.dtype)
                self._indptr = self._members.indptr.copy_to_host()
            else:
                n, put = bags.n_members, self.device.put
                weights = None if bags.weights is None else put(bags.weights[:n])
                self._indptr = bags.indptr
                self._members = cuda.Members(put(bags.indices[:n]), weights, put(bags.indptr), 0, bags.n_bags, n, n)
            self.lengths = np.diff(self._indptr).astype(np.int64)
            self._targets = self.device.put(y_indices), self.device.put(y_indptr), self.device.put(sample_weight)
            self._small = [self.device.put(array) for array in model.small_arrays()]
        self._nobody = bags.num_embeddings
        self._longest = int(self.lengths.max(initial=0))

    def pool(self, rows: Array) -> Array:
        """Return the pooled features of some bags."""
        model, n = self.model, len(rows)
        with self.device.active():
            order_indptr = self._order_indptr(rows)
            n_members = int(order_indptr[-1])
            memory = _Members(self, n_members)
            members = self._expand(self.device.put(rows), self.device.put(order_indptr), n, 0, n_members, memory)
            out = self.device.empty((n, model.table.shape[1]), model.table.dtype)
            table = model.table.on(self.device)
            self.backend.pool_members(table, members, self.objective.mode, self._nobody, out)
            return self.device.copy_out(out[:n], np.empty((n, out.shape[1]), out.dtype))

    def epoch(self, order: Array, rates: tuple[float, float]) -> float:
        """Go once through the bags in this order and return the mean loss; NaN if training diverged.

        ``rates`` is the learning rate of the first mini-batch and what each mini-batch takes off it.
        """
        order_indptr = self._order_indptr(order)
        n_batches = -(-len(order) // self.batch_size)
        firsts = np.minimum(np.arange(n_batches + 1) * self.batch_size, len(order))
        edges = order_indptr[firsts]
        with self.device.active():
            scratch = self._scratch_for(int(np.diff(edges).max()))
            on_device = self.device.put(order), self.device.put(order_indptr)
            losses, stop = self.device.empty(n_batches, np.float64), self.device.full(1, 0, np.int32)
            for k in range(n_batches):
                first, last = int(firsts[k]), int(firsts[k + 1])
                orders = on_device[0][first:last], on_device[1][first : last + 1]
                n_members = int(edges[k + 1] - edges[k])
                rate = rates[0] - rates[1] * k
                self._step(scratch, *orders, last - first, int(edges[k]), n_members, rate, k, losses, stop)
                if k % _STEPS_AT_ONCE == _STEPS_AT_ONCE - 1 and stop.copy_to_host()[0]:
                    break
            diverged = bool(stop.copy_to_host()[0])
            batch_losses = losses.copy_to_host()[:n_batches]
            for array, small in zip(self.model.small_arrays(), self._small, strict=True):
                array[:] = small.copy_to_host().reshape(array.shape)
        return float("nan") if diverged else float(batch_losses @ np.diff(firsts) / len(order))

    def _order_indptr(self, order: Array) -> Array:
        return np.concatenate(([0], np.cumsum(self.lengths[order])))

    def _expand(
        self, order: DeviceArray, batch_indptr: DeviceArray, n_bags: int, base: int, n_members: int, memory: "_Members"
    ) -> cuda.Members:
        """Copy the members of some bags together; those that do not count get the row ``_nobody``."""
        every, padding = self._members, -1 if self.bags.padding_idx is None else self.bags.padding_idx
        weighting = pooling.UNIT if every.weights is None else pooling.WEIGHTS
        weights = self.backend.nothing(self.model.table.dtype) if every.weights is None else every.weights
        self.device.launch(
            kernels.expand_kernel(pooling.FILTER if every.filtered else weighting, THREADS), n_members,
            order, batch_indptr, n_bags, n_members, every.ids, weights, every.indptr, padding,
            self._nobody, memory.rows, memory.weights, memory.bags,
        )  # fmt: skip
        weights = None if every.weights is None or every.filtered else memory.weights
        return cuda.Members(memory.rows, weights, batch_indptr, base, n_bags, n_members, self._longest)

    def _step(
        self, scratch: "_Scratch", order: DeviceArray, batch_indptr: DeviceArray, n_bags: int, base: int,
        n_members: int, rate: float, batch: int, losses: DeviceArray, stop: DeviceArray,
    ) -> None:  # fmt: skip
        """Train on one mini-batch."""
        objective, launch, model = self.objective, self.device.launch, self.model
        coef, intercept, _, intercept_state = self._small
        n_outputs, dim = coef.shape
        members = self._expand(order, batch_indptr, n_bags, base, n_members, scratch.members)
        table, training = model.table.on(self.device), (scratch.winners, scratch.sizes)
        self.backend.pool_members(
            table, members, objective.mode, self._nobody, scratch.pooled, training=training, windows=scratch.windows
        )
        gradients = scratch.logits
        launch(kernels.logits_kernel(THREADS), n_bags * n_outputs, scratch.pooled, coef, intercept, n_bags, gradients)
        launch(
            kernels.loss_kernel(LOSSES[objective.loss], THREADS), n_bags, gradients, n_bags, n_outputs, order,
            *self._targets, scratch.losses,
        )  # fmt: skip
        if not objective.freeze and n_members:
            shape, sized = cuda.shape_of(dim, coef.dtype.itemsize), int(objective.mode in ("mean", "sqrtn"))
            launch(
                kernels.bag_gradients_kernel(sized, THREADS, *shape), n_bags * shape[0], coef, gradients, n_bags,
                scratch.sizes, scratch.gradients,
            )  # fmt: skip
            self._update_table(scratch, members, rate, stop)
        self._update_outputs(scratch, n_bags, rate, stop)
        self.device.launch_blocks(
            kernels.finish_kernel(SOLVERS[objective.solver], THREADS), n_outputs + 1, gradients, n_bags, scratch.losses,
            rate, intercept, intercept_state, batch, losses, stop,
        )  # fmt: skip

    def _update_table(self, scratch: "_Scratch", members: cuda.Members, rate: float, stop: DeviceArray) -> None:
        """Sort the members by row, and change every row once."""
        objective, model, sorter, n = self.objective, self.model, scratch.sorter, members.n_members
        order, weighted = sorter.sort(members.ids, n), members.weights is not None
        self.device.launch(
            kernels.arrange_kernel(THREADS), n, order, n, scratch.members.bags, scratch.members.weights,
            scratch.sorted_bags, scratch.sorted_weights,
        )  # fmt: skip
        won = objective.mode == "max"
        weighting = pooling.WEIGHTS if weighted and not won else pooling.UNIT
        kind = (pooling.WON if won else pooling.TOTAL, pooling.MEAN, weighting, 0, 0, 0)
        nothing = self.backend.nothing(model.table.dtype)
        source = scratch.gradients, scratch.winners, order, scratch.sorted_bags, nothing, scratch.sorted_weights
        segments = sorter.starts, n, sorter.n_segments, sorter.rows
        norm = objective.norm or (np.inf, 2.0)
        options = rate, self._penalty(rate), objective.scale_grad_by_freq, *norm
        arrays = model.table.on(self.device), model.table_state.on(self.device)
        model.table.changed()
        model.table_state.changed()
        self._update(scratch, kind, source, segments, n, n, options, arrays, stop)

    def _penalty(self, rate: float) -> float:
        """Return the alpha of a step; for "sgd" at most 1 / rate: it makes a row max(0, 1 - rate * alpha) * row."""
        alpha = float(self.objective.alpha)
        return min(alpha, 1 / rate) if self.objective.solver == "sgd" else alpha

    def _update_outputs(self, scratch: "_Scratch", n_bags: int, rate: float, stop: DeviceArray) -> None:
        """Change every row of coef: its gradient is a sum over all bags of the mini-batch."""
        coef, _, coef_state, _ = self._small
        nothing = self.backend.nothing
        kind = (pooling.TOTAL, pooling.MEAN, pooling.WEIGHTS, 0, 0, 1)
        empty = nothing(np.int32, 2), nothing(np.int32), nothing(np.int32), nothing(coef.dtype)
        starts, rows = scratch.outputs(self.device, n_bags, len(coef))
        segments = starts, len(coef), nothing(np.int64), rows
        options = rate, self._penalty(rate), False, np.inf, 2.0
        self._update(
            scratch, kind, (scratch.pooled, *empty, scratch.logits), segments, n_bags * len(coef), n_bags, options,
            (coef, coef_state), stop,
        )  # fmt: skip

    def _update(
        self, scratch: "_Scratch", kind: Any, source: Any, segments: Any, n_members: int, longest: int, options: Any,
        arrays: Any, stop: DeviceArray,
    ) -> None:  # fmt: skip
        starts, n_segments, limit, rows = segments
        windows = self.backend.reduce_windows(
            kind, source, starts, n_segments, 0, n_members, longest, -1, limit, windows=scratch.windows
        )
        shape = cuda.shape_of(arrays[0].shape[1], arrays[0].dtype.itemsize)
        kernel = kernels.update_kernel(kind, SOLVERS[self.objective.solver], THREADS, *shape)
        self.device.launch(
            kernel, n_segments * shape[0], *source, starts, n_segments, limit, rows, *windows, *options, *arrays, stop
        )

    def _scratch_for(self, n_members: int) -> "_Scratch":
        """Memory for mini-batches of up to n_members members, kept from epoch to epoch."""
        check_size(n_members)
        if self._scratch is None or self._scratch.n_members < n_members:
            self._scratch = None  # its memory first
            self._scratch = _Scratch(self, n_members)
        return self._scratch


class _Members:
    """Memory for members that are copied together."""

    def __init__(self, trainer: Trainer, n_members: int) -> None:
        empty, dtype = trainer.device.empty, trainer.model.table.dtype
        self.rows = empty(n_members, row_type(trainer._nobody))
        self.weights, self.bags = empty(n_members, dtype), empty(n_members, np.int32)


class _Scratch:
    """Memory for mini-batches of up to n_members members."""

    def __init__(self, trainer: Trainer, n_members: int) -> None:
        empty, model, n = trainer.device.empty, trainer.model, trainer.batch_size
        dim, dtype, n_outputs = model.table.shape[1], model.table.dtype, len(model.coef)
        self.n_members = n_members
        self.members = _Members(trainer, n_members)
        won = trainer.objective.mode == "max"
        self.pooled, self.winners = empty((n, dim), dtype), empty((n, dim) if won else (1, 1), np.int32)
        self.sizes, self.logits, self.losses = empty(n, dtype), empty(n * n_outputs, dtype), empty(n, np.float64)
        if not trainer.objective.freeze:
            self.gradients = empty((n, dim), dtype)
            self.sorter = Sorter(trainer.backend, n_members, trainer._nobody)
            self.sorted_bags, self.sorted_weights = empty(n_members, np.int32), empty(n_members, dtype)
        n_windows = max(n_members, n * n_outputs) // pooling.WINDOW + 1
        self.windows = (
            empty((n_windows, dim), dtype), empty((n_windows, dim) if won else (1, 1), np.int32),
            empty(n_windows, dtype),
        )  # fmt: skip
        self._outputs: dict[int, tuple[DeviceArray, DeviceArray]] = {}

    def outputs(self, device: Device, n_bags: int, n_outputs: int) -> tuple[DeviceArray, DeviceArray]:
        """Return where the members of every output begin, and the numbers of the outputs."""
        if n_bags not in self._outputs:
            self._outputs[n_bags] = device.put(np.arange(n_outputs + 1) * n_bags), device.put(np.arange(n_outputs))
        return self._outputs[n_bags]
