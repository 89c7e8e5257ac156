"""Compiled code on disk, and a first call that is interrupted or fails.

A kernel that is made again has a dispatcher of its own, which knows nothing of the first: as in another process.
"""

import errno
import gc
import os
import pickle
import shutil
import stat
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from helpers import run_python
from numba.core.dispatcher import Dispatcher

import skbag
from skbag._compiled import cache as _cache
from skbag._compiled import shield as _shield
from skbag._compiled.dispatch import compiled
from skbag._compiled.once import once
from skbag._cpu.jit import inlined, kernel

ROUNDS = int(os.environ.get("SKBAG_COLD_STARTS", "1"))  # how often processes that start at once are tried
posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs owners and modes of files")
root = pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="needs root, to give files to others")
X = np.arange(3.0)


def scaling(factor):
    """A kernel of which each factor needs code of its own, and all have the same name."""

    @kernel
    def scaled(x):
        total = 0.0
        for i in range(len(x)):
            total += x[i] * factor
        return total

    return scaled


def call(factor):
    """Call the kernel as a new process would; return whether it was compiled."""
    scaled = scaling(factor)
    assert scaled(X) == 3 * factor
    assert scaled(X) == 3 * factor
    hits, misses = (sum(counter.values()) for counter in scaled.stats[1:])
    assert hits + misses == 1
    return misses == 1


@pytest.fixture
def file(folder):
    """The file of scaling(2)."""
    assert call(2)
    (path,) = folder.iterdir()
    return path


# --- what is found again


def test_compiled_once_for_all_processes(folder):
    assert [call(2), call(3), call(2), call(3)] == [True, True, False, False]
    assert len(list(folder.iterdir())) == 2
    for path in folder.iterdir():
        assert path.suffix == _cache.SUFFIX
        assert _cache.DIGEST[:16] in path.name


@posix
def test_nobody_else_can_read_or_write_the_files(file):
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("step", ["open", "replace"])
@pytest.mark.parametrize("last", [2, 3])
def test_two_that_compile_at_once_do_not_mix(folder, monkeypatch, step, last):
    """One reads, the other reads, compiles and writes in the middle of what the one writes, in each order."""
    whole, nested = getattr(os, step), []

    def interleaved(path, *args):
        if str(path).startswith(str(folder)) and not nested and ".tmp" in str(path):
            nested.append(True)
            assert call(5 - last)
        return whole(path, *args)

    monkeypatch.setattr(_cache.os, step, interleaved)
    assert call(last)
    monkeypatch.undo()
    assert nested
    _cache._folder.cache_clear()
    monkeypatch.setattr(_cache.config, "CACHE_DIR", str(folder.parent))
    assert [call(2), call(3)] == [False, False]


AT_ONCE = """
import os, sys
from test_cache import call
factors = sys.argv[1:]
children = []
for turn in (0, 1, 2, 0, 1, 2, 0, 1):
    child = os.fork()
    if not child:
        some = [call(int(factor)) for factor in factors[turn:] + factors[:turn]]
        os._exit(0 if len(some) == 3 else 1)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
print(*(call(int(factor)) for factor in factors))
"""


@posix
def test_eight_processes_that_start_at_once(tmp_path):
    """They have what importing brings from the one that they are forks of, and nothing that was compiled."""
    for k in range(ROUNDS):
        found = run_python(AT_ONCE, 2, 3, 5, env={"NUMBA_CACHE_DIR": str(tmp_path / str(k))})
        assert found.split() == ["False"] * 3
        assert len(list((tmp_path / str(k) / "skbag").iterdir())) == 3


def test_every_source_of_a_kernel_is_in_the_digest():
    for name in ("_cpu.backend", "_cpu.training"):
        import_module(f"skbag.{name}")
    modules = [module for name, module in sys.modules.items() if name.startswith("skbag.")]
    functions = [
        thing.py_func for module in modules for thing in vars(module).values() if isinstance(thing, Dispatcher)
    ]
    assert len(functions) > 10
    folders = {Path(sys.modules[function.__module__].__file__).parent for function in functions}
    assert folders <= set(_cache._FOLDERS)


def test_options_of_numba_that_change_the_code_are_in_the_key(folder, monkeypatch):
    assert call(2)
    for name, value in (("OPT", 1), ("LOOP_VECTORIZE", 0), ("BOUNDSCHECK", 1)):
        monkeypatch.setattr(_cache.config, name, value)
        assert call(2), name
        assert not call(2)


# --- what is not what it should be


