"""The service behind the documented nginx, at an address with a path."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config

from lfv.client.api import lookoutvision_client
from tests.conftest import skip_or_fail
from tests.support.processes import free_port
from tests.support.service import ROOT, Service, detect, host, make_model, png, running
from tests.support.waiting import PLENTY, wait_until

CONFIGURATION = ROOT / "deployments" / "nginx" / "lfv.conf"
KEYS = {"local": "local"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("service"), credentials=KEYS) as started:
        yield started


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        skip_or_fail("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "tls.crt", folder / "tls.key"
    command = [str(openssl), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=PLENTY)
    return certificate, key


@pytest.fixture(scope="module")
def address(
    service: Service, certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Address of the service as clients of nginx see it."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if nginx is None:
        skip_or_fail("there is no nginx")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    server = CONFIGURATION.read_text()
    for documented, here in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("127.0.0.1:4180", f"127.0.0.1:{service.port}"),
        ("/etc/lfv/tls.crt", str(certificate[0])),
        ("/etc/lfv/tls.key", str(certificate[1])),
    ):
        assert documented in server
        server = server.replace(documented, here)
    temporary = "".join(
        f"{name}_temp_path {folder};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{server}}}\n"
    )
    command = [str(nginx), "-p", str(folder), "-c", str(configuration), "-e", f"{folder}/error.log"]
    process = subprocess.Popen(command)
    try:

        def answers() -> bool:
            assert process.poll() is None, (folder / "error.log").read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(answers)
        yield f"https://127.0.0.1:{port}/lfv"
    finally:
        process.terminate()
        process.wait(PLENTY)


def client_at(
    address: str, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, secret: str
) -> Any:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate[0]))
    config = Config(retries={"total_max_attempts": 1}, read_timeout=PLENTY)
    return lookoutvision_client(address, config=config)


def test_a_project_through_nginx(
    address: str,
    service: Service,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with closing(client_at(address, certificate, monkeypatch, "local")) as client:
        make_model(client, service, "proxied")
        arn = client.describe_model(ProjectName="proxied", ModelVersion="1")
        arn = arn["ModelDescription"]["ModelArn"]
        client.tag_resource(ResourceArn=arn, Tags=[{"Key": "a b", "Value": "c"}])
        client.untag_resource(ResourceArn=arn, TagKeys=["a b"])
        host(client, "proxied")
        assert detect(client, "proxied", png(bright=True))["IsAnomalous"] is True
        client.stop_model(ProjectName="proxied", ModelVersion="1")


def test_a_wrong_key_through_nginx(
    address: str, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        closing(client_at(address, certificate, monkeypatch, "wrong")) as client,
        pytest.raises(client.exceptions.AccessDeniedException),
    ):
        client.list_projects()


def test_health_through_nginx_is_brief(address: str, certificate: tuple[Path, Path]) -> None:
    """Clients of the proxy are not programs of this machine, although the proxy is."""
    import ssl
    import urllib.request

    context = ssl.create_default_context(cafile=certificate[0])
    with urllib.request.urlopen(f"{address}/health", context=context, timeout=PLENTY) as answer:
        assert answer.read() == b'{"status":"ok"}'


def test_the_documentation_shows_the_tested_configuration() -> None:
    assert CONFIGURATION.read_text() in (ROOT / "docs" / "service.md").read_text()
