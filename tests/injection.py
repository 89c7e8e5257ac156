"""Raise an exception at every place of the package at which CPython looks for signals, one place per run."""

import dis
import os
import sys
from functools import cache

import skbag

_PACKAGE = os.path.dirname(skbag.__file__)
_CHECKED = {"RESUME", "JUMP_BACKWARD", "JUMP_BACKWARD_JIT", "SEND"}


class Injected(BaseException):
    """What the handler of a signal might raise."""


@cache
def _checks(code):
    """Return the offsets of the instructions that end with a look at pending signals."""
    names = ((i.offset, i.opname) for i in dis.get_instructions(code))
    return {offset for offset, name in names if name in _CHECKED or name.startswith("CALL")}


class Injector:
    """Trace the calling thread; count the places, and raise `Injected` at the one with the number ``at``.

    With ``everywhere`` also in the libraries that the package calls.
    """

    def __init__(self, at=None, *, everywhere=False):
        self.at, self.everywhere, self.n_places, self.where = at, everywhere, 0, None

    def __enter__(self):
        sys.settrace(self._trace)
        return self

    def __exit__(self, *error):
        sys.settrace(None)

    def _trace(self, frame, event, arg):
        file = frame.f_code.co_filename
        if file == __file__ or not (self.everywhere or file.startswith(_PACKAGE)):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        checks, last = _checks(frame.f_code), -1

        def trace(frame, event, arg):
            nonlocal last
            if event == "opcode":
                if last in checks:
                    if self.n_places == self.at:
                        self.where = f"{file}:{frame.f_lineno}"
                        sys.settrace(None)
                        raise Injected
                    self.n_places += 1
                last = frame.f_lasti
            return trace

        return trace
