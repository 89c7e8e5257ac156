"""Every kernel against the reference."""

import itertools

import numpy as np
import pytest
import reference
from helpers import FLOATS, MODES, assert_pooled, csr, random_csr, random_table
from hypothesis import given
from hypothesis import strategies as st

from skbag import EmbeddingBagClassifier, EmbeddingBagVectorizer, embedding, embedding_bag
from skbag._cpu import backend
from skbag._data import bags as bags_module
from skbag._data.bags import bags_from_csr

# Few widths: each is compiled for every combination of dtypes and options, unlike those of test_every_width.
DIMS = (1, 5, 65)  # four rows at once, two, and one
EVERY_DIM = (*range(1, 41), 64, 65, 100, 300, 385, 1000, 2048)
DOUBLE = (1, 3, 4, 7, 8, 13, 16, 33, 100, 385, 1000)  # the same source: lanes, vectors and tiles of each number
VALUES = {
    "float32": st.just(0.0) | st.floats(-100, 100, width=32).filter(lambda w: abs(w) > 1e-3),
    "float64": st.just(-0.0) | st.floats(-100, 100).filter(lambda w: abs(w) > 1e-3),
    "int64": st.integers(-3, 2**40),
    "uint8": st.integers(0, 255),
    "bool": st.booleans(),
}


