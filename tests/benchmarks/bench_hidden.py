"""A hidden layer against scikit-learn's MLPClassifier: accuracy and seconds of an epoch, on the same rows.

    python tests/benchmarks/bench_hidden.py            # some minutes
    python tests/benchmarks/bench_hidden.py --smoke    # every line once, on little

Both have one hidden layer of 100 units that are rectified, and see the same TF-IDF of words in mini-batches of the same
size for the same number of epochs. MLPClassifier has its own defaults otherwise, and its layer reads the columns of X,
while that of EmbeddingBagClassifier reads pooled vectors. Both are fitted in one process with the threads that they
take by themselves: BLAS has all processors, skbag has --n-jobs. Without the data of 20 newsgroups, which is no part of
the project, made-up texts stand for it.
"""

import argparse
import json
import lzma
import time
import warnings
from pathlib import Path

import numpy as np
from bench_learning import made_up
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neural_network import MLPClassifier
from timing import table

from skbag import EmbeddingBagClassifier

DATA = Path(__file__).parents[3] / "shared" / "data" / "20newsgroups_bydate"


def read(part):
    with lzma.open(DATA / f"{part}.jsonl.xz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [row["text"] for row in rows], np.array([row["label"] for row in rows])


def measured(model, X, y, X_test, y_test):
    """Return the accuracy, and the seconds of fit for each epoch."""
    start = time.perf_counter()
    with warnings.catch_warnings(action="ignore"):  # MLPClassifier wants more epochs
        model.fit(X, y)
    seconds = (time.perf_counter() - start) / model.n_iter_
    return model.score(X_test, y_test), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--n-jobs", type=int, default=None)
    arguments = parser.parse_args()
    if arguments.smoke or not DATA.exists():
        texts, y = made_up(4)
        texts_test, y_test = texts, y
        arguments.epochs = 2
    else:
        (texts, y), (texts_test, y_test) = read("train"), read("test")
    vectorizer = TfidfVectorizer()
    X, X_test = vectorizer.fit_transform(texts), vectorizer.transform(texts_test)
    common = {"batch_size": arguments.batch, "max_iter": arguments.epochs, "random_state": 0}
    ours = EmbeddingBagClassifier(hidden_layer_sizes=(100,), n_jobs=arguments.n_jobs, **common)
    ours.fit(X[::50], y[::50])  # compiles
    rows = []
    for name, model in (
        ("EmbeddingBagClassifier(hidden_layer_sizes=(100,))", ours),
        ("EmbeddingBagClassifier()", EmbeddingBagClassifier(n_jobs=arguments.n_jobs, **common)),
        ("MLPClassifier((100,))", MLPClassifier((100,), **common)),
    ):
        accuracy, seconds = measured(model, X, y, X_test, y_test)
        rows.append((name, accuracy, seconds))
    print(f"{X.shape[0]} x {X.shape[1]}, batches of {arguments.batch}, {arguments.epochs} epochs")
    last = rows[-1][2]
    print(table(
        ["model", "accuracy", "s an epoch", "times as fast as MLPClassifier"],
        [[name, f"{accuracy:.4f}", f"{seconds:.3f}", f"{last / seconds:.1f}"] for name, accuracy, seconds in rows],
    ))  # fmt: skip


if __name__ == "__main__":
    main()
