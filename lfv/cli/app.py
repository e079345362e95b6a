"""The `lfv` command: one module per subcommand, errors as one sentence, exit statuses.

Modules of subcommands import heavy packages (Prefect, SQLAlchemy, boto3) inside their functions, so
that `lfv --help` is fast.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from lfv.cli import (
    audit,
    automations,
    db,
    decide,
    demo,
    deploy,
    edge_agent,
    estimate,
    export,
    import_,
    inspect,
    models,
    overlay,
    parity,
    prune,
    report,
    review,
    runs,
    serve,
    stop,
    sweep,
    train,
    ui,
    up,
    version,
    watch,
)
from lfv.cli.errors import ExitStatus, Interrupted, OutputClosed, WrongUsage, is_own
from lfv.cli.help_text import use_for_all
from lfv.cli.output import note, show
from lfv.cli.signals import restored

#: The next step for errors that do not name one, by the error's stable code. `{place}` is replaced
#: by the options of the command line that locate the model.
_WAYS_OUT: Mapping[str, str] = {
    "host_unreachable": "check --endpoint-url",
    "manifest_header_invalid": "see docs/manifests.md",
    "manifest_kind_unknown": "see docs/manifests.md",
    "model_not_found": "`lfv models{place}` lists the models",
    "policy_invalid": "see docs/policies.md",
}

#: What is said when a signal has ended the command, by exit status.
_ENDED_BY: Mapping[int, str] = {
    ExitStatus.INTERRUPTED: "lfv: interrupted",
    ExitStatus.TERMINATED: "lfv: terminated",
}

_PLACE = ("--host", "--endpoint-url", "--region")

app = typer.Typer(
    name="lfv",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@dataclass
class Invocation:
    """The options before the subcommand."""

    debug: bool = False


@app.callback()
def lfv(
    context: typer.Context,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Inspect product images with Lookout for Vision models.

    Start a model, run detection on every image of a manifest, store the results in SQL, stop the
    model. Without an account or endpoint, everything runs on this machine:
    try `lfv demo`.

    Exit status: 0 done, 1 failed, 2 wrong usage, 3 images could not be inspected or there was none.
    """
    del show_version  # its callback has ended the command
    invocation = context.find_object(Invocation)
    if invocation is not None:
        invocation.debug = debug
    _use_no_proxy_on_this_machine()
    _warn_of_unknown_variables()


for _module in (
    *(demo, train, import_, estimate, inspect, runs, report, overlay, decide, review, export),
    *(parity, ui, up, deploy, watch, automations, models, serve, edge_agent, stop, sweep),
    *(prune, audit, db, version),
):
    _module.register(app)
use_for_all(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        show(f"lfv {version.own_version()}")
        raise typer.Exit


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (the process's own when None) and return its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may know ASCII only
    invocation = Invocation()
    try:
        with restored():
            app(args=arguments, prog_name="lfv", obj=invocation)
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        if status in _ENDED_BY:
            note(_ENDED_BY[status])
        return status
    except KeyboardInterrupt:
        note(_ENDED_BY[ExitStatus.INTERRUPTED])
        return ExitStatus.INTERRUPTED
    except OutputClosed:
        _discard_stdout()
        return ExitStatus.OUTPUT_CLOSED
    except Interrupted as error:
        note(f"lfv: interrupted: {sentence(error, arguments)}")
        return ExitStatus.INTERRUPTED
    except Exception as error:
        if invocation.debug:
            raise
        note(f"lfv: {sentence(error, arguments)}")
        return ExitStatus.WRONG_USAGE if _is_wrong_usage(error) else ExitStatus.FAILED
    return ExitStatus.DONE


def sentence(error: BaseException, arguments: Sequence[str] = ()) -> str:
    """Return the message for a user of the command line `arguments`."""
    text = " ".join(str(error).split())
    if is_own(error) and text:
        way_out = _WAYS_OUT.get(str(getattr(error, "code", "")))
        if not way_out:
            return text
        return f"{text.rstrip('.')}; {way_out.format(place=_place(arguments))}"
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{place}"
    name = type(error).__name__
    return f"unexpected {name}{': ' + text if text else ''} (`lfv --debug` shows a traceback)"


def _place(arguments: Sequence[str]) -> str:
    """Return the options among `arguments` that locate a model, ready to be appended."""
    found: list[str] = []
    for number, argument in enumerate(arguments):
        if argument in _PLACE:
            found += arguments[number : number + 2]
        elif argument.startswith(tuple(f"{name}=" for name in _PLACE)):
            found.append(argument)
    return "".join(f" {shlex.quote(word)}" for word in found)


def _is_wrong_usage(error: Exception) -> bool:
    from lfv.settings import LfvSettingsError

    return isinstance(error, WrongUsage | LfvSettingsError)


def _use_no_proxy_on_this_machine() -> None:
    from lfv.settings import keep_local_traffic_off_proxies

    keep_local_traffic_off_proxies()


def _warn_of_unknown_variables() -> None:
    from lfv.settings import unknown_variables

    for name in unknown_variables():
        note(
            f"lfv: warning: {name} is set but is not a known setting (docs/settings.md lists them)"
        )


def _replace_closed_streams() -> None:
    """Replace standard streams that were closed when the process started (``>&-``)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def _discard_stdout() -> None:
    """Point stdout at the null device, so that the interpreter's last flush does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
