"""Options and arguments that several commands share, with one wording for each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="The run's id, an unambiguous beginning of it, or 'last' for the newest run.",
    ),
]
ProjectOption = Annotated[
    str, typer.Option("--project", "-p", help="Name of the Lookout for Vision project.")
]
ModelVersionOption = Annotated[
    str,
    typer.Option("--model-version", help="Version of the model, or 'latest'."),
]
DatabaseUrlOption = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="Results database, instead of LFV_DATABASE_URL or the file in LFV_HOME.",
        show_default=False,
    ),
]
EndpointUrlOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        metavar="URL",
        help="Address of the host's API, instead of LFV_ENDPOINT_URL or the service that is "
        "started on this machine.",
        show_default=False,
    ),
]
HostOption = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="KIND",
        help="Where the model lives, instead of LFV_HOST or lookoutvision: lookoutvision, "
        "sagemaker or edge.",
        show_default=False,
    ),
]
HostOptionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--host-option",
        metavar="NAME=VALUE",
        help="What that kind of host alone understands, such as role_arn=ARN; can be given "
        "several times.",
        show_default=False,
    ),
]
RegionOption = Annotated[
    str | None,
    typer.Option("--region", help="AWS region of the API and of S3.", show_default=False),
]
BucketOption = Annotated[
    list[str] | None,
    typer.Option(
        "--bucket",
        metavar="NAME=FOLDER",
        help="Folder that stands in for an S3 bucket; can be given several times.",
        show_default=False,
    ),
]
BackboneOption = Annotated[
    Path | None,
    typer.Option(
        "--backbone",
        metavar="FILE",
        help="ONNX backbone, image to feature maps, that the service on this machine tries in "
        "every training and keeps where it helps, instead of LFV_BACKBONE.",
        show_default=False,
    ),
]
DetectorOption = Annotated[
    Path | None,
    typer.Option(
        "--detector",
        metavar="FILE",
        help="ONNX detector, image to anomaly score and map (an anomalib export), that the service "
        "on this machine makes every model of, instead of LFV_DETECTOR.",
        show_default=False,
    ),
]
GraphMibOption = Annotated[
    int | None,
    typer.Option(
        "--graph-mib",
        help="Largest ONNX file accepted, in MiB, instead of LFV_GRAPH_MIB or 256.",
        min=1,
        max=1024,
        show_default=False,
    ),
]
NetworkOption = Annotated[
    bool,
    typer.Option(
        "--network",
        help="Have the service on this machine also train a network, which needs PyTorch and "
        "minutes, and keep it where it helps; LFV_NETWORK=true does the same.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON for machines instead of text.")
]
PolicyOption = Annotated[
    Path,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="Policy in YAML or JSON: which answers are accepted, rejected or to be reviewed.",
        exists=True,
        dir_okay=False,
        readable=True,
    ),
]


def examples(*lines: str) -> str:
    """The end of a command's help: command lines that work as they stand, one below the other."""
    return "\n\n".join(("Examples:", *lines))
