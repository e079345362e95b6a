"""Odd rows, masks and images: one table, read by the pipeline and, over HTTP, by the service.

The pipeline's side is its manifest reader, its staging and its image check. The service's is
CreateDataset, CreateModel and DetectAnomalies through boto3.
"""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lfv.client.errors import TrainingDataInvalid
from lfv.client.manifests import read_manifest
from lfv.client.sources import SourceReader
from lfv.client.staging import Staging, stage_dataset
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.errors import ImageError
from lfv.formats.evaluation import Evaluator
from lfv.formats.images import check_image
from lfv.formats.manifest.groundtruth import INSPECTION, LABEL_PROBLEM, TRAINING
from lfv.formats.manifest.records import ManifestItem
from tests.support.service import (
    BUCKET,
    Service,
    dataset_done,
    detect,
    host,
    line,
    make_dataset,
    model_in,
    png,
    put_manifest,
    running,
)
from tests.support.waiting import TRAINING as TRAINING_SECONDS

pytestmark = pytest.mark.slow

REF = f"s3://{BUCKET}/odd"
SCRATCH = {"1": {"class-name": "scratch", "hex-color": "#2ca02c"}}


def label(class_name: Any, name: str = "anomaly-label", **metadata: Any) -> dict[str, Any]:
    kind = {"type": "groundtruth/image-classification"} | metadata
    return {name: 1, f"{name}-metadata": {"class-name": class_name} | kind}


def mask(colors: Any, name: str = "m-ref", ref: Any = f"{REF}/m.png", **more: Any) -> Any:
    kind = {"type": "groundtruth/semantic-segmentation"} | more
    return {name: ref, f"{name}-metadata": {"internal-color-map": colors} | kind}


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    """A row whose metadata lack these members, or that lacks these attributes."""
    kept = {key: value for key, value in row.items() if key not in names}
    return {
        key: {inner: v for inner, v in value.items() if inner not in names}
        if isinstance(value, dict)
        else value
        for key, value in kept.items()
    }


