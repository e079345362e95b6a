"""However a run ends, its model is stopped, and the rest of its work can be resumed."""

from __future__ import annotations

import signal

import pytest

from tests.support.fault_list import bound
from tests.support.launcher import Break
from tests.support.processes import kill
from tests.support.scene import LEASE_SECONDS, Scene
from tests.support.waiting import PLENTY, wait_gone, wait_until

pytestmark = pytest.mark.slow

BODY = Break("flows.fan_out:detect_anomalies.submit", call=3)


@pytest.mark.every_host
def test_a_task_fails(scene: Scene) -> None:
    run = scene.inspect(breaks=[Break("tasks.detect_anomalies:detect_batch", call=2)])
    since = scene.fault(run.broken_at())
    scene.check_stopped(since, bound("task"))
    assert run.wait() == 1
    assert scene.newest_run().status == "failed"
    scene.resume().finish()
    scene.check_finished()


def test_the_body_of_the_flow_fails(scene: Scene) -> None:
    run = scene.inspect(breaks=[BODY])
    since = scene.fault(run.broken_at())
    scene.check_stopped(since, bound("body"))
    assert run.wait() == 1
    assert scene.newest_run().status == "failed"
    scene.inspect().finish()  # a plain re-run
    scene.check_finished()


def test_prefect_retries_the_flow(scene: Scene) -> None:
    run = scene.inspect(breaks=[BODY], flow={"retries": 1})
    scene.fault(run.broken_at())
    run.finish()
    assert len(scene.endpoint.calls("StartModel", "ok")) == 2
    assert len(scene.store.runs.list()) == 1
    scene.check_finished()


@pytest.mark.every_host(by_turns=True)
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_ends_the_run(scene: Scene, number: signal.Signals, status: int) -> None:
    run = scene.inspect()
    guard = run.guard()
    scene.asking()
    since = scene.fault()
    run.kill(number)
    scene.check_stopped(since, bound(number.name.lower()))
    assert run.wait() == status
    assert scene.newest_run().status == "cancelled"
    assert wait_gone(guard)
    scene.resume().finish()
    scene.check_finished()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    "where", ["flows.inspect_images:report", "flows.inspect_images:RunEvents.report_completion"]
)
def test_a_signal_after_the_run_is_recorded_as_completed(
    scene: Scene, where: str, name: str
) -> None:
    run = scene.inspect(breaks=[Break(where, what=name)])
    summary = run.finish()
    assert summary["status"] == scene.newest_run().status == "completed"
    assert "lfv: the run was completed before it was interrupted" in run.said
    assert (summary["report"] is None) == where.endswith("report") == ("`lfv report" in run.said)
    assert "terminated" not in run.said
    scene.check_finished()


def test_a_signal_after_the_run_is_recorded_as_failed(scene: Scene) -> None:
    breaks = [BODY, Break("flows.inspect_images:report_run", what="SIGTERM")]
    run = scene.inspect(breaks=breaks)
    assert run.wait() == 1
    assert scene.newest_run().status == "failed"
    assert "lfv: the run has failed: broken at call 3" in run.said
    scene.resume().finish()
    scene.check_finished()


def test_signals_while_the_model_is_being_stopped_change_nothing(scene: Scene) -> None:
    scene.endpoint.script(stop_seconds=2)
    run = scene.inspect()
    scene.asking()
    since = scene.fault()
    run.kill(signal.SIGINT)
    scene.endpoint.wait_for_calls("StopModel", 1)
    run.kill(signal.SIGINT)
    run.kill(signal.SIGTERM)
    run.kill(signal.SIGINT)
    assert run.wait() == 130
    assert [hosting.status for hosting in scene.hostings()] == ["stopped"]
    scene.check_stopped(since, bound("impatience"))
    scene.resume().finish()
    scene.check_finished()


