"""Synthetic inspections for benchmarks/store.py, including those that auditor queries look for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from lfv_store import (
    ImageFacts,
    NewDetection,
    NewInspection,
    NewReview,
    NewVerdict,
    Store,
    open_store,
)
from tests.support.documented_sql import IMAGE_SHA256, LOT, RUN_ID, SERIAL
from tests.support.store_samples import LEASE, a_model, a_response, a_run, at_time

PER_RUN = 5_000
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
#: The line of the run RUN_ID with the serial number and picture that the queries look for.
SPECIAL = 123


class Load:
    """Runs of 5,000 lines, two a day from January on; the seventh is the one queried."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._model_id = 0
        self._number = 0
        self._reusable: dict[str, int] = {}

    def batches(self, store: Store, size: int) -> Iterator[tuple[str, list[NewInspection]]]:
        """Yield (run_id, batch) for all rows; start and end runs and hostings in between."""
        self._model_id = a_model(store)
        for first in range(0, self.rows, PER_RUN):
            lines = min(PER_RUN, self.rows - first)
            yield from self._run(store, lines, size)

    def one_more_run(
        self, store: Store, batches: int, size: int
    ) -> Iterator[tuple[str, list[NewInspection]]]:
        """One more run."""
        return self._run(store, batches * size, size)

    def _run(
        self, store: Store, lines: int, size: int
    ) -> Iterator[tuple[str, list[NewInspection]]]:
        number = self._number
        self._number += 1
        wanted = number == 6 or (self.rows <= 6 * PER_RUN and number == 0)
        run_id = RUN_ID if wanted else str(UUID(int=number))
        started = BEGIN + timedelta(hours=12 * number)
        a_run(store, self._model_id, run_id=run_id, started_at=started, policy={"confidence": 0.8})
        lease = at_time(started, store.leases.acquire, self._model_id, run_id, **LEASE)
        store.hostings.mark_hosted(lease.hosting_id, started)
        if wanted and number:
            before = [_digest(number - 1, line) for line in range(50, lines + 1, 100)]
            known = store.inspections.known_detections(self._model_id, before)
            self._reusable = {digest: found.detection_id for digest, found in known.items()}
        for first in range(1, lines + 1, size):
            yield (
                run_id,
                [self._line(number, line, started, wanted) for line in range(first, first + size)],
            )
        ended = started + timedelta(seconds=lines)
        at_time(ended, store.leases.release, lease.lease_id)
        store.hostings.mark_stopped(lease.hosting_id, ended + timedelta(seconds=30))
        store.runs.set_manifest(run_id, "ab" * 32, lines)
        store.runs.set_status(run_id, "completed", None, ended)

    def _line(self, run: int, line: int, started: datetime, wanted: bool) -> NewInspection:
        at = started + timedelta(seconds=line)
        number = run * PER_RUN + line
        serial, digest = f"SN-{number:08d}", _digest(run, line)
        if wanted and line == SPECIAL:
            serial, digest = SERIAL, IMAGE_SHA256
        attributes = {"serial": serial, "lot": LOT if wanted else f"L-{10_000 + run}"}
        image = ImageFacts(digest, "PNG", 1280, 960, 200_000 + line)
        source = f"s3://line-3/lot-{run}/bottle-{number:08d}.png"
        if line % 500 == 7:
            return NewInspection(
                line,
                source,
                at,
                error_code="image_truncated",
                error_message="The end is missing.",
                attributes=attributes,
            )
        verdict = "reject" if line % 25 == 3 else "review" if line % 50 == 11 else "accept"
        areas = {"scratch": 0.02, "dent": 0.004} if line % 4 == 3 else None
        response = a_response(
            is_anomalous=verdict == "reject", confidence=0.5 + number % 500 / 1000, areas=areas
        )
        before = _digest(run - 1, line)
        if wanted and before in self._reusable:
            return NewInspection(
                line,
                source,
                at,
                image=replace(image, sha256=before),
                detection=self._reusable[before],
                reused=True,
                verdict="accept",
                attributes=attributes,
            )
        return NewInspection(
            line,
            source,
            at,
            image=image,
            detection=NewDetection(
                self._model_id,
                digest,
                response,
                at,
                mask_png=b"PNG %d" % number if line % 100 == 3 else None,
                request_id=str(UUID(int=number)),
                latency_ms=35.5 + number % 40,
            ),
            verdict=verdict,  # type: ignore[arg-type]
            reasons=[{"rule": "confidence", "limit": 0.8, "value": response["Confidence"]}],
            attributes=attributes,
        )

    def finish(self, store: Store) -> None:
        """Add another decision, reviews in March, and a model that is up now."""
        store.verdicts.add(
            RUN_ID,
            {"confidence": 0.7},
            (
                NewVerdict(found.inspection_id, "accept" if number % 2 else found.verdict)
                for number, found in enumerate(store.verdicts.candidates(RUN_ID))
            ),
        )
        march = datetime(2026, 3, 5, tzinfo=UTC)
        for hour, waiting in enumerate(store.reviews.queue(limit=300)):
            at = march + timedelta(hours=hour)
            at_time(
                at,
                store.reviews.record,
                NewReview(waiting.inspection_id, "accept", "Eve", "dust on the lens"),
            )
        store.leases.acquire(self._model_id, RUN_ID, **LEASE)


def _digest(run: int, line: int) -> str:
    return sha256(b"%d" % (run * PER_RUN + line)).hexdigest()


@dataclass(frozen=True)
class Verified:
    """Result, time and memory of a verification in a separate process."""

    ok: bool
    entries: int
    rows: int
    inspections: int
    seconds: float
    processor: float
    peak_mb: float


def measure_verify(url: str) -> Verified:
    """Verify in a separate process, so that its memory can be measured."""
    command = [sys.executable, __file__, url]
    environment_path = [path for path in sys.path if path]
    output = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(environment_path)},
    ).stdout
    return Verified(**json.loads(output))


def _main() -> None:
    import time

    with open_store(sys.argv[1]) as store:
        start, before = time.perf_counter(), time.process_time()
        report = store.audit.verify()
        seconds, processor = time.perf_counter() - start, time.process_time() - before
    # Not getrusage(): its maximum is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    result = Verified(
        report.ok, report.entries, report.rows, report.inspections, seconds, processor, peak
    )
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    _main()
