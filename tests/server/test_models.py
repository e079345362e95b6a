"""Models: training, versions, evaluation files, tags."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from tests.support.pictures import noise
from tests.support.service import (
    BUCKET,
    Service,
    jpeg,
    line,
    make_dataset,
    make_model,
    model_in,
    png,
    put_images,
)
from tests.support.waiting import PLENTY, wait_until

OUTPUT = {"S3Location": {"Bucket": BUCKET, "Prefix": "out/"}}


def test_trained_model_is_described(client: Any, service: Service, name: str) -> None:
    described = make_model(client, service, name, masks=True)
    assert described["Status"] == "TRAINED"
    assert described["StatusMessage"] == "Training completed. A warning."
    assert described["ModelArn"] == f"arn:aws:lookoutvision:us-east-1:000000000000:model/{name}/1"
    assert described["Performance"] == {"F1Score": 1.0, "Precision": 0.75, "Recall": 0.5}
    assert described["OutputConfig"] == OUTPUT
    assert "MinInferenceUnits" not in described
    manifest_at, result_at = described["EvaluationManifest"], described["EvaluationResult"]
    assert manifest_at == {"Bucket": BUCKET, "Key": f"out/EvaluationManifest-{name}-1.json"}
    assert result_at == {"Bucket": BUCKET, "Key": f"out/EvaluationResult-{name}-1.json"}
    lines = (service.bucket / manifest_at["Key"]).read_text().splitlines()
    told = [json.loads(text) for text in lines]
    assert [image["anomaly-label-detected"] for image in told] == [0, 1, 0, 1]
    metadata = told[1]["anomaly-label-detected-metadata"]
    assert metadata["class-name"] == "anomaly"
    assert metadata["confidence"] == 0.9
    assert metadata["model-arn"] == described["ModelArn"]
    assert (metadata["project-name"], metadata["model-version"]) == (name, "1")
    assert told[1]["anomaly-label-metadata"]["human-annotated"] == "yes"
    result = json.loads((service.bucket / result_at["Key"]).read_text())
    assert result["Version"] == 1
    assert result["EvaluationDetails"]["ModelArn"] == described["ModelArn"]
    assert result["EvaluationDetails"]["NumberOfTrainingImages"] == 4
    metrics = result["AggregatedEvaluationResults"]["Metrics"]
    assert metrics["F1Score"] == 1.0
    assert metrics["ROCAUC"] == metrics["AveragePrecision"] == 1.0
    assert metrics["PixelAnomalyClassMetrics"] == [
        {"ClassName": "cracked", "AIOU": 0.5, "F1Score": 1.0, "Precision": 1.0, "Recall": 1.0}
    ]
    assert (service.bucket / f"out/TrainingReport-{name}-1/report.html").is_file()
    summary = client.list_models(ProjectName=name)["Models"][0]
    assert summary == {key: described[key] for key in summary}


def test_longest_name(client: Any, service: Service) -> None:
    """A folder cannot store such names; the files are missing, the model is trained."""
    described = make_model(client, service, "q" * 255)
    assert described["Status"] == "TRAINED"
    assert "evaluation files could not be written" in described["StatusMessage"]
    assert "EvaluationResult" not in described


def test_test_dataset_is_used(client: Any, service: Service, project: str) -> None:
    for kind, count in (("train", 4), ("test", 2)):
        lines = put_images(service, f"{project}/{kind}", count)
        make_dataset(client, service, project, lines, kind)
    location = {"S3Location": {"Bucket": BUCKET, "Prefix": "k_fold_"}}
    client.create_model(ProjectName=project, OutputConfig=location, Description="A.good-one")
    described = model_in(client, project, "TRAINED")
    assert described["Description"] == "A.good-one"
    path = service.bucket / f"k_fold_EvaluationManifest-{project}-1.json"
    told = [json.loads(text)["source-ref"] for text in path.read_text().splitlines()]
    assert told == [f"s3://{BUCKET}/{project}/test/{n}.png" for n in range(2)]


def test_versions_are_never_used_twice(client: Any, service: Service, name: str) -> None:
    make_model(client, service, name)
    for version in ("2", "3"):
        client.create_model(ProjectName=name, OutputConfig=OUTPUT)
        model_in(client, name, "TRAINED", version=version)
    latest = client.describe_model(ProjectName=name, ModelVersion="latest")["ModelDescription"]
    assert latest["ModelVersion"] == "3"
    with pytest.raises(client.exceptions.ValidationException, match="modelVersion"):
        client.delete_model(ProjectName=name, ModelVersion="latest")
    deleted = client.delete_model(ProjectName=name, ModelVersion="3")
    assert deleted["ModelArn"] == latest["ModelArn"]
    wait_until(lambda: len(client.list_models(ProjectName=name)["Models"]) == 2)
    made = client.create_model(ProjectName=name, OutputConfig=OUTPUT)["ModelMetadata"]
    assert (made["ModelVersion"], made["Status"]) == ("4", "TRAINING")
    pages = client.get_paginator("list_models").paginate(
        ProjectName=name, PaginationConfig={"PageSize": 2}
    )
    assert [m["ModelVersion"] for page in pages for m in page["Models"]] == ["1", "2", "4"]
    model_in(client, name, "TRAINED", version="4")


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("refuse", "Training failed: this was to be refused"),
        ("crash", "Training failed: its process ended with code 7"),
    ],
)
def test_training_that_fails(
    client: Any, service: Service, name: str, order: str, message: str
) -> None:
    described = make_model(client, service, name, order=order)
    assert described["Status"] == "TRAINING_FAILED"
    assert described["StatusMessage"] == message
    assert "Performance" not in described
    for call in (client.start_model, client.stop_model):
        units = {"MinInferenceUnits": 1} if call == client.start_model else {}
        with pytest.raises(client.exceptions.ConflictException, match="TRAINING_FAILED"):
            call(ProjectName=name, ModelVersion="1", **units)
    client.delete_model(ProjectName=name, ModelVersion="1")
    wait_until(lambda: not client.list_models(ProjectName=name)["Models"])


def test_missing_images(client: Any, service: Service, project: str) -> None:
    lines = put_images(service, project, 10)
    (service.bucket / project / "0.png").unlink()
    (service.bucket / project / "2.png").write_bytes(png(size=(32, 64)))
    make_dataset(client, service, project, lines, "train")
    client.create_model(ProjectName=project, OutputConfig=OUTPUT)
    message = model_in(client, project, "TRAINED")["StatusMessage"]
    assert "2 images of the train dataset could not be used" in message
    assert f"s3://{BUCKET}/{project}/0.png: not found" in message
    assert "the image is 32x64 pixels; the service accepts at least 64x64" in message
    (service.bucket / project / "4.png").write_text("no image")
    client.create_model(ProjectName=project, OutputConfig=OUTPUT)
    described = model_in(client, project, "TRAINING_FAILED", version="2")
    assert "3 of 10 images" in described["StatusMessage"]


def test_remarks_name_the_users_files(client: Any, service: Service, project: str) -> None:
    """`lfv train` copies files under their digests, and sends their names."""
    rows = [json.loads(text) for text in put_images(service, project, 10)]
    for number, row in enumerate(rows):
        row["original-source-ref"] = f"/lot 7/{number}.png"
    lines = [json.dumps(row) for row in rows]
    (service.bucket / project / "0.png").unlink()
    make_dataset(client, service, project, lines, "train")
    client.create_model(ProjectName=project, OutputConfig=OUTPUT)
    message = model_in(client, project, "TRAINED")["StatusMessage"]
    assert "1 image of the train dataset could not be used: /lot 7/0.png: not found" in message


def speckled(kind: str = "PNG") -> bytes:
    """An image of noise; its first half has a valid header."""
    out = io.BytesIO()
    noise((64, 64), 50).convert("RGB").save(out, kind)
    return out.getvalue()


def test_images_that_cannot_be_decoded(client: Any, service: Service, project: str) -> None:
    """Their headers are valid, so only the training process detects it."""
    lines = put_images(service, project, 16, masks=True)
    folder = service.bucket / project
    (folder / "0.png").write_bytes(speckled("JPEG")[:-900])
    (folder / "3.mask.png").write_bytes(speckled()[:-5000])
    make_dataset(client, service, project, lines, "train")
    client.create_model(ProjectName=project, OutputConfig=OUTPUT)
    described = model_in(client, project, "TRAINED", "TRAINING_FAILED")
    assert described["Status"] == "TRAINED", described["StatusMessage"]
    assert "2 images of the train dataset could not be used" in described["StatusMessage"]
    for number in (0, 3):
        assert f"s3://{BUCKET}/{project}/{number}.png: " in described["StatusMessage"]
    manifest = (service.bucket / described["EvaluationManifest"]["Key"]).read_text()
    assert len(manifest.splitlines()) == 14
    (folder / "4.png").unlink()  # what is missing and what is damaged count together
    (folder / "6.png").write_bytes(speckled()[:-5000])
    client.create_model(ProjectName=project, OutputConfig=OUTPUT)
    described = model_in(client, project, "TRAINING_FAILED", version="2")
    assert "4 of 16 images of the train dataset can't be used" in described["StatusMessage"]


def test_masks_of_normal_images_do_not_matter(client: Any, service: Service, project: str) -> None:
    lines = put_images(service, project, 10)
    missing = f"s3://{BUCKET}/{project}/missing.png"
    for number in (0, 1):  # a normal image and an anomaly
        label = "anomaly" if number else "normal"
        lines[number] = line(f"s3://{BUCKET}/{project}/{number}.png", label, mask=missing)
    make_dataset(client, service, project, lines, "train")
    client.create_model(ProjectName=project, OutputConfig=OUTPUT)
    assert model_in(client, project, "TRAINED")["StatusMessage"] == (
        "Training completed. A warning. 1 image of the train dataset could not be used:"
        f" s3://{BUCKET}/{project}/1.png: its mask {missing}: not found."
    )


def test_unreliable_figures_are_marked(client: Any, service: Service, project: str) -> None:
    lines = put_images(service, project, 6)
    make_dataset(client, service, project, lines[:4], "train")
    unlabelled = [line(f"s3://{BUCKET}/{project}/4.png", None)]
    make_dataset(client, service, project, unlabelled, "test")
    client.create_model(ProjectName=project, OutputConfig=OUTPUT)
    message = model_in(client, project, "TRAINED")["StatusMessage"]
    assert "The test dataset has no labelled image, so the figures come from cross-" in message
    client.delete_dataset(ProjectName=project, DatasetType="test")
    for number in (4, 5):
        (service.bucket / project / f"{number}.png").write_bytes(speckled("PNG"))
    (service.bucket / project / "copy.png").write_bytes(png())  # as 0.png and 2.png are
    copy = line(f"s3://{BUCKET}/{project}/copy.png")
    make_dataset(client, service, project, [lines[1], copy, *lines[4:]], "test")
    client.create_model(ProjectName=project, OutputConfig=OUTPUT)
    message = model_in(client, project, "TRAINED", version="2")["StatusMessage"]
    assert "2 of the 4 test images are in the train dataset too" in message
    assert "no labelled image" not in message


def test_undefined_figures_are_left_out(client: Any, service: Service, project: str) -> None:
    """No test image is anomalous, and none is judged anomalous."""
    make_dataset(client, service, project, put_images(service, f"{project}/train"), "train")
    normal = put_images(service, f"{project}/test")[::2]
    make_dataset(client, service, project, normal, "test")
    client.create_model(ProjectName=project, OutputConfig=OUTPUT)
    described = model_in(client, project, "TRAINED")
    assert "Performance" not in described
    result = json.loads((service.bucket / described["EvaluationResult"]["Key"]).read_text())
    metrics = result["AggregatedEvaluationResults"]["Metrics"]
    assert [metrics[name] for name in ("F1Score", "Precision", "Recall")] == [None] * 3


def mask_of(size: tuple[int, int]) -> bytes:
    """A PNG of one colour, which is small for any number of pixels."""
    out = io.BytesIO()
    Image.new("1", size).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (jpeg(), "1.mask.png: the mask is a JPEG"),
        (
            mask_of((4097, 64)),
            "1.mask.png: the image is 4097x64 pixels",
        ),
        (mask_of((13_000, 13_000)), "1.mask.png: the image is 13000x13000 pixels"),
        (mask_of((20_000, 20_000)), "1.mask.png: the image is 20000x20000 pixels"),
        (png()[:30], "1.mask.png: the PNG is truncated"),
        (mask_of((16, 16)), None),
        (mask_of((128, 128)), None),
    ],
    ids=["jpeg", "wide", "large", "bomb", "damaged", "small", "double"],
)
def test_unusable_masks_are_reported_with_the_reason(
    client: Any, service: Service, project: str, mask: bytes, why: str | None
) -> None:
    """A few kilobytes can encode a gigabyte of pixels, which are never decoded."""
    lines = put_images(service, project, 10, masks=True)
    (service.bucket / project / "1.mask.png").write_bytes(mask)
    make_dataset(client, service, project, lines, "train")
    client.create_model(ProjectName=project, OutputConfig=OUTPUT)
    message = model_in(client, project, "TRAINED")["StatusMessage"]
    if why is None:
        assert message == "Training completed. A warning."
    else:
        assert f"its mask s3://{BUCKET}/{project}/{why}" in message


def test_output_that_cannot_be_written(client: Any, service: Service, project: str) -> None:
    make_dataset(client, service, project, put_images(service, project), "train")
    nowhere = {"S3Location": {"Bucket": "elsewhere"}}
    client.create_model(ProjectName=project, OutputConfig=nowhere)
    described = model_in(client, project, "TRAINED")
    assert "evaluation files could not be written" in described["StatusMessage"]
    assert "EvaluationResult" not in described


def test_nothing_to_train_on(client: Any, service: Service, project: str) -> None:
    with pytest.raises(client.exceptions.ConflictException, match="no train dataset"):
        client.create_model(ProjectName=project, OutputConfig=OUTPUT)
    make_dataset(client, service, project, [line(f"s3://{BUCKET}/a", None)], "train")
    with pytest.raises(client.exceptions.ValidationException, match="no image labelled normal"):
        client.create_model(ProjectName=project, OutputConfig=OUTPUT)


def test_original_minimums(start: Callable[..., Service]) -> None:
    service = start(limits={"original_minimums": True})
    client = service.client()
    client.create_project(ProjectName="p")
    make_dataset(client, service, "p", put_images(service, "p", 38), "train")
    with pytest.raises(
        client.exceptions.ValidationException, match="at least 20 and 10 are needed"
    ):
        client.create_model(ProjectName="p", OutputConfig=OUTPUT)
    make_dataset(client, service, "p", put_images(service, "t", 18), "test")
    with pytest.raises(client.exceptions.ValidationException, match="the test dataset has 9"):
        client.create_model(ProjectName="p", OutputConfig=OUTPUT)


def test_progress_delete_and_quota_while_training(start: Callable[..., Service]) -> None:
    service = start(limits={"concurrent_trainings": 1})
    client = service.client()
    client.create_project(ProjectName="p")
    make_dataset(client, service, "p", put_images(service, "p/hold"), "train")
    client.create_model(ProjectName="p", OutputConfig=OUTPUT)

    def message() -> str:
        found = client.describe_model(ProjectName="p", ModelVersion="1")["ModelDescription"]
        assert found["Status"] == "TRAINING"
        text: str = found["StatusMessage"]
        return text

    wait_until(lambda: message() == "Training: 50 %, half way")
    with pytest.raises(client.exceptions.ConflictException, match="TRAINING"):
        client.delete_model(ProjectName="p", ModelVersion="1")
    with pytest.raises(client.exceptions.ServiceQuotaExceededException):
        client.create_model(ProjectName="p", OutputConfig=OUTPUT)
    # The datasets may be deleted: training has their content.
    client.delete_dataset(ProjectName="p", DatasetType="train")
    assert message()


def test_create_is_idempotent(client: Any, service: Service, project: str) -> None:
    make_dataset(client, service, project, put_images(service, project), "train")
    call = {"ProjectName": project, "OutputConfig": OUTPUT, "ClientToken": f"train-{project}"}
    first = client.create_model(**call)["ModelMetadata"]
    model_in(client, project, "TRAINED")
    assert client.create_model(**call)["ModelMetadata"] == first
    assert len(client.list_models(ProjectName=project)["Models"]) == 1
    with pytest.raises(client.exceptions.ConflictException):
        client.create_model(**{**call, "Description": "another"})


def test_tags(client: Any, service: Service, project: str) -> None:
    make_dataset(client, service, project, put_images(service, project), "train")
    tags = [{"Key": "line", "Value": "3"}, {"Key": "Größe ±", "Value": ""}]
    with pytest.raises(client.exceptions.ValidationException, match="pattern"):
        client.create_model(ProjectName=project, OutputConfig=OUTPUT, Tags=tags)
    tags[1]["Key"] = "Größe/1 @x"
    made = client.create_model(ProjectName=project, OutputConfig=OUTPUT, Tags=tags)
    arn = made["ModelMetadata"]["ModelArn"]

    def listed() -> dict[str, str]:
        found = client.list_tags_for_resource(ResourceArn=arn)["Tags"]
        return {tag["Key"]: tag["Value"] for tag in found}

    assert listed() == {"line": "3", "Größe/1 @x": ""}
    client.tag_resource(ResourceArn=arn, Tags=[{"Key": "line", "Value": "4"}])
    assert listed()["line"] == "4"
    client.untag_resource(ResourceArn=arn, TagKeys=["Größe/1 @x", "unknown"])
    assert listed() == {"line": "4"}
    many = [{"Key": str(n), "Value": "x"} for n in range(50)]
    with pytest.raises(client.exceptions.ServiceQuotaExceededException):
        client.tag_resource(ResourceArn=arn, Tags=many)
    with pytest.raises(client.exceptions.ValidationException, match="more than once"):
        client.tag_resource(ResourceArn=arn, Tags=[many[0], many[0]])
    with pytest.raises(client.exceptions.ValidationException, match="aws:"):
        client.tag_resource(ResourceArn=arn, Tags=[{"Key": "aws:x", "Value": "x"}])
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        client.list_tags_for_resource(ResourceArn=f"{arn}0")
    assert caught.value.response["ResourceType"] == "MODEL"
    model_in(client, project, "TRAINED")


def test_dataset_in_progress(client: Any, service: Service, project: str) -> None:
    make_dataset(client, service, project, put_images(service, project), "train")

    def set_status(status: str) -> None:
        connection = sqlite3.connect(service.home / "service.db", timeout=PLENTY)
        with connection:
            connection.execute(
                "UPDATE datasets SET status = ? WHERE project_id ="
                " (SELECT id FROM projects WHERE name = ?)",
                [status, project],
            )
        connection.close()

    set_status("UPDATE_IN_PROGRESS")
    with pytest.raises(client.exceptions.ConflictException, match="UPDATE_IN_PROGRESS"):
        client.create_model(ProjectName=project, OutputConfig=OUTPUT)
    with pytest.raises(client.exceptions.ConflictException, match="UPDATE_IN_PROGRESS"):
        client.delete_dataset(ProjectName=project, DatasetType="train")
    set_status("UPDATE_COMPLETE")
    client.delete_dataset(ProjectName=project, DatasetType="train")
