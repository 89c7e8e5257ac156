"""Models as arrays: to and from the state of modules of torch, without torch."""

import re
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skbag._data.bags import for_numpy
from skbag._data.model import Model, Parameters
from skbag._data.quantized import QuantizedTable, arrays_of, dtype_of, is_sealed
from skbag._data.table import check_finite, check_padding_idx, copied, take_table
from skbag._estimators.trained import stream_of
from skbag._rules.solvers import SOLVERS

Array = NDArray[Any]


class ArraysMixin:
    """Arrays out, and estimators from arrays."""

    def to_state_dict(self, *, bag: str = "embedding_bag", linear: str = "linear") -> dict[str, Array]:
        """Return the arrays of an EmbeddingBag and a Linear of torch that compute the same.

        Parameters
        ----------
        bag, linear : str, default="embedding_bag" and "linear"
            What the two are called in the module that is to load them.

        Returns
        -------
        dict of str to ndarray
            Copies: ``"embedding_bag.weight"`` of shape (n_features, embedding_dim), ``"linear.weight"`` of shape
            (n_outputs, embedding_dim) and ``"linear.bias"`` of shape (n_outputs,), in the dtype of the table. With
            hidden layers ``"linear.0.weight"``, ``"linear.2.weight"`` and so on, as of an ``nn.Sequential`` of layers
            with activations between.
            ``module.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})`` takes them.

        Raises
        ------
        NotFittedError
            Before `fit` or `partial_fit`.
        TypeError
            If ``bag`` or ``linear`` is no string.
        ValueError
            If two arrays would have one name; with several modes, ``fields`` or ``interaction``; with
            ``output="hierarchical"``, which a Linear does not have.

        Notes
        -----
        The modes "sum", "mean" and "max" are those of ``torch.nn.EmbeddingBag``. It takes weights of members with "sum"
        alone: divide those of each bag by ``sum(abs(w))`` for "mean" with weights, by ``sqrt(sum(w ** 2))`` for
        "sqrtn". A `EmbeddingBagRegressor` for "poisson" gives logarithms.

        The arrays do not say how they are computed with: pass the ``mode`` to `from_state_dict`, and what else of
        ``classes``, ``multilabel``, ``threshold``, ``activation``, ``per_sample_weights``, ``padding_idx`` and ``loss``
        is not the default. A regressor of one output that was fitted on y of shape (n, 1) comes back as one of numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from skbag import EmbeddingBagClassifier
        >>> model = EmbeddingBagClassifier(8, mode="mean", random_state=0).fit(np.eye(4), [0, 1, 2, 0])
        >>> arrays = model.to_state_dict()
        >>> {name: array.shape for name, array in arrays.items()}
        {'embedding_bag.weight': (4, 8), 'linear.weight': (3, 8), 'linear.bias': (3,)}
        >>> other = EmbeddingBagClassifier.from_state_dict(arrays, mode="mean")
        >>> bool((other.predict(np.eye(4)) == model.predict(np.eye(4))).all())
        True
        """
        check_is_fitted(self, "coefs_")
        for parameter, value in (("bag", bag), ("linear", linear)):
            if not isinstance(value, str):
                raise TypeError(f"{parameter} must be a string, got {value!r}.")
        fitted: Any = self._snapshot()  # type: ignore[attr-defined]
        if fitted._blocks.n_blocks > 1:
            raise ValueError(
                "to_state_dict needs one mode, no fields and no interaction, as an EmbeddingBag of torch has, got mode"
                f"={fitted.mode!r}, fields={fitted.fields!r} and interaction={fitted.interaction!r}."
            )
        table = np.array(fitted.embeddings_)
        fitted._check_outputs("to_state_dict")
        layers, found = fitted._values()[1], {f"{bag}.weight": table}
        for k, (coef, intercept) in enumerate(layers):
            name = linear if len(layers) == 1 else f"{linear}.{2 * k}"
            if name == bag:
                raise ValueError(f"bag and linear must be different names, got {bag!r} and {linear!r}.")
            found[f"{name}.weight"] = np.array(coef.T, table.dtype, order="C")
            found[f"{name}.bias"] = np.array(intercept, table.dtype)
        return found

    @classmethod
    def _from_arrays(
        cls, arrays: Mapping[str, ArrayLike], bag: str, linear: str, params: dict[str, Any], learnt_of: Any
    ) -> Self:
        """Return a fitted estimator; ``learnt_of`` gives what is learnt from y, and the layer in its order."""
        if not isinstance(arrays, Mapping):
            raise TypeError(
                f"arrays must be a mapping of names to arrays, as module.state_dict() is, got {type(arrays).__name__}."
            )
        names = [f"{bag}.weight", *(f"{name}.weight" for name in _layer_names(arrays, linear))]
        for name in names:
            if name not in arrays:
                raise ValueError(f"arrays must have {name!r}, got {sorted(arrays)}.")
        table = take_table(arrays[names[0]], None, names[0])
        layers, before = [], (f"column of {names[0]}", table.shape[1])
        for name in names[1:]:
            layers.append(_layer_at(arrays, name, table.dtype, *before))
            before = f"row of {name}", len(layers[-1][0])
        if len(layers) > 1:
            params = {**params, "hidden_layer_sizes": tuple(len(layer) for layer, _ in layers[:-1])}
        dtype = dtype_of(table)
        estimator: Any = cls(table.shape[1], dtype=dtype, **params)  # type: ignore[call-arg]
        estimator._validate_params()
        estimator._check_hidden(None)
        check_padding_idx(estimator.padding_idx, len(table))
        estimator.n_features_in_ = len(table)
        if estimator._blocks.n_blocks > 1:
            raise ValueError(
                f"from_state_dict makes estimators of one mode, without fields and interaction, got mode="
                f"{estimator.mode!r}, fields={estimator.fields!r} and interaction={estimator.interaction!r}."
            )
        learnt, *last = learnt_of(*layers[-1])
        layers[-1] = last[0], last[1]
        estimator.init = estimator.embeddings_ = _own(estimator._rescaled(table))
        estimator._held = False  # the layer has a length of its own
        values = (
            arrays_of(estimator.embeddings_)[0],
            *(np.ascontiguousarray(array) for layer in layers for array in layer),
        )
        states = estimator._initial_states(learnt, int(estimator.batch_size), len(layers) - 1)
        solver, new = SOLVERS[estimator.solver], zip(values, states, strict=True)
        model = Model.of(Parameters.new(array, solver, state) for array, state in new)
        estimator._keep(model, learnt, stream_of(estimator._new_rng()), 0, [])
        estimator.validation_scores_ = estimator.best_validation_score_ = estimator.best_loss_ = None
        estimator.best_n_iter_ = 0
        return estimator


