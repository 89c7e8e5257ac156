"""Static embedding models: tables in .safetensors, tokens as columns, and both as a pipeline."""

import json
import lzma
import pickle
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from helpers import frames, run_python
from scipy.sparse import csr_array, issparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from test_real_data import FILE

from skbag import EmbeddingBagClassifier, EmbeddingBagVectorizer
from skbag.text import TokenizerVectorizer, load_static_model

tokenizers = pytest.importorskip("tokenizers", reason="needs tokenizers: pip install -e '.[static]'")
numpy_files = pytest.importorskip("safetensors.numpy", reason="needs safetensors: pip install -e '.[static]'")

WORDS = ["[UNK]", "[CLS]", "the", "cat", "dog", "stock", "größe", "##s", "a", "b"]
TEXTS = ["the cats and the dog", "", "zebra", "Größe größe stock", "a b a b a", "the " * 40 + "cat"]
TABLE = np.random.default_rng(0).normal(0, 1, (len(WORDS), 5)).astype(np.float32)


def wordpiece():
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", 1)]
    )
    return tokenizer


def unigram():
    pieces = [(word, -float(i)) for i, word in enumerate(WORDS)]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return tokenizer


def pooled(texts, table, tokenizer=None, *, drop=(), length=None, normalize=True):
    """What a static model is: the mean of the vectors of the tokens."""
    rows = np.zeros((len(texts), table.shape[1]))
    for row, text in zip(rows, texts, strict=True):
        ids = (tokenizer or wordpiece()).encode(text, add_special_tokens=False).ids[:length]
        ids = [i for i in ids if i not in drop]
        if ids:
            row[:] = table[ids].astype(np.float64).mean(axis=0)
            row /= np.linalg.norm(row) if normalize else 1
    return rows


def bfloat16(table):
    """Return the upper halves of float32, as bytes, and what they mean."""
    halves = (np.float32(table).view(np.uint32) >> 16).astype(np.uint16)
    return halves, (halves.astype(np.uint32) << 16).view(np.float32)


def save_bfloat16(path, name, table):
    halves, meant = bfloat16(table)
    header = json.dumps({name: {"dtype": "BF16", "shape": table.shape, "data_offsets": [0, halves.nbytes]}}).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + halves.tobytes())
    return meant


# --- tables in .safetensors


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint8", "int32"])
def test_init_takes_tensors_by_their_values(tmp_path, dtype):
    table = (TABLE * 100).astype(np.int64).clip(0, 120).astype(dtype) if "int" in dtype else TABLE.astype(dtype)
    numpy_files.save_file({"t": table, "bias": np.ones(3)}, tmp_path / "t.safetensors")
    path, X = tmp_path / "t.safetensors", csr_array(np.eye(len(table)))
    for wanted in ("float32", "float64"):
        bags = EmbeddingBagVectorizer(init=path, dtype=wanted).fit(X)
        assert bags.embeddings_.dtype == wanted
        np.testing.assert_array_equal(bags.embeddings_, table.astype(wanted))
        if wanted == dtype:
            assert not bags.embeddings_.flags.owndata  # mapped
    ready = EmbeddingBagVectorizer.from_pretrained(f"{path}#t")
    assert ready.embeddings_.dtype == ("float64" if dtype == "float64" else "float32")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(ready)).embeddings_, ready.embeddings_)
    assert clone(ready).init == f"{path}#t"


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    table = np.array([[1, -2.5], [3e38, 1e-40], [np.pi, 0]], np.float32)
    meant = save_bfloat16(tmp_path / "t.safetensors", "t", table)
    np.testing.assert_allclose(meant[[0, 2]], table[[0, 2]], rtol=2**-7)
    for dtype in ("float32", "float64"):
        bags = EmbeddingBagVectorizer(init=tmp_path / "t.safetensors", dtype=dtype).fit(np.eye(3))
        np.testing.assert_array_equal(bags.embeddings_, meant)
    if find_spec("torch"):
        import torch
        from safetensors.torch import load_file, save_file

        assert np.array_equal(load_file(tmp_path / "t.safetensors")["t"].float().numpy(), meant)
        save_file({"t": torch.tensor(table).bfloat16()}, tmp_path / "torch.safetensors")
        by_torch = EmbeddingBagVectorizer.from_pretrained(tmp_path / "torch.safetensors").embeddings_
        np.testing.assert_array_equal(by_torch, torch.tensor(table).bfloat16().float().numpy())


