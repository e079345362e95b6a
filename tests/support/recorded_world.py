"""The parts of a service around its database, without a process."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import text

from lfv.formats.training_request import TrainingRequest
from lfv.server.buckets import Buckets
from lfv.server.database import Database
from lfv.server.home import Home
from lfv.server.jobs.context import JobContext
from lfv.server.jobs.training import Trainings
from lfv.server.lifecycle import ModelStatus
from lfv.server.options import Limits
from lfv.server.state import datasets, models, projects
from lfv.server.state.models import Model, NewModel
from tests.support.service import BUCKET, FAKE_ENGINE, Service

REF = f"s3://{BUCKET}/images"


class Holder:
    """Another program that locks the database."""

    def __init__(self, home: Home) -> None:
        self._connection = sqlite3.connect(
            home.database, isolation_level=None, check_same_thread=False
        )

    def hold(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def let_go(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()


class HeldAfterwards(Buckets):
    """The database is locked once something was read or written."""

    def __init__(self, folder: Path, holder: Holder, *, on: str) -> None:
        super().__init__({BUCKET: folder}, s3=False)
        self._holder = holder
        self._on = on

    def open(self, *arguments: Any) -> Any:
        if self._on == "read":
            self._holder.let_go()
            self._holder.hold()
        return super().open(*arguments)

    def write(self, *arguments: Any) -> None:
        super().write(*arguments)
        if self._on == "write":
            self._holder.let_go()
            self._holder.hold()


class World:
    """A state folder with a project, and the service's parts in this process."""

    def __init__(self, folder: Path) -> None:
        self.service = Service(folder, {})  # for its bucket; it is never started
        self.service.bucket.mkdir(parents=True)
        self.home = Home(self.service.home)
        self.database = Database(self.home.database)
        self.holder = Holder(self.home)
        with self.database.transaction() as tx:
            tx.execute(text("PRAGMA busy_timeout = 0"))
            self.project = projects.create(tx, "p", "arn:p", 0)

    def context(self, stopping: threading.Event, *, on: str = "") -> JobContext:
        buckets = HeldAfterwards(self.service.bucket, self.holder, on=on)
        return JobContext(self.database, buckets, self.home, Limits(), stopping=stopping)

    def add_model(self, status: ModelStatus) -> None:
        new = NewModel("id", 1, "arn:m", None, None, BUCKET, None, status)
        with self.database.transaction() as tx:
            models.create(tx, self.project, new, 0)

    def add_training(self, context: JobContext, lines: list[str]) -> Trainings:
        self.add_model(ModelStatus.TRAINING)
        trainings = Trainings(context, FAKE_ENGINE)
        trainings.prepare("id", {"train": lines}, TrainingRequest())
        return trainings

    def model(self) -> Model:
        with self.database.transaction() as tx:
            return models.by_id(tx, "id")

    def dataset(self) -> datasets.Dataset:
        with self.database.transaction() as tx:
            return datasets.get(tx, self.project, "train")

    def close(self) -> None:
        self.holder.close()
        self.database.close()
        self.home.close()
