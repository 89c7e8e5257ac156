import joblib
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from skbag import EmbeddingBagClassifier

X, y = load_digits(return_X_y=True)
epochs = [2, 5, 15]
grid = {"mode": ["mean", "sqrtn", "max"], "max_iter": epochs}
with joblib.parallel_config("loky", n_jobs=2):
    search = GridSearchCV(EmbeddingBagClassifier(random_state=0), grid, cv=3).fit(X[:900], y[:900])

figure, ax = plt.subplots()
results = search.cv_results_
for mode, mark in (("mean", "o-"), ("sqrtn", "s--"), ("max", "^:")):
    scores = results["mean_test_score"][results["param_mode"] == mode]
    ax.plot(epochs, scores, mark, markersize=4, label=f'mode="{mode}"')
ax.set(xlabel="max_iter", ylabel="mean accuracy of three folds", xticks=epochs)
ax.legend()
