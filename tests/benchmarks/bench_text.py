"""Vectors by their words, and texts by a static embedding model.

    python tests/benchmarks/bench_text.py            # some minutes, 3 GB of memory
    python tests/benchmarks/bench_text.py --smoke    # every line once

`align`: seconds, and memory beyond what was there, to bring 1,000,000 vectors of 300 numbers in the order of 100,000
words, of which 90,000 have a vector. `static`: seconds of texts to normalised vectors, how many of them are the
tokenizer's, and NumPy's on the same tokens; a model of random numbers, unless the package wordllama, which ships one,
is installed. Texts are IMDB's, or made up where the folder of data is not at hand.
"""

import argparse
import json
import lzma
import os
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from timing import best_of, table

from skbag.text import align, load_static_model

IMDB = Path(__file__).parents[3] / "shared" / "data" / "imdb" / "train.jsonl.xz"


def memory(field):
    """Return VmRSS, the memory in use, or VmHWM, the most since the last `forget`, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def forget():
    Path("/proc/self/clear_refs").write_text("5")


def bench_align(n_vectors, dim, n_words, rounds):
    rng = np.random.default_rng(0)
    names = [f"word{i}" for i in range(n_vectors)]
    vectors = rng.standard_normal((n_vectors, dim), dtype=np.float32)
    keyed = SimpleNamespace(key_to_index={name: i for i, name in enumerate(names)}, vectors=vectors)  # as gensim has it
    words = [names[i] for i in rng.permutation(n_vectors)[: n_words * 9 // 10]]
    words += [f"none{i}" for i in range(n_words - len(words))]
    rng.shuffle(words)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, source, options in (
            ("KeyedVectors", keyed, {}),
            ("KeyedVectors, oov='random'", keyed, {"oov": "random"}),
            ("KeyedVectors, to a file", keyed, {"path": f"{folder}/table.npy"}),
            ("a dict of arrays", dict(zip(names, vectors, strict=True)), {}),
        ):
            seconds, most = [], []
            for _ in range(rounds):
                forget()
                before, start = memory("VmRSS"), time.perf_counter()
                aligned = align(source, words, **options)
                seconds.append(time.perf_counter() - start)
                most.append(memory("VmHWM") - before)
                del aligned
            rows.append([name, seconds[0], min(seconds), max(most)])
    print(
        f"{n_vectors} vectors of {dim} numbers to {n_words} words; the table has {4 * n_words * dim / 2**20:.0f} MB\n"
    )
    print(table(["vectors", "first, s", "best, s", "memory, MB"], rows))


def made_up(folder):
    """Write a model of random numbers, with words as tokens."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(5000)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(f"{folder}/tokenizer.json")
    table = np.random.default_rng(0).standard_normal((5000, 256)).astype(np.float16)
    save_file({"embedding.weight": table}, f"{folder}/model.safetensors")
    return folder


def read_texts(n):
    if IMDB.exists():
        with lzma.open(IMDB, "rt") as file:
            return [json.loads(line)["text"] for line in file][:: 25_000 // n][:n]
    words = np.random.default_rng(1).integers(0, 5000, (n, 230))
    return [" ".join(f"w{i}" for i in row) for row in words]


def bench_static(folder, n_texts, rounds):
    shipped = find_spec("wordllama")
    model = load_static_model(shipped.submodule_search_locations[0] if shipped else made_up(folder), n_jobs=-1)
    texts = read_texts(n_texts)
    tokens, bags, norm = model[0], model[1], model[2]
    tokenizer, matrix = tokens.tokenizer_, tokens.transform(texts)

    def tokenize(size=256):
        """Make the ids, and nothing of them."""
        return [
            encoding.ids
            for first in range(0, len(texts), size)
            for encoding in tokenizer.encode_batch_fast(texts[first : first + size], add_special_tokens=False)
        ]

    lists = tokenize()
    features = bags.transform(matrix)
    best = best_of(
        {
            "texts to vectors": lambda: model.transform(texts),
            "of them the tokenizer's": tokenize,
            "ids to a matrix and its tokens, together": lambda: tokens.transform(texts),
            "pooling": lambda: bags.transform(matrix),
            "norms": lambda: norm.transform(features),
            "pooling by NumPy, text by text": lambda: [bags.embeddings_[ids].mean(axis=0) for ids in lists if ids],
        },
        rounds,
    )
    whole, own = best["texts to vectors"], best["of them the tokenizer's"]
    print(f"\n{len(texts)} texts, {sum(map(len, lists))} tokens, {os.cpu_count()} processors\n")
    print(table(["what", "seconds", "of all"], [[name, seconds, seconds / whole] for name, seconds in best.items()]))
    print(f"\nthe tokenizer has {own / whole:.1%} of the time")


class Ids(list):
    """The ids of a text, as an encoding of the tokenizer."""

    @property
    def ids(self):
        return self


def bench_one_run(n_texts):
    """Print the time of processors that one run takes, in all threads: as much on a busy machine as on an idle one."""
    shipped = find_spec("wordllama")
    if not shipped:
        return
    model = load_static_model(shipped.submodule_search_locations[0], n_jobs=-1)
    texts, spent, encode = read_texts(n_texts), 0.0, model[0]._encode

    def timed(batch, first):
        nonlocal spent
        start = time.process_time()
        encodings = [Ids(encoding.ids) for encoding in encode(batch, first)]
        spent += time.process_time() - start
        return encodings

    model[0]._encode = timed
    model.transform(texts[:100])
    spent, start = 0.0, time.process_time()
    model.transform(texts)
    whole = time.process_time() - start
    print(
        f"\none run takes {whole:.2f} s of processors, of which {spent:.2f} s ({spent / whole:.1%}) are the tokenizer's"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["align", "static", []], default=[])
    parser.add_argument("--smoke", action="store_true", help="does every line still run?")
    options = parser.parse_args()
    what, smoke = options.what or ["align", "static"], options.smoke
    if "align" in what:
        bench_align(*((2000, 8, 1000, 1) if smoke else (1_000_000, 300, 100_000, 3)))
    if "static" in what:
        with tempfile.TemporaryDirectory() as folder:
            bench_static(folder, 50 if smoke else 5000, 1 if smoke else 5)
        bench_one_run(50 if smoke else 5000)


if __name__ == "__main__":
    main()
