"""Pages to test: a store with a run whose images are in a folder, and clients for it."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import uvicorn
from PIL import Image, ImageDraw

from lfv.settings import Settings, get_settings
from lfv.ui import UiOptions, create_app
from lfv.ui.accounts import hash_password
from lfv_store import (
    ImageFacts,
    ModelKey,
    NewDetection,
    NewInspection,
    NewRun,
    NewTraining,
    Role,
    Store,
    open_store,
)
from tests.support.databases import fresh_sqlite
from tests.support.waiting import PLENTY

STARTED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
RUN_ID = "0b6f6a6e-8d1f-4f53-a9d4-6f0f5a1e5a10"
SIZE = (320, 240)
PASSWORD = "correct horse battery"
POLICY = {
    "version": 2,
    "default": {
        "classification": {"min_confidence": 0.8},
        "review": {"normal_below": 0.7},
    },
}


def part_picture(number: int, *, damaged: bool) -> bytes:
    """A grey part that differs from all others, with a dark scratch if it is damaged."""
    picture = Image.new("RGB", SIZE, (188, 192, 196))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((70, 30, 250, 210), fill=(120, 126, 134), outline=(80, 84, 90), width=3)
    draw.ellipse((135, 95, 185, 145), fill=(188, 192, 196), outline=(80, 84, 90), width=3)
    draw.point((number % 320, number // 320), fill=(1, 2, 3))
    if damaged:
        draw.line((100, 60, 160, 85), fill=(40, 40, 46), width=3)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def scratch_mask() -> bytes:
    """A white mask with a blue scratch."""
    mask = Image.new("RGB", SIZE, "white")
    ImageDraw.Draw(mask).line((100, 60, 160, 85), fill=(0x1F, 0x77, 0xB4), width=5)
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    return buffer.getvalue()


def response(*, is_anomalous: bool, confidence: float, scratch: float = 0.0) -> dict[str, Any]:
    """A DetectAnomalyResult in the form of the API."""
    named = [("background", 1.0 - scratch, "#FFFFFF")]
    if scratch:
        named.append(("scratch", scratch, "#1F77B4"))
    return {
        "Source": {"Type": "direct"},
        "IsAnomalous": is_anomalous,
        "Confidence": confidence,
        "Anomalies": [
            {"Name": name, "PixelAnomaly": {"TotalPercentageArea": area, "Color": color}}
            for name, area, color in named
        ],
    }


@dataclass(frozen=True)
class Scene:
    """A home folder with a results database and the images of its run."""

    settings: Settings
    store: Store
    images: Path
    model_id: int

    def parts(self, verdict: str | None = None) -> list[int]:
        """Numbers of the run's inspections, by line; or of those with `verdict`."""
        return [
            row["inspection_id"]
            for row in self.store.results.rows(RUN_ID)
            if verdict is None or row["final_verdict"] == verdict
        ]

    def with_heat_map(self) -> int:
        """The number of an inspection, in a separate run, whose answer has a heat map."""
        model = self.second_version({}, version="9")
        run = str(uuid4())
        self.store.runs.start(
            NewRun(run, "flange", "9", "lookoutvision", "x", POLICY, STARTED, model)
        )
        heat = Image.new("L", SIZE)
        ImageDraw.Draw(heat).ellipse((130, 90, 190, 150), fill=255)
        buffer = io.BytesIO()
        heat.save(buffer, "PNG")
        answer = response(is_anomalous=True, confidence=0.9)
        answer["AnomalyMap"] = base64.b64encode(buffer.getvalue()).decode()
        row = self.store.results.line(RUN_ID, 1)
        known = ImageFacts(row["image_sha256"], "PNG", *SIZE, 2000)
        detection = NewDetection(model, known.sha256, answer, STARTED)
        self.store.inspections.record(
            run,
            [
                NewInspection(
                    1, row["source_ref"], STARTED, known, detection=detection, verdict="reject"
                )
            ],
        )
        number: int = self.store.results.line(run, 1)["inspection_id"]
        return number

    def again(self) -> str:
        """The id of a run over the same images an hour later, which reuses every answer."""
        run, later = str(uuid4()), STARTED + timedelta(hours=1)
        self.store.runs.start(
            NewRun(run, "flange", "1", "lookoutvision", "x", POLICY, later, self.model_id)
        )
        lines = []
        for row in self.store.results.rows(RUN_ID):
            if row["detection_id"] is None:
                continue
            known = ImageFacts(row["image_sha256"], "PNG", *SIZE, 2000)
            lines.append(
                NewInspection(
                    row["line_number"],
                    row["source_ref"],
                    later,
                    known,
                    detection=row["detection_id"],
                    reused=True,
                    verdict=row["verdict"],
                )
            )
        self.store.inspections.record(run, lines)
        self.store.runs.set_status(run, "completed", None, later)
        return run

    def second_version(self, answers: dict[int, bool], version: str = "2") -> int:
        """The id of another version, whose run has these answers (is anomalous) by line."""
        key = ModelKey("lookoutvision", f"arn:aws:model/flange/{version}", "flange", version)
        model = self.store.models.register(key)
        run = str(uuid4())
        self.store.runs.start(
            NewRun(run, "flange", version, "lookoutvision", "x", POLICY, STARTED, model)
        )
        found = []
        for line, is_anomalous in answers.items():
            row = self.store.results.line(RUN_ID, line)
            known = ImageFacts(row["image_sha256"], "PNG", *SIZE, 2000)
            answer = response(is_anomalous=is_anomalous, confidence=0.9)
            found.append(
                NewInspection(
                    line,
                    row["source_ref"],
                    STARTED,
                    image=known,
                    detection=NewDetection(model, known.sha256, answer, STARTED),
                    verdict="reject" if is_anomalous else "accept",
                )
            )
        if found:
            self.store.inspections.record(run, found)
        return model

    def user(self, name: str, role: Role) -> None:
        """Add a user with the usual password."""
        self.store.users.add(name, role, hash_password(PASSWORD))


