"""Benchmarks on an NVIDIA GPU: skbag against torch and CuPy, and against the bandwidth of a copy in the same run.

    python tests/benchmarks/bench_cuda.py                  # all parts, some minutes; one GPU
    python tests/benchmarks/bench_cuda.py forward steps    # some of them
    python tests/benchmarks/bench_cuda.py --smoke          # every line once, at toy sizes; also in Numba's simulator

Kernel times are taken by events on the GPU, the best of --rounds interleaved rounds after one call that is not counted:
it compiles. Transfers and first calls have parts of their own. Ratios above 1 say that skbag is faster. torch and CuPy
are optional. Without a GPU nothing is measured, and a line says so.
"""

import argparse
import importlib
import math
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from timing import geometric_mean, table

from skbag import EmbeddingBagClassifier, EmbeddingBagVectorizer

sys.path.insert(0, str(Path(__file__).parents[1]))
from simulator import SIMULATED


def optional(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


cuda = optional("numba.cuda")  # global, as the simulator wants it


def torch_on_gpu():
    """Return torch where it can use the GPU, as its CPU build cannot."""
    torch = optional("torch")
    return torch if torch and torch.cuda.is_available() else None


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

    def close(self):
        print(flush=True)
        for name, values in self.ratios.items():
            print(f"{name}: geometric mean {geometric_mean(values):.2f}, lowest {min(values):.2f}", flush=True)


def drawn(n_rows, dim):
    """Return a table of numbers between -1 and 1, hashes of their places, drawn on the GPU."""

    @cuda.jit
    def fill(out):
        for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            x = (i * 0x9E3779B9) & 0xFFFFFFFF
            x = ((x ^ (x >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
            out[i] = (x ^ (x >> 13)) / 2.0**31 - 1

    array = cuda.device_array((n_rows, dim), np.float32)
    fill[(1, 32) if SIMULATED else (1024, 256)](array.ravel())
    return array


def copy_bandwidth(setting):
    """Bytes read plus bytes written per second by a copy on the GPU, in 1e9."""
    source = cuda.device_array(setting.copy_bytes // 4, np.float32)
    target = cuda.device_array_like(source)
    seconds = seconds_on_gpu({"copy": lambda: target.copy_to_device(source)}, setting.rounds)["copy"]
    return 2 * source.nbytes / seconds / 1e9


class Problem:
    """A table and bags on the GPU, shared by all sides."""

    def __init__(self, n_rows, dim, n_bags, members):
        from skbag._backends import get_backend
        from skbag._cuda.staging import Members

        rng = np.random.default_rng(0)
        self.backend, self.cuda = get_backend("cuda"), cuda
        self.table = drawn(n_rows, dim)
        ids = rng.integers(0, n_rows, n_bags * members, dtype=np.int32)
        indptr = np.arange(0, ids.size + 1, members, dtype=np.int32)
        self.shape = n_bags, n_rows
        self.ids, self.indptr = cuda.to_device(ids), cuda.to_device(indptr)
        self.weights = cuda.to_device(rng.random(ids.size, dtype=np.float32))
        self.out = cuda.device_array((n_bags, dim), np.float32)
        self._members = [
            Members(self.ids, weights, self.indptr, 0, n_bags, ids.size, members) for weights in (None, self.weights)
        ]

    def ours(self, mode, weighted=False):
        members, device = self._members[weighted], self.backend.device

        def run():
            with device.active():
                self.backend.pool_members(self.table, members, mode, None, self.out)
            return self.out

        return run

    def torch(self, torch, mode, weighted=False):
        tensor, ids, offsets, weights = (
            torch.as_tensor(array, device="cuda") for array in (self.table, self.ids, self.indptr[:-1], self.weights)
        )
        return lambda: torch.nn.functional.embedding_bag(
            ids, tensor, offsets, mode=mode, per_sample_weights=weights if weighted else None
        )

    def cupy(self, cupy):
        sparse = importlib.import_module("cupyx.scipy.sparse")
        arrays = tuple(cupy.asarray(array) for array in (self.weights, self.ids, self.indptr))
        X, dense = sparse.csr_matrix(arrays, shape=self.shape), cupy.asarray(self.table)
        return lambda: X @ dense

    def same(self, one, other):
        first = one().copy_to_host()
        other = other()
        second = other.cpu().numpy() if hasattr(other, "cpu") else other.get()
        np.testing.assert_allclose(first, second, rtol=2e-4, atol=2e-4)


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
    """sum, mean, max and the weighted sum against torch and cuSPARSE: dims 16 to 300, bags of 5, 50 and 500."""
    torch, cupy = torch_on_gpu(), optional("cupy")
    n_rows, n_members = setting.grid
    header = ["mode", "dim", "members", "skbag ms", "torch ms", "torch/skbag", "cuSPARSE ms", "cuSPARSE/skbag"]
    report = Report(f"Pooling, table of {n_rows} rows, {n_members} members", header)
    for dim in (16, 64, 128, 300):
        for members in (5, 50, 500):
            problem = Problem(n_rows, dim, max(2, n_members // members), members)
            for mode, weighted in (("sum", False), ("mean", False), ("max", False), ("sum", True)):
                runs = {"skbag": problem.ours(mode, weighted)}
                if torch:
                    runs["torch"] = problem.torch(torch, mode, weighted)
                if cupy and weighted:
                    runs["cuSPARSE"] = problem.cupy(cupy)
                for name in list(runs)[1:]:
                    problem.same(runs["skbag"], runs[name])
                best = seconds_on_gpu(runs, setting.rounds)
                what = f"{mode}, weights" if weighted else mode
                row = [what, dim, members, best["skbag"] * 1e3]
                for name in ("torch", "cuSPARSE"):
                    if name in best:
                        quotient = report.ratio(f"{name} / skbag, {what}", best[name] / best["skbag"])
                    row += [best[name] * 1e3, quotient] if name in best else ["", ""]
                report.add(*row)
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


def steps(setting):
    """A training step, forward to update, against torch's sparse SGD: the mean of some steps, by events."""
    torch = torch_on_gpu()
    n_bags, members = setting.batch
    n_steps = setting.steps
    header = ["rows", "dim", "sgd ms", "adagrad ms", *(["torch sgd ms", "torch/skbag"] if torch else [])]
    report = Report(f"One step of {n_bags} bags x {members}, softmax of 3 classes, mean", header)
    for n_rows in setting.training_rows:
        for dim in (64, 128):
            rng = np.random.default_rng(0)
            ids, y = rng.integers(0, n_rows, (n_steps * n_bags, members)), rng.integers(0, 3, n_steps * n_bags)
            best = {}
            for solver in ("sgd", "rowwise_adagrad"):
                epoch = _our_epoch(ids, y, n_rows, dim, solver, n_bags)
                best[solver] = seconds_on_gpu({"run": epoch}, setting.rounds)["run"] / n_steps
                del epoch
            row = [n_rows, dim, best["sgd"] * 1e3, best["rowwise_adagrad"] * 1e3]
            if torch:
                epoch = _torch_epoch(torch, ids, y, n_rows, dim, n_bags)
                seconds = seconds_on_gpu({"run": epoch}, setting.rounds)["run"] / n_steps
                del epoch
                torch.cuda.empty_cache()
                row += [seconds * 1e3, report.ratio("torch / skbag, sgd", seconds / best["sgd"])]
            report.add(*row)
    report.close()


def _our_epoch(ids, y, n_rows, dim, solver, batch_size):
    """An epoch on bags that are on the GPU already, as torch's are."""
    from skbag._data.model import Rates

    indptr = np.arange(0, ids.size + 1, ids.shape[1], dtype=np.int32)
    X = csr_array((np.ones(ids.size, np.float32), ids.ravel().astype(np.int32), indptr), shape=(len(ids), n_rows))
    params = {"mode": "mean", "per_sample_weights": False, "solver": solver, "batch_size": batch_size, "alpha": 0.0}
    model = EmbeddingBagClassifier(dim, **params, device="cuda", random_state=0)
    model.partial_fit(X, y, classes=np.arange(3))
    bags, learnt = model._check_bags(X, reset=False), model._learnt
    trainer = model._trainer(bags, learnt, learnt.targets(y), np.ones(len(y)), model._model())
    return lambda: trainer.epoch(np.arange(len(y)), Rates(0.01))


def _torch_epoch(torch, ids, y, n_rows, dim, batch_size):
    bag = torch.nn.EmbeddingBag(n_rows, dim, mode="mean", sparse=True, device="cuda")
    linear = torch.nn.Linear(dim, 3, device="cuda")
    optimizer = torch.optim.SGD([*bag.parameters(), *linear.parameters()], lr=0.01)
    ids, y = torch.as_tensor(ids, device="cuda"), torch.as_tensor(y, device="cuda")

    def epoch():
        for first in range(0, len(y), batch_size):
            optimizer.zero_grad()
            logits = linear(bag(ids[first : first + batch_size]))
            torch.nn.functional.cross_entropy(logits, y[first : first + batch_size]).backward()
            optimizer.step()

    return epoch


def transfers(setting):
    """transform of a host matrix, all in, and what its kernels take of it."""
    n_rows, n_members = setting.grid
    header = ["bags x 50", "transform ms", "kernel ms", "CPU, 2 threads ms", "CPU/GPU"]
    report = Report("transform of a host matrix, dim 128", header)
    rng = np.random.default_rng(0)
    start = rng.standard_normal((n_rows, 128), dtype=np.float32)
    for n_bags in sorted({max(1, n_members // 50 // part) for part in (1, 10, 100, 1000)}):
        ids = rng.integers(0, n_rows, n_bags * 50, dtype=np.int32)
        indptr = np.arange(0, ids.size + 1, 50, dtype=np.int32)
        X = csr_array((rng.random(ids.size, dtype=np.float32), ids, indptr), shape=(n_bags, n_rows))
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
    """fit of a host matrix like IMDB's 1-2-grams, against our own CPU with two threads, by batch_size."""
    rng = np.random.default_rng(0)
    n_samples, n_features, members = setting.texts
    lengths = rng.poisson(members, n_samples) + 1
    ids = (rng.zipf(1.3, lengths.sum()) % n_features).astype(np.int32)
    indptr = np.append(0, np.cumsum(lengths)).astype(np.int32)
    X = csr_array((np.ones(ids.size, np.float32), ids, indptr), shape=(n_samples, n_features))
    y = rng.integers(0, 2, n_samples)
    title = f"fit, two epochs, {n_samples} bags of about {members}, {n_features} features, dim 16"
    report = Report(title, ["batch_size", "GPU s", "CPU, 2 threads s", "CPU/GPU"])
    for batch_size in setting.batch_sizes:
        seconds = {}
        for device in ("cuda", "cpu"):
            model = EmbeddingBagClassifier(
                16, batch_size=batch_size, max_iter=2, device=device, n_jobs=2, random_state=0
            )
            model.fit(X, y)
            seconds[device] = best_of(lambda model=model: model.fit(X, y), min(3, setting.rounds))
        report.add(batch_size, seconds["cuda"], seconds["cpu"], seconds["cpu"] / seconds["cuda"])


def first_call(setting):
    """The first call in a new process: start of CUDA, and compilation or the disk cache."""
    code = (
        "import time; start = time.perf_counter(); import numpy as np; from skbag import embedding_bag; "
        "embedding_bag(np.zeros((4, 5), int), np.ones((9, 64), np.float32), device='cuda'); "
        "print(time.perf_counter() - start)"
    )
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(2)
    ]
    Report("First call in a new process, seconds", ["first process", "second process"]).add(*seconds)


class Setting:
    """Sizes of the problems."""

    def __init__(self, smoke, rounds):
        self.rounds = rounds or (1 if smoke else 20)
        self.copy_bytes = 1 << (20 if smoke else 32)
        self.forward = (1_000, 5, 5) if smoke else (10_000_000, 1_000_000, 50)
        self.grid = (100, 50) if smoke else (1_000_000, 10_000_000)
        self.batch = (4, 3) if smoke else (65_536, 50)
        self.steps = 2 if smoke else 8
        self.training_rows = (100,) if smoke else (1_000_000, 10_000_000)
        self.batch_sizes = (16,) if smoke else (16, 256, 4096)
        self.texts = (20, 100, 2) if smoke else (25_000, 1_500_000, 230)


PARTS = {
    part.__name__: part for part in (forward, against_peers, kinds_of_bags, steps, transfers, end_to_end, first_call)
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
    names = "numpy", "numba", "numba_cuda", "torch", "cupy"
    versions = (f"{name} {getattr(optional(name), '__version__', 'absent')}" for name in names)
    print(f"Python {platform.python_version()}, {', '.join(versions)}")
    print(f"Command: {' '.join(sys.argv)}")
    for name in arguments.parts or PARTS:
        PARTS[name](Setting(arguments.smoke, arguments.rounds))


if __name__ == "__main__":
    main()
