"""Write the reference pages that are generated from the code: settings, commands, API, errors.

python docs/generate.py            write them
python docs/generate.py --check    exit status 1 if one of them is out of date
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import typer

from lfv.cli.help_text import placeholder

DOCS = Path(__file__).parent
ERRORS = DOCS / "errors.toml"
NOTE = "<!-- Written by docs/generate.py; change the code, then run `make docs`. -->\n"


def settings_page() -> str:
    """Every setting with its variable, type, default and meaning."""
    from lfv.settings import ENV_PREFIX, Settings

    introduction = (
        "Settings are environment variables; options of commands override them. An empty variable "
        f"counts as not set. Every command reports unknown variables that start with "
        f"`{ENV_PREFIX}`. Times are in seconds, prices in US dollars. AWS credentials and profiles "
        "are configured as for boto3, and Prefect by its `PREFECT_` variables."
    )
    lines = [
        NOTE,
        "# Settings",
        "",
        introduction,
        "",
        "| variable | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        cells = (
            f"`{ENV_PREFIX}{name.upper()}`",
            _type_name(field.annotation),
            _default(field.get_default(call_default_factory=True)),
            _cell(field.description or ""),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _type_name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is dict:
        return "list of `NAME=VALUE`"
    if str in arguments and type(None) in arguments:
        return "text"
    if arguments and all(isinstance(argument, str) for argument in arguments):
        return " ".join(f"`{argument}`" for argument in arguments)
    while arguments:
        annotation, arguments = arguments[0], get_args(arguments[0])
    names = {Path: "path", str: "text", int: "whole number", float: "number"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(value: object) -> str:
    if value is None or value in ("", {}):
        return ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def cli_page() -> str:
    """Every command with its arguments and options."""
    from lfv.cli.app import app

    root = typer.main.get_command(app)
    lines = [NOTE, "# The `lfv` command", "", root.help, ""]
    options = [_option_row(option) for option in _options(root)]
    lines += ["These go before the command:", "", "| option | meaning |", "|---|---|", *options, ""]
    commands = list(_commands(root, "lfv"))
    lines += ["| command | what it does |", "|---|---|"]
    for path, command in commands:
        anchor = path.replace(" ", "-")
        lines.append(f"| [`{path}`](#{anchor}) | {_cell(command.get_short_help_str(limit=200))} |")
    lines.append("")
    for path, command in commands:
        lines += _command_section(path, command)
    return "\n".join(lines).rstrip() + "\n"


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name in sorted(group.commands):
        command = group.commands[name]
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _command_section(path: str, command: Any) -> list[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    usage = " ".join([path, *(_usage(one) for one in arguments), "[OPTIONS]"])
    lines = [f"## {path}", "", "```", usage, "```", "", command.help or "", ""]
    if arguments:
        lines += ["| argument | meaning |", "|---|---|"]
        lines += [f"| `{placeholder(one)}` | {_meaning(one)} |" for one in arguments]
        lines.append("")
    options = [_option_row(option) for option in _options(command)]
    if options:
        lines += ["| option | meaning |", "|---|---|", *options, ""]
    if command.epilog:
        heading, *examples = [line.strip() for line in command.epilog.split("\n\n")]
        lines += [heading, "", "```sh", *examples, "```", ""]
    return lines


def _options(command: Any) -> list[Any]:
    return [
        one
        for one in command.params
        if one.param_type_name == "option" and not one.hidden and one.name != "help"
    ]


def _option_row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    name = placeholder(option).replace("|", "\\|")
    value = f" `{name}`" if name else ""
    return f"| {names}{value} | {_meaning(option)} |"


def _usage(argument: Any) -> str:
    name = placeholder(argument)
    return name if argument.required else f"[{name}]"


def _meaning(parameter: Any) -> str:
    text = _cell(parameter.help or "")
    default = parameter.default
    if callable(default) or default in (None, False, ()) or parameter.required:
        default = None
    needed = " Required." if parameter.required and parameter.param_type_name == "option" else ""
    shown = "" if default is None else f" Default: `{getattr(default, 'value', default)}`."
    return f"{text}{needed}{shown}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def api_coverage_page() -> str:
    """Every operation and error of the API, from the service model and the registered handlers."""
    from lfv.client.api.service_model import API_VERSION, service_model
    from lfv.server.errors import ApiError

    model = service_model()
    operations = [model.operation_model(name) for name in sorted(model.operation_names)]
    answered = sum(_module_of(one.name) is not None for one in operations)
    lines = [
        f"{NOTE}# API coverage",
        "",
        f"API version {API_VERSION}: {answered} of {len(operations)} operations are implemented.",
        "Requests are decoded and checked by the service model in `lfv/client/api/data`. The tests",
        "compare that model with botocore 1.40.60, and every answer and error with the model.",
        "[service.md](service.md) lists differences from the original and undocumented cases.",
        "",
        "| operation | request | answer | ClientToken | pages | module |",
        "|---|---|---|---|---|---|",
    ]
    for operation in operations:
        members = operation.input_shape.members if operation.input_shape else {}
        module = _module_of(operation.name)
        cells = (
            f"`{operation.name}`",
            f"`{operation.http['method']} {operation.http['requestUri']}`",
            str(operation.http.get("responseCode", 200)),
            "yes" if "ClientToken" in members else "",
            "yes" if "NextToken" in members else "",
            f"`{module}`" if module else "**not implemented**",
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Errors", "", "| error | status | members |", "|---|---|---|"]
    for kind in sorted(_with_code(ApiError), key=lambda kind: kind.code):
        shape = model.shape_for(kind.code).members if kind.code in model.shape_names else {}
        named = ", ".join(
            "Retry-After" if name == "RetryAfterSeconds" else name for name in shape or ["Message"]
        )
        lines.append(f"| `{kind.code}` | {kind.status} | {named} |")
    lines += [
        "",
        "`UnknownOperationException` is not in the service model; it is returned",
        "for unknown paths, as by Amazon. Retry-After is a header.",
    ]
    return "\n".join(lines) + "\n"


def _module_of(operation: str) -> str | None:
    """The module that implements an operation, None if there is none."""
    from lfv.server.operations import HANDLERS

    if operation == "DetectAnomalies":
        return "lfv.server.detection"
    return HANDLERS[operation].__module__ if operation in HANDLERS else None


def _with_code(kind: type[Any]) -> set[type[Any]]:
    """An exception and its subclasses, those that have a code of their own."""
    own = {kind} if "code" in vars(kind) else set()
    return own.union(*(_with_code(below) for below in kind.__subclasses__()))


_ERRORS = (
    "Every error is one sentence: what is wrong, and the next step. The code is stored with the "
    "inspection (`error_code` in the views) and does not change between releases. *Retried*: the "
    "cause may pass, so runs retry the call."
)


def error_classes() -> dict[str, type[Exception]]:
    """The classes that are raised, by their code or, where they have none, by their name."""
    from lfv.client import errors as _client  # noqa: F401  (defines subclasses)
    from lfv.formats.errors import LfvError
    from lfv.run.errors import InspectionError
    from lfv_store.errors import StoreError

    found: dict[str, type[Exception]] = {}
    waiting: list[type[Exception]] = [LfvError, InspectionError, StoreError]
    while waiting:
        kind = waiting.pop()
        # Not those of tests, which may be in the same process.
        below = [sub for sub in kind.__subclasses__() if sub.__module__.startswith("lfv")]
        waiting += below
        if not below and kind.__module__.endswith(".errors"):
            found[getattr(kind, "code", kind.__name__)] = kind
    return found


def errors_page() -> str:
    """Every error with its cause and remedy, in the order of `errors.toml`."""
    classes = error_classes()
    told = tomllib.loads(ERRORS.read_text(encoding="utf-8"))
    lines = [
        NOTE,
        "# Errors",
        "",
        _ERRORS,
        "| error | cause | remedy | retried |",
        "|---|---|---|---|",
    ]
    for name, texts in told.items():
        retried = "yes" if getattr(classes.get(name), "retryable", False) else ""
        cells = (f"`{name}`", _cell(texts["cause"]), _cell(texts["remedy"]), retried)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "cli.md": cli_page,
    "api-coverage.md": api_coverage_page,
    "errors.md": errors_page,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` compare them."""
    stale = []
    for name, make in PAGES.items():
        path = DOCS / name
        text = make()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
    if stale and "--check" in arguments:
        sys.stderr.write(f"not up to date: {', '.join(stale)}; run `make docs`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
