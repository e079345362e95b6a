"""Reads for pages: a run's inspections screen by screen, parts across runs, chart figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.answer_tallies import STEPS
from lfv_store.background import is_anomaly_type
from lfv_store.dialects import Dialect, dialect_of
from lfv_store.part import Part
from lfv_store.results import rows_of_lines
from lfv_store.runs import require_run
from lfv_store.tables import (
    AnomalyTable,
    DetectionTable,
    HostingTable,
    ImageTable,
    InspectionAttributeTable,
    InspectionTable,
    ModelTable,
    ReviewTable,
    RunTable,
    VerdictTable,
)
from lfv_store.tallies import current_anomalies, current_answers
from lfv_store.views import HOSTING_COSTS, INSPECTION_RESULTS, RUN_COSTS

Outcome = Literal["accept", "reject", "review", "error"]
_COLUMNS = INSPECTION_RESULTS.c
#: A search for a part of a file name or attribute covers this many of the newest inspections.
SEARCHED = 200_000
#: Maximum number of values with a given start that are read for the newest.
_BEGINNINGS = 2_000
#: A shorter text is only searched for as an inspection's id, and in the newest inspections.
_SHORTEST_BEGINNING = 3
_GOOD = 20
#: Up to this many detections with an anomaly are listed instead of looked up line by line.
_FEW_ANOMALIES = 2_000
HEAT_MAP = '"AnomalyMap"'


@dataclass(frozen=True, slots=True)
class AnswerCount:
    """The number of a run's answers with one confidence step and current verdict."""

    is_anomalous: bool
    confidence: float
    verdict: str
    images: int


@dataclass(frozen=True, slots=True)
class Annotations:
    """What drawing a detection needs: the image's size, and (name, area, colour) of anomalies."""

    width: int
    height: int
    has_mask: bool
    has_heat_map: bool
    anomalies: tuple[tuple[str, float, str | None], ...]


