"""How a classifier is trained: fit, partial_fit, and what it learns from y."""

import warnings
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context
from sklearn.utils.class_weight import compute_class_weight

from skbag._data.classes import check_classes, check_y, has_columns, shown
from skbag._data.targets import CLASSES, LABELS, SHARES, Classes, Targets
from skbag._data.warned import level_of_user
from skbag._estimators.choosing import check_threshold, often_unlabelled
from skbag._estimators.linear import linear_classifier
from skbag._estimators.some_outputs import check_output, choose_outputs
from skbag._estimators.trained import TrainedEmbeddingBag
from skbag._rules.losses import CLASSIFICATION, Loss

Array = NDArray[Any]


class TrainedClassifier(TrainedEmbeddingBag):
    """A table and a layer that are trained on classes, labels or probabilities of classes."""

    _label_counts: tuple[int, int]  # rows of training, and those of them without a label

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Any = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train on X and y, from the start or, with ``warm_start``, from where the estimator is.

        Rows whose weight is 0 are left out.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Real and finite. CSR is taken as it is, anything else is converted to CSR.
        y : array-like of shape (n_samples,) or {array-like, sparse matrix} of shape (n_samples, n_outputs)
            Two or more classes; or a label indicator of zeros and ones with two or more columns, which may be sparse;
            or for "log_loss" the probabilities of two or more classes, rows of numbers that are not negative and sum to
            1, which may be sparse. Rows of zeros and ones alone are a label indicator.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative. They are divided by their mean; None is 1 for every row.
        X_val, y_val, sample_weight_val : like X, y and sample_weight, default=None
            What ``early_stopping`` looks at, instead of rows held out. The labels must be among those of y.

        Returns
        -------
        EmbeddingBagClassifier
            The fitted estimator itself.

        Raises
        ------
        ValueError
            If X has no rows, contains NaN, infinity or complex numbers, or its index arrays are not those of a sparse
            matrix; if y has another length, is continuous or has one class only; if a weight is negative, not finite,
            or all are 0; if ``early_stopping`` cannot hold out samples of every class; if ``init`` is no table of
            finite numbers with one row per column of X; if a parameter has a value that it cannot have; if with
            ``warm_start`` the classes are others than before; if one of X_val and y_val is passed without the other or
            without ``early_stopping``. Also if the loss becomes infinite or NaN: the message
            then says which parameter to change.

        Warns
        -----
        ConvergenceWarning
            If ``tol`` is set, ``learning_rate`` is "constant", and epoch ``max_iter`` has come without a stop.
        """
        check_output(self)
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)

    def partial_fit(
        self, X: Any, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch on one batch of a stream, at the constant rate ``learning_rate_init``.

        The batch may have any number of rows. It is cut into mini-batches of ``batch_size``, and each makes one step.
        The state of the solver and of the random numbers goes on from call to call, and is pickled with the estimator.
        With ``shuffle=False`` and ``learning_rate="constant"``, `fit` of k epochs gives the same bytes as k calls on
        the same X and y without weights, of 16 rows or more; those of a regressor's intercepts are rounded once a call,
        where y has a mean. `partial_fit` after `fit` goes on from its result.
        ``max_iter``, ``learning_rate``, ``tol`` and ``warm_start`` have no effect here.

        Parameters may be set between calls, and training goes on with them, as in SGDClassifier: the loss, the rate or
        the penalty, for example; another ``solver`` begins without a state. They are checked as `fit` checks them.
        ``embedding_dim``, ``init``, ``dtype`` and ``random_state`` say how training begins and have no effect on later
        calls. ``hidden_layer_sizes``, ``mode``, ``fields`` and ``interaction`` must keep the layers' shapes, or the
        call is refused.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Real and finite, with the same columns in every call.
        y : array-like of shape (n_samples,) or {array-like, sparse matrix} of shape (n_samples, n_labels)
            Classes, not necessarily all of them, a label indicator of zeros and ones with two or more columns, or
            probabilities of classes.
        classes : array-like of shape (n_classes,), default=None
            All classes that the stream will bring, in any order. Needed in the first call, unless y is a label
            indicator or probabilities, whose columns they name, sorted; may be left out afterwards.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative. They are taken as they are, so they are also factors of the learning rate
            of "sgd". Rows whose weight is 0 are left out; one at least must be larger. None is 1 for every row.

        Returns
        -------
        EmbeddingBagClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            As in `fit`; also if ``classes`` is missing in the first call or changes later, if y has a class that is not
            among them, or with ``class_weight="balanced"`` or ``early_stopping=True``. The estimator is then as it was
            before the call, and the stream can go on.

        Examples
        --------
        >>> from sklearn.feature_extraction.text import HashingVectorizer
        >>> from skbag import EmbeddingBagClassifier
        >>> hashing = HashingVectorizer(n_features=2**10)
        >>> model = EmbeddingBagClassifier(8, learning_rate_init=0.5, random_state=0)
        >>> stream = [(["cats and dogs", "stocks fell"], [0, 1]), (["the cat sat", "a stock rose"], [0, 1])] * 10
        >>> for texts, topics in stream:
        ...     model = model.partial_fit(hashing.transform(texts), topics, classes=[0, 1])
        >>> model.predict(hashing.transform(["cats sat", "stocks rose"]))
        array([0, 1])
        """
        fitted, stream = self._begin_call()
        check_output(fitted)
        if fitted.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. In order to use 'balanced' weights, "
                "compute them from all labels with sklearn.utils.compute_class_weight and pass them as a dict."
            )
        declared, known = None if classes is None else check_classes(classes), vars(fitted).get("_learnt")
        if known is None and declared is None and not has_columns(y):
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if known is not None and declared is not None and not np.array_equal(declared, known.classes):
            raise ValueError(
                f"`classes={shown(classes)}` is not the same as on last call to partial_fit, was: "
                f"{shown(known.classes)}. "
                "Classes cannot be added: name all in the first call, or make a new estimator with "
                "init=model.embeddings_."
            )
        in_order = declared is None or np.array_equal(declared, np.asarray(classes))
        if not in_order and (has_columns(y) if known is None else known.kind != CLASSES):
            raise ValueError(f"classes must be sorted and different, like the columns of y, got {shown(classes)}.")
        return self._partial_fit(fitted, stream, X, y, sample_weight, declared)

    def _learn_y(self, y: Any, known: Any, weights: Array, n_samples: int) -> tuple[Classes, Any]:
        found, labels = check_y(y, known, n_samples)
        if found.kind == SHARES and self.loss != "log_loss":
            raise ValueError(f"y may be {SHARES} with loss='log_loss' alone, got loss={self.loss!r}.")
        if found.kind == LABELS:
            check_threshold(self)
            earlier = getattr(self, "_label_counts", (0, 0)) if isinstance(known, Classes) else (0, 0)
            counted, empty = weights > 0, np.diff(labels.indptr) == 0
            self._label_counts = earlier[0] + int(counted.sum()), earlier[1] + int((counted & empty).sum())
        elif known is None and self.threshold != 0.5:
            warnings.warn(
                f"threshold={self.threshold!r} is for label indicators and has no effect with {found.kind}: for two "
                "classes use sklearn.model_selection.FixedThresholdClassifier or TunedThresholdClassifierCV.",
                UserWarning,
                stacklevel=level_of_user(),
            )
        return found, labels

    @property
    def _may_be_unlabelled(self) -> bool:
        return often_unlabelled(getattr(self, "_label_counts", (0, 0)))

    def _outputs_named(self, output: Any) -> Array:
        """Return the numbers of classes or labels that are given."""
        numbers = {label: k for k, label in enumerate(self.classes_.tolist())}
        given = np.asarray(output)
        for label in given.ravel().tolist():
            if label not in numbers:
                columns = self._learnt.kind != CLASSES and isinstance(label, str)
                hint = " Labels are the numbers of the columns of y in fit." if columns else ""
                raise ValueError(f"output must be of classes_, {shown(self.classes_)}, got {label!r}.{hint}")
        named = [numbers[label] for label in given.ravel().tolist()]
        return np.array(named, np.int64).reshape(given.shape)

    def _known(self, warm: bool) -> None:
        return None

    def _check_same(self, learnt: Classes) -> None:
        if learnt.kind != self._learnt.kind:
            raise ValueError(f"y must be {self._learnt.kind} as before, got {learnt.kind}.")
        if not np.array_equal(learnt.classes, self.classes_):
            raise ValueError(
                f"warm_start needs the classes of the first fit, {shown(self.classes_)}, got {shown(learnt.classes)}."
            )

    def _linear_model(self, coef: Array, intercept: Array) -> Any:
        return linear_classifier(coef, intercept, self._learnt, self.loss)

    def _targets_of(self, learnt: Classes, y: Any) -> Targets:
        return learnt.targets(y)

    def _loss_of(self, learnt: Classes) -> Loss:
        return learnt.loss(self.loss)

    def _training_loss(self, learnt: Classes) -> Loss:
        return self._loss_of(learnt) if self._tree is None else CLASSIFICATION[self.loss]

    def _choose_outputs(self, learnt: Classes, targets: Targets, weights: Array, rng: Any, *, goes_on: bool) -> None:
        choose_outputs(self, learnt, targets, weights, rng, goes_on=goes_on)

    def _start_of(self, learnt: Classes, targets: Targets, weights: Array) -> Array:
        if self._tree is not None:
            return self._tree.start(targets.totals(weights / weights[weights > 0].mean()) + 0.5)
        return learnt.initial_intercept(targets, weights, self._loss_of(learnt))

    def _has_evidence(self, learnt: Classes) -> bool:
        return self._some_outputs is None and self._manner(learnt).norm is not None

    def _needs_fewer_epochs(self, learnt: Classes) -> bool:
        return learnt.kind != LABELS and self._has_evidence(learnt)

    def _attributes_of_y(self, learnt: Classes) -> dict[str, Any]:
        return {"classes_": learnt.classes}

    def _stratify(self, y: Any) -> Array | None:
        return y if isinstance(y, np.ndarray) else None

    def _weights_of(self, learnt: Classes, y: Any, weights: Array) -> Array:
        """Return sample_weight times class_weight."""
        if self.class_weight is None:
            return weights
        if learnt.kind != CLASSES:
            raise ValueError(f"class_weight is not supported for {learnt.kind} as y.")
        if isinstance(self.class_weight, dict) and not all(isinstance(w, Real) for w in self.class_weight.values()):
            raise ValueError(f"class_weight must be numbers by their classes, got {self.class_weight!r}.")
        try:
            of_class = compute_class_weight(self.class_weight, classes=learnt.classes, y=learnt.classes[y])
        except OverflowError:  # an integer that no float can hold
            of_class = np.array([np.inf])
        if not (np.isfinite(of_class).all() and (of_class >= 0).all()):
            raise ValueError(f"class_weight must be finite and not negative, got {self.class_weight!r}.")
        return weights * of_class[y]
