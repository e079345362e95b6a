"""Tallies of a run's answers by confidence and verdict, and of its anomaly types.

lfv_store/tallies.py maintains them together with the counts by day, up to the same mark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.anomaly_types import is_anomaly_type
from lfv_store.tables import AnomalyTable, AnomalyTallyTable, AnswerTallyTable, InspectionTable

#: Confidence is counted in hundredths: `step` is the lower bound, 0 to 100.
STEPS = 100

#: The model's answer, the step of its confidence, and the current verdict.
AnswerKey = tuple[bool, int, str]

_ADD_ANSWERS = sa.text(
    "INSERT INTO answer_tallies (run_id, is_anomalous, step, verdict, images)"
    " VALUES (:run_id, :is_anomalous, :step, :verdict, :images)"
    " ON CONFLICT (run_id, is_anomalous, step, verdict)"
    " DO UPDATE SET images = answer_tallies.images + excluded.images"
)
_ADD_ANOMALIES = sa.text(
    "INSERT INTO anomaly_tallies (run_id, name, color, images)"
    " VALUES (:run_id, :name, :color, :images)"
    " ON CONFLICT (run_id, name) DO UPDATE SET images = anomaly_tallies.images + excluded.images,"
    " color = CASE WHEN excluded.color < anomaly_tallies.color OR anomaly_tallies.color IS NULL"
    " THEN excluded.color ELSE anomaly_tallies.color END"
)


def add_answers(conn: Connection, run: int, answers: Mapping[AnswerKey, int], *, sign: int) -> None:
    """Add answers to a run's tallies, or with a negative `sign` subtract them."""
    rows = [
        {
            "run_id": run,
            "is_anomalous": is_anomalous,
            "step": step,
            "verdict": verdict,
            "images": sign * images,
        }
        for (is_anomalous, step, verdict), images in sorted(answers.items())
        if images
    ]
    if rows:
        conn.execute(_ADD_ANSWERS, rows)
    if rows and sign < 0:
        table = AnswerTallyTable
        conn.execute(sa.delete(table).where(table.run_id == run, table.images == 0))


def stored_answers(conn: Connection, run: int) -> Counter[AnswerKey]:
    """Return the tallied answers of a run."""
    table = AnswerTallyTable
    rows = conn.execute(
        sa.select(table.is_anomalous, table.step, table.verdict, table.images).where(
            table.run_id == run
        )
    )
    return Counter({(bool(one), int(step), verdict): images for one, step, verdict, images in rows})


def count_anomalies(
    conn: Connection, condition: sa.ColumnElement[bool], parameters: Mapping[str, int]
) -> Sequence[tuple[str, int, str | None]]:
    """Count the anomaly types of the inspections selected by `condition`: name, images, colour."""
    rows = conn.execute(
        sa.select(
            AnomalyTable.name,
            sa.func.count(InspectionTable.id.distinct()),
            sa.func.min(AnomalyTable.color),
        )
        .join(InspectionTable, InspectionTable.detection_id == AnomalyTable.detection_id)
        .where(condition, sa.text(is_anomaly_type("anomalies.name")))
        .group_by(AnomalyTable.name),
        parameters,
    )
    return [(row[0], int(row[1]), row[2]) for row in rows]


def add_anomalies(
    conn: Connection, run: int, anomalies: Iterable[tuple[str, int, str | None]]
) -> None:
    """Add anomaly types (name, images, colour) to the tallies of a run."""
    rows = [
        {"run_id": run, "name": name, "color": color, "images": images}
        for name, images, color in anomalies
    ]
    if rows:
        conn.execute(_ADD_ANOMALIES, rows)


def stored_anomalies(conn: Connection, run: int) -> dict[str, tuple[int, str | None]]:
    """Return the tallied anomaly types of a run: images and colour by name."""
    table = AnomalyTallyTable
    rows = conn.execute(sa.select(table.name, table.images, table.color).where(table.run_id == run))
    return {row.name: (row.images, row.color) for row in rows}
