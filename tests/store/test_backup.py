"""The commands of docs/backup.md restore everything, and the audit log verifies."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lfv_store import Store, open_store
from tests.support.databases import PostgresServer
from tests.support.store_samples import a_model, a_run, judged

PAGE = (Path(__file__).parents[2] / "docs" / "backup.md").read_text()
_PLACES = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
PATH = os.pathsep.join([os.environ.get("PATH", ""), *_PLACES])


def commands(program: str) -> list[str]:
    """The lines of the page that run a program."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith(program)]


def fill(store: Store, name: str) -> str:
    model = a_model(store)
    run = a_run(store, model, source=name)
    store.inspections.record(run, [judged(model, line, image=f"{name}{line}") for line in (1, 2)])
    store.runs.set_status(run, "completed", None, store.runs.get(run).started_at)
    return run


def check(url: str, kept: str) -> None:
    """The database has what it had when the backup was made."""
    with open_store(url) as store:
        assert [run.run_id for run in store.runs.list()] == [kept]
        assert len(list(store.results.rows(kept))) == 2
        assert store.audit.verify().ok
        fill(store, "after")


def type_in(line: str, folder: Path, **variables: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=folder,
        env={**os.environ, "PATH": PATH, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="sqlite3 is not installed")
def test_sqlite(tmp_path: Path) -> None:
    file = tmp_path / "inspections.db"
    with open_store(f"sqlite:///{file}") as store:
        kept = fill(store, "before")
        (backup,) = commands("sqlite3")
        type_in(backup, tmp_path)
        fill(store, "later")
    for path in tmp_path.glob("inspections.db*"):
        path.unlink()
    (tmp_path / "backup.db").rename(file)
    check(f"sqlite:///{file}", kept)


def test_postgresql(postgresql_server: PostgresServer, tmp_path: Path) -> None:
    if shutil.which("pg_dump", path=PATH) is None:
        pytest.skip("pg_dump is not installed")
    with (
        postgresql_server.database() as old,
        postgresql_server.database(migrated=False) as new,
    ):
        with open_store(old) as store:
            kept = fill(store, "before")
            (backup,) = commands("pg_dump")
            type_in(backup, tmp_path, LFV_DATABASE_URL=old)
            fill(store, "later")
        (restore,) = commands("pg_restore")
        type_in(restore, tmp_path, LFV_DATABASE_URL=new)
        check(new, kept)
