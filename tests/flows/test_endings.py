"""The end of a run without results, at a limit, or when cancelled."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.states import State

from flows.inspect_images import inspect_images, resume_inspection
from lfv.client.policy import Policy
from lfv.client.sources import SourceReader
from lfv.formats.errors import CredentialsRefused
from lfv.run.errors import InspectionError, LimitReached, NothingInspected, RunNotFound, SourceEmpty
from lfv.run.verdicts.decide import redecide
from lfv_store import Store
from tests.support.endpoints import Endpoint
from tests.support.pictures import make_pictures


def _empty_manifest(folder: Path) -> Path:
    manifest = folder / "empty.manifest"
    manifest.touch()
    return manifest


def _folder_without_images(folder: Path) -> Path:
    source = folder / "notes"
    source.mkdir()
    (source / "readme.txt").write_text("no image here")
    return source


@pytest.mark.parametrize("make", [_empty_manifest, _folder_without_images])
def test_an_empty_source_is_not_a_success(
    make: Any, tmp_path: Path, endpoint: Endpoint, store: Store
) -> None:
    source = make(tmp_path)
    state: State[Any] = inspect_images(source=str(source), project="parts", return_state=True)
    assert state.is_failed()
    with pytest.raises(SourceEmpty, match="--allow-empty") as caught:
        state.result()
    assert caught.value.summary is not None
    assert caught.value.summary.status == "failed"
    (run,) = store.runs.list()
    assert run.status == "failed"
    assert run.message is not None
    assert "has no image" in run.message
    assert ("; skipped files: 1 (other files: 1);" in run.message) == source.is_dir()
    assert endpoint.calls("StartModel") == []


def test_an_empty_source_may_be_allowed(tmp_path: Path, endpoint: Endpoint, store: Store) -> None:
    source = _empty_manifest(tmp_path)
    summary = inspect_images(source=str(source), project="parts", allow_empty=True)
    assert (summary.status, summary.counts.total) == ("completed", 0)


@pytest.mark.parametrize("allow_empty", [False, True])
def test_a_run_without_a_verdict_is_not_completed(
    allow_empty: bool, tmp_path: Path, endpoint: Endpoint, store: Store
) -> None:
    """As when a share is not mounted."""
    manifest = tmp_path / "missing.txt"
    manifest.write_text("".join(f"share/{number}.png\n" for number in range(5)))
    with pytest.raises(NothingInspected, match="none of the 5 images") as caught:
        inspect_images(source=str(manifest), project="parts", allow_empty=allow_empty)
    assert caught.value.summary is not None
    assert caught.value.summary.counts.errors == 5
    assert store.runs.list()[0].status == "failed"
    assert endpoint.calls("StartModel") == []


@pytest.mark.usefixtures("few_requests")
def test_a_limit_may_be_raised_when_the_run_is_resumed(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    make_pictures(images, 60, first=100)
    endpoint.script(detect_seconds=0.1)
    with pytest.raises(LimitReached) as caught:
        inspect_images(source=str(images), project="parts", max_hosted_minutes=0.005)
    reported = caught.value.summary
    assert reported is not None
    assert reported.status == "interrupted"
    assert reported.report is not None
    assert reported.report.exists()
    endpoint.script(detect_seconds=0.0)
    (run,) = store.runs.list()
    summary = resume_inspection("last", max_hosted_minutes=30)
    assert summary.run_id == run.run_id
    assert (summary.status, summary.counts.pending) == ("completed", 0)
    assert store.runs.get(run.run_id).parameters["max_hosted_minutes"] == 0.005


@pytest.mark.parametrize("good", [0, 16], ids=["while checking", "while detecting"])
def test_expired_credentials_of_the_source_are_not_recorded_for_images(
    images: Path,
    endpoint: Endpoint,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    good: int,
) -> None:
    """Twelve images are read when they are checked, and once more for the model."""
    read, reads = SourceReader.read_image, itertools.count()

    def expire(reader: SourceReader, *given: Any) -> Any:
        if next(reads) >= good:
            raise CredentialsRefused("S3 does not accept the credentials; renew them.")
        return read(reader, *given)

    with monkeypatch.context() as patch:
        patch.setattr(SourceReader, "read_image", expire)
        with pytest.raises(InspectionError, match=r"renew them.*--resume"):
            inspect_images(source=str(images), project="parts")
    (run,) = store.runs.list()
    assert store.inspections.counts(run.run_id).errors == 0
    assert endpoint.status == "TRAINED"
    summary = resume_inspection(run.run_id)
    assert (summary.counts.inspected, summary.counts.errors) == (12, 0)


def test_lines_inspected_after_a_decision_get_its_verdicts(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    """The run is resumed; its first policy would accept or reject what a person is to see."""
    endpoint.script(fail={"StartModel": ["AccessDeniedException"]})
    state: State[Any] = inspect_images(source=str(images), project="parts", return_state=True)
    assert state.is_failed()
    (run,) = store.runs.list()
    careful = Policy.from_dict({"default": {"classification": {"min_confidence": 1.0}}})
    redecide(store, run.run_id, careful, decided_by="Ana Ruiz")
    summary = resume_inspection(run.run_id)
    assert (summary.counts.review, summary.counts.accepted, summary.counts.rejected) == (12, 0, 0)
    first, second, third = store.verdicts.decisions(run.run_id)
    assert third.policy_sha256 == second.policy_sha256 != first.policy_sha256
    assert (third.current, third.verdicts) == (True, 12)
    assert third.reason == "decision 2 by Ana Ruiz, on the lines inspected since"
    assert resume_inspection(run.run_id).counts == summary.counts
    assert len(store.verdicts.decisions(run.run_id)) == 3
    assert store.audit.verify().ok


def test_a_run_is_named_by_its_prefect_flow_run_too(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    endpoint.script(fail={"StartModel": ["AccessDeniedException"]})
    state: State[Any] = inspect_images(source=str(images), project="parts", return_state=True)
    assert state.is_failed()
    (run,) = store.runs.list()
    assert run.flow_run_id is not None
    summary = resume_inspection(run.flow_run_id)
    assert (summary.run_id, summary.status) == (run.run_id, "completed")
    assert resume_inspection("last").run_id == run.run_id
    with pytest.raises(RunNotFound):
        resume_inspection("00000000-0000-0000-0000-000000000000")


class _Cancelled(BaseException):
    """Replaces the exception that Prefect raises in a cancelled flow run."""


def test_a_cancelled_run_is_reported(
    images: Path, home: Path, endpoint: Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancel(*_: object) -> None:
        raise _Cancelled

    monkeypatch.setattr("flows.inspect_images.start_model", cancel)
    with pytest.raises(_Cancelled):
        inspect_images(source=str(images), project="parts")
    (run,) = store.runs.list()
    assert run.status == "cancelled"
    assert (home / "runs" / run.run_id / "report.html").exists()
    with get_client(sync_client=True) as client:
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(run.flow_run_id)]))
        keys = {artifact.key for artifact in client.read_artifacts(artifact_filter=of_run)}
    assert {"inspection-summary", "inspection-results"} <= keys
