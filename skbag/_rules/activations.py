"""Activations: what a unit of a hidden layer makes of its sum z, and the derivative of that.

A rule ``rule(z)`` returns the activation a, and ``derivative(a)`` that of a with respect to z, from a alone. Both are
written with `skbag._rules.elementwise`, and the kernels of every device compile them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from skbag._rules.elementwise import Value, absolute, exp, maximum, where

_SMALL = 0.5  # below it tanh is a fraction, as 1 - exp would have few digits left


@dataclass(frozen=True)
class Activation:
    """An activation of hidden units.

    Parameters
    ----------
    name : str
    rule : callable
        ``rule(z)`` returns the activation.
    derivative : callable
        ``derivative(a)`` returns its derivative with respect to z where the activation is a.
    """

    name: str
    rule: Callable[[Value], Value]
    derivative: Callable[[Value], Value]


def identity(z: Value) -> Value:
    """Z itself."""
    return z


def one(a: Value) -> Value:
    """1."""
    return 1


def logistic(z: Value) -> Value:
    """``1 / (1 + exp(-z))``."""
    small = exp(-absolute(z))
    larger = 1 / (1 + small)
    return where(z >= 0, larger, small * larger)


def of_logistic(a: Value) -> Value:
    """``a * (1 - a)``."""
    return a * (1 - a)


def tanh(z: Value) -> Value:
    """Hyperbolic tangent; near 0 Lambert's continued fraction, cut off where a float64 does not see the rest."""
    small = exp(-2 * absolute(z))
    size = (1 - small) / (1 + small)
    s = z * z
    fraction = z / (1 + s / (3 + s / (5 + s / (7 + s / (9 + s / (11 + s / 13))))))
    return where(absolute(z) < _SMALL, fraction, where(z >= 0, size, -size))


def of_tanh(a: Value) -> Value:
    """``1 - a * a``."""
    return 1 - a * a


def relu(z: Value) -> Value:
    """The larger of z and 0."""
    return maximum(z, 0)


def of_relu(a: Value) -> Value:
    """1 where a is above 0, else 0."""
    return where(a > 0, 1, 0)


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("identity", identity, one),
        Activation("logistic", logistic, of_logistic),
        Activation("tanh", tanh, of_tanh),
        Activation("relu", relu, of_relu),
    )
}
IDENTITY = ACTIVATIONS["identity"]
