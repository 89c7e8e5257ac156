"""One suite for every device: results against the float64 reference, the same errors, the same bytes twice.

Without a GPU the kernels run in Numba's CUDA simulator, at tiny shapes: NUMBA_ENABLE_CUDASIM=1 pytest
tests/test_devices.py. With a GPU the same tests run on it, at larger ones.
"""

import copy
import os
import pickle
import re
from types import SimpleNamespace

import numpy as np
import pytest
import reference
import training_reference
from helpers import FLOATS, MODES, assert_pooled, csr, learnt, random_csr, random_table, run_python
from simulator import FULL_BLOCKS, SIMULATED
from sklearn.base import clone

from skbag import (
    EmbeddingBagClassifier,
    EmbeddingBagRegressor,
    EmbeddingBagVectorizer,
    QuantizedTable,
    embedding,
    embedding_bag,
)
from skbag._data.targets import CLASSES, LABELS, Classes

DIMS = (1, 2, 5, 16, 33) if not FULL_BLOCKS else (1, 2, 3, 5, 16, 31, 33, 64, 100, 128, 257, 300, 512, 1000, 2048)
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
TARGETS = {"two classes": "sigmoid", "four classes": "softmax", "labels": "sigmoid"}


def vectorizer(table, device, **params):
    return EmbeddingBagVectorizer.from_pretrained(table, device=device, **params)


# --- pooling


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_pooling(cuda, dtype, mode, dim):
    """On the CPU test_properties.py has every width."""
    X, table = random_csr(dtype=dtype), random_table(9, dim, dtype=dtype)
    assert_pooled(vectorizer(table, cuda, mode=mode).transform(X), reference.bags_of_csr(X), table, mode)


@pytest.mark.parametrize("dim", [5, 32])
@pytest.mark.parametrize("storage", ["float16", "bfloat16", "int8"])
@pytest.mark.parametrize("mode", MODES)
def test_tables_of_less_memory(cuda, short_windows, mode, storage, dim):
    """On the CPU test_quantized.py has these, and the next."""
    X, small = random_csr(longest=25), QuantizedTable.of(random_table(9, dim), storage)
    table, bags = np.asarray(small), reference.bags_of_csr(X)
    pooled = vectorizer(small, cuda, mode=mode, padding_idx=4)
    assert_pooled(pooled.transform(X), bags, table, mode, padding_idx=4)
    copy_ = pickle.loads(pickle.dumps(pooled))
    np.testing.assert_array_equal(copy_.transform(X), pooled.transform(X))
    assert isinstance(pooled.embeddings_, QuantizedTable)
    if mode == "mean":
        ids = [[1, 2], [3, 3]]
        rows = embedding_bag(ids, small, mode="sum", max_norm=1.0, device=cuda)
        assert_pooled(rows, reference.bags_of_ids(ids), np.float32(reference.rescaled(table, 1.0)), "sum")
        np.testing.assert_array_equal(embedding(ids, small, device=cuda), table[ids])


