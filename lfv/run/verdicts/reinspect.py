"""Inspects the images of a run with another version of its model, for comparison."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from lfv.run.verdicts.decide import current_decision
from lfv.settings import Settings, child_environment
from lfv_store import Run, Store

_SOME_NOT_INSPECTED = 3


class NotInspected(Exception):
    """The inspection failed; the message is its last line of output."""


def inspect_again(
    settings: Settings, store: Store, run: Run, model_version: str, *, asked_by: str
) -> str:
    """Inspect the source of `run` with another version and the same policy; return the new run.

    Runs `lfv inspect` in a separate process, which stops the model however it ends.

    Raises:
        NotInspected: It failed; answers until then are kept.
    """
    policy = current_decision(store, run.run_id).policy
    with tempfile.TemporaryDirectory(prefix="lfv-policy-") as folder:
        file = Path(folder) / "policy.json"
        file.write_text(json.dumps(policy), encoding="utf-8")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "lfv.cli", "inspect", "--json"),
                *(f"--project={run.project_name}", f"--model-version={model_version}"),
                *(f"--policy={file}", f"--triggered-by={asked_by}", "--", run.source),
            ],
            env=child_environment(settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in (0, _SOME_NOT_INSPECTED):
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise NotInspected(lines[-1] if lines else f"it ended with status {done.returncode}")
    return str(json.loads(done.stdout)["run_id"])
