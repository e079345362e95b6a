"""State that cannot be written for a while: a full disk, or a locked database."""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from lfv.server import write_retries
from lfv.server.errors import UnwritableError
from lfv.server.hosting.manager import HostingManager
from lfv.server.jobs.datasets import run_job
from lfv.server.jobs.packaging import package
from lfv.server.jobs.training import Trainings
from lfv.server.lifecycle import DatasetStatus, ModelStatus, PackagingStatus
from lfv.server.manifests import stored_entry
from lfv.server.operations.call import Call
from lfv.server.operations.models import create_model
from lfv.server.options import Limits, Serving
from lfv.server.state import datasets, models, packaging, tables
from lfv.server.state.datasets import Source
from lfv.server.state.tokens import PageTokens
from lfv.server.write_retries import ServiceEndingError, record
from tests.support.recorded_world import REF, World
from tests.support.service import BUCKET, FAKE_ENGINE, ROOT, line, put_images
from tests.support.waiting import PLENTY


class Pauses(threading.Event):
    """The service's end, set if ``ends``; a wait calls ``during`` and returns at once."""

    def __init__(self, during: Callable[[], None], *, ends: bool = False) -> None:
        super().__init__()
        self.lengths: list[float] = []
        self._during = during
        self._ends = ends

    def wait(self, timeout: float | None = None) -> bool:
        self.lengths.append(timeout or 0)
        self._during()
        return self._ends


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = World(tmp_path)
    yield made
    made.close()


def test_each_failure_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    failures = [*["full"] * 8, "locked", *["full"] * 2]
    pauses = Pauses(lambda: None)

    def write() -> str:
        if failures:
            raise UnwritableError(failures.pop())
        return "written"

    caplog.set_level(logging.INFO, write_retries.__name__)
    assert record(write, "it", pauses) == "written"
    assert pauses.lengths == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, *[10.0] * 5]
    assert caplog.messages == [
        "it: cannot be recorded yet, and is retried: full",
        "it: cannot be recorded yet, and is retried: locked",
        "it: recorded now",
    ]


def test_a_write_is_abandoned_when_the_service_ends() -> None:
    def write() -> None:
        raise UnwritableError("full")

    with pytest.raises(ServiceEndingError):
        record(write, "it", Pauses(lambda: None, ends=True))


def test_first_error_is_seen(world: World) -> None:
    """On a full disk SQLite rolls back by itself; a ROLLBACK after that is another error."""
    done: list[str] = []
    with world.database.transaction() as tx:
        pages = tx.scalar(text("PRAGMA page_count"))
        tx.execute(text(f"PRAGMA max_page_count = {pages + 1}"))

    def write(size: int) -> None:
        with world.database.transaction() as tx:
            tx.after_commit.append(lambda: done.append("committed"))
            tx.after_rollback.append(lambda: done.append("rolled back"))
            tx.execute(insert(tables.secrets).values(name="x", value=bytes(size)))

    with pytest.raises(UnwritableError, match="cannot be written now: database or disk is full"):
        write(1_000_000)
    write(1)
    assert done == ["rolled back", "committed"]


def test_commit_that_fails_is_rolled_back(world: World) -> None:
    def write() -> None:
        with world.database.transaction() as tx:
            tx.execute(text("PRAGMA defer_foreign_keys = ON"))
            tx.execute(text("INSERT INTO tags VALUES ('no model', 'k', 'v')"))

    with pytest.raises(IntegrityError):
        write()
    with world.database.transaction() as tx:
        assert tx.all(select(tables.tags)) == []


@pytest.mark.parametrize(
    ("held_as", "status", "end"),
    [
        ("unhost", ModelStatus.STOPPING_HOSTING, ModelStatus.TRAINED),
        ("host", ModelStatus.STARTING_HOSTING, ModelStatus.HOSTING_FAILED),  # nothing to load
    ],
)
def test_hosting_is_completed(
    world: World, caplog: pytest.LogCaptureFixture, held_as: str, status: ModelStatus, end: str
) -> None:
    world.add_model(status)
    caplog.set_level(logging.INFO)

    async def go() -> None:
        hosting = HostingManager(world.database, world.home, FAKE_ENGINE, Limits(), Serving())
        try:
            world.holder.hold()
            getattr(hosting, held_as)("id")
            while "is retried" not in caplog.text:
                await asyncio.sleep(0.01)
            world.holder.let_go()
            while world.model().status != end:
                await asyncio.sleep(0.01)
        finally:
            await hosting.close()

    asyncio.run(asyncio.wait_for(go(), PLENTY))
    assert caplog.text.count("is retried") == 1


