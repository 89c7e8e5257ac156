"""Hidden layers on a GPU: forward to activations, and back from their derivatives."""

from functools import cache

import numpy as np
from numba import cuda

from skbag._cuda.calls import nth
from skbag._cuda.head import output_of
from skbag._cuda.jit import device, kernel_of
from skbag._cuda.place import thread_index
from skbag._cuda.tile import full
from skbag._cuda.vector import as_row, as_rule, as_tile


@cache
def unit_of(activation):
    """Make a unit with an activation (``skbag._rules.activations.Activation``)."""
    rule = as_rule(activation.rule)

    @device
    def unit(inputs, p, weights, intercepts, k):
        """Return rule(weights[k] @ inputs[p] + intercepts[k])."""
        z = full(output_of(inputs, p, weights, intercepts, k), 1, 1)
        return as_row(z, rule(as_tile(z)))[0][0]

    return unit


@cache
def hidden_kernel(threads, activation):
    """Make the kernel of a hidden layer, one thread per unit of a bag."""
    unit = unit_of(activation)

    @kernel_of(activation.rule)
    def hidden(inputs, weights, intercepts, n_bags, out):
        """out[p, k] = activation of weights[k] @ inputs[p] + intercepts[k] for p < n_bags.

        inputs : (>= n_bags, n_inputs), weights : (n_units, n_inputs), intercepts : (n_units,), in. out : (>= n_bags,
        n_units), out.
        """
        i = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        n_units = len(intercepts)
        if i < n_bags * n_units:
            out[i // n_units, i % n_units] = unit(inputs, i // n_units, weights, intercepts, i % n_units)

    return hidden


@cache
def forward_of(activation, threads):
    """Make what takes some bags of a mini-batch through the hidden layers; all threads of a block call it."""
    unit = unit_of(activation)

    @device
    def activate(epoch, j, i):
        """Calculate activation i % n_units of bag i // n_units, of the layer j before the last one."""
        layer, after = nth(epoch.layers, j), nth(epoch.layers, j - 1)
        n_units = np.int64(len(layer.intercepts.values))
        p, k = i // n_units, i % n_units
        after.inputs[p, k] = unit(layer.inputs, p, layer.weights.values, layer.intercepts.values, k)

    @device
    def forward(epoch, start, stop):
        """Activate every hidden layer, the first one first, for the bags start <= p < stop."""
        thread = thread_index()
        for j in range(epoch.plan.n_layers - 1, 0, -1):
            n_units = np.int64(len(nth(epoch.layers, j).intercepts.values))
            for i in range(start * n_units + thread, stop * n_units, threads):
                activate(epoch, j, i)
            cuda.syncthreads()

    return forward


@cache
def slopes_of(activation, threads):
    """Make what brings derivatives with respect to activations to those of sums; all threads of a block call it."""
    derivative = as_rule(activation.derivative)

    @device
    def slope(epoch, n_bags, j, i):
        """Calculate the derivative of the loss with respect to sum i % n_units of bag i // n_units."""
        layer, after = nth(epoch.layers, j), nth(epoch.layers, j - 1)
        n_units = np.int64(len(layer.intercepts.values))
        p, k = i // n_units, i % n_units
        a = full(after.inputs[p, k], 1, 1)
        layer.outputs[k * n_bags + p] = after.gradients[p, k] * as_row(a, derivative(as_tile(a)))[0][0]

    @device
    def slopes(epoch, n_bags, j, start, stop):
        """Fill the ``outputs`` of the hidden layer j before the last one, for the bags start <= p < stop."""
        n_units = np.int64(len(nth(epoch.layers, j).intercepts.values))
        for i in range(start * n_units + thread_index(), stop * n_units, threads):
            slope(epoch, n_bags, j, i)
        cuda.syncthreads()

    return slopes
