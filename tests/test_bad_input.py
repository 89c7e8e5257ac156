"""What must be refused: with the right error, a text that says where and why, and nothing changed."""

import copy
import os
import re

import corruption
import numpy as np
import pytest
from helpers import MODES, csr, random_table, run_python
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array, csc_array
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import InvalidParameterError

from skbag import EmbeddingBagClassifier, EmbeddingBagVectorizer, QuantizedTable, bags_to_csr, embedding, embedding_bag

TABLE = random_table(4, 5)
IDS = [[0, 1, 2], [3, 0, 1]]
N_CORRUPTED = int(os.environ.get("SKBAG_CORRUPTED", "600"))  # matrices of each kind; 10,000 take a minute


def refuses(error, *words):
    """Expect an error whose text has all these words, in any order."""
    pattern = "".join(f"(?=.*{word if isinstance(word, re.Pattern) else re.escape(str(word))})" for word in words)
    return pytest.raises(error, match=re.compile(pattern.replace(r"\ ", " "), re.DOTALL))


def with_parts(**parts):
    """A CSR array of 3 rows, 4 columns and members 0 1 | | 2 3 3, with some of its arrays replaced."""
    arrays = {"data": [1.0, 2, 3, 4, 5], "indices": [0, 1, 2, 3, 3], "indptr": [0, 2, 2, 5], **parts}
    X = csr(np.ones(5), np.zeros(5, np.int32), np.zeros(4, np.int32), 4)
    X.data, X.indices, X.indptr = (np.asarray(arrays[name]) for name in ("data", "indices", "indptr"))
    return X


# --- the functions


@pytest.mark.parametrize("bad", [-1, 4, 2**31 - 1, -(2**31), 2**40, -(2**63)])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_ids_out_of_range(bad, n_jobs):
    with refuses(ValueError, "input", bad, "row 1", "position 4", "less than", "4"):
        embedding_bag([[0, 1, 2], [3, bad, bad]], TABLE, n_jobs=n_jobs)
    with refuses(ValueError, "input", bad, "row 2", "position 3"):
        embedding_bag([0, 1, 2, bad], TABLE, [0, 1, 3], mode="max", max_norm=1.0, n_jobs=n_jobs)
    with refuses(ValueError, "input", bad, "row 1", "position 4"):
        bags_to_csr([[0, 1, 2], [3, bad, bad]], num_embeddings=4)
    for norm in (None, 1.0):
        with refuses(ValueError, "input", bad, "position (1, 0)", "less than", "4"):
            embedding([[0, 1], [bad, 2]], TABLE, max_norm=norm, n_jobs=n_jobs)


def test_ids_beyond_int64():
    with refuses(ValueError, "input", 2**63):
        embedding(np.array([2**63], np.uint64), TABLE)


def test_any_id_is_out_of_range_of_an_empty_table():
    with refuses(ValueError, "input", "id 0", "row 0"):
        embedding_bag([[0]], np.empty((0, 5)))


