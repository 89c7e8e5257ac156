"""What users give instead of a matrix or classes, and what they are told."""

import re
from collections import UserList

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from helpers import random_csr
from scipy.sparse import csr_array, hstack, random_array
from sklearn.base import clone
from test_classifier_bad_input import METHODS, N_COLUMNS, N_ROWS, classifier, refuses

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor, EmbeddingBagVectorizer, bags_to_csr, embedding_bag


@pytest.fixture
def X():  # noqa: N802
    return random_csr(N_ROWS, N_COLUMNS, dtype="float32")


@pytest.fixture
def y():
    return np.random.default_rng(0).permutation(np.arange(N_ROWS) % 3)


TEXTS = ["a text", "another", "a third"]
COLUMNS_OF = {
    "list": list, "tuple": tuple, "array": np.array, "objects": lambda rows: np.array(rows, object),
    "pandas": pd.Series, "polars": pl.Series, "Arrow": pa.array,
}  # fmt: skip


@pytest.mark.parametrize("column", COLUMNS_OF)
@pytest.mark.parametrize("estimator", [EmbeddingBagClassifier(2), EmbeddingBagRegressor(2), EmbeddingBagVectorizer(2)])
def test_texts_need_a_vectorizer(estimator, column):
    X = COLUMNS_OF[column](TEXTS)
    with refuses(ValueError, "X must be a matrix", "a text", "make_pipeline(TfidfVectorizer()"):
        estimator.fit(X, [0, 1, 2])
    fitted = clone(estimator).fit(np.eye(3), [0, 1, 2])
    with refuses(ValueError, "X must be a matrix", "a text", "make_pipeline(TfidfVectorizer()"):
        fitted.transform(X)


@pytest.mark.parametrize("column", ["list", "pandas", "polars", "Arrow"])
def test_lists_of_ids_and_of_tokens_need_a_matrix(column):
    ids, tokens = COLUMNS_OF[column]([[0, 1], [2], []]), COLUMNS_OF[column]([["a", "b"], ["c"], []])
    with refuses(ValueError, "X must be a matrix", "skbag.bags_to_csr(X, num_embeddings="):
        EmbeddingBagClassifier(2).fit(ids, [0, 1, 2])
    with refuses(ValueError, "X must be a matrix", "lists of tokens", "TfidfVectorizer(analyzer=list)"):
        EmbeddingBagClassifier(2).fit(tokens, [0, 1, 2])


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("estimator", [EmbeddingBagClassifier(2), EmbeddingBagRegressor(2), EmbeddingBagVectorizer(2)])
def test_columns_of_categories_need_an_encoder(estimator, frame):
    columns = {"age": [1, 2, 3], "work": ["Private", "State", "Private"]}
    table = frame(columns)
    place = "'Private' in row 0, column 'work'"
    with refuses(ValueError, "X must be a matrix of numbers", place, "OneHotEncoder("):
        estimator.fit(table, [0, 1, 2])
    fitted = clone(estimator).fit(frame({"age": [1, 2, 3], "work": [0, 1, 0]}), [0, 1, 2])
    with refuses(ValueError, place, "OneHotEncoder("):
        fitted.transform(table)
    for array in np.array([["a", "b"]] * 3), np.array([["1", "b"]] * 3, object):
        with refuses(
            ValueError, "'b' in row 0, column 1" if array.dtype == object else "'a' in row 0", "OneHotEncoder"
        ):
            estimator.fit(array, [0, 1, 2])
    kind = {"pandas": "category", "polars": pl.Categorical}[frame.__module__.partition(".")[0]]
    one = frame(
        {
            "work": pd.Series(columns["work"], dtype=kind)
            if kind == "category"
            else pl.Series(columns["work"], dtype=kind)
        }
    )
    with refuses(ValueError, "a column of categories", "OneHotEncoder("):
        estimator.fit(one, [0, 1, 2])
    both = one.assign(age=1) if kind == "category" else one.with_columns(age=1)
    with refuses(ValueError, place, "OneHotEncoder("):
        estimator.fit(both, [0, 1, 2])


@pytest.mark.parametrize("fields", [None, [1, 2]])
@pytest.mark.parametrize("estimator", [EmbeddingBagClassifier(2), EmbeddingBagVectorizer(2)])
def test_nan_in_a_data_frame_names_its_column(estimator, fields):
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0], "size": [1.0, np.nan, 1.0], "sum": [1.0, 1.0, 1.0]})
    estimator = clone(estimator).set_params(fields=fields)
    with refuses(ValueError, "Input X contains NaN in row 1", "at id 1, which is column 'size'."):
        estimator.fit(frame, [0, 1, 2])
    fitted = clone(estimator).fit(frame.fillna(2.0), [0, 1, 2])
    with refuses(ValueError, "Input X contains NaN in row 1", "at id 1, which is column 'size'."):
        fitted.transform(frame)


