"""HashingNgramVectorizer against scikit-learn's analyzer and a hash written out in Python."""

import pickle
import re
import threading
from collections import Counter

import numpy as np
import pytest
from helpers import run_python
from hypothesis import example, given
from hypothesis import strategies as st
from joblib import parallel_config
from scipy.sparse import csr_array, vstack
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import normalize

from skbag import EmbeddingBagClassifier
from skbag.text import HashingNgramVectorizer

MASK = 2**64 - 1
ALL = HashingNgramVectorizer(2**31 - 1, norm=None)  # so many columns that no two of a few n-grams meet
# what is hard about Unicode: combining marks, final sigma, dotted capital I, ß, digits and numbers of all kinds,
# letters of all planes, joiners, spaces that are none, the last code point
HARD = "aZ_9 .'-\n\té\u0301ΣσςİıßẞⅣ½²٣ขा中あ한\u200d\u00a0\ufeff𝒜𐐀🎉𠀀\U0010ffff\x00<>"  # noqa: RUF001
TEXTS = st.lists(st.text(st.one_of(st.sampled_from(HARD), st.characters(exclude_categories=["Cs"])), max_size=40))


def fnv(data, value=14695981039346656037):
    for byte in data:
        value = (value ^ byte) * 1099511628211 & MASK
    return value


def column(value, n_features):
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & MASK
    return ((value ^ value >> 33) >> 32) * n_features >> 32


def expected(text, n_features, ngram_range, char_ngrams=None):
    """Return {column: count} of a text, by Python's own means."""
    words = re.findall(r"(?u)\b\w\w+\b", text.lower())
    columns = []
    for n in range(ngram_range[0], ngram_range[1] + 1) if ngram_range else ():
        for i in range(len(words) - n + 1):
            value = fnv(words[i].encode())
            for word in words[i + 1 : i + n]:
                value = (value * 116049371 + fnv(word.encode())) & MASK
            columns.append(value)
    for word in words if char_ngrams else ():
        for n in range(char_ngrams[0], char_ngrams[1] + 1):
            for i in range(len(word) + 2 - n + 1):
                part = f"<{word}>"[i : i + n]
                if n > 1 or 0 < i < len(word) + 1:
                    columns.append(fnv(part.encode(), 0x9E3779B97F4A7C15))
    return Counter(column(value, n_features) for value in columns)


def rows(X):
    """Return {column: value} of each row."""
    parts = (np.split(array, X.indptr[1:-1]) for array in (X.indices, X.data))
    return [dict(zip(i.tolist(), v.tolist(), strict=True)) for i, v in zip(*parts, strict=True)][: X.shape[0]]


def assert_canonical(X):
    again = csr_array((X.data, X.indices, X.indptr), shape=X.shape)  # has no flags yet
    assert again.has_sorted_indices
    assert again.has_canonical_format
    assert X.indices.dtype == X.indptr.dtype == np.int32


@given(TEXTS)
@example([HARD, "", "a", "ab", "a b", "I\u0307stanbul ΟΔΟΣ", "naïve naïve", "x" * 300])
def test_words_are_those_of_scikit_learn(texts):
    analyzer = CountVectorizer(ngram_range=(1, 2)).build_analyzer()
    X = ALL.set_params(ngram_range=(1, 2)).transform(texts)
    known = {}
    for text, row in zip(texts, rows(X), strict=True):
        counts = Counter(analyzer(text))
        assert sorted(counts.values()) == sorted(row.values())
        for ngram, count in counts.items():
            (at,) = set(rows(ALL.transform([ngram]))[0]) - (set(single(ngram)) if " " in ngram else set())
            assert row[at] == count
            assert known.setdefault(ngram, at) == at
    assert len(set(known.values())) == len(known)


def single(text):
    return rows(HashingNgramVectorizer(2**31 - 1).transform([text]))[0]


@given(
    TEXTS,
    st.sampled_from([1, 7, 2**10, 2**20, 2**31 - 1]),
    st.sampled_from([None, (1, 1), (1, 2), (2, 3), (1, 5), (3, 3)]),
    st.sampled_from([None, (1, 1), (1, 3), (2, 4), (3, 6), (6, 9)]),
)
@example(["ab abc ab", "é中 𝒜𝒜"], 2**31 - 1, (1, 2), (1, 3))  # noqa: RUF001
def test_every_column_is_that_of_the_documented_hash(texts, n_features, ngram_range, char_ngrams):
    if ngram_range is None and char_ngrams is None:
        char_ngrams = (1, 2)
    model = HashingNgramVectorizer(n_features, ngram_range=ngram_range, char_ngrams=char_ngrams, norm=None)
    X = model.transform(texts)
    assert X.shape == (len(texts), n_features)
    assert_canonical(X)
    assert rows(X) == [dict(expected(text, n_features, ngram_range, char_ngrams)) for text in texts]


