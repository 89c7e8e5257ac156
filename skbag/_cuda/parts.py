"""What an epoch on a GPU is made with: its scratch memory, the numbers of its steps, and its cuts."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._cuda import backend as cuda
from skbag._cuda import calls, forward, pooling, rows, sorter, sorting, step, structs
from skbag._cuda.device import THREADS
from skbag._cuda.staging import Members
from skbag._cuda.workspace import Workspace
from skbag._data.model import Model, Objective, Rates
from skbag._rules.pooling import MODES
from skbag._rules.solvers import Solver

Array = NDArray[Any]

MOST_MEMBERS = 1 << 25  # that are copied together and sorted at once: some 50 bytes each
_MOST_BLOCKS = 4096  # of a launch


def steps_of(objective: Objective, first: int, rates: Rates, n: int) -> Array:
    """Return structs.Epoch.steps of n mini-batches, the first of which is step number ``first``."""
    solver, numbers = objective.solver, first + np.arange(float(n))
    rate = rates.initial - rates.slope * np.arange(n)
    alphas = objective.layer_alpha, *[objective.hidden_alpha] * len(rates.hidden)
    penalty: Any = solver.penalty  # of arrays, too
    with np.errstate(divide="ignore"):  # of a rate of 0
        columns = [numbers, _length(solver, numbers, rate), penalty(rate, np.float64(objective.alpha))]
        for (of_layer, of_intercept), alpha in zip(
            [(rates.layer, rates.intercept), *rates.hidden[::-1]], alphas, strict=True
        ):
            own = rate * of_layer
            columns += [
                _length(solver, numbers, own),
                penalty(own, np.float64(alpha)),
                _length(solver, numbers, own * of_intercept),
            ]
    return np.stack([np.broadcast_to(np.asarray(column, np.float64), n) for column in columns], axis=1)


def _length(solver: Solver, numbers: Array, rates: Array) -> Any:
    """Return the lengths of steps, if all rows have one; else the rates."""
    return solver.row(0.0, 0.0, numbers, rates)[1] if rows.one_length(solver) else rates


@dataclass
class Cut:
    """Mini-batches of an epoch that are prepared together; offsets into its order."""

    first: int
    last: int
    batches: Array  # where each begins among the members of the cut

    @property
    def n_members(self) -> int:
        """Members of all mini-batches."""
        return int(self.batches[-1])

    @property
    def most_members(self) -> int:
        """Members of the largest one."""
        return int(np.diff(self.batches).max())


def cuts_of(edges: Array) -> Iterator[Cut]:
    """Cut an epoch whose mini-batches begin at these members, so that each cut fits into memory."""
    first = 0
    while first < len(edges) - 1:
        last = int(np.searchsorted(edges, edges[first] + MOST_MEMBERS, side="right")) - 1
        last = min(max(last, first + 1), len(edges) - 1)
        yield Cut(first, last, edges[first : last + 1] - edges[first])
        first = last


class Run:
    """The launches for one cut of an epoch, or for bags that are only taken forward.

    Parameters
    ----------
    backend, objective, model : Backend, Objective, Model
    members : Members
        All bags.
    valued : bool
        Whether the targets have values.
    learning : bool
        Whether anything is trained.
    """

    def __init__(
        self,
        backend: cuda.Backend,
        objective: Objective,
        model: Model,
        members: Members,
        *,
        valued: bool,
        learning: bool,
    ) -> None:
        self.backend, self.device, self.objective = backend, backend.device, objective
        self._widths, self._activation = model.widths, model.activation if len(model.layers) > 1 else None
        weighting = pooling.UNIT if members.weights is None else pooling.WEIGHTS
        only_names = weighting and (members.filtered or objective.mode == "max")
        self._weighting = pooling.FILTER if only_names else weighting
        self._weighted, self._valued = int(self._weighting == pooling.WEIGHTS), int(valued)
        self._learning, self._back = learning, int(learning and not objective.freeze)

    def epoch_of(
        self, workspace: Workspace, members: Members, padding: int, batch_size: int, cut: Cut, order: Array,
        order_indptr: Array, steps: Array, small: list[Any], targets: Any, parameters: Any,
    ) -> structs.Epoch:  # fmt: skip
        """Allocate and copy what a cut needs; ``order`` and ``order_indptr`` are of its bags, the rest of the epoch.

        ``small`` : batch_losses and stop.
        """
        objective, (table, *layers) = self.objective, parameters
        (n_rows, dim), dtype, n_bags = table.values.shape, layers[0].values.dtype, min(batch_size, len(order))
        tiles = sorter.tiles_of(cut.batches)
        sent = workspace.put("cut", order, order_indptr, cut.batches, tiles, steps)
        n, n_batches, self._n_tiles = cut.n_members, cut.last - cut.first, int(tiles[-1])
        array, of_rows, sorted_too = workspace.array, sorter.row_type(n_rows), n * self._back
        rows = array("rows", n, of_rows)
        max_norm, norm_type = map(float, objective.norm or (np.inf, 2.0))
        plan = structs.Plan(
            len(order), batch_size, n_batches, padding, n_rows, int(members.longest >= pooling.WINDOW),
            int(objective.scale_grad_by_freq), max_norm, norm_type, len(self._widths) - 1,
        )  # fmt: skip
        weights = () if members.weights is None else members.weights
        sizes = sorted_too, n_batches, self._n_tiles if self._back else 0
        self._blocks(n_bags, cut.most_members, dim, dtype)
        batch = self._batch(workspace, n_bags, dim, dtype)
        return structs.Epoch(
            plan, structs.Bags(members.ids, weights, members.indptr, sent[0], sent[1]),
            structs.Members(rows, array("weights", n * self._weighted, dtype), array("bags", n, np.int32)),
            sorter.sorting_of(workspace, rows, sent[2], sent[3], sizes, n_rows),
            structs.Sorted(
                array("sorted weights", sorted_too * self._weighted, dtype), array("sorted bags", sorted_too, np.int32)
            ),
            batch, self._windows(workspace, "windows", cut.most_members, dim, dtype, self._won),
            targets, table, sent[4], small[0], small[1], self._layers(workspace, batch, n_bags, layers, dtype),
        )  # fmt: skip

    @property
    def _won(self) -> bool:
        return self.objective.mode == "max"

    def _batch(self, workspace: Workspace, n: int, dim: int, dtype: Any) -> structs.Batch:
        array = workspace.array
        return structs.Batch(
            array("pooled", (n, dim), dtype), array("winners", (n if self._won else 1, dim), np.int32),
            array("sizes", n, dtype), array("losses", n, np.float64),
            array("gradients", (n if self._back else 1, dim), dtype),
        )  # fmt: skip

    def _layers(
        self, workspace: Workspace, batch: structs.Batch, n: int, parameters: list[structs.Parameters], dtype: Any
    ) -> calls.Several:
        """Return the layers from the last to the first, with scratch memory for n bags."""
        array, layers, objective = workspace.array, [], self.objective
        inputs, gradients = batch.pooled, batch.gradients
        lengths = [*objective.hidden_norms, *[None] * (len(self._widths) - 2 - len(objective.hidden_norms))]
        for k, (n_inputs, n_outputs) in enumerate(pairwise(self._widths)):
            if k:
                inputs = array(f"inputs {k}", (n, n_inputs), dtype)
                gradients = array(f"gradients {k}", (n if self._learning else 1, n_inputs), dtype)
            length, exactly = [*lengths, objective.layer_norm][k] or (np.inf, False)
            windows = self._windows(
                workspace, f"layer windows {k}", n_outputs * n * self._learning, n_inputs, dtype, False
            )  # fmt: skip
            layers.append(structs.Layer(
                parameters[2 * k], parameters[2 * k + 1], inputs, array(f"outputs {k}", n * n_outputs, dtype),
                gradients, windows, float(length), int(exactly),
            ))  # fmt: skip
        return calls.Several(layers[::-1])

    @staticmethod
    def _windows(workspace: Workspace, name: str, n: int, dim: int, dtype: Any, won: bool) -> structs.Windows:
        n = n // pooling.WINDOW + 1
        array = workspace.array
        return structs.Windows(
            array(name, (n, dim), dtype), array(f"{name} at", (n if won else 1, dim), np.int32),
            array(f"{name} sizes", n, dtype), 0,
        )  # fmt: skip

    def _blocks(self, n_bags: int, n_members: int, dim: int, dtype: Any) -> None:
        """Say how many blocks each phase can use."""
        self._shapes = (
            cuda.shape_of(dim, dtype.itemsize),
            cuda.shape_of(*self._widths[:1], dtype.itemsize, *self._widths[1:-1]),
        )
        groups, layer_groups = (THREADS // lanes for lanes, _, _ in self._shapes)
        outputs = self._widths[1:]
        bags = -(-n_bags // groups)
        if self._activation is not None:  # a thread has one unit of one bag
            bags = max(bags, min(n_bags, -(-n_bags * max(outputs) // THREADS)))
        rows = -(-n_members * self._back // groups) + sum(-(-n // layer_groups) + n + 1 for n in outputs)
        windows = n_members // pooling.WINDOW // groups + 1
        row_windows = (n_members + max(outputs) * n_bags) // pooling.WINDOW // min(groups, layer_groups) + 1
        self._n_blocks = [min(_MOST_BLOCKS, n) for n in (windows, bags, row_windows, rows)]

    def prepare(self, epoch: structs.Epoch, given: Any, n_members: int) -> None:
        """Copy the members of all mini-batches together and, for a table that changes, sort them."""
        launch, n_threads = self.device.launch, min(n_members, _MOST_BLOCKS * THREADS)
        launch(forward.expand_kernel(self._weighting, THREADS), n_threads, given)
        if self._back:
            sorter.sort(self.device, given, epoch.sorting, self._n_tiles)
            launch(sorting.arrange_kernel(self._weighted, THREADS), n_threads, given)

    def train(self, given: Any, first: int, last: int) -> None:
        """Run mini-batches of the cut."""
        objective = self.objective
        kind = (
            self._back, MODES[str(objective.mode)], self._weighted, objective.loss, self._valued, objective.solver,
            self._activation, THREADS, *self._shapes,
        )  # fmt: skip
        if self.device.cooperates:
            kernel = step.train_kernel(step.ALL, *kind)
            self.device.launch_together(kernel, max(self._n_blocks), given, first, last)
            return
        for k in range(first, last):
            for phase, n_blocks in enumerate(self._n_blocks):
                self.device.launch_blocks(step.train_kernel(phase, *kind), n_blocks, given, k, last)

    def outputs(self, given: Any) -> None:
        """Take the bags of the one mini-batch forward."""
        objective = self.objective
        kernel = step.outputs_kernel(
            MODES[str(objective.mode)], self._weighted, objective.loss, self._activation, THREADS, *self._shapes
        )  # fmt: skip
        for phase in (step.BAG_WINDOWS, step.FORWARD):
            self.device.launch_blocks(kernel, self._n_blocks[phase], given, phase)
