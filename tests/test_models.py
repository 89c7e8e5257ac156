"""What is kept of a fitted model for the next call: results are those of the attributes as they are now."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import random_csr

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor

N_COLUMNS = 50


@pytest.fixture(scope="module")
def X():  # noqa: N802
    return random_csr(70, N_COLUMNS, longest=8, dtype="float32")


@pytest.fixture(scope="module")
def y():
    return np.arange(70) % 3


def fresh(model):
    """The model as it would be in a new process."""
    return pickle.loads(pickle.dumps(model))


def scale_table(model):
    model.embeddings_[::2] *= 3


def scale_layer(model):
    model.coefs_[0][0] -= 2


def move_intercepts(model):
    model.intercepts_[-1][:] = np.arange(len(model.intercepts_[-1]))


def assign_table(model):
    model.embeddings_ = np.asfortranarray(model.embeddings_ * 2)


def assign_layer(model):
    model.coefs_[0] = np.ascontiguousarray(model.coefs_[0]) + 1


def assign_list(model):
    model.intercepts_[-1] = (model.intercepts_[-1] + [1, 2, 3][: len(model.intercepts_[-1])]).tolist()


def set_mode(model):
    model.set_params(mode="max")


def set_activation(model):
    model.set_params(activation="tanh")


CHANGES = [
    scale_table, scale_layer, move_intercepts, assign_table, assign_layer, assign_list, set_mode, set_activation,
]  # fmt: skip


def models():
    return [
        EmbeddingBagClassifier(8, max_iter=2, random_state=0),
        EmbeddingBagClassifier(8, max_iter=2, random_state=0, hidden_layer_sizes=(5,)),
        EmbeddingBagRegressor(8, max_iter=2, random_state=0),
    ]


@pytest.mark.parametrize("model", models(), ids=["classifier", "hidden", "regressor"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_written_to_attributes_is_seen(X, y, model, change):
    model.fit(X, y)
    outputs = getattr(model, "decision_function", model.predict)
    before = outputs(X)
    assert outputs(X).tobytes() == before.tobytes()
    change(model)
    changed = outputs(X)
    expected = getattr(fresh(model), "decision_function", fresh(model).predict)(X)
    assert changed.tobytes() == expected.tobytes()
    if change is not set_activation or model.hidden_layer_sizes:
        assert changed.tobytes() != before.tobytes()


@pytest.mark.parametrize("model", models(), ids=["classifier", "hidden", "regressor"])
@pytest.mark.parametrize("change", [*CHANGES, lambda model: model.set_params(solver="adam")])
def test_training_goes_on_from_what_was_written(X, y, model, change):
    more = {"classes": [0, 1, 2]} if isinstance(model, EmbeddingBagClassifier) else {}
    model.partial_fit(X, y, **more).partial_fit(X[:20], y[:20])
    change(model)
    other = fresh(model)
    for each in (model, other):
        each.partial_fit(X[20:], y[20:]).partial_fit(X[:7], y[:7])
    assert model.embeddings_.tobytes() == other.embeddings_.tobytes()
    assert model.predict(X).tobytes() == other.predict(X).tobytes()


def test_wrong_attributes_are_found_after_right_ones(X, y):
    model = EmbeddingBagClassifier(8, max_iter=2, random_state=0).fit(X, y)
    model.predict(X)
    for name, value, message in (
        ("embeddings_", model.embeddings_[:-1], "embeddings_ must have the shape"),
        ("coefs_", [model.coefs_[0].T], "coefs_\\[0\\] must have the shape"),
        ("intercepts_", [], "intercepts_ must be 1 arrays"),
    ):
        broken = fresh(model)
        broken.predict(X)
        setattr(broken, name, value)
        with pytest.raises(ValueError, match=message):
            broken.predict(X)
    model.embeddings_.flags.writeable = False  # as of a file that is mapped
    before = model.embeddings_.copy()
    table = model.embeddings_
    model.partial_fit(X, y)
    assert table.tobytes() == before.tobytes() != model.embeddings_.tobytes()


def test_memory_that_is_kept_grows_with_rows_and_members(X, y):
    model = EmbeddingBagClassifier(8, max_iter=2, random_state=0).fit(X, y)
    expected = model.decision_function(X)
    long = random_csr(3, N_COLUMNS, longest=50, dtype="float32")
    for rows in (slice(1), slice(40, 60), slice(70), slice(5), slice(0)):
        assert model.decision_function(X[rows]).tobytes() == expected[rows].tobytes()
        assert model.decision_function(long).tobytes() == fresh(model).decision_function(long).tobytes()


def test_threads_that_predict_at_once_have_memory_of_their_own(X, y):
    model = EmbeddingBagClassifier(8, max_iter=2, random_state=0).fit(X, y)
    expected = model.decision_function(X)
    rows = np.random.default_rng(0).integers(0, X.shape[0], 2000)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: model.decision_function(X[[row]]), rows))
    assert np.concatenate(found).tobytes() == expected[rows].tobytes()


def test_a_pickle_has_none_of_it(X, y):
    model = EmbeddingBagClassifier(8, max_iter=2, random_state=0).fit(X, y)
    before = pickle.dumps(model)
    model.predict(X)
    assert pickle.dumps(model) == before
    assert b"_models" not in before


def test_a_call_of_partial_fit_costs_the_same_after_many(X, y):
    """What is kept of the calls before is neither copied nor gone through: a stream may have millions."""
    model = EmbeddingBagClassifier(8, random_state=0).partial_fit(X, y, classes=[0, 1, 2])
    losses, attributes = model.loss_curve_, dict(vars(model))
    model.partial_fit(X, y).partial_fit(X, y)
    assert model.loss_curve_ is losses
    assert len(losses) == 3
    assert model.best_loss_ == min(losses)
    for name in ("embeddings_", "coefs_", "intercepts_"):
        assert vars(model)[name] is attributes[name]


@pytest.mark.parametrize("place", ["_keep", "_keep_scores", "_with_fit_of"])
def test_losses_of_a_failed_call_are_taken_back(X, y, place, monkeypatch):
    model = EmbeddingBagClassifier(8, random_state=0).partial_fit(X, y, classes=[0, 1, 2])
    before, losses = fresh(model), list(model.loss_curve_)

    def fail(*args, **kwargs):
        raise RuntimeError("as asked")

    with monkeypatch.context() as patched:
        patched.setattr(EmbeddingBagClassifier, place, fail)
        with pytest.raises(RuntimeError, match="as asked"):
            model.partial_fit(X[:40], y[:40])
    assert model.loss_curve_ == losses
    assert model.best_loss_ == min(losses)
    np.testing.assert_array_equal(model.embeddings_, before.embeddings_)
    assert model.partial_fit(X, y).embeddings_.tobytes() == before.partial_fit(X, y).embeddings_.tobytes()


def test_the_best_loss_goes_on_after_fit(X, y):
    model = EmbeddingBagClassifier(8, max_iter=3, random_state=0).fit(X, y)
    model.partial_fit(X, y)
    assert len(model.loss_curve_) == 4
    assert model.best_loss_ == min(model.loss_curve_)
    model = EmbeddingBagClassifier(8, max_iter=3, random_state=0, early_stopping=True).fit(X, y)
    model.set_params(early_stopping=False).partial_fit(X, y)
    assert model.best_loss_ == min(model.loss_curve_)
