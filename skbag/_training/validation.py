"""The rows that early stopping looks at, and what it sees there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from skbag._data.bags import Bags
from skbag._data.model import Model
from skbag._data.targets import Targets, mean_loss
from skbag._rules.losses import Loss

Array = NDArray[Any]


@dataclass
class Validation:
    """Scores a model on samples that it is not trained on; larger is better.

    Parameters
    ----------
    outputs : callable
        ``outputs()`` returns the outputs of the model for these samples.
    targets : ndarray of shape (n_samples, n_outputs)
    weights : ndarray of shape (n_samples,)
    loss : Loss
    scorer : callable or None
        ``scorer()`` returns the score; None for the negative mean loss.
    """

    outputs: Callable[[], Array]
    targets: Array
    weights: Array
    loss: Loss
    scorer: Callable[[], float] | None

    def score(self) -> float:
        """Return the score of the model as it is."""
        if self.scorer is not None:
            return float(self.scorer())
        return -mean_loss(self.loss, self.outputs(), self.targets, self.weights)


def held_out(trainer: Any, rows: Array, targets: Targets, weights: Array, loss: Loss, scorer: Any) -> Validation:
    """Return the validation on some of the rows that a trainer has."""
    return Validation(lambda: trainer.outputs(rows), targets.rows(rows), weights[rows], loss, scorer)


def given(
    predict: Callable[..., Array], bags: Bags, model: Model, mode: str, n_jobs: int | None,
    targets: Targets, weights: Array, loss: Loss, scorer: Any,
) -> Validation:  # fmt: skip
    """Return the validation on samples that the user gives; ``predict`` is the backend's."""
    return Validation(
        lambda: predict(bags, model, mode, n_jobs), targets.rows(np.arange(bags.n_bags)), weights, loss, scorer
    )


def split(rows: Array, share: float, stratify: Array | None, rng: Any) -> tuple[Array, Array]:
    """Return the rows to train on and those to hold out, both sorted; the shares of the classes stay what they are.

    Raises
    ------
    ValueError
        If there are not enough rows, of a class of ``stratify`` or at all, for both sides.
    """
    try:
        used, left_out = train_test_split(rows, test_size=share, stratify=stratify, random_state=rng)
    except ValueError:
        needs = "a sample on each side"
        if stratify is not None:
            counts = np.bincount(stratify)
            needs = f"a sample of each of the {len(counts)} classes on each side; the rarest has {counts.min()}"
        raise ValueError(
            f"early_stopping with validation_fraction={share} holds out {int(np.ceil(share * len(rows)))} of "
            f"{len(rows)} samples, and needs {needs}."
        ) from None
    return np.sort(used), np.sort(left_out)
