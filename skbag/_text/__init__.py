"""Texts and tokens: what comes before the bags."""
