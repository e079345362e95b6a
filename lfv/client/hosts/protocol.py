"""What a place where a model lives has to offer, and the facts it gives."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Protocol

from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.status import ModelStatus


@dataclass(frozen=True)
class Units:
    """Inference units: what is always up and billed, and what the service may scale up to."""

    minimum: int = 1
    maximum: int | None = None

    def __post_init__(self) -> None:
        if self.minimum < 1:
            raise ValueError("at least one inference unit is needed")
        if self.maximum is not None and self.maximum < self.minimum:
            raise ValueError("the maximum of inference units is below the minimum")


@dataclass(frozen=True)
class ModelState:
    """A model as its host describes it now.

    `width` and `height` are pixels of the images it was trained on, where the host reports them;
    Lookout for Vision's API does not. `created_at` is aware and in UTC. `training` is the version
    under which the model was trained, where that is another and the host's facts show it.
    """

    status: ModelStatus
    message: str = ""
    model_arn: str = ""
    project: str = ""
    version: str = ""
    created_at: datetime | None = None
    min_inference_units: int | None = None
    max_inference_units: int | None = None
    width: int | None = None
    height: int | None = None
    training: str = ""


@dataclass(frozen=True)
class Detection:
    """An answer with what is needed to trace it: the service's id of the request, None where it
    gives none; milliseconds of the successful call; how many calls it took."""

    result: DetectAnomalyResult
    request_id: str | None
    latency_ms: float
    attempts: int = 1


@dataclass(frozen=True)
class HostSpec:
    """Everything needed to reach a model again from another process. Holds no secret.

    `kind` names the implementation ('lookoutvision'), `project` and `model_version` the model
    ('latest' where the newest is wanted), `endpoint_url` None for Amazon's own, `options` what
    one kind alone understands, in values that JSON can hold.
    """

    kind: str
    project: str
    model_version: str
    endpoint_url: str | None = None
    region: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"options": dict(self.options)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> HostSpec:
        """Raises TypeError or ValueError for anything `to_dict` cannot have given."""
        spec = cls(**value)
        for name in ("kind", "project", "model_version"):
            if not isinstance(getattr(spec, name), str) or not getattr(spec, name):
                raise ValueError(f"a host specification needs a text for {name}")
        return spec

    @classmethod
    def from_json(cls, text: str) -> HostSpec:
        return cls.from_dict(json.loads(text))


class ModelHost(Protocol):
    """One model version at one place. Methods may be called from many threads.

    Every method raises HostError's subclasses and nothing of the libraries beneath.
    """

    @property
    def kind(self) -> str:
        """The host's kind, as in HostSpec."""

    @property
    def spec(self) -> HostSpec:
        """How to open this very model again; its version is a number, never 'latest'."""

    def describe(self) -> ModelState:
        """The model's state now; changes nothing. Raises ModelNotFound."""

    def start(self, units: Units, client_token: str) -> ModelState:
        """Ask for the model to be hosted; one call, no retries.

        A repeated call with the same `client_token` is the same start.
        Raises HostConflict when the model is in no state to be started. After an error that is
        `ambiguous` the start may have happened.
        """

    def stop(self, client_token: str) -> ModelState:
        """Ask for the model to be stopped; one call, no retries. Raises HostConflict."""

    def detect(
        self,
        body: bytes,
        content_type: str,
        *,
        timeout: float | None = None,
        stop_event: threading.Event | None = None,
        retry_throttled: bool = True,
    ) -> Detection:
        """Ask about one image; failures that pass are tried again.

        `timeout` bounds all tries together, in seconds; once `stop_event` is set, no further try
        begins. With `retry_throttled` False, HostThrottled is raised at once: for callers that
        pace their requests. Raises the last try's error; HostRejected is final for this image.
        """

    def close(self) -> None:
        """Let go of connections; the model keeps its state."""


HostFactory = Callable[[HostSpec], ModelHost]
