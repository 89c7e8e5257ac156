"""What the threads of a warp say to one another.

In Numba's CUDA simulator, whose threads do not go in step, a warp is a thread.
"""

import numpy as np
from numba import cuda

from skbag._cuda.jit import SIMULATED, device

LANES = 1 if SIMULATED else 32  # of a warp

if SIMULATED:

    @device
    def peers_of(value):
        return np.int32(0), np.int32(1)

    @device
    def sync_warp():
        pass

else:

    @device
    def peers_of(value):
        """Return how many lanes before this one have the same value, and how many of all have it; int32."""
        same = cuda.match_any_sync(np.uint32(0xFFFFFFFF), np.int32(value))
        return np.int32(cuda.popc(same & cuda.lanemask_lt())), np.int32(cuda.popc(same))

    @device
    def sync_warp():
        """Wait for the other lanes, and let them see what was written."""
        cuda.syncwarp()
