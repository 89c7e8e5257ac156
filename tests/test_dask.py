"""Blocks and Dask, on two processes of a LocalCluster."""

import os
import signal
import sys
from itertools import pairwise
from pathlib import Path

import joblib
import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix, hstack, random_array
from sklearn.base import clone
from sklearn.datasets import make_regression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor, EmbeddingBagVectorizer, QuantizedTable
from skbag._dask.blocks import cut_in_shards
from skbag._dask.rounds import Change, combine
from skbag._data.model import Model, Objective, Parameters
from skbag._rules.losses import CLASSIFICATION
from skbag._rules.solvers import SOLVERS

dask = pytest.importorskip("dask", reason="needs Dask: pip install -e '.[dask]'")
distributed = pytest.importorskip("distributed", reason="needs Dask: pip install -e '.[dask]'")
import dask.array as da  # noqa: E402

import skbag.dask  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def made(n=240, n_columns=60, n_classes=3, dtype=np.float32):
    rng = np.random.default_rng(0)
    y = rng.integers(0, n_classes, n)
    X = random_array((n, n_columns), density=0.08, format="lil", rng=rng, dtype=dtype)
    X[np.arange(n), y * 5 + rng.integers(0, 5, n)] = 1
    return csr_matrix(X), np.array(["ham", "spam", "eggs"])[:n_classes][y]


def cut(array, n_blocks=6):
    edges = np.linspace(0, array.shape[0], n_blocks + 1).astype(int)
    return [array[a:b] for a, b in pairwise(edges)]


def lazy(blocks):
    empty = csr_matrix((0, blocks[0].shape[1]), dtype=blocks[0].dtype)
    return da.concatenate([da.from_delayed(dask.delayed(block), block.shape, meta=empty) for block in blocks])


def arrays_of(model):
    return [model.embeddings_, *model.coefs_, *model.intercepts_, *map(np.asarray, model._solver_state[0])]


def assert_same_bytes(model, other):
    for array, expected in zip(arrays_of(model), arrays_of(other), strict=True):
        assert np.asarray(array).tobytes() == np.asarray(expected).tobytes()


class Unchanged:
    """Says whether an estimator is what it was."""

    def __init__(self, estimator):
        self.estimator, self.before = estimator, dict(vars(estimator))

    def __enter__(self):
        return self.estimator

    def __exit__(self, *error):
        assert vars(self.estimator) == self.before


# --- what comes out of rounds


@pytest.mark.parametrize(
    "parameters",
    [{"solver": solver} for solver in ("rowwise_adagrad", "adam", "sgd")]
    + [{"mode": mode} for mode in ("sum", "mean", ["max", "mean"])]
    + [{"dtype": "float16", "solver": "adam"}, {"dtype": "bfloat16", "max_norm": 0.6}],
    ids=str,
)
def test_one_shard_and_one_round_is_fit_to_the_bit(client, parameters):
    X, y = made()
    parameters = {"shuffle": False, "max_iter": 2, "random_state": 0, "padding_idx": 3, **parameters}
    expected = EmbeddingBagClassifier(4, **parameters).fit(X, y)
    model = skbag.dask.fit(EmbeddingBagClassifier(4, **parameters), cut(X), y, n_shards=1, rounds_per_epoch=1)
    assert_same_bytes(model, expected)
    assert model.loss_curve_ == expected.loss_curve_
    assert (model.n_iter_, model.n_features_in_) == (2, X.shape[1])


def test_a_regressor_with_weights_is_fit_to_the_bit(client):
    X, y = make_regression(100, 12, random_state=0)
    weights = np.random.default_rng(0).integers(0, 3, 100)
    parameters = {"shuffle": False, "max_iter": 2, "random_state": 0, "loss": "huber", "mode": "sum"}
    expected = EmbeddingBagRegressor(4, **parameters).fit(X, y, weights)
    model = EmbeddingBagRegressor(4, **parameters)
    skbag.dask.fit(model, cut(X), cut(y), cut(weights), n_shards=1, rounds_per_epoch=1)
    assert_same_bytes(model, expected)


