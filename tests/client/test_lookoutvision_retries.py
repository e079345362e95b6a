"""Retries of calls to the API: how many, how soon, and until when."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from lfv.client.clock import Backoff
from lfv.client.errors import (
    HostError,
    HostThrottled,
    HostUnavailable,
)
from lfv.client.hosts import LookoutVisionHost
from lfv.client.retry import RetryPolicy, call_with_retries
from lfv.formats.errors import ResponseInvalid
from tests.client.conftest import Reply, Request, ScriptedApi, api_error
from tests.support.fake_model import FakeClock
from tests.support.lookoutvision import ANSWER, QUICK, spec
from tests.support.waiting import PLENTY, stretched


@pytest.fixture
def host(api: ScriptedApi) -> Iterator[LookoutVisionHost]:
    """Waits for answers long enough for a busy machine."""
    options = {"read_timeout": PLENTY, "control_timeout": PLENTY}
    with closing(LookoutVisionHost(spec(api, **options), retries=QUICK)) as host:
        yield host


def test_detect_retries_temporary_failures(api: ScriptedApi, host: LookoutVisionHost) -> None:
    api.queue(
        api_error(503, "Unheard"),
        api_error(500, "InternalServerException"),
        Reply(drop=True),
        Reply(200, ANSWER),
    )
    assert host.detect(b"x", "image/png").attempts == 4


def test_detect_gives_up_after_its_attempts(api: ScriptedApi, host: LookoutVisionHost) -> None:
    api.queue(api_error(500, "InternalServerException"))
    with pytest.raises(HostUnavailable) as caught:
        host.detect(b"x", "image/png")
    assert len(api.requests) == caught.value.attempts == 4


def test_an_invalid_answer_after_a_failure(api: ScriptedApi, host: LookoutVisionHost) -> None:
    api.queue(api_error(500, "InternalServerException"), Reply(200, {"DetectAnomalyResult": {}}))
    with pytest.raises(ResponseInvalid) as caught:
        host.detect(b"x", "image/png")
    assert caught.value.attempts == 2


@pytest.mark.parametrize("status", [400, 403, 404, 409])
def test_detect_does_not_retry_a_refusal(
    api: ScriptedApi, host: LookoutVisionHost, status: int
) -> None:
    api.queue(api_error(status, "WhateverException"))
    with pytest.raises(HostError):
        host.detect(b"x", "image/png")
    assert len(api.requests) == 1


@pytest.mark.parametrize(("value", "seconds"), [("3", 3), ("0", 0), ("-5", 0)])
def test_retry_after_is_read(
    api: ScriptedApi, host: LookoutVisionHost, value: str, seconds: float
) -> None:
    api.queue(api_error(429, "ThrottlingException", Retry_After=value))
    with pytest.raises(HostThrottled) as caught:
        host.stop("t")
    assert caught.value.retry_after == seconds


def test_retry_after_of_a_proxy(api: ScriptedApi, host: LookoutVisionHost) -> None:
    """Dates are legal HTTP, but botocore reads them only for errors that its model lacks."""
    api.queue(api_error(503, "Unheard", Retry_After="Thu, 01 Jan 2099 00:00:00 GMT"))
    with pytest.raises(HostUnavailable) as caught:
        host.stop("t")
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 1_000_000
    for value in ("soon", "Thu, 01 Jan 2099 00:00:00 GMT"):
        api.queue(api_error(429, "ThrottlingException", Retry_After=value))
        with pytest.raises(HostUnavailable) as caught:
            host.stop("t")
        assert caught.value.retryable


def test_retry_after_is_respected() -> None:
    clock = FakeClock()
    errors = [HostThrottled("busy", retry_after=7), HostThrottled("busy", retry_after=9999)]

    def call() -> str:
        if errors:
            raise errors.pop(0)
        return "done"

    policy = RetryPolicy(attempts=5, timeout=300, longest_retry_after=60)
    assert call_with_retries(call, policy, clock=clock) == ("done", 3)
    assert clock.waits == [7, 60]


def test_backoff_grows_up_to_a_bound_with_jitter() -> None:
    low = Backoff(0.2, 2, 10, draw=lambda: 0.0)
    high = Backoff(0.2, 2, 10, draw=lambda: 1.0)
    assert [low.seconds(n) for n in (1, 2, 3)] == pytest.approx([0.1, 0.2, 0.4])
    assert [high.seconds(n) for n in (1, 2, 3)] == pytest.approx([0.2, 0.4, 0.8])
    assert high.seconds(10_000) == 10


def test_no_wait_goes_beyond_the_deadline() -> None:
    clock = FakeClock()
    calls: list[int] = []

    def call() -> str:
        calls.append(1)
        clock.advance(4)
        raise HostUnavailable("500")

    with pytest.raises(HostUnavailable):
        call_with_retries(call, RetryPolicy(attempts=99, timeout=10), clock=clock)
    assert len(calls) == 3
    assert clock.monotonic() <= 13


def test_a_stop_event_ends_the_retries(api: ScriptedApi) -> None:
    api.queue(api_error(500, "InternalServerException", Retry_After="30"))
    host = LookoutVisionHost(spec(api))
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    with pytest.raises(HostUnavailable):
        host.detect(b"x", "image/png", stop_event=stop)
    assert time.monotonic() - began < stretched(5)
    assert len(api.requests) == 1
    host.close()


def test_many_threads_have_a_connection_each(api: ScriptedApi) -> None:
    """With too small a pool urllib3 would warn, and a warning fails the test."""
    together = threading.Barrier(24)

    def answer(_: Request) -> Reply:
        together.wait(PLENTY)
        return Reply(200, ANSWER)

    api.answer = answer
    host = LookoutVisionHost(spec(api, max_connections=24))
    seen: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: seen.append(host.detect(b"x", "image/png").request_id))
        for _ in range(24)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PLENTY)
    assert len(seen) == 24
    host.close()
