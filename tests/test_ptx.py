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

import numpy as np
import pytest
import test_cuda_training
from helpers import random_csr, run_python

from skbag import EmbeddingBagClassifier, EmbeddingBagVectorizer
from skbag._cuda import structs
from skbag._rules.activations import ACTIVATIONS
from skbag._rules.losses import CLASSIFICATION, CROSS_ENTROPY, REGRESSION
from skbag._rules.pooling import MAX
from skbag._rules.solvers import SOLVERS

NEEDED = "numba_cuda", "cuda.bindings.nvjitlink", "cuda.bindings.nvvm"
CAPABILITIES = (7, 5), (9, 0), (10, 0)
REGISTERS = 1 << 16  # of a multiprocessor
RULES = {**CLASSIFICATION, **REGRESSION, **SOLVERS, **ACTIVATIONS, CROSS_ENTROPY.name: CROSS_ENTROPY}
BITS = {"float32": 32, "float64": 64, "uint16": 16, "int16": 16, "int8": 8, "uint8": 8}  # as tables are stored
SMALL = "uint16", "int16", "int8", "uint8"
# loads of so many bits
WIDE = {8: "[bsu]8", 16: "[bsu]16|v2.[bsu]8", 32: "[bfu]32", 64: "v2.[bfu]32|[bfu]64", 128: "v4.[bfu]32|v2.[bfu]64"}

KERNELS = "blocks", "checking", "norms", "pooling", "forward", "head", "hidden", "sorting", "step", "undo"  # modules
ARITHMETIC = r"^\s*(?:@\S+ )?((?:add|sub|mul|div|fma|sqrt|rcp|neg|abs|max|min|setp|selp)\.(?:[\w.]*\.)?f64)\s"

