"""`lfv prune` deletes old reports, and puts it on record."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from lfv.cli.main import run
from lfv_store import open_store
from tests.support.store_samples import T0, a_run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with reports of a run that ended long ago, one in progress, and one of nobody."""
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


def test_only_old_reports_are_deleted_and_that_is_on_record(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["prune", "--older-than-days", "0.01", "--delete", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["size_bytes"], told["deleted"]) == (1000, True)
    assert sorted(path.name for path in (home / "runs").iterdir()) == ["going", "nobody-s"]
    (line,) = (home / "pruned.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert (record["run_id"], record["size_bytes"]) == ("old", 1000)
    assert record["by"].startswith("lfv prune")
    assert run(["prune", "--older-than-days", "0.01", "--delete", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reports"] == []


def test_reports_younger_than_the_limit_stay(home: Path) -> None:
    assert run(["prune", "--older-than-days", "100000", "--delete"]) == 0
    assert len(list((home / "runs").iterdir())) == 3