BAGS = [
    ("offsets that decrease", ValueError, ["offsets", "decrease", "3", "2"], {"offsets": [0, 3, 2]}),
    ("offsets that do not start at 0", ValueError, ["offsets", "start at 0", "1"], {"offsets": [1, 3]}),
    ("negative offsets", ValueError, ["offsets", "start at 0", "-1"], {"offsets": [-1, 3]}),
    ("offsets past the input", ValueError, ["offsets", "overrun", "7", "6"], {"offsets": [0, 7]}),
    ("no offsets", ValueError, ["offsets", "1-D"], {"offsets": None}),
    ("offsets of no bags", ValueError, ["offsets", "empty", "6"], {"offsets": []}),
    ("2-D offsets", ValueError, ["offsets", "1-D", "2-D"], {"offsets": [[0, 3]]}),
    ("0-D offsets", ValueError, ["offsets", "1-D", "0-D"], {"offsets": 0}),
    ("float offsets", TypeError, ["offsets", "integers", "float64"], {"offsets": [0.0, 3.0]}),
    ("a last offset that is short", ValueError, ["include_last_offset", "6", "5"],
     {"offsets": [0, 3, 5], "include_last_offset": True}),
    ("a last offset that overruns", ValueError, ["include_last_offset", "6", "7"],
     {"offsets": [0, 3, 7], "include_last_offset": True}),
    ("no last offset", ValueError, ["include_last_offset", "6"], {"offsets": [], "include_last_offset": True}),
    ("offsets that decrease before the last", ValueError, ["offsets", "decrease", "5", "2"],
     {"offsets": [0, 5, 2, 6], "include_last_offset": True}),
    ("offsets with 2-D ids", ValueError, ["offsets", "None", "2-D"], {"input": IDS}),
    ("0-D ids", ValueError, ["input", "0-D"], {"input": 3}),
    ("3-D ids", ValueError, ["input", "3-D"], {"input": np.zeros((1, 2, 3), int), "offsets": None}),
    ("float ids", TypeError, ["input", "integers", "float64"], {"input": np.zeros(6)}),
    ("bool ids", TypeError, ["input", "integers", "bool"], {"input": np.zeros(6, bool)}),
    ("complex ids", TypeError, ["input", "integers", "complex128"], {"input": np.zeros(6, complex)}),
    ("strings for ids", TypeError, ["input", "integers"], {"input": ["a", "b", "c"] * 2}),
    ("weights of another length", ValueError, ["per_sample_weights", "(6,)", "(5,)"], {"per_sample_weights": [1] * 5}),
    ("weights of another shape", ValueError, ["per_sample_weights", "(6,)", "(2, 3)"],
     {"per_sample_weights": np.ones((2, 3))}),
    ("complex weights", TypeError, ["per_sample_weights", "real", "complex128"], {"per_sample_weights": [1j] * 6}),
    ("strings for weights", TypeError, ["per_sample_weights", "real"], {"per_sample_weights": ["1"] * 6}),
    ("NaN for a weight", ValueError, ["per_sample_weights", "NaN", "row 1", "position 4", "id 0"],
     {"per_sample_weights": [1, 1, 1, 1, np.nan, np.nan]}),
    ("inf for a weight", ValueError, ["per_sample_weights", "infinity", "row 0", "position 2", "id 2"],
     {"per_sample_weights": [1, 1, -np.inf, 1, 1, 1]}),
]  # fmt: skip


@pytest.mark.parametrize(("error", "words", "change"), [case[1:] for case in BAGS], ids=[case[0] for case in BAGS])
def test_bags(error, words, change):
    arguments = {"input": np.ravel(IDS), "offsets": [0, 3], **change}
    with refuses(error, *words):
        embedding_bag(weight=TABLE, mode="sum", **arguments)
    with refuses(error, *words):
        bags_to_csr(num_embeddings=4, **arguments)


OPTIONS = [
    ("an unknown mode", ValueError, ["mode", "sqrtn", "median"], {"mode": "median"}),
    ("no mode", ValueError, ["mode"], {"mode": None}),
    ("weights with max", ValueError, ["per_sample_weights", "max"],
     {"mode": "max", "per_sample_weights": np.ones((2, 3))}),
    ("a padding_idx past the table", ValueError, ["padding_idx", "-4", "4", "got 4"], {"padding_idx": 4}),
    ("a padding_idx before the table", ValueError, ["padding_idx", "-4", "-5"], {"padding_idx": -5}),
    ("a float padding_idx", TypeError, ["padding_idx", "1.5"], {"padding_idx": 1.5}),
    ("a string padding_idx", TypeError, ["padding_idx"], {"padding_idx": "0"}),
    ("max_norm 0", ValueError, ["max_norm", "0"], {"max_norm": 0}),
    ("a negative max_norm", ValueError, ["max_norm", "-1"], {"max_norm": -1.0}),
    ("a NaN max_norm", ValueError, ["max_norm", "nan"], {"max_norm": np.nan}),
    ("a string max_norm", TypeError, ["max_norm"], {"max_norm": "1"}),
    ("a max_norm that no float can hold", InvalidParameterError, ["max_norm", "1.79"], {"max_norm": 10**400}),
    ("a norm_type that no float can hold", InvalidParameterError, ["norm_type", "1.79"],
     {"max_norm": 1, "norm_type": 10**400}),
    ("a padding_idx beyond int64", ValueError, ["padding_idx", "-4", "4"], {"padding_idx": -(10**400)}),
    ("norm_type 0", ValueError, ["norm_type", "0"], {"max_norm": 1, "norm_type": 0}),
    ("a negative norm_type", ValueError, ["norm_type", "-1"], {"max_norm": 1, "norm_type": -1}),
    ("a NaN norm_type", ValueError, ["norm_type", "nan"], {"max_norm": 1, "norm_type": np.nan}),
    ("an unknown device", ValueError, ["device", "cpu", "tpu"], {"device": "tpu"}),
    ("no device", ValueError, ["device"], {"device": None}),
    ("n_jobs 0", ValueError, ["n_jobs", "0"], {"n_jobs": 0}),
    ("a 1-D table", ValueError, ["weight", "(num_embeddings, embedding_dim", "(4,)"], {"weight": TABLE[:, 0]}),
    ("a 3-D table", ValueError, ["weight", "(1, 4, 5)"], {"weight": TABLE[None]}),
    ("a table of width 0", ValueError, ["weight", "(4, 0)"], {"weight": TABLE[:, :0]}),
    ("an int table", TypeError, ["weight", "float32", "float64", "int64"], {"weight": TABLE.astype(np.int64)}),
    ("a complex table", TypeError, ["weight", "complex128"], {"weight": TABLE.astype(complex)}),
    ("a table of strings", TypeError, ["weight"], {"weight": TABLE.astype(str)}),
    ("no table", TypeError, ["weight"], {"weight": None}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "words", "change"), [case[1:] for case in OPTIONS], ids=[case[0] for case in OPTIONS]
)
def test_options(error, words, change):
    with refuses(error, *words):
        embedding_bag(**{"input": IDS, "weight": TABLE, "mode": "sum", **change})
    if not {"mode", "per_sample_weights"} & set(change):
        with refuses(error, *words):
            embedding(**{"input": IDS, "weight": TABLE, **change})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("mode", ["sum", "mean", "sqrtn"])
