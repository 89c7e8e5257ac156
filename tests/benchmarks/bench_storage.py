"""Smaller tables: pooling from float16, bfloat16 and int8 against float32, and training with float16.

    python tests/benchmarks/bench_storage.py            # pooling: some minutes
    python tests/benchmarks/bench_storage.py accuracy   # training: some minutes
    python tests/benchmarks/bench_storage.py --smoke    # every line once, at toy sizes

Pooling: 20,000 bags of 50 rows, weighted sums, the best of --rounds interleaved rounds; ratios above 1 say that the
smaller table is faster, and errors are those of all sums together, over their length. Accuracy: on training parts of
the sets of bench_learning.py, with seconds of the processor in one thread.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from bench_forward import aligned
from bench_learning import DATA, SETS, read_set
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split
from timing import best_of, table

from skbag import EmbeddingBagClassifier, QuantizedTable, embedding_bag

STORAGES = "float16", "bfloat16", "int8"


def pooling(arguments):
    rng = np.random.default_rng(0)
    bags, members, shapes = 20_000, 50, [(1_000_000, 128), (1_000_000, 64), (1_000_000, 300), (10_000, 128)]
    if arguments.smoke:
        bags, members, shapes = 50, 5, [(1_000, 20)]
    rows = []
    for n, dim in shapes:
        weight = aligned((n, dim), np.float32, rng)
        tables = {"float32": weight} | {storage: QuantizedTable.of(weight, storage) for storage in STORAGES}
        ids = rng.integers(0, n, (bags, members)).astype(np.int32)
        weights = rng.random((bags, members), dtype=np.float32)
        runs = {
            name: lambda t=t, i=ids, w=weights: embedding_bag(
                i, t, mode="sum", per_sample_weights=w, n_jobs=arguments.threads
            )
            for name, t in tables.items()
        }
        meant = runs["float32"]()
        errors = {name: np.linalg.norm(run() - meant) / np.linalg.norm(meant) for name, run in runs.items()}
        best = best_of(runs, arguments.rounds)
        for name in STORAGES:
            ratio = best["float32"] / best[name]
            rows.append([n, dim, name, best["float32"] * 1e3, best[name] * 1e3, ratio, f"{errors[name]:.1e}"])
    header = ["rows", "dim", "storage", "float32, ms", "ms", "float32 / it", "relative error"]
    print(f"\n## Pooling, {arguments.threads} threads\n\n{table(header, rows)}\n")


def made_texts():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 600)
    texts = [" ".join(f"w{i}" for i in np.append(rng.integers(0, 200, 8), 50 * k + rng.integers(0, 50, 3))) for k in y]
    yield "made", texts, y


def given_texts(arguments):
    for name in arguments.sets:
        if (arguments.data / name).is_dir():
            yield name, *read_set(arguments.data, name)
        else:
            print(f"Left out, not in {arguments.data}: {name}")


def accuracy(arguments):
    rows, dtypes = [], ("float32", "float16", "bfloat16")
    for name, *both in made_texts() if arguments.smoke else given_texts(arguments):
        texts, new_texts, y, new_y = train_test_split(*both, test_size=0.3, random_state=0, stratify=both[1])
        words = TfidfVectorizer(ngram_range=(1, 2)).fit(texts)
        X, new_X = words.transform(texts), words.transform(new_texts)
        scores, seconds = ({dtype: [] for dtype in dtypes} for _ in range(2))
        for seed in range(arguments.states):
            for dtype in dtypes:  # in turns
                start = time.process_time()
                model = EmbeddingBagClassifier(dtype=dtype, random_state=seed, n_jobs=1).fit(X, y)
                seconds[dtype].append(time.process_time() - start)
                scores[dtype].append(model.score(new_X, new_y))
        means = {dtype: np.mean(some) for dtype, some in scores.items()}
        row = [name, *X.shape, f"{means['float32']:.4f}", min(seconds["float32"])]
        for dtype in dtypes[1:]:
            row += [f"{means[dtype] - means['float32']:+.4f}", min(seconds[dtype])]
        small = model.quantize("int8").score(new_X, new_y) - scores["bfloat16"][-1]
        rows.append([*row, f"{small:+.4f}"])
    header = ["set", "rows", "columns", "float32", "s", "float16 less it", "s", "bfloat16 less it", "s", "int8 of that"]
    print(f"\n## Accuracy on 30% held out, mean over {arguments.states} random states\n\n{table(header, rows)}\n")


PARTS = {"pooling": pooling, "accuracy": accuracy}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}; all without")
    parser.add_argument("--smoke", action="store_true", help="toy sizes: does every line still run?")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, default=DATA)
    sets = ["20newsgroups_bydate", "imdb", "banking77", "trec"]
    parser.add_argument("--sets", nargs="*", default=sets, choices=SETS, metavar="SET")
    parser.add_argument("--states", type=int, default=3, help="random states")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.rounds = arguments.states = 1
    for name in arguments.parts or PARTS:
        PARTS[name](arguments)


if __name__ == "__main__":
    main()
