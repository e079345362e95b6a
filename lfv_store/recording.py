"""How a batch of inspections is written: rows prepared first, then one table after the other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from lfv_store.audit.canonical import Cell
from lfv_store.audit.change import Change, png_digest
from lfv_store.audit.layouts import BULK
from lfv_store.errors import InvalidRecord, UnknownRecord
from lfv_store.records import VERDICTS, ImageFacts, NewDetection, NewInspection, RecordCounts
from lfv_store.text import attribute_rows, clean, clean_or_none, json_text
from lfv_store.types import utc_text

Row = dict[str, Cell]


def write_inspections(unit: Change, run: int, inspections: Sequence[NewInspection]) -> RecordCounts:
    """Write a batch within a change that holds the run's lock. Lines already recorded are skipped.

    Raises InvalidRecord, or UnknownRecord for a detection id that does not exist.
    """
    fresh = _fresh(unit, run, inspections)
    existing = len(inspections) - len(fresh)
    if not fresh:
        return RecordCounts(0, 0, existing)
    image_ids = _write_images(unit, [item.image for item in fresh if item.image is not None])
    _check_reused(unit, fresh, image_ids)
    detection_ids = _write_detections(unit, run, fresh, image_ids)
    rows: list[Row] = []
    attributes: list[Row] = []
    for position, item in enumerate(fresh):
        inspection_id = unit.first_id + position
        detection = item.detection
        expected = item.expected_is_anomalous
        rows.append(
            {
                "id": inspection_id,
                "run_id": run,
                "line_number": item.line_number,
                "source_ref": clean(item.source_ref),
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
                "attributes": json_text(item.attributes),
                "expected_is_anomalous": None if expected is None else int(expected),
                "expected_mask_ref": clean_or_none(item.expected_mask_ref),
                "inspected_at": utc_text(item.inspected_at),
            }
        )
        attributes.extend(
            {"inspection_id": inspection_id, "name": name, "value": value}
            for name, value in attribute_rows(item.attributes)
        )
    unit.insert_bulk("inspections", rows)
    unit.insert_bulk("inspection_attributes", attributes)
    return RecordCounts(len(fresh), len(detection_ids), existing)


def _fresh(unit: Change, run: int, inspections: Sequence[NewInspection]) -> list[NewInspection]:
    lines = [item.line_number for item in inspections]
    found = unit.dialect.select_in(
        unit.conn, "inspections", ("line_number",), "line_number", lines, run_id=run
    )
    known = {line for (line,) in found}
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
        raise InvalidRecord(f"{where}: reused means that an earlier detection is given, by its id")
    if item.detection is not None:
        if item.image is None:
            raise InvalidRecord(f"{where}: a detection needs its image")
        if (
            isinstance(item.detection, NewDetection)
            and item.detection.image_sha256 != item.image.sha256
        ):
            raise InvalidRecord(f"{where}: the detection is of another image")


def _write_images(unit: Change, images: Iterable[ImageFacts]) -> dict[str, int]:
    wanted = {image.sha256: image for image in images}
    ids = _image_ids(unit, list(wanted))
    missing = sorted(wanted.keys() - ids.keys())
    if not missing:
        return ids
    rows: list[Row] = [
        {
            "id": unit.first_id + position,
            "sha256": sha256,
            "format": wanted[sha256].format,
            "width": wanted[sha256].width,
            "height": wanted[sha256].height,
            "size_bytes": wanted[sha256].size_bytes,
        }
        for position, sha256 in enumerate(missing)
    ]
    columns = BULK["images"].columns
    cells = [[row[column] for column in columns] for row in rows]
    inserted = unit.dialect.insert_missing_images(unit.conn, columns, cells)
    unit.digest_bulk("images", [row for row in rows if row["id"] in inserted])
    ids.update((str(row["sha256"]), int(row["id"] or 0)) for row in rows if row["id"] in inserted)
    ids.update(_image_ids(unit, [sha256 for sha256 in missing if sha256 not in ids]))
    return ids


def _image_ids(unit: Change, digests: Sequence[str]) -> dict[str, int]:
    return dict(unit.dialect.select_in(unit.conn, "images", ("sha256", "id"), "sha256", digests))


def _check_reused(unit: Change, fresh: Sequence[NewInspection], image_ids: dict[str, int]) -> None:
    wanted = {item.detection for item in fresh if isinstance(item.detection, int)}
    found = unit.dialect.select_in(
        unit.conn, "detections", ("id", "image_id"), "id", sorted(wanted)
    )
    images: dict[int, int] = dict(found)
    for item in fresh:
        if not isinstance(item.detection, int):
            continue
        image = images.get(item.detection)
        if image is None:
            raise UnknownRecord(f"line {item.line_number}: no detection {item.detection}")
        if item.image is None or image_ids[item.image.sha256] != image:
            raise InvalidRecord(f"line {item.line_number}: the detection is of another image")


def _write_detections(
    unit: Change, run: int, fresh: Sequence[NewInspection], image_ids: dict[str, int]
) -> dict[int, int]:
    """Ids of the new detections by the position of their inspection in the batch."""
    ids: dict[int, int] = {}
    rows: list[Row] = []
    masks: list[tuple[int, bytes]] = []
    anomalies: list[Row] = []
    for position, item in enumerate(fresh):
        detection = item.detection
        if not isinstance(detection, NewDetection):
            continue
        detection_id = unit.first_id + len(rows)
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
    unit.insert_bulk("detections", rows)
    if masks:
        unit.dialect.insert(unit.conn, "masks", ("detection_id", "png"), masks)
    unit.insert_bulk("anomalies", anomalies)
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
    return float(milliseconds)


def _number(fields: Any, name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidRecord(f"a detection's {name} must be a number, not {value!r}")
    return float(value)
