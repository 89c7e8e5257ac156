"""A frozen table makes training a convex problem, and it is solved as one: by L-BFGS on the pooled features."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from skbag._data.model import Model
from skbag._data.targets import Targets
from skbag._rules.losses import Loss

Array = NDArray[Any]

_MOST_ITERATIONS = 500
_ENTRIES_AT_ONCE = 1 << 22  # outputs of the rows that are looked at together


def solve(
    model: Model, features: Array, targets: Targets, weights: Array, loss: Loss, alpha: float, max_iter: int | None
) -> list[float]:
    """Make the layer and the intercept of a model the best for some features; return the loss of each iteration.

    The objective is ``sum(weight * loss) / n`` plus ``alpha / 2`` times the squared lengths of the weights of features
    that are scaled to a mean of 0 and a standard deviation of 1: neither the scale of the table nor a part that all its
    rows have in common matters.

    Parameters
    ----------
    model : Model
        Its layer and intercept are where the search starts, and are changed.
    features : ndarray of shape (n_samples, dim)
    targets : Targets
    weights : ndarray of shape (n_samples,)
    loss : Loss
    alpha : float
    max_iter : int or None
        At most so many iterations; None is 500.
    """
    n, dim = features.shape
    share = weights / weights.sum()
    mean = share @ features.astype(np.float64)
    deviation = np.sqrt(np.maximum(share @ (features - mean) ** 2, 0))
    deviation[deviation <= 1e-7 * (np.abs(mean) + deviation.max(initial=0))] = np.inf  # a constant says nothing
    n_outputs = targets.n_outputs
    rows_at_once = max(1, _ENTRIES_AT_ONCE // max(n_outputs, dim))
    losses: list[float] = []

    def objective(x: Array) -> tuple[float, Array]:
        coef, intercept = x[:-n_outputs].reshape(n_outputs, dim), x[-n_outputs:]
        value, of_coef, of_intercept = 0.0, np.zeros_like(coef), np.zeros(n_outputs)
        for first in range(0, n, rows_at_once):
            some = np.arange(first, min(n, first + rows_at_once))
            h = (features[some] - mean) / deviation
            z = h @ coef.T + intercept
            with np.errstate(over="ignore"):
                if loss.normalized:
                    z = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
                values, derivatives = loss.rule(z, targets.rows(some))
            derivatives = derivatives * (weights[some] / n)[:, None]
            value += float(weights[some] @ values.sum(axis=1)) / n
            of_coef += derivatives.T @ h
            of_intercept += derivatives.sum(axis=0)
        losses.append(value)
        of_coef += alpha * coef
        return value + alpha / 2 * float((coef**2).sum()), np.concatenate((of_coef.ravel(), of_intercept))

    finite = np.where(np.isfinite(deviation), deviation, 0)
    coef = model.layer.values.astype(np.float64)
    start = np.concatenate(((coef * finite).ravel(), model.intercept.values + coef @ mean))
    kept: list[float] = []
    result = minimize(
        objective, start, jac=True, method="L-BFGS-B", callback=lambda _: kept.append(losses[-1]),
        options={"maxiter": max_iter or _MOST_ITERATIONS, "maxfun": 20 * _MOST_ITERATIONS, "maxcor": 20, "gtol": 1e-7},
    )  # fmt: skip
    coef = result.x[:-n_outputs].reshape(n_outputs, dim) / deviation
    model.layer.values[:] = coef
    model.intercept.values[:] = result.x[-n_outputs:] - coef @ mean
    return kept or losses[-1:]
