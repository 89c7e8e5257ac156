"""Training on blocks: in rounds on all workers at once, or one block after the other."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np

from skbag._backends import get_backend
from skbag._dask.blocks import blocks_of, dask_module, get_client
from skbag._dask.job import Job, Round
from skbag._estimators.trained import TrainedEmbeddingBag


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
    of the round have named travel, and no block of X does; for the modes "sum" and "mean" up to 256 rows of X are
    looked at here before. Where columns learn by what they say of classes, as in ``fit``, each shard says its part of
    that before the first round, in 17 numbers for each column at most, and workers are sent a state for each column
    that is named.

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
    job = Job(client, estimator)
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
