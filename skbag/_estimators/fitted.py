"""What the classifier and the regressor share once they are fitted: their arrays, a model of them, and predicting."""

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._backends import get_backend, get_trainer
from skbag._data.bags import Bags
from skbag._data.blocks import Blocks
from skbag._data.limits import check_sizes
from skbag._data.model import Model, Objective, Parameters
from skbag._data.quantized import QuantizedTable, table_of, values_of
from skbag._data.some_outputs import Negatives, Tree
from skbag._data.table import check_weight, copied
from skbag._data.targets import Targets
from skbag._data.warned import level_of_user
from skbag._estimators.base import EmbeddingBagBase, validate_bags
from skbag._estimators.models import Models
from skbag._rules.activations import ACTIVATIONS
from skbag._rules.losses import Loss
from skbag._rules.pooling import sums_in
from skbag._rules.solvers import SOLVERS
from skbag._training.defaults import (
    MOST_SCALE,
    Manner,
    default_dim,
    follows_rows,
    initial_layers,
    length_of_bags,
    looked_at,
    manner_of,
    scale_of,
)
from skbag._training.evidence import evidence
from skbag._training.loop import Schedule

Array = NDArray[Any]

_NO_STATE = np.empty(0)

Layers = Sequence[tuple[Array, Array]]  # coefficients and intercepts of each


