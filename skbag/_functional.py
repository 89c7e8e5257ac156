"""torch-shaped functions on arrays."""

from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.utils import check_scalar

from ._backends import get_backend  # noqa: TID251
from ._bags import Bags, as_ids, bags_from_ids, frozen
from ._table import check_padding_idx, check_weight

Mode = Literal["sum", "mean", "sqrtn", "max"]

_MODES = ("sum", "mean", "sqrtn", "max")


def embedding_bag(
    input: ArrayLike,  # noqa: A002
    weight: ArrayLike,
    offsets: ArrayLike | None = None,
    *,
    mode: Mode = "mean",
    per_sample_weights: ArrayLike | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    n_jobs: int | None = None,
    device: str = "cpu",
) -> NDArray[Any]:
    backend = get_backend(device)
    table = check_weight(weight)
    if mode not in _MODES:
        raise ValueError(f"mode must be one of {_MODES}, got {mode!r}.")
    if mode == "max" and per_sample_weights is not None:
        raise ValueError("per_sample_weights must be None with mode='max': a maximum has no weights.")
    bags = bags_from_ids(
        input,
        offsets,
        num_embeddings=len(table),
        dtype=table.dtype,
        per_sample_weights=per_sample_weights,
        include_last_offset=include_last_offset,
        padding_idx=check_padding_idx(padding_idx, len(table)),
    )
    return backend.pool(bags, table, mode, effective_n_jobs(n_jobs), _norm(max_norm, norm_type))


def embedding(
    input: ArrayLike,  # noqa: A002
    weight: ArrayLike,
    *,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    n_jobs: int | None = None,
    device: str = "cpu",
) -> NDArray[Any]:
    backend = get_backend(device)
    table = check_weight(weight)
    check_padding_idx(padding_idx, len(table))
    norm = _norm(max_norm, norm_type)
    ids = as_ids(input, "input")
    flat = frozen(ids.reshape(-1))
    bags = Bags(flat, frozen(np.array([0, flat.size], flat.dtype)), None, len(table), name="input")
    jobs = effective_n_jobs(n_jobs)
    rows = backend.lookup(bags, table, jobs)
    if norm is not None:
        rows *= backend.norm_factors(rows, norm, jobs)[:, None]
    return rows.reshape(*ids.shape, table.shape[1])


def bags_to_csr(
    input: ArrayLike,  # noqa: A002
    offsets: ArrayLike | None = None,
    *,
    num_embeddings: int,
    per_sample_weights: ArrayLike | None = None,
    include_last_offset: bool = False,
) -> csr_array:
    check_scalar(num_embeddings, "num_embeddings", Integral, min_val=1)
    weights = None if per_sample_weights is None else np.asarray(per_sample_weights)
    bags = bags_from_ids(
        input,
        offsets,
        num_embeddings=num_embeddings,
        dtype=weights.dtype if weights is not None and weights.dtype.kind == "f" else np.float32,
        per_sample_weights=weights,
        include_last_offset=include_last_offset,
    )
    get_backend("cpu").check(bags)
    data = np.ones(bags.n_members, np.float32) if bags.weights is None else bags.weights
    return csr_array((data, bags.indices, bags.indptr), shape=(bags.n_bags, num_embeddings), copy=True)


def _norm(max_norm: float | None, norm_type: float) -> tuple[float, float] | None:
    if max_norm is None:
        return None
    check_scalar(max_norm, "max_norm", Real, min_val=0, include_boundaries="neither")
    check_scalar(norm_type, "norm_type", Real, min_val=0, include_boundaries="neither")
    return float(max_norm), float(norm_type)
