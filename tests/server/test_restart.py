"""What a service resumes after a restart or a crash; embedded services."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import (
    BUCKET,
    Service,
    detect,
    host,
    is_gone,
    line,
    make_dataset,
    make_model,
    model_in,
    png,
    put_images,
    running,
)
from tests.support.waiting import PLENTY, wait_until

OUTPUT = {"S3Location": {"Bucket": BUCKET}}


def children(service: Service) -> list[int]:
    assert service.process is not None
    tasks = Path(f"/proc/{service.process.pid}/task")
    return [int(p) for task in tasks.iterdir() for p in (task / "children").read_text().split()]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_hosted_model_is_hosted_again(start: Callable[..., Service], how: int) -> None:
    service = start()
    client = service.client()
    make_model(client, service, "p", order="heldload")
    may_load = service.home / "may-load"
    may_load.touch()
    client.tag_resource(
        ResourceArn="arn:aws:lookoutvision:us-east-1:000000000000:model/p/1",
        Tags=[{"Key": "k", "Value": "v"}],
    )
    host(client, "p", 2)
    units = children(service)
    code = service.stop(how)
    assert code == (-how if how == signal.SIGKILL else 0)
    for pid in units:
        wait_until(lambda pid=pid: is_gone(pid), what=f"end of unit {pid}")
    may_load.unlink()
    client = service.start().client()
    described = client.describe_model(ProjectName="p", ModelVersion="1")["ModelDescription"]
    assert described["Status"] == "SYSTEM_UPDATING"
    may_load.touch()
    described = model_in(client, "p", "HOSTED")
    assert described["MinInferenceUnits"] == 2
    assert described["Performance"]["F1Score"] == 1.0
    assert detect(client, "p", png())["IsAnomalous"] is False
    assert len(children(service)) == 2
    arn = described["ModelArn"]
    assert client.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    client.stop_model(ProjectName="p", ModelVersion="1")
    model_in(client, "p", "TRAINED")
    service.stop(how)
    client = service.start().client()
    assert model_in(client, "p", "TRAINED")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_training_is_restarted(start: Callable[..., Service], how: int) -> None:
    service = start()
    client = service.client()
    client.create_project(ProjectName="p")
    make_dataset(client, service, "p", put_images(service, "p/hold"), "train")
    client.create_model(ProjectName="p", OutputConfig=OUTPUT)
    for _ in range(3):
        wait_until(lambda client=client: "half way" in message(client))
        trainer = children(service)
        service.stop(how)
        for pid in trainer:
            wait_until(lambda pid=pid: is_gone(pid), what="end of the trainer")
        client = service.start().client()
    described = model_in(client, "p", "TRAINING_FAILED")
    assert "interrupted 3 times" in described["StatusMessage"]


def test_a_training_is_completed_after_a_crash(start: Callable[..., Service]) -> None:
    service = start()
    client = service.client()
    client.create_project(ProjectName="p")
    make_dataset(client, service, "p", put_images(service, "p/interrupted"), "train")
    client.create_model(ProjectName="p", OutputConfig=OUTPUT)
    (begun,) = wait_until(lambda: list(service.home.glob("models/*/begun-once")))
    service.stop(signal.SIGKILL)
    begun.with_name("begun").touch()
    client = service.start().client()
    assert model_in(client, "p", "TRAINED", "TRAINING_FAILED")["Status"] == "TRAINED"
    host(client, "p")
    assert detect(client, "p", png())["IsAnomalous"] is False


def message(client: Any) -> str:
    found = client.describe_model(ProjectName="p", ModelVersion="1")["ModelDescription"]
    text: str = found["StatusMessage"]
    return text


def test_a_state_folder_belongs_to_one_service(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    service = start()
    other = Service(tmp_path / "other", {"home": str(service.home)})
    other.folder.mkdir()
    assert other.launch().wait(PLENTY) == 2
    assert "another service is already running" in other.log


def test_newer_state_is_refused(start: Callable[..., Service]) -> None:
    service = start()
    service.stop()
    connection = sqlite3.connect(service.home / "service.db")
    connection.execute("UPDATE alembic_version SET version_num = '0999'")
    connection.commit()
    connection.close()
    assert service.launch().wait(PLENTY) == 2
    assert "has revision 0999, which this version of the service does not know" in service.log


def test_interrupted_jobs_are_finished(start: Callable[..., Service]) -> None:
    """A manifest, changes, a deletion and a packaging job that were under way at a crash."""
    service = start()
    client = service.client()
    make_model(client, service, "p")
    client.create_project(ProjectName="q")
    make_dataset(client, service, "q", put_images(service, "q"), "train")
    service.stop(signal.SIGKILL)
    manifest = line(f"s3://{BUCKET}/q/new.png")
    (service.bucket / "late.manifest").write_text(manifest)
    connection = sqlite3.connect(service.home / "service.db")
    with connection:
        connection.execute(
            "UPDATE datasets SET status = 'CREATE_IN_PROGRESS', source_key = 'late.manifest'"
            " WHERE project_id = 1"
        )
        connection.execute(
            "UPDATE datasets SET status = 'UPDATE_IN_PROGRESS', pending_changes = ?"
            " WHERE project_id = 2",
            [manifest.encode()],
        )
        connection.execute("UPDATE models SET status = 'DELETING'")
    connection.close()
    stray = service.home / "models" / "left-by-a-crash"
    stray.mkdir()
    client = service.start().client()
    wait_until(lambda: not client.list_models(ProjectName="p")["Models"])

    def statuses() -> list[str]:
        found = (client.describe_dataset(ProjectName=n, DatasetType="train") for n in "pq")
        return [answer["DatasetDescription"]["Status"] for answer in found]

    wait_until(lambda: statuses() == ["CREATE_COMPLETE", "UPDATE_COMPLETE"])
    assert list((service.home / "models").iterdir()) == []


@contextmanager
def shared_lock(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def test_embedded_service_ends_with_its_last_client(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    folder = tmp_path / "service"
    with shared_lock(lock), running(folder, exit_when_unused=str(lock)) as service:
        client = service.client()
        make_model(client, service, "p")
        host(client, "p")
        with shared_lock(lock):
            pass  # another client connects and leaves
        assert detect(client, "p", png())["IsAnomalous"] is False
        units = children(service)
        process = service.process
        assert process is not None
        os.kill(process.pid, 0)
        # The last client leaves: it held the outer lock.
        with lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
        assert process.poll() is None
    assert process.returncode == 0
    assert not service.ready_file.exists()
    for pid in units:
        wait_until(lambda pid=pid: is_gone(pid))
    # The next service finds the model trained, and does not host it.
    with shared_lock(lock):
        service.start()
        client = service.client()
        assert model_in(client, "p", "TRAINED")["Status"] == "TRAINED"
        client.close()
        service.clients.clear()
    assert service.process is not None
    assert service.process.wait(PLENTY) == 0


def test_embedded_training_ends_with_its_client(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    service = Service(tmp_path / "service", {"exit_when_unused": str(lock)})
    service.folder.mkdir()
    with shared_lock(lock):
        service.start()
        client = service.client()
        client.create_project(ProjectName="p")
        make_dataset(client, service, "p", put_images(service, "p/hold"), "train")
        client.create_model(ProjectName="p", OutputConfig=OUTPUT)
        wait_until(lambda: "half way" in message(client))
        client.close()
        service.clients.clear()
    assert service.process is not None
    assert service.process.wait(PLENTY) == 0
    with shared_lock(lock):
        service.start()
        client = service.client()
        described = model_in(client, "p", "TRAINING_FAILED")
        assert "the service ended during training" in described["StatusMessage"]
        service.close()
