"""torch-shaped functions on arrays."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.utils._param_validation import validate_parameter_constraints

from skbag._backends import get_backend
from skbag._data.bags import Bags, as_ids, frozen
from skbag._data.blocks import check_mode
from skbag._data.ids import bags_from_ids
from skbag._data.limits import COLUMNS, NORM
from skbag._data.ragged import flattened
from skbag._data.table import check_padding_idx, check_weight
from skbag._threads import check_jobs

Mode = Literal["sum", "mean", "sqrtn", "max"]


def embedding_bag(
    input: ArrayLike,  # noqa: A002
    weight: ArrayLike,
    offsets: ArrayLike | None = None,
    *,
    mode: Mode | Sequence[Mode] = "mean",
    per_sample_weights: ArrayLike | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    n_jobs: int | None = None,
    device: str = "cpu",
) -> NDArray[Any]:
    """Look up rows of a table by id, and pool them bag by bag.

    This is the function behind ``torch.nn.EmbeddingBag``, on arrays. No array of one row per id is ever made.

    Every listed id is a member of its bag, whatever its weight, except ids equal to ``padding_idx``. With members
    (i, w), e_i the row i of ``weight``, and w = 1 without ``per_sample_weights``, a bag becomes

    ======== ============================================
    mode     row of the result
    ======== ============================================
    "sum"    ``sum(w * e_i)``
    "mean"   ``sum(w * e_i) / sum(abs(w))``
    "sqrtn"  ``sum(w * e_i) / sqrt(sum(w ** 2))``
    "max"    the largest of the e_i, column by column
    ======== ============================================

    and zeros where it has no members.

    Parameters
    ----------
    input : array-like of int, of shape (n_bags, n_members) or (n_ids,), or a column of lists
        Ids, each at least 0 and less than ``len(weight)``. In two dimensions every row is a bag. In one dimension the
        bags stand one after the other, and ``offsets`` says where each one starts. Bags of different lengths may also
        come as a list of lists, an array of dtype object, a pandas or polars Series of lists, a ListArray of Arrow or
        an array of Awkward, without ``offsets``. int32 and int64 are used as they are, other integers are converted.
    weight : array-like of shape (num_embeddings, embedding_dim)
        The table: float32 or float64; or float16, bfloat16 (of ml_dtypes) or a `QuantizedTable`, which are read as
        float32. It is never written to. An array in C order is not copied.
    offsets : array-like of int, of shape (n_bags,) or (n_bags + 1,), default=None
        Where each bag starts in a 1-D ``input``: the first is 0, and none is smaller than the one before. Two equal
        offsets make an empty bag. It must be None for a 2-D ``input``.
    mode : {"sum", "mean", "sqrtn", "max"} or list of them, default="mean"
        How the rows of a bag become one. "sum", "mean" and "max" are those of ``torch.nn.EmbeddingBag``, "sqrtn" is
        TensorFlow's combiner of that name. A list or tuple of different modes gives the rows of each, side by side in
        this order; all but "max" are one pass.
    per_sample_weights : array-like of the shape of ``input``, or a column of lists, default=None
        A weight for each id, finite; converted to the dtype of ``weight``. None stands for weights of 1. It goes with
        every mode but "max" alone, where torch takes it with "sum" only; "max" beside other modes does not see it.
    include_last_offset : bool, default=False
        Whether ``offsets`` has one more entry, ``len(input)``, at its end. It then is what SciPy calls ``indptr``.
    padding_idx : int, default=None
        Ids equal to it are no members: they count neither in the reduction nor in a denominator. A negative one counts
        from the end of the table, as in torch.
    max_norm : float, default=None
        Rows whose norm is larger count as multiplied by ``max_norm / (norm + 1e-7)``, which is the factor of torch's
        ``embedding_renorm_``. torch writes the rescaled rows into the table, this function does not. None leaves the
        rows alone.
    norm_type : float, default=2.0
        The p of the p-norm for ``max_norm``; ``numpy.inf`` is the largest absolute value.
    n_jobs : int, default=None
        Number of threads. None is 1 unless in a :func:`joblib.parallel_config` context, -1 is all processors. Ordinary
        threads are used, whatever the backend of joblib, and a call with little work runs in one. The result is the
        same to the last bit for every ``n_jobs``.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where the work is done: on the CPU, or on the GPU with the number N (0 for "cuda"). The GPU needs
        the extra ``cu13`` or ``cu12`` to be installed. The table is copied there in
        every call; an `EmbeddingBagVectorizer` keeps it there.

    Returns
    -------
    ndarray of shape (n_bags, n_modes * embedding_dim)
        The pooled rows, in the dtype of ``weight``, or float32. Sums are accumulated in that dtype, too.

    Raises
    ------
    TypeError
        If ``input`` or ``offsets`` are not integers, ``per_sample_weights`` are not real numbers, or ``weight`` is
        of another dtype.
    ValueError
        If an id is negative or not less than ``len(weight)``; a weight is NaN or infinite; ``offsets`` decrease, do not
        start at 0, or end where they may not; ``offsets`` come with a 2-D ``input`` or are missing for a 1-D one;
        shapes do not fit; ``per_sample_weights`` come with "max"; or another argument has a value that it cannot have.
        No row outside of the table is ever read.

    See Also
    --------
    embedding : The rows of all ids, without pooling.
    bags_to_csr : The same ids and offsets as a sparse matrix.
    EmbeddingBagVectorizer : The same reduction as a scikit-learn transformer.

    Notes
    -----
    The values of ``weight`` are not looked at, which would cost more than most calls. A NaN in a row propagates into
    the bags that name it, with "max" too, where torch takes one only from the first row of a bag.

    Two machines may differ in the last bits, because the order of the additions follows the width of their vector
    registers.

    References
    ----------
    .. [1] ``torch.nn.EmbeddingBag`` and ``torch.nn.functional.embedding_bag``, PyTorch documentation.
    .. [2] ``tf.nn.safe_embedding_lookup_sparse``, TensorFlow documentation: the combiner "sqrtn". (Its "mean" divides
       by the sum of the weights, not of their absolute values.)

    Examples
    --------
    >>> import numpy as np
    >>> from skbag import embedding_bag
    >>> weight = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

    Two bags of two ids:

    >>> embedding_bag([[0, 1], [2, 2]], weight)
    array([[2., 3.],
           [5., 6.]])

    Three bags, the last one empty:

    >>> embedding_bag([0, 1, 2], weight, [0, 2, 3], mode="sum")
    array([[4., 6.],
           [5., 6.],
           [0., 0.]])

    The sum beside the maximum:

    >>> embedding_bag([[0, 1]], weight, mode=["sum", "max"])
    array([[4., 6., 3., 4.]])

    A weighted mean, (3 * [1, 2] + 1 * [5, 6]) / (3 + 1):

    >>> embedding_bag([[0, 2]], weight, per_sample_weights=[[3, 1]])
    array([[2., 3.]])
    """
    backend = get_backend(device)
    table = check_weight(weight)
    modes = check_mode(mode)
    if modes == "max" and per_sample_weights is not None:
        raise ValueError("per_sample_weights must be None with mode='max': a maximum has no weights.")
    bags = bags_from_ids(
        input,
        offsets,
        num_embeddings=len(table),
        dtype=table.dtype,
        per_sample_weights=per_sample_weights,
        include_last_offset=include_last_offset,
        padding_idx=check_padding_idx(padding_idx, len(table)),
    )
    return backend.pool(bags, table, modes, check_jobs(n_jobs), _norm(max_norm, norm_type, "embedding_bag"))


def embedding(
    input: ArrayLike,  # noqa: A002
    weight: ArrayLike,
    *,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    n_jobs: int | None = None,
    device: str = "cpu",
) -> NDArray[Any]:
    r"""Look up rows of a table by id.

    This is ``weight[input]`` with every id checked, and the function behind ``torch.nn.Embedding``.

    Parameters
    ----------
    input : array-like of int, of any shape, or a column of lists
        Ids, each at least 0 and less than ``len(weight)``. Lists of different lengths, see `embedding_bag`, are taken
        as one list after the other.
    weight : array-like of shape (num_embeddings, embedding_dim)
        The table: float32 or float64; or float16, bfloat16 (of ml_dtypes) or a `QuantizedTable`, which are read as
        float32. It is never written to. An array in C order is not copied.
    padding_idx : int, default=None
        Accepted for the sake of code written for torch, where it matters to gradients only. It must name a row of the
        table and does not change the result: the row comes out as it is.
    max_norm : float, default=None
        Rows whose norm is larger come out multiplied by ``max_norm / (norm + 1e-7)``, which is the factor of torch's
        ``embedding_renorm_``. torch writes the rescaled rows into the table, this function does not. None leaves the
        rows alone.
    norm_type : float, default=2.0
        The p of the p-norm for ``max_norm``; ``numpy.inf`` is the largest absolute value.
    n_jobs : int, default=None
        Number of threads. None is 1 unless in a :func:`joblib.parallel_config` context, -1 is all processors. Ordinary
        threads are used, whatever the backend of joblib, and a call with little work runs in one. The result is the
        same to the last bit for every ``n_jobs``.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where the work is done: on the CPU, or on the GPU with the number N (0 for "cuda"). The GPU needs
        the extra ``cu13`` or ``cu12`` to be installed. The table is copied there in
        every call; an `EmbeddingBagVectorizer` keeps it there.

    Returns
    -------
    ndarray of shape (\*input.shape, embedding_dim)
        A new array with one row per id, in the dtype of ``weight``. NaN and infinity in ``weight`` come out as they
        are: they are not looked for.

    Raises
    ------
    TypeError
        If ``input`` is not of integers, or ``weight`` is of another dtype.
    ValueError
        If an id is negative or not less than ``len(weight)``, ``weight`` is not 2-D, or another argument has a value
        that it cannot have. No row outside of the table is ever read.

    See Also
    --------
    embedding_bag : The rows pooled bag by bag, without the array of all rows in between.

    References
    ----------
    .. [1] ``torch.nn.Embedding`` and ``torch.nn.functional.embedding``, PyTorch documentation.

    Examples
    --------
    >>> import numpy as np
    >>> from skbag import embedding
    >>> weight = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> embedding([[2, 0], [0, 0]], weight)
    array([[[5., 6.],
            [1., 2.]],
    <BLANKLINE>
           [[1., 2.],
            [1., 2.]]])
    """
    backend = get_backend(device)
    table = check_weight(weight)
    check_padding_idx(padding_idx, len(table))
    norm = _norm(max_norm, norm_type, "embedding")
    ragged = flattened(input, "input")
    ids = as_ids(input if ragged is None else ragged[0], "input")
    flat = frozen(ids.reshape(-1))
    bags = Bags(flat, frozen(np.array([0, flat.size], flat.dtype)), None, len(table), name="input", shape=ids.shape)
    jobs = check_jobs(n_jobs)
    rows = backend.lookup(bags, table, jobs)
    if norm is not None:
        rows *= backend.norm_factors(rows, norm, jobs)[:, None]
    return rows.reshape(*ids.shape, table.shape[1])


def bags_to_csr(
    input: ArrayLike,  # noqa: A002
    offsets: ArrayLike | None = None,
    *,
    num_embeddings: int,
    per_sample_weights: ArrayLike | None = None,
    include_last_offset: bool = False,
) -> csr_array:
    """Turn ids in one of torch's layouts into the sparse matrix whose rows are the same bags.

    Parameters
    ----------
    input : array-like of int, of shape (n_bags, n_members) or (n_ids,), or a column of lists
        Ids, each at least 0 and less than ``num_embeddings``; see `embedding_bag`.
    offsets : array-like of int, of shape (n_bags,) or (n_bags + 1,), default=None
        Where each bag starts in a 1-D ``input``; None for a 2-D ``input``.
    num_embeddings : int
        Number of columns of the matrix, which is the number of rows of the table to come.
    per_sample_weights : array-like of the shape of ``input``, or a column of lists, default=None
        Finite values to store. float16 becomes float32, other numbers than float32 become float64. None stores
        ones, in float32.
    include_last_offset : bool, default=False
        Whether ``offsets`` has one more entry, ``len(input)``, at its end.

    Returns
    -------
    scipy.sparse.csr_array of shape (n_bags, num_embeddings)
        Rows are sorted, and an id that a bag lists twice is stored once, with the sum of its weights. It shares no
        memory with the arguments.

    Raises
    ------
    TypeError
        If ``input`` or ``offsets`` are not integers, ``per_sample_weights`` are not real numbers, or
        ``num_embeddings`` is no integer.
    ValueError
        If an id is negative or not less than ``num_embeddings``, a weight is NaN or infinite, the offsets or shapes do
        not fit, or ``num_embeddings`` is less than 1.

    See Also
    --------
    embedding_bag : Pools the same layouts without a matrix in between.
    EmbeddingBagVectorizer : Pools the rows of the matrix.

    Notes
    -----
    A weight of zero is stored, and a stored zero is no member for `EmbeddingBagVectorizer`; `embedding_bag` counts
    every listed id as a member. With the same weights and mode they give the same features where no bag lists an id
    twice: a weight of zero adds nothing to any of the sums. An id that is listed twice is one member in the matrix,
    which only "sqrtn" sees, and "mean" if its weights have different signs.

    Examples
    --------
    >>> from skbag import bags_to_csr
    >>> X = bags_to_csr([0, 1, 2, 2], [0, 2], num_embeddings=4)
    >>> X.toarray()
    array([[1., 1., 0., 0.],
           [0., 0., 2., 0.]], dtype=float32)
    >>> X.nnz
    3

    Bags as a list of lists:

    >>> bags_to_csr([[0, 1], [], [2]], num_embeddings=4).toarray()
    array([[1., 1., 0., 0.],
           [0., 0., 0., 0.],
           [0., 0., 1., 0.]], dtype=float32)
    """
    constraints = {"num_embeddings": [COLUMNS]}
    validate_parameter_constraints(constraints, {"num_embeddings": num_embeddings}, caller_name="bags_to_csr")
    bags = bags_from_ids(
        input,
        offsets,
        num_embeddings=num_embeddings,
        dtype=None if per_sample_weights is not None else np.float32,
        per_sample_weights=per_sample_weights,
        include_last_offset=include_last_offset,
    )
    get_backend("cpu").check(bags, "sum")
    data = np.ones(bags.n_members, np.float32) if bags.weights is None else bags.weights
    X = csr_array((data, bags.indices, bags.indptr), shape=(bags.n_bags, num_embeddings), copy=True)
    X.sum_duplicates()
    return X


def _norm(max_norm: float | None, norm_type: float, caller: str) -> tuple[float, float] | None:
    if max_norm is None:
        return None
    validate_parameter_constraints(NORM, {"max_norm": max_norm, "norm_type": norm_type}, caller_name=caller)
    return float(max_norm), float(norm_type)