def test_rows_of_categories_look_like_lists_of_tokens():
    with refuses(ValueError, "lists of tokens", "If they are rows of categories", "OneHotEncoder(", "analyzer=list"):
        EmbeddingBagClassifier(2).fit([["red", "round"], ["red", "long"]], [0, 1])


def test_ids_that_are_none():
    weight = np.arange(10.0).reshape(5, 2)
    for ids, words in (
        (csr_array(np.eye(2)), "a sparse matrix, whose rows are bags for EmbeddingBagVectorizer(init=weight)"),
        ((ids for ids in [[0, 1]]), "got generator"),
        (pd.DataFrame({"a": [1, None], "b": [3, 4]}, dtype="Int64"), "got NAType, <NA>"),
        ([["a", "b"]], "got dtype('<U1')"),
    ):
        for call in (lambda: embedding_bag(ids, weight), lambda: bags_to_csr(ids, num_embeddings=5)):  # noqa: B023
            with refuses(TypeError, "input must contain integers", words):
                call()
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    np.testing.assert_array_equal(embedding_bag(frame.astype("Int64"), weight), embedding_bag(frame, weight))
    np.testing.assert_array_equal(embedding_bag([{1, 3}, {2, 4}], weight), embedding_bag([[1, 3], [2, 4]], weight))


