"""Models that leave: for scikit-learn and ONNX, for torch, as vectors."""

import copy
import pickle
from copy import deepcopy
from functools import partial

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor, EmbeddingBagVectorizer

LINEAR = ("sum", "mean", "sqrtn")
N, COLUMNS = 60, 14
RNG = np.random.default_rng(0)
X = csr_array(np.where(RNG.random((N, COLUMNS)) < 0.4, RNG.normal(size=(N, COLUMNS)), 0).round(2))
X_NEW = csr_array(np.vstack([X.toarray()[::-1] * 2, np.zeros((1, COLUMNS))]))
COUNTS = csr_array(np.ceil(np.abs(X_NEW.toarray())))
TWO, THREE = np.arange(N) % 2 == 0, np.array(["a", "b", "c"])[np.arange(N) % 3]
LABELS = RNG.integers(0, 2, (N, 4))
SHARES = RNG.dirichlet(np.ones(3), N)
NUMBERS = RNG.normal(100, 20, (N, 2))
CLASSIFIERS = {
    "two": (TWO, "log_loss", LogisticRegression),
    "three": (THREE, "log_loss", LogisticRegression),
    "shares": (SHARES, "log_loss", LogisticRegression),
    "labels": (LABELS, "log_loss", OneVsRestClassifier),
    "two huber": (TWO, "modified_huber", SGDClassifier),
    "three huber": (THREE, "modified_huber", SGDClassifier),
    "labels huber": (LABELS, "modified_huber", OneVsRestClassifier),
    "two hinge": (TWO, "hinge", SGDClassifier),
    "three hinge": (THREE, "squared_hinge", SGDClassifier),
    "labels hinge": (LABELS, "hinge", OneVsRestClassifier),
}


def classifier(y, loss="log_loss", **params):
    return EmbeddingBagClassifier(5, loss=loss, dtype="float64", max_iter=8, random_state=0, **params).fit(X, y)


def regressor(y, **params):
    return EmbeddingBagRegressor(5, dtype="float64", max_iter=8, random_state=0, **params).fit(X, y)


def assert_same(model, linear, rows, **tolerance):
    tolerance = {"rtol": 1e-9, "atol": 1e-12, **tolerance}
    np.testing.assert_allclose(linear.decision_function(rows), model.decision_function(rows), **tolerance)
    assert np.array_equal(linear.predict(rows), model.predict(rows))
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(linear.predict_proba(rows), model.predict_proba(rows), **tolerance)
    else:
        assert not hasattr(linear, "predict_proba")


# --- scikit-learn


@pytest.mark.parametrize("threshold", [0.5, 0.2, "expected_f1"])
def test_thresholds_that_the_linear_model_does_not_have_are_warned_of(threshold, recwarn):
    Y = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]])
    model = EmbeddingBagClassifier(threshold=threshold, random_state=0).fit(np.eye(4), Y)
    linear = model.to_linear()
    said = [str(warning.message) for warning in recwarn]
    assert [f"threshold is {threshold!r} here" in text for text in said] == [True] * (threshold != 0.5)
    np.testing.assert_allclose(linear.predict_proba(np.eye(4)), model.predict_proba(np.eye(4)), rtol=1e-5)
    assert (
        not EmbeddingBagClassifier(threshold=threshold).fit(np.eye(4), [0, 1, 2, 0]).to_linear().predict(np.eye(4))[0]
    )


@pytest.mark.parametrize("mode", LINEAR)
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_classifier_becomes_a_linear_one(kind, mode):
    y, loss, expected = CLASSIFIERS[kind]
    model = classifier(y, loss, mode=mode)
    linear = model.to_linear()
    assert isinstance(linear[-1], expected)
    assert len(linear) == 1 + (mode != "sum")
    assert_same(model, linear, X_NEW)
    assert_same(model, linear, X_NEW.toarray())
    assert np.array_equal(linear.classes_, model.classes_)
    check_is_fitted(linear[-1])


