"""Every CUDA kernel compiled, without a GPU: wide loads where rows are read, and nothing kept in local memory.

Which kernels with which types comes from the backend itself: a second interpreter runs the estimators in the simulator,
with the shapes of a GPU, and writes down every launch instead of making it.
"""

import json
import re
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
from helpers import run_python

NEEDED = "numba_cuda", "cuda.bindings.nvjitlink", "cuda.bindings.nvvm"
CAPABILITIES = (7, 5), (9, 0), (10, 0)
WIDE = {32: "[bf]32", 64: "v2.[bf]32|[bf]64", 128: "v4.[bf]32|v2.[bf]64"}  # loads of so many bits

RECORD = """
import functools, json, sys
import numpy as np
from helpers import csr, random_csr, random_table
from numba import cuda
from skbag import EmbeddingBagClassifier, EmbeddingBagVectorizer, embedding, embedding_bag
from skbag._cuda import device as _device
from skbag._cuda import backend
from skbag._cuda import training
from test_devices import CsrOnGpu

widths = json.loads(sys.argv[1])
cuda.device_array = lambda shape, dtype, stream=0: cuda.to_device(np.zeros(shape, dtype))
factories, launches = {}, {}
for module in (backend.kernels, training.kernels):
    for name in [name for name in vars(module) if name.endswith("_kernel")]:
        def tagged(*args, factory=getattr(module, name), where=(module.__name__, name)):
            made = factory(*args)
            factories[id(made)] = where, args
            return made
        setattr(module, name, tagged)

def kind(argument):
    if hasattr(argument, "ndim") and argument.ndim:
        return str(argument.dtype), argument.ndim
    return {bool: "boolean", np.bool_: "boolean", float: "float64", np.float64: "float64"}.get(type(argument), "int64")

def record(self, kernel, n_blocks, *arguments, stream=0, threads=128):
    (module, name), args = factories[id(kernel)]
    launches[json.dumps([module, name, args, [kind(argument) for argument in arguments]])] = None

_device.Device.launch_blocks = record
_device.Device.launch = lambda self, kernel, n, *arguments, stream=0: record(self, kernel, 1, *arguments)

for dtype, dim, modes, index_dtype in widths:
    table = random_table(450, dim, dtype=dtype)
    X = random_csr(dtype=dtype, index_dtype=index_dtype)
    indices = np.tile(X.indices, 50) + np.repeat(np.arange(0, 450, 9), len(X.indices)).astype(index_dtype)
    X = csr(np.tile(X.data, 50), indices, np.append(X.indptr, 50 * len(X.data)).astype(index_dtype), 450)
    Z = random_csr(dtype="int32")
    Z = csr(Z.data, Z.indices, Z.indptr, 450)
    for mode in modes:
        estimator = EmbeddingBagVectorizer.from_pretrained(table, mode=mode, device="cuda", padding_idx=3)
        estimator.transform(X)
        estimator.set_params(padding_idx=None).transform(CsrOnGpu(Z))
        embedding_bag(X.indices, table, [0], mode=mode, device="cuda", max_norm=1.0)
        for solver, y in (("sgd", np.arange(13) % 3), ("adagrad", np.arange(13) % 2)):
            params = {"init": table, "mode": mode, "solver": solver, "dtype": dtype, "batch_size": 16}
            model = EmbeddingBagClassifier(**params, device="cuda")
            model.partial_fit(X, y, classes=np.unique(y))
    embedding(X.indices, table, device="cuda")
print(*launches, sep="\\n")
"""


def has(module):
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


missing = [module for module in NEEDED if not has(module)]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"needs the compilers of numba-cuda[cu13]: no {missing}")


@pytest.fixture(scope="module")
def tools():
    """numba.cuda and the linker; skips where they are there but cannot be used."""
    from cuda.bindings import nvjitlink
    from numba import cuda
    from numba.core import config

    if config.ENABLE_CUDASIM:
        pytest.skip("the simulator compiles nothing: run without NUMBA_ENABLE_CUDASIM")
    return cuda, nvjitlink


def launches(*widths):
    printed = run_python(RECORD, json.dumps(widths), env={"NUMBA_ENABLE_CUDASIM": "1", "SKBAG_FULL_BLOCKS": "1"})
    return [json.loads(line) for line in printed.splitlines()]


def tuples(value):
    return tuple(tuples(item) for item in value) if isinstance(value, list) else value


def compiled(tools, launch, capability):
    """Return the PTX of a launch, and what the assembler says about its machine code."""
    cuda, nvjitlink = tools
    module, factory, args, kinds = launch
    kernel = getattr(import_module(module), factory)(*tuples(args))
    types = cuda.types
    signature = types.void(
        *(getattr(types, k) if isinstance(k, str) else types.Array(getattr(types, k[0]), k[1], "C") for k in kinds)
    )
    ptx, _ = cuda.compile_ptx(kernel.py_func, signature, cc=capability)
    handle = nvjitlink.create(2, [f"-arch=sm_{capability[0]}{capability[1]}", "-verbose"])
    nvjitlink.add_data(handle, nvjitlink.InputType.PTX, ptx.encode(), len(ptx.encode()), "kernel")
    nvjitlink.complete(handle)
    log = bytearray(nvjitlink.get_info_log_size(handle))
    nvjitlink.get_info_log(handle, log)
    nvjitlink.destroy(handle)
    return ptx, log.decode()


def assert_good(tools, launch, capability):
    _, factory, args, kinds = launch
    ptx, log = compiled(tools, launch, capability)
    assert ".local" not in ptx, launch
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    assert spills, log
    assert {number for spill in spills for number in spill} == {"0"}, (launch, spills)
    if factory in ("pool_kernel", "windows_kernel", "lookup_kernel", "bag_gradients_kernel", "update_kernel"):
        width, dtype = args[-2], next(kind[0] for kind in kinds if isinstance(kind, list) and kind[1] == 2)
        wide = WIDE[{"float32": 32, "float64": 64}[dtype] * width]
        assert re.search(rf"ld\.global(\.nc)?(\.\w+)*\.({wide})\s", ptx), launch


@pytest.fixture
def compiling_for(monkeypatch, tools):
    """Say which compute capability helpers are compiled for: Numba asks the GPU, and there is none."""

    def set_capability(capability):
        device = SimpleNamespace(compute_capability=capability)
        monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", lambda: device)

    return set_capability


@pytest.fixture(scope="module")
def main_launches(tools):
    return launches(("float32", 128, ["sqrtn", "max"], "int32"))


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_kernel(tools, compiling_for, main_launches, capability):
    compiling_for(capability)
    for launch in main_launches:
        assert_good(tools, launch, capability)


def test_every_kernel_is_among_them(main_launches):
    names = {
        f"skbag._cuda.{module}.{name}"
        for module in ("pooling", "train_kernels")
        for name in vars(import_module(f"skbag._cuda.{module}"))
        if name.endswith("_kernel")
    }
    assert {f"{module}.{factory}" for module, factory, *_ in main_launches} == names


def test_other_widths_and_dtypes(tools, compiling_for):
    compiling_for((9, 0))
    widths = ("float64", 300, ["mean"], "int64"), ("float32", 33, ["max"], "int64")
    for launch in launches(*widths):
        if launch[1] in ("pool_kernel", "update_kernel", "lookup_kernel"):
            assert_good(tools, launch, (9, 0))
