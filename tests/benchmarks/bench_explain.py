"""What explaining costs, how large a saved model is, and what four processes take that share one.

    python tests/benchmarks/bench_explain.py            # some minutes, and 1 GB of disk
    python tests/benchmarks/bench_explain.py --smoke    # every line once, on little

Contributions are timed against `predict` on the same rows, interleaved, the best of some rounds. The memory is the
proportional set size of /proc (Linux): of processes that were started one by one, and hold the model while all are
measured. The labels of cooking are those that ``threshold="expected_f1"`` gives on the test part.
"""

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import joblib
import numpy as np
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer
from timing import best_of, table

from skbag import EmbeddingBagClassifier

DATA = Path(__file__).parents[3] / "shared" / "data"

PREDICT = r"""
import os, sys
import joblib, numpy as np
from scipy.sparse import csr_array
model = joblib.load(sys.argv[1], mmap_mode="r")
n, n_features, fork = int(sys.argv[2]), model.n_features_in_, int(sys.argv[4])

def predict(seed, n_batches):
    rng = np.random.default_rng(seed)
    for _ in range(n_batches):  # of rows whose columns are all equally frequent: every page of the table is read
        ids = rng.integers(0, n_features, n * 100, dtype=np.int32)
        X = csr_array((np.ones(n * 100, np.float32), ids, np.arange(n + 1, dtype=np.int32) * 100), (n, n_features))
        model.predict(X)

if fork:
    predict(0, 1)
    children = []
    for seed in range(fork):
        child = os.fork()
        if not child:
            break
        children.append(child)
    else:
        sys.stdin.read()
        sys.exit()
    predict(seed, 40)
    os.write(1, b"%d\n" % os.getpid())  # whole: print may write the end of the line by itself
    sys.stdin.read()
    os._exit(0)
predict(int(sys.argv[3]), 40)
os.write(1, b"%d\n" % os.getpid())  # whole: print may write the end of the line by itself
sys.stdin.read()
"""


def zipf_rows(n_rows, n_features, length, seed=0):
    """Rows of words that are as unequally frequent as those of a text."""
    rng = np.random.default_rng(seed)
    ids = (n_features ** rng.random((n_rows, length))).astype(np.int64) - 1
    X = csr_array((np.ones(ids.size, np.float32), ids.ravel(), np.arange(n_rows + 1) * length), (n_rows, n_features))
    X.sum_duplicates()
    return X


def contributions(smoke):
    n_rows, n_features, rounds = (200, 1000, 1) if smoke else (10_000, 100_000, 7)
    X, rows = zipf_rows(n_rows, n_features, 150), []
    for n_classes in (2, 20):
        y = np.arange(n_rows) % n_classes
        for mode in ("sqrtn", "mean", "max"):
            model = EmbeddingBagClassifier(mode=mode, max_iter=1, random_state=0).fit(X, y)
            chosen = model.predict(X)
            calls = {
                "predict": lambda model=model: model.predict(X),
                "of the predicted class": lambda model=model, chosen=chosen: model.contributions(X, chosen),
                "of one class": lambda model=model: model.contributions(X, 1),
                "of all classes": lambda model=model: model.contributions(X),
            }
            best = best_of(calls, rounds)
            predict = best["predict"]
            dim = model.embeddings_.shape[1]
            rows += [
                [f"{n_classes} classes, {mode}, {dim} columns", name, 1e3 * time, time / predict]
                for name, time in best.items()
            ]
    print(table([f"{n_rows} rows, {X.nnz} members", "contributions", "milliseconds", "times predict"], rows))


def sizes(smoke):
    texts = [
        "the cat sat on the mat",
        "dogs and cats chase mice",
        "stocks fell sharply today",
        "markets and bonds rose",
    ]
    n_features, rows = 2**12 if smoke else 2**18, []
    X = HashingVectorizer(n_features=n_features).transform(texts * 5)
    y = ["pets", "pets", "money", "money"] * 5
    with tempfile.TemporaryDirectory() as folder:
        for model in (EmbeddingBagClassifier(random_state=0), LogisticRegression(max_iter=10)):
            for compress in (0, 3):
                path = Path(folder) / "model.joblib"
                joblib.dump(model.fit(X, y), path, compress=compress)
                rows.append([type(model).__name__, compress, path.stat().st_size / 1e3])
    print(
        "\n" + table([f"{n_features} hashed columns, {len(np.unique(X.indices))} of them used", "compress", "kB"], rows)
    )


