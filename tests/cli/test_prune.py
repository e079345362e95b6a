"""`lfv prune` deletes old reports and pictures, and the audit log records it."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lfv.cli.app import run
from lfv.ui.accounts import hash_password
from lfv_store import open_store
from tests.support.store_samples import T0, a_model, a_run, segmented


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with reports of an old run, of one in progress, and of an unknown one."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("LFV_HOME", str(home))
    with open_store(f"sqlite:///{home / 'inspections.db'}") as store:
        for name in ("old", "going"):
            a_run(store, run_id=name)
        store.runs.set_status("old", "completed", None, T0 + timedelta(hours=1))
    for name in ("old", "going", "nobody-s"):
        folder = home / "runs" / name
        folder.mkdir(parents=True)
        (folder / "report.html").write_text("x" * 1000)
    return home


def test_nothing_is_deleted_unless_asked(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["prune", "--older-than-days", "0.01"]) == 0
    said = capsys.readouterr()
    assert "old, ended" in said.out
    assert "would be deleted" in said.out
    assert "nobody-s belongs to no run" in said.err
    assert len(list((home / "runs").iterdir())) == 3


def test_only_old_reports_are_deleted_and_the_log_records_it(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["prune", "--older-than-days", "0.01", "--delete", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["size_bytes"], told["deleted"]) == (1000, True)
    assert sorted(path.name for path in (home / "runs").iterdir()) == ["going", "nobody-s"]
    ((by, what, facts),) = pruned(home)
    assert by.startswith("lfv prune")
    assert (what, facts["runs"]) == ("reports", ["old"])
    assert (facts["number"], facts["size_bytes"]) == (1, 1000)
    assert run(["prune", "--older-than-days", "0.01", "--delete", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reports"] == []
    assert len(pruned(home)) == 1  # nothing was deleted, so nothing is recorded
    assert run(["audit", "verify"]) == 0
    database = home / "inspections.db"
    with closing(sqlite3.connect(database)) as conn:
        conn.execute("CREATE TABLE large AS SELECT zeroblob(1000000) AS bytes")
        conn.execute("DROP TABLE large")
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = database.stat().st_size
    assert run(["prune", "--compact"]) == 2
    assert run(["prune", "--delete", "--compact"]) == 0
    assert database.stat().st_size < before - 900_000
    assert run(["audit", "verify"]) == 0


def test_unused_pictures_are_deleted(home: Path) -> None:
    folder = home / "ui" / "thumbnails" / "photos" / "ab"
    folder.mkdir(parents=True)
    old, read, new = (folder / f"{name}.jpg" for name in ("old", "read", "new"))
    long_ago, now = 1_000_000_000, time.time()
    for file, accessed, made in ((old, long_ago, long_ago), (read, now, long_ago), (new, now, now)):
        file.write_bytes(b"picture")
        os.utime(file, (accessed, made))
    assert run(["prune", "--older-than-days", "100000", "--delete"]) == 0
    assert old.exists()
    assert run(["prune", "--older-than-days", "1", "--delete"]) == 0
    assert [file.exists() for file in (old, read, new)] == [False, True, True]
    assert (home / "inspections.db").exists()
    facts = {what: facts for _, what, facts in pruned(home)}
    assert facts["pictures"] == {"number": 1, "size_bytes": 7, "older_than_days": 1.0}


def pruned(home: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """The audit log's entries about deletions: actor, subject and facts."""
    with open_store(f"sqlite:///{home / 'inspections.db'}") as store:
        entries = [entry for entry in store.audit.entries() if entry.action == "pruned"]
    return [(entry.actor, entry.subject, entry.parsed()["facts"]) for entry in entries]


def test_reports_younger_than_the_limit_stay(home: Path) -> None:
    assert run(["prune", "--older-than-days", "100000", "--delete"]) == 0
    assert len(list((home / "runs").iterdir())) == 3


def test_masks_are_deleted_when_an_admin_signs(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(f"sqlite:///{home / 'inspections.db'}") as store:
        model = a_model(store)
        store.inspections.record(a_run(store, model, run_id="segmented"), [segmented(model, 1)])
        store.users.add("ana", "admin", hash_password("correct horse"))
        store.users.add("ben", "engineer", hash_password("correct horse"))
    command = ["prune", "--older-than-days", "1", "--masks"]
    assert run(command) == 0
    assert "1 mask" in capsys.readouterr().out
    signed = [*command, "--delete", "--reason", "kept long enough"]
    assert run(signed) == 2  # by nobody
    assert "--sign-as" in capsys.readouterr().err
    for name, password in (("ana", "wrong"), ("ben", "correct horse"), ("eve", "correct horse")):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        assert run([*signed, "--sign-as", name, "--password-stdin"]) == 1
        assert "cannot sign" in capsys.readouterr().err
    assert (home / "runs" / "old").exists()  # nothing at all was deleted
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
    assert run([*signed, "--sign-as", "ana", "--password-stdin"]) == 0
    facts = {what: facts for _, what, facts in pruned(home)}
    assert facts["masks"]["signature"] == {"by": "ana", "reason": "kept long enough"}
    assert run(["audit", "verify"]) == 0
