import matplotlib.pyplot as plt
import recorded  # noqa: F401 - its style
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from texts import paragraphs

from skbag import EmbeddingBagClassifier
from skbag.inspection import DocumentDisplay

texts, labels = paragraphs()
model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), EmbeddingBagClassifier(random_state=0))
model.fit(texts[500:6000], labels[500:6000])
number = next(k for k in range(500) if labels[k] == "scipy.spatial" and 30 <= len(texts[k].split()) <= 60)
figure, ax = plt.subplots(figsize=(5.6, 2.4))
DocumentDisplay.from_estimator(model, texts[number], class_name="scipy.spatial", ax=ax, width=52)
ax.title.set_fontsize(9)
