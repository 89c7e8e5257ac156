"""Arrays that lie on a GPU and belong to other libraries: what is taken, in which stream, and what is an error."""

import pickle
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import reference
from helpers import assert_pooled, random_csr, random_table
from simulator import SIMULATED
from test_devices import CsrOnGpu, OnGpu, vectorizer

from skbag import EmbeddingBagClassifier

pytestmark = pytest.mark.skipif(not SIMULATED, reason="these arrays lie in the memory of the host")


class ByDlpack:
    """What an array on a GPU offers that knows DLPack alone."""

    def __init__(self, array, index=0, kind=2):
        self.array, self.where, self.streams = array, (kind, index), []

    def __dlpack_device__(self):
        return self.where

    def __dlpack__(self, *, stream=None, max_version=None, **rest):
        self.streams.append(stream)
        return self.array.__dlpack__(max_version=max_version)


def csr_of(X, make=ByDlpack, **arrays):
    arrays = {"data": X.data, "indices": X.indices, "indptr": X.indptr} | arrays
    return SimpleNamespace(shape=X.shape, **{name: make(array) for name, array in arrays.items()})


@pytest.fixture
def log(monkeypatch):
    """What is done to the GPU, in its order: launches and waits with their stream."""
    from skbag._cuda.device import Device

    found = []

    class Stream:
        def __init__(self, handle):
            self.handle = handle

        def synchronize(self):
            found.append(("wait", self.handle))

    original = Device.launch

    def launch(self, kernel, n, *arguments, stream=0):
        found.append(("launch", getattr(stream, "handle", stream)))
        original(self, kernel, n, *arguments, stream=stream)

    monkeypatch.setattr(Device, "launch", launch)
    monkeypatch.setattr(Device, "stream_at", lambda self, handle: Stream(handle))
    monkeypatch.setattr(Device, "synchronize", lambda self: found.append(("wait", "all")))
    monkeypatch.setattr(Device, "follow", lambda self, stream: found.append(("follow", stream.handle)))
    return found


def in_stream(handle):
    def make(array):
        there = OnGpu(array)
        there.__cuda_array_interface__["stream"] = handle
        return there

    return make


@pytest.mark.parametrize("kind", [2, 13])
@pytest.mark.parametrize("mode", ["mean", "max"])
def test_arrays_of_dlpack_are_taken_without_a_copy(cuda, monkeypatch, mode, kind):
    from skbag._cuda import lending

    X, table = reference.canonical(random_csr(dtype="float32")), random_table(dtype="float32")
    there, taken = csr_of(X, lambda array: ByDlpack(array, kind=kind)), []
    monkeypatch.setattr(lending.Lent, "there", lambda self, there=lending.Lent.there: taken.append(self) or there(self))
    pooled = vectorizer(table, cuda, mode=mode).transform(there)
    assert_pooled(pooled.copy_to_host(), reference.bags_of_csr(X), table, mode)
    names = {there.data: X.data, there.indices: X.indices, there.indptr: X.indptr}
    assert all(lent.address == names[lent.owner].ctypes.data for lent in taken)
    assert [array.streams for array in names] == [[1]] * 3  # their library makes the default stream wait, once


@pytest.mark.parametrize("mode", ["sqrtn", "sum", "mean"])
def test_arrays_of_dlpack_are_trained_on(cuda, mode):
    X, y = reference.canonical(random_csr()), np.arange(12) % 3
    params = {"mode": mode, "max_iter": 1, "device": cuda, "random_state": 0}
    fits = [EmbeddingBagClassifier(4, **params).fit(Z, y) for Z in (X, csr_of(X))]
    np.testing.assert_array_equal(fits[1].embeddings_, fits[0].embeddings_)
    np.testing.assert_array_equal(fits[1].predict(csr_of(X)), fits[0].predict(X))


def test_members_of_a_maximum_are_those_that_are_stored(cuda):
    """As on the host, a value that is 0 in the dtype of the table names a member."""
    X, y = reference.canonical(random_csr()), np.arange(12) % 2
    X.data[::2] = 1e-50
    for model in (
        vectorizer(random_table(dtype="float32"), cuda, mode="max"),
        vectorizer(random_table(dtype="float32"), cuda, per_sample_weights=False),
    ):
        np.testing.assert_array_equal(model.transform(csr_of(X)).copy_to_host(), model.transform(X))
    fits = [EmbeddingBagClassifier(4, mode="max", max_iter=1, device=cuda, random_state=0) for _ in range(2)]
    np.testing.assert_array_equal(fits[0].fit(csr_of(X), y).embeddings_, fits[1].fit(X, y).embeddings_)