@pytest.mark.parametrize("mode", LINEAR)
@pytest.mark.parametrize(("per_sample_weights", "padding_idx"), [(False, None), (True, 2), (False, -1)])
def test_what_counts_as_a_member_is_the_same(mode, per_sample_weights, padding_idx):
    model = classifier(THREE, mode=mode, per_sample_weights=per_sample_weights, padding_idx=padding_idx)
    linear = model.to_linear()
    assert_same(model, linear, COUNTS)
    if per_sample_weights:
        assert_same(model, linear, X_NEW)
    changed = COUNTS.toarray()
    changed[:, 2 if padding_idx is None else padding_idx] += 5
    same = np.allclose(linear.decision_function(changed), linear.decision_function(COUNTS))
    assert same == (padding_idx is not None)


@pytest.mark.parametrize("mode", LINEAR)
@pytest.mark.parametrize("loss", ["squared_error", "huber", "poisson"])
@pytest.mark.parametrize("y", [NUMBERS, NUMBERS[:, 0], NUMBERS[:, :1]], ids=["two", "one", "one column"])
def test_a_regressor_becomes_a_linear_one(mode, loss, y):
    model = regressor(y, mode=mode, loss=loss)
    linear = model.to_linear()
    assert isinstance(linear[-1], PoissonRegressor if loss == "poisson" and y.ndim == 1 else object)
    assert isinstance(linear[-1], LinearRegression) == (loss != "poisson")
    result = linear.predict(X_NEW)
    assert result.shape == model.predict(X_NEW).shape
    np.testing.assert_allclose(result, model.predict(X_NEW), rtol=1e-9)


def test_probabilities_of_two_classes_become_one_output():
    model = classifier(SHARES[:, :2] / SHARES[:, :2].sum(axis=1, keepdims=True))
    linear = model.to_linear()
    np.testing.assert_allclose(linear.predict_proba(X_NEW), model.predict_proba(X_NEW), rtol=1e-9)
    z = model.decision_function(X_NEW)
    np.testing.assert_allclose(linear.decision_function(X_NEW), z[:, 1] - z[:, 0], rtol=1e-9, atol=1e-12)


def test_single_precision_is_as_exact_as_it_can_be():
    model = EmbeddingBagClassifier(5, max_iter=8, random_state=0).fit(X, THREE)
    assert_same(model, model.to_linear(), X_NEW, rtol=1e-4, atol=1e-6)