def test_all_code_points_are_letters_or_not_as_in_python():
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    X = HashingNgramVectorizer(2**20, lowercase=False).transform([f"{c}{c}" for c in points])
    assert np.array_equal(np.diff(X.indptr) == 1, [c.isalnum() or c == "_" for c in points])


@pytest.fixture(scope="module")
def many():
    rng = np.random.default_rng(0)
    words = [f"{'wörd' if k % 7 else '中文𝒜'}{k}" for k in range(3000)]
    sizes = [0, 1, 9000, *rng.integers(0, 200, 700)]
    return [" ".join(words[k] for k in (rng.pareto(1, n) * 3).astype(int) % 3000) for n in sizes]


@pytest.mark.parametrize("parameters", [{}, {"ngram_range": (1, 3), "char_ngrams": (2, 4), "n_features": 2**14}])
def test_threads_and_batches_give_the_same_bytes(many, parameters, monkeypatch):
    monkeypatch.setattr("skbag._text.rows._TOGETHER", 1 << 18)
    model = HashingNgramVectorizer(**parameters)
    X = model.transform(many)
    assert_canonical(X)
    for other in (
        clone(model).set_params(n_jobs=2).transform(many),
        model.transform(text.encode() for text in many),
        vstack([model.transform(many[first : first + 500]) for first in range(0, len(many), 500)], format="csr"),
    ):
        for name in ("data", "indices", "indptr"):
            assert getattr(other, name).tobytes() == getattr(X, name).tobytes()
    for row in (0, 2, 7, len(many) - 1):
        alone = model.transform([many[row]])
        assert alone.data.tobytes() == X[[row]].data.tobytes()
        assert alone.indices.tobytes() == X[[row]].indices.tobytes()


