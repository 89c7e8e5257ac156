"""What training means: plain loops in float64, without Numba. The oracle of the training kernels.

Bags are pairs (ids, weights), as in ``reference``; ``labels`` is an array (n_bags, n_outputs) of zeros and ones.
"""

from dataclasses import dataclass

import numpy as np
import reference


@dataclass
class Options:
    """What one step does, in the words of the estimator's parameters."""

    mode: str = "sum"
    loss: str = "sigmoid"
    solver: str = "sgd"
    padding_idx: int | None = None
    max_norm: float | None = None
    norm_type: float = 2.0
    scale_grad_by_freq: bool = False
    alpha: float = 0.0
    freeze: bool = False


class Model:
    """Table, linear layer and the solver's state."""

    def __init__(self, table, coef, intercept, state=0.0, n_steps=0):
        arrays = [np.array(array, np.float64) for array in (table, coef, intercept)]
        self.table, self.coef, self.intercept = arrays
        self.n_steps = n_steps
        self.sums = [np.full(array.shape, state) for array in arrays]  # of squares, for row-wise sums in each element
        self.moments = [(np.zeros_like(array), np.zeros_like(array)) for array in arrays]


def members(bag, n_rows, padding_idx=None):
    """Return what counts of a bag: its ids and weights without padding and zero weights."""
    ids, weights = bag
    kept = weights != 0
    if padding_idx is not None:
        kept &= ids != padding_idx % n_rows
    return ids[kept], weights[kept]


def shares(ids, weights, table, mode):
    """Return the derivative of each feature with respect to each member: (n_members, dim)."""
    dim = table.shape[1]
    if mode == "max":
        result = np.zeros((len(ids), dim))
        if len(ids):
            result[table[ids].argmax(axis=0), np.arange(dim)] = 1  # argmax: the first of the largest
        return result
    size = {"sum": 1.0, "mean": np.abs(weights).sum(), "sqrtn": np.sqrt((weights**2).sum())}[mode]
    return np.repeat(weights[:, None] / (size or 1.0), dim, axis=1)


def loss_of(z, t, loss):
    """Return the loss of one row."""
    s = 2 * t - 1
    if loss == "softmax":
        return np.logaddexp.reduce(z) - z @ t
    return {
        "sigmoid": lambda: np.logaddexp(0, z) - z * t,
        "hinge": lambda: np.clip(1 - s * z, 0, None),
        "squared_hinge": lambda: np.clip(1 - s * z, 0, None) ** 2,
        "modified_huber": lambda: np.where(s * z < -1, -4 * s * z, np.clip(1 - s * z, 0, None) ** 2),
        "squared_error": lambda: (z - t) ** 2 / 2,
        "absolute_error": lambda: np.abs(z - t),
        "huber": lambda: np.where(np.abs(z - t) > 1.35, 1.35 * (np.abs(z - t) - 1.35 / 2), (z - t) ** 2 / 2),
        "poisson": lambda: np.exp(z) - t * z,
    }[loss]().sum()


def loss_gradient(z, t, loss):
    """Return its derivative with respect to the outputs."""
    s = 2 * t - 1
    if loss == "softmax":
        return np.exp(z - np.logaddexp.reduce(z)) - t
    return {
        "sigmoid": lambda: np.exp(-np.logaddexp(0, -z)) - t,
        "hinge": lambda: -s * (s * z < 1),
        "squared_hinge": lambda: -2 * s * np.clip(1 - s * z, 0, None),
        "modified_huber": lambda: np.where(s * z < -1, -4 * s, -2 * s * np.clip(1 - s * z, 0, None)),
        "squared_error": lambda: z - t,
        "absolute_error": lambda: np.sign(z - t),
        "huber": lambda: np.clip(z - t, -1.35, 1.35),
        "poisson": lambda: np.exp(z) - t,
    }[loss]()


def loss_and_gradients(model, bags, labels, weights, options):
    """Return sum(weight * loss) / n, its gradients (table, coef, intercept), and the members of every table row."""
    table, n = model.table, len(bags)
    total, counts = 0.0, np.zeros(len(table), int)
    gradients = np.zeros_like(table), np.zeros_like(model.coef), np.zeros_like(model.intercept)
    pooled = reference.pool(bags, table, options.mode, options.padding_idx)
    for bag, h, label, weight in zip(bags, pooled, labels, weights, strict=True):
        ids, values = members(bag, len(table), options.padding_idx)
        logits = model.coef @ h + model.intercept
        total += weight / n * loss_of(logits, label, options.loss)
        g = weight / n * loss_gradient(logits, label, options.loss)
        for row, share in zip(ids, shares(ids, values, table, options.mode), strict=True):
            gradients[0][row] += share * (g @ model.coef)
            counts[row] += 1
        gradients[1][:] += np.outer(g, h)
        gradients[2][:] += g
    return total, gradients, counts


def update(model, k, row, gradient, rate, solver):
    """Change one row of the k-th array, and the solver's state of it, by its gradient."""
    values = (model.table, model.coef, model.intercept)[k]
    squares, (first, second), t = model.sums[k], model.moments[k], model.n_steps
    if solver == "sgd":
        values[row] -= rate * gradient
    elif solver == "adam":
        first[row] = 0.9 * first[row] + 0.1 * gradient
        second[row] = 0.999 * second[row] + 0.001 * gradient**2
        values[row] -= rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * first[row] / (np.sqrt(second[row]) + 1e-8)
    else:
        squares[row] += np.mean(gradient**2) if solver == "rowwise_adagrad" else gradient**2
        values[row] -= rate * gradient / (np.sqrt(squares[row]) + 1e-10)


def step(model, bags, labels, weights, options, rate):
    """Train on one mini-batch and return its loss."""
    model.n_steps += 1
    loss, (of_table, of_coef, of_intercept), counts = loss_and_gradients(model, bags, labels, weights, options)
    alpha = min(options.alpha, 1 / rate) if options.solver == "sgd" else options.alpha  # shrinks a row to 0 at most
    for row in [] if options.freeze else np.flatnonzero(counts):
        g = of_table[row] / (counts[row] if options.scale_grad_by_freq else 1) + alpha * model.table[row]
        update(model, 0, row, g, rate, options.solver)
        if options.max_norm is not None:
            model.table[row] = reference.rescaled(model.table[[row]], options.max_norm, options.norm_type)[0]
    for row in range(len(model.coef)):
        update(model, 1, row, of_coef[row] + alpha * model.coef[row], rate, options.solver)
        update(model, 2, row, of_intercept[row], rate, options.solver)
    return loss


def epoch(model, bags, labels, weights, options, rates, batch_size):
    """Train on the mini-batches one after the other, in the order of the bags; return the mean loss of a bag."""
    total = 0.0
    for rate, first in zip(rates, range(0, len(bags), batch_size), strict=True):
        some = slice(first, first + batch_size)
        total += step(model, bags[some], labels[some], weights[some], options, rate) * len(bags[some])
    return total / len(bags)
