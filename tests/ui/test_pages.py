"""The content of pages: runs, parts, costs, pictures, other limits."""

from __future__ import annotations

import hashlib
import io
import os
import re
import sqlite3
from pathlib import Path

import pytest
import yaml
from PIL import Image

from lfv.client.policy import Policy
from lfv.run.active import open_reader
from lfv.run.report import report_run
from lfv.run.verdicts import policy_trial
from lfv.run.verdicts.policy_trial import Prices, try_on_run
from lfv.ui.render import asset
from lfv.ui.views import runs
from lfv_store import NewReview
from tests.support.ui import POLICY, RUN_ID, Browser, Scene, part_picture
from tests.support.waiting import wait_until


def test_every_page_answers(place: Scene, mara: Browser) -> None:
    part = place.parts("reject")[0]
    for address in (
        *("/", f"/runs/{RUN_ID}", f"/runs/{RUN_ID}/charts", f"/runs/{RUN_ID}/policy", "/parts"),
        *(f"/parts/{part}", "/models", f"/models/{place.model_id}", "/costs", "/review"),
        *("/review/agreement", "/health", "/assets/style.css", "/assets/review.js"),
    ):
        answer = mara.get(address)
        assert answer.status_code == 200, address
        assert "Traceback" not in answer.text
    for address in ("/runs/nothing", "/parts/99", f"/parts/{2**63}", "/models/99", "/assets/x.js"):
        assert mara.get(address).status_code == 404, address
    for address in ("/nothing", "/runs/", f"/runs/{RUN_ID}/nothing", "/review/claim"):
        answer = mara.get(address)
        assert answer.status_code == 404, address
        assert 'There is nothing here.</p>\n<p><a href="/">To the runs</a>' in answer.text
    assert mara.get("/parts/").headers["location"].endswith("/parts")
    assert mara.get(f"/runs/{RUN_ID}?show=everything").status_code == 404
    assert mara.get("/", headers={"accept": "application/json"}).status_code == 200


def test_the_page_names_the_current_user(mara: Browser) -> None:
    text = mara.get("/").text
    assert "mara, admin" in text
    assert "this machine" in text


