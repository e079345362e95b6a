"""Read settings from the environment, and write them to it for other processes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lfv.settings.fields import ENV_PREFIX, Settings

#: Variables that `Settings` does not read but other code does; not reported as misspelt.
_FOREIGN_VARIABLES = frozenset({"LFV_TEST_DATABASE_URL", "LFV_TEST_POSTGRES_URL"})

#: Environment variables, and tables of TOML files, that may configure Prefect's API address.
_PREFECT_VARIABLES = frozenset({"PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"})
_PREFECT_TABLES = re.compile(
    r"^\s*(\[(tool\.prefect|api)\b|api\s*[.=]|profiles_path)", re.MULTILINE
)

#: Keeps the Prefect client's log lines off stderr, including those of its threads when the API is
#: unavailable. Turns usage statistics off: the client announces them on a terminal, and the
#: server's first write of them to a new database can fail with a traceback.
_QUIET_PREFECT: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}

#: Variables that Prefect sets for a temporary server that it starts itself.
_TEMPORARY_SERVER: Mapping[str, str] = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    # Block types are registered when a block is saved. Doing so at the start would import every
    # installed collection, Dask among them.
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "0",
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "0",
}


class LfvSettingsError(ValueError):
    """Raised when a setting has a value that cannot be used."""


def get_settings(**overrides: Any) -> Settings:
    """Return the settings from `overrides` and the environment.

    Args:
        overrides: Values by setting name. They override the environment unless they are None.

    Raises:
        LfvSettingsError: Some values cannot be used; the message has one sentence for each.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise LfvSettingsError(_sentence(error, given)) from None


def unknown_variables() -> list[str]:
    """Return the environment variables that start with `LFV_` but name no setting."""
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields} | _FOREIGN_VARIABLES
    names = (name.upper() for name in os.environ)
    return sorted(name for name in names if name.startswith(ENV_PREFIX) and name not in known)


def child_environment(settings: Settings | None = None, **extra: str) -> dict[str, str]:
    """Return the environment for a child process.

    Args:
        settings: Settings to pass on, which override this process's environment.
        extra: Further variables.
    """
    environment = dict(os.environ)
    if settings is not None:
        _put(environment, settings)
    environment.update(extra)
    return environment


def use_in_process(settings: Settings) -> None:
    """Write `settings` to this process's environment, for its flow runs and child processes."""
    _put(os.environ, settings)


def _put(environment: MutableMapping[str, str], settings: Settings) -> None:
    """Set the variable of each setting that was given a value; unset it if the value is None."""
    for name in sorted(settings.model_fields_set):
        value = getattr(settings, name)
        if isinstance(value, dict):
            value = ",".join(f"{key}={item}" for key, item in value.items())
        if value is None:
            environment.pop(ENV_PREFIX + name.upper(), None)
        else:
            environment[ENV_PREFIX + name.upper()] = str(value)


def keep_local_traffic_off_proxies() -> None:
    """Make this process and its children connect to this machine without a proxy."""
    given = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
    if given != "*":
        hosts = f"{given},localhost,127.0.0.1,::1".lstrip(",")
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = hosts


def prefect_may_be_configured() -> bool:
    """Return False only if certainly no variable or file sets the address of a Prefect API.

    A cheap check: importing Prefect to read its settings takes seconds.
    """
    if any(name.upper() in _PREFECT_VARIABLES for name in os.environ):
        return True
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    files = (home / "profiles.toml", *map(Path, (".env", "prefect.toml", "pyproject.toml")))
    try:
        texts = [file.read_text(encoding="utf-8").lower() for file in files if file.exists()]
    except (OSError, ValueError):
        return True
    return any("prefect_api" in text or "prefect_profile" in text for text in texts) or any(
        _PREFECT_TABLES.search(text) for text in texts
    )


def use_prefect_api(url: str) -> None:
    """Make this process and its children use the Prefect API at `url`."""
    os.environ["PREFECT_API_URL"] = url


def use_aws_credentials(access_key_id: str, secret_access_key: str) -> None:
    """Make this process and its children use this AWS key instead of the configured one."""
    os.environ["AWS_ACCESS_KEY_ID"] = access_key_id
    os.environ["AWS_SECRET_ACCESS_KEY"] = secret_access_key
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE"):
        os.environ.pop(name, None)


def temporary_prefect_environment() -> dict[str, str]:
    """Return the environment for a Prefect server that serves one command and no browser."""
    return {**os.environ, **_TEMPORARY_SERVER}


def quieten_prefect() -> None:
    """Keep Prefect's own messages off the terminal. Variables the user has set are kept.

    Call it before Prefect is imported. Runs and logs are still sent to the Prefect API.
    """
    for name, value in _QUIET_PREFECT.items():
        os.environ.setdefault(name, value)


def _sentence(error: ValidationError, given: Mapping[str, object]) -> str:
    """Return one sentence for each invalid value, with the variable or argument it came from."""
    sentences = []
    for detail in error.errors(include_url=False, include_context=False):
        message = detail["msg"].removeprefix("Value error, ")
        name = str(detail["loc"][0]) if detail["loc"] else ""
        if not name:
            sentences.append(message)
            continue
        place = name if name in given else ENV_PREFIX + name.upper()
        value = str(detail["input"])
        # An address may contain a password.
        secret = name == "database_url" or "@" in value
        shown = "" if secret else f" = {value[:120]!r}"
        sentences.append(f"setting {place}{shown}: {message[:1].lower()}{message[1:]}")
    return "; ".join(sentences)
