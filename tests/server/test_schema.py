"""The schema of the service's state: new, upgraded from release 0.1.0, or unknown."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from lfv.server import schema
from lfv.server.database import Database
from lfv.server.errors import HomeError
from tests.support.service import BUCKET, Service
from tests.support.waiting import wait_until

#: Written by release 0.1.0: a model, a packaging job, and changes that were not yet applied.
OLD_STATE = Path(__file__).parent / "data" / "state-0.1.0.sql"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "service.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD_STATE.read_text())
    return path


@pytest.fixture
def upgraded(tmp_path: Path) -> Iterator[Service]:
    """A service that was started on the state of release 0.1.0."""
    service = Service(tmp_path / "service", {})
    service.home.mkdir(parents=True)
    with closing(sqlite3.connect(service.home / "service.db")) as connection:
        connection.executescript(OLD_STATE.read_text())
    service.bucket.mkdir()
    # The manifest of the state names this bucket.
    service.options["buckets"] = {BUCKET: str(service.bucket), "parts": str(service.bucket)}
    try:
        yield service.start()
    finally:
        service.close()


def columns(path: Path) -> dict[str, list[Any]]:
    """Every table's columns, keys, indexes and options, as SQLite describes them."""
    described: dict[str, list[Any]] = {}
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name, strict FROM pragma_table_list").fetchall()
        for name, strict in tables:
            described[name] = [strict]
            for query in (
                'SELECT name, type, "notnull" OR pk, dflt_value, pk FROM pragma_table_xinfo(?)',
                'SELECT "table", "from", on_delete FROM pragma_foreign_key_list(?)',
                "SELECT * FROM pragma_index_list(?)",
            ):
                described[name].append(sorted(map(repr, connection.execute(query, [name]))))
    return described


def test_created_and_upgraded_schemas_are_equal(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.db"
    for path in (old, new):
        Database(path).close()
    assert columns(old) == columns(new)


def test_remarks_of_a_training_get_their_column(old: Path) -> None:
    Database(old).close()
    with closing(sqlite3.connect(old)) as connection:
        stored = connection.execute("SELECT message, training_remarks FROM models").fetchall()
    assert stored == [("Training completed.", "It had few images.")]


def test_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


def test_state_of_release_0_1_0_is_served(upgraded: Service) -> None:
    client = upgraded.client()
    assert [p["ProjectName"] for p in client.list_projects()["Projects"]] == ["flange"]
    model = client.describe_model(ProjectName="flange", ModelVersion="1")["ModelDescription"]
    assert (model["Status"], model["Description"]) == ("TRAINED", "first")
    assert model["Performance"]["Precision"] == 1
    assert model["StatusMessage"] == "Training completed. It had few images."
    tags = client.list_tags_for_resource(ResourceArn=model["ModelArn"])["Tags"]
    assert tags == [{"Key": "line", "Value": "7"}]
    job = client.describe_model_packaging_job(ProjectName="flange", JobName="job")
    assert job["ModelPackagingDescription"]["Status"] == "SUCCEEDED"


def test_changes_pending_in_release_0_1_0_are_applied(upgraded: Service) -> None:
    client = upgraded.client()

    def description() -> Any:
        answer = client.describe_dataset(ProjectName="flange", DatasetType="train")
        return answer["DatasetDescription"]

    wait_until(lambda: description()["Status"] != "UPDATE_IN_PROGRESS")
    assert description()["Status"] == "UPDATE_COMPLETE"
    assert description()["ImageStats"] == {"Total": 4, "Labeled": 2, "Normal": 1, "Anomaly": 1}


def test_projects_of_an_upgraded_state_keep_their_order(upgraded: Service) -> None:
    """Ids continue after the highest of release 0.1.0."""
    client = upgraded.client()
    client.create_project(ProjectName="later")
    assert [p["ProjectName"] for p in client.list_projects()["Projects"]] == ["flange", "later"]


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("PRAGMA user_version = 99", "schema 99"),
        (
            "CREATE TABLE alembic_version AS SELECT '0999' AS version_num",
            "revision 0999",
        ),
    ],
)
def test_an_unknown_schema_is_refused_and_unchanged(old: Path, statement: str, named: str) -> None:
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(statement)
    before = columns(old)
    with pytest.raises(HomeError, match=f"{named}.*update lfv-pipeline"):
        Database(old)
    assert columns(old) == before


def test_release_0_1_0_refuses_an_upgraded_state(old: Path) -> None:
    """It reads PRAGMA user_version and knows no number above 3."""
    Database(old).close()
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] > 3
