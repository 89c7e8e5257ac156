"""Tables in .safetensors files."""

import json
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbag._data.optional import missing
from skbag._data.quantized import QuantizedTable

Array = NDArray[Any]

SUFFIX = ".safetensors"
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "i1", "U8": "u1", "I16": "<i2", "I32": "<i4",
           "I64": "<i8"}  # fmt: skip


def names_tensors(path: str) -> bool:
    """Return True for ``x.safetensors`` and ``x.safetensors#tensor``."""
    return path.endswith(SUFFIX) or SUFFIX + "#" in path


def tensor_shapes(path: str, name: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a .safetensors file; errors as in `map_tensor`."""
    return {key: tuple(entry["shape"]) for key, entry in _header(path, name)[0].items()}


def map_tensor(path: str, name: str) -> Any:
    """Map one tensor of a .safetensors file into memory.

    bfloat16, which NumPy lacks, comes as a QuantizedTable, or widened to float32 where it has not two dimensions. So
    does int8, if the file has one scale for each row in a tensor named like it with ``_scale`` at the end, which is
    compressed-tensors' way.

    Parameters
    ----------
    path : str
        ``x.safetensors`` for the only tensor of two dimensions, ``x.safetensors#tensor`` for the one of that name.
    name : str
        What the user calls it, for the texts of errors.

    Returns
    -------
    ndarray or QuantizedTable
        Read-only, unless it was widened, in its own shape and dtype.

    Raises
    ------
    ImportError
        If the package safetensors is not installed.
    ValueError
        If there is no such file, it is no whole .safetensors file, it has no such tensor or not one to choose, or the
        tensor is of a dtype without a counterpart.
    """
    file, _, tensor = path.partition(SUFFIX + "#")
    file = file + SUFFIX if tensor else path
    header, start = _header(file, name)
    chosen = _choose(header, tensor, file, name)
    stored, kind = _mapped(header[chosen], file, start, name), header[chosen]["dtype"]
    if kind == "BF16" and stored.ndim == 2 and stored.size:
        return QuantizedTable(stored)
    if kind == "BF16":  # the upper half of a float32
        return np.left_shift(stored, 16, dtype=np.uint32).view(np.float32)
    scale = header.get(f"{chosen}_scale")
    if kind == "I8" and scale is not None and stored.ndim == 2 and stored.size:
        scales = _mapped(scale, file, start, name)
        if scale["dtype"] == "BF16":
            scales = np.left_shift(scales, 16, dtype=np.uint32).view(np.float32)
        try:
            return QuantizedTable(stored, scales)
        except ValueError as error:
            raise ValueError(
                f"{name}: of the tensor {chosen!r} with {chosen + '_scale'!r} in {file!r}, {error}"
            ) from None
    return stored


def _mapped(entry: dict[str, Any], file: str, start: int, name: str) -> Array:
    """Map one tensor as it is; bfloat16 as uint16."""
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"{name} must be of {', '.join(_DTYPES)}, got {entry['dtype']} in the file {file!r}.")
    dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
    if not prod(shape):
        return np.empty(shape, dtype)
    return np.asarray(np.memmap(file, dtype, "r", start + entry["data_offsets"][0], shape))


def _header(file: str, name: str) -> tuple[dict[str, Any], int]:
    """Return what a file says of its tensors, checked by the package safetensors, and where their bytes begin."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise missing("safetensors", f"{name}, a {SUFFIX} file,") from error
    try:
        with safe_open(file, framework="numpy"), open(file, "rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length))
    except FileNotFoundError:
        raise ValueError(f"{name} names a file that does not exist: {file!r}.") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{name} names a file that is no whole {SUFFIX} file: {file!r} ({error}).") from error
    header.pop("__metadata__", None)
    return header, 8 + length


def _choose(header: dict[str, Any], tensor: str, file: str, name: str) -> str:
    shapes = {key: entry["shape"] for key, entry in header.items()}
    told = ", ".join(f"{key!r} {tuple(shape)}" for key, shape in sorted(shapes.items())) or "none"
    if tensor:
        if tensor not in header:
            raise ValueError(f"{name} names a tensor that is not in the file: {tensor!r}; {file!r} has {told}.")
        return tensor
    tables = [key for key, shape in shapes.items() if len(shape) == 2 and not _is_scale(key, shapes)]
    if len(tables) != 1:
        raise ValueError(
            f"{name} must name one tensor, as '{file}#NAME', because that file has {len(tables)} of two dimensions; "
            f"its tensors are {told}."
        )
    return tables[0]


def _is_scale(key: str, shapes: dict[str, Any]) -> bool:
    return key.endswith("_scale") and key.removesuffix("_scale") in shapes
