"""Training benchmarks: one epoch against torch, and accuracy and seconds on real texts against other classifiers.

    python tests/benchmarks/bench_training.py                     # all, some minutes
    python tests/benchmarks/bench_training.py --smoke             # every line once, at toy sizes
    python tests/benchmarks/bench_training.py texts --data FOLDER # FOLDER: 20 newsgroups, IMDB, TREC, SST-2

Times are the best of --rounds interleaved rounds with --threads threads on both sides. The real texts are not part of
the project: the part is left out, with a line that says so, where the folder is missing. fastText is measured where it
can be imported.
"""

import argparse
import gzip
import json
import lzma
import os
import platform
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from fasttext_or_none import fasttext
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.svm import LinearSVC
from timing import best_of, geometric_mean, table

from skbag import EmbeddingBagClassifier

try:
    import torch
except ImportError:
    torch = None

SEEDS = 5  # random states of texts; the first only where a fit takes more than 3 s
DATA = Path(__file__).parents[3] / "shared" / "data"


def epochs(arguments):
    """Members per second of one epoch of plain SGD, mean mode, two classes, against torch's sparse SGD."""
    n_bags, members = (200, 5) if arguments.smoke else (8192, 50)
    rows, ratios = [], []
    for n_rows in (1_000,) if arguments.smoke else (100_000, 1_000_000):
        for dim in (16,) if arguments.smoke else (16, 64, 128):
            rng = np.random.default_rng(0)
            ids = rng.integers(0, n_rows, (n_bags, members))
            y = rng.integers(0, 3, n_bags)
            start = rng.standard_normal((n_rows, dim), dtype=np.float32)
            indptr = np.arange(0, ids.size + 1, members)
            X = csr_array((np.ones(ids.size, np.float32), ids.ravel(), indptr), shape=(n_bags, n_rows))
            for batch_size in (64, 1024):
                runs = {}
                for jobs in (1, arguments.threads):
                    model = EmbeddingBagClassifier(
                        mode="mean", init=start, solver="sgd", learning_rate_init=0.01, learning_rate="constant",
                        batch_size=batch_size, shuffle=False, n_jobs=jobs, alpha=0.0,  # as torch has it
                    )  # fmt: skip
                    model.partial_fit(X, y, classes=np.arange(3))
                    runs[f"{jobs}"] = _trainer_epoch(model, X, y)
                if torch:
                    runs["torch"] = _torch_epoch(ids, y, start, batch_size)
                best = best_of(runs, arguments.rounds)
                speeds = [ids.size / seconds / 1e6 for seconds in best.values()]
                row = [n_rows, dim, batch_size, *speeds, speeds[1] / speeds[0]]
                if torch:
                    ratios.append(speeds[1] / speeds[2])
                    row.append(ratios[-1])
                rows.append(row)
    header = ["rows", "dim", "batch", "1 thread", f"{arguments.threads} threads"]
    header += ["torch", "threads / 1", "skbag / torch"] if torch else ["threads / 1"]
    print("\n## One epoch, million members per second\n\n" + table(header, rows))
    if ratios:
        print(f"\nskbag / torch: geometric mean {geometric_mean(ratios):.2f}, lowest {min(ratios):.2f}")


def _trainer_epoch(model, X, y, order=None):
    """One epoch on the model's own arrays, without the checks of partial_fit, which torch has no counterpart for."""
    from skbag._data.model import Rates

    bags, learnt = model._check_bags(X, reset=False), model._learnt
    trainer = model._trainer(bags, learnt, learnt.targets(y), np.ones(len(y)), model._model())
    order = np.arange(len(y)) if order is None else order
    return lambda: trainer.epoch(order, Rates(0.01))


