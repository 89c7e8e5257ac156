"""Smaller models: tables in fewer bytes, and the columns that matter with their indices."""

import os
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skbag._data.blocks import Fields
from skbag._data.quantized import QuantizedTable, check_storage
from skbag._data.table import Drawn, check_padding_idx, check_weight, copied, draw_table, storage_of, take_table
from skbag._estimators.names import check_count, strongest
from skbag._rules.pooling import modes_of

Array = NDArray[Any]

_ROWS = 1 << 14  # of the table at once


class QuantizeMixin:
    """Storing the table in fewer bytes."""

    def quantize(self, dtype: DTypeLike = "int8") -> Self:
        """Return the same fitted estimator with a table in a half or a quarter of the memory.

        Numbers are rounded to the nearest, see `QuantizedTable`, and read as float32 from then on: results keep their
        dtype and change by the rounding. Pooling is bound by memory, so it is faster, too.

        Parameters
        ----------
        dtype : {"int8", "float16", "bfloat16"} or dtype, default="int8"
            How the table is stored. int8 has a scale for each row and cannot be trained any more; the other two can.

        Returns
        -------
        EmbeddingBagVectorizer, EmbeddingBagClassifier or EmbeddingBagRegressor
            A new one, fitted, whose ``embeddings_`` is a `QuantizedTable`. It shares no arrays that training changes.
            The parameters are the same, but for an array in ``init``, which is stored like the table, and for
            ``dtype`` of a vectorizer, unless its table is a file: so `fit` gives the same again. `fit` of the
            others begins anew with a table of ``dtype``.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If ``dtype`` is another one, or the table has a number that it cannot hold, as float16 has none above 65504:
            the message names the rows.

        Notes
        -----
        A table of float64 becomes one whose results are float32. What a solver keeps of each row goes with int8.

        Examples
        --------
        >>> import numpy as np
        >>> from skbag import EmbeddingBagVectorizer
        >>> table = np.random.default_rng(0).standard_normal((1000, 64), dtype=np.float32)
        >>> vectorizer = EmbeddingBagVectorizer.from_pretrained(table)
        >>> small = vectorizer.quantize()
        >>> small.embeddings_
        QuantizedTable(shape=(1000, 64), storage='int8')
        >>> X = np.eye(1000)[:3]
        >>> bool(np.abs(small.transform(X) - vectorizer.transform(X)).max() < 0.02)
        True
        """
        check_is_fitted(self, "embeddings_")
        storage, small = check_storage(dtype), self._snapshot()  # type: ignore[attr-defined]
        small.embeddings_ = QuantizedTable.of(check_weight(small.embeddings_, "embeddings_"), storage)
        given = not isinstance(small.init, (str, os.PathLike))
        if given:
            trained = hasattr(small, "coefs_")
            small.init = QuantizedTable.of(take_table(small.init, None), storage) if trained else small.embeddings_
        if not hasattr(small, "coefs_"):
            small.dtype = storage if given or small._is_drawn else small.dtype
        else:
            if storage == "int8":
                small._solver_state = None
            _copy_rest(small)
        return small


def _copy_rest(small: Any) -> None:
    """Give a snapshot of a trained estimator arrays of its own, but for the table."""
    if small._solver_state is not None:
        *states, n_steps = small._solver_state
        small._solver_state = (*(tuple(np.array(array) for array in some) for some in states), n_steps)
    small.coefs_, small.intercepts_ = (
        [np.array(array) for array in some] for some in (small.coefs_, small.intercepts_)
    )
    stream, small._rng = small._rng.get_state(legacy=False), np.random.RandomState(np.random.PCG64())
    small._rng.set_state(stream)


class CompactMixin:
    """Leaving columns out."""

    def compact(self, n_columns: int | None = None) -> tuple[Self, Array]:
        """Return a model of the columns of X that matter, and which ones they are.

        Of 262,144 hashed columns a text collection may name some thousands. The others have rows of the table that were
        drawn at random, and training never changed. Rows of a table that was given in ``init``, or came with a model,
        say something whether they were trained or not, but where they are zeros.

        Parameters
        ----------
        n_columns : int or None, default=None
            How many columns to keep, those with the largest ``feature_importances_``. None keeps all that
            say something: of a drawn table those whose rows training has changed, of others those whose rows are not
            zeros, and all with the mode "max", which zeros may decide.

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
            If none says anything, as of a drawn table with ``freeze=True``, or ``n_columns`` is smaller than 1.

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
            kept = _telling(small, table, padding_idx)
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
            what = "training has changed no row" if small._is_drawn else "there are zeros in all rows"
            raise ValueError(f"{what} of the table: pass n_columns to keep some all the same.")
        _copy_rest(small)
        if small._solver_state is not None:
            states, *others = small._solver_state
            rows = tuple(np.asarray(array)[columns] if len(array) == len(table) else array for array in states)
            small._solver_state = (rows, *others)
        small.embeddings_ = table.take(columns) if isinstance(table, QuantizedTable) else copied(table[columns])
        small.n_features_in_ = len(columns)
        small.padding_idx, small._drawn = None, None
        if small.fields is not None:
            edges = Fields.of(small.fields, len(table)).edges
            small.fields = [int(n) for n in np.diff(np.searchsorted(columns, edges))]
        if not small._is_drawn:
            init = take_table(small.init, storage_of(small.dtype) or table.dtype)
            small.init = init.take(columns) if isinstance(init, QuantizedTable) else init[columns]
        if hasattr(small, "feature_names_in_"):
            small.feature_names_in_ = small.feature_names_in_[columns]
        return small, columns


def _telling(fitted: Any, table: Array, padding_idx: int | None) -> Array:
    """Return which rows of the table are not as they were drawn, or not zeros if they were given.

    All are where it is not known what was drawn, or zeros are larger than others.
    """
    drawn, before, telling = getattr(fitted, "_drawn", None), None, np.ones(len(table), np.bool_)
    if drawn:
        before = draw_table(Drawn(*drawn), table.shape, table.dtype)
        if padding_idx is not None:
            before[padding_idx] = 0
        before = fitted._rescaled(before)
        if isinstance(table, QuantizedTable):
            before = QuantizedTable.of(before, table.storage)
    elif fitted._is_drawn or "max" in modes_of(fitted.mode):
        return telling
    for first in range(0, len(table), _ROWS):
        some = slice(first, first + _ROWS)
        telling[some] = (table[some] != (0 if before is None else before[some])).any(axis=1)
    return telling
