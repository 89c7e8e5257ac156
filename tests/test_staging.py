"""Bags from the host on their way through a GPU: checked there, block by block, and copied in threads."""

import os

import numpy as np
import pytest
import reference
from helpers import assert_pooled, csr, random_csr, random_table, run_python
from hypothesis import given, settings
from hypothesis import strategies as st
from test_devices import broken, doubled, vectorizer

from skbag import EmbeddingBagClassifier, embedding, embedding_bag
from skbag._backends import get_backend
from skbag._data.bags import bags_from_csr
from skbag._data.found import look

SMALL = 200  # bytes of a block: some rows


@pytest.fixture
def small_blocks(cuda, monkeypatch):
    """Let the GPU check bags of few members, in several blocks, and let copies be made in several pieces."""
    from skbag._cuda import backend, copying, staging

    monkeypatch.setattr(backend, "_FEW", 0)
    monkeypatch.setattr(staging, "BLOCK_BYTES", SMALL)
    monkeypatch.setattr(copying, "_PIECE", 16)


# --- the check


def bags_with(data, ids, lengths):
    X = csr(np.asarray(data), np.asarray(ids, "int32"), np.append(0, np.cumsum(lengths)).astype("int32"), 9)
    return bags_from_csr(X, dtype=X.data.dtype)


IDS = st.integers(-1, 9) | st.integers(0, 8)
WEIGHTS = st.sampled_from([1.0, -2.0, 1e-20, 1e20, 0.0, np.nan, np.inf]) | st.floats(-2, 2, width=32)


@pytest.mark.usefixtures("small_blocks")
@settings(max_examples=25)
@given(
    members=st.lists(st.tuples(IDS, WEIGHTS), max_size=8), sizes=st.lists(st.integers(0, 3), max_size=4),
    ordered=st.booleans(),
)  # fmt: skip
def test_all_checks_find_the_same(members, sizes, ordered):
    """Of NumPy, of the GPU, and of the CPU: that says nothing of a sum, or raises."""
    ids, data = [i for i, _ in members], np.array([w for _, w in members], "float32")
    lengths = [*sizes, len(ids) - sum(sizes)]
    if lengths[-1] < 0:  # indptr falls, and ends where it may
        lengths = [len(ids), *([1, -1] if len(ids) else []), 0]
    bags = bags_with(data, sorted(ids) if ordered else ids, lengths)
    found = get_backend("cuda")._in_blocks(bags, "sum")
    here = look(bags)
    assert found.invalid == here.invalid
    if not here.invalid:
        assert found[1:4] == here[1:4]
    message = []
    for backend in map(get_backend, ("cpu", "cuda")):
        try:
            fit = backend.check(bags_with(data, sorted(ids) if ordered else ids, lengths), "mean")
            message.append([None if a is None else a.tobytes() for a in (fit.indices, fit.indptr, fit.weights)])
        except ValueError as error:
            message.append(str(error))
    assert message[0] == message[1]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("first", [0, -1])
@pytest.mark.parametrize("kind", ["id", "negative id", "NaN", "infinity"])
def test_errors_are_those_of_the_cpu_wherever_they_are(cuda, kind, first):
    X = reference.canonical(random_csr(30)) if first else doubled(random_csr(30, longest=5))
    if "id" in kind:
        X.indices[first] = -1 if kind == "negative id" else 9
    else:
        X.data[first] = np.nan if kind == "NaN" else -np.inf
    messages = []
    for device in ("cpu", cuda):
        for call in (vectorizer(random_table(), device).transform, EmbeddingBagClassifier(4, device=device).fit):
            with pytest.raises(ValueError, match="row") as error:
                call(X, *([] if call.__name__ == "transform" else [np.arange(30) % 2]))
            messages.append(str(error.value))
    assert messages[:2] == messages[2:]


@pytest.mark.usefixtures("small_blocks")
def test_errors_of_ids_and_offsets_are_those_of_the_cpu(cuda):
    table = random_table()
    for ids in ([[0, 1], [9, 2]], [[0, -3]]):
        for function in (embedding, embedding_bag):
            with pytest.raises(ValueError, match="ids must be at least 0") as expected:
                function(ids, table)
            with pytest.raises(ValueError, match="ids must be at least 0") as error:
                function(ids, table, device=cuda)
            assert str(error.value) == str(expected.value)
    with pytest.raises(ValueError, match="offsets must not decrease, got 3 and then 1 at row 1"):
        embedding_bag([1, 2, 3, 4], table, [0, 3, 1], device=cuda)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("mode", ["sum", "mean", "sqrtn", "max"])
