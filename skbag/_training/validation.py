"""The rows that early stopping looks at, and what it sees there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from skbag._data.targets import Targets, losses_of
from skbag._rules.losses import Loss

Array = NDArray[Any]

_TOGETHER = 1 << 22  # outputs in memory at once


@dataclass
class Validation:
    """Scores a model on samples that it is not trained on; larger is better.

    Parameters
    ----------
    outputs : callable
        ``outputs(some)`` returns the outputs of the model for some of these samples, by their places.
    targets : Targets
    rows : ndarray of shape (n_samples,)
        Which of the targets are those of the samples.
    weights : ndarray of shape (n_samples,)
    loss : Loss
    scorer : callable or None
        ``scorer()`` returns the score; None for the negative mean loss.
    """

    outputs: Callable[[Array], Array]
    targets: Targets
    rows: Array
    weights: Array
    loss: Loss
    scorer: Callable[[], float] | None

    def score(self) -> float:
        """Return the score of the model as it is."""
        if self.scorer is not None:
            return float(self.scorer())
        n, together = len(self.rows), max(1, _TOGETHER // self.targets.n_outputs)
        losses = [
            losses_of(self.loss, self.outputs(some), self.targets.rows(self.rows[some]))
            for some in np.split(np.arange(n), range(together, n, together))
        ]
        return -float(np.average(np.concatenate(losses), weights=self.weights))


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
            f"{len(rows)} samples, and needs {needs}. "
            "Pass others to validate on as X_val and y_val, or train without early_stopping."
        ) from None
    return np.sort(used), np.sort(left_out)
