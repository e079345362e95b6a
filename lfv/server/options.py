"""The service's options: its state folder, its clients and its limits."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_type_hints

from lfv.formats.images import ImageLimits
from lfv.formats.loopback import is_loopback
from lfv.formats.refs import is_bucket_name
from lfv.formats.training_request import FALSE_ALARMS, MISS_COST, NEEDS_TORCH, TrainingRequest
from lfv.server.errors import OptionsError

MIB = 1024 * 1024
#: Largest ONNX file that an artifact can hold.
MAX_GRAPH_MIB = 1024


@dataclass(frozen=True)
class Limits:
    """Quotas, with the original service's values where it published them; see docs/service.md."""

    projects: int = 1000
    models_per_project: int = 1000
    train_images: int = 16_000
    test_images: int = 4_000
    anomaly_types: int = 100
    anomaly_types_per_mask: int = 20
    manifest_bytes: int = 1024 * MIB
    image_bytes: int = 8 * MIB
    mask_bytes: int = 5 * MIB
    min_dimension: int = 64
    max_dimension: int = 4096
    tags_per_model: int = 50
    concurrent_trainings: int = 2
    concurrent_packaging_jobs: int = 2
    #: For all hosted models together; each counts with its maximum.
    inference_units: int = 16
    #: Refuse to train with fewer images than the original demanded (see docs/service.md).
    original_minimums: bool = False

    @property
    def image(self) -> ImageLimits:
        """Limits of images for training and inspection."""
        return ImageLimits(self.image_bytes, self.min_dimension, self.max_dimension)

    @property
    def mask(self) -> ImageLimits:
        """Limits of masks, which may be smaller than their images: 16x16 in Amazon's sample."""
        return ImageLimits(self.mask_bytes, 1, self.max_dimension)


@dataclass(frozen=True)
class Serving:
    """How requests reach inference units. Times in seconds."""

    #: Requests that may wait for each unit; one more is throttled.
    waiting_per_unit: int = 16
    #: A request that waited this long for a unit is throttled.
    wait_timeout: float = 20.0
    #: A unit that takes longer over one image is replaced.
    answer_timeout: float = 60.0
    #: A unit that takes longer to load its model has failed.
    load_timeout: float = 120.0
    #: How long StopModel waits for running requests.
    drain_timeout: float = 20.0
    scale_interval: float = 0.5
    #: Another unit is started once requests have waited this long, up to MaxInferenceUnits.
    scale_up_after: float = 1.0
    #: A unit that was not needed for this long is stopped, down to MinInferenceUnits.
    scale_down_after: float = 60.0
    #: Hosting fails when more units than this are lost in a row, without an answer in between.
    restarts: int = 5


@dataclass(frozen=True)
class Transport:
    """Limits of connections. Times in seconds."""

    header_timeout: float = 15.0
    #: For a request's body to arrive, and for the client to read the response.
    body_timeout: float = 60.0
    #: Longer than botocore and the JavaScript SDK reuse an idle connection.
    keep_alive: float = 75.0
    connections: int = 512
    body_bytes: int = 1 * MIB
    #: UpdateDatasetEntries: 10 MiB of changes, in base64, in JSON.
    changes_body_bytes: int = 15 * MIB
    #: Bytes of request bodies in memory at once, of images and others; more are throttled.
    bytes_in_hand: int = 512 * MIB


