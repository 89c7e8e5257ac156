"""The CUDA backend's training: what lies on the GPU during an epoch, and what is kept to take a call back."""

from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._cuda import backend as cuda  # first: it says what to install if Numba's CUDA is missing
from skbag._cuda.device import THREADS, DeviceArray
from skbag._data.bags import Bags, DeviceBags
from skbag._data.model import Layer, Model, Objective, Parameters, Rates
from skbag._data.resident import Resident
from skbag._data.targets import Targets
from skbag._rules.solvers import Solver

# isort: split
from skbag._cuda import head, structs
from skbag._cuda.sorter import Sorter, check_size
from skbag._cuda.staging import Members
from skbag._cuda.step import Batch, Memory, Steps

Array = NDArray[Any]

_STEPS_AT_ONCE = 64  # between two looks at whether training has diverged


@cache
def trainer(index: int) -> SimpleNamespace:
    """Return Trainer, keep and predict for a GPU."""
    backend = cuda.backend(index)
    return SimpleNamespace(Trainer=partial(Trainer, backend), keep=keep, predict=backend.predict)


def keep(model: Model, dtype: np.dtype[Any]) -> Model:
    """Return a model as it is trained here: the table on the GPU from its first use on, the rest on the host."""

    def on_host(array: Any, kind: Any) -> Any:
        return np.require(array, kind, ["C", "A", "W"])

    def resident(array: Any, kind: Any) -> Any:
        return array if isinstance(array, Resident) else Resident(np.require(array, kind, ["C", "A"]))

    def kept(parameters: Parameters, where: Any) -> Parameters:
        return Parameters(*map(where, parameters.arrays(), (dtype, np.dtype(np.float64), dtype, dtype)))

    layers = tuple(Layer(kept(layer.weights, on_host), kept(layer.intercepts, on_host)) for layer in model.layers)
    return Model(kept(model.table, resident), layers, model.n_steps)


def _used(solver: Solver) -> tuple[str, ...]:
    """Return the names of the arrays of Parameters that a solver looks at."""
    states = ("first", "second")[: solver.element_states]
    return ("values", *(("state",) if solver.row_state else ()), *states)


def _sorted(targets: Targets) -> Targets:
    """Return targets whose columns are sorted in every row."""
    rows = np.repeat(np.arange(len(targets.indptr) - 1), np.diff(targets.indptr))
    falls = (np.diff(targets.indices) < 0) & (np.diff(rows) == 0)
    if not falls.any():
        return targets
    order = np.lexsort((targets.indices, rows))
    values = None if targets.values is None else targets.values[order]
    return Targets(targets.indices[order], targets.indptr, values, targets.n_outputs)


