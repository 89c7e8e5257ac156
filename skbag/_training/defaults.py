"""What training does where the user leaves it open: rates, epochs, and how the linear layer is held.

Found by cross-validation on the training parts of texts with 2 to 736 classes and 800 to 67,000 samples; see
``tests/benchmarks/bench_learning.py``.
"""

from dataclasses import dataclass

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
    """

    rate: float
    layer: float
    length: float
    norm: tuple[float, bool] | None
    alpha: float = 1e-4


_RATES = {"sgd": 1.0, "rowwise_adagrad": 0.05, "adagrad": 0.05, "adam": 0.003}  # one for table and layer


def manner_of(loss: Loss, n_outputs: int, solver: str, *, drawn: bool) -> Manner:
    """Return how to train; ``drawn`` says whether the table starts at random rows and learns.

    Only "rowwise_adagrad" on a drawn table has rates apart and a layer that is held: other solvers do what those of
    torch do, and a given table has a scale of its own, which the layer has to find. Two classes have one output where a
    softmax would have two, whose difference is as long as the root of 2.
    """
    if solver != "rowwise_adagrad" or not drawn:
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
