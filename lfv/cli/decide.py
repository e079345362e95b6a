"""`lfv decide`: verdicts again, from stored answers, under another policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lfv.cli import output
from lfv.cli.common import current_user, find_run, opened_store, settings_from
from lfv.cli.options import DatabaseUrlOption, JsonOption, PolicyOption, RunArgument, examples
from lfv.cli.progress import Activity

if TYPE_CHECKING:
    from lfv.client.policy import Policy
    from lfv_store import NewVerdict, Store

    Changes = Counter[tuple[str, str]]


def register(app: typer.Typer) -> None:
    app.command(
        "decide",
        epilog=examples(
            "lfv decide last --policy stricter.yaml --dry-run",
            "lfv decide 3f7c --policy stricter.yaml --by 'Ana Ruiz'",
        ),
    )(decide)


def decide(
    run: RunArgument,
    *,
    policy: PolicyOption,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", help="Who decides; else the user of this machine.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change, and store nothing.")
    ] = False,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Derive the verdicts of a run again under another policy, without asking the model.

    The new verdicts become the current ones; the old ones stay on record, and so does each policy.
    Lines that could not be inspected stay what they are.
    """
    from lfv.client.policy import Policy

    wanted = Policy.load(policy)
    who = by or current_user() or "lfv decide"
    settings = settings_from(database_url=database_url)
    changes: Changes = Counter()
    decision = None
    with opened_store(settings) as store, Activity("decide", quiet=as_json) as activity:
        found = find_run(store, run)
        verdicts = _verdicts(store, found.run_id, wanted, changes, activity)
        if dry_run:
            for _ in verdicts:
                pass
        else:
            decision = store.verdicts.add(found.run_id, wanted.to_dict(), verdicts, decided_by=who)
    if as_json:
        shown = [
            {"before": before, "after": after, "inspections": number}
            for (before, after), number in sorted(changes.items())
        ]
        output.show_json(
            {
                "run_id": found.run_id,
                "decision": None if decision is None else asdict(decision),
                "dry_run": dry_run,
                "changes": shown,
            }
        )
        return
    rows = [(before, after, number) for (before, after), number in sorted(changes.items())]
    output.show_table(("before", "after", "inspections"), rows, right=("inspections",))
    changed = sum(number for (before, after), number in changes.items() if before != after)
    if decision is None:
        output.show(f"{changed} verdicts would change; nothing was stored")
    else:
        output.show(f"{changed} verdicts changed; this is decision {decision.number} on the run")


def _verdicts(
    store: Store,
    run_id: str,
    policy: Policy,
    changes: Changes,
    activity: Activity,
) -> Iterator[NewVerdict]:
    """The verdict of `policy` on every answer of the run; `changes` counts what becomes what."""
    from lfv.client.policy import decide as verdict_of
    from lfv.formats.answers import DetectAnomalyResult
    from lfv_store import NewVerdict

    total = store.inspections.counts(run_id).inspected
    for done, candidate in enumerate(store.verdicts.candidates(run_id), start=1):
        result = DetectAnomalyResult.from_response(candidate.response)
        verdict = verdict_of(result, policy, candidate.attributes)
        changes[candidate.verdict, verdict.verdict.value] += 1
        activity.count(done, total)
        yield NewVerdict(
            inspection_id=candidate.inspection_id,
            verdict=verdict.verdict.value,
            reasons=[reason.to_dict() for reason in verdict.reasons],
        )
