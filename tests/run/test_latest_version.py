"""What a training reports about later runs."""

from __future__ import annotations

from lfv.run.models.approvals import latest_after_training
from lfv_store import Store
from tests.support.store_samples import a_model


def after(store: Store, trained: str) -> str | None:
    a_model(store, trained)
    return latest_after_training(store, "bottles", trained, "lookoutvision").text()


def test_runs_take_a_new_version_unless_another_is_approved(store: Store) -> None:
    assert after(store, "1") is None
    said = after(store, "2")
    assert said is not None
    assert "use this one from the next run on" in said
    assert "`lfv models approve bottles 1 --reason WHY` keeps them with version 1" in said
    store.approvals.approve(
        store.models.find("bottles", host="lookoutvision")[-1].model_id,
        decided_by="Ana",
        reason="compared",
    )
    said = after(store, "3")
    assert said is not None
    assert "stay with version 1, approved by Ana" in said
    assert "`lfv models approve bottles 3 --reason WHY`" in said
