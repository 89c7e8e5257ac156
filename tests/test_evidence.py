"""What columns say about classes and labels before training, and that training knows it."""

import tracemalloc

import numpy as np
import pytest
from scipy.sparse import csr_array

from skbag import EmbeddingBagClassifier
from skbag._data.bags import bags_from_csr
from skbag._data.targets import Targets
from skbag._training import evidence
from skbag._training.evidence import evidence_of, residuals_of, sums_of


def some_rows(n_classes, n_rows=80, n_columns=30, seed=0):
    """Return X with stored zeros and columns that no row names, and classes."""
    rng = np.random.default_rng(seed)
    X = csr_array(rng.integers(1, 4, (n_rows, n_columns)) * (rng.random((n_rows, n_columns)) < 0.2)).astype(np.float32)
    X.data[::7] = 0
    X.resize((n_rows, n_columns + 2))
    return X, rng.integers(0, n_classes, n_rows)


def targets_of(y, n_classes):
    if n_classes == 2:
        return Targets(np.zeros(y.sum(), np.int64), np.concatenate(([0], np.cumsum(y))), None, 1)
    return Targets(y, np.arange(len(y) + 1), None, n_classes)


def bags_of(X, padding_idx=None):
    return bags_from_csr(X, dtype=np.float32, weighted=True, padding_idx=padding_idx, without_zeros=False)


def expected(X, y, n_classes, weights, padding_idx=None):
    """Return the evidence by its formula, in float64; y is classes, or a label indicator."""
    named = (X.toarray() != 0).astype(float)
    if padding_idx is not None:
        named[:, padding_idx] = 0
    weights = weights / weights[weights > 0].mean()
    one_hot = np.eye(n_classes)[y] if y.ndim == 1 else y
    residuals = one_hot - np.average(one_hot, axis=0, weights=weights)
    mean_square = np.average((residuals**2).sum(axis=1), weights=weights)
    counts = weights @ named
    said = ((named.T @ (weights[:, None] * residuals)) ** 2).sum(axis=1) / mean_square / (counts + 5) ** 2 + 1e-3
    evidence = 0.3 + 0.7 * said / np.average(said, weights=counts)
    return np.where(counts > 0, evidence, 1)


@pytest.mark.parametrize("padding_idx", [None, 3])
@pytest.mark.parametrize("n_classes", [2, 3, 16])
def test_evidence_is_that_of_its_formula(n_classes, padding_idx):
    X, y = some_rows(n_classes)
    weights = np.random.default_rng(1).integers(0, 3, len(y)).astype(float)
    sums = sums_of(bags_of(X, padding_idx), residuals_of(targets_of(y, n_classes), 7 * weights))
    np.testing.assert_allclose(evidence_of(sums), expected(X, y, n_classes, weights, padding_idx), rtol=1e-4)


def test_pieces_and_wide_matrices_sum_up_to_the_same(monkeypatch):
    X, y = some_rows(3)
    targets, weights = targets_of(y, 3), np.ones(len(y))
    expected_sums = sums_of(bags_of(X), residuals_of(targets, weights))
    monkeypatch.setattr(evidence, "_AT_ONCE", 1)
    X.resize((80, 100_000))
    sums = sums_of(bags_of(X), residuals_of(targets, weights))
    np.testing.assert_allclose(sums[:32], expected_sums, atol=1e-5)
    assert not sums[32:].any()
    states = [np.ones(100_000), np.ones(100_000)]
    for state, wide in zip(states, (8, 1e9), strict=True):
        monkeypatch.setattr(evidence, "_WIDE", wide)
        columns, said = evidence.evidence(bags_of(X), targets, weights)
        state[columns] /= said
    assert states[0].tobytes() == states[1].tobytes()
    np.testing.assert_allclose(1 / states[0], evidence_of(sums), rtol=1e-6)


@pytest.fixture
def apart(monkeypatch):
    """Sum every column of the residuals by itself, in pieces, and in threads."""
    for name, size in (("_APART", 0), ("_DENSE", 0), ("_FOR_THREADS", 0), ("_AT_ONCE", 100)):
        monkeypatch.setattr(evidence, name, size)


