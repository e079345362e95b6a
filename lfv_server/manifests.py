"""One JSON line of a manifest, as SageMaker Ground Truth writes it and Lookout for Vision read it.

The label's attribute may have any name; what counts is the ``class-name`` in its metadata, and a
class other than normal and anomaly leaves the image unlabelled. Real manifests stray from the
documentation (no BACKGROUND entry, dates in other formats), and those are taken too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from lfv_server.buckets import parse_ref
from lfv_server.errors import BucketError

MAX_LINE_BYTES = 8192
"""The longest DatasetEntry of the API."""

_CHUNK = 1 << 16
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


class BadLineError(Exception):
    """The line can't be an entry; the message says why."""


class ManifestTooLargeError(Exception):
    """The message names the limit."""


@dataclass(frozen=True)
class Entry:
    source_ref: str
    line: str
    label: str | None
    """``normal``, ``anomaly``, or None for an image without a label."""
    labelled_at: float | None
    """Unix seconds."""
    mask_ref: str | None = None
    mask_colors: tuple[tuple[str, str], ...] = ()
    """(``#RRGGBB``, anomaly type) without the background."""


def parse_entry(raw: bytes, *, max_types: int = 20) -> Entry:
    """Raises BadLineError."""
    if len(raw) > MAX_LINE_BYTES:
        raise BadLineError(f"longer than {MAX_LINE_BYTES} bytes")
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadLineError("not valid JSON") from error
    if not isinstance(document, dict):
        raise BadLineError("not a JSON object")
    source_ref = document.get("source-ref")
    if not isinstance(source_ref, str):
        raise BadLineError("no source-ref")
    _check_ref(source_ref, "source-ref")
    label, labelled_at = _label(document)
    mask_ref, mask_colors = _mask(document, max_types)
    try:
        line = orjson.dumps(document).decode()
    except orjson.JSONEncodeError as error:  # it reads deeper structures than it writes
        raise BadLineError("nested too deeply") from error
    if len(line.encode()) > MAX_LINE_BYTES:  # numbers such as 1e15 are written out
        raise BadLineError(f"longer than {MAX_LINE_BYTES} bytes")
    return Entry(source_ref, line, label, labelled_at, mask_ref, mask_colors)


class Readable(Protocol):
    """A file, or the body of an answer from S3."""

    def read(self, size: int, /) -> bytes: ...


def numbered_lines(file: Readable, limit: int) -> Iterator[tuple[int, bytes]]:
    """Line numbers and lines that aren't blank; of a line that is too long, only its start.

    Raises ManifestTooLargeError past ``limit`` bytes.
    """
    number, total, start = 0, 0, b""
    while chunk := file.read(_CHUNK):
        total += len(chunk)
        if total > limit:
            raise ManifestTooLargeError(f"the manifest is larger than {limit} bytes")
        *complete, start = (start + chunk).split(b"\n")
        start = start[: MAX_LINE_BYTES + 1]
        for raw in complete:
            number += 1
            if line := _stripped(number, raw):
                yield number, line
    if line := _stripped(number + 1, start):
        yield number + 1, line


def _stripped(number: int, raw: bytes) -> bytes:
    return (raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw).strip()


def _check_ref(ref: str, name: str) -> None:
    try:
        parse_ref(ref)
    except BucketError as error:
        raise BadLineError(f"{name}: {error}") from error


def _metadata(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, value in document.items():
        if key.endswith("-metadata") and isinstance(value, dict):
            yield key.removesuffix("-metadata"), value


def _label(document: dict[str, Any]) -> tuple[str | None, float | None]:
    for attribute, metadata in _metadata(document):
        kind = metadata.get("type", "groundtruth/image-classification")
        name = metadata.get("class-name")
        if kind != "groundtruth/image-classification" or not isinstance(name, str):
            continue
        if attribute not in document:
            raise BadLineError(f"{attribute}-metadata without {attribute}")
        label = name.strip().lower()
        when = _date(metadata.get("creation-date"))
        return (label, when) if label in ("normal", "anomaly") else (None, when)
    return None, None


def _mask(
    document: dict[str, Any], max_types: int
) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    for attribute, metadata in _metadata(document):
        colors = metadata.get("internal-color-map")
        ref = document.get(attribute)
        if colors is None or ref is None:
            continue
        if not isinstance(ref, str) or not isinstance(colors, dict):
            raise BadLineError(f"{attribute} is not a mask's address with an internal-color-map")
        _check_ref(ref, attribute)
        found = tuple(_colors(colors))
        if len(found) > max_types:
            raise BadLineError(f"{len(found)} anomaly types on one mask; {max_types} are allowed")
        return ref, found
    return None, ()


def _colors(colors: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, entry in colors.items():
        name = entry.get("class-name") if isinstance(entry, dict) else None
        color = entry.get("hex-color") if isinstance(entry, dict) else None
        if not (isinstance(name, str) and name and len(name) <= 256):
            raise BadLineError(f"internal-color-map: entry {key!r} has no class-name")
        if name.upper() == "BACKGROUND":
            continue
        if not (isinstance(color, str) and _COLOR.fullmatch(color)):
            raise BadLineError(f"internal-color-map: entry {key!r} has no hex-color like #23A436")
        yield color.upper(), name


def _date(value: object) -> float | None:
    """ISO 8601, or what JavaScript's Date prints; anything else is no date."""
    if not isinstance(value, str):
        return None
    text = re.sub(r"\s*\(.*\)$", "", value.strip())
    for parse in (
        datetime.fromisoformat,
        lambda text: datetime.strptime(text, "%a %b %d %Y %H:%M:%S GMT%z"),
    ):
        try:
            moment = parse(text)
        except ValueError:
            continue
        try:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except OverflowError:
            return None
    return None
