"""What the estimators share: how they read X, and what a pickle of them remembers."""

import warnings
from typing import Any

from scipy.sparse import csr_array, issparse
from sklearn.utils.validation import validate_data

from ._bags import check_csr_source
from ._version import __version__


class VersionedStateMixin:
    """Store the skbag version in pickles, and warn when one is loaded by another version."""

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        return {**state, "_skbag_version": __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        saved = state.pop("_skbag_version", None)
        if saved != __version__:
            warnings.warn(
                f"This {type(self).__name__} was saved by skbag {saved} and is loaded by skbag {__version__}. "
                "It may not work, or give other results.",
                UserWarning,
                stacklevel=2,
            )
        super().__setstate__(state)  # type: ignore[misc]


def validate_bags(estimator: Any, X: Any, *, reset: bool) -> Any:
    """Return X in CSR format, with its number and names of features checked, or learnt if ``reset``.

    CSR comes back as it is; the index arrays and values are checked later, by ``bags_from_csr`` and the backend.
    """
    if issparse(X) and X.ndim == 2 and X.format != "csr":
        check_csr_source(X)
    X = validate_data(
        estimator,
        X,
        reset=reset,
        accept_sparse="csr",
        ensure_all_finite=False,
        ensure_min_samples=int(reset),
    )
    return X if issparse(X) else csr_array(X)
