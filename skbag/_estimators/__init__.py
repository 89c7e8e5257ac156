"""Estimators: parameters, fitted state, scikit-learn's contract."""
