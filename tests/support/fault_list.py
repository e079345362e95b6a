"""The faults that the suite injects, as data: the effect, what stops the model, how soon.

The tests take their bounds from here, and ``python tests/support/fault_list.py`` writes
docs/faults.md from it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
TESTS = Path(__file__).parents[1] / "faults"

RUN = "the run"
GUARD = "its guard"
SWEEPER = "the sweeper"


@dataclass(frozen=True)
class Fault:
    """`longest`: how long the model can stay up after the fault, with default settings.

    `tested`: seconds from the fault to an accepted StopModel that the test allows, with a service
    that answers at once; None if the fault has no moment to count from.  `tests`: the functions
    that inject it, as "file::function".  `hosts`: the kinds of host, unless it is every kind or
    only Lookout for Vision's API.
    """

    what: str
    happens: str
    stopped_by: str
    longest: str
    tested: float | None
    tests: tuple[str, ...]
    hosts: str | None = None


_STOP = "4 s"
_GUARD = "1 s"
_SWEEP = "lease (3 min) + sweep interval (5 min)"

FAULTS: Mapping[str, Fault] = {
    "task": Fault(
        "exception in a task",
        "Answers to requests in flight are stored, and the run fails.",
        RUN,
        _STOP,
        10,
        ("test_endings.py::test_a_task_fails",),
    ),
    "body": Fault(
        "exception in the flow function",
        "As above.",
        RUN,
        _STOP,
        10,
        ("test_endings.py::test_the_body_of_the_flow_fails",),
    ),
    "retry": Fault(
        "any exception, in a flow with Prefect retries",
        "The model stops. The next attempt starts it again and continues.",
        RUN,
        _STOP,
        10,
        ("test_endings.py::test_prefect_retries_the_flow",),
    ),
    "sigint": Fault(
        "Ctrl-C (SIGINT)",
        "Answers to requests in flight are stored, and the run is cancelled. Exit status 130.",
        RUN,
        _STOP,
        10,
        ("test_endings.py::test_a_signal_ends_the_run", "test_embedded.py::test_a_signal"),
    ),
    "sigterm": Fault(
        "SIGTERM to the run",
        "As above. Exit status 143.",
        RUN,
        _STOP,
        10,
        ("test_endings.py::test_a_signal_ends_the_run", "test_embedded.py::test_a_signal"),
    ),
    "late signal": Fault(
        "Ctrl-C or SIGTERM to `lfv inspect` after the run is recorded as completed",
        "The command shows the recorded summary, and has its exit status. The report may be "
        "missing; `lfv report` writes it.",
        RUN,
        _STOP,
        10,
        ("test_endings.py::test_a_signal_after_the_run_is_recorded_as_completed",),
    ),
    "impatience": Fault(
        "a second and third signal while the model is stopping",
        "They are ignored.",
        RUN,
        _STOP,
        10,
        ("test_endings.py::test_signals_while_the_model_is_being_stopped_change_nothing",),
    ),
    "timeout": Fault(
        "flow timeout",
        "As after Ctrl-C.",
        RUN,
        _STOP,
        10,
        ("test_endings.py::test_the_flow_times_out",),
    ),
    "sigkill": Fault(
        "SIGKILL of the run (also: out of memory, an interpreter crash)",
        "The guard sees its pipe close, releases the lease, stops the model and records the run as "
        "crashed.",
        GUARD,
        _GUARD,
        5,
        (
            "test_endings.py::test_a_killed_run_leaves_the_stop_to_its_guard",
            "test_random_kills.py::test_runs_killed_at_random",
            "test_embedded.py::test_a_signal",
        ),
    ),
    "points": Fault(
        "SIGKILL between any two steps of starting: lease, guard informed, StartModel",
        "Before StartModel there is nothing to stop; from then on the guard stops the model.",
        GUARD,
        _GUARD,
        5,
        ("test_endings.py::test_a_run_killed_between_two_steps",),
    ),
    "both": Fault(
        "SIGKILL of the run and its guard together (also: the machine is lost)",
        "The lease expires. The next sweep, on any machine, stops the model and records the run as "
        "crashed.",
        SWEEPER,
        _SWEEP,
        20,
        (
            "test_endings.py::test_run_and_guard_killed_together_leave_the_stop_to_the_sweeper",
            "test_random_kills.py::test_runs_killed_at_random",
        ),
    ),
    "resumed-early": Fault(
        "as above, and the run is resumed before the lease expires",
        "The resumed run uses the model. At its end it also ends the lease of the lost process, "
        "and stops the model.",
        RUN,
        "as without the fault",
        None,
        ("test_endings.py::test_a_run_is_resumed_before_the_lease_of_its_lost_process_expires",),
    ),
    "guard": Fault(
        "SIGKILL of the guard alone, the run killed later",
        "The run starts a new guard at its next heartbeat (20 s), and that guard stops the model.",
        GUARD,
        _GUARD + "; lease + sweep interval if both die within one heartbeat",
        5,
        ("test_endings.py::test_a_killed_guard_is_replaced",),
    ),
    "cancel-served": Fault(
        "cancelled from Prefect's page or API, flow served by `flow.serve`",
        "Prefect sends SIGTERM, and after 30 s SIGKILL: then the guard takes over.",
        RUN,
        "5 s after Prefect's SIGTERM",
        20,
        ("test_prefect.py::test_a_served_flow_is_cancelled",),
    ),
    "cancel-worker": Fault(
        "cancelled from Prefect's page or API, process worker",
        "As above.",
        RUN,
        "5 s after Prefect's SIGTERM",
        30,
        ("test_prefect.py::test_a_worker_cancels_a_flow_run_and_is_terminated_with_another",),
    ),
    "cancel-command": Fault(
        "cancelled from Prefect's page or API, `lfv inspect`",
        "The command polls its flow run, and ends as after SIGTERM. Exit status 1.",
        RUN,
        "10 s",
        20,
        ("test_prefect.py::test_a_command_whose_flow_run_is_cancelled_ends",),
    ),
    "worker": Fault(
        "SIGTERM or Ctrl-C to a process worker",
        "The worker kills its flow runs before any `finally` block. Their guards stop the models.",
        GUARD,
        _GUARD,
        10,
        ("test_prefect.py::test_a_worker_cancels_a_flow_run_and_is_terminated_with_another",),
    ),
    "prefect-pause": Fault(
        "Prefect API unavailable for a while",
        "Detection continues. The page catches up later, with gaps.",
        RUN,
        "as without the fault",
        None,
        ("test_outages.py::test_prefect_is_unavailable_for_a_while",),
    ),
    "prefect-gone": Fault(
        "Prefect API gone for good",
        "The run completes and stops the model. Its process may wait minutes longer for Prefect.",
        RUN,
        "as without the fault",
        None,
        ("test_outages.py::test_prefect_becomes_unavailable_for_good",),
    ),
    "database-pause": Fault(
        "results database unavailable or locked for a while",
        "Answers are kept in memory and stored later. No new requests are sent meanwhile.",
        RUN,
        "5 min, billed",
        None,
        (
            "test_outages.py::test_postgresql_is_unavailable_for_a_while",
            "test_outages.py::test_sqlite_is_locked_and_released",
        ),
    ),
    "database-gone": Fault(
        "results database unavailable for longer than `store_patience_seconds`",
        "The run fails and stops the model, even if another run uses it. The guard or the next "
        "sweep completes the record.",
        RUN,
        "`store_patience_seconds` (5 min) + 10 s; with SQLite 30 s more for each attempt",
        40,
        ("test_outages.py::test_the_database_stays_unavailable",),
    ),
    "database-kill": Fault(
        "SIGKILL of the run while the results database is unavailable",
        "The guard tries the database for 10 s, then stops the model without it.",
        GUARD,
        "15 s; with SQLite locked, 45 s",
        30,
        (
            "test_outages.py::test_a_run_is_killed_while_postgresql_is_unavailable",
            "test_outages.py::test_a_run_is_killed_while_sqlite_is_locked",
        ),
    ),
    "service-pause": Fault(
        "model API unreachable for a while",
        "Requests are retried, and the run continues.",
        RUN,
        "as without the fault",
        None,
        ("test_outages.py::test_the_service_is_unavailable_for_a_while",),
    ),
    "service-gone": Fault(
        "model API unreachable for longer, also at the end of the run",
        "The run fails and can be resumed. It retries StopModel for 15 min, then its guard for "
        "another 15 min, then every sweep.",
        f"{RUN}, {GUARD} or {SWEEPER}",
        "5 s after the API is back (a sweep interval after a long outage)",
        15,
        ("test_outages.py::test_a_run_ends_while_the_service_is_unavailable",),
    ),
    "service-kill": Fault(
        "SIGKILL of the run while the model API is unreachable",
        "The guard retries StopModel for 15 min, then every sweep.",
        f"{GUARD} or {SWEEPER}",
        "5 s after the API is back (a sweep interval after a long outage)",
        15,
        ("test_outages.py::test_a_run_ends_while_the_service_is_unavailable",),
    ),
    "throttling": Fault(
        "model API throttles, or returns 500",
        "Requests are retried after the service's Retry-After, throttled ones until the run ends. "
        "If every request fails, the run fails and can be resumed.",
        RUN,
        "as without the fault",
        None,
        ("test_outages.py::test_the_service_throttles_or_fails",),
    ),
    "start-late": Fault(
        "StartModel times out, the run gives up, and the model starts after all",
        "The start was recorded before the call. The guard watches the model for a minute and "
        "stops it if it starts.",
        GUARD,
        "1 s; a sweep interval if it starts after that minute",
        5,
        ("test_starting_and_stopping.py::test_a_start_without_an_answer_takes_effect_later",),
    ),
    "start-lost": Fault(
        "StartModel times out although it took effect",
        "The call is retried with the same ClientToken, so it remains one start. The run "
        "continues.",
        RUN,
        "as without the fault",
        None,
        ("test_starting_and_stopping.py::test_a_start_whose_answer_is_lost_is_one_start",),
    ),
    "stop-fails": Fault(
        "StopModel fails five times",
        "It is retried at least every 5 s for 15 min, then by every sweep.",
        RUN,
        "20 s for five failures",
        30,
        ("test_starting_and_stopping.py::test_a_stop_that_fails_is_repeated",),
    ),
    "stop-refused": Fault(
        "StopModel fails for longer than the run waits",
        "Guard and sweeper continue. `lfv sweep` and the flow `stop_idle_models` fail and name the "
        "model while it is up.",
        SWEEPER,
        "one sweep interval (5 min) after StopModel works again",
        20,
        ("test_starting_and_stopping.py::test_a_stop_that_keeps_failing_is_the_sweepers_job",),
    ),
    "overlap-kill": Fault(
        "two runs share the model, the first is killed",
        "Its guard releases its lease. The second run keeps the model and stops it at its end.",
        f"{RUN} that ends last",
        "as without the fault",
        None,
        ("test_sharing.py::test_the_first_of_two_runs_is_killed",),
    ),
    "overlap-end": Fault(
        "two runs share the model, the first ends",
        "It releases its lease. The second run stops the model.",
        f"{RUN} that ends last",
        "as without the fault",
        None,
        ("test_sharing.py::test_the_first_of_two_runs_ends",),
    ),
    "foreign": Fault(
        "any of these, with a model that somebody else started",
        "The model is used and left up.",
        "its owner",
        "as long as its owner keeps it up",
        None,
        ("test_sharing.py::test_a_model_of_somebody_else_survives_every_fault",),
    ),
    "batch": Fault(
        "SIGTERM or SIGKILL of a run with a batch job, or of the run and its guard",
        "The job is stopped and its model deleted. A resume takes the job's answers, and creates a "
        "job for the rest.",
        f"{RUN}, {GUARD} or {SWEEPER}",
        "as with an endpoint",
        None,
        ("test_batch.py::test_a_run_with_a_job_dies",),
        "SageMaker batch jobs",
    ),
    "embedded": Fault(
        "SIGINT, SIGTERM or SIGKILL of `lfv inspect` with the service on this machine",
        "As with any service. This one and Prefect's temporary server end with the run.",
        f"{RUN} or {GUARD}",
        _GUARD,
        10,
        ("test_embedded.py::test_a_signal",),
    ),
}

_HEAD = """\
<!-- Written by tests/support/fault_list.py; change it there. -->

