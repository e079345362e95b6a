"""Messages of the Lookout for Vision Edge Agent, for this project's client and agent.

Sources: the service's archived developer guide and Amazon's samples. `edge_agent.proto` in this
folder defines the same messages. The sources differ in the field number of
`AnomalyMaskParams.shared_memory_handle`, 2 in the guide and 3 in the samples. Both are read and
written.
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
    """The agent's ModelStatus."""

    STOPPED = 0
    STARTING = 1
    RUNNING = 2
    FAILED = 3
    STOPPING = 4


@dataclass(frozen=True)
class SharedMemoryHandle(Message):
    """`size` bytes at `offset` of the POSIX shared memory `name`."""

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
        """The size of the pixels in bytes."""
        return self.width * self.height * 3


@dataclass(frozen=True)
class AnomalyMaskParams(Message):
    """Where the agent writes the mask."""

    shared_memory_handle: SharedMemoryHandle | None = field(2, SharedMemoryHandle)
    shared_memory_handle_of_samples: SharedMemoryHandle | None = field(3, SharedMemoryHandle)

    @classmethod
    def to(cls, handle: SharedMemoryHandle) -> AnomalyMaskParams:
        """Give the handle under both field numbers, for any agent."""
        return cls(handle, handle)

    @property
    def handle(self) -> SharedMemoryHandle | None:
        """The handle under either field number."""
        return self.shared_memory_handle or self.shared_memory_handle_of_samples


@dataclass(frozen=True)
class PixelAnomaly(Message):
    """An anomaly's pixels; `total_percentage_area` is a fraction of the image, 0 to 1."""

    total_percentage_area: float = field(1, FLOAT)
    hex_color: str = field(2, STRING)


@dataclass(frozen=True)
class Anomaly(Message):
    """An anomaly type that was found."""

    name: str = field(1, STRING)
    pixel_anomaly: PixelAnomaly | None = field(2, PixelAnomaly)


@dataclass(frozen=True)
class DetectAnomalyResult(Message):
    """A model's answer; only newer agents send score and threshold."""

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
    """The answer for one image."""

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
    """ModelDescription, and also ModelMetadata, which has the same fields."""

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
    """Round a 32-bit float to its significant digits: 0.93, not 0.9300000071525574."""
    return float(f"{value:.7g}") if math.isfinite(value) else value


def grpc_target(address: str) -> str:
    """Convert an agent's address to a gRPC target.

    Accepts ``unix:///FILE``, ``unix-abstract:NAME`` and ``tcp://HOST:PORT``; raises ValueError for
    anything else.
    """
    scheme, _, rest = address.partition(":")
    if scheme in {"unix", "unix-abstract"} and rest.strip("/"):
        return address
    if scheme == "tcp" and rest.startswith("//") and ":" in rest:
        return rest[2:]
    raise ValueError(
        f"{address!r} is not an edge agent's address; it must be unix:///FILE, "
        "unix-abstract:NAME or tcp://HOST:PORT"
    )
