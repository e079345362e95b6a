"""The service with the real engine: trains on small pictures, hosts, and classifies others."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.support.pictures import noise
from tests.support.service import (
    BUCKET,
    Service,
    detect,
    host,
    line,
    make_dataset,
    model_in,
    png,
)
from tests.support.waiting import TRAINING

pytestmark = pytest.mark.slow

SIZE = (96, 80)
SMALLEST = (64, 64)
COLORS = {"scratch": "#23A436", "dent": "#1F77B4"}


def picture(path: Path, chance: random.Random, *, scratched: bool) -> bytes:
    image = noise(SIZE, 12, chance.randrange(2**32)).convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 15, 76, 65), fill=(150, 120, 90))
    if scratched:
        x, y = chance.randrange(28, 56), chance.randrange(25, 48)
        draw.line((x, y, x + 16, y + 9), fill=(20, 20, 30), width=4)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path.read_bytes()


def test_scratches_are_found(start: Callable[..., Service]) -> None:
    """With image labels only, which takes seconds; the engine's tests cover masks."""
    service = start(engine="lfv.engine")
    client = service.client()
    client.create_project(ProjectName="plates")
    chance = random.Random(3)
    lines = []
    for number in range(20):
        scratched = number % 2 == 1
        picture(service.bucket / "plates" / f"{number}.png", chance, scratched=scratched)
        ref = f"s3://{BUCKET}/plates/{number}.png"
        lines.append(line(ref, "anomaly" if scratched else "normal"))
    make_dataset(client, service, "plates", lines, "train")
    output = {"S3Location": {"Bucket": BUCKET, "Prefix": "out"}}
    client.create_model(ProjectName="plates", OutputConfig=output)
    described = model_in(client, "plates", "TRAINED", "TRAINING_FAILED", seconds=TRAINING)
    assert described["Status"] == "TRAINED", described["StatusMessage"]
    assert described["Performance"]["F1Score"] > 0.8
    result = json.loads((service.bucket / described["EvaluationResult"]["Key"]).read_text())
    metrics = result["AggregatedEvaluationResults"]["Metrics"]
    assert metrics["ROCAUC"] > 0.9
    assert {"AveragePrecision", "Precision", "Recall", "F1Score"} <= set(metrics)
    manifest = (service.bucket / described["EvaluationManifest"]["Key"]).read_text()
    assert len(manifest.splitlines()) == 20
    host(client, "plates")
    right = 0
    for number in range(10):
        scratched = number % 2 == 1
        body = picture(service.folder / f"{number}.png", chance, scratched=scratched)
        found = detect(client, "plates", body)
        right += found["IsAnomalous"] == scratched
        assert set(found) == {"Source", "IsAnomalous", "Confidence"}
        assert 0 <= found["Confidence"] <= 1
    assert right >= 9
    with pytest.raises(client.exceptions.ValidationException, match="96x80"):
        detect(client, "plates", png())


def plate(chance: random.Random, *defects: str) -> tuple[Image.Image, Image.Image]:
    """A picture of the smallest size, and its mask as a palette image."""
    noise = np.frombuffer(chance.randbytes(64 * 64), np.uint8) // 8 + 112
    image = Image.fromarray(noise.reshape(64, 64)).convert("RGB")
    mask = Image.new("P", SMALLEST, 0)
    mask.putpalette([255, 255, 255, 0x23, 0xA4, 0x36, 0x1F, 0x77, 0xB4])
    drawn, masked = ImageDraw.Draw(image), ImageDraw.Draw(mask)
    drawn.ellipse((9, 9, 55, 55), fill=(150, 120, 90))
    if "scratch" in defects:
        x, y = chance.randrange(18, 30), chance.randrange(16, 26)
        drawn.line((x, y, x + 16, y + 8), fill=(20, 20, 30), width=3)
        masked.line((x, y, x + 16, y + 8), fill=1, width=3)
    if "dent" in defects:
        x, y = chance.randrange(22, 34), chance.randrange(36, 44)
        drawn.ellipse((x, y, x + 8, y + 8), fill=(240, 240, 250))
        masked.ellipse((x, y, x + 8, y + 8), fill=2)
    return image, mask


