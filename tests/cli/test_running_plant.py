"""Commands use the Prefect API of a plant that runs on this machine."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from lfv.cli.plant.running import use_running_plant


@pytest.mark.parametrize(
    ("locked", "ready", "configured", "expected"),
    [
        (True, True, False, "http://127.0.0.1:4321/api"),
        (True, False, False, None),
        (False, True, False, None),
        (True, True, True, None),
    ],
    ids=["running", "starting", "stopped", "another server is configured"],
)
def test_a_plant_that_is_ready_is_used_if_no_server_is_configured(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    locked: bool,
    ready: bool,
    configured: bool,
    expected: str | None,
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "")
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setattr("lfv.cli.plant.running.prefect_may_be_configured", lambda: configured)
    folder = tmp_path / "plant"
    folder.mkdir()
    (folder / "state.json").write_text(json.dumps({"port": 4321, "ready": ready}))
    with (folder / "lock").open("w") as lock:
        if locked:
            fcntl.flock(lock, fcntl.LOCK_EX)
        use_running_plant(tmp_path)
    assert os.environ.get("PREFECT_API_URL") == expected
