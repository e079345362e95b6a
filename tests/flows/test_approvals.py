"""Runs that name no version use the approved one."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.inspect_images import inspect_images
from lfv.run.errors import ModelInUse, ModelNotApproved
from lfv.run.models.approvals import version_to_stop
from lfv.settings import get_settings
from lfv_store import ModelKey, Store
from tests.support.endpoints import Endpoint


def test_latest_is_the_approved_version_until_that_is_withdrawn(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    inspect_images(source=str(images), project="parts", model_version="2")
    inspect_images(source=str(images), project="parts", model_version="1")
    (approved,) = (one for one in store.models.list() if one.key.model_version == "2")
    store.approvals.approve(approved.model_id, decided_by="ana", reason="compared")
    summary = inspect_images(source=str(images), project="parts")
    assert (summary.model_version, summary.counts.reused) == ("2", 12)
    assert summary.approval is not None
    assert summary.approval.startswith("approved by ana on 20")
    assert store.runs.get(summary.run_id).parameters["approval"] == 1
    assert summary.report is not None
    assert summary.approval in summary.report.read_text("utf-8")
    named = inspect_images(source=str(images), project="parts", model_version="1")
    assert (named.model_version, named.approval) == ("1", None)
    assert version_to_stop(get_settings(), "parts", "latest", force=False) == "2"
    store.approvals.withdraw("parts", host="lookoutvision", decided_by="ana", reason="camera")
    assert inspect_images(source=str(images), project="parts").approval is None
    assert version_to_stop(get_settings(), "parts", "latest", force=False) == "latest"


def test_a_retrained_approved_version_is_refused(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    elsewhere = ModelKey("lookoutvision", "arn:aws:elsewhere/parts/1", "parts", "1")
    model = store.models.register(elsewhere)
    store.approvals.approve(model, decided_by="ana", reason="compared")
    with pytest.raises(ModelNotApproved, match=r"approved by ana .* another account"):
        inspect_images(source=str(images), project="parts")
    (run,) = store.runs.list()
    assert (run.status, run.model_id, run.model_version) == ("failed", None, "latest")
    assert "another account" in str(run.message)


def test_without_the_database_a_stop_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "inspections.db"
    broken.write_bytes(b"no database" * 100)
    settings = get_settings(database_url=f"sqlite:///{broken}")
    with pytest.raises(ModelInUse, match=r"name the version with"):
        version_to_stop(settings, "parts", "latest", force=False)
    assert version_to_stop(settings, "parts", "latest", force=True) == "latest"
