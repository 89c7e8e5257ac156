"""Files of word vectors, as gensim reads them."""

import gzip
import struct
import sys

import numpy as np
import pytest
from fasttext_files import CBOW, NS, Model
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from test_real_data import FILE

from skbag import EmbeddingBagClassifier
from skbag.text import TextEmbeddingVectorizer, align, read_fasttext, vocabulary_of

DATA = FILE.parents[1]
GENSIM = DATA / "vectors_gensim_testdata"
WORDS = {"the": [0.5, -1.0, 2.0], "größe": [1.5, 0.25, -3.0], "cat": [1e-3, 7.0, 0.0]}


@pytest.fixture
def gensim():
    return pytest.importorskip("gensim", reason="needs gensim: pip install -e '.[vectors]'")


def text_of(vectors):
    return "".join(f"{word} {' '.join(map(repr, row))}\n" for word, row in vectors.items()).encode()


def write(path, kind, vectors=WORDS):
    header = b"%d 3\n" % len(vectors)
    content = {
        "word2vec": header + text_of(vectors),
        "fastText": header + text_of(vectors).replace(b"\n", b" \n"),
        "GloVe": text_of(vectors),
        "binary": header + b"".join(w.encode() + b" " + struct.pack("<3f", *row) for w, row in vectors.items()),
        "binary with line ends": header
        + b"".join(w.encode() + b" " + struct.pack("<3f", *row) + b"\n" for w, row in vectors.items()),
    }[kind]
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("ending", [".vec", ".txt", ".bin", ".gz"])
@pytest.mark.parametrize("kind", ["word2vec", "fastText", "GloVe", "binary", "binary with line ends"])
def test_formats_are_known_by_what_is_in_them(gensim, tmp_path, kind, ending):
    path = write(tmp_path / f"vectors{ending}", kind)
    assert vocabulary_of(path) == list(WORDS)
    np.testing.assert_array_equal(
        align(str(path), ["cat", "größe", "x"]), np.float32([WORDS["cat"], WORDS["größe"], [0] * 3])
    )
    pooled = TextEmbeddingVectorizer(path, CountVectorizer(), mode="sum").fit(["the cat", "Größe"])
    np.testing.assert_allclose(pooled.transform(["the the cat dog"]), [[1.001, 5, 4]], rtol=1e-6)


def test_vectors_of_one_number(gensim, tmp_path):
    (tmp_path / "one.txt").write_text("a 1\nb 2\n")
    np.testing.assert_array_equal(align(tmp_path / "one.txt", ["b", "a"]), [[2], [1]])


def test_numbers_of_text_are_read_in_the_dtype(gensim, tmp_path):
    (tmp_path / "pi.txt").write_text(f"a 1e300 {np.pi!r}\n")
    assert align(tmp_path / "pi.txt", ["a"], dtype="float64").tolist() == [[1e300, np.pi]]


def bad_files():
    good, binary = text_of(WORDS), b"3 3\n" + b"".join(w.encode() + b" " + bytes(12) for w in WORDS)
    yield "empty", b"", "begins neither"
    yield "foreign", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "begins neither"
    yield "prose", b"It was the best of times,\n", "begins neither"
    yield "cut short", b"3 3\n" + good[:-20], "unexpected end|numbers for"
    yield "binary, cut short", binary[:-5], "unexpected end"
    yield "nothing behind the header", b"3 3\n", "too short"
    yield "an empty one", b"0 300\n", "empty"
    yield "too large a header", b"99999999999 300\n" + good, "too short"
    yield "too small a header", b"2 3\n" + good, "holds 2 vectors, and has 3"
    for what, content in {
        "two spaces": good.replace(b"the ", b"the  "),
        "two spaces before numbers that are not negative": good.replace(b" 0.5", b"  0.5"),
        "tabs": good.replace(b" ", b"\t"),
        "decimal commas": good.replace(b".", b","),
        "an empty line": b"\n" + good,
        "a first word with a space": b"it " + good,
        "Latin-1": good.replace("größe".encode(), "größe".encode("latin-1")).replace(b" ", b"\t") * 30,
    }.items():
        yield what, b"3 3\n" + content, "no word with as many behind it, each after one space"
    yield "another length than the header's", b"3 2\n" + good, "vectors of 2 numbers, and its second line"
    yield "a length that is too large", b"3 5\n" + good, "vectors of 5 numbers, and its second line"
    yield "a byte order mark", b"\xef\xbb\xbf" + good, "byte order mark"
    yield "unequal", good.replace(b" 2.0\n", b"\n"), "3 numbers|2 numbers"
    yield "one number", good.replace(b" -1.0 2.0\n", b"\n", 1) + b"dog 1 2\n", "numbers for"
    yield "a word twice", good + b"the 1 2 3\n", "word 'the' twice"
    yield "a word twice, in binary", binary[:-16] + b"the " + bytes(12), "word 'the' twice"
    yield "not UTF-8", good.replace("größe".encode(), "größe".encode("latin-1")), "not UTF-8"
    yield "words with spaces", good + b". . . 1 2 3\n", "more than one word before its numbers"
    yield "NaN", good.replace(b"7.0", b"nan"), "finite.*'cat'"
    yield "a model of fastText", (793712314).to_bytes(4, "little") + bytes(100), "fastText"


