"""What the classifier learns by default, beside other classifiers, on the training parts of labelled sets of texts.

    python tests/benchmarks/bench_learning.py --smoke                     # every line once, on made-up texts
    python tests/benchmarks/bench_learning.py run --data FOLDER --results FILE.jsonl
    python tests/benchmarks/bench_learning.py run --results FILE.jsonl --sets trec subj --rows 12000 1000 \\
        --baselines LinearSVC --grid '{"learning_rate_init": [0.022, 0.1], "embedding_dim": [64]}'
    python tests/benchmarks/bench_learning.py report --results FILE.jsonl

`run` adds one line to FILE.jsonl for each fit, and leaves out what is there: a run that was stopped goes on. `--grid`
is a dict of lists, or a list of them, of parameters of EmbeddingBagClassifier; the defaults are always measured too. A
value that begins with "=" is a formula of n_classes and n_rows, as "=0.1 * n_classes ** -0.5". fastText is measured
where it can be imported; it gets texts, shuffled and in lower case.

`report` compares with LinearSVC, fold by fold. **Leaving sets out**: of all settings in the file the one with the best
mean over the other sets is scored on the set that was left out. `--boundaries 2` chooses apart for sets of at most 2
classes and for the others. Settings that were themselves found on these folds look better than they are: compare them
on new ones, with one more of --repeats. Log losses are means of the folds that each classifier has.

The sets are no part of the project; without their folder `run` says so and does nothing. Test parts are never read.
Classes with fewer rows than there are folds are left out, and of several labels of one text only the first counts.
sst2_glue_phrases has phrases of one sentence in several folds: accuracies are too high there, differences may be.
"""

import argparse
import ast
import csv
import gzip
import json
import lzma
import math
import os
import platform
import re
import tempfile
import time
import warnings
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from fasttext_or_none import fasttext
from joblib import Memory
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterGrid, StratifiedKFold, train_test_split
from sklearn.naive_bayes import ComplementNB
from sklearn.svm import LinearSVC
from timing import geometric_mean, table

from skbag import EmbeddingBagClassifier

DATA = Path(__file__).parents[3] / "shared" / "data"
REFERENCE = "LinearSVC"
OURS = "EmbeddingBagClassifier"
KINDS = {
    "tfidf": TfidfVectorizer(ngram_range=(1, 2)),
    "counts": CountVectorizer(ngram_range=(1, 2)),
    "binary": CountVectorizer(ngram_range=(1, 2), binary=True),
    "hashed": HashingVectorizer(ngram_range=(1, 2), n_features=2**18),
}
MOST_COEFFICIENTS = 1e7  # of a LogisticRegression: more take minutes


# Sets: what is read is [(label, text), ...]


def _open(path, encoding="utf-8"):
    opened = lzma.open if path.suffix == ".xz" else gzip.open
    return opened(path, "rt", encoding=encoding, newline="\n")


def _jsonl(file):
    return [(row["label"], row["text"]) for row in map(json.loads, file)]


def _label_first(file):
    return [line.rstrip("\n").split("\t", 1) for line in file]


def _label_last(file):
    return [line.rstrip("\n").rsplit("\t", 1)[::-1] for line in list(file)[1:]]


def _banking(file):
    return [row[::-1] for row in list(csv.reader(file))[1:]]


def _spam(file):
    return [row[:2] for row in list(csv.reader(file))[1:]]


def _trec(file):
    return [(label.split(":")[0], text) for label, text in _trec_fine(file)]


def _trec_fine(file):
    return [line.strip().split(" ", 1) for line in file]


def _cooking(file):
    return [(line.split()[0], re.sub(r"__label__\S+\s*", "", line)) for line in file]


SETS = {  # name: (file in the folder before the colon, how to read it, encoding)
    "webkb": ("train.tsv.gz", _label_first),
    "custrev": ("train.tsv.gz", _label_first),
    "tweet_emotion": ("train.tsv.gz", _label_first),
    "trec": ("TREC.train.gz", _trec, "latin-1"),
    "trec:fine": ("TREC.train.gz", _trec_fine, "latin-1"),
    "reuters_r8": ("train.txt.gz", _label_first),
    "sms_spam": ("spam.csv.gz", _spam, "latin-1"),
    "mr_polarity": ("train.tsv.gz", _label_first),
    "subj": ("train.tsv.gz", _label_first),
    "mpqa": ("train.tsv.gz", _label_first),
    "stsa_fine": ("train.tsv.gz", _label_first),
    "tweet_hate": ("train.tsv.gz", _label_first),
    "banking77": ("train.csv.gz", _banking),
    "sst2_glue_phrases": ("train.tsv.gz", _label_last),
    "cooking_stackexchange": ("cooking.train.gz", _cooking),
    "20newsgroups_bydate": ("train.jsonl.xz", _jsonl),
    "imdb": ("train.jsonl.xz", _jsonl),
}


