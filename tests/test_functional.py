"""embedding_bag, embedding and bags_to_csr: layouts, options, and what they leave alone."""

import inspect

import numpy as np
import pytest
import reference
from helpers import FLOATS, random_csr, random_table
from scipy.sparse import csr_array

from skbag import EmbeddingBagVectorizer, bags_to_csr, embedding, embedding_bag

TABLE = np.array([[1.0, -1.0], [2.0, 5.0], [-4.0, 0.5], [8.0, 8.0]])


def keywords(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def positional(function):
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind is not p.KEYWORD_ONLY]


def test_signatures_are_the_documented_ones():
    common = {"padding_idx": None, "max_norm": None, "norm_type": 2.0, "n_jobs": None, "device": "cpu"}
    bags = {"per_sample_weights": None, "include_last_offset": False}
    assert positional(embedding_bag) == ["input", "weight", "offsets"]
    assert keywords(embedding_bag) == {**common, **bags, "mode": "mean"}
    assert positional(embedding) == ["input", "weight"]
    assert keywords(embedding) == common
    assert positional(bags_to_csr) == ["input", "offsets"]
    assert keywords(bags_to_csr) == {**bags, "num_embeddings": inspect.Parameter.empty}


def test_torch_documentation_example():
    weight = np.array([[1, 2.3, 3], [4, 5.1, 6.3]], np.float32)
    np.testing.assert_allclose(embedding_bag([[1, 0]], weight), [[2.5, 3.7, 4.65]], rtol=1e-6)
    assert np.array_equal(embedding([1], weight), weight[1:])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("sum", [[6, 8], [0, 0], [9, 7]]),
        ("mean", [[1.5, 2], [0, 0], [4.5, 3.5]]),
        ("sqrtn", [[3, 4], [0, 0], [9 / 2**0.5, 7 / 2**0.5]]),
        ("max", [[2, 5], [0, 0], [8, 8]]),
    ],
)
def test_modes_by_hand(mode, expected):
    np.testing.assert_allclose(embedding_bag([1, 0, 1, 0, 3, 0], TABLE, [0, 4, 4], mode=mode), expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("sum", [3 - 4, -3 - 10]), ("mean", [-1 / 5, -13 / 5]), ("sqrtn", [-1 / 13**0.5, -13 / 13**0.5])],
)
def test_signed_weights_by_hand(mode, expected):
    result = embedding_bag([[0, 1]], TABLE, mode=mode, per_sample_weights=[[3, -2]])
    np.testing.assert_allclose(result, [expected], rtol=1e-15)


@pytest.mark.parametrize("mode", ["mean", "sqrtn"])
def test_weights_that_cancel_give_finite_features(mode):
    result = embedding_bag([[0, 1]], TABLE, mode=mode, per_sample_weights=[[1.0, -1.0]])
    size = 2 if mode == "mean" else 2**0.5
    np.testing.assert_allclose(result, [(TABLE[0] - TABLE[1]) / size], rtol=1e-15)


@pytest.mark.parametrize("mode", ["sum", "mean", "sqrtn", "max"])
def test_layouts_say_the_same(mode):
    ids = np.array([[0, 1, 1], [3, 2, 0]])
    expected = embedding_bag(ids, TABLE, mode=mode)
    assert np.array_equal(embedding_bag(ids.ravel(), TABLE, [0, 3], mode=mode), expected)
    last = embedding_bag(ids.ravel(), TABLE, [0, 3, 6], mode=mode, include_last_offset=True)
    assert np.array_equal(last, expected)
    assert np.array_equal(embedding_bag(ids.T.copy().T, TABLE, mode=mode), expected)
    assert np.array_equal(embedding_bag(ids.tolist(), TABLE, mode=mode), expected)
    as_bags = bags_to_csr(ids, num_embeddings=4)
    if mode == "sqrtn":  # an id that is listed twice is one member of the weight 2
        expected = embedding_bag([0, 1, 3, 2, 0], TABLE, [0, 2], mode=mode, per_sample_weights=[1, 2, 1, 1, 1])
    np.testing.assert_allclose(
        EmbeddingBagVectorizer.from_pretrained(TABLE, mode=mode).transform(as_bags), expected, rtol=1e-15
    )