class Trainer:
    """Trains a model on one set of checked bags; parameters and methods as those of the CPU backend's.

    The bags are copied to the GPU when it is made and must fit there, with the table and with one mini-batch.
    """

    def __init__(
        self,
        backend: cuda.Backend,
        bags: Bags,
        targets: Targets,
        sample_weight: Array,
        model: Model,
        objective: Objective,
        batch_size: int,
        n_jobs: int | None,
        *,
        undo: bool = False,
    ) -> None:
        self.backend, self.device = backend, backend.device
        self.bags, self.model, self.objective, self.n_jobs = bags, model, objective, n_jobs
        self.batch_size = min(batch_size, bags.n_bags)
        self._memory: Memory | None = None
        dtype, put = model.table.values.dtype, self.device.put
        with self.device.active():
            self._members = self._put_bags(dtype)
            targets = _sorted(targets)
            values = () if targets.values is None else put(np.ascontiguousarray(targets.values, dtype))
            self._targets = structs.Targets(put(targets.indices), put(targets.indptr), values, put(sample_weight))
            self._undo = _Undo(self) if undo else None

    def _put_bags(self, dtype: Any) -> Members:
        bags, put = self.bags, self.device.put
        if isinstance(bags, DeviceBags):
            members = self.backend.members_of(bags, dtype)
            self.lengths = np.diff(members.indptr.copy_to_host()[: bags.n_bags + 1]).astype(np.int64)
        else:
            n = bags.n_members
            weights = None if bags.weights is None else put(bags.weights[:n])
            members = Members(put(bags.indices[:n]), weights, put(bags.indptr), 0, bags.n_bags, n, n)
            self.lengths = np.diff(bags.indptr).astype(np.int64)
        members.longest = int(self.lengths.max(initial=0))
        return members

    def outputs(self, rows: Array) -> Array:
        """Return the outputs of some bags, (len(rows), n_outputs)."""
        n, device, n_outputs = len(rows), self.device, self.model.widths[-1]
        order_indptr = self._order_indptr(rows)
        with device.active():
            steps, memory = self._steps(), self._memory_for(n, int(order_indptr[-1]), kept=False)
            batch = Batch(device.put(rows), device.put(order_indptr), 0, n, int(order_indptr[-1]), 1, 0.0, 0.0, 0.0)
            steps.forward(batch, memory)
            layer = steps.layer.values, steps.intercept.values
            device.launch(head.outputs_kernel(0, THREADS), n * n_outputs, memory.pooled, *layer, n, memory.outputs)
            out = np.empty((n, n_outputs), self.model.table.values.dtype)
            device.copy_out(memory.outputs[: out.size], out.reshape(-1))
            return out

    def epoch(self, order: Array, rates: Rates) -> float:
        """Go once through the bags in this order and return the mean loss; NaN if training diverged."""
        order_indptr, device = self._order_indptr(order), self.device
        n_batches = -(-len(order) // self.batch_size)
        firsts = np.minimum(np.arange(n_batches + 1) * self.batch_size, len(order))
        edges = order_indptr[firsts]
        with device.active():
            memory = self._memory_for(self.batch_size, int(np.diff(edges).max()))
            steps, bags, indptr = self._steps(changing=True), device.put(order), device.put(order_indptr)
            losses, stop = device.empty(n_batches, np.float64), device.full(1, 0, np.int32)
            for k in range(n_batches):
                first, last, rate = int(firsts[k]), int(firsts[k + 1]), rates.initial - rates.slope * k
                batch = Batch(
                    bags[first:last], indptr[first : last + 1], int(edges[k]), last - first,
                    int(edges[k + 1] - edges[k]), self.model.n_steps + 1 + k, rate, rate * rates.layer,
                    rate * rates.layer * rates.intercept,
                )  # fmt: skip
                steps.run(batch, memory, k, losses, stop)
                if k % _STEPS_AT_ONCE == _STEPS_AT_ONCE - 1 and stop.copy_to_host()[0]:
                    break
            diverged = bool(stop.copy_to_host()[0])
            batch_losses = losses.copy_to_host()[:n_batches]
            self._copy_back(steps)
        if diverged:
            return float("nan")
        self.model.n_steps += n_batches
        return float(batch_losses @ np.diff(firsts) / len(order))

    def _order_indptr(self, order: Array) -> Array:
        return np.concatenate(([0], np.cumsum(self.lengths[order])))

    def _steps(self, changing: bool = False) -> Steps:
        """Copy the small arrays to the GPU; with ``changing`` also states, and the table will be written to there."""
        model, used, only_read = self.model, _used(self.objective.solver), ("values",)

        def on_device(parameters: Parameters, names: tuple[str, ...]) -> structs.Parameters:
            arrays: dict[str, Any] = dict.fromkeys(structs.Parameters._fields, ())
            for name in names:
                array = getattr(parameters, name)
                arrays[name] = array.on(self.device) if isinstance(array, Resident) else self.device.put(array)
            return structs.Parameters(**arrays)

        table = on_device(model.table, used if changing and not self.objective.freeze else only_read)
        if changing and not self.objective.freeze:
            for name in used:
                getattr(model.table, name).changed()
        layers = (on_device(parameters, used if changing else only_read) for parameters in model.parameters()[1:])
        return Steps(self.backend, self.objective, self._members, self.bags.padding_idx, self._targets, table, *layers)

    def _copy_back(self, steps: Steps) -> None:
        for parameters, there in zip(self.model.parameters()[1:], (steps.layer, steps.intercept), strict=True):
            for name in _used(self.objective.solver):
                host = getattr(parameters, name)
                host[:] = getattr(there, name).copy_to_host().reshape(host.shape)

    def take_back(self) -> None:
        """Make the model what it was when the trainer was made, to the bit."""
        assert self._undo is not None
        with self.device.active():
            self._undo.take_back()

    def forget(self) -> None:
        """Give up what `take_back` needs; neither may be called any more."""
        self._undo = None

    def _memory_for(self, n_bags: int, n_members: int, kept: bool = True) -> Memory:
        """Memory for mini-batches of up to n_members members, kept from epoch to epoch."""
        check_size(n_members)
        if kept and self._memory is not None and self._memory.n_members >= n_members:
            return self._memory
        table, objective = self.model.table.values, self.objective
        if kept:
            self._memory = None  # its memory first
        shape = *table.shape, self.model.widths[-1]
        won, back = kept and objective.mode == "max", kept and not objective.freeze
        memory = Memory(self.backend, shape, table.dtype, n_bags, n_members, won=won, back=back)
        if kept:
            self._memory = memory
        return memory


class _Undo:
    """What the rows that the bags of a trainer name, and the small arrays, were when this was made."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self._n_steps = trainer, trainer.model.n_steps
        self._small = [parameters.copy() for parameters in trainer.model.parameters()[1:]]
        self._rows: DeviceArray = None
        self._n, self._saved = 0, []
        members = trainer._members
        if not trainer.objective.freeze:
            sorter = Sorter(trainer.device, members.n_members, trainer.bags.num_embeddings)
            self._rows, self._n = sorter.unique(members.ids, members.n_members)
            self._saved = [
                trainer.backend.rows_at(array, self._rows, self._n) for _, array in self._arrays()
            ]  # fmt: skip

    def _arrays(self) -> list[tuple[Resident, DeviceArray]]:
        """Return the arrays of the table that change, and as two-dimensional ones on the GPU."""
        table: Any = self._trainer.model.table
        found = []
        for name in _used(self._trainer.objective.solver):
            array = getattr(table, name)
            there = array.on(self._trainer.device)
            found.append((array, there if len(array.shape) == 2 else there.reshape(len(there), 1)))
        return found

    def take_back(self) -> None:
        """Put everything back."""
        trainer = self._trainer
        if self._saved:
            for (array, there), saved in zip(self._arrays(), self._saved, strict=True):
                trainer.backend.put_rows_at(there, self._rows, self._n, saved)
                array.changed()
        for parameters, before in zip(trainer.model.parameters()[1:], self._small, strict=True):
            for small, old in zip(parameters.arrays(), before.arrays(), strict=True):
                small[:] = old
        trainer.model.n_steps = self._n_steps
