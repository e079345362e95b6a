"""Checks the tallies behind views and charts against the inspections, using separate SQL."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from lfv_store.anomaly_types import is_anomaly_type
from lfv_store.audit.verification import Findings
from lfv_store.dialects import dialect_of

# Two runs that detect the same image at the same time may both count it as a new part. The number
# of parts must therefore lie between the images detected first by the run and all that it detected.
_TALLIES = """
WITH newest AS (
    SELECT inspection_id, max(id) AS id FROM reviews GROUP BY inspection_id
), lines AS (
    SELECT i.run_id, {day} AS day, i.reused, i.detection_id,
           CASE WHEN w.id IS NOT NULL THEN w.verdict
                WHEN v.id IS NOT NULL THEN v.verdict
                ELSE i.verdict END AS outcome,
           CASE WHEN i.reused OR i.detection_id IS NULL THEN 0
                WHEN d.id = first.id THEN 2 ELSE 1 END AS part
    FROM inspections i
    JOIN runs r ON r.id = i.run_id
    JOIN run_progress p ON p.run_id = i.run_id AND i.id <= p.counted_through
    LEFT JOIN newest n ON n.inspection_id = i.id
    LEFT JOIN reviews w ON w.id = n.id
    LEFT JOIN verdicts v ON v.inspection_id = i.id AND v.decision_id = r.later_decision_id
    LEFT JOIN detections d ON d.id = i.detection_id
    LEFT JOIN (SELECT image_id, model_id, min(id) AS id FROM detections
               GROUP BY image_id, model_id) first
        ON first.image_id = d.image_id AND first.model_id = d.model_id
), counted AS (
    SELECT run_id, day,
           sum(CASE outcome WHEN 'accept' THEN 1 ELSE 0 END) AS accepted,
           sum(CASE outcome WHEN 'reject' THEN 1 ELSE 0 END) AS rejected,
           sum(CASE outcome WHEN 'review' THEN 1 ELSE 0 END) AS review,
           sum(CASE WHEN outcome IS NULL THEN 1 ELSE 0 END) AS errors,
           sum(CASE WHEN reused THEN 1 ELSE 0 END) AS reused,
           sum(CASE WHEN part > 0 THEN 1 ELSE 0 END) AS asked,
           sum(CASE WHEN outcome = 'accept' AND part = 2 THEN 1 ELSE 0 END) AS least_accepted,
           sum(CASE WHEN outcome = 'reject' AND part = 2 THEN 1 ELSE 0 END) AS least_rejected,
           sum(CASE WHEN outcome = 'review' AND part = 2 THEN 1 ELSE 0 END) AS least_review,
           sum(CASE WHEN outcome = 'accept' AND part > 0 THEN 1 ELSE 0 END) AS most_accepted,
           sum(CASE WHEN outcome = 'reject' AND part > 0 THEN 1 ELSE 0 END) AS most_rejected,
           sum(CASE WHEN outcome = 'review' AND part > 0 THEN 1 ELSE 0 END) AS most_review
    FROM lines
    GROUP BY run_id, day
)
SELECT run_id, day FROM counted c WHERE NOT EXISTS (
    SELECT 1 FROM tallies t
    WHERE t.run_id = c.run_id AND t.day = c.day
      AND t.accepted = c.accepted AND t.rejected = c.rejected AND t.review = c.review
      AND t.errors = c.errors AND t.reused = c.reused AND t.asked = c.asked
      AND t.parts_accepted BETWEEN c.least_accepted AND c.most_accepted
      AND t.parts_rejected BETWEEN c.least_rejected AND c.most_rejected
      AND t.parts_review BETWEEN c.least_review AND c.most_review)
UNION
SELECT run_id, day FROM tallies t WHERE NOT EXISTS (
    SELECT 1 FROM counted c WHERE c.run_id = t.run_id AND c.day = t.day)
