"""What kernels of training and prediction are given: arrays that belong together.

Every array is C-contiguous, and was checked or made by ``skbag._cpu.training``. A kernel takes plain tuples, which cost
a third of what these cost from call to call, and puts them into memory as these; see ``calls.stored``.
"""

from typing import Any, NamedTuple


class Bags(NamedTuple):
    """The bags as in ``pooling.pool``, and the order in which an epoch takes them; in."""

    weights: Any  # (n_members,); of length 0 for ones
    indices: Any  # (>= n_members,) int32 or int64
    indptr: Any  # of the same dtype
    padding_idx: Any  # -1 for none
    order: Any  # (n,) int64: the bags of the epoch
    order_indptr: Any  # (n + 1,) int64: sums of their lengths


class Reduction(NamedTuple):
    """What is reduced to rows, see ``pooling.reduce_kernel``: bags as they are given, or those of a mini-batch."""

    table: Any  # (n_rows, dim), in
    multipliers: Any  # (n_members,), in; or None for ones
    indices: Any  # (n_members,) int32 or int64, in
    padding_idx: Any  # members with this index count as the row ``spare``; or None
    spare: Any  # (dim,), in; never read without padding_idx
    starts: Any  # (n_bags,) int32 or int64: where the members of a bag begin, in
    stops: Any
    sizes: Any  # what the sums of the bags that a call is made for are divided by; of length 0 for nothing, in
    progress: Any  # (5 or more,) int64, in-out
    out: Any  # (n_bags, dim), out


class Targets(NamedTuple):
    """The targets of the bags as a CSR matrix: what is not stored is 0; and the weights of the bags; in."""

    order: Any  # (n,) int64: the bags of the epoch
    indices: Any  # int64: outputs
    indptr: Any  # (n_bags + 1,) int64
    values: Any  # of the dtype of the model; of length 0 for ones
    sample_weight: Any  # (n_bags,) float64


class Forward(NamedTuple):
    """What is pooled, as read-only views: files may be mapped into memory; in."""

    table: Any  # (n_rows, dim)
    spare: Any  # (any,): what `Reduction` has


class Layer(NamedTuple):
    """A layer z = coef @ inputs[p] + intercept for each bag p of a mini-batch, and how it is gone through.

    Rows of what is scratch may be longer, for whole vectors. A row of a hidden layer's ``outputs`` is one of the next
    layer's ``inputs``, and its ``deltas`` are the next layer's ``gradients``.
    """

    coef: Any  # (n_outputs, n_inputs), read-only view; in
    intercept: Any  # (n_outputs,), read-only view; in
    inputs: Any  # (n_bags, >= n_inputs), in
    outputs: Any  # (n_bags, >= n_outputs), out: z, of a hidden layer its activation
    deltas: Any  # (n_bags, >= n_outputs), out: derivatives of the loss with respect to z
    gradients: Any  # (n_bags, >= n_inputs), out: those with respect to inputs; without rows where nothing asks for them
    update: Any  # address of update.update_kernel's kernel for rows of n_inputs


class Parameters(NamedTuple):
    """Rows of parameters, or single ones, and what the solver keeps of them; in-out."""

    values: Any  # (n, dim) or (n,)
    state: Any  # (n,) float64
    first: Any  # like values if the solver has states of elements, else with a row or nothing
    second: Any


class Step(NamedTuple):
    """What a step is made with."""

    rate: Any  # of the first mini-batch of a call
    rate_step: Any  # what each mini-batch takes off it
    alpha: Any
    max_norm: Any  # inf for none
    norm_type: Any
    exactly: Any  # whether rows are brought to max_norm from below, too
    bias: Any  # times the rate for biases
    by_freq: Any  # whether the gradient of a row of the table is divided by its members in the mini-batch


class Plan(NamedTuple):
    """How a mini-batch goes."""

    number: Any  # of the first one of the epoch: 1, 2, ...
    first: Any  # mini-batches of the epoch that were run before
    mode: Any
    batch_size: Any
    freeze: Any  # leave the table alone
    max_by_freq: Any  # what ``Step.by_freq`` says, for MAX
    linear: Any  # add the gradient of each member as it comes
    row_state: Any  # of the solver
    element_states: Any
    reduce: Any  # addresses of kernels: pooling.reduce_kernel, head.head_kernel, update.update_kernel, .add_kernel
    head: Any
    update: Any
    add: Any


class Batch(NamedTuple):
    """Scratch of one mini-batch, shared by the parts."""

    ids: Any  # (n_members,) int32, or int64 for tables of 2 ** 31 rows
    weights: Any  # (n_members,)
    bags: Any  # (n_members,) like ids
    starts: Any  # (n_bags,) int64
    stops: Any
    pooled: Any  # (n_bags, dim)
    winners: Any  # (n_bags, dim) int64, for MAX
    outputs: Any  # (n_bags, n_outputs or more: whole vectors): of the last layer, then the derivative of the loss
    gradients: Any  # (n_bags, dim): the derivative of the loss with respect to pooled
    losses: Any  # (n_bags,) float64


class Parts(NamedTuple):
    """Scratch of the parts: the first dimension is n_parts, where they do not share an array."""

    firsts: Any  # (n_parts,) int64
    n_owned: Any  # (n_parts, n_parts) int64
    owned: Any  # (n_parts, n_members) int32
    pairs: Any  # (n_parts, 2, n_members) int64
    counts: Any  # (n_parts, 2, 2048) int32
    rows: Any  # (n_parts, r) int64: rows that are updated together
    fresh: Any  # (n_parts, r) int64: those of them that no step changed before
    starts: Any  # (n_parts, r) int64: where the terms of the gradient of each begin in a list of terms
    stops: Any
    weights: Any  # (n_parts, n): of terms of the gradients of a layer, row by row
    terms: Any  # (n_bags or more,) int64: 0, 1, 2, ...
    ranks: Any  # the same as batch.ids has them
    row_gradients: Any  # (n_parts, r, dim)
    sums: Any  # (n_parts, r, dim): gradients of rows, for MAX
    steps: Any  # (n_parts, r) float64
    targets: Any  # (n_parts, as many as the columns of batch.outputs): of one bag; zeros between two


class Undo(NamedTuple):
    """What rows of the table were before a call; with ``touched`` of length 0 nothing is kept."""

    touched: Any  # (n_rows,) uint8: whether a row is kept
    n_rows: Any  # (1,) int64: how many are
    rows: Any  # (n,) int64: which
    values: Any  # Parameters of the kept rows
    state: Any
    first: Any
    second: Any
