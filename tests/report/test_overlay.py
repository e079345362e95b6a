"""Overlays: an image with its marks and a legend."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lfv.report import OverlayFacts, ReportAnomaly, draw_overlay
from tests.support.report_samples import mask, picture

SIZE = (640, 480)
FOUND = (ReportAnomaly("scratch", 0.0031, "#1F77B4"), ReportAnomaly("dent", 0.012, "#2CA02C"))


def facts(anomalies: tuple[ReportAnomaly, ...] = FOUND, *, has_mask: bool = True) -> OverlayFacts:
    return OverlayFacts("IMG_0007.jpg", "reject", True, 0.97, anomalies, has_mask)


def opened(data: bytes | None) -> Image.Image:
    assert data is not None
    return Image.open(io.BytesIO(data)).convert("RGB")


def test_the_image_keeps_its_pixels_where_nothing_is_marked() -> None:
    sheet = opened(draw_overlay(picture(SIZE, "PNG"), mask(SIZE), facts()))
    assert sheet.width == SIZE[0]
    assert sheet.height > SIZE[1]
    assert sheet.getpixel((600, 400)) == (90, 90, 90)
    assert sheet.getpixel((25, 25)) != (90, 90, 90)
    assert sheet.getpixel((300, 240)) != (90, 90, 90)


def test_the_legend_has_a_swatch_for_each_type() -> None:
    sheet = np.asarray(opened(draw_overlay(picture(SIZE, "PNG"), mask(SIZE), facts())))
    legend = sheet[SIZE[1] :].reshape(-1, 3)
    for color in ((0x1F, 0x77, 0xB4), (0x2C, 0xA0, 0x2C)):
        assert (legend == color).all(axis=1).sum() > 50


def test_the_legend_is_drawn_even_without_a_mask() -> None:
    sheet = opened(draw_overlay(picture(SIZE, "PNG"), None, facts((), has_mask=False)))
    assert sheet.height > SIZE[1]
    assert np.asarray(sheet.crop((0, 0, *SIZE))).std() == 0


def test_a_heat_map_is_drawn_where_there_is_no_mask() -> None:
    heat = Image.new("L", (64, 48))
    heat.paste(255, (32, 0, 64, 48))
    buffer = io.BytesIO()
    heat.save(buffer, "PNG")
    hot = replace(facts((), has_mask=False), heat_map=buffer.getvalue())
    sheet = opened(draw_overlay(picture(SIZE, "PNG"), None, hot))
    assert sheet.getpixel((100, 240)) == (90, 90, 90)
    red, green, blue = sheet.getpixel((540, 240))  # type: ignore[misc]
    assert red > 150
    assert max(green, blue) < 60
    damaged = replace(hot, heat_map=b"\x89PNG\r\n\x1a\n")
    assert opened(draw_overlay(picture(SIZE, "PNG"), None, damaged)).getpixel((540, 240)) == (
        90,
        90,
        90,
    )


def test_a_small_image_is_enlarged_by_whole_numbers() -> None:
    sheet = opened(draw_overlay(picture((100, 80), "PNG"), mask((100, 80)), facts()))
    assert sheet.width == 500


def test_many_long_names_are_wrapped_into_the_width() -> None:
    many = tuple(ReportAnomaly(f"type number {number}" * 3, 0.1, "#1F77B4") for number in range(12))
    one = opened(draw_overlay(picture(SIZE, "PNG"), mask(SIZE), facts()))
    sheet = opened(draw_overlay(picture(SIZE, "PNG"), mask(SIZE), facts(many)))
    assert sheet.width == one.width
    assert sheet.height > one.height + 100


@pytest.mark.parametrize("data", [b"", b"not a picture", picture()[:200]])
def test_an_unreadable_image_has_no_overlay(data: bytes) -> None:
    assert draw_overlay(data, mask(), facts()) is None
