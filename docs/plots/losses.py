import matplotlib.pyplot as plt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from texts import paragraphs

from skbag import EmbeddingBagClassifier
from skbag.inspection import LossCurveDisplay

texts, labels = paragraphs()
model = EmbeddingBagClassifier(max_iter=12, early_stopping=True, n_iter_no_change=12, random_state=0)
pipeline = make_pipeline(TfidfVectorizer(sublinear_tf=True), model).fit(texts[:3000], labels[:3000])
figure, ax = plt.subplots()
LossCurveDisplay.from_estimator(pipeline, ax=ax)
