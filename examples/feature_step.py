"""
A classifier as a step before another estimator
===============================================

`EmbeddingBagClassifier` is a transformer, too: ``transform`` gives the pooled features that its own linear layer sees,
as ``LinearDiscriminantAnalysis.transform`` does. In the middle of a Pipeline it is a dimensionality reduction that
knows the classes: ``Pipeline.fit`` passes y to it, it trains its table, and hands a few dense columns on.

The texts are the docstrings of numpy, scipy, scikit-learn and the standard library, the classes are the packages. The
estimator behind it looks for nearest neighbours.
"""

# %%
# Neighbours of texts
# -------------------
# Three spaces in which to look for neighbours: the TF-IDF rows, the columns that TruncatedSVD makes of them without
# knowing the classes, and as many columns that were learnt with the classes. Normalizer makes the nearest neighbour the
# one at the smallest angle.

from time import perf_counter

import numpy as np
from _library import load_docstrings
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from threadpoolctl import threadpool_limits

from skbag import EmbeddingBagClassifier

threadpool_limits(1)  # the matrices are small: threads of BLAS would only wait for one another
start = perf_counter()
texts, labels = load_docstrings()
train, test, y_train, y_test = train_test_split(texts, labels, test_size=0.25, stratify=labels, random_state=0)


def neighbours(*steps):
    """Return a pipeline of TF-IDF, some steps, and the vote of the five nearest neighbours."""
    return make_pipeline(TfidfVectorizer(min_df=2, sublinear_tf=True), *steps, KNeighborsClassifier(5))


bag = EmbeddingBagClassifier(16, learning_rate_init=0.1, random_state=0)
learnt = neighbours(bag, Normalizer())
print(f"the five nearest of {len(train)} docstrings vote on {len(test)} others")
for name, model in {
    "TF-IDF": neighbours(),
    "TruncatedSVD, 16 columns": neighbours(TruncatedSVD(16, random_state=0), Normalizer()),
    "EmbeddingBagClassifier, 16 columns": learnt,
}.items():
    tick = perf_counter()
    accuracy = model.fit(train, y_train).score(test, y_test)
    print(f"  accuracy {accuracy:.3f}  {name}, {perf_counter() - tick:.1f} s")

# %%
# What is near
# ------------
# The steps before the last one make features of any text.

features, vote = learnt[:-1], learnt[-1]
nearest = vote.kneighbors(features.transform(["quadrature over an interval", "parse the header of a message"]), 3)[1]
print("\nnearest to 'quadrature over an interval', and to 'parse the header of a message'")
for rows in nearest:
    print("  " + " | ".join(f"{y_train[row]}: {' '.join(train[row].split()[:5])}" for row in rows))

# %%
# A caution
# ---------
# The features of the training texts were learnt from the labels of these texts. To the next step they look better than
# those of a new text will. So nothing should be chosen by how the next step does on them: put the whole pipeline into
# the cross-validation, and the table is trained anew without the texts of each fold.

near = vote.kneighbors(return_distance=False)  # of each training text, but for itself
own = (np.array(y_train)[near] == np.array(y_train)[:, None]).mean()
print(f"\nshare of the neighbours of a training text that have its label: {own:.3f}")
near = vote.kneighbors(features.transform(test), return_distance=False)
other = (np.array(y_train)[near] == np.array(y_test)[:, None]).mean()
print(f"share of the neighbours of another text that have its label: {other:.3f}")
print(f"accuracy by cross-validation of the whole pipeline: {cross_val_score(learnt, train, y_train, cv=3).mean():.3f}")
print(f"done in {perf_counter() - start:.1f} s")
