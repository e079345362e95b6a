"""The rejected parts of a run as Markdown with pictures, for the flow run's page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from lfv.report import ReportImage
from lfv.report.thumbnails import Thumbnail, make_thumbnails

#: Pictures are data URIs of some kilobytes; an artifact is one row of Prefect's database.
MOST_SHOWN = 12
_MOST_ATTRIBUTES = 4


def rejects_markdown(images: Sequence[ReportImage], total: int) -> str | None:
    """Describe the first rejected parts: picture, serial number, lot, anomaly types, reasons.

    None if there are none.
    """
    shown = list(images[:MOST_SHOWN])
    if not shown:
        return None
    pictures = make_thumbnails(shown)
    lines = [f"# {total} rejected", ""]
    if total > len(shown):
        lines += [
            f"The first {len(shown)} of them; the report and the database have all of them.",
            "",
        ]
    for image in shown:
        lines += [f"## Line {image.line_number}: `{_inline(image.source_ref)}`", ""]
        picture = pictures.get(image.line_number)
        if picture is not None:
            lines += [f"![line {image.line_number}]({_data_uri(picture)})", ""]
        lines += [f"- {fact}" for fact in _facts(image)]
        lines.append("")
    return "\n".join(lines)


def _data_uri(thumbnail: Thumbnail) -> str:
    """Return the photo with its marks as a data URI."""
    photo = thumbnail.photo
    if thumbnail.marks is not None:
        with Image.open(io.BytesIO(photo)) as picture, Image.open(io.BytesIO(thumbnail.marks)) as m:
            marked = Image.alpha_composite(picture.convert("RGBA"), m.convert("RGBA"))
        buffer = io.BytesIO()
        marked.convert("RGB").save(buffer, "JPEG", quality=80)
        photo = buffer.getvalue()
    return f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}"


def _facts(image: ReportImage) -> list[str]:
    facts = [f"{_inline(name)}: {_inline(value)}" for name, value in _attributes(image.attributes)]
    if image.anomalies:
        areas = (f"{_inline(anomaly.name)} ({anomaly.area:.2%})" for anomaly in image.anomalies)
        facts.append(f"anomalies: {', '.join(areas)}")
    if image.confidence is not None:
        facts.append(f"confidence {image.confidence:.3f}")
    return facts + [_inline(reason) for reason in image.reasons]


def _attributes(attributes: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the first attributes with scalar values, such as a serial number."""
    plain = [(name, value) for name, value in attributes.items() if isinstance(value, str | int)]
    return plain[:_MOST_ATTRIBUTES]


def _inline(value: object) -> str:
    """Return text on a single line, escaped for Markdown."""
    text = " ".join(str(value).split())
    for character in "\\`*_[]<>|":
        text = text.replace(character, f"\\{character}" if character not in "<>`" else " ")
    return text
