"""EmbeddingBagRegressor: a bag of trained vectors, then a linear layer that predicts numbers."""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import StrOptions

from skbag._data.table import check_dtype
from skbag._data.targets import Scale, Targets, check_targets, scale_of, scaled_targets
from skbag._estimators.trained import TrainedEmbeddingBag
from skbag._rules.losses import REGRESSION, Loss

Array = NDArray[Any]


class EmbeddingBagRegressor(RegressorMixin, TrainedEmbeddingBag):
    """DOC."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **TrainedEmbeddingBag._parameter_constraints,
        "loss": [StrOptions(set(REGRESSION))],
    }

    def __init__(
        self,
        embedding_dim: int = 64,
        *,
        mode: str = "sqrtn",
        init: Any = "uniform",
        freeze: bool = False,
        per_sample_weights: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        loss: str = "squared_error",
        solver: str = "rowwise_adagrad",
        learning_rate: str = "linear",
        learning_rate_init: float | str = "auto",
        alpha: float = 1e-4,
        batch_size: int = 16,
        max_iter: int | str = "auto",
        shuffle: bool = True,
        tol: float | None = None,
        early_stopping: bool = False,
        scoring: Any = "loss",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 2,
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
        self.loss = loss
        self.solver = solver
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.early_stopping = early_stopping
        self.scoring = scoring
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.dtype = dtype
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Any = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train on X and y, from the start or, with ``warm_start``, from where the estimator is.

        Rows whose weight is 0 are left out.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Real and finite. CSR is taken as it is, anything else is converted to CSR.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Finite numbers; not negative for the loss "poisson".
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative. They are divided by their mean; None is 1 for every row.
        X_val, y_val, sample_weight_val : like X, y and sample_weight, default=None
            What ``early_stopping`` looks at, instead of rows held out.

        Returns
        -------
        EmbeddingBagRegressor
            The fitted estimator itself.

        Raises
        ------
        ValueError
            As `EmbeddingBagClassifier.fit` for X, the weights and the parameters; if y has another length, contains NaN
            or infinity, or numbers too large for ``dtype``; if it is negative for the loss "poisson".
        """
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train for one epoch on one batch of a stream, at the constant rate ``learning_rate_init``.

        The first batch decides by what the targets are divided; see the notes of the class. For the rest see
        `EmbeddingBagClassifier.partial_fit`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Real and finite, with the same columns in every call.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Finite numbers, of as many outputs in every call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative, taken as they are. None is 1 for every row.

        Returns
        -------
        EmbeddingBagRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            As in `fit`; also if y has another number of outputs than before, or with ``early_stopping=True``. The
            estimator is then as it was before the call, and the stream can go on.
        """
        return self._partial_fit(X, y, sample_weight)

    def _learn_y(self, y: Any, known: Any, weights: Array, n_samples: int) -> tuple[Scale, Array]:
        values = check_targets(y, known, self.loss, n_samples, check_dtype(self.dtype))
        return known or scale_of(values, weights, self.loss, one_dimensional=np.asarray(y).ndim == 1), values

    def _targets_of(self, learnt: Scale, y: Array) -> Targets:
        return scaled_targets(y, learnt)

    def _loss_of(self, learnt: Scale) -> Loss:
        return REGRESSION[self.loss]

    def _start_of(self, learnt: Scale, targets: Targets, weights: Array) -> Array:
        return learnt.start

    def _layer_of(self, learnt: Scale) -> tuple[Array, Array]:
        scale = np.ones(learnt.n_outputs) if learnt.logarithmic else learnt.scale
        return scale, learnt.offset

    def predict(self, X: Any) -> Array:
        """Return ``transform(X) @ coefs_[0] + intercepts_[0]``, for the loss "poisson" the exponential of that.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Real and finite. CSR is taken as it is, anything else is converted to CSR. No rows are fine.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs), float64
            One-dimensional if y was.

        Raises
        ------
        NotFittedError
            Before `fit` or `partial_fit`.
        ValueError
            If X has another number of columns than in `fit`, contains NaN, infinity or complex numbers, or its index
            arrays are not those of a sparse matrix. The message names the row and the id.
        """
        fitted = self._fitted_snapshot()
        factor, offset = fitted._layer_of(fitted._learnt)
        outputs = fitted._outputs(X).astype(np.float64) * factor + offset
        if fitted._learnt.logarithmic:
            with np.errstate(over="ignore"):
                outputs = np.exp(outputs)
        return outputs.ravel() if fitted._learnt.one_dimensional else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.positive_only = self.loss == "poisson"
        return tags
