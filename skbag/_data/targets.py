"""What y asks for: its checks, and the targets of training."""

import warnings
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from scipy.sparse import csr_array, issparse
from scipy.special import log_softmax
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length

from skbag._data.ragged import flattened
from skbag._data.warned import level_of_user
from skbag._rules.losses import CLASSIFICATION, CROSS_ENTROPY, Loss

Array = NDArray[Any]

_QUARTILES = 1.349  # between those of a normal distribution, in standard deviations
CLASSES, LABELS, SHARES = "class labels", "a label indicator", "probabilities of classes"

IN_A_STREAM = (
    " Name all classes of a stream in classes= of its first call, those to come too; or make a new estimator with them "
    "all that begins with the table learnt so far: init=model.embeddings_."
)
_COMPARABLE: tuple[Any, ...] = str, Number | np.bool_  # kinds of labels, of which those of one can be put in order
_FAR = 1e4  # times the scale
_SOME_ROWS = 10  # of which none has two labels by chance


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


def shown(classes: Any) -> str:
    """Return classes for a message, of many the first and the last ones."""
    return np.array2string(np.asarray(classes), threshold=20, separator=" ")


def check_classes(classes: ArrayLike) -> Array:
    """Return the sorted classes of a stream."""
    if isinstance(classes, set | frozenset):
        raise TypeError(f"classes must be a list or an array, got {type(classes).__name__}: pass sorted(classes).")
    given = np.asarray(classes)
    _check_uniform(given, "classes", "at place")
    if given.ndim != 1 or (given.dtype.kind in "fc" and not np.isfinite(given).all()):
        raise ValueError(f"classes must be one-dimensional, without NaN and infinity, got {classes!r}.")
    given = np.unique(given)
    if len(given) < 2:
        raise ValueError(f"classes must be at least 2 classes, got {classes!r}.")
    return given


def _check_finite(y: Any, name: str, n_samples: int) -> None:
    if y is None:
        raise ValueError(f"{name} requires y to be passed, but the target y is None.")
    check_consistent_length(range(n_samples), y)
    assert_all_finite(y.data if issparse(y) else np.asarray(y), input_name="y")


def _check_uniform(y: Any, name: str = "y", where: str = "in row") -> None:
    """Check that labels are all strings or all numbers: others cannot be put in order."""
    labels = np.asarray(y).ravel()
    if labels.dtype != object or not len(labels):
        return
    kinds = [next((kind for kind in _COMPARABLE if isinstance(label, kind)), type(label)) for label in labels]
    row = next((row for row, kind in enumerate(kinds) if kind is not kinds[0] or labels[row] is None), None)
    if row is not None:
        beside = f" beside {labels[0]!r}" if row else ""
        raise TypeError(f"{name} must be uniformly strings or numbers, got {labels[row]!r} {where} {row}{beside}.")


def _check_no_lists(y: Any) -> None:
    """Check that y is no list of the labels of each sample."""
    if issparse(y) or getattr(getattr(y, "dtype", None), "kind", "O") in "biufc" or len(getattr(y, "shape", ())) == 2:
        return
    first: Any = next((labels for labels in y if labels is not None), None) if np.iterable(y) else None
    as_list = getattr(first, "to_list", getattr(first, "as_py", None))  # of polars' and of Arrow's columns of lists
    if as_list is not None:
        first = as_list()
        words = isinstance(first, list)
    elif isinstance(first, set | frozenset):
        words = True
    else:
        words = isinstance(first, list | tuple | np.ndarray) and (
            any(isinstance(label, str) for label in first) or flattened(y, "y") is not None
        )
    if words:
        raise ValueError(
            "y must be classes, or an indicator matrix with a column for every label, got a list of labels per sample, "
            f"like {first!r}: make the matrix with sklearn.preprocessing.MultiLabelBinarizer().fit_transform(y)."
        )


def has_columns(y: Any) -> bool:
    """Whether y has a column of numbers for each class or label."""
    try:
        array = y if issparse(y) else np.asarray(y)
    except ValueError:  # lists of different lengths
        return False
    return (issparse(y) or (array.ndim == 2 and array.shape[1] > 1)) and array.dtype.kind in "biuf"


def check_y(y: Any, known: Classes | Array | None, n_samples: int) -> tuple[Classes, Any]:
    """Return the classes and the labels: class numbers, or in CSR the label indicator or the probabilities.

    Parameters
    ----------
    y : array-like or sparse matrix
    known : Classes, ndarray or None
        Of earlier calls, or the classes that the user declares before the first; a label that is not among them is an
        error.
    n_samples : int
    """
    known, classes = (known, known.classes) if isinstance(known, Classes) else (None, known)
    if known is not None and known.kind == CLASSES and _is_plain(y, known.classes, n_samples):
        codes = known.classes.searchsorted(y)
        if (known.classes.take(codes, mode="clip") == y).all():
            return known, codes
    plain = type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "biuU"  # which can be nothing but classes
    if not (plain and len(y) == n_samples):
        _check_no_lists(y)
        _check_finite(y, "EmbeddingBagClassifier", n_samples)
    if has_columns(y):
        return _check_columns(y, known, classes)
    if not plain:
        _check_uniform(y)
    if known is None and classes is None and not plain:
        check_classification_targets(y)
    if known is not None:
        _check_same_kind(known, CLASSES)
    y = y if plain else column_or_1d(y, warn=True)
    classes, codes = _numbered(y, plain) if classes is None else (classes, _numbers_in(y, classes))
    if len(classes) < 2:
        raise ValueError(
            "This solver needs samples of at least 2 classes in the data, but the data contains only one class: "
            f"{classes[0]!r}"
        )
    return known or Classes(CLASSES, classes), codes


