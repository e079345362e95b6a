"""The values that every step of a run needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lfv.client.hosts import HostSpec, Units
from lfv.client.policy import Policy
from lfv.formats.fit import Fit
from lfv.formats.host_kinds import BATCH_JOB, LATEST, LOOKOUTVISION
from lfv.run.defaults import DEFAULT_SETTLE_SECONDS
from lfv.run.modes import InspectionMode
from lfv.settings import Settings


@dataclass(frozen=True)
class InspectionRequest:
    """What to inspect and how. Stored with the run.

    `model_version` may be 'latest'; the run stores the resolved version, and in `approval` the id
    of the approval that resolved it. `new_only` leaves out
    images of other runs of this source and project, and files changed in the last `settle_seconds`.
    `max_cost` is in US dollars. `host` is the model's kind of host, `host_options` are options of
    that kind. `mode` is an `InspectionMode`. `fit` is how images of another size are adapted, such
    as 'scaled to 640x480'; it comes from the record of the model's training.
    """

    source: str
    project: str
    model_version: str = LATEST
    policy: Mapping[str, Any] | None = None
    min_inference_units: int = 1
    max_inference_units: int | None = None
    again: bool = False
    strict: bool = False
    allow_empty: bool = False
    new_only: bool = False
    settle_seconds: float = DEFAULT_SETTLE_SECONDS
    normal: Sequence[str] = ()
    anomaly: Sequence[str] = ()
    max_cost: float | None = None
    max_hosted_minutes: float | None = None
    pause_at_reject_rate: float | None = None
    pause_minutes: float = 60.0
    triggered_by: str = ""
    host: str = LOOKOUTVISION
    host_options: Mapping[str, Any] = field(default_factory=dict)
    mode: str = InspectionMode.LIVE
    fit: str | None = None
    approval: int | None = None


@dataclass(frozen=True)
class NewLimits:
    """New limits for one attempt of a run; None keeps the run's own."""

    max_cost: float | None = None
    max_hosted_minutes: float | None = None

    def applied_to(self, request: InspectionRequest) -> InspectionRequest:
        """Return the request with these limits."""
        given = {name: limit for name, limit in asdict(self).items() if limit is not None}
        return replace(request, **given)


@dataclass(frozen=True)
class RunContext:
    """One attempt of a run as plain values, for passing to tasks.

    `endpoint_url` is the address of the model's API during this attempt (None: Amazon's),
    `expected_size` the (width, height) in pixels of the model's images, if known. `workers` is the
    number of other processes that share detection; with none, this process does it all.
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
    workers: int = 0

    @property
    def host_spec(self) -> HostSpec:
        """How to reach the model, also from another process."""
        spec = model_spec(self.request, self.model_version, self.endpoint_url, self.settings)
        return replace(
            spec,
            options={**spec.options, "max_connections": self.ceiling},
            run_id=self.run_id,
            embedded_home=str(self.settings.home) if self.embedded else None,
        )

    @property
    def image_taker(self) -> str:
        """The kind of host whose limits apply to the images."""
        return BATCH_JOB if self.request.mode == InspectionMode.BATCH else self.request.host

    @property
    def fit(self) -> Fit | None:
        """How images of other sizes are adapted; None: they are errors."""
        return Fit.parse(self.request.fit or "")

    @property
    def units(self) -> Units:
        """MinInferenceUnits and MaxInferenceUnits."""
        return Units(self.request.min_inference_units, self.request.max_inference_units)

    @property
    def most_units(self) -> int:
        """The most inference units that can be up and billed."""
        return self.units.maximum or self.units.minimum

    @property
    def unit_hour_price(self) -> float:
        """Price of one unit for one hour, in US dollars."""
        return self.settings.price_of(self.request.host, embedded=self.embedded)

    @property
    def ceiling(self) -> int:
        """The most requests in flight in one process: its share of what the settings allow."""
        most = self.settings.requests_per_unit * self.most_units
        return max(1, most // self.sharing)

    @property
    def sharing(self) -> int:
        """The number of processes that call the model for this run."""
        return max(1, self.workers)

    def parsed_policy(self) -> Policy:
        """Return the policy that turns answers into verdicts."""
        return Policy.from_dict(self.policy)


def model_spec(
    request: InspectionRequest, model_version: str, endpoint_url: str | None, settings: Settings
) -> HostSpec:
    """Return how to reach the model of a request."""
    options: dict[str, Any] = {"connect_timeout": settings.connect_timeout_seconds}
    if request.host == LOOKOUTVISION or "read_timeout_seconds" in settings.model_fields_set:
        # The other kinds of hosts have their own time limits.
        options["read_timeout"] = settings.read_timeout_seconds
    return HostSpec(
        kind=request.host,
        project=request.project,
        model_version=model_version,
        endpoint_url=endpoint_url,
        region=settings.region,
        options={**options, **request.host_options},
    )
