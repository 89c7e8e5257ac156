"""What the estimators share: how they read X, and what a pickle of them remembers."""

import os
from functools import cache
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _check_n_features, check_is_fitted, validate_data

from skbag._backends import get_backend
from skbag._data.bags import Bags, bags_from_csr, bags_from_device, is_on_device
from skbag._data.limits import COUNT, NORM
from skbag._data.resident import TableAttribute
from skbag._data.sources import check_no_column, check_source
from skbag._data.table import check_dtype, check_padding_idx, check_weight, draw_table, seed_of, take_table
from skbag._estimators.links import LinkedMixin
from skbag._estimators.nearest import NearestMixin
from skbag._estimators.saved import SavedMixin
from skbag._estimators.vectors import VectorsMixin
from skbag._rules.pooling import MODES


class EmbeddingBagBase(
    SavedMixin, NearestMixin, VectorsMixin, LinkedMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin,
    BaseEstimator,
):  # fmt: skip
    """A table, how it comes to be and how the rows of X are pooled with it."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "embedding_dim": [COUNT],
        "mode": [StrOptions({"sum", "mean", "sqrtn", "max"})],
        "init": [str, os.PathLike, "array-like"],
        "per_sample_weights": ["boolean"],
        "padding_idx": [Integral, None],
        **NORM,
        "dtype": "no_validation",
        "device": [str],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    embeddings_: Any = TableAttribute()
    _drawn: Any  # how the table was drawn: init and seed; None for a given one

    def transform(self, X: Any) -> NDArray[Any]:
        """Pool the rows of the table that each row of X names.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Real and finite. CSR is taken as it is, anything else is converted to CSR. No rows are fine. With
            ``device="cuda"`` also a CSR matrix on the GPU, like CuPy's.

        Returns
        -------
        ndarray of shape (n_samples, embedding_dim)
            The features, in the dtype of the table; a data frame if `set_output` asks for one. If X is on the GPU, an
            array there.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has another number of columns than in `fit`, contains NaN, infinity or complex numbers, or its index
            arrays are not those of a sparse matrix. The message names the row and the id.
        """
        return self._fitted_snapshot()._pool(X)

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
        attributes = {**vars(self), **vars(fitted), **self.get_params(deep=False)}
        if not hasattr(fitted, "feature_names_in_"):
            attributes.pop("feature_names_in_", None)
        return attributes

    def _pool(self, X: Any) -> NDArray[Any]:
        backend = get_backend(self.device)
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {tuple(MODES)}, got {self.mode!r}.")
        table = check_weight(vars(self)["embeddings_"], "embeddings_")
        if len(table) != self.n_features_in_:
            raise ValueError(
                f"embeddings_ must have one row per feature, {self.n_features_in_}, got {len(table)} rows."
            )
        bags = self._read_bags(validate_bags(self, X, reset=False), table.dtype)
        return backend.pool(bags, table, self.mode, self.n_jobs)

    def _read_bags(self, X: Any, dtype: Any) -> Bags:
        """Take a CSR matrix as bags; their members are not checked yet."""
        weighted = self.per_sample_weights and self.mode != "max"
        padding_idx = check_padding_idx(self.padding_idx, X.shape[1])
        if is_on_device(X):
            return bags_from_device(X, dtype=dtype, weighted=weighted, padding_idx=padding_idx)
        return bags_from_csr(X, dtype=dtype, weighted=weighted, padding_idx=padding_idx)

    def _check_bags(self, X: Any, *, reset: bool, goes_on: bool = False) -> Bags:
        """Take X as bags that are wholly checked, and made for the mode; a model that goes on keeps its dtype."""
        backend, dtype = get_backend(self.device), check_dtype(self.dtype)
        if goes_on:
            dtype = vars(self)["embeddings_"].dtype
        bags = self._read_bags(validate_bags(self, X, reset=reset, min_samples=1), dtype)
        return backend.check(bags, self.mode, self.n_jobs)

    def _new_table(self, bags: Bags, dim: int, rng: Any = None) -> NDArray[Any]:
        """Draw the table, so many columns wide, or take it from ``init``, and bring its rows down to max_norm."""
        dtype = check_dtype(self.dtype)
        if self._is_drawn:
            seed = seed_of(check_random_state(self.random_state) if rng is None else rng)
            table = draw_table(self.init, (bags.num_embeddings, dim), dtype, seed)
            self._drawn = self.init, seed
            if bags.padding_idx is not None:
                table[bags.padding_idx] = 0
        else:
            self._drawn = None
            table = take_table(self.init, dtype)
            if len(table) != bags.num_embeddings:
                n = bags.num_embeddings
                raise ValueError(f"init must have one row per feature of X, {n}, got {len(table)} rows.")
        return self._rescaled(table)

    @property
    def _is_drawn(self) -> bool:
        """Whether ``init`` names a distribution, and no table."""
        return isinstance(self.init, str) and self.init in ("normal", "uniform")

    def _rescaled(self, table: NDArray[Any]) -> NDArray[Any]:
        """Return the table with no row longer than max_norm; a copy if that changes anything."""
        if self.max_norm is None:
            return table
        norm = float(self.max_norm), float(self.norm_type)
        factors = get_backend(self.device).norm_factors(table, norm, self.n_jobs)
        return table * factors[:, None] if (factors != 1).any() else table

    @classmethod
    @cache
    def _get_param_names(cls) -> list[str]:  # inspecting the signature takes longer than a small call
        names: list[str] = BaseEstimator._get_param_names.__func__(cls)
        return names

    @property
    def _n_features_out(self) -> int:
        return self.embeddings_.shape[1]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = []  # the features have the dtype of the table, whatever X has
        return tags


def validate_bags(estimator: Any, X: Any, *, reset: bool, min_samples: int = 0) -> Any:
    """Return X in CSR format, with its number and names of features checked, or learnt if ``reset``.

    CSR comes back as it is; the index arrays and values are checked later, by ``bags_from_csr`` and the backend.
    """
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
        known = not reset and X.shape[1] == estimator.n_features_in_ and not hasattr(estimator, "feature_names_in_")
        if known and X.format == "csr" and X.dtype.kind in "biuf" and X.shape[0] >= min_samples:
            return X  # validate_data, which takes longer than a small call, would find nothing
        check_source(X)
    elif not issparse(X):
        check_no_column(X)
    X = validate_data(
        estimator,
        X,
        reset=reset,
        accept_sparse="csr",
        ensure_all_finite=False,
        ensure_min_samples=min_samples,
    )
    if issparse(X):
        return X
    return csr_array(X.astype(np.float32) if X.dtype == np.float16 else X)  # SciPy knows no float16
