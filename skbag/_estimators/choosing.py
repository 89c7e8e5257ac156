"""From outputs to classes and labels: the k best of each row, and how many labels a row has."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.utils.validation import check_is_fitted

from skbag._backends import best_of
from skbag._data.on_device import is_on_device
from skbag._data.targets import LABELS
from skbag._estimators.base import validate_bags
from skbag._estimators.names import check_count

Array = NDArray[Any]

_TOGETHER = 1 << 22  # outputs in memory at once
_SEARCHED = 32  # up to so many are sought one after the other, more are sorted
_UNLABELLED = 0.05  # share of training rows without a label from which on a row may get none


class ChoosingMixin:
    """The best classes of each row."""

    def predict_top_k(self, X: Any, k: int) -> tuple[Array, Array]:
        """Return the k best classes or labels of each row, and their probabilities or scores.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Real and finite. CSR is taken as it is, anything else is converted to CSR. No rows are fine.
        k : int
            How many, at most as many as there are in ``classes_``.

        Returns
        -------
        classes : ndarray of shape (n_samples, k)
            Of ``classes_``, those with the largest outputs of `decision_function` first; of equal ones the first.
        scores : ndarray of shape (n_samples, k)
            What `predict_proba` says of them, or `decision_function` (with two classes minus its value for the first)
            where ``loss`` has no probabilities. In the dtype of the table.

        Raises
        ------
        NotFittedError
            Before `fit` or `partial_fit`.
        TypeError
            If ``k`` is no integer.
        ValueError
            If ``k`` is smaller than 1 or larger than the number of classes; for X as in `decision_function`.

        Notes
        -----
        The outputs of all rows are never in memory at once: on the CPU the k best of a row are found in compiled code,
        where its outputs are made.

        Examples
        --------
        >>> import numpy as np
        >>> from skbag import EmbeddingBagClassifier
        >>> X, y = np.eye(3), ["cat", "dog", "fish"]
        >>> model = EmbeddingBagClassifier(max_iter=50, random_state=0).fit(X, y)
        >>> classes, probabilities = model.predict_top_k([[0, 0, 1]], 2)
        >>> classes[0, 0], bool(probabilities[0, 0] > probabilities[0, 1])
        (np.str_('fish'), True)
        """
        check_is_fitted(self, "coefs_")
        fitted: Any = self._fitted_snapshot()  # type: ignore[attr-defined]
        k, n_classes = check_count(k, "k"), len(fitted.classes_)
        if k > n_classes:
            raise ValueError(f"k must be at most the number of classes, {n_classes}, got {k}.")
        of_classes = fitted._tree is not None or fitted._layer_shape[-1] == n_classes
        if fitted.device == "cpu" and fitted.loss != "modified_huber" and of_classes:
            best, outputs, totals = best_of(*fitted._to_predict(X), k)
            if (best >= 0).all() and np.isfinite(outputs).all():
                if has_probabilities(fitted):
                    exclusive = fitted._learnt.kind != LABELS
                    with np.errstate(over="ignore"):  # further away than there are numbers
                        outputs = np.exp(outputs - totals[:, None]) if exclusive else expit(outputs)
                return fitted.classes_[best], outputs
        X = validate_bags(fitted, X, reset=False)
        vars(fitted).pop("feature_names_in_", None)  # which are checked
        n = X.shape[0]
        step = n if is_on_device(X) else max(1, _TOGETHER // n_classes)
        chosen = np.empty((n, k), np.int64)
        scores = np.empty((n, k), vars(fitted)["embeddings_"].dtype)
        for first in range(0, n, step or 1):
            some = slice(first, first + step)
            outputs = fitted._outputs(X if step >= n else X[some])
            both = np.hstack([-outputs, outputs]) if n_classes == 2 and outputs.shape[1] == 1 else outputs
            chosen[some] = best_of_rows(both, k)
            values = fitted._probabilities(outputs) if has_probabilities(fitted) else both
            scores[some] = np.take_along_axis(values, chosen[some], axis=1)
        if n == 0:
            fitted._outputs(X)  # its checks
        return fitted.classes_[chosen], scores


def has_probabilities(estimator: Any) -> bool:
    """Return whether the loss says how probable classes are."""
    return estimator.loss in ("log_loss", "modified_huber")


def probabilities(outputs: Array, loss: str, *, exclusive: bool) -> Array:
    """Return the probabilities of classes, of which one is true if they are ``exclusive``, or of labels."""
    single, outputs = outputs.shape[1] == 1, finite_outputs(outputs)
    if loss == "modified_huber":
        one = (np.clip(outputs, -1, 1) + 1) / 2
        if not exclusive or single:
            return np.hstack([1 - one, one]) if exclusive else one
        total = one.sum(axis=1, keepdims=True)
        return np.where(total > 0, one / np.where(total > 0, total, 1), outputs.dtype.type(1 / outputs.shape[1]))
    if not exclusive:
        return expit(outputs)
    with np.errstate(over="ignore"):  # what is further away than there are numbers is infinitely far
        return np.hstack([expit(-outputs), expit(outputs)]) if single else softmax(outputs, axis=1)


def finite_outputs(outputs: Array) -> Array:
    """Return outputs of which the infinite ones are the largest numbers; ValueError if some are NaN."""
    most = np.finfo(outputs.dtype).max
    if np.abs(outputs).max(initial=0) <= most:
        return outputs
    nan = np.isnan(outputs).any(axis=1)
    if nan.any():
        raise ValueError(
            f"The outputs of row {nan.argmax()} of X are NaN: values of X, embeddings_ or coefs_ are too large for "
            f"{outputs.dtype}. Use smaller ones, or dtype='float64'."
        )
    return np.clip(outputs, -most, most)


def best_of_rows(values: Array, k: int) -> Array:
    """Return the columns of the k largest values of each row, the largest first, of equal ones the first."""
    if k > _SEARCHED or not np.isfinite(values).all():
        return np.argsort(-values, axis=1, kind="stable")[:, :k]
    left, rows = values.copy(), np.arange(len(values))
    best = np.empty((len(values), k), np.int64)
    for j in range(k):
        best[:, j] = left.argmax(axis=1)
        left[rows, best[:, j]] = -np.inf
    return best


def check_threshold(estimator: Any) -> None:
    """Raise ValueError if a threshold, which may be set after fit, is none, or needs what the loss does not have."""
    threshold = estimator.threshold
    is_number = isinstance(threshold, Real) and 0 < float(threshold) < 1
    if not (is_number or (isinstance(threshold, str) and threshold == "expected_f1")):
        raise ValueError(f"threshold must be a number between 0 and 1, or 'expected_f1', got {threshold!r}.")
    if estimator.threshold != 0.5 and not has_probabilities(estimator):
        raise ValueError(
            f"threshold={estimator.threshold!r} needs probabilities, which loss={estimator.loss!r} does not have: use "
            "'log_loss' or 'modified_huber', or threshold=0.5."
        )


def chosen_labels(estimator: Any, outputs: Array) -> Array:
    """Return an indicator of the labels that the outputs of rows stand for, as ``threshold`` says."""
    check_threshold(estimator)
    rule = estimator.threshold
    if rule == 0.5:
        return (outputs > 0).astype(np.int64)
    labels = np.empty(outputs.shape, np.int64)
    step = max(1, _TOGETHER // max(1, outputs.shape[1]))
    for first in range(0, len(outputs), step):
        some = outputs[first : first + step].astype(np.float64)
        p = probabilities(some, estimator.loss, exclusive=False)
        if rule == "expected_f1":
            labels[first : first + step] = _most_expected(some, p, may_be_none=estimator._may_be_unlabelled)
        else:
            labels[first : first + step] = p > rule
    return labels


def _most_expected(outputs: Array, p: Array, *, may_be_none: bool) -> Array:
    """Return the labels of each row with the largest F1 that independent probabilities let one expect.

    With the labels in falling order of their outputs, the first k are expected to have the F1 of about
    ``2 * sum of these probabilities / (k + sum of all probabilities)``; the k with the largest is taken. That row gets
    none, if it may, whose probability of having none is larger.
    """
    order = np.argsort(-outputs, axis=1, kind="stable")
    falling = np.take_along_axis(p, order, axis=1)
    counts = np.arange(1, p.shape[1] + 1) + p.sum(axis=1, keepdims=True)
    expected = 2 * np.cumsum(falling, axis=1) / counts
    best = expected.argmax(axis=1, keepdims=True)
    chosen = np.empty(p.shape, np.bool_)
    np.put_along_axis(chosen, order, np.arange(p.shape[1]) <= best, axis=1)
    if may_be_none:
        with np.errstate(divide="ignore"):
            none = np.exp(np.log1p(-p).sum(axis=1))
        chosen[none > expected.max(axis=1)] = False
    return chosen


def often_unlabelled(counts: tuple[int, int]) -> bool:
    """Return whether rows without labels are no rare exception, from the number of rows and of those without."""
    n_rows, n_without = counts
    return n_without >= _UNLABELLED * n_rows and n_without > 0