def test_two_shards_learn_the_same_every_time_and_say_what_they_send(client):
    X, y = made()
    rounds = []
    models = [
        skbag.dask.fit(
            EmbeddingBagClassifier(4, random_state=0), given, labels, rounds_per_epoch=3, on_round=rounds.append
        )
        for given, labels in ((cut(X), y), (lazy(cut(X)), da.from_array(y, chunks=40)))
    ]
    assert_same_bytes(*models)
    assert models[0].score(X, y) > 0.95
    n = len(rounds) // 2
    assert [r.n_bytes for r in rounds[:n]] == [r.n_bytes for r in rounds[n:]]
    assert rounds[0].n_shards == 2
    assert rounds[0].n_rounds == 3
    assert [(r.epoch, r.round) for r in rounds[:n]] == [(e, r) for e in range(rounds[0].n_epochs) for r in range(3)]
    models[0].partial_fit(X, y)  # it is an ordinary estimator
    assert "dask" not in "".join(map(str, vars(clone(models[0])).values()))


def test_only_named_rows_travel(client):
    X, y = made()
    wide = csr_matrix((X.data, X.indices, X.indptr), shape=(X.shape[0], 100_000))
    rounds = []
    skbag.dask.fit(EmbeddingBagClassifier(4, random_state=0, max_iter=1), cut(wide), y, on_round=rounds.append)
    assert rounds[0].n_rounds == 8  # mini-batches of a shard
    assert max(r.n_bytes for r in rounds) < 100_000


def test_a_table_that_is_given_and_a_warm_start(client):
    X, y = made()
    table = np.random.default_rng(0).standard_normal((60, 4))
    parameters = {"init": table, "dtype": "float64", "shuffle": False, "warm_start": True, "random_state": 0}
    expected = EmbeddingBagClassifier(4, max_iter=1, **parameters).fit(X, y).fit(X, y)
    model = EmbeddingBagClassifier(4, max_iter=1, **parameters)
    for _ in range(2):
        skbag.dask.fit(model, cut(X), y, n_shards=1, rounds_per_epoch=1)
    assert_same_bytes(model, expected)


@pytest.mark.parametrize(
    ("parameters", "least"),
    [({}, 0.85), ({"solver": "adam"}, 0.85), ({"max_norm": 0.5, "mode": "mean"}, 0.65), ({"mode": "max"}, 0.65)],
)
def test_more_shards_than_workers_learn_labels(client, parameters, least):
    X, y = made()
    indicator = csr_array(np.column_stack([y == "ham", y == "spam", y != "ham"]).astype(int))
    model = EmbeddingBagClassifier(4, random_state=0, max_iter=15, learning_rate_init=0.1, **parameters)
    skbag.dask.fit(model, cut(X), indicator, n_shards=3, rounds_per_epoch=2)
    assert (model.predict(X) == indicator.toarray()).mean() > least
    if "max_norm" in parameters:
        assert np.linalg.norm(model.embeddings_, axis=1).max() < 0.5 + 1e-5


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_small_table_is_trained_in_rounds(client, dtype):
    X, y = made()
    models, seen = {}, {}
    for kind in ("float32", dtype):
        model = EmbeddingBagClassifier(4, random_state=0, max_iter=15, learning_rate_init=0.1, dtype=kind)
        models[kind] = skbag.dask.fit(
            model, cut(X), y, n_shards=3, rounds_per_epoch=2, on_round=seen.setdefault(kind, []).append
        )
    small, full = models[dtype], models["float32"]
    assert small.embeddings_.storage == dtype
    assert small.score(X, y) > full.score(X, y) - 0.02
    np.testing.assert_allclose(small.embeddings_, full.embeddings_, atol=0.2)
    assert np.mean([r.n_bytes for r in seen[dtype]]) < np.mean([r.n_bytes for r in seen["float32"]])
    again = skbag.dask.fit(clone(small), lazy(cut(X)), y, n_shards=3, rounds_per_epoch=2)
    assert_same_bytes(again, small)
    before = again.score(X, y)
    skbag.dask.fit(again.set_params(warm_start=True, max_iter=1), cut(X), y, n_shards=2)
    assert again.embeddings_.storage == dtype
    assert again.score(X, y) > before - 0.05


