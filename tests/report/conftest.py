"""Fixtures of the report's tests."""

from __future__ import annotations

import pytest

from lfv.report import RunReport
from tests.support.report_samples import sample_run


@pytest.fixture
def run() -> RunReport:
    return sample_run()
