"""Blocks of rows on many workers: predictions, and training in rounds, by Dask."""

from skbag._dask.predicting import decision_function, predict, predict_proba, transform
from skbag._dask.training import fit, partial_fit

__all__ = ["decision_function", "fit", "partial_fit", "predict", "predict_proba", "transform"]
