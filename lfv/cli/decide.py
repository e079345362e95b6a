"""`lfv decide`: verdicts again, from stored answers, under another policy."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lfv.cli import output
from lfv.cli.common import current_user, find_run, opened_store, settings_from
from lfv.cli.options import DatabaseUrlOption, JsonOption, PolicyOption, RunArgument, examples
from lfv.cli.progress import Activity


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
    from lfv.run.decide import redecide

    wanted = Policy.load(policy)
    settings = settings_from(database_url=database_url)
    with opened_store(settings) as store, Activity("decide", quiet=as_json) as activity:
        outcome = redecide(
            store,
            find_run(store, run).run_id,
            wanted,
            decided_by=by or current_user() or "lfv decide",
            dry_run=dry_run,
            progress=activity.count,
        )
    if as_json:
        output.show_json(asdict(outcome) | {"dry_run": dry_run})
        return
    rows = [(change.before, change.after, change.inspections) for change in outcome.changes]
    output.show_table(("before", "after", "inspections"), rows, right=("inspections",))
    if outcome.decision is None:
        output.show(f"{outcome.changed} verdicts would change; nothing was stored")
    else:
        output.show(
            f"{outcome.changed} verdicts changed; this is decision {outcome.decision.number} "
            "on the run"
        )
