"""Forward: the members of mini-batches, copied together, and a mini-batch from its bags to the gradients of the loss.

`skbag._cuda.pooling` pools a mini-batch as it pools bags.
"""

from functools import cache

import numpy as np
from numba import cuda

from skbag._cuda import blocks, hidden, pooling
from skbag._cuda.calls import nth
from skbag._cuda.head import bag_gradient_of, loss_of, output_of
from skbag._cuda.jit import device, kernel_of
from skbag._cuda.place import block_index, n_blocks, thread_index
from skbag._cuda.pooling import find, pool_of, way_of, window_at, window_of
from skbag._cuda.reducing import SQUARES, UNIT, WEIGHTS
from skbag._cuda.structs import Segments, Source
from skbag._cuda.tile import item, tail
from skbag._rules.activations import IDENTITY
from skbag._rules.pooling import MEAN, SQRTN


@cache
def ends_of(threads):
    """Make what finds the bags of two positions: half of the threads of a block look for each, at many places."""
    half = threads // 2

    @device
    def find_ends(starts, n, first, last, edges):
        """edges[0], edges[1] = `pooling.find` of two positions. starts : (> n,), in. edges : (4,) int32, out."""
        thread = np.int32(cuda.threadIdx.x)
        which, own = np.int32(thread // half), np.int32(thread % half)
        position = first if which == 0 else last
        if thread < 2:
            edges[thread] = 0
            edges[2 + thread] = n
        cuda.syncthreads()
        while edges[2] - edges[0] > 1 or edges[3] - edges[1] > 1:
            low, high = edges[which], edges[2 + which]
            step = np.int32((high - low + half - 1) // half)
            begin = np.int32(low + own * step)
            end = min(high, np.int32(begin + step))
            mine = begin < high and item(starts, begin) <= position and (end == high or item(starts, end) > position)
            cuda.syncthreads()
            if mine:  # one of a half: what begins after the position lies behind it
                edges[which] = begin
                edges[2 + which] = end
            cuda.syncthreads()

    return find_ends


@cache
def sources_of(threads, items):
    """Make what finds the bags of a tile of members, and where these come from.

    A member looks among the bags of its tile, which lie in shared memory, unless there are more than members: then
    nearly all are empty.
    """
    tile_size, find_ends = threads * items, ends_of(threads)

    @device
    def find_sources(bags, plan, begin, end, tile_bags, tile_sources):
        """tile_bags[i] = number of the bag of member begin + i in its mini-batch, tile_sources[i] = where it is from.

        That is a place among the members of all bags. All threads of a block call it. tile_bags : (tile_size,) int32,
        tile_sources : (tile_size,) int64, out.
        """
        n_bags, batch_size = plan.n_bags, np.uint32(plan.batch_size)
        starts = cuda.shared.array(tile_size, np.int32)
        numbers = cuda.shared.array(tile_size, np.int32)
        offsets = cuda.shared.array(tile_size, np.int64)
        edges = cuda.shared.array(4, np.int32)
        thread = np.int32(cuda.threadIdx.x)
        find_ends(bags.order_indptr, n_bags, begin, end - 1, edges)
        first, n = edges[0], np.int32(edges[1] - edges[0] + 1)
        if n <= tile_size:
            for k in range(thread, n, threads):
                start = np.int64(item(bags.order_indptr, first + k))
                starts[k] = start - begin
                numbers[k] = np.uint32(first + k) % batch_size
                offsets[k] = np.int64(item(bags.indptr, item(bags.order, first + k))) - start
        cuda.syncthreads()
        for i in range(thread, end - begin, threads):
            if n <= tile_size:
                low, high = np.int32(0), np.int32(n)
                while high - low > 1:
                    middle = np.int32((low + high) >> 1)
                    if starts[middle] <= i:
                        low = middle
                    else:
                        high = middle
                tile_bags[i] = numbers[low]
                tile_sources[i] = offsets[low] + begin + i
            else:
                bag = find(bags.order_indptr, n_bags, begin + i)
                start = np.int64(item(bags.indptr, item(bags.order, bag)))
                tile_bags[i] = np.uint32(bag) % batch_size
                tile_sources[i] = start + begin + i - item(bags.order_indptr, bag)

    return find_sources


@cache
def expand_kernel(weighting, threads, items):
    """Make the kernel that copies the members of all mini-batches together, ``items`` of each thread at a time."""
    find_sources, tile_size = sources_of(threads, items), threads * items

    @kernel_of(bounds=(threads, 8))  # it waits for memory most of the time
    def expand(epoch):
        """Write row, weight and bag of every member; the row ``no_row`` for one that padding or a weight of 0 drops.

        epoch : Packed structs.Epoch; bags and plan, in, checked; members, out.
        """
        tile_bags = cuda.shared.array(tile_size, np.int32)
        tile_sources = cuda.shared.array(tile_size, np.int64)
        plan, bags, members = epoch.plan, epoch.bags, epoch.members
        n_members = np.int64(item(bags.order_indptr, plan.n_bags))
        for begin in range(np.int64(cuda.blockIdx.x) * tile_size, n_members, cuda.gridDim.x * tile_size):
            end = min(n_members, begin + tile_size)
            find_sources(bags, plan, begin, end, tile_bags, tile_sources)
            for i in range(cuda.threadIdx.x, end - begin, threads):  # what this thread has found
                row, keep = np.int64(item(bags.ids, tile_sources[i])), True
                if weighting != UNIT:
                    weight = item(bags.weights, tile_sources[i])
                    keep = weight != 0
                    if weighting == WEIGHTS:
                        members.weights[begin + i] = weight
                members.rows[begin + i] = row if keep and row != plan.padding else plan.no_row
                members.bags[begin + i] = tile_bags[i]
            cuda.syncthreads()

    return expand


@device
def extent(epoch, k):
    """Return the first bag of mini-batch k and how many it has, and its first member among all that are there."""
    first = k * epoch.plan.batch_size
    begin = np.int64(item(epoch.bags.order_indptr, first))
    return first, min(epoch.plan.batch_size, epoch.plan.n_bags - first), begin


@device
def source_of(weighted, epoch, begin):
    """Return the members of a mini-batch and the rows that they name."""
    batch, rows = epoch.batch, tail(epoch.members.rows, begin)
    weights = tail(epoch.members.weights, begin if weighted else 0)
    return Source(epoch.table.values, batch.winners, epoch.sorted.bags, rows, weights, weights)


@cache
def _window_of_pass(number, one, weighted, shape):
    """Make what reduces a whole window of bags for a pass, see `blocks.passes_of`."""
    kind = blocks.kind_of(one, weighted)
    reduce_window = window_of(way_of(kind), kind, *shape)

    @device
    def window_of_pass(epoch, first, n_bags, begin, window, lane):
        base = item(epoch.bags.order_indptr, first)
        segments = Segments(tail(epoch.bags.order_indptr, first), base, n_bags)
        start, at = window_at(segments, window)
        if at >= 0:
            source, no_row = source_of(weighted, epoch, begin), epoch.plan.no_row
            reduce_window(source, no_row, epoch.windows[number], window, start, at, lane)

    return window_of_pass


@cache
def windows_of(layout, weighted, threads, shape):
    """Make the phase that reduces whole windows of the bags of a mini-batch."""
    lanes, passes = shape[0], enumerate(blocks.passes_of(layout))
    reduce_window = blocks.in_turn(*(_window_of_pass(number, one, weighted, shape) for number, one in passes))

    @device
    def windows(epoch, k):
        """Window j of mini-batch k goes to row j of epoch.windows, see `pooling.windows_kernel`."""
        first, n_bags, begin = extent(epoch, k)
        base = item(epoch.bags.order_indptr, first)
        n_windows = (item(epoch.bags.order_indptr, first + n_bags) - base) // pooling.WINDOW + 1
        thread = block_index() * threads + thread_index()
        for window in range(thread // lanes, n_windows, n_blocks() * (threads // lanes)):
            reduce_window(epoch, first, n_bags, begin, window, thread % lanes)

    return windows


@cache
def _pool_of_pass(number, one, weighted, training, shape):
    """Make what pools a bag in a pass, see `blocks.passes_of`."""
    pool_bag, squares = pool_of(blocks.kind_of(one, weighted), training, 1, one[2], *shape), int(one[1] == SQUARES)

    @device
    def pool_of_pass(epoch, first, n_bags, begin, p, lane):
        order_indptr, batch = epoch.bags.order_indptr, epoch.batch
        segments = Segments(tail(order_indptr, first), item(order_indptr, first), n_bags)
        pool_bag(
            source_of(weighted, epoch, begin), segments, epoch.plan.no_row, epoch.windows[number],
            batch.squares if squares else batch.pooled, batch.winners, tail(batch.sizes, number * n_bags), p, lane,
        )  # fmt: skip

    return pool_of_pass


@cache
def forward_of(learning, layout, weighted, loss, valued, back, activation, threads, shape, layer_shape):
    """Make the phase that takes a mini-batch from bags to outputs; ``learning`` : to gradients.

    Every block has some of the rows, and takes them through: nothing is read that another block has written. ``layout``
    : see `skbag._cuda.blocks`. ``valued`` : the targets have values. ``back`` : gradients of pooled rows are asked for.
    ``activation`` : of hidden layers, or None if there are none.
    """
    lanes, layer_lanes = shape[0], layer_shape[0]
    passes = enumerate(blocks.passes_of(layout))
    pool = blocks.in_turn(*(_pool_of_pass(number, one, weighted, learning, shape) for number, one in passes))
    derive, deep, interacts = loss_of(loss, valued), int(activation is not None), layout[1]
    divides = not deep and layout in (((MEAN,), 0, 0), ((SQRTN,), 0, 0))  # else what folds does
    folds = int(blocks.folds(layout) and not divides)
    bag_gradient = bag_gradient_of(int(divides), *layer_shape)
    through_hidden = hidden.forward_of(activation or IDENTITY, threads)
    slopes = hidden.slopes_of(activation or IDENTITY, threads)
    rows_of, bags_of = blocks.rows_of(layout), blocks.bags_of(layout)
    interaction, fold = blocks.interaction_of(layout, threads), blocks.fold_of(layout, threads)

    @device
    def output(epoch, n_rows, i, n_outputs):
        """Calculate output i % n_outputs of row i // n_outputs."""
        p, j, layer = i // n_outputs, i % n_outputs, nth(epoch.layers, 0)
        to = j * n_rows + p if learning else i
        layer.outputs[to] = output_of(layer.inputs, p, layer.weights.values, layer.intercepts.values, j)

    @device
    def loss_of_row(epoch, first, n_rows, p):
        """Calculate the loss of row p, and its derivatives."""
        layer, rows = nth(epoch.layers, 0), tail(epoch.bags.rows, rows_of(epoch, first))
        n_outputs = len(layer.intercepts.values)
        derive(layer.outputs, n_rows, n_outputs, rows, epoch.targets, epoch.batch.losses, p)

    @device
    def gradients(epoch, n_rows, j, start, stop):
        """Calculate the gradients of a layer's inputs."""
        thread = thread_index()
        for p in range(start + thread // layer_lanes, stop, threads // layer_lanes):
            layer = nth(epoch.layers, j)
            bag_gradient(
                layer.weights.values, layer.outputs, n_rows, epoch.batch.sizes, layer.gradients, p, thread % layer_lanes
            )  # fmt: skip

    @device
    def forward(epoch, k):
        """Fill epoch.batch for mini-batch k. Without ``learning`` output j of row p is at p * n_outputs + j.

        What the functions above need of ``epoch`` they read: kept over the loops, it would take the registers of all.
        """
        first, n_bags, begin = extent(epoch, k)
        block, blocks_of_grid, thread = block_index(), n_blocks(), thread_index()
        n_rows = rows_of(epoch, n_bags)
        n_outputs, start, stop = (
            len(nth(epoch.layers, 0).intercepts.values),
            n_rows * block // blocks_of_grid,
            n_rows * (block + 1) // blocks_of_grid,
        )
        for p in range(bags_of(epoch, start) + thread // lanes, bags_of(epoch, stop), threads // lanes):
            pool(epoch, first, n_bags, begin, p, thread % lanes)
        cuda.syncthreads()
        if interacts:
            interaction(epoch, start, stop)
        if deep:
            through_hidden(epoch, start, stop)
        for i in range(start * n_outputs + thread, stop * n_outputs, threads):
            output(epoch, n_rows, i, n_outputs)
        cuda.syncthreads()
        if learning:
            for p in range(start + thread, stop, threads):
                loss_of_row(epoch, first, n_rows, p)
            cuda.syncthreads()
            if deep:
                for j in range(1, epoch.plan.n_layers):
                    gradients(epoch, n_rows, j - 1, start, stop)
                    cuda.syncthreads()
                    slopes(epoch, n_rows, j, start, stop)
            if back:
                gradients(epoch, n_rows, epoch.plan.n_layers - 1 if deep else 0, start, stop)
                if folds:
                    cuda.syncthreads()
                    fold(epoch, n_bags, start, stop)

    return forward
