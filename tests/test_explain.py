"""Why this label: contributions, strongest columns, columns that are alike; the best classes, and labels by F1."""

import itertools

import numpy as np
import pytest
from helpers import MODES, csr, random_csr
from scipy.sparse import csr_array, csr_matrix, vstack
from scipy.special import expit
from sklearn.exceptions import NotFittedError
from sklearn.metrics import f1_score

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor, EmbeddingBagVectorizer

N, COLUMNS = 50, 30
X = random_csr(N, COLUMNS, seed=3, longest=12)  # unsorted, with duplicates, zeros and empty rows
CANONICAL = X.copy()
CANONICAL.sum_duplicates()
RNG = np.random.default_rng(0)
TARGETS = {
    "two": np.array(["no", "yes"])[np.arange(N) % 2],
    "three": np.array(["a", "b", "c"])[np.arange(N) % 3],
    "labels": RNG.integers(0, 2, (N, 4)),
}


def fitted(kind="three", **params):
    return EmbeddingBagClassifier(7, **{"max_iter": 5, "dtype": "float64", "random_state": 0, **params}).fit(
        X, TARGETS[kind]
    )


def dense(matrices):
    """Contributions as an array, outputs first."""
    return np.stack([m.toarray() for m in (matrices if isinstance(matrices, list) else [matrices])])


def expected(model, rows):
    """Contributions by their definition, in loops."""
    table, coef = model.embeddings_, model.coefs_[0]
    padding = None if model.padding_idx is None else model.padding_idx % COLUMNS
    result = np.zeros((coef.shape[1], *rows.shape))
    for r in range(rows.shape[0]):
        columns, weights = rows.indices[slice(*rows.indptr[r : r + 2])], rows.data[slice(*rows.indptr[r : r + 2])]
        columns, weights = columns[weights != 0], weights[weights != 0]
        columns, weights = columns[columns != padding], weights[columns != padding]
        if not model.per_sample_weights:
            weights = np.ones_like(weights)
        if len(columns) and model.mode == "max":
            for d, winner in enumerate(columns[table[columns].argmax(axis=0)]):
                result[:, r, winner] += table[winner, d] * coef[d]
        elif len(columns):
            size = {"sum": 1, "mean": np.abs(weights).sum(), "sqrtn": np.sqrt((weights**2).sum())}[model.mode]
            result[:, r, columns] = ((table[columns] @ coef) * weights[:, None] / size).T
    return result


# --- contributions