# Faults

What happens to a running model when something fails. The tests of a row inject its fault into real
processes, and check that

- the model stops within the time given, and nothing that the run created on its host remains;
- after a resume every line of the manifest has exactly one record;
- no image was sent again, except those in flight at the fault;
- the audit log verifies.

`longest` is the time from the fault to an accepted StopModel, with default settings and an API
that responds at once. `hosts` are the kinds of host that the fault is tested on: all, or only the
Lookout for Vision API.

| fault | what happens | stopped by | longest | hosts | tests |
|---|---|---|---|---|---|
"""

_TAIL = """
The tests of the suite take turns between databases; signals, kills between two steps and failures
of StopModel also take turns between kinds of host, on each of which 3 runs are killed at random
moments. `make faults` injects every fault on every kind of host and both databases, and kills 500
runs on each host. `make kills` kills 200 runs on the stand-in for SageMaker, or with `HOST=edge`
for an edge agent.

## What is not covered

- **Run and guard are lost, and no sweeper runs anywhere.** Schedule `stop_idle_models` or `lfv
  sweep` on another machine than the one that inspects.
- **StopModel is refused permanently**, for example because the permission was revoked. The run and
  every sweep fail and name the model.
- **The results database is lost together with run and guard.** With a new database, `lfv sweep
  --stop-unknown` still stops models that are up at its endpoint.
