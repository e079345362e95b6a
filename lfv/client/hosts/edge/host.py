"""The host of a model behind the Lookout for Vision Edge Agent.

`spec.project` is the agent's model component, `spec.endpoint_url` its address: ``unix:///FILE``,
``unix-abstract:NAME`` or ``tcp://HOST:PORT``. A component holds one version of a model, which is
read from the ARN that the agent reports.
"""

from __future__ import annotations

import mmap
import re
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

from lfv.client.errors import HostError, HostThrottled, ModelNotFound
from lfv.client.hosts.edge.channel import AgentChannel
from lfv.client.hosts.edge.memory import remove_abandoned, shared_memory
from lfv.client.hosts.edge.pixels import to_png, to_rgb888
from lfv.client.hosts.host_options import read_options
from lfv.client.hosts.protocol import Detection, HostSpec, ModelState, Units
from lfv.client.retry import READ_RETRIES, RetryPolicy, call_with_retries
from lfv.formats import edge_agent as agent
from lfv.formats import edge_agent_pb2 as pb
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.edge_agent import AgentStatus
from lfv.formats.errors import ResponseInvalid
from lfv.formats.host_kinds import EDGE, LATEST
from lfv.formats.status import ModelStatus

#: Options that the pipeline sets for every kind of host; not used here.
_UNLISTED = frozenset({"connect_timeout", "max_connections"})
_ARN_VERSION = re.compile(r":model/[^/]+/([^/]+)$")
_STATUSES = {
    AgentStatus.STOPPED: ModelStatus.TRAINED,
    AgentStatus.STARTING: ModelStatus.STARTING_HOSTING,
    AgentStatus.RUNNING: ModelStatus.HOSTED,
    AgentStatus.FAILED: ModelStatus.HOSTING_FAILED,
    AgentStatus.STOPPING: ModelStatus.STOPPING_HOSTING,
}


@dataclass(frozen=True)
class Options:
    """The options in `HostSpec.options` for this kind; time limits are in seconds.

    `shared_memory` passes pixels in shared memory, which an agent on the same machine reads in
    place. `service` is ``InferenceServer`` for agents of the first release.
    """

    shared_memory: bool = False
    service: str = agent.SERVICE
    read_timeout: float = 60.0
    control_timeout: float = 60.0
    connect_timeout: float = 5.0
    max_connections: int = 32


class EdgeAgentHost:
    """The ModelHost over gRPC. The constructor raises HostError if 'latest' cannot be looked up.

    With a version, the constructor calls no agent, so that a model can be stopped later even if its
    agent is unreachable now.
    """

    def __init__(self, spec: HostSpec, *, retries: RetryPolicy | None = None) -> None:
        self._retries = retries or RetryPolicy()
        self._options = read_options(spec.options, Options, host="An edge host", unlisted=_UNLISTED)
        if self._options.shared_memory:
            remove_abandoned()
            with shared_memory(mmap.PAGESIZE):
                pass  # fail on a machine without shared memory before anything is started
        address = spec.endpoint_url or agent.DEFAULT_ADDRESS
        self._channel = AgentChannel(address, self._options.service)
        self._component = spec.project
        self.spec = replace(spec, kind=EDGE, endpoint_url=address)
        if spec.model_version == LATEST:
            try:
                version = _version_of(self._describe())
            except (HostError, ResponseInvalid):
                self._channel.close()
                raise
            self.spec = replace(self.spec, model_version=version)

    def describe(self) -> ModelState:
        return _state(self._describe())

    def start(self, units: Units, client_token: str) -> ModelState:  # noqa: ARG002 - it has none
        return self._change("StartModel")

    def stop(self, client_token: str) -> ModelState:  # noqa: ARG002
        self._describe()  # raises if the component now has another version
        state = self._change("StopModel")
        if state.status is ModelStatus.TRAINED:  # it was up, as only a running model can be stopped
            return replace(state, status=ModelStatus.STOPPING_HOSTING)
        return state

    def _change(self, operation: str) -> ModelState:
        answer = self._channel.call(
            operation,
            getattr(pb, f"{operation}Request")(model_component=self._component),
            getattr(pb, f"{operation}Response"),
            self._options.control_timeout,
        )
        known = answer.status in set(AgentStatus)
        status = _STATUSES[AgentStatus(answer.status)] if known else ModelStatus.SYSTEM_UPDATING
        return ModelState(status=status, project=self.spec.project, version=self.spec.model_version)

    def detect(
        self,
        body: bytes,
        content_type: str,  # noqa: ARG002 - the agent takes pixels
        *,
        stop_event: threading.Event | None = None,
    ) -> Detection:
        width, height, pixels = to_rgb888(body)
        (result, mask, latency_ms), attempts = call_with_retries(
            lambda: self._ask(width, height, pixels),
            self._retries,
            final=HostThrottled,
            stop_event=stop_event,
        )
        try:
            return Detection(_result(result, mask), None, latency_ms, attempts)
        except ResponseInvalid as error:
            error.attempts = attempts
            raise

    def _ask(
        self, width: int, height: int, pixels: bytes
    ) -> tuple[pb.DetectAnomalyResult | None, bytes, float]:
        with ExitStack() as stack:
            params = None
            written = None
            if self._options.shared_memory:
                handle, memory = stack.enter_context(shared_memory(len(pixels)))
                memory[:] = pixels
                target, written = stack.enter_context(shared_memory(len(pixels)))
                bitmap = pb.Bitmap(width=width, height=height, shared_memory_handle=handle)
                params = pb.AnomalyMaskParams(  # for any agent, under both numbers
                    shared_memory_handle=target, shared_memory_handle_of_samples=target
                )
            else:
                bitmap = pb.Bitmap(width=width, height=height, byte_data=pixels)
            began = time.monotonic()
            answer = self._channel.call(
                "DetectAnomalies",
                pb.DetectAnomaliesRequest(
                    model_component=self._component, bitmap=bitmap, anomaly_mask_params=params
                ),
                pb.DetectAnomaliesResponse,
                self._options.read_timeout,
            )
            latency_ms = (time.monotonic() - began) * 1000.0
            if not answer.HasField("detect_anomaly_result"):
                return None, b"", latency_ms
            result = answer.detect_anomaly_result
            mask = result.anomaly_mask.byte_data
            if written is not None and result.anomaly_mask.HasField("shared_memory_handle"):
                mask = written[: agent.size_in_bytes(result.anomaly_mask)]
            return result, mask, latency_ms

    def close(self) -> None:
        self._channel.close()

    def _describe(self) -> pb.ModelDescription:
        answer, _ = call_with_retries(
            lambda: self._channel.call(
                "DescribeModel",
                pb.DescribeModelRequest(model_component=self._component),
                pb.DescribeModelResponse,
                min(15.0, self._options.control_timeout),
            ),
            READ_RETRIES,
        )
        if not answer.HasField("model_description"):
            raise ResponseInvalid("The edge agent described no model.")
        version = _version_of(answer.model_description)
        if self.spec.model_version not in {LATEST, version}:
            raise ModelNotFound(
                f"Component {self._component} of the edge agent has version {version}, not "
                f"{self.spec.model_version}.",
                operation="DescribeModel",
            )
        return answer.model_description


