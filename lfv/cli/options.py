"""Options and arguments shared by several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lfv.formats.training_request import (
    FALSE_ALARMS,
    LEAST_MISS_COST,
    MISS_COST,
    MOST_FALSE_ALARMS,
    MOST_MISS_COST,
)

#: Widest line of an example: a terminal's 80 columns without the margins that Rich adds.
_COLUMNS = 78
_INDENT = "    "

#: The values of `lfv_store.records`, whose import takes longer than `lfv --help`.
VerdictName = Literal["accept", "reject", "review"]
RunStatus = Literal["running", "completed", "failed", "cancelled", "crashed", "interrupted"]

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Id of the run, its first characters, or 'last' for the newest run.",
    ),
]
ProjectOption = Annotated[
    str, typer.Option("--project", "-p", help="Name of the Lookout for Vision project.")
]
ModelVersionOption = Annotated[
    str,
    typer.Option(
        "--model-version",
        help="Version of the model; 'latest' is the approved one or, if none is, the newest.",
    ),
]
DatabaseUrlOption = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="Results database. Default: LFV_DATABASE_URL, else a file in LFV_HOME.",
    ),
]
ByOption = Annotated[
    str | None, typer.Option("--by", help="Who decides. Default: the current user.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, kept with the decision.")]
PasswordOption = Annotated[
    bool,
    typer.Option("--password-stdin", help="Read the password from standard input, one line."),
]
PrefectFileOption = Annotated[
    Path | None,
    typer.Option(
        "--prefect-file",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="File with the deployments. Default: the installed deployments/prefect.yaml.",
    ),
]
EndpointUrlOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        metavar="URL",
        help="URL of the host's API. Default: LFV_ENDPOINT_URL, else a service on this machine.",
    ),
]
HostOption = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="KIND",
        help="Kind of host: lookoutvision, sagemaker or edge. Default: LFV_HOST or lookoutvision.",
    ),
]
HostOptionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--host-option",
        metavar="NAME=VALUE",
        help="Option of that kind of host, such as role_arn=ARN; may be repeated.",
    ),
]
TaskRunnerOption = Annotated[
    Literal["threads", "dask"] | None,
    typer.Option(
        "--task-runner",
        help="What runs detection: threads of this process, or the workers of a Dask cluster. "
        "Default: LFV_TASK_RUNNER or threads.",
    ),
]
DaskAddressOption = Annotated[
    str | None,
    typer.Option(
        "--dask-address",
        metavar="URL",
        help="Scheduler of the Dask cluster, such as tcp://HOST:8786. Default: LFV_DASK_ADDRESS.",
    ),
]
ShardsOption = Annotated[
    int,
    typer.Option(
        "--shards",
        min=0,
        metavar="NUMBER",
        help="Number of other flow runs that share detection, on any machine with a Prefect "
        "worker. Needs a Prefect server with the deployments of `lfv deploy`, a PostgreSQL "
        "database and --endpoint-url.",
    ),
]
RegionOption = Annotated[
    str | None, typer.Option("--region", help="AWS region of the API and of S3.")
]
BucketOption = Annotated[
    list[str] | None,
    typer.Option(
        "--bucket", metavar="NAME=FOLDER", help="Folder to use as an S3 bucket; may be repeated."
    ),
]
StagingOption = Annotated[
    str | None,
    typer.Option(
        "--staging",
        metavar="S3-URI",
        help="Bucket and prefix for what a service at an endpoint, or a batch job, reads and "
        "writes. Default: LFV_STAGING_URI.",
    ),
]
BackboneOption = Annotated[
    Path | None,
    typer.Option(
        "--backbone",
        metavar="FILE",
        help="ONNX backbone (image to feature maps) that the service on this machine tries in "
        "every training and keeps if it helps, in place of LFV_BACKBONE.",
    ),
]
DetectorOption = Annotated[
    Path | None,
    typer.Option(
        "--detector",
        metavar="FILE",
        help="ONNX detector (image to anomaly score and map, such as an anomalib export) that "
        "the service on this machine calibrates instead of training, in place of LFV_DETECTOR.",
    ),
]
GraphMibOption = Annotated[
    int | None,
    typer.Option(
        "--graph-mib",
        help="Largest ONNX file accepted, in MiB. Default: LFV_GRAPH_MIB or 256.",
        min=1,
        max=1024,
    ),
]
NetworkOption = Annotated[
    bool,
    typer.Option(
        "--network",
        help="Let the service on this machine also train a network, which needs PyTorch and takes "
        "minutes, and keep it if it helps; LFV_NETWORK=true does the same.",
    ),
]
NoBackboneOption = Annotated[
    bool,
    typer.Option(
        "--no-backbone",
        help="Let the service on this machine train without the pretrained backbone, for smaller "
        "and faster models that find less; LFV_PRETRAINED_BACKBONE=false does the same.",
    ),
]
MissCostOption = Annotated[
    float | None,
    typer.Option(
        "--miss-cost",
        help="Cost of a missed defect, in false alarms. A higher cost turns more verdicts into "
        "anomalous, and does not change the confidence. Default: LFV_MISS_COST or "
        f"{MISS_COST:g}.",
        min=LEAST_MISS_COST,
        max=MOST_MISS_COST,
    ),
]
FalseAlarmsOption = Annotated[
    float | None,
    typer.Option(
        "--false-alarms",
        help="Accepted false-alarm rate of models trained on normal images only. Default: "
        f"LFV_FALSE_ALARMS or {FALSE_ALARMS:g}.",
        min=0.0001,
        max=MOST_FALSE_ALARMS,
    ),
]
ConvertOption = Annotated[
    bool,
    typer.Option(
        "--convert",
        help="Convert images in BMP, TIFF or WebP to PNG, losslessly; LFV_CONVERT=true does the "
        "same.",
    ),
]
ReencodeOption = Annotated[
    bool,
    typer.Option(
        "--reencode",
        help="Re-encode as JPEG any image larger than the host accepts, and record it; "
        "LFV_REENCODE=true does the same.",
    ),
]
NormalOption = Annotated[
    list[str] | None,
    typer.Option(
        "--normal",
        metavar="NAME",
        help="Folder or label that means normal, in addition to normal, good, ok and pass; "
        "repeatable.",
    ),
]
AnomalyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--anomaly",
        metavar="NAME",
        help="Folder or label that means an anomaly, in addition to anomaly, bad, nok, ng and "
        "fail; repeatable.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PolicyOption = Annotated[
    Path,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="Verdict policy in YAML or JSON.",
        exists=True,
        dir_okay=False,
    ),
]


def output_file(text: str) -> Any:
    """Return the option `--output FILE` with a help text."""
    return typer.Option("--output", "-o", metavar="FILE", help=text, dir_okay=False)


def output_folder(text: str) -> Any:
    """Return the option `--output FOLDER` with a help text."""
    return typer.Option("--output", "-o", metavar="FOLDER", help=text, file_okay=False)


def examples(*lines: str) -> str:
    """Return the epilog of a command's help: complete command lines, each a paragraph.

    A line that is too long for a terminal continues on the next one after a backslash, so that
    it can be copied from both the help and the reference page.
    """
    return "\n\n".join(("Examples:", *map(_continued, lines)))


def _continued(line: str) -> str:
    if len(line) <= _COLUMNS:
        return line
    end = line.rindex(" --", len(_INDENT), _COLUMNS - len(" \\"))
    return f"{line[:end]} \\\n{_continued(_INDENT + line[end + 1 :])}"
