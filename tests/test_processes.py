"""Threads, processes, files and memory."""

import copy
import pickle
import re
import shutil
import threading
import tracemalloc
import weakref
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context, get_start_method
from pathlib import Path

import cloudpickle
import joblib
import numpy as np
import pytest
import reference
from helpers import MODES, csr, random_csr, random_table, run_python
from sklearn.base import clone
from test_cache import Planted, key_of

import skbag
from skbag import EmbeddingBagClassifier, EmbeddingBagVectorizer, embedding, embedding_bag
from skbag._compiled import cache as _cache
from skbag._threads import run, run_each

DIM = 64


@pytest.fixture(scope="module", name="X")
def many_rows():
    """Enough members for several blocks."""
    rng = np.random.default_rng(0)
    n_rows, length, n_columns = 2500, 60, 1000
    data = rng.normal(size=n_rows * length).astype("float32")
    indices = rng.integers(0, n_columns, len(data)).astype("int32")
    return csr(data, indices, np.arange(0, len(data) + 1, length, dtype="int32"), n_columns)


@pytest.fixture(scope="module")
def vectorizer(X):
    return EmbeddingBagVectorizer(DIM, n_jobs=2, random_state=0).fit(X)


@pytest.fixture(scope="module")
def features(X, vectorizer):
    return vectorizer.transform(X)


# --- threads and processes


def test_eight_threads_share_one_estimator(X, vectorizer, features):
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: vectorizer.transform(X).tobytes(), range(40)))
    assert set(results) == {features.tobytes()}


def test_eight_threads_call_the_functions(X):
    table = random_table(X.shape[1], DIM, dtype="float32")

    def call(k):
        if k % 2:
            return embedding_bag(X.indices, table, X.indptr, include_last_offset=True, n_jobs=1 + k % 3).tobytes()
        return embedding(X.indices[:20_000], table, n_jobs=1 + k % 3).tobytes()

    expected = {call(0), call(1)}
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(call, range(40))) == expected


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_started_after_use(X, vectorizer, features, method):
    if method == "fork" and get_start_method() == "spawn":
        pytest.skip("no fork on this platform")
    with ProcessPoolExecutor(2, mp_context=get_context(method)) as pool:
        futures = [pool.submit(vectorizer.transform, X) for _ in range(3)]
        assert all(np.array_equal(future.result(timeout=120), features) for future in futures)
    assert np.array_equal(vectorizer.transform(X), features)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_while_other_threads_are_pooling(X, vectorizer, features):
    if get_start_method() == "spawn":
        pytest.skip("no fork on this platform")
    with ThreadPoolExecutor(2) as threads:
        busy = [threads.submit(vectorizer.transform, X) for _ in range(30)]
        with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
            assert np.array_equal(pool.submit(vectorizer.transform, X).result(timeout=120), features)
        assert all(np.array_equal(future.result(timeout=120), features) for future in busy)


def test_loky_workers(X, vectorizer, features):
    with joblib.parallel_config(backend="loky", n_jobs=2, max_nbytes="10K"):  # X arrives read-only, memory-mapped
        results = joblib.Parallel()(joblib.delayed(vectorizer.transform)(X) for _ in range(4))
    assert all(np.array_equal(result, features) for result in results)


def backing_file(estimator):
    base = estimator.embeddings_
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    return base is not None and Path(base.filename).name


def test_loky_workers_share_a_table_that_is_a_file(tmp_path):
    np.save(tmp_path / "table.npy", random_table(1000, DIM, dtype="float32"))
    vectorizer = EmbeddingBagVectorizer.from_pretrained(tmp_path / "table.npy")
    with joblib.parallel_config(backend="loky", n_jobs=2):
        assert joblib.Parallel()([joblib.delayed(backing_file)(vectorizer)]) == ["table.npy"]


@pytest.mark.parametrize("n_threads", [1, 2, 20])
@pytest.mark.parametrize("n_tasks", [0, 1, 50])
def test_each_task_runs_once(n_tasks, n_threads):
    done = []
    run_each((partial(done.append, k) for k in range(n_tasks)), n_threads)
    assert sorted(done) == list(range(n_tasks))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_task_that_fails_is_heard_of_and_lets_go_of_what_it_had(n_threads):
    array, started = np.ones(3), threading.Event()
    held = weakref.ref(array)

    def fail(array):
        started.wait(10)  # for both, so that a worker has one
        raise IndexError("of the task")

    tasks = [partial(fail, array)] * n_threads
    del array
    threading.Timer(0.1, started.set).start()
    with pytest.raises(IndexError, match="of the task"):
        run_each(tasks, n_threads)
    del tasks
    assert held() is None


# --- files


@pytest.mark.parametrize(
    "reload",
    [
        lambda v: pickle.loads(pickle.dumps(v)),
        lambda v: pickle.loads(pickle.dumps(v, protocol=2)),
        lambda v: pickle.loads(cloudpickle.dumps(v)),
        copy.deepcopy,
        copy.copy,
    ],
    ids=["pickle", "old pickle", "cloudpickle", "deepcopy", "copy"],
)
def test_copies_transform_the_same(X, vectorizer, features, reload):
    other = reload(vectorizer)
    assert np.array_equal(other.transform(X), features)
    assert other.get_params() == vectorizer.get_params()
    assert set(vars(other)) == set(vars(vectorizer))