def test_empty_bags_and_empty_inputs_give_zeros():
    for mode in ("sum", "mean", "sqrtn", "max"):
        assert np.array_equal(embedding_bag([], TABLE, [0, 0], mode=mode), np.zeros((2, 2)))
        assert embedding_bag([], TABLE, [], mode=mode).shape == (0, 2)
        assert embedding_bag([], TABLE, [0], mode=mode, include_last_offset=True).shape == (0, 2)
        assert embedding_bag(np.empty((0, 3), int), TABLE, mode=mode).shape == (0, 2)
        assert np.array_equal(embedding_bag(np.empty((3, 0), int), TABLE, mode=mode), np.zeros((3, 2)))
        assert np.array_equal(embedding_bag([[2, 2]], TABLE, mode=mode, padding_idx=2), np.zeros((1, 2)))


def test_every_listed_id_is_a_member_whatever_its_weight():
    result = embedding_bag([[0, 1]], TABLE, mode="sqrtn", per_sample_weights=[[0.0, 2.0]])
    assert np.array_equal(result, TABLE[[1]])
    zeros = embedding_bag([[0, 1]], TABLE, mode="mean", per_sample_weights=[[0.0, 0.0]])
    assert np.array_equal(zeros, np.zeros((1, 2)))


@pytest.mark.parametrize("padding_idx", [1, -3])
def test_padding_is_left_out_of_sums_denominators_and_maxima(padding_idx):
    ids = [[1, 0, 1, 2]]
    weights = [[7.0, 1.0, 9.0, -1.0]]
    for mode, expected in {"mean": [2.5, -0.75], "sqrtn": [5 / 2**0.5, -1.5 / 2**0.5], "sum": [5, -1.5]}.items():
        result = embedding_bag(ids, TABLE, mode=mode, per_sample_weights=weights, padding_idx=padding_idx)
        np.testing.assert_allclose(result, [expected], rtol=1e-15)
    assert np.array_equal(embedding_bag(ids, TABLE, mode="max", padding_idx=padding_idx), [[1, 0.5]])
    assert np.array_equal(embedding([1, 0], TABLE, padding_idx=padding_idx), TABLE[[1, 0]])


@pytest.mark.parametrize(("norm_type", "norm"), [(1, 16), (2.0, 128**0.5), (3, 1024 ** (1 / 3)), (np.inf, 8)])
def test_max_norm_rescales_the_rows_beyond_it(norm_type, norm):
    options = {"max_norm": 6, "norm_type": norm_type}
    longest = TABLE[3] * 6 / norm
    np.testing.assert_allclose(embedding(3, TABLE, **options), longest, rtol=1e-7)
    for mode, expected in {"sum": longest + 2 * TABLE[0], "max": np.maximum(longest, TABLE[0])}.items():
        result = embedding_bag([[3, 0, 0]], TABLE, mode=mode, **options)
        np.testing.assert_allclose(result, [expected], rtol=1e-7)
    weighted = embedding_bag([[3, 0]], TABLE, mode="mean", per_sample_weights=[[3.0, -1.0]], **options)
    np.testing.assert_allclose(weighted, [(3 * longest - TABLE[0]) / 4], rtol=1e-7)
    short = embedding_bag([[0, 0]], TABLE, mode="mean", **options)
    assert np.array_equal(short, TABLE[[0]])


@pytest.mark.parametrize("shape", [(), (1,), (0,), (4, 0), (5,), (2, 3), (2, 3, 4), (1, 2, 1, 3)])
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_embedding_takes_ids_of_any_shape(shape, dtype):
    ids = np.random.default_rng(0).integers(0, 4, shape).astype(dtype)
    result = embedding(ids, TABLE)
    assert result.shape == (*shape, 2)
    assert np.array_equal(result, TABLE[ids])
    transposed = embedding(ids.T, TABLE)
    assert np.array_equal(transposed, TABLE[ids.T])


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_result_has_the_dtype_of_the_table(dtype):
    table = TABLE.astype(dtype)
    weights = np.ones((1, 2), "float32" if dtype == "float64" else "float64")
    for result in (
        embedding_bag([[0, 1]], table),
        embedding_bag([[0, 1]], table, mode="sum", per_sample_weights=weights),
        embedding_bag([[0, 1]], table, mode="max", max_norm=1.0),
        embedding([0, 1], table, max_norm=1.0),
    ):
        assert result.dtype == dtype
        assert result.flags.c_contiguous
        assert result.flags.writeable


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "uint64", "bool"])
def test_per_sample_weights_of_any_real_dtype(dtype):
    weights = np.array([[1, 0], [1, 1]]).astype(dtype)
    result = embedding_bag([[0, 1], [2, 3]], TABLE, mode="sum", per_sample_weights=weights)
    assert np.array_equal(result, [TABLE[0], TABLE[2] + TABLE[3]])


