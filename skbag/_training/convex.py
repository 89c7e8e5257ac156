"""A frozen table makes training a convex problem, and it is solved as one: by L-BFGS on the pooled features."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from skbag._data.model import Model
from skbag._data.targets import Targets
from skbag._rules.losses import Loss

Array = NDArray[Any]

_MOST_ITERATIONS = 100
_ENTRIES_AT_ONCE = 1 << 20  # outputs of the rows that are looked at together


def solve(
    model: Model, features: Array, targets: Targets, weights: Array, loss: Loss, alpha: float, max_iter: int | None
) -> list[float]:
    """Make the layer of a model the best for some features; return the loss of each iteration.

    The objective is ``sum(weight * loss) / n`` plus ``alpha / 2`` times the squared lengths of the weights of features
    that are scaled to a mean of 0 and a standard deviation of 1: neither the scale of the table nor a part that all its
    rows have in common matters.

    Parameters
    ----------
    model : Model
        Its layer, of which there is one, is where the search starts, and is changed.
    features : ndarray of shape (n_samples, dim)
    targets : Targets
    weights : ndarray of shape (n_samples,)
    loss : Loss
    alpha : float
    max_iter : int or None
        At most so many iterations; None is 100.
    """
    n, dim = features.shape
    n_outputs = targets.n_outputs
    scaled, mean, deviation = _scaled(features, weights / weights.sum())
    at_once = max(1, _ENTRIES_AT_ONCE // n_outputs)
    pieces = [np.arange(first, min(n, first + at_once)) for first in range(0, n, at_once)]
    dense = [targets.rows(piece) for piece in pieces] if n_outputs <= dim else None  # no larger than the features
    losses: list[float] = []

    def objective(x: Array) -> tuple[float, Array]:
        coef, intercept = x[:-n_outputs].reshape(n_outputs, dim), x[-n_outputs:]
        value, of_coef, of_intercept = 0.0, alpha * coef, np.zeros(n_outputs)
        for k, piece in enumerate(pieces):
            some = scaled[piece[0] : piece[-1] + 1]
            z = some @ coef.T + intercept
            if loss.normalized:
                z = log_softmax(z, axis=1)
            with np.errstate(over="ignore"):
                values, derivatives = loss.rule(z, targets.rows(piece) if dense is None else dense[k])
            derivatives = derivatives * (weights[piece] / n)[:, None]
            value += float(weights[piece] @ values.sum(axis=1)) / n
            of_coef += derivatives.T @ some
            of_intercept += derivatives.sum(axis=0)
        losses.append(value)
        return value + alpha / 2 * float((coef**2).sum()), np.concatenate((of_coef.ravel(), of_intercept))

    (layer,) = model.layers
    coef = layer.weights.values.astype(np.float64)
    finite = np.where(np.isfinite(deviation), deviation, 0)
    start = np.concatenate(((coef * finite).ravel(), layer.intercepts.values + coef @ mean))
    kept: list[float] = []
    result = minimize(
        objective, start, jac=True, method="L-BFGS-B", callback=lambda _: kept.append(losses[-1]),
        options={"maxiter": max_iter or _MOST_ITERATIONS, "maxfun": 20 * _MOST_ITERATIONS, "maxcor": 20, "gtol": 1e-6},
    )  # fmt: skip
    coef = result.x[:-n_outputs].reshape(n_outputs, dim) / deviation
    layer.weights.values[:] = coef
    layer.intercepts.values[:] = result.x[-n_outputs:] - coef @ mean
    return kept or losses[-1:]


def _scaled(features: Array, share: Array) -> tuple[Array, Array, Array]:
    """Return features with a weighted mean of 0 and a standard deviation of 1, and both before: infinite if it is 0."""
    scaled = features.astype(np.float64)
    mean = share @ scaled
    scaled -= mean
    deviation = np.sqrt(share @ scaled**2)
    deviation[deviation <= 1e-7 * (np.abs(mean) + deviation.max(initial=0))] = np.inf  # a constant says nothing
    scaled /= deviation
    return scaled, mean, deviation
