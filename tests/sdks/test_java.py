"""The AWS SDK for Java v2, in its last release with Lookout for Vision, follows the guide."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import skip_or_fail
from tests.sdks.conftest import KEYS, install, run
from tests.support.service import BUCKET, Service, put_images, put_manifest, running
from tests.support.waiting import PLENTY

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parent / "java"
SIGNED = {"credentials": {KEYS["AWS_ACCESS_KEY_ID"]: KEYS["AWS_SECRET_ACCESS_KEY"]}}
EXPECTED = [
    "dataset: CREATE_COMPLETE",
    "trained: TRAINED",
    "hosted: HOSTED",
    "from a file: true",
    "from bytes: true",
    "listed: 1",
    "error: 404 PROJECT",
    "refused: ValidationException",
    "stopped: TRAINED",
]


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        skip_or_fail(f"there is no {name}")
    return str(found)


@pytest.fixture(scope="session")
def classes(installs: Path) -> str:
    """Class path of the client, built once by Maven."""
    folder = installs / "java"
    copy = [tool("cp"), "-r", PROJECT / "pom.xml", PROJECT / "src", folder]
    install(folder, [copy, [tool("mvn"), "-q", "-B", "package"]])
    return f"{folder}/target/client.jar:{folder}/target/libraries/*"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    with ExitStack() as stack:
        numbers = count()

        def begin(**options: Any) -> Service:
            return stack.enter_context(running(tmp_path / f"service-{next(numbers)}", **options))

        yield begin


@pytest.fixture
def tls(tmp_path: Path) -> tuple[dict[str, str], list[str]]:
    """Options of a service with TLS, and of a Java that trusts its certificate."""
    certificate, key, store = (tmp_path / name for name in ("tls.crt", "tls.key", "trust.p12"))
    request = [tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    request += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    trust = [tool("keytool"), "-importcert", "-noprompt", "-alias", "service"]
    trust += ["-storetype", "PKCS12", "-storepass", "changeit", "-keystore", str(store)]
    for command in (
        [*request, "-keyout", str(key), "-out", str(certificate)],
        [*trust, "-file", str(certificate)],
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=PLENTY)
    java = [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit"]
    return {"tls_certificate": str(certificate), "tls_key": str(key)}, java


def go_the_way(service: Service, classes: str, *java: str) -> list[str]:
    put_manifest(service, "java.manifest", put_images(service, "java", 8, masks=True))
    anomalous = service.bucket / "java" / "1.png"
    command: list[str | Path] = [tool("java"), *java, "-cp", classes, "lfv.Client"]
    command += [service.url, BUCKET, "with-java", "java.manifest", anomalous]
    return run(command, seconds=PLENTY).splitlines()


@pytest.mark.parametrize("options", [{}, SIGNED], ids=["without keys", "with keys"])
def test_plain_http(start: Callable[..., Service], classes: str, options: dict[str, Any]) -> None:
    assert go_the_way(start(**options), classes) == EXPECTED


@pytest.mark.parametrize("options", [{}, SIGNED], ids=["without keys", "with keys"])
def test_tls(
    start: Callable[..., Service],
    classes: str,
    tls: tuple[dict[str, str], list[str]],
    options: dict[str, Any],
) -> None:
    service_options, java_options = tls
    service = start(**options, **service_options)
    assert go_the_way(service, classes, *java_options) == EXPECTED


def test_wrong_key(start: Callable[..., Service], classes: str) -> None:
    with pytest.raises(AssertionError, match="does not match"):
        go_the_way(start(credentials={KEYS["AWS_ACCESS_KEY_ID"]: "other"}), classes)
