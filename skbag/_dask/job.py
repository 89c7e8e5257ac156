"""One training in rounds: the model, which is in the process that called, and shards, which are on workers."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skbag._dask.blocks import (
    blocks_of,
    check_shapes,
    client_workers,
    cut_in_shards,
    dask_module,
    facts_of,
    is_lazy,
    joined,
    rows_of,
)
from skbag._dask.rounds import Change, combine
from skbag._dask.worker import Part, Update, forget, make_shard, run_part, sums_of_shard
from skbag._data.model import Model, Parameters
from skbag._data.quantized import dtype_of, numbers_of, table_of
from skbag._data.sources import warn_of_scales
from skbag._data.targets import Targets
from skbag._estimators.run import rows_of_targets
from skbag._estimators.trained import checked_weights, normalized, stream_of
from skbag._training.defaults import default_epochs, looked_at
from skbag._training.evidence import evidence_of, residuals_of
from skbag._training.loop import Stopper

Array = NDArray[Any]

_TRIES = 3  # of a round whose parts are lost with the workers that had them
_WAIT = 60  # seconds, for a worker in place of those that are lost


class Round(NamedTuple):
    """What a round was."""

    epoch: int
    n_epochs: int
    round: int
    n_rounds: int
    n_shards: int
    loss: float
    n_bytes: int


class Job:
    """One call of fit: the model, which is here, and shards, which are on workers."""

    def __init__(self, client: Any, estimator: Any) -> None:
        self.client, self.id = client, uuid.uuid4().hex
        self.warm = bool(estimator.warm_start) and hasattr(estimator, "coefs_")
        self.fitted = estimator._snapshot()
        self.shards: list[Any] = []
        self.version = 0
        self.last: Update | None = None

    # --- before the first round

    def prepare(self, X: Any, y: Any, sample_weight: Any, n_shards: int | None) -> None:
        """Learn what all blocks say together, and make the shards and the model."""
        self.lazy = blocks_of(X, "X")
        blocks = self._computed(self.lazy)
        facts = self.client.gather(self.client.map(facts_of, blocks, pure=False))
        n_rows = check_shapes(facts)
        fitted, n = self.fitted, sum(n_rows)
        bags = fitted._check_bags(csr_array((1, facts[0][1][1])), reset=not self.warm, goes_on=self.warm)
        weights = checked_weights(
            None if sample_weight is None else self._whole(sample_weight, "sample_weight", n_rows), n
        )
        learnt, labels = fitted._learn_y(self._whole(y, "y", n_rows), fitted._known(self.warm), weights, n)
        if self.warm:
            fitted._check_same(learnt)
        weights = normalized(fitted._weights_of(learnt, labels, weights))
        targets, used = fitted._targets_of(learnt, labels), np.flatnonzero(weights)
        goes_on = self.warm and not isinstance(fitted.random_state, np.random.RandomState)
        rng = deepcopy(fitted._rng) if goes_on else fitted._new_rng()
        fitted._choose_outputs(learnt, targets, weights, rng, goes_on=self.warm)
        if not self.warm:
            self._look_at(blocks, n_rows, used, learnt)
        self.model: Model = (
            fitted._model().copy() if self.warm else fitted._new_model(bags, learnt, targets, weights, len(used), rng)
        )
        self.learnt, self.rng, self.n_used = learnt, rng if goes_on else stream_of(rng), len(used)
        self.lite = self._without_arrays()
        self.objective = fitted._objective(learnt)
        self.start = self._start(bags.padding_idx)
        self.changed = np.zeros(len(self.model.table.values), np.bool_)
        self.cuts = cut_in_shards(n_rows, min(n_shards or len(client_workers(self.client)), len(n_rows)))
        self.of_shards = list(self._of_shards(np.concatenate(([0], np.cumsum(n_rows))), targets, weights))
        self.n_steps = min(-(-part.n_rows // int(fitted.batch_size)) for part, _ in self.of_shards)
        self._make_shards(blocks)
        if not self.warm and fitted._has_evidence(learnt):
            self._divide_states(targets, weights, n_rows)

    def _divide_states(self, targets: Targets, weights: Array, n_rows: list[int]) -> None:
        """Divide the first states of columns by what all shards say of them, see ``evidence``."""
        residuals = residuals_of(targets, weights)
        ends = np.concatenate(([0], np.cumsum(n_rows)))
        parts = [residuals[ends[some.start] : ends[some.stop]] for some in self.cuts]
        parts = [part[part[:, -1] > 0] for part in parts]  # a shard leaves out rows without weight
        sums = self.client.gather(self.client.map(sums_of_shard, self.shards, parts, pure=False))
        evidence, state = evidence_of(sum(sums[1:], sums[0])), self.model.table.state
        state /= evidence
        if self.start:
            (*drawn, _), others = self.start
            rows = np.flatnonzero(evidence != 1)
            self.start = (*drawn, (rows, state[rows])), others

    def _look_at(self, blocks: Sequence[Any], n_rows: list[int], used: Array, learnt: Any) -> None:
        """Learn from some rows how long bags are, and warn of what X may not mean; errors are those of the shards."""
        rows, self.fitted._bag_length = looked_at(used), 1.0
        ends = np.cumsum(n_rows)
        of_blocks = np.split(rows, np.searchsorted(rows, ends[:-1]))
        of_blocks = [some - end + n for some, end, n in zip(of_blocks, ends, n_rows, strict=True)]
        asked = [(block, some) for block, some in zip(blocks, of_blocks, strict=True) if len(some)]
        with suppress(TypeError, ValueError):
            parts = self.client.gather(self.client.map(rows_of, *zip(*asked, strict=True), pure=False))
            bags = self.fitted._check_bags(joined(parts), reset=True)
            warn_of_scales(bags, self.fitted._blocks.mode)
            self.fitted._look_at(bags, np.arange(len(rows)), learnt)

    def _computed(self, lazy: Sequence[Any]) -> list[Any]:
        """Return futures of blocks."""
        futures = list(lazy)
        delayed = [k for k, block in enumerate(lazy) if hasattr(block, "__dask_graph__")]
        for k, future in zip(delayed, self.client.compute([lazy[k] for k in delayed]), strict=True):
            futures[k] = future
        return futures

    def _whole(self, given: Any, name: str, n_rows: list[int]) -> Any:
        """Return y, or the weights, of all blocks; an array-like as it is."""
        is_blocks = hasattr(given, "dask") or (
            isinstance(given, list | tuple) and given and (is_lazy(given[0]) or getattr(given[0], "shape", ()))
        )
        if not is_blocks:
            return given
        parts = self.client.gather(self._computed(blocks_of(given, name)))
        found = [part.shape[0] for part in parts]
        if found != n_rows:
            wrong = next((k for k, both in enumerate(zip(found, n_rows, strict=False)) if both[0] != both[1]), None)
            what = f"{len(found)} blocks, and X has {len(n_rows)}"
            if wrong is not None:
                what = f"{found[wrong]} rows in block {wrong}, and X has {n_rows[wrong]} there"
            raise ValueError(f"{name} must have the blocks of X, and has {what}.")
        return joined(parts)

    def _without_arrays(self) -> Any:
        """Return the estimator as workers need it."""
        lite = self.fitted._snapshot()
        for name in (
            "embeddings_",
            "coefs_",
            "intercepts_",
            "_solver_state",
            "_models",
            "_rng",
            "loss_curve_",
            "feature_names_in_",
        ):
            vars(lite).pop(name, None)
        lite.init, lite.random_state, lite.dtype = "uniform", None, dtype_of(table_of(self.model.table.values))
        return lite

    def _start(self, padding_idx: int | None) -> tuple[Any, Model] | None:
        """Return what makes the model before the first round where its table can be drawn again."""
        if self.warm or self.fitted._drawn is None:
            return None
        table, *others = self.model.parameters()
        fills = tuple(array.reshape(-1)[0] if len(array) else None for array in table.arrays()[1:])
        drawn = self.fitted._drawn, table.values.shape, table.values.dtype, padding_idx, fills, None
        none = Parameters(*(array[:0] for array in table.arrays()))
        return drawn, self.model.like((none, *others)).copy()

    def _of_shards(self, ends: Array, targets: Targets, weights: Array) -> Iterator[tuple[Targets, Array | None]]:
        """Yield targets and weights of each shard."""
        uniform = bool((weights == 1).all())
        for some in self.cuts:
            of_shard = weights[ends[some.start] : ends[some.stop]]
            used = np.flatnonzero(of_shard)
            if not len(used):
                raise ValueError(
                    f"sample_weight times class_weight must be larger than 0 somewhere in each shard; in that of the "
                    f"blocks {some.start} to {some.stop - 1} it is 0."
                )
            part = Targets(*rows_of_targets(targets, used + ends[some.start]), targets.n_outputs)
            yield part, None if uniform else of_shard

    def _make_shards(self, blocks: Sequence[Any]) -> None:
        """Join blocks to shards on the workers; errors of what is in them are raised here."""
        workers = client_workers(self.client)
        self.shards = [
            self.client.submit(
                make_shard, self.lite, list(blocks[some.start : some.stop]), some.start, *of_shard,
                workers=[workers[k % len(workers)]], allow_other_workers=True, pure=False,
            )
            for k, (some, of_shard) in enumerate(zip(self.cuts, self.of_shards, strict=True))
        ]  # fmt: skip
        dask_module("distributed", "skbag.dask.fit").wait(self.shards)
        for shard in self.shards:
            if shard.status == "error":
                shard.result()

    # --- rounds

    def train(self, n_rounds: int, on_round: Callable[[Round], Any] | None) -> None:
        """Run all rounds, and keep the model in the snapshot of the estimator."""
        fitted, losses = self.fitted, list[float]()
        earlier = fitted.loss_curve_ if self.warm else []
        n_rounds = min(n_rounds, self.n_steps)
        evident = fitted._needs_fewer_epochs(self.learnt)
        n_epochs = default_epochs(fitted._loss_of(self.learnt), self.n_used, evident=evident)
        n_epochs = n_epochs if isinstance(fitted.max_iter, str) else int(fitted.max_iter)
        stopper = Stopper(fitted.tol or 0.0, fitted.n_iter_no_change)
        seed = int(self.rng.randint(0, 2**32, dtype=np.uint32)) if fitted.shuffle else None
        for epoch in range(n_epochs):
            changes = []
            for number in range(n_rounds):
                change, n_bytes = self._round(seed, n_epochs, epoch, n_rounds, number)
                changes.append((change.loss, change.n_rows))
                if on_round is not None:
                    on_round(Round(epoch, n_epochs, number, n_rounds, len(self.shards), change.loss, n_bytes))
            of_rounds, n_rows = np.array(changes).T
            losses.append(float(n_rows / n_rows.sum() @ of_rounds))
            if fitted.verbose:
                print(f"Epoch {len(losses)}, loss {losses[-1]:.6f}")
            if stopper.update(losses[-1]) and fitted.tol is not None:
                break
        fitted._keep(self.model, self.learnt, self.rng, len(losses), [*earlier, *losses])
        fitted._keep_scores(None)

    def _round(self, seed: int | None, n_epochs: int, epoch: int, n_rounds: int, number: int) -> tuple[Change, int]:
        """Run one round; return what it changed, and how many bytes went over the wire."""
        parts = [
            Part(
                self.id, self.version, self.lite, self.learnt, None if seed is None else (seed, epoch, k),
                n_epochs, epoch, n_rounds, number,
            )
            for k in range(len(self.shards))
        ]  # fmt: skip
        changes, sent = self._tried(parts)
        losses = np.array([change.loss for change in changes])
        if not np.isfinite(losses).all():
            raise self._diverged(epoch)
        change = combine(self.model, changes, self.objective)
        if not np.isfinite(numbers_of(change.table[0])).all():
            raise self._diverged(epoch)
        change.put_into(self.model)
        self.changed[change.rows] = True
        self.version += 1
        self.last = Update(self.version, change)
        return change, sent + sum(some.n_bytes for some in changes)

    def _diverged(self, epoch: int) -> ValueError:
        rate = self.fitted._schedule(self.learnt, "constant", 1, 1).initial
        return ValueError(
            f"The loss, or a row of the table, became infinite or NaN in epoch {epoch + 1}: training diverges. Use a "
            f"smaller learning_rate_init, which is {rate}, or smaller values of X and sample_weight."
        )

    def _tried(self, parts: list[Part]) -> tuple[list[Change], int]:
        """Run all parts of a round, again if they are lost."""
        distributed = dask_module("distributed", "skbag.dask.fit")
        lost = distributed.CancelledError, distributed.comm.CommClosedError, TimeoutError, OSError
        gone = (
            "The shards are lost with their workers, or the scheduler is; the estimator is as it was. Call fit again."
        )
        for number in range(_TRIES):
            if self.client.status != "running":
                raise RuntimeError(gone)
            try:
                if number:
                    self.client.wait_for_workers(1, timeout=_WAIT)
                    self._make_shards(self._computed(self.lazy))
                return self._sent(parts)
            except distributed.KilledWorker as error:
                raise RuntimeError(
                    f"Workers died one after the other, perhaps for lack of memory; the estimator is as it was: {error}"
                ) from error
            except lost as error:
                if number == _TRIES - 1 or self.client.status != "running":
                    raise RuntimeError(gone) from error
        raise AssertionError

    def _sent(self, parts: list[Part]) -> tuple[list[Change], int]:
        """Send an update and the parts, and the whole model where that is not enough; return changes and bytes sent."""
        numbers, changes, sent = list(range(len(parts))), dict[int, Change](), 0
        for update in (self.last, None):
            update = update or self._whole_model()
            n_workers = len(client_workers(self.client))
            held = self.client.scatter(update, broadcast=True, hash=False)
            futures = [self.client.submit(run_part, self.shards[k], parts[k], held, pure=False) for k in numbers]
            for k, change in zip(numbers, self.client.gather(futures), strict=True):
                if change is not None:
                    changes[k] = change
            sent += n_workers * update.n_bytes
            numbers = [k for k in numbers if k not in changes]
            if not numbers:
                break
        return [changes[k] for k in range(len(parts))], sent

    def _whole_model(self) -> Update:
        """Return what makes the model as it is from nothing."""
        rows = np.flatnonzero(self.changed) if self.start else np.empty(0, np.int64)
        change = Change.of(self.model, rows, rows[:0])
        drawn, whole = self.start or (None, self.model)
        return Update(self.version, change, whole, drawn)

    def end(self) -> None:
        """Free the memory of the workers."""
        with suppress(Exception):
            self.client.cancel(self.shards)
            self.client.run(forget, self.id, on_error="ignore")
