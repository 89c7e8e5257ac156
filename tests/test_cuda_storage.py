"""Tables of float16 and bfloat16 that are trained on a GPU: the same rounding as on the CPU, to the bit."""

import copy
import pickle

import numpy as np
import pytest
from helpers import random_csr
from test_cuda_training import case_of, targets_of

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor, QuantizedTable
from skbag._backends import get_backend, get_trainer
from skbag._data.bags import bags_from_csr
from skbag._data.model import Model, Objective, Parameters, Rates
from skbag._rules.losses import REGRESSION
from skbag._rules.solvers import SOLVERS

STORAGES = "float16", "bfloat16"
ULP = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


def exact_case(mode, dim, **more):
    """Bags and a model of so few bits that float32 has all sums of a step of SGD as they are."""
    case = case_of(REGRESSION["squared_error"], SOLVERS["sgd"], mode, "float32", n=8, dim=dim, batch_size=8, **more)
    rng = np.random.default_rng(0)
    case.X.data = np.sign(case.X.data)
    case.dense, case.sample_weight = rng.integers(-3, 4, case.dense.shape).astype(float), np.ones(8)
    case.arrays = [
        (rng.integers(-8, 9, array.shape) / 8 * (0.125 if k == 0 else 1)).astype("float32")
        for k, array in enumerate(case.arrays)
    ]
    return case


def trained(device, case, storage, *, n_steps=0, rate=2.0**-5, n_epochs=1):
    """Return the table after some epochs, as bits."""
    table = QuantizedTable.of(case.arrays[0], storage).bits.copy()
    parameters = [Parameters.new(array.copy(), case.solver, 0.25) for array in (table, *case.arrays[1:])]
    model = get_trainer(device).keep(Model.of(parameters, n_steps), case.dtype)
    bags = get_backend(device).check(bags_from_csr(case.X, dtype=case.dtype), case.mode)
    objective = Objective(case.mode, case.loss, case.solver, case.alpha, case.norm, case.by_freq, case.freeze)
    trainer = get_trainer(device).Trainer(
        bags, targets_of(case.dense), case.sample_weight, model, objective, case.batch_size, 1
    )
    for _ in range(n_epochs):
        assert np.isfinite(trainer.epoch(np.arange(8), Rates(rate)))
    return np.asarray(model.table.values)


@pytest.mark.parametrize("dim", [1, 2, 6, 16])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("mode", ["sum", "max"])
def test_a_step_is_rounded_to_the_bits_of_the_cpu(cuda, mode, storage, dim):
    case, found = exact_case(mode, dim), []
    for n_steps in (0, 1, 70_000):
        on_cpu = trained("cpu", case, storage, n_steps=n_steps)
        np.testing.assert_array_equal(trained(cuda, case, storage, n_steps=n_steps), on_cpu)
        found.append(on_cpu)
    assert any((one != found[0]).any() for one in found[1:]) or dim == 1  # by chance, which depends on the step


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    ("solver", "mode", "more"),
    [
        ("rowwise_adagrad", "mean", {}), ("adam", "sqrtn", {"alpha": 0.01}), ("adagrad", "max", {"by_freq": True}),
        ("sgd", "sum", {"norm": (0.75, 2.0)}), ("sgd", "mean", {"freeze": True}),
    ],
)  # fmt: skip
def test_other_steps_are_as_near_as_numbers_that_differ_in_their_last_bit(cuda, storage, solver, mode, more):
    case = case_of(REGRESSION["squared_error"], SOLVERS[solver], mode, "float32", n=8, batch_size=4, **more)
    as_read = [
        np.asarray(QuantizedTable._of_bits(trained(device, case, storage, n_epochs=2))) for device in ("cpu", cuda)
    ]
    same = as_read[0] == as_read[1]
    assert same.mean() > 0.9
    np.testing.assert_allclose(as_read[1], as_read[0], rtol=2 * ULP[storage], atol=2 * ULP[storage])
    before = np.asarray(QuantizedTable.of(case.arrays[0], storage))
    assert (before == as_read[1]).all() == more.get("freeze", False)


@pytest.mark.parametrize("storage", STORAGES)
def test_estimators_with_a_small_table(cuda, storage):
    X, y = random_csr(), np.arange(12) % 3
    model = EmbeddingBagClassifier(6, dtype=storage, max_iter=1, batch_size=12, device=cuda, random_state=0).fit(X, y)
    assert model.embeddings_.storage == storage
    assert model.transform(X).dtype == np.float32
    copies = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)]
    features, table = model.transform(X), np.asarray(model.embeddings_)
    for other in copies:
        np.testing.assert_array_equal(other.transform(X), features)
        np.testing.assert_array_equal(np.asarray(other.embeddings_), table)
    on_cpu = copies[0].set_params(device="cpu")
    np.testing.assert_allclose(on_cpu.transform(X), features, rtol=1e-5, atol=1e-6)
    model.partial_fit(X, y)
    copies[1].partial_fit(X, y)
    np.testing.assert_array_equal(copies[1].embeddings_, model.embeddings_)
    on_cpu.partial_fit(X, y)
    np.testing.assert_allclose(on_cpu.embeddings_, model.embeddings_, atol=2 * ULP[storage])
    assert (np.asarray(model.embeddings_) != table).any()
    assert model.embeddings_.nbytes == 2 * table.size
    model.set_params(device="cpu").partial_fit(X, y)
    assert model.embeddings_.storage == storage


def test_a_small_table_stays_on_the_gpu(cuda, monkeypatch):
    from skbag._cuda.device import Device

    copied = []
    for name in ("copy_in", "copy_out"):
        original = getattr(Device, name)
        monkeypatch.setattr(
            Device,
            name,
            lambda self, *arrays, original=original, name=name: (
                copied.extend(name for array in arrays[:1] if tuple(array.shape) == (9, 18)) or original(self, *arrays)
            ),
        )
    X, y = random_csr(), np.arange(12) % 2
    model = EmbeddingBagClassifier(18, dtype="float16", batch_size=12, solver="sgd", device=cuda, random_state=0)
    for _ in range(2):
        model.partial_fit(X, y, classes=[0, 1])
    model.transform(X[:1])
    model.predict(X[:1])
    assert copied == ["copy_in"]
    assert np.isfinite(np.asarray(model.embeddings_)).all()
    assert copied == ["copy_in", "copy_out"]


@pytest.mark.parametrize("storage", STORAGES)
def test_a_step_that_diverges_is_taken_back(cuda, storage):
    X, y = random_csr(), np.arange(12.0)
    params = {"solver": "sgd", "learning_rate_init": 0.05, "batch_size": 4, "mode": "sum", "random_state": 0}
    model = EmbeddingBagRegressor(3, dtype=storage, device=cuda, **params).partial_fit(X, y)
    before = pickle.dumps(model)
    model.set_params(learning_rate_init=1e30)
    with pytest.raises(ValueError, match="diverges"):
        model.partial_fit(X, y)
    assert pickle.dumps(model.set_params(learning_rate_init=0.05)) == before


def test_early_stopping_keeps_the_best_small_table(cuda):
    X, y = random_csr(16), np.arange(16) % 2
    options = {"early_stopping": True, "validation_fraction": 0.25, "max_iter": 2, "batch_size": 16, "random_state": 0}
    model = EmbeddingBagClassifier(3, dtype="bfloat16", device=cuda, **options).fit(X, y)
    on_cpu = copy.deepcopy(model).set_params(device="cpu")
    np.testing.assert_allclose(model.predict_proba(X), on_cpu.predict_proba(X), rtol=1e-5)
