"""One step, one epoch: the kernels against the oracle and torch, the oracle against finite differences."""

import pickle

import numpy as np
import pytest
import reference
import training_reference
from helpers import FLOATS, LEARNT, MODES, csr, learnt, random_csr, random_table
from scipy.optimize import approx_fprime
from scipy.sparse import csr_array
from sklearn.datasets import load_iris, make_classification

from skbag import EmbeddingBagClassifier

pytestmark = pytest.mark.usefixtures("free_layer")
N_ROWS, N_COLUMNS, DIM, BATCH = 26, 11, 5, 8  # the last mini-batch has 2 rows
UNNAMED = 10  # a column that no row has
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
TARGETS = ("two classes", "four classes", "labels")
SOLVERS = ("sgd", "rowwise_adagrad", "adagrad", "adam")
OPTIONS = {
    "plain": {},
    "padding": {"padding_idx": 3},
    "padding from the end": {"padding_idx": -4},
    "max_norm": {"max_norm": 1.2},
    "max_norm 1": {"max_norm": 1.7, "norm_type": 1},
    "max_norm inf": {"max_norm": 0.6, "norm_type": np.inf},
    "by frequency": {"scale_grad_by_freq": True},
    "penalty": {"alpha": 0.1},
    "penalty that shrinks rows to nothing": {"alpha": 30},
    "freeze": {"freeze": True},
    "freeze, penalty": {"freeze": True, "alpha": 0.1},
    "all": {"padding_idx": 0, "max_norm": 1.3, "scale_grad_by_freq": True, "alpha": 0.05},
}


