"""How large a report of many images is, and how long a browser takes to open, search and print it.

    python benchmarks/report.py [--images 10000] [--keep FOLDER]

The images are JPEG files of 640 x 480 pixels with noise, recorded as answers of a run with masks.
Of 10,000 images 6,000 are rejected, 3,940 are to be reviewed and 60 accepted: the report shows all.
`--keep` leaves the report and its PDF in a folder. Needs Chromium.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).parents[1]))

from lfv.run.active import open_reader
from lfv.run.report import report_run
from lfv.settings import Settings, get_settings
from lfv_store import ImageFacts, ModelKey, NewDetection, NewInspection, NewRun, Store, open_store
from tests.support.browser import chromium, launched
from tests.support.ui import POLICY, response

if TYPE_CHECKING:
    from playwright.sync_api import Page

RUN = str(UUID(int=7))
STARTED = datetime(2026, 1, 1, tzinfo=UTC)
SIZE = (640, 480)
DRAWN = 200
ACCEPTED = 60
BATCH = 1000
TYPES = (("scratch", "#1F77B4"), ("dent", "#FF7F0E"), ("stain", "#2CA02C"))

#: Milliseconds until the next frame after a change is on the screen.
CHANGED = """async ([id, value, event]) => {
    const field = document.getElementById(id), begun = performance.now();
    const before = document.getElementById('shown').textContent;
    field.value = value;
    field.dispatchEvent(new Event(event));
    if (event === 'input')
        while (document.getElementById('shown').textContent === before)
            await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    await new Promise((resolve) => setTimeout(resolve));
    return performance.now() - begun;
}"""
#: Scrolls from end to end in steps of a screen; returns the milliseconds of each frame.
SCROLLED = """async () => {
    const frames = [];
    for (let top = 0; top < document.documentElement.scrollHeight; top += innerHeight) {
        const begun = performance.now();
        scrollTo(0, top);
        await new Promise(requestAnimationFrame);
        await new Promise((resolve) => setTimeout(resolve));
        frames.push(performance.now() - begun);
    }
    return frames;
}"""


def picture(number: int, rng: np.random.Generator) -> bytes:
    """A grey part on a noisy ground, with a mark where its anomaly is."""
    noise = rng.normal(0, 9, (SIZE[1], SIZE[0], 1)) + np.array([184, 188, 192])
    image = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse((140, 60, 500, 420), fill=(120, 126, 134), outline=(80, 84, 90), width=4)
    x, y = mark_at(number)
    draw.line((x, y, x + 60, y + 25), fill=(40, 40, 46), width=5)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def mark_at(number: int) -> tuple[int, int]:
    """The position of a picture's anomaly."""
    return 200 + number % DRAWN, 120 + number * 7 % DRAWN


def mask(number: int) -> bytes:
    """The model's mask of a picture's anomaly."""
    image = Image.new("RGB", SIZE, "white")
    x, y = mark_at(number)
    color = TYPES[number % len(TYPES)][1]
    ImageDraw.Draw(image).line((x, y, x + 60, y + 25), fill=color, width=11)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def record(store: Store, images: int, folder: Path) -> None:
    """Write the images and record the run."""
    rng = np.random.default_rng(7)
    drawn = [picture(number, rng) for number in range(DRAWN)]
    masks = [mask(number) for number in range(DRAWN * len(TYPES))]
    folder.mkdir(parents=True)
    key = ModelKey("lookoutvision", "arn:aws:model/flange/1", "flange", "1", STARTED)
    model = store.models.register(key)
    store.runs.start(
        NewRun(RUN, "flange", "1", "lookoutvision", str(folder), POLICY, STARTED, model)
    )

    def line(number: int) -> NewInspection:
        # A comment after the end of the image makes each file different.
        data = drawn[number % DRAWN] + b"%d" % number
        file = folder / f"part-{number:05d}.jpg"
        file.write_bytes(data)
        verdict = "reject" if number % 5 < 3 else "review"
        if number % (images // ACCEPTED) == 3 and number // (images // ACCEPTED) < ACCEPTED:
            verdict = "accept"
        name, color = TYPES[number % len(TYPES)]
        marked = verdict != "accept"
        answer = response(is_anomalous=marked, confidence=0.5 + number % 499 / 1000, scratch=0.0)
        if marked:
            area = {"TotalPercentageArea": number % 97 / 5000, "Color": color}
            answer["Anomalies"].append({"Name": name, "PixelAnomaly": area})
        facts = ImageFacts(hashlib.sha256(data).hexdigest(), "JPEG", *SIZE, len(data))
        png = masks[number % len(masks)] if marked else None
        return NewInspection(
            line_number=number,
            source_ref=str(file),
            inspected_at=STARTED,
            image=facts,
            detection=NewDetection(model, facts.sha256, answer, STARTED, mask_png=png),
            verdict=verdict,  # type: ignore[arg-type]
            reasons=[{"rule": "classification", "text": "Anomalous with confidence 90%."}],
            attributes={"serial": f"FL-{number:05d}", "lot": f"L-{number // 500}"},
        )

    for first in range(1, images + 1, BATCH):
        numbers = range(first, min(first + BATCH, images + 1))
        store.inspections.record(RUN, [line(number) for number in numbers])
    store.runs.set_manifest(RUN, "ab" * 32, images)
    store.runs.set_status(RUN, "completed", None, STARTED + timedelta(minutes=20))


def megabytes_of_page() -> float:
    """Memory of the largest page process of the browser, in MB."""
    parents: dict[int, int] = {}
    pages: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "status").read_text()
            parents[int(folder.name)] = int(re.findall(r"PPid:\s+(\d+)", status)[0])
            if b"--type=renderer" in (folder / "cmdline").read_bytes():
                pages[int(folder.name)] = int(re.findall(r"VmRSS:\s+(\d+)", status)[0])
        except (OSError, IndexError):  # it has ended
            continue

    def is_ours(process: int) -> bool:
        while process and process != os.getpid():
            process = parents.get(process, 0)
        return bool(process)

    return max((kb for one, kb in pages.items() if is_ours(one)), default=0) / 1024