def flipped(position, bit):
    def damage(content):
        at = int(position * (len(content) - 1)) if isinstance(position, float) else position
        return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]

    return damage


DAMAGES = {
    "empty": lambda content: b"",
    "the header alone": lambda content: content[: _cache._HEADER.size],
    "halved": lambda content: content[: len(content) // 2],
    "a byte short": lambda content: content[:-1],
    "a byte more": lambda content: content + b"\0",
    "zeros": lambda content: bytes(len(content)),
    "zeros at the end": lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
    **{f"bit {bit} of byte {at} flipped": flipped(at, bit) for at, bit in ((0, 0), (20, 7), (48, 0), (55, 7), (60, 3))},
    **{
        f"bit {bit} at {at} flipped": flipped(at, bit) for at, bit in ((0.3, 1), (0.5, 4), (0.7, 6), (0.9, 2), (1.0, 7))
    },
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_compiled_and_written_again(file, damage):
    content = file.read_bytes()
    file.write_bytes(damage(content))
    assert file.read_bytes() != content
    assert call(2)
    assert not call(2)


class Planted:
    """Unpickling this leaves a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def key_of(path):
    content = path.read_bytes()
    return content[_cache._HEADER.size :][: _cache._HEADER.unpack_from(content)[2]]


def test_the_code_of_another_key_under_this_name_is_not_used(file, folder):
    assert call(3)
    (other,) = set(folder.iterdir()) - {file}
    shutil.copy(other, file)
    assert call(2)
    assert not call(2)


@pytest.mark.parametrize(
    "payload", [b"", b"no pickle", pickle.dumps(None), pickle.dumps((1, 2)), pickle.dumps(Planted)]
)
def test_what_cannot_be_made_code_again_is_compiled(file, payload):
    _cache.write(str(file), key_of(file), payload)
    assert call(2)
    assert not call(2)


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "writable by others", "of another user", "unreadable"])
@posix
def test_what_is_no_file_of_ours_is_not_read(file, tmp_path, kind, request):
    content, key = file.read_bytes(), key_of(file)
    file.unlink()
    _cache.write(str(file), key, pickle.dumps(Planted(tmp_path / "trace")))
    if kind == "folder":
        file.unlink()
        file.mkdir()
    elif kind == "link":
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
    elif kind == "pipe":
        file.unlink()
        os.mkfifo(file)
    elif kind == "writable by others":
        file.chmod(0o606)
    elif kind == "of another user":
        if os.geteuid():
            pytest.skip("needs root")
        os.chown(file, 54321, 54321)
    else:
        file.unlink()
        file.write_bytes(content)
        file.chmod(0)
        if not os.geteuid():
            pytest.skip("root reads everything")
    assert call(2)
    assert not (tmp_path / "trace").exists()
    assert call(2) == (kind == "folder")  # all others are replaced


def test_the_planted_file_would_leave_a_trace(file, tmp_path):
    _cache.write(str(file), key_of(file), pickle.dumps(Planted(tmp_path / "trace")))
    assert call(2)
    assert (tmp_path / "trace").exists()


def test_code_of_files_that_were_replaced_after_their_import_is_not_kept(folder, monkeypatch):
    monkeypatch.setattr(_cache, "_digest", lambda: "of the new files")
    assert call(2)
    assert not list(folder.iterdir())


def test_what_other_versions_left_goes_after_a_month_without_use(folder):
    folder.mkdir(mode=0o700)
    old = {f"pool-{'0' * 16}-{'1' * 32}.kernel", f"pool-{_cache.DIGEST[:16]}-{'1' * 32}.kernel.1-2.tmp"}
    kept = {f"pool-{'2' * 16}-{'1' * 32}.kernel", f"pool-{_cache.DIGEST[:16]}-{'3' * 32}.kernel", "notes"}
    for name in old | kept:
        (folder / name).touch()
        if "2" * 16 not in name:
            os.utime(folder / name, (1e9, 1e9))
    assert call(2)
    names = {path.name for path in folder.iterdir()}
    assert not names & old
    assert names > kept


# --- a write that fails


class Full:
    """A file on a disk that is full after some bytes, or when it is closed."""

    def __init__(self, file, error, room):
        self.file, self.error, self.room = file, error, room

    def write(self, content):
        if self.room is not None:
            self.file.write(content[: self.room])
            raise self.error
        return self.file.write(content)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()
        if self.room is None and error[0] is None:
            raise self.error


def failing(monkeypatch, step, error):
    """Let one step of writing a file fail."""

    def fail(*args, **kwargs):
        raise error

    if step in ("no byte", "half", "close"):
        room = {"no byte": 0, "half": 5000, "close": None}[step]

        def opened(file, mode):
            file = open(file, mode)  # noqa: SIM115
            return Full(file, error, room) if mode == "wb" else file

        monkeypatch.setattr(_cache, "open", opened, raising=False)
    else:
        original = getattr(os, step)

        def sometimes(path, *args, **kwargs):
            reading = ".tmp" not in str(path)  # may fail for want of a file descriptor, too
            hit = step == "mkdir" or (".kernel" in str(path) and (isinstance(error, OSError) or not reading))
            return fail() if hit else original(path, *args, **kwargs)

        monkeypatch.setattr(_cache.os, step, sometimes)


STEPS = ["mkdir", "open", "no byte", "half", "close", "replace"]
REASONS = {
    "full": OSError(errno.ENOSPC, "No space left on device"),
    "quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
    "limit": OSError(errno.EFBIG, "File too large"),
    "permission": PermissionError(errno.EACCES, "Permission denied"),
    "read-only": OSError(errno.EROFS, "Read-only file system"),
}


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("step", STEPS)
def test_a_write_that_fails_is_no_error(folder, monkeypatch, step, reason):
    failing(monkeypatch, step, REASONS[reason])
    if step == "mkdir":  # then there are other places, which are not of this test
        monkeypatch.setattr(_cache, "__file__", str(folder / "nowhere" / "_cache.py"))
        monkeypatch.setenv("XDG_CACHE_HOME", "nowhere")
    assert call(2)
    assert not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize("error", [MemoryError("none left"), KeyboardInterrupt("now")], ids=["memory", "interrupt"])
@pytest.mark.parametrize("step", STEPS[1:])
def test_a_write_that_is_broken_off_leaves_no_file(file, folder, monkeypatch, step, error):
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    failing(monkeypatch, step, error)
    scaled = scaling(2)
    with pytest.raises(type(error), match=str(error)):
        scaled(X)
    assert list(folder.iterdir()) == [file]
    assert file.read_bytes() == content[:-1]
    assert scaled(X) == 6
    monkeypatch.undo()


def test_code_that_cannot_be_pickled_is_no_error(folder, monkeypatch):
    def fail(*args):
        raise pickle.PicklingError("not this")

    monkeypatch.setattr(_cache, "dumps", lambda thing: fail() if len(thing) > 3 else pickle.dumps(thing))
    assert call(2)
    assert not list(folder.iterdir())


@posix
def test_a_limit_on_the_size_of_files(tmp_path):
    code = """
import resource
import numpy as np
from skbag import embedding
from test_cache import call
table = np.ones((4, 16), "float32")
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for limit in (0, 100, 10_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    assert call(limit + 1)
assert embedding([0, 1], table).sum() == 32
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
"""
    run_python(code, env={"NUMBA_CACHE_DIR": str(tmp_path)})
    assert not list((tmp_path / "skbag").iterdir())


# --- where


def test_places_in_turn(tmp_path, monkeypatch):
    monkeypatch.setattr(_cache, "_PACKAGE", tmp_path / "package")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(_cache, "_folder", _cache._folder.__wrapped__)
    beside = tmp_path / "package" / "__pycache__"
    assert _cache._folder(str(tmp_path / "chosen"), 0) == str(tmp_path / "chosen" / "skbag")
    assert _cache._folder("", 0) == str(beside / "skbag")
    assert _cache._folder("not/absolute", 0) == str(beside / "skbag")
    (tmp_path / "file").touch()
    assert _cache._folder(str(tmp_path / "file" / "folder"), 0) == str(beside / "skbag")
    shutil.rmtree(beside)
    beside.touch()
    assert _cache._folder("", 0) == str(tmp_path / "user" / "skbag")
    monkeypatch.setenv("XDG_CACHE_HOME", "user")
    assert _cache._folder("", 0) is None
    assert not Path("user").exists()


@pytest.mark.parametrize("whose", ["the directory", "the folder in it"])
@pytest.mark.parametrize("kind", ["writable by others", "of another user", "link"])
@posix
def test_a_directory_that_others_can_write_to_is_no_cache(tmp_path, kind, whose):
    base = tmp_path / "base"
    (base / "skbag").mkdir(parents=True, mode=0o700)
    path = base if whose == "the directory" else base / "skbag"
    assert _cache._trusted(str(base)) == str(base / "skbag")
    if kind == "writable by others":
        path.chmod(0o777)
    elif kind == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    elif os.geteuid():
        pytest.skip("needs root")
    else:
        os.chown(path, 54321, 54321)
    home_is_elsewhere = kind == "link" and whose == "the directory"
    assert _cache._trusted(str(base)) == (str(base / "skbag") if home_is_elsewhere else None)


@root
def test_a_user_without_a_home_has_no_cache(tmp_path):
    """The home directory of a user without HOME and without a name is "~": a directory of anybody's."""
    code = """
import os, sys
os.environ.pop("HOME", None)
os.environ.pop("XDG_CACHE_HOME", None)
os.environ["NUMBA_CACHE_DIR"] = ""
import numpy as np
import skbag._cpu.backend
from test_cache import call, scaling
call(5)  # imports what compiling needs, which this user may not be allowed to read
skbag._compiled.cache._folder.cache_clear()
touched = []
sys.addaudithook(lambda event, args: "~" in str(args[:1]) and touched.append((event, args)))
os.chdir(sys.argv[1])
os.setuid(54321)
assert os.path.expanduser("~/.cache") == "~/.cache"
assert call(2)
assert not touched, touched
assert skbag._compiled.cache.folder() is None
"""
    package = tmp_path / "copy" / "skbag"
    shutil.copytree(Path(skbag.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "work").mkdir()
    (tmp_path / "work").chmod(0o777)
    environment = {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    run_python(code, tmp_path / "work", env=environment)
    assert not list((tmp_path / "work").iterdir())


# --- first calls that are interrupted or fail

FIRST = """
import os, signal, sys, threading
import numpy as np
from skbag import embedding

class Stop(Exception):
    pass

def stop(*args):
    raise Stop

signal.signal(signal.SIGALRM, stop)

class Finder:
    '''Does something when the n-th module is looked for.'''
    def __init__(self, n, action):
        self.n, self.action = n, action
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numba", "llvmlite", "skbag"):
            self.n -= 1
            if self.n == 0:
                self.action()

def first_call():
    return embedding([0, 1], np.ones((4, 16), "float32")).sum()

def looked_for():
    '''Return how many modules a first call looks for that finds its kernel on disk.'''
    for _ in range(2):
        reader, writer = os.pipe()
        if not os.fork():
            finder = Finder(0, None)
            sys.meta_path.insert(0, finder)
            first_call()
            os.write(writer, b"%d" % -finder.n)
            os._exit(0)
        os.wait()
        n = int(os.read(reader, 20))
    return n

def interrupt():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)

def assert_stopped():
    try:
        first_call()
        signal.pause()
    except Stop:
        return
    raise AssertionError("went on")
"""

interruptible = pytest.mark.skipif(not hasattr(__import__("signal"), "pthread_kill"), reason="needs signals of POSIX")


@interruptible
def test_an_import_that_was_interrupted_can_be_made_again():
    code = """
most = looked_for() - 5
for n in {1, 2, 90, most} if int(sys.argv[1]) == 1 else range(1, most, 12):
    child = os.fork()
    if not child:
        sys.meta_path.insert(0, Finder(n, interrupt))
        assert_stopped()
        assert first_call() == 32
        assert first_call() == 32
        assert threading.active_count() == 1
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, n
"""
    run_python(FIRST + code, ROUNDS)


def test_an_import_that_failed_can_be_made_again():
    code = """
def fail():
    raise MemoryError("none left")

for n in (1, 2, 40, 90, 3 * looked_for() // 4):  # the last ones are of extensions, which Numba lets fail
    sys.meta_path.insert(0, Finder(n, fail))
    try:
        first_call()
    except MemoryError as error:
        assert str(error) == "none left"
    else:
        raise AssertionError(n)
    del sys.meta_path[0]
assert first_call() == 32
"""
    run_python(FIRST + code)


def test_an_import_of_numba_that_failed_before():
    code = """
class Broken(Exception):
    pass

def fail():
    raise Broken

sys.meta_path.insert(0, Finder(90, fail))
try:
    import numba
except Broken:
    pass
assert "numba" not in sys.modules
assert [name for name in sys.modules if name.startswith("numba.")]
assert first_call() == 32
"""
    run_python(FIRST + code)


@interruptible
@pytest.mark.parametrize("moment", ["on_start", "on_end"])
def test_a_compilation_that_was_interrupted_goes_on_and_a_fork_waits_for_it(tmp_path, moment):
    code = """
from skbag._backends import get_backend
get_backend("cpu")
from numba.core import event

class Listener(event.Listener):
    done = False
    def act(self, which):
        if not self.done and which == sys.argv[1]:
            self.done = True
            interrupt()
    def on_start(self, event):
        self.act("on_start")
    def on_end(self, event):
        self.act("on_end")

event.register("numba:compile", Listener())
assert_stopped()
child = os.fork()
if child == 0:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(200)
    os._exit(0 if first_call() == 32 else 1)
assert os.waitpid(child, 0)[1] == 0
assert first_call() == 32
assert threading.active_count() == 1
"""
    run_python(FIRST + code, moment, env={"NUMBA_CACHE_DIR": str(tmp_path)})


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=["limit", "memory"])
def test_without_a_thread_it_is_done_in_this_one(folder, monkeypatch, error):
    def start(self):
        raise error

    monkeypatch.setattr(threading.Thread, "start", start)
    assert _shield.shielded(threading.current_thread) is threading.main_thread()
    assert call(2)


def test_the_shield_returns_and_raises_what_the_work_does():
    assert _shield.shielded(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        _shield.shielded(divmod, 7, 0)
    with pytest.raises(RuntimeError, match="of the work"):
        _shield.shielded(exec, "raise RuntimeError('of the work')")
    assert _shield.shielded(threading.current_thread) is not threading.main_thread()
    assert _shield.shielded(lambda: _shield.shielded(threading.get_ident) == threading.get_ident())


def test_a_first_call_in_the_middle_of_an_import(tmp_path):
    (tmp_path / "numba_extension.py").write_text(FIRST + "assert first_call() == 32")
    run_python("import sys; sys.path.insert(0, sys.argv[1]); import numba_extension", tmp_path)


def test_intrinsics_of_others_compile_whatever_was_imported_first():
    """Numba puts what they are made of into the first list that its CPU target knows: that may not be one of ours."""
    code = """
import skbag._cpu.vector
import numba
from numba.extending import intrinsic

@intrinsic
def doubled(typingctx, x):
    return x(x), lambda context, builder, signature, args: builder.fadd(args[0], args[0])

@numba.njit
def call(x):
    return doubled(x)

assert call(1.5) == 3.0
"""
    run_python(code)


def test_a_call_inside_of_a_compilation(folder):
    from numba.core.compiler_lock import global_compiler_lock

    with global_compiler_lock:
        assert call(2)


def test_a_helper_that_is_called_with_constants_is_compiled_once(folder):
    @inlined
    def shifted(n, by):
        return n + by

    @kernel
    def counted(n):
        total = 0  # a constant to inference, until it has seen the loop
        for _ in range(n):
            total = shifted(total, 1)
        return shifted(total, n)

    assert counted(3) == 6
    assert len(shifted.overloads) == 1


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_collected_after_a_compilation_as_before_it(collects):
    seen = []

    def compile_for():
        seen.append(gc.isenabled())

    (gc.enable if collects else gc.disable)()
    try:
        compiled(compile_for)
        with pytest.raises(RuntimeError, match="broken"):
            compiled(broken)
        assert gc.isenabled() == collects
    finally:
        gc.enable()
    assert seen == [False]


def broken():
    raise RuntimeError("broken")


def test_threads_that_ask_for_a_kernel_at_once_get_the_same():
    """With two of them one would compile, and the other would find on disk what the first has just written."""
    both = threading.Barrier(2)

    @once
    def make(key):
        both.wait(timeout=60)
        return object()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(make, [1, 1])
    assert first is second is make(1)


# --- NUMBA_DISABLE_JIT


def test_numba_switched_off_for_debugging(tmp_path):
    """For training see test_rules.py."""
    code = """
import numba
import numpy as np
from skbag import embedding, embedding_bag
table = np.arange(8, dtype="float32").reshape(4, 2)
for _ in range(2):
    assert embedding_bag([[0, 1]], table, mode="mean", max_norm=9.0).tolist() == [[1, 2]]
    assert embedding([3], table).tolist() == [[6, 7]]
    function = lambda: 1
    assert (numba.njit(function) is function) == bool(numba.config.DISABLE_JIT)
"""
    environment = {"NUMBA_CACHE_DIR": str(tmp_path)}
    run_python(code, env={**environment, "NUMBA_DISABLE_JIT": "1"})
    files = set((tmp_path / "skbag").iterdir())
    run_python(code, env=environment)
    assert set((tmp_path / "skbag").iterdir()) == files
