"""The same job with the model on a SageMaker endpoint: same records, same views, nothing left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import create_engine, text

from flows.inspect_images import inspect_images, resume_inspection
from lfv.client.errors import HostRejected, ModelNotFound
from lfv.client.hosts import Units, open_host
from lfv.client.hosts.protocol import HostSpec
from lfv.client.staging import LabelledData
from lfv.run.errors import LimitReached
from lfv.run.hosting.sweep import SweepReport, sweep
from lfv.run.models.training import train_project
from lfv.settings import get_settings
from lfv_store import Store
from tests.support.endpoints import Endpoint, endpoint_in_thread
from tests.support.pictures import make_pictures
from tests.support.sagemaker_standin import JOB, MODEL, endpoint_name


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with endpoint_in_thread("sagemaker") as endpoint:
        yield endpoint


@pytest.fixture
def home(home: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in endpoint.environment.items():
        monkeypatch.setenv(name, value)
    return home


def rows(store: Store, run_id: str) -> list[dict[str, Any]]:
    """The columns that are equal for two hosts with the same answers."""
    kept = ("line_number", "verdict", "is_anomalous", "confidence", "image_sha256", "error")
    return [{name: row[name] for name in kept if name in row} for row in store.results.rows(run_id)]


def test_the_same_records_as_with_lookout_for_vision(
    images: Path, endpoint: Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = inspect_images(source=str(images), project="parts")
    assert here.status == "completed"
    assert here.model_version == f"training-job/{JOB}"
    with endpoint_in_thread() as other:
        for name, value in other.environment.items():
            monkeypatch.setenv(name, value)
        there = inspect_images(source=str(images), project="parts")
    assert rows(store, here.run_id) == rows(store, there.run_id)
    assert [run.host for run in store.runs.list()] == ["lookoutvision", "sagemaker"]
    assert {hosting.status for hosting in store.hostings.list()} == {"stopped"}
    assert endpoint.leftovers == []
    assert len(endpoint.calls("StartModel", "ok")) == len(endpoint.calls("StopModel", "ok")) == 1


def test_created_resources_are_tagged_with_the_run(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    summary = inspect_images(source=str(images), project="parts")
    (made,) = endpoint.calls("StartModel", "ok")
    tags = {tag["Key"]: tag["Value"] for tag in made["request"]["Tags"]}
    assert tags["lfv:run"] == summary.run_id
    assert tags["lfv:created-by"] == "lfv"


@pytest.mark.parametrize("status", ["TRAINED", "HOSTING_FAILED"], ids=["deleted", "failed"])
def test_an_endpoint_lost_during_a_run_is_created_again(
    images: Path, endpoint: Endpoint, store: Store, status: str
) -> None:
    make_pictures(images, 36, first=100)
    endpoint.script(slow_after=4, slow_seconds=1.0)

    def lose() -> None:
        endpoint.wait_for_calls("DetectAnomalies", 4)
        endpoint.script(become=status, slow_after=None)

    with ThreadPoolExecutor(1) as pool:
        losing = pool.submit(lose)
        summary = inspect_images(source=str(images), project="parts")
        losing.result()
    assert (summary.counts.inspected, summary.counts.errors) == (48, 0)
    assert {hosting.status for hosting in store.hostings.list()} == {"stopped"}
    assert len(endpoint.calls("StartModel", "ok")) == 2
    assert endpoint.leftovers == []


def test_an_endpoint_of_somebody_else_is_used_and_left(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    endpoint.script(hosted=True)
    version = f"endpoint/{endpoint_name()}"
    summary = inspect_images(source=str(images), project="parts", model_version=version)
    assert summary.counts.inspected == 12
    assert endpoint.status == "HOSTED"
    assert endpoint.calls("StopModel") == []
    (hosting,) = store.hostings.list()
    assert store.models.get(hosting.model_id).key.model_arn.endswith(f":model/{MODEL}")


def test_an_image_beyond_six_mib_has_its_error_before_the_start(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    picture = min(images.iterdir())
    picture.write_bytes(picture.read_bytes() + bytes(6 * 1024 * 1024))
    summary = inspect_images(source=str(images), project="parts")
    assert summary.counts.errors == 1
    errors = [row["error"] for row in store.results.rows(summary.run_id) if row["error"]]
    assert "6,291,456" in str(errors) or "image_too_large" in str(errors)
    assert len(endpoint.asked()) == 11


def test_an_image_beyond_six_mib_is_reencoded_if_allowed(
    images: Path, endpoint: Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LFV_REENCODE", "true")
    noise = np.random.default_rng(1).integers(0, 256, (1500, 1500, 3), np.uint8)
    Image.fromarray(noise).save(images / "large.png")
    size = (images / "large.png").stat().st_size
    assert size > 6 * 1024 * 1024
    summary = inspect_images(source=str(images), project="parts")
    assert summary.counts.errors == 0
    row = store.results.line(summary.run_id, 13)
    assert row["attributes"]["converted-from"].startswith(f"PNG of {size:,} bytes")
    assert len(endpoint.asked()) == 13


def test_a_run_on_sagemaker_is_resumed_there(
    images: Path, endpoint: Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.script(detect_seconds=2)  # all images take several times the limit
    with pytest.raises(LimitReached):
        inspect_images(source=str(images), project="parts", max_hosted_minutes=0.01)
    endpoint.script(detect_seconds=0)
    monkeypatch.setenv("LFV_HOST", "lookoutvision")  # the run has stored its host
    summary = resume_inspection(store.runs.list()[0].run_id, max_hosted_minutes=5)
    assert summary.counts.inspected == 12
    assert endpoint.leftovers == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"project": "parts", "host_options": {"instance": "big"}}, HostRejected),
        ({"project": "under_score"}, HostRejected),
        ({"project": "unheard-of"}, ModelNotFound),
        ({"project": "parts", "model_version": "model/none"}, ModelNotFound),
        ({"project": "parts", "max_inference_units": 2}, HostRejected),
    ],
)
def test_a_version_that_cannot_be_hosted_is_refused_first(
    images: Path, endpoint: Endpoint, store: Store, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        inspect_images(source=str(images), **options)
    assert endpoint.leftovers == []
    assert endpoint.calls("StartModel") == []


# -- unused resources --


def leave_an_endpoint(endpoint: Endpoint) -> None:
    """An endpoint of lfv that is in no database."""
    spec = HostSpec("sagemaker", "parts", "latest", endpoint.url, None, dict(endpoint.options))
    host = open_host(spec)
    host.start(Units(1), "lost")
    host.close()


def test_a_sweep_finds_endpoints_of_ours_that_no_run_uses(endpoint: Endpoint, store: Store) -> None:
    leave_an_endpoint(endpoint)
    report = sweep(store, get_settings())
    (found,) = report.unknown
    assert (found.project, found.model_version) == ("parts", f"endpoint/{endpoint_name()}")
    assert (found.status, found.stopped, report.clean) == ("InService", False, False)
    assert endpoint.status == "HOSTED"
    report = sweep(store, get_settings(), stop_unknown=True)
    assert report.clean
    assert endpoint.leftovers == []
    assert sweep(store, get_settings()).unknown == ()


def test_a_sweep_recognises_a_run_with_another_address_of_the_account(
    images: Path, endpoint: Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a VPC endpoint; what the run uses is not deleted."""
    make_pictures(images, 36, first=100)
    endpoint.script(slow_after=4, slow_seconds=0.3)

    def look() -> SweepReport:
        endpoint.wait_for_calls("DetectAnomalies", 4)
        address = endpoint.url.replace("127.0.0.1", "localhost")
        other = get_settings().model_copy(update={"endpoint_url": address})
        return sweep(store, other, stop_unknown=True)

    with ThreadPoolExecutor(1) as pool:
        report = pool.submit(look)
        summary = inspect_images(source=str(images), project="parts")
    assert report.result().unknown == ()
    assert summary.counts.inspected == 48
    assert len(endpoint.calls("StartModel", "ok")) == 1


