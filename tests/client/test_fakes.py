"""The model in memory behaves like a real one, on which other tests rely."""

from __future__ import annotations

import hashlib

import pytest

from lfv.client.errors import HostConflict, HostTimeout, HostUnavailable
from lfv.client.hosts import ModelHost, Units
from lfv.formats.status import ModelStatus
from tests.support.fake_model import FakeClock, FakeModel, FakeModelHost, anomalous, normal


def test_life_of_a_model() -> None:
    clock = FakeClock()
    model = FakeModel(clock=clock, start_seconds=10, stop_seconds=5)
    host: ModelHost = FakeModelHost(model)
    with pytest.raises(HostConflict):
        host.detect(b"x", "image/png")
    assert host.start(Units(), "t").status is ModelStatus.STARTING_HOSTING
    assert model.is_up
    with pytest.raises(HostConflict):
        host.stop("s")
    with pytest.raises(HostConflict):
        host.start(Units(), "another")
    assert host.start(Units(), "t").status is ModelStatus.STARTING_HOSTING
    clock.advance(10)
    assert host.describe().status is ModelStatus.HOSTED
    assert host.stop("s").status is ModelStatus.STOPPING_HOSTING
    clock.advance(5)
    assert host.describe().status is ModelStatus.TRAINED
    assert not model.is_up
    assert model.count("StartModel") == 3


def test_answers_and_their_record() -> None:
    model = FakeModel(
        status=ModelStatus.HOSTED,
        answers=lambda body: anomalous(0.9, crack=0.1) if body == b"bad" else normal(),
    )
    host = FakeModelHost(model)
    found = host.detect(b"bad", "image/png")
    assert [anomaly.name for anomaly in found.result.defects] == ["crack"]
    assert not host.detect(b"good", "image/jpeg").result.is_anomalous
    assert model.asked == [hashlib.sha256(body).hexdigest() for body in (b"bad", b"good")]
    assert model.calls[-1].content_type == "image/jpeg"
    assert not anomalous(0.9).is_segmentation


def test_failures_with_and_without_effect() -> None:
    model = FakeModel()
    host = FakeModelHost(model)
    model.fail_next("StartModel", HostTimeout("lost"))
    with pytest.raises(HostTimeout):
        host.start(Units(), "t")
    assert not model.is_up
    model.fail_next("StartModel", HostTimeout("lost"), happens=True)
    with pytest.raises(HostTimeout):
        host.start(Units(), "t")
    assert model.is_up


def test_detect_retries() -> None:
    model = FakeModel(status=ModelStatus.HOSTED, clock=FakeClock())
    model.fail_next("DetectAnomalies", HostUnavailable("500"), times=2)
    assert FakeModelHost(model).detect(b"x", "image/png").attempts == 3
    assert len(model.asked) == 3