def _check_columns(y: Any, known: Classes | None, classes: Array | None) -> tuple[Classes, Any]:
    """Return the labels, and their indicator or the probabilities of classes, from a matrix with a column for each."""
    matrix = csr_array(y if issparse(y) else np.asarray(y), dtype=np.float64, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    kind = LABELS if (matrix.data == 1).all() else SHARES
    if known is not None and known.kind != CLASSES:  # zeros and ones may be either
        kind = known.kind
    found = known or Classes(kind, np.arange(matrix.shape[1]) if classes is None else classes)
    _check_same_kind(found, kind)
    if matrix.shape[1] != len(found.classes):
        raise ValueError(f"y must have one column per label, {len(found.classes)}, got {matrix.shape[1]}.")
    (_check_shares if kind == SHARES else _check_indicator)(matrix)
    if kind == LABELS and known is None and matrix.shape[0] >= _SOME_ROWS and (np.diff(matrix.indptr) == 1).all():
        warnings.warn(
            f"Every row of y has a single 1, and y is taken as a label indicator: each of its {matrix.shape[1]} "
            "columns is a label that a sample may have beside others. For classes of which a sample has one, pass "
            "y.argmax(axis=1).",
            UserWarning,
            stacklevel=level_of_user(),
        )
    return found, matrix


def _numbered(y: Array, plain: bool) -> tuple[Array, Array]:
    """Return the classes in y, and their numbers."""
    classes, codes = np.unique(y, return_inverse=True)
    if plain and 2 * len(classes) >= len(y):  # it warns of so many
        check_classification_targets(y)
    return classes, codes


def _numbers_in(y: Array, classes: Array) -> Array:
    """Return the numbers of known classes."""
    unseen = np.setdiff1d(y, classes)
    if len(unseen):
        raise ValueError(
            f"`y` has classes not in `self.classes_`. `self.classes_` has {shown(classes)}. 'y' has "
            f"{shown(unseen)}.{IN_A_STREAM}"
        )
    return np.searchsorted(classes, y)


def _is_plain(y: Any, classes: Array, n_samples: int) -> bool:
    """Whether y is integers like the classes, and nothing would have to be checked but its values."""
    plain = isinstance(y, np.ndarray) and y.shape == (n_samples,)
    return plain and y.dtype.kind in "biu" and classes.dtype.kind in "biu"


def _check_same_kind(known: Classes, kind: str) -> None:
    if known.kind != kind:
        raise ValueError(f"y must be {known.kind} as before, got {kind}.")


def _place(matrix: Any, entry: int) -> str:
    row = np.searchsorted(matrix.indptr, entry, side="right") - 1
    return f"{matrix.data[entry]} in row {row}, column {matrix.indices[entry]}"


def _check_indicator(matrix: Any) -> None:
    other = np.flatnonzero(matrix.data != 1)
    if len(other):
        raise ValueError(
            f"y must be a label indicator of zeros and ones if it has two dimensions, got {_place(matrix, other[0])}."
        )


def _check_shares(matrix: Any) -> None:
    outside = np.flatnonzero((matrix.data < 0) | (matrix.data > 1 + 1e-5))
    if len(outside):
        raise ValueError(
            "y must be a label indicator of zeros and ones, or rows of probabilities, if it has two dimensions, got "
            f"{_place(matrix, outside[0])}."
        )
    sums = matrix.sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > 1e-5)
    if len(wrong):
        raise ValueError(
            "y must be a label indicator of zeros and ones, or rows of probabilities that sum to 1, if it has two "
            f"dimensions, got the sum {sums[wrong[0]]} in row {wrong[0]}."
        )


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
    _check_finite(y, "EmbeddingBagRegressor", n_samples)
    y = np.asarray(y)
    if y.ndim > 2 or y.ndim == 0:
        raise ValueError(f"y should be a 1d array, or a 2d array of one column per output, got {y.ndim} dimensions.")
    if y.dtype.kind not in "biuf":
        try:
            if y.dtype.kind == "c":
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
    weights = weights / weights.max() if weights.any() else np.ones(len(values))  # or their sum could be infinite
    n_used = np.count_nonzero(weights)
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
        used = values[weights > 0]
        constant = (used == used[0]).all(axis=0)
        middle = np.where(constant, used[0] / unit, middle)  # to the last bit: nothing is left to learn
        size = np.where(~constant & (size > 1e-12 * np.abs(middle)), size, np.abs(middle))
    scale = np.exp2(np.round(np.log2(np.where(size > 0, size, 1)))) * np.where(size > 0, unit, 1)
    offset = middle * unit
    if loss == "poisson":
        start = np.log(np.where(offset > 0, offset, scale / (2 * n_used)) / scale)
        return Scale(one_dimensional, scale, np.log(scale), start, True)
    return Scale(one_dimensional, scale, offset, np.zeros(len(scale)), False)


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
