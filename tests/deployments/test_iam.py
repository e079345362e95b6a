"""The policies allow the calls that the code makes, and no others.

The needed actions are recorded from boto3's calls while the code runs against stand-ins and moto's
S3. None is listed here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from lfv.client.api.client import aws_client
from lfv.client.catalog import model_entries
from lfv.client.errors import ModelNotFound
from lfv.client.hosting import ensure_hosted, ensure_stopped
from lfv.client.hosts import HostSpec, Units, open_host
from lfv.client.hosts.sagemaker.batch import BatchJobHost
from lfv.client.hosts.sagemaker.orphans import delete_endpoint, tagged_endpoints
from lfv.client.manifests import read_manifest
from lfv.client.policy import Policy
from lfv.client.sources import SourceReader
from lfv.client.staging import LabelledData
from lfv.formats.host_kinds import BATCH_JOB
from lfv.run.active import open_run
from lfv.run.context import InspectionRequest
from lfv.run.detection.batch import detect_in_batches
from lfv.run.models.training import train_project
from lfv.run.plan import plan_lines
from lfv.run.start import RunStarter, begin_run
from lfv.settings import get_settings
from lfv_store import open_store
from tests.support.aws_actions import recorded_actions
from tests.support.encoded import make_image
from tests.support.endpoints import Endpoint, endpoint_in_thread
from tests.support.sagemaker_standin import JOB, MODEL, ROLE, endpoint_name
from tests.support.service import line
from tests.support.waiting import PLENTY, wait_until

IAM = Path(__file__).parents[2] / "deployments" / "iam"
REGION = "us-east-1"


def allowed(name: str) -> set[str]:
    """The actions of a policy."""
    policy = json.loads((IAM / f"{name}.json").read_text())
    return {action for statement in policy["Statement"] for action in statement["Action"]}


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def sagemaker() -> Iterator[Endpoint]:
    with endpoint_in_thread("sagemaker") as endpoint:
        yield endpoint


@pytest.fixture
def s3() -> Iterator[str]:
    """URL of an S3 with the bucket `lot`, which holds two images.

    Request it after `sagemaker`, whose setup resets all that moto holds.
    """
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    client = aws_client("s3", url)
    client.create_bucket(Bucket="lot")
    for number, mode in enumerate(("L", "RGB")):
        client.put_object(Bucket="lot", Key=f"images/{number}.png", Body=make_image(mode=mode))
    yield url
    server.stop()


def inspect(endpoint: Endpoint, s3: str, version: str, **options: str) -> None:
    """Everything that a run requests from S3 and from a host."""
    with SourceReader(s3_endpoint_url=s3) as reader:
        ref, *_ = reader.list("s3://lot/images/")
        body = reader.read_bytes(ref)
    given = dict(endpoint.options) | options
    host = open_host(HostSpec(endpoint.host, "parts", version, endpoint.url, REGION, given))
    outcome = ensure_hosted(host, Units(1), "t", timeout=PLENTY)
    host.detect(body, "image/png")
    if outcome.started:
        ensure_stopped(host, "t", timeout=PLENTY)
    host.close()


def test_inspection_on_lookout_for_vision(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint_in_thread() as endpoint, recorded_actions(monkeypatch) as needed:
        inspect(endpoint, s3, "latest")
    assert allowed("lookoutvision-inspect") == needed


def test_sweeping_on_lookout_for_vision(monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint_in_thread() as endpoint, recorded_actions(monkeypatch) as needed:
        endpoint.script(hosted=True)
        (entry,) = model_entries(endpoint.url)
        host = open_host(HostSpec("lookoutvision", entry.project, entry.version, endpoint.url))
        ensure_stopped(host, "t", timeout=PLENTY)
    assert allowed("lookoutvision-sweep") == needed


def test_inspection_on_sagemaker(
    sagemaker: Endpoint, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recorded_actions(monkeypatch) as needed:
        inspect(sagemaker, s3, "latest")
        inspect(sagemaker, s3, f"model-package/{JOB}", endpoint_name=endpoint_name())
        inspect(sagemaker, s3, f"model/{MODEL}", endpoint_name=endpoint_name())
        with suppress(ModelNotFound):  # versions of a model package group
            inspect(sagemaker, s3, "model-package/no-group/1")
    assert allowed("sagemaker-inspect") == needed


def test_inspection_with_an_endpoint_of_somebody_else(
    sagemaker: Endpoint, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sagemaker.script(hosted=True)
    with recorded_actions(monkeypatch) as needed:
        inspect(sagemaker, s3, f"endpoint/{endpoint_name()}")
    assert allowed("sagemaker-adopt") == needed


def test_inspection_by_a_batch_job(
    sagemaker: Endpoint, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flow's own steps, with the real store and a real S3 protocol, and no Prefect."""
    sagemaker.script(s3_url=s3)
    settings = get_settings(
        home=tmp_path,
        host="sagemaker",
        endpoint_url=sagemaker.url,
        s3_endpoint_url=s3,
        staging_uri="s3://lot/staging",
        region=REGION,
    )
    request = InspectionRequest(
        "s3://lot/images/",
        "parts",
        policy=Policy.from_confidence(0.8).to_dict(),
        host="sagemaker",
        host_options={"role_arn": ROLE},
        mode="batch",
    )
    with (
        recorded_actions(monkeypatch) as needed,
        open_store(settings.store_url) as store,
    ):
        context = RunStarter(store, settings, sagemaker.url).proceed(begin_run(store, request))
        with open_run(context, store) as run:
            plan_lines(run, list(read_manifest(request.source, run.reader)))
            detect_in_batches(run)
        assert store.inspections.counts(run.run_id).inspected == 2
        with suppress(ModelNotFound):  # versions of a model package group
            inspect(sagemaker, s3, "model-package/no-group/1")
        spec = HostSpec("sagemaker", "parts", f"model/{MODEL}", sagemaker.url, REGION)
        open_host(spec).describe()  # with a model of the user's own
        # A run that ends early stops its job.
        sagemaker.script(detect_seconds=60)
        options = {"job": "lfv-parts-2", "input": "s3://lot/none", "output": "s3://lot/out/"}
        spec = HostSpec(BATCH_JOB, "parts", "latest", sagemaker.url, REGION, options)
        job = BatchJobHost(HostSpec(**{**spec.to_dict(), "options": options | {"role_arn": ROLE}}))
        aws_client("s3", s3).put_object(
            Bucket="lot", Key="none", Body=b'[{"prefix": "s3://lot/images/"}, "0.png"]'
        )
        job.start(Units(1), "t")
        ensure_stopped(job, "t", timeout=PLENTY)
        job.close()
    assert allowed("sagemaker-batch") == needed


