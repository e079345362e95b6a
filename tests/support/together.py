"""Let several processes use one store at the same moment, and collect what they return."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.waiting import PLENTY

ROOT = Path(__file__).parents[2]
WORKERS = "tests.support.store_workers"


def together(url: str, jobs: Sequence[Sequence[object]]) -> list[Any]:
    """Results of jobs (name, arguments ...) run on one store by a process each."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", WORKERS, url, json.dumps(jobs)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PLENTY,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results: list[Any] = json.loads(done.stdout)
    return results