def test_clone_keeps_parameters_and_drops_the_table(X, vectorizer, features):
    other = clone(vectorizer)
    assert other.get_params() == vectorizer.get_params()
    assert not hasattr(other, "embeddings_")
    assert np.array_equal(other.fit(X).transform(X), features)


@pytest.mark.parametrize("mmap_mode", [None, "r", "c"])
@pytest.mark.parametrize("mode", MODES)
def test_joblib_files_may_be_memory_mapped(X, tmp_path, mode, mmap_mode):
    vectorizer = EmbeddingBagVectorizer(DIM, mode=mode, random_state=0).fit(X)
    joblib.dump((vectorizer, X), tmp_path / "model.joblib")
    other, Y = joblib.load(tmp_path / "model.joblib", mmap_mode=mmap_mode)
    assert isinstance(other.embeddings_, np.memmap) == (mmap_mode is not None)
    assert other.embeddings_.flags.writeable == (mmap_mode != "r")
    assert Y.data.flags.writeable == (mmap_mode != "r")
    assert np.array_equal(other.transform(Y), vectorizer.transform(X))


def test_the_fitted_state_is_arrays_and_scalars(vectorizer):
    state = {name: value for name, value in vars(vectorizer).items() if name not in vectorizer.get_params()}
    kinds = {"embeddings_": np.ndarray, "n_features_in_": int, "_drawn": tuple}
    assert {name: type(value) for name, value in state.items()} == kinds


@pytest.mark.parametrize("dump", ["pickle", "joblib"])
def test_a_pretrained_model_is_dumped_with_one_table(tmp_path, dump):
    table = random_table(2000, DIM, dtype="float32")
    vectorizer = EmbeddingBagVectorizer.from_pretrained(table)
    path = tmp_path / "model"
    if dump == "pickle":
        path.write_bytes(pickle.dumps(vectorizer))
    else:
        joblib.dump(vectorizer, path)
    assert path.stat().st_size < 1.1 * table.nbytes


def test_a_model_of_another_version_is_loaded_with_a_warning(X, vectorizer, features, monkeypatch):
    monkeypatch.setattr("skbag._estimators.saved.__version__", "0.0.1")
    old = pickle.dumps(vectorizer)
    monkeypatch.undo()
    message = rf"EmbeddingBagVectorizer .*skbag 0\.0\.1 .*skbag {re.escape(skbag.__version__)}"
    with pytest.warns(UserWarning, match=message):
        other = pickle.loads(old)
    assert np.array_equal(other.transform(X), features)
    assert "0.0.1" not in str(vars(pickle.loads(pickle.dumps(other))))


def test_an_error_in_a_worker_is_raised_and_the_worker_goes_on():
    begun = threading.Event()

    def fail():
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            raise MemoryError("in a worker")
        assert begun.wait(60)

    for _ in range(3):  # the second and third time by the same worker
        begun.clear()
        with pytest.raises(MemoryError, match="in a worker"):
            run(fail, 2, lambda: False, begun.set)


# --- memory


def peak_of(function):
    """Bytes that a call allocates at its peak, its result included; NumPy reports its arrays to tracemalloc."""
    function()  # compile
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


CONSTANT = 20_000


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_transform_needs_memory_for_its_result_alone(X, mode, weighted, n_jobs):
    X = reference.canonical(X)
    vectorizer = EmbeddingBagVectorizer(8, mode=mode, per_sample_weights=weighted, n_jobs=n_jobs).fit(X)
    assert peak_of(lambda: vectorizer.transform(X)) < X.shape[0] * 8 * 4 + CONSTANT


@pytest.mark.parametrize("convert", ["data", "indices", "indptr"])
def test_transform_needs_one_array_of_members_where_a_dtype_is_converted(X, convert):
    X = reference.canonical(X)
    vectorizer = EmbeddingBagVectorizer(8).fit(X)
    arrays = {name: getattr(X, name) for name in ("data", "indices", "indptr")}
    arrays[convert] = arrays[convert].astype("float64" if convert == "data" else "int64")
    Y = csr(*arrays.values(), X.shape[1])
    size = 4 if convert == "data" else 8
    assert peak_of(lambda: vectorizer.transform(Y)) < X.shape[0] * 8 * 4 + size * X.nnz + CONSTANT


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_stored_zeros_need_one_array_of_members_at_most(X, mode, weighted):
    X = reference.canonical(X)
    Y = X.copy()
    Y.data[::7] = 0
    vectorizer = EmbeddingBagVectorizer(8, mode=mode, per_sample_weights=weighted).fit(X)
    assert peak_of(lambda: vectorizer.transform(Y)) < X.shape[0] * 8 * 4 + 8 * X.nnz + CONSTANT


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("mode", MODES)
def test_fit_needs_memory_for_the_table_and_one_mini_batch(mode, n_jobs):
    """No copy of X or of the table, and nothing with one row per member."""
    n_samples, n_members, n_features, dim, batch_size = 2_000, 100, 10_000, 16, 8
    X = reference.canonical(random_csr(n_samples, n_features, longest=2 * n_members, dtype="float32"))
    X.data[X.data == 0] = 1
    y = np.arange(n_samples) % 3
    model = EmbeddingBagClassifier(dim, mode=mode, max_iter=2, batch_size=batch_size, n_jobs=n_jobs)
    of_table = n_features * (dim * 4 + 8)
    of_batch = batch_size * 2 * n_members * 80 * n_jobs
    assert peak_of(lambda: model.fit(X, y)) < of_table + 160 * n_samples + of_batch + 5 * CONSTANT
    assert X.nnz * 8 > 160 * n_samples + of_batch + 5 * CONSTANT  # a copy of X would be seen


