"""The reports in a real browser, tested by what is visible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lfv.report import (
    JudgedImage,
    ReportCounts,
    ReportImage,
    TrainedType,
    TrainingReport,
    write_run_report,
    write_training_report,
)
from tests.conftest import skip_or_fail
from tests.support.browser import Visit, chromium, launched, visit
from tests.support.report_samples import many_rejected, picture, rejected_image, sample_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 800}
#: The headings of the images.
NAMES = ".cards .card h3"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        skip_or_fail("there is no Chromium to test pages in")
    assert path is not None
    with launched(path) as running:
        yield running


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve rejects, two of them false alarms, an escape, one to review, one accepted."""
    run = sample_run()
    rejected = [
        replace(
            rejected_image(line, f"parts/r{line}.jpg"),
            confidence=0.99 - line / 100,
            attributes={"serial": f"FL-{line}"},
            expected_is_anomalous=line > 11,
            anomalies=rejected_image().anomalies[line % 2 :],
        )
        for line in range(10, 22)
    ]
    accepted = ReportImage(40, "parts/c.jpg", "accept", is_anomalous=False, confidence=0.99)
    counts = ReportCounts(total=17, accepted=2, rejected=12, review=1, errors=2)
    run = replace(run, rejected=rejected, accepted=[accepted], counts=counts)
    return write_run_report(run, tmp_path_factory.mktemp("report"))


@pytest.fixture
def seen(browser: Browser, report: Path) -> Iterator[Visit]:
    with visit(browser, report, viewport=DESKTOP) as found:
        yield found


def test_the_search_field_leaves_only_what_it_finds_visible(seen: Visit) -> None:
    everything = seen.visible(NAMES)
    assert len(everything) == 15
    seen.page.fill("#find", "fl-17")
    seen.page.wait_for_function("document.getElementById('shown').textContent.startsWith('1 ')")
    assert seen.visible(NAMES) == ["r17.jpg"]
    assert seen.visible("h2[id^=section]") == ["Rejected 12"]
    seen.page.fill("#find", "nothing has this name")
    seen.page.wait_for_selector("#nothing", state="visible")
    assert seen.visible(NAMES) == []
    assert seen.visible(".errors .card") == []
    seen.page.fill("#find", "")
    seen.page.wait_for_selector("#nothing", state="hidden")
    assert seen.visible(NAMES) == everything


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("escape", ["e.jpg"]),
        ("review", ["b.jpg"]),
        ("accept", ["c.jpg"]),
        ("false-alarm", ["r10.jpg", "r11.jpg"]),
        ("error", []),
    ],
)
def test_images_are_filtered_by_outcome(seen: Visit, choice: str, expected: list[str]) -> None:
    seen.page.select_option("#group", choice)
    assert seen.visible(NAMES) == expected
    assert bool(seen.visible(".errors .card")) == (choice == "error")


def test_images_are_filtered_by_anomaly_type(seen: Visit) -> None:
    seen.page.select_option("#type", "scratch")
    assert seen.visible(NAMES) == ["b.jpg", *(f"r{line}.jpg" for line in range(10, 22, 2))]


def test_images_are_sorted(seen: Visit) -> None:
    by_line = [f"r{line}.jpg" for line in range(10, 22)]
    rejected = "[data-group=reject] h3"
    assert seen.visible(rejected) == by_line
    seen.page.select_option("#sort", "unsure")
    assert seen.visible(rejected) == by_line[::-1]
    seen.page.select_option("#sort", "area")
    assert seen.visible(rejected) == by_line[::2] + by_line[1::2]
    seen.page.select_option("#sort", "line")
    assert seen.visible(rejected) == by_line


def opacities(seen: Visit) -> set[str]:
    script = "[...document.querySelectorAll('.marks')].map(e => getComputedStyle(e).opacity)"
    return set(seen.page.evaluate(script))


def test_a_key_toggles_the_marks_but_not_while_typing(seen: Visit) -> None:
    assert opacities(seen) == {"1"}
    seen.page.keyboard.press("o")
    assert opacities(seen) == {"0"}
    assert seen.page.get_attribute("#overlays", "aria-pressed") == "false"
    seen.page.keyboard.press("/")
    seen.page.keyboard.type("o")
    assert seen.page.input_value("#find") == "o"
    assert opacities(seen) == {"0"}
    seen.page.click("#overlays")
    seen.page.mouse.move(0, 0)
    assert opacities(seen) == {"1"}


