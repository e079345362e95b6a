"""What a worker process opens for a run stays open between batches, and closes with the run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lfv.client.policy import Policy
from lfv.run.context import InspectionRequest, RunContext
from lfv.run.detection import attachments
from lfv.run.detection.attachments import (
    attach,
    end_attachments,
    requests_in_flight,
    share_requests,
)
from lfv.run.detection.detect import detect_batch
from lfv.run.errors import NotSpreadable
from lfv.settings import Settings
from lfv_store import Lease, Store, StoreError
from tests.support.endpoints import Endpoint, endpoint_in_thread
from tests.support.store_samples import a_model, a_run, an_item
from tests.support.waiting import PLENTY, wait_until


@pytest.fixture(autouse=True)
def frequent_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "_LOOK_SECONDS", 0.02)


@pytest.fixture
def context(tmp_path: Path, store: Store, sqlite_url: str) -> RunContext:
    model_id = a_model(store)
    return RunContext(
        run_id=a_run(store, model_id),
        model_id=model_id,
        request=InspectionRequest(source="images", project="parts"),
        model_version="1",
        endpoint_url="http://127.0.0.1:9",
        embedded=False,
        policy=Policy.from_confidence(0.8).to_dict(),
        expected_size=None,
        planned_through=0,
        settings=Settings(home=tmp_path / "home", database_url=sqlite_url, requests_per_unit=12),
        workers=2,
    )


def _is_closed(context: RunContext) -> bool:
    return not attachments._of(context.run_id) and not any(
        thread.name == f"follow-{context.run_id[:8]}" for thread in threading.enumerate()
    )


def test_the_next_batch_finds_the_run_open(store: Store, context: RunContext, lease: Lease) -> None:
    with attach(context) as first, attach(context) as second:
        assert second is first
        assert first.store is not store
    with attach(context) as third:
        assert third is first
        assert third.stream is not None
    store.leases.release(lease.lease_id)
    wait_until(lambda: _is_closed(context), "the attachment is closed with the run")
    assert first.stream is None


def test_a_run_that_ends_elsewhere_ends_here(
    store: Store, context: RunContext, lease: Lease
) -> None:
    with attach(context) as run:
        store.leases.call_off(context.run_id)
        assert run.control.stop.wait(PLENTY)
        assert not _is_closed(context)
    wait_until(lambda: _is_closed(context), "the attachment is closed after its last batch")


def test_an_idle_attachment_is_closed(
    context: RunContext, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "IDLE_SECONDS", 0.1)
    with attach(context) as first:
        pass
    wait_until(lambda: _is_closed(context), "the idle attachment is closed")
    with attach(context) as second:
        assert second is not first


def test_shares_follow_the_number_of_workers(context: RunContext, lease: Lease) -> None:
    with attach(context) as of_two:
        assert of_two.limit.ceiling == 6
        with attach(replace(context, workers=3)) as of_three:
            assert of_three.limit.ceiling == 4
        with attach(replace(context, workers=1)) as alone:
            assert alone.limit.ceiling == 12
    wait_until(lambda: of_two.stream is None, "the earlier attachment is closed")


def test_processes_that_join_get_their_share_at_once(context: RunContext, lease: Lease) -> None:
    context = replace(context, endpoint_url="http://127.0.0.1:8")  # not shared with other tests
    share_requests(context.run_id, 3)
    assert requests_in_flight(context.run_id) == 0
    with attach(context) as run:
        assert requests_in_flight(context.run_id) == run.limit.limit == 4
        share_requests(context.run_id, 4)
        assert requests_in_flight(context.run_id) == run.limit.limit == 2
    with attach(replace(context, workers=1)):
        assert requests_in_flight(context.run_id) == 8


def test_a_batch_after_the_end_opens_the_run_again(context: RunContext, lease: Lease) -> None:
    with attach(context) as first:
        first.control.stop.set()
    with attach(context) as second:
        assert not second.control.stop.is_set()


def test_the_end_of_a_worker_ends_its_work_for_the_run(context: RunContext, lease: Lease) -> None:
    with attach(context) as earlier, attach(replace(context, workers=3)) as later:
        end_attachments(context.run_id)
        assert earlier.control.stop.is_set()
        assert later.control.stop.is_set()
    wait_until(lambda: _is_closed(context), "both attachments are closed")


def test_a_run_that_cannot_be_opened_is_opened_by_the_next_batch(
    context: RunContext, lease: Lease, tmp_path: Path
) -> None:
    missing = context.settings.model_copy(update={"database_url": f"sqlite:///{tmp_path}/no.db"})
    with (
        pytest.raises(StoreError),
        attach(replace(context, settings=missing)),
    ):
        pass
    with attach(context) as run:
        assert run.run_id == context.run_id


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint with a model that has the name of the run's model, but is another one."""
    with endpoint_in_thread() as endpoint:
        yield endpoint


def test_another_model_of_the_same_name_is_not_used(
    context: RunContext, lease: Lease, endpoint: Endpoint
) -> None:
    there = replace(context, endpoint_url=endpoint.url)
    with pytest.raises(NotSpreadable, match="another model named parts, version 1"):
        detect_batch(there, [an_item(1, 1)])
    assert not endpoint.calls("DetectAnomalies")


def test_a_batch_that_starts_after_the_end_sends_nothing(
    store: Store, context: RunContext, lease: Lease, endpoint: Endpoint
) -> None:
    store.inspections.plan(context.run_id, pending=[an_item(1, 1)], through_line=1)
    ended = threading.Event()
    ended.set()
    batch = detect_batch(replace(context, endpoint_url=endpoint.url), [an_item(1, 1)], ended)
    assert (batch.answered, batch.errors, batch.left) == (0, 0, 1)
    assert not endpoint.calls("DetectAnomalies")
