"""Tables of float16, bfloat16 and int8: what is stored, what is computed with it, and training."""

import pickle
import tracemalloc
from importlib.util import find_spec

import joblib
import numpy as np
import pytest
import reference
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skbag import (
    EmbeddingBagClassifier,
    EmbeddingBagRegressor,
    EmbeddingBagVectorizer,
    QuantizedTable,
    embedding,
    embedding_bag,
)
from skbag._data.quantized import BITS, rounded_by_chance

STORAGES = ["float16", "bfloat16", "int8"]
ERRORS = {"float16": 2**-11, "bfloat16": 2**-8, "int8": 1 / 250}  # of a number, of int8 over the largest of its row
RNG = np.random.default_rng(0)
X = sparse.random(300, 120, 0.08, format="csr", random_state=0, dtype=np.float32)
Y = (np.asarray(X[:, :40].sum(1)) > np.asarray(X[:, 40:80].sum(1))).ravel().astype(int)


def table_of(n_rows, dim):
    return RNG.standard_normal((n_rows, dim)).astype(np.float32)


def classifier(**params):
    return EmbeddingBagClassifier(**{"embedding_dim": 16, "random_state": 0, "max_iter": 8, **params})


def is_mapped(array):
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    return array is not None


# --- the table


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_are_rounded_to_the_nearest(storage, dtype):
    table = table_of(200, 7).astype(dtype) * np.logspace(-3, 3, 200)[:, None].astype(dtype)
    table[3], table[4, 2] = 0, -0.0
    small = QuantizedTable.of(table, storage)
    assert small.shape == (200, 7)
    assert len(small) == 200
    assert small.storage == storage
    assert small.dtype == np.float32
    assert small.nbytes == 200 * 7 * (1 if storage == "int8" else 2) + (200 * 4 if storage == "int8" else 0)
    limit = np.abs(table) if storage != "int8" else np.abs(table).max(axis=1, keepdims=True)
    assert (np.abs(np.asarray(small) - table) <= limit * ERRORS[storage] + 1e-7).all()
    np.testing.assert_array_equal(small[[5, 1]], np.asarray(small)[[5, 1]])
    np.testing.assert_array_equal(small[7, 2:4], np.asarray(small)[7, 2:4])
    np.testing.assert_array_equal(small.take([5, 1]), np.asarray(small)[[5, 1]])
    np.testing.assert_array_equal(QuantizedTable.of(small, storage), small)  # once is enough
    if storage == "float16":
        np.testing.assert_array_equal(small, table.astype(np.float32).astype(np.float16))
    if storage == "bfloat16" and find_spec("ml_dtypes"):
        import ml_dtypes

        np.testing.assert_array_equal(small, table.astype(np.float32).astype(ml_dtypes.bfloat16).astype(np.float32))


def test_values_that_are_given_are_not_copied():
    half, whole, scales = table_of(4, 3).astype(np.float16), np.array([[1, -2], [127, 0]], np.int8), np.array([0.5, 2])
    assert np.shares_memory(QuantizedTable(half).bits, half)
    np.testing.assert_array_equal(QuantizedTable(half), half)
    np.testing.assert_array_equal(QuantizedTable(whole, scales), [[0.5, -1], [254, 0]])
    np.testing.assert_array_equal(QuantizedTable(np.array([[0x3FC0]], np.uint16)), [[1.5]])
    np.testing.assert_array_equal(QuantizedTable(half.astype(">f2")), half)


