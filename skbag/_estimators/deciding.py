"""What a classifier says of rows: logits, classes and probabilities; and a classifier that is made of arrays."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_expit, log_softmax
from sklearn.utils.metaestimators import available_if

from skbag._data.some_outputs import Tree
from skbag._data.targets import CLASSES, LABELS, Classes
from skbag._estimators.arrays import ArraysMixin
from skbag._estimators.choosing import chosen_labels, finite_outputs, has_probabilities, probabilities
from skbag._estimators.fitted import FittedLayers

Array = NDArray[Any]


def _has_probabilities(estimator: Any) -> bool:
    """Whether the loss says how probable classes are; AttributeError with scikit-learn's words if not."""
    if not has_probabilities(estimator):
        raise AttributeError(f"probability estimates are not available for loss={estimator.loss!r}")
    return True


class DecidingMixin(ArraysMixin, FittedLayers):
    """Logits, classes and probabilities of rows."""

    def decision_function(self, X: Any) -> Array:
        """Return the logits: ``transform(X) @ coefs_[0] + intercepts_[0]``, or what hidden layers make of the features.

        A row without members has the logits ``intercepts_[0]``, or those that hidden layers make of zeros. With
        ``output="hierarchical"`` the logarithms of the probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Real and finite. CSR is taken as it is, anything else is converted to CSR. No rows are fine.

        Returns
        -------
        ndarray of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            With two classes one number per row, positive for ``classes_[1]``; else one per class or label. In the dtype
            of the table.

        Raises
        ------
        NotFittedError
            Before `fit` or `partial_fit`.
        ValueError
            If X has another number of columns than in `fit`, contains NaN, infinity or complex numbers, or its index
            arrays are not those of a sparse matrix. The message names the row and the id.
        """
        logits = self._fitted_snapshot()._outputs(X)
        return logits.ravel() if logits.shape[1] == 1 else logits

    def predict(self, X: Any) -> Array:
        """Return the class with the largest logit, or the labels that ``threshold`` says.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            As in `decision_function`.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Classes; for a label indicator a dense array of zeros and ones. In a tie the first class.
        """
        fitted = self._fitted_snapshot()
        if fitted._learnt.kind == LABELS:
            return chosen_labels(fitted, fitted._outputs(X))
        chosen: Array = fitted.classes_[fitted._outputs(X, choose=True)]
        return chosen

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, or of each label; for the losses "log_loss" and "modified_huber".

        For "log_loss" the softmax of the logits, or the sigmoid of each where there is one logit or y was a label
        indicator. For "modified_huber" ``(clip(z, -1, 1) + 1) / 2`` of each, divided by their sum over the classes, as
        for SGDClassifier; classes that all have 0 are equally probable.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            As in `decision_function`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Columns in the order of ``classes_``, in the dtype of the table. The rows of classes sum to 1, those of
            labels do not.

        Raises
        ------
        AttributeError
            If ``loss`` has no probabilities.
        """
        fitted = self._fitted_snapshot()
        return fitted._probabilities(fitted._outputs(X))

    def _probabilities(self, outputs: Array) -> Array:
        if self._tree is not None:
            return np.exp(finite_outputs(outputs))
        return probabilities(outputs, self.loss, exclusive=self._learnt.kind != LABELS)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of `predict_proba`, exact for "log_loss" where that is close to 0.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            As in `decision_function`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Finite for "log_loss", even where the probability is too small for its dtype.
        """
        if self.loss != "log_loss":
            with np.errstate(divide="ignore"):
                return np.log(self.predict_proba(X))
        fitted = self._fitted_snapshot()
        z = finite_outputs(fitted._outputs(X))
        if fitted._tree is not None:
            return z
        if fitted._learnt.kind == LABELS:
            return log_expit(z)
        if z.shape[1] == 1:
            return np.hstack([log_expit(-z), log_expit(z)])
        with np.errstate(over="ignore"):
            return np.maximum(log_softmax(z, axis=1), np.finfo(z.dtype).min)

    @classmethod
    def from_state_dict(
        cls,
        arrays: Mapping[str, ArrayLike],
        *,
        classes: ArrayLike | None = None,
        multilabel: bool = False,
        bag: str = "embedding_bag",
        linear: str = "linear",
        mode: str,
        **params: Any,
    ) -> Self:
        """Make a classifier that is already fitted, from the arrays of an EmbeddingBag and a Linear of torch.

        Parameters
        ----------
        arrays : mapping of str to array-like
            As those of `to_state_dict`; ``module.state_dict()`` of torch is one, once its tensors are on the CPU.
            Without a ``"linear.bias"`` the intercepts are 0. Several layers, ``"linear.0.weight"``,
            ``"linear.2.weight"`` and so on, are hidden ones and a last one; pass their ``activation``.
        classes : array-like of shape (n_classes,), default=None
            What the rows of ``"linear.weight"`` stand for; None for 0, 1, 2, ... One row stands for the second of two.
        multilabel : bool, default=False
            Whether each row is a label of its own, and not one of several classes.
        bag, linear : str, default="embedding_bag" and "linear"
            What the two are called in ``arrays``.
        mode : {"sum", "mean", "sqrtn", "max"}
            How the members of a bag become one row: that of the model, which the arrays do not say. torch's default is
            "mean", that of the estimators here "sqrtn".
        **params
            Other parameters, but ``embedding_dim``, ``init`` and ``dtype``, which are those of the table.

        Returns
        -------
        EmbeddingBagClassifier
            Fitted: it predicts, and `partial_fit` goes on from there, in copies. ``init`` is the table.

        Raises
        ------
        TypeError
            If an array is of a dtype that NumPy lacks, as bfloat16 of torch.
        ValueError
            If an array is missing, is no table of finite numbers, or the shapes do not fit one another; if ``classes``
            are not as many as there are outputs, or not all different; if ``output`` is "hierarchical".

        Notes
        -----
        Two rows for two classes become one, the difference of both: the probabilities are the same, and
        `decision_function` gives one number.
        """
        if params.get("output") == "hierarchical":
            raise ValueError("output must be 'full' or 'sampled' for arrays of a Linear, got 'hierarchical'.")

        def learnt_of(layer: Array, intercept: Array) -> tuple[Classes, Array, Array]:
            n = len(layer)
            n_classes = 2 if n == 1 and not multilabel else n
            given = np.arange(n_classes) if classes is None else np.asarray(classes)
            found, order = np.unique(given, return_index=True)
            if given.shape != (n_classes,) or len(found) != n_classes:
                raise ValueError(f"classes must be {n_classes} different ones for {n} outputs, got {classes!r}.")
            if n == 1 and not multilabel:
                sign = layer.dtype.type(1 if order[1] == 1 else -1)
                return Classes(CLASSES, found), sign * layer, sign * intercept
            layer, intercept = layer[order], intercept[order]
            if n == 2 and not multilabel:
                layer, intercept = layer[1:] - layer[:1], intercept[1:] - intercept[:1]
            return Classes(LABELS if multilabel else CLASSES, found), layer, intercept

        return cls._from_arrays(arrays, bag, linear, {"mode": mode, **params}, learnt_of)

    @classmethod
    def _from_tree(cls, arrays: Mapping[str, ArrayLike], classes: ArrayLike, counts: Array, **params: Any) -> Self:
        """Make a fitted classifier whose outputs are the nodes of Huffman's tree; see `from_state_dict`.

        ``classes`` : the most frequent one first, with their ``counts``. The rows of ``"linear.weight"`` are the nodes
        in the order in which Huffman's algorithm makes them, and may be more.
        """
        found, numbers = np.unique(classes, return_inverse=True)
        tree = Tree.of_sorted(counts, numbers)

        def learnt_of(nodes: Array, intercepts: Array) -> tuple[Classes, Array, Array]:
            n_nodes = len(tree.children)
            nodes, intercepts = nodes[:n_nodes], intercepts[:n_nodes]
            if n_nodes == 1 and tree.children[0, 1] == 0:  # the one output of two classes is for the second one
                nodes, intercepts = -nodes, -intercepts
            return Classes(CLASSES, found), nodes, intercepts

        params = {**params, "output": "hierarchical"}
        estimator = cls._from_arrays(arrays, "embedding_bag", "linear", params, learnt_of)
        estimator._some_outputs = tree if tree.n_classes > 2 else None
        return estimator
