"""Answers of two models on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import aliased

from lfv_store.repository import Repository
from lfv_store.tables import DetectionTable, InspectionTable, RunTable, TallyTable
from lfv_store.views import INSPECTION_RESULTS

_COLUMNS = INSPECTION_RESULTS.c
_CHUNK = 400


@dataclass(frozen=True, slots=True)
class AnswerPair:
    """Two models' answers to the same image; `inspection_id` is one by the first model.

    `is_defective` is the last review of either inspection, else the label; None if unknown.
    """

    inspection_id: int
    source_ref: str
    first_is_anomalous: bool
    first_confidence: float
    second_is_anomalous: bool
    second_confidence: float
    is_defective: bool | None


class Comparisons(Repository):
    """`store.comparisons`."""

    def answers(self, first: int, second: int) -> Sequence[AnswerPair]:
        """Return two models' newest answers to the images that both have judged."""
        with self._database.read() as conn:
            rows = conn.execute(_judged_by_both(conn, first, second)).all()
            found: list[AnswerPair] = []
            for start in range(0, len(rows), _CHUNK):
                chunk = rows[start : start + _CHUNK]
                truths = _truths(conn, [d for row in chunk for d in (row.first, row.second)])
                for row in chunk:
                    known = truths.get(row.first)
                    if known is None:
                        continue
                    inspection, source_ref, truth = known
                    if truth is None and row.second in truths:
                        truth = truths[row.second][2]
                    found.append(
                        AnswerPair(
                            inspection_id=inspection,
                            source_ref=source_ref,
                            first_is_anomalous=row.first_is,
                            first_confidence=row.first_confidence,
                            second_is_anomalous=row.second_is,
                            second_confidence=row.second_confidence,
                            is_defective=truth,
                        )
                    )
        return found


def _judged_by_both(conn: Connection, first: int, second: int) -> sa.Select[Any]:
    """Select two models' newest detections on the same images, with their answers."""
    images = _images(conn, first, second)
    a, b = _newest(first, images, "a"), _newest(second, images, "b")
    one, other = aliased(DetectionTable), aliased(DetectionTable)
    return (
        sa.select(
            a.c.detection_id.label("first"),
            b.c.detection_id.label("second"),
            one.is_anomalous.label("first_is"),
            one.confidence.label("first_confidence"),
            other.is_anomalous.label("second_is"),
            other.confidence.label("second_confidence"),
        )
        .join(b, b.c.image_id == a.c.image_id)
        .join(one, one.id == a.c.detection_id)
        .join(other, other.id == b.c.detection_id)
        .order_by(a.c.detection_id)
    )


def _images(conn: Connection, first: int, second: int) -> sa.Select[Any]:
    """Select the images of whichever model has fewer answers."""
    answered = sa.func.coalesce(sa.func.sum(TallyTable.asked + TallyTable.reused), 0)

    def answers(model_id: int) -> int:
        of_model = sa.select(answered).join(RunTable, RunTable.id == TallyTable.run_id)
        return int(conn.scalar(of_model.where(RunTable.model_id == model_id)) or 0)

    runs = sa.select(RunTable.id).where(RunTable.model_id == min(first, second, key=answers))
    return sa.select(InspectionTable.image_id).where(
        InspectionTable.run_id.in_(runs), InspectionTable.image_id.is_not(None)
    )


def _newest(model_id: int, images: sa.Select[Any], name: str) -> sa.Subquery:
    """Select a model's newest detection for each image."""
    return (
        sa.select(DetectionTable.image_id, sa.func.max(DetectionTable.id).label("detection_id"))
        .where(DetectionTable.image_id.in_(images), DetectionTable.model_id == model_id)
        .group_by(DetectionTable.image_id)
        .subquery(name)
    )


def _truths(conn: Connection, detections: Sequence[int]) -> dict[int, tuple[int, str, bool | None]]:
    """Return an inspection of each detection, its source, and whether the part is defective.

    The last review decides, else the label.
    """
    rows = conn.execute(
        sa.select(
            _COLUMNS.detection_id,
            _COLUMNS.inspection_id,
            _COLUMNS.source_ref,
            _COLUMNS.reviewed_verdict,
            _COLUMNS.expected_is_anomalous,
        )
        .where(_COLUMNS.detection_id.in_(detections))
        .order_by(_COLUMNS.inspection_id)
    )
    found: dict[int, tuple[int, str, bool | None]] = {}
    for row in rows:
        truth = row.expected_is_anomalous
        if row.reviewed_verdict in ("accept", "reject"):
            truth = row.reviewed_verdict == "reject"
        if truth is None:
            truth = found.get(row.detection_id, (0, "", None))[2]
        found[row.detection_id] = (row.inspection_id, row.source_ref, truth)
    return found