@pytest.mark.parametrize("scoring", ["loss", "accuracy"])
@pytest.mark.parametrize("sort", [True, False])
def test_early_stopping_leaves_rows_out(cuda, scoring, sort):
    X, y = random_csr(30), np.arange(30) % 2
    X = reference.canonical(X) if sort else X
    params = {"max_iter": 2, "early_stopping": True, "validation_fraction": 0.3, "scoring": scoring}
    fits = [EmbeddingBagClassifier(4, random_state=0, device=cuda, **params).fit(Z, y) for Z in (X, csr_of(X))]
    np.testing.assert_array_equal(fits[1].embeddings_, fits[0].embeddings_)
    assert fits[1].validation_scores_ == fits[0].validation_scores_


def test_arrays_of_dlpack_on_the_host_are_no_matrix_on_a_gpu(cuda):
    from skbag._data.on_device import is_on_device

    X = random_csr()
    assert not is_on_device(csr_of(X, lambda array: ByDlpack(array, kind=1)))
    with pytest.raises(TypeError, match="got data and indptr on a GPU and the rest on the host"):
        vectorizer(random_table(), cuda).transform(
            SimpleNamespace(shape=X.shape, data=ByDlpack(X.data), indices=X.indices, indptr=ByDlpack(X.indptr))
        )


def test_read_only_arrays_are_fine_and_stay_what_they_were(cuda):
    X, y, table = reference.canonical(random_csr()), np.arange(12) % 2, random_table()
    before = [array.copy() for array in (X.data, X.indices, X.indptr)]
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    assert OnGpu(X.data).__cuda_array_interface__["data"][1]
    expected = vectorizer(table, cuda).transform(X)
    for there in (CsrOnGpu(X), csr_of(X)):
        np.testing.assert_array_equal(vectorizer(table, cuda).transform(there).copy_to_host(), expected)
        EmbeddingBagClassifier(4, max_iter=1, device=cuda).fit(there, y)
    for array, old in zip((X.data, X.indices, X.indptr), before, strict=True):
        np.testing.assert_array_equal(array, old)


class Refusing(ByDlpack):
    def __dlpack__(self, **rest):
        raise BufferError("it has a negative bit")


class Masked(OnGpu):
    def __init__(self, array):
        super().__init__(array)
        self.__cuda_array_interface__["mask"] = np.zeros(len(array), bool)


@pytest.mark.parametrize(
    ("name", "change", "kind", "words"),
    [
        ("indices", lambda a: ByDlpack(np.repeat(a, 2)[::2]), ValueError, r"X\.indices must be 1-D, contiguous"),
        ("data", lambda a: OnGpu(np.repeat(a, 2)[::2]), ValueError, r"X\.data must be 1-D, .* strides \(16,\)"),
        ("data", lambda a: ByDlpack(a[:, None]), ValueError, r"X\.data must be 1-D"),
        ("indptr", lambda a: ByDlpack(a.astype("uint32")), TypeError, r"X\.indptr must be an array of int32 or int64"),
        ("indices", lambda a: ByDlpack(a.astype("int16")), TypeError, r"X\.indices must be .* got dtype\('int16'\)"),
        ("data", lambda a: ByDlpack(a.astype("float16")), TypeError, r"X\.data must be .* not of float16"),
        ("data", lambda a: ByDlpack(a.astype("complex128")), TypeError, r"X\.data must be an array of real numbers"),
        ("data", lambda a: ByDlpack(a, index=3), ValueError, r"X\.data is on the GPU 'cuda:3', and device='cuda:0'"),
        ("data", Refusing, TypeError, r"X\.data cannot be taken from Refusing: it has a negative bit"),
        ("indptr", Masked, ValueError, r"X\.indptr must not have a mask"),
    ],
)
def test_arrays_that_cannot_be_taken_change_nothing(cuda, name, change, kind, words):
    X, y = reference.canonical(random_csr()), np.arange(12) % 2
    model = EmbeddingBagClassifier(4, device=cuda, random_state=0).partial_fit(X, y, classes=[0, 1])
    there, before = csr_of(X), pickle.dumps(model)
    setattr(there, name, change(getattr(X, name)))
    for call in (lambda: model.transform(there), lambda: model.partial_fit(there, y), lambda: model.fit(there, y)):
        with pytest.raises(kind, match=words):
            call()
        assert pickle.dumps(model) == before


