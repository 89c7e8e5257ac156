"""What every Display needs to draw: matplotlib, and axes."""

from typing import Any


def axes_for(display: Any, ax: Any, **figure_options: Any) -> Any:
    """Return axes to draw on, those given or new ones; the display keeps them and their figure.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    TypeError
        If ``ax`` is no axes.
    """
    name = type(display).__name__
    try:
        from matplotlib import pyplot
        from matplotlib.axes import Axes
    except ImportError as error:
        raise ImportError(
            f"{name}.plot needs the package matplotlib: pip install matplotlib, or pip install 'skbag[plot]'."
        ) from error
    if ax is None:
        _, ax = pyplot.subplots(**figure_options)
    elif not isinstance(ax, Axes):
        raise TypeError(f"ax must be the axes of matplotlib or None, got {ax!r}.")
    display.ax_, display.figure_ = ax, ax.figure
    return ax


def plain(text: Any) -> str:
    """Return a text that matplotlib draws as it is, although it may look like a formula."""
    return str(text).replace("$", r"\$")


def split_pipeline(estimator: Any) -> tuple[Any, Any]:
    """Return the steps before the last one of a Pipeline, None if there are none, and the last one."""
    if not hasattr(estimator, "named_steps"):
        return None, estimator
    return (estimator[:-1] if len(estimator) > 1 else None), estimator[-1]
