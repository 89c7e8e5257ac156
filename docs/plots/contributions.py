import matplotlib.pyplot as plt
import numpy as np
from recorded import BLUE, RED
from sklearn.feature_extraction.text import TfidfVectorizer
from texts import paragraphs

from skbag import EmbeddingBagClassifier

texts, labels = paragraphs()
tfidf = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
X = tfidf.fit_transform(texts[500:8000])
model = EmbeddingBagClassifier(random_state=0).fit(X, labels[500:8000])

number = next(k for k in range(500) if labels[k] == "scipy.integrate" and 12 <= len(texts[k].split()) <= 20)
row = tfidf.transform([texts[number]])
predicted = model.predict(row)[0]
every = model.contributions(row)
values = every[list(model.classes_).index(predicted)].data - np.mean([one.data for one in every], axis=0)
names = tfidf.get_feature_names_out()[every[0].indices]
order = np.argsort(-np.abs(values))[:12][::-1]

figure, ax = plt.subplots(figsize=(5.2, 3.6))
ax.barh(names[order], values[order], height=0.65, color=[BLUE if value > 0 else RED for value in values[order]])
ax.axvline(0, color="0.5", linewidth=1)
words = texts[number].split()
lines = [" ".join(words[k : k + 9]) for k in range(0, len(words), 9)]
ax.set_title("\n".join(["“" + "\n".join(lines) + "”", f"predicted: {predicted}"]), fontsize=9)
ax.set_xlabel("contribution")
ax.grid(axis="y", visible=False)
