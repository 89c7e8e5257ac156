"""A call of partial_fit goes on with what the call before has made, and nothing else may show that."""

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest
from helpers import random_csr
from scipy.sparse import csr_matrix
from sklearn import config_context

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor
from skbag._cpu import training, undo
from skbag._estimators.models import Models

N_COLUMNS = 40


def batch(k, kind="classes"):
    """Batches differ in their number of rows, and so in their mini-batches."""
    rng = np.random.default_rng(k)
    n = int(rng.choice([3, 7, 20, 20, 20, 50]))
    X = csr_matrix(random_csr(n, N_COLUMNS, dtype="float32", seed=k))
    if kind == "labels":
        return X, rng.integers(0, 2, (n, 6))
    if kind == "numbers":
        return X, rng.standard_normal((n, 2))
    return X, rng.integers(0, 6, n)


def state(estimator):
    """All that training has made, as bytes."""
    attributes = {name: value for name, value in vars(estimator).items() if name != "_models"}
    attributes["_rng"] = str(estimator._rng._bit_generator.state)
    return {name: pickle.dumps(value) for name, value in sorted(attributes.items())}


def without_stream(estimator):
    estimator._models = Models()
    return estimator


CASES = {
    "classes": (EmbeddingBagClassifier, "classes", {}),
    "regressor": (EmbeddingBagRegressor, "numbers", {}),
    "regressor in float64": (EmbeddingBagRegressor, "numbers", {"dtype": "float64", "solver": "sgd"}),
    "poisson": (EmbeddingBagRegressor, "counts", {"loss": "poisson"}),
    "labels": (EmbeddingBagClassifier, "labels", {}),
    "sgd": (EmbeddingBagClassifier, "classes", {"solver": "sgd", "alpha": 0.0}),
    "adam, long batches": (EmbeddingBagClassifier, "classes", {"solver": "adam", "batch_size": 64, "n_jobs": 2}),
    "hinge, weights of classes": (EmbeddingBagClassifier, "classes", {"loss": "hinge", "class_weight": {1: 3.0}}),
    "fields and modes": (EmbeddingBagClassifier, "classes", {"fields": (10, 30), "mode": ("mean", "max")}),
    "lists": (EmbeddingBagClassifier, "classes", {"fields": [10, 30], "mode": ["mean", "max"]}),
    "interaction": (EmbeddingBagClassifier, "classes", {"interaction": "fm", "mode": "sum"}),
    "hidden": (EmbeddingBagClassifier, "classes", {"hidden_layer_sizes": (5,)}),
    "sampled": (EmbeddingBagClassifier, "classes", {"output": "sampled", "n_negatives": 2}),
    "hierarchical": (EmbeddingBagClassifier, "classes", {"output": "hierarchical"}),
    "frozen": (EmbeddingBagClassifier, "classes", {"freeze": True, "hidden_layer_sizes": (5,)}),
    "float64, padding, max_norm": (
        EmbeddingBagClassifier, "classes", {"dtype": "float64", "padding_idx": 3, "max_norm": 1.0},
    ),
    "bfloat16": (EmbeddingBagClassifier, "classes", {"dtype": "bfloat16"}),
}  # fmt: skip


def make(case):
    cls, kind, params = CASES[case]
    return cls(**{"embedding_dim": 5, "random_state": 0, "batch_size": 8, **params}), kind


def train(estimator, kind, k, **options):
    X, y = batch(k, kind.replace("counts", "numbers"))
    y = np.abs(y) if kind == "counts" else y
    first = {"classes": np.arange(6)} if kind == "classes" and not hasattr(estimator, "coefs_") else {}
    weights = np.random.default_rng(k).random(X.shape[0]) if k % 3 == 2 else None
    return estimator.partial_fit(X, y, sample_weight=weights, **first, **options)


def streams(estimator):
    return estimator._models._streams


@pytest.mark.parametrize("case", CASES)
def test_a_stream_has_the_bytes_of_calls_that_begin_anew(case):
    one, kind = make(case)
    other, _ = make(case)
    for k in range(12):
        train(one, kind, k)
        train(without_stream(other) if k else other, kind, k)
        assert state(one) == state(other)
    assert bool(streams(one)) == (case != "lists")  # which could be changed in place


