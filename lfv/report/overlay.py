"""Overlays: an image at full size with its marks, and a legend of what the model found."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from lfv.report.figures import percent, percent_of_area
from lfv.report.marks import draw_heat, draw_marks, open_picture
from lfv.report.render import visible
from lfv.report.run_values import ReportAnomaly

_INK, _GROUND, _SOFT = (20, 24, 31), (255, 255, 255), (90, 98, 112)
_VERDICTS = {
    "accept": ("accepted", (24, 122, 63)),
    "reject": ("rejected", (179, 38, 30)),
    "review": ("to review", (131, 84, 0)),
}
#: Smaller images are enlarged to this width, so that marks and legend are legible.
_NARROWEST = 480
_NAME_CHARACTERS = 120

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class OverlayFacts:
    """The content of an image's legend; `confidence` is that of the answer, 0 to 1."""

    name: str
    verdict: str
    is_anomalous: bool
    confidence: float
    anomalies: Sequence[ReportAnomaly] = ()
    has_mask: bool = False
    #: A PNG of grey levels, drawn if there is no mask.
    heat_map: bytes | None = None
    #: When and by whom the mask was deleted, in words.
    mask_deleted: str | None = None


def draw_overlay(data: bytes, mask_png: bytes | None, facts: OverlayFacts) -> bytes | None:
    """Return a PNG of the image with its marks above a legend; None if `data` is unreadable.

    The image keeps its pixels, unless it is narrower than the legend needs: then each of them
    becomes a square of several.
    """
    picture = open_picture(data)
    if picture is None:
        return None
    factor = -(-_NARROWEST // picture.width)
    if factor > 1:
        size = (picture.width * factor, picture.height * factor)
        picture = picture.resize(size, Image.Resampling.NEAREST)
    line = max(2, round(max(picture.size) / 500))
    marks = draw_marks(mask_png, [anomaly.color for anomaly in facts.anomalies], picture.size, line)
    if marks is None and not facts.has_mask:
        marks = draw_heat(facts.heat_map, picture.size)
    if marks is not None:
        picture = Image.alpha_composite(picture.convert("RGBA"), marks).convert("RGB")
    legend = _legend(picture.width, facts)
    sheet = Image.new("RGB", (picture.width, picture.height + legend.height), _GROUND)
    sheet.paste(picture, (0, 0))
    sheet.paste(legend, (0, picture.height))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _font(size: int) -> Font:
    """Load a system font with many scripts, or else the one of Pillow."""
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)


def _legend(width: int, facts: OverlayFacts) -> Image.Image:
    """Draw the band below the image: name, verdict, answer, and a swatch per anomaly type."""
    size = max(14, round(width / 50))
    font, step, margin = _font(size), round(1.6 * size), round(0.8 * size)
    word, color = _VERDICTS.get(facts.verdict, (facts.verdict, _INK))
    answer = "anomaly" if facts.is_anomalous else "normal"
    rows: list[list[_Piece]] = [[_Piece(visible(facts.name, _NAME_CHARACTERS), _INK)]]
    rows.append(
        [_Piece(word, color), _Piece(f"{answer}, confidence {_plain(percent(facts.confidence))}")]
    )
    types = [
        _Piece(
            f"{visible(one.name, 60)} {_plain(percent_of_area(one.area))}", _INK, swatch=one.color
        )
        for one in facts.anomalies
    ]
    if not types:
        text = "no anomaly in the mask" if facts.has_mask else "the answer has no mask"
        if facts.heat_map and not facts.has_mask:
            text = "heat map: where the image differs from normal ones"
        types = [] if facts.mask_deleted else [_Piece(text, _SOFT)]
    if facts.mask_deleted:
        types.append(_Piece(visible(facts.mask_deleted, 100), _SOFT))
    rows += _wrap(types, font, width - 2 * margin, size)
    band = Image.new("RGB", (width, 2 * margin + step * len(rows)), _GROUND)
    draw = ImageDraw.Draw(band)
    for number, row in enumerate(rows):
        left, top = float(margin), margin + number * step
        for piece in row:
            if piece.swatch is not None:
                box = (left, top + size * 0.15, left + size * 0.9, top + size * 1.05)
                draw.rectangle(box, fill=piece.swatch, outline=_INK)
                left += size * 1.3
            draw.text((left, top), piece.text, fill=piece.color, font=font)
            left += font.getlength(piece.text) + 1.5 * size
    return band


@dataclass(frozen=True)
class _Piece:
    text: str
    color: tuple[int, int, int] = _INK
    swatch: str | None = None


def _wrap(pieces: Sequence[_Piece], font: Font, width: float, size: int) -> list[list[_Piece]]:
    rows: list[list[_Piece]] = [[]]
    left = 0.0
    for piece in pieces:
        needed = font.getlength(piece.text) + 2.8 * size
        if rows[-1] and left + needed > width:
            rows.append([])
            left = 0.0
        rows[-1].append(piece)
        left += needed
    return rows


def _plain(text: str) -> str:
    return text.replace("\u00a0", " ")
