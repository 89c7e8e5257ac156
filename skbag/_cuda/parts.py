"""What an epoch on a GPU is made with: its scratch memory, the numbers of its steps, and its cuts."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._cuda import backend as cuda
from skbag._cuda import blocks, calls, forward, pooling, reducing, rows, sorter, sorting, step, structs
from skbag._cuda.device import THREADS, DeviceArray
from skbag._cuda.shapes import Shape, halved, layer_shape_of, shape_of
from skbag._cuda.staging import Members
from skbag._cuda.workspace import Workspace
from skbag._data.blocks import Blocks
from skbag._data.model import Model, Objective, Rates
from skbag._rules.pooling import MAX, modes_of
from skbag._rules.solvers import Solver

Array = NDArray[Any]

MOST_MEMBERS = 1 << 25  # that are copied together and sorted at once: some 50 bytes each
_PER_BATCH = 24  # members whose memory a mini-batch takes, however few it has: sorting counts the digits of each
_MOST_BLOCKS = 4096  # of a launch
_ITEMS = 8  # members of a thread in a tile


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


def blocks_at_once(layout: Any, solver: Solver, shape: Shape, capability: tuple[int, int]) -> int:
    """Return for how many blocks a multiprocessor must have registers: as many as leaves the loops all that they need.

    A step waits for memory most of the time, and the more blocks there are, the less. ``layout`` : `blocks.Layout`.
    """
    modes, interaction, _ = layout
    if shape[2] > 2:
        return 1
    plain = solver.element_states == 0 and len(modes) == 1 and modes[0] != MAX and not interaction
    return 4 if plain and capability >= (9, 0) else 3


def cuts_of(edges: Array) -> Iterator[Cut]:
    """Cut an epoch whose mini-batches begin at these members, so that each cut fits into memory."""
    first, costs = 0, edges + _PER_BATCH * np.arange(len(edges))
    while first < len(edges) - 1:
        last = int(np.searchsorted(costs, costs[first] + MOST_MEMBERS, side="right")) - 1
        last = min(max(last, first + 1), len(edges) - 1)
        yield Cut(first, last, edges[first : last + 1] - edges[first])
        first = last


def bags_of(rows: Array, n_fields: int) -> Array:
    """Return the bags of rows of X."""
    return rows if n_fields == 1 else (rows[:, None] * n_fields + np.arange(n_fields)).ravel()


class Run:
    """The launches for one cut of an epoch, or for bags that are only taken forward.

    Parameters
    ----------
    backend, objective, model : Backend, Objective, Model
    members : Members
        All bags.
    n_fields : int
        Bags of a row of X.
    valued : bool
        Whether the targets have values.
    learning : bool
        Whether anything is trained.
    """

    def __init__(
        self, backend: cuda.Backend, objective: Objective, model: Model, members: Members, n_fields: int, *,
        valued: bool, learning: bool,
    ) -> None:  # fmt: skip
        self.backend, self.device, self.objective = backend, backend.device, objective
        self._blocks = Blocks(objective.mode, n_fields, objective.interaction)
        self._layout = blocks.layout_of(self._blocks)
        self._widths, self._activation = model.widths, model.activation if len(model.layers) > 1 else None
        weighting = reducing.UNIT if members.weights is None else reducing.WEIGHTS
        only_names = weighting and (members.filtered or objective.mode == "max")
        self._weighting = reducing.FILTER if only_names else weighting
        self._weighted, self._valued = int(self._weighting == reducing.WEIGHTS), int(valued)
        self._learning, self._back = learning, int(learning and not objective.freeze)

    def epoch_of(
        self, workspace: Workspace, members: Members, padding: int, batch_size: int, cut: Cut, rows: Array,
        lengths: Array, steps: Array, small: list[Any], targets: Any, parameters: Any,
    ) -> structs.Epoch:  # fmt: skip
        """Allocate and copy what a cut needs; ``rows`` of X and ``lengths`` of bags are of it, the rest of the epoch.

        ``small`` : batch_losses and stop.
        """
        objective, (table, *layers), n_fields = self.objective, parameters, self._blocks.n_fields
        (n_table, dim), dtype, n_rows = table.values.shape, layers[0].values.dtype, min(batch_size, len(rows))
        tiles = sorter.tiles_of(cut.batches)
        bags, order_indptr = bags_of(rows, n_fields), np.zeros(len(lengths) + 1, np.int32)
        np.cumsum(lengths, dtype=np.int32, out=order_indptr[1:])
        sent = workspace.put("cut", bags, order_indptr, cut.batches, tiles, steps, *([rows] if n_fields > 1 else []))
        n, n_batches, self._n_tiles = cut.n_members, cut.last - cut.first, int(tiles[-1])
        array, of_rows, sorted_too = workspace.array, sorter.number_type(n_table), n * self._back
        named = array("rows", n, of_rows)
        max_norm, norm_type = map(float, objective.norm or (np.inf, 2.0))
        plan = structs.Plan(
            len(bags), batch_size * n_fields, n_fields, n_batches, padding, n_table,
            int(members.longest >= pooling.WINDOW), int(objective.scale_grad_by_freq), max_norm, norm_type,
            len(self._widths) - 1,
        )  # fmt: skip
        weights = () if members.weights is None else members.weights
        sizes = sorted_too, n_batches, self._n_tiles if self._back else 0
        self._count_blocks(n_rows, cut.most_members, dim, dtype)
        batch, inputs, gradients = self._batch(workspace, n_rows, dim, dtype)
        return structs.Epoch(
            plan, structs.Bags(members.ids, weights, members.indptr, sent[0], sent[1], sent[-1 if n_fields > 1 else 0]),
            structs.Members(named, array("weights", n * self._weighted, dtype), array("bags", n, np.int32)),
            sorter.sorting_of(workspace, named, sent[2], sent[3], sizes, n_table),
            structs.Sorted(
                array("sorted weights", sorted_too * self._weighted, dtype), array("sorted bags", sorted_too, np.int32)
            ),
            batch, tuple(
                self._windows(workspace, f"windows {k}", cut.most_members, dim, dtype, mode == MAX)
                for k, (mode, *_) in enumerate(blocks.passes_of(self._layout))
            ),
            targets, table, sent[4], small[0], small[1],
            self._layers(workspace, inputs, gradients, n_rows, layers, dtype),
        )  # fmt: skip

    def _batch(
        self, workspace: Workspace, n: int, dim: int, dtype: Any
    ) -> tuple[structs.Batch, DeviceArray, DeviceArray]:
        """Return scratch memory for n rows of X, and what the first layer has of it: its inputs and their gradients."""
        array, n_bags, per_bag = workspace.array, n * self._blocks.n_fields, self._blocks.per_field
        back, won = self._back, "max" in modes_of(self.objective.mode)
        passes, kinds = blocks.passes_of(self._layout), blocks.kinds_of_gradients(self._layout, self._weighted)

        def some(name: str, needed: Any, rows: int = n_bags, dtype: Any = dtype) -> DeviceArray:
            return array(name, (rows if needed else 1, dim), dtype)

        def as_rows(there: DeviceArray, needed: Any = True) -> DeviceArray:
            if self._blocks.n_blocks == 1 or not needed:
                return there
            return there[: n_bags * per_bag].reshape(n, self._blocks.n_blocks * dim)

        pooled, of_blocks = some("pooled", True, n_bags * per_bag), some("gradients", back, n_bags * per_bag)
        batch = structs.Batch(
            pooled, some("winners", won, dtype=np.int32), array("sizes", n_bags * len(passes), dtype),
            some("squares", self._blocks.interaction), array("losses", n, np.float64),
            of_blocks, some("gradients of bags", back) if per_bag > 1 else of_blocks,
            some("other gradients", back and len(kinds) > 1),
        )  # fmt: skip
        return batch, as_rows(pooled), as_rows(of_blocks, back)

    def _layers(
        self, workspace: Workspace, inputs: DeviceArray, gradients: DeviceArray, n: int,
        parameters: list[structs.Parameters], dtype: Any,
    ) -> calls.Several:  # fmt: skip
        """Return the layers from the last to the first, with scratch memory for n rows."""
        array, layers, objective = workspace.array, [], self.objective
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

    def _count_blocks(self, n_rows: int, n_members: int, dim: int, dtype: Any) -> None:
        """Say how many blocks each phase can use."""
        self._shapes = (
            shape_of(dim, dtype.itemsize),
            layer_shape_of(self._widths[:-1], dtype.itemsize),
        )
        groups, layer_groups = (THREADS // lanes for lanes, _, _ in self._shapes)
        outputs = self._widths[1:]
        bags = min(n_rows, -(-n_rows * self._blocks.n_fields // groups))
        if self._activation is not None:  # a thread has one unit of one row
            bags = max(bags, min(n_rows, -(-n_rows * max(outputs) // THREADS)))
        rows = -(-n_members * self._back * halved(self._shapes[0])[0] // THREADS) + sum(
            -(-n // layer_groups) + n + 1 for n in outputs
        )
        windows = n_members // pooling.WINDOW // groups + 1
        row_windows = (n_members + max(outputs) * n_rows) // pooling.WINDOW // min(groups, layer_groups) + 1
        self._n_blocks = [min(_MOST_BLOCKS, n) for n in (windows, bags, row_windows, rows)]

    def prepare(self, epoch: structs.Epoch, given: Any, n_members: int) -> None:
        """Copy the members of all mini-batches together and, for a table that changes, sort them."""
        launch, n_threads = self.device.launch, min(n_members, _MOST_BLOCKS * THREADS)
        launch(forward.expand_kernel(self._weighting, THREADS, _ITEMS), -(-n_threads // _ITEMS), given)
        if self._back:
            sorter.sort(self.device, given, epoch.sorting, self._n_tiles)
            launch(sorting.arrange_kernel(self._weighted, THREADS), n_threads, given)

    def train(self, given: Any, first: int, last: int) -> None:
        """Run mini-batches of the cut."""
        objective = self.objective
        bounds = THREADS, blocks_at_once(self._layout, objective.solver, self._shapes[0], self.device.capability)
        kind = (
            self._back, self._layout, self._weighted, objective.loss, self._valued, objective.solver,
            self._activation, bounds, *self._shapes,
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
            self._layout, self._weighted, objective.loss, self._activation, THREADS, *self._shapes
        )  # fmt: skip
        for phase in (step.BAG_WINDOWS, step.FORWARD):
            self.device.launch_blocks(kernel, self._n_blocks[phase], given, phase)
