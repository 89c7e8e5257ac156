import warnings

import matplotlib.pyplot as plt
import numpy as np
from recorded import BLUE, GREY
from scipy.sparse import csr_array, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from texts import paragraphs

from skbag import EmbeddingBagClassifier

texts, labels = paragraphs()
texts, labels = texts[:6000], labels[:6000]
words = TfidfVectorizer(sublinear_tf=True).fit_transform(texts)
years = np.random.default_rng(0).integers(1990, 2025, len(texts))
numbers = np.column_stack([years, [len(text) for text in texts]]).astype(float)


def accuracy(columns):
    """Return the accuracy with the words and other columns."""
    X = words if columns is None else csr_array(hstack([words, columns]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the columns are of another scale, which is the point
        model = EmbeddingBagClassifier(random_state=0).fit(X[:4000], labels[:4000])
    return model.score(X[4000:], labels[4000:])


cases = {
    "numbers as they are": accuracy(csr_array(numbers)),
    "MaxAbsScaler": accuracy(csr_array(MaxAbsScaler().fit_transform(numbers))),
    "StandardScaler": accuracy(csr_array(StandardScaler().fit_transform(numbers))),
    "words alone": accuracy(None),
}
figure, ax = plt.subplots(figsize=(5.2, 2.4))
bars = ax.barh(list(cases)[::-1], list(cases.values())[::-1], height=0.55, color=[GREY, BLUE, BLUE, "#c96a1b"])
ax.bar_label(bars, fmt="%.3f", padding=3, fontsize=9)
ax.set(xlabel="accuracy", xlim=(0, 1))
ax.grid(axis="y", visible=False)
