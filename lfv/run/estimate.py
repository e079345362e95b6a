"""What a run is expected to cost, before its model is started."""

from __future__ import annotations

from lfv.run.context import RunContext
from lfv_store import Store


def expected_cost(run: RunContext, store: Store, images: int) -> str:
    """One line for people: images, and time and money from what this model did before."""
    units = run.units.minimum
    asked = f"{images} images to ask about with {units} inference unit{'s' if units > 1 else ''}"
    history = store.costs.throughput(run.model_id)
    pace = history.images_per_second
    if pace is None:
        return f"{asked}; no earlier run tells how long that takes"
    seconds = images / pace
    price = run.price_per_unit_hour
    cost = f"{seconds / 3600 * price * units:.2f} USD" if price else "no charge by the hour"
    return (
        f"{asked}; expected {seconds / 60:.1f} minutes hosted, {cost} "
        f"(from {history.images} images before)"
    )
