"""Hostings, leases and their cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

HostingStatus = Literal[
    "requested",  # the intent is committed; StartModel may or may not have been called
    "hosted",
    "stop_requested",  # StopModel is due; live leases remain only after a forced stop
    "stopped",
    "left",  # started outside lfv; released and left running
]
HOSTING_STATUSES: tuple[HostingStatus, ...] = get_args(HostingStatus)


@dataclass(frozen=True, slots=True)
class Hosting:
    """A period for which a model is up. `owned` if lfv started it, so that lfv has to stop it."""

    hosting_id: int
    model_id: int
    status: HostingStatus
    owned: bool
    client_token: str
    host_spec: dict[str, Any]
    min_units: int
    max_units: int | None
    price_per_unit_hour: float
    requested_by: str
    requested_at: datetime
    hosted_at: datetime | None
    stop_requested_at: datetime | None
    stopped_at: datetime | None
    message: str | None
    stop_attempts: int
    stop_error: str | None
    live_leases: int

    @property
    def is_over(self) -> bool:
        """Whether the model was seen stopped, or was left running for its owner."""
        return self.status in ("stopped", "left")

    @property
    def is_ending(self) -> bool:
        """Whether the model is stopped or is to stop."""
        return self.status == "stop_requested" or self.is_over


@dataclass(frozen=True, slots=True)
class Lease:
    """A run's claim on a hosting.

    `must_start`: the holder must call StartModel with `client_token`.
    `owned`: False for a model started outside lfv, which is used and never stopped.
    """

    lease_id: int
    hosting_id: int
    client_token: str
    must_start: bool
    owned: bool
    hosting_status: HostingStatus
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Throughput:
    """A model's past performance: images answered in so many paid seconds of one inference unit."""

    images: int
    unit_seconds: float


@dataclass(frozen=True, slots=True)
class HostingCost:
    """The cost so far of a hosting, or of a run's share: seconds, and money in the price's unit."""

    paid_seconds: float
    idle_seconds: float
    cost: float
    images: int
