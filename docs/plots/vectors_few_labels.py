import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from texts import paragraphs

from skbag.text import TextEmbeddingVectorizer

texts, labels = paragraphs()
test, y_test, unlabelled = texts[:1000], labels[:1000], texts[2000:8000]
tfidf = TfidfVectorizer(min_df=3, sublinear_tf=True, stop_words="english")
points = TruncatedSVD(48, n_iter=3, random_state=0).fit_transform(tfidf.fit_transform(unlabelled).T)
points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9)
vectors = dict(zip(tfidf.get_feature_names_out(), points, strict=True))

pooled = TextEmbeddingVectorizer(vectors, TfidfVectorizer(sublinear_tf=True))
sizes = [50, 100, 200, 400, 1000]
figure, ax = plt.subplots()
for name, steps, mark in (
    ("pooled vectors", (pooled, StandardScaler(), LogisticRegression(C=0.1, max_iter=100)), "o-"),
    ("TF-IDF alone", (TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10, max_iter=100)), "s--"),
):
    scores = []
    for size in sizes:
        part = slice(1000, 1000 + size)
        scores.append(make_pipeline(*steps).fit(texts[part], labels[part]).score(test, y_test))
    ax.plot(sizes, scores, mark, markersize=4, label=name)
ax.set_xscale("log")
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.set(xlabel="paragraphs with labels", ylabel="accuracy")
ax.legend()
