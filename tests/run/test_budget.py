"""The limits on a run's cost and its model's hosted time."""

from __future__ import annotations

import pytest

from lfv.run.budget import Budget


@pytest.mark.parametrize(
    ("budget", "seconds", "reached"),
    [
        (Budget(None, None, 4.0), 1e9, None),
        (Budget(None, 10, 4.0), 599.0, None),
        (Budget(None, 10, 4.0), 600.0, "the limit of 10 hosted minutes is reached"),
        (Budget(1.0, None, 4.0), 899.0, None),
        (Budget(1.0, None, 4.0), 900.0, "the cost limit of 1.00 USD is reached"),
    ],
)
def test_limits(budget: Budget, seconds: float, reached: str | None) -> None:
    assert budget.reached_limit(seconds) == reached
