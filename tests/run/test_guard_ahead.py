"""A guard that starts before its run needs it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from lfv.run.hosting.guard import GuardConfig
from lfv.run.hosting.guard_client import Guard, guard_ahead
from lfv.settings import Settings, get_settings
from tests.support.processes import guards_of
from tests.support.waiting import wait_until


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str) -> Settings:
    return get_settings(home=tmp_path, database_url=sqlite_url)


def guards() -> set[int]:
    return set(guards_of(os.getpid()))


def config(settings: Settings) -> GuardConfig:
    return GuardConfig(settings.store_url, "a-run", 5.0, str(settings.home / "guard.log"))


def test_the_first_guard_is_the_one_started_ahead(settings: Settings) -> None:
    with guard_ahead(settings):
        (ahead,) = guards()
        first = Guard(config(settings), settings)
        second = Guard(config(settings), settings)
        assert first.pid == ahead
        assert second.pid != ahead
    assert guards() == {first.pid, second.pid}
    first.close()
    second.close()
    assert not guards()


def test_an_unused_guard_ends_with_the_block(settings: Settings) -> None:
    with guard_ahead(settings):
        assert len(guards()) == 1
    assert not guards()


def test_a_killed_guard_started_ahead_is_replaced(settings: Settings) -> None:
    with guard_ahead(settings):
        (ahead,) = guards()
        os.kill(ahead, signal.SIGKILL)
        guard = Guard(config(settings), settings)
        assert guard.pid != ahead
    wait_until(lambda: guards() == {guard.pid})
    guard.close()
