"""Exceptions that come from outside, at any moment: signals, threads that cannot be had, other threads that fit."""

import copy
import itertools
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
import reference
from helpers import random_csr
from injection import Injected, Injector

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor, EmbeddingBagVectorizer, _threads
from skbag._cpu import backend as cpu
from skbag._cpu import training as cpu_training
from skbag._threads import run

N_COLUMNS = 9
EVERYWHERE = bool(os.environ.get("SKBAG_INJECT_EVERYWHERE"))  # ten times as many places, and each of them
STEP = 1 if EVERYWHERE else 5  # the calls of a method take turns


@pytest.fixture(name="X", scope="module")
def some_rows():
    return random_csr(20, N_COLUMNS)


@pytest.fixture(name="y", scope="module")
def their_classes():
    return np.arange(20) % 3


def content(value):
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, (tuple, list)):
        return tuple(content(item) for item in value)
    return repr(value.get_state(legacy=False)) if isinstance(value, np.random.RandomState) else repr(value)


def state(estimator):
    """All that a call may change; what scikit-learn keeps of a call under way is not ours."""
    return {name: content(value) for name, value in vars(estimator).items() if "_callback" not in name}


def states_after_an_exception(estimator, call, first=0, step=1, **options):
    """Yield for each place of a call where an exception is raised, and the state in which it leaves a copy."""
    for place in itertools.count(first, step):
        changed, injector = copy.deepcopy(estimator), Injector(place, **options)
        with suppress(Injected), injector:
            call(changed)
        if injector.where is None:
            break
        yield injector.where, state(changed)


# --- an exception at every place


def calls():
    turn = itertools.count()
    for n_jobs in (1, 2):
        for params in ({}, {"solver": "sgd", "mode": "mean"}):
            params = {**params, "n_jobs": n_jobs}
            name = f"{params.get('solver', 'adagrad')}-{n_jobs}"
            yield pytest.param(next(turn), params, True, "partial_fit", id=f"partial_fit-{name}")
    for params in ({}, {"early_stopping": True, "validation_fraction": 0.3}, {"warm_start": True, "n_jobs": 2}):
        yield pytest.param(next(turn), params, True, "fit", id=f"fit-again-{next(iter(params), '')}")
    yield pytest.param(next(turn), {}, False, "fit", id="first-fit")
    yield pytest.param(next(turn), {}, False, "partial_fit", id="first-partial_fit")


@pytest.mark.parametrize(("turn", "params", "fitted", "method"), [*calls()])
def test_a_call_is_done_as_a_whole_or_not_at_all(X, y, turn, params, fitted, method, monkeypatch):
    monkeypatch.setattr(cpu_training, "_LONG_WORK", 0 if params.get("n_jobs") == 2 else 1 << 60)
    model = EmbeddingBagClassifier(3, batch_size=6, max_iter=2, random_state=0)
    if fitted:
        model.partial_fit(X[::-1], y, classes=range(3))
    model.set_params(**params)

    def call(estimator):
        return getattr(estimator, method)(X, y, **({"classes": range(3)} if method == "partial_fit" else {}))

    before, after = state(model), state(call(copy.deepcopy(model)))
    found = [*states_after_an_exception(model, call, turn % STEP, STEP, everywhere=EVERYWHERE)]
    assert len(found) > 100
    for where, one in found:
        assert one in (before, after), f"half done after an exception at {where}"
    undone = sum(one == before for _, one in found)
    assert undone > 0.9 * len(found)  # only what is raised after the last assignment leaves the new state