def test_older_runs_are_a_page_away(
    place: Scene, mara: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = [place.again(), place.again()]
    monkeypatch.setattr(runs, "_RUNS", 1)
    address, seen = "/", []
    while True:
        page = mara.get(address).text
        seen += re.findall(r'<td><a href="/runs/([0-9a-f-]+)">', page)
        more = re.search(r'href="(/\?before=[^"]+)">Older runs', page)
        if more is None:
            break
        address = more[1]
    assert seen == [*reversed(newer), RUN_ID]
    assert mara.get("/?before=nothing").status_code == 404


def test_a_run_is_filtered(place: Scene, mara: Browser) -> None:
    def names(query: str) -> list[str]:
        text = mara.get(f"/runs/{RUN_ID}?{query}").text
        return [f"part-{n:04d}.png" for n in range(1, 13) if f"part-{n:04d}.png</a>" in text]

    assert names("show=accept") == ["part-0001.png", "part-0002.png", "part-0003.png"]
    assert names("show=reject") == ["part-0004.png", "part-0005.png"]
    assert len(names("show=review")) == 6
    assert names("show=reject&after=4") == ["part-0005.png"]
    assert names("anomaly=scratch&show=accept") == []
    assert len(names("anomaly=scratch")) == 8
    error = mara.get(f"/runs/{RUN_ID}?show=error").text
    assert "source_not_found" in error
    place.store.reviews.record(NewReview(place.parts("accept")[0], "reject", "ben"))
    assert names("show=reject") == ["part-0001.png", "part-0004.png", "part-0005.png"]


def test_the_report_of_a_run_opens_in_a_sandbox_of_its_own(place: Scene, mara: Browser) -> None:
    moved = mara.get(f"/runs/{RUN_ID}/report", follow_redirects=False)
    assert (moved.status_code, moved.headers["location"]) == (303, f"/runs/{RUN_ID}")
    assert f"/runs/{RUN_ID}/report" not in mara.get(f"/runs/{RUN_ID}").text
    report = place.settings.report_path(RUN_ID)
    report.parent.mkdir(parents=True)
    report.write_text("<!doctype html><title>a report</title>")
    answer = mara.get(f"/runs/{RUN_ID}/report")
    assert (answer.status_code, "a report" in answer.text) == (200, True)
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert f'href="/runs/{RUN_ID}/report"' in mara.get(f"/runs/{RUN_ID}").text
    assert mara.get("/runs/nothing/report").status_code == 404


def test_a_report_older_than_reviews_is_written_again(place: Scene, mara: Browser) -> None:
    address, part = f"/runs/{RUN_ID}", place.parts("reject")[0]
    with open_reader(place.settings) as reader:
        report_run(RUN_ID, place.store, reader, place.settings)
    assert "The report was written" not in mara.get(address).text
    place.store.reviews.record(NewReview(part, "accept", "ben"))
    place.store.reviews.undo(part, "ben")
    place.store.reviews.record(NewReview(part, "accept", "ben"))
    page = mara.get(address).text
    assert "The report was written before the last review of 1 part." in page
    assert f"lfv report {RUN_ID[:8]}" in page
    assert mara.client.post(f"{address}/report").status_code == 403
    assert mara.post(f"{address}/report").status_code == 303
    wait_until(lambda: "The report was written again" in mara.get(address).text)
    assert "before the last" not in mara.get(address).text
    assert "after reviews of 1 image" in place.settings.report_path(RUN_ID).read_text()
    place.store.reviews.record(NewReview(part, "reject", "ben"))
    assert "before the last review of 1 part" in mara.get(address).text


def test_a_report_links_to_the_pictures_of_known_images_and_opens_with_them(
    place: Scene, mara: Browser
) -> None:
    def report(run: str, **options: bool) -> str:
        with open_reader(place.settings) as reader:
            report_run(run, place.store, reader, place.settings, **options)
        return place.settings.report_path(run).read_text()

    def pictures(page: str) -> list[str]:
        return re.findall(r'<img[^>]* src="([^"]*)"', page)

    def kept() -> dict[str, float]:
        found = place.settings.thumbnails_folder.rglob("*.*")
        return {path.name: path.stat().st_mtime for path in found}

    first = pictures(report(RUN_ID))
    assert len(first) == 11 + 8  # photos and marks
    assert all(one.startswith("data:") for one in first)
    assert kept() == {}
    run, other = place.again(), place.again()
    linked = pictures(report(run))
    assert len(linked) == len(first)
    page = place.settings.report_path(run)
    assert all((page.parent / one).is_file() for one in linked)
    files = kept()
    for path in place.settings.thumbnails_folder.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    assert pictures(report(other)) == linked
    now = kept()
    assert now.keys() == files.keys()
    assert min(now.values()) > 1e9  # in use again, so that `lfv prune` leaves them alone
    # The pages do not serve these files, so the report embeds them, as one for mailing does.
    shown = pictures(mara.get(f"/runs/{run}/report").text)
    assert [one.partition(",")[0] for one in shown] == [one.partition(",")[0] for one in first]
    assert all(one.startswith("data:") for one in pictures(report(run, hold_pictures=True)))
    assert f"lfv report {run}" not in page.read_text()
    assert f"lfv report {other}" in place.settings.report_path(other).read_text()


def test_the_report_counts_a_reviewed_part_as_the_pages_do(place: Scene, mara: Browser) -> None:
    """Its label is anomaly, and a person accepted it: the review is the truth."""
    place.store.reviews.record(NewReview(place.parts("reject")[0], "accept", "ben"))
    with open_reader(place.settings) as reader:
        report_run(RUN_ID, place.store, reader, place.settings)
    text = place.settings.report_path(RUN_ID).read_text()
    assert '<b class="figure">0</b> escapes' in text
    assert "the review counts, not the label" in text
    assert 'data-group="escape"' not in text
    assert ">escape</span>" not in mara.get(f"/runs/{RUN_ID}").text


def test_a_serial_number_comes_first(place: Scene, mara: Browser) -> None:
    card = mara.get(f"/runs/{RUN_ID}?show=reject").text.partition('<article class="card"')[2]
    assert card.index("FL-4") < card.index("part-0004.png</a>")
    assert mara.claim()[0]["serial"] == ["serial", "FL-6"]


@pytest.mark.parametrize("text", ["FL-4", "part-0004", "{digest}", "{start}", "{number}"])
def test_a_part_is_found(place: Scene, mara: Browser, text: str) -> None:
    part = place.parts("reject")[0]
    digest = place.store.results.get(part)["image_sha256"]
    wanted = text.format(digest=digest, start=digest[:10], number=part)
    page = mara.get("/parts", params={"q": wanted}).text
    assert f'href="/parts/{part}"' in page
    assert page.count('class="card"') == 1
    assert "No inspection of" in mara.get("/parts", params={"q": "FL-99"}).text


def test_pictures_are_of_the_recorded_bytes(place: Scene, mara: Browser) -> None:
    part = place.parts("reject")[0]
    row = place.store.results.get(part)
    image = mara.get(f"/image/{part}")
    assert hashlib.sha256(image.content).hexdigest() == row["image_sha256"]
    assert image.headers["content-type"] == "image/png"
    address = f"/thumb/{part}/{row['image_sha256']}"
    first, again = mara.get(address), mara.get(address)
    assert first.content.startswith(b"\xff\xd8")
    assert first.content == again.content
    assert (first.headers["cache-control"][:7], first.headers["vary"]) == ("private", "Cookie")
    for kept in (image, again, mara.get(f"/marks/{row['detection_id']}/320x240")):
        known = {"if-none-match": kept.headers["etag"]}
        same = mara.get(kept.request.url.path, headers=known)
        assert (same.status_code, same.content) == (304, b"")
    assert mara.get(f"/marks/{row['detection_id']}/320x240").content.startswith(b"\x89PNG")
    for size in ("0x10", "99999x10", "10", "320x239"):
        assert mara.get(f"/marks/{row['detection_id']}/{size}").status_code == 404
    accepted = place.store.results.get(place.parts("accept")[0])
    assert mara.get(f"/marks/{accepted['detection_id']}/320x240").status_code == 404
    files = list((place.settings.home / "ui" / "thumbnails").rglob("*.jpg"))
    assert len(files) == 1


def test_a_missing_image_is_shown_as_missing(place: Scene, mara: Browser) -> None:
    gone, changed = place.parts("reject")
    row = place.store.results.get(gone)
    Path(row["source_ref"]).unlink()
    Path(place.store.results.get(changed)["source_ref"]).write_bytes(
        part_picture(77, damaged=False)
    )
    answer = mara.get(f"/image/{gone}")
    assert answer.status_code == 404
    assert "gone" in answer.json()["error"]
    assert row["image_sha256"] in answer.json()["error"]
    assert "changed since" in mara.get(f"/image/{changed}").json()["error"]
    assert row["image_sha256"] in mara.get(f"/parts/{gone}").text


def test_the_page_of_a_part_that_was_not_inspected_shows_the_reason(
    place: Scene, mara: Browser
) -> None:
    (part,) = (number for number in place.parts() if not place.store.results.get(number)["verdict"])
    page = mara.get(f"/parts/{part}").text
    for text in ("<h2>Not inspected</h2>", "There is no such file.", "is not reviewed"):
        assert text in page, text
    assert "Overlays" not in page


def test_other_limits_are_tried_without_storing(place: Scene, mara: Browser) -> None:
    before = place.store.audit.head()
    page = mara.get(
        f"/runs/{RUN_ID}/policy",
        params={"reject_from": "55", "false_alarm": "2", "escape": "100"},
    ).text
    assert "6 images of 11 would change verdict: 6 fewer to review, 6 more rejected." in page
    assert re.search(r"escapes.*false alarms.*cost .*mistakes and reviews", page, re.DOTALL)
    assert "min_confidence: 0.55" in page
    assert place.store.audit.head() == before
    wrong = mara.get(f"/runs/{RUN_ID}/policy", params={"reject_from": "much"})
    assert "not a percentage between 0 and 100" in wrong.text
    for limit in ("101", "-1", "nan", "inf"):
        wrong = mara.get(f"/runs/{RUN_ID}/policy", params={"reject_from": limit})
        assert "not a percentage between 0 and 100" in wrong.text, limit
    area = mara.get(f"/runs/{RUN_ID}/policy", params={"area:scratch": "0.7"}).text
    assert "scratch: 0.007" in area  # 0.7 / 100 in floats is another number
    assert re.search(r'name="area:scratch"[^>]* value="0.7"', area)


def test_a_review_counts_before_the_label_everywhere(place: Scene, mara: Browser) -> None:
    part = place.parts("reject")[0]  # labelled an anomaly
    place.store.reviews.record(NewReview(part, "accept", "ben"))
    tried = try_on_run(place.store, RUN_ID, Policy.from_dict(POLICY), Prices())
    assert (tried.now.counts["reject"], tried.final_now.counts["reject"]) == (2, 1)
    assert (tried.final_now.escapes, tried.now.false_alarms) == (0, 1)
    assert tried.reviewed == 1
    page = mara.get(f"/runs/{RUN_ID}/policy", params={"reject_from": "55"}).text
    assert "shows 4 accepted, 6 to review, 1 rejected now" in page
    assert "would show 4 accepted, 0 to review, 7 rejected" in page
    assert ">escape<" not in mara.get(f"/runs/{RUN_ID}").text


def test_limits_are_tried_on_a_sample_of_a_long_run(
    place: Scene, mara: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_trial, "MOST_ANSWERS", 6)
    page = mara.get(f"/runs/{RUN_ID}/policy").text
    answers = len(list(place.store.verdicts.candidates(RUN_ID)))
    sampled = len(list(place.store.verdicts.candidates(RUN_ID, share=6 / answers)))
    assert 0 < sampled < answers
    assert f"This run has {answers} answers. {sampled} of them" in page


def test_limits_that_were_changed_have_no_name_until_they_are_given_one(
    place: Scene, mara: Browser
) -> None:
    base = f"/runs/{RUN_ID}/policy"
    policy = {**POLICY, "name": "line 3"}
    mara.post(f"{base}/apply", text=yaml.safe_dump(policy), name="line 4", reason="try")
    page = mara.get(base).text
    assert ("policy “line 4”" in page, "name: line 4" in page) == (True, True)
    assert "These limits are in force already" in page
    changed = mara.get(base, params={"reject_from": "85"}).text
    assert ("min_confidence: 0.85" in changed, "name: line" in changed) == (True, False)
    nothing = mara.get(base, params={"reject_from": ""}).text
    assert "Nothing would be rejected" in nothing


def test_a_policy_is_saved_and_applied_with_a_reason(place: Scene, mara: Browser) -> None:
    text = yaml.safe_dump({"version": 2, "default": {"classification": {"min_confidence": 0.55}}})
    base = f"/runs/{RUN_ID}/policy"
    assert mara.post(f"{base}/save", text=text, name="strict one").status_code == 200
    saved = place.settings.home / "policies" / "strict-one.yaml"
    assert yaml.safe_load(saved.read_text())["name"] == "strict one"
    assert mara.post(f"{base}/save", text=text, name="strict one").status_code == 409
    for name in ("../../evil", "/etc/x", "", "a/b", "..", "x" * 81):
        assert mara.post(f"{base}/save", text=text, name=name).status_code == 400
    assert mara.post(f"{base}/apply", text=text, reason=" ").status_code == 400
    assert mara.post(f"{base}/apply", text="not: [a policy", reason="x").status_code == 400
    assert mara.post(f"{base}/apply", text=text, reason="customer claim 7").status_code == 303
    decision = place.store.verdicts.decisions(RUN_ID)[-1]
    assert (decision.number, decision.decided_by) == (2, "mara")
    assert decision.reason == "customer claim 7"
    assert "decision 2, by mara" in mara.get(base).text
    name = "Grenzwerte für Los 17: strenger"
    assert mara.post(f"{base}/save", text=text, name=name).status_code == 200
    kept = place.settings.home / "policies" / "Grenzwerte-für-Los-17-strenger.yaml"
    assert yaml.safe_load(kept.read_text("utf-8"))["name"] == name
    assert "customer claim 7" in mara.get(f"/runs/{RUN_ID}").text
    assert place.store.inspections.counts(RUN_ID).rejected == 8


def test_an_unavailable_database_is_reported(place: Scene, mara: Browser) -> None:
    token = mara.token()
    place.store.close()
    file = place.settings.store_file
    assert file is not None
    with sqlite3.connect(file) as conn:
        conn.execute("DROP VIEW inspection_results")
    answer = mara.get(f"/runs/{RUN_ID}")
    assert answer.status_code in (400, 503)
    assert re.search("<h1>Not (done|available)", answer.text)
    assert mara.post("/review/claim", token, window=mara.window).status_code in (400, 503)


def test_scripts_request_nothing_elsewhere() -> None:
    for name in (
        "review.js",
        "gallery.js",
        "zoom.js",
        "live.js",
        "mask.js",
        "policy.js",
        "style.css",
    ):
        found = asset(name)
        assert found is not None
        assert b"http:" not in found
        assert b"https:" not in found


def test_a_heat_map_is_drawn_where_there_is_no_mask(place: Scene, mara: Browser) -> None:
    part = place.with_heat_map()
    row = place.store.results.get(part)
    page = mara.get(f"/parts/{part}").text
    address = f"/marks/{row['detection_id']}/320x240"
    assert address in page
    layer = Image.open(io.BytesIO(mara.get(address).content)).convert("RGBA")
    assert layer.getpixel((160, 120))[3] > 100  # type: ignore[index]
    assert layer.getpixel((5, 5))[3] < 30  # type: ignore[index]


def test_a_part_shows_reviews_taken_back_and_the_current_verdict(
    place: Scene, mara: Browser
) -> None:
    part = place.parts("reject")[0]

    def rows() -> list[str]:
        page = mara.get(f"/parts/{part}").text
        found = re.findall(r"<tr>(<td.*?)</tr>", page[page.index("<h2>Reviews") :], re.DOTALL)
        cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in found]
        return [" ".join(re.sub(r"<[^>]+>", "", cell[0]).split()) for cell in cells]

    assert rows() == ["1 in force"]
    place.store.reviews.record(NewReview(part, "accept", "mara"))
    assert rows() == ["accepted in force", "1"]
    place.store.reviews.undo(part, "mara")
    assert rows() == ["accepted taken back", "review taken back by mara", "1 in force"]
    place.store.reviews.record(NewReview(part, "reject", "mara"))
    assert rows()[2:] == ["rejected in force", "1"]


