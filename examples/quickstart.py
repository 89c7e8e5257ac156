"""
Quickstart: from texts to a classifier
======================================

Which package does a docstring come from? The texts are the docstrings of numpy, scipy, scikit-learn and the standard
library, so this example runs anywhere and downloads nothing. The pipeline is

``TfidfVectorizer -> EmbeddingBagVectorizer -> StandardScaler -> LogisticRegression``

and a grid search chooses how the bags are pooled and how wide the features are.

The table of vectors is drawn at random there, and nothing trains it. Pooling with such a table is a random projection
of the TF-IDF rows: it makes a few dense columns of many sparse ones, and it knows nothing that TF-IDF does not know.
The last part trains the table: `EmbeddingBagClassifier` beside LinearSVC.
"""

# %%
# Texts and labels
# ----------------
# One document is a function, or a class with its methods. Its label is the package. Doctest lines, dotted names and the
# words of which the labels are made are removed, because they would give the answer away.

import tempfile
from pathlib import Path
from time import perf_counter

import joblib
from _library import load_docstrings
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from skbag import EmbeddingBagClassifier, EmbeddingBagVectorizer

threadpool_limits(1)  # the matrices are small: threads of BLAS would only wait for one another
start = tick = perf_counter()
texts, labels = load_docstrings()
train, test, y_train, y_test = train_test_split(texts, labels, test_size=0.25, stratify=labels, random_state=0)
print(f"{len(texts)} docstrings of {len(set(labels))} packages, read in {perf_counter() - tick:.1f} s")

# %%
# A search over mode and width
# ----------------------------
# The pipeline keeps what its first steps computed, so TF-IDF is fitted once per fold and not once per candidate. The
# first run after an installation also compiles the kernels. Later runs find them on disk.

directory = tempfile.TemporaryDirectory()
pipeline = make_pipeline(
    TfidfVectorizer(min_df=2, sublinear_tf=True),
    EmbeddingBagVectorizer(random_state=0),
    StandardScaler(),
    LogisticRegression(C=0.1, max_iter=1000),
    memory=directory.name,
)
grid = {
    "embeddingbagvectorizer__mode": ["mean", "sqrtn", "max"],
    "embeddingbagvectorizer__embedding_dim": [128, 512],
}
tick = perf_counter()
search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(train, y_train)
print(f"\ngrid search, {len(search.cv_results_['params'])} candidates x 3 folds, in {perf_counter() - tick:.1f} s")
for params, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
    dim, mode = params.values()
    print(f"  {mode:5} {dim:4} columns  accuracy {score:.3f}")

# %%
# What the result is worth
# ------------------------
# Three comparisons on the same test set: always answering with the most frequent package, a table of the same width
# that TruncatedSVD learns from the training texts, and TF-IDF with nothing in between.

model = search.best_estimator_.set_params(memory=None)
bag = model["embeddingbagvectorizer"]


def compare(name, *steps):
    """Fit TF-IDF and some steps behind it, and print the accuracy on the test set."""
    tick = perf_counter()
    other = make_pipeline(TfidfVectorizer(min_df=2, sublinear_tf=True), *steps).fit(train, y_train)
    print(f"  {other.score(test, y_test):.3f}  {name}, fitted in {perf_counter() - tick:.1f} s")


print(f"\naccuracy on {len(test)} other docstrings")
print(f"  {max(map(y_test.count, set(y_test))) / len(test):.3f}  always the most frequent package")
print(
    f"  {model.score(test, y_test):.3f}  EmbeddingBagVectorizer, random table, {bag.mode}, {bag.embedding_dim} columns"
)
compare(
    f"TruncatedSVD, learnt table, {bag.embedding_dim} columns",
    TruncatedSVD(bag.embedding_dim, random_state=0),
    StandardScaler(),
    LogisticRegression(C=0.1, max_iter=1000),
)
compare("TF-IDF without a table", LogisticRegression(C=100, max_iter=1000))
print("A random table is an untrained random projection of TF-IDF: fewer columns, and no more information.")

# %%
# Save and load
# -------------

path = Path(directory.name) / "model.joblib"
joblib.dump(model, path)
same = (joblib.load(path).predict(test) == model.predict(test)).all()
print(f"\nsaved with joblib ({path.stat().st_size / 1e6:.1f} MB) and loaded again, the same predictions: {same}")
assert same
directory.cleanup()

# %%
# A table that is trained
# -----------------------
# The classifier learns the table and a linear layer behind it, and needs no other estimator. LinearSVC on the same
# columns, words and pairs of words, is what it has to stand beside. The seconds are those of the fit alone. The first
# fit of all compiles the kernels if they are not on disk yet, so a small one goes before.

tfidf = TfidfVectorizer(min_df=2, sublinear_tf=True, ngram_range=(1, 2))
tick = perf_counter()
X_train, X_test = tfidf.fit_transform(train), tfidf.transform(test)
print(f"\nTF-IDF of words and pairs of words, {X_train.shape[1]} columns, in {perf_counter() - tick:.1f} s")
EmbeddingBagClassifier().fit(X_train[:100], y_train[:100])
for estimator in EmbeddingBagClassifier(random_state=0), LinearSVC(random_state=0):
    tick = perf_counter()
    estimator.fit(X_train, y_train)
    seconds = perf_counter() - tick
    print(f"  {estimator.score(X_test, y_test):.3f}  {type(estimator).__name__}, fitted in {seconds:.2f} s")
print(f"done in {perf_counter() - start:.1f} s")
