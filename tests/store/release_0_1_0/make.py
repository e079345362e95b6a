"""Make the databases in this folder: run by an installation of release 0.1.0, not by the tests.

    python make.py sqlite:////tmp/old.db
    sqlite3 /tmp/old.db .dump > sqlite.sql
    python make.py postgresql://USER@HOST/EMPTY_DATABASE
    pg_dump --inserts --no-owner --no-acl EMPTY_DATABASE > postgresql.sql

The first run is complete: answers, a mask, an error, a reused answer, a later decision, a review,
and a model that was hosted for it. The second run was interrupted in the middle of its manifest.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from lfv_store import (
    ImageFacts,
    ModelKey,
    NewDetection,
    NewInspection,
    NewRun,
    NewVerdict,
    PendingItem,
    open_store,
)

T0 = datetime(2026, 3, 4, 5, 6, 7, 123456, tzinfo=UTC)
FIRST = "11111111-1111-4111-8111-111111111111"
SECOND = "22222222-2222-4222-8222-222222222222"
LEASE: dict[str, Any] = {
    "host_spec": {"kind": "lookoutvision", "project": "bottles"},
    "units": (1, None),
    "price_per_unit_hour": 4.0,
    "ttl": timedelta(seconds=60),
    "already_hosted": False,
}


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def image(name: object) -> ImageFacts:
    return ImageFacts(sha256(str(name).encode()).hexdigest(), "PNG", 640, 480, 100_000)


def inspection(model_id: int, line: int, verdict: Any, **values: Any) -> NewInspection:
    facts = image(line)
    response: dict[str, Any] = {
        "Source": {"Type": "direct"},
        "IsAnomalous": verdict == "reject",
        "Confidence": 0.7 + line / 100,
    }
    mask = None
    if verdict == "reject":
        mask = b"mask"
        response["Anomalies"] = [
            {"Name": "background", "PixelAnomaly": {"TotalPercentageArea": 0.98}},
            {"Name": "scratch", "PixelAnomaly": {"TotalPercentageArea": 0.02, "Color": "#00FF00"}},
        ]
    given: dict[str, Any] = {
        "image": facts,
        "detection": NewDetection(
            model_id, facts.sha256, response, after(100 + line), mask, f"request-{line}", 12.5
        ),
        "verdict": verdict,
        "reasons": [{"rule": "confidence", "limit": 0.8, "value": 0.7 + line / 100}],
        "attributes": {"serial": f"SN{line:06d}", "lot": "L41", "umlaut": "Größe"},
        "expected_is_anomalous": verdict == "reject",
    }
    return NewInspection(line, f"s3://lots/{line}.png", after(100 + line), **{**given, **values})


def new_run(run_id: str, model_id: int) -> NewRun:
    return NewRun(
        run_id,
        "bottles",
        "1",
        "lookoutvision",
        "s3://lots/lot-41.manifest",
        {"confidence": 0.8},
        T0,
        model_id=model_id,
        triggered_by="ana",
        parameters={"source": "s3://lots/lot-41.manifest", "project": "bottles"},
    )


def main(url: str) -> None:
    with open_store(url, migrate=True) as store:
        arn = "arn:aws:lookoutvision:us-east-1:000000000000:model/bottles/1"
        model_id = store.models.register(ModelKey("lookoutvision", arn, "bottles", "1", T0))
        store.runs.start(new_run(FIRST, model_id))
        lease = store.leases.acquire(model_id, FIRST, now=after(10), **LEASE)
        store.hostings.mark_hosted(lease.hosting_id, after(70))
        store.inspections.record(
            FIRST,
            [
                inspection(model_id, 1, "accept"),
                inspection(model_id, 2, "reject"),
                inspection(
                    model_id,
                    3,
                    None,
                    detection=None,
                    reasons=(),
                    error_code="image_truncated",
                    error_message="The end is missing.",
                ),
                inspection(model_id, 4, "review"),
            ],
        )
        (known,) = store.inspections.known_detections(model_id, [image(1).sha256]).values()
        store.inspections.record(
            FIRST,
            [
                inspection(
                    model_id, 5, "accept", image=image(1), detection=known.detection_id, reused=True
                )
            ],
        )
        store.runs.set_manifest(FIRST, "ab" * 32, 5)
        store.leases.release(lease.lease_id, after(200))
        store.hostings.mark_stopped(lease.hosting_id, after(250))
        store.runs.set_status(FIRST, "completed", None, after(260))
        store.verdicts.add(
            FIRST,
            {"confidence": 0.75},
            [
                NewVerdict(item.inspection_id, "accept" if item.line_number == 4 else item.verdict)
                for item in store.verdicts.candidates(FIRST)
            ],
            decided_by="quinn",
        )
        store.reviews.add(store.results.line(FIRST, 2)["inspection_id"], "reject", "Eve", "", T0)

        store.runs.start(new_run(SECOND, model_id))
        lease = store.leases.acquire(model_id, SECOND, now=after(300), **LEASE)
        store.hostings.mark_hosted(lease.hosting_id, after(310))
        store.inspections.plan(
            SECOND,
            pending=[
                PendingItem(line, f"s3://lots/{line}.png", image(line)) for line in (11, 12, 13)
            ],
            through_line=13,
        )
        store.inspections.record(SECOND, [inspection(model_id, 11, "accept")])
        store.leases.release(lease.lease_id, after(320))
        store.hostings.mark_stopped(lease.hosting_id, after(330))
        store.runs.set_status(SECOND, "interrupted", "the limit is reached", after(331))
        assert store.audit.verify().ok
        print(store.audit.head())  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
