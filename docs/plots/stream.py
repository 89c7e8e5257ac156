import matplotlib.pyplot as plt
import numpy as np
from recorded import BLUE
from texts import paragraphs

from skbag import EmbeddingBagClassifier
from skbag.text import HashingNgramVectorizer

texts, labels = paragraphs()
hashing = HashingNgramVectorizer(2**18, ngram_range=(1, 2))
model = EmbeddingBagClassifier(random_state=0)
seen, scores = [], []
for first in range(0, len(texts), 200):
    X, y = hashing.transform(texts[first : first + 200]), labels[first : first + 200]
    if first:
        seen.append(first)
        scores.append(model.score(X, y))
    model.partial_fit(X, y, classes=sorted(set(labels)))

figure, ax = plt.subplots()
ax.plot(seen, scores, ".", color="0.7", label="one batch")
window = 5
ax.plot(seen[window - 1 :], np.convolve(scores, np.ones(window) / window, "valid"), color=BLUE, label="mean of five")
ax.set(xlabel="paragraphs learnt so far", ylabel="accuracy on the next batch")
ax.legend()
