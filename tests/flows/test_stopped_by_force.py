"""`lfv stop --force` ends the runs that use the model; none of them starts it again."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest

from flows.inspect_images import inspect_images, resume_inspection
from lfv.run.errors import EndedByOperator
from lfv.run.hosting.stop import stop_model
from lfv.run.summary import RunSummary
from lfv.settings import get_settings
from lfv_store import Store
from tests.support.background import in_background
from tests.support.endpoints import Endpoint
from tests.support.pictures import make_pictures
from tests.support.waiting import PLENTY

pytestmark = pytest.mark.usefixtures("home")


def check_ended(run: Future[RunSummary], endpoint: Endpoint, store: Store) -> None:
    with pytest.raises(EndedByOperator, match="lfv inspect --resume"):
        run.result(PLENTY)
    assert endpoint.status == "TRAINED"
    assert store.runs.list()[0].status == "interrupted"
    (hosting,) = store.hostings.list()
    assert (hosting.status, hosting.live_leases) == ("stopped", 0)
    (entry,) = [one for one in store.audit.entries() if one.action == "hosting.stop_requested"]
    assert entry.actor == "mara"


def test_a_model_in_use(images: Path, endpoint: Endpoint, store: Store) -> None:
    make_pictures(images, 90, first=100)
    endpoint.script(detect_seconds=0.2)
    run = in_background(lambda: inspect_images(source=str(images), project="parts"))
    endpoint.wait_for_calls("DetectAnomalies", 4)
    stopped = stop_model(get_settings(), "parts", actor="mara", force=True)
    assert stopped.was_hosted
    check_ended(run, endpoint, store)
    assert len(endpoint.calls("StartModel")) == 1
    endpoint.script(detect_seconds=0.0)
    summary = resume_inspection("last")
    assert (summary.counts.total, summary.counts.pending) == (102, 0)
    assert endpoint.status == "TRAINED"


def test_a_model_that_is_about_to_be_started(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    endpoint.script(fail={"StartModel": ["ThrottlingException"] * 100})
    run = in_background(lambda: inspect_images(source=str(images), project="parts"))
    endpoint.wait_for_calls("StartModel", 1)
    stopped = stop_model(get_settings(), "parts", actor="mara", force=True)
    assert not stopped.was_hosted
    endpoint.script(fail={})
    check_ended(run, endpoint, store)
    assert endpoint.calls("DetectAnomalies") == []