@pytest.mark.parametrize(
    ("turn", "cls", "params"),
    [
        (0, EmbeddingBagClassifier, {}),
        (1, EmbeddingBagClassifier, {"n_jobs": 2, "solver": "sgd", "alpha": 0.0}),
        (2, EmbeddingBagRegressor, {}),
    ],
)
def test_a_stream_goes_on_after_an_exception_at_any_place(X, y, turn, cls, params, monkeypatch):
    """A copy has no trainer from earlier calls; so they are made with each, and again after the exception."""
    monkeypatch.setattr(cpu_training, "_LONG_WORK", 0 if params.get("n_jobs") == 2 else 1 << 60)
    first = {"classes": range(3)} if cls is EmbeddingBagClassifier else {}
    model = cls(3, batch_size=6, random_state=0, **params).partial_fit(X[::-1], y, **first)
    reference_model = copy.deepcopy(model)
    states = [state(reference_model.partial_fit(X, y)) for _ in range(5)]
    for place in itertools.count(turn % STEP, STEP):
        changed, injector = copy.deepcopy(model), Injector(place, everywhere=EVERYWHERE)
        changed.partial_fit(X, y).partial_fit(X, y)
        assert changed._models._streams
        with suppress(Injected), injector:
            changed.partial_fit(X, y)
        if injector.where is None:
            break
        n_calls = states.index(state(changed))
        assert n_calls in (1, 2), f"half done after an exception at {injector.where}"
        for k in (1, 2):
            assert state(changed.partial_fit(X, y)) == states[n_calls + k], f"no stream after one at {injector.where}"
    assert place > 50 * STEP


@pytest.mark.parametrize("params", [{}, {"solver": "sgd", "alpha": 0.0, "n_jobs": 2}, {"hidden_layer_sizes": 3}])
def test_a_second_exception_does_not_keep_a_call_from_being_taken_back(X, y, params, monkeypatch):
    model = EmbeddingBagClassifier(3, batch_size=6, random_state=0, **params)
    model.partial_fit(X[::-1], y, classes=range(3)).partial_fit(X, y)
    before, original = state(model), cpu_training.Trainer.take_back
    second, place = None, 0

    def raise_one(self, *args):
        raise Injected

    def interrupted(self):
        nonlocal second
        if second is None:
            second = Injector(place, everywhere=True)
            with second:
                original(self)
        else:
            original(self)

    while second is None or second.where is not None:
        changed, second, place = copy.deepcopy(model), None, place + 1
        changed.partial_fit(X, y)
        after = state(changed)
        with monkeypatch.context() as patch:
            patch.setattr(type(changed), "_keep_scores", raise_one)
            patch.setattr(cpu_training.Trainer, "take_back", interrupted)
            with pytest.raises(Injected):
                changed.partial_fit(X, y)
        assert state(changed) == after
    assert place > 10
    assert state(model) == before


@pytest.mark.parametrize("fitted", [False, True])
def test_fit_of_the_vectorizer_is_done_as_a_whole_or_not_at_all(X, fitted):
    vectorizer = EmbeddingBagVectorizer(3, random_state=0)
    if fitted:
        vectorizer.fit(X[:, :5]).set_params(embedding_dim=2)
    before, after = state(vectorizer), state(copy.deepcopy(vectorizer).fit(X))
    for where, one in states_after_an_exception(vectorizer, lambda estimator: estimator.fit(X)):
        assert one in (before, after), f"half done after an exception at {where}"


# --- workers


def test_what_is_raised_waits_for_the_workers_that_began():
    begun, stopped, ended = threading.Event(), threading.Event(), []

    def work():
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(60)
            raise Injected
        begun.set()
        assert stopped.wait(60)
        ended.append(True)

    with pytest.raises(Injected):
        run(work, 2, lambda: False, stopped.set)
    assert ended == [True]


def test_what_is_raised_takes_back_the_work_that_did_not_begin(monkeypatch):
    monkeypatch.setattr(_threads, "_workers", _threads._Workers())
    busy, free = threading.Event(), threading.Event()
    workers = _threads._workers
    for _ in range(workers.have(os.cpu_count())):
        workers.jobs.put(_threads._Job(lambda: busy.set() or free.wait(60)))
    assert busy.wait(60)
    calls = []

    def work():
        calls.append(threading.current_thread())
        raise Injected

    with pytest.raises(Injected):
        run(work, 2, lambda: False, lambda: None)
    free.set()
    assert calls == [threading.main_thread()]


def test_a_second_interrupt_does_not_leave_a_worker_behind():
    begun, stopped, ended = threading.Event(), threading.Event(), []

    def work():
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(60)
            raise Injected
        begun.set()
        assert stopped.wait(60)
        ended.append(True)

    def stop():
        if not stopped.is_set():
            stopped.set()
            raise KeyboardInterrupt

    with pytest.raises(Injected):
        run(work, 2, lambda: False, stop)
    assert ended == [True]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
