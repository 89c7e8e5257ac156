"""Saved models: as large as what they learnt, the same to the bit, mapped into memory, of other versions."""

import copy
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor, EmbeddingBagVectorizer

N, COLUMNS, USED = 40, 6000, 50
RNG = np.random.default_rng(0)
USED_COLUMNS = np.sort(RNG.choice(COLUMNS, USED, replace=False))
X = csr_array((RNG.random(N * 5) + 0.1, USED_COLUMNS[RNG.integers(0, USED, N * 5)], np.arange(N + 1) * 5), (N, COLUMNS))
X.sum_duplicates()
Y = np.arange(N) % 3
NUMBERS = RNG.normal(size=(N, 2))
SOLVERS = ("sgd", "rowwise_adagrad", "adagrad", "adam")
SMALL = 60_000  # bytes; the tables are 6000 * 8 * 4 or 8 bytes


def trained(kind=EmbeddingBagClassifier, **params):
    params = {"embedding_dim": 8, "max_iter": 3, "learning_rate_init": 0.01, **params}
    return kind(**params).fit(X, Y if kind is EmbeddingBagClassifier else NUMBERS)


def assert_same(one, other):
    """Every bit of two states."""
    if isinstance(one, np.ndarray):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one.keys() - {"_models"}:  # made of the rest
            assert_same(one[key], other[key])
    elif isinstance(one, np.random.RandomState):
        assert_same(one.get_state(legacy=False), other.get_state(legacy=False))
    elif hasattr(one, "__dict__"):
        assert_same(vars(one), vars(other))
    else:
        assert one == other


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", [EmbeddingBagClassifier, EmbeddingBagRegressor])
def test_a_small_pickle_is_the_same_model_to_the_bit(kind, solver, dtype):
    model = trained(kind, solver=solver, dtype=dtype, padding_idx=int(USED_COLUMNS[4]))
    saved = pickle.dumps(model)
    assert len(saved) < SMALL < model.embeddings_.nbytes
    other = pickle.loads(saved)
    assert_same(vars(model), vars(other))
    y = Y if kind is EmbeddingBagClassifier else NUMBERS
    assert_same(vars(model.partial_fit(X, y)), vars(other.partial_fit(X, y)))
    assert len(pickle.dumps(other)) < SMALL


@pytest.mark.parametrize("seed", [None, 3, "instance"])
def test_the_seed_of_a_draw_is_kept(seed):
    seed = np.random.RandomState(1) if seed == "instance" else seed
    model = trained(random_state=seed)
    other = pickle.loads(pickle.dumps(model))
    assert np.array_equal(other.embeddings_, model.embeddings_)
    unused = np.setdiff1d(np.arange(COLUMNS), USED_COLUMNS)
    again = trained(random_state=None)
    assert not np.array_equal(again.embeddings_[unused], model.embeddings_[unused])
    assert_same(vars(pickle.loads(pickle.dumps(again))), vars(again))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_and_every_kind_of_copy(protocol):
    model = trained(random_state=0)
    for other in (pickle.loads(pickle.dumps(model, protocol)), copy.deepcopy(model), copy.copy(model)):
        assert_same(vars(model), vars(other))
    assert not hasattr(clone(model), "embeddings_")


def test_a_drawn_vectorizer_is_its_seed():
    model = EmbeddingBagVectorizer(8, init="uniform").fit(X)
    saved = pickle.dumps(model)
    assert len(saved) < 2000
    assert np.array_equal(pickle.loads(saved).embeddings_, model.embeddings_)
    normal = EmbeddingBagVectorizer(8, init="normal").fit(X)  # NumPy may draw that otherwise one day
    assert len(pickle.dumps(normal)) > normal.embeddings_.nbytes


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.embeddings_.__setitem__(slice(None), 0.0),
        lambda m: m.embeddings_.__setitem__(7, -0.0),
        lambda m: m.embeddings_.__setitem__(7, np.nan),
        lambda m: setattr(m, "embeddings_", np.asfortranarray(m.embeddings_)),
        lambda m: setattr(m, "embeddings_", m.embeddings_.astype("float64")),
        lambda m: setattr(m, "embeddings_", m.embeddings_[:, :3]),
        lambda m: setattr(m, "embeddings_", m.embeddings_[:5]),
        lambda m: m._solver_state[0][0].__setitem__(slice(0, 100), 7.0),
        lambda m: m._solver_state[0][0].__setitem__(slice(None), 7.0),
        lambda m: m.set_params(init="normal", padding_idx=3, random_state=7, max_norm=2, mode="sum"),
    ],
    ids=["zeros", "minus zero", "nan", "order", "dtype", "narrow", "short", "state", "states", "params"],
)
def test_what_was_changed_by_hand_is_stored(change):
    model = trained(random_state=0)
    change(model)
    other = pickle.loads(pickle.dumps(model))
    assert_same(vars(model), vars(other))


def test_max_norm_and_given_tables_are_stored_whole():
    for model in (
        trained(max_norm=0.1, random_state=0),
        trained(init=RNG.normal(size=(COLUMNS, 8)), random_state=0),
        trained(init="normal", random_state=0),
    ):
        saved = pickle.dumps(model)
        assert len(saved) > model.embeddings_.nbytes
        assert_same(vars(pickle.loads(saved)), vars(model))


def test_a_model_that_learnt_in_turns():
    model = trained(random_state=0)
    model = pickle.loads(pickle.dumps(model))
    moved = csr_array((X.data, (X.indices + 1) % COLUMNS, X.indptr), X.shape)
    moved.sort_indices()
    straight = trained(random_state=0).partial_fit(moved, Y)
    model.partial_fit(moved, Y)
    assert_same(vars(pickle.loads(pickle.dumps(model))), vars(straight))
    model.set_params(warm_start=True).fit(X, Y)
    straight.set_params(warm_start=True).fit(X, Y)
    assert_same(vars(pickle.loads(pickle.dumps(model))), vars(straight))
    other = model.set_params(warm_start=False, init=np.ones((COLUMNS, 8))).fit(X, Y)
    assert_same(vars(pickle.loads(pickle.dumps(other))), vars(other))