ANOMALY = label("anomaly")
#: Row and result: (label, whether the mask counts), or the code of a refused line.
ROWS: dict[str, tuple[Any, tuple[bool | None, bool] | str]] = {
    "plain": (ANOMALY | mask(SCRATCH), (True, True)),
    "label metadata without type": (without(ANOMALY, "type"), (True, False)),
    "label metadata without its attribute": (without(ANOMALY, "anomaly-label"), (True, False)),
    "mask metadata without type": (ANOMALY | without(mask(SCRATCH), "type"), (True, True)),
    "mask is empty": (ANOMALY | mask(SCRATCH, ref=""), (True, False)),
    "mask is null": (ANOMALY | mask(SCRATCH, ref=None), (True, False)),
    "mask without a colour map": (
        ANOMALY | without(mask(SCRATCH), "internal-color-map"),
        "mask_colors_invalid",
    ),
    "BACKGROUND without hex-color": (
        ANOMALY | mask({"0": {"class-name": "BACKGROUND"}} | SCRATCH),
        (True, True),
    ),
    "type without hex-color": (
        ANOMALY | mask({"1": {"class-name": "scratch"}}),
        "mask_colors_invalid",
    ),
    "one colour, two names": (
        ANOMALY | mask(SCRATCH | {"2": {"class-name": "dent", "hex-color": "#2CA02C"}}),
        "mask_colors_invalid",
    ),
    "one name, two colours": (
        ANOMALY | mask(SCRATCH | {"2": {"class-name": "scratch", "hex-color": "#2CA0FF"}}),
        (True, True),
    ),
    "21 types on one mask": (
        ANOMALY
        | mask({str(n): {"class-name": f"t{n}", "hex-color": f"#0000{n:02x}"} for n in range(21)}),
        "mask_colors_invalid",
    ),
    "several masks": (
        ANOMALY | mask(SCRATCH, "a-ref") | mask(SCRATCH, "b-ref"),
        "mask_ambiguous",
    ),
    "labels that agree": (label("normal", "a") | label("Normal", "b"), (False, False)),
    "labels that contradict each other": (
        label("normal", "a") | label("anomaly", "b"),
        "label_ambiguous",
    ),
    "another class beside the label": (label("flange", "part") | ANOMALY, (True, False)),
    "an unknown class": (label("unsure"), (None, False)),
    "a class that is not text": (label(1), (None, False)),
    "no label": ({}, (None, False)),
    "a model's own answer": (
        label("normal") | label("anomaly", "anomaly-label-detected"),
        (False, False),
    ),
    "9 KB": (ANOMALY | {"note": "x" * 9000}, (True, False)),
    "300 KB": (ANOMALY | {"note": "x" * 300_000}, "line_too_long"),
    "a name given twice": (
        '{"source-ref": "s3://test-bucket/a.png", "source-ref": "s3://test-bucket/b.png"}',
        "json_duplicate_name",
    ),
    "NaN": ('{"source-ref": "s3://test-bucket/a.png", "x": NaN}', "json_not_a_number"),
    "not an object": ('["s3://test-bucket/a.png"]', "json_not_an_object"),
    "not JSON": ('{"source-ref": "s3://test-bucket/a.png",}', "json_invalid"),
    "NUL": ('{"source-ref": "s3://test-bucket/a\\u0000.png"}', "nul_character"),
    "deep": ('{"source-ref": "s3://test-bucket/a.png", "x": ' + "[" * 40 + "]" * 40 + "}",
             "json_too_deep"),
    "no source-ref": ("{}", "source_ref_missing"),
    "source-ref is null": ('{"source-ref": null}', "source_ref_invalid"),
    "source-ref is a prefix": ('{"source-ref": "s3://test-bucket/a/"}', "source_ref_invalid"),
    "source-ref of another kind": ('{"source-ref": "ftp://x/a.png"}', "source_scheme_unsupported"),
    "S3:// in capitals": ({"source-ref": f"S3://{BUCKET}/odd/c.png"} | ANOMALY, (True, False)),
}  # fmt: skip
#: With only an invalid label or mask, an inspection just loses the label.
FORGIVEN = {"mask_colors_invalid", "mask_ambiguous", "label_ambiguous"}


def written(row: Any, number: int) -> str:
    return row if isinstance(row, str) else json.dumps({"source-ref": f"{REF}/{number}.png"} | row)


@pytest.fixture(scope="module")
def reader(service: Service) -> Iterator[SourceReader]:
    with SourceReader(buckets={BUCKET: service.bucket}) as opened:
        yield opened


@pytest.mark.parametrize("name", ROWS)
def test_the_pipeline_reads_a_row_as_the_table_says(
    name: str, service: Service, reader: SourceReader
) -> None:
    row, expected = ROWS[name]
    put_manifest(service, "odd/row.manifest", [written(row, 1)])
    (found,) = read_manifest(f"{REF}/row.manifest", reader, profile=TRAINING)
    (inspected,) = read_manifest(f"{REF}/row.manifest", reader, profile=INSPECTION)
    if isinstance(expected, tuple):
        assert isinstance(found, ManifestItem)
        assert (found.is_anomalous, found.mask_ref is not None) == expected
        assert inspected == found
        return
    assert not isinstance(found, ManifestItem)
    assert found.code == expected
    forgiven = expected in FORGIVEN and name != "21 types on one mask"
    assert isinstance(inspected, ManifestItem) == (forgiven or name == "21 types on one mask")
    if forgiven:
        assert isinstance(inspected, ManifestItem)
        assert LABEL_PROBLEM in inspected.attributes


