"""A trained model as scikit-learn's own linear model."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Binarizer, LabelBinarizer, MaxAbsScaler, Normalizer
from sklearn.utils.validation import check_is_fitted

from skbag._data.table import check_padding_idx, check_weight
from skbag._data.targets import LABELS

Array = NDArray[Any]

_ROWS = 1 << 14  # of the table at once
_NORMS = {"mean": "l1", "sqrtn": "l2"}


class LinearMixin:
    """Leaving for scikit-learn."""

    def to_linear(self) -> Pipeline:
        """Return scikit-learn's own model that computes the same: preprocessing of rows, then a linear model.

        Where the mode is no maximum, an output is linear in the row: its coefficients are
        ``embeddings_ @ coefs_[0]``, after a division by a norm of the row. So the whole model can be had without skbag,
        by everything that reads scikit-learn's models: skl2onnx for ONNX, sklearn2pmml for PMML.

        Returns
        -------
        Pipeline
            Fitted. Its last step is the linear model, the steps before are

            - a Binarizer, with ``per_sample_weights=False``;
            - a MaxAbsScaler that divides by 1, and the column of ``padding_idx`` by infinity, if there is one;
            - a Normalizer with the norm "l1" for the mode "mean", "l2" for "sqrtn", and none for "sum".

            The model follows from ``loss``: a LogisticRegression for "log_loss", an SGDClassifier for the others; a
            PoissonRegressor for "poisson", otherwise a LinearRegression. For a label indicator it is a
            OneVsRestClassifier of them, for several outputs of "poisson" a MultiOutputRegressor. The numbers are
            float64. The parameters are those of their classes: nothing was fitted with them.

        Raises
        ------
        NotFittedError
            Before `fit` or `partial_fit`.
        ValueError
            In the mode "max", with several modes, ``interaction``, hidden layers, or ``fields`` in another mode than
            "sum": that is no linear function of a row that is normalized as a whole; with ``output="hierarchical"``;
            with one label.

        Warns
        -----
        UserWarning
            If y was a label indicator and ``threshold`` is not 0.5, which `predict` of a OneVsRestClassifier goes by.

        Notes
        -----
        Outputs, probabilities and classes are the same but for rounding, in the dtype of the table here and in float64
        there. Three things differ. A Binarizer makes 0 of negative numbers, which count as 1 here. `predict` of a
        OneVsRestClassifier goes by one half, whatever ``threshold`` says. And where probabilities of two classes were
        learnt, the one output of a LogisticRegression is the difference of the two.

        The coefficients take memory for ``n_features * n_outputs`` numbers of 8 bytes: `compact` before, where many
        columns were never seen.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.feature_extraction.text import CountVectorizer
        >>> from sklearn.pipeline import make_pipeline
        >>> from skbag import EmbeddingBagClassifier
        >>> texts = ["cats purr", "stocks fell", "cats and dogs", "stocks rose"]
        >>> model = make_pipeline(CountVectorizer(), EmbeddingBagClassifier(random_state=0))
        >>> model = model.fit(texts, ["pets", "money", "pets", "money"])
        >>> linear = make_pipeline(model[0], *model[-1].to_linear())
        >>> linear[1:]
        Pipeline(steps=[('normalizer', Normalizer()),
                        ('logisticregression', LogisticRegression())])
        >>> np.allclose(linear.predict_proba(texts), model.predict_proba(texts), atol=1e-5)
        True
        """
        check_is_fitted(self, "coefs_")
        fitted: Any = self._snapshot()  # type: ignore[attr-defined]
        if fitted.mode not in ("sum", "mean", "sqrtn"):
            why = "a maximum is not linear in the row" if fitted.mode == "max" else "each normalizes a row in its way"
            raise ValueError(f"to_linear needs the mode 'sum', 'mean' or 'sqrtn', got mode={fitted.mode!r}: {why}.")
        blocks = fitted._blocks
        if blocks.interaction:
            raise ValueError(
                f"to_linear needs interaction=None, got {fitted.interaction!r}: products of members are not linear in "
                "the row."
            )
        if blocks.n_fields > 1 and fitted.mode != "sum":
            raise ValueError(
                f"to_linear needs mode='sum' where there are fields, got mode={fitted.mode!r}: each of "
                f"{blocks.n_fields} fields is divided by what it weighs, and a linear model divides whole rows."
            )
        if _kind_of(fitted) == LABELS and len(fitted.classes_) == 1:
            raise ValueError(
                "to_linear needs two labels or more, as OneVsRestClassifier does, got one: train on its column as two "
                "classes, y.ravel()."
            )
        table = check_weight(fitted.embeddings_, "embeddings_")
        padding_idx = check_padding_idx(fitted.padding_idx, len(table))
        intercept = np.asarray(fitted._only_layer("to_linear")[1], np.float64)
        coef = np.empty((len(intercept), len(table)))
        for columns, layer in fitted._layers_by_field():
            for first in range(columns.start, columns.stop, _ROWS):
                some = slice(first, min(columns.stop, first + _ROWS))
                coef[:, some] = (table[some].astype(np.float64) @ layer).T
        if padding_idx is not None:
            coef[:, padding_idx] = 0
        if _labels_differ(fitted):
            warnings.warn(
                f"predict of the linear model gives the labels with a probability above 0.5, and threshold is "
                f"{fitted.threshold!r} here: choose labels by predict_proba, which is the same.",
                UserWarning,
                stacklevel=2,
            )
        steps = [*_preprocessing(fitted, padding_idx), fitted._linear_model(coef, intercept)]
        for step in steps:
            step.n_features_in_ = len(table)
        if hasattr(fitted, "feature_names_in_"):
            steps[0].feature_names_in_ = fitted.feature_names_in_
        return Pipeline([(type(step).__name__.lower(), step) for step in steps])


def _labels_differ(fitted: Any) -> bool:
    """Return whether labels are chosen otherwise than at one half."""
    return _kind_of(fitted) == LABELS and fitted.threshold != 0.5


def _kind_of(fitted: Any) -> Any:
    """Return what a classifier has learnt; None for a regressor."""
    return getattr(fitted._learnt, "kind", None)


def _preprocessing(fitted: Any, padding_idx: int | None) -> Iterator[Any]:
    """Return the steps that make of a row what its members weigh."""
    if not fitted.per_sample_weights:
        yield Binarizer()
    if fitted.mode in _NORMS:
        if padding_idx is not None:  # its coefficient is 0, but it must not count in the norm either
            scaler = MaxAbsScaler()
            scaler.scale_ = np.ones(fitted.n_features_in_)
            scaler.scale_[padding_idx] = np.inf
            scaler.max_abs_, scaler.n_samples_seen_ = scaler.scale_.copy(), 1
            yield scaler
        yield Normalizer(_NORMS[fitted.mode])


def linear_classifier(coef: Array, intercept: Array, learnt: Any, loss: str) -> Any:
    """Return scikit-learn's model for the coefficients (n_outputs, n_features) of a classifier."""
    if learnt.kind != LABELS:
        if len(learnt.classes) == 2 and len(coef) == 2:  # a softmax of two
            coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
        return _one_classifier(coef, intercept, learnt.classes, loss)
    both = np.array([0, 1])
    model = OneVsRestClassifier(_unfitted(loss))
    model.estimators_ = [_one_classifier(coef[[k]], intercept[[k]], both, loss) for k in range(len(coef))]
    model.label_binarizer_ = LabelBinarizer(sparse_output=True).fit(np.eye(len(coef), dtype=np.int64))
    model.label_binarizer_.classes_ = model.classes_ = learnt.classes
    return model