def test_rows_of_float16_are_put_together_in_float32_and_infinite_where_it_has_no_number():
    rng = np.random.default_rng(0)
    model = model_of(2, 3, "rowwise_adagrad", rng)
    model.table.values = QuantizedTable.of([[6e4] * 3, [1, 2, 3]], "float16").bits.copy()
    changes = []
    for _ in range(2):
        other = model.copy()
        other.table.values[0] = QuantizedTable.of([[65504] * 3], "float16").bits
        other.table.values[1] = QuantizedTable.of([[1.25, 2, 3.5]], "float16").bits
        changes.append(Change.of(other, np.array([0, 1]), np.array([1, 1]), 1))
    result = combine(model, changes, Objective("sum", CLASSIFICATION["log_loss"], SOLVERS["rowwise_adagrad"]))
    rows = result.table[0].view(np.float16)
    assert np.isinf(rows[0]).all()  # 6e4 and 2 ** 0.5 times 5504
    np.testing.assert_allclose(rows[1].astype(float), [1 + 0.25 * 2**0.5, 2, 3 + 0.5 * 2**0.5], rtol=1e-3)
    assert rows[1, 1] == 2


def model_of(rows, dim, solver, rng):
    shapes = (rows, dim), (2, dim), (2,)
    return Model.of(Parameters.new(rng.standard_normal(shape), SOLVERS[solver], 0.1) for shape in shapes)


@pytest.mark.parametrize("solver", ["rowwise_adagrad", "adagrad", "adam"])
def test_changes_are_put_together_as_the_formula_says(solver):
    rng = np.random.default_rng(0)
    model = model_of(6, 3, solver, rng)
    rows, counts, n_bags = [np.array([0, 2, 3]), np.array([2, 5])], [np.array([1, 4, 2]), np.array([3, 7])], [30, 10]
    changes = []
    for some, times, n in zip(rows, counts, n_bags, strict=True):
        other = model.copy()
        for parameters in other.parameters():
            for array in parameters.arrays():
                array += rng.random(array.shape)
        changes.append(Change.of(other, some, times, n, loss=n))
    objective = Objective("sum", CLASSIFICATION["log_loss"], SOLVERS[solver])
    result = combine(model, changes, objective)
    assert result.rows.tolist() == [0, 2, 3, 5]
    assert result.loss == (30 * 30 + 10 * 10) / 40
    table = model.table.arrays()
    for k, array in enumerate(table[: 2 + SOLVERS[solver].element_states]):
        moved = [change.table[k] - array[change.rows] for change in changes]
        share = (4 / 5, 3 / 5) if k == 0 else (1, 1) if SOLVERS[solver].accumulates else (4 / 7, 3 / 7)
        expected = array[2] + share[0] * moved[0][1] + share[1] * moved[1][0]
        np.testing.assert_allclose(result.table[k][1], expected)
        np.testing.assert_allclose(result.table[k][0], array[0] + moved[0][0])
    layer = model.layers[0].weights.values
    moved = [change.others[0][0] - layer for change in changes]
    np.testing.assert_allclose(result.others[0][0], layer + (30 * moved[0] + 10 * moved[1]) / 40)


def test_blocks_are_shared_out_by_rows():
    assert cut_in_shards([10] * 6, 2) == [range(3), range(3, 6)]
    assert cut_in_shards([100, 1, 1, 1], 3) == [range(1), range(1, 2), range(2, 4)]
    assert cut_in_shards([1, 1, 1, 100], 3) == [range(2), range(2, 3), range(3, 4)]
    assert cut_in_shards([5], 1) == [range(1)]


# --- what goes wrong


def dying_once(marker, undo=False):
    def install():
        from skbag._dask import worker

        run = getattr(worker.Part.run, "original", worker.Part.run)
        if undo:
            worker.Part.run = run
            return

        def run_or_die(self, model, shard):
            change = run(self, model, shard)
            if self.version == 3 and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return change

        run_or_die.original = run
        worker.Part.run = run_or_die

    return install


def test_a_worker_that_is_killed_in_the_middle_of_a_round_changes_nothing(client, tmp_path):
    X, y = made()
    expected = skbag.dask.fit(EmbeddingBagClassifier(4, max_iter=2, random_state=0), lazy(cut(X)), y, n_shards=2)
    marker = tmp_path / "died"
    client.run(dying_once(marker))
    model = skbag.dask.fit(EmbeddingBagClassifier(4, max_iter=2, random_state=0), lazy(cut(X)), y, n_shards=2)
    assert marker.exists()
    assert_same_bytes(model, expected)
    client.run(dying_once(marker, undo=True))


def test_what_a_callback_raises_leaves_the_estimator_and_no_model_on_the_workers(client):
    X, y = made()

    def stop(seen):
        if seen.round == 1:
            raise KeyboardInterrupt

    with Unchanged(EmbeddingBagClassifier(4, random_state=0)) as model, pytest.raises(KeyboardInterrupt):
        skbag.dask.fit(model, cut(X), y, on_round=stop)

    def jobs():
        from skbag._dask import worker

        return worker._copy.job

    assert set(client.run(jobs).values()) == {""}


