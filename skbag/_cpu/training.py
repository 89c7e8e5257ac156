"""The CPU backend's training: memory, threads, and the kernels that a mini-batch goes through."""

from functools import lru_cache
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skbag._cpu import backend as cpu
from skbag._cpu import calls, structs
from skbag._cpu.pace import Pace
from skbag._cpu.parts import (
    Entry,
    block_addresses,
    gather_address,
    head_address,
    layers_of,
    outputs_address,
    reduce_addresses,
    rows_address,
    train_entry,
    update_addresses,
)
from skbag._cpu.prediction import predict
from skbag._cpu.scratch import (
    Shape,
    batch_memory,
    chosen_memory,
    forward_of,
    layout_of,
    members_of,
    parts_memory,
    step_of,
)
from skbag._cpu.sharing import STOP, wait
from skbag._cpu.threads import effective_threads, run
from skbag._cpu.undo import give_back, take
from skbag._data.bags import Bags
from skbag._data.blocks import Blocks
from skbag._data.model import Model, Objective, Rates
from skbag._data.targets import Targets
from skbag._rules.losses import Loss
from skbag._rules.pooling import modes_of
from skbag._rules.solvers import Solver

__all__ = ["Trainer", "keep", "predict"]  # what ``skbag._backends.Training`` asks for

Array = NDArray[Any]

_WORK_OF_A_THREAD = 1 << 15  # multiplications of a mini-batch: with fewer, waiting for another thread costs more
_MOST_KEPT = 1 << 20  # bytes of scratch memory of a mini-batch that are kept for the next trainer
_LONG_STEP = 1 << 22  # multiplications of a mini-batch: with more, waiting for another thread costs nothing to speak of
_LONG_WORK = 1 << 24  # multiplications: from some 20 milliseconds on the main thread only waits, and can be interrupted


def keep(model: Model, dtype: np.dtype[Any]) -> Model:
    """Return a model as it is trained here: arrays that can be written to, copies where they could not be."""
    return model.writable(dtype)


class _Scratch(NamedTuple):
    """Memory for mini-batches, and what is given to the kernels in every step."""

    n_members: int
    n_entries: int
    keeps: bool  # for the next trainer: it is small
    record: calls.Record
    chosen: structs.Chosen


@lru_cache(maxsize=64)
def _plan_of(
    shape: Shape, layout: tuple[int, ...], loss: Loss, solver: Solver, outputs: type, batch_size: int, *, freeze: bool,
    by_freq: bool, shrinks: bool,
) -> structs.Plan:  # fmt: skip
    """Return how mini-batches go, and the kernels for them; ``shrinks``: rows do, by a penalty or a norm."""
    gathers = shape.blocks.interaction or "max" in modes_of(shape.blocks.mode)
    linear = solver.linear and shape.stored == shape.dtype and not (shrinks or by_freq or gathers)
    return structs.Plan(
        0, 0, batch_size, int(freeze), int(gathers), int(by_freq and gathers), int(linear), int(solver.row_state),
        solver.element_states, *reduce_addresses(layout, shape),
        head_address(shape.widths[-2], shape.kind, loss, outputs), *update_addresses(shape.dim, shape.kind, solver),
        gather_address(shape.dim, shape.kind, shape.blocks),
        0 if freeze else rows_address(shape.kind, linear=linear, gathers=gathers), outputs_address(shape.kind, outputs),
        *block_addresses(shape, back=True),
    )  # fmt: skip


def _sums(lengths: Array) -> Array:
    """Return where things of such lengths begin, and where the last one ends."""
    ends = np.empty(len(lengths) + 1, np.int64)
    ends[0] = 0
    np.cumsum(lengths, out=ends[1:])
    return ends


