"""``python -m lfv.server``: the service, and imports into its state, without anything else."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from lfv.server.errors import ServiceError
from lfv.server.options import Limits, ServeOptions, parse_bucket, read_credentials


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(
        prog="python -m lfv.server", description="Run the model service.", allow_abbrev=False
    )
    add = main.add_argument
    add("--home", type=Path, required=True, metavar="DIR", help="folder that keeps all state")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=0, help="port to listen on; 0, the default, takes a free one")
    add(
        "--bucket",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="let a folder stand in for the S3 bucket NAME; may be repeated",
    )
    add("--s3-endpoint-url", metavar="URL", help="S3 at another address than Amazon's")
    add("--no-s3", action="store_true", help="only --bucket folders, never S3")
    add(
        "--credentials-file",
        type=Path,
        metavar="FILE",
        help="key pairs, as in ~/.aws/credentials; every request has to be signed with one",
    )
    add("--tls-certificate", type=Path, metavar="FILE", help="serve HTTPS with this certificate")
    add("--tls-key", type=Path, metavar="FILE", help="the certificate's key")
    add("--open-metrics", action="store_true", help="answer /metrics to other machines too")
    add("--account-id", default="000000000000", help="account in ARNs (default: %(default)s)")
    add("--original-minimums", action="store_true", help="demand as many images as Amazon did")
    add(
        "--inference-units",
        type=int,
        default=Limits.inference_units,
        metavar="N",
        help="inference units of all hosted models together (default: %(default)s)",
    )
    add("--ready-file", type=Path, metavar="FILE", help="write endpoint and pid here once ready")
    add(
        "--exit-when-unused",
        type=Path,
        metavar="LOCKFILE",
        help="end when no process holds a shared lock on this file",
    )
    add(
        "--import",
        dest="archives",
        action="append",
        default=[],
        type=Path,
        metavar="ARCHIVE",
        help="import a packaged model before serving; may be repeated",
    )
    add("--backbone", type=Path, metavar="FILE", help="ONNX backbone for every training to try")
    add("--detector", type=Path, metavar="FILE", help="ONNX detector to make every model of")
    add(
        "--graph-mib",
        type=int,
        default=ServeOptions.graph_mib,
        metavar="N",
        help="largest such file in MiB (default: %(default)s)",
    )
    add("--network", action="store_true", help="train a network too, where torch is installed")
    add("--engine", default=ServeOptions.engine, help=argparse.SUPPRESS)
    add("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    return main


def options_from(arguments: argparse.Namespace) -> ServeOptions:
    """Raises OptionsError."""
    credentials = {}
    if arguments.credentials_file is not None:
        credentials = read_credentials(arguments.credentials_file)
    return ServeOptions(
        home=arguments.home,
        host=arguments.host,
        port=arguments.port,
        buckets=dict(parse_bucket(text) for text in arguments.bucket),
        s3=not arguments.no_s3,
        s3_endpoint_url=arguments.s3_endpoint_url,
        credentials=credentials,
        tls_certificate=arguments.tls_certificate,
        tls_key=arguments.tls_key,
        open_metrics=arguments.open_metrics,
        account_id=arguments.account_id,
        ready_file=arguments.ready_file,
        exit_when_unused=arguments.exit_when_unused,
        backbone=arguments.backbone,
        detector=arguments.detector,
        graph_mib=arguments.graph_mib,
        network=arguments.network,
        engine=arguments.engine,
        log_level=arguments.log_level,
        limits=Limits(
            original_minimums=arguments.original_minimums,
            inference_units=arguments.inference_units,
        ),
    )


def main() -> int:
    arguments = parser().parse_args()
    logging.basicConfig(
        level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        options = options_from(arguments)
        options.check()
        if arguments.archives:
            from lfv.server.imports import import_models

            for imported in import_models(options, arguments.archives):
                sys.stdout.write(f"imported {imported}\n")
        from lfv.server.service import run

        run(options)
    except ServiceError as error:
        sys.stderr.write(f"lfv.server: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
