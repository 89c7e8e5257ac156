"""Several modes, fields and interactions: what stands side by side in a pooled row, and how it is trained."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
import reference
import training_reference
from helpers import FLOATS, LEARNT, csr, learnt, random_csr, random_table
from scipy.optimize import approx_fprime
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor, EmbeddingBagVectorizer, embedding_bag
from skbag.text import TextEmbeddingVectorizer

N_ROWS, N_COLUMNS, DIM, BATCH = 26, 11, 5, 8
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
SOLVERS = ("sgd", "rowwise_adagrad", "adagrad", "adam")
FIELDS = [3, 0, 6, 2]
SPECS = {
    "mean, max": {"mode": ["mean", "max"]},
    "all modes": {"mode": ("max", "sqrtn", "sum", "mean")},
    "mean, sqrtn": {"mode": ["mean", "sqrtn"]},
    "fields": {"mode": "sum", "fields": FIELDS},
    "fields, max": {"mode": "max", "fields": FIELDS},
    "fields, modes": {"mode": ["sqrtn", "max"], "fields": FIELDS},
    "fm": {"mode": "sum", "interaction": "fm"},
    "fm, mean": {"mode": "mean", "interaction": "fm"},
    "fm, fields": {"mode": "sqrtn", "interaction": "fm", "fields": FIELDS},
}
OPTIONS = {
    "padding": {"padding_idx": -4},
    "max_norm": {"max_norm": 1.2},
    "by frequency": {"scale_grad_by_freq": True},
    "penalty": {"alpha": 0.1},
    "freeze": {"freeze": True},
}


def bags(dtype="float64", seed=0, index_dtype="int32"):
    X = random_csr(N_ROWS, N_COLUMNS - 1, seed=seed, dtype=dtype, index_dtype=index_dtype)
    return csr(X.data, X.indices, X.indptr, N_COLUMNS)


def modes_of(spec):
    return [spec["mode"]] if isinstance(spec["mode"], str) else list(spec["mode"])


def pooled(bag, table, spec, padding_idx=None):
    """The oracle: the blocks of a row of X, (n_fields, n_kinds, dim), and the derivatives by each member's row."""
    ids, weights = training_reference.members(bag, len(table), padding_idx)
    edges = np.cumsum([0, *spec.get("fields", [len(table)])])
    field, rows, modes = np.searchsorted(edges[1:], ids, side="right"), table[ids], modes_of(spec)
    dim, n_fields, fm = table.shape[1], len(edges) - 1, "interaction" in spec
    blocks = np.zeros((n_fields, len(modes) + fm, dim))
    derivatives = np.zeros((len(ids), *blocks.shape))
    w = np.zeros((len(ids), dim))
    for f in range(n_fields):
        own = field == f
        for k, mode in enumerate(modes):
            shares = training_reference.shares(ids[own], weights[own], table, mode)
            blocks[f, k] = (shares * rows[own]).sum(axis=0)
            derivatives[own, f, k] = shares
            if fm:
                w[own] = shares
    if fm:
        total = blocks[:, 0].sum(axis=0)
        for f in range(n_fields):
            own = (field == f)[:, None]
            blocks[f, 1] = (blocks[f, 0] * total - (own * (w * rows) ** 2).sum(axis=0)) / 2
            derivatives[:, f, 1] = w * (own * total + blocks[f, 0]) / 2 - own * w**2 * rows
    return ids, blocks, derivatives


def loss_and_gradients(model, X, labels, weights, options, spec):
    """As ``training_reference.loss_and_gradients``, for blocks."""
    n, total, counts = X.shape[0], 0.0, np.zeros(len(model.table), int)
    gradients = np.zeros_like(model.table), np.zeros_like(model.coef), np.zeros_like(model.intercept)
    for bag, label, weight in zip(reference.bags_of_csr(X), labels, weights, strict=True):
        ids, blocks, derivatives = pooled(bag, model.table, spec, options.padding_idx)
        logits = model.coef @ blocks.ravel() + model.intercept
        total += weight / n * training_reference.loss_of(logits, label, options.loss)
        g = weight / n * training_reference.loss_gradient(logits, label, options.loss)
        for row, each in zip(ids, derivatives, strict=True):
            gradients[0][row] += (each * (g @ model.coef).reshape(each.shape)).sum(axis=(0, 1))
            counts[row] += 1
        gradients[1][:] += np.outer(g, blocks.ravel())
        gradients[2][:] += g
    return total, gradients, (counts, np.full(len(model.coef), True))


