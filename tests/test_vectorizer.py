"""EmbeddingBagVectorizer as a scikit-learn user meets it."""

import inspect
import pathlib
from itertools import pairwise

import numpy as np
import pytest
import reference
from helpers import FLOATS, MODES, assert_pooled, csr, frames, random_csr, random_table
from joblib import effective_n_jobs, parallel_config
from scipy import sparse
from scipy.spatial.distance import pdist
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.random_projection import GaussianRandomProjection
from sklearn.utils.validation import check_is_fitted

from skbag import EmbeddingBagClassifier, EmbeddingBagVectorizer

TEXTS = ["a cat sat", "a dog ran", "the cat ran", "the dog sat", "a cat", "the dog", "cat cat", "dog dog"]
NAMES = list("abcdef")
LABELS = [0, 1, 0, 1, 0, 1, 0, 1]
FORMATS = ("csr", "csc", "coo", "bsr", "lil", "dok", "dia")


@pytest.fixture(name="X")
def counts():
    """Rows of counts, without duplicates and in order: what every format can hold."""
    rng = np.random.default_rng(0)
    return sparse.csr_array(rng.integers(1, 4, (8, 6)) * (rng.random((8, 6)) < 0.4) * 1.0)


@pytest.fixture
def table_path(tmp_path):
    path = tmp_path / "table.npy"
    np.save(path, random_table(6, 5, dtype="float32"))
    return path


def is_memory_mapped(array):
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


# --- parameters


def test_the_signature_is_the_documented_one():
    parameters = inspect.signature(EmbeddingBagVectorizer).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        "embedding_dim": 100, "mode": "mean", "fields": None, "init": "normal", "per_sample_weights": True,
        "padding_idx": None,
        "max_norm": None, "norm_type": 2.0, "dtype": "float32", "device": "cpu", "n_jobs": None, "random_state": None,
    }  # fmt: skip
    assert [name for name, p in parameters.items() if p.kind is not p.KEYWORD_ONLY] == ["embedding_dim"]
    assert EmbeddingBagVectorizer().get_params() == {name: p.default for name, p in parameters.items()}


def test_defaults(X):
    vectorizer = EmbeddingBagVectorizer()
    assert vectorizer.fit(X) is vectorizer
    assert vectorizer.embeddings_.shape == (6, 100)
    assert vectorizer.embeddings_.dtype == np.float32
    assert vectorizer.n_features_in_ == 6
    assert not hasattr(vectorizer, "feature_names_in_")
    assert_pooled(vectorizer.transform(X), reference.bags_of_csr(X), vectorizer.embeddings_, "mean")
    assert np.array_equal(vectorizer.fit_transform(X, [0] * 8), vectorizer.transform(X))


