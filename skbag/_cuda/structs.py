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
    folded: Any  # whether the first of WINDOW windows in a row is the reduction of them all, see `pooling.fold_kernel`


class Segments(NamedTuple):
    """Segments of members: segment s has the members starts[s] - base <= i < starts[s + 1] - base; in."""

    starts: Any  # (> n,)
    base: Any
    n: Any


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


# --- of training, in the memory of the GPU: see ``skbag._cuda.calls``


class Bags(NamedTuple):
    """All bags, and the order in which an epoch takes them; in."""

    ids: Any  # (n_members,) int32 or int64
    weights: Any  # (n_members,) of the dtype of the model, or ()
    indptr: Any
    order: Any  # (n,) int32 or int64: the bags of the cut
    order_indptr: Any  # (n + 1,) int32: sums of their lengths
    rows: Any  # (n / n_fields,) like order: the rows of X that have these bags, of each field one


class Plan(NamedTuple):
    """How mini-batches go; numbers."""

    n_bags: Any  # of all mini-batches
    batch_size: Any  # bags
    n_fields: Any  # bags of a row of X
    n_batches: Any
    padding: Any  # the id of a member that does not count, or -1
    no_row: Any  # what stands for the row of a member that does not count: the number of rows
    long_bags: Any  # whether a bag has whole windows
    by_freq: Any
    max_norm: Any
    norm_type: Any
    n_layers: Any


class Members(NamedTuple):
    """The members of all mini-batches, copied together in the order of the bags."""

    rows: Any  # (n,) int32 or int64
    weights: Any  # (n,), or one number if all are 1
    bags: Any  # (n,) int32: the number of the bag in its mini-batch


class Sorting(NamedTuple):
    """Keys that are sorted, mini-batch by mini-batch, and where equal ones begin; see ``skbag._cuda.sorting``."""

    keys: Any  # (n,) int32 or int64
    batches: Any  # (n_batches + 1,) int64: where a mini-batch begins
    tiles: Any  # (n_batches + 1,) int64: where its tiles begin
    n_batches: Any
    n_passes: Any  # as many as a key has digits
    bits: Any  # of a digit
    even_keys: Any  # (n,): after digits 0, 2, 4, ...
    even_places: Any  # (n,) int32: where in its mini-batch a key was
    odd_keys: Any
    odd_places: Any
    counts: Any  # (> tiles << bits,) int32
    sums: Any  # (blocks,) int32
    starts: Any  # (> n,) int32: where a segment, a run of equal keys, begins
    rows: Any  # (n,): its key
    firsts: Any  # (> n_batches,) int64: the first segment of a mini-batch
    long: Any  # (n_batches,) int32: whether a mini-batch has a segment with whole windows


class Sort(NamedTuple):
    """What is sorted without being trained on."""

    sorting: Any


class Sorted(NamedTuple):
    """The members in the order of their rows."""

    weights: Any
    bags: Any


class Batch(NamedTuple):
    """Scratch of one mini-batch."""

    pooled: Any  # (n_bags * blocks of a bag, dim): the inputs of the first layer, a row for each block
    winners: Any  # (n_bags, dim) int32, for MAX
    sizes: Any  # (n * n_bags,): what sums were divided by, for each of the n `blocks.passes_of`
    squares: Any  # (n_bags, dim): of the weighted rows, divided by the square of the size, for the interaction
    losses: Any  # (n_rows,) float64
    of_blocks: Any  # like pooled: the derivative of the loss with respect to it; the same memory
    gradients: Any  # (n_bags, dim): the derivative with respect to the sum of a bag, or to its maximum if that is all
    others: Any  # (n_bags, dim): that with respect to the maximum or, but for a factor, to the sum of squares


class Layer(NamedTuple):
    """A layer z = weights @ inputs[p] + intercepts for each row p of a mini-batch.

    The activations of a hidden layer are the inputs of the next one, and the gradients with respect to them its
    ``gradients``.
    """

    weights: Any  # Parameters, (n_outputs, n_inputs)
    intercepts: Any  # Parameters, (n_outputs,)
    inputs: Any  # (n_rows, n_inputs)
    outputs: Any  # (n_outputs * n_rows,), scratch: z of the last layer, then derivatives of the loss with respect to z:
    # that of output k of row p is at k * n_rows + p
    gradients: Any  # (n_rows, n_inputs), scratch: derivatives with respect to inputs
    windows: Any  # of rows, for the gradients of the weights
    length: Any  # of the rows of the weights: at most, or with ``exactly`` that
    exactly: Any


class Kept(NamedTuple):
    """Rows of the table as they were."""

    rows: Any  # (>= n,): which are to be kept
    kept_rows: Any  # (>= n,): which are, out
    kept: Any  # Parameters, what they were
    table: Any  # Parameters


class Epoch(NamedTuple):
    """All that mini-batches are trained with."""

    plan: Any
    bags: Any
    members: Any
    sorting: Any
    sorted: Any
    batch: Any
    windows: Any  # of bags, for each pass over them, then of rows of the table, for each sum of a gradient
    targets: Any
    table: Any  # Parameters
    steps: (
        Any  # (n_batches, 3 + 3 * n_layers) float64: number; length and penalty of the table; and for each layer length
    )
    # and penalty of its weights, length of its intercepts
    batch_losses: Any  # (n_batches,) float64
    stop: Any  # (1,) int32: becomes 1 if training diverges
    layers: Any  # calls.Several of Layer, from the last to the first
