"""How the end of a run that ended without an error is recorded."""

from __future__ import annotations

import signal

import pytest
from prefect.exceptions import TerminationSignal

from lfv.run.start import describe_end


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyboardInterrupt(), "interrupted from the keyboard"),
        (SystemExit(143), "the process was terminated"),
        (TerminationSignal(signal.SIGTERM), "the process was terminated"),
        (BaseException("a time-out"), "a time-out"),
    ],
)
def test_the_end_of_a_run_is_described(error: BaseException, text: str) -> None:
    assert describe_end(error) == text
