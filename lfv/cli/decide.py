"""`lfv decide`: apply another policy to the stored answers of a run."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from typing import Annotated

import typer

from lfv.cli import output
from lfv.cli.common import current_user, find_run, settings_from, store_from
from lfv.cli.options import (
    ByOption,
    DatabaseUrlOption,
    JsonOption,
    PasswordOption,
    PolicyOption,
    RunArgument,
    examples,
)
from lfv.cli.progress import Activity
from lfv.cli.signing import SignAsOption, required_signer


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
    by: ByOption = None,
    reason: Annotated[
        str, typer.Option("--reason", help="Why, kept with the decision.", show_default=False)
    ] = "",
    sign_as: SignAsOption = None,
    password_stdin: PasswordOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change; store nothing.")
    ] = False,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Apply another policy to the stored answers of a run, without running detection.

    The new verdicts become the current ones; earlier verdicts and policies are kept. Lines that
    could not be inspected do not change. The run's report is rewritten if it is on this machine.
    With LFV_SIGNATURES, the decision is signed with the password.
    """
    from lfv.client.policy import Policy
    from lfv.run.active import open_reader
    from lfv.run.report import report_run
    from lfv.run.verdicts.decide import DECIDES, redecide

    new_policy = Policy.load(policy)
    settings = settings_from(database_url=database_url)
    name, signed_by = by or current_user() or "lfv decide", None
    with ExitStack() as stack:
        store = stack.enter_context(store_from(settings))
        if not dry_run:
            signed_by = required_signer(
                settings, store, sign_as, name, "engineer", from_stdin=password_stdin
            )
        activity = stack.enter_context(Activity("decide", quiet=as_json))
        outcome = redecide(
            store,
            find_run(store, run).run_id,
            new_policy,
            decided_by=signed_by or name,
            reason=reason,
            meaning=DECIDES if signed_by else None,
            dry_run=dry_run,
            progress=activity.count,
        )
        if outcome.decision is not None and settings.report_path(outcome.run_id).exists():
            activity.show("rewriting the report")
            with open_reader(settings) as reader:
                report_run(outcome.run_id, store, reader, settings)
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
            "of the run"
        )
