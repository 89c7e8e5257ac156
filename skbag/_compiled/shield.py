"""Work that must not be cut short: the first import of Numba, and every compilation."""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

lock = threading.RLock()  # held while such work is under way, by the thread that does it


class _Work:
    """A call in another thread, and what came of it."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.function, self.args = function, args
        self.result: Any = None
        self.error: BaseException | None = None
        self.ended = threading.Lock()
        self.ended.acquire()

    def run(self) -> None:
        try:
            with lock:
                self.result = self.function(*self.args)
        except BaseException as error:  # the caller's to raise
            self.error = error
        finally:
            self.ended.release()


def shielded(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function where no signal can stop it, and return or raise what it does.

    Python runs the handlers of signals in the main thread. Where one raises, as that of Ctrl-C does, this call ends;
    the function goes on to its end in a thread of its own, and whoever needs the same next waits for that.
    """
    if threading.current_thread() is threading.main_thread() and not _importing():
        work = _Work(function, args)
        thread = threading.Thread(target=work.run, name="skbag-shield", daemon=False)  # an exit waits for its end
        try:
            thread.start()
        except (RuntimeError, MemoryError):  # no thread can be had
            pass
        else:
            work.ended.acquire()  # not join(): one that is interrupted takes the thread for ended
            thread.join()
            try:
                if work.error is not None:
                    raise work.error
                return work.result
            finally:
                del work  # which the error's traceback would keep alive
    with lock:
        return function(*args)


def _importing() -> bool:
    """Whether a module is being imported: perhaps by this thread, and one that needs it would wait for ever."""
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            spec = object.__getattribute__(module, "__dict__").get("__spec__")  # a lazy module stays one
            if getattr(spec, "_initializing", False):
                return True
    return False


def drop_orphans(*packages: str) -> None:
    """Forget the modules that an import which failed half-way has left of packages: those without a parent.

    The import system only takes away the modules that it was about to run. The others would be taken for ready at the
    next attempt, which then makes a package that lacks them.
    """
    for name in sorted(sys.modules):  # a parent comes before its children
        parent = name.rpartition(".")[0]
        if parent and parent not in sys.modules and name.partition(".")[0] in packages:
            del sys.modules[name]


def _release() -> None:
    with suppress(RuntimeError):  # the fork went ahead without it
        lock.release()


if hasattr(os, "register_at_fork"):  # a child would wait for ever for what a thread of its parent has begun
    os.register_at_fork(before=lock.acquire, after_in_parent=_release, after_in_child=_release)
