"""From reviews to the manifest of the next version, and its training."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lfv.client.staging import LabelledData
from lfv.client.training import TrainedModel, check_names
from lfv.run.models.retrain import NothingReviewed, next_manifest
from lfv.run.models.training import LABEL_NAMES
from lfv.run.verdicts.reinspect import NotInspected, inspect_again
from lfv.ui.views import models
from lfv_store import NewReview, NewTraining, Run
from tests.support.ui import RUN_ID, STARTED, Browser, Scene
from tests.support.waiting import wait_until


def trained_on(place: Scene, labels: dict[int, int]) -> Path:
    """A recorded training whose manifest labels lines of the run: 1 for an anomaly."""
    file = place.settings.home / "train.manifest"
    rows = [
        {
            "source-ref": place.store.results.line(RUN_ID, line)["source_ref"],
            "anomaly-label": label,
            "anomaly-label-metadata": {"class-name": "anomaly" if label else "normal"},
            "anomaly-mask-ref": str(place.images / f"mask-{line}.png"),
            "anomaly-mask-ref-metadata": {
                "internal-color-map": {"1": {"class-name": "scratch", "hex-color": "#1F77B4"}},
                "type": "groundtruth/semantic-segmentation",
            },
        }
        for line, label in labels.items()
    ]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    place.store.trainings.record(NewTraining(place.model_id, str(file), STARTED, "ana"))
    return file


def labels_in(file: Path) -> dict[str, int]:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {Path(row["source-ref"]).name: row["anomaly-label"] for row in rows}


def test_reviews_correct_the_last_training(place: Scene, mara: Browser) -> None:
    trained_on(place, {1: 0, 2: 0, 4: 1})
    numbers = place.parts()
    place.store.reviews.record(NewReview(numbers[1], "reject", "ben"))  # line 2 was labelled normal
    place.store.reviews.record(NewReview(numbers[3], "reject", "ben"))  # line 4: anomaly
    place.store.reviews.record(NewReview(numbers[5], "accept", "ben"))  # line 6 is new
    place.store.reviews.record(NewReview(numbers[6], "review", "ben"))  # unsure
    page = mara.client.post(
        f"/models/{place.model_id}/retrain", headers={"x-form-token": mara.token()}
    )
    assert "4 images: 2 as in the last training, 1 with another label, 1 added" in page.text
    (file,) = (place.settings.home / "ui" / "manifests").iterdir()
    assert labels_in(file) == {
        "part-0001.png": 0,
        "part-0002.png": 1,
        "part-0004.png": 1,
        "part-0006.png": 0,
    }
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    masks = {Path(row["source-ref"]).name for row in rows if "anomaly-mask-ref" in row}
    assert "part-0004.png" in masks
    assert not masks & {"part-0002.png", "part-0006.png"}


def test_without_the_old_images_only_reviews_are_in_it(place: Scene, tmp_path: Path) -> None:
    with pytest.raises(NothingReviewed):
        next_manifest(place.store, _reader(place), place.model_id, tmp_path, tmp_path)
    trained_on(place, {1: 0}).unlink()
    place.store.reviews.record(NewReview(place.parts()[5], "accept", "ben"))
    made = next_manifest(place.store, _reader(place), place.model_id, tmp_path, tmp_path)
    assert (made.images, made.added) == (1, 1)
    assert "cannot be read" in made.note


def test_splits_and_masks_of_a_folder_are_kept(place: Scene, tmp_path: Path) -> None:
    """The next version is not trained on this version's test images."""
    lot = tmp_path / "lot"
    for name in ("train/good/1", "test/dent/2", "ground_truth/dent/2_mask"):
        (lot / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (64, 64), int("mask" in name)).save(lot / f"{name}.png")
    place.store.trainings.record(NewTraining(place.model_id, str(lot), STARTED, "ana"))
    place.store.reviews.record(NewReview(place.parts()[5], "accept", "ben"))
    made = next_manifest(place.store, _reader(place), place.model_id, tmp_path, tmp_path / "masks")
    tested, trained, _ = (json.loads(line) for line in made.file.read_text().splitlines())
    assert (tested["split"], trained["split"]) == ("test", "train")
    with Image.open(tested["anomaly-mask-ref"]) as mask:
        assert mask.getextrema() == (255, 255)


