"""Texts to features: HashingNgramVectorizer beside scikit-learn and fastText; and damaged files of fastText.

    python tests/benchmarks/bench_ngrams.py speed [--data FOLDER] [--rows 25000]   # minutes
    python tests/benchmarks/bench_ngrams.py accuracy                               # test parts of three sets of texts
    python tests/benchmarks/bench_ngrams.py fuzz --files 10000 [--model lid.176.ftz]
    python tests/benchmarks/bench_ngrams.py --smoke                                # every line once

`speed` reads the training texts of IMDB, or makes texts up where they are not. Of every side the best of some rounds,
interleaved; seconds of processors, of all threads, say more on a machine with other work. fastText is measured where
its package with training can be imported: "reads" is `epoch=0`, which goes once through the file and counts the words;
"reads and trains" is one epoch of a model of one column, which makes the ids of words and pairs. Both read a file, in
lower case and without punctuation, in one thread.

`fuzz` damages files in six ways, and asks of each that it is read, or refused by a ValueError that says what is wrong,
and that no more than twice its size is asked for meanwhile, and 50 kB. What is read has to predict, too.
"""

import argparse
import json
import lzma
import os
import re
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np
from fasttext_or_none import fasttext
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from timing import table

from skbag import EmbeddingBagClassifier
from skbag.text import HashingNgramVectorizer, read_fasttext

sys.path.insert(0, str(Path(__file__).parents[1]))
from fasttext_files import damaged, some_models

DATA = Path(__file__).parents[3] / "shared" / "data"


def imdb(folder, n, part="train"):
    """Return texts and labels, shuffled; made up where there are none."""
    path = folder / "imdb" / f"{part}.jsonl.xz"
    rng = np.random.default_rng(0)
    if path.exists():
        with lzma.open(path, "rt") as file:
            rows = [json.loads(line) for line in file]
        rows = [rows[k] for k in rng.permutation(len(rows))[:n]]
        return [row["text"] for row in rows], [row["label"] for row in rows]
    print(f"no {path}: made-up texts")
    words = np.array([f"word{k}" for k in range(30_000)])
    return [" ".join(words[(rng.pareto(1, 230) * 10).astype(int) % 30_000]) for _ in range(n)], [
        k % 2 for k in range(n)
    ]


def contenders(texts):
    pairs, parts = {"ngram_range": (1, 2)}, {"char_ngrams": (3, 5)}
    made = {}
    for n_jobs in (1, 2):
        threads = f"{n_jobs} thread{'s' * (n_jobs > 1)}"
        made[f"HashingNgramVectorizer, words, {threads}"] = HashingNgramVectorizer(n_jobs=n_jobs)
        made[f"HashingNgramVectorizer, words and pairs, {threads}"] = HashingNgramVectorizer(n_jobs=n_jobs, **pairs)
        made[f"HashingNgramVectorizer, and characters 3 to 5, {threads}"] = HashingNgramVectorizer(
            n_jobs=n_jobs, **pairs, **parts
        )
    made["HashingVectorizer, words"] = HashingVectorizer()
    made["HashingVectorizer, words and pairs"] = HashingVectorizer(**pairs)
    made["CountVectorizer, words and pairs"] = CountVectorizer(**pairs)
    return {name: lambda model=model: model.fit_transform(texts) for name, model in made.items()}


def of_fasttext(texts, labels, folder):
    """Return what fastText needs for the same texts."""
    if fasttext is None:
        print("fastText cannot be imported, or cannot train")
        return {}
    path = Path(folder, "train.txt")
    lines = (" ".join(re.findall(r"\w\w+", text.lower())) for text in texts)
    path.write_text("".join(f"__label__{label} {line}\n" for label, line in zip(labels, lines, strict=True)))

    options = {"dim": 1, "wordNgrams": 2, "bucket": 2**20, "thread": 1, "verbose": 0}

    def train(epoch):
        with suppress(RuntimeError) if epoch == 0 else nullcontext():  # the mean loss of no steps is NaN: refused
            fasttext.train_supervised(str(path), epoch=epoch, **options)

    runs = {"fastText reads": lambda: train(0), "fastText reads and trains": lambda: train(1)}
    try:
        train(1)
    except RuntimeError as error:
        print(f"fastText's training is left out: {error}")
        del runs["fastText reads and trains"]
    return runs


