"""Figures of a run come from its own manifest, not from what is there later."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from lfv.client.manifests import manifest_digest, read_manifest
from lfv.client.sources import SourceReader
from lfv.formats.evaluation import Evaluation
from lfv.formats.labels import LabelNames
from lfv.formats.manifest.groundtruth import INSPECTION, Profile
from lfv.formats.manifest.records import ManifestItem
from lfv.run.evaluate import evaluate_run
from lfv_store import Store
from tests.support.lots import mask, row
from tests.support.store_samples import a_model, a_response, a_run, judged

_SIZE = (40, 20)
_BLUE = "#0000FF"


def _picture(colour: str = "white", marked: tuple[int, int, int, int] | None = None) -> bytes:
    picture = Image.new("RGB", _SIZE, colour)
    if marked is not None:
        picture.paste(_BLUE, marked)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _add_part(lot: Path, name: str, left: int, folder: str = "scratch") -> None:
    """Add an image to a folder as MVTec lays it out; its scratch begins at `left`."""
    for file, content in (
        (lot / "test" / folder / f"{name}.png", _picture("gray")),
        (
            lot / "ground_truth" / folder / f"{name}_mask.png",
            _picture("black", (left, 5, left + 10, 10)),
        ),
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _run_of(store: Store, source: str, profile: Profile = INSPECTION, **parameters: object) -> str:
    """Record a run whose model marked what the masks of its first two images mark."""
    model_id = a_model(store)
    run_id = a_run(store, model_id, source=source, parameters=parameters)
    response = a_response(is_anomalous=True, areas={"scratch": 0.0625})
    response["Anomalies"][1]["PixelAnomaly"]["Color"] = _BLUE
    with SourceReader() as reader:
        lines = [
            line
            for line in read_manifest(source, reader, profile=profile)
            if isinstance(line, ManifestItem)
        ]
        store.runs.set_manifest(run_id, manifest_digest(source, reader), len(lines))
    for line in lines:
        left = 0 if Path(line.source_ref).stem == "b" else 20
        store.inspections.record(
            run_id,
            [
                replace(
                    judged(
                        model_id,
                        line.line_number,
                        "reject",
                        image=line.source_ref,
                        response=response,
                        mask=_picture("white", (left, 5, left + 10, 10)),
                        expected_is_anomalous=line.is_anomalous,
                        expected_mask_ref=line.mask_ref,
                    ),
                    source_ref=line.source_ref,
                )
            ],
        )
    return run_id


def _evaluated(store: Store, run_id: str) -> Evaluation:
    with SourceReader() as reader:
        found = evaluate_run(store.runs.get(run_id), store, reader)
    assert found is not None
    assert found.images == 2
    return found


def _iou(store: Store, run_id: str) -> float | None:
    (scratch,) = _evaluated(store, run_id).types
    return scratch.pixel_iou


def test_files_added_to_a_folder_move_no_mask_to_another_image(
    store: Store, tmp_path: Path
) -> None:
    _add_part(tmp_path, "b", 0)
    _add_part(tmp_path, "c", 20)
    run_id = _run_of(store, str(tmp_path))
    assert _iou(store, run_id) == 1.0
    _add_part(tmp_path, "a", 30)
    assert _iou(store, run_id) == 1.0


def test_masks_are_found_below_folders_with_names_given_to_the_run(
    store: Store, tmp_path: Path
) -> None:
    names = LabelNames.of((), ("nio",))
    for name, left in (("b", 0), ("c", 20)):
        _add_part(tmp_path, name, left, "nio")
    profile = replace(INSPECTION, names=names)
    run_id = _run_of(store, str(tmp_path), profile, normal=[], anomaly=["nio"])
    assert _evaluated(store, run_id).types


def test_the_areas_of_a_manifest_that_has_changed_are_not_compared(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = tmp_path / "lot.manifest"
    rows = []
    for name, left in (("b", 0), ("c", 20)):
        (tmp_path / f"{name}.png").write_bytes(_picture("gray"))
        (tmp_path / f"{name}-mask.png").write_bytes(_picture("white", (left, 5, left + 10, 10)))
        rows.append(row(f"{name}.png", "anomaly", **mask(f"{name}-mask.png", {_BLUE: "scratch"})))
    manifest.write_text("".join(json.dumps(one) + "\n" for one in rows))
    run_id = _run_of(store, str(manifest))
    assert _iou(store, run_id) == 1.0
    manifest.write_text(manifest.read_text().replace('"scratch"', '"dent"'))
    assert _evaluated(store, run_id).types == ()
    assert "lot.manifest has changed since the run" in caplog.text
