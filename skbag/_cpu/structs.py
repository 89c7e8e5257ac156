"""What kernels of training and prediction are given: arrays that belong together.

Every array is C-contiguous, and was checked or made by ``skbag._cpu.training``. They lie in memory, see
``calls.Recipe``: every field is an array, an integer, a float or None, and flags are the integers 0 and 1.
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
    scales: Any  # (n_rows,), in: what multiplies the rows of the table; or None
    indices: Any  # (n_members,) int32 or int64, in
    padding_idx: Any  # members with this index count as the row ``spare``; or None
    spare: Any  # (dim,), in; never read without padding_idx
    starts: Any  # (n_bags,) int32 or int64: where the members of a bag begin, in
    stops: Any
    sizes: Any  # (len(places) * n,): what sums are divided by, place by place; of length 0 for nothing, in
    progress: Any  # (5 or more,) int64, in-out
    out: Any  # (n_bags, columns), out
    places: Any  # int64: the columns of ``out`` at which the reduced row is written, divided by the sizes of each, in


class Layout(NamedTuple):
    """How a pooled row is made of blocks, see ``skbag._data.blocks.Blocks``; the columns are those of a field; in."""

    n_fields: Any  # a row is so many bags
    modes: Any  # (n,) int64: of the sums, of which the first is what the members' weights are made for
    places: Any  # (n,) int64: where the block of each begins
    maximum: Any  # where that of MAX begins, -1 for none
    maxima: Any  # (1,) int64: the same
    interaction: Any  # where that of the interaction begins, -1 for none
    origin: Any  # (1,) int64: 0, the place of what is no block


class Targets(NamedTuple):
    """The targets of the bags as a CSR matrix: what is not stored is 0; and the weights of the bags; in."""

    order: Any  # (n,) int64: the bags of the epoch
    indices: Any  # int64: outputs
    indptr: Any  # (n_bags + 1,) int64
    values: Any  # of the dtype of the model; of length 0 for ones
    sample_weight: Any  # (n_bags,) float64
    starts: Any  # (n + 1,) int64: where the outputs of the bags of the order begin; of length 0 if each has them all


class Forward(NamedTuple):
    """What is pooled, as read-only views: files may be mapped into memory; in."""

    table: Any  # (n_rows, dim), of the dtype of all others or of one of ``storage``
    spare: Any  # (any,) like the table: what `Reduction` has
    scales: Any  # (n_rows,): what multiplies the rows of the table; or None


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
    forward: Any  # addresses of kernels: hidden.forward_kernel, hidden.back_kernel, 0 for the last layer
    back: Any
    update: Any  # address of update.update_kernel's kernel for rows of n_inputs


class Parameters(NamedTuple):
    """Rows of parameters, or single ones, and what the solver keeps of them; in-out."""

    values: Any  # (n, dim) or (n,); of a table maybe of a dtype of ``storage``
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

    batch_size: Any
    freeze: Any  # leave the table alone
    gathers: Any  # gradients of rows before they are used, as they are no sum over members of what ``batch`` has
    by_freq: Any  # what ``Step.by_freq`` says, where they are gathered
    linear: Any  # add the gradient of each member as it comes
    row_state: Any  # of the solver
    element_states: Any
    reduce: Any  # addresses of kernels: pooling.reduce_kernel for sums and for squares
    reduce_squares: Any
    head: Any  # head.head_kernel
    update: Any  # update.update_kernel, .add_kernel, .gather_kernel
    add: Any
    gather: Any
    rows: Any  # rows.rows_kernel, or if ``linear`` rows.add_rows
    outputs: Any  # rows.rows_kernel for rows of the last layer that are chosen
    maxima: Any  # forward.pool_maxima, .interact, .fold_gradients
    interact: Any
    fold: Any


class Batch(NamedTuple):
    """Scratch of one mini-batch, shared by the parts."""

    ids: Any  # (n_members,) int32, or int64 for tables of 2 ** 31 rows
    weights: Any  # (n_members,)
    bags: Any  # (n_members,) like ids
    starts: Any  # (n_bags,) int64; a bag is a field of a row, of which there are n_rows
    stops: Any
    pooled: Any  # (n_rows, n_pooled): what the first layer reads
    blocks: Any  # (n_bags, columns of a field): the same memory
    sizes: Any  # (n_sums * n_bags,): divisors of the sums, sum by sum; of length 0 where there is one
    squares: Any  # (n_bags, dim), for the interaction: sums of the squares of weighted rows
    winners: Any  # (n_bags, dim) int64, for MAX
    outputs: Any  # (n_rows, n_outputs or more: whole vectors): of the last layer, then the derivative of the loss
    gradients: Any  # (n_rows, n_pooled): the derivative of the loss with respect to pooled
    of_blocks: Any  # (n_bags, columns of a field): the same memory
    of_sums: Any  # (n_bags, dim): the derivative with respect to sums with the weights; the same memory if that is all
    of_squares: Any  # (n_bags, dim), for the interaction: minus twice the derivative with respect to squares
    losses: Any  # (n_rows,) float64


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
    sums: Any  # (n_parts, r, dim): gradients of rows, where they are gathered
    steps: Any  # (n_parts, r) float64
    states: Any  # (n_parts, r) float64: of rows
    targets: Any  # (n_parts, as many as the columns of batch.outputs): of one bag; zeros between two


class Chosen(NamedTuple):
    """Which outputs of the last layer each bag of a mini-batch has to do with, where not with all; see `Targets`.

    They are members of the bag as others are of the table: ids, weights and bags of entries, sorted in the same way.
    """

    seed: Any  # of what is drawn, see _data.some_outputs.Negatives: of length 0 without that
    cumulative: Any  # (n_outputs,) float64, in
    begins: Any  # (n_negatives + 1,) int64, in
    offsets: Any  # (n_outputs,), of the dtype of the model, in
    path_starts: Any  # (n_classes + 1,) int64, in: see Tree.paths there
    path_nodes: Any  # int64
    path_sides: Any  # int64
    ids: Any  # (n_entries,) like batch.ids: outputs
    weights: Any  # (n_entries,): the derivative of the loss with respect to each
    bags: Any  # (n_entries,) like ids
    firsts: Any  # (n_parts,) int64: as in Parts
    n_owned: Any  # (n_parts, n_parts) int64
    owned: Any  # (n_parts, n_entries) int32
    pairs: Any  # (n_parts, 2, n_entries) int64
    drawn: Any  # (n_parts, n_negatives) int64
    outputs: Any  # (n_parts, 3, entries of a bag: whole vectors): outputs and then derivatives; targets; factors


class Leaves(NamedTuple):
    """A tree whose inner nodes the outputs of the last layer are, and scratch for each thread; see ``leaves``."""

    children: Any  # (2 * n_nodes,) int32: left and right of each, n_leaves and more for nodes; in
    reached: Any  # (n_threads, n_leaves + n_nodes): the logarithm of the probability to get there
    waiting: Any  # (n_threads, n_nodes) int32: what is still to be looked at
    steps: Any  # (n_threads, 2, whole vectors): logarithms of left and right branches of some nodes


class Undo(NamedTuple):
    """What rows of the table, or of the last layer, were before a call; nothing is kept if touched has no length."""

    touched: Any  # (n_rows,) uint8: the number of the call that last kept a row
    n_rows: Any  # (2,) int64: how many are kept; the number of this call
    rows: Any  # (n,) int64: which
    values: Any  # Parameters of the kept rows
    state: Any
    first: Any
    second: Any


class Progress(NamedTuple):
    """What the threads of a call of training share; see ``step.train``."""

    tickets: Any  # (5,) int64, in-out
    losses: Any  # (n_batches,) float64, out
    number: Any  # of the first mini-batch of the call: 1, 2, ...
    first: Any  # mini-batches of the epoch that were run before


class Predictions(NamedTuple):
    """What is predicted, and how threads share it, see ``sharing``: arrays without rows are not asked for."""

    n_blocks: Any
    shares: Any
    progress: Any  # (6,) int64, in-out
    features: Any  # (n_rows, n_pooled), out: the pooled rows
    outputs: Any  # (n_rows, n_outputs), out
    choices: Any  # (n_rows,) int64, out: the number of the largest output; of a single one whether it is above 0
    best: Any  # (n_rows, k) int64, out: the numbers of the largest
    scores: Any  # (n_rows, k), out: these
    totals: Any  # (n_rows,), out: logarithms of the sums of exponentials of outputs
