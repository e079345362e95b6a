"""Throttling costs time, never an image."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from lfv.run.active import ActiveRun
from lfv.run.control import Ending
from lfv.run.detection.detect import DetectedBatch, detect_batch
from lfv.run.detection.stream import DetectionStream
from lfv_store import PendingItem, Store
from tests.support.detection import BusyModel, planned_run


def detect(run: ActiveRun, items: Sequence[PendingItem]) -> DetectedBatch:
    with DetectionStream(run):
        return detect_batch(run, items)


def test_throttling_never_loses_an_image(tmp_path: Path, store: Store) -> None:
    model = BusyModel(capacity=2)
    with planned_run(tmp_path / "images", store, model, 300) as run:
        items = store.inspections.pending(run.run_id)
        batch = detect(run, items)
        counts = store.inspections.counts(run.run_id)
        rows = list(store.results.rows(run.run_id))
    assert model.throttled > 0
    assert (batch.answered, batch.errors, batch.left, batch.ending) == (300, 0, 0, None)
    assert (counts.errors, counts.pending, counts.total) == (0, 0, 300)
    assert sum(row["attempts"] for row in rows) == 300 + model.throttled


def test_retry_after_of_the_service_is_respected(tmp_path: Path, store: Store) -> None:
    model = BusyModel(capacity=1, retry_after=0.5)
    began = time.monotonic()
    with planned_run(tmp_path / "images", store, model, 10) as run:
        batch = detect(run, store.inspections.pending(run.run_id))
    assert batch.answered == 10
    if model.throttled:
        assert model.answered_at[-1] - began > 0.5, "a throttled image was tried again too soon"


def test_a_run_that_ends_leaves_throttled_images_pending(tmp_path: Path, store: Store) -> None:
    model = BusyModel(capacity=0, retry_after=30)
    with planned_run(tmp_path / "images", store, model, 5) as run:
        threading.Timer(0.2, run.control.end, (Ending.LIMIT, "the cost limit is reached")).start()
        batch = detect(run, store.inspections.pending(run.run_id))
        counts = store.inspections.counts(run.run_id)
    assert batch.ending is Ending.LIMIT
    assert (batch.left, counts.pending, counts.errors) == (5, 5, 0)


def test_a_model_that_throttles_everything_ends_the_run(tmp_path: Path, store: Store) -> None:
    model = BusyModel(capacity=0)
    settings = {"throttled_deadline_seconds": 0.3}
    with planned_run(tmp_path / "images", store, model, 5, **settings) as run:
        batch = detect(run, store.inspections.pending(run.run_id))
        counts = store.inspections.counts(run.run_id)
    assert batch.ending is Ending.OUT_OF_REACH
    assert "has throttled every request for 0.3 seconds" in batch.message
    assert (counts.pending, counts.errors) == (5, 0)