def test_training_begins_at_a_tensor_and_leaves_the_file(tmp_path):
    path = tmp_path / "t.safetensors"
    numpy_files.save_file({"t": TABLE}, path)
    before = path.read_bytes()
    tokens = TokenizerVectorizer(wordpiece())
    texts, y = ["the cat", "a cats", "dog", "stock", "stock größe", "the b"] * 5, [0, 0, 0, 1, 1, 1] * 5
    for init in (path, f"{path}#t"):
        model = make_pipeline(tokens, EmbeddingBagClassifier(init=init, learning_rate_init=0.5, random_state=0))
        assert model.fit(texts, y).score(texts, y) == 1
        assert model[-1].embeddings_.shape == TABLE.shape
        np.testing.assert_array_equal(model[-1].embeddings_[1], TABLE[1])  # [CLS] is in no text
        assert (model[-1].embeddings_[3] != TABLE[3]).all()
    assert path.read_bytes() == before


def test_bad_tensors(tmp_path):
    path = tmp_path / "t.safetensors"
    numpy_files.save_file({"a": TABLE, "b": TABLE[:3], "bias": TABLE[0]}, path)
    whole, X = path.read_bytes(), np.eye(len(TABLE))
    nan = np.full((10, 5), np.nan, np.float32)

    def refused(words, init=path, error=ValueError):
        bags = EmbeddingBagVectorizer(init=init)
        for door in (lambda: bags.fit(X), lambda: EmbeddingBagVectorizer.from_pretrained(init)):
            with pytest.raises(error, match=words):
                door()

    refused(r"2 of two dimensions.*'a' \(10, 5\), 'b' \(3, 5\), 'bias' \(5,\)")
    refused("not in the file: 'c'.*'a'", f"{path}#c")
    refused("num_embeddings, embedding_dim", f"{path}#bias")
    with pytest.raises(ValueError, match="one row per feature of X, 10, got 3"):
        EmbeddingBagVectorizer(init=f"{path}#b").fit(X)
    assert (EmbeddingBagVectorizer(init=f"{path}#a").fit(X).embeddings_ == TABLE).all()
    refused("does not exist.*gone", tmp_path / "gone.safetensors")
    for content in (b"", b"abc", whole[:-1], whole[:50], whole + b"x", b"\xff" * 100, b"\x08" + bytes(7) + b"[1, 2]  "):
        path.write_bytes(content)
        refused("no whole .safetensors file")
    for tensors, words in (
        ({"x": np.ones(3)}, "0 of two dimensions"),
        ({"x": nan}, "nan at row 0, column 0"),
        ({"x": np.zeros((0, 5))}, r"\(0, 5\)"),
        ({"x": np.ones((10, 5), bool)}, "got BOOL"),
    ):
        numpy_files.save_file(tensors, path)
        refused(words)
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    refused("no whole|does not exist", folder)


def test_corrupted_safetensors_are_refused_or_read(tmp_path):
    path, rng = tmp_path / "t.safetensors", np.random.default_rng(0)
    numpy_files.save_file({"a": TABLE}, path)
    whole, refused = path.read_bytes(), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(min(len(damaged), 90))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert np.isfinite(EmbeddingBagVectorizer.from_pretrained(path).embeddings_).all()
        except ValueError:
            refused += 1
    assert 200 < refused < 300


# --- tokens


@pytest.mark.parametrize("make", [wordpiece, unigram])
def test_tokens_are_counted(make):
    X = TokenizerVectorizer(make()).fit_transform(TEXTS)
    assert issparse(X)
    assert X.format == "csr"
    assert X.has_canonical_format
    assert X.dtype == np.float32
    counts = [np.bincount(make().encode(text, add_special_tokens=False).ids, minlength=10) for text in TEXTS]
    np.testing.assert_array_equal(X.toarray(), counts)
    assert X.sum(axis=1).max() == 41


