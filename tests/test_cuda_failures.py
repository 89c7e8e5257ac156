"""Calls that fail on a GPU, wherever that is: the model stays what it was, and the next call works."""

import pickle
import threading
from functools import partial

import numpy as np
import pytest
from helpers import random_csr, random_table
from test_devices import CsrOnGpu, vectorizer

from skbag import EmbeddingBagClassifier, embedding, embedding_bag


class CudaAPIError(Exception):
    """What numba.cuda raises; known by its name."""


OUT_OF_MEMORY = CudaAPIError("[CUresult.CUDA_ERROR_OUT_OF_MEMORY] Call to cuMemAlloc results in ...")


class FailsAt:
    """A function that raises at one of its calls."""

    def __init__(self, function, error):
        self.function, self.error, self.left = function, error, -1

    def __call__(self, *args, **options):
        self.left -= 1
        if self.left == -1:
            raise self.error
        return self.function(*args, **options)


@pytest.fixture(params=["memory", "interrupt"])
def failing(cuda, monkeypatch, request):
    """Let each allocation fail for lack of memory, or each launch for Ctrl-C."""
    from skbag._cuda import device

    if request.param == "memory":
        fails = FailsAt(device.cuda.device_array, OUT_OF_MEMORY)
        monkeypatch.setattr(device.cuda, "device_array", fails)
        fails.expected = MemoryError
    else:
        original = device.Device.launch_blocks
        fails = FailsAt(original, KeyboardInterrupt())
        monkeypatch.setattr(
            device.Device, "launch_blocks", lambda self, *args, **options: fails(self, *args, **options)
        )
        fails.expected = KeyboardInterrupt
    return fails


def check_everywhere(failing, call, state):
    """Let a call fail at many of its steps, until there is none to fail at; return how many times it did."""
    before, step, n = state(), 0, 0
    while True:
        failing.left = step
        try:
            call()
        except (MemoryError, KeyboardInterrupt) as error:
            assert isinstance(error, failing.expected)  # noqa: PT017
            assert state() == before, step
            step, n = step + 1 + step // 2, n + 1
        else:
            failing.left = -1
            return n


def given_back(backend="cuda"):
    """Forget the memory that is kept from call to call."""
    from skbag._backends import get_backend

    get_backend(backend).device.spare.clear()
    get_backend(backend).__dict__.pop("_slots", None)


@pytest.mark.parametrize("batch_size", [12, 5])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_partial_fit(failing, dtype, batch_size):
    X, y = random_csr(), np.arange(12) % 2
    params = {"batch_size": batch_size, "dtype": dtype, "solver": "adam", "hidden_layer_sizes": 3, "random_state": 0}
    models = [EmbeddingBagClassifier(4, device="cuda", **params).partial_fit(X, y, classes=[0, 1]) for _ in range(2)]
    given_back()
    assert check_everywhere(failing, lambda: models[0].partial_fit(X, y), lambda: pickle.dumps(models[0])) > 3
    models[1].partial_fit(X, y)
    assert pickle.dumps(models[0]) == pickle.dumps(models[1])
    given_back()
    fresh = EmbeddingBagClassifier(4, device="cuda", **params)
    first_call = partial(fresh.partial_fit, X, y, classes=[0, 1])
    assert check_everywhere(failing, first_call, lambda: hasattr(fresh, "coefs_")) > 2


def test_fit(failing):
    X, y = random_csr(), np.arange(12) % 2
    model = EmbeddingBagClassifier(4, batch_size=5, max_iter=2, device="cuda", random_state=0).fit(X, y)
    expected = model.decision_function(X)
    given_back()
    assert check_everywhere(failing, lambda: model.fit(X, y), lambda: pickle.dumps(model)) > 3
    np.testing.assert_array_equal(model.decision_function(X), expected)
    fresh = EmbeddingBagClassifier(4, device="cuda")
    assert check_everywhere(failing, lambda: fresh.fit(X, y), lambda: hasattr(fresh, "coefs_")) > 0


def test_what_only_reads(failing, monkeypatch):
    from skbag._cuda import backend

    X, y, table = random_csr(), np.arange(12) % 2, random_table()
    model = EmbeddingBagClassifier(4, max_iter=1, device="cuda", random_state=0).fit(X, y)
    pooled = vectorizer(table, "cuda", mode=["mean", "max"])
    calls = {
        "predict": lambda: model.predict(X),
        "transform": lambda: pooled.transform(X),
        "on the GPU": lambda: model.decision_function(CsrOnGpu(X)),
        "embedding": lambda: embedding([1, 2], table, device="cuda"),
        "embedding_bag": lambda: embedding_bag([[1, 2]], table, max_norm=1.0, device="cuda"),
    }
    expected = {name: call() for name, call in calls.items()}
    monkeypatch.setattr(backend, "_FEW", 0)
    for name, call in calls.items():
        given_back()
        check_everywhere(failing, call, lambda: pickle.dumps((model, pooled)))
        np.testing.assert_array_equal(call(), expected[name])


def test_memory_that_nothing_needs_is_given_up_first(cuda, monkeypatch):
    from skbag._backends import get_backend
    from skbag._cuda import device

    X, y = random_csr(), np.arange(12) % 2
    model = EmbeddingBagClassifier(4, device=cuda, random_state=0)
    given_back()
    model.partial_fit(X, y, classes=[0, 1])
    backend = get_backend(cuda)
    assert backend.device.spare  # of that call, for the next one
    with monkeypatch.context() as patch:
        fails = FailsAt(device.cuda.device_array, OUT_OF_MEMORY)
        fails.left = 0
        patch.setattr(device.cuda, "device_array", fails)
        vectorizer(random_table(), cuda).transform(X)
        assert fails.left < 0
    assert not backend.device.spare
    model.partial_fit(X, y)


def test_tables_that_two_threads_move_between_gpus(cuda):
    """Each has one GPU and asks for what is on the other: neither may wait for the other's."""
    from skbag._cuda.device import Device
    from skbag._data.resident import Resident

    gpus, both, found = [Device(0), Device(0)], threading.Barrier(2), {}
    tables = []
    for k, gpu in enumerate(gpus):
        with gpu.active():
            tables.append(Resident(None, gpu, gpu.put(np.full((4, 2), k))))

    def move(k):
        with gpus[k].active():
            both.wait()
            found[k] = tables[1 - k].on(gpus[k]).copy_to_host()

    threads = [threading.Thread(target=move, args=(k,), daemon=True) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {k: values[0, 0] for k, values in found.items()} == {0: 1, 1: 0}


def test_a_second_interrupt_does_not_end_the_wait_for_the_gpu(cuda, monkeypatch):
    from skbag._backends import get_backend
    from skbag._cuda import device

    waits = []

    def synchronize():
        waits.append(None)
        if len(waits) < 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(device.cuda, "synchronize", synchronize)
    with pytest.raises(RuntimeError, match="the first"), get_backend(cuda).device.active():
        raise RuntimeError("the first")
    assert len(waits) == 3
