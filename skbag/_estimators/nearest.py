"""Columns that are alike."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from skbag._data.table import check_padding_idx, check_weight
from skbag._estimators.names import check_count, column_of, named, names_of, strongest

Array = NDArray[Any]

_ROWS = 1 << 14  # of the table at once


class NearestMixin:
    """Columns whose vectors point the same way."""

    def nearest_features(
        self, feature: int | str, k: int = 10, *, feature_names: Any = None
    ) -> list[tuple[int | str, float]]:
        """Return the columns of X whose vectors are most like that of one column, by their cosine.

        Parameters
        ----------
        feature : int or str
            The column, by its number or its name.
        k : int, default=10
            How many columns; fewer if there are not so many.
        feature_names : array-like of shape (n_features,), default=None
            Names of the columns, such as ``get_feature_names_out()`` of the step before. None stands for
            ``feature_names_in_``, or for numbers where there is none.

        Returns
        -------
        list of (int or str, float)
            Columns and their cosines with the column, the largest first, of equal ones the first column. The column
            itself and that of ``padding_idx`` are not among them, nor are columns whose vectors are zeros.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError
            If ``feature`` is no integer and no string, or ``k`` is no integer.
        ValueError
            If there is no such column, its vector is zeros, or there is not one name per column.

        Notes
        -----
        Columns that training has not seen have vectors that were drawn at random, and may be near by chance.

        Examples
        --------
        >>> import numpy as np
        >>> from skbag import EmbeddingBagVectorizer
        >>> vectorizer = EmbeddingBagVectorizer.from_pretrained(np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]]))
        >>> vectorizer.nearest_features("cat", feature_names=["cat", "cats", "stock"])
        [('cats', 1.0), ('stock', 0.0)]
        """
        check_is_fitted(self, "embeddings_")
        fitted: Any = self._snapshot()  # type: ignore[attr-defined]
        k, names = check_count(k, "k"), names_of(fitted, feature_names)
        table = check_weight(fitted.embeddings_, "embeddings_")
        column = column_of(feature, names, len(table))
        own = table[column].astype(np.float64)
        largest = np.abs(own).max()
        if not largest > 0:
            raise ValueError(f"feature={feature!r} has a vector of zeros, which is like no other.")
        own = own / largest
        own /= np.linalg.norm(own)
        cosines = np.full(len(table), -np.inf)
        for first in range(0, len(table), _ROWS):
            rows = table[first : first + _ROWS].astype(np.float64)
            largest = np.abs(rows).max(axis=1, keepdims=True)
            rows /= np.where(largest > 0, largest, 1)  # or squares could be infinite, or vanish
            norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
            np.divide(rows @ own, norms, out=cosines[first : first + len(rows)], where=norms > 0)
        cosines[column] = -np.inf
        padding_idx = check_padding_idx(fitted.padding_idx, len(table))
        if padding_idx is not None:
            cosines[padding_idx] = -np.inf
        best = strongest(cosines, k)
        best = best[cosines[best] > -np.inf]
        return named(best, np.clip(cosines[best], -1, 1), names)
