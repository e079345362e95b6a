"""Which requests are answered, and what no request can do."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError

from lfv.client.api import lookoutvision_client
from lfv.server.errors import OptionsError
from lfv.server.options import ServeOptions, read_credentials
from lfv.server.request_origin import is_from_here
from tests.support.service import Service, running
from tests.support.signing import KEY, PROJECTS, SECRET, signed
from tests.support.waiting import PLENTY, stretched


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("guarded")
    with running(folder, credentials={KEY: SECRET, "OTHER": "other"}) as service:
        yield service


@contextmanager
def signing(service: Service, key: str, secret: str, url: str | None = None) -> Iterator[Any]:
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret)
    config = Config(retries={"total_max_attempts": 1})
    client = lookoutvision_client(url or service.url, "eu-west-1", session=session, config=config)
    try:
        yield client
    finally:
        client.close()


def send(
    service: Service,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
) -> tuple[int, str, bytes]:
    """Status, error type and body of a request that no SDK would send."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PLENTY)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers.get("x-amzn-errortype", ""), answer.read()
    finally:
        connection.close()


def test_right_keys_are_answered(guarded: Service) -> None:
    for key, secret in ((KEY, SECRET), ("OTHER", "other")):
        with signing(guarded, key, secret) as client:
            client.create_project(ProjectName=f"signed-{key}")
            client.delete_project(ProjectName=f"signed-{key}")
            client.list_projects(MaxResults=5)
            # Encoded twice in what is signed: colons and slashes in the path, signs in the query.
            with pytest.raises(client.exceptions.ResourceNotFoundException):
                client.untag_resource(ResourceArn="arn:x:model/a b+c/1", TagKeys=["a=b+c d", "é/ü"])


@pytest.mark.parametrize(("key", "secret"), [(KEY, "wrong"), ("OTHER", SECRET), ("NONE", SECRET)])
def test_wrong_keys_are_not(guarded: Service, key: str, secret: str) -> None:
    with signing(guarded, key, secret) as client:
        with pytest.raises(client.exceptions.AccessDeniedException) as caught:
            client.list_projects()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_requests_changed_in_transit(guarded: Service) -> None:
    body = b'{"ProjectName": "changed"}'
    good = signed(guarded, "POST", PROJECTS, body)
    assert send(guarded, "POST", PROJECTS, good, body)[0] == 200
    denied = (403, "AccessDeniedException")
    assert send(guarded, "POST", PROJECTS, good, b'{"ProjectName": "chinged"}')[:2] == denied
    assert send(guarded, "GET", PROJECTS, good)[:2] == denied
    assert send(guarded, "DELETE", f"{PROJECTS}/changed", good)[:2] == denied
    listing = signed(guarded, "GET", f"{PROJECTS}?maxResults=1")
    assert send(guarded, "GET", f"{PROJECTS}?maxResults=1", listing)[0] == 200
    assert send(guarded, "GET", f"{PROJECTS}?maxResults=2", listing)[:2] == denied
    assert send(guarded, "POST", PROJECTS, {}, body)[:2] == denied
    assert send(guarded, "POST", PROJECTS, {"Authorization": "Bearer x"}, body)[:2] == denied
    other = signed(guarded, "GET", PROJECTS, name="s3")
    assert send(guarded, "GET", PROJECTS, other)[:2] == denied