@pytest.mark.parametrize(
    ("error", "words", "make"),
    [
        (TypeError, r"values must be float16.*float32", lambda: QuantizedTable(table_of(2, 2))),
        (ValueError, r"values must be of shape.*\(4,\)", lambda: QuantizedTable(np.zeros(4, np.float16))),
        (ValueError, r"scales must be given for int8", lambda: QuantizedTable(np.zeros((2, 2), np.int8))),
        (ValueError, r"scales must be given for int8", lambda: QuantizedTable(np.zeros((2, 2), np.float16), [1, 1])),
        (ValueError, r"one number per row of values, 2", lambda: QuantizedTable(np.zeros((2, 2), np.int8), [1.0])),
        (ValueError, r"finite and not negative, got nan at row 1",
         lambda: QuantizedTable(np.zeros((2, 2), np.int8), [1.0, np.nan])),
        (ValueError, r"finite and not negative, got -1.0 at row 0",
         lambda: QuantizedTable(np.zeros((2, 2), np.int8), [-1.0, 1.0])),
        (ValueError, r"dtype must be 'float16', 'bfloat16' or 'int8', got 'int4'",
         lambda: QuantizedTable.of(table_of(2, 2), "int4")),
        (TypeError, r"table must be of real numbers", lambda: QuantizedTable.of([["a"]], "int8")),
        (ValueError, r"cannot be stored as float16: 1, 3\. .*at most 65504 in size, and row 1 has 70000",
         lambda: QuantizedTable.of([[1.0, 2], [1, 7e4], [3, 4], [-1e9, 0]], "float16")),
        (ValueError, r"cannot be stored as float16: 0, .*, 9 and 5 more", lambda: QuantizedTable.of(
            np.full((15, 2), 1e5), "float16")),
        (ValueError, r"cannot be stored as bfloat16: 0\. .*at most 3\.3895e\+38",
         lambda: QuantizedTable.of([[3.4e38, 0]], "bfloat16")),
        (ValueError, r"cannot be stored as int8: 1\. .*row 1 has 1e\+39", lambda: QuantizedTable.of(
            [[1, 2], [1e39, 0]], "int8")),
        (ValueError, r"cannot be stored as int8: 0\. .*row 0 has nan", lambda: QuantizedTable.of(
            [[np.nan, 1]], "int8")),
        (ValueError, r"always a copy", lambda: np.array(QuantizedTable.of(table_of(2, 2)), copy=False)),
    ],
)  # fmt: skip
def test_what_cannot_be_stored(error, words, make):
    if words == r"always a copy" and np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("copy=False means another thing there")
    with pytest.raises(error, match=words):
        make()


# --- pooling


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dim", [3, 20, 130])
def test_pooling_is_that_of_the_numbers_stored(storage, dim):
    small = QuantizedTable.of(table_of(40, dim), storage)
    table, ids, weights = np.asarray(small), RNG.integers(0, 40, (9, 6)), RNG.standard_normal((9, 6))
    ids[0] = 7
    for mode, w, padding_idx in (("sum", weights, None), ("mean", None, None), ("max", None, 7), ("sqrtn", weights, 7)):
        expected = reference.pool(reference.bags_of_ids(ids, weights=w), table, mode, padding_idx)
        found = embedding_bag(ids, small, mode=mode, per_sample_weights=w, padding_idx=padding_idx)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(embedding(ids, small), table[ids])
    with pytest.raises(ValueError, match="id 40"):
        embedding_bag([[40]], small)


@pytest.mark.parametrize("storage", STORAGES)
def test_norms_and_threads(storage):
    small = QuantizedTable.of(table_of(500, 20), storage)
    table, ids = np.asarray(small), RNG.integers(0, 500, (40_000, 6))
    few = ids[:20]
    expected = reference.pool(reference.bags_of_ids(few), table, "sum", max_norm=2.0)
    np.testing.assert_allclose(embedding_bag(few, small, mode="sum", max_norm=2.0), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        embedding(few, small, max_norm=2.0), reference.rescaled(table, 2.0)[few], rtol=1e-5, atol=1e-5
    )
    one, two = (embedding_bag(ids, small, mode="sum", n_jobs=n_jobs) for n_jobs in (1, 2))
    np.testing.assert_array_equal(one, two)
    vectorizer = EmbeddingBagVectorizer(init=small, dtype=storage, max_norm=2.0).fit(np.eye(500))
    limit = 2 * (1 + ERRORS[storage])
    assert (np.linalg.norm(np.asarray(vectorizer.embeddings_), axis=1) <= limit).all()