@pytest.mark.parametrize("dtype", FLOATS)
def test_normal_tables_are_drawn_from_the_standard_normal_distribution(dtype):
    X = sparse.csr_array((1, 2000))
    table = EmbeddingBagVectorizer(50, dtype=dtype, random_state=0).fit(X).embeddings_
    assert table.dtype == dtype
    assert abs(table.mean()) < 0.01
    assert abs(table.std() - 1) < 0.01
    assert abs((np.abs(table) < 1).mean() - 0.6827) < 0.01


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("dim", [1, 50])
def test_uniform_tables_are_drawn_between_plus_and_minus_one_over_the_width(dtype, dim):
    X = sparse.csr_array((1, 100_000 // dim))
    table = EmbeddingBagVectorizer(dim, init="uniform", dtype=dtype, random_state=0).fit(X).embeddings_ * dim
    assert table.dtype == dtype
    assert 0.99 < table.max() <= 1
    assert -1 <= table.min() < -0.99
    assert abs(table.mean()) < 0.01
    assert abs(table.std() - 3**-0.5) < 0.01


@pytest.mark.parametrize("init", ["normal", "uniform"])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_same_random_state_gives_the_same_bytes(X, init, n_jobs):
    def table(random_state):
        vectorizer = EmbeddingBagVectorizer(7, init=init, n_jobs=n_jobs, random_state=random_state)
        return vectorizer.fit(X).embeddings_.tobytes()

    assert table(0) == table(0) == table(np.random.RandomState(0))
    assert table(0) != table(1)
    generator = np.random.RandomState(0)
    assert table(generator) != table(generator)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("dim", [5, 64])
def test_threads_draw_the_numbers_that_one_draws(dtype, dim):
    X = sparse.csr_array((1, 1_000_003 // dim))

    def table(n_jobs):
        fitted = EmbeddingBagVectorizer(dim, init="uniform", dtype=dtype, n_jobs=n_jobs, random_state=0).fit(X)
        return np.asarray(fitted.embeddings_)

    numbers = np.random.PCG64(np.random.RandomState(0).randint(0, 2**32, size=4, dtype=np.uint32))
    whole = numbers.random_raw(500_002).view(np.int32)[: table(1).size].reshape(-1, dim)
    np.testing.assert_allclose(table(1) * dim, whole / 2**31, rtol=2e-3, atol=1e-5)
    for n_jobs in (2, 3):
        assert (table(n_jobs) == table(1)).all()


def test_refitting_with_an_int_draws_the_same_table_again(X):
    vectorizer = EmbeddingBagVectorizer(5, random_state=3).fit(X)
    first = vectorizer.embeddings_.copy()
    assert np.array_equal(vectorizer.fit(X).embeddings_, first)
    assert vectorizer.fit(X[:, :5]).embeddings_.shape == (5, 5)
    assert vectorizer.n_features_in_ == 5


@pytest.mark.parametrize("init", ["normal", "uniform"])
@pytest.mark.parametrize(("padding_idx", "row"), [(0, 0), (2, 2), (-1, 5)])
def test_the_padding_row_of_a_drawn_table_is_zero(X, init, padding_idx, row):
    table = EmbeddingBagVectorizer(5, init=init, padding_idx=padding_idx, random_state=0).fit(X).embeddings_
    plain = EmbeddingBagVectorizer(5, init=init, random_state=0).fit(X).embeddings_
    assert not table[row].any()
    assert plain.all()
    assert np.array_equal(np.delete(table, row, 0), np.delete(plain, row, 0))


@pytest.mark.parametrize("padding_idx", [2, -4])
@pytest.mark.parametrize("mode", MODES)
def test_the_padding_row_of_a_given_table_is_kept_and_left_out(X, mode, padding_idx):
    table = random_table(6, 5)
    vectorizer = EmbeddingBagVectorizer(init=table, dtype="float64", mode=mode, padding_idx=padding_idx).fit(X)
    assert np.array_equal(vectorizer.embeddings_, table)
    dense = X.toarray()
    dense[:, 2] = 0
    without = EmbeddingBagVectorizer(init=table, dtype="float64", mode=mode).fit(X).transform(dense)
    np.testing.assert_allclose(vectorizer.transform(X), without, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("mode", MODES)
def test_without_per_sample_weights_every_stored_value_counts_as_one(X, mode):
    ones = X.copy()
    ones.data[:] = 1
    table = random_table(6, 5)
    plain = EmbeddingBagVectorizer.from_pretrained(table, mode=mode, per_sample_weights=False)
    expected = EmbeddingBagVectorizer.from_pretrained(table, mode=mode).transform(ones)
    assert np.array_equal(plain.transform(X), expected)
    assert np.array_equal(plain.transform(-X), expected)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_stored_zeros_mean_nothing(mode, weighted):
    X = random_csr()
    assert (X.data == 0).any()
    without = X.copy()
    without.eliminate_zeros()
    table = random_table() - 9  # a zero that slips in would be the maximum
    vectorizer = EmbeddingBagVectorizer.from_pretrained(table, mode=mode, per_sample_weights=weighted)
    np.testing.assert_allclose(vectorizer.transform(X), vectorizer.transform(without), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("norm_type", [0.5, 1, 2.0, 3, np.inf])
@pytest.mark.parametrize("init", ["normal", "array"])
def test_max_norm_rescales_the_table_once_in_fit(X, init, norm_type):
    given = random_table(6, 5)
    before = given.copy()
    plain = EmbeddingBagVectorizer(5, init=given if init == "array" else init, dtype="float64", random_state=0)
    short = clone(plain).set_params(max_norm=0.8, norm_type=norm_type).fit(X)
    if init == "array":
        short.init = given
        short.fit(X)
    expected = reference.rescaled(plain.fit(X).embeddings_, 0.8, norm_type)
    assert not np.array_equal(expected, plain.embeddings_)
    np.testing.assert_allclose(short.embeddings_, expected, rtol=1e-14)
    assert np.array_equal(given, before)
    fitted = short.embeddings_.copy()
    features = short.transform(X)
    assert np.array_equal(short.embeddings_, fitted)
    assert_pooled(features, reference.bags_of_csr(X), fitted, "mean")


def test_max_norm_leaves_a_pretrained_array_and_a_file_as_they_were(X, table_path):
    given = np.load(table_path)
    for source in (given, table_path):
        vectorizer = EmbeddingBagVectorizer.from_pretrained(source, max_norm=0.5)
        np.testing.assert_allclose(np.linalg.norm(vectorizer.embeddings_, axis=1), 0.5, rtol=1e-5)
    assert np.array_equal(given, random_table(6, 5, dtype="float32"))
    assert np.array_equal(np.load(table_path), given)


@pytest.mark.parametrize("dtype", [*FLOATS, np.float32, np.dtype("float64"), float])
def test_dtype_is_that_of_the_table_and_of_the_features(X, dtype):
    for init in ("normal", random_table(6, 5), random_table(6, 5, dtype="float32").tolist()):
        vectorizer = EmbeddingBagVectorizer(5, init=init, dtype=dtype).fit(X)
        assert vectorizer.embeddings_.dtype == dtype
        for given in (X, X.astype("float32"), X.astype(int), X != 0):
            assert vectorizer.transform(given).dtype == dtype


def test_n_jobs_none_follows_the_joblib_context(monkeypatch):
    from skbag._cpu import backend

    asked, run = [], backend._run
    X = reference.canonical(random_csr())
    vectorizer = EmbeddingBagVectorizer(5, random_state=0).fit(X)
    monkeypatch.setattr("skbag._threads.processors", lambda: 9)
    monkeypatch.setattr(backend, "_SERIAL_WORK", 1)
    monkeypatch.setattr(backend, "_run", lambda *args, **more: asked.append(args[2][1]) or run(*args, **more))
    vectorizer.transform(X)
    with parallel_config(backend="threading", n_jobs=3):
        vectorizer.transform(X)
    vectorizer.set_params(n_jobs=2).transform(X)
    vectorizer.set_params(n_jobs=-1).transform(X)
    assert asked == [1, 3, 2, effective_n_jobs(-1)]


# --- tables that are given


@pytest.mark.parametrize("embedding_dim", [5, 100])
def test_embedding_dim_is_taken_from_the_table(X, embedding_dim):
    table = random_table(6, 5)
    vectorizer = EmbeddingBagVectorizer(embedding_dim, init=table, dtype="float64").fit(X)
    assert np.array_equal(vectorizer.embeddings_, table)
    assert vectorizer.transform(X).shape == (8, 5)
    assert vectorizer.embedding_dim == embedding_dim
    assert len(vectorizer.get_feature_names_out()) == 5


@pytest.mark.parametrize(
    "make",
    [
        np.asarray, np.asfortranarray, np.ndarray.tolist, lambda t: t.astype(">f8"),
        lambda t: frames("pandas").DataFrame(t),
    ],
    ids=["array", "Fortran", "list", "big-endian", "frame"],
)  # fmt: skip
def test_tables_of_any_kind(X, make):
    table = random_table(6, 5)
    vectorizer = EmbeddingBagVectorizer(init=make(table), dtype="float64").fit(X)
    assert np.array_equal(vectorizer.embeddings_, table)
    assert vectorizer.embeddings_.flags.c_contiguous
    assert_pooled(vectorizer.transform(X), reference.bags_of_csr(X), table, "mean")


def test_a_table_that_fits_is_not_copied(X):
    table = random_table(6, 5, dtype="float32")
    assert np.shares_memory(EmbeddingBagVectorizer(init=table).fit(X).embeddings_, table)
    assert np.shares_memory(EmbeddingBagVectorizer.from_pretrained(table).embeddings_, table)


def test_integers_are_a_table(X):
    table = np.arange(30).reshape(6, 5)
    assert np.array_equal(EmbeddingBagVectorizer(init=table).fit(X).embeddings_, table)
    assert EmbeddingBagVectorizer.from_pretrained(table).embeddings_.dtype == np.float32


@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_a_path_is_memory_mapped(X, table_path, kind):
    table = random_table(6, 5, dtype="float32")
    for vectorizer in (
        EmbeddingBagVectorizer(init=kind(table_path)).fit(X),
        EmbeddingBagVectorizer.from_pretrained(kind(table_path)),
    ):
        assert vectorizer.init == kind(table_path)
        assert is_memory_mapped(vectorizer.embeddings_)
        assert np.array_equal(vectorizer.embeddings_, table)
        assert_pooled(vectorizer.transform(X), reference.bags_of_csr(X), table, "mean")
        copy = clone(vectorizer)
        assert copy.init == kind(table_path)
        assert not hasattr(copy, "embeddings_")
        assert is_memory_mapped(copy.fit(X).embeddings_)


def test_a_search_over_a_path_reads_the_one_file(X, table_path, monkeypatch):
    tables, fit = [], EmbeddingBagVectorizer.fit

    def spy(self, X, y=None):
        tables.append(fit(self, X, y).embeddings_)
        return self

    monkeypatch.setattr(EmbeddingBagVectorizer, "fit", spy)
    pipeline = make_pipeline(EmbeddingBagVectorizer(init=str(table_path)), LogisticRegression())
    search = GridSearchCV(pipeline, {"embeddingbagvectorizer__mode": list(MODES)}, cv=2, error_score="raise")
    search.fit(X, LABELS)
    assert len(tables) == 9
    assert all(is_memory_mapped(table) for table in tables)


def test_from_pretrained_is_fitted(X):
    table = random_table(6, 5)
    vectorizer = EmbeddingBagVectorizer.from_pretrained(table)
    check_is_fitted(vectorizer)
    assert vectorizer.n_features_in_ == 6
    assert vectorizer.mode == "mean"
    assert_pooled(vectorizer.transform(X), reference.bags_of_csr(X), table, "mean")
    again = clone(vectorizer).fit(X)
    assert again.embeddings_.dtype == np.float64
    assert np.array_equal(again.transform(X), vectorizer.transform(X))


def test_from_pretrained_takes_every_option_but_those_of_drawing():
    table = random_table(6, 5)
    options = {
        "mode": "sum", "fields": [2, 4], "per_sample_weights": False, "padding_idx": 1, "max_norm": 2.0,
        "norm_type": 1.0, "device": "cpu", "n_jobs": 2,
    }  # fmt: skip
    vectorizer = EmbeddingBagVectorizer.from_pretrained(table, **options)
    assert options.items() <= vectorizer.get_params().items()
    assert vectorizer.embedding_dim == 5
    parameters = inspect.signature(EmbeddingBagVectorizer.from_pretrained).parameters
    assert set(parameters) == {"embeddings", *options}
    np.testing.assert_allclose(vectorizer.embeddings_, reference.rescaled(table, 2.0, 1.0), rtol=1e-14)


def test_writing_into_the_table_takes_effect(X):
    vectorizer = EmbeddingBagVectorizer(5, mode="sum", random_state=0).fit(X)
    vectorizer.embeddings_[:] = 1
    np.testing.assert_array_equal(vectorizer.transform(X), np.tile(X.sum(axis=1)[:, None], 5))


# --- what goes in


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_sparse_formats_all_give_the_same(X, form, kind):
    given = getattr(sparse, f"{form}_{kind}")(X)
    assert given.format == form
    expected = EmbeddingBagVectorizer(5, random_state=0).fit(X)
    vectorizer = EmbeddingBagVectorizer(5, random_state=0).fit(given)
    assert np.array_equal(vectorizer.embeddings_, expected.embeddings_)
    np.testing.assert_allclose(vectorizer.transform(given), expected.transform(X), rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        np.asarray, np.asfortranarray, np.ndarray.tolist, lambda a: a.astype(int), lambda a: a.astype("float16"),
        lambda a: a.astype(object),
        lambda a: frames("pandas").DataFrame(a, columns=NAMES),
        lambda a: frames("pandas").DataFrame(a, columns=NAMES).astype("Int64"),
        lambda a: frames("pandas").DataFrame.sparse.from_spmatrix(sparse.csr_matrix(a), columns=NAMES),
        lambda a: frames("polars").DataFrame(a, schema=NAMES),
    ],
    ids=["array", "Fortran", "list", "int", "float16", "object", "pandas", "nullable", "sparse pandas", "polars"],
)  # fmt: skip
def test_dense_data_and_frames_all_give_the_same(X, make):
    given = make(X.toarray())
    vectorizer = EmbeddingBagVectorizer(5, random_state=0).fit(given)
    expected = EmbeddingBagVectorizer(5, random_state=0).fit(X).transform(X)
    np.testing.assert_allclose(vectorizer.transform(given), expected, rtol=1e-6)
    if hasattr(given, "columns"):
        assert list(vectorizer.feature_names_in_) == NAMES
        with pytest.raises(ValueError, match="feature names"):
            vectorizer.transform(given[NAMES[::-1]])


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "int64", "uint64", "float32", "longdouble"])
def test_values_of_any_real_dtype(X, dtype):
    given = X.astype(dtype)
    table = random_table(6, 5)
    actual = EmbeddingBagVectorizer.from_pretrained(table).transform(given)
    assert_pooled(actual, reference.bags_of_csr(given), table, "mean")


@pytest.mark.parametrize("mode", MODES)
def test_no_rows_give_no_rows(X, mode):
    vectorizer = EmbeddingBagVectorizer(5, mode=mode).fit(X)
    for nothing in (X[:0], np.empty((0, 6)), X[:0].tocsc(), X[:0].tocoo()):
        features = vectorizer.transform(nothing)
        assert features.shape == (0, 5)
        assert features.dtype == np.float32


@pytest.mark.parametrize("mode", MODES)
def test_empty_rows_give_zeros(mode):
    vectorizer = EmbeddingBagVectorizer.from_pretrained(random_table(6, 5) - 9, mode=mode)
    for X in (sparse.csr_array((3, 6)), np.zeros((3, 6))):
        assert np.array_equal(vectorizer.transform(X), np.zeros((3, 5)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weighted", [True, False])
def test_a_matrix_is_never_modified(mode, weighted):
    X = random_csr()
    before = X.copy()
    vectorizer = EmbeddingBagVectorizer(5, mode=mode, per_sample_weights=weighted)
    vectorizer.fit(X).transform(X)
    vectorizer.fit_transform(X)
    assert not {"_has_sorted_indices", "_has_canonical_format"} & set(vars(X))
    for name in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(X, name), getattr(before, name))
        assert getattr(X, name).flags.writeable
    assert not X.has_sorted_indices
    assert not X.has_canonical_format


@pytest.mark.parametrize("form", [f for f in FORMATS if f != "csr"])
def test_no_other_format_is_modified(X, form):
    given = X.asformat(form)
    before = given.copy()
    EmbeddingBagVectorizer(5).fit(given).transform(given)
    assert given.format == form
    assert given.nnz == before.nnz
    assert np.array_equal(given.toarray(), before.toarray())
    if form == "coo":
        given = sparse.coo_array(([1.0, 2.0], ([0, 0], [1, 1])), shape=(2, 6))
        EmbeddingBagVectorizer(5).fit(given).transform(given)
        assert given.nnz == 2
        assert not given.has_canonical_format


@pytest.mark.parametrize("mode", MODES)
def test_duplicates_are_summed_in_every_format(mode):
    by_rows = csr(np.array([3.0, -1, 2, 1, -2]), np.array([2, 2, 1, 0, 1]), np.array([0, 2, 5]), 3)
    by_columns = csr(np.array([1.0, 2, -2, 3, -1]), np.array([1, 1, 1, 0, 0]), np.array([0, 1, 3, 5]), 2).T
    coo = sparse.coo_array(([3.0, -1, 2, 1, -2], ([0, 0, 1, 1, 1], [2, 2, 1, 0, 1])), shape=(2, 3))
    vectorizer = EmbeddingBagVectorizer.from_pretrained(random_table(3, 5), mode=mode)
    expected = vectorizer.transform([[0, 0, 2], [1, 0, 0]]).tobytes()
    for X in (by_rows, by_columns, coo):
        assert vectorizer.transform(X).tobytes() == expected
        assert X.nnz == 5
    assert by_columns.format == "csc"


@pytest.mark.parametrize("dtype", ["int8", "uint8", "bool", "float16", "float32", "float64", "longdouble"])
def test_sums_of_duplicates_are_those_of_the_dtype_of_the_matrix(dtype):
    data = np.array([100, 100, 1, 0.1, 0.2, 0.1]).astype(dtype)
    X = csr(np.ones(6), np.array([1, 1, 0, 2, 0, 2]), np.array([0, 3, 6]), 3)
    X.data = data if dtype != "float16" else data.astype("float32")  # SciPy knows no float16
    expected = reference.canonical(X)
    X.data = data
    vectorizer = EmbeddingBagVectorizer.from_pretrained(random_table(3, 4, dtype="float32"), mode="sum")
    assert vectorizer.transform(X).tobytes() == vectorizer.transform(expected).tobytes()


def test_a_sum_of_duplicates_that_is_not_finite_is_an_error():
    X = csr(np.array([3e38, 3e38, 1], "float32"), np.array([1, 1, 0]), np.array([0, 0, 3]), 3)
    for params in ({"mode": "sum"}, {"mode": "max"}, {"per_sample_weights": False}):
        vectorizer = EmbeddingBagVectorizer.from_pretrained(random_table(3, 4, dtype="float32"), **params)
        with pytest.raises(ValueError, match=r"X \(its duplicates summed\) contains infinity.* in row 1 .* at id 1"):
            vectorizer.transform(X)


def shuffled(X, seed=0):
    """The same matrix with the entries of each row in another order."""
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(np.arange(*ends)) for ends in pairwise(X.indptr)])
    return csr(X.data[order], X.indices[order], X.indptr, X.shape[1])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_rows_in_any_order_mean_the_same(mode, n_jobs):
    X = random_csr(600, 5000, longest=300, seed=3)
    vectorizer = EmbeddingBagVectorizer.from_pretrained(random_table(5000, 6), mode=mode, n_jobs=n_jobs)
    got, expected = vectorizer.transform(shuffled(X)), vectorizer.transform(X)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["vectorizer", "classifier"])
def test_a_row_in_any_order_is_the_same_beside_duplicates(mode, kind):
    X = shuffled(random_csr(40, 500, longest=60, seed=4))
    beside = csr(np.append(X.data, [1.0, 1, 1]), np.append(X.indices, [7, 2, 7]), np.append(X.indptr, X.nnz + 3), 500)
    if kind == "vectorizer":
        transform = EmbeddingBagVectorizer.from_pretrained(random_table(500, 6), mode=mode).transform
    else:
        model = EmbeddingBagClassifier(6, mode=mode, max_iter=1, random_state=0)
        transform = model.fit(X, np.arange(X.shape[0]) % 2).decision_function
    expected = np.concatenate([transform(X[i : i + 1]) for i in range(X.shape[0])])
    assert transform(X).tobytes() == transform(beside)[:-1].tobytes() == expected.tobytes()
    duplicates = transform(csr(np.array([1.0, 2]), np.array([2, 7]), np.array([0, 2]), 500))
    assert transform(beside)[-1:].tobytes() == duplicates.tobytes()


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_one_long_row_with_a_duplicate_far_apart(dtype):
    ids = np.random.default_rng(0).permutation(100_000).astype(dtype)
    once = csr(np.ones(100_000), ids, np.array([0, 100_000], dtype), 100_000)
    twice = csr(np.ones(100_001), np.append(ids, ids[5]), np.array([0, 100_001], dtype), 100_000)
    vectorizer = EmbeddingBagVectorizer.from_pretrained(np.eye(1, 2) + np.zeros((100_000, 2)), mode="sqrtn")
    np.testing.assert_allclose(vectorizer.transform(once)[0, 0], 100_000 / np.sqrt(100_000))
    np.testing.assert_allclose(vectorizer.transform(twice)[0, 0], 100_001 / np.sqrt(100_003))


def test_a_flag_of_scipy_is_not_believed():
    X, table = random_csr(seed=1), random_table()
    X.has_canonical_format = True
    assert_pooled(EmbeddingBagVectorizer.from_pretrained(table).transform(X), reference.bags_of_csr(X), table, "mean")
    assert X.has_canonical_format


# --- the scikit-learn contract


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_set_output(X, kind):
    frames(kind)
    vectorizer = EmbeddingBagVectorizer(5, random_state=0).fit(X)
    plain = vectorizer.transform(X)
    frame = vectorizer.set_output(transform=kind).transform(X)
    assert isinstance(frame, frames(kind).DataFrame)
    assert list(frame.columns) == list(vectorizer.get_feature_names_out())
    assert np.array_equal(frame.to_numpy(), plain)
    assert clone(vectorizer).fit_transform(X).shape == (8, 5)


def test_set_output_keeps_the_index_of_a_frame(X):
    given = frames("pandas").DataFrame(X.toarray(), columns=NAMES, index=range(10, 18))
    frame = EmbeddingBagVectorizer(5).set_output(transform="pandas").fit_transform(given)
    assert list(frame.index) == list(range(10, 18))


def test_feature_names_out(X):
    names = EmbeddingBagVectorizer(5).fit(X).get_feature_names_out()
    assert list(names) == [f"embeddingbagvectorizer{i}" for i in range(5)]


def test_pipelines_of_text():
    pipeline = make_pipeline(
        TfidfVectorizer(), EmbeddingBagVectorizer(16, mode="sum", random_state=0), LogisticRegression(C=100)
    )
    assert pipeline.fit(TEXTS, LABELS).score(TEXTS, LABELS) == 1
    assert pipeline.predict(["cat", "dog dog"]).tolist() == [0, 1]
    assert list(pipeline[:-1].get_feature_names_out()) == [f"embeddingbagvectorizer{i}" for i in range(16)]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_over_mode_and_embedding_dim(n_jobs):
    pipeline = make_pipeline(CountVectorizer(), EmbeddingBagVectorizer(random_state=0), LogisticRegression(C=100))
    grid = {"embeddingbagvectorizer__mode": list(MODES), "embeddingbagvectorizer__embedding_dim": [4, 16]}
    with parallel_config(backend="threading"):
        search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs, error_score="raise").fit(TEXTS, LABELS)
    assert len(search.cv_results_["params"]) == 8
    best = search.best_estimator_[1]
    assert best.embeddings_.shape[1] == search.best_params_["embeddingbagvectorizer__embedding_dim"]
    assert search.score(TEXTS, LABELS) > 0.5


