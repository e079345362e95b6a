"""One fault's scene: a scripted endpoint, a database, a manifest, and the runs on them.

The four checks of every fault are here: the model is stopped, every line of the manifest has one
record, no image was sent again except those in flight, and the audit log verifies.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lfv.run.hosting.sweep import SweepReport, sweep
from lfv.settings import Settings
from lfv_store import Hosting, Run, Store, open_store
from tests.support.endpoints import Endpoint
from tests.support.launcher import Break, Launcher, Running
from tests.support.pictures import make_pictures
from tests.support.processes import kill, with_environment
from tests.support.waiting import stretched, wait_gone, wait_until

#: Requests in flight of a run with one inference unit, and so the most that a crash can lose.
IN_FLIGHT = 4
#: Long enough for a run on a busy machine to renew its lease in time.
LEASE_SECONDS = min(stretched(3.0), 15.0)
_ENVIRONMENT = {
    # An answer takes a second after `asking`; a late one is requested twice.
    "LFV_READ_TIMEOUT_SECONDS": "6",
    "LFV_CONNECT_TIMEOUT_SECONDS": "2",
    "LFV_LEASE_TTL_SECONDS": str(LEASE_SECONDS),
    "LFV_LEASE_HEARTBEAT_SECONDS": "0.5",
    "LFV_BATCH_SIZE": "10",
    "LFV_REQUESTS_PER_UNIT": str(IN_FLIGHT),
    "LFV_STORE_PATIENCE_SECONDS": "60",
}


@dataclass
class Scene:
    """The test uses `database_url` and `endpoint.url`; runs may get others."""

    folder: Path
    launcher: Launcher
    endpoint: Endpoint
    database_url: str
    lines: int
    environment: dict[str, str] = field(default_factory=dict)
    faults: int = 0

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def inspect(self, *options: str, **given: Any) -> Running:
        """Start a run over the manifest."""
        return self.inspect_source(self.manifest, *options, **given)

    def inspect_source(self, source: str, *options: str, **given: Any) -> Running:
        """Start a run over another source."""
        arguments = ["inspect", source, "--project", "parts", "--json", *options]
        return self._start(arguments, **given)

    def resume(self, *, hurry: bool = True, **given: Any) -> Running:
        """Resume the newest run; with `hurry`, on a model as fast as before `asking`."""
        if hurry:
            self.hurry()
        run_id = self.newest_run().run_id
        return self._start(["inspect", "--resume", run_id, "--json"], **given)

    def _start(
        self,
        arguments: Sequence[str],
        *,
        breaks: Sequence[Break] = (),
        flow: dict[str, Any] | None = None,
        api_url: str | None = None,
        **settings: str,
    ) -> Running:
        told = {f"LFV_{name.upper()}": value for name, value in settings.items()}
        return self.launcher.start(
            arguments,
            {**self.environment, **told},
            breaks=breaks,
            options=flow,
            api_url=api_url,
        )

    def guards(self) -> int:
        """The number of guards started so far."""
        log = self.home / "guard.log"
        return log.read_text().count("watching run") if log.exists() else 0

    @staticmethod
    def guard_gone(guard: int) -> bool:
        """Whether a guard's process ends soon."""
        return wait_gone(guard)

    def asking(self, more: int = 5, *, then: float = 1.0) -> None:
        """Return once the model got this many more images.

        From then on, until a resume, each answer takes `then` seconds, so that the run is busy when
        the fault occurs, on a slow machine too.
        """
        asked = len(self.endpoint.calls("DetectAnomalies"))
        self.endpoint.script(slow_after=more, slow_seconds=then)
        self.endpoint.wait_for_calls("DetectAnomalies", asked + more)

    def hurry(self) -> None:
        """The model answers as fast as before `asking`."""
        self.endpoint.script(slow_after=None)

    def fault(self, at: float | None = None) -> float:
        """The time of a fault: `at`, or now (seconds since the epoch)."""
        self.faults += 1
        return time.time() if at is None else at

    def sweep(self, *, stop_unknown: bool = False) -> SweepReport:
        """Sweep once."""
        return sweep(self.store, self.settings, stop_unknown=stop_unknown)

    @property
    def settings(self) -> Settings:
        return Settings(
            home=self.home,
            database_url=self.database_url,
            endpoint_url=self.endpoint.address,
            host=self.endpoint.host,  # type: ignore[arg-type]
            host_options=dict(self.endpoint.options),
            read_timeout_seconds=2,
            stopping_deadline_seconds=20,
        )

    @cached_property
    def store(self) -> Store:
        """The results database, opened by the test."""
        return open_store(self.database_url)

    def newest_run(self) -> Run:
        """The newest run over this scene's manifest."""
        return next(run for run in self.store.runs.list() if run.source == self.manifest)

    @property
    def manifest(self) -> str:
        return str(self.folder / "images.txt")

    def hostings(self) -> Sequence[Hosting]:
        """The newest first."""
        return self.store.hostings.list()

    # -- the checks -------------------------------------------------------------------------------

    def check_stopped(self, since: float, within: float, *, recorded: bool = True) -> float:
        """The model is going down at most `within` seconds after `since`, and stays down.

        The limit is that of the table of faults, longer on a busy machine.

        With `recorded` the database knows it.  Returns how many seconds it took.
        """
        wait_until(lambda: self._down_at() is not None)
        down_at = self._down_at()
        assert down_at is not None
        assert down_at - since <= stretched(within), f"the model was up for {down_at - since:.1f} s"
        wait_until(self._all_over if recorded else self._down)
        return down_at - since

    def _down_at(self) -> float | None:
        """When the model left HOSTED for the last time; None while it is up or coming up."""
        changes = self.endpoint.changes
        if changes and changes[-1]["status"] in {"HOSTED", "STARTING_HOSTING"}:
            return None
        times = [change["at"] for change in changes if change["status"] == "STOPPING_HOSTING"]
        return times[-1] if times else 0.0

    def _all_over(self) -> bool:
        """Whether the model is down and the database knows it."""
        known = all(hosting.status == "stopped" for hosting in self.hostings())
        return known and self._down()

    def _down(self) -> bool:
        return self.endpoint.status == "TRAINED" and self.endpoint.leftovers == []

    def check_complete(self) -> None:
        """The newest run is completed, and every line of the manifest has one record."""
        run = self.newest_run()
        assert run.status == "completed", f"{run.status}: {run.message}"
        rows = list(self.store.results.rows(run.run_id))
        recorded = sorted(row["line_number"] for row in rows)
        assert recorded == list(range(1, self.lines + 1)), f"records of lines {recorded}"
        errors = [row["error"] for row in rows if row["error"]]
        assert not errors, errors

    def check_asked(self, in_flight: int = IN_FLIGHT) -> None:
        """Every image was answered, and only as often as faults may have lost answers."""
        asked = self.endpoint.asked()
        assert len(asked) == self.lines, f"{len(asked)} different images were sent"
        again = sum(asked.values()) - self.lines
        assert again <= in_flight * self.faults, f"{again} answers were requested twice"

    def check_audit(self) -> None:
        """The audit log verifies."""
        report = self.store.audit.verify()
        assert report.ok, report.problems

    def check_finished(self, in_flight: int = IN_FLIGHT, *, wait: bool = False) -> None:
        """Check everything after the work is done.

        With `wait`, the guard of an earlier run may still be watching for a start that was never
        answered: nothing is up, but the hosting stays open for that time.
        """
        self.check_complete()
        self.check_asked(in_flight)
        self.check_audit()
        assert self._down(), f"{self.endpoint.status}, and left are {self.endpoint.leftovers}"
        if wait:
            watched = [hosting for hosting in self.hostings() if hosting.status != "stopped"]
            assert all(
                hosting.status == "stop_requested" and hosting.hosted_at is None
                for hosting in watched
            ), watched
            wait_until(self._all_over)
        assert self._all_over(), self.hostings()

    def end(self) -> None:
        """End all processes of this scene."""
        self.store.close()
        for process in with_environment("LFV_HOME", str(self.home)):
            if not wait_gone(process.pid, 0):
                kill(process.pid)


@contextmanager
def scene_in(
    folder: Path,
    launcher: Launcher,
    endpoint: Endpoint,
    database_url: str,
    lines: int = 24,
    *,
    first: int = 0,
) -> Iterator[Scene]:
    """A manifest of `lines` different images, and everything that a run on it needs.

    `first` is the number of the first image; each number has its own image.
    """
    folder.mkdir(exist_ok=True)
    pictures = make_pictures(folder / "images", lines, first=first)
    (folder / "images.txt").write_text("".join(f"{path}\n" for path in pictures))
    scene = Scene(folder, launcher, endpoint, database_url, lines)
    scene.environment = {
        **_ENVIRONMENT,
        "LFV_HOME": str(scene.home),
        "LFV_DATABASE_URL": database_url,
        **endpoint.environment,
    }
    try:
        yield scene
    finally:
        scene.end()
