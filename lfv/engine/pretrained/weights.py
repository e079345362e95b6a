"""Reads the tensors of a PyTorch checkpoint without PyTorch.

A checkpoint of the format that preceded PyTorch 1.6 is a sequence of pickles followed by the raw
numbers of each storage. Pickles can run any code; this reader resolves the four names that a plain
``state_dict`` needs to inert stand-ins, and refuses every other.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lfv.engine.errors import ArtifactError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_STORAGES = 10_000
_KINDS: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
}


@dataclass(frozen=True)
class _Tensor:
    """The location of a tensor's numbers."""

    storage: str
    kind: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Storage:
    key: str
    kind: str


@dataclass(frozen=True)
class _Kind:
    name: str


def _rebuild(
    storage: object, offset: object, shape: object, strides: object, *_: object
) -> _Tensor:
    if not isinstance(storage, _Storage) or not isinstance(offset, int):
        raise pickle.UnpicklingError("a tensor without a storage")
    if not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise pickle.UnpicklingError("a tensor without a shape")
    return _Tensor(storage.key, storage.kind, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in _KINDS:
            return _Kind(name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def persistent_load(self, pid: Any) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) != 6 or pid[0] != "storage":
            raise pickle.UnpicklingError("an unknown kind of reference")
        kind, key = pid[1], pid[2]
        if not isinstance(kind, _Kind) or not isinstance(key, str):
            raise pickle.UnpicklingError("an unknown kind of storage")
        return _Storage(key, kind.name)


def read_weights(body: bytes) -> dict[str, NDArray[Any]]:
    """Return the tensors of a checkpoint by name.

    Args:
        body: A checkpoint in PyTorch's legacy format, little-endian, of float32 and int64 tensors.

    Raises:
        ArtifactError: If it is damaged, of another format, or refers to anything but tensors.
    """
    try:
        return _read(io.BytesIO(body))
    except ArtifactError:
        raise
    except Exception as error:  # unpickling damaged bytes raises anything
        raise ArtifactError(f"The checkpoint cannot be read: {error!r}.") from error


def _read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    if _next(file) != MAGIC or _next(file) != PROTOCOL:
        raise ArtifactError("The checkpoint is not of PyTorch's legacy format.")
    system = _next(file)
    if not isinstance(system, Mapping) or system.get("little_endian") is not True:
        raise ArtifactError("The checkpoint is not little-endian.")
    found, keys = _next(file), _next(file)
    if not isinstance(found, Mapping) or not isinstance(keys, list):
        raise ArtifactError("The checkpoint is not a state_dict.")
    tensors = {str(name): one for name, one in found.items() if isinstance(one, _Tensor)}
    if len(keys) > MAX_STORAGES or len(tensors) < len(found):
        raise ArtifactError("The checkpoint holds more than tensors.")
    kinds = {tensor.storage: tensor.kind for tensor in tensors.values()}
    storages = {key: _storage(file, _KINDS[kinds[key]]) for key in map(str, keys)}
    return {name: _array(tensor, storages) for name, tensor in tensors.items()}


def _next(file: BinaryIO) -> Any:
    return _Unpickler(file).load()


def _storage(file: BinaryIO, kind: np.dtype[Any]) -> NDArray[Any]:
    (count,) = struct.unpack("<q", file.read(8))
    size = count * kind.itemsize
    body = file.read(max(size, 0))
    if count < 0 or len(body) != size:
        raise ArtifactError("The checkpoint is truncated.")
    return np.frombuffer(body, kind)


def _array(tensor: _Tensor, storages: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Copy a tensor in row-major order. Strides outside the storage are an error."""
    storage = storages[tensor.storage]
    span = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    if min((tensor.offset, *tensor.shape, *tensor.strides), default=0) < 0 or span >= len(storage):
        raise ArtifactError("The checkpoint has a tensor outside its storage.")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides)
    return np.array(view, order="C")
