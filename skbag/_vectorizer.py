"""EmbeddingBagVectorizer: the rows of a sparse matrix as bags, pooled into dense features."""

import os
from numbers import Integral, Real
from typing import Any, ClassVar, Self

from joblib import effective_n_jobs
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ._backends import get_backend  # noqa: TID251
from ._bags import bags_from_csr, frozen
from ._base import VersionedStateMixin, validate_bags
from ._table import check_dtype, check_padding_idx, draw_table, take_table


class EmbeddingBagVectorizer(VersionedStateMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "embedding_dim": [Interval(Integral, 1, None, closed="left")],
        "mode": [StrOptions({"sum", "mean", "sqrtn", "max"})],
        "init": [str, os.PathLike, "array-like"],
        "per_sample_weights": ["boolean"],
        "padding_idx": [Integral, None],
        "max_norm": [Interval(Real, 0, None, closed="neither"), None],
        "norm_type": [Interval(Real, 0, None, closed="right")],
        "dtype": "no_validation",
        "device": [str],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        embedding_dim: int = 100,
        *,
        mode: str = "mean",
        init: Any = "normal",
        per_sample_weights: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        dtype: DTypeLike = "float32",
        device: str = "cpu",
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.embedding_dim = embedding_dim
        self.mode = mode
        self.init = init
        self.per_sample_weights = per_sample_weights
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.dtype = dtype
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state

    @classmethod
    def from_pretrained(
        cls,
        embeddings: ArrayLike | str | os.PathLike[str],
        *,
        mode: str = "mean",
        per_sample_weights: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> Self:
        table = take_table(embeddings, None, "embeddings")
        vectorizer = cls(
            table.shape[1],
            mode=mode,
            init=embeddings if isinstance(embeddings, (str, os.PathLike)) else table,
            per_sample_weights=per_sample_weights,
            padding_idx=padding_idx,
            max_norm=max_norm,
            norm_type=norm_type,
            dtype=table.dtype.name,
            device=device,
            n_jobs=n_jobs,
        )
        vectorizer._validate_params()
        vectorizer._set_table(table)
        vectorizer.n_features_in_ = len(table)
        return vectorizer

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        backend = get_backend(self.device)
        dtype = check_dtype(self.dtype)
        X = validate_bags(self, X, reset=True)
        n_features = X.shape[1]
        padding_idx = check_padding_idx(self.padding_idx, n_features)
        backend.check(bags_from_csr(X, dtype=dtype))
        if isinstance(self.init, str) and self.init in ("normal", "uniform"):
            shape = (n_features, self.embedding_dim)
            table = draw_table(self.init, shape, dtype, check_random_state(self.random_state))
            if padding_idx >= 0:
                table[padding_idx] = 0
        else:
            table = take_table(self.init, dtype)
            if len(table) != n_features:
                raise ValueError(f"init must have one row per feature of X, {n_features}, got {len(table)} rows.")
        self._set_table(table)
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        check_is_fitted(self)
        backend = get_backend(self.device)
        if self.mode not in backend.MODES:
            raise ValueError(f"mode must be one of {tuple(backend.MODES)}, got {self.mode!r}.")
        X = validate_bags(self, X, reset=False)
        table = frozen(self.embeddings_)
        bags = bags_from_csr(
            X,
            dtype=table.dtype,
            weighted=self.per_sample_weights and self.mode != "max",
            padding_idx=check_padding_idx(self.padding_idx, len(table)),
        )
        return backend.pool(bags, table, self.mode, effective_n_jobs(self.n_jobs))

    def _set_table(self, table: NDArray[Any]) -> None:
        """Take a checked table as the fitted one, rescaled to max_norm in a copy where that changes anything."""
        if self.max_norm is not None:
            norm = float(self.max_norm), float(self.norm_type)
            factors = get_backend(self.device).norm_factors(table, norm, effective_n_jobs(self.n_jobs))
            if (factors != 1).any():
                table = table * factors[:, None]
        self.embeddings_ = table

    @property
    def _n_features_out(self) -> int:
        return self.embeddings_.shape[1]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = []  # the features have the dtype of the table, whatever X has
        return tags
