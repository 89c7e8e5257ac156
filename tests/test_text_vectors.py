"""Vectors learnt elsewhere, by their words: align, vocabulary_of and TextEmbeddingVectorizer."""

import copy
import pickle
import threading

import numpy as np
import pytest
from helpers import MODES, frames, run_python
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import skbag.text
from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor, EmbeddingBagVectorizer
from skbag.text import TextEmbeddingVectorizer, align, vocabulary_of

VECTORS = {
    "cat": np.array([1.0, 2.0, 0.5]),
    "dog": np.array([2.0, -1.0, 0.25]),
    "stock": np.array([-3.0, 0.5, 1.0]),
    "größe": np.array([0.125, 4.0, -2.0]),
    "unused": np.array([9.0, 9.0, 9.0]),
}
TEXTS = ["the cat and the dog and the cat", "a stock", "the and", "", "Größe of a dog, größe of a stock"]


def expected(texts, mode, vectors=VECTORS):
    """What pooling means, word by word: words without a vector are not there."""
    rows, analyze = [], CountVectorizer().build_analyzer()
    for text in texts:
        words = [word for word in analyze(text) if word in vectors]
        if not words:
            rows.append(np.zeros(3))
            continue
        table = np.array([vectors[word] for word in words])
        counts = np.array([words.count(word) for word in set(words)])
        divisor = {"sum": 1, "mean": len(words), "sqrtn": np.sqrt((counts**2).sum())}
        rows.append(table.max(axis=0) if mode == "max" else table.sum(axis=0) / divisor[mode])
    return np.array(rows)


@pytest.mark.parametrize("mode", MODES)
def test_words_without_a_vector_are_not_in_the_bag(mode):
    pooled = TextEmbeddingVectorizer(VECTORS, CountVectorizer(), mode=mode, dtype="float64").fit(TEXTS)
    np.testing.assert_allclose(pooled.transform(TEXTS), expected(TEXTS, mode), rtol=1e-12)
    new = ["an unseen dog", "unseen", "dog dog stock"]
    np.testing.assert_allclose(pooled.transform(new), expected(new, mode), rtol=1e-12)


def test_zero_rows_would_shorten_the_mean_and_win_the_maximum():
    below = {"cat": [-1.0, -1.0], "dog": [-3.0, -3.0]}
    for mode, dropped, zeros in (("mean", -2, -1), ("max", -1, 0)):
        for oov, value in (("drop", dropped), ("zeros", zeros)):
            pooled = TextEmbeddingVectorizer(below, CountVectorizer(), mode=mode, oov=oov)
            assert pooled.fit_transform(["the cat and dog"]).tolist() == [[value, value]]


def test_tfidf_weighs_the_mean():
    tfidf = TfidfVectorizer(sublinear_tf=True)
    pooled = TextEmbeddingVectorizer(VECTORS, tfidf, dtype="float64").fit(TEXTS)
    X, words = clone(tfidf).fit_transform(TEXTS).toarray(), pooled.vectorizer_.get_feature_names_out()
    X[:, [word not in VECTORS for word in words]] = 0
    table = np.array([VECTORS.get(word, np.zeros(3)) for word in words])
    sums = X.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(pooled.transform(TEXTS), X @ table / np.where(sums, sums, 1), rtol=1e-12)
    assert not hasattr(tfidf, "vocabulary_")


def test_the_default_vectorizer_is_a_tfidf():
    pooled = TextEmbeddingVectorizer(VECTORS, dtype="float64").fit(TEXTS)
    given = TextEmbeddingVectorizer(VECTORS, TfidfVectorizer(), dtype="float64").fit(TEXTS)
    assert type(pooled.vectorizer_) is TfidfVectorizer
    np.testing.assert_array_equal(pooled.transform(TEXTS), given.transform(TEXTS))
    assert TextEmbeddingVectorizer(VECTORS).fit_transform(TEXTS).dtype == np.float32


