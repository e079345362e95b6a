"""The process of a flow run, where a worker's `command` says so: Prefect's engine, started fast.

Without a command, Prefect's process worker starts two more Python processes before the flow's own,
which prepare a workspace of code that is pulled. Our flows are installed, so there is nothing to
prepare. ``python -m lfv.launch flows.engine`` is the command.
"""

from __future__ import annotations

import runpy
import sys

import prefect.flow_engine  # noqa: F401 - here it is loaded without the garbage collector

import flows.inspect_images  # noqa: F401


def main() -> None:
    """Run the flow run that Prefect's worker names in the environment."""
    # It is loaded by now, as a part of Prefect. To run as a program it is loaded anew.
    sys.modules.pop("prefect.engine", None)
    runpy.run_module("prefect.engine", run_name="__main__")
