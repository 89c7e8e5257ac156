"""Forward benchmarks: skbag against torch, SciPy and MKL, and against itself.

    python tests/benchmarks/bench_forward.py            # the whole grid, some minutes
    python tests/benchmarks/bench_forward.py --smoke    # every line once, at toy sizes

Each comparison first checks that both sides give the same features. Times are milliseconds, the best of --rounds
interleaved rounds with --threads threads on both sides; ratios above 1 say that skbag is faster. torch and
sparse_dot_mkl are optional: their columns stay empty where they cannot be imported.
"""

import argparse
import os
import platform
import tempfile
from dataclasses import dataclass

import numba
import numpy as np
import scipy
import scipy.sparse
import sklearn
from timing import best_of, geometric_mean, table

from skbag import embedding, embedding_bag

try:
    import torch
    from torch.nn.functional import embedding as torch_embedding
    from torch.nn.functional import embedding_bag as torch_embedding_bag
except ImportError:
    torch = None

try:
    import sparse_dot_mkl
except (ImportError, OSError):
    sparse_dot_mkl = None


@dataclass
class Setting:
    bags: int
    members: int
    rows: tuple[int, ...]
    dims: tuple[int, ...]
    rounds: int
    threads: int


FULL = Setting(20_000, 50, (10_000, 1_000_000), (8, 16, 32, 50, 64, 100, 128, 300), 15, 2)
SMOKE = Setting(50, 5, (100, 1_000), (8, 50), 1, 2)


def aligned(shape, dtype, rng, off=0):
    """A random table that begins on a cache line, as torch's and those that skbag draws do; or ``off`` bytes after."""
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    buffer = np.empty(n_bytes + 64 + off, np.uint8)
    start = -buffer.ctypes.data % 64 + off
    result = buffer[start : start + n_bytes].view(dtype).reshape(shape)
    rng.standard_normal(dtype=dtype, out=result)
    return result


class Problem:
    """One table and one set of bags, and the two sides' ways to pool them."""

    def __init__(self, setting, n_rows, dim, dtype=np.float32, lengths=None, ids=None, index_dtype=np.int32):
        rng = np.random.default_rng(0)
        if lengths is None:
            lengths = np.full(setting.bags, setting.members)
        self.threads = setting.threads
        self.weight = aligned((n_rows, dim), dtype, rng)
        self.indptr = np.append(0, np.cumsum(lengths)).astype(index_dtype)
        n_members = int(self.indptr[-1])
        self.ids = (rng.integers(0, n_rows, n_members) if ids is None else ids(rng, n_members)).astype(index_dtype)
        self.weights = rng.random(n_members, dtype=np.float32).astype(dtype)
        if torch:
            arrays = self.weight, self.ids, self.indptr[:-1].copy(), self.weights
            self.t_weight, self.t_ids, self.t_offsets, self.t_weights = map(torch.from_numpy, arrays)

    def ours(self, mode, weighted=False, **options):
        weights = self.weights if weighted else None
        weight = options.pop("weight", self.weight)
        return lambda: embedding_bag(
            self.ids, weight, self.indptr, mode=mode, per_sample_weights=weights, include_last_offset=True,
            n_jobs=self.threads, **options,
        )  # fmt: skip

    def torch(self, mode, weighted=False, padding_idx=None):
        weights = self.t_weights if weighted else None
        return lambda: torch_embedding_bag(
            self.t_ids, self.t_weight, self.t_offsets, mode=mode, per_sample_weights=weights, padding_idx=padding_idx
        )

    def csr(self):
        return scipy.sparse.csr_matrix(
            (self.weights, self.ids, self.indptr), shape=(len(self.indptr) - 1, len(self.weight))
        )


def same(one, other):
    np.testing.assert_allclose(np.asarray(one()), np.asarray(other()), rtol=2e-4, atol=2e-4)


def report(title, header, rows, ratios):
    print(f"\n## {title}\n\n{table(header, rows)}\n")
    for name, values in ratios.items():
        if values:
            print(f"{name}: geometric mean {geometric_mean(values):.2f}, lowest {min(values):.2f}")


