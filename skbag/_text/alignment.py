"""Tables whose rows follow a vocabulary."""

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions, validate_params

from skbag._data.replacing import replacing
from skbag._data.table import check_dtype, check_finite
from skbag._estimators.names import duplicate_of
from skbag._text.vectors import BLOCK, WordVectors, open_vectors

Array = NDArray[Any]

LEAST_COVERAGE = 0.3  # below it there is a warning


@validate_params(
    {
        "oov": [StrOptions({"zeros", "random", "mean", "subwords"})],
        "path": [str, os.PathLike, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def align(
    vectors: Any,
    vocabulary: Any,
    *,
    oov: str = "zeros",
    dtype: DTypeLike = "float32",
    path: str | os.PathLike[str] | None = None,
    random_state: Any = None,
) -> Any:
    """Make a table of vectors whose row i belongs to column i of a vocabulary.

    The table is what ``init`` of the estimators takes. A classifier with it begins at vectors that were learnt
    elsewhere, and learns what to change in them.

    Parameters
    ----------
    vectors : KeyedVectors, dict, data frame or path
        Words and a vector for each.

        - ``gensim.models.KeyedVectors``, also fastText's, or a model of gensim's that has them as ``wv``.
        - What ``read_fasttext`` returns, or another object with a list ``words`` and a method ``word_vectors`` that
          takes words.
        - A dict of word to vector.
        - A data frame of pandas or polars: the words are its index, if that holds strings, or its first column, and the
          other columns are numbers.
        - The path of a file in word2vec's text (``.vec``) or binary format, or in GloVe's, plain or compressed, as
          ``.gz``. gensim reads it. A model of fastText, ``.bin`` or ``.ftz``, is read without gensim.
    vocabulary : estimator, dict or iterable of str
        The words, in the order of the columns: a fitted vectorizer with ``get_feature_names_out``, its
        ``vocabulary_``, which is a dict of word to column, or the words themselves.
    oov : {"zeros", "random", "mean", "subwords"}, default="zeros"
        The rows of words without a vector.

        - "zeros": zeros. Such words still count in the denominators of "mean" and "sqrtn". Use `vocabulary_of`, or
          `TextEmbeddingVectorizer`, to leave them out.
        - "random": drawn from a normal distribution with, in each column, the mean and the variance of the vectors
          that were found [1]_.
        - "mean": the mean of the vectors that were found.
        - "subwords": what fastText makes of their character n-grams; zeros if they have none.
    dtype : {"float32", "float64"} or dtype, default="float32"
        The dtype of the table.
    path : str or path, default=None
        An ``.npy`` file to write the table to, a block at a time. A file that is there already is replaced, once the
        table is whole.
    random_state : int, RandomState instance or None, default=None
        Seeds ``oov="random"``.

    Returns
    -------
    ndarray of shape (n_words, dim), or str
        The table; or, if ``path`` is given, that path, which ``init`` takes and maps into memory.

    Raises
    ------
    ImportError
        If ``vectors`` is a path of such a file and gensim is not installed.
    TypeError
        If ``vectors`` or ``vocabulary`` is of no kind named above.
    ValueError
        If no word has a vector; if a vector that is used is not finite, or not as long as the others; if the
        vocabulary is empty, has a word twice or columns other than 0 to n_words - 1; if the file is missing, damaged
        or of another format; if ``oov="subwords"`` and the vectors have no subwords; if ``path`` does not end in
        ".npy".

    Warns
    -----
    UserWarning
        If fewer than 30% of the words have a vector.

    See Also
    --------
    TextEmbeddingVectorizer : Vectorizes texts, aligns and pools in one, and leaves out words without a vector.
    vocabulary_of : The words that have a vector.

    Notes
    -----
    Memory is needed for one table, and for no copy of ``vectors``. With ``path`` it is that of the file, which the
    system writes out as it needs to.

    References
    ----------
    .. [1] Y. Kim: Convolutional Neural Networks for Sentence Classification, 2014, section 4.4.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from sklearn.pipeline import make_pipeline
    >>> from skbag import EmbeddingBagClassifier
    >>> from skbag.text import align
    >>> vectors = {"cats": [1, 0], "dogs": [1, 0.1], "stocks": [0, 1], "markets": [0.1, 1]}
    >>> texts = ["cats and dogs", "dogs", "stocks", "markets and stocks"]
    >>> tfidf = TfidfVectorizer().fit(texts)
    >>> tfidf.get_feature_names_out()
    array(['and', 'cats', 'dogs', 'markets', 'stocks'], dtype=object)
    >>> align(vectors, tfidf)
    array([[0. , 0. ],
           [1. , 0. ],
           [1. , 0.1],
           [0.1, 1. ],
           [0. , 1. ]], dtype=float32)
    >>> bags = EmbeddingBagClassifier(init=align(vectors, tfidf), learning_rate_init=0.5, random_state=0)
    >>> model = make_pipeline(tfidf, bags)
    >>> model.fit(texts, ["pets", "pets", "money", "money"]).predict(["cats", "markets"])
    array(['pets', 'money'], dtype='<U5')
    """
    if path is not None and not os.fspath(path).endswith(".npy"):
        raise ValueError(f"path must end in '.npy', got {os.fspath(path)!r}.")
    words, dtype = words_of(vocabulary), check_dtype(dtype)
    source = open_vectors(vectors, dtype)
    rows = source.find(words)
    rng = check_random_state(random_state)
    check_overlap(source, words, rows, oov)
    if path is None:
        table = np.empty((len(words), source.dim), dtype)
        found = fill(table, source, words, rows, oov, rng)
    else:
        found = _fill_file(os.fspath(path), dtype, source, words, rows, oov, rng)
    if found.mean() < LEAST_COVERAGE:
        warn_of_coverage(found.mean(), f"of the {len(words)} words of the vocabulary have", words, ~found)
    return table if path is None else os.fspath(path)


def vocabulary_of(vectors: Any, among: Any = None) -> list[str]:
    """Return the words that have a vector, for ``CountVectorizer(vocabulary=...)`` and its like.

    Parameters
    ----------
    vectors : KeyedVectors, dict, data frame or path
        Words and a vector for each, as in `align`.
    among : estimator, dict or iterable of str, default=None
        The words to choose from, as ``vocabulary`` of `align`; None for all of ``vectors``.

    Returns
    -------
    list of str
        In the order of ``vectors``, or of ``among``. Words that fastText would make from their subwords are not in it.

    Raises
    ------
    ImportError
        If ``vectors`` is a path of such a file and gensim is not installed.
    TypeError, ValueError
        If ``vectors`` or ``among`` is not what `align` takes.

    See Also
    --------
    align : The table for a vocabulary.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import CountVectorizer
    >>> from skbag.text import vocabulary_of
    >>> vectors = {"cats": [1, 0], "dogs": [1, 0.1], "stocks": [0, 1], "markets": [0.1, 1]}
    >>> words = vocabulary_of(vectors)
    >>> words
    ['cats', 'dogs', 'stocks', 'markets']
    >>> CountVectorizer(vocabulary=words).transform(["dogs and cats"]).toarray()
    array([[1, 1, 0, 0]])
    >>> vocabulary_of(vectors, among=["and", "stocks", "bonds"])
    ['stocks']
    """
    source = open_vectors(vectors, np.dtype(np.float32))
    words = list(source.rows) if among is None else [word for word in words_of(among) if word in source.rows]
    bad = next((word for word in words if not isinstance(word, str)), None)
    if bad is not None:
        raise TypeError(f"vectors must have words, which are strings, got {bad!r}.")
    return words


def words_of(vocabulary: Any) -> list[Any]:
    """Return words in the order of their columns; TypeError or ValueError if that is not what is given."""
    if hasattr(vocabulary, "get_feature_names_out"):
        words = list(vocabulary.get_feature_names_out())
    elif isinstance(vocabulary, Mapping):
        words = sorted(vocabulary, key=vocabulary.__getitem__)
        if [vocabulary[word] for word in words] != list(range(len(words))):
            raise ValueError(f"vocabulary must have the columns 0 to {len(words) - 1}, one for each of its words.")
    elif isinstance(vocabulary, Iterable) and not isinstance(vocabulary, (str, bytes)):
        words = list(vocabulary)
    else:
        raise TypeError(
            "vocabulary must be a fitted vectorizer, a dict of words and their columns, or words, got "
            f"{type(vocabulary).__name__}."
        )
    if not words:
        raise ValueError("vocabulary is empty: it must have at least one word.")
    if len(set(words)) < len(words):
        raise ValueError(f"vocabulary must have each word once, got {duplicate_of(words)!r} twice.")
    return words


def check_overlap(source: WordVectors, words: Sequence[Any], rows: NDArray[np.int64], oov: str) -> None:
    """Raise ValueError if there is nothing that a table could be made of."""
    if oov == "subwords" and source.from_subwords is None:
        raise ValueError(
            "oov='subwords' needs vectors of fastText with subwords, as skbag.text.read_fasttext reads them, or "
            "gensim.models.fasttext.load_facebook_vectors."
        )
    if (rows < 0).all() and oov != "subwords":
        theirs = [word for word, _ in zip(source.rows, range(3), strict=False)]
        raise ValueError(
            f"None of the {len(words)} words of the vocabulary has a vector: the vocabulary has {words[:3]}, vectors "
            f"has {theirs}, for example. Do they agree in upper and lower case, and in how texts are cut into words?"
        )


def fill(
    table: Array, source: WordVectors, words: Sequence[Any], rows: NDArray[np.int64], oov: str, rng: Any
) -> NDArray[np.bool_]:
    """Write the vectors of words, which are at these rows of the source, into a table of the number of words.

    Returns
    -------
    ndarray of bool, shape (n_words,)
        Which of the words have a vector.
    """
    found = rows >= 0
    places, missing = np.flatnonzero(found), np.flatnonzero(~found)
    total, squares = np.zeros(source.dim), np.zeros(source.dim)
    for some in _blocks(places):
        theirs = [words[i] for i in some]
        with np.errstate(over="ignore"):  # what becomes infinite in float32 is refused
            taken = source.take(theirs, rows[some]).astype(table.dtype, copy=False)
        if not np.isfinite(taken).all():
            bad, column = np.argwhere(~np.isfinite(taken))[0]
            raise ValueError(
                f"vectors must be finite in {table.dtype.name}, got {taken[bad, column]} at position {column} of the "
                f"vector of {theirs[bad]!r}."
            )
        table[some] = taken
        if oov in ("random", "mean"):
            total += taken.sum(axis=0, dtype=np.float64)
            squares += np.square(taken, dtype=np.float64).sum(axis=0)
    if oov == "subwords":
        for some in _blocks(missing):
            table[some] = source.from_subwords([words[i] for i in some])  # type: ignore[misc]
            found[some] = table[some].any(axis=1)
        check_finite(table, "vectors")
        return found
    for some in _blocks(missing):
        table[some] = 0
        if oov in ("random", "mean"):
            table[some] += total / len(places)
        if oov == "random":
            variance = squares / len(places) - np.square(total / len(places))
            table[some] += np.sqrt(np.maximum(variance, 0)) * rng.standard_normal((len(some), source.dim))
    return found


def _blocks(places: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    for first in range(0, len(places), BLOCK):
        yield places[first : first + BLOCK]


def _fill_file(
    path: str, dtype: Any, source: WordVectors, words: Sequence[Any], rows: NDArray[np.int64], oov: str, rng: Any
) -> NDArray[np.bool_]:
    """Fill a file, which has the name when it is whole."""
    with replacing(path) as beside:
        table = np.lib.format.open_memmap(beside, "w+", dtype, (len(words), source.dim))
        found = fill(table, source, words, rows, oov, rng)
        table.flush()
        del table
    return found


def warn_of_coverage(share: float, what: str, words: Sequence[Any], missing: NDArray[np.bool_], level: int = 4) -> None:
    """Warn that few words have a vector, and name some that have none."""
    some = [str(words[i]) for i in np.flatnonzero(missing)[:5]]
    warnings.warn(
        f"Only {share:.1%} {what} a vector; without one are, for example, {', '.join(map(repr, some))}. Do the vectors "
        "and the vocabulary agree in upper and lower case, and in how texts are cut into words?",
        UserWarning,
        stacklevel=level,
    )
