"""A Lookout for Vision Edge Agent with this project's engine: the same gRPC service, without AWS.

Programs that were written for Amazon's agent work unchanged. The agent has the same five calls,
statuses and gRPC codes, with pixels and masks in messages or in POSIX shared memory.
"""

from __future__ import annotations

import io
import logging
import os
import queue
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from botocore import xform_name
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from PIL import Image

from lfv.engine.seam import ImageRejected, LoadedModel, load_engine
from lfv.formats import edge_agent_pb2 as pb
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.edge_agent import (
    MAX_SIDE,
    MIN_SIDE,
    PACKAGE,
    SERVICE,
    AgentStatus,
    grpc_target,
    size_in_bytes,
)
from lfv.server.archive import read_archive
from lfv.server.errors import OptionsError

_log = logging.getLogger(__name__)

_SHARED = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory
_MOST_OFFSET = 1 << 62
_SHARED_NAME = re.compile(r"/?[^/\0]{1,254}")
#: Names of the gRPC service. The second is from the agent's first release.
_SERVICES = (SERVICE, "InferenceServer")
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.so_reuseport", 0),  # else two agents could share a port, each with half of the calls
)
_WAITING = 64
#: How long running calls may take when the agent ends; then they are cancelled.
_GRACE_SECONDS = 5.0


class Refused(Exception):
    """A call is refused with a gRPC status code."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Component:
    """One model: stopped until it is started, then loaded in `workers` copies."""

    name: str
    arn: str
    artifact: Path
    engine: str
    workers: int
    status: AgentStatus = AgentStatus.STOPPED
    message: str = ""
    _idle: queue.SimpleQueue[LoadedModel] = field(default_factory=queue.SimpleQueue)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Load the model, and return when it is ready. Raises Refused."""
        with self._lock:
            if self.status not in {AgentStatus.STOPPED, AgentStatus.FAILED}:
                raise _wrong_state(self, "only a stopped or failed one can be started")
            self.status, self.message = AgentStatus.STARTING, ""
        idle: queue.SimpleQueue[LoadedModel] = queue.SimpleQueue()
        try:
            for _ in range(self.workers):
                idle.put(load_engine(self.engine).load(self.artifact, threads=1))
        except Exception as error:
            self.status, self.message = AgentStatus.FAILED, f"{type(error).__name__}: {error}"
            raise Refused(grpc.StatusCode.INTERNAL, self.message) from error
        self._idle = idle
        self.status = AgentStatus.RUNNING

    def stop(self) -> None:
        """Unload the model after its running calls have finished. Raises Refused."""
        with self._lock:
            if self.status is not AgentStatus.RUNNING:
                raise _wrong_state(self, "only a running one can be stopped")
            self.status = AgentStatus.STOPPING
        for _ in range(self.workers):
            self._idle.get()
        self.status = AgentStatus.STOPPED

    @contextmanager
    def model(self) -> Iterator[LoadedModel]:
        """Lend a copy of the model for exclusive use. Raises Refused."""
        if self.status is not AgentStatus.RUNNING:
            raise _wrong_state(self, "start it with StartModel")
        idle = self._idle
        try:
            model = idle.get(timeout=30)
        except queue.Empty:
            raise Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "too many images are waiting"
            ) from None
        try:
            yield model
        finally:
            idle.put(model)

    @property
    def description(self) -> dict[str, Any]:
        """The fields of the model's description, for DescribeModel and ListModels."""
        return {
            "model_component": self.name,
            "lookout_vision_model_arn": self.arn,
            "status": int(self.status),
            "status_message": self.message,
        }


