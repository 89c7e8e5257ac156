"""Words and texts: vectors learnt elsewhere, static embedding models, hashed n-grams, fastText's models and files."""

from skbag._text.alignment import align, vocabulary_of
from skbag._text.fasttext import FastTextModel, FastTextVectorizer, read_fasttext
from skbag._text.hashing import HashingNgramVectorizer
from skbag._text.labelled import iter_labelled_texts, read_labelled_texts
from skbag._text.static import load_static_model
from skbag._text.tokens import TokenizerVectorizer
from skbag._text.words import TextEmbeddingVectorizer

__all__ = [
    "FastTextModel",
    "FastTextVectorizer",
    "HashingNgramVectorizer",
    "TextEmbeddingVectorizer",
    "TokenizerVectorizer",
    "align",
    "iter_labelled_texts",
    "load_static_model",
    "read_fasttext",
    "read_labelled_texts",
    "vocabulary_of",
]
