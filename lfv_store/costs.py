"""Costs and pace: what the views hosting_costs and run_costs say, for programs."""

from __future__ import annotations

import sqlalchemy as sa

from lfv_store.database import Database
from lfv_store.errors import UnknownHosting
from lfv_store.records import HostingCost, Throughput
from lfv_store.runs import require_run

_RECENT = 20
"""How many past hostings tell the pace: enough to even out, few enough to follow a change."""

_PACE = """
SELECT coalesce(sum(images), 0), coalesce(sum(paid_seconds), 0.0), count(*),
       coalesce(sum(paid_seconds * inference_units), 0.0)
FROM (
    SELECT c.images, c.paid_seconds, c.inference_units
    FROM hosting_costs c
    WHERE c.{condition} AND c.images > 0 AND c.paid_seconds > 0
    ORDER BY c.hosting_id DESC LIMIT :recent
) recent
"""
_SAME_MODEL = _PACE.format(condition="model_id = :model_id")
_SAME_PROJECT = _PACE.format(
    condition="model_id IN (SELECT o.id FROM models o JOIN models m"
    " ON o.project_name = m.project_name AND o.host = m.host WHERE m.id = :model_id)"
)


class Costs:
    """`store.costs`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hosting(self, hosting_id: int) -> HostingCost:
        """What a hosting costs so far. Raises UnknownHosting."""
        with self._database.read() as conn:
            row = conn.execute(
                sa.text(
                    "SELECT paid_seconds, idle_seconds, cost, images FROM hosting_costs"
                    " WHERE hosting_id = :id"
                ),
                {"id": hosting_id},
            ).one_or_none()
        if row is None:
            raise UnknownHosting(f"no hosting has id {hosting_id}")
        return HostingCost(*row)

    def run(self, run_id: str) -> HostingCost:
        """A run's share of the hostings it used, so far. Raises UnknownRun."""
        with self._database.read() as conn:
            require_run(conn, run_id)
            row = conn.execute(
                sa.text(
                    "SELECT coalesce(sum(paid_seconds), 0.0), coalesce(sum(idle_seconds), 0.0),"
                    " coalesce(sum(cost), 0.0), coalesce(sum(images), 0)"
                    " FROM run_costs WHERE run_id = :id"
                ),
                {"id": run_id},
            ).one()
        return HostingCost(float(row[0]), float(row[1]), float(row[2]), int(row[3]))

    def throughput(self, model_id: int) -> Throughput:
        """How many images a hosted second of this model was good for, in its last hostings.

        Without history of the model itself, that of other versions of its project on such a host.
        """
        with self._database.read() as conn:
            for statement in (_SAME_MODEL, _SAME_PROJECT):
                row = conn.execute(
                    sa.text(statement), {"model_id": model_id, "recent": _RECENT}
                ).one()
                if row[2]:
                    break
        return Throughput(int(row[0]), float(row[1]), int(row[2]), float(row[3]))
