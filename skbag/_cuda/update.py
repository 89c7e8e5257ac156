"""Update: a mini-batch from the gradients of its bags to changed parameters, on a GPU; see `skbag._cuda.rows`."""

import math
from functools import cache

import numpy as np

from skbag._cuda import blocks, pooling
from skbag._cuda.calls import nth
from skbag._cuda.forward import extent
from skbag._cuda.jit import device
from skbag._cuda.place import block_index, n_blocks, thread_index
from skbag._cuda.pooling import way_of, window_at, window_of
from skbag._cuda.reducing import TOTAL, WEIGHTS
from skbag._cuda.rows import finish_of, row_of
from skbag._cuda.shapes import halved
from skbag._cuda.structs import Segments, Source, Step
from skbag._cuda.tile import item, prefetch, tail
from skbag._rules.pooling import MEAN

LAYER_KIND = TOTAL, MEAN, WEIGHTS, 0, 0, 1


@device
def _table_source(weighted, epoch, begin, gradients):
    batch, sorting = epoch.batch, epoch.sorting
    places = sorting.even_places if sorting.n_passes % 2 else sorting.odd_places
    weights = tail(epoch.sorted.weights, begin if weighted else 0)
    return Source(gradients, batch.winners, tail(places, begin), tail(epoch.sorted.bags, begin), weights, weights)


@device
def table_source(weighted, epoch, begin):
    """Return the members of a mini-batch in the order of their rows, and the gradients of bags that they name."""
    return _table_source(weighted, epoch, begin, epoch.batch.gradients)


@device
def other_source(weighted, epoch, begin):
    """Return the same with the other gradients of bags."""
    return _table_source(weighted, epoch, begin, epoch.batch.others)


@device
def table_segments(epoch, k, begin):
    """Return the segments of mini-batch k, one for each row of the table that it names, and the number of the first."""
    sorting = epoch.sorting
    first, last = item(sorting.firsts, k), item(sorting.firsts, k + 1)
    if last > first and item(sorting.rows, last - 1) == epoch.plan.no_row:
        last -= 1  # members that do not count
    return Segments(tail(sorting.starts, first), begin, last - first), first


@device
def layer_source(epoch, layer):
    """Return the bags as members of the gradients of a layer, whose derivatives weigh them."""
    winners, bags, outputs = epoch.batch.winners, epoch.sorted.bags, layer.outputs
    return Source(layer.inputs, winners, bags, bags, outputs, outputs)


@cache
def has_row_windows_of(back, layout):
    """Make what says whether `windows_of` has anything to do."""
    rows_of = blocks.rows_of(layout)

    @device
    def has_row_windows(epoch, k):
        _, n_bags, _ = extent(epoch, k)
        return rows_of(epoch, n_bags) >= pooling.WINDOW or (back != 0 and item(epoch.sorting.long, k) != 0)

    return has_row_windows


