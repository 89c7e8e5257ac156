"""What the classifier and the regressor share in training: parameters, fit and partial_fit."""

from abc import abstractmethod
from copy import deepcopy
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight

from skbag._data.bags import Bags
from skbag._data.blocks import check_mode
from skbag._data.classes import IN_A_STREAM
from skbag._data.limits import COUNT, NOT_NEGATIVE, POSITIVE
from skbag._data.model import Model
from skbag._data.sources import warn_of_scales
from skbag._data.targets import Targets
from skbag._estimators.base import EmbeddingBagBase
from skbag._estimators.fitted import FittedLayers
from skbag._estimators.models import Models
from skbag._estimators.run import Run
from skbag._estimators.stream import Stream
from skbag._rules.activations import ACTIVATIONS
from skbag._rules.solvers import SOLVERS
from skbag._threads import to_the_end
from skbag._training.loop import epochs
from skbag._training.progress import CallbackSupport, Progress
from skbag._training.validation import split

Array = NDArray[Any]

_NO_WEIGHT = "sample_weight times class_weight must be larger than 0 for at least one sample."
_FEW = 16  # rows of the first call of a stream count as so many at least: they may be fewer by chance


class TrainedEmbeddingBag(CallbackSupport, FittedLayers):
    """A table and a linear layer that are trained together."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **EmbeddingBagBase._parameter_constraints,
        "embedding_dim": [COUNT, StrOptions({"auto"})],
        "interaction": [StrOptions({"fm"}), None],
        "freeze": ["boolean"],
        "hidden_layer_sizes": ["array-like", COUNT],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "scale_grad_by_freq": ["boolean"],
        "solver": [StrOptions(set(SOLVERS))],
        "learning_rate": [StrOptions({"linear", "constant"})],
        "learning_rate_init": [POSITIVE, StrOptions({"auto"})],
        "alpha": [NOT_NEGATIVE, StrOptions({"auto"})],
        "batch_size": [COUNT],
        "max_iter": [COUNT, StrOptions({"auto"})],
        "shuffle": ["boolean"],
        "tol": [NOT_NEGATIVE, None],
        "early_stopping": ["boolean"],
        "scoring": [str, callable, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [COUNT, Options(Real, {np.inf})],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    # --- what differs between a classifier and a regressor

    @abstractmethod
    def _learn_y(self, y: Any, known: Any, weights: Array, n_samples: int) -> tuple[Any, Any]:
        """Check y; return what is learnt from it, or was before, and y as `_targets_of` takes it."""

    @abstractmethod
    def _targets_of(self, learnt: Any, y: Any) -> Targets:
        """Return the targets of training."""

    def _choose_outputs(self, learnt: Any, targets: Targets, weights: Array, rng: Any, *, goes_on: bool) -> None:
        """Decide which outputs a step touches, in ``_some_outputs``; ``rng`` is not advanced."""

    def _known(self, warm: bool) -> Any:
        """Return what fit knows of y before it sees it."""
        return self._learnt if warm else None

    def _check_same(self, learnt: Any) -> None:
        """Raise ValueError if y is not what it was before, for ``warm_start``."""

    def _weights_of(self, learnt: Any, y: Any, weights: Array) -> Array:
        """Return the weights of the samples, which are those that the user gives."""
        return weights

    def _stratify(self, y: Any) -> Array | None:
        """Return the classes that keep their shares when samples are held out."""
        return None

    # --- fit

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, X_val: Any = None, y_val: Any = None, sample_weight_val: Any = None
    ) -> Self:
        warm = self.warm_start and hasattr(self, "coefs_")
        fitted = self._snapshot()
        fitted._check_hidden("warm_start" if warm else None)
        bags = fitted._check_bags(X, reset=not warm, goes_on=warm)
        warn_of_scales(bags, check_mode(fitted.mode))
        given = checked_weights(sample_weight, bags.n_rows)
        learnt, labels = fitted._learn_y(y, fitted._known(warm), given, bags.n_rows)
        if warm:
            fitted._check_same(learnt)
        weights = normalized(fitted._weights_of(learnt, labels, given))
        validated = fitted._check_validation(X_val, y_val, sample_weight_val, learnt)
        goes_on = warm and not isinstance(fitted.random_state, np.random.RandomState)
        rng = deepcopy(fitted._rng) if goes_on else fitted._new_rng()
        targets = fitted._targets_of(learnt, labels)
        used = np.flatnonzero(weights)
        left_out: Array | None = None
        if fitted.early_stopping and validated is None:
            strata = fitted._stratify(labels)
            used, left_out = split(used, fitted.validation_fraction, None if strata is None else strata[used], rng)
        fitted._choose_outputs(learnt, targets, weights, rng, goes_on=warm)
        if not warm:
            fitted._look_at(bags, used, learnt)
        model = fitted._model().copy() if warm else fitted._first_model(bags, learnt, targets, weights, used, rng)
        rng = rng if goes_on else stream_of(rng)
        progress = Progress(self, X, y, sample_weight)
        progress.fitted |= {name: value for name, value in vars(fitted).items() if name.endswith("_in_")}
        run = Run(fitted, bags, learnt, targets, weights, used, model, rng)
        run.validate(left_out, validated, X, y, given)
        run.train(progress)
        fitted._keep(model, learnt, rng, len(run.losses), [*(fitted.loss_curve_ if warm else []), *run.losses])
        fitted._keep_scores(run)
        self.__dict__ = self._with_fit_of(fitted)
        return self

    def _first_model(
        self, bags: Bags, learnt: Any, targets: Targets, weights: Array, used: Array, rng: np.random.RandomState
    ) -> Model:
        """Return the model before training on the rows that are used."""
        counted = np.zeros(len(weights))
        counted[used] = weights[used]
        evidence = self._evidence(bags, learnt, targets, counted)
        return self._new_model(bags, learnt, targets, weights, len(used), rng, whole=True, evidence=evidence)

    def _new_rng(self) -> np.random.RandomState:
        return check_random_state(self.random_state)

    def _partial_fit(
        self, fitted: Self, stream: Stream | None, X: Any, y: Any, sample_weight: Any, declared: Any = None
    ) -> Self:
        first = "coefs_" not in vars(fitted)
        bags = fitted._check_bags(X, reset=first, goes_on=not first)
        weights = checked_weights(sample_weight, bags.n_rows)
        learnt, labels = fitted._learn_y(y, declared if first else fitted._learnt, weights, bags.n_rows)
        weights, targets = fitted._weights_of(learnt, labels, weights), fitted._targets_of(learnt, labels)
        used = np.flatnonzero(weights)
        if not len(used):
            raise ValueError(_NO_WEIGHT)
        stream, goes_on, rng = fitted._stream_for(stream, first, bags, learnt, targets, weights, used)
        trainer, held, before = stream.trainer, fitted._held, rng._bit_generator.state
        curve = [] if first else fitted.loss_curve_  # not copied: a stream may have millions of calls
        n_before, attributes = len(curve), None

        def take_back() -> None:
            trainer.take_back()
            rng._bit_generator.state = before
            del curve[n_before:]

        try:
            (loss,) = epochs(trainer, used, stream.schedule, fitted.shuffle, rng)
            if fitted.verbose:
                print(f"Epoch {n_before + 1}, loss {loss:.6f}")
            curve.append(loss)
            if goes_on and stream.shared:
                fitted._keep_step(stream.model)
            else:
                fitted._keep(stream.model, learnt, rng, 1, curve)
            fitted._keep_scores(None, loss)
            attributes = fitted.__dict__ if goes_on and stream.has(self.__dict__) else self._with_fit_of(fitted)
            if first:  # nothing can be taken back, and a GPU makes room for the next call: it may be interrupted
                trainer.forget()
            self.__dict__ = attributes
        except BaseException:
            if self.__dict__ is not attributes and not first:
                to_the_end(take_back)
            raise
        if not first:
            trainer.forget()
            if (goes_on or (stream.may_go_on and fitted._held == held)) and fitted._has_parameters_of(attributes):
                fitted._leave(stream, attributes, goes_on=goes_on)
        return self

    def _begin_call(self) -> tuple[Self, Stream | None]:
        """Return a snapshot to train on a batch, and what the call before has left for it.

        If that is nothing, parameters are checked, which takes as long as a small call.
        """
        fitted = self._snapshot()
        attributes = fitted.__dict__
        first = "coefs_" not in attributes
        stream = None if first or not fitted._models else fitted._models.take_stream(attributes)
        if stream is None:
            if not get_config()["skip_parameter_validation"]:
                fitted._validate_params()
            if fitted.early_stopping:
                raise ValueError("partial_fit does not support early_stopping=True.")
            fitted._check_hidden(None if first else "partial_fit")
        return fitted, stream

    def _has_parameters_of(self, attributes: dict[str, Any]) -> bool:
        """Return whether the parameters are those in ``attributes``: they may be set while a call runs."""
        own = vars(self)
        return attributes is own or all(attributes[name] is own[name] for name in self._get_param_names())

    def _stream_for(
        self, stream: Stream | None, first: bool, bags: Bags, learnt: Any, targets: Targets, weights: Array,
        used: Array,
    ) -> tuple[Stream, bool, np.random.RandomState]:  # fmt: skip
        """Return what trains on a batch, whether that is ``stream`` which goes on, and its random numbers."""
        rng = self._new_rng() if first else self._rng
        self._choose_outputs(learnt, targets, weights, rng, goes_on=not first)
        if first:
            self._look_at(bags, used, learnt)
            evidence = self._evidence(bags, learnt, targets, weights)
            model = self._new_model(bags, learnt, targets, weights, max(len(used), _FEW), rng, evidence=evidence)
            return self._new_stream(bags, learnt, targets, weights, model, undo=False), False, stream_of(rng)
        if stream is None or stream.trainer.objective.outputs is not self._some_outputs:
            return self._new_stream(bags, learnt, targets, weights, self._model(), undo=True), False, rng
        if not stream.shared:
            self._renew_last_layer(stream.model)
        stream.trainer.take(bags, targets, weights, undo=True)
        return stream, True, rng

    def _leave(self, stream: Stream, attributes: Any, *, goes_on: bool) -> None:
        """Leave what trained on a batch for the next one; ``goes_on``: it was left before."""
        models = self._models or Models()
        if not goes_on:
            stream.shared = models.get("train", *self._trained()) is stream.model
        models.leave_stream(stream, attributes)

    def _new_stream(
        self, bags: Bags, learnt: Any, targets: Targets, weights: Array, model: Model, *, undo: bool
    ) -> Stream:
        trainer = self._trainer(bags, learnt, targets, weights, model, undo=undo)
        return Stream(trainer, model, self._schedule(learnt, "constant", 1, 1), self.get_params(deep=False))

    def _check_validation(self, X: Any, y: Any, sample_weight: Any, learnt: Any) -> Any:
        """Return what is validated on: X, y, bags, targets, weights, sample_weight; None if the user gives nothing."""
        if X is None and y is None:
            if sample_weight is not None:
                raise ValueError("sample_weight_val is passed without X_val and y_val.")
            return None
        if X is None or y is None:
            missing, given = ("X_val", "y_val") if X is None else ("y_val", "X_val")
            raise ValueError(f"{given} is passed without {missing}: pass both, or none.")
        if not self.early_stopping:
            raise ValueError("X_val and y_val are only used with early_stopping=True.")
        try:
            bags = self._check_bags(X, reset=False, goes_on=self.warm_start and "embeddings_" in vars(self))
            own = checked_weights(sample_weight, bags.n_rows)
            _, labels = self._snapshot()._learn_y(y, learnt, own, bags.n_rows)  # they are no rows of training
            weights = self._weights_of(learnt, labels, own)
            if not weights.any():
                raise ValueError("the weights must be larger than 0 for at least one sample.")
        except (TypeError, ValueError) as error:  # the words are those for X, y and sample_weight
            kind = TypeError if isinstance(error, TypeError) else ValueError
            words = str(error)
            if words.endswith(IN_A_STREAM):
                words = words.removesuffix(IN_A_STREAM) + " Validate on samples of classes that y has."
            raise kind(f"In X_val, y_val or sample_weight_val: {words}") from error
        return X, y, bags, self._targets_of(learnt, labels), weights, own

    def _check_hidden(self, goes_on: str | None) -> None:
        """Raise ValueError if there cannot be these hidden layers, or there were others before what goes on."""
        sizes = self._hidden_sizes
        if goes_on and sizes != tuple(self._layer_shape[1:-1]):
            raise ValueError(
                f"{goes_on} needs the hidden_layer_sizes of the first fit, {tuple(self._layer_shape[1:-1])}, got "
                f"{self.hidden_layer_sizes!r}."
            )


def checked_weights(sample_weight: ArrayLike | None, n_samples: int) -> Array:
    """Return one weight per sample."""
    if sample_weight is None:
        return np.ones(n_samples)
    try:
        weights: Array = _check_sample_weight(
            sample_weight, range(n_samples), dtype=np.float64, ensure_non_negative=True
        )
    except OverflowError:
        raise ValueError("sample_weight must be finite in float64, and contains a larger integer.") from None
    except (TypeError, ValueError) as error:
        if "sample_weight" in str(error) or "ample weight" in str(error):  # scikit-learn says what it is
            raise
        raise type(error)(f"sample_weight must be real numbers: {error}") from error
    return weights


def normalized(weights: Array) -> Array:
    """Return weights with a mean of 1 where they are not 0."""
    if not weights.any():
        raise ValueError(_NO_WEIGHT)
    weights = weights / weights.max()  # or their sum could be infinite
    return weights / weights[weights > 0].mean()


def stream_of(rng: np.random.RandomState) -> np.random.RandomState:
    """Return a stream of the model's own, seeded by ``rng``; its state is small, and so saved at every call."""
    return np.random.RandomState(np.random.PCG64(rng.randint(0, 2**32, size=4, dtype=np.uint32)))
