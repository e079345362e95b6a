"""Thumbnails and the marks drawn over them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from lfv.report.marks import draw_marks
from lfv.report.thumbnails import make_thumbnail, side_for
from tests.support.report_samples import mask, picture

BLUE, GREEN = "#1f77b4", "#2ca02c"


@pytest.mark.parametrize(
    ("size", "expected"), [((4096, 64), (320, 5)), ((64, 64), (64, 64)), ((300, 400), (240, 320))]
)
def test_thumbnails_keep_the_shape_of_the_picture(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    made = make_thumbnail(picture(size), None, (), 320)
    assert made is not None
    assert made.marks is None
    with Image.open(io.BytesIO(made.photo)) as image:
        assert image.size == expected == (made.width, made.height)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "L"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "I;16"), ("PNG", "1"), ("JPEG", "CMYK")],
)
def test_every_kind_of_picture_gets_a_thumbnail(kind: str, mode: str) -> None:
    made = make_thumbnail(picture((64, 64), kind, mode), None, (), 320)
    assert made is not None
    with Image.open(io.BytesIO(made.photo)) as image:
        assert image.mode == "RGB"


def test_a_scratch_one_pixel_thin_is_still_marked_on_a_small_thumbnail() -> None:
    size = (2000, 1500)
    made = make_thumbnail(picture(size), mask(size), [BLUE], 160)
    assert made is not None
    assert made.marks is not None
    with Image.open(io.BytesIO(made.marks)) as layer:
        opacity = np.asarray(layer.convert("RGBA"))[:, :, 3]
    assert opacity[58:63, 10:150].max(axis=0).min() > 80
    assert not opacity[:30].any()  # the green square was not requested


@pytest.mark.parametrize(
    "ground", [(0x2C, 0xA0, 0x2C), (0, 0, 0), (255, 255, 255), (128, 128, 128)]
)
def test_marks_are_legible_on_any_background(ground: tuple[int, int, int]) -> None:
    """Also on a background in the type's own colour: lines of other brightness surround it."""
    size = (320, 240)
    layer = draw_marks(mask(size), [GREEN], size, line=2)
    assert layer is not None
    plain = Image.new("RGBA", size, (*ground, 255))
    shown = np.asarray(Image.alpha_composite(plain, layer).convert("L"), np.int16)
    before = np.asarray(plain.convert("L"), np.int16)
    assert np.abs(shown - before)[:60, :60].max() > 100
    assert not np.abs(shown - before)[100:, 100:].any()


def test_the_fill_lets_the_defect_show_through() -> None:
    layer = draw_marks(mask(), [GREEN], (320, 240))
    assert layer is not None
    red, green, blue, opacity = layer.getpixel((25, 25))  # type: ignore[misc]
    assert (red, green, blue) == (0x2C, 0xA0, 0x2C)
    assert 60 < opacity < 140


@pytest.mark.parametrize(
    ("mask_png", "colors"),
    [
        (None, [BLUE]),
        (b"", [BLUE]),
        (b"not a mask", [BLUE]),
        (mask(), []),
        (mask(), [None]),
        (mask(), ["blue"]),
        (mask(), ["#000001"]),
    ],
)
def test_without_marks_there_is_no_layer(mask_png: bytes | None, colors: list[str | None]) -> None:
    assert draw_marks(mask_png, colors, (320, 240)) is None


def test_more_pictures_are_smaller() -> None:
    assert side_for(10) > side_for(500) > side_for(2000) > side_for(10_000) >= 128
