"""What fastText learnt: read from its files, looked up, and made into pipelines."""

import os
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.pipeline import Pipeline

from skbag._backends import get_texts
from skbag._data.lexicon import Lexicon
from skbag._estimators.classifier import EmbeddingBagClassifier
from skbag._functional import embedding_bag
from skbag._text.fasttext_file import Contents, read_contents
from skbag._text.product import QuantizedMatrix, rows_of
from skbag._text.rows import sparse_rows

Array = NDArray[Any]

_MOST = 10**15  # what fastText takes for the count of a node that there is not yet


def read_fasttext(path: str | os.PathLike[str], *, label_prefix: str = "__label__") -> "FastTextModel":
    """Read a model of fastText, ``.bin`` or ``.ftz``, supervised or not, quantised or not.

    Neither fastText nor gensim is needed. gensim reads the unsupervised ones into its own objects; it refuses
    supervised and quantised ones.

    Parameters
    ----------
    path : str or path-like
        The file, not compressed.
    label_prefix : str, default="__label__"
        What labels began with when the model was trained; the file does not say. Labels come back without it.

    Returns
    -------
    FastTextModel
        Vectors of words by `FastTextModel.word_vectors`, a classifier by `FastTextModel.to_pipeline`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no file of fastText or not a whole one: the message says which part does not fit, and at which byte.
        Also if a number in it is not finite, or a word is there twice.

    Notes
    -----
    Every length that the file names is compared with the bytes that are left before memory is asked for: a damaged file
    takes no more than twice its size. Files of the format's versions 11 and 12 are read, and those that have no number
    of a version, from before 2017.

    Examples
    --------
    >>> from skbag.text import read_fasttext
    >>> model = read_fasttext("lid.176.ftz").to_pipeline()  # doctest: +SKIP
    >>> model.predict(["Guten Morgen", "buenos días"])  # doctest: +SKIP
    array(['de', 'es'], dtype='<U3')
    """
    if not isinstance(label_prefix, str) or not label_prefix:
        raise ValueError(f"label_prefix must be a str, and not empty, got {label_prefix!r}.")
    return FastTextModel(read_contents(os.fsdecode(path), label_prefix))


