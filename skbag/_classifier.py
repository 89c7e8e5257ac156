"""EmbeddingBagClassifier: a bag of trained vectors, then a linear layer."""

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import ArrayLike, DTypeLike, NDArray
from scipy.sparse import csr_array, issparse
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted

from ._backends import get_trainer  # noqa: TID251
from ._bags import Bags
from ._base import EmbeddingBagBase, unchanged_on_error
from ._training import Schedule, Stopper, Targets, epochs, targets_of_classes, targets_of_labels

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""


Array = NDArray[Any]


class EmbeddingBagClassifier(ClassifierMixin, CallbackSupportMixin, EmbeddingBagBase):
    """Train a table of vectors and a linear layer on pooled bags."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **EmbeddingBagBase._parameter_constraints,
        "freeze": ["boolean"],
        "scale_grad_by_freq": ["boolean"],
        "solver": [StrOptions({"adagrad", "sgd"})],
        "learning_rate": [StrOptions({"linear", "constant"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        embedding_dim: int = 16,
        *,
        mode: str = "sqrtn",
        init: Any = "uniform",
        freeze: bool = False,
        per_sample_weights: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        solver: str = "adagrad",
        learning_rate: str = "linear",
        learning_rate_init: float = 0.05,
        alpha: float = 0.0,
        batch_size: int = 32,
        max_iter: int = 5,
        shuffle: bool = True,
        tol: float | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 2,
        class_weight: Any = None,
        warm_start: bool = False,
        dtype: DTypeLike = "float32",
        device: str = "cpu",
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: Any = 0,
    ) -> None:
        self.embedding_dim = embedding_dim
        self.mode = mode
        self.init = init
        self.freeze = freeze
        self.per_sample_weights = per_sample_weights
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.solver = solver
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.dtype = dtype
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on X and y from the start, or from where it is with ``warm_start``."""
        warm = self.warm_start and hasattr(self, "coef_")
        with unchanged_on_error(self):
            bags = self._check_bags(X, reset=not warm)
            classes, labels = _check_y(y, None)
            if warm and not np.array_equal(classes, self.classes_):
                raise ValueError(f"warm_start needs the classes of the first fit, {self.classes_}, got {classes}.")
            weights = self._check_weights(sample_weight, labels, bags.n_bags)
            weights = weights / (weights.mean() or 1.0)
            rng = check_random_state(self.random_state)
            model = self._model() if warm else self._new_model(bags, _encode(labels, classes).n_outputs, rng)
            losses = self._train(bags, labels, classes, weights, model, rng, X, y, sample_weight)
            self._keep(model, classes, labels, rng, [*self.loss_curve_, *losses] if warm else losses)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch on one batch of a stream, at the constant rate ``learning_rate_init``."""
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. In order to use 'balanced' weights, "
                "compute them from all labels with sklearn.utils.compute_class_weight and pass them as a dict."
            )
        first = not hasattr(self, "coef_")
        with unchanged_on_error(self):
            bags = self._check_bags(X, reset=first)
            known, labels = _check_y(y, self._known_classes(y, classes, first))
            weights = self._check_weights(sample_weight, labels, bags.n_bags)
            targets = _encode(labels, known)
            rng = check_random_state(self.random_state) if first else self._rng
            model = self._new_model(bags, targets.n_outputs, rng) if first else self._model()
            trainer = self._trainer(bags, targets, weights, model)
            schedule = Schedule("constant", self.learning_rate_init, 1, 1)
            with model.restored_on_error(bags.indices[: bags.n_members]):
                losses = list(epochs(trainer, np.arange(bags.n_bags), schedule, self.shuffle, rng))
            self._keep(model, known, labels, rng, losses if first else [*self.loss_curve_, *losses])
        return self

    def _known_classes(self, y: Any, classes: ArrayLike | None, first: bool) -> Array | None:
        """Return the classes of a partial_fit; None where only a label indicator y can tell."""
        given = None if classes is None else np.unique(np.asarray(classes))
        if first:
            if given is None and type_of_target(y) != "multilabel-indicator":
                raise ValueError("classes must be passed on the first call to partial_fit.")
            return given
        if given is not None and not np.array_equal(given, self.classes_):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
            )
        return self.classes_

    def _check_weights(self, sample_weight: ArrayLike | None, labels: Any, n_samples: int) -> Array:
        """Return one weight per sample: sample_weight times class_weight."""
        check_consistent_length(labels, range(n_samples))
        weights = _check_sample_weight(sample_weight, range(n_samples), dtype=np.float64, ensure_non_negative=True)
        if self.class_weight is None:
            return weights
        if issparse(labels):
            raise ValueError("class_weight is not supported for a label indicator y.")
        return weights * compute_sample_weight(self.class_weight, labels)

    def _new_model(self, bags: Bags, n_outputs: int, rng: np.random.RandomState) -> Any:
        table = self._new_table(bags, rng)
        if not table.flags.writeable or table is self.init:
            table = table.copy()  # training writes into it
        n_rows, dim = table.shape
        scale = 1 / np.sqrt(dim)
        coef = rng.uniform(-scale, scale, (n_outputs, dim)).astype(table.dtype)
        states = np.zeros(n_rows), np.zeros(n_outputs), np.zeros(n_outputs)
        return get_trainer(self.device).Model(table, coef, np.zeros(n_outputs, table.dtype), *states)

    def _model(self) -> Any:
        """Return the fitted arrays to train on; writable copies where they are not (memory-mapped ones)."""
        fitted = self.embeddings_, self.coef_, self.intercept_, *self._solver_state
        dtype = self.embeddings_.dtype
        dtypes = (dtype,) * 3 + (np.dtype(np.float64),) * 3
        arrays = (np.require(array, kind, ["C", "A", "W"]) for array, kind in zip(fitted, dtypes, strict=True))
        return get_trainer(self.device).Model(*arrays)

    def _keep(self, model: Any, classes: Array, labels: Any, rng: Any, losses: list[float]) -> None:
        self.embeddings_, self.coef_, self.intercept_ = model.table, model.coef, model.intercept
        self._solver_state = model.table_state, model.coef_state, model.intercept_state
        self.classes_, self._multilabel = classes, issparse(labels)
        self._rng = rng
        self.loss_curve_ = losses
        self.n_iter_ = len(losses)

    def _trainer(self, bags: Bags, targets: Targets, weights: Array, model: Any) -> Any:
        module = get_trainer(self.device)
        norm = None if self.max_norm is None else (float(self.max_norm), float(self.norm_type))
        objective = module.Objective(
            self.mode, targets.loss, self.solver, self.alpha, norm, self.scale_grad_by_freq, self.freeze
        )
        jobs = effective_n_jobs(self.n_jobs)
        return module.Trainer(bags, targets.indices, targets.indptr, weights, model, objective, self.batch_size, jobs)

    def _train(
        self, bags: Bags, labels: Any, classes: Array, weights: Array, model: Any, rng: Any, X: Any, y: Any,
        sample_weight: Any,
    ) -> list[float]:  # fmt: skip
        """Run the epochs of fit on the model, and return the loss of each."""
        targets = _encode(labels, classes)
        used = np.flatnonzero(weights)
        if self.early_stopping:
            used, held_out = self._split(used, labels, rng)
        trainer = self._trainer(bags, targets, weights, model)
        n_batches = -(-len(used) // min(self.batch_size, bags.n_bags))
        schedule = Schedule(self.learning_rate, self.learning_rate_init, self.max_iter, n_batches)
        stopper = Stopper(self.tol or 0.0, self.n_iter_no_change)
        losses: list[float] = []
        best: Any = None
        stopped = False
        with _Progress(self, X, y, sample_weight) as progress:
            for loss in epochs(trainer, used, schedule, self.shuffle, rng):
                losses.append(loss)
                value = loss
                if self.early_stopping:
                    value = -self._accuracy(trainer, model, held_out, labels, classes)
                stopped = stopper.update(value) and (self.early_stopping or self.tol is not None)
                if self.early_stopping and stopper.improved:
                    best = [array.copy() for array in model.arrays()]
                if self.verbose:
                    score = f", validation accuracy {-value:.4f}" if self.early_stopping else ""
                    print(f"Epoch {len(losses)}, loss {loss:.6f}{score}")
                if progress.epoch(model, classes, losses) or stopped:
                    stopped = True
                    break
        if best is not None:
            for array, kept in zip(model.arrays(), best, strict=True):
                array[:] = kept
        if not stopped and self.tol is not None and self.learning_rate == "constant":
            warnings.warn(
                f"Maximum number of iterations ({self.max_iter}) reached and the loss still falls by more than tol. "
                "Increase max_iter or tol.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return losses

    def _split(self, rows: Array, labels: Any, rng: Any) -> tuple[Array, Array]:
        stratify = None if issparse(labels) else labels[rows]
        used, held_out = train_test_split(rows, test_size=self.validation_fraction, stratify=stratify, random_state=rng)
        return np.sort(used), np.sort(held_out)

    def _accuracy(self, trainer: Any, model: Any, rows: Array, labels: Any, classes: Array) -> float:
        """Return the share of the rows whose labels are all predicted."""
        logits = trainer.pool(rows) @ model.coef.T + model.intercept
        if issparse(labels):
            return float(((logits > 0) == labels[rows].toarray()).all(axis=1).mean())
        return float((_classes_of(logits, np.arange(len(classes))) == labels[rows]).mean())

    def decision_function(self, X: Any) -> Array:
        """Return the logits: pooled features times coef_, plus intercept_."""
        check_is_fitted(self)
        logits = self._pool(X) @ self.coef_.T + self.intercept_
        return logits.ravel() if self._is_binary() else logits

    def predict(self, X: Any) -> Array:
        """Return the class of each row, or the label indicator."""
        logits = self.decision_function(X)
        if self._multilabel:
            return (logits > 0).astype(np.int64)
        return _classes_of(logits.reshape(len(logits), -1), self.classes_)

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, or of each label."""
        logits = self.decision_function(X)
        if self._multilabel:
            return expit(logits)
        return np.stack([expit(-logits), expit(logits)], axis=1) if self._is_binary() else softmax(logits, axis=1)

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of `predict_proba`, exact where that is close to 0."""
        logits = self.decision_function(X)
        if self._multilabel:
            return log_expit(logits)
        if self._is_binary():
            return np.stack([log_expit(-logits), log_expit(logits)], axis=1)
        return log_softmax(logits, axis=1)

    def _is_binary(self) -> bool:
        return not self._multilabel and len(self.classes_) == 2

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class _Progress:
    """scikit-learn's callbacks around fit and around each epoch; nothing before scikit-learn 1.9."""

    def __init__(self, estimator: EmbeddingBagClassifier, X: Any, y: Any, sample_weight: Any) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.estimator, self.call = estimator, {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.context: Any = None

    def __enter__(self) -> Self:
        if hasattr(self.estimator, "_init_callback_context"):
            self.context = self.estimator._init_callback_context(max_subtasks=self.estimator.max_iter)
            self.context.call_on_fit_task_begin(**self.call)
            self._next()
        return self

    def _next(self) -> None:
        self.task = self.context.subcontext(task_name="epoch")
        self.task.call_on_fit_task_begin(**self.call)

    def epoch(self, model: Any, classes: Array, losses: list[float]) -> bool:
        """End an epoch and begin the next; return whether a callback asks to stop."""
        if self.context is None:
            return False
        fitted = {"embeddings_": model.table, "coef_": model.coef, "intercept_": model.intercept, "classes_": classes}
        stop = self.task.call_on_fit_task_end(**self.call, reconstruction_attributes=fitted)
        if not stop and len(losses) < self.estimator.max_iter:
            self._next()
        return bool(stop)

    def __exit__(self, *error: object) -> None:
        if self.context is not None and error[0] is None:
            self.context.call_on_fit_task_end(**self.call, reconstruction_attributes={})


def _check_y(y: Any, classes: Array | None) -> tuple[Array, Any]:
    """Return the classes and the labels: class numbers, or the label indicator in CSR.

    ``classes`` are those of earlier calls; a label that is not among them is an error.
    """
    check_classification_targets(y)
    if type_of_target(y, input_name="y") == "multilabel-indicator":
        labels = csr_array(y, dtype=np.float64)
        labels.eliminate_zeros()
        labels.sum_duplicates()
        if classes is not None and len(classes) != labels.shape[1]:
            raise ValueError(f"y must have one column per label, {len(classes)}, got {labels.shape[1]}.")
        return np.arange(labels.shape[1]) if classes is None else classes, labels
    y = column_or_1d(y, warn=True)
    if classes is None:
        classes, codes = np.unique(y, return_inverse=True)
    else:
        codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
        unseen = np.setdiff1d(y, classes)
        if len(unseen):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. 'y' has {unseen}."
            )
    if len(classes) < 2:
        raise ValueError(
            "This solver needs samples of at least 2 classes in the data, but the data contains only one class: "
            f"{classes[0]!r}"
        )
    return classes, codes


def _encode(labels: Any, classes: Array) -> Targets:
    return targets_of_labels(labels) if issparse(labels) else targets_of_classes(labels, len(classes))


def _classes_of(logits: Array, classes: Array) -> Array:
    """Return the class of the largest logit; of one logit, by its sign."""
    codes = (logits[:, 0] > 0).astype(np.intp) if logits.shape[1] == 1 else logits.argmax(axis=1)
    return classes[codes]
