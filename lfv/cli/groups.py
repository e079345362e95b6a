"""Command groups that can be called without a subcommand."""

from __future__ import annotations

from typing import Any

from lfv.cli.help_text import Group

_HELP = frozenset({"-h", "--help"})


class ReviewGroup(Group):
    """``lfv review`` is ``lfv review list``, ``lfv review RUN LINE`` is ``lfv review record``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if first not in self.commands and first not in _HELP:
            args = ["list" if not first or first.startswith("-") else "record", *args]
        return super().parse_args(ctx, args)


class _DefaultGroup(Group):
    """A group that runs its `default` subcommand if none is given."""

    default = ""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if first not in _HELP and (not first or first.startswith("-")):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


class UiGroup(_DefaultGroup):
    """``lfv ui`` is ``lfv ui serve``."""

    default = "serve"


class ModelsGroup(_DefaultGroup):
    """``lfv models`` is ``lfv models list``."""

    default = "list"
