"""The plant that runs on this machine, for commands that need its Prefect API."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from lfv.settings import prefect_may_be_configured, use_prefect_api


def is_running(folder: Path) -> bool:
    """Return whether a supervisor holds the lock of the plant in `folder`."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def use_running_plant(home: Path) -> None:
    """Use the Prefect API of the plant of `home`, if it is ready and no other API is configured."""
    folder = home / "plant"
    if prefect_may_be_configured() or not is_running(folder):
        return
    try:
        state = json.loads((folder / "state.json").read_text())
    except (OSError, ValueError):
        return
    if state["ready"]:
        use_prefect_api(f"http://127.0.0.1:{state['port']}/api")
