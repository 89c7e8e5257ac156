"""Training on a GPU: mini-batches of bags, from the forward pass to the updated rows, in one launch or some.

The members of all mini-batches are copied together (`skbag._cuda.forward`) and sorted by row (`skbag._cuda.sorting`)
before the first one: that depends on nothing that is learnt. A mini-batch then has four phases, each done by all
blocks of the grid: whole windows of long bags; every bag from its rows to the gradients of the loss; whole windows of
rows that many members name; the change of every row. A phase may begin when all blocks are done with the one before.

A cooperative grid, all blocks of which run at once, waits at barriers between the phases: then many mini-batches are
one launch. Where the driver has no such launches, each phase is one. The phases are the same functions.

Every bag and every row has one owner, which adds in a fixed order: the result does not depend on the size of the grid.
"""

from functools import cache

from numba import cuda

from skbag._cuda import forward, update
from skbag._cuda.jit import kernel_of
from skbag._cuda.tile import item

BAG_WINDOWS, FORWARD, ROW_WINDOWS, UPDATE, ALL = range(5)  # phases, and all of them


@cache
def train_kernel(which, back, layout, weighted, loss, valued, solver, activation, bounds, shape, layer_shape):
    """Make the kernel of mini-batches.

    which : a phase, or ALL. back : whether the table changes. layout : see `skbag._cuda.blocks`. weighted : whether
    members have weights. loss : ``skbag._rules.losses.Loss``. valued : whether targets have values. solver :
    ``skbag._rules.solvers.Solver``. activation : ``skbag._rules.activations.Activation`` of the hidden layers, None
    without any. bounds : threads of a block, and how many blocks a multiprocessor has registers for. shape : threads
    of a group, columns of a load and loads of a thread, for rows of the table; layer_shape : for those of all layers.
    """
    deep, shapes, threads = int(activation is not None), (shape, layer_shape), bounds[0]
    rules = loss.rule, solver.row, solver.element, *((activation.rule, activation.derivative) if deep else ())
    bag_windows = forward.windows_of(layout, weighted, threads, shape)
    go_forward = forward.forward_of(1, layout, weighted, loss, valued, back, activation, threads, *shapes)
    row_windows = update.windows_of(back, layout, weighted, deep, threads, *shapes)
    change = update.update_of(back, layout, weighted, solver, deep, threads, *shapes)
    has_row_windows = update.has_row_windows_of(back, layout)

    if which == ALL:

        @kernel_of(*rules, bounds=bounds)
        def train(epoch, first, last):
            """Train on the mini-batches first <= k < last. epoch : Packed structs.Epoch; ends early if stop[0]."""
            grid = cuda.cg.this_grid()
            for k in range(first, last):
                if item(epoch.stop, 0) == 0:
                    if epoch.plan.long_bags:
                        bag_windows(epoch, k)
                        grid.sync()
                    go_forward(epoch, k)
                    grid.sync()
                    if has_row_windows(epoch, k):
                        row_windows(epoch, k)
                        grid.sync()
                    change(epoch, k)
                grid.sync()

    else:
        phase = (bag_windows, go_forward, row_windows, change)[which]

        @kernel_of(*rules, bounds=bounds)
        def train(epoch, first, last):
            """Do one phase of the mini-batch ``first``. epoch : Packed structs.Epoch."""
            phase(epoch, first)

    return train


@cache
def outputs_kernel(layout, weighted, loss, activation, threads, shape, layer_shape):
    """Make the kernel that takes bags forward, without learning."""
    bag_windows = forward.windows_of(layout, weighted, threads, shape)
    go_forward = forward.forward_of(0, layout, weighted, loss, 0, 0, activation, threads, shape, layer_shape)

    @kernel_of(loss.rule, *(() if activation is None else (activation.rule,)))
    def outputs(epoch, phase):
        """Do one of the first two phases for all bags, one mini-batch. epoch : Packed structs.Epoch."""
        if phase == BAG_WINDOWS:
            bag_windows(epoch, 0)
        else:
            go_forward(epoch, 0)

    return outputs
