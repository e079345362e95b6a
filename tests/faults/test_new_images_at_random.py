"""Files are written, overwritten and deleted at random while runs over new images are killed;
each content is still inspected once.

    pytest tests/faults/test_new_images_at_random.py --changes 300 --kills-seed 7
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from pathlib import Path

import pytest

from lfv.run.new_images import LEFT_TO_LATER_RUN
from tests.support.launcher import Running
from tests.support.pictures import make_pictures
from tests.support.scene import IN_FLIGHT, Scene
from tests.support.waiting import PLENTY, wait_gone, wait_until

#: Runs at the same time.
_MOST_RUNS = 2
_WEIGHTS = {"write": 5, "half": 1, "overwrite": 2, "delete": 1, "run": 3, "kill": 1}
#: Errors that leave an image to a later run.
_PASSING = {LEFT_TO_LATER_RUN, "source_changed", "source_not_found"}


@pytest.mark.timeout(0)
def test_each_content_is_inspected_once(
    scene: Scene, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    changes: int = pytestconfig.getoption("--changes")
    seed: int | None = pytestconfig.getoption("--kills-seed")
    if seed is None:
        seed = random.SystemRandom().randrange(1_000_000)
    with capsys.disabled():
        print(f"\n{changes} changes, --kills-seed {seed}")  # noqa: T201 - asked for
    plant = Plant(scene, random.Random(seed))
    plant.change(changes)
    plant.finish()
    plant.check()
    with capsys.disabled():
        print(dict(plant.done), f"{len(plant.contents)} contents")  # noqa: T201


class Plant:
    """A folder that a camera writes into, and the runs over it."""

    def __init__(self, scene: Scene, chance: random.Random) -> None:
        self._scene = scene
        self._chance = chance
        self._folder = scene.folder / "incoming"
        self._folder.mkdir()
        self._apart = scene.folder / "apart"
        self._made = 0
        self._runs: list[Running] = []
        self._half: list[tuple[Path, bytes]] = []
        self.done: Counter[str] = Counter()
        #: SHA-256 of every content that was ever complete in the folder.
        self.contents: set[str] = set()

    def change(self, times: int) -> None:
        """Make this many random changes."""
        for _ in range(8):
            self._write(self._name(), whole=True)
        while sum(self.done.values()) < times:
            (what,) = self._chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
            if self._do(what):
                self.done[what] += 1
            self._pause(self._chance.uniform(0, 0.3))

    def _pause(self, seconds: float) -> None:
        """Let the runs continue for a moment."""
        self._runs = [run for run in self._runs if not wait_gone(run.pid, seconds / 2)]

    def _do(self, what: str) -> bool:
        """Whether there was a file for it."""
        files = sorted(self._folder.iterdir())
        if what in {"write", "half"}:
            self._write(self._name(), whole=what == "write")
            return True
        if what == "run":
            return self._run()
        if what == "kill":
            if not self._runs:
                return False
            self._scene.faults += 1
            victim = self._chance.choice(self._runs)
            victim.kill()
            victim.wait()
            return True
        if not files:
            return False
        path = self._chance.choice(files)
        if what == "delete":
            self._half = [(half, rest) for half, rest in self._half if half != path]
            path.unlink()
        else:
            self._half = [(half, rest) for half, rest in self._half if half != path]
            self._write(path.name, whole=True)
        return True

    def _name(self) -> str:
        return f"part-{self._made:05}.png"

    def _write(self, name: str, *, whole: bool) -> None:
        """Write an image of new content, or the first half of one."""
        (picture,) = make_pictures(self._apart, 1, first=1000 + self._made)
        self._made += 1
        content = picture.read_bytes()
        path = self._folder / name
        if whole:
            fresh = self._apart / "fresh.png"
            fresh.write_bytes(content)
            fresh.replace(path)
            self.contents.add(hashlib.sha256(content).hexdigest())
        else:
            path.write_bytes(content[: len(content) // 2])
            self._half.append((path, content))

    def _run(self) -> bool:
        self._pause(0)
        if len(self._runs) >= _MOST_RUNS:
            return False
        self._runs.append(self._start())
        return True

    def _start(self) -> Running:
        options = ["--new-only", "--settle-seconds", "0"]
        return self._scene.inspect_source(str(self._folder), *options)

    def finish(self) -> None:
        """Complete the half-written files, then run until nothing is left."""
        for path, content in self._half:
            path.write_bytes(content)
            self.contents.add(hashlib.sha256(content).hexdigest())
        for run in self._runs:
            wait_gone(run.pid, PLENTY)
        wait_until(self._nothing_left)

    def _nothing_left(self) -> bool:
        run = self._start()
        run.wait()
        left = self._present() - set(self._judged())
        return not left

    def _present(self) -> set[str]:
        return {hashlib.sha256(path.read_bytes()).hexdigest() for path in self._folder.iterdir()}

    def _judged(self) -> Counter[str]:
        """The number of verdicts of each content."""
        store = self._scene.store
        return Counter(
            str(row["image_sha256"])
            for run in store.runs.list(10_000)
            for row in store.results.rows(run.run_id)
            if row["verdict"] is not None
        )

    def check(self) -> None:
        """Each content has one verdict, deleted ones at most one; the audit log verifies."""
        judged = self._judged()
        assert self._present() <= set(judged)
        assert set(judged) <= self.contents
        twice = {sha256: times for sha256, times in judged.items() if times > 1}
        assert not twice, f"{len(twice)} contents were inspected more than once"
        store = self._scene.store
        for run in store.runs.list(10_000):
            codes = set(store.results.errors_by_code(run.run_id))
            torn = {code for code in codes if code.startswith("image_")}
            assert codes - torn <= _PASSING, codes
        again = sum(self._scene.endpoint.asked().values()) - len(judged)
        assert again <= IN_FLIGHT * self._scene.faults, f"{again} answers were paid for twice"
        self._scene.check_audit()
