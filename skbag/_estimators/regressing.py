"""How a regressor is trained, what it learns from y, and what it predicts."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context

from skbag._data.table import check_dtype
from skbag._data.targets import Scale, Targets, check_scale, check_targets, scale_of, scaled_targets, warn_of_scale
from skbag._estimators.linear import linear_regressor
from skbag._estimators.trained import TrainedEmbeddingBag
from skbag._rules.losses import REGRESSION, Loss

Array = NDArray[Any]


class TrainedRegressor(TrainedEmbeddingBag):
    """A table and a layer that are trained on numbers."""

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
            or infinity, or numbers too large for ``dtype``, or varies by less than ``dtype`` can hold; if it is
            negative for the loss "poisson".
        """
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)

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
            Weights of the rows, not negative, taken as they are. Rows whose weight is 0 are left out; one at least must
            be larger. None is 1 for every row.

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
        return self._partial_fit(*self._begin_call(), X, y, sample_weight)

    def _learn_y(self, y: Any, known: Any, weights: Array, n_samples: int) -> tuple[Scale, Array]:
        dtype = check_dtype(self.dtype, self._storages)
        values = check_targets(y, known, self.loss, n_samples, dtype)
        used = values[weights > 0]
        if known is not None:
            warn_of_scale(used, known)
            return known, values
        scale = scale_of(values, weights, self.loss, one_dimensional=np.asarray(y).ndim == 1)
        check_scale(scale, used, dtype)
        return scale, values

    def _linear_model(self, coef: Array, intercept: Array) -> Any:
        return linear_regressor(coef, intercept, self._learnt)

    def _targets_of(self, learnt: Scale, y: Array) -> Targets:
        return scaled_targets(y, learnt)

    def _loss_of(self, learnt: Scale) -> Loss:
        return REGRESSION[self.loss]

    def _start_of(self, learnt: Scale, targets: Targets, weights: Array) -> Array:
        return learnt.start

    def _constant_outputs(self, targets: Targets, weights: Array) -> Array:
        values: Any = targets.values
        values = values.reshape(-1, targets.n_outputs)[weights > 0]
        constant: Array = (values == 0).all(axis=0) & (self.loss != "poisson")  # the offset is taken off
        return constant

    def _layer_of(self, learnt: Scale) -> tuple[Array, Array]:
        scale = np.ones(learnt.n_outputs) if learnt.logarithmic else learnt.scale
        return scale, learnt.offset

    def _outputs_named(self, output: Any) -> Array:
        """Return the numbers of outputs that are given."""
        given, n = np.asarray(output), self._learnt.n_outputs
        if given.dtype.kind not in "iu" or (given.size and not (given.min() >= 0 and given.max() < n)):
            raise ValueError(f"output must be numbers of outputs, from 0 to {n - 1}, got {output!r}.")
        return given.astype(np.int64)

    def predict(self, X: Any) -> Array:
        """Return ``transform(X) @ coefs_[0] + intercepts_[0]``, for the loss "poisson" the exponential of that.

        With hidden layers, what these make of the features.

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
