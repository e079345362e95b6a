"""The views: their SQL, and the columns that the store itself reads.

Columns are a public contract (docs/views.md): none is removed or renamed, and new ones are added at
the end. Migrations change tables; then schema.upgrade() creates the views from this package.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import sqlalchemy as sa

from lfv_store.anomaly_types import is_anomaly_type
from lfv_store.column_types import UTC_DATETIME
from lfv_store.dialects import Dialect
from lfv_store.views import costs, results

Kind = Literal["text", "integer", "number", "boolean", "time", "json"]

#: The columns of inspection_results with their types.
RESULT_COLUMNS: tuple[tuple[str, Kind], ...] = (
    ("run_id", "text"),
    ("flow_run_id", "text"),
    ("source_ref", "text"),
    ("image_sha256", "text"),
    ("project_name", "text"),
    ("model_version", "text"),
    ("host", "text"),
    ("is_anomalous", "boolean"),
    ("confidence", "number"),
    ("verdict", "text"),
    ("reasons", "json"),
    ("error", "text"),
    ("reused", "boolean"),
    ("detected_at", "time"),
    ("attributes", "json"),
    ("line_number", "integer"),
    ("inspected_at", "time"),
    ("inspection_id", "integer"),
    ("error_code", "text"),
    ("attempts", "integer"),
    ("expected_is_anomalous", "boolean"),
    ("detection_id", "integer"),
    ("request_id", "text"),
    ("latency_ms", "number"),
    ("first_verdict", "text"),
    ("reviewed_verdict", "text"),
    ("final_verdict", "text"),
    ("reviewer", "text"),
    ("review_comment", "text"),
    ("reviewed_at", "time"),
    ("anomaly_names", "text"),
    ("anomaly_areas", "text"),
    ("model_id", "integer"),
)

_TYPES: dict[Kind, sa.types.TypeEngine[Any]] = {
    "text": sa.Text(),
    "integer": sa.BigInteger(),
    "number": sa.Double(),
    "boolean": sa.Boolean(),
    "time": UTC_DATETIME,
    "json": sa.JSON(),
}


def _view(name: str, **columns: Kind) -> sa.TableClause:
    return sa.table(name, *(sa.column(column, _TYPES[kind]) for column, kind in columns.items()))


INSPECTION_RESULTS = _view("inspection_results", **dict(RESULT_COLUMNS))
VERDICT_HISTORY = _view(
    "verdict_history",
    inspection_id="integer",
    decision="integer",
    verdict="text",
    reasons="json",
    policy_sha256="text",
    decided_by="text",
    decided_at="time",
    current="boolean",
)
REVIEW_QUEUE = _view(
    "review_queue",
    inspection_id="integer",
    run_id="text",
    line_number="integer",
    source_ref="text",
    image_sha256="text",
    project_name="text",
    model_version="text",
    is_anomalous="boolean",
    confidence="number",
    reasons="json",
    attributes="json",
    inspected_at="time",
)
HOSTING_COSTS = _view(
    "hosting_costs",
    hosting_id="integer",
    model_id="integer",
    project_name="text",
    requested_at="time",
    inference_units="integer",
    images="integer",
    paid_seconds="number",
    idle_seconds="number",
    cost="number",
)
RUN_COSTS = _view(
    "run_costs",
    run_id="text",
    images="integer",
    paid_seconds="number",
    idle_seconds="number",
    cost="number",
)

_SECONDS = re.compile(r"\{seconds (\S+) (\S+)\}")
_JOIN = re.compile(r"\{join (\w+)\}")
_NAMED = f"anomalies WHERE detection_id = i.detection_id AND {is_anomaly_type('name')}"


def definitions(dialect: Dialect) -> list[tuple[str, str]]:
    """Return (name, CREATE VIEW) of all views, in a database's SQL."""

    def seconds(match: re.Match[str]) -> str:
        return dialect.view_words["seconds"].format(start=match[1], end=match[2])

    def join(match: re.Match[str]) -> str:
        words = dialect.view_words["join"]
        return words.format(value=match[1], rows=_NAMED, order="position")

    words = {**dialect.view_words, "anomaly_type": is_anomaly_type("a.name")}
    return [
        (name, _JOIN.sub(join, _SECONDS.sub(seconds, definition)).format(**words))
        for name, definition in (*results.VIEWS, *costs.VIEWS)
    ]
