"""The HTML report of a run."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lfv.report import (
    MOST_ACCEPTED,
    ReportAnomaly,
    ReportCounts,
    ReportEvaluation,
    ReportHosting,
    ReportImage,
    RunReport,
    render_report,
)
from lfv.report.figures import duration, money, percent, without_password
from lfv.report.markup import Html, tag, visible
from lfv.report.thumbnails import make_thumbnail

STARTED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOSTILE = 'x/"><script>alert(1)</script><img src=y onerror=alert(2)>\u202egpj.exe\n.jpg'


def picture(size: tuple[int, int] = (320, 240), kind: str = "JPEG", mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 90).save(buffer, kind)
    return buffer.getvalue()


def mask(size: tuple[int, int] = (320, 240)) -> bytes:
    """White, with a blue scratch one pixel thin and a green square."""
    pixels = np.full((size[1], size[0], 3), 255, np.uint8)
    pixels[size[1] // 2, 20 : size[0] - 20] = (0x1F, 0x77, 0xB4)
    pixels[10:40, 10:40] = (0x2C, 0xA0, 0x2C)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def rejected(line: int = 7, name: str = "parts/a.jpg") -> ReportImage:
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


@pytest.fixture
def run() -> RunReport:
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
        rejected=[rejected()],
        review=[replace(rejected(8, "parts/b.jpg"), verdict="review")],
        accepted=[ReportImage(1, "parts/c.jpg", "accept", is_anomalous=False, confidence=0.99)],
        errors=[
            ReportImage(
                9, "parts/d.jpg", error_code="image_truncated", error_message="The end is missing."
            )
        ],
        errors_by_code={"image_truncated": 2},
        policy={"confidence": 0.8},
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
        evaluation=ReportEvaluation(
            30, 7, 1, 20, 2, 0.875, 0.778, 0.824, 0.97, 0.95, {"dent": 0.7}
        ),
        database_url="postgresql://me:secret@db/lfv",
    )


class Page(HTMLParser):
    """The tags, attributes and text of a page, as a browser takes them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((name, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, name: str) -> Iterator[dict[str, str | None]]:
        return (attributes for tag_name, attributes in self.tags if tag_name == name)


def render(run: RunReport, folder: Path) -> Page:
    return Page(render_report(run, folder).path.read_text(encoding="utf-8"))


def test_the_page_says_what_happened(run: RunReport, tmp_path: Path) -> None:
    text = " ".join(" ".join(render(run, tmp_path).text).split())
    for expected in (
        "Inspection of flange, version 3",
        "completed",
        "20 accepted",
        "anomalous with confidence 0.97, limit 0.8",
        "scratch 0.31",
        "FL-26007",
        "labelled normal",
        "image_truncated",
        "The end is missing.",
        "0.13 USD",
        "2 min",
        "IoU dent 0.700",
        "FROM inspection_results",
        f"WHERE run_id = '{run.run_id}';",
        "postgresql://me:***@db/lfv",
        "first 1 of 7",
    ):
        assert expected in text, expected
    assert "secret" not in text


def test_pictures_lie_beside_the_page_and_nothing_else_is_loaded(
    run: RunReport, tmp_path: Path
) -> None:
    page = render(run, tmp_path)
    sources = [str(attributes["src"]) for attributes in page.all("img")]
    assert sources
    for source in sources:
        assert re.fullmatch(r"thumbnails/\d{7}(-plain)?\.jpg", source)
        assert (tmp_path / source).is_file()
    for attributes in page.all("script"):
        assert "src" not in attributes
    assert not list(page.all("a"))
    assert not list(page.all("link"))


def test_hostile_values_are_only_ever_text(run: RunReport, tmp_path: Path) -> None:
    plain = render(run, tmp_path / "plain")
    bad = replace(
        rejected(7, HOSTILE),
        reasons=[HOSTILE],
        anomalies=[ReportAnomaly(HOSTILE, 0.1, '#fff;background:url("http://evil/")')],
        attributes={HOSTILE: {"deep": [HOSTILE]}},
    )
    hostile = replace(
        run,
        run_id="'; DROP TABLE runs; --",
        project=HOSTILE,
        source=HOSTILE,
        status="completed",
        message=HOSTILE,
        notes=[HOSTILE],
        rejected=[bad],
        errors=[ReportImage(9, HOSTILE, error_code=HOSTILE, error_message=HOSTILE)],
        errors_by_code={HOSTILE: 2},
        policy={HOSTILE: HOSTILE},
        policy_sha256=HOSTILE,
        flow_run_id=HOSTILE,
        facts={HOSTILE: HOSTILE},
    )
    page = render(hostile, tmp_path / "bad")
    assert len(list(page.all("script"))) == len(list(plain.all("script"))) == 1
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert "url(" not in (attributes.get("style") or "")
    raw = (tmp_path / "bad" / "report.html").read_text(encoding="utf-8")
    assert "\u202e" not in raw
    assert "\\u202egpj.exe" in raw
    assert "''; DROP TABLE" in "".join(page.text)


def test_a_content_security_policy_allows_our_script_only(run: RunReport, tmp_path: Path) -> None:
    page = render(run, tmp_path)
    policies = [
        str(attributes["content"])
        for attributes in page.all("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    assert "default-src 'none'" in policies[0]
    assert "script-src 'sha256-" in policies[0]


def test_an_image_that_cannot_be_read_costs_only_its_thumbnail(
    run: RunReport, tmp_path: Path
) -> None:
    def gone() -> bytes:
        raise ConnectionError("no such bucket")

    broken = [
        replace(rejected(1, "gone.jpg"), read=gone),
        replace(rejected(2, "text.jpg"), read=lambda: b"not a picture"),
        replace(rejected(3, "half.jpg"), read=lambda: picture()[:200]),
        replace(rejected(4, "mask.jpg"), mask_png=b"not a mask"),
    ]
    rendered = render_report(replace(run, rejected=broken, review=[], accepted=[]), tmp_path)
    assert list(rendered.thumbnails) == [4]
    assert rendered.path.read_text(encoding="utf-8").count("no picture") == 3


def test_rendering_again_leaves_nothing_of_the_first_time(run: RunReport, tmp_path: Path) -> None:
    render_report(run, tmp_path)
    again = render_report(replace(run, review=[]), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "thumbnails"}
    assert {path.name for path in (tmp_path / "thumbnails").iterdir()} == {
        "0000007.jpg",
        "0000007-plain.jpg",
    }
    assert dict(again.thumbnails) == {7: tmp_path / "thumbnails" / "0000007.jpg"}


def test_an_empty_and_failed_run_has_a_report(tmp_path: Path) -> None:
    run = RunReport(
        run_id="r",
        project="p",
        model_version="1",
        host="edge",
        source="empty.manifest",
        status="failed",
        message="The manifest has no lines.",
        counts=ReportCounts(0, 0, 0, 0, 0),
    )
    text = " ".join(render(run, tmp_path).text)
    assert "The manifest has no lines." in text
    assert "never started" in text


@pytest.mark.parametrize(
    ("size", "expected"), [((4096, 64), (320, 5)), ((64, 64), (64, 64)), ((300, 400), (240, 320))]
)
def test_thumbnails_keep_the_picture_s_shape(
    size: tuple[int, int], expected: tuple[int, int], tmp_path: Path
) -> None:
    made = make_thumbnail(picture(size), None, (), tmp_path / "t")
    assert made is not None
    assert made.plain is None
    with Image.open(made.marked) as image:
        assert image.size == expected == (made.width, made.height)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "L"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "I;16"), ("PNG", "1"), ("JPEG", "CMYK")],
)
def test_every_kind_of_picture_gets_a_thumbnail(kind: str, mode: str, tmp_path: Path) -> None:
    made = make_thumbnail(picture((64, 64), kind, mode), None, (), tmp_path / "t")
    assert made is not None
    with Image.open(made.marked) as image:
        assert image.mode == "RGB"


