"""Forked guards: a guard's imports take most of a second, and nearly every flow has one.

Real guards are used in tests/faults, and wherever `lfv` runs as a process.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

import pytest

from lfv.settings import Settings, child_environment
from tests.support.forks import ROOT, Call, Forked, Forks, forks

_GUARD = "lfv.run.hosting.guard"
#: What a guard imports once it knows its database.
_DATABASES = ("lfv_store.dialects.postgresql", "lfv_store.dialects.sqlite", "psycopg")


class ForkedGuard:
    """A guard with its pipes, as the run's side uses `subprocess.Popen`."""

    def __init__(self, guards: Forks, settings: Settings) -> None:
        reading, stdin = os.pipe()
        stdout, writing = os.pipe()
        errors = os.open(os.devnull, os.O_WRONLY)
        call = Call(_GUARD, [], child_environment(settings), str(ROOT), new_session=True)
        self._process: Forked = guards.start(call, stdin=reading, stdout=writing, stderr=errors)
        for descriptor in (reading, writing, errors):
            os.close(descriptor)
        self.pid = self._process.pid
        self.stdin = os.fdopen(stdin, "wb")
        self.stdout = os.fdopen(stdout, "rb")
        self.poll, self.wait, self.kill = self._process.poll, self._process.wait, self._process.kill

    def communicate(self) -> None:
        """Wait for its end and close its pipes."""
        self.stdin.close()
        self.wait()
        self.stdout.close()


def guard_forks() -> AbstractContextManager[Forks]:
    """Start the process from which guards are forked."""
    return forks(_GUARD, *_DATABASES)


def fork_guards(guards: Forks, patch: pytest.MonkeyPatch) -> None:
    """Let the guards of this process's runs be forked until `patch` is undone."""
    patch.setattr(
        "lfv.run.hosting.guard_client._launch", lambda settings: ForkedGuard(guards, settings)
    )
