"""Solvers on the CPU: how rows and numbers change by their gradients, with the rules of `skbag._rules.solvers`."""

import numpy as np

from skbag._compiled.once import once
from skbag._cpu.columns import add_scaled, first_column, join_at, offset_of, rounded_to, skip_of, store_in
from skbag._cpu.head import row_address
from skbag._cpu.jit import as_rule, inlined
from skbag._cpu.memory import item, item_bytes, put
from skbag._cpu.sharing import STOP
from skbag._cpu.tile import load, of_table, store
from skbag._rules.rounding import seed_of

as_rule(seed_of)


@once
def change_of(solver):
    """Make what changes some columns of a row by their gradient."""
    element_rule, states = as_rule(solver.element), solver.element_states

    @inlined
    def change(tile, zero, check, g, row, column, offset, tail, step, number, parameters):
        """Change the columns of one tile of a row by their gradient; return check, NaN if they are not finite."""
        values, dim, span = parameters.values, parameters.values.shape[1], tile.span
        target = row_address(values, row) + offset_of(dim, column, span, item_bytes(values))
        old = load(of_table(tile, values), target, tail)
        first = second = tile
        if states > 0:
            first = load(tile, row_address(parameters.first, row) + offset, tail)
        if states > 1:
            second = load(tile, row_address(parameters.second, row) + offset, tail)
        new, new_first, new_second = element_rule(old, g, first, second, step)
        new = rounded_to(new, values, seed_of(number, row), first_column(dim, column, span), tail)
        if not tile.single and column > 0:
            skip = skip_of(dim, column, span)
            new = join_at(old, new, tail, skip)
            new_first, new_second = join_at(first, new_first, tail, skip), join_at(second, new_second, tail, skip)
        store_in(new, values, target, tail)
        check = add_scaled(check, zero, new)
        if states > 0:
            store(new_first, row_address(parameters.first, row) + offset, tail)
            check = add_scaled(check, zero, new_first)
        if states > 1:
            store(new_second, row_address(parameters.second, row) + offset, tail)
            check = add_scaled(check, zero, new_second)
        return check

    return change


@once
def length_of(solver):
    """Make what returns the length of the step of a row where it does not depend on the gradient."""
    row_rule, row_state = as_rule(solver.row), solver.row_state

    @inlined
    def length(parameters, row, number, rate):
        """Return the length of the step of a row where it does not depend on the gradient."""
        state = 0.0
        if row_state:
            state = item(parameters.state, row)
        state, length = row_rule(state, 0.0, number, rate)
        if row_state:
            put(parameters.state, row, state)
        return length

    return length


@once
def change_back_of(solver):
    """Make what changes rows by steps whose lengths depend on their gradients."""
    row_rule, change = as_rule(solver.row), change_of(solver)

    @inlined
    def change_back(tile, zero, check, part_, n_rows, columns, number, rate, parts, parameters, tickets):
        """Change rows by their gradients, those in parts.row_gradients; return check as `change`."""
        rows, steps, states_of = parts.rows[part_], parts.steps[part_], parts.states[part_]
        gradients, state, n_finite = parts.row_gradients[part_], parameters.state, 0
        dim, span = parameters.values.shape[1], tile.span
        tail, size = min(span, dim) - tile.lanes, np.float64(dim)
        # One loop after the other: the rule becomes vector code, for many rows at once.
        for r in range(n_rows):
            put(states_of, r, item(state, item(rows, r)))
        for r in range(n_rows):
            new, length = row_rule(item(states_of, r), item(steps, r) / size, number, rate)
            n_finite += new < np.inf
            put(states_of, r, new)
            put(steps, r, length)
        for r in range(n_rows):
            put(state, item(rows, r), item(states_of, r))
        if n_finite < n_rows:  # a row would never change again
            tickets[STOP] = 1
        for r in range(n_rows):
            row, length = item(rows, r), zero + item(steps, r)
            for column in range(0, columns, span):
                offset = offset_of(dim, column, span, item_bytes(gradients))
                g = load(tile, row_address(gradients, r) + offset, tail)
                check = change(tile, zero, check, g, row, column, offset, tail, length, number, parameters)
        return check

    return change_back


@once
def change_bias_of(solver):
    """Make what changes a number by its gradient."""
    row_rule, element_rule, states = as_rule(solver.row), as_rule(solver.element), solver.element_states

    @inlined
    def change_bias(bias, k, g, number, rate, tickets):
        """Change bias[k] by its gradient g."""
        state, length = row_rule(bias.state[k], g * g, number, rate)
        first = second = 0.0
        if states > 0:
            first = np.float64(bias.first[k])
        if states > 1:
            second = np.float64(bias.second[k])
        value, first, second = element_rule(np.float64(bias.values[k]), g, first, second, length)
        bias.state[k], bias.values[k] = state, value
        if states > 0:
            bias.first[k] = first
        if states > 1:
            bias.second[k] = second
        if not (np.isfinite(bias.values[k]) and np.isfinite(state + first + second)):
            tickets[STOP] = 1

    return change_bias
