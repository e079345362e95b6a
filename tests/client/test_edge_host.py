"""EdgeAgentHost and its messages, against code that protoc generates from the .proto."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_tools import protoc
from PIL import Image

from lfv.client.clock import Backoff
from lfv.client.errors import (
    HostError,
    HostRejected,
    HostUnavailable,
    HostUnreachable,
    ModelNotFound,
)
from lfv.client.hosting import ensure_hosted, ensure_stopped
from lfv.client.hosts import HostSpec, Units
from lfv.client.hosts.edge import EdgeAgentHost
from lfv.client.hosts.edge.channel import AgentChannel
from lfv.client.hosts.edge.memory import remove_abandoned, shared_memory
from lfv.client.hosts.edge.pixels import to_png, to_rgb888
from lfv.client.retry import RetryPolicy
from lfv.formats.errors import ResponseInvalid
from tests.client.conftest import ScriptedApi
from tests.support import standin
from tests.support.edge_standin import Agent
from tests.support.edge_stubs import PROTO, pb, pb_grpc
from tests.support.endpoints import Endpoint, endpoint_in_thread
from tests.support.waiting import PLENTY

QUICK = Backoff(0.02, 1.0, 0.02)
ONCE = RetryPolicy(attempts=1)


# -- messages --


def test_the_messages_are_generated_from_the_proto(tmp_path: Path) -> None:
    arguments = [f"-I{PROTO.parent}", f"--python_out={tmp_path}", PROTO.name]
    assert protoc.main(["protoc", *arguments]) == 0
    generated = (tmp_path / "edge_agent_pb2.py").read_text()
    assert PROTO.with_name("edge_agent_pb2.py").read_text() == generated, "run `make proto`"


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05ab", b"\x08", b"\xff" * 12, b"\x0b"])
def test_an_answer_that_is_not_a_message_is_reported(data: bytes) -> None:
    channel = AgentChannel("tcp://localhost:9", "X")
    channel._calls["DescribeModel"] = lambda _, timeout: data  # noqa: ARG005
    with pytest.raises(HostUnavailable, match="did not answer DescribeModel like an edge agent"):
        channel.call("DescribeModel", pb.DescribeModelRequest(), pb.DescribeModelResponse, 1.0)
    channel.close()


@pytest.mark.parametrize(
    "command",
    ["import lfv.cli.edge_agent, lfv.client.hosts, lfv.client.catalog", "import lfv.run.start"],
)
def test_only_what_uses_an_agent_imports_protobuf(command: str) -> None:
    check = f"{command}; import sys; sys.exit('google.protobuf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


# -- pixels --


def test_pixels_are_interleaved_rgb() -> None:
    image = Image.new("RGB", (64, 64), (1, 2, 3))
    image.putpixel((1, 0), (4, 5, 6))
    width, height, pixels = to_rgb888(make_png(image))
    assert (width, height, pixels[:6]) == (64, 64, bytes([1, 2, 3, 4, 5, 6]))


def make_png(image: Image.Image) -> bytes:
    import io

    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16", "1", "LA"])
def test_every_kind_of_image_becomes_rgb(mode: str) -> None:
    assert len(to_rgb888(make_png(Image.new(mode, (64, 70))))[2]) == 64 * 70 * 3


def test_an_image_beyond_the_agent_s_limits_is_refused() -> None:
    with pytest.raises(HostRejected, match="64 to 4096"):
        to_rgb888(make_png(Image.new("RGB", (63, 64))))


def test_a_mask_of_another_size_is_invalid() -> None:
    assert to_png(1, 1, b"abc").startswith(b"\x89PNG")
    with pytest.raises(ResponseInvalid):
        to_png(2, 1, b"abc")


# -- the host --


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with endpoint_in_thread("edge") as endpoint:
        yield endpoint


def host_of(address: str, version: str = "latest", **options: Any) -> EdgeAgentHost:
    spec = HostSpec("edge", "parts", version, address, None, options)
    return EdgeAgentHost(spec, retries=ONCE)


@pytest.mark.parametrize("shared_memory", ["true", "false"])
def test_masks_become_png_in_the_same_colours(
    endpoint: Endpoint, png: bytes, shared_memory: str
) -> None:
    import io

    before = set(Path("/dev/shm").glob("lfv-*"))  # noqa: S108
    endpoint.script(masks=True)
    host = host_of(endpoint.address, shared_memory=shared_memory)
    ensure_hosted(host, Units(1), "t", timeout=PLENTY, poll=QUICK)
    result = host.detect(png, "image/png").result
    assert result.anomalies is not None
    assert [(one.name, one.total_percentage_area, one.color) for one in result.anomalies] == [
        ("crack", 0.25, "#FF0000")
    ]
    assert result.anomaly_mask is not None
    mask = Image.open(io.BytesIO(result.anomaly_mask)).convert("RGB")
    assert (mask.size, mask.getpixel((3, 3))) == ((64, 64), (255, 0, 0))
    assert set(Path("/dev/shm").glob("lfv-*")) == before  # noqa: S108
    host.close()


@pytest.mark.parametrize("address", ["unix://{folder}/agent.sock", "unix-abstract:lfv-test-{name}"])
def test_agents_at_unix_sockets_are_reached(tmp_path: Path, address: str, png: bytes) -> None:
    address = address.format(folder=tmp_path, name=tmp_path.name)
    model = standin.Model()
    server = grpc.server(ThreadPoolExecutor(4))
    pb_grpc.add_EdgeAgentServicer_to_server(Agent(model), server)
    server.add_insecure_port(address)
    server.start()
    try:
        host = host_of(address)
        ensure_hosted(host, Units(1), "t", timeout=PLENTY, poll=QUICK)
        assert host.detect(png, "image/png").result.confidence > 0
        host.close()
    finally:
        server.stop(None).wait()


def test_a_component_holds_one_version(endpoint: Endpoint) -> None:
    assert host_of(endpoint.address).spec.model_version == "1"
    endpoint.script(hosted=True)
    replaced = host_of(endpoint.address, "7")
    with pytest.raises(ModelNotFound, match="version 1, not 7"):
        replaced.describe()
    ensure_stopped(replaced, "stop", timeout=PLENTY)  # what we started is gone
    assert endpoint.calls("StopModel") == []


def test_a_stop_can_start_while_the_agent_is_down(tmp_path: Path) -> None:
    host = host_of(f"unix://{tmp_path}/none.sock", "1")
    with pytest.raises(HostUnreachable) as caught:
        host.stop("stop")
    assert caught.value.retryable


def test_a_missing_agent_is_reported(tmp_path: Path) -> None:
    reason = r"There is no edge agent at unix:/.*/none.sock \(No such file or directory\)\.$"
    with pytest.raises(HostUnreachable, match=reason):
        host_of(f"unix://{tmp_path}/none.sock")


def test_a_socket_of_another_program_is_reported(tmp_path: Path, api: ScriptedApi) -> None:
    with pytest.raises(HostError, match="tcp://"):
        host_of("tcp://" + api.url.partition("://")[2])
    path = tmp_path / "other.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def hang_up() -> None:
            while True:
                try:
                    connection, _ = other.accept()
                except OSError:
                    return
                connection.sendall(b"hello, this is something else\n")
                connection.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        with pytest.raises(HostError, match=r"There is no edge agent at|is not an edge agent"):
            host_of(f"unix://{path}")
        other.shutdown(socket.SHUT_RDWR)
    thread.join(PLENTY)


@pytest.mark.parametrize(
    ("code", "details", "said"),
    [
        (
            "UNAVAILABLE",
            "failed to connect; last error: UNKNOWN: ipv4:127.0.0.1:9: Connection refused",
            "There is no edge agent at tcp://localhost:9 (Connection refused).",
        ),
        (
            "UNAVAILABLE",
            "last error: ipv4:127.0.0.1:9: Failed parsing HTTP/2 (Expected SETTINGS frame)",
            "The program at tcp://localhost:9 is not an edge agent: it does not use gRPC.",
        ),
        (
            "UNIMPLEMENTED",
            "Not found!",
            "The program at tcp://localhost:9 is not an edge agent with service X: Not found.",
        ),
    ],
)
def test_a_wrong_address_is_reported_in_one_sentence(code: str, details: str, said: str) -> None:
    class Error:
        def code(self) -> Any:
            return grpc.StatusCode[code]

        def details(self) -> str:
            return details

    channel = AgentChannel("tcp://localhost:9", "X")
    assert str(channel._failure(Error(), "DescribeModel")) == said
    channel.close()


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "unix:", "tcp://host", "agent"])
def test_an_invalid_address_is_refused(address: str) -> None:
    with pytest.raises(HostRejected, match="unix-abstract:NAME"):
        host_of(address)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"memory": "x"}, "no option 'memory'"),
        ({"shared_memory": "perhaps"}, "true or false"),
        ({"read_timeout": "soon"}, "not a number"),
    ],
)
def test_an_invalid_option_is_reported(
    endpoint: Endpoint, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(HostRejected, match=says):
        host_of(endpoint.address, **options)


SHARED = Path("/dev/shm")  # noqa: S108 - where Linux keeps it
LEAVING = """
import os, signal
from lfv.client.hosts.edge.memory import shared_memory
with shared_memory(4096) as (handle, _):
    print(handle.name, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_shared_memory_of_a_killed_run_is_removed_and_that_in_use_is_not() -> None:
    killed = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, check=False)
    left = SHARED / killed.stdout.decode().strip()
    assert left.is_file()
    with shared_memory(4096) as (used, _):
        remove_abandoned()
        assert not left.exists()
        assert (SHARED / used.name).exists()
    assert not (SHARED / used.name).exists()


def test_a_lack_of_shared_memory_is_not_recorded_for_the_image() -> None:
    with pytest.raises(HostUnavailable, match="cannot be allocated"), shared_memory(1 << 60):
        pass
