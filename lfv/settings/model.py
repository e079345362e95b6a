"""The settings of an installation: names, types, limits, defaults and descriptions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, PositiveInt, field_validator
from pydantic import model_validator as _model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ENV_PREFIX = "LFV_"

#: US dollars per unit-hour, by kind of host. Lookout for Vision started at 4 USD per inference unit
#: and hour. A SageMaker unit is an instance; 0.408 is ml.c5.2xlarge in us-east-1. Your own machines
#: cost nothing by the hour.
DEFAULT_PRICES = {"lookoutvision": 4.0, "embedded": 0.0, "sagemaker": 0.408, "edge": 0.0}

HostKind = Literal["lookoutvision", "sagemaker", "edge"]
RoleName = Literal["viewer", "reviewer", "engineer", "admin"]
TaskRunnerKind = Literal["threads", "dask"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class Settings(BaseSettings):
    """The settings of an installation. Immutable; times are seconds, prices US dollars."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        validate_default=True,
    )

    home: Path = Field(
        default=Path("~/.lfv"),
        description="Folder for all data: the SQLite database, the state and bucket of the "
        "embedded service, and the reports of runs.",
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
        description="Kind of host of the models: `lookoutvision` (the Lookout for Vision "
        "API), `sagemaker` (endpoints of the successor algorithm) or `edge` (an edge agent).",
    )
    host_options: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="Options of one kind of host: `NAME=VALUE`, separated by "
        "commas, such as `role_arn=ARN,instance_type=ml.m5.xlarge` for SageMaker.",
    )
    endpoint_url: str | None = Field(
        default=None,
        description="Address of the host's API. Not set: for Lookout for Vision, a service on this "
        "machine that starts when needed and ends with its last user; for SageMaker, Amazon.",
    )
    region: str | None = Field(
        default=None,
        description="AWS region of the API and of S3. Not set: the AWS configuration's, or "
        "`us-east-1` for a service on this machine.",
    )
    s3_endpoint_url: str | None = Field(
        default=None,
        description="Address of an S3-compatible store for `s3://` references. Not set: Amazon S3.",
    )
    convert: bool = Field(
        default=False,
        description="Convert images in BMP, TIFF or WebP to PNG, losslessly, and record it.",
    )
    reencode: bool = Field(
        default=False,
        description="Encode images that have more bytes than the model's host takes as JPEG, and "
        "record it: 6 MiB on a SageMaker endpoint, 8 MiB elsewhere.",
    )
    buckets: Annotated[dict[str, Path], NoDecode] = Field(
        default_factory=dict,
        description="Folders that stand in for S3 buckets: `NAME=FOLDER`, separated by commas. The "
        "embedded service always has a bucket `lfv`.",
    )
    staging_uri: str | None = Field(
        default=None,
        description="Where training images and manifests are copied for a service at an endpoint: "
        "`s3://BUCKET/PREFIX`. Not set: the bucket `lfv` of the embedded service.",
    )

    backbone: Path | None = Field(
        default=None,
        description="ONNX file (image to feature maps) that the service on this machine tries in "
        "every training, beside its own features, and keeps where it helps.",
    )
    detector: Path | None = Field(
        default=None,
        description="ONNX file (image to anomaly score and map, such as an anomalib export) that "
        "the service on this machine calibrates on the images instead of training.",
    )
    graph_mib: int = Field(
        default=256,
        ge=1,
        le=1024,
        description="Largest ONNX file that the service on this machine accepts, in MiB.",
    )
    network: bool = Field(
        default=False,
        description="Whether the service on this machine also trains a convolutional network, "
        "which needs PyTorch and takes minutes, and keeps it where it helps.",
    )

    pretrained_backbone: bool = Field(True, description="Train with the pretrained backbone.")
    miss_cost: float = Field(1.0, ge=0.01, le=100, description="False alarms that a miss is worth.")
    false_alarms: float = Field(
        0.02, gt=0, le=0.5, description="Rate accepted of models trained on normal images alone."
    )

    price_per_unit_hour: Annotated[dict[str, Annotated[float, Field(ge=0)]], NoDecode] = Field(
        default_factory=dict,
        description="US dollars per unit-hour, by kind of host: `KIND=PRICE`, separated by commas. "
        "Other kinds keep their default "
        "(lookoutvision 4.0, sagemaker 0.408, edge 0, embedded 0).",
    )

    hosting_deadline_seconds: PositiveFloat = Field(
        default=1800.0,
        description="How long a model may take to start; then the run fails and stops it.",
    )
    stopping_deadline_seconds: PositiveFloat = Field(
        default=900.0,
        description="How long a run waits until its model is stopped; then the sweeper takes over.",
    )
    training_deadline_seconds: PositiveFloat = Field(
        default=86400.0,
        description="How long a training may take.",
    )
    service_start_seconds: PositiveFloat = Field(
        default=60.0,
        description="How long the embedded service may take to start.",
    )
    connect_timeout_seconds: PositiveFloat = Field(
        default=10.0,
        description="Time limit for connecting to the API or S3.",
    )
    read_timeout_seconds: PositiveFloat = Field(
        default=60.0,
        description="Time limit for one answer from the API or S3.",
    )

    lease_ttl_seconds: PositiveFloat = Field(
        default=180.0,
        description="How long a run's lease on the model lasts without a heartbeat. When the last "
        "lease expires, the sweeper stops the model.",
    )
    lease_heartbeat_seconds: PositiveFloat = Field(
        default=20.0,
        description="How often a run renews its lease. At most a third of `lease_ttl_seconds`.",
    )

    task_runner: TaskRunnerKind = Field(
        default="threads",
        description="What runs detection: `threads` of one process, or the workers of a `dask` "
        "cluster, on as many machines as you like.",
    )
    dask_address: str | None = Field(
        default=None,
        description="Address of the scheduler of the Dask cluster, such as `tcp://HOST:8786`.",
    )
    batch_size: PositiveInt = Field(
        default=500,
        le=10_000,
        description="Images in one Prefect task run, which is what the page shows and does not "
        "pace the work.",
    )
    batches_in_flight: PositiveInt = Field(
        default=16,
        le=64,
        description="Task runs in progress at the same time, at most. A few images of one may be "
        "slow; the others go on.",
    )
    requests_per_unit: PositiveInt = Field(
        default=64,
        le=256,
        description="Requests in flight for each inference unit, at most. How many the model takes "
        "is found while it is asked. Also the most answers that a crash can lose.",
    )
    throttled_deadline_seconds: PositiveFloat = Field(
        default=900.0,
        description="How long a run goes on while the model throttles every request and answers "
        "none; then the run fails, stops the model, and can be resumed.",
    )
    store_patience_seconds: PositiveFloat = Field(
        default=300.0,
        description="How long a run retries while the database is unavailable.",
    )

    oidc_issuer: str | None = Field(
        default=None,
        description="Single sign-on for `lfv ui` (OpenID Connect): the issuer's address, as the "
        "identity provider's discovery document has it.",
    )
    oidc_client_id: str = Field("", description="The pages' client ID at the identity provider.")
    oidc_client_secret: str = Field(
        "", repr=False, description="Its secret. Empty: a public client, which PKCE protects."
    )
    oidc_scope: str = Field("openid profile", description="What single sign-on asks for.")
    oidc_name_claim: str = Field(
        default="preferred_username",
        description="The claim that names a new user; take one that people cannot change.",
    )
    oidc_role_claim: str | None = Field(
        default=None,
        description="The claim with roles, a text or a list, or the path to it with dots, such as "
        "`realm_access.roles`. Not set: `lfv ui user add --single-sign-on` gives roles.",
    )
    oidc_roles: Annotated[dict[str, RoleName], NoDecode] = Field(
        default_factory=dict,
        description="What values of that claim mean: `VALUE=ROLE`, separated by commas, with the "
        "roles viewer, reviewer, engineer and admin. Empty: the values are roles.",
    )

    report_limit: PositiveInt = Field(
        default=500,
        le=20_000,
        description="Images shown in a run's HTML report. Counts are always complete.",
    )
    ui_url: str | None = Field(
        default=None,
        description="Address at which people reach the pages of `lfv ui`, such as "
        "`https://lfv.plant.example`: the page of a run on Prefect links to its report there. "
        "`lfv up` sets it. Not set: the page names the file.",
    )
    log_level: LogLevel = Field(
        default="WARNING",
        description="Lowest severity of log messages that commands write to stderr.",
    )

    @field_validator("home", "backbone", "detector", mode="after")
    @classmethod
    def _absolute_path(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("buckets", "host_options", "price_per_unit_hour", "oidc_roles", mode="before")
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

    @field_validator("endpoint_url", "s3_endpoint_url", "ui_url", mode="after")
    @classmethod
    def _known_address(cls, value: str | None, info: Any) -> str | None:
        if value is None:
            return None
        if info.field_name == "endpoint_url" and re.match(r"(unix|unix-abstract|tcp):.", value):
            return value  # of an edge agent
        if not re.match(r"https?://[^/]", value):
            raise ValueError("it must begin with http:// or https://")
        try:
            address = urlsplit(value)
            whole = address.hostname and address.port != 0 and not re.search(r"\s", value)
        except ValueError:
            whole = False
        if not whole:
            raise ValueError("it is not an address; write http://HOST:PORT or http://HOST/PATH")
        if "@" in address.netloc:
            raise ValueError("it must not hold a user name or password")
        if address.query or address.fragment:
            raise ValueError("it must end with its path; leave out ? and # and what follows")
        return value.rstrip("/")

    @field_validator("oidc_issuer", mode="after")
    @classmethod
    def _safe_issuer(cls, value: str | None) -> str | None:
        if value is not None and not is_https_or_loopback(value):
            raise ValueError("it must begin with https:// (http:// on this machine only)")
        return value

    @field_validator("staging_uri", mode="after")
    @classmethod
    def _s3_uri(cls, value: str | None) -> str | None:
        if value is not None and not (value.startswith("s3://") and urlsplit(value).netloc):
            raise ValueError("it must be s3://BUCKET or s3://BUCKET/PREFIX")
        return value

    @field_validator("database_url", mode="after")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if value and not re.match(r"(sqlite|postgres|postgresql)(\+\w+)?://", value):
            # The value is not repeated: it may hold a password.
            raise ValueError("it must be sqlite:///FILE or postgresql://USER@HOST/NAME")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @_model_validator(mode="after")
    def _heartbeat_fits_lease(self) -> Settings:
        if self.lease_heartbeat_seconds * 3 > self.lease_ttl_seconds:
            raise ValueError(
                "lease_heartbeat_seconds must be at most a third of lease_ttl_seconds, so that "
                "two lost heartbeats do not end a run"
            )
        return self

    @_model_validator(mode="after")
    def _whole_client(self) -> Settings:
        if self.oidc_issuer is not None and not self.oidc_client_id:
            raise ValueError("single sign-on needs oidc_client_id beside oidc_issuer")
        return self

    @_model_validator(mode="after")
    def _scheduler_is_known(self) -> Settings:
        if self.task_runner == "dask" and self.dask_address is None:
            raise ValueError(
                "task_runner dask needs dask_address, the address of its scheduler, such as "
                "tcp://127.0.0.1:8786"
            )
        return self

    @_model_validator(mode="after")
    def _one_graph(self) -> Settings:
        if self.backbone is not None and self.detector is not None:
            raise ValueError("a detector is not trained: set a backbone or a detector, not both")
        if self.network and self.detector is not None:
            raise ValueError("a detector is not trained: set a detector or a network, not both")
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

    @property
    def thumbnails_folder(self) -> Path:
        """Thumbnails and marks for `lfv ui` and reports, by content."""
        return self.home / "ui" / "thumbnails"

    def run_folder(self, run_id: str) -> Path:
        """Folder of one run's report and thumbnails. Does not create it."""
        return self.runs_folder / run_id

    def report_path(self, run_id: str) -> Path:
        """Where the report of a run is, or will be."""
        return self.run_folder(run_id) / "report.html"

    def report_address(self, run_id: str) -> str | None:
        """Where browsers find the report of a run; None if no address is known."""
        return f"{self.ui_url}/runs/{run_id}/report" if self.ui_url else None

    def unit_hour_price(self, host_kind: str, *, embedded: bool = False) -> float:
        """US dollars per unit-hour; 0 for an unknown kind. `embedded`: in the embedded service."""
        return self.price_per_unit_hour.get("embedded" if embedded else host_kind, 0.0)


def is_https_or_loopback(address: str) -> bool:
    """Whether nobody between can read or change what is sent to an address."""
    parts = urlsplit(address)
    if parts.scheme == "https":
        return bool(parts.hostname)
    return parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")


def _pairs(value: object) -> object:
    """Turn ``"a=1,b=2"`` or ``["a=1", "b=2"]`` into a mapping; return other values as they are."""
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
