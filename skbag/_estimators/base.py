"""What the estimators share: how they read X, and what a pickle of them remembers."""

import os
from functools import cache
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix, issparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _check_n_features, check_is_fitted, validate_data

from skbag._backends import get_backend, lend
from skbag._data.bags import Bags, bags_from_csr
from skbag._data.blocks import Blocks, Fields, check_mode
from skbag._data.limits import COUNT, NORM
from skbag._data.on_device import bags_from_device, is_on_device
from skbag._data.quantized import BITS, QuantizedTable, table_of
from skbag._data.resident import TableAttribute
from skbag._data.sources import check_no_column, check_source, place_of_string, warn_of_ids
from skbag._data.table import (
    Drawn,
    check_dtype,
    check_padding_idx,
    check_weight,
    draw_table,
    storage_of,
    take_table,
)
from skbag._estimators.compact import QuantizeMixin
from skbag._estimators.links import LinkedMixin
from skbag._estimators.nearest import NearestMixin
from skbag._estimators.printed import PrintedMixin
from skbag._estimators.saved import SavedMixin
from skbag._estimators.vectors import VectorsMixin
from skbag._rules.pooling import MODES, modes_of
from skbag._threads import check_jobs


@cache
def _parameters_of(estimator: Any) -> list[str]:
    """Return the names of the parameters: scikit-learn looks at the signature each time."""
    return estimator._get_param_names()


