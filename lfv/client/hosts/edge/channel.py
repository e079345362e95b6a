"""Calls an edge agent over gRPC and translates its errors."""

from __future__ import annotations

from operator import methodcaller
from typing import Any

from google.protobuf.message import DecodeError, Message

from lfv.client.errors import (
    HostAccessDenied,
    HostConflict,
    HostError,
    HostRejected,
    HostThrottled,
    HostTimeout,
    HostUnavailable,
    HostUnreachable,
    ModelNotFound,
)
from lfv.formats.edge_agent import PACKAGE, grpc_target
from lfv.formats.edge_agent_pb2 import DESCRIPTOR

_BY_CODE: dict[str, type[HostError]] = {
    "UNAVAILABLE": HostUnreachable,
    "DEADLINE_EXCEEDED": HostTimeout,
    "CANCELLED": HostTimeout,
    "RESOURCE_EXHAUSTED": HostThrottled,
    "FAILED_PRECONDITION": HostConflict,
    "ABORTED": HostConflict,
    "ALREADY_EXISTS": HostConflict,
    "NOT_FOUND": ModelNotFound,
    "INVALID_ARGUMENT": HostRejected,
    "OUT_OF_RANGE": HostRejected,
    "UNIMPLEMENTED": HostRejected,
    "PERMISSION_DENIED": HostAccessDenied,
    "UNAUTHENTICATED": HostAccessDenied,
}
_OPTIONS = (
    # An image of 4096x4096 pixels has 48 MiB; gRPC's default limit is 4 MiB.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    # Reconnect to a restarted agent within seconds, not after minutes of growing pauses.
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class AgentChannel:
    """Connections to one agent. Thread-safe. The constructor raises HostRejected."""

    def __init__(self, address: str, service: str) -> None:
        try:
            import grpc
        except ImportError as error:
            raise HostRejected(
                "An edge agent needs gRPC, which is not installed: "
                "pip install 'lfv-pipeline[edge]'."
            ) from error
        try:
            target = grpc_target(address)
        except ValueError as error:
            raise HostRejected(f"{error}.") from None
        self.address = address
        self._service = service
        self._grpc: Any = grpc
        self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        self._calls = {
            name: self._channel.unary_unary(
                f"/{PACKAGE}.{service}/{name}",
                request_serializer=methodcaller("SerializeToString"),
                response_deserializer=bytes,
            )
            for name in DESCRIPTOR.services_by_name["EdgeAgent"].methods_by_name
        }

    def call(self, name: str, request: Message, kind: type[Message], timeout: float) -> Any:
        """Return the answer, of this `kind`, to one call without retries.

        `timeout` is in seconds. Raises HostError.
        """
        try:
            answer = self._calls[name](request, timeout=timeout)
        except self._grpc.RpcError as error:
            raise self._failure(error, name) from error
        try:
            return kind.FromString(answer)
        except DecodeError as error:
            raise HostUnavailable(
                f"{self.address} did not answer {name} like an edge agent: {error}.",
                operation=name,
            ) from error

    def _failure(self, error: Any, name: str) -> HostError:
        code = str(error.code().name)
        said = " ".join(str(error.details() or "no explanation").split()).rstrip(".!")
        if code == "UNAVAILABLE" and "HTTP/2" in said:
            message = f"The program at {self.address} is not an edge agent: it does not use gRPC."
        elif code == "UNAVAILABLE":
            # gRPC's text ends with the reason: "connect failed: ... error: Connection refused".
            message = f"There is no edge agent at {self.address} ({said.rpartition(': ')[2]})."
        elif code == "DEADLINE_EXCEEDED":
            message = f"The edge agent at {self.address} did not answer {name} in time."
        elif code == "UNIMPLEMENTED":
            message = (
                f"The program at {self.address} is not an edge agent with service "
                f"{self._service}: {said[:300]}."
            )
        else:
            message = f"{name} failed with {code}: {said[:300]}."
        return _BY_CODE.get(code, HostUnavailable)(message, operation=name)

    def close(self) -> None:
        """Close the connections."""
        self._channel.close()
