"""Which outputs a step touches where it does not touch them all: sampled negatives, or the nodes of a tree."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skbag._data.bags import frozen
from skbag._data.targets import Targets
from skbag._rules.losses import branches

Array = NDArray[Any]

_POWER = 0.75  # of the counts: Mikolov et al., "Distributed Representations of Words and Phrases ...", 2013


@dataclass(frozen=True)
class Negatives:
    """Outputs drawn anew for every mini-batch, by their counts to the power of 3/4, beside those that a bag has.

    The shares of the outputs, one after the other, fill a line of length n_negatives, and one point is drawn in each
    unit of it. So they come in order, an output with a share of more than a unit always, and how probable it is that
    one is drawn at all is known exactly. Logits less the logarithm of that are what the loss sees: of a softmax, or of
    logistic losses, with all outputs the probabilities are then those of the candidates given that they were drawn.

    The correction is that of Y. Bengio, J.-S. Senécal, "Adaptive Importance Sampling to Accelerate Training of a Neural
    Probabilistic Language Model", 2008, and S. Jean et al., "On Using Very Large Target Vocabulary for Neural Machine
    Translation", 2015; for logistic losses of G. King, L. Zeng, "Logistic Regression in Rare Events Data", 2001.
    """

    seed: int
    cumulative: Array  # (n_outputs,) float64: where the share of each ends
    firsts: Array  # (n_negatives + 1,) int64: the output at each whole number, and the last one
    offsets: Array  # (n_outputs,) float64: minus the logarithms of the probabilities to be drawn

    @classmethod
    def of(cls, counts: Array, n_negatives: int, seed: int) -> Self:
        """Return what draws ``n_negatives`` times by some counts; an output without any counts as the rarest."""
        shares = counts / max(counts.sum(), 1e-300)
        found = shares > 0
        shares = np.where(found, shares, shares[found].min()) if found.any() else np.ones(len(shares))
        ends = np.cumsum(shares**_POWER)
        ends *= n_negatives / ends[-1]
        ends[-1] = n_negatives
        begins = np.concatenate(([0.0], ends[:-1]))
        unit, last = np.floor(begins), np.floor(ends)
        missed = np.where(last > unit, (begins - unit) * (1 - np.minimum(ends - last, 1)), 1 - (ends - begins))
        drawn = np.where(last > unit + 1, 1.0, np.clip(1 - missed, 1e-300, 1))
        firsts = np.searchsorted(ends, np.arange(n_negatives + 1), side="right")
        return cls(seed, ends, np.minimum(firsts, len(ends) - 1), -np.log(drawn))

    @property
    def n_negatives(self) -> int:
        """Return how many points are drawn."""
        return len(self.firsts) - 1

    def sizes(self, targets: Targets) -> Array:
        """Return how many outputs each bag touches at most."""
        return np.diff(targets.indptr) + self.n_negatives


@dataclass(frozen=True)
class Tree:
    """Classes as the leaves of a binary tree; an output for each inner node says how probable its right branch is.

    F. Morin, Y. Bengio, "Hierarchical Probabilistic Neural Network Language Model", 2005; with Huffman's tree as in
    fastText.
    """

    children: Array  # (n_classes - 1, 2) int64: classes, or n_classes plus the number of an inner node; last the root

    @classmethod
    def of(cls, counts: Array) -> Self:
        """Return Huffman's tree for classes that occur so often."""
        order = np.argsort(-counts, kind="stable")
        return cls.of_sorted(counts[order], order)

    @classmethod
    def of_sorted(cls, counts: Array, classes: Array) -> Self:
        """Return Huffman's tree for the numbers of classes, the most frequent ones first, and their counts."""
        children, last = huffman(counts.tolist()), len(classes) - 1
        return cls(np.where(children <= last, classes[np.minimum(children, last)], children))

    @property
    def n_classes(self) -> int:
        """Return the number of leaves."""
        return len(self.children) + 1

    @cached_property
    def paths(self) -> tuple[Array, Array, Array]:
        """Return the nodes from each leaf to the root as a CSR matrix: indptr, numbers of nodes, and 1 for right."""
        n = self.n_classes
        parents, sides = np.full(2 * n - 1, -1), np.zeros(2 * n - 1, np.int64)
        for side in (0, 1):
            parents[self.children[:, side]], sides[self.children[:, side]] = np.arange(n - 1), side
        leaves, at = np.arange(n), np.arange(n)
        steps = []
        while len(leaves):
            steps.append((leaves, parents[at], sides[at]))
            leaves, at = leaves[parents[at] < n - 2], n + parents[at][parents[at] < n - 2]
        owners, nodes, rights = (np.concatenate(parts) for parts in zip(*steps, strict=True))
        order = np.argsort(owners, kind="stable")
        return np.concatenate(([0], np.cumsum(np.bincount(owners, minlength=n)))), nodes[order], rights[order]

    @cached_property
    def links(self) -> Array:
        """Return ``children``, one node after the other, as the kernels of predictions read them."""
        return frozen(self.children.astype(np.int32).ravel())

    def __getstate__(self) -> dict[str, Array]:
        return {"children": self.children}  # the rest is soon made again

    def sizes(self, targets: Targets) -> Array:
        """Return how many outputs each bag touches, some more than once."""
        depths = np.diff(self.paths[0])[targets.indices]
        return np.diff(np.concatenate(([0], np.cumsum(depths)))[targets.indptr])

    def start(self, counts: Array) -> Array:
        """Return intercepts of the nodes that predict the shares of the classes, of which none is 0."""
        n = self.n_classes
        mass = np.concatenate((counts, np.zeros(n - 1)))
        for k, (left, right) in enumerate(self.children.tolist()):
            mass[n + k] = mass[left] + mass[right]
        left, right = (mass[self.children[:, side]] for side in (0, 1))
        return np.log(right / left)

    def log_probabilities(self, outputs: Array) -> Array:
        """Return the logarithm of the probability of each class, (n_bags, n_classes), from the outputs of the nodes."""
        n = self.n_classes
        nodes = np.zeros((2 * n - 1, len(outputs)), outputs.dtype)
        z = np.ascontiguousarray(outputs.T)
        level = np.array([n - 2])
        while len(level):
            for child, step in zip(self.children[level].T, branches(z[level]), strict=True):
                nodes[child] = nodes[n + level] + step
            below = self.children[level].ravel()
            level = below[below >= n] - n
        return np.ascontiguousarray(nodes[:n].T)


def huffman(counts: list[Any]) -> Array:
    """Return the children of each inner node of Huffman's tree, the last one the root; counts must not increase.

    Which of two equal ones comes first is as in fastText: HierarchicalSoftmaxLoss::buildTree of its loss.cc.
    """
    n, leaf, node = len(counts), len(counts) - 1, 0
    sums: list[Any] = []
    children = np.empty((n - 1, 2), np.int64)
    for k in range(n - 1):
        for side in (0, 1):
            if leaf >= 0 and (node >= len(sums) or counts[leaf] < sums[node]):
                children[k, side], leaf = leaf, leaf - 1
            else:
                children[k, side], node = n + node, node + 1
        sums.append(sum(counts[c] if c < n else sums[c - n] for c in children[k].tolist()))
    return children