def test_tables_of_many_and_of_wide_rows():
    for columns, dim in ((3, 20_000), (20_000, 1), (8192, 1), (2, 4096)):
        rows = csr_array(np.eye(2, columns))
        for changed in ([], [0], [columns - 1], [0, 1]):
            model = EmbeddingBagVectorizer(dim, init="uniform").fit(rows)
            model.embeddings_[changed] += 1
            assert_same(vars(pickle.loads(pickle.dumps(model))), vars(model))


# --- joblib


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3)])
def test_joblib_files_compressed_or_not(tmp_path, compress):
    for model in (trained(random_state=0), whole()):
        joblib.dump(model, tmp_path / "model.joblib", compress=compress)
        assert_same(vars(joblib.load(tmp_path / "model.joblib")), vars(model))


def whole():
    """A model all of whose rows are stored."""
    model = trained(random_state=0)
    model.embeddings_ += 1
    return model


def test_a_mapped_model_predicts_and_learns_in_copies(tmp_path):
    model, path = whole(), tmp_path / "model.joblib"
    joblib.dump(model, path)
    content = path.read_bytes()
    mapped = joblib.load(path, mmap_mode="r")
    assert isinstance(mapped.embeddings_, np.memmap)
    assert np.array_equal(mapped.decision_function(X), model.decision_function(X))
    for a, b in zip(mapped.contributions(X), model.contributions(X), strict=True):
        assert np.array_equal(a.data, b.data)
    assert mapped.top_features(2) == model.top_features(2)
    assert np.array_equal(mapped.to_linear().predict(X), model.predict(X))
    assert_same(vars(mapped.compact(9)[0])["embeddings_"], model.compact(9)[0].embeddings_)
    mapped.partial_fit(X, Y)
    assert path.read_bytes() == content


PREDICT = """
import sys
import joblib, numpy as np
model = joblib.load(sys.argv[1], mmap_mode="r")
n = model.n_features_in_
before, _ = own()
for first in range(0, n, 100):
    model.predict(np.eye(1, n, first))
after, shared = own()
print(after - before, shared)
"""
OWN = """
def own():
    lines = [line.split() for line in open("/proc/self/smaps")]
    mine, shared, inside = 0, 0, False
    for words in lines:
        if "-" in words[0] and len(words) >= 5:
            inside = words[-1].endswith(".joblib")
        elif inside and words[0] == "Anonymous:":
            mine += int(words[1])
        elif inside and words[0] == "Rss:":
            shared += int(words[1])
    return mine, shared
"""


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs /proc of Linux")
def test_a_mapped_model_stays_in_its_file(tmp_path):
    model = EmbeddingBagClassifier(64, max_iter=1, random_state=0).fit(csr_array(np.eye(2, 20_000)), [0, 1])
    model.embeddings_ += 1
    joblib.dump(model, tmp_path / "model.joblib")
    command = [sys.executable, "-c", OWN + PREDICT, str(tmp_path / "model.joblib")]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    mine, mapped = map(int, result.stdout.split())
    assert mine == 0  # kilobytes that this process alone has of the model
    assert mapped > 3000


# --- skops


@pytest.mark.parametrize("kind", [EmbeddingBagClassifier, EmbeddingBagRegressor, EmbeddingBagVectorizer])
def test_skops_needs_to_trust_classes_of_skbag_alone(kind):
    sio = pytest.importorskip("skops.io")
    models = [trained(kind, random_state=0) if hasattr(kind, "partial_fit") else kind(8, random_state=0).fit(X)]
    if kind is EmbeddingBagClassifier:
        labels = (NUMBERS > 0).astype(int)
        models += [kind(8, threshold="expected_f1").fit(X, labels), whole(), kind(8).fit(X, np.array(list("abcd"))[Y])]
    for model in models:
        saved = sio.dumps(model)
        assert set(sio.get_untrusted_types(data=saved)) <= set(kind.skops_types())
        assert all(name.startswith("skbag.") for name in kind.skops_types())
        other = sio.loads(saved, trusted=kind.skops_types())
        assert_same(vars(model), vars(other))


# --- versions


def test_a_model_of_the_first_days(monkeypatch):
    model = trained(random_state=0)
    state = dict(vars(model))
    for name in ("_drawn", "_label_counts", "threshold"):
        state.pop(name, None)
    state["_skbag_version"] = "0.0.1"
    other = EmbeddingBagClassifier.__new__(EmbeddingBagClassifier)
    with pytest.warns(UserWarning, match=r"EmbeddingBagClassifier was saved by skbag 0\.0\.1"):
        other.__setstate__(state)
    assert other.threshold == 0.5
    assert np.array_equal(other.predict(X), model.predict(X))
    other.partial_fit(X, Y)
    assert_same(other.embeddings_, model.partial_fit(X, Y).embeddings_)
    assert_same(vars(pickle.loads(pickle.dumps(other))), vars(other))
    assert len(other.compact()[1]) == COLUMNS  # nobody knows what was drawn


def test_a_model_of_days_to_come(monkeypatch):
    monkeypatch.setattr("skbag._estimators.saved.FORMAT", 9)
    monkeypatch.setattr("skbag._estimators.saved.__version__", "7.0")
    saved = io.BytesIO(pickle.dumps(trained()))
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"saved by skbag 7\.0, which stores models in a way .* skbag 7\.0 or newer"):
        pickle.load(saved)