class Pages(Part):
    """`store.pages`."""

    def gallery(
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
                    sa.cast(DetectionTable.response, sa.Text).contains(HEAT_MAP),
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

    def answers(self, run_id: str) -> Sequence[AnswerCount]:
        """Count a run's answers by confidence, rounded down to hundredths. Raises UnknownRun."""
        with self._database.read() as conn:
            counts = current_answers(conn, require_run(conn, run_id))
        return [
            AnswerCount(is_anomalous, step / STEPS, verdict, images)
            for (is_anomalous, step, verdict), images in counts.items()
        ]

    def anomaly_types(self, run_id: str) -> Sequence[tuple[str, int, str | None]]:
        """Return a run's anomaly types as (name, images, colour). Raises UnknownRun."""
        with self._database.read() as conn:
            found = current_anomalies(conn, require_run(conn, run_id))
        return [(name, *facts) for name, facts in sorted(found.items())]

    def find(self, text: str, *, limit: int = 100) -> Sequence[dict[str, Any]]:
        """Find the inspections of a part in all runs, the newest first.

        `text` is an attribute's value (a serial number) or at least its first three characters, at
        least eight digits of an image's SHA-256, or an inspection's id. If nothing is found this
        way, `text` is searched in attributes and image names of the newest inspections (SEARCHED of
        them). Case does not matter.
        """
        text = text.strip()
        if not text:
            return []
        with self._database.read() as conn:
            names = _attribute_names(conn)
            found = set(conn.scalars(_by_attribute(names, text, limit)))
            if re.fullmatch(r"[0-9a-fA-F]{8,64}", text):
                found |= set(conn.scalars(_by_digest(text.lower(), limit)))
            if not found and len(text) >= _SHORTEST_BEGINNING:
                found = set(conn.scalars(_by_beginning(names, text, limit)))
            if text.isdecimal() and len(text) < 19 and not text.startswith("0"):
                found |= set(
                    conn.scalars(
                        sa.select(InspectionTable.id).where(InspectionTable.id == int(text))
                    )
                )
            if not found:
                dialect = dialect_of(conn)
                found = set(conn.scalars(_by_name(text, limit, dialect)))
                found |= set(conn.scalars(_within_attribute(text, limit, dialect)))
            rows = conn.execute(
                sa.select(INSPECTION_RESULTS)
                .where(_COLUMNS.inspection_id.in_(sorted(found)))
                .order_by(_COLUMNS.inspection_id.desc())
                .limit(limit)
            )
            return [dict(row) for row in rows.mappings()]

    def of_image(self, sha256: str) -> Sequence[dict[str, Any]]:
        """Return the newest 50 inspections of an image, the newest first."""
        with self._database.read() as conn:
            found = list(conn.scalars(_by_digest(sha256, 50)))
            rows = conn.execute(
                sa.select(INSPECTION_RESULTS)
                .where(_COLUMNS.inspection_id.in_(found))
                .order_by(_COLUMNS.inspection_id.desc())
            )
            return [dict(row) for row in rows.mappings()]

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

    def run_costs(self, run_ids: Sequence[str]) -> dict[str, float]:
        """Return the cost so far, in US dollars, of those of the runs that used a hosting."""
        statement = (
            sa.select(RUN_COSTS.c.run_id, sa.func.sum(RUN_COSTS.c.cost))
            .where(RUN_COSTS.c.run_id.in_(run_ids))
            .group_by(RUN_COSTS.c.run_id)
        )
        with self._database.read() as conn:
            return {row[0]: float(row[1] or 0.0) for row in conn.execute(statement)}

    def hosting_costs(self, limit: int) -> Sequence[dict[str, Any]]:
        """Return the newest hostings with their cost so far."""
        columns = HOSTING_COSTS.c
        statement = (
            sa.select(
                *(columns[name] for name in ("hosting_id", "images", "paid_seconds")),
                *(columns[name] for name in ("idle_seconds", "cost", "inference_units")),
                ModelTable.project_name,
                ModelTable.model_version,
                ModelTable.host,
                HostingTable.status,
                HostingTable.owned,
                HostingTable.requested_by,
                HostingTable.requested_at,
                HostingTable.hosted_at,
                HostingTable.stopped_at,
                HostingTable.stop_error,
                HostingTable.price_per_unit_hour,
            )
            .join(HostingTable, HostingTable.id == columns.hosting_id)
            .join(ModelTable, ModelTable.id == HostingTable.model_id)
            .order_by(columns.hosting_id.desc())
            .limit(limit)
        )
        with self._database.read() as conn:
            return [dict(row) for row in conn.execute(statement).mappings()]


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


def _in_other_cases(text: str) -> list[str]:
    """Return a text as typed, in upper and in lower case: what an index can look up."""
    return list(dict.fromkeys((text, text.upper(), text.lower())))


def _by_attribute(names: Sequence[str], value: str, limit: int) -> sa.Select[Any]:
    table = InspectionAttributeTable
    return (
        sa.select(table.inspection_id)
        .where(table.name.in_(names), table.value.in_(_in_other_cases(value)))
        .order_by(table.inspection_id.desc())
        .limit(limit)
    )


def _by_beginning(names: Sequence[str], text: str, limit: int) -> sa.Select[Any]:
    """Select by the beginning of an attribute's value; values are compared bytewise."""
    table = InspectionAttributeTable
    # One select for each spelling, because an index is used for only one of several ranges.
    some = sa.union(
        *(
            sa.select(
                sa.select(table.inspection_id)
                .where(table.name.in_(names), table.value >= one, table.value < f"{one}\U0010ffff")
                .limit(_BEGINNINGS)
                .subquery()
            )
            for one in _in_other_cases(text)
        )
    ).subquery()
    return sa.select(some.c.inspection_id).order_by(some.c.inspection_id.desc()).limit(limit)


def _contains(
    column: sa.SQLColumnExpression[str], text: str, dialect: Dialect
) -> sa.ColumnElement[bool]:
    """Whether a text is in a column, whatever the case of its letters."""
    # SQLite's LIKE ignores the case of ASCII letters by itself, in half the time.
    if dialect.name == "sqlite":
        return column.contains(text, autoescape=True)
    return column.icontains(text, autoescape=True)


def _within_attribute(text: str, limit: int, dialect: Dialect) -> sa.Select[Any]:
    table = InspectionAttributeTable
    # Ids have gaps, so the oldest inspection to search is found by its position.
    oldest = (
        sa.select(InspectionTable.id)
        .order_by(InspectionTable.id.desc())
        .offset(SEARCHED - 1)
        .limit(1)
        .scalar_subquery()
    )
    return (
        sa.select(table.inspection_id)
        .distinct()
        .where(
            table.inspection_id >= sa.func.coalesce(oldest, 0),
            _contains(table.value, text, dialect),
        )
        .order_by(table.inspection_id.desc())
        .limit(limit)
    )


def _attribute_names(conn: Connection) -> list[str]:
    """Return all names of attributes, with one index step for each."""
    table = InspectionAttributeTable
    names: list[str] = []
    last = conn.scalar(sa.select(sa.func.min(table.name)))
    while last is not None and len(names) < 1000:
        names.append(last)
        last = conn.scalar(sa.select(sa.func.min(table.name)).where(table.name > last))
    return names


def _by_digest(prefix: str, limit: int) -> sa.Select[Any]:
    return (
        sa.select(InspectionTable.id)
        .join(ImageTable, ImageTable.id == InspectionTable.image_id)
        .where(ImageTable.sha256 >= prefix, ImageTable.sha256 < prefix + "g")
        .order_by(InspectionTable.id.desc())
        .limit(limit)
    )


def _by_name(text: str, limit: int, dialect: Dialect) -> sa.Select[Any]:
    newest = (
        sa.select(InspectionTable.id, InspectionTable.source_ref)
        .order_by(InspectionTable.id.desc())
        .limit(SEARCHED)
        .subquery()
    )
    return (
        sa.select(newest.c.id)
        .where(_contains(newest.c.source_ref, text, dialect))
        .order_by(newest.c.id.desc())
        .limit(limit)
    )
