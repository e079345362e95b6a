"""`lfv edge-agent`: packaged models behind the interface of the Lookout for Vision Edge Agent."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from lfv.cli.common import settings_from
from lfv.cli.errors import CommandError, WrongUsage
from lfv.cli.options import examples
from lfv.cli.output import note
from lfv.formats.edge_agent import DEFAULT_ADDRESS

_END_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})


def register(app: typer.Typer) -> None:
    epilog = examples(
        "lfv edge-agent cookies-1.zip",
        "lfv edge-agent cookies-1.zip --listen tcp://127.0.0.1:50051 --start",
    )
    app.command("edge-agent", epilog=epilog)(edge_agent)


def edge_agent(
    archives: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL.zip",
            help="Models from `lfv models package`; each becomes a component with the name of its "
            "project.",
            exists=True,
            dir_okay=False,
        ),
    ],
    *,
    listen: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="unix:///FILE, unix-abstract:NAME or tcp://HOST:PORT."
        ),
    ] = DEFAULT_ADDRESS,
    start: Annotated[
        bool, typer.Option("--start", help="Start the models without waiting for StartModel.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Images that a model judges concurrently. Default: one for each CPU."
        ),
    ] = None,
) -> None:
    """Serve packaged models to programs that were written for Amazon's edge agent, until Ctrl-C.

    The same gRPC service, on this machine and with no cloud: ListModels, DescribeModel,
    StartModel, StopModel and DetectAnomalies, with pixels in messages or in shared memory. Needs
    the extra edge.
    """
    settings_from()
    try:
        from lfv.server.edge_agent import EdgeAgent, agent_server, open_components
    except ImportError as error:
        raise CommandError(
            "an edge agent speaks gRPC, which is not installed: pip install 'lfv-pipeline[edge]'"
        ) from error
    from lfv.server.errors import ArchiveError, OptionsError

    logging.getLogger("lfv.server").setLevel(logging.INFO)
    copies = workers or len(os.sched_getaffinity(0))
    with _signals_held(), tempfile.TemporaryDirectory(prefix="lfv-edge-agent-") as folder:
        try:
            agent = EdgeAgent(open_components(archives, Path(folder), copies))
            if start:
                agent.start_all()
            with agent_server(agent, listen, threads=copies + 4) as address:
                note(f"answering at {address} (Ctrl-C ends it)")
                signal.sigwait(_END_SIGNALS)
        except (OptionsError, ArchiveError) as error:
            raise WrongUsage(str(error)) from error


@contextmanager
def _signals_held() -> Iterator[None]:
    """Block the signals that end the agent, in this thread and those it starts, for `sigwait`.

    A handler would run only once this thread wakes up. A signal that arrives just before the thread
    waits, or that another thread receives, would not wake it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _END_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
