"""`lfv export`, `lfv decide`, `lfv review` and `lfv audit` on a recorded run."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from lfv.client.manifests import read_manifest
from lfv.client.sources import SourceReader
from lfv.formats.manifest.records import ManifestItem
from lfv_store.views import RESULT_COLUMNS
from tests.cli.conftest import begin_run, judged

if TYPE_CHECKING:
    from lfv.settings import Settings
    from lfv_store import Store
    from tests.cli.conftest import Lfv

STRICT = {
    "version": 1,
    "name": "strict",
    "default": {"classification": {"min_confidence": 0.5}, "review": {"normal_below": 0.99}},
}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """Rejects from 0.5 on, and has confident normal answers reviewed too."""
    path = tmp_path / "strict.json"
    path.write_text(json.dumps(STRICT))
    return path


# -- export ---------------------------------------------------------------------------------------


def test_csv_has_a_row_for_each_line_and_the_columns_of_the_view(lfv: Lfv, run: str) -> None:
    outcome = lfv("export", run)
    assert outcome.status == 0
    rows = list(csv.DictReader(io.StringIO(outcome.out, newline="")))
    assert list(rows[0]) == [name for name, _ in RESULT_COLUMNS]
    assert [row["verdict"] for row in rows] == ["accept", "reject", "review", ""]
    assert rows[1]["confidence"] == "0.93"
    assert json.loads(rows[1]["attributes"]) == {"lot": 41, "serial": "FL-2"}
    assert rows[3]["error"] == "image_truncated: The end of the image is missing."


def test_json_lines_to_a_file(lfv: Lfv, run: str, tmp_path: Path) -> None:
    target = tmp_path / "results.jsonl"
    outcome = lfv("export", "last", "--format", "jsonl", "--output", target)
    assert outcome.status == 0
    assert outcome.out == f"{target}: 4 inspections\n"
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["line_number"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["reasons"][0]["text"] == "Because of 0.97."
    assert [path.name for path in tmp_path.iterdir() if "results" in path.name] == [target.name]


def test_parquet(lfv: Lfv, run: str, tmp_path: Path) -> None:
    target = tmp_path / "results.parquet"
    assert lfv("export", run, "-f", "parquet", "-o", target).status == 0
    with duckdb.connect() as connection:
        table = connection.read_parquet(str(target))
        assert table.project("verdict").fetchall() == [
            ("accept",),
            ("reject",),
            ("review",),
            (None,),
        ]
        assert table.project("detected_at").types == ["TIMESTAMP WITH TIME ZONE"]


def test_an_unwritable_file_is_reported_in_one_sentence(lfv: Lfv, run: str, tmp_path: Path) -> None:
    outcome = lfv("export", run, "-o", tmp_path / "no-such-folder" / "x.csv")
    assert outcome.status == 1
    assert outcome.err.startswith("lfv: No such file or directory: ")
    assert outcome.err.count("\n") == 1


# -- decide ---------------------------------------------------------------------------------------


def test_show_and_report_follow_a_new_policy(
    lfv: Lfv, run: str, policy: Path, settings: Settings
) -> None:
    report = settings.report_path(run)
    report.parent.mkdir(parents=True)
    report.write_text("an earlier report")
    assert lfv("decide", run, "--policy", policy, "--by", "Ana Ruiz").status == 0
    shown = lfv("show", run).out
    assert "number 2 counts, by Ana Ruiz" in shown
    (line,) = (line for line in shown.splitlines() if line.startswith("policy"))
    assert line.split() == ["policy", "strict"]
    written = report.read_text()
    assert "an earlier report" not in written
    assert run in written


def test_a_report_that_is_not_on_this_machine_is_not_written(
    lfv: Lfv, run: str, policy: Path, settings: Settings
) -> None:
    assert lfv("decide", run, "--policy", policy).status == 0
    assert not settings.report_path(run).exists()


def test_a_new_policy_adds_verdicts_and_keeps_the_old_ones(
    lfv: Lfv, run: str, policy: Path
) -> None:
    outcome = lfv("decide", run, "--policy", policy, "--by", "Ana Ruiz")
    assert outcome.status == 0
    assert [line.split() for line in outcome.out.splitlines()[1:-1]] == [
        ["accept", "review", "1"],
        ["reject", "reject", "1"],
        ["review", "reject", "1"],
    ]
    assert "2 verdicts changed; this is decision 2" in outcome.out
    shown = lfv("show", run, "--json").json()
    assert shown["counts"]["rejected"] == 2
    assert [one["decided_by"] for one in shown["decisions"]] == ["ana", "Ana Ruiz"]
    rows = [json.loads(line) for line in lfv("export", run, "-f", "jsonl").out.splitlines()]
    assert [row["verdict"] for row in rows] == ["review", "reject", "reject", None]
    assert [row["first_verdict"] for row in rows] == ["accept", "reject", "review", None]
    assert lfv("audit", "verify").status == 0


def test_deciding_twice_compares_with_the_verdicts_that_count(
    lfv: Lfv, run: str, policy: Path
) -> None:
    lfv("decide", run, "--policy", policy)
    shown = lfv("decide", run, "--policy", policy, "--json").json()
    assert all(change["before"] == change["after"] for change in shown["changes"])
    assert shown["decision"]["number"] == 3


def test_a_dry_run_stores_nothing(lfv: Lfv, run: str, policy: Path) -> None:
    head = lfv("audit", "head").out
    outcome = lfv("decide", run, "--policy", policy, "--dry-run")
    assert "2 verdicts would change; nothing was stored" in outcome.out
    assert lfv("audit", "head").out == head


def test_a_policy_that_cannot_be_used_is_refused(lfv: Lfv, run: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("default: {classification: {min_confidence: high}}\n")
    outcome = lfv("decide", run, "--policy", bad)
    assert outcome.status == 1
    assert "min_confidence" in outcome.err
    assert lfv("decide", run, "--policy", tmp_path / "missing.yaml").status == 2


# -- review ---------------------------------------------------------------------------------------


def test_the_queue_lists_a_part_until_it_is_reviewed(lfv: Lfv, run: str) -> None:
    listed = lfv("review")
    assert listed.status == 0
    assert listed.out.splitlines()[1].split()[:3] == [run, "3", "/data/images/part-3.jpg"]
    assert "Because of 0.61." in listed.out
    said = lfv("review", run[:8], 3, "--verdict", "reject", "--by", "Ana", "--comment", "crack")
    assert said.status == 0
    assert said.out.splitlines() == [
        "/data/images/part-3.jpg: reject, reviewed by Ana",
        "model's answer  anomaly 0.610",
        "by the policy   review: Because of 0.61.",
        "left to review  nothing of this run",
    ]
    after = lfv("review", "--run", "last")
    assert after.status == 0
    assert after.out == ""
    assert "nothing to review" in after.err
    assert lfv("review", "list", "--json").json() == []


def test_a_second_review_keeps_the_first(lfv: Lfv, run: str) -> None:
    lfv("review", run, 3, "--verdict", "reject", "--by", "Ana")
    said = lfv("review", run, 3, "--verdict", "unsure", "--by", "Cy").out
    assert "earlier reviews  reject by Ana\n" in said
    assert "left to review   1 of this run\n" in said
    again = lfv("review", "record", run, 3, "--verdict", "accept", "--by", "Bo", "--json").json()
    assert (again["policy_verdict"], again["final_verdict"]) == ("review", "accept")
    assert (again["left_to_review"], again["next_line"]) == (0, None)
    assert [(one["reviewer"], one["verdict"]) for one in again["history"]] == [
        ("Ana", "reject"),
        ("Cy", "review"),
        ("Bo", "accept"),
    ]


def test_an_unsure_reviewer_leaves_the_line_in_the_queue(lfv: Lfv, run: str) -> None:
    said = lfv("review", run, 3, "--verdict", "unsure", "--by", "Ana")
    assert "unsure, reviewed by Ana" in said.out
    assert [one["line_number"] for one in lfv("review", "--json").json()] == [3]
    assert lfv("review", "export").status == 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["last", "99", "--verdict", "accept"], 1, "no inspection of line 99"),
        (["last", "3", "--verdict", "review"], 2, "Invalid value"),
        (["last", "--verdict", "accept"], 2, "Missing argument"),
        (["ffff", "3", "--verdict", "accept"], 2, "`lfv runs`"),
    ],
)
def test_invalid_reviews(
    lfv: Lfv, run: str, arguments: list[str], status: int, message: str
) -> None:
    outcome = lfv("review", *arguments, "--by", "Ana")
    assert outcome.status == status
    assert message in outcome.err


def test_reviewed_images_become_a_manifest_to_train_on(
    lfv: Lfv, store: Store, run: str, tmp_path: Path
) -> None:
    lfv("review", run, 3, "--verdict", "reject", "--by", "Ana")
    lfv("review", run, 2, "--verdict", "reject", "--by", "Ana")
    lfv("review", run, 2, "--verdict", "accept", "--by", "Bo", "--comment", 'only "dust"')
    # The same bytes, reviewed again in another run, do not appear twice.
    other = "aaaa" + run[4:]
    store.inspections.record(
        other,
        [judged(begin_run(store, other), 3, "review", anomalous=True, confidence=0.6)],
    )
    lfv("review", other, 3, "--verdict", "reject", "--by", "Cy")
    target = tmp_path / "reviewed.manifest"
    outcome = lfv("review", "export", "-o", target)
    assert outcome.out == f"{target}: 2 reviewed images\n"
    with SourceReader() as reader:
        items = list(read_manifest(str(target), reader))
    labels = {
        item.written_ref: item.is_anomalous for item in items if isinstance(item, ManifestItem)
    }
    assert labels == {"/data/images/part-2.jpg": False, "/data/images/part-3.jpg": True}
    assert lfv("review", "export").out == target.read_text()
    assert lfv("review", "export", "--run", other).out.count("\n") == 1


def test_without_reviews_there_is_nothing_to_export(lfv: Lfv, run: str) -> None:
    outcome = lfv("review", "export")
    assert outcome.status == 1
    assert "no image has been reviewed yet" in outcome.err


# -- audit ----------------------------------------------------------------------------------------


def test_an_unchanged_record_verifies(lfv: Lfv, run: str, tmp_path: Path) -> None:
    head = lfv("audit", "head")
    kept = tmp_path / "head.txt"
    kept.write_text(head.out)
    plain = lfv("audit", "verify")
    assert plain.status == 0
    assert "verified: " in plain.out
    assert "without --head" in plain.out
    for given in (kept, head.out.strip()):
        with_head = lfv("audit", "verify", "--head", given)
        assert with_head.status == 0
        assert "without --head" not in with_head.out
    shown = lfv("audit", "verify", "--head", kept, "--json").json()
    assert shown["ok"] is True
    assert shown["head_checked"] is True
    assert shown["head"] == head.out.strip()
    assert lfv("audit", "head", "--json").json()["head"] == head.out.strip()


def test_a_changed_verdict_is_detected_and_named(lfv: Lfv, run: str, settings: Settings) -> None:
    _tamper(settings, "UPDATE inspections SET verdict = 'accept' WHERE line_number = 2")
    outcome = lfv("audit", "verify")
    assert outcome.status == 1
    assert "CHANGED since it was recorded" in outcome.out
    shown = lfv("audit", "verify", "--json")
    assert shown.status == 1
    assert shown.json()["ok"] is False
    assert shown.json()["problems"]


def test_an_invalid_head_is_wrong_usage(lfv: Lfv, run: str, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("nothing here\n")
    assert lfv("audit", "verify", "--head", text).status == 2
    outcome = lfv("audit", "verify", "--head", tmp_path / "missing")
    assert outcome.status == 2
    assert "neither a head nor a file" in outcome.err


def _tamper(settings: Settings, statement: str) -> None:
    """Change the database in spite of the triggers."""
    connection = sqlite3.connect(settings.home / "inspections.db")
    with connection:
        triggers: list[Any] = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            connection.execute(f'DROP TRIGGER "{name}"')
        assert connection.execute(statement).rowcount == 1
        for _, definition in triggers:
            connection.execute(definition)
    connection.close()