RECORD = """
import json, sys
from importlib import import_module
import numpy as np
from helpers import csr, random_csr, random_table
from numba import cuda
from skbag import EmbeddingBagVectorizer, QuantizedTable, embedding, embedding_bag
from skbag._backends import get_backend
from skbag._cuda import backend as _backend
from skbag._cuda import device as _device
from skbag._cuda import training
from skbag._cuda.calls import Packed, Several
from skbag._data.bags import bags_from_csr
from skbag._data.blocks import Blocks
from skbag._data.model import Rates
from skbag._rules.losses import CROSS_ENTROPY
from skbag._rules.solvers import SOLVERS
from test_cuda_training import bags_of, case_of, model_of, trainer_of
from test_devices import CsrOnGpu

widths = json.loads(sys.argv[1])
cuda.device_array = lambda shape, dtype, stream=0: cuda.to_device(np.zeros(shape, dtype))
_backend._FEW = 0  # members: all bags of the host are checked there
factories, launches = {}, {}
for module in (import_module(f"skbag._cuda.{name}") for name in json.loads(sys.argv[2])):
    for name in [name for name in vars(module) if name.endswith("_kernel")]:
        def tagged(*args, factory=getattr(module, name), where=(module.__name__, name)):
            made = factory(*args)
            factories[id(made)] = where, [getattr(arg, "name", arg) for arg in args]
            return made
        setattr(module, name, tagged)

def kind(argument):
    if isinstance(argument, Packed):
        return {"packed": kind(argument.fields)}
    if isinstance(argument, Several):
        return {"several": kind(argument.items[0])}
    if isinstance(argument, tuple):
        return {"name": type(argument).__name__, "fields": [kind(field) for field in argument]}
    if hasattr(argument, "ndim") and argument.ndim:
        return str(argument.dtype), argument.ndim
    return {bool: "boolean", np.bool_: "boolean", float: "float64", np.float64: "float64"}.get(type(argument), "int64")

def record(self, kernel, n_blocks, *arguments, stream=0, threads=128):
    (module, name), args = factories[id(kernel)]
    launches[json.dumps([module, name, args, [kind(argument) for argument in arguments]])] = None

def rows_that_change(self, sorting, n_bags):  # as if there were some
    training.unique(self.device, self._members.ids, self._members.n_members, self.bags.num_embeddings)
    return sorting.rows, 9

training.Trainer._rows_that_change = rows_that_change
_device.Device.launch_blocks = record
_device.Device.launch = lambda self, kernel, n, *arguments, stream=0: record(self, kernel, 1, *arguments)
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
        embedding_bag(np.zeros(512**2, int), table, [0], mode=mode, device="cuda")
        solvers = [(True, solver) for solver in SOLVERS.values() if mode == modes[0] or solver.linear]
        for cooperates, solver in [*solvers, (False, SOLVERS["rowwise_adagrad"])]:
            _device.Device.cooperates = cooperates
            case = case_of(CROSS_ENTROPY, solver, mode, dtype, dim=dim, batch_size=16)
            case.X, case.dense = X, np.tile(case.dense, (2, 1))[:13]
            case.sample_weight = np.ones(13)
            trainer = trainer_of(case, model_of(case), undo=True)
            trainer.epoch(np.arange(13), rates)
            trainer.outputs(order)
            bags = bags_from_csr(case.X, dtype=case.dtype)
            get_backend("cuda").predict(bags, model_of(case), Blocks(mode), 1, choose=True)
            trainer.take_back()
    _device.Device.cooperates = True
    hidden = {"sizes": (100, 20), "activation": "tanh"}
    case = case_of(CROSS_ENTROPY, SOLVERS["rowwise_adagrad"], modes[0], dtype, dim=dim, **hidden)
    case.X, case.dense, case.sample_weight = X, np.tile(case.dense, (2, 1))[:13], np.ones(13)
    trainer = trainer_of(case, model_of(case))
    trainer.epoch(np.arange(13), Rates(0.1, hidden=((1.0, 1.0),) * 2))
    trainer.outputs(order)
    get_backend("cuda").predict(bags_from_csr(case.X, dtype=case.dtype), model_of(case), Blocks(modes[0]), 1)
    blocks = (("mean", "sqrtn", "max"), False, None), ("mean", True, None), ("mean", True, [225, 225])
    for mode, fm, fields in blocks if dtype == "float32" and dim > 100 else ():
        solver = SOLVERS["rowwise_adagrad" if fields else "adagrad"]
        case = case_of(CROSS_ENTROPY, solver, mode, dtype, dim=dim, interaction=fm, fields=fields)
        case.X, case.dense, case.sample_weight = X, np.tile(case.dense, (2, 1))[:13], np.ones(13)
        trainer = trainer_of(case, model_of(case))
        trainer.epoch(np.arange(13), rates)
        trainer.outputs(order)
        blocks_of_a_row = Blocks(mode, len(fields or [0]), fm)
        get_backend("cuda").predict(bags_of(case), model_of(case), blocks_of_a_row, 1)
    embedding(X.indices, table, device="cuda")
    for storage in ("float16", "bfloat16", "int8") if dtype == "float32" else ():
        small = QuantizedTable.of(table, storage)
        for mode in modes:
            EmbeddingBagVectorizer.from_pretrained(small, mode=mode, device="cuda", padding_idx=3).transform(X)
        embedding_bag(X.indices, small, [0], device="cuda", max_norm=1.0)
        if storage == "float16":
            _device.Device.cooperates = True
            case = case_of(CROSS_ENTROPY, SOLVERS["rowwise_adagrad"], modes[0], dtype, dim=dim, batch_size=16)
            case.X, case.dense, case.sample_weight = X, np.tile(case.dense, (2, 1))[:13], np.ones(13)
            case.arrays[0] = QuantizedTable.of(case.arrays[0], storage).bits
            trainer = trainer_of(case, model_of(case), undo=True)
            trainer.epoch(np.arange(13), rates)
            trainer.take_back()
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
    return list(
        {str(launch): launch for launch in map(without_the_model, map(json.loads, printed.splitlines()))}.values()
    )


def without_the_model(launch):
    """Return a launch; of what brings members into order without the arrays of the model, which it does not read."""
    module, factory, args, kinds = launch
    if factory not in ("expand_kernel", "sort_kernel", "arrange_kernel") or kinds[0]["packed"]["name"] != "Epoch":
        return launch
    none, of_model = {"name": "tuple", "fields": []}, ("batch", "windows", "targets", "table", "layers")
    named = zip(structs.Epoch._fields, kinds[0]["packed"]["fields"], strict=True)
    fields = [none if name in of_model else kind for name, kind in named]
    return [module, factory, args, [{"packed": {"name": "Epoch", "fields": fields}}, *kinds[1:]]]


def tuples(value):
    return tuple(tuples(item) for item in value) if isinstance(value, list) else value


def kernel_of(launch):
    """Return the kernel of a launch: rules are given by their names."""
    module, factory, args, _ = launch
    args = [RULES.get(arg, arg) if isinstance(arg, str) else arg for arg in args]
    return getattr(import_module(module), factory)(*tuples(args))


def type_of(types, kind):
    """Return the Numba type of an argument."""
    calls = import_module("skbag._cuda.calls")
    if "packed" in kind:
        return calls.PackedType(type_of(types, kind["packed"]))
    if "several" in kind:
        return calls.SeveralType(type_of(types, kind["several"]))
    if isinstance(kind, dict):
        fields = [type_of(types, field) for field in kind["fields"]]
        if kind["name"] == "tuple":
            return types.Tuple(fields)
        return types.NamedTuple(fields, getattr(structs, kind["name"]))
    return getattr(types, kind) if isinstance(kind, str) else types.Array(getattr(types, kind[0]), kind[1], "C")


def ptx_of(cuda, launch, capability):
    signature = cuda.types.void(*(type_of(cuda.types, kind) for kind in launch[3]))
    return cuda.compile_ptx(kernel_of(launch).py_func, signature, cc=capability)[0]


def compiled(tools, launch, capability):
    """Return the PTX of a launch, and what the assembler says about its machine code."""
    from numba.cuda.cudadrv.libs import get_cudalib

    cuda, nvjitlink = tools
    ptx = ptx_of(cuda, launch, capability)
    options = [f"-arch=sm_{capability[0]}{capability[1]}", "-verbose"]
    threads, blocks = kernel_of(launch).targetoptions.get("launch_bounds") or (1, 1)
    if capability < (9, 0):
        blocks = min(3, blocks)
    options.append(f"-maxrregcount={min(255, REGISTERS // (threads * blocks))}")
    handle = nvjitlink.create(len(options), options)
    if "cudaCG" in ptx:  # barriers of a grid come from a library
        nvjitlink.add_file(handle, nvjitlink.InputType.LIBRARY, get_cudalib("cudadevrt", static=True))
    nvjitlink.add_data(handle, nvjitlink.InputType.PTX, ptx.encode(), len(ptx.encode()), "kernel")
    nvjitlink.complete(handle)
    log = bytearray(nvjitlink.get_info_log_size(handle))
    nvjitlink.get_info_log(handle, log)
    nvjitlink.destroy(handle)
    return ptx, log.decode()


def first_matrix(kinds):
    """Return the dtype of the first array of two dimensions that is a table, or may be."""
    for kind in kinds:
        if isinstance(kind, dict):
            found = first_matrix(kind["fields"] if "fields" in kind else list(kind.values()))
            if found:
                return found
        elif isinstance(kind, list) and kind[1] == 2 and kind[0] in BITS:
            return kind[0]
    return None


def has_small(kinds):
    """Whether a table, or what may be one, is stored in fewer bytes than it is calculated with in."""
    for kind in kinds:
        if isinstance(kind, dict):
            if has_small(kind["fields"] if "fields" in kind else list(kind.values())):
                return True
        elif isinstance(kind, list) and kind[1] == 2 and kind[0] in SMALL:
            return True
    return False


def assert_good(tools, launch, capability):
    _, factory, args, kinds = launch
    ptx, log = compiled(tools, launch, capability)
    assert ".local" not in ptx, launch
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    assert spills, log
    # the phases of training have one number of registers, and several blocks are to run at once
    most = (96 if capability >= (9, 0) else 160) if factory == "train_kernel" else 0
    most = 700 if factory == "sort_kernel" else most  # of all phases, mostly numbers that a phase keeps for its end
    assert all(int(number) <= most for spill in spills for number in spill), (launch, spills)
    if factory in ("sort_kernel", "train_kernel"):  # what other blocks have written may not come from that cache
        assert not re.search(r"ld\.global\.nc|ld\.global\.\w*nc", ptx), launch
    pools = factory in ("pool_kernel", "windows_kernel") and args[0][0] != import_module("skbag._cuda.pooling").SIZE
    if pools or factory in ("lookup_kernel", "train_kernel"):
        width = args[-1][1] if factory == "train_kernel" else args[-2]
        if has_small(kinds) and BITS[first_matrix(kinds)] * width >= 64:  # they come in words
            assert not re.search(r"(ld|st)\.global(\.\w+)*\.v\d\.[bsu](8|16)\s", ptx), launch
            assert re.search(r"ld\.global\.v[24]\.u32\s", ptx), launch
        wide = WIDE[BITS[first_matrix(kinds)] * width]
        wide = rf"ld\.global(\.nc)?(\.\w+)*\.({wide})\s"
        assert re.search(wide, ptx), launch
        if factory == "train_kernel" and args[0] == import_module("skbag._cuda.step").UPDATE:
            vectors = import_module("skbag._cuda.shapes").halved(args[-2])[2]
            at_once = [len(re.findall(wide, block)) for block in blocks_of(ptx)]
            assert sum(n >= 4 * vectors for n in at_once) >= 2, launch  # four members of a row, or windows
        if pools:  # members, and what windows are reduced to
            assert n_loops(ptx, wide) >= (2 if factory == "pool_kernel" and not has_small(kinds) else 1), launch


def blocks_of(ptx):
    return re.split(r"^(?=\$L\w+:)", ptx, flags=re.MULTILINE)


def n_loops(ptx, load):
    """Return how many loops have four or more loads, and no branch but the one that goes round."""

    def is_one(block):
        label = re.escape(block.partition(":")[0])
        return len(re.findall(load, block)) >= 4 and re.search(rf"bra\S*\s+{label};", block) is not None

    return sum(map(is_one, blocks_of(ptx)))


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


def is_chosen(args, every=False):
    """Whether a kernel of training is one of the few that are compiled as a whole; tests below compile their parts."""
    which, _, layout, _, _, _, solver, activation, *_ = args
    if layout[1:] != [0, 0] or len(layout[0]) > 1:
        return every
    (mode,) = layout[0]
    whole = which == import_module("skbag._cuda.step").ALL
    chosen = "sgd" if mode == MAX else "rowwise_adagrad"
    if activation is not None:
        return every
    return (whole and solver == chosen and (every or mode != MAX)) or (every and not whole and mode != MAX)


def is_worth_its_time(launch, capability):
    """Whether a kernel is compiled for a capability: all for one of them, of small tables that train the step alone.

    What depends on the capability is how many registers there are, and how rows of a table are read: others are
    compiled for the one that leaves the fewest registers.
    """
    _, factory, args, kinds = launch
    every, small = capability == CAPABILITIES[1], has_small(kinds)
    if small and "packed" in str(kinds):
        return every and factory == "train_kernel" and is_chosen(args)
    if factory == "train_kernel":
        return is_chosen(args, every=every)
    return every or (factory in ("pool_kernel", "windows_kernel", "lookup_kernel") and not small)


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_kernel(tools, compiling_for, main_launches, capability):
    """Those of training take seconds each: all phases in one for every capability, and one by one for one of them."""
    compiling_for(capability)
    for launch in main_launches:
        if is_worth_its_time(launch, capability):
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
        _, factory, args, _ = launch
        trains = factory == "train_kernel" and is_chosen(args, every=args[2] == [[MAX], 0, 0] and args[7] is None)
        if trains or factory in ("pool_kernel", "lookup_kernel"):
            assert_good(tools, launch, (9, 0))


def test_kernels_of_both_devices_in_one_process(tools, compiling_for, main_launches):
    """numba-cuda takes what other targets add to Numba's own lists, and refuses a rule that a CPU kernel has there."""
    X, y = random_csr(dtype="float32"), np.arange(12) % 2
    EmbeddingBagClassifier(2, max_iter=1).fit(X, y).predict(X)
    compiling_for((9, 0))
    step = import_module("skbag._cuda.step")
    for factory, args in (("pool_kernel", []), ("train_kernel", [step.FORWARD])):
        launch = next(x for x in main_launches if x[1] == factory and x[2][: len(args)] == args)
        assert "ld.global" in ptx_of(tools[0], launch, (9, 0))
    assert EmbeddingBagVectorizer(3, dtype="float64").fit_transform(X).shape == (12, 3)


