"""One JSON line of a manifest, as SageMaker Ground Truth writes it and Lookout for Vision read it.

The label's attribute may have any name; what counts is the ``class-name`` in its metadata, and a
class other than normal and anomaly leaves the image unlabelled. In which order the attributes
stand has no meaning. Real manifests stray from the documentation (no BACKGROUND entry, dates in
other formats), and those are taken too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from lfv.server.buckets import parse_ref
from lfv.server.errors import BucketError

MAX_LINE_BYTES = 8192
"""The longest DatasetEntry of the API."""

DETECTED = "-detected"
"""Ends the names of a model's own answers, in evaluation manifests."""

_LABELS = frozenset({"normal", "anomaly"})
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
    """Attributes with metadata, but for a model's own answers, which are no labels."""
    for key, value in document.items():
        attribute = key.removesuffix("-metadata")
        if attribute == key or not isinstance(value, dict):
            continue
        if not attribute.removesuffix("-ref").endswith(DETECTED):
            yield attribute, value


def _classes(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Attributes that say of what class the image is, with their metadata."""
    for attribute, metadata in _metadata(document):
        kind = metadata.get("type", "groundtruth/image-classification")
        name = metadata.get("class-name")
        if kind == "groundtruth/image-classification" and isinstance(name, str):
            yield attribute, metadata


def label_attribute(document: dict[str, Any]) -> str | None:
    """The attribute that labels the image, wherever in the line it stands; None without one."""
    classes = list(_classes(document))
    labels = [attribute for attribute, metadata in classes if _label_in(metadata) is not None]
    return next(iter([*labels, *(attribute for attribute, _ in classes)]), None)


def _label_in(metadata: dict[str, Any]) -> str | None:
    label = metadata["class-name"].strip().lower()
    return label if label in _LABELS else None


def _label(document: dict[str, Any]) -> tuple[str | None, float | None]:
    classes = dict(_classes(document))
    for attribute in classes:
        if attribute not in document:
            raise BadLineError(f"{attribute}-metadata without {attribute}")
    labels = {attribute: _label_in(metadata) for attribute, metadata in classes.items()}
    if len(set(labels.values()) - {None}) > 1:
        names = ", ".join(sorted(name for name, label in labels.items() if label is not None))
        raise BadLineError(f"its labels contradict each other: {names}")
    used = label_attribute(document)
    if used is None:
        return None, None
    return labels[used], _date(classes[used].get("creation-date"))


def _mask(
    document: dict[str, Any], max_types: int
) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    masks = {
        attribute: (document[attribute], metadata["internal-color-map"])
        for attribute, metadata in _metadata(document)
        if metadata.get("internal-color-map") is not None and document.get(attribute) is not None
    }
    if not masks:
        return None, ()
    if len(masks) > 1:
        raise BadLineError(f"it has several masks: {', '.join(sorted(masks))}")
    ((attribute, (ref, colors)),) = masks.items()
    if not isinstance(ref, str) or not isinstance(colors, dict):
        raise BadLineError(f"{attribute} is not a mask's address with an internal-color-map")
    _check_ref(ref, attribute)
    found = tuple(_colors(colors))
    if len(found) > max_types:
        raise BadLineError(f"{len(found)} anomaly types on one mask; {max_types} are allowed")
    return ref, found


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