def _torch_epoch(ids, y, start, batch_size):
    bag = torch.nn.EmbeddingBag.from_pretrained(torch.tensor(start), freeze=False, mode="mean", sparse=True)
    linear = torch.nn.Linear(start.shape[1], 3)
    optimizer = torch.optim.SGD([*bag.parameters(), *linear.parameters()], lr=0.01)
    t_ids, t_y = torch.from_numpy(ids), torch.from_numpy(y)

    def epoch():
        for first in range(0, len(t_y), batch_size):
            optimizer.zero_grad()
            logits = linear(bag(t_ids[first : first + batch_size]))
            torch.nn.functional.cross_entropy(logits, t_y[first : first + batch_size]).backward()
            optimizer.step()

    return epoch


def _rows(n_bags, members, n_columns, n_classes):
    """Rows of as many columns, drawn uniformly, and classes."""
    rng = np.random.default_rng(0)
    ids = np.sort(rng.integers(0, n_columns, (n_bags, members), dtype=np.int32), axis=1)
    indptr = np.arange(0, ids.size + 1, members, dtype=np.int32)  # SGDClassifier takes no int64
    X = csr_array((np.ones(ids.size, np.float32), ids.ravel(), indptr), shape=(n_bags, n_columns))
    X.sum_duplicates()
    return X, rng.integers(0, n_classes, n_bags)


def steps(arguments):
    """One partial_fit of 64 rows, and a predict of one, of both solvers and of SGDClassifier."""
    rows = []
    for n_columns in (1_000, 2_000) if arguments.smoke else (10_000, 100_000, 10_000_000):
        for n_classes in (2, 3):
            X, y = _rows(64, 50, n_columns, n_classes)
            runs = {}
            for name, model in {
                "": EmbeddingBagClassifier(16), "sgd": EmbeddingBagClassifier(16, solver="sgd"), "SGD": SGDClassifier(),
            }.items():  # fmt: skip
                model.partial_fit(X, y, classes=np.arange(n_classes))
                runs[f"{name} fit"] = lambda model=model, X=X, y=y: model.partial_fit(X, y) and None
                runs[f"{name} predict"] = lambda model=model, row=X[[0]]: model.predict(row)
            best = {name: seconds * 1e6 for name, seconds in best_of(runs, 10 * arguments.rounds).items()}
            reference = best["SGD fit"]
            rows.append(
                [n_columns, n_classes, best[" fit"], best["sgd fit"], reference, best[" fit"] / reference,
                 best["sgd fit"] / reference, best[" predict"] / best["SGD predict"]]
            )  # fmt: skip
    header = ["columns", "classes", "partial_fit", 'solver="sgd"', "SGDClassifier", "ratio", 'ratio with "sgd"']
    print("\n## One partial_fit of 64 x 50 members, microseconds; and the ratio of predict of one row\n")
    print(table([*header, "predict"], rows))


def streams(arguments):
    """One partial_fit of a large batch over an epoch of its kernel, which nothing is checked for or could be undone."""
    n_bags, columns = (200, (1_000,)) if arguments.smoke else (16_384, (100_000, 1_000_000))
    rows = []
    for n_columns in columns:
        X, y = _rows(n_bags, 50, n_columns, 3)
        for dim in (16,) if arguments.smoke else (16, 64, 128):
            for batch_size in (n_bags, 1024, 16):
                model = EmbeddingBagClassifier(dim, batch_size=batch_size, n_jobs=arguments.threads)
                model.partial_fit(X, y, classes=np.arange(3))
                runs = {
                    "kernel": _trainer_epoch(model, X, y, np.random.default_rng(1).permutation(n_bags)),
                    "partial_fit": lambda model=model, X=X, y=y: model.partial_fit(X, y) and None,
                }
                best = best_of(runs, 4 * arguments.rounds)
                rows.append([n_columns, dim, batch_size, *(seconds * 1e3 for seconds in best.values())])
                rows[-1].append(best["partial_fit"] / best["kernel"])
    header = ["columns", "dim", "mini-batch", "kernel", "partial_fit", "ratio"]
    print(f"\n## One partial_fit of {n_bags} x 50 members, milliseconds\n\n" + table(header, rows))


