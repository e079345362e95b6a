"""`lfv ui`: users, and a server that answers this machine."""

from __future__ import annotations

import http.client
import io
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from lfv_store import open_store
from tests.cli.conftest import Lfv
from tests.support.waiting import PLENTY

ADDRESS = re.compile(r"pages at (http://\S+)")


def add(lfv: Lfv, monkeypatch: pytest.MonkeyPatch, name: str, password: str) -> tuple[int, str]:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    done = lfv("ui", "user", "add", name, "--role", "reviewer", "--password-stdin")
    return done.status, done.out + done.err


def test_users_are_added_changed_and_removed(
    lfv: Lfv, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert add(lfv, monkeypatch, "Ana", "long enough it is") == (0, "Ana: reviewer\n")
    status, said = add(lfv, monkeypatch, "Ana", "long enough it is")
    assert status == 1
    assert "already" in said
    status, said = add(lfv, monkeypatch, "Ben", "short")
    assert (status, "10 to 500 characters" in said) == (1, True)
    added = lfv("ui", "user", "add", "Mara", "--role", "viewer", "--single-sign-on")
    assert added.out == "Mara: viewer\n"
    assert lfv("ui", "user", "remove", "Mara").status == 0
    assert lfv("ui", "user", "change", "Ana", "--role", "engineer").out == "Ana: engineer\n"
    assert lfv("ui", "user", "remove", "Ana").out == "Ana: removed\n"
    listed, _ = lfv("ui", "user", "list", "--json").json()
    assert (listed["name"], listed["role"], listed["active"]) == ("Ana", "engineer", False)
    assert "removed" in lfv("ui", "user", "list").out
    unknown = lfv("ui", "user", "remove", "Nobody")
    assert (unknown.status, "there is no user" in unknown.err) == (1, True)
    with open_store(f"sqlite:///{home / 'inspections.db'}") as store:
        assert store.audit.verify().ok


def test_without_users_other_machines_are_not_served(lfv: Lfv, home: Path) -> None:
    home.mkdir(parents=True)
    open_store(f"sqlite:///{home / 'inspections.db'}").close()
    refused = lfv("ui", "--host", "0.0.0.0")  # noqa: S104
    assert refused.status == 2
    assert "without users" in refused.err
    assert lfv("ui", "--signatures").status == 2
    # Behind a proxy on this machine, everybody would count as its user.
    proxied = lfv("ui", "--behind-https", "--name", "inspection.example")
    assert proxied.status == 2
    assert "needs users" in proxied.err
    assert lfv("ui", "--tls-key", __file__).status == 2


def test_a_missing_database_is_reported(lfv: Lfv) -> None:
    assert "there is no results database" in lfv("ui").err


def quickest_answer(address: str) -> float:
    """Seconds of the quickest of twenty answers on one connection."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=PLENTY)
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        connection.request("GET", "/health")
        connection.getresponse().read()
        times.append(time.perf_counter() - begun)
    connection.close()
    return min(times)


def test_it_serves_until_it_is_stopped(home: Path) -> None:
    home.mkdir(parents=True)
    open_store(f"sqlite:///{home / 'inspections.db'}").close()
    script = Path(sys.executable).with_name("lfv")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LFV_HOME": str(home)}
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    with subprocess.Popen(
        [str(script), "ui", "--port", "0"], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        found = ADDRESS.search(process.stderr.readline())
        assert found is not None
        assert "acts as" in process.stderr.readline()
        with urllib.request.urlopen(found[1], timeout=PLENTY) as answer:
            assert "There are no runs yet" in answer.read().decode()
        assert quickest_answer(found[1]) < 0.035  # 0.04 if a body waits for its header
        process.send_signal(signal.SIGINT)
        assert process.wait(PLENTY) in (0, 130)
        assert "Traceback" not in process.stderr.read()