def test_the_handler_of_a_signal_runs_beside_long_work():
    stopped, ended = threading.Event(), []

    def work():
        assert threading.current_thread() is not threading.main_thread()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
        assert stopped.wait(60)  # by a caller that was interrupted
        ended.append(True)

    def handler(*_):
        raise Injected

    old = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(Injected):
            run(work, 1, lambda: False, stopped.set, apart=True)
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert ended == [True]


def test_long_calls_leave_the_main_thread_free(X, y, monkeypatch):
    apart, X = [], reference.canonical(X)

    def spy(*args, **kwargs):
        apart.append(kwargs["apart"])
        run(*args, **kwargs)

    for module in (cpu, cpu_training):
        monkeypatch.setattr(module, "run", spy)
        monkeypatch.setattr(module, "_LONG_WORK", 1)
    monkeypatch.setattr(cpu, "_SERIAL_WORK", 1)
    model = EmbeddingBagClassifier(3, max_iter=1, random_state=0, max_norm=0.1).fit(X, y)
    expected = model.transform(X)
    assert apart == [True] * len(apart)
    assert len(apart) == 4  # the check of the members, the norms, the epoch, the pooling
    monkeypatch.undo()
    np.testing.assert_array_equal(model.transform(X), expected)


def test_a_stopped_epoch_ends_where_it_is(X, y, monkeypatch):
    """The kernel looks at the flag in every phase: the long loops of one mini-batch included."""
    model = EmbeddingBagClassifier(3, random_state=0).partial_fit(X, y, classes=range(3))
    before = state(model)
    looked = []

    def stopped_at_once(work, n_threads, finished, stop, **kwargs):
        stop()
        work()  # returns without a step
        looked.append(finished())
        raise Injected

    monkeypatch.setattr(cpu_training, "_LONG_WORK", 0)
    monkeypatch.setattr(cpu_training, "run", stopped_at_once)
    with pytest.raises(Injected):
        model.partial_fit(X, y)
    assert looked == [False]
    assert state(model) == before


def test_threads_that_cannot_be_had_are_no_error(X, y, monkeypatch):
    monkeypatch.setattr(_threads, "_workers", _threads._Workers())
    expected = EmbeddingBagClassifier(3, random_state=0).fit(X, y).transform(X)

    def no_memory(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_memory)
        found = EmbeddingBagClassifier(3, random_state=0, n_jobs=2).fit(X, y).transform(X)
    np.testing.assert_array_equal(found, expected)
    assert _threads._workers.jobs.empty()
    assert _threads._workers.have(1) == 1  # as soon as there is memory again


# --- other threads


@pytest.mark.parametrize("method", ["decision_function", "predict", "predict_proba", "predict_log_proba", "transform"])
def test_a_reader_uses_one_model_although_another_thread_fits(X, y, method, monkeypatch):
    model = EmbeddingBagClassifier(3, random_state=0, max_iter=1).fit(X, y)
    expected = getattr(model, method)(X)
    module, name = (cpu, "pool") if method == "transform" else (cpu_training, "predict")
    compute = getattr(module, name)

    def refit_then_compute(*args, **kwargs):
        monkeypatch.setattr(module, name, compute)
        model.set_params(embedding_dim=2).fit(X, y % 2 + 5)
        return compute(*args, **kwargs)

    monkeypatch.setattr(module, name, refit_then_compute)
    np.testing.assert_array_equal(getattr(model, method)(X), expected)
    assert model.embeddings_.shape == (N_COLUMNS, 2)


def test_many_readers_beside_a_fit(X, y):
    model = EmbeddingBagClassifier(3, random_state=0, max_iter=1)
    results = set()
    for dim in (3, 5):
        results.add(model.set_params(embedding_dim=dim).fit(X, y).decision_function(X).tobytes())
    done = threading.Event()

    def read():
        while not done.is_set():
            assert model.decision_function(X).tobytes() in results
        return True

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        for k in range(100):
            model.set_params(embedding_dim=(3, 5)[k % 2]).fit(X, y)
        done.set()
        assert all(reader.result() for reader in readers)
