"""A run that rejects too much stops its model and asks a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.flow_runs import resume_flow_run

from flows.inspect_images import inspect_images
from lfv.run.control import watch_runs
from lfv.run.errors import EndedByOperator
from lfv.run.reject_watch import too_many_rejects
from lfv_store import RunCounts, Store
from tests.support.background import in_background
from tests.support.endpoints import Endpoint
from tests.support.pictures import make_pictures
from tests.support.waiting import PLENTY, wait_until

#: Rejects every anomalous image; the stand-in finds half of the images anomalous.
PARAMETERS: dict[str, Any] = {
    "project": "parts",
    "confidence": 0.0,
    "pause_at_reject_rate": 0.01,
}


def counts(**values: int) -> RunCounts:
    given = dict.fromkeys(("total", "accepted", "rejected", "review", "errors"), 0)
    return RunCounts(**{**given, "reused": 0, "pending": 0, **values})


def test_a_reject_rate_needs_some_verdicts_and_a_limit() -> None:
    assert too_many_rejects(counts(rejected=19), 0.3) is None
    assert too_many_rejects(counts(accepted=80, rejected=20), 0.3) is None
    message = too_many_rejects(counts(accepted=70, rejected=30, pending=5), 0.3)
    assert message == "30 of 100 images rejected (30%); 5 left"


def paused(store: Store, endpoint: Endpoint) -> str:
    """The id of the flow run, once it is paused and the model is down."""
    wait_until(lambda: store.runs.list())
    flow_run_id = str(store.runs.list()[0].flow_run_id)

    def is_paused() -> bool:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(flow_run_id).state  # type: ignore[arg-type]
        return state is not None and state.type is StateType.PAUSED

    wait_until(is_paused)
    assert endpoint.status == "TRAINED"
    return flow_run_id


@pytest.mark.usefixtures("few_requests")
def test_an_operator_ends_the_run(images: Path, endpoint: Endpoint, store: Store) -> None:
    """Continuing is tested with a worker, in tests/deployments/test_prefect_yaml.py."""
    make_pictures(images, 90, first=100)
    endpoint.script(
        slow_after=30, slow_seconds=1.0
    )  # most images are pending when twenty have a verdict
    run = in_background(lambda: inspect_images(source=str(images), **PARAMETERS))
    flow_run_id = paused(store, endpoint)
    endpoint.script(slow_after=None)
    before = store.inspections.counts(store.runs.list()[0].run_id)
    assert before.pending > 0
    answer = {"answer": "end the run"}
    resume_flow_run(flow_run_id, run_input=answer)  # type: ignore[arg-type]
    with pytest.raises(EndedByOperator, match="resume"):
        run.result(PLENTY)
    assert store.runs.list()[0].status == "interrupted"
    assert set(endpoint.asked().values()) == {1}
    assert endpoint.status == "TRAINED"


@pytest.mark.usefixtures("few_requests")
def test_no_answer_in_time_ends_the_run(images: Path, endpoint: Endpoint, store: Store) -> None:
    make_pictures(images, 90, first=100)
    endpoint.script(
        slow_after=30, slow_seconds=1.0
    )  # most images are pending when twenty have a verdict
    shown: list[str] = []
    with (
        watch_runs(lambda progress: shown.append(progress.text)),
        pytest.raises(EndedByOperator),
    ):
        inspect_images(source=str(images), pause_minutes=0.02, **PARAMETERS)
    [pause] = [text for text in shown if text.startswith("paused, the model is stopped")]
    assert pause.endswith("waiting up to 0.02 minutes for an answer on Prefect's page")
    assert store.runs.list()[0].status == "interrupted"
