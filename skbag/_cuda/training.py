"""The CUDA backend's training: what lies on the GPU during an epoch, and what is kept to take a call back."""

from contextlib import suppress
from functools import cache, partial
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._cuda import backend as cuda  # first: it says what to install if Numba's CUDA is missing
from skbag._cuda.device import DeviceArray
from skbag._data.bags import Bags
from skbag._data.model import Layer, Model, Objective, Parameters, Rates
from skbag._data.on_device import DeviceBags
from skbag._data.quantized import BITS
from skbag._data.resident import Resident
from skbag._data.targets import Targets
from skbag._rules.solvers import Solver

# isort: split
from skbag._cuda import copying, structs
from skbag._cuda.parts import Cut, Run, bags_of, cuts_of, steps_of
from skbag._cuda.sorter import check_size, number_type, unique
from skbag._cuda.staging import Members
from skbag._cuda.undo import Undo
from skbag._cuda.work import float_of
from skbag._cuda.workspace import Workspace

Array = NDArray[Any]

_FIRST_TURN = 16  # mini-batches, as long as nothing is known of their time
_TURN = 0.1  # seconds of a launch, after which a call may be interrupted


@cache
def trainer(index: int) -> SimpleNamespace:
    """Return Trainer, keep and predict for a GPU."""
    backend = cuda.backend(index)
    return SimpleNamespace(Trainer=partial(Trainer, backend), keep=keep, predict=backend.predict)


def keep(model: Model, dtype: np.dtype[Any]) -> Model:
    """Return a model as it is trained here: the table on the GPU from its first use on, the rest on the host.

    A table of float16 or bfloat16 stays what it is.
    """

    def on_host(array: Any, kind: Any) -> Any:
        return np.require(array, kind, ["C", "A", "W"])

    def resident(array: Any, kind: Any) -> Any:
        return array if isinstance(array, Resident) else Resident(np.require(array, kind, ["C", "A"]))

    def kept(parameters: Parameters, where: Any) -> Parameters:
        own = parameters.values.dtype
        kinds = own if own in BITS.values() else dtype, np.dtype(np.float64), dtype, dtype
        return Parameters(*map(where, parameters.arrays(), kinds))

    layers = tuple(Layer(kept(layer.weights, on_host), kept(layer.intercepts, on_host)) for layer in model.layers)
    return Model(kept(model.table, resident), layers, model.n_steps, model.activation, model.tree)


def _used(solver: Solver) -> tuple[str, ...]:
    """Return the names of the arrays of Parameters that a solver looks at."""
    states = ("first", "second")[: solver.element_states]
    return ("values", *(("state",) if solver.row_state else ()), *states)


