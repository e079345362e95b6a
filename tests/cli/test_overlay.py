"""`lfv overlay`: images with what the model found drawn on them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from lfv.run.overlay import _deletion
from lfv_store import ImageFacts, NewDetection, NewInspection, Signature
from tests.cli.conftest import STARTED, begin_run, response
from tests.support.report_samples import mask, picture

if TYPE_CHECKING:
    from lfv.settings import Settings
    from lfv_store import Store
    from tests.cli.conftest import Lfv

RUN = "aaaa6f6a-8d1f-4f53-a9d4-6f0f5a1e5a10"
VERDICTS = ("accept", "reject", "review")


@pytest.fixture
def images(store: Store, tmp_path: Path) -> Path:
    """A run over three existing images, and a line that could not be inspected."""
    folder = tmp_path / "images"
    folder.mkdir()
    model_id = begin_run(store, RUN)
    lines = []
    for line, verdict in enumerate(VERDICTS, start=1):
        data = picture(shade=80 + line)
        (folder / f"part {line}.jpg").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        anomalous = verdict != "accept"
        lines.append(
            NewInspection(
                line_number=line,
                source_ref=str(folder / f"part {line}.jpg"),
                inspected_at=STARTED + timedelta(seconds=line),
                image=ImageFacts(digest, "jpeg", 320, 240, len(data)),
                detection=NewDetection(
                    model_id,
                    digest,
                    response(
                        is_anomalous=anomalous, confidence=0.9, scratch=0.02 if anomalous else 0.0
                    ),
                    detected_at=STARTED,
                    mask_png=mask() if anomalous else None,
                ),
                verdict=verdict,  # type: ignore[arg-type]
            )
        )
    lines.append(
        NewInspection(
            line_number=4,
            source_ref=str(folder / "gone.jpg"),
            inspected_at=STARTED,
            error_code="image_truncated",
            error_message="The end is missing.",
        )
    )
    store.inspections.record(RUN, lines)
    store.runs.set_status(RUN, "completed", None, STARTED + timedelta(minutes=1))
    return folder


def test_rejected_and_unsure_images_are_drawn(lfv: Lfv, images: Path, settings: Settings) -> None:
    outcome = lfv("overlay", RUN[:8])
    assert outcome.status == 0, outcome.err
    folder = settings.run_folder(RUN) / "overlays"
    files = [folder / "0000002-part_2.png", folder / "0000003-part_3.png"]
    assert outcome.out.splitlines() == [str(file) for file in files]
    for file in files:
        with Image.open(file) as drawn:
            assert drawn.width == 640
            assert drawn.convert("RGB").getpixel((100, 241)) != (82, 82, 82)


def test_the_legend_names_who_deleted_the_mask(
    lfv: Lfv, images: Path, settings: Settings, store: Store
) -> None:
    detection = store.results.line(RUN, 2)["detection_id"]
    assert _deletion(store, detection) is None
    assert lfv("overlay", RUN, "--line", "2").status == 0
    file = settings.run_folder(RUN) / "overlays" / "0000002-part_2.png"
    before = file.read_bytes()
    before_deletion = datetime.now(UTC)
    store.prunings.delete_masks(before_deletion, Signature("ana", "old"), older_than_days=0)
    days = {f"{moment:%Y-%m-%d}" for moment in (before_deletion, datetime.now(UTC))}
    assert _deletion(store, detection) in {f"the mask was deleted on {day} by ana" for day in days}
    assert lfv("overlay", RUN, "--line", "2").status == 0
    assert file.read_bytes() != before


def test_images_are_selected_by_line_verdict_or_inspection(
    lfv: Lfv, images: Path, tmp_path: Path, store: Store
) -> None:
    inspection = store.results.line(RUN, 2)["inspection_id"]
    folder = tmp_path / "drawn"
    assert lfv("overlay", RUN, "--verdict", "accept", "-o", folder).status == 0
    assert lfv("overlay", RUN, "--line", "3", "-o", folder).status == 0
    assert lfv("overlay", inspection, "-o", folder).status == 0
    names = sorted(file.name for file in folder.iterdir())
    assert names == ["0000001-part_1.png", "0000002-part_2.png", "0000003-part_3.png"]
    outcome = lfv("overlay", inspection + 4711, "-o", folder)
    assert outcome.status == 1
    assert "no inspection has id" in outcome.err
    begin_run(store, "58220943" + RUN[8:])  # the start of its id is a number
    outcome = lfv("overlay", "58220943")
    assert (outcome.status, outcome.err) == (
        0,
        "no image to draw; --verdict or --line selects others\n",
    )


def test_what_cannot_be_drawn_is_named_with_the_reason(lfv: Lfv, images: Path) -> None:
    (images / "part 2.jpg").write_bytes(picture(shade=200))
    (images / "part 3.jpg").unlink()
    outcome = lfv("overlay", RUN, "--line", "2", "--line", "3", "--line", "4")
    assert outcome.status == 3
    assert outcome.out == ""
    changed, gone, failed = outcome.err.splitlines()[-3:]
    assert "line 2" in changed
    assert "changed since it was inspected" in changed
    assert "line 3" in gone
    assert "not inspected (image_truncated)" in failed


def test_json_lists_every_image(lfv: Lfv, images: Path) -> None:
    shown = lfv("overlay", RUN, "--json").json()
    assert [one["line_number"] for one in shown] == [2, 3]
    assert all(Path(one["file"]).is_file() and one["error"] is None for one in shown)


def test_a_name_cannot_escape_the_folder(
    lfv: Lfv, images: Path, tmp_path: Path, store: Store
) -> None:
    from lfv.run.overlay import _stem

    assert _stem("s3://b/..\\..\\etc/..") == "image"
    assert _stem("/a/b/x/../../ü?*.jpg") == "image"
    assert _stem("parts/" + "n" * 300 + ".png") == "n" * 60