def test_fit_transform_is_fit_and_transform_and_reads_the_texts_once():
    read = []

    def analyze(text):
        read.append(text)
        return text.split()

    pooled = TextEmbeddingVectorizer(VECTORS, TfidfVectorizer(analyzer=analyze))
    features = pooled.fit_transform(TEXTS)
    assert read == TEXTS
    np.testing.assert_array_equal(features, pooled.transform(iter(TEXTS)))


def test_columns_and_table_belong_together():
    pooled = TextEmbeddingVectorizer(VECTORS, CountVectorizer()).fit(TEXTS)
    words = pooled.vectorizer_.get_feature_names_out()[pooled.columns_]
    assert words.tolist() == ["cat", "dog", "größe", "stock"]
    np.testing.assert_array_equal(pooled.embeddings_, np.array([VECTORS[word] for word in words], np.float32))
    assert pooled.get_feature_names_out().tolist() == [f"textembeddingvectorizer{i}" for i in range(3)]


# --- coverage


def test_coverage_by_types_and_by_occurrences():
    texts = ["cat cat cat the", "dog the and"]
    counted = TextEmbeddingVectorizer(VECTORS, CountVectorizer()).fit(texts)
    assert counted.coverage_ == {"types": 2 / 4, "occurrences": 4 / 7}
    weighted = TextEmbeddingVectorizer(VECTORS).fit(texts)
    assert weighted.coverage_ == {"types": 2 / 4, "occurrences": 2 / 5}


def test_little_coverage_warns_and_names_frequent_words():
    texts = ["the cat of"] + ["the one of"] * 5
    with pytest.warns(UserWarning, match=r"Only 5\.6% of the occurrences.*'of', 'the', 'one'.*upper and lower") as said:
        pooled = TextEmbeddingVectorizer(VECTORS, CountVectorizer()).fit(texts)
    assert pooled.coverage_["occurrences"] == 1 / 18
    assert said[0].filename == __file__
    with pytest.warns(UserWarning, match=r"Only 5\.6%") as said:
        pooled.fit_transform(texts)
    assert said[0].filename == __file__
    with pytest.warns(UserWarning, match=r"Only 20\.0% of the 5 words of the vocabulary have") as said:
        align(VECTORS, ["cat", "b", "c", "d", "e"])
    assert said[0].filename == __file__


def test_enough_coverage_does_not_warn():
    align(VECTORS, ["cat", "dog", "stock", "d", "e", "f", "g", "h", "i", "j"])  # 30%, and warnings are errors


def test_a_vocabulary_of_the_vectors_keeps_words_that_texts_of_fit_have_not():
    everything = CountVectorizer(vocabulary=vocabulary_of(VECTORS))
    pooled = TextEmbeddingVectorizer(VECTORS, everything, mode="sum").fit(["cat"])
    assert pooled.coverage_["types"] == 1
    np.testing.assert_array_equal(pooled.transform(["unused dog"]), [[11, 8, 9.25]])


# --- oov