def test_blocks_that_are_checked_on_the_gpu(cuda, mode):
    table = random_table()
    for X in (random_csr(30), doubled(random_csr(30, longest=5)), random_csr(30)[:0]):
        pooled = vectorizer(table, cuda, mode=mode).transform(X)
        assert_pooled(pooled, reference.bags_of_csr(X), table, mode)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("mode", ["mean", "sqrtn"])
@pytest.mark.parametrize("limit", ["tiny", "max"])
def test_extreme_weights_that_the_gpu_finds(cuda, mode, limit):
    X, table = reference.canonical(random_csr(30)), random_table()
    size = float(getattr(np.finfo("float64"), limit)) * (64 if limit == "tiny" else 1 / 64)
    Z = csr(X.data * size, X.indices, X.indptr, 9)
    pooled = [vectorizer(table, cuda, mode=mode).transform(some) for some in (X, Z)]
    np.testing.assert_allclose(pooled[1], pooled[0], rtol=1e-12)


@pytest.mark.usefixtures("small_blocks")
def test_no_row_is_read_by_an_id_that_is_out_of_range(cuda, monkeypatch):
    from skbag._cuda.backend import Backend

    X, read = broken("id"), []
    X.indices[-1] = -(2**31)
    original = Backend.pool_members

    def pool_members(self, rows, members, *rest, **options):
        ids = members.ids.copy_to_host()[: members.n_members]
        read.append((ids.min(initial=0), ids.max(initial=0)))
        return original(self, rows, members, *rest, **options)

    monkeypatch.setattr(Backend, "pool_members", pool_members)
    with pytest.raises(ValueError, match="contains the id"):
        vectorizer(random_table(), cuda).transform(X)
    assert read
    assert all(lowest >= 0 and highest < 9 for lowest, highest in read)
    assert X.indices[-1] == -(2**31)  # it is mended in a copy


WITHOUT_CPU = """
import sys
import numpy as np
import simulator  # before others
import reference
from helpers import random_csr, random_table
from skbag import EmbeddingBagClassifier, EmbeddingBagVectorizer, embedding, embedding_bag
from skbag._cuda import backend

X, y = random_csr(), np.arange(12) % 2
for few in (backend._FEW, 0):
    backend._FEW = few
    for Z in (X, reference.canonical(X)):
        EmbeddingBagVectorizer.from_pretrained(random_table(), mode="sqrtn", device="cuda").transform(Z)
    model = EmbeddingBagClassifier(1, batch_size=12, freeze=True, device="cuda")
    model.partial_fit(X, y, classes=[0, 1]).predict(X)
    embedding([[1, 2]], random_table(), device="cuda")
    embedding_bag([[1, 2]], random_table(), device="cuda")
print([name for name in sys.modules if name.startswith("skbag._cpu.")])
"""


def test_a_process_with_a_gpu_does_not_load_the_kernels_of_the_cpu(cuda):
    assert run_python(WITHOUT_CPU).strip() == "[]"


# --- the pipeline


class Recorder:
    """A slot that only says what is done with it, and lets bags be found invalid at a block."""

    def __init__(self, name, log, bad=None):
        self.name, self.log, self.bad, self.block = name, log, bad, None
        self.findings = self

    @property
    def found(self):
        from skbag._data.found import Found

        return Found(invalid=self.block == self.bad)

    def stage(self, bags, first, last, longest):
        self.block = first
        self.log.append(("stage", first, self.name))
        return first

    def unstage(self, source, out):
        self.log.append(("work", source, self.name))

    def bring(self):
        self.log.append(("bring", self.block, self.name))

    def finish(self):
        self.log.append(("finish", self.block, self.name))
        self.block = None


def run_through(monkeypatch, n, bad=None):
    from skbag._cuda import staging

    monkeypatch.setattr(staging, "BLOCK_BYTES", 1)
    bags, log = bags_with(np.ones(n), np.zeros(n), [1] * n), []
    slots = tuple(Recorder(name, log, bad) for name in "abc")
    found = staging.through(
        slots, bags, 1, look=lambda slot, members: None, work=lambda slot, members: members,
        suits=lambda found: not found.invalid, out=np.empty((n, 1)),
    )  # fmt: skip
    return found, log


