"""Solvers: how a row of parameters changes by its gradient.

A row is a row of the table, or the weights of one output, or its intercept as a row of one number. Its gradient g is
summed over the mini-batch, with the penalty, and then the row changes once:

- ``row(state, mean_square, t, rate)`` returns the new state of the row and the length of its step, from the mean of the
  squares of g, the number t = 1, 2, ... of the step and the learning rate.
- ``element(p, g, first, second, step)`` returns a parameter and its two states after the step.

Both are written with `skbag._rules.elementwise`, and the kernels of every device compile them. A row that a mini-batch
does not name keeps its parameters and its states.
"""

from collections.abc import Callable
from dataclasses import dataclass

from skbag._rules.elementwise import Value, minimum, sqrt

_ADAGRAD_EPSILON = 1e-10  # torch.optim.Adagrad's
_ADAM_EPSILON, _BETA_1, _BETA_2 = 1e-8, 0.9, 0.999  # torch.optim.SparseAdam's


def as_it_is(rate: float, alpha: float) -> float:
    """Return the strength of the penalty, whatever the rate."""
    return alpha


@dataclass(frozen=True)
class Solver:
    """A rule for steps.

    Parameters
    ----------
    name : str
    row, element : callable
        See above.
    row_state : bool
        Whether rows have a state, a float64; otherwise ``state`` is 0.
    element_states : {0, 1, 2}
        How many states each parameter has, of the dtype of the parameters; the others are undefined.
    mean_square : bool
        Whether ``row`` looks at mean_square; otherwise that is undefined.
    linear : bool
        Whether a step is ``p - step * g`` with a step that no gradient has a part in: gradients may come one by one.
    penalty : callable
        ``penalty(rate, alpha)`` returns what of a row is added to its gradient.
    accumulates : bool
        Whether its states are sums of squares of gradients, which may begin above 0.
    """

    name: str
    row: Callable[[Value, Value, Value, Value], tuple[Value, Value]]
    element: Callable[[Value, Value, Value, Value, Value], tuple[Value, Value, Value]]
    row_state: bool = False
    element_states: int = 0
    mean_square: bool = False
    linear: bool = False
    penalty: Callable[[float, float], float] = as_it_is
    accumulates: bool = False


def constant(state: Value, mean_square: Value, t: Value, rate: Value) -> tuple[Value, Value]:
    """Make steps of one length: the rate."""
    return state, rate


def descend(p: Value, g: Value, first: Value, second: Value, step: Value) -> tuple[Value, Value, Value]:
    """``p -= step * g``: torch.optim.SGD's."""
    return p - step * g, first, second


def at_most_all(rate: float, alpha: float) -> float:
    """Return alpha, at most 1 / rate: the penalty multiplies a row by max(0, 1 - rate * alpha), as SGDClassifier's."""
    return minimum(alpha, 1 / rate)


def rowwise_adagrad_row(state: Value, mean_square: Value, t: Value, rate: Value) -> tuple[Value, Value]:
    """``G += mean(g ** 2)``, ``step = rate / (sqrt(G) + 1e-10)``: FBGEMM's EXACT_ROWWISE_ADAGRAD, TorchRec's."""
    state = state + mean_square
    return state, rate / (sqrt(state) + _ADAGRAD_EPSILON)


def adagrad_element(p: Value, g: Value, first: Value, second: Value, step: Value) -> tuple[Value, Value, Value]:
    """``G += g ** 2``, ``p -= rate * g / (sqrt(G) + 1e-10)``: torch.optim.Adagrad's."""
    first = first + g * g
    return p - step * g / (sqrt(first) + _ADAGRAD_EPSILON), first, second


def adam_row(state: Value, mean_square: Value, t: Value, rate: Value) -> tuple[Value, Value]:
    """``step = rate * sqrt(1 - b2 ** t) / (1 - b1 ** t)``: torch.optim.SparseAdam's, t counts all mini-batches."""
    return state, rate * sqrt(1 - _BETA_2**t) / (1 - _BETA_1**t)


def adam_element(p: Value, g: Value, first: Value, second: Value, step: Value) -> tuple[Value, Value, Value]:
    """``m += (1 - b1) * (g - m)``, ``v += (1 - b2) * (g * g - v)``, ``p -= step * m / (sqrt(v) + 1e-8)``.

    Of torch.optim.SparseAdam: the states of a row change in its steps alone.
    """
    first = first + (1 - _BETA_1) * (g - first)
    second = second + (1 - _BETA_2) * (g * g - second)
    return p - step * first / (sqrt(second) + _ADAM_EPSILON), first, second


SOLVERS = {
    solver.name: solver
    for solver in (
        Solver("sgd", constant, descend, linear=True, penalty=at_most_all),
        Solver(
            "rowwise_adagrad", rowwise_adagrad_row, descend, row_state=True, mean_square=True, accumulates=True
        ),
        Solver("adagrad", constant, adagrad_element, element_states=1, accumulates=True),
        Solver("adam", adam_row, adam_element, element_states=2),
    )
}  # fmt: skip
