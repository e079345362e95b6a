"""What hosting costs, and what the sweeper still has to do."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

from starlette.responses import Response

from lfv.ui.routing import Call, get
from lfv_store import Store

_HOSTINGS = 200


def show_costs(call: Call) -> Response:
    """Show hostings with their costs, and the state of the sweeper."""
    store = call.ui.store
    waiting = store.hostings.open()
    return call.page(
        "costs.html",
        title="Costs",
        rows=store.costs.newest(_HOSTINGS),
        months=_months(store, datetime.now(UTC)),
        open=waiting,
        models={hosting.model_id: store.models.get(hosting.model_id) for hosting in waiting},
    )


def _months(store: Store, now: datetime) -> list[tuple[tuple[str, str], list[float]]]:
    """Return cost, paid and idle time by month and project, of this month and the 11 before it."""
    first = datetime(now.year - (now.month < 12), now.month % 12 + 1, 1, tzinfo=UTC)
    months: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for hosting in store.costs.since(first):
        month = months[f"{hosting.requested_at:%Y-%m}", hosting.project_name]
        for place, value in enumerate((hosting.cost, hosting.paid_seconds, hosting.idle_seconds)):
            month[place] += value or 0.0
    return sorted(months.items(), reverse=True)


ROUTES = [get("/costs", show_costs)]
