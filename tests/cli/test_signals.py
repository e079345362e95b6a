"""Ctrl-C and SIGTERM end the process of a command at any moment, with one line or none."""

from __future__ import annotations

import signal
import subprocess
import sys
from textwrap import dedent

import pytest

from tests.support.waiting import PLENTY

_MAIN = "from lfv.cli.main import main\nmain()"

_WHILE_IMPORTED = """
    import signal, sys

    class Finder:
        def find_spec(self, name, *_):
            if name == "typer":
                signal.raise_signal(signal.SIGINT)

    sys.meta_path.insert(0, Finder())
"""

#: Runs `came` in the command; SIGTERM is handled as in a run.
_IN_THE_COMMAND = """
    import signal, time
    import lfv.cli.version
    from lfv.cli.prefect_api import exit_cleanly_on_sigterm

    def came():
        with exit_cleanly_on_sigterm():
            {body}
            time.sleep(60)

    lfv.cli.version.own_version = came
"""

_LOST = "(type('Lost', (), {{'__del__': lambda _: signal.raise_signal(signal.{name})}})(), None)[1]"

_TURNED_INTO_AN_ERROR = """\
try:
                signal.raise_signal(signal.{name})
            except BaseException:
                raise RuntimeError("Error calling __set_name__") from None"""

_AT_THE_END = """
    import atexit, signal

    atexit.register(signal.raise_signal, signal.SIGINT)
"""


def version(program: str, *, ignore: bool = False) -> subprocess.CompletedProcess[str]:
    """Run `lfv version` in a process of its own, after `program`."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if ignore else None
    try:
        return subprocess.run(
            [sys.executable, "-c", f"{dedent(program)}\n{_MAIN}", "version"],
            capture_output=True,
            text=True,
            timeout=PLENTY,
            check=False,
        )
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)


def _shown() -> str:
    return version("").stdout


def test_ctrl_c_while_modules_are_imported() -> None:
    done = version(_WHILE_IMPORTED)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("how", [_LOST, _TURNED_INTO_AN_ERROR], ids=["lost", "error"])
@pytest.mark.parametrize(
    ("name", "status", "said"),
    [("SIGINT", 130, "lfv: interrupted\n"), ("SIGTERM", 143, "lfv: terminated\n")],
)
def test_a_signal_that_another_package_clears_or_turns_into_an_error(
    how: str, name: str, status: int, said: str
) -> None:
    body = how.format(name=name)
    done = version(_IN_THE_COMMAND.format(body=body))
    assert (done.returncode, done.stdout, done.stderr) == (status, "", said)


def test_ctrl_c_after_the_command_does_not_change_its_status() -> None:
    done = version(_AT_THE_END)
    assert (done.returncode, done.stdout, done.stderr) == (0, _shown(), "")


def test_a_command_that_ignores_ctrl_c_still_does() -> None:
    """Shells start commands with `&` in scripts so."""
    done = version(_AT_THE_END, ignore=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, _shown(), "")
