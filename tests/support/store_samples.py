"""Rows for store tests: minimal runs, synthetic values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, ParamSpec, TypeVar
from unittest import mock
from uuid import uuid4

import sqlalchemy as sa

from lfv_store import ImageFacts, ModelKey, NewDetection, NewInspection, NewRun, PendingItem, Store
from lfv_store.dialects.postgresql import Postgresql
from lfv_store.dialects.sqlite import Sqlite
from lfv_store.views import HOSTING_COSTS

P = ParamSpec("P")
R = TypeVar("R")
T0 = datetime(2026, 3, 4, 5, 6, 7, 123456, tzinfo=UTC)
POLICY = {"confidence": 0.8}
LEASE: dict[str, Any] = {
    "host_spec": {"kind": "lookoutvision", "project": "bottles", "model_version": "1"},
    "units": (1, None),
    "price_per_unit_hour": 4.0,
    "ttl": timedelta(seconds=60),
    "already_hosted": False,
}


def after(seconds: float) -> datetime:
    """T0 plus some seconds."""
    return T0 + timedelta(seconds=seconds)


@contextmanager
def clock_at(moment: datetime) -> Iterator[None]:
    """Both databases take this for the present time."""
    with (
        mock.patch.object(Sqlite, "now", return_value=moment),
        mock.patch.object(Postgresql, "now", return_value=moment),
    ):
        yield


def at_time(moment: datetime, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The result of a call at this time of the database."""
    with clock_at(moment):
        return call(*args, **kwargs)


def a_model(store: Store, version: str = "1", project: str = "bottles") -> int:
    """The id of a registered model."""
    arn = f"arn:aws:lookoutvision:us-east-1:000000000000:model/{project}/{version}"
    return store.models.register(ModelKey("lookoutvision", arn, project, version, T0))


def a_run(store: Store, model_id: int | None = None, **values: Any) -> str:
    """The run_id of a new run."""
    given = {
        "run_id": str(uuid4()),
        "project_name": "bottles",
        "model_version": "1",
        "host": "lookoutvision",
        "source": "s3://lots/lot-41.manifest",
        "policy": POLICY,
        "started_at": T0,
        "model_id": model_id,
        "triggered_by": "ana",
    }
    run = store.runs.start(NewRun(**{**given, **values}))
    return run.run_id


def hosting_cost(store: Store, hosting_id: int) -> sa.Row[Any]:
    """The hosting's row of the view hosting_costs."""
    row = sa.select(HOSTING_COSTS).where(HOSTING_COSTS.c.hosting_id == hosting_id)
    with store.database.read() as conn:
        return conn.execute(row).one()


def an_image(name: object) -> ImageFacts:
    """Facts of synthetic bytes, determined by the name."""
    return ImageFacts(sha256(str(name).encode()).hexdigest(), "PNG", 640, 480, 100_000)


def an_item(line: int, image: object = None, **values: Any) -> PendingItem:
    """A pending item."""
    return PendingItem(
        line, f"s3://lots/{line}.png", an_image(line if image is None else image), **values
    )


def a_response(
    *, is_anomalous: bool = False, confidence: float = 0.9, areas: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """A DetectAnomalyResult in the form of the API."""
    response: dict[str, Any] = {
        "Source": {"Type": "direct"},
        "IsAnomalous": is_anomalous,
        "Confidence": confidence,
    }
    if areas is not None:
        named = {"background": 1.0 - sum(areas.values()), **areas}
        response["Anomalies"] = [
            {"Name": name, "PixelAnomaly": {"TotalPercentageArea": area, "Color": f"#{i:06X}"}}
            for i, (name, area) in enumerate(named.items())
        ]
    return response


def judged(
    model_id: int,
    line: int,
    verdict: str = "accept",
    *,
    image: object = None,
    at: datetime | None = None,
    mask: bytes | None = None,
    response: Mapping[str, Any] | None = None,
    **values: Any,
) -> NewInspection:
    """A line with a new answer and its verdict."""
    facts = an_image(line if image is None else image)
    moment = at or after(line)
    given: dict[str, Any] = {
        "reasons": [{"rule": "confidence", "limit": 0.8, "value": 0.9}],
        "attributes": {"serial": f"SN{line:06d}", "lot": "L41"},
    }
    return NewInspection(
        line_number=line,
        source_ref=f"s3://lots/{line}.png",
        inspected_at=moment,
        image=facts,
        detection=NewDetection(
            model_id,
            facts.sha256,
            response or a_response(is_anomalous=verdict == "reject"),
            moment,
            mask_png=mask,
            request_id=f"request-{line}",
            latency_ms=12.5,
        ),
        verdict=verdict,  # type: ignore[arg-type]
        **{**given, **values},
    )


def failed(line: int, code: str = "image_truncated", **values: Any) -> NewInspection:
    """A line that could not be inspected."""
    given: dict[str, Any] = {"error_message": "The end is missing.", "inspected_at": after(line)}
    return NewInspection(
        line_number=line,
        source_ref=f"s3://lots/{line}.png",
        error_code=code,
        **{**given, **values},
    )


def segmented(model_id: int, line: int, verdict: str = "reject", **values: Any) -> NewInspection:
    """A judged line whose answer names anomalies and has a mask."""
    response = a_response(is_anomalous=True, areas={"scratch": 0.02, "dent": 0.005})
    return judged(
        model_id, line, verdict, response=response, mask=f"mask {line}".encode(), **values
    )
