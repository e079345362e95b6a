"""Facts of the protocol on which clients rely, such as the AWS SDK for Java.

They may wait for 100-continue before they send an image, or send it in chunks. They read an error's
type from a header and its members from the body. Times are seconds since 1970.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

from tests.support.service import Service, make_model, png
from tests.support.waiting import PLENTY

PROJECTS = "/2020-11-20/projects"


def test_continue_is_sent_before_the_body(service: Service, hosted: str) -> None:
    image = png()
    head = (
        f"POST {PROJECTS}/{hosted}/models/1/detect HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: image/png\r\nContent-Length: {len(image)}\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port), timeout=PLENTY) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(image)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert json.loads(answer.read())["DetectAnomalyResult"]["IsAnomalous"] is False


def test_body_in_chunks(service: Service, hosted: str) -> None:
    def chunks() -> Iterator[bytes]:
        image = png()
        for start in range(0, len(image), 10):
            yield image[start : start + 10]

    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PLENTY)
    path = f"{PROJECTS}/{hosted}/models/1/detect"
    headers = {"Content-Type": "image/png", "Transfer-Encoding": "chunked"}
    for _ in range(2):  # the connection stays usable
        connection.request("POST", path, chunks(), headers, encode_chunked=True)
        answer = connection.getresponse()
        assert answer.status == 200
        assert json.loads(answer.read())["DetectAnomalyResult"]["Source"] == {"Type": "direct"}
    connection.close()


def raw(service: Service, method: str, path: str, body: bytes = b"") -> tuple[Any, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PLENTY)
    connection.request(method, path, body)
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    return answer, document


def test_errors_are_in_header_and_body(service: Service) -> None:
    answer, document = raw(service, "GET", f"{PROJECTS}/not-there")
    assert answer.status == 404
    assert answer.headers["x-amzn-errortype"] == "ResourceNotFoundException"
    assert answer.headers["content-type"] == "application/json"
    assert document == {
        "Message": "there is no project named not-there",
        "ResourceId": "not-there",
        "ResourceType": "PROJECT",
    }


def test_times_are_seconds_since_1970(client: Any, service: Service, name: str) -> None:
    make_model(client, service, name)
    _, document = raw(service, "GET", f"{PROJECTS}/{name}/models/1")
    for member in ("CreationTimestamp", "EvaluationEndTimestamp"):
        moment = document["ModelDescription"][member]
        assert isinstance(moment, float)
        assert 0 <= time.time() - moment < 600


def test_every_answer_has_its_request_id(service: Service) -> None:
    ids = {raw(service, "GET", PROJECTS)[0].headers["x-amzn-requestid"] for _ in range(3)}
    assert len(ids) == 3


def test_unknown_members_are_ignored(service: Service, name: str) -> None:
    body = json.dumps({"ProjectName": name, "Newer": {"than": "this"}}).encode()
    answer, _ = raw(service, "POST", PROJECTS, body)
    assert answer.status == 200


def test_health(service: Service, hosted: str) -> None:
    _, document = raw(service, "GET", "/health")
    assert document["status"] == "ok"
    found = next(model for model in document["hosted"] if model["project"] == hosted)
    assert found == {"project": hosted, "version": "1", "units": 1, "in_hand": 0, "waiting": 0}
