"""Where a thread of the kernels of training is: numbers of 64 bits that are not negative.

A kernel that runs many phases would keep what each of them makes of these numbers in registers, from the first one on.
So they are asked for in every phase anew, in a way that the compiler cannot see through.

In Numba's CUDA simulator they are plain numbers.
"""

import numpy as np
from numba import cuda

from skbag._cuda.jit import SIMULATED, device

if SIMULATED:

    @device
    def thread_index():
        return np.int64(cuda.threadIdx.x)

    @device
    def block_index():
        return np.int64(cuda.blockIdx.x)

    @device
    def n_blocks():
        return np.int64(cuda.gridDim.x)

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    def _register(builder, name):
        """Code for the number in a special register of PTX."""
        word = ir.IntType(32)
        read = ir.InlineAsm(ir.FunctionType(word, []), f"mov.u32 $0, %{name};", "=r", side_effect=True)
        return builder.zext(builder.call(read, []), ir.IntType(64))

    @intrinsic
    def thread_index(typingctx):
        """Return the number of the thread in its block."""
        return types.int64(), lambda context, builder, signature, args: _register(builder, "tid.x")

    @intrinsic
    def block_index(typingctx):
        """Return the number of the block in the grid."""
        return types.int64(), lambda context, builder, signature, args: _register(builder, "ctaid.x")

    @intrinsic
    def n_blocks(typingctx):
        """Return how many blocks the grid has."""
        return types.int64(), lambda context, builder, signature, args: _register(builder, "nctaid.x")
