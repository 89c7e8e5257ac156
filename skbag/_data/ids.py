"""Ids in the layouts of torch, and in bags of different lengths, as checked bags."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from skbag._data.bags import Bags, as_ids, check_indptr, for_numpy, frozen, index_pair
from skbag._data.ragged import flattened

Array = NDArray[Any]


def bags_from_ids(
    input: ArrayLike,  # noqa: A002
    offsets: ArrayLike | None,
    *,
    num_embeddings: int,
    dtype: DTypeLike | None,
    per_sample_weights: ArrayLike | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Bags:
    """Take ids as bags: (B, N) ids, 1-D ids and the offset of each bag, or bags of different lengths.

    Every listed id is a member, whatever its weight. The weights are converted to ``dtype``;
    with None floats stay what they are, and others become float64.

    Raises
    ------
    TypeError
        If the ids, the offsets or the weights are of another kind than integer, integer and real.
    ValueError
        If the shapes do not fit, or the offsets decrease, do not start at 0 or overrun the ids.
    """
    ids, starts = _lists(input, "input", lambda values: as_ids(values, "input"))
    weights = None
    if per_sample_weights is not None:
        weights = _weights_of_ids(per_sample_weights, dtype, ids, starts)
    if starts is not None:
        if offsets is not None:
            raise ValueError("offsets must be None for a 2-D input: each row is a bag.")
    elif ids.ndim != 1:
        raise ValueError(f"input must be 1-D (with offsets) or 2-D, got {ids.ndim}-D of shape {ids.shape}.")
    elif offsets is None:
        raise ValueError("offsets must be given for a 1-D input: where each bag starts.")
    else:
        starts = as_ids(offsets, "offsets")
        if starts.ndim != 1:
            raise ValueError(f"offsets must be 1-D, got {starts.ndim}-D of shape {starts.shape}.")
        if not include_last_offset:
            if not len(starts) and len(ids):
                raise ValueError(f"offsets must not be empty: input has {len(ids)} ids, which are in no bag.")
            starts = np.append(starts, starts.dtype.type(len(ids)))
        elif not len(starts) or starts[-1] != len(ids):
            last = starts[-1] if len(starts) else "nothing"
            raise ValueError(
                f"With include_last_offset=True offsets must end with len(input) = {len(ids)}, got {last}."
            )
    indices, indptr = index_pair(ids.reshape(-1), starts, "input")
    check_indptr(indptr, len(indptr) - 1, len(indices), "offsets")
    return Bags(indices, indptr, weights, num_embeddings, padding_idx, "input", "per_sample_weights", "offsets")


def _lists(values: Any, name: str, convert: Callable[[Any], Array]) -> tuple[Array, Array | None]:
    """Return values as an array, and where each bag begins in it as a flat one; None where they do not say that."""
    ragged = flattened(values, name)
    if ragged is not None:
        return convert(ragged[0]), ragged[1]
    array = convert(values)
    return array, np.arange(len(array) + 1, dtype=np.int64) * array.shape[1] if array.ndim == 2 else None


def _weights_of_ids(given: Any, dtype: DTypeLike | None, ids: Array, starts: Array | None) -> Array:
    """Return one weight per id; ``starts`` is where each bag of ids begins, if they say so."""
    weights, others = _lists(for_numpy(given, "per_sample_weights"), "per_sample_weights", np.asarray)
    if weights.dtype.kind not in "biuf":
        raise TypeError(f"per_sample_weights must be real numbers, got {weights.dtype!r}.")
    if starts is not None and others is not None:
        if len(starts) != len(others):
            raise ValueError(
                f"per_sample_weights must have the shape of input, got those of {len(others) - 1} bags for "
                f"{len(starts) - 1}."
            )
        differ = np.diff(starts) != np.diff(others)
        if differ.any():
            k = int(np.argmax(differ))
            raise ValueError(
                f"per_sample_weights must have the shape of input, got {np.diff(others)[k]} weights for the "
                f"{np.diff(starts)[k]} ids of bag {k}."
            )
    elif weights.shape != ids.shape:
        raise ValueError(f"per_sample_weights must have the shape of input, {ids.shape}, got {weights.shape}.")
    if dtype is None:
        dtype = np.float32 if weights.dtype in (np.float16, np.float32) else np.float64
    return frozen(weights.reshape(-1), dtype)
