"""EmbeddingBagRegressor: a bag of trained vectors, then a linear layer that predicts numbers."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import StrOptions

from skbag._data.targets import Scale
from skbag._estimators.arrays import ArraysMixin
from skbag._estimators.compact import CompactMixin
from skbag._estimators.explain import ExplainedMixin
from skbag._estimators.linear import LinearMixin
from skbag._estimators.regressing import TrainedRegressor
from skbag._rules.losses import REGRESSION

Array = NDArray[Any]


class EmbeddingBagRegressor(RegressorMixin, ExplainedMixin, LinearMixin, ArraysMixin, CompactMixin, TrainedRegressor):
    """Train a table of vectors and a linear layer on pooled bags, to predict numbers.

    The rows e_i of a table are pooled into the features h of a bag, as `EmbeddingBagVectorizer` does it, and a linear
    layer predicts ``h @ coefs_[0] + intercepts_[0]``, or the exponential of that for counts; or several layers do, with
    ``hidden_layer_sizes``. Table and layers are trained together, as those of `EmbeddingBagClassifier`, whose page says
    more about most of the parameters.

    Parameters
    ----------
    embedding_dim : int or "auto", default="auto"
        Number of features, the width of a drawn table. "auto" takes the next power of two of the number of outputs, at
        least 16 and at most 256: where outputs are sums over the members, each has a direction of its own then, and
        more columns add nothing. It is 64 with ``freeze=True``, ``interaction`` or hidden layers, and in the mode
        "max". When ``init`` is a table, its own width counts.
    mode : {"sum", "mean", "sqrtn", "max"} or list of them, default="sqrtn"
        How the members of a bag become one row:

        - "sum": ``sum(w * e_i)``.
        - "mean": ``sum(w * e_i) / sum(abs(w))``. With counts in X this is the hidden layer of fastText.
        - "sqrtn": ``sum(w * e_i) / sqrt(sum(w ** 2))``. It does not change when a row of X is multiplied by a positive
          number, so counts, TF-IDF rows and rows of zeros and ones can share a learning rate. On rows with an L2 norm
          of 1 it is the same as "sum".
        - "max": the largest of the e_i, column by column. The weights only decide which columns are members. The
          gradient of a column goes to the member that won, the one of the first column of X in a tie.
    fields : sequence of int or mapping of str to slice, default=None
        Groups of consecutive columns, each of which is pooled by itself; what comes of them stands side by side, and
        the layer has weights for each. Numbers of columns, which add up to those of X; or slices of columns by name,
        such as ``output_indices_`` of a fitted ColumnTransformer (empty ones do not count). Categories then do not mix
        into one vector. None is one group.
    interaction : {"fm"} or None, default=None
        "fm" puts pairs of members beside the sum, as a factorization machine (S. Rendle, 2010): with s the sum of a row
        and q the sum of the squares of its weighted e_i, the block ``(s * s - q) / 2``, which is the sum over all pairs
        of the products of their rows, column by column. The layer has weights for it as for the sum, and all is trained
        in one
        step. Where there are ``fields``, each has a block ``(s_f * s - q_f) / 2`` with s the sum over all fields: half
        of every pair with a member of the field. Needs one mode of "sum", "mean" and "sqrtn"; "sum" is Rendle's.
    init : {"uniform", "normal"}, array-like of shape (n_features, embedding_dim) or path, default="uniform"
        The table before training.

        - "uniform" draws from U(-1/embedding_dim, 1/embedding_dim), as fastText does.
        - "normal" draws from N(0, 1), as torch does.
        - An array, or the path of an ``.npy`` file with ``dtype`` in C order, or of a ``.safetensors`` file. Training
          works on a copy: neither the array nor the file is written to. scikit-learn's ``clone`` copies arrays but not
          files, so a path is what suits a search.
    freeze : bool, default=False
        Whether the table stays as it is, but for ``max_norm``, and the layers alone are trained. With one layer that is
        a convex problem, and `fit` solves it as one: by L-BFGS on the pooled features, scaled to a mean of 0 and a
        standard deviation of 1, with ``alpha`` as the penalty of the weights of these. Neither the scale of the table
        nor a part that all its rows have in common then matters. It needs the pooled features of all rows of X in
        memory; ``max_iter`` bounds its iterations ("auto" is 100), and what else is about steps has no effect.
        `partial_fit` makes the steps of the solver.
    hidden_layer_sizes : int or array-like of int, default=()
        Numbers of units of hidden layers between the features and the outputs, from the first to the last, as in
        MLPRegressor. None by default: an output is then a sum over the members of a row, which
        `contributions`, `top_features` and `to_linear` need.
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        What a hidden unit makes of its sum z: z, ``1 / (1 + exp(-z))``, ``tanh(z)`` or ``max(0, z)``.
    per_sample_weights : bool, default=True
        Whether the values of X weigh the members. If False, every stored nonzero counts as 1.
    padding_idx : int, default=None
        A column whose members are left out, of the reduction as of every denominator. Its row of the table is not
        trained. A drawn table has zeros in it, a given one keeps what it has, but for ``max_norm``. A negative index
        counts from the last column, as in torch.
    max_norm : float, default=None
        Rows of the table whose norm is larger are multiplied by ``max_norm / (norm + 1e-7)``: all rows before the first
        step, and the rows that a mini-batch names after its step. None leaves the rows alone.
    norm_type : float, default=2.0
        The p of the p-norm for ``max_norm``; ``numpy.inf`` is the largest absolute value.
    scale_grad_by_freq : bool, default=False
        Whether the gradient of a row of the table is divided by the number of members that name the row in the
        mini-batch.
    loss : {"squared_error", "absolute_error", "huber", "poisson"}, default="squared_error"
        What an output z costs where the target is t, both scaled as the notes say; added up over the outputs.

        - "squared_error": ``(z - t) ** 2 / 2``. Predicts means.
        - "absolute_error": ``abs(z - t)``. Predicts medians, and does not mind outliers.
        - "huber": the former where ``abs(z - t) <= 1.35``, else ``1.35 * (abs(z - t) - 0.675)``: 1.35 is in units of
          the scale, about one standard deviation of y.
        - "poisson": ``exp(z) - t * z``, for counts and other targets that are not negative; the prediction is the
          exponential of the output.
    solver : {"sgd", "rowwise_adagrad", "adagrad", "adam"}, default="rowwise_adagrad"
        How a row r of the table, or the weights of an output, change. The gradient g is first summed over the whole
        mini-batch, and then the row changes once. See the notes for the rules. "adagrad" and "adam" keep one and two
        numbers for each number of the table, "rowwise_adagrad" one for each row.
    learning_rate : {"linear", "constant"}, default="linear"
        The rate of the steps of `fit`. "linear" falls with every mini-batch, in a straight line from
        ``learning_rate_init`` before the first one to 0 after the last one of epoch ``max_iter``. "constant" is
        ``learning_rate_init`` throughout. `partial_fit` cannot know where its stream ends and always uses "constant".
    learning_rate_init : float or "auto", default="auto"
        The first learning rate; a plain factor of the step, without a unit. With the solver "rowwise_adagrad" and a
        table that learns, this is the rate of the table, "auto" is 0.3, and the rate of the linear layer is half of it.
        It then follows what X and ``init`` bring: where the modes "mean" and "sum" make pooled rows shorter than
        "sqrtn" would, as a mean over up to 256 rows to train on, of the first X, rows of the table learn to be longer,
        and where they, or the rows of ``init``, are longer, the layer is shorter; with an ``interaction``, drawn rows
        are. So what is learnt depends on no scale, in a "sum" from 1e-6 to 1e6, beyond which `fit` warns; of several
        modes the longest counts. The mean is geometric, and for a "sum" the root
        mean square, where a value counts as three times the median at most, as a column of another scale is to leave
        room for the others. A number is taken as it is: for the "mean" of 100 members "auto" is ten times 0.3. With
        hidden layers "auto" is 0.6 times as large, their rates are 0.02 times that, and the rate of the last layer is
        what it is without them. Otherwise there is one rate, and "auto" is 0.05 for "rowwise_adagrad" and "adagrad",
        0.003 for "adam" and 0.02 for "sgd".
    alpha : float or "auto", default="auto"
        Strength of the L2 penalty: ``alpha`` times the row is added to its gradient; "auto" is 1e-4. The penalty
        acts on the rows of the table that a mini-batch names, once per mini-batch, and on ``coefs_`` where their length
        is not held. A row that is rarely named is rarely made smaller. ``loss_curve_`` does not contain the penalty.
    batch_size : int, default=16
        Number of rows of X per step. More rows than there are to train on mean all of them, and give the same bytes as
        their number does. Threads share the work of one mini-batch and wait for one another twice in each; no more
        are used than a mini-batch has work for, some 33,000 multiplications each.
    max_iter : int or "auto", default="auto"
        Number of epochs of `fit`, if nothing stops it earlier. An epoch goes once through the rows of X. "auto" takes
        fewer the more rows there are to train on: ``38 / n_samples ** 0.3``, rounded, and at least 1. That is 10 for
        100 rows, 5 for 1,000, 2 for 10,000 and 1 for 100,000; rows of weight 0 or held out do not count. It was found
        for the mode "sqrtn" and serves "mean" and "sum", too; "max" wants more epochs. ``n_iter_`` says how many there
        were. `partial_fit` makes one epoch per call.
    shuffle : bool, default=True
        Whether the rows are put into a new random order before every epoch, in `partial_fit` too.
    tol : float, default=None
        `fit` stops early when for ``n_iter_no_change`` epochs in a row the loss of the epoch was not more than ``tol``
        below the lowest one before. With None the loss does not stop it. With ``early_stopping`` the same rule looks at
        the score, and None counts as 0.
    early_stopping : bool, default=False
        Whether `fit` looks at rows that it does not train on, ``X_val`` or a part of X that is held out, and stops when
        their score has not grown by more than ``tol`` for ``n_iter_no_change`` epochs in a row. At the end the
        model is the one of the epoch with the highest score. `partial_fit` refuses it.
    scoring : str or callable, default="loss"
        What ``early_stopping`` looks at. "loss" is the negative mean of the losses, weighted by ``sample_weight``;
        else a name or a function as for ``sklearn.model_selection.cross_val_score``, which gets ``sample_weight`` if
        it takes that; None is `score`.
    validation_fraction : float, default=0.1
        The share of the rows held out, between 0 and 1; a part of a row counts as one. Only used with
        ``early_stopping`` and without ``X_val``.
    n_iter_no_change : int, default=2
        Number of epochs in a row without an improvement after which `fit` stops; ``numpy.inf`` never stops it. Only
        used with ``tol`` or ``early_stopping``.
    warm_start : bool, default=False
        Whether `fit` goes on from the fitted arrays and the state of the solver instead of starting anew. The outputs
        and the columns of X must be the same; ``embedding_dim``, ``init`` and ``dtype`` then stay what they were, and
        another ``solver`` begins with states of its own. The learning rate
        starts at ``learning_rate_init`` again, and the random numbers go on.
    dtype : {"float32", "float64", "float16", "bfloat16"} or dtype, default="float32"
        The dtype of the table, of the linear layer and of the results. Sums are accumulated in it, too; losses and the
        state of the solver are float64. float16 and bfloat16 are those of the table alone, in half of the memory: all
        else is float32, and a changed row is rounded up or down by chance, with the probabilities that keep its mean.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where the work is done: on the CPU, or on the GPU with the number N (0 for "cuda"). The GPU needs
        the extra ``cu13`` or ``cu12`` to be installed. Table and solver state stay there between calls;
        ``embeddings_`` is a read-only copy, made when it is asked for, and takes a new array by assignment. X may also
        be a CSR matrix on the GPU, like CuPy's; then `transform` returns an array there, all other methods return NumPy
        arrays. Some last bits differ from those of the CPU.
    n_jobs : int, default=None
        Number of threads. None is 1 unless in a :func:`joblib.parallel_config` context, -1 is all processors,
        and more than that are never used. The result is the same to the last bit for every ``n_jobs``.
    random_state : int, RandomState instance or None, default=None
        Seeds the draw of the table and of ``coefs_``, the order of the rows and the split of ``early_stopping``. Pass
        an int for the same result in every `fit`.
    verbose : bool or int, default=0
        Whether `fit` and `partial_fit` print the loss of every epoch, and with ``early_stopping`` the score.

    Attributes
    ----------
    embeddings_ : ndarray of shape (n_features, embedding_dim)
        The trained table, in ``dtype``; a `QuantizedTable`, read as float32, for float16 and bfloat16.
    coefs_ : list of ndarrays of shapes (embedding_dim, n_outputs), or (n_inputs, n_units) for each layer
        The layers behind the bag, the last one, or only one, in units of y.
    intercepts_ : list of ndarrays of shape (n_outputs,), or (n_units,) for each layer
        What is added to the sums of each layer. Of the last one float64, in units of y, and with one layer all that a
        row without members has. Before training the weighted mean of y,
        its logarithm for "poisson", the weighted median for "absolute_error" and "huber".
    feature_importances_ : ndarray of shape (n_features,)
        How much a column of X can move the outputs: the lengths of the rows of ``embeddings_ @ coefs_[0]``. With hidden
        layers, the sums of the first one.
    n_iter_, loss_curve_, best_loss_, validation_scores_, best_validation_score_, best_n_iter_
        As those of `EmbeddingBagClassifier`; the losses are those of the scaled targets, see the notes.
    n_features_in_ : int
        Number of columns of X, which is the number of rows of the table.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns of X. Only after a fit on a data frame with names that are all strings.

    See Also
    --------
    EmbeddingBagClassifier : The same for classes and labels.
    sklearn.linear_model.SGDRegressor : A linear model on X itself, trained by stochastic gradient descent.

    Notes
    -----
    Training sees ``t = (y - middle) / scale`` for each output: the weighted mean of y and a power of two near its
    weighted standard deviation, or for "absolute_error" and "huber" the median and what the distance of the quartiles
    says of that deviation; for "poisson" ``t = y / scale`` with a power of two near the mean. So one learning rate fits
    targets of any size, a huge mean costs no digits, and outliers move neither. `partial_fit` learns both from its
    first batch: let that be a fair sample. The fitted arrays are in units of y: nothing has to be scaled by hand. What
    is said of memory, threads, random numbers, failed calls and callbacks at `EmbeddingBagClassifier` holds here, too.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from sklearn.pipeline import make_pipeline
    >>> from skbag import EmbeddingBagRegressor
    >>> texts = ["a great film", "great fun", "a bad film", "bad, very bad", "fun and great", "a film"]
    >>> stars = [9, 10, 3, 1, 10, 6]
    >>> model = make_pipeline(TfidfVectorizer(), EmbeddingBagRegressor(8, max_iter=60, random_state=0))
    >>> good, bad = model.fit(texts, stars).predict(["great", "bad"])
    >>> bool(good > 7 > 4 > bad)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **TrainedRegressor._parameter_constraints,
        "loss": [StrOptions(set(REGRESSION))],
    }

    def __init__(
        self,
        embedding_dim: int | str = "auto",
        *,
        mode: Any = "sqrtn",
        fields: Any = None,
        interaction: str | None = None,
        init: Any = "uniform",
        freeze: bool = False,
        hidden_layer_sizes: Any = (),
        activation: str = "relu",
        per_sample_weights: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        loss: str = "squared_error",
        solver: str = "rowwise_adagrad",
        learning_rate: str = "linear",
        learning_rate_init: float | str = "auto",
        alpha: float | str = "auto",
        batch_size: int = 16,
        max_iter: int | str = "auto",
        shuffle: bool = True,
        tol: float | None = None,
        early_stopping: bool = False,
        scoring: Any = "loss",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 2,
        warm_start: bool = False,
        dtype: DTypeLike = "float32",
        device: str = "cpu",
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: Any = 0,
    ) -> None:
        self.embedding_dim = embedding_dim
        self.mode = mode
        self.fields = fields
        self.interaction = interaction
        self.init = init
        self.freeze = freeze
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.per_sample_weights = per_sample_weights
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.loss = loss
        self.solver = solver
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.early_stopping = early_stopping
        self.scoring = scoring
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.dtype = dtype
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def from_state_dict(
        cls,
        arrays: Mapping[str, ArrayLike],
        *,
        bag: str = "embedding_bag",
        linear: str = "linear",
        mode: str,
        **params: Any,
    ) -> Self:
        """Make a regressor that is already fitted, from the arrays of an EmbeddingBag and a Linear of torch.

        Parameters
        ----------
        arrays : mapping of str to array-like
            As in `EmbeddingBagClassifier.from_state_dict`.
        bag, linear : str, default="embedding_bag" and "linear"
            What the two are called in ``arrays``.
        mode : {"sum", "mean", "sqrtn", "max"}
            How the members of a bag become one row: that of the model, which the arrays do not say. torch's default is
            "mean", that of the estimators here "sqrtn".
        **params
            Other parameters, but ``embedding_dim``, ``init`` and ``dtype``, which are those of the table.

        Returns
        -------
        EmbeddingBagRegressor
            Fitted. One row of ``"linear.weight"`` is an output of one dimension. For the loss "poisson" the outputs are
            logarithms. Later training takes the targets as they are, in the units that the layer has.

        Raises
        ------
        TypeError, ValueError
            As `EmbeddingBagClassifier.from_state_dict`.

        Examples
        --------
        >>> from skbag import EmbeddingBagRegressor
        >>> arrays = {"embedding_bag.weight": [[1.0], [2.0]], "linear.weight": [[10.0]], "linear.bias": [1.0]}
        >>> EmbeddingBagRegressor.from_state_dict(arrays, mode="mean").predict([[1, 0], [1, 1]])
        array([11., 16.])
        """

        def learnt_of(layer: Array, intercept: Array) -> tuple[Scale, Array, Array]:
            n, logarithmic = len(layer), params.get("loss") == "poisson"
            return Scale(n == 1, np.ones(n), np.zeros(n), np.zeros(n), logarithmic), layer, intercept

        return cls._from_arrays(arrays, bag, linear, {"mode": mode, **params}, learnt_of)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.positive_only = self.loss == "poisson"
        return tags
