"""What every step of one run has to know, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lfv.client.hosts import HostSpec, Units
from lfv.client.hosts.sagemaker import batch
from lfv.client.policy import Policy
from lfv.formats.fit import Fit
from lfv.settings import Settings

#: The kind of host that a service on this machine stands in for where no endpoint is given.
LOOKOUTVISION = "lookoutvision"
#: Modes of detection: image by image, or by a job that takes all of them.
LIVE, BATCH = "live", "batch"

#: How long a file of a source must have been left alone to be inspected by a run over new images.
DEFAULT_SETTLE_SECONDS = 5.0


@dataclass(frozen=True)
class InspectionRequest:
    """What is to be inspected and how, as it is stored with the run.

    `model_version` may be 'latest'; the run stores the version that this was.  With `new_only`,
    images that another run of this source and project has are left out, and so are files that
    changed in the last `settle_seconds`.  `max_cost` is in US dollars.  `host` is the kind of host
    where the model lives, `host_options` what only that kind understands.  `mode`
    is `LIVE` or `BATCH`.  `fit` says what is done to images of another size than the model's, such
    as 'scaled to 640x480'; the run takes it from the record of the model's training.
    """

    source: str
    project: str
    model_version: str = "latest"
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
    mode: str = LIVE
    fit: str | None = None


@dataclass(frozen=True)
class NewLimits:
    """Other limits for one attempt of a run; None keeps the run's own."""

    max_cost: float | None = None
    max_hosted_minutes: float | None = None

    def applied_to(self, request: InspectionRequest) -> InspectionRequest:
        """The request with these limits."""
        given = {name: limit for name, limit in asdict(self).items() if limit is not None}
        return replace(request, **given)


@dataclass(frozen=True)
class RunContext:
    """One attempt of a run, as plain values: the parameter of its tasks.

    `endpoint_url` is where the model's API answers during this attempt (None: Amazon's own
    address), `expected_size` the (width, height) in pixels that the model takes, where known.
    `workers` is how many other processes share detection; with none, this one does it all.
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
        """How the model is reached, from another process too."""
        options: dict[str, Any] = {
            "max_connections": self.ceiling,
        }
        if self.embedded:
            options["embedded_home"] = str(self.settings.home)
        spec = model_spec(self.request, self.model_version, self.endpoint_url, self.settings)
        return replace(spec, options={**spec.options, **options, "run_id": self.run_id})

    @property
    def image_taker(self) -> str:
        """The kind of host whose limits the images have to keep."""
        return batch.KIND if self.request.mode == BATCH else self.request.host

    @property
    def fit(self) -> Fit | None:
        """What is done to images of other sizes; None: they are errors."""
        return Fit.parse(self.request.fit or "")

    @property
    def units(self) -> Units:
        """MinInferenceUnits and MaxInferenceUnits."""
        return Units(self.request.min_inference_units, self.request.max_inference_units)

    @property
    def most_units(self) -> int:
        """Inference units that can be up, and billed, at most."""
        return self.units.maximum or self.units.minimum

    @property
    def unit_hour_price(self) -> float:
        """Price of one unit for one hour, in US dollars."""
        return self.settings.price_of(self.request.host, embedded=self.embedded)

    @property
    def ceiling(self) -> int:
        """Requests in flight in one process, at most: its share of what the settings allow."""
        most = self.settings.requests_per_unit * self.most_units
        return max(1, most // self.sharing)

    @property
    def sharing(self) -> int:
        """Processes that ask the model for this run."""
        return max(1, self.workers)

    def parsed_policy(self) -> Policy:
        """The policy that turns answers into verdicts."""
        return Policy.from_dict(self.policy)


def model_spec(
    request: InspectionRequest, model_version: str, endpoint_url: str | None, settings: Settings
) -> HostSpec:
    """How the model of a request is reached."""
    options: dict[str, Any] = {"connect_timeout": settings.connect_timeout_seconds}
    if request.host == LOOKOUTVISION or "read_timeout_seconds" in settings.model_fields_set:
        # The other kinds have limits of their own, which fit what answers there.
        options["read_timeout"] = settings.read_timeout_seconds
    return HostSpec(
        kind=request.host,
        project=request.project,
        model_version=model_version,
        endpoint_url=endpoint_url,
        region=settings.region,
        options={**options, **request.host_options},
    )
