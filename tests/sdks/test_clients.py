"""Each client takes a project from CreateProject to DetectAnomalies and StopModel."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.sdks.conftest import DRIVERS, KEYS, run
from tests.support.service import (
    BUCKET,
    Service,
    host,
    make_model,
    png,
    put_images,
    put_manifest,
    running,
)
from tests.support.waiting import PLENTY, wait_until

pytestmark = pytest.mark.slow


def prepared(service: Service, name: str) -> tuple[str, Path, Path]:
    """Key of a manifest, and a normal and an anomalous image."""
    lines = put_images(service, name, 8, masks=True)
    put_manifest(service, f"{name}.manifest", lines)
    normal, anomalous = service.bucket / name / "0.png", service.bucket / name / "1.png"
    return f"{name}.manifest", normal, anomalous


def test_boto3(amazon: Path, service: Service) -> None:
    manifest, normal, anomalous = prepared(service, "with-boto3")
    driver = DRIVERS / "with_boto3.py"
    names = [service.url, BUCKET, "with-boto3", manifest]
    told = json.loads(run([amazon / "bin" / "python", driver, *names, normal, anomalous]))
    assert told == {
        "botocore": "1.40.60",
        "entries": 8,
        "performance": {"F1Score": 1.0, "Recall": 0.5, "Precision": 0.75},
        "verdicts": [False, True],
        "errors": ["ResourceNotFoundException", "ConflictException", "ValidationException"],
    }


def test_example_that_opens_a_file(amazon: Path, service: Service) -> None:
    client = service.client()
    make_model(client, service, "example", masks=True)
    host(client, "example")
    image = service.bucket / "example" / "images" / "1.png"
    said = run(
        [amazon / "bin" / "python", DRIVERS / "detect_from_file.py", "example", "1", image],
        AWS_ENDPOINT_URL_LOOKOUTVISION=service.url,
    )
    assert said.splitlines() == ["anomalous (75.00% sure)", "background: 75.0%", "cracked: 25.0%"]


def test_aws_cli(amazon: Path, service: Service, tmp_path: Path) -> None:
    manifest, _, anomalous = prepared(service, "with-cli")

    def aws(operation: str, **options: Any) -> dict[str, Any]:
        words: list[str | Path] = [amazon / "bin" / "aws", "lookoutvision", operation]
        words += ["--endpoint-url", service.url, "--output", "json"]
        for name, value in options.items():
            words += [f"--{name.replace('_', '-')}", str(value)]
        answer: dict[str, Any] = json.loads(run(words) or "{}")
        return answer

    project = {"project_name": "with-cli"}
    made = aws("create-project", **project)
    assert made["ProjectMetadata"]["ProjectName"] == "with-cli"
    source = {"GroundTruthManifest": {"S3Object": {"Bucket": BUCKET, "Key": manifest}}}
    dataset = {**project, "dataset_type": "train"}
    aws("create-dataset", **dataset, dataset_source=json.dumps(source))
    wait_until(
        lambda: (
            aws("describe-dataset", **dataset)["DatasetDescription"]["Status"] == "CREATE_COMPLETE"
        )
    )
    entries = aws("list-dataset-entries", **dataset, anomaly_class="anomaly", page_size=2)
    assert len(entries["DatasetEntries"]) == 4
    output = {"S3Location": {"Bucket": BUCKET, "Prefix": "from-cli"}}
    aws("create-model", **project, output_config=json.dumps(output))
    model = {**project, "model_version": "1"}

    def status() -> str:
        text: str = aws("describe-model", **model)["ModelDescription"]["Status"]
        return text

    wait_until(lambda: status() == "TRAINED")
    assert aws("start-model", **model, min_inference_units=1)["Status"] == "STARTING_HOSTING"
    wait_until(lambda: status() == "HOSTED")
    answer = aws("detect-anomalies", **model, content_type="image/png", body=anomalous)
    assert answer["DetectAnomalyResult"]["IsAnomalous"] is True
    assert answer["DetectAnomalyResult"]["Source"] == {"Type": "direct"}
    assert aws("stop-model", **model)["Status"] == "STOPPING_HOSTING"
    wait_until(lambda: status() == "TRAINED")
    assert len(aws("list-models", **project)["Models"]) == 1


@pytest.mark.parametrize("page", ["README.md", "docs/service.md"])
def test_documented_aws_commands(amazon: Path, tmp_path: Path, page: str) -> None:
    """The commands run without any AWS CLI configuration."""
    text = (Path(__file__).parents[2] / page).read_text()
    commands = [line.strip() for line in text.splitlines() if line.startswith("    aws ")]
    assert commands
    with running(tmp_path / "service") as service:
        for command in commands:
            done = subprocess.run(
                shlex.split(command.replace("http://127.0.0.1:4180", service.url)),
                capture_output=True,
                text=True,
                timeout=PLENTY,
                env={"HOME": str(tmp_path), "PATH": f"{amazon / 'bin'}:{os.defpath}"},
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert "Projects" in json.loads(done.stdout)


def test_javascript(node_modules: Path, service: Service) -> None:
    manifest, _, anomalous = prepared(service, "with-javascript")
    node = shutil.which("node")
    assert node is not None
    names = [node_modules, service.url, BUCKET, "with-javascript", manifest, anomalous]
    told = json.loads(run([node, DRIVERS / "with_javascript.mjs", *names]))
    errors = told.pop("errors")
    assert told == {
        "arn": "arn:aws:lookoutvision:us-east-1:000000000000:project/with-javascript",
        "created": True,
        "dataset": "CREATE_COMPLETE",
        "entries": 8,
        "trained": "TRAINED",
        "f1": 1.0,
        "tags": [{"Key": "made by", "Value": "JavaScript"}],
        "hosted": "HOSTED",
        "anomalous": True,
        "streamed": True,
        "mask": "PNG",
        "stopped": "TRAINED",
    }
    assert [(error["name"], error["status"], error["typed"]) for error in errors] == [
        ("ResourceNotFoundException", 404, True),
        ("ConflictException", 409, True),
        ("ValidationException", 400, True),
    ]
    assert errors[0]["resource"] == "not-there"
    assert "neither PNG nor JPEG" in errors[2]["message"]


def test_javascript_v2(node_modules_v2: Path, service: Service) -> None:
    manifest, _, anomalous = prepared(service, "with-javascript-v2")
    node = shutil.which("node")
    assert node is not None
    names = [node_modules_v2, service.url, BUCKET, "with-javascript-v2", manifest, anomalous]
    told = json.loads(run([node, DRIVERS / "with_javascript_v2.cjs", *names]))
    assert told == {
        "dataset": "CREATE_COMPLETE",
        "trained": "TRAINED",
        "hosted": "HOSTED",
        "verdicts": [True, True, True],
        "error": "ResourceNotFoundException",
        "stopped": "TRAINED",
    }


def test_awslabs_sdk(awslabs: Path, s3: str, s3_service: Service, tmp_path: Path) -> None:
    session = boto3.Session(
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    bucket = session.client("s3", endpoint_url=s3)
    bucket.create_bucket(Bucket="awslabs")
    for number in range(24):
        kind = "anomaly" if number < 4 else "normal"
        key = f"images/training/{kind}/{number}.png"
        bucket.put_object(Bucket="awslabs", Key=key, Body=png(bright=number < 4))
    image = tmp_path / "image.png"
    image.write_bytes(png(bright=True))
    said = run(
        [awslabs / "bin" / "python", DRIVERS / "with_awslabs.py", "awslabs", "labs", image],
        AWS_ENDPOINT_URL_LOOKOUTVISION=s3_service.url,
        AWS_ENDPOINT_URL_S3=s3,
    )
    told = next(text for text in said.splitlines() if text.startswith("RESULT "))
    assert json.loads(told.removeprefix("RESULT ")) == {
        "datasets": {"training": "CREATE_COMPLETE"},
        "fitted": "Success!",
        "trained": "TRAINED",
        "deployed": "STARTING_HOSTING",
        "hosted": "HOSTED",
        "anomalous": True,
        "batch": "Success!",
        "stopped": "STOPPING_HOSTING",
        "renewed": {"training": "CREATE_COMPLETE"},
    }
    keys = {o["Key"] for o in bucket.list_objects_v2(Bucket="awslabs")["Contents"]}
    bucket.close()
    assert "from-awslabs/EvaluationResult-labs-1.json" in keys
    assert sum(key.startswith("predictions/") for key in keys) == 20


@pytest.mark.parametrize("module", ["boto3", "botocore"])
def test_project_itself_runs_on_current_boto3(module: str) -> None:
    import importlib

    version = importlib.import_module(module).__version__
    assert tuple(map(int, version.split(".")[:2])) >= (1, 41)
