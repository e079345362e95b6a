"""Hosting and detection: states, units, demand, crashes, images."""

from __future__ import annotations

import asyncio
import io
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lfv.server.database import Database
from lfv.server.home import Home
from lfv.server.hosting.manager import HostingManager
from lfv.server.lifecycle import ModelEvent, ModelStatus
from lfv.server.options import Limits, Serving
from lfv.server.state import models, projects
from lfv.server.state.models import NewModel
from tests.support.fuzzing import resources, with_chunk, with_dimensions
from tests.support.service import (
    BUCKET,
    FAKE_ENGINE,
    ROOT,
    Service,
    detect,
    host,
    jpeg,
    make_dataset,
    make_model,
    model_in,
    png,
    put_images,
)
from tests.support.unit_metrics import metrics, units, workers
from tests.support.waiting import PLENTY


def test_from_start_to_stop(client: Any, service: Service, name: str) -> None:
    make_model(client, service, name)
    with pytest.raises(client.exceptions.ConflictException, match="TRAINED"):
        detect(client, name, png())
    with pytest.raises(client.exceptions.ConflictException, match="TRAINED"):
        client.stop_model(ProjectName=name, ModelVersion="1")
    answer = client.start_model(
        ProjectName=name, ModelVersion="1", MinInferenceUnits=1, MaxInferenceUnits=2
    )
    assert answer["Status"] == "STARTING_HOSTING"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    with pytest.raises(client.exceptions.ConflictException):
        client.start_model(ProjectName=name, ModelVersion="1", MinInferenceUnits=1)
    described = model_in(client, name, "HOSTED")
    assert (described["MinInferenceUnits"], described["MaxInferenceUnits"]) == (1, 2)
    with pytest.raises(client.exceptions.ConflictException, match="HOSTED"):
        client.delete_model(ProjectName=name, ModelVersion="1")
    assert detect(client, name, png()) == {
        "Source": {"Type": "direct"},
        "IsAnomalous": False,
        "Confidence": 0.75,
    }
    stopped = client.stop_model(ProjectName=name, ModelVersion="latest")
    assert stopped["Status"] == "STOPPING_HOSTING"
    described = model_in(client, name, "TRAINED")
    assert "MinInferenceUnits" not in described
    client.start_model(ProjectName=name, ModelVersion="1", MinInferenceUnits=1)
    model_in(client, name, "HOSTED")
    client.stop_model(ProjectName=name, ModelVersion="1")
    model_in(client, name, "TRAINED")


def test_remarks_of_the_training_are_shown_while_not_hosted(
    client: Any, service: Service, name: str
) -> None:
    make_model(client, service, name)
    host(client, name)

    def message() -> str:
        listed = client.list_models(ProjectName=name)["Models"]
        return str(listed[0]["StatusMessage"])

    assert message() == "The model is running."
    client.stop_model(ProjectName=name, ModelVersion="1")
    model_in(client, name, "TRAINED")
    assert message() == "The model is trained and not running. A warning."


def test_segmentation(client: Any, hosted: str) -> None:
    found = detect(client, hosted, png(bright=True))
    assert found["IsAnomalous"] is True
    assert found["Anomalies"] == [
        {"Name": "background", "PixelAnomaly": {"TotalPercentageArea": 0.75, "Color": "#FFFFFF"}},
        {"Name": "cracked", "PixelAnomaly": {"TotalPercentageArea": 0.25, "Color": "#23A436"}},
    ]
    with Image.open(io.BytesIO(found["AnomalyMask"])) as mask:
        assert (mask.format, mask.size) == ("PNG", (64, 64))


def test_a_heat_map_is_returned_on_request_only(client: Any, hosted: str) -> None:
    assert "AnomalyMap" not in detect(client, hosted, png(bright=True))
    answer = client.detect_anomalies(
        ProjectName=hosted,
        ModelVersion="1",
        ContentType="image/png",
        Body=png(bright=True),
        AnomalyMap=True,
    )["DetectAnomalyResult"]
    assert {"Anomalies", "AnomalyMask", "AnomalyMap"} < answer.keys()
    with Image.open(io.BytesIO(answer["AnomalyMap"])) as found:
        assert (found.format, found.mode, found.size) == ("PNG", "L", (64, 64))
    with Image.open(io.BytesIO(answer["AnomalyMask"])) as mask:
        assert mask.mode == "RGB"


def test_an_image_sent_as_in_the_developer_guide(client: Any, hosted: str, tmp_path: Path) -> None:
    """An open file as Body, with its content type."""
    (tmp_path / "image.jpg").write_bytes(jpeg(bright=True))
    with (tmp_path / "image.jpg").open("rb") as file:
        assert detect(client, hosted, file, "image/jpeg")["IsAnomalous"] is True
    assert detect(client, hosted, bytearray(png()))["IsAnomalous"] is False
    answer = client.detect_anomalies(
        ProjectName=hosted, ModelVersion="latest", Body=png(), ContentType="image/png; x=y"
    )
    assert answer["DetectAnomalyResult"]["IsAnomalous"] is False