class EdgeAgent:
    """Implements the five calls for a set of components, under their names in snake case."""

    def __init__(self, components: Sequence[Component]) -> None:
        self._components = {component.name: component for component in components}

    def start_all(self) -> None:
        """Start every model. Raises OptionsError if one cannot be started."""
        for component in self._components.values():
            try:
                component.start()
            except Refused as refused:
                raise OptionsError(f"model {component.name} cannot be started: {refused}") from None

    def start_model(self, request: pb.StartModelRequest) -> Message:
        component = self._component(request.model_component)
        component.start()
        return pb.StartModelResponse(status=int(component.status))

    def stop_model(self, request: pb.StopModelRequest) -> Message:
        component = self._component(request.model_component)
        component.stop()
        return pb.StopModelResponse(status=int(component.status))

    def list_models(self, _: pb.ListModelsRequest) -> Message:
        models = [pb.ModelMetadata(**one.description) for one in self._components.values()]
        return pb.ListModelsResponse(models=models)

    def describe_model(self, request: pb.DescribeModelRequest) -> Message:
        found = self._component(request.model_component).description
        return pb.DescribeModelResponse(model_description=pb.ModelDescription(**found))

    def detect_anomalies(self, request: pb.DetectAnomaliesRequest) -> Message:
        component = self._component(request.model_component)
        bitmap = request.bitmap
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in (bitmap.width, bitmap.height)):
            raise _invalid(
                f"the image is {bitmap.width}x{bitmap.height} pixels; {MIN_SIDE} to {MAX_SIDE} per "
                "side are accepted"
            )
        pixels = _pixels(bitmap)
        if len(pixels) != size_in_bytes(bitmap):
            raise _invalid(f"the image has {len(pixels):,} bytes instead of three per pixel")
        with component.model() as model:
            try:
                result = model.predict_pixels(pixels, bitmap.width, bitmap.height)
            except ImageRejected as error:
                raise _invalid(str(error)) from error
        target = _mask_handle(request.anomaly_mask_params)
        return pb.DetectAnomaliesResponse(detect_anomaly_result=_answer(result, target))

    def _component(self, name: str) -> Component:
        try:
            return self._components[name]
        except KeyError:
            known = ", ".join(sorted(self._components))
            message = f"there is no model component {name!r}; the components are {known}"
            raise Refused(grpc.StatusCode.NOT_FOUND, message) from None


def open_components(archives: Sequence[Path], folder: Path, workers: int) -> list[Component]:
    """Unpack models from archives into `folder`, and return them under their projects' names.

    Raises lfv.server.errors.ArchiveError, and OptionsError for two models of one project.
    """
    found: dict[str, Component] = {}
    for number, archive in enumerate(archives):
        artifact = folder / str(number)
        model = read_archive(archive, artifact)
        name = model.project_name
        if name in found:
            raise OptionsError(f"two archives contain a model of project {name}: give only one")
        arn = f"arn:aws:lookoutvision:local:000000000000:model/{name}/{model.version}"
        found[name] = Component(name, arn, artifact, "lfv.engine", workers)
    return list(found.values())


@contextmanager
def agent_server(agent: EdgeAgent, address: str, *, threads: int) -> Iterator[str]:
    """Serve at `address` until exit. Yields the address, with the actual port for TCP.

    Raises OptionsError if the address is unusable or in use.
    """
    try:
        target = grpc_target(address)
    except ValueError as error:
        raise OptionsError(str(error)) from None
    _refuse_taken(address)
    server = grpc.server(
        ThreadPoolExecutor(threads, thread_name_prefix="call"),
        maximum_concurrent_rpcs=_WAITING,  # beyond that, RESOURCE_EXHAUSTED
        options=_OPTIONS,
    )
    handlers = {
        name: _handler(method, getattr(agent, xform_name(name)))
        for name, method in pb.DESCRIPTOR.services_by_name[SERVICE].methods_by_name.items()
    }
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(f"{PACKAGE}.{service}", handlers)
            for service in _SERVICES
        ]
    )
    try:
        port = server.add_insecure_port(target)
    except RuntimeError as error:
        raise OptionsError(
            f"cannot listen on {address}; is another program there? ({error})"
        ) from None
    server.start()
    try:
        tcp = address.startswith("tcp:")
        yield f"tcp://{target.rpartition(':')[0]}:{port}" if tcp else address
    finally:
        if not server.stop(_GRACE_SECONDS).wait(2 * _GRACE_SECONDS):
            _log.warning("calls that were running did not end")
        if (path := _socket_file(address)) is not None:
            path.unlink(missing_ok=True)


def _handler(method: MethodDescriptor, call: Callable[[Any], Message]) -> grpc.RpcMethodHandler:
    kind = GetMessageClass(method.input_type)

    def answer(body: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return bytes(call(kind.FromString(body)).SerializeToString())
        except DecodeError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except Refused as refused:
            context.abort(refused.code, str(refused))
        except Exception as error:  # noqa: BLE001 (one call must not end the agent)
            _log.exception("%s failed", method.name)
            context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")
        raise AssertionError("abort raises")

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=bytes, response_serializer=bytes
    )


