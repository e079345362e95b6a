"""A model in use by others: by another run, or by somebody who started it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.endpoints import Endpoint
from tests.support.launcher import Break, Running
from tests.support.processes import kill
from tests.support.scene import Scene, scene_in
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def other(scene: Scene, tmp_path: Path) -> Iterator[Scene]:
    """A second manifest, with other images, on the same model and database."""
    place = (scene.launcher, scene.endpoint, scene.database_url)
    with scene_in(tmp_path / "other", *place, lines=60, first=1000) as other:
        yield other


@pytest.mark.both_databases
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
def test_the_first_of_two_runs_is_killed(
    scene: Scene, other: Scene, number: signal.Signals
) -> None:
    first, second = begin_both(scene, other)
    first.kill(number)
    first.wait()
    scene.hurry()
    second.finish()
    check_one_period(scene.endpoint)
    other.check_complete()
    scene.endpoint.script(detect_seconds=0)
    scene.resume().finish()
    scene.check_complete()
    scene.check_audit()
    asked = scene.endpoint.asked()
    assert len(asked) == scene.lines + other.lines
    assert sum(asked.values()) <= len(asked) + 4


def test_the_first_of_two_runs_ends(scene: Scene, other: Scene) -> None:
    first, second = begin_both(scene, other)
    scene.hurry()
    first.finish()
    second.finish()
    check_one_period(scene.endpoint)
    for one in (scene, other):
        one.check_complete()
    assert set(scene.endpoint.asked().values()) == {1}
    scene.check_audit()


def begin_both(scene: Scene, other: Scene) -> tuple[Running, Running]:
    """Two runs that use the model at the same time."""
    first = scene.inspect(read_timeout_seconds="60")
    scene.asking(1, then=5)  # until the second run has joined
    second = other.inspect(read_timeout_seconds="60")
    wait_until(lambda: scene.hostings()[0].live_leases == 2)
    return first, second


def check_one_period(endpoint: Endpoint) -> None:
    """The model was started once and stopped once, however many used it."""
    wait_until(lambda: endpoint.status == "TRAINED")
    statuses = [change["status"] for change in endpoint.changes]
    assert statuses == ["STARTING_HOSTING", "HOSTED", "STOPPING_HOSTING", "TRAINED"]
    assert set(endpoint.asked().values()) <= {1, 2}


@pytest.mark.parametrize("fault", ["exception", "SIGINT", "SIGKILL", "both", "StartModel"])
def test_a_model_of_somebody_else_survives_every_fault(scene: Scene, fault: str) -> None:
    endpoint = scene.endpoint
    if fault == "StartModel":  # somebody else starts it after our DescribeModel
        endpoint.script(fail={"StartModel": ["overtaken"]})
        scene.inspect().finish()
    else:
        endpoint.script(hosted=True)
        breaks = (
            [Break("tasks.detect_anomalies:detect_batch", call=2)] if fault == "exception" else []
        )
        run = scene.inspect(breaks=breaks)
        guard = run.guard()
        if fault != "exception":  # which the break causes by itself
            scene.asking()
        scene.fault()
        if fault == "both":
            kill(guard, run.pid)
        elif fault != "exception":
            run.kill(signal.Signals[fault])
        run.wait()
        wait_until(lambda: scene.sweep() and scene.hostings()[0].status == "left")
        assert endpoint.status == "HOSTED"
        scene.resume().finish()
    assert endpoint.status == "HOSTED"
    assert endpoint.calls("StopModel", "ok") == []
    assert {hosting.status for hosting in scene.hostings()} == {"left"}
    scene.check_complete()
    scene.check_asked()
    scene.check_audit()
