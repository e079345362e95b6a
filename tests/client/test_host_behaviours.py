"""The behaviour that all hosts share.

One suite over all kinds of host. What is specific to one protocol has its own tests.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from typing import cast

import pytest

from lfv.client.clock import Backoff
from lfv.client.errors import (
    HostAccessDenied,
    HostConflict,
    HostError,
    HostingInterrupted,
    HostingTimedOut,
    HostRejected,
    HostThrottled,
    HostUnreachable,
    ModelNotFound,
)
from lfv.client.hosting import ensure_hosted, ensure_stopped
from lfv.client.hosts import HostSpec, ModelHost, Units, open_host
from lfv.client.hosts.edge.pixels import to_rgb888
from lfv.formats.status import ModelStatus
from tests.support.encoded import make_image
from tests.support.places import HANG_SECONDS, PLACES, Place
from tests.support.waiting import PLENTY, wait_until

QUICK = Backoff(0.02, 1.0, 0.02)
DOWN = ModelStatus.TRAINED


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    opened = cast("AbstractContextManager[Place]", PLACES[request.param]())
    with opened as place:
        place.endpoint.script(hang_seconds=HANG_SECONDS)
        yield place


@pytest.fixture
def host(place: Place) -> Iterator[ModelHost]:
    with closing(open_host(place.spec)) as host:
        yield host


@pytest.fixture
def impatient(place: Place) -> Iterator[ModelHost]:
    """A host with short timeouts."""
    with closing(open_host(place.impatient)) as host:
        yield host


def bring_up(host: ModelHost, named: str = "a-start", seconds: float = PLENTY) -> bool:
    """Whether our start hosted the model."""
    return ensure_hosted(host, Units(1), named, timeout=seconds, poll=QUICK).started


def bring_down(host: ModelHost, seconds: float = PLENTY) -> bool:
    """Whether the model was up."""
    outcome = ensure_stopped(host, "a-stop", timeout=seconds, poll=QUICK)
    return outcome.was_up


def starts(place: Place) -> int:
    """How many starts had their effect."""
    return len(place.endpoint.calls("StartModel", "ok"))


# -- up --


def test_a_start_hosts_the_model(place: Place, host: ModelHost) -> None:
    assert host.describe().status is DOWN
    assert bring_up(host)
    state = host.describe()
    assert state.status is ModelStatus.HOSTED
    assert state.model_arn
    assert starts(place) == 1


def test_the_model_is_the_same_one_whether_it_is_up_or_down(host: ModelHost) -> None:
    before = host.describe()
    bring_up(host)
    after = host.describe()
    assert (before.model_arn, before.created_at) == (after.model_arn, after.created_at)


def test_a_model_that_somebody_else_hosts_is_adopted(place: Place, host: ModelHost) -> None:
    place.endpoint.script(hosted=True)
    assert not bring_up(host)
    assert starts(place) == 0


def test_two_starts_at_once_host_the_model_once(place: Place) -> None:
    place.endpoint.script(start_seconds=0.3)
    hosts = [open_host(place.spec) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(bring_up, hosts, ["one", "two"]))
    assert sum(started) == 1
    assert starts(place) == 1
    for host in hosts:
        host.close()


def test_a_start_whose_answer_is_lost_counts(place: Place, impatient: ModelHost) -> None:
    place.endpoint.script(fail={"StartModel": ["lost"]})
    assert bring_up(impatient)
    assert starts(place) == 1


def test_a_start_that_is_not_answered_is_repeated(place: Place, impatient: ModelHost) -> None:
    place.endpoint.script(fail={"StartModel": ["hang"]})
    assert bring_up(impatient)


def test_a_start_that_fails_for_a_moment_is_repeated(place: Place, host: ModelHost) -> None:
    failures = ["ThrottlingException", "InternalServerException"]
    place.endpoint.script(fail={"StartModel": failures})
    assert bring_up(host)
    assert starts(place) == 1


def test_a_start_that_is_not_allowed_fails_at_once(place: Place, host: ModelHost) -> None:
    place.endpoint.script(fail={"StartModel": ["AccessDeniedException"]})
    with pytest.raises(HostAccessDenied):
        bring_up(host)
    assert host.describe().status is DOWN


def test_a_start_that_takes_too_long_is_reported(place: Place, host: ModelHost) -> None:
    place.endpoint.script(start_seconds=20)
    with pytest.raises(HostingTimedOut):
        bring_up(host, seconds=0.5)


def test_a_late_start_is_stopped(place: Place, host: ModelHost) -> None:
    """The start takes effect after the caller gave up."""
    place.endpoint.script(fail={"StartModel": ["late"]})
    stop = threading.Event()

    def watch(text: str) -> None:
        if "failed" in text:
            stop.set()

    with pytest.raises(HostingInterrupted):
        ensure_hosted(
            host, Units(1), "late", timeout=PLENTY, stop_event=stop, progress=watch, poll=QUICK
        )
    timer = threading.Timer(0.3, place.endpoint.script, kwargs={"release": True})
    timer.start()
    timer.join()
    wait_until(lambda: host.describe().status.is_up)
    assert bring_down(host)
    assert host.describe().status is DOWN
    assert place.endpoint.leftovers == []


def test_a_failed_request_of_the_status_is_repeated(place: Place, host: ModelHost) -> None:
    place.endpoint.script(
        fail={"DescribeModel": ["ThrottlingException", "InternalServerException"]}
    )
    assert bring_up(host)


# -- detection --


def test_the_answer_is_for_the_bytes_that_were_sent(
    place: Place, host: ModelHost, png: bytes
) -> None:
    bring_up(host)
    detection = host.detect(png, "image/png")
    digest = hashlib.sha256(to_rgb888(png)[2] if place.kind == "edge" else png).digest()
    assert detection.result.is_anomalous is (digest[0] % 4 == 0)
    assert detection.result.confidence == pytest.approx(0.5 + digest[1] / 512, abs=1e-4)
    assert detection.request_id or place.kind == "edge"  # the agent has no request ids
    assert detection.attempts == 1
    assert detection.latency_ms > 0
    assert len(place.endpoint.asked()) == 1


def test_the_raw_answer_is_kept(place: Place, host: ModelHost, jpeg: bytes) -> None:
    bring_up(host)
    response = host.detect(jpeg, "image/jpeg").result.to_response()
    assert {"Source", "IsAnomalous", "Confidence"} <= set(response)


def test_many_threads_detect_at_once(place: Place, host: ModelHost) -> None:
    bring_up(host)
    images = [make_image(size=(64 + number, 64)) for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: host.detect(image, "image/png"), images))
    assert len(found) == len(place.endpoint.asked()) == 12


@pytest.mark.parametrize("body", [b"not an image", make_image()[:60]], ids=["text", "cut short"])
def test_a_damaged_image_is_refused_once(place: Place, host: ModelHost, body: bytes) -> None:
    bring_up(host)
    with pytest.raises(HostRejected) as caught:
        host.detect(body, "image/png")
    assert not caught.value.retryable
    assert caught.value.attempts == 1
    assert host.describe().status is ModelStatus.HOSTED


@pytest.mark.parametrize("failure", ["InternalServerException", "hang"])
def test_detection_is_retried_after_temporary_failures(
    place: Place, impatient: ModelHost, png: bytes, failure: str
) -> None:
    bring_up(impatient)
    place.endpoint.script(fail={"DetectAnomalies": [failure]})
    assert impatient.detect(png, "image/png").attempts == 2


def test_throttling_is_reported_at_once_because_callers_pace_requests(
    place: Place, host: ModelHost, png: bytes
) -> None:
    bring_up(host)
    place.endpoint.script(fail={"DetectAnomalies": ["InternalServerException"] * 2})
    assert host.detect(png, "image/png").attempts == 3
    place.endpoint.script(fail={"DetectAnomalies": ["ThrottlingException"]})
    with pytest.raises(HostThrottled) as caught:
        host.detect(png, "image/png")
    assert caught.value.attempts == 1


def test_detection_ends_with_its_run(place: Place, host: ModelHost, png: bytes) -> None:
    bring_up(host)
    place.endpoint.script(fail={"DetectAnomalies": ["InternalServerException"] * 50})
    ended = threading.Event()
    ended.set()
    with pytest.raises(HostError) as caught:
        host.detect(png, "image/png", stop_event=ended)
    assert caught.value.retryable
    assert caught.value.attempts == 1


def test_detection_without_a_hosted_model_is_not_recorded_for_the_image(
    place: Place, host: ModelHost, png: bytes
) -> None:
    with pytest.raises((HostConflict, ModelNotFound)):
        host.detect(png, "image/png")
    assert place.endpoint.asked() == {}


# -- down --


def test_a_stop_takes_the_model_down_and_leaves_nothing(place: Place, host: ModelHost) -> None:
    bring_up(host)
    assert bring_down(host)
    assert host.describe().status is DOWN
    assert place.endpoint.status == DOWN
    assert place.endpoint.leftovers == []


def test_a_second_stop_finds_nothing_to_do(place: Place, host: ModelHost) -> None:
    bring_up(host)
    bring_down(host)
    assert not bring_down(host)
    assert len(place.endpoint.calls("StopModel", "ok")) == 1


def test_two_stops_at_once_are_one(place: Place, host: ModelHost) -> None:
    place.endpoint.script(stop_seconds=0.3)
    bring_up(host)
    other = open_host(place.spec)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(bring_down, [host, other]))
    other.close()
    assert place.endpoint.status == DOWN
    assert place.endpoint.leftovers == []


@pytest.mark.parametrize("failure", ["ThrottlingException", "InternalServerException", "hang"])
def test_a_stop_that_fails_is_repeated(place: Place, impatient: ModelHost, failure: str) -> None:
    bring_up(impatient)
    place.endpoint.script(fail={"StopModel": [failure, failure]})
    assert bring_down(impatient)
    assert place.endpoint.status == DOWN
    assert place.endpoint.leftovers == []


def test_a_stop_whose_answer_is_lost_counts(place: Place, impatient: ModelHost) -> None:
    bring_up(impatient)
    place.endpoint.script(fail={"StopModel": ["lost"]})
    bring_down(impatient)
    assert place.endpoint.status == DOWN
    assert place.endpoint.leftovers == []


def test_a_stop_that_is_not_allowed_fails_at_once(place: Place, host: ModelHost) -> None:
    bring_up(host)
    place.endpoint.script(fail={"StopModel": ["AccessDeniedException"]})
    with pytest.raises(HostAccessDenied):
        bring_down(host)
    assert bring_down(host)


def test_a_stop_that_takes_too_long_is_reported(place: Place, host: ModelHost) -> None:
    bring_up(host)
    place.endpoint.script(stop_seconds=20)
    with pytest.raises(HostingTimedOut):
        bring_down(host, seconds=0.5)


def test_a_starting_model_is_stopped(place: Place, host: ModelHost) -> None:
    place.endpoint.script(start_seconds=0.6)
    host.start(Units(1), "a-token")
    assert bring_down(host)
    assert place.endpoint.status == DOWN
    assert place.endpoint.leftovers == []


def test_a_model_is_hosted_again_after_a_stop(place: Place, host: ModelHost, png: bytes) -> None:
    place.endpoint.script(stop_seconds=0.3)
    bring_up(host, "one")
    host.stop("a-stop")
    assert bring_up(host, "two")
    assert host.detect(png, "image/png").result.confidence > 0


# -- from another process --


def test_another_process_stops_the_model_from_the_specification(
    place: Place, host: ModelHost
) -> None:
    bring_up(host)
    other = open_host(HostSpec.from_dict(json.loads(json.dumps(host.spec.to_dict()))))
    assert bring_down(other)
    other.close()
    assert host.describe().status is DOWN
    assert place.endpoint.leftovers == []


def test_a_model_that_does_not_exist_is_not_found(place: Place) -> None:
    with pytest.raises(ModelNotFound) as caught:
        open_host(place.unknown).describe()
    assert place.unknown.project in str(caught.value) or "no" in str(caught.value)


def test_an_unreachable_host_is_reported(place: Place, host: ModelHost, png: bytes) -> None:
    place.endpoint.close()
    ended = threading.Event()
    ended.set()
    for call in (
        lambda: open_host(place.spec).describe(),
        lambda: host.detect(png, "image/png", stop_event=ended),
    ):
        with pytest.raises(HostUnreachable) as caught:
            call()
        assert caught.value.retryable