def test_a_linear_model_can_be_pickled_and_knows_the_names_of_columns():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X.toarray(), columns=[f"c{i}" for i in range(COLUMNS)])
    model = EmbeddingBagClassifier(5, random_state=0).fit(frame, THREE)
    linear = pickle.loads(pickle.dumps(model.to_linear()))
    assert np.array_equal(linear.predict(frame), model.predict(frame))
    assert list(linear.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        linear.predict(frame[frame.columns[::-1]])


def test_a_maximum_is_not_linear():
    model = classifier(TWO, mode="max")
    with pytest.raises(ValueError, match=r"mode='max': a maximum is not linear"):
        model.to_linear()
    with pytest.raises(NotFittedError):
        EmbeddingBagRegressor().to_linear()


@pytest.mark.parametrize("mode", LINEAR)
@pytest.mark.parametrize("kind", ["two", "three", "labels", "three huber", "two hinge"])
def test_onnx_computes_the_same(kind, mode):
    skl2onnx, onnxruntime = pytest.importorskip("skl2onnx"), pytest.importorskip("onnxruntime")
    y, loss, _ = CLASSIFIERS[kind]
    model = classifier(y, loss, mode=mode)
    run = onnx_of(skl2onnx, onnxruntime, model.to_linear(), {"zipmap": False})
    (labels, scores), rows = run(X_NEW)[:2], X_NEW
    if hasattr(model, "predict_proba"):
        expected = model.predict_proba(X_NEW)
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        alone = (
            np.sort(expected)[:, -1] > np.sort(expected)[:, -2]
        )  # skl2onnx goes by the probabilities, which may be 0
        labels, rows = labels[alone | (kind == "labels")], X_NEW[alone | (kind == "labels")]
    assert np.array_equal(labels, model.predict(rows))


@pytest.mark.parametrize("padding_idx", [None, 2])
def test_onnx_of_a_regressor_computes_the_same(padding_idx):
    skl2onnx, onnxruntime = pytest.importorskip("skl2onnx"), pytest.importorskip("onnxruntime")
    model = regressor(NUMBERS, padding_idx=padding_idx, per_sample_weights=padding_idx is None)
    rows = X_NEW if padding_idx is None else COUNTS
    result = onnx_of(skl2onnx, onnxruntime, model.to_linear(), None)(rows)[0]
    np.testing.assert_allclose(result, model.predict(rows), rtol=1e-5)


def onnx_of(skl2onnx, onnxruntime, linear, options):
    inputs = [("X", skl2onnx.common.data_types.FloatTensorType([None, COLUMNS]))]
    options = None if options is None else {id(linear): options}
    model = skl2onnx.to_onnx(linear, initial_types=inputs, options=options)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda rows: session.run(None, {"X": rows.toarray().astype(np.float32)})


# --- torch


@pytest.mark.parametrize("kind", ["two", "three", "labels", "labels huber", "two hinge"])
def test_arrays_come_back_as_the_same_classifier(kind):
    y, loss, _ = CLASSIFIERS[kind]
    model = classifier(y, loss)
    labels = kind.startswith("labels")
    other = EmbeddingBagClassifier.from_state_dict(
        model.to_state_dict(), classes=model.classes_, multilabel=labels, mode="sqrtn", loss=loss
    )
    assert np.array_equal(other.decision_function(X_NEW), model.decision_function(X_NEW))
    assert np.array_equal(other.predict(X_NEW), model.predict(X_NEW))
    assert other.get_params()["dtype"] == "float64"
    before = [array.copy() for array in other.to_state_dict().values()]
    state = pickle.dumps(other)
    other.partial_fit(X, y)
    assert not np.array_equal(other.embeddings_, before[0])
    assert np.array_equal(other.init, before[0])  # what it was made of is not written to
    assert np.array_equal(pickle.loads(state).partial_fit(X, y).decision_function(X), other.decision_function(X))


@pytest.mark.parametrize("y", [NUMBERS, NUMBERS[:, 0]], ids=["two", "one"])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_arrays_come_back_as_the_same_regressor(y, loss):
    model = regressor(y, loss=loss, mode="mean")
    other = EmbeddingBagRegressor.from_state_dict(model.to_state_dict(), mode="mean", loss=loss)
    np.testing.assert_allclose(other.predict(X_NEW), model.predict(X_NEW), rtol=1e-9)
    assert other.n_iter_ == 0
    other.partial_fit(X, y)
    assert len(other.loss_curve_) == 1


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_torch_computes_the_same(mode):
    torch = pytest.importorskip("torch")
    model = EmbeddingBagClassifier(5, mode=mode, per_sample_weights=False, random_state=0).fit(X, THREE)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.words = torch.nn.EmbeddingBag(COLUMNS, 5, mode=mode)
            self.linear = torch.nn.Linear(5, 3)

        def forward(self, ids, offsets):
            return self.linear(self.words(ids, offsets))

    net = Net()
    net.load_state_dict({name: torch.from_numpy(a) for name, a in model.to_state_dict(bag="words").items()})
    rows = X_NEW[:-1]
    ids, offsets = torch.from_numpy(rows.indices.astype("int64")), torch.from_numpy(rows.indptr[:-1].astype("int64"))
    expected = net(ids, offsets).detach().numpy()
    np.testing.assert_allclose(model.decision_function(rows), expected, rtol=1e-4, atol=1e-5)
    torch.manual_seed(0)
    other = Net()
    back = EmbeddingBagClassifier.from_state_dict(other.state_dict(), bag="words", mode=mode, per_sample_weights=False)
    expected = other(ids, offsets).detach().numpy()
    np.testing.assert_allclose(back.decision_function(rows), expected, rtol=1e-4, atol=1e-5)


def test_two_rows_for_two_classes_become_one():
    arrays = {"embedding_bag.weight": RNG.normal(size=(3, 2)), "linear.weight": RNG.normal(size=(2, 2))}
    model = EmbeddingBagClassifier.from_state_dict(arrays, classes=["yes", "no"], mode="mean")  # not in order
    z = arrays["embedding_bag.weight"] @ arrays["linear.weight"].T
    expected = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(np.eye(3)), expected[:, ::-1])
    assert model.classes_.tolist() == ["no", "yes"]
    one = {**arrays, "linear.weight": arrays["linear.weight"][:1], "linear.bias": np.array([0.3])}
    given, turned = (
        EmbeddingBagClassifier.from_state_dict(one, classes=c, mode="mean") for c in (["a", "b"], ["b", "a"])
    )
    assert np.array_equal(given.decision_function(np.eye(3)), -turned.decision_function(np.eye(3)))


