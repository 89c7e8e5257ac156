"""Bags of different lengths as people have them."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from helpers import random_table

from skbag import bags_to_csr, embedding, embedding_bag

BAGS = [[0, 4, 2], [], [5], [1, 1], []]
WEIGHTS = [[1.0, 2.0, -0.5], [], [0.25], [3.0, 1.0], []]
TABLE = random_table(6, 3)


def objects(rows, dtype=None):
    column = np.empty(len(rows), object)
    column[:] = [np.array(row, dtype) if dtype else row for row in rows]
    return column


def awkward(rows):
    return pytest.importorskip("awkward").Array(rows)


COLUMNS = {
    "lists": list,
    "tuples": lambda rows: tuple(map(tuple, rows)),
    "arrays": lambda rows: [np.array(row) for row in rows],  # the empty ones are of floats
    "object array of lists": objects,
    "object array of arrays": lambda rows: objects(rows, "float32" if rows is WEIGHTS else "uint16"),
    "pandas": pd.Series,
    "pandas with an index": lambda rows: pd.Series(rows, index=list("vwxyz")),
    "pandas of Arrow": lambda rows: pd.Series(pa.array(rows), dtype=pd.ArrowDtype(pa.array(rows).type)),
    "polars": lambda rows: pl.Series(rows),
    "Arrow": pa.array,
    "Arrow, large": lambda rows: pa.array(rows, pa.large_list(pa.array(rows).type.value_type)),
    "Arrow, sliced": lambda rows: pa.array([[9], *rows, [7, 7]]).slice(1, len(rows)),
    "Arrow, in pieces": lambda rows: pa.chunked_array([pa.array(rows[:2], pa.array(rows).type), pa.array(rows[2:])]),
    "awkward": awkward,
}


@pytest.mark.parametrize("mode", ["sum", "mean", "sqrtn", "max"])
@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_of_lists_is_ids_and_offsets(column, mode):
    ids, offsets = np.concatenate(BAGS).astype(int), [0, 3, 3, 4, 6]
    weights = None if mode == "max" else COLUMNS[column](WEIGHTS)
    flat = None if mode == "max" else np.concatenate(WEIGHTS)
    expected = embedding_bag(ids, TABLE, offsets, mode=mode, per_sample_weights=flat)
    actual = embedding_bag(COLUMNS[column](BAGS), TABLE, mode=mode, per_sample_weights=weights)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_of_lists_as_a_matrix_and_as_rows(column):
    X = bags_to_csr(COLUMNS[column](BAGS), num_embeddings=6, per_sample_weights=COLUMNS[column](WEIGHTS))
    expected = np.zeros((5, 6))
    for row, (ids, weights) in enumerate(zip(BAGS, WEIGHTS, strict=True)):
        np.add.at(expected[row], ids, weights)
    np.testing.assert_array_equal(X.toarray(), expected)
    ids = np.concatenate(BAGS).astype(int)
    np.testing.assert_array_equal(embedding(COLUMNS[column](BAGS), TABLE), TABLE[ids])


@pytest.mark.parametrize("column", set(COLUMNS) - {"lists", "tuples", "arrays"})
def test_lists_of_one_length_and_no_lists(column):
    rows, weights = [[0, 1], [2, 3], [4, 5], [0, 0], [1, 2]], [[1.0, 2.0]] * 5
    expected = embedding_bag(rows, TABLE, mode="sum", per_sample_weights=weights)
    # a weight may come in another form than the ids
    actual = embedding_bag(COLUMNS[column](rows), TABLE, mode="sum", per_sample_weights=weights)
    np.testing.assert_array_equal(actual, expected)
    actual = embedding_bag(rows, TABLE, mode="sum", per_sample_weights=COLUMNS[column](weights))
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    ("ids", "error", "words"),
    [
        ([[0, 1], None], ValueError, "got None for bag 1"),
        (pd.Series([[0, 1], np.nan]), ValueError, "got nan for bag 1"),
        (pa.array([[0], None]), ValueError, "got null for bag 1"),
        (pa.array([[0], [1, None]]), ValueError, "input contains null at position 2"),
        (pl.Series([[0], None]), ValueError, "got null for bag 1"),
        ([[0], ["a", "b"]], ValueError, "got ['a', 'b'] for bag 1"),
        ([[0], [[1], [2]]], ValueError, "for bag 1"),
        (objects([[0], [1.5, 2.0]]), TypeError, "input must contain integers, got dtype('float64')"),
        (pd.Series([[0], "ab"]), ValueError, "got 'ab' for bag 1"),
        ([[0, 1], [6]], ValueError, "input contains the id 6 in row 1"),
        ([[0, 1], [-1]], ValueError, "input contains the id -1 in row 1"),
        (pa.array([1.5, 2.5]), TypeError, "input must contain integers"),
        (pd.Series([0, 1]), ValueError, "offsets must be given for a 1-D input"),
    ],
    ids=str,
)
def test_bad_columns(ids, error, words):
    with pytest.raises(error, match=re.escape(words)):
        embedding_bag(ids, TABLE)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([[1.0], [1.0, 2.0]], "got 1 weights for the 2 ids of bag 0"),
        ([[1.0, 2.0], [1.0], [3.0]], "must have the shape of input"),
        ([1.0, 2.0], "must have the shape of input"),
        ([[1.0, 2.0], [np.nan]], "per_sample_weights contains NaN in row 1"),
        ([[1.0, 2.0], ["x"]], "per_sample_weights must be a one-dimensional list of numbers"),
    ],
    ids=str,
)
def test_bad_weights(weights, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        embedding_bag([[0, 1], [2]], TABLE, mode="sum", per_sample_weights=weights)
    with pytest.raises(ValueError, match=re.escape(words)):
        bags_to_csr([[0, 1], [2]], num_embeddings=6, per_sample_weights=weights)


@pytest.mark.parametrize("weights", [[[1.0], [], [2.0, 3.0]], [[1.0, 2.0, 3.0]]], ids=str)
def test_weights_of_other_bags(weights):
    with pytest.raises(ValueError, match="must have the shape of input"):
        bags_to_csr([[1, 2], [3]], num_embeddings=5, per_sample_weights=weights)


def test_matrices_of_ids_in_frames_and_tables():
    frame = pd.DataFrame({"a": [0, 1], "b": [2, 3]})
    for ids in (frame, pl.from_pandas(frame), frame.to_numpy()):
        np.testing.assert_array_equal(embedding_bag(ids, TABLE, mode="sum"), TABLE[[0, 1]] + TABLE[[2, 3]])


def test_a_missing_bag_in_a_later_piece():
    column = pa.chunked_array([pa.array([[0], [1]]), pa.array([[2], None])])
    with pytest.raises(ValueError, match="null for bag 3"):
        embedding_bag(column, TABLE)


def test_offsets_beside_lists():
    with pytest.raises(ValueError, match="offsets must be None"):
        embedding_bag([[0, 1], [2]], TABLE, [0, 2])


def test_what_is_given_stays_as_it_is():
    column = objects(BAGS, "int64")
    for row in column:
        row.flags.writeable = False
    column.flags.writeable = False
    assert embedding_bag(column, TABLE).shape == (5, 3)
    assert embedding_bag(objects([]), TABLE).shape == (0, 3)
    assert embedding_bag([[], []], TABLE).shape == (2, 3)
    assert embedding_bag(pa.array([], pa.list_(pa.int64())), TABLE).shape == (0, 3)