def read_texts(folder, name):
    """Return texts and labels of the training and the test part."""
    return [_read_part(folder / name, name, part) for part in ("train", "test")]


def _read_part(folder, name, part):
    if name in ("20newsgroups_bydate", "imdb"):
        lines = lzma.decompress((folder / f"{part}.jsonl.xz").read_bytes()).decode().rstrip("\n").split("\n")
        pairs = [(row["label"], row["text"]) for row in map(json.loads, lines)]
    elif name == "trec":
        lines = gzip.decompress((folder / f"TREC.{part}.gz").read_bytes()).decode("latin-1").rstrip("\n").split("\n")
        pairs = [(label.split(":")[0], text) for label, text in (line.strip().split(" ", 1) for line in lines)]
    else:
        lines = gzip.decompress((folder / f"{part}.tsv.gz").read_bytes()).decode().rstrip("\n").split("\n")[1:]
        pairs = [line.split("\t")[::-1] for line in lines]
    return [text for _, text in pairs], [label for label, _ in pairs]


def texts(arguments):
    """Accuracy on the test part and seconds of fit with default parameters, 1-2-grams with min_df 2."""
    if arguments.smoke or not arguments.data.is_dir():
        print(f"\n## Texts: left out ({'smoke run' if arguments.smoke else f'no folder {arguments.data}'})")
        return
    rows, gaps, times = [], [], {}
    for name in ("imdb", "20newsgroups_bydate", "trec", "sst2_glue_phrases"):
        (train, y), (test, y_test) = read_texts(arguments.data, name)
        y, y_test = np.array(y), np.array(y_test)
        for kind, vectorizer in {
            "TF-IDF": TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2),
            "counts": CountVectorizer(ngram_range=(1, 2), min_df=2),
        }.items():
            X, X_test = vectorizer.fit_transform(train), vectorizer.transform(test)
            right = {}
            for estimator in (EmbeddingBagClassifier(), LinearSVC(), SGDClassifier()):
                if isinstance(estimator, EmbeddingBagClassifier):  # compile first
                    estimator.fit(X[:50], y[:50] if len(set(y[:50])) > 1 else np.arange(50) % len(set(y)))
                seconds, hits = [], []
                for seed in range(SEEDS):
                    classifier = clone(estimator).set_params(random_state=seed)
                    start = time.perf_counter()
                    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
                        classifier.fit(X, y)
                    seconds.append(time.perf_counter() - start)
                    hits.append(classifier.predict(X_test) == y_test)
                    if seconds[0] > 3:
                        break
                right[type(estimator).__name__] = np.array(hits)
                times[name, kind, type(estimator).__name__] = min(seconds)
                rows.append([name, kind, type(estimator).__name__, f"{np.mean(hits):.4f}", min(seconds)])
            ours, theirs = right["EmbeddingBagClassifier"], right["LinearSVC"]
            only = (ours & ~theirs[0]).sum(1).mean(), (~ours & theirs[0]).sum(1).mean()
            gaps.append([name, kind, ours.mean() - theirs.mean(), *only])
        if fasttext:
            rows.append([name, "fastText", "bigrams, dim 64, 25 epochs", *_fasttext(train, y, test, y_test, arguments)])
    print("\n## Texts\n\n" + table(["set", "features", "classifier", "test accuracy", "fit, s"], rows))
    header = ["set", "features", "accuracy minus LinearSVC's", "right here only", "right there only"]
    print("\n" + table(header, [[*row[:2], f"{row[2]:+.4f}", *row[3:]] for row in gaps]))
    print(f"Means over {SEEDS} random states; of d texts that only one gets right, d ** 0.5 is chance.")
    for kind in ("TF-IDF", "counts"):
        differences = [row[2] for row in gaps if row[1] == kind]
        print(f"{kind}, accuracy minus LinearSVC's: mean {np.mean(differences):+.4f}, lowest {min(differences):+.4f}")
        ratios = [times[n, k, "EmbeddingBagClassifier"] / times[n, k, "LinearSVC"] for n, k, *_ in gaps if k == kind]
        print(f"{kind}, fit seconds over LinearSVC's: geometric mean {geometric_mean(ratios):.2f}")