def test_metadata_routing_passes_by(X):
    """The vectorizer asks for nothing; sample_weight goes through the pipeline to the step that does."""
    weight = np.array([1.0, 0, 1, 0, 1, 0, 1, 1])
    with config_context(enable_metadata_routing=True):
        vectorizer = EmbeddingBagVectorizer(16, mode="sum", random_state=0)
        assert not hasattr(vectorizer, "set_fit_request")
        assert not hasattr(vectorizer, "set_transform_request")
        head = LogisticRegression().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipeline = make_pipeline(vectorizer, head).fit(X, LABELS, sample_weight=weight)
        expected = LogisticRegression().fit(vectorizer.fit_transform(X), LABELS, sample_weight=weight)
        assert np.array_equal(pipeline[-1].coef_, expected.coef_)
        unweighted = make_pipeline(vectorizer, LogisticRegression()).fit(X, LABELS)
        assert not np.array_equal(pipeline[-1].coef_, unweighted[-1].coef_)
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            make_pipeline(vectorizer, LogisticRegression()).fit(X, LABELS, sample_weight=weight)


@pytest.mark.parametrize(
    "change", [{"mode": "max"}, {"mode": "sqrtn"}, {"per_sample_weights": False}, {"padding_idx": 2}, {"n_jobs": 2}]
)
def test_parameters_of_pooling_may_change_after_fit(X, change):
    vectorizer = EmbeddingBagVectorizer(5, random_state=0).fit(X)
    table = vectorizer.embeddings_.copy()
    changed = vectorizer.set_params(**change).transform(X)
    expected = EmbeddingBagVectorizer.from_pretrained(table, **change).transform(X)
    assert np.array_equal(changed, expected)