def _most(lengths: Array, n_together: int, needed: int) -> int:
    """Return how much room so many things of these lengths need in any order, which is no less than ``needed``.

    But not much more than that, if few of them are long.
    """
    n_others = len(lengths) - n_together
    longest = np.partition(lengths, n_others)[n_others:] if n_others > 0 else lengths
    return min(int(longest.sum()), needed + needed // 2)


class Trainer:
    """Trains a model on one set of checked bags; holds the scratch memory of its mini-batches.

    Parameters
    ----------
    bags : Bags
        Checked: ``backend.check`` has passed.
    targets : Targets
    sample_weight : ndarray of shape (n_bags,), float64
    model : Model
        Changed in place.
    objective : Objective
    batch_size, n_jobs : int
    undo : bool
        Whether to keep what rows of the table were, for `take_back`.
    """

    def __init__(
        self,
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
        self.bags, self.model, self.objective = bags, model, objective
        self.blocks = Blocks(objective.mode, bags.n_fields, objective.interaction)
        self._shape = Shape.of(model, self.blocks)
        self.batch_size = min(batch_size, bags.n_rows)
        edges = bags.indptr[:: bags.n_fields]
        self.lengths = (edges[1:] - edges[:-1]).astype(np.int64, copy=False)
        dtype = model.layers[0].weights.values.dtype
        values = np.empty(0, dtype) if targets.values is None else np.ascontiguousarray(targets.values, dtype)
        self._targets = targets.indices, targets.indptr, values, sample_weight
        some = objective.outputs
        self._n_entries = np.empty(0, np.int64) if some is None else some.sizes(targets)  # outputs of each bag
        self._pool_jobs, self.n_jobs = n_jobs, self._threads(n_jobs)
        self._kind = (
            "scratch",
            self.blocks,
            self.batch_size,
            self.n_jobs,
            objective.solver,
            objective.freeze,
            objective.outputs is None,
        )
        self._scratch: _Scratch | None = model.made.pop(self._kind, None)
        self._undo = take(model.table, bags.n_members if undo and not objective.freeze else 0, objective.solver)
        n_touched = int(self._n_entries.sum()) if undo and some is not None else 0
        self._layer_undo = take(model.layers[-1].weights, n_touched, objective.solver, "layer")
        self._copied = [each for each in model.parameters()[1:] if some is None or each is not model.layers[-1].weights]
        self._before = [parameters.copy() for parameters in self._copied] if undo else []
        self._steps_before = model.n_steps
        kind: Any = type(some)
        self._plan = _plan_of(
            self._shape, cpu.layout(model.table.values), objective.loss, objective.solver, kind, self.batch_size,
            freeze=objective.freeze, by_freq=objective.scale_grad_by_freq,
            shrinks=objective.alpha != 0 or objective.norm is not None,
        )  # fmt: skip

    def _threads(self, n_jobs: int | None) -> int:
        """Return how many threads a mini-batch may have; scratch memory grows with the square of them."""
        shape, bags = self._shape, self.bags
        work = int(self.batch_size * ((bags.n_members / bags.n_rows + 1) * shape.dim + self._work(shape)))
        n_threads = max(1, min(effective_threads(n_jobs), self.batch_size, work // _WORK_OF_A_THREAD))
        self._pace = Pace.of_long_steps(n_threads) if work > _LONG_STEP else Pace(n_threads)
        return n_threads

    def _work(self, shape: Shape) -> float:
        """Return how many multiplications the layers make of a row."""
        if self.objective.outputs is None:
            return shape.work
        return shape.work - shape.widths[-2] * (shape.n_outputs - float(self._n_entries.mean()))

    def outputs(self, rows: Array) -> Array:
        """Return the outputs of some rows, (len(rows), n_outputs)."""
        return predict(self.bags.of_rows(rows), self.model, self.blocks, self._pool_jobs)

    def epoch(self, order: Array, rates: Rates) -> float:
        """Go once through the bags in this order and return the mean loss; NaN if training diverged."""
        order_indptr, starts = _sums(self.lengths[order]), self._n_entries
        if self.objective.outputs is not None:
            starts = _sums(starts[order])
        n_batches = -(-len(order) // self.batch_size)
        edges = np.arange(n_batches + 1) * self.batch_size
        edges[-1] = len(order)
        most = (int((ends[edges[1:]] - ends[edges[:-1]]).max()) if len(ends) else 0 for ends in (order_indptr, starts))
        scratch = self._scratch_for(*most)
        losses = np.zeros(n_batches)
        first = 0
        while first < n_batches:
            n_threads, n = self._pace.turn(n_batches - first)
            start = perf_counter()
            if self._run(order, order_indptr, starts, rates, scratch, losses, range(first, first + n), n_threads):
                return float("nan")
            if self._pace.n_threads > 1:
                self._pace.note(n_threads, n, perf_counter() - start)
            first += n
        self.model.n_steps += n_batches
        return float(losses @ ((edges[1:] - edges[:-1]) / len(order)))

    def _run(
        self,
        order: Array,
        order_indptr: Array,
        starts: Array,
        rates: Rates,
        scratch: _Scratch,
        losses: Array,
        batches: range,
        n_threads: int,
    ) -> bool:
        """Run some mini-batches of an epoch in so many threads; return whether training diverged."""
        model, objective, shape = self.model, self.objective, self._shape
        begin, end = batches.start * self.batch_size, min(batches.stop * self.batch_size, len(order))
        order, order_indptr, starts = order[begin:end], order_indptr[begin : end + 1], starts[begin : end + 1]
        losses = losses[batches.start : batches.stop]
        tickets = np.zeros(5, np.int64)
        by_freq = objective.scale_grad_by_freq and not self._plan.gathers
        step_of_table = step_of(rates.initial, rates.slope, objective.alpha, objective.norm, by_freq=by_freq)
        n_layers, chosen = len(model.layers), scratch.chosen
        entry = self._entry()
        plan = self._plan._replace(number=model.n_steps + 1, first=batches.start)
        record = entry.passing.store(
            plan, step_of_table, members_of(self.bags, shape.dtype, order, order_indptr),
            (order, *self._targets), (starts, *chosen[1:]), self._undo, self._layer_undo, (tickets, losses),
            *self._layer_steps(rates),
        )  # fmt: skip
        records = scratch.record, record
        lasting, passing = (some.addresses for some in records)
        train = calls.calling(
            records, entry.address, *lasting[:-3 * n_layers], n_layers, *lasting[-3 * n_layers :: n_layers],
            *passing[: len(passing) - n_layers + 1],
        )  # fmt: skip
        n_tickets = 2 * self.n_jobs * len(losses)
        work = int(order_indptr[-1] - order_indptr[0] + len(order)) * shape.dim + int(len(order) * self._work(shape))

        def stop() -> None:
            tickets[STOP] = 1

        if n_threads == 1 and work <= _LONG_WORK:
            train()
            return bool(tickets[STOP])
        run(
            train, n_threads, lambda: wait(tickets, n_tickets, cpu._SPINS), stop,
            apart=work > _LONG_WORK,
        )  # fmt: skip
        return bool(tickets[STOP])

    def _layer_steps(self, rates: Rates) -> list[structs.Step]:
        """Return what the steps of each layer are made with."""
        objective = self.objective
        factors = *rates.hidden, (rates.layer, rates.intercept)
        norms = *objective.hidden_norms, objective.layer_norm
        steps = []
        for layer, (factor, intercept), norm in zip(self.model.layers, factors, norms, strict=True):
            alpha = objective.layer_alpha if layer is self.model.layers[-1] else objective.hidden_alpha
            length, exactly = norm or (np.inf, False)
            some = rates.initial * factor, rates.slope * factor, alpha, (float(length), 2.0), bool(exactly), intercept
            steps.append(step_of(*some))
        return steps

    def take_back(self) -> None:
        """Make the model what it was when the trainer was made, to the bit."""
        for undo, parameters in ((self._undo, self.model.table), (self._layer_undo, self.model.layers[-1].weights)):
            _, n_rows, rows, *kept = undo
            n = int(n_rows[0])
            for array, old in zip(parameters.arrays(), kept, strict=True):
                if len(old):
                    array[rows[:n]] = old[:n]
        for parameters, before in zip(self._copied, self._before, strict=True):
            for array, old in zip(parameters.arrays(), before.arrays(), strict=True):
                array[:] = old
        self.model.n_steps = self._steps_before

    def forget(self) -> None:
        """Give up what `take_back` needs; neither may be called any more."""
        solver = self.objective.solver
        give_back(self.model.table, self._undo, solver)
        give_back(self.model.layers[-1].weights, self._layer_undo, solver, "layer")
        if self._scratch is not None and self._scratch.keeps:
            self.model.made[self._kind] = self._scratch

    def _entry(self) -> Entry:
        return train_entry(self._shape.kind, self.bags.indices.dtype, len(self.model.layers))

    def _scratch_for(self, n_members: int, n_entries: int) -> _Scratch:
        """Memory for mini-batches of so many members and outputs of bags, kept from epoch to epoch."""
        found = self._scratch
        if found is None or n_members > found.n_members or n_entries > found.n_entries:
            shape, n, back = self._shape, self.batch_size, not self.objective.freeze
            n_members, n_entries = _most(self.lengths, n, n_members), _most(self._n_entries, n, n_entries)
            outputs, longest = self.objective.outputs, int(self._n_entries.max(initial=1))
            won = "max" in modes_of(self.blocks.mode)
            batch = batch_memory(shape, n, n_members, won=won, back=back, some=outputs is not None)
            chosen = chosen_memory(shape, outputs, self._n_entries[:0], n_entries, longest, self.n_jobs)
            parts = parts_memory(shape, n, n_members if back else 0, self.n_jobs)
            layers = layers_of(self.model.layers, self.model.activation, shape, batch, self.objective.solver)
            table, *others = (parameters.arrays() for parameters in self.model.parameters())
            keeps = outputs is None and sum(array.nbytes for array in batch) <= _MOST_KEPT
            record = self._entry().lasting.store(
                layout_of(self.blocks, shape.dim), forward_of(self.model.table.values), table,
                tuple(array[:0] for array in others[1]), batch, parts, *layers, *others[::2], *others[1::2],
            )  # fmt: skip
            self._scratch = found = _Scratch(n_members, n_entries, keeps, record, chosen)
        return found
