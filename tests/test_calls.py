"""What Python lays down in memory for kernels is what they were compiled for: nothing else looks at it."""

import gc

import numba
import numpy as np
import pytest
from helpers import random_csr
from numba.core import types

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor
from skbag import _threads as threads
from skbag._cpu import backend, calls, training

FILL = calls.Record.fill


def checked(value, kind):
    if isinstance(kind, types.Array):
        same = isinstance(value, np.ndarray) and numba.from_dtype(value.dtype) == kind.dtype
        return same and value.ndim == kind.ndim and value.flags.c_contiguous and value.flags.aligned
    if isinstance(kind, types.NoneType):
        return value is None
    return isinstance(value, float if isinstance(kind, types.Float) else int | np.integer)


@pytest.fixture
def filled(monkeypatch):
    """Check whatever is laid down; return how many tuples were."""
    seen = []

    def fill(record, *tuples):
        assert len(tuples) == len(record.recipe.kinds)
        for values, kind in zip(tuples, record.recipe.kinds, strict=True):
            assert len(values) == len(kind.fields.types)
            for name, value, field in zip(kind.fields.fields, values, kind.fields.types, strict=True):
                assert checked(value, field), (kind.fields.instance_class.__name__, name, field, value)
            seen.append(kind)
        FILL(record, *tuples)

    monkeypatch.setattr(calls.Record, "fill", fill)
    return seen


CASES = [
    {}, {"n_jobs": 2, "batch_size": 32}, {"loss": "squared_hinge"}, {"solver": "adam"}, {"solver": "adagrad"},
    {"solver": "sgd", "alpha": 0}, {"dtype": "float64"}, {"dtype": "float16"}, {"dtype": "bfloat16"},
    {"mode": "max"}, {"mode": ["sum", "mean", "max"]}, {"fields": [20, 40]}, {"interaction": "fm", "mode": "mean"},
    {"hidden_layer_sizes": (7, 5)}, {"hidden_layer_sizes": (7,), "freeze": True}, {"padding_idx": 3, "max_norm": 1.0},
    {"output": "sampled", "n_negatives": 2}, {"output": "hierarchical"}, {"per_sample_weights": False},
    {"scale_grad_by_freq": True},
]  # fmt: skip


@pytest.mark.parametrize(
    ("params", "ids"),
    [(params, "int32") for params in CASES] + [({}, "int64"), ({"mode": "max"}, "int64"), ({"fields": [60]}, "int64")],
    ids=str,
)
def test_kernels_are_given_what_they_were_compiled_for(filled, params, ids):
    X = random_csr(70, 60, longest=9, dtype="float32")
    X.indices, X.indptr = X.indices.astype(ids), X.indptr.astype(ids)
    model = EmbeddingBagClassifier(5, max_iter=2, random_state=0, **params).fit(X, np.arange(70) % 4)
    model.partial_fit(X[:30], np.arange(30) % 4)
    assert model.predict(X).shape == (70,)
    assert model.predict_top_k(X, 2)[0].shape == (70, 2)
    model.transform(X)
    assert {"Batch", "Plan", "Predictions"} <= {kind.fields.instance_class.__name__ for kind in filled}


@pytest.mark.parametrize("storage", ["float16", "bfloat16", "int8"])
def test_small_tables_are_given_as_they_are_stored(filled, storage):
    X = random_csr(70, 60, longest=9, dtype="float32")
    model = EmbeddingBagRegressor(5, max_iter=1, random_state=0).fit(X, np.arange(70.0))
    model.quantize(storage).predict(X)
    assert filled


def test_shares_and_labels_are_given(filled):
    X, rng = random_csr(70, 60, longest=9, dtype="float32"), np.random.default_rng(0)
    for y in (rng.dirichlet([1, 1, 1], 70), rng.integers(0, 2, (70, 3))):
        EmbeddingBagClassifier(5, max_iter=1, random_state=0).fit(X, y).predict_proba(X)
    assert filled


def test_arrays_of_a_call_are_let_go():
    X = random_csr(3, 60, longest=9, dtype="float32")
    model = EmbeddingBagClassifier(5, max_iter=1, random_state=0, n_jobs=1).fit(X, [0, 1, 2])
    outputs = [model.decision_function(X) for _ in range(3)]
    assert all(array.flags.owndata for array in outputs)
    records = [
        record for record in _records() if record.recipe.kinds[-1].fields.instance_class.__name__ == "Predictions"
    ]
    assert records
    assert not any(record._values for record in records)


def _records():
    return [some for some in gc.get_objects() if type(some) is calls.Record]


@pytest.mark.parametrize("batch_size", [16, 4096])
def test_a_worker_may_come_late(batch_size, monkeypatch):
    """It begins when all work is done, which the caller does not wait for, and finds memory that is still its own."""
    late, run = [], threads.run

    def keep(work, *args, **kwargs):
        run(work, *args, **kwargs)
        late.append(work)

    monkeypatch.setattr(backend, "run", keep)
    monkeypatch.setattr(training, "run", keep)
    monkeypatch.setattr(threads, "processors", lambda: 2)
    X = random_csr(20_000, 3000, longest=90, dtype="float32")
    model = EmbeddingBagClassifier(64, max_iter=1, batch_size=batch_size, random_state=0, n_jobs=2)
    expected = model.fit(X, np.arange(20_000) % 5).decision_function(X)
    assert {work.func for work in late} >= {calls._call_holding}
    model.partial_fit(X[:9000], np.arange(9000) % 5)
    before = model.decision_function(X)
    tables = model.embeddings_, model.embeddings_.copy()
    del X
    for work in late:
        filled = [np.full(n, 255, np.uint8) for n in (100, 1000, 10_000, 100_000) for _ in range(50)]  # what was freed
        work()
        assert all((array == 255).all() for array in filled)
    np.testing.assert_array_equal(*tables)
    assert np.isfinite(before).all()
    assert np.isfinite(expected).all()
