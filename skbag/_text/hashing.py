"""HashingNgramVectorizer: words, word n-grams and character n-grams, hashed."""

import re
from functools import cache
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.feature_extraction.text import strip_accents_ascii, strip_accents_unicode
from sklearn.utils._param_validation import Interval, StrOptions

from skbag._backends import get_texts
from skbag._data.table import check_dtype
from skbag._text.rows import sparse_rows

_ACCENTS = {None: None, "unicode": strip_accents_unicode, "ascii": strip_accents_ascii}


@cache
def _letters() -> NDArray[Any]:
    r"""Return for every code point whether it belongs to words: whether ``\w`` of Python's ``re`` matches it."""
    letters = np.zeros(0x110000, np.uint8)
    for match in re.finditer(r"\w+", "".join(map(chr, range(0x110000)))):
        letters[match.start() : match.end()] = 1
    return letters


class HashingNgramVectorizer(TransformerMixin, BaseEstimator):
    r"""Turn texts into rows of counts of words, word n-grams and character n-grams, by hashing; fast.

    What `sklearn.feature_extraction.text.HashingVectorizer` does, with character n-grams beside the words as fastText
    has them, compiled and in threads. It keeps no vocabulary: there is nothing to fit, any number of texts can be
    transformed, and a column has no name.

    Words are those of scikit-learn: the longest runs of letters, digits and underscores, ``\w`` of `re`, if they have
    two characters or more.

    Parameters
    ----------
    n_features : int, default=2**20
        Number of columns. The fewer, the more n-grams share one: a table of an embedding bag has a row for each column.
    ngram_range : (int, int) or None, default=(1, 1)
        The least and the most words of an n-gram: (1, 2) is words and pairs of words that stand side by side. None is
        no words at all, for character n-grams alone.
    char_ngrams : (int, int) or None, default=None
        The least and the most characters of the parts of words that count too: (3, 6) finds "<ca", "cat", "at>" and
        others in "cat". ``<`` and ``>`` mark where a word begins and ends, and are characters of it, but none alone.
        None is no character n-grams.
    lowercase : bool, default=True
        Whether to convert texts to lower case first, with `str.lower`.
    strip_accents : {"ascii", "unicode"} or None, default=None
        Whether to remove accents after that, with scikit-learn's functions of that name.
    binary : bool, default=False
        Whether an n-gram counts once, however often it occurs in a text.
    norm : {"l1", "l2"} or None, default="l2"
        The norm of rows that counts are divided by. The modes "mean" and "sqrtn" of the embedding bags divide by their
        own, and give the same whatever it is.
    dtype : {"float32", "float64"}, default="float32"
        Of the values.
    n_jobs : int, default=None
        Number of threads. None is 1 unless in a :func:`joblib.parallel_config` context, -1 is all processors. The
        result is the same for every ``n_jobs``.

    See Also
    --------
    sklearn.feature_extraction.text.HashingVectorizer : Other rules for words, through regular expressions or functions.
    sklearn.feature_extraction.text.TfidfTransformer : Weighs the columns, after ``norm=None``.
    read_fasttext : Models with a vocabulary and buckets of their own.

    Notes
    -----
    A word is hashed by 64-bit FNV-1a of its UTF-8. The hash of an n-gram of words is that of the first, times
    116049371, plus that of the next, and so on, as in fastText [1]_; a character n-gram is FNV-1a again, from another
    first value. The column is the upper half of the hash, mixed by the last step of MurmurHash3 [2]_, scaled to
    ``n_features``. None of this depends on the machine, the process or on the other texts: a row is the same alone and
    beside others. What a letter is, is for the version of Python to say.
    Columns are others than those of HashingVectorizer. Values are not given signs.

    Beside the result, a call needs memory for about as much again, and a copy of the texts, 4 MiB at a time.

    References
    ----------
    .. [1] A. Joulin, E. Grave, P. Bojanowski, T. Mikolov: Bag of Tricks for Efficient Text Classification, 2017.
    .. [2] A. Appleby: MurmurHash3, https://github.com/aappleby/smhasher.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skbag import EmbeddingBagClassifier
    >>> from skbag.text import HashingNgramVectorizer
    >>> texts = ["the cat sat on the mat", "dogs and cats", "stocks fell sharply", "markets and stocks"]
    >>> topics = ["pets", "pets", "money", "money"]
    >>> hashing = HashingNgramVectorizer(2**12, ngram_range=(1, 2), char_ngrams=(3, 5))
    >>> hashing.transform(texts).shape
    (4, 4096)
    >>> model = make_pipeline(hashing, EmbeddingBagClassifier(random_state=0)).fit(texts, topics)
    >>> model.predict(["a catfish"])
    array(['pets'], dtype='<U5')
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_features": [Interval(Integral, 1, 2**31 - 1, closed="both")],
        "ngram_range": [tuple, list, None],
        "char_ngrams": [tuple, list, None],
        "lowercase": ["boolean"],
        "strip_accents": [StrOptions({"ascii", "unicode"}), None],
        "binary": ["boolean"],
        "norm": [StrOptions({"l1", "l2"}), None],
        "dtype": "no_validation",
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        n_features: int = 2**20,
        *,
        ngram_range: tuple[int, int] | None = (1, 1),
        char_ngrams: tuple[int, int] | None = None,
        lowercase: bool = True,
        strip_accents: str | None = None,
        binary: bool = False,
        norm: str | None = "l2",
        dtype: DTypeLike = "float32",
        n_jobs: int | None = None,
    ) -> None:
        self.n_features = n_features
        self.ngram_range = ngram_range
        self.char_ngrams = char_ngrams
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.binary = binary
        self.norm = norm
        self.dtype = dtype
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Check the parameters; nothing is learnt.

        Parameters
        ----------
        X : object
            Not looked at.
        y : object
            Not looked at.

        Returns
        -------
        HashingNgramVectorizer
            The vectorizer itself.

        Raises
        ------
        ValueError
            If a parameter has a value that it cannot have.
        """
        self._rule()
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any = None, y: Any = None) -> Self:
        """Check the parameters; nothing is learnt. Here for streams.

        Parameters
        ----------
        X : object
            Not looked at.
        y : object
            Not looked at.

        Returns
        -------
        HashingNgramVectorizer
            The vectorizer itself.
        """
        return self.fit(X, y)

    def transform(self, X: Any) -> csr_array:
        """Return a row of n-grams for each text.

        Parameters
        ----------
        X : iterable of str or bytes
            Texts; bytes are taken for UTF-8. A generator will do, none is fine.

        Returns
        -------
        scipy.sparse.csr_array of shape (n_texts, n_features)
            Canonical: the columns of a row increase, and each is there once. A text without words is an empty row.

        Raises
        ------
        TypeError
            If a text is something else, None or a number for instance. The message says which.
        ValueError
            If X is a single string or has two dimensions; if bytes are no UTF-8, or a string has half of a surrogate
            pair; if a parameter has a value that it cannot have.
        """
        self._validate_params()
        words, characters, dtype = self._rule()
        texts, letters = get_texts(), _letters()

        def make(text: NDArray[Any], starts: NDArray[Any]) -> Any:
            return texts.hash_texts(
                text, starts, letters, words, characters, int(self.n_features), binary=bool(self.binary),
                norm=self.norm, dtype=dtype, n_jobs=self.n_jobs,
            )  # fmt: skip

        return sparse_rows(X, "X", self._prepare(), make, int(self.n_features), dtype)

    def _rule(self) -> tuple[tuple[int, int], tuple[int, int], np.dtype[Any]]:
        """Return the lengths of word and character n-grams, and the dtype, checked."""
        words, characters = (_lengths(name, getattr(self, name)) for name in ("ngram_range", "char_ngrams"))
        if words is None and characters is None:
            raise ValueError("ngram_range and char_ngrams must not both be None: no columns would be left.")
        return words or (0, 0), characters or (0, 0), check_dtype(self.dtype)

    def _prepare(self) -> Any:
        """Return what is done with a text before it is cut into words."""
        accents = _ACCENTS[self.strip_accents]
        if accents is None:
            return str.lower if self.lowercase else str
        return (lambda text: accents(text.lower())) if self.lowercase else accents

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.requires_fit = False
        return tags


def _lengths(name: str, value: Any) -> tuple[int, int] | None:
    """Return the least and the most n of n-grams."""
    if value is None:
        return None
    whole = len(value) == 2 and all(isinstance(n, Integral) and not isinstance(n, bool) for n in value)
    if not (whole and 1 <= value[0] <= value[1] <= 2**31 - 1):
        raise ValueError(f"{name} must be two integers, 1 <= least <= most, or None, got {value!r}.")
    return int(value[0]), int(value[1])
