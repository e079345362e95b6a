"""The pictures of a report: one card for each image, one table row for each failed line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lfv.report.data import ReportImage
from lfv.report.figures import percent, percent_of_area
from lfv.report.markup import Html, tag, visible
from lfv.report.thumbnails import Thumbnail, make_thumbnail

_MOST_ATTRIBUTES = 10
_THREADS = 4
_VERDICTS: Mapping[str, str] = {"accept": "accepted", "reject": "rejected", "review": "to review"}


def thumbnails(images: Iterable[ReportImage], folder: Path) -> dict[int, Thumbnail]:
    """Make the thumbnails of `images` in `folder`; those that have none are left out.

    Several at a time: most of the time goes into fetching and decoding.
    """
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="thumbnails") as pool:
        made = pool.map(lambda image: (image.line_number, _thumbnail(image, folder)), images)
        return {line: thumbnail for line, thumbnail in made if thumbnail is not None}


def _thumbnail(image: ReportImage, folder: Path) -> Thumbnail | None:
    data = _read(image)
    if data is None:
        return None
    colors = [anomaly.color for anomaly in image.anomalies if anomaly.color]
    return make_thumbnail(data, image.mask_png, colors, folder / f"{image.line_number:07d}")


def _read(image: ReportImage) -> bytes | None:
    if image.read is None:
        return None
    try:
        return image.read()
    except Exception:  # noqa: BLE001 - a picture that is gone must not cost the report
        return None


def card(image: ReportImage, thumbnail: Thumbnail | None) -> Html:
    """One image with its verdict and what led to it."""
    reference = visible(image.source_ref)
    name = visible(image.source_ref.rstrip("/").rpartition("/")[2] or image.source_ref, 80)
    return tag(
        "article",
        _picture(thumbnail, name),
        tag(
            "div",
            tag("div", name, class_="name"),
            tag("div", _badge(image), _answer(image), class_="top"),
            _anomalies(image),
            tag("ul", [tag("li", visible(reason)) for reason in image.reasons])
            if image.reasons
            else None,
            _attributes(image),
            tag("div", tag("code", reference, class_="soft")) if reference != name else None,
            class_="body",
        ),
        class_="card",
        data_entry=True,
    )


def _picture(thumbnail: Thumbnail | None, name: str) -> Html:
    if thumbnail is None:
        return tag("div", "no picture", class_="picture")
    size = {"width": thumbnail.width, "height": thumbnail.height, "decoding": "async"}
    folder = thumbnail.marked.parent.name
    plain = thumbnail.plain
    return tag(
        "div",
        tag("img", src=f"{folder}/{thumbnail.marked.name}", alt=name, **size),
        tag("img", src=f"{folder}/{plain.name}", alt="", class_="plain", **size) if plain else None,
        class_="picture",
        title="Point at the picture to see it without the marks" if plain else None,
        tabindex="0" if plain else None,
    )


def _badge(image: ReportImage) -> Html:
    if image.verdict is None:
        return tag("span", visible(image.error_code or "error", 60), class_="badge error")
    style = image.verdict if image.verdict in _VERDICTS else ""
    word = _VERDICTS.get(image.verdict, image.verdict)
    return tag("span", visible(word, 40), class_=f"badge {style}".strip())


def _answer(image: ReportImage) -> list[Html]:
    """What the model said, and what the label says when that is something else."""
    parts: list[Html] = []
    if image.is_anomalous is not None:
        word = "anomaly" if image.is_anomalous else "normal"
        sure = f" {percent(image.confidence)}" if image.confidence is not None else ""
        parts.append(tag("span", word, sure, title="the model's answer and its confidence"))
        if image.expected_is_anomalous not in {None, image.is_anomalous}:
            label = "anomaly" if image.expected_is_anomalous else "normal"
            parts.append(tag("span", f"labelled {label}", class_="badge review"))
    parts.append(tag("span", f"line {image.line_number}", class_="soft"))
    if image.reused:
        parts.append(tag("span", "reused answer", class_="badge"))
    return parts


def _anomalies(image: ReportImage) -> Html | None:
    chips = [
        tag(
            "span",
            swatch(anomaly.color),
            visible(anomaly.name, 60),
            f" {percent_of_area(anomaly.area)}",
            class_="chip",
        )
        for anomaly in image.anomalies
    ]
    return tag("div", chips, class_="chips") if chips else None


def swatch(color: str | None) -> Html | None:
    """A small square in `color`; None unless it is ``#RRGGBB``."""
    digits = (color or "").removeprefix("#")
    if len(digits) != 6 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
        return None
    return tag("i", class_="swatch", style=f"background:#{digits}")


def _attributes(image: ReportImage) -> Html | None:
    items = list(image.attributes.items())
    chips = [
        tag("span", tag("b", visible(key, 40), " "), visible(value, 80), class_="chip")
        for key, value in items[:_MOST_ATTRIBUTES]
    ]
    if len(items) > _MOST_ATTRIBUTES:
        chips.append(tag("span", f"and {len(items) - _MOST_ATTRIBUTES} more", class_="chip"))
    return tag("div", chips, class_="chips") if chips else None


def error_row(image: ReportImage) -> Html:
    """A line that could not be inspected, as a table row."""
    message = (image.error_message or "").removeprefix(f"{image.error_code}: ")
    return tag(
        "tr",
        tag("td", image.line_number, class_="number narrow"),
        tag("td", _badge(image), class_="narrow"),
        tag(
            "td",
            tag("code", visible(image.source_ref)),
            tag("p", visible(message), class_="soft"),
            _attributes(image),
        ),
        data_entry=True,
    )
