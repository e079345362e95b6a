"""The settings: names, types, limits, defaults and the descriptions in docs/settings.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from lfv.formats import training_request as training
from lfv.settings.addresses import is_https_or_loopback, without_password

ENV_PREFIX = "LFV_"

#: US dollars per unit-hour, by kind of host. Lookout for Vision charges 4 USD per inference unit
#: and hour. A SageMaker unit is one instance; 0.408 USD is the price of an ml.c5.2xlarge in
#: us-east-1. The user's own machines cost nothing by the hour.
DEFAULT_PRICES = {"lookoutvision": 4.0, "embedded": 0.0, "sagemaker": 0.408, "edge": 0.0}
_LISTED_PRICES = ", ".join(f"{kind} {price:g}" for kind, price in DEFAULT_PRICES.items())

HostKind = Literal["lookoutvision", "sagemaker", "edge"]
RoleName = Literal["viewer", "reviewer", "engineer", "admin"]
TaskRunnerKind = Literal["threads", "dask"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

#: At most a year: sockets, locks and dates do not accept infinite or huge times.
_Seconds = Annotated[float, Field(gt=0, le=31_536_000)]


class Settings(BaseSettings):
    """All settings. Immutable; times are in seconds, prices in US dollars."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        validate_default=True,
    )

    home: Path = Field(
        default=Path("~/.lfv"),
        description="Folder for all data: the SQLite database, the embedded service's state and "
        "bucket, and the reports of runs.",
    )
    database_url: str = Field(
        default="",
        repr=False,
        description="URL of the results database: `sqlite:///FILE` or "
        "`postgresql://USER:PASSWORD@HOST/NAME`. Empty: `inspections.db` in the home folder.",
    )

    host: HostKind = Field(
        default="lookoutvision",
        description="Where models are hosted: `lookoutvision` (the Lookout for Vision API), "
        "`sagemaker` (SageMaker endpoints of the successor algorithm) or `edge` (an edge agent).",
    )
    host_options: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="Options of that host: `NAME=VALUE`, separated by commas, such as "
        "`role_arn=ARN,instance_type=ml.m5.xlarge` for SageMaker.",
    )
    endpoint_url: str | None = Field(
        default=None,
        description="Address of the host's API. Not set: for Lookout for Vision, the embedded "
        "service, which starts on this machine when a command needs it and stops after the last "
        "one that uses it; for SageMaker, AWS.",
    )
    region: str | None = Field(
        default=None,
        description="AWS region of the API and of S3. Not set: the region of the AWS "
        "configuration, or `us-east-1` for a service on this machine.",
    )
    s3_endpoint_url: str | None = Field(
        default=None,
        description="Address of an S3-compatible store for `s3://` references. Not set: Amazon S3.",
    )
    convert: bool = Field(
        default=False,
        description="Convert BMP, TIFF and WebP images to PNG without loss, and record it.",
    )
    reencode: bool = Field(
        default=False,
        description="Re-encode as JPEG any image larger than the host accepts (6 MiB on a "
        "SageMaker endpoint, 8 MiB elsewhere), and record it.",
    )
    buckets: Annotated[dict[str, Path], NoDecode] = Field(
        default_factory=dict,
        description="Local folders used as S3 buckets: `NAME=FOLDER`, separated by commas. The "
        "embedded service always has a bucket `lfv`.",
    )
    staging_uri: str | None = Field(
        default=None,
        description="Where training data and the images of batch jobs are uploaded: "
        "`s3://BUCKET/PREFIX`. Not set: the embedded service's bucket `lfv`.",
    )

    backbone: Path | None = Field(
        default=None,
        description="ONNX file (image to feature maps) that the embedded service tries in every "
        "training in addition to its own features, and uses if it improves the model.",
    )
    detector: Path | None = Field(
        default=None,
        description="ONNX file (image to anomaly score and map, such as an anomalib export) that "
        "the embedded service calibrates on the images instead of training a model.",
    )
    graph_mib: int = Field(
        default=256,
        ge=1,
        le=1024,
        description="Largest ONNX file that the embedded service accepts, in MiB.",
    )
    network: bool = Field(
        default=False,
        description="Also train a convolutional network in the embedded service, and use it if it "
        "improves the model. Needs PyTorch and takes minutes.",
    )

    pretrained_backbone: bool = Field(True, description="Train with the pretrained backbone.")
    miss_cost: float = Field(
        training.MISS_COST,
        ge=training.LEAST_MISS_COST,
        le=training.MOST_MISS_COST,
        description="Cost of a missed defect, in false alarms.",
    )
    false_alarms: float = Field(
        training.FALSE_ALARMS,
        gt=0,
        le=training.MOST_FALSE_ALARMS,
        description="False-alarm rate aimed at by a model trained on normal images only.",
    )

    price_per_unit_hour: Annotated[
        dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]], NoDecode
    ] = Field(
        default_factory=dict,
        description="US dollars per unit-hour, by kind of host: `KIND=PRICE`, separated by commas. "
        f"A kind not listed keeps its default ({_LISTED_PRICES}).",
    )

    hosting_deadline_seconds: _Seconds = Field(
        default=1800.0,
        description="How long a model may take to start. After that the run stops it and fails.",
    )
    stopping_deadline_seconds: _Seconds = Field(
        default=900.0,
        description="How long a run waits for its model to stop. After that the sweeper takes "
        "over.",
    )
    training_deadline_seconds: _Seconds = Field(
        default=86400.0,
        description="How long a training may take.",
    )
    service_start_seconds: _Seconds = Field(
        default=60.0,
        description="How long the embedded service may take to start.",
    )
    connect_timeout_seconds: _Seconds = Field(
        default=10.0,
        description="Time limit for connecting to the API or S3.",
    )
    read_timeout_seconds: _Seconds = Field(
        default=60.0,
        description="Time limit for each response from the API or S3.",
    )

    lease_ttl_seconds: _Seconds = Field(
        default=180.0,
        description="How long a run's lease on the model lasts without a heartbeat. When the last "
        "lease expires, the sweeper stops the model.",
    )
    lease_heartbeat_seconds: _Seconds = Field(
        default=20.0,
        description="Interval at which a run renews its lease. At most a third of "
        "`lease_ttl_seconds`.",
    )

    task_runner: TaskRunnerKind = Field(
        default="threads",
        description="What runs detection: `threads` of one process, or the workers of a `dask` "
        "cluster on any number of machines.",
    )
    dask_address: str | None = Field(
        default=None,
        description="Address of the Dask scheduler, such as `tcp://HOST:8786`.",
    )
    batch_size: PositiveInt = Field(
        default=500,
        le=10_000,
        description="Images in one Prefect task run. Affects what the Prefect page shows, not how "
        "fast images are processed.",
    )
    batches_in_flight: PositiveInt = Field(
        default=16,
        le=64,
        description="Maximum number of task runs in progress at once, so that a few slow images in "
        "one do not hold up the others.",
    )
    requests_per_unit: PositiveInt = Field(
        default=64,
        le=256,
        description="Maximum number of requests in flight for each inference unit; the run finds "
        "out how many the model can handle. Also limits the answers that a crash can lose.",
    )
    throttled_deadline_seconds: _Seconds = Field(
        default=900.0,
        description="How long a run continues while the model throttles every request. After that "
        "the run stops the model and fails; it can be resumed.",
    )
    store_patience_seconds: _Seconds = Field(
        default=300.0,
        description="How long a run retries while the database is unavailable.",
    )

    oidc_issuer: str | None = Field(
        default=None,
        description="Issuer URL of the OpenID Connect provider for single sign-on to `lfv ui`, "
        "spelled as in the provider's discovery document. Not set: no single sign-on.",
    )
    oidc_client_id: str = Field("", description="Client ID of `lfv ui` at the identity provider.")
    oidc_client_secret: str = Field(
        "", repr=False, description="Client secret. Empty: a public client, protected by PKCE."
    )
    oidc_scope: str = Field("openid profile", description="Scopes requested at sign-on.")
    oidc_name_claim: str = Field(
        default="preferred_username",
        description="Claim used as the name of a new user. Choose one that users cannot change.",
    )
    oidc_role_claim: str | None = Field(
        default=None,
        description="Claim that holds the user's role or roles, as a string or a list; dots lead "
        "into nested claims, such as `realm_access.roles`. Not set: an administrator assigns "
        "roles with `lfv ui user add --single-sign-on`.",
    )
    oidc_roles: Annotated[dict[str, RoleName], NoDecode] = Field(
        default_factory=dict,
        description="Role for each value of that claim: `VALUE=ROLE`, separated by commas. Roles "
        "are viewer, reviewer, engineer and admin. Empty: the values are role names.",
    )

    signatures: bool = Field(
        default=False,
        description="Whether decisions of people are signed: `lfv ui` and the commands `review`, "
        "`decide` and `models approve` and `withdraw` ask for the user's password again.",
    )
    report_limit: PositiveInt = Field(
        default=500,
        le=20_000,
        description="Maximum number of images in a run's HTML report. Counts always cover all.",
    )
    ui_url: str | None = Field(
        default=None,
        description="Address of `lfv ui` in browsers, such as `https://lfv.plant.example`. A run's "
        "page on Prefect links to its report there. `lfv up` sets it. Not set: the page shows the "
        "report's path instead.",
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
    def _check_address(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if info.field_name == "endpoint_url" and re.match(r"(unix|unix-abstract|tcp):.", value):
            return value  # an edge agent's socket
        if not re.match(r"https?://[^/]", value):
            raise ValueError("it must start with http:// or https://")
        try:
            address = urlsplit(value)
            whole = address.hostname and address.port != 0 and not re.search(r"\s", value)
        except ValueError:
            whole = False
        if not whole:
            raise ValueError("it is not an address; use http://HOST:PORT or http://HOST/PATH")
        if "@" in address.netloc:
            raise ValueError("it must not contain a user name or password")
        if address.query or address.fragment:
            raise ValueError("it must not have a query (?) or fragment (#)")
        return value.rstrip("/")

    @field_validator("oidc_issuer", mode="after")
    @classmethod
    def _check_issuer(cls, value: str | None) -> str | None:
        if value is not None and not is_https_or_loopback(value):
            raise ValueError("it must start with https:// (http:// is allowed on this machine)")
        return value

    @field_validator("staging_uri", mode="after")
    @classmethod
    def _check_staging_uri(cls, value: str | None) -> str | None:
        if value is not None and not (value.startswith("s3://") and urlsplit(value).netloc):
            raise ValueError("it must be s3://BUCKET or s3://BUCKET/PREFIX")
        return value

    @field_validator("database_url", mode="after")
    @classmethod
    def _check_database_url(cls, value: str) -> str:
        # The store reads the older spelling postgres:// as postgresql://.
        if value and not re.match(r"(sqlite|postgres|postgresql)(\+\w+)?://", value):
            # The message leaves out the value, which may contain a password.
            raise ValueError("it must be sqlite:///FILE or postgresql://USER@HOST/NAME")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_heartbeat(self) -> Settings:
        if self.lease_heartbeat_seconds * 3 > self.lease_ttl_seconds:
            raise ValueError(
                "lease_heartbeat_seconds must be at most a third of lease_ttl_seconds, so that "
                "two lost heartbeats do not end a run"
            )
        return self

    @model_validator(mode="after")
    def _check_oidc_client(self) -> Settings:
        if self.oidc_issuer is not None and not self.oidc_client_id:
            raise ValueError("single sign-on needs oidc_client_id as well as oidc_issuer")
        return self

    @model_validator(mode="after")
    def _check_dask_address(self) -> Settings:
        if self.task_runner == "dask" and self.dask_address is None:
            raise ValueError(
                "the task runner dask needs dask_address, the address of the Dask scheduler, such "
                "as tcp://127.0.0.1:8786"
            )
        return self

    @model_validator(mode="after")
    def _check_detector(self) -> Settings:
        if self.backbone is not None and self.detector is not None:
            raise ValueError("a detector needs no backbone; set detector or backbone, not both")
        if self.network and self.detector is not None:
            raise ValueError("a detector needs no network; set detector or network, not both")
        return self

    @property
    def store_url(self) -> str:
        """URL of the results database: `database_url`, or the SQLite file in `home`."""
        return self.database_url or f"sqlite:///{self.home / 'inspections.db'}"

    @property
    def store_file(self) -> Path | None:
        """Path of the results database if it is SQLite, else None."""
        scheme, _, path = self.store_url.partition(":///")
        return Path(path.partition("?")[0]) if scheme.startswith("sqlite") else None

    @property
    def shown_store_url(self) -> str:
        """URL of the results database with its password hidden."""
        return without_password(self.store_url)

    @property
    def service_home(self) -> Path:
        """Folder with the embedded service's state."""
        return self.home / "service"

    @property
    def embedded_bucket(self) -> Path:
        """Folder used as the embedded service's bucket `lfv`."""
        return self.home / "buckets" / "lfv"

    @property
    def bucket_folders(self) -> dict[str, Path]:
        """All bucket folders by name: `buckets`, and `lfv` unless `buckets` defines it."""
        return {"lfv": self.embedded_bucket, **self.buckets}

    @property
    def runs_folder(self) -> Path:
        """Folder with one report folder for each run."""
        return self.home / "runs"

    @property
    def thumbnails_folder(self) -> Path:
        """Folder for thumbnails and marks of `lfv ui` and reports; files are named by content."""
        return self.home / "ui" / "thumbnails"

    def run_folder(self, run_id: str) -> Path:
        """Return the folder for one run's report and thumbnails, without creating it."""
        return self.runs_folder / run_id

    def report_path(self, run_id: str) -> Path:
        """Return the path of a run's report, whether it exists or not."""
        return self.run_folder(run_id) / "report.html"

    def report_address(self, run_id: str) -> str | None:
        """Return the URL of a run's report in `lfv ui`; None if `ui_url` is not set."""
        return f"{self.ui_url}/runs/{run_id}/report" if self.ui_url else None

    def price_of(self, host_kind: str, *, embedded: bool = False) -> float:
        """Return US dollars per unit-hour on a kind of host; 0 for an unknown kind.

        Args:
            host_kind: A key of `price_per_unit_hour`.
            embedded: Whether the model is in the embedded service.
        """
        return self.price_per_unit_hour.get("embedded" if embedded else host_kind, 0.0)


def _pairs(value: object) -> object:
    """Parse `"a=1,b=2"` or `["a=1", "b=2"]` into a mapping; return other values unchanged."""
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
