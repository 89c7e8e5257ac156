"""What one small call costs, and what a new process costs.

    python tests/benchmarks/bench_latency.py            # about a minute
    python tests/benchmarks/bench_latency.py --smoke    # every line once

Prints microseconds of single calls (the best of 50 rounds of a hundred, interleaved with scikit-learn's on the same
row), and milliseconds of a new process: the import, and the first transform with and without compiled kernels on disk.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

import numpy as np
from scipy.sparse import random_array
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import SGDClassifier
from timing import best_of, table

from skbag import EmbeddingBagClassifier, EmbeddingBagVectorizer, embedding_bag

IMPORT = """
import time, sys
import sklearn.base, scipy.sparse
start = time.perf_counter()
import skbag
print(time.perf_counter() - start)
assert "numba" not in sys.modules
"""

FIRST = """
import sys, time
import numpy as np
from scipy.sparse import csr_array
from skbag import EmbeddingBagVectorizer
vectorizer = EmbeddingBagVectorizer.from_pretrained(np.ones((1000, 64), np.float32))
X = csr_array(np.eye(3, 1000, dtype=np.float32))
start = time.perf_counter()
vectorizer.transform(X)
print(time.perf_counter() - start)
backend = sys.modules["skbag._cpu.backend"]
assert backend.kernels.reduce_kernel(backend.TOTAL).cache_misses == int(sys.argv[1])
"""


def single_calls(rounds):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((10_000, 64), dtype=np.float32)
    ids, offsets = rng.integers(0, 10_000, 50), np.zeros(1, np.int64)
    X = random_array((1000, 10_000), density=0.005, format="csr", rng=rng)
    row = X[[3]]
    vectorizer, svd = EmbeddingBagVectorizer(64).fit(X), TruncatedSVD(64, n_iter=1).fit(X)
    y = np.arange(1000) % 2
    bag, sgd = EmbeddingBagClassifier(64, max_iter=1).fit(X, y), SGDClassifier(max_iter=5, tol=None).fit(X, y)
    calls = {
        "embedding_bag, one bag of 50": lambda: embedding_bag(ids, weight, offsets, mode="sum"),
        "EmbeddingBagVectorizer.transform, one row": lambda: vectorizer.transform(row),
        "TruncatedSVD.transform, the same row": lambda: svd.transform(row),
        "EmbeddingBagClassifier.predict, one row": lambda: bag.predict(row),
        "SGDClassifier.predict, the same row": lambda: sgd.predict(row),
    }
    best = best_of(
        {name: lambda call=call: [call() for _ in range(100)] and None for name, call in calls.items()}, rounds
    )
    print(table(["one call", "microseconds"], [[name, seconds * 1e4] for name, seconds in best.items()]))


def new_processes(runs):
    def milliseconds(code, folder, *arguments):
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        command = [sys.executable, "-c", code, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return float(result.stdout) * 1e3

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        times = [milliseconds(IMPORT, folder) for _ in range(runs)]
        rows.append(["import skbag, over sklearn.base and scipy.sparse", min(times), statistics.median(times)])
        cold = milliseconds(FIRST, folder, "1")
        rows.append(["first transform, no kernel on disk", cold, cold])
        times = [milliseconds(FIRST, folder, "0") for _ in range(runs)]
        rows.append(["first transform, kernels on disk", min(times), statistics.median(times)])
    print("\n" + table(["a new process", "best, ms", "median, ms"], rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="does every line still run?")
    smoke = parser.parse_args().smoke
    single_calls(1 if smoke else 50)
    new_processes(1 if smoke else 7)


if __name__ == "__main__":
    main()
