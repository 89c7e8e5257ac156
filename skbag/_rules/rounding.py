"""Rounding by chance: a number between two that a table can store becomes one of them, so that its mean stays."""

import numpy as np


def seed_of(number, row):  # type: ignore[no-untyped-def]
    """Return the seed of the rounding of a row in a step, a uint32; see ``rounded_to`` of both backends."""
    bits = np.uint64(np.uint32(row)) * np.uint64(0x85EBCA6B) ^ np.uint64(np.uint32(number)) * np.uint64(0xC2B2AE35)
    return np.uint32((bits ^ (bits >> np.uint64(15))) & np.uint64(0xFFFFFFFF))