def test_the_first_decision_on_a_part_has_the_time_of_its_inspection(
    place: Scene, mara: Browser
) -> None:
    part = place.parts("reject")[0]
    page = mara.get(f"/parts/{part}").text
    (inspected,) = re.findall(r"Inspected</th><td>(.*?)</td>", page)
    decisions = page[page.index("<h2>Decisions by the limits") :]
    assert f"<td>{inspected}</td>" in decisions
    row, (first,) = place.store.results.get(part), place.store.verdicts.history(part)
    assert first.decided_at == row["inspected_at"]


def test_a_decided_part_is_reviewed_on_its_page(place: Scene, mara: Browser) -> None:
    part = place.parts("reject")[0]

    def fields() -> dict[str, str]:
        page = mara.get(f"/parts/{part}").text
        return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))

    first = fields()
    given = {**first, "answer": "accept", "comment": "<b>only</b> oil"}
    answer = mara.client.post("/review/record", data=given)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/parts/{part}"
    assert mara.client.post("/review/record", data=given).status_code == 303  # sent twice
    (review,) = place.store.reviews.history(part)
    assert (review.verdict, review.reviewer, review.comment) == ("accept", "mara", given["comment"])
    page = mara.get(f"/parts/{part}").text
    assert "The limits: rejected, because" in page
    assert "Now: accepted by mara (overrides the limits)" in page
    assert re.findall(r"(accepted|rejected|1) <span class=\"badge\">in force", page) == ["accepted"]
    assert place.store.results.get(part)["final_verdict"] == "accept"
    # A page that does not show that review cannot contradict it.
    late = {**first, "token": "another-token-1234", "answer": "reject"}
    assert mara.client.post("/review/record", data=late).status_code == 409
    again = {**fields(), "answer": "reject"}
    assert mara.client.post("/review/record", data=again).status_code == 303
    assert place.store.results.get(part)["final_verdict"] == "reject"
    assert "Review it" not in mara.get(f"/parts/{place.parts()[-1]}").text  # never inspected