def test_infinity_and_nan_of_float16_come_out():
    table = np.array([[1, np.inf], [2, np.nan], [-np.inf, 4]], np.float16)
    np.testing.assert_array_equal(embedding_bag([[0, 2], [1, 1]], table, mode="max"), [[1, np.inf], [2, np.nan]])
    np.testing.assert_array_equal(embedding_bag([[0, 0]], table, mode="sum"), [[2, np.inf]])


# --- the vectorizer


@pytest.mark.parametrize("storage", STORAGES)
def test_a_vectorizer_of_less_memory(storage, tmp_path):
    table = table_of(120, 20)
    ready = EmbeddingBagVectorizer.from_pretrained(table)
    small, expected = ready.quantize(storage), ready.transform(X)
    error = np.linalg.norm(small.transform(X) - expected) / np.linalg.norm(expected)
    assert error < {"float16": 1e-3, "bfloat16": 4e-3, "int8": 1e-2}[storage]
    assert (small.transform(X) == embed_all(small.embeddings_)).all()
    others = [pickle.loads(pickle.dumps(small)), clone(small).fit(X)]
    others += [EmbeddingBagVectorizer.from_pretrained(small.embeddings_)]
    others += [EmbeddingBagVectorizer(init=table, dtype=storage).fit(X)]
    for other in others:
        assert other.get_params()["dtype"] == storage
        np.testing.assert_array_equal(other.transform(X), small.transform(X))
    joblib.dump(small, tmp_path / "small.joblib")
    mapped = joblib.load(tmp_path / "small.joblib", mmap_mode="r")
    assert is_mapped(mapped.embeddings_.bits)
    np.testing.assert_array_equal(mapped.transform(X), small.transform(X))
    assert (tmp_path / "small.joblib").stat().st_size < 120 * 20 * (1.5 if storage == "int8" else 2) + 4000
    drawn = EmbeddingBagVectorizer(20, dtype=storage, random_state=0).fit(X)
    same = EmbeddingBagVectorizer(20, random_state=0).fit(X)
    np.testing.assert_array_equal(drawn.embeddings_, QuantizedTable.of(same.embeddings_, storage))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(drawn)).transform(X), drawn.transform(X))
    assert ready.embeddings_ is table or np.shares_memory(ready.embeddings_, table)  # left alone


def embed_all(table):
    return EmbeddingBagVectorizer.from_pretrained(table).transform(X)


def test_files(tmp_path):
    table = table_of(120, 16)
    half, brain = (QuantizedTable.of(table, storage) for storage in STORAGES[:2])
    np.save(tmp_path / "half.npy", half.bits.view(np.float16))
    np.save(tmp_path / "brain.npy", brain.bits.view("V2"))  # as NumPy saves ml_dtypes'
    for name, small in (("half", half), ("brain", brain)):
        ready = EmbeddingBagVectorizer.from_pretrained(tmp_path / f"{name}.npy")
        assert ready.dtype == small.storage
        assert is_mapped(ready.embeddings_.bits)
        np.testing.assert_array_equal(ready.transform(X), embed_all(small))
        again = clone(ready).fit(X)
        np.testing.assert_array_equal(again.embeddings_, small)
        with pytest.raises(ValueError, match=rf"must hold float32 in C order, got {small.storage}"):
            EmbeddingBagVectorizer(init=tmp_path / f"{name}.npy").fit(X)
    np.save(tmp_path / "full.npy", table)
    with pytest.raises(ValueError, match="must hold int8 in C order, got float32"):
        EmbeddingBagVectorizer(init=tmp_path / "full.npy", dtype="int8").fit(X)


