"""The HTML report of a run."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lfv.report import (
    MOST_ACCEPTED,
    ReportAnomaly,
    ReportAnswer,
    ReportCounts,
    ReportImage,
    ReportLimit,
    ReportType,
    RunReport,
    write_run_report,
)
from lfv.report.charts import histogram, pareto
from lfv.report.figures import color, duration, money, percent
from lfv.report.render import visible
from tests.support.report_samples import Page, many_rejected, picture, rejected_image

HOSTILE = 'x/"><script>alert(1)</script><img src=y onerror=alert(2)>\u202egpj.exe\n.jpg'


def render(run: RunReport, folder: Path) -> Page:
    return Page(write_run_report(run, folder).read_text(encoding="utf-8"))


def test_the_page_has_every_fact_of_the_run(run: RunReport, tmp_path: Path) -> None:
    text = render(run, tmp_path).text
    for expected in (
        "flange, model version 3: 7 of 30 rejected, 2026-03-04",
        "completed",
        "20 accepted",
        "25.0 % defect rate",
        "1 escape : labelled an anomaly, but accepted.",
        "1 false alarm : labelled normal, but rejected.",
        "anomalous with confidence 0.97, limit 0.8",
        "scratch 0.31",
        "FL-26007",
        "labelled normal",
        "image_truncated",
        "The end is missing.",
        "0.13 USD",
        "6.0 s (5.0 % of the paid time)",
        "2 min",
        "IoU of dent 0.700",
        "mara (lfv inspect)",
        "FROM inspection_results",
        f"WHERE run_id = '{run.run_id}';",
        "postgresql://me:***@db/lfv",
        "first 1 of 7",
        "lfv-audit:57:",
        "reject from 0.8",
    ):
        assert expected.replace(" :", ":") in text.replace(" :", ":"), expected
    assert "secret" not in text


def test_the_report_is_one_file_that_loads_nothing(run: RunReport, tmp_path: Path) -> None:
    page = render(run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    sources = [str(attributes["src"]) for attributes in page.all("img")]
    assert len(sources) == 5  # three pictures, two of them with marks
    for source in sources:
        kind, _, data = source.partition(";base64,")
        assert kind in {"data:image/jpeg", "data:image/png"}
        assert base64.b64decode(data, validate=True)
    assert not any("src" in attributes for attributes in page.all("script"))
    assert all(str(attributes["href"]).startswith("#line-") for attributes in page.all("a"))
    assert not list(page.all("link"))


def test_hostile_values_are_only_ever_text(run: RunReport, tmp_path: Path) -> None:
    plain = render(run, tmp_path / "plain")
    bad = replace(
        rejected_image(7, HOSTILE),
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
        triggered_by=HOSTILE,
        facts={HOSTILE: HOSTILE},
        limits=[ReportLimit(True, 0.8, HOSTILE)],
        types=[ReportType(HOSTILE, 3, "red;background:url(http://evil/)")],
    )
    page = render(hostile, tmp_path / "bad")
    assert len(list(page.all("script"))) == len(list(plain.all("script"))) == 1
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert "url(" not in (attributes.get("style") or "")
    raw = (tmp_path / "bad" / "report.html").read_text(encoding="utf-8")
    assert "\u202e" not in raw
    assert "\\u202egpj.exe" in raw
    assert "''; DROP TABLE" in page.text


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


def test_an_unreadable_image_only_lacks_its_picture(run: RunReport, tmp_path: Path) -> None:
    def gone() -> bytes:
        raise ConnectionError("no such bucket")

    broken = [
        replace(rejected_image(1, "gone.jpg"), read=gone),
        replace(rejected_image(2, "text.jpg"), read=lambda: b"not a picture"),
        replace(rejected_image(3, "half.jpg"), read=lambda: picture()[:200]),
        replace(rejected_image(4, "mask.jpg"), mask_png=b"not a mask"),
    ]
    page = render(replace(run, rejected=broken, review=[], accepted=[], escaped=[]), tmp_path)
    assert page.text.count("no picture") == 3
    assert [image["alt"] for image in page.all("img")] == ["mask.jpg"]


def test_rendering_again_replaces_the_report(run: RunReport, tmp_path: Path) -> None:
    render(run, tmp_path)
    again = render(replace(run, review=[]), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert "b.jpg" not in again.text


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
    text = render(run, tmp_path).text
    assert "The manifest has no lines." in text
    assert "never started" in text
    assert "defect rate" not in text


def test_a_run_without_labels_does_not_mention_escapes(run: RunReport, tmp_path: Path) -> None:
    text = render(replace(run, evaluation=None, escaped=[]), tmp_path).text
    assert "escape" not in text.partition("About this run")[0].lower()


def test_only_the_first_accepted_images_are_read(run: RunReport, tmp_path: Path) -> None:
    fetched: list[int] = []

    def accepted(line: int) -> ReportImage:
        def read() -> bytes:
            fetched.append(line)
            return picture((64, 64))

        return ReportImage(line, f"{line}.jpg", "accept", read=read)

    many = [accepted(line) for line in range(1, 200)]
    render(replace(run, accepted=many, rejected=[], review=[], escaped=[]), tmp_path)
    assert sorted(fetched) == list(range(1, MOST_ACCEPTED + 1))


def test_a_report_with_many_images_fits_into_a_mail(tmp_path: Path) -> None:
    assert write_run_report(many_rejected(200), tmp_path).stat().st_size < 2_000_000


def test_the_histogram_runs_from_surely_normal_to_surely_anomalous() -> None:
    answers = [
        ReportAnswer(False, 1.0, "accept"),
        ReportAnswer(False, 0.51, "review"),
        ReportAnswer(True, 0.8, "reject", images=2),
        ReportAnswer(True, 1.0, "reject"),
    ]
    limits = [ReportLimit(True, 0.8, "reject"), ReportLimit(False, 0.75, "review")]
    chart = histogram(answers, limits)
    assert chart is not None
    assert [bar.images for bar in chart.bars] == [1, *[0] * 8, 1, *[0] * 6, 2, *[0] * 2, 1]
    assert [round(line.left, 3) for line in chart.limits] == [0.8, 0.25]
    assert chart.bars[16].parts == (("reject", 2),)
    assert chart.bars[16].height == 1.0


@pytest.mark.parametrize("lowest", [0, 500])
def test_a_histogram_of_tallies_in_percent_is_that_of_the_answers(lowest: int) -> None:
    """The pages count confidences that are rounded down, the report counts the answers."""
    shares = [thousandth / 1000 for thousandth in range(lowest, 1001)]
    exact = histogram([ReportAnswer(True, share, "reject") for share in shares], [])
    tallied = [ReportAnswer(True, int(share * 100) / 100, "reject") for share in shares]
    assert exact is not None
    assert histogram(tallied, []) == exact
    counts = [bar.images for bar in exact.bars if bar.is_anomalous]
    assert counts == [50] * (len(counts) - 1) + [51]


def test_a_confidence_on_the_edge_counts_in_the_column_that_begins_there() -> None:
    for edge in range(50, 100, 5):
        share = edge / 100
        chart = histogram([ReportAnswer(True, share, "reject")], [ReportLimit(True, share, "x")])
        assert chart is not None
        (place,) = (at for at, bar in enumerate(chart.bars) if bar.images)
        assert chart.bars[place].low == share
        assert chart.limits[0].left == pytest.approx(place / len(chart.bars))


def test_a_histogram_of_lower_confidence_starts_at_zero() -> None:
    chart = histogram([ReportAnswer(True, 0.2, "accept")], [])
    assert chart is not None
    assert (chart.lowest, sum(bar.images for bar in chart.bars)) == (0.0, 1)
    assert histogram([], []) is None


def test_anomaly_types_are_ranked_and_added_up() -> None:
    rows = pareto([ReportType("a", 1), ReportType("b", 6), ReportType("c", 3)])
    assert [(row.name, row.images, round(row.cumulative, 2)) for row in rows] == [
        ("b", 6, 0.6),
        ("c", 3, 0.9),
        ("a", 1, 1.0),
    ]
    many = pareto([ReportType(f"t{number:02d}", 1) for number in range(40)])
    assert (len(many), many[-1].name, many[-1].images) == (12, "29 others", 29)
    assert pareto([]) == ()


def test_visible_shortens_and_escapes() -> None:
    assert visible("a\u202eb\x00\n") == "a\\u202eb\\x00\\n"
    assert visible("\ud800") == "\\ud800"
    assert visible("x" * 500, 10) == "x" * 9 + "…"


def test_a_long_message_is_not_cut_at_the_length_of_a_name(run: RunReport, tmp_path: Path) -> None:
    text = render(replace(run, message="m" * 900 + "end"), tmp_path).text
    assert "mend" in text


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
        (color("#1F77b4"), "#1F77b4"),
        (color("#1F77b4;x:y"), None),
        (color("red"), None),
    ],
)
def test_figures(shown: str | None, expected: str | None) -> None:
    assert shown == expected


def test_attributes_of_the_template_are_never_unquoted() -> None:
    """Autoescaping protects quoted attributes only."""
    folder = Path(__file__).parents[2] / "lfv" / "report" / "templates"
    for template in folder.glob("*.html"):
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"=\{\{", text), template.name
