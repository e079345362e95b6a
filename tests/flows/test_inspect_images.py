"""An inspection without failures, and with bad inputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prefect.states import State

from flows.inspect_images import inspect_images, resume_inspection
from lfv.client.errors import HostError, ModelNotFound
from lfv.client.manifests import manifest_digest
from lfv.client.sources import SourceReader
from lfv.formats.errors import ManifestLineInvalid
from lfv.run.errors import (
    LimitReached,
    NothingInspected,
    RunNotFound,
    RunNotResumable,
    ServiceNotStarted,
)
from lfv_store import Store
from tasks.check_images import check_images
from tests.support.endpoints import Endpoint
from tests.support.limits import limited_once
from tests.support.pictures import make_pictures


def test_every_image_gets_its_record_and_the_model_is_stopped(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    summary = inspect_images(source=str(images), project="parts")
    assert summary.status == "completed"
    assert (summary.counts.total, summary.counts.pending, summary.counts.errors) == (12, 0, 0)
    assert set(endpoint.asked().values()) == {1}
    assert len(endpoint.calls("StartModel")) == len(endpoint.calls("StopModel")) == 1
    assert endpoint.status == "TRAINED"
    (hosting,) = store.hostings.list()
    assert hosting.status == "stopped"
    assert hosting.requested_by == summary.run_id


def test_a_second_run_detects_nothing_and_starts_nothing(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    inspect_images(source=str(images), project="parts")
    again = inspect_images(source=str(images), project="parts")
    assert again.counts.reused == again.counts.total == 12
    assert len(endpoint.calls("StartModel")) == 1
    assert sum(endpoint.asked().values()) == 12


def test_again_runs_detection_again(images: Path, endpoint: Endpoint, store: Store) -> None:
    inspect_images(source=str(images), project="parts")
    again = inspect_images(source=str(images), project="parts", again=True)
    assert again.counts.reused == 0
    assert set(endpoint.asked().values()) == {2}


def test_equal_images_are_detected_once(
    images: Path, tmp_path: Path, endpoint: Endpoint, store: Store
) -> None:
    manifest = tmp_path / "twice.txt"
    names = [str(path) for path in sorted(images.iterdir())]
    manifest.write_text("\n".join(names + names))
    for again in (False, True):
        summary = inspect_images(source=str(manifest), project="parts", again=again)
        assert summary.counts.total == 24
        assert summary.counts.pending == 0
        assert summary.counts.reused == 12
    assert set(endpoint.asked().values()) == {2}


def test_bad_lines_and_images_are_recorded_among_good_ones(
    images: Path, tmp_path: Path, endpoint: Endpoint, store: Store
) -> None:
    (tmp_path / "empty.png").touch()
    rows = [
        json.dumps({"source-ref": str(path), "serial": path.stem})
        for path in sorted(images.iterdir())
    ]
    rows += ["not json", json.dumps({"source-ref": "empty.png"}), json.dumps({"source-ref": "no"})]
    manifest = tmp_path / "mixed.manifest"
    manifest.write_text("\n".join(rows))
    summary = inspect_images(source=str(manifest), project="parts")
    assert summary.status == "completed"
    assert (summary.counts.errors, summary.counts.inspected) == (3, 15)
    with pytest.raises(ManifestLineInvalid):
        inspect_images(source=str(manifest), project="parts", strict=True)
    assert store.runs.list()[0].status == "failed"
    assert endpoint.status == "TRAINED"


def test_a_run_of_bad_images_never_starts_the_model(
    tmp_path: Path, endpoint: Endpoint, store: Store
) -> None:
    (tmp_path / "bad").mkdir()
    for number in range(3):
        (tmp_path / "bad" / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(NothingInspected, match="none of the 3 images"):
        inspect_images(source=str(tmp_path / "bad"), project="parts")
    assert endpoint.calls("StartModel") == []


def test_a_model_somebody_else_started_is_used_and_left_running(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    endpoint.script(hosted=True)
    inspect_images(source=str(images), project="parts")
    assert endpoint.calls("StartModel") == endpoint.calls("StopModel") == []
    assert endpoint.status == "HOSTED"
    assert store.hostings.list()[0].status == "left"


@pytest.mark.usefixtures("few_requests")
def test_a_run_stops_cleanly_at_its_time_limit_and_can_be_resumed(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    make_pictures(images, 100, first=100)
    endpoint.script(slow_after=20, slow_seconds=1.0)
    with (
        limited_once(lambda: len(endpoint.asked()) >= 20),
        pytest.raises(LimitReached, match="resume"),
    ):
        inspect_images(source=str(images), project="parts", max_hosted_minutes=60)
    assert endpoint.status == "TRAINED"
    (run,) = store.runs.list()
    assert run.status == "interrupted"
    assert 0 < store.inspections.counts(run.run_id).pending < 112
    endpoint.script(slow_after=None)
    summary = resume_inspection(run.run_id[:8])
    assert summary.run_id == run.run_id
    assert (summary.counts.total, summary.counts.pending) == (112, 0)
    assert set(endpoint.asked().values()) == {1}


def test_a_limit_is_not_reached_because_the_machines_time_is_set(
    images: Path, endpoint: Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SetForward(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> SetForward:
            later = timedelta(hours=1 if endpoint.asked() else 0)
            return cls.fromtimestamp((datetime.now(tz) + later).timestamp(), tz)

    monkeypatch.setattr("lfv.run.hosting.hold.datetime", SetForward)
    endpoint.script(slow_after=4, slow_seconds=1.0)
    summary = inspect_images(source=str(images), project="parts", max_hosted_minutes=30)
    assert (summary.status, summary.counts.pending) == ("completed", 0)


def test_a_manifest_that_changed_is_not_resumed(
    images: Path, tmp_path: Path, endpoint: Endpoint, store: Store
) -> None:
    manifest = tmp_path / "list.txt"
    lines = [str(path) for path in sorted(images.iterdir())]
    manifest.write_text("\n".join([*lines, "x" * 5000]))  # ends a strict run while it is planned
    with pytest.raises(ManifestLineInvalid):
        inspect_images(source=str(manifest), project="parts", strict=True)
    (run,) = store.runs.list()
    manifest.write_text("\n".join(lines))
    with pytest.raises(RunNotResumable, match=f"list.txt has changed since run {run.run_id}"):
        resume_inspection(run.run_id)
    assert endpoint.calls("StartModel") == []


def _come_during_the_check(monkeypatch: pytest.MonkeyPatch, come: Callable[[], object]) -> None:
    """Call `come` once, after the first four lines are checked."""
    monkeypatch.setattr("flows.plan.CHECKED_TOGETHER", 4)
    left = [come]

    def check(*arguments: object) -> None:
        check_images(*arguments)
        if left:
            left.pop()()

    monkeypatch.setattr("flows.plan.check_images", check)


def test_a_manifest_that_changes_while_it_is_read_ends_the_run(
    images: Path,
    tmp_path: Path,
    endpoint: Endpoint,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else its record would name the SHA-256 of a list other than the one that was inspected."""
    manifest = tmp_path / "list.txt"
    lines = "".join(f"{path}\n" for path in sorted(images.iterdir()))
    manifest.write_text(lines)
    _come_during_the_check(monkeypatch, lambda: manifest.write_text(lines * 2))
    with pytest.raises(RunNotResumable, match=r"list.txt has changed since run .*new run"):
        inspect_images(source=str(manifest), project="parts")
    assert endpoint.calls("StartModel") == []
    assert store.runs.list()[0].status == "failed"


