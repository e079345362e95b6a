"""Limits of runs that are reached at an event: a time limit would depend on the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lfv.run.budget import Budget


@contextmanager
def limited_once(reached: Callable[[], bool]) -> Iterator[None]:
    """Let runs reach their limit as soon as `reached` returns true, and not before."""

    def reached_limit(*_: object) -> str | None:
        return "the limit is reached" if reached() else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Budget, "reached_limit", reached_limit)
        yield
