"""What each member adds to the outputs of its bag, on the CPU."""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from skbag._compiled.once import once
from skbag._cpu import backend as cpu
from skbag._cpu.columns import from_column, lane_sum, multiply_add
from skbag._cpu.head import row_address
from skbag._cpu.jit import as_rule, inlined, kernel
from skbag._cpu.memory import fetch_add, item, item_bytes, prefetch_address, prefetch_item, put
from skbag._cpu.sharing import DONE, NEXT, THREAD, begin_of, first_bag
from skbag._cpu.tile import full, load, of_table
from skbag._data.bags import frozen
from skbag._data.quantized import arrays_of
from skbag._rules.pooling import MODES, SUM, share_of_size, size

as_rule(share_of_size)
as_rule(size)

_FEW = 8  # with fewer members than this share of the columns, not every column is looked at
_AHEAD = 8  # members whose rows are asked for ahead of their turn
_STREAMS = 32  # outputs that are written side by side


@inlined
def _product(tile, lanes, table, scales, row, coef, output):
    """Return table[row] @ coef[output]."""
    dim, reading = table.shape[1], of_table(tile, table)
    source, target = row_address(table, row), row_address(coef, output)
    total, column = tile, 0
    while column < dim - dim % lanes:
        values = load(reading, source + np.uintp(column) * item_bytes(table), 0)
        total = multiply_add(total, values, load(tile, target + np.uintp(column) * item_bytes(coef), 0))
        column += lanes
    if column < dim:  # the last vector overlaps the one before, which counts already
        values = load(reading, source + np.uintp(dim - lanes) * item_bytes(table), 0)
        rest = from_column(values, 0, column - (dim - lanes))
        total = multiply_add(total, rest, load(tile, target + np.uintp(dim - lanes) * item_bytes(coef), 0))
    if scales is not None:
        return lane_sum(total) * item(scales, row)
    return lane_sum(total)


@inlined
def _find_shares(mode, weights, indices, start, stop, padding_idx, shares):
    """shares[i - start] = what member i weighs in its bag."""
    total = 0.0
    for i in range(start, stop):
        weight = np.float64(item(weights, i)) if len(weights) > 0 else 1.0
        weight = weight if item(indices, i) != padding_idx else 0.0
        total += share_of_size(mode, weight)
        shares[i - start] = weight
    scale = 1.0 if mode == SUM else 1 / size(mode, total) if total > 0 else 0.0
    for i in range(stop - start):
        shares[i] = shares[i] * scale


@once
def product_kernel(lanes):
    """Make the kernel that multiplies rows with the layer, for tables of at least ``lanes`` columns."""

    @kernel
    def products(table, scales, ids, coef, blocks, progress, out):
        """out[j, k] = table[ids[j]] @ coef[k].

        table : (n_rows, dim), scales : (n_rows,), what multiplies its rows, or None, ids : (n,) in range, coef :
        (n_outputs, dim), in. blocks, progress : see ``sharing``. out : (n, n_outputs), out.
        """
        tile = full(coef.dtype.type(0), lanes, 1)
        block = fetch_add(progress, NEXT, 1)
        while block < blocks[0]:
            for j in range(begin_of(blocks, block, len(ids)), begin_of(blocks, block + 1, len(ids))):
                row = np.intp(item(ids, j))
                for k in range(len(coef)):
                    out[j, k] = _product(tile, lanes, table, scales, row, coef, k)
            fetch_add(progress, DONE, 1)
            block = fetch_add(progress, NEXT, 1)

    return products