def start(X, y, table, **params):
    """An estimator before its first step, with a layer that is not zero; see test_training."""
    alpha = params.pop("alpha", 0.0)
    params = {"shuffle": False, "batch_size": BATCH, "dtype": table.dtype, "random_state": 0, **params}
    model = EmbeddingBagClassifier(init=table, alpha=0.0, **params)
    model.partial_fit(X, y, np.unique(y), np.full(len(y), 1e-300))
    rng = np.random.default_rng(7)
    model.coefs_[0][:] = rng.normal(0, 0.7, model.coefs_[0].T.shape).T
    model.intercepts_[0][:] = rng.normal(0, 0.7, model.intercepts_[0].shape)
    return model.set_params(alpha=alpha)


# --- the oracle


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_derivatives_of_the_oracle_are_finite_differences(spec):
    table = random_table(N_COLUMNS, 3)
    for bag in reference.bags_of_csr(bags())[1:4]:
        _, blocks, derivatives = pooled(bag, table, spec)
        for k, row in enumerate(bag[0]):

            def of_row(values, row=row, bag=bag):
                changed = table.copy()
                changed[row] = values
                return pooled(bag, changed, spec)[1].ravel()

            found = approx_fprime(table[row], of_row, 1e-7).reshape(*blocks.shape, 3)
            expected = derivatives[k][..., None] * np.eye(3)
            np.testing.assert_allclose(found, expected, atol=1e-5)


# --- pooling


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("per_sample_weights", [True, False])
@pytest.mark.parametrize("padding_idx", [None, 3])
@pytest.mark.parametrize("mode", [["mean", "max"], ("max", "sqrtn", "sum", "mean"), ["sum", "mean"]])
def test_several_modes_are_those_of_each_side_by_side(mode, padding_idx, per_sample_weights, dtype):
    X, options = random_csr(seed=4), {"padding_idx": padding_idx, "per_sample_weights": per_sample_weights}
    options |= {"init": random_table(dtype=dtype), "dtype": dtype}
    each = [EmbeddingBagVectorizer(mode=one, **options).fit_transform(X) for one in mode]
    many = EmbeddingBagVectorizer(mode=mode, **options)
    tolerance = 1e-5 if dtype == "float32" else 1e-13  # where zeros are stored, others are added up together
    np.testing.assert_allclose(many.fit_transform(X), np.hstack(each), rtol=tolerance, atol=tolerance)
    names = many.get_feature_names_out().tolist()
    assert names == [f"embeddingbagvectorizer_{one}{k}" for one in mode for k in range(5)]


@pytest.mark.parametrize("dim", [1, 300])
@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("mode", ["sum", "mean", "sqrtn", "max", ["mean", "max"]])
def test_fields_are_the_columns_of_each_pooled_by_themselves(mode, index_dtype, dim):
    X, table = random_csr(30, 11, seed=2, index_dtype=index_dtype), random_table(11, dim)
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    edges, dense = np.cumsum([0, *FIELDS]), reference.canonical(X).toarray()
    expected = []
    for first, last in pairwise(edges):
        some = csr_array(dense[:, first:last]) if last > first else csr_array((30, 1))
        rows = table[first:last] if last > first else table[:1]
        expected.append(EmbeddingBagVectorizer(init=rows, mode=mode, dtype="float64").fit_transform(some))
    vectorizer = EmbeddingBagVectorizer(init=table, mode=mode, fields=FIELDS, dtype="float64", n_jobs=2)
    np.testing.assert_allclose(vectorizer.fit_transform(X), np.hstack(expected), rtol=1e-12, atol=1e-12)
    assert vectorizer.transform(X[:0]).shape == (0, len(expected[0][0]) * 4)
    assert len(vectorizer.get_feature_names_out()) == len(expected[0][0]) * 4


