"""Drawn masks: exact, recorded, and in the next version's manifest."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from lfv.run.verdicts.drawn_masks import MaskRefused, exact_mask
from lfv.run.verdicts.review import record_digest
from tests.support.ui import PASSWORD, SIZE, Browser, Scene, served

BLUE = "#1F77B4"


def drawing(size: tuple[int, int] = SIZE, alpha: int = 255) -> bytes:
    """A blue square with a half-transparent edge, as from a canvas."""
    picture = Image.new("RGBA", size)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((9, 9, 40, 40), fill=(0x30, 0x80, 0xB0, 100))
    pen.rectangle((10, 10, 39, 39), fill=(0x20, 0x76, 0xB3, alpha))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def save(mara: Browser, part: int, data: bytes, **fields: str) -> Any:
    given = {
        "mask": base64.b64encode(data).decode(),
        "types": json.dumps({BLUE: "scratch", "#FF7F0E": "dent"}),
        "token": "m" * 20,
    }
    return mara.post(f"/parts/{part}/mask", **{**given, **fields})


def test_soft_edges_become_exact() -> None:
    mask = exact_mask(drawing(), SIZE, {BLUE.lower(): "scratch", "#FF7F0E": "dent"})
    with Image.open(io.BytesIO(mask.png)) as picture:
        colors = {color: number for number, color in picture.convert("RGB").getcolors() or []}
    assert colors == {(255, 255, 255): SIZE[0] * SIZE[1] - 900, (0x1F, 0x77, 0xB4): 900}
    assert mask.types == {BLUE: "scratch"}


@pytest.mark.parametrize(
    ("data", "types", "said"),
    [
        (drawing((10, 10)), {BLUE: "scratch"}, "320x240"),
        (b"no picture", {BLUE: "scratch"}, "cannot be read"),
        (drawing(), {}, "1 to 20"),
        (drawing(), {"blue": "scratch"}, "1 to 100"),
        (drawing(), {BLUE: " "}, "1 to 100"),
    ],
)
def test_what_is_not_a_mask_is_refused(data: bytes, types: dict[str, str], said: str) -> None:
    with pytest.raises(MaskRefused, match=said):
        exact_mask(data, SIZE, types)


def test_a_drawn_mask_is_a_review_and_goes_into_the_next_manifest(
    place: Scene, mara: Browser
) -> None:
    part = place.parts("review")[0]
    page = mara.get(f"/parts/{part}/mask").text
    row = place.store.results.get(part)
    assert f"/mask/{row['detection_id']}" in page
    assert mara.get(f"/mask/{row['detection_id']}").content == place.store.results.mask(
        row["detection_id"]
    )
    first, again = save(mara, part, drawing()), save(mara, part, drawing())
    assert first.json() == again.json()
    (review,) = place.store.reviews.history(part)
    assert (review.verdict, review.reason) == ("reject", "scratch")
    assert review.shown is not None
    digest = review.shown["drawn_mask_sha256"]
    assert digest[:12] in mara.get(f"/parts/{part}").text
    mara.post(f"/models/{place.model_id}/retrain")
    (manifest,) = (place.settings.home / "ui" / "manifests").iterdir()
    (line,) = [json.loads(text) for text in manifest.read_text().splitlines()]
    assert Path(line["anomaly-mask-ref"]).name == f"{digest}.png"
    colors = line["anomaly-mask-ref-metadata"]["internal-color-map"].values()
    assert {one["class-name"]: one["hex-color"] for one in colors}["scratch"].upper() == BLUE
    assert place.store.audit.verify().ok


def test_an_empty_mask_accepts_and_wrong_ones_are_refused(place: Scene, mara: Browser) -> None:
    one, two, *_ = place.parts("review")
    assert save(mara, one, drawing(alpha=0)).json()["verdict"] == "accept"
    for fields in (
        {"types": "[]"},
        {"types": "{"},
        {"types": "[" * 100_000},
        {"mask": "%%"},
        {"token": "x"},
    ):
        assert save(mara, two, drawing(), **fields).status_code == 400
    Path(place.store.results.get(two)["source_ref"]).unlink()
    assert "gone" in save(mara, two, drawing()).text
    assert place.store.reviews.history(two) == []


def test_a_drawn_mask_is_signed_with_its_digest(place: Scene) -> None:
    place.user("ana", "reviewer")
    part = place.parts("review")[0]
    with served(place, signatures=True) as ana:
        ana.log_in("ana")
        assert 'id="password"' in ana.get(f"/parts/{part}/mask").text
        assert save(ana, part, drawing()).status_code == 403
        assert place.store.reviews.history(part) == []
        assert save(ana, part, drawing(), password=PASSWORD).status_code == 200
    (review,) = place.store.reviews.history(part)
    assert review.shown is not None
    assert review.signature is not None
    row, mask = place.store.results.get(part), review.shown["drawn_mask_sha256"]
    signed = record_digest(row, "reject", "scratch", "", mask_sha256=mask)
    assert review.signature["record_sha256"] == signed