@kernel
def spread(
    mode, weights, indices, indptr, padding_idx, owners, places, products, n_columns, n_outputs, shares, blocks,
    progress, out,
):  # fmt: skip
    """out[k, i] = products[places[i], k] times what member i weighs in its bag.

    weights : (n_members,) or of length 0 for ones. indices, indptr : checked. padding_idx : -1 for none.
    owners : (n_bags,) int64, the only output of each bag; or of length 0. places : (n_members,); in.
    products : (n, n_columns), flat, in. shares : (n_threads, members of the longest bag), scratch.
    blocks, progress : see ``sharing``. out : (n_outputs, n_members), flat, out.
    """
    some, n_members = shares[fetch_add(progress, THREAD, 1)], len(places)
    block = fetch_add(progress, NEXT, 1)
    while block < blocks[0]:
        for bag in range(first_bag(blocks, block, indptr), first_bag(blocks, block + 1, indptr)):
            start, stop = np.intp(item(indptr, bag)), np.intp(item(indptr, bag + 1))
            _find_shares(mode, weights, indices, start, stop, padding_idx, some)
            for first in range(0, n_outputs, _STREAMS):
                column, n = owners[bag] if len(owners) > 0 else first, min(_STREAMS, n_outputs - first)
                for i in range(start, stop):
                    soon = np.intp(item(places, min(i + _AHEAD, n_members - 1))) * n_columns + column
                    prefetch_item(products, soon)
                    prefetch_item(products, soon + n - 1)
                    source, target = np.intp(item(places, i)) * n_columns + column, first * n_members + i
                    for k in range(n):
                        put(out, target + k * n_members, some[i - start] * item(products, source + k))
        fetch_add(progress, DONE, 1)
        block = fetch_add(progress, NEXT, 1)


@once
def weigh_kernel(lanes):
    """Make the kernel for one output per bag, for tables of at least ``lanes`` columns."""

    @kernel
    def weigh(mode, weights, indices, indptr, padding_idx, owners, table, scales, coef, shares, blocks, progress, out):
        """out[0, i] = table[indices[i]] @ coef[owners[b]] times what member i weighs in its bag b.

        For table and scales see `product_kernel`, for the others `spread`.
        """
        tile = full(coef.dtype.type(0), lanes, 1)
        some = shares[fetch_add(progress, THREAD, 1)]
        n_members = np.intp(item(indptr, len(indptr) - 1))
        block = fetch_add(progress, NEXT, 1)
        while block < blocks[0]:
            for bag in range(first_bag(blocks, block, indptr), first_bag(blocks, block + 1, indptr)):
                start, stop = np.intp(item(indptr, bag)), np.intp(item(indptr, bag + 1))
                _find_shares(mode, weights, indices, start, stop, padding_idx, some)
                for i in range(start, stop):
                    soon = np.intp(item(indices, min(i + _AHEAD, n_members - 1)))
                    prefetch_address(row_address(table, soon))
                    row = np.intp(item(indices, i))
                    out[0, i] = some[i - start] * _product(tile, lanes, table, scales, row, coef, owners[bag])
            fetch_add(progress, DONE, 1)
            block = fetch_add(progress, NEXT, 1)

    return weigh


@intrinsic
def _equal_lanes(typingctx, row, largest):
    """Return a number with a bit for each lane in which a vector has the largest value, or NaN, which is larger."""

    def codegen(context, builder, signature, args):
        one, other = (builder.extract_value(value, 0) for value in args)
        equal = builder.or_(builder.fcmp_ordered("==", one, other), builder.fcmp_unordered("uno", one, one))
        return builder.zext(builder.bitcast(equal, ir.IntType(row.lanes)), ir.IntType(64))

    return types.int64(row, largest), codegen


@once
def credit_kernel(lanes):
    """Make the kernel for maxima, for tables of at least ``lanes`` columns."""
    every = (1 << lanes) - 1

    @kernel
    def credit(indices, indptr, padding_idx, owners, table, scales, pooled, coef, left, blocks, progress, out):
        """out[k, i] = sum of table[indices[i], d] * coef[k, d] over the columns d in which member i is the maximum.

        Of equal ones the first. pooled : (n_bags, dim), the maxima, in. left : (n_threads, vectors of a row) int64,
        scratch: a bit for each column whose maximum was not met yet. For the others see `weigh_kernel`.
        """
        tile, dim = full(coef.dtype.type(0), lanes, 1), table.shape[1]
        some, reading = left[fetch_add(progress, THREAD, 1)], of_table(tile, table)
        n_members = np.intp(item(indptr, len(indptr) - 1))
        block = fetch_add(progress, NEXT, 1)
        while block < blocks[0]:
            for bag in range(first_bag(blocks, block, indptr), first_bag(blocks, block + 1, indptr)):
                target = row_address(pooled, bag)
                first, last = (owners[bag], owners[bag] + 1) if len(owners) > 0 else (0, len(out))
                for v in range(len(some)):
                    some[v] = every
                some[len(some) - 1] = every & ~((1 << (len(some) * lanes - dim)) - 1)
                for i in range(np.intp(item(indptr, bag)), np.intp(item(indptr, bag + 1))):
                    for k in range(len(out)):
                        out[k, i] = 0
                    if item(indices, i) == padding_idx:
                        continue
                    row = np.intp(item(indices, i))
                    source = row_address(table, row)
                    soon = row_address(table, np.intp(item(indices, min(i + _AHEAD, n_members - 1))))
                    for v in range(len(some)):
                        column = min(v * lanes, dim - lanes)
                        at = np.uintp(column) * item_bytes(table)
                        prefetch_address(soon + at)
                        values = load(reading, source + at, 0)
                        if scales is not None:
                            values = values * item(scales, row)
                        largest = load(tile, target + np.uintp(column) * item_bytes(coef), 0)
                        bits = _equal_lanes(values, largest) & some[v]
                        some[v] &= ~bits
                        while bits != 0:
                            if bits & 1:
                                for k in range(first, last):
                                    out[k - first, i] += pooled[bag, column] * coef[k, column]
                            bits >>= 1
                            column += 1
            fetch_add(progress, DONE, 1)
            block = fetch_add(progress, NEXT, 1)

    return credit


