"""Smaller models: the columns that matter, and their indices."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from skbag._data.blocks import Fields
from skbag._data.table import check_padding_idx, check_weight, copied, draw_table, take_table
from skbag._estimators.names import check_count, strongest

Array = NDArray[Any]

_ROWS = 1 << 14  # of the table at once


class CompactMixin:
    """Leaving columns out."""

    def compact(self, n_columns: int | None = None) -> tuple[Self, Array]:
        """Return a model of the columns of X that matter, and which ones they are.

        Of 262,144 hashed columns a text collection may name some thousands. The others have rows of the table that were
        drawn at random, and training never changed.

        Parameters
        ----------
        n_columns : int or None, default=None
            How many columns to keep, those with the largest ``feature_importances_``. None keeps all whose rows of the
            table training has changed.

        Returns
        -------
        estimator : EmbeddingBagClassifier or EmbeddingBagRegressor
            A new one, fitted. It takes ``X[:, columns]``, and can be trained further.
        columns : ndarray of shape (n_columns,)
            The columns of X that are kept, in increasing order. That of ``padding_idx`` is not among them.

        Raises
        ------
        NotFittedError
            Before `fit` or `partial_fit`.
        TypeError
            If ``n_columns`` is no integer.
        ValueError
            If training has changed no row, as with ``freeze=True``, or ``n_columns`` is smaller than 1.

        Notes
        -----
        Rows that have no other members keep their outputs, but for rounding. In other rows, what is left out
        counts no more: neither with its random vector, nor in the denominator of a mean.

        A pickle is small without this: it leaves out rows that can be drawn again. This one is small in memory, too.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.feature_extraction.text import HashingVectorizer
        >>> from skbag import EmbeddingBagClassifier
        >>> texts = ["cats purr", "stocks fell", "cats and dogs", "stocks rose"]
        >>> X = HashingVectorizer(n_features=2**16).transform(texts)
        >>> model = EmbeddingBagClassifier(random_state=0).fit(X, ["pets", "money", "pets", "money"])
        >>> small, columns = model.compact()
        >>> small.embeddings_.shape
        (7, 16)
        >>> np.allclose(small.decision_function(X[:, columns]), model.decision_function(X))
        True
        """
        check_is_fitted(self, "coefs_")
        small: Any = self._snapshot()  # type: ignore[attr-defined]
        table = check_weight(small.embeddings_, "embeddings_")
        padding_idx = check_padding_idx(small.padding_idx, len(table))
        if n_columns is None:
            kept = _changed(small, table, padding_idx)
        else:
            importance = np.array(small.feature_importances_)
            if padding_idx is not None:
                importance[padding_idx] = -1
            kept = np.zeros(len(table), np.bool_)
            kept[strongest(importance, check_count(n_columns, "n_columns"))] = True
        if padding_idx is not None:
            kept[padding_idx] = False
        columns = np.flatnonzero(kept)
        if not len(columns):
            raise ValueError("training has changed no row of the table: pass n_columns to keep some all the same.")
        states, *others = small._solver_state
        rows = tuple(np.asarray(array)[columns] if len(array) == len(table) else np.array(array) for array in states)
        copies = (tuple(np.array(array) for array in some) for some in others[:-1])
        small._solver_state = (rows, *copies, others[-1])
        small.coefs_, small.intercepts_ = (
            [np.array(array) for array in some] for some in (small.coefs_, small.intercepts_)
        )
        stream, small._rng = small._rng.get_state(legacy=False), np.random.RandomState(np.random.PCG64())
        small._rng.set_state(stream)
        small.embeddings_, small.n_features_in_ = copied(table[columns]), len(columns)
        small.padding_idx, small._drawn = None, None
        if small.fields is not None:
            edges = Fields.of(small.fields, len(table)).edges
            small.fields = [int(n) for n in np.diff(np.searchsorted(columns, edges))]
        if not small._is_drawn:
            small.init = take_table(small.init, table.dtype)[columns]
        if hasattr(small, "feature_names_in_"):
            small.feature_names_in_ = small.feature_names_in_[columns]
        return small, columns


def _changed(fitted: Any, table: Array, padding_idx: int | None) -> Array:
    """Return which rows of the table are not what they were before training; all where that is not known."""
    drawn = getattr(fitted, "_drawn", None)
    if drawn:
        before = draw_table(drawn[0], table.shape, table.dtype, drawn[1])
        if padding_idx is not None:
            before[padding_idx] = 0
    elif fitted._is_drawn:
        return np.ones(len(table), np.bool_)
    else:
        before = take_table(fitted.init, table.dtype)
    if before.shape != table.shape:
        return np.ones(len(table), np.bool_)
    before, changed = fitted._rescaled(before), np.empty(len(table), np.bool_)
    for first in range(0, len(table), _ROWS):
        some = slice(first, first + _ROWS)
        changed[some] = (table[some] != before[some]).any(axis=1)
    return changed
