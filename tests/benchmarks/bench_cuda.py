"""Benchmarks on an NVIDIA GPU: skbag against torch, FBGEMM and CuPy, and against the bandwidth of a copy in the same
run.

    python tests/benchmarks/bench_cuda.py                  # all parts, some minutes; one GPU
    python tests/benchmarks/bench_cuda.py forward steps    # some of them
    python tests/benchmarks/bench_cuda.py --smoke          # every line once, at toy sizes; also in Numba's simulator

Kernel times are taken by events on the GPU, the best of --rounds interleaved rounds after one call that is not counted:
it compiles. Transfers and first calls have parts of their own. Ratios above 1 say that skbag is faster. torch, FBGEMM
and CuPy are optional. Without a GPU nothing is measured, and a line says so.
"""

import argparse
import math
import platform
import subprocess
import sys
import time

import numpy as np
from gpu_problems import (
    SIMULATED,
    Problem,
    cuda,
    fbgemm_epoch,
    fbgemm_on_gpu,
    optional,
    our_epoch,
    torch_on_gpu,
    torch_sparse,
)
from scipy.sparse import csr_array
from timing import geometric_mean, table

from skbag import EmbeddingBagClassifier, EmbeddingBagVectorizer


def seconds_on_gpu(contenders, rounds, warm_up=1):
    """Best time of each contender in seconds, by events; the contenders take turns."""
    best = dict.fromkeys(contenders, math.inf)
    for run in contenders.values():
        for _ in range(warm_up):
            run()
    cuda.synchronize()
    for _ in range(rounds):
        for name, run in contenders.items():
            begin, end = cuda.event(), cuda.event()
            begin.record()
            result = run()
            end.record()
            end.synchronize()
            best[name] = min(best[name], 1.0 if SIMULATED else begin.elapsed_time(end) / 1e3)
            del result
    return best


def best_of(run, rounds):
    """Best time of a whole call in seconds, on the host."""
    best = math.inf
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


class Report:
    """A table that prints each row when it has it: what a run that is cut short has measured is not lost."""

    def __init__(self, title, header):
        self.ratios = {}
        print(f"\n## {title}\n\n{table(header, [])}", flush=True)

    def add(self, *row):
        print(table([""], [row]).splitlines()[-1], flush=True)

    def ratio(self, name, value):
        self.ratios.setdefault(name, []).append(value)
        return value

    def against(self, name, what, other, ours):
        """Return the cells of another side: its time and the ratio, or nothing if it was not there."""
        return ["", ""] if other is None else [other * 1e3, self.ratio(f"{name} / skbag, {what}", other / ours)]

    def close(self):
        print(flush=True)
        for name, values in self.ratios.items():
            print(f"{name}: geometric mean {geometric_mean(values):.2f}, lowest {min(values):.2f}", flush=True)


