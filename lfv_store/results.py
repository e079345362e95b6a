"""Read access to a run's results: the view `inspection_results`, answers and their counts."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.anomaly_types import is_anomaly_type
from lfv_store.answer_tallies import STEPS
from lfv_store.errors import UnknownInspection
from lfv_store.repository import Repository
from lfv_store.runs import require_run
from lfv_store.tables import (
    AnomalyTable,
    DetectionTable,
    ImageTable,
    InspectionTable,
    MaskTable,
)
from lfv_store.tallies import current_anomalies, current_answers
from lfv_store.views import INSPECTION_RESULTS

_PAGE = 1000
_COLUMNS = INSPECTION_RESULTS.c
_HEAT_MAP = '"AnomalyMap"'


@dataclass(frozen=True, slots=True)
class Annotations:
    """What drawing a detection needs: the image's size, and (name, area, colour) of anomalies."""

    width: int
    height: int
    has_mask: bool
    has_heat_map: bool
    anomalies: tuple[tuple[str, float, str | None], ...]


class Results(Repository):
    """Read access to results; available as `store.results`."""

    def rows(self, run_id: str, columns: Sequence[str] = ()) -> Generator[dict[str, Any]]:
        """Stream all inspections of a run, by line number, from one snapshot.

        `columns` are those to read, all if empty; leaving out JSON saves most of the time. They
        must include `line_number`. Raises UnknownRun.
        """
        statement = sa.select(*(_COLUMNS[name] for name in columns or _COLUMNS.keys()))
        with self._database.snapshot() as conn:
            require_run(conn, run_id)
            after = -1
            while True:
                rows = conn.execute(
                    statement.where(_COLUMNS.run_id == run_id, _COLUMNS.line_number > after)
                    .order_by(_COLUMNS.line_number)
                    .limit(_PAGE)
                )
                page = [dict(row) for row in rows.mappings()]
                if not page:
                    return
                yield from page
                after = page[-1]["line_number"]

    def of_lines(self, run_id: str, lines: Sequence[int]) -> list[dict[str, Any]]:
        """Return a run's inspections of some hundred lines, by line number."""
        with self._database.read() as conn:
            return rows_of_lines(conn, run_id, lines)

    def get(self, inspection_id: int) -> dict[str, Any]:
        """Return one inspection. Raises UnknownInspection."""
        with self._database.read() as conn:
            row = _row(conn, _COLUMNS.inspection_id == inspection_id)
        if row is None:
            raise UnknownInspection(f"no inspection has id {inspection_id}")
        return row

    def line(self, run_id: str, line_number: int) -> dict[str, Any]:
        """Return a run's inspection of one line. Raises UnknownRun, UnknownInspection."""
        with self._database.read() as conn:
            require_run(conn, run_id)
            row = _row(conn, _COLUMNS.run_id == run_id, _COLUMNS.line_number == line_number)
        if row is None:
            raise UnknownInspection(f"run {run_id} has no inspection of line {line_number}")
        return row

    def errors(self, run_id: str, *, limit: int = 100) -> Sequence[dict[str, Any]]:
        """Return up to `limit` lines that could not be inspected, by number. Raises UnknownRun."""
        with self._database.read() as conn:
            require_run(conn, run_id)
            rows = conn.execute(
                sa.select(INSPECTION_RESULTS)
                .where(_COLUMNS.run_id == run_id, _COLUMNS.error_code.is_not(None))
                .order_by(_COLUMNS.line_number)
                .limit(limit)
            )
            return [dict(row) for row in rows.mappings()]

    def errors_by_code(self, run_id: str) -> dict[str, int]:
        """Count a run's errors by code, the most frequent first. Raises UnknownRun."""
        number = sa.func.count().label("number")
        with self._database.read() as conn:
            run = require_run(conn, run_id)
            rows = conn.execute(
                sa.select(InspectionTable.error_code, number)
                .where(InspectionTable.run_id == run, InspectionTable.error_code.is_not(None))
                .group_by(InspectionTable.error_code)
                .order_by(number.desc(), InspectionTable.error_code)
            ).all()
        return {code: count for code, count in rows if code is not None}

    def response(self, detection_id: int) -> dict[str, Any]:
        """Return a detection's stored answer without its mask. Raises UnknownInspection."""
        with self._database.read() as conn:
            found = conn.scalar(
                sa.select(DetectionTable.response).where(DetectionTable.id == detection_id)
            )
        if found is None:
            raise UnknownInspection(f"no detection has id {detection_id}")
        return dict(found)

    def mask(self, detection_id: int) -> bytes | None:
        """Return the PNG of a detection's anomaly mask, or None."""
        with self._database.read() as conn:
            return conn.scalar(
                sa.select(MaskTable.png).where(MaskTable.detection_id == detection_id)
            )

    def annotations(self, detections: Sequence[int]) -> dict[int, Annotations]:
        """Return what is needed to draw detections, by detection id."""
        named = sa.text(is_anomaly_type("anomalies.name"))
        with self._database.read() as conn:
            rows = conn.execute(
                sa.select(
                    DetectionTable.id,
                    ImageTable.width,
                    ImageTable.height,
                    DetectionTable.mask_sha256.is_not(None),
                    sa.cast(DetectionTable.response, sa.Text).contains(_HEAT_MAP),
                )
                .join(ImageTable, ImageTable.id == DetectionTable.image_id)
                .where(DetectionTable.id.in_(detections))
            ).all()
            found = conn.execute(
                sa.select(AnomalyTable.__table__)
                .where(AnomalyTable.detection_id.in_(detections), named)
                .order_by(AnomalyTable.detection_id, AnomalyTable.position)
            ).all()
        anomalies: dict[int, list[tuple[str, float, str | None]]] = {}
        for anomaly in found:
            shown = (anomaly.name, anomaly.total_percentage_area, anomaly.color)
            anomalies.setdefault(anomaly.detection_id, []).append(shown)
        return {
            row[0]: Annotations(
                *row[1:3], bool(row[3]), bool(row[4]), tuple(anomalies.get(row[0], ()))
            )
            for row in rows
        }

    def answers(self, run_id: str) -> Sequence[tuple[bool, float, str, int]]:
        """Count a run's answers: (is_anomalous, confidence, current verdict, images).

        Confidences are rounded down to hundredths. Raises UnknownRun.
        """
        with self._database.read() as conn:
            counts = current_answers(conn, require_run(conn, run_id))
        return [
            (is_anomalous, step / STEPS, verdict, images)
            for (is_anomalous, step, verdict), images in counts.items()
        ]

    def anomaly_types(self, run_id: str) -> Sequence[tuple[str, int, str | None]]:
        """Return a run's anomaly types as (name, images, colour). Raises UnknownRun."""
        with self._database.read() as conn:
            found = current_anomalies(conn, require_run(conn, run_id))
        return [(name, *facts) for name, facts in sorted(found.items())]


def _row(conn: Connection, *conditions: sa.ColumnElement[bool]) -> dict[str, Any] | None:
    found = conn.execute(sa.select(INSPECTION_RESULTS).where(*conditions)).mappings().one_or_none()
    return None if found is None else dict(found)


def rows_of_lines(conn: Connection, run_id: str, lines: Sequence[int]) -> list[dict[str, Any]]:
    """Return a run's inspections of some hundred lines, by line number."""
    rows = conn.execute(
        sa.select(INSPECTION_RESULTS)
        .where(_COLUMNS.run_id == run_id, _COLUMNS.line_number.in_(lines))
        .order_by(_COLUMNS.line_number)
    )
    return [dict(row) for row in rows.mappings()]
