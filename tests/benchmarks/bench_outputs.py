"""Very many outputs: what an epoch costs and what is learnt, of all outputs, sampled ones and a tree.

    python tests/benchmarks/bench_outputs.py            # half an hour, of which the full loss takes nearly all
    python tests/benchmarks/bench_outputs.py --smoke    # every line once, on little
    python tests/benchmarks/bench_outputs.py --predictions  # 200 rows of made-up words, 40,000 classes: a minute

Gowalla (29,858 users, 40,981 places): half of the places of a user's training part, drawn at random, is a row, and the
other half its labels, or in equal shares its classes. Recall@20 is that of the test part for rows of the whole training
part, without the places in these. Times are those of partial_fit on 2,000 users, interleaved, the best of some rounds.
"""

import argparse
import lzma
import time
from functools import partial
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from timing import table

from skbag import EmbeddingBagClassifier

DATA = Path(__file__).parents[3] / "shared" / "data" / "recsys_gowalla_implicit"
N_USERS, N_PLACES = 29_858, 40_981


def visits(part):
    """Return which user has been where, as a matrix of ones."""
    with lzma.open(DATA / f"{part}.txt.xz", "rt") as file:
        rows = [list(map(int, line.split())) for line in file]
    users = np.repeat([row[0] for row in rows], [len(row) - 1 for row in rows])
    places = np.concatenate([np.array(row[1:], np.int64) for row in rows])
    X = csr_array((np.ones(len(users), np.float32), (users, places)), shape=(N_USERS, N_PLACES))
    X.sum_duplicates()
    X.data[:] = 1
    return X


def drawn(n_users=60, n_places=200):
    """Return visits that are drawn: two parts."""
    rng = np.random.default_rng(0)
    return [csr_array((rng.random((n_users, n_places)) < 0.05).astype(np.float32)) for _ in range(2)]


def halves(X, seed=0):
    """Return two matrices of half of the ones of each row, and only rows that have some in both."""
    first = np.random.default_rng(seed).random(X.nnz) < 0.5
    both = []
    for some in (first, ~first):
        half = X.copy()
        half.data = half.data * some
        half.eliminate_zeros()
        both.append(half)
    kept = np.flatnonzero((np.diff(both[0].indptr) > 0) & (np.diff(both[1].indptr) > 0))
    return [half[kept] for half in both]


def recall(model, X, truth, k=20):
    """Return the mean share of the places of a row, k at most, that are among the best k outside of X."""
    total = n = 0
    for first in range(0, X.shape[0], 256):
        some, right = X[first : first + 256], truth[first : first + 256]
        z = model.decision_function(some)
        z[np.repeat(np.arange(len(z)), np.diff(some.indptr)), some.indices] = -np.inf
        best = np.argpartition(-z, k, axis=1)[:, :k]
        hits = np.take_along_axis(right.toarray() > 0, best, axis=1).sum(axis=1)
        sizes = np.minimum(np.diff(right.indptr), k)
        total, n = total + (hits[sizes > 0] / sizes[sizes > 0]).sum(), n + (sizes > 0).sum()
    return total / n


def predictions(n_classes, rounds):
    """Time predictions of models of many classes, of which each has five words and the first are the most frequent."""
    rng = np.random.default_rng(0)
    odds = 1 / np.arange(1, n_classes + 1)
    y = np.concatenate((np.arange(n_classes), rng.choice(n_classes, n_classes, p=odds / odds.sum())))
    words = np.hstack([rng.integers(0, 20_000, (n_classes, 5))[y][:, :4], rng.integers(0, 20_000, (len(y), 3))])
    X = csr_array((np.ones(words.size, np.float32), words.ravel(), np.arange(len(y) + 1) * 7), shape=(len(y), 20_000))
    some = X[rng.integers(0, len(y), 200)]
    rows = []
    for output in ("sampled", "hierarchical"):
        model = EmbeddingBagClassifier(64, output=output, max_iter=2, random_state=0, n_jobs=1).fit(X, y)
        for name, arguments in (("predict", ()), ("predict_top_k", (10,)), ("predict_proba", ())):
            seconds = []
            for _ in range(rounds + 1):
                start = time.perf_counter()
                getattr(model, name)(some, *arguments)
                seconds.append(time.perf_counter() - start)
            rows.append([output, name, f"{min(seconds[1:]) * 1e3:.1f}"])
    print(table(["output", "method", f"ms, 200 rows, {n_classes} classes, one thread"], rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-full", action="store_true", help="leave the recall of the full losses out")
    parser.add_argument("--kinds", nargs="+", default=["labels", "shares"])
    parser.add_argument("--negatives", type=int, nargs="+", default=[1024])
    parser.add_argument("--predictions", action="store_true")
    arguments = parser.parse_args()
    if arguments.predictions or arguments.smoke:
        predictions(300 if arguments.smoke else 40_000, arguments.rounds)
        if arguments.predictions:
            return
    if arguments.smoke:
        arguments.epochs, arguments.rounds, arguments.negatives = 1, 1, [16]
    elif not DATA.exists():
        print(f"SKIPPED: no {DATA}")
        return
    known, truth = drawn() if arguments.smoke else [visits(part) for part in ("train", "test")]
    X, Y = halves(known)
    targets = {"labels": Y.astype(np.int64), "shares": csr_array(Y.multiply(1 / np.diff(Y.indptr)[:, None]))}
    make = partial(EmbeddingBagClassifier, 64, random_state=0, max_iter=arguments.epochs)
    ways = {"full": {}} | {f"sampled, {n}": {"output": "sampled", "n_negatives": n} for n in arguments.negatives}
    rows = []
    for kind in arguments.kinds:
        y, some = targets[kind], slice(0, 2000)
        both = ways if kind == "labels" else {**ways, "hierarchical": {"output": "hierarchical"}}
        models, seconds = (
            {name: make(**params).partial_fit(X, y) for name, params in both.items() if name != "full"},
            {},
        )
        models["full"] = make().partial_fit(X[:16], y[:16])
        for _ in range(arguments.rounds):
            for name, model in models.items():
                for _ in range(1 if name == "full" else 3):
                    start = time.perf_counter()
                    model.partial_fit(X[some], y[some])
                    seconds[name] = min(seconds.get(name, np.inf), time.perf_counter() - start)
        for name, params in both.items():
            found = float("nan")
            if name != "full" or not arguments.no_full:
                found = f"{recall(make(**params).fit(X, y), known, truth):.4f}"
            rows.append([kind, name, f"{seconds[name]:.3f}", seconds["full"] / seconds[name], found])
            print(*rows[-1], flush=True)
    print(table(["y", "output", "s, 2,000 users", "times as fast", f"recall@20, {arguments.epochs} epochs"], rows))


if __name__ == "__main__":
    main()
