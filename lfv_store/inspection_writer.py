"""Writes a batch of inspections: prepares all rows, then fills one table after the other."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lfv_store.audit.canonical import Cell
from lfv_store.audit.change import Change, png_digest
from lfv_store.clean_text import attribute_rows, clean, clean_or_none, json_text
from lfv_store.column_types import utc_text
from lfv_store.dialects.base import Batch, BatchFacts
from lfv_store.errors import InvalidRecord, UnknownRecord
from lfv_store.records.base import VERDICTS
from lfv_store.records.inspections import NewDetection, NewInspection
from lfv_store.row_mapping import line_cells

Row = dict[str, Cell]


def write_inspections(
    change: Change, run_id: str, inspections: Sequence[NewInspection]
) -> tuple[int, int]:
    """Write a batch and lock its run. Lines that are already recorded are skipped.

    Returns the internal id of the run and the number of lines written.

    Raises UnknownRun, InvalidRecord, or UnknownRecord if a detection id does not exist.
    """
    facts = change.begin_batch(_batch(run_id, inspections))
    run, image_ids = facts.run, facts.images
    fresh = _new_inspections(facts.lines, inspections)
    if not fresh:
        return run, 0
    _digest_images(change, facts, fresh)
    _check_reused(facts, fresh)
    detection_ids = _write_detections(change, run, fresh, image_ids)
    rows: list[Row] = []
    attributes: list[Row] = []
    for position, item in enumerate(fresh):
        inspection_id = change.first_id + position
        detection = item.detection
        rows.append(
            {
                "id": inspection_id,
                "run_id": run,
                **line_cells(item),
                "image_id": None if item.image is None else image_ids[item.image.sha256],
                "detection_id": detection
                if isinstance(detection, int)
                else detection_ids.get(position),
                "reused": int(item.reused),
                "verdict": item.verdict,
                "reasons": json_text(list(item.reasons)),
                "error_code": item.error_code,
                "error_message": clean_or_none(item.error_message),
                "attempts": item.attempts,
                "inspected_at": utc_text(item.inspected_at),
            }
        )
        attributes.extend(
            {"inspection_id": inspection_id, "name": name, "value": value}
            for name, value in attribute_rows(item.attributes)
        )
    change.insert_bulk("inspections", rows)
    change.insert_bulk("inspection_attributes", attributes)
    return run, len(fresh)


def _batch(run_id: str, inspections: Sequence[NewInspection]) -> Batch:
    images = [(item.line_number, item.image) for item in inspections if item.image is not None]
    reused = {item.detection for item in inspections if isinstance(item.detection, int)}
    return Batch(run_id, [item.line_number for item in inspections], images, sorted(reused))


def _new_inspections(
    recorded: Collection[int], inspections: Sequence[NewInspection]
) -> list[NewInspection]:
    known = set(recorded)
    fresh = []
    for item in inspections:
        if item.line_number not in known:
            known.add(item.line_number)
            _check(item)
            fresh.append(item)
    return fresh


def _check(item: NewInspection) -> None:
    where = f"line {item.line_number}"
    if (item.verdict is None) == (item.error_code is None):
        raise InvalidRecord(f"{where}: an inspection has either a verdict or an error")
    if item.verdict is not None and item.verdict not in VERDICTS:
        raise InvalidRecord(f"{where}: unknown verdict {item.verdict!r}")
    if item.verdict is not None and item.detection is None:
        raise InvalidRecord(f"{where}: a verdict needs a detection")
    if isinstance(item.detection, int) != item.reused:
        raise InvalidRecord(f"{where}: a reused answer is named by the id of its detection")
    if item.detection is not None:
        if item.image is None:
            raise InvalidRecord(f"{where}: a detection needs its image")
        if (
            isinstance(item.detection, NewDetection)
            and item.detection.image_sha256 != item.image.sha256
        ):
            raise InvalidRecord(f"{where}: the detection is of another image")


def _digest_images(change: Change, facts: BatchFacts, fresh: Sequence[NewInspection]) -> None:
    """Include the images added by this change in its audit entry."""
    added = set(facts.added)
    rows: dict[int, Row] = {}
    for item in fresh:
        image = item.image
        if image is not None and image.sha256 in added:
            added.remove(image.sha256)
            image_id = facts.images[image.sha256]
            rows[image_id] = {"id": image_id, **asdict(image)}
    if rows:
        change.digest_bulk("images", [rows[image_id] for image_id in sorted(rows)])


def _check_reused(facts: BatchFacts, fresh: Sequence[NewInspection]) -> None:
    for item in fresh:
        if not isinstance(item.detection, int):
            continue
        image = facts.detections.get(item.detection)
        if image is None:
            raise UnknownRecord(f"line {item.line_number}: no detection {item.detection}")
        if item.image is None or facts.images[item.image.sha256] != image:
            raise InvalidRecord(f"line {item.line_number}: the detection is of another image")


def _write_detections(
    change: Change, run: int, fresh: Sequence[NewInspection], image_ids: Mapping[str, int]
) -> dict[int, int]:
    """Write the new detections; return their ids by position of the inspection in the batch."""
    ids: dict[int, int] = {}
    rows: list[Row] = []
    masks: list[tuple[int, bytes]] = []
    anomalies: list[Row] = []
    for position, item in enumerate(fresh):
        detection = item.detection
        if not isinstance(detection, NewDetection):
            continue
        detection_id = change.first_id + len(rows)
        ids[position] = detection_id
        result = detection.response.get("DetectAnomalyResult", detection.response)
        png = detection.mask_png
        rows.append(
            {
                "id": detection_id,
                "model_id": detection.model_id,
                "image_id": image_ids[detection.image_sha256],
                "run_id": run,
                "is_anomalous": _is_anomalous(result),
                "confidence": _number(result, "Confidence"),
                "response": json_text(detection.response),
                "mask_sha256": None if png is None else png_digest(png),
                "request_id": clean_or_none(detection.request_id),
                "latency_ms": _latency(detection.latency_ms),
                "detected_at": utc_text(detection.detected_at),
            }
        )
        if png is not None:
            masks.append((detection_id, png))
        for place, anomaly in enumerate(result.get("Anomalies") or ()):
            area = anomaly.get("PixelAnomaly") or {}
            anomalies.append(
                {
                    "detection_id": detection_id,
                    "position": place,
                    "name": clean(str(anomaly.get("Name", ""))),
                    "total_percentage_area": _number(area, "TotalPercentageArea"),
                    "color": clean_or_none(area.get("Color")),
                }
            )
    change.insert_bulk("detections", rows)
    change.insert_masks(masks)
    change.insert_bulk("anomalies", anomalies)
    return ids


def _is_anomalous(result: Any) -> int:
    value = result.get("IsAnomalous")
    if not isinstance(value, bool):
        raise InvalidRecord(f"a detection's IsAnomalous must be true or false, not {value!r}")
    return int(value)


def _latency(milliseconds: float | None) -> float | None:
    if milliseconds is None:
        return None
    if not math.isfinite(milliseconds):
        raise InvalidRecord(f"a detection's latency_ms must be a number, not {milliseconds!r}")
    return float(milliseconds) + 0.0  # turns -0.0, which not every database keeps, into 0.0


def _number(fields: Any, name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidRecord(f"a detection's {name} must be a number, not {value!r}")
    return float(value) + 0.0
