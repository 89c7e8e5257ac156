"""Embedding bags for scikit-learn: sparse rows in, pooled dense features out."""

from ._functional import bags_to_csr, embedding, embedding_bag
from ._vectorizer import EmbeddingBagVectorizer
from ._version import __version__

__all__ = ["EmbeddingBagVectorizer", "__version__", "bags_to_csr", "embedding", "embedding_bag"]
