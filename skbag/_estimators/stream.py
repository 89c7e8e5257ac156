"""What calls of partial_fit have in common: to put it together takes longer than to train on some rows."""

from operator import is_
from types import NoneType
from typing import Any

import numpy as np

from skbag._data.model import Model
from skbag._training.loop import Schedule

_FIXED = str, int, float, bool, NoneType, type, np.generic, np.dtype  # that nobody can change, but only replace
_ANEW = "class_weight", "init", "random_state", "scoring"  # looked at anew in every call, or not any more


class Stream:
    """A trainer and its rates for the next call, if nobody sets a parameter or a fitted attribute before.

    Parameters
    ----------
    trainer : object
        That can go on if it has ``take``, see ``skbag._cpu.training.Trainer``.
    model : Model
    schedule : Schedule
    parameters : dict
        Of the estimator.
    """

    def __init__(self, trainer: Any, model: Model, schedule: Schedule, parameters: dict[str, Any]) -> None:
        self.trainer, self.model, self.schedule = trainer, model, schedule
        self.shared = False  # whether attributes are the arrays of the model, and the last layer no copy in other units
        self._arrays = [parameters.values for parameters in model.parameters()]
        self.may_go_on = hasattr(trainer, "take") and _are_fixed(parameters)
        self._names: list[str] = []
        self._values: list[Any] = []
        self._layers: list[Any] = []

    def remember(self, attributes: dict[str, Any]) -> None:
        """Remember the attributes of the estimator after a call."""
        self._names, self._values, self._layers = [*attributes], [*attributes.values()], _layers(attributes)

    def has(self, attributes: dict[str, Any]) -> bool:
        """Return whether the attributes are those that were remembered."""
        return (
            len(attributes) == len(self._values)
            and all(map(is_, attributes.values(), self._values))
            and [*attributes] == self._names
        )

    def goes_on(self, attributes: dict[str, Any]) -> bool:
        """Return whether the same is true of the arrays in them, and they may be written to."""
        if not self.has(attributes):
            return False
        layers = _layers(attributes)
        same = len(layers) == len(self._layers) and all(map(is_, layers, self._layers))
        return same and all([array.flags.writeable for array in self._arrays])  # noqa: C419 - that is faster


def _layers(attributes: dict[str, Any]) -> list[Any]:
    return [*attributes["coefs_"], *attributes["intercepts_"]]


def _are_fixed(parameters: dict[str, Any]) -> bool:
    """Return whether parameters of an estimator can only be replaced, so that it is seen when they change."""
    return all(
        isinstance(value, _FIXED) or (isinstance(value, tuple) and all(isinstance(each, _FIXED) for each in value))
        for name, value in parameters.items()
        if name not in _ANEW
    )
