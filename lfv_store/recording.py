"""How a batch of inspections is written: rows prepared first, then one table after the other."""

# ruff: noqa: S608 -- names in SQL text are constants of this package, values are parameters

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lfv_store.audit.canonical import Cells
from lfv_store.audit.change import Change, png_digest
from lfv_store.bulk import insert_missing_images, insert_rows, select_where_in
from lfv_store.errors import InvalidRecord, UnknownRecord
from lfv_store.records import ImageFacts, NewDetection, NewInspection, RecordCounts
from lfv_store.tables import HostingUsageTable, LeaseTable, TallyTable
from lfv_store.text import attribute_rows, clean, clean_or_none, json_text
from lfv_store.types import utc_day, utc_text

OUTCOMES = {"accept": "accepted", "reject": "rejected", "review": "review", None: "errors"}
"""The tally column of each verdict; no verdict is an error."""


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
    rows: list[Cells] = []
    attributes: list[Cells] = []
    for position, item in enumerate(fresh):
        inspection_id = unit.first_id + position
        detection = item.detection
        rows.append(
            (
                inspection_id,
                run,
                item.line_number,
                clean(item.source_ref),
                image_ids[item.image.sha256] if item.image is not None else None,
                detection if isinstance(detection, int) else detection_ids.get(position),
                int(item.reused),
                item.verdict,
                json_text(list(item.reasons)),
                item.error_code,
                clean_or_none(item.error_message),
                item.attempts,
                json_text(item.attributes),
                None if item.expected_is_anomalous is None else int(item.expected_is_anomalous),
                clean_or_none(item.expected_mask_ref),
                utc_text(item.inspected_at),
            )
        )
        if item.attributes:
            attributes.extend(
                (inspection_id, name, value) for name, value in attribute_rows(item.attributes)
            )
    unit.insert_bulk("inspections", rows)
    unit.insert_bulk("inspection_attributes", attributes)
    _add_to_tallies(unit, run, _tally(fresh))
    _add_to_usage(unit, run, fresh)
    return RecordCounts(len(fresh), len(detection_ids), existing)


def _fresh(unit: Change, run: int, inspections: Sequence[NewInspection]) -> list[NewInspection]:
    lines = [item.line_number for item in inspections]
    known = {
        row[0]
        for row in select_where_in(
            unit.conn,
            f"SELECT line_number FROM inspections WHERE run_id = {run:d} AND",
            "line_number",
            lines,
        )
    }
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
    if item.verdict not in OUTCOMES:
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
    lookup = "SELECT sha256, id FROM images WHERE"
    ids: dict[str, int] = dict(select_where_in(unit.conn, lookup, "sha256", list(wanted)))
    missing = sorted(wanted.keys() - ids.keys())
    if not missing:
        return ids
    rows: list[Cells] = [
        (
            unit.first_id + position,
            sha256,
            wanted[sha256].format,
            wanted[sha256].width,
            wanted[sha256].height,
            wanted[sha256].size_bytes,
        )
        for position, sha256 in enumerate(missing)
    ]
    inserted = insert_missing_images(unit.conn, rows)
    unit.digest_bulk("images", inserted)
    ids.update((str(row[1]), int(row[0] or 0)) for row in inserted)
    others = [sha256 for sha256 in missing if sha256 not in ids]
    ids.update(select_where_in(unit.conn, lookup, "sha256", others))
    return ids


def _check_reused(unit: Change, fresh: Sequence[NewInspection], image_ids: dict[str, int]) -> None:
    wanted = {item.detection for item in fresh if isinstance(item.detection, int)}
    lookup = "SELECT id, image_id FROM detections WHERE"
    images = dict(select_where_in(unit.conn, lookup, "id", sorted(wanted)))
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
    rows: list[Cells] = []
    masks: list[tuple[int, bytes]] = []
    anomalies: list[Cells] = []
    for position, item in enumerate(fresh):
        detection = item.detection
        if not isinstance(detection, NewDetection):
            continue
        detection_id = unit.first_id + len(rows)
        ids[position] = detection_id
        result = detection.response.get("DetectAnomalyResult", detection.response)
        png = detection.mask_png
        rows.append(
            (
                detection_id,
                detection.model_id,
                image_ids[detection.image_sha256],
                run,
                _is_anomalous(result),
                _number(result, "Confidence"),
                json_text(detection.response),
                None if png is None else png_digest(png),
                clean_or_none(detection.request_id),
                _latency(detection.latency_ms),
                utc_text(detection.detected_at),
            )
        )
        if png is not None:
            masks.append((detection_id, png))
        for place, anomaly in enumerate(result.get("Anomalies") or ()):
            area = anomaly.get("PixelAnomaly") or {}
            anomalies.append(
                (
                    detection_id,
                    place,
                    clean(str(anomaly.get("Name", ""))),
                    _number(area, "TotalPercentageArea"),
                    clean_or_none(area.get("Color")),
                )
            )
    unit.insert_bulk("detections", rows)
    if masks:
        insert_rows(unit.conn, "masks", ("detection_id", "png"), masks)
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


def _tally(fresh: Sequence[NewInspection]) -> dict[date, Counter[str]]:
    tallies: dict[date, Counter[str]] = {}
    for item in fresh:
        tally = tallies.setdefault(utc_day(item.inspected_at), Counter())
        tally[OUTCOMES[item.verdict]] += 1
        tally["reused"] += item.reused
        tally["asked"] += isinstance(item.detection, NewDetection)
    return tallies


def _add_to_tallies(unit: Change, run: int, tallies: dict[date, Counter[str]]) -> None:
    """Add a batch's outcomes to the run's tallies, in the transaction that records the batch."""
    names = ("accepted", "rejected", "review", "errors", "reused", "asked")
    insert = sqlite.insert if unit.conn.dialect.name == "sqlite" else postgresql.insert
    statement = insert(TallyTable)
    table = TallyTable.__table__
    upsert = statement.on_conflict_do_update(
        index_elements=["run_id", "day"],
        set_={name: table.c[name] + statement.excluded[name] for name in names},
    )
    rows = [
        {"run_id": run, "day": day, **{name: tally[name] for name in names}}
        for day, tally in tallies.items()
    ]
    if rows:
        unit.conn.execute(upsert, rows)


def _add_to_usage(unit: Change, run: int, fresh: Sequence[NewInspection]) -> None:
    """Count the new answers for the hosting that the run is on, if it holds or held a lease."""
    times = [
        item.detection.detected_at for item in fresh if isinstance(item.detection, NewDetection)
    ]
    if not times:
        return
    hosting = unit.conn.scalar(
        sa.select(LeaseTable.hosting_id)
        .where(LeaseTable.run_id == run)
        .order_by(LeaseTable.id.desc())
        .limit(1)
    )
    if hosting is None:
        return
    usage = unit.conn.execute(
        sa.select(*HostingUsageTable.__table__.c).where(
            HostingUsageTable.run_id == run, HostingUsageTable.hosting_id == hosting
        )
    ).one_or_none()
    if usage is None:
        unit.insert(
            "hosting_usage",
            hosting_id=hosting,
            run_id=run,
            images=len(times),
            first_answer_at=min(times),
            last_answer_at=max(times),
        )
        return
    unit.update(
        "hosting_usage",
        usage.id,
        images=usage.images + len(times),
        first_answer_at=min(usage.first_answer_at, *times),
        last_answer_at=max(usage.last_answer_at, *times),
    )
