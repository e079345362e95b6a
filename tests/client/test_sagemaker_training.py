"""A training on SageMaker: its request, and what is refused before it is billed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lfv.client.errors import (
    HostRejected,
    TrainingDataInvalid,
    TrainingFailed,
    TrainingTimedOut,
)
from lfv.client.hosts.sagemaker.account import Account
from lfv.client.hosts.sagemaker.training_job import TrainingJob, train_on_sagemaker
from lfv.client.sources import SourceReader
from lfv.client.staging import Staging, stage_training
from lfv.client.training import TrainedModel
from lfv.formats.refs import S3Ref
from tests.support.encoded import make_image
from tests.support.endpoints import Endpoint, endpoint_in_thread
from tests.support.fake_model import FakeClock
from tests.support.service import line

ROLE = {"role_arn": "arn:aws:iam::123456789012:role/training"}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with endpoint_in_thread("sagemaker") as endpoint:
        yield endpoint


@pytest.fixture
def account(endpoint: Endpoint) -> Iterator[Account]:
    account = Account(endpoint.url, "us-east-1")
    yield account
    account.close()


def manifest(folder: Path, *, masks: bool = False, unmasked: bool = False) -> str:
    """Four images, every other one anomalous."""
    rows = []
    for number in range(4):
        (folder / f"{number}.png").write_bytes(make_image(size=(64, 64 + 0 * number)))
        Image.new("RGB", (64, 64), (number, 9, 9)).save(folder / f"{number}.png")
        mask = None
        if masks and number % 2 and not (unmasked and number == 3):
            picture = Image.new("RGB", (64, 64), "white")
            picture.paste((0x23, 0xA4, 0x36), (5, 5, 20, 20))
            picture.save(folder / f"{number}.mask.png")
            mask = str(folder / f"{number}.mask.png")
        label = "anomaly" if number % 2 else "normal"
        rows.append(line(str(folder / f"{number}.png"), label, mask=mask))
    path = folder / "train.manifest"
    path.write_text("\n".join(rows))
    return str(path)


def train(
    account: Account, reader: SourceReader, source: str, *, timeout: float = 60, **options: str
) -> TrainedModel:
    job = TrainingJob.parse({**ROLE, **options}, account.region_name)
    staging = Staging("parts", "staging/")
    dataset, _ = stage_training(source, reader, staging)
    clock = FakeClock()
    return train_on_sagemaker(
        account, reader, staging, dataset, "cookies", job, timeout=timeout, clock=clock
    )


def asked(endpoint: Endpoint) -> dict[str, Any]:
    (call,) = endpoint.calls("CreateTrainingJob")
    request: dict[str, Any] = call["request"]
    return request


def rows_of(reader: SourceReader, request: dict[str, Any]) -> list[dict[str, Any]]:
    source = request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"]
    return [json.loads(text) for text in reader.read_bytes(source).splitlines()]


@pytest.mark.parametrize("masks", [False, True])
def test_the_names_of_attributes_are_equal_in_all_three_places(
    endpoint: Endpoint, account: Account, reader: SourceReader, tmp_path: Path, masks: bool
) -> None:
    train(account, reader, manifest(tmp_path, masks=masks))
    request = asked(endpoint)
    channel = request["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    parameters = request["HyperParameters"]
    names = channel["AttributeNames"]
    assert parameters["TrainingInputDataAttributeNames"] == ",".join(names)
    assert parameters["TestInputDataAttributeNames"] == ",".join(names)
    assert parameters["ModelType"] == ("segmentation" if masks else "classification")
    rows = rows_of(reader, request)
    assert len(rows) == 4
    assert all(list(row) == names for row in rows)
    assert names[:3] == ["source-ref", "anomaly-label-metadata", "anomaly-label"]
    assert channel["S3DataType"] == "AugmentedManifestFile"
    assert request["EnableNetworkIsolation"] is True
    assert {"Key": "lfv:created-by", "Value": "lfv"} in request["Tags"]


def test_normal_images_get_a_dummy_mask(
    endpoint: Endpoint, account: Account, reader: SourceReader, tmp_path: Path
) -> None:
    train(account, reader, manifest(tmp_path, masks=True))
    rows = rows_of(reader, asked(endpoint))
    dummies = {row["anomaly-mask-ref"] for row in rows if not row["anomaly-label"]}
    (dummy,) = dummies
    picture = Image.open(io.BytesIO(reader.read_bytes(dummy)))
    assert picture.size == (64, 64)
    assert picture.convert("RGB").getcolors() == [(64 * 64, (255, 255, 255))]
    assert dummy not in {row["anomaly-mask-ref"] for row in rows if row["anomaly-label"]}


def test_the_model_is_packaged_and_can_be_hosted(
    endpoint: Endpoint, account: Account, reader: SourceReader, tmp_path: Path
) -> None:
    model = train(account, reader, manifest(tmp_path))
    name = asked(endpoint)["TrainingJobName"]
    assert (model.project, model.version) == ("cookies", f"training-job/{name}")
    assert model.model_arn.endswith(f":training-job/{name}")
    assert isinstance(model.train.manifest, S3Ref)
    (package,) = endpoint.calls("CreateModelPackage")
    assert package["request"]["ModelPackageName"] == name


def test_a_segmentation_model_needs_masks_of_every_anomaly(
    endpoint: Endpoint, account: Account, reader: SourceReader, tmp_path: Path
) -> None:
    with pytest.raises(TrainingDataInvalid, match="1 anomalous image has no mask"):
        train(account, reader, manifest(tmp_path, masks=True, unmasked=True))
    assert endpoint.calls("CreateTrainingJob") == []
    source = manifest(tmp_path, masks=True, unmasked=True)
    train(account, reader, source, model_type="classification-robust")
    assert asked(endpoint)["HyperParameters"]["ModelType"] == "classification-robust"


def test_a_failed_job_is_a_failed_training(
    endpoint: Endpoint, account: Account, reader: SourceReader, tmp_path: Path
) -> None:
    endpoint.script(job_status="Failed")
    with pytest.raises(TrainingFailed, match="cookies-"):
        train(account, reader, manifest(tmp_path))


def test_a_job_that_takes_too_long_continues(
    endpoint: Endpoint, account: Account, reader: SourceReader, tmp_path: Path
) -> None:
    endpoint.script(job_status="InProgress")
    with pytest.raises(TrainingTimedOut, match="it continues"):
        train(account, reader, manifest(tmp_path))


def test_failed_reads_of_the_status_are_repeated(
    endpoint: Endpoint, account: Account, reader: SourceReader, tmp_path: Path
) -> None:
    failures = ["ThrottlingException", "InternalServerException"]
    endpoint.script(fail={"DescribeTrainingJob": failures, "CreateModelPackage": failures[:1]})
    assert train(account, reader, manifest(tmp_path)).version


@pytest.mark.parametrize(
    ("options", "region", "says"),
    [
        ({}, "us-east-1", "role_arn"),
        (ROLE, "eu-west-1", "Marketplace"),
        (ROLE | {"model_type": "detection"}, "us-east-1", "segmentation-robust"),
    ],
)
def test_missing_settings_are_reported_before_anything_is_billed(
    options: dict[str, str], region: str, says: str
) -> None:
    with pytest.raises(HostRejected, match=says):
        TrainingJob.parse(options, region)


def test_another_region_uses_its_own_algorithm() -> None:
    job = TrainingJob.parse(ROLE | {"algorithm_arn": "arn:x"}, "eu-west-1")
    assert job.algorithm_arn == "arn:x"
