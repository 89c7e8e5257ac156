"""The targets of training: those of classes and labels, whose checks are in ``classes``, and of numbers."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import csr_array, issparse
from scipy.special import log_softmax
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_consistent_length

from skbag._data.warned import level_of_user
from skbag._rules.losses import CLASSIFICATION, CROSS_ENTROPY, Loss

Array = NDArray[Any]

_QUARTILES = 1.349  # between those of a normal distribution, in standard deviations
CLASSES, LABELS, SHARES = "class labels", "a label indicator", "probabilities of classes"
_FAR = 1e4  # times the scale
_FINE = 1024  # steps from 0 to what a weight may be


@dataclass
class Targets:
    """The targets of the outputs as a CSR matrix: what is not stored is 0, where values is None what is stored is 1."""

    indices: Array  # int64
    indptr: Array  # (n_samples + 1,) int64
    values: Array | None  # float64
    n_outputs: int

    @property
    def n_rows(self) -> int:
        """Number of samples."""
        return len(self.indptr) - 1

    def rows(self, rows: Array) -> Array:
        """Return the targets of some samples as a dense array, (len(rows), n_outputs)."""
        values = np.ones(len(self.indices)) if self.values is None else self.values
        shape = len(self.indptr) - 1, self.n_outputs
        dense: Array = csr_array((values, self.indices, self.indptr), shape=shape)[rows].toarray()
        return dense

    def totals(self, weights: Array) -> Array:
        """Return the weighted sum of the targets of each output."""
        values = np.repeat(weights, np.diff(self.indptr))
        return np.bincount(
            self.indices, values if self.values is None else values * self.values, minlength=self.n_outputs
        )


def losses_of(loss: Loss, outputs: Array, targets: Array) -> Array:
    """Return the losses of some samples, summed over their outputs, in float64."""
    z = np.asarray(outputs, np.float64)
    with np.errstate(over="ignore"):
        if loss.normalized:
            z = log_softmax(z, axis=1)
        values: Array = loss.rule(z, targets)[0].sum(axis=1)
    return values


def check_finite(y: Any, name: str, n_samples: int) -> None:
    if y is None:
        raise ValueError(f"{name} requires y to be passed, but the target y is None.")
    check_consistent_length(range(n_samples), y)
    assert_all_finite(y.tocsr().data if issparse(y) else np.asarray(y), input_name="y")


# --- classes and labels


@dataclass
class Classes:
    """What a classifier learns from y: its kind and its classes."""

    kind: str
    classes: Array

    @property
    def n_outputs(self) -> int:
        """Return how many outputs there are: one for two classes, else one for each class or label."""
        return 1 if self.kind == CLASSES and len(self.classes) == 2 else len(self.classes)

    def loss(self, name: str) -> Loss:
        """Return the loss of that name for these classes."""
        softmax = name == "log_loss" and self.kind != LABELS and self.n_outputs > 1
        return CROSS_ENTROPY if softmax else CLASSIFICATION[name]

    def targets(self, labels: Any) -> Targets:
        """Return the targets for labels from `check_y`."""
        if not isinstance(labels, np.ndarray):
            values = None if self.kind == LABELS else labels.data
            return Targets(labels.indices.astype(np.int64), labels.indptr.astype(np.int64), values, self.n_outputs)
        if self.n_outputs == 1:
            indptr = np.zeros(len(labels) + 1, np.int64)
            labels.cumsum(out=indptr[1:])
            return Targets(np.zeros(indptr[-1], np.int64), indptr, None, 1)
        return Targets(labels.astype(np.int64, copy=False), np.arange(len(labels) + 1), None, self.n_outputs)

    def initial_intercept(self, targets: Targets, weights: Array, loss: Loss) -> Array:
        """Return what predicts the shares of the outputs: logarithms of shares for a softmax, else of odds.

        So a row without members has the probabilities of the training data, and training need not begin with driving
        rare outputs down. Half a sample is added to each side, or an output that no sample has would be impossible.
        Losses of margins begin at the margins of these odds, from -1 to 1.
        """
        weights = weights / weights[weights > 0].mean() if weights.any() else weights
        count = targets.totals(weights) + 0.5
        rest = count.sum() if loss.normalized else weights.sum() + 1 - count
        odds = np.log(count / rest)
        return odds if loss.name in ("log_loss", "cross_entropy") else np.tanh(odds / 2)


# --- numbers


@dataclass
class Scale:
    """What a regressor learns from y: how the targets of its outputs are made numbers near 1.

    Training sees ``(y - offset) / scale``, or ``y / scale`` for a loss that takes logarithms. ``scale`` is a power of
    two, so that nothing is lost on the way back.
    """

    one_dimensional: bool
    scale: Array  # (n_outputs,) float64
    offset: Array  # (n_outputs,) float64: of y, or where a loss takes logarithms of the outputs
    start: Array  # (n_outputs,): of the intercepts, in training
    logarithmic: bool  # whether outputs are logarithms

    @property
    def n_outputs(self) -> int:
        """Return the number of outputs."""
        return len(self.scale)


def check_targets(y: Any, known: Scale | None, loss: str, n_samples: int, dtype: DTypeLike) -> Array:
    """Return the targets of a regressor, (n_samples, n_outputs) float64."""
    if issparse(y):
        raise TypeError("y must be a dense array of numbers for EmbeddingBagRegressor, got a sparse matrix.")
    check_finite(y, "EmbeddingBagRegressor", n_samples)
    y = np.asarray(y)
    if y.ndim > 2 or y.ndim == 0:
        raise ValueError(f"y should be a 1d array, or a 2d array of one column per output, got {y.ndim} dimensions.")
    if y.dtype.kind not in "biuf":
        try:
            if y.dtype.kind in "cmM":
                raise TypeError
            y = y.astype(np.float64)
        except (OverflowError, TypeError, ValueError):
            raise ValueError(f"y must be real numbers, got the dtype {y.dtype}.") from None
        assert_all_finite(y, input_name="y")
    y = np.asarray(y, np.float64)
    values = y.reshape(n_samples, -1)
    if known is not None and values.shape[1] != known.n_outputs:
        raise ValueError(f"y must have {known.n_outputs} outputs as before, got {values.shape[1]}.")
    if known is not None and known.logarithmic != (loss == "poisson"):
        raise ValueError(f"loss must be {'other than ' * (not known.logarithmic)}'poisson' as before, got {loss!r}.")
    if values.shape[1] == 0:
        raise ValueError("y must have at least one output, got none.")
    if loss == "poisson" and (values < 0).any():
        row = int(np.flatnonzero((values < 0).any(axis=1))[0])
        raise ValueError(f"y must not be negative for loss='poisson', got {values[row].min()} in row {row}.")
    largest = float(np.finfo(dtype).max)
    if np.abs(values).max(initial=0) > largest / 4:
        row = int(np.flatnonzero((np.abs(values) > largest / 4).any(axis=1))[0])
        raise ValueError(
            f"y must be at most {largest / 4:.3g} in size for dtype={np.dtype(dtype).name!r}, got "
            f"{values[row, np.abs(values[row]).argmax()]} in row {row}."
        )
    return values


def scale_of(values: Array, weights: Array, loss: str, *, one_dimensional: bool) -> Scale:
    """Return how to scale targets, by weighted statistics, and the best constant that training starts from.

    By the mean and the standard deviation; for losses that do not mind outliers by the median and what the quartiles
    say of the standard deviation; for "poisson" by the mean.
    """
    if weights.any():  # others are left out
        values, weights = values[weights > 0], weights[weights > 0] / weights.max()  # or their sum could be infinite
    else:
        weights = np.ones(len(values))
    n_used = len(values)
    largest = np.abs(values).max(axis=0, initial=0)
    unit = np.exp2(np.ceil(np.log2(np.where(largest > 0, largest, 1))))  # or the squares could be infinite
    middle = np.average(values / unit, axis=0, weights=weights)
    if loss == "poisson":
        size = middle
    else:
        size = np.sqrt(np.average((values / unit - middle) ** 2, axis=0, weights=weights))
        if loss in ("absolute_error", "huber"):
            low, middle, high = (_quantiles(values / unit, weights, share) for share in (0.25, 0.5, 0.75))
            size = np.where(high > low, (high - low) / _QUARTILES, size)
        constant = (values == values[0]).all(axis=0)
        middle = np.where(constant, values[0] / unit, middle)  # to the last bit: nothing is left to learn
        size = np.where(~constant & (size > 0), size, np.abs(middle))
    scale = np.exp2(np.round(np.log2(np.where(size > 0, size, 1)))) * np.where(size > 0, unit, 1)
    offset = middle * unit
    if loss == "poisson":
        start = np.log(np.where(offset > 0, offset, scale / (2 * n_used)) / scale)
        return Scale(one_dimensional, scale, np.log(scale), start, True)
    return Scale(one_dimensional, scale, offset, np.zeros(len(scale)), False)


def check_scale(scale: Scale, values: Array, dtype: DTypeLike) -> None:
    """Check that a dtype has weights in units of the targets that train; ValueError if they would become 0."""
    least = _FINE * float(np.finfo(dtype).smallest_subnormal)
    small = np.flatnonzero((scale.scale < least) & (values != scale.offset).any(axis=0))
    if len(small) and not scale.logarithmic:
        raise ValueError(
            f"y must vary by at least {least:.3g}, or not at all, for dtype={np.dtype(dtype).name!r}, got "
            f"{scale.scale[small[0]]:.3g} in column {small[0]}: multiply it by a constant."
        )


def warn_of_scale(values: Array, scale: Scale) -> None:
    """Warn of targets most of which are far from all that decided by what they are divided: no outliers."""
    sizes = np.abs(values - (0 if scale.logarithmic else scale.offset)) / scale.scale
    if sizes.max(initial=0) > _FAR and (far := float(np.median(sizes, axis=0).max())) > _FAR:
        warnings.warn(
            f"y has numbers that are {far:.0e} times as large as what the first call found it to vary by, "
            f"{scale.scale}, and targets are divided by that: training cannot follow. Begin with a fair sample of y, "
            "or divide it by its size before.",
            UserWarning,
            stacklevel=level_of_user(),
        )


def _quantiles(values: Array, weights: Array, share: float) -> Array:
    """Return of each column the smallest number that this share of the weights is not above."""
    order = np.argsort(values, axis=0)
    totals = np.cumsum(weights[order], axis=0)
    at = (totals >= share * totals[-1]).argmax(axis=0)
    columns = np.arange(values.shape[1])
    chosen: Array = values[order[at, columns], columns]
    return chosen


def scaled_targets(values: Array, scale: Scale) -> Targets:
    """Return the targets of training."""
    scaled = (values if scale.logarithmic else values - scale.offset) / scale.scale
    n, n_outputs = scaled.shape
    indices = np.tile(np.arange(n_outputs), n)
    return Targets(indices, np.arange(n + 1) * n_outputs, scaled.ravel(), n_outputs)
