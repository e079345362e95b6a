"""What `--help` shows: paragraphs that fill the line, and values named as in docs/cli.md."""

from __future__ import annotations

import inspect
import re
import shutil
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

_NUMBERS_AND_PATHS = {int: "N", float: "NUMBER", Path: "PATH"}


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a docstring, each as one line for the terminal to wrap."""
    found = re.split(r"\n\s*\n", inspect.cleandoc(text).strip())
    return [" ".join(paragraph.split()) for paragraph in found]


def placeholder(parameter: Any) -> str:
    """Return what stands for the value of an option or argument; a flag has none."""
    if parameter.param_type_name == "option" and parameter.is_flag:
        return ""
    if parameter.metavar:
        return str(parameter.metavar)
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    kind = parameter.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(member.value) for member in kind)
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    return _NUMBERS_AND_PATHS.get(kind, "TEXT")


class _Readable:
    """Overrides of Typer's classes, which otherwise keep the line breaks of docstrings."""

    #: In a narrower terminal, a table leaves too little room for what names mean, and cuts them.
    columns_for_table = 80
    rich_markup_mode: Any

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.help = "\n\n".join(paragraphs(getattr(self, "help", None) or "")) or None

    def get_params(self, ctx: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            parameter.metavar = placeholder(parameter)
        return parameters

    def format_help(self, ctx: Any, formatter: Any) -> None:
        columns = shutil.get_terminal_size().columns
        if columns < self.columns_for_table:
            self.rich_markup_mode = None
            formatter.width = columns - 1
        super().format_help(ctx, formatter)  # type: ignore[misc]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Without tables: write names, and below them, indented, what they mean."""
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            parameters = (one for one in self.get_params(ctx) if one.param_type_name == kind)
            records = (one.get_help_record(ctx) for one in parameters)
            _write_list(formatter, title, [record for record in records if record])
        commands = getattr(self, "commands", {}).items()
        _write_list(
            formatter,
            "Commands",
            [(name, paragraphs(one.help)[0]) for name, one in commands if not one.hidden],
        )

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Without tables: write the examples as they are, so that they can be copied."""
        for part in (getattr(self, "epilog", None) or "").split("\n\n"):
            formatter.write(f"\n{part}\n" if part else "")


class Command(_Readable, TyperCommand):
    """A command, whose tables have a column for the values of options too."""

    columns_for_table = 100


class Group(_Readable, TyperGroup):
    """A group of commands."""


def _write_list(formatter: Any, title: str, records: list[tuple[str, str]]) -> None:
    if not records:
        return
    with formatter.section(title):
        for name, meaning in records:
            formatter.write_text(name)
            with formatter.indentation():
                formatter.write_text(meaning)


def use_for_all(app: typer.Typer) -> None:
    """Have `app`, its groups and all their commands show this help."""
    if not isinstance(app.info.cls, type):
        app.info.cls = Group
    for command in app.registered_commands:
        command.cls = Command
    for group in app.registered_groups:
        if group.typer_instance is not None:
            use_for_all(group.typer_instance)
