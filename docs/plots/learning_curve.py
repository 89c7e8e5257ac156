import matplotlib.pyplot as plt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from texts import paragraphs

from skbag import EmbeddingBagClassifier

texts, labels = paragraphs()
test, y_test = texts[:1000], labels[:1000]
sizes = [250, 500, 1000, 2000, 4000]

figure, ax = plt.subplots()
for classifier, mark in (
    (EmbeddingBagClassifier(random_state=0), "o-"),
    (LinearSVC(random_state=0), "s--"),
    (SGDClassifier(random_state=0), "^:"),
):
    scores = []
    for size in sizes:
        model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), classifier)
        part = slice(1000, 1000 + size)
        scores.append(model.fit(texts[part], labels[part]).score(test, y_test))
    ax.plot(sizes, scores, mark, markersize=4, label=type(classifier).__name__)
ax.set_xscale("log")
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.set(xlabel="paragraphs to train on", ylabel="accuracy")
ax.legend()
