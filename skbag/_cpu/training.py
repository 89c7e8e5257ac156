"""The CPU backend's training: memory, threads, and the kernels that a mini-batch goes through."""

from collections.abc import Callable
from functools import lru_cache
from operator import is_
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skbag._cpu import backend as cpu
from skbag._cpu import calls, structs
from skbag._cpu.pace import Pace
from skbag._cpu.parts import (
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
    nothing,
    parts_memory,
    step_of,
)
from skbag._cpu.sharing import STOP, wait
from skbag._cpu.undo import give_back, take
from skbag._data.bags import Bags
from skbag._data.blocks import Blocks
from skbag._data.model import Model, Objective, Rates
from skbag._data.targets import Targets
from skbag._rules.losses import Loss
from skbag._rules.pooling import modes_of
from skbag._rules.solvers import Solver
from skbag._threads import effective_threads, run

__all__ = ["Trainer", "keep", "predict"]  # what ``skbag._backends.Training`` asks for

Array = NDArray[Any]

_WORK_OF_A_THREAD = 1 << 15  # multiplications of a mini-batch: with fewer, waiting for another thread costs more
_MOST_KEPT = 1 << 26  # bytes of scratch memory of a mini-batch that are kept for the next call
_FEW_MEMBERS = 1 << 12  # for so many there is memory, so that a small call need not ask how many a mini-batch has
_LONG_STEP = 1 << 22  # multiplications of a mini-batch: with more, waiting for another thread costs nothing to speak of
_INT64 = np.dtype(np.int64)
_LONG_WORK = 1 << 24  # multiplications: from some 20 milliseconds on the main thread only waits, and can be interrupted


def keep(model: Model, dtype: np.dtype[Any]) -> Model:
    """Return a model as it is trained here: arrays that can be written to, copies where they could not be."""
    return model.writable(dtype)


class _Scratch(NamedTuple):
    """Memory for mini-batches, and what is given to the kernels in every step."""

    n_members: int
    n_entries: int
    keeps: bool  # for the next call of partial_fit: it is not large
    record: calls.Record
    chosen: structs.Chosen


class _Settings(NamedTuple):
    """What holds for many mini-batches as the kernels are given it, and the call with what is new in each."""

    of: tuple[Any, ...]
    record: calls.Record
    call: calls.Record
    work: Callable[[], None]


