"""The command as a whole: exit statuses, errors, streams, speed."""

from __future__ import annotations

import contextlib
import os
import pty
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lfv.cli.app import app, sentence
from lfv.cli.errors import CommandError, OutputClosed, WrongUsage
from lfv.cli.output import printable
from lfv.cli.version import own_version
from lfv.client.errors import HostRejected, HostUnreachable
from tests.support.waiting import PLENTY

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

    from tests.cli.conftest import Lfv

LFV = Path(sys.executable).with_name("lfv")


def test_help_names_every_command_and_loads_nothing_heavy(home: Path) -> None:
    program = (
        "import sys; from lfv.cli.app import run; run(['--help']); "
        "heavy = {'prefect', 'sqlalchemy', 'boto3', 'botocore', 'numpy', 'PIL', 'rich.progress'}; "
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PLENTY, check=False
    )
    assert done.returncode == 0, done.stderr
    for command in app.registered_commands:
        assert str(command.name) in done.stdout


def test_help_answers_at_once(lfv_process: Lfv) -> None:
    """At most half a second of CPU time, which a busy machine does not change."""
    best = 9.0
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert lfv_process("--help").status == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        best = min(best, used)
        if best < 0.5:
            return
    pytest.fail(f"lfv --help took {best:.2f} s at best")


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], ["runs", "--no-such-option"], ["runs", "--limit", "many"]]
)
def test_wrong_usage_is_status_2(lfv: Lfv, arguments: list[str]) -> None:
    outcome = lfv(*arguments)
    assert outcome.status == 2
    assert outcome.out == ""
    assert "Usage: lfv" in outcome.err


def test_an_error_is_one_sentence_on_stderr(lfv: Lfv, home: Path) -> None:
    outcome = lfv("runs")
    assert outcome.status == 1
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith(f"lfv: there is no results database at {home}/inspections.db")
    assert "`lfv inspect`" in outcome.err
    assert not home.exists()


def test_debug_shows_the_traceback(lfv: Lfv) -> None:
    with pytest.raises(CommandError):
        lfv("--debug", "runs")


def test_ctrl_c_ends_a_command_as_shells_expect(lfv: Lfv, mocker: MockerFixture) -> None:
    mocker.patch("lfv.cli.version.own_version", side_effect=KeyboardInterrupt)
    outcome = lfv("version")
    assert outcome.status == 130
    assert outcome.err.strip() == "lfv: interrupted"


def test_a_bad_setting_is_wrong_usage(lfv: Lfv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LFV_BATCH_SIZE", "lots")
    outcome = lfv("runs")
    assert outcome.status == 2
    assert outcome.err.startswith("lfv: setting LFV_BATCH_SIZE = 'lots'")


def test_a_misspelt_variable_is_reported(lfv: Lfv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LFV_BATCHSIZE", "7")
    outcome = lfv("version")
    assert outcome.status == 0
    assert "warning: LFV_BATCHSIZE is set but is not a known setting" in outcome.err


def test_sentences() -> None:
    assert sentence(WrongUsage("no run\n  like that")) == "no run like that"
    assert sentence(HostRejected("X says no.")) == "X says no."
    assert sentence(HostUnreachable("X cannot be reached.")).startswith(
        "X cannot be reached; check --endpoint-url"
    )
    assert sentence(PermissionError(13, "Permission denied", "/x")) == "Permission denied: /x"
    unexpected = sentence(KeyError("serial"))
    assert unexpected.startswith("unexpected KeyError: 'serial'")
    assert "--debug" in unexpected
    assert sentence(OutputClosed())


def test_output_cannot_control_the_terminal() -> None:
    assert printable("a\x1b[31mb\u202ec\rd\n") == "a\\x1b[31mb\\u202ec\\rd\\n"
    assert printable(None) == ""
    assert printable("Größe 5 µm") == "Größe 5 µm"


def test_a_closed_pipe_is_not_an_error(home: Path, run: str) -> None:
    program = f"{sys.executable} -c 'import time; time.sleep(1)'"
    done = subprocess.run(
        ["/bin/bash", "-c", f"{LFV} show {run} | (exec <&-; {program}); echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=PLENTY,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LFV_HOME": str(home)},
    )
    assert done.stdout == "141\n"
    assert done.stderr == ""


def test_an_ascii_terminal_gets_escapes(home: Path) -> None:
    program = "from lfv.cli.output import show; from lfv.cli.app import run; run([]); show('µm')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        timeout=PLENTY,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LFV_HOME": str(home), "PYTHONIOENCODING": "ascii"},
    )
    assert done.stdout.endswith(b"\\xb5m\n"), done.stderr


def test_output_without_a_terminal_is_plain(lfv_process: Lfv, run: str) -> None:
    outcome = lfv_process("runs")
    assert outcome.status == 0
    assert "\x1b" not in outcome.out
    lines = outcome.out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith(run)
    assert all(line == line.rstrip() for line in lines)


def test_a_terminal_gets_a_table_that_fits_and_short_ids(home: Path, run: str) -> None:
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [str(LFV), "runs"],
        stdout=secondary,
        stderr=secondary,
        env={"PATH": "/usr/bin:/bin", "LFV_HOME": str(home), "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(secondary)
    written = b""
    with contextlib.suppress(OSError):  # how Linux reports the end of a terminal
        while chunk := os.read(primary, 4096):
            written += chunk
    os.close(primary)
    assert process.wait(timeout=PLENTY) == 0
    lines = written.decode().splitlines()
    assert lines[1].startswith("─")
    assert lines[2].split()[0] == run[:8]
    assert all(len(line) <= 100 for line in lines[1:])


def test_the_version_is_an_option_too(lfv: Lfv) -> None:
    outcome = lfv("--version")
    assert outcome.status == 0
    assert outcome.out == f"lfv {own_version()}\n"


@pytest.mark.parametrize("redirection", [">&-", ">&- 2>&-", "| true"])
def test_a_closed_stdout_ends_quietly(home: Path, run: str, redirection: str) -> None:
    process = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.quote(str(LFV))} runs {redirection}"],
        env={"PATH": "/usr/bin:/bin", "LFV_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=PLENTY,
        check=False,
    )
    assert process.stderr == ""
    assert process.returncode == 0
