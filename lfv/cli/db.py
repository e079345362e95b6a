"""`lfv db`: create, upgrade and find the results database."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from lfv.cli import output
from lfv.cli.common import settings_from
from lfv.cli.errors import CommandError
from lfv.cli.options import DatabaseUrlOption, JsonOption, examples

if TYPE_CHECKING:
    from sqlalchemy import URL

    from lfv_store.database import Database


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        name="db", help="Create, upgrade and find the results database.", no_args_is_help=True
    )
    group.command(
        "upgrade",
        epilog=examples(
            "lfv db upgrade",
            "lfv db upgrade --database-url postgresql://lfv@db.example/inspections",
        ),
    )(upgrade)
    group.command("check")(check)
    group.command("url", epilog=examples("lfv db url", "psql $(lfv db url --with-password)"))(url)
    app.add_typer(group)


def upgrade(*, database_url: DatabaseUrlOption = None, as_json: JsonOption = False) -> None:
    """Create the tables, or upgrade them to this release. All rows are kept.

    An SQLite file is upgraded by any command that writes; a PostgreSQL database only by this one.
    """
    from lfv_store import schema

    with closing(_database(database_url)) as database:
        before = schema.upgrade(database)
        name = _name(database)
    if as_json:
        output.show_json({"database": name, "before": before, "now": schema.HEAD})
    elif before == schema.HEAD:
        output.show(f"{name} is already at revision {schema.HEAD}")
    else:
        came = "created" if before is None else f"upgraded from revision {before}"
        output.show(f"{name} {came}, now at revision {schema.HEAD}")


def check(*, database_url: DatabaseUrlOption = None, as_json: JsonOption = False) -> None:
    """Check that the database is available and fits this release; exit status 1 if not."""
    from lfv_store import schema

    file = settings_from(database_url=database_url).store_file
    if file is not None and not file.exists():
        raise CommandError(f"there is no file {file}: `lfv db upgrade` creates it")
    with closing(_database(database_url)) as database:
        found = schema.revision(database)
        name = _name(database)
    fits = found == schema.HEAD
    if as_json:
        output.show_json(
            {"database": name, "revision": found, "expected": schema.HEAD, "fits": fits}
        )
        if not fits:
            raise typer.Exit(1)
    elif fits:
        output.show(f"{name} is at revision {found}, as this release expects")
    elif found is None:
        raise CommandError(f"{name} has no tables yet: run `lfv db upgrade`")
    else:
        way_out = (
            "run `lfv db upgrade`" if found in schema.REVISIONS else "use the newer release with it"
        )
        raise CommandError(
            f"{name} is at revision {found}, this release expects {schema.HEAD}: {way_out}"
        )


def url(
    *,
    with_password: Annotated[
        bool,
        typer.Option("--with-password", help="Print the password too, for use by a program."),
    ] = False,
    database_url: DatabaseUrlOption = None,
) -> None:
    """Print the URL of the database that commands use, its password hidden."""
    from lfv_store.database import parse_url

    parsed = parse_url(settings_from(database_url=database_url).store_url)
    output.show(_show(parsed, hide_password=not with_password))


def _database(database_url: str | None) -> Database:
    from lfv_store.database import Database

    return Database(settings_from(database_url=database_url).store_url)


def _name(database: Database) -> str:
    return _show(database.url, hide_password=True)


def _show(address: URL, *, hide_password: bool) -> str:
    """Return the URL without the driver's name, in the form that psql accepts."""
    plain = address.set(drivername=address.get_backend_name())
    if hide_password and "password" in plain.query:
        plain = plain.update_query_dict({"password": "***"})
    return plain.render_as_string(hide_password=hide_password)