def contributions(bags, table, coef, owners, mode, n_jobs):
    """Return what each member adds to the outputs of its bag.

    Parameters
    ----------
    bags : Bags
        Checked: ``backend.check`` has passed.
    table : ndarray of shape (num_embeddings, dim), or QuantizedTable
        Of which rows are read as in ``backend.pool``: nothing is made of the others.
    coef : ndarray of shape (n_outputs, dim), of the dtype of the table
    owners : ndarray of shape (n_bags,), int64, or None
        The one output of each bag that is asked for; None for all of each.
    mode : {"sum", "mean", "sqrtn", "max"}
    n_jobs : int or None

    Returns
    -------
    ndarray of shape (n_outputs, n_members), or (1, n_members) with ``owners``, of the dtype of the table
    """
    n, dtype, n_outputs = bags.n_members, table.dtype, len(coef)
    values, scales = arrays_of(table)
    values, coef, dim = frozen(values), frozen(coef), table.shape[1]
    out = np.empty((n_outputs if owners is None else 1, n), dtype)
    own = frozen(np.empty(0, np.int64) if owners is None else owners)
    weights = frozen(np.empty(0, dtype)) if bags.weights is None else bags.weights
    members = weights, bags.indices, bags.indptr, -1 if bags.padding_idx is None else bags.padding_idx, own
    lanes = cpu.layout(values)[0]
    if mode == "max":
        blocks = cpu._blocks(n * (dim + 16) + out.size * 16, n_jobs)
        left, pooled = np.empty((blocks[2], -(-dim // lanes)), np.int64), frozen(cpu.pool(bags, table, mode, n_jobs))
        cpu._run(credit_kernel(lanes), (*members[1:], values, scales, pooled, coef, left), blocks, (out,))
        return out
    blocks = cpu._blocks(n * (16 + (16 * len(out) if owners is None else dim)), n_jobs)
    shares = np.empty((blocks[2], int(np.diff(bags.indptr).max(initial=0))), dtype)
    ids, places = _named(bags)
    if owners is not None and len(ids) * n_outputs > n:
        cpu._run(weigh_kernel(lanes), (MODES[mode], *members, values, scales, coef, shares), blocks, (out,))
        return out
    products = np.empty((len(ids), n_outputs), dtype)
    arguments = values, scales, ids, coef
    cpu._run(product_kernel(lanes), arguments, cpu._blocks(products.size * (dim + 16), n_jobs), (products,))
    flat = frozen(products.reshape(-1)), n_outputs, len(out), shares
    cpu._run(spread, (MODES[mode], *members, places, *flat), blocks, (out.reshape(-1),))
    return out


def _named(bags):
    """Return columns that the members name, each once where that pays, and where among them each member's is."""
    ids = bags.indices[: bags.n_members]
    if len(ids) * _FEW <= bags.num_embeddings:
        return ids, frozen(np.arange(len(ids), dtype=ids.dtype))
    named = np.zeros(bags.num_embeddings, np.bool_)
    named[ids] = True
    columns = np.flatnonzero(named)
    numbers = np.empty(len(named), ids.dtype)
    numbers[columns] = np.arange(len(columns), dtype=ids.dtype)
    return frozen(columns, ids.dtype), frozen(numbers[ids])