def test_the_flow_times_out(scene: Scene) -> None:
    scene.endpoint.script(detect_seconds=2)
    run = scene.inspect(flow={"timeout_seconds": 8}, read_timeout_seconds="20")
    since = scene.fault()
    scene.check_stopped(since, 8 + bound("timeout"))
    assert run.wait() == 1
    assert scene.newest_run().status == "cancelled"
    scene.endpoint.script(detect_seconds=0)
    scene.resume().finish()
    scene.check_finished()


@pytest.mark.every_host
def test_a_killed_run_leaves_the_stop_to_its_guard(scene: Scene) -> None:
    run = scene.inspect()
    guard = run.guard()
    scene.asking()
    since = scene.fault()
    run.kill()
    scene.check_stopped(since, bound("sigkill"))
    assert run.wait() == -signal.SIGKILL
    assert wait_gone(guard)
    assert scene.newest_run().status == "crashed"
    assert len(scene.endpoint.calls("StopModel", "ok")) == 1
    scene.resume().finish()
    scene.check_finished()


@pytest.mark.every_host(by_turns=True)
@pytest.mark.parametrize(
    "where",
    [
        "lfv.run.hosting.hold:Guard",
        "lfv.run.hosting.hold:ModelHold._commit_lease",
        "lfv.run.hosting.guard_client:Guard.hold",
        "lfv.run.hosting.hold:ensure_hosted",
        "lfv.client.hosting:_Watch.wait",
        "flows.inspect_images:ProgressArtifact",
        "lfv.run.hosting.hold:ModelHold.__exit__",
        "lfv.run.hosting.release:ensure_stopped",
        "lfv.run.hosting.guard_client:Guard.report_release",
    ],
)
def test_a_run_killed_between_two_steps(scene: Scene, where: str) -> None:
    """No kill leaves a model unrecorded that is up or may come up."""
    scene.endpoint.script(start_seconds=1)
    run = scene.inspect(breaks=[Break(where, what="die")])
    since = scene.fault(run.broken_at())
    assert run.wait() == -signal.SIGKILL
    # The guard keeps watching until it knows whether the start took effect.
    scene.check_stopped(since, 1 + bound("points"), recorded=False)
    scene.resume().finish()
    scene.check_finished()


@pytest.mark.every_host
def test_run_and_guard_killed_together_leave_the_stop_to_the_sweeper(scene: Scene) -> None:
    run = scene.inspect()
    guard = run.guard()
    scene.asking()
    assert scene.hostings()  # opens the database, which takes a part of the lease's time
    since = scene.fault()
    kill(guard, run.pid)
    assert run.wait() == -signal.SIGKILL
    assert not scene.sweep().swept, "a lease that has not expired is respected"
    assert scene.endpoint.status == "HOSTED"
    wait_until(lambda: scene.sweep().swept)
    took = scene.check_stopped(since, LEASE_SECONDS + bound("both"))
    # Minus the time since the last heartbeat, at most a second.
    assert took > LEASE_SECONDS / 2
    assert scene.newest_run().status == "crashed"
    scene.resume().finish()
    scene.check_finished()


def test_a_run_is_resumed_before_the_lease_of_its_lost_process_expires(scene: Scene) -> None:
    run = scene.inspect(lease_ttl_seconds=str(10 * PLENTY))
    guard = run.guard()
    scene.asking()
    scene.fault()
    kill(guard, run.pid)
    assert run.wait() == -signal.SIGKILL
    scene.resume().finish()
    scene.check_finished()
    (hosting,) = scene.hostings()
    assert hosting.status == "stopped", "without a sweep"


def test_a_killed_guard_is_replaced(scene: Scene) -> None:
    scene.endpoint.script(detect_seconds=1)
    run = scene.inspect()
    scene.asking(1)
    kill(run.guard())
    wait_until(lambda: scene.guards() == 2)
    since = scene.fault()
    run.kill()
    scene.check_stopped(since, bound("guard"))
    scene.endpoint.script(detect_seconds=0)
    scene.resume().finish()
    scene.check_finished()
