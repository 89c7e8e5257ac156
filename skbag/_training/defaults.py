"""What training does where the user leaves it open: rates, epochs, and how the linear layer is held.

Found by cross-validation on the training parts of texts with 2 to 736 classes and 800 to 67,000 samples; see
``tests/benchmarks/bench_learning.py``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._rules.losses import REGRESSION, Loss


@dataclass(frozen=True)
class Manner:
    """How a model is trained.

    Parameters
    ----------
    rate : float
        The learning rate of the table.
    layer : float
        Times as much for the linear layer.
    length : float
        Of the weights of an output before training.
    norm : (float, bool) or None
        The length that they are held to: at most, or exactly. Longer ones make few rows of the table decide.
    alpha : float
        Strength of the L2 penalty.
    scale : float
        How much longer the rows of the table are than drawn ones, and their gradients shorter.
    """

    rate: float
    layer: float
    length: float
    norm: tuple[float, bool] | None
    alpha: float = 1e-4
    scale: float = 1.0


_RATES = {"sgd": 1.0, "rowwise_adagrad": 0.05, "adagrad": 0.05, "adam": 0.003}  # one for table and layer

_LOOKED_AT = 10_000  # rows of a table that is given
_SHORT = 0.3  # rows of this length are trained as drawn ones
MOST_SCALE = 1e6  # what scales are cut to: a layer that short is held to its length to a tenth (max_norm adds 1e-7)


def manner_of(loss: Loss, n_outputs: int, solver: str, *, learns: bool, scale: float = 1.0) -> Manner:
    """Return how to train.

    Only "rowwise_adagrad" on a table that learns has rates apart and a layer that is held: other solvers do what those
    of torch do. Two classes have one output where a softmax would have two, whose difference is as long as the root
    of 2.

    Parameters
    ----------
    loss : Loss
    n_outputs : int
    solver : str
    learns : bool
        Whether the table is trained.
    scale : float
        Of the rows that the table starts with, see `scale_of`. With rows s times as long, a layer 1 / s times as long
        and rates that change both in proportion, the model is the same.
    """
    manner = _manner_of(loss, n_outputs, solver, learns=learns)
    if manner.norm is None:
        return manner
    (most, exactly), s = manner.norm, scale
    return Manner(
        manner.rate * s, manner.layer / s**2, manner.length / s, (most / s, exactly), manner.alpha / s**2, s
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


def _manner_of(loss: Loss, n_outputs: int, solver: str, *, learns: bool) -> Manner:
    if solver != "rowwise_adagrad" or not learns:
        slower = 0.02 if solver == "sgd" and loss.name in REGRESSION else 1.0  # its gradients have no bound
        return Manner(_RATES[solver] * slower, 1.0, min(n_outputs**0.75, 10.0), None)
    length = np.sqrt(2) if n_outputs == 1 else 1.0
    if loss.name in ("log_loss", "cross_entropy"):
        norm = (length, True) if n_outputs == 1 else (2.0, False)
        rate, alpha = (0.4, 3e-5) if loss.normalized else (0.5, 1e-4)
        return Manner(rate, 0.15, length, norm, alpha)
    if loss.name == "hinge":
        return Manner(0.2, 0.5, 1.0, (1.0, True))
    if loss.name in ("squared_hinge", "modified_huber"):
        return Manner(0.2, 2.0, 0.7, (0.7, True))
    return Manner(0.3, 0.5, 1.0, (1.0, True))


def default_dim(n_outputs: int, *, summed: bool) -> int:
    """Return the width of a table: outputs that are sums of learnt rows use no more columns than there are outputs."""
    return 1 << (min(64, max(16, n_outputs)) - 1).bit_length() if summed else 64


def default_epochs(loss: Loss, n_samples: int) -> int:
    """Return how many epochs to train by default: fewer the more samples there are."""
    return max(1, round((38 if loss.name in REGRESSION else 55) / n_samples**0.3))


def initial_coef(n_outputs: int, dim: int, length: float, rng: np.random.RandomState) -> NDArray[np.float64]:
    """Draw the linear layer: orthogonal rows of a length, or columns if there are more rows than can be."""
    n = n_outputs
    orthogonal = np.linalg.qr(rng.standard_normal((max(n, dim), min(n, dim))))[0]
    return length * (orthogonal.T if n <= dim else orthogonal * np.sqrt(n / dim))
