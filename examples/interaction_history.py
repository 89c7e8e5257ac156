"""
Interaction histories: what comes next
======================================

A recommender without a training loop. A customer is the list of articles that he or she
took, an article is a row of a table, and the customer's features are the pooled rows.
Customers that were never seen before need no new fit.

The data is real and on every machine: a "customer" is a function of Python's standard
library, and its "articles" are the names that its code reads, in the order of first
use. The task is to guess the last name of a history from the ones before it.
"""

# %%
# Histories
# ---------
# Three quarters of the functions teach the table of names. Of the others, everything
# but the last name is known.

import sysconfig
import warnings
from collections import Counter
from itertools import chain
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.model_selection import train_test_split

from skbag import EmbeddingBagVectorizer, bags_to_csr, embedding_bag


def codes(code):
    """Yield the code of a module and of all functions in it."""
    yield code
    for constant in code.co_consts:
        if hasattr(constant, "co_consts"):
            yield from codes(constant)


def histories(min_length=5):
    """Return what functions of the standard library read, each list of names once."""
    found = {}
    folder = Path(sysconfig.get_path("stdlib"))
    for path in sorted([*folder.glob("*.py"), *folder.glob("[a-z]*/*.py")]):
        if {"test", "tests", "idlelib", "lib2to3", "site-packages"} & {
            *path.parts[-2:-1]
        }:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old ways to write Python
            module = compile(path.read_bytes(), str(path), "exec")
        for code in codes(module):
            if len(code.co_names) >= min_length and code.co_name != "<module>":
                found[code.co_names] = None
    return list(found)


train, test = train_test_split(histories(), test_size=0.25, random_state=0)
count = Counter(chain.from_iterable(train))
names = np.array(sorted(name for name in count if count[name] >= 5))
number = {name: i for i, name in enumerate(names)}


def layout(histories):
    """Return all ids in a row, where each history starts, and last how many ids."""
    offsets = np.cumsum([0, *map(len, histories)])
    return np.fromiter(chain.from_iterable(histories), np.int64, offsets[-1]), offsets


train, test = (
    [[number[name] for name in history if name in number] for history in part]
    for part in (train, test)
)
test = [history for history in test if len(history) >= 4]
past = [history[:-1] for history in test]
last = np.array([history[-1] for history in test])
print(f"{len(train)} histories to learn from, {len(test)} to guess, {len(names)} names")

# %%
# A table of names
# ----------------
# ``bags_to_csr`` turns ids and offsets into a sparse matrix. TruncatedSVD factorises
# it; frequent names are damped first, or they would fill the table.

X = bags_to_csr(*layout(train), num_embeddings=len(names), include_last_offset=True)
popularity = X.sum(axis=0)
damping = popularity**-0.3
svd = TruncatedSVD(128, random_state=0).fit(X.multiply(damping).tocsr())
table = np.ascontiguousarray(svd.components_.T, dtype=np.float32)

# %%
# Pool, and rank
# --------------
# The features of a history are the weighted mean of its rows. The score of a name is
# the product of its row with them. A guess is right when the last name is among the ten
# best that the history does not have yet.

ids, offsets = layout(past)
weights = damping[ids]
features = embedding_bag(
    ids, table, offsets, include_last_offset=True, per_sample_weights=weights
)


def hits(scores, n_best=10):
    """Return the share of histories whose last name is among the best new ones."""
    scores = np.array(scores, dtype=np.float64)
    for row, history in zip(scores, past, strict=True):
        row[history] = -np.inf
    best = np.argpartition(-scores, n_best, axis=1)[:, :n_best]
    return (best == last[:, None]).any(axis=1).mean()


same_for_all = np.broadcast_to(popularity, (len(past), len(names)))
unweighted = embedding_bag(ids, table, offsets, include_last_offset=True)
rankings = {
    "most popular names": same_for_all,
    "mean of the rows": unweighted @ table.T / damping,
    "weighted mean of the rows": features @ table.T / damping,
}
figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
best = [1, 2, 5, 10, 20, 50]
for name, scores in rankings.items():
    ax.plot(best, [hits(scores, n_best) for n_best in best], "o-", label=name)
    print(f"  {hits(scores):.3f}  of the last names are among the ten best: {name}")
ax.set(
    xlabel="guesses",
    ylabel="share of last names among them",
    xscale="log",
    xticks=best,
    xticklabels=best,
)
ax.minorticks_off()
ax.legend()

# %%
# The same as an estimator
# ------------------------
# Where the histories are a sparse matrix, the vectorizer does the same, and can stand
# in a pipeline.

X_past = bags_to_csr(
    ids,
    offsets,
    num_embeddings=len(names),
    per_sample_weights=weights,
    include_last_offset=True,
)
pooled = EmbeddingBagVectorizer.from_pretrained(table).transform(X_past)
print(f"the vectorizer gives the same features: {np.allclose(pooled, features)}")

history = past[3]
best = [i for i in np.argsort(-(features[3] @ table.T / damping)) if i not in history][
    :5
]
print(f"one function reads {', '.join(names[history])}")
print(f"  guesses: {', '.join(names[best])}; it was {names[last[3]]}")
