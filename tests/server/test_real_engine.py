"""The service with the real engine: small pictures, learned, hosted and told apart."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from ..support.service import (
    BUCKET,
    Service,
    detect,
    host,
    line,
    make_dataset,
    model_in,
    png,
)

SIZE = (96, 80)


def picture(path: Path, chance: random.Random, *, scratched: bool) -> bytes:
    image = Image.effect_noise(SIZE, 12).convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 15, 76, 65), fill=(150, 120, 90))
    if scratched:
        x, y = chance.randrange(28, 56), chance.randrange(25, 48)
        draw.line((x, y, x + 16, y + 9), fill=(20, 20, 30), width=4)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path.read_bytes()


def test_scratches_are_found(start: Callable[..., Service]) -> None:
    """By image labels only, which takes the engine seconds; masks are its own tests' matter."""
    service = start(engine="lfv_server.engine")
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
    described = model_in(client, "plates", "TRAINED", "TRAINING_FAILED", seconds=250)
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
