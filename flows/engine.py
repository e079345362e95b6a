"""The process of a flow run: Prefect's engine with a fast start.

A deployment uses it through its `command`, ``python -m lfv.launch flows.engine``. Without a
command, Prefect's process worker first starts two other Python processes, which prepare a workspace
for pulled code. These flows are installed, so there is nothing to prepare.
"""

from __future__ import annotations

import runpy
import sys

import prefect.flow_engine  # noqa: F401 - loaded here, with the garbage collector off

import flows.inspect_images  # noqa: F401


def main() -> None:
    """Run the flow run that Prefect's worker names in the environment."""
    # Prefect has imported this module already. To run as a program, it must be loaded again.
    sys.modules.pop("prefect.engine", None)
    runpy.run_module("prefect.engine", run_name="__main__")