@pytest.mark.parametrize("batch", [1, 256, 2**40])  # keys of 64 bits in the last
def test_more_texts_than_a_batch(monkeypatch, batch):
    monkeypatch.setattr("skbag._text.tokens._BATCH", batch)
    texts = [f"{'cat ' * (i % 7)} dog" for i in range(1000)]
    X = TokenizerVectorizer(wordpiece()).fit_transform(iter(texts))
    np.testing.assert_array_equal(X[:, 3].toarray().ravel(), np.arange(1000) % 7)


def test_options_of_the_tokens(tmp_path):
    limited = wordpiece()
    limited.enable_truncation(3)
    limited.enable_padding(pad_id=9)

    def total(tokenizer, **options):
        return TokenizerVectorizer(tokenizer, **options).fit_transform(TEXTS).sum(axis=1).ravel().tolist()[0]

    assert total(wordpiece()) == [6, 0, 1, 3, 5, 41]
    assert total(limited) == [3, 0, 1, 3, 3, 3]
    assert total(limited, max_length=None) == [6, 0, 1, 3, 5, 41]
    assert total(limited, max_length=4) == [4, 0, 1, 3, 4, 4]
    assert total(wordpiece(), max_characters=7) == [2, 0, 1, 2, 4, 2]
    assert total(wordpiece(), max_characters=0) == [0] * 6
    assert total(wordpiece(), drop_unknown=True) == [5, 0, 0, 3, 5, 41]
    assert total(wordpiece(), add_special_tokens=True) == [7, 1, 2, 4, 6, 42]
    assert limited.truncation["max_length"] == 3
    assert limited.padding["pad_id"] == 9
    nameless = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1}, []))
    assert TokenizerVectorizer(nameless, drop_unknown=True).fit_transform(["ab", "c"]).toarray().tolist() == [
        [1, 1],
        [0, 0],
    ]


def test_a_path_a_folder_and_an_object_are_the_same(tmp_path):
    wordpiece().save(str(tmp_path / "tokenizer.json"))
    right = TokenizerVectorizer(wordpiece()).fit_transform(TEXTS).toarray()
    for tokenizer in (tmp_path, tmp_path / "tokenizer.json", str(tmp_path)):
        tokens = TokenizerVectorizer(tokenizer).fit()
        np.testing.assert_array_equal(tokens.transform(TEXTS).toarray(), right)
    shutil.rmtree(tmp_path)
    again = pickle.loads(pickle.dumps(tokens))
    np.testing.assert_array_equal(again.transform(TEXTS).toarray(), right)
    assert clone(tokens).tokenizer == str(tmp_path)


def test_names_of_tokens():
    tokens = TokenizerVectorizer(wordpiece()).fit()
    assert tokens.get_feature_names_out().tolist() == WORDS
    gaps = tokenizers.Tokenizer(tokenizers.models.WordLevel({"x": 0, "y": 3}, unk_token="x"))
    assert TokenizerVectorizer(gaps).fit().get_feature_names_out().tolist() == ["x", "<1>", "<2>", "y"]


def test_bad_texts_and_tokenizers(tmp_path):
    tokens = TokenizerVectorizer(wordpiece()).fit()
    for error, words, X in (
        (ValueError, "Iterable over raw text documents expected, string object received", "cat"),
        (TypeError, "strings, got None at position 1", ["cat", None]),
        (TypeError, "strings, got b'cat' at position 0", [b"cat"]),
        (TypeError, "strings, got nan at position 300", ["cat"] * 300 + [np.nan]),
        (ValueError, r"one dimension, got the shape \(1, 1\): pass one column", np.array([["cat"]])),
        (ValueError, "cannot encode, at position 301.*surrogates", ["cat"] * 301 + ["\ud800"]),
    ):
        with pytest.raises(error, match=words):
            tokens.transform(X)
    assert tokens.transform([]).shape == (0, 10)
    with pytest.raises(NotFittedError):
        TokenizerVectorizer(wordpiece()).transform(["cat"])
    (tmp_path / "bad.json").write_text("{}")
    for error, words, change in (
        (ValueError, "does not exist.*Nothing is downloaded", {"tokenizer": "minishlab/potion-base-8M"}),
        (ValueError, "no tokenizer.json.*bad.json", {"tokenizer": tmp_path / "bad.json"}),
        (ValueError, "does not exist", {"tokenizer": tmp_path}),
        (TypeError, "tokenizer must be.*int", {"tokenizer": 3}),
        (ValueError, "max_length", {"max_length": 0}),
        (ValueError, "max_characters", {"max_characters": -1}),
        (ValueError, "dtype", {"dtype": "float16"}),
    ):
        bad = clone(tokens).set_params(**change)
        with pytest.raises(error, match=words):
            bad.fit()
        assert not [name for name in vars(bad) if name.endswith("_")]