def test_fields_may_be_the_slices_of_a_column_transformer():
    X, y = load_iris(return_X_y=True, as_frame=True)
    bins = (
        KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf") if _has_quantile_method() else KBinsDiscretizer(4)
    )
    columns = ColumnTransformer(
        [("sepal", bins, list(X)[:2]), ("none", "drop", list(X)[2:3]), ("petal", clone(bins), list(X)[2:])]
    )
    encoded = columns.fit_transform(X)
    by_name = EmbeddingBagVectorizer(3, fields=columns.output_indices_, random_state=0)
    by_count = EmbeddingBagVectorizer(3, fields=[8, 8], random_state=0)
    np.testing.assert_array_equal(by_name.fit_transform(encoded), by_count.fit_transform(encoded))
    assert by_name.get_feature_names_out()[[0, 3]].tolist() == [
        "embeddingbagvectorizer_sepal_0", "embeddingbagvectorizer_petal_0",
    ]  # fmt: skip
    model = EmbeddingBagClassifier(fields=columns.output_indices_, random_state=0).fit(encoded, y)
    assert model.score(encoded, y) > 0.9


def _has_quantile_method():
    return "quantile_method" in KBinsDiscretizer().get_params()


def test_weights_that_are_extreme_are_seen_by_the_modes_that_do_not_mind():
    X, table = csr_array([[1e300, 2e300, 0], [1e-300, 1e-300, 1e-300]]), random_table(3, 4)
    for mode in (["sum", "sqrtn"], ["sqrtn", "mean", "max"]):
        each = [EmbeddingBagVectorizer(init=table, mode=one, dtype="float64").fit_transform(X) for one in mode]
        many = EmbeddingBagVectorizer(init=table, mode=mode, dtype="float64").fit_transform(X)
        np.testing.assert_array_equal(many, np.hstack(each))
        assert np.isfinite(many).all()


def test_embedding_bag_takes_several_modes():
    rng = np.random.default_rng(0)
    table, ids, offsets = random_table(20, 7), rng.integers(0, 20, 60), [0, 0, 5, 40]
    weights = rng.normal(size=60)
    weights[7] = 0  # every listed id is a member of a maximum
    many = embedding_bag(ids, table, offsets, mode=["sum", "max", "mean"], per_sample_weights=weights, max_norm=2.0)
    options = {"max_norm": 2.0}
    each = [
        embedding_bag(ids, table, offsets, mode="sum", per_sample_weights=weights, **options),
        embedding_bag(ids, table, offsets, mode="max", **options),
        embedding_bag(ids, table, offsets, mode="mean", per_sample_weights=weights, **options),
    ]
    np.testing.assert_array_equal(many, np.hstack(each))


def test_texts_are_pooled_in_several_modes():
    texts, vectors = ["cats and dogs", "stocks"], {"cats": [1.0, 0], "dogs": [0, 2.0], "stocks": [3.0, 4.0]}
    model = TextEmbeddingVectorizer(vectors, CountVectorizer(), mode=["mean", "max"])
    np.testing.assert_array_equal(model.fit_transform(texts), [[0.5, 1, 1, 2], [3, 4, 3, 4]])
    assert model.get_feature_names_out().tolist() == [
        "textembeddingvectorizer_mean0", "textembeddingvectorizer_mean1",
        "textembeddingvectorizer_max0", "textembeddingvectorizer_max1",
    ]  # fmt: skip


# --- training


@pytest.mark.usefixtures("free_layer")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_steps_are_those_of_the_oracle(spec, dtype):
    """Each layer is as wide as its blocks: test_training.py has each solver in each dtype at each width."""
    check_steps(spec, "rowwise_adagrad", dtype, {})


SOME_SPECS = [SPECS[name] for name in ("all modes", "fields, modes", "fm, fields")]


@pytest.mark.usefixtures("free_layer")
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("spec", SOME_SPECS)
def test_steps_of_solvers_are_those_of_the_oracle(spec, solver):
    check_steps(spec, solver, "float64", {})


@pytest.mark.usefixtures("free_layer")
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("solver", ["sgd", "rowwise_adagrad"])
@pytest.mark.parametrize("spec", SOME_SPECS)
def test_steps_with_options_are_those_of_the_oracle(spec, solver, options):
    check_steps(spec, solver, "float64", options)


