"""Blocks of pooled rows on a GPU: the passes over the members of bags that make them, and the way back.

A bag is one field of a row of X, and has a block for each mode and one for the interaction. A block is a row of an
array with as many columns as the table, so that the blocks of the bags of a row are its pooled row. A layout is (modes,
interaction, fields): the modes by their numbers, in the order of the blocks, and whether there are the others.
"""

from functools import cache, reduce
from typing import Any

import numpy as np
from numba import cuda

from skbag._cuda.jit import device, kernel
from skbag._cuda.place import thread_index
from skbag._cuda.reducing import OWN, SIZE, SQUARES, TOTAL, UNIT, WEIGHTS, WINNER, WON
from skbag._cuda.tile import item
from skbag._data.blocks import Blocks
from skbag._rules.pooling import MAX, MEAN, MODES, SQRTN, SUM, modes_of

Layout = tuple[tuple[int, ...], int, int]


def layout_of(blocks: Blocks) -> Layout:
    """Return the layout of ``skbag._data.blocks.Blocks``."""
    return tuple(MODES[mode] for mode in modes_of(blocks.mode)), int(blocks.interaction), int(blocks.n_fields > 1)


def passes_of(layout: Layout) -> tuple[Any, ...]:
    """Return the passes over the members as (mode, reduction, blocks), for ``blocks`` see `pooling.pool_of`.

    A sum without a divisor is written by the pass of another sum, in the place of the other one with a divisor if that
    is all that asks for it: its size is looked for in a pass of its own, which reads no row. Squares have an array of
    their own.
    """
    modes, interaction, _ = layout
    sized, per_bag = [mode for mode in (MEAN, SQRTN) if mode in modes], len(modes) + interaction
    total = modes.index(SUM) if SUM in modes else modes.index(SQRTN) if len(sized) == 2 else -1
    found = [(mode, SIZE if k else TOTAL, (per_bag, modes.index(mode), total)) for k, mode in enumerate(sized)]
    if not sized and SUM in modes:
        found = [(SUM, TOTAL, (per_bag, total, -1))]
    if MAX in modes:
        found.append((MAX, WINNER, (per_bag, modes.index(MAX), -1)))
    if interaction:
        found.append((modes[0], SQUARES, (1, 0, -1)))
    return tuple(found)


def kind_of(one, weighted):
    """Return what `pooling.member` calls a kind, for a pass in training; ``weighted`` : members have weights."""
    mode, reduction, _ = one
    return reduction, mode, WEIGHTS if weighted and mode != MAX else UNIT, 0, 1, 0


def in_turn(*functions):
    """Make a device function of a mini-batch that calls some, one after the other."""

    def both(first, second):
        @device
        def call(epoch, first_bag, n_bags, begin, p, lane):
            first(epoch, first_bag, n_bags, begin, p, lane)
            second(epoch, first_bag, n_bags, begin, p, lane)

        return call

    return reduce(both, functions)


# --- rows of X and their bags


@cache
def rows_of(layout):
    """Make what says how many rows of X so many bags are."""
    fields = layout[2]

    @device
    def rows(epoch, n_bags):
        return n_bags // epoch.plan.n_fields if fields else n_bags

    return rows


@cache
def bags_of(layout):
    """Make what says how many bags so many rows of X are."""
    fields = layout[2]

    @device
    def bags(epoch, n_rows):
        return n_rows * epoch.plan.n_fields if fields else n_rows

    return bags


# --- the interaction


@device
def interact(pooled, squares, first, n_fields, column):
    """Make the second block of each bag q of a row (sum_q * (sum_1 + sum_2 + ...) - squares_q) / 2, for a column.

    Over all fields they add up to half of the square of the sum minus the sum of the squares (Rendle, 2010). The first
    block is the sum. pooled : (2 * n_bags, dim), in-out. squares : (n_bags, dim), in.
    """
    half, total = pooled.dtype.type(0.5), pooled.dtype.type(0)
    for q in range(first, first + n_fields):
        total += pooled[2 * q, column]
    for q in range(first, first + n_fields):
        pooled[2 * q + 1, column] = half * (pooled[2 * q, column] * total - squares[q, column])