def test_words_without_a_vector_become_zeros_a_mean_or_random():
    words = ["cat", "b", "dog", "d", "stock"]
    table = np.array([VECTORS[word] for word in ("cat", "dog", "stock")])
    zeros, mean = align(VECTORS, words), align(VECTORS, words, oov="mean", dtype="float64")
    assert zeros.dtype == np.float32
    np.testing.assert_array_equal(zeros[[1, 3]], 0)
    np.testing.assert_allclose(mean[[1, 3]], [table.mean(axis=0)] * 2)
    many = words + [f"w{i}" for i in range(20_000)]
    with pytest.warns(UserWarning, match="Only 0"):
        drawn = align(VECTORS, many, oov="random", random_state=0)
    with pytest.warns(UserWarning, match="Only 0"):
        np.testing.assert_array_equal(drawn, align(VECTORS, many, oov="random", random_state=0))
    with pytest.warns(UserWarning, match="Only 0"):
        assert (drawn[5:] != align(VECTORS, many, oov="random", random_state=1)[5:]).all()
    np.testing.assert_allclose(drawn[5:].mean(axis=0), table.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(drawn[5:].std(axis=0), table.std(axis=0), rtol=0.03)
    for made in (zeros, mean, drawn):
        np.testing.assert_allclose(made[[0, 2, 4]], table)


@pytest.mark.parametrize("oov", ["zeros", "random", "mean"])
def test_the_estimator_gives_the_rows_of_align(oov):
    pooled = TextEmbeddingVectorizer(VECTORS, CountVectorizer(), oov=oov, mode="sum", random_state=3).fit(TEXTS)
    table = align(VECTORS, pooled.vectorizer_, oov=oov, random_state=3)
    np.testing.assert_array_equal(pooled.embeddings_, table)
    assert len(pooled.columns_) == len(table)
    np.testing.assert_allclose(
        pooled.transform(TEXTS), pooled.vectorizer_.transform(TEXTS) @ table, rtol=1e-5, atol=1e-5
    )


LETTERS = dict(zip("aeiou", np.eye(5), strict=True))


class Subwords:
    """What read_fasttext returns has these, too: a word's vector is the mean of its letters'; consonants have none."""

    words = ("ab", "e")

    def word_vectors(self, words):
        return np.array(
            [
                np.mean([LETTERS[c] for c in word if c in LETTERS] or [np.zeros(5)], axis=0)
                if word != "ab"
                else np.full(5, 7.0)
                for word in words
            ]
        )


def test_subwords_give_vectors_to_words_that_have_some():
    words = ["ab", "ae", "e", "xyz", "ooi"]
    table = align(Subwords(), words, oov="subwords")
    np.testing.assert_allclose(
        table, [[7] * 5, [0.5, 0.5, 0, 0, 0], [0, 1, 0, 0, 0], [0] * 5, [0, 0, 1 / 3, 2 / 3, 0]], rtol=1e-6
    )
    texts = ["ab ae xyz", "xyz", "ooi ooi e"]
    analyzer = CountVectorizer(token_pattern=r"\S+")
    pooled = TextEmbeddingVectorizer(Subwords(), analyzer, oov="subwords").fit(texts)
    np.testing.assert_allclose(
        pooled.transform(texts), [(table[0] + table[1]) / 2, [0] * 5, (2 * table[4] + table[2]) / 3]
    )
    assert pooled.coverage_ == {"types": 4 / 5, "occurrences": 5 / 7}
    known = TextEmbeddingVectorizer(Subwords(), analyzer).fit([*texts, "e"])
    assert known.coverage_["types"] == 2 / 5


# --- kinds of vectors


def test_data_frames_are_dicts():
    words, rows = list(VECTORS), np.array(list(VECTORS.values()))
    pandas, polars = frames("pandas"), frames("polars")
    by_index = pandas.DataFrame(rows, index=words)
    by_column = by_index.rename(columns=str).reset_index(names="word")
    texts = ["dog", "nothing", "größe"]
    for frame in (by_index, by_index.astype("float32"), by_column, polars.from_pandas(by_column)):
        np.testing.assert_array_equal(align(frame, texts), align(VECTORS, texts))
        assert vocabulary_of(frame) == words


def test_numbers_may_be_lists_and_integers():
    np.testing.assert_array_equal(align({"a": [1, 2], "b": (3, 4)}, ["b", "a"]), [[3, 4], [1, 2]])
    np.testing.assert_array_equal(align(frames("pandas").DataFrame({"x": [1, 2]}, index=["a", "b"]), ["b"]), [[2]])


def test_vocabularies_of_every_kind():
    counts = CountVectorizer().fit(["dog cat"])
    for vocabulary in (counts, counts.vocabulary_, ["cat", "dog"], np.array(["cat", "dog"]), iter(["cat", "dog"])):
        np.testing.assert_array_equal(align(VECTORS, vocabulary), [VECTORS["cat"], VECTORS["dog"]])
    assert vocabulary_of(VECTORS, counts) == ["cat", "dog"]
    assert vocabulary_of(VECTORS, {"x": 1, "dog": 0}) == ["dog"]


@given(st.lists(st.text(max_size=4), unique=True, min_size=1), st.data())
def test_any_string_is_a_word(words, data):
    has_vector = data.draw(st.sets(st.sampled_from(words), min_size=1))
    vectors = {word: [float(i), -1.0] for i, word in enumerate(words) if word in has_vector}
    everything = list(vectors) + [f"{word}????" for word in vectors]
    table = align(vectors, everything)
    np.testing.assert_array_equal(table[: len(vectors)], list(vectors.values()))
    np.testing.assert_array_equal(table[len(vectors) :], 0)


def test_read_only_arrays_and_slices_are_fine():
    rows = np.arange(12.0).reshape(6, 2)[::2]
    rows.flags.writeable = False
    np.testing.assert_array_equal(align({"a": rows[0], "b": rows[1]}, ["b"]), [rows[1]])


# --- files


def test_a_table_can_be_written_to_a_file_that_estimators_map(tmp_path):
    path, words = tmp_path / "table.npy", [*VECTORS, "x"]
    assert align(VECTORS, words, path=path) == str(path)
    first = np.load(path, mmap_mode="r")
    np.testing.assert_array_equal(first, align(VECTORS, words))
    bags = EmbeddingBagVectorizer(init=align(VECTORS, words, path=path, oov="mean")).fit(csr_array((1, 6)))
    np.testing.assert_array_equal(bags.embeddings_, align(VECTORS, words, oov="mean"))
    np.testing.assert_array_equal(first[-1], 0)  # who has the old file open keeps it
    assert not bags.embeddings_.flags.writeable
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_where_a_table_could_not_be_written(tmp_path):
    path = tmp_path / "table.npy"
    path.write_bytes(b"as it was")
    with pytest.raises(ValueError, match="finite"):
        align({"a": [1.0], "b": [np.nan]}, ["a", "b"], path=path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"as it was"
    with pytest.raises(FileNotFoundError, match=r"no.table\.npy'$"):
        align(VECTORS, ["cat"], path=tmp_path / "no" / "table.npy")


# --- fine-tuning


def topics(n=240, seed=0):
    """Texts of two topics with words of their own; those of half of the words are never seen with a label."""
    rng = np.random.default_rng(seed)
    words = [[f"{topic}{i}" for i in range(30)] for topic in ("pet", "money")]
    vectors = {
        word: rng.normal(0, 0.5, 20) + 2 * sign for sign, names in zip((1, -1), words, strict=True) for word in names
    }
    y = rng.integers(0, 2, n)
    texts = [" ".join([*rng.choice(words[label][:15], 3), "the", "and"]) for label in y]
    new = [" ".join(rng.choice(words[label][15:], 3)) for label in y]
    return vectors, texts, new, y


def test_a_classifier_that_begins_at_vectors_knows_words_that_no_label_was_seen_with():
    vectors, texts, new, y = topics()
    counts = CountVectorizer(vocabulary=[*vectors, "the", "and"])
    table = align(vectors, counts)
    tuned = make_pipeline(counts, EmbeddingBagClassifier(init=table, random_state=0)).fit(texts, y)
    drawn = make_pipeline(counts, EmbeddingBagClassifier(20, random_state=0)).fit(texts, y)
    assert tuned.score(new, y) > 0.97
    assert drawn.score(new, y) < 0.8
    moved = np.abs(tuned[-1].embeddings_ - table).max(axis=1)
    seen = np.asarray(counts.transform(texts).sum(axis=0)).ravel() > 0
    assert (moved[seen] > 1e-4).all()  # a row of zeros, too
    assert (table[-2:] == 0).all()
    np.testing.assert_array_equal(align(vectors, counts), table)


def test_a_regressor_begins_at_a_file(tmp_path):
    vectors, texts, _, y = topics()
    counts = CountVectorizer().fit(texts)
    path = align(vectors, counts, path=tmp_path / "t.npy")
    model = make_pipeline(counts, EmbeddingBagRegressor(init=path, random_state=0)).fit(texts, y)
    assert model.score(texts, y) > 0.8
    np.testing.assert_array_equal(np.load(path), align(vectors, counts))


# --- scikit-learn


def test_parameters_clones_pickles():
    pooled = TextEmbeddingVectorizer(VECTORS, CountVectorizer(), mode="max", oov="mean").fit(TEXTS)
    assert pooled.get_params()["vectorizer__min_df"] == 1
    fresh = clone(pooled)
    assert fresh.vectors is VECTORS  # shared: they may be gigabytes, and are never written to
    assert fresh.vectorizer is not pooled.vectorizer
    assert not hasattr(fresh, "bag_")
    assert clone(make_pipeline(pooled))[0].vectors is VECTORS
    for again in (pickle.loads(pickle.dumps(pooled)), copy.deepcopy(pooled)):
        np.testing.assert_array_equal(again.transform(TEXTS), pooled.transform(TEXTS))
    bare = copy.deepcopy(pooled).set_params(vectors=None)
    np.testing.assert_array_equal(bare.transform(TEXTS), pooled.transform(TEXTS))
    big = TextEmbeddingVectorizer({**VECTORS, **{f"w{i}": np.ones(3) for i in range(3000)}}).fit(TEXTS)
    assert len(pickle.dumps(big.set_params(vectors=None))) < 10_000


def test_a_clone_keeps_what_set_output_asked_for():
    pandas = frames("pandas")
    pooled = clone(TextEmbeddingVectorizer(VECTORS).set_output(transform="pandas"))
    assert isinstance(pooled.fit_transform(TEXTS), pandas.DataFrame)
    frame = pooled.transform(TEXTS)
    assert list(frame.columns) == list(pooled.get_feature_names_out())
    with config_context(transform_output="polars"):
        assert TextEmbeddingVectorizer(VECTORS).fit_transform(TEXTS).shape == (5, 3)


def test_a_search_over_a_pipeline():
    texts, y = ["cat", "dog cat", "stock", "stock größe"] * 6, ["a", "a", "b", "b"] * 6
    model = make_pipeline(TextEmbeddingVectorizer(VECTORS), LogisticRegression())
    grid = {
        "textembeddingvectorizer__mode": ["mean", "max"],
        "textembeddingvectorizer__vectorizer": [
            CountVectorizer(),
            make_pipeline(CountVectorizer(), TfidfTransformer()),
        ],
    }
    search = GridSearchCV(model, grid, cv=2).fit(texts, y)
    assert search.score(texts, y) == 1


def test_threads_may_transform_together():
    pooled = TextEmbeddingVectorizer(VECTORS, n_jobs=2).fit(TEXTS)
    right, results = pooled.transform(TEXTS * 50), []
    threads = [threading.Thread(target=lambda: results.append(pooled.transform(TEXTS * 50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, right)


def test_devices(device):
    pooled = TextEmbeddingVectorizer(VECTORS, CountVectorizer(), device=device).fit(TEXTS)
    np.testing.assert_allclose(pooled.transform(TEXTS), expected(TEXTS, "mean"), rtol=1e-5)


def test_tags_and_not_fitted():
    pooled = TextEmbeddingVectorizer(VECTORS)
    assert pooled.__sklearn_tags__().input_tags.string
    with pytest.raises(NotFittedError):
        pooled.transform(TEXTS)
    with pytest.raises(NotFittedError):
        pooled.get_feature_names_out()
    assert "TextEmbeddingVectorizer" in pooled._repr_html_()


def test_importing_loads_no_optional_package():
    loaded = run_python("import sys, skbag.text; print(*sys.modules)").split()
    assert "skbag.text" in loaded
    assert not {"gensim", "tokenizers", "safetensors", "numba", "torch"} & set(loaded)


@pytest.mark.parametrize("name", skbag.text.__all__)
def test_public_names_are_documented(name):
    doc = getattr(skbag.text, name).__doc__
    assert "Parameters\n" in doc
    assert ">>>" in doc or name.startswith("FastText")  # which `read_fasttext` makes of files


# --- what must be refused

BAD_VECTORS = [
    ("unequal", ValueError, r"3 real numbers.*'dog'.*\(2,\)", {**VECTORS, "dog": [1.0, 2.0]}),
    ("NaN", ValueError, r"finite in float32.*nan.*'dog'", {**VECTORS, "dog": [1.0, np.nan, 2.0]}),
    ("inf in float32", ValueError, r"finite in float32.*inf.*'dog'", {**VECTORS, "dog": [1.0, 1e39, 2.0]}),
    ("strings", ValueError, r"real numbers.*'dog'", {**VECTORS, "dog": ["a", "b", "c"]}),
    ("complex", ValueError, r"real numbers.*'dog'", {**VECTORS, "dog": np.ones(3) * 1j}),
    ("2-D", ValueError, r"'dog'.*\(1, 3\)", {**VECTORS, "dog": np.ones((1, 3))}),
    ("no overlap", ValueError, r"None of the \d+ words.*'Cat'.*upper and lower case", {"Cat": [1.0], "Dog": [2.0]}),
    ("empty", ValueError, "empty", {}),
    ("numbers", ValueError, "vector of at least one number", {"dog": 1.0}),
    ("width 0", ValueError, "vector of at least one number", {"dog": []}),
    ("no vectors", TypeError, "vectors must be gensim's.*got ndarray", np.ones((3, 3))),
    ("None", TypeError, "vectors must be gensim's.*NoneType", None),
    ("no path", ValueError, "does not exist.*gone.vec", "gone.vec"),
]


@pytest.mark.parametrize(("error", "words", "bad"), [case[1:] for case in BAD_VECTORS], ids=[c[0] for c in BAD_VECTORS])
def test_bad_vectors(error, words, bad):
    with pytest.raises(error, match=words):
        align(bad, ["dog", "cat", "stock"])
    pooled = TextEmbeddingVectorizer(VECTORS).fit(TEXTS)
    before, attributes = pooled.transform(TEXTS), set(vars(pooled))
    with pytest.raises(error, match=words):
        pooled.set_params(vectors=bad).fit(["dog", "cat"])
    assert set(vars(pooled)) == attributes
    np.testing.assert_array_equal(pooled.transform(TEXTS), before)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_bad_data_frames(library):
    frame = frames(library).DataFrame
    for words, columns in (
        ("each word once, got 'a' twice", {"w": ["a", "b", "a"], "x": [1.0, 2.0, 3.0]}),
        ("strings.*got 1", {"w": [1, 2], "x": [1.0, 2.0]}),
        ("real numbers", {"w": ["a", "b"], "x": ["c", "d"]}),
        ("finite.*'b'", {"w": ["a", "b"], "x": [1.0, float("nan")]}),
        ("data frame", {"w": ["a", "b"]}),
        ("data frame", {}),
    ):
        with pytest.raises(ValueError, match=words):
            align(frame(columns), ["a", "b"])
    if library == "pandas":
        with pytest.raises(ValueError, match="each word once, got 'a' twice"):
            align(frame({"x": [1, 2]}, index=["a", "a"]), ["a"])


@pytest.mark.parametrize(
    ("error", "words", "bad"),
    [
        (ValueError, "each word once, got 'b' twice", ["a", "b", "b"]),
        (ValueError, "vocabulary is empty", []),
        (ValueError, "columns 0 to 1", {"a": 0, "b": 2}),
        (TypeError, "vocabulary must be.*str", "cat"),
        (TypeError, "vocabulary must be.*int", 3),
        (NotFittedError, "not fitted", CountVectorizer()),
    ],
)
def test_bad_vocabularies(error, words, bad):
    with pytest.raises(error, match=words):
        align(VECTORS, bad)
    with pytest.raises(error, match=words):
        vocabulary_of(VECTORS, bad)


@pytest.mark.parametrize(
    ("error", "words", "change"),
    [
        (ValueError, "mode", {"mode": "median"}),
        (ValueError, "oov", {"oov": "drop it"}),
        (ValueError, "dtype must be", {"dtype": "float16"}),
        (ValueError, "oov='subwords' needs vectors of fastText", {"oov": "subwords"}),
        (ValueError, "get_feature_names_out", {"vectorizer": HashingVectorizer()}),
        (ValueError, "device", {"device": "tpu"}),
    ],
)
def test_bad_parameters(error, words, change):
    pooled = TextEmbeddingVectorizer(VECTORS, **change)
    with pytest.raises(error, match=words):
        pooled.fit(TEXTS)
    with pytest.raises(NotFittedError):
        pooled.transform(TEXTS)


def test_bad_parameters_of_align():
    for words, change in (
        ("oov", {"oov": "drop"}),
        ("dtype", {"dtype": "float16"}),
        (r"\.npy", {"path": "table.txt"}),
        ("random_state", {"random_state": "x"}),
        ("oov='subwords' needs", {"oov": "subwords"}),
    ):
        with pytest.raises(ValueError, match=words):
            align(VECTORS, ["cat"], **change)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_of_one_column_is_not_the_name_of_the_column(library):
    frame = pytest.importorskip(library).DataFrame({"cats": ["cats and dogs", "stocks"]})
    pooled = TextEmbeddingVectorizer({"cats": [1, 0], "stocks": [0, 1]})
    for call in pooled.fit, pooled.fit_transform, clone(pooled).fit(frame["cats"]).transform:
        with pytest.raises(ValueError, match=r"one dimension, got the shape \(2, 1\): pass one column"):
            call(frame)
    assert pooled.fit_transform(frame["cats"]).shape == (2, 2)
    columns = make_pipeline(ColumnTransformer([("words", CountVectorizer(), "cats")], verbose_feature_names_out=False))
    assert TextEmbeddingVectorizer(pooled.vectors, columns).fit_transform(frame).shape == (2, 2)


def test_texts_of_unknown_letters_and_no_subwords_at_all():
    with pytest.raises(ValueError, match="None of the 1 words"):
        TextEmbeddingVectorizer(Subwords(), oov="subwords").fit(["xyz"])
    with pytest.raises(TypeError, match="strings, got 3"):
        vocabulary_of({3: [1.0]})


@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge"])
def test_what_is_learnt_from_vectors_does_not_depend_on_their_length(loss):
    vectors, texts, new, y = topics()
    counts = CountVectorizer(vocabulary=[*vectors, "the", "and"])
    table, X = align(vectors, counts), counts.transform(texts)
    models = [EmbeddingBagClassifier(init=s * table, loss=loss, random_state=0).fit(X, y) for s in (1, 8, 1000)]
    for model in models:
        assert model.score(counts.transform(new), y) > 0.97
        np.testing.assert_allclose(model.decision_function(X), models[0].decision_function(X), rtol=0.05, atol=0.05)
        model.partial_fit(X, y)
        assert model.score(X, y) == 1


def test_intercepts_follow_a_stream_whatever_the_length_of_vectors():
    X, y, moved = np.zeros((64, 3)), np.repeat([0, 1], 32), []
    for scale in (1, 16, 256):
        model = EmbeddingBagClassifier(init=scale * np.eye(3), random_state=0).partial_fit(X, y, classes=[0, 1])
        moved.append(model.partial_fit(X, np.ones(64, int)).intercepts_[0][0])
    np.testing.assert_allclose(moved, moved[0], rtol=1e-4)
    assert moved[0] > 0.1


def test_a_row_that_does_not_learn_says_nothing_of_the_scale():
    table, X, y = np.full((4, 3), 0.1), np.eye(4)[[0, 1, 2, 0, 1, 2]], [0, 1, 2] * 2
    with pytest.warns(UserWarning, match="longer than training can follow"):
        EmbeddingBagClassifier(init=1e6 * table, random_state=0).fit(X, y)
    for value in (0.1, 1e4, 1e200):
        table[3] = value
        model = EmbeddingBagClassifier(init=table, padding_idx=3, dtype="float64", random_state=0).fit(X, y)
        assert model._start_scale == 1
    table[3] = 2.0
    assert EmbeddingBagClassifier(init=table, dtype="float64", random_state=0).fit(X, y)._start_scale > 1


def test_a_regressor_learns_from_vectors_of_any_length():
    vectors, texts, _, y = topics()
    counts = CountVectorizer(vocabulary=[*vectors, "the", "and"])
    table, X = align(vectors, counts), counts.transform(texts)
    for scale in (0.1, 1, 1000):
        assert EmbeddingBagRegressor(init=scale * table, random_state=0).fit(X, 1e3 * y).score(X, 1e3 * y) > 0.9