def test_the_service_reads_the_rows_as_the_table_says(
    service: Service, client: Any, reader: SourceReader
) -> None:
    for number, (name, (row, expected)) in enumerate(ROWS.items()):
        project = f"odd-{number}"
        client.create_project(ProjectName=project)
        sound = line(f"{REF}/sound.png", None)
        source = put_manifest(service, "odd/row.manifest", [sound, written(row, number)])
        client.create_dataset(ProjectName=project, DatasetType="train", DatasetSource=source)
        described = dataset_done(client, project)
        stats, message = described["ImageStats"], described["StatusMessage"]
        if isinstance(expected, tuple):
            truth = expected[0]
            assert (stats["Total"], stats["Normal"], stats["Anomaly"]) == (
                2,
                int(truth is False),
                int(truth is True),
            ), name
            continue
        assert stats["Total"] == 1, name
        (bad,) = (
            record
            for record in read_manifest(f"{REF}/row.manifest", reader, profile=TRAINING)
            if not isinstance(record, ManifestItem)
        )
        assert f"line 2: {bad.message.rstrip('.')}" in message, name


def test_the_service_uses_the_masks_that_the_table_says(service: Service, client: Any) -> None:
    """Each row's anomaly type has the row's number, so the model shows which masks counted."""
    client.create_project(ProjectName="odd-masks")
    lines, counted = [], set()
    (service.bucket / "odd").mkdir(exist_ok=True)
    (service.bucket / "odd" / "m.png").write_bytes(png())
    for number, (row, expected) in enumerate(ROWS.values()):
        if isinstance(row, str) or isinstance(expected, str):
            continue
        text = written(row, number).replace('"scratch"', f'"scratch-{number}"')
        body = png(bright=bool(expected[0]))
        key = json.loads(text)["source-ref"].partition(BUCKET + "/")[2]
        (service.bucket / key).write_bytes(body)
        lines.append(text)
        if expected[1]:
            counted.add(f"scratch-{number}")
    make_dataset(client, service, "odd-masks", lines, "train")
    output = {"S3Location": {"Bucket": BUCKET, "Prefix": "odd-masks/"}}
    client.create_model(ProjectName="odd-masks", OutputConfig=output)
    described = model_in(client, "odd-masks", "TRAINED", "TRAINING_FAILED")
    assert described["Status"] == "TRAINED", described["StatusMessage"]
    result = json.loads((service.bucket / described["EvaluationResult"]["Key"]).read_text())
    types = result["AggregatedEvaluationResults"]["Metrics"]["PixelAnomalyClassMetrics"]
    assert {one["ClassName"] for one in types} - {"BACKGROUND"} == counted


def encoded(image: Image.Image, kind: str = "PNG", **save: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **save)
    return out.getvalue()


DRAWN = Image.new("RGB", (64, 64), "white")
ImageDraw.Draw(DRAWN).rectangle((8, 8, 40, 30), fill="#2ca02c")
#: Masks, and whether they can be used.
MASKS: dict[str, tuple[bytes, bool]] = {
    "RGB": (encoded(DRAWN), True),
    "RGBA": (encoded(DRAWN.convert("RGBA")), True),
    "palette": (encoded(DRAWN.quantize(4)), True),
    "grey": (encoded(DRAWN.convert("L")), True),
    "16x16": (encoded(DRAWN.resize((16, 16))), True),
    "twice the size": (encoded(DRAWN.resize((128, 128))), True),
    "JPEG": (encoded(DRAWN, "JPEG"), False),
    "GIF": (encoded(DRAWN, "GIF"), False),
    "text": (b"no mask", False),
    "no end": (encoded(DRAWN)[:-12], False),
    "wrong checksum": (encoded(DRAWN)[:-20] + b"\0" + encoded(DRAWN)[-19:], False),
    "too wide": (encoded(Image.new("1", (4097, 8))), False),
}


