"""Rows of parameters, changed by their gradients, on a GPU.

A row is a segment of members: one group of threads sums the gradients of its bags in the order of the bags and changes
the row once. No two threads add to one number, so that two runs give the same bytes.
"""

import math
from functools import cache

import numpy as np
from numba import cuda

from skbag._cuda.jit import device
from skbag._cuda.norms import group_total, norm_of, power
from skbag._cuda.pooling import FEW, reduce_segment
from skbag._cuda.reducing import OWN
from skbag._cuda.storage import number_at, put_number
from skbag._cuda.tile import add_scaled, divided, full, gather, is_finite, item, rounded_to, scatter, squares
from skbag._cuda.vector import as_row, as_rule, as_tile
from skbag._rules.rounding import seed_of
from skbag._rules.solvers import Solver

as_rule(seed_of)


@cache
def gradient_of(kinds):
    """Make the gradient of a row of parameters, see `row_of`."""
    kind, other, two, own = kinds[0], kinds[-1], len(kinds) - 1, int(kinds[-1][0] == OWN)

    @device
    def row_gradient(sources, windows, zeros, at, start, stop, slot, lanes, step, old):
        """Return a thread's columns of the gradient of a row, with the penalty; ``old`` are those of the row."""
        state, dtype = (zeros, at, zeros[0][0]), sources[0].rows.dtype
        origin = start if kind[5] else np.int64(0)
        g, _, _ = reduce_segment(
            FEW, kind, sources[0], windows[0], state, np.int64(-1), origin, start, stop, slot, lanes
        )  # fmt: skip
        if two:
            more, _, _ = reduce_segment(
                FEW, other, sources[two], windows[two], state, np.int64(-1), origin, start, stop, slot, lanes
            )  # fmt: skip
            if own:
                more = as_row(zeros, as_tile(more) * -as_tile(old))
            g = add_scaled(g, more, dtype.type(1), True)
        if step.by_freq:
            g = divided(g, dtype.type(stop - start))
        if step.alpha != 0:
            g = add_scaled(g, old, dtype.type(step.alpha), True)
        return g

    return row_gradient


@device
def rescale(scratch, values, row, first_slot, lanes, width, step, like):
    """Multiply a row that is longer than max_norm, or any if ``exactly``, by max_norm / (norm + 1e-7), torch's.

    All threads of a block call it. Each goes through the columns from ``first_slot`` on that it has written itself. The
    arithmetic is that of the dtype of the array ``like``.
    """
    dim, max_norm, norm_type = values.shape[1], step.max_norm, step.norm_type
    total = 0.0
    slot = first_slot
    while slot * width < dim:
        part = 0.0
        for column in range(slot * width, (slot + 1) * width):
            one = power(number_at(values, row, column), norm_type)
            part = max(part, one) if norm_type == math.inf else part + one
        total = max(total, part) if norm_type == math.inf else total + part
        slot += lanes
    length = norm_of(group_total(scratch, total, lanes, norm_type == math.inf), norm_type)
    if length > max_norm or (step.exactly and length > 0):
        factor = like.dtype.type(max_norm / (length + 1e-7))
        slot = first_slot
        while slot * width < dim:
            for column in range(slot * width, (slot + 1) * width):
                put_number(values, row, column, number_at(values, row, column) * factor)
            slot += lanes


def one_length(solver: Solver) -> bool:
    """Whether the steps of all rows have one length, which `step_of_rows` returns, and rows have no state."""
    return not (solver.row_state or solver.mean_square)


