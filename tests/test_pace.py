"""How many threads mini-batches are run by."""

import numpy as np
import pytest
from helpers import learnt, random_csr

from skbag import EmbeddingBagClassifier
from skbag._cpu import pace, training
from skbag._cpu.pace import Pace


def run(pace, costs, n_batches):
    """Run mini-batches that cost so many seconds by the number of threads; return the numbers of each."""
    counts = dict.fromkeys(costs, 0)
    left = n_batches
    while left:
        n_threads, n = pace.turn(left)
        assert 1 <= n <= left
        pace.note(n_threads, n, n * costs[n_threads])
        counts[n_threads] += n
        left -= n
    return counts


def test_one_thread_has_one_turn():
    assert Pace(1).turn(1000) == (1, 1000)


def test_the_faster_way_is_taken():
    assert run(Pace(2), {1: 2e-4, 2: 1e-4}, 100_000)[1] < 1200
    assert run(Pace(2), {1: 1e-4, 2: 2e-4}, 100_000)[2] < 1200


def test_threads_that_are_slow_beyond_measure_cost_little():
    """Fifty times the work, as on a machine where another program takes a processor away: a tenth is lost in 10 s."""
    counts = run(Pace(2), {1: 1e-4, 2: 5e-3}, 100_000)
    assert counts[2] * 5e-3 < 0.15 * counts[1] * 1e-4


def test_a_change_is_noticed():
    chosen = Pace(2)
    run(chosen, {1: 2e-4, 2: 1e-4}, 10_000)
    assert run(chosen, {1: 1e-4, 2: 1e-3}, 100_000)[2] < 2000
    assert run(chosen, {1: 1e-3, 2: 1e-4}, 1_000_000)[2] > 900_000


def test_a_clock_that_stands_still_is_no_error():
    run(Pace(2), {1: 0.0, 2: 0.0}, 1000)


def test_large_mini_batches_have_all_threads_from_the_first():
    chosen = Pace.of_long_steps(2)
    assert chosen.turn(3) == (2, 1)
    assert run(chosen, {1: 0.2, 2: 0.1}, 1000)[1] < 20


def test_looks_lose_one_hundredth():
    costs = {1: 1.2e-4, 2: 1e-4}
    chosen = Pace(2)
    run(chosen, costs, 1000)
    assert run(chosen, costs, 1_000_000)[1] * 0.2e-4 < 0.015 * 1_000_000 * 1e-4


@pytest.mark.parametrize("one", [2e-4, 5e-4])
def test_interrupted_turns_change_nothing_unless_the_other_way_is_faster_now(one):
    chosen = Pace(2)
    run(chosen, {1: 2e-4, 2: 1e-4}, 1000)
    n_threads, n = chosen.turn(1000)
    assert n_threads == 2
    chosen.note(2, n, n * 3e-4)
    assert chosen.turn(1000)[0] == 2
    chosen.note(2, n, n * 3e-4)
    for _ in range(2):
        n_threads, n = chosen.turn(1000)
        assert n_threads == 1
        chosen.note(1, n, n * one)
    assert chosen.turn(1000)[0] == (1 if one < 3e-4 else 2)


def test_a_look_does_not_count_the_turn_in_which_caches_fill():
    chosen = Pace(2)
    run(chosen, {1: 1e-4, 2: 2e-4}, 100_000)
    for _ in range(100_000):
        n_threads, n = chosen.turn(1000)
        if n_threads == 2:
            break
        chosen.note(1, n, n * 1e-4)
    chosen.note(2, n, n * 1.5e-4)
    assert chosen.turn(1000)[0] == 2
    chosen.note(2, n, n * 0.9e-4)
    assert chosen.turn(1000)[0] == 2


@pytest.mark.parametrize("turn", [1e-9, 1e-4])
def test_the_bytes_do_not_depend_on_the_turns(turn, monkeypatch):
    X, y = random_csr(300, 40, dtype="float32"), np.arange(300) % 3
    params = {"batch_size": 4, "max_iter": 2, "random_state": 0, "solver": "adam"}
    models = [EmbeddingBagClassifier(8, n_jobs=1, **params).fit(X, y)]
    monkeypatch.setattr(training, "_WORK_OF_A_THREAD", 1)
    for n_jobs in (2, 3):
        monkeypatch.setattr(pace, "_TURN", turn)
        models.append(EmbeddingBagClassifier(8, n_jobs=n_jobs, **params).fit(X, y))
    arrays = [[array.tobytes() for array in learnt(model)] for model in models]
    assert arrays[0] == arrays[1] == arrays[2]
    assert models[0].loss_curve_ == models[1].loss_curve_ == models[2].loss_curve_