def test_both_accept_and_refuse_the_same_masks(service: Service, client: Any) -> None:
    client.create_project(ProjectName="masks")
    folder = service.bucket / "masks"
    folder.mkdir()
    lines = []
    for number, (body, _) in enumerate(MASKS.values()):
        (folder / f"{number}.png").write_bytes(png(bright=True))
        (folder / f"{number}.mask").write_bytes(body)
        ref = f"s3://{BUCKET}/masks/{number}"
        lines.append(line(f"{ref}.png", "anomaly", mask=f"{ref}.mask"))
    for number in range(20):
        (folder / f"n{number}.png").write_bytes(png())
        lines.append(line(f"s3://{BUCKET}/masks/n{number}.png"))
    put_manifest(service, "masks/all.manifest", lines)
    unusable = {number for number, (_, usable) in enumerate(MASKS.values()) if not usable}
    reader, staging = SourceReader(buckets={BUCKET: service.bucket}), Staging(BUCKET, "x/")
    with reader, pytest.raises(TrainingDataInvalid) as refused:
        stage_dataset(f"s3://{BUCKET}/masks/all.manifest", reader, staging)
    assert {problem.line_number - 1 for problem in refused.value.problems} == unusable
    make_dataset(client, service, "masks", lines, "train")
    output = {"S3Location": {"Bucket": BUCKET, "Prefix": "masks-out/"}}
    client.create_model(ProjectName="masks", OutputConfig=output)
    described = model_in(client, "masks", "TRAINED", "TRAINING_FAILED")
    assert described["Status"] == "TRAINED", described["StatusMessage"]
    told = (service.bucket / described["EvaluationManifest"]["Key"]).read_text()
    used = {json.loads(text)["source-ref"].rpartition("/")[2] for text in told.splitlines()}
    assert {n for n in range(len(MASKS)) if f"{n}.png" not in used} == unusable


# -- images and figures, with the real engine -----------------------------------------------------


def plate(seed: int, *, bad: bool) -> tuple[Image.Image, Image.Image]:
    chance = random.Random(seed)
    noise = np.random.default_rng(seed).integers(112, 144, (64, 64), dtype=np.uint8)
    image, drawn = Image.fromarray(noise).convert("RGB"), Image.new("RGB", (64, 64), "white")
    if bad:
        x, y = chance.randrange(12, 36), chance.randrange(12, 36)
        ImageDraw.Draw(image).ellipse((x, y, x + 14, y + 10), fill=(30, 30, 40))
        ImageDraw.Draw(drawn).ellipse((x, y, x + 14, y + 10), fill="#2ca02c")
    return image, drawn


class Learned:
    """A hosted segmentation model, and the images that measured it."""

    def __init__(self, service: Service) -> None:
        self.service, self.client = service, service.client()
        self.client.create_project(ProjectName="plates")
        folder = service.bucket / "plates"
        folder.mkdir()
        for kind, first, count in (("train", 0, 28), ("test", 500, 12)):
            lines = []
            for seed in range(first, first + count):
                bad = seed % 2 == 1
                image, drawn = plate(seed, bad=bad)
                image.save(folder / f"{seed}.png")
                drawn.save(folder / f"{seed}.mask.png")
                ref = f"s3://{BUCKET}/plates/{seed}"
                row = {"source-ref": f"{ref}.png"} | label("anomaly" if bad else "normal")
                lines.append(
                    json.dumps(row | (mask(SCRATCH, ref=f"{ref}.mask.png") if bad else {}))
                )
            make_dataset(self.client, service, "plates", lines, kind)
            self.lines = lines
        output = {"S3Location": {"Bucket": BUCKET, "Prefix": "plates/out/"}}
        self.client.create_model(ProjectName="plates", OutputConfig=output)
        self.model = model_in(
            self.client, "plates", "TRAINED", "TRAINING_FAILED", seconds=TRAINING_SECONDS
        )
        assert self.model["Status"] == "TRAINED", self.model["StatusMessage"]
        host(self.client, "plates")


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Learned]:
    folder = tmp_path_factory.mktemp("learned")
    with running(folder, engine="lfv.engine", pretrained_backbone=False) as service:
        yield Learned(service)