def test_blocks_and_models_that_are_lost_are_made_again(client):
    X, y = made()
    expected = skbag.dask.fit(EmbeddingBagClassifier(4, max_iter=2, random_state=0), cut(X), y, n_shards=2)

    def forget():
        from skbag._dask import worker

        worker._copy.forget()

    def lose(seen):
        if (seen.epoch, seen.round) == (1, 1):
            client.run(forget)
        if (seen.epoch, seen.round) == (1, 3):
            client.cancel([distributed.Future(key, client) for key in list(client.futures)], force=True)

    model = EmbeddingBagClassifier(4, max_iter=2, random_state=0)
    skbag.dask.fit(model, cut(X), y, n_shards=2, on_round=lose)
    assert_same_bytes(model, expected)


def test_a_scheduler_that_is_gone_is_an_error_and_the_estimator_as_it_was():
    X, y = made()
    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
        Unchanged(EmbeddingBagClassifier(4, random_state=0)) as model,
        pytest.raises(RuntimeError, match="as it was"),
    ):
        skbag.dask.fit(model, cut(X), y, client=client, on_round=lambda r: client.close())


BAD = {
    "columns": (lambda X, y: ([*cut(X)[:3], cut(X)[3][:, :50]], y[:160]), ValueError, "block 3 of X has 50 columns"),
    "empty": (lambda X, y: ([cut(X)[0], X[:0], *cut(X)[1:]], y), ValueError, "block 1 of X has no rows"),
    "rows of y": (lambda X, y: (cut(X), [*cut(y)[:5], y[:3]]), ValueError, "3 rows in block 5, and X has 40 there"),
    "blocks of y": (lambda X, y: (cut(X), cut(y, 5)), ValueError, "y must have the blocks of X"),
    "length of y": (lambda X, y: (cut(X), y[:-1]), ValueError, "inconsistent numbers of samples"),
    "one class": (lambda X, y: (cut(X), y[:1].repeat(240)), ValueError, "at least 2 classes"),
    "NaN": (lambda X, y: ([X[:40], X[40:] * np.nan], y), ValueError, "In block 1 of X: Input X contains NaN in row 0"),
    "no block": (lambda X, y: ([], y), ValueError, "at least one block"),
    "not blocks": (lambda X, y: (X, y), TypeError, "X must be an array of dask.array, or a list of blocks"),
    "words": (lambda X, y: (["a", "b"], y), TypeError, "block 0 of X must be a matrix"),
    "vectors": (lambda X, y: (cut(y), y), ValueError, "block 0 of X must be a matrix, got ndarray of the shape"),
    "side by side": (
        lambda X, y: (da.from_array(X.toarray(), chunks=(40, 20)), y),
        ValueError,
        "3 blocks side by side",
    ),
}


@pytest.mark.parametrize(("make", "kind", "message"), BAD.values(), ids=BAD)
def test_bad_blocks(client, make, kind, message):
    X, y = make(*made())
    with Unchanged(EmbeddingBagClassifier(4, random_state=0)) as model, pytest.raises(kind, match=message):
        skbag.dask.fit(model, X, y)


@pytest.mark.parametrize(
    ("parameters", "arguments", "message"),
    [
        ({"early_stopping": True}, {}, "early_stopping=True"),
        ({"freeze": True}, {}, "freeze=True"),
        ({"device": "cuda"}, {}, "device='cuda'"),
        ({"batch_size": 0}, {}, "batch_size"),
        ({"learning_rate_init": 1e30, "loss": "squared_hinge", "solver": "sgd"}, {}, "training diverges"),
        ({}, {"n_shards": 0}, "n_shards must be an integer of at least 1, got 0"),
        ({}, {"rounds_per_epoch": 1.5}, "rounds_per_epoch must be an integer of at least 1, got 1.5"),
        ({}, {"sample_weight": np.repeat([0, 1], [130, 110]), "n_shards": 2}, "somewhere in each shard"),
    ],
)
def test_bad_parameters(client, parameters, arguments, message):
    X, y = made()
    with Unchanged(EmbeddingBagClassifier(4, **parameters)) as model, pytest.raises(ValueError, match=message):
        skbag.dask.fit(model, cut(X), y, **arguments)


