"""Every setting of the pipeline. No other package reads the environment.

A setting's value is its keyword argument (from a command line option), else the environment
variable `LFV_NAME`, else the default::

    settings = get_settings(database_url=option)     # an option that is None counts as not given
    settings.store_url                               # 'sqlite:////home/me/.lfv/inspections.db'

`get_settings` reads the environment at each call and caches nothing. An entry point (a command or a
flow) calls it once and passes the settings on. `docs/settings.md` is generated from the
descriptions.

    LfvSettingsError      a value cannot be used; the message names the variable and the value
"""

from lfv.settings.addresses import is_https_or_loopback, without_password
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
from lfv.settings.fields import (
    DEFAULT_PRICES,
    ENV_PREFIX,
    HostKind,
    LogLevel,
    Settings,
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
    "without_password",
]