def read_set(folder, name):
    """Return the texts and the labels of a training part."""
    file, read, *encoding = SETS[name]
    with _open(folder / name.partition(":")[0] / file, *encoding) as opened:
        labels, texts = zip(*read(opened), strict=True)
    return np.array(texts, dtype=object), np.array([str(label).strip() for label in labels])


def made_up(n_classes, n_rows=240, n_words=150, length=8):
    """Return texts and labels of no meaning, for --smoke: half of the words are drawn for all classes alike."""
    rng = np.random.default_rng(n_classes)
    common = 1 / np.arange(1, n_words + 1)
    labels = rng.integers(0, n_classes, n_rows)
    of_class = np.array([rng.permutation(common) for _ in range(n_classes)]) + common
    of_class /= of_class.sum(axis=1, keepdims=True)
    words = [rng.choice(n_words, length, p=of_class[label]) for label in labels]
    return np.array([" ".join(f"w{i}" for i in ids) for ids in words], dtype=object), labels.astype(str)


def at_most(n_rows, texts, labels, seed, n_folds):
    """Return n_rows rows at most, drawn by the shares of the classes if they can be, of classes that fill all folds."""
    for _ in range(2):  # classes may become too small
        classes, counts = np.unique(labels, return_counts=True)
        kept = np.isin(labels, classes[counts >= n_folds])
        texts, labels, n_classes = texts[kept], labels[kept], np.count_nonzero(counts >= n_folds)
        if len(texts) > n_rows:
            by_shares = labels if n_classes <= min(n_rows, len(texts) - n_rows) else None
            chosen, _ = train_test_split(
                np.arange(len(texts)), train_size=n_rows, stratify=by_shares, random_state=seed
            )
            texts, labels = texts[chosen], labels[chosen]
    return texts, labels


class Fold(NamedTuple):
    """What is trained on and tested with, as features and as texts."""

    X: object
    y: np.ndarray
    X_test: object
    y_test: np.ndarray
    texts: np.ndarray
    texts_test: np.ndarray


def make_fold(source, n_rows, kind, repeat, n_folds, fold):
    """Return one fold; the vectorizer sees its training rows only."""
    texts, labels = source() if callable(source) else read_set(*source)
    texts, labels = at_most(n_rows, texts, labels, repeat, n_folds)
    splits = StratifiedKFold(n_folds, shuffle=True, random_state=repeat).split(texts, labels)
    train, test = list(splits)[fold]
    vectorizer = KINDS[kind]
    X, X_test = vectorizer.fit_transform(texts[train]), vectorizer.transform(texts[test])
    return Fold(X, labels[train], X_test, labels[test], texts[train], texts[test])


# Classifiers


class BestC(ClassifierMixin, BaseEstimator):
    """LogisticRegression with the C of the lowest log loss on a quarter of the rows."""

    def fit(self, X, y):
        rows, held_out = train_test_split(np.arange(len(y)), test_size=0.25, random_state=0)
        losses = {}
        for C in (0.3, 1, 3, 10, 30, 100, 300):
            losses[C] = log_loss(LogisticRegression(C=C, max_iter=300).fit(X[rows], y[rows]), X[held_out], y[held_out])
            if losses[C] > min(losses.values()):
                break  # it has one valley
        self.best_ = LogisticRegression(C=min(losses, key=losses.get), max_iter=300).fit(X, y)
        self.classes_ = self.best_.classes_
        return self

    def predict(self, X):
        return self.best_.predict(X)

    def predict_log_proba(self, X):
        return self.best_.predict_log_proba(X)


class FastText(ClassifierMixin, BaseEstimator):
    """fastText on texts, as its tutorial has it."""

    def fit(self, texts, y):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "train.txt"
            order = np.random.default_rng(0).permutation(len(y))
            labels = np.unique(y, return_inverse=True)[1]
            path.write_text("".join(f"__label__{labels[i]} {self._line(texts[i])}" for i in order), encoding="utf-8")
            self.model_ = fasttext.train_supervised(
                str(path), lr=0.5, epoch=25, wordNgrams=2, bucket=200_000, thread=1, verbose=0
            )
        self.classes_ = np.unique(y)
        return self

    @staticmethod
    def _line(text):
        return " ".join(re.findall(r"\w+|[^\w\s]", text.lower())) + "\n"

    def predict_log_proba(self, texts):
        scores = np.full((len(texts), len(self.classes_)), 1e-15)
        for row, text in zip(scores, texts, strict=True):
            for score, label in self.model_.f.predict(self._line(text), -1, 0.0, "strict"):
                row[int(label.removeprefix("__label__"))] = score
        return np.log(scores)

    def predict(self, texts):
        return self.classes_[self.predict_log_proba(texts).argmax(axis=1)]


