"""Every CUDA kernel compiled, without a GPU: wide loads where rows are read, and nothing kept in local memory.

Which kernels with which types comes from the backend itself: a second interpreter runs the estimators in the simulator,
with the shapes of a GPU, and writes down every launch instead of making it.
"""

import json
import re
from collections import Counter
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import test_cuda_training
from helpers import run_python

from skbag._cuda import structs
from skbag._rules.losses import CLASSIFICATION, CROSS_ENTROPY, REGRESSION
from skbag._rules.solvers import SOLVERS

NEEDED = "numba_cuda", "cuda.bindings.nvjitlink", "cuda.bindings.nvvm"
CAPABILITIES = (7, 5), (9, 0), (10, 0)
RULES = {**CLASSIFICATION, **REGRESSION, **SOLVERS, CROSS_ENTROPY.name: CROSS_ENTROPY}
WIDE = {32: "[bf]32", 64: "v2.[bf]32|[bf]64", 128: "v4.[bf]32|v2.[bf]64"}  # loads of so many bits

KERNELS = "pooling", "forward", "head", "sorting", "update"  # modules of them
ARITHMETIC = r"^\s*(?:@\S+ )?((?:add|sub|mul|div|fma|sqrt|rcp|neg|abs|max|min|setp|selp)\.(?:[\w.]*\.)?f64)\s"

RECORD = """
import json, sys
from importlib import import_module
import numpy as np
from helpers import csr, random_csr, random_table
from numba import cuda
from skbag import EmbeddingBagVectorizer, embedding, embedding_bag
from skbag._backends import get_backend
from skbag._cuda import device as _device
from skbag._data.bags import bags_from_csr
from skbag._data.model import Rates
from skbag._rules.losses import CLASSIFICATION, CROSS_ENTROPY, REGRESSION
from skbag._rules.solvers import SOLVERS
from test_cuda_training import case_of, model_of, trainer_of
from test_devices import CsrOnGpu

widths = json.loads(sys.argv[1])
cuda.device_array = lambda shape, dtype, stream=0: cuda.to_device(np.zeros(shape, dtype))
factories, launches = {}, {}
for module in (import_module(f"skbag._cuda.{name}") for name in json.loads(sys.argv[2])):
    for name in [name for name in vars(module) if name.endswith("_kernel")]:
        def tagged(*args, factory=getattr(module, name), where=(module.__name__, name)):
            made = factory(*args)
            factories[id(made)] = where, [getattr(arg, "name", arg) for arg in args]
            return made
        setattr(module, name, tagged)

def kind(argument):
    if isinstance(argument, tuple):
        return {"name": type(argument).__name__, "fields": [kind(field) for field in argument]}
    if hasattr(argument, "ndim") and argument.ndim:
        return str(argument.dtype), argument.ndim
    return {bool: "boolean", np.bool_: "boolean", float: "float64", np.float64: "float64"}.get(type(argument), "int64")

def record(self, kernel, n_blocks, *arguments, stream=0, threads=128):
    (module, name), args = factories[id(kernel)]
    launches[json.dumps([module, name, args, [kind(argument) for argument in arguments]])] = None

_device.Device.launch_blocks = record
_device.Device.launch = lambda self, kernel, n, *arguments, stream=0: record(self, kernel, 1, *arguments)
losses = [CROSS_ENTROPY, *CLASSIFICATION.values(), *REGRESSION.values()]
order, rates = np.arange(11), Rates(0.1)

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
        for solver in SOLVERS.values():
            case = case_of(CROSS_ENTROPY, solver, mode, dtype, dim=dim, batch_size=16)
            case.X, case.dense = X, np.tile(case.dense, (2, 1))[:13]
            case.sample_weight = np.ones(13)
            trainer = trainer_of(case, model_of(case), undo=True)
            trainer.epoch(np.arange(13), rates)
            trainer.outputs(order)
            bags = bags_from_csr(case.X, dtype=case.dtype)
            get_backend("cuda").predict(bags, model_of(case), mode, 1, choose=True)
            trainer.take_back()
    for loss in losses:
        case = case_of(loss, SOLVERS["sgd"], "sum", dtype, dim=dim)
        trainer_of(case, model_of(case)).epoch(order, rates)
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
    printed = run_python(
        RECORD, json.dumps(widths), json.dumps(KERNELS), env={"NUMBA_ENABLE_CUDASIM": "1", "SKBAG_FULL_BLOCKS": "1"}
    )
    return [json.loads(line) for line in printed.splitlines()]


def tuples(value):
    return tuple(tuples(item) for item in value) if isinstance(value, list) else value


def kernel_of(launch):
    """Return the kernel of a launch: rules are given by their names."""
    module, factory, args, _ = launch
    args = [RULES.get(arg, arg) if isinstance(arg, str) else arg for arg in args]
    return getattr(import_module(module), factory)(*tuples(args))


def type_of(types, kind):
    """Return the Numba type of an argument."""
    if isinstance(kind, dict):
        fields = [type_of(types, field) for field in kind["fields"]]
        return types.NamedTuple(fields, getattr(structs, kind["name"])) if fields else types.Tuple(())
    return getattr(types, kind) if isinstance(kind, str) else types.Array(getattr(types, kind[0]), kind[1], "C")


def ptx_of(cuda, launch, capability):
    signature = cuda.types.void(*(type_of(cuda.types, kind) for kind in launch[3]))
    return cuda.compile_ptx(kernel_of(launch).py_func, signature, cc=capability)[0]


def compiled(tools, launch, capability):
    """Return the PTX of a launch, and what the assembler says about its machine code."""
    cuda, nvjitlink = tools
    ptx = ptx_of(cuda, launch, capability)
    handle = nvjitlink.create(2, [f"-arch=sm_{capability[0]}{capability[1]}", "-verbose"])
    nvjitlink.add_data(handle, nvjitlink.InputType.PTX, ptx.encode(), len(ptx.encode()), "kernel")
    nvjitlink.complete(handle)
    log = bytearray(nvjitlink.get_info_log_size(handle))
    nvjitlink.get_info_log(handle, log)
    nvjitlink.destroy(handle)
    return ptx, log.decode()


def first_matrix(kinds):
    """Return the dtype of the first array of two dimensions."""
    for kind in kinds:
        fields = kind["fields"] if isinstance(kind, dict) else [kind]
        for field in fields:
            if isinstance(field, list) and field[1] == 2:
                return field[0]
    return None


def assert_good(tools, launch, capability):
    _, factory, args, kinds = launch
    ptx, log = compiled(tools, launch, capability)
    assert ".local" not in ptx, launch
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    assert spills, log
    assert {number for spill in spills for number in spill} == {"0"}, (launch, spills)
    if factory in ("pool_kernel", "windows_kernel", "lookup_kernel", "bag_gradients_kernel", "update_kernel"):
        wide = WIDE[{"float32": 32, "float64": 64}[first_matrix(kinds)] * args[-2]]
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
        for module in KERNELS
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


def test_kernels_of_float32_calculate_in_float32(tools, compiling_for, monkeypatch, main_launches):
    """What is float64: norms, the state of a row, the sum of a loss, and the head's sum of exponentials."""
    cuda, _ = tools
    compiling_for((9, 0))
    update = import_module("skbag._cuda.update")
    no_norm = cuda.jit(device=True, forceinline=True)(lambda scratch, values, row, first_slot, lanes, width, step: None)
    monkeypatch.setattr(update, "rescale", no_norm)
    monkeypatch.setattr(update, "update_kernel", update.update_kernel.__wrapped__)
    seen = set()
    for launch in main_launches:
        _, factory, args, _ = launch
        if factory not in ("update_kernel", "loss_kernel"):
            continue
        name = args[1] if factory == "update_kernel" else args[0]
        found = Counter(re.findall(ARITHMETIC, ptx_of(cuda, launch, (9, 0)), re.MULTILINE))
        seen.add(name)
        print(factory, name, dict(found))
        if name in ("sgd", "adagrad", "adam"):  # comparisons of alpha with 0 and of max_norm with infinity
            assert all(instruction.startswith("setp") for instruction in found), (launch, found)
        elif name == "rowwise_adagrad":  # once for a row, not for its columns
            assert found["div.rn.f64"] == 2, (launch, found)
            assert found["sqrt.rn.f64"] == 1, (launch, found)
            assert not any(re.match("mul|fma|neg|abs|selp|max|min|rcp", instruction) for instruction in found), found
        elif name != "cross_entropy":  # weight / n_bags, loss * weight; the sum, once for each output
            assert set(found) <= {"div.rn.f64", "mul.f64", "add.f64"}, (launch, found)
            assert found["mul.f64"] == found["div.rn.f64"] == 1, (launch, found)
    assert seen >= {*SOLVERS, *CLASSIFICATION, *REGRESSION}


