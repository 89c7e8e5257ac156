"""
Search for the mode and the width
=================================

`skbag.EmbeddingBagClassifier` is an estimator like any other, so GridSearchCV can
choose its parameters: here how the bags are pooled, how wide the table is, and the
learning rate. The texts are docstrings of NumPy, SciPy and scikit-learn, the classes
are the packages.
"""

# %%
# The grid
# --------
# HashingVectorizer learns nothing from the texts. So they can be hashed once, outside
# of the search, and no fold knows anything of another. The jobs are given to the
# search, and the classifier keeps its default of one thread.

import inspect
import re
from importlib import import_module

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.model_selection import GridSearchCV, train_test_split

from skbag import EmbeddingBagClassifier

PACKAGES = (
    "numpy.linalg", "numpy.ma", "numpy.random", "scipy.integrate", "scipy.interpolate",
    "scipy.linalg", "scipy.ndimage", "scipy.optimize", "scipy.signal", "scipy.sparse",
    "scipy.spatial", "scipy.special", "scipy.stats", "sklearn.cluster",
    "sklearn.ensemble", "sklearn.linear_model", "sklearn.metrics",
    "sklearn.preprocessing",
)  # fmt: skip


def docstrings():
    """Return the docstrings that the packages export, each once, and whose they are."""
    found = {}
    for package in PACKAGES:
        module = import_module(package)
        for name in sorted(module.__all__):
            text = inspect.getdoc(getattr(module, name)) or ""
            # code and dotted names tell the package
            text = re.sub(r"(?m)^(>>>|\.\.\.).*$|\w+(\.\w+)+", " ", text)
            if len(text.split()) >= 15:
                found.setdefault(text, package)
    return list(found), list(found.values())


texts, labels = docstrings()
train, test, y_train, y_test = train_test_split(
    texts, labels, test_size=0.25, stratify=labels, random_state=0
)
hashing = HashingVectorizer(n_features=2**16, alternate_sign=False, norm=None)
X_train, X_test = hashing.transform(train), hashing.transform(test)
grid = {
    "embedding_dim": [4, 16, 64],
    "learning_rate_init": [0.02, 0.1, 0.5],
    "mode": ["mean", "sqrtn", "max"],
}
model = EmbeddingBagClassifier(random_state=0)
search = GridSearchCV(model, grid, cv=2, n_jobs=2).fit(X_train, y_train)
print(f"{len(search.cv_results_['params'])} candidates x 2 folds")

# %%
# What it found
# -------------
# The columns are raw counts. "mean" makes features that are smaller the longer a text
# is, "sqrtn" takes the length out more gently, and "max" only asks which words occur.

# in the order of the grid
scores = search.cv_results_["mean_test_score"].reshape(3, 3, 3)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
for ax, name, table in (
    (axes[0], "embedding_dim", scores.max(axis=1)),
    (axes[1], "learning_rate_init", scores.max(axis=0)),
):
    for mode, column in zip(grid["mode"], table.T, strict=True):
        ax.plot(grid[name], column, "o-", label=mode)
    ax.set(xlabel=name, xscale="log")
    ax.set_xticks(grid[name], grid[name])
    ax.minorticks_off()
axes[0].set_ylabel("mean accuracy of two folds")
axes[1].legend(title="mode")

# %%
# The winner
# ----------
# It was fitted again to all training texts.

print(f"chosen: {search.best_params_}")
print(f"accuracy on {len(test)} other docstrings: {search.score(X_test, y_test):.3f}")
most = np.unique(y_test, return_counts=True)[1].max()
print(f"always the most frequent package: {most / len(y_test):.3f}")
