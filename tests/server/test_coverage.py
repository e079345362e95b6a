"""Every operation is implemented."""

from __future__ import annotations

from lfv.client.api import service_model
from lfv.server.operations import HANDLERS


def test_every_operation_is_implemented() -> None:
    assert {*HANDLERS, "DetectAnomalies"} == set(service_model().operation_names)
