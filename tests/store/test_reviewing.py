"""Parts handed out for review, second reviews, reviews taken back, users and sessions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from lfv_store import (
    InvalidRecord,
    NewReview,
    RecordConflict,
    ReviewTaken,
    Store,
    UnknownUser,
)
from tests.support.store_samples import a_model, a_run, after, failed, judged

TTL = timedelta(minutes=5)


@pytest.fixture
def run_id(store: Store) -> str:
    """A run with an accepted line, five to review, and one that could not be inspected."""
    model = a_model(store)
    run = a_run(store, model)
    to_review = (judged(model, n, "review") for n in PARTS)
    store.inspections.record(run, [judged(model, 1), *to_review, failed(7)])
    store.runs.set_status(run, "completed", None, after(60))
    return run


PARTS = (2, 3, 4, 5, 6)


def ids(store: Store) -> list[int]:
    return [one.inspection_id for one in store.reviews.queue()]


def give(store: Store, part: int, verdict: Any, name: str, **values: Any) -> int:
    return store.reviews.record(NewReview(part, verdict, name, **values)).review_id


def outcome(store: Store, part: int) -> Any:
    return store.results.get(part)["final_verdict"]


def counts(store: Store, run_id: str) -> tuple[int, int, int]:
    found = store.inspections.counts(run_id)
    return found.accepted, found.rejected, found.review


def claimed(store: Store, name: str, limit: int = 2, **values: Any) -> list[int]:
    given = {"ttl": TTL, **values}
    found = store.review_leases.claim(name, f"{name}/1", limit=limit, **given)
    return [one.inspection_id for one in found]


def test_nobody_gets_a_part_that_somebody_else_reviews(store: Store, run_id: str) -> None:
    parts = ids(store)
    assert claimed(store, "ana") == parts[:2]
    assert claimed(store, "ben") == parts[2:4]
    assert claimed(store, "ana", run_id="other") == parts[:2]
    with pytest.raises(ReviewTaken, match="somebody else is looking"):
        give(store, parts[0], "accept", "ben", holder="ben/1")
    give(store, parts[0], "accept", "ana", holder="ana/1")
    assert claimed(store, "ana") == [parts[1], parts[4]]
    store.review_leases.release("ana/1")
    assert claimed(store, "cid", limit=9) == [parts[1], parts[4]]
    assert store.review_leases.waiting("ana") == (4, 0)


def test_an_expired_part_is_handed_to_others(store: Store, run_id: str) -> None:
    parts = ids(store)
    assert claimed(store, "ana", ttl=timedelta(seconds=-1)) == parts[:2]
    assert claimed(store, "ben") == parts[:2]
    give(store, parts[0], "reject", "ben", holder="ben/1", seen=0)
    with pytest.raises(ReviewTaken, match="decided on this part meanwhile"):
        give(store, parts[0], "accept", "ana", holder="ana/1", seen=0)
    assert outcome(store, parts[0]) == "reject"


def test_the_same_request_again_is_the_same_review(store: Store, run_id: str) -> None:
    part, other = ids(store)[:2]
    first = give(store, part, "accept", "ana", token="t1", seen=0)
    assert give(store, part, "accept", "ana", token="t1", seen=0) == first
    assert len(store.reviews.history(part)) == 1
    with pytest.raises(InvalidRecord, match="token"):
        give(store, other, "accept", "ana", token="t1")


def test_an_unsure_reviewer_leaves_the_part_to_others(store: Store, run_id: str) -> None:
    part = ids(store)[0]
    give(store, part, "review", "ana", comment="too dark")
    assert outcome(store, part) == "review"
    assert part in ids(store)
    assert store.review_leases.waiting("ana") == (len(ids(store)), 1)
    assert store.review_leases.waiting("ben", run_id=run_id) == (len(ids(store)), 0)
    assert part not in claimed(store, "ana", limit=9)
    store.review_leases.release("ana/1")
    assert part in claimed(store, "ana", limit=9, again=True)
    store.review_leases.release("ana/1")
    assert claimed(store, "ben", limit=1) == [part]
    give(store, part, "accept", "ben")
    assert part not in ids(store)


def test_a_rejected_part_that_a_reviewer_doubts_is_queued(store: Store, run_id: str) -> None:
    accepted = store.results.line(run_id, 1)["inspection_id"]
    give(store, accepted, "review", "ana")
    assert accepted in ids(store)
    assert counts(store, run_id) == (0, 0, 6)
    store.reviews.undo(accepted, "ana")
    assert accepted not in ids(store)
    assert counts(store, run_id) == (1, 0, 5)
    failed_line = store.results.line(run_id, 7)["inspection_id"]
    give(store, failed_line, "review", "ana")
    assert failed_line not in ids(store)
    assert store.review_leases.waiting("ana") == (5, 0)


def test_what_a_policy_decided_is_reviewed_too(store: Store, run_id: str) -> None:
    accepted = store.results.line(run_id, 1)["inspection_id"]
    leases = store.review_leases
    assert claimed(store, "ana", run_id=run_id, decided="reject") == []
    assert leases.unreviewed(run_id, "accept") == 1
    assert claimed(store, "ana", run_id=run_id, decided="accept") == [accepted]
    assert claimed(store, "ben", run_id=run_id, decided="accept") == []
    give(store, accepted, "accept", "ana")
    assert leases.unreviewed(run_id, "accept") == 0
    assert claimed(store, "ben", run_id=run_id, decided="accept") == []
    store.reviews.undo(accepted, "ana")
    assert leases.unreviewed(run_id, "accept") == 1
    assert claimed(store, "ben", run_id=run_id, decided="accept") == [accepted]


def test_a_review_is_taken_back(store: Store, run_id: str) -> None:
    part = ids(store)[0]
    give(store, part, "reject", "ana", second_share=1.0)
    assert counts(store, run_id) == (1, 1, 4)
    with pytest.raises(ReviewTaken, match="not the last"):
        store.reviews.undo(part, "ben")
    undone = store.reviews.undo(part, "ana", "u1")
    assert (undone.kind, undone.verdict) == ("undo", "review")
    assert store.reviews.undo(part, "ana", "u1") == undone
    assert counts(store, run_id) == (1, 0, 5)
    assert claimed(store, "ana", limit=1) == [part]
    with pytest.raises(ReviewTaken):
        store.reviews.undo(part, "ana")
    assert [one.kind for one in store.reviews.history(part)] == ["review", "undo"]
    assert store.audit.verify().ok


def test_the_earlier_review_counts_again(store: Store, run_id: str) -> None:
    part = ids(store)[0]
    give(store, part, "reject", "ana")
    give(store, part, "accept", "ben")
    store.reviews.undo(part, "ben")
    assert outcome(store, part) == "reject"
    store.reviews.undo(part, "ana")
    assert outcome(store, part) == "review"


def test_a_second_review_that_agrees_settles_the_part(store: Store, run_id: str) -> None:
    part = ids(store)[0]
    give(store, part, "accept", "ana", second_share=1.0)
    assert part not in claimed(store, "ana", limit=9)
    store.review_leases.release("ana/1")
    found = {
        one.inspection_id: one for one in store.review_leases.claim("ben", "b", ttl=TTL, limit=9)
    }
    assert (found[part].kind, len(found)) == ("second", 5)
    give(store, part, "accept", "ben", kind="second")
    assert (outcome(store, part), part in ids(store)) == ("accept", False)
    (pair,) = store.reviews.pairs()
    assert (pair.first, pair.second) == ("accept", "accept")
    assert (pair.first_reviewer, pair.second_reviewer) == ("ana", "ben")
    assert part not in claimed(store, "cid", limit=9)


def test_a_third_decides_where_two_disagree(store: Store, run_id: str) -> None:
    part = ids(store)[0]
    give(store, part, "accept", "ana", second_share=1.0)
    give(store, part, "reject", "ben", kind="second")
    assert (outcome(store, part), part in ids(store)) == ("review", True)
    assert part not in claimed(store, "ben", limit=9)
    store.review_leases.release("ben/1")
    assert part in claimed(store, "cid", limit=9)
    give(store, part, "reject", "cid")
    assert outcome(store, part) == "reject"
    assert [one.kind for one in store.reviews.history(part)] == [
        *("review", "second", "conflict", "review"),
    ]
    assert counts(store, run_id) == (1, 1, 4)
    assert store.reviews.against_the_model() == {(False, "reject"): 1}
    assert store.audit.verify().ok


def test_a_second_review_taken_back_is_requested_again(store: Store, run_id: str) -> None:
    part = ids(store)[0]
    give(store, part, "accept", "ana", second_share=1.0)
    give(store, part, "reject", "ben", kind="second")
    store.reviews.undo(part, "ben")
    assert outcome(store, part) == "accept"
    assert store.reviews.pairs() == []
    found = store.review_leases.claim("cid", "c", ttl=TTL, limit=9)
    assert {one.inspection_id: one.kind for one in found}[part] == "second"


def test_parts_reviewed_again_after_an_undo_count_in_the_agreement(
    store: Store, run_id: str
) -> None:
    again, before, never = ids(store)[:3]
    give(store, again, "reject", "ana")
    store.reviews.undo(again, "ana")
    give(store, again, "accept", "ana")
    give(store, before, "reject", "ana")
    give(store, before, "accept", "ben")
    store.reviews.undo(before, "ben")
    give(store, never, "reject", "ana")
    store.reviews.undo(never, "ana")
    assert store.reviews.against_the_model() == {(False, "accept"): 1, (False, "reject"): 1}
    stand = {one.inspection_id: one.verdict for one in store.reviews.latest()}
    assert stand == {again: "accept", before: "reject"}


def test_the_first_of_two_looks_is_the_one_that_was_not_taken_back(
    store: Store, run_id: str
) -> None:
    part = ids(store)[0]
    give(store, part, "reject", "ana", second_share=1.0)
    give(store, part, "accept", "cid")
    store.reviews.undo(part, "cid")
    give(store, part, "reject", "ben", kind="second")
    (pair,) = store.reviews.pairs()
    assert (pair.first_reviewer, pair.first, pair.second) == ("ana", "reject", "reject")
    give(store, part, "accept", "ben")
    store.reviews.undo(part, "ben")
    assert store.reviews.pairs() == [pair]


def test_a_part_whose_earlier_review_counts_again_is_not_handed_out(
    store: Store, run_id: str
) -> None:
    part = store.gallery.page(run_id, outcome="accept", limit=9)[0]["inspection_id"]
    assert store.review_leases.unreviewed(run_id, "accept") == 1
    give(store, part, "accept", "ana")
    give(store, part, "reject", "ben")
    store.reviews.undo(part, "ben")
    assert store.review_leases.unreviewed(run_id, "accept") == 0
    assert claimed(store, "cid", run_id=run_id, decided="accept") == []
    store.reviews.undo(part, "ana")
    assert store.review_leases.unreviewed(run_id, "accept") == 1
    assert claimed(store, "cid", run_id=run_id, decided="accept") == [part]


def test_users_have_sessions(store: Store) -> None:
    assert not store.users.any()
    ana = store.users.add(" Ana Ruiz ", "reviewer", "hash")
    assert (ana.name, ana.role, ana.active, store.users.any()) == (
        "Ana Ruiz",
        "reviewer",
        True,
        True,
    )
    assert "hash" not in repr(ana)
    with pytest.raises(RecordConflict, match="already"):
        store.users.add("Ana Ruiz", "viewer")
    for name in ("", "a\nb", "x" * 101):
        with pytest.raises(InvalidRecord, match="printable"):
            store.users.add(name, "viewer")
    with pytest.raises(InvalidRecord, match="not a role"):
        store.users.add("Ben", "owner")  # type: ignore[arg-type]
    with pytest.raises(UnknownUser):
        store.users.get("Ben")
    store.users.open_session(ana, "secret", ttl=TTL)
    store.users.open_session(ana, "old", ttl=timedelta(seconds=-1))
    assert store.users.session_user("secret") == ana
    assert store.users.session_user("old") is None
    assert store.users.session_user("other") is None
    store.users.close_session("secret")
    assert store.users.session_user("secret") is None


def test_a_changed_user_has_to_log_in_again(store: Store) -> None:
    ana = store.users.add("Ana", "reviewer", "hash")
    store.users.open_session(ana, "one", ttl=TTL)
    changed = store.users.change("Ana", role="admin")
    assert (changed.role, store.users.session_user("one")) == ("admin", None)
    store.users.change("Ana", active=False)
    store.users.open_session(ana, "two", ttl=TTL)
    assert store.users.session_user("two") is None
    assert [one.name for one in store.users.list()] == ["Ana"]
    with pytest.raises(UnknownUser):
        store.users.change("Ben", active=False)
    assert store.audit.verify().ok
