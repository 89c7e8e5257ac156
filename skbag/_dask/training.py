"""Training on blocks: in rounds on all workers at once, or one block after the other."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skbag._backends import get_backend
from skbag._dask.blocks import (
    blocks_of,
    check_shapes,
    client_workers,
    cut_in_shards,
    dask_module,
    facts_of,
    get_client,
    is_lazy,
    joined,
)
from skbag._dask.rounds import Change, combine
from skbag._dask.worker import Part, Update, forget, make_shard, run_part
from skbag._data.model import Model, Parameters
from skbag._data.quantized import dtype_of, numbers_of, table_of
from skbag._data.targets import Targets
from skbag._estimators.run import rows_of_targets
from skbag._estimators.trained import TrainedEmbeddingBag, checked_weights, normalized, stream_of
from skbag._training.defaults import default_epochs
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


def fit(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    n_shards: int | None = None,
    rounds_per_epoch: int = 10,
    client: Any = None,
    on_round: Callable[[Round], Any] | None = None,
) -> Any:
    """Fit a classifier or regressor on blocks that lie on many workers, on all of them at once.

    The blocks of X are joined to shards, one for each worker. In each round every worker trains on some mini-batches of
    its shard, from the same model; then what all have learnt is put together. Only rows of the table that mini-batches
    of the round have named travel, and no block of X does.

    Parameters
    ----------
    estimator : EmbeddingBagClassifier or EmbeddingBagRegressor
        With any parameters but ``early_stopping=True``, ``freeze=True`` and ``device="cuda"``. ``n_jobs`` is the
        number of threads in each worker; ``batch_size`` is the number of rows of a step of each worker.
    X : dask.array of shape (n_samples, n_features), or list of blocks
        Blocks of whole rows, CSR or dense, none of them empty. Those of a list are Delayed, Future, matrices or arrays.
        They are kept in the memory of the workers until the end. Shuffle rows before: a shard that does not have all
        classes unlearns the others.
    y : dask.array or array-like of shape (n_samples,) or (n_samples, n_outputs), or list of blocks
        As the ``fit`` of the estimator takes it. A list of arrays, sparse matrices, Delayed or Future is blocks,
        with as many rows as those of X. It is brought together once, as classes, their shares and the scale of numbers
        are those of all blocks.
    sample_weight : dask.array, array-like of shape (n_samples,) or list of blocks, default=None
        As in the ``fit`` of the estimator.
    n_shards : int, default=None
        The number of shards, at most that of the blocks. None is the number of workers. The result depends on it, and
        not on the number of workers.
    rounds_per_epoch : int, default=10
        How often the model is put together in an epoch; less where a shard has fewer mini-batches. More rounds lose
        less accuracy and send more.
    client : dask.distributed.Client, default=None
        None is the one that is there.
    on_round : callable, default=None
        Called with a named tuple after each round: ``epoch``, ``n_epochs``, ``round``, ``n_rounds`` (both counted from
        0), ``n_shards``, ``loss`` (the mean of the round) and ``n_bytes``, those of the arrays that were sent in the
        round, in both directions and to each worker. What it raises ends the call. Callbacks of the estimator are not
        called.

    Returns
    -------
    estimator
        The estimator itself, as its ``fit`` leaves it: an ordinary one, that knows nothing of Dask. With
        ``warm_start`` it goes on from where it is.

    Raises
    ------
    ImportError
        If Dask is not installed.
    TypeError
        If the estimator is another one, or X no blocks.
    ValueError
        As the ``fit`` of the estimator; also if blocks have different numbers of columns, or no rows, or not as many as
        those of y; if there is no client, or it has no workers; if ``n_shards`` or ``rounds_per_epoch`` is less
        than 1. The estimator is then as it was.
    RuntimeError
        If the workers or the scheduler are lost, and trying again has not helped. The estimator is then as it was.

    Notes
    -----
    With one shard, one round per epoch and ``shuffle=False`` the result is that of the estimator's ``fit``, to the bit.

    A row of the table moves by ``sum(c[k] * moved[k]) / sqrt(sum(c[k] ** 2))``, where c[k] is how often shard k has
    named it in the round. Layers and intercepts are means, weighted by the numbers of rows of X. Sums of squares of
    gradients are added up. With means of rows, too (McMahan et al., "Communication-efficient learning of deep networks
    from decentralized data", 2017), a row that all shards name would move no further than with one of them, and with
    plain sums training diverges when there are many shards.

    ``random_state`` decides everything: a part of a round is a function of its model and its shard, so one that is lost
    with a worker is run again by another, with the same result.

    Examples
    --------
    >>> from dask.distributed import Client
    >>> from skbag import EmbeddingBagClassifier
    >>> import skbag.dask
    >>> model = EmbeddingBagClassifier(random_state=0)
    >>> client = Client(n_workers=2)  # doctest: +SKIP
    >>> skbag.dask.fit(model, X, y)  # doctest: +SKIP
    """
    dask_module("dask", "skbag.dask.fit")
    client = get_client(client)
    _check(estimator, n_shards=n_shards, rounds_per_epoch=rounds_per_epoch)
    job = _Job(client, estimator)
    try:
        job.prepare(X, y, sample_weight, n_shards)
        job.train(int(rounds_per_epoch), on_round)
    finally:
        job.end()
    estimator.__dict__ = estimator._with_fit_of(job.fitted)
    return estimator


def _check(estimator: Any, **numbers: Any) -> None:
    if not isinstance(estimator, TrainedEmbeddingBag):
        raise TypeError(
            f"estimator must be an EmbeddingBagClassifier or EmbeddingBagRegressor, got {type(estimator).__name__}."
        )
    estimator._validate_params()
    for name, value in (("early_stopping", True), ("freeze", True)):
        if getattr(estimator, name) is value:
            raise ValueError(f"skbag.dask.fit does not support {name}={value}.")
    if estimator.device != "cpu":
        raise ValueError(f"skbag.dask.fit trains on CPUs alone, got device={estimator.device!r}.")
    get_backend(estimator.device)
    for name, number in numbers.items():
        if number is not None and (not isinstance(number, int | np.integer) or number < 1):
            raise ValueError(f"{name} must be an integer of at least 1, got {number!r}.")


class _Job:
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
        drawn = *self.fitted._drawn, table.values.shape, table.values.dtype, padding_idx, fills
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
        fitted, losses = self.fitted, []
        earlier = fitted.loss_curve_ if self.warm else []
        n_rounds = min(n_rounds, self.n_steps)
        n_epochs = default_epochs(fitted._loss_of(self.learnt), self.n_used)
        n_epochs = n_epochs if isinstance(fitted.max_iter, str) else int(fitted.max_iter)
        stopper = Stopper(fitted.tol or 0.0, fitted.n_iter_no_change)
        seed = int(self.rng.randint(0, 2**32, dtype=np.uint32)) if fitted.shuffle else None
        for epoch in range(n_epochs):
            total = np.zeros(2)
            for number in range(n_rounds):
                change, n_bytes = self._round(seed, n_epochs, epoch, n_rounds, number)
                total += change.loss * change.n_rows, change.n_rows
                if on_round is not None:
                    on_round(Round(epoch, n_epochs, number, n_rounds, len(self.shards), change.loss, n_bytes))
            losses.append(float(total[0] / total[1]))
            if fitted.verbose:
                print(f"Epoch {len(losses)}, loss {losses[-1]:.6f}")
            if stopper.update(losses[-1]) and fitted.tol is not None:
                break
        fitted._keep(self.model, self.learnt, self.rng, losses, earlier)
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


def partial_fit(estimator: Any, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
    """Train for one epoch on the blocks in their order, one after the other, in this process.

    The same as a loop over the blocks that calls the estimator's ``partial_fit``, but that a block that is refused
    leaves the estimator as it was before the first one.

    Parameters
    ----------
    estimator : estimator with ``partial_fit``
        It is copied, trained, and then takes over what its copy has learnt.
    X : dask.array of shape (n_samples, n_features), or list of blocks
        Computed, by the client or scheduler of Dask that is there, and brought here, one block at a time.
    y : dask.array of shape (n_samples,) or (n_samples, n_outputs), or list of blocks
        With the blocks of X.
    classes : array-like of shape (n_classes,), default=None
        All classes; needed in the first call of a classifier.
    sample_weight : dask.array of shape (n_samples,) or list of blocks, default=None
        With the blocks of X.

    Returns
    -------
    estimator
        The estimator itself.

    Raises
    ------
    ImportError
        If Dask is not installed.
    ValueError
        If X and y have different numbers of blocks, or a block is refused: the message says which one.

    Examples
    --------
    >>> import numpy as np
    >>> from skbag import EmbeddingBagClassifier
    >>> import skbag.dask
    >>> X, y = [np.eye(4), np.eye(4)], [np.array([0, 0, 1, 1])] * 2
    >>> model = EmbeddingBagClassifier(2, learning_rate_init=1.0, random_state=0)
    >>> for _ in range(10):
    ...     model = skbag.dask.partial_fit(model, X, y, classes=[0, 1])
    >>> model.predict(np.eye(4))
    array([0, 0, 1, 1])
    """
    given = [blocks_of(X, "X"), blocks_of(y, "y")]
    if sample_weight is not None:
        given.append(blocks_of(sample_weight, "sample_weight"))
    if len({len(blocks) for blocks in given}) > 1:
        raise ValueError(f"X, y and sample_weight must have the same blocks, got {[len(blocks) for blocks in given]}.")
    trained = deepcopy(estimator)
    declared = {} if classes is None else {"classes": classes}
    for k, block in enumerate(zip(*given, strict=True)):
        values = [each.compute() if hasattr(each, "__dask_graph__") else each.result() for each in block]
        try:
            trained.partial_fit(*values[:2], **declared, **dict(zip(("sample_weight",), values[2:], strict=False)))
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"In block {k}: {error}") from error
    estimator.__dict__ = {**vars(estimator), **vars(trained), **estimator.get_params(deep=False)}
    return estimator