def test_training_on_sagemaker(
    sagemaker: Endpoint, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        line(f"s3://lot/images/{number}.png", "anomaly" if number else "normal")
        for number in range(2)
    ]
    (tmp_path / "train.manifest").write_text("\n".join(rows))
    settings = get_settings(
        home=tmp_path,
        host="sagemaker",
        endpoint_url=sagemaker.url,
        s3_endpoint_url=s3,
        host_options={"role_arn": ROLE},
        staging_uri="s3://lot/training",
        region=REGION,
    )
    with recorded_actions(monkeypatch) as needed:
        train_project(settings, LabelledData(str(tmp_path / "train.manifest")), "cookies")
        with SourceReader(s3_endpoint_url=s3) as reader:  # a prefix of images
            next(reader.list("s3://lot/images/"))
    assert allowed("sagemaker-train") == needed


def test_sweeping_the_sagemaker_account(
    sagemaker: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sagemaker.script(detect_seconds=60, buckets={"lot": str(tmp_path)})
    (tmp_path / "images").write_text('[{"prefix": "s3://lot/"}, "none"]')
    options = dict(sagemaker.options)
    host = open_host(HostSpec("sagemaker", "parts", "latest", sagemaker.url, None, options))
    host.start(Units(1), "lost")
    wait_until(lambda: sagemaker.status == "HOSTED")
    options |= {"job": "lfv-parts-1", "input": "s3://lot/images", "output": "s3://lot/out/"}
    job = BatchJobHost(HostSpec(BATCH_JOB, "parts", "latest", sagemaker.url, None, options))
    job.start(Units(1), "lost")
    # A stop that fails half-way: what the endpoint hosts is described while it goes down.
    sagemaker.script(stop_seconds=4, fail={"DeleteEndpointConfig": ["ThrottlingException"]})
    with recorded_actions(monkeypatch) as needed:
        for found in tagged_endpoints(sagemaker.url, REGION):
            delete_endpoint(found, sagemaker.url, REGION, timeout=PLENTY)
    assert sagemaker.leftovers == []
    assert allowed("sagemaker-sweep") == needed


def test_every_policy_is_listed_and_deletes_only_our_resources() -> None:
    page = (IAM / "README.md").read_text()
    for path in IAM.glob("*.json"):
        assert path.name in page
        for statement in json.loads(path.read_text())["Statement"]:
            for action in statement["Action"]:
                assert re.fullmatch(r"(iam|s3|sagemaker|lookoutvision):[A-Za-z]+", action)
                if ":Delete" in action or action == "sagemaker:StopTransformJob":
                    tag = statement["Condition"]["StringEquals"]["aws:ResourceTag/lfv:created-by"]
                    assert tag == "lfv"