@pytest.mark.parametrize("max_norm", [None, 1.0])
@pytest.mark.parametrize("mode", ["sum", "mean", "sqrtn", "max"])
def test_nothing_is_modified(mode, max_norm):
    X, table = random_csr(), random_table()
    weights = None if mode == "max" else X.data
    given = [X.indices, table, X.indptr, X.data]
    before = [array.copy() for array in given]
    options = {"padding_idx": 1, "max_norm": max_norm}
    embedding_bag(
        X.indices, table, X.indptr, mode=mode, per_sample_weights=weights, include_last_offset=True, **options
    )
    embedding(X.indices, table, **options)
    made = bags_to_csr(
        X.indices, X.indptr, num_embeddings=9, per_sample_weights=X.data.astype("float32"), include_last_offset=True
    )
    made.data[:] = made.indices[:] = made.indptr[:] = 0
    for array, old in zip(given, before, strict=True):
        assert np.array_equal(array, old)
        assert array.flags.writeable


def test_embedding_returns_a_copy():
    table = TABLE.copy()
    embedding([0, 1, 2, 3], table)[:] = 0
    assert np.array_equal(table, TABLE)


def test_nan_in_weight_propagates():
    table = TABLE.copy()
    table[1, 0] = np.nan
    for mode in ("sum", "mean", "sqrtn", "max"):
        result = embedding_bag([[0, 1, 2], [1, 1, 1], [0, 2, 3], [1, 0, 0]], table, mode=mode)
        assert np.array_equal(np.isnan(result), [[True, False], [True, False], [False, False], [True, False]])
        padded = embedding_bag([[0, 1, 2]], table, mode=mode, padding_idx=1)
        assert np.isfinite(padded).all()
    assert np.array_equal(np.isnan(embedding([0, 1], table)), [[False, False], [True, False]])


def test_infinity_in_weight_propagates():
    table = TABLE.copy()
    table[1, 0] = -np.inf
    for mode, expected in {"sum": -np.inf, "mean": -np.inf, "sqrtn": -np.inf, "max": 1}.items():
        assert embedding_bag([[0, 1]], table, mode=mode)[0, 0] == expected
    assert embedding_bag([[1, 1]], table, mode="max")[0, 0] == -np.inf
    assert embedding_bag([[1, 2]], table, mode="sum", per_sample_weights=[[2, 1]])[0, 0] == -np.inf


def test_finite_weights_may_overflow():
    result = embedding_bag([[3, 3, 0]], TABLE, mode="sum", per_sample_weights=[[1e308, 1e308, 0]])
    assert np.array_equal(result, [[np.inf, np.inf]])


def test_bags_to_csr_sorts_sums_duplicates_and_keeps_zero_weights():
    X = bags_to_csr([3, 1, 1, 0], [0, 0, 3], num_embeddings=5, per_sample_weights=[1.5, 0.0, -2.0, 4.0])
    assert isinstance(X, csr_array)
    assert X.shape == (3, 5)
    assert X.indices.tolist() == [1, 3, 0]
    assert X.indptr.tolist() == [0, 0, 2, 3]
    assert X.data.tolist() == [-2.0, 1.5, 4.0]
    assert bags_to_csr([[1, 2]], num_embeddings=3, per_sample_weights=[[0.0, 1.0]]).data.tolist() == [0, 1]


