"""Hidden layers on the CPU: forward to activations, and back from their derivatives.

As in ``head``, the kernels serve all layers of at least ``lanes`` inputs, and ``block`` outputs are activated at once.
"""

import numpy as np

from skbag._compiled.once import once
from skbag._cpu.head import WIDE, linear, row_address, weighted_rows
from skbag._cpu.jit import as_rule, part
from skbag._cpu.memory import item_bytes
from skbag._cpu.tile import full, load, store
from skbag._cpu.vector import as_tile


@once
def forward_kernel(lanes, block, activation):
    """Make the kernel from inputs to activations (``skbag._rules.activations.Activation``), called by its address."""
    rule = as_rule(activation.rule)

    @part
    def forward(layer, begin, end):
        """outputs[p] = rule(coef @ inputs[p] + intercept) for begin <= p < end.

        layer : structs.Layer; outputs, out, with what fills up their last block.
        """
        coef, intercept, inputs, outputs = layer.coef, layer.intercept, layer.inputs, layer.outputs
        zero, n = coef.dtype.type(0), len(coef)
        tile, wide = full(zero, lanes, 1), full(zero, lanes, WIDE)
        outer = full(zero, block, 1)
        for p in range(begin, end):
            linear(tile, wide, lanes, inputs, p, coef, intercept, outputs)
            base = row_address(outputs, p)
            for k in range(0, n, block):
                at = base + np.uintp(k) * item_bytes(outputs)
                store(as_tile(outer, rule(load(outer, at, 0))), at, 0)

    return forward


@once
def back_kernel(lanes, block, activation):
    """Make the kernel from the derivatives of activations to those of inputs, called by its address."""
    derivative = as_rule(activation.derivative)

    @part
    def back(layer, begin, end):
        """deltas[p] *= derivative(outputs[p]), gradients[p] = deltas[p] @ coef for begin <= p < end.

        So deltas, which are derivatives of the loss with respect to the activations, become those with respect to the
        sums, and gradients, unless they have no rows, those with respect to the inputs.

        layer : structs.Layer; deltas, in-out, with what fills up their last block; gradients, out.
        """
        coef, outputs, deltas, gradients = layer.coef, layer.outputs, layer.deltas, layer.gradients
        zero, n = coef.dtype.type(0), len(coef)
        tile, wide = full(zero, lanes, 1), full(zero, lanes, WIDE)
        outer = full(zero, block, 1)
        for p in range(begin, end):
            base, of_outputs = row_address(deltas, p), row_address(outputs, p)
            for k in range(0, n, block):
                at = np.uintp(k) * item_bytes(deltas)
                slope = as_tile(outer, derivative(load(outer, of_outputs + at, 0)))
                store(load(outer, base + at, 0) * slope, base + at, 0)
            if len(gradients) > 0:
                weighted_rows(tile, wide, lanes, coef, None, 0, n, deltas, p, gradients, p)

    return back