def check_steps(spec, solver, dtype, options):
    X, table = bags(dtype), random_table(N_COLUMNS, DIM, dtype=dtype)
    y, rate = np.random.default_rng(3).permutation(np.arange(N_ROWS) % 4), 0.05
    weights = np.random.default_rng(5).uniform(0.2, 3, N_ROWS)
    if "max_norm" in options:
        table = reference.rescaled(table, 1.0).astype(dtype)
    model = start(X, y, table, solver=solver, learning_rate_init=rate, n_jobs=2, **spec, **options)
    state = 0.1 / BATCH**2
    oracle = training_reference.Model(*learnt(model), state, n_steps=model._solver_state[-1])
    model.partial_fit(X, y, sample_weight=weights)
    told = training_reference.Options(loss="softmax", solver=solver, **options)
    _epoch(oracle, X, np.eye(4)[y], weights, told, spec, rate)
    for name, actual, expected in zip(
        LEARNT, learnt(model), (oracle.table, oracle.coef, oracle.intercept), strict=True
    ):
        tolerance = TOLERANCE[dtype] * (10 if solver != "sgd" else 1)
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=name)


def _epoch(oracle, X, labels, weights, options, spec, rate):
    original = training_reference.loss_and_gradients
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            training_reference,
            "loss_and_gradients",
            lambda model, rows, *rest: loss_and_gradients(model, rows, *rest, spec),
        )
        assert training_reference.loss_and_gradients is not original
        for first in range(0, X.shape[0], BATCH):
            some = slice(first, first + BATCH)
            training_reference.step(oracle, reference.canonical(X)[some], labels[some], weights[some], options, rate)


@pytest.mark.usefixtures("free_layer")
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_step_of_a_factorization_machine_is_that_of_torch(dtype):
    torch = pytest.importorskip("torch", reason="needs torch")
    X, table = reference.canonical(bags(dtype)), random_table(N_COLUMNS, DIM, dtype=dtype)
    y = np.random.default_rng(3).permutation(np.arange(N_ROWS) % 2)
    model = start(X, y, table, mode="sum", interaction="fm", solver="sgd", learning_rate_init=0.1, batch_size=N_ROWS)
    weight, coef, intercept = (torch.tensor(np.array(array), requires_grad=True) for array in learnt(model))
    dense = torch.tensor(X.toarray().astype(dtype))
    total = dense @ weight
    pairs = (total**2 - dense**2 @ weight**2) / 2
    logits = torch.hstack([total, pairs]) @ coef.T + intercept
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], torch.tensor(y.astype(dtype)))
    loss.backward()
    np.testing.assert_allclose(model.decision_function(X), logits.detach().numpy()[:, 0], rtol=1e-5, atol=1e-5)
    model.partial_fit(X, y)
    for array, parameter in zip(learnt(model), (weight, coef, intercept), strict=True):
        expected = (parameter - 0.1 * parameter.grad).detach().numpy()
        np.testing.assert_allclose(array, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("estimator", [EmbeddingBagClassifier, EmbeddingBagRegressor])
def test_predictions_are_the_layer_of_the_features(estimator, spec):
    X, y = bags("float32"), np.arange(N_ROWS) % 3
    model = estimator(4, random_state=0, max_iter=3, **spec).fit(X, y)
    features = model.transform(X)
    width = np.size(modes_of(spec)) + ("interaction" in spec)
    width *= 4 * len(spec.get("fields", [0]))
    assert features.shape == (N_ROWS, width)
    assert len(set(model.get_feature_names_out())) == width
    expected = np.array([
        pooled(bag, model.embeddings_.astype(float), spec)[1].ravel() for bag in reference.bags_of_csr(X)
    ])  # fmt: skip
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)
    outputs = features @ model.coefs_[0] + model.intercepts_[0]
    found = model.predict(X) if estimator is EmbeddingBagRegressor else model.decision_function(X)
    np.testing.assert_allclose(np.squeeze(outputs), found, rtol=1e-4, atol=1e-4)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    same = clone(model).set_params(n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(same.embeddings_, model.embeddings_)
    frozen = clone(model).set_params(freeze=True).fit(X, y)
    assert frozen.coefs_[0].shape == model.coefs_[0].shape


def test_what_stops_early_sees_the_blocks():
    X, y = bags("float32"), np.arange(N_ROWS) % 2
    for spec in (SPECS["fields, modes"], SPECS["fm, fields"]):
        model = EmbeddingBagClassifier(4, random_state=0, early_stopping=True, validation_fraction=0.3, **spec).fit(
            X, y
        )
        given = clone(model).fit(X, y, X_val=X, y_val=y)
        assert len(given.validation_scores_) == given.n_iter_
        probability = given.predict_proba(X)[np.arange(N_ROWS), y]
        np.testing.assert_allclose(given.best_validation_score_, np.log(probability).mean(), rtol=1e-4)


def test_a_search_goes_over_modes_and_interactions():
    X, y = load_iris(return_X_y=True)
    bins = (
        KBinsDiscretizer(5, quantile_method="averaged_inverted_cdf") if _has_quantile_method() else KBinsDiscretizer(5)
    )
    model = make_pipeline(bins, EmbeddingBagClassifier(8, random_state=0))
    grid = {
        "embeddingbagclassifier__mode": ["sum", ["mean", "max"]], "embeddingbagclassifier__fields": [None, [5] * 4],
    }  # fmt: skip
    search = GridSearchCV(model, grid, cv=2).fit(X, y)
    assert search.best_score_ > 0.85


def test_a_factorization_machine_learns_what_no_sum_can():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2, (400, 2))
    X, y = OneHotEncoder().fit_transform(values), values[:, 0] ^ values[:, 1]
    options = {"random_state": 0, "max_iter": 60, "mode": "sum"}
    assert EmbeddingBagClassifier(8, **options).fit(X, y).score(X, y) < 0.8
    assert EmbeddingBagClassifier(8, interaction="fm", **options).fit(X, y).score(X, y) == 1