def _refuse_taken(address: str) -> None:
    """Raise OptionsError if a program listens at a Unix socket, which gRPC would take over."""
    path = _socket_file(address)
    if path is None or not path.exists():
        return
    if not path.is_socket():
        raise OptionsError(f"{path} exists and is not a socket; use another address")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:  # left by an agent that was killed
            return
    raise OptionsError(f"another program listens on {path}; stop it, or use another address")


def _socket_file(address: str) -> Path | None:
    scheme, _, rest = address.partition(":")
    return Path(re.sub("^/+", "/", rest)) if scheme == "unix" else None


def _mask_handle(params: pb.AnomalyMaskParams) -> pb.SharedMemoryHandle | None:
    """Return where to write the mask, under either field number; None: in the answer."""
    for name in ("shared_memory_handle", "shared_memory_handle_of_samples"):
        if params.HasField(name):
            return getattr(params, name)
    return None


def _pixels(bitmap: pb.Bitmap) -> bytes:
    if not bitmap.HasField("shared_memory_handle"):
        return bytes(bitmap.byte_data)
    handle, size = bitmap.shared_memory_handle, size_in_bytes(bitmap)
    if handle.size < size:
        raise _invalid(f"the image has {size:,} bytes, its shared memory only {handle.size:,}")
    descriptor = _open_shared(handle, os.O_RDONLY)
    try:
        pixels = os.pread(descriptor, size, handle.offset)
    finally:
        os.close(descriptor)
    if len(pixels) != size:
        raise _invalid(f"shared memory {handle.name!r} ends before the image does")
    return pixels


def _open_shared(handle: pb.SharedMemoryHandle, flags: int) -> int:
    if not _SHARED_NAME.fullmatch(handle.name) or handle.name.strip("/.") == "":
        raise _invalid(f"{handle.name!r} is not a valid name of shared memory")
    if handle.offset > _MOST_OFFSET:
        raise _invalid("the offset in shared memory is beyond any memory")
    try:
        path = _SHARED / handle.name.lstrip("/")
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise _invalid(
            f"shared memory {handle.name!r} cannot be opened: {error.strerror}"
        ) from error


def _answer(
    result: DetectAnomalyResult, target: pb.SharedMemoryHandle | None
) -> pb.DetectAnomalyResult:
    anomalies = [
        pb.Anomaly(
            name=anomaly.name,
            pixel_anomaly=pb.PixelAnomaly(
                total_percentage_area=anomaly.total_percentage_area, hex_color=anomaly.color
            ),
        )
        for anomaly in result.anomalies or ()
    ]
    mask = None
    if result.anomaly_mask is not None:
        image = Image.open(io.BytesIO(result.anomaly_mask)).convert("RGB")
        mask = _mask(image.width, image.height, image.tobytes(), target)
    return pb.DetectAnomalyResult(
        is_anomalous=result.is_anomalous,
        confidence=result.confidence,
        anomaly_mask=mask,
        anomalies=anomalies,
    )


def _mask(
    width: int, height: int, pixels: bytes, target: pb.SharedMemoryHandle | None
) -> pb.Bitmap:
    if target is None:
        return pb.Bitmap(width=width, height=height, byte_data=pixels)
    if target.size < len(pixels):
        raise _invalid(
            f"the mask has {len(pixels):,} bytes, its shared memory only {target.size:,}"
        )
    descriptor = _open_shared(target, os.O_WRONLY)
    try:
        if os.fstat(descriptor).st_size < target.offset + len(pixels):
            raise _invalid(f"shared memory {target.name!r} ends before the mask does")
        os.pwrite(descriptor, pixels, target.offset)
    finally:
        os.close(descriptor)
    handle = pb.SharedMemoryHandle(name=target.name, size=len(pixels), offset=target.offset)
    return pb.Bitmap(width=width, height=height, shared_memory_handle=handle)


def _invalid(message: str) -> Refused:
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)


def _wrong_state(component: Component, wanted: str) -> Refused:
    message = f"model {component.name} is {component.status.name}; {wanted}"
    return Refused(grpc.StatusCode.FAILED_PRECONDITION, message)