@pytest.mark.parametrize("n_classes", [2, 3, 100])
def test_sums_are_the_same_in_any_number_of_threads(n_classes, request):
    X, y = some_rows(n_classes, n_rows=300)
    residuals = residuals_of(targets_of(y, n_classes), np.random.default_rng(1).random(300))
    together = sums_of(bags_of(X), residuals)
    request.getfixturevalue("apart")
    alone = sums_of(bags_of(X), residuals)
    np.testing.assert_allclose(alone, together, atol=1e-5)
    for n_jobs in (2, 3, -1):
        assert sums_of(bags_of(X), residuals, n_jobs).tobytes() == alone.tobytes()


def test_pieces_of_wide_matrices_are_summed_in_place(monkeypatch):
    X, y = some_rows(100, n_rows=3000)
    X.resize((3000, 100_000))
    bags, residuals = bags_of(X), residuals_of(targets_of(y, 100), np.ones(3000))
    monkeypatch.setattr(evidence, "_AT_ONCE", 100)
    tracemalloc.start()
    try:
        n_bytes = sums_of(bags, residuals).nbytes
        assert tracemalloc.get_traced_memory()[1] < 2.5 * n_bytes  # the sums and those of one piece
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("n_classes", [2, 8, 100])
def test_columns_that_no_row_names_change_nothing(n_classes, apart):
    X, y = some_rows(n_classes, n_rows=300)
    X = csr_array(X[:, np.flatnonzero(X.sum(axis=0))])  # all are named
    residuals = residuals_of(targets_of(y, n_classes), np.ones(300))
    wider = csr_array((X.data, X.indices, X.indptr), shape=(300, X.shape[1] + 1))
    one, other = (evidence_of(sums_of(bags_of(some), residuals)) for some in (X, wider))
    assert one.tobytes() == other[:-1].tobytes()


def test_fit_sums_in_its_threads(apart, monkeypatch):
    asked = []
    monkeypatch.setattr(evidence, "effective_threads", lambda n_jobs: asked.append(n_jobs) or 1)
    X, y = some_rows(2)
    EmbeddingBagClassifier(4, n_jobs=3, max_iter=1).fit(X, y)
    assert asked == [3]


def test_no_rows_are_sums_of_zero():
    nothing = bags_of(csr_array((0, 4), dtype=np.float32))
    assert sums_of(nothing, np.empty((0, 3), np.float32)).tolist() == [[0.0] * 3] * 4


def test_many_classes_are_projected():
    X, y = some_rows(100, n_rows=3000)
    y[X.toarray()[:, 5] != 0] = 4
    sums = sums_of(bags_of(X), residuals_of(targets_of(y, 100), np.ones(len(y))))
    assert sums.shape[1] == 17
    found, exact = evidence_of(sums), expected(X, y, 100, np.ones(len(y)))
    assert found[5] == found.max() == pytest.approx(exact[5], rel=0.5)


def test_columns_whose_rows_agree_say_more_than_one_row_and_that_more_than_rows_that_do_not():
    y = np.tile([0, 1], 50)
    agree, once, differ = (y == 1).astype(int), np.eye(100, dtype=int)[0], np.ones(100, int)
    X = csr_array(np.column_stack([agree, once, differ]))
    found = evidence_of(sums_of(bags_of(X), residuals_of(targets_of(y, 2), np.ones(100))))
    assert found[0] > 1.5 > found[1] > found[2]


def test_dense_columns_all_say_the_same():
    y = np.random.default_rng(0).integers(0, 3, 200)
    X = csr_array(np.ones((200, 4)))
    found = evidence_of(sums_of(bags_of(X), residuals_of(targets_of(y, 3), np.random.default_rng(1).random(200))))
    np.testing.assert_allclose(found, 1, rtol=1e-4)


def test_no_rows_no_members_and_one_class_say_nothing():
    X, y = some_rows(2)
    for some, weights in ((0 * y, np.ones(80)), (y, np.zeros(80))):
        found = evidence_of(sums_of(bags_of(X), residuals_of(targets_of(some, 2), weights)))
        np.testing.assert_allclose(found, 1, rtol=1e-6)
    nothing = sums_of(bags_of(csr_array((80, 4), dtype=np.float32)), residuals_of(targets_of(y, 2), np.ones(80)))
    assert evidence_of(nothing).tolist() == [1.0] * 4


