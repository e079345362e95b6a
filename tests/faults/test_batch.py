"""Runs with a batch job that die: the job is stopped, and its answers are not billed again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.endpoints import endpoint_in_process
from tests.support.launcher import Launcher
from tests.support.processes import kill
from tests.support.scene import Scene, scene_in
from tests.support.waiting import wait_until


@pytest.fixture
def batch_scene(tmp_path: Path, launcher: Launcher, sqlite_url: str) -> Iterator[Scene]:
    with endpoint_in_process(tmp_path, "sagemaker") as endpoint:
        folder = tmp_path / "bucket"
        folder.mkdir()
        endpoint.script(detect_seconds=0.05, buckets={"lot": str(folder)})
        with scene_in(tmp_path / "scene", launcher, endpoint, sqlite_url) as scene:
            scene.environment |= {
                "LFV_BUCKETS": f"lot={folder}",
                "LFV_STAGING_URI": "s3://lot/staging",
            }
            yield scene


@pytest.mark.parametrize("way", ["SIGKILL", "SIGKILL with guard", "SIGTERM"])
def test_a_run_with_a_job_dies(batch_scene: Scene, way: str) -> None:
    scene = batch_scene
    run = scene.inspect("--mode", "batch")
    guard = run.guard()
    scene.asking(then=5.0)
    if way == "SIGKILL with guard":
        kill(guard, run.pid)
        wait_until(lambda: scene.sweep().clean and not scene.store.hostings.open())
    elif way == "SIGKILL":
        run.kill()
    else:
        run.kill(signal.SIGTERM)
    wait_until(lambda: scene.endpoint.leftovers == [] and not scene.store.hostings.open())
    run.wait()
    scene.hurry()
    scene.resume().finish()
    asked = scene.endpoint.asked()
    assert len(asked) == 24
    # The image in progress when the job was stopped, if any.
    assert sum(asked.values()) <= 24 + 1
    assert scene.store.inspections.counts(scene.newest_run().run_id).inspected == 24
    assert scene.endpoint.leftovers == []


def test_a_run_is_resumed_while_its_job_continues(batch_scene: Scene) -> None:
    """Its machine is lost, and it is resumed elsewhere before a sweeper has found the job."""
    scene = batch_scene
    scene.environment["LFV_LEASE_TTL_SECONDS"] = "600"
    run = scene.inspect("--mode", "batch")
    guard = run.guard()
    scene.asking(then=1.0)
    kill(guard, run.pid)
    run.wait()
    assert scene.endpoint.leftovers  # the job continues
    resumed = scene.resume(hurry=False)
    scene.endpoint.wait_for_calls("StopTransformJob", 1)
    scene.hurry()
    resumed.finish()
    asked = scene.endpoint.asked()
    assert len(asked) == 24
    assert sum(asked.values()) <= 24 + 1, "answers of the first job were paid for twice"
    assert scene.endpoint.leftovers == []
    assert [hosting.status for hosting in scene.hostings()] == ["stopped", "stopped"]


def test_a_start_takes_effect_after_its_run_died(batch_scene: Scene) -> None:
    """The guard watches for it, and the hosting stays open for that time."""
    scene = batch_scene
    scene.endpoint.script(fail={"CreateModel": ["late", "hang", "hang"]}, hang_seconds=3.0)
    run = scene.inspect("--mode", "batch")
    scene.endpoint.wait_for_calls("CreateModel", 1)
    run.kill()
    run.wait()
    scene.endpoint.script(fail={})
    scene.resume().finish()
    scene.check_complete()
    assert max(scene.endpoint.asked().values()) == 1
    (resumed, killed) = scene.hostings()
    assert (resumed.status, killed.status) == ("stopped", "stop_requested")
    assert scene.endpoint.leftovers == []
    deleted = len(scene.endpoint.calls("DeleteModel", "ok"))
    scene.endpoint.script(release=True)
    scene.endpoint.wait_for_calls("DeleteModel", deleted + 1)
    wait_until(lambda: scene.endpoint.leftovers == [])
