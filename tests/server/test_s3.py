"""Buckets in S3 instead of folders."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.support.service import (
    BUCKET,
    Service,
    dataset_done,
    line,
    make_dataset,
    make_model,
    model_in,
    png,
    running,
)
from tests.support.waiting import wait_until

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_url: str) -> Iterator[Any]:
    client = boto3.Session("test", "test", region_name="us-east-1").client(
        "s3", endpoint_url=s3_url
    )
    yield client
    client.close()


@pytest.fixture
def s3_service(tmp_path: Path, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    for key, value in {**KEYS, "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(key, value)
    with running(tmp_path / "service", s3=True, s3_endpoint_url=s3_url) as service:
        yield service


def test_training_from_s3(s3: Any, s3_service: Service) -> None:
    client = s3_service.client()
    s3.create_bucket(Bucket="images")
    s3.put_bucket_versioning(Bucket="images", VersioningConfiguration={"Status": "Enabled"})
    lines = []
    for number in range(4):
        key = f"a folder/{number} ü.png"
        s3.put_object(Bucket="images", Key=key, Body=png(bright=number % 2 == 1))
        lines.append(line(f"s3://images/{key}", "anomaly" if number % 2 else "normal"))
    first = s3.put_object(Bucket="images", Key="m.manifest", Body="\n".join(lines).encode())
    s3.put_object(Bucket="images", Key="m.manifest", Body=b"replaced")
    client.create_project(ProjectName="p")
    at = {"Bucket": "images", "Key": "m.manifest", "VersionId": first["VersionId"]}
    client.create_dataset(
        ProjectName="p",
        DatasetType="train",
        DatasetSource={"GroundTruthManifest": {"S3Object": at}},
    )
    assert dataset_done(client, "p")["ImageStats"]["Total"] == 4
    output = {"S3Location": {"Bucket": "images", "Prefix": "out"}}
    client.create_model(ProjectName="p", OutputConfig=output)
    described = model_in(client, "p", "TRAINED")
    key = described["EvaluationResult"]["Key"]
    result = json.loads(s3.get_object(Bucket="images", Key=key)["Body"].read())
    assert result["EvaluationDetails"]["NumberOfTrainingImages"] == 4
    component = {"S3OutputLocation": {"Bucket": "images"}, "ComponentName": "p"}
    client.start_model_packaging_job(
        ProjectName="p", ModelVersion="1", JobName="j", Configuration={"Greengrass": component}
    )

    def job() -> dict[str, Any]:
        found = client.describe_model_packaging_job(ProjectName="p", JobName="j")
        description: dict[str, Any] = found["ModelPackagingDescription"]
        return description

    wait_until(lambda: job()["Status"] == "SUCCEEDED")
    assert s3.head_object(Bucket="images", Key="p-1.0.0.zip")["ContentLength"] > 0


@pytest.mark.parametrize(("bucket", "why"), [("images-2", "not found"), ("missing", "not found")])
def test_missing_objects_in_s3(s3: Any, s3_service: Service, bucket: str, why: str) -> None:
    client = s3_service.client()
    s3.create_bucket(Bucket="images-2")
    client.create_project(ProjectName="p")
    client.create_dataset(
        ProjectName="p",
        DatasetType="train",
        DatasetSource={"GroundTruthManifest": {"S3Object": {"Bucket": bucket, "Key": "m"}}},
    )
    described = dataset_done(client, "p")
    assert described["Status"] == "CREATE_FAILED"
    assert f"s3://{bucket}/m: {why}" in described["StatusMessage"]


class BrokenS3(BaseHTTPRequestHandler):
    """Announces more bytes than it sends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"{}\n" * 10)

    def log_message(self, *_: object) -> None:
        pass


def test_connection_that_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {**KEYS, "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(key, value)
    with ThreadingHTTPServer(("127.0.0.1", 0), BrokenS3) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        with running(tmp_path / "service", s3=True, s3_endpoint_url=url) as service:
            client = service.client()
            client.create_project(ProjectName="p")
            source = {"GroundTruthManifest": {"S3Object": {"Bucket": "images", "Key": "m"}}}
            client.create_dataset(ProjectName="p", DatasetType="train", DatasetSource=source)
            described = dataset_done(client, "p")
        server.shutdown()
    assert described["Status"] == "CREATE_FAILED"
    assert "s3://images/m: " in described["StatusMessage"]


@pytest.fixture
def silent_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Accepts every connection and never answers."""
    for key, value in {**KEYS, "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(key, value)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_silent_s3_delays_nothing_else(tmp_path: Path, silent_s3: str) -> None:
    """Neither datasets in folders, nor deletions, nor the service's end; all is resumed."""
    silent = {"Bucket": "silent", "Key": "m"}

    def status(client: Any, project: str) -> str:
        found = client.describe_dataset(ProjectName=project, DatasetType="train")
        text: str = found["DatasetDescription"]["Status"]
        return text

    with running(tmp_path / "service", s3=True, s3_endpoint_url=silent_s3) as service:
        client = service.client()
        make_model(client, service, "local")
        for project in [f"silent-{number}" for number in range(6)]:
            client.create_project(ProjectName=project)
            client.create_dataset(
                ProjectName=project,
                DatasetType="train",
                DatasetSource={"GroundTruthManifest": {"S3Object": silent}},
            )
        client.create_project(ProjectName="training")
        lines = [line(f"s3://silent/{number}.png") for number in range(20)]
        make_dataset(client, service, "training", lines, "train")
        output = {"S3Location": {"Bucket": BUCKET}}
        client.create_model(ProjectName="training", OutputConfig=output)
        make_model(client, service, "late")
        client.delete_model(ProjectName="late", ModelVersion="1")
        wait_until(lambda: not client.list_models(ProjectName="late")["Models"])
        for bucket in ("silent", BUCKET):
            client.start_model_packaging_job(
                ProjectName="local",
                ModelVersion="1",
                JobName=bucket,
                Configuration={
                    "Greengrass": {"S3OutputLocation": {"Bucket": bucket}, "ComponentName": bucket}
                },
            )
        wait_until(lambda: packaged(client, BUCKET) == "SUCCEEDED")
        assert packaged(client, "silent") in ("CREATED", "RUNNING")
        assert service.stop() == 0
        assert "Traceback" not in service.log
        client = service.start().client()
        assert {status(client, f"silent-{number}") for number in range(6)} == {"CREATE_IN_PROGRESS"}
        assert packaged(client, "silent") in ("CREATED", "RUNNING")
        assert model_in(client, "training", "TRAINING")
        assert service.stop() == 0


def packaged(client: Any, job: str) -> str:
    found = client.describe_model_packaging_job(ProjectName="local", JobName=job)
    text: str = found["ModelPackagingDescription"]["Status"]
    return text
