"""Files of fastText, written byte by byte; what it makes of a text, in plain Python; and files that are damaged."""

import struct
from collections import Counter

import numpy as np

MAGIC = 793712314
HS, NS, SOFTMAX, OVA = 1, 2, 3, 4
CBOW, SKIPGRAM, SUPERVISED = 1, 2, 3


class Quantized:
    """A matrix of codes, drawn at random, as a QMatrix writes it."""

    def __init__(self, rng, n, dim, width, norms):
        self.n, self.dim, self.width = n, dim, width
        self.parts = -(-dim // width)
        self.codes = rng.integers(0, 256, (n, self.parts), dtype=np.uint8)
        self.centroids = [
            rng.standard_normal((256, min(width, dim - part * width))).astype("<f4") for part in range(self.parts)
        ]
        self.lengths = rng.integers(0, 256, n, dtype=np.uint8) if norms else None
        self.norms = rng.random(256).astype("<f4")

    def dense(self):
        rows = np.hstack([vectors[self.codes[:, part]] for part, vectors in enumerate(self.centroids)])
        return rows if self.lengths is None else rows * self.norms[self.lengths][:, None]

    def tobytes(self):
        last = self.dim - (self.parts - 1) * self.width
        out = struct.pack("<Bqqi", self.lengths is not None, self.n, self.dim, self.codes.size) + self.codes.tobytes()
        out += struct.pack("<4i", self.dim, self.parts, self.width, last)
        out += b"".join(vectors.tobytes() for vectors in self.centroids)
        if self.lengths is not None:
            out += self.lengths.tobytes() + struct.pack("<4i", 1, 1, 1, 1) + self.norms.tobytes()
        return out


class Model:
    """A model with drawn vectors."""

    def __init__(
        self, words, labels=(), *, dim=5, loss=SOFTMAX, model=SUPERVISED, word_ngrams=1, minn=0, maxn=0, bucket=0,
        pruned=None, width=0, norms=False, qout=False, version=12, seed=0,
    ):  # fmt: skip
        rng = np.random.default_rng(seed)
        self.words = [w if isinstance(w, bytes) else w.encode() for w in words]
        self.labels = [f"__label__{label}".encode() for label in labels]
        self.counts = sorted(rng.integers(1, 1000, len(labels)).tolist(), reverse=True)
        self.args = [dim, 5, 5, 1, 5, word_ngrams, loss, model, bucket, minn, maxn, 100]
        self.minn, self.maxn, self.bucket, self.word_ngrams, self.version = minn, maxn, bucket, word_ngrams, version
        self.pruned = None if pruned is None else {int(b): r for r, b in enumerate(pruned)}
        n = len(words) + (bucket if pruned is None else len(pruned))
        n_out = len(labels) if model == SUPERVISED else len(words)
        self.quantized, self.qout = width > 0, qout
        self.input = Quantized(rng, n, dim, width, norms) if width else rng.standard_normal((n, dim)).astype("<f4")
        self.output = (
            Quantized(rng, n_out, dim, width, norms) if qout else rng.standard_normal((n_out, dim)).astype("<f4")
        )

    def tobytes(self):
        out = struct.pack("<2i", MAGIC, self.version) if self.version else b""
        out += struct.pack("<12id", *self.args, 1e-4)
        out += struct.pack("<3iq", len(self.words) + len(self.labels), len(self.words), len(self.labels), 1000)
        if self.version:
            out += struct.pack("<q", -1 if self.pruned is None else len(self.pruned))
        out += b"".join(word + struct.pack("<Bqb", 0, 7, 0) for word in self.words)
        pairs = zip(self.labels, self.counts, strict=True)
        out += b"".join(label + struct.pack("<Bqb", 0, count, 1) for label, count in pairs)
        out += b"".join(struct.pack("<2i", b, r) for b, r in (self.pruned or {}).items())
        for matrix, quantized in ((self.input, self.quantized), (self.output, self.qout)):
            out += bytes([quantized]) if self.version else b""
            out += (
                matrix.tobytes()
                if isinstance(matrix, Quantized)
                else struct.pack("<2q", *matrix.shape) + matrix.tobytes()
            )
        return out

    def write(self, path):
        path.write_bytes(self.tobytes())
        return path

    def dense(self):
        return [m.dense() if isinstance(m, Quantized) else m for m in (self.input, self.output)]

    # --- what dictionary.cc does with a text

    def ids(self, text):
        """Return {id: count} of a line."""
        ids, hashes = [], []
        for word in [*text.encode().translate(bytes.maketrans(b"\t\n\v\f\r\0", b" " * 6)).split(b" "), b"</s>"]:
            if not word:
                continue
            if word in self.words or not word.startswith(b"__label__"):
                ids += self.subwords(word)
                hashes.append(struct.unpack("<i", struct.pack("<I", fnv(word)))[0])
            if word == b"</s>":
                break
        for i in range(len(hashes)):
            value = hashes[i] % 2**64
            for j in range(i + 1, min(len(hashes), i + self.word_ngrams)):
                value = (value * 116049371 + hashes[j]) % 2**64
                self.push(ids, value)
        return Counter(ids)

    def subwords(self, word):
        ids = [self.words.index(word)] if word in self.words else []
        if word == b"</s>":
            return ids
        text = b"<" + word + b">"
        starts = [i for i, byte in enumerate(text) if byte & 0xC0 != 0x80]
        ends = [*starts[1:], len(text)]
        for first in range(len(starts)):
            for n in range(max(1, self.minn), self.maxn + 1):
                last = first + n - 1
                if last < len(starts) and not (n == 1 and (first == 0 or last == len(starts) - 1)):
                    self.push(ids, fnv(text[starts[first] : ends[last]]))
        return ids

    def push(self, ids, value):
        row = value % self.bucket
        if self.pruned is not None:
            row = self.pruned.get(row)
        if row is not None:
            ids.append(len(self.words) + row)


def fnv(data):
    value = 2166136261
    for byte in data:
        value = ((value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619) % 2**32
    return value


def some_models():
    """Return small models of all kinds."""
    words, labels = ["</s>", "cat", "sat", "naïve", "中文", "the"], ["pets", "money", "other"]
    grams = {"word_ngrams": 3, "minn": 2, "maxn": 3, "bucket": 50}
    return [
        Model(words, labels),
        Model(words, labels, loss=HS, **grams),
        Model(words, labels, loss=OVA, width=2, norms=True, qout=True, pruned=range(3, 40, 4), **grams),
        Model(words, labels, width=5, pruned=[], word_ngrams=2, bucket=10),
        Model(words, [], model=SKIPGRAM, loss=NS, minn=3, maxn=6, bucket=30),
        Model(words, [], model=CBOW, loss=NS, minn=3, maxn=6, bucket=30, version=0),
    ]


def damaged(data, rng):
    """Return a file with some of its bytes changed, or cut off, or moved."""
    data = bytearray(data)
    kind = rng.integers(6)
    if kind == 0:
        return bytes(data[: rng.integers(len(data))])
    at = int(rng.integers(min(len(data), 200) if kind < 4 else len(data)))
    if kind == 1:
        data[at] = rng.integers(256)
    elif kind == 2:
        extreme = (2**31 - 1, -1, -(2**31), 0, 1, 2**30)
        data[at : at + 4] = struct.pack("<i", extreme[rng.integers(len(extreme))])
    elif kind == 3:
        extreme = (2**63 - 1, -1, -(2**63), 0, 2**40, 2**31)
        data[at : at + 8] = struct.pack("<q", extreme[rng.integers(len(extreme))])
    elif kind == 4:
        for place in rng.integers(len(data), size=rng.integers(1, 20)):
            data[place] = rng.integers(256)
    else:
        data[at:at] = rng.bytes(int(rng.integers(1, 50)))
    return bytes(data)