def _own(table: Any) -> Any:
    """Return a copy of a table that cannot be written to, or the table if nobody can."""
    if is_sealed(table):
        return table
    own = copied(table)
    (own.bits if isinstance(own, QuantizedTable) else own).flags.writeable = False
    return own


def _layer_names(arrays: Mapping[str, ArrayLike], linear: str) -> list[str]:
    """Return what the layers are called: one Linear, or those of a Sequential by their numbers."""
    found = (re.fullmatch(rf"{re.escape(linear)}\.(\d+)\.weight", name) for name in arrays)
    numbers = sorted(int(match[1]) for match in found if match)
    return [linear] if f"{linear}.weight" in arrays or not numbers else [f"{linear}.{k}" for k in numbers]


def _layer_at(
    arrays: Mapping[str, ArrayLike], name: str, dtype: np.dtype[Any], before: str, n_inputs: int
) -> tuple[Array, Array]:
    """Return weights and intercepts of a layer that reads the rows of the one before, checked."""
    layer, bias_name = take_table(arrays[name], dtype, name), f"{name.removesuffix('weight')}bias"
    given = arrays.get(bias_name)
    bias = np.zeros(len(layer)) if given is None else np.asarray(for_numpy(given, bias_name))
    if bias.dtype.kind not in "biuf":
        raise ValueError(f"{bias_name} must hold real numbers, got {bias.dtype!r}.")
    intercept = bias.astype(dtype)
    if layer.shape[1] != n_inputs or intercept.shape != (len(layer),):
        raise ValueError(
            f"{name} must have one column per {before}, {n_inputs}, and {bias_name} one "
            f"number per row of it, got the shapes {layer.shape} and {intercept.shape}."
        )
    check_finite(intercept[:, None], bias_name)
    return layer, intercept