def test_rules_from_elsewhere_are_not_kept_on_disk(tools):
    """A key knows functions of the package by their names, as its files are part of the key; others may change."""
    head, update = (import_module(f"skbag._cuda.{name}") for name in ("head", "update"))
    kind = (0, 1, 0, 0, 0, 0)
    loss, solver = test_cuda_training.LOG_COSH, test_cuda_training.MOMENTUM
    for kernel, kept in (
        (head.loss_kernel(loss, 1, 4), False), (head.loss_kernel(CROSS_ENTROPY, 1, 4), True),
        (update.update_kernel(kind, solver, 4, 1, 1, 1), False), (update.finish_kernel(solver, 4), False),
        (update.update_kernel(kind, SOLVERS["adam"], 4, 1, 1, 1), True),
    ):  # fmt: skip
        assert (kernel._cache.entry("signature", SimpleNamespace(magic_tuple=tuple)) is not None) == kept


def test_kernels_of_two_rules_are_two_files(tools):
    head, update = (import_module(f"skbag._cuda.{name}") for name in ("head", "update"))
    kernels = [head.loss_kernel(loss, 0, 4) for loss in REGRESSION.values()]
    kernels += [update.finish_kernel(solver, 4) for solver in SOLVERS.values()]
    paths = {kernel._cache.entry("signature", SimpleNamespace(magic_tuple=tuple))[0] for kernel in kernels}
    assert len(paths) == len(kernels)


def test_rules_from_elsewhere_compile(tools, compiling_for):
    cuda, _ = tools
    compiling_for((9, 0))
    types, loss = cuda.types, test_cuda_training.LOG_COSH
    numbers, ints = types.float32[::1], types.int64[::1]
    targets = types.NamedTuple((ints, ints, numbers, types.float64[::1]), structs.Targets)
    kernel = import_module("skbag._cuda.head").loss_kernel(loss, 1, 4)
    signature = types.void(numbers, types.int64, types.int64, ints, targets, types.float64[::1])
    assert "ex2.approx.ftz.f32" in cuda.compile_ptx(kernel.py_func, signature, cc=(9, 0))[0]
