"""Live comparison with torch."""

import numpy as np
import pytest
from helpers import FLOATS, random_table

from skbag import embedding, embedding_bag

torch = pytest.importorskip("torch", reason="the comparison with torch needs torch")

N_ROWS, DIM = 20, 13
TOLERANCE = {"float32": 2e-6, "float64": 4e-15}
NORMS = [None, (1.0, 2.0), (2.0, 1.0), (0.5, np.inf), (3.0, 3.0), (5.0, 0.5)]


@pytest.fixture(params=["2-D", "offsets", "last offset"])
def layout(request):
    return request.param


def random_bags(layout, index_dtype, seed=0):
    """Return ids, offsets and include_last_offset: ids with duplicates, and some bags empty where the layout can."""
    rng = np.random.default_rng(seed)
    if layout == "2-D":
        return rng.integers(0, N_ROWS, (15, 7)).astype(index_dtype), None, False
    offsets = np.append(0, np.cumsum(rng.integers(1, 12, 15) * (rng.random(15) < 0.7)))
    ids = rng.integers(0, N_ROWS, offsets[-1]).astype(index_dtype)
    last = layout == "last offset"
    return ids, (offsets if last else offsets[:-1]).astype(index_dtype), last


def of_torch(ids, table, offsets, max_norm=None, per_sample_weights=None, **options):
    """torch's answer; it rescales its table in place, so it gets a copy."""
    tensors = [None if array is None else torch.tensor(array) for array in (ids, table, offsets, per_sample_weights)]
    with torch.no_grad():
        result = torch.nn.functional.embedding_bag(
            *tensors[:3], per_sample_weights=tensors[3], max_norm=max_norm, **options
        )
    return result.numpy()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("padding_idx", [None, 4, -1])
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_embedding_bag(layout, dtype, index_dtype, mode, padding_idx, norm):
    ids, offsets, last = random_bags(layout, index_dtype)
    table = random_table(N_ROWS, DIM, dtype=dtype)
    options = {"mode": mode, "padding_idx": padding_idx, "include_last_offset": last}
    if norm is not None:
        options.update(zip(("max_norm", "norm_type"), norm, strict=True))
    expected = of_torch(ids, table, offsets, **options)
    actual = embedding_bag(ids, table, offsets, **options)
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("padding_idx", [None, 4])
@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_weighted_sum(layout, dtype, index_dtype, padding_idx):
    ids, offsets, last = random_bags(layout, index_dtype)
    table = random_table(N_ROWS, DIM, dtype=dtype)
    weights = np.random.default_rng(1).normal(size=ids.shape).astype(dtype)
    options = {"mode": "sum", "per_sample_weights": weights, "padding_idx": padding_idx, "include_last_offset": last}
    expected = of_torch(ids, table, offsets, **options)
    actual = embedding_bag(ids, table, offsets, **options)
    np.testing.assert_allclose(actual, expected, rtol=TOLERANCE[dtype], atol=20 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", FLOATS)
def test_mean_with_counts_as_weights_is_the_mean_over_repeated_ids(dtype):
    ids, counts = np.array([[3, 1, 7]]), np.array([[2, 1, 4]])
    table = random_table(N_ROWS, DIM, dtype=dtype)
    expected = of_torch(np.repeat(ids, counts[0], axis=1), table, None, mode="mean")
    actual = embedding_bag(ids, table, mode="mean", per_sample_weights=counts)
    np.testing.assert_allclose(actual, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(), (6,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_embedding(dtype, index_dtype, shape, norm):
    ids = np.random.default_rng(0).integers(0, N_ROWS, shape).astype(index_dtype)
    table = random_table(N_ROWS, DIM, dtype=dtype)
    options = {"padding_idx": 2}
    if norm is not None:
        options.update(zip(("max_norm", "norm_type"), norm, strict=True))
    with torch.no_grad():
        expected = torch.nn.functional.embedding(torch.tensor(ids), torch.tensor(table), **options).numpy()
    actual = embedding(ids, table, **options)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=TOLERANCE[dtype])


def test_tensors_are_taken_as_arrays():
    ids, offsets, _ = random_bags("offsets", "int64")
    table = random_table(N_ROWS, DIM)
    tensors = [torch.tensor(array) for array in (ids, table, offsets)]
    assert np.array_equal(embedding_bag(*tensors), embedding_bag(ids, table, offsets))
