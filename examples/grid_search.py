"""
Search for the mode and the width
=================================

`EmbeddingBagClassifier` is an estimator like any other, so GridSearchCV can choose its parameters: here how the bags
are pooled, how wide the table is, and the learning rate. The texts are the docstrings of numpy, scipy, scikit-learn and
the standard library, the classes are the packages.
"""

# %%
# The grid
# --------
# HashingVectorizer learns nothing from the texts. So they can be hashed once, outside of the search, and no fold knows
# anything of another. The jobs are given to the search, and the classifier keeps its default of one thread.

from time import perf_counter

import numpy as np
from _library import load_docstrings
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.model_selection import GridSearchCV, train_test_split

from skbag import EmbeddingBagClassifier

start = perf_counter()
texts, labels = load_docstrings()
train, test, y_train, y_test = train_test_split(texts, labels, test_size=0.25, stratify=labels, random_state=0)
hashing = HashingVectorizer(n_features=2**16, alternate_sign=False, norm=None)
X_train, X_test = hashing.transform(train), hashing.transform(test)
grid = {
    "embedding_dim": [4, 16, 64],
    "learning_rate_init": [0.02, 0.1, 0.5],
    "mode": ["mean", "sqrtn", "max"],
}
tick = perf_counter()
search = GridSearchCV(EmbeddingBagClassifier(random_state=0), grid, cv=3, n_jobs=2).fit(X_train, y_train)
print(f"{len(search.cv_results_['params'])} candidates x 3 folds in {perf_counter() - tick:.1f} s")

# %%
# What it found
# -------------
# The columns are raw counts. "mean" makes features that are smaller the longer a text is, "sqrtn" takes the length out
# more gently, and "max" only asks which words occur.

scores = search.cv_results_["mean_test_score"].reshape(3, 3, 3)  # in the order of the grid
for name, values, table in [
    ("embedding_dim", grid["embedding_dim"], scores.max(axis=1)),
    ("learning_rate_init", grid["learning_rate_init"], scores.max(axis=0)),
]:
    print(f"\nmean accuracy over the folds, the other parameter at its best\n  {name:>18} {values}")
    for mode, column in zip(grid["mode"], table.T, strict=True):
        print(f"  {mode:>18} " + " ".join(f"{score:.3f}" for score in column))

# %%
# The winner
# ----------
# It was fitted again to all training texts.

print(f"\nchosen: {search.best_params_}")
print(f"accuracy on {len(test)} other docstrings: {search.score(X_test, y_test):.3f}")
print(f"always the most frequent package: {np.unique(y_test, return_counts=True)[1].max() / len(y_test):.3f}")
print(f"done in {perf_counter() - start:.1f} s")