- **The machine of the embedded service is lost.** The model is lost with it.
- **A StartModel call takes effect more than a minute after it was sent, its run and guard are
  gone**, and its hosting was seen stopped before. A sweep reports the model as unknown and stops
  it with `--stop-unknown`.
- **Clocks jump.** Leases use the database's clock; on SQLite that is the machine's."""


def bound(name: str) -> float:
    """Seconds from the fault to an accepted StopModel that its row of the table allows."""
    tested = FAULTS[name].tested
    if tested is None:
        raise ValueError(f"{name} has no moment to count from")
    return tested


def on_every_host() -> set[str]:
    """The tests that run on each kind of host, as "file::function"."""
    found = set()
    for path in TESTS.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any(
                "every_host" in ast.unparse(mark) for mark in node.decorator_list
            ):
                found.add(f"{path.name}::{node.name}")
    return found


def page() -> str:
    """docs/faults.md."""
    rows = []
    marked = on_every_host()
    for fault in FAULTS.values():
        tests = "<br>".join(f"`{name.partition('::')[2]}`" for name in fault.tests)
        everywhere = any(name in marked for name in fault.tests)
        hosts = fault.hosts or ("all" if everywhere else "API")
        cells = (fault.what, fault.happens, fault.stopped_by, fault.longest, hosts, tests)
        rows.append(f"| {' | '.join(cells)} |\n")
    return _HEAD + "".join(rows) + _TAIL


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
