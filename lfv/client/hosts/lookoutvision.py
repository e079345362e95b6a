"""A model behind the Lookout for Vision API, at AWS or another endpoint."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from botocore.config import Config

from lfv.client.api import lookoutvision_client
from lfv.client.api.repeated import RepeatedCall, repeated_call
from lfv.client.clock import SYSTEM_CLOCK, Clock
from lfv.client.errors import HostTimeout, ModelNotFound
from lfv.client.hosts.options import read_options
from lfv.client.hosts.protocol import Detection, HostSpec, ModelState, Units
from lfv.client.hosts.translate import FAILURES, translate
from lfv.client.retry import RetryPolicy, call_with_retries
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.errors import ResponseInvalid
from lfv.formats.status import ModelStatus

KIND = "lookoutvision"
LATEST = "latest"
#: The member that every response of an operation has.
_ANSWER = {
    "DescribeModel": "ModelDescription",
    "StartModel": "Status",
    "StopModel": "Status",
    "DetectAnomalies": "DetectAnomalyResult",
}

_OPTIONS: dict[str, type] = {
    "max_connections": int,
    "connect_timeout": float,
    "read_timeout": float,
    "control_timeout": float,
    "anomaly_maps": bool,
}
_TEXTS = frozenset({"embedded_home", "run_id"})  # used by the opener of the host and for tags

_USABLE = frozenset(
    {
        ModelStatus.TRAINED,
        ModelStatus.STARTING_HOSTING,
        ModelStatus.HOSTED,
        ModelStatus.HOSTING_FAILED,
        ModelStatus.STOPPING_HOSTING,
        ModelStatus.SYSTEM_UPDATING,
    }
)

#: Retries of read-only calls: short, because callers that need more time call again.
_LOOKING = RetryPolicy(attempts=3, timeout=15.0, longest_retry_after=5.0)


def client_config(
    *,
    max_connections: int = 32,
    connect_timeout: float = 5.0,
    read_timeout: float = 60.0,
    checked: bool = True,
) -> Config:
    """Return botocore's configuration for the API.

    botocore makes one attempt per call. Before StartModel or StopModel is repeated, the model's
    status is checked, and DetectAnomalies has retries that respect deadlines and stop events.

    Args:
        max_connections: Size of the connection pool; one for each thread, so that none waits.
        connect_timeout: Seconds.
        read_timeout: Seconds.
        checked: Whether botocore validates arguments, which takes about half as long as parsing a
            response.
    """
    return Config(
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=max_connections,
        parameter_validation=checked,
        tcp_keepalive=True,
    )


class LookoutVisionHost:
    """ModelHost over boto3. `spec.model_version` may be 'latest': the newest trained version.

    Options in `spec.options`: `max_connections` (32) for DetectAnomalies; in seconds
    `connect_timeout` (5), `read_timeout` (60) for DetectAnomalies and `control_timeout` (15) for
    all other calls, short so that a hanging call does not keep a model up. `anomaly_maps` requests
    a heat map with every answer; only the embedded service supports it.

    The constructor raises HostError if the endpoint cannot be used or 'latest' cannot be resolved.
    """

    def __init__(
        self,
        spec: HostSpec,
        *,
        retries: RetryPolicy | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._retries = retries or RetryPolicy()
        self._clock = clock
        self._where = spec.endpoint_url or "Amazon Lookout for Vision"
        self._options = read_options(
            spec.options, _OPTIONS, host="Lookout for Vision's host", unlisted=_TEXTS
        )
        self._control = self._connect(spec, max_connections=4, read_timeout=self._control_timeout)
        # Created by the first `detect`; stopping a model needs none.
        self._detecting: Any = None
        self._calls: dict[str, RepeatedCall] = {}  # by content type
        self._lock = threading.Lock()
        version = spec.model_version
        if version == LATEST:
            version = self._latest(spec.project)
        self._spec = HostSpec(
            KIND, spec.project, version, spec.endpoint_url, spec.region, spec.options
        )

    @property
    def kind(self) -> str:
        return KIND

    @property
    def spec(self) -> HostSpec:
        return self._spec

    def describe(self) -> ModelState:
        answer, _ = call_with_retries(
            lambda: self._call("DescribeModel", self._control.describe_model),
            _LOOKING,
            clock=self._clock,
        )
        description = answer.get("ModelDescription") or {}
        created = description.get("CreationTimestamp")
        return ModelState(
            status=_status(description.get("Status")),
            message=description.get("StatusMessage") or "",
            model_arn=description.get("ModelArn") or "",
            project=self._spec.project,
            version=self._spec.model_version,
            created_at=created.astimezone(UTC) if isinstance(created, datetime) else None,
            min_inference_units=description.get("MinInferenceUnits"),
            max_inference_units=description.get("MaxInferenceUnits"),
        )

    def start(self, units: Units, client_token: str) -> ModelState:
        arguments: dict[str, Any] = {"MinInferenceUnits": units.minimum}
        if units.maximum is not None:
            arguments["MaxInferenceUnits"] = units.maximum
        answer = self._call(
            "StartModel", self._control.start_model, ClientToken=client_token, **arguments
        )
        return self._state(answer)

    def stop(self, client_token: str) -> ModelState:
        answer = self._call("StopModel", self._control.stop_model, ClientToken=client_token)
        return self._state(answer)

    def detect(
        self,
        body: bytes,
        content_type: str,
        *,
        timeout: float | None = None,
        stop_event: threading.Event | None = None,
        retry_throttled: bool = True,
    ) -> Detection:
        def call() -> tuple[Any, float]:
            began = self._clock.monotonic()
            with self._translate_errors("DetectAnomalies"):
                answer = self._detection(content_type)(body)
            self._check(answer, "DetectAnomalies")
            return answer, (self._clock.monotonic() - began) * 1000.0

        (answer, latency_ms), attempts = call_with_retries(
            call,
            replace(self._retries, throttled=retry_throttled),
            timeout=timeout,
            stop_event=stop_event,
            clock=self._clock,
        )
        try:
            result = DetectAnomalyResult.from_response(answer)
        except ResponseInvalid as error:
            error.attempts = attempts
            raise
        return Detection(
            result=result,
            request_id=answer.get("ResponseMetadata", {}).get("RequestId") or None,
            latency_ms=latency_ms,
            attempts=attempts,
        )

    def close(self) -> None:
        with self._lock:
            self._control.close()
            if self._detecting is not None:
                self._detecting.close()

    def _detection(self, content_type: str) -> RepeatedCall:
        """Return the call of DetectAnomalies for images of a type."""
        if (call := self._calls.get(content_type)) is not None:
            return call
        with self._lock:
            if self._detecting is None:
                self._detecting = self._connect(
                    self._spec,
                    max_connections=self._options.get("max_connections", 32),
                    read_timeout=self._options.get("read_timeout", 60.0),
                    checked=False,  # every call passes the same kinds of arguments
                )
            extensions: dict[str, Any] = {}
            if self._options.get("anomaly_maps", False):
                extensions["AnomalyMap"] = True
            call = self._calls[content_type] = repeated_call(
                self._detecting,
                "detect_anomalies",
                ProjectName=self._spec.project,
                ModelVersion=self._spec.model_version,
                ContentType=content_type,
                **extensions,
            )
            return call

    @property
    def _control_timeout(self) -> float:
        return float(self._options.get("control_timeout", 15.0))

    def _connect(
        self, spec: HostSpec, *, max_connections: int, read_timeout: float, checked: bool = True
    ) -> Any:
        try:
            return lookoutvision_client(
                spec.endpoint_url,
                spec.region,
                config=client_config(
                    max_connections=max_connections,
                    connect_timeout=self._options.get("connect_timeout", 5.0),
                    read_timeout=read_timeout,
                    checked=checked,
                ),
            )
        except FAILURES as error:
            raise translate(error, "A request", self._where) from error

    def _call(self, operation: str, method: Callable[..., Any], **arguments: Any) -> Any:
        with self._translate_errors(operation):
            answer = method(
                ProjectName=self._spec.project,
                ModelVersion=self._spec.model_version,
                **arguments,
            )
        self._check(answer, operation)
        return answer

    @contextmanager
    def _translate_errors(self, operation: str) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            raise translate(error, operation, self._where) from error

    def _check(self, answer: Mapping[str, Any], operation: str) -> None:
        """Raise HostTimeout for the empty response of a connection that broke after the headers."""
        if _ANSWER[operation] not in answer:
            raise HostTimeout(
                f"{self._where} closed the connection while answering {operation}.",
                operation=operation,
            )

    def _state(self, answer: Any) -> ModelState:
        return ModelState(
            status=_status(answer.get("Status")),
            project=self._spec.project,
            version=self._spec.model_version,
        )

    def _latest(self, project: str) -> str:
        def newest() -> str:
            try:
                found = [
                    model
                    for model in list_models(self._control, project)
                    if model.get("Status") in _USABLE
                ]
            except FAILURES as error:
                raise translate(error, "ListModels", self._where) from error
            if not found:
                raise ModelNotFound(
                    f"Project {project} has no trained model.", operation="ListModels"
                )
            return str(max(found, key=_age)["ModelVersion"])

        version, _ = call_with_retries(newest, _LOOKING, clock=self._clock)
        return version


def list_models(client: Any, project: str) -> Iterator[dict[str, Any]]:
    """Yield the ModelMetadata of every version of a project. Raises botocore's errors."""
    arguments: dict[str, Any] = {"ProjectName": project}
    while True:
        page = client.list_models(**arguments)
        yield from page.get("Models", ())
        if not page.get("NextToken"):
            return
        arguments["NextToken"] = page["NextToken"]


def _age(model: dict[str, Any]) -> tuple[float, int]:
    created = model.get("CreationTimestamp")
    version = str(model.get("ModelVersion", ""))
    return (
        created.timestamp() if isinstance(created, datetime) else 0.0,
        int(version) if version.isdecimal() else 0,
    )


def _status(value: object) -> ModelStatus:
    try:
        return ModelStatus(str(value))
    except ValueError:
        raise ResponseInvalid(f"The service reports an unknown model status: {value}.") from None
