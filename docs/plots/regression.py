import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import KBinsDiscretizer

from skbag import EmbeddingBagRegressor

measurements, progression = load_diabetes(return_X_y=True)
bins = KBinsDiscretizer(6, encode="onehot", strategy="uniform").fit_transform(measurements)
shares = [0, 0.05, 0.1, 0.15, 0.2]


def error(loss, share, seed):
    """Return the mean absolute error of other rows, after some targets of the training rows went wrong."""
    X, X_test, y, y_test = train_test_split(bins, progression, test_size=0.25, random_state=seed)
    y = y * np.where(np.random.default_rng(seed).random(len(y)) < share, 10, 1)
    model = EmbeddingBagRegressor(16, loss=loss, max_iter=20, random_state=seed).fit(X, y)
    return mean_absolute_error(y_test, model.predict(X_test))


figure, ax = plt.subplots()
for loss, mark in (("squared_error", "s--"), ("huber", "^:"), ("absolute_error", "o-")):
    means = [np.mean([error(loss, share, seed) for seed in range(5)]) for share in shares]
    ax.plot([100 * share for share in shares], means, mark, markersize=4, label=loss)
ax.set(xlabel="% of training targets that are wrong", ylabel="mean absolute error", ylim=(0, None))
ax.legend()
