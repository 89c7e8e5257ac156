"""Blocks of rows that Dask computes: predictions, and training in rounds."""