@pytest.mark.parametrize("options", [{}, {"hidden_layer_sizes": 8}], ids=str)
@pytest.mark.parametrize("given", [None, 0.1, 10])
def test_a_factorization_machine_follows_the_scale_of_x_and_of_the_table(options, given):
    rng = np.random.default_rng(0)
    X = csr_array((rng.random((900, 100)) < 0.3).astype(np.float32))
    y = X @ rng.standard_normal(100)
    options = {"random_state": 0, "interaction": "fm", **options}
    if given is not None:
        options["init"] = given * rng.standard_normal((100, 16)).astype(np.float32)
    for mode, scale in (("sum", 1), ("sum", 0.01 if given else 1e5), ("sqrtn", 1)):
        some = (X * np.float32(scale))[:600], (X * np.float32(scale))[600:]
        assert EmbeddingBagRegressor(16, mode=mode, **options).fit(some[0], y[:600]).score(some[1], y[600:]) > 0.85
        classes = (y > np.median(y)).astype(int)
        model = EmbeddingBagClassifier(16, mode=mode, **options).fit(some[0], classes[:600])
        assert model.score(some[1], classes[600:]) > 0.8


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_factorization_machine_of_long_rows_is_drawn_again(dtype):
    """Its rows are drawn shorter than those of other models, and a saved or compact one knows that."""
    X, y = random_csr(60, 40, dtype="float32", seed=1), np.arange(60) % 3
    X = csr(30 * X.data, X.indices, X.indptr, 2000)
    model = EmbeddingBagClassifier(8, mode="sum", interaction="fm", dtype=dtype, random_state=0, max_iter=1).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    plain = EmbeddingBagClassifier(8, mode="sum", dtype=dtype, random_state=0, max_iter=1).fit(X, y)
    unnamed, drawn = (np.abs(np.asarray(some.embeddings_[40:])).max() for some in (model, plain))
    assert 0 < unnamed < drawn / 10
    assert len(pickle.dumps(model)) < 10_000
    _, columns = model.compact()
    assert columns.tolist() == np.unique(X.indices).tolist()


