"""Requests as the AWS SDK for Java v2 sends them; tests/sdks/test_java.py runs the SDK itself.

aws/aws-sdk-java-v2, with its Apache or URLConnection client, sends an image in one piece with its
Content-Length (AbstractStreamingRequestMarshaller), and no Expect, which it adds to PUT only
(ApacheHttpRequestFactory). It signs all headers but Connection, User-Agent, Expect and
X-Amzn-Trace-Id (V4CanonicalRequest), Content-Length and its own amz-sdk-... among them. It always
sends x-amz-content-sha256: over plain HTTP the digest of a body, UNSIGNED-PAYLOAD for a request
without one, and over TLS UNSIGNED-PAYLOAD for either (ChecksumUtil).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.service import Service, host, make_model, png, running
from tests.support.waiting import PLENTY, wait_until

PROJECTS = "/2020-11-20/projects"
KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that requires signatures, with a model that was hosted without them."""
    folder = tmp_path_factory.mktemp("java")
    with running(folder) as service:
        client = service.client()
        make_model(client, service, "java", masks=True)
        host(client, "java")
        service.stop()
        service.options["credentials"] = {KEY: SECRET}
        service.start()
        wait_until(lambda: _status(service) == "HOSTED", what="the model hosted again")
        yield service


def _status(service: Service) -> str:
    status: str = java(service, "GET", f"{PROJECTS}/java/models/1")[2]["ModelDescription"]["Status"]
    return status


def java(
    service: Service, method: str, path: str, body: bytes | None = None, **more: str
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and document of the answer to a request as that SDK sends it."""
    headers = {
        "amz-sdk-invocation-id": "2c1b2f0a-3f1a-4e7b-9a32-0a5c9e4f4b11",
        "amz-sdk-request": "attempt=1; max=4",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    if body is None:
        digest = "UNSIGNED-PAYLOAD"
    else:
        headers["Content-Length"] = str(len(body))
        digest = hashlib.sha256(body).hexdigest()
    url = f"http://127.0.0.1:{service.port}{path}"
    request = AWSRequest(
        method, url, data=body or b"", headers={**headers, "x-amz-content-sha256": digest}
    )
    SigV4Auth(Credentials(KEY, SECRET), "lookoutvision", "us-east-1").add_auth(request)
    assert ";content-length;" in request.headers["Authorization"] or body is None
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{service.port}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items() if name != "host"]
    lines += ["User-Agent: aws-sdk-java/2.29.0 md/io#sync md/http#Apache", "Connection: Keep-Alive"]
    with socket.create_connection(("127.0.0.1", service.port), timeout=PLENTY) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        connection.sendall(body or b"")
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        return (
            answer.status,
            {k.lower(): v for k, v in answer.getheaders()},
            json.loads(answer.read()),
        )


def test_requests_without_a_body(guarded: Service) -> None:
    status, _, document = java(guarded, "GET", f"{PROJECTS}/java")
    assert (status, document["ProjectDescription"]["ProjectName"]) == (200, "java")
    arn = "arn:aws:lookoutvision:us-east-1:000000000000:model/java/1"
    path = f"/2020-11-20/tags/{quote(arn, safe='')}"
    assert java(guarded, "GET", path)[::2] == (200, {"Tags": []})
    assert java(guarded, "DELETE", f"{path}?tagKeys=a&tagKeys=b%20c")[::2] == (200, {})
    status, headers, document = java(guarded, "DELETE", f"{PROJECTS}/gone", None)
    assert (status, headers["x-amzn-errortype"]) == (404, "ResourceNotFoundException")
    assert document["Message"] == "there is no project named gone"


def test_requests_with_json(guarded: Service) -> None:
    body = json.dumps({"ProjectName": "made-by-java"}).encode()
    more = {"Content_Type": "application/json", "X_Amzn_Client_Token": "6f1c4a6e-java"}
    first = java(guarded, "POST", PROJECTS, body, **more)
    assert first[0] == 200
    assert isinstance(first[2]["ProjectMetadata"]["CreationTimestamp"], float)
    assert java(guarded, "POST", PROJECTS, body, **more)[2] == first[2]


def test_image(guarded: Service) -> None:
    path = f"{PROJECTS}/java/models/1/detect"
    for bright in (True, False):
        body = png(bright=bright)
        status, _, document = java(guarded, "POST", path, body, Content_Type="image/png")
        assert status == 200
        assert document["DetectAnomalyResult"]["IsAnomalous"] is bright
    # The type of RequestBody.fromBytes, if the request names none.
    octets = "application/octet-stream"
    status, _, document = java(guarded, "POST", path, png(bright=True), Content_Type=octets)
    assert (status, document["DetectAnomalyResult"]["IsAnomalous"]) == (200, True)


@pytest.mark.parametrize("declared", ["0" * 64, "UNSIGNED-PAYLOAD"])
def test_body_is_still_checked(guarded: Service, declared: str) -> None:
    """As a proxy forwards it, which may have changed it."""
    body = b'{"ProjectName": "forged"}'
    url = f"http://127.0.0.1:{guarded.port}{PROJECTS}"
    request = AWSRequest("POST", url, data=body, headers={"x-amz-content-sha256": declared})
    SigV4Auth(Credentials(KEY, SECRET), "lookoutvision", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=PLENTY)
    headers = {**dict(request.headers.items()), "X-Forwarded-For": "192.0.2.1"}
    connection.request("POST", PROJECTS, body, headers)
    assert connection.getresponse().status == 403
    connection.close()