def _parameters_of(names: tuple[str, ...], arrays: list[Any]) -> structs.Parameters:
    """Return some of the arrays of parameters as a kernel is given them."""
    missing = dict.fromkeys(structs.Parameters._fields, ())
    return structs.Parameters(**(missing | dict(zip(names, arrays, strict=True))))


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
        self.batch_size = min(batch_size, bags.n_rows)
        dtype = float_of(model.table.values.dtype)
        with self.device.active():
            self._workspace = backend.borrow(self)
            self._members = self._put_bags(dtype)
            targets = _sorted(targets)
            values = [] if targets.values is None else [np.ascontiguousarray(targets.values, dtype)]
            indices, indptr, weight, *values = self._workspace.put(
                "targets", targets.indices, targets.indptr, sample_weight, *values
            )
            self._targets = structs.Targets(indices, indptr, values[0] if values else (), weight)
            self._undo = self._new_undo() if undo else None
            self._rows: tuple[Any, int] | None = None  # that were sorted, and of how many bags

    def _new_undo(self) -> Undo:
        used = () if self.objective.freeze else _used(self.objective.solver)
        return Undo(self.device, self._workspace, self.model, used)

    def _put_bags(self, dtype: Any) -> Members:
        bags = self.bags
        if isinstance(bags, DeviceBags):
            members = self.backend.members_of(bags, dtype, self.objective.mode)
            indptr = members.indptr.copy_to_host()[: bags.n_bags + 1]
        else:
            n = bags.n_members
            put, weights = self._workspace.put_alone, bags.weights
            ids, starts, indptr = put("ids", bags.indices[:n]), put("indptr", bags.indptr), bags.indptr
            there = None if weights is None else put("given weights", weights[:n])
            members = Members(ids, there, starts, 0, bags.n_bags, n, n)
        lengths = np.diff(indptr)
        members.longest = int(lengths.max(initial=0))
        self.lengths = lengths.astype(number_type(members.longest))
        return members

    def outputs(self, rows: Array) -> Array:
        """Return the outputs of some bags, (len(rows), n_outputs)."""
        n, device, n_outputs = len(rows), self.device, self.model.widths[-1]
        order, lengths = np.asarray(rows, number_type(self.bags.n_bags)), self._lengths_of(rows)
        n_members = int(lengths.sum(dtype=np.int64))
        check_size(n_members)
        with device.active():
            run, workspace = self._run(learning=False), Workspace(device)
            cut = Cut(0, 1, np.array([0, n_members]))
            small = workspace.put("small", np.zeros(1), np.zeros(1, np.int32))
            epoch = run.epoch_of(
                workspace, self._members, self._padding, n, cut, order, lengths,
                np.zeros((1, 3 * len(self.model.widths))), small, self._targets,
                self._parameters(workspace, changing=False),
            )  # fmt: skip
            given = workspace.packed("given", epoch)
            run.prepare(epoch, given, cut.n_members)
            run.outputs(given)
            out = np.empty((n, n_outputs), float_of(self.model.table.values.dtype))
            device.copy_out(epoch.layers.items[0].outputs[: out.size], out.reshape(-1))
            return out

    def epoch(self, order: Array, rates: Rates) -> float:
        """Go once through the bags in this order and return the mean loss; NaN if training diverged."""
        lengths, n_batches, n_fields = self._lengths_of(order), -(-len(order) // self.batch_size), self.bags.n_fields
        order = order.astype(number_type(self.bags.n_bags))
        firsts = np.minimum(np.arange(n_batches + 1) * self.batch_size, len(order))
        sizes = np.add.reduceat(lengths, firsts[:-1] * n_fields, dtype=number_type(self._members.n_members))
        batch_losses, self._diverged = np.zeros(n_batches), np.zeros(1, np.int32)
        steps = steps_of(self.objective, self.model.n_steps + 1, rates, n_batches)
        with self.device.active():
            parameters = self._parameters(self._workspace, changing=True)
            for cut in cuts_of(np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))):
                check_size(cut.n_members)
                batches, rows = slice(cut.first, cut.last), slice(firsts[cut.first], firsts[cut.last])
                some = lengths[rows.start * n_fields : rows.stop * n_fields]
                if not self._run_cut(cut, order[rows], some, steps[batches], batch_losses[batches], parameters):
                    break
            self._copy_back()
        if self._diverged[0]:
            return float("nan")
        self.model.n_steps += n_batches
        return float(batch_losses @ np.diff(firsts) / len(order))

    def _run_cut(self, cut: Cut, order: Array, lengths: Array, steps: Array, losses: Array, parameters: Any) -> bool:
        """Train on the mini-batches of a cut, in launches of a fraction of a second; return whether to go on."""
        run, n_batches, workspace = self._run(), cut.last - cut.first, self._workspace
        small = losses, self._diverged
        there = workspace.put("losses", *small)
        epoch = run.epoch_of(
            workspace, self._members, self._padding, self.batch_size, cut, order, lengths, steps, there, self._targets,
            parameters,
        )  # fmt: skip
        given = workspace.packed("given", epoch)
        run.prepare(epoch, given, cut.n_members)
        self._rows = epoch.sorting, len(order)
        if self._undo is not None and not self._undo.is_saved:
            self._undo.save(*self._rows_that_change(*self._rows))
        first, n = 0, _FIRST_TURN
        while first < n_batches and not self._diverged[0]:
            start, last = perf_counter(), min(n_batches, first + n)
            run.train(given, first, last)
            workspace.get("losses", *small)  # waits for the end
            n = max(1, min(4 * n, int(n * _TURN / max(perf_counter() - start, 1e-6))))
            first = last
        return not self._diverged[0]

    def _rows_that_change(self, sorting: structs.Sorting, n_bags: int) -> tuple[DeviceArray, int]:
        """Return the rows that all bags name, on the GPU, and how many there are; of one mini-batch they are sorted."""
        ids, n = self._members.ids, self._members.n_members
        if self.objective.freeze or not n:
            return ids, 0
        if min(n_bags, self.batch_size) == self.bags.n_rows:
            return sorting.rows, int(self.device.copy_out(sorting.firsts, np.empty(2, np.int64))[1])
        return unique(self.device, ids, n, self.bags.num_embeddings)

    def _lengths_of(self, rows: Array) -> Array:
        return copying.taken(self.lengths, bags_of(rows, self.bags.n_fields))

    def _run(self, *, learning: bool = True) -> Run:
        valued = learning and not isinstance(self._targets.values, tuple)
        return Run(
            self.backend, self.objective, self.model, self._members, self.bags.n_fields, valued=valued,
            learning=learning,
        )  # fmt: skip

    @property
    def _padding(self) -> int:
        return -1 if self.bags.padding_idx is None else int(self.bags.padding_idx)

    def _parameters(self, workspace: Workspace, *, changing: bool) -> list[structs.Parameters]:
        """Copy the small arrays to the GPU; with ``changing`` also states, and the table will be written to there."""
        model, used = self.model, _used(self.objective.solver) if changing else ("values",)
        table: Any = model.table
        of_table = used if changing and not self.objective.freeze else ("values",)
        found = [_parameters_of(of_table, [getattr(table, name).on(self.device) for name in of_table])]
        if changing and not self.objective.freeze:
            for name in used:
                getattr(table, name).changed()
        there = workspace.put("layers", *self._small(used))
        each = [there[k : k + len(used)] for k in range(0, len(there), len(used))]
        return found + [_parameters_of(used, arrays) for arrays in each]

    def _small(self, used: tuple[str, ...]) -> list[Array]:
        return [getattr(parameters, name) for parameters in self.model.parameters()[1:] for name in used]

    def _copy_back(self) -> None:
        self._workspace.get("layers", *self._small(_used(self.objective.solver)))

    def take_back(self) -> None:
        """Make the model what it was when the trainer was made, to the bit."""
        assert self._undo is not None
        with self.device.active():
            self._undo.take_back()

    def forget(self) -> None:
        """Give up what `take_back` needs; neither may be called any more.

        Where nothing was kept, in the first call of a stream of mini-batches, there is memory for it from now on, if
        the GPU has so much: the next call has nothing to allocate.
        """
        if self._undo is None and self._rows is not None and self.batch_size == self.bags.n_rows:
            with suppress(MemoryError), self.device.active():
                rows, n = self._rows_that_change(*self._rows)
                if n:
                    self._new_undo().reserve(rows, n)
        self._undo = None