@pytest.fixture(autouse=True, scope="module")
def many_processors():
    """No more threads are used than there are processors: here 3 are 3 everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skbag._threads.processors", lambda: 9)
        yield


def bags(dtype="float64", seed=0, index_dtype="int32"):
    X = random_csr(N_ROWS, N_COLUMNS - 1, seed=seed, dtype=dtype, index_dtype=index_dtype)
    return csr(X.data, X.indices, X.indptr, N_COLUMNS)


def targets(kind, n_rows=N_ROWS, seed=3):
    """Return y, its label matrix, and the loss."""
    rng = np.random.default_rng(seed)
    if kind == "labels":
        y = rng.integers(0, 2, (n_rows, 3))
        y[1] = 0
        return y, y, "sigmoid"
    n_classes = 2 if kind == "two classes" else 4
    y = rng.permutation(np.arange(n_rows) % n_classes)
    if n_classes == 2:
        return y, y[:, None], "sigmoid"
    return y, np.eye(4)[y], "softmax"


def row_weights(n_rows=N_ROWS):
    weights = np.random.default_rng(5).uniform(0.2, 3, n_rows)
    weights[2::5] = 0
    return weights


def start(X, y, table, *, alpha=0.0, seed=7, **params):
    """An estimator before its first step, with table, coef_ and intercept_ that are not zero.

    A first call of partial_fit, with weights so small that their squares are 0, draws coef_ and changes nothing.
    """
    params = {"init": table, "shuffle": False, "batch_size": BATCH, "dtype": table.dtype, "random_state": 0, **params}
    model = EmbeddingBagClassifier(alpha=0.0, **params)
    model.partial_fit(X, y, None if np.ndim(y) == 2 else np.unique(y), np.full(len(y), 1e-300))
    rng = np.random.default_rng(seed)
    model.coefs_[0][:] = rng.normal(0, 0.7, model.coefs_[0].T.shape).T
    model.intercepts_[0][:] = rng.normal(0, 0.7, model.intercepts_[0].shape)
    return model.set_params(alpha=alpha)


def oracle_of(model):
    state = 0.1 / min(model.batch_size, N_ROWS) ** 2
    return training_reference.Model(*learnt(model), state, n_steps=model._solver_state[-1])


def options_of(model, loss):
    names = set(vars(training_reference.Options())) - {"choice"}
    return training_reference.Options(**{name: loss if name == "loss" else getattr(model, name) for name in names})


def assert_same_model(model, oracle, tolerance):
    for name, actual, expected in zip(
        LEARNT, learnt(model), (oracle.table, oracle.coef, oracle.intercept), strict=True
    ):
        assert actual.dtype == model.dtype
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=name)


# --- the oracle's own gradients


def flat(model):
    return np.concatenate([model.table.ravel(), model.coef.ravel(), model.intercept])


def unflat(values, like):
    table, coef, intercept = np.split(values, np.cumsum([like.table.size, like.coef.size]))
    return training_reference.Model(table.reshape(like.table.shape), coef.reshape(like.coef.shape), intercept)


@pytest.mark.parametrize("padding_idx", [None, 3])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("mode", MODES)
def test_the_gradients_of_the_oracle_are_the_finite_differences_of_its_loss(mode, target, weighted, padding_idx):
    _, labels, loss = targets(target)
    rng = np.random.default_rng(4)
    n_outputs = labels.shape[1]
    model = training_reference.Model(
        random_table(N_COLUMNS, DIM), rng.normal(size=(n_outputs, DIM)), rng.normal(size=n_outputs)
    )
    options = training_reference.Options(mode=mode, loss=loss, padding_idx=padding_idx)
    arguments = reference.bags_of_csr(bags(), weighted), labels, row_weights(), options
    _, gradients, _ = training_reference.loss_and_gradients(model, *arguments)
    actual = np.concatenate([gradient.ravel() for gradient in gradients])

    def value(values):
        return training_reference.loss_and_gradients(unflat(values, model), *arguments)[0]

    point, h = flat(model), 3e-6
    expected = (approx_fprime(point, value, h) + approx_fprime(point, value, -h)) / 2  # central differences
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-7)
    assert np.abs(actual).max() > 1e-2
    assert (gradients[0][UNNAMED] == 0).all()


# --- the kernels against the oracle


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_two_epochs_are_those_of_the_oracle(dtype, mode, solver, target, options):
    if (dtype, mode, options.get("norm_type")) == ("float32", "max", np.inf):
        pytest.skip("rows that are brought down to the same largest value tie, and rounding decides who wins")
    if (mode, solver, options.get("alpha")) == ("max", "sgd", 30):
        pytest.skip("so do rows that are shrunk to nothing")
    X, (y, labels, loss) = bags(dtype), targets(target)
    model = start(X, y, random_table(N_COLUMNS, DIM, dtype=dtype), mode=mode, solver=solver, **options)
    model.set_params(learning_rate_init=0.1)
    oracle, options = oracle_of(model), options_of(model, loss)
    weights = row_weights()
    for sample_weight in (weights, np.ones(N_ROWS)):
        model.partial_fit(X, y, sample_weight=sample_weight)
        rates = [0.1] * 4
        expected = training_reference.epoch(
            oracle, reference.bags_of_csr(X), labels, sample_weight, options, rates, BATCH
        )
        assert model.loss_curve_[-1] == pytest.approx(expected, rel=TOLERANCE[dtype])
        assert_same_model(model, oracle, TOLERANCE[dtype])


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_weights_and_dtypes_of_ids(mode, weighted, index_dtype):
    X, (y, labels, loss) = bags(index_dtype=index_dtype), targets("four classes")
    model = start(X, y, random_table(N_COLUMNS, DIM), mode=mode, per_sample_weights=weighted, learning_rate_init=0.1)
    oracle = oracle_of(model)
    model.partial_fit(X, y)
    members = reference.bags_of_csr(X, weighted)
    training_reference.epoch(oracle, members, labels, np.ones(N_ROWS), options_of(model, loss), [0.1] * 4, BATCH)
    assert_same_model(model, oracle, 1e-12)


@pytest.mark.parametrize("dim", [1, 5, 16, 33, 400])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("mode", ["sqrtn", "max"])
def test_widths(mode, solver, dim):
    dtype = "float64" if solver == "adam" else "float32"  # it divides by gradients close to 0
    X, (y, labels, loss) = bags(dtype), targets("four classes")
    table = random_table(N_COLUMNS, dim, dtype=dtype)
    model = start(X, y, table, mode=mode, solver=solver, max_norm=0.9 * dim**0.5, alpha=0.01, learning_rate_init=0.1)
    model.coefs_[0] /= table.dtype.type(dim**0.5)
    oracle = oracle_of(model)
    model.partial_fit(X, y)
    members = reference.bags_of_csr(X)
    training_reference.epoch(oracle, members, labels, np.ones(N_ROWS), options_of(model, loss), [0.1] * 4, BATCH)
    assert_same_model(model, oracle, 1e-9 if solver == "adam" else 1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, N_ROWS - 1, N_ROWS, 10_000])
def test_batch_sizes(batch_size):
    X, (y, labels, loss) = bags(), targets("four classes")
    model = start(X, y, random_table(N_COLUMNS, DIM), batch_size=batch_size, learning_rate_init=0.1)
    oracle, n_batches = oracle_of(model), -(-N_ROWS // batch_size)
    model.partial_fit(X, y)
    members = reference.bags_of_csr(X)
    options, weights = options_of(model, loss), np.ones(N_ROWS)
    training_reference.epoch(oracle, members, labels, weights, options, [0.1] * n_batches, batch_size)
    assert_same_model(model, oracle, 1e-12)


@pytest.mark.parametrize("schedule", ["linear", "constant"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_fit_is_a_number_of_epochs_with_the_rates_of_the_schedule(solver, schedule):
    X, (y, labels, loss) = bags(), targets("four classes")
    params = {"mode": "mean", "solver": solver, "learning_rate_init": 0.2, "learning_rate": schedule}
    params |= {
        "init": random_table(N_COLUMNS, DIM),
        "dtype": "float64",
        "shuffle": False,
        "batch_size": BATCH,
        "alpha": 0.0,
    }
    model = EmbeddingBagClassifier(max_iter=3, random_state=0, **params)
    drawn = EmbeddingBagClassifier(random_state=0, **params).partial_fit(X, y, range(4), np.full(N_ROWS, 1e-300))
    np.testing.assert_allclose(drawn.coefs_[0].T @ drawn.coefs_[0], 8 * np.eye(4), atol=1e-12)  # 4 ** 0.75 long
    oracle = oracle_of(drawn)
    oracle.n_steps = 0
    rates = 0.2 * (1 - np.arange(12) / 12 if schedule == "linear" else np.ones(12))
    weights = row_weights()
    weights = np.where(weights == 0, 1.0, weights)  # fit leaves out rows without weight: other mini-batches
    model.fit(X, y, sample_weight=7 * weights)
    weights /= weights.mean()
    shares = np.bincount(y, weights) + 0.5
    oracle.intercept[:] = np.log(shares / shares.sum())
    members, options = reference.bags_of_csr(X), options_of(model, loss)
    losses = [
        training_reference.epoch(oracle, members, labels, weights, options, some, BATCH)
        for some in rates.reshape(3, 4)
    ]  # fmt: skip
    assert_same_model(model, oracle, 1e-12)
    np.testing.assert_allclose(model.loss_curve_, losses, rtol=1e-12)
    assert model.n_iter_ == 3


def test_fit_leaves_out_rows_without_weight():
    X, (y, _, _), weights = bags(), targets("four classes"), row_weights()
    model = EmbeddingBagClassifier(DIM, shuffle=False, batch_size=BATCH, random_state=0)
    kept = weights != 0
    some = csr_array(X[kept])
    expected = EmbeddingBagClassifier(**model.get_params()).fit(some, y[kept], weights[kept])
    model.fit(X, y, weights)
    np.testing.assert_allclose(model.coefs_[0].T, expected.coefs_[0].T, rtol=1e-5)


# --- what a step must not touch


@pytest.mark.parametrize("params", [{}, {"alpha": 0.1}, {"max_norm": 0.5}, {"padding_idx": 3}, {"n_jobs": 3}])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("mode", MODES)
def test_rows_that_no_member_names_keep_their_bits(mode, solver, params):
    X, (y, _, _) = bags("float32"), targets("four classes")
    table = random_table(N_COLUMNS, DIM, dtype="float32")
    table[UNNAMED] = [0.1, -0.0, 1e-42, -1e-7, 0.3]
    model = start(X, y, table, mode=mode, solver=solver, **params)
    before = model.embeddings_.copy()
    model.partial_fit(X, y)
    assert model.embeddings_[UNNAMED].tobytes() == table[UNNAMED].tobytes()
    changed = (model.embeddings_ != before).any(axis=1)
    assert changed.sum() == (9 if params.get("padding_idx") == 3 else 10)
    if "padding_idx" in params:
        assert model.embeddings_[3].tobytes() == table[3].tobytes()


def test_a_stored_zero_is_no_member_in_training():
    X, (y, _, _) = bags(), targets("two classes")
    X.data[X.indices == 4] = 0
    without = csr_array(X.copy())
    without.data = X.data.copy()
    keep = X.data != 0
    indptr = np.append(0, np.cumsum(keep))[X.indptr].astype(np.int32)
    without = csr(X.data[keep], X.indices[keep], indptr, N_COLUMNS)
    for mode in MODES:
        models = [start(Z, y, random_table(N_COLUMNS, DIM), mode=mode, alpha=0.1) for Z in (X, without)]
        before = models[0].embeddings_[4].tobytes()
        models[0].partial_fit(X, y)
        models[1].partial_fit(without, y)
        assert models[0].embeddings_.tobytes() == models[1].embeddings_.tobytes()
        assert models[0].embeddings_[4].tobytes() == before


def test_a_tie_of_the_maximum_goes_to_the_first_column_however_the_row_is_stored():
    X = csr(np.ones(4), np.array([2, 1, 0, 2], np.int32), np.array([0, 2, 4], np.int32), 3)
    y = np.array([0, 1])
    for dtype in FLOATS:
        model = start(X, y, np.ones((3, DIM), dtype), mode="max", solver="sgd", learning_rate_init=1.0)
        model.partial_fit(X, y)
        changed = (model.embeddings_ != 1).any(axis=1)
        assert changed.tolist() == [True, True, False]  # bag 0 to row 1, bag 1 to row 0


def test_empty_rows_train_the_intercept_alone():
    X, y = csr_array((6, 4)), np.array([0, 1, 1, 1, 1, 1])
    model = start(X, y, random_table(4, DIM), solver="sgd", learning_rate_init=0.5)
    before = model.embeddings_.tobytes(), model.coefs_[0].T.tobytes(), model.intercepts_[0][0]
    model.partial_fit(X, y)
    assert (model.embeddings_.tobytes(), model.coefs_[0].T.tobytes()) == before[:2]
    assert model.intercepts_[0][0] == pytest.approx(before[2] - 0.5 * (1 / (1 + np.exp(-before[2])) - 5 / 6), rel=1e-12)


# --- the same bytes


def state_of(model):
    state = vars(model)
    arrays = {name: value.tobytes() for name, value in state.items() if isinstance(value, np.ndarray)}
    layer = [array.tobytes() for array in learnt(model)]
    *states, n_steps = model._solver_state
    return arrays, layer, model.loss_curve_, [array.tobytes() for some in states for array in some], n_steps


def larger(n_rows=300, n_columns=200, dtype="float32"):
    X = random_csr(n_rows, n_columns, dtype=dtype, longest=30)
    return X, np.random.default_rng(1).integers(0, 5, n_rows)


PARALLEL = [{}, {"solver": "sgd", "alpha": 0.01}, {"max_norm": 0.3, "scale_grad_by_freq": True}, {"freeze": True},
            {"batch_size": 1}, {"batch_size": 1000}, {"early_stopping": True}, {"padding_idx": 2}]  # fmt: skip


@pytest.mark.parametrize("params", PARALLEL)
@pytest.mark.parametrize("mode", MODES)
def test_the_same_bytes_for_every_n_jobs_and_every_run(mode, params):
    X, y = larger()
    params = {"mode": mode, "batch_size": 64, "max_iter": 2, "random_state": 0, **params}
    states = [state_of(EmbeddingBagClassifier(16, n_jobs=n, **params).fit(X, y)) for n in (1, 2, 3, 1, 2)]
    assert all(state == states[0] for state in states[1:])


@pytest.mark.parametrize("params", [{}, {"early_stopping": True}, {"shuffle": False}])
@pytest.mark.parametrize("solver", ["sgd", "rowwise_adagrad"])
@pytest.mark.parametrize("mode", MODES)
def test_more_rows_per_step_than_there_are_is_all_of_them(device, mode, solver, params):
    X, y = larger(60, 9)
    weights = np.where(np.arange(60) % 4, 1.0, 0.0)
    params = {"mode": mode, "solver": solver, "max_iter": 2, "random_state": 0, "device": device, **params}
    for weight, n in ((None, 60), (weights, 45)):
        n_used = n - -(-n // 10) if params.get("early_stopping") else n
        states = [
            state_of(EmbeddingBagClassifier(4, batch_size=size, **params).fit(X, y, sample_weight=weight))
            for size in (n_used, n_used + 1, 60, 61, 2**31 - 1)
        ]
        assert all(state == states[0] for state in states)


@pytest.mark.parametrize("solver", ["sgd", "rowwise_adagrad"])
def test_a_stream_counts_the_rows_of_its_first_call(solver):
    X, y = larger(60, 9)
    models = [EmbeddingBagClassifier(4, solver=solver, batch_size=size, random_state=0) for size in (40, 41, 2**31 - 1)]
    for model in models:
        model.partial_fit(X[:40], y[:40], classes=range(5), sample_weight=np.arange(40) % 2).partial_fit(X[40:], y[40:])
    states = [state_of(model) for model in models]
    assert states[0] == states[1] == states[2]


@pytest.mark.parametrize(("n_rows", "batch_size", "counted"), [(1, 16, 16), (20, 16, 16), (1, 1, 1), (40, 99, 40)])
def test_the_first_state_of_a_stream(n_rows, batch_size, counted):
    X, y = larger(60, 9)
    model = EmbeddingBagClassifier(4, batch_size=batch_size, alpha=0, random_state=0)
    model.partial_fit(X[:n_rows], y[:n_rows], classes=range(5), sample_weight=np.full(n_rows, 1e-300))
    state = model._manner(model._learnt).state
    of_table, of_weights, of_intercepts = (states[0] for states in model._solver_state[:3])
    np.testing.assert_allclose(of_weights, state / counted**2, rtol=1e-12)
    np.testing.assert_allclose(of_intercepts, state / counted**2, rtol=1e-12)
    assert (of_table >= state / counted**2 / 10).all()  # those of columns are divided by what they say of classes


def test_more_threads_than_rows_or_outputs():
    X, y = larger(5, 4)
    y = np.array([0, 1, 0, 1, 1])
    states = [state_of(EmbeddingBagClassifier(16, n_jobs=n, random_state=0).fit(X, y)) for n in (1, 9)]
    assert states[0] == states[1]


def test_labels_give_the_same_bytes_for_every_n_jobs():
    X, _ = larger()
    y = np.random.default_rng(2).integers(0, 2, (X.shape[0], 7))
    states = [state_of(EmbeddingBagClassifier(16, n_jobs=n, random_state=0).fit(X, y)) for n in (1, 2, 3)]
    assert states[0] == states[1] == states[2]


@pytest.mark.parametrize("n_jobs", [1, 3])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_fit_of_k_epochs_is_k_calls_of_partial_fit(solver, mode, n_jobs):
    X, y = larger()
    params = {"mode": mode, "solver": solver, "shuffle": False, "learning_rate": "constant", "n_jobs": n_jobs}
    params |= {"random_state": 0, "max_norm": 0.4, "alpha": 1e-3}
    fitted = EmbeddingBagClassifier(16, max_iter=3, **params).fit(X, y)
    streamed = EmbeddingBagClassifier(16, **params)
    for _ in range(3):
        streamed.partial_fit(X, y, classes=range(5))
    assert state_of(fitted) == state_of(streamed)


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_pickled_model_goes_on_as_if_it_had_not_been(shuffle):
    X, y = larger()
    model = EmbeddingBagClassifier(16, shuffle=shuffle, random_state=0).partial_fit(X, y, range(5))
    other = pickle.loads(pickle.dumps(model))
    for _ in range(2):
        model.partial_fit(X, y)
        other.partial_fit(X, y)
    assert state_of(other) == state_of(model)


# --- torch


def torch_model(torch, X, model, options):
    """Return torch's parameters, and a function that trains them on the rows of one mini-batch."""
    functional = torch.nn.functional
    table, coef, intercept = (torch.tensor(np.array(array), requires_grad=True) for array in learnt(model))
    optimizer = torch.optim.SGD([table, coef, intercept], lr=model.learning_rate_init)

    def pooled(rows):
        some = csr_array(X[rows])
        ids, offsets = torch.tensor(some.indices), torch.tensor(some.indptr[:-1])
        weights = torch.tensor(some.data) if model.mode == "sum" and model.per_sample_weights else None
        return functional.embedding_bag(
            ids, table, offsets, mode=model.mode, per_sample_weights=weights, sparse=model.mode != "max", **options
        )

    def step(rows, y):
        optimizer.zero_grad()
        logits = pooled(rows) @ coef.T + intercept
        y = torch.tensor(y)
        if logits.shape[1] == 1 or y.ndim == 2:
            loss = functional.binary_cross_entropy_with_logits(
                logits, y.reshape(logits.shape).to(logits.dtype), reduction="sum"
            )
            loss = loss / len(rows)
        else:
            loss = functional.cross_entropy(logits, y)
        loss.backward()
        optimizer.step()

    return (table, coef, intercept), step