def test_a_stream_of_a_factorization_machine_goes_on_as_it_began():
    """Whether its rows were drawn, and so are shorter, is what was, and not what ``init`` says by then."""
    X, y = random_csr(60, 40, dtype="float32", seed=1) * np.float32(30), np.arange(60) % 3
    models = []
    for init in ("uniform", np.ones((40, 8), np.float32)):
        model = EmbeddingBagClassifier(8, mode="sum", interaction="fm", random_state=0).partial_fit(
            X, y, classes=[0, 1, 2]
        )
        models.append(model.set_params(init=init).partial_fit(X, y))
    for array, expected in zip(learnt(models[1]), learnt(models[0]), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_rows_of_a_table_that_are_too_long_for_an_interaction_are_warned_about():
    X, y = random_csr(60, 40, dtype="float32"), np.arange(60) % 3
    table = np.full((40, 8), 1e4, np.float32)
    with pytest.warns(UserWarning, match="with an interaction and this X: divide init by their length"):
        EmbeddingBagClassifier(8, init=table, interaction="fm", max_iter=1).fit(X, y)


# --- why


@pytest.mark.parametrize("spec", [spec for spec in SPECS.values() if "interaction" not in spec])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_contributions_add_up_to_outputs(n_classes, spec):
    X, y = reference.canonical(bags("float64")), np.arange(N_ROWS) % n_classes
    model = EmbeddingBagClassifier(4, random_state=0, dtype="float64", **spec).fit(X, y)
    found, outputs = model.contributions(X), model.decision_function(X)
    for k, each in enumerate([found] if n_classes == 2 else found):
        assert each.nnz == np.count_nonzero(X.data) or "max" not in str(spec)
        total = each.sum(axis=1) + model.intercepts_[0][k]
        np.testing.assert_allclose(total, outputs if n_classes == 2 else outputs[:, k], rtol=1e-10, atol=1e-12)
    mine = model.contributions(X, model.predict(X))
    sign = np.where(model.predict(X) == 1, 1, -1)
    own = sign * outputs if n_classes == 2 else outputs.max(axis=1)
    start = sign * model.intercepts_[0] if n_classes == 2 else model.intercepts_[0][model.predict(X)]
    np.testing.assert_allclose(mine.sum(axis=1) + start, own, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_strength_of_a_column_is_what_it_adds_alone(spec):
    X, y = bags("float64"), np.arange(N_ROWS) % 2
    model = EmbeddingBagClassifier(4, random_state=0, dtype="float64", **spec).fit(X, y)
    alone = model.decision_function(np.eye(N_COLUMNS)) - model.intercepts_[0]
    top = dict(model.top_features(N_COLUMNS)[1])
    np.testing.assert_allclose([top[k] for k in range(N_COLUMNS)], alone, rtol=1e-10, atol=1e-12)
    if "interaction" in spec:
        assert not hasattr(model, "feature_importances_")
    else:
        np.testing.assert_allclose(model.feature_importances_, np.abs(alone), rtol=1e-8, atol=1e-8)


def test_models_leave_where_the_others_have_what_they_need():
    X, y = bags("float64"), np.arange(N_ROWS) % 2
    model = EmbeddingBagClassifier(4, random_state=0, dtype="float64", **SPECS["fields"]).fit(X, y)
    np.testing.assert_allclose(model.to_linear().decision_function(X), model.decision_function(X), rtol=1e-8)
    small, columns = model.compact(5)
    assert sum(small.fields) == 5
    kept = np.zeros(N_COLUMNS)
    kept[columns] = 1
    rows = reference.canonical(X).toarray()
    np.testing.assert_allclose(
        small.decision_function(rows[:, columns]), model.decision_function(rows * kept), rtol=1e-10
    )
    for name in ("mean, max", "fields, modes", "fm"):
        other = EmbeddingBagClassifier(4, random_state=0, **SPECS[name]).fit(X, y)
        with pytest.raises(ValueError, match="to_linear needs"):
            other.to_linear()
        with pytest.raises(ValueError, match="to_state_dict needs one mode"):
            other.to_state_dict()
    with pytest.raises(ValueError, match="contributions needs interaction=None"):
        other.contributions(X)
    arrays = EmbeddingBagClassifier(4, random_state=0).fit(X, y).to_state_dict()
    with pytest.raises(ValueError, match="one mode, without fields and interaction"):
        EmbeddingBagClassifier.from_state_dict(arrays, mode="mean", interaction="fm")


# --- bad input


@pytest.mark.parametrize("mode", ["median", [], ["mean", "mean"], ["mean", 3], ["mean", "median"], {"mean"}, None])
@pytest.mark.parametrize("estimator", [EmbeddingBagVectorizer, EmbeddingBagClassifier, EmbeddingBagRegressor])
def test_modes_that_there_are_not(estimator, mode):
    model = estimator(4, mode=mode)
    with pytest.raises(ValueError, match="mode"):
        model.fit(bags(), np.arange(N_ROWS) % 2)
    assert not hasattr(model, "embeddings_")


def test_embedding_bag_names_the_mode():
    with pytest.raises(ValueError, match=r"mode must be a list of different modes, got \['sum', 'sum'\]"):
        embedding_bag([[0]], np.eye(2), mode=["sum", "sum"])
    with pytest.raises(ValueError, match=r"mode must be one of .* got \['sum', 'median'\]"):
        embedding_bag([[0]], np.eye(2), mode=["sum", "median"])


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ([3, 4], ValueError, r"add up to the number of columns of X, 11, got \[3, 4\], which is 7"),
        ([], ValueError, "at least one"),
        ([12, -1], ValueError, "none of them negative"),
        ([5.5, 5.5], TypeError, "numbers of columns"),
        ("words", TypeError, "numbers of columns"),
        (11, TypeError, "numbers of columns"),
        ({"a": slice(0, 6), "b": slice(5, 11)}, ValueError, r"fields\['b'\] begins at column 5, and overlaps"),
        ({"a": slice(0, 4), "b": slice(6, 11)}, ValueError, "no column out: 4 to 5"),
        ({"a": slice(0, 4)}, ValueError, "must end where the columns of X do, at 11, got 4"),
        ({"a": [0, 4]}, TypeError, r"fields\['a'\] must be a slice"),
        ({"a": slice(0, 11, 2)}, TypeError, r"fields\['a'\] must be a slice"),
        ({"a": slice(None, 11)}, TypeError, r"fields\['a'\] must be a slice"),
    ],
)
def test_fields_that_cannot_be(fields, error, words):
    for model in (EmbeddingBagVectorizer(4), EmbeddingBagClassifier(4)):
        X, y = bags(), np.arange(N_ROWS) % 2
        model.fit(X, y)
        before = pickle.dumps(model.embeddings_)
        with pytest.raises(error, match=words):
            model.set_params(fields=fields).fit(X, y)
        assert pickle.dumps(model.embeddings_) == before


