"""EmbeddingBagClassifier: a bag of trained vectors, then a linear layer."""

from numbers import Real
from typing import Any, ClassVar

from numpy.typing import DTypeLike
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import Interval, StrOptions

from skbag._data.limits import COUNT
from skbag._estimators.choosing import ChoosingMixin
from skbag._estimators.classifying import TrainedClassifier
from skbag._estimators.compact import CompactMixin
from skbag._estimators.deciding import DecidingMixin
from skbag._estimators.explain import ExplainedMixin
from skbag._estimators.linear import LinearMixin
from skbag._rules.losses import CLASSIFICATION


class EmbeddingBagClassifier(
    ClassifierMixin, DecidingMixin, ChoosingMixin, ExplainedMixin, LinearMixin, CompactMixin, TrainedClassifier,
):  # fmt: skip
    """Train a table of vectors and a linear layer on pooled bags.

    A row of X is a bag: its stored nonzeros are the members, a column index i and a weight w. The rows e_i of the table
    are pooled into the features h of the bag, as `EmbeddingBagVectorizer` does it, and a linear layer makes the logits
    ``z = h @ coefs_[0] + intercepts_[0]``; or several layers do, with ``hidden_layer_sizes``. Table and layers are
    trained together by stochastic gradient descent on mini-batches. What y is decides the number of logits and, for
    ``loss="log_loss"``, the loss of one row:

    ========================  =============  ==========================================================
    y                         logits         loss
    ========================  =============  ==========================================================
    two classes               one            binary cross-entropy: ``log(1 + exp(-z))`` if y is the
                                             second class, ``log(1 + exp(z))`` if not
    more classes              one per class  cross-entropy of the softmax: ``log(sum(exp(z))) - z[y]``
    probabilities of classes  one per class  cross-entropy: ``log(sum(exp(z))) - y @ z``
    a label indicator         one per label  the binary cross-entropies of all labels, added up
    ========================  =============  ==========================================================

    The other losses are added up over the logits, each class against the others.

    The gradient of the table is sparse. A step costs what its members cost, however many rows the table has, and a row
    that no member names keeps its bits.

    Parameters
    ----------
    embedding_dim : int or "auto", default="auto"
        Number of features, the width of a drawn table. "auto" takes the next power of two of the number of outputs, at
        least 16 and at most 256: where outputs are sums over the members, each has a direction of its own then, and
        more columns add nothing. It is 64 with ``freeze=True``, ``interaction`` or hidden layers, in the mode "max" and
        where ``output`` is not "full". When ``init`` is a table, its own width counts.
    mode : {"sum", "mean", "sqrtn", "max"} or list of them, default="sqrtn"
        How the members of a bag become one row:

        - "sum": ``sum(w * e_i)``.
        - "mean": ``sum(w * e_i) / sum(abs(w))``. With counts in X this is the hidden layer of fastText [1]_.
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
        "fm" puts pairs of members beside the sum, as a factorization machine [8]_: with s the sum of a row and q the
        sum of the squares of its weighted e_i, the block ``(s * s - q) / 2``, which is the sum over all pairs of the
        products of their rows, column by column. The layer has weights for it as for the sum, and all is trained in one
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
        a convex problem, and `fit` solves it as one: by L-BFGS [6]_ on the pooled features, scaled to a mean of 0 and a
        standard deviation of 1, with ``alpha`` as the penalty of the weights of these. Neither the scale of the table
        nor a part that all its rows have in common then matters. It needs the pooled features of all rows of X in
        memory; ``max_iter`` bounds its iterations ("auto" is 100), and what else is about steps has no effect.
        `partial_fit` makes the steps of the solver.
    hidden_layer_sizes : int or array-like of int, default=()
        Numbers of units of hidden layers between the features and the outputs, from the first to the last, as in
        MLPClassifier (a deep averaging network [11]_). None by default: an output is then a sum over the members of a
        row, which `contributions`, `top_features` and `to_linear` need.
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
    loss : {"log_loss", "hinge", "squared_hinge", "modified_huber"}, default="log_loss"
        What a logit z costs, with s = 1 where the row has the class or label of the logit and s = -1 where not:

        - "log_loss": see the table above. Gives probabilities.
        - "hinge": ``max(0, 1 - s * z)``, of a linear support vector machine.
        - "squared_hinge": ``max(0, 1 - s * z) ** 2``, LinearSVC's.
        - "modified_huber": the same where ``s * z >= -1``, else ``-4 * s * z`` [4]_. Gives probabilities.
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
        table that learns, this is the rate of the table, and "auto" is 0.35 for "log_loss" with two classes, 0.28 with
        more and 0.5 with labels, 0.4 for "squared_hinge" and "modified_huber" and 0.2 for "hinge"; the rate of the
        linear layer is 0.15 times as large for "log_loss", 0.2 times for "squared_hinge" and "modified_huber" and half
        of it for "hinge", which was found by cross-validation on texts. "auto" then follows what X and ``init`` bring:
        where the modes "mean" and "sum" make pooled rows shorter than "sqrtn" would, as a geometric mean over up to 256
        rows to train on, of the first X, rows of the table learn to be longer, and where they, or the rows of ``init``,
        are longer, the layer is shorter; with an ``interaction``, drawn rows are. So what is learnt depends on no
        scale, in a "sum" from 1e-6 to 1e6, beyond which `fit` warns; of several modes the longest counts. In a sum a
        value counts as three times the median at most, as a column of another scale is to leave room for the others. A
        number is taken as it is: for the "mean" of 100 members "auto" is ten times what is
        said above. With hidden layers "auto" is 0.6 times as large, their rates are 0.02 times that, and the rate of
        the last layer is what it is without them. Otherwise there is one rate, and "auto" is 0.05 for "rowwise_adagrad"
        and "adagrad", 0.003 for "adam" and 1.0 for "sgd".
    alpha : float or "auto", default="auto"
        Strength of the L2 penalty: ``alpha`` times the row is added to its gradient. "auto" is 1e-4, and 3e-5 for the
        softmax of three or more classes with the solver "rowwise_adagrad" and a table that learns, where it is less for
        rows that learn to be longer; see ``learning_rate_init``. The penalty
        acts on the rows of the table that a mini-batch names, once per mini-batch, and on ``coefs_`` where their length
        is not held. A row that is rarely named is rarely made smaller. ``loss_curve_`` does not contain the penalty.
    batch_size : int, default=16
        Number of rows of X per step. More rows than there are to train on mean all of them, and give the same bytes as
        their number does. Threads share the work of one mini-batch and wait for one another twice in each; no more
        are used than a mini-batch has work for, some 33,000 multiplications each.
    max_iter : int or "auto", default="auto"
        Number of epochs of `fit`, if nothing stops it earlier. An epoch goes once through the rows of X. "auto" takes
        fewer the more rows there are to train on: ``38 / n_samples ** 0.3``, rounded up. That is 10 for 100 rows, 5
        for 1,000, 3 for 10,000, 2 for 100,000 and 1 for 1,000,000; rows of weight 0 or held out do not count. With
        labels, other solvers and an ``output`` that is not "full" it is ``55 / n_samples ** 0.3``, rounded, and at
        least 1. It was found for the mode "sqrtn" and serves "mean" and "sum", too; "max" wants more epochs. Hidden
        layers on a frozen table get 5 times 55. ``n_iter_`` says how many there were. `partial_fit` makes one epoch
        per call.
    shuffle : bool, default=True
        Whether the rows are put into a new random order before every epoch, in `partial_fit` too.
    tol : float, default=None
        `fit` stops early when for ``n_iter_no_change`` epochs in a row the loss of the epoch was not more than ``tol``
        below the lowest one before. With None the loss does not stop it. With ``early_stopping`` the same rule looks at
        the score, and None counts as 0.
    early_stopping : bool, default=False
        Whether `fit` looks at rows that it does not train on, ``X_val`` or a part of X that is held out, and stops when
        their score has not grown by more than ``tol`` for ``n_iter_no_change`` epochs in a row. The split keeps the
        shares of the classes if y is class labels; there must then be enough rows for each class to be on both sides.
        At the end the model is the one of the epoch with the highest score. `partial_fit` refuses it.
    scoring : str or callable, default="loss"
        What ``early_stopping`` looks at. "loss" is the negative mean of the losses, weighted by ``sample_weight`` and
        ``class_weight``; else a name or a function as for ``sklearn.model_selection.cross_val_score``, which gets
        ``sample_weight`` if it takes that; None is `score`.
    validation_fraction : float, default=0.1
        The share of the rows held out, between 0 and 1; a part of a row counts as one. Only used with
        ``early_stopping`` and without ``X_val``.
    n_iter_no_change : int, default=2
        Number of epochs in a row without an improvement after which `fit` stops; ``numpy.inf`` never stops it. Only
        used with ``tol`` or ``early_stopping``.
    class_weight : dict, "balanced" or None, default=None
        A factor for ``sample_weight``, ``{class: factor}``; classes of y not in the dict have 1, but a dict that lacks
        one and names another that is not in y is an error, as in scikit-learn: it may be misspelt. "balanced" is
        ``n_samples / (n_classes * number of rows of the class)`` and not possible in `partial_fit`. A label indicator
        and probabilities take no class weights.
    threshold : float or "expected_f1", default=0.5
        Which labels `predict` gives, if y is a label indicator; of classes it is the most probable one, and a warning
        says so. A number: those whose probability is above it; with many rare labels one half leaves many rows without
        any. "expected_f1": the most probable ones, as many as make the F1 of the row largest that their probabilities
        let one expect [7]_; at least one, unless one in twenty of the rows of training had none. Nothing has to be
        chosen, or held out. Only 0.5 for the losses "hinge" and "squared_hinge", which have no probabilities; there it
        is the sign of the output that counts.
    output : {"full", "sampled", "hierarchical"}, default="full"
        Which outputs a step touches, of "log_loss" with thousands of classes or labels. `predict` and all other methods
        always go by all of them.

        - "full": all. A step costs what there are outputs.
        - "sampled": those of the rows of its mini-batch, and some ``n_negatives`` others, drawn anew for each
          mini-batch by how often they occur to the power of 3/4, as in word2vec [9]_. The logits that the loss sees are
          corrected by how probable it was that an output was drawn [10]_: what is learnt is what "full" learns, with
          some noise, and so are the probabilities. For classes, probabilities of classes and labels.
        - "hierarchical": the classes are the leaves of a binary tree, Huffman's, and each inner node says how probable
          its right branch is, as the loss "hs" of fastText does it. A step touches the nodes on the way to a class,
          some ``log2(n_classes)``. Another model than a softmax, the fastest to train, and often the less accurate one.
          For classes and probabilities of classes; labels become those if the rows of y are divided by their sums.

        It is one parameter of the output layer and no name of a ``loss``: what a row costs is the same cross-entropy.
        The last two need ``loss="log_loss"``, ``freeze=False`` and ``device="cpu"``. With two classes there is one
        output, and nothing to choose.
    n_negatives : int, default=1024
        How many points are drawn for "sampled"; outputs that come twice count once. More are slower and closer to
        "full"; as many as there are outputs or more are "full".
    warm_start : bool, default=False
        Whether `fit` goes on from the fitted arrays and the state of the solver instead of starting anew. The classes
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
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted; for a label indicator the numbers of its columns, or what `partial_fit` was told they are.
    embeddings_ : ndarray of shape (n_features, embedding_dim)
        The trained table, in ``dtype``; a `QuantizedTable`, read as float32, for float16 and bfloat16.
    coefs_ : list of ndarrays of shapes (embedding_dim, n_outputs), or (n_inputs, n_units) for each layer
        The layers behind the bag, named as in MLPClassifier. The last one, or only one, has one column per class or
        label, and one in all for two classes. Before training they are random directions, orthogonal to one another if
        there are no more than ``embedding_dim``. With the solver "rowwise_adagrad" and a table that learns they keep a
        length, and the table learns how far apart the classes are: the root of 2 for "log_loss" with one output, 1 for
        "hinge", 0.7 for "squared_hinge" and "modified_huber". For "log_loss" with more outputs they begin 1 long and
        may become 2 long; all of this divided by how much longer than 0.3 the rows of ``init`` are. Otherwise they
        begin ``min(n_outputs ** 0.75, 10)`` long, and are free. The weights of a hidden unit begin in the directions of
        Glorot and Bengio [12]_. Where outputs keep a length these keep one, too, the root of 2, and it is the first
        layer that the length of ``init`` divides; with "logistic" both are twice as long. Otherwise they begin as long
        as Glorot's, and outputs for "sgd" 0.3 times as long as they would without. There is no ``coef_``, which other
        libraries take for weights of the columns of X. With ``output="hierarchical"`` there is a column for each inner
        node of the tree, ``n_classes - 1``.
    intercepts_ : list of ndarrays of shape (n_outputs,), or (n_units,) for each layer
        What is added to the sums of each layer; 0 for hidden units before training. Of the last layer, or only one,
        what is added to the logits, and without hidden layers all that a row without members has. Before training such
        a row has the shares of the classes or labels among the rows of the first call: with n1 the weight of the rows
        that have one and n0 of those that have not, in units of their mean weight, ``log(n1 + 0.5)`` less the logarithm
        of the sum of these over the classes, or ``log((n1 + 0.5) / (n0 + 0.5))`` for two classes and for labels. Losses
        of margins begin at the hyperbolic tangent of half of the second one.
    feature_importances_ : ndarray of shape (n_features,)
        How much a column of X can move the logits: the lengths of the rows of ``embeddings_ @ coefs_[0]``, for a
        softmax without the mean over the classes, which changes no probability. With hidden layers, how much it can
        move the sums of the first one.
    n_iter_ : int
        Number of epochs of the last call, or iterations with ``freeze``: 1 after `partial_fit`. With ``early_stopping``
        the model may be that of an earlier one, see ``best_n_iter_``.
    loss_curve_ : list of float
        The loss of each epoch, with those of earlier calls of `partial_fit`, or of `fit` with ``warm_start``: the mean
        over its rows of weight times loss, taken before the step of the mini-batch that the row is in. With
        ``output="sampled"`` the loss among the outputs that were drawn, which grows with their number.
    best_loss_ : float or None
        The smallest of ``loss_curve_``; None with ``early_stopping``.
    validation_scores_ : list of float or None
        The score of each epoch of the last `fit` with ``early_stopping``, otherwise None.
    best_validation_score_ : float or None
        The largest of them.
    best_n_iter_ : int
        The epoch, counted from 1, whose model was kept: the one with the best score, otherwise the last one.
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
    - "rowwise_adagrad": ``G += mean(g ** 2)``, then ``r -= lr / (sqrt(G) + 1e-10) * g``, as in FBGEMM and TorchRec
      [3]_: one number G per row, ``0.1 / batch_size ** 2`` before training, or with the number of rows to train on if
      that is smaller; `partial_fit` counts those of the first call, as 16 at least: a stream of single rows wants
      ``batch_size=1``. The entries of ``intercepts_`` have a G each. Steps become shorter the more gradient a row has
      seen. What G is at first keeps a row that is named two or three times in all, of which texts have many, from long
      steps on little evidence. Where a table learns with this solver, the 0.1 is 0.03 for "log_loss" with classes and
      0.6 for "squared_hinge" and "modified_huber", and follows the scale of X and ``init`` as the rate does.
      With ``output="full"`` it is divided by ``0.3 + 0.7 * s / mean(s)``, where s is
      ``|sum(t - p)| ** 2 / (m + 5) ** 2`` over the m rows of X that name the column, in units of the mean of
      ``|t - p| ** 2``, plus 0.001: t is 1 for the class or the labels of a row and 0 for the others, p are the shares
      of the classes or labels, and the mean is over the members of X. More than 16 of them are seen from 16 directions.
      So columns whose rows agree learn faster, and those that come once, or with every class, slower. In a stream the
      rows are those of the first call. Wang and Manning scale columns for the same reason [13]_.
    - "adagrad": the same with a G for each number: ``torch.optim.Adagrad`` on sparse gradients.
    - "adam": ``torch.optim.SparseAdam`` [5]_: ``m += 0.1 * (g - m)``, ``v += 0.001 * (g ** 2 - v)``, then
      ``r -= lr * sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t) * m / (sqrt(v) + 1e-8)`` with the number t of mini-batches so
      far. Rows that a mini-batch does not name keep m and v. Its steps are about ``lr`` long whatever the gradient:
      it wants a smaller ``learning_rate_init``.

    The arrays above and the state of the solver are the model. Writing into ``embeddings_``, ``coefs_`` or
    ``intercepts_`` takes effect, in the predictions as in later training. Where they are read-only, because joblib
    mapped them from a file, `partial_fit` makes copies once.

    The same ``random_state`` gives the same bytes in every run, for every ``n_jobs``: every row of the table has one
    writer, which adds up in the order of the rows of X. What is not guaranteed: two machines may differ in the last
    bits, because the order of the additions follows the width of their vector registers. And a row with the weight 2 is
    not the same, to the last bit, as the row given twice, since that makes other mini-batches.

    A pickle leaves out what training did not touch of a table drawn with ``init="uniform"``, if that is three quarters
    of its rows or more: it is drawn again, to the same bytes, from a seed that is kept even for ``random_state=None``.
    Other tables are stored whole, and can be mapped by ``joblib.load(path, mmap_mode="r")``.

    A call that fails leaves the estimator as it was.

    Beside X, `fit` needs the table, what the solver keeps of it, some numbers per row of X, and memory for
    one mini-batch. The values of X are converted first if they do not have ``dtype``: one number per member.
    Before there is a table, what columns say of y needs up to 36 numbers per column, and one for each of a
    million members, or of an eighth of them. ``early_stopping`` keeps a second table, the best so far, and copies the
    rows held out. `partial_fit` keeps a copy of the rows of the table that its batch names until it is done. There is
    no dense copy of X, and no array of one vector per member.

    With scikit-learn 1.9 or newer `fit` takes part in callbacks, with one task per epoch. `set_callbacks` then takes a
    progress bar or a scoring monitor.

    References
    ----------
    .. [1] A. Joulin, E. Grave, P. Bojanowski, T. Mikolov: Bag of Tricks for Efficient Text Classification, 2017.
    .. [2] ``torch.nn.EmbeddingBag`` and ``torch.optim.SGD``, PyTorch documentation.
    .. [3] ``EXACT_ROWWISE_ADAGRAD``, FBGEMM documentation. On Adagrad itself: J. Duchi, E. Hazan, Y. Singer: Adaptive
       Subgradient Methods for Online Learning and Stochastic Optimization, 2011.
    .. [4] T. Zhang: Solving Large Scale Linear Prediction Problems Using Stochastic Gradient Descent Algorithms, 2004.
    .. [5] D. Kingma, J. Ba: Adam: A Method for Stochastic Optimization, 2015, and ``torch.optim.SparseAdam``.
    .. [6] ``scipy.optimize.minimize(method="L-BFGS-B")``, SciPy documentation.
    .. [7] N. Ye, K. M. A. Chai, W. S. Lee, H. L. Chieu: Optimizing F-measures: A Tale of Two Approaches, 2012. What is
       expected of a ratio is taken for the ratio of what is expected.
    .. [8] S. Rendle: Factorization Machines, 2010. There a column has a weight of its own beside its row, and every
       column of the table counts 1 in the interaction; with a layer that is learnt, both are special cases. As a block
       of features: X. He, T.-S. Chua: Neural Factorization Machines for Sparse Predictive Analytics, 2017.
    .. [9] T. Mikolov, I. Sutskever, K. Chen, G. Corrado, J. Dean: Distributed Representations of Words and Phrases and
       their Compositionality, 2013.
    .. [10] S. Jean, K. Cho, R. Memisevic, Y. Bengio: On Using Very Large Target Vocabulary for Neural Machine
       Translation, 2015; for labels G. King, L. Zeng: Logistic Regression in Rare Events Data, 2001.
    .. [11] M. Iyyer, V. Manjunatha, J. Boyd-Graber, H. Daume III: Deep Unordered Composition Rivals Syntactic Methods
       for Text Classification, 2015.
    .. [12] X. Glorot, Y. Bengio: Understanding the Difficulty of Training Deep Feedforward Neural Networks, 2010.
    .. [13] S. Wang, C. Manning: Baselines and Bigrams: Simple, Good Sentiment and Topic Classification, 2012. There a
       column is multiplied by the logarithm of the ratio of its shares in two classes.

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
        **TrainedClassifier._parameter_constraints,
        "loss": [StrOptions(set(CLASSIFICATION))],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "threshold": [Interval(Real, 0, 1, closed="neither"), StrOptions({"expected_f1"})],
        "output": [StrOptions({"full", "sampled", "hierarchical"})],
        "n_negatives": [COUNT],
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
        loss: str = "log_loss",
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
        class_weight: Any = None,
        threshold: float | str = 0.5,
        output: str = "full",
        n_negatives: int = 1024,
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
        self.class_weight = class_weight
        self.threshold = threshold
        self.output = output
        self.n_negatives = n_negatives
        self.warm_start = warm_start
        self.dtype = dtype
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
