import pickle
import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
from recorded import BLUE, GREY
from sklearn.linear_model import SGDClassifier
from texts import paragraphs

from skbag import EmbeddingBagClassifier
from skbag.text import HashingNgramVectorizer

texts, labels = paragraphs()
texts, labels = texts[:5000], labels[:5000]
X = HashingNgramVectorizer(2**18).transform(texts)
model = EmbeddingBagClassifier(random_state=0).fit(X, labels)
small, columns = model.compact()
thousand, best = model.compact(1000)
other = SGDClassifier(loss="log_loss", random_state=0).fit(X, labels)


def size(estimator, compress=0):
    """Return the size of a file of joblib in MB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        joblib.dump(estimator, path, compress=compress)
        return path.stat().st_size / 1e6


arrays = (model.embeddings_, model.coefs_, model.intercepts_)
cases = {
    "table and layer": len(pickle.dumps(arrays, protocol=5)) / 1e6,
    "joblib": size(model),
    "joblib, compress=3": size(model, 3),
    f"compact(): {len(columns)} columns, compressed": size(small, 3),
    "compact(1000), compressed": size(thousand, 3),
    "SGDClassifier, compressed": size(other, 3),
}
figure, ax = plt.subplots(figsize=(5.6, 2.8))
colors = [GREY, *[BLUE] * 5]
bars = ax.barh(list(cases)[::-1], list(cases.values())[::-1], height=0.6, color=colors)
ax.bar_label(bars, labels=[f"{value:.2g} MB" for value in list(cases.values())[::-1]], padding=3, fontsize=9)
ax.set(xscale="log", xlabel="size of the file", xlim=(None, 90))
ax.set_xticks([0.1, 1, 10], ["0.1 MB", "1 MB", "10 MB"])
ax.minorticks_off()
ax.grid(axis="y", visible=False)