def without_zeros(dtype):
    """For torch every listed id is a member: bags without stored zeros, and without duplicates."""
    X = reference.canonical(bags(dtype))
    X.data[X.data == 0] = 0.25
    return X


TORCH = [("sum", {}), ("mean", {"per_sample_weights": False}), ("max", {}), ("sum", {"padding_idx": 3}),
         ("mean", {"per_sample_weights": False, "padding_idx": -3}), ("max", {"padding_idx": 3}),
         ("sum", {"max_norm": 1.0}), ("mean", {"per_sample_weights": False, "max_norm": 1.5, "norm_type": 1.0}),
         ("max", {"max_norm": 1.0}), ("sum", {"per_sample_weights": False})]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("mode", "params"), TORCH)
@pytest.mark.parametrize("dtype", FLOATS)
def test_an_epoch_is_that_of_torch(dtype, mode, params, target):
    torch = pytest.importorskip("torch", reason="the comparison with torch needs torch")
    X, (y, _, _) = without_zeros(dtype), targets(target)
    table = random_table(N_COLUMNS, DIM, dtype=dtype)
    model = start(X, y, table, mode=mode, solver="sgd", learning_rate_init=0.3, **params)
    options = {name: value for name, value in params.items() if name != "per_sample_weights"}
    parameters, step = torch_model(torch, X, model, options)
    for first in range(0, N_ROWS, BATCH):
        rows = np.arange(first, min(first + BATCH, N_ROWS))
        step(rows, y[rows])
    if "max_norm" in params:  # torch brings rows down when they are next used: use all of them
        renorm = torch.nn.functional.embedding(
            torch.arange(N_COLUMNS), parameters[0].detach(), None, params["max_norm"], params.get("norm_type", 2.0)
        )
        assert renorm.shape == table.shape
    model.partial_fit(X, y)
    for actual, expected in zip(learnt(model), parameters, strict=True):
        np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    assert not np.allclose(model.embeddings_, table)


