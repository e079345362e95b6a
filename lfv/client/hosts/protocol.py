"""The interface of a model's host, and the values that it returns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Protocol

from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.status import ModelStatus

_ONCE_OPTIONS = frozenset({"run_id", "embedded_home"})


@dataclass(frozen=True)
class Units:
    """Inference units: the number always up and billed, and the number to scale up to."""

    minimum: int = 1
    maximum: int | None = None

    def __post_init__(self) -> None:
        if self.minimum < 1:
            raise ValueError("there must be at least one inference unit")
        if self.maximum is not None and self.maximum < self.minimum:
            raise ValueError("the maximum number of inference units is below the minimum")


@dataclass(frozen=True)
class ModelState:
    """A model as its host describes it now.

    `created_at` is aware and in UTC. `training` is the version under which the model was trained,
    if it differs from `version` and the host shows it.
    """

    status: ModelStatus
    message: str = ""
    model_arn: str = ""
    project: str = ""
    version: str = ""
    created_at: datetime | None = None
    min_inference_units: int | None = None
    max_inference_units: int | None = None
    training: str = ""


@dataclass(frozen=True)
class Detection:
    """An answer and how it was obtained.

    `request_id` is the service's id of the request, if it has one. `latency_ms` is the duration of
    the successful call, `attempts` the number of calls.
    """

    result: DetectAnomalyResult
    request_id: str | None
    latency_ms: float
    attempts: int = 1


@dataclass(frozen=True)
class HostSpec:
    """Everything that another process needs to open the host of a model. Contains no secret.

    `kind` names the implementation ('lookoutvision'), `project` and `model_version` the model
    ('latest' for the newest). `endpoint_url` is None for AWS. `options` are JSON values that only
    this kind of host understands. `run_id` is the run that the host is opened for, if any.
    `embedded_home` is the home folder of the embedded service that hosts the model, or None; its
    `endpoint_url` changes at each start.
    """

    kind: str
    project: str
    model_version: str
    endpoint_url: str | None = None
    region: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    run_id: str = ""
    embedded_home: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"options": dict(self.options)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> HostSpec:
        """Inverse of `to_dict`. Raises TypeError or ValueError for an invalid mapping."""
        options = dict(value.get("options") or {})
        # Release 0.1.0 stored these two as options.
        lifted = {name: options.pop(name) for name in _ONCE_OPTIONS & options.keys()}
        spec = cls(**{**value, **lifted, "options": options})
        for name in ("kind", "project", "model_version"):
            if not isinstance(getattr(spec, name), str) or not getattr(spec, name):
                raise ValueError(f"a host specification needs a string for {name}")
        return spec


class ModelHost(Protocol):
    """One model version on one host. Methods may be called from many threads.

    Methods raise subclasses of HostError, never errors of the libraries that they use.
    """

    @property
    def spec(self) -> HostSpec:
        """Opens the same model again; its version is resolved, never 'latest'."""

    def describe(self) -> ModelState:
        """Return the model's current state. Raises ModelNotFound."""

    def start(self, units: Units, client_token: str) -> ModelState:
        """Start hosting the model; one call, no retries.

        A repeated call with the same `client_token` has no further effect.

        Raises:
            HostConflict: The model's status does not allow a start.
            HostError: The call failed. If the error is `ambiguous`, the model may have started.
        """

    def stop(self, client_token: str) -> ModelState:
        """Stop hosting the model; one call, no retries. Raises HostConflict."""

    def detect(
        self,
        body: bytes,
        content_type: str,
        *,
        stop_event: threading.Event | None = None,
    ) -> Detection:
        """Run detection on one image; retry temporary failures, but not throttling.

        Args:
            body: The image, PNG or JPEG.
            content_type: Its media type.
            stop_event: Once it is set, there is no further attempt.

        Raises:
            HostThrottled: At once, because callers pace their requests.
            HostError: The error of the last attempt. HostRejected is final for this image.
        """

    def close(self) -> None:
        """Close connections. The model's status does not change."""


HostFactory = Callable[[HostSpec], ModelHost]
