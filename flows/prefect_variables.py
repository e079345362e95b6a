"""Defaults for runs of deployments, which a plant keeps as Prefect variables.

They do not apply to runs started on the command line.
"""

from __future__ import annotations

import logging
from typing import Any

from prefect.variables import Variable

from flows.deployment import deployment_id

logger = logging.getLogger(__name__)

#: A verdict policy, as JSON, or the path of a file on the worker's machine.
POLICY = "lfv_policy"
#: US dollars that a run may cost.
MAX_COST = "lfv_max_cost"
#: Share of rejected images from which `lfv.reject-rate.high` is emitted.
REJECT_RATE_LIMIT = "lfv_reject_rate_limit"
DEFAULT_REJECT_RATE_LIMIT = 0.3


def policy() -> str | dict[str, Any] | None:
    """Return the plant's verdict policy, or None."""
    value = _variable(POLICY)
    if value is None or isinstance(value, str | dict):
        return value
    raise ValueError(f"Prefect variable {POLICY} must be a policy or the path of one")


def max_cost() -> float | None:
    """Return the plant's cost limit for a run, or None."""
    return _positive(MAX_COST)


def reject_rate_limit() -> float:
    """Return the share of rejected images that counts as high."""
    return _positive(REJECT_RATE_LIMIT) or DEFAULT_REJECT_RATE_LIMIT


def _positive(name: str) -> float | None:
    value = _variable(name)
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if number <= 0:
        raise ValueError(f"Prefect variable {name} must be a number above 0, not {value!r}")
    return number


def _variable(name: str) -> Any:
    if deployment_id() is None:
        return None
    return Variable.get(name, default=None)
