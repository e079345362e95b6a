"""The model folder, written by training and loaded by a predictor.

    manifest.json   format, version, and size and SHA-256 of every other file but the report's
    model.json      dimensions, anomaly types, structure of the heads, calibration, threshold
    *.onnx          ONNX models
    arrays.npz      weights, loaded with ``allow_pickle=False``
    report/         the training report, which the service adds; it is never read back

Loading executes nothing but ONNX models of standard operators. The hashes detect damage and
careless edits. They are not a signature, because whoever can rewrite a file can rewrite its hash.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from lfv.engine.errors import ArtifactError

FORMAT = "lfv-engine-model"
VERSION = 2
MANIFEST = "manifest.json"
MODEL = "model.json"
ARRAYS = "arrays.npz"
#: Largest file of an artifact, except a user's ONNX file.
MAX_FILE_BYTES = 64 * 1024 * 1024
#: Largest ONNX file.
MAX_ONNX_BYTES = 1024 * 1024 * 1024

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class StoredFields:
    """Base of dataclasses of arrays and numbers, which are stored under their fields' names."""

    #: Fields that are stored as float16, which costs three digits.
    HALVES: ClassVar[frozenset[str]] = frozenset()

    def to_arrays(self, prefix: str) -> Arrays:
        """Return named arrays for the artifact."""
        arrays = {one.name: np.asarray(getattr(self, one.name)) for one in fields(self)}
        return {
            f"{prefix}.{name}": array.astype(
                np.float16 if name in self.HALVES else array.dtype if array.ndim else np.float32
            )
            for name, array in arrays.items()
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, prefix: str) -> Self:
        """Inverse of :meth:`to_arrays`; a missing array is a KeyError."""
        found = {one.name: arrays[f"{prefix}.{one.name}"] for one in fields(cls)}
        for name, array in found.items():
            if name in cls.HALVES:
                found[name] = array.astype(np.float32)
        return cls(**{name: one if one.ndim else float(one) for name, one in found.items()})


@dataclass(frozen=True)
class Contents:
    """A verified artifact, in memory."""

    model: dict[str, Any]
    arrays: Arrays
    #: File name without ``.onnx`` to serialised model.
    onnx_models: dict[str, bytes]


def save(folder: Path, contents: Contents) -> None:
    """Write the artifact into ``folder``. The manifest, written last, makes it complete."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **contents.arrays)
    files = {
        MODEL: _dump(contents.model),
        ARRAYS: buffer.getvalue(),
        **{f"{name}.onnx": body for name, body in contents.onnx_models.items()},
    }
    for name, body in files.items():
        (folder / name).write_bytes(body)
    listing = {
        name: {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        for name, body in sorted(files.items())
    }
    manifest = {"format": FORMAT, "version": VERSION, "files": listing}
    (folder / MANIFEST).write_bytes(_dump(manifest))


def load(folder: Path) -> Contents:
    """Read and verify what :func:`save` wrote.

    Raises:
        ArtifactError: If a file is missing, has another size or hash, is a link or has a name that
            leads outside the folder, or if the format or version is unknown.
    """
    manifest = _parse(MANIFEST, _read(folder, MANIFEST))
    if manifest.get("format") != FORMAT:
        raise ArtifactError("The folder contains no model of this engine.")
    version = manifest.get("version")
    if version != VERSION:
        raise ArtifactError(
            f"The model is of format version {version!r}; this release reads version {VERSION}."
        )
    listing = manifest.get("files")
    if not isinstance(listing, dict) or not {MODEL, ARRAYS} <= listing.keys():
        raise ArtifactError("The model's manifest lists no model.")
    files = {name: _read_verified(folder, name, facts) for name, facts in listing.items()}
    return Contents(
        model=_parse(MODEL, files[MODEL]),
        arrays=_arrays(files[ARRAYS]),
        onnx_models={
            name.removesuffix(".onnx"): body
            for name, body in files.items()
            if name.endswith(".onnx")
        },
    )


def size_bytes(folder: Path) -> int:
    """Return the size in bytes of all files needed for hosting, without the report."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _dump(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    return (text + "\n").encode()


def _parse(name: str, body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{name} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{name} is not a JSON object.")
    return value


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        if path.is_symlink() or not path.is_file():
            raise ArtifactError(f"The model's {name} is missing or is not a plain file.")
        most = MAX_ONNX_BYTES if name.endswith(".onnx") else MAX_FILE_BYTES
        if path.stat().st_size > most:
            raise ArtifactError(f"The model's {name} is larger than the limit of {most} bytes.")
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"The model's {name} cannot be read: {error.strerror}.") from error


def _read_verified(folder: Path, name: object, facts: object) -> bytes:
    if (
        not isinstance(name, str)
        or Path(name).name != name
        or name in {"", ".", "..", MANIFEST}
        or "\\" in name
        or not name.endswith((".json", ".npz", ".onnx"))
    ):
        raise ArtifactError(f"The model's manifest names an invalid file: {name!r}.")
    if not isinstance(facts, dict):
        raise ArtifactError(f"The model's manifest has no size and hash of {name}.")
    body = _read(folder, name)
    if len(body) != facts.get("bytes"):
        raise ArtifactError(f"The model's {name} is truncated or has been changed.")
    if hashlib.sha256(body).hexdigest() != facts.get("sha256"):
        raise ArtifactError(f"The model's {name} is damaged or has been changed.")
    return body


def _arrays(body: bytes) -> Arrays:
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked <= 4 * MAX_FILE_BYTES:
            with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # zipfile and numpy raise various errors for damaged data
        raise ArtifactError(f"The model's weights cannot be read: {error}.") from error
    raise ArtifactError("The model's weights are larger than the limit.")


def read_sample_range(description: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return a model's sample range; None if it has none, as in artifacts of earlier versions."""
    found = description.get("sample_range")
    if found is None:
        return None
    low, high = found
    return int(low), int(high)
