"""A disk that is full or nearly so."""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lfv.server.buckets import Buckets
from lfv.server.home import Home
from lfv.server.jobs import training_images
from lfv.server.jobs.context import JobContext
from lfv.server.lifecycle import ModelStatus
from tests.support.recorded_world import REF, World
from tests.support.service import ROOT, Service, line, put_images
from tests.support.waiting import PLENTY


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = World(tmp_path)
    yield made
    made.close()


class Disk(NamedTuple):
    total: int
    used: int
    free: int


def test_images_that_do_not_fit_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before they fill the disk, with the needed and the free space."""
    lines = put_images(world.service, "images", 100)
    size = (world.service.bucket / "images" / "0.png").stat().st_size
    copied: list[int] = []

    def disk(folder: Path) -> Disk:
        copied.append(len(list(folder.iterdir())))
        return Disk(1 << 40, 0, (64 << 20) + 30 * size)

    monkeypatch.setattr(training_images.shutil, "disk_usage", disk)
    world.add_training(world.context(threading.Event()), lines).run("id")
    model = world.model()
    assert model.status == ModelStatus.TRAINING_FAILED
    assert model.message.startswith("Training failed: the 100 images need about 0.0 MiB")
    assert "has 64.0 MiB free, of which 64.0 MiB are reserved" in model.message
    assert 16 <= max(copied) <= 22  # four are copied at a time
    assert not world.home.model("id").exists()


def test_full_disk_is_named(world: World) -> None:
    class Full(Buckets):
        def read(self, *_: Any) -> bytes:
            raise OSError(errno.ENOSPC, "No space left on device")

    context = world.context(threading.Event())
    full = JobContext(world.database, Full({}, s3=False), world.home, context.limits)
    world.add_training(full, [line(f"{REF}/1.png")]).run("id")
    assert world.model().message == "Training failed: the disk with the state folder is full"


def test_leftovers_are_removed_first(tmp_path: Path) -> None:
    """They may fill the disk, so that nothing can be written until they are removed."""
    home = Home(tmp_path)
    for folder in (home.packing / "tmp1", home.job_images("id"), home.artifact("id")):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    (home.job("id") / "train.jsonl").touch()
    home.close()
    Home(tmp_path).close()
    left = {path.relative_to(tmp_path / "models").as_posix() for path in tmp_path.rglob("*/*/*")}
    assert left == {"id/artifact", "id/artifact/file", "id/job", "id/job/train.jsonl"}
    assert not home.packing.exists()


def test_a_start_that_cannot_write_is_reported(start: Callable[..., Service]) -> None:
    service = start()
    service.stop()
    before = len(service.log)
    connection = sqlite3.connect(service.home / "service.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    assert service.launch().wait(PLENTY) == 2
    connection.close()
    assert "cannot be used as the service's database: database is locked" in service.log[before:]
    assert "Traceback" not in service.log[before:]
    assert service.start().client().list_projects()["Projects"] == []
