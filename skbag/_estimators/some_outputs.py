"""What ``output`` of the classifier means, and what it needs."""

from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._data.some_outputs import Negatives, Tree
from skbag._data.targets import LABELS, Classes, Targets

Array = NDArray[Any]


def check_output(estimator: Any) -> None:
    """Raise ValueError if ``output`` does not go with another parameter."""
    output = estimator.output
    if output == "full":
        return
    for name, allowed in (("loss", "log_loss"), ("freeze", False), ("device", "cpu")):
        value = getattr(estimator, name)
        if value != allowed:
            raise ValueError(f"output={output!r} needs {name}={allowed!r}, got {name}={value!r}: use output='full'.")


def choose_outputs(
    estimator: Any, learnt: Classes, targets: Targets, weights: Array, rng: Any, *, goes_on: bool
) -> None:
    """Decide which outputs steps touch from now on, by the counts so far; see ``TrainedEmbeddingBag``.

    Negatives are drawn by counts that are renewed whenever there are twice as many: the work of a short call of
    partial_fit does not grow with the number of outputs more than it has to.
    """
    output, before = estimator.output, estimator._some_outputs if goes_on else None
    if output == "hierarchical" and learnt.kind == LABELS:
        raise ValueError(
            "output='hierarchical' needs classes, or probabilities of classes, as y, got a label indicator: divide "
            "its rows by their sums, or use output='sampled'."
        )
    if learnt.n_outputs == 1 or (output == "sampled" and int(estimator.n_negatives) >= learnt.n_outputs):
        output = "full"  # nothing would be saved
    if goes_on and (output == "hierarchical") != isinstance(before, Tree):
        was = "'hierarchical'" if isinstance(before, Tree) else "other than 'hierarchical'"
        raise ValueError(f"output must be {was} as before, got {output!r}.")
    if output == "full":
        estimator._some_outputs = None
    elif output == "hierarchical":
        estimator._some_outputs = before or Tree.of(targets.totals((weights > 0).astype(np.float64)) + 0.5)
    else:
        counts = targets.totals((weights > 0).astype(np.float64))
        if isinstance(before, Negatives):
            counts += estimator._output_counts
        estimator._output_counts = counts
        n_negatives, total = int(estimator.n_negatives), float(counts.sum())
        if isinstance(before, Negatives) and before.n_negatives == n_negatives and total < 2 * estimator._counted:
            return
        seed = before.seed if isinstance(before, Negatives) else int(deepcopy(rng).randint(2**62))
        estimator._some_outputs, estimator._counted = Negatives.of(counts, n_negatives, seed), total