@cache
def interact_kernel(threads):
    """Make the kernel of the interaction, one thread per column of a row of X."""

    @kernel
    def interaction(pooled, squares, n_fields, n_rows):
        """See `interact`."""
        i, dim = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x, np.int64(pooled.shape[1])
        if i < n_rows * dim:
            interact(pooled, squares, i // dim * n_fields, n_fields, i % dim)

    return interaction


@cache
def interaction_of(layout, threads):
    """Make what fills the blocks of the interaction for some rows of a mini-batch; all threads of a block call it."""
    bags = bags_of(layout)

    @device
    def interaction(epoch, start, stop):
        dim = np.int64(epoch.batch.pooled.shape[1])
        for i in range(start * dim + thread_index(), stop * dim, threads):
            batch, n_fields = epoch.batch, bags(epoch, np.int64(1))
            interact(batch.pooled, batch.squares, i // dim * n_fields, n_fields, i % dim)
        cuda.syncthreads()

    return interaction


# --- back


def folds(layout):
    """Whether gradients of blocks are others than those that the members of a bag ask for."""
    modes, interaction, _ = layout
    return len(modes) + interaction > 1 or modes[0] in (MEAN, SQRTN)


def _share_of(place, per_bag, sized):
    """Make what one block of sums adds to the gradient of the sum of a bag."""

    @device
    def share(batch, n_bags, q, column):
        value = batch.of_blocks[q * per_bag + place, column]
        return value / item(batch.sizes, (sized - 1) * n_bags + q) if sized else value

    return share


def _added(one, other):
    @device
    def total(batch, n_bags, q, column):
        return one(batch, n_bags, q, column) + other(batch, n_bags, q, column)

    return total


@device
def _no_share(batch, n_bags, q, column):
    return batch.of_blocks.dtype.type(0)


@cache
def fold_of(layout, threads):
    """Make the way from gradients of blocks to those that members ask for; all threads of a block call it.

    gradients = sum over the blocks of sums of gradient / size, and what the interaction adds: for the gradients g_q of
    its blocks (g_q * (sum_1 + sum_2 + ...) + g_1 * sum_1 + g_2 * sum_2 + ...) / 2 / size. others = g_q / size ** 2: the
    gradient of the squares is -g_q / 2, and that of a member's row, w * row, times 2 w; or the gradient of the maximum.
    """
    modes, interaction, _ = layout
    per_bag, numbers = len(modes) + interaction, {mode: k + 1 for k, (mode, *_) in enumerate(passes_of(layout))}
    sums = [mode for mode in modes if mode != MAX]
    shares = [_share_of(modes.index(mode), per_bag, 0 if mode == SUM else numbers[mode]) for mode in sums]
    share, only_maximum = reduce(_added, shares) if shares else _no_share, int(not sums)
    maximum, sized = modes.index(MAX) if MAX in modes and sums else -1, int(modes[0] in (MEAN, SQRTN))
    bags = bags_of(layout)

    @device
    def sums_of(batch, first, n_fields, column):
        """Return sum_1 + sum_2 + ... and g_1 * sum_1 + g_2 * sum_2 + ... of a row."""
        total = product = batch.pooled.dtype.type(0)
        for q in range(first, first + n_fields):
            value = batch.pooled[2 * q, column]
            total += value
            product += value * batch.of_blocks[2 * q + 1, column]
        return total, product

    @device
    def fold_column(epoch, n_bags, first, n_fields, column):
        batch = epoch.batch
        total = product = batch.pooled.dtype.type(0)
        if interaction:
            total, product = sums_of(batch, first, n_fields, column)
        for q in range(first, first + n_fields):
            g = share(batch, n_bags, q, column)
            if interaction:
                own, size = batch.of_blocks[2 * q + 1, column], batch.pooled.dtype.type(1)
                if sized:
                    size = item(batch.sizes, q)
                g += batch.pooled.dtype.type(0.5) * (own * total + product) / size
                batch.others[q, column] = own / (size * size)
            if maximum >= 0:
                batch.others[q, column] = batch.of_blocks[q * per_bag + maximum, column]
            if not only_maximum:
                batch.gradients[q, column] = g

    @device
    def fold(epoch, n_bags, start, stop):
        dim = np.int64(epoch.batch.gradients.shape[1])
        for i in range(start * dim + thread_index(), stop * dim, threads):
            n_fields = bags(epoch, np.int64(1))
            fold_column(epoch, n_bags, i // dim * n_fields, n_fields, i % dim)

    return fold


def kinds_of_gradients(layout: Layout, weighted: int) -> tuple[Any, ...]:
    """Return the kinds, see `pooling.member`, of the sums that make the gradient of a row of the table.

    There are one or two, of which the second one is of ``others``.
    """
    modes, interaction, _ = layout
    weighting = WEIGHTS if weighted else UNIT
    total, won, own = ((TOTAL, MEAN, weighting, 0, 0, 0), (WON, MEAN, UNIT, 0, 0, 0), (OWN, MEAN, weighting, 0, 0, 0))
    if modes == (MAX,):
        return (won,)
    return (total, *((won,) if MAX in modes else ()), *((own,) if interaction else ()))