def test_bags_to_csr_layouts():
    for X in (
        bags_to_csr([[1, 2], [0, 0]], num_embeddings=3),
        bags_to_csr([1, 2, 0, 0], [0, 2], num_embeddings=3),
        bags_to_csr([1, 2, 0, 0], [0, 2, 4], num_embeddings=3, include_last_offset=True),
    ):
        assert np.array_equal(X.toarray(), [[0, 1, 1], [2, 0, 0]])
        assert X.dtype == np.float32
    assert bags_to_csr([], [], num_embeddings=3).shape == (0, 3)
    assert bags_to_csr([], [0, 0], num_embeddings=3).nnz == 0


@pytest.mark.parametrize(
    ("given", "made"),
    [("float16", "float32"), ("float32", "float32"), ("float64", "float64"), ("longdouble", "float64"),
     ("int64", "float64"), ("bool", "float64")],
)  # fmt: skip
def test_bags_to_csr_dtypes(given, made):
    X = bags_to_csr([[0, 1]], num_embeddings=2, per_sample_weights=np.ones((1, 2), given))
    assert X.dtype == made
    assert np.array_equal(X.toarray(), [[1, 1]])


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
def test_bags_to_csr_goes_back_to_the_same_bags(index_dtype):
    X = random_csr(index_dtype=index_dtype)
    Y = bags_to_csr(X.indices, X.indptr, num_embeddings=X.shape[1], per_sample_weights=X.data, include_last_offset=True)
    for name in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(reference.canonical(X), name), getattr(Y, name))
    assert Y.has_canonical_format


@pytest.fixture
def sparse_table(tmp_path):
    """Make tables of any size: files with holes, of which only the rows that are written lie on the disk."""

    def make(shape, rows, dtype="float32"):
        try:
            table = np.memmap(tmp_path / "table", dtype, "w+", shape=shape)
        except OSError as error:
            pytest.skip(f"no sparse file of this size here: {error}")
        for value, row in enumerate(rows, start=1):
            table[row] = value
        return table

    yield make
    (tmp_path / "table").unlink(missing_ok=True)


@pytest.mark.parametrize("mode", ["sum", "mean", "sqrtn", "max"])
def test_tables_beyond_two_to_the_31_elements(sparse_table, mode):
    last = 2**26 - 1
    rows = [0, 2**26 // 33, 2**31 // 33, 2**25 + 17, last]
    table = sparse_table((2**26, 33), rows)
    assert np.array_equal(embedding(rows, table)[:, [0, 32]], [[1, 1], [2, 2], [3, 3], [4, 4], [5, 5]])
    expected = {"sum": 15, "mean": 3, "sqrtn": 15 / 5**0.5, "max": 5}[mode]
    for dtype in ("int32", "int64"):
        ids, offsets = np.array(rows, dtype), np.zeros(1, dtype)
        np.testing.assert_allclose(embedding_bag(ids, table, offsets, mode=mode), np.full((1, 33), expected), rtol=1e-6)


def test_ids_beyond_two_to_the_31(sparse_table):
    rows = [3, 2**31 - 1, 2**31, 2**31 + 5, 2**32 + 7]
    table = sparse_table((2**32 + 8, 1), rows)
    assert embedding(rows, table).ravel().tolist() == [1, 2, 3, 4, 5]
    assert embedding_bag([rows], table, mode="sum").tolist() == [[15]]
    assert embedding_bag([rows], table, mode="max").tolist() == [[5]]
    assert embedding_bag([rows], table, mode="mean", padding_idx=-1).tolist() == [[2.5]]
    with pytest.raises(ValueError, match=f"{2**32 + 8}"):
        embedding([2**32 + 8], table)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_padding_idx_beyond_the_range_of_int32_ids(sparse_table, mode):
    """2**32 + 3 is 3 in 32 bits: an id of 3 is no padding."""
    table = sparse_table((2**32 + 8, 1), [3, 4])
    ids, offsets = np.array([3, 4], np.int32), np.zeros(1, np.int32)
    expected = {"sum": 3, "mean": 1.5, "max": 2}[mode]
    assert embedding_bag(ids, table, offsets, mode=mode, padding_idx=2**32 + 3).tolist() == [[expected]]


def test_bags_to_csr_beyond_two_to_the_31():
    X = bags_to_csr([[2**40, 1]], num_embeddings=2**41)
    assert X.shape == (1, 2**41)
    assert X.indices.tolist() == [1, 2**40]
