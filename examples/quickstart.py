"""
Quickstart: classify texts
==========================

Which package is a docstring from? The texts are what NumPy, SciPy and scikit-learn say
of their own functions, so this runs anywhere and downloads nothing. The pipeline is

``TfidfVectorizer -> EmbeddingBagClassifier``

and it is compared with LinearSVC, looked into, searched and saved.
"""

# %%
# Texts and labels
# ----------------
# One text is the docstring of a function or class. Lines of code and dotted names are
# removed, because they would give the answer away.

import inspect
import re
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import joblib
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

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
print(f"{len(texts)} docstrings of {len(set(labels))} packages")

# %%
# Train and predict
# -----------------
# The classifier learns a vector for every word and every pair of words, and a linear
# layer behind them. LinearSVC on the same columns is what it has to stand beside. The
# first fit after an installation compiles the kernels, for some seconds; later runs
# find them on disk.

tfidf = TfidfVectorizer(min_df=2, sublinear_tf=True, ngram_range=(1, 2))
model = make_pipeline(tfidf, EmbeddingBagClassifier(random_state=0)).fit(train, y_train)
new = [
    "Compute the eigenvalues of a symmetric matrix.",
    "Draw samples from a normal distribution.",
]
print(model.predict(new))

scores = {}
X_train, X_test = model[0].transform(train), model[0].transform(test)
for classifier in EmbeddingBagClassifier(random_state=0), LinearSVC(random_state=0):
    tick = perf_counter()
    classifier.fit(X_train, y_train)
    seconds = perf_counter() - tick
    scores[type(classifier).__name__] = score = classifier.score(X_test, y_test)
    print(
        f"  accuracy {score:.3f} on {len(test)} other docstrings: "
        f"{type(classifier).__name__}, {seconds:.2f} s of fit"
    )
scores["most frequent package"] = max(map(y_test.count, set(y_test))) / len(test)

# %%
# What speaks for a package?
# --------------------------

strongest = model[-1].top_features(4, feature_names=model[0].get_feature_names_out())
for package in "scipy.integrate", "scipy.spatial", "sklearn.cluster":
    print(f"{package:16} {', '.join(word for word, _ in strongest[package])}")

# %%
# Search
# ------
# Like any estimator of scikit-learn. The pipeline keeps what TF-IDF computed, so it is
# fitted once per fold.

directory = tempfile.TemporaryDirectory()
search = GridSearchCV(
    make_pipeline(tfidf, EmbeddingBagClassifier(random_state=0), memory=directory.name),
    {
        "embeddingbagclassifier__max_iter": ["auto", 20],
        "embeddingbagclassifier__mode": ["sqrtn", "max"],
    },
    cv=3,
    n_jobs=2,
).fit(train, y_train)
scores["the best of a search"] = search.score(test, y_test)
for name, value in search.best_params_.items():
    print(f"  {name} = {value!r}")
print(f"  accuracy {scores['the best of a search']:.3f}")

# %%
# Save and load
# -------------

path = Path(directory.name) / "model.joblib"
joblib.dump(model, path, compress=3)
same = (joblib.load(path).predict(test) == model.predict(test)).all()
print(
    f"saved with joblib ({path.stat().st_size / 1e6:.1f} MB) and loaded again, "
    f"the same predictions: {same}"
)
assert same
directory.cleanup()

# %%
# The scores, as a picture if matplotlib is there.

if find_spec("matplotlib"):
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6, 2.4), layout="constrained")
    bars = ax.barh(list(scores)[::-1], list(scores.values())[::-1], height=0.55)
    ax.bar_label(bars, fmt="%.3f", padding=3)
    ax.set(xlabel="accuracy", xlim=(0, 1))