def sharing(smoke):
    n_features, n_rows, n_processes = (10_000, 10, 2) if smoke else (1 << 22, 1000, 4)
    model = EmbeddingBagClassifier(64, max_iter=1, random_state=0).fit(csr_array(np.eye(2, n_features)), [0, 1])
    rng = np.random.default_rng(0)
    model.embeddings_ = rng.standard_normal((n_features, 64), dtype=np.float32)  # so that all of it is stored
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.joblib")
        joblib.dump(model, path)
        del model
        megabytes = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        rows = []
        for fork in (0, n_processes):
            each = measured([path, str(n_rows)], 1 if fork else n_processes, fork)
            how = "forked from one, which counts too" if fork else "started one by one"
            rows.append([f"{n_processes}, {how}", megabytes, sum(each), max(each)])
    print("\n" + table(["processes", "model on disk, MB", "proportional set size together, MB", "largest, MB"], rows))


def measured(arguments, n_started, fork):
    """Megabytes of each process, while all have predicted and hold the model."""
    processes, pipes = [], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    try:
        for seed in range(n_started):
            command = [sys.executable, "-c", PREDICT, *arguments, str(seed), str(fork)]
            processes.append(subprocess.Popen(command, **pipes))
        said = [int(process.stdout.readline()) for process in processes for _ in range(max(1, fork))]
        return [proportional_size(pid) for pid in {*said, *(process.pid for process in processes)}]
    finally:
        for process in processes:
            process.communicate()


def proportional_size(pid):
    """Megabytes of a process, each page divided by the number of processes that share it."""
    path = Path(f"/proc/{pid}/smaps_rollup")
    if not path.exists():
        return float("nan")
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith("Pss:")) / 1e3


def labels(smoke):
    folder = DATA / "cooking_stackexchange"
    if not folder.exists():
        print(f"\nno {folder}")
        return
    texts, labels_of = {}, {}
    for part in ("train", "valid"):
        lines = gzip.decompress((folder / f"cooking.{part}.gz").read_bytes()).decode().splitlines()
        words = [line.split() for line in (lines[:300] if smoke else lines)]
        texts[part] = [" ".join(w for w in some if not w.startswith("__label__")) for some in words]
        labels_of[part] = [[w for w in some if w.startswith("__label__")] for some in words]
    tfidf = TfidfVectorizer(sublinear_tf=True)
    binarizer = MultiLabelBinarizer().fit(labels_of["train"])
    known = set(binarizer.classes_)
    Y = {part: binarizer.transform([[w for w in some if w in known] for some in labels_of[part]]) for part in texts}
    missed = sum(w not in known for some in labels_of["valid"] for w in some)  # count as not found
    X = {"train": tfidf.fit_transform(texts["train"]), "valid": tfidf.transform(texts["valid"])}
    rows = []
    for threshold in (0.5, 0.1, "expected_f1"):
        scores, empty = [], []
        for seed in range(1 if smoke else 3):
            model = EmbeddingBagClassifier(threshold=threshold, random_state=seed).fit(X["train"], Y["train"])
            found = model.predict(X["valid"])
            hits = (found & Y["valid"]).sum()
            scores.append(2 * hits / (found.sum() + Y["valid"].sum() + missed))
            empty.append((found.sum(axis=1) == 0).mean())
        by_row = f1_score(Y["valid"], found, average="samples", zero_division=0)
        rows.append([str(threshold), f"{np.mean(scores):.3f}", f"{by_row:.3f}", f"{100 * np.mean(empty):.1f}%"])
    print("\n" + table(["cooking, threshold", "micro F1", "F1 of rows", "rows without a label"], rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="does every line still run?")
    smoke = parser.parse_args().smoke
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    contributions(smoke)
    sizes(smoke)
    sharing(smoke)
    labels(smoke)


if __name__ == "__main__":
    main()
