"""LossCurveDisplay: what training did, epoch by epoch."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skbag._inspection.axes import axes_for, split_pipeline


class LossCurveDisplay:
    """The training loss of each epoch, and the validation score where there is one.

    Make it with `from_estimator` or `from_curves`, which draw it. The arguments are kept as attributes.

    Parameters
    ----------
    losses : ndarray of shape (n_epochs,)
        The training loss of each epoch.
    validation_scores : ndarray of shape (n_scores,) or None, default=None
        The validation scores of the last ``n_scores`` epochs.
    best_epoch : int or None, default=None
        The epoch whose model was kept, counted from 1.
    score_name : str, default="validation score"
        What the scores are. Scores that are losses, which is the name "validation loss", are drawn on the axes of the
        training loss, with their signs as they are here; others have an axis of their own.
    estimator_name : str or None, default=None
        The title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the losses are drawn.
    score_ax_ : matplotlib Axes or None
        Where the scores are drawn: ``ax_`` for a validation loss, axes with the same epochs otherwise.
    figure_ : matplotlib Figure
        The figure of both.
    loss_line_, score_line_, best_line_ : matplotlib Line2D or None
        What is drawn; None for what there is not.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : Scores by the number of samples of training.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from skbag import EmbeddingBagClassifier
    >>> from skbag.inspection import LossCurveDisplay
    >>> X, y = make_multilabel_classification(random_state=0)
    >>> model = EmbeddingBagClassifier(early_stopping=True, max_iter=20, random_state=0).fit(X, y)
    >>> LossCurveDisplay.from_estimator(model)  # doctest: +SKIP
    >>> LossCurveDisplay(losses=[0.9, 0.5, 0.4], best_epoch=3).losses
    array([0.9, 0.5, 0.4])
    """

    def __init__(
        self, *, losses: ArrayLike, validation_scores: ArrayLike | None = None, best_epoch: int | None = None,
        score_name: str = "validation score", estimator_name: str | None = None,
    ) -> None:  # fmt: skip
        self.losses = _curve(losses, "losses")
        self.validation_scores = None if validation_scores is None else _curve(validation_scores, "validation_scores")
        if self.validation_scores is not None and len(self.validation_scores) > len(self.losses):
            raise ValueError(
                f"validation_scores must be no more than the losses, {len(self.losses)}, "
                f"got {len(self.validation_scores)}."
            )
        if best_epoch is not None and not 1 <= best_epoch <= len(self.losses):
            raise ValueError(f"best_epoch must be from 1 to {len(self.losses)}, got {best_epoch}.")
        self.best_epoch, self.score_name, self.estimator_name = best_epoch, score_name, estimator_name

    @classmethod
    def from_estimator(cls, estimator: Any, *, name: str | None = None, ax: Any = None, **options: Any) -> Self:
        """Draw the curves of a fitted estimator.

        Parameters
        ----------
        estimator : estimator or Pipeline
            A fitted `EmbeddingBagClassifier` or `EmbeddingBagRegressor`, or anything else with ``loss_curve_``; or a
            Pipeline that ends with it.
        name : str, default=None
            The title; None is the name of the class.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **options : dict
            Passed to `plot`.

        Returns
        -------
        LossCurveDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it keeps no ``loss_curve_``, as `EmbeddingBagVectorizer`, which does not train.
        ImportError
            If matplotlib is missing.
        """
        model = split_pipeline(estimator)[1]
        check_is_fitted(model)
        losses = getattr(model, "loss_curve_", None)
        if losses is None:
            raise TypeError(f"estimator must keep a loss_curve_, which {type(model).__name__} does not.")
        scores, best = getattr(model, "validation_scores_", None), None
        score_name = "validation score"
        if scores is not None:
            best = getattr(model, "best_n_iter_", None)
            best = None if best is None else len(losses) - model.n_iter_ + best  # earlier calls of fit may stand before
            if getattr(model, "scoring", None) == "loss":
                scores, score_name = -np.asarray(scores), "validation loss"
        name = type(model).__name__ if name is None else name
        return cls.from_curves(
            losses, scores, best_epoch=best, score_name=score_name, estimator_name=name, ax=ax, **options
        )

    @classmethod
    def from_curves(
        cls, losses: ArrayLike, validation_scores: ArrayLike | None = None, *, best_epoch: int | None = None,
        score_name: str = "validation score", estimator_name: str | None = None, ax: Any = None, **options: Any,
    ) -> Self:  # fmt: skip
        """Draw curves that are given, such as those that a callback has kept.

        Parameters
        ----------
        losses : array-like of shape (n_epochs,)
            The training loss of each epoch.
        validation_scores : array-like of shape (n_scores,), default=None
            The validation scores of the last ``n_scores`` epochs.
        best_epoch : int, default=None
            The epoch whose model was kept, counted from 1.
        score_name : str, default="validation score"
            What the scores are, as in the class.
        estimator_name : str, default=None
            The title.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **options : dict
            Passed to `plot`.

        Returns
        -------
        LossCurveDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If a curve is not one-dimensional and not empty, or there are more scores than losses.
        ImportError
            If matplotlib is missing.
        """
        display = cls(
            losses=losses, validation_scores=validation_scores, best_epoch=best_epoch, score_name=score_name,
            estimator_name=estimator_name,
        )  # fmt: skip
        return display.plot(ax, **options)

    def plot(
        self, ax: Any = None, *, name: str | None = None, loss_kw: dict[str, Any] | None = None,
        score_kw: dict[str, Any] | None = None,
    ) -> Self:  # fmt: skip
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            The title; None is ``estimator_name``.
        loss_kw, score_kw : dict, default=None
            Options of ``Axes.plot`` for the curve of losses and for that of scores.

        Returns
        -------
        LossCurveDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        ax = axes_for(self, ax, layout="constrained")
        n, scores = len(self.losses), self.validation_scores
        style = {"marker": "o" if n == 1 else None}  # one epoch would be no line
        (self.loss_line_,) = ax.plot(
            np.arange(1, n + 1), self.losses, **{"label": "training loss", "color": "C0", **style, **(loss_kw or {})}
        )
        self.score_ax_ = self.score_line_ = self.best_line_ = None
        ax.set(xlabel="epoch", ylabel="loss", title=self.estimator_name if name is None else name)
        ax.xaxis.get_major_locator().set_params(integer=True)
        lines = [self.loss_line_]
        if scores is not None:
            shared = self.score_name == "validation loss"
            self.score_ax_ = ax if shared else ax.twinx()
            if not shared:
                self.score_ax_.set_ylabel(self.score_name)
            (self.score_line_,) = self.score_ax_.plot(
                np.arange(n - len(scores) + 1, n + 1), scores,
                **{"label": self.score_name, "color": "C1", **style, **(score_kw or {})},
            )  # fmt: skip
            lines.append(self.score_line_)
        if self.best_epoch is not None:
            label = f"kept: epoch {self.best_epoch}"
            self.best_line_ = ax.axvline(self.best_epoch, color="0.5", linestyle=":", label=label)
            lines.append(self.best_line_)
        if len(lines) > 1:
            (self.score_ax_ or ax).legend(handles=lines)  # on top of all lines
        return self


def _curve(values: ArrayLike, name: str) -> Any:
    curve = np.asarray(values, np.float64)
    if curve.ndim != 1 or not len(curve):
        raise ValueError(f"{name} must have one dimension and at least one number, got the shape {curve.shape}.")
    return curve
