import re

import matplotlib.pyplot as plt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from texts import paragraphs

from skbag import EmbeddingBagClassifier
from skbag.inspection import DocumentDisplay

texts, labels = paragraphs()
model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), EmbeddingBagClassifier(random_state=0))
model.fit(texts[500:6000], labels[500:6000])
short = [k for k in range(500) if labels[k] == "scipy.interpolate" and 30 <= len(texts[k].split()) <= 45]
number = next(
    k
    for k in short
    if not {"--", ":func", "`"} & {*re.findall("--|:func|`", texts[k])} and model.predict([texts[k]])[0] == labels[k]
)
figure, ax = plt.subplots(figsize=(5.6, 1.9), layout="none")
figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.88)
DocumentDisplay.from_estimator(model, texts[number], class_name="scipy.interpolate", ax=ax, width=52)
ax.title.set_fontsize(9)
