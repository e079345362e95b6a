"""The limits on a run's cost and its model's hosted time."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lfv.run.context import RunContext

#: Linux's clock that also counts while the machine sleeps, as the model's price does.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady_seconds() -> float:
    """Return seconds of a clock that does not change when the machine's time is set."""
    return time.clock_gettime(_CLOCK)


@dataclass(frozen=True)
class Budget:
    """Limits of one attempt of a run, in US dollars and hosted minutes; None means no limit.

    While the run uses the model, the model's whole cost counts, even if other runs share it. A
    limit is therefore never exceeded.
    """

    max_cost: float | None
    max_hosted_minutes: float | None
    dollars_per_hour: float

    @classmethod
    def of(cls, run: RunContext) -> Budget:
        return cls(
            max_cost=run.request.max_cost,
            max_hosted_minutes=run.request.max_hosted_minutes,
            dollars_per_hour=run.unit_hour_price * run.most_units,
        )

    def reached_limit(self, hosted_seconds: float) -> str | None:
        """Return a sentence on the limit that is reached, or None."""
        hours = hosted_seconds / 3600
        cost = hours * self.dollars_per_hour
        if self.max_cost is not None and cost >= self.max_cost:
            return f"the cost limit of {self.max_cost:.2f} USD is reached"
        if self.max_hosted_minutes is not None and hours * 60 >= self.max_hosted_minutes:
            return f"the limit of {self.max_hosted_minutes:g} hosted minutes is reached"
        return None