CHANGES = [
    {"learning_rate_init": 0.3}, {"alpha": 0.1}, {"solver": "adagrad"}, {"loss": "modified_huber"}, {"batch_size": 3},
    {"freeze": True}, {"shuffle": False}, {"n_jobs": 2}, {"per_sample_weights": False}, {"scale_grad_by_freq": True},
    {"padding_idx": 2}, {"max_norm": 0.1}, {"mode": "max"}, {"mode": ["sum"]}, {"class_weight": {0: 5.0}},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_parameters_that_are_set_between_calls_hold(change):
    one, other = (make("classes")[0] for _ in range(2))
    for k in range(9):
        train(one, "classes", k)
        train(without_stream(other) if k else other, "classes", k)
        assert state(one) == state(other)
        if k == 4:
            before = state(one)
            one.set_params(**change)
            other.set_params(**change)
    assert before != state(one)


def test_a_list_that_is_changed_in_place_is_seen():
    one, other = (EmbeddingBagClassifier(5, mode=["mean", "sum"], random_state=0) for _ in range(2))
    for estimator in (one, other):
        for k in range(3):
            train(estimator, "classes", k)
    one.mode[:] = ["sum", "mean"]
    other.mode[:] = ["sum", "mean"]
    assert state(train(one, "classes", 3)) == state(train(without_stream(other), "classes", 3))


def assign_table(estimator):
    estimator.embeddings_ = estimator.embeddings_ + 1


def assign_layer(estimator):
    estimator.coefs_[0] = estimator.coefs_[0] * 2


def write_into_table(estimator):
    estimator.embeddings_[5] = 7


def write_into_layer(estimator):
    estimator.coefs_[0][2] = 7


def make_read_only(estimator):
    estimator.intercepts_[0].flags.writeable = False


def take_names(estimator):
    estimator.feature_names_in_ = np.array([f"x{k}" for k in range(N_COLUMNS)], dtype=object)
    del estimator.feature_names_in_


ASSIGN = [assign_table, assign_layer, write_into_table, write_into_layer, make_read_only, take_names]


@pytest.mark.parametrize("case", ["classes", "regressor"])
@pytest.mark.parametrize("assign", ASSIGN)
def test_attributes_that_are_assigned_between_calls_hold(assign, case):
    (one, kind), (other, _) = make(case), make(case)
    for k in range(8):
        train(one, kind, k)
        train(without_stream(other) if k else other, kind, k)
        if k == 4:
            assign(one)
            assign(other)
    assert state(one) == state(other)


@pytest.mark.parametrize("case", ["classes", "labels", "sgd", "sampled", "adam, long batches", "hidden"])
def test_a_failed_call_leaves_a_stream_that_goes_on(case, monkeypatch):
    estimator, kind = make(case)
    reference, _ = make(case)
    for k in range(3):
        train(estimator, kind, k)
        train(reference, kind, k)
    before = state(estimator)
    epoch = training.Trainer.epoch

    def interrupted(trainer, order, rates):
        epoch(trainer, order, rates)
        raise KeyboardInterrupt

    for k in (3, 4):
        with monkeypatch.context() as patch:
            patch.setattr(training.Trainer, "epoch", interrupted)
            with pytest.raises(KeyboardInterrupt):
                train(estimator, kind, k)
        assert state(estimator) == before
        X, y = batch(k, kind)
        with pytest.raises(ValueError, match="inconsistent"):
            estimator.partial_fit(X, y[1:])
        with pytest.raises(ValueError, match="features"):
            estimator.partial_fit(X[:, 1:], y)
        assert state(estimator) == before
    for k in range(5, 9):
        assert state(train(estimator, kind, k)) == state(train(reference, kind, k))


def test_what_is_copied_goes_its_own_way():
    estimator, kind = make("classes")
    reference, _ = make("classes")
    for k in range(4):
        train(estimator, kind, k)
        train(reference, kind, k)
    copies = copy.deepcopy(estimator), pickle.loads(pickle.dumps(estimator))
    for k in range(4, 8):
        train(reference, kind, k)
    for other in (*copies, estimator):
        for k in range(4, 8):
            train(other, kind, k)
        assert state(other) == state(reference)


def test_a_parameter_that_is_set_during_a_call_is_kept(monkeypatch):
    estimator, kind = make("classes")
    for k in range(4):
        train(estimator, kind, k)
    epoch = training.Trainer.epoch

    def meanwhile(trainer, order, rates):
        estimator.alpha = 0.125
        return epoch(trainer, order, rates)

    monkeypatch.setattr(training.Trainer, "epoch", meanwhile)
    train(estimator, kind, 4)
    assert estimator.alpha == 0.125
    assert len(estimator.loss_curve_) == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_iter_no_change", 0), ("batch_size", -1), ("batch_size", 0), ("loss", "zz"), ("solver", "zz"), ("alpha", -5),
        ("alpha", np.nan), ("learning_rate_init", None), ("learning_rate_init", -1), ("learning_rate_init", "x"),
        ("max_norm", -1), ("n_jobs", "x"), ("freeze", "x"), ("threshold", 7), ("interaction", "zz"), ("verbose", "x"),
        ("output", "zz"), ("class_weight", "zz"),
    ],
)  # fmt: skip
def test_parameters_are_checked_when_they_were_set(name, value):
    X, y = batch(0)
    estimator = EmbeddingBagClassifier(5, random_state=0)
    good = estimator.get_params()[name]
    for later in (False, True, True):
        estimator.set_params(**{name: value})
        before = pickle.dumps(estimator)
        with pytest.raises(ValueError, match=f"The '{name}' parameter of EmbeddingBagClassifier"):
            estimator.partial_fit(X, y, **({} if later else {"classes": np.arange(6)}))
        assert pickle.dumps(estimator) == before
        estimator.set_params(**{name: good}).partial_fit(X, y, classes=np.arange(6))
    assert len(estimator.loss_curve_) == 3
    with config_context(skip_parameter_validation=True):
        estimator.set_params(n_iter_no_change=0).partial_fit(X, y)