BASELINES = {
    REFERENCE: LinearSVC,
    "LogisticRegression C=1": lambda: LogisticRegression(max_iter=300),
    "LogisticRegression best C": BestC,
    "ComplementNB": ComplementNB,
} | ({"fastText": FastText} if fasttext else {})


def log_loss(classifier, X, y):
    """Return minus the mean log probability of the labels, each at least 1e-15; NaN without probabilities."""
    if not hasattr(classifier, "predict_log_proba"):
        return math.nan
    of_label = classifier.predict_log_proba(X)[np.arange(len(y)), np.searchsorted(classifier.classes_, y)]
    return float(-np.maximum(of_label, math.log(1e-15)).mean())


def settings_of(grid):
    """Return the settings of EmbeddingBagClassifier by their names; the defaults first."""
    return {f"{OURS} {json.dumps(s, sort_keys=True)}": s for s in ({}, *(ParameterGrid(grid) if grid else ()))}


def ours(setting, n_classes, n_rows):
    """Return a function that makes the classifier with a setting, whose formulas are worked out for this set."""
    names = {"n_classes": n_classes, "n_rows": n_rows, "min": min, "max": max, "sqrt": math.sqrt, "log": math.log}
    values = {
        name: eval(value[1:], {"__builtins__": {}}, names) if str(value).startswith("=") else value
        for name, value in setting.items()
    }
    return lambda: EmbeddingBagClassifier(n_jobs=1, **values)


def left_out(model, fold, n_classes):
    """Return whether a baseline is left out: it takes too long, or does not take such values."""
    long = model.startswith("LogisticRegression") and fold.X.shape[1] * n_classes > MOST_COEFFICIENTS
    return long or (model == "ComplementNB" and fold.X.min() < 0)


def measure(make, fold, repeat):
    """Fit, and return what one line of the results says."""
    classifier = make()
    texts = isinstance(classifier, FastText)
    X, X_test = (fold.texts, fold.texts_test) if texts else (fold.X, fold.X_test)
    if "random_state" in classifier.get_params():
        classifier.set_params(random_state=repeat)
    with warnings.catch_warnings(action="ignore"):
        start = time.perf_counter()
        classifier.fit(X, fold.y)
        seconds = time.perf_counter() - start
        right = float(np.mean(classifier.predict(X_test) == fold.y_test))
        return {"accuracy": right, "log_loss": log_loss(classifier, X_test, fold.y_test), "seconds": seconds}


# Results


KEYS = "set", "rows", "kind", "repeat", "fold", "model"


def read_results(path):
    """Return {key: line} of a file of results, {} without a file. A line that a kill cut short is passed over."""
    found = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            found[tuple(row[key] for key in KEYS)] = row
    return found


def run(sources, arguments, models):
    """Measure what the file of results does not have. models(n_classes, n_rows) : {name: function that makes it}."""
    done = read_results(arguments.results)
    make = Memory(arguments.features, verbose=0).cache(make_fold)
    compiled = set()
    with arguments.results.open("a", encoding="utf-8") as file:
        if file.tell():
            file.write("\n")  # the last line may have been cut short
        for name, n_rows, n_classes, n_train in sizes(sources, arguments):
            made = models(n_classes, n_train)
            for kind, repeat, k in product(arguments.kinds, range(arguments.repeats), range(arguments.folds)):
                key = name, n_rows, kind, repeat, k
                todo = [model for model in made if (*key, model) not in done]
                fold = make(sources[name], n_rows, kind, repeat, arguments.folds, k) if todo else None
                for model in todo:
                    if left_out(model, fold, n_classes):
                        continue
                    if model.startswith(OURS) and model not in compiled:
                        made[model]().set_params(max_iter=1).fit(fold.X, fold.y)
                        compiled.add(model)
                    line = dict(zip(KEYS, (*key, model), strict=True)) | {"n_classes": n_classes}
                    file.write(json.dumps(line | measure(made[model], fold, repeat)) + "\n")
                    file.flush()
            print(f"{name}, {n_rows} rows: done", flush=True)