def test_declared_digest_has_to_be_the_bodys(guarded: Service) -> None:
    body = b'{"ProjectName": "digest"}'
    wrong = {"X-Amz-Content-SHA256": "0" * 64}
    headers = signed(guarded, "POST", PROJECTS, body, wrong)
    status, code, answer = send(guarded, "POST", PROJECTS, headers, body)
    assert (status, code) == (403, "AccessDeniedException")
    assert b"x-amz-content-sha256" in answer
    for declared, why in (("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"chunks"),):
        headers = signed(guarded, "POST", PROJECTS, body, {"X-Amz-Content-SHA256": declared})
        status, code, answer = send(guarded, "POST", PROJECTS, headers, body)
        assert (status, code) == (403, "AccessDeniedException")
        assert why in answer


def test_a_clock_may_differ_by_minutes_only(
    guarded: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    import botocore.auth
    import botocore.compat

    real = botocore.compat.get_current_datetime
    for offset, status in ((-200, 200), (200, 200), (-400, 403), (400, 403)):
        from datetime import timedelta

        def shifted(
            remove_tzinfo: bool = True,
            offset: int = offset,
        ) -> Any:
            return real(remove_tzinfo) + timedelta(seconds=offset)

        monkeypatch.setattr(botocore.auth, "get_current_datetime", shifted)
        headers = signed(guarded, "GET", PROJECTS)
        assert send(guarded, "GET", PROJECTS, headers)[0] == status


def test_metrics_and_health_stay_open_on_this_machine(guarded: Service) -> None:
    status, _, answer = send(guarded, "GET", "/health")
    assert (status, json.loads(answer)) == (200, {"status": "ok", "hosted": []})
    assert send(guarded, "GET", "/metrics")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "192.0.2.1"},
        {"Forwarded": "for=192.0.2.1"},
        {"Via": "1.1 proxy"},
        {"Host": "service.example.com"},
        {"Origin": "http://evil.example"},
    ],
)
def test_other_machines_get_brief_answers(guarded: Service, headers: dict[str, str]) -> None:
    """Behind a proxy on this machine everybody has a loopback address."""
    status, _, answer = send(guarded, "GET", "/health", headers)
    assert (status, json.loads(answer)) == (200, {"status": "ok"})
    assert send(guarded, "GET", "/metrics", headers)[0] == 403


def test_open_metrics_are_served_to_other_machines(start: Callable[..., Service]) -> None:
    service = start(credentials={KEY: SECRET}, open_metrics=True)
    assert send(service, "GET", "/metrics", {"X-Forwarded-For": "192.0.2.1"})[0] == 200


def test_addresses_of_this_machine() -> None:
    for client, expected in (
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.0.2.1", False),
        ("192.0.2.1", False),
        ("", False),
    ):
        assert is_from_here({"client": (client, 1)}, {"host": "localhost"}) is expected


@pytest.mark.parametrize("name", ["X-Amzn-Client-Token", "X-Amz-Anything"])
def test_headers_that_matter_have_to_be_signed(guarded: Service, name: str) -> None:
    """Otherwise a third party could repeat a call as a new one."""
    good = signed(guarded, "GET", PROJECTS)
    status, code, answer = send(guarded, "GET", PROJECTS, {**good, name: "x"})
    assert (status, code) == (403, "AccessDeniedException")
    assert f"must cover the header {name.lower()}".encode() in answer
    assert send(guarded, "GET", PROJECTS, {**good, "X-Other": "x"})[0] == 200
    assert (
        send(guarded, "GET", PROJECTS, signed(guarded, "GET", PROJECTS, b"", {name: "x"}))[0] == 200
    )


def test_dates_must_be_complete(guarded: Service) -> None:
    """A scope with a shorter date would derive a key that is valid for longer."""
    good = signed(guarded, "GET", PROJECTS)
    today = good["X-Amz-Date"][:8]
    for scope in ("", today[:4], f"{today}T", "20200101"):
        headers = {
            **good,
            "Authorization": good["Authorization"].replace(f"/{today}/", f"/{scope}/"),
        }
        status, code, _ = send(guarded, "GET", PROJECTS, headers)
        assert (status, code) == (403, "AccessDeniedException")
    for date in ("", "yesterday", good["X-Amz-Date"][:-1], f"{today}T1Z"):
        status, code, _ = send(guarded, "GET", PROJECTS, {**good, "X-Amz-Date": date})
        assert (status, code) == (403, "AccessDeniedException")


def test_order_and_encoding_of_a_query_do_not_matter(guarded: Service) -> None:
    headers = signed(guarded, "GET", f"{PROJECTS}?a=1&a=0&b=%2F&maxResults=2")
    for query in ("maxResults=2&b=/&a=0&a=1", "b=%2f&a=1&maxResults=2&a=0"):
        assert send(guarded, "GET", f"{PROJECTS}?{query}", headers)[0] == 200
    for query in ("a=1&a=1&b=%2F&maxResults=2", "a=1&a=0&b=%252F&maxResults=2", "a=1&a=0&b=%2F"):
        assert send(guarded, "GET", f"{PROJECTS}?{query}", headers)[0] == 403