@pytest.mark.parametrize("package", ["tokenizers", "safetensors"])
def test_missing_packages_are_named_with_their_extra(tmp_path, monkeypatch, package):
    path = folder_of(tmp_path, "WordLlama")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"package {package}.*pip install '.\[static\]'"):
        load_static_model(path)


# --- folders


def folder_of(path, kind, tensors=None, tokenizer=None, **config):
    tokenizer = tokenizer or wordpiece()
    tensors = tensors or {"embeddings" if kind == "model2vec" else "embedding.weight": TABLE}
    table, tokens = "model.safetensors", "tokenizer.json"
    if kind == "WordLlama":
        table, tokens = "weights/x_5.safetensors", "tokenizers/x_tokenizer_config.json"
    if kind == "sentence-transformers":
        table, tokens = f"0_StaticEmbedding/{table}", f"0_StaticEmbedding/{tokens}"
        kinds = {"0_StaticEmbedding": "StaticEmbedding", **({"1": "Normalize"} if config.get("normalize") else {})}
        modules = [{"path": name, "type": f"sentence_transformers.models.{kind}"} for name, kind in kinds.items()]
        (path / "modules.json").write_text(json.dumps(modules))
    for file in (table, tokens):
        (path / file).parent.mkdir(exist_ok=True)
    numpy_files.save_file(tensors, path / table)
    tokenizer.save(str(path / tokens))
    if kind == "model2vec":
        (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.mark.parametrize("kind", ["model2vec", "sentence-transformers", "WordLlama"])
def test_folders_are_pipelines(tmp_path, kind):
    path = folder_of(tmp_path, kind)
    model = load_static_model(path)
    options = {"drop": {0}} if kind == "model2vec" else {}
    features = model.transform(TEXTS)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, pooled(TEXTS, TABLE, **options), atol=1e-6)
    plain = load_static_model(str(path), normalize=False, n_jobs=2).transform(TEXTS)
    np.testing.assert_allclose(plain, pooled(TEXTS, TABLE, normalize=False, **options), atol=1e-6)
    for again in (pickle.loads(pickle.dumps(model)), clone(model).fit(TEXTS)):
        np.testing.assert_array_equal(again.transform(TEXTS), features)
    assert len(model.get_feature_names_out()) == 5
    head = make_pipeline(model, LogisticRegression()).fit(TEXTS, [0, 0, 0, 1, 1, 1])
    assert head.predict(TEXTS).shape == (6,)


def test_pipelines_and_data_frames(tmp_path):
    pandas = frames("pandas")
    path = folder_of(tmp_path, "WordLlama")
    features = load_static_model(path).transform(pandas.Series(TEXTS, index=range(6, 0, -1)))
    with config_context(transform_output="pandas"):
        frame = load_static_model(path).transform(TEXTS)
    assert isinstance(frame, pandas.DataFrame)
    np.testing.assert_array_equal(frame, features)


def test_what_the_files_say_of_the_norm(tmp_path):
    for kind in ("model2vec", "sentence-transformers"):
        for normalize in (True, False):
            path = tmp_path / f"{kind}{normalize}"
            path.mkdir()
            model = load_static_model(folder_of(path, kind, normalize=normalize), normalize=None)
            assert (len(model) == 3) == normalize


@pytest.mark.parametrize("quantized", [("weights",), ("mapping",), ("weights", "mapping")])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8"])
def test_weights_and_mappings_of_model2vec(tmp_path, quantized, dtype):
    rng = np.random.default_rng(1)
    table = (TABLE * 30).astype(dtype)
    tensors, meant = {"embeddings": table}, table.astype(np.float64)
    if "mapping" in quantized:
        tensors = {"embeddings": table[:4], "mapping": rng.integers(0, 4, len(WORDS))}
        meant = meant[tensors["mapping"]]
    if "weights" in quantized:
        tensors["weights"] = rng.random(len(WORDS)).astype(np.float32)
        meant = meant * tensors["weights"][:, None]
    model = load_static_model(folder_of(tmp_path, "model2vec", tensors))
    np.testing.assert_allclose(model.transform(TEXTS), pooled(TEXTS, meant, drop={0}), atol=1e-6)


