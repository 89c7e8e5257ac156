"""A step of training on a GPU: the memory of a mini-batch, and the sequence of kernels from its bags to changed rows.

Members of a mini-batch are copied together in the order of its bags and pooled; the head makes gradients of bags; the
members are sorted by row, and every run of equal rows is a segment of ``skbag._cuda.update``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from skbag._cuda import backend as cuda
from skbag._cuda import forward, head, pooling, sorting, structs, update
from skbag._cuda.device import THREADS, DeviceArray
from skbag._cuda.sorter import Sorter, row_type
from skbag._cuda.staging import Members
from skbag._data.model import Objective
from skbag._rules.pooling import MEAN
from skbag._rules.solvers import Solver


@dataclass
class Batch:
    """A mini-batch: its bags, where their members lie among those of the epoch, and the step it makes."""

    order: DeviceArray
    indptr: DeviceArray  # of the epoch's order, from the first bag on
    base: int  # indptr[0]
    n_bags: int
    n_members: int
    number: int  # of the step: 1, 2, ...
    rate: float
    layer_rate: float
    intercept_rate: float


class Memory:
    """Memory for mini-batches of up to so many bags and members, and for members that are copied together."""

    def __init__(
        self, backend: cuda.Backend, shape: tuple[int, int, int], dtype: Any, n_bags: int, n_members: int, *,
        won: bool, back: bool,
    ) -> None:  # fmt: skip
        """Allocate it for a model of the shape (num_embeddings, dim, n_outputs).

        ``won`` says whether it is kept who wins a maximum, ``back`` whether gradients go back to the table.
        """
        (n_rows, dim, n_outputs), empty, n = shape, backend.device.empty, n_bags
        self.n_members = n_members
        self.rows = empty(n_members, row_type(n_rows))
        self.weights, self.bags = empty(n_members, dtype), empty(n_members, np.int32)
        self.pooled, self.winners = empty((n, dim), dtype), empty((n, dim) if won else (1, 1), np.int32)
        self.sizes, self.outputs, self.losses = empty(n, dtype), empty(n * n_outputs, dtype), empty(n, np.float64)
        if back:
            self.gradients = empty((n, dim), dtype)
            self.sorter = Sorter(backend.device, n_members, n_rows)
            self.sorted_bags, self.sorted_weights = empty(n_members, np.int32), empty(n_members, dtype)
        self.windows = backend.windows(max(n_members, n * n_outputs) // pooling.WINDOW + 1, dim, dtype, won)
        self._runs: dict[int, tuple[DeviceArray, DeviceArray]] = {}

    def runs(self, backend: cuda.Backend, n_bags: int, n_outputs: int) -> tuple[DeviceArray, DeviceArray]:
        """Return where the bags of every output begin in ``outputs``, and the numbers of the outputs."""
        if n_bags not in self._runs:
            put = backend.device.put
            self._runs[n_bags] = put(np.arange(n_outputs + 1) * n_bags), put(np.arange(n_outputs))
        return self._runs[n_bags]


def step_of_rows(
    solver: Solver, number: int, rate: float, alpha: float, *, by_freq: bool = False, norm: Any = None,
    exactly: bool = False,
) -> structs.Step:  # fmt: skip
    """Return what a step is made with: the penalty, and the length of the step if it is one for all rows."""
    with np.errstate(divide="ignore"):  # of a rate of 0
        penalty = float(solver.penalty(np.float64(rate), np.float64(alpha)))
    if update.one_length(solver):
        rate = float(solver.row(0.0, 0.0, float(number), float(rate))[1])
    max_norm, norm_type = map(float, norm or (np.inf, 2.0))
    return structs.Step(float(number), float(rate), penalty, bool(by_freq), max_norm, norm_type, exactly)


class Steps:
    """Runs the steps of an epoch.

    Parameters
    ----------
    backend : Backend
    objective : Objective
    members : Members
        All bags.
    padding_idx : int or None
    targets : structs.Targets
    table, layer, intercept : structs.Parameters
    """

    def __init__(
        self, backend: cuda.Backend, objective: Objective, members: Members, padding_idx: int | None,
        targets: structs.Targets, table: structs.Parameters, layer: structs.Parameters, intercept: structs.Parameters,
    ) -> None:  # fmt: skip
        self.backend, self.objective, self.members, self.targets = backend, objective, members, targets
        self.padding = -1 if padding_idx is None else padding_idx
        self.table, self.layer, self.intercept = table, layer, intercept
        self.n_rows, self.n_outputs = len(table.values), len(layer.values)

    def run(self, batch: Batch, memory: Memory, k: int, losses: DeviceArray, stop: DeviceArray) -> None:
        """Train on mini-batch k, whose mean loss becomes losses[k]; stop[0] becomes 1 if training diverges."""
        objective, launch, n_bags = self.objective, self.backend.device.launch, batch.n_bags
        coef, gradients = self.layer.values, memory.outputs
        members = self.forward(batch, memory, training=True)
        launch(
            head.outputs_kernel(1, THREADS), n_bags * self.n_outputs, memory.pooled, coef, self.intercept.values,
            n_bags, gradients,
        )  # fmt: skip
        weighted = int(not isinstance(self.targets.values, tuple))
        launch(
            head.loss_kernel(objective.loss, weighted, THREADS), n_bags, gradients, n_bags, self.n_outputs,
            batch.order, self.targets, memory.losses,
        )  # fmt: skip
        if not objective.freeze and batch.n_members:
            shape = cuda.shape_of(coef.shape[1], coef.dtype.itemsize)
            launch(
                head.bag_gradients_kernel(int(objective.mode in ("mean", "sqrtn")), THREADS, *shape),
                n_bags * shape[0], coef, gradients, n_bags, memory.sizes, memory.gradients,
            )  # fmt: skip
            self._update_table(batch, memory, members, stop)
        self._update_layer(batch, memory, k, losses, stop)

    def forward(self, batch: Batch, memory: Memory, *, training: bool = False) -> Members:
        """Copy the members of the bags together and pool them; members that do not count get the row n_rows."""
        every, dtype = self.members, self.table.values.dtype
        weighting = pooling.UNIT if every.weights is None else pooling.WEIGHTS
        self.backend.device.launch(
            forward.expand_kernel(pooling.FILTER if every.filtered else weighting, THREADS), batch.n_members,
            batch.order, batch.indptr, batch.n_bags, batch.n_members, every.ids,
            self.backend.nothing(dtype) if every.weights is None else every.weights, every.indptr, self.padding,
            self.n_rows, memory.rows, memory.weights, memory.bags,
        )  # fmt: skip
        weights = None if every.weights is None or every.filtered else memory.weights
        members = Members(
            memory.rows, weights, batch.indptr, batch.base, batch.n_bags, batch.n_members, every.longest
        )  # fmt: skip
        self.backend.pool_members(
            self.table.values, members, str(self.objective.mode), self.n_rows, memory.pooled,
            training=(memory.winners, memory.sizes) if training else None, windows=memory.windows,
        )  # fmt: skip
        return members

    def _update_table(self, batch: Batch, memory: Memory, members: Members, stop: DeviceArray) -> None:
        """Sort the members by row, and change every row once."""
        objective, n, sorter = self.objective, batch.n_members, memory.sorter
        order = sorter.sort(members.ids, n)
        self.backend.device.launch(
            sorting.arrange_kernel(THREADS), n, order, n, memory.bags, memory.weights, memory.sorted_bags,
            memory.sorted_weights,
        )  # fmt: skip
        won = objective.mode == "max"
        weighting = pooling.WEIGHTS if members.weights is not None and not won else pooling.UNIT
        kind = (pooling.WON if won else pooling.TOTAL, MEAN, weighting, 0, 0, 0)
        source = self.backend.source(
            memory.gradients, memory.sorted_bags, winners=memory.winners, members=order, weights=memory.sorted_weights
        )
        segments = self.backend.segments(sorter.starts, n, limit=sorter.n_segments)
        step = step_of_rows(
            objective.solver, batch.number, batch.rate, objective.alpha,
            by_freq=objective.scale_grad_by_freq, norm=objective.norm,
        )  # fmt: skip
        self._update(memory, kind, source, segments, sorter.rows, n, n, step, self.table, stop)

    def _update_layer(self, batch: Batch, memory: Memory, k: int, losses: DeviceArray, stop: DeviceArray) -> None:
        """Change every row of the layer, by a sum over all bags, and the intercepts; and sum the loss up."""
        objective, n_bags, n = self.objective, batch.n_bags, self.n_outputs
        kind = (pooling.TOTAL, MEAN, pooling.WEIGHTS, 0, 0, 1)
        starts, rows = memory.runs(self.backend, n_bags, n)
        source = self.backend.source(memory.pooled, weights=memory.outputs)
        length, exactly = objective.layer_norm or (np.inf, False)
        step = step_of_rows(
            objective.solver, batch.number, batch.layer_rate, objective.layer_alpha, norm=(length, 2.0), exactly=exactly
        )
        segments = self.backend.segments(starts, n)
        self._update(memory, kind, source, segments, rows, n_bags * n, n_bags, step, self.layer, stop)
        step = step_of_rows(objective.solver, batch.number, batch.intercept_rate, 0.0)
        self.backend.device.launch_blocks(
            update.finish_kernel(objective.solver, THREADS), n + 1, memory.outputs, n_bags, memory.losses, step,
            self.intercept, k, losses, stop,
        )  # fmt: skip

    def _update(
        self, memory: Memory, kind: Any, source: structs.Source, segments: structs.Segments, rows: DeviceArray,
        n_members: int, longest: int, step: structs.Step, parameters: structs.Parameters, stop: DeviceArray,
    ) -> None:  # fmt: skip
        windows = self.backend.reduce_windows(kind, source, segments, n_members, longest, windows=memory.windows)
        shape = cuda.shape_of(parameters.values.shape[1], parameters.values.dtype.itemsize)
        kernel = update.update_kernel(kind, self.objective.solver, THREADS, *shape)
        self.backend.device.launch(
            kernel, segments.n * shape[0], source, segments, rows, windows, step, parameters, stop
        )  # fmt: skip
