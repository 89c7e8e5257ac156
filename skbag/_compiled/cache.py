"""The compiled code of kernels on disk: one file for each kernel and kind of arguments, which says what it holds.

A file is a header (a mark, a checksum of all that follows, the length of the key), the key, and the pickled code. Its
name has a hash of the key. It is written under another name and then renamed, so that a reader sees all of it or
nothing, and two writers cannot mix. A file that is not what it should be does not count: the kernel is compiled, and
written again.
"""

import hashlib
import os
import pickle
import stat
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import config, sigutils
from numba.core.serialize import dumps

SUFFIX = ".kernel"
_MARK = b"skbag kernel 1\n\0"
_HEADER = struct.Struct("<16s32sQ")  # mark, checksum, length of the key
_PACKAGE = Path(__file__).parent.parent
_FOLDERS = tuple(_PACKAGE / name for name in ("_compiled", "_cpu", "_cuda", "_rules"))  # what kernels are made from
_STALE = 30 * 24 * 3600  # seconds after which what another version has left goes
_VERSIONS = sys.version, numba.__version__, llvmlite.__version__, np.__version__
_OPTIONS = (  # of Numba's configuration, those that change what it makes of a kernel
    "BOUNDSCHECK", "CPU_FEATURES", "CPU_NAME", "CUDA_DEBUGINFO_DEFAULT", "CUDA_ENABLE_MINOR_VERSION_COMPATIBILITY",
    "DEBUGINFO_DEFAULT", "DEBUG_NRT", "DISABLE_INTEL_SVML", "ENABLE_AVX", "ENABLE_PROFILING",
    "EXTEND_VARIABLE_LIFETIMES", "FORCE_CUDA_CC", "JIT_COVERAGE", "LLVM_REFPRUNE_FLAGS", "LLVM_REFPRUNE_PASS",
    "LOOP_VECTORIZE", "NRT_STATS", "OPT", "SLP_VECTORIZE", "USING_SVML",
)  # fmt: skip


