"""A version is approved after it was compared; runs use it from then on."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from lfv.client.staging import StagedDataset
from lfv.client.training import TrainedModel
from lfv.formats.host_kinds import BATCH_JOB
from lfv.formats.refs import S3Ref
from lfv.run.models.approvals import approval_digest
from lfv.run.verdicts.decide import decision_digest
from lfv.ui.views import models
from lfv_store import ModelKey, NewReview
from tests.support.ui import PASSWORD, POLICY, RUN_ID, Browser, Scene, served
from tests.support.waiting import wait_until

HOST = "lookoutvision"


def fields(page: str) -> dict[str, str]:
    """The hidden fields of the last form that approves."""
    form = page[page.rindex('/approve"') :].split("</form>")[0]
    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', form.replace("&#34;", '"'))) | {
        "figures": re.findall(r'name="figures" value="([^"]*)"', form)[0].replace("&#34;", '"')
    }


def test_a_version_is_approved_with_the_comparison_that_was_shown(
    place: Scene, mara: Browser
) -> None:
    other = place.second_version({1: True, 4: False})
    place.store.reviews.record(NewReview(place.parts()[0], "reject", "ben"))
    address = f"/models/{place.model_id}/compare/{other}"
    page = mara.get(address).text
    assert "No version of flange is approved yet" in page
    shown = fields(page) | {"reason": "right on line 1"}
    place.store.reviews.record(NewReview(place.parts()[3], "accept", "ben"))  # meanwhile
    changed = mara.post(f"/models/{other}/approve", **shown)
    assert changed.status_code == 409
    assert "figures have changed" in changed.json()["error"]
    shown = fields(mara.get(address).text) | {"reason": "right on line 1"}
    assert mara.post(f"/models/{other}/approve", **{**shown, "reason": " "}).status_code == 400
    assert mara.post(f"/models/{other}/approve", **shown).status_code == 303
    approval = place.store.approvals.current("flange", host=HOST)
    assert approval is not None
    assert (approval.model_id, approval.decided_by) == (other, "mara")
    assert approval.comparison is not None
    assert approval.comparison["only_second_right"] == 2
    assert ">approved</span>" in mara.get("/models").text
    page = mara.get(f"/models/{other}").text
    assert "version 2 alone on 2 of 2" in page
    assert "Inspections of flange use version <b>2</b>" in page
    again = mara.post(f"/models/{place.model_id}/approve", **shown)
    assert (again.status_code, "mara has decided" in again.text) == (409, True)
    seen = str(approval.approval_id)
    gone = mara.post(f"/models/{other}/withdraw", seen=seen, reason="camera moved")
    assert gone.status_code == 303
    assert place.store.approvals.current("flange", host=HOST) is None
    assert place.store.audit.verify().ok


def test_approvals_are_signed_if_signatures_are_required(place: Scene) -> None:
    place.user("ana", "engineer")
    address = f"/models/{place.model_id}"
    with served(place, signatures=True) as ana:
        ana.log_in("ana")
        assert "Password, to sign" in ana.get(address).text
        given = {"seen": "0", "reason": "the only one"}
        for wrong in ({}, {"password": "guessed"}):
            assert ana.post(f"{address}/approve", **given, **wrong).status_code == 403
        assert place.store.approvals.current("flange", host=HOST) is None
        assert ana.post(f"{address}/approve", **given, password=PASSWORD).status_code == 303
        made = place.store.approvals.current("flange", host=HOST)
        assert made is not None
        assert made.signature is not None
        model = place.store.models.get(place.model_id)
        digest = approval_digest(model, "1", "the only one", None)
        assert made.signature["record_sha256"] == digest
        assert "approve" in made.signature["meaning"]
        withdrawn = {"seen": str(made.approval_id), "reason": "camera moved"}
        assert ana.post(f"{address}/withdraw", **withdrawn).status_code == 403
        gone = ana.post(f"{address}/withdraw", **withdrawn, password=PASSWORD)
        assert gone.status_code == 303
        limits = {"text": yaml.safe_dump(POLICY), "reason": "try"}
        apply = f"/runs/{RUN_ID}/policy/apply"
        assert ana.post(apply, **limits).status_code == 403
        assert ana.post(apply, **limits, password=PASSWORD).status_code == 303
    decision = place.store.verdicts.decisions(RUN_ID)[-1]
    assert decision.signature is not None
    assert decision.signature["record_sha256"] == decision_digest(RUN_ID, decision.policy, "try")
    assert place.store.audit.verify().ok


def test_a_batch_job_is_not_approved(place: Scene, mara: Browser) -> None:
    job = place.store.models.register(ModelKey(BATCH_JOB, "arn:aws:job/1", "flange", "1"))
    refused = mara.post(f"/models/{job}/approve", seen="0", reason="because")
    assert (refused.status_code, "batch job" in refused.text) == (400, True)
    assert mara.get(f"/models/{job}/compare/{job}").status_code == 404


def test_a_reviewer_does_not_approve(place: Scene, mara: Browser) -> None:
    place.user("mara", "reviewer")
    mara.log_in("mara")
    assert "/approve" not in mara.get(f"/models/{place.model_id}").text
    refused = mara.post(f"/models/{place.model_id}/approve", seen="0", reason="because")
    assert refused.status_code == 403


def test_runs_stay_with_a_version_while_the_next_is_trained(
    place: Scene, mara: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.store.reviews.record(NewReview(place.parts()[5], "accept", "ben"))

    def train(*_: object, **__: Any) -> TrainedModel:
        data = StagedDataset(S3Ref("lfv", "train.manifest"), 20, 10, 10, 0, (), 96, 64)
        none = dict.fromkeys(("f1", "precision", "recall", "evaluation_result", "created_at"))
        return TrainedModel("flange", "2", "arn", **none, seconds=1.0, train=data, test=None)

    monkeypatch.setattr(models, "train_project", train)
    address = f"/models/{place.model_id}"
    assert mara.post(f"{address}/retrain", train="yes", hold="yes").status_code == 303
    wait_until(lambda: "Runs use version 1 until another is approved" in mara.get(address).text)
    approval = place.store.approvals.current("flange", host=HOST)
    assert approval is not None
    assert approval.model_id == place.model_id
