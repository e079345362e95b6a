"""What a run is expected to cost, before its model is started."""

from __future__ import annotations

from lfv.run.active import ActiveRun


def expected_cost(run: ActiveRun, images: int) -> str:
    """One line for people: images, time and cost, from this model's throughput in earlier runs."""
    units = run.context.units.minimum
    asked = f"{images} images to inspect with {units} inference unit{'s' if units > 1 else ''}"
    history = run.store.costs.throughput(run.context.model_id)
    pace = history.images_per_second
    if pace is None:
        return f"{asked}; no earlier run shows how long that takes"
    seconds = images / pace
    price = run.context.price_per_unit_hour
    cost = f"{seconds / 3600 * price * units:.2f} USD" if price else "no charge by the hour"
    return (
        f"{asked}; expected {seconds / 60:.1f} minutes hosted, {cost} "
        f"(from {history.images} images before)"
    )