class FastTextModel:
    """A model of fastText, as `read_fasttext` returns it. Nothing in it changes.

    Parameters
    ----------
    contents : Contents
        What `read_fasttext` has found in the file.

    Attributes
    ----------
    args : dict
        What it was trained with: "model" is "supervised", "cbow" or "skipgram", "loss" is "softmax", "hs", "ns" or
        "ova"; and "dim", "epoch", "word_ngrams", "minn", "maxn", "bucket" and more.
    lexicon : Lexicon
        Its vocabulary, which `FastTextVectorizer` takes.
    words : list of str
        The most frequent one first. Bytes that are no UTF-8 stand there with backslashes.
    labels : list of str
        The same, without their prefix.
    """

    def __init__(self, contents: Contents) -> None:
        self.args: dict[str, Any] = dict(contents.args)
        self.lexicon = contents.lexicon
        self._input, self._output = contents.input, contents.output

    def __repr__(self) -> str:
        kind = f"{self.args['model']} FastTextModel" + " (quantised)" * self.is_quantized
        n_words, n_labels = self.lexicon.n_words, len(self.lexicon.begins) - 1 - self.lexicon.n_words
        return f"<{kind}: {n_words} words, {n_labels} labels, {self.args['dim']} columns, loss {self.args['loss']!r}>"

    @property
    def words(self) -> list[str]:
        """The words, the most frequent one first."""
        return self.lexicon.names(0, self.lexicon.n_words)

    @property
    def labels(self) -> list[str]:
        """The labels without their prefix, the most frequent one first."""
        lexicon = self.lexicon
        names = lexicon.names(lexicon.n_words, len(lexicon.begins) - 1)
        return [name.removeprefix(lexicon.label_prefix) for name in names]

    @property
    def is_quantized(self) -> bool:
        """Whether the vectors are kept as codes, as in an ``.ftz`` file."""
        return isinstance(self._input, QuantizedMatrix)

    def input_matrix(self) -> Array:
        """Return the vectors of all ids: of the words, then of the buckets.

        Returns
        -------
        ndarray of shape (n_ids, dim), float32
            Read-only, or made from the codes at every call.
        """
        return rows_of(self._input, slice(None))

    def output_matrix(self) -> Array:
        """Return the vectors of the labels, or of the words where there are none to predict.

        Returns
        -------
        ndarray of shape (n_labels, dim) or (n_words, dim), float32
            Read-only, or made from the codes at every call. With the loss "hs" the vectors of inner nodes.
        """
        return rows_of(self._output, slice(None))

    def word_vectors(self, words: Any) -> Array:
        """Return the vector of each word, as ``get_word_vector`` of fastText: the mean of its own and its n-grams'.

        Parameters
        ----------
        words : iterable of str or bytes
            Bytes are taken as they are, for models whose words are no UTF-8. Words that the model does not know have
            the mean of their character n-grams; zeros if it has none of these.

        Returns
        -------
        ndarray of shape (n_words, dim), float32
            One row for each word.

        Raises
        ------
        TypeError, ValueError
            As `FastTextVectorizer.transform`.
        """
        X = _count(words, "words", self.lexicon, None, whole=True, n_jobs=None)
        used = np.unique(X.indices)
        if not len(used):
            return np.zeros((X.shape[0], self.args["dim"]), np.float32)
        ids = np.searchsorted(used, X.indices)
        return embedding_bag(
            ids, rows_of(self._input, used), X.indptr, per_sample_weights=X.data, include_last_offset=True
        )

    def to_pipeline(self, *, n_jobs: int | None = None) -> Pipeline:
        """Return a fitted pipeline that predicts what the model predicts: texts in, labels out.

        Its first step is a `FastTextVectorizer`. Then comes, by the loss of the model,

        - "softmax": an `EmbeddingBagClassifier` with the mode "mean", for classes.
        - "ova" and "ns": the same for labels that are not exclusive; `predict` returns a label indicator of those whose
          probability is above one half, with the columns ``classes_``.
        - "hs": the same with ``output="hierarchical"``.

        Parameters
        ----------
        n_jobs : int, default=None
            Number of threads of the steps.

        Returns
        -------
        sklearn.pipeline.Pipeline
            Its ``classes_`` are the labels without their prefix, sorted.

        Raises
        ------
        ValueError
            If the model is not supervised, or has fewer than two labels.

        Notes
        -----
        Probabilities are those of the formulas. fastText's own differ a little: it adds 1e-5 to each (with "hs" at
        every node on the way), and with "ova" and "ns" it reads the logistic function from a table of 512 values, which
        may be .008 off. Vectors that are quantised are decoded: the pipeline has all of them as float32.
        """
        args, labels = self.args, self.labels
        if args["model"] != "supervised":
            raise ValueError(
                f"to_pipeline needs a supervised model, and this one is {args['model']!r}: see word_vectors."
            )
        if len(set(labels)) < 2 or len(set(labels)) < len(labels):
            raise ValueError(f"to_pipeline needs two or more different labels, got {labels[:10]!r}.")
        vectorizer, names = FastTextVectorizer(self.lexicon, n_jobs=n_jobs), np.array(labels)
        arrays = {"embedding_bag.weight": self.input_matrix(), "linear.weight": self.output_matrix()}
        params: dict[str, Any] = {"classes": names, "mode": "mean", "n_jobs": n_jobs}
        if args["loss"] == "hs":
            n_words = self.lexicon.n_words
            counts = self.lexicon.counts(n_words, n_words + len(names))
            if counts.min() < 0 or counts.max() >= _MOST:
                raise ValueError(f"labels must occur at least 0 and less than {_MOST:.0e} times each, got {counts}.")
            classifier = EmbeddingBagClassifier._from_tree(arrays, counts=counts, **params)
        else:
            classifier = EmbeddingBagClassifier.from_state_dict(arrays, multilabel=args["loss"] != "softmax", **params)
        return Pipeline([("vectorizer", vectorizer), ("classifier", classifier)])


