"""What a GPU makes of bags that were checked: pooled rows, or outputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._cuda import blocks as kinds
from skbag._cuda import head, hidden
from skbag._cuda.device import THREADS, Device, DeviceArray
from skbag._cuda.reducing import SQUARES
from skbag._cuda.staging import Members, Slot
from skbag._data.blocks import Blocks
from skbag._data.model import Model
from skbag._data.quantized import BITS
from skbag._rules.pooling import MODES

Array = NDArray[Any]
Memory = Callable[[str, tuple[int, ...], Any], DeviceArray]  # of a name, a shape and a dtype


def float_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of what kernels read of rows: the bits of a `QuantizedTable` are widened to float32."""
    return np.dtype(np.float32) if dtype in BITS.values() else dtype


class Work:
    """What is made of bags on the GPU: pooled rows, or what layers make of them; parameters as in `Backend`."""

    def __init__(
        self, backend: Any, rows: DeviceArray, scales: DeviceArray | None, padding_idx: int | None, mode: str,
        norm: tuple[float, float] | None, layer: "Head | None", blocks: Blocks | None = None,
    ) -> None:  # fmt: skip
        self._backend, self._rows, self._layer = backend, rows, layer
        self._options: dict[str, Any] = {"norm": norm, "scales": scales}
        self._mode, self._padding_idx = mode, padding_idx
        self._blocks = Blocks(mode) if blocks is None else blocks
        self.dtype_of_rows = float_of(rows.dtype)
        dim = rows.shape[1]
        self.shape: tuple[int, ...] = (self._blocks.n_blocks * dim,)
        self.dtype = self.dtype_of_rows
        self.bytes_per_bag = self._blocks.per_field * dim * self.dtype.itemsize
        if layer is not None:
            self.shape, self.dtype = layer.result
            self.bytes_per_bag += -(-layer.bytes_per_row // self._blocks.n_fields)
            layer.put(backend.device)

    def __call__(self, slot: Slot, members: Members) -> DeviceArray:
        """Launch the work on a block of bags, in its stream and with its memory."""
        return self.run(members, slot.on_device, slot.stream)

    def run(self, members: Members, memory: Memory, stream: Any) -> DeviceArray:
        """Launch the work on bags, and return what comes of it."""
        if self._blocks.n_blocks > 1:
            out = self._pool_blocks(members, memory, stream)
        else:
            out = memory("out", (members.n_bags, self._rows.shape[1]), self.dtype_of_rows)
            self._pool(members, self._mode, out, memory, stream)
        if self._layer is None:
            return out
        return self._layer.run(self._backend, out, members.n_bags // self._blocks.n_fields, memory, stream)

    def _pool(
        self, members: Members, mode: str, out: DeviceArray, memory: Memory, stream: Any, **options: Any
    ) -> None:  # fmt: skip
        self._backend.pool_members(
            self._rows, members, mode, self._padding_idx, out, stream=stream, memory=memory, **self._options, **options
        )

    def _pool_blocks(self, members: Members, memory: Memory, stream: Any) -> DeviceArray:
        """Return pooled rows that are made of several blocks."""
        blocks, dim, dtype = self._blocks, self._rows.shape[1], self.dtype_of_rows
        n_rows = members.n_bags // blocks.n_fields
        n = max(1, n_rows) * blocks.n_blocks  # the GPU has no array of nothing
        out = memory("out", (n, dim), dtype)[:n]
        squares = memory("squares", (members.n_bags, dim), dtype) if blocks.interaction else None
        for mode, reduction, place in kinds.passes_of(kinds.layout_of(blocks)):
            target = squares if reduction == SQUARES else out
            self._pool(members, tuple(MODES)[mode], target, memory, stream, reduction=reduction, blocks=place)
        if squares is not None:
            launch = self._backend.device.launch
            launch(kinds.interact_kernel(THREADS), n_rows * dim, out, squares, blocks.n_fields, n_rows, stream=stream)
        return out.reshape(max(1, n_rows), blocks.n_blocks * dim)


class Head:
    """The layers behind rows that are pooled on the GPU, and whether the largest output is chosen."""

    def __init__(self, model: Model, *, choose: bool) -> None:
        layers = [(layer.weights.values, layer.intercepts.values) for layer in model.layers]
        self._layers = [(np.ascontiguousarray(coef), np.ascontiguousarray(intercept)) for coef, intercept in layers]
        self._on_device: list[list[DeviceArray]] = []
        self._activation, self._dtype = model.activation, self._layers[0][0].dtype
        self.choose, self.n_outputs = choose, model.widths[-1]
        self.bytes_per_row = sum(model.widths[1:]) * self._dtype.itemsize

    def put(self, device: Device) -> None:
        """Copy the layers to the GPU."""
        self._on_device = [[device.put(array) for array in layer] for layer in self._layers]

    @property
    def result(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return the shape of what comes of one bag, and its dtype."""
        return ((), np.dtype(np.int64)) if self.choose else ((self.n_outputs,), self._dtype)

    def run(self, backend: Any, pooled: DeviceArray, n_bags: int, memory: Memory, stream: Any) -> DeviceArray:
        """Launch the kernels, with what ``memory(name, shape, dtype)`` gives, and return the result."""
        dtype, launch = self._dtype, backend.device.launch
        *layers, last = self._on_device
        for k, (coef, intercept) in enumerate(layers):
            units = memory(f"units {k}", (n_bags, len(intercept)), dtype)
            kernel = hidden.hidden_kernel(THREADS, self._activation)
            launch(kernel, n_bags * len(intercept), pooled, coef, intercept, n_bags, units, stream=stream)
            pooled = units
        out = memory("outputs", (n_bags, self.n_outputs), dtype)
        flat = out.reshape(out.size)
        launch(head.outputs_kernel(THREADS), n_bags * self.n_outputs, pooled, *last, n_bags, flat, stream=stream)
        if not self.choose:
            return out
        choices = memory("choices", (n_bags,), np.int64)
        launch(head.choose_kernel(THREADS), n_bags, flat, n_bags, self.n_outputs, choices, stream=stream)
        return choices
