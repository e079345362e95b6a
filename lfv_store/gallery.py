"""A run's inspections for the pages, some at a time, and good parts to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.repository import Repository
from lfv_store.results import rows_of_lines
from lfv_store.runs import require_run
from lfv_store.tables import (
    AnomalyTable,
    DetectionTable,
    InspectionTable,
    ReviewTable,
    RunTable,
    VerdictTable,
)
from lfv_store.views import INSPECTION_RESULTS

Outcome = Literal["accept", "reject", "review", "error"]
_COLUMNS = INSPECTION_RESULTS.c
_GOOD = 20
#: Up to this many detections with an anomaly are listed instead of looked up line by line.
_FEW_ANOMALIES = 2_000


class Gallery(Repository):
    """`store.gallery`."""

    def page(
        self,
        run_id: str,
        *,
        outcome: Outcome | None = None,
        anomaly: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Sequence[dict[str, Any]]:
        """Return a run's next rows of inspection_results, by line number.

        `outcome` is the current verdict or `error`; `anomaly` is the name of an anomaly type.
        Raises UnknownRun.
        """
        found: list[dict[str, Any]] = []
        with self._database.read() as conn:
            run = require_run(conn, run_id)
            while len(found) < limit:
                lines = list(conn.scalars(_lines(conn, run, outcome, anomaly, after, limit)))
                if not lines:
                    break
                after = lines[-1]
                rows = rows_of_lines(conn, run_id, lines)
                found += [row for row in rows if _has_outcome(row, outcome)]
        return found[:limit]

    def good_parts(self, model_id: int) -> Sequence[int]:
        """Return accepted inspections that the model called normal, for comparison.

        Those accepted by a person come first, then the surest of the newest runs. A label that
        says anomaly excludes a part that nobody reviewed.
        """
        runs = (
            sa.select(RunTable.id).where(RunTable.model_id == model_id).order_by(RunTable.id.desc())
        )
        reviewed = (
            sa.select(ReviewTable.inspection_id)
            .join(InspectionTable, InspectionTable.id == ReviewTable.inspection_id)
            # `+ 0` makes the plan start from the reviews, which are few, not from the runs' lines.
            .where(InspectionTable.run_id + 0 == RunTable.id, RunTable.model_id == model_id)
            .join(DetectionTable, DetectionTable.id == InspectionTable.detection_id)
            .where(ReviewTable.verdict == "accept", DetectionTable.is_anomalous.is_(False))
            .order_by(ReviewTable.id.desc())
            .limit(_GOOD)
        )
        with self._database.read() as conn:
            found = list(conn.scalars(reviewed))
            for run in conn.scalars(runs.limit(3)).all():
                sample = (
                    sa.select(InspectionTable.id, DetectionTable.confidence)
                    .join(DetectionTable, DetectionTable.id == InspectionTable.detection_id)
                    .where(
                        InspectionTable.run_id == run,
                        InspectionTable.verdict == "accept",
                        DetectionTable.is_anomalous.is_(False),
                    )
                    .limit(10 * _GOOD)
                    .subquery()
                )
                surest = sa.select(sample.c.id).order_by(sample.c.confidence.desc()).limit(_GOOD)
                found += conn.scalars(surest).all()
            accepted = set(
                conn.scalars(
                    sa.select(_COLUMNS.inspection_id).where(
                        _COLUMNS.inspection_id.in_(found[: 3 * _GOOD]),
                        _COLUMNS.final_verdict == "accept",
                        (_COLUMNS.reviewed_verdict == "accept")
                        | _COLUMNS.expected_is_anomalous.is_not(True),
                    )
                )
            )
        return [one for one in dict.fromkeys(found) if one in accepted][:_GOOD]


def _has_outcome(row: Mapping[str, Any], outcome: Outcome | None) -> bool:
    return outcome is None or (row["final_verdict"] or "error") == outcome


def _lines(
    conn: Connection,
    run: int,
    outcome: Outcome | None,
    anomaly: str | None,
    after: int,
    limit: int,
) -> sa.Select[Any]:
    """Select a run's next lines that may have `outcome`, each through an index."""
    line = InspectionTable.line_number
    # `+ 0` keeps a column's index out of the plan where another index leads to fewer rows.
    in_order = sa.select(line).where(InspectionTable.run_id == run, line > after)
    sorted_later = sa.select(line).where(InspectionTable.run_id + 0 == run, line + 0 > after)
    if outcome is None:
        branches = [in_order]
    elif outcome == "error":
        # Literal text, here and below, so that SQLite uses the partial index.
        errors = sa.select(line).where(InspectionTable.run_id == run, line + 0 > after)
        branches = [errors.where(sa.text("inspections.error_code IS NOT NULL"))]
    else:
        decision = conn.scalar(sa.select(RunTable.later_decision_id).where(RunTable.id == run))
        branches = [
            in_order.where(sa.text(f"inspections.verdict = '{outcome}'")),
            sorted_later.join(VerdictTable, VerdictTable.inspection_id == InspectionTable.id).where(
                VerdictTable.decision_id == (decision or 0), VerdictTable.verdict == outcome
            ),
            sorted_later.join(ReviewTable, ReviewTable.inspection_id == InspectionTable.id).where(
                ReviewTable.verdict == outcome
            ),
        ]
    if anomaly is not None:
        has_it = _has_anomaly(conn, anomaly)
        branches = [one.where(has_it) for one in branches]
    parts = [
        sa.select(branch.order_by(line + 0 if outcome == "error" else line).limit(limit).subquery())
        for branch in branches
    ]
    together = sa.union(*parts).subquery()
    return sa.select(together.c.line_number).order_by(together.c.line_number).limit(limit)


def _has_anomaly(conn: Connection, name: str) -> sa.ColumnElement[bool]:
    """Return the condition that an inspection has an anomaly of this name."""
    of_this_name = sa.select(AnomalyTable.detection_id).where(AnomalyTable.name == name)
    some = of_this_name.limit(_FEW_ANOMALIES + 1).subquery()
    if (conn.scalar(sa.select(sa.func.count()).select_from(some)) or 0) <= _FEW_ANOMALIES:
        return InspectionTable.detection_id.in_(of_this_name)
    # A count, because EXISTS would become a join that starts from all anomalies of this name.
    of_line = sa.select(sa.func.count()).where(
        AnomalyTable.detection_id == InspectionTable.detection_id, AnomalyTable.name + "" == name
    )
    return of_line.scalar_subquery() > 0
