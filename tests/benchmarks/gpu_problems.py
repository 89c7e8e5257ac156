"""What bench_cuda.py measures on a GPU: the same tables, bags and epochs for skbag, torch, FBGEMM and CuPy."""

import importlib
import sys
from functools import cache
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

sys.path.insert(0, str(Path(__file__).parents[1]))
from simulator import SIMULATED


def optional(name):
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):  # FBGEMM's libraries may be those of another torch
        return None


cuda = optional("numba.cuda")  # global, as the simulator wants it


def torch_on_gpu():
    """Return torch where it can use the GPU, as its CPU build cannot."""
    torch = optional("torch")
    return torch if torch and torch.cuda.is_available() else None


def fbgemm_on_gpu():
    """Return the module of FBGEMM's tables, which are TorchRec's, where it can use the GPU."""
    return optional("fbgemm_gpu.split_table_batched_embeddings_ops_training") if torch_on_gpu() else None


def fbgemm_table(fbgemm, n_rows, dim, mode, solver="sgd"):
    """Return a table of FBGEMM, which changes in its backward pass."""
    solvers = {"sgd": fbgemm.OptimType.EXACT_SGD, "rowwise_adagrad": fbgemm.OptimType.EXACT_ROWWISE_ADAGRAD}
    modes = {"sum": fbgemm.PoolingMode.SUM, "mean": fbgemm.PoolingMode.MEAN}
    return fbgemm.SplitTableBatchedEmbeddingBagsCodegen(
        [(n_rows, dim, fbgemm.EmbeddingLocation.DEVICE, fbgemm.ComputeDevice.CUDA)],
        optimizer=solvers[solver], pooling_mode=modes[mode], learning_rate=0.01,
    )  # fmt: skip


