"""The client against the project's own service, over HTTP."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from lfv.client.api import lookoutvision_client
from lfv.client.hosting import ensure_hosted, ensure_stopped
from lfv.client.hosts import HostSpec, Units, open_host
from lfv.client.manifests import read_manifest
from lfv.client.sources import SourceReader
from lfv.client.staging import LabelledData, Staging
from lfv.client.training import train_model
from lfv.formats.evaluation import Evaluator
from lfv.formats.images import CONTENT_TYPES, check_image
from lfv.formats.manifest.records import ManifestItem
from lfv.formats.status import ModelStatus
from tests.support.waiting import PLENTY, wait_until


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Endpoint, and the folder used as bucket `lfv`."""
    home = tmp_path_factory.mktemp("service")
    bucket = home / "bucket"
    bucket.mkdir()
    ready = home / "ready.json"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "lfv.server"),
            json.dumps(
                {
                    "home": str(home / "state"),
                    "buckets": {"lfv": str(bucket)},
                    "s3": False,
                    "ready_file": str(ready),
                }
            ),
        ]
    )
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, "the service is ready")
        assert process.poll() is None, "the service ended while it started"
        yield json.loads(ready.read_text())["endpoint_url"], bucket
    finally:
        process.terminate()
        process.wait(PLENTY)


def part(seed: int, *, scratched: bool) -> bytes:
    """A grey disc on a dark ground, and a bright line across it."""
    draw_from = random.Random(seed)
    noise = bytes(30 + value % 16 for value in draw_from.randbytes(128 * 128))
    image = Image.frombytes("L", (128, 128), noise).convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.ellipse((16, 16, 112, 112), fill=(120, 120, 128))
    if scratched:
        x, y = draw_from.randint(35, 60), draw_from.randint(35, 60)
        draw.line((x, y, x + 35, y + draw_from.randint(-10, 30)), fill=(250, 250, 250), width=4)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.mark.slow
def test_from_a_folder_to_verdicts(service: tuple[str, Path], tmp_path: Path) -> None:
    url, bucket = service
    for name, scratched in (("normal", False), ("anomaly", True)):
        for split, count in (("train", 20), ("test", 10)):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for seed in range(count):
                data = part(seed + count * 100, scratched=scratched)
                (folder / f"{seed}.png").write_bytes(data)
    reader = SourceReader({"lfv": bucket})
    told: list[str] = []
    trained = train_model(
        lookoutvision_client(url),
        reader,
        Staging("lfv", "training/parts/"),
        LabelledData(str(tmp_path / "train")),
        "parts",
        progress=told.append,
    )
    assert trained.version == "1"
    assert trained.model_arn.endswith(":model/parts/1")
    assert told[-1].startswith("version 1: TRAINED")
    assert trained.evaluation_result is not None
    assert json.loads(reader.read_bytes(trained.evaluation_result))["Version"] == 1

    host = open_host(HostSpec("lookoutvision", "parts", "latest", url))
    try:
        assert host.spec.model_version == "1"
        assert ensure_hosted(host, Units(1), "token-1", timeout=PLENTY).started
        assert ensure_hosted(host, Units(1), "token-2", timeout=PLENTY).adopted
        evaluator = Evaluator()
        for item in read_manifest(str(tmp_path / "test"), reader):
            assert isinstance(item, ManifestItem)
            assert item.is_anomalous is not None
            data = reader.read_bytes(item.source_ref)
            detection = host.detect(data, CONTENT_TYPES[check_image(data).format])
            assert detection.request_id
            evaluator.add(item.is_anomalous, detection.result)
        found = evaluator.result()
        assert found.images == 20
        assert found.roc_auc is not None
        assert found.roc_auc >= 0.9
    finally:
        assert ensure_stopped(host, "token-3", timeout=PLENTY).was_up
        assert host.describe().status is ModelStatus.TRAINED
        host.close()
