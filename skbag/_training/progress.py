"""scikit-learn's callbacks around fit and around each epoch; nothing before scikit-learn 1.9."""

from collections.abc import Callable
from typing import Any, Self

__all__ = ["CallbackSupport", "Progress"]

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupport
except ImportError:

    class CallbackSupport:  # type: ignore[no-redef]
        """Nothing to support."""


class Progress:
    """The tasks that callbacks hear of: one for fit, and in it one for each epoch.

    Parameters
    ----------
    estimator : object
        That is fitted.
    X, y, sample_weight : object
        What it is fitted on.
    """

    n_epochs: int

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.estimator = estimator
        self.call = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.context: Any = None
        self.task: Any = None  # the epoch; None if no callback hears of it
        self.fitted: dict[str, Any] = {}

    def __enter__(self) -> Self:
        if hasattr(self.estimator, "_init_callback_context"):
            self.context = self.estimator._init_callback_context(max_subtasks=self.n_epochs)
            self.context.call_on_fit_task_begin(**self.call)
            if getattr(self.estimator, "_skl_callbacks", ()):
                self._next()
        return self

    def _next(self) -> None:
        self.task = self.context.subcontext(task_name="epoch")
        self.task.call_on_fit_task_begin(**self.call)

    def epoch(self, fitted: Callable[[], dict[str, Any]], n_done: int) -> bool:
        """End an epoch and begin the next; return whether a callback asks to stop.

        ``fitted`` returns the fitted attributes so far; ``n_done`` is the number of epochs so far.
        """
        if self.task is None:
            return False
        self.fitted |= fitted()
        stop = self.task.call_on_fit_task_end(**self.call, reconstruction_attributes=self.fitted)
        if not stop and n_done < self.n_epochs:
            self._next()
        return bool(stop)

    def __exit__(self, *error: object) -> None:
        if self.context is not None and error[0] is None:
            self.context.call_on_fit_task_end(**self.call, reconstruction_attributes=self.fitted)
