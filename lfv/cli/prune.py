"""`lfv prune`: free space by deleting old reports, pictures and masks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lfv.cli import output
from lfv.cli.common import current_user, settings_from, store_from
from lfv.cli.errors import WrongUsage
from lfv.cli.options import DatabaseUrlOption, JsonOption, PasswordOption, examples
from lfv.cli.signing import signer
from lfv.formats.words import count_of


def register(app: typer.Typer) -> None:
    app.command(
        "prune",
        epilog=examples(
            "lfv prune",
            "lfv prune --older-than-days 30 --delete",
            "lfv prune --older-than-days 3650 --masks --delete --sign-as ana --reason 'QM 7.5.3'",
        ),
    )(prune)


def prune(
    *,
    older_than_days: Annotated[
        float,
        typer.Option(
            "--older-than-days",
            min=0.0,
            help="Days since a run ended, a picture was read, or a mask's answer was used.",
        ),
    ] = 90.0,
    masks: Annotated[
        bool,
        typer.Option("--masks", help="Masks of answers, too; deleting them has to be signed."),
    ] = False,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete them; without this they are only listed.")
    ] = False,
    sign_as: Annotated[
        str | None,
        typer.Option(
            "--sign-as",
            metavar="NAME",
            help="Admin of `lfv ui` who signs for the masks; asks for the password.",
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why masks may be deleted.")
    ] = None,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact",
            help="Return the free space of the SQLite file to the disk; takes twice its size for a "
            "while, in which writers wait.",
        ),
    ] = False,
    password_stdin: PasswordOption = False,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the reports of old runs and unused pictures, or delete them.

    Both can be created again: `lfv report RUN` writes a report, and pictures are drawn on demand.
    Masks cannot: --masks deletes those of answers that no run has used for that long, if an admin
    signs for it. All other rows of the results database stay. The audit log records who
    deleted what, when, and how much.
    """
    if masks and delete and (sign_as is None or not (reason or "").strip()):
        raise WrongUsage("deleting masks needs --sign-as NAME and --reason TEXT")
    if compact and not delete:
        raise WrongUsage("--compact needs --delete, because a dry run changes nothing")
    settings = settings_from(database_url=database_url)
    from lfv.run.prune import delete_old, find_old, shown_lines
    from lfv_store import Signature

    with store_from(settings) as store:
        found = find_old(settings, store, older_than_days, masks=masks)
        if delete:
            signature = None
            if masks and sign_as is not None:
                admin = signer(settings, store, sign_as, "admin", from_stdin=password_stdin)
                signature = Signature(admin, reason or "")
            delete_old(settings, store, found, f"lfv prune ({current_user()})", signature)
        sizes = store.prunings.compact() if compact else None
    if as_json:
        output.show_json(
            asdict(found) | {"size_bytes": found.size_bytes, "deleted": delete, "file_sizes": sizes}
        )
        return
    for line in shown_lines(found):
        output.show(line)
    for name in found.unknown:
        output.note(f"lfv: {settings.runs_folder / name} belongs to no run of this database")
    done = "deleted" if delete else "would be deleted with --delete"
    reports = count_of(len(found.reports), "report")
    pictures = count_of(found.pictures.number, "picture")
    of_masks = f", {count_of(found.masks.number, 'mask')}" if masks else ""
    output.show(f"{reports}, {pictures}{of_masks}, {found.size_bytes / 1e6:.1f} MB: {done}")
    if sizes is not None:
        output.show(f"database file: {sizes[0] / 1e6:.1f} MB before, {sizes[1] / 1e6:.1f} MB now")
    elif compact:
        output.note("lfv: PostgreSQL reuses free space by itself (autovacuum); nothing was done")
