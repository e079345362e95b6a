"""The messages of the Lookout for Vision Edge Agent, which its clients and our own agent exchange.

Facts: the service's archived developer guide and Amazon's samples. `edge_agent.proto`, beside it,
says the same in protocol buffers' own language. Where the sources differ, both are read and
written: the number of `AnomalyMaskParams.shared_memory_handle` (2 in the guide, 3 in the samples).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from lfv.formats.protobuf import BOOL, BYTES, FLOAT, STRING, VARINT, Message, field

PACKAGE = "AWS.LookoutVision"
SERVICE = "EdgeAgent"
DEFAULT_ADDRESS = "unix:///tmp/aws.iot.lookoutvision.EdgeAgent.sock"
MIN_SIDE, MAX_SIDE = 64, 4096


class AgentStatus(IntEnum):
    """ModelStatus of the agent."""

    STOPPED = 0
    STARTING = 1
    RUNNING = 2
    FAILED = 3
    STOPPING = 4


@dataclass(frozen=True)
class SharedMemoryHandle(Message):
    """`size` bytes from `offset` on of POSIX shared memory `name`."""

    name: str = field(1, STRING)
    size: int = field(2, VARINT)
    offset: int = field(3, VARINT)


@dataclass(frozen=True)
class Bitmap(Message):
    """Interleaved RGB888 pixels, in the message or in shared memory."""

    width: int = field(1, VARINT)
    height: int = field(2, VARINT)
    byte_data: bytes = field(3, BYTES)
    shared_memory_handle: SharedMemoryHandle | None = field(4, SharedMemoryHandle)

    @property
    def size(self) -> int:
        """Bytes of its pixels."""
        return self.width * self.height * 3


@dataclass(frozen=True)
class AnomalyMaskParams(Message):
    """Where the mask is to be written."""

    shared_memory_handle: SharedMemoryHandle | None = field(2, SharedMemoryHandle)
    shared_memory_handle_of_samples: SharedMemoryHandle | None = field(3, SharedMemoryHandle)

    @classmethod
    def to(cls, handle: SharedMemoryHandle) -> AnomalyMaskParams:
        """For agents that know either number."""
        return cls(handle, handle)

    @property
    def handle(self) -> SharedMemoryHandle | None:
        """Whichever of the two was given."""
        return self.shared_memory_handle or self.shared_memory_handle_of_samples


@dataclass(frozen=True)
class PixelAnomaly(Message):
    """`total_percentage_area` is a fraction of the image, 0 to 1."""

    total_percentage_area: float = field(1, FLOAT)
    hex_color: str = field(2, STRING)


@dataclass(frozen=True)
class Anomaly(Message):
    """An anomaly type that was found."""

    name: str = field(1, STRING)
    pixel_anomaly: PixelAnomaly | None = field(2, PixelAnomaly)


@dataclass(frozen=True)
class DetectAnomalyResult(Message):
    """An answer; score and threshold come from newer agents only."""

    is_anomalous: bool = field(1, BOOL)
    confidence: float = field(2, FLOAT)
    anomaly_mask: Bitmap | None = field(3, Bitmap)
    anomalies: tuple[Anomaly, ...] = field(4, Anomaly, repeated=True)
    anomaly_score: float = field(5, FLOAT)
    anomaly_threshold: float = field(6, FLOAT)


@dataclass(frozen=True)
class DetectAnomaliesRequest(Message):
    """One image for one model."""

    model_component: str = field(1, STRING)
    bitmap: Bitmap | None = field(2, Bitmap)
    anomaly_mask_params: AnomalyMaskParams | None = field(3, AnomalyMaskParams)


@dataclass(frozen=True)
class DetectAnomaliesResponse(Message):
    """The answer for it."""

    detect_anomaly_result: DetectAnomalyResult | None = field(1, DetectAnomalyResult)


@dataclass(frozen=True)
class ModelRequest(Message):
    """StartModelRequest, StopModelRequest and DescribeModelRequest."""

    model_component: str = field(1, STRING)


@dataclass(frozen=True)
class StatusResponse(Message):
    """StartModelResponse and StopModelResponse."""

    status: int = field(1, VARINT)


@dataclass(frozen=True)
class ModelDescription(Message):
    """ModelDescription, and ModelMetadata, which has the same fields."""

    model_component: str = field(1, STRING)
    lookout_vision_model_arn: str = field(2, STRING)
    status: int = field(3, VARINT)
    status_message: str = field(4, STRING)


@dataclass(frozen=True)
class DescribeModelResponse(Message):
    """A model."""

    model_description: ModelDescription | None = field(1, ModelDescription)


@dataclass(frozen=True)
class ListModelsRequest(Message):
    """Nothing."""


@dataclass(frozen=True)
class ListModelsResponse(Message):
    """All models of the agent."""

    models: tuple[ModelDescription, ...] = field(1, ModelDescription, repeated=True)


#: (request, response) of each call.
CALLS: dict[str, tuple[type[Message], type[Message]]] = {
    "DetectAnomalies": (DetectAnomaliesRequest, DetectAnomaliesResponse),
    "StartModel": (ModelRequest, StatusResponse),
    "StopModel": (ModelRequest, StatusResponse),
    "ListModels": (ListModelsRequest, ListModelsResponse),
    "DescribeModel": (ModelRequest, DescribeModelResponse),
}


def round_float(value: float) -> float:
    """A 32-bit float as the decimal that was meant: 0.93, not 0.9300000071525574."""
    return float(f"{value:.7g}") if math.isfinite(value) else value


def grpc_target(address: str) -> str:
    """An agent's address as gRPC wants it. Raises ValueError.

    Takes ``unix:///FILE``, ``unix-abstract:NAME`` and ``tcp://HOST:PORT``.
    """
    scheme, _, rest = address.partition(":")
    if scheme in {"unix", "unix-abstract"} and rest.strip("/"):
        return address
    if scheme == "tcp" and rest.startswith("//") and ":" in rest:
        return rest[2:]
    raise ValueError(
        f"{address!r} is not the address of an edge agent: it is unix:///FILE, "
        "unix-abstract:NAME or tcp://HOST:PORT"
    )
