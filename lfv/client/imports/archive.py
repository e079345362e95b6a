"""Reads facts about a model of the successor algorithm from its `model.tar.gz`.

The archive holds TorchScript, which needs PyTorch and can execute anything. So nothing is unpacked
to disk and nothing is executed. Three small text files are read in memory, within limits:
`config.yaml`, `mochi.json` and `export_artifacts/manifest.json`. Their format is not published, so
members are searched for by name at any depth.
"""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, Any, cast

import yaml

from lfv.client.sources import SourceReader
from lfv.formats.errors import ModelArchiveInvalid

_READ: Mapping[str, Callable[[bytes], Any]] = {
    "config.yaml": yaml.safe_load,
    "mochi.json": json.loads,
    "manifest.json": json.loads,
}
_MAX_TEXT = 1 << 20
_MAX_MEMBERS = 10_000
_MAX_TOTAL = 8 << 30
_SIZES = ("input_shape", "image_size", "input_size")
_CLASSES = ("class_names", "classes", "class_name", "labels", "anomaly_types")


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a packed model; None or empty if the archive does not state them.

    Attributes:
        threshold: Score from which an image is anomalous.
        width: Width in pixels of the model's images.
        height: Height in pixels of the model's images.
        classes: Names of the classes, in the model's order.
        normal: Names of the classes that are not anomalies.
        model_type: Type of the model, such as "segmentation".
        stages: Names of the model's stages.
        files: Size in bytes of every file, by path.
    """

    threshold: float | None = None
    width: int | None = None
    height: int | None = None
    classes: tuple[str, ...] = ()
    normal: tuple[str, ...] = ()
    model_type: str = ""
    stages: tuple[str, ...] = ()
    files: Mapping[str, int] = field(default_factory=dict)


def read_model_archive(source: str, reader: SourceReader) -> ModelFacts:
    """Read the facts in the archive at `source`. Raises ModelArchiveInvalid or SourceError."""
    files: dict[str, int] = {}
    documents: list[Any] = []
    try:
        with (
            reader.open(source) as opened,
            tarfile.open(fileobj=cast("IO[bytes]", opened.stream), mode="r|gz") as archive,
        ):
            for member in archive:
                path = _member_path(member, files)
                if not member.isreg():
                    continue
                files[str(path)] = member.size
                if path.name in _READ and member.size <= _MAX_TEXT:
                    content = archive.extractfile(member)
                    if content is not None:
                        documents.append(_document(path, content.read()))
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ModelArchiveInvalid(f"{source} is not a valid tar.gz: {error}.") from None
    if not documents:
        raise ModelArchiveInvalid(
            f"{source} contains none of {', '.join(_READ)}: it is not a model of the algorithm."
        )
    return _facts(documents, files)


def _member_path(member: tarfile.TarInfo, files: Mapping[str, int]) -> PurePosixPath:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise ModelArchiveInvalid(f"Member {member.name[:100]!r} of the archive points outside it.")
    if len(files) >= _MAX_MEMBERS or sum(files.values()) + member.size > _MAX_TOTAL:
        raise ModelArchiveInvalid("The archive is too large for a model.")
    return path


def _document(path: PurePosixPath, content: bytes) -> Any:
    try:
        return _READ[path.name](content)
    except (ValueError, yaml.YAMLError, RecursionError):
        raise ModelArchiveInvalid(f"{path} in the archive cannot be read.") from None


def _facts(documents: list[Any], files: Mapping[str, int]) -> ModelFacts:
    members = [pair for document in documents for pair in _members(document)]
    height, width = _size(members)
    classes = _classes(members)
    return ModelFacts(
        threshold=next((float(v) for k, v in members if k == "threshold" and _is_number(v)), None),
        width=width,
        height=height,
        classes=classes,
        normal=_normal(members, classes),
        model_type=next(
            (v for k, v in members if k in {"ModelType", "model_type"} and isinstance(v, str)), ""
        ),
        stages=_stages(members),
        files=files,
    )


def _members(value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield every name and value, outer ones first."""
    if depth > 20:
        return
    if isinstance(value, dict):
        yield from ((str(name), member) for name, member in value.items())
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            yield from _members(member, depth + 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _size(members: list[tuple[str, Any]]) -> tuple[int | None, int | None]:
    """Return height and width from an input shape, ignoring batch and channels."""
    for name, value in members:
        if name in _SIZES and isinstance(value, list) and all(type(one) is int for one in value):
            sides = [one for one in value if one > 4]  # neither batch nor channels
            if len(sides) == 2:
                return sides[0], sides[1]
    return None, None


def _classes(members: list[tuple[str, Any]]) -> tuple[str, ...]:
    for name, value in members:
        if name in _CLASSES and value:
            if isinstance(value, dict):
                value = list(value.values())
            if isinstance(value, list) and all(isinstance(one, str) for one in value):
                return tuple(value)
    return ()


def _normal(members: list[tuple[str, Any]], classes: tuple[str, ...]) -> tuple[str, ...]:
    for name, value in members:
        if name == "normal_ids" and isinstance(value, list):
            return tuple(
                classes[one] for one in value if type(one) is int and 0 <= one < len(classes)
            )
    return ()


def _stages(members: list[tuple[str, Any]]) -> tuple[str, ...]:
    for name, value in members:
        if name == "stages" and isinstance(value, list):
            return tuple(
                str(one.get("type") or one.get("name") or "") if isinstance(one, dict) else str(one)
                for one in value
            )
    return ()
