"""Tallies of answers and of anomaly types, for charts that do not read all of a run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ANSWERS = """
INSERT INTO answer_tallies (run_id, is_anomalous, step, verdict, images)
SELECT run_id, is_anomalous, step, verdict, count(*)
FROM (
    SELECT i.run_id, d.is_anomalous, {step} AS step,
           coalesce(
               (SELECT w.verdict FROM reviews w WHERE w.inspection_id = i.id
                ORDER BY w.id DESC LIMIT 1),
               v.verdict, i.verdict) AS verdict
    FROM inspections i
    JOIN runs r ON r.id = i.run_id
    JOIN run_progress p ON p.run_id = i.run_id AND i.id <= p.counted_through
    JOIN detections d ON d.id = i.detection_id
    LEFT JOIN verdicts v ON v.inspection_id = i.id AND v.decision_id = r.later_decision_id
) answers
WHERE verdict IS NOT NULL
GROUP BY run_id, is_anomalous, step, verdict
"""
_ANOMALIES = """
INSERT INTO anomaly_tallies (run_id, name, color, images)
SELECT i.run_id, a.name, min(a.color), count(DISTINCT i.id)
FROM anomalies a
JOIN inspections i ON i.detection_id = a.detection_id
JOIN run_progress p ON p.run_id = i.run_id AND i.id <= p.counted_through
WHERE NOT (a.position = 0 AND a.name = 'background')
GROUP BY i.run_id, a.name
"""


def upgrade() -> None:
    """Create the tables, and fill them up to the line that each run's tallies reach."""
    op.create_table(
        "answer_tallies",
        sa.Column("run_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("is_anomalous", sa.Boolean(), nullable=False),
        sa.Column("step", _BIG, autoincrement=False, nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("images", _BIG, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_answer_tallies_run_id"),
        sa.PrimaryKeyConstraint(
            "run_id", "is_anomalous", "step", "verdict", name="pk_answer_tallies"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "anomaly_tallies",
        sa.Column("run_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("color", sa.Text(), nullable=True),
        sa.Column("images", _BIG, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_anomaly_tallies_run_id"),
        sa.PrimaryKeyConstraint("run_id", "name", name="pk_anomaly_tallies"),
        sqlite_with_rowid=False,
    )
    step = "CAST(d.confidence * 100 AS INTEGER)"
    if op.get_bind().dialect.name != "sqlite":
        step = "floor(d.confidence * 100)"
    op.get_bind().exec_driver_sql(_ANSWERS.format(step=step))
    op.execute(_ANOMALIES)
