"""Read the options of any kind of host."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lfv.client.errors import HostRejected


def read_options(
    given: Mapping[str, Any],
    kinds: Mapping[str, type],
    *,
    host: str,
    unlisted: Collection[str] = (),
) -> dict[str, Any]:
    """Check a host's options, and convert numbers and switches.

    Args:
        given: `HostSpec.options`; values may be strings from a command line.
        kinds: Every option that a user may set, with `int`, `float`, `bool` or `str`; unlisted ones
            may be among them.
        host: How messages name the host, such as "A SageMaker host".
        unlisted: Options that only the pipeline sets; messages do not name them.

    Returns:
        The given options, those of the kinds `int`, `float` and `bool` converted.

    Raises:
        HostRejected: An option is unknown, or its value is unusable.
    """
    unknown = sorted(given.keys() - kinds.keys() - set(unlisted))
    if unknown:
        raise HostRejected(
            f"{host} has no option {unknown[0]!r}; its options are "
            f"{', '.join(sorted(kinds.keys() - set(unlisted)))}."
        )
    return {name: _convert(name, value, kinds.get(name, str)) for name, value in given.items()}


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
