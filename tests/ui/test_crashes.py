"""Many people review while the server is killed: each review is stored once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.processes import free_port
from tests.support.ui import RUN_ID, Browser, Scene, scene
from tests.support.waiting import PLENTY, wait_until

pytestmark = pytest.mark.slow

CLIENTS = 5
KILLS = 2


def start(place: Scene, port: int) -> subprocess.Popen[str]:
    environment = {"PATH": "/usr/bin:/bin", "LFV_HOME": str(place.settings.home)}
    environment["HOME"] = environment["LFV_HOME"]
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    script = Path(sys.executable).with_name("lfv")
    process = subprocess.Popen(
        [str(script), "ui", "--port", str(port)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stderr is not None
    assert "pages at" in process.stderr.readline()
    return process


def persistently(call: Any) -> Any:
    """Retry until the server answers, like the page's script."""
    deadline = time.monotonic() + PLENTY
    while True:
        try:
            return call()
        except (httpx.TransportError, AssertionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def review_all(address: str, number: int, done: list[tuple[int, str]]) -> None:
    """Review until nothing is left, as the page does."""
    with httpx.Client(base_url=address, timeout=PLENTY, trust_env=False) as client:
        browser = Browser(client)
        browser.window = f"window-{number:04d}"
        while parts := persistently(browser.claim):
            for part in parts:
                token = uuid4().hex
                answer = "reject" if part["inspection"] % 3 else "accept"
                found = persistently(
                    lambda part=part, token=token, answer=answer: browser.review(
                        part, answer, token=token
                    )
                )
                # A part whose lease expired may be somebody else's by now.
                if found.status_code == 200:
                    done.append((part["inspection"], answer))
                else:
                    assert found.status_code == 409, found.text


def test_reviews_survive_a_server_that_is_killed(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    reviews = pytestconfig.getoption("--reviews")
    port = free_port()
    with scene(tmp_path / "home", reviews=reviews) as place:
        server = start(place, port)
        done: list[tuple[int, str]] = []
        threads = [
            threading.Thread(
                target=review_all, args=(f"http://127.0.0.1:{port}", number, done), daemon=True
            )
            for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for kill in range(1, KILLS + 1):
            share = reviews * kill // (KILLS + 1)
            wait_until(lambda share=share: len(done) >= share, seconds=PLENTY + reviews)
            server.kill()
            server.communicate()
            server = start(place, port)
        for thread in threads:
            thread.join(PLENTY + reviews)
            assert not thread.is_alive()
        page = httpx.get(f"http://127.0.0.1:{port}/runs/{RUN_ID}", trust_env=False).text
        server.terminate()
        server.communicate()
        assert len(done) == reviews
        assert len({part for part, _ in done}) == reviews
        for part, answer in done:
            (review,) = place.store.reviews.history(part)
            assert review.verdict == answer
        counts = place.store.inspections.counts(RUN_ID)
        said = Counter(answer for _, answer in done)
        assert (counts.accepted, counts.rejected) == (3 + said["accept"], 2 + said["reject"])
        tiles = re.findall(r"<b>([\d\u202f]+)</b> <span>([\w ]+)</span>", page)
        shown = {name: int(number.replace("\u202f", "")) for number, name in tiles}
        assert (shown["accepted"], shown["rejected"]) == (counts.accepted, counts.rejected)
        with place.store.database.read() as conn:
            sql = "SELECT accepted, rejected FROM run_summary"
            assert tuple(conn.exec_driver_sql(sql).one()) == (counts.accepted, counts.rejected)
        assert place.store.audit.verify().ok
