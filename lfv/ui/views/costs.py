"""What hosting costs, and what the sweeper still has to do."""

from __future__ import annotations

from collections import defaultdict

from starlette.responses import Response

from lfv.ui.routing import Call, get


def show_costs(call: Call) -> Response:
    """Show hostings with their costs, and the state of the sweeper."""
    store = call.ui.store
    rows = store.pages.hosting_costs(200)
    months: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for row in rows:
        month = months[f"{row['requested_at']:%Y-%m}", row["project_name"]]
        month[0] += row["cost"] or 0.0
        month[1] += row["paid_seconds"] or 0.0
        month[2] += row["idle_seconds"] or 0.0
    waiting = store.hostings.open()
    return call.page(
        "costs.html",
        title="Costs",
        rows=rows,
        months=sorted(months.items(), reverse=True),
        open=waiting,
        models={one.model_id: store.models.get(one.model_id) for one in waiting},
    )


ROUTES = [get("/costs", show_costs)]
