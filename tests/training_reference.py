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

    def __init__(self, table, coef, intercept, state=0.0):
        self.table, self.coef, self.intercept = (np.array(a, np.float64) for a in (table, coef, intercept))
        self.table_state, self.coef_state, self.intercept_state = (
            np.full(len(a), state) for a in (table, coef, intercept)
        )  # fmt: skip


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


def loss_of(logits, labels, loss):
    """Return the loss of one row."""
    if loss == "softmax":
        return np.logaddexp.reduce(logits) - logits[labels.argmax()]
    return (np.logaddexp(0, logits) - logits * labels).sum()


def loss_gradient(logits, labels, loss):
    """Return its derivative with respect to the logits."""
    if loss == "softmax":
        return np.exp(logits - np.logaddexp.reduce(logits)) - labels
    return np.exp(-np.logaddexp(0, -logits)) - labels


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


def update(row, state, gradient, rate, solver):
    """Change one row by its gradient; return the solver's new state."""
    if solver == "adagrad":
        state += np.mean(gradient**2)
        rate /= np.sqrt(state) + 1e-10
    row -= rate * gradient
    return state


def step(model, bags, labels, weights, options, rate):
    """Train on one mini-batch and return its loss."""
    loss, (of_table, of_coef, of_intercept), counts = loss_and_gradients(model, bags, labels, weights, options)
    alpha = min(options.alpha, 1 / rate) if options.solver == "sgd" else options.alpha  # shrinks a row to 0 at most
    for row in [] if options.freeze else np.flatnonzero(counts):
        g = of_table[row] / (counts[row] if options.scale_grad_by_freq else 1) + alpha * model.table[row]
        model.table_state[row] = update(model.table[row], model.table_state[row], g, rate, options.solver)
        if options.max_norm is not None:
            model.table[row] = reference.rescaled(model.table[[row]], options.max_norm, options.norm_type)[0]
    for k, row in enumerate(model.coef):
        g = of_coef[k] + alpha * row
        model.coef_state[k] = update(row, model.coef_state[k], g, rate, options.solver)
        entry = model.intercept[k : k + 1]
        model.intercept_state[k] = update(entry, model.intercept_state[k], of_intercept[k], rate, options.solver)
    return loss


def epoch(model, bags, labels, weights, options, rates, batch_size):
    """Train on the mini-batches one after the other, in the order of the bags; return the mean loss of a bag."""
    total = 0.0
    for rate, first in zip(rates, range(0, len(bags), batch_size), strict=True):
        some = slice(first, first + batch_size)
        total += step(model, bags[some], labels[some], weights[some], options, rate) * len(bags[some])
    return total / len(bags)
