"""The CPU backend's training: scratch memory, threads and blocks of mini-batches."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._cpu import backend as cpu
from skbag._cpu import pooling as cpu_kernels
from skbag._cpu import train_kernels as kernels
from skbag._cpu.threads import effective_threads, run
from skbag._data.bags import Bags, frozen
from skbag._data.model import Model, Objective

Array = NDArray[Any]

LOSSES = {"softmax": kernels.SOFTMAX, "sigmoid": kernels.SIGMOID}
SOLVERS = {"sgd": kernels.SGD, "adagrad": kernels.ADAGRAD}
_ROWS = 32  # rows of the table that are updated together
_LONG_WORK = 1 << 24  # multiplications: from some 20 milliseconds on the main thread only waits, and can be interrupted


class Trainer:
    """Trains a model on one set of checked bags; holds the scratch memory of its mini-batches.

    Parameters
    ----------
    bags : Bags
        Checked: ``cpu.check`` has passed.
    y_indices, y_indptr : ndarray of int64
        Of each bag the outputs whose label is 1, as in CSR.
    sample_weight : ndarray of shape (n_bags,), float64
    model : Model
        Changed in place.
    objective : Objective
    batch_size, n_jobs : int
    """

    def __init__(
        self,
        bags: Bags,
        y_indices: Array,
        y_indptr: Array,
        sample_weight: Array,
        model: Model,
        objective: Objective,
        batch_size: int,
        n_jobs: int | None,
    ) -> None:
        self.bags, self.model, self.objective = bags, model, objective
        self.y_indices, self.y_indptr, self.sample_weight = y_indices, y_indptr, sample_weight
        self.batch_size = min(batch_size, bags.n_bags)
        self.n_jobs = min(effective_threads(n_jobs), self.batch_size)  # scratch memory grows with its square
        self._pool_jobs = n_jobs
        self.lengths = np.diff(bags.indptr).astype(np.int64)
        self._scratch: tuple[Array, ...] | None = None
        self._scratch_members = -1

    def pool(self, rows: Array) -> Array:
        """Return the pooled features of some bags."""
        bags = self.bags
        lengths = self.lengths[rows]
        indptr = np.concatenate(([0], np.cumsum(lengths))).astype(bags.indptr.dtype)
        members = np.repeat(bags.indptr[rows] - indptr[:-1], lengths) + np.arange(indptr[-1])
        weights = None if bags.weights is None else frozen(bags.weights[members])
        some = Bags(frozen(bags.indices[members]), frozen(indptr), weights, bags.num_embeddings, bags.padding_idx)
        return cpu.pool(some, frozen(self.model.table), self.objective.mode, self._pool_jobs)

    def epoch(self, order: Array, rates: tuple[float, float]) -> float:
        """Go once through the bags in this order and return the mean loss; NaN if training diverged.

        ``rates`` is the learning rate of the first mini-batch and what each mini-batch takes off it.
        """
        order_indptr = np.concatenate(([0], np.cumsum(self.lengths[order])))
        n_batches = -(-len(order) // self.batch_size)
        edges = order_indptr[np.minimum(np.arange(n_batches + 1) * self.batch_size, len(order))]
        scratch = self._scratch_for(int(np.diff(edges).max()))
        losses = np.zeros(n_batches)
        if self._run(order, order_indptr, rates, scratch, losses):
            return float("nan")
        sizes = np.full(n_batches, self.batch_size)
        sizes[-1] = len(order) - (n_batches - 1) * self.batch_size
        return float(losses @ sizes / len(order))

    def _run(self, order: Array, order_indptr: Array, rates: tuple[float, float], scratch: Any, losses: Array) -> bool:
        """Run all mini-batches; return whether training diverged."""
        model, objective, bags = self.model, self.objective, self.bags
        kernel = kernels.train_kernel(*cpu.layout(model.table))
        tickets = np.zeros(3, np.int64)
        norm = objective.norm or (np.inf, 2.0)
        arguments = (
            cpu.MODES[objective.mode], LOSSES[objective.loss], SOLVERS[objective.solver], self.batch_size, rates,
            float(objective.alpha), norm, objective.scale_grad_by_freq, objective.freeze,
            model.table, model.table_state, model.coef, model.coef_state, model.intercept[None], model.intercept_state,
            bags.weights, bags.indices, bags.indptr, -1 if bags.padding_idx is None else bags.padding_idx,
            order, order_indptr, self.y_indices, self.y_indptr, self.sample_weight,
            *scratch, tickets, losses,
        )  # fmt: skip
        n_tickets = 2 * self.n_jobs * len(losses)
        work = int(order_indptr[-1] + len(order) * (1 + len(model.coef))) * model.table.shape[1]

        def stop() -> None:
            tickets[kernels.STOP] = 1

        run(
            lambda: kernel(*arguments), self.n_jobs, lambda: cpu_kernels.wait(tickets, n_tickets, cpu._SPINS), stop,
            apart=work > _LONG_WORK,
        )  # fmt: skip
        return bool(tickets[kernels.STOP])

    def _scratch_for(self, n_members: int) -> tuple[Array, ...]:
        """Memory for mini-batches of up to n_members members, kept from epoch to epoch."""
        if self._scratch is None or n_members > self._scratch_members:
            n, parts, model = self.batch_size, self.n_jobs, self.model
            dim, dtype, n_outputs = model.table.shape[1], model.table.dtype, len(model.coef)
            ids = self.bags.indices.dtype
            own_members = 0 if self.objective.freeze else n_members
            self._scratch = (
                np.empty(n, np.int64), np.empty(n, np.int64),
                np.zeros(n_members, ids), np.zeros(n_members, dtype), np.zeros(n_members, np.int32),
                np.empty((n, dim), dtype), np.empty((n, dim) if self.objective.mode == "max" else (1, 1), np.int64),
                np.empty((n, n_outputs), dtype), np.empty((n, dim), dtype), np.empty(n),
                np.empty(parts, np.int64), np.empty((parts, parts), np.int64), np.empty((parts, own_members), np.int32),
                np.empty((parts, 2, own_members), np.int64), np.empty((parts, 2, 2048), np.int32),
                np.empty((parts, _ROWS), np.int64), np.empty((parts, _ROWS, dim), dtype), np.empty((parts, _ROWS)),
            )  # fmt: skip
            self._scratch_members = n_members
        return self._scratch
