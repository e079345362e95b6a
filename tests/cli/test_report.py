"""`lfv report`: writes the report of a run again from its current record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.report_samples import Page

if TYPE_CHECKING:
    from lfv.settings import Settings
    from tests.cli.conftest import Lfv

STRICTER = """
version: 2
name: stricter
default:
  classification: {min_confidence: 0.6}
"""


@pytest.fixture
def stricter(tmp_path: Path) -> Path:
    file = tmp_path / "stricter.yaml"
    file.write_text(STRICTER)
    return file


def shown(outcome_path: str) -> str:
    return Page(Path(outcome_path).read_text(encoding="utf-8")).text


def test_the_report_shows_the_record_of_the_run(lfv: Lfv, run: str, settings: Settings) -> None:
    outcome = lfv("report", run[:4])
    assert outcome.status == 0, outcome.err
    assert outcome.out.strip() == str(settings.report_path(run))
    text = shown(outcome.out.strip())
    assert "flange, model version 1: 1 of 4 rejected" in text
    assert "The end of the image is missing." in text
    assert "scratch 2.00 %" in text
    assert "lfv-audit:" in text
    assert text.count("no picture") == 3  # the images themselves are missing


def test_it_follows_a_later_decision(lfv: Lfv, run: str, stricter: Path) -> None:
    lfv("report", run)
    assert lfv("decide", run, "--policy", stricter, "--by", "Ana Ruiz").status == 0
    text = shown(lfv("report", run).out.strip())
    assert "2 of 4 rejected" in text
    assert "decision 2, by Ana Ruiz" in text
    assert '"stricter"' in text
    assert "reject from 60 %" in text


def test_it_shows_reviews(lfv: Lfv, run: str) -> None:
    reviewed = lfv(
        "review", run, "3", "--verdict", "accept", "--by", "Ana Ruiz", "--comment", "dust"
    )
    assert reviewed.status == 0
    assert "Reviewed by Ana Ruiz, accept: dust" in shown(lfv("report", run).out.strip())


def test_json_has_the_summary(lfv: Lfv, run: str, settings: Settings) -> None:
    summary = lfv("report", run, "--json").json()
    assert summary["report"] == str(settings.report_path(run))
    assert summary["counts"]["total"] == 4