def sizes(sources, arguments):
    """Yield (set, most rows, number of classes, number of training rows); a size that is the whole set but once."""
    for name, source in sources.items():
        texts, labels = source() if callable(source) else read_set(*source)
        for n_rows in sorted(arguments.rows, reverse=True):
            if n_rows == max(arguments.rows) or n_rows < len(texts):
                some, known = at_most(n_rows, texts, labels, 0, arguments.folds)
                yield name, n_rows, len(set(known)), len(some) * (arguments.folds - 1) // arguments.folds


class Comparison(NamedTuple):
    """Per set and model, over folds and repeats: means, of seconds the median; n_classes: {set: number}."""

    accuracy: dict
    minus_reference: dict
    log_loss: dict
    seconds: dict
    n_classes: dict


def compare(results, n_rows, kind):
    """Compare with the reference on the folds that both have seen."""
    chosen = [row for row in results.values() if row["rows"] == n_rows and row["kind"] == kind]
    reference = {(r["set"], r["repeat"], r["fold"]): r for r in chosen if r["model"] == REFERENCE}
    rows = {}
    for row in chosen:
        there = reference.get((row["set"], row["repeat"], row["fold"]))
        if there is not None:
            rows.setdefault(row["set"], {}).setdefault(row["model"], []).append(
                (row["accuracy"], 100 * (row["accuracy"] - there["accuracy"]), row["log_loss"],
                 row["seconds"] / there["seconds"])
            )  # fmt: skip
    means = {
        name: {model: (*np.mean(values, axis=0)[:3], np.median(values, axis=0)[3]) for model, values in of.items()}
        for name, of in rows.items()
    }
    parts = [{n: {m: float(v[i]) for m, v in of.items()} for n, of in means.items()} for i in range(4)]
    return Comparison(*parts, {row["set"]: row["n_classes"] for row in chosen})


def leave_sets_out(gains, groups):
    """Choose on the other sets of the same group and score on the set left out: {set: (model, score)}.

    gains : {set: {model: points}}; groups : {set: group}. Sets made of the same texts, "a" and "a:b", go together. Only
    models that all sets of a group have are candidates.
    """
    chosen = {}
    for name in gains:
        of_group = [other for other in gains if groups[other] == groups[name]]
        models = set.intersection(*(set(gains[other]) for other in of_group))
        others = [other for other in of_group if other.partition(":")[0] != name.partition(":")[0]]
        if others and models:
            best = max(sorted(models), key=lambda model: np.mean([gains[other][model] for other in others]))
            chosen[name] = best, gains[name][best]
    return chosen


def report(arguments):
    """Print the tables for every kind and number of rows in the file."""
    results = read_results(arguments.results)
    for n_rows, kind in sorted({(row["rows"], row["kind"]) for row in results.values()}, key=str, reverse=True):
        comparison = compare(results, n_rows, kind)
        if not comparison.accuracy:
            continue
        models = sorted({model for of in comparison.accuracy.values() for model in of})
        numbers = {model: f"[{i}]" for i, model in enumerate(m for m in models if m.startswith(OURS))}
        print(f"\n# At most {n_rows} rows, {kind}\n")
        print("\n".join(f"{number} {model}" for model, number in numbers.items()))
        _differences(comparison, models, numbers)
        _log_losses(comparison, models, numbers)
        _left_out(comparison, arguments, numbers)


def _differences(comparison, models, numbers):
    others = [model for model in models if model != REFERENCE]
    rows = [
        [name, str(comparison.n_classes[name]), f"{of[REFERENCE]:.4f}"]
        + [_signed(comparison.minus_reference[name].get(model)) for model in others]
        for name, of in comparison.accuracy.items()
    ]
    columns = [[of[m] for of in comparison.minus_reference.values() if m in of] for m in others]
    rows.append(["mean", "", "", *(_signed(np.mean(column)) for column in columns)])
    rows.append(["worst", "", "", *(_signed(min(column)) for column in columns)])
    rows.append(["sets", "", "", *(str(len(column)) for column in columns)])
    ratios = [geometric_mean(of[m] for of in comparison.seconds.values() if m in of) for m in others]
    rows.append(["fit time / LinearSVC's, geometric mean", "", "", *(f"{ratio:.2f}" for ratio in ratios)])
    print("\n## Accuracy; points more than LinearSVC\n")
    print(table(["set", "classes", REFERENCE, *(numbers.get(m, m) for m in others)], rows))