def against_peers(setting):
    """Weighted sum and plain mean against torch's fast path; weighted sum against SciPy and MKL."""
    rows, ratios = [], {"torch / skbag, sum with weights": [], "torch / skbag, mean": [], "scipy / skbag, sum": []}
    for n_rows in setting.rows:
        for dim in setting.dims:
            problem = Problem(setting, n_rows, dim)
            csr = problem.csr()
            runs = {"sum": problem.ours("sum", True), "mean": problem.ours("mean")}
            if torch:
                runs |= {"torch sum": problem.torch("sum", True), "torch mean": problem.torch("mean")}
                same(runs["sum"], runs["torch sum"])
                same(runs["mean"], runs["torch mean"])
            best = best_of(runs, setting.rounds)
            slow = {"scipy": lambda p=problem, x=csr: x @ p.weight}
            if sparse_dot_mkl:
                slow["mkl"] = lambda p=problem, x=csr: sparse_dot_mkl.dot_product_mkl(x, p.weight)
            for run in slow.values():
                same(runs["sum"], run)
            best |= best_of(slow, min(setting.rounds, 3))
            names = "sum", "torch sum", "mean", "torch mean", "scipy", "mkl"
            times = [best[name] * 1e3 if name in best else "" for name in names]
            quotients = []
            pairs = zip(ratios, (("torch sum", "sum"), ("torch mean", "mean"), ("scipy", "sum")), strict=True)
            for name, (peer, our) in pairs:
                if peer in best:
                    quotients.append(best[peer] / best[our])
                    ratios[name].append(quotients[-1])
                else:
                    quotients.append("")
            rows.append([n_rows, dim, *times, *quotients])
    header = ["rows", "dim", "sum, weights", "torch", "mean", "torch", "scipy", "MKL", "torch/sum", "torch/mean"]
    report("float32 sum with weights, and mean without", [*header, "scipy/sum"], rows, ratios)


def other_modes(setting):
    """max, padding_idx and float64 against torch; these and the weighted modes against our own float32 sum."""
    rows, ratios = [], {"torch / skbag": []}
    slower = {name: [] for name in ("max", "padding_idx", "float64 sum", "mean, weights", "sqrtn, weights")}
    for n_rows in setting.rows:
        for dim in setting.dims:
            problem, double = Problem(setting, n_rows, dim), Problem(setting, n_rows, dim, np.float64)
            runs = {
                "sum": problem.ours("sum"),
                "sum, weights": problem.ours("sum", True),
                "max": problem.ours("max"),
                "padding_idx": problem.ours("sum", padding_idx=3),
                "float64 sum": double.ours("sum"),
                "mean, weights": problem.ours("mean", True),
                "sqrtn, weights": problem.ours("sqrtn", True),
            }
            best = best_of(runs, setting.rounds)
            peers = {}
            if torch:
                peers = {
                    "max": problem.torch("max"),
                    "padding_idx": problem.torch("sum", padding_idx=3),
                    "float64 sum": double.torch("sum"),
                }
                for name, run in peers.items():
                    same(runs[name], run)
            torch_best = best_of(peers, min(setting.rounds, 2))
            row = [n_rows, dim, best["sum"] * 1e3, best["sum, weights"] * 1e3]
            for name in slower:
                base = best["sum, weights" if "weights" in name else "sum"]
                slower[name].append(best[name] / base)
                row += [best[name] * 1e3, slower[name][-1]]
                if name in peers:
                    ratios["torch / skbag"].append(torch_best[name] / best[name])
                    row.append(ratios["torch / skbag"][-1])
            rows.append(row)
    peer = ["torch/skbag"] if torch else []
    header = ["rows", "dim", "sum", "sum, weights"]
    for name in slower:
        header += [name, "over own sum", *([] if "weights" in name else peer)]
    report("max, padding_idx, float64, weighted mean and sqrtn", header, rows, ratios)
    for name, values in slower.items():
        print(f"{name} over our own sum: geometric mean {geometric_mean(values):.2f}, highest {max(values):.2f}")


def lookups(setting):
    """embedding of (bags, members) ids against torch."""
    rows, ratios = [], {"torch / skbag": []}
    for n_rows in setting.rows:
        for dim in setting.dims:
            problem = Problem(setting, n_rows, dim)
            ids = problem.ids.reshape(setting.bags, setting.members)
            runs = {"skbag": lambda p=problem, ids=ids: embedding(ids, p.weight, n_jobs=setting.threads)}
            if torch:
                t_ids = torch.from_numpy(ids)
                runs["torch"] = lambda p=problem, ids=t_ids: torch_embedding(ids, p.t_weight)
                same(runs["skbag"], runs["torch"])
            best = best_of(runs, setting.rounds)
            row = [n_rows, dim, best["skbag"] * 1e3]
            if torch:
                ratios["torch / skbag"].append(best["torch"] / best["skbag"])
                row += [best["torch"] * 1e3, ratios["torch / skbag"][-1]]
            rows.append(row)
    report("embedding", ["rows", "dim", "skbag", *(["torch", "torch/skbag"] if torch else [])], rows, ratios)


