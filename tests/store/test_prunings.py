"""Masks are deleted with a signature only, which `lfv audit verify` checks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lfv_store import InvalidRecord, OldMasks, Signature, Store
from lfv_store.audit.log import verify
from lfv_store.errors import StoreError
from tests.support.store_samples import a_model, a_run, after, segmented
from tests.support.tampering import tampering

SIGNED = Signature("ana", "kept ten years, QM 7.5.3")


@pytest.fixture
def used(store: Store) -> Store:
    """Three masks; a later run has used the answer of the last one."""
    model = a_model(store)
    run = a_run(store, model)
    store.inspections.record(run, [segmented(model, line) for line in (1, 2, 3)])
    (known,) = (one for one in store.verdicts.candidates(run) if one.line_number == 3)
    again = segmented(model, 3, at=after(500))
    reused = replace(again, detection=known.detection_id, reused=True)
    store.inspections.record(a_run(store, model, run_id="again"), [reused])
    return store


def masks(store: Store, run: str = "again") -> list[bool]:
    found = store.verdicts.candidates(run)
    return [store.results.mask(one.detection_id) is not None for one in found]


def test_old_masks_are_deleted_and_named_and_the_log_is_intact(used: Store) -> None:
    (run,) = (one.run_id for one in used.runs.list() if one.run_id != "again")
    assert used.prunings.old_masks(after(2)) == OldMasks(1, 6)
    found = used.prunings.old_masks(after(100))
    assert found == OldMasks(2, 12)  # the third was used since
    assert used.prunings.delete_masks(after(100), SIGNED, older_than_days=3650) == found
    assert used.prunings.old_masks(after(100)) == OldMasks()
    assert masks(used, run) == [False, False, True]
    assert masks(used) == [True]
    first, *_, last = (one.detection_id for one in used.verdicts.candidates(run))
    deletion = used.prunings.deletion_of_mask(first)
    assert deletion is not None
    assert deletion.by == "ana"
    assert used.prunings.deletion_of_mask(last) is None
    entry = [one for one in used.audit.entries() if one.action == "pruned"][-1]
    facts = entry.parsed()["facts"]
    assert (entry.actor, entry.subject, facts["number"]) == ("ana", "masks", 2)
    assert facts["signature"] == {"by": "ana", "reason": "kept ten years, QM 7.5.3"}
    report = used.audit.verify()
    assert report.problems == []
    # Nothing old: nothing is recorded.
    used.prunings.delete_masks(after(100), SIGNED, older_than_days=3650)
    assert used.audit.head() == report.head


@pytest.mark.parametrize("signature", [Signature("", "a reason"), Signature("ana", " ")])
def test_without_name_or_reason_nothing_is_deleted(used: Store, signature: Signature) -> None:
    with pytest.raises(InvalidRecord, match="a name and a reason"):
        used.prunings.delete_masks(after(1000), signature, older_than_days=1)
    assert used.prunings.old_masks(after(1000)).number == 3


def test_masks_deleted_in_another_way_are_detected(used: Store) -> None:
    used.prunings.delete_masks(after(2), SIGNED, older_than_days=1)
    assert used.audit.verify().ok
    # The trigger is restored, and deletions without it are detected.
    with pytest.raises(StoreError, match="append-only"), used.database.write() as conn:
        conn.exec_driver_sql("DELETE FROM masks")
    with tampering(used) as conn:
        conn.exec_driver_sql("DELETE FROM masks")
        kinds = [(one.kind, one.table) for one in verify(conn).problems]
    assert kinds.count(("mask", "masks")) == 2


def test_an_entry_without_signature_covers_nothing(used: Store) -> None:
    (run,) = (one.run_id for one in used.runs.list() if one.run_id != "again")
    ids = [one.detection_id for one in used.verdicts.candidates(run)]
    used.prunings.record("mallory", "masks", older_than_days=1, number=3, runs=map(str, ids))
    with tampering(used) as conn:
        conn.exec_driver_sql("DELETE FROM masks")
        kinds = [one.kind for one in verify(conn).problems]
    assert kinds.count("mask") == 3
