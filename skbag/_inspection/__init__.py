"""Pictures of fitted estimators, as the Displays of scikit-learn."""