def test_a_scratch_one_pixel_thin_is_still_marked_on_a_small_thumbnail(tmp_path: Path) -> None:
    size = (2000, 1500)
    made = make_thumbnail(picture(size), mask(size), ["#1f77b4"], tmp_path / "t", size=160)
    assert made is not None
    assert made.plain is not None
    with Image.open(made.marked) as marked, Image.open(made.plain) as plain:
        difference = np.abs(np.asarray(marked, np.int16) - np.asarray(plain, np.int16)).max(axis=2)
    assert difference[58:63, 10:150].max(axis=0).min() > 25
    assert difference[:30].max() < 12  # the green square was not asked for


def test_html_is_escaped_unless_it_is_html() -> None:
    assert tag("p", "<b>", None, Html("<i>x</i>"), ["&", 3], class_="a", hidden=False) == (
        '<p class="a">&lt;b&gt;<i>x</i>&amp;3</p>'
    )
    assert tag("img", alt='"', tabindex=None, hidden=True) == '<img alt="&quot;" hidden>'


def test_visible_shortens_and_escapes() -> None:
    assert visible("a\u202eb\x00\n") == "a\\u202eb\\x00\\n"
    assert visible("\ud800") == "\\ud800"
    assert visible("x" * 500, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (percent(0.5), "50.0\u00a0%"),
        (percent(1.0), "100.0\u00a0%"),
        (percent(0.99999), "> 99.9\u00a0%"),
        (percent(0.00001), "< 0.1\u00a0%"),
        (percent(0.0), "0.0\u00a0%"),
        (duration(42.42), "42.4 s"),
        (duration(4210), "70 min"),
        (duration(8000), "2 h 13 min"),
        (money(0.0136), "0.0136 USD"),
        (money(12.5), "12.50 USD"),
        (without_password("sqlite:////a/b.db"), "sqlite:////a/b.db"),
        (without_password("postgresql://u:p:w@h/d"), "postgresql://u:***@h/d"),
        (without_password("postgresql://h/d?password=x&a=1"), "postgresql://h/d?password=***&a=1"),
    ],
)
def test_figures(shown: str, expected: str) -> None:
    assert shown == expected


def test_of_many_accepted_images_only_the_first_are_fetched(run: RunReport, tmp_path: Path) -> None:
    fetched: list[int] = []

    def accepted(line: int) -> ReportImage:
        def read() -> bytes:
            fetched.append(line)
            return picture((64, 64))

        return ReportImage(line, f"{line}.jpg", "accept", read=read)

    many = [accepted(line) for line in range(1, 200)]
    rendered = render_report(replace(run, accepted=many, rejected=[], review=[]), tmp_path)
    assert sorted(fetched) == list(range(1, MOST_ACCEPTED + 1)) == sorted(rendered.thumbnails)


def test_a_long_report_is_made_quickly(run: RunReport, tmp_path: Path) -> None:
    many: Sequence[ReportImage] = [replace(rejected(line), read=None) for line in range(500)]
    rendered = render_report(replace(run, rejected=many), tmp_path)
    assert rendered.path.stat().st_size < 2_000_000
