"""Tables that leave: text in the format of word2vec, and gensim's KeyedVectors."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from skbag._data.optional import missing
from skbag._data.replacing import replacing
from skbag._data.table import check_weight
from skbag._estimators.names import duplicate_of, names_of

Array = NDArray[Any]

_ROWS = 1 << 12  # written at once


class VectorsMixin:
    """The rows of the table as vectors of words."""

    def to_vec(self, path: str | os.PathLike[str], feature_names: Any = None, *, spaces: str | None = "_") -> None:
        """Write the table as a text file in the format of word2vec, which fastText and GloVe readers know as ``.vec``.

        The first line is the number of vectors and their length, every other line a name and the numbers, with as many
        digits as it takes to read the same numbers again. UTF-8.

        Parameters
        ----------
        path : str or path
            A file there is replaced, once the new one is complete.
        feature_names : array-like of shape (n_features,), default=None
            Names of the columns, such as ``get_feature_names_out()`` of the step before. None stands for
            ``feature_names_in_``.
        spaces : str or None, default="_"
            What takes the place of a space within a name, as in n-grams of words: the format has no other way. None
            makes a space an error.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If there is not one name per column, two are the same, one is empty or, afterwards, has a space in it, or
            if the path has the ending of a compressed file. Nothing is written then.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> import numpy as np
        >>> from skbag import EmbeddingBagVectorizer
        >>> vectorizer = EmbeddingBagVectorizer.from_pretrained(np.array([[1.0, 2.0], [0.5, -1.0]]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     vectorizer.to_vec(pathlib.Path(folder) / "words.vec", ["cat", "new york"])
        ...     print((pathlib.Path(folder) / "words.vec").read_text())
        2 2
        cat 1.0 2.0
        new_york 0.5 -1.0
        <BLANKLINE>
        """
        path = Path(path)
        if path.suffix in (".gz", ".bz2", ".xz", ".zst"):
            raise ValueError(f"path must not end in {path.suffix!r}, as the file is not compressed, got {str(path)!r}.")
        table, names = self._named_vectors(feature_names)
        words = [name if spaces is None else name.replace(" ", spaces) for name in names]
        seen: dict[str, str] = {}
        for name, word in zip(names, words, strict=True):
            if not word or word.split() != [word]:
                raise ValueError(f"feature_names must be words without a space for a .vec file, got {word!r}.")
            if word in seen:
                raise ValueError(f"feature_names {seen[word]!r} and {name!r} would both be {word!r} in the file.")
            seen[word] = name
        with replacing(str(path)) as beside, open(beside, "x", encoding="utf-8", newline="\n") as file:
            file.write(f"{len(table)} {table.shape[1]}\n")
            for first in range(0, len(table), _ROWS):
                rows = table[first : first + _ROWS].astype("U")
                lines = (f"{word} {' '.join(row)}\n" for word, row in zip(words[first:], rows, strict=False))
                file.writelines(lines)

    def to_keyed_vectors(self, feature_names: Any = None) -> Any:
        """Return the table as gensim's KeyedVectors, which it can save, search and compare.

        Needs gensim.

        Parameters
        ----------
        feature_names : array-like of shape (n_features,), default=None
            Names of the columns, such as ``get_feature_names_out()`` of the step before. None stands for
            ``feature_names_in_``.

        Returns
        -------
        gensim.models.KeyedVectors
            With a copy of the table, in the order of the columns.

        Raises
        ------
        ImportError
            If gensim is not installed.
        NotFittedError
            Before `fit`.
        ValueError
            If there is not one name per column, or two are the same.
        """
        table, names = self._named_vectors(feature_names)
        try:
            from gensim.models import KeyedVectors
        except ImportError as error:
            raise missing("gensim", "to_keyed_vectors") from error
        vectors = KeyedVectors(table.shape[1], dtype=table.dtype)
        vectors.add_vectors(list(names), np.array(table))
        return vectors

    def _named_vectors(self, feature_names: Any) -> tuple[Array, list[str]]:
        """Return the table and one name per row."""
        check_is_fitted(self, "embeddings_")
        table = check_weight(self.embeddings_, "embeddings_")  # type: ignore[attr-defined]
        names = names_of(self, feature_names)
        if names is None:
            raise ValueError(
                "feature_names must be given: X had no names in fit. The step before has them, in "
                "get_feature_names_out(), if it does not hash."
            )
        words = [str(name) for name in names]
        if len(set(words)) < len(words):
            twice = duplicate_of(words)
            raise ValueError(f"feature_names must differ from one another, got {twice!r} twice.")
        return table, words