def measure(page: Page, report: Path, pdf: Path) -> dict[str, Any]:
    """Open the report, search, sort, scroll and print it."""
    found: dict[str, Any] = {}
    begun = time.perf_counter()
    page.goto(report.as_uri())
    page.wait_for_selector("#shown:not(:empty)")
    found["seconds until it can be used"] = round(time.perf_counter() - begun, 2)
    page.wait_for_load_state("load")
    found["seconds until all is loaded"] = round(time.perf_counter() - begun, 2)
    found["MB of memory when loaded"] = round(megabytes_of_page())
    for name, change in {
        "ms to find a serial number": ("find", "fl-07777", "input"),
        "ms to show all again": ("find", "", "input"),
        "ms to show one verdict": ("group", "review", "change"),
        "ms to show all verdicts": ("group", "", "change"),
        "ms to show an anomaly type": ("type", "dent", "change"),
        "ms to show all types": ("type", "", "change"),
        "ms to sort by confidence": ("sort", "unsure", "change"),
        "ms to sort by name": ("sort", "name", "change"),
    }.items():
        found[name] = round(page.evaluate(CHANGED, list(change)))
    frames = sorted(page.evaluate(SCROLLED))
    found["screens scrolled"] = len(frames)
    found["ms a screen, median and 99th percentile"] = [
        round(frames[len(frames) // 2]),
        round(frames[int(len(frames) * 0.99)]),
    ]
    found["MB of memory after scrolling"] = round(megabytes_of_page())
    begun = time.perf_counter()
    page.pdf(path=pdf, format="A4")
    found["seconds to print"] = round(time.perf_counter() - begun, 1)
    found["MB of PDF"] = round(pdf.stat().st_size / 1e6, 1)
    found["pages of PDF"] = len(re.findall(rb"/Type /Page\b", pdf.read_bytes()))
    return found


def report_of(settings: Settings, store: Store) -> tuple[Path, dict[str, Any]]:
    """Write the report, which holds its pictures."""
    begun = time.perf_counter()
    with open_reader(settings) as reader:
        report_run(RUN, store, reader, settings, hold_pictures=True)
    path = settings.report_path(RUN)
    return path, {
        "seconds to write": round(time.perf_counter() - begun, 1),
        "MB of file": round(path.stat().st_size / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="folder for the report and its PDF")
    given = parser.parse_args()
    browser = chromium()
    if browser is None:
        sys.exit("there is no Chromium to open the report in")
    with tempfile.TemporaryDirectory(prefix="lfv-bench-") as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        settings = get_settings(home=Path(temporary) / "home", report_limit=20_000)
        with open_store(settings.store_url, migrate=True) as store:
            record(store, given.images, Path(temporary) / "images")
            path, found = report_of(settings, store)
        report = path.replace(folder / "report.html")
        print(json.dumps(found), flush=True)
        with launched(browser) as running:
            page = running.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(600_000)
            found = measure(page, report, folder / "report.pdf")
    for name, value in found.items():
        print(f"{name:<44} {json.dumps(value)}")


if __name__ == "__main__":
    main()
