"""TextEmbeddingVectorizer: texts as the pooled vectors of their words."""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context, clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted

from skbag._data.table import check_dtype
from skbag._estimators.base import EmbeddingBagBase
from skbag._estimators.printed import PrintedMixin
from skbag._estimators.saved import VersionedStateMixin
from skbag._estimators.vectorizer import EmbeddingBagVectorizer
from skbag._text.alignment import LEAST_COVERAGE, check_overlap, fill, warn_of_coverage
from skbag._text.rows import checked_texts
from skbag._text.vectors import open_vectors

Array = NDArray[Any]


class TextEmbeddingVectorizer(
    VersionedStateMixin, PrintedMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Pool vectors that were learnt elsewhere over the words of texts.

    A vectorizer makes a bag of words of each text, with a weight for each word. The vectors of these words are looked
    up by their names and pooled, as `skbag.EmbeddingBagVectorizer` does. A word that has no vector is not in the bag:
    it adds nothing to the sum, does not make a mean shorter and never is the maximum.

    Parameters
    ----------
    vectors : KeyedVectors, dict, data frame or path
        Words and a vector for each, as in `align`: gensim's ``KeyedVectors``, a dict, a data frame of pandas or polars,
        or the path of a file in word2vec's or GloVe's format, which gensim reads.
    vectorizer : transformer, default=None
        What makes rows of texts: any transformer of texts whose ``get_feature_names_out`` gives the words, like
        CountVectorizer, or a Pipeline of such. None is ``TfidfVectorizer()``. It is cloned before it is fitted.
    mode : {"mean", "sum", "sqrtn", "max"} or list of them, default="mean"
        How the vectors of a text become one; see `skbag.EmbeddingBagVectorizer`. A list gives those of each mode side
        by side. With a TfidfVectorizer, "mean" is the mean weighted by TF-IDF. "sum" takes the weights as they are, so
        with TF-IDF they were divided by a norm that all words of the text have a part in.
    oov : {"drop", "zeros", "random", "mean", "subwords"}, default="drop"
        What becomes of words without a vector ("out of vocabulary").

        - "drop": they are left out of the bag and its denominators. A text of nothing else becomes zeros.
        - "zeros", "random", "mean": they get the rows that `align` gives them.
        - "subwords": they get the vectors that fastText makes of their character n-grams. Those that have none are
          left out.
    per_sample_weights : bool, default=True
        Whether the values that the vectorizer gives weigh the words. If False, each word of a text counts once.
    dtype : {"float32", "float64"} or dtype, default="float32"
        The dtype of the table and of the features.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where the vectors are pooled; see `skbag.EmbeddingBagVectorizer`.
    n_jobs : int, default=None
        Number of threads that pool; see `skbag.EmbeddingBagVectorizer`.
    random_state : int, RandomState instance or None, default=None
        Seeds ``oov="random"``.

    Attributes
    ----------
    vectorizer_ : transformer
        The fitted vectorizer.
    columns_ : ndarray of shape (n_words,)
        The columns of ``vectorizer_`` that have a row in the table: with ``oov="drop"``, those of words with a vector.
    bag_ : EmbeddingBagVectorizer
        What pools these columns.
    embeddings_ : ndarray of shape (n_words, dim)
        The table of ``bag_``; its row i belongs to column ``columns_[i]`` of ``vectorizer_``.
    coverage_ : dict of str to float
        "types": the share of the words of the vocabulary that have a vector. "occurrences": the share of their
        occurrences in the texts of `fit`: all of them, where the vectorizer gives whole numbers (CountVectorizer), and
        else each word once per text (TfidfVectorizer). Vectors made of subwords count.

    See Also
    --------
    align : The table alone, to begin training at: ``EmbeddingBagClassifier(init=align(...))``.
    load_static_model : Texts to vectors by a model of tokens.

    Notes
    -----
    ``clone``, and so a search, shares ``vectors`` instead of copying it; it is never written to. A pickle contains it.
    A fitted vectorizer does not need it any more: give a path, or call ``set_params(vectors=None)`` before you save.

    The vectors of words that the texts of `fit` do not have are not in the table, so words that are new in `transform`
    have no vector. To keep all vectors, give a vectorizer with ``vocabulary=vocabulary_of(vectors)``.

    Examples
    --------
    >>> from skbag.text import TextEmbeddingVectorizer
    >>> vectors = {"cats": [1, 0], "dogs": [1, 0.1], "stocks": [0, 1], "markets": [0.1, 1]}
    >>> texts = ["cats and dogs", "a dog and a cat", "markets and stocks and stocks"]
    >>> pooled = TextEmbeddingVectorizer(vectors).fit(texts)
    >>> pooled.transform(texts).round(2)
    array([[1.  , 0.05],
           [0.  , 0.  ],
           [0.03, 1.  ]], dtype=float32)
    >>> pooled.coverage_
    {'types': 0.5714285714285714, 'occurrences': 0.4444444444444444}
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "vectors": "no_validation",
        "vectorizer": [HasMethods(["fit", "transform", "get_feature_names_out"]), None],
        "oov": [StrOptions({"drop", "zeros", "random", "mean", "subwords"})],
        **{
            name: EmbeddingBagBase._parameter_constraints[name]
            for name in ("mode", "per_sample_weights", "dtype", "device", "n_jobs", "random_state")
        },
    }

    def __init__(
        self,
        vectors: Any,
        vectorizer: Any = None,
        *,
        mode: Any = "mean",
        oov: str = "drop",
        per_sample_weights: bool = True,
        dtype: DTypeLike = "float32",
        device: str = "cpu",
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.vectors = vectors
        self.vectorizer = vectorizer
        self.mode = mode
        self.oov = oov
        self.per_sample_weights = per_sample_weights
        self.dtype = dtype
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state

    @property
    def embeddings_(self) -> Array:
        """The table of ``bag_``."""
        return self.bag_.embeddings_

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the vectorizer and look up the vectors of its words.

        Parameters
        ----------
        X : iterable of str
            Texts, or what else the vectorizer takes.
        y : array-like, default=None
            Passed to the vectorizer.

        Returns
        -------
        TextEmbeddingVectorizer
            The fitted estimator itself.

        Raises
        ------
        ImportError
            If ``vectors`` is a path of such a file and gensim is not installed.
        TypeError
            If ``vectors`` is of no kind named above.
        ValueError
            If X is a data frame, of which a column has to be taken; if no word has a vector; if a vector that is used
            is not finite, or not as long as the others; if the file is missing, damaged or of another format; if
            ``oov="subwords"`` and the vectors have no subwords; if a parameter has a value that it cannot have.

        Warns
        -----
        UserWarning
            If ``coverage_["occurrences"]`` is less than 30%.
        """
        self._learn(X, y, 5)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """Do `fit` and `transform`, and let the vectorizer read the texts once.

        Parameters
        ----------
        X : iterable of str
            Texts, or what else the vectorizer takes.
        y : array-like, default=None
            Passed to the vectorizer.

        Returns
        -------
        ndarray of shape (n_samples, dim)
            The features.
        """
        return self._pool(self._learn(X, y, 6))  # scikit-learn wraps this method for set_output

    def transform(self, X: Any) -> Array:
        """Pool the vectors of the words of each text.

        Parameters
        ----------
        X : iterable of str
            Texts, or what else the vectorizer takes.

        Returns
        -------
        ndarray of shape (n_samples, dim)
            The features, in ``dtype``; zeros for texts of which no word has a vector.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        _refuse_frames(self.vectorizer_, X)
        return self._pool(self.vectorizer_.transform(X))

    @_fit_context(prefer_skip_nested_validation=False)
    def _learn(self, X: Any, y: Any, level: int) -> Any:
        """Fit, and return the rows that the vectorizer makes."""
        dtype, rng = check_dtype(self.dtype), check_random_state(self.random_state)
        source = open_vectors(self.vectors, dtype)
        vectorizer = TfidfVectorizer(dtype=dtype) if self.vectorizer is None else clone(self.vectorizer)
        _refuse_frames(vectorizer, X)
        rows = vectorizer.fit_transform(X, y)
        words = list(vectorizer.get_feature_names_out())
        rows_of = source.find(words)
        check_overlap(source, words, rows_of, self.oov)
        columns = np.flatnonzero(rows_of >= 0) if self.oov == "drop" else np.arange(len(words))
        table = np.empty((len(columns), source.dim), dtype)
        found = fill(table, source, [words[i] for i in columns], rows_of[columns], self.oov, rng)
        known = np.isin(np.arange(len(words)), columns[found])
        if self.oov == "subwords" and not known.all():
            columns, table = columns[found], table[found]
            check_overlap(source, words, np.where(known, 0, -1), "drop")
        bag = EmbeddingBagVectorizer(
            table.shape[1], mode=self.mode, init=table, per_sample_weights=self.per_sample_weights, dtype=dtype.name,
            device=self.device, n_jobs=self.n_jobs,
        )  # fmt: skip
        bag.set_output(transform="default").fit(csr_array((1, len(columns)), dtype=dtype))
        coverage = {"types": float(known.mean()), "occurrences": _share(rows, known)}
        if coverage["occurrences"] < LEAST_COVERAGE:
            what = "of the occurrences of words have"
            warn_of_coverage(coverage["occurrences"], what, *_by_frequency(rows, words, ~known), level=level)
        self.vectorizer_, self.columns_, self.bag_, self.coverage_ = vectorizer, columns, bag, coverage
        return rows

    def _pool(self, rows: Any) -> Array:
        everything = len(self.columns_) == rows.shape[1]
        return self.bag_.transform(rows if everything else rows[:, self.columns_])

    def __sklearn_clone__(self) -> Self:
        bare = object.__new__(type(self))
        bare.__dict__ = {**vars(self), "vectors": None}
        copy: Self = super(TextEmbeddingVectorizer, bare).__sklearn_clone__()
        copy.vectors = self.vectors
        return copy

    @property
    def _n_features_out(self) -> int:
        return int(self.bag_._n_features_out)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Return names of the features: the class and a number, with the mode where there are several.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Ignored.

        Returns
        -------
        ndarray of str objects
        """
        check_is_fitted(self)
        prefix, names = type(self).__name__.lower(), self.bag_.get_feature_names_out()
        of_bag = len(type(self.bag_).__name__)
        return np.array([f"{prefix}{name[of_bag:]}" for name in names], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.transformer_tags.preserves_dtype = []
        return tags


def _refuse_frames(vectorizer: Any, X: Any) -> None:
    """Raise ValueError if X is a data frame and the vectorizer one that would read the names of its columns."""
    if hasattr(X, "columns") and hasattr(vectorizer, "build_analyzer"):
        checked_texts(X, "X")


def _counts(rows: Any) -> Array:
    """Return how often each column occurs: the sum of whole numbers, or the number of rows that have it."""
    if not issparse(rows):
        rows = csr_array(rows)
    if rows.dtype.kind in "iu":
        return np.asarray(rows.sum(axis=0)).ravel()
    return np.bincount(rows.tocsr().indices, minlength=rows.shape[1])


def _share(rows: Any, known: Array) -> float:
    counts = _counts(rows)
    return float(counts[known].sum() / max(counts.sum(), 1))


def _by_frequency(rows: Any, words: list[Any], missing: Array) -> tuple[list[Any], Array]:
    """Return words and whether they are missing, the most frequent first."""
    order = np.argsort(-_counts(rows), kind="stable")
    return [words[i] for i in order], missing[order]