def test_embedding_bag_needs_memory_for_its_result_alone(X):
    table = random_table(X.shape[1], 8, dtype="float32")
    assert peak_of(lambda: embedding_bag(X.indices, table, X.indptr[:-1])) < X.shape[0] * 8 * 4 + CONSTANT
    assert peak_of(lambda: embedding(X.indices, table)) < X.nnz * 8 * 4 + CONSTANT


# --- compiled code on disk

POOL = """
import gc, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from skbag import EmbeddingBagVectorizer, embedding
table = np.arange(24.0).reshape(8, 3)
vectorizer = EmbeddingBagVectorizer.from_pretrained(table, mode="sum")
X = np.eye(8)[:2] + np.eye(8)[2:4]
with ThreadPoolExecutor(8) as pool:
    results = list(pool.map(lambda _: vectorizer.transform(X).tolist(), range(8)))
assert results == results[:1] * 8
embedding([0], table)
from numba.core.dispatcher import Dispatcher
from skbag._cpu.shaped import Shaped
kernels = [d for d in gc.get_objects() if issubclass(type(d), Dispatcher) and d.signatures]
parts = [d for d in gc.get_objects() if issubclass(type(d), Shaped) and d.cache_hits + d.cache_misses]
assert parts
print(sum(sum(d.stats.cache_misses.values()) for d in kernels) + sum(d.cache_misses for d in parts))
print(sum(sum(d.stats.cache_hits.values()) for d in kernels) + sum(d.cache_hits for d in parts))
print(*np.ravel(results[0]))
"""
EXPECTED = [6, 8, 10, 12, 14, 16]


@pytest.fixture
def package(tmp_path):
    """A copy of the package, and the environment in which it is what ``import skbag`` finds."""
    source = Path(skbag.__file__).parent
    shutil.copytree(source, tmp_path / "copy" / "skbag", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {
        "PYTHONPATH": str(tmp_path / "copy"), "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_DIR": str(tmp_path / "cache")
    }  # fmt: skip
    return tmp_path / "copy" / "skbag", environment


def pool_in_a_new_process(environment):
    """Return the numbers of kernels compiled and of kernels found on disk, and the result."""
    misses, hits, result = run_python(POOL, env=environment).splitlines()
    return int(misses), int(hits), [float(number) for number in result.split()]


def test_the_second_process_finds_every_kernel_and_another_version_none(package, tmp_path):
    """Another version has an edited helper; what the first has left would leave a trace where it is read."""
    path, environment = package
    misses, _, result = pool_in_a_new_process(environment)
    assert misses > 2
    assert result == EXPECTED
    misses, hits, result = pool_in_a_new_process(environment)
    assert misses == 0
    assert hits > 2
    assert result == EXPECTED

    files = [*(tmp_path / "cache" / "skbag").iterdir()]
    for file in files:
        _cache.write(str(file), key_of(file), pickle.dumps(Planted(tmp_path / "trace")))
    helper = path / "_cpu" / "tile.py"
    text = helper.read_text()
    wrong = text.replace("builder.fadd(", "builder.fsub(")
    assert wrong != text
    helper.write_text(wrong)
    misses, hits, result = pool_in_a_new_process(environment)
    assert misses > 2
    assert hits == 0
    assert result != EXPECTED
    assert not (tmp_path / "trace").exists()
    assert len([*(tmp_path / "cache" / "skbag").iterdir()]) == 2 * len(files)


def test_a_read_only_install_works_without_a_cache(package, tmp_path):
    path, environment = package
    for folder in (path, *(p for p in path.iterdir() if p.is_dir())):
        (folder / "__pycache__").write_text("a file where a folder would be")
    (tmp_path / "file").touch()
    nowhere = str(tmp_path / "file" / "folder")
    environment.update({"NUMBA_CACHE_DIR": nowhere, "HOME": nowhere, "XDG_CACHE_HOME": nowhere})
    misses, hits, result = pool_in_a_new_process(environment)
    assert misses > 0
    assert hits == 0
    assert result == EXPECTED