@pytest.mark.parametrize(
    "y",
    [
        [["a"], ["b", "c"], []], [("a", "b"), ("a", "c"), ("b", "c")], [{"a"}, {"b"}, set()], [[0], [1, 2], []],
        pd.Series([["a"], ["b"], ["a", "b"]]), np.array([["a"], ["b", "c"], []], object),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("method", METHODS)
def test_lists_of_labels_need_a_binarizer(y, method):
    model = EmbeddingBagClassifier(2)
    with refuses(ValueError, "y must be classes, or an indicator matrix", "MultiLabelBinarizer().fit_transform(y)"):
        getattr(model, method)(np.eye(3), y, **({"classes": ["a", "b", "c"]} if method == "partial_fit" else {}))


@pytest.mark.parametrize("labels", [[["a", "b"], ["a"], ["c"]], [[1, 2], [1], [3]], [["a"], ["b"], ["c"]]])
def test_columns_of_lists_of_labels(labels):
    for y in pl.Series(labels), pa.array(labels), pa.chunked_array([labels]), pd.Series(labels):
        with refuses(ValueError, "y must be classes, or an indicator", repr(labels[0]), "MultiLabelBinarizer()"):
            EmbeddingBagClassifier(2).fit(np.eye(3), y)


class Keyed(UserList):
    """As gensim's KeyedVectors are: with a length and an index of words."""

    key_to_index = {"cat": 0}  # noqa: RUF012


@pytest.mark.parametrize(
    "words", [{"cat": [1.0, 2.0]}, Keyed([1]), "vectors.vec"], ids=["dict", "KeyedVectors", "path"]
)
def test_vectors_of_words_as_a_table(words):
    """Their rows follow no columns: what makes the table is named."""
    for call in (
        lambda: EmbeddingBagClassifier(init=words).fit(np.eye(3), [0, 1, 0]),
        lambda: EmbeddingBagVectorizer.from_pretrained(words),
    ):
        with refuses(ValueError, "must be", "skbag.text.align("):
            call()


def test_a_frame_of_one_column():
    for column, words in (["a text", "another"], "texts"), ([[0, 1], [2]], "lists of ids"), ([["a"], ["b"]], "tokens"):
        with refuses(ValueError, "X must be a matrix", words):
            EmbeddingBagClassifier(2).fit(pd.DataFrame({"c": column}), [0, 1])
    frame = pd.DataFrame({"ids": [[0, 1], [2]]})
    assert bags_to_csr(frame, num_embeddings=3).toarray().tolist() == [[1, 1, 0], [0, 0, 1]]
    EmbeddingBagVectorizer(2).fit(pd.DataFrame({"c": [1.5, 2.0]}))
    with refuses(ValueError, "masked"):
        bags_to_csr(np.ma.array([[1, 2]], mask=[[0, 1]]), num_embeddings=3)


def test_one_hot_rows_are_labels_and_a_warning_says_so(X, y):
    with pytest.warns(UserWarning, match=re.escape("each of its 3 columns is a label")) as caught:
        model = classifier().fit(X, np.eye(3)[y])
    assert caught[0].filename == __file__
    assert model.predict(X).shape == (N_ROWS, 3)
    model.partial_fit(X, np.eye(3)[y])  # it was said
    classifier().fit(X[:4], np.eye(3)[y][:4])  # so few may be labels


def test_columns_of_another_scale_are_warned_about():
    rng = np.random.default_rng(0)
    words = random_array((300, 500), density=0.04, rng=rng, format="csr", dtype=np.float32)
    numbers, y = rng.uniform(100, 1000, (300, 3)).astype(np.float32), np.arange(300) % 2
    X = hstack([words, numbers], format="csr")
    for mode in ("mean", "sqrtn"):
        with pytest.warns(UserWarning, match="3 of the columns of X, like column 50[012], hold"):
            classifier(mode=mode).fit(X, y)
    classifier(mode="sum").fit(X, y)
    classifier(mode="max").fit(X, y)
    classifier(per_sample_weights=False).fit(X, y)
    classifier().fit(hstack([words, numbers / 1000], format="csr"), y)
    counts = words.astype(bool).astype(np.float32)
    stop_words = rng.poisson(8, (300, 3)).astype(np.float32) + 1  # frequent, and of the scale of the others
    classifier().fit(hstack([counts, stop_words], format="csr"), y)
    classifier().fit(csr_array(X.shape, dtype=np.float32), y)


def test_one_amount_beside_categories_is_warned_about():
    rng = np.random.default_rng(0)
    codes, ages, y = rng.integers(0, 5, (200, 8)), rng.integers(17, 90, (200, 1)), np.arange(200) % 2
    categories = csr_array(np.eye(5)[codes].reshape(200, -1))
    with pytest.warns(UserWarning, match="1 of the columns of X, like column 40, hold"):
        classifier(mode="mean").fit(hstack([categories, ages], format="csr"), y)
    classifier(mode="mean").fit(hstack([categories, ages / 90], format="csr"), y)
    padded = hstack([ages, categories], format="csr")  # padding is no member
    classifier(mode="mean", padding_idx=0).fit(padded, y)


@pytest.mark.parametrize("as_given", [np.asarray, np.ndarray.tolist, lambda ids: ids.astype(np.float64)])
def test_ids_taken_for_values_are_warned_about(as_given):
    ids, y = np.random.default_rng(0).integers(0, 50, (60, 4)), np.arange(60) % 2
    for fit in (lambda X: classifier(mode="sum").fit(X, y), EmbeddingBagVectorizer(2).fit):
        with pytest.warns(UserWarning, match=r"whole numbers up to 4\d in 4 columns.*bags_to_csr") as caught:
            fit(as_given(ids))
        assert caught[0].filename == __file__
        for other in (ids / 50, ids % 2, ids - 20, bags_to_csr(ids, num_embeddings=50)):  # no ids, or a matrix of them
            fit(other)


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_sums_beyond_what_training_follows_are_warned_about(factor):
    rng = np.random.default_rng(0)
    X, y = rng.random((60, 9)), np.arange(60) % 2
    with pytest.warns(UserWarning, match="The values of X make sums that are (above 1e\\+06|below 1e-06)"):
        classifier(mode="sum").fit(X * factor, y)
    classifier(mode="sum").fit(X, y)
    classifier(mode="sqrtn").fit(X * factor, y)


def test_a_threshold_has_no_effect_with_classes_and_a_warning_says_so(X, y):
    with pytest.warns(UserWarning, match="threshold=0.1 is for label indicators"):
        model = classifier(threshold=0.1).fit(X, y)
    model.partial_fit(X, y)  # it was said
    classifier(threshold=0.1).fit(X, np.tile([[1, 0], [0, 1], [1, 1]], (N_ROWS, 1))[:N_ROWS])


def test_dates_are_no_numbers():
    dates = np.array([["2020-01-01"], ["2020-01-02"]], "M8[s]")
    for X in (dates, dates - dates[0], pd.DataFrame({"day": dates[:, 0]})):
        with refuses(ValueError, "X must be a matrix of numbers, got the dtype"):
            EmbeddingBagClassifier(2).fit(X, [0, 1])


def test_bags_without_a_list_and_with_names_say_what_to_do():
    for missing in (None, float("nan"), pd.NA):
        with refuses(ValueError, "for bag 1. A bag without ids is []."):
            bags_to_csr(pd.Series([[1], missing]), num_embeddings=3)
    with refuses(ValueError, "['a', 'b'] for bag 0", "CountVectorizer(analyzer=list)"):
        bags_to_csr([["a", "b"], ["c"]], num_embeddings=3)
    frame = pd.DataFrame({"tags": [["a", "b"], ["c"]]})
    with refuses(ValueError, "analyzer=list", "the column alone, X['tags']"):
        EmbeddingBagClassifier(2).fit(frame, [0, 1])


def test_tables_of_the_other_byte_order():
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    swapped = table.astype(table.dtype.newbyteorder())
    np.testing.assert_array_equal(embedding_bag([[0, 2]], swapped), embedding_bag([[0, 2]], table))
