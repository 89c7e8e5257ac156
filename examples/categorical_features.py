"""
Categorical columns
===================

A table of categories becomes a multi-hot matrix with OneHotEncoder: every row has one
member per column of the table, its category. `skbag.EmbeddingBagClassifier` learns a
vector for every category and pools the vectors of a row. They can be looked at
afterwards: categories that say the same about the class get vectors that lie close to
one another.

The data comes with scikit-learn: handwritten digits, whose 64 pixels have one of 17
grey levels each, and measurements of cell nuclei, which KBinsDiscretizer turns into
categories.
"""

# %%
# Grey levels as categories
# -------------------------
# OneHotEncoder forgets that level 7 lies between 6 and 8. Levels that a pixel never had
# in the training rows are no members (``handle_unknown="ignore"``): the bag is then
# smaller by one.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

from skbag import EmbeddingBagClassifier

pixels, digits = load_digits(return_X_y=True)
train, test, y_train, y_test = train_test_split(
    pixels, digits, test_size=0.25, stratify=digits, random_state=0
)
model = make_pipeline(
    OneHotEncoder(handle_unknown="ignore"),
    EmbeddingBagClassifier(
        16, alpha=1e-3, learning_rate_init=0.1, max_iter=20, random_state=0
    ),
)
model.fit(train, y_train)
encoder, bag = model
n_columns = encoder.transform(train).shape[1]
print(
    f"{len(pixels)} digits, {pixels.shape[1]} pixels, "
    f"{n_columns} pairs of a pixel and a grey level"
)
linear = make_pipeline(
    OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=1000)
).fit(train, y_train)
print(
    f"  {model.score(test, y_test):.3f}  accuracy of EmbeddingBagClassifier "
    f"on {len(test)} other digits"
)
print(
    f"  {linear.score(test, y_test):.3f}  accuracy of LogisticRegression "
    "on the same columns"
)

# %%
# What the vectors know
# ---------------------
# The levels of a pixel are columns like any others to the classifier. Are the vectors
# of levels that lie close to one another more alike than those of distant levels?
# Levels that occurred less than 20 times are left out.

directions = bag.embeddings_ / np.linalg.norm(bag.embeddings_, axis=1, keepdims=True)
counts = np.asarray(encoder.transform(train).sum(axis=0)).ravel()
pixel = np.repeat(
    np.arange(pixels.shape[1]), [len(levels) for levels in encoder.categories_]
)
level = np.concatenate(encoder.categories_)
first, second = np.triu_indices(len(level), k=1)
pairs = (pixel[first] == pixel[second]) & (counts[first] >= 20) & (counts[second] >= 20)
first, second = first[pairs], second[pairs]
cosine = (directions[first] * directions[second]).sum(axis=1)
distance = np.abs(level[first] - level[second])
figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
apart = np.arange(1, 17)
ax.plot(apart, [cosine[distance == d].mean() for d in apart], "o-")
ax.axhline(0, color="0.6", linewidth=1)
ax.set(xlabel="levels apart", ylabel="mean cosine of two vectors of one pixel")

# %%
# Numbers as categories
# ---------------------
# KBinsDiscretizer cuts numeric columns into bins and gives the same kind of matrix. On
# bins, a linear model is free to follow a curve in every column.

measurements, benign = load_breast_cancer(return_X_y=True)
folds = StratifiedKFold(5, shuffle=True, random_state=0)
print(
    f"accuracy on {len(measurements)} tumours, {8 * measurements.shape[1]} bins, "
    f"{folds.n_splits} folds"
)
for estimator in (
    EmbeddingBagClassifier(8, max_iter=20, random_state=0),
    LogisticRegression(max_iter=1000),
):
    binned = make_pipeline(
        KBinsDiscretizer(8, encode="onehot", strategy="uniform"), estimator
    )
    scores = cross_val_score(binned, measurements, benign, cv=folds)
    print(f"  {scores.mean():.3f} +- {scores.std():.3f}  {type(estimator).__name__}")