@pytest.mark.parametrize("by_name", [True, False])
def test_fields_of_an_encoder_that_is_fitted_again(by_name):
    """A fold without a rare category has fewer columns: the error says so, and the way out that it names works."""
    rows = np.array([["red", "long"], ["red", "round"], ["green", "long"], ["green", "round"]] * 5 + [["blue", "long"]])
    y = rows[:, 0] == "red"

    def encoder(categories="auto"):
        some = [categories[:1], categories[1:]] if categories != "auto" else [categories] * 2
        parts = [OneHotEncoder(categories=c, handle_unknown="ignore") for c in some]
        return ColumnTransformer([("colour", parts[0], [0]), ("shape", parts[1], [1])])

    fields = encoder().fit(rows).output_indices_ if by_name else [3, 2]
    classifier = EmbeddingBagClassifier(4, fields=fields, max_iter=30, random_state=0)
    make_pipeline(encoder(), classifier).fit(rows, y)
    with pytest.raises(ValueError, match=r"fields must .* 4.* 5.*fitted again .* OneHotEncoder\(categories=\.\.\.\)"):
        make_pipeline(encoder(), classifier).fit(rows[:-1], y[:-1])
    whole = make_pipeline(encoder([np.unique(column) for column in rows.T]), classifier)
    assert whole.fit(rows[:-1], y[:-1]).score(rows, y) == 1


def test_interactions_that_cannot_be():
    X, y = bags(), np.arange(N_ROWS) % 2
    for mode in ("max", ["sum", "mean"]):
        with pytest.raises(ValueError, match="interaction='fm' needs one mode"):
            EmbeddingBagClassifier(4, interaction="fm", mode=mode).fit(X, y)
    with pytest.raises(ValueError, match="interaction"):
        EmbeddingBagClassifier(4, interaction="pairs").fit(X, y)
    model = EmbeddingBagClassifier(4, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match=r"embeddings_ must have the shape .* Are mode, fields and interaction what"):
        model.set_params(mode=["mean", "max"]).predict(X)
    X.indices[X.indptr[3]] = 99
    with pytest.raises(ValueError, match="row 3"):
        EmbeddingBagVectorizer(4, fields=FIELDS).fit(X)


# --- devices


@pytest.mark.parametrize("mode", ["sum", ["sqrtn", "max", "sum"]])
@pytest.mark.parametrize("fields", [None, FIELDS])
def test_a_vectorizer_pools_the_same_on_every_device(device, fields, mode):
    X, table = random_csr(6, N_COLUMNS, seed=3, dtype="float32"), random_table(N_COLUMNS, DIM, dtype="float32")
    options = {"init": table, "mode": mode, "fields": fields, "padding_idx": 2}
    expected = EmbeddingBagVectorizer(**options).fit_transform(X)
    found = EmbeddingBagVectorizer(device=device, **options).fit_transform(X)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