def skewed(setting):
    """Zipf-distributed ids in bags of very different lengths, against torch."""
    rows, ratios = [], {"torch / skbag": []}
    longest = 40 * setting.members
    for n_rows in setting.rows:
        for dim in setting.dims:
            lengths = np.minimum(np.random.default_rng(1).zipf(1.3, setting.bags // 2), longest)
            problem = Problem(setting, n_rows, dim, lengths=lengths, ids=lambda r, n, m=n_rows: r.zipf(1.2, n) % m)
            runs = {"skbag": problem.ours("sum", True)}
            if torch:
                runs["torch"] = problem.torch("sum", True)
                same(runs["skbag"], runs["torch"])
            best = best_of(runs, setting.rounds)
            row = [n_rows, dim, int(lengths.sum()), best["skbag"] * 1e3]
            if torch:
                ratios["torch / skbag"].append(best["torch"] / best["skbag"])
                row += [best["torch"] * 1e3, ratios["torch / skbag"][-1]]
            rows.append(row)
    header = ["rows", "dim", "members", "skbag", *(["torch", "torch/skbag"] if torch else [])]
    report(f"Zipf ids, bags of 1 to {longest} members", header, rows, ratios)


def layouts(setting):
    """The same work with int64 indices, with a read-only memory-mapped table, and with one that begins in a line."""
    rows, ratios = [], {"int64 / int32": [], "memmap / array": [], "16 bytes off / array": []}
    for n_rows in setting.rows:
        for dim in setting.dims:
            narrow, wide = Problem(setting, n_rows, dim), Problem(setting, n_rows, dim, index_dtype=np.int64)
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "table.npy")
                np.save(path, narrow.weight)
                mapped = np.load(path, mmap_mode="r")
                runs = {
                    "int32": narrow.ours("sum", True),
                    "int64": wide.ours("sum", True),
                    "memmap": narrow.ours("sum", True, weight=mapped),
                    "off": narrow.ours(
                        "sum", True, weight=aligned(mapped.shape, np.float32, np.random.default_rng(0), 16)
                    ),
                }
                same(runs["int32"], runs["memmap"])
                same(runs["int32"], runs["off"])
                best = best_of(runs, setting.rounds)
                del runs, mapped
            ratios["int64 / int32"].append(best["int64"] / best["int32"])
            ratios["memmap / array"].append(best["memmap"] / best["int32"])
            ratios["16 bytes off / array"].append(best["off"] / best["int32"])
            rows.append([n_rows, dim, *(t * 1e3 for t in best.values()), *(r[-1] for r in ratios.values())])
    report("Layouts", ["rows", "dim", "int32", "int64", "memmap", "16 bytes off", *ratios], rows, {})
    for name, values in ratios.items():
        print(f"{name}: geometric mean {geometric_mean(values):.2f}, highest {max(values):.2f}")


PARTS = {part.__name__: part for part in (against_peers, other_modes, lookups, skewed, layouts)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of {', '.join(PARTS)}; all without")
    parser.add_argument("--smoke", action="store_true", help="toy sizes: does every line still run?")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    setting = SMOKE if arguments.smoke else FULL
    setting.rounds, setting.threads = arguments.rounds or setting.rounds, arguments.threads
    if torch:
        torch.set_num_threads(setting.threads)
        torch.set_grad_enabled(False)
    print(f"Python {platform.python_version()}")
    versions = {"numpy": np, "scipy": scipy, "scikit-learn": sklearn, "numba": numba, "torch": torch}
    print(f"{platform.machine()}, {os.cpu_count()} cores, {setting.threads} threads")
    print(", ".join(f"{name} {module.__version__ if module else 'absent'}" for name, module in versions.items()))
    for name in arguments.parts or PARTS:
        PARTS[name](setting)


if __name__ == "__main__":
    main()
