"""The views on results, verdicts, reviews and trainings."""

from __future__ import annotations

INSPECTION_RESULTS = """
CREATE VIEW inspection_results AS
SELECT
    r.run_id,
    r.flow_run_id,
    i.source_ref,
    im.sha256 AS image_sha256,
    coalesce(m.project_name, r.project_name) AS project_name,
    coalesce(m.model_version, r.model_version) AS model_version,
    r.host,
    d.is_anomalous,
    d.confidence,
    coalesce(v.verdict, i.verdict) AS verdict,
    coalesce(v.reasons, i.reasons) AS reasons,
    i.error_code || coalesce(': ' || i.error_message, '') AS error,
    i.reused,
    d.detected_at,
    i.attributes,
    i.line_number,
    i.inspected_at,
    i.id AS inspection_id,
    i.error_code,
    i.attempts,
    i.expected_is_anomalous,
    i.detection_id,
    d.request_id,
    d.latency_ms,
    i.verdict AS first_verdict,
    rv.verdict AS reviewed_verdict,
    coalesce(rv.verdict, v.verdict, i.verdict) AS final_verdict,
    rv.reviewer,
    rv.comment AS review_comment,
    rv.reviewed_at,
    {join name} AS anomaly_names,
    {join total_percentage_area} AS anomaly_areas,
    r.model_id
FROM inspections i
JOIN runs r ON r.id = i.run_id
LEFT JOIN models m ON m.id = r.model_id
LEFT JOIN images im ON im.id = i.image_id
LEFT JOIN detections d ON d.id = i.detection_id
LEFT JOIN verdicts v ON v.inspection_id = i.id AND v.decision_id = r.later_decision_id
LEFT JOIN reviews rv
    ON rv.id = (SELECT max(last.id) FROM reviews last WHERE last.inspection_id = i.id)
"""

ANOMALY_RESULTS = """
CREATE VIEW anomaly_results AS
SELECT
    r.run_id,
    i.line_number,
    i.source_ref,
    im.sha256 AS image_sha256,
    coalesce(m.project_name, r.project_name) AS project_name,
    coalesce(m.model_version, r.model_version) AS model_version,
    a.name,
    a.total_percentage_area,
    a.color,
    d.is_anomalous,
    d.confidence,
    d.detected_at,
    i.id AS inspection_id,
    d.id AS detection_id
FROM anomalies a
JOIN detections d ON d.id = a.detection_id
JOIN inspections i ON i.detection_id = d.id
JOIN runs r ON r.id = i.run_id
JOIN images im ON im.id = d.image_id
LEFT JOIN models m ON m.id = r.model_id
WHERE {anomaly_type}
"""

VERDICT_HISTORY = """
CREATE VIEW verdict_history AS
SELECT
    i.id AS inspection_id,
    r.run_id,
    i.line_number,
    i.source_ref,
    dc.number AS decision,
    CASE WHEN dc.number = 1 THEN i.verdict ELSE v.verdict END AS verdict,
    CASE WHEN dc.number = 1 THEN i.reasons ELSE v.reasons END AS reasons,
    p.sha256 AS policy_sha256,
    dc.decided_by,
    CASE WHEN dc.number = 1 THEN i.inspected_at ELSE dc.decided_at END AS decided_at,
    r.current_decision = dc.number AS current
FROM inspections i
JOIN runs r ON r.id = i.run_id
JOIN decisions dc ON dc.run_id = i.run_id
JOIN policies p ON p.id = dc.policy_id
LEFT JOIN verdicts v ON v.inspection_id = i.id AND v.decision_id = dc.id
WHERE i.verdict IS NOT NULL AND (dc.number = 1 OR v.id IS NOT NULL)
"""

