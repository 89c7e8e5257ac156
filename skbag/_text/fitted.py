"""A fitted classifier from arrays that were learnt elsewhere."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._data.model import Model, Parameters
from skbag._data.targets import CLASSES, LABELS, Classes
from skbag._estimators.classifier import EmbeddingBagClassifier
from skbag._rules.solvers import SOLVERS

Array = NDArray[Any]


def fitted_classifier(table: Array, layer: Array, classes: Array, *, exclusive: bool, **parameters: Any) -> Any:
    """Return an EmbeddingBagClassifier that has learnt this already.

    Parameters
    ----------
    table : ndarray of shape (n_features, dim), float32
    layer : ndarray of shape (n_classes, dim), float32
    classes : ndarray of shape (n_classes,)
        Sorted.
    exclusive : bool
        Whether they are classes, of which a text has one, or labels.
    parameters
        Of the classifier.
    """
    classifier = EmbeddingBagClassifier(table.shape[1], **parameters)
    learnt = Classes(CLASSES if exclusive else LABELS, classes)
    if learnt.n_outputs == 1:
        layer = layer[1:] - layer[:1]
    arrays = table, np.ascontiguousarray(layer), np.zeros(len(layer), table.dtype)
    solver = SOLVERS[classifier.solver]
    classifier.n_features_in_ = len(table)
    classifier._keep(Model.of(Parameters.new(a, solver) for a in arrays), learnt, np.random.RandomState(0), [], [])
    classifier.validation_scores_ = classifier.best_validation_score_ = classifier.best_loss_ = None
    classifier.best_n_iter_ = 0
    return classifier
