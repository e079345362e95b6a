"""The views on hostings, costs and runs.

A stay is a run's time on a hosting, from its first lease to the end of its last. Stays may overlap.
Working time is the time covered by stays, each from its first answer to its last; the rest of the
paid time is idle.
"""

from __future__ import annotations

RUN_STAYS = """
CREATE VIEW run_stays AS
SELECT
    s.hosting_id,
    s.run_key,
    s.leased_from,
    s.leased_to,
    coalesce(u.images, 0) AS images,
    u.first_answer_at,
    u.last_answer_at
FROM (
    SELECT hosting_id, run_id AS run_key, min(acquired_at) AS leased_from,
           max(coalesce(ended_at, {now})) AS leased_to
    FROM leases
    GROUP BY hosting_id, run_id
) s
LEFT JOIN hosting_usage u ON u.run_id = s.run_key AND u.hosting_id = s.hosting_id
"""

HOSTING_COSTS = """
CREATE VIEW hosting_costs AS
WITH covered AS (
    SELECT hosting_id, first_answer_at, last_answer_at,
           max(last_answer_at) OVER (
               PARTITION BY hosting_id ORDER BY first_answer_at, run_key
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS covered_to
    FROM run_stays
    WHERE images > 0
), working AS (
    SELECT hosting_id,
           sum(CASE
               WHEN covered_to IS NULL OR first_answer_at >= covered_to
                   THEN {seconds first_answer_at last_answer_at}
               WHEN last_answer_at > covered_to
                   THEN {seconds covered_to last_answer_at}
               ELSE 0
           END) AS seconds
    FROM covered
    GROUP BY hosting_id
), used AS (
    SELECT hosting_id, count(*) AS runs, sum(images) AS images
    FROM run_stays
    GROUP BY hosting_id
), billed AS (
    SELECT h.id,
           CASE WHEN NOT h.owned THEN 0.0
                ELSE coalesce({greatest}(0.0, {seconds h.hosted_at h.paid_to}), 0.0)
           END AS paid_seconds
    FROM (
        SELECT id, owned, hosted_at, coalesce(stopped_at, {now}) AS paid_to FROM hostings
    ) h
)
SELECT
    h.id AS hosting_id,
    h.model_id,
    m.project_name,
    m.model_version,
    m.host,
    h.status,
    h.owned,
    h.requested_by,
    h.requested_at,
    h.hosted_at,
    h.stop_requested_at,
    h.stopped_at,
    h.min_units AS inference_units,
    h.price_per_unit_hour,
    coalesce(u.runs, 0) AS runs,
    {integer}(coalesce(u.images, 0)) AS images,
    b.paid_seconds,
    {least}(b.paid_seconds, coalesce(w.seconds, 0.0)) AS working_seconds,
    b.paid_seconds - {least}(b.paid_seconds, coalesce(w.seconds, 0.0)) AS idle_seconds,
    b.paid_seconds / 3600.0 * h.min_units * h.price_per_unit_hour AS cost,
    b.paid_seconds / 3600.0 * h.min_units * h.price_per_unit_hour * 1000.0
        / nullif(u.images, 0) AS cost_per_thousand_images
FROM hostings h
JOIN models m ON m.id = h.model_id
JOIN billed b ON b.id = h.id
LEFT JOIN used u ON u.hosting_id = h.id
LEFT JOIN working w ON w.hosting_id = h.id
"""

RUN_COSTS = """
CREATE VIEW run_costs AS
WITH shares AS (
    SELECT s.hosting_id, s.run_key, s.images,
           CASE
               WHEN sum(s.images) OVER hosting > 0
                   THEN s.images * 1.0{float} / sum(s.images) OVER hosting
               WHEN sum(s.seconds) OVER hosting > 0
                   THEN s.seconds / sum(s.seconds) OVER hosting
               ELSE 1.0{float} / count(*) OVER hosting
           END AS share
    FROM (
        SELECT hosting_id, run_key, images, {seconds leased_from leased_to} AS seconds
        FROM run_stays
    ) s
    WINDOW hosting AS (PARTITION BY s.hosting_id)
)
SELECT
    r.run_id,
    s.hosting_id,
    s.images,
    s.share,
    c.paid_seconds * s.share AS paid_seconds,
    c.idle_seconds * s.share AS idle_seconds,
    c.cost * s.share AS cost
FROM shares s
JOIN runs r ON r.id = s.run_key
JOIN hosting_costs c ON c.hosting_id = s.hosting_id
"""

RUN_SUMMARY = """
CREATE VIEW run_summary AS
WITH counted AS (
    SELECT run_id,
           {integer}(sum(accepted)) AS accepted, {integer}(sum(rejected)) AS rejected,
           {integer}(sum(review)) AS review, {integer}(sum(errors)) AS errors,
           {integer}(sum(reused)) AS reused, {integer}(sum(asked)) AS asked
    FROM tallies
    GROUP BY run_id
), waiting AS (
    SELECT run_id, count(*) AS pending FROM pending_items GROUP BY run_id
), paid AS (
    SELECT run_id, sum(paid_seconds) AS paid_seconds, sum(idle_seconds) AS idle_seconds,
           sum(cost) AS cost
    FROM run_costs
    GROUP BY run_id
)
SELECT
    r.run_id,
    r.flow_run_id,
    r.status,
    r.message,
    coalesce(m.project_name, r.project_name) AS project_name,
    coalesce(m.model_version, r.model_version) AS model_version,
    r.host,
    r.source,
    r.triggered_by,
    r.started_at,
    r.finished_at,
    r.manifest_sha256,
    r.manifest_lines,
    p.sha256 AS policy_sha256,
    r.code_version,
    coalesce(c.accepted + c.rejected + c.review + c.errors, 0) AS inspected,
    coalesce(c.accepted, 0) AS accepted,
    coalesce(c.rejected, 0) AS rejected,
    coalesce(c.review, 0) AS review,
    coalesce(c.errors, 0) AS errors,
    coalesce(c.reused, 0) AS reused,
    coalesce(c.asked, 0) AS asked,
    coalesce(w.pending, 0) AS pending,
    coalesce(x.paid_seconds, 0.0) AS paid_seconds,
    coalesce(x.idle_seconds, 0.0) AS idle_seconds,
    coalesce(x.cost, 0.0) AS cost,
    coalesce(x.cost, 0.0) * 1000.0
        / nullif(c.accepted + c.rejected + c.review + c.errors, 0) AS cost_per_thousand_images,
    r.current_decision AS decision,
    r.skipped
FROM runs r
JOIN decisions dc ON dc.run_id = r.id AND dc.number = r.current_decision
JOIN policies p ON p.id = dc.policy_id
LEFT JOIN models m ON m.id = r.model_id
LEFT JOIN counted c ON c.run_id = r.id
LEFT JOIN waiting w ON w.run_id = r.id
LEFT JOIN paid x ON x.run_id = r.run_id
"""

VIEWS = (
    ("run_stays", RUN_STAYS),
    ("hosting_costs", HOSTING_COSTS),
    ("run_costs", RUN_COSTS),
    ("run_summary", RUN_SUMMARY),
)
