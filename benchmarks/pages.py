"""How long the pages of `lfv ui` take with many inspections, on SQLite and on PostgreSQL.

    python benchmarks/pages.py [--inspections 1000000] [--url sqlite:///FILE] [--url postgresql://...]

Half of the inspections are in one run, the others in runs of 500; its first hundred images are real
files. Each page is requested over HTTP from a server in a separate process: once, which is cold,
and then ten times. A database at `--url` is filled if it has no run, and kept; else temporary ones
are used. `make bench` runs this with 50,000 inspections as a part of benchmarks/capacity.py.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from lfv_store import ImageFacts, NewDetection, NewInspection, NewReview, Store, open_store
from tests.support.databases import PostgresServer, own_server
from tests.support.store_samples import LEASE, a_model, a_response, a_run, at_time
from tests.support.ui import part_picture, scratch_mask

LFV = Path(sys.executable).with_name("lfv")
LARGE_RUN = str(UUID(int=1))
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = {"version": 2, "default": {"classification": {"min_confidence": 0.8}}}
SMALL_RUN = 500
BATCH = 5_000
PICTURES = 100
ROUNDS = 10
COMPARED = 2_000
REVIEWS = 300


def fill(store: Store, inspections: int, images: Path) -> None:
    """Make the runs, hostings, reviews and pictures."""
    models = [a_model(store, str(version)) for version in (1, 2)]
    pictures = [part_picture(number, damaged=number % 10 == 3) for number in range(PICTURES)]
    images.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        (images / f"part-{number}.png").write_bytes(picture)

    def line(run: int, number: int) -> NewInspection:
        is_real = run == 0 and number <= PICTURES
        data = pictures[number - 1] if is_real else b"%d of %d" % (number, run)
        at = BEGIN + timedelta(hours=run, seconds=number / 10)
        attributes = {"serial": f"SN-{run:05d}-{number:07d}", "lot": f"L-{run}"}
        source = f"s3://line-3/lot-{run}/bottle-{number:07d}.png"
        if is_real:
            source = str(images / f"part-{number - 1}.png")
        if number % 500 == 7:
            return NewInspection(
                number,
                source,
                at,
                error_code="image_truncated",
                error_message="The end is missing.",
                attributes=attributes,
            )
        verdict = "reject" if number % 10 == 4 else "review" if number % 50 == 11 else "accept"
        marked = number % 10 == 4
        return NewInspection(
            number,
            source,
            at,
            image=(facts := ImageFacts(sha256(data).hexdigest(), "PNG", 320, 240, 9_000)),
            detection=NewDetection(
                models[run == 1],
                facts.sha256,
                a_response(
                    is_anomalous=marked,
                    confidence=0.5 + number % 500 / 1000,
                    areas={"scratch": 0.02} if marked else None,
                ),
                at,
                mask_png=scratch_mask() if marked and is_real else None,
                request_id=f"{run}-{number}",
                latency_ms=35.5,
            ),
            verdict=verdict,  # type: ignore[arg-type]
            reasons=[{"rule": "classification", "text": "confidence 0.9, limit 0.8"}],
            attributes=attributes,
        )

    large = inspections // 2
    sizes = [large, *[SMALL_RUN] * ((inspections - large) // SMALL_RUN)]
    for run, lines in enumerate(sizes):
        run_id = str(UUID(int=run + 1))
        started = BEGIN + timedelta(hours=run)
        model = models[run == 1]
        a_run(store, model, run_id=run_id, started_at=started, policy=POLICY)
        lease = at_time(started, store.leases.acquire, model, run_id, **LEASE)
        store.hostings.mark_hosted(lease.hosting_id, started)
        for first in range(1, lines + 1, BATCH):
            numbers = range(first, min(first + BATCH, lines + 1))
            store.inspections.record(run_id, [line(run, number) for number in numbers])
        ended = started + timedelta(seconds=lines / 10)
        at_time(ended, store.leases.release, lease.lease_id)
        store.hostings.mark_stopped(lease.hosting_id, ended)
        store.runs.set_manifest(run_id, "ab" * 32, lines)
        store.runs.set_status(run_id, "completed", None, ended)
    again = a_run(store, models[1], run_id=str(UUID(int=2**40)), policy=POLICY)
    for first in range(0, COMPARED, SMALL_RUN):
        rows = [line(0, number) for number in range(first + 1, first + SMALL_RUN + 1)]
        store.inspections.record(again, [_by(models[1], row) for row in rows])
    store.runs.set_status(again, "completed", None, BEGIN + timedelta(days=400))
    for number, waiting in enumerate(store.reviews.queue(limit=REVIEWS)):
        verdict = "accept" if number % 3 else "reject"
        store.reviews.record(NewReview(waiting.inspection_id, verdict, f"reviewer {number % 3}"))  # type: ignore[arg-type]


def _by(model: int, row: NewInspection) -> NewInspection:
    """The same line with the answer of another model."""
    if not isinstance(row.detection, NewDetection):
        return row
    return replace(row, detection=replace(row.detection, model_id=model))


def pages(url: str) -> dict[str, str]:
    """The measured pages: name and address."""
    with open_store(url) as store:
        part = store.results.line(LARGE_RUN, 4)
        first, second = sorted(one.model_id for one in store.models.list())[:2]
        lines = store.runs.get(LARGE_RUN).manifest_lines or 0
    late = lines - 2 * PICTURES
    return {
        "runs": "/",
        "a run": f"/runs/{LARGE_RUN}",
        "a run, deep inside": f"/runs/{LARGE_RUN}?after={late}",
        "a run, rejects": f"/runs/{LARGE_RUN}?show=reject",
        "a run, rejects, deep inside": f"/runs/{LARGE_RUN}?show=reject&after={lines // 2}",
        "a run, review": f"/runs/{LARGE_RUN}?show=review",
        "a run, errors": f"/runs/{LARGE_RUN}?show=error",
        "a run, an anomaly": f"/runs/{LARGE_RUN}?show=reject&anomaly=scratch",
        "a run, an anomaly nobody has": f"/runs/{LARGE_RUN}?anomaly=unknown",
        "its charts": f"/runs/{LARGE_RUN}/charts",
        "policy of a small run": f"/runs/{UUID(int=3)}/policy",
        "parts, a serial number": "/parts?q=SN-00000-0000004",
        "parts, a serial number in small letters": "/parts?q=sn-00003-0000004",
        "parts, the end of a serial number": "/parts?q=-0000004",
        "parts, a lot": "/parts?q=L-0",
        "parts, the end of a lot": "/parts?q=-1999",
        "parts, a digest": f"/parts?q={part['image_sha256'][:10]}",
        "parts, a file name": "/parts?q=bottle-0000004",
        "parts, nothing found": "/parts?q=there-is-no-such-part",
        "a part": f"/parts/{part['inspection_id']}",
        "models": "/models",
        "a model": f"/models/{first}",
        "two models compared": f"/models/{first}/compare/{second}",
        "costs": "/costs",
        "review": "/review",
        "review of a run": f"/review?run={LARGE_RUN}",
        "agreement": "/review/agreement",
    }


@contextmanager
def served(url: str, home: Path) -> Iterator[str]:
    """The address of `lfv ui` in a separate process."""
    environment = {**os.environ, "LFV_HOME": str(home), "LFV_DATABASE_URL": url}
    with subprocess.Popen(
        [LFV, "ui", "--port", "0"], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stderr is not None
            found = None
            while found is None:
                line = process.stderr.readline()
                assert line, "lfv ui ended"
                found = re.search(r"pages at (\S+)", line)
            yield found[1]
        finally:
            process.terminate()


def milliseconds(action: Callable[[], object]) -> dict[str, float]:
    """The first time, and the median and maximum of the others."""
    times = []
    for _ in range(1 + ROUNDS):
        began = time.perf_counter()
        action()
        times.append((time.perf_counter() - began) * 1000)
        if times[0] > 3_000:
            break
    later = times[1:] or times
    return {
        "first": round(times[0], 1),
        "median": round(statistics.median(later), 1),
        "longest": round(max(later), 1),
    }


def measure(url: str, inspections: int, home: Path) -> dict[str, Any]:
    """Fill the database if it is empty, and request every page."""
    home.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    with open_store(url, migrate=True) as store:
        if not store.runs.list(1):
            began = time.monotonic()
            fill(store, inspections, home / "images")
            found["seconds to fill"] = round(time.monotonic() - began)
    addresses = pages(url)
    with served(url, home) as address, httpx.Client(base_url=address, timeout=60) as client:
        for name, path in addresses.items():

            def ask(path: str = path) -> None:
                answer = client.get(path)
                assert answer.status_code == 200, (path, answer.text)

            found[name] = milliseconds(ask)
        found.update(_actions(client))
        found["100 thumbnails"] = _thumbnails(client, addresses["a run"])
    return found


def _actions(client: httpx.Client) -> dict[str, Any]:
    token = re.search(r'name="form-token" content="(\w+)"', client.get("/review").text)
    assert token
    headers = {"x-form-token": token[1], "accept": "application/json"}

    def claim(**fields: str) -> None:
        answer = client.post(
            "/review/claim", data={"window": "window-01", **fields}, headers=headers
        )
        assert answer.status_code == 200, answer.text

    return {
        "queue, the next parts": milliseconds(claim),
        "queue, with the number waiting": milliseconds(lambda: claim(count="yes")),
        "queue of a run": milliseconds(lambda: claim(run=LARGE_RUN, window="window-02")),
    }


def _thumbnails(client: httpx.Client, page: str) -> dict[str, float]:
    """A page and its pictures, six at a time as a browser does."""

    def ask() -> None:
        text = client.get(page).text
        pictures = sorted(set(re.findall(r"/thumb/\d+/\w+", text)))
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(client.get, pictures))
        assert len(answers) >= PICTURES - 1
        assert all(answer.status_code == 200 for answer in answers)

    return milliseconds(ask)


def measure_pages(
    inspections: int, folder: Path, postgresql: str | None = None
) -> dict[str, dict[str, Any]]:
    """Both databases, temporary ones."""
    found = {
        "SQLite": measure(f"sqlite:///{folder / 'pages.db'}", inspections, folder / "pages-home")
    }
    with tempfile.TemporaryDirectory(prefix="lfv-bench-") as own, ExitStack() as stack:
        url = postgresql or stack.enter_context(own_server(Path(own)))
        if url is not None:
            database = stack.enter_context(PostgresServer(url).database(migrated=False))
            found["PostgreSQL"] = measure(database, inspections, folder / "pages-home-2")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inspections", type=int, default=100_000)
    parser.add_argument("--url", action="append", help="a database to fill if empty, and to keep")
    parser.add_argument("--home", type=Path, help="folder of images and thumbnails, with --url")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.url:
            home = given.home or Path(folder)
            found = {url: measure(url, given.inspections, home) for url in given.url}
        else:
            found = measure_pages(given.inspections, Path(folder))
    for name, figures in found.items():
        print(f"\n{name}")
        for page, figure in figures.items():
            print(f"  {page:<34} {json.dumps(figure)}", flush=True)


if __name__ == "__main__":
    main()
