"""Backends: memory, threads and launches. Each one offers the same functions, those of the protocols here."""

import re
import sys
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skbag._compiled.shield import drop_orphans, shielded
from skbag._data.bags import Bags
from skbag._data.blocks import Blocks
from skbag._data.model import Model, Objective, Rates
from skbag._data.targets import Targets
from skbag._rules.pooling import Mode

Array = NDArray[Any]
Norm = tuple[float, float] | None  # max_norm, norm_type

_COMPILERS = "numba", "llvmlite", "numba_cuda"


class Backend(Protocol):
    """What a device offers for pooling; the meaning is that of ``skbag._cpu.backend``.

    A table is an array, or what ``hold`` makes of one.
    """

    def hold(self, table: Any) -> Any:
        """Return a table as an estimator keeps it between calls; TypeError or ValueError if it is none."""

    def check(self, bags: Bags, mode: Mode, n_jobs: int | None = 1) -> Bags:
        """Return bags that are wholly checked and made for a mode."""

    def split(self, bags: Bags, edges: Array, n_jobs: int | None = 1) -> Bags:
        """Return the bags of each field in the place of each bag."""

    def pool(self, bags: Bags, table: Any, mode: Mode, n_jobs: int | None, norm: Norm = None) -> Any:
        """Return the pooled rows of each bag, the modes and the fields side by side."""

    def lookup(self, bags: Bags, table: Any, n_jobs: int | None) -> Array:
        """Return one row of the table per member."""

    def norm_factors(
        self, table: Array, norm: tuple[float, float], n_jobs: int | None, indices: Array | None = None
    ) -> Array:
        """Return the factors that bring rows down to max_norm."""


class Trainer(Protocol):
    """Trains a model on one set of checked bags.

    One that can go on with other bags has ``take``, too; see ``skbag._cpu.training.Trainer``.
    """

    def epoch(self, order: Array, rates: Rates) -> float:
        """Go once through the bags in this order and return the mean loss; NaN if training diverged."""

    def outputs(self, rows: Array) -> Array:
        """Return the outputs of some bags."""

    def take_back(self) -> None:
        """Make the model what it was when the trainer was made, if it was made with ``undo``."""

    def forget(self) -> None:
        """Give up what `take_back` needs; neither may be called any more."""


class MakeTrainer(Protocol):
    """Makes a trainer; for the parameters see ``skbag._cpu.training.Trainer``."""

    def __call__(
        self, bags: Bags, targets: Targets, sample_weight: Array, model: Model, objective: Objective, batch_size: int,
        n_jobs: int | None, *, undo: bool = False,
    ) -> Trainer:  # fmt: skip
        """Return a trainer."""


class Training(Protocol):
    """What a device offers for training and prediction."""

    @property
    def Trainer(self) -> MakeTrainer:  # noqa: N802
        """Return what makes a trainer."""

    def keep(self, model: Model, dtype: np.dtype[Any]) -> Model:
        """Return a model as it is trained there."""

    def predict(
        self, bags: Bags, model: Model, blocks: Blocks, n_jobs: int | None, *, choose: bool = False,
        pooled: bool = False,
    ) -> Array:  # fmt: skip
        """Return the outputs of rows, the number of the largest of each, or the pooled rows."""


if TYPE_CHECKING:  # the types of both are what the protocols say
    from skbag._cpu import backend as _cpu_backend
    from skbag._cpu import training as _cpu_training
    from skbag._cuda.backend import Backend as _CudaBackend
    from skbag._cuda.training import Trainer as _CudaTrainer

    _backends: tuple[Backend, ...] = (_cpu_backend, _CudaBackend(0))
    _training: Training = _cpu_training
    _trainers: type[Trainer] = _CudaTrainer


def get_backend(device: str) -> Backend:
    """Import and return the backend of a device; ValueError if there is none of that name."""
    backend: Backend = _part_of(device, "backend", "backend")
    return backend


def get_trainer(device: str) -> Training:
    """Import and return the training module of a device's backend; ValueError if there is none of that name."""
    training: Training = _part_of(device, "training", "trainer")
    return training


_of_devices: dict[tuple[str, str], Any] = {}  # what was imported: a small call would spend its time on names


def _part_of(device: str, part: str, of_gpu: str) -> Any:
    """Return a module of the CPU's, or what the function ``of_gpu`` of a module of the GPUs' returns for a GPU."""
    found = _of_devices.get((device, part)) if type(device) is str else None
    if found is None:
        name, index = _parsed(device)
        module = _module(f"_{name}.{part}")
        found = module if name == "cpu" else getattr(module, of_gpu)(index)
        _of_devices[device, part] = found
    return found


def lend(X: Any, device: str) -> tuple[Any, Any, Any]:
    """Return the arrays of a CSR matrix on a GPU as its backend takes them; see ``skbag._cuda.lending.lend``."""
    get_backend(device)  # which says what is missing
    arrays: tuple[Any, Any, Any] = _module("_cuda.lending").lend(X)
    return arrays


def contributions(*arguments: Any) -> Array:
    """Return what each member adds to the outputs of its bag; see ``skbag._cpu.contributions``. Only on the CPU."""
    result: Array = _module("_cpu.contributions").contributions(*arguments)
    return result


def best_of(*arguments: Any) -> tuple[Array, Array, Array]:
    """Return the k largest outputs of each row; see ``skbag._cpu.prediction.best_of``. Only on the CPU."""
    found: tuple[Array, Array, Array] = _module("_cpu.prediction").best_of(*arguments)
    return found


def get_texts() -> Any:
    """Import and return ``skbag._cpu.texts``: texts are read by the CPU, whatever the device."""
    return _module("_cpu.texts")


@cache  # an import statement costs microseconds even where there is nothing left to import
def _module(name: str) -> Any:
    return shielded(_imported, f"skbag.{name}")


def _imported(name: str) -> Any:
    """Import a backend; an import that fails, here or in the user's code before, leaves nothing behind."""
    drop_orphans(*_COMPILERS)
    before = set(sys.modules)
    try:
        return import_module(name)
    except BaseException as error:
        halves = {"skbag._cpu", "skbag._cuda", "skbag._compiled"}  # what did not fail itself may hold on to what did
        if not isinstance(error, ImportError):
            halves |= set(_COMPILERS) - before
        for other in set(sys.modules) - before:
            if any(other.startswith(f"{half}.") or other == half for half in halves):
                del sys.modules[other]
        drop_orphans(*_COMPILERS)
        raise


def _parsed(device: str) -> tuple[str, int]:
    """Return the name of the backend, and the number of the GPU."""
    if isinstance(device, str) and device == "cpu":
        return "cpu", 0
    match = re.fullmatch(r"cuda(?::(\d+))?", device) if isinstance(device, str) else None
    if match is None:
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N' with the number N of a GPU, got {device!r}.")
    return "cuda", int(match[1] or 0)
