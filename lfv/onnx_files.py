"""Finds the files of exported ONNX models, has them checked, and copies accepted ones."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

#: Files that anomalib 0.x and 1.x write next to the graph: thresholds, and in 0.x the transform.
ANOMALIB_METADATA = ("metadata.json", "meta_data.json")
_SHOWN = ("image_threshold", "pixel_threshold", "task")
_MAX_BYTES = 1 << 20
_MIB = 1 << 20
#: Process that checks a file; it loads the engine.
_CHECKER = "lfv.engine.custom_models"


class OnnxFileRefused(ValueError):
    """The file cannot be read, or the engine cannot use it; the message has the reason."""


def find_onnx_file(path: Path) -> Path:
    """Return ``path`` itself if it is a file, else the only ONNX file in that folder.

    Raises:
        ValueError: There is none, or there are several.
    """
    if not path.is_dir():
        return path
    found = sorted(path.rglob("*.onnx"))
    if not found:
        raise ValueError(f"There is no ONNX file in {path}")
    if len(found) > 1:
        names = ", ".join(str(file.relative_to(path)) for file in found[:3])
        raise ValueError(f"There are several ONNX files in {path} ({names}): give one of them")
    return found[0]


def onnx_digest(path: Path) -> str:
    """Return the SHA-256 (hex) of the ONNX file with its weights and anomalib's metadata.

    Exporters name the weights after the file: ``model.onnx.data`` belongs to ``model.onnx``.

    Raises:
        OSError: A file cannot be read.
        ValueError: As :func:`find_onnx_file`.
    """
    file = find_onnx_file(path)
    digest = hashlib.sha256()
    metadata = (file.parent / name for name in ANOMALIB_METADATA)
    weights = sorted(file.parent.glob(f"{file.name}?*"))
    for part in (file, *weights, *(one for one in metadata if one.is_file())):
        with part.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def read_export_facts(file: Path) -> dict[str, Any]:
    """Return threshold and task of the anomalib export that ``file`` belongs to, if known.

    For information only: the model's limits are measured on the user's images.
    """
    for metadata in (file.parent / name for name in ANOMALIB_METADATA):
        try:
            if metadata.stat().st_size > _MAX_BYTES:
                continue
            found = json.loads(metadata.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(found, dict):
            shown = {name: found.get(name) for name in _SHOWN}
            return {name: one for name, one in shown.items() if isinstance(one, int | float | str)}
    return {}


def accepted_file(folder: Path, role: str, digest: str) -> Path:
    """Return the path of the accepted copy of a file with this digest."""
    return folder / f"{role}-{digest}.onnx"


def accept_onnx_file(role: str, path: Path, limit: int, folder: Path) -> Path:
    """Check an ONNX file in a separate process, and keep a copy of it.

    Args:
        role: ``backbone`` or ``detector``.
        path: The file, or a folder with one and its weights.
        limit: Largest size, in bytes.
        folder: Where accepted copies are kept; see :func:`accepted_file`.

    Returns:
        The copy, which is one file.

    Raises:
        OnnxFileRefused: The file cannot be read, or the engine cannot use it.
    """
    try:
        return _accept(role, path, limit, folder)
    except OnnxFileRefused:
        raise
    except (OSError, ValueError) as error:
        raise OnnxFileRefused(f"--{role} {path} cannot be read: {error}") from error


def _accept(role: str, path: Path, limit: int, folder: Path) -> Path:
    if not path.exists():
        raise OnnxFileRefused(f"--{role} {path}: no such file or folder")
    if path.is_file() and (size := path.stat().st_size) > limit:
        raise OnnxFileRefused(
            f"--{role} {path}: it has {size / _MIB:.1f} MiB; --graph-mib allows {limit // _MIB}"
        )
    folder.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix=".", dir=folder) as temporary:
        copy = Path(temporary, "copy.onnx")
        problem = _check(role, path, limit, copy)
        if problem is not None:
            raise OnnxFileRefused(f"--{role} {path} is refused: {problem}")
        return copy.replace(accepted_file(folder, role, onnx_digest(path)))


def _check(role: str, path: Path, limit: int, copy: Path) -> str | None:
    """Check the graph in a separate process. Return what is wrong with it, or None."""
    done = subprocess.run(
        [sys.executable, "-m", _CHECKER, role, str(path), str(limit), str(copy)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return f"the process that checked it ended with status {done.returncode}"
    return None if "accepted" in answer else f"{answer['message']} ({answer['refused']})"
