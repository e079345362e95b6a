"""How a run is ended early, and in which order its parts are notified."""

from __future__ import annotations

from lfv.run.control import Ending, RunControl


def test_what_was_started_last_is_ended_first() -> None:
    control, told = RunControl(), list[str]()
    with (
        control.on_end(lambda: told.append("other processes")),
        control.on_end(lambda: told.append("this process")),
    ):
        control.end(Ending.LIMIT)
    assert told == ["this process", "other processes"]