@pytest.mark.parametrize(("content", "words"), [c[1:] for c in bad_files()], ids=[c[0] for c in bad_files()])
def test_bad_files(gensim, tmp_path, content, words):
    path = tmp_path / "bad.vec"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"(?s)vectors.*({words})"):
        align(path, ["the", "cat"])


def test_bad_compressed_files_and_folders(gensim, tmp_path):
    path = write(tmp_path / "v.vec.gz", "word2vec")
    whole = path.read_bytes()
    for content in (whole[:-12], whole[:20] + b"xxxxx" + whole[25:], b"no gzip at all"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"vectors names a file.*v\.vec\.gz"):
            align(path, ["the"])
    with pytest.raises(ValueError, match="does not exist"):
        align(tmp_path, ["the"])
    with pytest.raises(ValueError, match="does not exist"):
        align("https://example.org/v.vec", ["the"])


def test_corrupted_files_raise_errors_of_ours(gensim, tmp_path):
    rng, path, refused = np.random.default_rng(0), tmp_path / "v", 0
    for kind in ("word2vec", "GloVe", "binary"):
        whole = write(path, kind).read_bytes()
        for _ in range(100):
            damaged = bytearray(whole)
            for _ in range(rng.integers(1, 5)):
                damaged[rng.integers(len(damaged))] = rng.integers(256)
            path.write_bytes(damaged[: rng.integers(len(damaged) // 2, len(damaged) + 1)])
            try:
                assert np.isfinite(align(path, ["the", "cat"])).all()
            except ValueError as error:
                refused += "vector" in str(error)
    assert 100 < refused < 300


def test_models_of_fasttext_by_their_path(tmp_path):
    """Also the first ones, which have no number that says what they are; gensim has no part in it."""
    for version in (0, 12):
        model = Model([b"cat", b"sat"], [], model=CBOW, loss=NS, minn=3, maxn=6, bucket=30, version=version)
        path = model.write(tmp_path / f"{version}.bin")
        np.testing.assert_array_equal(align(path, ["sat"]), read_fasttext(path).word_vectors(["sat"]))
        assert align(path, ["sat", "cats"], oov="subwords").any(axis=1).all()
    packed = tmp_path / "12.bin.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ValueError, match="a model of fastText that is compressed: decompress it first"):
        align(packed, ["sat"])


def test_what_gensim_saved_itself(gensim, tmp_path):
    kv = gensim.models.KeyedVectors(3)
    kv.add_vectors(list(WORDS), np.array(list(WORDS.values()), np.float32))
    kv.save(str(tmp_path / "v.kv"))
    with pytest.raises(ValueError, match=r"a pickle: if gensim saved it, give KeyedVectors\.load"):
        align(tmp_path / "v.kv", ["the"])


def test_without_gensim_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gensim", None)
    with pytest.raises(ImportError, match=r"gensim.*pip install '.\[vectors\]'"):
        align(write(tmp_path / "v.vec", "word2vec"), ["the"])


# --- gensim's own objects


def test_keyed_vectors_are_taken_as_they_are(gensim):
    kv = gensim.models.KeyedVectors(3)
    kv.add_vectors(list(WORDS), np.array(list(WORDS.values()), np.float32))
    kv.vectors.flags.writeable = False
    np.testing.assert_array_equal(align(kv, ["größe"]), [np.float32(WORDS["größe"])])
    model = gensim.models.Word2Vec([["a", "b"]] * 5, vector_size=4, min_count=1, seed=0, workers=1)
    np.testing.assert_array_equal(align(model, ["b"]), [model.wv["b"]])
    with pytest.raises(ValueError, match=r"at least one for at least one word.*\(0, 3\)"):
        align(gensim.models.KeyedVectors(3), ["a"])


def test_fasttext_of_gensim_makes_vectors_of_subwords(gensim):
    options = {"vector_size": 6, "min_count": 1, "seed": 0, "workers": 1, "bucket": 500}
    model = gensim.models.FastText([["letter", "paper"]] * 5, min_n=3, max_n=4, **options)
    table = align(model, ["paper", "letters", "papers"], oov="subwords")
    np.testing.assert_allclose(table, [model.wv["paper"], model.wv["letters"], model.wv["papers"]])
    pooled = TextEmbeddingVectorizer(model.wv, CountVectorizer(), oov="subwords").fit(["letters papers"])
    np.testing.assert_allclose(pooled.transform(["papers"]), [model.wv["papers"]], rtol=1e-6)
    without = gensim.models.FastText([["letter", "paper"]] * 5, min_n=0, max_n=0, **{**options, "bucket": 0})
    with pytest.raises(ValueError, match="oov='subwords' needs"):
        align(without, ["paper"], oov="subwords")


# --- real ones

real = pytest.mark.skipif(not GENSIM.exists(), reason=f"no {GENSIM}")


@real
@pytest.mark.parametrize(
    ("name", "n_words", "dim", "word"),
    [
        ("EN.1-10.cbow1_wind5_hs0_neg10_size300_smpl1e-05.txt.gz", 20, 300, "one"),
        ("lee_fasttext.vec.gz", 1762, 10, "the"),
        ("euclidean_vectors.bin.gz", 2747, 10, "the"),
        ("test_glove.txt", 76, 50, "the"),
        ("word2vec_pre_kv_c.gz", 1750, 10, "the"),
    ],
)
def test_real_files(gensim, name, n_words, dim, word):
    words = vocabulary_of(GENSIM / name)
    assert len(words) == n_words
    assert word in words
    assert align(GENSIM / name, [word]).shape == (1, dim)


@real
def test_a_real_model_of_fasttext(gensim):
    path = GENSIM / "crime-and-punishment.bin"
    model = gensim.models.fasttext.load_facebook_vectors(str(path))
    table = align(model, ["крестьянин", "steamtrain"], oov="subwords")
    np.testing.assert_allclose(table, [model["крестьянин"], model["steamtrain"]])
    np.testing.assert_allclose(align(path, ["крестьянин", "steamtrain"], oov="subwords"), table, rtol=1e-5)


NEWS = DATA / "vectors_googlenews_top1000" / "googlenews_top1000_300d.vec.gz"


@pytest.mark.skipif(not NEWS.exists(), reason=f"no {NEWS}")
def test_questions_by_word_vectors(gensim, tmp_path):
    """TREC with 1,000 words of Google News: as features, and as the start of a classifier."""
    split = {}
    for part in ("train", "test"):
        with gzip.open(DATA / "trec" / f"TREC.{part}.gz", "rt", encoding="latin-1") as file:
            split[part] = list(zip(*(line.rstrip().split(":", 1) for line in file), strict=True))
    (y, texts), (y_new, new) = split["train"], split["test"]
    model = make_pipeline(TextEmbeddingVectorizer(NEWS, CountVectorizer()), RidgeClassifier()).fit(texts, y)
    assert model.score(new, y_new) > 0.6 > 2 * y_new.count("DESC") / len(y_new)
    coverage = model[0].coverage_
    assert 0.05 < coverage["types"] < 0.15 < 0.4 < coverage["occurrences"] < 0.7
    words = vocabulary_of(NEWS, CountVectorizer().fit(texts))
    init = align(NEWS, words, path=tmp_path / "news.npy")
    tuned = make_pipeline(TfidfVectorizer(vocabulary=words), EmbeddingBagClassifier(init=init, random_state=0))
    assert tuned.fit(texts, y).score(new, y_new) > 0.6