@pytest.fixture(autouse=True, scope="module")
def many_processors():
    """No more threads are used than there are processors: here 3 are 3 everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skbag._threads.processors", lambda: 9)
        yield


@pytest.fixture
def many_blocks(monkeypatch):
    """Split even small inputs into blocks; returns the list of the numbers of blocks of every run."""
    numbers, blocks = [], backend._blocks
    monkeypatch.setattr(backend, "_SERIAL_WORK", 2)

    def noted(*work):
        result = blocks(*work)
        numbers.append(result[0])
        return result

    monkeypatch.setattr(backend, "_blocks", noted)
    return numbers


@pytest.fixture
def prefetch(monkeypatch):
    """Make every table look as if it did not fit the caches."""
    monkeypatch.setattr(backend, "_L2_BYTES", 0)
    monkeypatch.setattr(backend, "_L3_BYTES", 0)
    monkeypatch.setattr(backend, "_layout", backend._layout.__wrapped__)  # which remembers nothing


@st.composite
def csr_arrays(draw):
    n_columns = draw(st.integers(1, 12))
    lengths = draw(st.lists(st.integers(0, 9), max_size=6))
    n = sum(lengths)
    kind = draw(st.sampled_from(sorted(VALUES)))
    index_dtype = draw(st.sampled_from(["int32", "int64"]))
    data = np.array(draw(st.lists(VALUES[kind], min_size=n, max_size=n)), kind)
    indices = np.array(draw(st.lists(st.integers(0, n_columns - 1), min_size=n, max_size=n)), index_dtype)
    return csr(data, indices, np.append(0, np.cumsum(lengths)).astype(index_dtype), n_columns)


@st.composite
def tables(draw, n_rows):
    dtype = draw(st.sampled_from(FLOATS))
    return random_table(n_rows, draw(st.sampled_from(DIMS)), dtype=dtype, seed=draw(st.integers(0, 99)))


def paddings(n_rows):
    return st.none() | st.integers(-n_rows, n_rows - 1)


def norms():
    return st.just({}) | st.fixed_dictionaries(
        {"max_norm": st.sampled_from([0.1, 1.0, 3.0]), "norm_type": st.sampled_from([0.5, 1, 2.0, 3, np.inf])}
    )


@given(data=st.data(), X=csr_arrays(), mode=st.sampled_from(MODES), weighted=st.booleans(), norm=norms())
def test_transform_is_the_reference(data, X, mode, weighted, norm):
    table = data.draw(tables(X.shape[1]))
    padding_idx = data.draw(paddings(X.shape[1]))
    vectorizer = EmbeddingBagVectorizer.from_pretrained(
        table, mode=mode, per_sample_weights=weighted, padding_idx=padding_idx, **norm
    )
    bags = reference.bags_of_csr(X, weighted)
    assert_pooled(vectorizer.transform(X), bags, table, mode, padding_idx=padding_idx, **norm)


@given(data=st.data(), X=csr_arrays(), mode=st.sampled_from(MODES), weighted=st.booleans(), norm=norms())
def test_duplicates_are_their_sum_to_the_last_bit(data, X, mode, weighted, norm):
    table = data.draw(tables(X.shape[1]))
    vectorizer = EmbeddingBagVectorizer.from_pretrained(
        table, mode=mode, per_sample_weights=weighted, padding_idx=data.draw(paddings(X.shape[1])), **norm
    )
    given, expected = vectorizer.transform(X), vectorizer.transform(reference.canonical(X))
    for r, (begin, end) in enumerate(itertools.pairwise(X.indptr)):
        ids = X.indices[begin:end][(X.data[begin:end] != 0) | weighted]  # else a stored zero is no member
        if len(np.unique(ids)) < len(ids):  # other rows are taken in the order in which they are stored
            assert given[r].tobytes() == expected[r].tobytes()


@pytest.mark.parametrize(
    "lengths", [[n] for n in (*range(2, 20), 31, 32, 33, 47, 48, 49, 63, 64, 65, 66, 79)] + [[40, 0, 1, 70]]
)
@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
def test_a_duplicate_at_any_place_is_seen(lengths, index_dtype, many_blocks):
    indptr = np.append(0, np.cumsum(lengths)).astype(index_dtype)
    vectorizer = EmbeddingBagVectorizer.from_pretrained(random_table(99, 5), mode="sqrtn", n_jobs=2)
    ids = np.concatenate([np.arange(n) for n in lengths]).astype(index_dtype)
    assert_pooled(
        vectorizer.transform(csr(np.ones(len(ids)), ids, indptr, 99)),
        reference.bags_of_ids(ids, indptr[:-1]), vectorizer.embeddings_, "sqrtn",
    )  # fmt: skip
    for place in np.setdiff1d(np.arange(1, len(ids)), indptr):
        twice = ids.copy()
        twice[place] = twice[place - 1]
        X = csr(np.ones(len(ids)), twice, indptr, 99)
        assert_pooled(vectorizer.transform(X), reference.bags_of_csr(X), vectorizer.embeddings_, "sqrtn")
        bags = bags_from_csr(X, dtype=np.float64)
        assert backend.check(bags, "sum", 2).n_members == len(ids) - 1


def test_a_row_has_the_same_features_alone_and_beside_any_other():
    """Unsorted rows are sorted: otherwise a duplicate elsewhere in X would change the order of their sums."""
    X = random_csr(60, 30, longest=20)
    vectorizer = EmbeddingBagVectorizer.from_pretrained(random_table(30, 5))
    together = vectorizer.transform(X)
    for row in range(60):
        assert vectorizer.transform(X[row : row + 1]).tobytes() == together[row].tobytes()


def test_pieces_of_long_matrices(monkeypatch):
    X = random_csr(200, 30, longest=40)
    vectorizer = EmbeddingBagVectorizer.from_pretrained(random_table(30, 5))
    expected = vectorizer.transform(X).tobytes()
    for step in (1, 7, 100):
        monkeypatch.setattr(bags_module, "_PIECE", step)
        assert vectorizer.transform(X).tobytes() == expected


@given(data=st.data(), X=csr_arrays(), mode=st.sampled_from(MODES), weighted=st.booleans(), norm=norms())
def test_embedding_bag_is_the_reference(data, X, mode, weighted, norm):
    table = data.draw(tables(X.shape[1]))
    padding_idx = data.draw(paddings(X.shape[1]))
    weights = X.data if weighted and mode != "max" else None
    actual = embedding_bag(
        X.indices, table, X.indptr, mode=mode, per_sample_weights=weights, include_last_offset=True,
        padding_idx=padding_idx, **norm,
    )  # fmt: skip
    bags = reference.bags_of_ids(X.indices, X.indptr, weights, include_last_offset=True)
    assert_pooled(actual, bags, table, mode, padding_idx=padding_idx, **norm)


@given(data=st.data(), X=csr_arrays(), norm=norms())
def test_embedding_is_the_reference(data, X, norm):
    table = data.draw(tables(X.shape[1]))
    bags = [(ids[None], np.ones(1)) for ids in X.indices]
    assert_pooled(embedding(X.indices, table, **norm), bags, table, "sum", **norm)


@pytest.mark.parametrize(
    ("dtype", "dim"),
    [("float32", dim) for dim in EVERY_DIM] + [("float64", dim) for dim in DOUBLE],
)
def test_every_width(dtype, dim):
    table = random_table(9, dim, dtype=dtype)
    X = random_csr(index_dtype="int32" if dtype == "float32" else "int64")
    for mode in ("sqrtn", "max"):  # between them they have all that depends on the width
        actual = EmbeddingBagVectorizer.from_pretrained(table, mode=mode, padding_idx=3).transform(X)
        assert_pooled(actual, reference.bags_of_csr(X, mode != "max"), table, mode, padding_idx=3)
    assert np.array_equal(embedding(X.indices, table), table[X.indices])


@pytest.mark.parametrize(
    ("dtype", "dim"), [("float32", 2049), ("float32", 16_384), ("float64", 1025), ("float64", 16_384)]
)
def test_wide_rows_of_large_tables(dtype, dim):
    n_rows = 2 * backend._L3_BYTES // (dim * np.dtype(dtype).itemsize) + 2  # beyond the cache: rows are prefetched
    table = np.broadcast_to(np.arange(1, n_rows + 1, dtype=dtype)[:, None], (n_rows, dim)).copy()
    assert np.array_equal(embedding([[0], [n_rows - 1]], table)[:, 0], table[[0, -1]])
    X = csr(np.ones(5), np.array([0, 1, n_rows - 1, 3, 3], np.int32), np.array([0, 3, 3, 5], np.int32), n_rows)
    for mode, expected in {"sum": n_rows + 3, "mean": (n_rows + 3) / 3, "sqrtn": (n_rows + 3) / 3**0.5}.items():
        pooled = EmbeddingBagVectorizer.from_pretrained(table, mode=mode).transform(X)
        np.testing.assert_allclose(pooled[0], np.full(dim, expected), rtol=1e-6)
    assert np.array_equal(embedding_bag([[0, 1, n_rows - 1]], table, mode="max"), table[-1:])
    model = EmbeddingBagClassifier(init=table / n_rows, dtype=dtype, max_iter=1, random_state=0).fit(X, [0, 1, 0])
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("register", [(16, 12), (32, 12), (64, 24)])
@pytest.mark.parametrize("dim", [7, 100, 129])
def test_every_register_width(dim, register, monkeypatch):
    monkeypatch.setattr(backend, "_registers", lambda: register)
    monkeypatch.setattr(backend, "_layout", backend._layout.__wrapped__)  # which remembers nothing
    X, table = random_csr(), random_table(9, dim, dtype="float32")
    for mode in ("sqrtn", "max"):
        actual = EmbeddingBagVectorizer.from_pretrained(table, mode=mode, padding_idx=-1).transform(X)
        assert_pooled(actual, reference.bags_of_csr(X, mode != "max"), table, mode, padding_idx=-1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_bags_of_every_length_with_padding_at_every_place(dtype, mode):
    table = random_table(30, 13, dtype=dtype) - 5  # a zero that slips in would be the maximum
    rng = np.random.default_rng(0)
    for length in range(21):
        bags = rng.permuted(np.tile(np.arange(1, 30), (length + 1, 1)), axis=1)[:, :length]
        for place in range(length):
            bags[place, place] = 0
        weights = None if mode == "max" else rng.normal(size=bags.shape)
        actual = embedding_bag(bags, table, mode=mode, per_sample_weights=weights, padding_idx=0)
        assert_pooled(actual, reference.bags_of_ids(bags, weights=weights), table, mode, padding_idx=0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_bag_of_a_hundred_thousand_members(dtype, mode):
    rng = np.random.default_rng(0)
    lengths = [3, 100_000, 0, 5]
    n = sum(lengths)
    data = rng.uniform(0.5, 1.5, n)
    ids, offsets = rng.integers(0, 1000, n), np.append(0, np.cumsum(lengths))[:-1]
    table, weights = random_table(1000, 16, dtype=dtype) + np.dtype(dtype).type(0.5), None if mode == "max" else data
    actual = embedding_bag(ids, table, offsets, mode=mode, per_sample_weights=weights, padding_idx=7)
    assert_pooled(actual, reference.bags_of_ids(ids, offsets, weights), table, mode, padding_idx=7)


@pytest.mark.parametrize("dim", [1, 16, 300])
def test_a_float32_bag_of_more_members_than_float32_counts(dim):
    n = (1 << 24) + 4
    ids = np.zeros(n, np.int32)
    table, weights = np.ones((2, dim), "float32"), np.ones(n, "float32")
    for options in ({}, {"per_sample_weights": weights}, {"padding_idx": 1}):
        assert (embedding_bag(ids, table, [0], mode="sum", **options) == n).all()
        assert (embedding_bag(ids, table, [0], mode="mean", **options) == 1).all()
        assert (embedding_bag(ids, table, [0], mode="sqrtn", **options) == np.float32(n**0.5)).all()


def test_a_float32_bag_of_millions_of_members():
    table = random_table(3_000_000, 2, dtype="float32")
    pooled = embedding_bag(np.arange(len(table)), table, [0], mode="sum")
    np.testing.assert_allclose(pooled[0], table.sum(axis=0, dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_long_bags_of_what_is_not_finite(value):
    table = np.array([[1, 2], [3, value], [1e308, 1]])
    ids = np.zeros(2000, int)
    ids[700] = 1
    np.testing.assert_array_equal(embedding_bag(ids, table, [0], mode="sum"), [[2002, value]])
    np.testing.assert_array_equal(embedding_bag(ids + 2 * (ids == 0), table, [0], mode="sum"), [[np.inf, value]])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_result_does_not_depend_on_n_jobs(many_blocks, dtype, mode):
    X = random_csr(200, 50, longest=30)
    table = random_table(50, 40, dtype=dtype)
    vectorizer = EmbeddingBagVectorizer.from_pretrained(table, mode=mode, padding_idx=2)
    serial = vectorizer.transform(X).tobytes()
    assert set(many_blocks) == {1}
    for n_jobs in (2, 3, -1):
        assert vectorizer.set_params(n_jobs=n_jobs).transform(X).tobytes() == serial
    assert max(many_blocks) > 3


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_threads_share_the_tiles_of_wide_rows(many_blocks, mode):
    X, table = random_csr(200, 50, longest=30), random_table(50, 500, dtype="float32")
    vectorizer = EmbeddingBagVectorizer.from_pretrained(table, mode=mode, n_jobs=2)
    assert_pooled(vectorizer.transform(X), reference.bags_of_csr(X), table, mode)
    assert max(many_blocks) > 3


@given(X=csr_arrays(), n_jobs=st.integers(1, 3), place=st.integers(1, 6), by=st.integers(-9, 60))
def test_an_indptr_that_falls_anywhere_is_refused(X, n_jobs, place, by):
    place = min(place, X.shape[0])
    X.indptr[place] += by
    falls, fits = (np.diff(X.indptr) < 0).any(), 0 <= X.indptr[-1] <= len(X.indices)
    vectorizer = EmbeddingBagVectorizer.from_pretrained(random_table(X.shape[1], 5), mode="sum", n_jobs=n_jobs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "_SERIAL_WORK", 2)
        if X.indptr[0] == 0 and fits and not falls:
            assert_pooled(vectorizer.transform(X), reference.bags_of_csr(X), vectorizer.embeddings_, "sum")
            return
        with pytest.raises(ValueError, match=r"X\.indptr must (not decrease|start at 0)|X\.indptr ends at"):
            vectorizer.transform(X)


@pytest.mark.parametrize("norm", [{}, {"max_norm": 1.0}])
def test_the_functions_do_not_depend_on_n_jobs(many_blocks, norm):
    X, table = random_csr(200, 50, longest=30), random_table(50, 40)
    for call in (
        lambda n: embedding_bag(X.indices, table, X.indptr, include_last_offset=True, n_jobs=n, **norm),
        lambda n: embedding(X.indices, table, n_jobs=n, **norm),
    ):
        many_blocks.clear()
        serial = call(1).tobytes()
        assert call(2).tobytes() == serial == call(3).tobytes()
        assert max(many_blocks) > 3


@given(X=csr_arrays(), mode=st.sampled_from(MODES), n_jobs=st.integers(2, 4))
def test_blocks_of_few_members(X, mode, n_jobs):
    table = random_table(X.shape[1], 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "_SERIAL_WORK", 2)
        actual = EmbeddingBagVectorizer.from_pretrained(table, mode=mode, n_jobs=n_jobs).transform(X)
    assert_pooled(actual, reference.bags_of_csr(X), table, mode)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("dim", [1, 13, 1000])
def test_prefetch_changes_nothing(request, dim, n_jobs):
    X, table = random_csr(60, 300, longest=120), random_table(300, dim, dtype="float32")
    vectorizers = [EmbeddingBagVectorizer.from_pretrained(table, mode=mode, n_jobs=n_jobs) for mode in ("sqrtn", "max")]

    def results():
        return [v.transform(X).tobytes() for v in vectorizers] + [embedding(X.indices, table, n_jobs=n_jobs).tobytes()]

    without = results()
    request.getfixturevalue("prefetch")
    assert results() == without


@pytest.mark.parametrize("index_dtype", ["int64", "int16", "uint8", "uint32", "uint64", ">i4"])
def test_index_dtypes_change_nothing(index_dtype):
    X, table = random_csr(), random_table()
    Y = csr(X.data, X.indices.astype(index_dtype), X.indptr.astype(index_dtype), X.shape[1])
    mixed = csr(X.data, X.indices, X.indptr.astype(np.int64), X.shape[1])
    vectorizer = EmbeddingBagVectorizer.from_pretrained(table)
    expected = vectorizer.transform(X).tobytes()
    assert vectorizer.transform(mixed).tobytes() == expected
    assert (
        embedding_bag(Y.indices, table, Y.indptr[:-1]).tobytes()
        == embedding_bag(X.indices, table, X.indptr[:-1]).tobytes()
    )
    assert vectorizer.transform(Y).tobytes() == expected


def read_only(array, tmp_path):
    array = array.copy()
    array.flags.writeable = False
    return array


def memory_mapped(array, tmp_path):
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def misaligned(array, tmp_path):
    return np.frombuffer(b"." + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)


def strided(array, tmp_path):
    return np.repeat(array, 2, axis=-1)[..., ::2]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layout", [read_only, memory_mapped, misaligned, strided])
def test_layouts_of_memory_change_nothing(layout, mode, tmp_path):
    X, table = random_csr(dtype="float32"), random_table(dtype="float32")
    Y = csr(*(layout(array, tmp_path) for array in (X.data, X.indices, X.indptr)), X.shape[1])
    expected = EmbeddingBagVectorizer.from_pretrained(table, mode=mode).transform(X)
    actual = EmbeddingBagVectorizer.from_pretrained(layout(table, tmp_path), mode=mode).transform(Y)
    assert actual.tobytes() == expected.tobytes()
    ids = X.indices, table, X.indptr
    expected = embedding_bag(*ids, mode=mode, include_last_offset=True)
    actual = embedding_bag(*(layout(array, tmp_path) for array in ids), mode=mode, include_last_offset=True)
    assert actual.tobytes() == expected.tobytes()


def test_parts_may_be_read_only_in_any_combination():
    X, table = random_csr(), random_table()
    expected = EmbeddingBagVectorizer.from_pretrained(table).transform(X)
    for writeable in itertools.product([True, False], repeat=4):
        Y, own = X.copy(), table.copy()
        for array, flag in zip((Y.data, Y.indices, Y.indptr, own), writeable, strict=True):
            array.flags.writeable = flag
        assert np.array_equal(EmbeddingBagVectorizer.from_pretrained(own).transform(Y), expected)


@pytest.mark.parametrize("power", [-100, -70, -40, 0, 40, 70, 100])
@pytest.mark.parametrize("mode", ["mean", "sqrtn"])
def test_a_row_times_a_constant_gives_the_same_features(mode, power):
    """Powers of two, far inside the range of float32, are exact: only the squares in sqrtn leave it."""
    X, table = random_csr(dtype="float32"), random_table(dtype="float32")
    vectorizer = EmbeddingBagVectorizer.from_pretrained(table, mode=mode)
    scaled = X * np.float32(2.0**power)
    np.testing.assert_allclose(vectorizer.transform(scaled), vectorizer.transform(X), rtol=1e-5, atol=1e-6)