class FittedLayers(EmbeddingBagBase):
    """A table and the layers behind it."""

    _some_outputs: Negatives | Tree | None = None  # None for all
    _models: Models | None = None  # of one that is in training
    _held: bool = True  # whether the rows of the last layer have a length that training keeps

    # --- what differs between a classifier and a regressor

    @abstractmethod
    def _loss_of(self, learnt: Any) -> Loss:
        """Return the loss of training."""

    @abstractmethod
    def _start_of(self, learnt: Any, targets: Targets, weights: Array) -> Array:
        """Return the intercepts before training."""

    def _training_loss(self, learnt: Any) -> Loss:
        """Return the loss of the outputs that a step touches."""
        return self._loss_of(learnt)

    def _has_evidence(self, learnt: Any) -> bool:
        """Return whether columns learn by what they say of y before training."""
        return False

    def _needs_fewer_epochs(self, learnt: Any) -> bool:
        """Return whether columns know enough before training that it can be shorter; rare labels need their time."""
        return False

    def _constant_outputs(self, targets: Targets, weights: Array) -> Any:
        """Return which outputs have one target in all samples, at which the intercepts begin."""
        return slice(0)

    def _layer_of(self, learnt: Any) -> tuple[Any, Any]:
        """Return by what an output of training is multiplied, and what is then added."""
        return 1.0, 0.0

    @property
    def _hidden_sizes(self) -> tuple[int, ...]:
        return check_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")

    # --- the fitted arrays

    def _look_at(self, bags: Bags, used: Array, learnt: Any) -> None:
        """Learn how long bags are, of the rows of X to train on."""
        self._bag_length = 1.0
        if follows_rows(self._blocks.mode) and len(used):
            length = self._bag_length = length_of_bags(bags, looked_at(used), self._blocks.mode, self._loss_of(learnt))
            if not 1 / MOST_SCALE < length < MOST_SCALE:
                beyond = "below" if length < 1 else "above"
                warnings.warn(
                    f"The values of X make sums that are {beyond} {length:g}, beyond which training cannot follow "
                    "their scale: multiply X by a constant, or use mode='mean'.",
                    UserWarning,
                    stacklevel=level_of_user(),
                )

    def _evidence(self, bags: Bags, learnt: Any, targets: Targets, weights: Array) -> tuple[Any, Array] | None:
        """Return columns and what first states of their rows are divided by: how much they say of y.

        It is asked for before there is a table, for the sake of the memory.
        """
        self._held = True  # as in a new model
        return evidence(bags, targets, weights, self.n_jobs) if self._has_evidence(learnt) else None

    def _new_model(
        self, bags: Bags, learnt: Any, targets: Targets, weights: Array, n_used: int, rng: np.random.RandomState,
        *, whole: bool = False, evidence: tuple[Any, Array] | None = None,
    ) -> Model:  # fmt: skip
        dim = self.embedding_dim
        sizes = self._hidden_sizes
        if isinstance(dim, str):
            summed = sums_in(self._blocks.mode) and not self.interaction and not self.freeze and not sizes
            dim = default_dim(targets.n_outputs, summed=bool(summed) and self._some_outputs is None)
        self._held, self._start_scale = True, None if self._is_drawn else 1.0
        table = self._new_table(bags, dim, rng, min(1.0, self._manner(learnt).longer))
        if not self._is_drawn:
            self._start_scale = scale_of(table, bags.padding_idx)
            most = MOST_SCALE / 10 if self.interaction is None else 10 * MOST_SCALE**0.5 / max(1, self._bag_length)
            if self._start_scale > most and not self.freeze:
                warnings.warn(
                    "The rows of init are longer than training can follow, which is up to about "
                    f"{0.3 * most:,.0f}{'' if self.interaction is None else ' with an interaction and this X'}: divide "
                    "init by their length.",
                    UserWarning,
                    stacklevel=level_of_user(),
                )
            table = copied(table)  # training writes into it, and it may be the caller's
        solver, dim = SOLVERS[self.solver], self._blocks.n_blocks * table.shape[1]
        start = self._start_of(learnt, targets, weights)
        states = self._initial_states(learnt, min(int(self.batch_size), max(1, n_used)), len(sizes))
        manner, activation = self._manner(learnt), ACTIVATIONS[self.activation]
        if self.freeze and not sizes:
            manner = replace(manner, length=0.0)
        widths = (dim, *sizes, len(start))
        layers = initial_layers(widths, manner, activation, start, rng)
        if whole:  # the first rows of a stream may be alike by chance
            layers[-2][self._constant_outputs(targets, weights)] = 0
        arrays = values_of(table), *(np.ascontiguousarray(array, table.dtype) for array in layers)
        parameters = (Parameters.new(array, solver, state) for array, state in zip(arrays, states, strict=True))
        model = Model.of(parameters, 0, activation, self._tree)
        if evidence is not None:
            columns, said = evidence
            model.table.state[columns] /= said
        return get_trainer(self.device).keep(model, table.dtype)

    def _initial_states(self, learnt: Any, n_rows: int, n_hidden: int) -> tuple[float, ...]:
        """Return what sums of squares of gradients begin at, for table, weights and intercepts and so many rows a step.

        Gradients are means over these rows.
        """
        manner = self._manner(learnt)
        state = manner.state / n_rows**2
        of_table, of_first = state / manner.longer**2, state * manner.shorter**2
        return of_table, of_first, state, *(state, state) * n_hidden

    def _model(self) -> Model:
        """Return the fitted arrays to train on; writable copies where they are not (memory-mapped ones)."""
        dtype = vars(self)["embeddings_"].dtype
        models = self._models or Models()
        kept = models.get("train", *self._trained())
        if kept is not None and kept.is_writable():
            return kept
        return get_trainer(self.device).keep(kept or self._model_of_arrays(), dtype)

    def _trained(self) -> tuple[tuple[Any, ...], Any]:
        """Return the fitted attributes that training changes, and the options that a model of them depends on."""
        return (*self._parts(), self._solver_state), (self._blocks, self.activation, self.device, self.solver)

    def _model_of_arrays(self) -> Model:
        table, layers = self._values()
        if isinstance(table, QuantizedTable):
            if table.scales is not None:
                raise ValueError(
                    f"embeddings_ is stored as {table.storage}, which cannot be trained: steps are smaller than what "
                    "its numbers differ by. Train the model that was quantized, or quantize to 'float16' or 'bfloat16'."
                )
            table = table.stored
        values = table, *self._layers_of_training(layers)
        kept: Any = self._solver_state
        *states, n_steps = kept
        if self._solver == self.solver:
            parameters = [Parameters(array, *some) for array, some in zip(values, states, strict=True)]
        else:  # another solver begins anew
            states, n_steps = self._initial_states(self._learnt, int(self.batch_size), len(layers) - 1), 0
            arrays = (np.asarray(table), *values[1:])
            new = zip(arrays, states, strict=True)
            parameters = [Parameters.new(array, SOLVERS[self.solver], state) for array, state in new]
        return Model.of(parameters, n_steps, ACTIVATIONS[self.activation], self._tree)

    def _layers_of_training(self, layers: Layers) -> Iterator[Array]:
        """Yield weights and intercepts of each layer in training, where outputs may have another scale."""
        factor, offset = self._layer_of(self._learnt)
        for k, (coef, intercept) in enumerate(layers):
            if k == len(layers) - 1 and np.ndim(factor):
                coef, intercept = coef / factor, (intercept - offset) / factor
            yield from (coef.T, intercept)

    def _renew_last_layer(self, model: Model) -> None:
        """Make the last layer of a model what a model of the fitted arrays would have, where these are no views."""
        *_, coef, intercept = self._layers_of_training(list(zip(self.coefs_, self.intercepts_, strict=True)))
        layer = model.layers[-1]
        layer.weights.values[:], layer.intercepts.values[:] = coef, intercept

    def _values(self) -> tuple[Any, Layers]:
        """Return the fitted table, and coefficients and intercepts of each layer; checked: they may be assigned."""
        shapes = list(pairwise(self._layer_shape))
        table = get_backend(self.device).hold(vars(self)["embeddings_"])  # the attribute would fetch it from a GPU
        checked = check_weight(table, "embeddings_")
        table = checked if isinstance(checked, QuantizedTable) else table
        for name in ("coefs_", "intercepts_"):
            if len(getattr(self, name)) != len(shapes):
                raise ValueError(f"{name} must be {len(shapes)} arrays, got {len(getattr(self, name))}.")
        arrays = zip(self.coefs_, self.intercepts_, strict=True)
        layers = [(np.asarray(coef), np.asarray(intercept)) for coef, intercept in arrays]
        n_pooled, n_blocks = self._layer_shape[0], self._blocks.n_blocks
        if n_pooled % n_blocks:
            raise ValueError(
                f"mode, fields and interaction make {n_blocks} blocks of features, and coefs_[0] is for {n_pooled} "
                "features: they must be what they were in fit."
            )
        shape = self.n_features_in_, n_pooled // n_blocks
        _check_shape("embeddings_", table, shape, " Are mode, fields and interaction what they were in fit?")
        for k, (coef, intercept) in enumerate(layers):
            _check_shape(f"coefs_[{k}]", coef, shapes[k])
            _check_shape(f"intercepts_[{k}]", intercept, shapes[k][1:])
        return table, layers

    @property
    def _tree(self) -> Tree | None:
        """Return the tree whose leaves are the classes, if the outputs are its nodes."""
        return self._some_outputs if isinstance(self._some_outputs, Tree) else None

    def _check_outputs(self, what: str) -> None:
        if self._tree is not None:
            raise ValueError(f"{what} needs an output for each class, which output='hierarchical' does not have.")

    def _only_layer(self, what: str) -> tuple[Array, Array]:
        """Return coefficients and intercepts of the layer, for what can be said of outputs of classes that are sums."""
        self._check_outputs(what)
        layers = self._values()[1]
        if len(layers) > 1:
            raise ValueError(
                f"{what} needs a model without hidden layers, got hidden_layer_sizes={self.hidden_layer_sizes!r}: its "
                "outputs are no sums over the columns of X."
            )
        return layers[0]

    def _keep(self, model: Model, learnt: Any, rng: Any, n_epochs: int, losses: list[float]) -> None:
        """Take over a trained model."""
        self._held = self._manner(learnt).norm is not None  # a layer that was free may have any length from now on
        models = self._models or Models()
        if learnt is not vars(self).get("_learnt") or models.get("train", *self._trained()) is not model:
            for name, value in self._attributes(model, learnt).items():
                setattr(self, name, value)
            models = Models()
        self._solver_state = (*(parameters.arrays()[1:] for parameters in model.parameters()), model.n_steps)
        self._rng, self._solver, self._models = rng, self.solver, models
        self.loss_curve_, self.n_iter_ = losses, n_epochs
        if self.device == "cpu":
            self._models.keep("train", *self._trained(), model)

    def _keep_step(self, model: Model) -> None:
        """Take over a model that has gone on, of which the fitted attributes are already the arrays."""
        self._solver_state = *self._solver_state[:-1], model.n_steps
        self.n_iter_ = 1

    def _attributes(self, model: Model, learnt: Any) -> dict[str, Any]:
        """Return the fitted attributes that a model has by itself."""
        factor, offset = self._layer_of(learnt)
        coefs = [layer.weights.values.T for layer in model.layers]
        intercepts = [layer.intercepts.values for layer in model.layers]
        if np.ndim(factor):
            coefs[-1], intercepts[-1] = coefs[-1] * factor.astype(coefs[-1].dtype), intercepts[-1] * factor + offset
        return {
            "embeddings_": table_of(model.table.values), "coefs_": coefs, "intercepts_": intercepts, "_learnt": learnt,
            "_layer_shape": model.widths, **self._attributes_of_y(learnt),
        }  # fmt: skip

    def _attributes_of_y(self, learnt: Any) -> dict[str, Any]:
        return {}

    def _keep_scores(self, run: Any, loss: float | None = None) -> None:
        """Take over what early stopping saw; None for what there is not. A call of partial_fit brings one loss."""
        scores = run.scores if run is not None and self.early_stopping else None
        best = run.best if scores else None
        self.validation_scores_ = scores
        self.best_validation_score_ = scores[-1 if best is None else best] if scores else None
        self.best_n_iter_ = self.n_iter_ if best is None else best + 1
        best_loss = vars(self).get("best_loss_") if loss is not None else None
        losses = self.loss_curve_ if best_loss is None else (best_loss, loss)
        self.best_loss_ = None if scores else min(losses)

    def _trainer(
        self, bags: Bags, learnt: Any, targets: Targets, weights: Array, model: Model, *, undo: bool = False
    ) -> Any:
        module, objective = get_trainer(self.device), self._objective(learnt)
        return module.Trainer(
            bags, targets, weights, model, objective, int(self.batch_size), self.n_jobs, undo=undo
        )  # fmt: skip

    def _objective(self, learnt: Any) -> Objective:
        """Return what a step does."""
        norm = None if self.max_norm is None else (float(self.max_norm), float(self.norm_type))
        manner, blocks = self._manner(learnt), self._blocks
        alpha = self._alpha(manner)
        held, hidden = manner.norm, manner.hidden_norms(len(self._hidden_sizes))
        return Objective(
            blocks.mode, self._training_loss(learnt), SOLVERS[self.solver], alpha, norm,
            bool(self.scale_grad_by_freq), bool(self.freeze), 0.0 if held else alpha, held,
            blocks.interaction, self._some_outputs,
            0.0 if any(hidden) else alpha, tuple(hidden),
        )  # fmt: skip

    def _manner(self, learnt: Any) -> Manner:
        """Return how the model is trained."""
        fitted = vars(self)
        scale, pooled = fitted.get("_start_scale", 1.0), fitted.get("_bag_length", 1.0)
        learns = not self.freeze and self._held
        loss = self._loss_of(learnt)
        hidden = self.activation if self._hidden_sizes else None
        frozen = bool(self.freeze)
        return manner_of(
            loss, learnt.n_outputs, self.solver, learns=learns, scale=scale, pooled=pooled, hidden=hidden,
            frozen=frozen, squared=self.interaction is not None,
        )  # fmt: skip

    def _alpha(self, manner: Manner) -> float:
        """Return the strength of the penalty."""
        return manner.alpha if isinstance(self.alpha, str) else float(self.alpha)

    def _schedule(self, learnt: Any, name: str, n_epochs: int, n_batches: int) -> Schedule:
        manner, rate = self._manner(learnt), self.learning_rate_init
        initial = manner.rate if isinstance(rate, str) else rate
        *hidden, (layer, intercept) = manner.factors(len(self._hidden_sizes))
        return Schedule(name, initial, n_epochs, n_batches, layer, intercept, tuple(hidden))

    # --- prediction

    def _outputs(self, X: Any, *, choose: bool = False) -> Array:
        """Return the outputs of training for X, or the number of the largest of each row; called on a snapshot."""
        return get_trainer(self.device).predict(*self._to_predict(X), choose=choose)

    def _to_predict(self, X: Any) -> tuple[Bags, Model, Blocks, int | None]:
        """Return what a backend predicts with."""
        blocks = self._blocks
        model = self._model_to_predict(blocks)
        dtype = model.layers[0].weights.values.dtype
        return self._read_bags(validate_bags(self, X, reset=False), dtype), model, blocks, self.n_jobs

    def _model_to_predict(self, blocks: Blocks) -> Model:
        """Return the fitted arrays; the model of the call before where the attributes are still those arrays."""
        models, options = self._models or Models(), (blocks, self.activation, self.device)
        model = models.get("predict", self._parts(), options)
        if model is None:
            table, layers = self._values()
            arrays = table, *(np.ascontiguousarray(array, table.dtype) for array in self._layers_of_training(layers))
            parameters = (Parameters(array, _NO_STATE, _NO_STATE, _NO_STATE) for array in arrays)
            model = Model.of(parameters, 0, ACTIVATIONS[self.activation], self._tree)
            if self.device == "cpu":
                models.keep("predict", self._parts(), options, model)
        return model

    def _parts(self) -> tuple[Any, ...]:
        """Return the fitted attributes that a model is made of."""
        some = self._some_outputs
        tree = None if some is None else self._tree
        return vars(self)["embeddings_"], *self.coefs_, *self.intercepts_, tree

    @property
    def _blocks(self) -> Blocks:
        """Return how a pooled row is made; ValueError if that cannot be."""
        blocks = super()._blocks
        if self.interaction is not None:
            blocks = blocks._replace(interaction=True)
            if not isinstance(blocks.mode, str) or blocks.mode == "max":
                raise ValueError(
                    f"interaction={self.interaction!r} needs one mode of 'sum', 'mean' and 'sqrtn', got "
                    f"mode={self.mode!r}."
                )
        return blocks

    def _check_bags(self, X: Any, *, reset: bool, goes_on: bool = False) -> Bags:
        bags = super()._check_bags(X, reset=reset, goes_on=goes_on)
        if self.interaction is not None:
            _ = self._blocks  # what cannot be is said before anything is made
        return bags

    def _features_of(self, bags: Bags, table: Any) -> Array:
        if not self.interaction:
            return super()._features_of(bags, table)
        layer = np.zeros((1, self._blocks.n_blocks * table.shape[1]), table.dtype), np.zeros(1, table.dtype)
        model = Model.of(Parameters(array, _NO_STATE, _NO_STATE, _NO_STATE) for array in (table, *layer))
        features: Array = get_trainer(self.device).predict(bags, model, self._blocks, self.n_jobs, pooled=True)
        return features


def _check_shape(name: str, array: Any, shape: tuple[int, ...], question: str = "") -> None:
    if np.shape(array) != shape:
        raise ValueError(f"{name} must have the shape {shape}, got {np.shape(array)}.{question}")