@pytest.mark.parametrize("factor", [1e160, 1e-200, 1e300, 1e-300])
@pytest.mark.parametrize("mode", ["mean", "sqrtn"])
def test_rows_times_a_constant_train_the_same_classifier(mode, factor):
    X, y = make_classification(200, n_features=5, random_state=0)
    scores = [
        EmbeddingBagClassifier(4, mode=mode, max_iter=22, random_state=0, dtype="float64").fit(Z, y).score(Z, y)
        for Z in (X, X * factor)
    ]
    assert scores[0] > (0.93 if mode == "sqrtn" else 0.9)
    assert scores[1] == pytest.approx(scores[0], abs=0.01)


@pytest.mark.filterwarnings("ignore:The values of X make sums that are above")
def test_sums_beyond_the_range_of_adagrads_state_are_divergence():
    X, y = make_classification(200, n_features=5, random_state=0)
    with pytest.raises(ValueError, match="training diverges"):
        EmbeddingBagClassifier(4, mode="sum", random_state=0, dtype="float64").fit(X * 1e160, y)


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_gradients_of_a_mini_batch_of_many_rows(mode):
    n = 200_000  # added up one by one in float32, they are off by some 1e-3
    X = csr(np.ones(n, "float32"), np.arange(n, dtype=np.int32) % 2, np.arange(n + 1, dtype=np.int32), 2)
    y = np.arange(n) % 3 % 2
    models = [
        EmbeddingBagClassifier(
            3, mode=mode, solver="sgd", batch_size=n, alpha=0.01, learning_rate_init=1.0, dtype=dtype, random_state=0
        ).partial_fit(X, y, classes=[0, 1])
        for dtype in FLOATS
    ]
    for one, other in zip(learnt(models[0]), learnt(models[1]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=3e-8)  # a rounding of the largest


@pytest.mark.parametrize("alpha", [15, 100, 1e5, 1e300])
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_large_penalty_shrinks_weights_to_nothing_as_sgd_classifiers_does(dtype, alpha):
    params = {"solver": "sgd", "learning_rate": "constant", "learning_rate_init": 0.1, "alpha": alpha, "batch_size": 1}
    X, y = load_iris(return_X_y=True)
    model = EmbeddingBagClassifier(2, mode="sum", dtype=dtype, random_state=0, **params).fit(X, y)
    assert np.abs(model.embeddings_).max() < 1e-3
    assert np.abs(model.coefs_[0]).max() < 1e-3


@pytest.mark.parametrize("padding_idx", [None, 3])
@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_scale_grad_by_freq_is_that_of_torch_embedding(dtype, mode, padding_idx):
    torch = pytest.importorskip("torch", reason="the comparison with torch needs torch")
    X, (y, _, _) = without_zeros(dtype), targets("four classes")
    table = random_table(N_COLUMNS, DIM, dtype=dtype)
    params = {"mode": mode, "per_sample_weights": mode == "sum", "padding_idx": padding_idx}
    model = start(X, y, table, solver="sgd", scale_grad_by_freq=True, learning_rate_init=0.3, **params)
    weight, coef, intercept = (torch.tensor(np.array(array), requires_grad=True) for array in learnt(model))
    optimizer = torch.optim.SGD([weight, coef, intercept], lr=0.3)
    for first in range(0, N_ROWS, BATCH):
        rows = np.arange(first, min(first + BATCH, N_ROWS))
        some = csr_array(X[rows])
        pooling = np.zeros((len(rows), some.nnz))
        for p in range(len(rows)):
            members = np.arange(some.indptr[p], some.indptr[p + 1])
            members = members[some.indices[members] != padding_idx]
            pooling[p, members] = some.data[members] if mode == "sum" else 1 / max(len(members), 1)
        optimizer.zero_grad()
        vectors = torch.nn.functional.embedding(
            torch.tensor(some.indices), weight, padding_idx=padding_idx, scale_grad_by_freq=True
        )
        logits = torch.tensor(pooling.astype(dtype)) @ vectors @ coef.T + intercept
        torch.nn.functional.cross_entropy(logits, torch.tensor(y[rows])).backward()
        optimizer.step()
    model.partial_fit(X, y)
    for actual, expected in zip(learnt(model), (weight, coef, intercept), strict=True):
        np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.filterwarnings("ignore:Every row of y has a single 1")
def test_kinds_of_input_may_change_from_call_to_call():
    """Code is chosen by a few of the kinds: whatever else differs must not reach the kernels."""
    X, y = random_csr(30, 9), np.arange(30) % 3
    wide = csr(X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64), X.shape[1])
    labels = csr_array(np.eye(3, dtype=np.int8)[y])
    wide_labels = csr(labels.data, labels.indices.astype(np.int64), labels.indptr.astype(np.int64), 3)
    weights = np.ones(30, np.float32)
    for dtype in FLOATS:
        for target in (y, y.astype(np.int8), labels, wide_labels, labels.toarray(), labels.astype(dtype)):
            models = [
                EmbeddingBagClassifier(3, dtype=dtype, max_iter=1, random_state=0).fit(Z, target, sample_weight=w)
                for Z, w in ((X, None), (wide, weights), (X.astype(np.float32), weights))
            ]
            outputs = [model.partial_fit(X, target).decision_function(wide).tobytes() for model in models]
            assert outputs[0] == outputs[1]
            assert len(outputs[2]) == len(outputs[0])