def _digest() -> str:
    """Digest of every file that kernels come from, or "" where they are no files."""
    paths = sorted(path for folder in _FOLDERS for path in folder.glob("*.py"))
    digest = hashlib.sha256()
    try:
        for path in paths:
            digest.update(f"{path.parent.name}/{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    except OSError:
        return ""
    return digest.hexdigest() if paths else ""


DIGEST = _digest()  # now: what is imported after this is what was read


# --- where


def _ours(status: os.stat_result) -> bool:
    """Whether nobody else can write there."""
    return not hasattr(os, "geteuid") or (status.st_uid == os.geteuid() and not status.st_mode & 0o022)


def _trusted(base: str) -> str | None:
    """Return the folder for kernels in a directory, made if need be; None if others could put something there."""
    path = os.path.join(base, "skbag")
    try:
        if not os.path.isabs(base):
            return None
        os.makedirs(base, 0o700, exist_ok=True)
        status = os.stat(base)
        if hasattr(os, "geteuid") and (status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o002):
            return None
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        status = os.lstat(path)
    except (OSError, ValueError):  # ValueError: a null byte
        return None
    return path if stat.S_ISDIR(status.st_mode) and _ours(status) else None


@cache
def _folder(chosen: str, user: int) -> str | None:
    places = [chosen] if chosen else []
    users = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or os.path.expanduser("~/.cache")
    places += [str(_PACKAGE / "__pycache__"), users]
    return next(filter(None, map(_trusted, places)), None)


def folder() -> str | None:
    """Return where kernels are kept: in NUMBA_CACHE_DIR, beside the package, or in the user's cache directory."""
    return _folder(config.CACHE_DIR, os.geteuid() if hasattr(os, "geteuid") else 0)


# --- files


def read(path: str, key: bytes) -> bytes | None:
    """Return what was written under a key; None if there is nothing, or not what was written, or not by this user."""
    flags = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
    try:
        with open(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not (stat.S_ISREG(status.st_mode) and _ours(status)):
                return None
            content = file.read()
    except OSError:
        return None
    if len(content) < _HEADER.size:
        return None
    mark, checksum, length = _HEADER.unpack_from(content)
    body = memoryview(content)[_HEADER.size :]
    if mark != _MARK or checksum != hashlib.sha256(body).digest() or body[:length] != key:
        return None
    return bytes(body[length:])


def write(path: str, key: bytes, payload: bytes) -> None:
    """Write a file that `read` takes; it is there as a whole or, if this raises, not at all."""
    body = key + payload
    content = _HEADER.pack(_MARK, hashlib.sha256(body).digest(), len(key)) + body
    temporary = f"{path}.{os.getpid()}-{os.urandom(8).hex()}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    flags |= sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))
    try:
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


@cache  # once per process and folder
def _sweep(path: str) -> None:
    """Delete what other versions, or writers that were killed, have left and nobody has used for a month."""
    before = time.time() - _STALE
    with suppress(OSError), os.scandir(path) as entries:
        for entry in entries:
            kernel, old = entry.name.endswith(SUFFIX), f"-{DIGEST[:16]}-" not in entry.name
            if (kernel and old) or entry.name.endswith(".tmp"):
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if max(status.st_atime, status.st_mtime) < before:
                        os.unlink(entry.path)


# --- what Numba sees


def _identity(value: Any) -> Any:
    """Return what a kernel is made from in a form that is the same in every process.

    Raises
    ------
    ValueError
        For a function of another package, such as a loss of the user's: the digest says nothing of its file.
    """
    value = getattr(value, "py_func", value)  # a dispatcher has a number of its own in every process
    if not isinstance(value, FunctionType):
        return hashlib.sha256(dumps(value)).hexdigest()
    if value.__module__.partition(".")[0] != __name__.partition(".")[0]:
        raise ValueError(f"{value.__module__}.{value.__qualname__} is not of this package.")
    cells = [_identity(cell.cell_contents) for cell in value.__closure__ or ()]
    return value.__module__, value.__qualname__, hashlib.sha256(value.__code__.co_code).hexdigest(), cells


class KernelCache:
    """What a dispatcher asks for compiled code, in the place of Numba's own.

    Parameters
    ----------
    dispatcher : Dispatcher
        Whose code it is.
    implementation : type
        Numba's CacheImpl for that kind of dispatcher: how compiled code becomes something that can be pickled.
    versions : str
        Of what else takes part in compiling.
    """

    def __init__(self, dispatcher: Any, implementation: Any, *versions: str) -> None:
        function = dispatcher.py_func
        self._function, self._name = function, function.__name__
        self._implementation = implementation.__new__(implementation)  # not __init__: it looks for directories
        self._kernel = DIGEST, function.__module__, function.__qualname__, dispatcher.targetoptions
        self._versions = _VERSIONS + versions
        self._enabled = True

    @property
    def cache_path(self) -> str | None:
        """Where the files are."""
        return folder()

    def enable(self) -> None:
        """Use files from now on."""
        self._enabled = True

    def disable(self) -> None:
        """Use no files from now on."""
        self._enabled = False

    def flush(self) -> None:
        """Files are only ever replaced."""

    def entry(self, signature: Any, codegen: Any) -> tuple[str, bytes] | None:
        """Return the path of a file and its key, or None where none is to be used."""
        where = folder()
        if not (self._enabled and DIGEST and where):
            return None
        cells = [_identity(cell.cell_contents) for cell in self._function.__closure__ or ()]
        options = [(name, getattr(config, name, None)) for name in _OPTIONS]
        hashes = hashlib.sha256(self._function.__code__.co_code).hexdigest(), cells
        key = repr((self._kernel, self._versions, options, codegen.magic_tuple(), hashes, signature)).encode()
        name = f"{self._name}-{DIGEST[:16]}-{hashlib.sha256(key).hexdigest()[:32]}{SUFFIX}"
        return os.path.join(where, name), key

    def load(self, signature: Any, codegen: Any, rebuild: Callable[[bytes], Any]) -> Any:
        """Return what ``rebuild`` makes of what was saved for a signature, or None if there is nothing to be used."""
        try:
            entry = self.entry(signature, codegen)
            payload = entry and read(*entry)
            return rebuild(payload) if payload else None
        except MemoryError:
            raise
        except Exception:
            return None

    def save(self, signature: Any, codegen: Any, reduce: Callable[[], bytes | None]) -> None:
        """Keep what ``reduce()`` returns if that is possible; if it is not, this process has it all the same."""
        try:
            entry = self.entry(signature, codegen)
            payload = entry and reduce()
            # the files may have been replaced since they were imported: then this code is of no version
            if entry and payload and _digest() == DIGEST:
                write(*entry, payload)
                _sweep(os.path.dirname(entry[0]))
        except MemoryError:
            raise
        except Exception:
            return

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled code for a signature, or None if there is none that can be used.

        Numba first lets the target learn what kernels may call. To be loaded takes none of that, and compiling begins
        with it.
        """

        def rebuild(payload: bytes) -> Any:
            compiled = self._implementation.rebuild(target_context, pickle.loads(payload))
            return compiled if tuple(compiled.signature.args) == tuple(sigutils.normalize_signature(sig)[0]) else None

        return self.load(sig, target_context.codegen(), rebuild)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep compiled code if that is possible; if it is not, this process has it all the same."""
        made = self._implementation
        self.save(sig, data.codegen, lambda: dumps(made.reduce(data)) if made.check_cachable(data) else None)
