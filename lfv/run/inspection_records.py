"""Builds the inspection record of a manifest line from its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lfv.client.policy import Policy, Verdict, decide
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.errors import LfvError
from lfv.formats.images import ImageInfo
from lfv.formats.manifest.records import BadLine, ManifestItem
from lfv_store import ImageFacts, KnownDetection, NewDetection, NewInspection, PendingItem

#: Error code of an image that got no answer on an earlier line of the run.
SAME_IMAGE_FAILED = "same_image_failed"


def record_bad_line(line: BadLine) -> NewInspection:
    """Record a manifest line that names no image."""
    return NewInspection(
        line_number=line.line_number,
        source_ref=line.text,
        inspected_at=datetime.now(UTC),
        error_code=line.code,
        error_message=line.message,
        attempts=0,
    )


def record_unreadable(item: ManifestItem, error: LfvError) -> NewInspection:
    """Record an image that cannot be read or inspected."""
    return NewInspection(
        **_line(item),
        inspected_at=datetime.now(UTC),
        error_code=error.code,
        error_message=str(error),
        attempts=0,
    )


def to_pending(item: ManifestItem, info: ImageInfo) -> PendingItem:
    """Return an image as a pending item."""
    image = ImageFacts(info.sha256, info.format, info.width, info.height, info.size_bytes)
    return PendingItem(**_line(item), image=image)


def _line(item: ManifestItem) -> dict[str, Any]:
    """Return the fields of a manifest line that are stored, by the store's names."""
    return {
        "line_number": item.line_number,
        "source_ref": item.source_ref,
        "attributes": item.attributes,
        "expected_is_anomalous": item.is_anomalous,
        "expected_mask_ref": item.mask_ref,
    }


def record_failure(item: PendingItem, error: LfvError, attempts: int) -> NewInspection:
    """Record an image that the model did not answer."""
    return item.inspected(
        datetime.now(UTC), error_code=error.code, error_message=str(error), attempts=attempts
    )


def record_repeated_failure(item: PendingItem) -> NewInspection:
    """Record an image that got no answer on an earlier line of the run."""
    return item.inspected(
        datetime.now(UTC),
        error_code=SAME_IMAGE_FAILED,
        error_message="The same image got no answer on an earlier line of this manifest.",
        attempts=0,
    )


def record_answer(
    item: PendingItem,
    detection: NewDetection | KnownDetection,
    policy: Policy,
    attempts: int = 1,
    *,
    result: DetectAnomalyResult | None = None,
) -> NewInspection:
    """Record an image with the model's answer, new or known, and the resulting verdict.

    `result` is the parsed answer, if available.
    """
    if result is None:
        result = DetectAnomalyResult.from_response(detection.response)
    verdict = decide(result, policy, item.attributes)
    known = isinstance(detection, KnownDetection)
    return item.inspected(
        datetime.now(UTC),
        detection=detection.detection_id if isinstance(detection, KnownDetection) else detection,
        reused=known,
        verdict=verdict.verdict,
        reasons=reasons_of(verdict),
        attempts=0 if known else attempts,
    )


def reasons_of(verdict: Verdict) -> list[Mapping[str, Any]]:
    """Return the reasons of a verdict in the form that is stored."""
    return [reason.to_dict() for reason in verdict.reasons]
