"""
A classifier as a step before another estimator
===============================================

`skbag.EmbeddingBagClassifier` is a transformer, too: ``transform`` gives the pooled
features that its own linear layer sees, as ``LinearDiscriminantAnalysis.transform``
does. In the middle of a Pipeline it is a dimensionality reduction that knows the
classes: ``Pipeline.fit`` passes y to it, it trains its table, and hands a few dense
columns on.

The texts are docstrings of NumPy, SciPy and scikit-learn, the classes are the packages.
The estimator behind it looks for nearest neighbours.
"""

# %%
# Neighbours of texts
# -------------------
# Three spaces in which to look for neighbours: the TF-IDF rows, the columns that
# TruncatedSVD makes of them without knowing the classes, and as many columns that were
# learnt with the classes. Normalizer makes the nearest neighbour the one at the
# smallest angle.

import inspect
import re
from importlib import import_module

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

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


def neighbours(*steps):
    """Return a pipeline of TF-IDF, some steps, and a vote of five neighbours."""
    return make_pipeline(
        TfidfVectorizer(min_df=2, sublinear_tf=True), *steps, KNeighborsClassifier(5)
    )


bag = EmbeddingBagClassifier(16, learning_rate_init=0.1, random_state=0)
learnt = neighbours(bag, Normalizer())
projected = neighbours(TruncatedSVD(16, random_state=0), Normalizer())
print(f"the five nearest of {len(train)} docstrings vote on {len(test)} others")
for name, model in {
    "TF-IDF": neighbours(),
    "TruncatedSVD, 16 columns": projected,
    "EmbeddingBagClassifier, 16 columns": learnt,
}.items():
    print(f"  accuracy {model.fit(train, y_train).score(test, y_test):.3f}  {name}")

# %%
# What is near
# ------------
# The steps before the last one make features of any text.

features, vote = learnt[:-1], learnt[-1]
questions = ["quadrature over an interval", "label the pixels of an image"]
nearest = vote.kneighbors(features.transform(questions), 3)[1]
for question, rows in zip(questions, nearest, strict=True):
    print(f"nearest to {question!r}")
    for row in rows:
        print(f"  {y_train[row]:16} {' '.join(train[row].split()[:8])}")
    print()

# %%
# A map of the other texts, in the two directions in which the features differ most.
# What was learnt with the classes keeps them apart.

shown = ["scipy.integrate", "scipy.signal", "scipy.stats", "sklearn.metrics"]
figure, axes = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
shown_models = {"TruncatedSVD": projected, "EmbeddingBagClassifier": learnt}
for ax, (name, model) in zip(axes, shown_models.items(), strict=True):
    some = [k for k, label in enumerate(y_test) if label in shown]
    points = model[:-1].transform([test[k] for k in some])
    points = TruncatedSVD(2, random_state=0).fit_transform(points - points.mean(axis=0))
    for package in shown:
        which = [y_test[k] == package for k in some]
        ax.plot(*points[which].T, "o", markersize=4, alpha=0.7, label=package)
    ax.set(title=name, xticks=[], yticks=[])
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)

# %%
# A caution
# ---------
# The features of the training texts were learnt from the labels of these texts. To the
# next step they look better than those of a new text will. So nothing should be chosen
# by how the next step does on them: put the whole pipeline into the cross-validation,
# and the table is trained anew without the texts of each fold.

near = vote.kneighbors(return_distance=False)  # of each training text, but for itself
own = (np.array(y_train)[near] == np.array(y_train)[:, None]).mean()
print(f"share of the neighbours of a training text that have its label: {own:.3f}")
near = vote.kneighbors(features.transform(test), return_distance=False)
other = (np.array(y_train)[near] == np.array(y_test)[:, None]).mean()
print(f"share of the neighbours of another text that have its label: {other:.3f}")
whole = cross_val_score(learnt, train, y_train, cv=3).mean()
print(f"accuracy by cross-validation of the whole pipeline: {whole:.3f}")
