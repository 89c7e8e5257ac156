"""Loops over (weights, indices, indptr): no allocation, no exception, no scikit-learn."""
