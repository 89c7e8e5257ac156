"""What training does where the user leaves it open: rates, epochs, and how the linear layer is held.

Found by cross-validation on the training parts of texts with 2 to 736 classes and 800 to 67,000 samples; see
``tests/benchmarks/bench_learning.py``.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._data.bags import Bags
from skbag._rules.activations import Activation
from skbag._rules.losses import REGRESSION, Loss
from skbag._rules.pooling import Mode, modes_of


@dataclass(frozen=True)
class Manner:
    """How a model is trained.

    Parameters
    ----------
    rate : float
        The learning rate of the table.
    layer : float
        Times as much for the last layer.
    length : float
        Of the weights of an output before training.
    norm : (float, bool) or None
        The length that they are held to: at most, or exactly. Longer ones make few rows of the table decide.
    alpha : float
        Strength of the L2 penalty.
    state : float
        What the states of "rowwise_adagrad" and "adagrad" are before training, times the square of the rows per step.
    longer : float
        How much longer the rows of the table become than drawn ones that "sqrtn" pools, and their gradients shorter;
        drawn rows begin shorter where that is below 1.
    shorter : float
        How much shorter the weights of the first layer are, which reads pooled rows, and their gradients longer.
    hidden : float
        Times the rate of the table for hidden layers.
    hidden_length : float or None
        Of the weights of a hidden unit, which is held; None for that of Glorot and Bengio, and free.
    """

    rate: float
    layer: float
    length: float
    norm: tuple[float, bool] | None
    alpha: float = 1e-4
    state: float = 0.1
    longer: float = 1.0
    shorter: float = 1.0
    hidden: float = 1.0
    hidden_length: float | None = None

    def factors(self, n_hidden: int) -> list[tuple[float, float]]:
        """Return for each layer what times the rate of the table is its rate, and times that its intercepts'."""
        if not n_hidden:
            return [(self.layer, self.shorter)]
        first, others = self.hidden / (self.shorter * self.longer), self.hidden / self.longer
        return [(first, self.shorter), *[(others, 1.0)] * (n_hidden - 1), (self.layer / self.longer, 1.0)]

    def hidden_norms(self, n_hidden: int) -> list[tuple[float, bool] | None]:
        """Return the length that the weights of the units of each hidden layer are held to."""
        length = self.hidden_length
        if length is None:
            return [None] * n_hidden
        return [(length if k else length / self.shorter, True) for k in range(n_hidden)]


_RATES = {"sgd": 1.0, "rowwise_adagrad": 0.05, "adagrad": 0.05, "adam": 0.003}  # one for table and layer

_FROZEN = 5  # times as many epochs for hidden layers on a table that stays as it is, of classes
_LOOKED_AT = 10_000  # rows of a table that is given
_ROWS = 256  # that are looked at
_TOGETHER = 8
_USUAL = 3  # times the usual weight
_SHORT = 0.3  # rows of this length are trained as drawn ones
MOST_SCALE = 1e6  # what scales are cut to: a layer that short is held to its length to a tenth (max_norm adds 1e-7)


@lru_cache(maxsize=64)
def manner_of(
    loss: Loss, n_outputs: int, solver: str, *, learns: bool, scale: float | None = 1.0, pooled: float = 1.0,
    hidden: str | None = None, frozen: bool = False, squared: bool = False,
) -> Manner:  # fmt: skip
    """Return how to train.

    Only "rowwise_adagrad" on a table that learns has rates apart and a layer that is held: other solvers do what those
    of torch do. Two classes have one output where a softmax would have two, whose difference is as long as the root
    of 2.

    Pooled rows that are longer than those of a drawn table by "sqrtn" get a first layer that is shorter, with rates
    that change in proportion: the model is the same. Where they are shorter, rows of the table become longer. Where
    they are squared, too, no layer is in proportion to both: rows that are drawn become shorter instead, and with those
    that are given the layer follows the squares, which are longer.

    Parameters
    ----------
    loss : Loss
    n_outputs : int
    solver : str
    learns : bool
        Whether the table is trained.
    scale : float or None
        Of the rows that the table starts with, see `scale_of`; None if they are drawn.
    pooled : float
        How long bags are, see `length_of_bags`.
    hidden : str or None
        The activation of hidden layers; None if there are none.
    frozen : bool
        Whether the table stays as it is; a table that goes on with a free layer does not learn like a new one, either.
    squared : bool
        Whether there are squares of pooled rows beside them: an interaction.
    """
    manner = _manner_of(loss, n_outputs, solver, learns=learns)
    power = 2 if squared else 1
    length = min(max(1.0, (scale or 1.0) * pooled), MOST_SCALE ** (1 / power))
    if squared and scale is None:
        length = 1.0
    shorter, longer = length**power, length / pooled
    if hidden is not None:
        manner = _with_hidden(manner, solver, hidden)
        if frozen:  # no table turns to directions that mean nothing, and long ones take many steps to unlearn
            manner = replace(manner, length=min(1.0, manner.length))
    if manner.norm is None:
        return manner
    most, exactly = manner.norm
    manner = replace(
        manner, rate=manner.rate * longer, alpha=manner.alpha / longer**2, longer=longer, shorter=shorter
    )  # fmt: skip
    if hidden is not None:
        return manner
    return replace(
        manner, layer=manner.layer / (shorter * longer), length=manner.length / shorter, norm=(most / shorter, exactly)
    )  # fmt: skip


