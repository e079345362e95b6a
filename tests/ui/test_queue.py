"""The review queue over its HTTP interface: no review is lost or recorded twice."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path

from lfv.run.verdicts.review import record_digest, reviewed_manifest
from lfv_store import NewReview
from tests.support.ui import PASSWORD, RUN_ID, Browser, Scene, another, scene, served


def test_two_people_never_get_the_same_part(place: Scene, mara: Browser) -> None:
    with another(mara.client.base_url) as ben:
        mine, theirs = mara.claim(), ben.claim()
        assert len(mine) == 4
        assert len(theirs) == 2
        assert not {one["inspection"] for one in mine} & {one["inspection"] for one in theirs}
        refused = ben.review(mine[0], "accept")
        assert refused.status_code == 409
        assert "somebody else" in refused.json()["error"].lower()
        assert mara.review(mine[0], "accept").status_code == 200
        mara.post("/review/release", window=mara.window)
        assert len(ben.claim()) == 4


def test_a_review_is_recorded_with_what_was_shown(place: Scene, mara: Browser) -> None:
    part, *_ = mara.claim()
    assert part["marks"]
    assert part["good"] in place.parts("accept")
    answer = mara.review(
        part, "reject", reason="scratch", comment="2 cm, deep", overlay="no", compared=part["good"]
    )
    assert answer.status_code == 200
    (review,) = place.store.reviews.history(part["inspection"])
    assert (review.verdict, review.reviewer, review.reason) == ("reject", "mara", "scratch")
    assert review.comment == "2 cm, deep"
    assert review.shown is not None
    assert review.shown["image_sha256"] == part["sha256"]
    assert (review.shown["overlay"], review.shown["compared_with"]) == (False, part["good"])
    page = mara.get(f"/parts/{part['inspection']}").text
    assert "2 cm, deep" in page
    assert "confidence 0.6, limit 0.8" in page
    assert place.store.audit.verify().ok


def test_a_good_part_was_called_normal_and_is_accepted(place: Scene, mara: Browser) -> None:
    anomaly, normal = place.parts("reject")[0], place.parts("accept")[0]
    place.store.reviews.record(NewReview(anomaly, "accept", "ben"))
    place.store.reviews.record(NewReview(normal, "reject", "ben"))
    good = place.store.gallery.good_parts(place.model_id)
    assert sorted(good) == sorted(set(place.parts("accept")) - {anomaly})
    part, *_ = mara.claim()
    assert part["good"] in good
    row = place.store.results.get(part["good"])
    assert part["good_title"] == row["attributes"]["serial"]


def test_undo_shows_the_same_good_part_again(place: Scene, mara: Browser) -> None:
    part, *_ = mara.claim()
    mara.review(part, "reject", compared=part["good"])
    fields = {"inspection": part["inspection"], "window": mara.window}
    others = set(place.parts("accept")) - {part["good"]}
    for other in others:
        place.store.reviews.record(NewReview(other, "accept", "ben"))
    found = mara.post("/review/undo", **fields, token="u" * 20).json()["part"]
    assert (found["good"], found["good_title"]) == (part["good"], part["good_title"])
    mara.review(found, "reject", compared=part["good"], token="v" * 20)
    place.store.reviews.record(NewReview(part["good"], "reject", "ben"))
    found = mara.post("/review/undo", **fields, token="w" * 20).json()["part"]
    assert found["good"] in others
    mara.review(found, "reject", compared=10**9, token="x" * 20)
    found = mara.post("/review/undo", **fields, token="y" * 20).json()["part"]
    assert found["good"] in others


def test_a_repeated_request_is_one_review(place: Scene, mara: Browser) -> None:
    part, *_ = mara.claim()
    first, again = mara.review(part, "accept"), mara.review(part, "accept")
    assert first.json() == again.json()
    assert len(place.store.reviews.history(part["inspection"])) == 1


def test_undo_hands_the_part_out_again(place: Scene, mara: Browser) -> None:
    part, *_ = mara.claim()
    mara.review(part, "reject")
    undone = mara.post(
        "/review/undo", inspection=part["inspection"], window=mara.window, token="u" * 20
    )
    found = undone.json()["part"]
    assert found["inspection"] == part["inspection"]
    assert mara.review(found, "accept", token="v" * 20).status_code == 200
    assert place.store.results.get(part["inspection"])["final_verdict"] == "accept"
    assert place.store.inspections.counts(RUN_ID).review == 5


def test_a_false_alarm_is_accepted_with_a_reason(place: Scene, mara: Browser) -> None:
    page = mara.get("/review").text
    keys = dict(re.findall(r'name="reason" value="([^"]+)" data-key="(\w)"', page))
    assert (keys["no defect (false alarm)"], keys["dust or dirt"]) == ("n", "1")
    assert keys["missing material"] == "9"
    part, *_ = mara.claim()
    assert mara.review(part, "accept", reason="no defect (false alarm)").status_code == 200
    shown = mara.get(f"/parts/{part['inspection']}").text
    assert "<td>no defect (false alarm)</td>" in shown
    assert "<option>no defect (false alarm)</option>" in shown


def test_the_rejected_parts_of_a_run_are_reviewed(place: Scene, mara: Browser) -> None:
    assert f"/review?run={RUN_ID}&amp;show=reject" in mara.get(f"/runs/{RUN_ID}").text
    assert 'data-show="reject"' in mara.get(f"/review?run={RUN_ID}&show=reject").text
    parts = mara.claim(run=RUN_ID, show="reject")
    assert [one["inspection"] for one in parts] == place.parts("reject")
    assert {one["verdict"] for one in parts} == {"reject"}
    assert mara.review(parts[0], "accept").status_code == 200
    again = mara.post("/review/claim", window=mara.window, run=RUN_ID, show="reject", count="yes")
    assert again.json()["waiting"] == 1
    assert mara.get("/review?show=reject").status_code == 400


def test_unsure_parts_are_left_to_others(place: Scene, mara: Browser) -> None:
    part, *_ = mara.claim()
    mara.review(part, "unsure", comment="ask Ana")
    numbers = [one["inspection"] for one in mara.claim()]
    assert part["inspection"] not in numbers
    waiting = mara.post("/review/claim", window=mara.window, run=RUN_ID, show="reject", count="yes")
    assert waiting.json()["known"] == 1
    assert f"/review?again=yes&amp;run={RUN_ID}" in mara.get(f"/review?run={RUN_ID}").text
    mara.post("/review/release", window=mara.window)
    assert part["inspection"] in [one["inspection"] for one in mara.claim(again="yes")]


def test_the_next_person_reads_why_somebody_was_unsure(place: Scene) -> None:
    for name in ("ana", "ben"):
        place.user(name, "reviewer")
    with served(place, second_share=1.0) as ana, another(ana.client.base_url) as ben:
        ana.log_in("ana")
        ben.log_in("ben")
        first, second, *_ = ana.claim()
        ana.review(first, "unsure", comment="is this oil?")
        ana.review(second, "reject", comment="a crack")  # waits for an independent second look
        ana.post("/review/release", window=ana.window)
        found = {}
        while parts := ben.claim():
            found[parts[0]["inspection"]] = parts[0]["unsure"]
            ben.review(parts[0], "reject")
        assert found[first["inspection"]] == {"by": "ana", "said": "is this oil?"}
        assert [one for one in found.values() if one] == [found[first["inspection"]]]
        assert second["inspection"] in found


def test_wrong_reviews_are_refused(place: Scene, mara: Browser) -> None:
    part, *_ = mara.claim()
    for fields in (
        {"answer": "maybe"},
        {"token": "short"},
        {"inspection": "x"},
        {"inspection": str(2**70)},
        {"window": "../x"},
        {"comment": "x" * 5000},
    ):
        assert mara.review(part, **{"answer": "accept", **fields}).status_code == 400, fields
    assert mara.review(part, "accept", inspection="99").status_code == 404
    assert place.store.reviews.history(part["inspection"]) == []


def test_second_looks_are_blind_and_their_agreement_is_shown(place: Scene) -> None:
    for name in ("ana", "ben"):
        place.user(name, "reviewer")
    with served(place, second_share=1.0) as ana, another(ana.client.base_url) as ben:
        assert ana.log_in("ana").status_code == 200
        assert ben.log_in("ben").status_code == 200
        for answer in ("accept", "reject", "accept"):
            ana.review(ana.claim()[0], answer)
        ana.post("/review/release", window=ana.window)
        seen = []
        while parts := ben.claim():
            assert "kind" not in parts[0]
            seen.append(parts[0]["inspection"])
            assert ben.review(parts[0], "accept").status_code == 200
        assert len(seen) == 6
        page = ana.get("/review/agreement").text
        assert "3 parts were reviewed by two people" in page
        assert "ana and ben" in page
        conflict = [part for part in place.parts("review") if part in seen]
        assert len(conflict) == 1


def test_a_picture_that_several_runs_leave_to_people_is_reviewed_once(
    place: Scene, mara: Browser
) -> None:
    run = place.again()
    with another(mara.client.base_url) as ben:
        mine = mara.claim()
        theirs = ben.claim()
    parts = [one["inspection"] for one in (*mine, *theirs)]
    assert parts == place.parts("review")
    part = mine[0]
    (twin,) = part["also"]
    assert place.store.results.get(twin)["run_id"] == run
    assert mara.review(part, "reject", reason="dent", also=f"{twin},{parts[1]}").status_code == 200
    assert place.store.reviews.history(parts[1]) == []  # is another picture
    for number in (part["inspection"], twin):
        (review,) = place.store.reviews.history(number)
        assert (review.verdict, review.reviewer, review.reason) == ("reject", "mara", "dent")
    assert review.shown is not None
    assert review.shown["given_on"] == part["inspection"]
    assert "the same picture in another run" in mara.get(f"/parts/{twin}").text
    assert place.store.reviews.against_the_model() == {(True, "reject"): 1}
    fields = {"inspection": part["inspection"], "window": mara.window}
    again = mara.post("/review/undo", **fields, token="u" * 20).json()["part"]
    assert again["also"] == [twin]
    assert [one.kind for one in place.store.reviews.history(twin)] == ["review", "undo"]
    assert mara.review(again, "accept", token="v" * 20).status_code == 200
    assert twin in [one.inspection_id for one in place.store.reviews.queue()]  # page did not say so
    assert place.store.audit.verify().ok


def test_a_second_look_counts_wherever_the_first_did(tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = stack.enter_context(scene(tmp_path / "home", reviews=1))
        place.again()
        for name in ("ana", "ben", "cid"):
            place.user(name, "reviewer")
        ana = stack.enter_context(served(place, second_share=1.0))
        other = stack.enter_context(another(ana.client.base_url))
        ana.log_in("ana")
        (part,) = ana.claim()
        (twin,) = part["also"]
        ana.review(part, "accept", also=str(twin))
        other.log_in("ben")
        (second,) = other.claim()
        assert (second["inspection"], second["also"]) == (part["inspection"], [twin])
        other.review(second, "reject", also=str(twin))
        for number in (part["inspection"], twin):
            kinds = [one.kind for one in place.store.reviews.history(number)]
            assert kinds == ["review", "second", "conflict"]
        assert len(place.store.reviews.pairs()) == 1
        other.log_in("cid")
        (third,) = other.claim()
        other.review(third, "reject", also=str(twin), token="w" * 20)
        for number in (part["inspection"], twin):
            assert place.store.results.get(number)["final_verdict"] == "reject"


def test_a_signature_is_bound_to_the_record(place: Scene) -> None:
    place.user("ana", "reviewer")
    with served(place, signatures=True) as ana:
        ana.log_in("ana")
        part, *_ = ana.claim()
        wrong = ana.review(part, "reject", password="guessed")
        assert wrong.status_code == 403
        assert place.store.reviews.history(part["inspection"]) == []
        assert ana.review(part, "reject", reason="dent", password=PASSWORD).status_code == 200
    (review,) = place.store.reviews.history(part["inspection"])
    row = place.store.results.get(part["inspection"])
    assert review.signature is not None
    assert review.signature["signed_by"] == "ana"
    assert review.signature["record_sha256"] == record_digest(row, "reject", "dent", "")
    assert record_digest(row, "accept", "dent", "") != record_digest(row, "reject", "dent", "")


def test_taking_a_review_back_is_signed_too(place: Scene) -> None:
    place.user("ana", "reviewer")
    with served(place, signatures=True) as ana:
        ana.log_in("ana")
        part, *_ = ana.claim()
        ana.review(part, "reject", password=PASSWORD)
        back = {"inspection": part["inspection"], "window": ana.window, "token": "u" * 20}
        assert ana.post("/review/undo", **back).status_code == 403
        assert ana.post("/review/undo", **back, password=PASSWORD).status_code == 200
    last = place.store.reviews.history(part["inspection"])[-1]
    assert last.kind == "undo"
    assert last.signature is not None
    assert "take back" in last.signature["meaning"]


def test_reviews_become_a_manifest(place: Scene, mara: Browser) -> None:
    one, two, three, *_ = mara.claim()
    mara.review(one, "accept")
    mara.review(two, "reject")
    mara.review(three, "unsure")
    lines = mara.get(f"/review/corrections?run={RUN_ID}").text.splitlines()
    labels = {json.loads(line)["source-ref"]: json.loads(line)["anomaly-label"] for line in lines}
    assert labels == {one["source"]: 0, two["source"]: 1}
    mara.post("/review/undo", inspection=two["inspection"], window=mara.window, token="u" * 20)
    assert len(list(reviewed_manifest(place.store))) == 1
