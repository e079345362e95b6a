"""Costs and throughput, read from the views hosting_costs and run_costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from statistics import median
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from lfv_store.records.hostings import HostingCost, Throughput
from lfv_store.repository import Repository
from lfv_store.runs import require_run
from lfv_store.tables import HostingTable, ModelTable
from lfv_store.views import HOSTING_COSTS, RUN_COSTS

#: Past hostings used for estimates: enough to even out, few enough to follow a change.
_RECENT = 20


@dataclass(frozen=True, slots=True)
class HostingSum:
    """What a hosting cost, in US dollars, and how long it was paid for and idle, in seconds."""

    project_name: str
    requested_at: datetime
    cost: float | None
    paid_seconds: float
    idle_seconds: float


class Costs(Repository):
    """`store.costs`."""

    def since(self, at: datetime) -> Sequence[HostingSum]:
        """Return what each hosting that was requested since `at` cost so far."""
        columns = HOSTING_COSTS.c
        wanted = sa.select(*(columns[field.name] for field in fields(HostingSum)))
        with self._database.read() as conn:
            rows = conn.execute(wanted.where(columns.requested_at >= at)).mappings()
            return [HostingSum(**row) for row in rows]

    def run(self, run_id: str) -> HostingCost:
        """Return a run's share of the cost of its hostings so far. Raises UnknownRun."""
        amounts = (RUN_COSTS.c[field.name] for field in fields(HostingCost))
        shares = sa.select(*amounts).where(RUN_COSTS.c.run_id == run_id)
        with self._database.read() as conn:
            require_run(conn, run_id)
            found = [HostingCost(**row) for row in conn.execute(shares).mappings()]
        return HostingCost(
            paid_seconds=sum((share.paid_seconds for share in found), 0.0),
            idle_seconds=sum((share.idle_seconds for share in found), 0.0),
            cost=sum((share.cost for share in found), 0.0),
            images=sum(share.images for share in found),
        )

    def of_runs(self, run_ids: Sequence[str]) -> dict[str, float]:
        """Return the cost so far, in US dollars, of those of the runs that used a hosting."""
        statement = (
            sa.select(RUN_COSTS.c.run_id, sa.func.sum(RUN_COSTS.c.cost))
            .where(RUN_COSTS.c.run_id.in_(run_ids))
            .group_by(RUN_COSTS.c.run_id)
        )
        with self._database.read() as conn:
            return {row[0]: float(row[1] or 0.0) for row in conn.execute(statement)}

    def newest(self, limit: int) -> Sequence[dict[str, Any]]:
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

    def throughput(self, model_id: int) -> Throughput:
        """Return what the model answered in its last hostings.

        A model without history takes that of other versions of its project on the same kind of
        host.
        """
        sibling = aliased(ModelTable)
        same_project = (
            sa.select(sibling.id)
            .join(
                ModelTable,
                sa.and_(
                    sibling.project_name == ModelTable.project_name,
                    sibling.host == ModelTable.host,
                ),
            )
            .where(ModelTable.id == model_id)
        )
        costs = HOSTING_COSTS.c
        with self._database.read() as conn:
            for condition in (costs.model_id == model_id, costs.model_id.in_(same_project)):
                recent = conn.execute(
                    sa.select(costs.images, costs.paid_seconds, costs.inference_units)
                    .where(condition, costs.images > 0, costs.paid_seconds > 0)
                    .order_by(costs.hosting_id.desc())
                    .limit(_RECENT)
                ).all()
                if recent:
                    break
        return Throughput(
            images=sum(row.images for row in recent),
            unit_seconds=sum((row.paid_seconds * row.inference_units for row in recent), 0.0),
        )

    def starting_seconds(self, model_id: int) -> float | None:
        """Return the median start time of the model's last hostings in seconds, or None."""
        columns = HostingTable.__table__.c
        with self._database.read() as conn:
            rows = conn.execute(
                sa.select(columns.requested_at, columns.hosted_at)
                .where(columns.model_id == model_id, columns.owned, columns.hosted_at.is_not(None))
                .order_by(columns.id.desc())
                .limit(_RECENT)
            ).all()
        if not rows:
            return None
        seconds = [(row.hosted_at - row.requested_at).total_seconds() for row in rows]
        return float(median(seconds))
