"""`lfv audit`: verify the audit log."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lfv.cli import output
from lfv.cli.common import settings_from, store_from
from lfv.cli.errors import CommandError, ExitStatus, WrongUsage
from lfv.cli.options import DatabaseUrlOption, JsonOption, examples
from lfv.cli.progress import Activity
from lfv.formats.words import count_of

if TYPE_CHECKING:
    from lfv_store.audit.verification import AuditReport


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        name="audit",
        help="Verify the audit log, and print its head.",
        no_args_is_help=True,
    )
    group.command(
        "verify", epilog=examples("lfv audit verify", "lfv audit verify --head kept/audit-head.txt")
    )(verify)
    group.command(
        "head", epilog=examples("lfv audit head", "lfv audit head > kept/audit-head.txt")
    )(head)
    app.add_typer(group)


def verify(
    *,
    head: Annotated[
        str | None,
        typer.Option(
            "--head",
            metavar="FILE|HEAD",
            help="A head that `lfv audit head` printed earlier, or a file with it: also detect a "
            "log that was truncated or rewritten as a whole since.",
        ),
    ] = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every entry of the audit log, and every row it covers.

    Exit status 1 if anything was changed; the first bad entry is named. Without a head that was
    kept elsewhere, a log that was truncated with its rows, or rewritten as a whole, is not
    detected.
    """
    kept = None if head is None else _read_head(head)
    settings = settings_from(database_url=database_url)
    with store_from(settings) as store, Activity("verify", quiet=as_json) as activity:
        newest = store.audit.head()
        total = newest.seq if newest else 0
        report = store.audit.verify(kept, progress=lambda done: activity.count(done, total))
    if as_json:
        output.show_json(_as_dict(report))
    else:
        _show(report)
    if not report.ok:
        raise typer.Exit(ExitStatus.FAILED)


def head(*, database_url: DatabaseUrlOption = None, as_json: JsonOption = False) -> None:
    """Print the head of the audit log, one line.

    Keep it where nobody who can change the database can change it: a ticket, a mail, on paper.
    """
    with store_from(settings_from(database_url=database_url)) as store:
        newest = store.audit.head()
    if newest is None:
        raise CommandError("the audit log has no entries yet")
    if as_json:
        output.show_json({"head": str(newest), **asdict(newest)})
    else:
        output.show(str(newest))


def _read_head(text: str) -> str:
    """Return the head itself, or the last line of the file that contains it."""
    from lfv_store import InvalidRecord
    from lfv_store.audit.verification import AuditHead

    try:
        return str(AuditHead.parse(text))
    except InvalidRecord:
        pass
    try:
        lines = Path(text).read_text(encoding="utf-8", errors="replace").split()
    except OSError as error:
        raise WrongUsage(f"--head {text} is neither a head nor a file: {error.strerror}") from None
    try:
        return str(AuditHead.parse(lines[-1] if lines else ""))
    except InvalidRecord as error:
        raise WrongUsage(f"{text} holds no audit head: {error}") from None


def _show(report: AuditReport) -> None:
    for problem in report.problems:
        place = f"entry {problem.seq}: " if problem.seq is not None else ""
        output.show(f"{place}{problem.message}")
    if report.more_problems:
        output.show("... and more")
    if report.unchecked is not None:
        output.show(report.unchecked)
    entries = count_of(report.entries, "entry", "entries")
    found = f"{entries} of the audit log and {count_of(report.rows, 'row')}"
    if report.ok:
        output.show(f"verified: {found}")
        if not report.head_checked:
            output.show(
                "without --head, a log that was truncated or rewritten as a whole is not detected"
            )
    else:
        output.show(f"CHANGED since it was recorded: {found} checked")


def _as_dict(report: AuditReport) -> dict[str, object]:
    shown = {"ok": report.ok, "first_bad_seq": report.first_bad_seq, **asdict(report)}
    return shown | {"head": str(report.head) if report.head else None}
