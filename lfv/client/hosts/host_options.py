"""Read the options of any kind of host."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from lfv.client.errors import HostRejected

Options = TypeVar("Options")


def read_options(
    given: Mapping[str, Any],
    kind: type[Options],
    *,
    host: str,
    unlisted: Collection[str] = (),
    unused: Collection[str] = (),
) -> Options:
    """Return a host's options, with numbers and switches converted.

    Args:
        given: `HostSpec.options`; values may be strings from a command line.
        kind: The dataclass of this kind of host. Every field has a default.
        host: How messages name the host, such as "A SageMaker host".
        unlisted: Options that only the pipeline sets; messages do not name them.
        unused: Options of other kinds of host, which may be set for all commands.

    Raises:
        HostRejected: An option is unknown, or its value is unusable.
    """
    mine = {name: value for name, value in given.items() if name not in unused}
    kinds = {option.name: type(option.default) for option in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(mine.keys() - kinds.keys()):
        raise HostRejected(
            f"{host} has no option {unknown[0]!r}; its options are "
            f"{', '.join(sorted(kinds.keys() - set(unlisted)))}."
        )
    return kind(**{name: _convert(name, value, kinds[name]) for name, value in mine.items()})


def _convert(name: str, value: Any, kind: type) -> Any:
    if kind is bool:
        text = str(value).casefold()
        if text not in {"true", "false"}:
            raise HostRejected(f"Option {name} must be true or false.")
        return text == "true"
    if kind not in {int, float}:
        return value
    try:
        return kind(value)
    except (TypeError, ValueError) as error:
        raise HostRejected(f"Option {name} is not a number: {error}.") from error