class Meanwhile:
    """Classes that let something happen when they are looked at, as another thread may."""

    def __init__(self, classes, happen):
        self.classes, self.happen = classes, happen

    def __array__(self, dtype=None, copy=None):
        self.happen()
        return np.asarray(self.classes)


def test_a_fit_beside_a_call_is_not_overwritten_by_later_ones():
    X, y = batch(0)
    model = EmbeddingBagClassifier(5, random_state=0)
    for _ in range(3):
        model.partial_fit(X, y, classes=np.arange(6))
    Y = np.arange(len(y)) % 6
    model.partial_fit(X, y, classes=Meanwhile(np.arange(6), lambda: model.fit(X, Y)))
    before = model.embeddings_.copy()
    model.partial_fit(X, y).partial_fit(X, y)
    assert (model.embeddings_ != before).any()


@pytest.mark.parametrize("moment", ["before", "during"])
def test_a_parameter_set_beside_a_call_is_that_of_the_next(moment, monkeypatch):
    X, y = batch(0)
    model = EmbeddingBagClassifier(5, random_state=0)
    for _ in range(3):
        model.partial_fit(X, y, classes=np.arange(6))

    def set_it():
        model.learning_rate_init = -10

    if moment == "before":
        model.partial_fit(X, y, classes=Meanwhile(np.arange(6), set_it))
    else:
        epoch = training.Trainer.epoch
        monkeypatch.setattr(training.Trainer, "epoch", lambda *args: (set_it(), epoch(*args))[1])
        model.partial_fit(X, y)
        monkeypatch.undo()
    with pytest.raises(ValueError, match="The 'learning_rate_init' parameter of EmbeddingBagClassifier"):
        model.partial_fit(X, y)


