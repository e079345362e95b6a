"""Runs over new images alone: each content of a source is inspected once."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from flows.fan_out import OpenBatches
from flows.inspect_images import inspect_images, resume_inspection
from lfv.run.errors import LimitReached, SourceEmpty, SourceNotWatchable
from lfv.run.new_images import LEFT_TO_LATER_RUN
from lfv.run.summary import RunSummary
from lfv_store import Store
from tests.support.endpoints import Endpoint
from tests.support.limits import limited_once
from tests.support.pictures import make_pictures


def inspect_new(source: object, **parameters: Any) -> RunSummary:
    given = {"project": "parts", "new_only": True, "settle_seconds": 0} | parameters
    return inspect_images(source=str(source), **given)


def assert_each_content_is_judged_once(endpoint: Endpoint, store: Store) -> None:
    """Each content has one verdict in all runs, and every call is a recorded attempt."""
    judged = [
        row
        for run in store.runs.list()
        for row in store.results.rows(run.run_id)
        if row["verdict"] is not None
    ]
    attempts = {str(row["image_sha256"]): int(row["attempts"]) for row in judged}
    assert len(attempts) == len(judged)
    assert endpoint.asked() == attempts


def test_only_images_since_the_last_run_are_inspected(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    assert inspect_new(images).counts.total == 12
    make_pictures(images, 3, first=100)
    second = inspect_new(images)
    assert (second.counts.total, second.counts.reused) == (3, 0)
    assert {Path(row["source_ref"]).stem for row in store.results.rows(second.run_id)} == {
        "00100",
        "00101",
        "00102",
    }
    assert_each_content_is_judged_once(endpoint, store)


@pytest.mark.parametrize("in_bucket", [False, True])
def test_an_image_that_cannot_be_read_is_recorded_once_and_delays_no_other(
    images: Path, endpoint: Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch, in_bucket: bool
) -> None:
    """Such an image used to end every run over new images with the same error."""
    (images / "to-itself.png").symlink_to("to-itself.png")
    (images / "two\nlines.png").write_bytes(b"")
    (images / "no-unicode-\udcff.png").write_bytes(b"")
    source = "s3://plant/" if in_bucket else images
    monkeypatch.setenv("LFV_BUCKETS", f"plant={images}")
    first = inspect_new(source)
    assert (first.counts.total, first.counts.errors) == (15, 3)
    codes = {row["error_code"] for row in store.results.errors(first.run_id)}
    assert codes == {"not_utf8", "source_ref_invalid"}
    assert inspect_new(source).nothing_new
    make_pictures(images, 1, first=100)
    assert inspect_new(source).counts.total == 1


def test_nothing_new_is_a_completed_run_without_report_or_model(
    images: Path, endpoint: Endpoint, store: Store, home: Path
) -> None:
    inspect_new(images)
    starts = len(endpoint.calls("StartModel"))
    state = inspect_images(
        source=str(images),
        project="parts",
        new_only=True,
        settle_seconds=0,
        return_state=True,  # type: ignore[call-overload]
    )
    assert (state.type, state.name) == ("COMPLETED", "NothingNew")
    summary = state.result()
    assert (summary.status, summary.message, summary.counts.total) == (
        "completed",
        "nothing new",
        0,
    )
    assert not (home / "runs" / summary.run_id).exists()
    assert len(endpoint.calls("StartModel")) == starts


def test_a_source_that_is_emptied_has_nothing_new_but_one_that_never_had_images_fails(
    images: Path, tmp_path: Path, store: Store
) -> None:
    (tmp_path / "misspelt").mkdir()
    with pytest.raises(SourceEmpty):
        inspect_new(tmp_path / "misspelt")
    assert inspect_new(tmp_path / "misspelt", allow_empty=True).nothing_new
    inspect_new(images)
    for path in images.iterdir():
        path.unlink()
    assert inspect_new(images).nothing_new


def test_a_source_whose_first_image_is_still_being_written_is_not_empty(
    images: Path, store: Store
) -> None:
    assert inspect_new(images, settle_seconds=3600).nothing_new
    assert inspect_new(images).counts.total


def test_an_overwritten_image_is_new_and_one_that_was_only_touched_is_not(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    inspect_new(images)
    first, second = sorted(images.iterdir())[:2]
    (other,) = make_pictures(images.parent / "other", 1, first=200)
    first.write_bytes(other.read_bytes())
    os.utime(second, (1_000_000_000, 1_000_000_000))
    summary = inspect_new(images)
    assert summary.counts.total == 1
    (row,) = store.results.rows(summary.run_id)
    assert row["source_ref"] == str(first)
    assert inspect_new(images).nothing_new


def test_a_file_that_changed_just_now_is_left_to_the_next_run(images: Path, store: Store) -> None:
    inspect_new(images)
    (late,) = make_pictures(images, 1, first=300)
    assert inspect_new(images, settle_seconds=3600).nothing_new
    os.utime(late)
    assert inspect_new(images).counts.total == 1


def test_a_file_dated_in_the_future_is_inspected(images: Path, store: Store) -> None:
    ahead = time.time() + 86_400
    for path in images.iterdir():
        os.utime(path, (ahead, ahead))
    assert inspect_new(images, settle_seconds=10).counts.total == 12


#: Images of a run that ends early: enough for it to be busy until then.
MANY = 72


def limited_run(images: Path, endpoint: Endpoint, store: Store) -> int:
    """A run that reaches its limit with answers for some images; return how many it leaves."""
    make_pictures(images, MANY - 12, first=100)
    endpoint.script(slow_after=8, slow_seconds=1.0)
    with limited_once(lambda: len(endpoint.asked()) >= 8), pytest.raises(LimitReached):
        inspect_new(images, max_hosted_minutes=10)
    endpoint.script(slow_after=None)
    (limited,) = store.runs.list()
    return store.inspections.counts(limited.run_id).pending


@pytest.mark.usefixtures("few_requests")
def test_what_a_limited_run_leaves_goes_to_the_next_run(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    left = limited_run(images, endpoint, store)
    assert 0 < left < MANY
    (limited,) = store.runs.list()
    second = inspect_new(images)
    assert second.counts.total == left
    assert_each_content_is_judged_once(endpoint, store)
    counts = store.inspections.counts(limited.run_id)
    assert (counts.total, counts.pending, counts.errors) == (MANY, 0, left)
    assert store.results.errors_by_code(limited.run_id) == {LEFT_TO_LATER_RUN: left}
    assert resume_inspection(limited.run_id).counts.pending == 0
    assert_each_content_is_judged_once(endpoint, store)


@pytest.mark.usefixtures("few_requests")
def test_a_resumed_run_keeps_what_it_left(images: Path, endpoint: Endpoint, store: Store) -> None:
    assert 0 < limited_run(images, endpoint, store) < MANY
    resumed = resume_inspection("last", max_hosted_minutes=10)
    assert (resumed.counts.total, resumed.counts.errors, resumed.counts.pending) == (MANY, 0, 0)
    assert inspect_new(images).nothing_new
    assert_each_content_is_judged_once(endpoint, store)


class Cancelled(BaseException):
    """Replaces the exception that Prefect raises in a cancelled flow run."""


@pytest.mark.usefixtures("few_requests")
def test_what_a_cancelled_run_leaves_goes_to_the_next_run(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    make_pictures(images, MANY - 12, first=100)
    finish = OpenBatches.finish_some

    def cancel_after_some_answers(*arguments: Any) -> None:
        finish(*arguments)
        if len(endpoint.asked()) >= 8:
            raise Cancelled

    endpoint.script(slow_after=8, slow_seconds=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenBatches, "finish_some", cancel_after_some_answers)
        with pytest.raises(Cancelled):
            inspect_new(images)
    endpoint.script(slow_after=None)
    (cancelled,) = store.runs.list()
    left = store.inspections.counts(cancelled.run_id).pending
    assert (cancelled.status, endpoint.status) == ("cancelled", "TRAINED")
    assert 0 < left < MANY
    assert inspect_new(images).counts.total == left
    assert inspect_new(images).nothing_new
    assert_each_content_is_judged_once(endpoint, store)
    assert store.results.errors_by_code(cancelled.run_id) == {LEFT_TO_LATER_RUN: left}


def test_an_unreadable_image_is_recorded_once_per_content(images: Path, store: Store) -> None:
    torn = images / "torn.png"
    whole = min(images.iterdir()).read_bytes()
    torn.write_bytes(whole[:60])
    assert inspect_new(images).counts.errors == 1
    assert inspect_new(images).nothing_new
    (other,) = make_pictures(images.parent / "other", 1, first=200)
    torn.write_bytes(other.read_bytes())
    mended = inspect_new(images)
    assert (mended.counts.total, mended.counts.errors) == (1, 0)
    assert inspect_new(images).nothing_new


def test_a_manifest_file_has_no_new_images(images: Path, tmp_path: Path, store: Store) -> None:
    manifest = tmp_path / "images.txt"
    manifest.write_text("\n".join(str(path) for path in images.iterdir()))
    with pytest.raises(SourceNotWatchable, match="new-only"):
        inspect_new(manifest)
