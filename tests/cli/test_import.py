"""`lfv import` and `lfv parity`, with a service whose engine calls bright images anomalous."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Lfv
from tests.support import onnx_models
from tests.support.service import BUCKET, Service, line, png, put_images, running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("service")) as started:
        yield started


@pytest.fixture
def at_service(service: Service) -> list[str]:
    """The options that name the service."""
    return [
        *("--endpoint-url", service.url, "--staging", f"s3://{BUCKET}/staging"),
        *("--bucket", f"{BUCKET}={service.bucket}"),
    ]


def dataset(service: Service, project: str, kind: str = "train") -> dict[str, Any]:
    answer = service.client().describe_dataset(ProjectName=project, DatasetType=kind)
    found: dict[str, Any] = answer["DatasetDescription"]
    return found


def test_a_dataset_of_lookout_for_vision(
    lfv: Lfv, service: Service, at_service: list[str], tmp_path: Path
) -> None:
    """The images are in another bucket; one has no label, and one has a dummy mask."""
    rows = [text.replace(BUCKET, "old-bucket") for text in put_images(service, "old", masks=True)]
    (service.bucket / "old" / "later.png").write_bytes(png())
    rows.append(line("s3://old-bucket/old/later.png", None))
    copy = tmp_path / "copy"
    shutil.copytree(service.bucket / "old", copy / "old")
    manifest = tmp_path / "train.manifest"
    manifest.write_text("\n".join(rows))
    options = (*at_service, "--bucket", f"old-bucket={copy}")
    outcome = lfv("import", manifest, "--project", "old", "--json", *options)
    assert outcome.status == 0, outcome.err
    told = outcome.json()
    assert told["kind"] == "manifest"
    assert told["train"]["images"] == 4
    assert told["train"]["skipped"] == {"images without a label": 1}
    assert told["next_step"].startswith(f"lfv train s3://{BUCKET}/staging/manifests/")
    assert dataset(service, "old")["ImageStats"]["Total"] == 2  # equal images are one

    missing = lfv("import", manifest, "--project", "old", *at_service)
    assert missing.status == 1
    assert "line 1" in missing.err


def test_coco_is_imported_and_trained_on(
    lfv: Lfv, service: Service, at_service: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "coco"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.png").write_bytes(png(bright=number % 2 == 1, order=str(number)))
    document = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 64} for n in range(4)],
        "categories": [{"id": 1, "name": "scratch"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "segmentation": [[8, 8, 30, 8, 30, 30]]}
            for n in (1, 3)
        ],
    }
    (folder / "annotations.json").write_text(json.dumps(document))
    outcome = lfv(
        "import", folder / "annotations.json", "--project", "coco", "--train", *at_service
    )
    assert outcome.status == 0, outcome.err
    assert "COCO annotations" in outcome.out
    assert "coco, version 1" in outcome.out
    assert "2 with a mask (scratch)" in outcome.out
    model = service.client().describe_model(ProjectName="coco", ModelVersion="1")
    assert model["ModelDescription"]["Status"] == "TRAINED"


def test_an_mvtec_folder_has_both_datasets(
    lfv: Lfv, service: Service, at_service: list[str], tmp_path: Path
) -> None:
    for name, bright in (("train/good", False), ("test/good", False), ("test/crack", True)):
        folder = tmp_path / "set" / name
        folder.mkdir(parents=True)
        for number in range(2):
            (folder / f"{number}.png").write_bytes(png(bright=bright, order=f"{name}{number}"))
    outcome = lfv("import", tmp_path / "set", "--project", "mvtec", "--json", *at_service)
    assert outcome.status == 0, outcome.err
    assert outcome.json()["train"]["normal"] == 2
    assert outcome.json()["test"]["anomalous"] == 2
    assert dataset(service, "mvtec", "test")["ImageStats"]["Total"] == 4


def test_a_project_s_name_is_checked_before_anything_is_copied(lfv: Lfv, tmp_path: Path) -> None:
    outcome = lfv("import", tmp_path, "--project", "p p")
    assert outcome.status == 1
    assert "The project's name 'p p' is not allowed" in outcome.err


def test_an_evaluation_manifest_is_a_test_dataset(
    lfv: Lfv, service: Service, at_service: list[str], tmp_path: Path
) -> None:
    put_images(service, "evaluated")
    manifest = evaluation(service, tmp_path)
    outcome = lfv("import", manifest, "--project", "evaluated", *at_service)
    assert outcome.status == 0, outcome.err
    assert "test dataset" in outcome.out
    assert "train dataset" not in outcome.out
    refused = lfv("import", manifest, "--project", "evaluated", "--train", *at_service)
    assert refused.status == 1
    assert "--test" in refused.err


def test_a_sagemaker_model_reports_its_facts(lfv: Lfv, tmp_path: Path) -> None:
    file = tmp_path / "model.tar.gz"
    content = b'{"stages": [{"threshold": 0.25, "input_shape": [1, 3, 480, 640]}]}'
    with tarfile.open(file, "w:gz") as out:
        member = tarfile.TarInfo("export_artifacts/manifest.json")
        member.size = len(content)
        out.addfile(member, io.BytesIO(content))
    outcome = lfv("import", file, "--project", "parts", "--json")
    assert outcome.status == 0, outcome.err
    assert outcome.json()["facts"]["threshold"] == 0.25
    assert outcome.json()["facts"]["image size"] == "640x480"
    assert outcome.json()["next_step"].endswith("--project parts --data IMAGES")


def test_an_onnx_model_needs_the_embedded_service(
    lfv: Lfv, at_service: list[str], tmp_path: Path
) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.onnx").write_bytes(b"onnx")
    alone = lfv("import", tmp_path, "--project", "parts")
    assert alone.status == 0, alone.err
    assert "--data IMAGES" in alone.out
    there = lfv("import", tmp_path, "--project", "parts", "--data", tmp_path, *at_service)
    assert there.status == 1
    assert "lfv serve --detector" in there.err


# -- parity ---------------------------------------------------------------------------------------


def evaluation(service: Service, folder: Path, **wrong: bool) -> Path:
    """An EvaluationManifest of four images, two of each label; `wrong` names what was misjudged."""
    rows = []
    for text in put_images(service, "evaluated"):
        row = json.loads(text)
        name = Path(row["source-ref"]).stem
        found = bool(row["anomaly-label"]) != wrong.get(f"image_{name}", False)
        row["anomaly-label-detected"] = int(found)
        row["anomaly-label-detected-metadata"] = {
            "class-name": "anomaly" if found else "normal",
            "confidence": 0.9,
            "type": "groundtruth/image-classification",
        }
        rows.append(json.dumps(row))
    target = folder / "EvaluationManifest.json"
    target.write_text("\n".join(rows))
    return target


def test_two_evaluations_are_compared(lfv: Lfv, service: Service, tmp_path: Path) -> None:
    old = evaluation(service, tmp_path)
    rows = [json.loads(text) for text in old.read_text().splitlines()]
    rows[0]["anomaly-label-detected-metadata"]["class-name"] = "anomaly"  # a false alarm
    rows[-1]["source-ref"] = "s3://elsewhere/other.png"
    new = tmp_path / "new.manifest"
    new.write_text("\n".join(map(json.dumps, rows)) + "\n{}\n")
    bucket = ("--bucket", f"{BUCKET}={service.bucket}")
    outcome = lfv("parity", old, new, "--output", tmp_path / "out", "--json", *bucket)
    assert outcome.status == 0, outcome.err
    told = outcome.json()
    assert (told["images"], told["agreeing"]) == (3, 2)
    assert told["mcnemar"] == {"old_only": 0, "new_only": 1, "p": 1.0}
    assert told["mcnemar_against_labels"]["old_only"] == 1
    assert told["new_against_labels"]["false_positives"] == 1
    assert told["new"]["skipped"] == 1
    assert len(told["only_old"]) == len(told["only_new"]) == 1
    (differing,) = told["disagreements"]
    assert differing["label"] is False
    page = Path(told["report"]).read_text()
    assert "data:image/" in page
    assert "false alarms" in page
    text = lfv("parity", old, new, *bucket)
    assert "2 of 3 images" in text.out
    assert "p = 1" in text.out


def test_a_run_is_compared_with_itself(lfv: Lfv, run: str) -> None:
    outcome = lfv("parity", run[:8], "last", "--json")
    assert outcome.status == 0, outcome.err
    assert outcome.json()["agreement"] == 1.0


def test_sides_that_cannot_be_compared(lfv: Lfv, run: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain.manifest"
    plain.write_text(line("a.png") + "\n")
    outcome = lfv("parity", plain, plain)
    assert outcome.status == 2
    assert "has no model answers" in outcome.err
    nothing = lfv("parity", run[:8], "no-such-thing")
    assert nothing.status == 2
    assert "neither a file nor a run" in nothing.err


def test_an_anomalib_export_is_calibrated_on_labelled_images(
    lfv_process: Lfv, tmp_path: Path
) -> None:
    """From an export with its metadata to a model version of the embedded service."""
    export = tmp_path / "exported" / "weights"
    export.mkdir(parents=True)
    (export / "model.onnx").write_bytes(onnx_models.darkness_detector().SerializeToString())
    (export / "metadata.json").write_text('{"image_threshold": 0.5}')
    for number in range(24):
        folder = tmp_path / "images" / ("bad" if number % 2 else "good")
        folder.mkdir(parents=True, exist_ok=True)
        plate(folder / f"{number}.png", number)
    outcome = lfv_process(
        *("import", tmp_path / "exported", "--data", tmp_path / "images"),
        *("--project", "plates", "--json"),
    )
    assert outcome.status == 0, outcome.err
    told = outcome.json()
    assert told["facts"]["image_threshold"] == 0.5
    assert told["train"]["images"] == 24
    assert told["model"]["version"] == "1"


def plate(path: Path, number: int) -> None:
    """A grey plate; every second one has a dark spot."""
    noise = np.random.default_rng(number).integers(100, 140, (96, 96, 3), dtype=np.uint8)
    if number % 2:
        noise[40:56, 40:56] = 20
    Image.fromarray(noise).save(path)
