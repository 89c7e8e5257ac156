"""
Why this label?
===============

A prediction of `skbag.EmbeddingBagClassifier` is a sum over the words of a text, so it
can be taken apart exactly. Here a classifier sorts messages of a shop, and we look at
what it has learnt: by words, by documents, and as a map.
"""

# %%
# Messages
# --------
# They are made up from some phrases, so that the example needs no data.

from itertools import product

import matplotlib.pyplot as plt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from skbag import EmbeddingBagClassifier
from skbag.inspection import DocumentDisplay, EmbeddingMapDisplay

openings = ["Hello,", "Dear team,", "Good morning,", "Hi there,"]
phrases = {
    "delivery": [
        "my parcel has not arrived",
        "the courier left the parcel outside",
        "when will my order be shipped",
    ],
    "payment": [
        "I was charged twice",
        "my card was declined",
        "the invoice shows the wrong amount",
    ],
    "returns": [
        "I want to send the shoes back",
        "the shirt is too small",
        "how do I return my order",
    ],
}
closings = [
    "please help.",
    "thanks a lot!",
    "I am waiting for an answer.",
    "kind regards",
]
messages = [
    (" ".join(parts), topic)
    for topic in phrases
    for parts in product(openings, phrases[topic], closings)
]
texts, topics = zip(*messages, strict=True)
model = make_pipeline(
    TfidfVectorizer(), EmbeddingBagClassifier(max_iter=20, random_state=0)
).fit(texts, topics)

# %%
# Words
# -----
# ``top_features`` says which words speak most for a class. Greetings are not among
# them: they occur with every topic.

words = model[0].get_feature_names_out()
for topic, strongest in model[-1].top_features(4, feature_names=words).items():
    print(f"{topic:9} {', '.join(word for word, _ in strongest)}")

# %%
# A document
# ----------
# Blue words speak for the class, red ones against it, and the title adds them up.
# "order" is said of deliveries and of returns: it speaks against payment, and not much
# for either of the two.

text = (
    "Hi there, I was charged twice for my order, and the parcel is too small. "
    "How do I return it?"
)
for topic, p in zip(model.classes_, model.predict_proba([text])[0], strict=True):
    print(f"{topic:9} {p:.2f}")
figure, axes = plt.subplots(3, 1, figsize=(8, 3.2))
figure.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=0.92, hspace=0.5)
for ax, topic in zip(axes, model.classes_, strict=True):
    DocumentDisplay.from_estimator(model, text, class_name=topic, ax=ax, width=70)

# %%
# The numbers behind it are ``contributions``, a sparse matrix of the shape of X.

X = model[0].transform([text])
row = model[-1].contributions(X, "returns")
order = row.data.argsort()[::-1]
print(", ".join(f"{words[row.indices[k]]} {row.data[k]:+.2f}" for k in order[:5]))
print(f"sum and intercept: {row.sum() + model[-1].intercepts_[0][2]:.3f}, ", end="")
print(f"decision_function: {model[-1].decision_function(X)[0, 2]:.3f}")

# %%
# A map
# -----
# The words that matter most. Those that speak for the same class have vectors that
# point the same way.

# sphinx_gallery_thumbnail_number = 1
EmbeddingMapDisplay.from_estimator(model, n_features=20)
plt.show()
