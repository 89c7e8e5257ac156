"""What is trained and what a step does, on every device."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import is_
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from skbag._data.quantized import copy_into
from skbag._data.resident import Resident
from skbag._data.some_outputs import Negatives, Tree
from skbag._rules.activations import IDENTITY, Activation
from skbag._rules.losses import Loss
from skbag._rules.pooling import Mode
from skbag._rules.solvers import Solver

Array = NDArray[Any]


@dataclass
class Parameters:
    """Rows of parameters, or single ones, and what the solver keeps of them."""

    values: Array  # (n, dim) or (n,), of the dtype of the model; those of a table may be bits of a `QuantizedTable`
    state: Array  # (n,) float64
    first: Array  # like values if the solver has so many states of elements, otherwise of no length
    second: Array

    @classmethod
    def new(cls, values: Array, solver: Solver, initial: float = 0.0) -> Self:
        """Return parameters before training, with states that start at ``initial`` if they are sums of squares."""
        start = initial if solver.accumulates else 0.0
        dtype = values.dtype if values.dtype.kind == "f" else np.dtype(np.float32)
        shapes = (values.shape if solver.element_states > k else (0, *values.shape[1:]) for k in (0, 1))
        some = [np.full(shape, start, dtype) for shape in shapes]
        return cls(values, np.full(len(values), start), *some)

    def arrays(self) -> tuple[Array, ...]:
        """Return all arrays."""
        return self.values, self.state, self.first, self.second

    def copy(self) -> Self:
        """Return a copy of all arrays."""
        return type(self)(*map(_copied, self.arrays()))

    def take(self, other: Self) -> None:
        """Take the numbers of others, of the same shapes."""
        for array, theirs in zip(self.arrays(), other.arrays(), strict=True):
            if isinstance(array, Resident):
                array[:] = theirs
            else:
                copy_into(array, theirs)


@dataclass
class Layer:
    """A linear layer: a row of weights and an intercept for each of its outputs."""

    weights: Parameters  # (n_outputs, n_inputs)
    intercepts: Parameters  # (n_outputs,)


@dataclass
class Model:
    """The parameters that training changes."""

    table: Parameters  # (num_embeddings, dim)
    layers: tuple[Layer, ...]  # the first one reads pooled rows, the last one gives the outputs
    n_steps: int = 0  # so far
    activation: Activation = IDENTITY  # of all layers but the last one
    tree: Tree | None = None  # whose inner nodes the outputs of the last layer are
    made: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)  # kept by a backend for its next call

    @classmethod
    def of(
        cls, parameters: Iterable[Parameters], n_steps: int = 0, activation: Activation = IDENTITY,
        tree: Tree | None = None,
    ) -> Self:  # fmt: skip
        """Return a model of the table, and then weights and intercepts of each layer."""
        table, *others = parameters
        return cls(table, tuple(map(Layer, others[::2], others[1::2])), n_steps, activation, tree)

    def like(self, parameters: Iterable[Parameters]) -> Self:
        """Return the same model with other parameters."""
        return self.of(parameters, self.n_steps, self.activation, self.tree)

    def parameters(self) -> tuple[Parameters, ...]:
        """Return the table, and then weights and intercepts of each layer."""
        layers = ((layer.weights, layer.intercepts) for layer in self.layers)
        return self.table, *(parameters for both in layers for parameters in both)

    @property
    def widths(self) -> tuple[int, ...]:
        """Return how many numbers each layer reads, and last the number of outputs."""
        return self.layers[0].weights.values.shape[1], *(len(layer.intercepts.values) for layer in self.layers)

    def copy(self) -> Self:
        """Return a copy of all arrays."""
        return self.like(parameters.copy() for parameters in self.parameters())

    def is_writable(self) -> bool:
        """Return whether the arrays that others see, of a model that was trained before, may still be written to."""
        return all(parameters.values.flags.writeable for parameters in self.parameters())

    def writable(self, dtype: np.dtype[Any]) -> Self:
        """Return the model if its arrays are C-contiguous, writable and of its dtypes; or one with copies of those."""
        found = []
        for parameters in self.parameters():
            own = parameters.values.dtype
            kinds = own if own.kind in "iu" else dtype, _FLOAT64, dtype, dtype
            arrays = parameters.arrays()
            usable = tuple(map(_usable, arrays, kinds))
            found.append(parameters if all(map(is_, usable, arrays)) else Parameters(*usable))
        if all(map(is_, found, self.parameters())):
            return self
        return self.like(found)


_FLOAT64 = np.dtype(np.float64)


def _copied(array: Any) -> Any:
    """Return a copy; what a solver does not have is no array of numbers."""
    if isinstance(array, Resident):
        return array.copy()
    if not len(array):
        return array
    copy = np.empty_like(array)
    copy_into(copy, array)
    return copy


def _usable(array: Any, dtype: np.dtype[Any]) -> Array:
    if isinstance(array, Resident):  # it was trained on a GPU before
        array = array.host()
    flags = array.flags
    if array.dtype == dtype and flags.c_contiguous and flags.writeable and flags.aligned:
        return array  # np.require takes ten times as long to say so
    return np.require(array, dtype, ["C", "A", "W"])


class Objective(NamedTuple):
    """What a step does."""

    mode: Mode
    loss: Loss
    solver: Solver
    alpha: float = 0.0
    norm: tuple[float, float] | None = None
    scale_grad_by_freq: bool = False
    freeze: bool = False
    layer_alpha: float = 0.0  # the penalty of the last layer
    layer_norm: tuple[float, bool] | None = None  # length of the rows of the last layer: at most, or exactly
    interaction: bool = False  # see ``skbag._data.blocks.Blocks``
    outputs: Negatives | Tree | None = None  # which outputs a step touches; None for all
    hidden_alpha: float = 0.0  # the penalty of hidden layers
    hidden_norms: tuple[tuple[float, bool] | None, ...] = ()  # of the rows of each


class Rates(NamedTuple):
    """Learning rates of consecutive mini-batches: ``initial``, ``initial - slope``, ..."""

    initial: float
    slope: float = 0.0
    layer: float = 1.0  # times as much for the last layer
    intercept: float = 1.0  # times as much as the layer for its intercepts
    hidden: tuple[tuple[float, float], ...] = ()  # both of each hidden layer