def test_quantized_models(cuda):
    X, y = random_csr(), np.arange(random_csr().shape[0]) % 2
    model = EmbeddingBagClassifier(16, random_state=0).fit(X, y)
    for storage in ("float16", "int8"):
        small = model.quantize(storage)
        expected = small.decision_function(X)
        small.set_params(device=cuda)
        np.testing.assert_allclose(small.decision_function(X), expected, rtol=1e-5, atol=1e-5)
        if storage == "int8":
            with pytest.raises(ValueError, match="embeddings_ is stored as int8, which cannot be trained"):
                small.partial_fit(X, y)


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
@pytest.mark.parametrize("modes", [["mean", "sqrtn"], ["sqrtn", "sum", "mean"], ["max", "sqrtn", "mean"]])
def test_sums_with_several_divisors_are_those_of_each(cuda, short_windows, modes, storage):
    """The rows are read once."""
    X, table = random_csr(longest=25, dtype="float32"), random_table()
    table = table if storage == "float32" else QuantizedTable.of(table, storage)
    for options in ({}, {"padding_idx": 4, "per_sample_weights": False}):
        each = [vectorizer(table, cuda, mode=mode, **options).transform(X) for mode in modes]
        pooled = vectorizer(table, cuda, mode=modes, **options).transform(X)
        np.testing.assert_allclose(pooled, np.hstack(each), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("max_norm", [None, 2.0])
@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_weights_of_zero_leave_no_member_out_of_a_maximum(device, storage, max_norm):
    table = random_table(9, 17)
    table = table if storage == "float32" else QuantizedTable.of(table, storage)
    ids, offsets, options = [2, 0, 2, 1, 1], [0, 1, 3, 4], {"max_norm": max_norm, "device": device}
    both = embedding_bag(ids, table, offsets, mode=["sum", "max"], per_sample_weights=[0.0, 0, 0, 0, 1], **options)
    np.testing.assert_array_equal(both[:, 17:], embedding_bag(ids, table, offsets, mode="max", **options))


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_padding_weights_and_index_dtypes(cuda, short_windows, mode, weighted, index_dtype):
    """On the CPU test_properties.py draws them."""
    X, table = random_csr(index_dtype=index_dtype, longest=25), random_table()
    pooled = vectorizer(table, cuda, mode=mode, per_sample_weights=weighted, padding_idx=4).transform(X)
    assert_pooled(pooled, reference.bags_of_csr(X, weighted), table, mode, padding_idx=4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_bags_of_all_lengths(device, dtype, mode):
    longest = 1100 if not FULL_BLOCKS else 20_000 if SIMULATED else 100_000  # of 3, 40 or 196 windows
    lengths = [3, 0, 511, 512, 513, 1, 0, longest]
    rng = np.random.default_rng(0)
    n, n_rows = sum(lengths), 50
    indices = np.where(rng.random(n) < 0.3, 7, rng.integers(0, n_rows, n))  # one row in every bag
    data, indptr = rng.normal(size=n).astype(dtype), np.append(0, np.cumsum(lengths))
    table = random_table(n_rows, 6, dtype=dtype)

    def pool(some, starts):
        weights = None if mode == "max" else data[some]
        return embedding_bag(indices[some], table, starts, mode=mode, per_sample_weights=weights, device=device)

    pooled = pool(slice(None), indptr[:-1])
    bags = reference.bags_of_ids(indices, indptr[:-1], None if mode == "max" else data)
    assert_pooled(pooled, bags, table, mode)
    alone = pool(slice(*indptr[4:6]), [0])
    np.testing.assert_array_equal(alone[0], pooled[4])  # whatever stands before it


@pytest.mark.parametrize("mode", MODES)
def test_windows_of_windows(cuda, short_windows, mode):
    """A bag of 4 ** 3 members in the simulator, of more than 512 ** 2 on a GPU, beside others."""
    lengths = [3, 70, 0, 16, 15, 37] if SIMULATED else [1000, 800_000, 0, 262_144, 262_143, 3]
    rng = np.random.default_rng(0)
    ids, data = rng.integers(0, 9, sum(lengths)), rng.uniform(-1, 1, sum(lengths))
    offsets, table = np.append(0, np.cumsum(lengths))[:-1], random_table(9, 5, dtype="float64")
    weights = None if mode == "max" else data
    pooled = embedding_bag(ids, table, offsets, mode=mode, per_sample_weights=weights, device=cuda)
    assert_pooled(pooled, reference.bags_of_ids(ids, offsets, weights), table, mode)


@pytest.mark.parametrize("options", [{}, {"max_norm": 1.5}, {"max_norm": 1.0, "norm_type": 1}, {"max_norm": 0.5}])
@pytest.mark.parametrize("mode", MODES)
def test_functions(device, mode, options):
    table, rng = random_table(9, 4), np.random.default_rng(1)
    if options.get("max_norm") == 0.5:
        options = {**options, "norm_type": np.inf}
    ids, offsets = rng.integers(0, 9, 14), [0, 5, 5, 9]
    weights = None if mode == "max" else rng.normal(size=14)
    pooled = embedding_bag(ids, table, offsets, mode=mode, per_sample_weights=weights, device=device, **options)
    assert_pooled(pooled, reference.bags_of_ids(ids, offsets, weights), table, mode, **options)
    np.testing.assert_array_equal(embedding(ids, table, device=device), table[ids])
    assert embedding_bag(np.zeros((0, 3), int), table, device=device).shape == (0, 4)


def test_weights_whose_squares_leave_the_dtype(device):
    weights = np.array([[3e30, 4e30, 0], [3e-30, 4e-30, 0], [0, 0, 0]], "float32")
    table = np.eye(3, dtype="float32")
    pooled = embedding_bag([[0, 1, 2]] * 3, table, mode="sqrtn", per_sample_weights=weights, device=device)
    np.testing.assert_allclose(pooled, [[0.6, 0.8, 0], [0.6, 0.8, 0], [0, 0, 0]], rtol=1e-6)


def extreme_bags(dtype):
    """Weights from the smallest to the largest number, alone and mixed, beside padding, zeros and empty bags."""
    limits = np.finfo(dtype)
    sizes = [limits.smallest_subnormal, limits.tiny, limits.tiny**0.5, 1, limits.max**0.5, limits.max]
    values = [[size] for size in sizes] + [[size, -size / 2, 0] for size in sizes[1:]] + [[size] * 9 for size in sizes]
    values += [[], [limits.max, 1], [1, limits.smallest_subnormal], [0, 0], sizes, sizes[::-1], [3] * 4]
    rng, data = np.random.default_rng(0), np.concatenate(values).astype(dtype)
    ids = np.concatenate([rng.permutation(np.arange(1, 10))[: len(value)] for value in values])
    data, ids = np.append(data, [limits.max, limits.tiny, limits.max]), np.append(ids, [0, 3, 0])  # 0 is padding
    indptr = np.append(0, np.cumsum([len(value) for value in values] + [2, 1]))
    return csr(data.astype(dtype), ids, indptr, 10)


def pooled_exactly(X, table, mode):
    """Pool row by row, with weights whose sums and squares stay in the range."""
    out = np.zeros((X.shape[0], table.shape[1]))
    for b, (ids, weights) in enumerate(reference.bags_of_csr(X)):
        weights = weights.astype(np.longdouble)[ids != 0]
        if len(weights):
            out[b] = reference.pool([(ids[ids != 0], weights / np.abs(weights).max())], table, mode)[0]
    return out


@pytest.mark.parametrize("mode", ["mean", "sqrtn"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_extreme_weights(device, dtype, mode):
    X, table = extreme_bags(dtype), random_table(10, dtype=dtype)
    bound = {"rtol": 4 * np.finfo(dtype).eps, "atol": 8 * np.finfo(dtype).eps}
    expected = pooled_exactly(X, table, mode)
    estimator = vectorizer(table, device, mode=mode, padding_idx=0)
    np.testing.assert_allclose(estimator.transform(X), expected, **bound)
    for b in range(X.shape[0]):  # alone
        np.testing.assert_allclose(estimator.transform(X[[b]]), expected[[b]], **bound)
    if device == "cuda":
        np.testing.assert_allclose(estimator.transform(CsrOnGpu(X)).copy_to_host(), expected, **bound)
    listed = {"per_sample_weights": X.data, "include_last_offset": True, "padding_idx": 0, "device": device}
    pooled = embedding_bag(X.indices, table, X.indptr, mode=mode, max_norm=100.0, **listed)
    np.testing.assert_allclose(pooled, expected, **bound)


@pytest.mark.parametrize("mode", ["mean", "sqrtn"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_training_sees_extreme_weights_as_their_bags_times_a_number(device, dtype, mode):
    X = random_csr(dtype=dtype)
    y, table = np.arange(12) % 2, random_table(dtype=dtype)
    limits = np.finfo(dtype)
    models = []
    for largest in (1, float(limits.max) / 16, float(limits.tiny) * 2**9, float(limits.max) ** 0.6):
        Z = csr(X.data * np.dtype(dtype).type(2.0 ** np.floor(np.log2(largest))), X.indices, X.indptr, 9)
        models.append(started(device, Z, y, table.copy(), mode=mode, batch_size=4).partial_fit(Z, y))
        assert models[-1].loss_curve_ == pytest.approx(models[0].loss_curve_, rel=TOLERANCE[dtype])
        np.testing.assert_allclose(models[-1].embeddings_, models[0].embeddings_, atol=TOLERANCE[dtype])
        np.testing.assert_allclose(models[-1].predict_proba(Z), models[0].predict_proba(X), rtol=10 * TOLERANCE[dtype])


def test_a_weight_that_is_lost_beside_a_larger_one_still_names_a_member(device):
    limits, table = np.finfo("float64"), random_table(3, 4)
    X = csr(np.array([1e300, limits.tiny, -limits.tiny]), np.array([0, 1, 2]), np.array([0, 3, 3]), 3)
    model = started(device, X, np.arange(2), table.copy(), mode="mean", batch_size=2, alpha=0.5)
    assert (model.partial_fit(X, [0, 1]).embeddings_ != table).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_state_of_adagrad_that_becomes_infinite_is_divergence(device, dtype):
    X, y, scale = random_csr(dtype=dtype), np.arange(12) % 2, 1e160 if dtype == "float64" else 1e30
    model = started(device, X, y, random_table(dtype=dtype), mode="sum", batch_size=4)
    model.embeddings_ = np.zeros_like(model.embeddings_)
    with pytest.raises(ValueError, match="training diverges"):
        model.partial_fit(csr(X.data * X.data.dtype.type(scale), X.indices, X.indptr, 9), y)


def test_padding_keeps_what_is_not_finite_out(device):
    table = np.array([[1, 2], [np.nan, np.inf], [3, 4]])
    for mode in MODES:
        pooled = embedding_bag([[0, 1], [1, 2], [1, 1]], table, mode=mode, padding_idx=1, device=device)
        np.testing.assert_array_equal(pooled, [[1, 2], [3, 4], [0, 0]])


@pytest.mark.parametrize("dim", [1, 2, 13, 33])
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_maximum_of_nan_is_nan_wherever_it_stands(device, short_windows, dtype, dim):
    if (device, dim) == ("cpu", 2):
        pytest.skip("one vector, as at width 1")
    table = random_table(9, dim, dtype=dtype)
    table[3, 0] = table[5, -1] = np.nan
    table[6] = np.inf
    kinds = [0, 1, 3, 5, 6], [3, 1], [3], [6, 7], [6, 3] * 9
    bags = [np.roll(ids, shift) for ids in kinds for shift in range(len(ids))]
    ids, offsets = np.concatenate(bags), np.append(0, np.cumsum([len(bag) for bag in bags]))[:-1]
    ids = ids.astype("int32" if dtype == "float32" else "int64")  # as in test_properties.py: the same kernels
    for padding_idx in (None, 3):
        pooled = embedding_bag(ids, table, offsets, mode="max", padding_idx=padding_idx, device=device)
        expected = reference.pool(reference.bags_of_ids(ids, offsets), table, "max", padding_idx)
        np.testing.assert_array_equal(pooled, expected)


def test_training_does_not_pass_over_nan_in_the_maximum(device):
    X, y, table = csr(np.ones(4), np.array([0, 1, 0, 1]), np.array([0, 2, 4]), 2), np.arange(2), random_table(2, 4)
    model = started(device, X, y, table, mode="max", batch_size=2, freeze=True)
    table[1, 2] = np.nan
    with pytest.raises(ValueError, match="training diverges"):
        model.partial_fit(X, y)


def test_blocks_of_bags_give_the_same_bytes(cuda, monkeypatch):
    from skbag._cuda import staging

    X, estimator = random_csr(30, longest=12), vectorizer(random_table(), cuda)
    expected = estimator.transform(X)
    for n_bytes in (1, 200, 1000):
        monkeypatch.setattr(staging, "BLOCK_BYTES", n_bytes)
        np.testing.assert_array_equal(estimator.transform(X), expected)


def doubled(X):
    """The same matrix with every row followed by parts of its entries again, of which some cancel."""
    rows = []
    for begin, end in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        part = np.arange(begin, end)[::2]
        rows.append((np.append(X.data[begin:end], -X.data[part]), np.append(X.indices[begin:end], X.indices[part])))
    data, indices = (np.concatenate(arrays) for arrays in zip(*rows, strict=True))
    indptr = np.append(0, np.cumsum([len(ids) for _, ids in rows])).astype(X.indptr.dtype)
    return csr(data, indices.astype(X.indices.dtype), indptr, X.shape[1])


def frozen_copy(X):
    arrays = [array.copy() for array in (X.data, X.indices, X.indptr)]
    for array in arrays:
        array.flags.writeable = False
    return csr(*arrays, X.shape[1])


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_a_matrix_means_its_values(device, mode, weighted, index_dtype):
    X, y = frozen_copy(doubled(random_csr(index_dtype=index_dtype, longest=5))), np.arange(12) % 3
    before, canonical = [a.tobytes() for a in (X.data, X.indices, X.indptr)], reference.canonical(X)
    assert canonical.nnz < X.nnz
    params = {"mode": mode, "per_sample_weights": weighted, "padding_idx": 2, "device": device}
    estimator = vectorizer(random_table(), **params)
    assert estimator.transform(X).tobytes() == estimator.transform(canonical).tobytes()
    params |= {"max_iter": 1, "batch_size": 12, "random_state": 0, "scale_grad_by_freq": True}
    models = [EmbeddingBagClassifier(3, **params).fit(Z, y).partial_fit(Z, y) for Z in (X, canonical)]
    for one, other in zip(*map(learnt, models), strict=True):
        assert one.tobytes() == other.tobytes()
    assert models[0].predict_proba(X).tobytes() == models[0].predict_proba(canonical).tobytes()
    assert [a.tobytes() for a in (X.data, X.indices, X.indptr)] == before
    assert not {"_has_sorted_indices", "_has_canonical_format"} & set(vars(X))


# --- errors


def broken(kind):
    X = random_csr()
    if kind == "id":
        X.indices[3] = 9
    elif kind == "negative id":
        X.indices[5] = -1
    else:
        X.data[X.data != 0] = {"NaN": np.nan, "infinity": -np.inf}[kind]
    return X


@pytest.mark.parametrize("kind", ["id", "negative id", "NaN", "infinity"])
def test_bad_members_are_the_same_error(device, kind):
    def message(where):
        with pytest.raises(ValueError, match=r"row \d") as error:
            vectorizer(random_table(), where).transform(broken(kind))
        return str(error.value)

    assert message(device) == message("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "CUDA", "", "cpu:0", "cuda:1x"])
def test_names_of_devices(name):
    with pytest.raises(ValueError, match=re.escape("device must be 'cpu', 'cuda' or 'cuda:N'")):
        embedding([0], random_table(), device=name)
    with pytest.raises(ValueError, match="device must be"):
        EmbeddingBagClassifier(device=name).fit(random_csr(8), [0, 1] * 4)


def test_a_gpu_that_is_not_there(cuda):
    with pytest.raises(ValueError, match=r"one of the \d+ GPUs here, 'cuda:0' on, got 'cuda:99'"):
        embedding([0], random_table(), device="cuda:99")


NO_CUDA = """
import sys, importlib.util
{prepare}
from skbag import EmbeddingBagVectorizer, embedding
try:
    embedding([0], [[1.0]], device="cuda")
except {error} as error:
    print(error)
print(embedding([0], [[1.0]]))
"""


def test_without_numba_cuda_the_error_names_the_extra():
    prepare = (
        "find_spec = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'numba_cuda' else find_spec(name, *rest)"
    )
    printed = run_python(NO_CUDA.format(prepare=prepare, error="ImportError"))
    assert "pip install '.[cu13]'" in printed
    assert "[[1.]]" in printed


def test_beside_a_numpy_that_numba_cuda_does_not_know_the_error_says_so():
    pytest.importorskip("numba_cuda", reason="needs numba-cuda")
    prepare = "import numpy as np, skbag\nrow_stack = vars(np).pop('row_stack')"  # NumPy 2.5 has none
    code = NO_CUDA.format(prepare=prepare, error="ImportError").replace(
        "print(error)", "np.row_stack = row_stack; print(error)"
    )
    printed = run_python(code, env={"NUMBA_ENABLE_CUDASIM": "0"})
    assert re.search(r"\(numba-cuda \d.*, numpy \d.*row_stack.*pip install '\.\[cu13\]'", printed)
    assert "[[1.]]" in printed


def test_without_a_driver_the_error_says_so(cuda):
    if not SIMULATED:
        pytest.skip("there is a driver")
    printed = run_python(NO_CUDA.format(prepare="", error="RuntimeError"), env={"NUMBA_ENABLE_CUDASIM": "0"})
    assert "needs an NVIDIA GPU and its driver; use device='cpu' here" in printed
    assert "[[1.]]" in printed


def test_out_of_memory(cuda, monkeypatch):
    from skbag._cuda import device as _device

    class CudaAPIError(Exception):
        pass

    X, table = random_csr(), random_table()
    estimator = vectorizer(table, cuda)
    with monkeypatch.context() as patch:

        def refuse(*args, **kwargs):
            raise CudaAPIError("[CUresult.CUDA_ERROR_OUT_OF_MEMORY] Call to cuMemAlloc results in ...")

        patch.setattr(_device.cuda, "device_array", refuse)
        with pytest.raises(MemoryError, match=r"no room for 360 bytes: an array of shape \(9, 5\) of float64"):
            estimator.transform(X)
        classifier = EmbeddingBagClassifier(4, device=cuda)
        with pytest.raises(MemoryError, match="The estimator is unchanged"):
            classifier.fit(X, [0, 1] * 6)
        assert not hasattr(classifier, "embeddings_")
    expected = vectorizer(table, "cpu").transform(X)
    np.testing.assert_array_equal(estimator.set_params(device="cpu").transform(X), expected)
    np.testing.assert_allclose(estimator.set_params(device="cuda").transform(X), expected)


def test_a_forked_process_is_told_what_to_do(cuda):
    code = """
import os
from skbag import embedding
embedding([0], [[1.0]], device="cuda")
child = os.fork()
if not child:
    try:
        embedding([0], [[1.0]], device="cuda")
    except RuntimeError as error:
        print(error, flush=True)
    print(embedding([0], [[1.0]]), flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this platform")
    printed = run_python(code)
    assert "Start workers with joblib's loky backend" in printed
    assert "[[1.]]" in printed


# --- arrays that are on a GPU already


class OnGpu:
    """What CuPy's arrays offer; in the simulator the memory of the GPU is the host's."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.__cuda_array_interface__ = {**array.__array_interface__, "version": 3, "stream": None}
        if not SIMULATED:
            from numba import cuda

            self.array = cuda.to_device(array)
            self.__cuda_array_interface__ = self.array.__cuda_array_interface__

    def get(self):
        return self.array if SIMULATED else self.array.copy_to_host()


class CsrOnGpu:
    format = "csr"

    def __init__(self, X, **arrays):
        arrays = {"data": X.data, "indices": X.indices, "indptr": X.indptr} | arrays
        self.shape = X.shape
        self.data, self.indices, self.indptr = (OnGpu(arrays[name]) for name in ("data", "indices", "indptr"))


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_csr_on_the_gpu(cuda, short_windows, mode, weighted):
    X, table = random_csr(dtype="float64", longest=25), random_table(dtype="float32")
    pooled = vectorizer(table, cuda, mode=mode, per_sample_weights=weighted).transform(CsrOnGpu(X))
    assert not isinstance(pooled, np.ndarray)
    assert_pooled(pooled.copy_to_host(), reference.bags_of_csr(X, weighted), table, mode)


@pytest.mark.parametrize("weighted", [True, False])
def test_duplicates_on_the_gpu_are_summed(cuda, weighted):
    X, table = doubled(random_csr(longest=5)), random_table()
    estimator = vectorizer(table, cuda, mode="sqrtn", per_sample_weights=weighted, padding_idx=2)
    expected = estimator.transform(reference.canonical(X))
    np.testing.assert_array_equal(estimator.transform(CsrOnGpu(X)).copy_to_host(), expected)
    sorted_rows = CsrOnGpu(reference.canonical(X))
    np.testing.assert_array_equal(estimator.transform(sorted_rows).copy_to_host(), expected)
    unsorted = csr(np.ones(5), np.array([2, 0, 1, 8, 3]), np.array([0, 3, 3, 5]), 9)  # and none of them twice
    assert_pooled(
        estimator.transform(CsrOnGpu(unsorted)).copy_to_host(), reference.bags_of_csr(unsorted), table, "sqrtn",
        padding_idx=2,
    )  # fmt: skip


def test_fit_on_a_csr_on_the_gpu(cuda):
    X, y = random_csr(), np.arange(12) % 3
    estimators = [EmbeddingBagClassifier(4, max_iter=1, device=cuda, random_state=0) for _ in range(2)]
    estimators[0].fit(X, y).partial_fit(X, y)
    estimators[1].fit(CsrOnGpu(X), y).partial_fit(CsrOnGpu(X), y)
    np.testing.assert_array_equal(estimators[1].embeddings_, estimators[0].embeddings_)
    np.testing.assert_array_equal(estimators[1].predict_proba(CsrOnGpu(X)), estimators[0].predict_proba(X))


def test_arrays_of_torch_have_dtypes_of_their_own(cuda):
    X, there = random_csr(), CsrOnGpu(random_csr())
    for name in ("data", "indices", "indptr"):
        array = getattr(there, name)
        array.dtype, array.device = object(), SimpleNamespace(index=0)
    estimator = vectorizer(random_table(), cuda)
    np.testing.assert_array_equal(estimator.transform(there).copy_to_host(), estimator.transform(X))
    there.data.device = SimpleNamespace(index=2)
    with pytest.raises(ValueError, match=r"X\.data is on the GPU 'cuda:2', and device='cuda:0'"):
        estimator.transform(there)


@pytest.mark.parametrize("kind", ["id", "negative id", "NaN", "infinity"])
def test_bad_members_on_the_gpu_are_the_same_error(cuda, kind):
    X, estimator = broken(kind), vectorizer(random_table(), cuda)
    with pytest.raises(ValueError, match=r"row \d") as expected:
        estimator.transform(X)
    with pytest.raises(ValueError, match=re.escape(str(expected.value))):
        estimator.transform(CsrOnGpu(X))


def test_values_on_the_gpu_beyond_the_dtype_of_the_table(cuda):
    X = random_csr()
    X.data[3] = 1e300
    with pytest.raises(ValueError, match="infinity or a value too large for dtype"):
        vectorizer(random_table(dtype="float32"), cuda).transform(CsrOnGpu(X))


def test_bad_layouts_on_the_gpu(cuda):
    X, estimator = random_csr(), vectorizer(random_table(), cuda)
    indptr = X.indptr.copy()
    indptr[3], indptr[4] = indptr[4] + 1, indptr[3]
    with pytest.raises(ValueError, match="must not decrease"):
        estimator.transform(CsrOnGpu(X, indptr=indptr))
    with pytest.raises(ValueError, match="past the 9 members"):
        estimator.transform(CsrOnGpu(X, indices=X.indices[:9]))
    with pytest.raises(ValueError, match="one entry per row and one more"):
        estimator.transform(CsrOnGpu(X, indptr=X.indptr[1:]))
    with pytest.raises(TypeError, match=r"X\.indices must be an array of int32 or int64"):
        estimator.transform(CsrOnGpu(X, indices=X.indices.astype(float)))
    with pytest.raises(ValueError, match="X has 8 features, but EmbeddingBagVectorizer is expecting 9"):
        estimator.transform(CsrOnGpu(random_csr(n_columns=8)))
    odd, elsewhere = CsrOnGpu(X), CsrOnGpu(X)
    odd.indices.__cuda_array_interface__ |= {"data": (6, False)}
    with pytest.raises(ValueError, match=r"X\.indices must be 1-D, contiguous and aligned"):
        estimator.transform(odd)
    elsewhere.data.device = SimpleNamespace(id=1)
    with pytest.raises(ValueError, match=r"X\.data is on the GPU 'cuda:1', and device='cuda:0'"):
        estimator.transform(elsewhere)


def test_more_members_than_a_sort_can_number(cuda):
    from skbag._backends import get_backend
    from skbag._cuda import sorter

    with pytest.raises(ValueError, match="at most 2\\*\\*31 - 1 members are trained on at once, got 2147483648"):
        sorter.unique(get_backend(cuda).device, None, 1 << 31, 9)


def test_arrays_here_and_there_are_an_error():
    X, estimator = random_csr(), vectorizer(random_table(), "cpu")

    class Array(np.ndarray):
        __cuda_array_interface__ = None

    mixed = csr(X.data, X.indices, X.indptr, 9)
    mixed.indices = X.indices.view(Array)
    with pytest.raises(TypeError, match="got indices on a GPU and the rest on the host"):
        estimator.transform(mixed)
    mixed.data, mixed.indptr = X.data.view(Array), X.indptr.view(Array)
    with pytest.raises(TypeError, match="X is on a GPU, and device='cpu'"):
        estimator.transform(mixed)
    with pytest.raises(TypeError, match="must be a CSR matrix if it is on a GPU"):
        estimator.transform(X.toarray().view(Array))


# --- training


def targets(kind, n):
    rng = np.random.default_rng(3)
    if kind == "labels":
        y = rng.integers(0, 2, (n, 3))
        return y, y
    y = rng.permutation(np.arange(n) % (2 if kind == "two classes" else 4))
    return y, y[:, None] if kind == "two classes" else np.eye(4)[y]


def started(device, X, y, table, **params):
    """A classifier whose arrays are not those of a fresh one: a step of the rate 0 would leave them."""
    model = EmbeddingBagClassifier(
        init=table, shuffle=False, dtype=table.dtype, device=device, random_state=0, **params
    )
    rng, n_outputs = np.random.default_rng(7), 1 if np.ndim(y) == 1 and len(set(y)) == 2 else 3 + (np.ndim(y) == 1)
    model.classes_ = np.arange(3) if np.ndim(y) == 2 else np.unique(y)
    model._learnt = Classes(LABELS if np.ndim(y) == 2 else CLASSES, model.classes_)
    model.n_features_in_, model._rng, model._solver = len(table), np.random.RandomState(0), model.solver
    model.embeddings_ = table
    model.coefs_ = [rng.normal(0, 0.7, (n_outputs, table.shape[1])).astype(table.dtype).T]
    model.intercepts_ = [rng.normal(0, 0.7, n_outputs).astype(table.dtype)]
    model._layer_shape, model.loss_curve_, model.n_iter_ = model.coefs_[0].shape, [], 0
    arrays = table, model.coefs_[0].T, model.intercepts_[0]
    model._solver_state = *((np.zeros(len(array)), array[:0], array[:0]) for array in arrays), 0
    return model


ALL = {"padding_idx": 0, "max_norm": 1.3, "scale_grad_by_freq": True, "alpha": 0.05}
CASES = [
    ("float32", "sum", "sgd", "two classes", {}),
    ("float32", "mean", "rowwise_adagrad", "four classes", {}),
    ("float32", "sqrtn", "rowwise_adagrad", "labels", {"padding_idx": -4}),
    ("float32", "max", "sgd", "four classes", {}),
    ("float64", "sum", "rowwise_adagrad", "labels", ALL),
    ("float64", "mean", "sgd", "two classes", {"max_norm": 1.7, "norm_type": 1}),
    ("float64", "sqrtn", "sgd", "four classes", {"max_norm": 0.6, "norm_type": np.inf}),
    ("float64", "sqrtn", "sgd", "labels", {"scale_grad_by_freq": True, "per_sample_weights": False}),
    ("float64", "max", "rowwise_adagrad", "two classes", ALL),
    ("float64", "max", "sgd", "labels", {"max_norm": 1.9, "norm_type": 2.5}),
    ("float64", "mean", "sgd", "four classes", {"alpha": 25.0}),
    ("float64", "mean", "rowwise_adagrad", "four classes", {"freeze": True, "alpha": 0.1}),
]


@pytest.mark.parametrize(("dtype", "mode", "solver", "target", "params"), CASES)
@pytest.mark.usefixtures("free_layer")
def test_an_epoch_is_that_of_the_oracle(cuda, short_windows, dtype, mode, solver, target, params):
    """On the CPU test_training.py has every solver, mode and option."""
    n, n_columns, dim = (11, 6, 6) if SIMULATED else (300, 40, 50)
    X = random_csr(n, n_columns - 1, dtype=dtype, longest=7)
    X = csr(X.data, X.indices, X.indptr, n_columns)  # the last column is in no bag
    (y, labels), table = targets(target, n), random_table(n_columns, dim, dtype=dtype)
    model = started(
        cuda, X, y, table, mode=mode, solver=solver, batch_size=8, learning_rate_init=0.1, **{"alpha": 0.0, **params}
    )
    oracle = training_reference.Model(*learnt(model))
    options = training_reference.Options(
        loss=TARGETS[target],
        **{name: getattr(model, name) for name in set(vars(training_reference.Options())) - {"loss", "choice"}},
    )
    weights = np.random.default_rng(5).uniform(0.2, 3, n)
    weights[2::5] = 0
    model.partial_fit(X, y, sample_weight=weights)
    bags = reference.bags_of_csr(X, model.per_sample_weights)
    loss = training_reference.epoch(oracle, bags, labels, weights, options, [0.1] * -(-n // 8), 8)
    assert model.loss_curve_ == [pytest.approx(loss, rel=TOLERANCE[dtype])]
    allowed = TOLERANCE[dtype] * max(1, (n / 16) ** 0.5)  # rounding adds up over the steps, as a random walk
    tolerance = {"rtol": allowed, "atol": allowed}
    np.testing.assert_allclose(model.embeddings_, oracle.table, **tolerance)
    np.testing.assert_allclose(model.coefs_[0].T, oracle.coef, **tolerance)
    np.testing.assert_allclose(model.intercepts_[0], oracle.intercept, **tolerance)
    np.testing.assert_array_equal(model.embeddings_[-1], table[-1])


@pytest.mark.parametrize("mode", ["sqrtn", "max"])
def test_two_fits_are_the_same_bytes(cuda, short_windows, mode):
    X = random_csr(14 if SIMULATED else 3000, longest=12)
    y = np.arange(X.shape[0]) % 3
    fits = [
        EmbeddingBagClassifier(4, mode=mode, batch_size=8, max_iter=1, device=cuda, random_state=0).fit(X, y)
        for _ in range(2)
    ]
    for one, other in zip(*map(learnt, fits), strict=True):
        assert one.tobytes() == other.tobytes()


def test_early_stopping_and_predictions(device):
    X, y = random_csr(16), np.arange(16) % 2
    model = EmbeddingBagClassifier(
        3, early_stopping=True, validation_fraction=0.25, max_iter=2, batch_size=16, device=device, random_state=0
    ).fit(X, y)
    on_cpu = copy.deepcopy(model).set_params(device="cpu")
    np.testing.assert_allclose(model.predict_proba(X), on_cpu.predict_proba(X), rtol=1e-5)
    np.testing.assert_array_equal(model.predict(X), on_cpu.predict(X))


def test_a_diverged_partial_fit_changes_nothing(device):
    X, y = random_csr(), np.arange(12) % 2
    params = {"batch_size": 4, "solver": "sgd", "learning_rate_init": 0.05, "random_state": 0}
    model = EmbeddingBagClassifier(3, device=device, **params)
    model.partial_fit(X, y, classes=[0, 1])
    before = pickle.dumps(model)
    model.set_params(learning_rate_init=1e300)
    with pytest.raises(ValueError, match="training diverges"):
        model.partial_fit(X, y)
    assert pickle.dumps(model.set_params(learning_rate_init=0.05)) == before


# --- the table


def test_the_table_stays_on_the_device(cuda, monkeypatch):
    from skbag._cuda.device import Device

    copied = []
    for name in ("copy_in", "copy_out"):
        original = getattr(Device, name)
        monkeypatch.setattr(
            Device,
            name,
            lambda self, *arrays, original=original, name=name: (
                copied.extend(name for array in arrays if tuple(array.shape) == (9, 700)) or original(self, *arrays)
            ),
        )
    X, y = random_csr(), np.arange(12) % 2
    model = EmbeddingBagClassifier(700, batch_size=12, solver="sgd", device=cuda, random_state=0)
    for _ in range(2):
        model.partial_fit(X, y, classes=[0, 1])
    model.transform(X[:1])
    assert copied == ["copy_in"] * 2  # once: both arrays of a copy are counted
    first = model.embeddings_
    assert copied == ["copy_in"] * 2 + ["copy_out"] * 2
    assert model.embeddings_ is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1
    model.embeddings_ = np.zeros_like(first)
    assert not model.transform(X[:1]).any()


def test_other_processes_and_copies_see_numpy_arrays(cuda):
    X, y = random_csr(), np.arange(12) % 2
    model = EmbeddingBagClassifier(3, batch_size=12, device=cuda, random_state=0).partial_fit(X, y, classes=[0, 1])
    features = model.transform(X)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
        assert type(vars(other)["embeddings_"]) is np.ndarray
        np.testing.assert_array_equal(other.transform(X), features)
        np.testing.assert_allclose(other.set_params(device="cpu").transform(X), features, rtol=1e-5, atol=1e-7)
    assert not hasattr(clone(model), "embeddings_")
    assert isinstance(model.embeddings_, np.ndarray)
    once = pickle.loads(pickle.dumps(model)).set_params(device="cpu").partial_fit(X, y)
    np.testing.assert_allclose(once.embeddings_, model.partial_fit(X, y).embeddings_, rtol=1e-4, atol=1e-6)


def test_a_model_goes_on_on_the_other_device(cuda):
    X, y = random_csr(8), np.arange(8) % 2
    model = EmbeddingBagClassifier(4, device=cuda, max_iter=1, random_state=0).fit(X, y)
    other = copy.deepcopy(model)
    for device in ("cpu", cuda):
        model.set_params(device=device).partial_fit(X, y)
        other.set_params(device="cpu").partial_fit(X, y)
        np.testing.assert_allclose(model.embeddings_, other.embeddings_, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(model.predict(X), other.predict(X))


HEADS = {
    "relu": {"hidden_layer_sizes": (9,)},
    "tanh": {"hidden_layer_sizes": [6, 3], "activation": "tanh", "mode": "mean", "solver": "adam", "alpha": 0.01},
    "frozen": {"hidden_layer_sizes": 5, "activation": "logistic", "freeze": True, "mode": "max", "max_iter": 2},
    "numbers": {"hidden_layer_sizes": 4, "activation": "identity", "early_stopping": True, "max_iter": 2},
    "mean, max": {"mode": ["mean", "max"], "solver": "adam", "scale_grad_by_freq": True},
    "all modes": {"mode": ["max", "sqrtn", "sum", "mean"], "early_stopping": True, "padding_idx": 1, "alpha": 0.01},
    "fields": {"mode": "mean", "fields": [3, 0, 6], "max_norm": 1.2, "solver": "sgd"},
    "fields, max": {"mode": "max", "fields": [4, 5], "solver": "adagrad"},
    "fm": {"mode": "sqrtn", "interaction": "fm", "scale_grad_by_freq": True, "alpha": 0.01},
    "fm, fields": {"mode": "sum", "interaction": "fm", "fields": [2, 7], "per_sample_weights": False, "solver": "adam"},
    "fm, hidden": {"mode": "mean", "interaction": "fm", "hidden_layer_sizes": 3, "fields": [2, 4, 3]},
    "fm, frozen": {"mode": "sum", "interaction": "fm", "freeze": True, "max_iter": 5},
}


@pytest.mark.parametrize("params", HEADS.values(), ids=HEADS)
def test_heads_are_those_of_the_cpu(cuda, short_windows, params):
    """From the same random state to the same model, there and back."""
    X = random_csr(14 if SIMULATED else 3000, longest=9, dtype="float64")
    kind = EmbeddingBagRegressor if "early_stopping" in params else EmbeddingBagClassifier
    y = np.arange(X.shape[0]) % 3
    params = {"batch_size": 8, "max_iter": 1, "random_state": 0, "dtype": "float64", **params}
    here, there = (kind(4, device=device, **params).fit(X, y) for device in ("cpu", cuda))
    for _ in range(2):  # and then each goes on on the other device
        arrays = zip(*([m.embeddings_, *m.coefs_, *m.intercepts_] for m in (here, there)), strict=True)
        for expected, found in arrays:
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(there.loss_curve_, here.loss_curve_, rtol=1e-10)
        np.testing.assert_allclose(there.transform(X), here.transform(X), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(there.predict(X), here.predict(X), rtol=1e-9)
        here.set_params(device=cuda, early_stopping=False).partial_fit(X, y)
        there.set_params(device="cpu", early_stopping=False).partial_fit(X, y)
        here, there = there, here