@pytest.mark.parametrize("solver", ["sgd", "rowwise_adagrad"])
@pytest.mark.parametrize("first", [True, False])
def test_rows_without_weight_are_left_out(solver, first):
    """Nor do they count as rows of a mini-batch, or shrink the rows of the table that they name."""
    X, y = batch(0)
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 2, len(y)) * rng.random(len(y))
    used = np.flatnonzero(weights)
    models = []
    for some in (np.arange(len(y)), used):
        model = EmbeddingBagClassifier(5, solver=solver, alpha=0.1, batch_size=4, shuffle=False, random_state=0)
        if first:
            model.partial_fit(X, y, classes=np.arange(6))
        models.append(model.partial_fit(X[some], y[some], np.arange(6), weights[some]))
    for name in ("embeddings_", "coefs_", "intercepts_"):
        np.testing.assert_array_equal(*(np.concatenate([np.ravel(a) for a in getattr(m, name)]) for m in models))


def test_a_batch_without_weight_is_refused():
    X, y = batch(0)
    model = EmbeddingBagClassifier(5).partial_fit(X, y, classes=np.arange(6))
    before = pickle.dumps(model)
    with pytest.raises(ValueError, match=r"at least one (non-zero number|sample)"):
        model.partial_fit(X, y, sample_weight=np.zeros(len(y)))
    assert pickle.dumps(model) == before
    with pytest.raises(ValueError, match="sample_weight times class_weight must be larger than 0"):
        model.set_params(class_weight=dict.fromkeys(range(6), 0)).partial_fit(X, y)


def test_calls_in_several_threads_at_once_leave_a_model():
    """What the model is then nobody knows; but it is one, and goes on."""
    estimator, kind = make("classes")
    train(train(estimator, kind, 2), kind, 3)

    def work():
        for k in range(40):
            train(estimator, kind, k)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    train(estimator, kind, 5)
    assert np.isfinite(estimator.embeddings_).all()
    assert estimator.embeddings_.shape == (N_COLUMNS, 5)


@pytest.mark.parametrize("case", ["classes", "adam, long batches", "sampled", "regressor"])
def test_no_batch_is_held(case):
    """The arrays of X and the weights are let go of when a call ends."""
    estimator, kind = make(case)
    for k in range(6):
        train(estimator, kind, k)
    X, y = batch(7, kind)
    X.sum_duplicates()
    weights = np.ones(X.shape[0])
    held = [weakref.ref(array) for array in (X.data, X.indices, X.indptr, y, weights)]
    estimator.partial_fit(X, y, sample_weight=weights)
    assert streams(estimator)
    del X, y, weights
    gc.collect()
    assert all(array() is None for array in held)


@pytest.mark.parametrize("case", ["classes", "adam, long batches", "sampled"])
def test_memory_for_taking_back_is_let_go_of_where_it_is_large(case, monkeypatch):
    monkeypatch.setattr(undo, "_FEW_BYTES", 0)
    monkeypatch.setattr(undo, "_MOST_BYTES", 0)
    seen, take = [], training.take

    def noted(*arguments):
        taken = take(*arguments)
        seen.extend(weakref.ref(array) for array in taken if len(taken.rows))
        return taken

    monkeypatch.setattr(training, "take", noted)
    estimator, kind = make(case)
    for k in range(6):
        train(estimator, kind, k)
    gc.collect()
    assert streams(estimator)
    assert len(seen) > 4 * 7
    assert all(array() is None for array in seen)


def test_scratch_memory_of_a_stream_is_of_the_larger_call():
    """A call of few members after one of many, and the other way round."""
    rng = np.random.default_rng(0)
    estimator = EmbeddingBagClassifier(4, batch_size=4, random_state=0)
    reference = EmbeddingBagClassifier(4, batch_size=4, random_state=0)
    for k, density in enumerate([0.01, 0.9, 0.02, 1.0, 0.5, 0.0]):
        dense = (rng.random((12, 3000)) < density).astype(np.float32)
        X, y = csr_matrix(dense), rng.integers(0, 2, 12)
        first = {} if k else {"classes": [0, 1]}
        estimator.partial_fit(X, y, **first)
        (without_stream(reference) if k else reference).partial_fit(X, y, **first)
        assert state(estimator) == state(reference)
