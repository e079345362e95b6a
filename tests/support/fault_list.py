"""The faults that the suite brings about, as data: what happens, who stops the model, how soon.

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
    """`longest`: how long the model can stay up after the fault, with the default settings.

    `tested`: seconds from the fault to an accepted StopModel that the test allows, with a service
    that answers at once; None where the fault has no moment to count from.  `tests` name the
    functions that bring it about, as "file::function".
    """

    what: str
    happens: str
    stopped_by: str
    longest: str
    tested: float | None
    tests: tuple[str, ...]


_STOP = "until the requests in flight are answered, 4 s at most"
_GUARD = "1 s"
_SWEEP = "lease (3 min) + sweep interval (5 min)"

FAULTS: Mapping[str, Fault] = {
    "task": Fault(
        "exception in a task",
        "The batches under way finish the image they are at, their answers are stored, the run "
        "ends as failed.",
        RUN,
        _STOP,
        10,
        ("test_endings.py::test_a_task_fails",),
    ),
    "body": Fault(
        "exception in the flow's body",
        "As above.",
        RUN,
        _STOP,
        10,
        ("test_endings.py::test_the_body_of_the_flow_fails",),
    ),
    "retry": Fault(
        "any exception, in a flow with Prefect retries",
        "The model is stopped, and started again by the next attempt, which goes on where the "
        "last one was.",
        RUN,
        _STOP,
        10,
        ("test_endings.py::test_prefect_tries_the_flow_again",),
    ),
    "sigint": Fault(
        "Ctrl-C (SIGINT)",
        "The answers under way are stored, the run ends as cancelled, exit status 130.",
        RUN,
        _STOP,
        10,
        ("test_endings.py::test_a_signal_ends_the_run", "test_embedded.py::test_a_signal"),
    ),
    "sigterm": Fault(
        "SIGTERM to the run",
        "As above, exit status 143.",
        RUN,
        _STOP,
        10,
        ("test_endings.py::test_a_signal_ends_the_run", "test_embedded.py::test_a_signal"),
    ),
    "impatience": Fault(
        "a second and third signal while the model is being stopped",
        "They are ignored until the model is seen stopped.",
        RUN,
        _STOP,
        10,
        ("test_endings.py::test_signals_while_the_model_is_being_stopped_change_nothing",),
    ),
    "timeout": Fault(
        "time-out of the flow",
        "The answers under way are stored, the run ends as cancelled.",
        RUN,
        _STOP,
        10,
        ("test_endings.py::test_the_flow_times_out",),
    ),
    "sigkill": Fault(
        "SIGKILL of the run (also: out of memory, a crash of the interpreter)",
        "The guard sees its pipe close, releases the lease and stops the model; the run is put on "
        "record as crashed.",
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
        "SIGKILL between any two steps of starting: before and after the lease, the guard's "
        "knowing of it, StartModel",
        "Before StartModel there is nothing to stop; from then on the guard knows.",
        GUARD,
        _GUARD,
        5,
        ("test_endings.py::test_a_run_killed_between_two_steps",),
    ),
    "both": Fault(
        "SIGKILL of the run and its guard together (also: the machine is lost)",
        "The lease runs out; the next sweep, on any machine, stops the model and puts the run on "
        "record as crashed.",
        SWEEPER,
        _SWEEP,
        20,
        (
            "test_endings.py::test_run_and_guard_killed_together_leave_the_stop_to_the_sweeper",
            "test_random_kills.py::test_runs_killed_at_random",
        ),
    ),
    "guard": Fault(
        "SIGKILL of the guard alone, the run killed later",
        "The run starts another guard at its next heartbeat (20 s); that one stops the model.",
        GUARD,
        _GUARD + "; the lease and a sweep if both die within one heartbeat",
        5,
        ("test_endings.py::test_a_killed_guard_is_replaced",),
    ),
    "cancel-served": Fault(
        "cancelled from Prefect's page or API, flow served by `flow.serve`",
        "Prefect sends SIGTERM: the answers under way are stored, the model is stopped.  After "
        "30 s Prefect kills the process; then the guard goes on.",
        RUN,
        "5 s after Prefect's SIGTERM, which comes within some seconds",
        20,
        ("test_prefect.py::test_a_served_flow_is_cancelled",),
    ),
    "cancel-worker": Fault(
        "cancelled from Prefect's page or API, process worker",
        "As above.",
        RUN,
        "5 s after Prefect's SIGTERM, which comes within some seconds",
        30,
        ("test_prefect.py::test_a_worker_cancels_a_flow_run_and_is_terminated_with_another",),
    ),
    "worker": Fault(
        "SIGTERM or Ctrl-C to a process worker",
        "The worker kills its flow runs, which run no `finally`; their guards stop the models.",
        GUARD,
        _GUARD,
        10,
        ("test_prefect.py::test_a_worker_cancels_a_flow_run_and_is_terminated_with_another",),
    ),
    "prefect-pause": Fault(
        "Prefect API down for a while",
        "The run asks on; the page catches up later, with gaps.",
        RUN,
        "as without the fault",
        None,
        ("test_outages.py::test_prefect_goes_away_and_comes_back",),
    ),
    "prefect-gone": Fault(
        "Prefect API down for good",
        "The run asks on to its end, stores everything and stops the model.  Its process may take "
        "minutes more to give up on Prefect.",
        RUN,
        "as without the fault",
        None,
        ("test_outages.py::test_prefect_goes_away_for_good",),
    ),
    "database-pause": Fault(
        "results database down or locked for a while",
        "Answers wait in their threads and are stored when it is back; nothing else is asked "
        "meanwhile.",
        RUN,
        "as long as the database is away, 5 min at most; the model is paid for meanwhile",
        None,
        (
            "test_outages.py::test_postgresql_goes_away_and_comes_back",
            "test_outages.py::test_sqlite_is_locked_and_released",
        ),
    ),
    "database-gone": Fault(
        "results database down for longer than the run's patience",
        "The run ends as failed and stops the model without asking the database whether another "
        "run uses it; its guard or the next sweep corrects the record.",
        RUN,
        "patience (5 min) + 10 s; with SQLite 30 s more for each attempt",
        40,
        ("test_outages.py::test_the_database_stays_away",),
    ),
    "database-kill": Fault(
        "SIGKILL of the run while the results database is down",
        "The guard tries the database for 10 s, then stops the model without it.",
        GUARD,
        "15 s; with SQLite locked, 45 s",
        30,
        (
            "test_outages.py::test_a_run_is_killed_while_postgresql_is_away",
            "test_outages.py::test_a_run_is_killed_while_sqlite_is_locked",
        ),
    ),
    "service-pause": Fault(
        "model service out of reach for a while",
        "Requests are repeated, and the run goes on.",
        RUN,
        "as without the fault",
        None,
        ("test_outages.py::test_the_service_goes_away_and_comes_back",),
    ),
    "service-gone": Fault(
        "model service out of reach for longer, at the end of the run too",
        "The run ends as failed with the rest resumable; it tries to stop the model for 15 min, "
        "then its guard as long again, then every sweep.",
        f"{RUN}, {GUARD} or {SWEEPER}",
        "5 s after the service answers again (a sweep interval when it was away for long)",
        15,
        ("test_outages.py::test_a_run_ends_while_the_service_is_away",),
    ),
    "service-kill": Fault(
        "SIGKILL of the run while the model service is out of reach",
        "The guard tries for 15 min, then every sweep.",
        f"{GUARD} or {SWEEPER}",
        "5 s after the service answers again (a sweep interval when it was away for long)",
        15,
        ("test_outages.py::test_a_run_ends_while_the_service_is_away",),
    ),
    "throttling": Fault(
        "model service throttles, or answers 500",
        "Requests are repeated after the time the service asks for; when it answers nothing else "
        "the run ends as failed, with the rest resumable.",
        RUN,
        "as without the fault",
        None,
        ("test_outages.py::test_the_service_throttles_or_fails",),
    ),
    "start-late": Fault(
        "StartModel times out, the run gives up, and the model comes up after all",
        "The start was on record before the call.  The guard watches the model for a minute from "
        "then on and stops it when it comes up.",
        GUARD,
        "1 s; a sweep interval when it comes up after the guard's minute",
        5,
        ("test_starting_and_stopping.py::test_a_start_without_an_answer_takes_effect_later",),
    ),
    "start-lost": Fault(
        "StartModel times out and has been done",
        "The call is repeated with the same ClientToken, so it stays one start; the run goes on.",
        RUN,
        "as without the fault",
        None,
        ("test_starting_and_stopping.py::test_a_start_whose_answer_is_lost_is_one_start",),
    ),
    "stop-fails": Fault(
        "StopModel fails five times",
        "It is repeated, with pauses of up to 5 s, for 15 min; then by every sweep.",
        RUN,
        "20 s for five failures",
        30,
        ("test_starting_and_stopping.py::test_a_stop_that_fails_is_repeated",),
    ),
    "stop-refused": Fault(
        "StopModel fails for longer than the run waits",
        "The run ends; guard and sweeper go on. `lfv sweep` and the flow `stop_idle_models` fail "
        "as long as the model is up, and say so.",
        SWEEPER,
        "one sweep interval (5 min) after StopModel works again",
        20,
        ("test_starting_and_stopping.py::test_a_stop_that_keeps_failing_is_the_sweepers_job",),
    ),
    "overlap-kill": Fault(
        "two runs share the model, the first is killed",
        "Its lease is released by its guard; the second run goes on with the model and stops it.",
        f"{RUN} that ends last",
        "as without the fault",
        None,
        ("test_sharing.py::test_the_first_of_two_runs_is_killed",),
    ),
    "overlap-end": Fault(
        "two runs share the model, the first ends",
        "It lets go; the second run stops the model.",
        f"{RUN} that ends last",
        "as without the fault",
        None,
        ("test_sharing.py::test_the_first_of_two_runs_ends",),
    ),
    "foreign": Fault(
        "any of these, with a model that somebody else started",
        "It is used and left up.",
        "nobody: it is not ours to stop",
        "as long as its owner wants",
        None,
        ("test_sharing.py::test_a_model_of_somebody_else_survives_every_fault",),
    ),
    "embedded": Fault(
        "SIGINT, SIGTERM or SIGKILL of `lfv inspect` with the service on this machine",
        "As above; the service and Prefect's temporary server end with the run.",
        f"{RUN} or {GUARD}",
        _GUARD,
        10,
        ("test_embedded.py::test_a_signal",),
    ),
}

_HEAD = """\
<!-- Written by tests/support/fault_list.py; change it there. -->

