"""The epoch loop: targets, learning rates and the rule for stopping."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class Schedule:
    """Learning rates: "constant", or "linear" from learning_rate_init down to 0 at the end of the last epoch."""

    name: str
    initial: float
    n_epochs: int
    n_batches: int

    def rates(self, epoch: int) -> tuple[float, float]:
        """Return the rate of the epoch's first mini-batch, and what each mini-batch takes off it."""
        if self.name == "constant":
            return self.initial, 0.0
        slope = self.initial / (self.n_epochs * self.n_batches)
        return self.initial - slope * epoch * self.n_batches, slope


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


def default_epochs(n_samples: int) -> int:
    """Return how many epochs to train by default: fewer the more samples there are, 110 / n_samples ** 0.3.

    With a fixed number small sets were learnt too little and large ones too closely. Found by cross-validation on
    texts, for 800 to 67,000 samples.
    """
    return max(1, round(110 / n_samples**0.3))


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


@dataclass
class Targets:
    """The labels of y: of each sample the outputs whose label is 1, as in CSR."""

    indices: Array  # int64
    indptr: Array  # (n_samples + 1,) int64
    n_outputs: int
    loss: str  # "softmax": one label per sample; "sigmoid": any number of labels
    exclusive: bool  # whether the labels stand for classes, of which a sample has one

    def initial_coef(self, dim: int, rng: np.random.RandomState) -> Array:
        """Draw the linear layer: orthogonal rows, or columns if there are more rows than can be.

        The more outputs there are, the more a feature has to say. How the length of the rows grows with them was found
        by cross-validation on texts with 1 to 736 outputs.
        """
        n = self.n_outputs
        orthogonal = np.linalg.qr(rng.standard_normal((max(n, dim), min(n, dim))))[0]
        return min(n**0.75, 10.0) * (orthogonal.T if n <= dim else orthogonal * np.sqrt(n / dim))

    def initial_intercept(self, weights: Array) -> Array:
        """Return zeros for classes; for labels the logarithms of the odds that a sample has them.

        Where labels are many and each is rare, training would otherwise begin with driving all of them down.
        """
        if self.exclusive:
            return np.zeros(self.n_outputs)
        of_labels = np.repeat(weights, np.diff(self.indptr))
        count = np.bincount(self.indices, of_labels, minlength=self.n_outputs)
        return np.log((count + 0.5) / (weights.sum() - count + 0.5))


def targets_of_classes(codes: Array, n_classes: int) -> Targets:
    """Take class numbers: one output for two classes, else one output per class."""
    if n_classes == 2:
        indptr = np.concatenate(([0], np.cumsum(codes))).astype(np.int64)
        return Targets(np.zeros(indptr[-1], np.int64), indptr, 1, "sigmoid", True)
    return Targets(codes.astype(np.int64), np.arange(len(codes) + 1), n_classes, "softmax", True)


def targets_of_labels(y: Any) -> Targets:
    """Take a CSR label indicator: one output per label."""
    return Targets(y.indices.astype(np.int64), y.indptr.astype(np.int64), y.shape[1], "sigmoid", False)