def test_a_training_and_an_inspection_report_the_same_figures(learned: Learned) -> None:
    """The same test images, judged in the training and by the hosted model over HTTP."""
    evaluator = Evaluator()
    bucket: Path = learned.service.bucket
    put_manifest(learned.service, "plates/test.manifest", learned.lines)
    with SourceReader(buckets={BUCKET: bucket}) as reader:
        for item in read_manifest(f"s3://{BUCKET}/plates/test.manifest", reader):
            assert isinstance(item, ManifestItem)
            body = reader.read_bytes(item.source_ref)
            result = DetectAnomalyResult.from_response(detect(learned.client, "plates", body))
            evaluator.add(bool(item.is_anomalous), result)
            truth = reader.read_bytes(item.mask_ref) if item.mask_ref else None
            evaluator.add_mask(truth, item.mask_colors, result, (64, 64))
    document = json.loads((bucket / learned.model["EvaluationResult"]["Key"]).read_text())
    figures = document["AggregatedEvaluationResults"]["Metrics"]
    assert evaluator.result().to_metrics() == figures
    assert figures["PixelAnomalyClassMetrics"][0]["AIOU"] > 0.2
    performance = learned.model["Performance"]
    assert performance["F1Score"] == pytest.approx(figures["F1Score"])


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def half(**save: Any) -> bytes:
    whole = encoded(plate(1, bad=True)[0], "JPEG", quality=90, **save)
    return whole[: len(whole) // 2] + b"\xff\xd9"


PLATE = plate(3, bad=False)[0]
SOUND_PNG, SOUND_JPEG = encoded(PLATE), encoded(PLATE, "JPEG")
#: Images, and whether they are inspected.
IMAGES: dict[str, tuple[bytes, bool]] = {
    "PNG": (SOUND_PNG, True),
    "JPEG": (SOUND_JPEG, True),
    "progressive": (encoded(PLATE, "JPEG", progressive=True), True),
    "CMYK": (encoded(PLATE.convert("CMYK"), "JPEG"), True),
    "16 bits": (encoded(Image.fromarray(np.full((64, 64), 30_000, np.uint16))), True),
    "palette with transparency": (encoded(PLATE.quantize(8), transparency=0), True),
    "bytes behind the end": (SOUND_JPEG + b"\0" * 64, True),
    "fill before the end": (SOUND_JPEG[:-2] + b"\0" * 64 + SOUND_JPEG[-2:], True),
    "half a JPEG": (half(), False),
    "half a progressive JPEG": (half(progressive=True), False),
    "JPEG without its end": (SOUND_JPEG[:-2], False),
    "PNG without its end": (SOUND_PNG[:-12], False),
    "PNG with too few rows": (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0" * 65 * 30))
        + chunk(b"IEND", b""),
        False,
    ),
    "animated": (encoded(PLATE, save_all=True, append_images=[DRAWN]), False),
    "several pictures": (encoded(PLATE, "MPO", save_all=True, append_images=[DRAWN]), False),
    "GIF": (encoded(PLATE, "GIF"), False),
    "BMP": (encoded(PLATE, "BMP"), False),
    "other dimensions": (encoded(PLATE.resize((80, 64))), False),
    "nothing": (b"", False),
}


@pytest.mark.parametrize("name", IMAGES)
def test_both_accept_and_refuse_the_same_images(name: str, learned: Learned) -> None:
    body, taken = IMAGES[name]
    try:
        check_image(body, expected=(64, 64))
        passed = True
    except ImageError:
        passed = False
    assert passed is taken
    kind = "image/jpeg" if body.startswith(b"\xff\xd8") else "image/png"
    refusals = learned.client.exceptions.ValidationException
    if taken:
        assert 0 <= detect(learned.client, "plates", body, kind)["Confidence"] <= 1
    else:
        with pytest.raises(refusals):
            detect(learned.client, "plates", body, kind)
