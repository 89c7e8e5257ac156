"""EmbeddingBagClassifier: a bag of trained vectors, then a linear layer."""

import warnings
from copy import deepcopy
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from scipy.sparse import issparse
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_sample_weight

from skbag._backends import get_trainer
from skbag._data.bags import Bags, on_host
from skbag._data.limits import COUNT, NOT_NEGATIVE, POSITIVE
from skbag._data.resident import Resident
from skbag._data.table import check_weight, copied
from skbag._data.targets import Targets, check_classes, check_y, targets_of
from skbag._estimators.base import EmbeddingBagBase
from skbag._training.loop import Schedule, Stopper, default_epochs, epochs

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""


Array = NDArray[Any]

_INITIAL_STATE = 0.1  # over the square of the rows per step, as gradients are means: a row's state before training


class EmbeddingBagClassifier(ClassifierMixin, CallbackSupportMixin, EmbeddingBagBase):
    """Train a table of vectors and a linear layer on pooled bags.

    A row of X is a bag: its stored nonzeros are the members, a column index i and a weight w. The rows e_i of the table
    are pooled into the features h of the bag, as `EmbeddingBagVectorizer` does it, and a linear layer makes the logits
    ``z = coef_ @ h + intercept_``. Table and layer are trained together by stochastic gradient descent on mini-batches.
    What y is decides the number of logits and the loss of one row:

    ====================  =================  ==========================================================
    y                     logits             loss
    ====================  =================  ==========================================================
    two classes           one                binary cross-entropy: ``log(1 + exp(-z))`` if y is the
                                             second class, ``log(1 + exp(z))`` if not
    more classes          one per class      cross-entropy of the softmax: ``log(sum(exp(z))) - z[y]``
    a label indicator     one per label      the binary cross-entropies of all labels, added up
    ====================  =================  ==========================================================

    The gradient of the table is sparse. A step costs what its members cost, however many rows the table has, and a row
    that no member names keeps its bits.

    Parameters
    ----------
    embedding_dim : int, default=64
        Number of features, the width of a drawn table. When ``init`` is a table, its own width counts.
    mode : {"sum", "mean", "sqrtn", "max"}, default="sqrtn"
        How the members of a bag become one row:

        - "sum": ``sum(w * e_i)``.
        - "mean": ``sum(w * e_i) / sum(abs(w))``. With counts in X this is the hidden layer of fastText [1]_.
        - "sqrtn": ``sum(w * e_i) / sqrt(sum(w ** 2))``. It does not change when a row of X is multiplied by a positive
          number, so counts, TF-IDF rows and rows of zeros and ones can share a learning rate. On rows with an L2 norm
          of 1 it is the same as "sum".
        - "max": the largest of the e_i, column by column. The weights only decide which columns are members. The
          gradient of a column goes to the member that won, the first one in storage order in a tie.
    init : {"uniform", "normal"}, array-like of shape (n_features, embedding_dim) or path, default="uniform"
        The table before training.

        - "uniform" draws from U(-1/embedding_dim, 1/embedding_dim), as fastText does.
        - "normal" draws from N(0, 1), as torch does.
        - An array, or the path of an ``.npy`` file with ``dtype`` in C order. Training works on a copy: neither the
          array nor the file is written to. scikit-learn's ``clone`` copies arrays but not files, so a path is what
          suits a search.
    freeze : bool, default=False
        Whether the table stays as it is, but for ``max_norm``, and the linear layer alone is trained.
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
    solver : {"adagrad", "sgd"}, default="adagrad"
        How a row r of the table, or of ``coef_``, changes. Its gradient g is first summed over the whole mini-batch,
        and then the row changes once. See the notes for both rules.
    learning_rate : {"linear", "constant"}, default="linear"
        The rate of the steps of `fit`. "linear" falls with every mini-batch, in a straight line from
        ``learning_rate_init`` before the first one to 0 after the last one of epoch ``max_iter``. "constant" is
        ``learning_rate_init`` throughout. `partial_fit` cannot know where its stream ends and always uses "constant".
    learning_rate_init : float, default=0.022
        The first learning rate. A plain factor of the step, without a unit.
    alpha : float, default=1e-4
        Strength of the L2 penalty: ``alpha`` times the row is added to its gradient. It acts on the rows of the table
        that a mini-batch names and on ``coef_``, once per mini-batch, and not on ``intercept_``. A row that is rarely
        named is rarely made smaller. ``loss_curve_`` does not contain the penalty.
    batch_size : int, default=16
        Number of rows of X per step. More rows than there are to train on mean all of them, and give the same bytes as
        their number does. Threads share the work of one mini-batch and wait for one another twice in each: more than
        one can pay where mini-batches are large and processors are free.
    max_iter : int or "auto", default="auto"
        Number of epochs of `fit`, if nothing stops it earlier. An epoch goes once through the rows of X. "auto" takes
        fewer the more rows there are to train on: ``110 / n_samples ** 0.3``, rounded, and at least 1. That is 28 for
        100 rows, 14 for 1,000, 7 for 10,000, 3 for 100,000 and 2 for 1,000,000; rows of weight 0 or held out do not
        count. It was found for the modes "sqrtn" and "sum"; the others learn more slowly and want more epochs or a
        higher rate. ``n_iter_`` says how many there were. `partial_fit` makes one epoch per call.
    shuffle : bool, default=True
        Whether the rows are put into a new random order before every epoch, in `partial_fit` too.
    tol : float, default=None
        `fit` stops early when for ``n_iter_no_change`` epochs in a row the loss of the epoch was not more than ``tol``
        below the lowest one before. With None the loss does not stop it. With ``early_stopping`` the same rule looks at
        the accuracy on the rows held out, and None counts as 0.
    early_stopping : bool, default=False
        Whether `fit` holds out a part of the rows and stops when the accuracy on them has not grown by more than
        ``tol`` for ``n_iter_no_change`` epochs in a row. The split keeps the shares of the classes, unless y is a label
        indicator. The accuracy is weighted by ``sample_weight`` and ``class_weight``; of a label indicator it is the
        share of the rows with all labels right. At the end the model is the one of the epoch with the highest
        accuracy. `partial_fit` refuses it. There must be enough rows for each class to be on both sides.
    validation_fraction : float, default=0.1
        The share of the rows held out, between 0 and 1; a part of a row counts as one. Only used with
        ``early_stopping``.
    n_iter_no_change : int, default=2
        Number of epochs in a row without an improvement after which `fit` stops; ``numpy.inf`` never stops it. Only
        used with ``tol`` or ``early_stopping``.
    class_weight : dict, "balanced" or None, default=None
        A factor for ``sample_weight``, ``{class: factor}``; classes of y not in the dict have 1. "balanced" is
        ``n_samples / (n_classes * number of rows of the class)`` and not possible in `partial_fit`. A label indicator
        takes no class weights.
    warm_start : bool, default=False
        Whether `fit` goes on from the fitted arrays and the state of the solver instead of starting anew. The classes
        and the columns of X must be the same; ``embedding_dim``, ``init`` and ``dtype`` then stay what they were. The
        learning rate starts at ``learning_rate_init`` again.
    dtype : {"float32", "float64"} or dtype, default="float32"
        The dtype of the table, of the linear layer and of the results. Sums are accumulated in it, too; losses and the
        state of the solver are float64.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where the work is done: on the CPU, or on the GPU with the number N (0 for "cuda"). The GPU needs
        ``skbag[cu13]`` or ``skbag[cu12]`` to be installed. Table and solver state stay there between calls;
        ``embeddings_`` is a read-only copy, made when it is asked for, and takes a new array by assignment. X may also
        be a CSR matrix on the GPU, like CuPy's; then `transform` returns an array there, all other methods return NumPy
        arrays. Some last bits differ from those of the CPU.
    n_jobs : int, default=None
        Number of threads. None is 1 unless in a :func:`joblib.parallel_config` context, -1 is all processors,
        and more than that are never used. The result is the same to the last bit for every ``n_jobs``.
    random_state : int, RandomState instance or None, default=None
        Seeds the draw of the table and of ``coef_``, the order of the rows and the split of ``early_stopping``. Pass an
        int for the same result in every `fit`.
    verbose : bool or int, default=0
        Whether `fit` and `partial_fit` print the loss of every epoch, and with ``early_stopping`` the accuracy.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted; for a label indicator the numbers of its columns.
    embeddings_ : ndarray of shape (n_features, embedding_dim)
        The trained table, in ``dtype``.
    coef_ : ndarray of shape (n_outputs, embedding_dim)
        The linear layer: one row per class or label, and one in all for two classes. Before training they are random
        directions, orthogonal to one another if there are no more than ``embedding_dim``, and
        ``min(n_outputs ** 0.75, 10)`` long; if there are more, that is the root of the mean of their squared lengths.
    intercept_ : ndarray of shape (n_outputs,)
        What is added to the logits, and all that a row without members has. Before training it predicts the shares of
        the classes or labels among the rows of the first call: with n1 the weight of the rows that have one and n0 of
        those that have not, in units of their mean weight, ``log(n1 + 0.5)`` less the logarithm of the sum of these
        over the classes, or ``log((n1 + 0.5) / (n0 + 0.5))`` for two classes and for labels.
    n_iter_ : int
        Number of epochs of the last call: 1 after `partial_fit`. With ``early_stopping`` the model may be that of an
        earlier one.
    loss_curve_ : list of float
        The loss of each epoch, with those of earlier calls of `partial_fit`, or of `fit` with ``warm_start``: the mean
        over its rows of weight times loss, taken before the step of the mini-batch that the row is in.
    n_features_in_ : int
        Number of columns of X, which is the number of rows of the table.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns of X. Only after a fit on a data frame with names that are all strings.

    See Also
    --------
    EmbeddingBagVectorizer : Pools with a table that is drawn or given, and not trained.
    sklearn.linear_model.SGDClassifier : A linear model on X itself, trained by stochastic gradient descent.
    sklearn.neural_network.MLPClassifier : Hidden layers with activations, trained with dense gradients.

    Notes
    -----
    The loss of a mini-batch is ``sum(weight * loss) / n`` over its n rows. The weight is ``sample_weight`` times
    ``class_weight``. `fit` divides the weights by their mean, so that multiplying them all by a number changes nothing;
    `partial_fit` sees one batch at a time and takes them as they are.

    With the gradient g of a row r, ``alpha * r`` included, and the learning rate ``lr``, the solvers are

    - "sgd": ``r -= lr * g``. This is ``torch.optim.SGD`` on ``nn.EmbeddingBag(sparse=True)`` [2]_; but the penalty
      shrinks a row by ``max(0, 1 - lr * alpha)``, as in SGDClassifier, so that a large ``alpha`` does not diverge.
    - "adagrad": ``G += mean(g ** 2)``, then ``r -= lr / (sqrt(G) + 1e-10) * g``. It is row-wise, as in FBGEMM [3]_: one
      number G per row, ``0.1 / batch_size ** 2`` before training, or with the number of rows to train on if that is
      smaller; `partial_fit` counts those of the first call. The entries of ``intercept_`` have a G each. Steps
      become shorter the more gradient a row has seen. What G is at first keeps a row that is named two or three times
      in all, of which texts have many, from long steps on little evidence.

    The arrays above and the state of the solver are the model. Writing into ``embeddings_``, ``coef_`` or
    ``intercept_`` takes effect, in the predictions as in later training. Where they are read-only, because joblib
    mapped them from a file, `partial_fit` makes copies once.

    The same ``random_state`` gives the same bytes in every run, for every ``n_jobs``: every row of the table has one
    writer, which adds up in the order of the rows of X. What is not guaranteed: two machines may differ in the last
    bits, because the order of the additions follows the width of their vector registers. And a row with the weight 2 is
    not the same, to the last bit, as the row given twice, since that makes other mini-batches.

    A call that fails leaves the estimator as it was.

    Beside X, `fit` needs the table, one float64 per row of it for the solver, some numbers per row of X, and memory for
    one mini-batch. The values of X are converted first if they do not have ``dtype``: one number per member.
    ``early_stopping`` keeps a second table, the best so far, and copies the rows held out. `partial_fit` keeps a copy
    of the rows of the table that its batch names until it is done. There is no dense copy of X, and no array of one
    vector per member.

    With scikit-learn 1.9 or newer `fit` takes part in callbacks, with one task per epoch. `set_callbacks` then takes a
    progress bar or a scoring monitor.

    References
    ----------
    .. [1] A. Joulin, E. Grave, P. Bojanowski, T. Mikolov: Bag of Tricks for Efficient Text Classification, 2017.
    .. [2] ``torch.nn.EmbeddingBag`` and ``torch.optim.SGD``, PyTorch documentation.
    .. [3] ``EXACT_ROWWISE_ADAGRAD``, FBGEMM documentation. On Adagrad itself: J. Duchi, E. Hazan, Y. Singer: Adaptive
       Subgradient Methods for Online Learning and Stochastic Optimization, 2011.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from sklearn.pipeline import make_pipeline
    >>> from skbag import EmbeddingBagClassifier
    >>> texts = ["the cat sat on the mat", "dogs and cats", "stocks fell sharply", "markets and stocks"]
    >>> topics = ["pets", "pets", "money", "money"]
    >>> model = make_pipeline(TfidfVectorizer(), EmbeddingBagClassifier(8, random_state=0))
    >>> model.fit(texts, topics).predict(["a cat on a mat", "stocks and markets fell"])
    array(['pets', 'money'], dtype='<U5')

    Labels that are not exclusive, as an indicator matrix:

    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> X = csr_array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]])
    >>> Y = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    >>> EmbeddingBagClassifier(8, random_state=0).fit(X, Y).predict([[3, 2, 0], [0, 2, 0]])
    array([[1, 1],
           [0, 1]])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **EmbeddingBagBase._parameter_constraints,
        "freeze": ["boolean"],
        "scale_grad_by_freq": ["boolean"],
        "solver": [StrOptions({"adagrad", "sgd"})],
        "learning_rate": [StrOptions({"linear", "constant"})],
        "learning_rate_init": [POSITIVE],
        "alpha": [NOT_NEGATIVE],
        "batch_size": [COUNT],
        "max_iter": [COUNT, StrOptions({"auto"})],
        "shuffle": ["boolean"],
        "tol": [NOT_NEGATIVE, None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [COUNT, Options(Real, {np.inf})],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        embedding_dim: int = 64,
        *,
        mode: str = "sqrtn",
        init: Any = "uniform",
        freeze: bool = False,
        per_sample_weights: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        solver: str = "adagrad",
        learning_rate: str = "linear",
        learning_rate_init: float = 0.022,
        alpha: float = 1e-4,
        batch_size: int = 16,
        max_iter: int | str = "auto",
        shuffle: bool = True,
        tol: float | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 2,
        class_weight: Any = None,
        warm_start: bool = False,
        dtype: DTypeLike = "float32",
        device: str = "cpu",
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: Any = 0,
    ) -> None:
        self.embedding_dim = embedding_dim
        self.mode = mode
        self.init = init
        self.freeze = freeze
        self.per_sample_weights = per_sample_weights
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.solver = solver
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.dtype = dtype
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on X and y, from the start or, with ``warm_start``, from where the estimator is.

        Rows whose weight is 0 are left out.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Real and finite. CSR is taken as it is, anything else is converted to CSR.
        y : array-like of shape (n_samples,) or {array-like, sparse matrix} of shape (n_samples, n_labels)
            Two or more classes, or a label indicator of zeros and ones with two or more columns, which may be sparse.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative. They are divided by their mean; None is 1 for every row.

        Returns
        -------
        EmbeddingBagClassifier
            The fitted estimator itself.

        Raises
        ------
        ValueError
            If X has no rows, contains NaN, infinity or complex numbers, or its index arrays are not those of a sparse
            matrix; if y has another length, is continuous or has one class only; if a weight is negative, not finite,
            or all are 0; if ``early_stopping`` cannot hold out samples of every class; if ``init`` is no table of
            finite numbers with one row per column of X; if a parameter has a value that it cannot have; if with
            ``warm_start`` the classes are others than before. Also if the loss becomes infinite or NaN: the message
            then says which parameter to change.

        Warns
        -----
        ConvergenceWarning
            If ``tol`` is set, ``learning_rate`` is "constant", and epoch ``max_iter`` has come without a stop.
        """
        warm = self.warm_start and hasattr(self, "coef_")
        fitted = self._snapshot()
        bags = fitted._check_bags(X, reset=not warm)
        classes, labels = check_y(y, None, bags.n_bags)
        if warm:
            fitted._check_same_kind(labels)
            if not np.array_equal(classes, fitted.classes_):
                raise ValueError(f"warm_start needs the classes of the first fit, {fitted.classes_}, got {classes}.")
        weights = fitted._check_weights(sample_weight, labels, classes, bags.n_bags)
        if not weights.any():
            raise ValueError("sample_weight times class_weight must be larger than 0 for at least one sample.")
        weights = weights / weights.max()  # or their sum could be infinite
        weights = weights / weights[weights > 0].mean()
        rng = check_random_state(fitted.random_state)
        targets = targets_of(labels, classes)
        n_used = fitted._n_used(weights)
        model = fitted._model().copy() if warm else fitted._new_model(bags, targets, weights, n_used, rng)
        progress = _Progress(self, X, y, sample_weight)
        losses = fitted._train(bags, targets, labels, classes, weights, model, rng, progress)
        fitted._keep(model, classes, labels, deepcopy(rng), losses, fitted.loss_curve_ if warm else [])
        self.__dict__ = self._with_fit_of(fitted)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch on one batch of a stream, at the constant rate ``learning_rate_init``.

        The batch may have any number of rows. It is cut into mini-batches of ``batch_size``, and each makes one step.
        The state of the solver and of the random numbers goes on from call to call, and is pickled with the estimator.
        With ``shuffle=False`` and ``learning_rate="constant"``, `fit` of k epochs gives the same bytes as k calls on
        the same X and y without weights. `partial_fit` after `fit` goes on from its result. ``max_iter``,
        ``learning_rate``, ``tol`` and ``warm_start`` have no effect here.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Real and finite, with the same columns in every call.
        y : array-like of shape (n_samples,) or {array-like, sparse matrix} of shape (n_samples, n_labels)
            Classes, not necessarily all of them, or a label indicator of zeros and ones with two or more columns.
        classes : array-like of shape (n_classes,), default=None
            All classes that the stream will bring. Needed in the first call, unless y is a label indicator; may be left
            out afterwards.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative. They are taken as they are, so they are also factors of the learning rate
            of "sgd". None is 1 for every row.

        Returns
        -------
        EmbeddingBagClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            As in `fit`; also if ``classes`` is missing in the first call or changes later, if y has a class that is not
            among them, or with ``class_weight="balanced"`` or ``early_stopping=True``. The estimator is then as it was
            before the call, and the stream can go on.

        Examples
        --------
        >>> from sklearn.feature_extraction.text import HashingVectorizer
        >>> from skbag import EmbeddingBagClassifier
        >>> hashing = HashingVectorizer(n_features=2**10)
        >>> model = EmbeddingBagClassifier(8, learning_rate_init=0.5, random_state=0)
        >>> stream = [(["cats and dogs", "stocks fell"], [0, 1]), (["the cat sat", "a stock rose"], [0, 1])] * 10
        >>> for texts, topics in stream:
        ...     model = model.partial_fit(hashing.transform(texts), topics, classes=[0, 1])
        >>> model.predict(hashing.transform(["cats sat", "stocks rose"]))
        array([0, 1])
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. In order to use 'balanced' weights, "
                "compute them from all labels with sklearn.utils.compute_class_weight and pass them as a dict."
            )
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True.")
        first = not hasattr(self, "coef_")
        fitted = self._snapshot()
        bags = fitted._check_bags(X, reset=first)
        known, labels = check_y(y, fitted._known_classes(y, classes, first), bags.n_bags)
        if not first:
            fitted._check_same_kind(labels)
        if issparse(labels) and labels.shape[1] != len(known):
            raise ValueError(f"y must have one column per label, {len(known)}, got {labels.shape[1]}.")
        weights = fitted._check_weights(sample_weight, labels, known, bags.n_bags)
        targets = targets_of(labels, known)
        rng = check_random_state(fitted.random_state) if first else deepcopy(fitted._rng)
        model = fitted._new_model(bags, targets, weights, bags.n_bags, rng) if first else fitted._model()
        trainer = fitted._trainer(bags, targets, weights, model)
        schedule = Schedule("constant", fitted.learning_rate_init, 1, 1)
        undo = model.undo_of(bags.indices[: bags.n_members])
        attributes = None
        try:
            losses = list(epochs(trainer, np.arange(bags.n_bags), schedule, fitted.shuffle, rng))
            if fitted.verbose:
                print(f"Epoch {len(fitted.loss_curve_) + 1 if not first else 1}, loss {losses[0]:.6f}")
            rng = deepcopy(rng) if first else rng  # the caller's, or NumPy's, goes on without this stream
            fitted._keep(model, known, labels, rng, losses, [] if first else fitted.loss_curve_)
            attributes = self._with_fit_of(fitted)
            self.__dict__ = attributes
        except BaseException:
            if self.__dict__ is not attributes:
                undo()
            raise
        return self

    def _known_classes(self, y: Any, classes: ArrayLike | None, first: bool) -> Array | None:
        """Return the classes of a partial_fit; None where only a label indicator y can tell."""
        given = None if classes is None else check_classes(classes)
        if first:
            if given is None and type_of_target(y) != "multilabel-indicator":
                raise ValueError("classes must be passed on the first call to partial_fit.")
            return given
        if given is not None and not np.array_equal(given, self.classes_):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}. "
                "Classes cannot be added: name all in the first call, or make a new estimator with "
                "init=model.embeddings_."
            )
        return self.classes_

    def _check_same_kind(self, labels: Any) -> None:
        if issparse(labels) != self._multilabel:
            kinds = "class labels", "a label indicator"
            raise ValueError(f"y must be {kinds[self._multilabel]} as before, got {kinds[issparse(labels)]}.")

    def _check_weights(self, sample_weight: ArrayLike | None, labels: Any, classes: Array, n_samples: int) -> Array:
        """Return one weight per sample: sample_weight times class_weight."""
        try:
            weights = _check_sample_weight(sample_weight, range(n_samples), dtype=np.float64, ensure_non_negative=True)
        except OverflowError:
            raise ValueError("sample_weight must be finite in float64, and contains a larger integer.") from None
        if self.class_weight is None:
            return weights
        if issparse(labels):
            raise ValueError("class_weight is not supported for a label indicator y.")
        try:
            of_class = compute_class_weight(self.class_weight, classes=classes, y=classes[labels])
        except OverflowError:  # an integer that no float can hold
            of_class = np.array([np.inf])
        if not (np.isfinite(of_class).all() and (of_class >= 0).all()):
            raise ValueError(f"class_weight must be finite and not negative, got {self.class_weight!r}.")
        return weights * of_class[labels]

    def _n_used(self, weights: Array) -> int:
        """Return how many rows fit trains on; 1 where there are none, for `_split` to say so."""
        n_rows = int(np.count_nonzero(weights))
        n_held_out = int(np.ceil(self.validation_fraction * n_rows)) if self.early_stopping else 0
        return max(1, n_rows - n_held_out)

    def _new_model(self, bags: Bags, targets: Targets, weights: Array, n_used: int, rng: np.random.RandomState) -> Any:
        table = self._new_table(bags, rng)
        if not (isinstance(self.init, str) and self.init in ("normal", "uniform")):
            table = copied(table)  # training writes into it, and it may be the caller's
        (n_rows, dim), n_outputs = table.shape, targets.n_outputs
        linear = targets.initial_coef(dim, rng), targets.initial_intercept(weights)
        coef, intercept = (np.ascontiguousarray(array, table.dtype) for array in linear)
        state = _INITIAL_STATE / min(int(self.batch_size), n_used) ** 2
        states = np.full(n_rows, state), np.full(n_outputs, state), np.full(n_outputs, state)
        return get_trainer(self.device).Model(table, coef, intercept, *states)

    def _model(self) -> Any:
        """Return the fitted arrays to train on; writable copies where they are not (memory-mapped ones)."""
        names = "embeddings_", "coef_", "intercept_"
        fitted = [vars(self)[name] for name in names]  # embeddings_ itself would fetch the table from a GPU
        if not isinstance(fitted[0], Resident):
            check_weight(fitted[0], "embeddings_")
        n_outputs, dim = self._coef_shape
        shapes = (self.n_features_in_, dim), (n_outputs, dim), (n_outputs,)
        for name, array, shape in zip(names, fitted, shapes, strict=True):
            if np.shape(array) != shape:
                raise ValueError(f"{name} must have the shape {shape}, got {np.shape(array)}.")
        return get_trainer(self.device).Model.from_fitted((*fitted, *self._solver_state), fitted[0].dtype)

    def _keep(
        self, model: Any, classes: Array, labels: Any, rng: Any, losses: list[float], earlier: list[float]
    ) -> None:
        self.embeddings_, self.coef_, self.intercept_ = model.table, model.coef, model.intercept
        self._solver_state = model.table_state, model.coef_state, model.intercept_state
        self.classes_, self._multilabel = classes, issparse(labels)
        self._rng, self._coef_shape = rng, model.coef.shape
        self.loss_curve_, self.n_iter_ = [*earlier, *losses], len(losses)

    def _trainer(self, bags: Bags, targets: Targets, weights: Array, model: Any) -> Any:
        module = get_trainer(self.device)
        norm = None if self.max_norm is None else (float(self.max_norm), float(self.norm_type))
        objective = module.Objective(
            self.mode, targets.loss, self.solver, self.alpha, norm, self.scale_grad_by_freq, self.freeze
        )
        arrays = bags, targets.indices, targets.indptr, weights
        return module.Trainer(*arrays, model, objective, int(self.batch_size), self.n_jobs)

    def _train(
        self, bags: Bags, targets: Targets, labels: Any, classes: Array, weights: Array, model: Any, rng: Any,
        progress: "_Progress",
    ) -> list[float]:  # fmt: skip
        """Run the epochs of fit on the model, and return the loss of each."""
        used = np.flatnonzero(weights)
        if self.early_stopping:
            used, held_out = self._split(used, labels, rng)
        trainer = self._trainer(bags, targets, weights, model)
        n_batches = -(-len(used) // min(int(self.batch_size), bags.n_bags))
        n_epochs = default_epochs(len(used)) if isinstance(self.max_iter, str) else int(self.max_iter)
        schedule = Schedule(self.learning_rate, self.learning_rate_init, n_epochs, n_batches)
        stopper = Stopper(self.tol or 0.0, self.n_iter_no_change)
        losses: list[float] = []
        best: Any = None
        stopped = False
        progress.n_epochs = n_epochs
        progress.fitted |= {name: value for name, value in vars(self).items() if name.endswith("_in_")}
        with progress:
            for loss in epochs(trainer, used, schedule, self.shuffle, rng):
                losses.append(loss)
                value = loss
                if self.early_stopping:
                    value = -self._accuracy(trainer, model, held_out, labels, classes, weights)
                stopped = stopper.update(value) and (self.early_stopping or self.tol is not None)
                if self.early_stopping and stopper.improved:
                    best = [array.copy() for array in model.arrays()]
                if self.verbose:
                    score = f", validation accuracy {-value:.4f}" if self.early_stopping else ""
                    print(f"Epoch {len(losses)}, loss {loss:.6f}{score}")
                if progress.epoch(model, classes, issparse(labels), losses) or stopped:
                    stopped = True
                    break
        if best is not None:
            for array, kept in zip(model.arrays(), best, strict=True):
                array[:] = kept
        if not stopped and self.tol is not None and self.learning_rate == "constant":
            warnings.warn(
                f"Maximum number of iterations ({n_epochs}) reached, and never {self.n_iter_no_change} epochs in a row "
                f"without an improvement by more than tol={self.tol}. Increase max_iter or tol.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return losses

    def _split(self, rows: Array, labels: Any, rng: Any) -> tuple[Array, Array]:
        stratify = None if issparse(labels) else labels[rows]
        share = self.validation_fraction
        try:
            used, held_out = train_test_split(rows, test_size=share, stratify=stratify, random_state=rng)
        except ValueError:
            n_held_out = int(np.ceil(share * len(rows)))
            needs = "a sample on each side"  # of the split
            if stratify is not None:
                counts = np.bincount(stratify)
                needs = f"a sample of each of the {len(counts)} classes on each side; the rarest has {counts.min()}"
            raise ValueError(
                f"early_stopping with validation_fraction={share} holds out {n_held_out} of {len(rows)} samples, "
                f"and needs {needs}."
            ) from None
        return np.sort(used), np.sort(held_out)

    def _accuracy(self, trainer: Any, model: Any, rows: Array, labels: Any, classes: Array, weights: Array) -> float:
        """Return the weighted share of the rows whose labels are all predicted."""
        logits = trainer.pool(rows) @ model.coef.T + model.intercept
        if issparse(labels):
            right = ((logits > 0) == labels[rows].toarray()).all(axis=1)
        else:
            right = _classes_of(logits, np.arange(len(classes))) == labels[rows]
        return float(np.average(right, weights=weights[rows]))

    def decision_function(self, X: Any) -> Array:
        """Return the logits: ``transform(X) @ coef_.T + intercept_``.

        A row without members has the logits ``intercept_``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Real and finite. CSR is taken as it is, anything else is converted to CSR. No rows are fine.

        Returns
        -------
        ndarray of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            With two classes one number per row, positive for ``classes_[1]``; else one per class or label. In the dtype
            of the table.

        Raises
        ------
        NotFittedError
            Before `fit` or `partial_fit`.
        ValueError
            If X has another number of columns than in `fit`, contains NaN, infinity or complex numbers, or its index
            arrays are not those of a sparse matrix. The message names the row and the id.
        """
        return self._fitted_snapshot()._logits(X)

    def _logits(self, X: Any) -> Array:
        logits = on_host(self._pool(X)) @ self.coef_.T + self.intercept_
        return logits.ravel() if self._is_binary() else logits

    def predict(self, X: Any) -> Array:
        """Return the class with the largest logit, or every label whose probability is above one half.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            As in `decision_function`.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Classes; for a label indicator a dense array of zeros and ones. In a tie the first class.
        """
        fitted = self._fitted_snapshot()
        logits = fitted._logits(X)
        if fitted._multilabel:
            return (logits > 0).astype(np.int64)
        return _classes_of(logits[:, None] if logits.ndim == 1 else logits, fitted.classes_)

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, or of each label.

        The softmax of the logits, or the sigmoid of each where there is one logit or y was a label indicator.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            As in `decision_function`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Columns in the order of ``classes_``, in the dtype of the table. The rows of classes sum to 1, those of
            labels do not.
        """
        fitted = self._fitted_snapshot()
        logits = fitted._logits(X)
        if fitted._multilabel:
            return expit(logits)
        return np.stack([expit(-logits), expit(logits)], axis=1) if fitted._is_binary() else softmax(logits, axis=1)

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of `predict_proba`, exact where that is close to 0.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            As in `decision_function`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Finite, even where the probability is too small for its dtype.
        """
        fitted = self._fitted_snapshot()
        logits = fitted._logits(X)
        if fitted._multilabel:
            return log_expit(logits)
        if fitted._is_binary():
            return np.stack([log_expit(-logits), log_expit(logits)], axis=1)
        return log_softmax(logits, axis=1)

    def _is_binary(self) -> bool:
        return not self._multilabel and len(self.classes_) == 2

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class _Progress:
    """scikit-learn's callbacks around fit and around each epoch; nothing before scikit-learn 1.9."""

    n_epochs: int

    def __init__(self, estimator: EmbeddingBagClassifier, X: Any, y: Any, sample_weight: Any) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.estimator = estimator
        self.call = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.context: Any = None
        self.fitted: dict[str, Any] = {}

    def __enter__(self) -> Self:
        if hasattr(self.estimator, "_init_callback_context"):
            self.context = self.estimator._init_callback_context(max_subtasks=self.n_epochs)
            self.context.call_on_fit_task_begin(**self.call)
            self._next()
        return self

    def _next(self) -> None:
        self.task = self.context.subcontext(task_name="epoch")
        self.task.call_on_fit_task_begin(**self.call)

    def epoch(self, model: Any, classes: Array, multilabel: bool, losses: list[float]) -> bool:
        """End an epoch and begin the next; return whether a callback asks to stop."""
        if self.context is None:
            return False
        self.fitted |= {"embeddings_": model.table, "coef_": model.coef, "intercept_": model.intercept}
        self.fitted |= {"classes_": classes, "_multilabel": multilabel}
        stop = self.task.call_on_fit_task_end(**self.call, reconstruction_attributes=self.fitted)
        if not stop and len(losses) < self.n_epochs:
            self._next()
        return bool(stop)

    def __exit__(self, *error: object) -> None:
        if self.context is not None and error[0] is None:
            self.context.call_on_fit_task_end(**self.call, reconstruction_attributes=self.fitted)


def _classes_of(logits: Array, classes: Array) -> Array:
    """Return the class of the largest logit; of one logit, by its sign."""
    codes = (logits[:, 0] > 0).astype(np.intp) if logits.shape[1] == 1 else logits.argmax(axis=1)
    return classes[codes]