@pytest.mark.parametrize(
    "path", [f"{PROJECTS}/./x", f"{PROJECTS}//x", f"/x/..{PROJECTS}", "/2020-11-20/%70rojects"]
)
def test_paths_are_not_normalised(guarded: Service, path: str) -> None:
    """No path is changed into one that the signature would match."""
    for written in (path, PROJECTS):
        status, _, _ = send(guarded, "GET", path, signed(guarded, "GET", written))
        assert status in (403, 404)


def test_content_type_need_not_be_signed(guarded: Service) -> None:
    """The AWS SDK for JavaScript v2 never signs it."""
    good = signed(guarded, "GET", PROJECTS)
    assert send(guarded, "GET", PROJECTS, {**good, "Content-Type": "application/json"})[0] == 200


@pytest.mark.parametrize(
    ("proxied", "status"),
    [
        ({}, 200),
        ({"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}, 200),
        ({"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http"}, 403),
        ({"X-Forwarded-For": "192.0.2.1"}, 403),
        ({"Via": "1.1 proxy"}, 403),
    ],
)
def test_unsigned_body(guarded: Service, proxied: dict[str, str], status: int) -> None:
    """Accepted where nobody can change it: from this machine, and over TLS."""
    unsigned = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    headers = signed(guarded, "POST", PROJECTS, b"", unsigned) | proxied
    body = b'{"ProjectName": "x y"}'  # refused by the operation itself, once it gets there
    answered, code, _ = send(guarded, "POST", PROJECTS, headers, body)
    assert (answered, code) == (
        (400, "ValidationException") if status == 200 else (403, "AccessDeniedException")
    )
    headers = signed(guarded, "GET", PROJECTS, b"", unsigned) | proxied
    assert send(guarded, "GET", PROJECTS, headers)[0] == 200


def test_address_with_a_path(guarded: Service) -> None:
    """A proxy may keep the path, or remove it and send it in a header; the signature covers it."""
    at = f"/lfv/line-7{PROJECTS}"
    headers = signed(guarded, "GET", at)
    assert send(guarded, "GET", at, headers)[0] == 200
    assert (
        send(guarded, "GET", PROJECTS, {**headers, "X-Forwarded-Prefix": "/lfv/line-7"})[0] == 200
    )
    assert send(guarded, "GET", PROJECTS, {**headers, "X-Forwarded-Prefix": "/other"})[0] == 403
    assert send(guarded, "GET", PROJECTS, headers)[0] == 403


def test_other_machines_need_keys(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.0.2.1", "::", "example.org"):  # noqa: S104
        with pytest.raises(OptionsError, match="have to be signed"):
            ServeOptions(tmp_path, host=host).check()
    ServeOptions(tmp_path, host="0.0.0.0", credentials={KEY: SECRET}).check()  # noqa: S104
    service = Service(tmp_path, {"host": "0.0.0.0"})  # noqa: S104
    assert service.launch().wait(PLENTY) == 2
    assert "have to be signed" in service.log


def test_credentials_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(
        "[line-1]\naws_access_key_id = A\naws_secret_access_key = a%b\n"
        "[line-2]\naws_access_key_id = B\naws_secret_access_key = b\n"
    )
    assert read_credentials(file) == {"A": "a%b", "B": "b"}
    for text in ("", "nonsense", "[x]\naws_access_key_id = A\n"):
        file.write_text(text)
        with pytest.raises(OptionsError, match="credentials file"):
            read_credentials(file)
    with pytest.raises(OptionsError, match="credentials file"):
        read_credentials(tmp_path / "missing")


def test_web_pages_are_not_answered(service: Service) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Host": ""}):
        status, code, _ = send(service, "GET", PROJECTS, headers)
        assert (status, code) == (403, "AccessDeniedException")
        for page in ("/health", "/metrics"):
            status, code, _ = send(service, "GET", page, headers)
            assert (status, code) == (403, "AccessDeniedException")
    for host in ("localhost:80", "127.0.0.1", "[::1]:5", "lfv.localhost"):
        assert send(service, "GET", PROJECTS, {"Host": host})[0] == 200


def test_unknown_paths(service: Service) -> None:
    for method, path in (
        ("GET", "/"),
        ("PUT", PROJECTS),
        ("GET", f"{PROJECTS}/"),
        ("GET", "/2020-11-20/projects/a/b/c"),
        ("GET", "/2020-11-20/projects//datasets"),
        ("POST", "/etc/passwd"),
    ):
        status, code, _ = send(service, method, path)
        assert (status, code) == (404, "UnknownOperationException")
    assert send(service, "GET", PROJECTS)[0] == 200


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", b"not JSON"),
        (b"[]", b"not a JSON object"),
        (b"", b"must not be null"),
        (b'{"ProjectName": 1}', b"not a string"),
        (b'{"ProjectName": null}', b"must not be null"),
        (b'{"ProjectName": "\\ud800"}', b"not JSON"),
        (b"[" * 100_000, b"not JSON"),
        (b'{"ProjectName": "' + b"x" * 2_000_000 + b'"}', b"more than 1048576 bytes"),
    ],
)
def test_invalid_bodies(service: Service, body: bytes, why: bytes) -> None:
    status, code, answer = send(service, "POST", PROJECTS, {}, body)
    assert (status, code) == (400, "ValidationException")
    assert why in answer


def test_invalid_queries_and_headers(service: Service) -> None:
    for query in ("maxResults=x", "maxResults=1_0", "maxResults=1&maxResults=2", "maxResults=%ff"):
        assert send(service, "GET", f"{PROJECTS}?{query}")[:2] == (400, "ValidationException")
    many = "&".join(f"a{n}=1" for n in range(400))
    assert send(service, "GET", f"{PROJECTS}?{many}")[:2] == (400, "ValidationException")
    assert send(service, "GET", f"{PROJECTS}/%ff")[:2] == (400, "ValidationException")
    zipped = {"Content-Encoding": "gzip"}
    assert send(service, "POST", PROJECTS, zipped, b"x")[:2] == (400, "ValidationException")


def test_slow_connections_end(start: Callable[..., Service]) -> None:
    short = min(stretched(1), 3)  # a request of ours must not be late on a busy machine
    service = start(transport={"header_timeout": short, "body_timeout": short, "connections": 5})
    for sent in (b"", b"GET / HT", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: "):
        with socket.create_connection(("127.0.0.1", service.port), timeout=PLENTY) as connection:
            connection.sendall(sent)
            began = time.monotonic()
            assert connection.recv(100) == b"" or sent == b""
            assert time.monotonic() - began < 5 * short
    with socket.create_connection(("127.0.0.1", service.port), timeout=PLENTY) as connection:
        connection.sendall(
            b"POST /2020-11-20/projects HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
        )
        answer = connection.recv(2000)
        assert b" 400 " in answer
        assert b"ValidationException" in answer
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PLENTY)
    for _ in range(2):  # one in use may stay idle between requests
        connection.request("GET", "/health")
        assert connection.getresponse().read()
        time.sleep(1.4 * short)
    connection.close()
    held = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(8)]
    for one in held:
        one.close()
    client = service.client(retries={"total_max_attempts": 3})
    client.list_projects()


def test_parallel_large_bodies_are_bounded(start: Callable[..., Service]) -> None:
    service = start(transport={"bytes_in_hand": 1024})
    status, code, _ = send(service, "POST", PROJECTS, {}, b'{"ProjectName": "%s"}' % (b"x" * 2000))
    assert (status, code) == (429, "ThrottlingException")
    assert send(service, "POST", PROJECTS, {}, b'{"ProjectName": "small"}')[0] == 200


def test_service_listens_on_loopback_only(service: Service) -> None:
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
    for address in addresses - {"127.0.0.1", "::1"}:
        if str(address).startswith("127."):
            continue
        client = lookoutvision_client(
            f"http://{address}:{service.port}",
            session=boto3.Session(aws_access_key_id="a", aws_secret_access_key="b"),
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2),
        )
        with pytest.raises(EndpointConnectionError):
            client.list_projects()
        client.close()