def _unfitted(loss: str) -> Any:
    return LogisticRegression() if loss == "log_loss" else SGDClassifier(loss=loss)


def _one_classifier(coef: Array, intercept: Array, classes: Array, loss: str) -> Any:
    model = _unfitted(loss)
    model.coef_, model.intercept_, model.classes_ = coef, intercept, classes
    model.n_features_in_, model.n_iter_ = coef.shape[1], 0
    if loss == "log_loss":
        model.n_iter_ = np.zeros(1, np.int32)
    return model


def linear_regressor(coef: Array, intercept: Array, learnt: Any) -> Any:
    """Return scikit-learn's model for the coefficients (n_outputs, n_features) of a regressor."""
    if learnt.logarithmic:
        models = [_poisson(*each) for each in zip(coef, intercept, strict=True)]
        if learnt.one_dimensional:
            return models[0]
        several = MultiOutputRegressor(PoissonRegressor())
        several.estimators_ = models
        return several
    model = LinearRegression()
    model.coef_, model.intercept_ = (coef[0], intercept[0]) if learnt.one_dimensional else (coef, intercept)
    return model


def _poisson(coef: Array, intercept: Any) -> Any:
    model = PoissonRegressor()
    model._base_loss = model._get_loss()  # its link
    model.coef_, model.intercept_ = coef, float(intercept)
    model.n_iter_, model.n_features_in_ = 0, len(coef)
    return model
