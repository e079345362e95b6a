"""`lfv runs` and `lfv show`, and how a run is named."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, get_args

import pytest

from lfv.cli.common import find_run
from lfv.cli.errors import WrongUsage
from lfv.cli.options import RunStatus
from lfv.run.summary import NOTHING_NEW
from lfv_store.records.runs import RUN_STATUSES
from tests.cli.conftest import RUN_ID, STARTED, begin_run

if TYPE_CHECKING:
    from pathlib import Path

    from lfv.settings import Settings
    from lfv_store import Store
    from tests.cli.conftest import Lfv

NEWER = RUN_ID[:4] + "7777-8d1f-4f53-a9d4-6f0f5a1e5a11"


def test_runs_are_listed_newest_first(lfv: Lfv, store: Store, run: str) -> None:
    begin_run(store, NEWER, STARTED + timedelta(hours=1))
    outcome = lfv("runs")
    assert outcome.status == 0
    header, first, second = (line.split() for line in outcome.out.splitlines())
    assert header[:3] == ["run", "started", "model"]
    assert first[0] == NEWER
    assert second[:9] == [run, "2026-03-04T05:06:07Z", "flange/1", "completed", *"41111"]
    assert header[-2:] == ["started", "by"]
    assert second[9:] == store.runs.get(run).triggered_by.split()


def test_a_run_that_found_nothing_new_is_listed_as_such(lfv: Lfv, store: Store, run: str) -> None:
    begin_run(store, NEWER, STARTED + timedelta(hours=1))
    store.runs.set_status(NEWER, "completed", NOTHING_NEW, STARTED + timedelta(hours=1))
    assert "nothing new" in lfv("runs").out.splitlines()[1]
    assert lfv("runs", "--json").json()[0]["status"] == "completed"


def test_runs_as_json(lfv: Lfv, run: str) -> None:
    (shown,) = lfv("runs", "--json").json()
    assert shown["run_id"] == run
    assert shown["status"] == "completed"
    assert shown["started_at"] == "2026-03-04T05:06:07Z"
    assert shown["counts"] == {
        "total": 4,
        "accepted": 1,
        "rejected": 1,
        "review": 1,
        "errors": 1,
        "reused": 0,
        "pending": 0,
    }


def test_the_number_of_runs_is_bounded(lfv: Lfv, store: Store, run: str) -> None:
    begin_run(store, NEWER, STARTED + timedelta(hours=1))
    newest = lfv("runs", "--limit", 1, "--json")
    assert [one["run_id"] for one in newest.json()] == [NEWER]
    assert newest.err == "the newest 1 are listed; --limit lists more\n"
    assert lfv("runs", "--limit", 2).err == ""


def test_runs_are_filtered(lfv: Lfv, store: Store, run: str) -> None:
    begin_run(store, NEWER, STARTED + timedelta(hours=1))

    def listed(*options: str) -> list[str]:
        return [one["run_id"] for one in lfv("runs", *options, "--json").json()]

    assert listed("--project", "flange") == [NEWER, run]
    assert listed("--project", "flan") == []
    assert listed("--status", "running") == [NEWER]
    assert listed("--status", "completed", "--project", "flange") == [run]
    source = store.runs.get(run).source
    assert listed("--source", source[1:-1].upper()) == [NEWER, run]
    assert listed("--source", "%") == []
    assert listed("--since", "2026-03-04T05:30:00+00:00") == [NEWER]
    assert listed("--since", "12h") == []
    assert "no run meets these conditions" in lfv("runs", "--since", "12h").err
    for wrong in ("yesterday", "7", "99999999999d"):
        outcome = lfv("runs", "--since", wrong)
        assert outcome.status == 2
        assert f"--since {wrong} is not a time" in outcome.err
    assert get_args(RunStatus) == RUN_STATUSES


def test_show_lists_what_could_not_be_inspected(lfv: Lfv, run: str) -> None:
    outcome = lfv("show", "last")
    assert outcome.status == 0
    assert ["run", run] in [line.split() for line in outcome.out.splitlines()]
    assert "image_truncated" in outcome.out
    assert "The end of the image is missing." in outcome.out
    assert "\x1b" not in outcome.out
    assert "\\x1b[31m.jpg" in outcome.out
    assert "report" not in outcome.out


def test_show_names_the_report_if_it_exists(lfv: Lfv, run: str, settings: Settings) -> None:
    report = settings.report_path(run)
    report.parent.mkdir(parents=True)
    report.touch()
    assert str(report) in lfv("show", run).out
    assert lfv("show", run, "--json").json()["report"] == str(report)


def test_show_as_json(lfv: Lfv, run: str) -> None:
    shown = lfv("show", run[:6], "--json").json()
    assert shown["run_id"] == run
    assert shown["errors_by_code"] == {"image_truncated": 1}
    assert shown["errors"][0]["line_number"] == 4
    assert shown["cost"]["cost"] == 0.0
    assert [decision["number"] for decision in shown["decisions"]] == [1]
    assert lfv("show", run, "--limit", 0, "--json").json()["errors"] == []


def test_show_lists_the_images_of_a_verdict(lfv: Lfv, run: str) -> None:
    outcome = lfv("show", run, "--verdict", "reject")
    assert outcome.out.splitlines()[-1].split() == [
        *("2", "reject", "/data/images/part-2.jpg", "anomaly", "0.930"),
        *("Because", "of", "0.93."),
    ]
    (shown,) = lfv("show", run, "--verdict", "review", "--json").json()["images"]
    assert shown["line_number"] == 3
    assert lfv("show", run, "--verdict", "error").status == 2


def test_show_follows_decisions_and_reviews(
    lfv: Lfv, run: str, settings: Settings, tmp_path: Path
) -> None:
    report = settings.report_path(run)
    report.parent.mkdir(parents=True)
    report.touch()
    strict = tmp_path / "strict.json"
    strict.write_text(
        '{"name": "strict", "default": {"classification": {"min_confidence": 0.5},'
        ' "review": {"normal_below": 0.999}}}'
    )
    assert lfv("decide", run, "--policy", strict, "--by", "Quinn").status == 0
    shown = lfv("show", run).out
    assert "strict" in shown
    assert "by Quinn" in shown
    assert "first policy" in shown
    assert lfv("review", "record", run, 1, "--verdict", "reject", "--by", "Eve").status == 0
    more = "... and more; `lfv export` writes all of them\n"
    assert lfv("show", run, "--verdict", "reject", "--limit", 1).out.endswith(more)
    table = lfv("show", run, "--verdict", "reject").out
    assert more not in table
    assert "reject by Eve (first accept)" in table
    counts = lfv("show", run, "--json").json()["counts"]
    assert (counts["accepted"], counts["rejected"]) == (0, 3)
    page = report.read_text(encoding="utf-8")
    assert "Reviewed by Eve, reject" in page
    assert "strict" in page


def test_an_unfinished_run_shows_how_to_resume(lfv: Lfv, store: Store, run: str) -> None:
    from lfv_store import ImageFacts, PendingItem

    pending = PendingItem(5, "/data/5.jpg", ImageFacts("ab" * 32, "jpeg", 320, 240, 9))
    store.inspections.plan(run, pending=[pending], through_line=5)
    assert f"`lfv inspect --resume {run}`" in lfv("show", run).err


def test_a_run_is_found_by_the_start_of_its_id(store: Store, run: str) -> None:
    assert find_run(store, run).run_id == run
    assert find_run(store, run[:5]).run_id == run
    assert find_run(store, "last").run_id == run
    begin_run(store, NEWER, STARTED + timedelta(hours=1))
    assert find_run(store, "last").run_id == NEWER
    with pytest.raises(WrongUsage, match="several run ids"):
        find_run(store, run[:4])
    with pytest.raises(WrongUsage, match="`lfv runs` lists the runs"):
        find_run(store, "ffff")
    with pytest.raises(WrongUsage, match="no run id starts"):
        find_run(store, "%")
    with pytest.raises(WrongUsage, match="no run id starts"):
        find_run(store, "")


def test_a_run_that_does_not_exist_is_wrong_usage(lfv: Lfv, run: str) -> None:
    outcome = lfv("show", "ffff")
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err == "lfv: no run id starts with 'ffff'; `lfv runs` lists the runs\n"


def test_without_runs_the_list_is_empty(lfv: Lfv, store: Store) -> None:
    assert lfv("runs").out == ""
    assert lfv("runs", "--json").json() == []
    assert lfv("show", "last").status == 2