def speed(texts, labels, rounds):
    n_bytes = sum(len(text.encode()) for text in texts)
    print(f"{len(texts)} texts, {n_bytes / 1e6:.1f} MB, {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as folder:
        runs = {**contenders(texts), **of_fasttext(texts, labels, folder)}
        best = dict.fromkeys(runs, (np.inf, np.inf))
        for k in range(rounds):
            for name, run in runs.items():
                if k and best[name][0] > 20:
                    continue  # one is enough
                start, computed = time.perf_counter(), time.process_time()
                run()
                times = time.perf_counter() - start, time.process_time() - computed
                best[name] = min(best[name][0], times[0]), min(best[name][1], times[1])
    reference = best["HashingVectorizer, words and pairs"][0]
    rows = [[name, s, computed, n_bytes / 1e6 / s, reference / s] for name, (s, computed) in best.items()]
    print(table(["", "seconds", "of processors", "MB per second", "times HashingVectorizer's speed on pairs"], rows))


def accuracy(folder, n):
    texts, labels = imdb(folder, n)
    new, expected = imdb(folder, n, "test")
    rows = []
    for name, hashing in {
        "HashingVectorizer, 2**20": HashingVectorizer(ngram_range=(1, 2)),
        "2**20 columns": HashingNgramVectorizer(2**20, ngram_range=(1, 2)),
        "2**18 columns": HashingNgramVectorizer(2**18, ngram_range=(1, 2)),
        "2**16 columns": HashingNgramVectorizer(2**16, ngram_range=(1, 2)),
        "2**20 columns, characters 3 to 5 too": HashingNgramVectorizer(2**20, ngram_range=(1, 2), char_ngrams=(3, 5)),
    }.items():
        start = time.perf_counter()
        X = hashing.transform(texts)
        hashed = time.perf_counter() - start
        start = time.perf_counter()
        model = EmbeddingBagClassifier(random_state=0, n_jobs=2).fit(X, labels)
        rows.append([name, f"{model.score(hashing.transform(new), expected):.4f}", hashed, time.perf_counter() - start])
    print(table(["IMDB", "accuracy", "seconds of hashing", "of fit"], rows))


def fuzz(n_files, model):
    originals = [model.read_bytes()] if model else []
    originals += [small.tobytes() for small in some_models()]
    rng, messages, worst, most = np.random.default_rng(0), Counter(), 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.bin")
        path.write_bytes(originals[-1])
        read_fasttext(path)  # imports and compiles
        for k in range(n_files):
            data = damaged(originals[k % len(originals)], rng)
            path.write_bytes(data)
            tracemalloc.start()
            read = None
            try:
                read = read_fasttext(path)
                message = "(read)"
            except ValueError as error:
                message = re.sub(r"[-\d.e+]*\d|nan|-?inf", "N", str(error).removeprefix(repr(str(path))))
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            messages[re.sub(r"'.*?'|b\".*?\"", "...", message)] += 1
            excess = peak - 2 * len(data)
            worst, most = max(worst, peak / max(1, len(data))) if len(data) > 50_000 else worst, max(most, excess)
            if excess > 50_000:
                raise AssertionError(f"file {k} of {len(data)} bytes took {peak} bytes: {message}")
            if read is not None and k % 5 == 0:
                use(read)
    print(table(["files", "what became of them"], [[n, message] for message, n in messages.most_common()]))
    print(f"\nmost memory over twice the file: {most} bytes; over files of 50 kB and more, {worst:.2f} times the file")


def use(model):
    """Predict; a model that was damaged may still refuse to."""
    model.word_vectors(["cat", "中文"])
    try:
        model.to_pipeline().predict_proba(["the cat sat", "中文"])
    except ValueError:
        return


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="speed", choices=["speed", "accuracy", "fuzz"])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--rows", type=int, default=25_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--model", type=Path, help="a file that is damaged beside small ones")
    parser.add_argument("--smoke", action="store_true", help="does every line still run?")
    options = parser.parse_args()
    if options.smoke:
        speed(*imdb(Path("nowhere"), 50), 1)
        accuracy(Path("nowhere"), 50)
        fuzz(30, None)
    elif options.what == "speed":
        speed(*imdb(options.data, options.rows), options.rounds)
    elif options.what == "accuracy":
        accuracy(options.data, options.rows)
    else:
        fuzz(options.files, options.model)


if __name__ == "__main__":
    main()
