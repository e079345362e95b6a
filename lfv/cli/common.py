"""Shared by commands: settings from options, the store, and the run that an argument names."""

from __future__ import annotations

import getpass
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfv.cli import output
from lfv.cli.errors import CommandError, WrongUsage

if TYPE_CHECKING:
    from lfv.settings import Settings
    from lfv_store import Run, Store

#: Prefect's background threads log by the names of their classes.
_PREFECT_LOGGERS = ("prefect", "EventsWorker", "APILogWorker")
_SHORT_ID = 8
_AGO = re.compile("([0-9]+)([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def settings_from(**options: Any) -> Settings:
    """Return settings from the environment, overridden by `options`, and set up logging.

    Raises `lfv.settings.LfvSettingsError`.
    """
    from lfv.settings import get_settings

    settings = get_settings(**options)
    set_up_logging(settings.log_level)
    return settings


def ask_password(*, from_stdin: bool, confirm: bool = False, of: str = "") -> str:
    """Read a password from the terminal, twice with `confirm`, or from standard input.

    `of` is the name of its user, for the prompt.

    Raises `CommandError` without a terminal.
    """
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        raise CommandError("there is no terminal to ask for the password; use --password-stdin")
    import typer

    text: str = typer.prompt(
        f"Password of {of}" if of else "Password", hide_input=True, confirmation_prompt=confirm
    )
    return text


def set_up_logging(level: str) -> None:
    """Write messages of at least `level` to stderr; Prefect's own with level DEBUG only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    if level != "DEBUG":
        handler.addFilter(lambda record: not record.name.startswith(_PREFECT_LOGGERS))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Prefect's threads report what they could not send with a traceback or a bare line on stderr.
    logging.raiseExceptions = level == "DEBUG"


@contextmanager
def store_from(settings: Settings) -> Iterator[Store]:
    """Open the existing results database.

    Raises `CommandError` if there is none, instead of creating an empty one.
    """
    from lfv_store import open_store

    file = settings.store_file
    if file is not None and not file.exists():
        raise CommandError(
            f"there is no results database at {file}; `lfv inspect` creates it, "
            "--database-url or LFV_HOME selects another"
        )
    with open_store(settings.store_url) as store:
        yield store


def find_run(store: Store, text: str, *, to_resume: bool = False) -> Run:
    """Return the run that an argument names; with `to_resume`, among runs that can be resumed.

    Raises `WrongUsage` unless it is exactly one.
    """
    from lfv.run.errors import RunNotFound
    from lfv.run.lookup import find_run as look_up
    from lfv.run.lookup import find_unfinished_run

    try:
        return find_unfinished_run(store, text) if to_resume else look_up(store, text)
    except RunNotFound as error:
        raise WrongUsage(str(error)) from None


def current_user() -> str:
    """Return the name of the user, or an empty string if the system has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def person(by: str | None) -> str:
    """Return the name given with --by, else the current user's. Raises WrongUsage if unknown."""
    name = by or current_user()
    if not name:
        raise WrongUsage("the name of the current user is unknown; give a name with --by")
    return name


def short_id(run_id: str) -> str:
    """Return enough of an id to type on a terminal, else the whole id."""
    return run_id[:_SHORT_ID] if sys.stdout.isatty() else run_id


def local_time(at: datetime | None) -> str:
    """Return local time to the minute on a terminal, else UTC in ISO 8601."""
    if at is None:
        return ""
    if sys.stdout.isatty():
        return f"{at.astimezone():%Y-%m-%d %H:%M}"
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def check_source(source: str) -> None:
    """Raise CommandError if a local source does not exist."""
    if "://" not in source and not Path(source).exists():
        raise CommandError(f"no manifest, folder or image found at {source}")


def time_of(text: str, option: str) -> datetime:
    """Return the time that an option names: `12h` ago, or a date in ISO 8601.

    A time without an offset is local. Raises WrongUsage.
    """
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago is not None:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise WrongUsage(
            f"{option} {text} is not a time: give 90m, 12h, 7d or 4w, or a date such as 2026-11-01"
        ) from None


def check_local_project(settings: Settings, project: str) -> None:
    """Refuse a project that the service on this machine does not know; print a note if it has none.

    Other hosts are not queried, because that needs a connection and may cost money. If the projects
    cannot be read, their next use reports why.
    """
    from lfv.run.embedded_service import is_embedded, local_projects

    if not is_embedded(settings):
        return
    known = local_projects(settings)
    if known and project not in known:
        raise CommandError(f"no project named {project}; the projects are: {', '.join(known)}")
    if known == []:
        output.note(
            f"lfv: no project named {project} yet; `lfv train FOLDER --project {project}` trains "
            "its model"
        )
