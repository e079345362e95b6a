"""A scripted stand-in for the Lookout for Vision Edge Agent, built from its .proto by protoc.

Scripted over HTTP like `standin`; the agent itself answers over gRPC, at the address that
``GET /address`` returns. It has one model component, ``parts``. Its answers are a function of the
pixels.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc

from tests.support import standin
from tests.support.edge_stubs import pb, pb_grpc
from tests.support.standin import PROJECT, Refused

ARN = "arn:aws:lookoutvision:us-east-1:000000000000:model/parts/1"
STATUSES = {
    "TRAINED": pb.STOPPED,
    "STARTING_HOSTING": pb.STARTING,
    "HOSTED": pb.RUNNING,
    "HOSTING_FAILED": pb.FAILED,
    "STOPPING_HOSTING": pb.STOPPING,
}
CODES = {
    "ThrottlingException": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "InternalServerException": grpc.StatusCode.INTERNAL,
    "AccessDeniedException": grpc.StatusCode.PERMISSION_DENIED,
    "ConflictException": grpc.StatusCode.FAILED_PRECONDITION,
    "ResourceNotFoundException": grpc.StatusCode.NOT_FOUND,
    "ValidationException": grpc.StatusCode.INVALID_ARGUMENT,
}


class Agent(pb_grpc.EdgeAgentServicer):  # type: ignore[misc, name-defined]
    """The five calls."""

    def __init__(self, model: standin.Model) -> None:
        self.model = model

    def StartModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        def act() -> Any:
            with self.model.lock:
                if self.model.settle() not in {"TRAINED", "HOSTING_FAILED"}:
                    raise Refused("ConflictException")
                self.model.change("STARTING_HOSTING", self.model.script.get("start_seconds", 0.0))
                return pb.StartModelResponse(status=STATUSES[self.model.status])

        return self._perform("StartModel", request, context, act)

    def StopModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        def act() -> Any:
            with self.model.lock:
                if self.model.settle() != "HOSTED":  # only from RUNNING
                    raise Refused("ConflictException")
                self.model.change("STOPPING_HOSTING", self.model.script.get("stop_seconds", 0.0))
                return pb.StopModelResponse(status=STATUSES[self.model.status])

        return self._perform("StopModel", request, context, act)

    def DescribeModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        def act() -> Any:
            found = pb.ModelDescription(
                model_component=PROJECT,
                lookout_vision_model_arn=ARN,
                status=STATUSES[self.model.settle()],
            )
            return pb.DescribeModelResponse(model_description=found)

        return self._perform("DescribeModel", request, context, act)

    def ListModels(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        found = pb.ModelMetadata(model_component=PROJECT, lookout_vision_model_arn=ARN)
        return pb.ListModelsResponse(models=[found])

    def DetectAnomalies(self, request: Any, context: Any) -> Any:  # noqa: N802
        bitmap = request.bitmap
        handle = bitmap.shared_memory_handle
        pixels = bitmap.byte_data or shared(handle.name)[handle.offset :][: handle.size]

        def act() -> Any:
            if self.model.settle() != "HOSTED":
                raise Refused("ConflictException")
            if len(pixels) != bitmap.width * bitmap.height * 3:
                raise Refused("ValidationException")
            time.sleep(self.model.next_detect_seconds())
            return pb.DetectAnomaliesResponse(detect_anomaly_result=self._result(request, pixels))

        digest = hashlib.sha256(pixels).hexdigest()
        return self._perform("DetectAnomalies", request, context, act, sha256=digest)

    def _result(self, request: Any, pixels: bytes) -> Any:
        answer = standin.result_of(pixels)
        result = pb.DetectAnomalyResult(
            is_anomalous=answer["IsAnomalous"], confidence=answer["Confidence"]
        )
        if self.model.script.get("masks"):
            area = pb.PixelAnomaly(total_percentage_area=0.25, hex_color="#FF0000")
            result.anomalies.append(pb.Anomaly(name="crack", pixel_anomaly=area))
            width, height = request.bitmap.width, request.bitmap.height
            mask = b"\xff\x00\x00" * (width * height)
            result.anomaly_mask.width, result.anomaly_mask.height = width, height
            target = request.anomaly_mask_params.shared_memory_handle
            if target.name:
                memory = Path("/dev/shm") / target.name  # noqa: S108
                with memory.open("r+b") as file:
                    file.write(mask)
                result.anomaly_mask.shared_memory_handle.CopyFrom(target)
            else:
                result.anomaly_mask.byte_data = mask
        return result

    def _perform(
        self, operation: str, request: Any, context: Any, act: Callable[[], Any], **facts: Any
    ) -> Any:
        if request.model_component != PROJECT:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no component {request.model_component}")
        scripted = self.model.next_failure(operation)
        seconds = self.model.script.get("hang_seconds", 3.0)
        if scripted == "hang":
            self.model.record(operation, "hang", **facts)
            time.sleep(seconds)
            context.abort(grpc.StatusCode.UNKNOWN, "nothing was done")
        if scripted == "late":
            self.model.record(operation, "late", **facts)
            threading.Thread(target=self._do_late, args=(act,), daemon=True).start()
            time.sleep(seconds)
            context.abort(grpc.StatusCode.UNKNOWN, "it is done later")
        if scripted == "overtaken":
            self.model.host_by_other()
        if scripted in CODES:
            self.model.record(operation, scripted, **facts)
            context.abort(CODES[scripted], f"scripted {scripted}")
        try:
            answer = act()
        except Refused as refused:
            self.model.record(operation, str(refused), **facts)
            context.abort(CODES[str(refused)], f"the model is {self.model.status}")
        self.model.record(operation, "ok", **facts)
        if scripted == "lost":
            time.sleep(seconds)
        return answer

    def _do_late(self, act: Callable[[], Any]) -> None:
        self.model.released.wait()
        with suppress(Refused):
            act()


def shared(name: str) -> bytes:
    """The content of POSIX shared memory."""
    return (Path("/dev/shm") / name).read_bytes()  # noqa: S108


class Server(standin.Server):
    """The scripting server, and the agent."""

    agent: Any
    address: str

    def server_close(self) -> None:
        self.agent.stop(None).wait(5)
        super().server_close()


class Handler(standin.Handler):
    """The scripting server."""

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        if self.path == "/address":
            assert isinstance(self.server, Server)
            return self._answer(200, {"address": self.server.address})
        return super().do_GET()


def serve() -> Server:
    """An agent at a free port of this machine; the caller runs its scripting server."""
    model = standin.Model()
    agent = grpc.server(
        ThreadPoolExecutor(16),
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    )
    pb_grpc.add_EdgeAgentServicer_to_server(Agent(model), agent)
    port = agent.add_insecure_port("127.0.0.1:0")
    agent.start()
    server = Server(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"model": model}))
    server.agent, server.address = agent, f"tcp://127.0.0.1:{port}"
    return server
