import matplotlib.pyplot as plt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from texts import paragraphs

from skbag import EmbeddingBagClassifier
from skbag.inspection import EmbeddingMapDisplay

shown = {"scipy.integrate", "scipy.ndimage", "scipy.signal", "sklearn.metrics"}
texts, labels = zip(*[pair for pair in zip(*paragraphs(), strict=True) if pair[1] in shown], strict=True)
model = make_pipeline(TfidfVectorizer(min_df=3, sublinear_tf=True), EmbeddingBagClassifier(random_state=0))
model.fit(texts, labels)
figure, ax = plt.subplots(figsize=(5.6, 4.4))
EmbeddingMapDisplay.from_estimator(model, n_features=24, ax=ax)
