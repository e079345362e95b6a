"""Amazon's unchanged clients, in environments that pytest's cache keeps."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from tests.support.installs import INSTALL_SECONDS, install, npm_install
from tests.support.service import Service, running

DRIVERS = Path(__file__).parent / "drivers"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.clients)
            item.add_marker(pytest.mark.timeout(INSTALL_SECONDS + 120))


def environment(**more: str) -> dict[str, str]:
    """An environment without this machine's AWS configuration."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PYTHON"))}
    return {
        **kept,
        **KEYS,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        **more,
    }


def run(command: Sequence[str | Path], *, seconds: float = 120, **more: str) -> str:
    """Return a client's standard output; fail with all its output."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=seconds,
        env=environment(**more),
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def installs(pytestconfig: pytest.Config) -> Path:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return pytestconfig.cache.mkdir("clients") / f"python{version}"


def _venv(folder: Path, *packages: str) -> Path:
    pip = [folder / "venv" / "bin" / "python", "-m", "pip"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    install(
        folder,
        [
            [sys.executable, "-m", "venv", folder / "venv"],
            [*pip, "install", *quiet, *packages],
        ],
    )
    return folder / "venv"


@pytest.fixture(scope="session")
def amazon(installs: Path) -> Path:
    """A venv with the last AWS CLI and boto3 that know the service."""
    return _venv(installs / "amazon", "awscli==1.42.60", "boto3==1.40.60", "botocore==1.40.60")


@pytest.fixture(scope="session")
def awslabs(installs: Path) -> Path:
    """A venv with awslabs' SDK of 2022 and the last boto3 that knows the service."""
    return _venv(
        installs / "awslabs",
        "lookoutvision==0.1.10",
        "boto3==1.40.60",
        "botocore==1.40.60",
    )


@pytest.fixture(scope="session")
def node_modules(installs: Path) -> Path:
    """A folder with the JavaScript SDK's client in its node_modules."""
    return npm_install(installs / "javascript", "@aws-sdk/client-lookoutvision@3.918.0")


@pytest.fixture(scope="session")
def node_modules_v2(installs: Path) -> Path:
    """A folder with version 2 of the JavaScript SDK in its node_modules."""
    return npm_install(installs / "javascript-v2", "aws-sdk@2.1693.0")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that checks every signature."""
    keys = {"test": "test", "local": "local"}
    with running(tmp_path_factory.mktemp("clients"), credentials=keys) as started:
        yield started


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Address of an S3."""
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_service(tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A service that has its buckets in that S3."""
    for key, value in KEYS.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    keys = {"test": "test"}
    options = {"s3": True, "s3_endpoint_url": s3, "buckets": {}, "credentials": keys}
    with running(tmp_path / "service", **options) as started:
        yield started