def test_weights_that_are_not_finite_are_found_wherever_they_stand(mode, value):
    """Even where they would not show in the result: at a padded id, or at a row of zeros."""
    table = np.zeros((4, 40), "float32")
    for place in range(6):
        for options in ({}, {"padding_idx": place % 3}, {"max_norm": 1.0}):
            weights = np.ones(6)
            weights[place] = value
            with refuses(ValueError, "per_sample_weights", f"position {place}", f"id {place % 3}"):
                embedding_bag([[0, 1, 2, 0, 1, 2]], table, mode=mode, per_sample_weights=weights[None], **options)


def test_weights_too_large_for_the_table():
    with refuses(ValueError, "per_sample_weights", "float32", "row 1", "position 3", "id 3"):
        embedding_bag(IDS, TABLE.astype("float32"), mode="sum", per_sample_weights=[[1, 1, 1], [1e39, 1, 1]])
    assert np.isfinite(embedding_bag(IDS, TABLE, mode="sum", per_sample_weights=[[1, 1, 1], [1e39, 1, 1]])).all()


@pytest.mark.parametrize(
    ("bad", "error"),
    [(0, ValueError), (-1, ValueError), (2.0, TypeError), (None, TypeError), (2**63, InvalidParameterError),
     (10**400, InvalidParameterError)],
)  # fmt: skip
def test_num_embeddings(bad, error):
    with refuses(error, "num_embeddings"):
        bags_to_csr([[0]], num_embeddings=bad)


# --- X


