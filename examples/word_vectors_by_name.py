"""
Word vectors by their words
===========================

Word vectors usually come as a file of words with a vector each, and the words of your
texts are other ones, in another order. ``skbag.text`` looks them up by name. Words
without a vector are left out of a text, and of what it is divided by.

To stay without downloads, the vectors are learnt here, from docstrings of the libraries
that are installed, and kept in a plain dict. With vectors from elsewhere, give gensim's
``KeyedVectors``, a data frame, or the path of a ``.vec``, ``.vec.gz`` or GloVe file in
place of the dict.
"""

# %%
# Vectors from texts without labels
# ---------------------------------
# Three quarters of the docstrings teach the vectors: a word is the documents in which
# it stands, in 50 numbers. Labels are not looked at.

import inspect
import re
from importlib import import_module

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbag import EmbeddingBagClassifier
from skbag.inspection import EmbeddingMapDisplay
from skbag.text import TextEmbeddingVectorizer, align, vocabulary_of

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
unlabelled, texts, _, labels = train_test_split(
    texts, labels, test_size=0.25, stratify=labels, random_state=0
)
tfidf = TfidfVectorizer(min_df=3, sublinear_tf=True)
X = tfidf.fit_transform(unlabelled)
points = TruncatedSVD(50, random_state=0).fit_transform(X.T)
points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9)
vectors = dict(zip(tfidf.get_feature_names_out(), points, strict=True))
print(
    f"{len(vectors)} words with a vector each, learnt from {len(unlabelled)} docstrings"
)

# %%
# Features
# --------
# `skbag.text.TextEmbeddingVectorizer` takes texts, like any vectorizer, and gives their
# pooled vectors. ``coverage_`` tells how many of the words have a vector, and how much
# of the texts these are. Little coverage is warned of.

train, test, y_train, y_test = train_test_split(
    texts, labels, test_size=0.5, stratify=labels, random_state=0
)
pooled = TextEmbeddingVectorizer(vectors, TfidfVectorizer(sublinear_tf=True)).fit(train)
print(
    f"\n{len(train)} texts with labels: {pooled.coverage_['types']:.0%} "
    "of their words have a vector,"
)
print(f"and {pooled.coverage_['occurrences']:.0%} of the occurrences of words")


def accuracy(*steps):
    """Return the accuracy on the test texts."""
    return make_pipeline(*steps).fit(train, y_train).score(test, y_test)


head = StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)
print(f"\naccuracy on {len(test)} other texts")
for oov in ["drop", "zeros", "mean"]:
    features = TextEmbeddingVectorizer(
        vectors, TfidfVectorizer(sublinear_tf=True), oov=oov
    )
    print(f"  {accuracy(features, *head):.3f}  pooled vectors, oov={oov!r}")
words_alone = accuracy(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10))
print(f"  {words_alone:.3f}  TF-IDF and no vectors")

# %%
# A start for training
# --------------------
# A classifier can begin at the vectors and change them. `skbag.text.align` makes the
# table: row i belongs to column i of the vectorizer. How long the vectors are does not
# matter. With ``freeze=True`` they stay as they are, and only the linear layer is
# trained.

words = TfidfVectorizer(sublinear_tf=True).fit(train)
table = align(vectors, words)
for name, parameters in {
    "begins at the vectors": {"init": table},
    "leaves the vectors as they are": {"init": table, "freeze": True},
    "begins anywhere": {"embedding_dim": 50},
}.items():
    bags = EmbeddingBagClassifier(**parameters, random_state=0)
    print(f"  {accuracy(words, bags):.3f}  EmbeddingBagClassifier {name}")

# %%
# The other way round, a vectorizer can be told to look for words that have a vector,
# and for no others.

known = vocabulary_of(vectors, among=words)
only = TfidfVectorizer(vocabulary=known, sublinear_tf=True)
tuned = EmbeddingBagClassifier(init=align(vectors, known), random_state=0)
print(
    f"  {accuracy(only, tuned):.3f}  the first of these, "
    f"with the {len(known)} words that have a vector"
)

# %%
# A map of some words
# -------------------
# The vectors of a few words in the two directions in which these differ most.

some = ["eigenvalue", "matrix", "inverse", "integral", "quadrature", "spline", "knots"]
some += ["cluster", "random", "filter", "frequency", "distance", "polynomial", "metric"]
some = [word for word in some if word in vectors]
EmbeddingMapDisplay.from_vectors([vectors[word] for word in some], some)
plt.show()