def _log_losses(comparison, models, numbers):
    with_them = [m for m in models if any(not math.isnan(of.get(m, math.nan)) for of in comparison.log_loss.values())]
    rows = [[name, *(f"{of[m]:.4f}" if m in of else "" for m in with_them)] for name, of in comparison.log_loss.items()]
    whole = [of for of in comparison.log_loss.values() if all(model in of for model in with_them)]
    if whole:
        rows.append([f"mean of {len(whole)}", *(f"{np.mean([of[m] for of in whole]):.4f}" for m in with_them)])
    print("\n## Log loss\n\n" + table(["set", *(numbers.get(m, m) for m in with_them)], rows))


def _left_out(comparison, arguments, numbers):
    gains = {
        name: {model: gain for model, gain in of.items() if model in numbers}
        for name, of in comparison.minus_reference.items()
    }
    for boundaries in ([], arguments.boundaries) if arguments.boundaries else ([],):
        groups = {name: int(np.searchsorted(boundaries, n)) for name, n in comparison.n_classes.items()}
        chosen = leave_sets_out(gains, groups)
        if chosen:
            apart = f", chosen apart by numbers of classes up to {boundaries}" if boundaries else ""
            print(f"\n## Chosen on the other sets{apart}\n")
            print(table(["set", "setting", "points"], [[n, numbers[m], _signed(v)] for n, (m, v) in chosen.items()]))
            values = [value for _, value in chosen.values()]
            print(f"\nmean {_signed(np.mean(values))}, worst {_signed(min(values))}, {len(values)} sets")


def _signed(value):
    return "" if value is None else f"{value:+.2f}"


def smoke(arguments):
    """Run everything on made-up texts."""
    with tempfile.TemporaryDirectory() as folder:
        arguments.results, arguments.features = Path(folder) / "results.jsonl", None
        arguments.rows, arguments.kinds, arguments.repeats, arguments.folds = [240, 120], list(KINDS), 1, 2
        arguments.boundaries = [2]
        KINDS["hashed"].set_params(n_features=2**9)
        grid = {"learning_rate_init": [0.01, "=0.05 * n_classes ** 0.5"], "max_iter": [1]}
        arguments.grid, arguments.baselines = grid, list(BASELINES)
        sources = {name: lambda n=n: made_up(n) for name, n in {"two": 2, "too": 2, "more": 3, "more:fine": 6}.items()}
        run(sources, arguments, lambda *size: models_of(arguments, *size))
        run(sources, arguments, lambda *size: models_of(arguments, *size))  # finds all there
        report(arguments)


def models_of(arguments, n_classes, n_rows):
    """Return what the arguments ask for: {name: function that makes it}."""
    baselines = {name: BASELINES[name] for name in arguments.baselines}
    return baselines | {name: ours(s, n_classes, n_rows) for name, s in settings_of(arguments.grid).items()}


def sources_of(arguments):
    """Return where the sets are, {name: (folder, name)}; of what is missing a line is printed."""
    missing = [name for name in arguments.sets if not (arguments.data / name.partition(":")[0]).is_dir()]
    if missing:
        print(f"Left out, not in {arguments.data}: {', '.join(missing)}")
    return {name: (arguments.data, name) for name in arguments.sets if name not in missing}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", nargs="?", choices=("run", "report"))
    parser.add_argument("--smoke", action="store_true", help="toy sizes: does every line still run?")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--results", type=Path, help="file of results, one JSON object per line")
    parser.add_argument("--features", type=Path, help="folder that keeps features from run to run")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=SETS, metavar="SET")
    parser.add_argument("--rows", nargs="*", type=int, default=[12_000], help="at most so many, drawn at random")
    parser.add_argument("--kinds", nargs="*", default=["tfidf"], choices=KINDS)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=1, help="random states, of rows, folds and classifiers")
    parser.add_argument("--baselines", nargs="*", default=list(BASELINES), choices=BASELINES, metavar="BASELINE")
    parser.add_argument("--grid", type=ast.literal_eval, help="parameters of EmbeddingBagClassifier: lists of values")
    parser.add_argument("--boundaries", nargs="*", type=int, default=[], help="numbers of classes, for report")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, 1 thread")
    if arguments.smoke:
        smoke(arguments)
        return
    if arguments.step is None or arguments.results is None:
        sources = sources_of(arguments)
        print(f"Sets at hand: {', '.join(sources) or 'none'}. Next: run --results FILE, then report --results FILE.")
        return
    if arguments.step == "run":
        run(sources_of(arguments), arguments, lambda *size: models_of(arguments, *size))
    else:
        report(arguments)


if __name__ == "__main__":
    main()