def test_images_may_arrive_in_a_folder_while_it_is_read(
    images: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record has the SHA-256 of the listing that was inspected."""
    (images / "z").mkdir()  # listed after earlier images have been checked
    _come_during_the_check(monkeypatch, lambda: make_pictures(images / "z", 2, first=9000))
    summary = inspect_images(source=str(images), project="parts")
    assert summary.counts.total == 12 + 2
    with SourceReader() as reader:
        assert store.runs.get(summary.run_id).manifest_sha256 == manifest_digest(
            str(images), reader
        )


def test_a_run_that_was_planned_is_resumed_without_its_manifest(
    images: Path, tmp_path: Path, endpoint: Endpoint, store: Store
) -> None:
    manifest = tmp_path / "list.txt"
    manifest.write_text("\n".join(str(path) for path in sorted(images.iterdir())))
    endpoint.script(fail={"StartModel": ["AccessDeniedException"]})
    with pytest.raises(HostError):
        inspect_images(source=str(manifest), project="parts")
    manifest.unlink()
    (run,) = store.runs.list()
    assert resume_inspection(run.run_id).counts.pending == 0


def test_a_run_that_does_not_exist_is_not_resumed(endpoint: Endpoint, store: Store) -> None:
    with pytest.raises(RunNotFound, match="no run"):
        resume_inspection("ffffffff")


@pytest.mark.parametrize("throttled", ["ThrottlingException", "InternalServerException"])
def test_temporary_failures_only_cost_time(
    images: Path, endpoint: Endpoint, store: Store, throttled: str
) -> None:
    endpoint.script(fail={"DetectAnomalies": [throttled] * 5, "StopModel": [throttled] * 2})
    summary = inspect_images(source=str(images), project="parts")
    assert summary.counts.errors == 0
    assert set(endpoint.asked().values()) == {1}
    assert endpoint.status == "TRAINED"


def test_an_image_the_model_refuses_is_recorded_with_its_error(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    endpoint.script(fail={"DetectAnomalies": ["ValidationException"]})
    summary = inspect_images(source=str(images), project="parts")
    assert (summary.counts.errors, summary.counts.pending) == (1, 0)


def test_a_model_s_dimensions_are_learned_and_others_refused_before_it_is_started(
    images: Path, tmp_path: Path, endpoint: Endpoint, store: Store
) -> None:
    inspect_images(source=str(images), project="parts")
    make_pictures(tmp_path / "larger", 2, size=96)
    with pytest.raises(NothingInspected):
        inspect_images(source=str(tmp_path / "larger"), project="parts")
    rows = list(store.results.rows(store.runs.list(1)[0].run_id))
    assert {row["error_code"] for row in rows} == {"image_dimensions_mismatch"}
    assert len(endpoint.calls("StartModel")) == 1


def test_a_model_stopped_during_the_run_is_started_again(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    endpoint.script(fail={"DetectAnomalies": ["ConflictException"]})
    summary = inspect_images(source=str(images), project="parts")
    assert (summary.counts.errors, summary.counts.pending) == (0, 0)
    assert endpoint.status == "TRAINED"
    assert all(hosting.status == "stopped" for hosting in store.hostings.list())


def test_a_run_whose_model_is_not_found_is_recorded_and_can_be_resumed(
    images: Path, home: Path, endpoint: Endpoint, store: Store
) -> None:
    """Operators find out in the morning about a run that failed at night."""
    endpoint.script(fail={"DescribeModel": ["ResourceNotFoundException"]})
    with pytest.raises(ModelNotFound):
        inspect_images(
            source=str(images),
            project="parts",
            model_version="7",
            confidence=0.9,
            new_only=True,
            settle_seconds=0,
        )
    (run,) = store.runs.list()
    assert (run.status, run.model_id, run.model_version) == ("failed", None, "7")
    assert "ResourceNotFoundException" in str(run.message)
    assert run.flow_run_id is not None
    assert run.finished_at is not None
    with store.database.read() as conn:
        shown = conn.exec_driver_sql("SELECT status, message FROM run_summary").one()
    assert tuple(shown) == ("failed", run.message)
    summary = resume_inspection("last")
    assert (summary.run_id, summary.status, summary.counts.total) == (run.run_id, "completed", 12)
    resumed = store.runs.get(run.run_id)
    assert (resumed.model_id is None, resumed.message) == (False, None)
    assert resumed.policy == run.policy
    again = inspect_images(source=str(images), project="parts", new_only=True, settle_seconds=0)
    assert again.nothing_new
    assert store.audit.verify().ok


@pytest.mark.parametrize("failures", [1, 2])
def test_a_retry_by_prefect_is_the_same_run(
    images: Path, endpoint: Endpoint, store: Store, failures: int
) -> None:
    endpoint.script(fail={"DescribeModel": ["ResourceNotFoundException"] * failures})
    retried = inspect_images.with_options(retries=1)
    state: State[Any] = retried(source=str(images), project="parts", return_state=True)
    (run,) = store.runs.list()
    assert run.status == ("completed" if failures == 1 else "failed")
    assert state.is_completed() == (failures == 1)
    actions = [one.action for one in store.audit.entries() if one.subject == run.run_id]
    second = ["run.resumed", "run.model"] if failures == 1 else ["run.failed"]
    assert actions[: 2 + len(second)] == ["run.started", "run.failed", *second]


def test_a_run_whose_service_does_not_start_is_recorded(
    images: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LFV_ENDPOINT_URL")
    monkeypatch.setenv("LFV_SERVICE_START_SECONDS", "0.01")
    with pytest.raises(ServiceNotStarted):
        inspect_images(source=str(images), project="parts")
    (run,) = store.runs.list()
    assert (run.status, run.model_id) == ("failed", None)
    assert "did not answer within" in str(run.message)


def test_an_unsure_answer_is_never_accepted(images: Path, endpoint: Endpoint, store: Store) -> None:
    make_pictures(images, 30, first=100)
    summary = inspect_images(source=str(images), project="parts")
    verdicts = {
        (bool(row["is_anomalous"]), row["confidence"] >= 0.8, row["verdict"])
        for row in store.results.rows(summary.run_id)
    }
    assert verdicts == {
        (True, True, "reject"),
        (True, False, "review"),
        (False, True, "accept"),
        (False, False, "review"),
    }


def test_folders_as_found_in_practice(images: Path, tmp_path: Path, store: Store) -> None:
    """Given names of labels, skipped files, and a TIFF that is converted on request."""
    lot = tmp_path / "lot"
    for number, path in enumerate(sorted(images.iterdir())[:3]):
        folder = lot / ("Kratzer" if number == 2 else "gut")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
        (folder / f"{path.name}.part").write_bytes(path.read_bytes())
    with Image.open(next((lot / "gut").glob("*.*g"))) as picture:
        picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(lot / "gut" / "x.tiff")
    summary = inspect_images(source=str(lot), project="parts", normal=["gut"], anomaly=["kratzer"])
    assert (summary.counts.total, summary.counts.errors) == (4, 1)
    assert summary.evaluation is not None
    assert summary.evaluation.images == 3
    assert summary.skipped == {"unfinished or temporary files": 3}
    assert store.runs.get(summary.run_id).skipped == summary.skipped
    told = "Skipped files: 3 (unfinished or temporary files: 3)"
    assert told in summary.markdown()
    assert summary.report is not None
    assert told in summary.report.read_text()


def test_a_tiff_is_inspected_when_it_may_be_converted(
    images: Path, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LFV_CONVERT", "true")
    with Image.open(min(images.iterdir())) as picture:
        (tmp_path / "lot").mkdir()
        picture.save(tmp_path / "lot" / "x.tiff")
    summary = inspect_images(source=str(tmp_path / "lot"), project="parts")
    assert (summary.counts.total, summary.counts.errors) == (1, 0)