def copy_bandwidth(setting):
    """Bytes read plus bytes written per second by a copy on the GPU, in 1e9."""
    source = cuda.device_array(setting.copy_bytes // 4, np.float32)
    target = cuda.device_array_like(source)
    seconds = seconds_on_gpu({"copy": lambda: target.copy_to_device(source)}, setting.rounds)["copy"]
    return 2 * source.nbytes / seconds / 1e9


def forward(setting):
    """The weighted sum of the largest table, in bytes of the table read per second, against the copy bandwidth."""
    bandwidth = copy_bandwidth(setting)
    header = ["rows", "dim", "bags", "members", "ms", "table GB/s", "copy GB/s", "% of copy"]
    report = Report("Weighted sum, float32, uniform ids", header)
    for dim in (64, 128, 256):
        n_rows, n_bags, members = setting.forward
        problem = Problem(n_rows, dim, n_bags, members)
        seconds = seconds_on_gpu({"skbag": problem.ours("sum", True)}, setting.rounds)["skbag"]
        read = n_bags * members * dim * 4 / seconds / 1e9
        report.add(n_rows, dim, n_bags, members, seconds * 1e3, read, bandwidth, 100 * read / bandwidth)
        del problem


def against_peers(setting):
    """sum, mean, max and the weighted sum against others: dims 16 to 300, bags of 5, 50 and 500."""
    torch, fbgemm, cupy = torch_on_gpu(), fbgemm_on_gpu(), optional("cupy")
    n_rows, n_members = setting.grid
    names = ("torch", "FBGEMM", "cuSPARSE")
    header = ["mode", "dim", "members", "skbag ms", *(f"{name}{what}" for name in names for what in (" ms", "/skbag"))]
    report = Report(f"Pooling, table of {n_rows} rows, {n_members} members", header)
    for dim in (16, 64, 128, 300):
        for members in (5, 50, 500):
            problem = Problem(n_rows, dim, max(2, n_members // members), members)
            for mode, weighted in (("sum", False), ("mean", False), ("max", False), ("sum", True)):
                runs = {"skbag": problem.ours(mode, weighted)}
                if torch:
                    runs["torch"] = problem.torch(torch, mode, weighted)
                if fbgemm and mode != "max":
                    runs["FBGEMM"] = problem.fbgemm(fbgemm, mode, weighted)
                if cupy and weighted:
                    runs["cuSPARSE"] = problem.cupy(cupy)
                for name in list(runs)[1:]:
                    problem.same(runs["skbag"], runs[name])
                best = seconds_on_gpu(runs, setting.rounds)
                what = f"{mode}, weights" if weighted else mode
                row = [what, dim, members, best["skbag"] * 1e3]
                for name in names:
                    row += report.against(name, what, best.get(name), best["skbag"])
                report.add(*row)
                del runs
            del problem
    report.close()


def kinds_of_bags(setting):
    """The same members in many short bags, in one long one, and with one row in every bag."""
    n_rows, n_members = setting.grid
    report = Report("Kinds of bags, weighted mean, dim 128", ["bags", "members", "skewed", "ms", "table GB/s"])
    for members in (1, 5, 50, 500, n_members):
        for skewed in (False, True):
            problem = Problem(n_rows, 128, max(1, n_members // members), members)
            if skewed:  # one row in every fifth member
                ids = problem.ids.copy_to_host()
                ids[::5] = 7
                problem.ids.copy_to_device(ids)
            seconds = seconds_on_gpu({"skbag": problem.ours("mean", True)}, setting.rounds)["skbag"]
            report.add(problem.shape[0], members, skewed, seconds * 1e3, problem.ids.size * 512 / seconds / 1e9)
            del problem


def _drawn_bags(n_bags, members, n_rows):
    """Return bags of different ids, in order, and classes."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, n_rows - members + 1, (n_bags, members), dtype=np.int32)
    ids.sort(axis=1)
    return ids + np.arange(members, dtype=np.int32), rng.integers(0, 3, n_bags)


def steps(setting):
    """A training step, forward to update, against torch's sparse SGD and FBGEMM: the mean of some steps, by events."""
    torch, fbgemm = torch_on_gpu(), fbgemm_on_gpu()
    n_bags, members = setting.batch
    solvers = ("sgd", "rowwise_adagrad")
    header = ["rows", "dim", "sgd ms", "adagrad ms", "torch sgd ms", "torch/skbag"]
    header += [f"FBGEMM {solver}{what}" for solver in ("sgd", "adagrad") for what in (" ms", "/skbag")]
    report = Report(f"One step of {n_bags} bags x {members}, softmax of 3 classes, mean", header)
    for n_rows in setting.training_rows:
        ids, y = _drawn_bags(setting.steps * n_bags, members, n_rows)
        for dim in (64, 128):

            def seconds(make, *rest, dim=dim, ids=ids, y=y, n_rows=n_rows):
                epoch = make(*rest[:-1], ids, y, n_rows, dim, *rest[-1])
                return seconds_on_gpu({"run": epoch}, setting.rounds)["run"] / setting.steps

            ours = {solver: seconds(our_epoch, (solver, n_bags)) for solver in solvers}
            row = [n_rows, dim, *(ours[solver] * 1e3 for solver in solvers)]
            other = seconds(torch_sparse, torch, (n_bags,)) if torch else None
            row += report.against("torch", "sgd", other, ours["sgd"])
            for solver in solvers:
                other = seconds(fbgemm_epoch, torch, fbgemm, (solver, n_bags)) if fbgemm else None
                row += report.against("FBGEMM", solver, other, ours[solver])
            report.add(*row)
            if torch:
                torch.cuda.empty_cache()
    report.close()


SORTING = [f": {name}" for name in ("count", "sum", "scan", "scatter")]
SORTING += [f": {name} of heads" for name in ("count", "sum", "scan", "list")]


def phases(setting):
    """Where the time of a step goes: its phases launched one by one, by events."""
    from skbag._cuda.device import Device

    (n_bags, members), n_rows, events = setting.batch, setting.training_rows[0], []
    problem = (*_drawn_bags(setting.steps * n_bags, members, n_rows), n_rows, 64, "rowwise_adagrad", n_bags)
    launch, cooperates = Device.launch_blocks, Device.cooperates

    def timed(self, kernel, *arguments, **options):
        events.append(
            ((kernel, SORTING[arguments[2]] if kernel.__name__ == "sort" else ""), cuda.event(), cuda.event())
        )
        events[-1][1].record()
        launch(self, kernel, *arguments, **options)
        events[-1][2].record()

    Device.launch_blocks, Device.cooperates = timed, False
    try:
        epoch = our_epoch(*problem)
        epoch()
        events.clear()
        epoch()
    finally:
        Device.launch_blocks, Device.cooperates = launch, cooperates
    cuda.synchronize()
    report = Report(f"Phases of a step, as above, {n_rows} rows, dim 64, rowwise_adagrad", ["phase", "launches", "us"])
    trained = list(dict.fromkeys(kernel for (kernel, _), *_ in events if kernel.__name__ == "train"))
    names = dict(zip(trained, ("windows of bags", "forward", "windows of rows", "update"), strict=True))
    found = {}
    for (kernel, which), begin, end in events:
        took = 1.0 if SIMULATED else begin.elapsed_time(end) * 1e3
        found.setdefault(names.get(kernel, kernel.__name__ + which), []).append(took)
    for name, took in found.items():
        report.add(name, len(took) / setting.steps, sum(took) / setting.steps)


def variants(setting):
    """A step made otherwise: registers for other numbers of blocks, groups as for reading, fewer rows under way."""
    from skbag._cuda import forward, parts, pooling, sorter, step, update

    (n_bags, members), n_rows = setting.batch, setting.training_rows[0]
    problem = (*_drawn_bags(setting.steps * n_bags, members, n_rows), n_rows, 64, "rowwise_adagrad", n_bags)
    report = Report(f"Variants of a step, as above, {n_rows} rows, dim 64", ["variant", "adagrad ms", "to the first"])
    four_rows = {(module, "way_of"): lambda kind: pooling.PLAIN for module in (forward, pooling, update)}
    changed = {"as it is": {}, "groups as for reading": {(update, "halved"): lambda shape: shape}}
    changed["four rows under way"] = four_rows
    for n in (1, 3, 5) if not SIMULATED else (3,):
        changed[f"registers for {n} blocks"] = {(parts, "blocks_at_once"): lambda *rest, n=n: n}
    for n in (4, 8) if not SIMULATED else ():
        changed[f"sort with registers for {n} blocks"] = {(sorter, "_BLOCKS_AT_ONCE"): n}
    places = [place for places in changed.values() for place in places]
    own, first = {(module, name): getattr(module, name) for module, name in places}, None

    def change(attributes):
        for (module, name), value in attributes.items():
            setattr(module, name, value)
        for factory in (value for module in (forward, pooling, step, update) for value in vars(module).values()):
            getattr(factory, "cache_clear", lambda: None)()

    for name, attributes in changed.items():
        change(own | attributes)
        try:
            seconds = seconds_on_gpu({"run": our_epoch(*problem)}, setting.rounds)["run"] / setting.steps
        finally:
            change(own)
        first = first or seconds
        report.add(name, seconds * 1e3, seconds / first)


def host(setting):
    """What a call takes of the host: launches that pool one bag, none waited for, and partial_fit of a mini-batch."""
    report = Report("Calls, microseconds of the host", ["call", "us"])
    problem = Problem(100, 64, 2, 5)
    calls = {mode: problem.ours(mode) for mode in ("sum", "mean", "max")} | {"sum, weights": problem.ours("sum", True)}
    for name, call in calls.items():
        call()
        cuda.synchronize()
        seconds = best_of(lambda call=call: [call() for _ in range(setting.calls)], setting.rounds)
        cuda.synchronize()
        report.add(f"one launch, {name}", seconds / setting.calls * 1e6)
    n_rows, members = 256 if not SIMULATED else 4, 20
    ids, y = _drawn_bags(n_rows, members, 10_000)
    arrays = np.ones(ids.size, np.float32), ids.ravel(), np.arange(0, ids.size + 1, members)
    X = csr_array(arrays, shape=(n_rows, 10_000))
    model = EmbeddingBagClassifier(64, batch_size=n_rows, device="cuda", random_state=0)
    model.partial_fit(X, y, classes=[0, 1, 2])
    report.add(f"partial_fit of {n_rows} x {members}", best_of(lambda: model.partial_fit(X, y), setting.rounds) * 1e6)


def transfers(setting):
    """transform of a host matrix, all in, and what its kernels take of it."""
    n_rows, n_members = setting.grid
    header = ["bags x 50", "transform ms", "kernel ms", "CPU, 2 threads ms", "CPU/GPU"]
    report = Report("transform of a host matrix, dim 128", header)
    rng = np.random.default_rng(0)
    start = rng.standard_normal((n_rows, 128), dtype=np.float32)
    for n_bags in sorted({max(1, n_members // 50 // part) for part in (1, 10, 100, 1000)}):
        ids, _ = _drawn_bags(n_bags, 50, n_rows)
        indptr = np.arange(0, ids.size + 1, 50, dtype=np.int32)
        X = csr_array((rng.random(ids.size, dtype=np.float32), ids.ravel(), indptr), shape=(n_bags, n_rows))
        gpu = EmbeddingBagVectorizer.from_pretrained(start, device="cuda")
        gpu.transform(X)
        whole = best_of(lambda gpu=gpu, X=X: gpu.transform(X), setting.rounds)
        problem = Problem(n_rows, 128, n_bags, 50)
        kernel = seconds_on_gpu({"run": problem.ours("mean", True)}, setting.rounds)["run"]
        cpu = EmbeddingBagVectorizer.from_pretrained(start, n_jobs=2)
        on_cpu = best_of(lambda cpu=cpu, X=X: cpu.transform(X), min(3, setting.rounds))
        report.add(n_bags, whole * 1e3, kernel * 1e3, on_cpu * 1e3, on_cpu / whole)
        del problem


def end_to_end(setting):
    """fit of a host matrix of texts, against our own CPU with two threads, by batch_size."""
    rng = np.random.default_rng(0)
    n_samples, n_features, members = setting.texts
    lengths = rng.poisson(members, n_samples) + 1
    ids = (rng.zipf(1.3, lengths.sum()) % n_features).astype(np.int32)
    indptr = np.append(0, np.cumsum(lengths)).astype(np.int32)
    X = csr_array((np.ones(ids.size, np.float32), ids, indptr), shape=(n_samples, n_features))
    X.sum_duplicates()
    y = rng.integers(0, 2, n_samples)
    title = f"fit, one epoch, {n_samples} bags of about {members}, {n_features} features, dim 16"
    report = Report(title, ["batch_size", "GPU s", "CPU, 2 threads s", "CPU/GPU"])
    for batch_size in setting.batch_sizes:
        seconds = {}
        for device in ("cuda", "cpu"):
            model = EmbeddingBagClassifier(
                16, batch_size=batch_size, max_iter=1, device=device, n_jobs=2, random_state=0
            )
            model.fit(X, y)
            seconds[device] = best_of(lambda model=model: model.fit(X, y), min(3, setting.rounds))
        report.add(batch_size, seconds["cuda"], seconds["cpu"], seconds["cpu"] / seconds["cuda"])


FIRST_CALL = """
from time import perf_counter
times = [perf_counter()]
import numpy as np
from skbag import embedding_bag
ids, table = np.zeros((4, 5), int), np.ones((9, 64), np.float32)
times.append(perf_counter())
for _ in range(2):
    embedding_bag(ids, table, device="cuda")
    times.append(perf_counter())
print(*np.diff(times))
"""


def first_call(setting):
    """The first call in new processes: start of CUDA, and compilation or, from the second one on, the disk cache."""
    report = Report("A new process, seconds", ["process", "import skbag", "first call", "second call, ms"])
    for number in (1, 2, 3):
        done = subprocess.run([sys.executable, "-c", FIRST_CALL], capture_output=True, text=True, check=True)
        imported, first, second = map(float, done.stdout.split())
        report.add(number, imported, first, second * 1e3)


class Setting:
    """Sizes of the problems."""

    def __init__(self, smoke, rounds):
        self.rounds = rounds or (1 if smoke else 20)
        self.copy_bytes = 1 << (20 if smoke else 32)
        self.forward = (1_000, 5, 5) if smoke else (10_000_000, 1_000_000, 50)
        self.grid = (100, 50) if smoke else (1_000_000, 10_000_000)
        self.batch = (4, 3) if smoke else (65_536, 50)
        self.steps = 2 if smoke else 8
        self.calls = 2 if smoke else 200
        self.training_rows = (100,) if smoke else (1_000_000, 10_000_000)
        self.batch_sizes = (16,) if smoke else (16, 64, 256, 1024, 4096)
        self.texts = (20, 100, 2) if smoke else (25_000, 100_000, 200)


PARTS = {
    part.__name__: part
    for part in (
        forward,
        against_peers,
        kinds_of_bags,
        steps,
        phases,
        variants,
        host,
        transfers,
        end_to_end,
        first_call,
    )
}


def why_not(smoke):
    """Return why nothing can be measured here, or None."""
    if SIMULATED:
        return None if smoke else "the simulator has no speed; --smoke runs every line in it"
    try:
        from skbag._backends import get_backend

        get_backend("cuda")
    except (ImportError, RuntimeError) as error:
        return str(error)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of {', '.join(PARTS)}; all without")
    parser.add_argument("--smoke", action="store_true", help="toy sizes: does every line still run?")
    parser.add_argument("--rounds", type=int)
    arguments = parser.parse_args()
    reason = why_not(arguments.smoke)
    if reason:
        print(f"left out: no GPU ({reason})")
        return
    if SIMULATED:
        print("In the simulator: the figures mean nothing.")
    else:
        device = cuda.get_current_device()
        name = device.name.decode() if isinstance(device.name, bytes) else device.name  # it depends on the version
        print(f"{name}, compute capability {device.compute_capability}, {time.strftime('%Y-%m-%d')}")
        print(f"CUDA {cuda.runtime.get_version()}")
    names = "numpy", "numba", "numba_cuda", "torch", "fbgemm_gpu", "cupy"
    versions = (f"{name} {getattr(optional(name), '__version__', 'absent')}" for name in names)
    print(f"Python {platform.python_version()}, {', '.join(versions)}")
    print(f"Command: {' '.join(sys.argv)}")
    for name in arguments.parts or PARTS:
        start = time.perf_counter()
        PARTS[name](Setting(arguments.smoke, arguments.rounds))
        print(f"\n{name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
