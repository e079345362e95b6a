"""The approved version of a project: approved, replaced and withdrawn, all recorded."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from lfv_store import InvalidRecord, RecordConflict, Store, UnknownModel
from tests.support.store_samples import a_model

HOST = "lookoutvision"


def test_the_last_approval_counts_until_it_is_withdrawn(store: Store) -> None:
    first, second, other = a_model(store), a_model(store, "2"), a_model(store, "1", "caps")
    approvals = store.approvals
    assert approvals.current("bottles", host=HOST) is None
    approvals.approve(first, decided_by="ana", reason="the only one", seen=0)
    approvals.approve(other, decided_by="ana", reason="caps")
    figures = {"known": 8, "p_value": 0.25}
    made = approvals.approve(second, decided_by="ben", reason="better", comparison=figures)
    assert approvals.current("bottles", host=HOST) == made
    assert (made.model_version, made.comparison) == ("2", figures)
    assert approvals.all_current().keys() == {second, other}
    assert approvals.current("bottles", host="edge") is None
    gone = approvals.withdraw("bottles", host=HOST, decided_by="ana", reason="new camera")
    assert gone.model_id is None
    assert approvals.current("bottles", host=HOST) is None
    assert [one.model_version for one in approvals.history("bottles", host=HOST)] == [
        None,
        "2",
        "1",
    ]
    with store.database.read() as conn:
        view = sa.text(
            "SELECT model_version, approved_until FROM model_approvals"
            " WHERE project_name = 'bottles' ORDER BY approval_id"
        )
        rows = conn.execute(view).all()
    assert [row.model_version for row in rows] == ["1", "2", None]
    assert [row.approved_until is None for row in rows] == [False, False, True]
    assert store.audit.verify().ok


def test_concurrent_decisions_do_not_override_each_other(store: Store) -> None:
    first, second = a_model(store), a_model(store, "2")
    made = store.approvals.approve(first, decided_by="ana", reason="the only one", seen=0)
    with pytest.raises(RecordConflict, match="ana has decided"):
        store.approvals.approve(second, decided_by="ben", reason="better", seen=0)
    with pytest.raises(RecordConflict, match="approved already, by ana"):
        store.approvals.approve(first, decided_by="ben", reason="me too", seen=made.approval_id)
    with pytest.raises(RecordConflict, match="no version of caps is approved"):
        store.approvals.withdraw("caps", host=HOST, decided_by="ben", reason="why not")


def test_an_approval_has_a_model_a_name_and_a_reason_and_stays(store: Store) -> None:
    model = a_model(store)
    with pytest.raises(UnknownModel):
        store.approvals.approve(7, decided_by="ana", reason="good")
    for by, reason in (("", "good"), ("ana", " \n")):
        with pytest.raises(InvalidRecord):
            store.approvals.approve(model, decided_by=by, reason=reason)
    made = store.approvals.approve(model, decided_by="ana", reason="good")
    with pytest.raises(InvalidRecord, match="append-only"), store.database.write() as conn:
        conn.execute(sa.text("DELETE FROM approvals"))
    assert made.decided_at.utcoffset() == timedelta()
