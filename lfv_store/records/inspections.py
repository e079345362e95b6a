"""Manifest lines, detections and inspections."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, fields
from datetime import datetime
from typing import Any

from lfv_store.records.base import JsonObject, VerdictName


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts about an image's bytes. `sha256` is lower-case hex; sizes are in pixels and bytes."""

    sha256: str
    format: str
    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Line:
    """What a manifest says about an image: its reference, its attributes, its label and mask."""

    line_number: int
    source_ref: str
    _: KW_ONLY
    attributes: JsonObject = field(default_factory=dict)
    expected_is_anomalous: bool | None = None
    expected_mask_ref: str | None = None


LINE_FIELDS = tuple(member.name for member in fields(Line))


@dataclass(frozen=True, slots=True)
class PendingItem(Line):
    """A manifest line that waits for an answer.

    `duplicate`: an earlier pending line of this run has the same bytes and supplies the answer.
    """

    image: ImageFacts
    duplicate: bool = False

    def inspected(self, at: datetime, **outcome: Any) -> NewInspection:
        """Return the record of this line; `outcome` has further fields of NewInspection."""
        line = {name: getattr(self, name) for name in LINE_FIELDS}
        return NewInspection(**line, inspected_at=at, image=self.image, **outcome)


@dataclass(frozen=True, slots=True)
class NewDetection:
    """A model's answer to an image. `response` is the JSON as received, without the mask."""

    model_id: int
    image_sha256: str
    response: JsonObject
    detected_at: datetime
    mask_png: bytes | None = None
    request_id: str | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class KnownDetection:
    """A model's newest stored answer to an image, which may be reused.

    Without the mask, on which no verdict depends.
    """

    detection_id: int
    image_sha256: str
    response: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewInspection(Line):
    """The outcome of one manifest line: a verdict on a detection, or an error.

    `detection` is a new answer, the id of a stored one (then `reused` is true), or None if the line
    has an error. Exactly one of `verdict` and `error_code` is set.
    """

    inspected_at: datetime
    image: ImageFacts | None = None
    detection: NewDetection | int | None = None
    reused: bool = False
    verdict: VerdictName | None = None
    reasons: tuple[JsonObject, ...] | list[JsonObject] = ()
    error_code: str | None = None
    error_message: str | None = None
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class StoredDetection:
    """An inspection of a run with the answer behind it and its current verdict."""

    inspection_id: int
    line_number: int
    source_ref: str
    image_sha256: str
    response: dict[str, Any]
    attributes: dict[str, Any]
    expected_is_anomalous: bool | None
    expected_mask_ref: str | None
    verdict: VerdictName
    detection_id: int
    has_mask: bool
