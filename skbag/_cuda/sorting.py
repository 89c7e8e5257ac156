"""Sorting on a GPU: a stable radix sort of the rows that members name, in every mini-batch, and the runs of equal rows.

All mini-batches are sorted at once. The members are cut into tiles of at most ``threads * items`` neighbours of one
mini-batch; a digit is counted in every tile, the counts are summed up, and every tile is written to its place. Counts
are ordered by mini-batch, digit and tile, so that their sums are the places: the mini-batch costs no pass. No two
threads add to a number that decides about an order, so that two runs agree.

Each phase is done by all blocks of a grid; the next one may begin when all are done. `sort` is the phases with barriers
of the grid between them, in one launch.
"""

from functools import cache

import numpy as np
from numba import cuda

from skbag._cuda.jit import device, kernel, kernel_of
from skbag._cuda.pooling import find
from skbag._cuda.scanning import add_up, scan_of, sum_of
from skbag._cuda.tile import item
from skbag._cuda.warp import LANES, peers_of, sync_warp

COUNT, SUM, SCAN, SCATTER, COUNT_HEADS, SUM_HEADS, SCAN_HEADS, WRITE_HEADS = range(8)  # phases


@device
def tile_of(sorting, tile, tile_size):
    """Return the mini-batch of a tile, and where the tile begins and ends."""
    batch = find(sorting.tiles, sorting.n_batches, tile)
    begin = item(sorting.batches, batch) + (tile - item(sorting.tiles, batch)) * tile_size
    return batch, begin, min(begin + tile_size, item(sorting.batches, batch + 1))


@device
def counter_of(sorting, batch, tile, digit):
    """Return where the count of a digit in a tile is."""
    first = item(sorting.tiles, batch)
    n_tiles = item(sorting.tiles, batch + 1) - first
    return (first << sorting.bits) + digit * n_tiles + tile - first


@device
def source_of(sorting, digit):
    """Return the keys and places that the pass for a digit begins with; at first places are not read."""
    keys, places = sorting.keys, sorting.even_places
    if digit > 0:
        keys = sorting.even_keys
        if digit % 2 == 0:
            keys, places = sorting.odd_keys, sorting.odd_places
    return keys, places


@cache
def count_of(threads, items, most_bits):
    """Make the phase that counts a digit, of ``most_bits`` bits or fewer, in every tile."""
    most = 1 << most_bits

    @device
    def count_digits(sorting, pass_):
        """Count, for every tile and digit, the keys with it; see `counter_of`. Keys are not negative."""
        of_digit = cuda.shared.array(most, np.int32)
        thread, n_digits, shift = cuda.threadIdx.x, 1 << sorting.bits, pass_ * sorting.bits
        keys, _ = source_of(sorting, pass_)
        for tile in range(np.int64(cuda.blockIdx.x), item(sorting.tiles, sorting.n_batches), cuda.gridDim.x):
            batch, begin, end = tile_of(sorting, tile, threads * items)
            for digit in range(thread, n_digits, threads):
                of_digit[digit] = 0
            cuda.syncthreads()
            for i in range(begin + thread, end, threads):
                cuda.atomic.add(of_digit, (item(keys, i) >> shift) & (n_digits - 1), 1)
            cuda.syncthreads()
            for digit in range(thread, n_digits, threads):
                sorting.counts[counter_of(sorting, batch, tile, digit)] = of_digit[digit]
            cuda.syncthreads()

    return count_digits


