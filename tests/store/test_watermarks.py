"""Which run claims which object of a source."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from lfv_store import (
    Claims,
    ImageFacts,
    InvalidRecord,
    NewInspection,
    ObjectClaim,
    ObjectStamp,
    PendingItem,
    Retries,
    Store,
)
from tests.support.store_samples import a_run

TTL = timedelta(minutes=5)
RETRIES = Retries(frozenset({"throttled"}), frozenset({"ended"}), attempts=2)
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def stamp(version: int) -> ObjectStamp:
    return ObjectStamp(100, str(version))


def digest(key: str, version: int) -> str:
    return hashlib.sha256(f"{key} {version}".encode()).hexdigest()


def begin(store: Store, run_id: str, **facts: str) -> int:
    a_run(store, run_id=run_id, **facts)
    return store.watermarks.begin(run_id, TTL)


def plan(
    store: Store, run_id: str, keys: Sequence[str], *, first: int = 1, version: int = 1
) -> set[str]:
    """Plan lines for some objects; return those that the run got."""
    pending, claims = [], []
    for line, key in enumerate(keys, first):
        sha256 = digest(key, version)
        pending.append(PendingItem(line, key, ImageFacts(sha256, "png", 64, 64, 100)))
        claims.append(ObjectClaim(line, key, stamp(version), sha256))
    store.inspections.plan(
        run_id,
        pending=pending,
        through_line=first + len(keys) - 1,
        claims=Claims(claims, RETRIES),
    )
    lines = range(first, first + len(keys))
    return {
        item.source_ref
        for item in store.inspections.pending(run_id, duplicate=None)
        if item.line_number in lines
    }


def fail(store: Store, run_id: str, line: int, code: str) -> None:
    (item,) = [
        one for one in store.inspections.pending(run_id, duplicate=None) if one.line_number == line
    ]
    failed = NewInspection(
        line_number=line,
        source_ref=item.source_ref,
        inspected_at=NOW,
        image=item.image,
        error_code=code,
        error_message="no answer",
    )
    store.inspections.record(run_id, [failed])


def test_an_object_belongs_to_the_run_that_claimed_it_first(store: Store) -> None:
    source = begin(store, "a")
    assert begin(store, "b") == source
    assert plan(store, "a", ["1", "2"]) == {"1", "2"}
    assert plan(store, "b", ["1", "2", "3"]) == {"3"}
    assert store.inspections.counts("b").total == 1


def test_projects_and_sources_have_separate_claims(store: Store) -> None:
    begin(store, "a")
    begin(store, "b", project_name="another")
    begin(store, "c", source="elsewhere/")
    for run in "abc":
        assert plan(store, run, ["1"]) == {"1"}


def test_objects_with_the_stamp_of_a_claim_are_unchanged(store: Store) -> None:
    source = begin(store, "a")
    plan(store, "a", ["1", "2"])
    seen = {"1": stamp(1), "2": stamp(2), "3": stamp(1)}
    assert store.watermarks.unchanged(source, seen, RETRIES) == {"1"}


def test_objects_of_a_live_run_are_in_progress_and_those_of_a_dead_run_are_new(
    store: Store,
) -> None:
    begin(store, "a")
    plan(store, "a", ["1", "2", "3"])
    fail(store, "a", 1, "rejected")
    fail(store, "a", 2, "ended")
    seen = {"1": stamp(1), "2": stamp(1), "3": stamp(1), "4": stamp(1)}
    found = store.watermarks.known("a", seen, RETRIES)
    assert (found.recorded, found.in_progress) == ({"1"}, {"3"})
    changed = store.watermarks.known("a", {"1": stamp(2)}, RETRIES)
    assert not changed.recorded | changed.in_progress
    store.watermarks.release("a")
    found = store.watermarks.known("a", seen, RETRIES)
    assert (found.recorded, found.in_progress) == ({"1"}, frozenset())


def test_the_same_content_with_another_stamp_is_not_a_new_object(store: Store) -> None:
    source = begin(store, "a")
    begin(store, "b")
    plan(store, "a", ["1"])
    claim = ObjectClaim(1, "1", stamp(7), digest("1", 1))
    store.inspections.plan("b", through_line=1, claims=Claims([claim], RETRIES))
    assert store.watermarks.unchanged(source, {"1": stamp(7)}, RETRIES) == {"1"}
    assert plan(store, "b", ["1"], first=2, version=2) == {"1"}


@pytest.mark.parametrize(("code", "times"), [("throttled", 2), ("rejected", 1), ("ended", 4)])
def test_an_error_leaves_an_object_new_as_often_as_its_code_allows(
    store: Store, code: str, times: int
) -> None:
    source = begin(store, "a")
    for line in range(1, times + 1):
        assert plan(store, "a", ["1"], first=line) == {"1"}
        fail(store, "a", line, code)
    taken = store.watermarks.unchanged(source, {"1": stamp(1)}, RETRIES)
    assert taken == (set() if code == "ended" else {"1"})


def test_a_lost_run_leaves_its_objects_to_the_next(store: Store) -> None:
    begin(store, "a")
    begin(store, "b")
    plan(store, "a", ["1", "2"])
    fail(store, "a", 1, "rejected")
    assert store.watermarks.take_over("b", "ended", "The run ended.") == 0
    store.watermarks.release("a")
    assert store.watermarks.take_over("b", "ended", "The run ended.") == 1
    assert plan(store, "b", ["1", "2"]) == {"2"}
    assert store.inspections.counts("a").pending == 0
    assert store.results.errors_by_code("a") == {"rejected": 1, "ended": 1}
    assert store.audit.verify().ok


def test_a_run_that_came_back_keeps_its_objects(store: Store) -> None:
    begin(store, "a")
    begin(store, "b")
    plan(store, "a", ["1"])
    store.watermarks.release("a")
    store.watermarks.begin("a", TTL)
    assert store.watermarks.take_over("b", "ended", "The run ended.") == 0
    store.watermarks.renew("a", timedelta(seconds=-1))
    assert store.watermarks.take_over("b", "ended", "The run ended.") == 1


def test_claims_need_a_started_run(store: Store) -> None:
    a_run(store, run_id="a")
    with pytest.raises(InvalidRecord, match="begin"):
        plan(store, "a", ["1"])
    with pytest.raises(InvalidRecord, match="begin"):
        store.watermarks.source_of("a")


def test_the_digest_is_of_the_objects_of_a_run(store: Store) -> None:
    source = begin(store, "a")
    assert not store.watermarks.has_objects(source)
    plan(store, "a", ["1", "2"])
    lines = "".join(f"{line} {key} {digest(key, 1)}\n" for line, key in ((1, "1"), (2, "2")))
    assert store.watermarks.digest("a") == hashlib.sha256(lines.encode()).hexdigest()
    assert store.watermarks.has_objects(source)