def gif() -> bytes:
    out = io.BytesIO()
    Image.new("L", (64, 64)).save(out, "GIF")
    return out.getvalue()


@pytest.mark.parametrize(
    ("body", "content_type", "problem"),
    [
        (b"", "image/png", "the image is empty"),
        (b"text", "image/png", "neither PNG nor JPEG"),
        (gif(), "image/gif", "content type 'image/gif'"),
        (gif(), "image/png", "neither PNG nor JPEG"),
        (png(), "image/jpeg", "the image is PNG, not image/jpeg"),
        (jpeg(), "image/png", "the image is JPEG, not image/png"),
        (png(size=(64, 65)), "image/png", "64x65 pixels; the model was trained on 64x64"),
        (png(size=(63, 64)), "image/png", "at least 64x64"),
        (jpeg((4097, 64)), "image/jpeg", "at most 4096x4096"),
        (png()[:20], "image/png", "The PNG is truncated"),
        (png(order="reject"), "image/png", "as ordered"),
        (png() + b"\0" * 8 * 1024 * 1024, "image/png", "the image has more than 8388608 bytes"),
    ],
)
def test_unusable_images_are_refused_with_the_reason(
    client: Any, hosted: str, body: bytes, content_type: str, problem: str
) -> None:
    with pytest.raises(client.exceptions.ValidationException, match=problem):
        detect(client, hosted, body, content_type)
    assert detect(client, hosted, png())["IsAnomalous"] is False


def test_largest_image(client: Any, service: Service, project: str) -> None:
    largest = (4096, 4096)
    lines = put_images(service, project)
    for number in range(4):
        body = png(size=largest, bright=number % 2 == 1, mode="1")
        (service.bucket / project / f"{number}.png").write_bytes(body)
    make_dataset(client, service, project, lines, "train")
    client.create_model(ProjectName=project, OutputConfig={"S3Location": {"Bucket": BUCKET}})
    assert model_in(client, project, "TRAINED", "TRAINING_FAILED")["Status"] == "TRAINED"
    host(client, project)
    assert detect(client, project, png(size=largest, bright=True))["IsAnomalous"] is True
    for size in ((4097, 4096), (4096, 4097), (50_000, 50_000)):
        bomb = with_dimensions(png(size=(64, 64)), size)
        with pytest.raises(client.exceptions.ValidationException, match="pixels"):
            detect(client, project, bomb)
    client.stop_model(ProjectName=project, ModelVersion="1")
    model_in(client, project, "TRAINED")


@pytest.mark.parametrize("chunk", [b"zTXt", b"iCCP", b"iTXt"])
@pytest.mark.parametrize("times", [1, 60])
def test_bombs_in_chunks(
    client: Any, service: Service, hosted: str, chunk: bytes, times: int
) -> None:
    """A chunk of some kilobytes that would grow a thousandfold is not unpacked."""
    packed = zlib.compress(b"\0" * 50_000_000, 9)
    data = {
        b"zTXt": b"a\0\0" + packed,
        b"iCCP": b"a\0\0" + packed,
        b"iTXt": b"a\0\1\0\0\0" + packed,
    }[chunk]
    body = png()
    for _ in range(times):
        body = with_chunk(body, chunk, data)
    before = [resources(pid)["rss"] for pid in sorted(workers(service))]
    try:
        assert detect(client, hosted, body)["IsAnomalous"] is False
    except client.exceptions.ValidationException as error:
        assert "image" in str(error)  # noqa: PT017 (either is right)
    after = [resources(pid)["rss"] for pid in sorted(workers(service))]
    assert len(after) == len(before)
    assert all(now < then + 40_000 for then, now in zip(before, after, strict=True))


def test_missing_models(client: Any, hosted: str) -> None:
    for project, version, kind in (("nowhere", "1", "PROJECT"), (hosted, "7", "MODEL")):
        with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
            client.detect_anomalies(
                ProjectName=project, ModelVersion=version, Body=png(), ContentType="image/png"
            )
        assert caught.value.response["ResourceType"] == kind
    for version in ("0", "01", "1x", "newest", "12345678901"):
        with pytest.raises(client.exceptions.ValidationException, match="modelVersion"):
            client.describe_model(ProjectName=hosted, ModelVersion=version)


@pytest.mark.parametrize("units", [{"MinInferenceUnits": 0}, {}])
def test_units_must_be_valid(client: Any, trained: str, units: dict[str, int]) -> None:
    with pytest.raises(client.exceptions.ValidationException, match="minInferenceUnits"):
        client.start_model(ProjectName=trained, ModelVersion="1", **units)