class Made:
    """What Numba compiles a kernel to, without a GPU: it passes an array as ``passed``."""

    debug, cooperative = False, False

    def __init__(self, cuda, passed):
        self.argument_types, self.passed, self.launched = cuda.types.void(cuda.types.float32[:, ::1]).args, passed, []
        self._codelibrary = SimpleNamespace(get_cufunc=lambda: SimpleNamespace(kernel="kernel"))

    def _prepare_args(self, kind, value, stream, retr, flat):
        flat += self.passed

    def launch(self, *args):
        self.launched.append(args)


@pytest.mark.parametrize("passed", [[0, 0, 6, 4, 512, 3, 2, 8, 4], [0, 6, 4, 512, 3, 2, 8, 4]])
def test_a_kernel_is_launched_as_numba_would(tools, monkeypatch, passed):
    """Where Numba passes arrays in another way, it launches the kernel itself."""
    launching = import_module("skbag._cuda.launching")
    array = SimpleNamespace(
        size=6, dtype=np.dtype(np.float32), shape=(3, 2), strides=(8, 4),
        device_ctypes_pointer=SimpleNamespace(value=512),
    )  # fmt: skip
    launches, made = [], Made(tools[0], passed)
    monkeypatch.setattr(launching.dispatcher, "launch", lambda *args: launches.append(args))
    monkeypatch.setattr(launching.dispatcher, "LaunchConfig", lambda **options: options)
    monkeypatch.setattr(launching, "_core_stream", lambda stream: "stream")
    monkeypatch.setattr(launching.driver, "_to_core_stream", lambda stream: "stream")
    compiled = launching.Compiled(made, (array,))
    compiled.launch(5, 64, 0, (array,))
    if len(passed) == 9:
        ((stream, config, kernel, *flat),) = launches
        assert (stream, kernel, flat) == ("stream", "kernel", passed)
        assert (config["grid"], config["block"]) == ((5, 1, 1), (64, 1, 1))
        assert not made.launched
    else:
        assert not launches
        assert made.launched == [((array,), (5, 1, 1), (64, 1, 1), "stream")]