class FastTextVectorizer(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Turn texts into rows of the ids that a model of fastText has for them.

    The columns are the rows of the model's input matrix: its words, then its buckets of character n-grams and word
    n-grams, or those of them that a quantised model has kept. Values are how often an id occurs in the text: with the
    mode "mean" an embedding bag gives the hidden layer of fastText.

    Words are what stands between spaces, as it is: fastText neither changes case nor takes off punctuation. A line
    break counts as a space, where fastText refuses it. Every text gets the word ``</s>`` at its end, and ends at the
    first one. Words with the prefix of labels are left out.

    Parameters
    ----------
    lexicon : Lexicon
        The vocabulary of a model: ``read_fasttext(path).lexicon``.
    n_jobs : int, default=None
        Number of threads. None is 1 unless in a :func:`joblib.parallel_config` context, -1 is all processors.

    See Also
    --------
    HashingNgramVectorizer : The same kinds of n-grams without a vocabulary.

    References
    ----------
    .. [1] ``Dictionary::getLine`` in dictionary.cc of fastText, https://github.com/facebookresearch/fastText.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {"lexicon": "no_validation", "n_jobs": [Integral, None]}

    def __init__(self, lexicon: Lexicon, *, n_jobs: int | None = None) -> None:
        self.lexicon = lexicon
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
        FastTextVectorizer
            The vectorizer itself.

        Raises
        ------
        TypeError
            If ``lexicon`` is something else.
        """
        self._checked_lexicon()
        return self

    def transform(self, X: Any) -> csr_array:
        """Return how often each id occurs in each text.

        Parameters
        ----------
        X : iterable of str or bytes
            Texts; bytes are taken for UTF-8. None is fine.

        Returns
        -------
        scipy.sparse.csr_array of shape (n_texts, n_ids), float32
            Canonical.

        Raises
        ------
        TypeError
            If a text is something else, None or a number for instance. The message says which.
        ValueError
            If X is a single string or has two dimensions; if bytes are no UTF-8, or a string has half of a surrogate
            pair.
        """
        self._validate_params()
        return _count(X, "X", self._checked_lexicon(), lambda text: f"{text} </s>", whole=False, n_jobs=self.n_jobs)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Return the words, and "bucket 0", "bucket 1", ... for what is hashed.

        Parameters
        ----------
        input_features : object
            Not looked at.

        Returns
        -------
        ndarray of shape (n_ids,), object
            One str for each column.
        """
        lexicon = self._checked_lexicon()
        buckets = range(lexicon.bucket)
        if lexicon.pruned is not None:
            pairs = lexicon.pruned.tolist()
            of_row = {pair & 0xFFFFFFFF: pair >> 32 for pair in pairs}
            buckets = [of_row.get(row, -1) for row in range(len(pairs))]  # type: ignore[assignment]
        return np.array([*lexicon.names(0, lexicon.n_words), *(f"bucket {b}" for b in buckets)], dtype=object)

    def _checked_lexicon(self) -> Lexicon:
        if not isinstance(self.lexicon, Lexicon):
            raise TypeError(
                f"lexicon must be that of a model, read_fasttext(path).lexicon, got {type(self.lexicon).__name__}."
            )
        return self.lexicon

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.requires_fit = False
        return tags


def _count(texts: Any, name: str, lexicon: Lexicon, prepare: Any, *, whole: bool, n_jobs: int | None) -> csr_array:
    read = get_texts().fasttext_rows

    def make(text: Array, starts: Array) -> Any:
        return read(text, starts, lexicon, whole=whole, n_jobs=n_jobs)

    return sparse_rows(texts, name, prepare, make, lexicon.n_rows, np.float32)