def test_labels_with_names_from_the_user_are_kept(place: Scene, tmp_path: Path) -> None:
    lot = tmp_path / "lot"
    for name in ("smooth/1", "rough/2"):
        (lot / name).parent.mkdir(parents=True)
        Image.new("L", (64, 64)).save(lot / f"{name}.png")
    names = {LABEL_NAMES: {"normal": ["smooth"], "anomaly": ["rough"]}}
    place.store.trainings.record(
        NewTraining(place.model_id, str(lot), STARTED, "ana", images=names)
    )
    place.store.reviews.record(NewReview(place.parts()[5], "accept", "ben"))
    made = next_manifest(place.store, _reader(place), place.model_id, tmp_path, tmp_path)
    assert (made.kept, made.added) == (2, 1)


def _reader(place: Scene) -> Any:
    from lfv.run.active import open_reader

    return open_reader(place.settings)


def test_images_of_the_training_do_not_count_in_the_comparison(place: Scene, mara: Browser) -> None:
    trained_on(place, {1: 0, 4: 1})
    other = place.second_version({1: True, 4: False, 6: True})
    for line in (1, 4, 6):
        place.store.reviews.record(NewReview(place.parts()[line - 1], "accept", "ben"))
    page = mara.get(f"/models/{place.model_id}/compare/{other}").text
    assert "3 of them are labelled or reviewed. 2 of these were in the training" in page
    assert page.count("in training</span>") == 2
    (place.settings.home / "train.manifest").unlink()
    assert (
        "training images cannot be read"
        in mara.get(f"/models/{place.model_id}/compare/{other}").text
    )


def test_the_other_version_inspects_the_same_images(
    place: Scene, mara: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = place.second_version({})
    address = f"/models/{place.model_id}/compare/{other}"
    assert "No image was judged by both" in mara.get(address).text
    run = place.store.runs.get(RUN_ID)
    gone = replace(run, source=str(place.settings.home / "-gone"))
    with pytest.raises(NotInspected, match="no manifest, folder or image found at"):
        inspect_again(place.settings, place.store, gone, "2", asked_by="lfv ui (mara)")
    asked: list[tuple[str, str, str]] = []

    def inspect(_settings: object, _store: object, run: Run, version: str, *, asked_by: str) -> str:
        asked.append((run.run_id, version, asked_by))
        return "5" * 32

    monkeypatch.setattr(models, "inspect_again", inspect)
    assert mara.post(f"{address}/inspect").status_code == 303
    wait_until(lambda: "Run 55555555 has the answers" in mara.get(address).text)
    assert asked == [(RUN_ID, "2", "lfv ui (mara)")]


def test_the_next_version_is_trained_once(
    place: Scene, mara: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.store.reviews.record(NewReview(place.parts()[5], "accept", "ben"))
    begun: list[tuple[str, str]] = []
    finish: list[bool] = []

    def train(
        _settings: object,
        data: LabelledData,
        project: str,
        *,
        description: str,
        progress: Callable[[str], None],
        **_: Any,
    ) -> TrainedModel:
        check_names(project, description)
        begun.append((data.source, project))
        progress("looking at images")
        wait_until(lambda: finish)
        raise RuntimeError("no images of anomalies")

    monkeypatch.setattr(models, "train_project", train)
    address = f"/models/{place.model_id}"
    assert mara.post(f"{address}/retrain", train="yes").status_code == 303
    wait_until(lambda: "looking at images" in mara.get(address).text)
    again = mara.post(f"{address}/retrain", train="yes")
    assert again.status_code == 409
    assert "started by mara" in again.json()["error"]
    finish.append(True)
    wait_until(lambda: "no images of anomalies" in mara.get(address).text)
    assert [project for _, project in begun] == ["flange"]
    assert labels_in(Path(begun[0][0])) == {"part-0006.png": 0}
