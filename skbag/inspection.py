"""Pictures: what training did, why a document has its label, and where the learnt vectors lie.

Each class is a Display as scikit-learn has them: ``from_estimator`` computes and draws, ``plot`` draws once more. They
draw with matplotlib, which is imported by the first call that draws.
"""

from skbag._inspection.document import DocumentDisplay
from skbag._inspection.embedding_map import EmbeddingMapDisplay
from skbag._inspection.loss_curve import LossCurveDisplay

__all__ = ["DocumentDisplay", "EmbeddingMapDisplay", "LossCurveDisplay"]