def cooking(arguments):
    """Precision at 1 with 736 labels, several per question, against fastText."""
    folder = arguments.data / "cooking_stackexchange"
    if arguments.smoke or not folder.is_dir():
        print(f"\n## Cooking: left out ({'smoke run' if arguments.smoke else f'no folder {folder}'})")
        return
    parts = []
    for part in ("train", "valid"):
        lines = gzip.decompress((folder / f"cooking.{part}.gz").read_bytes()).decode().splitlines()
        words = [line.split() for line in lines]
        parts.append([[" ".join(w for w in line if not w.startswith("__label__")) for line in words],
                      [[w for w in line if w.startswith("__label__")] for line in words]])  # fmt: skip
    (train, y), (test, y_test) = parts
    binarizer = MultiLabelBinarizer(sparse_output=True).fit(y)
    Y = binarizer.transform(y)
    rows = []
    for kind, vectorizer in {
        "TF-IDF": TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2),
        "counts": CountVectorizer(ngram_range=(1, 2), min_df=2),
    }.items():
        X, X_test = vectorizer.fit_transform(train), vectorizer.transform(test)
        start = time.perf_counter()
        classifier = EmbeddingBagClassifier(random_state=0).fit(X, Y)
        seconds = time.perf_counter() - start
        first = binarizer.classes_[classifier.decision_function(X_test).argmax(axis=1)]
        rows.append([kind, "EmbeddingBagClassifier", _precision(first, y_test), seconds])
    if fasttext:
        with tempfile.TemporaryDirectory() as temporary:
            path = os.path.join(temporary, "train.txt")
            Path(path).write_text(
                "".join(" ".join([*labels, text]) + "\n" for text, labels in zip(train, y, strict=True))
            )
            start = time.perf_counter()
            model = fasttext.train_supervised(path, lr=1.0, epoch=25, wordNgrams=2, thread=arguments.threads, verbose=0)
            seconds = time.perf_counter() - start
        first = [model.f.predict(text + "\n", 1, 0.0, "strict")[0][1] for text in test]
        rows.append(["words", "fastText, lr 1.0, 25 epochs, bigrams", _precision(first, y_test), seconds])
    print("\n## Cooking\n\n" + table(["features", "classifier", "precision at 1", "fit, s"], rows))


def _precision(first, labels):
    return f"{np.mean([one in some for one, some in zip(first, labels, strict=True)]):.4f}"


def _fasttext(train, y, test, y_test, arguments):
    lines = (f"__label__{label} {' '.join(text.split())}\n" for text, label in zip(train, y, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "train.txt")
        Path(path).write_text("".join(lines))
        start = time.perf_counter()
        try:
            model = fasttext.train_supervised(
                path, lr=0.5, epoch=25, wordNgrams=2, dim=64, thread=arguments.threads, verbose=0
            )
        except RuntimeError as error:
            return [str(error), time.perf_counter() - start]
        seconds = time.perf_counter() - start
        predicted = [model.f.predict(" ".join(text.split()) + "\n", 1, 0.0, "strict")[0][1] for text in test]
    return [f"{np.mean([p == f'__label__{label}' for p, label in zip(predicted, y_test, strict=True)]):.4f}", seconds]


PARTS = {part.__name__: part for part in (epochs, steps, streams, texts, cooking)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of {', '.join(PARTS)}; all without")
    parser.add_argument("--smoke", action="store_true", help="toy sizes: does every line still run?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    if torch:
        torch.set_num_threads(arguments.threads)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {arguments.threads} threads")
    for name in arguments.parts or PARTS:
        PARTS[name](arguments)


if __name__ == "__main__":
    main()
