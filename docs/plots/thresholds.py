import inspect
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
from recorded import BLUE, GREY, ORANGE
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer
from texts import members

from skbag import EmbeddingBagClassifier


def parameters(member):
    """Return the names of the parameters of a function or class."""
    try:
        return set(inspect.signature(member).parameters) - {"args", "kwargs", "self"}
    except (TypeError, ValueError):
        return set()


rows = [(" ".join(text.split("\n\n")[:3]), parameters(member)) for _, member, text in members()]
count = Counter(name for _, names in rows for name in names)
rows = [(text, {name for name in names if count[name] >= 8}) for text, names in rows]
rows = [row for row in rows if row[1]]
rows = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))]
X = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)).fit_transform([text for text, _ in rows])
binarizer = MultiLabelBinarizer()
Y = binarizer.fit_transform([names for _, names in rows])
half = len(rows) * 2 // 3

model = EmbeddingBagClassifier(threshold="expected_f1", random_state=0).fit(X[:half], Y[:half])
p, truth = model.predict_proba(X[half:]), Y[half:]
thresholds = np.linspace(0.02, 0.8, 40)
f1 = [f1_score(truth, p > t, average="micro", zero_division=0) for t in thresholds]
without = [np.mean(~(p > t).any(axis=1)) for t in thresholds]

figure, ax = plt.subplots()
ax.plot(thresholds, f1, color=BLUE, label="micro F1 by a threshold")
ax.plot(thresholds, without, ":", color=GREY, label="texts without a label")
ax.axhline(
    f1_score(truth, model.predict(X[half:]), average="micro"),
    color=ORANGE, linestyle="--", label='threshold="expected_f1"',
)  # fmt: skip
ax.set(xlabel="threshold", ylim=(0, 1), title=f"{len(rows)} functions, {Y.shape[1]} labels")
ax.legend()