@cache
def _filler():
    @cuda.jit
    def fill(out):
        for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            x = (i * 0x9E3779B9) & 0xFFFFFFFF
            x = ((x ^ (x >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
            out[i] = (x ^ (x >> 13)) / 2.0**31 - 1

    return fill


def drawn(n_rows, dim):
    """Return a table of numbers between -1 and 1, hashes of their places, drawn on the GPU."""
    array = cuda.device_array((n_rows, dim), np.float32)
    _filler()[(1, 32) if SIMULATED else (1024, 256)](array.ravel())
    return array


class Problem:
    """A table and bags on the GPU, shared by all sides."""

    def __init__(self, n_rows, dim, n_bags, members):
        from skbag._backends import get_backend
        from skbag._cuda.staging import Members

        rng = np.random.default_rng(0)
        self.backend, self.cuda = get_backend("cuda"), cuda
        self.table = drawn(n_rows, dim)
        ids = rng.integers(0, n_rows, n_bags * members, dtype=np.int32)
        indptr = np.arange(0, ids.size + 1, members, dtype=np.int32)
        self.shape = n_bags, n_rows
        self.ids, self.indptr = cuda.to_device(ids), cuda.to_device(indptr)
        self.weights = cuda.to_device(rng.random(ids.size, dtype=np.float32))
        self.out = cuda.device_array((n_bags, dim), np.float32)
        self._members = [
            Members(self.ids, weights, self.indptr, 0, n_bags, ids.size, members) for weights in (None, self.weights)
        ]

    def ours(self, mode, weighted=False):
        members, device = self._members[weighted], self.backend.device

        def run():
            with device.active():
                self.backend.pool_members(self.table, members, mode, None, self.out)
            return self.out

        return run

    def torch(self, torch, mode, weighted=False):
        tensor, ids, offsets, weights = (
            torch.as_tensor(array, device="cuda") for array in (self.table, self.ids, self.indptr[:-1], self.weights)
        )
        return lambda: torch.nn.functional.embedding_bag(
            ids, tensor, offsets, mode=mode, per_sample_weights=weights if weighted else None
        )

    def fbgemm(self, fbgemm, mode, weighted=False):
        torch = torch_on_gpu()
        bags = fbgemm_table(fbgemm, *self.table.shape, mode)
        ids, offsets, weights, table = (
            torch.as_tensor(array, device="cuda") for array in (self.ids, self.indptr, self.weights, self.table)
        )
        with torch.no_grad():
            bags.split_embedding_weights()[0].copy_(table)
        weights = weights if weighted else None

        def run():
            with torch.no_grad():
                return bags(ids, offsets, per_sample_weights=weights)

        return run

    def cupy(self, cupy):
        sparse = importlib.import_module("cupyx.scipy.sparse")
        arrays = tuple(cupy.asarray(array) for array in (self.weights, self.ids, self.indptr))
        X, dense = sparse.csr_matrix(arrays, shape=self.shape), cupy.asarray(self.table)
        return lambda: X @ dense

    @staticmethod
    def same(one, other, n=1000):
        """Check that two sides give the same: the first and the last bags."""
        first, second = one(), other()
        for some in (slice(n), slice(max(0, len(first) - n), None)):
            expected = second[some].cpu().numpy() if hasattr(second, "cpu") else second[some].get()
            np.testing.assert_allclose(first[some].copy_to_host(), expected, rtol=2e-4, atol=2e-4)


# --- epochs of mini-batches, on bags that are on the GPU already


def our_trainer(ids, y, n_rows, dim, solver, batch_size):
    from skbag._backends import get_backend, get_trainer
    from skbag._data.bags import bags_from_csr
    from skbag._data.model import Model, Objective, Parameters
    from skbag._data.resident import Resident
    from skbag._data.targets import Targets
    from skbag._rules.losses import CROSS_ENTROPY
    from skbag._rules.solvers import SOLVERS

    backend, solver, indptr = get_backend("cuda"), SOLVERS[solver], np.arange(0, ids.size + 1, ids.shape[1])
    X = csr_array((np.ones(ids.size, np.float32), ids.ravel(), indptr.astype(np.int32)), (len(ids), n_rows))
    bags = backend.check(bags_from_csr(X, dtype=np.float32, weighted=False), "mean")
    layer = np.random.default_rng(0).normal(0, 0.1, (3, dim)).astype(np.float32), np.zeros(3, np.float32)
    arrays = Resident(None, backend.device, drawn(n_rows, dim)), *layer
    model = get_trainer("cuda").keep(Model.of(Parameters.new(array, solver) for array in arrays), np.float32)
    targets = Targets(y, np.arange(len(y) + 1), None, 3)
    objective = Objective("mean", CROSS_ENTROPY, solver)
    return get_trainer("cuda").Trainer(bags, targets, np.ones(len(y)), model, objective, batch_size, 1)


def our_epoch(*problem):
    from skbag._data.model import Rates

    trainer, order = our_trainer(*problem), np.arange(len(problem[1]))
    return lambda: trainer.epoch(order, Rates(0.01))


def torch_epoch(torch, bag, parameters, ids, y, dim, batch_size):
    """An epoch with a table, ``bag(ids)``, of which ``parameters`` are left to an optimizer."""
    linear = torch.nn.Linear(dim, 3, device="cuda")
    optimizer = torch.optim.SGD([*parameters, *linear.parameters()], lr=0.01)
    ids, y = torch.as_tensor(ids, device="cuda"), torch.as_tensor(y, device="cuda")

    def epoch():
        for first in range(0, len(y), batch_size):
            optimizer.zero_grad()
            logits = linear(bag(ids[first : first + batch_size]))
            torch.nn.functional.cross_entropy(logits, y[first : first + batch_size]).backward()
            optimizer.step()

    return epoch


def torch_sparse(torch, ids, y, n_rows, dim, batch_size):
    bag = torch.nn.EmbeddingBag(n_rows, dim, mode="mean", sparse=True, device="cuda")
    return torch_epoch(torch, bag, bag.parameters(), ids, y, dim, batch_size)


def fbgemm_epoch(torch, fbgemm, ids, y, n_rows, dim, solver, batch_size):
    bags = fbgemm_table(fbgemm, n_rows, dim, "mean", solver)
    bags.init_embedding_weights_uniform(-0.1, 0.1)
    offsets = torch.arange(0, batch_size * ids.shape[1] + 1, ids.shape[1], device="cuda", dtype=torch.int32)
    return torch_epoch(
        torch, lambda some: bags(some.reshape(-1), offsets[: len(some) + 1]), (), ids, y, dim, batch_size
    )  # fmt: skip