def test_hosting_that_fails_unexpectedly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the units raise, the model does not stay STARTING_HOSTING."""
    world.add_model(ModelStatus.STARTING_HOSTING)

    async def broken(_: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async def go() -> None:
        hosting = HostingManager(world.database, world.home, FAKE_ENGINE, Limits(), Serving())
        hosting.host("id")
        try:
            while world.model().status != ModelStatus.HOSTING_FAILED:
                await asyncio.sleep(0.01)
        finally:
            await hosting.close()

    monkeypatch.setattr("lfv.server.hosting.manager.Pool.start", broken)
    asyncio.run(asyncio.wait_for(go(), PLENTY))
    assert "the service's log says why" in world.model().message


def test_a_dataset_is_completed(world: World) -> None:
    (world.service.bucket / "manifest").write_text(line(f"{REF}/1.png"))
    context = world.context(Pauses(world.holder.let_go), on="read")
    with world.database.transaction() as tx:
        datasets.create(tx, world.project, "train", Source(BUCKET, "manifest", None), 0)
    run_job(context, world.project.id, "train")
    assert world.dataset().status == DatasetStatus.CREATE_COMPLETE
    with world.database.transaction() as tx:
        changes = line(f"{REF}/2.png").encode()
        found = datasets.get(tx, world.project, "train")
        datasets.begin_update(tx, found, changes, 0)
    world.holder.hold()
    run_job(context, world.project.id, "train")
    assert world.dataset().status == DatasetStatus.UPDATE_COMPLETE
    assert len(cast("Pauses", context.stopping).lengths) == 2


@pytest.mark.parametrize("kind", ["create", "update"])
def test_lines_that_do_not_fit(world: World, kind: str) -> None:
    """There is room to record the failure, and the dataset can be deleted."""
    lines = "".join(f"{line(f'{REF}/{n}.png', more='x' * 3000)}\n" for n in range(100))
    context = world.context(threading.Event())
    source = Source(BUCKET, "manifest", None) if kind == "create" else None
    (world.service.bucket / "manifest").write_text(lines)
    with world.database.transaction() as tx:
        datasets.create(tx, world.project, "train", source, 0)
        if kind == "update":
            found = datasets.get(tx, world.project, "train")
            datasets.begin_update(tx, found, lines.encode(), 0)
        pages = tx.scalar(text("PRAGMA page_count"))
        tx.execute(text(f"PRAGMA max_page_count = {pages}"))
    run_job(context, world.project.id, "train")
    assert world.dataset().status in (
        DatasetStatus.CREATE_FAILED,
        DatasetStatus.UPDATE_FAILED_ROLLBACK_COMPLETE,
    )
    assert world.dataset().message.endswith(": the disk with the state folder is full")
    with world.database.transaction() as tx:
        datasets.remove(tx, datasets.get(tx, world.project, "train"))


def test_packaging_is_completed(world: World) -> None:
    world.add_model(ModelStatus.TRAINED)
    world.home.artifact("id").mkdir(parents=True)
    component = {"ComponentName": "c", "ComponentVersion": "1.0.0"}
    component["S3OutputLocation"] = {"Bucket": BUCKET}  # type: ignore[assignment]
    with world.database.transaction() as tx:
        job = packaging.create(
            tx, world.project, models.by_id(tx, "id"), "j", {"Greengrass": component}, None, "", 0
        )
    package(world.context(Pauses(world.holder.let_go), on="write"), job.id)
    with world.database.transaction() as tx:
        ended = packaging.get(tx, world.project, "j")
    assert ended.status == PackagingStatus.SUCCEEDED
    assert list(world.home.packing.iterdir()) == []


def test_training_makes_room_before_its_end_is_recorded(world: World) -> None:
    seen: list[tuple[bool, bool]] = []

    def look() -> None:
        seen.append((world.home.job_images("id").exists(), world.home.artifact("id").exists()))
        world.holder.let_go()

    context = world.context(Pauses(look), on="write")
    world.add_training(context, put_images(world.service, "images")).run("id")
    assert seen == [(False, True)]
    assert world.model().status == ModelStatus.TRAINED
    assert not world.home.job("id").exists()


def test_failed_training_leaves_nothing(world: World) -> None:
    seen: list[bool] = []

    def look() -> None:
        seen.append(world.home.model("id").exists())
        world.holder.let_go()

    context = world.context(Pauses(look), on="read")
    world.add_training(context, [line(f"{REF}/missing.png")]).run("id")
    assert seen == [False]
    assert world.model().status == ModelStatus.TRAINING_FAILED
    assert "missing.png: not found" in world.model().message


@pytest.mark.parametrize("fails", [True, False])
def test_training_whose_end_was_not_recorded(world: World, *, fails: bool) -> None:
    """The service ended first: the next one repeats it, if necessary."""
    lines = [line(f"{REF}/missing.png")] if fails else put_images(world.service, "images")
    ending = world.context(Pauses(world.holder.let_go, ends=True), on="read" if fails else "write")
    world.add_training(ending, lines).run("id")
    assert world.model().status == ModelStatus.TRAINING
    Trainings(world.context(threading.Event()), FAKE_ENGINE).run("id")
    model = world.model()
    if fails:
        assert model.status == ModelStatus.TRAINING_FAILED
        assert "it had failed already when the service ended" in model.message
    else:
        assert model.status == ModelStatus.TRAINED


def test_model_that_was_not_committed_leaves_no_folder(world: World) -> None:
    """On a full disk, calls that fail would take more of it each time."""
    folders: list[int] = []

    class Work:
        def __init__(self) -> None:
            self.trainings = Trainings(world.context(threading.Event()), FAKE_ENGINE)

        def remove_model(self, model_id: str) -> None:
            folders.append(len(list((world.home.root / "models").iterdir())))
            world.home.remove_model(model_id)

    def create() -> None:
        with world.database.transaction() as tx:
            pages = PageTokens(tx)
            call = Call(tx, cast("Any", Work()), Limits(), pages, "us-east-1", "000000000000", 0)
            datasets.create(tx, world.project, "train", None, 0)
            entry = stored_entry(line(f"{REF}/1.png"))
            datasets.put_entries(tx, datasets.get(tx, world.project, "train"), [entry], 0)
            output = {"S3Location": {"Bucket": BUCKET}}
            create_model(call, {"ProjectName": "p", "OutputConfig": output})
            raise UnwritableError("as if the disk were full now")

    with pytest.raises(UnwritableError):
        create()
    assert folders == [1]
    assert list((world.home.root / "models").iterdir()) == []