def test_model2vec_cuts_long_texts(tmp_path):
    path = folder_of(tmp_path, "model2vec", max_length=4)  # tokens, and four times the median of 4 characters before
    texts = ["the cat dog stock a b", "x" * 17 + " cat", "cat " * 10]
    expected = pooled([text[:16] for text in texts], TABLE, drop={0}, length=4)
    np.testing.assert_allclose(load_static_model(path).transform(texts), expected, atol=1e-6)
    assert not expected[1].any()
    (path / "config.json").write_text('{"max_length": null}')
    np.testing.assert_allclose(load_static_model(path).transform(texts), pooled(texts, TABLE, drop={0}), atol=1e-6)


@pytest.mark.parametrize("n_rows", [9, 11])
def test_a_tokenizer_that_does_not_fit_the_table(tmp_path, n_rows):
    path = folder_of(tmp_path, "WordLlama", {"embedding.weight": np.ones((n_rows, 3), np.float32)})
    with pytest.raises(ValueError, match=rf"tokenizer does not fit the table.*10 tokens.*{n_rows} rows"):
        load_static_model(path)
    bags = EmbeddingBagClassifier(init=path / "weights/x_5.safetensors")
    model = make_pipeline(TokenizerVectorizer(wordpiece()), bags)
    with pytest.raises(ValueError, match="one row per feature of X, 10"):
        model.fit(["cat", "dog"], [0, 1])


def test_the_files_may_be_named(tmp_path):
    path = folder_of(tmp_path, "WordLlama")
    right = load_static_model(path).transform(TEXTS)
    file = path / "weights/x_5.safetensors"
    np.testing.assert_array_equal(load_static_model(file).transform(TEXTS), right)
    numpy_files.save_file({"other": TABLE, "embedding.weight": TABLE[::-1].copy()}, path / "weights/y.safetensors")
    with pytest.raises(ValueError, match=r"one .safetensors file.*x_5.safetensors.*y.safetensors"):
        load_static_model(path)
    model = load_static_model(f"{path / 'weights/y.safetensors'}#other", tokenizer=wordpiece())
    np.testing.assert_array_equal(model.transform(TEXTS), right)


def test_bad_folders(tmp_path):
    with pytest.raises(TypeError, match="normalize must be True, False or None, got 'x'"):
        load_static_model(tmp_path, normalize="x")
    for words, path in (
        ("Nothing is downloaded", "minishlab/potion-base-8M"),
        ("names a file that does not exist", tmp_path / "none.safetensors"),
        ("one .safetensors file.*none", tmp_path),
        ("does not exist", tmp_path / "gone.safetensors"),
    ):
        with pytest.raises(ValueError, match=words):
            load_static_model(path, tokenizer=wordpiece())
    numpy_files.save_file({"t": TABLE}, tmp_path / "t.safetensors")
    with pytest.raises(ValueError, match="has no tokenizer"):
        load_static_model(tmp_path)
    load_static_model(tmp_path, tokenizer=wordpiece())
    kinds = [{"type": f"x.{kind}", "path": ""} for kind in ("StaticEmbedding", "Dense", "Normalize")]
    for words, modules in (
        ("no static embedding model.*StaticEmbedding, Dense, Normalize", json.dumps(kinds)),
        ("no static embedding model.*Dense", json.dumps(kinds[1:])),
        ("no JSON", "{"),
        ("must hold a list", "{}"),
        ("list of modules", "[]"),
        ("list of modules", "[3]"),
    ):
        (tmp_path / "modules.json").write_text(modules)
        with pytest.raises(ValueError, match=words):
            load_static_model(tmp_path, tokenizer=wordpiece())
    (tmp_path / "modules.json").write_text(json.dumps(kinds[:1]))
    (tmp_path / "config_sentence_transformers.json").write_text('{"default_prompt_name": "query"}')
    with pytest.raises(ValueError, match="prompt"):
        load_static_model(tmp_path, tokenizer=wordpiece())