def test_many_callers_at_once(many):
    model = HashingNgramVectorizer(2**16, ngram_range=(1, 2), n_jobs=2)
    X, results = model.transform(many), []
    threads = [threading.Thread(target=lambda: results.append(model.transform(many))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all((other != X).nnz == 0 for other in results)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("norm", [None, "l1", "l2"])
def test_values_are_those_of_hashing_vectorizer(many, norm, binary, dtype):
    parameters = {"norm": norm, "binary": binary, "dtype": dtype}
    X = HashingNgramVectorizer(2**31 - 1, ngram_range=(1, 2), **parameters).transform(many)
    Y = HashingVectorizer(n_features=2**31 - 1, ngram_range=(1, 2), alternate_sign=False, **parameters).transform(many)
    assert X.dtype == Y.dtype == dtype
    for x, y in zip(np.split(X.data, X.indptr[1:-1]), np.split(Y.data, Y.indptr[1:-1]), strict=True):
        np.testing.assert_allclose(np.sort(x), np.sort(y), rtol=1e-6)
    counts = HashingNgramVectorizer(2**12, norm=None, binary=binary).transform(many)
    X = HashingNgramVectorizer(2**12, **parameters).transform(many)
    np.testing.assert_allclose(X.data, (normalize(counts, norm) if norm else counts).data, rtol=1e-6)


def test_accents_and_case():
    texts = ["Ünïcødé ﬁn", "UNICODE", "e\u0301te\u0301 été"]
    for accents in ("ascii", "unicode", None):
        for lowercase in (True, False):
            prepare = CountVectorizer(strip_accents=accents, lowercase=lowercase).build_preprocessor()
            plain = HashingNgramVectorizer(lowercase=False).transform(map(prepare, texts))
            X = HashingNgramVectorizer(strip_accents=accents, lowercase=lowercase).transform(texts)
            assert (plain != X).nnz == 0


def test_sorts_of_texts():
    texts = ["the cat", "sat on", ""]
    X = HashingNgramVectorizer().transform(texts)
    for other in (
        tuple(texts),
        iter(texts),
        np.array(texts),
        np.array(texts, object),
        [t.encode() for t in texts],
    ):
        assert (HashingNgramVectorizer().transform(other) != X).nnz == 0
    assert HashingNgramVectorizer(8).transform([]).shape == (0, 8)
    assert HashingNgramVectorizer(8).fit_transform(["", " ", "a . b"]).nnz == 0


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("the cat", ValueError, "Iterable over raw text documents expected, string object received."),
        (b"the cat", ValueError, "Iterable over raw text documents expected, string object received."),
        (["a", None], TypeError, r"X\[1\] must be str or bytes, got None\."),
        (["a", "b", 3.5], TypeError, r"X\[2\] must be str or bytes, got 3\.5\."),
        ([["the", "cat"]], TypeError, r"X\[0\] must be str or bytes, got \['the', 'cat'\]\."),
        (5, TypeError, "X must be an iterable over texts, got int."),
        (None, TypeError, "X must be an iterable over texts, got NoneType."),
        (np.array([["a"], ["b"]]), ValueError, r"X must be texts in one dimension, got the shape \(2, 1\)"),
        (["a", "bc\ud800"], ValueError, r"X\[1\] has half of a surrogate pair, '\\ud800' at position 2"),
        ([b"ab", b"ab\xffc"], ValueError, r"X\[1\] is no UTF-8: byte 0xff at position 2\."),
    ],
)
def test_what_is_no_text_is_named(texts, error, message):
    with pytest.raises(error, match=message):
        HashingNgramVectorizer().transform(texts)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_features": 0}, "'n_features' parameter"),
        ({"n_features": 2**31}, "'n_features' parameter"),
        ({"ngram_range": (2, 1)}, r"ngram_range must be two integers, 1 <= least <= most, or None, got \(2, 1\)\."),
        ({"ngram_range": (0, 1)}, "ngram_range must be two integers"),
        ({"ngram_range": (1, 2.5)}, "ngram_range must be two integers"),
        ({"ngram_range": (True, 2)}, "ngram_range must be two integers"),
        ({"char_ngrams": (3,)}, "char_ngrams must be two integers"),
        ({"char_ngrams": 3}, "'char_ngrams' parameter"),
        ({"ngram_range": None}, "must not both be None"),
        ({"norm": "max"}, "'norm' parameter"),
        ({"strip_accents": "all"}, "'strip_accents' parameter"),
        ({"dtype": "int64"}, "dtype must be 'float32' or 'float64', got 'int64'"),
        ({"n_jobs": 1.5}, "'n_jobs' parameter"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform"])
def test_parameters_are_checked(parameters, message, method):
    with pytest.raises(ValueError, match=message):
        getattr(HashingNgramVectorizer(**parameters), method)(["text"])


def test_columns_of_data_frames():
    pd = pytest.importorskip("pandas")
    texts = pd.DataFrame({"text": ["the cat", "sat", None]})
    X = HashingNgramVectorizer().transform(texts["text"][:2])
    assert (HashingNgramVectorizer().transform(["the cat", "sat"]) != X).nnz == 0
    with pytest.raises(
        ValueError, match=r"X must be texts in one dimension, got the shape \(3, 1\): pass one column\."
    ):
        HashingNgramVectorizer().transform(texts)
    with pytest.raises(TypeError, match=r"X\[2\] must be str or bytes, got (None|nan)\."):
        HashingNgramVectorizer().transform(texts["text"].astype(object))


def test_extreme_parameters_cost_no_memory():
    model = HashingNgramVectorizer(ngram_range=(1, 2**31 - 1), char_ngrams=(1, 2**31 - 1), norm=None)
    assert rows(model.transform(["ab cd"])) == [dict(expected("ab cd", 2**20, (1, 2), (1, 4)))]


def test_importing_loads_no_compiler():
    assert run_python("import sys, skbag.text; print({'numba', 'skbag._cpu'} & set(sys.modules))").strip() == "set()"


def test_it_is_a_transformer_of_scikit_learn(many):
    model = HashingNgramVectorizer(2**10, ngram_range=[1, 2], n_jobs=2)
    assert clone(model).get_params() == model.get_params()
    X = model.fit_transform(many)
    assert (pickle.loads(pickle.dumps(model)).transform(many) != X).nnz == 0
    assert not model.__sklearn_tags__().requires_fit
    with parallel_config(n_jobs=2):
        assert (HashingNgramVectorizer(2**10, ngram_range=[1, 2]).transform(many) != X).nnz == 0
    texts, y = ["cats and dogs", "stocks and bonds"] * 4, [0, 1] * 4
    for head in (EmbeddingBagClassifier(random_state=0), SGDClassifier(random_state=0)):
        assert make_pipeline(model, head).fit(texts, y).score(texts, y) == 1
    union = make_union(model, HashingNgramVectorizer(2**9, ngram_range=None, char_ngrams=(2, 3)))
    weighed = make_pipeline(union, TfidfTransformer()).fit_transform(texts)
    assert weighed.shape == (8, 2**10 + 2**9)
