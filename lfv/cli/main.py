"""The process of the `lfv` command; whenever Ctrl-C ends it, it prints at most one line.

This module imports little, so that it handles Ctrl-C while the command's modules are imported.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from lfv.cli.errors import ExitStatus


def main() -> NoReturn:
    """Run the ``lfv`` script."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # `lfv ... &` in a script, or nohup
        from lfv.cli.app import run

        sys.exit(run())
    _exit_on_interrupt(ExitStatus.INTERRUPTED)  # nothing is open yet
    from lfv.cli.app import run
    from lfv.cli.signals import interrupt, send_again

    sys.unraisablehook = send_again
    try:
        signal.signal(signal.SIGINT, interrupt)
        status = run()
        _exit_on_interrupt(status)  # the output is complete
    except KeyboardInterrupt:  # outside of what `run` handles
        status = ExitStatus.INTERRUPTED
        _exit_on_interrupt(status)
    sys.exit(status)


def _exit_on_interrupt(status: int) -> None:
    """Let Ctrl-C end the process at once."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(status))
