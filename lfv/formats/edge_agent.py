"""Facts about the Lookout for Vision Edge Agent, for this project's client and agent.

Sources: the service's archived developer guide and Amazon's samples. The messages are defined in
`edge_agent.proto`; `edge_agent_pb2` is generated from it, and imported only where an agent is
called or served, because it takes 20 ms.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lfv.formats.edge_agent_pb2 import Bitmap

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


def size_in_bytes(bitmap: Bitmap) -> int:
    """Return the size of a bitmap's pixels."""
    return int(bitmap.width * bitmap.height * 3)


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
