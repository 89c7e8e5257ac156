"""What y says of classes and labels: its checks, and the classes in it."""

import warnings
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from skbag._data.ragged import flattened
from skbag._data.targets import CLASSES, LABELS, SHARES, Classes, check_finite
from skbag._data.warned import level_of_user

Array = NDArray[Any]

IN_A_STREAM = (
    " Name all classes of a stream in classes= of its first call, those to come too; or make a new estimator with them "
    "all that begins with the table learnt so far: init=model.embeddings_."
)
_COMPARABLE: tuple[Any, ...] = str, Number | np.bool_  # kinds of labels, of which those of one can be put in order
_SOME_ROWS = 10  # of which none has two labels by chance


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
        check_finite(y, "EmbeddingBagClassifier", n_samples)
    if has_columns(y):
        return _check_columns(y, known, classes)
    if not plain:
        _check_uniform(y)
    if known is None and classes is None and not plain:
        check_classification_targets(y)
    if known is not None:
        _check_same_kind(known, CLASSES)
    y = y if plain else column_or_1d(y, warn=True)
    if classes is None:
        classes, codes = _numbered(y, plain)
    else:
        codes = _numbers_in(y, classes, declared=known is None)
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


def _numbers_in(y: Array, classes: Array, *, declared: bool) -> Array:
    """Return the numbers of classes that are known, or only ``declared`` yet."""
    if y.dtype.kind in "biuf" and classes.dtype.kind in "biuf":
        given, same = _as_kind_of(classes, y)
        codes = np.searchsorted(classes, given)
        unseen = np.unique(y[~(same & (classes.take(codes, mode="clip") == given))])
    else:
        unseen, codes = np.setdiff1d(y, classes), None
    if len(unseen) and declared:
        raise ValueError(f"y has classes that are not in classes, {shown(classes)}: {shown(unseen)}.")
    if len(unseen):
        raise ValueError(
            f"`y` has classes not in `self.classes_`. `self.classes_` has {shown(classes)}. 'y' has "
            f"{shown(unseen)}.{IN_A_STREAM}"
        )
    return np.searchsorted(classes, y) if codes is None else codes


def _as_kind_of(classes: Array, y: Array) -> tuple[Array, Array]:
    """Return numbers in the dtype of classes, and which of them it has: others would be compared after rounding."""
    rounds = classes.dtype.kind == "f" and y.dtype.kind in "iu"
    if np.promote_types(y.dtype, classes.dtype) == classes.dtype and not rounds:
        return y, np.ones(len(y), np.bool_)
    with np.errstate(invalid="ignore", over="ignore"):
        found = y.astype(classes.dtype)
        return found, (found.astype(y.dtype) == y) & ((found < 0) == (y < 0))


def _is_plain(y: Any, classes: Array, n_samples: int) -> bool:
    """Whether y is integers like the classes, and nothing would have to be checked but its values."""
    plain = isinstance(y, np.ndarray) and y.shape == (n_samples,)
    if not (plain and y.dtype.kind in "biu" and classes.dtype.kind in "biu"):
        return False
    return np.promote_types(y.dtype, classes.dtype).kind in "biu"  # else they would be compared after rounding


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
