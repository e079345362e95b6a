"""Which columns of each table a digest covers, and in what order. Existing layouts never change.

A migration that adds a column adds a layout with a new number; rows digested earlier keep theirs. A
test fails if the newest layout of a table does not cover all of its columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lfv_store.dialects import Dialect
from lfv_store.tables import Base

#: Ids of the bulk tables are change * CHANGE_SPAN + position; the most rows of a change.
CHANGE_SPAN = 1_000_000


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table that a digest covers, in digest order.

    `key` is the column that assigns a bulk row to its change; None for row-wise tables. `gone`
    gives values, in SQL, for columns that a later migration dropped.
    """

    table: str
    number: int
    columns: tuple[str, ...]
    order: tuple[str, ...]
    key: str | None
    gone: Mapping[str, str]


def _layout(
    table: str,
    columns: str,
    *,
    number: int = 1,
    order: str = "id",
    key: str | None = None,
    gone: Mapping[str, str] | None = None,
) -> Layout:
    return Layout(table, number, tuple(columns.split()), tuple(order.split()), key, gone or {})


_ROWWISE = (
    _layout(
        "models",
        "id host model_arn project_name model_version created_at facts registered_at",
    ),
    _layout(
        "trainings",
        "id model_id source test_source manifest_sha256 test_manifest_sha256 images figures remarks"
        " trained_by trained_at code_version",
    ),
    _layout(
        "approvals",
        "id host project_name model_id decided_by decided_at reason comparison",
    ),
    _layout(
        "approvals",
        "id host project_name model_id decided_by decided_at reason comparison signature",
        number=2,
    ),
    _layout("policies", "id sha256 content stored_at"),
    _layout("decisions", "id run_id number policy_id decided_by decided_at"),
    _layout("decisions", "id run_id number policy_id decided_by decided_at reason", number=2),
    _layout(
        "decisions", "id run_id number policy_id decided_by decided_at reason signature", number=3
    ),
    _layout("reviews", "id inspection_id verdict reviewer comment reviewed_at"),
    _layout(
        "reviews",
        "id inspection_id verdict reviewer comment reviewed_at kind reason shown signature token",
        number=2,
    ),
    _layout("users", "id name role password_hash active created_at changed_at"),
    _layout("users", "id name role password_hash active created_at changed_at subject", number=2),
    _layout(
        "runs",
        "id run_id model_id project_name model_version host source manifest_sha256"
        " manifest_lines policy_id current_decision later_decision_id triggered_by flow_run_id"
        " code_version parameters status message started_at finished_at",
    ),
    _layout(
        "runs",
        "id run_id model_id project_name model_version host source manifest_sha256"
        " manifest_lines policy_id current_decision later_decision_id triggered_by flow_run_id"
        " code_version parameters skipped status message started_at finished_at",
        number=2,
    ),
    _layout(
        "hostings",
        "id model_id status owned client_token host_spec min_units max_units"
        " price_per_unit_hour billed_from billed_to requested_by requested_at hosted_at"
        " stop_requested_at stopped_at message stop_attempts stop_error claimed_by"
        " claimed_until",
        # Release 0.1.0 wrote no other values.
        gone={"billed_from": "'hosted'", "billed_to": "'stopped'"},
    ),
    _layout(
        "hostings",
        "id model_id status owned client_token host_spec min_units max_units"
        " price_per_unit_hour requested_by requested_at hosted_at stop_requested_at stopped_at"
        " message stop_attempts stop_error claimed_by claimed_until",
        number=2,
    ),
    _layout("hosting_usage", "id hosting_id run_id images first_answer_at last_answer_at"),
    _layout("leases", "id hosting_id run_id acquired_at ended_at end_reason"),
)
#: Every layout of the small tables, by table and number.
ROWWISE_LAYOUTS = {(layout.table, layout.number): layout for layout in _ROWWISE}

#: Small tables: every entry lists each row it wrote, with the digest of the row as it then was.
ROWWISE: dict[str, Layout] = {layout.table: layout for layout in _ROWWISE}

#: Large tables: an entry holds one digest over all rows of its change, in the order of `order`.
BULK: dict[str, Layout] = {
    layout.table: layout
    for layout in (
        _layout("images", "id sha256 format width height size_bytes", key="id"),
        _layout(
            "detections",
            "id model_id image_id run_id is_anomalous confidence response mask_sha256 request_id"
            " latency_ms detected_at",
            key="id",
        ),
        _layout(
            "anomalies",
            "detection_id position name total_percentage_area color",
            order="detection_id position",
            key="detection_id",
        ),
        _layout(
            "inspections",
            "id run_id line_number source_ref image_id detection_id reused verdict reasons"
            " error_code error_message attempts attributes expected_is_anomalous"
            " expected_mask_ref inspected_at",
            key="id",
        ),
        _layout(
            "inspection_attributes",
            "inspection_id name value",
            order="inspection_id name",
            key="inspection_id",
        ),
        _layout("verdicts", "id decision_id inspection_id verdict reasons", key="id"),
    )
}

#: The newest layout of each audited table.
LAYOUTS: dict[str, Layout] = {**ROWWISE, **BULK}


def digested(layout: Layout, dialect: Dialect) -> list[str]:
    """Return the checker's SQL for a layout's columns, in the form that digests cover."""
    columns = Base.metadata.tables[layout.table].c
    return [
        layout.gone[name] if name in layout.gone else dialect.canonical(columns[name])
        for name in layout.columns
    ]
