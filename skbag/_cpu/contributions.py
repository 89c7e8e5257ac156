"""What each member adds to the outputs of its bag, on the CPU."""

from functools import cache

import numpy as np

from skbag._cpu import backend as cpu
from skbag._cpu.head import WIDE, linear
from skbag._cpu.jit import as_rule, kernel
from skbag._cpu.memory import fetch_add, item
from skbag._cpu.sharing import DONE, NEXT, THREAD, begin_of, first_bag
from skbag._cpu.tile import full
from skbag._data.bags import frozen
from skbag._rules.pooling import MODES, SUM, share_of_size, size

as_rule(share_of_size)
as_rule(size)

_FEW = 8  # with fewer members than this share of the columns, products are of members and not of columns


@cache
def product_kernel(lanes):
    """Make the kernel that multiplies rows with the layer, for tables of at least ``lanes`` columns."""

    @kernel
    def products(table, ids, owners, coef, zeros, blocks, progress, out):
        """out[j, k] = table[ids[j]] @ coef[k]; with ``owners`` out[j, 0] = table[ids[j]] @ coef[owners[j]].

        table : (n_rows, dim), ids : (>= n,) in range, owners : (n,) int64 or of length 0, coef : (n_outputs, dim),
        zeros : (n_outputs,), in. blocks, progress : see ``sharing``. out : (n, n_outputs or 1), out.
        """
        tile, wide = full(table.dtype.type(0), 0, lanes, 1, 1), full(table.dtype.type(0), 0, lanes, WIDE, 1)
        block = fetch_add(progress, NEXT, 1)
        while block < blocks[0]:
            for j in range(begin_of(blocks, block, len(out)), begin_of(blocks, block + 1, len(out))):
                row = np.intp(item(ids, j))
                first, last = 0, len(coef)
                if len(owners) > 0:
                    first = owners[j]
                    last = first + 1
                linear(
                    tile, wide, lanes, table[row : row + 1], 0, coef[first:last], zeros[: last - first], out[j : j + 1]
                )
            fetch_add(progress, DONE, 1)
            block = fetch_add(progress, NEXT, 1)

    return products


@kernel
def spread(mode, weights, indices, indptr, padding_idx, places, products, blocks, progress, out):
    """out[k, i] = products[places[i], k] times what member i weighs in its bag.

    weights : (n_members,) or of length 0 for ones. indices, indptr : checked. padding_idx : -1 for none.
    places : (n_members,) or of length 0 for 0, 1, 2, ...; in. blocks, progress : see ``sharing``.
    out : (n_outputs, n_members), out.
    """
    n_members = np.intp(item(indptr, len(indptr) - 1))
    block = fetch_add(progress, NEXT, 1)
    while block < blocks[0]:
        for bag in range(first_bag(blocks, block, indptr), first_bag(blocks, block + 1, indptr)):
            start, stop = np.intp(item(indptr, bag)), np.intp(item(indptr, bag + 1))
            total = 0.0
            for i in range(start, stop):
                if item(indices, i) != padding_idx:
                    total += share_of_size(mode, np.float64(item(weights, i) if len(weights) > 0 else 1))
            scale = 1.0 if mode == SUM else 1 / size(mode, total) if total > 0 else 0.0
            for k in range(len(out)):
                for i in range(start, stop):
                    weight = np.float64(item(weights, i)) if len(weights) > 0 else 1.0
                    share = weight * scale if item(indices, i) != padding_idx else 0.0
                    place = np.intp(item(places, i)) if len(places) > 0 else i
                    out[k, i] = share * products[place, k] if share != 0 else 0.0
        fetch_add(progress, DONE, 1)
        block = fetch_add(progress, NEXT, 1)