@dataclass(frozen=True)
class ServeOptions:
    home: Path
    host: str = "127.0.0.1"
    #: 0 picks a free port, which the ready file and the log name.
    port: int = 0
    #: Folders used as S3 buckets.
    buckets: Mapping[str, Path] = field(default_factory=dict)
    #: Use S3, with boto3's default credentials, for buckets that are not folders.
    s3: bool = True
    s3_endpoint_url: str | None = None
    #: Secret keys by access key. If there are any, every request must be signed with one.
    credentials: Mapping[str, str] = field(default_factory=dict)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    #: Serve /metrics to other machines too, if keys are configured.
    open_metrics: bool = False
    account_id: str = "000000000000"
    default_region: str = "us-east-1"
    ready_file: Path | None = None
    #: A lock file; see lfv.server.embedded.
    exit_when_unused: Path | None = None
    #: An ONNX file that every training tries in addition to the engine's own features.
    backbone: Path | None = None
    #: An ONNX detector that every training calibrates, instead of learning one.
    detector: Path | None = None
    #: Largest such file, in MiB.
    graph_mib: int = 256
    #: Every training also trains a network, with PyTorch, and keeps it if it helps.
    network: bool = False
    #: Trainings use the pretrained backbone, unless ``backbone`` names another.
    pretrained_backbone: bool = True
    #: Cost of a missed defect, in false alarms, for the verdicts of models trained here.
    miss_cost: float = MISS_COST
    #: Share of normal images that a model trained on normal images only may call anomalous.
    false_alarms: float = FALSE_ALARMS
    #: Module that trains and predicts.
    engine: str = "lfv.engine"
    log_level: str = "warning"
    limits: Limits = field(default_factory=Limits)
    serving: Serving = field(default_factory=Serving)
    transport: Transport = field(default_factory=Transport)

    def check(self) -> None:
        """Raise OptionsError for options that contradict each other or the file system."""
        for name, folder in self.buckets.items():
            if not is_bucket_name(name):
                raise OptionsError(
                    f"bucket {name!r}: a bucket's name has 3 to 63 letters, digits, dots, hyphens"
                    " and underscores"
                )
            if not folder.is_dir():
                raise OptionsError(f"bucket {name}: {folder} is not a folder")
        if not 0 <= self.port <= 65_535:
            raise OptionsError(
                f"the service can't listen on port {self.port}: give one from 0 to 65535"
            )
        if not self.is_loopback and not self.credentials:
            raise OptionsError(
                f"{self.host} can be reached from other machines: give a credentials file, "
                "so that requests have to be signed, or stay on 127.0.0.1"
            )
        try:
            TrainingRequest(
                network=self.network,
                miss_cost=self.miss_cost,
                false_alarms=self.false_alarms,
                backbone=None if self.backbone is None else str(self.backbone),
                detector=None if self.detector is None else str(self.detector),
            )
        except ValueError as error:
            raise OptionsError(str(error)) from error
        if self.network and not has_torch():
            raise OptionsError(f"--network {NEEDS_TORCH}")
        if not 1 <= self.graph_mib <= MAX_GRAPH_MIB:
            raise OptionsError(
                f"an ONNX file may have 1 to {MAX_GRAPH_MIB} MiB, not {self.graph_mib}"
            )
        if not re.fullmatch("[0-9]{12}", self.account_id):
            raise OptionsError(f"an account id has 12 digits; {self.account_id!r} is not one")
        if self.limits.inference_units < 1:
            raise OptionsError(
                f"hosting needs at least 1 inference unit, not {self.limits.inference_units}"
            )
        self._check_tls()

    def _check_tls(self) -> None:
        if self.tls_certificate is None and self.tls_key is None:
            return
        if self.tls_certificate is None or self.tls_key is None:
            raise OptionsError("TLS needs both a certificate and its key")
        for path in (self.tls_certificate, self.tls_key):
            try:
                path.read_bytes()
            except OSError as error:
                raise OptionsError(f"TLS file {path} can't be read: {error.strerror}") from error
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                self.tls_certificate, self.tls_key, self._no_password
            )
        except ssl.SSLError as error:
            raise OptionsError(
                f"{self.tls_certificate} and {self.tls_key} are not a certificate and its key "
                f"in PEM format: {error.reason or error}"
            ) from error

    def _no_password(self) -> str:
        # Without this callback, OpenSSL would prompt at the terminal.
        raise OptionsError(f"the TLS key {self.tls_key} is encrypted; give it without a password")

    @property
    def training_options(self) -> dict[str, Any]:
        """Options of trainings except ONNX files, by the engine's names; defaults are omitted."""
        given = {
            "network": self.network,
            "pretrained": self.pretrained_backbone,
            "miss_cost": self.miss_cost,
            "false_alarms": self.false_alarms,
        }
        usual = {
            "network": False,
            "pretrained": True,
            "miss_cost": MISS_COST,
            "false_alarms": FALSE_ALARMS,
        }
        return {name: value for name, value in given.items() if value != usual[name]}

    @property
    def is_loopback(self) -> bool:
        return self.host == "localhost" or is_loopback(self.host)

    @property
    def embedded(self) -> bool:
        return self.exit_when_unused is not None


def has_torch() -> bool:
    """Whether networks can be trained here."""
    return find_spec("torch") is not None


def options_from(document: Mapping[str, Any]) -> ServeOptions:
    """Build options from their names and plain values, as in JSON. Raises OptionsError."""
    values: dict[str, Any] = dict(document)
    kinds = get_type_hints(ServeOptions)
    if unknown := sorted(values.keys() - kinds.keys()):
        raise OptionsError(f"{unknown[0]!r} is not an option of the service")
    for name, value in values.items():
        if kinds[name] in (Limits, Serving, Transport):
            values[name] = kinds[name](**value)
        elif name == "buckets":
            values[name] = {bucket: Path(folder) for bucket, folder in value.items()}
        elif kinds[name] in (Path, Path | None) and value is not None:
            values[name] = Path(value)
    return ServeOptions(**values)


def parse_bucket(text: str) -> tuple[str, Path]:
    """Parse ``NAME=FOLDER`` into a pair. Raises OptionsError."""
    name, separator, folder = text.partition("=")
    if not (separator and name and folder):
        raise OptionsError(f"a bucket must be NAME=FOLDER, not {text!r}")
    return name, Path(os.path.abspath(Path(folder).expanduser()))  # noqa: PTH100 (keep links)


def read_credentials(path: Path) -> dict[str, str]:
    """Read secrets by access key from a file in the format of ``~/.aws/credentials``.

    Every section is one key pair. Raises OptionsError.
    """
    from configparser import ConfigParser
    from configparser import Error as ConfigError

    parser = ConfigParser(interpolation=None)
    try:
        with path.open(encoding="utf-8") as file:
            parser.read_file(file)
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise OptionsError(f"credentials file {path}: {error}") from error
    found: dict[str, str] = {}
    for section in parser.sections():
        key = parser.get(section, "aws_access_key_id", fallback="")
        secret = parser.get(section, "aws_secret_access_key", fallback="")
        if not key or not secret:
            raise OptionsError(
                f"credentials file {path}: [{section}] lacks aws_access_key_id "
                "or aws_secret_access_key"
            )
        found[key] = secret
    if not found:
        raise OptionsError(f"credentials file {path} has no key pair")
    return found
