"""StartModel and StopModel that fail, or seem to fail."""

from __future__ import annotations

import pytest

from tests.support.fault_list import bound
from tests.support.scene import Scene
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.mark.every_host
def test_a_start_whose_answer_is_lost_is_one_start(scene: Scene) -> None:
    scene.endpoint.script(fail={"StartModel": ["lost"]}, start_seconds=1)
    scene.inspect().finish()
    assert statuses(scene).count("STARTING_HOSTING") == 1
    assert [hosting.status for hosting in scene.hostings()] == ["stopped"]
    scene.check_finished()


@pytest.mark.every_host
def test_a_start_without_an_answer_takes_effect_later(scene: Scene) -> None:
    refused = ["ThrottlingException"] * 1000  # else the second attempt would be the start
    scene.endpoint.script(fail={"StartModel": ["late", *refused]})
    run = scene.inspect(hosting_deadline_seconds="1")
    scene.endpoint.wait_for_calls("StartModel", 1)
    scene.fault()
    assert run.wait() == 1
    assert not statuses(scene)
    scene.endpoint.script(fail={}, release=True)
    wait_until(lambda: statuses(scene))
    scene.check_stopped(scene.endpoint.changes[0]["at"], bound("start-late"), recorded=False)
    scene.resume().finish()  # takes the model over from the guard, which still watches it
    scene.check_finished()


@pytest.mark.every_host(by_turns=True)
@pytest.mark.parametrize("killed", [False, True], ids=["", "killed"])
def test_a_stop_that_fails_is_repeated(scene: Scene, killed: bool) -> None:
    scene.endpoint.script(fail={"StopModel": ["InternalServerException"] * 5})
    run = scene.inspect()
    if killed:
        scene.asking()
        since = scene.fault()
        run.kill()
    else:
        run.finish()
        since = scene.endpoint.calls("DetectAnomalies")[-1]["at"]
    scene.check_stopped(since, bound("stop-fails"))
    assert len(scene.endpoint.calls("StopModel", "InternalServerException")) == 5
    scene.resume().finish()
    scene.check_finished()


@pytest.mark.every_host
def test_a_stop_that_keeps_failing_is_the_sweepers_job(scene: Scene) -> None:
    scene.endpoint.script(fail={"StopModel": ["AccessDeniedException"] * 1000})
    run = scene.inspect()
    guard = run.guard()
    run.finish()
    assert scene.guard_gone(guard)
    (swept,) = scene.sweep().swept
    assert not swept.stopped
    assert swept.problem is not None
    assert "AccessDenied" in swept.problem
    assert scene.endpoint.status == "HOSTED"
    scene.endpoint.script(fail={})
    since = scene.fault()
    assert scene.sweep().clean
    scene.check_stopped(since, bound("stop-refused"))
    scene.check_finished()


def statuses(scene: Scene) -> list[str]:
    """Every status of the model, in order."""
    return [change["status"] for change in scene.endpoint.changes]