def test_tensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    table = table_of(120, 16)
    half, whole = (QuantizedTable.of(table, storage) for storage in ("float16", "int8"))
    tensors = {"half": half.bits.view(np.float16), "whole": whole.bits, "whole_scale": whole.scales[:, None]}
    safetensors.save_file({**tensors, "plain": whole.bits}, tmp_path / "t.safetensors")
    for name, meant in (("half", half), ("whole", whole)):
        ready = EmbeddingBagVectorizer.from_pretrained(tmp_path / f"t.safetensors#{name}")
        assert ready.embeddings_.storage == meant.storage
        assert is_mapped(ready.embeddings_.bits)
        np.testing.assert_array_equal(ready.transform(X), embed_all(meant))
        wide = EmbeddingBagVectorizer(init=tmp_path / f"t.safetensors#{name}").fit(X)
        np.testing.assert_array_equal(wide.embeddings_, np.asarray(meant))
    plain = EmbeddingBagVectorizer.from_pretrained(tmp_path / "t.safetensors#plain")
    np.testing.assert_array_equal(plain.embeddings_, whole.bits)  # numbers, without scales
    del tensors["half"]
    safetensors.save_file(tensors, tmp_path / "one.safetensors")
    assert EmbeddingBagVectorizer.from_pretrained(tmp_path / "one.safetensors").dtype == "int8"
    tensors["whole_scale"] = whole.scales[:5]
    safetensors.save_file(tensors, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match=r"whole_scale.*one number per row of values, 120"):
        EmbeddingBagVectorizer.from_pretrained(tmp_path / "bad.safetensors")


def test_names_and_neighbours_of_a_small_table(tmp_path):
    ready = EmbeddingBagVectorizer.from_pretrained(table_of(30, 8))
    small, names = ready.quantize("float16"), [f"w{i}" for i in range(30)]
    assert small.nearest_features(3, 2)[0][0] == ready.nearest_features(3, 2)[0][0]
    small.to_vec(tmp_path / "small.vec", names)
    numbers = np.loadtxt(tmp_path / "small.vec", skiprows=1, usecols=range(1, 9))
    np.testing.assert_array_equal(numbers.astype(np.float32), small.embeddings_)
    summed = EmbeddingBagVectorizer.from_pretrained(small.embeddings_, mode="sum")
    features = summed.transform(np.eye(30)[:4])
    np.testing.assert_allclose(summed.transform(summed.inverse_transform(features)), features, atol=1e-4)


# --- trained models


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("mode", ["sqrtn", "max"])
def test_a_model_that_was_quantized_predicts_as_before(storage, mode):
    model = classifier(mode=mode).fit(X, Y)
    before = pickle.dumps(model)
    small = model.quantize(storage)
    assert pickle.dumps(model) == before
    assert small.embeddings_.storage == storage
    np.testing.assert_allclose(small.predict_proba(X), model.predict_proba(X), atol=0.03)
    np.testing.assert_array_equal(small.predict(X[:1]), small.predict(X)[:1])
    wide = model.quantize(storage)
    wide.embeddings_ = np.asarray(small.embeddings_)
    np.testing.assert_allclose(small.decision_function(X), wide.decision_function(X), rtol=1e-5, atol=1e-5)
    for other in (pickle.loads(pickle.dumps(small)), small.quantize(storage)):
        np.testing.assert_array_equal(other.predict_proba(X), small.predict_proba(X))
    sums = small.contributions(X).sum(axis=1) + small.intercepts_[0]
    np.testing.assert_allclose(sums, small.decision_function(X), atol=1e-4)
    np.testing.assert_array_equal(small.to_state_dict()["embedding_bag.weight"], np.asarray(small.embeddings_))
    assert small.feature_importances_.dtype == np.float32
    few, columns = small.compact(100)
    assert few.embeddings_.storage == storage
    np.testing.assert_array_equal(few.embeddings_, np.asarray(small.embeddings_)[columns])
    if mode != "max":
        linear = small.to_linear()
        np.testing.assert_allclose(linear.predict_proba(X), small.predict_proba(X), atol=1e-4)
    assert len(pickle.dumps(small)) < len(pickle.dumps(wide))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("mode", ["mean", "max", ["sum", "max"]])
