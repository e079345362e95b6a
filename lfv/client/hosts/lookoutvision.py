"""A model behind the Lookout for Vision API, at AWS or another endpoint."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from lfv.client.api import lookoutvision_client
from lfv.client.api.repeated import RepeatedCall, repeated_call
from lfv.client.errors import HostThrottled, HostTimeout, ModelNotFound
from lfv.client.hosts.calls import FAILURES, call, client_config, pages, translate, utc
from lfv.client.hosts.host_options import read_options
from lfv.client.hosts.protocol import Detection, HostSpec, ModelState, Units
from lfv.client.retry import READ_RETRIES, RetryPolicy, call_with_retries
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.errors import ResponseInvalid
from lfv.formats.host_kinds import LATEST, LOOKOUTVISION
from lfv.formats.status import ModelStatus

#: The member that every response of an operation has.
_ANSWER = {
    "DescribeModel": "ModelDescription",
    "StartModel": "Status",
    "StopModel": "Status",
    "DetectAnomalies": "DetectAnomalyResult",
}

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


@dataclass(frozen=True)
class Options:
    """The options in `HostSpec.options` for this kind; time limits are in seconds.

    `max_connections` and `read_timeout` are for DetectAnomalies. `control_timeout` is for all other
    calls, and short so that a hanging call does not keep a model up. `anomaly_maps` requests a heat
    map with every answer; only the embedded service supports it.
    """

    max_connections: int = 32
    connect_timeout: float = 5.0
    read_timeout: float = 60.0
    control_timeout: float = 15.0
    anomaly_maps: bool = False


class LookoutVisionHost:
    """ModelHost over boto3; options: see `Options`.

    `spec.model_version` may be 'latest': the newest trained version. The constructor raises
    HostError if the endpoint cannot be used or 'latest' cannot be resolved.
    """

    def __init__(self, spec: HostSpec, *, retries: RetryPolicy | None = None) -> None:
        self._retries = retries or RetryPolicy()
        self._where = spec.endpoint_url or "Amazon Lookout for Vision"
        self._options = read_options(spec.options, Options, host="Lookout for Vision's host")
        self._control = self._connect(
            spec, max_connections=4, read_timeout=self._options.control_timeout
        )
        # Created by the first `detect`; stopping a model needs none.
        self._detecting: Any = None
        self._calls: dict[str, RepeatedCall] = {}  # by content type
        self._lock = threading.Lock()
        version = spec.model_version
        if version == LATEST:
            version = self._latest(spec.project)
        self.spec = replace(spec, kind=LOOKOUTVISION, model_version=version)

    def describe(self) -> ModelState:
        answer, _ = call_with_retries(lambda: self._call("DescribeModel"), READ_RETRIES)
        description = answer.get("ModelDescription") or {}
        return ModelState(
            status=_status(description.get("Status")),
            message=description.get("StatusMessage") or "",
            model_arn=description.get("ModelArn") or "",
            project=self.spec.project,
            version=self.spec.model_version,
            created_at=utc(description.get("CreationTimestamp")),
            min_inference_units=description.get("MinInferenceUnits"),
            max_inference_units=description.get("MaxInferenceUnits"),
        )

    def start(self, units: Units, client_token: str) -> ModelState:
        arguments: dict[str, Any] = {"MinInferenceUnits": units.minimum}
        if units.maximum is not None:
            arguments["MaxInferenceUnits"] = units.maximum
        return self._state(self._call("StartModel", ClientToken=client_token, **arguments))

    def stop(self, client_token: str) -> ModelState:
        return self._state(self._call("StopModel", ClientToken=client_token))

    def detect(
        self,
        body: bytes,
        content_type: str,
        *,
        stop_event: threading.Event | None = None,
    ) -> Detection:
        def detect() -> tuple[Any, float]:
            began = time.monotonic()
            try:
                answer = self._detection(content_type)(body)
            except FAILURES as error:
                raise translate(error, "DetectAnomalies", self._where) from error
            self._check(answer, "DetectAnomalies")
            return answer, (time.monotonic() - began) * 1000.0

        (answer, latency_ms), attempts = call_with_retries(
            detect, self._retries, final=HostThrottled, stop_event=stop_event
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
                    self.spec,
                    max_connections=self._options.max_connections,
                    read_timeout=self._options.read_timeout,
                    checked=False,  # every call passes the same kinds of arguments
                )
            extensions: dict[str, Any] = {}
            if self._options.anomaly_maps:
                extensions["AnomalyMap"] = True
            call = self._calls[content_type] = repeated_call(
                self._detecting,
                "detect_anomalies",
                ProjectName=self.spec.project,
                ModelVersion=self.spec.model_version,
                ContentType=content_type,
                **extensions,
            )
            return call

    def _connect(
        self, spec: HostSpec, *, max_connections: int, read_timeout: float, checked: bool = True
    ) -> Any:
        try:
            return lookoutvision_client(
                spec.endpoint_url,
                spec.region,
                config=client_config(
                    max_connections=max_connections,
                    connect_timeout=self._options.connect_timeout,
                    read_timeout=read_timeout,
                    checked=checked,
                ),
            )
        except FAILURES as error:
            raise translate(error, "A request", self._where) from error

    def _call(self, operation: str, **arguments: Any) -> Any:
        answer = call(
            self._control,
            operation,
            where=self._where,
            ProjectName=self.spec.project,
            ModelVersion=self.spec.model_version,
            **arguments,
        )
        self._check(answer, operation)
        return answer

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
            project=self.spec.project,
            version=self.spec.model_version,
        )

    def _latest(self, project: str) -> str:
        def newest() -> str:
            operate = partial(call, self._control, where=self._where)
            models = pages(operate, "ListModels", "Models", ProjectName=project)
            found = [model for model in models if model.get("Status") in _USABLE]
            if not found:
                raise ModelNotFound(
                    f"Project {project} has no trained model.", operation="ListModels"
                )
            return str(max(found, key=_age)["ModelVersion"])

        version, _ = call_with_retries(newest, READ_RETRIES)
        return version


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