def test_a_sweep_finds_what_a_lost_start_left(endpoint: Endpoint, store: Store) -> None:
    endpoint.script(fail={"StartModel": ["AccessDeniedException"]})
    with pytest.raises(Exception, match="AccessDenied"):
        leave_an_endpoint(endpoint)
    (found,) = sweep(store, get_settings()).unknown
    assert found.status == "gone"
    assert sweep(store, get_settings(), stop_unknown=True).clean
    assert endpoint.leftovers == []


def test_a_sweep_leaves_endpoints_of_others_alone(endpoint: Endpoint, store: Store) -> None:
    endpoint.script(hosted=True)
    assert sweep(store, get_settings(), stop_unknown=True).clean
    assert endpoint.status == "HOSTED"


def test_the_account_is_checked_on_request(
    endpoint: Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_an_endpoint(endpoint)
    monkeypatch.setenv("LFV_HOST", "lookoutvision")
    monkeypatch.delenv("LFV_ENDPOINT_URL")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", endpoint.url)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("LFV_REGION", "us-east-1")
    assert sweep(store, get_settings()).clean
    report = sweep(store, get_settings(), account=True)
    assert json.dumps([one.project for one in report.unknown]) == '["parts"]'
    assert sweep(store, get_settings(), account=True, stop_unknown=True).clean
    assert endpoint.leftovers == []


@pytest.mark.parametrize("mode", ["live", "batch"])
def test_a_verdict_leads_to_the_training_of_its_model(
    images: Path,
    endpoint: Endpoint,
    store: Store,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: Literal["live", "batch"],
) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    endpoint.script(buckets={"lot": str(bucket)})
    monkeypatch.setenv("LFV_BUCKETS", f"lot={bucket}")
    monkeypatch.setenv("LFV_STAGING_URI", "s3://lot/staging")
    labelled = tmp_path / "labelled"
    for number, label in enumerate(("good", "good", "bad", "bad")):
        make_pictures(labelled / label / str(number), 1, first=100 + number)
    trained = train_project(
        get_settings(), LabelledData(str(labelled)), "cookies", trained_by="somebody"
    )
    options = {"endpoint_name": endpoint_name()}  # the one that answers
    summary = inspect_images(source=str(images), project="cookies", host_options=options, mode=mode)
    assert summary.model_version == trained.version
    with create_engine(get_settings().store_url).connect() as connection:
        found = connection.execute(
            text(
                "SELECT DISTINCT t.source, t.trained_by, t.model_arn FROM inspection_results r "
                "JOIN model_trainings t ON t.model_id = r.model_id WHERE r.run_id = :run"
            ),
            {"run": summary.run_id},
        ).all()
    assert found == [(str(labelled), "somebody", trained.model_arn)]
    assert trained.model_arn.endswith(f":{trained.version}")
