"""What several modes and fields cost, and what a factorization machine learns.

    python tests/benchmarks/bench_blocks.py            # a minute
    python tests/benchmarks/bench_blocks.py --smoke    # every line once, on little

Times are interleaved, the best of some rounds, in one thread. Adult census: numbers in bins of equal frequency,
categories one by one; a quarter of the rows, stratified, is the test part; the mean over random states. The parameters
were found by cross-validation on the other part.
"""

import argparse
import csv
import lzma
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder
from timing import best_of, table

from skbag import EmbeddingBagClassifier, EmbeddingBagVectorizer

DATA = Path(__file__).parents[3] / "shared" / "data"
NUMBERS = [0, 4, 10, 11, 12]  # age, years of education, gains, losses, hours
CATEGORIES = [1, 3, 5, 6, 7, 8, 9, 13]
FM = {"mode": "sum", "interaction": "fm"}


def random_rows(n_rows, n_columns, n_fields, per_field):
    """Rows with so many columns of each field, all fields of one width."""
    rng, width = np.random.default_rng(0), n_columns // n_fields
    ids = np.sort(rng.integers(0, width, (n_rows, n_fields, per_field)), axis=2) + np.arange(n_fields)[:, None] * width
    n = n_fields * per_field
    X = csr_array((np.ones(n_rows * n, np.float32), ids.ravel(), np.arange(n_rows + 1) * n), (n_rows, n_columns))
    X.sum_duplicates()
    return X


def cost(n_rows, n_columns, rounds):
    """Return a table of times against those of the mode "mean" without fields."""
    rows, n_fields = [], 10
    X = random_rows(n_rows, n_columns, n_fields, 5)
    y = np.random.default_rng(1).integers(0, 4, n_rows)
    kinds = {
        "mean": {"mode": "mean"},
        "max": {"mode": "max"},
        "sum, mean, sqrtn": {"mode": ["sum", "mean", "sqrtn"]},
        "mean, max": {"mode": ["mean", "max"]},
        "10 fields": {"mode": "mean", "fields": [n_columns // n_fields] * n_fields},
        "interaction": {"mode": "mean", "interaction": "fm"},
    }
    for dim in (16, 64):
        transforms, fits = {}, {}
        for name, params in kinds.items():
            if "interaction" not in params:
                vectorizer = EmbeddingBagVectorizer(dim, random_state=0, **params).fit(X[:1])
                transforms[name] = lambda vectorizer=vectorizer: vectorizer.transform(X)
            model = EmbeddingBagClassifier(dim, random_state=0, max_iter=1, **params)
            fits[name] = lambda model=model: model.fit(X, y)
        for what, contenders in (("transform", transforms), ("fit, one epoch", fits)):
            best = best_of(contenders, rounds)
            rows += [[what, dim, name, best[name] * 1e3, best[name] / best["mean"]] for name in contenders]
    return table(["what", "dim", "modes and fields", "ms", "times mean"], rows)


def adult():
    """Return the columns of the census, and whether the income is above 50,000; None if it is not here."""
    path = DATA / "adult" / "adult.data.xz"
    if not path.exists():
        return None
    with lzma.open(path, "rt", newline="") as file:
        rows = [row for row in csv.reader(file, skipinitialspace=True) if row][1:]
    columns = np.array(rows, dtype=object)
    return columns[:, :-1], np.array([int(">" in income) for income in columns[:, -1]])


def census(n_rows, states):
    """Return a table of accuracies, or why there is none."""
    data = adult()
    if data is None:
        return "no adult census at hand"
    X, y = (array[:n_rows] for array in data)
    X, new_X, y, new_y = train_test_split(X, y, random_state=0, stratify=y)
    columns = ColumnTransformer([
        ("numbers", KBinsDiscretizer(30, subsample=None), NUMBERS),
        ("categories", OneHotEncoder(handle_unknown="ignore", min_frequency=5), CATEGORIES),
    ])  # fmt: skip
    encoded = columns.fit(X.copy(), y).transform(X), columns.transform(new_X)
    models = {
        "LogisticRegression": LogisticRegression(max_iter=1000),
        "linear": EmbeddingBagClassifier(),
        'interaction="fm"': EmbeddingBagClassifier(**FM),
    }
    rows = []
    for name, model in models.items():
        scores = [make_pipeline(model.set_params(random_state=state)).fit(encoded[0], y).score(encoded[1], new_y)
                  for state in states]  # fmt: skip
        rows.append([name, f"{np.mean(scores):.4f}", f"{min(scores):.4f}"])
    return table(["model", "accuracy", "lowest"], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args().smoke
    print(cost(200 if smoke else 20_000, 1_000 if smoke else 100_000, 1 if smoke else 7))
    print()
    print(census(600 if smoke else None, range(1 if smoke else 5)))