def test_more_units_than_allowed(client: Any, trained: str) -> None:
    with pytest.raises(client.exceptions.ValidationException, match="less than"):
        client.start_model(
            ProjectName=trained, ModelVersion="1", MinInferenceUnits=3, MaxInferenceUnits=2
        )
    with pytest.raises(client.exceptions.ServiceQuotaExceededException) as caught:
        client.start_model(ProjectName=trained, ModelVersion="1", MinInferenceUnits=1000)
    assert caught.value.response["QuotaCode"] == "inference-units"
    described = client.describe_model(ProjectName=trained, ModelVersion="1")["ModelDescription"]
    assert described["Status"] == "TRAINED"


def test_a_repeated_start_has_no_effect(client: Any, service: Service, name: str) -> None:
    make_model(client, service, name)
    call = {"ProjectName": name, "ModelVersion": "1", "MinInferenceUnits": 1}
    first = client.start_model(**call, ClientToken=f"start-{name}")
    model_in(client, name, "HOSTED")
    assert client.start_model(**call, ClientToken=f"start-{name}")["Status"] == first["Status"]
    client.stop_model(ProjectName=name, ModelVersion="1")
    model_in(client, name, "TRAINED")
    # The token still stands for the earlier start, and starts nothing.
    client.start_model(**call, ClientToken=f"start-{name}")
    described = client.describe_model(ProjectName=name, ModelVersion="1")["ModelDescription"]
    assert described["Status"] == "TRAINED"


def test_a_hosted_model_answers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that reads HOSTED may send images at once, however busy the service is."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found: list[bool] = []

    class Watched(HostingManager):
        def _move(self, model_id: str, event: ModelEvent, message: str) -> bool:
            found.append(self.find("p", "1") is not None)
            return super()._move(model_id, event, message)

    async def host_and_stop(home: Home, database: Database) -> None:
        hosting = Watched(database, home, FAKE_ENGINE, Limits(), Serving())
        try:
            hosting.host("id")
            while not found:
                await asyncio.sleep(0.01)
        finally:
            await hosting.close()

    home = Home(tmp_path / "home")
    home.artifact("id").mkdir(parents=True)
    document = {"size": [64, 64], "types": [], "refs": ""}
    (home.artifact("id") / "model.json").write_text(json.dumps(document))
    database = Database(home.database)
    with database.transaction() as tx:
        project = projects.create(tx, "p", "arn:p", 0)
        new = NewModel("id", 1, "arn:m", None, None, BUCKET, None, ModelStatus.STARTING_HOSTING)
        models.create(tx, project, new, 0)
    asyncio.run(asyncio.wait_for(host_and_stop(home, database), PLENTY))
    database.close()
    home.close()
    assert found == [True]


def test_stop_while_starting(client: Any, service: Service, name: str) -> None:
    make_model(client, service, name, order="heldload")
    client.start_model(ProjectName=name, ModelVersion="1", MinInferenceUnits=1)
    client.stop_model(ProjectName=name, ModelVersion="1")
    model_in(client, name, "TRAINED")
    assert units(service, name) == 0


def test_model_that_cannot_be_loaded(client: Any, service: Service, name: str) -> None:
    make_model(client, service, name, order="unloadable")
    client.start_model(ProjectName=name, ModelVersion="1", MinInferenceUnits=2)
    described = model_in(client, name, "HOSTING_FAILED")
    assert "the artifact is of another version" in described["StatusMessage"]
    client.start_model(ProjectName=name, ModelVersion="1", MinInferenceUnits=1)
    model_in(client, name, "HOSTING_FAILED")
    client.stop_model(ProjectName=name, ModelVersion="1")
    model_in(client, name, "TRAINED")


def test_counts_of_images(client: Any, service: Service, name: str) -> None:
    make_model(client, service, name)
    host(client, name)
    for bright in (True, True, False):
        detect(client, name, png(bright=bright))
    with pytest.raises(client.exceptions.ValidationException):
        detect(client, name, png(size=(65, 65)))
    for version in ("1", "latest"):  # not even kept in memory, and counted all the same
        with pytest.raises(client.exceptions.ValidationException, match="more than 8388608 bytes"):
            client.detect_anomalies(
                ProjectName=name,
                ModelVersion=version,
                Body=bytes(9 << 20),
                ContentType="image/png",
            )
    with pytest.raises(client.exceptions.ValidationException, match="is empty"):
        detect(client, name, b"")
    found = {k: v for k, v in metrics(service).items() if f'"{name}"' in k}

    def value(what: str) -> float:
        return next(v for k, v in found.items() if k.startswith(f"{what}_total{{"))

    assert value("ProcessedImageCount") == 3
    assert value("DetectedAnomalyCount") == 2
    assert value("InvalidImageCount") == value("ErrorCount") == 4
    client.stop_model(ProjectName=name, ModelVersion="1")
    model_in(client, name, "TRAINED")