def test_a_client_without_workers_no_client_and_no_dask(monkeypatch):
    X, y = made()
    with Unchanged(EmbeddingBagClassifier()) as model:
        with pytest.raises(TypeError, match="client must be"):
            skbag.dask.fit(model, cut(X), y, client="tcp://127.0.0.1:1")
        with distributed.LocalCluster(n_workers=0, dashboard_address=":0", processes=False) as cluster:
            with distributed.Client(cluster) as alone, pytest.raises(ValueError, match="client has no workers"):
                skbag.dask.fit(model, cut(X), y, client=alone)
            with pytest.raises(ValueError, match="status is 'closed'"):
                skbag.dask.fit(model, cut(X), y, client=alone)
        for name in ("dask", "dask.array", "distributed"):
            monkeypatch.setitem(sys.modules, name, None)
        for function in (skbag.dask.fit, skbag.dask.partial_fit):
            with pytest.raises(ImportError, match=r"dask.fit needs the package dask.*'.\[dask\]'|skbag.dask needs"):
                function(model, cut(X), y)
        with pytest.raises(ImportError, match=r"skbag\.dask\.predict needs the package dask"):
            skbag.dask.predict(model, cut(X))


def test_other_estimators_are_refused(client):
    with pytest.raises(TypeError, match="EmbeddingBagClassifier or EmbeddingBagRegressor, got EmbeddingBagVectorizer"):
        skbag.dask.fit(EmbeddingBagVectorizer(4), cut(made()[0]), None)


# --- one block after the other


def test_partial_fit_is_the_loop_over_the_blocks(client):
    X, y = made()
    expected = EmbeddingBagClassifier(4, random_state=0)
    for block, labels in zip(cut(X), cut(y), strict=True):
        expected.partial_fit(block, labels, np.unique(y))
    for given, labels in (
        (cut(X), cut(y)),
        (lazy(cut(X)), da.from_array(y, chunks=40)),
        (client.scatter(cut(X)), cut(y)),
    ):
        model = EmbeddingBagClassifier(4, random_state=0)
        assert skbag.dask.partial_fit(model, given, labels, classes=np.unique(y)) is model
        assert_same_bytes(model, expected)


def test_a_block_that_is_refused_leaves_the_estimator():
    X, y = made()
    labels = cut(y)
    labels[4] = np.where(np.arange(40) == 7, "bacon", labels[4])
    model = skbag.dask.partial_fit(EmbeddingBagClassifier(4, random_state=0), cut(X)[:2], cut(y)[:2], np.unique(y))
    before = [array.copy() for array in arrays_of(model)]
    with Unchanged(model), pytest.raises(ValueError, match=r"In block 4: `y` has classes .*bacon"):
        skbag.dask.partial_fit(model, cut(X), labels)
    with Unchanged(model), pytest.raises(ValueError, match="In block 1: X has 50 features"):
        skbag.dask.partial_fit(model, [X[:40], X[40:80, :50]], labels[:2])
    with Unchanged(model), pytest.raises(ValueError, match=r"the same blocks, got \[6, 5\]"):
        skbag.dask.partial_fit(model, cut(X), labels[:5])
    for array, old in zip(arrays_of(model), before, strict=True):
        np.testing.assert_array_equal(array, old)


# --- predictions


@pytest.fixture
def saved(tmp_path):
    X, y = made()
    model = EmbeddingBagClassifier(4, random_state=0).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    return model, tmp_path / "model.joblib"


@pytest.mark.parametrize("method", ["transform", "predict", "predict_proba", "decision_function"])
def test_predictions_of_blocks_are_those_of_all_rows(client, saved, method):
    X, _ = made()
    model, path = saved
    expected = getattr(model, method)(X)
    for estimator in (model, path, str(path)):
        for given in (lazy(cut(X)), cut(X), da.from_array(X.toarray(), chunks=(100, -1)), [X[:0], X]):
            result = getattr(skbag.dask, method)(estimator, given)
            assert (result.ndim, result.dtype) == (expected.ndim, expected.dtype)
            np.testing.assert_array_equal(result.compute(), expected)
    for given in (lazy(cut(X)), cut(X)):
        known = getattr(skbag.dask, method)(path, given)
        assert known.shape == expected.shape
        assert known.chunks[0] == (40,) * 6