REVIEW_QUEUE = """
CREATE VIEW review_queue AS
SELECT
    r.run_id,
    i.line_number,
    i.source_ref,
    im.sha256 AS image_sha256,
    coalesce(m.project_name, r.project_name) AS project_name,
    coalesce(m.model_version, r.model_version) AS model_version,
    r.host,
    d.is_anomalous,
    d.confidence,
    q.reasons,
    i.attributes,
    i.inspected_at,
    q.inspection_id
FROM (
    SELECT i.id AS inspection_id, i.reasons
    FROM inspections i
    JOIN runs r ON r.id = i.run_id
    WHERE i.verdict = 'review'
      AND (r.later_decision_id IS NULL OR NOT EXISTS (
          SELECT 1 FROM verdicts v
          WHERE v.inspection_id = i.id AND v.decision_id = r.later_decision_id))
    UNION ALL
    SELECT v.inspection_id, v.reasons
    FROM runs r
    JOIN verdicts v ON v.decision_id = r.later_decision_id AND v.verdict = 'review'
    UNION ALL
    SELECT i.id AS inspection_id, coalesce(v.reasons, i.reasons)
    FROM reviews rv
    JOIN inspections i ON i.id = rv.inspection_id
    JOIN runs r ON r.id = i.run_id
    LEFT JOIN verdicts v ON v.inspection_id = i.id AND v.decision_id = r.later_decision_id
    WHERE rv.verdict = 'review' AND coalesce(v.verdict, i.verdict) <> 'review'
      AND NOT EXISTS (
          SELECT 1 FROM reviews later
          WHERE later.inspection_id = rv.inspection_id AND later.id > rv.id)
) q
JOIN inspections i ON i.id = q.inspection_id
JOIN runs r ON r.id = i.run_id
JOIN images im ON im.id = i.image_id
JOIN detections d ON d.id = i.detection_id
LEFT JOIN models m ON m.id = r.model_id
WHERE coalesce((
    SELECT rv.verdict FROM reviews rv WHERE rv.inspection_id = q.inspection_id
    ORDER BY rv.id DESC LIMIT 1), 'review') = 'review'
"""

DEFECT_RATE_DAILY = """
CREATE VIEW defect_rate_daily AS
SELECT
    t.day,
    coalesce(m.project_name, r.project_name) AS project_name,
    coalesce(m.model_version, r.model_version) AS model_version,
    r.host,
    {integer}(sum(t.parts_accepted + t.parts_rejected + t.parts_review)) AS inspected,
    {integer}(sum(t.parts_accepted)) AS accepted,
    {integer}(sum(t.parts_rejected)) AS rejected,
    {integer}(sum(t.parts_review)) AS review,
    {integer}(sum(t.errors)) AS errors,
    sum(t.parts_rejected) * 1.0{float}
        / nullif(sum(t.parts_accepted + t.parts_rejected + t.parts_review), 0) AS defect_rate,
    {integer}(sum(t.accepted + t.rejected + t.review + t.errors)) AS lines
FROM tallies t
JOIN runs r ON r.id = t.run_id
LEFT JOIN models m ON m.id = r.model_id
GROUP BY t.day, coalesce(m.project_name, r.project_name),
         coalesce(m.model_version, r.model_version), r.host
"""

MODEL_TRAININGS = """
CREATE VIEW model_trainings AS
SELECT
    t.id AS training_id,
    t.model_id,
    m.project_name,
    m.model_version,
    m.host,
    m.model_arn,
    t.source,
    t.test_source,
    t.manifest_sha256,
    t.test_manifest_sha256,
    t.images,
    t.figures,
    t.remarks,
    t.trained_by,
    t.trained_at,
    t.code_version
FROM trainings t
JOIN models m ON m.id = t.model_id
"""

MODEL_APPROVALS = """
CREATE VIEW model_approvals AS
SELECT
    a.id AS approval_id,
    a.project_name,
    a.host,
    a.model_id,
    m.model_version,
    a.decided_at AS approved_at,
    lead(a.decided_at) OVER (PARTITION BY a.host, a.project_name ORDER BY a.id) AS approved_until,
    a.decided_by,
    a.reason,
    a.comparison,
    a.signature
FROM approvals a
LEFT JOIN models m ON m.id = a.model_id
"""

VIEWS = (
    ("inspection_results", INSPECTION_RESULTS),
    ("anomaly_results", ANOMALY_RESULTS),
    ("verdict_history", VERDICT_HISTORY),
    ("review_queue", REVIEW_QUEUE),
    ("defect_rate_daily", DEFECT_RATE_DAILY),
    ("model_trainings", MODEL_TRAININGS),
    ("model_approvals", MODEL_APPROVALS),
)