@lru_cache(maxsize=64)
def _plan_of(
    shape: Shape, layout: tuple[int, ...], loss: Loss, solver: Solver, outputs: type, batch_size: int, *, freeze: bool,
    by_freq: bool, shrinks: bool,
) -> structs.Plan:  # fmt: skip
    """Return how mini-batches go, and the kernels for them; ``shrinks``: rows do, by a penalty or a norm."""
    gathers = shape.blocks.interaction or "max" in modes_of(shape.blocks.mode)
    linear = solver.linear and shape.stored == shape.dtype and not (shrinks or by_freq or gathers)
    return structs.Plan(
        batch_size, int(freeze), int(gathers), int(by_freq and gathers), int(linear), int(solver.row_state),
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
    lengths.cumsum(out=ends[1:])
    return ends


def _most(lengths: Array, n_together: int, needed: int) -> int:
    """Return how much room so many things of these lengths need in any order, which is no less than ``needed``.

    But not much more than that, if few of them are long, and many are more than a few.
    """
    n_others = len(lengths) - n_together
    longest = np.partition(lengths, n_others)[n_others:] if n_others > 0 else lengths
    return max(min(int(longest.sum()), needed + needed // 2), min(int(lengths.sum()), _FEW_MEMBERS))


def _edges(n: int, batch_size: int) -> Array:
    """Return where mini-batches of n bags begin, and where the last one ends."""
    edges = np.arange(-(-n // batch_size) + 1) * batch_size
    edges[-1] = n
    return edges


class Trainer:
    """Trains a model on one set of checked bags after the other; holds the scratch memory of its mini-batches.

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

    bags: Any
    _targets: tuple[Any, ...]
    _before: list[Array]

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
        self.model, self.objective = model, objective
        self.blocks = Blocks(objective.mode, bags.n_fields, objective.interaction)
        self._shape, self._layout = Shape.of(model, self.blocks), cpu.layout(model.table.values)
        self._most_rows, self._pool_jobs, self._work = batch_size, n_jobs, self._shape.work
        of_layers, some = model.parameters()[1:], model.layers[-1].weights if objective.outputs is not None else None
        self._copied = [array for each in of_layers if each is not some for array in each.arrays() if len(array)]
        self.batch_size = self.n_jobs = 0
        self._long, self._ids = False, _INT64
        self._scratch: _Scratch | None = None
        self._settings: _Settings | None = None
        self._undo: Any = None
        self._layer_undo: Any = None
        self._kept: tuple[Any, Any] = None, None  # both after the call before
        self.take(bags, targets, sample_weight, undo=undo)

    def take(self, bags: Bags, targets: Targets, sample_weight: Array, *, undo: bool = False) -> None:
        """Take other bags, of as many fields; what `take_back` could have brought back is forgotten."""
        model, objective, some = self.model, self.objective, self.objective.outputs
        self.bags, shape = bags, self._shape
        edges = bags.indptr[:: bags.n_fields] if bags.n_fields > 1 else bags.indptr
        self.lengths = (edges[1:] - edges[:-1]).astype(np.int64, copy=False)
        dtype = shape.dtype
        values = nothing(dtype) if targets.values is None else np.ascontiguousarray(targets.values, dtype)
        self._targets = targets.indices, targets.indptr, values, sample_weight
        self._n_entries = nothing(_INT64) if some is None else some.sizes(targets)  # outputs of each bag
        ids, n_bags = bags.indices.dtype, min(self._most_rows, bags.n_rows)
        n_threads, long = self._threads(n_bags)
        if (n_bags, n_threads, long, ids) != (self.batch_size, self.n_jobs, self._long, self._ids):
            self.batch_size, self.n_jobs, self._long, self._ids = n_bags, n_threads, long, ids
            self._pace = Pace.of_long_steps(n_threads) if long else Pace(n_threads)
            self._entry = train_entry(shape.kind, ids, len(model.layers))
            kind: Any = type(some)
            self._plan = _plan_of(
                shape, self._layout, objective.loss, objective.solver, kind, n_bags, freeze=objective.freeze,
                by_freq=objective.scale_grad_by_freq, shrinks=objective.alpha != 0 or objective.norm is not None,
            )  # fmt: skip
            self._scratch = None
        n_touched = bags.n_members if undo and not objective.freeze else 0
        self._undo = take(self._undo, model.table, n_touched, objective.solver, "table")
        n_touched = int(self._n_entries.sum()) if undo and some is not None else 0
        self._layer_undo = take(self._layer_undo, model.layers[-1].weights, n_touched, objective.solver, "layer")
        self._before = [array.copy() for array in self._copied] if undo else []
        self._steps_before = model.n_steps

    def _threads(self, n_bags: int) -> tuple[int, bool]:
        """Return how many threads mini-batches of so many bags may have, and whether these are long.

        Scratch memory grows with the square of them.
        """
        shape, bags = self._shape, self.bags
        work = int(n_bags * ((bags.n_members / bags.n_rows + 1) * shape.dim + self._work_of_bag()))
        most = min(n_bags, work // _WORK_OF_A_THREAD)
        if most <= 1 and self._pool_jobs != 0:
            return 1, False  # without a look at joblib's context, which takes as long as a small call
        return max(1, min(effective_threads(self._pool_jobs), most)), work > _LONG_STEP

    def _work_of_bag(self) -> float:
        """Return how many multiplications the layers make of a row."""
        shape = self._shape
        if self.objective.outputs is None:
            return self._work
        return self._work - shape.widths[-2] * (shape.n_outputs - float(self._n_entries.mean()))

    def outputs(self, rows: Array) -> Array:
        """Return the outputs of some rows, (len(rows), n_outputs)."""
        return predict(self.bags.of_rows(rows), self.model, self.blocks, self._pool_jobs)

    def epoch(self, order: Array, rates: Rates) -> float:
        """Go once through the bags in this order and return the mean loss; NaN if training diverged."""
        order_indptr, starts, n = _sums(self.lengths[order]), self._n_entries, len(order)
        if self.objective.outputs is not None:
            starts = _sums(starts[order])
        settings = self._settings_for(order_indptr, starts, rates)
        n_batches = -(-n // self.batch_size)
        losses = np.zeros(n_batches)
        first = 0
        while first < n_batches:
            n_threads, n_now = self._pace.turn(n_batches - first)
            start = perf_counter()
            if self._run(order, order_indptr, starts, settings, losses, range(first, first + n_now), n_threads):
                return float("nan")
            if self._pace.n_threads > 1:
                self._pace.note(n_threads, n_now, perf_counter() - start)
            first += n_now
        self.model.n_steps += n_batches
        in_last = n - (n_batches - 1) * self.batch_size
        return float(self.batch_size * losses[:-1].sum() + in_last * losses[-1]) / n

    def _run(
        self,
        order: Array,
        order_indptr: Array,
        starts: Array,
        settings: _Settings,
        losses: Array,
        batches: range,
        n_threads: int,
    ) -> bool:
        """Run some mini-batches of an epoch in so many threads; return whether training diverged."""
        shape = self._shape
        begin, end = batches.start * self.batch_size, min(batches.stop * self.batch_size, len(order))
        order, order_indptr = order[begin:end], order_indptr[begin : end + 1]
        tickets = np.zeros(5, np.int64)
        losses = losses[batches.start : batches.stop]
        members = members_of(self.bags, shape.dtype, order, order_indptr)
        targets = order, *self._targets, starts[begin : end + 1]
        progress = tickets, losses, self.model.n_steps + batches.start + 1, batches.start
        work = int(order_indptr[-1] - order_indptr[0] + len(order)) * shape.dim + int(len(order) * self._work_of_bag())
        alone = n_threads == 1 and work <= _LONG_WORK
        some = members, targets, progress
        if alone:
            settings.call.fill(*some)
            settings.work()
        else:
            train = self._call_of(settings.of[1].record, settings.record, self._entry.passing.store(*some))

            def stop() -> None:
                tickets[STOP] = 1

            n_tickets = 2 * self.n_jobs * len(losses)
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
        for array, old in zip(self._copied, self._before, strict=True):
            array[:] = old
        self.model.n_steps = self._steps_before

    def forget(self) -> None:
        """Give up what `take_back` needs; what may be called next is `take`."""
        solver, model, kept = self.objective.solver, self.model, self._kept
        if self._undo is not kept[0] or self._layer_undo is not kept[1]:
            self._undo = give_back(self._undo, model.table, solver, "table")
            self._layer_undo = give_back(self._layer_undo, model.layers[-1].weights, solver, "layer")
            self._kept = self._undo, self._layer_undo
        if self._scratch is not None and not self._scratch.keeps:
            self._scratch = None
        if self._scratch is None or self._undo is None or self._layer_undo is None:
            self._settings = None  # it has the memory that is given back
        if self._settings is not None:
            self._settings.call.forget()
        self.bags, self._targets, self._before = None, (), []  # no array of the user is held

    def _settings_for(self, order_indptr: Array, starts: Array, rates: Rates) -> _Settings:
        """Return what holds for the mini-batches of an epoch; that of the epoch before if it is the same."""
        scratch, objective = self._scratch_for(order_indptr, starts), self.objective
        of = rates, scratch, self._plan, self._undo, self._layer_undo
        found = self._settings
        if found is not None and rates == found.of[0] and all(map(is_, of[1:], found.of[1:])):
            return found
        by_freq = objective.scale_grad_by_freq and not self._plan.gathers
        step_of_table = step_of(rates.initial, rates.slope, objective.alpha, objective.norm, by_freq=by_freq)
        record = self._entry.settings.store(
            self._plan, step_of_table, scratch.chosen, self._undo, self._layer_undo, *self._layer_steps(rates)
        )
        call = calls.Record(self._entry.passing)
        self._settings = found = _Settings(of, record, call, self._call_of(scratch.record, record, call))
        return found

    def _call_of(self, *records: calls.Record) -> Callable[[], None]:
        """Return the call of ``step.train`` with what lasts, the settings and what is new."""
        n = len(self.model.layers)
        lasting, settings, passing = (record.addresses for record in records)
        return calls.calling(
            records, self._entry.address, *lasting[: -3 * n], n, *lasting[-3 * n :: n],
            *settings[: len(settings) - n + 1], *passing,
        )  # fmt: skip

    def _scratch_for(self, order_indptr: Array, starts: Array) -> _Scratch:
        """Return memory for mini-batches of an epoch, that of the epoch before if it is enough."""
        found, n = self._scratch, self.batch_size
        n_all, n_chosen = int(order_indptr[-1]), int(starts[-1]) if len(starts) else 0
        if found is not None and n_all <= found.n_members and n_chosen <= found.n_entries:
            return found
        edges = _edges(len(order_indptr) - 1, n)
        most = (int((ends[edges[1:]] - ends[edges[:-1]]).max()) if len(ends) else 0 for ends in (order_indptr, starts))
        n_members, n_entries = most
        if found is not None and n_members <= found.n_members and n_entries <= found.n_entries:
            return found
        shape, back, outputs = self._shape, not self.objective.freeze, self.objective.outputs
        n_members, n_entries = _most(self.lengths, n, n_members), _most(self._n_entries, n, n_entries)
        longest, won = int(self._n_entries.max(initial=1)), "max" in modes_of(self.blocks.mode)
        batch = batch_memory(shape, n, n_members, won=won, back=back, some=outputs is not None)
        chosen = chosen_memory(shape, outputs, n_entries, longest, self.n_jobs)
        parts = parts_memory(shape, n, n_members if back else 0, self.n_jobs)
        layers = layers_of(self.model.layers, self.model.activation, shape, batch, self.objective.solver)
        table, *others = (parameters.arrays() for parameters in self.model.parameters())
        keeps = outputs is None and sum(array.nbytes for array in (*batch, *parts)) <= _MOST_KEPT
        record = self._entry.lasting.store(
            layout_of(self.blocks, shape.dim), forward_of(self.model.table.values), table,
            tuple(array[:0] for array in others[1]), batch, parts, *layers, *others[::2], *others[1::2],
        )  # fmt: skip
        self._scratch = found = _Scratch(n_members, n_entries, keeps, record, chosen)
        return found
