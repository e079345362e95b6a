"""Every operation is implemented, and the page about it is current."""

from __future__ import annotations

from pathlib import Path

import pytest

from lfv.client.api import service_model
from lfv.server.coverage import implemented_in, page

PAGE = Path(__file__).parents[2] / "docs" / "api-coverage.md"


@pytest.mark.parametrize("operation", service_model().operation_names)
def test_every_operation_is_answered(operation: str) -> None:
    assert implemented_in(operation)


def test_page_is_up_to_date() -> None:
    assert page() in PAGE.read_text(encoding="utf-8"), "run `make docs`"
    assert "22 of 22 operations" in page()
