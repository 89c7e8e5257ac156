"""Texts that are on every machine: what NumPy, SciPy and scikit-learn say of their functions."""

import inspect
from importlib import import_module
from zlib import crc32

MODULES = (
    "numpy.linalg", "scipy.integrate", "scipy.interpolate", "scipy.ndimage", "scipy.optimize", "scipy.signal",
    "scipy.sparse", "scipy.spatial", "scipy.special", "scipy.stats", "sklearn.metrics", "sklearn.preprocessing",
)  # fmt: skip


def members():
    """Yield the module, the object and the docstring of all that the modules export."""
    for name in MODULES:
        module = import_module(name)
        for member in sorted(module.__all__):
            text = inspect.getdoc(getattr(module, member)) or ""
            if len(text) > 100 and not inspect.ismodule(getattr(module, member)):
                yield name, getattr(module, member), text


def paragraphs(min_words=8):
    """Return paragraphs of the documentation, without examples, and the module that each is from; in a fixed order."""
    found = {}
    for name, _, text in members():
        for part in text.split("\n\n"):
            words = " ".join(part.split())
            if ">>>" not in words and len(words.split()) >= min_words:
                found.setdefault(words, name)
    texts = sorted(found, key=lambda text: (crc32(text.encode()), text))
    return texts, [found[text] for text in texts]
