"""Where warnings point to: the line of the user that led to them."""

import os
import sys

import sklearn

_INSIDE = tuple(os.path.dirname(file) + os.sep for file in (os.path.dirname(__file__), sklearn.__file__))


def level_of_user() -> int:
    """Return the ``stacklevel`` by which a warning of the caller points outside of skbag and scikit-learn."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    return level
