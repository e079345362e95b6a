"""What every step of one run has to know, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from lfv.client.hosts import HostSpec, Units
from lfv.client.policy import Policy
from lfv.settings import Settings

HOST_KIND = "lookoutvision"


@dataclass(frozen=True)
class InspectionRequest:
    """What somebody asks to be inspected, as it is kept with the run.

    `model_version` may be 'latest' in a request; the run keeps the version it stood for.
    `max_cost` is in US dollars.
    """

    source: str
    project: str
    model_version: str = "latest"
    policy: Mapping[str, Any] | None = None
    min_inference_units: int = 1
    max_inference_units: int | None = None
    again: bool = False
    strict: bool = False
    max_cost: float | None = None
    max_hosted_minutes: float | None = None
    triggered_by: str = ""


@dataclass(frozen=True)
class RunContext:
    """One attempt of a run, as plain values: the parameter of its tasks.

    `endpoint_url` is where the model's API answers during this attempt (None: Amazon's own
    address), `expected_size` the (width, height) in pixels that the model takes, where known.
    """

    run_id: str
    model_id: int
    request: InspectionRequest
    model_version: str
    endpoint_url: str | None
    embedded: bool
    policy: Mapping[str, Any]
    expected_size: tuple[int, int] | None
    planned_through: int
    settings: Settings

    @property
    def host_spec(self) -> HostSpec:
        """How the model is reached, from another process too."""
        options: dict[str, Any] = {
            # Each batch has at least one thread, and their number is rounded up.
            "max_connections": self.threads + self.settings.batches_in_flight,
            "connect_timeout": self.settings.connect_timeout_seconds,
            "read_timeout": self.settings.read_timeout_seconds,
        }
        if self.embedded:
            options["embedded_home"] = str(self.settings.home)
        return HostSpec(
            kind=HOST_KIND,
            project=self.request.project,
            model_version=self.model_version,
            endpoint_url=self.endpoint_url,
            region=self.settings.region,
            options=options,
        )

    @property
    def units(self) -> Units:
        """MinInferenceUnits and MaxInferenceUnits."""
        return Units(self.request.min_inference_units, self.request.max_inference_units)

    @property
    def most_units(self) -> int:
        """Inference units that can be up, and billed, at most."""
        return self.units.maximum or self.units.minimum

    @property
    def price_per_unit_hour(self) -> float:
        """US dollars."""
        return self.settings.unit_hour_price(HOST_KIND, embedded=self.embedded)

    @property
    def threads(self) -> int:
        """Requests in flight over all batches."""
        return self.settings.requests_per_unit * self.most_units

    def threads_per_batch(self, waiting: int) -> int:
        """Requests in flight in each batch, when `waiting` images are left to ask about."""
        batches = min(self.settings.batches_in_flight, ceil(waiting / self.settings.batch_size))
        return ceil(self.threads / max(1, batches))

    def parsed_policy(self) -> Policy:
        """The policy that turns answers into verdicts."""
        return Policy.from_dict(self.policy)