def test_bad_tensors_of_model2vec(tmp_path):
    for words, tensors in (
        ("10 weights of tokens", {"weights": np.ones(9)}),
        ("rows of the table, 0 to 9", {"mapping": np.full(10, 10)}),
        ("rows of the table", {"mapping": np.full(10, -1)}),
        ("rows of the table", {"mapping": np.ones(10)}),
        ("does not fit", {"mapping": np.ones(9, np.int64)}),
        ("finite", {"weights": np.full(10, np.nan)}),
    ):
        with pytest.raises(ValueError, match=words):
            load_static_model(folder_of(tmp_path, "model2vec", {"embeddings": TABLE, **tensors}))


# --- the libraries themselves


@pytest.mark.parametrize("make", [wordpiece, unigram])
@pytest.mark.parametrize("quantized", [False, True])
def test_model2vec(tmp_path, make, quantized):
    model2vec = pytest.importorskip("model2vec", reason="needs model2vec")
    extra = {"weights": np.linspace(0, 1, 10), "token_mapping": np.arange(10) // 3} if quantized else {}
    theirs = model2vec.StaticModel(TABLE[:4] if quantized else TABLE, make(), normalize=True, max_length=30, **extra)
    theirs.save_pretrained(tmp_path)
    texts = [*TEXTS, "x" * 200 + " cat"]
    np.testing.assert_allclose(load_static_model(tmp_path).transform(texts), theirs.encode(texts), atol=1e-6)


def test_sentence_transformers(tmp_path):
    if find_spec("sentence_transformers") is None:  # importing takes seconds
        pytest.skip("needs sentence-transformers")
    code = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from tokenizers import Tokenizer
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
folder, texts = sys.argv[1], ["the cats and the dog", "zebra", "größe stock", "the " * 40 + "cat"]
tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
table = np.random.default_rng(0).normal(size=(10, 5)).astype(np.float32)
model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, table), Normalize()], device="cpu")
model.save(folder + "/model")
np.save(folder + "/right.npy", model.encode(texts))
"""
    limited = wordpiece()
    limited.enable_truncation(6)
    limited.save(str(tmp_path / "tokenizer.json"))
    run_python(code, tmp_path, env={"HF_HUB_OFFLINE": "1"})
    texts = ["the cats and the dog", "zebra", "größe stock", "the " * 40 + "cat"]
    model = load_static_model(tmp_path / "model", normalize=None)
    np.testing.assert_allclose(model.transform(texts), np.load(tmp_path / "right.npy"), atol=1e-6)


@pytest.fixture(scope="module")
def wordllama():
    """The folder of the package, which ships a model; it is not imported."""
    spec = find_spec("wordllama")
    if spec is None:
        pytest.skip("needs the files of wordllama: pip install --no-deps wordllama")
    return Path(spec.submodule_search_locations[0])


def test_wordllama(wordllama):
    texts = ["", "cats and dogs", "Ünïcode 日本語 🙂", "a\n\n b\t", *TEXTS]
    imdb = FILE.parents[1] / "imdb" / "test.jsonl.xz"
    if imdb.exists():
        with lzma.open(imdb, "rt") as file:
            texts += [json.loads(next(file))["text"] for _ in range(100)]
    model = load_static_model(wordllama, n_jobs=2)
    table = numpy_files.load_file(model[1].init.partition("#")[0])["embedding.weight"].astype(np.float32)
    tokenizer = tokenizers.Tokenizer.from_file(model[0].tokenizer)
    features = model.transform(texts)
    assert features.shape == (len(texts), 256)
    np.testing.assert_allclose(features, pooled(texts, table, tokenizer), atol=1e-6)
    near = model.transform(["a kitten", "puppies", "share prices fell"])
    assert near[0] @ near[1] > near[0] @ near[2]


def test_wordllama_itself(wordllama):
    pytest.importorskip("requests", reason="needs what wordllama needs")
    inference = pytest.importorskip("wordllama.inference", reason="needs what wordllama needs")
    model = load_static_model(wordllama)
    table = numpy_files.load_file(model[1].init.partition("#")[0])["embedding.weight"]
    theirs = inference.WordLlamaInference(table, tokenizers.Tokenizer.from_file(model[0].tokenizer))
    texts = ["cats and dogs", "share prices", "one", "Größe 🙂"]
    np.testing.assert_allclose(model.transform(texts), theirs.embed(texts, norm=True), atol=1e-6)
