"""What a run may spend."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from lfv.run.context import RunContext


@dataclass(frozen=True)
class Limits:
    """Bounds of one attempt of a run: US dollars, minutes hosted; None where there is none.

    The whole cost of the model counts while the run uses it, also where other runs share it:
    who sets a limit wants to be sure of it.
    """

    max_cost: float | None
    max_hosted_minutes: float | None
    dollars_per_hour: float

    @classmethod
    def of(cls, run: RunContext) -> Limits:
        return cls(
            max_cost=run.request.max_cost,
            max_hosted_minutes=run.request.max_hosted_minutes,
            dollars_per_hour=run.price_per_unit_hour * run.most_units,
        )

    def reached(self, hosted_at: datetime, now: datetime | None = None) -> str | None:
        """Which limit is reached, in words; None while there is room."""
        hours = ((now or datetime.now(UTC)) - hosted_at).total_seconds() / 3600
        cost = hours * self.dollars_per_hour
        if self.max_cost is not None and cost >= self.max_cost:
            return f"the cost limit of {self.max_cost:.2f} USD is reached"
        if self.max_hosted_minutes is not None and hours * 60 >= self.max_hosted_minutes:
            return f"the limit of {self.max_hosted_minutes:g} hosted minutes is reached"
        return None
