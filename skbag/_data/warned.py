"""Where warnings point to: the line of the user that led to them."""

import os
import sys

import joblib
import sklearn

_FILES = os.path.dirname(__file__), sklearn.__file__, joblib.__file__
_INSIDE = tuple(os.path.dirname(file) + os.sep for file in _FILES)


def level_of_user() -> int:
    """Return the ``stacklevel`` by which a warning of the caller points outside of skbag, scikit-learn and joblib.

    In a thread of joblib there is no line of the user: then to where it began.
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    return level