def test_images_are_enlarged_and_browsed_by_keyboard(seen: Visit) -> None:
    seen.page.select_option("#group", "reject")
    seen.page.focus("#line-12 .picture")
    seen.page.keyboard.press("Enter")
    name = seen.page.inner_text("#zoom-name")
    shown = "serial, FL-12 · r12.jpg · rejected, anomaly 87.0 %, line 12 · scratch 0.31"
    assert name.startswith(shown)
    box = seen.page.locator(".stage img").first.bounding_box()
    assert box is not None
    assert box["width"] > 600
    seen.page.keyboard.press("ArrowRight")
    assert "r13.jpg" in seen.page.inner_text("#zoom-name")
    seen.page.keyboard.press("Escape")
    assert seen.visible("#zoom") == []
    focused = seen.page.evaluate("document.activeElement.closest('.card').id")
    assert focused == "line-13"


def test_false_alarms_are_linked_from_the_top(seen: Visit) -> None:
    seen.page.click("a:has-text('r11.jpg')")
    assert seen.page.locator("#line-11").bounding_box() is not None
    assert seen.page.evaluate("document.querySelector(':target').id") == "line-11"


def test_printed_pages_have_every_reject_in_order_four_to_a_row(seen: Visit) -> None:
    seen.page.fill("#find", "fl-17")
    seen.page.select_option("#sort", "unsure")
    seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    seen.page.emulate_media(media="print")
    rejected = seen.page.locator("[data-group=reject]").all()
    boxes = [one.bounding_box() for one in rejected if one.is_visible()]
    names = [one.locator("h3").inner_text() for one in rejected]
    assert names == [f"r{line}.jpg" for line in range(10, 22)]
    tops = [round(box["y"]) for box in boxes if box is not None]
    assert [tops.count(top) for top in sorted(set(tops))] == [4, 4, 4]
    assert seen.visible("#tools") == []
    assert seen.visible("[data-group=accept] h3") == ["c.jpg"]
    assert seen.page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_fits_a_phone(browser: Browser, report: Path, scheme: str) -> None:
    with visit(browser, report, viewport=PHONE, color_scheme=scheme) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        for chart in (".histogram", ".pareto", ".confusion"):
            box = seen.page.locator(chart).first.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= PHONE["width"]


def test_the_training_report_fits_a_phone(browser: Browser, tmp_path: Path) -> None:
    training = TrainingReport(
        project="a-project-with-a-name-as-long-as-names-of-projects-can-become",
        version="3",
        width=640,
        height=480,
        normal=30,
        anomalous=12,
        threshold=0.5,
        out_of_fold=True,
        trained_at=datetime(2026, 3, 4, tzinfo=UTC),
        tested=[
            JudgedImage(f"lot/{'n' * 80}{one}.jpg", False, False, 0.9, 0.1, picture)
            for one in range(4)
        ],
        types=[TrainedType("scratch", "#1F77B4", 8, 0.9, 0.95, 0.85, 0.61)],
        measures={"F1 score": 0.909},
    )
    with visit(browser, write_training_report(training, tmp_path), viewport=PHONE) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        assert len(seen.visible(NAMES)) == 4
        assert seen.page.locator(".picture img").first.is_visible()


@pytest.mark.slow
def test_ten_thousand_images_are_searched_quickly(browser: Browser, tmp_path: Path) -> None:
    run = many_rejected(10_000)
    photo = picture((64, 48))
    run = replace(
        run, rejected=[replace(one, read=lambda: photo, mask_png=None) for one in run.rejected]
    )
    path = write_run_report(run, tmp_path)
    with visit(browser, path, viewport=DESKTOP) as seen:
        seen.page.wait_for_selector("#shown:has-text('10000 of 10000')")
        measured = seen.page.evaluate(
            """async () => {
                const field = document.getElementById('find'), begun = performance.now();
                field.value = 's-07777';
                field.dispatchEvent(new Event('input'));
                while (!document.getElementById('shown').textContent.startsWith('1 '))
                    await new Promise(requestAnimationFrame);
                return performance.now() - begun;
            }"""
        )
        assert measured < 20_000  # under one second on an idle machine
        assert seen.visible("#line-7777 h3") == ["07777.jpg"]
