"""`lfv serve`: the model service, for clients on this machine or, with keys, on others."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from lfv.cli.common import settings_from
from lfv.cli.errors import WrongUsage
from lfv.cli.options import (
    BackboneOption,
    DetectorOption,
    FalseAlarmsOption,
    GraphMibOption,
    MissCostOption,
    NetworkOption,
    NoBackboneOption,
    examples,
)
from lfv.cli.output import note


def register(app: typer.Typer) -> None:
    epilog = examples(
        "lfv serve",
        "lfv serve --port 4000 --bucket parts=/data/parts",
        "lfv serve --backbone resnet18.onnx",
        "lfv serve --host 0.0.0.0 --credentials-file /etc/lfv/keys --import cookies-1.0.0.zip",
    )
    app.command("serve", epilog=epilog)(serve)


def serve(
    *,
    home: Annotated[
        Path | None,
        typer.Option(help="Folder for all state. Default: `service` in LFV_HOME."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for a free one.")] = 4180,
    bucket: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FOLDER", help="Folder to use as an S3 bucket; may be repeated."),
    ] = None,
    s3_endpoint_url: Annotated[
        str | None, typer.Option(metavar="URL", help="URL of S3, if not Amazon's.")
    ] = None,
    no_s3: Annotated[
        bool, typer.Option("--no-s3", help="Use bucket folders only, never S3.")
    ] = False,
    credentials_file: Annotated[
        Path | None,
        typer.Option(
            help="Key pairs, as in ~/.aws/credentials; every request must be signed with one. "
            "Required to listen on other than loopback addresses."
        ),
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(help="Serve HTTPS with this certificate.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key.")] = None,
    open_metrics: Annotated[
        bool, typer.Option("--open-metrics", help="Serve /metrics to other machines too.")
    ] = False,
    account_id: Annotated[str, typer.Option(help="Account in ARNs.")] = "000000000000",
    original_minimums: Annotated[
        bool,
        typer.Option(
            "--original-minimums", help="Require as many training images as Amazon's service did."
        ),
    ] = False,
    backbone: BackboneOption = None,
    detector: DetectorOption = None,
    graph_mib: GraphMibOption = None,
    network: NetworkOption = False,
    no_backbone: NoBackboneOption = False,
    miss_cost: MissCostOption = None,
    false_alarms: FalseAlarmsOption = None,
    inference_units: Annotated[
        int, typer.Option(min=1, help="Inference units for all hosted models together.")
    ] = 16,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            help="Write endpoint and pid here as JSON once ready. Default, without keys: "
            "`ready.json` in the state folder, where `lfv inspect` and the others find it."
        ),
    ] = None,
    exit_when_unused: Annotated[
        Path | None,
        typer.Option(
            metavar="LOCKFILE", help="Exit when no process holds a shared lock on this file."
        ),
    ] = None,
    archives: Annotated[
        list[Path] | None,
        typer.Option(
            "--import", metavar="ARCHIVE", help="Import a packaged model first; may be repeated."
        ),
    ] = None,
) -> None:
    """Run the model service, the Lookout for Vision API on this machine, until Ctrl-C."""
    settings = settings_from(
        s3_endpoint_url=s3_endpoint_url,
        backbone=backbone,
        detector=detector,
        graph_mib=graph_mib,
        network=network or None,
        pretrained_backbone=False if no_backbone else None,
        miss_cost=miss_cost,
        false_alarms=false_alarms,
    )
    from lfv.run.embedded_service import service_options
    from lfv.server.errors import OptionsError
    from lfv.server.model_import import import_models
    from lfv.server.options import options_from, parse_bucket, read_credentials
    from lfv.server.service import run

    home = home or settings.service_home
    if ready_file is None and credentials_file is None:
        ready_file = home / "ready.json"  # where commands look before they start a service
    logging.getLogger("lfv.server").setLevel(logging.INFO)
    settings.embedded_bucket.mkdir(parents=True, exist_ok=True)
    try:
        folders = {name: str(folder) for name, folder in map(parse_bucket, bucket or ())}
        from_settings = service_options(settings)
        options = options_from(
            {
                **from_settings,
                "backbone": settings.backbone,
                "detector": settings.detector,
                "graph_mib": settings.graph_mib,
                "network": settings.network,
                "pretrained_backbone": settings.pretrained_backbone,
                "miss_cost": settings.miss_cost,
                "false_alarms": settings.false_alarms,
                "home": home,
                "host": host,
                "port": port,
                "buckets": {**from_settings["buckets"], **folders},
                "s3": not no_s3,
                "credentials": read_credentials(credentials_file) if credentials_file else {},
                "tls_certificate": tls_certificate,
                "tls_key": tls_key,
                "open_metrics": open_metrics,
                "account_id": account_id,
                "ready_file": ready_file,
                "exit_when_unused": exit_when_unused,
                "limits": {
                    "original_minimums": original_minimums,
                    "inference_units": inference_units,
                },
            }
        )
        options.check()
        for imported in import_models(options, archives) if archives else ():
            note(f"imported {imported}")
        run(options, ready=_print_ready)
    except OptionsError as error:
        raise WrongUsage(str(error)) from error


def _print_ready(endpoint_url: str) -> None:
    note(f"serving at {endpoint_url} (stop with Ctrl-C)")
    sys.stderr.flush()
