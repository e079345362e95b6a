"""`lfv models package`, against a service whose engine trains at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lfv.client.clock import SYSTEM_CLOCK
from lfv.client.errors import PackagingFailed
from lfv.client.packaging import package_model
from lfv.client.staging import Staging
from lfv.server.archive import read_archive
from tests.cli.conftest import Lfv
from tests.support.service import BUCKET, Service, make_model, running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("service")) as started:
        make_model(started.client(), started, "parts")
        yield started


@pytest.fixture
def at_service(service: Service) -> list[str]:
    """The options that name the service."""
    return [
        *("--endpoint-url", service.url, "--staging", f"s3://{BUCKET}/out"),
        *("--bucket", f"{BUCKET}={service.bucket}"),
    ]


def test_a_model_version_becomes_a_file(
    lfv: Lfv,
    service: Service,
    at_service: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = lfv("models", "package", "parts", *at_service)
    assert (outcome.status, outcome.out) == (
        0,
        "version 1 of parts is in parts-1.zip; `lfv edge-agent parts-1.zip` serves it\n",
    )
    archived = read_archive(tmp_path / "parts-1.zip", tmp_path / "artifact")
    assert (archived.project_name, archived.version) == ("parts", 1)
    again = lfv("models", "package", "parts", "1", "-o", "again.zip", "--json", *at_service)
    told = again.json()
    assert (told["project"], told["model_version"], told["file"]) == ("parts", "1", "again.zip")
    whole = (tmp_path / "parts-1.zip").read_bytes()
    assert (tmp_path / "again.zip").read_bytes() == whole
    assert told["bytes"] == len(whole)
    assert not list((service.bucket / "out").rglob("*.zip"))


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        (["parts", "7"], 1, "has no model"),
        (["parts", "second"], 1, "has no version 'second'; `lfv models"),
        (["none"], 1, "none"),
        (["parts", "-o", "missing/parts.zip"], 2, "there is no folder missing; create it"),
        (["parts", "--staging", "s3://other/out"], 1, "s3://other/out"),
    ],
)
def test_a_packaging_failure_is_reported_in_one_sentence(
    lfv: Lfv,
    at_service: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = lfv("models", "package", *at_service, *given)
    assert outcome.status == status
    assert outcome.out == ""
    assert said in outcome.err.splitlines()[-1]
    assert not list(tmp_path.glob("*.zip"))


def test_only_models_of_the_api_are_packaged(lfv: Lfv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LFV_HOST", "edge")
    outcome = lfv("models", "package", "parts")
    assert outcome.status == 2
    assert "models on host edge cannot be packaged" in outcome.err
    monkeypatch.setenv("LFV_HOST", "lookoutvision")
    outcome = lfv("models", "package", "parts", "--endpoint-url", "http://127.0.0.1:9")
    assert outcome.status == 2
    assert "needs a bucket to write the archive to; name one with --staging" in outcome.err


def test_waiting_for_a_job_has_a_limit() -> None:
    class Client:
        def list_model_packaging_jobs(self, **_: Any) -> dict[str, Any]:
            return {"ModelPackagingJobs": []}

        def start_model_packaging_job(self, **_: Any) -> dict[str, Any]:
            return {"JobName": "parts-1"}

        def describe_model_packaging_job(self, **_: Any) -> dict[str, Any]:
            return {"ModelPackagingDescription": {"Status": "RUNNING"}}

    with pytest.raises(PackagingFailed, match=r"parts-1 is not done within 0 s; it continues"):
        package_model(Client(), "parts", "1", Staging("lfv"), timeout=0.0, clock=SYSTEM_CLOCK)
