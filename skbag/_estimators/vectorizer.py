"""EmbeddingBagVectorizer: the rows of a sparse matrix as bags, pooled into dense features."""

import os
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from scipy import linalg
from sklearn.base import _fit_context
from sklearn.utils import check_array
from sklearn.utils.metaestimators import available_if

from skbag._backends import get_backend
from skbag._data.blocks import Fields, check_mode
from skbag._data.on_device import on_host
from skbag._data.quantized import dtype_of
from skbag._data.table import check_padding_idx, take_table
from skbag._estimators.base import EmbeddingBagBase


def _is_a_matrix_product(estimator: "EmbeddingBagVectorizer") -> bool:
    """Return True if transform is ``X @ table``; AttributeError, which says why, if not."""
    if estimator.mode != "sum" or not estimator.per_sample_weights or estimator.fields is not None:
        raise AttributeError(
            "inverse_transform is only available with mode='sum' and per_sample_weights=True, and without fields, got "
            f"mode={estimator.mode!r}, per_sample_weights={estimator.per_sample_weights!r} and "
            f"fields={estimator.fields!r}."
        )
    return True


class EmbeddingBagVectorizer(EmbeddingBagBase):
    """Pool rows of a table of vectors, one bag per row of a sparse matrix.

    Row i of the table belongs to column i of X. The stored nonzeros of a row of X are the members of one bag: a column
    index i and a weight w. With e_i the row i of the table, a row of X becomes

    ======== ============================================
    mode     features
    ======== ============================================
    "sum"    ``sum(w * e_i)``
    "mean"   ``sum(w * e_i) / sum(abs(w))``
    "sqrtn"  ``sum(w * e_i) / sqrt(sum(w ** 2))``
    "max"    the largest of the e_i, column by column
    ======== ============================================

    and zeros where it has no members. X can come from anything that makes sparse rows: TfidfVectorizer,
    HashingVectorizer, FeatureHasher, OneHotEncoder, MultiLabelBinarizer, a matrix of interactions.

    The table is drawn at random or given. It is not trained: with a drawn table and any mode but "max", the features
    are a random projection of X, scaled row by row as the mode says. With ``init="normal"`` it makes squared distances
    ``embedding_dim`` times as large in expectation. With "sum" these are the distances between the rows of X, with
    "sqrtn" and "mean" those between the rows divided by their L2 or L1 norms.

    Parameters
    ----------
    embedding_dim : int, default=100
        Number of features, the width of a drawn table. When ``init`` is a table, its own width counts.
    mode : {"sum", "mean", "sqrtn", "max"} or list of them, default="mean"
        How the members of a bag become one row. "sum", "mean" and "max" are those of ``torch.nn.EmbeddingBag`` [1]_,
        with weights in the mean, too; "sqrtn" is TensorFlow's combiner of that name [2]_. With counts in X, "mean" is
        the mean over all occurrences. With "max" the weights only decide which columns are members. A list or tuple of
        different modes gives the features of each, side by side in this order; all but "max" are one pass.
    fields : sequence of int or mapping of str to slice, default=None
        Groups of consecutive columns, each of which is pooled by itself; the features of the groups stand side by side.
        Numbers of columns, which add up to those of X; or slices of columns by name, such as ``output_indices_`` of a
        fitted ColumnTransformer (empty ones do not count). ``padding_idx`` is a column of X as before. None is one
        group.
    init : {"normal", "uniform"}, array-like of shape (n_features, embedding_dim) or path, default="normal"
        Where the table comes from.

        - "normal" draws from N(0, 1), as torch does.
        - "uniform" draws from U(-1/embedding_dim, 1/embedding_dim), as fastText does [3]_.
        - An array is the table itself. It is used without a copy if it has ``dtype`` and is C-contiguous, so writing
          into it later writes into the estimator; otherwise it is converted. A `QuantizedTable` is an array, too.
        - An ``.npy`` file is given by its path and mapped into memory, not copied. It must hold ``dtype`` in C order.
          scikit-learn's ``clone`` copies arrays but not files, so a path is what suits a search.
        - A ``.safetensors`` file is given by its path, too: ``"x.safetensors"`` if it has one tensor of two dimensions,
          else ``"x.safetensors#NAME"``. It is mapped if its tensor has ``dtype``, for int8 with a scale for each row in
          the tensor ``NAME_scale``; other numbers are converted, value by value. Needs the package safetensors.
    per_sample_weights : bool, default=True
        Whether the values of X weigh the members. If False, every stored nonzero counts as 1.
    padding_idx : int, default=None
        A column whose members are left out, of the reduction as of every denominator. A drawn table has zeros in this
        row, a given one keeps what it has. A negative index counts from the last column, as in torch.
    max_norm : float, default=None
        Rows of the table whose norm is larger are multiplied by ``max_norm / (norm + 1e-7)``, which is the factor of
        torch's ``embedding_renorm_`` [4]_. `fit` does this once, for all rows and in a copy of the table; `transform`
        never writes. None leaves the rows alone.
    norm_type : float, default=2.0
        The p of the p-norm for ``max_norm``; ``numpy.inf`` is the largest absolute value.
    dtype : {"float32", "float64", "float16", "bfloat16", "int8"} or dtype, default="float32"
        The dtype of the table and of the features. Sums are accumulated in it, too. With the last three the table is a
        `QuantizedTable`, in a half or, with a scale for each row, a quarter of the memory; sums and features are
        float32.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where the work is done: on the CPU, or on the GPU with the number N (0 for "cuda"). The GPU needs
        the extra ``cu13`` or ``cu12`` to be installed. The table is copied there when it is first used and stays;
        ``embeddings_`` is then read-only, and takes a new array by assignment. Writing into an array given as ``init``
        is not noticed any more. X may also be a CSR matrix on the GPU, like CuPy's.
    n_jobs : int, default=None
        Number of threads. None is 1 unless in a :func:`joblib.parallel_config` context, -1 is all processors. Ordinary
        threads are used, whatever the backend of joblib, and a call with little work runs in one. The result is the
        same to the last bit for every ``n_jobs``.
    random_state : int, RandomState instance or None, default=None
        Seeds the draw of a table. Pass an int for the same table in every `fit`.

    Attributes
    ----------
    embeddings_ : ndarray of shape (n_features, embedding_dim)
        The table, in ``dtype``, rescaled to ``max_norm`` if that is set. `transform` reads it at every call. Read-only
        if it is mapped from a file. A `QuantizedTable` for float16, bfloat16 and int8.
    n_features_in_ : int
        Number of columns of X, which is the number of rows of the table.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns of X. Only after `fit` on a data frame with names that are all strings.

    See Also
    --------
    embedding_bag : The same reduction for lists of ids and a table, without an estimator.
    sklearn.decomposition.TruncatedSVD : Learns a table from X. ``X @ table`` is its transform and the mode "sum" here.
    sklearn.random_projection.GaussianRandomProjection : The same table, divided by ``sqrt(n_components)``.
    sklearn.random_projection.SparseRandomProjection : Random features from a sparse table.

    Notes
    -----
    X means its values, as everywhere in SciPy and scikit-learn: a zero that it stores is no member, and what it stores
    twice for one row and column is one member with their sum (none if that is 0), in a copy and in the dtype of X. Rows
    need not be sorted: members are added up in the order in which they are stored, or sorted if X has duplicates. X is
    never written to and may be read-only.

    `transform` needs memory for its result and little else: no dense copy of X, no array of one row per member. The
    values of X are converted first if they do not have the dtype of the table, which takes one number per member.

    A pickle holds the table, even one that came from a file; but one that was drawn with ``init="uniform"`` is drawn
    again from its seed when the pickle is loaded.

    The same ``random_state`` gives the same table wherever the version of NumPy is the same. The features of two
    machines may differ in the last bits, because the order of the additions follows the width of their vector
    registers.

    References
    ----------
    .. [1] ``torch.nn.EmbeddingBag``, PyTorch documentation.
    .. [2] ``tf.nn.safe_embedding_lookup_sparse``, TensorFlow documentation. (Its "mean" divides by the sum of the
       weights, not of their absolute values.)
    .. [3] P. Bojanowski, E. Grave, A. Joulin, T. Mikolov: Enriching Word Vectors with Subword Information, 2017. The
       initial values are those of the program, fastText.
    .. [4] ``torch.nn.Embedding``, PyTorch documentation.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from skbag import EmbeddingBagVectorizer
    >>> table = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> X = csr_array([[3, 0, 1], [0, 0, 0], [0, 1, 1]])
    >>> EmbeddingBagVectorizer(init=table).fit_transform(X)
    array([[2., 3.],
           [0., 0.],
           [4., 5.]], dtype=float32)
    >>> EmbeddingBagVectorizer(init=table, mode="max").fit_transform(X)
    array([[5., 6.],
           [0., 0.],
           [5., 6.]], dtype=float32)

    The mean beside the maximum, and the first column by itself:

    >>> EmbeddingBagVectorizer(init=table, mode=["mean", "max"]).fit_transform(X[[0]])
    array([[2., 3., 5., 6.]], dtype=float32)
    >>> EmbeddingBagVectorizer(init=table, fields=[1, 2]).fit_transform(X[[0]])
    array([[1., 2., 5., 6.]], dtype=float32)

    Texts, with a table drawn at random:

    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from sklearn.pipeline import make_pipeline
    >>> texts = ["a bag of words", "words in a bag", "rows of a table"]
    >>> model = make_pipeline(TfidfVectorizer(), EmbeddingBagVectorizer(16, random_state=0))
    >>> model.fit_transform(texts).shape
    (3, 16)
    """

    _storages = "float16", "bfloat16", "int8"

    def __init__(
        self,
        embedding_dim: int = 100,
        *,
        mode: Any = "mean",
        fields: Any = None,
        init: Any = "normal",
        per_sample_weights: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        dtype: DTypeLike = "float32",
        device: str = "cpu",
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.embedding_dim = embedding_dim
        self.mode = mode
        self.fields = fields
        self.init = init
        self.per_sample_weights = per_sample_weights
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.dtype = dtype
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state

    @classmethod
    def from_pretrained(
        cls,
        embeddings: ArrayLike | str | os.PathLike[str],
        *,
        mode: Any = "mean",
        fields: Any = None,
        per_sample_weights: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> Self:
        """Make a vectorizer that is already fitted, from a table.

        It knows its number of columns from the table and can transform at once. The table is also its ``init``, so
        `fit` and scikit-learn's ``clone`` work as with any other vectorizer. ``clone`` gives an unfitted one.

        Parameters
        ----------
        embeddings : array-like of shape (n_features, embedding_dim) or path
            The table. A C-contiguous array of float32, float64, float16 or bfloat16, or a `QuantizedTable`, is used
            without a copy; other numbers become float32. An ``.npy`` file is mapped into memory and must hold one of
            these dtypes in C order. Of a ``.safetensors`` file these are mapped, as is int8 with a scale for each row
            in a tensor of the same name with ``_scale`` at its end; other numbers become float32.
        mode : {"sum", "mean", "sqrtn", "max"} or list of them, default="mean"
            How the members of a bag become one row.
        fields : sequence of int or mapping of str to slice, default=None
            Groups of columns that are pooled by themselves.
        per_sample_weights : bool, default=True
            Whether the values of X weigh the members.
        padding_idx : int, default=None
            A column whose members are left out.
        max_norm : float, default=None
            Rows of the table with a larger norm are rescaled to it, in a copy.
        norm_type : float, default=2.0
            The p of the p-norm for ``max_norm``.
        device : {"cpu", "cuda", "cuda:N"}, default="cpu"
            Where the work is done; see the class.
        n_jobs : int, default=None
            Number of threads; see the class.

        Returns
        -------
        EmbeddingBagVectorizer
            Fitted, with ``dtype`` and ``embedding_dim`` those of the table.

        Raises
        ------
        TypeError
            If ``embeddings`` is a tensor of torch with a dtype that NumPy lacks.
        ValueError
            If ``embeddings`` is no 2-D table of finite real numbers with at least one row and column, or no file
            with such a table; or if a parameter has a value that it cannot have.

        Examples
        --------
        >>> import numpy as np
        >>> from skbag import EmbeddingBagVectorizer
        >>> table = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        >>> EmbeddingBagVectorizer.from_pretrained(table, mode="sum").transform([[1, 0, 2]])
        array([[11., 14.]])
        """
        table = take_table(embeddings, None, "embeddings")
        vectorizer = cls(
            table.shape[1],
            mode=mode,
            fields=fields,
            init=embeddings if isinstance(embeddings, (str, os.PathLike)) else table,
            per_sample_weights=per_sample_weights,
            padding_idx=padding_idx,
            max_norm=max_norm,
            norm_type=norm_type,
            dtype=dtype_of(table),
            device=device,
            n_jobs=n_jobs,
        )
        vectorizer._validate_params()
        check_padding_idx(padding_idx, len(table))
        check_mode(mode), Fields.of(fields, len(table))
        vectorizer.embeddings_ = get_backend(device).hold(vectorizer._rescaled(table))
        vectorizer.n_features_in_ = len(table)
        return vectorizer

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the number of columns of X, and draw or take the table.

        The values of X are checked, and not used.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Real and finite. CSR is taken as it is, anything else is converted to CSR.
        y : None
            Ignored, here for the sake of pipelines.

        Returns
        -------
        EmbeddingBagVectorizer
            The fitted estimator itself.

        Raises
        ------
        ValueError
            If X has no rows, contains NaN, infinity or complex numbers, or its index arrays are not those of a sparse
            matrix; if ``init`` is no table of finite numbers with one row per column of X, or its file is missing or
            holds another dtype; if a parameter has a value that it cannot have.
        """
        fitted = self._snapshot()
        bags = fitted._check_bags(X, reset=True)
        fitted.embeddings_ = get_backend(fitted.device).hold(fitted._new_table(bags, fitted.embedding_dim))
        self.__dict__ = self._with_fit_of(fitted)
        return self

    @available_if(_is_a_matrix_product)
    def inverse_transform(self, X: Any) -> NDArray[Any]:
        """Return rows whose features are X.

        That is ``X @ pinv(embeddings_)`` with the pseudo-inverse of the table, as the random projections of
        scikit-learn have it: of all rows with these features the ones of least L2 norm. If no rows have them, which
        takes a table of a rank below ``embedding_dim``, it is the rows whose features are nearest. The column of
        ``padding_idx`` has no say in the features and is 0.

        Only with ``mode="sum"`` and ``per_sample_weights=True``, where `transform` is a matrix product.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, embedding_dim)
            Features, real and finite. No rows are fine.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Dense, which takes much memory where columns are many, in the wider dtype of X and the table; integers count
            as float64.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has another number of columns than the table, or contains NaN, infinity or complex numbers.

        Notes
        -----
        Each call computes the pseudo-inverse, on the CPU and in the dtype of the table. That takes some multiples of
        ``n_features * embedding_dim * min(n_features, embedding_dim)`` operations, and memory for a few tables.

        Examples
        --------
        >>> import numpy as np
        >>> from skbag import EmbeddingBagVectorizer
        >>> table = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        >>> vectorizer = EmbeddingBagVectorizer.from_pretrained(table, mode="sum")
        >>> features = vectorizer.transform([[1, 0, 2]])
        >>> rows = vectorizer.inverse_transform(features)
        >>> rows.round(3)
        array([[0.5, 1. , 1.5]])
        >>> vectorizer.transform(rows).round(3)
        array([[11., 14.]])
        """
        fitted = self._fitted_snapshot()
        if hasattr(X, "__cuda_array_interface__"):
            X = on_host(X)
        X = check_array(
            X, accept_sparse=("csr", "csc"), dtype=[np.float64, np.float32], ensure_min_samples=0, input_name="X"
        )
        table = fitted.embeddings_
        if X.shape[1] != table.shape[1]:
            raise ValueError(
                f"X must have one column per column of the table, {table.shape[1]}, got {X.shape[1]} columns."
            )
        padding_idx = check_padding_idx(fitted.padding_idx, len(table))
        table, counts = np.asarray(table), np.arange(len(table)) != padding_idx
        inverse = np.zeros(table.shape, table.dtype)
        if counts.any():
            inverse[counts] = linalg.pinv(table[counts].T)
        return X @ inverse.T