def test_workers_map_the_table_of_a_file(client, saved):
    X, _ = made()
    _, path = saved
    skbag.dask.transform(path, lazy(cut(X))).compute()

    def mapped(path):
        from skbag._dask.predicting import _mapped

        table = vars(_mapped(path))["embeddings_"]
        return isinstance(table, np.memmap) and not table.flags.writeable and _mapped(path) is _mapped(path)

    assert all(client.run(mapped, str(path)).values())


def test_a_file_that_is_written_again_is_read_again(saved):
    X, y = made()
    _, path = saved
    other = EmbeddingBagClassifier(4, random_state=1, max_iter=1).fit(X, y)
    skbag.dask.transform(path, cut(X)).compute()
    joblib.dump(other, path)
    np.testing.assert_array_equal(skbag.dask.transform(path, cut(X)).compute(), other.transform(X))


def test_pipelines_and_regressors_predict_blocks(saved):
    X, y = made()
    pipeline = make_pipeline(MaxAbsScaler(), EmbeddingBagClassifier(4, random_state=0)).fit(X, y)
    np.testing.assert_array_equal(skbag.dask.predict(pipeline, cut(X)).compute(), pipeline.predict(X))
    numbers = EmbeddingBagRegressor(4, random_state=0).fit(X, np.ones((240, 2)))
    assert skbag.dask.predict(numbers, lazy(cut(X))).compute().shape == (240, 2)


def test_predictions_of_what_is_no_blocks_or_no_model(saved):
    X, _ = made()
    model, path = saved
    with pytest.raises(ValueError, match="60 columns, as in fit, got the shape"):
        skbag.dask.predict(model, lazy(cut(X[:, :50])))
    with pytest.raises(ValueError, match="X has 50 features, but EmbeddingBagClassifier is expecting 60"):
        skbag.dask.predict(model, cut(X[:, :50])).compute()
    with pytest.raises(TypeError, match=r"X must be an array of dask\.array, or a list"):
        skbag.dask.predict(model, X)
    with pytest.raises(ValueError, match=r"path of a file that joblib\.dump wrote"):
        skbag.dask.predict(Path(path).with_name("other"), cut(X))
    with pytest.raises(ValueError, match="not fitted"):
        skbag.dask.predict(EmbeddingBagClassifier(), cut(X))


# --- what others made for scikit-learn's estimators


@pytest.mark.parametrize("ids", [False, True])
def test_what_is_probably_not_meant_is_warned_about(client, ids):
    rng = np.random.default_rng(0)
    if ids:
        X, message = rng.integers(0, 5000, (300, 6)).astype(np.float32), "dense matrix of whole numbers"
    else:
        words = random_array((300, 200), density=0.05, rng=rng, dtype=np.float32)
        X, message = hstack([words, rng.uniform(100, 1000, (300, 3))], format="csr"), "3 of the columns of X"
    with pytest.warns(UserWarning, match=message) as warned:
        skbag.dask.fit(EmbeddingBagClassifier(4, max_iter=1), cut(X), np.arange(300) % 2)
    assert all(str(w.filename) == __file__ for w in warned if message in str(w.message))


def test_a_grid_search_by_the_backend_of_joblib(client):
    X, y = made()
    search = GridSearchCV(EmbeddingBagClassifier(4, random_state=0), {"max_iter": [1, 8]}, cv=2)
    with joblib.parallel_backend("dask"):
        parallel = clone(search).fit(X, y)
    serial = search.fit(X, y)
    assert parallel.best_params_ == serial.best_params_
    np.testing.assert_array_equal(parallel.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"])


@pytest.mark.filterwarnings("ignore")
def test_the_wrappers_of_dask_ml(client):
    wrappers = pytest.importorskip("dask_ml.wrappers", reason="needs dask-ml", exc_type=ImportError)
    X, y = made()
    model = EmbeddingBagClassifier(4, random_state=0).fit(X, y)
    wrapped = wrappers.ParallelPostFit(model)
    np.testing.assert_array_equal(wrapped.predict(lazy(cut(X))).compute(), model.predict(X))
    np.testing.assert_array_equal(wrapped.transform(lazy(cut(X))).compute(), model.transform(X))
    expected = skbag.dask.partial_fit(EmbeddingBagClassifier(4, random_state=0), cut(X), cut(y), classes=np.unique(y))
    streamed = wrappers.Incremental(EmbeddingBagClassifier(4, random_state=0), shuffle_blocks=False)
    streamed.fit(lazy(cut(X)), da.from_array(y, chunks=40), classes=np.unique(y))
    assert_same_bytes(streamed.estimator_, expected)
