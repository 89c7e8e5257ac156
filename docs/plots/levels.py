import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.preprocessing import OneHotEncoder

from skbag import EmbeddingBagClassifier

pixels, digits = load_digits(return_X_y=True)
encoder = OneHotEncoder()
X = encoder.fit_transform(pixels)
bag = EmbeddingBagClassifier(16, alpha=1e-3, learning_rate_init=0.1, max_iter=20, random_state=0).fit(X, digits)

directions = bag.embeddings_ / np.linalg.norm(bag.embeddings_, axis=1, keepdims=True)
often = np.asarray(X.sum(axis=0)).ravel() >= 20
pixel = np.repeat(np.arange(pixels.shape[1]), [len(levels) for levels in encoder.categories_])
level = np.concatenate(encoder.categories_)
first, second = np.triu_indices(len(level), k=1)
pairs = (pixel[first] == pixel[second]) & often[first] & often[second]
first, second = first[pairs], second[pairs]
cosine = (directions[first] * directions[second]).sum(axis=1)
apart = np.abs(level[first] - level[second]).astype(int)

figure, ax = plt.subplots()
distances = np.arange(1, 17)
ax.plot(distances, [cosine[apart == d].mean() for d in distances], "o-", markersize=4)
ax.axhline(0, color="0.6", linewidth=1)
ax.set(xlabel="levels apart", ylabel="mean cosine of two vectors", xticks=[1, 4, 8, 12, 16])