def agent_models(address: str | None) -> list[ModelState]:
    """List the models of an agent. Raises HostError or ResponseInvalid."""
    with closing(AgentChannel(address or agent.DEFAULT_ADDRESS, agent.SERVICE)) as channel:
        answer = channel.call(
            "ListModels", pb.ListModelsRequest(), pb.ListModelsResponse, timeout=15.0
        )
        return sorted(map(_state, answer.models), key=lambda one: one.project)


def _state(description: pb.ModelDescription | pb.ModelMetadata) -> ModelState:
    try:
        status = _STATUSES[AgentStatus(description.status)]
    except ValueError:
        raise ResponseInvalid(
            f"The edge agent reports an unknown model status: {description.status}."
        ) from None
    component = description.model_component
    return ModelState(
        status=status,
        message=description.status_message,
        model_arn=description.lookout_vision_model_arn or f"component:{component}",
        project=component,
        version=_version_of(description),
    )


def _version_of(description: pb.ModelDescription | pb.ModelMetadata) -> str:
    found = _ARN_VERSION.search(description.lookout_vision_model_arn)
    return found[1] if found else "1"


def _result(answer: pb.DetectAnomalyResult | None, mask: bytes) -> DetectAnomalyResult:
    """Convert the agent's answer to the API's, with floats rounded to their significant digits."""
    if answer is None:
        raise ResponseInvalid("The edge agent's answer has no result.")
    response: dict[str, Any] = {
        "Source": {"Type": "direct"},
        "IsAnomalous": answer.is_anomalous,
        "Confidence": agent.round_float(answer.confidence),
    }
    if answer.anomalies:
        response["Anomalies"] = [
            {"Name": anomaly.name, "PixelAnomaly": _pixels(anomaly.pixel_anomaly)}
            for anomaly in answer.anomalies
        ]
    if answer.anomaly_score or answer.anomaly_threshold:
        response["AnomalyScore"] = agent.round_float(answer.anomaly_score)
        response["AnomalyThreshold"] = agent.round_float(answer.anomaly_threshold)
    png = None
    if mask:
        png = to_png(answer.anomaly_mask.width, answer.anomaly_mask.height, mask)
    return DetectAnomalyResult.from_response(response, mask=png)


def _pixels(found: pb.PixelAnomaly) -> dict[str, Any]:
    color = found.hex_color if found.hex_color.startswith("#") else f"#{found.hex_color}"
    return {
        "TotalPercentageArea": agent.round_float(found.total_percentage_area),
        "Color": color,
    }
