"""TokenizerVectorizer: texts as counts of the tokens of a model."""

import json
import os
from array import array
from collections.abc import Iterator
from itertools import islice
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skbag._data.limits import COUNT
from skbag._data.optional import missing
from skbag._data.table import check_dtype
from skbag._estimators.saved import VersionedStateMixin
from skbag._text.rows import checked_texts

_NONE = np.empty(0, np.int32), np.empty(0), np.empty(0, np.int64)
_BATCH = 256  # texts: what the tokenizer makes of them stays in the cache, and a signal waits for one batch


class TokenizerVectorizer(  # type: ignore[call-arg]
    VersionedStateMixin, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None
):
    """Count the tokens of texts, as a tokenizer of Hugging Face's package ``tokenizers`` cuts them.

    It is to a ``tokenizer.json`` what CountVectorizer is to words: column i of the matrix is the token with the id i,
    which is row i of the table of the model that the tokenizer belongs to.

    Parameters
    ----------
    tokenizer : path, tokenizers.Tokenizer or a fast tokenizer of transformers
        The tokenizer. A path is that of a ``tokenizer.json``, or of a folder with one; nothing is downloaded. `fit`
        makes a copy and pads nothing.
    max_length : int, None or "tokenizer", default="tokenizer"
        Tokens of a text that are read at most; None for all. "tokenizer" is what the tokenizer itself says.
    max_characters : int, default=None
        Characters of a text that are read at most; None for all.
    add_special_tokens : bool, default=False
        Whether the tokens that the tokenizer puts around a text, like ``[CLS]``, count.
    drop_unknown : bool, default=False
        Whether the token for what the tokenizer does not know, like ``[UNK]``, is left out.
    dtype : {"float32", "float64"} or dtype, default="float32"
        The dtype of the counts.

    Attributes
    ----------
    tokenizer_ : tokenizers.Tokenizer
        The copy that is used.
    n_tokens_ : int
        The number of columns, which is the largest id and one.
    unknown_id_ : int or None
        The id that is left out, if ``drop_unknown``.

    See Also
    --------
    load_static_model : A tokenizer, a table and a norm as a pipeline.
    sklearn.feature_extraction.text.CountVectorizer : Counts words, which it learns from texts.

    Notes
    -----
    It needs the package ``tokenizers``, an extra. That runs in as many threads as it wants;
    the environment variable ``RAYON_NUM_THREADS`` limits them.

    Examples
    --------
    >>> from tokenizers import Tokenizer, models, pre_tokenizers  # doctest: +SKIP
    >>> tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "cats": 1, "and": 2, "dogs": 3}, unk_token="[UNK]"))
    ... # doctest: +SKIP
    >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # doctest: +SKIP
    >>> TokenizerVectorizer(tokenizer).fit_transform(["cats and cats", "dogs or cats"]).toarray()  # doctest: +SKIP
    array([[0., 2., 1., 0.],
           [1., 1., 0., 1.]], dtype=float32)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "tokenizer": "no_validation",
        "max_length": [COUNT, StrOptions({"tokenizer"}), None],
        "max_characters": [Interval(Integral, 0, None, closed="left"), None],
        "add_special_tokens": ["boolean"],
        "drop_unknown": ["boolean"],
        "dtype": "no_validation",
    }

    def __init__(
        self,
        tokenizer: Any,
        *,
        max_length: int | str | None = "tokenizer",
        max_characters: int | None = None,
        add_special_tokens: bool = False,
        drop_unknown: bool = False,
        dtype: DTypeLike = "float32",
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.max_characters = max_characters
        self.add_special_tokens = add_special_tokens
        self.drop_unknown = drop_unknown
        self.dtype = dtype

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Read the tokenizer.

        Parameters
        ----------
        X : iterable of str, default=None
            Ignored: nothing is learnt from texts.
        y : None
            Ignored.

        Returns
        -------
        TokenizerVectorizer
            The fitted estimator itself.

        Raises
        ------
        ImportError
            If the package tokenizers is not installed.
        TypeError
            If ``tokenizer`` is no tokenizer and no path.
        ValueError
            If there is no such file, or it is no ``tokenizer.json``; if a parameter has a value that it cannot have.
        """
        check_dtype(self.dtype)
        tokenizer = read_tokenizer(self.tokenizer)
        tokenizer.no_padding()
        if self.max_length is None:
            tokenizer.no_truncation()
        elif self.max_length != "tokenizer":
            tokenizer.enable_truncation(self.max_length)
        self.unknown_id_ = _unknown_id(tokenizer) if self.drop_unknown else None
        self.n_tokens_ = max(tokenizer.get_vocab().values(), default=-1) + 1
        self.tokenizer_ = tokenizer
        return self

    def transform(self, X: Any) -> csr_matrix:
        """Count the tokens of each text.

        Parameters
        ----------
        X : iterable of str
            Texts.

        Returns
        -------
        csr_matrix of shape (n_samples, n_tokens)
            Counts in ``dtype``, with sorted rows.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError
            If a text is no string; the message names it.
        ValueError
            If X is one string or has two dimensions, or a text cannot be encoded.
        """
        check_is_fitted(self)
        texts, first, parts = self._checked(X), 0, []
        while batch := list(islice(texts, _BATCH)):
            parts.append(self._count(self._encode(batch, first)))
            first += len(batch)
        columns, counts, lengths = (np.concatenate(arrays) for arrays in zip(*parts, strict=True)) if parts else _NONE
        ends = np.append(0, np.cumsum(lengths))
        index = np.int32 if ends[-1] < 2**31 else np.int64
        matrix = counts.astype(check_dtype(self.dtype)), columns.astype(index, copy=False), ends.astype(index)
        return csr_matrix(matrix, shape=(len(lengths), self.n_tokens_))

    def _checked(self, X: Any) -> Iterator[str]:
        for i, text in enumerate(checked_texts(X, "X")):
            if not isinstance(text, str):
                raise TypeError(f"X must have texts, which are strings, got {text!r} at position {i}.")
            yield text[: self.max_characters]

    def _encode(self, texts: list[str], first: int) -> Any:
        options = {"add_special_tokens": self.add_special_tokens}
        try:
            return self.tokenizer_.encode_batch_fast(texts, **options)
        except Exception as error:
            for i, text in enumerate(texts):
                try:
                    text.encode()
                    self.tokenizer_.encode(text, **options)
                except Exception as cause:
                    raise ValueError(
                        f"X has a text that the tokenizer cannot encode, at position {first + i}: {cause}."
                    ) from error
            raise

    def _count(self, encodings: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return the ids of each text in order, how often it has them, and how many they are."""
        ids = array("I")  # which takes a list several times faster than "i"
        for encoding in encodings:
            ids.fromlist(encoding.ids)
        columns = np.frombuffer(ids, np.uintc)
        bits = self.n_tokens_.bit_length()
        wide: Any = np.uint32 if _BATCH << bits <= 2**32 else np.uint64
        keys = np.repeat(np.arange(len(encodings)).astype(wide) << bits, [len(encoding) for encoding in encodings])
        keys |= columns
        if self.unknown_id_ is not None:
            keys = keys[columns != self.unknown_id_]
        keys.sort()
        is_first = np.ones(len(keys), bool)
        np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
        firsts = np.flatnonzero(is_first)
        counts, keys = np.diff(firsts, append=len(keys)), keys[firsts]
        rows = (keys >> bits).astype(np.intp)
        return (keys & ((1 << bits) - 1)).astype(np.int32), counts, np.bincount(rows, minlength=len(encodings))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the tokens by their ids.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        ndarray of str, shape (n_tokens_,)
            The tokens; an id that no token has is ``"<id>"`` with its number.
        """
        check_is_fitted(self)
        names = np.array([f"<{i}>" for i in range(self.n_tokens_)], object)
        for token, i in self.tokenizer_.get_vocab().items():
            names[i] = token
        return names

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        return tags


def read_tokenizer(tokenizer: Any) -> Any:
    """Return a copy of a tokenizer, or read one; errors as in `TokenizerVectorizer.fit`."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise missing("tokenizers", "A tokenizer") from error
    tokenizer = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if isinstance(tokenizer, Tokenizer):
        return Tokenizer.from_str(tokenizer.to_str())
    if not isinstance(tokenizer, (str, os.PathLike)):
        raise TypeError(
            "tokenizer must be the path of a tokenizer.json, a tokenizers.Tokenizer or a fast tokenizer of "
            f"transformers, got {type(tokenizer).__name__}."
        )
    path = os.fspath(tokenizer)
    path = os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path
    if not os.path.isfile(path):
        raise ValueError(f"tokenizer names a file that does not exist: {path!r}. Nothing is downloaded.")
    try:
        return Tokenizer.from_file(path)
    except Exception as error:  # tokenizers raises no other
        raise ValueError(f"tokenizer names a file that is no tokenizer.json: {path!r} ({error}).") from error


def _unknown_id(tokenizer: Any) -> int | None:
    model = json.loads(tokenizer.to_str())["model"]
    token = model.get("unk_token")
    return model.get("unk_id") if token is None else tokenizer.token_to_id(token)
