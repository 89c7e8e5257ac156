"""Texts in: hashed n-grams, fastText's models and files."""

from skbag._text.hashing import HashingNgramVectorizer

__all__ = ["HashingNgramVectorizer"]
