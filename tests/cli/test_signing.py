"""Decisions of people on the command line, signed with the password of the pages."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lfv.run.models.approvals import APPROVES, approval_digest
from lfv.ui.accounts import hash_password
from tests.cli.conftest import POLICY

if TYPE_CHECKING:
    from lfv_store import Store
    from tests.cli.conftest import Lfv, Outcome

PASSWORD = "correct horse battery"


def test_decisions_are_signed_where_signatures_are_required(
    lfv: Lfv, store: Store, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.users.add("Ana", "engineer", hash_password(PASSWORD))
    store.users.add("Ben", "reviewer", hash_password(PASSWORD))
    monkeypatch.setenv("LFV_SIGNATURES", "true")

    def signed(*command: str, password: str = PASSWORD, by: str = "Ana") -> Outcome:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        return lfv(*command, "--by", by, "--password-stdin")

    approve = ("models", "approve", "flange", "1", "--reason", "better")
    for wrong in ({"password": "guessed"}, {"by": "Ben"}, {"by": "Eve"}):
        assert "cannot sign" in signed(*approve, **wrong).err
    assert store.approvals.history("flange", host="lookoutvision") == []
    assert signed(*approve).status == 0
    (made,) = store.approvals.history("flange", host="lookoutvision")
    assert made.signature is not None
    assert (made.signature["signed_by"], made.signature["meaning"]) == ("Ana", APPROVES)
    model = store.models.get(made.model_id or 0)
    assert made.signature["record_sha256"] == approval_digest(model, "1", "better", None)
    assert signed("models", "withdraw", "flange", "--reason", "camera").status == 0
    assert store.approvals.history("flange", host="lookoutvision")[0].signature is not None

    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(POLICY))
    assert signed("decide", run, "--policy", str(policy), by="Ben").status == 1
    assert signed("decide", run, "--policy", str(policy)).status == 0
    assert store.verdicts.decisions(run)[-1].signature is not None
    review = ("review", "record", run, "3", "--verdict", "accept")
    assert signed(*review, by="Ben").status == 0
    part = store.results.line(run, 3)["inspection_id"]
    assert store.reviews.history(part)[-1].signature is not None