@pytest.mark.parametrize(
    "change",
    [{"embedding_dim": 9}, {"init": "uniform"}, {"dtype": "float64"}, {"max_norm": 0.1}, {"random_state": 7}],
)
def test_parameters_of_the_table_wait_for_the_next_fit(X, change):
    vectorizer = EmbeddingBagVectorizer(5, random_state=0).fit(X)
    before = vectorizer.transform(X)
    assert np.array_equal(vectorizer.set_params(**change).transform(X), before)
    assert list(vectorizer.get_feature_names_out()) == [f"embeddingbagvectorizer{i}" for i in range(5)]
    after = vectorizer.fit(X).transform(X)
    assert after.shape != before.shape or not np.array_equal(after, before)


def test_padding_idx_is_checked_again_when_it_changes_after_fit(X):
    vectorizer = EmbeddingBagVectorizer(5).fit(X).set_params(padding_idx=6)
    with pytest.raises(ValueError, match=r"padding_idx.* 6"):
        vectorizer.transform(X)
    with pytest.raises(ValueError, match=r"mode.*median"):
        vectorizer.set_params(padding_idx=None, mode="median").transform(X)


def test_representations(X):
    vectorizer = EmbeddingBagVectorizer(5, mode="sum")
    assert repr(vectorizer) == "EmbeddingBagVectorizer(embedding_dim=5, mode='sum')"
    assert "EmbeddingBagVectorizer" in vectorizer.fit(X)._repr_html_()