@cache
def windows_of(back, layout, weighted, deep, threads, shape, layer_shape):
    """Make the phase that reduces whole windows of the gradients of rows with many members; see `update_of`."""
    lanes, layer_lanes = shape[0], layer_shape[0]
    kinds = blocks.kinds_of_gradients(layout, weighted)
    of_table, of_others = (window_of(way_of(kind), kind, *shape) for kind in (kinds[0], kinds[-1]))
    of_layer, rows_of = window_of(way_of(LAYER_KIND), LAYER_KIND, *layer_shape), blocks.rows_of(layout)
    two = len(kinds) - 1

    @device
    def layer_window(epoch, layer, n_rows, j, lane):
        """Reduce window j of the gradients of a layer."""
        per_output = n_rows // pooling.WINDOW
        start = j // per_output * n_rows
        window = (start + pooling.WINDOW - 1) // pooling.WINDOW + j % per_output
        at = start + j % per_output * pooling.WINDOW
        of_layer(layer_source(epoch, layer), np.int64(-1), layer.windows, window, start, at, lane)

    @device
    def table_window(epoch, k, begin, window, lane):
        """Reduce a window of the gradients of rows of the table, if it is whole."""
        segments, _ = table_segments(epoch, k, begin)
        start, at = window_at(segments, window)
        if at >= 0:
            rows = table_source(weighted, epoch, begin)
            of_table(rows, np.int64(-1), epoch.windows[0], window, start, at, lane)
            if two:
                rows = other_source(weighted, epoch, begin)
                of_others(rows, np.int64(-1), epoch.windows[two], window, start, at, lane)

    @device
    def windows(epoch, k):
        """Fill epoch.windows and those of the layers for mini-batch k."""
        first, n_bags, begin = extent(epoch, k)
        n_rows = rows_of(epoch, n_bags)
        thread = block_index() * threads + thread_index()
        group, n_groups = thread // layer_lanes, n_blocks() * (threads // layer_lanes)
        for number in range(epoch.plan.n_layers if deep else np.int64(1)):
            n_outputs = len(nth(epoch.layers, number).intercepts.values)
            for j in range(group, n_rows // pooling.WINDOW * n_outputs, n_groups):
                layer_window(epoch, nth(epoch.layers, number), n_rows, j, thread % layer_lanes)
        if back and item(epoch.sorting.long, k) != 0:
            order_indptr = epoch.bags.order_indptr
            n_members = item(order_indptr, first + n_bags) - item(order_indptr, first)
            group, n_groups = thread // lanes, n_blocks() * (threads // lanes)
            for window in range(group, n_members // pooling.WINDOW + 1, n_groups):
                table_window(epoch, k, begin, window, thread % lanes)

    return windows


@cache
def change_layers_of(layout, solver, deep, threads, layer_shape):
    """Make what changes the layers and the intercepts, and sums the loss: the first units of work of a block."""
    layer_lanes = layer_shape[0]
    change_layer, finish = row_of((LAYER_KIND,), solver, threads, *layer_shape), finish_of(solver, threads)
    layer_together, rows_of = threads // layer_lanes, blocks.rows_of(layout)

    @device
    def finish_output(epoch, k, n_rows, number, j):
        """Change intercept j of a layer, or sum the loss up."""
        layer, steps = nth(epoch.layers, number), epoch.steps
        step = Step(steps[k, 0], steps[k, 3 * number + 5], 0.0, False, math.inf, 2.0, False)
        finish(
            layer.outputs, n_rows, epoch.batch.losses, step, layer.intercepts, k, epoch.batch_losses, epoch.stop, j
        )  # fmt: skip

    @device
    def change_output(epoch, k, n_rows, number, first):
        """Change the weights of some outputs of a layer."""
        layer, steps, thread = nth(epoch.layers, number), epoch.steps, thread_index()
        row, lane = first + thread // layer_lanes, thread % layer_lanes
        active = row < len(layer.intercepts.values)
        row = row if active else np.int64(0)
        length, alpha = steps[k, 3 * number + 3], steps[k, 3 * number + 4]
        step = Step(steps[k, 0], length, alpha, False, layer.length, 2.0, layer.exactly != 0)
        change_layer(
            (layer_source(epoch, layer),), (layer.windows,), step, layer.weights, epoch.stop, active, row,
            row * n_rows, (row + 1) * n_rows, lane,
        )  # fmt: skip

    @device
    def units_of(epoch, number):
        """Return the units of work of a layer: its intercepts, the loss in the place of one more, its weights."""
        n_outputs = np.int64(len(nth(epoch.layers, number).intercepts.values))
        return n_outputs, n_outputs + 1 + (n_outputs + layer_together - 1) // layer_together

    @device
    def change_part(epoch, k, n_rows, number, n_outputs, unit):
        """Do a unit of work of a layer; the loss is that of the last one."""
        if unit <= n_outputs:
            if number == 0 or unit < n_outputs:
                finish_output(epoch, k, n_rows, number, unit)
        else:
            change_output(epoch, k, n_rows, number, (unit - n_outputs - 1) * layer_together)

    @device
    def change_layers(epoch, k, n_bags):
        """Change the layers by mini-batch k; return the first unit that the block has of the rows of the table."""
        n_rows = rows_of(epoch, n_bags)
        n_outputs, n_layer = units_of(epoch, 0)
        if deep:
            for number in range(1, epoch.plan.n_layers):
                n_layer += units_of(epoch, number)[1]
        unit, stride = block_index(), n_blocks()
        while unit < n_layer:
            number, own = np.int64(0), unit
            if deep:
                n_outputs, n_own = units_of(epoch, 0)
                while own >= n_own:
                    own -= n_own
                    number += 1
                    n_outputs, n_own = units_of(epoch, number)
            change_part(epoch, k, n_rows, number, n_outputs, own)
            unit += stride
        return unit - n_layer

    return change_layers


@cache
def change_rows_of(layout, weighted, solver, threads, shape):
    """Make what changes the rows of the table that a mini-batch names."""
    lanes, width, _ = shape
    kinds = blocks.kinds_of_gradients(layout, weighted)
    change_table, two = row_of(kinds, solver, threads, *shape), len(kinds) - 1
    together, states, row_state = threads // lanes, solver.element_states, int(solver.row_state)

    @device
    def ask_for(epoch, table, row, start, lane):
        """Ask for a row that is changed two units later, its states, and the members that begin at ``start``."""
        slot = 2 * lane  # memory comes in sectors of 32 bytes, two of the widest loads
        if lane == 0:
            prefetch(epoch.sorted.bags, start, 0, 1)
            if weighted:
                prefetch(epoch.sorted.weights, start, 0, 1)
        while slot * width < table.values.shape[1]:
            prefetch(table.values, row, slot, width)
            if states > 0:
                prefetch(table.first, row, slot, width)
            if states > 1:
                prefetch(table.second, row, slot, width)
            slot += 2 * lanes
        if row_state and lane == 0:
            prefetch(table.state, row, 0, 1)

    if two:

        @device
        def sources_of(epoch, begin):
            return table_source(weighted, epoch, begin), other_source(weighted, epoch, begin)

    else:

        @device
        def sources_of(epoch, begin):
            return (table_source(weighted, epoch, begin),)

    @device
    def place_of(segments, rows, segment):
        """Return the row of a segment, and where its members begin and end: nowhere if there is no such segment."""
        row, start, end = rows.dtype.type(0), np.int32(0), np.int32(0)
        if segment < segments.n:
            row = item(rows, segment)
            start = np.int32(item(segments.starts, segment) - segments.base)
            end = np.int32(item(segments.starts, segment + 1) - segments.base)
        return row, start, end

    @device
    def change_rows(epoch, k, begin, unit):
        """Change rows of the table, those of a unit and of all that the block has after it.

        What is two units ahead is known when a row is changed, and asked for.
        """
        plan, steps, thread = epoch.plan, epoch.steps, thread_index()
        lane = thread % lanes
        segments, first = table_segments(epoch, k, begin)
        step = Step(steps[k, 0], steps[k, 1], steps[k, 2], plan.by_freq != 0, plan.max_norm, plan.norm_type, False)
        sources, rows, stride = sources_of(epoch, begin), tail(epoch.sorting.rows, first), n_blocks() * together
        table, stop = epoch.table, epoch.stop
        own = np.int32(thread // lanes)  # numbers of segments, and places in a mini-batch, have 32 bits
        segment = np.int32(unit * together + own)
        here, after = place_of(segments, rows, segment), place_of(segments, rows, segment + stride)
        while segment - own < segments.n:
            later = place_of(segments, rows, segment + 2 * stride)
            row, start, end = here
            change_table(
                sources, epoch.windows, step, table, stop, start < end, row, np.int64(start),
                np.int64(end), lane,
            )  # fmt: skip
            row, start, end = later
            if start < end:
                ask_for(epoch, table, row, start + begin, lane)
            here, after, segment = after, later, np.int32(segment + stride)

    return change_rows


@cache
def update_of(back, layout, weighted, solver, deep, threads, shape, layer_shape):
    """Make the phase that changes every row which a mini-batch names, the layers and the intercepts, and sums the loss.

    ``back`` : the table changes. ``deep`` : there are hidden layers. What a unit of work needs of ``epoch`` is read
    when it begins: kept over the loop, it would take the registers of all.
    """
    change_layers = change_layers_of(layout, solver, deep, threads, layer_shape)
    change_rows = change_rows_of(layout, weighted, solver, threads, halved(shape))

    @device
    def update(epoch, k):
        """Change the parameters of ``epoch`` by mini-batch k; the long sums are begun first."""
        _, n_bags, begin = extent(epoch, k)
        unit = change_layers(epoch, k, n_bags)
        if back:
            change_rows(epoch, k, begin, unit)

    return update
