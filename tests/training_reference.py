"""What training means: plain loops in float64, without Numba. The oracle of the training kernels.

Bags are pairs (ids, weights), as in ``reference``; ``labels`` is an array (n_bags, n_outputs) of zeros and ones.
"""

from collections.abc import Callable
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
    choice: Callable | None = None  # of the number of a step and labels: outputs, their targets, factors and offsets


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
    """Return sum(weight * loss) / n, its gradients (table, coef, intercept), and how many members every table row has.

    And which outputs bags have anything to do with: all, without a choice.
    """
    table, n = model.table, len(bags)
    total, counts, touched = 0.0, np.zeros(len(table), int), np.full(len(model.coef), options.choice is None)
    gradients = np.zeros_like(table), np.zeros_like(model.coef), np.zeros_like(model.intercept)
    pooled = reference.pool(bags, table, options.mode, options.padding_idx)
    for bag, h, label, weight in zip(bags, pooled, labels, weights, strict=True):
        ids, values = members(bag, len(table), options.padding_idx)
        logits = model.coef @ h + model.intercept
        if options.choice is None:
            total += weight / n * loss_of(logits, label, options.loss)
            g = weight / n * loss_gradient(logits, label, options.loss)
        else:
            some, t, factors, offsets = options.choice(model.n_steps, label)
            z, g = logits[some] + offsets, np.zeros(len(logits))
            if options.loss == "softmax":
                parts = [(some, z, t, 1.0)] if len(some) else []
            else:
                parts = [(some[[k]], z[[k]], t[[k]], factors[k]) for k in range(len(some))]
            for rows, z_, t_, factor in parts:
                total += weight / n * factor * loss_of(z_, t_, options.loss)
                g[rows] += weight / n * factor * loss_gradient(z_, t_, options.loss)
            touched[some] = True
        for row, share in zip(ids, shares(ids, values, table, options.mode), strict=True):
            gradients[0][row] += share * (g @ model.coef)
            counts[row] += 1
        gradients[1][:] += np.outer(g, h)
        gradients[2][:] += g
    return total, gradients, (counts, touched)


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
    loss, gradients, (counts, touched) = loss_and_gradients(model, bags, labels, weights, options)
    of_table, of_coef, of_intercept = gradients
    alpha = min(options.alpha, 1 / rate) if options.solver == "sgd" else options.alpha  # shrinks a row to 0 at most
    for row in [] if options.freeze else np.flatnonzero(counts):
        g = of_table[row] / (counts[row] if options.scale_grad_by_freq else 1) + alpha * model.table[row]
        update(model, 0, row, g, rate, options.solver)
        if options.max_norm is not None:
            model.table[row] = reference.rescaled(model.table[[row]], options.max_norm, options.norm_type)[0]
    for row in np.flatnonzero(touched):
        update(model, 1, row, of_coef[row] + alpha * model.coef[row], rate, options.solver)
        update(model, 2, row, of_intercept[row], rate, options.solver)
    return loss


def epoch(model, bags, labels, weights, options, rates, batch_size):
    """Train on the mini-batches one after the other, in the order of the bags; return the mean loss of a bag.

    Rows without weight are left out: there may be fewer mini-batches than rates.
    """
    used, total = np.flatnonzero(weights), 0.0
    bags, labels, weights = [bags[p] for p in used], labels[used], weights[used]
    for rate, first in zip(rates, range(0, len(bags), batch_size), strict=False):
        some = slice(first, first + batch_size)
        total += step(model, bags[some], labels[some], weights[some], options, rate) * len(bags[some])
    return total / len(bags)


# --- some outputs of many


def _mixed(bits):
    """Return what SplitMix64 makes of 64 bits."""
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
    return bits ^ bits >> 31


def negatives(counts, n_negatives, seed):
    """Return a choice of outputs: those of the bag, and those that points on a line fall on, one in each unit."""
    shares = np.where(counts > 0, counts, counts[counts > 0].min()) ** 0.75
    ends = np.cumsum(shares) / shares.sum() * n_negatives
    begins = np.concatenate(([0], ends[:-1]))
    units = np.arange(n_negatives)[:, None]
    inside = np.clip(np.minimum(ends, units + 1) - np.maximum(begins, units), 0, 1)
    offsets = -np.log(1 - np.prod(1 - inside, axis=0))

    def choice(number, label):
        start = _mixed((seed + number * 0x9E3779B97F4A7C15) % 2**64)
        points = [i + (_mixed((start + i * 0x9E3779B97F4A7C15) % 2**64) >> 11) / 2**53 for i in range(n_negatives)]
        own, drawn = np.flatnonzero(label), np.searchsorted(ends, points, side="right")
        some = np.concatenate((own, np.setdiff1d(drawn, own))).astype(int)
        return some, label[some], np.ones(len(some)), offsets[some]

    return choice


def nodes(children):
    """Return a choice of outputs: the nodes on the ways to the classes of a bag in a tree."""
    n = len(children) + 1

    def choice(number, label):
        some, sides, factors = [], [], []
        for leaf in np.flatnonzero(label):
            at = leaf
            while at != 2 * n - 2:
                node, side = np.argwhere(children == at)[0]
                some, sides, factors = [*some, node], [*sides, side], [*factors, label[leaf]]
                at = n + node
        return np.array(some, int), np.array(sides, float), np.array(factors), np.zeros(len(some))

    return choice