def scale_of(table: NDArray[Any], padding_idx: int | None = None) -> float:
    """Return how much longer than those of a drawn table the rows of a table are, by their root mean square; 1 if not.

    Rows of zeros do not count: they are often those of words without a vector. The row of padding_idx does not, either.
    """
    step = max(1, len(table) // _LOOKED_AT)
    rows = np.minimum(np.abs(np.asarray(table[::step], np.float64)), _SHORT * MOST_SCALE)
    squares = np.square(rows).sum(axis=1)
    if padding_idx is not None and padding_idx % step == 0:
        squares[padding_idx // step] = 0
    n = np.count_nonzero(squares)
    scale = float(np.sqrt(squares.sum() / n)) / _SHORT if n else 1.0
    return min(max(1.0, scale), MOST_SCALE)


def follows_rows(mode: Mode) -> bool:
    """Whether rates follow how long bags are, see `length_of_bags`: "sqrtn" and "max" make all of them alike."""
    return bool({"sum", "mean"} & set(modes_of(mode)))


def looked_at(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return those of the rows of X to train on that `length_of_bags` is asked about."""
    return rows[:: max(1, -(-len(rows) // _ROWS))]


def length_of_bags(bags: Bags, rows: NDArray[np.intp], mode: Mode, loss: Loss) -> float:
    """Return how long the weights of a bag's members are after pooling, by the geometric mean over bags of some rows.

    That is how much longer a pooled row is than one of "sqrtn", for which, as for "max", it is 1. Of several modes the
    longest counts: its gradients are what a row of the table feels. A sum for a loss of numbers goes by the root mean
    square: a few rows that are much longer than the others have errors that grow with them, and decide what is learnt.
    """
    bags = bags.on_host() if hasattr(bags, "on_host") else bags  # from a GPU
    pieces = (bags.of_rows(rows[k : k + _TOGETHER]) for k in range(0, len(rows), _TOGETHER))
    sums, means = np.hstack([_log_lengths(some) for some in pieces])
    if not len(sums):
        return 1.0
    of_sums = (np.logaddexp.reduce(2 * sums) - np.log(len(sums))) / 2 if loss.name in REGRESSION else sums.mean()
    logs = {"sum": of_sums, "mean": means.mean()}
    longest = float(np.exp(max(logs.get(name, 0.0) for name in modes_of(mode))))
    return min(max(1 / MOST_SCALE, longest), MOST_SCALE)


def _log_lengths(bags: Bags) -> NDArray[np.float64]:
    """Return logarithms of the lengths of the weights of bags that have some, (2, n): for "sum", and for "mean".

    Members that are padding do not count, and in a sum a weight counts as three times the usual one at most: a layer
    that is short for the sake of a column of another scale would not see the others.
    """
    bag, n = np.repeat(np.arange(bags.n_bags), np.diff(bags.indptr)), bags.n_members
    weights = np.ones(n) if bags.weights is None else np.abs(bags.weights[:n].astype(np.float64))
    counts = weights > 0
    if bags.padding_idx is not None:
        counts &= bags.indices[:n] != bags.padding_idx
    if not counts.any():
        return np.empty((2, 0))
    bag, weights = bag[counts], weights[counts]
    largest = weights.max()  # whose square could be infinite
    weights /= largest
    usual = np.minimum(weights, _USUAL * np.median(weights))
    sums, squares, cut = (np.bincount(bag, values, bags.n_bags) for values in (weights, weights**2, usual**2))
    some = cut > 0
    return np.stack([np.log(cut[some]) / 2 + np.log(largest), np.log(squares[some]) / 2 - np.log(sums[some])])


def _manner_of(loss: Loss, n_outputs: int, solver: str, *, learns: bool) -> Manner:
    if solver != "rowwise_adagrad" or not learns:
        slower = 0.02 if solver == "sgd" and loss.name in REGRESSION else 1.0  # its gradients have no bound
        return Manner(_RATES[solver] * slower, 1.0, min(n_outputs**0.75, 10.0), None)
    length = np.sqrt(2) if n_outputs == 1 else 1.0
    if loss.name in ("log_loss", "cross_entropy"):
        if n_outputs == 1:
            return Manner(0.35, 0.15, length, (length, True), state=0.03)
        if loss.normalized:
            return Manner(0.28, 0.15, length, (2.0, False), 3e-5, state=0.03)
        return Manner(0.5, 0.15, length, (2.0, False))  # of labels, each of them rare
    if loss.name == "hinge":
        return Manner(0.2, 0.5, 1.0, (1.0, True))
    if loss.name in ("squared_hinge", "modified_huber"):
        return Manner(0.4, 0.2, 0.7, (0.7, True), state=0.6)
    return Manner(0.3, 0.5, 1.0, (1.0, True))


def _with_hidden(manner: Manner, solver: str, activation: str) -> Manner:
    """Return how to train where hidden layers are between.

    Units whose weights are as long as the root of 2, of which half are at work, hand on signals and gradients as long
    as they come, so that the rates of one layer need little change. A logistic unit is half of a hyperbolic tangent of
    half of its sum, and a half: it gets weights twice as long, and those of the layer behind it are, too.
    """
    if manner.norm is None:
        return replace(manner, length=0.3 * manner.length) if solver == "sgd" else manner
    times = 2.0 if activation == "logistic" else 1.0
    (most, exactly), length = manner.norm, times * manner.length
    return replace(
        manner, rate=0.6 * manner.rate, layer=manner.layer / 0.6, length=length, norm=(times * most, exactly),
        hidden=0.02, hidden_length=times * float(np.sqrt(2)),
    )  # fmt: skip


def default_dim(n_outputs: int, *, summed: bool) -> int:
    """Return the width of a table: as many columns as outputs that are sums of learnt rows, each has its direction."""
    return 1 << (min(256, max(16, n_outputs)) - 1).bit_length() if summed else 64


def default_epochs(loss: Loss, n_samples: int, *, frozen: bool = False, evident: bool = False) -> int:
    """Return how many epochs to train by default: fewer the more samples there are, more where the table is frozen.

    Layers that learn alone start with directions that mean nothing, where rows of a table of their own go to the right
    side in their first step. Of numbers they learn more noise than anything else in more epochs. Where columns learn
    by what they say of classes, see ``evidence``, fewer are enough.
    """
    if evident:
        return ceil(38 / n_samples**0.3)
    at_one = 38 if loss.name in REGRESSION else 55 * _FROZEN if frozen else 55
    return max(1, round(at_one / n_samples**0.3))


def initial_layers(
    widths: tuple[int, ...], manner: Manner, activation: Activation, start: NDArray[np.float64],
    rng: np.random.RandomState,
) -> list[NDArray[np.float64]]:  # fmt: skip
    """Draw weights and intercepts of each layer; the outputs of a row without members are ``start``.

    Hidden weights have the directions of Glorot's (Glorot, Bengio, "Understanding the difficulty of training deep
    feedforward neural networks", 2010), as in MLPClassifier, and his lengths, where they are not held to others.
    """
    last = initial_coef(widths[-1], widths[-2], manner.length, rng)
    layers, empty = [], np.zeros(widths[0])
    for n, m, held in zip(widths, widths[1:-1], manner.hidden_norms(len(widths) - 2), strict=False):
        bound = np.sqrt((2 if activation.name == "logistic" else 6) / (n + m))
        weights = rng.uniform(-bound, bound, (m, n))
        if held is not None:
            weights *= held[0] / np.linalg.norm(weights, axis=1, keepdims=True)
        layers += [weights, np.zeros(m)]
        empty = activation.rule(weights @ empty)
    return [*layers, last, start - last @ empty if layers else start]


def initial_coef(n_outputs: int, dim: int, length: float, rng: np.random.RandomState) -> NDArray[np.float64]:
    """Draw the linear layer: orthogonal rows of a length, or columns if there are more rows than can be."""
    n = n_outputs
    orthogonal = np.linalg.qr(rng.standard_normal((max(n, dim), min(n, dim))))[0]
    return length * (orthogonal.T if n <= dim else orthogonal * np.sqrt(n / dim))