@pytest.mark.parametrize("cls", [EmbeddingBagClassifier, EmbeddingBagRegressor])
def test_the_mode_is_never_guessed(cls):
    """The arrays do not say it, torch's default is not that of the estimators, and either would be silently wrong."""
    model = cls(5, random_state=0).fit(X, NUMBERS[:, 0] > np.median(NUMBERS[:, 0]))
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'mode'"):
        cls.from_state_dict(model.to_state_dict())
    again = cls.from_state_dict(model.to_state_dict(), mode=model.mode)
    np.testing.assert_allclose(again.predict(X), model.predict(X), rtol=1e-6)


def test_arrays_that_fit_nothing():
    good = {"embedding_bag.weight": np.ones((4, 2)), "linear.weight": np.ones((3, 2)), "linear.bias": np.zeros(3)}
    make = partial(EmbeddingBagClassifier.from_state_dict, mode="mean")
    make(good)
    for change, error, message in (
        ({"linear.weight": np.ones((3, 5))}, ValueError, r"linear\.weight must have one column .* 2,"),
        ({"linear.bias": np.zeros(2)}, ValueError, r"linear\.bias one number per row"),
        ({"linear.bias": np.array([0, np.nan, 0])}, ValueError, r"linear\.bias contains nan"),
        ({"embedding_bag.weight": np.full((4, 2), np.inf)}, ValueError, r"embedding_bag\.weight contains inf"),
        ({"linear.weight": np.ones(3)}, ValueError, r"linear\.weight must be of shape"),
    ):
        with pytest.raises(error, match=message):
            make({**good, **change})
    with pytest.raises(ValueError, match=r"arrays must have 'bag\.weight', got \['embedding_bag\.weight'"):
        make(good, bag="bag")
    with pytest.raises(ValueError, match="classes must be 3 different ones for 3 outputs"):
        make(good, classes=["a", "b", "a"])
    with pytest.raises(ValueError, match="'mode' parameter"):
        make(good, mode="median")
    with pytest.raises(ValueError, match="padding_idx must be at least"):
        make(good, padding_idx=9)
    with pytest.raises(NotFittedError):
        EmbeddingBagClassifier().to_state_dict()
    with pytest.raises(TypeError, match=r"arrays must be a mapping of names to arrays, as module\.state_dict\(\)"):
        make([1, 2])
    model = EmbeddingBagClassifier(4, random_state=0).fit(np.eye(3), [0, 1, 2])
    with pytest.raises(ValueError, match="bag and linear must be different names, got 'm' and 'm'"):
        model.to_state_dict(bag="m", linear="m")
    with pytest.raises(TypeError, match="bag must be a string, got None"):
        model.to_state_dict(bag=None)


