"""The CPU backend's training: scratch memory, threads, and the kernels that a mini-batch goes through."""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._cpu import backend as cpu
from skbag._cpu import calls, forward, head, pooling, step, structs, update
from skbag._cpu.threads import effective_threads, run
from skbag._data.bags import Bags
from skbag._data.model import Model, Objective, Parameters, Rates
from skbag._data.targets import Targets
from skbag._rules.pooling import MODES

Array = NDArray[Any]

_ROWS = 32  # that are updated together
_WORK_OF_A_THREAD = 1 << 17  # multiplications of a mini-batch: with fewer, waiting for another thread costs more
_LONG_WORK = 1 << 24  # multiplications: from some 20 milliseconds on the main thread only waits, and can be interrupted


def block_of(dtype: np.dtype[Any]) -> int:
    """Return how many outputs a vector of the head holds."""
    return cpu._registers()[0] // dtype.itemsize


def _narrow(n_rows: int) -> np.dtype[Any]:
    """Return the dtype of ids in scratch memory."""
    return np.dtype(np.int32 if n_rows < 1 << 31 else np.int64)


def _scratch(
    n_bags: int, n_members: int, own_members: int, n_parts: int, model: Model, *, won: bool, back: bool
) -> tuple[structs.Batch, structs.Parts]:
    """Return scratch memory of a mini-batch: of how many bags and members, of which a part may own so many.

    ``won`` says whether members are kept that win a maximum, ``back`` whether gradients go back to the table.
    """
    (n_rows, dim), dtype, n_outputs = model.table.values.shape, model.table.values.dtype, len(model.layer.values)
    block, ints, ids = block_of(dtype), np.int64, np.int32 if n_rows < 1 << 31 else np.int64
    columns = -(-n_outputs // block) * block
    n = max(n_bags * min(_ROWS, n_outputs, max(1, 1024 // n_bags)), _ROWS)
    batch = structs.Batch(
        np.zeros(n_members, ids), np.zeros(n_members, dtype), np.zeros(n_members, ids),
        np.empty(n_bags, ints), np.empty(n_bags, ints), np.empty((n_bags, dim), dtype),
        np.empty((n_bags if won else 0, dim), ints), np.zeros((n_bags, columns), dtype),
        np.empty((n_bags if back else 0, dim), dtype), np.empty(n_bags),
    )  # fmt: skip
    parts = structs.Parts(
        np.empty(n_parts, ints), np.empty((n_parts, n_parts), ints), np.empty((n_parts, own_members), np.int32),
        np.empty((n_parts, 2, own_members), ints), np.empty((n_parts, 2, 2048), np.int32),
        np.empty((n_parts, _ROWS), ints), np.empty((n_parts, _ROWS), ints), np.empty((n_parts, _ROWS), ints),
        np.zeros((n_parts, n), dtype), np.arange(max(n_bags, _ROWS)), np.arange(max(n_bags, _ROWS), dtype=ids),
        np.empty((n_parts, _ROWS, dim), dtype), np.empty((n_parts, _ROWS)), np.zeros((n_parts, columns), dtype),
    )  # fmt: skip
    return batch, parts


@lru_cache(maxsize=16)
def _kinds(dtype: np.dtype[Any], many: bool) -> SimpleNamespace:
    """Return the Numba types of what parts of kernels are given; ``many`` is for tables of 2 ** 31 rows."""
    rows, numbers, n = np.empty((1, 1), dtype), np.empty(1, dtype), np.empty(1, np.int64)
    table, bias = (structs.Parameters(values, np.empty(1), values, values) for values in (rows, numbers))
    fake = SimpleNamespace(values=np.broadcast_to(rows, (1 << 31 if many else 1, 1)))
    batch, parts = _scratch(1, 1, 1, 1, Model(fake, table, bias), won=False, back=False)  # type: ignore[arg-type]
    targets = structs.Targets(n, n, n, numbers, np.empty(1))
    examples = {
        "terms": n, "weights": numbers, "ids": batch.ids, "rows": rows, "table": table, "bias": bias, "batch": batch, "parts": parts, "targets": targets,
        "step": _step(), "tickets": n, "count": 0, "rate": 0.0,
    }  # fmt: skip
    return SimpleNamespace(**{name: calls.kind_of(example) for name, example in examples.items()})


def _step(rate: float = 1.0, slope: float = 0.0, alpha: float = 0.0, norm: Any = None, by_freq: bool = False) -> Any:
    return structs.Step(float(rate), float(slope), float(alpha), *(norm or (np.inf, 2.0)), by_freq)


@lru_cache(maxsize=64)
def addresses(layout: tuple[int, ...], dim: int, dtype: np.dtype[Any], many: bool, loss: Any, solver: Any) -> Any:
    """Return the addresses of the parts of a mini-batch: reduce, head, update and add, or 0 where there is none.

    ``layout`` is that of the table, see ``backend.layout``. Compiles what has not been compiled for it.
    """
    lanes, vectors, copies, _, every, _, whole = layout
    kinds = _kinds(dtype, many)
    count = kinds.count
    reducing = calls.address_of(
        forward.reduce_kernel(lanes, vectors, copies, every, whole), kinds.table, kinds.batch, *(count,) * 3
    )
    heading = calls.address_of(
        head.head_kernel(lanes, block_of(dtype), loss),
        kinds.targets, kinds.table, kinds.bias, kinds.batch, kinds.parts, *(count,) * 5,
    )  # fmt: skip
    n_vectors = -(-dim // lanes)
    tile = lanes, min(n_vectors, update.MOST_VECTORS), n_vectors <= update.MOST_VECTORS
    updating = calls.address_of(
        update.update_kernel(*tile, solver),
        kinds.terms, count, kinds.weights, count, kinds.ids, kinds.rows, kinds.parts, count, count, kinds.table, kinds.bias, kinds.step, count, kinds.rate, kinds.tickets,
    )  # fmt: skip
    adding = 0
    if solver.linear:
        arguments = kinds.batch, kinds.parts, count, count, count, kinds.rate, kinds.table, kinds.tickets
        adding = calls.address_of(update.add_kernel(*tile), *arguments)
    return reducing, heading, updating, adding


def _in_kernel(parameters: Parameters) -> tuple[Array, ...]:
    """Return the arrays of parameters; states that there are not as ones without rows."""
    return parameters.values, parameters.state, parameters.first, parameters.second


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
        self.bags, self.model, self.objective, self.targets = bags, model, objective, targets
        self.batch_size = min(batch_size, bags.n_bags)
        self.lengths = np.diff(bags.indptr).astype(np.int64)
        dtype = model.table.values.dtype
        values = np.empty(0, dtype) if targets.values is None else np.ascontiguousarray(targets.values, dtype)
        self._targets = targets.indices, targets.indptr, values, sample_weight
        self.n_jobs = self._threads(n_jobs)
        self._scratch: tuple[Any, ...] | None = None
        self._scratch_members = -1
        self._undo = self._undo_memory(undo)
        self._before = [parameters.copy() for parameters in model.parameters()[1:]] if undo else []
        self._steps_before = model.n_steps

    def _threads(self, n_jobs: int | None) -> int:
        """Return how many threads a mini-batch feeds; scratch memory grows with the square of them."""
        bags, dim = self.bags, self.model.table.values.shape[1]
        of_a_bag = bags.n_members / bags.n_bags + 1 + len(self.model.layer.values)
        work = int(self.batch_size * of_a_bag * dim)
        return max(1, min(effective_threads(n_jobs), self.batch_size, work // _WORK_OF_A_THREAD))

    def epoch(self, order: Array, rates: Rates) -> float:
        """Go once through the bags in this order and return the mean loss; NaN if training diverged."""
        order_indptr = np.concatenate(([0], np.cumsum(self.lengths[order])))
        n_batches = -(-len(order) // self.batch_size)
        edges = order_indptr[np.minimum(np.arange(n_batches + 1) * self.batch_size, len(order))]
        scratch = self._scratch_for(int(np.diff(edges).max()))
        losses = np.zeros(n_batches)
        if self._run(order, order_indptr, rates, scratch, losses):
            return float("nan")
        self.model.n_steps += n_batches
        sizes = np.full(n_batches, self.batch_size)
        sizes[-1] = len(order) - (n_batches - 1) * self.batch_size
        return float(losses @ sizes / len(order))

    def _run(self, order: Array, order_indptr: Array, rates: Rates, scratch: Any, losses: Array) -> bool:
        """Run all mini-batches; return whether training diverged."""
        model, objective, bags = self.model, self.objective, self.bags
        table, dtype = model.table.values, model.table.values.dtype
        tickets = np.zeros(3, np.int64)
        nothing = tuple(array[:0] for array in _in_kernel(model.intercept))
        steps = (
            _step(rates.initial, rates.slope, objective.alpha, objective.norm, self._by_freq),
            _step(rates.initial * rates.layer, rates.slope * rates.layer, objective.alpha),
        )
        padding_idx = -1 if bags.padding_idx is None else int(bags.padding_idx)
        weights = np.empty(0, dtype) if bags.weights is None else bags.weights
        arguments = (
            tuple(self._plan()), *map(tuple, steps),
            (weights, bags.indices, bags.indptr, padding_idx, order, order_indptr), (order, *self._targets),
            *map(_in_kernel, model.parameters()), nothing, *scratch, self._undo, tickets, losses,
        )  # fmt: skip
        n_tickets = 2 * self.n_jobs * len(losses)
        work = int(order_indptr[-1] + len(order) * (1 + len(model.layer.values))) * table.shape[1]

        def stop() -> None:
            tickets[update.STOP] = 1

        run(
            lambda: step.train(*arguments), self.n_jobs, lambda: pooling.wait(tickets, n_tickets, cpu._SPINS), stop,
            apart=work > _LONG_WORK,
        )  # fmt: skip
        return bool(tickets[update.STOP])

    @property
    def _by_freq(self) -> bool:
        return self.objective.scale_grad_by_freq and self.objective.mode != "max"

    def _plan(self) -> structs.Plan:
        """Return how a mini-batch goes, and the kernels for it."""
        model, objective = self.model, self.objective
        table, solver = model.table.values, objective.solver
        layout = cpu.layout(table)
        linear = (
            solver.linear and objective.alpha == 0 and objective.norm is None
            and not objective.scale_grad_by_freq and objective.mode != "max"
        )  # fmt: skip
        return structs.Plan(
            model.n_steps + 1, MODES[objective.mode], self.batch_size, objective.freeze,
            objective.scale_grad_by_freq and not self._by_freq, linear, layout[3], solver.element_states,
            *addresses(layout, table.shape[1], table.dtype, len(table) >= 1 << 31, objective.loss, solver),
        )  # fmt: skip

    def _undo_memory(self, undo: bool) -> tuple[Array, ...]:
        """Memory for all rows that an epoch can change; what is not used of it is never touched."""
        table = self.model.table
        n_rows = min(len(table.values), self.bags.n_members) if undo and not self.objective.freeze else 0
        touched = np.zeros(len(table.values) if n_rows else 0, np.uint8)
        copies = (np.empty((min(n_rows, len(array)), *array.shape[1:]), array.dtype) for array in table.arrays())
        return touched, np.zeros(1, np.int64), np.empty(n_rows, np.int64), *copies

    def take_back(self) -> None:
        """Make the model what it was when the trainer was made, to the bit."""
        _, n_rows, rows, *kept = self._undo
        n = int(n_rows[0])
        for array, old in zip(self.model.table.arrays(), kept, strict=True):
            if len(old):
                array[rows[:n]] = old[:n]
        for parameters, before in zip(self.model.parameters()[1:], self._before, strict=True):
            for array, old in zip(parameters.arrays(), before.arrays(), strict=True):
                array[:] = old
        self.model.n_steps = self._steps_before

    def _scratch_for(self, n_members: int) -> tuple[Any, ...]:
        """Memory for mini-batches of up to n_members members, kept from epoch to epoch."""
        if self._scratch is None or n_members > self._scratch_members:
            trains_table = not self.objective.freeze
            scratch = _scratch(
                self.batch_size, n_members, n_members if trains_table else 0, self.n_jobs, self.model,
                won=self.objective.mode == "max", back=trains_table,
            )  # fmt: skip
            self._scratch = tuple(map(tuple, scratch))
            self._scratch_members = n_members
        return self._scratch