ORDER BY 1, 2 LIMIT 10
"""
_ANSWERS = """
WITH newest AS (
    SELECT inspection_id, max(id) AS id FROM reviews GROUP BY inspection_id
), counted AS (
    SELECT run_id, is_anomalous, step, verdict, count(*) AS images
    FROM (
        SELECT i.run_id, d.is_anomalous, {step} AS step,
               coalesce(w.verdict, v.verdict, i.verdict) AS verdict
        FROM inspections i
        JOIN runs r ON r.id = i.run_id
        JOIN run_progress p ON p.run_id = i.run_id AND i.id <= p.counted_through
        JOIN detections d ON d.id = i.detection_id
        LEFT JOIN newest n ON n.inspection_id = i.id
        LEFT JOIN reviews w ON w.id = n.id
        LEFT JOIN verdicts v ON v.inspection_id = i.id AND v.decision_id = r.later_decision_id
    ) answers
    WHERE verdict IS NOT NULL
    GROUP BY run_id, is_anomalous, step, verdict
)
SELECT run_id FROM counted c WHERE NOT EXISTS (
    SELECT 1 FROM answer_tallies t
    WHERE t.run_id = c.run_id AND t.is_anomalous = c.is_anomalous AND t.step = c.step
      AND t.verdict = c.verdict AND t.images = c.images)
UNION
SELECT run_id FROM answer_tallies t WHERE NOT EXISTS (
    SELECT 1 FROM counted c
    WHERE c.run_id = t.run_id AND c.is_anomalous = t.is_anomalous AND c.step = t.step
      AND c.verdict = t.verdict)
ORDER BY 1 LIMIT 10
"""
_ANOMALIES = """
WITH counted AS (
    SELECT i.run_id, a.name, min(a.color) AS color, count(DISTINCT i.id) AS images
    FROM anomalies a
    JOIN inspections i ON i.detection_id = a.detection_id
    JOIN run_progress p ON p.run_id = i.run_id AND i.id <= p.counted_through
    WHERE {named}
    GROUP BY i.run_id, a.name
)
SELECT run_id FROM counted c WHERE NOT EXISTS (
    SELECT 1 FROM anomaly_tallies t
    WHERE t.run_id = c.run_id AND t.name = c.name AND t.images = c.images
      AND coalesce(t.color, '') = coalesce(c.color, ''))
UNION
SELECT run_id FROM anomaly_tallies t WHERE NOT EXISTS (
    SELECT 1 FROM counted c WHERE c.run_id = t.run_id AND c.name = t.name)
ORDER BY 1 LIMIT 10
"""
_UNCOUNTED = """
SELECT r.id, r.run_id FROM runs r
LEFT JOIN run_progress p ON p.run_id = r.id
WHERE r.status <> 'running' AND EXISTS (
    SELECT 1 FROM inspections i WHERE i.run_id = r.id AND i.id > coalesce(p.counted_through, 0))
ORDER BY r.id LIMIT 10
"""


def check_tallies(conn: Connection, findings: Findings) -> None:
    """Recount the inspections, and compare with the tallies."""
    day = dialect_of(conn).day("i.inspected_at")
    for run, on in conn.exec_driver_sql(_TALLIES.format(day=day)):
        findings.add(
            "tally",
            f"tallies: the counts of run number {run} on {on} do not match its inspections",
            table="tallies",
            row_id=run,
        )
    answers = _ANSWERS.format(step=dialect_of(conn).hundredths("d.confidence"))
    anomalies = _ANOMALIES.format(named=is_anomaly_type("a.name"))
    for table, statement in (("answer_tallies", answers), ("anomaly_tallies", anomalies)):
        for (run,) in conn.exec_driver_sql(statement):
            findings.add(
                "tally",
                f"{table}: the counts of run number {run} do not match its inspections",
                table=table,
                row_id=run,
            )
    for run, run_id in conn.exec_driver_sql(_UNCOUNTED):
        findings.add(
            "tally",
            f"tallies: the run {run_id} is over, and not all of its inspections are counted",
            table="tallies",
            row_id=run,
        )