@cache
def ranks_of(threads, items, most_bits):
    """Make what finds the places of the keys of a tile in the order of a digit.

    Each warp has neighbours, as many as it has lanes at a time, and counters of its own. Its lanes find out among
    themselves which of them have one digit.
    """
    width, n_warps, share_of_warp = (1 << most_bits) + 1, threads // LANES, LANES * items
    step = np.int32(threads)  # numbers in a tile have 32 bits: others take the registers of two

    @device
    def rank_keys(tile_keys, size, shift, n_digits, counters, ranks):
        """ranks[i] = keys before i with its digit in the share of its warp; counters = how many a warp has of each.

        All threads call it. tile_keys : (>= size,), in. counters : (n_warps * width,), ranks : (>= size,), out.
        """
        thread = np.int32(cuda.threadIdx.x)
        first, lane = np.int32(thread // LANES * width), np.int32(thread % LANES)
        for k in range(thread, np.int32(n_warps * width), step):
            counters[k] = 0
        cuda.syncthreads()
        begin = np.int32(thread // LANES * share_of_warp + lane)
        for k in range(np.int32(items)):
            i = np.int32(begin + k * LANES)
            digit = np.int32(n_digits)  # of no key
            if i < size:
                digit = np.int32((tile_keys[i] >> shift) & (n_digits - 1))
            below, count = peers_of(digit, most_bits + 1)
            at = np.int32(first + digit)
            before = counters[at]
            sync_warp()
            if below == 0:
                counters[at] = before + count
            sync_warp()
            if i < size:
                ranks[i] = before + below
        cuda.syncthreads()

    @device
    def begin_digits(sorting, batch, tile, n_digits, counters, to, sums):
        """Counters become where the keys of each digit and warp begin in the tile; to[digit] + place = where they go.

        All threads call it. counters : in-out. to : (>= n_digits,), out. sums : (threads,), scratch.
        """
        thread = cuda.threadIdx.x
        own = (n_digits + threads - 1) // threads
        first, last, total = thread * own, min(n_digits, (thread + 1) * own), np.int32(0)
        for digit in range(first, last):
            for k in range(n_warps):
                total += counters[k * width + digit]
        sums[thread] = total
        add_up(sums, thread, threads)
        before = sums[thread] - total
        for digit in range(first, last):
            to[digit] = sorting.counts[counter_of(sorting, batch, tile, digit)] - before
            for k in range(n_warps):
                count = counters[k * width + digit]
                counters[k * width + digit] = before
                before += count
        cuda.syncthreads()

    return rank_keys, begin_digits


@cache
def scatter_of(wide, threads, items, most_bits):
    """Make the phase that puts keys in the order of a digit; ``wide`` : they are int64, not int32."""
    most, tile_size, share_of_warp = 1 << most_bits, threads * items, LANES * items
    n_counters, key_type = (most + 1) * (threads // LANES), np.int64 if wide else np.int32
    rank_keys, begin_digits = ranks_of(threads, items, most_bits)
    step = np.int32(threads)

    @device
    def load_tile(sorting, pass_, begin, place, size, tile_keys, tile_places):
        """Copy a tile of keys and of their places, of which the first is at ``place`` of its mini-batch."""
        keys, places = source_of(sorting, pass_)
        for i in range(np.int32(cuda.threadIdx.x), size, step):
            tile_keys[i] = item(keys, begin + i)
            tile_places[i] = place + i if pass_ == 0 else np.int64(item(places, begin + i))

    @device
    def order_tile(tile_keys, size, shift, n_digits, counters, ranks, tile_order):
        """tile_order[place] = which key of the tile has this place in the order of the digit."""
        thread = np.int32(cuda.threadIdx.x)
        first = np.int32(thread // LANES * (most + 1))
        begin = np.int32(thread // LANES * share_of_warp + thread % LANES)
        for k in range(np.int32(items)):
            i = np.int32(begin + k * LANES)
            if i < size:
                digit = np.int32((tile_keys[i] >> shift) & (n_digits - 1))
                tile_order[np.int32(counters[np.int32(first + digit)] + ranks[i])] = i
        cuda.syncthreads()

    @device
    def scatter_digits(sorting, pass_):
        """Put keys and places in the order of one digit of the keys; equal digits keep their order."""
        tile_keys = cuda.shared.array(tile_size, key_type)
        tile_places = cuda.shared.array(tile_size, np.int32)
        tile_order = cuda.shared.array(tile_size, np.uint16)
        ranks = cuda.shared.array(tile_size, np.uint16)
        counters = cuda.shared.array(n_counters, np.int32)
        digit_to = cuda.shared.array(most, np.int32)
        sums = cuda.shared.array(threads, np.int32)
        thread, shift = cuda.threadIdx.x, np.int32(pass_ * sorting.bits)
        n_digits = np.int32(1 << sorting.bits)
        out_keys, out_places = sorting.even_keys, sorting.even_places
        if pass_ % 2:
            out_keys, out_places = sorting.odd_keys, sorting.odd_places
        for tile in range(np.int64(cuda.blockIdx.x), item(sorting.tiles, sorting.n_batches), cuda.gridDim.x):
            batch, begin, end = tile_of(sorting, tile, tile_size)
            size = np.int32(end - begin)
            load_tile(sorting, pass_, begin, begin - item(sorting.batches, batch), size, tile_keys, tile_places)
            rank_keys(tile_keys, size, shift, n_digits, counters, ranks)
            begin_digits(sorting, batch, tile, n_digits, counters, digit_to, sums)
            order_tile(tile_keys, size, shift, n_digits, counters, ranks, tile_order)
            for i in range(np.int32(thread), size, step):
                local = np.int32(tile_order[i])
                key = tile_keys[local]
                to = np.int32(digit_to[np.int32((key >> shift) & (n_digits - 1))] + i)
                out_keys[to] = key
                out_places[to] = tile_places[local]
            cuda.syncthreads()

    return scatter_digits


@device
def is_head(keys, i, begin):
    """Whether a run of equal keys begins at i, in a mini-batch that begins at ``begin``."""
    return i == begin or item(keys, i) != item(keys, i - 1)


@cache
def count_heads_of(threads, items):
    """Make the phase that counts the runs of equal keys which begin in every tile."""

    @device
    def count_heads(sorting):
        """counts[tile] = how many runs begin in the tile."""
        count = cuda.shared.array(1, np.int32)
        thread, block = cuda.threadIdx.x, np.int64(cuda.blockIdx.x)
        keys, _ = source_of(sorting, sorting.n_passes)
        for batch in range(block * threads + thread, sorting.n_batches, cuda.gridDim.x * threads):
            sorting.long[batch] = 0
        for tile in range(block, item(sorting.tiles, sorting.n_batches), cuda.gridDim.x):
            batch, begin, end = tile_of(sorting, tile, threads * items)
            if thread == 0:
                count[0] = 0
            cuda.syncthreads()
            for i in range(begin + thread, end, threads):
                if is_head(keys, i, item(sorting.batches, batch)):
                    cuda.atomic.add(count, 0, 1)
            cuda.syncthreads()
            if thread == 0:
                sorting.counts[tile] = count[0]
            cuda.syncthreads()

    return count_heads


@cache
def write_heads_of(threads, items, window):
    """Make the phase that lists the runs of equal keys; those with ``window`` members or more are long."""

    @device
    def write_heads(sorting):
        """starts[s], rows[s] = where run s begins and its key, and firsts[b] the first run of mini-batch b.

        starts[s] is the number of keys after the last run. That of no row is the last of its mini-batch.
        """
        sums = cuda.shared.array(threads, np.int32)
        thread, n_batches = cuda.threadIdx.x, sorting.n_batches
        n_tiles = item(sorting.tiles, n_batches)
        keys, _ = source_of(sorting, sorting.n_passes)
        for tile in range(np.int64(cuda.blockIdx.x), n_tiles, cuda.gridDim.x):
            batch, first, last = tile_of(sorting, tile, threads * items)
            start, stop = item(sorting.batches, batch), item(sorting.batches, batch + 1)
            begin, end = min(last, first + thread * items), min(last, first + (thread + 1) * items)
            total = np.int32(0)
            for i in range(begin, end):
                total += 1 if is_head(keys, i, start) else 0
            sums[thread] = total
            add_up(sums, thread, threads)
            to = np.int64(sorting.counts[tile]) + sums[thread] - total
            for i in range(begin, end):
                if is_head(keys, i, start):
                    sorting.starts[to] = i
                    sorting.rows[to] = item(keys, i)
                    to += 1
                    if i + window <= stop and item(keys, i) == item(keys, i + window - 1):
                        sorting.long[batch] = 1
            cuda.syncthreads()
        for batch in range(np.int64(cuda.blockIdx.x) * threads + thread, n_batches + 1, cuda.gridDim.x * threads):
            sorting.firsts[batch] = sorting.counts[item(sorting.tiles, batch)]
        if cuda.blockIdx.x == 0 and thread == 0:
            sorting.starts[sorting.counts[n_tiles]] = item(sorting.batches, n_batches)

    return write_heads


@cache
def phases_of(wide, threads, items, most_bits, window):
    """Make all phases: a function that does one of them."""
    count, sum_, scan = count_of(threads, items, most_bits), sum_of(threads), scan_of(threads)
    scatter, count_heads = scatter_of(wide, threads, items, most_bits), count_heads_of(threads, items)
    write_heads = write_heads_of(threads, items, window)

    @device
    def phase(sorting, which, digit):
        """Do one phase, for a digit if it is one of the first four."""
        n_tiles = item(sorting.tiles, sorting.n_batches)
        if which == COUNT:
            count(sorting, digit)
        elif which == SCATTER:
            scatter(sorting, digit)
        elif which == COUNT_HEADS:
            count_heads(sorting)
        elif which == WRITE_HEADS:
            write_heads(sorting)
        else:
            n = n_tiles << sorting.bits if which < COUNT_HEADS else n_tiles
            if which == SUM or which == SUM_HEADS:
                sum_(sorting, n)
            else:
                scan(sorting, n)

    return phase


@cache
def sort_kernel(cooperative, wide, bounds, items, most_bits, window):
    """Make the kernel that sorts: all of it, by a cooperative grid, or one phase.

    ``bounds`` : threads of a block, and how many blocks a multiprocessor has registers for.
    """
    phase = phases_of(wide, bounds[0], items, most_bits, window)

    if cooperative:

        @kernel_of(bounds=bounds)
        def sort(given, which, digit):
            """Sort, see the module. given : Packed structs.Sort or structs.Epoch, in."""
            grid = cuda.cg.this_grid()
            n = COUNT_HEADS * given.sorting.n_passes
            for k in range(n + WRITE_HEADS - COUNT_HEADS + 1):
                if k < n:
                    which, digit = k % COUNT_HEADS, k // COUNT_HEADS
                else:
                    which, digit = k - n + COUNT_HEADS, 0
                phase(given.sorting, which, digit)  # read again: kept, they would take the registers of all
                grid.sync()

    else:

        @kernel_of(bounds=bounds)
        def sort(given, which, digit):
            """Do one phase of sorting. given : as for all of it."""
            phase(given.sorting, which, digit)

    return sort


@cache
def arrange_kernel(weighted, threads):
    """Make the kernel that brings bags and weights of the members into the order of their rows."""

    @kernel
    def arrange(epoch):
        """sorted.bags[i], sorted.weights[i] = those of member places[i]. epoch : Packed structs.Epoch, in."""
        sorting, members, out = epoch.sorting, epoch.members, epoch.sorted
        n = item(sorting.batches, sorting.n_batches)
        _, places = source_of(sorting, sorting.n_passes)
        for i in range(np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x, n, cuda.gridDim.x * threads):
            batch = find(sorting.batches, sorting.n_batches, i)
            member = item(sorting.batches, batch) + item(places, i)
            out.bags[i] = item(members.bags, member)
            if weighted:
                out.weights[i] = item(members.weights, member)

    return arrange
