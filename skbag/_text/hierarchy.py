"""HierarchicalSoftmaxClassifier: the output layer of fastText's loss "hs"."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_array

from skbag._data.some_outputs import huffman, log_probabilities
from skbag._estimators.choosing import best_of_rows
from skbag._estimators.names import check_count
from skbag._estimators.printed import PrintedMixin

Array = NDArray[Any]

_MOST = 10**15  # what fastText takes for the count of a node that there is not yet


class HierarchicalSoftmaxClassifier(PrintedMixin, ClassifierMixin, BaseEstimator):
    """Classes as the leaves of a binary tree: each inner node says how probable its right branch is.

    With the vector v of a node and the features h the right branch has the probability ``1 / (1 + exp(-v @ h))``. A
    class has the product of those on the way to its leaf, so that the classes of a row sum to 1. The tree is Huffman's,
    by how often classes occur, as fastText builds it [1]_: frequent classes have short ways.

    It has been trained elsewhere, and is made by `read_fasttext(path).to_pipeline()`; `fit` changes nothing.

    Parameters
    ----------
    classes : array-like of shape (n_classes,)
        Classes, the most frequent one first.
    counts : array-like of shape (n_classes,)
        How often each occurs, at least 0 and less than 1e15.
    coef : array-like of shape (n_classes - 1, n_features) or more rows
        The vectors of the inner nodes, in the order in which Huffman's algorithm makes them.

    References
    ----------
    .. [1] A. Joulin, E. Grave, P. Bojanowski, T. Mikolov: Bag of Tricks for Efficient Text Classification, 2017.

    Examples
    --------
    >>> from skbag.text import HierarchicalSoftmaxClassifier
    >>> model = HierarchicalSoftmaxClassifier(["often", "now and then", "never"], [9, 3, 0], [[1.0, 0.0], [0.0, 1.0]])
    >>> model.predict_proba([[0.0, 0.0]])
    array([[0.25, 0.25, 0.5 ]])
    >>> model.classes_
    array(['never', 'now and then', 'often'], dtype='<U12')
    """

    def __init__(self, classes: ArrayLike, counts: ArrayLike, coef: ArrayLike) -> None:
        self.classes = classes
        self.counts = counts
        self.coef = coef

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Do nothing: there is nothing to learn.

        Parameters
        ----------
        X : object
            Not looked at.
        y : object
            Not looked at.

        Returns
        -------
        HierarchicalSoftmaxClassifier
            The classifier itself.
        """
        return self

    @property
    def classes_(self) -> Array:
        """The classes, sorted."""
        return np.unique(np.asarray(self.classes))

    @property
    def n_features_in_(self) -> int:
        """Number of features."""
        return int(np.shape(self.coef)[1])

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Real and finite.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``, in the dtype of X, or float64 if X is not of floating-point numbers.

        Raises
        ------
        ValueError
            If X has another number of features, or is not finite; if the parameters do not fit.
        """
        children, coef = self._tree()
        X = check_array(X, dtype=[np.float64, np.float32], ensure_min_samples=0, estimator=self)
        if X.shape[1] != coef.shape[1]:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting {coef.shape[1]} features as "
                "input."
            )
        leaves = log_probabilities(children, X @ coef[: len(children)].T.astype(X.dtype))
        return np.ascontiguousarray(leaves[:, np.argsort(np.asarray(self.classes), kind="stable")])

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class; see `predict_log_proba`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Real and finite.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``; rows sum to 1.
        """
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> Array:
        """Return the most probable class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Real and finite.

        Returns
        -------
        ndarray of shape (n_samples,)
            Classes; in a tie the first of ``classes_``.
        """
        chosen: Array = self.classes_[self.predict_log_proba(X).argmax(axis=1)]
        return chosen

    def predict_top_k(self, X: Any, k: int) -> tuple[Array, Array]:
        """Return the k most probable classes of each row, and their probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Real and finite.
        k : int
            How many, at most as many as there are in ``classes_``.

        Returns
        -------
        classes : ndarray of shape (n_samples, k)
            The most probable first; of equally probable ones the first of ``classes_``.
        probabilities : ndarray of shape (n_samples, k)
            What `predict_proba` says of them.

        Raises
        ------
        TypeError
            If ``k`` is no integer.
        ValueError
            If ``k`` is smaller than 1 or larger than the number of classes; for X as in `predict_log_proba`.
        """
        k, n_classes = check_count(k, "k"), len(self.classes_)
        if k > n_classes:
            raise ValueError(f"k must be at most the number of classes, {n_classes}, got {k}.")
        logarithms = self.predict_log_proba(X)
        best = best_of_rows(logarithms, k)
        return self.classes_[best], np.exp(np.take_along_axis(logarithms, best, axis=1))

    def _tree(self) -> tuple[Array, Array]:
        """Return the two children of each inner node, and the vectors of the nodes, checked.

        Children are leaves, or n_classes plus the number of an inner node.
        """
        coef, counts = np.asarray(self.coef), np.asarray(self.counts)
        n = len(self.classes_)
        if n < 2 or np.shape(self.classes) != (n,):
            raise ValueError(f"classes must be two or more different ones, got {self.classes!r}.")
        if counts.shape != (n,) or counts.dtype.kind not in "iu" or counts.min() < 0 or counts.max() >= _MOST:
            raise ValueError(f"counts must be {n} integers, at least 0 and less than {_MOST:.0e}, got {self.counts!r}.")
        if coef.ndim != 2 or len(coef) < n - 1 or coef.dtype.kind != "f":
            raise ValueError(f"coef must be real numbers, of shape ({n - 1}, n_features), got the shape {coef.shape}.")
        return huffman(counts.tolist()), coef

    def __sklearn_is_fitted__(self) -> bool:
        return True