class EmbeddingBagBase(
    SavedMixin, NearestMixin, VectorsMixin, QuantizeMixin, LinkedMixin, PrintedMixin, ClassNamePrefixFeaturesOutMixin,
    TransformerMixin, BaseEstimator,
):  # fmt: skip
    """A table, how it comes to be and how the rows of X are pooled with it."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "embedding_dim": [COUNT],
        "mode": [StrOptions({"sum", "mean", "sqrtn", "max"}), list, tuple],
        "fields": "no_validation",
        "init": [str, os.PathLike, "array-like"],
        "per_sample_weights": ["boolean"],
        "padding_idx": [Integral, None],
        **NORM,
        "dtype": "no_validation",
        "device": [str],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    _storages: ClassVar[tuple[str, ...]] = ("float16", "bfloat16")  # of QuantizedTable, that ``dtype`` may be

    embeddings_: Any = TableAttribute()
    _drawn: tuple[Any, ...] | None  # Drawn's, how the table was; None for a given one

    def transform(self, X: Any) -> NDArray[Any]:
        """Pool the rows of the table that each row of X names.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Real and finite. CSR is taken as it is, anything else is converted to CSR. No rows are fine. With
            ``device="cuda"`` also a CSR matrix on the GPU, like CuPy's.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out)
            The features, in the dtype of the table; a data frame if `set_output` asks for one. If X is on the GPU, an
            array there. There are ``embedding_dim`` of them for each mode in each field: those of a field stand side by
            side, in the order of ``mode``.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has another number of columns than in `fit`, contains NaN, infinity or complex numbers, or its index
            arrays are not those of a sparse matrix. The message names the row and the id.
        """
        return self._fitted_snapshot()._pool(X)

    def __sklearn_is_fitted__(self) -> bool:
        return "embeddings_" in vars(self)

    def _snapshot(self) -> Self:
        """Return a shallow copy: what replaces the attributes of the estimator meanwhile does not reach it."""
        snapshot = object.__new__(type(self))
        snapshot.__dict__ = vars(self).copy()
        return snapshot

    def _fitted_snapshot(self) -> Self:
        """Return a snapshot to predict with: its arrays are those of one model, whatever other threads fit."""
        if "embeddings_" not in vars(self):
            check_is_fitted(self)
        snapshot, attributes = self._snapshot(), self.__dict__
        stored = vars(snapshot)["embeddings_"]
        held = get_backend(self.device).hold(stored)
        if held is not stored:  # it was assigned, or held by another device
            snapshot.embeddings_ = held
            if attributes.get("embeddings_") is stored:
                attributes["embeddings_"] = held
        return snapshot

    def _with_fit_of(self, fitted: Self) -> dict[str, Any]:
        """Return the attributes of the estimator with those that fitting a snapshot of it has changed.

        Assigned to ``__dict__``, they take the place of the old ones all at once.
        """
        kind: Any = type(self)
        given = vars(self)
        attributes = {**given, **vars(fitted), **{name: given[name] for name in _parameters_of(kind)}}
        if not hasattr(fitted, "feature_names_in_"):
            attributes.pop("feature_names_in_", None)
        return attributes

    def _pool(self, X: Any) -> NDArray[Any]:
        table = check_weight(vars(self)["embeddings_"], "embeddings_")
        if len(table) != self.n_features_in_:
            raise ValueError(
                f"embeddings_ must have one row per feature, {self.n_features_in_}, got {len(table)} rows."
            )
        bags = self._read_bags(validate_bags(self, X, reset=False), table.dtype)
        return self._features_of(bags, table)

    def _features_of(self, bags: Bags, table: Any) -> NDArray[Any]:
        """Return the pooled rows of bags of the fields."""
        return get_backend(self.device).pool(bags, table, check_mode(self.mode), self.n_jobs)

    def _read_bags(self, X: Any, dtype: Any, *, whole: bool = False) -> Bags:
        """Take a CSR matrix as bags, one for each field of a row, or if ``whole`` for a row.

        Their members are not checked yet.
        """
        shape, modes, fields, padding_idx = X.shape, modes_of(check_mode(self.mode)), None, self.padding_idx
        weighted = self.per_sample_weights and modes != ("max",)
        check_jobs(self.n_jobs)
        if padding_idx is not None:
            padding_idx = check_padding_idx(padding_idx, shape[1])
        if self.fields is not None:
            fields = Fields.of(self.fields, shape[1])
        if is_on_device(X):
            if len(modes) > 1 or fields is not None:
                raise ValueError("X must be on the host where there are fields or several modes, and is on a GPU.")
            options: Any = {"dtype": dtype, "weighted": weighted, "padding_idx": padding_idx}
            return bags_from_device(lend(X, self.device), shape, **options)
        bags = bags_from_csr(
            X, dtype=dtype, weighted=weighted, padding_idx=padding_idx, without_zeros="max" in modes
        )  # fmt: skip
        bags.column_names = vars(self).get("feature_names_in_")
        if fields is None or fields.n_fields == 1 or whole:
            return bags
        return get_backend("cpu").split(bags, fields.edges, self.n_jobs)

    def _check_bags(self, X: Any, *, reset: bool, goes_on: bool = False) -> Bags:
        """Take X as bags that are wholly checked, and made for the mode; a model that goes on keeps its dtype."""
        backend, dtype = get_backend(self.device), check_dtype(self.dtype, self._storages)
        if goes_on:
            dtype = vars(self)["embeddings_"].dtype
        bags = self._read_bags(validate_bags(self, X, reset=reset, min_samples=1), dtype)
        return backend.check(bags, check_mode(self.mode), self.n_jobs)

    def _new_table(self, bags: Bags, dim: int, rng: Any = None, factor: float = 1.0) -> Any:
        """Draw the table, so many columns wide, or take it from ``init``, and bring its rows down to max_norm.

        What is drawn is multiplied by the factor.
        """
        dtype, storage = check_dtype(self.dtype, self._storages), storage_of(self.dtype)
        if self._is_drawn:
            rng = check_random_state(self.random_state) if rng is None else rng
            drawn = Drawn.by(rng, self.init, factor)
            kind = BITS[storage] if storage is not None and storage != "int8" else dtype
            table: Any = draw_table(drawn, (bags.num_embeddings, dim), kind, self.n_jobs)
            self._drawn = tuple(drawn)
            if bags.padding_idx is not None:
                table[bags.padding_idx] = 0
            table = QuantizedTable.of(table, storage) if storage == "int8" else table_of(table)
        else:
            self._drawn = None
            table = take_table(self.init, storage or dtype)
            if len(table) != bags.num_embeddings:
                n = bags.num_embeddings
                raise ValueError(f"init must have one row per feature of X, {n}, got {len(table)} rows.")
        return self._rescaled(table)

    @property
    def _is_drawn(self) -> bool:
        """Whether ``init`` names a distribution, and no table."""
        return isinstance(self.init, str) and self.init in ("normal", "uniform")

    def _rescaled(self, table: Any) -> Any:
        """Return the table with no row longer than max_norm; a copy if that changes anything."""
        if self.max_norm is None:
            return table
        norm = float(self.max_norm), float(self.norm_type)
        factors = get_backend(self.device).norm_factors(table, norm, self.n_jobs)
        if not (factors != 1).any():
            return table
        if isinstance(table, QuantizedTable):
            return table.scaled(factors)
        return table * factors[:, None]

    @classmethod
    @cache
    def _get_param_names(cls) -> list[str]:  # inspecting the signature takes longer than a small call
        names: list[str] = BaseEstimator._get_param_names.__func__(cls)
        return names

    @property
    def _n_features_out(self) -> int:
        return self._blocks.n_blocks * self.embeddings_.shape[1]

    @property
    def _blocks(self) -> Blocks:
        """Return how a pooled row of the fitted estimator is made."""
        mode = check_mode(self.mode)
        if self.fields is None:
            return _ONE_FIELD.get(mode) or Blocks(mode)
        return Blocks(mode, Fields.of(self.fields, self.n_features_in_).n_fields)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return names of the features: the class and a number, with the field and the mode where there are several.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Ignored.

        Returns
        -------
        ndarray of str objects
            Such as "embeddingbagvectorizer0"; with ``mode=["mean", "max"]`` "embeddingbagvectorizer_mean0", and with
            ``fields`` "embeddingbagvectorizer_field0_mean0", or the name of the field.
        """
        blocks = self._blocks if "embeddings_" in vars(self) else Blocks("mean")
        if blocks.n_blocks == 1:
            return super().get_feature_names_out(input_features)
        kinds = [*modes_of(blocks.mode), *["interaction"] * blocks.interaction] if blocks.per_field > 1 else []
        fields = Fields.of(self.fields, self.n_features_in_).names if blocks.n_fields > 1 else ()
        dim = self._n_features_out // blocks.n_blocks
        return np.array(
            [
                "_".join(filter(None, (type(self).__name__.lower(), field, f"{kind}{k}")))
                for field in fields or [""]
                for kind in kinds or [""]
                for k in range(dim)
            ],
            dtype=object,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = []  # the features have the dtype of the table, whatever X has
        return tags


_ONE_FIELD: dict[Any, Blocks] = {mode: Blocks(mode) for mode in MODES}
_PLAIN = csr_matrix, csr_array


def _is_plain(estimator: Any, X: csr_array, reset: bool, min_samples: int) -> bool:
    """Whether there is nothing to say about the shape and the dtype of X, which is a CSR matrix on the host."""
    data, shape = X.data, X.shape
    if len(shape) != 2 or type(data) is not np.ndarray or data.dtype.kind not in "biuf":
        return False
    n_rows, n_columns = shape
    known = reset or (n_columns == estimator.n_features_in_ and "feature_names_in_" not in vars(estimator))
    return known and n_rows >= min_samples and n_columns > 0


def validate_bags(estimator: Any, X: Any, *, reset: bool, min_samples: int = 0) -> Any:
    """Return X in CSR format, with its number and names of features checked, or learnt if ``reset``.

    CSR comes back as it is; the index arrays and values are checked later, by ``bags_from_csr`` and the backend.
    """
    if type(X) in _PLAIN and _is_plain(estimator, X, reset, min_samples):
        if reset:
            estimator.n_features_in_ = X.shape[1]
            vars(estimator).pop("feature_names_in_", None)
        return X  # validate_data, which takes longer than a small call, would find nothing
    if is_on_device(X):
        if not estimator.device.startswith("cuda"):
            raise TypeError(
                f"X is on a GPU, and device={estimator.device!r}: set device='cuda', or copy X to the host."
            )
        if len(X.shape) != 2 or X.shape[0] < min_samples:
            raise ValueError(f"X must have two dimensions and at least {min_samples} rows, got the shape {X.shape}.")
        _check_n_features(estimator, X, reset=reset)
        return X
    if issparse(X) and X.ndim == 2:
        check_source(X)
    elif not issparse(X):
        check_no_column(X)
    options: Any = {"accept_sparse": "csr", "ensure_all_finite": False, "ensure_min_samples": min_samples}
    given = X
    try:
        X = validate_data(estimator, X, reset=reset, **options)
        X = X.astype(np.float64) if X.dtype == object else X  # of columns of categories
    except ValueError as error:
        words = place_of_string(given) if "could not convert" in str(error) or "bytes/strings" in str(error) else ""
        if not words:
            raise
        raise ValueError(words) from error
    if issparse(X):
        return X
    if X.dtype.kind not in "biuf":  # dates in a data frame
        raise ValueError(f"X must be a matrix of numbers, got the dtype {X.dtype}.")
    X = X.astype(X.dtype.newbyteorder("="), copy=False)
    if reset:
        warn_of_ids(X)
    return csr_array(X.astype(np.float32) if X.dtype == np.float16 else X)  # SciPy knows neither
