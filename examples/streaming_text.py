"""
Learn from a stream of texts
============================

Texts come in batches, each is seen and forgotten, and the model is ready at any time.
HashingVectorizer needs no vocabulary, so nothing has to be read beforehand: a word is a
column by its hash. ``partial_fit`` trains on one batch and changes the rows of the
table that the batch names, so a batch costs the same however many columns there are.

The texts are docstrings of NumPy, SciPy and scikit-learn, and the task is to say from
which package they come. They would fit into memory. The point is that the code never
asks for that.
"""

# %%
# A stream
# --------
# Anything that gives batches will do: a file read line by line, a database, a queue.
# Every text is hashed when its batch comes. ``alternate_sign=False`` makes plain
# counts, as CountVectorizer would.

import inspect
import pickle
import re
from importlib import import_module

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.model_selection import train_test_split

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
hashing = HashingVectorizer(n_features=2**18, ngram_range=(1, 2), alternate_sign=False)


def stream(size=100):
    """Yield the training texts in batches of ``size``, hashed, with their labels."""
    for first in range(0, len(train), size):
        yield (
            hashing.transform(train[first : first + size]),
            y_train[first : first + size],
        )


# %%
# Test, then train
# ----------------
# The classes have to be known from the start. Every batch is first predicted and then
# learnt, so the accuracy below is that on texts which the model has not seen.

classes = sorted(set(labels))
model = EmbeddingBagClassifier(learning_rate_init=0.1, random_state=0)
accuracies = []
for number, (X, y) in enumerate(stream()):
    if number > 0:  # before the first batch there is nothing to predict with
        accuracies.append(model.score(X, y))
    model.partial_fit(X, y, classes=classes)
print(f"{len(train)} docstrings of {len(classes)} packages")
for name, part in zip(
    ["first", "second", "last"], np.array_split(accuracies, 3), strict=True
):
    print(
        f"  accuracy on batches before they are learnt, {name} third of the stream: "
        f"{part.mean():.3f}"
    )

figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
ax.plot(100 * np.arange(1, len(accuracies) + 1), accuracies, "o-", markersize=4)
ax.set(xlabel="texts learnt so far", ylabel="accuracy on the next 100", ylim=(0, 1))

X_test = hashing.transform(test)
print(
    f"accuracy on {len(test)} other docstrings after one pass: "
    f"{model.score(X_test, y_test):.3f}"
)

# %%
# Stop, save, go on
# -----------------
# A pickle holds the state of the solver and of the random numbers. A model that was
# saved in the middle of a stream and loaded again learns the same, to the last bit.

copy = pickle.loads(pickle.dumps(model))
for X, y in stream():
    model.partial_fit(X, y)
for X, y in stream():
    copy.partial_fit(X, y)
print(f"accuracy after two passes: {model.score(X_test, y_test):.3f}")
same = np.array_equal(model.embeddings_, copy.embeddings_) and np.array_equal(
    model.coefs_[0].T, copy.coefs_[0].T
)
print(f"saved after the first pass and loaded, the same model after the second: {same}")
assert same

# %%
# A bad batch
# -----------
# A batch that cannot be learnt is refused, and the model stays as it was. The stream
# goes on.

before = model.coefs_[0].T.copy()
try:
    model.partial_fit(
        hashing.transform(["a text of an unknown package"]), ["who knows"]
    )
except ValueError as error:
    print(f"refused: {str(error).splitlines()[0][:60]}...")
assert np.array_equal(before, model.coefs_[0].T)