def kinds_of_a_row(cuda):
    """Return the types of what `rows.row_of`'s function is given, in float32."""
    types = cuda.types
    matrix, numbers, ints = types.float32[:, ::1], types.float32[::1], types.int32[::1]

    def named(cls, *fields):
        return types.NamedTuple(fields, cls)

    source = named(structs.Source, matrix, types.int32[:, ::1], ints, ints, numbers, numbers)
    windows = named(structs.Windows, matrix, types.int32[:, ::1], numbers, types.int64)
    step = named(structs.Step, *[types.float64] * 3, types.boolean, *[types.float64] * 2, types.boolean)
    parameters = named(structs.Parameters, matrix, types.float64[::1], matrix, matrix)
    return source, windows, step, parameters, ints, *[types.int64] * 3


def kernel_of_a_row(cuda, solver):
    change = import_module("skbag._cuda.rows").row_of(((0, 1, 1, 0, 0, 0),), solver, 128, 16, 4, 2)

    def kernel(source, windows, step, parameters, stop, row, begin, end):
        change((source,), (windows,), step, parameters, stop, row >= 0, row, begin, end, row % 16)

    return kernel


def ptx_of_a_loss(cuda, loss):
    types, derive = cuda.types, import_module("skbag._cuda.head").loss_of(loss, 1)
    numbers, ints, floats = types.float32[::1], types.int64[::1], types.float64[::1]
    targets = types.NamedTuple((ints, ints, numbers, floats), structs.Targets)

    def kernel(outputs, n_bags, n_outputs, order, targets, losses, p):
        derive(outputs, n_bags, n_outputs, order, targets, losses, p)

    signature = types.void(numbers, types.int64, types.int64, ints, targets, floats, types.int64)
    return cuda.compile_ptx(kernel, signature, cc=(9, 0))[0]


