"""What the threads of a warp say to one another.

In Numba's CUDA simulator, whose threads do not go in step, a warp is a thread.
"""

import numpy as np
from numba import cuda

from skbag._cuda.jit import SIMULATED, device

LANES = 1 if SIMULATED else 32  # of a warp

if SIMULATED:

    @device
    def peers_of(value, bits):
        return np.int32(0), np.int32(1)

    @device
    def sync_warp():
        pass

else:

    @device
    def peers_of(value, bits):
        """Return how many lanes before this one have the same value, of so many bits, and how many of all have it.

        A vote for each bit: the instruction that compares values takes many times as long as all of them.
        """
        same = np.uint32(0xFFFFFFFF)
        for k in range(np.int32(bits)):
            has = np.int32((value >> k) & 1)
            votes = np.uint32(cuda.ballot_sync(np.uint32(0xFFFFFFFF), has != 0))
            same = np.uint32(same & (votes ^ np.uint32(has - 1)))  # the lanes that vote as this one
        return np.int32(cuda.popc(same & np.uint32(cuda.lanemask_lt()))), np.int32(cuda.popc(same))

    @device
    def sync_warp():
        """Wait for the other lanes, and let them see what was written."""
        cuda.syncwarp()