@pytest.mark.parametrize(("per_sample_weights", "padding_idx"), [(True, None), (False, None), (True, -3)])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", TARGETS)
def test_contributions_are_what_they_are_defined_to_be(kind, mode, per_sample_weights, padding_idx):
    model = fitted(kind, mode=mode, per_sample_weights=per_sample_weights, padding_idx=padding_idx)
    every = model.contributions(X)
    np.testing.assert_allclose(dense(every), expected(model, CANONICAL), rtol=1e-9, atol=1e-12)
    outputs = model.decision_function(X).reshape(N, -1) - model.intercepts_[0]
    np.testing.assert_allclose(dense(every).sum(axis=2).T, outputs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", TARGETS)
def test_one_output_or_one_for_each_row(kind, mode):
    model = fitted(kind, mode=mode)
    every = dense(model.contributions(X))
    every = np.concatenate([-every, every]) if kind == "two" else every
    for k, label in enumerate(model.classes_):
        np.testing.assert_allclose(model.contributions(X, label).toarray(), every[k], rtol=1e-9, atol=1e-12)
    numbers = np.arange(N)[::-1] % len(every)
    own = model.contributions(X, model.classes_[numbers])
    np.testing.assert_allclose(own.toarray(), every[numbers, np.arange(N)], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_a_regressor_is_explained_in_units_of_y(mode, n_outputs, loss):
    y = RNG.uniform(100, 200, (N, n_outputs))
    y = y.ravel() if n_outputs == 1 else y
    model = EmbeddingBagRegressor(7, mode=mode, loss=loss, dtype="float64", random_state=0).fit(X, y)
    every = model.contributions(X)
    assert isinstance(every, list) == (n_outputs > 1)
    predicted = model.predict(X) if loss != "poisson" else np.log(model.predict(X))
    sums = dense(every).sum(axis=2).T + model.intercepts_[0]
    np.testing.assert_allclose(sums, predicted.reshape(N, -1), rtol=1e-10)
    last = model.contributions(X, n_outputs - 1)
    np.testing.assert_allclose(last.toarray(), dense(every)[-1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("dim", "dtype"), [(1, "float64"), (3, "float32"), (37, "float32")])
def test_every_width(mode, dim, dtype):
    table, layer = RNG.standard_normal((COLUMNS, dim)).astype(dtype), RNG.standard_normal((3, dim))
    arrays = {"embedding_bag.weight": table, "linear.weight": layer}
    model = EmbeddingBagClassifier.from_state_dict(arrays, classes=["a", "b", "c"], mode=mode)
    own, tolerance = model.contributions(X, model.predict(X)), 1e-5 if dtype == "float32" else 1e-12
    assert own.dtype == dtype
    every = expected(model, CANONICAL)
    np.testing.assert_allclose(dense(model.contributions(X)), every, rtol=1e-4, atol=tolerance)
    numbers = np.searchsorted(model.classes_, model.predict(X))
    np.testing.assert_allclose(own.toarray(), every[numbers, np.arange(N)], rtol=1e-4, atol=tolerance)


@pytest.mark.parametrize("mode", MODES)
def test_many_more_columns_than_members_and_many_more_members_than_columns(mode):
    for n_rows, n_columns, n_classes in ((5, 3000, 3), (2000, 9, 40)):
        rows = random_csr(n_rows, n_columns, seed=1)
        arrays = {
            "embedding_bag.weight": RNG.normal(size=(n_columns, 7)),
            "linear.weight": RNG.normal(size=(n_classes, 7)),
        }
        model = EmbeddingBagClassifier.from_state_dict(arrays, mode=mode)
        every = dense(model.contributions(rows))
        outputs = model.decision_function(rows) - model.intercepts_[0]
        np.testing.assert_allclose(every.sum(axis=2).T, outputs, rtol=1e-9, atol=1e-12)
        own = model.contributions(rows, model.predict(rows)).sum(axis=1)
        np.testing.assert_allclose(own, outputs.max(axis=1), rtol=1e-9, atol=1e-12)


def test_ties_of_a_maximum_go_to_the_first_column():
    table = np.array([[1.0, 2.0], [1.0, 3.0], [0.0, 3.0]])
    model = EmbeddingBagClassifier(init=table, mode="max", freeze=True, dtype="float64")
    model.fit(np.eye(3), [0, 1, 1])
    model.coefs_[0][:] = 1
    assert model.contributions([[1, 5, 2]]).toarray().tolist() == [[1, 3, 0]]


@pytest.mark.parametrize("n_jobs", [2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_threads_change_nothing(mode, n_jobs):
    rows = random_csr(30_000, COLUMNS, seed=5)
    model = fitted(mode=mode)
    one, more = model.contributions(rows), model.set_params(n_jobs=n_jobs).contributions(rows)
    assert all(np.array_equal(a.data, b.data) for a, b in zip(one, more, strict=True))


@pytest.mark.parametrize("mode", MODES)
def test_one_number_is_stored_for_each_member(mode):
    rows = csr_matrix(np.abs(CANONICAL.toarray()))
    every = fitted(mode=mode).contributions(rows)
    assert len(every) == 3
    for one in every:
        assert isinstance(one, csr_array)
        assert one.shape == rows.shape
        assert np.array_equal(one.indices, rows.indices)
        assert np.array_equal(one.indptr, rows.indptr)
        assert one.has_canonical_format
    assert every[0].indices is every[2].indices
    every[0].data[:] = 7  # what is returned can be written to
    every[0].indices[:] = 0
    assert rows.indices.any()


def test_kinds_of_rows():
    model = fitted()
    whole = dense(model.contributions(X))
    wide = csr(X.data.astype("float32"), X.indices.astype("int64"), X.indptr.astype("int64"), COLUMNS)
    for array in (wide.data, wide.indices, wide.indptr):
        array.flags.writeable = False
    np.testing.assert_allclose(dense(model.contributions(wide)), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dense(model.contributions(CANONICAL.toarray())), whole, rtol=1e-12)
    for none in (X[:0], np.zeros((0, COLUMNS))):
        assert [m.shape for m in model.contributions(none)] == [(0, COLUMNS)] * 3
        assert model.contributions(none, []).shape == (0, COLUMNS)
    empty = model.contributions(csr_array((2, COLUMNS)), ["a", "b"])
    assert empty.nnz == 0


def test_contributions_of_bad_input():
    model = fitted()
    with pytest.raises(ValueError, match=r"output must be of classes_, \['a' 'b' 'c'\], got 'd'"):
        model.contributions(X, "d")
    with pytest.raises(ValueError, match=r"got 1\b"):
        model.contributions(X, 1)
    with pytest.raises(ValueError, match=r"one for each row of X, 50, got the shape \(2,\)"):
        model.contributions(X, ["a", "b"])
    with pytest.raises(ValueError, match="30 features"):
        model.contributions(X[:, :5])
    bad = X.copy()
    bad.data[7] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        model.contributions(bad)
    with pytest.raises(NotFittedError):
        EmbeddingBagClassifier().contributions(X)
    regressor = EmbeddingBagRegressor(4, random_state=0).fit(X, np.arange(N))
    for output in (1, -1, 0.0, "a"):
        with pytest.raises(ValueError, match="output must be numbers of outputs, from 0 to 0"):
            regressor.contributions(X, output)


# --- columns


@pytest.mark.parametrize("kind", TARGETS)
def test_the_strongest_columns(kind):
    model = fitted(kind, padding_idx=4)
    names = np.array([f"word {j}" for j in range(COLUMNS)])
    coef = model.coefs_[0] - (model.coefs_[0].mean(axis=1, keepdims=True) if kind == "three" else 0)
    strengths = (model.embeddings_ @ coef).T
    strengths = np.concatenate([-strengths, strengths]) if kind == "two" else strengths
    found = model.top_features(5, feature_names=names)
    assert list(found) == model.classes_.tolist()
    for label, some in zip(model.classes_.tolist(), strengths, strict=True):
        some[4] = -np.inf
        best = np.argsort(-some, kind="stable")[:5]
        assert [name for name, _ in found[label]] == names[best].tolist()
        np.testing.assert_allclose([value for _, value in found[label]], some[best])
    everything = model.top_features(1000)
    assert all(len(some) == COLUMNS - 1 for some in everything.values())
    assert isinstance(everything[model.classes_.tolist()[0]][0][0], int)


def test_the_strongest_columns_of_a_regressor_by_size():
    model = EmbeddingBagRegressor(4, dtype="float64", random_state=0).fit(X, RNG.normal(size=N))
    strengths = (model.embeddings_ @ model.coefs_[0]).ravel()
    best = np.argsort(-np.abs(strengths))[:3]
    found = model.top_features(3)
    assert [column for column, _ in found[0]] == best.tolist()
    np.testing.assert_allclose([value for _, value in found[0]], strengths[best])


def test_a_table_of_many_rows_is_gone_through_in_pieces(monkeypatch):
    model = fitted()
    whole, near = model.top_features(4), model.nearest_features(3, 4)
    monkeypatch.setattr("skbag._estimators.explain._ROWS", 7)
    monkeypatch.setattr("skbag._estimators.nearest._ROWS", 7)
    for label, some in model.top_features(4).items():
        assert [c for c, _ in some] == [c for c, _ in whole[label]]
    assert [c for c, _ in model.nearest_features(3, 4)] == [c for c, _ in near]


@pytest.mark.parametrize("scale", [1, 1e-30, 1e30])
def test_the_nearest_columns(scale):
    table = np.random.default_rng(2).standard_normal((40, 6)) * scale
    table[7], table[9] = 0, 3 * table[5]
    vectorizer = EmbeddingBagVectorizer.from_pretrained(table, padding_idx=11)
    unit = table / np.where(table.any(axis=1), np.linalg.norm(table / scale, axis=1) * scale, 1)[:, None]
    cosines = unit @ unit[5]
    cosines[[5, 7, 11]] = -np.inf
    found = vectorizer.nearest_features(5, 4)
    assert [c for c, _ in found] == np.argsort(-cosines)[:4].tolist()
    assert found[0] == (9, pytest.approx(1))
    np.testing.assert_allclose([v for _, v in found], np.sort(cosines)[::-1][:4])
    assert len(vectorizer.nearest_features(5, 100)) == 37
    names = [f"w{j}" for j in range(40)]
    assert vectorizer.nearest_features("w5", 1, feature_names=names)[0][0] == "w9"


def test_names_come_from_the_data_frame():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(CANONICAL.toarray(), columns=[f"c{j}" for j in range(COLUMNS)])
    model = EmbeddingBagClassifier(4, random_state=0).fit(frame, TARGETS["two"])
    assert model.top_features(1)["no"][0][0].startswith("c")
    assert model.nearest_features("c3", 1)[0][0] in frame.columns


def test_columns_of_bad_input():
    model = fitted()
    for call, error, message in (
        (lambda: model.top_features(0), ValueError, "k must be at least 1, got 0"),
        (lambda: model.top_features(2.5), TypeError, r"k must be an integer, got 2\.5"),
        (lambda: model.top_features(feature_names=["a"]), ValueError, r"one name per column of X, 30, .*\(1,\)"),
        (lambda: model.nearest_features(30), ValueError, "less than the number of columns, 30, got 30"),
        (lambda: model.nearest_features(-1), ValueError, "at least 0 .* got -1"),
        (lambda: model.nearest_features(1.5), TypeError, "number or the name of a column"),
        (lambda: model.nearest_features("cat"), ValueError, "pass feature_names"),
        (
            lambda: model.nearest_features("cat", feature_names=["dog"] * 30),
            ValueError,
            "must be one of feature_names, and is not",
        ),
        (
            lambda: model.nearest_features("dog", feature_names=["dog"] * 30),
            ValueError,
            "once, and 30 columns have this name",
        ),
    ):
        with pytest.raises(error, match=message):
            call()
    model.embeddings_[3] = 0
    with pytest.raises(ValueError, match="feature=3 has a vector of zeros"):
        model.nearest_features(3)
    with pytest.raises(NotFittedError):
        EmbeddingBagVectorizer().nearest_features(0)


# --- the best classes


@pytest.mark.parametrize("loss", ["log_loss", "modified_huber", "hinge"])
@pytest.mark.parametrize("kind", TARGETS)
def test_the_best_classes(kind, loss, monkeypatch):
    model = fitted(kind, loss=loss)
    z = model.decision_function(X).reshape(N, -1)
    z = np.hstack([-z, z]) if kind == "two" else z
    scores = z if loss == "hinge" else model.predict_proba(X)
    for together, k in itertools.product((1 << 22, 10), range(1, len(model.classes_) + 1)):
        monkeypatch.setattr("skbag._estimators.choosing._TOGETHER", together)
        order = np.argsort(-z, axis=1, kind="stable")[:, :k]
        classes, values = model.predict_top_k(X, k)
        assert np.array_equal(classes, model.classes_[order])
        np.testing.assert_allclose(values, np.take_along_axis(scores, order, axis=1), rtol=1e-12)
        assert values.dtype == z.dtype
    if kind != "labels":
        assert np.array_equal(model.predict_top_k(X, 1)[0].ravel(), model.predict(X))
    assert [a.shape for a in model.predict_top_k(X[:0], 2)] == [(0, 2)] * 2


def test_of_equal_outputs_the_first_class_is_better():
    model = fitted()
    model.coefs_[0][:], model.intercepts_[0][:] = 0, [1, 2, 2]
    classes, _ = model.predict_top_k(X[:1], 3)
    assert classes.tolist() == [["b", "c", "a"]]
    model.intercepts_[0][:] = [-np.inf, -np.inf, 2]
    assert model.predict_top_k(X[:1], 3)[0].tolist() == [["c", "a", "b"]]


def test_many_classes_are_sorted():
    n = 50
    model = EmbeddingBagClassifier(7, dtype="float64", random_state=0).fit(
        np.tile(np.eye(n), (3, 1)), np.arange(3 * n) % n
    )
    classes, scores = model.predict_top_k(np.eye(n), n)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert np.array_equal(np.sort(classes, axis=1), np.tile(np.arange(n), (n, 1)))
    assert np.array_equal(model.predict_top_k(np.eye(n), 3)[0], classes[:, :3])


def test_the_best_classes_of_bad_input():
    model = fitted()
    with pytest.raises(ValueError, match="k must be at most the number of classes, 3, got 4"):
        model.predict_top_k(X, 4)
    with pytest.raises(ValueError, match="k must be at least 1"):
        model.predict_top_k(X, 0)
    with pytest.raises(TypeError, match="k must be an integer"):
        model.predict_top_k(X, True)
    with pytest.raises(ValueError, match="30 features"):
        model.predict_top_k(X[:0, :3], 1)
    with pytest.raises(NotFittedError):
        EmbeddingBagClassifier().predict_top_k(X, 1)


# --- labels


def best_by_trying(p, z, *, may_be_none):
    """The labels with the largest expected F1, by trying every set of the most probable ones."""
    order = np.argsort(-z, kind="stable")
    values = [2 * p[order[:k]].sum() / (k + p.sum()) for k in range(1, len(p) + 1)]
    chosen = np.zeros(len(p), int)
    if not may_be_none or np.prod(1 - p) <= max(values):
        chosen[order[: np.argmax(values) + 1]] = 1
    return chosen


@pytest.mark.parametrize("loss", ["log_loss", "modified_huber"])
@pytest.mark.parametrize("may_be_none", [False, True])
def test_labels_by_expected_f1(loss, may_be_none, monkeypatch):
    Y = TARGETS["labels"].copy()
    Y[:, 0] = 1
    Y[: 10 if may_be_none else 2] = 0
    model = EmbeddingBagClassifier(7, loss=loss, threshold="expected_f1", random_state=0, dtype="float64").fit(X, Y)
    model.intercepts_[0][:] -= 1.5
    both = zip(model.predict_proba(X), model.decision_function(X), strict=True)
    expected = [best_by_trying(*each, may_be_none=may_be_none) for each in both]
    monkeypatch.setattr("skbag._estimators.choosing._TOGETHER", 30)
    labels = model.predict(X)
    assert np.array_equal(labels, expected)
    assert labels.dtype == np.int64
    assert (labels.sum(axis=1) == 0).any() == may_be_none


def test_a_threshold_of_the_probabilities():
    model = fitted("labels")
    for threshold in (0.1, 0.5, 0.9):
        labels = model.set_params(threshold=threshold).predict(X)
        assert np.array_equal(labels, expit(model.decision_function(X)) > threshold)
    other = EmbeddingBagClassifier(7, max_iter=5, dtype="float64", random_state=0).fit(X, TARGETS["three"])
    labels = other.predict(X)
    assert np.array_equal(other.set_params(threshold=0.9).predict(X), labels)  # classes do not mind


def test_expected_f1_finds_labels_where_one_half_finds_none():
    rng = np.random.default_rng(0)
    Y = (rng.random((400, 40)) < 0.04).astype(int)
    Y[np.arange(400), rng.integers(0, 40, 400)] = 1
    rows = csr_array((Y @ (rng.random((40, 200)) < 0.05) + (rng.random((400, 200)) < 0.1)).astype(float))
    model = EmbeddingBagClassifier(random_state=0).fit(rows[:300], Y[:300])
    half = f1_score(Y[300:], model.predict(rows[300:]), average="micro")
    model.set_params(threshold="expected_f1")
    assert f1_score(Y[300:], model.predict(rows[300:]), average="micro") > half + 0.05


@pytest.mark.filterwarnings("ignore:Every row of y has a single 1")
def test_whether_rows_have_labels_is_counted_through_a_stream():
    model = EmbeddingBagClassifier(4, threshold="expected_f1", random_state=0)
    Y = np.zeros((N, 4), int)
    Y[:, 0] = 1
    model.partial_fit(X, Y)
    assert not model._may_be_unlabelled
    with pytest.raises(ValueError, match="y must have one column per label"):
        model.partial_fit(X, np.zeros((N, 3), int))
    assert not model._may_be_unlabelled
    model.partial_fit(X, 0 * Y)
    assert model._may_be_unlabelled
    assert not model.fit(X, Y)._may_be_unlabelled


def test_rows_of_weight_0_say_nothing_of_rows_without_labels():
    Y = np.random.default_rng(0).integers(0, 2, (N, 4))
    Y[:, 0] = 1
    rows, bare, weights = vstack([X, X]).tocsr(), np.vstack([Y, 0 * Y]), np.repeat([1.0, 0.0], N)
    params = {"threshold": "expected_f1", "random_state": 0}
    expected = EmbeddingBagClassifier(4, **params).fit(X, Y).predict(X)
    model = EmbeddingBagClassifier(4, **params).fit(rows, bare, sample_weight=weights)
    np.testing.assert_array_equal(model.predict(X), expected)
    assert not EmbeddingBagClassifier(4, **params).partial_fit(rows, bare, sample_weight=weights)._may_be_unlabelled


def test_a_threshold_needs_probabilities():
    for threshold in ("expected_f1", 0.4):
        with pytest.raises(ValueError, match=r"threshold=.* needs probabilities, which loss='hinge' does not have"):
            fitted("labels", loss="hinge", threshold=threshold)
    model = fitted("labels", loss="hinge")
    with pytest.raises(ValueError, match="needs probabilities"):
        model.set_params(threshold=0.3).predict(X)
    for threshold in (0, 1, -1, "best", None, np.nan):
        with pytest.raises(ValueError, match="'threshold' parameter"):
            fitted("labels", threshold=threshold)


def test_the_best_of_a_data_frame():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(np.eye(3), columns=list("abc"))
    model = EmbeddingBagClassifier(random_state=0).fit(frame, ["x", "y", "z"])
    classes, _ = model.predict_top_k(frame, 2)
    assert classes.shape == (3, 2)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict_top_k(frame[list("bca")], 2)


def test_validation_rows_say_nothing_of_rows_without_labels():
    X, labelled, bare = np.eye(6), np.tile([[1, 1, 0], [0, 1, 1]], (3, 1)), np.zeros((6, 3), int)
    model = EmbeddingBagClassifier(threshold="expected_f1", early_stopping=True, max_iter=2, random_state=0)
    model.fit(X, labelled, X_val=X, y_val=bare)
    assert model.predict(X).any(axis=1).all()


def test_labels_are_columns_of_y():
    model = EmbeddingBagClassifier(2, max_iter=1).fit(np.ones((3, 2)), np.tile([[1, 1], [0, 1], [0, 0]], 50))
    with pytest.raises(
        ValueError, match=r"of classes_, \[ 0 .*\.\.\..* 99\], got 'baking'\. Labels are the numbers of"
    ) as caught:
        model.contributions(np.ones((1, 2)), "baking")
    assert len(str(caught.value)) < 200


def test_names_that_several_columns_have():
    model = EmbeddingBagClassifier(2, max_iter=1).fit(np.eye(3), [0, 1, 0])
    with pytest.raises(ValueError, match="feature='z' must be one of feature_names, and is not"):
        model.nearest_features("z", feature_names=["a", "b", "b"])
    with pytest.raises(ValueError, match="must be in feature_names once, and 2 columns have this name"):
        model.nearest_features("b", feature_names=["a", "b", "b"])


def test_one_label_is_explained_as_itself():
    X = random_csr(30, 9, dtype="float64")
    y = csr_array((X.toarray()[:, [2]] > 0).astype(int))
    model = EmbeddingBagClassifier(3, mode="sum", dtype="float64", random_state=0).fit(X, y)
    outputs = model.decision_function(X).ravel() - model.intercepts_[0]
    for output in (None, 0, np.zeros(30, int)):
        np.testing.assert_allclose(model.contributions(X, output).sum(axis=1), outputs, rtol=1e-9, atol=1e-12)
    ((label, columns),) = model.top_features(1).items()
    assert (label, columns[0][0]) == (0, int((model.embeddings_ @ model.coefs_[0]).argmax()))
    with pytest.raises(ValueError, match="to_linear needs two labels or more"):
        model.to_linear()