@contextmanager
def scene(
    home: Path, *, reviews: int = 6, url: str | None = None, name: str = "part"
) -> Iterator[Scene]:
    """A run with three accepted parts, two rejected, one error, and this many to review."""
    settings = get_settings(home=home, database_url=url)
    home.mkdir(parents=True, exist_ok=True)
    images = home / "images"
    images.mkdir()
    if url is None:
        fresh_sqlite(home / "inspections.db")
    with open_store(settings.store_url) as store:
        key = ModelKey("lookoutvision", "arn:aws:model/flange/1", "flange", "1", STARTED)
        model = store.models.register(key)
        store.trainings.record(
            NewTraining(
                model, "s3://lots/train.manifest", STARTED, "ana", figures={"F1 score": 0.93}
            )
        )
        store.runs.start(
            NewRun(
                run_id=RUN_ID,
                project_name="flange",
                model_version="1",
                host="lookoutvision",
                source="s3://lots/lot-41.manifest",
                policy=POLICY,
                started_at=STARTED,
                model_id=model,
                triggered_by="ana",
                code_version="1",
            )
        )
        verdicts = ["accept"] * 3 + ["reject"] * 2 + ["review"] * reviews
        lines = [
            _line(model, number, verdict, images, name)
            for number, verdict in enumerate(verdicts, start=1)
        ]
        lines.append(
            NewInspection(
                line_number=len(lines) + 1,
                source_ref=str(images / "missing.png"),
                inspected_at=STARTED,
                error_code="source_not_found",
                error_message="There is no such file.",
                attributes={"serial": "FL-0"},
            )
        )
        store.inspections.record(RUN_ID, lines)
        store.runs.set_manifest(RUN_ID, "ab" * 32, len(lines))
        store.runs.set_status(RUN_ID, "completed", None, STARTED + timedelta(minutes=3))
        yield Scene(settings, store, images, model)


def _line(model: int, number: int, verdict: str, images: Path, name: str) -> NewInspection:
    damaged = verdict != "accept"
    data = part_picture(number, damaged=damaged)
    file = images / f"{name}-{number:04d}.png"
    file.write_bytes(data)
    confidence = {"accept": 0.95, "reject": 0.9, "review": 0.6}[verdict]
    digest = hashlib.sha256(data).hexdigest()
    facts = ImageFacts(digest, "PNG", *SIZE, len(data))
    return NewInspection(
        line_number=number,
        source_ref=str(file),
        inspected_at=STARTED + timedelta(seconds=7),
        image=facts,
        detection=NewDetection(
            model,
            digest,
            response(is_anomalous=damaged, confidence=confidence, scratch=0.01 if damaged else 0.0),
            STARTED,
            mask_png=scratch_mask() if damaged else None,
        ),
        verdict=verdict,  # type: ignore[arg-type]
        reasons=[{"rule": "classification", "text": f"confidence {confidence}, limit 0.8"}],
        attributes={"serial": f"FL-{number}", "lot": "41"},
        expected_is_anomalous=None if verdict == "review" else damaged,
    )


class Browser:
    """A client that keeps cookies and sends forms like our pages."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.window = "window-0001"

    def get(self, address: str, **options: Any) -> Any:
        return self.client.get(address, **options)

    def token(self, page: str = "/login") -> str:
        """The form token of this visitor."""
        text = self.client.get(page, follow_redirects=True).text
        found = re.search(r'name="form-token" content="([0-9a-f]{64})"', text)
        assert found, text
        return found[1]

    def post(self, address: str, form_token: str | None = None, **fields: Any) -> Any:
        headers = {"x-form-token": self.token() if form_token is None else form_token}
        headers["accept"] = "application/json"
        return self.client.post(address, data=fields, headers=headers)

    def log_in(self, name: str, password: str = PASSWORD) -> Any:
        return self.post("/login", name=name, password=password)

    def claim(self, **fields: Any) -> list[dict[str, Any]]:
        answer = self.post("/review/claim", window=self.window, **fields)
        assert answer.status_code == 200, answer.text
        parts: list[dict[str, Any]] = answer.json()["parts"]
        return parts

    def review(self, part: dict[str, Any], answer: str, **fields: Any) -> Any:
        given = {
            "inspection": part["inspection"],
            "seen": part["seen"],
            "answer": answer,
            "token": f"token-{part['inspection']}-{self.window}",
            "window": self.window,
        }
        return self.post("/review/record", **{**given, **fields})


@contextmanager
def serving(options: UiOptions) -> Iterator[str]:
    """The address of pages that are served in this process."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(options), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PLENTY)
        listening.close()


@contextmanager
def served(place: Scene, **options: Any) -> Iterator[Browser]:
    """A browser at the pages of a scene; `options` as in UiOptions."""
    with serving(ui_options(place, **options)) as address, another(address) as browser:
        browser.window = "window-0001"
        yield browser


def ui_options(place: Scene, **options: Any) -> UiOptions:
    """How the pages of a scene are served."""
    return UiOptions(**{"settings": place.settings, "local_user": "mara", **options})


@contextmanager
def another(address: str | httpx.URL) -> Iterator[Browser]:
    """A second browser at the same server."""
    with httpx.Client(base_url=address, timeout=PLENTY, trust_env=False) as client:
        browser = Browser(client)
        browser.window = "window-0002"
        yield browser