# --- distances, and the way back


@pytest.mark.parametrize(("init", "factor"), [("normal", 50.0), ("uniform", 1 / 150)])
@pytest.mark.parametrize(("mode", "p"), [("sum", None), ("sqrtn", 2), ("mean", 1)])
def test_squared_distances_are_multiplied_by_a_known_number(mode, p, init, factor):
    """In expectation over tables; the mean of 600 draws of width 50 has a standard error of a hundredth of it."""
    rows = np.array([[3.0, 0, 1, 0, 2, 0], [0, 1, 1, 0, 0, 0], [9, 0, 0, -4, 5, 7]])
    scaled = rows if p is None else rows / np.linalg.norm(rows, p, axis=1, keepdims=True)
    draws = [EmbeddingBagVectorizer(50, mode=mode, init=init, random_state=k).fit_transform(rows) for k in range(600)]
    found = np.mean([pdist(features, "sqeuclidean") for features in draws], axis=0)
    np.testing.assert_allclose(found / pdist(scaled, "sqeuclidean"), factor, rtol=0.04)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(30, 7), (7, 7), (4, 7)])
def test_inverse_transform_is_that_of_random_projections(shape, dtype):
    """Of a random projection on the same table, and transform of it gives the features back."""
    projection = GaussianRandomProjection(shape[1])
    projection.components_ = random_table(*shape, dtype=dtype).T
    vectorizer = EmbeddingBagVectorizer.from_pretrained(projection.components_.T, mode="sum")
    projection.n_features_in_ = shape[0]
    rows = random_csr(20, shape[0])
    features = vectorizer.transform(rows)
    back = vectorizer.inverse_transform(features)
    tolerance = {"float32": 2e-5, "float64": 1e-12}[dtype]
    assert (back.shape, back.dtype) == ((20, shape[0]), dtype)
    np.testing.assert_allclose(back, projection.inverse_transform(features), rtol=tolerance, atol=10 * tolerance)
    np.testing.assert_allclose(vectorizer.transform(back), features, rtol=tolerance, atol=30 * tolerance)
    for other in (
        features.astype("float64"),
        features.round().astype("int64"),
        sparse.csc_array(features),
        features[:1],
    ):
        actual, expected = vectorizer.inverse_transform(other), projection.inverse_transform(other)
        assert (type(actual), actual.dtype) == (np.ndarray, expected.dtype)
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=30 * tolerance)
    assert vectorizer.inverse_transform(features[:0]).shape == (0, shape[0])


