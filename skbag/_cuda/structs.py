"""What CUDA kernels are given: arrays and numbers that belong together.

Every array is C-contiguous, and was checked or made on the host before the launch. ``()`` stands for an array that a
kernel made for something else does not have.
"""

from typing import Any, NamedTuple


class Source(NamedTuple):
    """Rows, and the members that name them; in. Arrays that a reduction does not look at have one element."""

    rows: Any  # (n, dim)
    winners: Any  # like rows, int32; for WON
    members: Any  # (n_members,) int32; for WON
    ids: Any  # (n_members,); for members that are not dense
    factors: Any  # (n_members,), of the dtype of rows
    weights: Any  # (n_members,), of the dtype of rows


class Windows(NamedTuple):
    """What whole windows of long segments are reduced to: the window of position k * WINDOW is row k."""

    partials: Any  # (n_windows, dim)
    at: Any  # the same, int32; for WINNER
    sizes: Any  # (n_windows,)


class Segments(NamedTuple):
    """Segments of members: segment s has the members starts[s] - base <= i < starts[s + 1] - base; in."""

    starts: Any  # (> n,)
    base: Any
    n: Any
    limit: Any  # (1,) int64: only the segments s < limit[0] count


class Parameters(NamedTuple):
    """Rows of parameters, or single ones, and what the solver keeps of them; in-out."""

    values: Any  # (n, dim) or (n,)
    state: Any  # (n,) float64, or ()
    first: Any  # like values, or ()
    second: Any


class Step(NamedTuple):
    """What a step is made with."""

    number: Any  # 1.0, 2.0, ...
    rate: Any  # or, of a solver for which all rows have steps of one length, that length
    alpha: Any  # what of a row is added to its gradient
    by_freq: Any  # whether the gradient of a row is divided by its members
    max_norm: Any  # inf for none
    norm_type: Any
    exactly: Any  # whether rows are brought to max_norm from below, too


class Targets(NamedTuple):
    """The targets of the bags as a CSR matrix with sorted columns: what is not stored is 0; in."""

    indices: Any  # int64: outputs
    indptr: Any  # (n_bags + 1,) int64
    values: Any  # of the dtype of the model, or () for ones
    sample_weight: Any  # (n_bags,) float64