# --- streams


def test_work_goes_on_in_the_stream_of_the_library(cuda, log):
    X, table = reference.canonical(random_csr()), random_table()
    pooled = vectorizer(table, cuda).transform(csr_of(X, in_stream(77)))
    assert {stream for what, stream in log if what == "launch"} == {77}
    assert log.index(("wait", 77)) < log.index(("launch", 77), 1)  # for what the check has found
    # and for nothing after the work was begun, but the default stream does: the table may be trained there
    assert log[-2:] == [("launch", 77), ("follow", 77)]
    assert pooled.stream.handle == 77  # for who takes it
    assert_pooled(pooled.copy_to_host(), reference.bags_of_csr(X), table, "mean")


def test_arrays_that_name_no_stream_or_several_are_waited_for(cuda, log):
    X, estimator = reference.canonical(random_csr()), vectorizer(random_table(), cuda)
    pooled = estimator.transform(csr_of(X, in_stream(None)))
    assert log[-1] == ("wait", 1)
    assert pooled.stream == 0
    log.clear()
    several = csr_of(X, in_stream(77))
    several.data.__cuda_array_interface__["stream"] = 2
    assert estimator.transform(several).stream == 0
    assert log[0] == ("wait", 77)
    assert log[-1] == ("wait", 2)
    assert {stream for what, stream in log if what == "launch"} == {2}


def test_arrays_of_dlpack_beside_those_of_a_stream_are_waited_for(cuda, log):
    X, estimator = reference.canonical(random_csr()), vectorizer(random_table(), cuda)
    mixed = csr_of(X, in_stream(77))
    mixed.indices = ByDlpack(X.indices)  # ready in the default stream
    assert estimator.transform(mixed).stream == 0
    assert log[0] == ("wait", 1)
    assert log[-1] == ("wait", 77)


@pytest.mark.parametrize(("handle", "stream"), [(0, 1), (55, 55)])
def test_tensors_of_torch_are_used_in_its_current_stream(cuda, log, monkeypatch, handle, stream):
    torch = ModuleType("torch")
    torch.cuda = SimpleNamespace(current_stream=lambda device: SimpleNamespace(cuda_stream=handle))
    torch.as_tensor = lambda array: ("torch's", array)
    monkeypatch.setitem(sys.modules, "torch", torch)
    tensor = type("Tensor", (OnGpu,), {"__module__": "torch", "device": SimpleNamespace(type="cuda", index=0)})
    X, table = reference.canonical(random_csr()), random_table()
    library, pooled = vectorizer(table, cuda).transform(csr_of(X, tensor))
    assert library == "torch's"
    assert {where for what, where in log if what == "launch"} == {stream}
    assert log[-2:] == [("launch", stream), ("follow", stream)]
    assert_pooled(pooled.copy_to_host(), reference.bags_of_csr(X), table, "mean")


@pytest.mark.parametrize("module", ["cupy", "jaxlib._jax"])
def test_results_are_arrays_of_the_library(cuda, monkeypatch, module):
    library = ModuleType("library")
    library.asarray = lambda array: ("the library's", array)
    monkeypatch.setitem(sys.modules, "cupy", library)
    monkeypatch.setitem(sys.modules, "jax", ModuleType("jax"))
    monkeypatch.setitem(sys.modules, "jax.numpy", library)
    kind = type("Array", (OnGpu,), {"__module__": module})
    estimator = vectorizer(random_table(), cuda)
    X = random_csr()
    for Z in (X, reference.canonical(X)):  # summed on the host, and not
        said, pooled = estimator.transform(csr_of(Z, kind))
        assert said == "the library's"
        np.testing.assert_array_equal(pooled.copy_to_host(), estimator.transform(Z))


def test_predictions_of_arrays_in_a_stream(cuda, log):
    X, y = reference.canonical(random_csr()), np.arange(12) % 2
    model = EmbeddingBagClassifier(4, device=cuda, random_state=0).partial_fit(X, y, classes=[0, 1])
    expected = model.decision_function(X)
    log.clear()
    np.testing.assert_array_equal(model.decision_function(csr_of(X, in_stream(77))), expected)
    assert {stream for what, stream in log if what == "launch"} == {77}
    assert log[-1] == ("wait", 77)