@pytest.mark.parametrize("padding_idx", [2, -4])
def test_the_padded_column_comes_back_as_zeros(padding_idx):
    table = random_table(6, 3)
    vectorizer = EmbeddingBagVectorizer.from_pretrained(table, mode="sum", padding_idx=padding_idx)
    features = vectorizer.transform(np.arange(12.0).reshape(2, 6))
    back = vectorizer.inverse_transform(features)
    assert back[:, 2].tolist() == [0, 0]
    assert back[:, [0, 1, 3, 4, 5]].all()
    np.testing.assert_allclose(vectorizer.transform(back), features, rtol=1e-12)
    np.testing.assert_array_equal(vectorizer.embeddings_, random_table(6, 3))
    alone = EmbeddingBagVectorizer.from_pretrained(table[:1], mode="sum", padding_idx=0)
    assert alone.inverse_transform([[1.0, 2, 3]]).tolist() == [[0]]


def test_inverse_transform_of_a_pipeline(X):
    model = make_pipeline(EmbeddingBagVectorizer(9, mode="sum", dtype="float64", random_state=0))
    np.testing.assert_allclose(model.inverse_transform(model.fit_transform(X)), X.toarray(), atol=1e-12)


@pytest.mark.parametrize(
    "params", [{"mode": "mean"}, {"mode": "sqrtn"}, {"mode": "max"}, {"per_sample_weights": False}]
)
def test_inverse_transform_is_there_where_transform_is_a_matrix_product(X, params):
    vectorizer = EmbeddingBagVectorizer(**{"mode": "sum", **params}).fit(X)
    assert not hasattr(vectorizer, "inverse_transform")
    with pytest.raises(AttributeError, match="has no attribute 'inverse_transform'") as error:
        vectorizer.inverse_transform(vectorizer.transform(X))
    assert "mode='sum' and per_sample_weights=True" in str(error.value.__cause__)


def test_what_inverse_transform_refuses(X):
    vectorizer = EmbeddingBagVectorizer(3, mode="sum")
    with pytest.raises(NotFittedError):
        vectorizer.inverse_transform([[1.0, 2, 3]])
    vectorizer.fit(X)
    with pytest.raises(ValueError, match="one column per column of the table, 3, got 4 columns"):
        vectorizer.inverse_transform([[1.0, 2, 3, 4]])
    for bad, words in ((np.nan, "X contains NaN"), (np.inf, "X contains infinity"), (1j, "Complex data")):
        with pytest.raises(ValueError, match=words):
            vectorizer.inverse_transform(np.array([[1.0, 2, bad]]))
