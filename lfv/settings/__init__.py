"""Every setting of the pipeline, and the only package that reads the environment.

A setting comes from a keyword argument (what a command line option becomes), else from the
environment variable ``LFV_<NAME>``, else from its default::

    settings = get_settings(database_url=option)     # None means: not given
    settings.store_url                               # 'sqlite:////home/me/.lfv/inspections.db'

`get_settings` reads the environment at each call and caches nothing: an entry point (a command, a
flow) builds the settings once and passes them on. ``docs/settings.md`` is made of the descriptions.

    LfvSettingsError      a value is unusable; the message names the variable and the value
"""

from lfv.settings.environment import (
    LfvSettingsError,
    child_environment,
    get_settings,
    keep_local_traffic_off_proxies,
    prefect_may_be_configured,
    quieten_prefect,
    temporary_prefect_environment,
    unknown_variables,
    use_aws_credentials,
    use_in_process,
    use_prefect_api,
)
from lfv.settings.model import (
    DEFAULT_PRICES,
    ENV_PREFIX,
    HostKind,
    LogLevel,
    Settings,
    is_https_or_loopback,
)

__all__ = [
    "DEFAULT_PRICES",
    "ENV_PREFIX",
    "HostKind",
    "LfvSettingsError",
    "LogLevel",
    "Settings",
    "child_environment",
    "get_settings",
    "is_https_or_loopback",
    "keep_local_traffic_off_proxies",
    "prefect_may_be_configured",
    "quieten_prefect",
    "temporary_prefect_environment",
    "unknown_variables",
    "use_aws_credentials",
    "use_in_process",
    "use_prefect_api",
]
