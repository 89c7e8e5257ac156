"""Embedding bags for scikit-learn: sparse rows in, pooled dense features out.

An embedding bag is a table of vectors, looked up by index and pooled per bag. `EmbeddingBagVectorizer` takes the rows
of a sparse matrix as bags and is a scikit-learn transformer. `embedding_bag` and `embedding` take ids and a table, in
the layouts of torch, and `bags_to_csr` turns such ids into a sparse matrix.
"""

from skbag._data.quantized import QuantizedTable
from skbag._estimators.classifier import EmbeddingBagClassifier
from skbag._estimators.regressor import EmbeddingBagRegressor
from skbag._estimators.vectorizer import EmbeddingBagVectorizer
from skbag._functional import bags_to_csr, embedding, embedding_bag
from skbag._version import __version__

__all__ = [
    "EmbeddingBagClassifier",
    "EmbeddingBagRegressor",
    "EmbeddingBagVectorizer",
    "QuantizedTable",
    "__version__",
    "bags_to_csr",
    "embedding",
    "embedding_bag",
]