def of_float64(ptx):
    return Counter(re.findall(ARITHMETIC, ptx, re.MULTILINE))


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=lambda solver: solver.name)
def test_rows_of_float32_change_in_float32(tools, compiling_for, monkeypatch, solver):
    """What is float64: norms, and the state of a row."""
    cuda, _ = tools
    compiling_for((9, 0))
    rows = import_module("skbag._cuda.rows")
    no_norm = cuda.jit(device=True, forceinline=True)(lambda scratch, values, row, slot, lanes, width, step, like: None)
    monkeypatch.setattr(rows, "rescale", no_norm)
    monkeypatch.setattr(rows, "row_of", rows.row_of.__wrapped__)
    signature = cuda.types.void(*kinds_of_a_row(cuda))
    found = of_float64(cuda.compile_ptx(kernel_of_a_row(cuda, solver), signature, cc=(9, 0))[0])
    if solver.name != "rowwise_adagrad":  # comparisons of alpha with 0 and of max_norm with infinity
        assert all(instruction.startswith("setp") for instruction in found), found
        return
    assert found["div.rn.f64"] == 2, found  # once for a row, not for its columns
    assert found["sqrt.rn.f64"] == 1, found
    assert not any(re.match("mul|fma|neg|abs|selp|max|min|rcp", instruction) for instruction in found), found