@kernel
def credit(table, weights, indices, indptr, padding_idx, owners, coef, largest, winners, blocks, progress, out):
    """out[k, i] = sum of table[indices[i], d] * coef[k, d] over the columns d in which member i is the maximum.

    Of equal ones the first. owners : (n_bags,) int64, the only output of each bag; or of length 0.
    largest : (n_threads, dim), winners : (n_threads, dim) int64, scratch. For the others see `spread`.
    """
    thread = fetch_add(progress, THREAD, 1)
    best, won = largest[thread], winners[thread]
    block = fetch_add(progress, NEXT, 1)
    while block < blocks[0]:
        for bag in range(first_bag(blocks, block, indptr), first_bag(blocks, block + 1, indptr)):
            start, stop = np.intp(item(indptr, bag)), np.intp(item(indptr, bag + 1))
            n = 0
            for i in range(start, stop):
                index = np.intp(item(indices, i))
                if index == padding_idx or (len(weights) > 0 and item(weights, i) == 0):
                    continue
                for d in range(len(best)):
                    value = table[index, d]
                    better = (n == 0) | (value > best[d]) | (np.isnan(value) & ~np.isnan(best[d]))
                    best[d] = value if better else best[d]
                    won[d] = i if better else won[d]
                n += 1
            for k in range(len(out)):
                for i in range(start, stop):
                    out[k, i] = 0
                output = owners[bag] if len(owners) > 0 else k
                for d in range(len(best) if n > 0 else 0):
                    out[k, won[d]] += best[d] * coef[output, d]
        fetch_add(progress, DONE, 1)
        block = fetch_add(progress, NEXT, 1)


def contributions(bags, table, coef, owners, mode, n_jobs):
    """Return what each member adds to the outputs of its bag.

    Parameters
    ----------
    bags : Bags
        Checked: ``backend.check`` has passed.
    table : ndarray of shape (num_embeddings, dim)
    coef : ndarray of shape (n_outputs, dim), of the dtype of the table
    owners : ndarray of shape (n_bags,), int64, or None
        The one output of each bag that is asked for; None for all of each.
    mode : {"sum", "mean", "sqrtn", "max"}
    n_jobs : int or None

    Returns
    -------
    ndarray of shape (n_outputs, n_members), or (1, n_members) with ``owners``, of the dtype of the table
    """
    n, dtype, none = bags.n_members, table.dtype, frozen(np.empty(0, np.int64))
    table, coef = frozen(table), frozen(coef)
    out = np.empty((len(coef) if owners is None else 1, n), dtype)
    weights = frozen(np.empty(0, dtype)) if bags.weights is None else bags.weights
    members = weights, bags.indices, bags.indptr, -1 if bags.padding_idx is None else bags.padding_idx
    dim = table.shape[1]
    if mode == "max":
        blocks = cpu._blocks(n * (2 * dim + 16) + out.size * dim, n_jobs)
        largest, winners = np.empty((blocks[2], dim), dtype), np.empty((blocks[2], dim), np.int64)
        own = none if owners is None else frozen(owners)
        cpu._run(credit, (table, *members, own, coef, largest, winners), blocks, (out,))
        return out
    ids, own, places = bags.indices, none, none
    if owners is not None:
        own = frozen(np.repeat(owners, np.diff(bags.indptr)))
    elif n * _FEW > bags.num_embeddings:
        named = np.zeros(bags.num_embeddings, np.bool_)
        named[bags.indices[:n]] = True
        ids = frozen(np.flatnonzero(named))
        numbers = np.empty(len(named), np.int64)
        numbers[ids] = np.arange(len(ids))
        places = frozen(numbers[bags.indices[:n]])
    products = np.empty((len(ids) if len(places) else n, len(out)), dtype)
    kernel = product_kernel(cpu.layout(table)[0])
    zeros = frozen(np.zeros(len(coef), dtype))
    cpu._run(kernel, (table, ids, own, coef, zeros), cpu._blocks(products.size * (dim + 16), n_jobs), (products,))
    cpu._run(spread, (MODES[mode], *members, places, products), cpu._blocks(out.size * 16, n_jobs), (out,))
    return out