def first_states(model):
    """Return what the states of the table were before steps that are too short to change them."""
    return model._solver_state[0][0] * int(model.batch_size) ** 2 / model._manner(model._learnt).state


def without_gradient(**parameters):
    """Return a classifier whose gradients are next to nothing, by weights that partial_fit takes as they are."""
    return EmbeddingBagClassifier(4, alpha=0, random_state=0, **parameters)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("loss", ["log_loss", "hinge", "squared_hinge", "modified_huber"])
def test_first_states_are_divided_by_the_evidence(loss, n_classes):
    X, y = some_rows(n_classes)
    model = without_gradient(loss=loss).partial_fit(X, y, classes=range(n_classes), sample_weight=np.full(80, 1e-200))
    np.testing.assert_allclose(1 / first_states(model), expected(X, y, n_classes, np.ones(80)), rtol=1e-4)


def some_labels(y, n_labels):
    """Return labels of which rows have none, one or more."""
    rng = np.random.default_rng(5)
    return np.eye(n_labels, dtype=int)[y] * rng.integers(0, 2, (len(y), 1)) | (rng.random((len(y), n_labels)) < 0.2)


@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge"])
def test_labels_are_what_columns_say_something_of_too(loss):
    X, y = some_rows(4)
    labels = some_labels(y, 4)
    model = without_gradient(loss=loss).partial_fit(X, labels, sample_weight=np.full(80, 1e-200))
    np.testing.assert_allclose(1 / first_states(model), expected(X, labels, 4, np.ones(80)), rtol=1e-4)


def test_labels_keep_their_number_of_epochs():
    X, y = some_rows(4, n_rows=1000)
    assert EmbeddingBagClassifier(4, random_state=0).fit(X, some_labels(y, 4)).n_iter_ == round(55 / 1000**0.3)
    assert EmbeddingBagClassifier(4, random_state=0).fit(X, y).n_iter_ == 5


def test_frozen_tables_and_other_solvers_have_no_evidence():
    X, y = some_rows(3)
    weights = np.full(80, 1e-200)
    frozen = without_gradient(freeze=True).partial_fit(X, y, classes=range(3), sample_weight=weights)
    assert len(np.unique(frozen._solver_state[0][0])) == 1
    adagrad = without_gradient(solver="adagrad").partial_fit(X, y, classes=range(3), sample_weight=weights)
    assert len(np.unique(adagrad._solver_state[0][1])) == 1


def test_probabilities_that_are_certain_say_what_classes_say():
    X, y = some_rows(3)
    soft = np.eye(3)[y] * (1 - 1e-9) + 1e-9 / 3
    of_classes, of_shares = (EmbeddingBagClassifier(4, random_state=0).fit(X, some) for some in (y, soft))
    np.testing.assert_allclose(of_classes.embeddings_, of_shares.embeddings_, rtol=1e-3, atol=1e-5)


def test_rows_held_out_say_nothing(monkeypatch):
    seen = []

    def noted(targets, weights):
        seen.append(weights)
        return residuals_of(targets, weights)

    monkeypatch.setattr("skbag._training.evidence.residuals_of", noted)
    X, y = some_rows(2)
    EmbeddingBagClassifier(4, early_stopping=True, validation_fraction=0.25, random_state=0).fit(X, y)
    assert np.count_nonzero(seen[0]) == 60


def test_classes_are_learnt_from_columns_that_agree_in_fewer_epochs():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    signal = rng.random((600, 20)) < np.where(y == 1, 0.15, 0.05)[:, None]
    noise = rng.random((600, 4000)) < 0.005
    X, model = csr_array(np.hstack([signal, noise]).astype(np.float32)), EmbeddingBagClassifier(random_state=0)
    importances = model.fit(X[:300], y[:300]).feature_importances_
    assert importances[:20].mean() > 3 * importances[20:].mean()


def test_a_fit_after_another_solver_has_evidence_again():
    X, y = some_rows(2)
    expected = EmbeddingBagClassifier(4, random_state=0).fit(X, y)
    model = EmbeddingBagClassifier(4, solver="sgd", random_state=0).fit(X, y)
    model.set_params(solver="rowwise_adagrad").fit(X, y)
    assert model.embeddings_.tobytes() == expected.embeddings_.tobytes()