# --- vectors

WORDS = ["katze", "größe", "猫", "new york", *(f"w{j}" for j in range(4, COLUMNS))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_text_file_of_vectors_is_read_by_gensim(tmp_path, dtype):
    models = pytest.importorskip("gensim.models")
    model = EmbeddingBagVectorizer(3, dtype=dtype, random_state=0).fit(X)
    model.embeddings_[0] = [1e-38, -np.pi, 1e30]
    (tmp_path / "words.vec").write_text("old")
    model.to_vec(tmp_path / "words.vec", WORDS)
    found = models.KeyedVectors.load_word2vec_format(tmp_path / "words.vec", datatype=getattr(np, dtype))
    assert found.index_to_key == [word.replace(" ", "_") for word in WORDS]
    assert np.array_equal(found.vectors, model.embeddings_)
    assert [path.name for path in tmp_path.iterdir()] == ["words.vec"]


def test_vectors_go_to_gensim():
    pytest.importorskip("gensim")
    model = EmbeddingBagVectorizer(3, random_state=0).fit(X)
    vectors = model.to_keyed_vectors(WORDS)
    assert vectors.index_to_key == WORDS
    assert np.array_equal(vectors["猫"], model.embeddings_[2])
    vectors.vectors[:] = 0
    assert model.embeddings_.all()
    found = model.nearest_features("katze", 3, feature_names=WORDS)
    other = model.to_keyed_vectors(WORDS).most_similar("katze", topn=3)
    assert [word for word, _ in found] == [word for word, _ in other]
    np.testing.assert_allclose([v for _, v in found], [v for _, v in other], rtol=1e-5)


def test_vectors_need_names(tmp_path, monkeypatch):
    model = EmbeddingBagVectorizer(3, random_state=0).fit(X)
    path = tmp_path / "words.vec"
    path.write_text("old")
    for names, options, message in (
        (None, {}, "feature_names must be given"),
        (WORDS[:3], {}, r"one name per column of X, 14"),
        ([*WORDS[:-1], "katze"], {}, "differ from one another, got 'katze' twice"),
        ([*WORDS[:-1], "new_york"], {}, "'new york' and 'new_york' would both be 'new_york'"),
        (WORDS, {"spaces": None}, "words without a space .* got 'new york'"),
        ([*WORDS[:-1], ""], {}, "got ''"),
        ([*WORDS[:-1], "a\u00a0b"], {}, r"got 'a\\xa0b'"),
    ):
        with pytest.raises(ValueError, match=message):
            model.to_vec(path, names, **options)
    with pytest.raises(ValueError, match=r"path must not end in '\.gz', as the file is not compressed"):
        model.to_vec(tmp_path / "words.vec.gz", WORDS)
    assert [p.name for p in tmp_path.iterdir()] == ["words.vec"]
    assert path.read_text() == "old"
    with pytest.raises(FileNotFoundError, match=r"nowhere.words\.vec'$"):
        model.to_vec(tmp_path / "nowhere" / "words.vec", WORDS)
    with pytest.raises(NotFittedError):
        EmbeddingBagVectorizer().to_vec(path, WORDS)
    monkeypatch.setitem(__import__("sys").modules, "gensim.models", None)
    with pytest.raises(ImportError, match="needs the package gensim"):
        model.to_keyed_vectors(WORDS)


# --- arrays of a user


@pytest.mark.parametrize("kind", ["a view", "a read-only view", "a part"])
def test_arrays_that_may_still_change_are_copied(kind):
    """That they are read-only now, or begin on a line of the cache, does not mean that nobody writes to them."""
    memory = np.zeros(4096, np.uint8)
    table = memory[-memory.ctypes.data % 64 :][:1600].view(np.float32).reshape(200, 2)
    if kind == "a part":
        table = table[:20]
    if kind != "a view":
        table.flags.writeable = False
    memory.flags.writeable = False
    arrays = {"embedding_bag.weight": table, "linear.weight": np.ones((3, 2), np.float32)}
    model = EmbeddingBagClassifier.from_state_dict(arrays, mode="mean")
    assert not np.shares_memory(model.embeddings_, table)


# --- compact


@pytest.mark.parametrize("init", ["uniform", "normal", "table"])
@pytest.mark.parametrize(
    "params", [{}, {"solver": "adam", "learning_rate_init": 0.01}, {"max_norm": 0.3}, {"solver": "sgd"}]
)
def test_a_compact_model_keeps_what_training_has_changed(init, params):
    n = 500
    seen = np.sort(RNG.choice(n, 20, replace=False))
    rows = np.zeros((N, n))
    rows[:, seen] = RNG.random((N, 20)) * (RNG.random((N, 20)) < 0.5)
    rows[0, seen] = 1
    table = np.where(np.isin(np.arange(n), seen)[:, None], RNG.normal(size=(n, 5)), 0) if init == "table" else init
    model = EmbeddingBagClassifier(5, init=table, padding_idx=int(seen[3]), dtype="float64", random_state=0, **params)
    model.fit(rows, THREE)
    before = pickle.dumps(model)
    small, columns = model.compact()
    assert columns.tolist() == np.delete(seen, 3).tolist()
    assert small.n_features_in_ == len(small.embeddings_) == 19
    assert small.padding_idx is None
    np.testing.assert_allclose(small.decision_function(rows[:, columns]), model.decision_function(rows), rtol=1e-9)
    small, model = (copy.deepcopy(m) for m in (small, model))
    small.partial_fit(rows[:, columns], THREE)
    assert pickle.dumps(model) == before
    model.partial_fit(rows, THREE)
    np.testing.assert_allclose(small.decision_function(rows[:, columns]), model.decision_function(rows), rtol=1e-9)
    small.fit(rows[:, columns], THREE)


@pytest.mark.parametrize("storage", [None, "float16", "int8"])
def test_a_compact_model_keeps_what_it_was_given(storage):
    """Rows of pretrained vectors say something although training has not named them."""
    table = RNG.normal(size=(40, 5))
    table[30:] = 0
    model = EmbeddingBagClassifier(init=table, max_norm=1.0, dtype="float32", random_state=0).fit(
        np.eye(40)[:6], [0, 1] * 3
    )
    model = model if storage is None else model.quantize(storage)
    small, columns = model.compact()
    assert columns.tolist() == list(range(30))
    rows = RNG.random((9, 40)) * (np.arange(40) < 30)
    np.testing.assert_allclose(small.predict_proba(rows[:, columns]), model.predict_proba(rows), rtol=1e-5)


def test_a_compact_model_of_maxima_keeps_zeros_that_it_was_given():
    table = np.array([[-1, -0.5], [-0.5, -1], [0, 0], [0, 0]])
    model = EmbeddingBagClassifier(init=table, mode="max", freeze=True).fit(np.eye(4), [0, 1, 0, 1])
    small, columns = model.compact()
    assert columns.tolist() == [0, 1, 2, 3]
    rows = np.array([[1, 0, 1, 0]])
    np.testing.assert_array_equal(small.decision_function(rows), model.decision_function(rows))


def test_a_compact_model_of_the_most_important_columns():
    model = EmbeddingBagRegressor(4, padding_idx=0, random_state=0).fit(X, NUMBERS)
    model.embeddings_[0] = 100
    small, columns = model.compact(5)
    importance = model.feature_importances_.copy()
    importance[0] = 0
    assert columns.tolist() == sorted(np.argsort(-importance)[:5].tolist())
    assert np.array_equal(small.embeddings_, model.embeddings_[columns])
    assert model.compact(100)[1].tolist() == list(range(1, COLUMNS))
    small.embeddings_[:], small.coefs_[0][:], small._solver_state[0][0][:] = 0, 0, 7
    assert model.embeddings_.all()
    assert model.coefs_[0].all()
    assert (model._solver_state[0][0] != 7).all()


def test_names_of_columns_are_kept_in_a_compact_model():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X.toarray(), columns=[f"c{i}" for i in range(COLUMNS)])
    small, columns = EmbeddingBagClassifier(5, random_state=0).fit(frame, THREE).compact(3)
    assert small.feature_names_in_.tolist() == [f"c{i}" for i in columns]
    assert small.predict(frame.iloc[:, columns]).shape == (N,)


