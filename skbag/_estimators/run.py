"""One call of fit of an estimator that is trained."""

import warnings
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.utils import _safe_indexing

from skbag._backends import get_trainer, lend
from skbag._data.bags import Bags
from skbag._data.model import Model
from skbag._data.on_device import is_on_device, on_host
from skbag._data.quantized import table_of
from skbag._data.table import check_weight
from skbag._data.targets import Targets
from skbag._data.warned import level_of_user
from skbag._training import convex
from skbag._training.defaults import default_epochs
from skbag._training.loop import Schedule, Stopper, epochs
from skbag._training.progress import Progress
from skbag._training.validation import Validation

if TYPE_CHECKING:
    from skbag._estimators.trained import TrainedEmbeddingBag

Array = NDArray[Any]


class Run:
    """One call of fit: the epochs, what stops them and which one is kept."""

    def __init__(
        self, estimator: "TrainedEmbeddingBag", bags: Bags, learnt: Any, targets: Targets, weights: Array, used: Array,
        model: Model, rng: Any,
    ) -> None:  # fmt: skip
        self.estimator, self.bags, self.learnt, self.targets = estimator, bags, learnt, targets
        self.weights, self.used, self.model, self.rng = weights, used, model, rng
        self.trainer = estimator._trainer(bags, learnt, targets, weights, model)
        self.validation: Validation | None = None
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.best: int | None = None  # the number of the best score; None for the last one

    def validate(self, left_out: Array | None, given: Any, X: Any, y: Any, sample_weight: Array) -> None:
        """Prepare what early stopping looks at: rows left out, or what the user gives; the loss has other weights."""
        estimator, by_loss = self.estimator, self.estimator.scoring == "loss"
        if left_out is None and given is None:
            return
        if left_out is not None:
            X, y = (None, None) if by_loss else (_rows_of(some, left_out, estimator.device) for some in (X, y))
            weights, sample_weight = self.weights[left_out], sample_weight[left_out]
            targets, rows = self.targets, left_out

            def outputs(some: Array) -> Array:
                return self.trainer.outputs(left_out[some])
        else:
            X, y, bags, targets, weights, sample_weight = given
            rows, predict = np.arange(bags.n_rows), get_trainer(estimator.device).predict

            def outputs(some: Array) -> Array:
                some_bags = bags if len(some) == bags.n_rows else bags.of_rows(some)
                return predict(some_bags, self.model, estimator._blocks, estimator.n_jobs)

        scorer = None if by_loss else self._scorer(X, y, sample_weight)
        self.validation = Validation(outputs, targets, rows, weights, estimator._loss_of(self.learnt), scorer)

    def _scorer(self, X: Any, y: Any, weights: Array) -> Any:
        """Return a function that scores the model, as ``scoring`` says."""
        scoring = check_scoring(self.estimator, self.estimator.scoring)
        weighted = (weights != weights[0]).any() and _takes_weights(scoring)

        def score() -> float:
            trained = self.estimator._snapshot()
            for name, value in trained._attributes(self.model, self.learnt).items():
                setattr(trained, name, value)
            return scoring(trained, X, y, sample_weight=weights) if weighted else scoring(trained, X, y)

        return score

    def train(self, progress: Progress) -> None:
        """Run the epochs, or solve the convex problem of a frozen table and one layer."""
        estimator = self.estimator
        if estimator.freeze and len(self.model.layers) == 1:
            progress.n_epochs = 1
            with progress:
                self._solve()
                self._check_scores()
                progress.epoch(self._fitted, 1)
            return
        n_batches = -(-len(self.used) // min(int(estimator.batch_size), self.bags.n_rows))
        automatic = isinstance(estimator.max_iter, str)
        n_default = default_epochs(
            estimator._loss_of(self.learnt), len(self.used), frozen=bool(estimator.freeze),
            evident=estimator._needs_fewer_epochs(self.learnt),
        )  # fmt: skip
        n_epochs = progress.n_epochs = n_default if automatic else int(estimator.max_iter)
        schedule = estimator._schedule(self.learnt, estimator.learning_rate, n_epochs, n_batches)
        best, stopped = self._epochs(schedule, progress)
        self._check_scores()
        if best is not None:
            for parameters, kept in zip(self.model.parameters(), best.parameters(), strict=True):
                parameters.take(kept)
            self.model.n_steps = best.n_steps
        if not stopped and estimator.tol is not None and estimator.learning_rate == "constant":
            warnings.warn(
                f"Maximum number of iterations ({n_epochs}) reached, and never {estimator.n_iter_no_change} epochs in "
                f"a row without an improvement by more than tol={estimator.tol}. Increase max_iter or tol.",
                ConvergenceWarning,
                stacklevel=level_of_user(),
            )

    def _epochs(self, schedule: Schedule, progress: Progress) -> tuple[Any, bool]:
        """Run the epochs; return a copy of the best model, with early stopping, and whether something stopped them."""
        estimator, best = self.estimator, None
        stopper = Stopper(estimator.tol or 0.0, estimator.n_iter_no_change)
        with progress:
            for loss in epochs(self.trainer, self.used, schedule, estimator.shuffle, self.rng):
                self.losses.append(loss)
                value = loss
                if self.validation is not None:
                    self.scores.append(self.validation.score())
                    value = -self.scores[-1]
                stop = stopper.update(value) and (estimator.early_stopping or estimator.tol is not None)
                if self.validation is not None and stopper.improved:
                    best, self.best = self.model.copy(), len(self.scores) - 1
                if estimator.verbose:
                    score = f", validation score {self.scores[-1]:.6f}" if self.scores else ""
                    print(f"Epoch {len(self.losses)}, loss {loss:.6f}{score}")
                if progress.epoch(self._fitted, len(self.losses)) or stop:
                    return best, True
        return best, False

    def _check_scores(self) -> None:
        """Raise ValueError if no epoch has a score."""
        if self.scores and np.isnan(self.scores).all():
            raise ValueError(
                f"scoring must return numbers, got nan in all of {len(self.scores)} epochs: early stopping cannot say "
                "which one is best."
            )

    def _fitted(self) -> dict[str, Any]:
        return self.estimator._attributes(self.model, self.learnt)

    def _solve(self) -> None:
        """Solve the convex problem of a frozen table."""
        estimator, used = self.estimator, self.used
        table = check_weight(table_of(self.model.table.values))
        features = on_host(estimator._features_of(self.bags, table))
        max_iter = None if isinstance(estimator.max_iter, str) else int(estimator.max_iter)
        some = Targets(*rows_of_targets(self.targets, used), self.targets.n_outputs)
        loss, alpha = estimator._loss_of(self.learnt), estimator._alpha(estimator._manner(self.learnt))
        self.losses = convex.solve(self.model, features[used], some, self.weights[used], loss, alpha, max_iter)
        arrays = [parameters.values for parameters in self.model.parameters()[1:]]
        if not (np.isfinite(self.losses[-1]) and all(np.isfinite(array).all() for array in arrays)):
            raise ValueError(
                "The loss became infinite or NaN, or the layer did: training diverges. Use smaller values of init, X "
                "and sample_weight."
            )
        if estimator.verbose:
            print(f"{len(self.losses)} iterations, loss {self.losses[-1]:.6f}")
        if self.validation is not None:
            self.scores = [self.validation.score()]


def _rows_of(X: Any, rows: Array, device: str) -> Any:
    """Return some rows of X or y; of one that lies on a GPU, on the host."""
    if is_on_device(X):
        X = csr_array(tuple(array.host() for array in lend(X, device)), X.shape)
    return _safe_indexing(X.tocsr() if issparse(X) else X, rows)


def rows_of_targets(targets: Targets, rows: Array) -> tuple[Array, Array, Array | None]:
    """Return indices, indptr and values of some rows of targets."""
    lengths = np.diff(targets.indptr)[rows]
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    entries = np.repeat(targets.indptr[:-1][rows] - indptr[:-1], lengths) + np.arange(indptr[-1])
    return targets.indices[entries], indptr, None if targets.values is None else targets.values[entries]


def _takes_weights(scorer: Any) -> bool:
    """Return whether a scorer, or the metric it was made of, takes sample_weight."""
    known = signature(getattr(scorer, "_score_func", scorer)).parameters
    return "sample_weight" in known or any(one.kind is Parameter.VAR_KEYWORD for one in known.values())