def mask_of_another_kind(mask: Image.Image, number: int) -> Image.Image:
    """Masks as found in practice: with a palette, with transparency, of another size."""
    if number % 3 == 0:
        return mask
    if number % 3 == 1:
        return mask.convert("RGBA")
    return mask.convert("RGB").resize((128, 128), Image.Resampling.NEAREST)


def encoded(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def kinds_of(image: Image.Image) -> dict[str, bytes]:
    rotated = Image.Exif()
    rotated[0x0112] = 6
    sixteen = np.asarray(image.convert("L")).astype(np.uint16) * 257
    return {
        "RGB": encoded(image),
        "grey": encoded(image.convert("L")),
        "palette": encoded(image.convert("P")),
        "RGBA": encoded(image.convert("RGBA")),
        "16-bit": encoded(Image.fromarray(sixteen)),
        "JPEG": encoded(image, "JPEG", quality=92),
        "progressive": encoded(image, "JPEG", quality=92, progressive=True),
        "CMYK": encoded(image.convert("CMYK"), "JPEG", quality=92),
        "rotated by EXIF": encoded(image, "JPEG", quality=92, exif=rotated),
    }


def test_two_types_in_pictures_of_every_kind(start: Callable[..., Service]) -> None:
    """The smallest size, masks as they come and one missing, images of every mode."""
    service = start(engine="lfv.engine")
    client = service.client()
    client.create_project(ProjectName="plates")
    chance = random.Random(5)
    folder = service.bucket / "plates"
    folder.mkdir()
    color_map = {
        str(number): {"class-name": name, "hex-color": color}
        for number, (name, color) in enumerate(COLORS.items(), 1)
    }
    lines = []
    for number in range(24):
        defects = [(), ("scratch", "dent"), (), ("dent",), (), ("scratch",)][number % 6]
        image, mask = plate(chance, *defects)
        image.save(folder / f"{number}.png")
        ref = f"s3://{BUCKET}/plates/{number}"
        document = json.loads(line(f"{ref}.png", "anomaly" if defects else "normal"))
        if defects and number != 9:
            mask_of_another_kind(mask, number // 2).save(folder / f"{number}.mask.png")
            document["anomaly-mask-ref"] = f"{ref}.mask.png"
            document["anomaly-mask-ref-metadata"] = {
                "internal-color-map": color_map,
                "type": "groundtruth/semantic-segmentation",
            }
        lines.append(json.dumps(document))
    make_dataset(client, service, "plates", lines, "train")
    client.create_model(ProjectName="plates", OutputConfig={"S3Location": {"Bucket": BUCKET}})
    described = model_in(client, "plates", "TRAINED", "TRAINING_FAILED", seconds=TRAINING)
    assert described["Status"] == "TRAINED", described["StatusMessage"]
    assert "could not be used" not in described["StatusMessage"]
    host(client, "plates")
    flawed, _ = plate(chance, "scratch", "dent")
    good, _ = plate(chance)
    for image, anomalous in ((flawed, True), (good, False)):
        for kind, body in kinds_of(image).items():
            content_type = "image/png" if body.startswith(b"\x89PNG") else "image/jpeg"
            found = detect(client, "plates", body, content_type)
            if kind not in (
                "grey",
                "palette",
                "16-bit",
            ):  # it was not trained on images without colours
                assert found["IsAnomalous"] is anomalous, kind
            named = {a["Name"]: a["PixelAnomaly"] for a in found["Anomalies"]}
            assert next(iter(named)) == "background"
            assert sum(a["TotalPercentageArea"] for a in named.values()) == pytest.approx(1)
            assert {
                n: a["Color"] for n, a in named.items() if n in COLORS
            }.items() <= COLORS.items()
            with Image.open(io.BytesIO(found["AnomalyMask"])) as mask:
                assert (mask.format, mask.size) == ("PNG", SMALLEST)
            if kind == "RGB":
                assert set(named) == {"background", *(COLORS if anomalous else ())}
    animated = encoded(flawed, save_all=True, append_images=[good])
    with pytest.raises(client.exceptions.ValidationException, match="animated"):
        detect(client, "plates", animated)
    with pytest.raises(client.exceptions.ValidationException, match="is truncated"):
        detect(client, "plates", encoded(flawed)[:-200])