def test_nothing_to_keep():
    for init, words in (
        ("uniform", "training has changed no row"),
        (np.zeros((COLUMNS, 2)), "there are zeros in all rows"),
    ):
        model = EmbeddingBagClassifier(2, init=init, freeze=True).fit(X, THREE)
        with pytest.raises(ValueError, match=words):
            model.compact()
    assert len(model.compact(2)[1]) == 2
    with pytest.raises(ValueError, match="n_columns must be at least 1"):
        model.compact(0)
    with pytest.raises(NotFittedError):
        EmbeddingBagClassifier().compact()


def test_words_in_a_pipeline():
    texts = ["cats purr", "stocks fell", "cats and dogs", "stocks rose"]
    model = make_pipeline(CountVectorizer(), EmbeddingBagClassifier(8, random_state=0))
    model.fit(texts, ["pets", "money", "pets", "money"])
    small, columns = model[-1].compact(3)
    words = model[:-1].get_feature_names_out()[columns]
    short = make_pipeline(CountVectorizer(vocabulary=words), small)
    assert short.predict(texts).tolist() == model.predict(texts).tolist()


@pytest.mark.parametrize("classes", [2, 4])
def test_a_model_from_arrays_is_trained_on_from_where_it_is(classes):
    """Its layer has a length of its own: it must not be brought to that of a model of skbag's."""
    rng = np.random.default_rng(0)
    arrays = {
        "embedding_bag.weight": rng.normal(0, 3, (14, 5)),
        "linear.weight": rng.normal(0, 7, (classes if classes > 2 else 1, 5)),
        "linear.bias": rng.normal(0, 1, classes if classes > 2 else 1),
    }
    counts, y = rng.poisson(1.0, (40, 14)).astype(float), np.arange(40) % classes
    model = EmbeddingBagClassifier.from_state_dict(arrays, mode="mean", learning_rate_init=1e-9)
    before = model.decision_function(counts)
    for other in (model, pickle.loads(pickle.dumps(model)), deepcopy(model)):
        init = other.init.copy()
        other.partial_fit(counts, y)
        np.testing.assert_allclose(other.decision_function(counts), before, rtol=1e-4, atol=1e-4)
        other.set_params(learning_rate_init=0.1).partial_fit(counts, y)
        np.testing.assert_array_equal(other.init, init)  # the parameter is not trained


def test_training_goes_on_after_another_solver_or_a_frozen_table():
    rng = np.random.default_rng(0)
    counts, y, table = rng.poisson(1.0, (40, 14)).astype(float), np.arange(40) % 3, rng.normal(0, 3, (14, 5))
    for first in ({"init": table, "freeze": True}, {"solver": "adam"}, {"init": table, "solver": "sgd"}):
        model = EmbeddingBagClassifier(**first, random_state=0).fit(counts, y)
        before = model.decision_function(counts)
        model.set_params(freeze=False, solver="rowwise_adagrad", learning_rate_init=1e-9, alpha=0.0)
        np.testing.assert_allclose(model.partial_fit(counts, y).decision_function(counts), before, rtol=1e-3, atol=1e-3)
