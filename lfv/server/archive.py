"""Portable archives of models: a zip of the artifact and a description with every file's digest.

    lfv-model.json          format, project, version, performance, SHA-256 and size of each file
    artifact/...            what the engine wrote

An archive with other files, or with a file that does not match its digest, is refused.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from lfv.server.errors import ArchiveError
from lfv.server.state.models import Model

FORMAT = 1
DESCRIPTION = "lfv-model.json"
_ARTIFACT = "artifact"
_EPOCH = (2020, 11, 20, 0, 0, 0)  # the same model becomes the same archive, byte for byte
_MAX_DESCRIPTION = 1 << 20
_MAX_FILES = 10_000
_MAX_TOTAL = 2 << 30
_PROJECT_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_\-]{0,254}")


@dataclass(frozen=True)
class ArchivedModel:
    project_name: str
    version: int
    f1: float | None
    precision: float | None
    recall: float | None
    #: SHA-256 and size in bytes, by path within the artifact.
    files: dict[str, tuple[str, int]]


def write_archive(model: Model, artifact: Path, target: Path) -> None:
    """Pack a model's artifact folder."""
    names = sorted(
        path.relative_to(artifact).as_posix() for path in artifact.rglob("*") if path.is_file()
    )
    description = {
        "format": FORMAT,
        "project": model.project_name,
        "version": model.version,
        "performance": {"f1": model.f1, "precision": model.precision, "recall": model.recall},
        "files": {
            name: {
                "sha256": _digest(artifact / name),
                "bytes": (artifact / name).stat().st_size,
            }
            for name in names
        },
    }
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            zipfile.ZipInfo(DESCRIPTION, _EPOCH),
            orjson.dumps(description, option=orjson.OPT_INDENT_2),
        )
        for name in names:
            info = zipfile.ZipInfo(f"{_ARTIFACT}/{name}", _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            with (artifact / name).open("rb") as source, archive.open(info, "w") as packed:
                shutil.copyfileobj(source, packed)


def read_archive(source: Path, artifact: Path) -> ArchivedModel:
    """Unpack into a new folder and check all files. Leaves no file if it raises ArchiveError."""
    try:
        with zipfile.ZipFile(source) as archive:
            model = _description(archive)
            with _new_folder(artifact):
                for name, (sha256, size) in model.files.items():
                    _extract(archive, name, artifact, sha256, size)
    except ArchiveError as error:
        raise ArchiveError(f"{source.name}: {error}") from error
    except Exception as error:  # zipfile and zlib raise various errors on damaged bytes
        raise ArchiveError(f"{source.name} is not a readable model archive: {error}") from error
    return model


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Create a folder, and remove it and its new parents if the block raises."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(missing[-1], ignore_errors=True)
        raise


def _description(archive: zipfile.ZipFile) -> ArchivedModel:
    try:
        info = archive.getinfo(DESCRIPTION)
    except KeyError:
        raise ArchiveError(f"no {DESCRIPTION} in it") from None
    if info.file_size > _MAX_DESCRIPTION:
        raise ArchiveError(f"its {DESCRIPTION} is too large")
    try:
        document: dict[str, Any] = orjson.loads(archive.read(info))
        found = document["format"]
        if found != FORMAT:
            raise ArchiveError(f"it has format {found!r}; this service reads {FORMAT}")
        performance = document["performance"]
        model = ArchivedModel(
            project_name=document["project"],
            version=int(document["version"]),
            f1=performance["f1"],
            precision=performance["precision"],
            recall=performance["recall"],
            files={
                name: (entry["sha256"], int(entry["bytes"]))
                for name, entry in document["files"].items()
            },
        )
        _check(model, archive)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArchiveError(f"its {DESCRIPTION} is damaged ({error!r})") from error
    return model


def _check(model: ArchivedModel, archive: zipfile.ZipFile) -> None:
    if not _PROJECT_NAME.fullmatch(model.project_name):
        raise ArchiveError("its project name is invalid")
    for number in (model.f1, model.precision, model.recall):
        if number is not None and not 0 <= number <= 1:
            raise ArchiveError("its performance is out of range")
    names = {f"{_ARTIFACT}/{name}" for name in model.files} | {DESCRIPTION}
    if names != set(archive.namelist()) or len(names) != len(archive.infolist()):
        raise ArchiveError(f"its files are not those that its {DESCRIPTION} lists")
    if len(names) > _MAX_FILES or sum(size for _, size in model.files.values()) > _MAX_TOTAL:
        raise ArchiveError("it is too large")
    for name in _paths(model):
        if name.is_absolute() or any(part in ("..", ".", "") for part in name.parts):
            raise ArchiveError(f"a file in it lies outside the model: {str(name)[:100]!r}")


def _paths(model: ArchivedModel) -> Iterator[PurePosixPath]:
    for name in model.files:
        if "\\" in name or "\0" in name or not name:
            raise ArchiveError(f"a file in it has an invalid name: {name[:100]!r}")
        yield PurePosixPath(name)


def _extract(archive: zipfile.ZipFile, name: str, artifact: Path, sha256: str, size: int) -> None:
    target = artifact / name
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), size
    with archive.open(f"{_ARTIFACT}/{name}") as packed, target.open("xb") as file:
        while chunk := packed.read(min(1 << 20, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            digest.update(chunk)
            file.write(chunk)
    if left != 0 or digest.hexdigest() != sha256:
        raise ArchiveError(f"its file {name} does not match its digest")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
