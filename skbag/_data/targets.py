"""What y asks for: its checks, the classes, and the labels as the training code takes them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length

Array = NDArray[Any]


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
        """Return what predicts the shares of the outputs: logarithms of shares for a softmax, of odds for sigmoids.

        So a row without members has the probabilities of the training data, and training need not begin with driving
        rare outputs down. Half a sample is added to each side, or an output that no sample has would be impossible.
        """
        weights = weights / weights[weights > 0].mean() if weights.any() else weights
        of_labels = np.repeat(weights, np.diff(self.indptr))
        count = np.bincount(self.indices, of_labels, minlength=self.n_outputs) + 0.5
        rest = count.sum() if self.loss == "softmax" else weights.sum() + 1 - count
        return np.log(count / rest)


def targets_of(labels: Any, classes: Array) -> Targets:
    """Take labels from `check_y`: one output for two classes, else one per class or label."""
    if issparse(labels):
        arrays = labels.indices.astype(np.int64), labels.indptr.astype(np.int64)
        return Targets(*arrays, labels.shape[1], "sigmoid", False)
    if len(classes) == 2:
        indptr = np.concatenate(([0], np.cumsum(labels))).astype(np.int64)
        return Targets(np.zeros(indptr[-1], np.int64), indptr, 1, "sigmoid", True)
    return Targets(labels.astype(np.int64), np.arange(len(labels) + 1), len(classes), "softmax", True)


def check_classes(classes: ArrayLike) -> Array:
    """Return the sorted classes of a stream."""
    given = np.asarray(classes)
    if given.ndim != 1 or (given.dtype.kind in "fc" and not np.isfinite(given).all()):
        raise ValueError(f"classes must be one-dimensional, without NaN and infinity, got {classes!r}.")
    given = np.unique(given)
    if len(given) < 2:
        raise ValueError(f"classes must be at least 2 classes, got {classes!r}.")
    return given


def check_y(y: Any, classes: Array | None, n_samples: int) -> tuple[Array, Any]:
    """Return the classes and the labels: class numbers, or the label indicator in CSR.

    ``classes`` are those of earlier calls; a label that is not among them is an error.
    """
    if y is None:
        raise ValueError("EmbeddingBagClassifier requires y to be passed, but the target y is None.")
    check_consistent_length(range(n_samples), y)
    assert_all_finite(y.data if issparse(y) else np.asarray(y), input_name="y")
    if classes is None:
        check_classification_targets(y)
        indicator = type_of_target(y, input_name="y") == "multilabel-indicator"
    else:  # labels of a mini-batch are looked up in classes; what they look like alone says little
        indicator = issparse(y) or (np.ndim(y) == 2 and np.shape(y)[1] > 1)
    if indicator:
        labels = csr_array(y, dtype=np.float64, copy=True)
        labels.sum_duplicates()
        other = np.flatnonzero((labels.data != 0) & (labels.data != 1))
        if len(other):
            row = np.searchsorted(labels.indptr, other[0], side="right") - 1
            raise ValueError(
                "y must be a label indicator of zeros and ones if it has two dimensions, got "
                f"{labels.data[other[0]]} in row {row}, column {labels.indices[other[0]]}."
            )
        labels.eliminate_zeros()
        return np.arange(labels.shape[1]) if classes is None else classes, labels
    y = column_or_1d(y, warn=True)
    if classes is None:
        classes, codes = np.unique(y, return_inverse=True)
    else:
        codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
        unseen = np.setdiff1d(y, classes)
        if len(unseen):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. 'y' has {unseen}. Name all "
                "classes of a stream in classes= of its first call, those to come too; or make a new estimator with "
                "them all that begins with the table learnt so far: init=model.embeddings_."
            )
    if len(classes) < 2:
        raise ValueError(
            "This solver needs samples of at least 2 classes in the data, but the data contains only one class: "
            f"{classes[0]!r}"
        )
    return classes, codes
