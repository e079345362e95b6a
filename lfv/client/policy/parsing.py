"""Parse a policy: JSON, or a strict subset of YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from typing import Any

import yaml

from lfv.client.errors import PolicyError


class _PlainLoader(yaml.SafeLoader):
    """Safe values only; no aliases (a few can expand to gigabytes), no duplicate names."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            line = self.get_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise PolicyError(f"The policy uses a YAML alias on line {line}; write it out.")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            place = f"on line {key_node.start_mark.line + 1}"
            if not isinstance(key, str):
                raise PolicyError(
                    f"The policy has the name {key_node.value} {place}, which YAML doesn't read "
                    "as text; put it in quotes."
                )
            if key in seen:
                raise PolicyError(
                    f"The policy has the name {key!r} twice, the second time {place}."
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 reads 1e-3 as a string, because it has no dot.
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse_policy_text(text: str) -> dict[str, Any]:
    """Parse YAML or JSON into a mapping. Raises PolicyError."""
    if text.lstrip().startswith("{"):
        try:
            return _mapping(json.loads(text, object_pairs_hook=_unique))
        except (ValueError, RecursionError):
            pass  # perhaps a YAML mapping in braces; else YAML's message names the line
    try:
        loader = _PlainLoader(text)
        try:
            return _mapping(loader.get_single_data())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" on line {mark.line + 1}" if mark else ""
        raise PolicyError(f"The policy is not valid YAML{where}: {error.problem}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PolicyError("The policy is not valid YAML.") from error


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PolicyError("The policy is empty or not a mapping of names to values.")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        twice = sorted({name for name, _ in pairs if [n for n, _ in pairs].count(name) > 1})
        raise PolicyError(f"The policy has the name {twice[0]!r} twice.")
    return members
