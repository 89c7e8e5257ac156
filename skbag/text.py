"""Texts in: hashed n-grams, and what users of fastText bring, its models and its files."""

from skbag._text.fasttext import FastTextModel, FastTextVectorizer, read_fasttext
from skbag._text.hashing import HashingNgramVectorizer
from skbag._text.hierarchy import HierarchicalSoftmaxClassifier
from skbag._text.labelled import iter_labelled_texts, read_labelled_texts

__all__ = [
    "FastTextModel",
    "FastTextVectorizer",
    "HashingNgramVectorizer",
    "HierarchicalSoftmaxClassifier",
    "iter_labelled_texts",
    "read_fasttext",
    "read_labelled_texts",
]
