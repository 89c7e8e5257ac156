"""The epoch loop: how many, learning rates and the rule for stopping."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._data.model import Rates

Array = NDArray[Any]


@dataclass
class Schedule:
    """Learning rates: "constant", or "linear" from learning_rate_init down to 0 at the end of the last epoch."""

    name: str
    initial: float
    n_epochs: int
    n_batches: int
    layer: float = 1.0  # times as much for the last layer
    intercept: float = 1.0  # times as much as the layer for its intercepts
    hidden: tuple[tuple[float, float], ...] = ()  # both of each hidden layer

    def rates(self, epoch: int) -> Rates:
        """Return the rates of an epoch."""
        initial = float(self.initial)  # the kernels are compiled for that; an int could be too large for them
        if self.name == "constant":
            return Rates(initial, 0.0, self.layer, self.intercept, self.hidden)
        slope = initial / (self.n_epochs * self.n_batches)
        return Rates(initial - slope * epoch * self.n_batches, slope, self.layer, self.intercept, self.hidden)


@dataclass
class Stopper:
    """Says when an objective, to be made small, has not improved by ``tol`` for ``patience`` epochs in a row."""

    tol: float
    patience: int
    best: float = np.inf
    n_stale: int = 0
    improved: bool = field(default=False, init=False)

    def update(self, value: float) -> bool:
        """Take the value after one more epoch; return whether to stop."""
        self.improved = value < self.best
        self.n_stale = 0 if value < self.best - self.tol else self.n_stale + 1
        self.best = min(self.best, value)
        return self.n_stale >= self.patience


def epochs(trainer: Any, bags: Array, schedule: Schedule, shuffle: bool, rng: np.random.RandomState) -> Iterator[float]:
    """Train for one epoch after the other and yield the mean loss of each.

    Raises
    ------
    ValueError
        In the epoch in which the loss stops being finite.
    """
    for epoch in range(schedule.n_epochs):
        order = rng.permutation(bags) if shuffle else bags
        loss = trainer.epoch(order, schedule.rates(epoch))
        if not np.isfinite(loss):
            raise ValueError(
                f"The loss became infinite or NaN in epoch {epoch + 1}: training diverges. Use a smaller "
                f"learning_rate_init, which is {schedule.initial}, or smaller values of X and sample_weight."
            )
        yield loss
