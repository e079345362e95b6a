"""Runs killed at random moments, repeatedly, until their work is done.

    pytest tests/faults/test_random_kills.py --kills 500 --kills-seed 7

The seed is printed.  It determines the test's actions, but not the machine's timing.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.support.databases import PostgresServer
from tests.support.endpoints import HOSTS, Endpoint, endpoint_in_process
from tests.support.fault_list import bound
from tests.support.launcher import Launcher, Running
from tests.support.processes import guards_of, kill
from tests.support.scene import Scene, scene_in
from tests.support.waiting import stretched, wait_gone, wait_until

pytestmark = pytest.mark.slow

#: Campaigns at the same time, each on a model of its own.
AT_ONCE = 3
#: Runs whose images a batch job answers instead of an endpoint.
BATCH = "sagemaker-batch"
#: Kills per manifest.
KILLS_PER_MANIFEST = 6
_WAYS = {"SIGKILL": 6, "SIGKILL with guard": 2, "SIGTERM": 1, "SIGINT": 1, "SIGINT twice": 1}


@pytest.mark.parametrize("host_of_test", [*HOSTS, BATCH], indirect=True)
@pytest.mark.timeout(0)
def test_runs_killed_at_random(
    pytestconfig: pytest.Config,
    launcher: Launcher,
    postgresql_server: PostgresServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    host_of_test: str,
) -> None:
    kills: int = pytestconfig.getoption("--kills")
    seed: int | None = pytestconfig.getoption("--kills-seed")
    if seed is None:
        seed = random.SystemRandom().randrange(1_000_000)
    with capsys.disabled():
        print(f"\n{kills} kills on {host_of_test}, --kills-seed {seed}")  # noqa: T201 - asked for

    def campaign(number: int) -> dict[str, int]:
        name = f"campaign {number} of --kills-seed {seed}"
        place = tmp_path / str(number)
        place.mkdir()
        quota = kills // AT_ONCE + (number < kills % AT_ONCE)
        try:
            chance = random.Random(f"{seed}-{number}")
            found = Campaign(place, launcher, postgresql_server, host_of_test, chance)
            return found.kill(quota, first=number)
        except BaseException as error:
            raise AssertionError(f"{name}: {error}") from error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(campaign, range(AT_ONCE)))
    total = {way: sum(one[way] for one in done) for way in _WAYS}
    with capsys.disabled():
        print(total)  # noqa: T201
    assert sum(total.values()) == kills


class Campaign:
    """Kills runs over one manifest after the other, alternating between the databases."""

    def __init__(
        self,
        folder: Path,
        launcher: Launcher,
        postgresql: PostgresServer,
        host: str,
        chance: random.Random,
    ) -> None:
        self._is_batch = host == BATCH
        self._host = "sagemaker" if self._is_batch else host
        self._folder = folder
        self._launcher = launcher
        self._postgresql = postgresql
        self._random = chance
        self._done = dict.fromkeys(_WAYS, 0)

    def kill(self, quota: int, first: int) -> dict[str, int]:
        """Kill this many runs over manifests numbered from `first`.

        Returns:
            How many were killed in which way.
        """
        manifests = first
        while (left := quota - sum(self._done.values())) > 0:
            manifests += 1
            folder = self._folder / str(manifests)
            folder.mkdir()
            with ExitStack() as stack:
                scene = self._scene(folder, manifests, stack.enter_context)
                self._torment(scene, min(left, KILLS_PER_MANIFEST))
        return self._done

    def _scene(
        self,
        folder: Path,
        number: int,
        enter: Callable[[AbstractContextManager[object]], object],
    ) -> Scene:
        endpoint = enter(endpoint_in_process(folder, self._host))
        assert isinstance(endpoint, Endpoint)
        endpoint.script(detect_seconds=0.05, start_seconds=0.2, stop_seconds=0.2)
        url: object = f"sqlite:///{folder / 'store.db'}"
        if number % 2:
            url = enter(self._postgresql.database())
        scene = enter(scene_in(folder / "scene", self._launcher, endpoint, str(url), lines=60))
        assert isinstance(scene, Scene)
        if self._is_batch:
            bucket = folder / "bucket"
            bucket.mkdir()
            endpoint.script(buckets={"lot": str(bucket)})
            scene.environment |= {
                "LFV_BUCKETS": f"lot={bucket}",
                "LFV_STAGING_URI": "s3://lot/staging",
            }
        return scene

    def _begin(self, scene: Scene) -> Running:
        return scene.inspect(*(("--mode", "batch") if self._is_batch else ()))

    def _torment(self, scene: Scene, kills: int) -> None:
        """Kill the runs over one manifest, then let it finish, and check everything."""
        begun = False
        for _ in range(kills):
            run = scene.resume() if begun else self._begin(scene)
            if not self._await_moment(scene, run):
                break  # it ended before its random moment
            self._kill_one(scene, run)
            begun = bool(scene.store.runs.list())
        (scene.resume() if begun else self._begin(scene)).finish()
        # The killed run's job is not the resumed run's; its guard may still be stopping it.
        scene.check_finished(wait=self._is_batch)

    def _await_moment(self, scene: Scene, run: Running) -> bool:
        """Whether the run is still alive at its random moment: some calls from now, and a little
        later, so that the process may be anywhere between two calls."""
        calls = len(scene.endpoint.all_calls()) + self._random.randrange(0, 30)
        wait_until(lambda: len(scene.endpoint.all_calls()) >= calls or wait_gone(run.pid, 0))
        return not wait_gone(run.pid, self._random.uniform(0, 0.5))

    def _kill_one(self, scene: Scene, run: Running) -> None:
        (way,) = self._random.choices(list(_WAYS), list(_WAYS.values()))
        pause = self._random.uniform(0, 1)
        self._done[way] += 1
        since = scene.fault()
        guards = guards_of(run.pid)
        if way == "SIGKILL with guard":
            kill(*guards, run.pid)
        elif way == "SIGKILL":
            run.kill()
        else:
            run.kill(signal.Signals[way.partition(" ")[0]])
            if way.endswith("twice") and not wait_gone(run.pid, pause):
                run.kill(signal.SIGINT)
        run.wait()
        if way == "SIGKILL with guard":
            wait_until(lambda: scene.sweep().clean and not self._open(scene))
        self._check_down(scene, since, 20 if way != "SIGKILL" else bound("sigkill"))

    @staticmethod
    def _open(scene: Scene) -> bool:
        return bool(scene.store.hostings.open())

    @staticmethod
    def _check_down(scene: Scene, since: float, within: float) -> None:
        scene.check_stopped(since, within, recorded=False)
        assert time.time() - since < stretched(120)