@cache
def row_of(kinds, solver, threads, lanes, width, vectors):
    """Make the change of a row by its gradient with a solver (``skbag._rules.solvers.Solver``).

    ``kinds`` : those of one sum that is the gradient, see `pooling.member`, or of two that are, of which an OWN is
    times minus the row. One group of ``lanes`` threads per row; all threads of a block call it.
    """
    row_rule, element_rule = as_rule(solver.row), as_rule(solver.element)
    states, looks_back = solver.element_states, int(solver.mean_square)
    row_state, uniform = int(solver.row_state), int(one_length(solver))
    stride, row_gradient = lanes * vectors, gradient_of(kinds)
    fits = int(lanes < threads)  # then a group has all columns of a row at once: see `skbag._cuda.shapes`

    @device
    def states_of_row(zeros, parameters, row, slot):
        """Return a thread's columns of the states of a row, zeros for those that the solver does not have."""
        first = second = zeros
        if states > 0:
            first = gather(zeros, parameters.first, row, slot, lanes)
        if states > 1:
            second = gather(zeros, parameters.second, row, slot, lanes)
        return first, second

    @device
    def squares_of_row(sources, windows, step, values, zeros, at, old, row, begin, end, first_slot):
        """Return the sum of the squares of a thread's columns of the gradient of a row, and the last ones of these."""
        g, total, slot, dim = zeros, 0.0, first_slot, values.shape[1]
        while slot * width < dim:
            here = old if slot == first_slot else gather(zeros, values, row, slot, lanes)
            g = row_gradient(sources, windows, zeros, at, begin, end, slot, lanes, step, here)
            total += squares(g, slot, lanes, dim)
            slot += stride
            if fits:
                break
        return total, g

    @device
    def change_columns(parameters, row, slot, old, g, first, second, length, number):
        """Change a thread's columns of a row by their gradient; return whether they, and their states, are finite."""
        values = parameters.values
        new, new_first, new_second = element_rule(
            as_tile(old), as_tile(g), as_tile(first), as_tile(second), length
        )  # fmt: skip
        new = rounded_to(as_row(g, new), values, seed_of(number, row), slot, lanes)
        finite = is_finite(new)
        scatter(values, row, slot, lanes, new)
        if states > 0:
            kept = as_row(g, new_first)
            finite = finite and is_finite(kept)
            scatter(parameters.first, row, slot, lanes, kept)
        if states > 1:
            kept = as_row(g, new_second)
            finite = finite and is_finite(kept)
            scatter(parameters.second, row, slot, lanes, kept)
        return finite

    @device
    def change_row(sources, windows, step, parameters, stop, active, row, begin, end, lane):
        """Change parameters[row] once, by its gradient: the reduction of the members begin <= i < end.

        With ``by_freq`` the gradient is first divided by the number of members; then alpha * row is added to it. A row
        whose norm then exceeds max_norm is rescaled to it. stop[0] becomes 1 if the row or one of its states is not
        finite any more. What is not ``active`` has no row; it reads row 0.

        Tuples of ``skbag._cuda.structs``: for each sum one of sources, with gradients of bags as its rows, and of
        windows, step, in; parameters, in-out. stop : (1,) int32, in-out.
        """
        scratch, values, dim = cuda.shared.array(threads, np.float64), parameters.values, parameters.values.shape[1]
        first_slot = lane if active else np.int64(dim)
        scalar = sources[0].rows.dtype.type  # of what is calculated with: values may be stored in fewer bytes
        zeros, at = full(scalar(0), width, vectors), full(np.int32(-1), width, vectors)
        g, length, state = zeros, step.rate, 0.0
        # asked for before the gradient is: both are on their way together
        old = gather(zeros, values, row, first_slot, lanes)
        first, second = states_of_row(zeros, parameters, row, first_slot)
        if row_state:
            state = item(parameters.state, row)
        if not uniform:
            mean_square = 0.0
            if looks_back:
                total, g = squares_of_row(sources, windows, step, values, zeros, at, old, row, begin, end, first_slot)
                mean_square = group_total(scratch, total, lanes, False) / dim
            elif row_state:
                cuda.syncthreads()  # all have read the state
            state, length = row_rule(state, mean_square, step.number, step.rate)
            if row_state and active:
                if lane == 0:
                    parameters.state[row] = state
                if not state < math.inf:  # the row would never change again
                    stop[0] = 1
        size, slot = scalar(length), first_slot
        while slot * width < dim:
            if not fits and slot != first_slot:
                old = gather(zeros, values, row, slot, lanes)
                first, second = states_of_row(zeros, parameters, row, slot)
            if not looks_back or (not fits and dim > stride * width):  # else g is still there
                g = row_gradient(sources, windows, zeros, at, begin, end, slot, lanes, step, old)
            if not change_columns(parameters, row, slot, old, g, first, second, size, step.number):
                stop[0] = 1
            slot += stride
            if fits:
                break
        if step.max_norm < math.inf:
            rescale(scratch, values, row, first_slot, lanes, width, step, sources[0].rows)

    return change_row


@cache
def finish_of(solver, threads):
    """Make the end of a step, by one block per output and one for the loss."""
    row_rule, element_rule = as_rule(solver.row), as_rule(solver.element)
    states, row_state, uniform = solver.element_states, int(solver.row_state), int(one_length(solver))

    @device
    def change_number(parameters, k, g, step):
        """Change parameters[k] by its gradient g; return what is finite if it, and its states, are."""
        values, state, first, second = parameters.values, 0.0, 0.0, 0.0
        if row_state:
            state = parameters.state[k]
        if states > 0:
            first = np.float64(parameters.first[k])
        if states > 1:
            second = np.float64(parameters.second[k])
        length = step.rate
        if not uniform:
            state, length = row_rule(state, g * g, step.number, step.rate)
        old = full(np.float64(values[k]), 1, 1)
        new, new_first, new_second = element_rule(
            as_tile(old), as_tile(full(g, 1, 1)), as_tile(full(first, 1, 1)), as_tile(full(second, 1, 1)), length
        )  # fmt: skip
        values[k] = as_row(old, new)[0][0]
        check = state + np.float64(values[k])  # as it is stored: float32 may be infinite where float64 is not
        if row_state:
            parameters.state[k] = state
        if states > 0:
            parameters.first[k] = as_row(old, new_first)[0][0]
            check += np.float64(parameters.first[k])
        if states > 1:
            parameters.second[k] = as_row(old, new_second)[0][0]
            check += np.float64(parameters.second[k])
        return check

    @device
    def finish(gradients, n_bags, losses, step, intercept, batch, batch_losses, stop, k):
        """Change intercept[k] by the sum of gradients[k * n_bags + p], or set batch_losses[batch] = sum of losses[p].

        An intercept is a row of one number, without a penalty. ``k`` = n_outputs stands for the loss.

        gradients : (n_outputs * n_bags,), in. losses : (>= n_bags,) float64, in. step : structs.Step, in. intercept :
        structs.Parameters (n_outputs,), in-out. batch_losses : (> batch,) float64, out. stop : (1,) int32, in-out,
        becomes 1 if the loss, an entry of intercept or one of its states is not finite.
        """
        scratch = cuda.shared.array(threads, np.float64)
        thread, n_outputs, total = cuda.threadIdx.x, len(intercept.values), 0.0
        for p in range(thread, n_bags, threads):
            total += np.float64(gradients[k * n_bags + p]) if k < n_outputs else losses[p]
        total = group_total(scratch, total, threads, False)
        if thread == 0:
            check = total
            if k == n_outputs:
                batch_losses[batch] = total
            else:
                check += change_number(intercept, k, total, step)
            if not math.isfinite(check):
                stop[0] = 1

    return finish