def test_contributions_read_the_rows_that_are_named(mode, storage):
    n, dim, some = 40_000, 30, sparse.csr_array(([1.0, 2, 3, 0.5], [3, 39_999, 7, 3], [0, 2, 4]), shape=(2, 40_000))
    rng = np.random.default_rng(0)
    model = classifier(mode=mode, embedding_dim=dim, max_iter=1).fit(sparse.csr_array((3, n)), [0, 1, 2])
    model.embeddings_ = QuantizedTable.of(rng.standard_normal((n, dim)), storage)
    model.coefs_[0][:] = rng.standard_normal(model.coefs_[0].shape)
    asked = None, 1, [2, 0]
    for output in asked:
        model.contributions(some, output)  # compiles
    tracemalloc.start()
    try:
        found = [model.contributions(some, output) for output in asked]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < n * dim * 4 / 10
    model.embeddings_ = np.asarray(model.embeddings_)
    for one, output in zip(found, asked, strict=True):
        meant = model.contributions(some, output)
        for mine, other in zip(*((one, meant) if output is None else ([one], [meant])), strict=True):
            np.testing.assert_allclose(mine.toarray(), other.toarray(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("storage", ["float16", "bfloat16"])
def test_numbers_are_rounded_by_chance_to_one_of_two_and_keep_the_mean(storage):
    rng = np.random.default_rng(0)
    numbers = np.concatenate((rng.normal(size=40), 10.0 ** rng.uniform(-9, 4, 40), [0, 1, -2.5, 1e-7])).astype(
        np.float32
    )
    many = np.repeat(numbers[None], 2000, axis=0)
    bits = rounded_by_chance(many, BITS[storage], rng)
    found = np.asarray(QuantizedTable._of_bits(bits)).astype(np.float64)
    step = np.maximum(np.abs(numbers) * {"float16": 2.0**-10, "bfloat16": 2.0**-7}[storage], 2.0**-24)
    assert (np.abs(found - numbers) <= step).all()
    assert max(len(np.unique(column)) for column in found.T) == 2
    np.testing.assert_array_less(np.abs(found.mean(axis=0) - numbers), step * 0.06 + 1e-30)
    kept = np.asarray(QuantizedTable.of(numbers[None], storage))
    np.testing.assert_array_equal(QuantizedTable._of_bits(rounded_by_chance(kept, BITS[storage], rng)), kept)


def test_int8_cannot_be_trained():
    small = classifier(warm_start=True).fit(X, Y).quantize()
    before = small.predict_proba(X)
    for train in (small.partial_fit, small.fit):
        with pytest.raises(ValueError, match="embeddings_ is stored as int8, which cannot be trained"):
            train(X, Y)
    np.testing.assert_array_equal(small.predict_proba(X), before)
    assert small.set_params(warm_start=False).fit(X, Y).embeddings_.dtype == np.float32
    with pytest.raises(ValueError, match="dtype must be 'float32', 'float64', 'float16' or 'bfloat16', got 'int8'"):
        classifier(dtype="int8").fit(X, Y)


@pytest.mark.parametrize("storage", ["float16", "bfloat16"])
@pytest.mark.parametrize("solver", ["rowwise_adagrad", "sgd", "adam"])
def test_training_a_small_table(storage, solver):
    full = classifier(solver=solver).fit(X, Y)
    small = classifier(solver=solver, dtype=storage).fit(X, Y)
    assert small.embeddings_.storage == storage
    assert small.score(X, Y) > full.score(X, Y) - 0.03
    assert small.transform(X).dtype == np.float32
    two = classifier(solver=solver, dtype=storage, n_jobs=2, batch_size=64).fit(X, Y)
    one = classifier(solver=solver, dtype=storage, n_jobs=1, batch_size=64).fit(X, Y)
    np.testing.assert_array_equal(one.embeddings_, two.embeddings_)
    before = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(before.predict_proba(X), one.predict_proba(X))
    one.partial_fit(X[:50], Y[:50])
    before.partial_fit(X[:50], Y[:50])
    np.testing.assert_array_equal(before.embeddings_, one.embeddings_)
    assert one.embeddings_.storage == storage


def test_small_steps_are_not_lost():
    """A step of a part of what bfloat16 numbers differ by moves the mean of many numbers by just that."""
    n = 40_000
    few, target = sparse.eye_array(n, format="csr", dtype=np.float32), np.ones(n)
    options = {"solver": "sgd", "init": np.ones((n, 16), np.float32), "mode": "sum", "max_iter": 1, "batch_size": n}

    def step(dtype, rate):
        model = EmbeddingBagRegressor(16, dtype=dtype, learning_rate_init=rate, alpha=0.0, random_state=0, **options)
        return np.asarray(model.partial_fit(few, target).embeddings_, np.float64) - 1  # fit has nothing to learn here

    rate = 2e-3 / np.abs(step("float32", 1.0)).max()
    full, small = step("float32", rate).mean(axis=0), step("bfloat16", rate)
    assert 1e-3 < np.abs(full).max() < 2**-8
    assert set(np.unique(small)) <= {-(2**-8), 0, 2**-7}
    np.testing.assert_allclose(small.mean(axis=0), full, atol=5 * 2**-7 * 0.5 / np.sqrt(n))


def test_other_ways_to_train_a_small_table():
    options = {"dtype": "float16"}
    penalised = classifier(alpha=1e-3, max_norm=0.5, **options).fit(X, Y)
    assert (np.linalg.norm(np.asarray(penalised.embeddings_), axis=1) < 0.5 + 1e-3).all()
    table = table_of(X.shape[1], 20).astype(np.float16)
    begun = classifier(init=table, embedding_dim=20, scale_grad_by_freq=True, mode="max", **options).fit(X, Y)
    assert begun.score(X, Y) > 0.6
    np.testing.assert_array_equal(table, begun.init)
    frozen = classifier(freeze=True, **options).fit(X, Y)
    same = classifier(freeze=True).fit(X, Y)
    np.testing.assert_allclose(frozen.predict_proba(X), same.predict_proba(X), atol=0.01)
    early = classifier(early_stopping=True, **options).fit(X, Y)
    assert early.score(X, Y) > 0.7
    numbers = EmbeddingBagRegressor(16, random_state=0, **options).fit(X, 1e6 * Y)
    assert numbers.score(X, 1e6 * Y) > 0.5
    state = begun.quantize("bfloat16").to_state_dict()
    state["embedding_bag.weight"] = state["embedding_bag.weight"].astype(np.float16)
    loaded = EmbeddingBagClassifier.from_state_dict(state, mode="max")
    weight = np.asarray(loaded.init)
    loaded.partial_fit(X, Y)
    np.testing.assert_array_equal(loaded.init, weight)
    assert loaded.embeddings_.storage == "float16"
    search = GridSearchCV(classifier(max_iter=2), {"dtype": ["float32", "bfloat16"]}, cv=2).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_training_that_leaves_float16_is_told():
    model = classifier(dtype="float16", solver="sgd", learning_rate_init=1e6, max_iter=5)
    with pytest.raises(ValueError, match="diverges"):
        model.fit(X, Y)
    with pytest.raises(ValueError, match=r"init has numbers that dtype='float16' cannot hold\. Rows .*: 2\."):
        classifier(dtype="float16", init=np.where(np.arange(120)[:, None] == 2, 1e5, np.ones((1, 16)))).fit(X, Y)
    model = classifier().fit(X, Y)
    model.embeddings_[7] = 1e6
    with pytest.raises(ValueError, match=r"stored as float16: 7\."):
        model.quantize("float16")