def test_a_block_is_staged_while_the_one_before_is_worked_on_and_brought_after(cuda, monkeypatch):
    _, log = run_through(monkeypatch, 5)
    steps = [(what, block) for what, block, _ in log if what in ("stage", "work", "bring")]
    assert steps == [
        ("stage", 0), ("work", 0), ("stage", 1), ("work", 1), ("bring", 0), ("stage", 2), ("work", 2), ("bring", 1),
        ("stage", 3), ("work", 3), ("bring", 2), ("stage", 4), ("work", 4), ("bring", 3), ("bring", 4),
    ]  # fmt: skip
    finished = [(block, name) for what, block, name in log if what == "finish" and block is not None]
    assert finished == [(0, "a"), (1, "b"), (3, "a"), (4, "b"), (2, "c")]  # when its slot is needed, or all ends
    assert log.index(("finish", 0, "a")) == log.index(("stage", 3, "a")) - 1


def test_an_invalid_block_ends_all_and_nothing_is_under_way(cuda, monkeypatch):
    found, log = run_through(monkeypatch, 9, bad=2)
    assert found.invalid
    assert ("stage", 4, "b") not in log
    assert [what for what, _, _ in log[-3:]] == ["finish"] * 3


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("where", ["stage", "unstage", "bring", "pool_members"])
def test_what_fails_in_the_middle_leaves_nothing_behind(cuda, monkeypatch, where, error):
    from skbag._cuda import staging
    from skbag._cuda.backend import Backend

    X, estimator = reference.canonical(random_csr(30)), vectorizer(random_table(), cuda)
    expected, owner = estimator.transform(X), Backend if where == "pool_members" else staging.Slot
    original, calls = getattr(owner, where), []

    def fails(self, *args, **options):
        calls.append(where)
        if len(calls) == 3:
            raise error("in the middle")
        return original(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, where, fails)
        with pytest.raises(error, match="in the middle"):
            estimator.transform(X)
    slots = get_backend(cuda)._slots
    assert not any(slot._copies or slot._pending or slot._busy for slot in slots)
    np.testing.assert_array_equal(estimator.transform(X), expected)


def test_memory_serves_rows_of_all_widths(cuda):
    """A search over widths leaves no array for each of them."""
    X = reference.canonical(random_csr(30))
    get_backend(cuda).__dict__.pop("_slots", None)
    for dim in (3, 7, 1, 5, 2):
        for dtype in ("float32", "float64"):
            table = random_table(dim=dim, dtype=dtype)
            assert_pooled(vectorizer(table, cuda).transform(X), reference.bags_of_csr(X), table, "mean")
    for slot in get_backend(cuda)._slots:
        assert set(slot._on_device) <= {"ids", "indptr", "weights", "out"}
        assert all(len(memory) <= 30 * 7 * 8 + len(X.data) * 16 for memory in slot._on_device.values())


# --- copies


@pytest.mark.parametrize("n", [0, 1, 7, 64, 1000])
def test_copies_in_pieces(cuda, monkeypatch, n):
    from skbag._cuda import copying

    monkeypatch.setattr(copying, "_PIECE", 16)
    source = np.random.default_rng(0).normal(size=(n, 3))
    source.flags.writeable = False
    target = np.zeros_like(source)
    copying.copy(target, source)
    np.testing.assert_array_equal(target, source)
    assert len(copying.begin([(target, source)])) == (0 if source.nbytes < 32 else copying._pool(os.getpid())[1])


@pytest.mark.parametrize("n", [0, 1, 7, 64, 1000])
def test_values_taken_in_pieces(cuda, monkeypatch, n):
    from skbag._cuda import copying

    monkeypatch.setattr(copying, "_PIECE", 16)
    rng = np.random.default_rng(0)
    values, indices = rng.integers(0, 9, 50, dtype=np.int32), rng.integers(0, 50, n)
    np.testing.assert_array_equal(copying.taken(values, indices), values[indices])


def test_a_copy_that_fails_is_raised_once(cuda, monkeypatch):
    from skbag._cuda import copying

    monkeypatch.setattr(copying, "_PIECE", 16)
    with monkeypatch.context() as patch:
        patch.setattr(copying.np, "copyto", lambda target, source: 1 / 0)
        copies = copying.begin([(np.zeros(100), np.ones(100))])
        with pytest.raises(ZeroDivisionError):
            copying.end(copies)
    assert copies == []
    copying.end(copies)
