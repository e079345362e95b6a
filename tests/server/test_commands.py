"""Starting a service with ``lfv serve``, and with ``python -m lfv.server`` from a program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from lfv.cli.app import run as run_lfv
from lfv.client.api import lookoutvision_client
from tests.support.processes import free_port
from tests.support.service import ROOT, Service
from tests.support.waiting import PLENTY, stretched, wait_until

SERVE = [sys.executable, "-c", "from lfv.cli.main import main; main()", "serve"]
MODULE = [sys.executable, "-m", "lfv.server"]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "LFV_HOME": str(home)}


def run(command: Sequence[str], home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PLENTY,
        check=False,
        env=environment(home),
    )


@pytest.mark.parametrize("which", ["lfv", "module"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_and_ends(tmp_path: Path, which: str, how: int) -> None:
    bucket, ready = tmp_path / "bucket", tmp_path / "ready.json"
    bucket.mkdir()
    home = tmp_path / "home"
    document = {"home": str(home), "buckets": {"parts": str(bucket)}, "ready_file": str(ready)}
    command = [*SERVE, "--home", str(home), "--port", "0"]
    command += ["--bucket", f"parts={bucket}", "--ready-file", str(ready)]
    if which == "module":
        command = [*MODULE, json.dumps({**document, "log_level": "info"})]
    began = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment(tmp_path))
    try:
        wait_until(ready.exists)
        assert time.monotonic() - began < stretched(20)
        told = json.loads(ready.read_text())
        assert told["pid"] == process.pid
        client = lookoutvision_client(told["endpoint_url"])
        client.create_project(ProjectName="p")
        client.close()
        process.send_signal(how)
        _, said = process.communicate(timeout=PLENTY)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert not ready.exists()
    assert told["endpoint_url"] in said.decode()
    assert b"Traceback" not in said


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--bucket", "parts"], "NAME=FOLDER"),
        (["--bucket", "parts=/not/there"], "/not/there is not a folder"),
        (["--host", "0.0.0.0"], "have to be signed"),  # noqa: S104
        (["--credentials-file", "/not/there"], "credentials file /not/there"),
        (["--import", "/not/there.zip"], "/not/there.zip can't be read"),
        (["--port", "70000"], "can't listen"),
        (["--backbone", "/not/there.onnx"], "/not/there.onnx: no such file"),
        (["--detector", __file__], "is refused: It is not an ONNX file"),
        (["--backbone", __file__, "--detector", __file__], "set detector or backbone, not both"),
        (["--network", "--detector", __file__], "set detector or network, not both"),
        (["--bucket", "pa=/"], "bucket 'pa': a bucket's name has 3 to 63"),
        (["--account-id", "x y"], "'x y' is not one"),
        (["--inference-units", "-3"], "inference"),
        (["--ready-file", "/proc/not/there"], "ready file /proc/not/there can't be written"),
        (["--ready-file", "/usr"], "ready file /usr can't be written: Is a directory"),
        (["--ready-file", f"{__file__}/x"], "can't be written"),
        (["--tls-key", __file__], "both a certificate and its key"),
        (["--tls-key", "/not/there", "--tls-certificate", __file__], "TLS file /not/there"),
        (["--tls-key", "/usr", "--tls-certificate", __file__], "TLS file /usr can't be read: Is a"),
        (["--tls-key", __file__, "--tls-certificate", __file__], "not a certificate and its key"),
        (["--host", "x" * 70, "--credentials-file", "KEYS"], "can't listen on xxx"),
    ],
)
def test_wrong_options(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    options: list[str],
    problem: str,
) -> None:
    """Each is reported in a sentence before anything starts."""
    monkeypatch.setenv("LFV_HOME", str(tmp_path))
    keys = tmp_path / "keys"
    keys.write_text("[a]\naws_access_key_id = a\naws_secret_access_key = b\n")
    options = [str(keys) if option == "KEYS" else option for option in options]
    status = run_lfv(["serve", "--home", str(tmp_path / "home"), *options])
    message = capfd.readouterr().err
    assert status == (1 if "--import" in options else 2)
    assert problem in " ".join(message.split())
    assert "Traceback" not in message


def test_a_process_with_wrong_options_ends_with_its_status(tmp_path: Path) -> None:
    done = run([*SERVE, "--home", str(tmp_path / "home"), "--port", "70000"], tmp_path)
    assert done.returncode == 2
    assert "can't listen" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ([], "usage: python -m lfv.server OPTIONS"),
        (["--home"], "usage: python -m lfv.server OPTIONS"),
        (['{"home": "x", "hone": "y"}'], "'hone' is not an option of the service"),
        (['{"home": "/proc/not/there"}'], "cannot be used as the state folder"),
    ],
)
def test_wrong_options_of_the_module(tmp_path: Path, argument: list[str], problem: str) -> None:
    done = run([*MODULE, *argument], tmp_path)
    assert done.returncode == 2
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_belongs_to_one_service(tmp_path: Path) -> None:
    """However many start on it at once."""
    port = free_port()
    services = [Service(tmp_path / str(number), {"port": port}) for number in range(3)]
    for service in services:
        service.folder.mkdir()
    started = {service.launch(): service for service in services}
    try:
        wait_until(lambda: sum(process.poll() is not None for process in started) == 2)
        for process, service in started.items():
            if process.poll() is None:
                wait_until(service.ready_file.exists)
                assert service.client().list_projects()["Projects"] == []
            else:
                assert f"can't listen on 127.0.0.1:{port}" in service.log
                assert "Traceback" not in service.log
    finally:
        for service in services:
            service.close()
    assert sorted(process.returncode for process in started) == [0, 2, 2]
