"""`lfv estimate`: time and cost of an inspection."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lfv.client.hosts import image_limits
from lfv.client.sources import SourceReader
from lfv.run.estimate import SAMPLE, inspect_source
from lfv_store import ModelPace, Store
from tests.cli.conftest import Lfv, begin_run, judged
from tests.support.pictures import make_pictures
from tests.support.store_samples import at_time


def hosted_run(store: Store, seconds: float, images: int) -> None:
    """A run with one inference unit, for this long and on this many images."""
    model_id = begin_run(store, "a-run")
    lease = store.leases.acquire(
        model_id,
        "a-run",
        host_spec={},
        units=(1, None),
        price_per_unit_hour=4.0,
        ttl=timedelta(hours=1),
        already_hosted=False,
    )
    requested = store.hostings.get(lease.hosting_id).requested_at
    hosted = requested + timedelta(seconds=30)
    store.hostings.mark_hosted(lease.hosting_id, hosted)
    lines = range(1, images + 1)
    store.inspections.record(
        "a-run", [judged(model_id, n, "accept", anomalous=False, confidence=0.9) for n in lines]
    )
    store.runs.set_status("a-run", "completed", None, datetime.now(UTC))
    at_time(hosted + timedelta(seconds=seconds), store.leases.release, lease.lease_id)
    store.hostings.mark_stopped(lease.hosting_id, hosted + timedelta(seconds=seconds))


def test_time_and_cost_come_from_earlier_runs(lfv: Lfv, store: Store, tmp_path: Path) -> None:
    hosted_run(store, seconds=10, images=20)
    make_pictures(tmp_path / "lot", 12)
    asked = ("estimate", tmp_path / "lot", "--project", "flange")
    found = lfv(*asked, "--endpoint-url", "http://127.0.0.1:9", "--json").json()
    assert (found["images"], found["source"]["lines"], found["source"]["sampled"]) == (12, 12, 12)
    assert found["pace"]["images_per_second"] == pytest.approx(2.0)
    assert found["pace"]["basis"] == "20 images of earlier runs"
    assert found["starting_seconds"] == pytest.approx(30.0)
    assert [option["units"] for option in found["options"]] == [1, 2, 4, 8]
    for option in found["options"]:
        assert option["detection_seconds"] == pytest.approx(6.0 / option["units"])
        assert option["cost"] == pytest.approx(6.0 / 3600 * 4.0)
        assert option["total_seconds"] >= 30.0 + option["detection_seconds"]
        assert option["machines"] == 1
    shown = lfv(*asked, "--units", "2")
    assert shown.status == 0
    assert "no charge" in shown.out  # a service on this machine
    assert [line.split() for line in shown.out.splitlines() if line.startswith("    2")] == [
        ["2", "3.0", "s", "33.0", "s", "0.00", "1"]
    ]


def test_the_pace_of_the_last_run_is_used(lfv: Lfv, store: Store, tmp_path: Path) -> None:
    hosted_run(store, seconds=10, images=20)
    (model,) = store.models.list()
    store.models.set_pace(model.model_id, ModelPace(24, 2, 500.0, datetime.now(UTC)))
    make_pictures(tmp_path / "lot", 12)
    found = lfv("estimate", tmp_path / "lot", "--project", "flange", "--json").json()
    assert found["pace"]["images_per_second"] == pytest.approx(24 / 0.5 / 2)
    assert found["pace"]["basis"] == "24 requests in flight, 500 ms each, in the last run"
    assert found["options"][0]["detection_seconds"] == pytest.approx(0.5)


def test_a_model_without_runs_needs_a_pace(lfv: Lfv, home: Path, tmp_path: Path) -> None:
    make_pictures(tmp_path / "lot", 3)
    asked = ("estimate", tmp_path / "lot", "--project", "flange")
    outcome = lfv(*asked)
    assert outcome.status == 0
    assert "images to inspect     3\n" in outcome.out
    assert "--images-per-second" in outcome.err
    assert not home.exists()
    found = lfv(*asked, "--images-per-second", "0.5", "--units", "1", "--json").json()
    assert found["pace"] == {"images_per_second": 0.5, "basis": "as given"}
    assert [option["detection_seconds"] for option in found["options"]] == [6.0]
    assert found["starting_seconds"] is None


def test_images_that_need_no_answer_are_subtracted(lfv: Lfv, home: Path, tmp_path: Path) -> None:
    one, other = make_pictures(tmp_path / "lot", 2)
    (tmp_path / "broken.png").write_bytes(one.read_bytes()[:-20])
    lines = [one, one, other, tmp_path / "broken.png"]
    manifest = tmp_path / "lot.manifest"
    text = "".join(json.dumps({"source-ref": str(path)}) + "\n" for path in lines)
    manifest.write_text(text + "not a line\n")
    found = lfv("estimate", manifest, "--project", "flange", "--json").json()
    source = found["source"]
    assert (source["lines"], source["bad_lines"], source["sampled"]) == (5, 1, 4)
    assert (source["unusable"], source["known"], found["images"]) == (1, 1, 2)


def test_a_sample_of_a_large_source_is_read(tmp_path: Path) -> None:
    (picture,) = make_pictures(tmp_path, 1)
    manifest = tmp_path / "large.manifest"
    line = json.dumps({"source-ref": str(picture)}) + "\n"
    manifest.write_text(line * (20 * SAMPLE))
    with SourceReader({}, None, None) as reader:
        facts = inspect_source(str(manifest), reader, None, None, image_limits("lookoutvision"))
    assert (facts.lines, facts.sampled, facts.known) == (20 * SAMPLE, SAMPLE, SAMPLE - 1)
    assert facts.images == 20


def test_a_missing_source_is_named(lfv: Lfv, tmp_path: Path) -> None:
    outcome = lfv("estimate", tmp_path / "nothing", "--project", "flange")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("lfv: no manifest, folder or image found at ")
