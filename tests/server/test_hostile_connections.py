"""Connections with incomplete or contradictory requests."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from lfv.client.api import lookoutvision_client
from tests.support.service import Service, line, make_dataset, png
from tests.support.waiting import PLENTY, stretched, wait_until

PROJECTS = "/2020-11-20/projects"


def connected(service: Service, *, receive_buffer: int | None = None) -> socket.socket:
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(PLENTY)
    connection.connect(("127.0.0.1", service.port))
    return connection


def answers(connection: socket.socket) -> bytes:
    """All bytes until the service closes the connection."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


def is_ended(connection: socket.socket) -> bool:
    """Whether the service has ended it; a byte is sent to find out."""
    try:
        connection.sendall(b"x")
        connection.settimeout(0.05)
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/health"), ("GET", "/metrics"), ("POST", PROJECTS)]
)
def test_a_body_that_continues_after_its_answer(
    start: Callable[..., Service], method: str, path: str
) -> None:
    """Occasional bytes must not keep a connection open forever."""
    short = min(stretched(1), 3)  # a request of ours must not be late on a busy machine
    service = start(transport={"header_timeout": short, "body_timeout": short})
    with connected(service) as connection:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{{"
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 ")
        began = time.monotonic()
        wait_until(lambda: is_ended(connection), what="the end of the connection")
        assert time.monotonic() - began < 5 * short


def test_body_that_ends_after_its_answer_keeps_its_connection(
    start: Callable[..., Service],
) -> None:
    service = start(transport={"header_timeout": stretched(1), "body_timeout": PLENTY})
    with connected(service) as connection:
        for _ in range(2):
            connection.sendall(
                b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\n123"
            )
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert json.loads(answer.read())["status"] == "ok"
            connection.sendall(b"456")


def test_an_answer_that_is_not_read(start: Callable[..., Service]) -> None:
    """A client that requests much and reads nothing is disconnected."""
    service = start(transport={"body_timeout": 4})
    client = service.client()
    client.create_project(ProjectName="p")
    lines = [line(f"s3://test-bucket/{n}.png", note="x" * 7000) for n in range(100)]
    make_dataset(client, service, "p", lines, "train")
    path = f"{PROJECTS}/p/datasets/train/entries"
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with ExitStack() as stack:
        held = [stack.enter_context(connected(service, receive_buffer=4096)) for _ in range(4)]
        for connection in held:
            connection.sendall(request * 5)
        ports = {connection.getsockname()[1] for connection in held}
        wait_until(lambda: ports <= peers(service), what="the connections")
        wait_until(lambda: not ports & peers(service), what="the end of the connections")
        assert client.list_projects()["Projects"]


def peers(service: Service) -> set[int]:
    """Remote ports of its connections, except those that only the kernel still has."""
    assert service.process is not None
    table = Path(f"/proc/{service.process.pid}/net/tcp").read_text()
    rows = [row.split() for row in table.splitlines()[1:]]
    port = f":{service.port:04X}"
    return {
        int(row[2].rpartition(":")[2], 16)
        for row in rows
        if row[1].endswith(port) and row[9] != "0"
    }


def test_two_lengths_are_refused_and_end_the_connection(service: Service) -> None:
    """What follows could be smuggled past a proxy that believes the other length."""
    smuggled = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for path in (PROJECTS, "/health"):
        method = "POST" if path == PROJECTS else "GET"
        with connected(service) as connection:
            connection.sendall(
                f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
                "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode()
                + smuggled
            )
            received = answers(connection)
        assert received.startswith(b"HTTP/1.1 400 ")
        assert received.count(b"HTTP/1.1 ") == 1
        assert b"not both" in received


@pytest.mark.parametrize(
    "head",
    [
        b"POST /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: localhost\r\n folded: yes\r\n\r\n"[:-2] + b"\0: x\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: local\0host\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET " + b"/" * 2_000_000,
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 2_000_000,
        b"POST " + PROJECTS.encode() + b" HTTP/1.1\r\nHost: localhost\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffffffff\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_invalid_heads(service: Service, head: bytes) -> None:
    """Each is refused and ends its connection."""
    with connected(service) as connection:
        with suppress(OSError):  # it may have been ended before all was sent
            connection.sendall(head)
        received = answers(connection)
    assert received.count(b"HTTP/1.1 ") <= 1
    if received or len(head) < 65536:  # an answer is lost with what the service has not read
        assert b" 400 " in received.split(b"\r\n")[0]


def test_absolute_targets_are_refused(service: Service) -> None:
    for target in ("http://192.0.2.1/health", f"http://localhost{PROJECTS}", "*", "//health"):
        with connected(service) as connection:
            connection.sendall(
                f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            )
            assert b" 404 " in answers(connection).split(b"\r\n")[0]


def test_invalid_bytes_after_an_answer_are_not_logged(start: Callable[..., Service]) -> None:
    service = start()
    with connected(service) as connection:
        connection.sendall(
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert json.loads(answer.read())["status"] == "ok"
        connection.sendall(b"no chunk\r\n")
        assert answers(connection) == b""
    assert "Traceback" not in service.log


def test_refused_requests_take_no_memory(start: Callable[..., Service]) -> None:
    """Bodies of refused requests are not kept, so they use no memory of others."""
    service = start(transport={"bytes_in_hand": 4096}, credentials={"KEY": "secret"})
    head = f"POST {PROJECTS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n".encode()
    held = [connected(service) for _ in range(5)]
    for connection in held:
        connection.sendall(head + b"x" * 2000)
    assert _status(service, "GET", "/health") == (200, {"status": "ok", "hosted": []})
    late = connected(service)
    late.sendall(head + b"x" * 4000)
    assert b" 403 " in late.recv(65536)
    for connection in [*held, late]:
        connection.close()


def test_bytes_count_when_received(start: Callable[..., Service]) -> None:
    """Whatever length was announced, if any."""
    service = start(transport={"bytes_in_hand": 4096})
    head = f"POST {PROJECTS} HTTP/1.1\r\nHost: localhost\r\n"
    for told in ("Content-Length: 600", "Transfer-Encoding: chunked"):
        body = b"x" * 600 if "Length" in told else b"258\r\n" + b"x" * 600 + b"\r\n0\r\n\r\n"
        with connected(service) as connection:
            connection.sendall(f"{head}{told}\r\n\r\n".encode() + body)
            assert b" 429 " in connection.recv(65536)
    with connected(service) as connection:
        chunks = b'15\r\n{"ProjectName": "p1"}\r\n0\r\n\r\n'
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks)
        assert b" 200 " in connection.recv(65536)


def test_bodies_that_never_arrive_reserve_no_memory(start: Callable[..., Service]) -> None:
    """A client with a key's name, but not its secret, can announce bodies of any size."""
    service = start(transport={"bytes_in_hand": 16 << 20}, credentials={"KEY": "secret"})
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"KEY/{now[:8]}/us-east-1/lookoutvision/aws4_request"
    head = (
        f"POST {PROJECTS}/p/models/1/detect HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\n"
        f"X-Amz-Date: {now}\r\nContent-Type: image/png\r\nExpect: 100-continue\r\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential={scope}, "
        f"SignedHeaders=content-type;host;x-amz-date, Signature={'0' * 64}\r\n"
    )
    with ExitStack() as stack:
        for told in ("Transfer-Encoding: chunked", f"Content-Length: {8 << 20}"):
            for _ in range(2):
                connection = stack.enter_context(connected(service))
                connection.sendall(f"{head}{told}\r\n\r\n".encode())
                assert b" 100 " in connection.recv(65536)  # the service now waits for its body
        client = lookoutvision_client(service.url, session=boto3.Session("KEY", "secret"))
        stack.callback(client.close)
        client.create_project(ProjectName="p")
        assert client.list_projects()["Projects"]
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.detect_anomalies(
                ProjectName="p", ModelVersion="1", Body=bytes(1 << 20), ContentType="image/png"
            )


def test_images_leave_room_for_other_requests(start: Callable[..., Service]) -> None:
    service = start(transport={"bytes_in_hand": 80_000})
    client = service.client()
    client.create_project(ProjectName="p")

    def refusal() -> str:
        with pytest.raises(client.exceptions.ClientError) as caught:
            client.detect_anomalies(
                ProjectName="p", ModelVersion="1", Body=png(), ContentType="image/png"
            )
        code: str = caught.value.response["Error"]["Code"]
        return code

    assert refusal() == "ResourceNotFoundException"
    head = f"POST {PROJECTS}/p/models/1/detect HTTP/1.1\r\nHost: localhost\r\n"
    with ExitStack() as stack:

        def is_crowded() -> bool:
            # A new one each time: the small image may be what leaves no room for the large one.
            connection = stack.enter_context(connected(service))
            connection.sendall(f"{head}Content-Length: 90000\r\n\r\n".encode() + bytes(70_000))
            return refusal() == "ThrottlingException"

        wait_until(is_crowded)
        client.create_project(ProjectName="q")
        assert len(client.list_projects()["Projects"]) == 2
    wait_until(lambda: refusal() == "ResourceNotFoundException", what="the bytes to be released")


def _status(service: Service, method: str, path: str, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PLENTY)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()
