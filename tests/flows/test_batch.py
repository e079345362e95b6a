"""Detection by SageMaker batch jobs: the same records, nothing left, nothing billed twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flows.inspect_images import inspect_images, resume_inspection
from lfv.client.errors import HostError
from lfv.client.hosting import ensure_stopped
from lfv.client.hosts import Units
from lfv.client.hosts.protocol import HostSpec
from lfv.client.hosts.sagemaker.batch import BatchJobHost
from lfv.formats.host_kinds import BATCH_JOB
from lfv.run.errors import LimitReached, ModelOutOfReach
from lfv.run.hosting.sweep import sweep
from lfv.settings import LfvSettingsError, get_settings
from lfv_store import Store
from tests.support.endpoints import Endpoint, endpoint_in_thread
from tests.support.limits import limited_once
from tests.support.sagemaker_standin import ROLE, endpoint_name
from tests.support.waiting import PLENTY, wait_until


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with endpoint_in_thread("sagemaker") as endpoint:
        yield endpoint


@pytest.fixture
def bucket(tmp_path: Path, endpoint: Endpoint) -> Path:
    """The folder used as bucket, also by the jobs."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    endpoint.script(buckets={"lot": str(folder)})
    return folder


@pytest.fixture
def home(home: Path, endpoint: Endpoint, bucket: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in endpoint.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LFV_BUCKETS", f"lot={bucket}")
    monkeypatch.setenv("LFV_STAGING_URI", "s3://lot/staging")
    return home


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rows(store: Store, run_id: str) -> list[dict[str, Any]]:
    kept = ("line_number", "verdict", "is_anomalous", "confidence", "image_sha256", "error")
    return [{name: row[name] for name in kept if name in row} for row in store.results.rows(run_id)]


def test_the_same_records_as_with_an_endpoint(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    by_job = inspect_images(source=str(images), project="parts", mode="batch")
    assert by_job.status == "completed"
    assert endpoint.calls("StartModel") == []
    assert len(endpoint.calls("CreateTransformJob", "ok")) == 1
    live = inspect_images(source=str(images), project="parts", again=True)
    assert rows(store, by_job.run_id) == rows(store, live.run_id)
    assert endpoint.leftovers == []
    hosting = store.hostings.list()[-1]
    assert hosting.status == "stopped"
    assert store.models.get(hosting.model_id).key.model_version.startswith(
        "transform-job/lfv-parts-"
    )
    job = store.models.get(hosting.model_id).key
    spec = HostSpec.from_dict(hosting.host_spec)
    host = BatchJobHost(spec)
    assert host.describe().model_arn == job.model_arn  # so `lfv ui` finds what it stops
    host.close()
    known = inspect_images(source=str(images), project="parts", mode="batch")
    assert known.counts.reused == 12  # also what an endpoint answered
    assert len(endpoint.calls("CreateTransformJob")) == 1


def test_the_job_has_the_form_that_the_algorithm_requires(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    summary = inspect_images(source=str(images), project="parts", mode="batch")
    (made,) = endpoint.calls("CreateTransformJob", "ok")
    request = made["request"]
    assert request["TransformInput"]["ContentType"] == "image/png"
    assert request["TransformInput"]["DataSource"]["S3DataSource"]["S3DataType"] == "ManifestFile"
    assert request["MaxConcurrentTransforms"] == 4
    tags = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    assert tags["lfv:run"] == summary.run_id
    (model,) = endpoint.calls("CreateModel", "ok")
    assert model["request"]["EnableNetworkIsolation"] is True


def test_png_and_jpeg_are_two_jobs(images: Path, endpoint: Endpoint, store: Store) -> None:
    Image.new("RGB", (64, 64), "red").save(images / "a.jpg")
    summary = inspect_images(
        source=str(images), project="parts", mode="batch", host_options={"concurrency": "8"}
    )
    assert summary.counts.inspected == 13
    jobs = [call["request"] for call in endpoint.calls("CreateTransformJob", "ok")]
    types = [job["TransformInput"]["ContentType"] for job in jobs]
    assert sorted(types) == ["image/jpeg", "image/png"]
    assert [job["MaxConcurrentTransforms"] for job in jobs] == [8, 8]
    assert endpoint.leftovers == []


def test_a_run_that_ends_stops_its_job_and_is_resumed_with_its_answers(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    endpoint.script(slow_after=5, slow_seconds=60)

    def five_recorded() -> bool:
        return store.inspections.counts(store.runs.list()[0].run_id).inspected == 5

    with limited_once(five_recorded), pytest.raises(LimitReached):
        inspect_images(source=str(images), project="parts", mode="batch", max_hosted_minutes=5)
    assert endpoint.leftovers == []
    assert len(endpoint.calls("StopTransformJob", "ok")) == 1
    run = store.runs.list()[0]
    assert store.inspections.counts(run.run_id).pending == 7
    endpoint.script(slow_after=None)
    summary = resume_inspection(run.run_id)
    assert summary.counts.inspected == 12
    assert endpoint.asked() == Counter({digest(path): 1 for path in images.iterdir()})
    assert endpoint.leftovers == []


def test_answers_of_a_lost_run_are_taken_from_the_bucket(
    images: Path, endpoint: Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run died before it took any answer; the job had finished some."""
    from lfv.run.detection import batch

    def die(*_: object) -> str:
        wait_until(lambda: len(endpoint.asked()) >= 5)
        raise RuntimeError("died")

    endpoint.script(slow_after=5, slow_seconds=60)
    with monkeypatch.context() as patch:
        patch.setattr(batch._Batches, "_follow", die)
        with pytest.raises(RuntimeError):
            inspect_images(source=str(images), project="parts", mode="batch")
    assert endpoint.leftovers == []
    endpoint.script(slow_after=None)
    summary = resume_inspection("last")
    assert summary.counts.inspected == 12
    assert set(endpoint.asked().values()) == {1}


def test_an_image_that_the_job_fails_at_has_its_error(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    bad = min(images.iterdir())
    endpoint.script(job_images=[digest(bad)])
    summary = inspect_images(source=str(images), project="parts", mode="batch")
    assert summary.counts.errors == 1
    assert summary.counts.inspected == 12
    errors = [row for row in store.results.rows(summary.run_id) if row["error_code"]]
    assert "ClientError" in str(errors[0])
    assert endpoint.leftovers == []


def test_a_job_without_any_answer_is_not_recorded_for_images(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    endpoint.script(job_failure="at once")
    with pytest.raises(ModelOutOfReach, match="no capacity"):
        inspect_images(source=str(images), project="parts", mode="batch")
    run = store.runs.list()[0]
    assert store.inspections.counts(run.run_id).pending == 12
    assert endpoint.leftovers == []


@pytest.mark.parametrize(
    ("host", "staging", "message"),
    [("lookoutvision", "s3://lot/x", "--host sagemaker"), ("sagemaker", "", "--staging")],
)
def test_missing_options_of_a_batch_are_reported_first(
    images: Path,
    endpoint: Endpoint,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    staging: str,
    message: str,
) -> None:
    monkeypatch.setenv("LFV_HOST", host)
    monkeypatch.setenv("LFV_STAGING_URI", staging)
    with pytest.raises(LfvSettingsError, match=message):
        inspect_images(source=str(images), project="parts", mode="batch")
    assert store.runs.list() == []
    assert endpoint.all_calls() == []


@pytest.mark.parametrize(
    ("options", "version", "said"),
    [
        ("", "latest", "needs the execution role of its model"),
        ("role_arn=x,concurrency=many", "latest", "Option concurrency is not a number"),
        ("role_arn=x", "endpoint/parts", "needs a model, not an endpoint"),
    ],
)
def test_nothing_is_copied_for_a_job_that_cannot_be_created(
    images: Path,
    endpoint: Endpoint,
    bucket: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    version: str,
    said: str,
) -> None:
    if version.startswith("endpoint/"):
        version = f"endpoint/{endpoint_name()}"
        endpoint.script(hosted=True)
    monkeypatch.setenv("LFV_HOST_OPTIONS", options)
    with pytest.raises(HostError, match=said):
        inspect_images(source=str(images), project="parts", model_version=version, mode="batch")
    assert list(bucket.rglob("*")) == []
    assert endpoint.calls("CreateModel") == []


def test_what_a_killed_start_creates_after_the_stop_is_deleted(
    endpoint: Endpoint, bucket: Path
) -> None:
    (bucket / "images.json").write_text('[{"prefix": "s3://lot/"}, "none.png"]')
    options = {"job": "lfv-parts-1", "input": "s3://lot/images.json", "output": "s3://lot/out/"}
    spec = HostSpec(BATCH_JOB, "parts", "latest", endpoint.url, None, options | {"role_arn": ROLE})
    with closing(BatchJobHost(spec)) as guard, closing(BatchJobHost(spec)) as run:
        ensure_stopped(guard, "stop", timeout=PLENTY)  # nothing is there yet
        assert not guard.describe().status.is_up
        endpoint.script(fail={"CreateTransformJob": ["AccessDeniedException"]})
        with pytest.raises(HostError):
            run.start(Units(1), "token")  # it has created its model
        assert endpoint.leftovers
        assert guard.describe().status.is_up
        ensure_stopped(guard, "stop", timeout=PLENTY)
        assert endpoint.leftovers == []
        assert not guard.describe().status.is_up


def test_a_job_that_no_database_knows_is_found_by_its_tags(
    endpoint: Endpoint, bucket: Path, home: Path, store: Store
) -> None:
    endpoint.script(detect_seconds=60)
    (bucket / "images.json").write_text('[{"prefix": "s3://lot/"}, "none.png"]')
    options = {"job": "lfv-parts-1", "input": "s3://lot/images.json", "output": "s3://lot/out/"}
    spec = HostSpec(BATCH_JOB, "parts", "latest", endpoint.url, None, options | {"role_arn": ROLE})
    host = BatchJobHost(spec)
    host.start(Units(1), "token")
    host.start(Units(1), "token")  # the answer to the first was lost
    host.close()
    assert len(endpoint.calls("CreateTransformJob", "ok")) == 1
    settings = get_settings()
    looked = sweep(store, settings, account=True)
    assert [(one.model_version, one.stopped) for one in looked.unknown] == [
        ("transform-job/lfv-parts-1", False)
    ]
    swept = sweep(store, settings, account=True, stop_unknown=True)
    assert [one.stopped for one in swept.unknown] == [True]
    assert endpoint.leftovers == []
