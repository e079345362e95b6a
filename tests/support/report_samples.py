"""A run's report with every part, and pictures for it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from lfv.formats.evaluation import Evaluation, TypeMetrics
from lfv.report import (
    ReportAnomaly,
    ReportAnswer,
    ReportAudit,
    ReportCounts,
    ReportHosting,
    ReportImage,
    ReportLimit,
    ReportType,
    RunReport,
)

STARTED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SIZE = (320, 240)


def picture(
    size: tuple[int, int] = SIZE, kind: str = "JPEG", mode: str = "RGB", shade: int = 90
) -> bytes:
    """Return an even picture."""
    buffer = io.BytesIO()
    Image.new(mode, size, shade if mode != "RGB" else (shade, shade, shade)).save(buffer, kind)
    return buffer.getvalue()


def mask(size: tuple[int, int] = SIZE) -> bytes:
    """Return a white mask with a blue scratch one pixel thin and a green square."""
    pixels = np.full((size[1], size[0], 3), 255, np.uint8)
    pixels[size[1] // 2, 20 : size[0] - 20] = (0x1F, 0x77, 0xB4)
    pixels[10:40, 10:40] = (0x2C, 0xA0, 0x2C)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def rejected_image(line: int = 7, name: str = "parts/a.jpg") -> ReportImage:
    """Return a rejected image that is labelled normal."""
    return ReportImage(
        line_number=line,
        source_ref=name,
        verdict="reject",
        reasons=["anomalous with confidence 0.97, limit 0.8"],
        is_anomalous=True,
        confidence=0.97,
        anomalies=[
            ReportAnomaly("scratch", 0.0031, "#1F77B4"),
            ReportAnomaly("dent", 0.012, "#2ca02c"),
        ],
        expected_is_anomalous=False,
        attributes={"serial": "FL-26007", "lot": 41},
        read=picture,
        mask_png=mask(),
    )


def sample_run() -> RunReport:
    """Return a report with every section."""
    return RunReport(
        run_id="0b6f6a6e-8d1f-4f53-a9d4-6f0f5a1e5a10",
        project="flange",
        model_version="3",
        host="lookoutvision",
        source="s3://parts/lot-41.manifest",
        status="completed",
        counts=ReportCounts(total=30, accepted=20, rejected=7, review=1, errors=2, reused=4),
        started_at=STARTED,
        finished_at=STARTED + timedelta(minutes=3),
        triggered_by="lfv inspect (mara)",
        escaped=[
            ReportImage(
                3,
                "parts/e.jpg",
                "accept",
                is_anomalous=False,
                confidence=0.91,
                expected_is_anomalous=True,
                read=picture,
            )
        ],
        rejected=[rejected_image()],
        review=[replace(rejected_image(8, "parts/b.jpg"), verdict="review")],
        accepted=[ReportImage(1, "parts/c.jpg", "accept", is_anomalous=False, confidence=0.99)],
        errors=[
            ReportImage(
                9, "parts/d.jpg", error_code="image_truncated", error_message="The end is missing."
            )
        ],
        errors_by_code={"image_truncated": 2},
        answers=[
            *(ReportAnswer(False, 0.9 + number / 300, "accept") for number in range(20)),
            *(ReportAnswer(True, 0.8 + number / 40, "reject") for number in range(7)),
            ReportAnswer(True, 0.65, "review"),
        ],
        limits=[ReportLimit(True, 0.8, "reject from 0.8"), ReportLimit(False, 0.7, "review below")],
        types=[ReportType("dent", 7, "#2ca02c"), ReportType("scratch", 3, "#1F77B4")],
        policy={"confidence": 0.8},
        policy_sha256="ab" * 32,
        hosting=ReportHosting(
            started_here=True,
            inference_units=1,
            hosted_at=STARTED,
            stopped_at=STARTED + timedelta(minutes=2),
            paid_seconds=120.0,
            idle_seconds=6.0,
            price_per_unit_hour=4.0,
            cost=0.1333,
        ),
        evaluation=Evaluation(
            *(30, 7, 1, 20, 2, 0.875, 0.778, 0.824, 0.97, 0.95),
            (TypeMetrics("dent", 7, 0.9, 0.8, 0.85, 0.7, 0.72),),
        ),
        escapes=1,
        false_alarms=1,
        audit=ReportAudit(57, "lfv-audit:57:" + "0f" * 32),
        database_url="postgresql://me:***@db/lfv",
    )


def many_rejected(number: int) -> RunReport:
    """Return a report with this many rejected images, all with pictures and marks."""
    photo, marks = picture(), mask()
    images = [
        replace(
            rejected_image(line, f"parts/{line:05d}.jpg"),
            confidence=0.8 + line % 20 / 100,
            attributes={"serial": f"S-{line:05d}"},
            read=lambda: photo,
            mask_png=marks,
        )
        for line in range(1, number + 1)
    ]
    return replace(
        sample_run(),
        counts=ReportCounts(number, 0, number, 0, 0),
        rejected=images,
        review=[],
        escaped=[],
        accepted=[],
        errors=[],
        errors_by_code={},
    )


class Page(HTMLParser):
    """The tags, attributes and text of a page, as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.feed(text)
        self.close()

    @property
    def text(self) -> str:
        """The text, its white space as single blanks."""
        return " ".join(" ".join(self.pieces).split())

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((name, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def all(self, name: str) -> Iterator[dict[str, str | None]]:
        """The attributes of every tag of this name."""
        return (attributes for tag_name, attributes in self.tags if tag_name == name)
