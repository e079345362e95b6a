"""Every setting of the pipeline, and the only module that reads the environment.

A setting comes from a keyword argument (what a command line option becomes), else from the
environment variable ``LFV_<NAME>``, else from its default::

    settings = get_settings(database_url=option)     # None means: not given
    settings.store_url                               # 'sqlite:////home/me/.lfv/inspections.db'

`get_settings` reads the environment anew at each call and caches nothing: settings are built once
by an entry point (a command, a flow) and passed on from there.  The reference in
``docs/settings.md`` is generated from the descriptions below.

    LfvSettingsError      a value is not usable; the message names the variable and the value
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, field_validator
from pydantic import model_validator as _model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ENV_PREFIX = "LFV_"

#: Read by others than `Settings`, so that they are not reported as misspelt.
_FOREIGN_VARIABLES = frozenset({"LFV_TEST_DATABASE_URL", "LFV_TEST_POSTGRES_URL"})

#: US dollars for one unit of capacity for one hour, by the kind of place a model is hosted in.
#: Lookout for Vision began at 4 USD per inference unit and hour; a SageMaker unit is an instance,
#: so its price depends on the type chosen (0.408 is ml.c5.2xlarge in us-east-1); what runs on your
#: own machines costs nothing by the hour.
DEFAULT_PRICES: Mapping[str, float] = {
    "lookoutvision": 4.0,
    "embedded": 0.0,
    "sagemaker": 0.408,
    "edge": 0.0,
}

#: No log lines of the client on stderr, nor what its background threads say when the API has gone.
#: No usage statistics: the client tells of them once on a terminal, and the server's first write of
#: them sometimes fails on a new database and prints a traceback.
_QUIET_PREFECT: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}

#: As Prefect sets them for a temporary server that it starts itself.
_TEMPORARY_SERVER: Mapping[str, str] = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
}

HostKind = Literal["lookoutvision", "sagemaker", "edge"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class LfvSettingsError(ValueError):
    """A setting has a value that cannot be used."""


class Settings(BaseSettings):
    """What an installation can be told.  Immutable; times are seconds, prices US dollars."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        validate_default=True,
    )

    home: Path = Field(
        default=Path("~/.lfv"),
        description="Folder for everything that is kept: the SQLite database, the state of the "
        "embedded service, its bucket folder, and the reports of the runs.",
    )
    database_url: str = Field(
        default="",
        repr=False,
        description="SQLAlchemy URL of the results database, `sqlite:///FILE` or "
        "`postgresql://USER:PASSWORD@HOST/NAME`. Empty: `inspections.db` in the home "
        "folder.",
    )

    host: HostKind = Field(
        default="lookoutvision",
        description="Kind of place where the models live: `lookoutvision` (the Lookout for Vision "
        "API), `sagemaker` (endpoints of the successor algorithm) or `edge` (an edge agent).",
    )
    host_options: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="What one kind of host alone understands: `NAME=VALUE`, several separated by "
        "commas, such as `role_arn=ARN,instance_type=ml.m5.xlarge` for SageMaker.",
    )
    endpoint_url: str | None = Field(
        default=None,
        description="Address of the host's API. Not set: for Lookout for Vision a service on this "
        "machine, started when it is needed and ended with its last user; for SageMaker Amazon's.",
    )
    region: str | None = Field(
        default=None,
        description="AWS region of the API and of S3. Not set: what the AWS configuration says, "
        "and `us-east-1` for a service on this machine.",
    )
    s3_endpoint_url: str | None = Field(
        default=None,
        description="Address of an S3-compatible store for `s3://` references. Not set: Amazon S3.",
    )
    buckets: Annotated[dict[str, Path], NoDecode] = Field(
        default_factory=dict,
        description="Folders that stand in for S3 buckets: `NAME=FOLDER`, several separated by "
        "commas. The bucket `lfv` of the embedded service is always there.",
    )
    staging_uri: str | None = Field(
        default=None,
        description="Where training images and manifests are put for a service at an endpoint, "
        "as `s3://BUCKET/PREFIX`. Not set: the bucket `lfv` of the embedded service.",
    )

    backbone: Path | None = Field(
        default=None,
        description="ONNX file, image to feature maps, that the service on this machine tries in "
        "every training beside its own features, and keeps in the model where it helps.",
    )
    detector: Path | None = Field(
        default=None,
        description="ONNX file, image to anomaly score and map (an anomalib export), that the "
        "service on this machine makes every model of: calibrated on the images, not trained.",
    )
    graph_mib: int = Field(
        default=256,
        ge=1,
        le=1024,
        description="Largest ONNX file that the service on this machine accepts, in MiB.",
    )
    network: bool = Field(
        default=False,
        description="Whether the service on this machine also trains a network of convolutions, "
        "which needs PyTorch and minutes, and keeps it in the model where it helps.",
    )

    price_per_unit_hour: Annotated[dict[str, Annotated[float, Field(ge=0)]], NoDecode] = Field(
        default_factory=dict,
        description="US dollars for one unit hosted for one hour, by host kind: `KIND=PRICE`, "
        "several separated by commas. Kinds that are not named keep their default "
        "(lookoutvision 4.0, sagemaker 0.408, edge 0, embedded 0).",
    )

    hosting_deadline_seconds: PositiveFloat = Field(
        default=1800.0,
        description="How long a model may take to be hosted before the run gives up and stops it.",
    )
    stopping_deadline_seconds: PositiveFloat = Field(
        default=900.0,
        description="How long a run waits to see a model stopped before it leaves the rest to "
        "the sweeper.",
    )
    training_deadline_seconds: PositiveFloat = Field(
        default=86400.0,
        description="How long a training may take.",
    )
    service_start_seconds: PositiveFloat = Field(
        default=60.0,
        description="How long the embedded service may take to answer for the first time.",
    )
    connect_timeout_seconds: PositiveFloat = Field(
        default=10.0,
        description="Time limit for a connection to the API or to S3.",
    )
    read_timeout_seconds: PositiveFloat = Field(
        default=60.0,
        description="Time limit for one answer of the API or of S3.",
    )

    lease_ttl_seconds: PositiveFloat = Field(
        default=180.0,
        description="A run that has not been heard of for so long has lost its claim on the "
        "model; when it was the last, the sweeper stops the model.",
    )
    lease_heartbeat_seconds: PositiveFloat = Field(
        default=20.0,
        description="How often a run renews its claim. At most a third of `lease_ttl_seconds`.",
    )

    batch_size: PositiveInt = Field(
        default=200,
        le=10_000,
        description="Images in one batch: asked in one task run, stored in one transaction.",
    )
    batches_in_flight: PositiveInt = Field(
        default=2,
        le=64,
        description="Batches worked on at the same time.",
    )
    requests_per_unit: PositiveInt = Field(
        default=4,
        le=256,
        description="Requests in flight for each inference unit, over all batches.",
    )
    store_patience_seconds: PositiveFloat = Field(
        default=300.0,
        description="How long a run waits for a database that is unavailable before it gives up.",
    )

    report_limit: PositiveInt = Field(
        default=500,
        le=20_000,
        description="Images shown in the HTML report of a run; the counts are always complete.",
    )
    log_level: LogLevel = Field(
        default="WARNING",
        description="Least severe messages that commands write to stderr.",
    )

    @field_validator("home", "backbone", "detector", mode="after")
    @classmethod
    def _absolute_path(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("buckets", "host_options", "price_per_unit_hour", mode="before")
    @classmethod
    def _split_pairs(cls, value: object) -> object:
        return _pairs(value)

    @field_validator("buckets", mode="after")
    @classmethod
    def _absolute_buckets(cls, value: dict[str, Path]) -> dict[str, Path]:
        return {name: folder.expanduser().absolute() for name, folder in value.items()}

    @field_validator("price_per_unit_hour", mode="after")
    @classmethod
    def _add_default_prices(cls, value: dict[str, float]) -> dict[str, float]:
        return {**DEFAULT_PRICES, **value}

    @field_validator("endpoint_url", "s3_endpoint_url", mode="after")
    @classmethod
    def _known_address(cls, value: str | None, info: Any) -> str | None:
        if value is None:
            return None
        if info.field_name == "endpoint_url" and re.match(r"(unix|unix-abstract|tcp):.", value):
            return value  # of an edge agent
        if not re.match(r"https?://[^/]", value):
            raise ValueError("an address begins with http:// or https://")
        return value.rstrip("/")

    @field_validator("staging_uri", mode="after")
    @classmethod
    def _s3_uri(cls, value: str | None) -> str | None:
        if value is not None and not (value.startswith("s3://") and urlsplit(value).netloc):
            raise ValueError("a staging place is s3://BUCKET or s3://BUCKET/PREFIX")
        return value

    @field_validator("database_url", mode="after")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if value and not re.match(r"(sqlite|postgres|postgresql)(\+\w+)?://", value):
            # The value is not repeated: it may hold a password.
            raise ValueError("a database is sqlite:///FILE or postgresql://USER@HOST/NAME")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @_model_validator(mode="after")
    def _heartbeat_fits_lease(self) -> Settings:
        if self.lease_heartbeat_seconds * 3 > self.lease_ttl_seconds:
            raise ValueError(
                "lease_heartbeat_seconds may be a third of lease_ttl_seconds at most, "
                "so that two lost heartbeats do not end a run"
            )
        return self

    @_model_validator(mode="after")
    def _one_graph(self) -> Settings:
        if self.backbone is not None and self.detector is not None:
            raise ValueError("a detector learns no more: give a backbone or a detector, not both")
        if self.network and self.detector is not None:
            raise ValueError("a detector learns no more: give a detector or train a network")
        return self

    @property
    def store_url(self) -> str:
        """URL of the results database: `database_url`, or the SQLite file in `home`."""
        return self.database_url or f"sqlite:///{self.home / 'inspections.db'}"

    @property
    def store_file(self) -> Path | None:
        """The file of an SQLite results database, None for another kind."""
        scheme, _, path = self.store_url.partition(":///")
        return Path(path.partition("?")[0]) if scheme.startswith("sqlite") else None

    @property
    def shown_store_url(self) -> str:
        """URL of the results database with its password hidden."""
        shown = re.sub(r"([?&]password=)[^&]*", r"\1***", self.store_url)
        parts = urlsplit(self.store_url)
        if parts.password is None:
            return shown
        return shown.replace(f":{parts.password}@", ":***@", 1)

    @property
    def service_home(self) -> Path:
        """State of the embedded service."""
        return self.home / "service"

    @property
    def embedded_bucket(self) -> Path:
        """Folder that stands in for the bucket ``lfv`` of the embedded service."""
        return self.home / "buckets" / "lfv"

    @property
    def bucket_folders(self) -> dict[str, Path]:
        """All bucket folders by name: `buckets`, and ``lfv`` unless that names one itself."""
        return {"lfv": self.embedded_bucket, **self.buckets}

    @property
    def runs_folder(self) -> Path:
        """Parent of the runs' report folders."""
        return self.home / "runs"

    def run_folder(self, run_id: str) -> Path:
        """Folder of one run's report and thumbnails; not created by this."""
        return self.runs_folder / run_id

    def report_path(self, run_id: str) -> Path:
        """Where the report of a run is, or will be."""
        return self.run_folder(run_id) / "report.html"

    def unit_hour_price(self, host_kind: str, *, embedded: bool = False) -> float:
        """US dollars per unit and hour; 0 for a kind nobody named.  The embedded service speaks
        the same API as Lookout for Vision but runs here: ask with `embedded` for it."""
        return self.price_per_unit_hour.get("embedded" if embedded else host_kind, 0.0)


def get_settings(**overrides: Any) -> Settings:
    """Settings from the environment, with `overrides` on top; those that are None do not count.

    Raises `LfvSettingsError` with a sentence that names each unusable value.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise LfvSettingsError(_sentence(error, given)) from None


def unknown_variables() -> list[str]:
    """Names of set environment variables that look like settings and are none: typing errors."""
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields} | _FOREIGN_VARIABLES
    names = (name.upper() for name in os.environ)
    return sorted(name for name in names if name.startswith(ENV_PREFIX) and name not in known)


def child_environment(settings: Settings | None = None, **extra: str) -> dict[str, str]:
    """Environment for a process started by us: ours, then what `settings` was told beyond its
    defaults (so that command line options reach the child), then `extra`."""
    environment = dict(os.environ)
    if settings is not None:
        _tell(environment, settings)
    environment.update(extra)
    return environment


def use_in_process(settings: Settings) -> None:
    """Put `settings` into the environment of this process, for flow runs in it and its children."""
    _tell(os.environ, settings)


def _tell(environment: MutableMapping[str, str], settings: Settings) -> None:
    """Set the variables that `settings` differ from the defaults in; remove those of no value."""
    for name in sorted(settings.model_fields_set):
        value = getattr(settings, name)
        if isinstance(value, dict):
            value = ",".join(f"{key}={item}" for key, item in value.items())
        if value is None:
            environment.pop(ENV_PREFIX + name.upper(), None)
        else:
            environment[ENV_PREFIX + name.upper()] = str(value)


def keep_local_traffic_off_proxies() -> None:
    """Let this process and its children reach this machine without a proxy."""
    given = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
    if given != "*":
        hosts = f"{given},localhost,127.0.0.1,::1".lstrip(",")
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = hosts


def use_prefect_api(url: str) -> None:
    """Have this process and those it starts use the Prefect API at `url`."""
    os.environ["PREFECT_API_URL"] = url


def temporary_prefect_environment() -> dict[str, str]:
    """Environment for a Prefect server that lives for one command: no page, and of its background
    services those only that a flow needs."""
    return {**os.environ, **_TEMPORARY_SERVER}


def quieten_prefect() -> None:
    """Keep Prefect's own talk off a terminal that shows a command; what the user set stays.

    To be called before Prefect is imported.  Runs and logs still reach the Prefect API.
    """
    for name, value in _QUIET_PREFECT.items():
        os.environ.setdefault(name, value)


def _pairs(value: object) -> object:
    """``"a=1,b=2"`` or ``["a=1", "b=2"]`` as ``{"a": "1", "b": "2"}``; anything else as it is."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        return value
    pairs: dict[str, str] = {}
    for part in value:
        name, equals, text = str(part).partition("=")
        if not (name.strip() and equals and text.strip()):
            raise ValueError(f"'{part}' is not NAME=VALUE")
        if name.strip() in pairs:
            raise ValueError(f"'{name.strip()}' is given twice")
        pairs[name.strip()] = text.strip()
    return pairs


def _sentence(error: ValidationError, given: Mapping[str, object]) -> str:
    """One sentence per unusable value, naming the variable or the argument it came from."""
    sentences = []
    for detail in error.errors(include_url=False, include_context=False):
        message = detail["msg"].removeprefix("Value error, ")
        name = str(detail["loc"][0]) if detail["loc"] else ""
        if not name:
            sentences.append(message)
            continue
        place = name if name in given else ENV_PREFIX + name.upper()
        shown = "" if name == "database_url" else f" = {str(detail['input'])[:120]!r}"
        sentences.append(f"setting {place}{shown}: {message[:1].lower()}{message[1:]}")
    return "; ".join(sentences)