@pytest.mark.parametrize(
    "loss", [CROSS_ENTROPY, *CLASSIFICATION.values(), *REGRESSION.values()], ids=lambda loss: loss.name
)
def test_losses_of_float32_are_calculated_in_float32(tools, compiling_for, loss):
    """What is float64: the sum of a loss, and the head's sum of exponentials."""
    cuda, _ = tools
    compiling_for((9, 0))
    found = of_float64(ptx_of_a_loss(cuda, loss))
    if loss is not CROSS_ENTROPY:  # weight / n_bags, loss * weight; the sum, once for each output
        assert set(found) <= {"div.rn.f64", "mul.f64", "add.f64"}, found
        assert found["mul.f64"] == found["div.rn.f64"] == 1, found


def train_kernel(loss, solver):
    step = import_module("skbag._cuda.step")
    return step.train_kernel(step.ALL, 1, ((0,), 0, 0), 1, loss, 1, solver, None, (4, 1), (1, 1, 1), (1, 1, 1))


def entry_of(kernel):
    return kernel._cache.entry("signature", SimpleNamespace(magic_tuple=tuple))


def test_rules_from_elsewhere_are_not_kept_on_disk(tools):
    """A key knows functions of the package by their names, as its files are part of the key; others may change."""
    loss, solver = test_cuda_training.LOG_COSH, test_cuda_training.MOMENTUM
    assert entry_of(train_kernel(loss, SOLVERS["sgd"])) is None
    assert entry_of(train_kernel(CROSS_ENTROPY, solver)) is None
    assert entry_of(train_kernel(CROSS_ENTROPY, SOLVERS["sgd"])) is not None


def test_kernels_of_two_rules_are_two_files(tools):
    kernels = [train_kernel(loss, SOLVERS["sgd"]) for loss in REGRESSION.values()]
    kernels += [train_kernel(CROSS_ENTROPY, solver) for solver in SOLVERS.values()]
    assert len({entry_of(kernel)[0] for kernel in kernels}) == len(kernels)


def test_the_key_of_a_kernel_is_the_same_in_every_process(tools):
    code = """
from types import SimpleNamespace
from skbag._cuda.step import train_kernel
from skbag._rules.losses import CROSS_ENTROPY
from skbag._rules.solvers import SOLVERS
kernel = train_kernel(4, 1, ((0,), 0, 0), 1, CROSS_ENTROPY, 1, SOLVERS["sgd"], None, (4, 1), (1, 1, 1), (1, 1, 1))
print(kernel._cache.entry("signature", SimpleNamespace(magic_tuple=tuple))[1])
"""
    assert run_python(code) == run_python(code)


def test_rules_from_elsewhere_compile(tools, compiling_for):
    cuda, _ = tools
    compiling_for((9, 0))
    assert "ex2.approx.ftz.f32" in ptx_of_a_loss(cuda, test_cuda_training.LOG_COSH)
    signature = cuda.types.void(*kinds_of_a_row(cuda))
    cuda.compile_ptx(kernel_of_a_row(cuda, test_cuda_training.MOMENTUM), signature, cc=(9, 0))
