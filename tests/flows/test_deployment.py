"""The deployment of a flow run is known without a call of the API."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import uuid4

import pytest

from flows import deployment


@pytest.mark.parametrize("known", [uuid4(), None])
def test_a_flow_run_knows_its_deployment(
    monkeypatch: pytest.MonkeyPatch, known: object | None
) -> None:
    flow_run = SimpleNamespace(deployment_id=known, parent_task_run_id=None)
    _in_flow_run(monkeypatch, flow_run)
    monkeypatch.setattr(deployment, "runtime", None)  # not asked
    assert deployment.deployment_id() == (str(known) if known else None)
    if known is None:
        assert deployment.deployment_name() is None


def test_a_flow_called_by_another_belongs_to_its_deployment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _in_flow_run(monkeypatch, SimpleNamespace(deployment_id=None, parent_task_run_id=uuid4()))
    known = SimpleNamespace(id="7", name="scheduled")
    monkeypatch.setattr(deployment, "runtime", SimpleNamespace(deployment=known))
    assert deployment.deployment_id() == "7"
    assert deployment.deployment_name() == "scheduled"


def _in_flow_run(monkeypatch: pytest.MonkeyPatch, flow_run: SimpleNamespace) -> None:
    context = SimpleNamespace(flow_run=flow_run)
    monkeypatch.setattr(deployment, "FlowRunContext", SimpleNamespace(get=lambda: context))
