"""Losses: what an output z costs where its target is t, and the derivative of that with respect to z.

A rule ``rule(z, t)`` returns both. It is written with `skbag._rules.elementwise`, and the kernels of every device
compile it. The loss of a sample is the sum over its outputs. Targets of classifiers are 1 for the class or label of
the sample and 0 for the others.
"""

from collections.abc import Callable
from dataclasses import dataclass

from skbag._rules.elementwise import Value, absolute, exp, log1p, maximum, where

_HUBER = 1.35  # Huber, "Robust Statistics", 1981: 95% of the efficiency of least squares on normal residuals


@dataclass(frozen=True)
class Loss:
    """A loss of outputs.

    Parameters
    ----------
    name : str
    rule : callable
        ``rule(z, t)`` returns the loss of an output and its derivative with respect to z.
    normalized : bool
        Whether z is the logit of an output less the logarithm of the sum of the exponentials of all logits: a softmax.
        The targets of a sample must then sum to 1, and the derivative is that with respect to the logit.
    """

    name: str
    rule: Callable[[Value, Value], tuple[Value, Value]]
    normalized: bool = False


def binary_cross_entropy(z: Value, t: Value) -> tuple[Value, Value]:
    """``log(1 + exp(z)) - t * z``: the negative logarithm of the probability of t, a label or its probability."""
    small = exp(-absolute(z))
    larger = 1 / (1 + small)
    return maximum(z, 0) - t * z + log1p(small), where(z >= 0, larger, small * larger) - t


def branches(z: Value) -> tuple[Value, Value]:
    """``-log(1 + exp(z))`` and ``-log(1 + exp(-z))``: logarithms of the probabilities of 0 and of 1."""
    small = log1p(exp(-absolute(z)))
    return -(maximum(z, 0) + small), -(maximum(-z, 0) + small)


def cross_entropy(z: Value, t: Value) -> tuple[Value, Value]:
    """``-t * z`` of a logarithm of a softmax: summed over the outputs, the cross-entropy of the targets."""
    return where(t > 0, -t * z, 0), exp(z) - t


def hinge(z: Value, t: Value) -> tuple[Value, Value]:
    """``max(0, 1 - s * z)`` with s = 2 t - 1: that of a linear support vector machine."""
    s = 2 * t - 1
    margin = 1 - s * z
    return maximum(margin, 0), where(margin > 0, -s, 0)


def squared_hinge(z: Value, t: Value) -> tuple[Value, Value]:
    """``max(0, 1 - s * z) ** 2`` with s = 2 t - 1: LinearSVC's."""
    s = 2 * t - 1
    margin = maximum(1 - s * z, 0)
    return margin * margin, -2 * s * margin


def modified_huber(z: Value, t: Value) -> tuple[Value, Value]:
    """``max(0, 1 - s * z) ** 2`` where s * z >= -1, else ``-4 * s * z`` with s = 2 t - 1.

    Zhang, "Solving large scale linear prediction problems using stochastic gradient descent algorithms", 2004.
    """
    s = 2 * t - 1
    sz = s * z
    margin = maximum(1 - sz, 0)
    return where(sz >= -1, margin * margin, -4 * sz), where(sz >= -1, -2 * s * margin, -4 * s)


def squared_error(z: Value, t: Value) -> tuple[Value, Value]:
    """``(z - t) ** 2 / 2``."""
    error = z - t
    return error * error / 2, error


def absolute_error(z: Value, t: Value) -> tuple[Value, Value]:
    """``|z - t|``."""
    error = z - t
    return absolute(error), where(error > 0, 1, where(error < 0, -1, 0))


def huber(z: Value, t: Value) -> tuple[Value, Value]:
    """``(z - t) ** 2 / 2`` where ``|z - t| <= d``, else ``d * (|z - t| - d / 2)``, with d = 1.35."""
    error = z - t
    size = absolute(error)
    inside = size <= _HUBER
    value = where(inside, error * error / 2, _HUBER * (size - _HUBER / 2))
    return value, where(inside, error, where(error > 0, _HUBER, -_HUBER))


def poisson(z: Value, t: Value) -> tuple[Value, Value]:
    """``exp(z) - t * z``: half the deviance of counts t with the expectation exp(z), but for what t alone decides."""
    expected = exp(z)
    return expected - t * z, expected - t


def _named(*losses: Loss) -> dict[str, Loss]:
    return {loss.name: loss for loss in losses}


CROSS_ENTROPY = Loss("cross_entropy", cross_entropy, normalized=True)

CLASSIFICATION = _named(
    Loss("log_loss", binary_cross_entropy),
    Loss("hinge", hinge),
    Loss("squared_hinge", squared_hinge),
    Loss("modified_huber", modified_huber),
)
REGRESSION = _named(
    Loss("squared_error", squared_error),
    Loss("absolute_error", absolute_error),
    Loss("huber", huber),
    Loss("poisson", poisson),
)
