"""Words and texts: vectors learnt elsewhere by their words, and static embedding models by their tokens."""

from skbag._text.alignment import align, vocabulary_of
from skbag._text.static import load_static_model
from skbag._text.tokens import TokenizerVectorizer
from skbag._text.words import TextEmbeddingVectorizer

__all__ = ["TextEmbeddingVectorizer", "TokenizerVectorizer", "align", "load_static_model", "vocabulary_of"]
