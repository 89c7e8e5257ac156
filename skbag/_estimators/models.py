"""Models of fitted arrays, kept for the next call: to put one together takes longer than a small call."""

from operator import is_
from typing import Any

import numpy as np

from skbag._data.model import Model
from skbag._estimators.stream import Stream


class Models:
    """The model of each use, as long as the fitted attributes are the arrays that it has.

    An estimator and its snapshots share one; what is fitted begins with a new one. It is in no pickle.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[tuple[Any, ...], Any, Model]] = {}
        self._streams: dict[str, Stream] = {}

    def __repr__(self) -> str:
        return "Models()"  # of equal estimators, equal

    def __reduce__(self) -> tuple[Any, ...]:
        return Models, ()

    def get(self, use: str, attributes: tuple[Any, ...], options: Any) -> Model | None:
        """Return the model that was kept for these attributes and options; None if there is none."""
        kept = self._kept.get(use)
        if kept is None:
            return None
        before, options_before, model = kept
        same = len(before) == len(attributes) and all(map(is_, before, attributes)) and options == options_before
        return model if same else None

    def take_stream(self, attributes: dict[str, Any]) -> Stream | None:
        """Return what goes on from the last call of partial_fit, if there is that; no other call has it meanwhile."""
        stream = self._streams.pop("partial_fit", None)
        return stream if stream is not None and stream.goes_on(attributes) else None

    def leave_stream(self, stream: Stream, attributes: dict[str, Any]) -> None:
        """Keep what goes on for the next call, with the attributes of the estimator after this one."""
        stream.remember(attributes)
        self._streams["partial_fit"] = stream

    def keep(self, use: str, attributes: tuple[Any, ...], options: Any, model: Model) -> None:
        """Keep a model if what is written to the attributes is written to its arrays."""
        table, *layers = (parameters.values for parameters in model.parameters())
        if all(map(_reaches, attributes, (table, *layers[::2], *layers[1::2]))):
            self._kept[use] = attributes, options, model


def _reaches(attribute: Any, array: Any) -> bool:
    return array is attribute or (isinstance(attribute, np.ndarray) and np.may_share_memory(array, attribute))
