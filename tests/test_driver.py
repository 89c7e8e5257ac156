"""What the host does for a GPU, without one: numba-cuda itself, in front of a driver whose kernels do nothing.

The simulator stands in for numba-cuda as a whole. Here kernels are compiled, loaded and launched, and memory is
allocated and copied, by the library that a GPU has, and only the driver is another one (``fake_driver.c``): what
kernels would calculate is not there.
"""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers import run_python
from simulator import SIMULATED

COMPILER = shutil.which("cc")
pytestmark = [
    pytest.mark.skipif(SIMULATED, reason="the simulator needs no driver"),
    pytest.mark.skipif(find_spec("numba_cuda") is None, reason="needs numba-cuda: pip install -e '.[cu13]'"),
    pytest.mark.skipif(COMPILER is None, reason="needs a C compiler, cc"),
]

BEGIN = """
import ctypes
import numpy as np
from helpers import random_csr
from skbag import EmbeddingBagClassifier, EmbeddingBagVectorizer
from skbag._backends import get_backend

driver = ctypes.CDLL("libcuda.so.1")


def variable(name):
    return ctypes.c_long.in_dll(driver, f"fake_{name}")


launches, allocations = variable("launches"), variable("allocations")
backend = get_backend("cuda")
device = backend.device
X, y = random_csr(dtype="float32"), np.arange(12) % 2
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("fake_driver.c")
    command = [COMPILER, "-shared", "-fPIC", "-O1", "-o", str(folder / "libcuda.so.1"), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return {"LD_LIBRARY_PATH": str(folder)}


def test_copies_of_all_sizes(driver):
    code = """
for n in (0, 1, 1000, 1 << 14, (1 << 22) + 3, (1 << 23) + 5):  # of float32: up to two pinned buffers and a bit
    array = np.random.default_rng(0).random(n, dtype=np.float32)
    with device.active():
        there = device.put(array)
        assert (device.copy_out(there, np.zeros_like(array)) == array).all(), n
        roomy = device.empty(n + 7, np.float32)
        device.copy_in(array, roomy)  # to its beginning
        assert (device.copy_out(roomy, np.zeros_like(array)) == array).all(), n
"""
    run_python(BEGIN + code, env=driver)


def test_both_devices_in_one_process(driver):
    """Numba's lists of what kernels may call are those of both, in part."""
    code = """
def fit(device, dtype):
    model = EmbeddingBagClassifier(3, max_iter=2, batch_size=5, device=device, dtype=dtype, random_state=0)
    assert model.fit(X, y).decision_function(X).shape == (12,)

fit("cpu", "float32")
fit("cuda", "float32")
fit("cpu", "float64")
for device in ("cuda", "cpu"):
    pooled = EmbeddingBagVectorizer.from_pretrained(np.ones((9, 4), np.float32), mode=["mean", "max"], device=device)
    assert pooled.transform(X).shape == (12, 8)
"""
    run_python(BEGIN + code, env=driver)


def test_launches_and_allocations(driver):
    code = """
def counted(call):
    before = launches.value, allocations.value
    call()
    return launches.value - before[0], allocations.value - before[1]

model = EmbeddingBagClassifier(3, device="cuda", random_state=0)
for _ in range(2):
    model.partial_fit(X, y, classes=[0, 1])
n_launches, n_allocations = counted(lambda: model.partial_fit(X, y))
assert n_launches <= 5, n_launches
assert n_allocations == 0, n_allocations
long = EmbeddingBagClassifier(3, device="cuda", batch_size=2, max_iter=3, shuffle=False, random_state=0)
n_launches, _ = counted(lambda: long.fit(X, y))
assert n_launches <= 3 * 4, n_launches
pooled = EmbeddingBagVectorizer.from_pretrained(np.ones((9, 4), np.float32), device="cuda")
pooled.transform(X)
assert counted(lambda: pooled.transform(X)) == (1, 0)
assert all(made._kernel is not None for made in device._made.values()), "Numba passes arguments in another way"
"""
    run_python(BEGIN + code, env=driver)


def test_no_memory_wherever_it_is_asked_for(driver):
    """Loading code and launching it asks for memory, too, and cuda-core says so; that of the host is not the GPU's."""
    code = """
model = EmbeddingBagClassifier(3, device="cuda", random_state=0).partial_fit(X, y, classes=[0, 1])
pooled = EmbeddingBagVectorizer.from_pretrained(np.ones((9, 4), np.float32), device="cuda")
large = EmbeddingBagVectorizer.from_pretrained(np.ones((9, 1 << 20), np.float32), device="cuda")
for left, call, words in (
    ("loads", lambda: pooled.transform(X), "The GPU 'cuda:0' has not enough free memory"),
    ("launches", lambda: pooled.transform(X), "The GPU 'cuda:0' has not enough free memory"),
    ("launches", lambda: model.partial_fit(X, y), "The GPU 'cuda:0' has not enough free memory"),
    ("host_allocations", lambda: large.transform(X), "bytes of pinned memory"),
):
    variable(f"{left}_left").value = 0
    try:
        call()
    except MemoryError as error:
        assert words in str(error), error
    else:
        raise AssertionError(left)
    variable(f"{left}_left").value = -1
    call()
"""
    run_python(BEGIN + code, env=driver)


def test_arrays_of_another_library(driver):
    code = """
import pickle
from types import SimpleNamespace
from numba import cuda

X.sum_duplicates()


def there(stream):
    arrays = {}
    for name in ("data", "indices", "indptr"):
        array = cuda.to_device(getattr(X, name))
        interface = {**array.__cuda_array_interface__, "stream": stream}
        arrays[name] = SimpleNamespace(__cuda_array_interface__=interface, memory=array)
    return SimpleNamespace(**arrays, shape=X.shape)


pooled = EmbeddingBagVectorizer.from_pretrained(np.ones((9, 4), np.float32), device="cuda")
waits = variable("waits")
pooled.transform(there(None))
assert waits.value == 0
pooled.transform(there(2))
assert waits.value == 1  # the default stream, for the features
numbas = there(None)
for name in ("data", "indices", "indptr"):
    setattr(numbas, name, getattr(numbas, name).memory)
pooled.transform(numbas)
variable("ordinal").value = 1
for Z in (numbas, there(2)):
    before = pickle.dumps(pooled)
    try:
        pooled.transform(Z)
    except ValueError as error:
        assert str(error) == "X.data is on the GPU 'cuda:1', and device='cuda:0'.", error
    else:
        raise AssertionError("arrays of another GPU")
    assert pickle.dumps(pooled) == before
"""
    run_python(BEGIN + code, env=driver)
