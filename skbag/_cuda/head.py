"""Head: from pooled rows to outputs, losses and gradients, on a GPU: a linear layer."""

import math
from functools import cache

import numpy as np
from numba import cuda

from skbag._cuda.jit import device, kernel
from skbag._cuda.tile import add_scaled, divided, filled, full, gather, item, scatter
from skbag._cuda.vector import as_row, as_rule, as_tile


@device
def output_of(pooled, p, coef, intercept, k):
    """Return coef[k] @ pooled[p] + intercept[k], always in the same order."""
    even = odd = coef.dtype.type(0)
    dim = coef.shape[1]
    for d in range(0, dim - 1, 2):
        even += coef[k, d] * pooled[p, d]
        odd += coef[k, d + 1] * pooled[p, d + 1]
    if dim % 2:
        even += coef[k, dim - 1] * pooled[p, dim - 1]
    return even + odd + intercept[k]


@cache
def outputs_kernel(threads):
    """Make the kernel of the linear layer, one thread per output of a bag."""

    @kernel
    def outputs(pooled, coef, intercept, n_bags, out):
        """out[p * n_outputs + k] = coef[k] @ pooled[p] + intercept[k].

        pooled : (>= n_bags, dim), coef : (n_outputs, dim), intercept : (n_outputs,), in. out : (n_outputs * n_bags,).
        """
        i = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        n_outputs = len(intercept)
        if i < n_bags * n_outputs:
            out[i] = output_of(pooled, i // n_outputs, coef, intercept, i % n_outputs)

    return outputs


@cache
def choose_kernel(threads):
    """Make the kernel that chooses an output, one thread per bag."""

    @kernel
    def choose(outputs, n_bags, n_outputs, choices):
        """choices[p] = number of the largest output of bag p, the first of equal ones; of one whether it is > 0.

        outputs : (n_bags * n_outputs,), in. choices : (>= n_bags,) int64, out.
        """
        p = np.int64(cuda.blockIdx.x) * threads + cuda.threadIdx.x
        if p < n_bags:
            first = p * n_outputs
            best = np.int64(0)
            if n_outputs == 1:
                best = np.int64(outputs[first] > 0)
            for k in range(1, n_outputs):
                value, largest = outputs[first + k], outputs[first + best]
                if value > largest or (math.isnan(value) and not math.isnan(largest)):
                    best = np.int64(k)
            choices[p] = best

    return choose


@device
def log_sum_exp(outputs, p, n_bags, n_outputs):
    """Return the largest output of bag p, and the logarithm of sum(exp(output - largest)) over its outputs."""
    largest = outputs[p]
    for k in range(1, n_outputs):
        largest = max(largest, outputs[k * n_bags + p])
    total = 0.0
    for k in range(n_outputs):
        total += math.exp(outputs[k * n_bags + p] - largest)
    return largest, outputs.dtype.type(math.log(total))


@cache
def loss_of(loss, weighted):
    """Make the rule of a loss (``skbag._rules.losses.Loss``) and its derivatives for a bag.

    ``weighted`` : the targets have values.
    """
    rule, normalized = as_rule(loss.rule), int(loss.normalized)

    @device
    def derivatives_of_loss(outputs, n_bags, n_outputs, order, targets, losses, p):
        """losses[p] = loss * weight / n_bags, and outputs of p become the derivatives of that with respect to them.

        outputs : (n_outputs * n_bags,), in-out: output k of bag p is at k * n_bags + p. order : (>= n_bags,) int64, in.
        targets : structs.Targets, in. losses : (>= n_bags,) float64, out: sums over the outputs.
        """
        bag = item(order, p)
        indices, indptr, values, sample_weight = targets
        stored, end = indptr[bag], indptr[bag + 1]
        zero = outputs.dtype.type(0)
        scale = outputs.dtype.type(sample_weight[bag] / n_bags)
        largest = shift = zero
        if normalized:
            largest, shift = log_sum_exp(outputs, p, n_bags, n_outputs)
        total = 0.0
        for k in range(n_outputs):
            i = k * n_bags + p
            target = zero
            if stored < end and indices[stored] == k:
                target = outputs.dtype.type(1)
                if weighted:
                    target = values[stored]
                stored += 1
            z, t = full(outputs[i] - largest - shift, 1, 1), full(target, 1, 1)
            value, derivative = rule(as_tile(z), as_tile(t))
            total += as_row(z, value)[0][0]
            outputs[i] = as_row(z, derivative)[0][0] * scale
        losses[p] = total * scale

    return derivatives_of_loss


@cache
def bag_gradient_of(sized, lanes, width, vectors):
    """Make the gradient with respect to the pooled features of a bag, by a group of ``lanes`` threads."""

    @device
    def bag_gradient(coef, gradients, n_bags, sizes, out, p, lane):
        """out[p] = sum over k of gradients[k * n_bags + p] * coef[k], divided by sizes[p] if ``sized``.

        coef : (n_outputs, dim), gradients : (n_outputs * n_bags,), sizes : (>= n_bags,), in. out : (>= n_bags, dim).
        """
        acc, slot = full(coef.dtype.type(0), width, vectors), lane
        while slot * width < coef.shape[1]:
            acc = filled(acc, coef.dtype.type(0))
            for k in range(coef.shape[0]):
                acc = add_scaled(acc, gather(acc, coef, k, slot, lanes), item(gradients, k * n_bags + p), True)
            if sized:
                acc = divided(acc, item(sizes, p))
            scatter(out, p, slot, lanes, acc)
            slot += lanes * vectors

    return bag_gradient