X_CASES = [
    ("an id past the columns", ValueError, ["X", "id 4", "row 2", "position 3", "4"], {"indices": [0, 1, 2, 4, 9]}),
    ("a negative id", ValueError, ["X", "id -1", "row 0", "position 1", "4"], {"indices": [0, -1, 2, 3, -7]}),
    ("an id beyond int32", ValueError, ["X", 2**32 + 1, "row 2", "position 4"], {"indices": [0, 1, 2, 3, 2**32 + 1]}),
    ("an indptr that decreases", ValueError, ["indptr", "decrease", "2", "1", "row 1"], {"indptr": [0, 2, 1, 5]}),
    ("an indptr that starts at 1", ValueError, ["indptr", "start at 0", "1"], {"indptr": [1, 2, 2, 5]}),
    ("an indptr that starts at -1", ValueError, ["indptr", "start at 0", "-1"], {"indptr": [-1, 2, 2, 5]}),
    ("an indptr that overruns", ValueError, ["indptr", "6", "5"], {"indptr": [0, 2, 2, 6]}),
    ("an indptr that overruns far", ValueError, ["indptr", 2**62, "5"], {"indptr": [0, 2, 2, 2**62]}),
    ("an indptr that is short", ValueError, ["indptr", "4", "3"], {"indptr": [0, 2, 5]}),
    ("an indptr that is long", ValueError, ["indptr", "4", "5"], {"indptr": [0, 2, 2, 3, 5]}),
    ("no indptr", ValueError, ["indptr", "4", "0"], {"indptr": np.empty(0, int)}),
    ("float indices", TypeError, ["X.indices", "integers", "float64"], {"indices": [0.0, 1, 2, 3, 3]}),
    ("float indptr", TypeError, ["X.indptr", "integers", "float64"], {"indptr": [0.0, 2, 2, 5]}),
    ("2-D indices", ValueError, ["X.indices", "1-D", "2-D"], {"indices": [[0, 1, 2, 3, 3]]}),
    ("short indices", ValueError, ["indptr", "5", "4"], {"indices": [0, 1, 2, 3]}),
    ("short data", ValueError, ["indptr", "5", "3"], {"data": [1.0, 2, 3]}),
    ("2-D data", ValueError, ["X.data", "1-D", "2-D"], {"data": [[1.0, 2, 3, 4, 5]]}),
    ("NaN", ValueError, ["X", "NaN", "row 2", "position 4", "id 3"], {"data": [1, 2, 3, 4, np.nan]}),
    ("inf", ValueError, ["X", "infinity", "row 0", "position 1", "id 1"], {"data": [1, np.inf, 3, np.nan, -np.inf]}),
    ("inf and -inf", ValueError, ["X", "infinity", "row 0", "position 1"], {"data": [1, np.inf, 3, -np.inf, 1]}),
    ("complex", ValueError, ["omplex"], {"data": [1j, 1, 1, 1, 1]}),
    ("strings", (ValueError, TypeError), [], {"data": ["a", "b", "c", "d", "e"]}),
    ("objects", (ValueError, TypeError), [], {"data": np.array([1, None, "x", 2, 3], object)}),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(("error", "words", "parts"), [case[1:] for case in X_CASES], ids=[case[0] for case in X_CASES])
def test_transform(error, words, parts, weighted, mode):
    vectorizer = EmbeddingBagVectorizer.from_pretrained(TABLE, mode=mode, per_sample_weights=weighted)
    with refuses(error, *words):
        vectorizer.transform(with_parts(**parts))
    assert np.isfinite(vectorizer.transform(with_parts())).all()


@pytest.mark.parametrize("mode", MODES)
def test_values_too_large_for_the_table(mode):
    X = with_parts(data=[1, 2, 3, 1e39, 5])
    vectorizer = EmbeddingBagVectorizer.from_pretrained(TABLE.astype("float32"), mode=mode)
    if mode == "max":
        assert np.isfinite(vectorizer.transform(X)).all()
    else:
        with refuses(ValueError, "X", "float32", "row 2", "position 3", "id 3"):
            vectorizer.transform(X)


@pytest.mark.parametrize("weighted", [True, False])
def test_finite_values_whose_sum_is_not_are_fine(weighted):
    """Neither an error nor a warning."""
    for dtype, value in (("float32", 3e38), ("float64", 1.7e308)):
        X = with_parts(data=np.array([1, 1, value, value, 1], dtype))
        vectorizer = EmbeddingBagVectorizer.from_pretrained(TABLE, mode="max", per_sample_weights=weighted)
        assert np.isfinite(vectorizer.transform(X)).all()


@pytest.mark.parametrize("position", ["stored zero", "after the last row"])
def test_what_no_row_reads_may_be_anything_or_is_refused_but_is_never_read(position):
    """A bad id at a stored zero is refused; one past indptr[-1] belongs to no row, as in SciPy."""
    if position == "stored zero":
        for mode in MODES:
            with refuses(ValueError, "id 7", "row 0"):
                EmbeddingBagVectorizer.from_pretrained(TABLE, mode=mode).transform(
                    with_parts(data=[0, 0, 1, 1, 1], indices=[0, 7, 2, 3, 3])
                )
    else:
        X = with_parts(data=[1, 2, 3, np.nan, 5], indices=[0, 1, 2, -9, 10**6], indptr=[0, 2, 2, 3])
        for mode in MODES:
            result = EmbeddingBagVectorizer.from_pretrained(TABLE, mode=mode, per_sample_weights=False).transform(X)
            np.testing.assert_array_equal(result[2], TABLE[2])


@pytest.mark.parametrize("bad", [-1, 4, 2**40])
def test_bad_ids_in_other_formats(bad):
    vectorizer = EmbeddingBagVectorizer.from_pretrained(TABLE)
    X = coo_array((np.ones(2), ([0, 1], [0, 1])), shape=(3, 4))
    corruption.set_coordinates(X, np.array([0, 1]), np.array([0, bad]))
    with refuses(ValueError, "X", "column", bad, "4"):
        vectorizer.transform(X)
    corruption.set_coordinates(X, np.array([0, bad]), np.array([0, 1]))
    if bad != 4:
        with refuses(ValueError, "X", "row", bad, "3"):
            vectorizer.transform(X)
    X = csc_array((3, 4))
    X.data, X.indices, X.indptr = np.ones(2), np.array([0, bad]), np.array([0, 1, 1, 2, 2])
    with refuses(ValueError, "X", "row", bad, "3"):
        vectorizer.transform(X)


DENSE = [
    ("complex", ValueError, ["omplex"], np.ones((2, 4)) * 1j),
    ("strings", ValueError, ["lists of tokens"], [["a", "b", "c", "d"]]),
    ("NaN", ValueError, ["X", "NaN", "row 1", "id 2"], [[1, 1, 1, 1], [0, 0, np.nan, 1]]),
    ("inf", ValueError, ["X", "infinity", "row 0", "id 3"], [[1, 1, 1, np.inf], [1, 1, 1, 1]]),
    ("1-D", ValueError, ["2D", "1D"], [1.0, 2, 3, 4]),
    ("3-D", ValueError, ["dim 3"], np.ones((1, 2, 4))),
    ("fewer columns", ValueError, ["X has 3 features", "expecting 4"], np.ones((2, 3))),
    ("more columns", ValueError, ["X has 5 features", "expecting 4"], csc_array(np.ones((2, 5)))),
    ("a string", ValueError, [], "abc"),
    ("nothing", ValueError, [], None),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("error", "words", "X"), [case[1:] for case in DENSE], ids=[case[0] for case in DENSE])
def test_transform_of_what_is_no_matrix_of_numbers(error, words, X, mode):
    with refuses(error, *words):
        EmbeddingBagVectorizer.from_pretrained(TABLE, mode=mode).transform(X)


# --- the parameters of the estimator


@pytest.fixture
def npy(tmp_path, monkeypatch):
    """Files that are no table."""
    monkeypatch.chdir(tmp_path)
    np.save("wide.npy", random_table(5, 3, dtype="float32"))
    np.save("double.npy", random_table(4, 3, dtype="float64"))
    np.save("fortran.npy", np.asfortranarray(random_table(4, 3, dtype="float32")))
    np.save("int.npy", np.ones((4, 3), int))
    np.save("object.npy", np.array([[None, 1]]), allow_pickle=True)
    np.save("nan.npy", np.full((4, 3), np.nan, "float32"))
    np.save("1d.npy", np.ones(4, "float32"))
    np.save("whole.npy", np.ones((4, 3), "float32"))
    np.savez("archive.npz", np.ones((4, 3), "float32"))
    (tmp_path / "archive.npz").rename("archive.npy")
    (tmp_path / "text.npy").write_text("1 2 3\n")
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "short.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:-4])
    (tmp_path / "table.txt").write_text("1 2 3\n")
    (tmp_path / "folder.npy").mkdir()


PARAMETERS = [
    ("embedding_dim 0", ValueError, ["embedding_dim", "0"], {"embedding_dim": 0}),
    ("a float embedding_dim", ValueError, ["embedding_dim", "2.5"], {"embedding_dim": 2.5}),
    ("an embedding_dim beyond int32", InvalidParameterError, ["embedding_dim", 2**31 - 1], {"embedding_dim": 2**31}),
    ("an embedding_dim beyond int64", InvalidParameterError, ["embedding_dim", 2**31 - 1], {"embedding_dim": 10**400}),
    ("a padding_idx beyond int64", ValueError, ["padding_idx", "-4", "4"], {"padding_idx": 10**400}),
    ("a max_norm that no float can hold", InvalidParameterError, ["max_norm", "1.79"], {"max_norm": 10**400}),
    ("a norm_type that no float can hold", InvalidParameterError, ["norm_type", "1.79"], {"norm_type": 10**400}),
    ("an unknown mode", ValueError, ["mode", "median"], {"mode": "median"}),
    ("a string for per_sample_weights", ValueError, ["per_sample_weights"], {"per_sample_weights": "yes"}),
    ("a padding_idx past the columns", ValueError, ["padding_idx", "-4", "4", "got 4"], {"padding_idx": 4}),
    ("a padding_idx before the columns", ValueError, ["padding_idx", "-5"], {"padding_idx": -5}),
    ("a float padding_idx", ValueError, ["padding_idx", "1.0"], {"padding_idx": 1.0}),
    ("max_norm 0", ValueError, ["max_norm", "0"], {"max_norm": 0}),
    ("a NaN max_norm", ValueError, ["max_norm", "nan"], {"max_norm": np.nan}),
    ("norm_type 0", ValueError, ["norm_type", "0"], {"norm_type": 0}),
    ("an int dtype", ValueError, ["dtype", "float32", "float64", "int32"], {"dtype": "int32"}),
    ("a complex dtype", ValueError, ["dtype", "float16", "complex64"], {"dtype": np.complex64}),
    ("no dtype at all", ValueError, ["dtype", "quux"], {"dtype": "quux"}),
    ("dtype None", ValueError, ["dtype", "None"], {"dtype": None}),
    ("an unknown device", ValueError, ["device", "cpu", "tpu"], {"device": "tpu"}),
    ("a float n_jobs", ValueError, ["n_jobs", "1.5"], {"n_jobs": 1.5}),
    ("a string for random_state", ValueError, ["random_state"], {"random_state": "seed"}),
    ("an unknown init", ValueError, ["init", "normal", "uniform", "xavier"], {"init": "xavier"}),
    ("init None", ValueError, ["init", "None"], {"init": None}),
    ("a table with too many rows", ValueError, ["init", "4", "5 rows"], {"init": random_table(5, 3)}),
    ("a table with too few rows", ValueError, ["init", "4", "3 rows"], {"init": random_table(3, 3)}),
    ("a 1-D table", ValueError, ["init", "(num_embeddings, embedding_dim)", "(4,)"], {"init": np.ones(4)}),
    ("a table of width 0", ValueError, ["init", "(4, 0)"], {"init": np.ones((4, 0))}),
    ("a table with NaN", ValueError, ["init", "nan", "row 1", "column 2"],
     {"init": [[1.0, 1, 1], [1, 1, np.nan], [1, 1, 1], [1, 1, 1]]}),
    ("a table with inf", ValueError, ["init", "inf", "row 0", "column 0"], {"init": np.full((4, 3), np.inf)}),
    ("a table too large for the dtype", ValueError, ["init", "inf", "row 2", "column 1", "float32"],
     {"init": np.ones((4, 3)) + 1e39 * np.eye(4)[:, 2:3] * np.eye(3)[1]}),
    ("a complex table", ValueError, ["init", "real", "complex128"], {"init": np.ones((4, 3), complex)}),
    ("a table of strings", ValueError, ["init", "real"], {"init": np.full((4, 3), "a")}),
    ("a path that does not exist", ValueError, ["init", "exist", "gone.npy"], {"init": "gone.npy"}),
    ("a path that is no .npy", ValueError, ["init", ".npy", "table.txt"], {"init": "table.txt"}),
    ("a folder", ValueError, ["init", ".npy", "folder.npy"], {"init": "folder.npy"}),
    ("a text file", ValueError, ["init", ".npy", "text.npy"], {"init": "text.npy"}),
    ("an empty file", ValueError, ["init", ".npy", "empty.npy"], {"init": "empty.npy"}),
    ("a file that is cut short", ValueError, ["init", ".npy", "short.npy"], {"init": "short.npy"}),
    ("an archive", ValueError, ["init"], {"init": "archive.npy"}),
    ("a file of another dtype", ValueError, ["init", "float32", "float64", "double.npy"], {"init": "double.npy"}),
    ("a file in Fortran order", ValueError, ["init", "Fortran", "fortran.npy"], {"init": "fortran.npy"}),
    ("a file of integers", ValueError, ["init", "int64"], {"init": "int.npy"}),
    ("a file of objects", ValueError, ["init", "object.npy"], {"init": "object.npy"}),
    ("a file with NaN", ValueError, ["init", "nan", "row 0", "column 0"], {"init": "nan.npy"}),
    ("a 1-D file", ValueError, ["init", "(4,)"], {"init": "1d.npy"}),
    ("a file with too many rows", ValueError, ["init", "4", "5 rows"], {"init": "wide.npy"}),
]  # fmt: skip
PARAMETER_CASES = pytest.mark.parametrize(
    ("error", "words", "change"), [case[1:] for case in PARAMETERS], ids=[case[0] for case in PARAMETERS]
)


@PARAMETER_CASES
def test_parameters(npy, error, words, change):
    vectorizer = EmbeddingBagVectorizer(5).set_params(**change)
    with refuses(error, *words):
        vectorizer.fit(with_parts())
    with pytest.raises(NotFittedError):
        vectorizer.transform(with_parts())


@pytest.mark.parametrize("bad", ["gone.npy", "table.txt", "nan.npy", "archive.npy", "empty.npy", "object.npy"])
def test_from_pretrained_names_its_own_parameter(npy, bad):
    with refuses(ValueError, "embeddings"):
        EmbeddingBagVectorizer.from_pretrained(bad)


@pytest.mark.parametrize(
    ("words", "change"),
    [
        (["mode", "median"], {"mode": "median"}),
        (["padding_idx", "9"], {"padding_idx": 9}),
        (["max_norm"], {"max_norm": -1.0}),
        (["device", "tpu"], {"device": "tpu"}),
    ],
)
def test_from_pretrained_checks_its_options(words, change):
    with refuses(ValueError, *words):
        EmbeddingBagVectorizer.from_pretrained(TABLE, **change).transform(with_parts())


@pytest.mark.parametrize("n_jobs", ["2", 1.5, [2]])
@pytest.mark.parametrize("n_rows", [3, 1000])  # few have one thread, and many two
def test_threads_are_whole_numbers(n_jobs, n_rows):
    n = 80 * n_rows
    X, y = csr(np.ones(n), np.arange(n) % 90, np.arange(0, n + 1, 80), 90), np.arange(n_rows) % 2
    words = TypeError, "n_jobs must be an integer or None", repr(n_jobs)
    classifier = EmbeddingBagClassifier(64, max_iter=1).fit(X, y)
    vectorizer = EmbeddingBagVectorizer(64).fit(X)
    for estimator, name, *more in (
        (vectorizer, "transform"), (classifier, "predict"), (classifier, "predict_top_k", 1),
        (classifier, "contributions"), (classifier, "transform"), (classifier, "fit", y),
        (classifier, "partial_fit", y),
    ):  # fmt: skip
        call = getattr(estimator, name)
        estimator.set_params(n_jobs=n_jobs)
        with refuses((TypeError, InvalidParameterError), "n_jobs", repr(n_jobs)):
            call(X, *more)
        estimator.set_params(n_jobs=np.int64(2))
        call(X, *more)
    for function in (embedding_bag, embedding):
        with refuses(*words):
            function(IDS, TABLE, n_jobs=n_jobs)


def state(estimator):
    return {name: copy.deepcopy(value) for name, value in vars(estimator).items() if name.endswith("_")}


def assert_same_state(estimator, before):
    after = vars(estimator)
    assert {name for name in after if name.endswith("_")} == set(before)
    for name, value in before.items():
        assert np.array_equal(after[name], value), name


@PARAMETER_CASES
def test_a_failed_fit_leaves_the_fitted_estimator_as_it_was(npy, error, words, change):
    X = with_parts()
    vectorizer = EmbeddingBagVectorizer(5, random_state=0).fit(X)
    before, parameters, features = state(vectorizer), vectorizer.get_params(), vectorizer.transform(X)
    with pytest.raises(error):
        vectorizer.set_params(**change).fit(csr(np.ones(2), np.array([0, 3]), np.array([0, 2]), 4))
    assert_same_state(vectorizer, before)
    assert np.array_equal(vectorizer.set_params(**parameters).transform(X), features)


@pytest.mark.parametrize(
    "bad",
    [
        [[1.0, np.nan, 1, 1, 1, 1]],
        csr(np.array([1, np.inf]), np.array([0, 1]), np.array([0, 2]), 6),
        csr(np.ones(2), np.array([0, 6]), np.array([0, 2]), 6),
        csr(np.ones(2), np.array([0, 1]), np.array([0, 3]), 6),
        np.ones((0, 6)),
        [["a", "b"]],
    ],
    ids=["NaN", "inf", "id", "indptr", "no rows", "strings"],
)
def test_a_fit_to_bad_rows_leaves_the_fitted_estimator_as_it_was(bad):
    X = with_parts()
    vectorizer = EmbeddingBagVectorizer(5, random_state=0).fit(X)
    before, features = state(vectorizer), vectorizer.transform(X)
    with pytest.raises(ValueError):  # noqa: PT011
        vectorizer.fit(bad)
    assert_same_state(vectorizer, before)
    assert np.array_equal(vectorizer.transform(X), features)
    with pytest.raises(ValueError):  # noqa: PT011
        EmbeddingBagVectorizer(5).fit(bad)


def test_a_table_that_was_replaced_by_a_smaller_one_is_not_read_beyond_its_end():
    vectorizer = EmbeddingBagVectorizer.from_pretrained(TABLE)
    vectorizer.embeddings_ = TABLE[:2].copy()
    with refuses(ValueError, "2"):
        vectorizer.transform(with_parts())


@pytest.mark.parametrize("estimator", [EmbeddingBagVectorizer, EmbeddingBagClassifier])
def test_tables_that_are_too_large(estimator):
    X = csr(np.ones(2), np.array([0, 1]), np.array([0, 1, 2]), 2**31)
    model = estimator(2**31 - 1)
    with refuses(ValueError, "embedding_dim=2147483647", "2147483648 rows", "float32", (2**31 - 1) * 2**33):
        model.fit(X, [0, 1])
    with pytest.raises(MemoryError):  # NumPy's: 2 ** 54 bytes have addresses
        model.fit(csr(X.data, X.indices, X.indptr, 2**21), [0, 1])
    assert not [name for name in vars(model) if name.endswith("_")]


def test_not_fitted():
    with pytest.raises(NotFittedError):
        EmbeddingBagVectorizer().transform(with_parts())


# --- arrays full of anything


@given(seed=st.integers(0, 2**32), mode=st.sampled_from(MODES), weighted=st.booleans(), n_jobs=st.sampled_from([1, 2]))
def test_corrupted_matrices_are_refused_or_give_finite_features(seed, mode, weighted, n_jobs):
    table = random_table(corruption.N_COLUMNS, 5, dtype="float32")
    vectorizer = EmbeddingBagVectorizer.from_pretrained(table, mode=mode, per_sample_weights=weighted, n_jobs=n_jobs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skbag._cpu.backend._SERIAL_WORK", 2)
        corruption.check(vectorizer, corruption.corrupted(np.random.default_rng(seed)))


@pytest.mark.parametrize("formats", [corruption.FORMATS, corruption.MORE_FORMATS], ids=" ".join)
def test_corrupted_matrices_do_not_kill_the_process(formats):
    said = run_python(f"import corruption; corruption.main({N_CORRUPTED}, {formats})")
    refused, accepted = map(int, said.split())
    assert refused + accepted == N_CORRUPTED
    assert refused > 0.3 * N_CORRUPTED
    assert accepted > 0.05 * N_CORRUPTED


def test_a_valid_matrix_is_accepted_by_the_fuzz_test():
    vectorizer = EmbeddingBagVectorizer.from_pretrained(random_table(corruption.N_COLUMNS, 5))
    for form in corruption.FORMATS + corruption.MORE_FORMATS:
        X = corruption.valid(np.random.default_rng(0), form)
        assert X.format == form
        assert np.isfinite(vectorizer.transform(X)).all()


def test_masked_entries_are_refused_at_every_door_alike():
    masked, ones = np.ma.array(np.ones((4, 2)), mask=[[False, True]] * 4), np.ones((4, 2))
    good = {"embedding_bag.weight": ones, "linear.weight": np.ones((3, 2)), "linear.bias": np.ones(3)}
    for door in (
        lambda: embedding_bag([[0]], masked),
        lambda: embedding([0], masked),
        lambda: embedding_bag([[0, 1]], ones, per_sample_weights=masked[:1]),
        lambda: EmbeddingBagVectorizer.from_pretrained(masked),
        lambda: EmbeddingBagClassifier(init=masked).fit(np.eye(4), np.arange(4) % 2),
        lambda: QuantizedTable.of(masked),
        lambda: QuantizedTable(masked.astype(np.float16)),
        lambda: EmbeddingBagClassifier.from_state_dict({**good, "linear.bias": masked[:3, 1]}, mode="mean"),
    ):
        with pytest.raises(ValueError, match="must not have masked entries"):
            door()
    embedding_bag([[0]], np.ma.array(ones))  # nothing is masked


def test_parameters_of_modules_of_torch_are_taken_as_they_are():
    torch = pytest.importorskip("torch")
    module = torch.nn.ModuleDict({"embedding_bag": torch.nn.EmbeddingBag(4, 2), "linear": torch.nn.Linear(2, 3)})
    weight = module["embedding_bag"].weight
    weights = torch.full((1, 2), 0.5, requires_grad=True)
    expected = 0.5 * (weight[0] + weight[1]).detach().numpy()
    np.testing.assert_allclose(embedding_bag([[0, 1]], weight, per_sample_weights=weights)[0], expected, rtol=1e-6)
    assert QuantizedTable.of(weight).shape == (4, 2)
    model = EmbeddingBagClassifier.from_state_dict(dict(module.named_parameters()), mode="mean")
    logits = module["linear"](weight).detach().numpy()
    np.testing.assert_allclose(model.decision_function(np.eye(4)), logits, rtol=1e-5, atol=1e-6)


def test_tables_of_torch_that_numpy_lacks_are_refused_at_every_door_alike():
    torch = pytest.importorskip("torch")
    X, y, table = np.eye(4), np.arange(4) % 2, torch.zeros((4, 2), dtype=torch.bfloat16)
    for door in (
        lambda table: embedding_bag([[0]], table),
        lambda table: embedding([0], table),
        EmbeddingBagVectorizer.from_pretrained,
        lambda table: EmbeddingBagVectorizer(init=table).fit(X),
        lambda table: EmbeddingBagClassifier(init=table).fit(X, y),
    ):
        with pytest.raises(TypeError, match=r"must be an array that NumPy knows.*\.float\(\).*torch\.uint16"):
            door(table)
        door(torch.nn.Parameter(torch.ones((4, 2))))  # which has a gradient