# Faults

What becomes of a model that is up when something goes wrong.  Each row is brought about by the
tests it names, with real processes, on SQLite and PostgreSQL.  After each, four things are checked:

- the model is stopped, in the time given;
- after a resume (`lfv inspect --resume`, a plain re-run, or a Prefect retry) every line of the
  manifest has exactly one record;
- no answer was asked for again, beyond the requests that were in flight at the fault (with the
  default settings four for each inference unit);
- the audit log verifies.

"Hosts" says where: on Lookout for Vision's API, or on that and every other kind of host
(SageMaker, edge agents), where nothing that the run created may be left over either.

"How long" counts from the fault to an accepted StopModel, with the default settings and a service
that answers at once.  From there on the service takes its own time, which it bills or not.

| fault | what happens | stopped by | how long the model stays up at most | hosts | test |
|---|---|---|---|---|---|
"""

_TAIL = """
`make faults` runs the whole suite, with more runs killed at random moments
(`pytest tests/faults --kills 500 --kills-seed 7`). With `--every-host`, every fault is brought
about on every kind of host.

## What is not covered

- **Run and guard are lost, and no sweeper runs anywhere.**  Then nobody is left to act. Schedule
  `stop_idle_models`, or `lfv sweep` by cron or a timer, on a machine other than the one that
  inspects.
- **StopModel is refused for ever**, for instance because the permission to stop was taken away.
  The run, every `lfv sweep` and every `stop_idle_models` fail and name the model; they cannot do
  more.
- **The results database is lost for good together with run and guard.**  The sweeper reads there
  what to stop. `lfv sweep --stop-unknown` with a new database still finds models that are up at its
  endpoint.
- **The embedded service's machine is lost:** the model goes with it.
- **A StartModel call takes effect more than a minute after it was sent, with its run and guard
  gone**, and its hosting was seen stopped before.  A sweep reports such a model as known to no run,
  and stops it with `--stop-unknown`.
- **Clocks that jump.**  Leases are timed by the database's clock; on SQLite that is the machine's.
"""


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
        hosts = "every" if any(name in marked for name in fault.tests) else "Lookout for Vision"
        cells = (fault.what, fault.happens, fault.stopped_by, fault.longest, hosts, tests)
        rows.append(f"| {' | '.join(cells)} |\n")
    return _HEAD + "".join(rows) + _TAIL


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
